//! Every fuzz target for a moment: its seeds, what once failed, and mutants of them from one seed.
//!
//! `SOCHDB_PROOF=release` runs a thousand times as many, `SOCHDB_PROOF=10` ten times, `SOCHDB_SEED=n`
//! other ones. An input that fails is printed in hex; kept as a file in `fuzz/findings/<target>/` it is
//! tried first from then on. `SOCHDB_INPUT=<hex>` tries that one alone.

use fastrand::Rng;
use sochdb_fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// No input may take longer than this.
const TIME_MAX: Duration = Duration::from_secs(10);
const INPUT_BYTES_MAX: usize = 4096;

fn factor() -> u64 {
    match std::env::var("SOCHDB_PROOF").as_deref() {
        Ok("release") => 1000,
        Ok(times) => times.parse().expect("SOCHDB_PROOF is 'release' or a whole number"),
        Err(_) => 1,
    }
}

fn seed() -> u64 {
    let given = std::env::var("SOCHDB_SEED").ok();
    given.map_or(20_261_121, |value| value.parse().expect("SOCHDB_SEED is a whole number"))
}

/// What once failed, so that it never does again.
fn findings(target: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../findings/");
    let Ok(files) = std::fs::read_dir(format!("{folder}{target}")) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

/// Changes `input` in a few places, or joins it with another.
fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..1 + rng.u8(0..4) {
        let len = input.len();
        let at = if len == 0 { 0 } else { rng.usize(0..len) };
        let special = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xfe, 0xff];
        match rng.u8(0..9) {
            0 if 0 < len => input[at] ^= 1 << rng.u8(0..8),
            1 if 0 < len => input[at] = rng.u8(..),
            2 if 0 < len => input[at] = special[rng.usize(0..special.len())],
            3 => input.insert(at, rng.u8(..)),
            4 if 0 < len => drop(input.drain(at..len.min(at + rng.usize(1..9)))),
            5 if 0 < len => input.truncate(at),
            6 if 0 < len => {
                let piece = input[at..len.min(at + rng.usize(1..40))].to_vec();
                let to = rng.usize(0..=len);
                input.splice(to..to, piece);
            }
            7 => {
                let other = &pool[rng.usize(0..pool.len())];
                let from = rng.usize(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let number = match rng.u8(0..3) {
                    0 => u64::MAX,
                    1 => 1 << rng.u32(0..64),
                    _ => rng.u64(..),
                };
                let width = 1 << rng.u32(0..4);
                let end = len.min(at + width);
                input[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tries one input; one that fails is printed.
fn attempt(target: &Target, input: &[u8]) {
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = started.elapsed();
    if result.is_err() || TIME_MAX < took {
        let (name, hex) = (target.name, hex(input));
        eprintln!(
            "target {name} failed after {took:?}; replay: SOCHDB_INPUT={hex} cargo test -p sochdb-fuzz \
             --test short {name}"
        );
    }
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    assert!(took <= TIME_MAX, "{took:?} for one input");
}

fn run(name: &str) {
    let target = sochdb_fuzz::target(name);
    if let Ok(hex) = std::env::var("SOCHDB_INPUT") {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        attempt(target, &(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>());
        return;
    }
    let (seed, count) = (seed(), target.short * factor());
    let mut rng = Rng::with_seed(seed);
    let findings = findings(name);
    let mut pool = (target.seeds)();
    pool.push(Vec::new());
    pool.iter().chain(&findings).for_each(|input| attempt(target, input));
    let (known, found) = (pool.len(), findings.len());
    pool.extend(findings);
    for _ in 0..count {
        let mut input = match rng.u8(0..16) {
            0 => (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect(),
            _ => pool[rng.usize(0..pool.len())].clone(),
        };
        mutate(&mut input, &pool, &mut rng);
        attempt(target, &input);
    }
    println!(
        "fuzz {name}: {known} seeds, {found} earlier findings, {count} mutants, no panic, no hang, memory \
         bounded; seed {seed}"
    );
}

macro_rules! targets {
    ($($(#[$when:meta])? $name:ident)*) => {
        $(
            $(#[$when])?
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test_and_a_fuzzer() {
            let tested = [$($(#[$when])? stringify!($name)),*];
            for target in TARGETS {
                assert!(tested.contains(&target.name), "{} is not tested", target.name);
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz_targets/");
                let fuzzer = format!("{folder}{}.rs", target.name);
                assert!(std::path::Path::new(&fuzzer).exists(), "{fuzzer} is missing");
            }
        }
    };
}

targets! {
    codec schema row key page meta frame log_header catalog log archive dump files index_segment codebook graph api
    #[cfg(feature = "plugins")] manifest
    #[cfg(feature = "plugins")] package
    #[cfg(feature = "plugins")] component
}
