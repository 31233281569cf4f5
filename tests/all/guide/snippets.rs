//! The Rust of the guide: functions that chapters show whole, each with a test that runs it.

use sochdb::operations::restore;
use sochdb::{
    Database, Durability, Environment, ErrorKind, KernelError, KernelResult, KeyRange, Options,
    TableOptions, TenantOptions, Timestamp, TransactionOptions,
};
use std::path::Path;

fn opened(path: &Path) -> Database {
    let db = Database::builder().bundled_plugins(false).background(false).open(path);
    db.expect("a new database")
}

/// Runs what a chapter shows on a new database with the table `table`.
fn with_table(table: &str, shown: impl FnOnce(&Database) -> KernelResult<()>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let db = opened(&folder.path().join("db"));
    db.create_table(table, TableOptions::default()).expect("a new table");
    shown(&db).expect("it does what the chapter shows");
    db.close().expect("closed");
}

// ANCHOR: tour
fn tour(path: &Path) -> KernelResult<()> {
    let db = Database::open(path)?;
    db.create_table("accounts", TableOptions::default())?;
    db.run(|tx| {
        tx.put("accounts", b"ada", b"100")?;
        tx.put("accounts", b"alan", b"20")
    })?;

    // A transaction that sees one moment, whatever others commit meanwhile.
    let before = db.begin_read()?;
    db.run(|tx| tx.put("accounts", b"ada", b"0"))?;
    assert_eq!(before.get("accounts", b"ada")?.unwrap(), b"100");
    assert_eq!(db.begin_read()?.get("accounts", b"ada")?.unwrap(), b"0");
    drop(before);
    db.close()
}
// ANCHOR_END: tour

#[test]
fn the_tour_in_a_program() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    tour(&folder.path().join("my-data")).expect("it does what the tour shows");
}

// ANCHOR: durability
fn modes(path: &Path) -> KernelResult<Database> {
    let db = Database::builder().durability(Durability::FsyncDelayed(10_000)).open(path)?;
    db.create_table("clicks", TableOptions::default())?;
    db.run(|tx| tx.put("clicks", b"7", b"with the system now, on disk within 10 ms"))?;

    // This one returns when it is on disk, and with it everything committed before.
    let durability = Some(Durability::Fsync);
    let synced = TransactionOptions { durability, ..TransactionOptions::default() };
    db.run_with(synced, |tx| tx.put("clicks", b"8", b"an order"))?;
    Ok(db)
}
// ANCHOR_END: durability

#[test]
fn durability_by_database_and_by_transaction() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let db = modes(&folder.path().join("db")).expect("it does what the contract shows");
    assert!(0 < db.stats().log_syncs, "the second commit was synced");
    db.close().expect("closed");
}

// ANCHOR: errors
fn advice(error: &KernelError) -> &'static str {
    match error.kind() {
        ErrorKind::Conflict => "another transaction came first: run it again",
        ErrorKind::Invalid | ErrorKind::NotFound => "a mistake of ours: mend the call",
        ErrorKind::Limit => "too much at once: ask for less",
        ErrorKind::Corrupt => "bytes are not what was written: stop; restore or repair",
        ErrorKind::Unavailable => "the disk, or another process: mend it, try again",
        ErrorKind::Closed => "open the database again",
        ErrorKind::Plugin => "mend or replace the plugin",
    }
}
// ANCHOR_END: errors

#[test]
fn errors_say_what_to_do() {
    with_table("t", |db| {
        let missing = db.run(|tx| tx.put("no such table", b"key", b"value")).unwrap_err();
        assert_eq!(advice(&missing), "a mistake of ours: mend the call");
        let long = db.run(|tx| tx.put("t", &[0; 1025], b"value")).unwrap_err();
        assert_eq!(advice(&long), "too much at once: ask for less");
        Ok(())
    });
}

// ANCHOR: beside
fn a_look(path: &Path) -> KernelResult<Database> {
    Database::builder().read_only(true).beside_owner(true).open(path)
}
// ANCHOR_END: beside

