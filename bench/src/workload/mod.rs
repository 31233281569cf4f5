//! What a child does to its engine: each workload once, in the order of [`Workload`].

mod counters;
pub mod crash;
mod durable;
mod load;
pub mod memory;
pub mod read;
mod ycsb;

use crate::Result;
use crate::data::{BATCH_ROWS, Values, key};
use crate::engine::{self, Engine, Kind, Setup};
use crate::metric::{Figures, Workload};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a child is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// On which engine.
    pub kind: Kind,
    /// How much of everything.
    pub settings: Settings,
    /// What random choices are made of.
    pub seed: u64,
}

/// An engine in its directory.
pub struct Bench<'a> {
    kind: Kind,
    settings: &'a Settings,
    seed: u64,
    /// The directory of the database that most workloads share.
    path: PathBuf,
    /// Where a workload that wants a fresh database makes one.
    fresh: PathBuf,
}

/// Runs `job`: for each line of standard input the next workload, whose figures become a line of JSON.
///
/// # Errors
/// Whatever the engine returns, and when it does not find what was written.
pub fn child(job: &Job) -> Result<()> {
    let dir = folder(&job.settings)?;
    let bench = Bench::new(job, dir.path());
    for (workload, turn) in job.settings.workloads().into_iter().zip(std::io::stdin().lines()) {
        turn?;
        println!("{}", serde_json::to_string(&bench.run(workload)?)?);
    }
    Ok(())
}

/// A folder of its own.
pub fn folder(settings: &Settings) -> Result<tempfile::TempDir> {
    Ok(match &settings.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    })
}

impl<'a> Bench<'a> {
    /// The engine that `job` names, in `dir`.
    pub fn new(job: &'a Job, dir: &Path) -> Bench<'a> {
        let Job { kind, settings, seed } = job;
        let (path, fresh) = (dir.join("db"), dir.join("fresh"));
        Bench { kind: *kind, settings, seed: *seed, path, fresh }
    }

    /// The folder of the database that most workloads share.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn values(&self) -> Values {
        self.settings.values()
    }

    /// Bytes of all rows, as the user counts them.
    fn bytes(&self) -> f64 {
        self.settings.rows as f64 * self.values().row_bytes()
    }

    /// Does one workload; its figures.
    ///
    /// # Errors
    /// Whatever the engine returns, and when it does not find what was written.
    pub fn run(&self, workload: Workload) -> Result<Figures> {
        let figures = match workload {
            Workload::Load => load::load(self),
            Workload::Get => read::gets(self),
            Workload::Scan => read::scans(self),
            Workload::Ycsb => ycsb::mixes(self),
            Workload::Overwrite => load::overwrite(self),
            Workload::Durable => durable::puts(self),
            Workload::Counters => counters::increments(self),
            Workload::Sequential => load::sequential(self),
            Workload::Bulk => load::bulk(self),
            Workload::Reopen => crash::reopen(self),
            Workload::Memory => memory::peak(self),
        };
        let figures = figures.map_err(|error| format!("{}: {error}", workload.name()))?;
        Ok(figures.into_iter().map(|(id, figure)| (id.to_owned(), figure)).collect())
    }

    /// Opens the database at `path`.
    pub fn open(&self, path: &Path, synced: bool) -> Result<Box<dyn Engine>> {
        let Settings { cache_bytes, memtable_bytes, .. } = *self.settings;
        engine::open(self.kind, &Setup { path, cache_bytes, memtable_bytes, synced, zstd: false })
    }
}

/// The figures of one workload.
type Found = Vec<(&'static str, f64)>;

/// How many of the rows `numbers` are missing or do not have `version`.
fn wrong(values: Values, engine: &dyn Engine, numbers: &[u64], version: u64) -> Result<u64> {
    let mut wrong = 0;
    for numbers in numbers.chunks(BATCH_ROWS as usize) {
        engine.read(&mut |reader| {
            for &number in numbers {
                let (mut good, expected) = (false, values.value(number, version));
                reader.get(&key(number), &mut |found| good = found == expected)?;
                wrong += u64::from(!good);
            }
            Ok(())
        })?;
    }
    Ok(wrong)
}

/// Fails unless all rows `numbers` have `version`.
fn check(values: Values, engine: &dyn Engine, numbers: &[u64], version: u64) -> Result<()> {
    match wrong(values, engine, numbers, version)? {
        0 => Ok(()),
        wrong => Err(format!("{wrong} of {} rows are missing or wrong", numbers.len()).into()),
    }
}
