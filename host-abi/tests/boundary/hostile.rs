//! Guests that mean harm. For each: the typed error, and the next call is served.

use crate::guest::{Bench, Codec};
use sochdb_host_abi::limits::volume;
use sochdb_kernel::plugin::{CompressionExtension, MetricValue};
use sochdb_kernel::{KernelError, PluginFault};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs `evil` when the input begins with `!`, and behaves otherwise.
fn evil(evil: &str) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then {evil}))
         (call $same (local.get $at) (local.get $len))"
    )
}

#[track_caller]
fn check_fault(error: &KernelError, wanted: PluginFault, words: &[&str]) {
    let KernelError::Plugin { plugin, fault, message } = error else { panic!("{error}") };
    assert_eq!((plugin.as_str(), *fault), ("guest", wanted), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// Lets `guest` do its evil in `compress`; afterwards it serves, on a fresh instance.
#[track_caller]
fn compress_fails(
    guest: &Codec<'_>,
    resources: &str,
    wanted: PluginFault,
    words: &[&str],
) -> Bench {
    let bench = Bench::new();
    let codec = bench.load(&guest.build(), resources).unwrap();
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
    check_fault(&codec.compress(b"!").unwrap_err(), wanted, words);
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (1, 3), "self-test, first, fresh");
    bench
}

#[test]
fn a_loop_without_end_is_stopped_by_fuel() {
    let guest = Codec { compress: &evil("(loop (br 0))"), ..Codec::default() };
    let words = ["compress", "fuel_limit of 1000000", "; in compress"];
    let bench = compress_fails(&guest, "fuel_limit = 1_000_000", PluginFault::Exhausted, &words);
    let fuel = bench.host.list()[0].usage.fuel;
    assert!((1_000_000..1_100_000).contains(&fuel), "{fuel}");
}

#[test]
fn a_loop_without_end_is_stopped_by_the_deadline() {
    let guest = Codec { compress: &evil("(loop (br 0))"), ..Codec::default() };
    let resources = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 50";
    let began = Instant::now();
    compress_fails(&guest, resources, PluginFault::Exhausted, &["timeout_ms of 50"]);
    let took = began.elapsed();
    assert!((Duration::from_millis(50)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[test]
fn a_loop_in_start_or_init_is_stopped() {
    for guest in [
        Codec { items: "(func $s (loop (br 0))) (start $s)", ..Codec::default() },
        Codec { init: "(loop (br 0)) unreachable", ..Codec::default() },
        Codec { self_test: "(loop (br 0)) unreachable", ..Codec::default() },
    ] {
        let loaded = Bench::new().load(&guest.build(), "fuel_limit = 1_000_000");
        check_fault(&loaded.err().unwrap(), PluginFault::Exhausted, &["fuel_limit"]);
    }
}

#[test]
fn a_loop_in_shutdown_is_stopped() {
    let guest = Codec { shutdown: "(loop (br 0)) unreachable", ..Codec::default() };
    let codec = Bench::new().load(&guest.build(), "fuel_limit = 1_000_000").unwrap();
    codec.compress(b"good").unwrap();
    check_fault(
        &codec.shutdown().unwrap_err(),
        PluginFault::Exhausted,
        &["shutdown", "fuel_limit"],
    );
}

#[test]
fn memory_without_end_is_refused() {
    let grows = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let guest = Codec { compress: &evil(grows), ..Codec::default() };
    compress_fails(
        &guest,
        "memory_limit_mb = 8",
        PluginFault::Exhausted,
        &["memory_limit_mb of 8"],
    );
}

#[test]
fn a_guest_may_cope_with_memory_it_does_not_get() {
    let asks = "(drop (memory.grow (i32.const 60000)))";
    let guest = Codec { compress: &evil(asks), ..Codec::default() };
    let codec = Bench::new().load(&guest.build(), "memory_limit_mb = 8").unwrap();
    assert_eq!(codec.compress(b"!").unwrap(), b"!");
}

#[test]
fn tables_and_many_memories_count_as_memory() {
    let grows = "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable";
    let table = Codec { items: "(table $t 1 funcref)", compress: &evil(grows), ..Codec::default() };
    compress_fails(
        &table,
        "memory_limit_mb = 8",
        PluginFault::Exhausted,
        &["memory_limit_mb of 8"],
    );
    let memories = "(memory 100)".repeat(10);
    let many = Codec { items: &memories, ..Codec::default() };
    Bench::new().load(&many.build(), "memory_limit_mb = 128").unwrap();
    let loaded = Bench::new().load(&many.build(), "memory_limit_mb = 32");
    check_fault(&loaded.err().unwrap(), PluginFault::Exhausted, &["memory_limit_mb of 32"]);
    let memories = "(memory 0)".repeat(40);
    let too_many = Codec { items: &memories, ..Codec::default() };
    assert!(Bench::new().load(&too_many.build(), "").is_err());
}

#[test]
fn recursion_without_end_is_stopped() {
    let calls = "(drop (call $compress (local.get $at) (local.get $len)))";
    let guest = Codec { compress: &evil(calls), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Exhausted, &["too deeply"]);
}

#[test]
fn a_trap_names_the_functions_it_was_in() {
    let items = "(func $the_culprit unreachable)";
    let guest = Codec { items, compress: &evil("(call $the_culprit)"), ..Codec::default() };
    compress_fails(
        &guest,
        "",
        PluginFault::Trapped,
        &["unreachable", "; in the_culprit < compress"],
    );
    let guest = Codec { compress: &evil("(drop (i32.load (i32.const -4)))"), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["out of bounds memory access"]);
}

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
    assert_eq!((lines[0].message.as_str(), lines[0].target.as_str()), ("!", "plugin guest"));
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
    let taken = u64::from(volume::METRICS_PER_CALL_MAX) / 2;
    assert_eq!(emitted[0].value, MetricValue::Counter(taken));
}

#[test]
fn a_busy_plugin_does_not_make_others_wait_for_ever() {
    let guest = Codec { compress: &evil("(loop (br 0))"), ..Codec::default() };
    let bench = Bench::new();
    let resources = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 200\nmax_instances = 1";
    let codec: Arc<dyn CompressionExtension> = bench.load(&guest.build(), resources).unwrap();
    let began = Instant::now();
    let errors: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..3).map(|_| scope.spawn(|| codec.compress(b"!").unwrap_err())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    // Whether a call waited or ran out its time depends on who came first.
    errors.iter().for_each(|error| check_fault(error, PluginFault::Exhausted, &["timeout_ms"]));
    assert!(began.elapsed() < Duration::from_secs(10), "nobody waited for ever");
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
}

/// Imports of a clock, random numbers, and what one can wait for.
const WASI: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $sleep (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $wait (param i32)))"#;

/// A codec that answers the number `value` to everything, loaded with these capabilities.
fn number(value: &str, capabilities: &str) -> impl Fn() -> u64 {
    let compress =
        format!("(i64.store (i32.const 200) {value}) (call $same (i32.const 200) (i32.const 8))");
    let guest = Codec { imports: WASI, compress: &compress, ..Codec::default() };
    let bench = Bench::new();
    let codec =
        bench.load(&guest.build(), &format!("max_instances = 1\n[capabilities]\n{capabilities}"));
    let codec = codec.unwrap();
    move || u64::from_le_bytes(codec.compress(b"eight or more bytes").unwrap().try_into().unwrap())
}

#[test]
fn a_clock_stands_still_unless_it_is_granted() {
    let clock = number("(call $now)", "");
    let before = clock();
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!((before, clock()), (0, 0));
    let clock = number("(call $now)", "clock = true");
    let before = clock();
    std::thread::sleep(Duration::from_millis(3));
    let after = clock();
    assert!(before < after && after.is_multiple_of(1_000_000), "{before} {after}");
}

#[test]
fn random_numbers_repeat_unless_they_are_granted() {
    let first = |capabilities| number("(call $random)", capabilities)();
    assert_eq!(first(""), first(""));
    assert_ne!(first("random = true"), first("random = true"));
}

#[test]
fn a_guest_cannot_wait() {
    let guest = Codec {
        imports: WASI,
        compress: &evil("(call $wait (call $sleep (i64.const 3600000000000)))"),
        ..Codec::default()
    };
    compress_fails(&guest, "", PluginFault::Trapped, &["a plugin cannot wait"]);
}

#[test]
fn a_trap_is_reported_with_what_the_guest_said_on_standard_error() {
    let guest = Codec {
        imports: r#"
            (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
            (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))"#,
        items: r#"(data (i32.const 200) "panicked: \1b no pages left")"#,
        compress: &evil(
            "(call $write (call $stderr) (i32.const 200) (i32.const 25) (i32.const 128)) unreachable",
        ),
        ..Codec::default()
    };
    let words = ["unreachable", "; it said: panicked: \\u{1b} no pages left; in "];
    compress_fails(&guest, "", PluginFault::Trapped, &words);
}
