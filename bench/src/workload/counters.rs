//! Four threads increment a few counters, each time in a transaction that reads the counter first.
//! Whoever loses an update is told.

use super::{Bench, Found};
use crate::Result;
use crate::engine::count;
use crate::meter::{Meter, in_threads};
use fastrand::Rng;

const THREADS: u64 = 4;
const COUNTERS: u64 = 8;

fn key(counter: u64) -> Vec<u8> {
    format!("counter:{counter}").into_bytes()
}

/// Runs the threads and adds up the counters.
pub fn increments(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let sum = || {
        let mut sum = 0;
        engine.read(&mut |reader| {
            for counter in 0..COUNTERS {
                reader.get(&key(counter), &mut |value| sum += count(Some(value)))?;
            }
            Ok(())
        })?;
        Ok(sum) as Result<u64>
    };
    let before = sum()?;
    let each = bench.settings.operations.div_ceil(THREADS);
    let meter = Meter::start();
    in_threads((0..THREADS).collect(), |thread| {
        let mut rng = Rng::with_seed(bench.seed * THREADS + thread);
        (0..each).try_for_each(|_| engine.increment(&key(rng.u64(0..COUNTERS))))
    })?;
    let (seconds, cpu_us) = (meter.seconds(), meter.cpu_us());
    let (wanted, counted) = (THREADS * each, sum()? - before);
    engine.close()?;
    let lost = wanted as f64 - counted as f64;
    Ok(vec![
        ("counters", wanted as f64 / seconds),
        ("counters_cpu_us", cpu_us / wanted as f64),
        ("counters_lost", lost),
    ])
}
