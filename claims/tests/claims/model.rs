//! Is a queue what a plain list of jobs is? Random calls by random owners, with random old tokens, on a
//! clock that jumps both ways, on a database that is closed and opened in between, judged call by call.

use crate::{WallClock, open};
use fastrand::Rng;
use sochdb_claims::{
    AtomicClaimManager, ClaimOutcome, ClaimToken, JobId, JobOptions, JobState, LeaseConfig,
    Released,
};
use sochdb_kernel::{Kernel, KeyRange};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;

const ATTEMPTS_MAX: u32 = 3;
const LEASE: u64 = 100;

#[derive(Clone, Debug)]
struct Model {
    state: JobState,
    priority: i8,
    due: u64,
    enqueued: u64,
    fence: u64,
    attempts: u32,
    payload: Vec<u8>,
}

struct World {
    rng: Rng,
    vfs: MemoryVfs,
    clock: Arc<WallClock>,
    now: u64,
    kernel: Kernel,
    queue: AtomicClaimManager,
    jobs: BTreeMap<JobId, Model>,
    /// Every token ever given out.
    tokens: Vec<ClaimToken>,
    /// Looks always begin at the beginning, so the order is exact.
    exact: bool,
    calls: [u64; 2],
}

impl World {
    fn new(seed: u64) -> World {
        let exact = seed.is_multiple_of(2);
        let clock = WallClock::at(1_000, if exact { 0 } else { 100 });
        let vfs = MemoryVfs::new();
        let (kernel, queue) = World::open(&vfs, &clock);
        World {
            rng: Rng::with_seed(seed),
            vfs,
            clock,
            now: 1_000,
            kernel,
            queue,
            jobs: BTreeMap::new(),
            tokens: Vec::new(),
            exact,
            calls: [0, 0],
        }
    }

    fn open(vfs: &MemoryVfs, clock: &Arc<WallClock>) -> (Kernel, AtomicClaimManager) {
        let kernel = open(Arc::new(vfs.clone()));
        let config =
            LeaseConfig { lease_us: LEASE, attempts_max: ATTEMPTS_MAX, ..Default::default() };
        let queue = AtomicClaimManager::open(&kernel, clock.clone(), "jobs", config).unwrap();
        (kernel, queue)
    }

    fn enqueue(&mut self) {
        let delay_us = if self.rng.bool() { 0 } else { self.rng.u64(0..300) };
        let priority = [0, 0, 0, 5, -5, 127, -128][self.rng.usize(0..7)];
        let payload = vec![self.rng.u8(..); self.rng.usize(0..20)];
        let options = JobOptions { delay_us, priority };
        let id = match self.rng.u8(0..4) {
            0 => {
                let mut tx = self.kernel.begin().unwrap();
                let id = self.queue.enqueue_in(&mut tx, &payload, options).unwrap();
                if self.rng.bool() {
                    return tx.rollback();
                }
                tx.commit().unwrap();
                id
            }
            _ => self.queue.enqueue(&payload, options).unwrap(),
        };
        let state = JobState::Ready;
        let due = self.now + delay_us;
        let enqueued = self.now;
        let job = Model { state, priority, due, enqueued, fence: 0, attempts: 0, payload };
        assert!(self.jobs.insert(id, job).is_none(), "job {id} twice");
    }

