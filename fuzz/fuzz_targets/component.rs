//! cargo-fuzz's way into the target `component`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("component").run)(data));
