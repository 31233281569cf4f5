//! Imports whose beginning is loaded in bulk: the tables are those that commits make, and nothing is ever half there.

use crate::program::Workplace;
use serde_json::{Value, json};
use sochdb::operations::loading_table;
use sochdb::{Database, Kernel, TableOptions};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The arguments of an import, and what it said.
fn import(work: &Workplace, args: &[&str]) -> Value {
    let said = work.ok(&[&["import"], args, &["--json"]].concat());
    serde_json::from_str(&said).unwrap()
}

fn line(id: u64, text: &str) -> String {
    format!("{{\"id\":{id},\"text\":\"{text} {id}\",\"half\":{}.5}}\n", id % 7)
}

fn lines(ids: impl Iterator<Item = u64>) -> String {
    ids.map(|id| line(id, "row")).collect()
}

/// All numbers below 4,096, in no order.
fn mixed() -> impl Iterator<Item = u64> {
    (0..4096).map(|n| n * 1639 % 4096)
}

/// The tables there are, the database's own too.
fn tables(work: &Workplace) -> Vec<String> {
    let all: Value = serde_json::from_str(&work.ok(&["table", "list", "--all", "--json"])).unwrap();
    let name = |table: &Value| table["name"].as_str().unwrap().to_owned();
    all["tables"].as_array().unwrap().iter().map(name).collect()
}

fn count(work: &Workplace, table: &str) -> usize {
    work.ok(&["scan", table, "--columns", "id", "--json"]).lines().count()
}

#[test]
fn a_table_that_begins_in_bulk_is_the_one_that_commits_make() {
    let work = Workplace::new();
    let sorted = lines(0..5000);
    let twice = lines(mixed()) + &(0..1500).map(|id| line(3 * id, "again")).collect::<String>();
    let turns = lines(100..4600) + &lines(0..50) + &lines(4000..4100) + &lines(9000..9100);
    let same = lines(0..2000) + &line(1999, "same key") + &lines(2000..4000);
    // The file, how many of its rows are loaded in bulk, and how many replace another.
    let files = [
        ("sorted", &sorted, 5000, 0),
        ("twice", &twice, 5596, 1366),
        ("turns", &turns, 4000, 100),
        ("same", &same, 2000, 1),
    ];
    for (name, text, in_bulk, replaced) in files {
        work.file(&format!("{name}.jsonl"), text);
        for storage in ["kernel", "lscs"] {
            let (bulk, commits) =
                (format!("{name}.{storage}.bulk"), format!("{name}.{storage}.tx"));
            let file = format!("{name}.jsonl");
            let args = |db: &str, more: &[&'static str]| -> Value {
                let args = ["--db", db, &file, "--table", "t", "--storage", storage];
                import(&work, &[&args[..], more].concat())
            };
            let (loaded, committed) = (args(&bulk, &[]), args(&commits, &["--batch-rows", "1000"]));
            assert_eq!(loaded["rows_in_bulk"], in_bulk, "{name}: {loaded}");
            assert_eq!(committed["rows_in_bulk"], 0, "{committed}");
            for count in ["rows", "rows_replaced", "rows_rejected", "created"] {
                assert_eq!(loaded[count], committed[count], "{name}: {count}");
            }
            assert_eq!(loaded["rows_replaced"], replaced, "{name}");
            let dump = |db: &str| work.ok(&["--db", db, "dump"]);
            assert!(dump(&bulk) == dump(&commits), "{name} in {storage}");
            let list = ["--db", &bulk, "table", "list", "--all", "--json"];
            let all: Value = serde_json::from_str(&work.ok(&list)).unwrap();
            assert_eq!(all["tables"].as_array().unwrap().len(), 1, "{all}");
            assert!(work.ok(&["--db", &bulk, "check"]).ends_with("no problems\n"));
        }
    }
}

#[test]
fn a_table_that_was_there_without_rows_keeps_what_it_is_made_of() {
    let work = Workplace::new();
    let create = ["table", "create", "t", "--column", "id:int64", "--column", "text:string?"];
    let more = ["--column", "half:float64", "--key", "id", "--codec", "lz4"];
    work.ok(&[&create[..], &more[..]].concat());
    work.file("t.jsonl", lines(0..3000));
    let before: Value = serde_json::from_str(&work.ok(&["table", "list", "--json"])).unwrap();
    let said = import(&work, &["t.jsonl"]);
    let expected = [json!(3000), json!(3000), json!(false)];
    assert_eq!(["rows", "rows_in_bulk", "created"].map(|name| said[name].clone()), expected);
    let after: Value = serde_json::from_str(&work.ok(&["table", "list", "--json"])).unwrap();
    for part in ["name", "columns", "key", "storage", "codec", "settings"] {
        assert_eq!(before["tables"][0][part], after["tables"][0][part]);
    }
    assert_eq!(count(&work, "t"), 3000);
    // Now it has rows.
    work.file("more.jsonl", lines(3000..6000));
    assert_eq!(import(&work, &["more.jsonl", "--table", "t"])["rows_in_bulk"], 0);
    assert_eq!((count(&work, "t"), tables(&work)), (6000, vec!["t".to_owned()]));
}

