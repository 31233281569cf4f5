//! cargo-fuzz's way into the target `log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("log").run)(data));
