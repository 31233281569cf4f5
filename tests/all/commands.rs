//! Every command as a user meets it: what goes in, what comes out, which exit code.

use crate::program::Workplace;
use expect_test::{Expect, expect};
use serde_json::Value;
use std::process::Stdio;

fn check(actual: &str, expect: Expect) {
    // Pads and rulers depend on the longest cell; the words are what is promised.
    expect.assert_eq(actual);
}

#[test]
fn an_untyped_table_keeps_bytes() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes"]);
    for (key, value) in [("b", "two"), ("a", "one"), ("a/1", "deep"), ("c", "")] {
        assert_eq!(work.ok(&["put", "notes", key, value]), "");
    }
    work.ok(&["put", "notes", "--hex", "00ff", "fffe"]);
    assert_eq!(work.ok(&["get", "notes", "a"]), "one\n");
    assert_eq!(work.ok(&["get", "notes", "a", "--raw"]), "one");
    assert_eq!(work.ok(&["get", "notes", "00ff", "--hex"]), "fffe\n");
    check(
        &work.ok(&["scan", "notes", "--json"]),
        expect![[r#"
            {"key_hex":"00ff","value_hex":"fffe"}
            {"key":"a","value":"one"}
            {"key":"a/1","value":"deep"}
            {"key":"b","value":"two"}
            {"key":"c","value":""}
        "#]],
    );
    check(
        &work.ok(&["scan", "notes", "--prefix", "a", "--json"]),
        expect![[r#"
            {"key":"a","value":"one"}
            {"key":"a/1","value":"deep"}
        "#]],
    );
    check(
        &work.ok(&["scan", "notes", "--from", "a", "--to", "c", "--reverse", "--limit", "2"]),
        expect![[r#"
             key   value
            ─────────────
             b     two
             a/1   deep
        "#]],
    );
    work.ok(&["delete", "notes", "b"]);
    let missing = work.refused(&["get", "notes", "b"], 3, &[]);
    assert_eq!(missing, "error: table 'notes' has no row with the key b\n");
    work.refused(&["delete", "notes", "b"], 3, &["no row with the key b"]);
    work.ok(&["table", "drop", "notes"]);
    work.refused(&["scan", "notes"], 3, &["no table named 'notes'", "help: "]);
}

#[test]
fn a_typed_table_keeps_rows() {
    let work = Workplace::new();
    let columns = [
        "day:timestamp",
        "n:int64",
        "name:string?",
        "ok:bool?",
        "x:float64?",
        "raw:bytes?",
        "v:vector(2)?",
    ];
    let mut create =
        vec!["table", "create", "all", "--key", "name2", "--key", "n", "--codec", "lz4"];
    create.extend(columns.iter().flat_map(|column| ["--column", column]));
    work.refused(&create, 2, &["'name2'"]);
    create[4] = "day";
    assert_eq!(work.ok(&create), "created table 'all'\n");
    work.refused(&create, 2, &["'all' exists"]);

    work.ok(&["put", "all", "day=2024-02-29T12:00:00Z", "n=-1", "name=a b", "v=[0.5, 1e-3]"]);
    work.ok(&[
        "put",
        "all",
        r#"{"day": "2024-02-29T13:00:00+01:00", "n": 2, "ok": true, "x": 0.1, "raw": "00ff"}"#,
    ]);
    check(
        &work.ok(&["scan", "all", "--json"]),
        expect![[r#"
            {"day":"2024-02-29T12:00:00Z","n":-1,"name":"a b","ok":null,"x":null,"raw":null,"v":[0.5,0.001]}
            {"day":"2024-02-29T12:00:00Z","n":2,"name":null,"ok":true,"x":0.1,"raw":"00ff","v":null}
        "#]],
    );
    check(
        &work.ok(&[
            "scan",
            "all",
            "--columns",
            "n,name",
            "--prefix",
            "2024-02-29T12:00:00Z",
            "--reverse",
        ]),
        expect![[r#"
             n    name
            ───────────
             2    null
             -1   a b
        "#]],
    );
    let row = work.ok(&["get", "all", "2024-02-29T12:00:00Z", "2", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&row).unwrap()["raw"], "00ff");
    work.refused(&["get", "all", "2024-02-29T12:00:00Z"], 2, &["have 2 parts, not 1", "day, n"]);
    work.refused(
        &["put", "all", "day=today", "n=1"],
        2,
        &["column 'day'", "expected timestamp, found 'today'"],
    );
    work.refused(&["put", "all", "day=0"], 2, &["column 'n'", "is missing"]);
    work.refused(&["put", "all", "size=0"], 2, &["no column 'size'", "day, n, name"]);
    work.refused(&["put", "all", "k", "v"], 2, &["'k' is not COLUMN=VALUE"]);
    work.refused(&["put", "all", "{\"day\": 1"], 2, &["not a JSON object"]);
    work.refused(
        &["scan", "all", "--prefix", "0", "--prefix", "1", "--prefix", "2"],
        2,
        &["only 2 parts"],
    );
    let tables: Value = serde_json::from_str(&work.ok(&["table", "list", "--json"])).unwrap();
    assert_eq!(tables["tables"][0]["codec"], "lz4");
    assert_eq!(tables["tables"][0]["key"], serde_json::json!(["day", "n"]));
    assert_eq!(tables["tables"][0]["columns"][6]["type"], "vector(2)");
}

#[test]
fn csv_goes_in_and_comes_out_as_it_was() {
    let work = Workplace::new();
    let csv = "id,name,score,ok,code,v\n\
               1,\"Ada, Countess\",1.5,true,007,\"[0.1,-2.0]\"\n\
               2,\"say \"\"hi\"\"\nthere\",2,false,1,\n\
               10,,-3,,x,\"[1.0,2.0]\"\n";
    work.file("people.csv", csv);
    let said = work.ok(&["import", "people.csv"]);
    assert!(said.starts_with("3 rows into created 'people' in "), "{said}");
    let tables: Value = serde_json::from_str(&work.ok(&["table", "list", "--json"])).unwrap();
    let columns = tables["tables"][0]["columns"].as_array().unwrap().iter();
    let types: Vec<_> = columns.map(|column| column["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["int64", "string", "float64", "bool", "string", "vector(2)"]);
    assert_eq!(work.ok(&["export", "people", "--format", "csv"]), csv);
    work.ok(&["export", "people", "--output", "out.jsonl"]);
    work.refused(&["export", "people", "--output", "out.jsonl"], 2, &["out.jsonl exists"]);
    work.ok(&["import", "out.jsonl", "--table", "again", "--column", "id:int64", "--key", "id"]);
    assert_eq!(work.ok(&["export", "again"]), work.ok(&["export", "people"]));

    // Importing again replaces, and says so.
    let said: Value = serde_json::from_str(&work.ok(&["import", "people.csv", "--json"])).unwrap();
    assert_eq!(
        (&said["rows"], &said["rows_replaced"], &said["created"]),
        (&3.into(), &3.into(), &false.into())
    );
    work.refused(
        &["import", "people.csv", "--key", "name"],
        2,
        &["'people' is there and is not as --key says"],
    );
}

#[test]
fn untyped_rows_survive_both_formats_whatever_their_bytes() {
    let work = Workplace::new();
    work.ok(&["table", "create", "raw"]);
    work.ok(&["put", "raw", "--hex", "6b", "00ff0a22"]);
    work.ok(&["put", "raw", "a,\"b\"", "line\nline"]);
    for format in ["jsonl", "csv"] {
        let (file, copy) = (format!("raw.{format}"), format!("copy_{format}"));
        work.ok(&["export", "raw", "-o", &file]);
        work.ok(&["import", &file, "--table", &copy]);
        assert_eq!(
            work.ok(&["scan", &copy, "--json"]),
            work.ok(&["scan", "raw", "--json"]),
            "{format}"
        );
    }
}

#[test]
fn rows_come_from_standard_input_too() {
    let work = Workplace::new();
    let rows: String =
        (0..2500).map(|n| format!("{{\"id\": {n}, \"twice\": {}}}\n", 2 * n)).collect();
    let args =
        ["import", "-", "--format", "jsonl", "--table", "t", "--batch-rows", "400", "--json"];
    let ended = work.run_with(&args, rows.as_bytes());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let said: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&said["rows"], &said["commits"]), (&2500.into(), &7.into()));
    assert_eq!(work.ok(&["get", "t", "1999", "--json"]), "{\"id\":1999,\"twice\":3998}\n");
    work.refused(&["import", "-", "--format", "jsonl"], 2, &["--table NAME"]);
    work.refused(&["import", "-", "--table", "t"], 2, &["--format jsonl"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let work = Workplace::new();
    let rows: String = (0..5000).map(|n| format!("{n},{}\n", "x".repeat(100))).collect();
    work.file("t.csv", format!("id,text\n{rows}"));
    work.ok(&["import", "t.csv"]);
    let mut child = work
        .command(&["scan", "t", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn the_database_tells_about_itself() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t", "--codec", "lz4"]);
    work.ok(&["put", "t", "k", &"large ".repeat(5000)]);
    let check: Value = serde_json::from_str(&work.ok(&["check", "--json"])).unwrap();
    assert_eq!((&check["ok"], &check["problems"]), (&true.into(), &serde_json::json!([])));
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
    let stats: Value = serde_json::from_str(&work.ok(&["stats", "--json"])).unwrap();
    assert_eq!(stats["stats"]["tables"], 1);
    assert!(work.ok(&["stats"]).contains("Pages of the data file"));
    let text = work.ok(&["stats", "--prometheus"]);
    assert!(text.contains("# TYPE sochdb_tables gauge\nsochdb_tables 1\n"), "{text}");
}

#[test]
fn plugins_can_be_looked_at_without_a_database() {
    let work = Workplace::new();
    let list: Value = serde_json::from_str(&work.ok(&["plugin", "list", "--json"])).unwrap();
    let names: Vec<_> =
        list["plugins"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"lz4") && names.contains(&"prometheus"), "{names:?}");
    assert!(work.ok(&["plugin", "list"]).contains("codec"));
    let lz4: Value =
        serde_json::from_str(&work.ok(&["plugin", "inspect", "lz4", "--json"])).unwrap();
    assert_eq!((&lz4["kind"], &lz4["source"]), (&"codec".into(), &"bundled".into()));
    assert!(work.ok(&["plugin", "inspect", "prometheus"]).contains("exports"));
    work.refused(&["plugin", "inspect", "zip"], 3, &["no plugin named 'zip'", "lz4"]);
    assert_eq!(work.fingerprint(), "");
}

#[test]
fn help_teaches() {
    let work = Workplace::new();
    let help = work.ok(&["--help"]);
    for word in ["demo", "import", "Exit codes:", "--json", "SOCHDB_DB"] {
        assert!(help.contains(word), "no '{word}' in\n{help}");
    }
    assert!(!help.contains("crash-writer"), "hidden commands stay hidden");
    for command in ["put", "get", "scan", "import"] {
        assert!(work.ok(&[command, "--help"]).contains("Example"), "{command}");
    }
    assert!(work.ok(&["table", "create", "--help"]).contains("vector(N)"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(work.ok(&["completions", shell]).contains("sochdb"), "{shell}");
    }
    assert_eq!(work.run(&["no-such-command"]).code, 2);
    assert_eq!(work.run(&[]).code, 2);
}

#[test]
fn a_backup_is_a_database_of_its_own_and_can_be_restored() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes", "--codec", "lz4"]);
    work.ok(&["table", "create", "cold", "--storage", "lscs"]);
    for n in 0..30 {
        work.ok(&["put", if n % 2 == 0 { "notes" } else { "cold" }, &format!("k{n}"), "before"]);
    }
    let said = work.ok(&["backup", "copy"]);
    assert!(said.starts_with("copy holds every commit up to 32: "), "{said}");
    work.ok(&["put", "notes", "k0", "after"]);
    assert_eq!(work.ok(&["--db", "copy", "get", "notes", "k0"]), "before\n");
    assert_eq!(work.ok(&["--db", "copy", "get", "cold", "k29"]), "before\n");
    assert!(work.ok(&["--db", "copy", "check"]).ends_with("no problems\n"));
    work.refused(&["backup", "copy"], 2, &["copy"]);

    let restored = work.ok(&["--db", "again", "restore", "copy", "--json"]);
    let restored: Value = serde_json::from_str(&restored).unwrap();
    assert_eq!(restored["commit"], 32);
    assert_eq!(work.ok(&["--db", "again", "get", "notes", "k0"]), "before\n");
    // The original's log goes on from where the backup ends.
    work.ok(&["--db", "later", "restore", "copy", "--log", "db"]);
    assert_eq!(work.ok(&["--db", "later", "get", "notes", "k0"]), "after\n");
    work.refused(&["--db", "later", "restore", "copy"], 2, &["later"]);
    work.refused(&["--db", "none", "restore", "nowhere"], 3, &["nowhere"]);
}

#[test]
fn a_broken_database_is_repaired_into_a_new_one() {
    let work = Workplace::new();
    let rows: String =
        (0..2000).map(|n| format!("{{\"id\": {n}, \"text\": \"row {n}\"}}\n")).collect();
    let file = work.file("rows.jsonl", rows);
    let file = file.to_str().unwrap();
    work.ok(&["import", file, "--table", "tree", "--key", "id"]);
    work.ok(&["import", file, "--table", "columns", "--key", "id", "--storage", "lscs"]);
    let whole = work.ok(&["repair", "copy"]);
    assert!(
        whole.contains("table 'tree': 2000 rows") && whole.contains("nothing is lost"),
        "{whole}"
    );
    for table in ["tree", "columns"] {
        let exported = |db: &str| work.ok(&["--db", db, "export", table]);
        assert_eq!(exported("copy"), exported("db"));
    }
    for nothing in ["nowhere", file] {
        let said = work.run(&["--db", nothing, "repair", "made-of-nothing"]);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(!work.path("made-of-nothing").exists());
    }
    // A page in the middle of the data file rots, and both meta pages.
    let data = work.db().join("data.soch");
    let mut bytes = std::fs::read(&data).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[..8192].fill(0);
    bytes[middle..middle + 4096].fill(0xaa);
    std::fs::write(&data, &bytes).unwrap();
    work.refused(&["scan", "tree"], 5, &["data.soch", "sochdb repair"]);
    let ended = work.run(&["repair", "rescued", "--json"]);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &report["ok"]), (5, &Value::Bool(false)), "{report}");
    assert!(ended.err.contains("saved to rescued, but not all of it"), "{}", ended.err);
    assert!(work.ok(&["--db", "rescued", "check"]).ends_with("no problems\n"));
    let saved = work.ok(&["--db", "rescued", "export", "tree"]).lines().count();
    assert!(1000 < saved, "{saved} rows of 2000 saved: {report}");
}
