//! More Rust of the guide: rows of a type, columns, vectors, and work that several do.

use serde::{Deserialize, Serialize};
use sochdb::claims::{
    AtomicClaimManager, ClaimOutcome, ClaimResult, JobOptions, LeaseConfig, LeaseManager,
};
use sochdb::rows::{Moment, RowOptions, Vector, With};
use sochdb::{
    Comparison, Condition, Database, ErrorKind, IndexOptions, Kernel, KernelResult, SystemClock,
    Table, TableOptions, Value,
};
use std::sync::Arc;

/// Runs what a chapter shows on a new database with the bundled plugins.
fn with_database(shown: impl FnOnce(&Database) -> KernelResult<()>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let db = Database::builder().background(false).open(folder.path()).expect("a new database");
    shown(&db).expect("it does what the chapter shows");
    db.close().expect("closed");
}

// ANCHOR: row
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    city: String,
    day: Moment,
    people: u32,
    #[serde(default)]
    note: Option<String>,
}
// ANCHOR_END: row

fn visit(city: &str, day: i64, people: u32) -> Visit {
    Visit { city: city.into(), day: Moment(day), people, note: None }
}

// ANCHOR: typed
fn visits(db: &Database) -> KernelResult<Table<Visit>> {
    // Made if it is not there, otherwise compared with the type.
    let visits = db.typed_table::<Visit>("visits", &["city", "day"])?;
    db.run(|tx| {
        visits.insert(tx, &visit("Oslo", 1, 12))?; // an error if that row is there
        visits.put_all(tx, &[visit("Oslo", 2, 7), visit("Bergen", 1, 3)])?;
        visits.update(tx, &("Oslo", Moment(2)), |visit| visit.people += 1)?;
        visits.delete(tx, &("Bergen", Moment(1)))
    })?;
    Ok(visits)
}
// ANCHOR_END: typed

// ANCHOR: ranges
fn people(db: &Database, visits: &Table<Visit>) -> KernelResult<u32> {
    let tx = db.begin_read()?;
    let one = visits.get(&tx, &("Oslo", Moment(1)))?;
    assert_eq!(one.map(|visit| visit.people), Some(12));

    // The key is ordered by its first column, then by the next: ranges may name only the first ones.
    let mut people = 0;
    for visit in visits.scan(&tx, With("Oslo"))? {
        people += visit?.people;
    }
    let two = visits.scan(&tx, ("Oslo", Moment(2))..)?.count();
    assert_eq!(two, 1);
    Ok(people)
}
// ANCHOR_END: ranges

#[test]
fn rows_of_a_type() {
    with_database(|db| {
        let visits = visits(db)?;
        assert_eq!(people(db, &visits)?, 20);
        Ok(())
    });
}

// ANCHOR: evolved
/// The same table, after a year: `note` is not needed here, and `weather` is new.
#[derive(Serialize, Deserialize)]
struct Visit2 {
    city: String,
    day: Moment,
    people: u32,
    weather: Option<String>,
}

