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
use crate::meter::median;
use comfy_table::{CellAlignment, Table, presets};
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

/// Measures everything and prints it.
pub fn run(settings: &Settings) -> Result<()> {
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
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    print(&lines, rounds);
    Ok(())
}

fn line(at: usize, case: &Case, rounds: &[Figures]) -> Line {
    let figures = || rounds.iter().map(|round| round[&at]);
    let of = |figures: Vec<f64>| (!figures.is_empty()).then(|| median(figures));
    let sandbox =
        of(figures().map(|(sandbox, _)| sandbox).collect()).unwrap_or_default() / case.per;
    let native = of(figures().filter_map(|(_, native)| native).collect()).map(|of| of / case.per);
    let ratio = figures().filter_map(|(sandbox, native): Figure| Some(sandbox / native?));
    let ratio = of(ratio.collect());
    Line { what: case.what, unit: case.unit, sandbox, native, ratio }
}

fn print(lines: &[Line], rounds: usize) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["what", "unit", "sandbox", "native", "sandbox : native"]);
    for line in lines {
        table.add_row([
            line.what.to_owned(),
            line.unit.to_owned(),
            show(line.sandbox),
            line.native.map(show).unwrap_or_default(),
            line.ratio.map(show).unwrap_or_default(),
        ]);
    }
    (2..5).for_each(|column| {
        table.column_mut(column).expect("there").set_cell_alignment(CellAlignment::Right);
    });
    println!(
        "{table}\n\nMedians of {rounds} rounds. Fuel and epochs on, imports checked and audited."
    );
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
