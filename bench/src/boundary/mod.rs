//! What crossing the boundary costs, beside the same work done without one.
//!
//! ```text
//!   rounds ─▶ every case once in each, sandboxed and native in turn ─▶ medians ─▶ one table
//! ```
//!
//! Everything runs in the configuration that the database uses: fuel and epochs on, every import checked
//! against the grant and audited. `meter` alone takes the meters apart, on a loop of its own.
//!
//! | file     | what it is                                           |
//! |----------|------------------------------------------------------|
//! | `calls`  | calls and bytes in both directions, rows, procedures |
//! | `starts` | instances, warm and cold starts, runaways            |
//! | `meters` | fuel and epochs on real loops                        |

mod calls;
mod meters;
mod starts;

use crate::Result;
use crate::chart::{Chart, Shape};
use crate::meter::some_median;
use crate::outcome::{Outcome, Sheet, Summary};
use serde::Serialize;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

/// How long, and how it is printed.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Rounds; a cell is their median
    #[arg(long, default_value_t = 9)]
    pub rounds: usize,
    /// Whether it works: one short round
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    what: &'static str,
    unit: &'static str,
    sandbox: f64,
    native: Option<f64>,
    ratio: Option<f64>,
    /// By round, what the medians are of.
    rounds: Vec<Figure>,
}

/// Figures of one round: nanoseconds, unless a line says otherwise, in the sandbox and without.
type Figures = BTreeMap<usize, Figure>;
type Figure = (f64, Option<f64>);

/// What a case measures, in the order of the table.
struct Case {
    what: &'static str,
    unit: &'static str,
    /// What the nanoseconds are divided by.
    per: f64,
}

/// Lines that aims refer to.
pub const HOST_CALL: &str = "guest to host, nothing carried";
/// As [`HOST_CALL`].
pub const BATCH_ROW: &str = "a row of 8 B, 256 of them in one call";
/// As [`HOST_CALL`].
pub const INSTANCE: &str = "an instance: made, its `init` called, first call";
/// As [`HOST_CALL`].
pub const RUNAWAY: &str = "a runaway, past its deadline";

/// Measures everything.
///
/// # Errors
/// When a guest fails.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let rounds = if settings.quick { 1 } else { settings.rounds };
    let effort = if settings.quick { 0.05 } else { 1.0 };
    let mut cases = Vec::new();
    let mut figures: Vec<Figures> = Vec::new();
    let mut bench = calls::Calls::new()?;
    let mut starts = starts::Starts::new()?;
    let mut meters = meters::Meters::new()?;
    for _ in 0..rounds {
        let mut round = Round { cases: Vec::new(), figures: Figures::new(), effort };
        bench.measure(&mut round)?;
        starts.measure(&mut round)?;
        meters.measure(&mut round)?;
        cases = round.cases;
        figures.push(round.figures);
    }
    let lines: Vec<_> =
        cases.iter().enumerate().map(|(at, case)| line(at, case, &figures)).collect();
    let mut outcome = Outcome::of(&lines)?;
    outcome.sheets.push(sheet(&lines, rounds));
    outcome.charts.push(chart(&lines));
    let figures = lines.iter().map(|line| (line.what.to_owned(), line.sandbox));
    let beyond = lines.iter().filter(|line| line.what == BATCH_ROW);
    let beyond =
        beyond.filter_map(|line| Some(("batch_row_beyond_native".to_owned(), line.beyond()?)));
    outcome.summary = figures.chain(beyond).collect::<Summary>();
    Ok(outcome)
}

fn line(at: usize, case: &Case, rounds: &[Figures]) -> Line {
    let of = |figure: Figure| (figure.0 / case.per, figure.1.map(|native| native / case.per));
    let rounds: Vec<Figure> = rounds.iter().map(|round| of(round[&at])).collect();
    let figures = || rounds.iter().copied();
    let sandbox = some_median(figures().map(|(sandbox, _)| sandbox).collect()).unwrap_or_default();
    let native = some_median(figures().filter_map(|(_, native)| native).collect());
    let ratio = figures().filter_map(|(sandbox, native)| Some(sandbox / native?));
    let ratio = some_median(ratio.collect());
    Line { what: case.what, unit: case.unit, sandbox, native, ratio, rounds }
}

impl Line {
    /// What the sandbox takes more: the median of the rounds' differences.
    fn beyond(&self) -> Option<f64> {
        let more = self.rounds.iter().filter_map(|(sandbox, native)| Some(sandbox - (*native)?));
        some_median(more.collect())
    }
}

fn sheet(lines: &[Line], rounds: usize) -> Sheet {
    let row = |line: &Line| {
        vec![
            line.what.to_owned(),
            line.unit.to_owned(),
            show(line.sandbox),
            line.native.map(show).unwrap_or_default(),
            line.ratio.map(show).unwrap_or_default(),
        ]
    };
    let head = ["what", "unit", "sandbox", "native", "sandbox : native"].map(str::to_owned).into();
    let note =
        format!("Medians of {rounds} rounds. Fuel and epochs on, imports checked and audited.");
    let (name, title) = ("boundary".to_owned(), String::new());
    Sheet { name, title, head, words: 2, rows: lines.iter().map(row).collect(), note }
}

fn chart(lines: &[Line]) -> Chart {
    let group = |line: &Line| Some((line.what.to_owned(), vec![Some(line.ratio?)]));
    let groups = lines.iter().filter_map(group).collect();
    let (axis, series) = ("times the native cost".to_owned(), vec!["sandbox : native".to_owned()]);
    let shape = Shape::Bars { axis, from: 1.0, goal: None, series, groups };
    let title = "what the sandbox costs, times the same work done natively".to_owned();
    Chart { name: "ratios".to_owned(), title, shape }
}

fn show(value: f64) -> String {
    match value.abs() {
        least if least < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// One round under way.
struct Round {
    cases: Vec<Case>,
    figures: Figures,
    effort: f64,
}

impl Round {
    fn add(&mut self, case: Case, sandbox: f64, native: Option<f64>) {
        self.figures.insert(self.cases.len(), (sandbox, native));
        self.cases.push(case);
    }

    /// Nanoseconds of one of `times` repetitions of `work`.
    fn time<T>(&self, times: u32, mut work: impl FnMut() -> Result<T>) -> Result<f64> {
        let times = ((f64::from(times) * self.effort) as u32).max(1);
        black_box(work()?);
        let began = Instant::now();
        for _ in 0..times {
            black_box(work()?);
        }
        Ok(began.elapsed().as_nanos() as f64 / f64::from(times))
    }
}

/// Nanoseconds.
fn ns(what: &'static str) -> Case {
    Case { what, unit: "ns", per: 1.0 }
}

/// Microseconds.
fn us(what: &'static str) -> Case {
    Case { what, unit: "us", per: 1e3 }
}

/// Milliseconds.
fn ms(what: &'static str) -> Case {
    Case { what, unit: "ms", per: 1e6 }
}
