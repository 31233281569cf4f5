//! cargo-fuzz's way into the target `codebook`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("codebook").run)(data));
