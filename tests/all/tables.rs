//! What is done to whole tables: converted under load and through crashes, emptied in part, cleared of what
//! has expired.

use crate::program::Workplace;
use sochdb::operations::Progress;
use sochdb::{
    Clock, Column, ColumnType, Database, Durability, Environment, ErrorKind, IsolationLevel,
    KernelResult, KeyRange, Options, Schema, TableChanges, TableOptions, TenantOptions,
    TransactionOptions, Value,
};
use sochdb_test_guests::{GUARD, manifest};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn quietly() -> fn(Progress<'_>) {
    |_| {}
}

fn number(bytes: Option<impl AsRef<[u8]>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.as_ref().try_into().expect("eight bytes")))
}

fn rows(db: &Database, table: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let scan = db.begin_read().unwrap().scan(table, KeyRange::all()).unwrap();
    scan.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

fn put(db: &Database, table: &str, rows: impl IntoIterator<Item = (String, String)>) {
    let rows: Vec<_> = rows.into_iter().collect();
    db.run(|tx| {
        rows.iter().try_for_each(|(key, value)| tx.put(table, key.as_bytes(), value.as_bytes()))
    })
    .unwrap();
}

fn hidden(db: &Database) -> Vec<String> {
    let tables = db.begin_read().unwrap().tables().unwrap().into_iter().map(|table| table.name);
    tables.filter(|name| name.starts_with("sochdb.convert")).collect()
}

/// Writes to `table` until it is told to stop: counts up `counters` shared with others, and keeps rows of its
/// own, which it returns. Every commit was acknowledged.
fn write_on(
    db: &Database,
    table: &str,
    me: u64,
    stop: &AtomicBool,
) -> (u64, BTreeMap<Vec<u8>, Vec<u8>>) {
    let (mut counted, mut own) = (0, BTreeMap::new());
    let mut at = me;
    while !stop.load(Ordering::Relaxed) {
        at = at.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let counter = format!("counter/{}", (at >> 33) % 4);
        let key = format!("own/{me}/{:03}", (at >> 40) % 300).into_bytes();
        let value = (at >> 20) % 3;
        let isolation = match at >> 62 {
            0 => IsolationLevel::Serializable,
            _ => IsolationLevel::SnapshotIsolation,
        };
        let options = TransactionOptions {
            isolation,
            durability: Some(if me == 0 { Durability::None } else { Durability::Fsync }),
            ..TransactionOptions::default()
        };
        db.run_with(options, |tx| {
            let count = number(tx.get(table, counter.as_bytes())?) + 1;
            tx.put(table, counter.as_bytes(), &count.to_le_bytes())?;
            match value {
                0 => tx.delete(table, &key),
                _ => tx.put(table, &key, &at.to_le_bytes()),
            }
        })
        .unwrap();
        counted += 1;
        match value {
            0 => drop(own.remove(&key)),
            _ => drop(own.insert(key, at.to_le_bytes().to_vec())),
        }
    }
    (counted, own)
}

/// Says that it is over when it goes.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_table_is_converted_there_and_back_while_four_threads_write_to_it() {
    let directory = tempfile::tempdir().unwrap();
    // Checkpoints in between, some of which meet a hidden table.
    let options = Options { memtable_bytes_max: 256 << 10, ..Options::default() };
    let db = Database::builder().options(options.clone()).open(directory.path()).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    put(&db, "t", (0..2_000).map(|n| (format!("still/{n:05}"), format!("{n}").repeat(10))));
    let stop = AtomicBool::new(false);
    let (written, reports) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|me| {
                scope.spawn({
                    let (db, stop) = (&db, &stop);
                    move || write_on(db, "t", me, stop)
                })
            })
            .collect();
        // However this ends, also by a panic, the writers do.
        let ended = Ended(&stop);
        let mut reports = Vec::new();
        for storage in [Some("lscs"), None, Some("lscs")] {
            std::thread::sleep(Duration::from_millis(100));
            let changes = TableChanges::default().storage(storage).codec(storage.map(|_| "lz4"));
            reports.push(db.convert_table("t", &changes, &mut quietly()).unwrap());
            let now = db.begin_read().unwrap().table("t").unwrap().options;
            assert_eq!(now.storage.as_deref(), storage);
        }
        std::thread::sleep(Duration::from_millis(100));
        drop(ended);
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (written, reports)
    });
    assert!(reports.iter().any(|report| 0 < report.changes), "nobody wrote meanwhile: {reports:?}");
    let mut wanted: BTreeMap<Vec<u8>, Vec<u8>> = (0..2_000)
        .map(|n| (format!("still/{n:05}").into_bytes(), format!("{n}").repeat(10).into_bytes()))
        .collect();
    let counted: u64 = written.iter().map(|(counted, _)| counted).sum();
    wanted.extend(written.into_iter().flat_map(|(_, own)| own));
    let check = |db: &Database| {
        let mut found = rows(db, "t");
        let counters: Vec<_> =
            (0..4).map(|n| found.remove(format!("counter/{n}").as_bytes())).collect();
        assert_eq!(counters.into_iter().map(number).sum::<u64>(), counted, "{reports:?}");
        assert_eq!(found.len(), wanted.len());
        assert!(found == wanted, "an acknowledged row is not as it was written");
        assert_eq!(hidden(db), Vec::<String>::new());
    };
    check(&db);
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    db.close().unwrap();
    check(&Database::open(directory.path()).unwrap());
}

