//! cargo-fuzz's way into the target `frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("frame").run)(data));
