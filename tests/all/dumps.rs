//! Dumps, as text and as binary: what is loaded is what was dumped, and a dump that is damaged leaves nothing.

use crate::program::Workplace;
use serde_json::{Value, json};
use std::path::Path;

const ROWS: &str = r#"{"id":-7,"yes":true,"half":-0.0,"name":"Ä \"b\"\n","raw":"00ff","at":"2024-02-29T12:00:00.000001Z","v":[0.1,-1e-30,3.0]}
{"id":0,"yes":null,"half":null,"name":null,"raw":null,"at":"2024-01-01T00:00:00Z","v":null}
{"id":9,"yes":false,"half":"NaN","name":"","raw":"","at":"1969-12-31T23:59:59.999999Z","v":[0.0,0.0,0.0]}
"#;

/// A database with tables of every kind.
fn filled() -> Workplace {
    let work = Workplace::new();
    let columns = [
        "id:int64",
        "yes:bool?",
        "half:float64?",
        "name:string?",
        "raw:bytes?",
        "at:timestamp",
        "v:vector(3)?",
    ];
    let columns = columns.iter().flat_map(|column| ["--column", column]);
    let create = [
        "table",
        "create",
        "typed",
        "--key",
        "id",
        "--storage",
        "lscs",
        "--codec",
        "lz4",
        "--set",
        "ttl_column=at",
        "--set",
        "ttl=36500d",
    ];
    work.ok(&create.into_iter().chain(columns).collect::<Vec<_>>());
    work.file("rows.jsonl", ROWS);
    work.ok(&["import", "rows.jsonl", "--table", "typed"]);
    work.ok(&[
        "index",
        "create",
        "typed",
        "v",
        "--name",
        "near",
        "--metric",
        "euclidean",
        "--set",
        "m=8",
    ]);
    work.ok(&["index", "create", "typed", "name"]);
    work.ok(&["table", "create", "plain"]);
    work.ok(&["put", "plain", "--hex", "00ff", "80"]);
    work.ok(&["put", "plain", "key", "a text"]);
    work.ok(&["table", "create", "empty", "--codec", "zstd"]);
    work
}

/// All there is to see of a database, in text.
fn seen(work: &Workplace, db: &str) -> (Value, String, Value) {
    let json = |args: &[&str]| -> Value {
        let args = [&["--db", db], args, &["--json"]].concat();
        serde_json::from_str(&work.ok(&args)).unwrap()
    };
    let mut tables = json(&["table", "list"]);
    for table in tables["tables"].as_array_mut().unwrap() {
        table.as_object_mut().unwrap().remove("id");
    }
    let mut rows = String::new();
    for table in tables["tables"].as_array().unwrap() {
        rows += &work.ok(&["--db", db, "scan", table["name"].as_str().unwrap(), "--json"]);
    }
    let mut indexes = json(&["index", "list"]);
    for index in indexes["indexes"].as_array_mut().unwrap() {
        index.as_object_mut().unwrap().remove("state");
    }
    (tables, rows, indexes)
}

#[test]
fn what_is_loaded_is_what_was_dumped() {
    let work = filled();
    let original = seen(&work, "db");
    assert_eq!(original.0["tables"].as_array().unwrap().len(), 3);
    for (file, args) in [("all.jsonl", &[][..]), ("all.sochdump", &[]), ("b.dump", &["--binary"])] {
        let said = work.ok(&[&["dump", "-o", file], args].concat());
        assert!(said.starts_with(&format!("3 tables with 5 rows into {file}, ")), "{said}");
        let db = format!("{file}.db");
        let said = work.ok(&["--db", &db, "load", file]);
        assert!(said.starts_with("3 tables with 5 rows and 2 indexes in "), "{said}");
        assert!(seen(&work, &db) == original, "{file}");
        work.ok(&["--db", &db, "check"]);
        let found = ["search", "typed", "--vector", "[0,0,1]", "--columns", "id", "--json"];
        assert_eq!(work.ok(&[&["--db", &db], &found[..]].concat()), work.ok(&found));
        work.refused(&["dump", "-o", file], 2, &["exists"]);
    }
    // Text of a dump that was loaded is the text of the dump.
    let text = work.ok(&["dump"]);
    assert_eq!(text, std::fs::read_to_string(work.path("all.jsonl")).unwrap());
    assert_eq!(work.ok(&["--db", "all.sochdump.db", "dump"]), text);
    let ended = work.run_with(&["--db", "piped", "load", "-"], text.as_bytes());
    assert_eq!((ended.code, seen(&work, "piped") == original), (0, true), "{}", ended.err);
}

