//! Writers, searchers and checkpoints at the same time: each search finds what its own snapshot has.

use crate::rig::{DIM, Rig, TABLE, delete, put, schema};
use sochdb_encoding::row::Value;
use sochdb_index::{EFFORT_MAX, Hit, Metric, VectorSearch, search, verify};
use sochdb_kernel::KeyRange;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The nearest rows, by looking at each.
pub fn look(
    tx: &sochdb_kernel::Transaction,
    wanted: &VectorSearch,
) -> sochdb_kernel::KernelResult<Vec<Hit>> {
    let mut hits = Vec::new();
    for row in tx.scan(TABLE, KeyRange::all())? {
        let (key, value) = row?;
        if let Value::Vector(vector) = schema().column(&value, 2)? {
            let distance = Metric::SquaredEuclidean.distance(&wanted.vector, &vector);
            hits.push(Hit { key, distance });
        }
    }
    hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.key.cmp(&b.key)));
    hits.truncate(wanted.k);
    Ok(hits)
}

#[test]
fn every_search_sees_exactly_its_snapshot_while_others_write() {
    let rig = Rig::new();
    let settings = [("using", "nearest"), ("flat_max", "50"), ("metric", "euclidean")];
    let index = rig.index("vector", &settings);
    let (done, searches) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = |seed: u64| {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..300 {
                rig.kernel
                    .run(|tx| {
                        for _ in 0..random.usize(1..6) {
                            let id = random.i64(0..300);
                            if random.u8(0..4) == 0 {
                                delete(tx, id)?;
                            } else {
                                let vector: Vec<f32> =
                                    (0..DIM).map(|_| f32::from(random.i8(-9..=9))).collect();
                                put(tx, id, None, Some(&vector))?;
                            }
                        }
                        Ok(())
                    })
                    .unwrap();
            }
        };
        let searcher = |seed: u64| {
            let mut random = fastrand::Rng::with_seed(seed);
            while !done.load(Ordering::Relaxed) {
                let tx = rig.kernel.begin_read().unwrap();
                for _ in 0..3 {
                    let query = (0..DIM).map(|_| f32::from(random.i8(-9..=9))).collect();
                    let wanted = VectorSearch::new(query, 7).effort(EFFORT_MAX);
                    let found = search(&rig.engine, &tx, &index, &wanted).unwrap();
                    assert_eq!(found, look(&tx, &wanted).unwrap());
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let writers: Vec<_> = (0..2).map(|seed| scope.spawn(move || writer(seed))).collect();
        (10..12).for_each(|seed| drop(scope.spawn(move || searcher(seed))));
        while writers.iter().any(|writer| !writer.is_finished()) {
            let report = rig.kernel.checkpoint().unwrap();
            assert!(report.failed.is_empty(), "{report:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
    let tx = rig.kernel.begin_read().unwrap();
    let verified = verify(&tx, &index).unwrap();
    assert_eq!(verified.wrong, 0, "{verified:?}");
    println!("concurrent searches compared: {}", searches.into_inner());
}

#[test]
fn a_row_that_was_written_past_its_index_is_found_by_comparing() {
    let rig = Rig::new();
    let index = rig.index("vector", &[("using", "nearest")]);
    rig.kernel.run(|tx| put(tx, 1, None, Some(&[1.0; 4]))).unwrap();
    let row = crate::rig::row(2, None, Some(&[2.0; 4]));
    rig.kernel.run(|tx| tx.put(TABLE, &crate::rig::key(2), &row)).unwrap();
    let verified = verify(&rig.kernel.begin_read().unwrap(), &index).unwrap();
    assert_eq!((verified.rows, verified.wrong), (2, 1));
    assert_eq!(verified.keys, [crate::rig::key(2)]);
}

#[test]
fn a_row_whose_value_a_flush_did_not_see_is_found_and_enters_with_the_next_merge() {
    let rig = Rig::new();
    let index = rig.index("vector", &[("using", "nearest"), ("flat_max", "1")]);
    let (row, old) = (crate::rig::row(1, None, Some(&[1.0; 4])), crate::rig::row(1, None, None));
    // As if the commit of the row were not published when its mark is flushed.
    rig.kernel.run(|tx| put(tx, 1, None, Some(&[1.0; 4]))).unwrap();
    rig.kernel.run(|tx| tx.put(TABLE, &crate::rig::key(1), &old)).unwrap();
    rig.kernel.checkpoint().unwrap();
    rig.kernel.run(|tx| tx.put(TABLE, &crate::rig::key(1), &row)).unwrap();
    let wanted = VectorSearch::new(vec![1.0; 4], 3);
    let check = |waits: u64| {
        let tx = rig.kernel.begin_read().unwrap();
        assert_eq!(search(&rig.engine, &tx, &index, &wanted).unwrap().len(), 1);
        let stats = sochdb_index::stats(&rig.engine, &tx, &index).unwrap();
        assert_eq!((stats.waiting, stats.entries), (waits, 1), "{stats:?}");
    };
    check(1);
    for _ in 0..8 {
        rig.kernel.run(|tx| put(tx, 2, None, None)).unwrap();
        rig.kernel.checkpoint().unwrap();
    }
    check(0);
}
