//! What commits notice of observers: none, one that behaves, and five that sleep, trap, bomb, flood, and all of it.
//!
//! Two threads commit single rows, each commit is timed. The parts take turns, a fresh database each, so that a slow
//! minute hits all of them. The observers get a batch every `--interval` milliseconds, each may work for 100 ms, and
//! after failures in a row it is asked less and less often, as anywhere.

use crate::Result;
use crate::meter::quantile;
use crate::outcome::{Outcome, Sheet, words};
use serde::Serialize;
use sochdb::{Database, Durability, MetricValue, TableOptions};
use sochdb_test_guests::{MOODY, manifest};
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// How long.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Seconds of each part of a round
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Rounds
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Milliseconds between two batches
    #[arg(long, default_value_t = 200)]
    pub interval: u64,
    /// Whether it works: one round, a fifth of a second a part
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the tables
    #[arg(long)]
    pub json: bool,
}

/// What all rounds of one part came to.
#[derive(Debug, Serialize)]
struct Line {
    durability: &'static str,
    observers: &'static str,
    commits_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    delivered: f64,
    dropped: f64,
    failures: u64,
}

const THREADS: usize = 2;
const PARTS: [(&str, &[&str]); 3] = [
    ("none", &[]),
    ("1, good", &["good"]),
    ("5: sleep, trap, bomb, flood, wild", &["sleep", "trap", "bomb", "flood", "wild"]),
];

/// What one part gave.
#[derive(Default)]
struct Part {
    nanos: Vec<u64>,
    seconds: f64,
    delivered: f64,
    dropped: f64,
    failures: u64,
}

/// Measures the parts.
///
/// # Errors
/// What a database says.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let (seconds, rounds) = match settings.quick {
        true => (0.2, 1),
        false => (settings.seconds, settings.rounds.max(1)),
    };
    let length = Duration::from_secs_f64(seconds);
    let interval = Duration::from_millis(settings.interval);
    let mut lines = Vec::new();
    for (durability, name) in [(Durability::Fsync, "synced"), (Durability::None, "not synced")] {
        let mut parts: [Part; PARTS.len()] = Default::default();
        for round in 0..rounds {
            for turn in 0..PARTS.len() {
                // Each is first, second and third in turn.
                let part = (turn + round) % PARTS.len();
                measure(&mut parts[part], PARTS[part].1, durability, length, interval)?;
            }
        }
        let of = |((observers, _), part): (&(&'static str, _), Part)| line(name, observers, part);
        lines.extend(PARTS.iter().zip(parts).map(of));
    }
    let mut outcome = Outcome::of(&lines)?;
    let note = format!(
        "{THREADS} threads commit single rows; {rounds} rounds of {seconds} s a part, a batch every {} ms.",
        settings.interval
    );
    for lines in lines.chunks(PARTS.len()) {
        outcome.sheets.push(sheet(lines, &note));
        let name = lines[0].durability.replace(' ', "_");
        let share = lines[2].commits_per_second / lines[0].commits_per_second;
        outcome.summary.insert(format!("{name}_commits_with_five"), share);
        outcome.summary.insert(format!("{name}_p50_times"), lines[2].p50_us / lines[0].p50_us);
    }
    Ok(outcome)
}

fn line(durability: &'static str, observers: &'static str, part: Part) -> Line {
    let mut us: Vec<f64> = part.nanos.iter().map(|nanos| *nanos as f64 / 1e3).collect();
    Line {
        durability,
        observers,
        commits_per_second: us.len() as f64 / part.seconds,
        p50_us: quantile(&mut us, 0.5),
        p99_us: quantile(&mut us, 0.99),
        p999_us: quantile(&mut us, 0.999),
        delivered: part.delivered,
        dropped: part.dropped,
        failures: part.failures,
    }
}

fn sheet(lines: &[Line], note: &str) -> Sheet {
    let durability = lines[0].durability;
    let observers = format!("observers ({durability})");
    let head = words([
        &*observers,
        "commits/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "batches taken",
        "dropped",
        "traps and limits",
    ]);
    let row = |line: &Line| {
        let times = [line.p50_us, line.p99_us, line.p999_us].map(|us| format!("{us:.1}"));
        let counts =
            [line.delivered.to_string(), line.dropped.to_string(), line.failures.to_string()];
        let names = [line.observers.to_owned(), format!("{:.0}", line.commits_per_second)];
        names.into_iter().chain(times).chain(counts).collect()
    };
    let rows = lines.iter().map(row).collect();
    let (name, title) = (durability.replace(' ', "-"), String::new());
    Sheet { name, title, head, words: 1, rows, note: note.to_owned() }
}

fn measure(
    part: &mut Part,
    moods: &[&str],
    durability: Durability,
    length: Duration,
    interval: Duration,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins)?;
    for mood in moods {
        let name = format!("{mood}y");
        let more = format!(
            "[resources]\nmax_instances = 1\ntimeout_ms = 100\nmemory_limit_mb = 64\n\
             [config_schema]\nmood = {{ type = \"text\" }}\naddress = {{ type = \"text\", default = \"\" }}\n\
             [config]\nmood = {mood:?}\n"
        );
        fs::write(plugins.join(format!("{name}.wasm")), MOODY)?;
        fs::write(plugins.join(format!("{name}.toml")), manifest(&name, "observer", &more))?;
    }
    let db = Database::builder()
        .plugin_dir(&plugins)
        .durability(durability)
        .telemetry_interval(interval)
        .open(folder.path().join("db"))?;
    db.create_table("t", TableOptions::default())?;
    let start = Barrier::new(THREADS);
    let commit = |thread: usize| -> sochdb::KernelResult<Vec<u64>> {
        let mut nanos = Vec::new();
        start.wait();
        let (began, mut number) = (Instant::now(), 0_u64);
        while began.elapsed() < length {
            let mut tx = db.begin()?;
            tx.put("t", &[&[thread as u8][..], &number.to_be_bytes()].concat(), &[7; 100])?;
            let at = Instant::now();
            tx.commit()?;
            nanos.push(at.elapsed().as_nanos() as u64);
            number += 1;
        }
        Ok(nanos)
    };
    let commit = &commit;
    let all = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || commit(thread))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect::<sochdb::KernelResult<Vec<_>>>()
    })?;
    part.nanos.extend(all.concat());
    part.seconds += length.as_secs_f64();
    part.failures += db.plugins_loaded().iter().map(|plugin| plugin.usage.failures).sum::<u64>();
    for metric in db.metrics() {
        let MetricValue::Counter(count) = metric.value else { continue };
        match &*metric.name {
            "sochdb_telemetry_delivered_total" => part.delivered += count,
            "sochdb_telemetry_dropped_total" => part.dropped += count,
            _ => {}
        }
    }
    Ok(db.close()?)
}
