//! The parent: rounds of children, one per engine, and how far they are.
//!
//! The children of a round take turns: each runs the first workload, then each the second, and so on. So the
//! figures of one line of the table were measured within seconds of each other, which matters most where a
//! disk is shared and its syncs are fast one minute and slow the next.

use crate::Result;
use crate::engine::Kind;
use crate::metric::Figures;
use crate::settings::Settings;
use crate::workload::Job;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal, Lines, Write};
use std::path::PathBuf;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// How much of everything, `quick` applied.
    pub settings: Settings,
    /// By round, the figures of each engine.
    pub rounds: Vec<BTreeMap<Kind, Figures>>,
}

/// Runs all rounds.
///
/// # Errors
/// When a child fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Run> {
    let kinds = settings.kinds();
    let workloads = settings.workloads();
    let progress = Progress::new(settings.rounds * (kinds.len() * workloads.len()) as u64);
    let mut rounds = Vec::new();
    for round in 0..settings.rounds {
        let start = |&kind: &Kind| Child::start(kind, settings, round);
        let mut children = kinds.iter().map(start).collect::<Result<Vec<_>>>()?;
        for workload in &workloads {
            for child in &mut children {
                let (name, what) = (child.kind.name(), workload.name());
                let rounds = settings.rounds;
                progress.say(format!("round {} of {rounds}: {what}: {name}", round + 1));
                child.step()?;
                progress.bar.inc(1);
            }
        }
        let ended = children.into_iter().map(Child::end);
        rounds.push(ended.collect::<Result<BTreeMap<_, _>>>()?);
    }
    Ok(Run { settings: settings.clone(), rounds })
}

/// Earlier runs as one.
///
/// # Errors
/// When a file is not what a run printed, or the runs' settings differ.
pub fn merged(files: &[PathBuf]) -> Result<Run> {
    let read =
        |file: &PathBuf| -> Result<Run> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
    let mut runs = files.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter();
    let mut all = runs.next().ok_or("no run")?;
    for run in runs {
        let rounds = all.settings.rounds;
        if (Settings { rounds, ..run.settings }) != all.settings {
            return Err("these runs had different settings".into());
        }
        all.rounds.extend(run.rounds);
    }
    all.settings.rounds = all.rounds.len() as u64;
    Ok(all)
}

/// A bar where somebody watches, lines where somebody reads later.
struct Progress {
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    fn new(steps: u64) -> Progress {
        let bar = ProgressBar::new(steps);
        let template = "{elapsed_precise} {wide_bar} {eta} left, {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a good template"));
        Progress { bar, lines: !std::io::stderr().is_terminal() }
    }

    fn say(&self, what: String) {
        if self.lines {
            eprintln!("{what}");
        }
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One engine's process. It sleeps, its database closed, while another has its turn.
struct Child {
    kind: Kind,
    process: Process,
    turns: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    figures: Figures,
}

impl Child {
    fn start(kind: Kind, settings: &Settings, seed: u64) -> Result<Child> {
        let job = serde_json::to_string(&Job { kind, settings: settings.clone(), seed })?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").arg(job).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let turns = process.stdin.take().expect("piped");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        Ok(Child { kind, process, turns, said, figures: Figures::new() })
    }

    /// Lets it run its next workload.
    fn step(&mut self) -> Result<()> {
        self.turns.write_all(b"\n")?;
        let Some(line) = self.said.next() else {
            let status = self.process.wait()?;
            return Err(format!("the run of {} ended with {status}", self.kind.name()).into());
        };
        self.figures.extend(serde_json::from_str::<Figures>(&line?)?);
        Ok(())
    }

    fn end(self) -> Result<(Kind, Figures)> {
        let Child { kind, mut process, turns, figures, .. } = self;
        drop(turns);
        let status = process.wait()?;
        if !status.success() {
            return Err(format!("the run of {} ended with {status}", kind.name()).into());
        }
        Ok((kind, figures))
    }
}
