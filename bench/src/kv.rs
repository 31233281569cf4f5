//! The workloads on keys and values, as one child runs them on one engine.

use crate::Result;
use crate::engine::{self, Engine, Kind};
use clap::Args;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// How much of everything.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Rows to load, 24 bytes of key and 100 of value each
    #[arg(long, default_value_t = 200_000)]
    pub rows: u64,
    /// Bytes of cache for each engine, about half of the rows unless told otherwise
    #[arg(long, default_value_t = 12 << 20)]
    pub cache_bytes: usize,
    /// Durable commits per measurement
    #[arg(long, default_value_t = 3_000)]
    pub commits: u64,
    /// Rounds; each engine runs once in each
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Where the databases live while they are measured; the system's folder for temporary files
    /// unless told otherwise, which may be no real disk
    #[arg(long)]
    pub dir: Option<std::path::PathBuf>,
}

/// What one engine reached in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// Rows a second, random order, batches of 1,000, no sync.
    pub load: f64,
    /// Processor time of that and of settling it, microseconds a row.
    pub load_cpu_us: f64,
    /// Synced commits of one row a second, one thread.
    pub durable_1: f64,
    /// The same, eight threads.
    pub durable_8: f64,
    /// Its slowest of a thousand, milliseconds.
    pub durable_8_p999_ms: f64,
    /// Uniform point reads, median, microseconds.
    pub get_us: f64,
    /// Scans of 100 rows, median, microseconds.
    pub scan_us: f64,
    /// Opening the settled database, milliseconds.
    pub reopen_ms: f64,
    /// Bytes on disk per byte of keys and values.
    pub space: f64,
}

const VALUE_BYTES: usize = 100;
const BATCH_ROWS: u64 = 1_000;
const THREADS: u64 = 8;

fn key(number: u64) -> Vec<u8> {
    // Multiplying by an odd number is a permutation: distinct keys in random order.
    format!("user:{:019}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1).into_bytes()
}

fn row(number: u64, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    (key(number), (0..VALUE_BYTES).map(|_| rng.alphanumeric() as u8).collect())
}

/// Runs every workload on a fresh database of `kind`.
///
/// # Errors
/// Whatever the engine returns, and when it does not find what was written.
pub fn run(kind: Kind, settings: &Settings, seed: u64) -> Result<Figures> {
    let dir = match &settings.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let path = dir.path().join("db");
    let mut rng = Rng::with_seed(seed);
    let engine = engine::open(kind, &path, settings.cache_bytes)?;
    let (load, load_cpu_us) = load(&*engine, settings, &mut rng)?;
    let get_us = gets(&*engine, settings, &mut rng)?;
    let scan_us = scans(&*engine, settings, &mut rng)?;
    let (durable_1, _) = durable(&*engine, settings, 1, settings.rows)?;
    let (durable_8, durable_8_p999_ms) = durable(&*engine, settings, THREADS, settings.rows * 2)?;
    engine.settle()?;
    drop(engine);
    let written = settings.rows + settings.commits * 2;
    let space = size(&path)? as f64 / (written * (24 + VALUE_BYTES as u64)) as f64;
    let start = Instant::now();
    let engine = engine::open(kind, &path, settings.cache_bytes)?;
    let reopen_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut last = std::iter::once(key(settings.rows - 1));
    let mut there = false;
    engine.get(&mut last, &mut |found| there = found)?;
    if !there {
        return Err(format!("{} lost a row", kind.name()).into());
    }
    #[rustfmt::skip]
    let figures = Figures {
        load, load_cpu_us, durable_1, durable_8, durable_8_p999_ms, get_us, scan_us, reopen_ms, space,
    };
    Ok(figures)
}

fn load(engine: &dyn Engine, settings: &Settings, rng: &mut Rng) -> Result<(f64, f64)> {
    let batches = (0..settings.rows).step_by(BATCH_ROWS as usize);
    let batch = |from: u64, rng: &mut Rng| -> Vec<_> {
        (from..settings.rows.min(from + BATCH_ROWS)).map(|number| row(number, rng)).collect()
    };
    let batches: Vec<Vec<_>> = batches.map(|from| batch(from, rng)).collect();
    let (start, cpu) = (Instant::now(), cpu_us());
    batches.iter().try_for_each(|rows| engine.put(rows, false))?;
    let rate = settings.rows as f64 / start.elapsed().as_secs_f64();
    engine.settle()?;
    Ok((rate, (cpu_us() - cpu) / settings.rows as f64))
}

fn gets(engine: &dyn Engine, settings: &Settings, rng: &mut Rng) -> Result<f64> {
    let keys: Vec<_> = (0..100_000).map(|_| key(rng.u64(0..settings.rows))).collect();
    // Once to warm up, once to measure.
    engine.get(&mut keys.iter().cloned(), &mut |_| {})?;
    let mut times = Vec::with_capacity(keys.len());
    let mut missing = 0;
    let mut start = Instant::now();
    engine.get(&mut keys.into_iter(), &mut |found| {
        times.push(start.elapsed().as_secs_f64() * 1e6);
        missing += u64::from(!found);
        start = Instant::now();
    })?;
    if 0 < missing {
        return Err(format!("{missing} rows are missing").into());
    }
    Ok(median(times))
}

fn scans(engine: &dyn Engine, settings: &Settings, rng: &mut Rng) -> Result<f64> {
    let keys: Vec<_> = (0..5_000).map(|_| key(rng.u64(0..settings.rows))).collect();
    let mut times = Vec::with_capacity(keys.len());
    let mut start = Instant::now();
    engine.scan(&mut keys.into_iter(), 100, &mut |_| {
        times.push(start.elapsed().as_secs_f64() * 1e6);
        start = Instant::now();
    })?;
    Ok(median(times))
}

/// Commits a second, and the slowest of a thousand in milliseconds.
fn durable(
    engine: &dyn Engine,
    settings: &Settings,
    threads: u64,
    from: u64,
) -> Result<(f64, f64)> {
    let each = settings.commits / threads;
    let start = Instant::now();
    let times = std::thread::scope(|scope| {
        let work = |thread: u64| {
            move || -> Result<Vec<f64>> {
                let mut rng = Rng::with_seed(thread);
                let mut times = Vec::new();
                for number in 0..each {
                    let rows = [row(from + thread * each + number, &mut rng)];
                    let start = Instant::now();
                    engine.put(&rows, true)?;
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
                Ok(times)
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        let joined = running.into_iter().map(|thread| thread.join().expect("no thread panics"));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let rate = (each * threads) as f64 / start.elapsed().as_secs_f64();
    let mut times: Vec<f64> = times.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    Ok((rate, times[times.len() * 999 / 1000]))
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn size(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        bytes += if is_dir { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Processor time of this process so far, user and system, in microseconds; from the operating system's
/// account of the process, which counts in ticks of 10 ms.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10_000.0
}
