//! Transactions begin while checkpoints let go of the rows they will be validated against. Of two that
//! read and write one row, one conflicts: no increment is lost, at any level that promises so. And a
//! transaction conflicts only with commits of its rows that had not returned when it began.

use crate::explore;
use crate::world::{World, image, number};
use sochdb_kernel::{IsolationLevel, TransactionOptions};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Calls of `commit` begun, and returned.
#[derive(Default)]
struct Calls {
    begun: AtomicU64,
    returned: AtomicU64,
}

/// Adds one to the counter, unless somebody was first. Says whether it did.
fn increment(world: &World, isolation: IsolationLevel, calls: &Calls) -> bool {
    let returned = calls.returned.load(SeqCst);
    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
    let mut tx = world.kernel.begin_with(options).unwrap();
    let next = number(&tx, b"counter") + 1;
    tx.put("t", b"counter", &next.to_be_bytes()).unwrap();
    calls.begun.fetch_add(1, SeqCst);
    let result = tx.commit();
    let others = calls.begun.load(SeqCst) - 1 - returned;
    calls.returned.fetch_add(1, SeqCst);
    match result {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_retryable(), "{error}");
            assert!(
                0 < others,
                "a conflict with a commit that this transaction could see: {error}"
            );
            false
        }
    }
}

#[test]
fn conflicts_are_seen_across_checkpoints() {
    let image = image(|_| Ok(()));
    explore("conflicts", move || {
        let world = World::new(&image, 60);
        let calls = Arc::new(Calls::default());
        let levels = [IsolationLevel::SnapshotIsolation, IsolationLevel::Serializable];
        let writers = levels.map(|isolation| {
            let calls = calls.clone();
            world.spawn(move |world| {
                (0..3).filter(|_| increment(world, isolation, &calls)).count() as u64
            })
        });
        let checkpoints = world.spawn(|world| {
            for _ in 0..3 {
                world.kernel.checkpoint().unwrap();
            }
        });
        let alone = world.spawn(|world| {
            for number in 0..3u8 {
                let mut tx = world.kernel.begin().unwrap();
                let before = tx.get("t", b"alone").unwrap().map_or(0, |row| row[0]);
                assert_eq!(before, number, "what this thread wrote last");
                tx.put("t", b"alone", &[number + 1]).unwrap();
                tx.commit().expect("nobody else writes this row");
            }
        });
        checkpoints.join().unwrap();
        alone.join().unwrap();
        let done: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let counted = number(&world.kernel.begin_read().unwrap(), b"counter");
        assert_eq!(counted, done, "increments that were acknowledged");
        assert!(0 < done, "the first to commit always can");
        world.after_cut();
    });
}
