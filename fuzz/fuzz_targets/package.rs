//! cargo-fuzz's way into the target `package`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("package").run)(data));
