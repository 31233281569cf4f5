//! The kernel's side of the storage contract, with engines written natively: one that is honest, and
//! several that are not. Whatever an engine does, no row is lost or altered.

mod engine;
mod same_checksum;

use engine::{Engine, Fault, Shrink};
use sochdb_encoding::select::{Comparison, Condition, Projection, Selection};
use sochdb_kernel::plugin::{Compaction, CompressionExtension, StorageExtension};
use sochdb_kernel::{
    Column, ColumnType, Environment, ErrorKind, Kernel, Options, Schema, TableOptions, Value,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(vfs: &MemoryVfs, engine: &Arc<Engine>) -> Kernel {
    let options = Options { wal_segment_bytes: 64 << 10, ..Options::default() };
    let kernel = Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), options).unwrap();
    kernel.plugins().register_storage(engine.clone() as Arc<dyn StorageExtension>);
    kernel.plugins().register_compression(Arc::new(Shrink) as Arc<dyn CompressionExtension>);
    kernel
}

fn with_table(engine: &Arc<Engine>) -> (MemoryVfs, Kernel) {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, engine);
    let storage = Some("engine".to_owned());
    let codec = Some("shrink".to_owned());
    let options = TableOptions { storage, codec, ..TableOptions::default() };
    kernel.create_table("t", options).unwrap();
    (vfs, kernel)
}

fn put(kernel: &Kernel, rows: &mut Rows, keys: impl Iterator<Item = u32>, value: &[u8]) {
    let keys: Vec<_> = keys.map(|key| format!("{key:06}").into_bytes()).collect();
    kernel.run(|tx| keys.iter().try_for_each(|key| tx.put("t", key, value))).unwrap();
    rows.extend(keys.into_iter().map(|key| (key, value.to_vec())));
}

fn delete(kernel: &Kernel, rows: &mut Rows, keys: impl Iterator<Item = u32>) {
    let keys: Vec<_> = keys.map(|key| format!("{key:06}").into_bytes()).collect();
    kernel.run(|tx| keys.iter().try_for_each(|key| tx.delete("t", key))).unwrap();
    rows.retain(|key, _| !keys.contains(key));
}

