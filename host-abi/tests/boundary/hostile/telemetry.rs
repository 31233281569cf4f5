//! Log lines, metrics and settings without end, or that make no sense.

use super::{check_fault, compress_fails, evil};
use crate::guest::{Bench, Codec};
use sochdb_host_abi::limits::volume;
use sochdb_kernel::PluginFault;
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_telemetry::MetricValue;
use std::sync::Arc;

const LOG: &str = r#"(import "sochdb:plugin/telemetry@0.1.0" "log-message"
    (func $log (param i32 i32 i32 i32)))"#;

#[test]
fn a_flood_of_log_lines_is_cut() {
    let floods =
        "(loop (call $log (i32.const 2) (local.get $at) (local.get $len) (i32.const 128)) (br 0))";
    let guest = Codec { imports: LOG, compress: &evil(floods), ..Codec::default() };
    let bench =
        compress_fails(&guest, "fuel_limit = 10_000_000", PluginFault::Exhausted, &["fuel_limit"]);
    let lines = bench.host.drain_logs();
    assert_eq!(lines.len(), volume::LOG_LINES_PER_CALL_MAX as usize);
    assert_eq!((lines[0].message.as_str(), lines[0].target.as_str()), ("!", "sochdb::plugin"));
}

#[test]
fn host_calls_are_paid_for_with_fuel() {
    let logs = "(call $log (i32.const 2) (i32.const 0) (i32.const 60000) (i32.const 128))";
    let guest = Codec { imports: LOG, compress: logs, ..Codec::default() };
    let guest =
        Codec { compress: &format!("{} {}", guest.compress, Codec::default().compress), ..guest };
    let bench = Bench::new();
    let codec = bench.load(&guest.build(), "fuel_limit = 1_000_000").unwrap();
    let before = bench.host.list()[0].usage.fuel;
    codec.compress(b"a").unwrap();
    let fuel = bench.host.list()[0].usage.fuel - before;
    assert!((60_000..70_000).contains(&fuel), "{fuel} for a line of 60,000 bytes");
    assert!(bench.host.drain_logs().is_empty(), "the line was too long");
}

#[test]
fn a_flood_of_metrics_is_cut_and_odd_ones_are_answered() {
    let emit = r#"(import "sochdb:plugin/telemetry@0.1.0" "emit-metric"
        (func $emit (param i32 i32 i32 i32 i32 f64 i32)))"#;
    let floods = "(local $n i32) (loop
        (call $emit (i32.const 0) (i32.const 200) (i32.const 3) (i32.const 0) (i32.const 0) (f64.const 1) (i32.const 128))
        (call $emit (i32.const 1) (i32.const 200) (i32.const 4) (i32.const 0) (i32.const 0) (f64.const nan) (i32.const 128))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 5000))))";
    let compress = format!("{floods} {}", Codec::default().compress);
    let items = r#"(data (i32.const 200) "hits")"#;
    let guest = Codec { imports: emit, items, compress: &compress, ..Codec::default() };
    let bench = Bench::new();
    bench.load(&guest.build(), "").unwrap().compress(b"a").unwrap();
    let metrics = bench.host.metrics();
    let emitted: Vec<_> =
        metrics.iter().filter(|metric| !metric.name.starts_with("sochdb_")).collect();
    assert_eq!(emitted.len(), 1, "{emitted:?}");
    assert_eq!(emitted[0].name, "hit");
    let taken = f64::from(volume::METRICS_PER_CALL_MAX / 2);
    assert_eq!(emitted[0].value, MetricValue::Counter(taken));
}

#[test]
fn a_guest_cannot_speak_in_the_hosts_name() {
    let emit = r#"(import "sochdb:plugin/telemetry@0.1.0" "emit-metric"
        (func $emit (param i32 i32 i32 i32 i32 f64 i32)))"#;
    // Traps unless the answer is an error of code 3, `invalid`.
    let takes =
        "(call $emit (i32.const 0) (i32.const 200) (i32.const 20) (i32.const 0) (i32.const 0)
            (f64.const 1000000) (i32.const 128))
        (if (i32.eqz (i32.load8_u (i32.const 128))) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 132)) (i32.const 3)) (then unreachable))";
    let compress = format!("{takes} {}", Codec::default().compress);
    let items = r#"(data (i32.const 200) "sochdb_commits_total")"#;
    let guest = Codec { imports: emit, items, compress: &compress, ..Codec::default() };
    let bench = Bench::new();
    bench.load(&guest.build(), "").unwrap().compress(b"a").unwrap();
    let metrics = bench.host.metrics();
    assert!(metrics.iter().all(|metric| metric.name != "sochdb_commits_total"));
}

#[test]
fn a_flood_of_imports_is_stopped_by_fuel() {
    let imports = r#"(import "sochdb:plugin/config@0.1.0" "get-config"
        (func $get (param i32 i32 i32)))"#;
    let floods = "(loop (call $get (local.get $at) (local.get $len) (i32.const 128)) (br 0))";
    let guest = Codec { imports, compress: &evil(floods), ..Codec::default() };
    // Each call has cost what the host's work is worth, so there were few of them.
    let words = ["compress", "fuel_limit of 10000000"];
    let resources = "fuel_limit = 10_000_000";
    compress_fails(&guest, resources, PluginFault::Exhausted, &words);
}

