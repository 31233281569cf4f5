//! Handles that were forged, used after their end, kept past their call, or taken from another instance.

use super::{check_fault, evil_get, flush, flush_fails, get};
use crate::guest::{Bench, Storage};
use sochdb_kernel::plugin::{SegmentRead, StorageExtension};
use sochdb_kernel::{KernelResult, PluginFault, SegmentId, Slice};
use std::sync::Arc;

const IMPORTS: &str = r#"
    (import "sochdb:plugin/segments@0.1.0" "[method]run.next"
        (func $run-next (param i32 i32 i32 i32)))
    (import "sochdb:plugin/segments@0.1.0" "[method]sink.create"
        (func $create (param i32 i32)))
    (import "sochdb:plugin/segments@0.1.0" "[method]segment-writer.append"
        (func $append (param i32 i32 i32 i32)))
    (import "sochdb:plugin/segments@0.1.0" "[static]segment-writer.seal"
        (func $seal (param i32 i32)))
    (import "sochdb:plugin/segments@0.1.0" "[resource-drop]segment-writer"
        (func $drop-writer (param i32)))
    (import "sochdb:plugin/segments@0.1.0" "[method]segment.read"
        (func $read (param i32 i64 i32 i32)))"#;

/// Reads the run behind this handle.
fn next(handle: &str) -> String {
    format!("(call $run-next {handle} (i32.const 10) (i32.const 1000) (i32.const 256))")
}

/// Begins a segment; its handle lies at 516.
const CREATE: &str = "(call $create (local.get $sink) (i32.const 512))";
const WRITER: &str = "(i32.load (i32.const 516))";

#[test]
fn forged_handles_are_refused() {
    let append = |handle: &str| {
        format!("(call $append {handle} (i32.const 0) (i32.const 8) (i32.const 768))")
    };
    for flush in [
        next("(i32.const 0)"),
        next("(i32.const 77)"),
        next("(i32.const -1)"),
        next("(local.get $sink)"),
        // A number of its own things, and not of the host's.
        next("(call $new-reader (i32.const 0))"),
        append("(i32.const 77)"),
        append("(local.get $sink)"),
        append("(local.get $run)"),
        "(call $create (local.get $run) (i32.const 512))".to_owned(),
        "(call $seal (i32.const 77) (i32.const 768))".to_owned(),
        "(call $seal (local.get $sink) (i32.const 768))".to_owned(),
        "(call $drop-writer (local.get $run))".to_owned(),
    ] {
        let flush = format!("{flush} (call $ok)");
        let guest = Storage { imports: IMPORTS, flush: &flush, ..Storage::default() };
        flush_fails(&guest, PluginFault::Trapped, &["flush", "handle"]);
    }
}

#[test]
fn handles_after_their_end_are_refused() {
    let seal = format!("(call $seal {WRITER} (i32.const 768))");
    let append = format!("(call $append {WRITER} (i32.const 0) (i32.const 8) (i32.const 768))");
    let gone = format!("(call $drop-writer {WRITER})");
    for flush in [
        format!("(call $drop-run (local.get $run)) {}", next("(local.get $run)")),
        "(call $drop-run (local.get $run)) (call $drop-run (local.get $run))".to_owned(),
        "(call $drop-sink (local.get $sink)) (call $create (local.get $sink) (i32.const 512))"
            .to_owned(),
        format!("{CREATE} {seal} {seal}"),
        format!("{CREATE} {seal} {append}"),
        format!("{CREATE} {seal} {gone}"),
        format!("{CREATE} {gone} {append}"),
        format!("{CREATE} {gone} {seal}"),
        format!("{CREATE} {gone} {gone}"),
    ] {
        let flush = format!("{flush} (call $ok)");
        let guest = Storage { imports: IMPORTS, flush: &flush, ..Storage::default() };
        flush_fails(&guest, PluginFault::Trapped, &["flush", "handle"]);
    }
}

#[test]
fn handles_kept_past_their_call_are_refused() {
    // What was lent to the flush, and what it began and did not end, is tried by a later read.
    let items = "(global $run (mut i32) (i32.const 0)) (global $sink (mut i32) (i32.const 0))
        (global $writer (mut i32) (i32.const 0))";
    let keeps = format!(
        "{CREATE} (global.set $run (local.get $run)) (global.set $sink (local.get $sink))
         (global.set $writer {WRITER}) (call $same (i32.const 0) (i32.const 0))"
    );
    for tries in [
        next("(global.get $run)"),
        "(call $create (global.get $sink) (i32.const 512))".to_owned(),
        "(call $append (global.get $writer) (i32.const 0) (i32.const 8) (i32.const 768))"
            .to_owned(),
        "(call $seal (global.get $writer) (i32.const 768))".to_owned(),
    ] {
        let multi_get = evil_get(&tries);
        let guest = Storage {
            imports: IMPORTS,
            items,
            flush: &keeps,
            multi_get: &multi_get,
            ..Storage::default()
        };
        let bench = Bench::new();
        let storage = bench.load_storage(&guest.build(), "").unwrap();
        assert!(flush(&storage).unwrap().is_empty());
        let reader = storage.open(&super::table(), &[]).unwrap();
        assert_eq!(get(&reader, b"good").unwrap(), None);
        let error = get(&reader, b"!").unwrap_err();
        check_fault(&error, PluginFault::Trapped, &["multi-get", "handle"]);
        assert_eq!(get(&reader, b"good").unwrap(), None);
        assert_eq!(bench.host.list()[0].usage.instances_started, 3, "all of it on one instance");
    }
}

