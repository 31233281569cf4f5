//! A process that dies in the midst of a reload: after reopening, one version serves, it is one that had proven
//! itself, and it can read everything.
//!
//! The child is this test binary itself; its parent kills it when it says that it is in the state that it was told
//! to reach, or at any moment. What a power cut leaves of the bytes under way is asked of a simulated disk.

use super::subjects::{KEYS, block, check_block, furnish, told, use_once};
use super::{
    CODEC, FOREVER, GUESTS, Guest, PROCEDURE, Place, STORAGE, builder, is_on_trial, options, put,
    rules, serving, settled, until, version,
};
use crate::sim_disk::{Call, Disk, Fate, Mark, random_fates};
use crate::sim_vfs::SimVfs;
use fastrand::Rng;
use sochdb::{
    Database, Environment, IsolationLevel, KernelResult, TableOptions, TransactionOptions,
};
use sochdb_reload::{Outcome, Rules, State};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const FOLDER: &str = "SOCHDB_RELOAD_CRASH_CHILD_FOLDER";
const TASK: &str = "SOCHDB_RELOAD_CRASH_CHILD_TASK";
/// What a call that is not meant to end may use.
const UNENDING: &str = "max_instances = 1\ntimeout_ms = 600_000\nfuel_limit = 1_000_000_000_000\n";
const LINGERING: &str = "timeout_ms = 600_000\nfuel_limit = 1_000_000_000_000\n";
/// Kills at moments that nobody has chosen.
const KILLS: usize = 8;
/// Calls of the disk after which the power goes.
const POINTS_MAX: usize = 60;

/// The child. Run as a test it does nothing.
#[test]
fn child_that_is_killed_while_it_reloads() {
    let (Some(folder), Some(task)) = (std::env::var_os(FOLDER), std::env::var(TASK).ok()) else {
        return;
    };
    let folder = Path::new(&folder);
    let db = builder().open(folder.join("db")).expect("opens after any kill");
    if db.plugins_loaded().is_empty() {
        for guest in GUESTS {
            db.reload_plugin(put(folder, guest, &version(1)), &options(rules())).unwrap();
        }
        furnish(&db).unwrap();
    }
    std::thread::scope(|scope| {
        // Until the end, which comes from outside.
        scope.spawn(|| {
            for round in 0.. {
                let key = round % KEYS;
                let write = |table| {
                    db.run(|tx| tx.put(table, &key.to_be_bytes(), &block(key, round)[..200]))
                };
                write("packed").and_then(|()| write("shelved")).expect("commits");
            }
        });
        match &*task {
            "cycle" => cycle(&db, folder),
            state => reach(&db, folder, state),
        }
    });
}

fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\nsays {what}").expect("the parent listens");
    out.flush().expect("the parent listens");
}

/// Reloads one after the other, and says which has proven itself.
fn cycle(db: &Database, folder: &Path) {
    let short = Rules { probation: Duration::from_millis(5), ..rules() };
    loop {
        for guest in GUESTS {
            let number = serving(db, guest) + 1;
            let path = put(folder, guest, &version(number));
            db.reload_plugin(&path, &options(short.clone())).expect("it is a good version");
            assert_eq!(settled(db, guest).outcome, Outcome::Serving);
            std::fs::remove_file(path).expect("it was read");
            say(&format!("{} {number}", guest.name));
        }
    }
}

/// Brings a reload into `state`, says so, and stays there.
fn reach(db: &Database, folder: &Path, state: &str) {
    let reload = |guest: &Guest, version, rules: Rules| {
        db.reload_plugin(put(folder, guest, &version), &options(rules))
    };
    let long = Rules { probation: FOREVER, ..rules() };
    match state {
        "preparing" => std::thread::scope(|scope| {
            // Its own test takes minutes.
            let slow = version(2).spin(1 << 40).resources(LINGERING);
            scope.spawn(|| reload(&STORAGE, slow, long));
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(serving(db, &STORAGE), 1);
            say(state);
        }),
        "canary" => {
            let rules = Rules { steps: vec![500], step: FOREVER, ..long };
            assert_eq!(reload(&PROCEDURE, version(2), rules).unwrap().state, State::Canary);
            say(state);
        }
        "swapping" => {
            let mute = version(2).mood("lingers-on-export").resources(UNENDING);
            reload(&CODEC, mute, rules()).unwrap();
            settled(db, &CODEC);
            // From now on there is an instance that knows something.
            use_once(db, &CODEC, 0).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| reload(&CODEC, version(3).resources(UNENDING), long));
                std::thread::sleep(Duration::from_millis(300));
                assert_eq!(serving(db, &CODEC), 2);
                say(state);
            });
        }
        "draining" => {
            reload(&PROCEDURE, version(2).resources(LINGERING), rules()).unwrap();
            settled(db, &PROCEDURE);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let isolation = IsolationLevel::ReadCommitted;
                    let options = TransactionOptions { isolation, ..Default::default() };
                    let args = r#"{"table": "counters"}"#;
                    db.run_with(options, |tx| tx.call("teller.linger", args))
                });
                until("the call is under way", || {
                    db.metrics().iter().any(|metric| metric.name.ends_with("lingering_total"))
                });
                let rules = Rules { drain: FOREVER, ..long };
                scope.spawn(|| reload(&PROCEDURE, version(3), rules));
                until("the new version serves", || told(db).unwrap() == 3);
                say(state);
            });
        }
        "probation" => {
            for guest in GUESTS {
                let report = reload(guest, version(2), long.clone()).unwrap();
                assert_eq!(report.state, State::Probation);
            }
            let report = db.checkpoint().unwrap();
            assert!(report.failed.is_empty(), "{:?}", report.failed);
            say(state);
        }
        "rolled_back" => {
            reload(&PROCEDURE, version(2), long).unwrap();
            assert!(db.roll_back_plugin(PROCEDURE.name).unwrap());
            say(state);
        }
        "active" => {
            for guest in GUESTS {
                reload(guest, version(2), rules()).unwrap();
                settled(db, guest);
            }
            say(state);
        }
        state => panic!("there is no state {state}"),
    }
}