/// Copies the files of a database as they are at this moment: what a crash would leave.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_conversion_leaves_the_table_as_it_was_or_as_it_shall_be() {
    let directory = tempfile::tempdir().unwrap();
    let (live, copies) = (directory.path().join("live"), directory.path().join("copies"));
    let db = Database::builder().background(false).open(&live).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    put(&db, "t", (0..300).map(|n| (format!("{n:05}"), format!("value {n}").repeat(1_000))));
    db.checkpoint().unwrap();
    put(&db, "t", [("00007".into(), "written later".into()), ("x".into(), "more".into())]);
    let wanted = rows(&db, "t");
    let mut steps = Vec::new();
    let to_columns = TableChanges::default().storage(Some("lscs"));
    let mut look = |progress: Progress<'_>| {
        copy(&live, &copies.join(steps.len().to_string()));
        steps.push(progress.what.to_owned());
    };
    db.convert_table("t", &to_columns, &mut look).unwrap();
    assert_eq!(steps.last().unwrap(), "done");
    assert!(steps.iter().any(|step| step == "what changed meanwhile"), "{steps:?}");
    let mut storages = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let path = copies.join(index.to_string());
        let left = Database::builder().background(false).open(&path).unwrap();
        assert!(rows(&left, "t") == wanted, "at {step}");
        assert_eq!(hidden(&left), Vec::<String>::new(), "at {step}");
        let info = left.begin_read().unwrap().table("t").unwrap();
        assert_eq!(info.options.storage.is_some(), step == "done", "at {step}");
        storages.push(info.options.storage);
        left.convert_table("t", &to_columns, &mut quietly()).unwrap();
        assert!(rows(&left, "t") == wanted, "at {step}");
        assert!(left.check().unwrap().problems.is_empty(), "at {step}");
    }
    assert!(storages.contains(&None) && storages.contains(&Some("lscs".into())));
}

#[test]
fn a_conversion_that_fails_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    put(&db, "t", (0..100).map(|n| (format!("{n:05}"), "x".into())));
    let convert = |changes: TableChanges| db.convert_table("t", &changes, &mut quietly());
    let kind = |result: KernelResult<_>| {
        result.map(drop).map_err(|error: sochdb::KernelError| error.kind())
    };
    assert_eq!(
        kind(convert(TableChanges::default().storage(Some("nope")))),
        Err(ErrorKind::Plugin)
    );
    assert_eq!(kind(convert(TableChanges::default().codec(Some("nope")))), Err(ErrorKind::Plugin));
    let ttl = TableChanges::default().set("ttl", "1d").set("ttl_column", "at");
    assert_eq!(kind(convert(ttl)), Err(ErrorKind::Invalid));
    let missing = db.convert_table("nope", &TableChanges::default(), &mut quietly());
    assert_eq!(kind(missing), Err(ErrorKind::NotFound));
    let own = db.convert_table("sochdb.plugins", &TableChanges::default(), &mut quietly());
    assert_eq!(kind(own), Err(ErrorKind::Invalid));
    // Somebody drops, renames or converts it meanwhile.
    for meanwhile in ["rename", "convert", "drop"] {
        let mut is_done = false;
        let mut refused = None;
        let result = db.convert_table(
            "t",
            &TableChanges::default().storage(Some("lscs")),
            &mut |progress| {
                if progress.what != "what changed meanwhile"
                    || std::mem::replace(&mut is_done, true)
                {
                    return;
                }
                match meanwhile {
                    "rename" => db.run(|tx| tx.rename_table("t", "other")).unwrap(),
                    "drop" => db.drop_table("t").unwrap(),
                    _ => refused = Some(convert(TableChanges::default()).unwrap_err()),
                }
            },
        );
        match meanwhile {
            "convert" => {
                result.unwrap();
                assert!(refused.unwrap().to_string().contains("being converted already"));
            }
            _ => assert_eq!(kind(result), Err(ErrorKind::Conflict), "{meanwhile}"),
        }
        assert_eq!(hidden(&db), Vec::<String>::new(), "{meanwhile}");
        if meanwhile == "rename" {
            assert_eq!(rows(&db, "other").len(), 100);
            db.run(|tx| tx.rename_table("other", "t")).unwrap();
        }
    }
    assert!(db.check().unwrap().problems.is_empty());
}

