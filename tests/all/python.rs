//! Plugins in Python: the tests of their SDK, and the examples, built by componentize-py and run by the command.
//!
//! What needs the builder gets it from PyPI, into a virtual environment that stays in Cargo's folder for the next
//! run. Where there is no Python or PyPI cannot be reached, the tests say so, past the harness, and pass.
//! `SOCHDB_PYTHON=require` makes that a failure, `SOCHDB_PYTHON=skip` leaves them out without asking.

use crate::program::Workplace;
use expect_test::expect_file;
use serde_json::{Value as Json, json};
use sochdb::{Column, ColumnType, Schema, Value};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::{env, fs, io};

/// The oldest Python that the SDK works in.
const PYTHON_MIN: &str = "import sys; sys.exit(sys.version_info < (3, 11))";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says past the test harness, which shows what is printed only of tests that fail, why a test is left out.
fn left_out(why: &str) {
    assert_ne!(env::var("SOCHDB_PYTHON").as_deref(), Ok("require"), "{why}");
    let _ = writeln!(io::stderr(), "\n*** A TEST OF PYTHON PLUGINS WAS LEFT OUT: {why} ***\n");
}

fn run(command: &mut Command) -> io::Result<Output> {
    command.current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", root().join("sdk-python")).output()
}

#[track_caller]
fn must(command: &mut Command) {
    let ended = run(command).expect("it starts");
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{command:?}\n{}", said.concat());
}

/// A Python that can run the SDK's tests.
fn python() -> Result<PathBuf, String> {
    if env::var("SOCHDB_PYTHON").as_deref() == Ok("skip") {
        return Err("SOCHDB_PYTHON=skip".to_owned());
    }
    let python = PathBuf::from(env::var_os("PYTHON").unwrap_or("python3".into()));
    match run(Command::new(&python).args(["-c", PYTHON_MIN])) {
        Ok(ended) if ended.status.success() => Ok(python),
        Ok(_) => Err(format!("{} is older than Python 3.11", python.display())),
        Err(error) => Err(format!("{} does not start: {error}", python.display())),
    }
}

/// A Python with componentize-py, made once for all tests.
fn builder() -> Result<&'static Path, &'static str> {
    static BUILDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = || {
        let python = python()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(COMPONENTIZE_PY);
        let inside = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let has_it = |python: &Path| {
            let asked = run(Command::new(python).args(["-c", "import componentize_py"]));
            asked.is_ok_and(|ended| ended.status.success())
        };
        if has_it(&inside) {
            return Ok(inside);
        }
        let step = |program: &Path, args: &[&str]| match run(Command::new(program).args(args)) {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => {
                Err(format!("{args:?}: {}", String::from_utf8_lossy(&ended.stderr).trim()))
            }
            Err(error) => Err(format!("{}: {error}", program.display())),
        };
        step(&python, &["-m", "venv", "--clear", &folder.to_string_lossy()])?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY];
        step(&inside, &pip)?;
        Ok(inside)
    };
    BUILDER.get_or_init(made).as_deref().map_err(String::as_str)
}

/// Builds an example and puts it with its manifest into a new directory.
fn built(builder: &Path, kind: &str, name: &str) -> Workplace {
    let work = Workplace::new();
    let folder = root().join("examples/python").join(name);
    let module = folder.join(name).with_extension("py");
    let out = work.path(name).with_extension("wasm");
    let args = ["-m", "sochdb_guest", "build", kind];
    must(Command::new(builder).args(args).arg(module).arg("--out").arg(&out));
    work.file("manifest.toml", fs::read(folder.join("manifest.toml")).expect("readable"));
    work
}

fn parse(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn rows(work: &Workplace, table: &str) -> Vec<Json> {
    work.ok(&["scan", table, "--json"]).lines().map(parse).collect()
}

#[track_caller]
fn fails(work: &Workplace, args: &[&str], words: &[&str]) {
    let ended = work.run(args);
    assert_eq!(ended.code, 6, "sochdb {args:?}\n{}{}", ended.out, ended.err);
    for word in words {
        assert!(ended.err.contains(word), "sochdb {args:?} says no '{word}':\n{}", ended.err);
    }
}

fn create(work: &Workplace, table: &str, columns: &[&str], key: &[&str]) {
    let columns = columns.iter().flat_map(|column| ["--column", *column]);
    let key = key.iter().flat_map(|column| ["--key", *column]);
    work.ok(&["table", "create", table].into_iter().chain(columns).chain(key).collect::<Vec<_>>());
}

fn people(work: &Workplace) {
    let columns = ["id:int64", "name:string", "email:string?", "age:int64?", "role:string?"];
    create(work, "people", &columns, &["id"]);
}

#[test]
fn the_sdk_and_the_examples_pass_their_own_tests() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return left_out(&why),
    };
    // With the builder, if there is one, the contract's shapes are compared too.
    let python = builder().map_or(python, Path::to_owned);
    for folder in ["sdk-python/tests", "examples/python/triggers", "examples/python/reports"] {
        must(Command::new(&python).args(["-m", "unittest", "discover", "-s", folder]));
    }
}