fn all(kernel: &Kernel) -> Rows {
    let tx = kernel.begin_read().unwrap();
    let rows = tx.scan("t", ..).unwrap();
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

fn healthy(kernel: &Kernel) {
    let report = sochdb_operations::check(kernel).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn rows_survive_flushes_merges_and_restarts() {
    let engine = Engine::new();
    let (vfs, mut kernel) = with_table(&engine);
    let mut rows = Rows::new();
    for round in 0..12u32 {
        put(
            &kernel,
            &mut rows,
            (round * 50..round * 50 + 200).step_by(1 + round as usize % 3),
            &[round as u8; 300],
        );
        delete(&kernel, &mut rows, (round * 40..round * 60).step_by(7));
        let report = kernel.checkpoint().unwrap();
        assert!(report.failed.is_empty() && 0 < report.segments_written, "{report:?}");
        assert_eq!(all(&kernel), rows, "after checkpoint {round}");
        if round % 3 == 1 {
            drop(kernel);
            kernel = open(&vfs, &engine);
            assert_eq!(all(&kernel), rows, "after restart {round}");
        }
        healthy(&kernel);
    }
    let stats = kernel.stats();
    assert!(stats.segments < 12, "{} segments: merging happened", stats.segments);
    assert!(stats.codec_bytes_stored < stats.codec_bytes_raw, "blocks were compressed");
    let tx = kernel.begin_read().unwrap();
    for (key, value) in &rows {
        assert_eq!(tx.get("t", key).unwrap().unwrap(), *value);
    }
    assert_eq!(tx.get("t", b"nowhere").unwrap(), None);
    let backwards: Vec<_> = tx.scan_reverse("t", ..).unwrap().map(|row| row.unwrap().0).collect();
    assert!(backwards.iter().rev().eq(rows.keys()));
}

#[test]
fn whatever_plans_an_engine_makes_no_row_comes_back_or_is_lost() {
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..40 {
        let engine = Engine::new();
        let (vfs, mut kernel) = with_table(&engine);
        let mut rows = Rows::new();
        let mut plans = rng.fork();
        engine.plan(move |segments| {
            let mut inputs: Vec<_> = (0..segments).filter(|_| plans.u8(0..3) == 0).collect();
            if inputs.is_empty() {
                return None;
            }
            if plans.u8(0..4) == 0 {
                inputs.truncate(1);
            }
            let at = plans.usize(0..=inputs[0]);
            Some(Compaction { inputs, at, urgent: plans.bool() })
        });
        for round in 0..10u32 {
            // Narrow ranges, so that some segments share keys and others do not.
            let from = rng.u32(0..200);
            put(&kernel, &mut rows, from..from + rng.u32(1..40), &[round as u8; 50]);
            delete(&kernel, &mut rows, (from..from + 60).step_by(3));
            let report = kernel.checkpoint().unwrap();
            assert!(report.failed.is_empty(), "a bad plan is no failed flush: {report:?}");
            assert_eq!(all(&kernel), rows);
            if round % 4 == 3 {
                kernel.close().unwrap();
                kernel = open(&vfs, &engine);
                assert_eq!(all(&kernel), rows);
            }
        }
        healthy(&kernel);
        let merged = engine.merged.lock().unwrap().len();
        done += merged;
        refused += engine.asked.load(Ordering::SeqCst) - merged;
    }
    assert!(50 < done && 50 < refused, "{done} merges, {refused} other answers");
}

#[test]
fn a_merge_drops_deleted_rows_only_where_nothing_older_has_their_keys() {
    let engine = Engine::new();
    let (_vfs, kernel) = with_table(&engine);
    engine.plan(|_| None);
    let mut rows = Rows::new();
    let flush = |kernel: &Kernel| drop(kernel.checkpoint().unwrap());
    put(&kernel, &mut rows, 0..10, b"old");
    flush(&kernel);
    put(&kernel, &mut rows, 20..30, b"old");
    flush(&kernel);
    delete(&kernel, &mut rows, 0..5);
    flush(&kernel);
    delete(&kernel, &mut rows, 20..25);
    flush(&kernel);
    let mut extra = 900..;
    let mut merge = |inputs: Vec<usize>, at, rows: &mut Rows| {
        // A flush is what makes the kernel ask.
        put(&kernel, rows, extra.by_ref().take(1), b"far away");
        let mut plan = Some(Compaction { inputs, at, urgent: false });
        engine.plan(move |_| plan.take());
        kernel.checkpoint().unwrap();
        engine.merged.lock().unwrap().pop()
    };
    // The third may hide rows of the first, which is older and stays.
    assert_eq!(merge(vec![2], 2, &mut rows), Some(false));
    assert_eq!(all(&kernel), rows);
    // Below the second there is nothing that has its keys; nor does the third, which it passes.
    assert_eq!(merge(vec![1, 3], 1, &mut rows), Some(true));
    assert_eq!(all(&kernel), rows);
    assert_eq!(merge(vec![0, 2], 0, &mut rows), Some(true));
    assert_eq!(all(&kernel), rows);
    assert_eq!(kernel.stats().segments, 2 + 3, "three far away");
    // A move rewrites nothing.
    assert_eq!(merge(vec![1], 0, &mut rows), None);
    assert_eq!(all(&kernel), rows);
    healthy(&kernel);
}

#[test]
fn a_checkpoint_ends_however_urgent_an_engine_says_it_is() {
    let engine = Engine::new();
    let (_vfs, kernel) = with_table(&engine);
    let mut rows = Rows::new();
    put(&kernel, &mut rows, 0..50, b"row");
    engine.plan(|_| Some(Compaction { inputs: vec![0], at: 0, urgent: true }));
    let report = kernel.checkpoint().unwrap();
    assert!(report.unsettled && 0 < report.bytes_merged, "{report:?}");
    let asked = engine.asked.load(Ordering::SeqCst);
    assert_eq!(asked, sochdb_kernel::limits::MERGES_PER_CHECKPOINT_MAX);
    // Without urgency one slice a checkpoint, with nothing new to flush either, until all is well.
    let mut left = 3;
    engine.plan(move |_| {
        left -= 1;
        (0 < left).then(|| Compaction { inputs: vec![0], at: 0, urgent: false })
    });
    assert!(kernel.checkpoint().unwrap().unsettled);
    assert!(kernel.checkpoint().unwrap().unsettled);
    assert!(!kernel.checkpoint().unwrap().unsettled);
    assert_eq!(engine.asked.load(Ordering::SeqCst), asked + 3);
    assert!(!kernel.checkpoint().unwrap().unsettled, "it is not asked again without a flush");
    assert_eq!(engine.asked.load(Ordering::SeqCst), asked + 3);
    assert_eq!(all(&kernel), rows);
    healthy(&kernel);
}

#[test]
fn what_a_scan_selects_is_the_same_in_memory_in_the_tree_and_in_segments() {
    let engine = Engine::new();
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, &engine);
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("id", ColumnType::Int64), column("town", ColumnType::String)];
    let schema = Schema::new(columns, &["id"]).unwrap();
    for (table, storage) in [("tree", None), ("segments", Some("engine".to_owned()))] {
        let schema = Some(schema.clone());
        let options = TableOptions { storage, schema, ..TableOptions::default() };
        kernel.create_table(table, options).unwrap();
    }
    let row = |id: i64, town: &str| [Value::Int64(id), Value::String(town.into())];
    let put = |rows: &[(i64, &str)]| {
        kernel
            .run(|tx| {
                for table in ["tree", "segments"] {
                    for (id, town) in rows {
                        let row = row(*id, town);
                        let key = schema.encode_key(&row).unwrap();
                        tx.put(table, &key, &schema.encode_row(&row).unwrap())?;
                    }
                }
                Ok(())
            })
            .unwrap();
    };
    put(&[(1, "Ulm"), (2, "Bonn"), (3, "Ulm"), (4, "Ulm")]);
    kernel.checkpoint().unwrap();
    // In memory: one leaves Ulm, one comes.
    put(&[(3, "Bonn"), (2, "Ulm"), (5, "Ulm")]);
    let in_ulm =
        Condition::new(&schema, "town", Comparison::Equal, Value::String("Ulm".into())).unwrap();
    let projection = Projection::new(&schema, &["id"]).unwrap();
    let selection = Selection::new(schema.clone(), Some(projection.clone()), vec![in_ulm]).unwrap();
    let selection = Some(Arc::new(selection));
    let tx = kernel.begin_read().unwrap();
    for table in ["tree", "segments"] {
        for reverse in [false, true] {
            let scan = tx.scan_selected(table, .., reverse, selection.clone()).unwrap();
            let mut ids: Vec<_> =
                scan.map(|row| projection.decode(&row.unwrap().1).unwrap().remove(0)).collect();
            if reverse {
                ids.reverse();
            }
            assert_eq!(ids, [1, 2, 4, 5].map(Value::Int64), "{table}, backwards: {reverse}");
        }
    }
    let (mut memory, reader) = tx.scan_layers("segments", ..).unwrap();
    let mut newer = 0;
    while let Some((_, value)) = memory.next_row().unwrap() {
        assert!(value.is_some());
        newer += 1;
    }
    assert_eq!(newer, 3);
    let mut base = reader.unwrap().scan(&(..).into(), false, None).unwrap();
    assert_eq!(base.next_batch(100, 10_000).unwrap().len(), 4);
    assert!(tx.scan_layers("tree", ..).unwrap().1.is_none());
}

