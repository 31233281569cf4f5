//! `compact` and `man`, as an operator meets them.

use crate::program::Workplace;
use serde_json::Value;

#[test]
fn compaction_leaves_nothing_to_merge_and_every_row() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t", "--storage", "lscs", "--codec", "lz4"]);
    work.ok(&["table", "create", "plain"]);
    for round in 0..6 {
        let rows: String = (0..200)
            .map(|n| format!("{{\"key\": \"k{n}\", \"value\": \"round {round}\"}}\n"))
            .collect();
        work.file("rows.jsonl", rows);
        // Each closing folds the log, so each round is a segment of its own.
        work.ok(&["import", "rows.jsonl", "--table", "t"]);
    }
    let rows = work.ok(&["scan", "t", "--json"]);
    let said: Value = serde_json::from_str(&work.ok(&["compact", "--json"])).unwrap();
    assert_eq!(
        (&said["settled"], said["tables"].as_array().unwrap().len()),
        (&Value::Bool(true), 2)
    );
    let again: Value = serde_json::from_str(&work.ok(&["compact", "t", "--json"])).unwrap();
    assert_eq!(
        (&again["bytes_merged"], &again["tables"][0]["table"]),
        (&0.into(), &"t".into()),
        "nothing is left"
    );
    assert_eq!(again["tables"][0]["before"], again["tables"][0]["after"]);
    assert_eq!(work.ok(&["scan", "t", "--json"]), rows);
    let text = work.ok(&["compact", "t"]);
    assert!(text.contains("segments") && text.contains("0 B merged in 1 checkpoint;"), "{text}");
    work.refused(&["compact", "nothing"], 3, &["no table named 'nothing'"]);
    work.refused(&["compact", "--rewrite"], 2, &["TABLE"]);
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}

#[test]
fn a_rewritten_table_has_one_segment_and_no_deleted_rows() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t", "--storage", "lscs"]);
    let rows: String =
        (0..500).map(|n| format!("{{\"key\": \"k{n}\", \"value\": \"{n}\"}}\n")).collect();
    work.file("rows.jsonl", rows);
    work.ok(&["import", "rows.jsonl", "--table", "t"]);
    work.ok(&["delete", "t", "--prefix", "k1"]);
    work.ok(&["import", "rows.jsonl", "--table", "t"]);
    work.ok(&["delete", "t", "--prefix", "k2"]);
    let rows = work.ok(&["scan", "t", "--json"]);
    let said: Value =
        serde_json::from_str(&work.ok(&["compact", "t", "--rewrite", "--json"])).unwrap();
    let (before, after) = (&said["tables"][0]["before"], &said["tables"][0]["after"]);
    assert_eq!(after["segments"], 1, "{said}");
    assert!(after["stored_bytes"].as_u64() <= before["stored_bytes"].as_u64(), "{said}");
    assert_eq!(work.ok(&["scan", "t", "--json"]), rows);
    let stats: Value = serde_json::from_str(&work.ok(&["stats", "t", "--json"])).unwrap();
    assert_eq!(stats["rows"].as_u64(), Some(rows.lines().count() as u64), "{stats}");
}

#[test]
fn every_command_has_a_page_and_is_completed() {
    let work = Workplace::new();
    let said: Value = serde_json::from_str(&work.ok(&["man", "pages", "--json"])).unwrap();
    let pages: Vec<_> =
        said["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    let commands = ["shell", "compact", "man", "tenant-quota", "plugin-install", "scan", "backup"];
    for command in commands {
        let name = format!("sochdb-{command}.1");
        assert!(pages.contains(&name.as_str()), "no {name} in {pages:?}");
        let page = std::fs::read_to_string(work.path("pages").join(name)).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{page}");
    }
    assert!(
        !pages.iter().any(|page| page.contains("crash-writer") || page.contains("help")),
        "{pages:?}"
    );
    let front = std::fs::read_to_string(work.path("pages/sochdb.1")).unwrap();
    assert!(front.contains("sochdb") && front.contains("compact"));
    assert!(work.ok(&["man", "pages"]).contains("pages into pages"));
    work.file("taken", "");
    work.refused(&["man", "taken"], 1, &["cannot write manual pages into taken"]);
    for shell in ["bash", "zsh", "fish"] {
        let script = work.ok(&["completions", shell]);
        for word in
            ["shell", "tenant", "compact", "keep-going", "rewrite", "fuel-per-second", "mode"]
        {
            assert!(script.contains(word), "no '{word}' for {shell}");
        }
    }
}
