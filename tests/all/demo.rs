//! `sochdb demo`: that it holds what it shows.

use crate::program::Workplace;
use serde_json::Value;

#[test]
fn the_demo_verifies_everything_and_says_so_to_a_program() {
    let work = Workplace::new();
    let text = work.ok(&["demo", "--json", "--rows", "600", "--dir", "kept"]);
    let facts: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(facts["ok"], true, "{text}");
    assert_eq!(facts["sync"], "fsync");
    assert_eq!(facts["import"]["rows"], 600);
    assert_eq!(facts["import"]["rows_read_back"], 600);
    assert!(0 < facts["import"]["rows_per_second"].as_u64().unwrap());
    let compression = &facts["documents"]["compression"];
    assert!(compression["bytes_stored"].as_u64() < compression["bytes_raw"].as_u64(), "{text}");
    let columns = &facts["queries"]["column_scan"];
    assert!(
        0 < columns["rows"].as_u64().unwrap() && 0 < columns["rows_per_second"].as_u64().unwrap()
    );
    let storage = &facts["queries"]["storage"];
    assert_eq!((&storage["table"]["storage"], &storage["rows"]), (&"lscs".into(), &600.into()));
    let reload = &facts["reload"];
    assert_eq!((&reload["plugin"], &reload["outcome"]), (&"hnsw".into(), &"serving".into()));
    assert_ne!(reload["from"], reload["to"]);
    assert_eq!(reload["calls_failed"], 0, "{reload}");
    assert!(0 < reload["calls"].as_u64().unwrap());
    assert!(reload["drain_micros"].is_u64() && reload["trial"].is_object(), "{reload}");
    let crash = &facts["crash"];
    assert_eq!(crash["signal"], 9);
    let verdict = &crash["verdict"];
    assert_eq!((&verdict["rows_lost"], &verdict["rows_altered"]), (&0.into(), &0.into()));
    assert_eq!(verdict["half_batch"], false);
    let acknowledged = crash["batches_acknowledged"].as_u64().unwrap();
    assert!(0 < acknowledged);
    let metrics = facts["metrics"]["text"].as_str().unwrap();
    assert!(metrics.contains("# TYPE sochdb_commits_total counter"), "{metrics}");
    assert!(metrics.contains("sochdb_plugin_fuel_total{plugin=\"lz4\"}"), "{metrics}");

    // What it kept is an ordinary database, with what was acknowledged in it.
    let rows = work.ok(&["--db", "kept", "scan", "stream", "--columns", "pass", "--json"]);
    let found = rows.lines().count() as u64;
    let acknowledged = acknowledged * crash["batch_rows"].as_u64().unwrap();
    assert!(found == acknowledged || found == acknowledged + 50, "{found} for {acknowledged}");
    let row = work.ok(&["--db", "kept", "get", "words", "noun.artifact", "n03401923", "--json"]);
    let row: Value = serde_json::from_str(&row).unwrap();
    assert!(row["text"].as_str().unwrap().starts_with("frieze: "), "{row}");
    assert_eq!(row["vector"].as_array().unwrap().len(), 384);
}

#[test]
fn the_demo_tells_people_what_it_measured() {
    let work = Workplace::new();
    let text = work.ok(&["demo", "--rows", "200"]);
    for word in [
        "rows/s",
        "sync mode fsync",
        "column scan, id and text where pos is v",
        "sochdb stats words",
        "drained in",
        "0 failed calls",
        "SIGKILL",
        "recovery",
        "0 lost",
        "verifications hold",
    ] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours are for terminals only");
    assert_eq!(work.fingerprint(), "", "a demo without --dir leaves nothing");
}

#[test]
fn the_demo_touches_nothing_that_is_there() {
    let work = Workplace::new();
    work.file("full/letter.txt", "dear");
    work.refused(&["demo", "--dir", "full"], 2, &["full is not empty", "help: "]);
    work.refused(&["demo", "--dir", "full/letter.txt"], 1, &["full/letter.txt"]);
}
