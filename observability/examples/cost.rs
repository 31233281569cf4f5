//! What telemetry costs: nanoseconds for each thing, with one thread and with two at the same counters.
//!
//! `cargo run --release -p sochdb-observability --example cost`

use sochdb_observability::{Durations, Telemetry, TelemetryOptions, Ticks, TracerOptions};
use sochdb_telemetry::Counter;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt;

const ROUNDS: u32 = 1_000_000;

/// Nanoseconds of one `work`: the best of five runs, with each thread's own time.
fn nanoseconds(threads: u32, work: &(dyn Fn(u32) + Sync)) -> f64 {
    let run = || {
        let rounds = || {
            let began = Instant::now();
            (0..ROUNDS).for_each(work);
            began.elapsed()
        };
        let all = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(rounds)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("does not panic"))
                .sum::<Duration>()
        });
        all.as_secs_f64() * 1e9 / f64::from(threads * ROUNDS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn telemetry(one_in: u32) -> Telemetry {
    let spans = TracerOptions { one_in, slow: Duration::from_secs(1), waiting_max: 4096 };
    Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() })
}

/// Takes away what waits, now and then: what an observer's thread does.
fn deliver(telemetry: &Telemetry, round: u32) {
    if round.is_multiple_of(2048) {
        drop(telemetry.batch());
    }
}

fn main() {
    let began = Instant::now();
    black_box(Ticks::now());
    println!("the first reading of the clock: {} us", began.elapsed().as_micros());
    let began = Instant::now();
    black_box(Telemetry::default());
    println!("a telemetry, and its end: {} us", began.elapsed().as_micros());

    let (counter, durations) = (Counter::default(), Durations::default());
    let (seldom, default, always) = (telemetry(0), telemetry(1024), telemetry(1));
    let subscriber = tracing_subscriber::registry().with(default.layer());
    tracing::subscriber::set_global_default(subscriber).expect("there is none yet");
    let ns = |i: u32| Duration::from_nanos(u64::from(i) * 7 % 20_000_000);
    let rows: [(&str, &(dyn Fn(u32) + Sync)); 11] = [
        ("nothing", &|i| {
            black_box(i);
        }),
        ("clock, read twice", &|_| {
            black_box(Ticks::now().elapsed());
        }),
        ("std's clock, read twice", &|_| {
            black_box(Instant::now().elapsed());
        }),
        ("counter add", &|_| counter.add(1)),
        ("duration observe", &|i| durations.observe(ns(i))),
        ("span, none sampled", &|_| drop(black_box(seldom.tracer().begin("commit")))),
        ("span, one in 1024 sampled", &|_| drop(black_box(default.tracer().begin("commit")))),
        ("span, sampled", &|i| {
            drop(black_box(always.tracer().begin("commit")));
            deliver(&always, i);
        }),
        ("event disabled (debug)", &|i| tracing::debug!(target: "sochdb", i, "quiet")),
        ("event of somebody else", &|i| tracing::info!(target: "elsewhere", i, "not ours")),
        ("event to the layer", &|i| {
            tracing::info!(target: "sochdb", i, "a line");
            deliver(&default, i);
        }),
    ];
    println!("{:<28} {:>12} {:>12}", "ns", "1 thread", "2 threads");
    for (name, work) in rows {
        println!("{name:<28} {:>12.1} {:>12.1}", nanoseconds(1, work), nanoseconds(2, work));
    }
}
