//! `bench vector`: nearest neighbours, beside hnswlib, usearch and faiss.
//!
//! ```text
//!   parent ─▶ every contender builds and ends ─▶ rounds: all open what they built; effort by effort they take turns
//!     │                                                     ─▶ recall, rates, medians ─▶ tables, a picture
//!     ├─ child            ours: this program once more, a database in a fresh folder
//!     └─ peers/vector.py  a peer
//! ```
//!
//! | part      | what happens                                                                        | who   |
//! |-----------|-------------------------------------------------------------------------------------|-------|
//! | `curves`  | recall and queries a second at every effort, builds, memory, files, opening         | all   |
//! | `filters` | searches among shares of the rows, unrelated to the vectors and related to them     | ours  |
//! | `inserts` | rows are inserted while somebody searches                                           | ours  |
//! | `churn`   | a tenth of the rows is replaced, again and again                                    | ours  |
//!
//! | file        | what it is                                                          |
//! |-------------|---------------------------------------------------------------------|
//! | `set`       | what is searched, what is asked, and the true answers: a folder     |
//! | `vectors`   | the files of vectors and of true answers                            |
//! | `exact`     | true answers, by looking at everything                              |
//! | `synthetic` | vectors that nobody had to embed                                    |
//! | `recall`    | the share of the true answers that was found; rates at a recall     |
//! | `contender` | who runs, and the lines that its process understands                |
//! | `curves`    | the first part                                                      |
//! | `ours`      | a database of this project                                          |
//! | `scenarios` | the other parts                                                     |
//! | `tables`    | the tables                                                          |
//! | `summary`   | the figures that aims refer to, and the curves as a picture         |
//!
//! The parent counts what was found, for all alike. It never trusts a distance that somebody else computed.

mod contender;
mod curves;
mod exact;
mod ours;
mod recall;
mod scenarios;
mod set;
mod summary;
mod synthetic;
mod tables;
mod vectors;

use crate::Result;
use crate::outcome::Outcome;
use crate::turns::Progress;
use clap::{Args, ValueEnum};
use contender::{Contender, Job, Missing, PEERS, Process};
use recall::K;
use scenarios::Scenario;
use serde::Serialize;
use set::Set;
use std::path::{Path, PathBuf};

pub use ours::child;

/// How much of everything.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// A folder with a set of vectors, laid out as bench/README.md tells; the demo's 4,000 texts unless told otherwise
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Makes up so many vectors instead of reading some; kept in the target directory
    #[arg(long, value_name = "N", conflicts_with = "data")]
    synthetic: Option<usize>,
    /// Values in each of the vectors made up
    #[arg(long, default_value_t = 384)]
    dim: usize,
    /// Queries for the vectors made up
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// What random choices are made of
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A Python interpreter that has the packages of bench/peers/requirements.txt
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Only these peers, separated by commas; `none` for none
    #[arg(long, value_delimiter = ',', default_values_t = PEERS.iter().map(|name| (*name).to_owned()))]
    peers: Vec<String>,
    /// An index of ours: `auto`, or settings as `using=vamana,store=f16`; can be given several times
    #[arg(long, value_parser = Contender::ours, default_values = ["auto", "using=vamana"])]
    ours: Vec<Contender>,
    /// Leaves ours out: peers only
    #[arg(long)]
    no_ours: bool,
    /// Lengths of the candidate list, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = EFFORTS.to_vec())]
    efforts: Vec<usize>,
    /// The length of the candidate list in the parts `filters`, `inserts` and `churn`
    #[arg(long, default_value_t = 100)]
    effort: usize,
    /// Neighbours of a node in the peers' graphs; ours has the same default, and `--ours m=...`
    #[arg(long, default_value_t = 16)]
    m: usize,
    /// Candidates while the peers' graphs are built
    #[arg(long, default_value_t = 200)]
    ef_construction: usize,
    /// Threads that "all cores" means; as many as there are unless told otherwise
    #[arg(long)]
    threads: Option<usize>,
    /// Peers build on all cores only: for large sets
    #[arg(long)]
    no_single_thread_builds: bool,
    /// Rounds; each contender opens its index and searches once in each
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for which all queries are asked, again and again, at each effort
    #[arg(long, default_value_t = 0.25)]
    seconds: f64,
    /// Times that a tenth of the rows is replaced
    #[arg(long, default_value_t = 15)]
    cycles: usize,
    /// Only these parts, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where indexes live while they are measured; the system's folder for temporary files unless told otherwise
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the picture goes; target/bench/vector.svg unless told otherwise
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// One short round with few efforts, two cycles: whether it works, not who wins
    #[arg(long)]
    quick: bool,
    /// Print everything as JSON instead of the tables
    #[arg(long)]
    pub json: bool,
}

/// Candidate lists from as short as an answer to a tenth of a small set.
const EFFORTS: &[usize] = &[10, 16, 24, 32, 48, 64, 100, 150, 200, 300, 500, 1000];

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Recall and queries a second
    Curves,
    /// Searches among some of the rows
    Filters,
    /// Inserts while somebody searches
    Inserts,
    /// Rows replaced again and again
    Churn,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Measured {
    set: Facts,
    threads: usize,
    curves: Vec<curves::Curve>,
    scenarios: Vec<Scenario>,
}

