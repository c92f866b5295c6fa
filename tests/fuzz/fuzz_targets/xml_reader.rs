#![no_main]

#[path = "../checks/xml_reader.rs"]
mod xml_reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| xml_reader::check(data));