fn a_year_later(db: &Database) -> KernelResult<()> {
    // Fits: a column without a field keeps what it holds, an `Option` without a column reads as `None`.
    let visits = db.typed_table::<Visit2>("visits", &["city", "day"])?;
    let mut oslo = visits.get(&db.begin_read()?, &("Oslo", Moment(1)))?.expect("it was written");
    oslo.people += 1;
    db.run(|tx| visits.put(tx, &oslo))?;

    // To keep the weather, the table needs the column.
    oslo.weather = Some("rain".into());
    let refused = db.run(|tx| visits.put(tx, &oslo)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    Ok(())
}
// ANCHOR_END: evolved

// ANCHOR: moved
fn with_weather(db: &Database) -> KernelResult<u64> {
    let old = db.typed_table::<Visit2>("visits", &["city", "day"])?;
    let new = db.typed_table::<Visit2>("visits with weather", &["city", "day"])?;
    db.run(|tx| {
        // One transaction: readers see the old table until they see the new one.
        let rows = old.scan(tx, ..)?.collect::<KernelResult<Vec<_>>>()?;
        new.put_all(tx, &rows)?;
        Ok(rows.len() as u64)
    })
}
// ANCHOR_END: moved

#[test]
fn types_and_tables_that_change() {
    with_database(|db| {
        visits(db)?;
        let note = |visit: &mut Visit| visit.note = Some("opening".into());
        let old = db.typed_table::<Visit>("visits", &["city", "day"])?;
        db.run(|tx| old.update(tx, &("Oslo", Moment(1)), note))?;
        a_year_later(db)?;
        let kept = old.get(&db.begin_read()?, &("Oslo", Moment(1)))?.expect("it is there");
        assert_eq!((kept.people, kept.note.as_deref()), (13, Some("opening")));
        assert_eq!(with_weather(db)?, 2);
        Ok(())
    });
}

// ANCHOR: columns
#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    town: String,
    cents: i64,
}

fn turnover(db: &Database) -> KernelResult<i64> {
    let stored = TableOptions {
        storage: Some("lscs".into()),
        codec: Some("zstd".into()),
        ..TableOptions::default()
    };
    let options = RowOptions::default().table(stored);
    let orders = db.typed_table_with::<Order>("orders", &["id"], &options)?;
    let towns = ["Oslo", "Bergen", "Tromsø"];
    let order = |id: u64| Order { id, town: towns[id as usize % 3].into(), cents: id as i64 };
    db.run(|tx| orders.put_all(tx, &(0..3_000).map(order).collect::<Vec<_>>()))?;

    // Only the column `cents` is handed out, of blocks in which a town can be Oslo.
    let in_oslo = Value::String("Oslo".into());
    let in_oslo = Condition::new(orders.schema(), "town", Comparison::Equal, in_oslo)?;
    let mut sum = 0;
    for batch in db.begin_read()?.scan_columns("orders", .., &["cents"], vec![in_oslo])? {
        let batch = batch?;
        for row in 0..batch.rows() {
            let Value::Int64(cents) = batch.value(0, row) else { unreachable!("never null") };
            sum += cents;
        }
    }
    Ok(sum)
}
// ANCHOR_END: columns

#[cfg(feature = "arrow")]
// ANCHOR: arrow
fn rows_in_arrow(db: &Database) -> KernelResult<usize> {
    let scan = db.begin_read()?.scan_columns("orders", .., &["id", "cents"], Vec::new())?;
    let columns = scan.columns().to_vec(); // names, types, and which may be null
    let mut rows = 0;
    for batch in scan {
        // An `arrow_array::RecordBatch` in the same memory.
        rows += sochdb::arrow::record_batch(batch?, &columns)?.num_rows();
    }
    Ok(rows)
}
// ANCHOR_END: arrow

#[test]
fn some_columns_of_the_rows_that_matter() {
    with_database(|db| {
        assert_eq!(turnover(db)?, (0..1_000).map(|n| 3 * n).sum::<i64>());
        db.checkpoint()?; // from memory into the column store
        assert_eq!(turnover(db)?, (0..1_000).map(|n| 3 * n).sum::<i64>());
        #[cfg(feature = "arrow")]
        assert_eq!(rows_in_arrow(db)?, 3_000);
        Ok(())
    });
}

// ANCHOR: vectors
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Word {
    id: u32,
    pos: String,
    vector: Vector<2>,
}

