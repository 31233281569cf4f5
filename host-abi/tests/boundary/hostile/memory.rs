//! Memory without end: linear memories, tables, handles, what crosses the boundary.

use super::{check_fault, compress_fails, evil, evil_get, flush_fails, get_fails};
use crate::guest::{Bench, Codec, Storage};
use sochdb_kernel::PluginFault;
use std::time::{Duration, Instant};

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
fn a_hundred_memories_each_at_the_limit_are_too_many() {
    let memories = "(memory 128)".repeat(99);
    let guest = Codec { items: &memories, ..Codec::default() };
    let loaded = Bench::new().load(&guest.build(), "memory_limit_mb = 8").err().unwrap();
    check_fault(&loaded, PluginFault::Trapped, &["memory count too high at 100"]);
    let one = Codec { items: "(memory 65536)", ..Codec::default() };
    let loaded = Bench::new().load(&one.build(), "").err().unwrap();
    check_fault(&loaded, PluginFault::Exhausted, &["memory_limit_mb"]);
    let table = Codec { items: "(table 10000000 funcref)", ..Codec::default() };
    let loaded = Bench::new().load(&table.build(), "").err().unwrap();
    check_fault(&loaded, PluginFault::Exhausted, &["memory_limit_mb"]);
}

#[test]
fn one_operation_on_four_gibibytes_is_paid_for_or_out_of_bounds() {
    for bulk in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const -1))",
        "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const -1))",
    ] {
        let guest =
            Codec { items: "(table $t 10 funcref)", compress: &evil(bulk), ..Codec::default() };
        let resources = "fuel_limit = 1_000_000_000_000";
        compress_fails(&guest, resources, PluginFault::Trapped, &["out of bounds"]);
    }
    // Where there is as much memory, each byte is paid for before it is touched.
    let fill = "(memory.fill $big (i32.const 0) (i32.const 1) (i32.const 0x20000000))";
    let guest = Codec { items: "(memory $big 8192)", compress: &evil(fill), ..Codec::default() };
    let resources = "memory_limit_mb = 520\nfuel_limit = 1_000_000";
    let began = Instant::now();
    compress_fails(&guest, resources, PluginFault::Exhausted, &["fuel_limit of 1000000"]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn memory_that_is_filled_over_and_over_is_stopped_by_the_deadline() {
    // One fill cannot be interrupted, but is no longer than the memory.
    let fills =
        "(loop (memory.fill $big (i32.const 0) (i32.const 1) (i32.const 0x1000000)) (br 0))";
    let guest = Codec { items: "(memory $big 256)", compress: &evil(fills), ..Codec::default() };
    let resources = "memory_limit_mb = 32\nfuel_limit = 1_000_000_000_000\ntimeout_ms = 50";
    let began = Instant::now();
    compress_fails(&guest, resources, PluginFault::Exhausted, &["timeout_ms of 50"]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_allocator_that_takes_all_memory_is_refused() {
    let realloc = "(if (i32.eq (local.get $len) (i32.const 1)) (then
            (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))
        (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len))";
    let guest = Codec { realloc, ..Codec::default() };
    compress_fails(
        &guest,
        "memory_limit_mb = 8",
        PluginFault::Exhausted,
        &["memory_limit_mb of 8"],
    );
}

/// 4,000 labels, each of whose two strings are the same 60,000 bytes: half a gigabyte to copy.
const SAME_STRINGS: &str = "(local $n i32) (drop (memory.grow (i32.const 4)))
    (loop
        (i32.store (i32.add (i32.const 0x10000) (local.get $n)) (i32.const 128))
        (i32.store (i32.add (i32.const 0x10004) (local.get $n)) (i32.const 60000))
        (i32.store (i32.add (i32.const 0x10008) (local.get $n)) (i32.const 128))
        (i32.store (i32.add (i32.const 0x1000c) (local.get $n)) (i32.const 60000))
        (local.set $n (i32.add (local.get $n) (i32.const 16)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 64000))))
    (call $emit (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 0x10000) (i32.const 4000)
        (f64.const 1) (i32.const 112))";

#[test]
fn a_list_of_strings_that_are_all_one_large_string_is_not_copied() {
    let imports = r#"(import "sochdb:plugin/telemetry@0.1.0" "emit-metric"
        (func $emit (param i32 i32 i32 i32 i32 f64 i32)))"#;
    let items = format!("(func $flood {SAME_STRINGS})");
    let guest =
        Codec { imports, items: &items, compress: &evil("(call $flood)"), ..Codec::default() };
    let began = Instant::now();
    compress_fails(&guest, "", PluginFault::Exhausted, &["compress", "more bytes"]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_hundred_thousand_leaked_handles_are_too_many() {
    let leaks = |leak: &str| {
        format!(
            "(local $n i32) (loop {leak} (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000))))"
        )
    };
    // Handles of the host's things.
    let imports = r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))"#;
    let items = format!("(func $leak {})", leaks("(drop (call $stderr))"));
    let guest =
        Codec { imports, items: &items, compress: &evil("(call $leak)"), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
    // Handles of its own.
    let items = format!("(func $leak {})", leaks("(drop (call $new-cursor (i32.const 1)))"));
    let multi_get = evil_get("(call $leak)");
    let guest = Storage { items: &items, multi_get: &multi_get, ..Storage::default() };
    get_fails(&guest, "", PluginFault::Trapped, &["multi-get"]);
    // Segments being written.
    let imports = r#"(import "sochdb:plugin/segments@0.1.0" "[method]sink.create"
        (func $create (param i32 i32)))"#;
    let items = format!(
        "(func $leak (param $sink i32) {})",
        leaks("(call $create (local.get $sink) (i32.const 512))")
    );
    let flushes = "(call $leak (local.get $sink)) (call $ok)";
    let guest = Storage { imports, items: &items, flush: flushes, ..Storage::default() };
    flush_fails(&guest, PluginFault::Trapped, &["flush"]);
}
