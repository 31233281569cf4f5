//! A power cut at every call of the disk: no job is lost, none is done twice, no fencing number comes again.

use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use crate::{WallClock, open};
use fastrand::Rng;
use sochdb_claims::{
    AtomicClaimManager, ClaimError, ClaimToken, JobOptions, LeaseConfig, Released,
};
use sochdb_kernel::{ErrorKind, Kernel};
use std::collections::BTreeMap;
use std::sync::Arc;

const LEASE: u64 = 1_000;

fn open_queue(
    vfs: &SimVfs,
    clock: &Arc<WallClock>,
) -> Result<(Kernel, AtomicClaimManager), ClaimError> {
    let kernel = open(Arc::new(vfs.clone()));
    let config = LeaseConfig { lease_us: LEASE, attempts_max: u32::MAX, ..LeaseConfig::default() };
    let queue = AtomicClaimManager::open(&kernel, clock.clone(), "jobs", config)?;
    Ok((kernel, queue))
}

/// What the clients know: all of it was acknowledged.
#[derive(Default)]
struct Known {
    /// Payloads of jobs that are in the queue, or done.
    enqueued: Vec<u32>,
    done: Vec<u32>,
    held: Vec<ClaimToken>,
    greatest_fence: u64,
}

/// Works until the power goes.
fn work(
    kernel: &Kernel,
    queue: &AtomicClaimManager,
    rng: &mut Rng,
    next: &mut u32,
    known: &mut Known,
) -> Result<(), ClaimError> {
    loop {
        match rng.u8(0..10) {
            0..=3 => {
                *next += 1;
                queue.enqueue(&next.to_be_bytes(), JobOptions::default())?;
                known.enqueued.push(*next);
            }
            4..=6 => {
                if let Some(token) = queue.claim("w")?.claimed() {
                    assert!(known.greatest_fence < token.fence(), "a fencing number came again");
                    known.greatest_fence = token.fence();
                    known.held.push(token);
                }
            }
            7 | 8 if !known.held.is_empty() => {
                let token = known.held.swap_remove(rng.usize(..known.held.len()));
                if rng.u8(0..4) == 0 {
                    assert_ne!(queue.release(&token, 0, "again")?, Released::Dead);
                    continue;
                }
                queue.complete(&token, |tx| {
                    // Counts instead of setting, so that work done twice shows.
                    let count = tx.get("done", token.payload())?.map_or(0, |count| count[0]);
                    Ok(tx.put("done", token.payload(), &[count + 1])?)
                })?;
                known.done.push(u32::from_be_bytes(token.payload().try_into().unwrap()));
            }
            9 if rng.u8(0..4) == 0 => drop(kernel.checkpoint()?),
            _ => {}
        }
    }
}

/// After a power cut: what was acknowledged holds, and every job is in the queue or done, never both.
fn judge(kernel: &Kernel, queue: &AtomicClaimManager, known: &mut Known) {
    let tx = kernel.begin_read().unwrap();
    let done: BTreeMap<Vec<u8>, u8> =
        tx.scan("done", ..).unwrap().map(|row| row.map(|(key, n)| (key, n[0])).unwrap()).collect();
    for number in &known.done {
        assert!(done.contains_key(&number.to_be_bytes()[..]), "job {number} was done and is not");
    }
    for (job, count) in &done {
        assert_eq!(*count, 1, "job {job:?} was done {count} times");
    }
    let stats = queue.stats().unwrap();
    let left = stats.ready + stats.claimed + stats.expired;
    let whole = left + done.len() as u64;
    assert!(
        known.enqueued.len() as u64 <= whole,
        "{} jobs, {whole} left or done",
        known.enqueued.len()
    );
    // Claims that were granted are still good, unless the power went while they were being ended.
    for token in &known.held {
        let job = queue.job(token.job().unwrap()).unwrap().expect("a held job is there");
        assert_eq!(job.fence, token.fence(), "a granted claim was forgotten: {job:?}");
    }
}

#[test]
fn a_power_cut_at_any_call_loses_no_job_and_repeats_none() {
    let seed = std::env::var("SOCHDB_SEED").map_or(3, |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    let lives: u64 = std::env::var("SOCHDB_PROOF").map_or(250, |_| 5_000);
    let clock = WallClock::at(1, 0);
    let (mut disk, mut next, mut known) = (Disk::default(), 0, Known::default());
    let vfs = SimVfs::new(disk.clone(), 0);
    let (kernel, _) = open_queue(&vfs, &clock).unwrap();
    kernel.create_table("done", Default::default()).unwrap();
    drop(kernel);
    disk = vfs.disk().restart();
    for life in 0..lives {
        let vfs = SimVfs::new(disk, seed + life);
        let (kernel, queue) = open_queue(&vfs, &clock).unwrap();
        judge(&kernel, &queue, &mut known);
        if rng.bool() {
            // Whoever held something is forgotten, and its lease runs out.
            clock.advance(LEASE);
            known.held.clear();
        }
        vfs.set_crash_at(Some(vfs.calls() + 1 + life % 97));
        let error = work(&kernel, &queue, &mut rng, &mut next, &mut known).unwrap_err();
        let ClaimError::Kernel(error) = error else {
            panic!("life {life} of seed {seed}: {error}")
        };
        assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unavailable), "{error}");
        drop((kernel, queue));
        disk = vfs.disk().crash_randomly(&mut rng);
    }
    // The rest is done, and then the books balance.
    let vfs = SimVfs::new(disk, seed);
    let (kernel, queue) = open_queue(&vfs, &clock).unwrap();
    clock.advance(LEASE);
    known.held.clear();
    while let Some(token) = queue.claim("last").unwrap().claimed() {
        assert!(known.greatest_fence < token.fence());
        let done = queue.complete(&token, |tx| {
            assert_eq!(tx.get("done", token.payload())?, None, "done and still in the queue");
            Ok(tx.put("done", token.payload(), &[1])?)
        });
        done.unwrap();
    }
    judge(&kernel, &queue, &mut known);
    let tx = kernel.begin_read().unwrap();
    for number in &known.enqueued {
        assert!(tx.get("done", &number.to_be_bytes()).unwrap().is_some(), "job {number} is lost");
    }
    println!(
        "crash: {lives} lives ended by a power cut, {} jobs each done exactly once, greatest fencing \
         number {}; seed {seed}",
        known.enqueued.len(),
        known.greatest_fence
    );
}
