//! What each call of a queue does, and refuses.

use crate::{claim, drain, open, queue};
use sochdb_claims::{
    AtomicClaimManager, ClaimError, ClaimResult, ClaimToken, JobOptions, JobState, LeaseConfig,
    LeaseManager, Released, WHY_BYTES_MAX,
};
use sochdb_kernel::{
    Environment, ErrorKind, IsolationLevel, Kernel, KernelError, Options, TransactionOptions,
};
use sochdb_sim::MemoryVfs;
use std::sync::Arc;

const SECOND: u64 = 1_000_000;

fn plain() -> JobOptions {
    JobOptions::default()
}

fn kind(error: ClaimError) -> ErrorKind {
    KernelError::from(error).kind()
}

#[test]
fn urgent_jobs_come_first_then_those_that_became_due_first() {
    let (_, queue, clock) = queue(LeaseConfig::default());
    let put = |name: &str, delay_us, priority| {
        queue.enqueue(name.as_bytes(), JobOptions { delay_us, priority }).unwrap();
    };
    put("low", 0, -128);
    put("later", 10, 0);
    put("first", 0, 0);
    put("second", 0, 0);
    put("urgent later", 20, 127);
    put("urgent", 0, 127);
    put("rather urgent", 0, 1);
    assert_eq!(drain(&queue), ["urgent", "rather urgent", "first", "second", "low"]);
    assert_eq!(queue.claim("w").unwrap(), ClaimResult::Empty { next_due_us: Some(SECOND + 10) });
    clock.advance(20);
    assert_eq!(drain(&queue), ["urgent later", "later"]);
}

#[test]
fn an_empty_queue_says_when_the_next_job_is_due() {
    let (_, queue, clock) = queue(LeaseConfig { lease_us: 30, ..LeaseConfig::default() });
    assert_eq!(queue.claim("w").unwrap(), ClaimResult::Empty { next_due_us: None });
    queue.enqueue(b"a", plain()).unwrap();
    queue.enqueue(b"b", JobOptions { delay_us: 50, ..plain() }).unwrap();
    let token = claim(&queue, "w");
    assert_eq!(token.until_us(), SECOND + 30);
    assert_eq!(queue.claim("v").unwrap(), ClaimResult::Empty { next_due_us: Some(SECOND + 30) });
    queue.ack(&token).unwrap();
    assert_eq!(queue.claim("v").unwrap(), ClaimResult::Empty { next_due_us: Some(SECOND + 50) });
    clock.advance(50);
    assert_eq!(claim(&queue, "v").payload(), b"b");
}

/// Every call that a token serves, each of which must answer `Stale` and change nothing.
fn all_calls_are_stale(kernel: &Kernel, queue: &AtomicClaimManager, token: &ClaimToken) {
    let before = queue.job(token.job().unwrap()).unwrap();
    let mut token = token.clone();
    assert!(queue.renew(&mut token, 1).unwrap_err().is_stale());
    assert!(queue.release(&token, 0, "late").unwrap_err().is_stale());
    assert!(queue.give_back(&token).unwrap_err().is_stale());
    assert!(queue.ack(&token).unwrap_err().is_stale());
    let work = queue.complete(&token, |tx| Ok(tx.put("done", b"stale", b"")?));
    assert!(work.unwrap_err().is_stale());
    let mut tx = kernel.begin().unwrap();
    assert!(queue.ack_in(&mut tx, &token).unwrap_err().is_stale());
    assert!(queue.guard_in(&mut tx, &token).unwrap_err().is_stale());
    drop(tx);
    // In a closure of the kernel's own `run` it becomes an error that is not tried again.
    let mut tries = 0;
    let run = kernel.run(|tx| {
        tries += 1;
        Ok(queue.ack_in(tx, &token)?)
    });
    assert_eq!((run.unwrap_err().kind(), tries), (ErrorKind::Closed, 1));
    assert_eq!(queue.job(token.job().unwrap()).unwrap(), before);
    assert_eq!(kernel.begin_read().unwrap().get("done", b"stale").unwrap(), None);
}

