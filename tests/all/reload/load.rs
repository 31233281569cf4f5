//! Two hundred reloads of plugins of every kind while four threads read and write: no call fails, none is answered
//! wrongly, each is served by one version from its beginning to its end, and what is replaced leaves nothing behind.
//!
//! The work is done by a process of its own, this test binary once more, so that its memory is nobody else's.

use super::subjects::{
    DOCS, KEYS, Stopping, batches, block, check_block, doc, furnish, search, stamped, told,
    version_in,
};
use super::{
    GUESTS, HOOKS, OBSERVER, PATIENCE, PROCEDURE, Place, rules, serving, settled, version,
};
use sochdb::{Database, MetricValue};
use sochdb_reload::{Outcome, Rules};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const RELOADS: u32 = 200;
/// After so many of them, memory has what it needs.
const WARM: u32 = 60;
/// What may come on top. One version that were left behind would have four instances of a megabyte or more, and
/// more than a hundred versions follow.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const CHILD: &str = "SOCHDB_RELOAD_LOAD_CHILD";

/// What the threads have done.
#[derive(Default)]
struct Done {
    /// Calls that added one to the row `all`.
    bumps: AtomicU64,
    /// Batches that the observer took.
    flushes: AtomicU64,
    rounds: [AtomicU64; 4],
}

#[test]
fn two_hundred_reloads_under_load_fail_no_call_and_leave_nothing_behind() {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["reload::load::child_that_reloads", "--exact", "--nocapture"]).env(CHILD, "1");
    let ended = child.output().expect("it runs");
    let (out, err) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    let said = out.lines().find(|line| line.contains("reloads"));
    println!("{}", said.expect("the child says how it went"));
}

/// The child. Run as a test it does nothing.
#[test]
fn child_that_reloads() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let place = Place::new();
    let db = place.open();
    for guest in GUESTS {
        place.reload(&db, guest, &version(1)).unwrap_or_else(|error| panic!("{error}"));
    }
    furnish(&db).unwrap();
    let (done, stop) = (Done::default(), AtomicBool::new(false));
    let batches_before = batches(&db);
    let growth = std::thread::scope(|scope| {
        let work: [fn(&Database, &Done, u64); 4] = [write, write_more, read, observe];
        let threads: Vec<_> = work
            .into_iter()
            .enumerate()
            .map(|(me, work)| {
                let (db, done, stop) = (&db, &done, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let round = done.rounds[me].fetch_add(1, Ordering::Relaxed);
                        work(db, done, round);
                    }
                })
            })
            .collect();
        let stopping = Stopping(&stop);
        let growth = reload_all(&place, &db);
        drop(stopping);
        threads.into_iter().for_each(|thread| thread.join().expect("every call was right"));
        growth
    });
    for guest in GUESTS {
        settled(&db, guest);
    }
    check_all(&db, &done, batches_before);
    let rounds = done.rounds.map(AtomicU64::into_inner);
    assert!(rounds.iter().all(|rounds| 10 < *rounds), "{rounds:?}");
    println!("{RELOADS} reloads, rounds of work {rounds:?}, {growth} bytes more");
    db.close().unwrap();
    // What the last versions wrote is read by those that the database has kept.
    let db = place.open();
    for guest in GUESTS {
        assert_eq!(serving(&db, guest), last_version(guest.name), "{}", guest.name);
    }
    for round in 0..KEYS {
        read(&db, &Done::default(), round);
    }
}

/// The version that the reloads end on.
fn last_version(name: &str) -> u32 {
    let at = GUESTS.iter().position(|guest| guest.name == name).expect("one of them") as u32;
    let each = GUESTS.len() as u32;
    1 + (RELOADS - at).div_ceil(each)
}

/// All reloads, each while those of the other plugins are still on trial. Returns by how much memory grew after it
/// was warm.
fn reload_all(place: &Place, db: &Database) -> u64 {
    let mut warm_bytes = 0;
    for reload in 0..RELOADS {
        let guest = GUESTS[reload as usize % GUESTS.len()];
        let number = 2 + reload / GUESTS.len() as u32;
        // Nobody replaces a version that is still on trial.
        let before = settled(db, guest);
        assert!(before.reason.is_empty(), "{before:?}");
        let probation = Duration::from_millis(20 + u64::from(reload % 4) * 10);
        let rules = Rules { probation, ..rules() };
        let path = place.put(guest, &version(number));
        let report = db.reload_plugin(path, &super::options(rules));
        let report = report.unwrap_or_else(|error| panic!("reload {reload}: {error}"));
        assert_eq!(report.record.to.unwrap().version, format!("1.0.{number}"));
        std::fs::remove_file(place.path().join(format!("{}-{number}.toml", guest.name))).unwrap();
        if reload == WARM {
            warm_bytes = resident_bytes();
        }
        assert!(instances(db) <= 4.0 * GUESTS.len() as f64, "{} instances", instances(db));
    }
    let growth = resident_bytes().saturating_sub(warm_bytes);
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes more than when it was warm");
    growth
}