#[test]
fn what_bulk_would_pass_by_is_imported_by_commits() {
    let work = Workplace::new();
    work.file("t.jsonl", lines(0..2500));
    // An index.
    work.ok(&[
        "table",
        "create",
        "t",
        "--column",
        "id:int64",
        "--column",
        "text:string",
        "--column",
        "half:float64",
        "--key",
        "id",
    ]);
    work.ok(&["index", "create", "t", "text"]);
    let said = import(&work, &["t.jsonl"]);
    assert_eq!((&said["rows_in_bulk"], &said["commits"]), (&json!(0), &json!(3)));
    assert!(work.ok(&["index", "check", "t", "text"]).contains("2,500 rows"));
    // A tenant.
    work.ok(&["tenant", "add", "acme"]);
    assert_eq!(import(&work, &["t.jsonl", "--table", "acme/t"])["rows_in_bulk"], 0);
    // A log that is kept.
    let said = import(&work, &["--db", "kept", "--archive", "t.jsonl"]);
    assert_eq!(said["rows_in_bulk"], 0);
    // A pipe, which may be slow and never end.
    let text = std::fs::read(work.path("t.jsonl")).unwrap();
    let stream = ["import", "-", "--format", "jsonl", "--table", "piped", "--json"];
    let said: Value = serde_json::from_str(&work.run_with(&stream, &text).out).unwrap();
    assert_eq!((&said["rows_in_bulk"], &said["commits"]), (&json!(0), &json!(3)));
    // So few rows that they are one commit.
    work.file("few.jsonl", lines(0..1000));
    assert_eq!(import(&work, &["few.jsonl"])["rows_in_bulk"], 0);
    // A hook.
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/guests/0.1.0");
    for name in ["guard.toml", "guard.wasm"] {
        work.file(&format!("plugins/{name}"), std::fs::read(guests.join(name)).unwrap());
    }
    let mut text = String::from("key,value\n");
    (0..2500).for_each(|n| writeln!(text, "a{n:05},1").unwrap());
    work.file("guarded.csv", text + "abort/b,2\nreplace/e,loud\n");
    let args = ["--plugin-dir", "plugins", "guarded.csv", "--rejects", "bad.jsonl"];
    let said = import(&work, &args);
    let counts = ["rows", "rows_in_bulk", "rows_rejected"].map(|name| said[name].clone());
    assert_eq!(counts, [json!(2501), json!(0), json!(1)]);
    assert!(work.ok(&["get", "guarded", "replace/e"]).contains("LOUD"));
}

#[test]
fn bad_rows_of_the_part_in_bulk_go_aside() {
    let work = Workplace::new();
    let row = |n: u64| if n % 100 == 99 { "{\"id\":\"x\"}\n".to_owned() } else { line(n, "row") };
    work.file("t.jsonl", (0..5000).map(row).collect::<String>());
    let args = ["t.jsonl", "--column", "id:int64", "--rejects", "bad.jsonl"];
    let said = import(&work, &args);
    let counts = ["rows", "rows_in_bulk", "rows_rejected"].map(|name| said[name].clone());
    assert_eq!(counts, [json!(4950), json!(4950), json!(50)]);
    let bad = std::fs::read_to_string(work.path("bad.jsonl")).unwrap();
    let places: Vec<u64> = bad
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].as_u64().unwrap())
        .collect();
    assert_eq!(places, (1..=50).map(|n| 100 * n).collect::<Vec<_>>());
    // Too many of them end it where they would end it without bulk.
    let args =
        ["import", "t.jsonl", "--table", "few", "--rejects", "few.bad", "--max-rejects", "25"];
    let ended = work.run(&[&args[..], &["--column", "id:int64"]].concat());
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(
        ended.err.contains("--max-rejects is 25") && ended.err.contains("--resume"),
        "{}",
        ended.err
    );
    let there = count(&work, "few");
    assert!(0 < there && there < 4950, "{there}");
    import(&work, &["t.jsonl", "--table", "few", "--rejects", "few.bad", "--resume"]);
    assert_eq!(count(&work, "few"), 4950);
    let again = std::fs::read_to_string(work.path("few.bad")).unwrap();
    assert_eq!(again, bad);
}