#[test]
fn snapshots_from_before_a_conversion_read_the_old_table_and_late_writers_conflict() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    put(&db, "t", (0..500).map(|n| (format!("{n:05}"), format!("old {n}"))));
    db.checkpoint().unwrap();
    let wanted = rows(&db, "t");
    let before = db.begin_read().unwrap();
    let levels = [
        IsolationLevel::ReadCommitted,
        IsolationLevel::SnapshotIsolation,
        IsolationLevel::Serializable,
    ];
    let late: Vec<_> = levels
        .map(|isolation| {
            let mut tx =
                db.begin_with(TransactionOptions { isolation, ..Default::default() }).unwrap();
            tx.put("t", b"late", b"to the old table").unwrap();
            tx
        })
        .into();
    db.convert_table("t", &TableChanges::default().storage(Some("lscs")), &mut quietly()).unwrap();
    for tx in late {
        assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    }
    put(&db, "t", [("00001".into(), "new".into())]);
    for _ in 0..3 {
        db.checkpoint().unwrap();
        let scan = before.scan("t", KeyRange::all()).unwrap();
        let found: BTreeMap<_, _> =
            scan.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect();
        assert!(found == wanted);
        assert_eq!(before.get("t", b"00001").unwrap().unwrap(), b"old 1");
    }
    assert_eq!(db.begin_read().unwrap().get("t", b"00001").unwrap().unwrap(), b"new");
    assert_eq!(db.begin_read().unwrap().get("t", b"late").unwrap(), None);
}

/// A database with the hooks of `guard` on the table `guarded`, and its table `audit`.
fn guarded(directory: &Path) -> Database {
    let plugins = directory.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::write(plugins.join("guard.wasm"), GUARD).unwrap();
    let grant = "[capabilities]\ncan_read_table = [\"guarded\"]\ncan_write_table = [\"guarded\", \"audit\"]\n\
                 [hooks]\ntables = [\"guarded\"]\nbefore = [\"insert\", \"update\", \"delete\"]\n";
    std::fs::write(plugins.join("guard.toml"), manifest("guard", "hooks", grant)).unwrap();
    let db = Database::builder().background(false).plugin_dir(plugins);
    let db = db.open(directory.join("db")).unwrap();
    for table in ["guarded", "audit"] {
        db.create_table(table, TableOptions::default()).unwrap();
    }
    db
}