#[test]
fn rows_that_json_would_alter_are_kept_byte_for_byte() {
    use sochdb::{Column, ColumnType, Database, Schema, TableOptions, Value};
    let work = Workplace::new();
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![
        column("id", ColumnType::Int64),
        column("v", ColumnType::Vector(2)),
        column("f", ColumnType::Float64),
    ];
    let schema = Schema::new(columns, &["id"]).unwrap();
    let options = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
    let odd = f64::from_bits(f64::NAN.to_bits() | 5);
    let rows = [
        [Value::Int64(1), Value::Vector(vec![f32::NAN, f32::INFINITY]), Value::Float64(1.5)],
        [Value::Int64(2), Value::Vector(vec![-0.0, f32::MIN_POSITIVE]), Value::Float64(odd)],
        [Value::Int64(3), Value::Vector(vec![1.0, 0.1]), Value::Float64(f64::NEG_INFINITY)],
    ];
    let bytes =
        |row: &[Value; 3]| (schema.encode_key(row).unwrap(), schema.encode_row(row).unwrap());
    let db = Database::builder().bundled_plugins(false).open(work.db()).unwrap();
    db.create_table("t", options).unwrap();
    db.run(|tx| rows.iter().map(bytes).try_for_each(|(key, value)| tx.put("t", &key, &value)))
        .unwrap();
    db.close().unwrap();
    let text = work.ok(&["dump"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"hex\":")).count(), 2, "{text}");
    work.file("t.jsonl", &text);
    work.ok(&["--db", "new", "load", "t.jsonl"]);
    let db = Database::builder().bundled_plugins(false).open(work.path("new")).unwrap();
    let found = db.begin_read().unwrap().scan("t", ..).unwrap();
    let found: Vec<_> =
        found.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect();
    assert_eq!(found, rows.iter().map(bytes).collect::<Vec<_>>());
    db.close().unwrap();
}

#[test]
fn tables_that_are_there_are_replaced_only_when_told() {
    let work = filled();
    let original = seen(&work, "db");
    work.ok(&["dump", "-o", "all.sochdump"]);
    work.ok(&["put", "plain", "key", "another text"]);
    work.ok(&["put", "plain", "more", "x"]);
    work.refused(&["load", "all.sochdump"], 2, &["is there", "--replace", "nothing was loaded"]);
    work.refused(&["load", "all.sochdump", "nobody"], 3, &["the dump has no table 'nobody'"]);
    work.refused(&["dump", "nobody"], 3, &["nobody"]);
    work.refused(&["dump", "sochdb.x"], 2, &["a table of the database itself"]);
    let said = work.ok(&["load", "all.sochdump", "plain", "--replace", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["tables"], json!([{ "table": "plain", "rows": 2 }]));
    assert!(seen(&work, "db") == original);
    work.ok(&["load", "all.sochdump", "--replace"]);
    assert!(seen(&work, "db") == original);
    work.ok(&["check"]);
    let two = work.ok(&["dump", "empty", "plain"]);
    assert_eq!(two.lines().last(), Some("{\"end\":{\"tables\":2}}"));
}

/// Loads a damaged dump, which must be refused, into a database that has something, and looks that nothing changed.
fn damaged(work: &Workplace, bytes: &[u8], what: &str) {
    work.file("wrong", bytes);
    let ended = work.run(&["--db", "kept", "load", "wrong"]);
    assert_eq!(ended.code, 5, "{what}: {}", ended.err);
    assert!(ended.err.starts_with("error: ") && ended.err.contains("help: "), "{}", ended.err);
    assert!(ended.err.contains("wrong"), "{}", ended.err);
    let all: Value =
        serde_json::from_str(&work.ok(&["--db", "kept", "table", "list", "--all", "--json"]))
            .unwrap();
    let names: Vec<_> =
        all["tables"].as_array().unwrap().iter().map(|t| t["name"].clone()).collect();
    assert_eq!(names, ["mine"], "{what}");
}

#[test]
fn a_dump_that_is_cut_or_altered_leaves_nothing() {
    let work = filled();
    work.ok(&["--db", "kept", "table", "create", "mine"]);
    work.ok(&["dump", "-o", "all.sochdump"]);
    work.ok(&["dump", "-o", "all.jsonl"]);
    let whole = std::fs::read(work.path("all.sochdump")).unwrap();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        damaged(&work, &whole[..length], &format!("{length} bytes"));
    }
    for at in (0..whole.len()).step_by(131) {
        let mut wrong = whole.clone();
        wrong[at] ^= 16;
        damaged(&work, &wrong, &format!("byte {at}"));
    }
    let text = std::fs::read_to_string(work.path("all.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for count in 0..lines.len() {
        damaged(&work, (lines[..count].join("\n") + "\n").as_bytes(), &format!("{count} lines"));
    }
    for (from, to) in [
        ("{\"sochdb_dump\":{\"version\":1", "{\"sochdb_dump\":{\"version\":2"),
        ("\"rows\":3", "\"rows\":4"),
        ("\"tables\":3", "\"tables\":2"),
        ("int64", "int65"),
        ("{\"row\":{\"id\":0", "{\"row\":{\"id\":-9"),
        ("{\"row\":{\"id\":0", "{\"row\":{\"no\":0"),
        ("{\"end\"", "{\"row\":{}}\n{\"end\""),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from}");
        damaged(&work, wrong.as_bytes(), to);
    }
    damaged(&work, format!("{text}{{\"end\":{{\"tables\":3}}}}\n").as_bytes(), "more");
    // Where there was no database, there is none.
    work.file("wrong", &whole[..30]);
    work.refused(&["--db", "none", "load", "wrong"], 5, &["wrong", "at byte"]);
}

