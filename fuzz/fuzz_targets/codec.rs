//! cargo-fuzz's way into the target `codec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (sochdb_fuzz::target("codec").run)(data));
