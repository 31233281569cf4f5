//! Versions of the plugin replace each other while it is used.
//!
//! The versions are the same component under growing numbers. Two threads use the plugin all the while; no call may
//! fail, each reload must be tried, swapped and kept, and what the last version answers is what the first one did.

use super::Kit;
use super::judge::{During, Finding, Flaw, Tally, is_answer, wrong};
use super::room::Room;
use crate::database::Database;
use parking_lot::Mutex;
use sochdb_host_abi::ReloadOptions;
use sochdb_kernel::{KernelError, KernelResult};
use sochdb_reload::{Outcome, Rules};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many versions take over from each other.
const VERSIONS: u64 = 3;
/// How long one is on trial.
const PROBATION: Duration = Duration::from_millis(30);
/// How long a trial, or the next calls, are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads that use it.
const USERS: u64 = 2;

/// Replaces the plugin in `room` while `use_once` is called with growing numbers, and once more afterwards.
pub(super) fn reload(
    kit: &Kit,
    room: &Room,
    tally: &mut Tally,
    use_once: &(dyn Fn(&Database, u64) -> KernelResult<()> + Sync),
) -> Finding {
    if kit.options.policy.signatures().required {
        let why = "the policy requires signatures, and nobody signs versions that the kit makes up";
        return Err(Flaw::Skipped(why.to_owned()));
    }
    let db = room.db();
    let users =
        Users { stop: AtomicBool::new(false), rounds: AtomicU64::new(0), failed: Mutex::new(None) };
    let replaced = std::thread::scope(|scope| {
        for _ in 0..USERS {
            scope.spawn(|| users.work(db, use_once));
        }
        let replaced = replace(kit, db, &users);
        users.stop.store(true, Ordering::Relaxed);
        replaced
    });
    tally.count("calls meanwhile", users.rounds.load(Ordering::Relaxed));
    let replaced = replaced?;
    if let Some((round, error)) = users.failed.lock().take() {
        return wrong(format!("call {round}, while versions took over from each other: {error}"));
    }
    tally.count("versions", replaced);
    let round = users.rounds.load(Ordering::Relaxed);
    match use_once(db, round) {
        Err(error) if !is_answer(&error) => wrong(format!("the last version: {error}")),
        _ => Ok(()),
    }
}

struct Users {
    stop: AtomicBool,
    rounds: AtomicU64,
    failed: Mutex<Option<(u64, KernelError)>>,
}

impl Users {
    fn work(&self, db: &Database, use_once: &(dyn Fn(&Database, u64) -> KernelResult<()> + Sync)) {
        while !self.stop.load(Ordering::Relaxed) {
            let round = self.rounds.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = use_once(db, round)
                && !is_answer(&error)
            {
                self.failed.lock().get_or_insert((round, error));
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Waits until it has been used again, or has failed. Whether it goes on.
    fn go_on(&self) -> bool {
        let (before, deadline) = (self.rounds.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        while self.rounds.load(Ordering::Relaxed) < before + 2 * USERS {
            if self.stop.load(Ordering::Relaxed) || deadline <= Instant::now() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

fn replace(kit: &Kit, db: &Database, users: &Users) -> Finding<u64> {
    // A trial ends badly only for what a version does wrong: how long it takes depends on the machine.
    let rules =
        Rules { probation: PROBATION, drain: PATIENCE, calls_min: u64::MAX, ..Rules::default() };
    let options = ReloadOptions { rules: Some(rules), ..ReloadOptions::default() };
    for number in 1..=VERSIONS {
        if !users.go_on() {
            break;
        }
        let manifest = kit.subject.version(number)?;
        db.reload_plugin(manifest, &options)
            .during(format!("version {number} in the place of the one before"))?;
        let Some(record) = db.plugin_settled(kit.name(), PATIENCE) else {
            return wrong(format!("the trial of version {number} does not end"));
        };
        if record.outcome != Outcome::Serving {
            return wrong(format!("version {number} was taken back: {}", record.reason));
        }
        // A plugin that fails when it is asked for its state can be replaced all the same.
        if let Some(step) = record.steps.iter().find(|step| step.note.contains("that is lost")) {
            return wrong(format!(
                "version {number} in the place of the one before: {}",
                step.note
            ));
        }
    }
    users.go_on();
    Ok(VERSIONS)
}
