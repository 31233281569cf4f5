//! Eight workers on one queue, of whom some die in the middle of a job: is every job done exactly once?

use crate::queue;
use sochdb_claims::{AtomicClaimManager, ClaimToken, JobOptions, LeaseConfig};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 8;
const JOBS: u64 = 600;
const LEASE: u64 = 1_000;

#[test]
fn every_job_is_done_exactly_once_though_workers_die() {
    run(true);
}

/// Managers opened separately know nothing of each other, so the kernel's conflicts keep them apart.
#[test]
fn the_same_with_a_manager_of_its_own_for_each_worker() {
    run(false);
}

fn run(shared: bool) {
    let config = LeaseConfig { lease_us: LEASE, attempts_max: u32::MAX, ..LeaseConfig::default() };
    let (kernel, queue, clock) = queue(config);
    let open = || match shared {
        true => queue.clone(),
        false => AtomicClaimManager::open(&kernel, clock.clone(), "jobs", config).unwrap(),
    };
    let managers: Vec<_> = (0..THREADS).map(|_| open()).collect();
    for number in 0..JOBS {
        queue.enqueue(&number.to_be_bytes(), JobOptions::default()).unwrap();
    }
    let (acked, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let (fences, dead): (Mutex<HashSet<u64>>, Mutex<Vec<ClaimToken>>) = Default::default();
    let work = |queue: &AtomicClaimManager, token: &ClaimToken| {
        let result = queue.complete(token, |tx| {
            let count = tx.get("done", token.payload())?.map_or(0, |count| count[0]);
            Ok(tx.put("done", token.payload(), &[count + 1])?)
        });
        match result {
            Ok(()) => acked.fetch_add(1, Ordering::SeqCst),
            Err(error) if error.is_stale() => refused.fetch_add(1, Ordering::SeqCst),
            Err(error) => panic!("{error}"),
        };
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let queue = managers[thread as usize].clone();
            let (clock, work, fences) = (&clock, &work, &fences);
            let (acked, dead) = (&acked, &dead);
            let mut rng = fastrand::Rng::with_seed(thread);
            scope.spawn(move || {
                while acked.load(Ordering::SeqCst) < JOBS {
                    let Some(mut token) = queue.claim(&format!("w{thread}")).unwrap().claimed()
                    else {
                        clock.advance(LEASE / 4);
                        std::thread::yield_now();
                        continue;
                    };
                    assert!(fences.lock().unwrap().insert(token.fence()), "a fencing number twice");
                    match rng.u8(0..10) {
                        // Dies, and comes back from the dead later.
                        0 | 1 => dead.lock().unwrap().push(token),
                        // Works for longer than its lease; to renew it may be too late.
                        2 => {
                            clock.advance(LEASE);
                            std::thread::yield_now();
                            let _ = queue.renew(&mut token, LEASE);
                            work(&queue, &token);
                        }
                        3 => drop(queue.release(&token, 10, "not now")),
                        _ => work(&queue, &token),
                    }
                    if rng.u8(0..8) == 0 {
                        let zombie = dead.lock().unwrap().pop();
                        zombie.inspect(|zombie| work(&queue, zombie));
                    }
                }
            });
        }
    });
    for zombie in dead.lock().unwrap().iter() {
        assert!(queue.ack(zombie).unwrap_err().is_stale());
    }
    let tx = kernel.begin_read().unwrap();
    let done: Vec<u8> = tx.scan("done", ..).unwrap().map(|row| row.unwrap().1[0]).collect();
    assert_eq!(done, vec![1; JOBS as usize]);
    assert_eq!(acked.load(Ordering::SeqCst), JOBS);
    let stats = queue.stats().unwrap();
    let left = stats.ready + stats.delayed + stats.claimed + stats.expired + stats.dead;
    assert_eq!(left, 0);
    let mut sum = [0; 4];
    for manager in if shared { &managers[..1] } else { &managers[..] } {
        let stats = manager.stats().unwrap();
        let counts = [stats.granted, stats.takeovers, stats.acked, stats.conflicts];
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [granted, takeovers, acks, conflicts] = sum;
    assert_eq!((acks, granted), (JOBS, fences.lock().unwrap().len() as u64));
    println!(
        "threads: {THREADS} workers ({}), {JOBS} jobs done exactly once in {granted} claims, {takeovers} of \
         them takeovers, {} stale acknowledgements refused, {conflicts} conflicts",
        if shared { "one manager" } else { "a manager each" },
        refused.load(Ordering::SeqCst)
    );
}
