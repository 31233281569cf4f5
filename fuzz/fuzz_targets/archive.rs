//! cargo-fuzz's way into the target `archive`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("archive").run)(data));
