//! cargo-fuzz's way into the target `page`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("page").run)(data));
