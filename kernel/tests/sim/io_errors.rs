//! An error of the disk at every call of a workload: once, for its class of calls from then on, or for
//! every call from then on.
//!
//! The client goes on as a client does: it opens again what failed to open or says `Closed`, and it
//! does not repeat a failed transaction. What it knows is exact:
//!
//! 1. A commit that returned `Ok` is there for good.
//! 2. A commit that failed is not seen by the database that refused it.
//! 3. Reopened, the database may hold a failed commit only when no later one was acknowledged.
//! 4. After a failed sync of the log every write fails until the database is opened again.
//! 5. Afterwards the disk is well, and the database opens, is clean, and takes and keeps a commit:
//!    after a power cut, and after a mere restart of the process.

use crate::sim_disk::{Disk, Fate};
use crate::sim_vfs::{Class, EIO, Fault, Lasts, SimVfs};
use crate::workload::{self, Shape, Step, Txn};
use crate::{either, is_release_proof, replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{ErrorKind, Kernel};
use std::collections::BTreeSet;

/// What a client knows after a run on a failing disk.
#[derive(Default)]
pub struct Known {
    /// Commits that returned `Ok`.
    pub acked: BTreeSet<usize>,
    /// Commits that failed after the last acknowledged one, or before the database was opened again and
    /// could not be read.
    pub maybe: BTreeSet<usize>,
    /// How many calls of the kernel failed.
    pub failures: usize,
    /// Commits that succeeded after the fault, without the database being opened again.
    pub went_on: usize,
}

/// Runs `txns` on a failing disk.
pub fn run(vfs: &SimVfs, txns: &[Txn], mut after_each: impl FnMut(usize)) -> Result<Known, String> {
    let mut known = Known::default();
    let mut kernel: Option<Kernel> = None;
    let mut poisoned = false;
    let mut failed_now = BTreeSet::new();
    for txn in txns {
        after_each(txn.number);
        if kernel.is_none() {
            poisoned = false;
            failed_now.clear();
            vfs.restart();
            kernel = match workload::open(vfs) {
                Ok(kernel) => Some(kernel),
                Err(error) => {
                    clear("open", error.kind())?;
                    known.failures += 1;
                    continue;
                }
            };
        }
        let Some(open) = &kernel else { continue };
        if let (false, Ok(seen)) = (known.maybe.is_subset(&failed_now), workload::contents(open)) {
            // What opening decided about earlier failures stays decided.
            let seen = workload::included(&seen);
            known.acked.extend(known.maybe.iter().filter(|number| seen.contains(number)));
            known.maybe.clear();
        }
        let fired_before = vfs.fired().is_some();
        match workload::execute(open, txn) {
            Ok(()) if poisoned => {
                return Err(format!(
                    "transaction {} succeeded after a failed log sync",
                    txn.number
                ));
            }
            Ok(()) => {
                known.acked.insert(txn.number);
                known.maybe.retain(|number| !failed_now.contains(number));
                known.went_on += usize::from(fired_before);
            }
            Err(error) => {
                // A table whose creation failed is missing from then on; that is the client's own doing.
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) {
                    // As below, a storage engine that met the error while rows were loaded is named.
                    let loads = matches!(&txn.steps[..], [Step::Load(..)]);
                    if !loads || error.kind() != ErrorKind::Plugin {
                        clear("commit", error.kind())?;
                    }
                    known.maybe.insert(txn.number);
                    failed_now.insert(txn.number);
                }
                known.failures += 1;
                if !fired_before {
                    // A segment still being made is given up for another; one in use holds commits.
                    let log_sync = |(class, call): (Class, String)| {
                        class == Class::Sync
                            && call.starts_with("sync wal/")
                            && call.ends_with(".wal")
                    };
                    poisoned = vfs.fired().is_some_and(log_sync);
                }
                if let Ok(seen) = workload::contents(open) {
                    let seen = workload::included(&seen);
                    if let Some(wrong) = seen.intersection(&failed_now).next() {
                        return Err(format!("failed transaction {wrong} is visible"));
                    }
                }
            }
        }
        let ended = match txn.after {
            workload::After::Nothing => Ok(()),
            workload::After::Checkpoint => open.checkpoint().map(drop),
            workload::After::Close => open.close(),
            workload::After::Drop => Ok(()),
        };
        if let Err(error) = ended {
            // A storage engine that met the error is named instead of the disk.
            if error.kind() != ErrorKind::Plugin {
                clear("checkpoint or close", error.kind())?;
            }
            known.failures += 1;
        }
        let reopen = matches!(txn.after, workload::After::Close | workload::After::Drop);
        // A poisoned database is kept for three more transactions to see that it stays poisoned.
        if reopen || (poisoned && txn.number % 4 == 0) {
            kernel = None;
        }
    }
    Ok(known)
}

fn clear(what: &str, kind: ErrorKind) -> Result<(), String> {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Closed => Ok(()),
        other => Err(format!("{what} failed with {other:?}, which blames the wrong thing")),
    }
}

