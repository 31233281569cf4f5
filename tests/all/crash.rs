//! kill -9 at random moments: what was acknowledged is there, and nothing is there in part.
//!
//! The child is this test binary itself. It goes on where the database says its predecessor ended: the
//! row `last` in table `state` is the number of the newest commit, written by that commit. What commit
//! `n` does follows from `n` alone, so the parent knows what the database must hold after any of them,
//! and compares every row.

use sochdb::{Database, KernelResult, Options, TableOptions, Transaction};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const KILLS: u64 = 20;
const DIRECTORY: &str = "SOCHDB_CRASH_CHILD_DIRECTORY";
const TABLES: [&str; 3] = ["plain", "squeezed", "segments"];
/// Keys of the rows: few enough that commits overwrite and delete each other's rows.
const KEYS: u64 = 400;

/// One change of a row: the table, the key, and the new value or none.
type Change = (&'static str, Vec<u8>, Option<Vec<u8>>);

/// What commit `number` does: some puts and deletes, values of some bytes to several pages.
fn changes(number: u64) -> Vec<Change> {
    let mut random = fastrand::Rng::with_seed(number);
    let count = random.usize(1..20);
    let change = |_| {
        let table = TABLES[random.usize(..TABLES.len())];
        let key = format!("key {}", random.u64(..KEYS)).into_bytes();
        let len = if random.u8(..10) == 0 { random.usize(..20_000) } else { random.usize(..300) };
        let value = (0..len).map(|_| random.u8(..8)).collect();
        let value = (random.u8(..4) != 0).then_some(value);
        (table, key, value)
    };
    (0..count).map(change).collect()
}

fn open(directory: &Path) -> KernelResult<Database> {
    // Small bounds, so that checkpoints, rotations of the log and codec calls are what gets killed.
    let options = Options {
        memtable_bytes_max: 256 << 10,
        wal_segment_bytes: 64 << 10,
        ..Options::default()
    };
    Database::builder().options(options).open(directory)
}

fn last(tx: &Transaction) -> KernelResult<u64> {
    let row = tx.get("state", b"last")?;
    Ok(row.map_or(0, |row| u64::from_le_bytes(row[..].try_into().expect("eight bytes"))))
}

/// The child: commits and acknowledges until it is killed. Run as a test it does nothing.
#[test]
fn child_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let db = open(Path::new(&directory)).expect("opens after any kill");
    // Compiled before the first word, so that the kill can hit a plugin at work and not its compiler.
    db.plugin_host().expect("the plugins load");
    if db.begin_read().unwrap().tables().unwrap().is_empty() {
        db.run(|tx| {
            tx.create_table("state", TableOptions::default())?;
            tx.create_table("plain", TableOptions::default())?;
            let codec = Some("lz4".to_owned());
            let options = TableOptions { codec, ..TableOptions::default() };
            tx.create_table("squeezed", options.clone())?;
            tx.create_table("segments", TableOptions { storage: Some("lscs".into()), ..options })
        })
        .unwrap();
    }
    let first = last(&db.begin_read().unwrap()).unwrap() + 1;
    let mut out = std::io::stdout();
    for number in first.. {
        db.run(|tx| {
            for (table, key, value) in changes(number) {
                match value {
                    Some(value) => tx.put(table, &key, &value)?,
                    None => tx.delete(table, &key)?,
                }
            }
            tx.put("state", b"last", &number.to_le_bytes())
        })
        .expect("commits");
        writeln!(out, "ack {number}").expect("the parent listens");
        out.flush().expect("the parent listens");
    }
}

/// Runs the child, kills it `moment` after its first word, and returns the last commit it acknowledged.
fn run_and_kill(directory: &Path, moment: Duration) -> u64 {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["crash::child_that_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, directory);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("runs");
    let pipe = child.stdout.take().expect("piped");
    let (sender, acks) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut pipe, mut line) = (BufReader::new(pipe), String::new());
        while pipe.read_line(&mut line).is_ok_and(|bytes| 0 < bytes) {
            // The test harness has its own lines; one without an end was cut by the kill.
            let number = line.split_once("ack ").and_then(|(_, rest)| rest.strip_suffix('\n'));
            if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
                let _ = sender.send(number);
            }
            line.clear();
        }
    });
    let first = acks.recv_timeout(Duration::from_secs(60)).expect("the child commits");
    std::thread::sleep(moment);
    child.kill().expect("still running");
    let status = child.wait().expect("ends");
    assert_eq!(status.signal(), Some(9), "killed, not ended by itself: {status:?}");
    reader.join().expect("reads to the end");
    acks.iter().last().unwrap_or(first)
}

#[test]
fn twenty_kills_lose_no_acknowledged_commit() {
    let seed = std::env::var("SOCHDB_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut model: BTreeMap<(&str, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut modelled = 0;
    let mut rows_compared = 0;
    for kill in 0..KILLS {
        let moment = Duration::from_micros(random.u64(..120_000));
        let acknowledged = run_and_kill(&path, moment);
        let why = format!("kill {kill} after {moment:?}; replay with SOCHDB_SEED={seed}");
        let db = open(&path).unwrap_or_else(|error| panic!("{error}: {why}"));
        let tx = db.begin_read().unwrap();
        let found = last(&tx).unwrap();
        // One more may be there: committed, and killed before its word.
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} for {acknowledged}: {why}"
        );
        for (table, key, value) in (modelled + 1..=found).flat_map(changes) {
            match value {
                Some(value) => drop(model.insert((table, key), value)),
                None => drop(model.remove(&(table, key))),
            }
        }
        modelled = found;
        for table in TABLES {
            let rows = tx.scan(table, ..).unwrap().map(|row| row.unwrap());
            let rows: Vec<_> = rows.map(|(key, value)| (key, value.to_vec())).collect();
            let expected = model.iter().filter(|((name, _), _)| *name == table);
            let expected: Vec<_> =
                expected.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            assert!(rows == expected, "table {table} differs after commit {found}: {why}");
            rows_compared += rows.len();
        }
        drop(tx);
        let check = db.check().unwrap();
        assert!(check.problems.is_empty(), "{:?}: {why}", check.problems);
        db.close().unwrap_or_else(|error| panic!("{error}: {why}"));
    }
    assert!(KILLS <= modelled, "only {modelled} commits in {KILLS} runs");
    println!("{KILLS} kills, {modelled} commits, {rows_compared} rows compared, seed {seed}");
}
