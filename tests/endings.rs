//! What a database leaves behind in its process when it was closed, or dropped: no thread, and no open file.
//!
//! This is a program of its own because it counts the threads and files of the process.
#![cfg(target_os = "linux")]

use serde::{Deserialize, Serialize};
use sochdb::rows::Vector;
use sochdb::{Database, IndexOptions, KernelResult, TableOptions};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Book {
    isbn: String,
    year: i32,
    mood: Vector<2>,
}

/// The threads of databases, by name.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |path: &Path| std::fs::read_to_string(path.join("comm")).ok();
    let mut names: Vec<String> = tasks.filter_map(|task| name(&task.unwrap().path())).collect();
    names.retain(|name| name.starts_with("sochdb-"));
    names
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A database that has used plugins of each kind that keeps rows.
fn used(path: &Path) -> KernelResult<Database> {
    let db = Database::open(path)?;
    if db.begin_read()?.tables()?.is_empty() {
        let (storage, codec) = (Some("lscs".to_owned()), Some("zstd".to_owned()));
        db.create_table("columns", TableOptions { storage, codec, ..TableOptions::default() })?;
        let books = db.typed_table::<Book>("books", &["isbn"])?;
        let emma = Book { isbn: "1".into(), year: 1815, mood: [0.8, 0.6].into() };
        db.run(|tx| books.insert(tx, &emma))?;
        db.create_index("books", "by_year", "year", &IndexOptions::default(), &mut |_| {})?;
        db.create_index("books", "by_mood", "mood", &IndexOptions::default(), &mut |_| {})?;
    }
    db.run(|tx| (0..200_u32).try_for_each(|n| tx.put("columns", &n.to_be_bytes(), &[7; 100])))?;
    db.checkpoint()?;
    let tx = db.begin_read()?;
    assert_eq!(tx.scan("columns", ..)?.count(), 200);
    let books = db.typed_table::<Book>("books", &["isbn"])?;
    assert_eq!(books.lookup(&tx, "by_year", 1800..1900, 10)?.len(), 1);
    assert_eq!(books.search(&tx).near(&[1.0, 0.0]).k(1).run()?.len(), 1);
    drop(tx);
    Ok(db)
}

#[test]
fn a_closed_or_dropped_database_leaves_no_thread_and_no_open_file() {
    let directory = tempfile::tempdir().unwrap();
    // What a process makes once and keeps, such as a pool of threads, is there after the first.
    used(directory.path()).unwrap().close().unwrap();
    let files = open_files();
    assert_eq!(threads(), Vec::<String>::new(), "after the first");
    for round in 0..4 {
        let db = used(directory.path()).unwrap();
        assert!(!threads().is_empty() && files < open_files(), "they can be counted");
        // Until then plugins that nobody needed have stand-ins.
        if 1 < round {
            db.plugin_host().unwrap();
        }
        match round % 2 {
            0 => db.close().unwrap(),
            _ => drop(db),
        }
        assert_eq!((threads(), open_files()), (Vec::new(), files), "round {round}");
    }
}