#[test]
fn a_conversion_asks_no_hook_and_a_deleted_range_asks_for_each_row() {
    let directory = tempfile::tempdir().unwrap();
    let db = guarded(directory.path());
    let keys = ["audit/1", "audit/2", "plain/1", "plain/2"];
    put(&db, "guarded", keys.map(|key| (key.to_owned(), "value".to_owned())));
    // A row that its hook will not let go, written where no hook looks.
    sochdb::Kernel::run(&db, |tx| tx.put("guarded", b"skip/1", b"stays")).unwrap();
    let audited = rows(&db, "audit");
    assert_eq!(audited.len(), 2);
    let to_columns = TableChanges::default().storage(Some("lscs"));
    db.convert_table("guarded", &to_columns, &mut quietly()).unwrap();
    assert_eq!(rows(&db, "audit"), audited);
    assert_eq!(rows(&db, "guarded").len(), 5);

    assert_eq!(db.run(|tx| tx.delete_range("guarded", KeyRange::all())).unwrap(), 4);
    assert_eq!(rows(&db, "guarded").into_keys().collect::<Vec<_>>(), [b"skip/1"]);
    let told = rows(&db, "audit");
    assert!(told.values().all(|what| what.starts_with(b"Delete")), "{told:?}");

    sochdb::Kernel::run(&db, |tx| {
        tx.put("guarded", b"a", b"goes")?;
        tx.put("guarded", b"abort/1", b"stays")
    })
    .unwrap();
    let error = db.run(|tx| {
        tx.put("audit", b"mine", b"kept")?;
        assert!(tx.delete_range("guarded", KeyRange::all()).is_err());
        // Nothing of it happened, and the transaction goes on.
        assert!(tx.get("guarded", b"a")?.is_some());
        Ok(())
    });
    error.unwrap();
    assert_eq!(rows(&db, "guarded").len(), 3);
    // In steps, what was committed before the refusal stays.
    assert_eq!(
        db.delete_range("guarded", KeyRange::all(), 1, &mut quietly()).unwrap_err().kind(),
        ErrorKind::Plugin
    );
    assert_eq!(rows(&db, "guarded").len(), 2);
}

#[test]
fn a_range_is_deleted_exactly_in_one_transaction_or_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { write_set_bytes_max: 1 << 20, ..Options::default() };
    let db = Database::builder().options(options).background(false).open(directory.path()).unwrap();
    for storage in [None, Some("lscs".to_owned())] {
        let name = storage.clone().unwrap_or("tree".into());
        db.create_table(&name, TableOptions { storage, ..TableOptions::default() }).unwrap();
        for part in 0..10 {
            put(&db, &name, (0..1_000).map(|n| (format!("{:05}", part * 1_000 + n), "x".into())));
        }
        db.checkpoint().unwrap();
        let count = |range: std::ops::Range<&[u8]>| {
            db.run(|tx| {
                tx.put(&name, b"00100a", b"of this transaction")?;
                tx.delete(&name, b"00101")?;
                tx.delete_range(&name, range.clone())
            })
        };
        // One more of its own, and one less.
        assert_eq!(count(&b"00100"[..]..&b"00200"[..]).unwrap(), 100);
        assert_eq!(rows(&db, &name).len(), 9_900);
        assert_eq!(count(&b"9"[..]..&b"1"[..]).unwrap(), 0);
        db.run(|tx| tx.delete(&name, b"00100a")).unwrap();
        // As large as a transaction may be, and no larger.
        let error = db.run(|tx| tx.delete_range(&name, KeyRange::all())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(rows(&db, &name).len(), 9_900);
        let mut seen = Vec::new();
        let deleted = db.delete_range(&name, &b"00500"[..].., 1_000, &mut |progress| {
            seen.push(progress.done_bytes)
        });
        assert_eq!(deleted.unwrap(), 9_500);
        assert!(seen.is_sorted() && seen.last() == Some(&9_500) && 9 < seen.len(), "{seen:?}");
        assert_eq!(rows(&db, &name).len(), 400);
        assert_eq!(db.delete_range(&name, KeyRange::all(), 0, &mut quietly()).unwrap(), 400);
        assert!(rows(&db, &name).is_empty());
    }
}

#[test]
fn a_tenants_table_is_converted_and_emptied_within_its_quota() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    let bound = TenantOptions { storage_bytes_max: Some(4_000), ..TenantOptions::default() };
    let acme = db.set_tenant("acme", bound).unwrap();
    acme.run(|tx| {
        tx.create_table("orders", TableOptions::default())?;
        (0..100).try_for_each(|n: u32| tx.put("orders", &n.to_be_bytes(), &[7; 16]))
    })
    .unwrap();
    assert_eq!(acme.usage().storage_bytes, 2_000);
    let to_columns = TableChanges::default().storage(Some("lscs"));
    db.convert_table("acme/orders", &to_columns, &mut quietly()).unwrap();
    assert_eq!(acme.usage().storage_bytes, 2_000);
    assert_eq!(db.tenants().iter().map(|tenant| &*tenant.name).collect::<Vec<_>>(), ["acme"]);
    let tables = acme.begin_read().unwrap().tables().unwrap();
    assert_eq!(tables.iter().map(|table| &*table.name).collect::<Vec<_>>(), ["orders"]);
    let first = 50u32.to_be_bytes();
    assert_eq!(acme.delete_range("orders", ..&first[..], 7, &mut quietly()).unwrap(), 50);
    assert_eq!(acme.usage().storage_bytes, 1_000);
    assert_eq!(acme.begin_read().unwrap().bytes().unwrap(), 1_000);
}