#[test]
fn a_stale_owner_can_do_nothing_after_a_takeover() {
    let (kernel, queue, clock) = queue(LeaseConfig::default());
    queue.enqueue(b"job", plain()).unwrap();
    let slow = claim(&queue, "slow");
    clock.advance(30 * SECOND);
    let quick = claim(&queue, "quick");
    assert!(slow.fence() < quick.fence());
    assert_eq!((quick.attempt(), quick.owner()), (2, "quick"));
    all_calls_are_stale(&kernel, &queue, &slow);
    let error = queue.ack(&slow).unwrap_err().to_string();
    assert!(error.contains("'quick' claimed it"), "{error}");
    queue.ack(&quick).unwrap();
    all_calls_are_stale(&kernel, &queue, &slow);
    all_calls_are_stale(&kernel, &queue, &quick);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.granted, stats.takeovers, stats.acked), (2, 1, 1));
    assert!(15 <= stats.stale, "{stats:?}");
}

#[test]
fn an_owner_whose_lease_ran_out_may_go_on_until_somebody_takes_over() {
    let (_, queue, clock) = queue(LeaseConfig { lease_us: 10, ..LeaseConfig::default() });
    queue.enqueue(b"job", plain()).unwrap();
    let mut token = claim(&queue, "late");
    clock.advance(11);
    assert_eq!(queue.stats().unwrap().expired, 1);
    queue.renew(&mut token, 10).unwrap();
    assert_eq!(token.until_us(), SECOND + 21);
    assert!(queue.claim("other").unwrap().claimed().is_none());
    clock.advance(11);
    queue.ack(&token).unwrap();
}

#[test]
fn a_clock_set_back_hands_no_claim_to_a_second_owner() {
    let (kernel, queue, clock) = queue(LeaseConfig::default());
    queue.enqueue(b"job", plain()).unwrap();
    let ada = claim(&queue, "ada");
    clock.set(5);
    assert!(queue.claim("bob").unwrap().claimed().is_none(), "the lease only lasts longer");
    // Far ahead the lease is over; back again, the one who took over stays the owner.
    clock.set(3_600 * SECOND);
    let bob = claim(&queue, "bob");
    clock.set(SECOND);
    assert!(queue.claim("eve").unwrap().claimed().is_none());
    all_calls_are_stale(&kernel, &queue, &ada);
    queue.ack(&bob).unwrap();
}

#[test]
fn a_released_job_comes_again_and_dies_after_its_last_attempt() {
    let (_, queue, clock) = queue(LeaseConfig { attempts_max: 2, ..LeaseConfig::default() });
    let id = queue.enqueue(b"job", plain()).unwrap();
    let first = claim(&queue, "w");
    let released = queue.release(&first, 7, "no paper").unwrap();
    assert_eq!(released, Released::Due { at_us: SECOND + 7 });
    assert_eq!(queue.stats().unwrap().delayed, 1);
    assert!(queue.claim("w").unwrap().claimed().is_none());
    clock.advance(7);
    let second = claim(&queue, "w");
    assert_eq!(second.attempt(), 2);
    let long = "ü".repeat(WHY_BYTES_MAX);
    assert_eq!(queue.release(&second, 7, &long).unwrap(), Released::Dead);
    assert_eq!(queue.claim("w").unwrap(), ClaimResult::Empty { next_due_us: None });
    let dead = queue.dead_jobs(10).unwrap();
    assert_eq!((dead.len(), dead[0].id, dead[0].state), (1, id, JobState::Dead));
    assert_eq!((dead[0].attempts, dead[0].why.len(), &*dead[0].payload), (2, 1024, &b"job"[..]));
    assert!(queue.revive(id).unwrap() && !queue.revive(id).unwrap());
    assert_eq!(claim(&queue, "w").attempt(), 1);
    assert_eq!(queue.stats().unwrap().dead, 0);
}

