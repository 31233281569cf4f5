//! kill -9 while eight threads commit. The child says on a pipe what was acknowledged; what it said
//! before it died must be in the database afterwards, whole.
//!
//! Each transaction puts two rows, in two tables, so that a half commit shows. One database lives
//! through all kills of the run, so later rounds recover from what earlier ones left.

use crate::{seed, size};
use fastrand::Rng;
use sochdb_kernel::{Environment, Kernel, Options, TableOptions};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DIR: &str = "SOCHDB_KILL_DIR";
const ROUND: &str = "SOCHDB_KILL_ROUND";
const THREADS: u64 = 8;

fn options() -> Options {
    Options { memtable_bytes_max: 128 << 10, wal_segment_bytes: 256 << 10, ..Options::default() }
}

/// Not a test of its own: what the child process runs until it is killed.
#[test]
fn kill_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let kernel = Kernel::open(Environment::disk(&dir), options()).unwrap();
    kernel
        .run(|tx| {
            for table in ["left", "right"] {
                if !tx.tables()?.iter().any(|found| found.name == table) {
                    tx.create_table(table, TableOptions::default())?;
                }
            }
            Ok(())
        })
        .unwrap();
    say("ready");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let kernel = &kernel;
            scope.spawn(move || {
                for number in 0u64.. {
                    let key = format!("{round}-{thread}-{number}");
                    let mut tx = kernel.begin().unwrap();
                    let value = vec![thread as u8; (number % 50 * 40) as usize];
                    tx.put("left", key.as_bytes(), &value).unwrap();
                    tx.put("right", key.as_bytes(), &value).unwrap();
                    tx.commit().unwrap();
                    say(&key);
                }
            });
        }
    });
}

/// One line on the pipe in one write, past the test harness's capture.
fn say(text: &str) {
    let line = format!("ACK {text}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().lock().flush().unwrap();
}

/// Runs the child for `life`, kills it, and returns what it acknowledged.
fn child(dir: &Path, round: u64, life: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::kill_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        pipe.read_to_string(&mut said).unwrap();
        // Only whole lines count: the last one may be cut by the kill.
        let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
        let acked = whole.lines().filter_map(|line| line.split_once("ACK "));
        acked.map(|(_, key)| key.to_owned()).collect()
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn keys(kernel: &Kernel, table: &str) -> BTreeSet<String> {
    let tx = kernel.begin_read().unwrap();
    let Ok(scan) = tx.scan(table, ..) else { return BTreeSet::new() };
    scan.map(|row| String::from_utf8(row.unwrap().0).unwrap()).collect()
}

#[test]
fn kill_nine_loses_no_acknowledged_commit() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let rounds = size(50, 2000);
    let mut acked = BTreeSet::new();
    let mut ready = 0;
    for round in 0..rounds {
        let life = Duration::from_millis(rng.u64(20..500));
        for key in child(dir.path(), round, life) {
            match key.as_str() {
                "ready" => ready += 1,
                _ => drop(acked.insert(key)),
            }
        }
        let kernel = Kernel::open(Environment::disk(dir.path()), options())
            .unwrap_or_else(|error| panic!("round {round} of seed {seed}: {error}"));
        let (left, right) = (keys(&kernel, "left"), keys(&kernel, "right"));
        let lost: Vec<_> = acked.iter().filter(|key| !left.contains(*key)).take(5).collect();
        assert!(lost.is_empty(), "round {round} of seed {seed} lost {lost:?}");
        assert_eq!(left, right, "round {round} of seed {seed}: half a commit");
        assert!(
            sochdb_operations::check(&kernel).unwrap().problems.is_empty(),
            "round {round} of seed {seed}"
        );
    }
    assert!(rounds / 2 < ready, "only {ready} of {rounds} children came to write anything");
    println!(
        "kill -9: {rounds} kills under {THREADS} threads, {} acknowledged commits, none lost or halved; \
         seed {seed}",
        acked.len()
    );
}
