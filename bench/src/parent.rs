//! The parent: rounds of children, one per engine.
//!
//! The children of a round take turns: each runs the first workload, then each the second, and so on. So the
//! figures of one line of the table were measured within seconds of each other, which matters most where a
//! disk is shared and its syncs are fast one minute and slow the next.

use crate::Result;
use crate::engine::Kind;
use crate::metric::Figures;
use crate::settings::Settings;
use crate::turns::{Child, Progress};
use crate::workload::Job;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// How much of everything, `quick` applied.
    pub settings: Settings,
    /// By round, the figures of each engine.
    pub rounds: Vec<BTreeMap<Kind, Figures>>,
}

/// Runs all rounds with the engines that the settings name.
///
/// # Errors
/// When a child fails; what it said went to standard error.
pub fn run(settings: &Settings) -> Result<Run> {
    run_kinds(settings, &settings.kinds())
}

/// Runs all rounds with these engines.
///
/// # Errors
/// As [`run`].
pub fn run_kinds(settings: &Settings, kinds: &[Kind]) -> Result<Run> {
    let workloads = settings.workloads();
    let progress = Progress::new(settings.rounds * (kinds.len() * workloads.len()) as u64);
    let mut rounds = Vec::new();
    for round in 0..settings.rounds {
        let start = |&kind: &Kind| {
            let job = Job { kind, settings: settings.clone(), seed: round };
            Child::start(kind.name(), "child", &serde_json::to_string(&job)?)
        };
        let mut children = kinds.iter().map(start).collect::<Result<Vec<_>>>()?;
        for workload in &workloads {
            for child in &mut children {
                let (name, what) = (child.name(), workload.name());
                let rounds = settings.rounds;
                progress.say(format!("round {} of {rounds}: {what}: {name}", round + 1));
                child.step()?;
                progress.step();
            }
        }
        let ended = kinds.iter().zip(children).map(|(kind, child)| Ok((*kind, child.end()?)));
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
