//! What the whole database costs beside its bare kernel: every bundled plugin loaded, telemetry on, the same rows, the
//! same work.
//!
//! ```text
//!   rounds; in each the two take turns after every workload ─▶ medians of the rounds' ratios ─▶ a table
//! ```
//!
//! It is `bench kv` with other contenders. No table uses a plugin here: what is asked is what plugins cost that are there and
//! have nothing to do with the rows.

use crate::Result;
use crate::chart::{Chart, Shape};
use crate::engine::Kind;
use crate::metric::{Metric, Workload};
use crate::outcome::{Outcome, Sheet};
use crate::parent::{self, Run};
use crate::report::{Line, show};
use crate::settings::Settings as KvSettings;
use std::path::PathBuf;

/// No line may cost more than so many times what the kernel costs.
pub const GOAL: f64 = 1.05;
const WORKLOADS: [Workload; 6] = [
    Workload::Load,
    Workload::Get,
    Workload::Scan,
    Workload::Ycsb,
    Workload::Durable,
    Workload::Counters,
];

/// How much of everything.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Rows to load
    #[arg(long, default_value_t = 100_000)]
    pub rows: u64,
    /// Durable commits of one thread
    #[arg(long, default_value_t = 1_000)]
    pub commits: u64,
    /// Point reads and operations of a YCSB mix
    #[arg(long, default_value_t = 100_000)]
    pub operations: u64,
    /// Rounds; each of the two runs once in each
    #[arg(long, default_value_t = 7)]
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

/// Measures both.
///
/// # Errors
/// When a child fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let Settings { rows, commits, operations, rounds, dir, quick, .. } = settings.clone();
    let (only, kv) = (WORKLOADS.to_vec(), KvSettings::default());
    let kv = KvSettings { rows, commits, operations, rounds, dir, quick, only, ..kv }.scaled();
    let run = parent::run_kinds(&kv, &[Kind::Sochdb, Kind::Database])?;
    // Bytes are the kernel's affair.
    let is_time = |metric: &&Metric| !metric.label.starts_with("  bytes");
    let times = run.metrics().filter(is_time);
    let costs: Vec<Cost> = times.filter_map(|metric| cost(&run, metric)).collect();
    let mut outcome = Outcome::of(&run)?;
    outcome.sheets.push(sheet(&costs, &run));
    outcome.charts.push(chart(&costs));
    let figures = costs.iter().map(|cost| (cost.metric.id.to_owned(), cost.times));
    outcome.summary = figures.collect();
    Ok(outcome)
}

/// One line: the medians of both, and how many times as much the database costs.
struct Cost {
    metric: &'static Metric,
    kernel: f64,
    database: f64,
    times: f64,
}

fn cost(run: &Run, metric: &'static Metric) -> Option<Cost> {
    let line = Line { run, metric };
    let (kernel, database) = (line.figure(Kind::Sochdb)?, line.figure(Kind::Database)?);
    let times = line.ratio(Kind::Sochdb, Kind::Database)?;
    Some(Cost { metric, kernel, database, times })
}

fn sheet(costs: &[Cost], run: &Run) -> Sheet {
    let head = ["workload", "durability", "kernel", "database", "database : kernel", "goal"];
    let row = |cost: &Cost| {
        let figures = [cost.kernel, cost.database, cost.times].map(show);
        let words = [cost.metric.label, cost.metric.durability].map(str::to_owned);
        words.into_iter().chain(figures).chain([format!("{GOAL}")]).collect()
    };
    let note = format!(
        "{} rows of 24 + {} bytes in the kernel's tree, {} durable commits, {} operations; median of {} rounds, the two \
         interleaved. The ratio is what all of the database around its kernel costs, bundled plugins loaded: \
         1.05 is 5% more.",
        run.settings.rows,
        run.settings.value_bytes,
        run.settings.commits,
        run.settings.operations,
        run.settings.rounds
    );
    let (name, title) = ("overhead".to_owned(), String::new());
    let head = head.map(str::to_owned).into();
    Sheet { name, title, head, words: 2, rows: costs.iter().map(row).collect(), note }
}

fn chart(costs: &[Cost]) -> Chart {
    let groups = costs.iter().map(|cost| (cost.metric.name(), vec![Some(cost.times)])).collect();
    let series = vec!["database : kernel".to_owned()];
    let axis = "times what the bare kernel costs".to_owned();
    let shape = Shape::Bars { axis, from: 1.0, goal: Some(GOAL), series, groups };
    let title = "what all bundled plugins cost the work that needs none of them".to_owned();
    Chart { name: "ratios".to_owned(), title, shape }
}
