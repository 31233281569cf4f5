//! Reading: single rows, and short ranges.

use super::{Bench, Found};
use crate::Result;
use crate::data::{VALUE_BYTES, key};
use crate::meter::{Meter, quantile};
use fastrand::Rng;
use std::time::Instant;

/// Rows of one scan.
const SCAN_ROWS: usize = 100;
/// So many point reads to one scan.
const GETS_PER_SCAN: u64 = 20;

fn keys(bench: &Bench<'_>, count: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::with_seed(bench.seed);
    (0..count).map(|_| key(rng.u64(0..bench.settings.rows))).collect()
}

/// Uniform point reads on one snapshot: once to warm up, once to measure.
pub fn gets(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let keys = keys(bench, bench.settings.operations);
    let mut times = Vec::with_capacity(keys.len());
    let (mut cpu_us, mut bytes) = (0.0, 0);
    for _ in ["warm up", "measure"] {
        (times, bytes) = (Vec::with_capacity(keys.len()), 0);
        let meter = Meter::start();
        engine.read(&mut |reader| {
            let mut start = Instant::now();
            for key in &keys {
                reader.get(key, &mut |value| bytes += value.len())?;
                let end = Instant::now();
                times.push((end - start).as_secs_f64() * 1e6);
                start = end;
            }
            Ok(())
        })?;
        cpu_us = meter.cpu_us() / keys.len() as f64;
    }
    engine.close()?;
    if bytes != keys.len() * VALUE_BYTES {
        return Err(format!("{} reads found only {bytes} bytes", keys.len()).into());
    }
    let (get_us, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(vec![("get_us", get_us), ("get_p99_us", p99), ("get_cpu_us", cpu_us)])
}

/// Scans of [`SCAN_ROWS`] rows from random keys on.
pub fn scans(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let keys = keys(bench, bench.settings.operations.div_ceil(GETS_PER_SCAN));
    let mut times = Vec::with_capacity(keys.len());
    engine.read(&mut |reader| {
        for from in &keys {
            let (start, mut rows, mut bytes, mut first) = (Instant::now(), 0, 0, false);
            reader.scan(from, SCAN_ROWS, &mut |key, value| {
                first |= key == from.as_slice();
                rows += 1;
                bytes += value.len();
            })?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if !first || SCAN_ROWS < rows || bytes != rows * VALUE_BYTES {
                return Err(format!("a scan found {rows} rows of {bytes} bytes").into());
            }
        }
        Ok(())
    })?;
    engine.close()?;
    Ok(vec![("scan_us", quantile(&mut times, 0.5))])
}
