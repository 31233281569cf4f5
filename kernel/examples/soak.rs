//! Half an hour of mixed load beside long readers: do file size, memory and latency stay where they are?
//!
//! ```text
//! cargo run --release -p sochdb-kernel --example soak -- --minutes 30
//! cargo run --release -p sochdb-kernel --example soak -- --seconds 120 --dir /mnt/disk/soak
//! ```
//!
//! Four writers put, overwrite, delete and increment synced rows of a fixed set of keys; two readers get
//! and scan; one more holds a snapshot for a twelfth of the run, checks that it never changes, and takes
//! another. Each line shows an interval. At the end the greatest file size and the greatest resident memory
//! of the last third are compared with those of the middle third: growth above a tenth (and a few MiB, for
//! short runs) ends with exit code 1, like a database that is not well.

use fastrand::Rng;
use sochdb_kernel::{Environment, Kernel, KernelResult, Options};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u64 = 4;
const READERS: u64 = 2;
const KEYS: u64 = 100_000;
const INTERVALS: u32 = 36;
/// What may come on top of a tenth: a log segment, a memtable.
const SLACK_BYTES: u64 = 24 << 20;

fn options() -> Options {
    Options { memtable_bytes_max: 16 << 20, cache_bytes_max: 32 << 20, ..Options::default() }
}

/// What the threads share.
struct Load {
    kernel: Kernel,
    done: AtomicBool,
    reads: AtomicU64,
    /// Latencies of the commits since the last line, in microseconds.
    commits_us: Mutex<Vec<u64>>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    fn write(&self, seed: u64) -> KernelResult<()> {
        let mut rng = Rng::with_seed(seed);
        while self.goes_on() {
            let started = Instant::now();
            let mut value = vec![0; rng.usize(0..1000)];
            rng.fill(&mut value);
            let first = rng.u64(0..KEYS);
            let (kind, count) = (rng.u8(0..20), rng.u64(1..10));
            self.kernel.run(|tx| {
                for key in (first..KEYS).take(count as usize) {
                    match kind {
                        0..=2 => tx.delete("rows", &key.to_be_bytes())?,
                        _ => tx.put("rows", &key.to_be_bytes(), &value)?,
                    }
                }
                let counter = (seed % 2).to_be_bytes();
                let old = tx.get("counters", &counter)?;
                let old =
                    old.map_or(0, |old| u64::from_le_bytes((*old).try_into().expect("8 bytes")));
                tx.put("counters", &counter, &(old + 1).to_le_bytes())
            })?;
            let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.commits_us.lock().expect("nobody panics with it").push(us);
        }
        Ok(())
    }

    fn read(&self, seed: u64) -> KernelResult<()> {
        let mut rng = Rng::with_seed(seed);
        while self.goes_on() {
            let tx = self.kernel.begin_read()?;
            for _ in 0..100 {
                tx.get("rows", &rng.u64(0..KEYS).to_be_bytes())?;
            }
            let first = rng.u64(0..KEYS).to_be_bytes();
            for row in tx.scan("rows", first..)?.take(500) {
                row?;
            }
            self.reads.fetch_add(600, Ordering::Relaxed);
            // Half of what a core can do: the writers are what is watched.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Holds a snapshot for `time`, again and again.
    fn read_long(&self, time: Duration) -> KernelResult<()> {
        while self.goes_on() {
            let tx = self.kernel.begin_read()?;
            let digest = || -> KernelResult<u64> {
                let mut digest = DefaultHasher::new();
                for row in tx.scan("rows", ..)? {
                    let (key, value) = row?;
                    (key, &*value).hash(&mut digest);
                }
                Ok(digest.finish())
            };
            let (before, end) = (digest()?, Instant::now() + time);
            while self.goes_on() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(before, digest()?, "a snapshot changed under its reader");
        }
        Ok(())
    }
}

/// One line.
struct Sample {
    file_bytes: u64,
    memory_bytes: u64,
    p999_us: u64,
}

fn dir_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A log file may go away in between.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { dir_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Resident memory; 0 where the operating system does not say it the way Linux does.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok());
    kib.unwrap_or(0u64) * 1024
}

fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * per_mille / 1000).min(last)).copied().unwrap_or(0)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn watch(load: &Load, dir: &Path, interval: Duration) -> std::io::Result<Vec<Sample>> {
    println!(
        "     time  commits/s    reads/s   files MiB  memory MiB   p50 ms  p99.9 ms    max ms"
    );
    let started = Instant::now();
    let mut samples = Vec::new();
    for line in 1..=INTERVALS {
        let next = started + interval * line;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let mut us = std::mem::take(&mut *load.commits_us.lock().expect("nobody panics with it"));
        us.sort_unstable();
        let sample = Sample {
            file_bytes: dir_bytes(dir)?,
            memory_bytes: memory_bytes(),
            p999_us: quantile(&us, 999),
        };
        let ms = |us: u64| us as f64 / 1000.0;
        println!(
            "{:>7.0} s {:>10.0} {:>10.0} {:>11.1} {:>11.1} {:>8.2} {:>9.2} {:>9.2}",
            started.elapsed().as_secs_f64(),
            us.len() as f64 / interval.as_secs_f64(),
            load.reads.swap(0, Ordering::Relaxed) as f64 / interval.as_secs_f64(),
            mib(sample.file_bytes),
            mib(sample.memory_bytes),
            ms(quantile(&us, 500)),
            ms(sample.p999_us),
            ms(us.last().copied().unwrap_or(0)),
        );
        samples.push(sample);
    }
    Ok(samples)
}

