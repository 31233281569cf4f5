//! Imports that meet bad rows, and imports that are interrupted: each good row is there once, each bad one aside.

use crate::program::Workplace;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn rejects(work: &Workplace) -> Vec<Value> {
    json_lines(&std::fs::read_to_string(work.path("bad.jsonl")).expect("there are rejects"))
}

/// The ids of the rows of `table`, in order.
fn ids(work: &Workplace, table: &str) -> Vec<i64> {
    let rows = json_lines(&work.ok(&["scan", table, "--columns", "id", "--json"]));
    rows.iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

/// The tables there are, the database's own too.
fn tables(work: &Workplace) -> Vec<String> {
    let all: Value = serde_json::from_str(&work.ok(&["table", "list", "--all", "--json"])).unwrap();
    let name = |table: &Value| table["name"].as_str().unwrap().to_owned();
    all["tables"].as_array().unwrap().iter().map(name).collect()
}

const COLUMNS: [&str; 6] = ["--column", "id:int64", "--column", "n:int64?", "--key", "id"];

#[test]
fn bad_rows_of_csv_go_aside_with_their_reasons() {
    let work = Workplace::new();
    work.file("t.csv", "id,n\n1,10\ntwo,20\n3\n4,x\n5,50\n7,70\n\"8,80\n");
    let args = ["import", "t.csv", "--rejects", "bad.jsonl", "--json"];
    let said = work.ok(&[&args[..], &COLUMNS].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["rows"], &said["rows_rejected"]), (&json!(3), &json!(4)));
    assert_eq!(ids(&work, "t"), [1, 5, 7]);
    let expected = [
        json!({ "source": "t.csv", "line": 3, "column": "id", "reason": "expected int64, found 'two'",
                "row": { "id": "two", "n": "20" } }),
        json!({ "source": "t.csv", "line": 4, "reason": "expected 2 fields as in the header, found 1",
                "row": ["3"] }),
        json!({ "source": "t.csv", "line": 5, "column": "n", "reason": "expected int64, found 'x'",
                "row": { "id": "4", "n": "x" } }),
        json!({ "source": "t.csv", "line": 8,
                "reason": "a quotation mark is opened in this record and never closed", "row": "\"8,80" }),
    ];
    assert_eq!(rejects(&work), expected);
    // The file is somebody's work, and no second import writes over it.
    work.refused(&args, 2, &["bad.jsonl exists"]);
}

#[test]
fn bad_rows_of_jsonl_do_not_decide_the_columns() {
    let work = Workplace::new();
    let text =
        "not json\n{\"id\": 1, \"n\": {\"deep\": 1}}\n{\"id\": 2, \"n\": 5}\n{\"n\": 5}\n[3]\n";
    work.file("t.jsonl", text);
    let said = work.ok(&["import", "t.jsonl", "--rejects", "bad.jsonl"]);
    assert!(said.contains("1 row into created 't'") && said.contains("4 rows rejected"), "{said}");
    let found: Vec<_> = rejects(&work)
        .into_iter()
        .map(|row| (row["line"].as_u64().unwrap(), row["column"].as_str().map(str::to_owned)))
        .collect();
    let expected = [(1, None), (2, Some("n".into())), (4, Some("id".into())), (5, None)];
    assert_eq!(found, expected);
    assert_eq!(rejects(&work)[1]["row"], json!({ "id": 1, "n": { "deep": 1 } }));
    let mut work = Workplace::new();
    work.file("t.jsonl", "not json\nneither\n");
    work.refused(
        &["import", "t.jsonl", "--rejects", "bad.jsonl"],
        2,
        &["line 1: not a JSON object"],
    );
    work = Workplace::new();
    work.file("t.jsonl", text);
    work.refused(&["import", "t.jsonl"], 2, &["line 1: not a JSON object", "--rejects FILE"]);
}

#[test]
fn too_many_bad_rows_end_the_import() {
    let work = Workplace::new();
    let row = |n: i32| if n % 10 == 9 { "x,1\n".to_owned() } else { format!("{n},1\n") };
    work.file("t.csv", format!("id,n\n{}", (0..100).map(row).collect::<String>()));
    let import = ["import", "t.csv", "--batch-rows", "9", "--rejects", "bad.jsonl"];
    let import = [&import[..], &COLUMNS].concat();
    let ended = work.run(&[&import[..], &["--max-rejects", "3"]].concat());
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("4 rows were rejected, and --max-rejects is 3"), "{}", ended.err);
    assert!(ended.err.contains("--resume"), "{}", ended.err);
    work.ok(&["import", "t.csv", "--rejects", "bad.jsonl", "--resume", "--batch-rows", "9"]);
    assert_eq!(ids(&work, "t").len(), 90);
    let lines: Vec<_> = rejects(&work).iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, (0..10).map(|n| 11 + 10 * n).collect::<Vec<u64>>(), "each once");
}

