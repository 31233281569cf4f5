//! cargo-fuzz's way into the target `api`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("api").run)(data));
