//! A checkpoint that rewrites a whole tree does it in pieces: the file does not hold the tree twice, and nobody
//! sees a piece. What crashes between pieces leave is what `sim` crashes everywhere for.

use super::{Rows, all, healthy, open_with};
use sochdb_kernel::{Kernel, Options, TableOptions};
use sochdb_sim::MemoryVfs;
use std::sync::atomic::{AtomicBool, Ordering};

const ROWS: u32 = 20_000;

/// A memtable of 256 KiB, so pieces of 8 pages.
fn pieces() -> Options {
    Options { memtable_bytes_max: 256 << 10, wal_segment_bytes: 64 << 10, ..Options::default() }
}

fn key(number: u32) -> Vec<u8> {
    format!("{number:08}").into_bytes()
}

/// The numbers below `count`, far from their order.
fn shuffled(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |n| u32::try_from(u64::from(n) * 7919 % u64::from(count)).unwrap())
}

fn overwrite(kernel: &Kernel, rows: &mut Rows, generation: u8) {
    let numbers: Vec<_> = shuffled(ROWS).collect();
    for numbers in numbers.chunks(1000) {
        kernel
            .run(|tx| numbers.iter().try_for_each(|n| tx.put("t", &key(*n), &[generation; 100])))
            .unwrap();
        rows.extend(numbers.iter().map(|n| (key(*n), vec![generation; 100])));
    }
    kernel.checkpoint().unwrap();
}

#[test]
fn rows_overwritten_everywhere_do_not_double_the_file() {
    let vfs = MemoryVfs::new();
    let kernel = open_with(&vfs, pieces());
    let expected: Rows = (0..ROWS).map(|n| (key(n), vec![0; 100])).collect();
    let loaded = expected.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
    kernel.bulk_load("t", TableOptions::default(), loaded).unwrap();
    let mut expected = expected;
    let before = kernel.stats().pages_total;
    for generation in 1..4 {
        overwrite(&kernel, &mut expected, generation);
    }
    let after = kernel.stats();
    println!(
        "{before} pages as loaded, {} after every row was written three times",
        after.pages_total
    );
    assert!(after.pages_total < before + before / 4, "{before} pages became {}", after.pages_total);
    assert_eq!(all(&kernel, "t"), expected);
    healthy(&kernel);
    drop(kernel);
    assert_eq!(all(&open_with(&vfs, pieces()), "t"), expected);
}

#[test]
fn nobody_sees_a_piece_of_a_checkpoint() {
    let kernel = open_with(&MemoryVfs::new(), Options { memtable_bytes_max: 64 << 10, ..pieces() });
    kernel.create_table("t", TableOptions::default()).unwrap();
    let generation =
        |n: u8| kernel.run(|tx| (0..500).try_for_each(|row| tx.put("t", &key(row), &[n; 100])));
    generation(0).unwrap();
    let (done, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let tx = kernel.begin_read().unwrap();
                    let rows: Vec<_> =
                        tx.scan("t", ..).unwrap().map(|row| row.unwrap().1).collect();
                    assert_eq!(rows.len(), 500);
                    let first = rows[0][0];
                    assert!(rows.iter().all(|row| row[0] == first), "rows of two commits at once");
                    assert_eq!(
                        tx.get("t", &key(499)).unwrap().unwrap()[0],
                        first,
                        "and by its key"
                    );
                    seen.store(true, Ordering::Release);
                }
            });
        }
        for n in 1..200u8 {
            generation(n).unwrap();
            kernel.checkpoint().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert!(seen.load(Ordering::Acquire), "somebody read meanwhile");
    healthy(&kernel);
}
