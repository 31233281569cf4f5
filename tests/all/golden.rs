//! Plugins that were built long ago keep running: for each version of the contract there are components in
//! `tests/fixtures/guests/VERSION/`, with manifests of their time, that do what they did when they were built.
//!
//! They are the guests of `test-guests/` as they were then, one of each kind: `guard` (hooks), `identity` (a codec),
//! `ledger` (procedures), `moody` (an observer), `nearest` (an index) and `shelf` (a storage engine). While a version
//! is a draft its guests may be made again:
//! `SOCHDB_MAKE_FIXTURE=tests/fixtures/guests/VERSION cargo test --test all golden`. Once it is released they
//! never change.

use crate::contract::{FROZEN, folder_of};
use sochdb::plugin::TelemetryBatch;
use sochdb::{
    Column, ColumnType, Database, IndexOptions, KernelError, KernelResult, KeyRange, MetricValue,
    Schema, TableOptions, Value,
};
use sochdb_test_guests::{GUARD, IDENTITY, LEDGER, MOODY, NEAREST, SHELF};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::{env, fs};

const GUARD_MORE: &str = r#"
[capabilities]
can_read_table = ["guarded"]
can_write_table = ["guarded", "audit"]

[hooks]
tables = ["guarded"]
before = ["insert", "update", "delete"]
after = ["insert", "update", "delete"]
"#;

const LEDGER_MORE: &str = r#"
[capabilities]
can_read_table = ["accounts", "people"]
can_write_table = ["accounts"]
can_call_plugin = ["ledger"]
codecs = ["identity"]
"#;

const MOODY_MORE: &str = r#"
[resources]
max_instances = 1

[config_schema]
mood = { type = "text", default = "good" }
address = { type = "text", default = "" }
"#;

const SHELF_MORE: &str = r#"
[config_schema]
mood = { type = "text", default = "good" }
version = { type = "integer", default = 1 }
after = { type = "integer", default = 0 }
spin = { type = "integer", default = 0 }
"#;

/// Where the guests of all versions lie.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/guests")
}

/// Makes the guests of a version, unless `contract`, the version's folder, says that it is released.
fn make(guests: &Path, contract: &Path) -> Result<(), String> {
    if contract.join(FROZEN).exists() {
        return Err(format!(
            "{} is released; its guests were built for it and never change",
            contract.display()
        ));
    }
    let write = |name: &str, bytes: &[u8]| {
        fs::write(guests.join(name), bytes).map_err(|error| format!("{name}: {error}"))
    };
    fs::create_dir_all(guests).map_err(|error| error.to_string())?;
    for (name, kind, component, more) in [
        ("guard", "hooks", GUARD, GUARD_MORE),
        ("identity", "codec", IDENTITY, ""),
        ("ledger", "procedure", LEDGER, LEDGER_MORE),
        ("moody", "observer", MOODY, MOODY_MORE),
        ("nearest", "index", NEAREST, ""),
        ("shelf", "storage", SHELF, SHELF_MORE),
    ] {
        let module = format!("path = \"{name}.wasm\"\n");
        let pinned = format!("{module}blake3 = \"{}\"\n", blake3::hash(component));
        let manifest = sochdb_test_guests::manifest(name, kind, more).replace(&module, &pinned);
        write(&format!("{name}.wasm"), component)?;
        write(&format!("{name}.toml"), manifest.as_bytes())?;
    }
    Ok(())
}

/// What went wrong in a run of a version's guests.
#[derive(Debug)]
struct Wrong(String);

impl From<KernelError> for Wrong {
    fn from(error: KernelError) -> Wrong {
        Wrong(error.to_string())
    }
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), Wrong> {
    match found == expected {
        true => Ok(()),
        false => Err(Wrong(format!("{what} gave {found:?}, not {expected:?}"))),
    }
}

fn expect_error<T: Debug>(result: KernelResult<T>, plugin: &str, words: &str) -> Result<(), Wrong> {
    match result {
        Err(KernelError::Plugin { plugin: whose, message, .. })
            if whose == plugin && message.contains(words) =>
        {
            Ok(())
        }
        other => Err(Wrong(format!("{other:?} is not the error of {plugin} with {words:?}"))),
    }
}

/// Runs the guests in a fresh database.
fn run(guests: &Path) -> Result<(), Wrong> {
    let dir = tempfile::tempdir().map_err(|error| Wrong(error.to_string()))?;
    let db = Database::builder().plugin_dir(guests).background(false).open(dir.path())?;
    for table in ["accounts", "guarded", "audit"] {
        db.create_table(table, TableOptions::default())?;
    }
    let schema = Some(people());
    db.create_table("people", TableOptions { schema, ..Default::default() })?;
    hooks(&db)?;
    codec(&db)?;
    procedures(&db)?;
    storage(&db)?;
    index(&db)?;
    observer(&db)?;
    Ok(db.close()?)
}

