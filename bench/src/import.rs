//! `bench import`: files of rows into tables and back, by the program, beside what the bare disk writes.
//!
//! ```text
//!   rows.jsonl, rows.csv, rows.parquet, unsorted.jsonl ── import ──▶ table ── dump ──▶ text, binary ── load ──▶ table
//! ```
//!
//! The program is run as its user runs it, a process and a fresh database for each step, so starting, opening and closing
//! are in the time. Every step says how many rows it moved, and another number ends the run. Right after each step that
//! writes, a file as large as the one that was read or written goes to the same disk, in one sequence and synced: what
//! that disk does at that moment. Storages take turns.

use crate::Result;
use crate::meter::median;
use crate::outcome::{Outcome, Sheet, Summary};
use crate::report::show;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// How much.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Rows of each file
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Rounds; a figure is the median of theirs
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Few rows, one round: whether it works
    #[arg(long)]
    pub quick: bool,
    /// Print every figure of every round as JSON
    #[arg(long)]
    pub json: bool,
    /// The folder in which files and databases live for a while; without it one for temporary files
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The program; without it `sochdb` beside this one
    #[arg(long)]
    pub program: Option<PathBuf>,
}

const QUICK_ROWS: u64 = 20_000;
/// Storages, as the program calls them.
const STORAGES: [&str; 2] = ["kernel", "lscs"];
/// What the bare disk is given at once.
const WRITE_BYTES: usize = 1 << 20;
/// Steps of the clock that `/proc` counts in, a second.
const TICKS: f64 = 100.0;

/// One step of one round.
#[derive(Serialize)]
struct Figure {
    seconds: f64,
    /// Processor time of the program, where the operating system tells.
    cpu_seconds: Option<f64>,
    /// Bytes of the file that was read or written.
    bytes: u64,
    /// How long the bare disk took for as many.
    disk_seconds: f64,
}

/// What a round found: by step and storage.
type Round = BTreeMap<String, BTreeMap<&'static str, Figure>>;

/// Measures.
///
/// # Errors
/// When the program is not there or fails, and when a step moves another number of rows.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let folder = match &settings.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let (rows, rounds) = match settings.quick {
        true => (settings.rows.min(QUICK_ROWS), 1),
        false => (settings.rows, settings.rounds.max(1)),
    };
    let bench = Bench { program: program(settings)?, folder: folder.path().to_owned(), rows };
    let inputs = bench.inputs()?;
    let rounds = (0..rounds).map(|turn| bench.round(&inputs, turn)).collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::of(&serde_json::json!({ "rows": rows, "rounds": rounds }))?;
    outcome.sheets.push(sheet(&rounds, rows));
    outcome.summary = summary(&rounds);
    Ok(outcome)
}

fn program(settings: &Settings) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("sochdb");
    let program = settings.program.clone().unwrap_or(beside);
    match program.is_file() {
        true => Ok(program),
        false => Err(format!(
            "there is no program {}: `cargo build --release` makes it, --program says where it is",
            program.display()
        )
        .into()),
    }
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    rows: u64,
}

impl Bench {
    /// The files to import, made before anything is measured.
    fn inputs(&self) -> Result<Vec<(&'static str, PathBuf)>> {
        let path = |name: &str| self.folder.join(name);
        let sorted = || 0..self.rows;
        // An odd step below a power of two visits every number, in no order that a table has.
        let steps = self.rows.next_power_of_two();
        let step = steps / 5 * 2 + 1;
        let mixed = (0..steps).map(|n| n * step % steps).filter(|id| *id < self.rows);
        write_lines(&path("rows.jsonl"), None, sorted().map(json_line))?;
        write_lines(&path("rows.csv"), Some("id,at,kind,amount,name"), sorted().map(csv_line))?;
        write_lines(&path("unsorted.jsonl"), None, mixed.map(json_line))?;
        let mut inputs = vec![
            ("import JSONL", path("rows.jsonl")),
            ("import CSV", path("rows.csv")),
            ("import JSONL, unsorted", path("unsorted.jsonl")),
        ];
        let (db, parquet) = (path("prepared"), path("rows.parquet"));
        self.import(&db, &path("rows.jsonl"), "kernel")?;
        let export = self.command(&db, &["export", "t", "-o"]).arg(&parquet).output()?;
        let said = String::from_utf8_lossy(&export.stderr);
        match export.status.success() {
            true => inputs.push(("import Parquet", parquet)),
            false if said.contains("without Parquet") => {}
            false => return Err(said.into()),
        }
        fs::remove_dir_all(db)?;
        Ok(inputs)
    }