#[test]
fn a_job_that_kills_its_workers_is_put_aside() {
    let (_, queue, clock) = queue(LeaseConfig { attempts_max: 3, ..LeaseConfig::default() });
    queue.enqueue(b"poison", plain()).unwrap();
    for _ in 0..3 {
        claim(&queue, "victim");
        clock.advance(30 * SECOND);
    }
    queue.enqueue(b"good", plain()).unwrap();
    assert_eq!(claim(&queue, "w").payload(), b"good", "in the same call the poison is put aside");
    let stats = queue.stats().unwrap();
    assert_eq!((stats.dead, stats.died, stats.claimed), (1, 1, 1));
    let why = &queue.dead_jobs(1).unwrap()[0].why;
    assert_eq!(why, "claimed 3 times and never acknowledged");
}

#[test]
fn a_job_given_back_has_lost_no_attempt() {
    let (_, queue, _) = queue(LeaseConfig { attempts_max: 1, ..LeaseConfig::default() });
    queue.enqueue(b"job", plain()).unwrap();
    let mut fence = 0;
    for _ in 0..3 {
        let token = claim(&queue, "w");
        assert_eq!(token.attempt(), 1);
        assert!(fence < token.fence());
        fence = token.fence();
        queue.give_back(&token).unwrap();
    }
}

#[test]
fn a_job_given_back_comes_before_those_enqueued_after_it() {
    let (_, queue, clock) = queue(LeaseConfig::default());
    for payload in [b"a", b"b", b"c"] {
        queue.enqueue(payload, plain()).unwrap();
        clock.advance(1);
    }
    queue.give_back(&claim(&queue, "w")).unwrap();
    assert_eq!(drain(&queue), ["a", "b", "c"]);
}

#[test]
fn work_and_acknowledgement_commit_together_or_not_at_all() {
    let (kernel, queue, _) = queue(LeaseConfig::default());
    queue.enqueue(b"job", plain()).unwrap();
    let token = claim(&queue, "w");
    let failed: Result<(), _> = queue.complete(&token, |tx| {
        tx.put("done", b"job", b"half")?;
        Err(KernelError::invalid("the work fails").into())
    });
    assert_eq!(kind(failed.unwrap_err()), ErrorKind::Invalid);
    assert_eq!(kernel.begin_read().unwrap().get("done", b"job").unwrap(), None);
    let count = queue.complete(&token, |tx| {
        tx.put("done", b"job", b"whole")?;
        Ok(1)
    });
    assert_eq!(count.unwrap(), 1);
    assert_eq!(kernel.begin_read().unwrap().get("done", b"job").unwrap().unwrap(), b"whole");
    assert_eq!(queue.job(token.job().unwrap()).unwrap(), None);
}

#[test]
fn a_takeover_makes_the_commit_of_an_acknowledgement_a_conflict() {
    let (kernel, queue, clock) = queue(LeaseConfig { lease_us: 10, ..LeaseConfig::default() });
    for guard in [false, true] {
        queue.enqueue(b"job", plain()).unwrap();
        let slow = claim(&queue, "slow");
        let mut tx = kernel.begin().unwrap();
        match guard {
            true => queue.guard_in(&mut tx, &slow).unwrap(),
            false => queue.ack_in(&mut tx, &slow).unwrap(),
        }
        tx.put("done", b"slow", b"").unwrap();
        clock.advance(10);
        let quick = claim(&queue, "quick");
        assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(kernel.begin_read().unwrap().get("done", b"slow").unwrap(), None);
        queue.ack(&quick).unwrap();
    }
}

#[test]
fn jobs_of_a_callers_transaction_are_there_when_it_commits() {
    let (kernel, queue, _) = queue(LeaseConfig::default());
    let mut tx = kernel.begin().unwrap();
    queue.enqueue_in(&mut tx, b"never", plain()).unwrap();
    tx.rollback();
    let mut tx = kernel.begin().unwrap();
    let ids: Vec<_> = [b"a", b"b", b"c"]
        .iter()
        .map(|payload| queue.enqueue_in(&mut tx, *payload, plain()).unwrap())
        .collect();
    assert!(ids.is_sorted());
    assert!(queue.claim("w").unwrap().claimed().is_none());
    tx.commit().unwrap();
    assert_eq!(drain(&queue), ["a", "b", "c"]);
}

