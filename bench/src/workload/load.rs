//! Writing many rows: in random order, over old ones, and sorted into an empty database.
//!
//! Rows are made before the clock starts. It stops when the engine has settled, so work put off counts.

use super::{Bench, Found, check};
use crate::Result;
use crate::data::BATCH_ROWS;
use crate::engine::{Engine, Row};
use crate::meter::{Meter, dir_bytes};
use fastrand::Rng;

/// How often every row is written over.
pub const OVERWRITES: u64 = 3;

/// Loads all rows into a new database, in random order.
pub fn load(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let numbers: Vec<u64> = (0..bench.settings.rows).collect();
    let spent = put_all(&*engine, &bench.values().batches(&numbers, 0))?;
    check(bench.values(), &*engine, &numbers, 0)?;
    engine.close()?;
    let space = dir_bytes(&bench.path)? / bench.bytes();
    let mut found = vec![
        ("load_rate", spent.rows / spent.seconds),
        ("load_cpu_us", spent.cpu_us / spent.rows),
        ("load_space", space),
    ];
    found.extend(spent.amplification(bench).map(|written| ("load_written", written)));
    Ok(found)
}

/// Writes every row again, [`OVERWRITES`] times, each time in another random order.
pub fn overwrite(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, false)?;
    let mut numbers: Vec<u64> = (0..bench.settings.rows).collect();
    let mut rng = Rng::with_seed(bench.seed);
    let mut spent = Spent::default();
    for version in 1..=OVERWRITES {
        rng.shuffle(&mut numbers);
        spent.add(&put_all(&*engine, &bench.values().batches(&numbers, version))?);
    }
    check(bench.values(), &*engine, &numbers, OVERWRITES)?;
    engine.close()?;
    let mut found = vec![
        ("overwrite_rate", spent.rows / spent.seconds),
        ("overwrite_cpu_us", spent.cpu_us / spent.rows),
        ("overwrite_space", dir_bytes(&bench.path)? / bench.bytes()),
    ];
    found.extend(spent.amplification(bench).map(|written| ("overwrite_written", written)));
    Ok(found)
}

/// Loads all rows into a new database, sorted, in transactions like any others.
pub fn sequential(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.fresh, false)?;
    let rows = bench.sorted_rows();
    let batches: Vec<Vec<Row>> = rows.chunks(BATCH_ROWS as usize).map(<[Row]>::to_vec).collect();
    let spent = put_all(&*engine, &batches)?;
    bench.check_fresh(engine)?;
    Ok(vec![
        ("sequential_rate", spent.rows / spent.seconds),
        ("sequential_cpu_us", spent.cpu_us / spent.rows),
        ("sequential_space", bench.take_fresh()? / bench.bytes()),
    ])
}

/// Loads all rows into a new database, sorted, in the engine's fastest way.
pub fn bulk(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.fresh, false)?;
    let rows = bench.sorted_rows();
    let spent = measure(rows.len(), || engine.bulk_load(&rows).and_then(|()| engine.settle()))?;
    bench.check_fresh(engine)?;
    Ok(vec![
        ("bulk_rate", spent.rows / spent.seconds),
        ("bulk_cpu_us", spent.cpu_us / spent.rows),
        ("bulk_space", bench.take_fresh()? / bench.bytes()),
    ])
}

impl Bench<'_> {
    fn sorted_rows(&self) -> Vec<Row> {
        let row = |number| self.values().row(number, 0);
        let mut rows: Vec<Row> = (0..self.settings.rows).map(row).collect();
        rows.sort();
        rows
    }

    fn check_fresh(&self, engine: Box<dyn Engine>) -> Result<()> {
        let numbers: Vec<u64> = (0..self.settings.rows).collect();
        check(self.values(), &*engine, &numbers, 0)?;
        engine.close()
    }

    /// Removes the fresh database; the bytes that it had on disk.
    fn take_fresh(&self) -> Result<f64> {
        let bytes = dir_bytes(&self.fresh)?;
        std::fs::remove_dir_all(&self.fresh)?;
        Ok(bytes)
    }
}

/// What writing some rows took.
#[derive(Default)]
struct Spent {
    rows: f64,
    seconds: f64,
    cpu_us: f64,
    written: Option<f64>,
}

impl Spent {
    fn add(&mut self, other: &Spent) {
        self.rows += other.rows;
        self.seconds += other.seconds;
        self.cpu_us += other.cpu_us;
        self.written = other.written.map(|written| written + self.written.unwrap_or_default());
    }

    /// Bytes written to disk per byte of rows.
    fn amplification(&self, bench: &Bench<'_>) -> Option<f64> {
        self.written.map(|written| written / (self.rows * bench.values().row_bytes()))
    }
}

fn measure(rows: usize, work: impl FnOnce() -> Result<()>) -> Result<Spent> {
    let meter = Meter::start();
    work()?;
    let (seconds, cpu_us, written) = (meter.seconds(), meter.cpu_us(), meter.written());
    Ok(Spent { rows: rows as f64, seconds, cpu_us, written })
}

fn put_all(engine: &dyn Engine, batches: &[Vec<Row>]) -> Result<Spent> {
    measure(batches.iter().map(Vec::len).sum(), || {
        batches.iter().try_for_each(|rows| engine.put(rows))?;
        engine.settle()
    })
}
