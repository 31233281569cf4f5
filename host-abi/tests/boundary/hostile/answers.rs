//! Answers that lie: about their place, length, alignment, encoding, shape, and allocators that lie about
//! the memory they give.

use super::{check_fault, compress_fails, engine, evil, evil_get, flush_fails, get, get_fails};
use crate::guest::{Bench, Codec, Observer, Storage};
use sochdb_kernel::plugin::{CompressionExtension, TelemetryBatch};
use sochdb_kernel::{Kernel, Options, PluginFault, TableOptions};
use sochdb_telemetry::{Histogram, Metric, MetricValue};
use std::sync::Arc;

#[test]
fn an_answer_that_lies_about_its_place_or_shape_is_refused() {
    for answer in [
        "(return (call $same (i32.const -16) (i32.const 8)))",
        "(return (call $same (i32.const 0) (i32.const -1)))",
        "(return (i32.const -4))",
        "(return (i32.const 65))",
        "(i32.store8 (i32.const 64) (i32.const 7)) (return (i32.const 64))",
    ] {
        let guest = Codec { compress: &evil(answer), ..Codec::default() };
        compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
    }
    let not_utf8 = r#"(i32.store8 (i32.const 200) (i32.const 255))
        (return (call $error (i32.const 200) (i32.const 1)))"#;
    let guest = Codec { compress: &evil(not_utf8), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["utf-8"]);
}

#[test]
fn an_answer_that_is_far_too_long_is_not_copied() {
    let long = "(return (call $same (call $alloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 10000000)) (i32.const 10000000)))";
    let guest = Codec { compress: &evil(long), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Exhausted, &["more bytes"]);
}

#[test]
fn an_allocator_that_lies_harms_only_its_guest() {
    for at in ["(i32.const -16)", "(i32.const 0x7fffffff)", "unreachable"] {
        let evil_alloc = format!(
            r#"(module (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {at})
                (func (export "sochdb:plugin/lifecycle@0.1.0#init") (result i32) (i32.const 0))
                (func (export "sochdb:plugin/lifecycle@0.1.0#self-test") (result i32) (i32.const 0))
                (func (export "sochdb:plugin/lifecycle@0.1.0#shutdown") (result i32) (i32.const 0))
                (func (export "sochdb:plugin/lifecycle@0.1.0#export-state") (result i32) (i32.const 0))
                (func (export "sochdb:plugin/lifecycle@0.1.0#import-state")
                    (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "sochdb:plugin/codec@0.1.0#compress") (param i32 i32) (result i32)
                    (i32.const 0))
                (func (export "sochdb:plugin/codec@0.1.0#decompress") (param i32 i32 i32) (result i32)
                    (i32.const 0)))"#
        );
        let component = crate::guest::component(&evil_alloc);
        let codec = Bench::new().load(&component, "").unwrap();
        check_fault(&codec.compress(b"input").unwrap_err(), PluginFault::Trapped, &["compress"]);
    }
}

#[test]
fn a_restored_block_of_another_length_is_a_lie() {
    let codec = Bench::new().load(&Codec::default().build(), "").unwrap();
    assert_eq!(codec.decompress(b"abc", 3).unwrap(), b"abc");
    for wrong in [0, 2, 4] {
        let error = codec.decompress(b"abc", wrong).unwrap_err();
        check_fault(&error, PluginFault::Lied, &["3 bytes instead of"]);
    }
}

#[test]
fn the_words_of_a_guest_cannot_reach_a_terminal() {
    let guest = Codec {
        items: r#"(data (i32.const 200) "\1b[2J\n\07gone")"#,
        compress: &evil("(return (call $error (i32.const 200) (i32.const 10)))"),
        ..Codec::default()
    };
    let bench = Bench::new();
    let codec = bench.load(&guest.build(), "").unwrap();
    for _ in 0..3 {
        let error = codec.compress(b"!").unwrap_err();
        check_fault(&error, PluginFault::Refused, &["\\u{1b}[2J\\n\\u{7}gone (invalid)"]);
    }
    let usage = bench.host.list()[0].usage;
    assert_eq!(
        (usage.refusals, usage.failures, usage.instances_started),
        (3, 0, 2),
        "an answer is no failure"
    );
}