#[test]
fn triggers_in_python_decide_about_rows() {
    let builder = match builder() {
        Ok(builder) => builder,
        Err(why) => return left_out(why),
    };
    let work = built(builder, "hooks", "triggers");
    assert!(work.ok(&["plugin", "install", "manifest.toml"]).starts_with("installed 'triggers'"));
    people(&work);
    let columns = ["id:int64", "seq:int64", "what:string", "columns:string"];
    create(&work, "people_changes", &columns, &["id", "seq"]);

    // Continue, with another row.
    work.ok(&[
        "put",
        "people",
        "id=1",
        "name= Ada  Lovelace ",
        "email=ADA@example.org",
        "role=owner",
    ]);
    let ada = json!({"id": 1, "name": "Ada Lovelace", "email": "ada@example.org", "age": null, "role": "owner"});
    assert_eq!(rows(&work, "people"), [ada]);
    // Abort, with the plugin's words.
    fails(
        &work,
        &["put", "people", "id=2", "name=Tim", "age=8"],
        &["Tim is younger than 16", "'triggers'"],
    );
    fails(&work, &["delete", "people", "1"], &["an owner is not removed"]);
    // Skip: an update that changes nothing is not recorded.
    work.ok(&[
        "put",
        "people",
        r#"{"id": 1, "name": "Ada   Lovelace", "email": "ada@example.org", "role": "owner"}"#,
    ]);
    work.ok(&["put", "people", "id=1", "name=Ada Lovelace", "email=ada@example.org", "role=user"]);
    work.ok(&["delete", "people", "1"]);
    let told: Vec<_> = rows(&work, "people_changes")
        .iter()
        .map(|row| format!("{} {} {}", row["seq"], row["what"], row["columns"]))
        .collect();
    let expected = [
        r#"1 "insert" "id, name, email, role""#,
        r#"2 "update" "role""#,
        r#"3 "delete" "id, name, email, role""#,
    ];
    assert_eq!(told, expected);
    // Batch: many rows, decided one by one, or all at once.
    let lines = |count: usize| -> String {
        (0..count).map(|id| format!("{{\"id\": {id}, \"name\": \"  n {id}\"}}\n")).collect()
    };
    work.file("few.jsonl", lines(900));
    work.ok(&["import", "few.jsonl", "--table", "people"]);
    let all = rows(&work, "people");
    assert_eq!((all.len(), &all[899]["name"]), (900, &json!("n 899")));
    assert_eq!(rows(&work, "people_changes").len(), 903);
}

#[test]
fn a_mistake_in_python_names_its_place() {
    let builder = match builder() {
        Ok(builder) => builder,
        Err(why) => return left_out(why),
    };
    let work = built(builder, "hooks", "triggers");
    work.ok(&["plugin", "install", "manifest.toml"]);
    // A table that the author did not think of.
    create(&work, "people", &["id:int64", "name:string"], &["id"]);
    fails(
        &work,
        &["put", "people", "id=1", "name=Ada"],
        &["KeyError: 'email'", "triggers.py, line", "in tidy"],
    );
    assert_eq!(rows(&work, "people"), [Json::Null; 0]);
    work.file("poor.toml", "[plugin.triggers.limits]\nmemory_limit_mb = 8\n");
    fails(
        &work,
        &["--policy", "poor.toml", "put", "people", "id=1", "name=Ada"],
        &["memory_limit_mb"],
    );
}

