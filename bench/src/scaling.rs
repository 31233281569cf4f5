//! How reads scale with threads: uniform point reads, each thread on a snapshot of its own, one engine after the other.
//!
//! ```text
//!   round ─▶ every engine loads ─▶ for each number of threads: every engine in turn reads ─▶ medians ─▶ a table, a curve
//! ```

use crate::Result;
use crate::chart::{Chart, Shape};
use crate::engine::Kind;
use crate::meter::some_median;
use crate::metric::{Figures, Workload};
use crate::outcome::{Outcome, Sheet, Summary};
use crate::report::show;
use crate::settings::Settings as KvSettings;
use crate::turns::{Child, Progress};
use crate::workload::{self, Bench, read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How much of everything.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Numbers of threads, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    pub threads: Vec<u64>,
    /// Only these peers, separated by commas; sochdb always runs
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<Kind>,
    /// Rows to load, 24 + 100 bytes each
    #[arg(long, default_value_t = 200_000)]
    pub rows: u64,
    /// Bytes of cache for each engine: more than the rows have unless told otherwise, so that no disk is asked
    #[arg(long, default_value_t = 128 << 20)]
    pub cache_bytes: usize,
    /// Reads of each thread
    #[arg(long, default_value_t = 200_000)]
    pub reads: u64,
    /// Rounds; each engine runs once in each
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Where the databases live while they are measured
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// One round with a tenth of everything: whether it works
    #[arg(long)]
    pub quick: bool,
    /// Print every round's figures as JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// What a child is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    job: workload::Job,
    threads: Vec<u64>,
    reads: u64,
}

/// Everything that was measured: by round, reads a second and microseconds of processor time of each engine, by threads.
#[derive(Debug, Serialize)]
struct Measured {
    cores: usize,
    threads: Vec<u64>,
    rounds: Vec<BTreeMap<Kind, Figures>>,
}

fn rate(threads: u64) -> String {
    format!("reads_{threads}")
}

fn cpu(threads: u64) -> String {
    format!("reads_{threads}_cpu_us")
}

/// Measures all engines.
///
/// # Errors
/// When a child fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let settings = settings.clone().scaled();
    let kv = settings.kv();
    let kinds = kv.kinds();
    let steps = 1 + settings.threads.len();
    let progress = Progress::new(settings.rounds * (kinds.len() * steps) as u64);
    let mut rounds = Vec::new();
    for round in 0..settings.rounds {
        let start = |&kind: &Kind| {
            let job = workload::Job { kind, settings: kv.clone(), seed: round };
            let job = Job { job, threads: settings.threads.clone(), reads: settings.reads };
            Child::start(kind.name(), "scaling-child", &serde_json::to_string(&job)?)
        };
        let mut children = kinds.iter().map(start).collect::<Result<Vec<_>>>()?;
        for step in 0..steps {
            for child in &mut children {
                let what = match step {
                    0 => "load".to_owned(),
                    _ => format!("{} threads", settings.threads[step - 1]),
                };
                let (name, rounds) = (child.name(), settings.rounds);
                progress.say(format!("round {} of {rounds}: {what}: {name}", round + 1));
                child.step()?;
                progress.step();
            }
        }
        let ended = kinds.iter().zip(children).map(|(kind, child)| Ok((*kind, child.end()?)));
        rounds.push(ended.collect::<Result<BTreeMap<_, _>>>()?);
    }
    drop(progress);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    outcome(&Measured { cores, threads: settings.threads.clone(), rounds }, &settings)
}

