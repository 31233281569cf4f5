//! cargo-fuzz's way into the target `graph`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("graph").run)(data));