#[test]
fn procedures_in_python_work_with_rows() {
    let builder = match builder() {
        Ok(builder) => builder,
        Err(why) => return left_out(why),
    };
    let work = built(builder, "procedure", "reports");
    work.ok(&["plugin", "install", "manifest.toml"]);
    people(&work);
    let lines: String = [("Ada", 36), ("Alan", 41), (" ADA", 36), ("Grace", 85)]
        .iter()
        .enumerate()
        .map(|(id, (name, age))| {
            format!("{{\"id\": {id}, \"name\": \"{name}\", \"age\": {age}}}\n")
        })
        .collect();
    work.file("people.jsonl", lines);
    work.ok(&["import", "people.jsonl", "--table", "people"]);

    let listed = parse(&work.ok(&["call", "--json"]));
    let names: Vec<_> =
        listed["procedures"].as_array().expect("a list").iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["duplicates", "summary"]);
    let summary = parse(&work.ok(&["call", "summary", r#"{"table": "people", "column": "age"}"#]));
    assert_eq!(
        summary,
        json!({"count": 4, "least": 36, "greatest": 85, "mean": 49.5, "median": 38.5, "deviation": 20.59733})
    );
    let duplicates = r#"{"table": "people", "column": "name", "delete": true}"#;
    let told = parse(&work.ok(&["call", "reports.duplicates", duplicates]));
    assert_eq!(told, json!({"duplicates": [{"key": [2], "same_as": [0]}], "deleted": 1}));
    assert_eq!(rows(&work, "people").len(), 3);
    fails(&work, &["call", "summary", r#"{"table": "people"}"#], &["the argument lacks 'column'"]);
    fails(&work, &["call", "summary", r#"{"table": "nobody", "column": "x"}"#], &["nobody"]);
    work.file("poor.toml", "[plugin.reports.limits]\nfuel_limit = 1_000_000\n");
    let args =
        ["--policy", "poor.toml", "call", "summary", r#"{"table": "people", "column": "age"}"#];
    fails(&work, &args, &["fuel_limit"]);
}

#[test]
fn the_bytes_and_json_of_rows_that_the_python_sdk_is_tested_with_are_the_databases() {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    let all = vec![
        column("id", ColumnType::Int64, false),
        column("yes", ColumnType::Bool, true),
        column("size", ColumnType::Float64, true),
        column("name", ColumnType::String, true),
        column("raw", ColumnType::Bytes, true),
        column("seen", ColumnType::Timestamp, true),
        column("face", ColumnType::Vector(3), true),
        column("count", ColumnType::Int64, true),
    ];
    let nulls = || vec![Value::Null; 7];
    let mut cases = Vec::new();
    let by_id = Schema::new(all, &["id"]).expect("a schema");
    for id in [0, 1, -1, i64::MIN, i64::MAX] {
        cases.push((&by_id, [vec![Value::Int64(id)], nulls()].concat()));
    }
    for (at, value) in [
        (1, Value::Bool(false)),
        (1, Value::Bool(true)),
        (2, Value::Float64(-0.1)),
        (2, Value::Float64(f64::NAN)),
        (2, Value::Float64(f64::NEG_INFINITY)),
        (3, Value::String(String::new())),
        (3, Value::String("Zoë\0\u{1f600}".into())),
        (4, Value::Bytes(vec![0, 255, 0])),
        (5, Value::Timestamp(1_700_000_000_123_456)),
        (5, Value::Timestamp(-1_500_000)),
        (6, Value::Vector(vec![0.1, -1e-30, 3.0])),
        (7, Value::Int64(-7)),
    ] {
        let mut row = [vec![Value::Int64(7)], nulls()].concat();
        row[at] = value;
        cases.push((&by_id, row));
    }
    let key = vec![
        column("town", ColumnType::String, false),
        column("raw", ColumnType::Bytes, false),
        column("at", ColumnType::Timestamp, false),
        column("size", ColumnType::Float64, false),
        column("yes", ColumnType::Bool, false),
        column("note", ColumnType::String, false),
    ];
    let by_all = Schema::new(key, &["raw", "town", "size", "at", "yes"]).expect("a schema");
    for size in [-2.5, 0.0, 1e300] {
        let town = Value::String("U\0lm".into());
        let (raw, at) = (Value::Bytes(vec![0, 1, 0, 0]), Value::Timestamp(-1));
        let note = Value::String("a note".into());
        cases.push((&by_all, vec![town, raw, at, Value::Float64(size), Value::Bool(true), note]));
    }
    let work = Workplace::new();
    let lines: String =
        cases.iter().map(|(schema, row)| format!("{}\n", case(&work, schema, row))).collect();
    expect_file![root().join("sdk-python/tests/rows.jsonl")].assert_eq(&lines);
}

/// A row as the database and its command have it.
fn case(work: &Workplace, schema: &Schema, row: &[Value]) -> Json {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let optional = |column: &Column| if column.nullable { "?" } else { "" };
    let columns: Vec<_> = schema
        .columns
        .iter()
        .map(|column| format!("{}:{}{}", column.name, column.kind, optional(column)))
        .collect();
    let key: Vec<_> = schema.key.iter().map(|at| schema.columns[*at].name.clone()).collect();
    json!({
        "columns": columns,
        "key": key,
        "key_hex": hex(schema.encode_key(row).expect("a row")),
        "value_hex": hex(schema.encode_row(row).expect("a row")),
        "row": shown(work, schema, row),
    })
}

/// The row as the command shows it.
fn shown(work: &Workplace, schema: &Schema, row: &[Value]) -> Json {
    let db = sochdb::Database::open(work.db()).expect("it opens");
    let options = sochdb::TableOptions { schema: Some(schema.clone()), ..Default::default() };
    db.create_table("shown", options).expect("made");
    let (key, value) =
        (schema.encode_key(row).expect("a row"), schema.encode_row(row).expect("a row"));
    db.run(|tx| tx.put("shown", &key, &value)).expect("written");
    db.close().expect("closed");
    let json = rows(work, "shown").remove(0);
    work.ok(&["table", "drop", "shown"]);
    json
}
