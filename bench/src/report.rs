//! The parent: starts a child per engine and round, and prints medians and ratios.

use crate::Result;
use crate::engine::Kind;
use crate::kv::{Figures, Settings, median};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use std::process::Command;

/// A line of the table: what it says, where it is, and whether more is better.
type Line = (&'static str, fn(&Figures) -> f64, bool);

const LINES: [Line; 9] = [
    ("random load, batches of 1,000, not synced, rows/s", |f| f.load, true),
    ("  its processor time and settling, us/row", |f| f.load_cpu_us, false),
    ("durable single puts, 1 thread, /s", |f| f.durable_1, true),
    ("durable single puts, 8 threads, /s", |f| f.durable_8, true),
    ("  slowest of a thousand, ms", |f| f.durable_8_p999_ms, false),
    ("point get, uniform, median, us", |f| f.get_us, false),
    ("scan of 100 rows, median, us", |f| f.scan_us, false),
    ("reopen, ms", |f| f.reopen_ms, false),
    ("bytes on disk per byte of rows", |f| f.space, false),
];

/// Runs `bench kv`.
///
/// # Errors
/// When a child fails, with what it said.
pub fn kv(settings: &Settings) -> Result<()> {
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    for round in 0..settings.rounds.max(1) {
        let mut figures = Vec::new();
        for kind in Kind::value_variants() {
            eprintln!("round {} of {}: {}", round + 1, settings.rounds.max(1), kind.name());
            figures.push(child(*kind, settings, round)?);
        }
        rounds.push(figures);
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let names = Kind::value_variants().iter().map(|kind| kind.name().to_owned());
    let header = std::iter::once("workload".to_owned()).chain(names);
    table.set_header(header.chain(["sochdb : redb, in its favour".to_owned()]));
    let yardstick = Kind::value_variants().iter().position(|kind| *kind == Kind::Redb);
    let yardstick = yardstick.expect("redb is an engine");
    for (what, figure, more_is_better) in LINES {
        let of =
            |engine: usize| median(rounds.iter().map(|round| figure(&round[engine])).collect());
        let engines = (0..Kind::value_variants().len()).map(|engine| show(of(engine)));
        let ratios = rounds.iter().map(|round| {
            let (ours, theirs) = (figure(&round[0]), figure(&round[yardstick]));
            if more_is_better { ours / theirs } else { theirs / ours }
        });
        let ratio = format!("{:.2}", median(ratios.collect()));
        table.add_row(std::iter::once(what.to_owned()).chain(engines).chain([ratio]));
    }
    (1..=Kind::value_variants().len() + 1).for_each(|column| {
        table.column_mut(column).expect("there").set_cell_alignment(CellAlignment::Right);
    });
    println!("{table}");
    let Settings { rows, cache_bytes, commits, rounds, .. } = settings;
    println!(
        "\n{rows} rows of 24 + 100 bytes, {cache_bytes} bytes of cache, {commits} durable commits; median of \
         {rounds} rounds, engines interleaved; durable means fdatasync (redb: Durability::Immediate, fjall: \
         PersistMode::SyncData)"
    );
    Ok(())
}

fn child(kind: Kind, settings: &Settings, seed: u64) -> Result<Figures> {
    let Settings { rows, cache_bytes, commits, rounds, dir } = settings;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", kind.name(), "--seed", &seed.to_string()]);
    command.args(["--rows", &rows.to_string(), "--cache-bytes", &cache_bytes.to_string()]);
    command.args(["--commits", &commits.to_string(), "--rounds", &rounds.to_string()]);
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", kind.name(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Three digits that matter.
fn show(figure: f64) -> String {
    match figure {
        1000.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
