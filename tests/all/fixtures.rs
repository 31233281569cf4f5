//! Old files open forever: every released version left a database in `tests/fixtures/`.
//!
//! Each has a table in the kernel's tree (with large values, deletions and a typed schema), a table of the
//! `lscs` plugin compressed by `lz4`, one of its typed tables with every type compressed by `zstd` and with indexes of
//! every kind, a loaded table, an archived log, and commits that no checkpoint folded in. To make this version's: `SOCHDB_MAKE_FIXTURE=tests/fixtures/v0.1 cargo test --test all fixtures`.

use sochdb::{
    Column, ColumnType, Database, Environment, IndexOptions, Kernel, KernelResult, Lookup, Options,
    Schema, TableOptions, Timestamp, Transaction, Value,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Bound;
use std::path::{Path, PathBuf};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn value(n: u32, bytes: usize) -> Vec<u8> {
    format!("{n} potatoes, ").bytes().cycle().take(bytes).collect()
}

/// What every fixture holds, by table.
fn contents() -> BTreeMap<&'static str, Rows> {
    let key = |n: u32| format!("key-{n:05}").into_bytes();
    let mut plain: Rows = (0..300).map(|n| (key(n), value(n, 30))).collect();
    plain.insert(b"large".to_vec(), value(1, 20_000));
    plain.retain(|key, _| !key.ends_with(b"7"));
    plain.extend((0..20).map(|n| (key(n), b"written after the last checkpoint".to_vec())));
    let columns = (0..600).map(|n| (key(n), value(n, 80))).collect();
    let loaded = (0..200).map(|n| (key(n), value(n, 50))).collect();
    let rows = [typed(1, "ada", None), typed(2, "alan", Some(41.5))];
    let typed = rows.into_iter().collect();
    let events = (0..500).map(event).collect();
    BTreeMap::from([
        ("plain", plain),
        ("columns", columns),
        ("events", events),
        ("loaded", loaded),
        ("typed", typed),
    ])
}

/// A table with a column of every type.
fn events() -> Schema {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        nullable: name != "at" && name != "id",
        default: None,
    };
    let columns = vec![
        column("at", ColumnType::Timestamp),
        column("id", ColumnType::Int64),
        column("ok", ColumnType::Bool),
        column("price", ColumnType::Float64),
        column("town", ColumnType::String),
        column("raw", ColumnType::Bytes),
        column("place", ColumnType::Vector(3)),
    ];
    Schema::new(columns, &["at", "id"]).expect("a good schema")
}

/// An index: name, column and settings.
type Index = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The indexes of that table.
const INDEXES: [Index; 4] = [
    ("near", "place", &[("using", "hnsw"), ("flat_max", "32"), ("metric", "euclidean")]),
    (
        "short",
        "place",
        &[
            ("using", "vamana"),
            ("flat_max", "32"),
            ("metric", "euclidean"),
            ("codes", "rabitq4"),
            ("store", "f16"),
        ],
    ),
    ("flat", "place", &[("metric", "euclidean"), ("store", "f32")]),
    ("by-town", "town", &[("flat_max", "32")]),
];

/// Whether searches of the indexes find the rows with the nearest values, and lookups all of a town.
fn check_indexes(tx: &Transaction) {
    let (schema, rows) = (events(), &contents()["events"]);
    let value = |row: &Vec<u8>, column| schema.column(row, column).unwrap();
    for (name, effort) in [("near", 32), ("short", 64), ("flat", 500)] {
        let target = [217.0, 0.5, -1.0];
        let found = tx.search("events").index(name).near(&target).k(7).effort(effort).run();
        let found: Vec<f32> = found.unwrap().iter().map(|hit| hit.distance).collect();
        let distance = |row| match value(row, 6) {
            Value::Vector(vector) => Some((vector[0] - target[0]).powi(2)),
            _ => None,
        };
        let mut expected: Vec<f32> = rows.values().filter_map(distance).collect();
        expected.sort_by(f32::total_cmp);
        assert_eq!(found, expected[..7], "index {name}");
        assert_eq!(tx.verify_index("events", name).unwrap().wrong, 0);
    }
    let ulm = || Bound::Included(Value::String("Ulm".to_owned()));
    let lookup = Lookup { start: ulm(), end: ulm(), reverse: false, limit: 1000 };
    let found = tx.lookup("events", "by-town", &lookup).unwrap();
    let is_there = |(_, row): &(&Vec<u8>, &Vec<u8>)| value(row, 4) == Value::String("Ulm".into());
    let expected = rows.iter().filter(is_there).map(|(key, _)| key.clone());
    assert!(found.into_iter().eq(expected), "index by-town");
}

fn event(n: i64) -> (Vec<u8>, Vec<u8>) {
    let town = ["Ulm", "Bonn", "Mainz"][n as usize % 3];
    let some = |value| if n % 11 == 5 { Value::Null } else { value };
    let row = [
        Value::Timestamp(1_700_000_000_000_000 + n * 60_000_000),
        Value::Int64(n * n % 97),
        some(Value::Bool(n % 2 == 0)),
        some(Value::Float64(n as f64 / 100.0)),
        some(Value::String(town.to_owned())),
        some(Value::Bytes(value(n as u32, n as usize % 40))),
        some(Value::Vector(vec![n as f32, 0.5, -1.0])),
    ];
    let schema = events();
    let key = schema.encode_key(&row).expect("fits the schema");
    (key, schema.encode_row(&row).expect("fits the schema"))
}