/// Whether the last third of `samples` stays where the middle third was.
fn is_bounded(samples: &[Sample], what: &str, of: impl Fn(&Sample) -> u64) -> bool {
    let third = samples.len() / 3;
    let most = |part: &[Sample]| part.iter().map(&of).max().unwrap_or(0);
    let (middle, last) = (most(&samples[third..2 * third]), most(&samples[2 * third..]));
    let bounded = last <= middle + middle / 10 + SLACK_BYTES;
    let verdict = if bounded { "bounded" } else { "GROWS" };
    println!(
        "{what}: at most {:.1} MiB in the middle third, {:.1} MiB in the last: {verdict}",
        mib(middle),
        mib(last)
    );
    bounded
}

struct Arguments {
    time: Duration,
    dir: Option<PathBuf>,
}

fn arguments() -> Option<Arguments> {
    let mut found = Arguments { time: Duration::from_secs(30 * 60), dir: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--minutes" => found.time = Duration::from_secs(value.parse::<u64>().ok()? * 60),
            "--seconds" => found.time = Duration::from_secs(value.parse().ok()?),
            "--dir" => found.dir = Some(value.into()),
            _ => return None,
        }
    }
    Some(found)
}

fn soak(dir: &Path, time: Duration) -> Result<bool, Box<dyn std::error::Error>> {
    let kernel = Kernel::open(Environment::disk(dir), options())?;
    kernel.create_table("rows", Default::default())?;
    kernel.create_table("counters", Default::default())?;
    let (reads, commits_us) = Default::default();
    let load = Load { kernel, done: AtomicBool::new(false), reads, commits_us };
    let samples = std::thread::scope(|scope| {
        let load = &load;
        let mut threads: Vec<_> =
            (0..WRITERS).map(|seed| scope.spawn(move || load.write(seed))).collect();
        threads.extend((0..READERS).map(|seed| scope.spawn(move || load.read(seed))));
        threads.push(scope.spawn(move || load.read_long(time / 12)));
        let samples = watch(load, dir, time / INTERVALS);
        load.done.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("no thread panics")?;
        }
        KernelResult::Ok(samples)
    })??;
    let conflicts = load.kernel.stats().conflicts;
    let problems = sochdb_operations::check(&load.kernel)?.problems;
    load.kernel.close()?;
    let files = is_bounded(&samples, "files", |sample| sample.file_bytes);
    let memory = is_bounded(&samples, "memory", |sample| sample.memory_bytes);
    let p999_us = samples.iter().map(|sample| sample.p999_us).max().unwrap_or(0);
    println!("p99.9 of a commit: at most {:.2} ms in any interval", p999_us as f64 / 1000.0);
    println!("conflicts tried again: {conflicts}; problems found by check: {}", problems.len());
    problems.iter().take(5).for_each(|problem| println!("{problem}"));
    Ok(files && memory && problems.is_empty())
}

fn main() -> ExitCode {
    let Some(Arguments { time, dir }) = arguments() else {
        eprintln!("soak [--minutes N | --seconds N] [--dir EMPTY_FOLDER]");
        return ExitCode::from(2);
    };
    let own = tempfile::tempdir().expect("a folder for the database");
    let dir = dir.unwrap_or_else(|| own.path().join("db"));
    match soak(&dir, time) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
