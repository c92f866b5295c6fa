#![no_main]

#[path = "../checks/http_routes.rs"]
mod http_routes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_routes::check(data));