/// The columns `id`, the key, and `at`, a moment.
fn events(storage: Option<&str>, ttl: &str) -> TableOptions {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("id", ColumnType::Int64), column("at", ColumnType::Timestamp)];
    let settings =
        [("ttl_column", "at"), ("ttl", ttl)].map(|(name, value)| (name.into(), value.into()));
    TableOptions {
        storage: storage.map(str::to_owned),
        schema: Some(Schema::new(columns, &["id"]).unwrap()),
        settings: settings.into(),
        ..TableOptions::default()
    }
}

fn event(id: i64, at_seconds: i64) -> (Vec<u8>, Vec<u8>) {
    let schema = events(None, "1s").schema.unwrap();
    let row = [Value::Int64(id), Value::Timestamp(at_seconds * 1_000_000)];
    (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap())
}

#[test]
fn rows_expire_when_their_time_is_over_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    let acme = db
        .set_tenant(
            "acme",
            TenantOptions { storage_bytes_max: Some(1 << 20), ..Default::default() },
        )
        .unwrap();
    for (name, storage) in
        [("tree", None), ("columns", Some("lscs")), ("acme/events", Some("lscs"))]
    {
        let (owner, own) = name.split_once('/').map_or((None, name), |(_, own)| (Some(&acme), own));
        let write = |tx: &mut sochdb::Transaction| {
            tx.create_table(own, events(storage, "1h"))?;
            (0..3_000).try_for_each(|id| {
                let (key, value) = event(id, id);
                tx.put(own, &key, &value)
            })
        };
        owner.map_or_else(|| db.run(write), |owner| owner.run(write)).unwrap();
        db.checkpoint().unwrap();
        let since = db.begin_read().unwrap().snapshot().unwrap();
        let used = acme.usage().storage_bytes;
        let at = |seconds: i64| db.expire_table(name, seconds * 1_000_000).unwrap();
        assert_eq!(at(3_600), 0, "the time of the first row is up, and not over");
        assert_eq!(at(3_601), 1);
        // What is written anew lives on.
        let (key, value) = event(1, 1_000_000);
        db.run(|tx| tx.put(name, &key, &value)).unwrap();
        assert_eq!(at(3_600 + 1_500), 1_498);
        assert_eq!(rows(&db, name).len(), 1_501);
        assert!(rows(&db, name).contains_key(&key));
        if owner.is_some() {
            let row_bytes = used / 3_000;
            assert_eq!(used - acme.usage().storage_bytes, 1_499 * row_bytes);
        }
        // Ordinary commits of bounded size, in the feed of changes.
        let commits = db.changes(since).unwrap().map(|change| change.unwrap().rows.len());
        let commits: Vec<_> = commits.collect();
        assert_eq!(commits.iter().sum::<usize>(), 1_500);
        assert!(commits.iter().all(|rows| *rows <= 1_000), "{commits:?}");
    }
    assert_eq!(db.expire(3_600 * 2 * 1_000_000).unwrap(), 3 * 1_500);
    db.create_table("plain", TableOptions::default()).unwrap();
    assert_eq!(db.expire_table("plain", 0).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(
        db.create_table("bad", events(None, "soon")).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

/// A clock that a test moves.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn unix_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn the_background_thread_expires_rows_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let environment = Environment { clock: clock.clone(), ..Environment::disk(directory.path()) };
    let db = Database::builder().open_in(environment).unwrap();
    db.create_table("events", events(None, "60s")).unwrap();
    db.run(|tx| {
        (0..2_500).try_for_each(|id| {
            let (key, value) = event(id, if id < 2_000 { 0 } else { 1_000 });
            tx.put("events", &key, &value)
        })
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rows(&db, "events").len(), 2_500);
    clock.0.store(120_000_000, Ordering::Relaxed);
    for _ in 0..500 {
        if rows(&db, "events").len() == 500 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(rows(&db, "events").len(), 500);
}

#[test]
fn the_background_thread_goes_on_merging_until_nothing_is_left_to_merge() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes_max: 128 << 10, ..Options::default() };
    let builder = Database::builder().options(options).compaction_bytes_per_second(0);
    let db = builder.open(directory.path()).unwrap();
    let storage = Some("lscs".to_owned());
    db.create_table("t", TableOptions { storage, ..TableOptions::default() }).unwrap();
    for round in 0..12u64 {
        let key =
            |n: u64| format!("{:016x}", (round * 1_000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        put(&db, "t", (0..1_000).map(|n| (key(n), "value".repeat(20))));
    }
    db.checkpoint().unwrap();
    let mut checkpoints = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1_300));
        let before = std::mem::replace(&mut checkpoints, db.stats().checkpoints);
        if before == checkpoints {
            break;
        }
    }
    let report = db.checkpoint().unwrap();
    assert_eq!((report.unsettled, report.bytes_merged), (false, 0), "{report:?}");
    assert_eq!(rows(&db, "t").len(), 12_000);
}

