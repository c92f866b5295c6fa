#![no_main]

#[path = "../checks/stanza_edit.rs"]
mod stanza_edit;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stanza_edit::check(data));
