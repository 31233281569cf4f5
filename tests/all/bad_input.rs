//! What bad input gets: a typed error that names the file, the place and the way out, its exit code,
//! and nothing changed on disk. [`Workplace::refused`] makes sure of the last for each.

use crate::program::Workplace;
use sochdb::{Database, TableOptions};
use std::time::Duration;

/// A database with one table of a thousand rows, closed.
fn filled() -> Workplace {
    let work = Workplace::new();
    let db = Database::builder().bundled_plugins(false).open(work.db()).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    db.run(|tx| (0..1000u32).try_for_each(|n| tx.put("t", &n.to_be_bytes(), &[7; 300]))).unwrap();
    db.close().unwrap();
    work
}

fn overwrite(work: &Workplace, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = work.db().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn no_database() {
    let work = Workplace::new();
    for args in [
        &["table", "list"][..],
        &["get", "t", "k"],
        &["put", "t", "k", "v"],
        &["check"],
        &["stats"],
    ] {
        work.refused(args, 3, &["no database", "db", "help: `sochdb table create`"]);
    }
}

#[test]
fn not_a_database() {
    let work = Workplace::new();
    work.file("db/holiday.jpg", "not a page");
    for args in [&["table", "list"][..], &["table", "create", "t"], &["check"]] {
        work.refused(args, 2, &["is not a SochDB database", "'holiday.jpg'", "empty directory"]);
    }
    let work = Workplace::new();
    work.file("db", "a file");
    work.refused(&["table", "create", "t"], 2, &["is a file"]);
    let work = Workplace::new();
    work.file("db/data.soch", "x".repeat(16384));
    work.file("db/LOCK", "");
    work.refused(&["table", "list"], 5, &["data.soch", "help: "]);
}

#[test]
fn a_newer_format() {
    let work = filled();
    overwrite(&work, "data.soch", |bytes| {
        for page in [0, 4096] {
            bytes[page + 8..page + 12].copy_from_slice(&9u32.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[page..page + 4092]);
            bytes[page + 4092..page + 4096].copy_from_slice(&crc.to_le_bytes());
        }
    });
    for args in [&["table", "list"][..], &["table", "create", "u"]] {
        work.refused(
            args,
            5,
            &["data.soch", "format 9 is newer than this program's", "use a newer sochdb"],
        );
    }
}

#[test]
fn a_directory_in_use() {
    let work = filled();
    let db = Database::builder().bundled_plugins(false).background(false).open(work.db()).unwrap();
    for args in [&["delete", "t", "k"][..], &["put", "t", "k", "v"], &["table", "create", "u"]] {
        let args = [args, &["--wait", "0.1"]].concat();
        work.refused(&args, 4, &["another process or handle has it open", "help: wait", "--wait"]);
    }
    work.refused(&["put", "t", "k", "v", "--wait=-1"], 2, &["--wait", "0 to 86400"]);
    // Who only reads is let in, and sees what was committed a moment ago.
    for round in 0..3 {
        let value = format!("round {round}");
        db.run(|tx| tx.put("t", b"fresh", value.as_bytes())).unwrap();
        assert_eq!(work.ok(&["get", "t", "fresh"]).trim(), value);
        db.checkpoint().unwrap();
        assert_eq!(work.ok(&["get", "t", "fresh"]).trim(), value);
        work.ok(&["check"]);
    }
    let copy = format!("{}-copy", work.db().display());
    work.ok(&["backup", &copy]);
    // Who writes waits for a while.
    std::thread::scope(|scope| {
        let put = scope.spawn(|| work.ok(&["put", "t", "fresh", "none", "--wait", "600"]));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!put.is_finished(), "the database is open here");
        db.close().unwrap();
        put.join().unwrap();
    });
    assert_eq!(work.ok(&["--db", &copy, "get", "t", "fresh"]).trim(), "round 2");
    assert!(std::fs::read_dir(work.db().join("readers")).unwrap().next().is_none());
}

#[test]
fn a_truncated_or_altered_data_file() {
    let work = filled();
    let whole = std::fs::read(work.db().join("data.soch")).unwrap();
    let rows = work.ok(&["scan", "t", "--json"]);
    for keep in [0, 100, 4096, 8192, 12288, whole.len() / 2, whole.len() - 4096] {
        overwrite(&work, "data.soch", |bytes| bytes.truncate(keep));
        let before = work.fingerprint();
        let ended = work.run(&["scan", "t", "--json"]);
        // Without the newest meta page the older one counts, and the log has what is newer.
        assert!(ended.code == 5 || ended.out == rows, "{keep} bytes kept: {}", ended.err);
        if ended.code == 5 {
            work.refused(&["scan", "t"], 5, &["data.soch at byte", "help: "]);
            work.refused(&["check"], 5, &[]);
        }
        assert!(ended.code == 5 || keep < 12288, "{keep} bytes kept, and nobody misses the rest");
        assert_eq!(before, work.fingerprint());
        overwrite(&work, "data.soch", |bytes| *bytes = whole.clone());
    }
    // One flipped bit in every page: a scan either does not need the page or says which it was.
    let mut noticed = 0;
    for page in (0..whole.len()).step_by(4096).step_by(whole.len() / 4096 / 8) {
        overwrite(&work, "data.soch", |bytes| bytes[page + 1000] ^= 4);
        let before = work.fingerprint();
        let ended = work.run(&["check"]);
        assert_eq!(before, work.fingerprint());
        assert!([0, 5].contains(&ended.code), "page at {page}: {ended:?}");
        assert!(!ended.out.contains("sochdb check"), "who checks is not sent to check: {ended:?}");
        noticed += u32::from(ended.code == 5);
        overwrite(&work, "data.soch", |bytes| *bytes = whole.clone());
    }
    assert!(3 <= noticed, "only {noticed} altered pages were noticed");
}

