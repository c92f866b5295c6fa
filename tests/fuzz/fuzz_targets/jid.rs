#![no_main]

#[path = "../checks/jid.rs"]
mod jid;

libfuzzer_sys::fuzz_target!(|data: &[u8]| jid::check(data));
