//! Codecs from the command line: trained on a table, used by it, kept with it, and missed by name.

use crate::program::Workplace;
use serde_json::{Value, json};
use sochdb::{Database, Options, TableOptions, Timestamp};
use std::fs;
use std::time::{Duration, Instant};

/// Documents of some KiB that have much in common, and no two alike.
fn documents(count: u32) -> String {
    let words = ["genus", "having", "plant", "state", "quality", "family", "small", "tropical"];
    let mut lines = String::new();
    for id in 0..count {
        let mut seed = id.wrapping_mul(2_654_435_761);
        let word = |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{}-{} ", words[(seed >> 16) as usize % words.len()], seed >> 22)
        };
        let text: String = (0..250).map(word).collect();
        lines += &json!({ "id": id, "text": text }).to_string();
        lines.push('\n');
    }
    lines
}

fn filled() -> Workplace {
    let work = Workplace::new();
    let columns = ["--column", "id:int64", "--column", "text:string", "--key", "id"];
    work.ok(&[&["table", "create", "docs", "--codec", "zstd"], &columns[..]].concat());
    let file = work.file("docs.jsonl", documents(400));
    work.run(&["import", file.to_str().unwrap(), "--table", "docs"]);
    work
}

fn rows(work: &Workplace) -> String {
    work.ok(&["scan", "docs", "--json"])
}

#[test]
fn a_codec_is_trained_on_a_table_and_kept_with_it() {
    let work = filled();
    let all = rows(&work);
    assert_eq!(all.lines().count(), 400);
    let said =
        work.ok(&["codec", "train", "docs", "--name", "zstd-docs", "--bytes", "8192", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["codec"], &said["table"]), (&json!("zstd-docs"), &json!("docs")));
    let tried = |key: &str| said["tried_on"][key].as_u64().unwrap();
    assert!(tried("stored") < tried("stored_without"), "{said}");
    assert!(tried("stored_without") < tried("raw"), "{said}");
    assert!(said["bytes"].as_u64().unwrap() <= 8192, "{said}");

    let said = work.run(&["table", "convert", "docs", "--codec", "zstd-docs"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(rows(&work), all);
    let check = work.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(work.ok(&["plugin", "list"]).contains("zstd-docs"));

    // With the backup travels the codec, and with it its dictionary.
    let copy = work.path("copy");
    let said = work.run(&["backup", copy.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(work.ok(&["--db", copy.to_str().unwrap(), "scan", "docs", "--json"]), all);
    let removed = work.run(&["plugin", "remove", "zstd-docs"]);
    assert_eq!(removed.code, 2, "the table needs it: {}", removed.err);
}

#[test]
fn a_manifest_of_a_trained_codec_serves_another_database() {
    let work = filled();
    let file = work.path("zstd-docs.toml");
    let train = ["codec", "train", "docs", "--name", "zstd-docs", "--level", "9", "-o"];
    let said = work.ok(&[&train[..], &[file.to_str().unwrap()]].concat());
    assert!(said.contains("installed codec 'zstd-docs'"), "{said}");
    assert!(said.contains("blocks it has not seen are stored in"), "{said}");
    let manifest = std::fs::read_to_string(&file).unwrap();
    assert!(manifest.contains("\nlevel = 9\n") && manifest.contains("bundled = \"zstd\""));
    let other = Workplace::new();
    other.ok(&["plugin", "install", file.to_str().unwrap()]);
    other.ok(&["table", "create", "docs", "--codec", "zstd-docs"]);
    other.ok(&["put", "docs", "key", &"having small tropical genus ".repeat(200)]);
    assert!(other.ok(&["get", "docs", "key"]).contains("having small tropical genus"));
}

#[test]
fn what_makes_no_codec_is_refused() {
    let work = filled();
    let train = |more: &[&str], code, words: &[&str]| {
        let ended = work.run(&[&["codec", "train"], more].concat());
        assert_eq!(ended.code, code, "{more:?}: {}{}", ended.out, ended.err);
        for word in words {
            assert!(ended.err.contains(word), "{more:?} says no '{word}': {}", ended.err);
        }
    };
    train(&["docs", "--name", "zstd"], 2, &["there is a plugin 'zstd' already"]);
    train(&["docs", "--name", "a b"], 2, &["cannot be a plugin's name"]);
    train(
        &["docs", "--name", "zstd-new", "--using", "lz4"],
        2,
        &["'lz4' takes no dictionary", "zstd"],
    );
    train(&["docs", "--name", "zstd-new", "--bytes", "9999999"], 2, &["114688"]);
    train(&["docs", "--name", "zstd-new", "--level", "20"], 2, &["19"]);
    train(&["nothing", "--name", "zstd-new"], 3, &["nothing"]);
    work.ok(&["table", "create", "small"]);
    work.ok(&["put", "small", "key", "value"]);
    train(&["small", "--name", "zstd-new"], 2, &["no blocks"]);
    work.ok(&["put", "small", "long", &"x".repeat(5000)]);
    train(&["small", "--name", "zstd-new"], 2, &["too few"]);
    let file = work.file("there.toml", "");
    train(&["docs", "--name", "zstd-new", "-o", file.to_str().unwrap()], 2, &["already"]);
    assert!(!work.ok(&["plugin", "list"]).contains("zstd-new"));
    train(&["docs", "--name", "zstd-new"], 0, &[]);
    train(&["docs", "--name", "zstd-new"], 2, &["there is a plugin 'zstd-new' already"]);
}

#[test]
fn the_archived_log_is_compressed_in_the_background_and_tells_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || {
        let options = Options {
            wal_segment_bytes: 64 << 10,
            memtable_bytes_max: 256 << 10,
            ..Options::default()
        };
        Database::builder().options(options).archive_codec("zstd")
    };
    let db = builder().open(folder.path().join("db")).unwrap();
    db.create_table("t", TableOptions::default()).unwrap();
    let packed = || {
        let files = fs::read_dir(folder.path().join("db/archive"));
        let names = files.into_iter().flatten().map(|file| file.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".wal.z")).count()
    };
    let (deadline, mut commits) = (Instant::now() + Duration::from_secs(60), 0_u32);
    while packed() < 5 {
        assert!(Instant::now() < deadline, "{} files are compressed", packed());
        let row = "a row that is much like the others ".repeat(50);
        db.run(|tx| tx.put("t", &commits.to_be_bytes(), row.as_bytes())).unwrap();
        commits += 1;
    }
    db.close().unwrap();
    let db = builder().open(folder.path().join("db")).unwrap();
    let rows: usize =
        db.changes(Timestamp(0)).unwrap().map(|change| change.unwrap().rows.len()).sum();
    assert_eq!(rows, commits as usize);
    assert!(db.check().unwrap().problems.is_empty());
    println!("{} files of the log compressed, {commits} commits read back", packed());
}