#[test]
fn rows_that_a_hook_aborts_are_rejected_one_by_one() {
    let work = Workplace::new();
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/guests/0.1.0");
    for name in ["guard.toml", "guard.wasm"] {
        work.file(&format!("plugins/{name}"), std::fs::read(guests.join(name)).unwrap());
    }
    work.ok(&["table", "create", "guarded"]);
    let text = "key,value\na,1\nabort/b,2\nc,3\nabort/d,4\nreplace/e,loud\n";
    work.file("guarded.csv", text);
    let import = ["--plugin-dir", "plugins", "import", "guarded.csv"];
    let ended = work.run(&import);
    assert_eq!(ended.code, 6, "{}", ended.err);
    assert!(ended.err.contains("is not wanted") && ended.err.contains("nothing was imported"));
    assert_eq!(work.ok(&["scan", "guarded", "--json"]), "");
    let said = work.ok(&[&import[..], &["--rejects", "bad.jsonl", "--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["rows"], &said["rows_rejected"]), (&json!(3), &json!(2)));
    let rows = json_lines(&work.ok(&["scan", "guarded", "--json"]));
    let row = |key: &str, value: &str| json!({ "key": key, "value": value });
    assert_eq!(rows, [row("a", "1"), row("c", "3"), row("replace/e", "LOUD")]);
    let bad = rejects(&work);
    assert_eq!((&bad[0]["line"], &bad[1]["line"]), (&json!(3), &json!(5)));
    assert_eq!(bad[0]["row"], row("abort/b", "2"));
    assert!(bad[0]["reason"].as_str().unwrap().contains("is not wanted"), "{bad:?}");
}

#[test]
fn an_import_that_ended_goes_on_where_it_was() {
    let work = Workplace::new();
    let mut text = String::from("id,n\n");
    (0..2350).for_each(|n| text += &format!("{n},{n}\n"));
    text += "oops,1\n";
    (2350..3000).for_each(|n| text += &format!("{n},{n}\n"));
    work.file("t.csv", &text);
    work.refused(&["import", "t.csv", "--resume"], 3, &["unfinished"]);
    let ended = work.run(&["import", "t.csv", "--batch-rows", "500", "--column", "id:int64"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("--resume goes on from there"), "{}", ended.err);
    assert_eq!(tables(&work), ["sochdb.imports", "t"]);
    assert!(!work.ok(&["table", "list"]).contains("sochdb.imports"));
    work.refused(&["import", "t.csv"], 2, &["ended after 2,000 rows", "--resume", "--restart"]);
    work.refused(&["import", "t.csv", "--resume"], 2, &["line 2352: column 'id'"]);
    let resume = ["import", "t.csv", "--resume", "--rejects", "bad.jsonl", "--json"];
    let said: Value = serde_json::from_str(&work.ok(&resume)).unwrap();
    let counts =
        ["rows", "rows_replaced", "rows_rejected", "resumed_after"].map(|name| &said[name]);
    assert_eq!(counts, [&json!(1000), &json!(0), &json!(1), &json!(2000)]);
    assert_eq!(ids(&work, "t"), (0..3000).collect::<Vec<_>>());
    assert_eq!(tables(&work), ["t"], "nothing is left of it");
    work.refused(&resume, 3, &["no import of t.csv into table 't' is unfinished"]);
}

#[test]
fn a_file_that_changed_is_not_gone_on_with() {
    let work = Workplace::new();
    let text: String = (0..300).map(|n| format!("{n}\n")).collect();
    work.file("t.csv", format!("id\n{text}x\n"));
    assert_eq!(
        work.run(&["import", "t.csv", "--batch-rows", "100", "--column", "id:int64"]).code,
        2
    );
    work.file("t.csv", format!("id\n{text}300\n"));
    work.refused(&["import", "t.csv", "--resume"], 2, &["has changed since its import began"]);
    let said: Value = serde_json::from_str(&work.ok(&["import", "t.csv", "--json"])).unwrap();
    assert_eq!((&said["rows"], &said["rows_replaced"]), (&json!(301), &json!(300)));
    assert_eq!(tables(&work), ["t"]);
    // Begun anew, of a table that is not there any more, and from no file at all.
    work.file("t.csv", format!("id\n{text}x\n"));
    assert_eq!(work.run(&["import", "t.csv", "--batch-rows", "100"]).code, 2);
    let bad = ["import", "t.csv", "--restart", "--rejects", "bad.jsonl", "--json"];
    let said: Value = serde_json::from_str(&work.ok(&bad)).unwrap();
    assert_eq!((&said["rows"], &said["rows_rejected"]), (&json!(300), &json!(1)));
    assert_eq!(work.run(&["import", "t.csv", "--batch-rows", "100"]).code, 2);
    work.ok(&["table", "drop", "t"]);
    work.refused(&["import", "t.csv", "--resume"], 3, &["unfinished"]);
    let stream = ["import", "-", "--format", "csv", "--table", "s", "--resume"];
    work.refused(&stream, 2, &["not that of a stream"]);
}

/// Imports `file` and kills it after some time, until one was killed with a part of its rows committed. Then the
/// import is gone on with.
fn kill_and_resume(work: &Workplace, file: &str, rows: i64) {
    let mut moment = Duration::from_millis(150);
    let mut killed = false;
    for _ in 0..40 {
        let mut child = work
            .command(&["import", file, "--table", "t", "--key", "id", "--batch-rows", "20"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let again = work.run(&["import", file, "--table", "t", "--resume", "--json"]);
        if again.code == 0 {
            let said: Value = serde_json::from_str(&again.out).unwrap();
            let before = said["resumed_after"].as_i64().unwrap();
            assert!(0 < before && before < rows, "{said}");
            assert_eq!(said["rows"].as_i64().unwrap() + before, rows);
            assert_eq!(said["rows_replaced"], 0, "each row was written once");
            killed = true;
            break;
        }
        assert_eq!(again.code, 3, "{}", again.err);
        // Too early, or it had ended: nothing is there, or all.
        let is_there = work.run(&["scan", "t", "--limit", "1"]).code == 0;
        if is_there {
            work.ok(&["table", "drop", "t"]);
        }
        moment = if is_there { moment / 2 } else { moment * 3 / 2 };
    }
    assert!(killed, "no kill hit the middle of an import");
    assert_eq!(ids(work, "t"), (0..rows).collect::<Vec<_>>());
    assert_eq!(tables(work), ["t"]);
    work.ok(&["check"]);
}

const KILLED_ROWS: i64 = 30_000;

fn lines(rows: i64) -> String {
    (0..rows).map(|n| format!("{{\"id\":{n},\"text\":\"row {n} of some\"}}\n")).collect()
}

#[test]
fn an_import_that_was_killed_goes_on_and_each_row_is_there_once() {
    let work = Workplace::new();
    work.file("t.jsonl", lines(KILLED_ROWS));
    kill_and_resume(&work, "t.jsonl", KILLED_ROWS);
}

#[cfg(feature = "parquet")]
#[test]
fn an_import_of_parquet_that_was_killed_goes_on_and_each_row_is_there_once() {
    let work = Workplace::new();
    work.file("all.jsonl", lines(KILLED_ROWS));
    work.ok(&["--db", "other", "import", "all.jsonl"]);
    work.ok(&["--db", "other", "export", "all", "-o", "t.parquet"]);
    kill_and_resume(&work, "t.parquet", KILLED_ROWS);
}

#[test]
fn compressed_text_is_read_and_gone_on_with() {
    let work = Workplace::new();
    let mut text: String = (0..1500).map(|n| format!("{{\"id\":{n}}}\n")).collect();
    text += "{\"id\":\n{\"id\":1500}\n";
    let packed = zstd_of(text.as_bytes());
    work.file("t.jsonl.zst", packed);
    let ended = work.run(&["import", "t.jsonl.zst", "--batch-rows", "100"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    let resume = ["import", "t.jsonl.zst", "--resume", "--rejects", "bad.jsonl"];
    work.ok(&resume);
    assert_eq!(ids(&work, "t"), (0..=1500).collect::<Vec<_>>());
    assert_eq!(rejects(&work)[0]["line"], 1501);
    work.file("v.npy.gz", b"\x1f\x8b");
    work.refused(&["import", "v.npy.gz"], 2, &["v.npy.gz is compressed, and only text is read so"]);
}

/// One Zstandard frame of raw blocks: what RFC 8878 asks for and no more.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd];
    // No single segment, a window of 1 MiB, no checksum.
    out.extend([0x00, 0x50]);
    let blocks: Vec<_> = bytes.chunks(64 << 10).collect();
    for (index, block) in blocks.iter().enumerate() {
        let last = u32::from(index + 1 == blocks.len());
        out.extend(&((block.len() as u32) << 3 | last).to_le_bytes()[..3]);
        out.extend(*block);
    }
    out
}
