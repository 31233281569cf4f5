//! cargo-fuzz's way into the target `index_segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("index_segment").run)(data));