#[test]
fn a_dump_that_breaks_later_leaves_no_database_where_there_was_none() {
    let work = filled();
    work.ok(&["dump", "-o", "all.sochdump"]);
    work.ok(&["dump", "-o", "all.jsonl"]);
    let binary = std::fs::read(work.path("all.sochdump")).unwrap();
    let text = std::fs::read_to_string(work.path("all.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    std::fs::create_dir(work.path("empty")).unwrap();
    for wrong in [&binary[..binary.len() - 1], (lines[..4].join("\n") + "\n").as_bytes()] {
        work.file("wrong", wrong);
        for db in ["none", "around/none", "empty"] {
            // That nothing on disk has changed is what `refused` looks for.
            work.refused(&["--db", db, "load", "wrong"], 5, &["wrong"]);
        }
        work.refused(&["--db", "none", "load", "all.jsonl", "nobody"], 3, &["nobody"]);
    }
    // A folder of somebody else's stays, as does a database that was there.
    work.file("plugins/kept.txt", "kept");
    work.file("empty/plugins/note.txt", "kept");
    work.refused(&["--db", "empty", "load", "wrong"], 5, &["wrong"]);
    std::fs::remove_dir_all(work.path("empty/plugins")).unwrap();
    work.ok(&["--db", "empty", "table", "create", "mine"]);
    assert_eq!(work.run(&["--db", "empty", "load", "wrong"]).code, 5);
    assert!(work.ok(&["--db", "empty", "table", "list"]).contains("mine"));
    work.ok(&["--db", "none", "load", "all.sochdump"]);
    assert!(seen(&work, "none") == seen(&work, "db"));
}

/// A dump of each version stays readable for ever. `SOCHDB_MAKE_DUMPS=1` writes those of this one.
#[test]
fn dumps_of_released_versions_are_loaded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dumps/v1");
    let work = filled();
    if std::env::var_os("SOCHDB_MAKE_DUMPS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["all.jsonl", "all.sochdump"] {
            work.ok(&["dump", "-o", file]);
            std::fs::copy(work.path(file), folder.join(file)).unwrap();
        }
    }
    for file in ["all.jsonl", "all.sochdump"] {
        let path = folder.join(file);
        let db = format!("{file}.db");
        work.ok(&["--db", &db, "load", path.to_str().unwrap()]);
        assert!(seen(&work, &db) == seen(&work, "db"), "{file}");
    }
}
