//! Work without end: loops wherever a guest runs, recursion, traps of every kind.

use super::{check_fault, compress_fails, engine, evil, evil_get, get, get_fails};
use crate::guest::{Bench, Codec, ENGINE, Storage};
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{KeyRange, PluginFault};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// What the host calls once it has read the answer of `compress`.
fn post_return(body: &str) -> String {
    format!(
        r#"(global $evil (mut i32) (i32.const 0))
        (func (export "cabi_post_sochdb:plugin/codec@0.1.0#compress") (param i32)
            (if (global.get $evil) (then {body})))"#
    )
}

#[test]
fn a_loop_after_the_answer_is_stopped() {
    let (items, compress) =
        (post_return("(loop (br 0))"), evil("(global.set $evil (i32.const 1))"));
    let guest = Codec { items: &items, compress: &compress, ..Codec::default() };
    let words = ["compress", "fuel_limit of 1000000"];
    compress_fails(&guest, "fuel_limit = 1_000_000", PluginFault::Exhausted, &words);
    let resources = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 50";
    compress_fails(&guest, resources, PluginFault::Exhausted, &["timeout_ms of 50"]);
}

#[test]
fn a_trap_after_the_answer_costs_the_instance() {
    let (items, compress) = (post_return("unreachable"), evil("(global.set $evil (i32.const 1))"));
    let guest = Codec { items: &items, compress: &compress, ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["compress", "unreachable"]);
}

#[test]
fn a_loop_in_the_allocator_is_stopped() {
    // The host asks for memory before the guest sees anything of a call; only a long input is evil.
    let realloc = "(if (i32.eq (local.get $len) (i32.const 1)) (then (loop (br 0))))
        (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len))";
    let guest = Codec { realloc, ..Codec::default() };
    let words = ["compress", "fuel_limit of 1000000"];
    compress_fails(&guest, "fuel_limit = 1_000_000", PluginFault::Exhausted, &words);
}

/// A storage engine whose cursors, and readers, do this when they are dropped.
fn dropped(cursor: &str, reader: &str) -> String {
    format!(
        r#"(func (export "{ENGINE}#[dtor]cursor") (param i32) {cursor})
        (func (export "{ENGINE}#[dtor]reader") (param i32) {reader})"#
    )
}

#[test]
fn a_loop_or_a_trap_in_a_drop_is_stopped() {
    for (evil, fault, words) in [
        ("(loop (br 0))", PluginFault::Exhausted, ["cursor.next", "fuel_limit of 1000000"]),
        ("unreachable", PluginFault::Trapped, ["cursor.next", "unreachable"]),
    ] {
        let (items, multi_get) = (dropped(evil, ""), evil_get(""));
        let guest = Storage { items: &items, multi_get: &multi_get, ..Storage::default() };
        let (bench, reader) = engine(&guest, "fuel_limit = 1_000_000");
        // A scan that has come to its end is dropped.
        let mut scan = reader.scan(&KeyRange::all(), false, None).unwrap();
        check_fault(&scan.next_batch(9, 999).unwrap_err(), fault, &words);
        assert_eq!(get(&reader, b"good").unwrap(), None, "{evil}");
        assert_eq!(bench.host.list()[0].usage.failures, 1);
    }
    // A reader nobody wants is dropped by a later call to its instance; the call pays for it.
    let items = dropped("", "(loop (br 0))");
    let bench = Bench::new();
    let guest = Storage { items: &items, ..Storage::default() };
    let storage = bench.load_storage(&guest.build(), "fuel_limit = 1_000_000").unwrap();
    drop(storage.open(&super::table(), &[]).unwrap());
    let error = storage.open(&super::table(), &[]).err().expect("the drop comes before it");
    check_fault(&error, PluginFault::Exhausted, &["open", "fuel_limit"]);
    storage.open(&super::table(), &[]).unwrap();
}

#[test]
fn every_trap_of_the_machine_is_an_error() {
    for (trap, words) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "overflow"),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", "conversion to integer"),
        ("(drop (i64.trunc_f64_u (f64.const 1e300)))", "overflow"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        ("(call_indirect (param i32) (i32.const 1) (i32.const 1))", "type mismatch"),
        ("(call_indirect (i32.const 99))", "undefined element"),
        ("(i64.store offset=0xffffffff (i32.const -1) (i64.const 1))", "out of bounds memory"),
        ("(table.set $t (i32.const -1) (ref.null func))", "out of bounds table"),
        ("(memory.init $gone (i32.const 0) (i32.const 0) (i32.const 9))", "out of bounds memory"),
    ] {
        let items = r#"(table $t 2 funcref) (elem (table $t) (i32.const 1) func $nothing)
            (func $nothing) (data $gone "x")"#;
        let guest = Codec { items, compress: &evil(trap), ..Codec::default() };
        compress_fails(&guest, "", PluginFault::Trapped, &["compress", words]);
    }
}

#[test]
fn recursion_through_a_table_is_stopped() {
    let items = "(table $t 1 funcref) (elem (table $t) (i32.const 0) func $deeper)
        (func $deeper (param i64 i64 i64 i64) (call_indirect (param i64 i64 i64 i64)
            (local.get 3) (local.get 2) (local.get 1) (local.get 0) (i32.const 0)))";
    let calls = "(call $deeper (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))";
    let guest = Codec { items, compress: &evil(calls), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Exhausted, &["too deeply"]);
    let multi_get = evil_get(
        "(drop (call $multi-get (local.get 0) (local.get 1) (local.get 2)
        (local.get 3) (local.get 4)))",
    );
    let guest = Storage { multi_get: &multi_get, ..Storage::default() };
    get_fails(&guest, "", PluginFault::Exhausted, &["too deeply", "multi-get"]);
}