#[test]
fn a_look_beside_the_owner() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("db");
    let owner = opened(&path);
    owner.create_table("t", TableOptions::default()).expect("a new table");
    owner.run(|tx| tx.put("t", b"key", b"value")).expect("committed");
    let beside = a_look(&path).expect("it is let in");
    assert_eq!(beside.begin_read().unwrap().get("t", b"key").unwrap().unwrap(), b"value");
    let refused = beside.run(|tx| tx.put("t", b"key", b"other")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    beside.close().expect("closed");
    owner.close().expect("closed");
}

// ANCHOR: archive
fn open_with_archive(path: &Path) -> KernelResult<Database> {
    let options = Options { wal_archive: true, ..Options::default() };
    Database::builder().options(options).open(path)
}
// ANCHOR_END: archive

// ANCHOR: backup
fn back_up(db: &Database, copy: &Path) -> KernelResult<Timestamp> {
    let report = db.backup(copy, &mut |progress| eprintln!("{} bytes", progress.done_bytes))?;
    Ok(report.timestamp) // every commit up to this one
}
// ANCHOR_END: backup

// ANCHOR: moment
/// Makes the database `rescued` of the backup `copy`, and of what the original in `live` has logged since, up to the
/// commit `until`. Of `live` only the folders `wal` and `archive` are read.
fn put_back(copy: &Path, live: &Path, until: Timestamp, rescued: &Path) -> KernelResult<()> {
    let (from, to) = (Environment::disk(copy), Environment::disk(rescued));
    let original = Environment::disk(live).vfs;
    restore(&from, Some(&*original), &to, Some(until), &mut |_| {})?;
    Ok(())
}
// ANCHOR_END: moment

#[test]
fn a_backup_and_a_moment_after_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [live, copy, rescued] = ["live", "monday", "rescued"].map(|name| folder.path().join(name));
    let run = || -> KernelResult<()> {
        let db = open_with_archive(&live)?;
        db.create_table("orders", TableOptions::default())?;
        db.run(|tx| tx.put("orders", b"1", b"before the backup"))?;
        back_up(&db, &copy)?;
        let mut tx = db.begin()?;
        tx.put("orders", b"2", b"after the backup")?;
        let good = tx.commit()?;
        db.run(|tx| tx.delete("orders", b"1"))?;
        db.close()?;
        put_back(&copy, &live, good, &rescued)?;
        let db = opened(&rescued);
        let orders = db.begin_read()?.scan("orders", KeyRange::all())?.count();
        assert_eq!(orders, 2, "both orders, and not the mistake");
        db.close()
    };
    run().expect("it does what the chapter shows");
}

// ANCHOR: changes
fn tell(db: &Database, seen: Timestamp) -> KernelResult<Vec<String>> {
    let mut told = Vec::new();
    for change in db.changes(seen)? {
        let change = change?;
        for row in &change.rows {
            let what = if row.value.is_some() { "written" } else { "deleted" };
            told.push(format!("{}: {} {what}", change.timestamp, row.key.escape_ascii()));
        }
    }
    Ok(told)
}
// ANCHOR_END: changes

#[test]
fn what_happened_since() {
    with_table("orders", |db| {
        let seen = db.begin_read()?.snapshot()?;
        db.run(|tx| tx.put("orders", b"1", b"new"))?;
        db.run(|tx| tx.delete("orders", b"1"))?;
        let told = tell(db, seen)?;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with(": 1 written") && told[1].ends_with(": 1 deleted"), "{told:?}");
        Ok(())
    });
}

// ANCHOR: check
fn look(db: &Database) -> KernelResult<bool> {
    let report = db.check()?; // commits go on meanwhile
    for problem in &report.problems {
        eprintln!("{problem}");
    }
    Ok(report.is_healthy())
}
// ANCHOR_END: check

#[test]
fn a_check_in_a_program() {
    with_table("t", |db| {
        assert!(look(db)?, "a new database is healthy");
        Ok(())
    });
}