    fn round(&self, inputs: &[(&'static str, PathBuf)], turn: usize) -> Result<Round> {
        let mut round = Round::new();
        let mut note = |step: &str, storage, figure| {
            round.entry(step.to_owned()).or_default().insert(storage, figure);
        };
        for at in 0..STORAGES.len() {
            let storage = STORAGES[(at + turn) % STORAGES.len()];
            let db = self.folder.join("db");
            for (step, file) in inputs {
                remove(&db)?;
                note(step, storage, self.measure(file, || self.import(&db, file, storage))?);
            }
            for (form, name) in [("text", "dump.jsonl"), ("binary", "dump.sochdump")] {
                let (file, copy) = (self.folder.join(name), self.folder.join("copy"));
                let dump = self.measure(&file, || self.dump(&db, &file))?;
                note(&format!("dump as {form}"), storage, dump);
                let load = self.measure(&file, || self.load(&copy, &file))?;
                note(&format!("load {form}"), storage, load);
                remove(&copy)?;
                fs::remove_file(file)?;
            }
            remove(&db)?;
        }
        Ok(round)
    }

    /// Does `work`, which reads or writes `file`.
    fn measure(&self, file: &Path, work: impl FnOnce() -> Result<()>) -> Result<Figure> {
        let (cpu, started) = (children_seconds(), Instant::now());
        work()?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu_seconds = children_seconds().zip(cpu).map(|(after, before)| after - before);
        let bytes = fs::metadata(file)?.len();
        let disk_seconds = bare_disk(&self.folder.join("bare"), bytes)?;
        Ok(Figure { seconds, cpu_seconds, bytes, disk_seconds })
    }

    fn command(&self, db: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--db").arg(db).arg("--json").args(args).env_remove("SOCHDB_DB");
        command
    }

    fn import(&self, db: &Path, file: &Path, storage: &str) -> Result<()> {
        let args = ["import", "--table", "t", "--key", "id", "--storage", storage];
        self.moved(self.command(db, &args).arg(file))
    }

    fn dump(&self, db: &Path, file: &Path) -> Result<()> {
        self.moved(self.command(db, &["dump", "-o"]).arg(file))
    }

    fn load(&self, db: &Path, file: &Path) -> Result<()> {
        self.moved(self.command(db, &["load"]).arg(file))
    }

    /// Runs what must move all rows.
    fn moved(&self, command: &mut Command) -> Result<()> {
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let said: Value = serde_json::from_slice(&output.stdout)?;
        match said["rows"].as_u64() == Some(self.rows) {
            true => Ok(()),
            false => Err(format!("{} rows were to be moved: {said}", self.rows).into()),
        }
    }
}

const KINDS: [&str; 5] = ["order", "refund", "quote", "invoice", "reminder"];

/// The columns behind the key, which follow from it.
fn columns(id: u64) -> (String, &'static str, String, String) {
    let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let second = |step: u64| mixed / step % 60;
    let at = format!(
        "2026-{:02}-{:02}T12:{:02}:{:02}Z",
        1 + id % 12,
        1 + id % 28,
        second(7),
        second(11)
    );
    let amount = format!("{}.{:02}", mixed % 5000, mixed % 97);
    (
        at,
        KINDS[(mixed % 5) as usize],
        amount,
        format!("customer {:08x} of {}", mixed as u32, id % 1000),
    )
}

fn json_line(id: u64) -> String {
    let (at, kind, amount, name) = columns(id);
    format!(r#"{{"id":{id},"at":"{at}","kind":"{kind}","amount":{amount},"name":"{name}"}}"#)
}

fn csv_line(id: u64) -> String {
    let (at, kind, amount, name) = columns(id);
    format!("{id},{at},{kind},{amount},{name}")
}

fn write_lines(path: &Path, head: Option<&str>, lines: impl Iterator<Item = String>) -> Result<()> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(path)?);
    for line in head.map(str::to_owned).into_iter().chain(lines) {
        writeln!(out, "{line}")?;
    }
    // What is measured later shall not wait for it.
    Ok(out.into_inner().map_err(|error| error.into_error())?.sync_all()?)
}

/// Seconds in which the disk takes so many bytes, in one sequence and synced.
fn bare_disk(path: &Path, bytes: u64) -> Result<f64> {
    let block = vec![0x5a_u8; WRITE_BYTES];
    let started = Instant::now();
    let mut file = File::create(path)?;
    let mut left = bytes;
    while 0 < left {
        let now = left.min(WRITE_BYTES as u64);
        file.write_all(&block[..now as usize])?;
        left -= now;
    }
    file.sync_all()?;
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(seconds)
}

/// Processor time of the processes that this one has waited for; `None` where the operating system does not tell.
fn children_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything; user and system time of children are the 14th and 15th behind it.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(13)? + ticks(14)?) / TICKS)
}

