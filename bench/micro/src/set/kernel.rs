//! The kernel: transactions, checkpoints, recovery, on a disk in memory whose syncs cost nothing.
//!
//! Rows have keys of 24 and values of 100 bytes. `tree` says that a checkpoint has put them into the tree and all
//! its pages are in the cache, `memtable` that none has yet.

use super::data::{key, rows, value};
use super::{Micro, Run};
use sochdb_kernel::{Environment, Kernel, Options, TableOptions};
use sochdb_sim::{ManualClock, MemoryVfs};
use std::hint::black_box;
use std::sync::Arc;

/// Where all rows are.
const TABLE: &str = "rows";
/// Rows of a database that has some.
const ROWS: u64 = 10_000;
/// Rows of one commit where many are written.
const BATCH: u64 = 100;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("kernel.commit-1-row", 100, commit_one),
    Micro::new("kernel.commit-1000-rows", 1, commit_thousand),
    Micro::new("kernel.read-modify-write", 100, read_modify_write),
    Micro::new("kernel.begin-read", 100, begin_read),
    Micro::new("kernel.get-tree", 100, || get(Place::Tree, 0)),
    Micro::new("kernel.get-tree-absent", 100, || get(Place::Tree, ROWS)),
    Micro::new("kernel.get-memtable", 100, || get(Place::Memtable, 0)),
    Micro::new("kernel.scan-100-tree", 10, || scan(Place::Tree)),
    Micro::new("kernel.scan-100-memtable", 10, || scan(Place::Memtable)),
    Micro::new("kernel.scan-100-both", 10, || scan(Place::Both)),
    Micro::new("kernel.checkpoint-10000-new-rows", 1, checkpoint_new),
    Micro::new("kernel.checkpoint-1000-changed-rows", 1, checkpoint_changed),
    Micro::new("kernel.bulk-load-10000-rows", 1, bulk_load),
    Micro::new("kernel.recover-10000-rows", 1, recover),
];

/// Where a database's rows are.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Memtable,
    Tree,
    /// In the tree, and a tenth of as many between them in the memtable.
    Both,
}

fn open(vfs: &MemoryVfs) -> Kernel {
    let clock = Arc::new(ManualClock::default());
    clock.advance(1_700_000_000_000_000);
    let environment = Environment { vfs: Arc::new(vfs.clone()), clock, seed: 7 };
    Kernel::open(environment, Options::default()).expect("memory does not fail")
}

/// A database that has a table without rows.
fn empty() -> Kernel {
    let kernel = open(&MemoryVfs::new());
    kernel.create_table(TABLE, TableOptions::default()).expect("there is none");
    kernel
}

/// Writes `count` rows from number `first` on.
fn fill(kernel: &Kernel, first: u64, count: u64) {
    for batch in rows(first, count).chunks(BATCH as usize) {
        put(kernel, batch);
    }
}

/// Writes rows in one commit.
fn put(kernel: &Kernel, rows: &[(Vec<u8>, Vec<u8>)]) {
    kernel
        .run(|tx| rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))
        .expect("nobody else writes");
}

fn filled(place: Place) -> Kernel {
    let kernel = empty();
    fill(&kernel, 0, ROWS);
    if place != Place::Memtable {
        kernel.checkpoint().expect("memory does not fail");
    }
    if place == Place::Both {
        fill(&kernel, ROWS, ROWS / 10);
    }
    // Whatever is read is in the cache afterwards.
    let tx = kernel.begin_read().expect("it is open");
    assert!(ROWS as usize <= tx.scan(TABLE, ..).expect("it is there").count());
    drop(tx);
    kernel
}

fn commit_one() -> Run {
    let kernel = filled(Place::Both);
    let new = rows(2 * ROWS, 100);
    Box::new(move || new.chunks(1).for_each(|row| put(&kernel, row)))
}

fn commit_thousand() -> Run {
    let kernel = filled(Place::Both);
    let new = rows(2 * ROWS, 1_000);
    Box::new(move || put(&kernel, &new))
}

fn read_modify_write() -> Run {
    let kernel = filled(Place::Tree);
    let keys: Vec<_> = (0..100).map(|number| key(number * 97)).collect();
    let change = move |key: &Vec<u8>| {
        let changed = kernel.run(|tx| {
            let mut value = tx.get(TABLE, key)?.expect("it is there").to_vec();
            value[0] ^= 1;
            tx.put(TABLE, key, &value)
        });
        changed.expect("nobody else writes");
    };
    Box::new(move || keys.iter().for_each(&change))
}

fn begin_read() -> Run {
    let kernel = filled(Place::Both);
    Box::new(move || (0..100).for_each(|_| drop(black_box(kernel.begin_read()))))
}

/// Looks up rows from number `first` on, of which those below [`ROWS`] are there.
fn get(place: Place, first: u64) -> Run {
    let kernel = filled(place);
    let tx = kernel.begin_read().expect("it is open");
    let keys: Vec<_> = (0..100).map(|number| key(first + number * 97)).collect();
    Box::new(move || {
        for key in &keys {
            let found = tx.get(TABLE, key).expect("memory does not fail");
            assert_eq!(black_box(found).is_some(), first < ROWS);
        }
    })
}

fn scan(place: Place) -> Run {
    let kernel = filled(place);
    let tx = kernel.begin_read().expect("it is open");
    // Not from the last keys on, behind which there are no hundred more.
    let mut keys: Vec<_> = (0..ROWS).map(key).collect();
    keys.sort_unstable();
    let keys: Vec<_> = (1..=10).map(|part| keys[part * 900].clone()).collect();
    Box::new(move || {
        for from in &keys {
            let mut seen = 0;
            for row in tx.scan(TABLE, &from[..]..).expect("it is there").take(100) {
                black_box(row.expect("memory does not fail"));
                seen += 1;
            }
            assert_eq!(seen, 100);
        }
    })
}

fn checkpoint_new() -> Run {
    let kernel = filled(Place::Memtable);
    Box::new(move || drop(black_box(kernel.checkpoint().expect("memory does not fail"))))
}

fn checkpoint_changed() -> Run {
    let kernel = filled(Place::Tree);
    let changed: Vec<_> =
        (0..1_000).map(|number| (key(number * 7), value(number + ROWS))).collect();
    put(&kernel, &changed);
    Box::new(move || drop(black_box(kernel.checkpoint().expect("memory does not fail"))))
}

fn bulk_load() -> Run {
    let kernel = open(&MemoryVfs::new());
    let mut rows = rows(0, ROWS);
    rows.sort_unstable();
    Box::new(move || {
        // Whatever is called again makes the table again.
        let _ = kernel.run(|tx| tx.drop_table(TABLE));
        let rows = rows.iter().cloned().map(Ok);
        kernel.bulk_load(TABLE, TableOptions::default(), rows).expect("they are sorted");
    })
}

fn recover() -> Run {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    kernel.create_table(TABLE, TableOptions::default()).expect("there is none");
    fill(&kernel, 0, ROWS);
    // As a killed process leaves it: a copy, beside the database that still lives.
    let left = vfs.fork();
    Box::new(move || {
        let kernel = open(&left.fork());
        assert_eq!(kernel.recovery().rows, ROWS + 1, "and the table's own");
    })
}
