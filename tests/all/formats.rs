//! Parquet, Arrow and `.npy`: what is exported is imported as it was, and what is no file of theirs is refused.

use crate::program::Workplace;
use serde_json::Value;
use std::process::Stdio;

const COLUMNS: [&str; 8] = [
    "id:int64",
    "yes:bool?",
    "half:float64?",
    "name:string?",
    "raw:bytes?",
    "at:timestamp?",
    "v:vector(3)?",
    "always:string",
];

const ROWS: &str = r#"{"id":-7,"yes":true,"half":0.5,"name":"Ä \"b\"","raw":"00ff","at":"2024-02-29T12:00:00.000001Z","v":[0.1,-1e-30,3.0],"always":""}
{"id":0,"yes":null,"half":null,"name":null,"raw":null,"at":null,"v":null,"always":"x"}
{"id":9223372036854775807,"yes":false,"half":"NaN","name":"","raw":"","at":"1969-12-31T23:59:59.999999Z","v":[0.0,0.0,0.0],"always":"y"}
"#;

/// A database with a table `t` of all types, in this storage.
fn filled(storage: &str) -> Workplace {
    let work = Workplace::new();
    let columns = COLUMNS.iter().flat_map(|column| ["--column", column]);
    let create = ["table", "create", "t", "--key", "id", "--storage", storage];
    work.ok(&create.into_iter().chain(columns).collect::<Vec<_>>());
    work.file("rows.jsonl", ROWS);
    work.ok(&["import", "rows.jsonl", "--table", "t"]);
    work
}

fn columns(work: &Workplace, db: &str, table: &str) -> Value {
    let all: Value =
        serde_json::from_str(&work.ok(&["--db", db, "table", "list", "--json"])).unwrap();
    let found = all["tables"].as_array().unwrap().iter().find(|found| found["name"] == table);
    found.expect("the table").clone()["columns"].take()
}

#[test]
fn every_type_comes_back_as_it_was() {
    for storage in ["kernel", "lscs"] {
        let work = filled(storage);
        let rows = work.ok(&["export", "t"]);
        assert_eq!(rows.lines().count(), 3);
        for (index, file) in ["t.parquet", "t.arrow", "t.arrows"].into_iter().enumerate() {
            let said = work.ok(&["export", "t", "-o", file]);
            assert_eq!(said, format!("3 rows of table 't' into {file}\n"));
            let db = format!("db{index}");
            work.ok(&["--db", &db, "import", file, "--key", "id"]);
            assert_eq!(work.ok(&["--db", &db, "export", "t"]), rows, "{storage} {file}");
            assert_eq!(columns(&work, &db, "t"), columns(&work, "db", "t"), "{storage} {file}");
            // Into a table that is there, too.
            let said = work.ok(&["import", file, "--table", "t", "--json"]);
            assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["rows_replaced"], 3);
        }
        let some = ["export", "t", "--columns", "always,id", "-o", "some.parquet"];
        work.ok(&some);
        work.ok(&["--db", "some", "import", "some.parquet"]);
        let rows = work.ok(&["--db", "some", "export", "some"]);
        assert_eq!(rows.lines().next(), Some("{\"always\":\"\",\"id\":-7}"));
    }
}

#[test]
fn an_untyped_table_comes_back_as_it_was() {
    let work = Workplace::new();
    work.ok(&["table", "create", "u"]);
    work.ok(&["put", "u", "--hex", "00ff", "80"]);
    work.ok(&["put", "u", "key", ""]);
    for file in ["u.parquet", "u.arrow", "u.arrows"] {
        work.ok(&["export", "u", "-o", file]);
        work.ok(&["--db", file.strip_prefix("u.").unwrap(), "import", file]);
        let rows = work.ok(&["--db", file.strip_prefix("u.").unwrap(), "export", "u"]);
        assert_eq!(rows, work.ok(&["export", "u"]), "{file}");
    }
    work.refused(
        &["import", "u.parquet", "--key", "key", "--table", "t", "--column", "key:int64"],
        2,
        &["column 'key'"],
    );
}

#[test]
fn an_empty_table_is_a_file_with_columns() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t", "--column", "id:int64", "--key", "id"]);
    for file in ["t.parquet", "t.arrow", "t.arrows"] {
        work.ok(&["export", "t", "-o", file]);
        let db = format!("{file}.db");
        work.ok(&["--db", &db, "import", file]);
        assert_eq!(columns(&work, &db, "t"), columns(&work, "db", "t"));
    }
}

