//! YCSB's mixes A, B and C: two threads read and update single rows, some far more often than others.
//! Every operation is a transaction of its own.

use super::{Bench, Found};
use crate::Result;
use crate::data::{self, Zipfian};
use crate::engine::{Engine, Row};
use crate::meter::{Meter, in_threads};
use fastrand::Rng;

const THREADS: u64 = 2;

enum Operation {
    Read(Vec<u8>),
    Update([Row; 1]),
}

/// Runs the mixes.
pub fn mixes(bench: &Bench<'_>) -> Result<Found> {
    let zipfian = Zipfian::new(bench.settings.rows);
    let operations = bench.settings.operations;
    let engine = bench.open(&bench.path, false)?;
    let c = mix(bench, &*engine, &zipfian, operations, 0.0)?;
    let b = mix(bench, &*engine, &zipfian, operations, 0.05)?;
    let a = mix(bench, &*engine, &zipfian, operations, 0.5)?;
    engine.close()?;
    Ok(vec![("ycsb_a", a), ("ycsb_b", b), ("ycsb_c", c)])
}

/// Runs mix A with synced commits.
pub fn synced(bench: &Bench<'_>, engine: &dyn Engine) -> Result<f64> {
    mix(bench, engine, &Zipfian::new(bench.settings.rows), bench.settings.commits * 2, 0.5)
}

/// Operations a second when a share of `updates` writes.
fn mix(
    bench: &Bench<'_>,
    engine: &dyn Engine,
    zipfian: &Zipfian,
    operations: u64,
    updates: f64,
) -> Result<f64> {
    let draw = |thread: u64| {
        let mut rng = Rng::with_seed(bench.seed * THREADS + thread);
        let mut operation = |index: u64| {
            let (number, is_update) = (zipfian.draw(&mut rng), rng.f64() < updates);
            match is_update {
                true => Operation::Update([data::row(number, index + 10)]),
                false => Operation::Read(data::key(number)),
            }
        };
        (0..operations.div_ceil(THREADS)).map(&mut operation).collect::<Vec<_>>()
    };
    let shares: Vec<_> = (0..THREADS).map(draw).collect();
    let count: usize = shares.iter().map(Vec::len).sum();
    let meter = Meter::start();
    in_threads(shares, |operations| {
        for operation in operations {
            match operation {
                Operation::Update(row) => engine.put(&row)?,
                Operation::Read(key) => engine.read(&mut |reader| match reader
                    .get(&key, &mut |value| assert_eq!(value.len(), data::VALUE_BYTES))?
                {
                    true => Ok(()),
                    false => Err(format!("{} is missing", key.escape_ascii()).into()),
                })?,
            }
        }
        Ok(())
    })?;
    Ok(count as f64 / meter.seconds())
}
