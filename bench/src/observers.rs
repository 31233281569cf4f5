//! What commits notice of observers: none, one that behaves, and five that sleep, trap, bomb, flood, and all of it.
//!
//! Two threads commit single rows, each commit is timed. The parts take turns, a fresh database each, so that a slow
//! minute hits all of them. The observers get a batch every `--interval` milliseconds, each may work for 100 ms, and
//! after failures in a row it is asked less and less often, as anywhere.

use crate::Result;
use comfy_table::{CellAlignment, Table, presets};
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

/// Measures and prints.
pub fn run(settings: &Settings) -> Result<()> {
    for (durability, name) in [(Durability::Fsync, "synced"), (Durability::None, "not synced")] {
        let mut parts: [Part; PARTS.len()] = Default::default();
        for round in 0..settings.rounds {
            for turn in 0..PARTS.len() {
                // Each is first, second and third in turn.
                let part = (turn + round) % PARTS.len();
                measure(&mut parts[part], PARTS[part].1, durability, settings)?;
            }
        }
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            &format!("observers ({name})"),
            "commits/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "batches taken",
            "dropped",
            "traps and limits",
        ]);
        for ((name, _), part) in PARTS.iter().zip(&mut parts) {
            part.nanos.sort_unstable();
            let at = |share: f64| {
                let index = ((part.nanos.len() - 1) as f64 * share) as usize;
                format!("{:.1}", part.nanos[index] as f64 / 1e3)
            };
            table.add_row([
                (*name).to_owned(),
                format!("{:.0}", part.nanos.len() as f64 / part.seconds),
                at(0.5),
                at(0.99),
                at(0.999),
                part.delivered.to_string(),
                part.dropped.to_string(),
                part.failures.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}\n");
    }
    Ok(())
}

fn measure(
    part: &mut Part,
    moods: &[&str],
    durability: Durability,
    settings: &Settings,
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
        .telemetry_interval(Duration::from_millis(settings.interval))
        .open(folder.path().join("db"))?;
    db.create_table("t", TableOptions::default())?;
    let length = Duration::from_secs_f64(settings.seconds);
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
    part.seconds += settings.seconds;
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
