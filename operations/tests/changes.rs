//! The change feed tells of every commit, once, in order, and never of one that a crash could undo.

use sochdb_kernel::{
    Durability, Environment, ErrorKind, Kernel, Options, TableOptions, Timestamp,
    TransactionOptions,
};
use sochdb_operations::{Change, changes};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;

fn open(vfs: &MemoryVfs, wal_archive: bool) -> Kernel {
    let options = Options { wal_segment_bytes: 16 << 10, wal_archive, ..Options::default() };
    Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), options).unwrap()
}

fn put(kernel: &Kernel, key: u32, bytes: usize) {
    kernel.run(|tx| tx.put("t", &key.to_be_bytes(), &vec![key as u8; bytes])).unwrap();
}

type Tables = BTreeMap<u64, BTreeMap<Vec<u8>, Vec<u8>>>;

/// What a replica does with a change.
fn apply(tables: &mut Tables, change: Change) {
    for row in change.rows {
        let rows = tables.entry(row.table.0).or_default();
        match row.value {
            Some(value) => rows.insert(row.key, value.to_vec()),
            None => rows.remove(&row.key),
        };
    }
}

#[test]
fn a_replica_that_applies_every_change_equals_the_database() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, true);
    let (mut replica, mut told) = (Tables::new(), Timestamp(0));
    let mut random = fastrand::Rng::with_seed(7);
    kernel.create_table("t", TableOptions::default()).unwrap();
    kernel.create_table("u", TableOptions::default()).unwrap();
    let mut feed = changes(&kernel, Timestamp(0)).unwrap();
    for step in 0..2000u32 {
        kernel
            .run(|tx| {
                for _ in 0..random.u32(1..4) {
                    let (table, key) = (if random.bool() { "t" } else { "u" }, [random.u8(0..50)]);
                    match random.u8(0..4) {
                        0 => tx.delete(table, &key)?,
                        1 => tx.put(table, &key, &vec![random.u8(..); 3000])?,
                        _ => tx.put(table, &key, &step.to_be_bytes())?,
                    }
                }
                Ok(())
            })
            .unwrap();
        if random.u8(0..50) == 0 {
            kernel.checkpoint().unwrap();
        }
        if random.u8(0..20) == 0 {
            for change in &mut feed {
                let change = change.unwrap();
                assert_eq!(change.timestamp.0, told.0 + 1);
                told = change.timestamp;
                apply(&mut replica, change);
            }
        }
        if random.u8(0..100) == 0 {
            feed = changes(&kernel, told).unwrap();
        }
    }
    feed.for_each(|change| apply(&mut replica, change.unwrap()));
    // From the very beginning, out of the archive, it comes to the same.
    drop(kernel);
    let kernel = open(&vfs, true);
    let mut again = Tables::new();
    changes(&kernel, Timestamp(0)).unwrap().for_each(|change| apply(&mut again, change.unwrap()));
    let tx = kernel.begin_read().unwrap();
    for name in ["t", "u"] {
        let rows = tx.scan(name, ..).unwrap();
        let rows = rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap());
        let rows: BTreeMap<_, _> = rows.collect();
        let id = tx.table(name).unwrap().id.0;
        assert_eq!(replica[&id], rows, "{name}");
        assert_eq!(again[&id], rows, "{name} from the archive");
    }
}

#[test]
fn what_the_log_no_longer_has_is_an_error_and_not_a_gap() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, false);
    kernel.create_table("t", TableOptions::default()).unwrap();
    (0..50).for_each(|key| put(&kernel, key, 3000));
    kernel.checkpoint().unwrap();
    put(&kernel, 50, 3000);
    assert_eq!(changes(&kernel, Timestamp(0)).err().unwrap().kind(), ErrorKind::NotFound);
    let now = kernel.begin_read().unwrap().snapshot();
    assert!(changes(&kernel, now).unwrap().next().is_none());
    put(&kernel, 51, 10);
    assert_eq!(changes(&kernel, now).unwrap().next().unwrap().unwrap().timestamp.0, now.0 + 1);
}

#[test]
fn an_open_feed_keeps_the_log_it_has_not_read() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, false);
    kernel.create_table("t", TableOptions::default()).unwrap();
    let mut feed = changes(&kernel, Timestamp(0)).unwrap();
    (0..50).for_each(|key| put(&kernel, key, 3000));
    assert_eq!(kernel.checkpoint().unwrap().log_bytes_released, 0);
    assert_eq!(feed.by_ref().map(|change| change.unwrap().timestamp.0).last(), Some(51));
    put(&kernel, 50, 3000);
    assert!(0 < kernel.checkpoint().unwrap().log_bytes_released);
    assert_eq!(feed.next().unwrap().unwrap().timestamp.0, 52);
    assert!(feed.next().is_none());
}

#[test]
fn a_commit_that_is_not_on_disk_yet_is_not_told() {
    let kernel = open(&MemoryVfs::new(), false);
    kernel.create_table("t", TableOptions::default()).unwrap();
    let mut feed = changes(&kernel, Timestamp(1)).unwrap();
    let options = TransactionOptions { durability: Some(Durability::None), ..Default::default() };
    kernel.run_with(options, |tx| tx.put("t", b"a", b"1")).unwrap();
    assert!(kernel.begin_read().unwrap().get("t", b"a").unwrap().is_some());
    assert!(feed.next().is_none());
    put(&kernel, 1, 1);
    assert_eq!(feed.next().unwrap().unwrap().timestamp.0, 2);
    assert_eq!(feed.next().unwrap().unwrap().timestamp.0, 3);
}

#[test]
fn tables_that_appear_and_vanish_are_told_by_name() {
    let kernel = open(&MemoryVfs::new(), false);
    kernel.create_table("a", TableOptions::default()).unwrap();
    kernel.run(|tx| tx.rename_table("a", "b")).unwrap();
    kernel.run(|tx| tx.drop_table("b")).unwrap();
    let feed = changes(&kernel, Timestamp(0)).unwrap();
    let told: Vec<Vec<(String, bool)>> = feed
        .map(|change| {
            let tables = change.unwrap().tables;
            tables.into_iter().map(|change| (change.name, change.table.is_some())).collect()
        })
        .collect();
    let name = |name: &str, is_there| (name.to_owned(), is_there);
    let expected = vec![
        vec![name("a", true)],
        vec![name("a", false), name("b", true)],
        vec![name("b", false)],
    ];
    assert_eq!(told, expected);
}
