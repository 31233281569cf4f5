//! Real threads on one database: acknowledged means readable by everybody from then on, snapshots only
//! grow, counters add up.

use crate::{seed, size};
use sochdb_kernel::{
    Durability, Environment, IsolationLevel, Kernel, KernelError, Options, TableOptions,
    TransactionOptions,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const THREADS: u64 = 8;

fn open(env: Environment) -> Kernel {
    let options = Options { memtable_bytes_max: 64 << 10, ..Options::default() };
    let kernel = Kernel::open(env, options).unwrap();
    let mut tx = kernel.begin().unwrap();
    tx.create_table("t", TableOptions::default()).unwrap();
    tx.commit().unwrap();
    kernel
}

#[test]
fn group_commit_acknowledges_only_what_everybody_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = open(Environment::disk(dir.path()));
    let each = size(500, 5000);
    let acked: Mutex<Vec<[u8; 16]>> = Mutex::new(Vec::new());
    let (newest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (kernel, acked, newest) = (&kernel, &acked, &newest);
                scope.spawn(move || {
                    for number in 0..each {
                        let mut key = [0; 16];
                        key[..8].copy_from_slice(&thread.to_be_bytes());
                        key[8..].copy_from_slice(&number.to_be_bytes());
                        let timestamp = loop {
                            let mut tx = kernel.begin().unwrap();
                            tx.put("t", &key, &[thread as u8; 100]).unwrap();
                            match tx.commit() {
                                // It slept through more commits than are kept to be compared with.
                                Err(KernelError::Conflict(_)) => {}
                                committed => break committed.unwrap(),
                            }
                        };
                        newest.fetch_max(timestamp.0, Ordering::SeqCst);
                        acked.lock().unwrap().push(key);
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            let (kernel, acked, newest, done) = (&kernel, &acked, &newest, &done);
            scope.spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::SeqCst) {
                    let known = acked.lock().unwrap().clone();
                    let at_least = newest.load(Ordering::SeqCst);
                    let tx = kernel.begin_read().unwrap();
                    let snapshot = tx.snapshot().0;
                    assert!(last <= snapshot, "snapshot {snapshot} after {last}");
                    assert!(at_least <= snapshot, "snapshot {snapshot}, acknowledged {at_least}");
                    last = snapshot;
                    for key in known.iter().rev().take(20) {
                        assert!(
                            tx.get("t", key).unwrap().is_some(),
                            "an acknowledged row is not there"
                        );
                    }
                    let rows =
                        tx.scan("t", ..).unwrap().collect::<Result<Vec<_>, _>>().unwrap().len();
                    assert!(known.len() <= rows, "{rows} rows, {} acknowledged", known.len());
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        // Whatever became of them, the readers must end.
        done.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|writer| writer.unwrap());
    });
    let stats = kernel.stats();
    drop(kernel);
    let kernel = Kernel::open(Environment::disk(dir.path()), Options::default()).unwrap();
    let tx = kernel.begin_read().unwrap();
    assert_eq!(
        tx.scan("t", ..).unwrap().count() as u64,
        THREADS * each,
        "rows after opening again"
    );
    assert!(sochdb_operations::check(&kernel).unwrap().problems.is_empty());
    println!(
        "group commit: {} acknowledged commits of {THREADS} threads readable at once and after reopening, \
         {} log syncs; no seed, the scheduler's own",
        THREADS * each,
        stats.log_syncs
    );
}

/// Increments through `run` never get lost, at any level that promises so.
#[test]
fn group_commit_counters_add_up() {
    let mut total = 0;
    for isolation in [IsolationLevel::SnapshotIsolation, IsolationLevel::Serializable] {
        let env = Environment { seed: seed(), ..sochdb_sim::memory() };
        let kernel = Arc::new(open(env));
        let each = size(1000, 5000);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..each {
                        increment(&kernel, isolation);
                    }
                });
            }
        });
        let tx = kernel.begin_read().unwrap();
        let count = tx.get("t", b"counter").unwrap().expect("counted");
        assert_eq!(
            u64::from_be_bytes((*count).try_into().unwrap()),
            THREADS * each,
            "{isolation:?}"
        );
        total += THREADS * each;
    }
    println!("group commit: {total} concurrent increments of one counter, none lost; no seed");
}

fn increment(kernel: &Kernel, isolation: IsolationLevel) {
    loop {
        let durability = Some(Durability::None);
        let options = TransactionOptions { isolation, durability, ..Default::default() };
        let mut tx = kernel.begin_with(options).unwrap();
        let old = tx.get("t", b"counter").unwrap();
        let old = old.map_or(0, |bytes| u64::from_be_bytes((*bytes).try_into().unwrap()));
        let done = tx.put("t", b"counter", &(old + 1).to_be_bytes()).and_then(|()| tx.commit());
        match done {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}