#[test]
fn an_import_that_ended_in_bulk_goes_on_where_it_was() {
    let work = Workplace::new();
    let wide = format!("{{\"id\":5999,\"text\":\"{}\",\"half\":1}}\n", "x".repeat(70_000));
    for (name, bad, key) in [("cut", "oops\n", "id"), ("wide", wide.as_str(), "text")] {
        let file = format!("{name}.jsonl");
        work.file(&file, lines(0..2350) + bad + &lines(6000..6500));
        let ended = work.run(&["import", &file, "--key", key]);
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains("2,000 rows were committed before this batch"), "{}", ended.err);
        assert_eq!((count(&work, name), tables(&work).len()), (2000, 2), "and a record");
        work.refused(&["import", &file], 2, &["ended after 2,000 rows", "--resume", "--restart"]);
        let rejects = format!("{name}.bad");
        let said = import(&work, &[&file, "--resume", "--rejects", &rejects]);
        let counts = ["rows", "resumed_after", "rows_rejected", "rows_in_bulk"];
        let expected = [json!(850), json!(2000), json!(1), json!(0)];
        assert_eq!(counts.map(|name| said[name].clone()), expected);
        assert_eq!((count(&work, name), tables(&work).len()), (2850, 1));
        work.ok(&["table", "drop", name]);
    }
}

/// Waits until the data file has `bytes` bytes.
fn wait_for(work: &Workplace, child: &mut Child, bytes: u64) {
    let file = work.db().join("data.soch");
    while file.metadata().map_or(0, |meta| meta.len()) < bytes {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was stopped");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// More rows than can be loaded in the time that it takes to stop the program.
const MANY: u64 = 300_000;

#[test]
fn an_import_that_is_killed_in_bulk_leaves_nothing() {
    let work = Workplace::new();
    work.file("sorted.jsonl", lines(0..MANY));
    work.file("mixed.jsonl", lines((0..MANY).map(|n| n * 7919 % 1_000_003)));
    for (file, bytes) in [("sorted.jsonl", 1), ("sorted.jsonl", 1 << 20), ("mixed.jsonl", 1)] {
        let mut command = work.command(&["import", file, "--table", "t"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&work, &mut child, bytes);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(tables(&work), [""; 0], "{file}");
        assert!(work.ok(&["check"]).ends_with("no problems\n"));
        let resumed = work.run(&["import", file, "--table", "t", "--resume"]);
        assert_eq!(resumed.code, 3, "{}", resumed.err);
        assert!(resumed.err.contains("unfinished"), "{}", resumed.err);
        assert_eq!(tables(&work), [""; 0], "{file}");
        std::fs::remove_dir_all(work.db()).unwrap();
    }
    // After a crash between the load and the name a hidden table is there until the next who may write comes.
    let db = Database::builder().bundled_plugins(false).open(work.db()).unwrap();
    let rows = (0..2000_u32).map(|n| Ok((n.to_be_bytes().to_vec(), vec![7; 50])));
    Kernel::bulk_load(&db, &loading_table(0), TableOptions::default(), rows).unwrap();
    db.close().unwrap();
    assert_eq!(tables(&work), [loading_table(0)]);
    work.file("t.jsonl", lines(0..3000));
    assert_eq!(import(&work, &["t.jsonl"])["rows_in_bulk"], 3000);
    assert_eq!((tables(&work), count(&work, "t")), (vec!["t".to_owned()], 3000));
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}

#[test]
fn an_import_that_is_cancelled_in_bulk_keeps_what_it_has_and_goes_on() {
    let work = Workplace::new();
    work.ok(&["table", "create", "other"]);
    work.file("t.jsonl", lines(0..MANY));
    let begun = work.db().join("data.soch").metadata().unwrap().len();
    let mut command = work.command(&["shell", "-c", "import t.jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&work, &mut child, begun + (1 << 20));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{err}");
    assert!(err.contains("rows were committed before") && err.contains("--resume"), "{err}");
    let there = count(&work, "t") as u64;
    assert!(0 < there && there < MANY && there.is_multiple_of(1000), "{there}");
    let said = import(&work, &["t.jsonl", "--resume", "--batch-rows", "50000"]);
    assert_eq!((&said["resumed_after"], &said["rows"]), (&json!(there), &json!(MANY - there)));
    assert_eq!((count(&work, "t") as u64, tables(&work).len()), (MANY, 2));
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}
