//! What calls notice when a plugin is replaced under them, and how soon the new version answers.
//!
//! ```text
//!   swaps    2 readers, 1 writer ──▶ plugin ◀── replaced, again and again, by the other of two versions
//!            each call timed: with no reload near, while a version is prepared, at a swap
//!   starts   reload ──▶ prepared, tried, swapped, drained ──▶ first call        code cache cold, then warm
//! ```
//!
//! | file     | what it is                                                                     |
//! |----------|--------------------------------------------------------------------------------|
//! | `worlds` | a database with one plugin at work in it, and two versions of that plugin      |
//! | `swaps`  | the calls of threads while it is replaced                                      |
//! | `starts` | from the wish for another version to its first answer                          |
//!
//! The two versions are one component, in one of them with bytes behind it that mean nothing, so that code has to be
//! compiled for each. Nothing is watched after a swap: what a probation adds is time, and no work for calls.

mod starts;
mod swaps;
mod worlds;

use crate::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// How much of everything.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// How often each plugin is replaced while threads call it
    #[arg(long, default_value_t = 50)]
    pub swaps: usize,
    /// Microseconds a thread rests between two calls; with 0 there are more of them than cores, and they wait for those
    #[arg(long, default_value_t = 50)]
    pub pause: u64,
    /// Rounds of starts; a cell is their median
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Whether it works: a few swaps, one round
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the tables
    #[arg(long)]
    pub json: bool,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Run {
    swaps: Vec<swaps::Line>,
    starts: Vec<starts::Line>,
}

/// Measures and prints.
pub fn run(settings: &Settings) -> Result<()> {
    let (swaps, rounds) = if settings.quick { (4, 1) } else { (settings.swaps, settings.rounds) };
    let run =
        Run { swaps: swaps::measure(swaps, settings.pause)?, starts: starts::measure(rounds)? };
    match settings.json {
        true => println!("{}", serde_json::to_string_pretty(&run)?),
        false => {
            println!("{}\n", swaps::table(&run.swaps));
            println!("{}\n", starts::table(&run.starts));
            println!(
                "{swaps} swaps of each plugin; 2 readers and 1 writer rest {} us between calls. Starts: medians of \
                 {rounds} rounds.",
                settings.pause
            );
        }
    }
    let failed: u64 = run.swaps.iter().map(|line| line.failed).sum();
    if 0 < failed {
        return Err(format!("{failed} calls failed while plugins were replaced").into());
    }
    Ok(())
}

/// A table in our style: the first `words` columns are words, the others figures.
fn figures(header: &[&str], words: usize, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
