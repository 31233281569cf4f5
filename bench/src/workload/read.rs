//! Reading: single rows, and short ranges.

use super::{Bench, Found};
use crate::Result;
use crate::data::{Zipfian, key};
use crate::engine::Engine;
use crate::meter::{Meter, in_threads, quantile};
use fastrand::Rng;
use std::time::Instant;

/// Rows of one scan.
const SCAN_ROWS: usize = 100;
/// So many point reads to one scan.
const GETS_PER_SCAN: u64 = 20;
/// Threads where there are many.
const THREADS: u64 = 2;

/// Keys of rows that are asked for alike.
fn uniform(bench: &Bench<'_>, count: u64, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::with_seed(seed);
    (0..count).map(|_| key(rng.u64(0..bench.settings.rows))).collect()
}

/// Keys of rows of which some are asked for far more often.
fn skewed(bench: &Bench<'_>, count: u64, seed: u64) -> Vec<Vec<u8>> {
    let (mut rng, zipfian) = (Rng::with_seed(seed), Zipfian::new(bench.settings.rows));
    (0..count).map(|_| key(zipfian.draw(&mut rng))).collect()
}

/// Point reads, each thread on one snapshot: once to warm up, once to measure.
pub fn gets(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let (count, seed) = (bench.settings.operations, bench.seed);
    let mut found = Vec::new();
    let one = one_by_one(bench, &*engine, &uniform(bench, count, seed))?;
    found.extend(["get_us", "get_p99_us", "get_cpu_us"].into_iter().zip(one));
    let share = |draw: fn(&Bench<'_>, u64, u64) -> Vec<Vec<u8>>| -> Vec<_> {
        (0..THREADS).map(|thread| draw(bench, count, seed * THREADS + thread)).collect()
    };
    let two = together(bench, &*engine, &share(uniform))?;
    found.extend(["get_2", "get_2_cpu_us"].into_iter().zip(two));
    let one = one_by_one(bench, &*engine, &skewed(bench, count, seed))?;
    found.extend(["getz_us", "getz_p99_us", "getz_cpu_us"].into_iter().zip(one));
    let two = together(bench, &*engine, &share(skewed))?;
    found.extend(["getz_2", "getz_2_cpu_us"].into_iter().zip(two));
    engine.close()?;
    Ok(found)
}

/// One thread: median and 99th percentile of a read in microseconds, and its processor time.
fn one_by_one(bench: &Bench<'_>, engine: &dyn Engine, keys: &[Vec<u8>]) -> Result<[f64; 3]> {
    let mut times = Vec::with_capacity(keys.len());
    let (mut cpu_us, mut bytes) = (0.0, 0);
    for _ in ["warm up", "measure"] {
        (times, bytes) = (Vec::with_capacity(keys.len()), 0);
        let meter = Meter::start();
        engine.read(&mut |reader| {
            let mut start = Instant::now();
            for key in keys {
                reader.get(key, &mut |value| bytes += value.len())?;
                let end = Instant::now();
                times.push((end - start).as_secs_f64() * 1e6);
                start = end;
            }
            Ok(())
        })?;
        cpu_us = meter.cpu_us() / keys.len() as f64;
    }
    expect_bytes(bench, keys.len(), bytes)?;
    Ok([quantile(&mut times, 0.5), quantile(&mut times, 0.99), cpu_us])
}

/// A thread for each list of keys: reads a second of all together, and the processor time of one in microseconds.
///
/// # Errors
/// Whatever the engine returns, and when a row is missing.
pub fn together(
    bench: &Bench<'_>,
    engine: &dyn Engine,
    shares: &[Vec<Vec<u8>>],
) -> Result<[f64; 2]> {
    let meter = Meter::start();
    let bytes = in_threads(shares.iter().collect(), |keys: &Vec<Vec<u8>>| {
        let mut bytes = 0;
        engine.read(&mut |reader| {
            keys.iter()
                .try_for_each(|key| reader.get(key, &mut |value| bytes += value.len()).map(drop))
        })?;
        Ok(bytes)
    })?;
    let (seconds, cpu_us) = (meter.seconds(), meter.cpu_us());
    let count: usize = shares.iter().map(Vec::len).sum();
    expect_bytes(bench, count, bytes.iter().sum())?;
    Ok([count as f64 / seconds, cpu_us / count as f64])
}

/// Reads by `threads` at once, as [`together`], of `each` uniform rows a thread.
///
/// # Errors
/// As [`together`].
pub fn by_threads(
    bench: &Bench<'_>,
    engine: &dyn Engine,
    threads: u64,
    each: u64,
) -> Result<[f64; 2]> {
    let draw = |thread| uniform(bench, each, bench.seed * 1_000 + thread);
    together(bench, engine, &(0..threads).map(draw).collect::<Vec<_>>())
}

fn expect_bytes(bench: &Bench<'_>, reads: usize, bytes: usize) -> Result<()> {
    if bytes != reads * bench.values().bytes {
        return Err(format!("{reads} reads found only {bytes} bytes").into());
    }
    Ok(())
}

/// Scans of [`SCAN_ROWS`] rows from random keys on.
pub fn scans(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let count = bench.settings.operations.div_ceil(GETS_PER_SCAN);
    let keys = uniform(bench, count, bench.seed);
    let mut times = Vec::with_capacity(keys.len());
    let meter = Meter::start();
    engine.read(&mut |reader| {
        for from in &keys {
            let (start, mut rows, mut bytes, mut first) = (Instant::now(), 0, 0, false);
            reader.scan(from, SCAN_ROWS, &mut |key, value| {
                first |= key == from.as_slice();
                rows += 1;
                bytes += value.len();
            })?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if !first || SCAN_ROWS < rows || bytes != rows * bench.values().bytes {
                return Err(format!("a scan found {rows} rows of {bytes} bytes").into());
            }
        }
        Ok(())
    })?;
    let cpu_us = meter.cpu_us() / keys.len() as f64;
    engine.close()?;
    Ok(vec![("scan_us", quantile(&mut times, 0.5)), ("scan_cpu_us", cpu_us)])
}