// ANCHOR: tenants
fn tenants(db: &Database) -> KernelResult<()> {
    let quota = TenantOptions { storage_bytes_max: Some(1 << 20), ..TenantOptions::default() };
    db.set_tenant("acme", quota)?; // not kept in the database: say it after each opening
    let acme = db.tenant("acme")?;
    acme.run(|tx| {
        tx.create_table("notes", TableOptions::default())?; // the table acme/notes
        tx.put("notes", b"1", b"ours")
    })?;
    let refused = acme.run(|tx| tx.put("notes", b"2", &vec![0; 2 << 20]));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Limit);
    println!("{} bytes", acme.usage().storage_bytes);
    Ok(())
}
// ANCHOR_END: tenants

#[test]
fn tenants_and_their_quotas() {
    with_table("t", tenants);
}

/// A pair of key and value, or why it could not be read.
type Pair = Result<(Box<[u8]>, Box<[u8]>), std::io::Error>;

/// What an iterator of RocksDB yields, in the order of keys.
fn pairs() -> impl Iterator<Item = Pair> {
    (0..1000u32).map(|n| Ok((n.to_be_bytes().into(), format!("value {n}").into_bytes().into())))
}

// ANCHOR: move
/// Makes the table `name` of all pairs of key and value, which come in the order of their keys, as an iterator of
/// RocksDB yields them: `rocks.iterator(rocksdb::IteratorMode::Start)`.
fn move_in<E: ToString>(
    db: &Database,
    name: &str,
    pairs: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), E>>,
) -> KernelResult<u64> {
    let rows = pairs.map(|pair| match pair {
        Ok((key, value)) => Ok((key.into_vec(), value.into_vec())),
        Err(error) => Err(KernelError::Invalid(error.to_string())),
    });
    // All of it or nothing, neither logged nor kept in memory.
    db.bulk_load(name, TableOptions::default(), rows)
}
// ANCHOR_END: move

#[test]
fn pairs_are_moved_in_the_order_of_their_keys() {
    with_table("t", |db| {
        assert_eq!(move_in(db, "moved", pairs())?, 1000);
        let tx = db.begin_read()?;
        assert_eq!(tx.get("moved", &7u32.to_be_bytes())?.unwrap(), b"value 7");
        drop(tx);
        let broken = pairs().take(3).chain([Err(std::io::Error::other("it failed"))]);
        assert_eq!(move_in(db, "half", broken).unwrap_err().kind(), ErrorKind::Invalid);
        let half = db.begin_read()?.get("half", b"");
        assert_eq!(half.unwrap_err().kind(), ErrorKind::NotFound);
        Ok(())
    });
}

// ANCHOR: rocks
fn words_for_it(db: &Database) -> KernelResult<()> {
    // A column family is a table; a write batch is a transaction.
    db.run(|tx| {
        tx.put("counters", b"visits", &1u64.to_le_bytes())?;
        tx.delete("counters", b"obsolete")
    })?;
    // A merge operator is a transaction that reads and writes; `run` repeats it after a conflict.
    db.run(|tx| {
        let old = tx.get("counters", b"visits")?;
        let old = old.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
        tx.put("counters", b"visits", &(old + 1).to_le_bytes())
    })?;
    // A snapshot is a transaction that only reads; a prefix iterator is a scan.
    let snapshot = db.begin_read()?;
    for row in snapshot.scan("counters", KeyRange::prefix(b"vis"))? {
        let (key, value) = row?;
        println!("{} {value:?}", key.escape_ascii());
    }
    // DeleteRange is this, in commits of a handy size.
    db.delete_range("counters", KeyRange::prefix(b"old/"), 0, &mut |_| {})?;
    Ok(())
}
// ANCHOR_END: rocks

#[test]
fn what_rocksdb_has_a_word_for() {
    with_table("counters", |db| {
        db.run(|tx| tx.put("counters", b"old/1", b"x"))?;
        words_for_it(db)?;
        let tx = db.begin_read()?;
        assert_eq!(tx.scan("counters", KeyRange::all())?.count(), 1);
        assert_eq!(tx.get("counters", b"visits")?.unwrap(), 2u64.to_le_bytes());
        Ok(())
    });
}
