//! cargo-fuzz's way into the target `files`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("files").run)(data));
