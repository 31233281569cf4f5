//! What the database weighs: the command with all bundled plugins on disk, as the profiles `release` and `dist` make it; a
//! warm database opened with all of them; and the memory of a process that has opened one and is idle.
//!
//! ```text
//!   a database with a table in the tree and one in `lscs`, closed well ─▶ rounds: a new process opens it, reads a row of
//!   each, waits, and says what it took ─▶ medians
//! ```
//!
//! The process is [`bench_embedder`]'s: a program that embeds the database and has no peers in it.
//!
//! Code of the plugins comes from the user's cache, which the first start fills; that one does not count. It lies in files
//! in memory, which are counted whole, whatever of them the process has touched.

use crate::Result;
use crate::meter::some_median;
use crate::outcome::{Outcome, Sheet, words};
use crate::report::show;
use bench_embedder::{Job, Start};
use serde::Serialize;
use sochdb::{Database, TableOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How much of everything.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The build of `sochdb` to weigh; those of the profiles `release` and `dist` unless told otherwise, built if need be
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// Rows of each of the two tables
    #[arg(long, default_value_t = 20_000)]
    pub rows: u32,
    /// Starts that count
    #[arg(long, default_value_t = 9)]
    pub rounds: usize,
    /// Seconds that a process is idle before its memory is looked at
    #[arg(long, default_value_t = 2.0)]
    pub idle: f64,
    /// Whether it works: one start, and a binary only where there is one
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Megabytes of one build of the command, stripped.
#[derive(Debug, Serialize)]
struct Binary {
    /// In the summary.
    id: &'static str,
    /// Which profile made it, or where it lies.
    build: String,
    stripped_mb: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    binaries: Vec<Binary>,
    starts: Vec<Start>,
}

/// What an aim asks for.
const DIST: &str = "stripped_mb";
const TABLES: [(&str, Option<&str>); 2] = [("tree", None), ("columns", Some("lscs"))];

/// Measures.
///
/// # Errors
/// When the command cannot be built or stripped, and what the database says.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let (rounds, idle) = match settings.quick {
        true => (1, 0.0),
        false => (settings.rounds.max(1), settings.idle),
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db");
    fill(&path, settings.rows)?;
    let tables = TABLES.map(|(table, _)| table.to_owned()).into();
    let job = serde_json::to_string(&Job { path, tables, idle })?;
    let program = embedder(settings.quick)?;
    start(&program, &job)?;
    let starts = (0..rounds).map(|_| start(&program, &job)).collect::<Result<Vec<_>>>()?;
    let binaries = binaries(settings, folder.path())?;
    outcome(&Measured { binaries, starts })
}

/// Makes the database.
fn fill(path: &Path, rows: u32) -> Result<()> {
    let db = Database::open(path)?;
    for (table, storage) in TABLES {
        let storage = storage.map(str::to_owned);
        let codec = storage.is_some().then(|| "lz4".to_owned());
        db.create_table(table, TableOptions { storage, codec, ..TableOptions::default() })?;
        for batch in (0..rows).collect::<Vec<_>>().chunks(1_000) {
            db.run(|tx| {
                batch.iter().try_for_each(|row| tx.put(table, &row.to_be_bytes(), &[7; 100]))
            })?;
        }
    }
    Ok(db.close()?)
}

/// The program that opens the database, and what it is told before its job.
struct Embedder {
    path: PathBuf,
    arguments: &'static [&'static str],
}

/// The small program; in a build for tests and in a hurry this one, which does the same and is larger.
fn embedder(quick: bool) -> Result<Embedder> {
    if quick || cfg!(debug_assertions) {
        return Ok(Embedder { path: std::env::current_exe()?, arguments: &["footprint-child"] });
    }
    Ok(Embedder { path: built("release", "bench-embedder")?, arguments: &[] })
}

/// One start of the program, as the job says.
fn start(program: &Embedder, job: &str) -> Result<Start> {
    let mut command = Command::new(&program.path);
    let output = command.args(program.arguments).arg(job).stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => {
            Err(format!("the process that opens the database ended with {}", output.status).into())
        }
    }
}

/// Opens the database, loads all plugins, and is idle.
///
/// # Errors
/// What the database says.
pub fn child(job: &Job) -> Result<()> {
    println!("{}", serde_json::to_string(&bench_embedder::start(job)?)?);
    Ok(())
}