/// Runs the child on `task` and kills it `moment` after it has said its first word; returns all of its words.
fn run_and_kill(folder: &Path, task: &str, moment: Duration) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["reload::crash::child_that_is_killed_while_it_reloads", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(TASK, task);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let pipe = child.stdout.take().expect("piped");
    let (sender, words) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(pipe).lines().map_while(Result::ok);
        for line in lines {
            if let Some(word) = line.strip_prefix("says ") {
                let _ = sender.send(word.to_owned());
            }
        }
    });
    let first = words.recv_timeout(super::PATIENCE * 2);
    if first.is_ok() {
        std::thread::sleep(moment);
    }
    child.kill().expect("still running");
    let ended = child.wait_with_output().expect("ends");
    reader.join().expect("reads to the end");
    let first = first.unwrap_or_else(|_| {
        panic!("{task}: no word, but {}", String::from_utf8_lossy(&ended.stderr))
    });
    [first].into_iter().chain(words.try_iter()).collect()
}

/// Whether everything is there and can be read, by the versions that serve.
fn check(db: &Database) {
    let tx = db.begin_read().unwrap();
    for table in ["packed", "shelved"] {
        let mut keys = 0;
        for row in tx.scan(table, ..).unwrap() {
            let (key, value) = row.unwrap();
            check_block(key.as_slice().try_into().map(u64::from_be_bytes).unwrap(), &value);
            keys += 1;
        }
        assert_eq!(keys, KEYS, "{table}");
    }
    drop(tx);
    for guest in GUESTS {
        assert!(!is_on_trial(db, guest));
        (0..3).for_each(|round| use_once(db, guest, round).unwrap());
    }
    assert_eq!(told(db).unwrap(), serving(db, &PROCEDURE), "what it says is what it is");
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_process_that_dies_in_any_state_of_a_reload_leaves_one_version_that_reads_everything() {
    let states = [
        ("preparing", &STORAGE, 1),
        ("canary", &PROCEDURE, 1),
        ("swapping", &CODEC, 2),
        ("draining", &PROCEDURE, 2),
        ("probation", &PROCEDURE, 1),
        ("rolled_back", &PROCEDURE, 1),
        ("active", &PROCEDURE, 2),
    ];
    for (state, guest, wanted) in states {
        let place = Place::new();
        run_and_kill(place.path(), state, Duration::from_millis(20));
        let db = place.open();
        assert_eq!(serving(&db, guest), wanted, "{state}");
        let others = GUESTS.into_iter().filter(|other| other.name != guest.name);
        for other in others {
            let wanted = if state == "active" { 2 } else { 1 };
            assert_eq!(serving(&db, other), wanted, "{state}");
        }
        check(&db);
        for guest in GUESTS {
            place.reload_well(&db, guest, &version(9));
        }
        check(&db);
    }
}

#[test]
fn a_process_that_dies_at_any_moment_leaves_one_version_that_reads_everything() {
    let seed = std::env::var("SOCHDB_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let (mut random, place) = (Rng::with_seed(seed), Place::new());
    let mut proven: BTreeMap<String, u32> =
        GUESTS.into_iter().map(|guest| (guest.name.to_owned(), 1)).collect();
    for kill in 0..KILLS {
        let moment = Duration::from_micros(random.u64(..150_000));
        let why = format!("kill {kill} after {moment:?}; replay with SOCHDB_SEED={seed}");
        for word in run_and_kill(place.path(), "cycle", moment) {
            // A word that the kill has cut short is none.
            if let Some((name, number)) = word.split_once(' ')
                && let Some(known) = proven.get_mut(name)
            {
                *known = (*known).max(number.parse().unwrap_or(0));
            }
        }
        let db = place.open();
        for guest in GUESTS {
            let (known, found) = (proven[guest.name], serving(&db, guest));
            // One more may have proven itself before it could say so.
            assert!((known..=known + 1).contains(&found), "{found} for {known}: {why}");
            proven.insert(guest.name.to_owned(), found);
        }
        check(&db);
    }
}

const TABLE: &str = "rows";

fn open(vfs: &SimVfs) -> KernelResult<Database> {
    builder().background(false).open_in(Environment::with_vfs(Arc::new(vfs.clone())))
}

fn write(db: &Database, round: u64) {
    db.run(|tx| {
        (0..KEYS).try_for_each(|key| tx.put(TABLE, &key.to_be_bytes(), &block(key, round)))
    })
    .unwrap();
    let report = db.checkpoint().unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
}

/// What the disk is asked to do while a codec and a storage engine are replaced, write, and are kept.
fn recorded(place: &Place) -> Vec<Call> {
    let vfs = SimVfs::new(Disk::default(), 0);
    vfs.record();
    let db = open(&vfs).unwrap();
    for guest in [&CODEC, &STORAGE] {
        place.reload(&db, guest, &version(1)).unwrap();
    }
    let (storage, codec) = (Some(STORAGE.name.to_owned()), Some(CODEC.name.to_owned()));
    db.create_table(TABLE, TableOptions { storage, codec, ..TableOptions::default() }).unwrap();
    write(&db, 1);
    vfs.mark(Mark::Acked { txn: 1, durable: true });
    for guest in [&CODEC, &STORAGE] {
        let long = Rules { probation: Duration::from_millis(50), ..rules() };
        db.reload_plugin(place.put(guest, &version(2)), &options(long)).unwrap();
        write(&db, 2);
        assert_eq!(settled(&db, guest).outcome, Outcome::Serving);
        write(&db, 3);
    }
    vfs.mark(Mark::Acked { txn: 2, durable: true });
    write(&db, 4);
    db.close().unwrap();
    vfs.take_trace()
}

#[test]
fn no_power_cut_leaves_two_versions_or_one_that_cannot_read_what_there_is() {
    let seed = std::env::var("SOCHDB_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let (mut rng, place) = (Rng::with_seed(seed), Place::new());
    let trace = recorded(&place);
    let points = trace.iter().filter(|call| !matches!(call, Call::Mark(_))).count();
    let every = points.div_ceil(POINTS_MAX);
    let (mut disk, mut acked, mut point, mut images) = (Disk::default(), 0, 0, 0);
    let mut found_versions = BTreeMap::new();
    for call in trace {
        disk.apply(&call);
        match call {
            Call::Mark(Mark::Acked { txn, .. }) => acked = txn,
            Call::Mark(Mark::Started(_)) => {}
            _ => point += 1,
        }
        let is_chosen = (point + rng.usize(..every)).is_multiple_of(every);
        if acked == 0 || matches!(call, Call::Mark(_)) || !is_chosen {
            continue;
        }
        let count = disk.pending_count();
        for fates in [random_fates(count, &mut rng), vec![Fate::Lost; count]] {
            let why = format!("after call {point} of {points}; SOCHDB_SEED={seed} replays it");
            let vfs = SimVfs::new(disk.crash(&fates), 0);
            let db = open(&vfs).unwrap_or_else(|error| panic!("{error}: {why}"));
            for guest in [&CODEC, &STORAGE] {
                let version = serving(&db, guest);
                let wanted = if acked == 2 { 2..=2 } else { 1..=2 };
                assert!(wanted.contains(&version), "{} {version}: {why}", guest.name);
                *found_versions.entry((guest.name, version)).or_insert(0) += 1;
            }
            let tx = db.begin_read().unwrap();
            let mut rows = 0;
            for row in tx.scan(TABLE, ..).unwrap() {
                let (key, value) = row.unwrap_or_else(|error| panic!("{error}: {why}"));
                check_block(key.as_slice().try_into().map(u64::from_be_bytes).unwrap(), &value);
                rows += 1;
            }
            assert_eq!(rows, KEYS, "{why}");
            drop(tx);
            let problems = db.check().unwrap().problems;
            assert!(problems.is_empty(), "{problems:?}: {why}");
            images += 1;
        }
    }
    assert_eq!(
        found_versions.len(),
        4,
        "both versions of both plugins are met: {found_versions:?}"
    );
    println!("{points} calls, {images} images of a crash, {found_versions:?}, seed {seed}");
}