/// Answers `count` numbers of 64 bits at `at`.
fn numbers(at: i32, count: i32) -> String {
    format!("(call $same (i32.const {at}) (i32.const {count}))")
}

#[test]
fn lists_of_numbers_with_lying_lengths_are_refused() {
    for (at, count) in [
        // Times eight these are 2^32 and a little more, which is nothing in 32 bits.
        (4096, 0x2000_0000),
        (4096, 0x2000_0001),
        (4096, -1),
        (65_528, 2),
        (4097, 1),
        (4100, 1),
    ] {
        let guest = Storage { flush: &numbers(at, count), ..Storage::default() };
        flush_fails(&guest, PluginFault::Trapped, &["flush"]);
    }
    // More numbers than a flush may answer, all of them there.
    let many =
        "(drop (memory.grow (i32.const 64))) (call $same (i32.const 4096) (i32.const 500000))";
    let guest = Storage { flush: many, ..Storage::default() };
    flush_fails(&guest, PluginFault::Exhausted, &["flush", "more bytes"]);
}

#[test]
fn lists_of_rows_with_lying_lengths_are_refused() {
    for found in [
        // States, values, ends: places and lengths.
        ["0", "-1", "0", "0", "0"],
        ["-1", "2", "0", "0", "0"],
        ["160", "1", "0x7fffffff", "0x7fffffff", "160"],
        ["160", "0x40000001", "0", "0", "160"],
        ["160", "1", "0", "0", "161"],
        ["160", "1", "65535", "2", "160"],
    ] {
        let [states, count, values, values_len, ends] =
            found.map(|number| format!("(i32.const {number})"));
        let lies = format!("(return (call $found {states} {count} {values} {values_len} {ends}))");
        let multi_get = evil_get(&lies);
        let guest = Storage { multi_get: &multi_get, ..Storage::default() };
        get_fails(&guest, "", PluginFault::Trapped, &["multi-get"]);
    }
}

#[test]
fn a_plan_of_no_known_shape_is_refused() {
    let plan = "(i32.store8 (i32.const 64) (i32.const 0)) (i32.store8 (i32.const 68) (i32.const 2))
        (i32.const 64)";
    let guest = Storage { plan, ..Storage::default() };
    let storage = Bench::new().load_storage(&guest.build(), "").unwrap();
    let error = storage.plan_compaction(&super::table(), &[]).unwrap_err();
    check_fault(&error, PluginFault::Trapped, &["plan-compaction"]);
}

#[test]
fn a_page_that_lies_or_is_endless_is_refused() {
    for (render, fault, words) in [
        ("(call $page (i32.const 0) (i32.const -1))", PluginFault::Trapped, "render"),
        ("(call $page (i32.const -1) (i32.const 1))", PluginFault::Trapped, "render"),
        ("(call $page (i32.const 200) (i32.const 1))", PluginFault::Trapped, "utf-8"),
        ("(call $page (i32.const 202) (i32.const 3))", PluginFault::Trapped, "utf-8"),
        (
            "(drop (memory.grow (i32.const 300)))
             (call $page (i32.const 4096) (i32.const 18000000))",
            PluginFault::Exhausted,
            "more bytes",
        ),
    ] {
        // A byte that begins nothing; a surrogate.
        let items = r#"(data (i32.const 200) "\ff") (data (i32.const 202) "\ed\a0\80")"#;
        let guest = Observer { items, render, ..Observer::default() };
        let bench = Bench::new();
        let observer = bench.load_observer(&guest.build(), "").unwrap();
        check_fault(&observer.render("").unwrap_err(), fault, &["render", words]);
        observer.ingest(&TelemetryBatch::default()).unwrap();
    }
}