#[test]
fn an_old_snapshot_keeps_its_segments_through_merges_and_a_drop() {
    let engine = Engine::new();
    let (_vfs, kernel) = with_table(&engine);
    let mut rows = Rows::new();
    put(&kernel, &mut rows, 0..500, b"old");
    kernel.checkpoint().unwrap();
    let old = kernel.begin_read().unwrap();
    let before = rows.clone();
    for round in 0..6 {
        put(&kernel, &mut rows, 0..500, &[round; 9]);
        kernel.checkpoint().unwrap();
    }
    kernel.run(|tx| tx.drop_table("t")).unwrap();
    kernel.checkpoint().unwrap();
    kernel.checkpoint().unwrap();
    let seen: Rows =
        old.scan("t", ..).unwrap().map(|row| row.map(|(k, v)| (k, v.to_vec())).unwrap()).collect();
    assert_eq!(seen, before);
    drop(old);
    kernel.checkpoint().unwrap();
    healthy(&kernel);
    assert_eq!(kernel.stats().segments, 0);
}

#[test]
fn an_engine_that_lies_is_caught_and_no_row_is_lost() {
    for fault in [
        Fault::DropRow,
        Fault::SwapRows,
        Fault::ChangeValue,
        Fault::InventRow,
        Fault::ForeignSegment,
    ] {
        let engine = Engine::new();
        let (vfs, kernel) = with_table(&engine);
        let mut rows = Rows::new();
        put(&kernel, &mut rows, 0..100, b"first");
        kernel.checkpoint().unwrap();
        put(&kernel, &mut rows, 50..150, b"second");
        engine.set(Some(fault));
        let report = kernel.checkpoint().unwrap();
        let (table, why) = &report.failed[0];
        assert!(table == "t" && why.contains("failed its check"), "{fault:?}: {why}");
        assert_eq!(all(&kernel), rows, "{fault:?}, still serving");
        drop(kernel);
        engine.set(None);
        let kernel = open(&vfs, &engine);
        assert_eq!(all(&kernel), rows, "{fault:?}, after a restart: the log was not cut");
        assert!(kernel.checkpoint().unwrap().failed.is_empty(), "{fault:?}: mended");
        assert_eq!(all(&kernel), rows, "{fault:?}, mended");
        healthy(&kernel);
    }
}