    /// Jobs that are due, in order.
    fn due(&self) -> Vec<JobId> {
        let mut due: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state != JobState::Dead && job.due <= self.now)
            .collect();
        due.sort_by_key(|(id, job)| (-i16::from(job.priority), job.due, **id));
        due.into_iter().map(|(id, _)| *id).collect()
    }

    fn claim(&mut self) {
        let wanted = if self.rng.bool() { 1 } else { self.rng.usize(1..5) };
        let tokens = self.queue.claim_many("owner", wanted).unwrap();
        let mut due = self.due().into_iter();
        let mut greatest = self.tokens.iter().map(ClaimToken::fence).max().unwrap_or(0);
        for token in &tokens {
            let id = token.job().unwrap();
            if self.exact {
                // Those before it were at their end and were put aside.
                for earlier in due.by_ref().take_while(|earlier| *earlier != id) {
                    let earlier = self.jobs.get_mut(&earlier).unwrap();
                    assert_eq!(earlier.attempts, ATTEMPTS_MAX, "{id} before {earlier:?}");
                    earlier.state = JobState::Dead;
                }
            }
            let job = self.jobs.get_mut(&id).expect("a claimed job exists");
            assert!(job.state != JobState::Dead && job.due <= self.now, "{id} {job:?}");
            assert!(job.attempts < ATTEMPTS_MAX, "{id} {job:?}");
            assert!(greatest < token.fence(), "{} after {greatest}", token.fence());
            greatest = token.fence();
            job.state = JobState::Claimed;
            job.due = self.now + LEASE;
            job.fence = token.fence();
            job.attempts += 1;
            assert_eq!(token.attempt(), job.attempts);
            assert_eq!(token.payload(), job.payload);
        }
        // Those at their end may have been put aside on the way, and must have been if nothing was found.
        for id in self.due() {
            let dead = self.queue.job(id).unwrap().unwrap().state == JobState::Dead;
            let job = self.jobs.get_mut(&id).unwrap();
            assert!(!dead || job.attempts == ATTEMPTS_MAX, "{id} {job:?}");
            assert!(dead || !tokens.is_empty(), "{id} {job:?} is due and was not found");
            if dead {
                job.state = JobState::Dead;
            }
        }
        self.tokens.extend(tokens);
    }

    /// Judges a call made with a token: it succeeds if and only if the claim is the newest.
    fn judge<T: std::fmt::Debug>(
        &mut self,
        token: &ClaimToken,
        result: ClaimOutcome<T>,
    ) -> Option<T> {
        let job = self.jobs.get(&token.job().unwrap());
        let good =
            job.is_some_and(|job| job.state == JobState::Claimed && job.fence == token.fence());
        self.calls[usize::from(good)] += 1;
        match result {
            Ok(value) => {
                assert!(good, "a stale token served: {token:?}, {job:?}");
                Some(value)
            }
            Err(error) => {
                assert!(error.is_stale() && !good, "{error}, {token:?}, {job:?}");
                None
            }
        }
    }

    fn act(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let recent = self.rng.bool();
        let from = if recent { self.tokens.len().saturating_sub(6) } else { 0 };
        let index = self.rng.usize(from..self.tokens.len());
        let mut token = self.tokens[index].clone();
        let id = token.job().unwrap();
        let now = self.now;
        match self.rng.u8(0..6) {
            0 => {
                let result = self.queue.renew(&mut token, 250);
                if self.judge(&token, result).is_some() {
                    assert_eq!(token.until_us(), now + 250);
                    self.jobs.get_mut(&id).unwrap().due = now + 250;
                }
            }
            1 => {
                let delay = self.rng.u64(0..200);
                let result = self.queue.release(&token, delay, "why");
                if let Some(released) = self.judge(&token, result) {
                    let job = self.jobs.get_mut(&id).unwrap();
                    job.state = match job.attempts {
                        ATTEMPTS_MAX => JobState::Dead,
                        _ => JobState::Ready,
                    };
                    job.due = if job.state == JobState::Dead { job.due } else { now + delay };
                    let dead = released == Released::Dead;
                    assert_eq!(dead, job.state == JobState::Dead);
                }
            }
            2 => {
                let result = self.queue.give_back(&token);
                if self.judge(&token, result).is_some() {
                    let job = self.jobs.get_mut(&id).unwrap();
                    let due = now.min(job.enqueued);
                    (job.state, job.due, job.attempts) = (JobState::Ready, due, job.attempts - 1);
                }
            }
            3 => {
                let mut tx = self.kernel.begin().unwrap();
                let result = self.queue.ack_in(&mut tx, &token);
                let commit = self.rng.bool();
                if self.judge(&token, result).is_some() && commit {
                    tx.commit().unwrap();
                    self.jobs.remove(&id);
                }
            }
            _ => {
                let result = self.queue.ack(&token);
                if self.judge(&token, result).is_some() {
                    self.jobs.remove(&id);
                }
            }
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..32) {
            0..=8 => self.enqueue(),
            9..=17 => self.claim(),
            18..=24 => self.act(),
            25 => {
                let Some(index) =
                    (!self.jobs.is_empty()).then(|| self.rng.usize(..self.jobs.len()))
                else {
                    return;
                };
                let id = *self.jobs.keys().nth(index).unwrap();
                if self.rng.bool() {
                    assert!(self.queue.cancel(id).unwrap());
                    self.jobs.remove(&id);
                } else {
                    let job = self.jobs.get_mut(&id).unwrap();
                    let dead = job.state == JobState::Dead;
                    assert_eq!(self.queue.revive(id).unwrap(), dead);
                    if dead {
                        (job.state, job.due, job.attempts) = (JobState::Ready, self.now, 0);
                    }
                }
            }
            26 | 27 => self.set_clock(self.now + self.rng.clone().u64(0..150)),
            28 => self.set_clock(self.now - self.rng.clone().u64(0..self.now.min(200))),
            29 => drop(self.kernel.checkpoint().unwrap()),
            30 => self.look(),
            _ => {
                if self.rng.bool() {
                    self.kernel.close().unwrap();
                }
                // The old handles must be gone before the directory opens again.
                let idle = open(Arc::new(MemoryVfs::new()));
                let queue =
                    AtomicClaimManager::open(&idle, self.clock.clone(), "q", Default::default());
                (self.kernel, self.queue) = (idle, queue.unwrap());
                (self.kernel, self.queue) = World::open(&self.vfs, &self.clock);
            }
        }
    }

    fn set_clock(&mut self, now: u64) {
        let _ = self.rng.u64(..);
        self.now = now;
        self.clock.set(now);
    }

    /// Compares everything that can be seen, and the rows with each other.
    fn look(&self) {
        let stats = self.queue.stats().unwrap();
        let count = |state: JobState, due: Option<bool>| {
            let jobs = self.jobs.values().filter(|job| job.state == state);
            jobs.filter(|job| due.is_none_or(|due| due == (job.due <= self.now))).count() as u64
        };
        assert_eq!(stats.ready, count(JobState::Ready, Some(true)));
        assert_eq!(stats.delayed, count(JobState::Ready, Some(false)));
        assert_eq!(stats.claimed, count(JobState::Claimed, Some(false)));
        assert_eq!(stats.expired, count(JobState::Claimed, Some(true)));
        assert_eq!(stats.dead, count(JobState::Dead, None));
        for (id, model) in &self.jobs {
            let job = self.queue.job(*id).unwrap().expect("there");
            assert_eq!(
                (job.state, job.priority, job.fence),
                (model.state, model.priority, model.fence)
            );
            assert_eq!((job.attempts, &*job.payload), (model.attempts, &model.payload[..]));
            assert!(model.state == JobState::Dead || job.due_us == model.due, "{job:?} {model:?}");
        }
        let tx = self.kernel.begin_read().unwrap();
        let rows =
            |prefix: &[u8]| tx.scan("jobs", KeyRange::prefix(prefix)).unwrap().count() as u64;
        let all = self.jobs.len() as u64;
        assert_eq!((rows(b"j"), rows(b"p"), rows(b"x")), (all, all, stats.dead));
        assert_eq!(rows(b"q"), all - stats.dead);
    }
}

#[test]
fn a_queue_is_what_a_plain_list_of_jobs_is() {
    let first = std::env::var("SOCHDB_SEED").map_or(1, |seed| seed.parse().unwrap());
    let times = std::env::var("SOCHDB_PROOF").map_or(1, |times| times.parse().unwrap_or(100));
    let (runs, steps) = (60 * times, 400);
    let mut calls = [0, 0];
    for seed in first..first + runs {
        let life = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            (0..steps).for_each(|_| world.step());
            world.look();
            world.calls
        });
        match std::panic::catch_unwind(life) {
            Ok([stale, good]) => calls = [calls[0] + stale, calls[1] + good],
            Err(panic) => {
                println!(
                    "replay: SOCHDB_SEED={seed} cargo test -p sochdb-claims --test claims model"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!(
        "model: {runs} seeds of {steps} calls, {} good and {} stale tokens, none judged wrongly; first \
         seed {first}",
        calls[1], calls[0]
    );
    assert!(100 < calls[0] && 100 < calls[1]);
}
