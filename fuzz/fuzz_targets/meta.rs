//! cargo-fuzz's way into the target `meta`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("meta").run)(data));
