//! cargo-fuzz's way into the target `catalog`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("catalog").run)(data));