/// What the command weighs: what it weighs by `release` and by `dist`, unless a build was named.
fn binaries(settings: &Settings, folder: &Path) -> Result<Vec<Binary>> {
    let weighed = |id, build: &str, path: &Path| -> Result<Binary> {
        Ok(Binary { id, build: build.to_owned(), stripped_mb: stripped_mb(path, folder)? })
    };
    if let Some(path) = &settings.binary {
        return Ok(vec![weighed(DIST, &path.display().to_string(), path)?]);
    }
    let mut binaries = Vec::new();
    for (id, profile) in [("release_stripped_mb", "release"), (DIST, "dist")] {
        // In a build for tests and in a hurry only what somebody has made.
        let path = match settings.quick || cfg!(debug_assertions) {
            true => Some(program(profile, "sochdb")?).filter(|path| path.is_file()),
            false => Some(built(profile, "sochdb")?),
        };
        if let Some(path) = path {
            binaries.push(weighed(id, &format!("profile {profile}"), &path)?);
        }
    }
    Ok(binaries)
}

/// Where cargo puts the program of the package `name` by `profile`.
fn program(profile: &str, name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("this program lies in no target folder")?;
    Ok(target.join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// The same, made. Cargo knows whether there is anything to do.
fn built(profile: &str, name: &str) -> Result<PathBuf> {
    let path = program(profile, name)?;
    let target = path.ancestors().nth(2).expect("it is made of two names more");
    eprintln!("building {name} by the profile {profile}; that may take half an hour");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--profile", profile, "--package", name, "--bin", name];
    let mut command = Command::new(cargo);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let built = command.args(arguments).arg("--target-dir").arg(target).status()?;
    if !built.success() || !path.is_file() {
        let help = format!("cargo build --profile {profile} --package {name} says why");
        return Err(format!("{name} could not be built\nhelp: {help}").into());
    }
    Ok(path)
}

/// How large `path` is without symbols.
fn stripped_mb(path: &Path, folder: &Path) -> Result<f64> {
    let copy = folder.join("stripped");
    std::fs::copy(path, &copy)?;
    let stripped = Command::new("strip").arg(&copy).status();
    if !stripped.is_ok_and(|status| status.success()) {
        return Err("`strip` failed\nhelp: it is part of binutils".into());
    }
    Ok(std::fs::metadata(&copy)?.len() as f64 / 1e6)
}

fn outcome(measured: &Measured) -> Result<Outcome> {
    let middle = |figure: fn(&Start) -> Option<f64>| {
        some_median(measured.starts.iter().filter_map(figure).collect())
    };
    let binary = |Binary { id, build, stripped_mb }: &Binary| {
        let label = format!("the command with all bundled plugins, {build}, stripped, MB");
        (*id, label, Some(*stripped_mb))
    };
    let starts = [
        ("open_ms", "open a warm database, ms", middle(|start| Some(start.open_ms))),
        (
            "first_rows_ms",
            "  and read a row of each table, ms",
            middle(|start| Some(start.first_rows_ms)),
        ),
        ("all_ms", "  and load all plugins, ms", middle(|start| Some(start.all_ms))),
        ("all_cpu_ms", "  processor time of all that, ms", middle(|start| Some(start.all_cpu_ms))),
        ("idle_mb", "memory of an idle process with all that, MB", middle(|start| start.idle_mb)),
        ("idle_anonymous_mb", "  of that no file's, MB", middle(|start| start.anonymous_mb)),
        (
            "idle_memory_files_mb",
            "  of that files in memory: code of plugins, MB",
            middle(|start| start.memory_files_mb),
        ),
    ];
    let starts = starts.map(|(id, label, figure)| (id, label.to_owned(), figure));
    let lines: Vec<_> = measured.binaries.iter().map(binary).chain(starts).collect();
    let mut outcome = Outcome::of(measured)?;
    let figures = lines.iter().filter_map(|(id, _, figure)| Some(((*id).to_owned(), (*figure)?)));
    outcome.summary = figures.collect();
    let row = |(_, label, figure): &(&str, String, Option<f64>)| {
        vec![label.clone(), figure.map_or_else(String::new, show)]
    };
    let note = format!(
        "{} plugins; medians of {} starts, each a new process. A megabyte is 10^6 bytes.",
        measured.starts.first().map_or(0, |start| start.plugins),
        measured.starts.len()
    );
    let (name, title) = ("footprint".to_owned(), String::new());
    let rows = lines.iter().map(row).collect();
    outcome.sheets.push(Sheet {
        name,
        title,
        head: words(["what", "figure"]),
        words: 1,
        rows,
        note,
    });
    Ok(outcome)
}