fn hooks(db: &Database) -> Result<(), Wrong> {
    db.run(|tx| {
        tx.put("guarded", b"plain", b"as it is")?;
        tx.put("guarded", b"replace/a", b"loud")?;
        tx.put("guarded", b"skip/a", b"never")?;
        tx.put("guarded", b"again/a", b"x")?;
        tx.put("guarded", b"audit/a", b"one")
    })?;
    let aborted = db.run(|tx| tx.put("guarded", b"abort/a", b"x"));
    expect_error(aborted, "guard", "guarded is not wanted")?;
    db.run(|tx| tx.delete("guarded", b"audit/a"))?;
    let get = |table: &str, key: &str| -> KernelResult<Option<String>> {
        let value = db.begin_read()?.get(table, key.as_bytes())?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    for (table, key, expected) in [
        ("guarded", "plain", Some("as it is")),
        ("guarded", "replace/a", Some("LOUD")),
        ("guarded", "skip/a", None),
        ("guarded", "abort/a", None),
        ("guarded", "again/a", Some("written by the hook")),
        ("guarded", "audit/a", None),
        ("audit", "audit/a", Some("Delete Some([111, 110, 101]) None")),
    ] {
        expect(key, get(table, key)?, expected.map(str::to_owned))?;
    }
    // The hook after a commit counts them, and the host takes the metric.
    let metrics = db.metrics();
    let counted = metrics.iter().find(|metric| metric.name == "guard_changes_total");
    expect("after", counted.map(|metric| metric.value.clone()), Some(MetricValue::Counter(4.0)))
}

fn codec(db: &Database) -> Result<(), Wrong> {
    let identity = db.plugins().compression("identity")?;
    let block: Vec<u8> = (0..100_000).map(|n: u32| (n % 251) as u8).collect();
    expect("compress", identity.compress(&block)?, block.clone())?;
    expect("decompress", identity.decompress(&block, block.len())?, block)
}

fn procedures(db: &Database) -> Result<(), Wrong> {
    db.run(|tx| {
        tx.put("accounts", b"ada", b"100")?;
        for (id, name, town) in [(1, "Ada", Some("London")), (2, "Kurt", None)] {
            let (key, value) = person(id, name, town);
            tx.put("people", &key, &value)?;
        }
        Ok(())
    })?;
    let transfer = r#"{"from": "ada", "to": "alan", "amount": 70}"#;
    expect("transfer", &*db.call("transfer", transfer)?, r#"{"left":30}"#)?;
    expect_error(db.call("transfer", transfer), "ledger", "would have -40")?;
    for (procedure, args, expected) in [
        ("empty", "{}", "null"),
        ("ping", r#"{"times": 3}"#, "3"),
        ("sum", "{}", r#"{"sum":100,"rows":2}"#),
        ("sum", r#"{"limit": 1}"#, r#"{"sum":30,"rows":1}"#),
        ("get", r#"{"table": "accounts", "key": "ada"}"#, "2"),
        ("towns", r#"{"town": "London"}"#, r#"[[1,"Ada"]]"#),
        (
            "codec",
            r#"{"codec": "identity", "text": "x"}"#,
            r#"{"raw":100,"stored":100,"same":true}"#,
        ),
        ("write-many", r#"{"table": "accounts", "rows": 2000}"#, "null"),
        ("sum-by-keys", r#"{"rows": 2000}"#, r#"{"sum":2000}"#),
        ("ledger.write", r#"{"table": "accounts", "key": "k", "value": "7"}"#, "null"),
    ] {
        expect(procedure, &*db.call(procedure, args)?, expected)?;
    }
    let write = r#"{"table": "accounts", "key": "k", "value": "8"}"#;
    expect_error(db.call("write-read-only", write), "ledger", "only reads")?;
    expect_error(db.call("get", r#"{"table": "audit", "key": "k"}"#), "ledger", "not granted")?;
    // A caller that copes with the host's answer: nobody calls itself.
    let itself = r#"{"plugin": "ledger", "procedure": "sum", "args": {}, "cope": true}"#;
    expect("call", db.call("call", itself)?.contains("ledger"), true)?;
    expect("call, then get", db.begin_read()?.get("accounts", b"k")?.as_deref(), Some(&b"7"[..]))
}

fn storage(db: &Database) -> Result<(), Wrong> {
    let storage = Some("shelf".to_owned());
    db.create_table("shelved", TableOptions { storage, ..TableOptions::default() })?;
    db.run(|tx| (0..500_u32).try_for_each(|n| tx.put("shelved", &n.to_be_bytes(), b"first")))?;
    db.checkpoint()?;
    db.run(|tx| {
        tx.put("shelved", &7_u32.to_be_bytes(), b"second")?;
        tx.delete("shelved", &8_u32.to_be_bytes())
    })?;
    db.checkpoint()?;
    let tx = db.begin_read()?;
    let get = |n: u32| tx.get("shelved", &n.to_be_bytes());
    expect("a row of the first segment", get(6)?.as_deref(), Some(&b"first"[..]))?;
    expect("a row of the second", get(7)?.as_deref(), Some(&b"second"[..]))?;
    expect("a row that was deleted", get(8)?, None)?;
    let rows = tx.scan("shelved", KeyRange::all())?.collect::<KernelResult<Vec<_>>>()?;
    expect("scan", rows.len(), 499)
}

fn index(db: &Database) -> Result<(), Wrong> {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("id", ColumnType::Int64), column("v", ColumnType::Vector(2))];
    let schema = Schema::new(columns, &["id"]).expect("a good schema");
    let options = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
    db.create_table("points", options)?;
    db.run(|tx| {
        (0..100_i64).try_for_each(|id| {
            let row = [Value::Int64(id), Value::Vector(vec![id as f32, 1.0])];
            let encoded = (schema.encode_key(&row), schema.encode_row(&row));
            tx.put("points", &encoded.0.expect("fits"), &encoded.1.expect("fits"))
        })
    })?;
    let options = IndexOptions::default().using("nearest").metric("euclidean");
    db.create_index("points", "near", "v", &options, &mut |_| {})?;
    db.checkpoint()?;
    let found = db.begin_read()?.search("points").near(&[41.2, 1.0]).k(3).run()?;
    let keys: Vec<_> = found.into_iter().map(|near| near.key).collect();
    let key = |id| schema.encode_key_values(&[Value::Int64(id)]).expect("fits");
    expect("search", keys, [41, 42, 40].map(key).to_vec())
}

fn observer(db: &Database) -> Result<(), Wrong> {
    let mut all = db.plugins().observers().into_iter();
    let moody = all.find(|observer| observer.info().name == "moody");
    let moody = moody.ok_or_else(|| Wrong("'moody' is no observer".to_owned()))?;
    moody.ingest(&TelemetryBatch::default())?;
    let page = moody.render("text/plain")?;
    expect("render", &*page.content_type, "text/plain; charset=utf-8")?;
    let batches = page.body.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    expect("ingest", batches.is_some_and(|batches| 0 < batches), true)
}

fn people() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("name", ColumnType::String, false),
        column("town", ColumnType::String, true),
    ];
    Schema::new(columns, &["id"]).expect("a good schema")
}

fn person(id: i64, name: &str, town: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let town = town.map_or(Value::Null, |town| Value::String(town.into()));
    let row = [Value::Int64(id), Value::String(name.into()), town];
    let schema = people();
    (schema.encode_key(&row).expect("fits"), schema.encode_row(&row).expect("fits"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of this repository").map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> =
        folders.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn guests_of_every_version_do_what_they_did() {
    if let Some(path) = env::var_os("SOCHDB_MAKE_FIXTURE").map(PathBuf::from)
        && let Ok(version) = path.strip_prefix("tests/fixtures/guests")
    {
        make(&folder().join(version), &folder_of(version.to_str().expect("UTF-8"))).unwrap();
    }
    let contract = folder().join("../../../wit");
    assert_eq!(names(&folder()), names(&contract), "each version has its guests");
    for version in names(&folder()) {
        let Err(Wrong(what)) = run(&folder().join(&version)) else { continue };
        let way_out = match folder_of(&version).join(FROZEN).exists() {
            true => "the version is released, so mend the host".to_owned(),
            false => format!(
                "the version is a draft; if it was meant to change, make its guests again: \
                 SOCHDB_MAKE_FIXTURE=tests/fixtures/guests/{version} cargo test --test all golden"
            ),
        };
        panic!("guests of the version {version}: {what}; {way_out}");
    }
}

#[test]
fn guests_of_a_released_version_are_never_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (guests, contract) = (dir.path().join("guests/0.1.0"), dir.path().join("wit/0.1.0"));
    fs::create_dir_all(&contract).unwrap();
    make(&guests, &contract).unwrap();
    run(&guests).unwrap();
    fs::write(contract.join(FROZEN), "").unwrap();
    assert!(make(&guests, &contract).unwrap_err().contains("never change"));
}

#[test]
fn a_guest_that_does_something_else_is_found() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &dir.path().join("wit")).unwrap();
    // Another component under the name, as its manifest pins it.
    let ledger = fs::read_to_string(dir.path().join("ledger.toml")).unwrap();
    fs::write(dir.path().join("ledger.wasm"), GUARD).unwrap();
    assert!(run(dir.path()).unwrap_err().0.contains("pins"));
    let (right, wrong) = (blake3::hash(LEDGER).to_string(), blake3::hash(GUARD).to_string());
    fs::write(dir.path().join("ledger.toml"), ledger.replace(&right, &wrong)).unwrap();
    assert!(run(dir.path()).unwrap_err().0.contains("exports"));
    // The right one, that may read less.
    fs::write(dir.path().join("ledger.wasm"), LEDGER).unwrap();
    fs::write(dir.path().join("ledger.toml"), ledger.replace("\"people\"", "\"nobody\"")).unwrap();
    assert!(run(dir.path()).unwrap_err().0.contains("was not granted"));
}