#[test]
fn a_transaction_that_never_conflicts_is_refused() {
    let (kernel, queue, _) = queue(LeaseConfig::default());
    queue.enqueue(b"job", plain()).unwrap();
    let token = claim(&queue, "w");
    let isolation = IsolationLevel::ReadCommitted;
    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
    let mut tx = kernel.begin_with(options).unwrap();
    assert_eq!(kind(queue.ack_in(&mut tx, &token).unwrap_err()), ErrorKind::Invalid);
    assert_eq!(kind(queue.guard_in(&mut tx, &token).unwrap_err()), ErrorKind::Invalid);
    // Enqueuing depends on nothing that was read.
    queue.enqueue_in(&mut tx, b"more", plain()).unwrap();
    tx.commit().unwrap();
    assert_eq!(drain(&queue), ["more"]);
}

#[test]
fn a_batch_gives_each_job_its_own_fencing_number() {
    let (_, queue, _) = queue(LeaseConfig::default());
    for number in 0..5 {
        queue.enqueue(&[number], plain()).unwrap();
    }
    let first = queue.claim_many("w", 3).unwrap();
    let rest = queue.claim_many("w", 256).unwrap();
    assert_eq!((first.len(), rest.len()), (3, 2));
    let fences: Vec<u64> = first.iter().chain(&rest).map(ClaimToken::fence).collect();
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
    assert_eq!(kind(queue.claim_many("w", 257).unwrap_err()), ErrorKind::Limit);
    assert_eq!(queue.claim_many("w", 1).unwrap(), []);
    for token in first.iter().chain(&rest) {
        queue.ack(token).unwrap();
    }
}

