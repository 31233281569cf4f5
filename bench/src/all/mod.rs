//! `bench all`: every workload, one after the other, and with `--report` everything that is published about them.
//!
//! ```text
//!   steps ─▶ each a process of its own ─▶ NAME.json: every round, tables, summary, machine
//!                                            └─▶ NAME.md, NAME-*.svg, README.md (machine, aims), blocks of the READMEs
//! ```
//!
//! | file      | what it is                                                          |
//! |-----------|---------------------------------------------------------------------|
//! | `steps`   | which workloads, with which settings                                |
//! | `machine` | where they ran, and the versions of what ran                        |
//! | `pages`   | the folder: a page and pictures per workload, and the page of all   |
//! | `embed`   | the blocks of figures in the READMEs                                |
//!
//! What is published is made of the JSON alone, so `bench embed` makes it again without measuring.

mod embed;
mod machine;
mod pages;
mod steps;

use crate::Result;
use crate::outcome::Outcome;
use clap::builder::PossibleValuesParser;
use machine::Machine;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use steps::{STEPS, Step};

pub use embed::{Settings as EmbedSettings, run as embed};

/// What to run, and where it goes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bench all --quick                        whether everything works: a minute or two
  bench all --only kv,lscs                 two workloads, tables on standard output
  bench all --report docs/benchmarks --python target/peers/bin/python --data FOLDER
                                           everything that is published: half an hour on a quiet machine")]
pub struct Settings {
    /// Writes pages, pictures and JSON into this folder, and rewrites the blocks of the READMEs if it is theirs
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Only these workloads, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(steps::names()))]
    only: Vec<String>,
    /// Whether everything works: a minute or two
    #[arg(long)]
    quick: bool,
    /// A Python interpreter that has the packages of bench/peers/requirements.txt, for the peers of `vector`
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// A set of vectors for `vector`; the demo's 4,000 texts unless told otherwise
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where databases live while they are measured; give it a real disk
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A set of vectors that is made in a moment.
const SYNTHETIC: [&str; 6] = ["--synthetic", "600", "--dim", "16", "--queries", "20"];

/// One workload as it is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Published {
    /// Of the step.
    name: String,
    /// What would run it again.
    command: String,
    /// How long it took.
    seconds: f64,
    /// Whether it only shows that everything works.
    quick: bool,
    machine: Machine,
    outcome: Outcome,
}

/// Runs every step; a step that fails does not keep the others from running.
///
/// # Errors
/// When a step failed, after all have run; when the report cannot be written.
pub fn run(settings: &Settings) -> Result<()> {
    let wanted = |step: &&Step| {
        settings.only.is_empty() || settings.only.iter().any(|name| name == step.name)
    };
    let steps: Vec<&Step> = STEPS.iter().filter(wanted).collect();
    let machine = Machine::here(settings.dir.as_deref())?;
    let (mut failed, started) = (Vec::new(), Instant::now());
    for (at, step) in steps.iter().enumerate() {
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        eprintln!("== {} of {}: {} ({minutes:.1} minutes so far)", at + 1, steps.len(), step.name);
        match one(step, settings, &machine) {
            Ok(published) => publish(&published, settings.report.as_deref())?,
            Err(error) => {
                eprintln!("{}: {error}", step.name);
                failed.push(step.name);
            }
        }
    }
    if let Some(report) = &settings.report {
        pages::write(report)?;
        if embed::is_published(report) {
            embed::rewrite(Path::new("."), report)?;
        }
        eprintln!("{}", report.join("README.md").display());
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("these workloads failed: {}", failed.join(", ")).into()),
    }
}

/// Runs one step in a process of its own.
fn one(step: &Step, settings: &Settings, machine: &Machine) -> Result<Published> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("outcome.json");
    let mut arguments = step.arguments(settings.quick);
    if step.command == "vector" {
        arguments.extend(settings.of_vector());
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(step.command).args(&arguments).arg("--publish").arg(&file);
    if let Some(dir) = &settings.dir {
        command.env("TMPDIR", dir);
    }
    let started = Instant::now();
    let status = command.status()?;
    if !status.success() {
        return Err(format!("it ended with {status}").into());
    }
    let seconds = started.elapsed().as_secs_f64();
    let outcome = Outcome::read(&file)?;
    let command = format!("cargo run --release -p bench{} -- {}", machine.features(), step.command);
    // Paths of this machine mean nothing elsewhere.
    let shown = arguments.iter().scan(false, |is_path, word| {
        let shown = if *is_path { "PATH".to_owned() } else { word.clone() };
        *is_path = ["--python", "--data"].contains(&word.as_str());
        Some(shown)
    });
    let command = shown.fold(command, |command, word| format!("{command} {word}"));
    let (name, machine) = (step.name.to_owned(), machine.clone());
    Ok(Published { name, command, seconds, quick: settings.quick, machine, outcome })
}

impl Settings {
    /// What `vector` is told besides: who the peers are, and what is searched.
    fn of_vector(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut arguments = Vec::new();
        match (&self.python, self.quick) {
            (Some(python), _) => arguments.extend(["--python".to_owned(), path(python)]),
            (None, true) => arguments.extend(["--peers", "none"].map(str::to_owned)),
            (None, false) => {}
        }
        match (&self.data, self.quick) {
            (Some(data), _) => arguments.extend(["--data".to_owned(), path(data)]),
            (None, true) => arguments.extend(SYNTHETIC.map(str::to_owned)),
            (None, false) => {}
        }
        arguments
    }
}

fn publish(published: &Published, report: Option<&Path>) -> Result<()> {
    let Some(report) = report else {
        println!("## {}\n", published.name);
        return published.outcome.tell(false);
    };
    std::fs::create_dir_all(report)?;
    let path = report.join(format!("{}.json", published.name));
    Ok(std::fs::write(path, serde_json::to_string(published)? + "\n")?)
}

/// Everything published in `report`, in the order of the steps.
fn read(report: &Path) -> Result<Vec<Published>> {
    let mut all = Vec::new();
    for step in STEPS {
        let path = report.join(format!("{}.json", step.name));
        match std::fs::read(&path) {
            Ok(bytes) => all.push(
                serde_json::from_slice(&bytes)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        }
    }
    Ok(all)
}
