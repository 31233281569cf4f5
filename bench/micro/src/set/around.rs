//! Around the kernel: what is counted and timed on a commit's way, what observers are told, and claims.

use super::{Micro, Run};
use sochdb_claims::{AtomicClaimManager, ClaimResult, JobOptions, LeaseConfig, LeaseManager};
use sochdb_kernel::{Clock, Environment, Kernel, Options};
use sochdb_observability::{Durations, Telemetry, Ticks, Tracer, TracerOptions};
use sochdb_sim::{ManualClock, MemoryVfs};
use sochdb_telemetry::Counter;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("telemetry.counter", 1_000, counter),
    Micro::new("telemetry.duration", 1_000, duration),
    Micro::new("telemetry.span-not-kept", 1_000, || span(0)),
    Micro::new("telemetry.span-kept", 100, || span(1)),
    Micro::new("telemetry.present", 1, present),
    Micro::new("claims.acquire-and-release", 10, lease),
    Micro::new("claims.enqueue-claim-ack", 10, job),
];

fn counter() -> Run {
    let counter = Counter::default();
    Box::new(move || (0..1_000).for_each(|count| black_box(&counter).add(count)))
}

fn duration() -> Run {
    let durations = Durations::default();
    Box::new(move || {
        for number in 0..1_000u64 {
            black_box(&durations).observe(Duration::from_nanos(number * number * 37));
        }
    })
}

/// How long a tick is, is known for good once it was asked some time after the first tick.
fn settle_the_clock() {
    let first = Ticks::now();
    std::thread::sleep(2 * Ticks::SETTLED);
    black_box(first.elapsed());
}

/// Spans of which one in `one_in` is kept; zero for none.
fn span(one_in: u32) -> Run {
    // None is slow, however slow the machine is.
    let options = TracerOptions { one_in, slow: Duration::MAX, waiting_max: 4_096 };
    let tracer = Tracer::new(options);
    drop(tracer.begin("first"));
    settle_the_clock();
    let times = if one_in == 0 { 1_000 } else { 100 };
    Box::new(move || (0..times).for_each(|_| drop(black_box(tracer.begin("commit")))))
}

fn present() -> Run {
    let telemetry = Telemetry::default();
    drop(telemetry.present());
    Box::new(move || {
        black_box(telemetry.present());
    })
}

/// A kernel on a disk in memory, and its clock.
fn kernel() -> (Kernel, Arc<dyn Clock>) {
    let clock = Arc::new(ManualClock::default());
    clock.advance(1_700_000_000_000_000);
    let vfs = Arc::new(MemoryVfs::new());
    let environment = Environment { vfs, clock: clock.clone(), seed: 7 };
    (Kernel::open(environment, Options::default()).expect("memory does not fail"), clock)
}

fn lease() -> Run {
    let (kernel, clock) = kernel();
    let leases = LeaseManager::open(&kernel, clock, "leases", LeaseConfig::default())
        .expect("the table is made");
    Box::new(move || {
        for _ in 0..10 {
            let claimed = leases.acquire("leader", "ada").expect("memory does not fail");
            let ClaimResult::Claimed(token) = claimed else { panic!("nobody else wants it") };
            leases.release(&token).expect("it is held");
        }
    })
}

fn job() -> Run {
    let (kernel, clock) = kernel();
    let queue = AtomicClaimManager::open(&kernel, clock, "jobs", LeaseConfig::default())
        .expect("the table is made");
    Box::new(move || {
        for _ in 0..10 {
            queue.enqueue(b"to ada", JobOptions::default()).expect("memory does not fail");
            let claimed = queue.claim("worker").expect("memory does not fail");
            let ClaimResult::Claimed(token) = claimed else { panic!("there is one") };
            queue.ack(&token).expect("it is held");
        }
    })
}