#[test]
fn what_an_import_is_given_is_checked() {
    for (at, len, words) in [
        (0, -1, "out of bounds"),
        (-1, 1, "out of bounds"),
        (65_535, 2, "out of bounds"),
        (200, 1, "utf-8"),
        (202, 3, "utf-8"),
    ] {
        let logs =
            format!("(call $log (i32.const 2) (i32.const {at}) (i32.const {len}) (i32.const 128))");
        let items = r#"(data (i32.const 200) "\ff") (data (i32.const 202) "\ed\a0\80")"#;
        let guest = Codec { imports: LOG, items, compress: &evil(&logs), ..Codec::default() };
        let bench = compress_fails(&guest, "", PluginFault::Trapped, &["compress", words]);
        assert!(bench.host.drain_logs().is_empty());
    }
    // A level that is none, and a place for the answer that is none.
    for (level, answer) in [(5, 128), (-1, 128), (2, -4), (2, 65_535), (2, 129)] {
        let logs = format!(
            "(call $log (i32.const {level}) (i32.const 0) (i32.const 1) (i32.const {answer}))"
        );
        let guest = Codec { imports: LOG, compress: &evil(&logs), ..Codec::default() };
        compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
    }
}

#[test]
fn metric_names_without_end_are_bounded_over_all_calls() {
    // Every call takes a thousand names that were never used before.
    let imports = r#"(import "sochdb:plugin/telemetry@0.1.0" "emit-metric"
        (func $emit (param i32 i32 i32 i32 i32 f64 i32)))"#;
    let items = r#"(global $name (mut i64) (i64.const 0)) (data (i32.const 200) "m00000000")
        (func $next
            (local $at i32) (local $number i64)
            (local.set $number (global.get $name))
            (loop
                (i32.store8 (i32.add (i32.const 201) (local.get $at)) (i32.add (i32.const 97)
                    (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 26)))))
                (local.set $number (i64.div_u (local.get $number) (i64.const 26)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $at) (i32.const 8))))
            (global.set $name (i64.add (global.get $name) (i64.const 1))))"#;
    let floods = "(local $n i32) (loop (call $next)
        (call $emit (i32.const 1) (i32.const 200) (i32.const 9) (i32.const 0) (i32.const 0)
            (f64.const 1) (i32.const 128))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000))))";
    let compress = format!("{floods} {}", Codec::default().compress);
    let guest = Codec { imports, items, compress: &compress, ..Codec::default() };
    let bench = Bench::new();
    let codec: Arc<dyn CompressionExtension> = bench.load(&guest.build(), "").unwrap();
    for _ in 0..5 {
        codec.compress(b"a").unwrap();
    }
    let metrics = bench.host.metrics();
    let emitted = metrics.iter().filter(|metric| !metric.name.starts_with("sochdb_"));
    assert_eq!(emitted.count(), volume::SERIES_MAX);
}

#[test]
fn values_that_are_no_numbers_are_answered_and_not_kept() {
    let imports = r#"(import "sochdb:plugin/telemetry@0.1.0" "emit-metric"
        (func $emit (param i32 i32 i32 i32 i32 f64 i32)))"#;
    let items = r#"(data (i32.const 200) "hits")"#;
    for value in ["nan", "-nan", "nan:0x4000000000001", "inf", "-inf"] {
        for kind in [0, 1] {
            // Traps unless it is told that this is invalid.
            let compress = format!(
                "(call $emit (i32.const {kind}) (i32.const 200) (i32.const 4) (i32.const 0)
                    (i32.const 0) (f64.const {value}) (i32.const 128))
                 (if (i32.ne (i32.load8_u (i32.const 128)) (i32.const 1)) (then unreachable))
                 (if (i32.ne (i32.load8_u (i32.const 132)) (i32.const 3)) (then unreachable))
                 (call $same (local.get $at) (local.get $len))"
            );
            let guest = Codec { imports, items, compress: &compress, ..Codec::default() };
            let bench = Bench::new();
            bench.load(&guest.build(), "").unwrap().compress(b"a").unwrap();
            let metrics = bench.host.metrics();
            assert!(metrics.iter().all(|metric| metric.name.starts_with("sochdb_")), "{value}");
        }
    }
}

#[test]
fn names_of_functions_cannot_reach_a_terminal() {
    let items = r#"(func $"\1b[2J\07 gone" unreachable)"#;
    let guest = Codec { items, compress: &evil(r#"(call $"\1b[2J\07 gone")"#), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["; in \\u{1b}[2J\\u{7} gone < compress"]);
    let long = "x".repeat(90_000);
    let items = format!("(func ${long} unreachable)");
    let guest =
        Codec { items: &items, compress: &evil(&format!("(call ${long})")), ..Codec::default() };
    let bench = Bench::new();
    let error = bench.load(&guest.build(), "").unwrap().compress(b"!").unwrap_err();
    check_fault(&error, PluginFault::Trapped, &["unreachable", "xxx ... < compress"]);
    assert!(error.to_string().len() < 2000, "{} bytes", error.to_string().len());
}