fn near(db: &Database) -> KernelResult<Vec<u32>> {
    let words = db.typed_table::<Word>("words", &["id"])?;
    db.create_index("words", "meaning", "vector", &IndexOptions::default(), &mut |_| {})?;
    let some = [(1, "n", [1.0, 0.0]), (2, "v", [0.9, 0.1]), (3, "n", [0.0, 1.0])];
    let some = some.map(|(id, pos, vector)| Word { id, pos: pos.into(), vector: vector.into() });
    db.run(|tx| words.put_all(tx, &some))?;

    let tx = db.begin_read()?;
    let nouns = words
        .search(&tx)
        .near(&[1.0, 0.1])
        .k(2)
        .filter("pos", Comparison::Equal, Value::String("n".into())) // part of the walk, not after it
        .run()?;
    Ok(nouns.into_iter().map(|found| found.row.id).collect())
}
// ANCHOR_END: vectors

// ANCHOR: search
fn found(db: &Database, vector: &[f32]) -> KernelResult<usize> {
    let found = db
        .search("words")
        .near(vector)
        .k(10)
        .filter("pos", Comparison::Equal, Value::String("n".into())) // part of the walk, not after it
        .rows(true)
        .run()?;
    Ok(found.len())
}
// ANCHOR_END: search

#[test]
fn the_nearest_rows() {
    with_database(|db| {
        assert_eq!(near(db)?, [1, 3]);
        assert_eq!(found(db, &[1.0, 0.0])?, 2);
        Ok(())
    });
}

// ANCHOR: ordered
fn from_n_on(db: &Database) -> KernelResult<Vec<u32>> {
    let words = db.typed_table::<Word>("words", &["id"])?;
    db.create_index("words", "by_pos", "pos", &IndexOptions::default(), &mut |_| {})?;
    let tx = db.begin_read()?;
    let found = words.lookup(&tx, "by_pos", "n".., 10)?;
    Ok(found.into_iter().map(|word| word.id).collect())
}
// ANCHOR_END: ordered

#[test]
fn values_in_order() {
    with_database(|db| {
        near(db)?;
        assert_eq!(from_n_on(db)?, [1, 3, 2]);
        Ok(())
    });
}

// ANCHOR: jobs
fn mails(kernel: &Kernel) -> ClaimOutcome<usize> {
    // A `Database` is a `Kernel` with plugins around it: pass it as it is.
    let queue =
        AtomicClaimManager::open(kernel, Arc::new(SystemClock), "mails", LeaseConfig::default())?;
    // The order and the job that it causes commit together, or neither does.
    kernel.run(|tx| {
        tx.put("orders", b"1001", b"ada@example.org")?;
        queue.enqueue_in(tx, b"ada@example.org", JobOptions::default())?;
        Ok(())
    })?;

    let mut sent = 0;
    while let ClaimResult::Claimed(job) = queue.claim("worker 1")? {
        // Ours for half a minute. Send the mail; tell the server `job.fence()`, if it can refuse old ones.
        queue.complete(&job, |tx| Ok(tx.put("sent", job.payload(), b"once")?))?;
        sent += 1;
    }
    Ok(sent)
}
// ANCHOR_END: jobs

// ANCHOR: lease
fn lead(kernel: &Kernel, me: &str) -> ClaimOutcome<bool> {
    let leases =
        LeaseManager::open(kernel, Arc::new(SystemClock), "leaders", LeaseConfig::default())?;
    let Some(lead) = leases.acquire("shard 7", me)?.claimed() else { return Ok(false) };
    // Fails, with all that the transaction writes, if somebody else has taken over meanwhile.
    kernel.run(|tx| {
        leases.guard_in(tx, &lead)?;
        tx.put("orders", b"checked", b"by the leader")
    })?;
    Ok(true)
}
// ANCHOR_END: lease

#[test]
fn work_is_claimed_and_led() {
    with_database(|db| {
        for table in ["orders", "sent"] {
            db.create_table(table, TableOptions::default())?;
        }
        assert_eq!(mails(db).expect("it does what the chapter shows"), 1);
        assert!(lead(db, "ada").expect("nobody leads"));
        assert!(!lead(db, "alan").expect("it is answered"), "ada leads");
        assert!(db.begin_read()?.get("sent", b"ada@example.org")?.is_some());
        Ok(())
    });
}
