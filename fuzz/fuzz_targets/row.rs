//! cargo-fuzz's way into the target `row`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("row").run)(data));
