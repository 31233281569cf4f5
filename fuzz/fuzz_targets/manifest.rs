//! cargo-fuzz's way into the target `manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("manifest").run)(data));