/// A segment of bytes that say whose they are.
struct Bytes(u64);

impl SegmentRead for Bytes {
    fn id(&self) -> SegmentId {
        SegmentId(self.0)
    }

    fn raw_bytes(&self) -> u64 {
        8
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let bytes = self.0.to_le_bytes();
        Ok(bytes[offset as usize..][..len].into())
    }
}

#[test]
fn handles_of_another_instance_are_refused() {
    // Reads eight bytes of the segment whose handle is the first byte of the key.
    let multi_get =
        "(call $read (i32.load8_u (local.get $keys)) (i64.const 0) (i32.const 8) (i32.const 256))
        (call $found (i32.const 128) (i32.const 1)
            (i32.load (i32.const 260)) (i32.load (i32.const 264)) (i32.const 264))";
    let guest = Storage {
        imports: IMPORTS,
        items: r#"(data (i32.const 128) "\02") (global $next-open (mut i32) (i32.const 0))"#,
        multi_get,
        ..Storage::default()
    };
    let bench = Bench::new();
    let storage = bench.load_storage(&guest.build(), "").unwrap();
    let segment = |id| -> Arc<dyn SegmentRead> { Arc::new(Bytes(id)) };
    let (one, two) = ([segment(1)], [segment(2), segment(3)]);
    let read = |storage: &Arc<dyn StorageExtension>, segments: &[Arc<dyn SegmentRead>]| {
        // Each try has an instance of its own: a wrong handle costs it.
        let mut found = Vec::new();
        for handle in 0..40 {
            let reader = storage.open(&super::table(), segments).unwrap();
            match reader.multi_get(&[&[handle]]) {
                Ok(answers) => found.push(answers[0].clone().unwrap().unwrap()[0]),
                Err(error) => check_fault(&error, PluginFault::Trapped, &["handle"]),
            }
        }
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(read(&storage, &two), [2, 3]);
    // The instances that had those are gone or elsewhere; their numbers mean nothing here.
    bench.host.load_manifest(&bench.folder.path().join("guest.toml"), &bench.plugins).unwrap();
    let again = bench.plugins.storage("guest").unwrap();
    assert_eq!(read(&again, &one), [1]);
}

#[test]
fn a_segment_cannot_be_claimed_twice_nor_in_a_later_flush() {
    // It begins one segment, writes, seals, and names it as often as it likes.
    let flush = |claim: &str| {
        format!(
            "{} {CREATE}
             (call $append {WRITER} (i32.const 0) (i32.const 8) (i32.const 768))
             (call $seal {WRITER} (i32.const 768))
             (i64.store (i32.const 600) (i64.load (i32.const 776)))
             (i64.store (i32.const 608) (i64.load (i32.const 776)))
             {claim}",
            next("(local.get $run)"),
        )
    };
    for claim in [
        "(call $same (i32.const 600) (i32.const 2))",
        // One that nobody has made yet.
        "(i64.store (i32.const 608) (i64.add (i64.load (i32.const 600)) (i64.const 1)))
         (call $same (i32.const 600) (i32.const 2))",
        // The one of the flush before, which failed.
        "(i64.store (i32.const 600) (i64.sub (i64.load (i32.const 600)) (i64.const 1)))
         (call $same (i32.const 600) (i32.const 1))",
        "unreachable",
        "(call $error (i32.const 0) (i32.const 0))",
        "(loop (br 0)) unreachable",
    ] {
        let flush = flush(claim);
        let guest = Storage { imports: IMPORTS, flush: &flush, ..Storage::default() };
        let (bench, kernel) = crate::storage::with_guest(&guest);
        let mut pages = Vec::new();
        for round in 0..6 {
            let report = kernel.checkpoint().unwrap();
            let (table, why) = report.failed.first().expect(claim);
            assert_eq!(table, "t", "{why}");
            let value = kernel.begin_read().unwrap().get("t", b"key").unwrap().unwrap();
            assert_eq!(&*value, b"value");
            kernel.run(|tx| tx.put("t", &[round], b"more")).unwrap();
            let check = sochdb_operations::check(&kernel).unwrap();
            assert!(check.problems.is_empty(), "{:?}", check.problems);
            pages.push(kernel.stats().pages_total);
        }
        assert_eq!(kernel.stats().segments, 0, "{claim}");
        assert_eq!(pages[1], pages[5], "{claim}: what was written is given back: {pages:?}");
        drop(bench);
    }
}