/// Loads, then reads by each number of threads, a step for each line of standard input.
///
/// # Errors
/// Whatever the engine returns.
pub fn child(job: &Job) -> Result<()> {
    let folder = workload::folder(&job.job.settings)?;
    let bench = Bench::new(&job.job, folder.path());
    let mut turns = std::io::stdin().lines();
    let Some(_) = turns.next().transpose()? else { return Ok(()) };
    bench.run(Workload::Load)?;
    println!("{{}}");
    for (threads, turn) in job.threads.iter().copied().zip(turns) {
        turn?;
        let engine = bench.open(bench.path(), false)?;
        // Once to warm up.
        read::by_threads(&bench, &*engine, threads, job.reads.div_ceil(4))?;
        let [rate_found, cpu_us] = read::by_threads(&bench, &*engine, threads, job.reads)?;
        engine.close()?;
        let figures = Figures::from([(rate(threads), rate_found), (cpu(threads), cpu_us)]);
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

impl Measured {
    fn median(&self, kind: Kind, id: &str) -> Option<f64> {
        let figure = |round: &BTreeMap<Kind, Figures>| round.get(&kind)?.get(id).copied();
        some_median(self.rounds.iter().filter_map(figure).collect())
    }

    /// How many times the rate of one thread so many have: the median of the rounds' ratios.
    fn times_one(&self, kind: Kind, threads: u64) -> Option<f64> {
        let ratio = |round: &BTreeMap<Kind, Figures>| {
            let figures = round.get(&kind)?;
            Some(figures.get(&rate(threads))? / figures.get(&rate(1))?)
        };
        some_median(self.rounds.iter().filter_map(ratio).collect())
    }
}

fn outcome(measured: &Measured, settings: &Settings) -> Result<Outcome> {
    let kinds = settings.kv().kinds();
    let mut outcome = Outcome::of(measured)?;
    let some = |figure: Option<f64>| figure.map_or_else(String::new, show);
    let row = |threads: u64, label: String, figure: &dyn Fn(Kind) -> Option<f64>| {
        let cells = kinds.iter().map(|kind| some(figure(*kind)));
        [threads.to_string(), label].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let lines = measured.threads.iter().flat_map(|&threads| {
        [
            row(threads, "reads/s".to_owned(), &|kind| measured.median(kind, &rate(threads))),
            row(threads, "times one thread".to_owned(), &|kind| measured.times_one(kind, threads)),
            row(threads, "processor time, us".to_owned(), &|kind| {
                measured.median(kind, &cpu(threads))
            }),
        ]
    });
    let head = ["threads", "figure"].into_iter().chain(kinds.iter().map(|kind| kind.name()));
    let note = format!(
        "{} rows of 24 + 100 bytes, all in the cache of {} MiB; {} uniform point reads a thread on {} cores; median of {} \
         rounds, engines interleaved.",
        settings.rows,
        settings.cache_bytes >> 20,
        settings.reads,
        measured.cores,
        settings.rounds
    );
    let (name, title) = ("scaling".to_owned(), String::new());
    let head = head.map(str::to_owned).collect();
    outcome.sheets.push(Sheet { name, title, head, words: 2, rows: lines.collect(), note });
    outcome.charts.push(chart(measured, &kinds));
    let mut summary = Summary::from([("cores".to_owned(), measured.cores as f64)]);
    for &threads in &measured.threads {
        let times = measured.times_one(Kind::Sochdb, threads);
        summary.extend(times.map(|times| (format!("times_{threads}"), times)));
        let within = threads as usize <= measured.cores && 1 < threads;
        let per_core = times.filter(|_| within).map(|times| times / threads as f64);
        summary.extend(per_core.map(|share| ("per_core".to_owned(), share)));
    }
    outcome.summary = summary;
    Ok(outcome)
}

fn chart(measured: &Measured, kinds: &[Kind]) -> Chart {
    let points = |kind: Kind| {
        let point = |&threads: &u64| Some((threads as f64, measured.median(kind, &rate(threads))?));
        measured.threads.iter().filter_map(point).collect::<Vec<_>>()
    };
    let series = kinds.iter().map(|kind| (kind.name().to_owned(), points(*kind))).collect();
    let (x, y) = ("threads".to_owned(), "reads a second".to_owned());
    let shape = Shape::Lines { x, y, log_x: true, log_y: true, series };
    let title = format!("point reads a second, on {} cores", measured.cores);
    Chart { name: "threads".to_owned(), title, shape }
}

impl Settings {
    fn scaled(mut self) -> Settings {
        if self.quick {
            (self.rows, self.reads, self.rounds) = (self.rows / 10, self.reads / 10, 1);
        }
        self.threads.retain(|threads| *threads != 0);
        self.threads.sort_unstable();
        self.threads.dedup();
        self
    }

    fn kv(&self) -> KvSettings {
        let Settings { rows, cache_bytes, engines, dir, .. } = self.clone();
        let only = vec![Workload::Load];
        KvSettings { rows, cache_bytes, engines, dir, only, ..KvSettings::default() }.scaled()
    }
}