#[test]
fn an_altered_log() {
    let work = Workplace::new();
    let db = Database::builder().bundled_plugins(false).background(false).open(work.db()).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    for n in 0..200u32 {
        db.run(|tx| tx.put("t", &n.to_be_bytes(), &[7; 300])).unwrap();
    }
    let live = work.fingerprint();
    // As a kill would leave it: copied while open, so that the rows are in the log alone.
    let copy = Workplace::new();
    for name in std::fs::read_dir(work.db().join("wal")).unwrap() {
        let name = name.unwrap().file_name().into_string().unwrap();
        copy.file(
            &format!("db/wal/{name}"),
            std::fs::read(work.db().join("wal").join(&name)).unwrap(),
        );
    }
    copy.file("db/data.soch", std::fs::read(work.db().join("data.soch")).unwrap());
    copy.file("db/LOCK", "");
    assert_eq!(live, work.fingerprint());
    db.close().unwrap();
    assert_eq!(copy.ok(&["scan", "t", "--json"]).lines().count(), 200);
    let log = std::fs::read_dir(copy.db().join("wal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let name = log.file_name().unwrap().to_str().unwrap();
    for args in [&["scan", "t"][..], &["put", "t", "k", "v"], &["table", "list"]] {
        copy.refused(args, 5, &[name, "at byte", "help: "]);
    }
}

const MANIFEST: &str = r#"
[plugin]
name = "mine"
version = "0.1.0"
kind = "codec"
min_kernel_version = "0.1.0"

[module]
path = "mine.wasm"

[exports]
interfaces = ["codec", "lifecycle"]
"#;

#[test]
fn a_manifest_with_an_unknown_key() {
    let work = Workplace::new();
    let create = ["--plugin-dir", "plugins", "table", "create", "t"];
    work.file("plugins/mine.toml", MANIFEST.replace("kind =", "kid = 1\nkind ="));
    work.refused(&create, 2, &["plugins/mine.toml:5:1", "kid", "kind"]);
    work.refused(&["plugin", "inspect", "plugins/mine.toml"], 2, &["plugins/mine.toml:5:1"]);
    work.file("plugins/mine.toml", format!("{MANIFEST}\n[resources]\ntimeout_ms = 0\n"));
    work.refused(&create, 2, &["plugins/mine.toml:15:14", "1"]);
    work.file("plugins/mine.toml", "[plugin");
    work.refused(&create, 2, &["plugins/mine.toml:1:"]);
    work.refused(&["--plugin-dir", "nowhere", "table", "create", "t"], 1, &["nowhere"]);
}

#[test]
fn a_wasm_file_that_is_no_component_or_lacks_exports() {
    let work = Workplace::new();
    let create = ["--plugin-dir", "plugins", "table", "create", "t"];
    work.file("plugins/mine.toml", MANIFEST);
    work.refused(&create, 3, &["plugins/mine.wasm"]);
    let cases: [(&[u8], &str); 4] = [
        (b"hello", "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "module, not a component"),
        (b"\0asm\x0d\0\x01\0garbage", "not a valid component"),
        // A component, and an empty one.
        (b"\0asm\x0d\0\x01\0", "exports []"),
    ];
    for (bytes, word) in cases {
        work.file("plugins/mine.wasm", bytes);
        work.refused(&create, 2, &["mine", word]);
        if !word.starts_with("exports") {
            work.refused(
                &["plugin", "inspect", "plugins/mine.wasm"],
                2,
                &["plugins/mine.wasm", word],
            );
        }
    }
    let found = work.ok(&["plugin", "inspect", "plugins/mine.wasm"]);
    assert!(found.contains("loadable  no"), "{found}");
}

#[test]
fn malformed_rows_are_named_by_line_and_column() {
    let work = Workplace::new();
    let cases = [
        ("t.csv", "id,n\n1,2\n3\n", "t.csv line 3: expected 2 fields as in the header, found 1"),
        ("t.csv", "id,n\n1,2\n\n2,\"x\n3,4\n", "t.csv line 4: a quotation mark is opened"),
        ("t.csv", "id,id\n1,2\n", "t.csv line 1: column 'id' is named twice"),
        ("t.csv", "", "t.csv line 1: the file is empty"),
        ("t.csv", "n\n1\n", "a typed table needs a key"),
        ("t.jsonl", "{\"id\": 1}\n{\"id\": }\n", "t.jsonl line 2: not a JSON object"),
        ("t.jsonl", "{\"id\": 1}\n{\"id\": {}}\n", "t.jsonl line 2: column 'id': holds an object"),
        ("t.jsonl", "", "the file has no rows"),
        ("t.txt", "1", "does not say the file's format"),
    ];
    for (name, text, message) in cases {
        work.file(name, text);
        work.refused(&["import", name], 2, &[message]);
    }
    work.refused(&["import", "none.csv"], 3, &["none.csv"]);
    work.refused(&["import", "."], 2, &["format"]);
    assert!(!work.db().exists(), "a bad first batch makes no database");

    // In a table that is there.
    work.ok(&[
        "table", "create", "t", "--column", "id:int64", "--column", "n:int64", "--key", "id",
    ]);
    let cases = [
        ("t.csv", "id,n\n1,2\n3,x\n", "t.csv line 3: column 'n': expected int64, found 'x'"),
        ("t.csv", "id,n\n1,2\n3,\n", "t.csv line 3: column 'n': expected int64, found ''"),
        ("t.csv", "id,n,z\n1,2,3\n", "t.csv line 2: column 'z': the table has no such column"),
        ("t.csv", "id\n1\n", "t.csv line 2: column 'n': is missing"),
        (
            "t.jsonl",
            "{\"id\": 1, \"n\": 2}\n\n{\"id\": 3, \"n\": 0.5}\n",
            "t.jsonl line 3: column 'n'",
        ),
    ];
    for (name, text, message) in cases {
        work.file(name, text);
        work.refused(&["import", name], 2, &[message, "nothing was imported"]);
    }
}

#[test]
fn a_failing_batch_leaves_nothing_of_itself_and_says_what_was_there() {
    let work = Workplace::new();
    let mut text = String::from("id,n\n");
    (0..2350).for_each(|n| text += &format!("{n},{n}\n"));
    work.file("t.csv", format!("{text}oops,1\n"));
    let ended = work.run(&["import", "t.csv", "--batch-rows", "500"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(
        ended.err.contains("t.csv line 2352: column 'id': expected int64, found 'oops'"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("2,000 rows were committed before this batch"), "{}", ended.err);
    let ids = work.ok(&["scan", "t", "--columns", "id", "--json"]);
    assert_eq!(ids.lines().count(), 2000);
    assert_eq!(ids.lines().last(), Some("{\"id\":1999}"));
}

#[test]
fn calls_that_make_no_sense() {
    let work = filled();
    let long = "k".repeat(5000);
    let cases: [(&[&str], i32, &str); 9] = [
        (&["put", "t", "k"], 2, "takes a key and a value"),
        (&["put", "t", &long, "v"], 2, "key"),
        (&["put", "t", "--hex", "0", "ff"], 2, "hexadecimal"),
        (&["get", "t", "a", "b"], 2, "one part"),
        (&["scan", "t", "--columns", "a"], 2, "has no columns"),
        (&["table", "create", ""], 2, "is empty"),
        (&["table", "create", "u", "--key", "id"], 2, "--column"),
        (&["table", "create", "u", "--column", "id:text"], 2, "'text' is no column type"),
        (&["table", "create", "u", "--set", "size"], 2, "KEY=VALUE"),
    ];
    for (args, code, word) in cases {
        work.refused(args, code, &[word]);
    }
    work.refused(
        &["table", "create", "u", "--codec", "zip"],
        6,
        &["zip", "help: `sochdb plugin list`"],
    );
    work.refused(&["table", "create", "u", "--storage", "tape"], 6, &["tape"]);
    work.refused(&["table", "drop", "u"], 3, &["no table named 'u'"]);
}

/// Rows that make a checkpoint due, and are less than what makes a commit run one itself.
#[test]
fn a_checkpoint_waits_for_who_reads_beside_its_owner() {
    let work = filled();
    let options = sochdb::Options { memtable_bytes_max: 1 << 20, ..Default::default() };
    let db = Database::builder().options(options).open(work.db()).unwrap();
    db.checkpoint().unwrap();
    let checkpoints = || {
        let all = db.metrics();
        let done = all.iter().find(|metric| metric.name == "sochdb_checkpoints_total").unwrap();
        format!("{:?}", done.value)
    };
    let before = checkpoints();
    let beside = || Database::builder().read_only(true).beside_owner(true).background(false);
    let reader = beside().open(work.db()).unwrap();
    let rows = || reader.begin_read().unwrap().scan("t", ..).unwrap().map(Result::unwrap).count();
    let seen = rows();
    db.run(|tx| {
        (10_000..11_300u32).try_for_each(|key| tx.put("t", &key.to_be_bytes(), &[7; 1000]))
    })
    .unwrap();
    // The background thread looks forty times a second.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(rows(), seen, "its moment stays");
        assert!(db.checkpoint_due());
        assert_eq!(checkpoints(), before, "nothing is folded in while somebody reads");
    }
    reader.close().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while checkpoints() == before {
        assert!(std::time::Instant::now() < deadline, "nobody reads, and yet it waits");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(
        beside().open(work.db()).unwrap().begin_read().unwrap().scan("t", ..).unwrap().count(),
        seen + 1300
    );
    db.close().unwrap();
}
