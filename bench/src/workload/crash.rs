//! Opening again: after the database was closed, and after its process was killed.
//!
//! A child starts a victim, which writes rows and prints, after each commit, how many rows were
//! acknowledged so far. The child kills it (SIGKILL), reads what was acknowledged to the last line, opens the
//! database, and looks for every acknowledged row.
//!
//! ```text
//!   victim:  half of all rows in batches ── single rows ──▶ ... killed here
//!   child:   reads acknowledgements ── enough single rows? ── kill ── open, read a row ── count the lost
//! ```

use super::{Bench, Found, wrong};
use crate::Result;
use crate::data;
use crate::engine::{self, Engine, Kind, Setup};
use crate::meter::Meter;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a victim is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    kind: Kind,
    settings: Settings,
    path: PathBuf,
    synced: bool,
}

/// Measures opening, and counts what is lost.
pub fn reopen(bench: &Bench<'_>) -> Result<Found> {
    let (engine, [reopen_ms, reopen_cpu_ms]) = timed_open(bench, &bench.path, 0)?;
    engine.close()?;
    let ([killed_ms, killed_cpu_ms], lost) = kill(bench, true)?;
    let (_, lost_unsynced) = kill(bench, false)?;
    Ok(vec![
        ("reopen_ms", reopen_ms),
        ("reopen_cpu_ms", reopen_cpu_ms),
        ("killed_ms", killed_ms),
        ("killed_cpu_ms", killed_cpu_ms),
        ("killed_lost", lost),
        ("killed_lost_unsynced", lost_unsynced),
    ])
}

/// Opens the database and looks for row `number`: an engine that puts work off until the first read has
/// not opened before. With the milliseconds that it took, on the wall and of processor time.
fn timed_open(bench: &Bench<'_>, path: &Path, number: u64) -> Result<(Box<dyn Engine>, [f64; 2])> {
    let (meter, key) = (Meter::start(), data::key(number));
    let engine = bench.open(path, true)?;
    engine.read(&mut |reader| reader.get(&key, &mut |_| {}).map(drop))?;
    let took = [meter.seconds() * 1e3, meter.cpu_us() / 1e3];
    Ok((engine, took))
}

/// Kills a victim; returns what opening took, as [`timed_open`] does, and how many acknowledged rows are lost.
fn kill(bench: &Bench<'_>, synced: bool) -> Result<([f64; 2], f64)> {
    let (kind, settings, path) = (bench.kind, bench.settings.clone(), bench.fresh.clone());
    let enough = in_batches(&settings) + settings.commits;
    let job = serde_json::to_string(&Job { kind, settings, path, synced })?;
    let mut command = Command::new(std::env::current_exe()?);
    let mut victim = command.arg("victim").arg(job).stdout(Stdio::piped()).spawn()?;
    let (mut acknowledged, mut killed) = (0, false);
    for line in BufReader::new(victim.stdout.take().expect("piped")).split(b'\n') {
        // The kill may cut the last line; a part of a number is a smaller number, and is ignored.
        let number: u64 = String::from_utf8_lossy(&line?).parse().unwrap_or_default();
        acknowledged = number.max(acknowledged);
        if enough <= acknowledged && !killed {
            victim.kill()?;
            killed = true;
        }
    }
    victim.wait()?;
    if !killed {
        return Err(format!("the victim ended by itself after {acknowledged} rows").into());
    }
    let (engine, took) = timed_open(bench, &bench.fresh, acknowledged - 1)?;
    let lost = wrong(bench.values(), &*engine, &(0..acknowledged).collect::<Vec<_>>(), 0)?;
    engine.close()?;
    std::fs::remove_dir_all(&bench.fresh)?;
    Ok((took, lost as f64))
}

/// Rows that a victim writes in batches before it goes on with single ones.
fn in_batches(settings: &Settings) -> u64 {
    settings.rows / 2
}

/// Writes until killed.
///
/// # Errors
/// Whatever the engine returns.
pub fn victim(job: &Job) -> Result<()> {
    let Settings { cache_bytes, memtable_bytes, .. } = job.settings;
    let (path, synced) = (&job.path, job.synced);
    let setup = Setup { path, cache_bytes, memtable_bytes, synced, zstd: false };
    let engine = engine::open(job.kind, &setup)?;
    // The pipe takes a whole line or, when its reader is gone, fails and ends the victim.
    let acknowledge = |rows: u64| {
        let line = format!("{rows}\n");
        std::io::stdout().write_all(line.as_bytes())
    };
    let batched = in_batches(&job.settings);
    let values = job.settings.values();
    let batches = values.batches(&(0..batched).collect::<Vec<_>>(), 0);
    batches.iter().try_for_each(|rows| engine.put(rows))?;
    acknowledge(batched)?;
    for number in batched.. {
        engine.put(&[values.row(number, 0)])?;
        acknowledge(number + 1)?;
    }
    Ok(())
}
