//! The kernel under a scheduler that owns every lock: which interleavings break a promise?
//!
//! The kernel is compiled from its own sources against locks of the crate `shuttle` (`../../README.md`
//! tells how). Each model is a handful of threads on one database in memory, run under many schedules:
//! half of them random, half by PCT (Burckhardt and others 2010), which finds a bug of depth `d` with a
//! known probability. A schedule that fails prints a string, and `SOCHDB_SCHEDULE=<string>` runs exactly
//! that one again.
//!
//! `SOCHDB_PROOF=release` runs the long form, `SOCHDB_PROOF=10` ten times the short one, `SOCHDB_SEED=n`
//! other schedules.
//!
//! | room            | promise                                                                       |
//! |-----------------|-------------------------------------------------------------------------------|
//! | `group_commit`  | what was acknowledged survives a power cut at any call to the disk            |
//! | `visibility`    | a snapshot sees exactly the commits up to its timestamp, and none go away     |
//! | `pins`          | no page is used again while a snapshot can reach it                           |
//! | `conflicts`     | of two writers of one row one conflicts, also across checkpoints              |
//! | `ddl`           | a commit beside a table's drop or renaming conflicts or is kept               |
//! | `closing`       | a commit beside `close` is refused or durable                                 |
//! | `failed_sync`   | after a failed sync nobody is told of success                                 |
//! | `delayed`       | `sync_due` forgets no deadline                                                |
//! | `lazy`          | a commit without a sync shows nothing of others before it is durable          |
//! | `rotation`      | changing log segments loses nothing, nor does letting go of them              |
//! | `write_skew`    | serializable transactions have a serial order: that of their timestamps       |
//! | `progress`      | `run` repeats no more often than others succeed                               |
//! | `world`, `disk` | what all models share: a database, and a disk that loses what was not synced  |

mod closing;
mod conflicts;
mod ddl;
mod delayed;
mod disk;
mod failed_sync;
mod group_commit;
mod lazy;
mod pins;
mod progress;
mod rotation;
mod visibility;
mod world;
mod write_skew;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Schedules of one model in a pull request, and before a release.
const SCHEDULES: (u64, u64) = (8_400, 840_000);
/// Every thread of a model gets this much stack: the kernel's deepest calls, many times over.
const STACK_BYTES: usize = 512 << 10;
/// Changes of priority that PCT spreads over a schedule.
const PCT_DEPTH: usize = 4;

/// How many schedules each model runs.
fn schedules() -> u64 {
    match std::env::var("SOCHDB_PROOF").as_deref() {
        Ok("release") => SCHEDULES.1,
        Ok(times) => {
            let times: u64 = times.parse().expect("SOCHDB_PROOF is 'release' or a whole number");
            SCHEDULES.0 * times
        }
        Err(_) => SCHEDULES.0,
    }
}

/// The seed of this run: `SOCHDB_SEED`, or always the same.
fn seed() -> u64 {
    let given = std::env::var("SOCHDB_SEED").ok();
    given.map_or(20_261_121, |value| value.parse().expect("SOCHDB_SEED is a whole number"))
}

/// Runs `model` once per schedule of `scheduler`.
fn run(scheduler: impl Scheduler + 'static, model: &Arc<dyn Fn() + Send + Sync>) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    let model = model.clone();
    Runner::new(scheduler, config).run(move || model());
}

/// Runs `model` under many schedules, and prints how many. `test` is the name that replays it.
fn explore(test: &str, model: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let model: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        model();
        counted.fetch_add(1, Ordering::Relaxed);
    });
    if let Ok(schedule) = std::env::var("SOCHDB_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), &model);
        println!("model {test}: the schedule passed");
        return;
    }
    let (seed, half) = (seed(), usize::try_from(schedules() / 2).expect("a count of schedules"));
    let explored = catch_unwind(AssertUnwindSafe(|| {
        run(RandomScheduler::new_from_seed(seed, half), &model);
        run(PctScheduler::new_from_seed(seed, PCT_DEPTH, half), &model);
    }));
    let count = count.load(Ordering::Relaxed);
    if let Err(panic) = explored {
        eprintln!(
            "model {test} failed after {count} schedules, seed {seed}; replay: SOCHDB_SCHEDULE=<the \
             schedule printed above> cargo test -p sochdb-kernel-models --test models {test}"
        );
        resume_unwind(panic);
    }
    println!(
        "model {test}: {count} schedules, {half} random and {half} PCT of depth {PCT_DEPTH}; seed {seed}"
    );
}
