//! `bench lscs`: the column store beside row stores, Parquet, and itself without a sandbox.
//!
//! ```text
//!   parent ─▶ part by part: rounds; in each the contenders take turns, step by step ─▶ medians ─▶ a table
//!     └─ child   one contender, one round, a fresh directory: every step once
//! ```
//!
//! | part      | the data                                | beside                              |
//! |-----------|-----------------------------------------|-------------------------------------|
//! | `rows`    | keys and values                         | the kernel's tree, RocksDB, fjall   |
//! | `columns` | events: ten typed columns, see `events` | the same, and Parquet               |
//! | `itself`  | both                                    | the same algorithm, compiled natively |
//!
//! | file       | what it is                                                          |
//! |------------|---------------------------------------------------------------------|
//! | `contender`| who runs, how each is opened                                        |
//! | `events`   | the typed rows and what is asked about them                         |
//! | `step`     | every step of a child, and the figures it yields: the tables' lines |
//! | `rows`     | steps on keys and values                                            |
//! | `columns`  | steps on typed rows                                                 |
//! | `ours`     | a database of this project                                          |
//! | `native`   | the algorithm of the plugin `lscs` as an extension of the kernel    |
//! | `parquet`  | files of Parquet, through arrow-rs                                  |
//! | `tables`   | the tables                                                          |
//!
//! In `rows` and `columns` the data is larger than the caches and our segments are compressed by a plugin. `itself`
//! leaves both out, cache misses and codec, which cost the same with and without the sandbox: what is left is
//! the least favourable comparison.

mod columns;
mod contender;
mod events;
mod native;
mod ours;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;
mod step;
mod tables;

use crate::Result;
use crate::metric::Figures;
use crate::outcome::Outcome;
use crate::turns::{Child, Progress};
use clap::{Args, ValueEnum};
use contender::Contender;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use step::Step;

/// How much of everything.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Settings {
    /// Rows of keys and values to load, 8 bytes of key and 100 of value each, and events
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Bytes of cache for each engine, about a third of the rows unless told otherwise
    #[arg(long, default_value_t = 32 << 20)]
    pub cache_bytes: usize,
    /// Bytes of write buffer for each engine that has one
    #[arg(long, default_value_t = 32 << 20)]
    pub memtable_bytes: usize,
    /// Point reads
    #[arg(long, default_value_t = 50_000)]
    pub gets: u64,
    /// Scans of 100 rows
    #[arg(long, default_value_t = 2_500)]
    pub scans: u64,
    /// Rounds; each engine runs once in each
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Only these parts, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// The plugin that compresses our segments in the first two parts; `none` for none
    #[arg(long, default_value = "zstd")]
    pub codec: String,
    /// Where the databases live while they are measured; the system's folder for temporary files
    /// unless told otherwise, which may be no real disk
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// One round with a twentieth of everything: whether it works, not who wins
    #[arg(long)]
    pub quick: bool,
    /// Print every round's figures as JSON instead of the tables
    #[arg(long)]
    pub json: bool,
}

/// A part of the run, and a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Keys and values
    Rows,
    /// Ten typed columns
    Columns,
    /// The sandbox beside the same code without one
    Itself,
}

impl Part {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }
}

/// What a child is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    part: Part,
    contender: Contender,
    settings: Settings,
    /// What random choices are made of.
    seed: u64,
}

/// Everything that was measured of one part.
#[derive(Debug, Serialize)]
struct Measured {
    part: Part,
    /// By round, the figures of each contender.
    rounds: Vec<BTreeMap<Contender, Figures>>,
}

/// Measures everything.
///
/// # Errors
/// When a child fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let settings = settings.clone().scaled();
    let parts = Part::value_variants().iter().filter(|part| settings.shows(**part));
    let parts: Vec<Part> = parts.copied().collect();
    let turns = |part: &Part| Contender::of(*part).len() * Step::of(*part).len();
    let steps: usize = parts.iter().map(turns).sum();
    let progress = Progress::new(settings.rounds * steps as u64);
    let measure = |part: &Part| measure(*part, &settings, &progress);
    let measured = parts.iter().map(measure).collect::<Result<Vec<_>>>()?;
    drop(progress);
    let mut outcome = Outcome::of(&measured)?;
    for measured in &measured {
        outcome.sheets.push(tables::sheet(measured, &settings));
        outcome.charts.push(tables::chart(measured));
        outcome.summary.extend(tables::summary(measured));
    }
    Ok(outcome)
}

fn measure(part: Part, settings: &Settings, progress: &Progress) -> Result<Measured> {
    let (contenders, mut rounds) = (Contender::of(part), Vec::new());
    for round in 0..settings.rounds {
        let start = |&contender: &Contender| {
            let job = Job { part, contender, settings: settings.clone(), seed: round };
            Child::start(contender.name(), "lscs-child", &serde_json::to_string(&job)?)
        };
        let mut children = contenders.iter().map(start).collect::<Result<Vec<_>>>()?;
        for step in Step::of(part) {
            for child in &mut children {
                let (part, name, rounds) = (part.name(), child.name(), settings.rounds);
                progress.say(format!("{part}: round {} of {rounds}: {step}: {name}", round + 1));
                child.step()?;
                progress.step();
            }
        }
        let ended = contenders.iter().zip(children).map(|(who, child)| Ok((*who, child.end()?)));
        rounds.push(ended.collect::<Result<BTreeMap<_, _>>>()?);
    }
    Ok(Measured { part, rounds })
}

/// Runs `job`: for each line of standard input the next step, whose figures become a line of JSON.
///
/// # Errors
/// Whatever the contender returns, and when it does not find what was written.
pub fn child(job: &Job) -> Result<()> {
    let dir = match &job.settings.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let bench = Bench { job, dir: dir.path().to_path_buf() };
    for (step, turn) in Step::of(job.part).iter().zip(std::io::stdin().lines()) {
        turn?;
        let figures = step.run(&bench).map_err(|error| format!("{step}: {error}"))?;
        let figures: Figures =
            figures.into_iter().map(|(id, figure)| (id.to_owned(), figure)).collect();
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

/// A contender in its directory.
struct Bench<'a> {
    job: &'a Job,
    dir: PathBuf,
}

/// The figures of one step.
type Found = Vec<(&'static str, f64)>;

impl Settings {
    /// The settings with `quick` and the bounds applied.
    fn scaled(mut self) -> Settings {
        if self.quick {
            self.rows /= 20;
            self.cache_bytes /= 20;
            self.memtable_bytes /= 20;
            self.gets /= 20;
            self.scans /= 20;
            self.rounds = 1;
        }
        let at_least_one = [&mut self.gets, &mut self.scans, &mut self.rounds];
        at_least_one.into_iter().for_each(|number| *number = (*number).max(1));
        // A hundredth of the rows must be some.
        self.rows = self.rows.max(1_000);
        self
    }

    fn shows(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
