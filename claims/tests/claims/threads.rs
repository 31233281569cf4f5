//! Eight workers on one queue, of whom some die in the middle of a job: is every job done exactly once?

use crate::queue;
use sochdb_claims::{ClaimToken, JobOptions, LeaseConfig};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 8;
const JOBS: u64 = 600;
const LEASE: u64 = 1_000;

#[test]
fn every_job_is_done_exactly_once_though_workers_die() {
    let config = LeaseConfig { lease_us: LEASE, attempts_max: u32::MAX, ..LeaseConfig::default() };
    let (kernel, queue, clock) = queue(config);
    for number in 0..JOBS {
        queue.enqueue(&number.to_be_bytes(), JobOptions::default()).unwrap();
    }
    let (acked, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let (fences, dead): (Mutex<HashSet<u64>>, Mutex<Vec<ClaimToken>>) = Default::default();
    let work = |token: &ClaimToken| {
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
            let (queue, clock, work, fences) = (queue.clone(), &clock, &work, &fences);
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
                            work(&token);
                        }
                        3 => drop(queue.release(&token, 10, "not now")),
                        _ => work(&token),
                    }
                    if rng.u8(0..8) == 0 {
                        let zombie = dead.lock().unwrap().pop();
                        zombie.inspect(work);
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
    assert_eq!((left, stats.acked), (0, JOBS));
    assert_eq!(stats.granted, fences.lock().unwrap().len() as u64);
    println!(
        "threads: {THREADS} workers, {JOBS} jobs done exactly once in {} claims, {} of them takeovers, {} \
         stale acknowledgements refused, {} conflicts",
        stats.granted,
        stats.takeovers,
        refused.load(Ordering::SeqCst),
        stats.conflicts
    );
}
