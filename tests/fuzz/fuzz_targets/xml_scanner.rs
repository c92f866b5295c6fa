#![no_main]

#[path = "../checks/xml_scanner.rs"]
mod xml_scanner;

libfuzzer_sys::fuzz_target!(|data: &[u8]| xml_scanner::check(data));
