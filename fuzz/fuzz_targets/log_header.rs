//! cargo-fuzz's way into the target `log_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("log_header").run)(data));
