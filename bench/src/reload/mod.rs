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
use crate::outcome::{Outcome, Sheet};
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

/// Measures both parts.
///
/// # Errors
/// What a database says. Calls that failed while plugins were replaced are a failure of the outcome.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let (swaps, rounds) = if settings.quick { (4, 1) } else { (settings.swaps, settings.rounds) };
    let run =
        Run { swaps: swaps::measure(swaps, settings.pause)?, starts: starts::measure(rounds)? };
    let mut outcome = Outcome::of(&run)?;
    let swaps_note = format!(
        "{swaps} swaps of each plugin; 2 readers and 1 writer rest {} us between calls.",
        settings.pause
    );
    let starts_note = format!("Medians of {rounds} rounds.");
    outcome.sheets.push(Sheet { note: swaps_note, ..swaps::sheet(&run.swaps) });
    outcome.sheets.push(Sheet { note: starts_note, ..starts::sheet(&run.starts) });
    outcome.charts.push(swaps::chart(&run.swaps));
    outcome.summary = swaps::summary(&run.swaps);
    let failed: u64 = run.swaps.iter().map(|line| line.failed).sum();
    outcome.failure =
        (0 < failed).then(|| format!("{failed} calls failed while plugins were replaced"));
    Ok(outcome)
}
