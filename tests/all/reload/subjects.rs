//! One plugin of each kind at work in a database, and whether what it does is right.

use super::{
    CODEC, GUESTS, Guest, HOOKS, INDEX, OBSERVER, PROCEDURE, Place, STORAGE, until, version,
};
use sochdb::plugin::{ObservabilityExtension, TelemetryBatch};
use sochdb::{
    Column, ColumnType, Database, IndexOptions, KernelResult, Schema, TableOptions, Value,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Rows of the tables with few of them.
pub const KEYS: u64 = 64;
/// Vectors of `docs`, in a circle: so many that the plugin is asked, instead of all being compared.
pub const DOCS: i64 = 720;

/// Loads version 1 of every guest into a new database, and makes the tables and the index that they are for.
pub fn furnished(place: &Place) -> Database {
    let db = place.open();
    for guest in GUESTS {
        place.reload(&db, guest, &version(1)).unwrap_or_else(|error| panic!("{error}"));
    }
    furnish(&db).unwrap();
    db
}

/// Makes the tables and the index that the guests are for.
pub fn furnish(db: &Database) -> KernelResult<()> {
    let codec = Some(CODEC.name.to_owned());
    let packed = TableOptions { codec: codec.clone(), ..TableOptions::default() };
    db.create_table("packed", packed)?;
    let storage = Some(STORAGE.name.to_owned());
    db.create_table("shelved", TableOptions { storage, codec, ..TableOptions::default() })?;
    for table in ["counters", "stamped"] {
        db.create_table(table, TableOptions::default())?;
    }
    db.create_table("docs", TableOptions { schema: Some(schema()), ..TableOptions::default() })?;
    db.run(|tx| {
        for key in 0..KEYS {
            tx.put("packed", &key.to_be_bytes(), &block(key, 0))?;
            tx.put("shelved", &key.to_be_bytes(), &block(key, 0)[..200])?;
        }
        (0..DOCS).try_for_each(|id| {
            let (key, row) = doc(id);
            tx.put("docs", &key, &row)
        })
    })?;
    let index = IndexOptions::default().using(INDEX.name).metric("euclidean").set("flat_max", "32");
    db.create_index("docs", "near", "v", &index, &mut |_| {})?;
    let report = db.checkpoint()?;
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    Ok(())
}

/// The value number `count` of a row: runs of bytes that tell which it is.
pub fn block(key: u64, count: u64) -> Vec<u8> {
    let mut block = [key.to_le_bytes(), count.to_le_bytes()].concat();
    // No byte of it is a mark, but for the two numbers.
    let byte = |run: u64| 0x80 | (key ^ count ^ run) as u8;
    (0..40).for_each(|run| block.extend(std::iter::repeat_n(byte(run), 100)));
    block
}

/// Whether `found` is a value that `key` has had, or the beginning of one.
#[track_caller]
pub fn check_block(key: u64, found: &[u8]) {
    let count = found[8..16].try_into().map(u64::from_le_bytes).expect("eight bytes");
    assert!(block(key, count).starts_with(found), "key {key} has another value than was written");
}

fn schema() -> Schema {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    Schema::new(vec![column("id", ColumnType::Int64), column("v", ColumnType::Vector(2))], &["id"])
        .unwrap()
}

/// Key and row of a document whose vector points to `id` halves of a degree.
pub fn doc(id: i64) -> (Vec<u8>, Vec<u8>) {
    let row = [Value::Int64(id), Value::Vector(direction(id as f32))];
    (schema().encode_key(&row).unwrap(), schema().encode_row(&row).unwrap())
}

fn direction(halves: f32) -> Vec<f32> {
    let (sine, cosine) = (halves / 2.0).to_radians().sin_cos();
    vec![cosine, sine]
}

/// Searches the `k` documents nearest to the one called `id`.
///
/// # Errors
/// Those of the search.
pub fn search(db: &Database, id: i64, k: usize) -> KernelResult<()> {
    let query = direction(id as f32 + 0.1);
    let found = db.search("docs").near(&query).k(k).effort(k).run()?;
    let found = found.iter().map(|found| match schema().key_values(&found.key).unwrap()[0] {
        Value::Int64(id) => id,
        _ => panic!("the key is a number"),
    });
    // To the right and to the left in turn.
    let wanted = (1..=k as i64).map(|place| match place % 2 {
        0 => (id + place / 2).rem_euclid(DOCS),
        _ => (id - place / 2).rem_euclid(DOCS),
    });
    assert!(found.eq(wanted), "another answer than by comparing with all");
    Ok(())
}

/// The observer among the guests, as the database knows it.
pub fn observer(db: &Database) -> Arc<dyn ObservabilityExtension> {
    let mut all = db.plugins().observers();
    all.retain(|observer| observer.info().name == OBSERVER.name);
    all.pop().expect("it is registered")
}

/// How many batches the observer remembers.
pub fn batches(db: &Database) -> u64 {
    let body = observer(db).render("").unwrap().body;
    let count = body.split_once(" batches").and_then(|(count, _)| count.parse().ok());
    count.unwrap_or_else(|| panic!("{body}"))
}

/// The version that answers a call of the procedures.
///
/// # Errors
/// Those of the call.
pub fn told(db: &Database) -> KernelResult<u32> {
    Ok(version_in(&db.call("teller.version", "{}")?))
}

/// The version that an answer of the procedures names.
pub fn version_in(answer: &str) -> u32 {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    u32::try_from(answer["version"].as_u64().unwrap()).unwrap()
}

/// Writes a stamped row, and says which version stamped it.
///
/// # Errors
/// Those of the transaction.
pub fn stamped(db: &Database, key: u64) -> KernelResult<u32> {
    let stamp = db.run(|tx| {
        tx.put("stamped", &key.to_be_bytes(), b"tea")?;
        Ok(tx.get("stamped", &key.to_be_bytes())?.expect("just written"))
    })?;
    let stamp = str::from_utf8(&stamp).unwrap().strip_prefix("tea@").expect("it is stamped");
    Ok(stamp.parse().expect("with one version"))
}

/// One call of `guest` or some more, about what is right at any time.
///
/// # Errors
/// The first call's that failed. What was answered wrongly panics.
pub fn use_once(db: &Database, guest: &Guest, round: u64) -> KernelResult<()> {
    let key = round % KEYS;
    match guest.name {
        name if name == CODEC.name => {
            let codec = db.plugins().compression(name)?;
            let block = block(key, round);
            let stored = codec.compress(&block)?;
            assert!(stored.len() < block.len(), "runs take less");
            assert!(codec.decompress(&stored, block.len())? == block, "another block");
        }
        name if name == STORAGE.name => {
            db.run(|tx| tx.put("shelved", &key.to_be_bytes(), &block(key, round)[..200]))?;
            let tx = db.begin_read()?;
            let other = (key + KEYS / 2) % KEYS;
            check_block(other, &tx.get("shelved", &other.to_be_bytes())?.expect("it was written"));
            let mut rows = 0;
            for row in tx.scan("shelved", ..)? {
                let (key, value) = row?;
                check_block(key.as_slice().try_into().map(u64::from_be_bytes).unwrap(), &value);
                rows += 1;
            }
            assert_eq!(rows, KEYS);
        }
        name if name == OBSERVER.name => {
            observer(db).ingest(&TelemetryBatch::default())?;
        }
        name if name == INDEX.name => search(db, key as i64 % DOCS, 5)?,
        name if name == HOOKS.name => drop(stamped(db, key)?),
        name if name == PROCEDURE.name => drop(told(db)?),
        name => panic!("nobody knows what {name} is for"),
    }
    Ok(())
}

/// Uses `guest` on and on in another thread while `work` is done; returns how often, and what `work` returned.
/// Every call must succeed and be right.
#[track_caller]
pub fn while_used<T>(db: &Database, guest: &Guest, work: impl FnOnce() -> T) -> (u64, T) {
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                use_once(db, guest, round)
                    .unwrap_or_else(|error| panic!("call {round} of {}: {error}", guest.name));
            }
        });
        // Whatever `work` does, the user must be told to stop.
        let stopping = Stopping(&stop);
        let goes_on = |what: &str| {
            let before = rounds.load(Ordering::Relaxed);
            until(what, || user.is_finished() || before + 1 < rounds.load(Ordering::Relaxed));
        };
        goes_on("it is used before");
        let done = work();
        goes_on("it is used after");
        drop(stopping);
        user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (rounds.load(Ordering::Relaxed), done)
    })
}

/// Tells others to stop when it is dropped.
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
