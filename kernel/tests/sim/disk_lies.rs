//! A disk that says `Ok` and loses a write, or puts it somewhere else.
//!
//! After each lie the database is opened again from what the disk holds. It may refuse with `Corrupt`
//! or `Invalid`; what it shows is right. As with flipped bits, a lie about the log's last write cannot
//! be told from a crash and may cost the commits that write carried, and no others.

use crate::sim_disk::Disk;
use crate::sim_vfs::{Lie, SimVfs};
use crate::workload::{self, After, Shape, Txn};
use crate::{replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{ErrorKind, KernelError};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn is_honest(error: &KernelError) -> Result<bool, String> {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => Ok(true),
        // A checkpoint or a plugin passes on what it met.
        _ if error.to_string().contains("corrupt: ") => Ok(true),
        other => Err(format!("{other:?} does not say that bytes are wrong: {error}")),
    }
}

/// Runs the workload on a lying disk; `Ok(true)` if the lie was noticed.
fn lie_at(txns: &[Txn], nth: u64, lie: Lie, seed: u64) -> Result<Option<bool>, String> {
    let vfs = SimVfs::new(Disk::default(), seed ^ nth);
    vfs.set_lie(nth, lie);
    let mut acked = 0;
    let mut kernel = match workload::open(&vfs) {
        Ok(kernel) => kernel,
        Err(error) => return is_honest(&error).map(Some),
    };
    for txn in txns {
        if let Err(error) = workload::execute(&kernel, txn) {
            return is_honest(&error).map(Some);
        }
        acked += 1;
        let ended = match txn.after {
            After::Nothing => Ok(()),
            After::Checkpoint => kernel.checkpoint().map(drop),
            After::Close | After::Drop => {
                drop(kernel);
                match workload::open(&vfs) {
                    Ok(open) => kernel = open,
                    Err(error) => return is_honest(&error).map(Some),
                }
                Ok(())
            }
        };
        if let Err(error) = ended {
            return is_honest(&error).map(Some);
        }
    }
    let Some(call) = vfs.lied() else { return Ok(None) };
    drop(kernel);
    let kernel = match workload::open(&SimVfs::new(vfs.disk().restart(), 0)) {
        Ok(kernel) => kernel,
        Err(error) => return is_honest(&error).map(Some),
    };
    let found = match workload::contents(&kernel) {
        Ok(found) => found,
        Err(error) => return is_honest(&error).map(Some),
    };
    let numbers = workload::included(&found);
    let last_lost = call.contains("wal") && numbers.iter().copied().eq(0..acked - 1);
    if !last_lost && !numbers.iter().copied().eq(0..acked) {
        return Err(format!("{lie:?} at '{call}': holds {numbers:?} of {acked} transactions"));
    }
    match workload::difference(&found, &workload::state_of(txns, &numbers)) {
        Some(difference) => Err(format!("{lie:?} at '{call}': {difference}")),
        None => Ok(Some(last_lost)),
    }
}

#[test]
fn disk_lies_are_detected_or_harmless() {
    let seed = seed();
    let (mut lies, mut noticed) = (0, 0);
    for workload in 0..size(12, 400) {
        let shape = Shape { txns: 24, big_values: workload % 2 == 0, lazy: false, reopens: false };
        let txns = workload::generate(&mut Rng::with_seed(seed + workload), shape);
        let healthy = SimVfs::new(Disk::default(), 0);
        drop(workload::run(&healthy, &txns));
        let kinds =
            [Lie::Lost, Lie::Misdirected(4096), Lie::Misdirected(512), Lie::Misdirected(8192)];
        for lie in kinds {
            for nth in 1..=healthy.writes() {
                let told = AssertUnwindSafe(|| lie_at(&txns, nth, lie, seed));
                match catch_unwind(told).unwrap_or_else(|_| Err("panicked".to_owned())) {
                    Ok(None) => {}
                    Ok(Some(was_noticed)) => {
                        lies += 1;
                        noticed += u64::from(was_noticed);
                    }
                    Err(problem) => panic!(
                        "workload seed {}, {lie:?} at write {nth} of {}: {problem}\n{}",
                        seed + workload,
                        healthy.writes(),
                        replay("disk_lies", seed)
                    ),
                }
            }
        }
    }
    println!(
        "disk lies: {lies} lost or misdirected writes, {noticed} noticed, the rest harmless; seed {seed}"
    );
}