#[test]
fn everything_survives_a_restart_and_fencing_numbers_only_grow() {
    let vfs = MemoryVfs::new();
    let clock = crate::WallClock::at(1, 0);
    let reopen = || {
        let kernel = open(Arc::new(vfs.clone()));
        let config = LeaseConfig::default();
        let queue = AtomicClaimManager::open(&kernel, clock.clone(), "jobs", config).unwrap();
        (kernel, queue)
    };
    let mut held: Option<ClaimToken> = None;
    for life in 0..20 {
        let (kernel, queue) = reopen();
        queue.enqueue(format!("{life}").as_bytes(), plain()).unwrap();
        if let Some(token) = held.take() {
            // The claim of an earlier life is still good, and still the only one.
            let job = queue.job(token.job().unwrap()).unwrap().unwrap();
            assert_eq!((job.state, job.fence), (JobState::Claimed, token.fence()));
            let next = claim(&queue, "next");
            assert!(token.fence() < next.fence());
            assert_eq!(next.payload(), format!("{life}").as_bytes());
            queue.ack(&token).unwrap();
            held = Some(next);
        } else {
            held = Some(claim(&queue, "first"));
        }
        match life % 3 {
            0 => kernel.close().unwrap(),
            1 => drop(kernel.checkpoint().unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_database_that_is_read_only_shows_its_queue_and_grants_nothing() {
    let vfs = MemoryVfs::new();
    let clock = crate::WallClock::at(1, 0);
    let kernel = open(Arc::new(vfs.clone()));
    let queue = AtomicClaimManager::open(&kernel, clock.clone(), "jobs", Default::default());
    queue.unwrap().enqueue(b"job", plain()).unwrap();
    drop(kernel);
    let env = Environment { vfs: Arc::new(vfs), clock: clock.clone(), seed: 1 };
    let kernel = Kernel::open(env, Options { read_only: true, ..Options::default() }).unwrap();
    let queue =
        AtomicClaimManager::open(&kernel, clock.clone(), "jobs", Default::default()).unwrap();
    assert_eq!(queue.stats().unwrap().ready, 1);
    assert_eq!(kind(queue.claim("w").unwrap_err()), ErrorKind::Invalid);
    let none = AtomicClaimManager::open(&kernel, clock, "others", Default::default());
    assert_eq!(kind(none.err().unwrap()), ErrorKind::Invalid);
}

#[test]
fn a_cancelled_job_is_gone_in_every_state() {
    let (kernel, queue, _) = queue(LeaseConfig { attempts_max: 1, ..LeaseConfig::default() });
    let ready = queue.enqueue(b"ready", plain()).unwrap();
    assert!(queue.cancel(ready).unwrap());
    assert!(!queue.cancel(ready).unwrap());
    let claimed = queue.enqueue(b"claimed", plain()).unwrap();
    let token = claim(&queue, "w");
    assert!(queue.cancel(claimed).unwrap());
    all_calls_are_stale(&kernel, &queue, &token);
    let dead = queue.enqueue(b"dead", plain()).unwrap();
    queue.release(&claim(&queue, "w"), 0, "").unwrap();
    assert!(queue.cancel(dead).unwrap());
    assert_eq!(queue.dead_jobs(1).unwrap(), []);
    let left = kernel.begin_read().unwrap().scan("jobs", ..).unwrap().count();
    assert_eq!(left, 1, "only the row that says what the table is");
}

#[test]
fn a_token_serves_only_the_queue_it_came_from() {
    let (kernel, queue, clock) = queue(LeaseConfig::default());
    let config = LeaseConfig::default();
    let other = AtomicClaimManager::open(&kernel, clock.clone(), "other", config).unwrap();
    queue.enqueue(b"job", plain()).unwrap();
    let token = claim(&queue, "w");
    assert_eq!(kind(other.ack(&token).unwrap_err()), ErrorKind::Invalid);
    let leases = LeaseManager::open(&kernel, clock, "names", config).unwrap();
    assert_eq!(kind(leases.release(&token).unwrap_err()), ErrorKind::Invalid);
}

#[test]
fn a_table_of_something_else_is_left_alone() {
    let (kernel, _, clock) = queue(LeaseConfig::default());
    let queue = |table| AtomicClaimManager::open(&kernel, clock.clone(), table, Default::default());
    let leases = |table| LeaseManager::open(&kernel, clock.clone(), table, Default::default());
    leases("names").unwrap();
    assert_eq!(kind(queue("done").err().unwrap()), ErrorKind::Invalid);
    assert_eq!(kind(queue("names").err().unwrap()), ErrorKind::Invalid);
    assert_eq!(kind(leases("jobs").err().unwrap()), ErrorKind::Invalid);
    assert_eq!(kind(queue("").err().unwrap()), ErrorKind::Invalid);
    kernel.run(|tx| tx.put("jobs", b"m", b"sochdb claims\x01\x02")).unwrap();
    assert_eq!(kind(queue("jobs").err().unwrap()), ErrorKind::Unavailable);
    let no_time = LeaseConfig { lease_us: 0, ..LeaseConfig::default() };
    let refused = AtomicClaimManager::open(&kernel, clock.clone(), "new", no_time);
    assert_eq!(kind(refused.err().unwrap()), ErrorKind::Invalid);
}

#[test]
fn owners_have_names_of_a_sensible_length() {
    let (_, queue, _) = queue(LeaseConfig::default());
    assert_eq!(kind(queue.claim("").unwrap_err()), ErrorKind::Invalid);
    assert_eq!(kind(queue.claim(&"x".repeat(257)).unwrap_err()), ErrorKind::Limit);
}

#[test]
fn stats_count_every_job_once() {
    let (_, queue, clock) = queue(LeaseConfig { attempts_max: 1, ..LeaseConfig::default() });
    for number in 0..10 {
        let delay_us = if number < 2 { 1_000 * SECOND } else { 0 };
        queue.enqueue(&[number], JobOptions { delay_us, ..plain() }).unwrap();
    }
    let tokens: Vec<_> = (0..5).map(|_| claim(&queue, "w")).collect();
    queue.ack(&tokens[0]).unwrap();
    queue.release(&tokens[1], 0, "").unwrap();
    clock.advance(20 * SECOND);
    queue.renew(&mut tokens[2].clone(), 30 * SECOND).unwrap();
    clock.advance(20 * SECOND);
    let stats = queue.stats().unwrap();
    let gauges = (stats.ready, stats.delayed, stats.claimed, stats.expired, stats.dead);
    assert_eq!(gauges, (3, 2, 1, 2, 1));
    let counters = (stats.enqueued, stats.granted, stats.renewed, stats.released, stats.acked);
    assert_eq!(counters, (10, 5, 1, 1, 1));
    assert_eq!((stats.died, stats.takeovers, stats.stale, stats.conflicts), (1, 0, 0, 0));
    assert_eq!(stats.metrics().len(), 14);
}

/// A queue whose clock moves with every question, so that looks begin where the last one ended, and a
/// second manager of the same table.
fn ticking() -> (Kernel, AtomicClaimManager, AtomicClaimManager, Arc<crate::WallClock>) {
    let (kernel, ..) = queue(LeaseConfig::default());
    let clock = crate::WallClock::at(SECOND, 1_000);
    let open =
        || AtomicClaimManager::open(&kernel, clock.clone(), "ticking", Default::default()).unwrap();
    let (first, second) = (open(), open());
    (kernel, first, second, clock)
}

#[test]
fn a_job_that_commits_behind_the_front_is_found_at_once() {
    let (kernel, queue, _, clock) = ticking();
    for _ in 0..3 {
        queue.enqueue(b"early commit", plain()).unwrap();
    }
    let mut tx = kernel.begin().unwrap();
    clock.set(SECOND - 1);
    queue.enqueue_in(&mut tx, b"late commit", plain()).unwrap();
    let mut never = kernel.begin().unwrap();
    queue.enqueue_in(&mut never, b"never", plain()).unwrap();
    drop(never);
    clock.set(SECOND);
    assert_eq!(claim(&queue, "w").payload(), b"early commit");
    tx.commit().unwrap();
    queue.enqueue(b"urgent", JobOptions { priority: 1, ..plain() }).unwrap();
    assert_eq!(drain(&queue), ["urgent", "late commit", "early commit", "early commit"]);
    // Also when a look has just found the queue empty, and in a class that nobody has seen.
    for priority in [0, 7] {
        clock.advance(1);
        let mut tx = kernel.begin().unwrap();
        let options = JobOptions { priority, ..plain() };
        queue.enqueue_in(&mut tx, b"another", options).unwrap();
        assert_eq!(drain(&queue), [""; 0]);
        tx.commit().unwrap();
        assert_eq!(drain(&queue), ["another"]);
    }
}

#[test]
fn more_open_jobs_than_are_remembered_are_found_all_the_same() {
    let (kernel, queue, ..) = ticking();
    queue.enqueue(b"first", plain()).unwrap();
    let mut tx = kernel.begin().unwrap();
    for _ in 0..3_000 {
        queue.enqueue_in(&mut tx, b"x", plain()).unwrap();
    }
    assert_eq!(drain(&queue), ["first"]);
    tx.commit().unwrap();
    let mut found = 0;
    for _ in 0..100 {
        found += drain(&queue).len();
    }
    assert_eq!(found, 3_000);
}

#[test]
fn a_second_manager_of_a_table_finds_the_jobs_of_the_first() {
    let (_, first, second, _) = ticking();
    let mut found = 0;
    for round in 0..50_u32 {
        first.enqueue(&round.to_be_bytes(), plain()).unwrap();
        found += usize::from(second.claim("w").unwrap().claimed().is_some());
    }
    for _ in 0..32 {
        found += usize::from(second.claim("w").unwrap().claimed().is_some());
    }
    assert_eq!(found, 50);
}
