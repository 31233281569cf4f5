//! Steps on keys and values.

use super::contender::Data;
use super::{Bench, Found};
use crate::Result;
use crate::engine::{Row, Store};
use crate::meter::{Meter, dir_bytes, quantile};
use fastrand::Rng;
use std::time::Instant;

/// Bytes of a key.
const KEY_BYTES: usize = 8;
/// Bytes of a value, of which half are random and the others repeat them: RocksDB's own benchmark does so.
const VALUE_BYTES: usize = 100;
/// Bytes of a row, as the user counts them.
const ROW_BYTES: f64 = (KEY_BYTES + VALUE_BYTES) as f64;
/// Rows of one transaction.
pub const BATCH_ROWS: usize = 1_000;
/// Rows of a short scan.
const SCAN_ROWS: usize = 100;

/// The key of row `number`. Distinct numbers have distinct keys, in random order.
fn key(number: u64) -> [u8; KEY_BYTES] {
    // Multiplying by an odd number is a permutation.
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn value(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    let mut value: Vec<u8> = (0..VALUE_BYTES / 2).map(|_| rng.u8(..)).collect();
    value.extend_from_within(..);
    value
}

fn row(number: u64) -> Row {
    (key(number).to_vec(), value(number))
}

/// What one step of writing took.
pub struct Spent {
    /// By the clock on the wall.
    pub seconds: f64,
    /// Of all threads, in microseconds.
    pub cpu_us: f64,
    /// Bytes written, where the operating system tells.
    pub written: Option<f64>,
}

/// Runs `work` and says what it took.
pub fn spend(work: impl FnOnce() -> Result<()>) -> Result<Spent> {
    let meter = Meter::start();
    work()?;
    Ok(Spent { seconds: meter.seconds(), cpu_us: meter.cpu_us(), written: meter.written() })
}

/// Loads all rows in random order.
pub fn load(bench: &Bench<'_>) -> Result<Found> {
    let settings = &bench.job.settings;
    let numbers: Vec<u64> = (0..settings.rows).collect();
    let batch = |part: &[u64]| part.iter().map(|&number| row(number)).collect();
    let batches: Vec<Vec<Row>> = numbers.chunks(BATCH_ROWS).map(batch).collect();
    let engine = bench.open_rows(Data::Rows)?;
    let spent = spend(|| {
        batches.iter().try_for_each(|rows| engine.put(rows))?;
        engine.settle()
    })?;
    drop(batches);
    check(&*engine, settings.rows)?;
    engine.close()?;
    let (rows, bytes) = (settings.rows as f64, settings.rows as f64 * ROW_BYTES);
    let mut found = vec![
        ("rows_load_rate", rows / spent.seconds),
        ("rows_load_cpu_us", spent.cpu_us / rows),
        ("rows_space", dir_bytes(&bench.path(Data::Rows))? / bytes),
    ];
    found.extend(spent.written.map(|written| ("rows_written", written / bytes)));
    Ok(found)
}

/// Fails unless every row is there and right.
fn check(engine: &dyn Store, rows: u64) -> Result<()> {
    engine.read(&mut |reader| {
        for number in 0..rows.min(10_000) {
            let (expected, mut good) = (value(number), false);
            reader.get(&key(number), &mut |found| good = found == expected)?;
            if !good {
                return Err(format!("row {number} is missing or wrong").into());
            }
        }
        Ok(())
    })?;
    let (_, found) = read_all(engine)?;
    match found == rows as usize {
        true => Ok(()),
        false => Err(format!("{found} rows were found where {rows} are").into()),
    }
}

/// Uniform point reads on one snapshot: once to warm up, once to measure.
pub fn gets(bench: &Bench<'_>) -> Result<Found> {
    let settings = &bench.job.settings;
    let mut rng = Rng::with_seed(bench.job.seed);
    let keys: Vec<_> = (0..settings.gets).map(|_| key(rng.u64(0..settings.rows))).collect();
    let engine = bench.open_rows(Data::Rows)?;
    let (mut times, mut cpu_us) = (Vec::new(), 0.0);
    engine.read(&mut |reader| {
        for _ in ["warm up", "measure"] {
            let mut bytes = 0;
            (times, cpu_us) = time_each(&keys, |key| {
                reader.get(key, &mut |value| bytes += value.len()).map(drop)
            })?;
            if bytes != keys.len() * VALUE_BYTES {
                return Err(format!("{} reads found only {bytes} bytes", keys.len()).into());
            }
        }
        Ok(())
    })?;
    engine.close()?;
    let (median, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(vec![("rows_get_us", median), ("rows_get_p99_us", p99), ("rows_get_cpu_us", cpu_us)])
}

/// Does `work` for each of `items`: the microseconds of each, and the processor's of one.
pub fn time_each<I>(
    items: &[I],
    mut work: impl FnMut(&I) -> Result<()>,
) -> Result<(Vec<f64>, f64)> {
    let mut times = Vec::with_capacity(items.len());
    let meter = Meter::start();
    let mut start = Instant::now();
    for item in items {
        work(item)?;
        let end = Instant::now();
        times.push((end - start).as_secs_f64() * 1e6);
        start = end;
    }
    Ok((times, meter.cpu_us() / items.len() as f64))
}

/// Scans of [`SCAN_ROWS`] rows from random keys on: once to warm up, once to measure.
pub fn scans(bench: &Bench<'_>) -> Result<Found> {
    let settings = &bench.job.settings;
    let mut rng = Rng::with_seed(bench.job.seed);
    let keys: Vec<_> = (0..settings.scans).map(|_| key(rng.u64(0..settings.rows))).collect();
    let engine = bench.open_rows(Data::Rows)?;
    let (mut times, mut cpu_us) = (Vec::new(), 0.0);
    engine.read(&mut |reader| {
        for _ in ["warm up", "measure"] {
            (times, cpu_us) = time_each(&keys, |from| {
                let (mut rows, mut bytes, mut first) = (0, 0, false);
                reader.scan(from, SCAN_ROWS, &mut |key, value| {
                    first |= key == from;
                    rows += 1;
                    bytes += value.len();
                })?;
                match first && rows <= SCAN_ROWS && bytes == rows * VALUE_BYTES {
                    true => Ok(()),
                    false => Err(format!("a scan found {rows} rows of {bytes} bytes").into()),
                }
            })?;
        }
        Ok(())
    })?;
    engine.close()?;
    Ok(vec![("rows_scan_us", quantile(&mut times, 0.5)), ("rows_scan_cpu_us", cpu_us)])
}

/// Reads every row: once to warm up, once to measure.
pub fn all(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open_rows(Data::Rows)?;
    read_all(&*engine)?;
    let (spent, found) = read_all(&*engine)?;
    engine.close()?;
    let rows = bench.job.settings.rows;
    if found != rows as usize {
        return Err(format!("{found} rows were found where {rows} are").into());
    }
    let of_a_row = 1e9 / found as f64;
    let cpu_ns = spent.cpu_us / 1e6 * of_a_row;
    Ok(vec![("rows_all_ns", spent.seconds * of_a_row), ("rows_all_cpu_ns", cpu_ns)])
}

/// Reads every row of an engine and counts the good ones.
fn read_all(engine: &dyn Store) -> Result<(Spent, usize)> {
    let mut rows = 0;
    let spent = spend(|| {
        engine.read(&mut |reader| {
            reader.scan(&[], usize::MAX, &mut |key, value| {
                rows += usize::from(key.len() == KEY_BYTES && value.len() == VALUE_BYTES);
            })
        })
    })?;
    Ok((spent, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_value_says_it_all() {
        let value = value(7);
        assert_eq!(value.len(), VALUE_BYTES);
        assert_eq!(value[..VALUE_BYTES / 2], value[VALUE_BYTES / 2..]);
        assert_ne!(row(7), row(8));
    }
}
