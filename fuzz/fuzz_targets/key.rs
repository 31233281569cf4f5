//! cargo-fuzz's way into the target `key`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("key").run)(data));
