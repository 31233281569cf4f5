//! The kernel judged from outside: crashes, failing and lying disks, isolation, models.
//!
//! One binary, one room per question. Every test prints one closing line with its count and its seed;
//! `SOCHDB_PROOF=release` runs the long form, `SOCHDB_PROOF=10` ten times the short one, `SOCHDB_SEED=n`
//! another seed (a failure prints which).
//!
//! | room           | question                                                                    |
//! |----------------|-----------------------------------------------------------------------------|
//! | `sim_disk`     | what survives a power cut                                                   |
//! | `sim_vfs`      | the disk that fails, fills up and lies                                      |
//! | `workload`     | recorded transactions, and what a database that ran them may hold           |
//! | `model`        | is it a `BTreeMap`, whatever one client does?                               |
//! | `crash_points` | does every acknowledged commit survive a power cut after any call?          |
//! | `io_errors`    | does an error at any call lose, invent or acknowledge wrongly?              |
//! | `disk_full`    | the same for a full disk                                                    |
//! | `bit_flips`    | is every flipped bit detected or harmless?                                  |
//! | `disk_lies`    | lost and misdirected writes                                                 |
//! | `extensions`   | a storage engine and a codec, honest and lying                              |
//! | `simulation`   | many clients, crashes and errors from one seed, against an exact model      |
//! | `kill`         | kill -9 under eight threads                                                 |
//! | `group_commit` | real threads: acknowledged means readable, snapshots only grow              |
//! | `hermitage`    | which anomaly each isolation level prevents, step by step                   |
//! | `ddl`          | tables coming, going and changing names beside open transactions            |
//! | `history`      | random concurrent histories judged by two checkers                          |
//! | `interleavings`| three small transactions in every order, by brute force                     |
//! | `feed`         | does a follower of the change feed hold what the database holds?            |
//! | `differential` | the same operations on redb and SQLite                                      |

mod bit_flips;
mod crash_points;
mod ddl;
mod differential;
mod disk_full;
mod disk_lies;
mod extensions;
mod feed;
mod group_commit;
mod hermitage;
mod history;
mod interleavings;
mod io_errors;
mod kill;
mod model;
mod sim_disk;
mod sim_vfs;
mod simulation;
mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

/// Whether the long form was asked for.
fn is_release_proof() -> bool {
    std::env::var("SOCHDB_PROOF").is_ok_and(|value| value == "release")
}

/// `short` in a pull request, `long` before a release, or as many times `short` as was asked for.
fn size(short: u64, long: u64) -> u64 {
    match std::env::var("SOCHDB_PROOF") {
        _ if is_release_proof() => long,
        Ok(times) => {
            short * times.parse::<u64>().expect("SOCHDB_PROOF is 'release' or a whole number")
        }
        Err(_) => short,
    }
}

/// `short`, or `long` before a release: for the size of one case, where [`size`] counts cases.
fn either(short: u64, long: u64) -> u64 {
    if is_release_proof() { long } else { short }
}

/// The seed of this run: `SOCHDB_SEED`, or always the same.
fn seed() -> u64 {
    std::env::var("SOCHDB_SEED")
        .ok()
        .map_or(20_261_121, |value| value.parse().expect("SOCHDB_SEED is a whole number"))
}

/// Runs the cases 0, 1, 2 and so on up to `count` on every core; each must depend on its number only.
fn parallel<T: Send>(count: u64, case: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || -> Vec<T> {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        numbers.take_while(|number| *number < count).map(&case).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |thread: ScopedJoinHandle<'_, Vec<T>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    })
}

/// How to see a failure again.
fn replay(test: &str, seed: u64) -> String {
    format!(
        "replay: SOCHDB_SEED={seed} cargo test -p sochdb-kernel --test sim {test} -- --nocapture"
    )
}
