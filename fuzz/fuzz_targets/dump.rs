//! cargo-fuzz's way into the target `dump`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("dump").run)(data));