/// Instances of the versions that serve.
fn instances(db: &Database) -> f64 {
    let all = db.metrics();
    let of = all.iter().filter(|metric| metric.name == "sochdb_plugin_instances");
    of.map(|metric| match metric.value {
        MetricValue::Gauge(value) => value,
        _ => panic!("a gauge"),
    })
    .sum()
}

/// The memory of this process that is in use; zero where nobody can tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// One transaction with everything in it: whichever version of the hooks and of the procedures it meets first
/// serves it to its end.
fn write(db: &Database, done: &Done, round: u64) {
    let key = round % KEYS;
    db.run(|tx| {
        tx.put("packed", &key.to_be_bytes(), &block(key, round))?;
        tx.put("shelved", &key.to_be_bytes(), &block(key, round)[..200])?;
        let first = version_in(&tx.call("teller.version", "{}")?);
        let mut stamps = Vec::new();
        for row in [key, key + KEYS] {
            tx.put("stamped", &row.to_be_bytes(), b"tea")?;
            stamps.push(tx.get("stamped", &row.to_be_bytes())?.expect("just written").to_vec());
        }
        assert_eq!(stamps[0], stamps[1], "two versions in one transaction");
        assert!(stamps[0].starts_with(b"tea@"), "{stamps:?}");
        let bumped = tx.call("teller.bump", r#"{"table": "counters", "key": "all"}"#)?;
        assert_eq!(version_in(&bumped), first, "two versions in one transaction");
        Ok(())
    })
    .unwrap();
    done.bumps.fetch_add(1, Ordering::Relaxed);
}

/// Smaller transactions, calls by name, documents that are written again as they were, and deleted rows.
fn write_more(db: &Database, done: &Done, round: u64) {
    let key = (round * 7) % KEYS;
    assert!((1..=last_version(HOOKS.name)).contains(&stamped(db, key).unwrap()));
    assert!((1..=last_version(PROCEDURE.name)).contains(&told(db).unwrap()));
    let (id, row) = doc(round as i64 % DOCS);
    db.run(|tx| tx.put("docs", &id, &row)).unwrap();
    let bumped = db.call("teller.bump", r#"{"table": "counters", "key": "all"}"#).unwrap();
    assert!(1 <= version_in(&bumped));
    done.bumps.fetch_add(1, Ordering::Relaxed);
    let passing = (1_000 + key).to_be_bytes();
    db.run(|tx| tx.put("packed", &passing, &block(1_000 + key, round))).unwrap();
    db.run(|tx| tx.delete("packed", &passing)).unwrap();
}

/// Rows by key and in order, and what is near.
fn read(db: &Database, _: &Done, round: u64) {
    let tx = db.begin_read().unwrap();
    for table in ["packed", "shelved"] {
        let key = (round * 11) % KEYS;
        check_block(key, &tx.get(table, &key.to_be_bytes()).unwrap().expect("it was written"));
        let mut keys = Vec::new();
        for row in tx.scan(table, ..).unwrap() {
            let (key, value) = row.unwrap();
            let key = key.as_slice().try_into().map(u64::from_be_bytes).unwrap();
            check_block(key, &value);
            keys.push(key);
        }
        keys.retain(|key| *key < KEYS);
        assert!(keys.iter().copied().eq(0..KEYS), "{table} has {keys:?}");
    }
    drop(tx);
    search(db, round as i64 % DOCS, 5).unwrap();
}

/// Checkpoints, telemetry, and what is near.
fn observe(db: &Database, done: &Done, round: u64) {
    let report = db.checkpoint().unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(db.flush_telemetry(PATIENCE), "the observer takes each batch");
    done.flushes.fetch_add(1, Ordering::Relaxed);
    search(db, round as i64 * 5 % DOCS, 7).unwrap();
    std::thread::sleep(Duration::from_millis(1));
}

/// Whether all that was done is there.
fn check_all(db: &Database, done: &Done, batches_before: u64) {
    let tx = db.begin_read().unwrap();
    let count = tx.get("counters", b"all").unwrap().expect("it was counted").to_vec();
    let count: u64 = String::from_utf8(count).unwrap().parse().unwrap();
    assert_eq!(count, done.bumps.load(Ordering::Relaxed), "each call counts once");
    let taken = batches(db) - batches_before;
    assert_eq!(taken, done.flushes.load(Ordering::Relaxed), "{} forgets nothing", OBSERVER.name);
    for guest in GUESTS {
        let history = db.plugin_history(Some(guest.name)).unwrap();
        let served = history.iter().filter(|record| record.outcome == Outcome::Serving).count();
        assert_eq!(served as u32 + 1, last_version(guest.name), "{}: {history:#?}", guest.name);
    }
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}
