//! Guests that nobody wrote, by the thousand, thrown at the host: never a panic, a hang, a leak, or a lost
//! row, and after each one the host serves a good plugin.
//!
//! `SOCHDB_PROOF=release` makes 50,000 of them instead of 2,000, `SOCHDB_PROOF=10` ten times as many,
//! `SOCHDB_SEED=n` other ones. One that fails is named; `SOCHDB_GUEST=n` with its seed makes it again,
//! alone, and writes it to the folder for temporary files.

mod bombs;
mod generator;
#[path = "../boundary/guest.rs"]
#[allow(dead_code, reason = "shared with the tests that use all of it")]
mod guest;
mod process;
mod throw;
#[path = "../boundary/void.rs"]
mod void;

use fastrand::Rng;
use generator::World;
use guest::{Bench, Codec, Hooks, Index, Observer, Procedures, Storage};
use process::Process;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use throw::{Outcomes, throw};

const WORLDS: [&str; 6] = [
    "codec-plugin",
    "hooks-plugin",
    "index-plugin",
    "observer-plugin",
    "procedure-plugin",
    "storage-plugin",
];
/// Choices of imports in each world.
const VARIANTS: usize = 8;
/// Guests in a plain run, and in one before a release.
const COUNT: u64 = 2_000;
const COUNT_RELEASE: u64 = 50_000;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {value}")))
}

fn count() -> u64 {
    match std::env::var("SOCHDB_PROOF").as_deref() {
        Ok("release") => COUNT_RELEASE,
        _ => COUNT * number("SOCHDB_PROOF").unwrap_or(1),
    }
}

/// The generator of the guest with this number.
fn rng_of(seed: u64, number: u64) -> Rng {
    let mut rng = Rng::with_seed(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    Rng::with_seed(rng.u64(..))
}

/// Both tests look at what this process holds, so only one of them runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts guests that hold nothing in the place of those that were thrown last.
fn settle(benches: &[Bench; WORLDS.len()]) {
    let kinds = ["codec", "hooks", "index", "observer", "procedure", "storage"];
    let components = [
        Codec::default().build(),
        Hooks::default().build(),
        Index::default().build(),
        Observer::default().build(),
        Procedures::default().build(),
        Storage::default().build(),
    ];
    for ((bench, kind), component) in benches.iter().zip(kinds).zip(components) {
        let hooked = "[hooks]\ntables = [\"t\"]\nbefore = [\"insert\"]\n";
        let more = if kind == "hooks" { hooked } else { "" };
        bench.load_as(kind, &component, more).unwrap();
    }
}

#[test]
fn generated_guests_harm_nobody() {
    let _alone = alone();
    let seed = number("SOCHDB_SEED").unwrap_or(20_261_121);
    let mut rng = Rng::with_seed(seed);
    let worlds = WORLDS.map(|name| [(); VARIANTS].map(|()| World::new(name, &mut rng)));
    let only = number("SOCHDB_GUEST");
    let numbers = only.map_or(0..count(), |number| number..number + 1);
    // A host for each world, as a name belongs to one kind of plugin.
    let benches = WORLDS.map(|_| Bench::new());
    let neighbours = benches.each_ref().map(Bench::load_neighbour);
    let mut outcomes = Outcomes::default();
    let mut warm = None;
    let (began, total) = (Instant::now(), numbers.end - numbers.start);
    for number in numbers {
        let at = (number % WORLDS.len() as u64) as usize;
        let (world, bench, neighbour) = (&worlds[at], &benches[at], &neighbours[at]);
        let mut rng = rng_of(seed, number);
        let world = &world[rng.usize(0..VARIANTS)];
        let attempt = AssertUnwindSafe(|| {
            let guest = world.guest(&mut rng);
            if only.is_some() {
                let path = std::env::temp_dir().join(format!("sochdb-guest-{number}.wasm"));
                std::fs::write(&path, &guest).expect("a folder for temporary files");
                println!("guest {number} of {} is in {}", world.name, path.display());
            }
            throw(bench, world.name, &guest, &mut rng, &mut outcomes);
            assert_eq!(neighbour.compress(b"served").unwrap(), b"served");
        });
        if let Err(panic) = catch_unwind(attempt) {
            eprintln!(
                "guest {number} of {} failed; replay: SOCHDB_SEED={seed} SOCHDB_GUEST={number} cargo test \
                 -p sochdb-host-abi --test generated -- --nocapture",
                world.name
            );
            resume_unwind(panic);
        }
        if number == 200 {
            settle(&benches);
            warm = Process::now();
        }
    }
    for bench in &benches {
        let list = bench.host.list();
        let usage = list.iter().find(|plugin| plugin.name == "neighbour").unwrap().usage;
        assert_eq!(usage.failures, 0, "the neighbours go on");
    }
    settle(&benches);
    let grown = warm.map(|warm| warm.check_no_leak());
    println!("{:?}", outcomes.0);
    if only.is_none() {
        for end in ["answered", "refused", "lied", "trapped", "exhausted", "load answered"] {
            let count = outcomes.0.get(end).copied().unwrap_or(0);
            assert!(total / 20 <= count, "hardly any guest {end}: {count}");
        }
    }
    println!(
        "generated guests: {total} thrown in {:.1} s, no panic, no hang, no row lost, {}; seed {seed}",
        began.elapsed().as_secs_f64(),
        grown.unwrap_or_else(|| "memory not looked at".to_owned()),
    );
}
