//! The disk is full at every call that needs room: for one call, or until space returns.
//!
//! The client goes on; after some transactions space returns, with the database still open. What holds
//! is the same as for any other error of the disk (see `io_errors`); besides, a full disk is no reason
//! to lose the database: once there is room, it takes commits again, at the latest when reopened.

use crate::io_errors::{Known, judge, run};
use crate::sim_disk::Disk;
use crate::sim_vfs::{ENOSPC, Fault, Lasts, SimVfs};
use crate::workload::{self, Shape, Txn};
use crate::{replay, seed, size};
use fastrand::Rng;

fn full_at(txns: &[Txn], at: u64, full_for: usize, seed: u64) -> Result<Option<Known>, String> {
    let vfs = SimVfs::new(Disk::default(), seed ^ at);
    let lasts = if full_for == 0 { Lasts::Once } else { Lasts::Class };
    vfs.set_fault(Some(Fault { at, allocating: true, lasts, errno: ENOSPC }));
    let mut fired_at = None;
    let known = run(&vfs, txns, |number| {
        if fired_at.is_none() && vfs.fired().is_some() {
            fired_at = Some(number);
        }
        if fired_at.is_some_and(|fired| fired + full_for <= number) {
            vfs.set_fault(None);
        }
    })?;
    let Some((_, call)) = vfs.fired() else { return Ok(None) };
    let mut rng = Rng::with_seed(seed ^ at);
    let disk = vfs.disk();
    judge(disk.crash_randomly(&mut rng), txns, &known)
        .map_err(|problem| format!("no room for {call}, then a power cut: {problem}"))?;
    judge(disk.restart(), txns, &known)
        .map_err(|problem| format!("no room for {call}, then a restart: {problem}"))?;
    Ok(Some(known))
}

#[test]
fn disk_full_at_every_allocation_loses_nothing() {
    let seed = seed();
    let (mut runs, mut failures, mut went_on) = (0, 0, 0);
    for workload in 0..size(20, 300) {
        let shape = Shape {
            txns: 20,
            big_values: workload % 2 == 0,
            lazy: false,
            reopens: workload % 3 == 0,
        };
        let txns = workload::generate(&mut Rng::with_seed(seed + workload), shape);
        let healthy = SimVfs::new(Disk::default(), 0);
        drop(workload::run(&healthy, &txns));
        for full_for in [0, 1, 3, 8] {
            for at in 1..=healthy.allocations() {
                match full_at(&txns, at, full_for, seed) {
                    Ok(None) => {}
                    Ok(Some(known)) => {
                        runs += 1;
                        failures += known.failures;
                        went_on += known.went_on;
                    }
                    Err(problem) => panic!(
                        "workload seed {}, allocation {at} of {}, full for {full_for} transactions: \
                         {problem}\n{}",
                        seed + workload,
                        healthy.allocations(),
                        replay("disk_full", seed)
                    ),
                }
            }
        }
    }
    println!(
        "disk full: {runs} runs, every allocation, {failures} clear errors, {went_on} commits taken \
         afterwards without reopening, none lost or invented; seed {seed}"
    );
}
