//! Backups under load, backups that are cut short, and databases put back to a moment.

use crate::forgetful::Forgetful;
use crate::world::{self, Model, bytes, create, fill, open, overwrite};
use fastrand::Rng;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelResult, Options, TableOptions, Timestamp,
};
use sochdb_operations::{BackupReport, CheckOptions, backup, check_with, restore};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn env(vfs: &MemoryVfs) -> Environment {
    Environment::with_vfs(Arc::new(vfs.clone()))
}

fn healthy(kernel: &Kernel) {
    let report = check_with(kernel, CheckOptions { deep: true }, &mut |_| {}).unwrap();
    assert!(report.is_healthy(), "{:?}", report.problems);
}

fn quiet(kernel: &Kernel, target: &MemoryVfs) -> KernelResult<BackupReport> {
    backup(kernel, target, &mut |_| {})
}

/// Keys and values that one transaction wrote to `plain` and `columns` alike.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn write(kernel: &Kernel, rng: &mut Rng, thread: u8) -> (Timestamp, Writes) {
    let key = |rng: &mut Rng| vec![thread, rng.u8(..60)];
    let value = |rng: &mut Rng| (rng.u8(..5) != 0).then(|| vec![rng.u8(..); rng.usize(..3000)]);
    let writes: Writes = (0..rng.usize(1..4)).map(|_| (key(rng), value(rng))).collect();
    loop {
        let mut tx = kernel.begin().unwrap();
        for (key, value) in &writes {
            for table in ["plain", "columns"] {
                match value {
                    Some(value) => tx.put(table, key, value).unwrap(),
                    None => tx.delete(table, key).unwrap(),
                }
            }
        }
        match tx.commit() {
            Ok(timestamp) => return (timestamp, writes),
            // With memtables this small a snapshot is soon too old to be checked.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

#[test]
fn a_backup_among_writers_holds_exactly_the_commits_up_to_its_timestamp() {
    let vfs = MemoryVfs::new();
    let options = Options { memtable_bytes_max: 200_000, ..Options::default() };
    let kernel = open(&vfs, options).unwrap();
    create(&kernel);
    let (history, done) = (Mutex::new(BTreeMap::new()), AtomicBool::new(false));
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        let (kernel, history, done) = (&kernel, &history, &done);
        for thread in 0..4 {
            scope.spawn(move || {
                let mut rng = Rng::with_seed(thread);
                while !done.load(Ordering::Acquire) {
                    let (timestamp, writes) = write(kernel, &mut rng, thread as u8);
                    history.lock().unwrap().insert(timestamp, writes);
                }
            });
        }
        for round in 0..12 {
            while history.lock().unwrap().len() < round * 100 {
                std::thread::yield_now();
            }
            let target = MemoryVfs::new();
            backups.push((quiet(kernel, &target).unwrap(), target));
        }
        done.store(true, Ordering::Release);
    });
    assert!(0 < kernel.stats().checkpoints, "checkpoints ran meanwhile");
    let history = history.into_inner().unwrap();
    for (report, target) in backups {
        let mut rows = world::Rows::new();
        for (key, value) in history.range(..=report.timestamp).flat_map(|(_, writes)| writes) {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        let copy = open(&target, Options { create: false, ..Options::default() }).unwrap();
        assert_eq!(copy.begin_read().unwrap().snapshot(), report.timestamp);
        let found = world::read(&copy);
        assert!(found["plain"] == rows && found["columns"] == rows, "at {}", report.timestamp);
        healthy(&copy);
        copy.close().unwrap();
        healthy(&open(&target, Options::default()).unwrap());
    }
}

fn filled(seed: u64, archive: bool) -> (MemoryVfs, Kernel, Model, Rng) {
    let (vfs, mut rng) = (MemoryVfs::new(), Rng::with_seed(seed));
    let options = Options { wal_archive: archive, ..Options::default() };
    let kernel = open(&vfs, options).unwrap();
    let mut model = create(&kernel);
    fill(&kernel, &mut model, &mut rng, 60);
    kernel.checkpoint().unwrap();
    fill(&kernel, &mut model, &mut rng, 60);
    (vfs, kernel, model, rng)
}

#[test]
fn a_new_database_can_be_backed_up_and_a_backup_of_a_backup_is_the_same() {
    let kernel = open(&MemoryVfs::new(), Options::default()).unwrap();
    let target = MemoryVfs::new();
    assert_eq!(quiet(&kernel, &target).unwrap().timestamp, Timestamp(0));
    healthy(&open(&target, Options::default()).unwrap());

    let (_vfs, kernel, model, _) = filled(1, false);
    let (first, second) = (MemoryVfs::new(), MemoryVfs::new());
    let report = quiet(&kernel, &first).unwrap();
    assert!(0 < report.pages && 0 < report.log_bytes, "{report:?}");
    let copy = open(&first, Options { read_only: true, ..Options::default() }).unwrap();
    assert_eq!(quiet(&copy, &second).unwrap(), report);
    let copy = open(&second, Options::default()).unwrap();
    assert_eq!(world::read(&copy), model);
    fill(&copy, &mut model.clone(), &mut Rng::with_seed(2), 20);
    healthy(&copy);
}

#[test]
fn one_meta_page_of_a_backup_is_enough() {
    let (_vfs, kernel, model, _) = filled(3, false);
    let target = MemoryVfs::new();
    quiet(&kernel, &target).unwrap();
    for page in 0..2 {
        let damaged = target.fork();
        overwrite(&damaged, "data.soch", page * 4096, &[0; 4096]);
        let copy = open(&damaged, Options::default()).unwrap();
        assert_eq!(world::read(&copy), model);
        healthy(&copy);
        copy.checkpoint().unwrap();
        healthy(&copy);
    }
}

#[test]
fn a_directory_that_holds_anything_is_refused_and_left_alone() {
    let (vfs, kernel, ..) = filled(4, false);
    for name in ["notes.txt", "data.soch", "wal/0000000000000040.wal", "data.new"] {
        let target = MemoryVfs::new();
        target.open(name, OpenMode::Create).unwrap();
        let error = quiet(&kernel, &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!(target.names(), [name]);
    }
    assert_eq!(quiet(&kernel, &vfs).unwrap_err().kind(), ErrorKind::Invalid, "onto itself");
}

#[test]
fn a_backup_that_is_cut_short_is_never_taken_for_a_database() {
    let (_vfs, kernel, model, _) = filled(5, false);
    let whole = Forgetful::default();
    backup(&kernel, &whole, &mut |_| {}).unwrap();
    assert_eq!(world::read(&open(&whole.left(true), Options::default()).unwrap()), model);
    for crash_at in 1..=whole.calls() {
        let target = Forgetful::new(&MemoryVfs::new(), Some(crash_at));
        let error = backup(&kernel, &target, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        for synced in [false, true] {
            let left = target.left(synced);
            // All may be there when only the last sync failed.
            if !left.names().iter().any(|name| name == "data.soch") {
                let opened = open(&left, Options { create: false, ..Options::default() });
                assert!(opened.is_err(), "call {crash_at}");
                if left.names().iter().any(|name| name != "LOCK") {
                    let opened = open(&left, Options::default());
                    assert!(
                        opened.is_err(),
                        "call {crash_at}: no new database in {:?}",
                        left.names()
                    );
                }
                quiet(&kernel, &left).unwrap();
            }
            assert_eq!(world::read(&open(&left, Options::default()).unwrap()), model);
        }
    }
}

#[test]
fn who_watches_may_stop_a_backup_or_a_check_and_nothing_stays() {
    let (_vfs, kernel, ..) = filled(7, false);
    kernel.checkpoint().unwrap();
    let stop = |progress: sochdb_operations::Progress<'_>| progress.stop();
    let target = MemoryVfs::new();
    let ended = backup(&kernel, &target, &mut { stop }).unwrap_err();
    assert!(ended.to_string().contains("stopped"), "{ended}");
    let read = Options { create: false, ..Options::default() };
    assert_eq!(Kernel::open(env(&target), read).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(check_with(&kernel, CheckOptions::default(), &mut { stop }).is_err());
    quiet(&kernel, &target).unwrap();
    healthy(&open(&target, Options::default()).unwrap());
}

#[test]
fn broken_bytes_are_not_backed_up() {
    let (vfs, kernel, ..) = filled(6, false);
    let pages = kernel.stats().pages_total;
    let (mut refused, mut made) = (0, 0);
    for page in 2..pages {
        let before = bytes(&vfs, "data.soch")[page as usize * 4096];
        overwrite(&vfs, "data.soch", page * 4096, &[before ^ 1]);
        let target = MemoryVfs::new();
        match quiet(&kernel, &target) {
            Ok(_) => made += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(target.names().iter().all(|name| name == "LOCK"), "{:?}", target.names());
                refused += 1;
            }
        }
        overwrite(&vfs, "data.soch", page * 4096, &[before]);
    }
    let free = kernel.stats().pages_free;
    assert_eq!((refused, made), (pages - 2 - free, free), "only what is in use is read");
}

#[test]
fn a_backup_whose_log_rots_does_not_open() {
    let (_vfs, kernel, ..) = filled(7, false);
    let target = MemoryVfs::new();
    let report = quiet(&kernel, &target).unwrap();
    let logs: Vec<_> = target.names().into_iter().filter(|name| name.ends_with(".wal")).collect();
    let mut checked = 0;
    for name in logs {
        let len = bytes(&target, &name).len();
        // The last frame says of those before it that they were on disk.
        for at in (64..len - 64).step_by(97) {
            let rotten = target.fork();
            let before = bytes(&rotten, &name)[at];
            overwrite(&rotten, &name, at as u64, &[before ^ 8]);
            let error = open(&rotten, Options::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} at {at}: {error}");
            checked += 1;
        }
    }
    assert!(report.log_bytes / 100 < checked, "{checked} places");
}

#[test]
fn a_database_is_put_back_to_any_commit_since_its_backup() {
    let (vfs, kernel, mut model, mut rng) = filled(8, true);
    let copy = MemoryVfs::new();
    let from = quiet(&kernel, &copy).unwrap().timestamp;
    let mut states = BTreeMap::from([(from, model.clone())]);
    for round in 0..60 {
        fill(&kernel, &mut model, &mut rng, 1);
        if round % 7 == 3 {
            kernel.create_table(&format!("new {round}"), TableOptions::default()).unwrap();
            model.insert(format!("new {round}"), Default::default());
            states.remove(&kernel.begin_read().unwrap().snapshot());
        }
        if round % 10 == 9 {
            kernel.checkpoint().unwrap();
        }
        states.insert(kernel.begin_read().unwrap().snapshot(), model.clone());
    }
    let last = *states.keys().last().unwrap();
    assert!(vfs.names().iter().any(|name| name.starts_with("archive/")), "{:?}", vfs.names());
    for (until, model) in &states {
        let target = MemoryVfs::new();
        // Only the archive and the log are left of the original, and it is still open.
        let report =
            restore(&env(&copy), Some(&vfs), &env(&target), Some(*until), &mut |_| {}).unwrap();
        assert_eq!(report.timestamp, *until);
        let restored = open(&target, Options { create: false, ..Options::default() }).unwrap();
        assert_eq!(restored.begin_read().unwrap().snapshot(), *until);
        assert_eq!(world::read(&restored), *model, "at {until}");
        healthy(&restored);
    }
    drop(kernel);
    let target = MemoryVfs::new();
    restore(&env(&copy), Some(&vfs), &env(&target), None, &mut |_| {}).unwrap();
    let restored = open(&target, Options::default()).unwrap();
    assert_eq!(restored.begin_read().unwrap().snapshot(), last, "everything there is");
    fill(&restored, &mut states[&last].clone(), &mut rng, 10);
    healthy(&restored);
    let only = MemoryVfs::new();
    restore(&env(&copy), None, &env(&only), None, &mut |_| {}).unwrap();
    assert_eq!(world::read(&open(&only, Options::default()).unwrap()), states[&from]);
}

#[test]
fn what_backup_and_log_do_not_reach_is_refused() {
    let (vfs, kernel, mut model, mut rng) = filled(9, true);
    kernel.checkpoint().unwrap();
    let copy = MemoryVfs::new();
    let from = quiet(&kernel, &copy).unwrap().timestamp;
    for _ in 0..5 {
        fill(&kernel, &mut model, &mut rng, 30);
        kernel.checkpoint().unwrap();
    }
    fill(&kernel, &mut model, &mut rng, 3);
    let last = kernel.begin_read().unwrap().snapshot();
    let to = |vfs: &MemoryVfs, until: Option<u64>| {
        let until = until.map(Timestamp);
        restore(&env(&copy), Some(vfs), &env(&MemoryVfs::new()), until, &mut |_| {})
    };
    assert_eq!(to(&vfs, Some(last.0)).unwrap().timestamp, last);
    assert_eq!(to(&vfs, Some(last.0 + 1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(to(&vfs, Some(from.0 - 1)).unwrap_err().kind(), ErrorKind::Invalid);
    let archived: Vec<_> =
        vfs.names().into_iter().filter(|name| name.starts_with("archive/")).collect();
    assert!(3 < archived.len(), "{archived:?}");
    let mut missed = 0;
    for name in archived {
        let less = vfs.fork();
        less.remove(&name).unwrap();
        for until in [None, Some(last.0)] {
            match to(&less, until) {
                Ok(report) => assert_eq!(report.timestamp, last, "{name} is older than the backup"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    missed += 1;
                }
            }
        }
    }
    assert!(2 < missed, "files between backup and end are missed");
}

#[test]
fn the_log_of_another_database_is_refused() {
    let (_vfs, kernel, mut model, _) = filled(10, true);
    let copy = MemoryVfs::new();
    quiet(&kernel, &copy).unwrap();
    let (other, kernel, ..) = filled(11, true);
    fill(&kernel, &mut model, &mut Rng::with_seed(1), 50);
    let target = env(&MemoryVfs::new());
    let error = restore(&env(&copy), Some(&other), &target, None, &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("database"), "{error}");
}

#[test]
fn backup_and_restore_work_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let [original, copy, restored] =
        ["original", "backups/monday", "restored"].map(|name| dir.path().join(name));
    let [original, copy, restored] = [original, copy, restored].map(Environment::disk);
    let options = Options { wal_archive: true, wal_segment_bytes: 16 << 10, ..Options::default() };
    let kernel = Kernel::open(original.clone(), options).unwrap();
    kernel.create_table("t", TableOptions::default()).unwrap();
    let put = |from: u32| {
        for n in from..from + 50 {
            kernel.run(|tx| tx.put("t", &n.to_be_bytes(), &[n as u8; 2500])).unwrap();
        }
        kernel.checkpoint().unwrap();
    };
    put(0);
    let first = backup(&kernel, &*copy.vfs, &mut |_| {}).unwrap();
    put(50);
    let until = Timestamp(first.timestamp.0 + 25);
    restore(&copy, Some(&*original.vfs), &restored, Some(until), &mut |_| {}).unwrap();
    let count = |env: Environment| {
        let kernel = Kernel::open(env, Options { create: false, ..Options::default() }).unwrap();
        healthy(&kernel);
        world::read(&kernel)["t"].len()
    };
    assert_eq!((count(copy), count(restored)), (50, 75));
}

#[test]
fn a_table_that_was_bulk_loaded_after_the_backup_is_not_restored_empty() {
    let (vfs, kernel, _, mut rng) = filled(12, true);
    let copy = MemoryVfs::new();
    quiet(&kernel, &copy).unwrap();
    let rows = (0..500u32).map(|n| Ok((n.to_be_bytes().to_vec(), vec![7; 50])));
    kernel.bulk_load("loaded", TableOptions::default(), rows).unwrap();
    let loaded = kernel.begin_read().unwrap().snapshot();
    let later = MemoryVfs::new();
    quiet(&kernel, &later).unwrap();
    kernel.run(|tx| tx.rename_table("loaded", "renamed")).unwrap();
    kernel.run(|tx| tx.put("renamed", b"more", b"row")).unwrap();
    let renamed = kernel.begin_read().unwrap().snapshot();
    kernel.run(|tx| tx.drop_table("renamed")).unwrap();
    let to = |copy: &MemoryVfs, until: Timestamp| {
        let target = MemoryVfs::new();
        let report = restore(&env(copy), Some(&vfs), &env(&target), Some(until), &mut |_| {});
        report.map(|_| world::read(&open(&target, Options::default()).unwrap()))
    };
    let before = to(&copy, Timestamp(loaded.0 - 1)).unwrap();
    assert!(!before.contains_key("loaded"));
    for until in [loaded, renamed] {
        let error = to(&copy, until).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("bulk-loaded"), "{error}");
    }
    assert_eq!(to(&later, loaded).unwrap()["loaded"].len(), 500);
    assert_eq!(to(&later, renamed).unwrap()["renamed"].len(), 501);
    assert!(to(&copy, Timestamp(renamed.0 + 1)).is_ok(), "it is gone again");
    fill(&kernel, &mut world::read(&kernel), &mut rng, 3);
}