#[test]
fn standard_input_and_output_carry_them() {
    let work = filled("kernel");
    for format in ["parquet", "arrow", "arrow-stream"] {
        let export = ["export", "t", "--format", format];
        let output = work.command(&export).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success());
        let import = ["--db", format, "import", "-", "--format", format, "--table", "t"];
        let ended = work.run_with(&import, &output.stdout);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let rows = work.ok(&["--db", format, "export", "t"]);
        assert_eq!(rows, work.ok(&["export", "t"]), "{format}");
    }
}

#[test]
fn bad_rows_of_a_file_in_columns_go_aside() {
    let work = filled("kernel");
    work.ok(&["export", "t", "-o", "t.parquet"]);
    let mut args = vec!["import", "t.parquet", "--table", "strict", "--key", "id"];
    args.extend(["--column", "yes:bool", "--column", "name:int64?"]);
    work.refused(&args, 2, &["t.parquet row 1: column 'name'", "nothing was imported"]);
    args.extend(["--rejects", "bad.jsonl"]);
    let said = work.ok(&args);
    assert!(
        said.contains("1 row into created 'strict'") && said.contains("2 rows rejected"),
        "{said}"
    );
    let bad = std::fs::read_to_string(work.path("bad.jsonl")).unwrap();
    let bad: Vec<Value> = bad.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&bad[0]["row_number"], &bad[1]["row_number"]), (&1.into(), &2.into()));
    assert_eq!(bad[1]["reason"], "is null, and the column allows no null");
    assert_eq!(bad[0]["row"]["name"], "Ä \"b\"");
}

#[test]
fn what_is_no_such_file_is_refused_and_so_is_what_is_cut() {
    let work = filled("kernel");
    for (file, format) in [("t.parquet", "parquet"), ("t.arrow", "arrow"), ("t.arrows", "arrow")] {
        work.ok(&["export", "t", "-o", file]);
        let whole = std::fs::read(work.path(file)).unwrap();
        let db = format!("db-{file}");
        for bytes in [&b""[..], b"hello, this is a text\n", &whole[..whole.len() / 2]] {
            work.file("wrong", bytes);
            let args = ["--db", &db, "import", "wrong", "--format", format];
            let ended = work.run(&args);
            assert_eq!(ended.code, 2, "{file} {} {}", bytes.len(), ended.err);
            assert!(ended.err.starts_with("error: wrong: "), "{}", ended.err);
            assert!(!ended.err.contains("panicked"), "{}", ended.err);
        }
    }
    let args = ["import", "t.parquet", "--table", "other", "--key", "nothing"];
    work.refused(&args, 2, &["nothing"]);
    work.refused(
        &["import", "rows.jsonl", "--format", "parquet", "--table", "x"],
        2,
        &["rows.jsonl"],
    );
}

#[test]
fn vectors_are_exported_as_numpy_loads_them() {
    let work = Workplace::new();
    let text: String = (0..5).map(|n| format!("{{\"id\":{n},\"v\":[{n},0.5]}}\n")).collect();
    work.file("t.jsonl", text);
    work.ok(&["import", "t.jsonl"]);
    work.ok(&["export", "t", "-o", "t.npy"]);
    let bytes = std::fs::read(work.path("t.npy")).unwrap();
    assert_eq!((&bytes[..6], bytes.len()), (&b"\x93NUMPY"[..], 128 + 5 * 2 * 4));
    work.ok(&["--db", "again", "import", "t.npy", "--column", "v:vector(2)"]);
    assert_eq!(work.ok(&["--db", "again", "export", "t"]), work.ok(&["export", "t"]));
    work.refused(&["export", "t", "-o", "u.npy", "--columns", "id"], 2, &["column of vectors"]);
    work.refused(&["export", "t", "-o", "u.fvecs"], 2, &["--format npy"]);
    work.refused(&["export", "t", "-o", "u.csv.gz"], 2, &["would be compressed"]);
    let work = filled("kernel");
    work.refused(&["export", "t", "-o", "v.npy"], 2, &["column 'v' is null in row 1"]);
}