/// The disk is well again: opens `disk` and judges it against what is known.
pub fn judge(disk: Disk, txns: &[Txn], known: &Known) -> Result<(), String> {
    let vfs = SimVfs::new(disk, 0);
    let kernel = workload::open(&vfs).map_err(|error| format!("does not open: {error}"))?;
    let found = workload::contents(&kernel).map_err(|error| format!("reading: {error}"))?;
    let numbers = workload::included(&found);
    if let Some(lost) = known.acked.difference(&numbers).next() {
        return Err(format!("acknowledged transaction {lost} is lost"));
    }
    if let Some(risen) =
        numbers.iter().find(|n| !known.acked.contains(n) && !known.maybe.contains(n))
    {
        return Err(format!(
            "failed transaction {risen} rose again behind a later acknowledged one"
        ));
    }
    if let Some(difference) = workload::difference(&found, &workload::state_of(txns, &numbers)) {
        return Err(difference);
    }
    workload::check(&kernel)?;
    workload::commit_probe(&kernel).map_err(|error| format!("takes no new commit: {error}"))?;
    let cut = vfs.disk();
    drop(kernel);
    let cut = cut.crash(&vec![Fate::Lost; cut.pending_count()]);
    let kernel =
        workload::open(&SimVfs::new(cut, 0)).map_err(|error| format!("second open: {error}"))?;
    let mut again =
        workload::contents(&kernel).map_err(|error| format!("second reading: {error}"))?;
    if !workload::take_probe(&mut again) {
        return Err("the commit after reopening was lost".to_owned());
    }
    match workload::difference(&again, &found) {
        Some(difference) => Err(format!("changed between two openings: {difference}")),
        None => Ok(()),
    }
}

fn fail_at(txns: &[Txn], fault: Fault, seed: u64) -> Result<Option<Known>, String> {
    let vfs = SimVfs::new(Disk::default(), seed ^ fault.at);
    vfs.set_fault(Some(fault));
    let known = run(&vfs, txns, |_| {})?;
    let Some((_, call)) = vfs.fired() else { return Ok(None) };
    let mut rng = Rng::with_seed(seed ^ fault.at);
    let disk = vfs.disk();
    judge(disk.crash_randomly(&mut rng), txns, &known)
        .map_err(|problem| format!("{call} failed, then a power cut: {problem}"))?;
    judge(disk.restart(), txns, &known)
        .map_err(|problem| format!("{call} failed, then a restart: {problem}"))?;
    Ok(Some(known))
}

#[test]
fn io_errors_at_every_call_lose_and_invent_nothing() {
    let seed = seed();
    let (mut runs, mut failures, mut went_on, mut calls) = (0, 0, 0, 0);
    for workload in 0..size(15, 200) {
        let shape = Shape { txns: 14, big_values: workload % 2 == 1, lazy: false, reopens: true };
        let txns = workload::generate(&mut Rng::with_seed(seed + workload), shape);
        let healthy = SimVfs::new(Disk::default(), 0);
        drop(workload::run(&healthy, &txns));
        calls += healthy.calls();
        let step = if is_release_proof() { 1 } else { (healthy.calls() / 400).max(1) };
        for lasts in [Lasts::Once, Lasts::Class, Lasts::All] {
            for at in (1..=healthy.calls()).step_by(step as usize) {
                let fault = Fault { at, allocating: false, lasts, errno: EIO };
                match fail_at(&txns, fault, seed) {
                    Ok(None) => {}
                    Ok(Some(known)) => {
                        runs += 1;
                        failures += known.failures;
                        went_on += known.went_on;
                    }
                    Err(problem) => panic!(
                        "workload seed {}, call {at} of {}, {lasts:?}: {problem}\n{}",
                        seed + workload,
                        healthy.calls(),
                        replay("io_errors", seed)
                    ),
                }
            }
        }
    }
    println!(
        "io errors: {runs} runs over {calls} calls (once, by class, for all), {failures} clear errors, \
         {went_on} commits taken after an error, none lost or invented; seed {seed}"
    );
}

/// The log's sync fails once; from then on the database must refuse, and never call it a success.
#[test]
fn io_errors_of_a_log_sync_poison_until_reopened() {
    let seed = seed();
    let mut poisoned = 0;
    for at in 1..either(400, 4000) {
        let vfs = SimVfs::new(Disk::default(), seed ^ at);
        let shape = Shape { txns: 8, big_values: false, lazy: false, reopens: false };
        let txns = workload::generate(&mut Rng::with_seed(seed), shape);
        let kernel = workload::open(&vfs).expect("a healthy disk opens");
        workload::execute(&kernel, &txns[0]).expect("a healthy disk commits");
        let fault =
            Fault { at: vfs.calls() + at, allocating: false, lasts: Lasts::Once, errno: EIO };
        vfs.set_fault(Some(fault));
        let mut acked = 1;
        while acked < txns.len() && workload::execute(&kernel, &txns[acked]).is_ok() {
            acked += 1;
        }
        let Some((class, call)) = vfs.fired() else { break };
        if class != Class::Sync || acked == txns.len() {
            continue;
        }
        poisoned += 1;
        for txn in &txns[acked + 1..] {
            let refused = workload::execute(&kernel, txn).expect_err("poisoned by the failed sync");
            // A table that a refused transaction was to make does not exist: also an answer.
            let kind = refused.kind();
            let honest =
                matches!(kind, ErrorKind::Closed | ErrorKind::Unavailable | ErrorKind::NotFound);
            assert!(honest, "after {call} failed: {refused}");
        }
        assert!(kernel.checkpoint().is_err(), "a checkpoint after {call} failed");
        let seen = workload::contents(&kernel).expect("a poisoned database still reads");
        assert_eq!(workload::included(&seen).len(), acked, "after {call} failed");
        drop(kernel);
        let known =
            Known { acked: (0..acked).collect(), maybe: [acked].into(), ..Known::default() };
        let mut rng = Rng::with_seed(seed ^ at);
        for _ in 0..4 {
            let verdict = judge(vfs.disk().crash_randomly(&mut rng), &txns, &known);
            verdict.unwrap_or_else(|problem| panic!("after {call} failed: {problem}"));
        }
    }
    assert!(0 < poisoned, "no sync was ever hit");
    println!("io errors: {poisoned} failed syncs poisoned until reopened; seed {seed}");
}