#[test]
fn tables_are_converted_emptied_and_cleared_on_the_command_line() {
    let work = Workplace::new();
    let columns = ["--column", "id:int64", "--column", "at:timestamp", "--key", "id"];
    let create =
        [&["table", "create", "events", "--storage", "tree", "--codec", "none"], &columns[..]]
            .concat();
    work.ok(&create);
    let lines = |ids: std::ops::Range<u32>, at: &str| -> String {
        ids.map(|id| format!("{{\"id\": {id}, \"at\": \"{at}\"}}\n")).collect()
    };
    work.file("old.jsonl", lines(0..40, "2001-01-01T00:00:00Z"));
    work.file("new.jsonl", lines(40..100, "2990-01-01T00:00:00Z"));
    for file in ["old.jsonl", "new.jsonl"] {
        work.ok(&["import", file, "--table", "events", "--storage", "kernel"]);
    }
    let said = work.ok(&[
        "table",
        "convert",
        "events",
        "--storage",
        "lscs",
        "--codec",
        "lz4",
        "--set",
        "ttl=30d",
        "--set",
        "ttl_column=at",
    ]);
    assert!(
        said.starts_with("converted table 'events' to storage lscs and codec lz4: 100 rows in "),
        "{said}"
    );
    let list = work.ok(&["table", "list", "--json"]);
    assert!(
        list.contains(
            r#""storage":"lscs","codec":"lz4","settings":{"ttl":"30d","ttl_column":"at"}"#
        ),
        "{list}"
    );
    assert_eq!(work.ok(&["scan", "events", "--json"]).lines().count(), 100);
    work.refused(
        &["table", "convert", "events", "--set", "ttl=soon"],
        2,
        &["'soon' is no time to live"],
    );
    work.refused(&["table", "convert", "events", "--set", "ttl"], 2, &["not KEY=VALUE"]);
    work.refused(&["table", "convert", "nope"], 3, &["no table named 'nope'"]);

    assert_eq!(work.ok(&["expire"]), "deleted 40 rows\n");
    assert_eq!(
        work.ok(&["expire", "events", "--json"]),
        "{\"table\":\"events\",\"rows_deleted\":0}\n"
    );
    assert_eq!(work.ok(&["delete", "events", "--from", "40", "--to", "50"]), "deleted 10 rows\n");
    assert_eq!(work.ok(&["delete", "events", "--prefix", "50", "--at-once"]), "deleted 1 row\n");
    work.refused(&["delete", "events"], 2, &["required"]);
    work.refused(&["delete", "events", "51", "--from", "3"], 2, &["cannot be used"]);
    let said = work.ok(&[
        "table",
        "convert",
        "events",
        "--storage",
        "kernel",
        "--codec",
        "none",
        "--unset",
        "ttl",
        "--unset",
        "ttl_column",
    ]);
    assert!(said.contains("to storage kernel and codec none: 49 rows"), "{said}");
    work.refused(&["expire", "events"], 2, &["do not say how long"]);
    assert_eq!(work.ok(&["delete", "events", "--from", "0"]), "deleted 49 rows\n");
    let script = work.ok(&["completions", "bash"]);
    assert!(script.contains("lscs kernel tree") && script.contains("lz4"), "no names to complete");
}
