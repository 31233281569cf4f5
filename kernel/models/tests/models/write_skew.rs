//! Three serializable transactions read each other's rows, by key and by range, and write their own,
//! beside a checkpoint. Those that commit have a serial order: the one of their timestamps.

use crate::explore;
use crate::world::{World, image, number};
use sochdb_kernel::{IsolationLevel, TransactionOptions};
use std::collections::BTreeMap;

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

#[test]
fn write_skew_is_refused() {
    let image = image(|_| Ok(()));
    explore("write_skew", move || {
        let world = World::new(&image, 50);
        let threads = [0usize, 1, 2].map(|me| {
            world.spawn(move |world| {
                let mut committed = Vec::new();
                for _ in 0..2 {
                    let isolation = IsolationLevel::Serializable;
                    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
                    let mut tx = world.kernel.begin_with(options).unwrap();
                    let mut read = BTreeMap::new();
                    if me == 2 {
                        // The same by range: a row that is not there is read as well.
                        read.extend(KEYS.iter().map(|key| (*key, 0)));
                        for row in tx.scan("t", ..).unwrap() {
                            let (key, value) = row.unwrap();
                            let key = KEYS.iter().find(|known| key == **known).expect("known");
                            let value = u64::from_be_bytes((*value).try_into().unwrap());
                            read.insert(*key, value);
                        }
                    } else {
                        let next = KEYS[me + 1];
                        read.insert(next, number(&tx, next));
                    }
                    let sum = read.values().sum::<u64>() + 1;
                    tx.put("t", KEYS[me], &sum.to_be_bytes()).unwrap();
                    match tx.commit() {
                        Ok(at) => committed.push((at, read, KEYS[me], sum)),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
                committed
            })
        });
        let checkpoint = world.spawn(|world| drop(world.kernel.checkpoint().unwrap()));
        let done = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let mut done: Vec<_> = done.collect();
        checkpoint.join().unwrap();
        done.sort_by_key(|(at, ..)| *at);
        assert!(!done.is_empty(), "the first to commit always can");
        let mut state = BTreeMap::new();
        for (at, read, key, sum) in done {
            for (key, value) in read {
                let serial = state.get(key).copied().unwrap_or(0);
                assert_eq!(value, serial, "what the commit at {at} read");
            }
            state.insert(key, sum);
        }
        world.after_cut();
    });
}