#[test]
fn an_engine_that_fails_holds_back_only_its_own_tables() {
    let engine = Engine::new();
    let (vfs, kernel) = with_table(&engine);
    kernel.create_table("other", TableOptions::default()).unwrap();
    let mut rows = Rows::new();
    engine.set(Some(Fault::Refuse));
    for round in 0..4 {
        put(&kernel, &mut rows, round * 10..round * 10 + 30, b"kept");
        kernel.run(|tx| tx.put("other", b"key", &[round as u8])).unwrap();
        let report = kernel.checkpoint().unwrap();
        assert_eq!(report.failed.len(), 1);
        healthy(&kernel);
    }
    drop(kernel);
    let kernel = open(&vfs, &engine);
    assert_eq!(all(&kernel), rows);
    assert_eq!(kernel.begin_read().unwrap().get("other", b"key").unwrap().unwrap(), &[3]);
    assert_eq!(kernel.recovery().rows, 4 * 30, "only the rows that no checkpoint took");
    engine.set(None);
    kernel.close().unwrap();
    assert_eq!(all(&open(&vfs, &engine)), rows);
}

#[test]
fn past_the_memory_bound_a_failing_engine_refuses_its_own_writes_alone() {
    let engine = Engine::new();
    let vfs = MemoryVfs::new();
    let options = Options { memtable_bytes_max: 100_000, ..Options::default() };
    let kernel = Kernel::open(Environment::with_vfs(Arc::new(vfs)), options).unwrap();
    kernel.plugins().register_storage(engine.clone() as Arc<dyn StorageExtension>);
    let storage = Some("engine".to_owned());
    kernel.create_table("t", TableOptions { storage, ..TableOptions::default() }).unwrap();
    kernel.create_table("other", TableOptions::default()).unwrap();
    engine.set(Some(Fault::Refuse));
    let write =
        |table: &str, key: u32| kernel.run(|tx| tx.put(table, &key.to_be_bytes(), &[1; 1000]));
    let refused = (0..1000).find_map(|key| write("t", key).err()).expect("memory is bounded");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("mend or replace the plugin"), "{refused}");
    (0..500).for_each(|key| write("other", key).unwrap());
    engine.set(None);
    kernel.checkpoint().unwrap();
    write("t", 5000).unwrap();
}

#[test]
fn an_engine_that_keeps_its_sink_writes_nothing_after_the_checkpoint() {
    let engine = Engine::new();
    let (_vfs, kernel) = with_table(&engine);
    let mut rows = Rows::new();
    engine.set(Some(Fault::KeepSink));
    put(&kernel, &mut rows, 0..100, b"row");
    kernel.checkpoint().unwrap();
    let mut late = engine.kept().create().unwrap();
    let written = late.append(&vec![9; 3 << 20]).and_then(|_| late.seal());
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(all(&kernel), rows);
    healthy(&kernel);
}

#[test]
fn a_missing_engine_or_codec_is_named_and_other_tables_open() {
    let engine = Engine::new();
    let (vfs, kernel) = with_table(&engine);
    kernel.create_table("other", TableOptions::default()).unwrap();
    let mut rows = Rows::new();
    put(&kernel, &mut rows, 0..1000, &[7; 100]);
    kernel.run(|tx| tx.put("other", b"k", b"v")).unwrap();
    kernel.close().unwrap();
    let kernel =
        Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), Options::default()).unwrap();
    let tx = kernel.begin_read().unwrap();
    let error = tx.get("t", b"000001").unwrap_err();
    assert!(error.to_string().contains("'engine' is missing"), "{error}");
    assert_eq!(tx.get("other", b"k").unwrap().unwrap(), b"v");
    kernel.plugins().register_storage(engine as Arc<dyn StorageExtension>);
    let error = tx.get("t", b"000001").unwrap_err();
    assert!(error.to_string().contains("'shrink' is missing"), "{error}");
}

#[test]
fn an_engine_gets_loaded_rows_verified_like_any_others() {
    let engine = Engine::new();
    let (vfs, kernel) = with_table(&engine);
    let options = || kernel.begin_read().unwrap().table("t").unwrap().options;
    let rows: Rows = (0..3000u32).map(|n| (format!("{n:06}").into(), vec![n as u8; 200])).collect();
    let load = |name: &str| {
        let rows = rows.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
        kernel.bulk_load(name, options(), rows)
    };
    for fault in [Fault::Refuse, Fault::DropRow, Fault::ChangeValue, Fault::InventRow] {
        engine.set(Some(fault));
        load("loaded").expect_err(&format!("{fault:?}"));
        assert!(kernel.begin_read().unwrap().table("loaded").is_err());
    }
    engine.set(None);
    assert_eq!(load("loaded").unwrap(), 3000);
    healthy(&kernel);
    kernel.run(|tx| tx.drop_table("t").and_then(|()| tx.rename_table("loaded", "t"))).unwrap();
    assert_eq!(all(&kernel), rows);
    drop(kernel);
    let kernel = open(&vfs, &engine);
    assert_eq!(all(&kernel), rows);
    assert!(0 < kernel.stats().segments);
    kernel.checkpoint().unwrap();
    kernel.checkpoint().unwrap();
    healthy(&kernel);
}