fn remove(db: &Path) -> Result<()> {
    if db.exists() {
        fs::remove_dir_all(db)?;
    }
    Ok(())
}

/// The median of what `of` makes of a step's figures.
fn of_step(
    rounds: &[Round],
    step: &str,
    storage: &str,
    of: &dyn Fn(&Figure) -> Option<f64>,
) -> f64 {
    median(rounds.iter().filter_map(|round| of(round.get(step)?.get(storage)?)).collect())
}

fn sheet(rounds: &[Round], rows: u64) -> Sheet {
    let of_storage =
        |name: &str| [format!("{name}, rows/s"), "MB/s".to_owned(), "processor, us/row".to_owned()];
    let head = ["step".to_owned(), "file, MB".to_owned()].into_iter();
    let head = head.chain(STORAGES.iter().flat_map(|name| of_storage(name)));
    let head = head.chain(["bare disk, MB/s".to_owned()]).collect();
    let line = |step: &String| {
        let all =
            |storage: &str, of: &dyn Fn(&Figure) -> Option<f64>| of_step(rounds, step, storage, of);
        let mut cells =
            vec![step.clone(), show(all(STORAGES[0], &|figure| Some(figure.bytes as f64 / 1e6)))];
        for storage in STORAGES {
            let mut cell = |of: &dyn Fn(&Figure) -> Option<f64>| cells.push(show(all(storage, of)));
            cell(&|figure| Some(rows as f64 / figure.seconds));
            cell(&|figure| Some(figure.bytes as f64 / 1e6 / figure.seconds));
            cell(&|figure| Some(figure.cpu_seconds? * 1e6 / rows as f64));
        }
        let disk =
            |storage| all(storage, &|figure| Some(figure.bytes as f64 / 1e6 / figure.disk_seconds));
        cells.push(show(median(STORAGES.map(disk).to_vec())));
        cells
    };
    let rounds_text =
        if rounds.len() == 1 { "one round" } else { &format!("median of {} rounds", rounds.len()) };
    let note = format!(
        "{rows} rows of five columns, {rounds_text}, a process and a fresh database for each step. MB are \
         those of the file; the bare disk wrote as many in one sequence, synced, right afterwards."
    );
    let rows = rounds[0].keys().map(line).collect();
    Sheet { name: "import".to_owned(), title: String::new(), head, words: 1, rows, note }
}

/// Of each step into the kernel's tree: its rate as a share of what the bare disk wrote.
fn summary(rounds: &[Round]) -> Summary {
    let share = |figure: &Figure| Some(figure.disk_seconds / figure.seconds);
    let of_disk = |step: &String| of_step(rounds, step, STORAGES[0], &share);
    rounds[0].keys().map(|step| (format!("{step}: of the disk"), of_disk(step))).collect()
}
