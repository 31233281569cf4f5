//! cargo-fuzz's way into the target `schema`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("schema").run)(data));