/// A batch with many strings for the guest's allocator.
fn batch() -> TelemetryBatch {
    let metric = |number: u32| Metric {
        name: format!("metric_{number}"),
        help: "What it means.".to_owned(),
        labels: vec![("table".to_owned(), "t".repeat(number as usize))],
        value: MetricValue::Histogram(Histogram {
            bounds: vec![1.0],
            counts: vec![1, 2],
            sum: 2.0,
            exemplars: Vec::new(),
        }),
    };
    TelemetryBatch { metrics: (0..100).map(metric).collect(), ..TelemetryBatch::default() }
}

#[test]
fn an_allocator_that_gives_one_block_to_everybody_harms_only_its_guest() {
    // All lists and strings of the batch lie over each other; the guest sees rubbish and says so.
    let guest = Observer {
        realloc: "(i32.const 4096)",
        ingest: "(call $error (i32.load (local.get $metrics)) (i32.const 4))",
        ..Observer::default()
    };
    let bench = Bench::new();
    let neighbour = bench.load_neighbour();
    let observer = bench.load_observer(&guest.build(), "").unwrap();
    let error = observer.ingest(&batch()).unwrap_err();
    assert!(error.to_string().contains("ingest"), "{error}");
    assert_eq!(neighbour.compress(b"untouched").unwrap(), b"untouched");
    let bench = Bench::new();
    let behaves = Observer { ingest: "(call $ok)", ..guest };
    let observer = bench.load_observer(&behaves.build(), "").unwrap();
    observer.ingest(&batch()).unwrap();
    assert_eq!(bench.host.list()[0].usage.failures, 0);
}

#[test]
fn an_allocator_that_gives_what_is_not_aligned_or_not_there_is_refused() {
    // The host's list of metrics wants eight bytes of alignment.
    for realloc in [
        "(i32.const 4097)",
        "(i32.const 4100)",
        "(i32.const -8)",
        "(i32.const 65528)",
        "(i32.mul (memory.size) (i32.const 65536))",
    ] {
        let guest = Observer { realloc, ..Observer::default() };
        let bench = Bench::new();
        let observer = bench.load_observer(&guest.build(), "").unwrap();
        let error = observer.ingest(&batch()).unwrap_err();
        check_fault(&error, PluginFault::Trapped, &["ingest"]);
        observer.ingest(&TelemetryBatch::default()).unwrap_or_else(|error| {
            // Nothing to put anywhere still asks for a place.
            check_fault(&error, PluginFault::Trapped, &["ingest"]);
        });
        match observer.render("") {
            Ok(page) => assert_eq!(page.body, ""),
            Err(error) => check_fault(&error, PluginFault::Trapped, &["render"]),
        }
    }
}

#[test]
fn an_allocator_that_calls_the_host_or_comes_back_in_is_refused() {
    let imports = r#"(import "sochdb:plugin/telemetry@0.1.0" "log-message"
        (func $log (param i32 i32 i32 i32)))"#;
    let realloc = "(if (i32.eq (local.get $len) (i32.const 1)) (then
            (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 128))))
        (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len))";
    let guest = Codec { imports, realloc, ..Codec::default() };
    let bench = compress_fails(&guest, "", PluginFault::Trapped, &["cannot leave"]);
    assert!(bench.host.drain_logs().is_empty(), "the call did not happen");
    let items = r#"(func (export "cabi_post_sochdb:plugin/codec@0.1.0#compress") (param i32)
        (if (i32.eq (i32.load (i32.const 72)) (i32.const 1)) (then
            (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 128)))))"#;
    let guest = Codec { imports, items, ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["cannot leave"]);
}

#[test]
fn an_error_of_endless_words_is_cut() {
    let words = "(memory.fill (i32.const 4096) (i32.const 65) (i32.const 60000))
        (return (call $error (i32.const 4096) (i32.const 60000)))";
    let bench = Bench::new();
    let codec = bench.load(&Codec { compress: &evil(words), ..Codec::default() }.build(), "");
    let codec: Arc<dyn CompressionExtension> = codec.unwrap();
    let error = codec.compress(b"!").unwrap_err();
    check_fault(&error, PluginFault::Refused, &["AAAA ... (invalid)"]);
    assert!(error.to_string().len() < 1200, "{} bytes", error.to_string().len());
}