/// What was searched.
#[derive(Debug, Serialize)]
struct Facts {
    name: String,
    rows: usize,
    dim: usize,
    queries: usize,
    kinds: Vec<String>,
}

/// Measures everything.
///
/// # Errors
/// When a contender fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let settings = settings.clone().scaled()?;
    let folder = settings.folder()?;
    let set = Set::read(&folder)?;
    let run = Run { settings: &settings, set: &set, folder: &folder, threads: settings.threads() };
    let curves = if settings.shows(Part::Curves) { curves::measure(&run)? } else { Vec::new() };
    let scenarios = scenarios::measure(&run)?;
    let mut kinds = set.kinds.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let (rows, dim, queries) = (set.base.len(), set.base.dim(), set.queries.len());
    let facts = Facts { name: set.name.clone(), rows, dim, queries, kinds };
    let measured = Measured { set: facts, threads: run.threads, curves, scenarios };
    let mut outcome = Outcome::of(&measured)?;
    outcome.sheets = tables::sheets(&measured, &settings);
    outcome.summary = summary::summary(&measured, &settings);
    if !measured.curves.is_empty() {
        let chart = summary::chart(&measured);
        let path = match &settings.svg {
            Some(path) => path.clone(),
            None => made()?.join("vector.svg"),
        };
        chart.write(&path, "")?;
        outcome.charts.push(chart);
        eprintln!("The curves as a picture: {}", path.display());
    }
    Ok(outcome)
}

/// What the parts share.
struct Run<'a> {
    settings: &'a Settings,
    set: &'a Set,
    /// The folder of the set.
    folder: &'a Path,
    /// What "all cores" means.
    threads: usize,
}

impl Run<'_> {
    /// A process of `contender`, whose index lives in `folder`; `None`, after a line that says so, for a peer that is
    /// not installed.
    fn start(&self, contender: &Contender, folder: &Path) -> Result<Option<(Process, String)>> {
        let settings = match contender {
            Contender::Ours(settings) => Some(settings.clone()),
            Contender::Peer(_) => None,
        };
        let job = Job {
            contender: contender.name(),
            settings,
            set: self.folder.to_path_buf(),
            base: self.set.base_path.clone(),
            queries: self.set.queries_path.clone(),
            folder: folder.to_path_buf(),
            m: self.settings.m,
            ef_construction: self.settings.ef_construction,
            k: K,
            seed: self.settings.seed,
        };
        match Process::start(&job, &self.settings.python)? {
            Ok(started) => Ok(Some(started)),
            Err(Missing(why)) => {
                let name = contender.name();
                eprintln!(
                    "{name} is left out ({why}). To install it: python3 -m venv target/peers && \
                     target/peers/bin/pip install -r bench/peers/requirements.txt, then --python \
                     target/peers/bin/python"
                );
                Ok(None)
            }
        }
    }

    /// A fresh folder for an index.
    fn fresh(&self) -> Result<tempfile::TempDir> {
        Ok(match &self.settings.dir {
            Some(dir) => tempfile::tempdir_in(dir)?,
            None => tempfile::tempdir()?,
        })
    }
}

/// Where this program makes what it keeps: `bench` in the target directory, beside the profile's folder.
fn made() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.parent().and_then(Path::parent).ok_or("a program lies in a folder")?;
    let made = target.join("bench");
    std::fs::create_dir_all(&made)?;
    Ok(made)
}

impl Settings {
    /// The settings with `quick` and the bounds applied.
    fn scaled(mut self) -> Result<Settings> {
        if self.quick {
            self.rounds = 1;
            self.seconds = self.seconds.min(0.02);
            self.efforts = vec![10, 100, 500];
            self.cycles = self.cycles.min(2);
        }
        self.rounds = self.rounds.max(1);
        self.efforts.iter_mut().for_each(|effort| *effort = (*effort).max(K));
        self.effort = self.effort.max(K);
        self.efforts.sort_unstable();
        self.efforts.dedup();
        self.peers.retain(|name| name != "none");
        if let Some(name) = self.peers.iter().find(|name| !PEERS.contains(&name.as_str())) {
            return Err(format!("there is no peer {name}; there are {}", PEERS.join(", ")).into());
        }
        if self.efforts.is_empty() {
            return Err("no efforts were given".into());
        }
        Ok(self)
    }

    /// The folder of the set, made if need be.
    fn folder(&self) -> Result<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let Some(rows) = self.synthetic else {
            return Set::demo(&made()?, self.threads());
        };
        let (dim, queries, seed) = (self.dim, self.queries, self.seed);
        let mixture = synthetic::Mixture { rows, dim, queries, seed };
        Set::synthetic(&made()?, &mixture, self.threads())
    }

    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, |threads| threads.get());
        self.threads.unwrap_or_else(all).max(1)
    }

    fn shows(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn ours(&self) -> Vec<Contender> {
        if self.no_ours { Vec::new() } else { self.ours.clone() }
    }

    /// Who takes part in the curves, ours first.
    fn contenders(&self) -> Vec<Contender> {
        let mut all = self.ours();
        all.extend(self.peers.iter().cloned().map(Contender::Peer));
        all
    }
}