fn schema() -> Schema {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("name", ColumnType::String, false),
        column("age", ColumnType::Float64, true),
    ];
    Schema::new(columns, &["id"]).expect("a good schema")
}

fn typed(id: i64, name: &str, age: Option<f64>) -> (Vec<u8>, Vec<u8>) {
    let age = age.map_or(Value::Null, Value::Float64);
    let row = [Value::Int64(id), Value::String(name.into()), age];
    let schema = schema();
    let key = schema.encode_key(&row).expect("fits the schema");
    (key, schema.encode_row(&row).expect("fits the schema"))
}

fn open(path: &Path) -> KernelResult<Database> {
    let options = Options { wal_segment_bytes: 16 << 10, wal_archive: true, ..Options::default() };
    Database::builder().options(options).background(false).open(path)
}

/// Makes the fixture of this version in `path`, and leaves it as a killed process would.
fn make(path: &Path) -> KernelResult<()> {
    let db = open(path)?;
    let contents = contents();
    let with = |storage: Option<&str>, codec: Option<&str>, schema| TableOptions {
        storage: storage.map(str::to_owned),
        codec: codec.map(str::to_owned),
        schema,
        ..TableOptions::default()
    };
    db.create_table("plain", with(None, Some("lz4"), None))?;
    db.create_table("columns", with(Some("lscs"), Some("lz4"), None))?;
    db.create_table("events", with(Some("lscs"), Some("zstd"), Some(events())))?;
    db.create_table("typed", with(None, None, Some(schema())))?;
    let put = |table: &'static str, keep: &dyn Fn(usize) -> bool| {
        db.run(|tx| {
            let mut rows = contents[table].iter().enumerate().filter(|(index, _)| keep(*index));
            rows.try_for_each(|(_, (key, value))| tx.put(table, key, value))
        })
    };
    db.run(|tx| {
        (0..300).try_for_each(|n| tx.put("plain", format!("key-{n:05}").as_bytes(), &value(n, 30)))
    })?;
    put("columns", &|index| index < 400)?;
    put("typed", &|_| true)?;
    put("events", &|index| index < 450)?;
    for (name, column, settings) in INDEXES {
        let set = |options: IndexOptions, (name, value): &(&str, &str)| options.set(name, value);
        let options = settings.iter().fold(IndexOptions::default(), set);
        db.create_index("events", name, column, &options, &mut |_| {})?;
    }
    while db.checkpoint()?.unsettled {}
    put("events", &|index| 450 <= index)?;
    put("columns", &|index| 400 <= index)?;
    db.run(|tx| tx.put("plain", b"large", &contents["plain"][b"large".as_slice()]))?;
    db.run(|tx| {
        (0..300)
            .filter(|n| n % 10 == 7)
            .try_for_each(|n| tx.delete("plain", format!("key-{n:05}").as_bytes()))
    })?;
    db.checkpoint()?;
    let rows = contents["loaded"].iter().map(|(key, value)| Ok((key.clone(), value.clone())));
    db.bulk_load("loaded", TableOptions::default(), rows)?;
    put("plain", &|_| true)?;
    // No close: the last commits shall stay in the log.
    std::mem::forget(db);
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

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
fn every_released_versions_files_open_and_hold_what_was_written() {
    let is_database = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with('v')) && !path.is_file()
    };
    if let Some(path) =
        std::env::var_os("SOCHDB_MAKE_FIXTURE").filter(|path| is_database(path.as_ref()))
    {
        make(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        if !is_database(&entry.path()) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        copy(&entry.path(), dir.path());
        for round in ["as it was left", "after a checkpoint"] {
            let db = open(dir.path()).unwrap();
            assert_eq!(db.check().unwrap().problems.len(), 0, "{entry:?} {round}");
            let tx = db.begin_read().unwrap();
            for (table, expected) in contents() {
                let rows = tx.scan(table, ..).unwrap();
                let rows: Rows =
                    rows.map(|row| row.map(|(k, v)| (k, v.to_vec())).unwrap()).collect();
                assert!(rows == expected, "{entry:?}, table {table}, {round}");
            }
            check_indexes(&tx);
            assert_eq!(tx.table("typed").unwrap().options.schema, Some(schema()));
            assert_eq!(tx.table("loaded").unwrap().rows_loaded, 200);
            let commits =
                db.changes(Timestamp(0)).unwrap().map(|change| change.unwrap().timestamp.0);
            assert!(commits.eq(1..=tx.snapshot().unwrap().0), "the archive tells of every commit");
            drop(tx);
            db.close().unwrap();
        }
        count += 1;
    }
    assert!(0 < count, "there are fixtures");
}

#[test]
fn files_of_a_later_version_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    copy(&folder().join("v0.1"), dir.path());
    let data = dir.path().join("data.soch");
    let mut bytes = std::fs::read(&data).unwrap();
    for page in [0, 4096] {
        bytes[page + 8] = 9;
        let crc = crc32c::crc32c(&bytes[page..page + 4092]);
        bytes[page + 4092..page + 4096].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&data, &bytes).unwrap();
    let error = Kernel::open(Environment::disk(dir.path()), Options::default()).unwrap_err();
    assert!(error.to_string().contains("format 9 is newer than this program's 1"), "{error}");

    copy(&folder().join("v0.1"), dir.path());
    let log = std::fs::read_dir(dir.path().join("wal")).unwrap().map(|entry| entry.unwrap().path());
    for path in log {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
    }
    let error = Kernel::open(Environment::disk(dir.path()), Options::default()).unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}