#[test]
fn a_codec_that_bombs_or_does_not_bring_back_costs_the_database_nothing() {
    let value = b"a value and a value and a value ".repeat(200);
    for (compress, decompress) in [
        // Four bytes for everything; the first of them says nothing.
        (
            "(call $same (local.get $at) (i32.const 4))",
            "(call $same (local.get $at) (local.get $len))",
        ),
        // Four bytes, and then as many as are asked for, but not those.
        (
            "(call $same (local.get $at) (i32.const 4))",
            "(call $same (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $raw))
                (local.get $raw))",
        ),
        // A bomb: ten megabytes for four bytes.
        (
            "(call $same (local.get $at) (i32.const 4))",
            "(call $same (call $alloc (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 10000000)) (i32.const 10000000))",
        ),
        ("(call $same (local.get $at) (i32.const 4))", "(loop (br 0)) unreachable"),
        ("(call $same (local.get $at) (i32.const 4))", "unreachable"),
        ("unreachable", "unreachable"),
        ("(loop (br 0)) unreachable", "unreachable"),
        (
            "(call $same (call $alloc (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 10000000)) (i32.const 10000000))",
            "unreachable",
        ),
    ] {
        let bench = Bench::new();
        let environment = sochdb_sim::memory();
        let kernel = Kernel::open(environment.clone(), Options::default()).unwrap();
        let guest = Codec { compress, decompress, ..Codec::default() };
        let codec = bench.load(&guest.build(), "fuel_limit = 1_000_000").unwrap();
        kernel.plugins().register_compression(codec);
        let options = TableOptions { codec: Some("guest".to_owned()), ..TableOptions::default() };
        kernel.create_table("t", options).unwrap();
        for key in [b"a", b"b"] {
            kernel.run(|tx| tx.put("t", key, &value)).unwrap();
            let report = kernel.checkpoint().unwrap();
            assert!(report.failed.is_empty(), "{:?}", report.failed);
            assert_eq!(*kernel.begin_read().unwrap().get("t", key).unwrap().unwrap(), *value);
        }
        assert!(sochdb_operations::check(&kernel).unwrap().problems.is_empty());
        drop(kernel);
        // Nothing was stored in the plugin's form, so nobody needs the plugin to read it.
        let kernel = Kernel::open(environment, Options::default()).unwrap();
        assert_eq!(*kernel.begin_read().unwrap().get("t", b"a").unwrap().unwrap(), *value);
    }
}

#[test]
fn a_handle_in_an_answer_must_be_one_of_its_own() {
    let opens = |open: &str| {
        let guest = Storage { open, ..Storage::default() };
        let bench = Bench::new();
        let storage = bench.load_storage(&guest.build(), "").unwrap();
        let answer = storage.open(&super::table(), &[]).map(|reader| get(&reader, b"key"));
        let error = match answer {
            Err(error) | Ok(Err(error)) => error,
            Ok(Ok(found)) => panic!("{open} was taken and answered {found:?}"),
        };
        check_fault(&error, PluginFault::Trapped, &["open", "handle"]);
    };
    opens("(call $handle (i32.const 0))");
    opens("(call $handle (i32.const 99))");
    opens("(call $handle (i32.const -1))");
    // A cursor where a reader is wanted.
    opens("(call $handle (call $new-cursor (i32.const 0)))");
    // The same reader twice: it was given away with the first answer.
    let open = "(if (i32.eqz (global.get $mine)) (then
            (global.set $mine (call $new-reader (i32.const 0)))))
        (call $handle (global.get $mine))";
    let items = "(global $mine (mut i32) (i32.const 0))";
    let multi_get = evil_get("");
    let guest = Storage { items, open, multi_get: &multi_get, ..Storage::default() };
    let (bench, reader) = engine(&guest, "max_instances = 2");
    assert_eq!(get(&reader, b"key").unwrap(), None);
    let storage = bench.plugins.storage("guest").unwrap();
    let error = storage.open(&super::table(), &[]).err().expect("given away twice");
    check_fault(&error, PluginFault::Trapped, &["open"]);
    assert_eq!(get(&reader, b"key").unwrap(), None, "on a fresh instance");
}
