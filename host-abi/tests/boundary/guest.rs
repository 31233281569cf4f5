//! Small guests, written as core WebAssembly text and wrapped into components of a world of `wit/`.

use sochdb_host_abi::{HostOptions, PluginHost};
use sochdb_index::IndexExtension;
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::{
    CompressionExtension, ObservabilityExtension, PluginManager, StorageExtension,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// What every guest begins with: a memory whose first bytes are an `ok`, and an allocator that only
/// goes forward.
const PRELUDE: &str = r#"
    (memory $memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func $alloc (param i32 i32 i32) (param $len i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $next))
        (global.set $next (i32.and
            (i32.add (i32.add (local.get $at) (local.get $len)) (i32.const 15)) (i32.const -16)))
        (block $fits (loop $more
            (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
            (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
            unreachable))
        (local.get $at))
    (func $ok (result i32) (i32.const 0))
    ;; Answers the bytes at `at`, or with `tag` 1 an error of code 3 with them as its text.
    (func $answer (param $tag i32) (param $at i32) (param $len i32) (result i32)
        (i32.store8 (i32.const 64) (local.get $tag))
        (if (local.get $tag)
            (then
                (i32.store16 (i32.const 68) (i32.const 3))
                (i32.store (i32.const 72) (local.get $at))
                (i32.store (i32.const 76) (local.get $len)))
            (else
                (i32.store (i32.const 68) (local.get $at))
                (i32.store (i32.const 72) (local.get $len))))
        (i32.const 64))
    (func $error (param $at i32) (param $len i32) (result i32)
        (call $answer (i32.const 1) (local.get $at) (local.get $len)))
    (func $same (param $at i32) (param $len i32) (result i32)
        (call $answer (i32.const 0) (local.get $at) (local.get $len)))
"#;

/// An allocator that does what it should: the body of `cabi_realloc`, with `$len`.
const ALLOC: &str = "(call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len))";

/// What the host calls to put its bytes into the guest.
fn realloc(body: &str) -> String {
    format!(
        r#"(func (export "cabi_realloc") (param i32 i32 i32) (param $len i32) (result i32) {body})"#
    )
}

const LIFECYCLE: &str = "sochdb:plugin/lifecycle@0.1.0";

/// A codec in pieces of core WebAssembly text; those that are not given behave.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    /// Imports, before anything else.
    pub imports: &'a str,
    /// More items: memories, tables, data, functions, a start function.
    pub items: &'a str,
    /// Body of `init`, an address of a result.
    pub init: &'a str,
    /// Body of `self-test`.
    pub self_test: &'a str,
    /// Body of `shutdown`.
    pub shutdown: &'a str,
    /// Body of `compress`, with `$at` and `$len`.
    pub compress: &'a str,
    /// Body of `decompress`, with `$at`, `$len` and `$raw`.
    pub decompress: &'a str,
    /// Body of `cabi_realloc`, with `$len`.
    pub realloc: &'a str,
}

impl Default for Codec<'_> {
    fn default() -> Self {
        Codec {
            imports: "",
            items: "",
            init: "(call $ok)",
            self_test: "(call $ok)",
            shutdown: "(call $ok)",
            compress: "(call $same (local.get $at) (local.get $len))",
            decompress: "(call $same (local.get $at) (local.get $len))",
            realloc: ALLOC,
        }
    }
}

impl Codec<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Codec { imports, items, init, self_test, shutdown, compress, decompress, .. } = self;
        let realloc = realloc(self.realloc);
        let text = format!(
            r#"(module {imports} {PRELUDE} {realloc} {items}
                (func (export "{LIFECYCLE}#init") (result i32) {init})
                (func (export "{LIFECYCLE}#self-test") (result i32) {self_test})
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) {shutdown})
                (func $compress (export "sochdb:plugin/codec@0.1.0#compress")
                    (param $at i32) (param $len i32) (result i32) {compress})
                (func $decompress (export "sochdb:plugin/codec@0.1.0#decompress")
                    (param $at i32) (param $len i32) (param $raw i32) (result i32) {decompress}))"#
        );
        component(&text)
    }
}

/// A storage engine in pieces of core WebAssembly text. Its readers and cursors are all the same, it
/// writes nothing and has no rows.
#[derive(Clone, Copy)]
pub struct Storage<'a> {
    /// More imports, before anything else.
    pub imports: &'a str,
    /// More items: data, functions.
    pub items: &'a str,
    /// Body of `flush`, with `$run` and `$sink`.
    pub flush: &'a str,
    /// Body of `plan-compaction`, with `$count` segments.
    pub plan: &'a str,
    /// Body of `merge`, with `$sink`.
    pub merge: &'a str,
    /// Body of `open`, with `$at` and `$count` of handles.
    pub open: &'a str,
    /// Body of `multi-get`, with `$keys`, `$keys-len`, `$ends` and `$count`.
    pub multi_get: &'a str,
    /// Body of `scan`, with `$start` (0 for none) and its `$start-at`.
    pub scan: &'a str,
    /// Body of `next`, with `$rows` and `$bytes`.
    pub next: &'a str,
    /// Body of a column cursor's `next`, with the same.
    pub next_columns: &'a str,
    /// Body of `stats`.
    pub stats: &'a str,
    /// Body of `cabi_realloc`, with `$len`.
    pub realloc: &'a str,
}

impl Default for Storage<'_> {
    fn default() -> Self {
        Storage {
            imports: "",
            items: "",
            flush: "(call $same (i32.const 0) (i32.const 0))",
            plan: "(call $ok)",
            merge: "(call $same (i32.const 0) (i32.const 0))",
            open: "(call $handle (call $new-reader (i32.const 0)))",
            multi_get: "(call $found (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            scan: "(call $handle (call $new-cursor (i32.const 0)))",
            next: "(call $rows (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            next_columns: "(call $columns (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            stats: "(i32.store8 (i32.const 64) (i32.const 0))
                (i64.store (i32.const 68) (i64.const 0)) (i64.store (i32.const 76) (i64.const 0))
                (i32.const 64)",
            realloc: ALLOC,
        }
    }
}

/// The interface that a storage engine exports.
pub const ENGINE: &str = "sochdb:plugin/storage-engine@0.1.0";

impl Storage<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Storage { imports, items, flush, plan, merge, open, multi_get, scan, next, .. } = self;
        let Storage { next_columns, stats, .. } = self;
        let realloc = realloc(self.realloc);
        let table = "(param $id i64) (param $name i32) (param i32) (param i32 i32 i32 i32 i32 i32)
            (param $options i32) (param i32)";
        let text = format!(
            r#"(module {imports}
                (import "sochdb:plugin/segments@0.1.0" "[resource-drop]run"
                    (func $drop-run (param i32)))
                (import "sochdb:plugin/segments@0.1.0" "[resource-drop]sink"
                    (func $drop-sink (param i32)))
                (import "[export]{ENGINE}" "[resource-new]reader"
                    (func $new-reader (param i32) (result i32)))
                (import "[export]{ENGINE}" "[resource-new]cursor"
                    (func $new-cursor (param i32) (result i32)))
                (import "[export]{ENGINE}" "[resource-new]column-cursor"
                    (func $new-column-cursor (param i32) (result i32)))
                {PRELUDE} {realloc}
                (func $handle (param i32) (result i32)
                    (call $answer (i32.const 0) (local.get 0) (i32.const 0)))
                (func $list (param $field i32) (param $at i32) (param $len i32)
                    (i32.store (i32.add (i32.const 68) (i32.mul (local.get $field) (i32.const 8)))
                        (local.get $at))
                    (i32.store (i32.add (i32.const 72) (i32.mul (local.get $field) (i32.const 8)))
                        (local.get $len)))
                ;; Keys, their ends, values, their ends, `count` states: each at an address.
                (func $rows (param $keys i32) (param $keys-len i32) (param $ends i32)
                    (param $values i32) (param $values-len i32) (param $value-ends i32)
                    (param $count i32) (result i32)
                    (i32.store8 (i32.const 64) (i32.const 0))
                    (call $list (i32.const 0) (local.get $keys) (local.get $keys-len))
                    (call $list (i32.const 1) (local.get $ends) (local.get $count))
                    (call $list (i32.const 2) (local.get $values) (local.get $values-len))
                    (call $list (i32.const 3) (local.get $value-ends) (local.get $count))
                    (call $list (i32.const 4) (i32.const 128) (local.get $count))
                    (i32.const 64))
                (func $found (param $states i32) (param $count i32)
                    (param $values i32) (param $values-len i32) (param $value-ends i32) (result i32)
                    (i32.store8 (i32.const 64) (i32.const 0))
                    (call $list (i32.const 0) (local.get $states) (local.get $count))
                    (call $list (i32.const 1) (local.get $values) (local.get $values-len))
                    (call $list (i32.const 2) (local.get $value-ends) (local.get $count))
                    (i32.const 64))
                ;; Columns of `count` rows: numbers of the layout, words; the batch is the last.
                (func $columns (param $count i32) (param $layout i32) (param $layout-len i32)
                    (param $words i32) (param $words-len i32) (result i32)
                    (i32.store8 (i32.const 64) (i32.const 0))
                    (i32.store (i32.const 68) (local.get $count))
                    (i32.store (i32.const 72) (local.get $layout))
                    (i32.store (i32.const 76) (local.get $layout-len))
                    (i32.store (i32.const 80) (local.get $words))
                    (i32.store (i32.const 84) (local.get $words-len))
                    (i32.store8 (i32.const 88) (i32.const 0))
                    (i32.const 64))
                {items}
                (func (export "{LIFECYCLE}#init") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#self-test") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) (call $ok))
                (func $merge (export "{ENGINE}#merge") {table}
                    (param i32 i32) (param i32) (param $sink i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {merge}))
                    (call $drop-sink (local.get $sink))
                    (local.get $result))
                (func $flush (export "{ENGINE}#flush") {table}
                    (param i32 i32) (param $run i32) (param $sink i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {flush}))
                    (call $drop-run (local.get $run))
                    (call $drop-sink (local.get $sink))
                    (local.get $result))
                (func (export "{ENGINE}#plan-compaction") {table}
                    (param i32) (param $count i32) (result i32) {plan})
                (func $open (export "{ENGINE}#[static]reader.open") {table}
                    (param $at i32) (param $count i32) (result i32) {open})
                (func $multi-get (export "{ENGINE}#[method]reader.multi-get")
                    (param i32) (param $keys i32) (param $keys-len i32)
                    (param $ends i32) (param $count i32) (result i32) {multi_get})
                (func (export "{ENGINE}#[method]reader.scan")
                    (param i32) (param $start i32) (param $start-at i32) (param i32 i32)
                    (param i32 i32 i32 i32) (param i32) (param i32 i32 i32 i32 i32 i32)
                    (result i32) {scan})
                (func (export "{ENGINE}#[method]reader.scan-columns")
                    (param i32) (param i32 i32 i32 i32) (param i32 i32 i32 i32)
                    (param i32 i32 i32 i32 i32) (result i32)
                    (call $handle (call $new-column-cursor (i32.const 0))))
                (func (export "{ENGINE}#[method]reader.stats") (param i32) (result i32) {stats})
                (func (export "{ENGINE}#[method]column-cursor.next")
                    (param i32) (param $rows i32) (param $bytes i32) (result i32) {next_columns})
                (func $next (export "{ENGINE}#[method]cursor.next")
                    (param i32) (param $rows i32) (param $bytes i32) (result i32) {next}))"#
        );
        wrap(
            &text,
            "package test:guest; world guest { include sochdb:plugin/storage-plugin@0.1.0; }",
        )
    }
}

/// An index in pieces of core WebAssembly text. Its searchers are all the same, it writes an empty segment and
/// finds nothing.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    /// More imports, before anything else.
    pub imports: &'a str,
    /// More items: data, functions.
    pub items: &'a str,
    /// Body of `check`.
    pub check: &'a str,
    /// Body of `build`, with `$entries`, `$parts`, their `$count`, and `$sink`.
    pub build: &'a str,
    /// Body of `open`, with `$entries` and `$segment`.
    pub open: &'a str,
    /// Body of `search`, with `$query`, `$k`, `$effort`, and `$allowed` with its `$words`.
    pub search: &'a str,
    /// Body of `lookup`, with `$limit`.
    pub lookup: &'a str,
    /// Body of `stats`.
    pub stats: &'a str,
    /// Body of `cabi_realloc`, with `$len`.
    pub realloc: &'a str,
}

impl Default for Index<'_> {
    fn default() -> Self {
        Index {
            imports: "",
            items: "",
            check: "(call $ok)",
            build: "(call $built (call $empty (local.get $sink)))",
            open: "(call $handle (call $new-searcher (i32.const 0)))",
            search: "(call $same (i32.const 0) (i32.const 0))",
            lookup: "(call $same (i32.const 0) (i32.const 0))",
            stats: "(i64.store (i32.const 64) (i64.const 0)) (i32.const 64)",
            realloc: ALLOC,
        }
    }
}

/// The interface that an index exports.
pub const INDEX: &str = "sochdb:plugin/index@0.1.0";

impl Index<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Index { imports, items, check, build, open, search, lookup, stats, realloc } = self;
        let realloc = self::realloc(realloc);
        let index = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)";
        let text = format!(
            r#"(module {imports}
                (import "sochdb:plugin/entries@0.1.0" "[resource-drop]entries"
                    (func $drop-entries (param i32)))
                (import "sochdb:plugin/entries@0.1.0" "[resource-drop]query"
                    (func $drop-query (param i32)))
                (import "sochdb:plugin/segments@0.1.0" "[resource-drop]sink"
                    (func $drop-sink (param i32)))
                (import "sochdb:plugin/segments@0.1.0" "[method]sink.create"
                    (func $create (param i32 i32)))
                (import "sochdb:plugin/segments@0.1.0" "[static]segment-writer.seal"
                    (func $seal (param i32 i32)))
                (import "[export]{INDEX}" "[resource-new]searcher"
                    (func $new-searcher (param i32) (result i32)))
                {PRELUDE} {realloc}
                (func $handle (param i32) (result i32)
                    (call $answer (i32.const 0) (local.get 0) (i32.const 0)))
                ;; The number of an empty segment.
                (func $empty (param $sink i32) (result i64)
                    (call $create (local.get $sink) (i32.const 512))
                    (call $seal (i32.load (i32.const 516)) (i32.const 520))
                    (i64.load (i32.const 528)))
                (func $built (param i64) (result i32)
                    (i32.store8 (i32.const 64) (i32.const 0))
                    (i64.store (i32.const 72) (local.get 0))
                    (i32.const 64))
                {items}
                (func (export "{LIFECYCLE}#init") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#self-test") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) (call $ok))
                (func (export "{INDEX}#check") {index} (result i32) {check})
                (func $build (export "{INDEX}#build") {index} (param $entries i32)
                    (param $parts i32) (param $count i32) (param $sink i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {build}))
                    (call $drop-entries (local.get $entries))
                    (call $drop-sink (local.get $sink))
                    (local.get $result))
                (func (export "{INDEX}#[static]searcher.open") {index}
                    (param $entries i32) (param $segment i32) (result i32) {open})
                (func $search (export "{INDEX}#[method]searcher.search") (param i32)
                    (param $query i32) (param $k i32) (param $effort i32)
                    (param $allowed i32) (param $words i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {search}))
                    (call $drop-query (local.get $query))
                    (local.get $result))
                (func (export "{INDEX}#[method]searcher.lookup") (param i32)
                    (param i32 i32 i32 i32) (param i32 i32 i32 i32) (param $reverse i32)
                    (param $limit i32) (param $allowed i32) (param $words i32)
                    (result i32) {lookup})
                (func (export "{INDEX}#[method]searcher.stats") (param i32) (result i32) {stats}))"#
        );
        wrap(&text, "package test:guest; world guest { include sochdb:plugin/index-plugin@0.1.0; }")
    }
}

/// An observer in pieces of core WebAssembly text, which are answers.
#[derive(Clone, Copy)]
pub struct Observer<'a> {
    /// Imports, which come first.
    pub imports: &'a str,
    /// More items: data, functions.
    pub items: &'a str,
    /// Body of `ingest`, with `$metrics` and their `$count`.
    pub ingest: &'a str,
    /// Body of `render`.
    pub render: &'a str,
    /// Body of `cabi_realloc`, with `$len`.
    pub realloc: &'a str,
}

impl Default for Observer<'_> {
    fn default() -> Self {
        let render = "(call $page (i32.const 0) (i32.const 0))";
        Observer { imports: "", items: "", ingest: "(call $ok)", render, realloc: ALLOC }
    }
}

impl Observer<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Observer { imports, items, ingest, render, .. } = self;
        let realloc = realloc(self.realloc);
        let text = format!(
            r#"(module {imports} {PRELUDE} {realloc} {items}
                (data (i32.const 1500) "text/plain")
                (func $page (param $body i32) (param $len i32) (result i32)
                    (i32.store8 (i32.const 64) (i32.const 0))
                    (i32.store (i32.const 68) (i32.const 1500))
                    (i32.store (i32.const 72) (global.get $type-len))
                    (i32.store (i32.const 76) (local.get $body))
                    (i32.store (i32.const 80) (local.get $len))
                    (i32.const 64))
                (global $type-len (mut i32) (i32.const 10))
                (func (export "{LIFECYCLE}#init") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#self-test") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) (call $ok))
                (func (export "sochdb:plugin/observer@0.1.0#ingest")
                    (param i64 i64 i32 i32) (param $metrics i32) (param $count i32)
                    (param i32 i32 i32 i32 i32 i32) (result i32) {ingest})
                (func (export "sochdb:plugin/observer@0.1.0#render")
                    (param $accept i32) (param $accept-len i32) (result i32) {render}))"#
        );
        wrap(
            &text,
            "package test:guest; world guest { include sochdb:plugin/observer-plugin@0.1.0; }",
        )
    }
}

/// Imports of rows and calls, under short names.
const ROWS: &str = r#"
    (import "sochdb:plugin/rows@0.1.0" "[method]transaction.open-table"
        (func $open (param i32 i32 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[method]table.soch-read"
        (func $read (param i32 i32 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[method]table.soch-write"
        (func $write (param i32 i32 i32 i32 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[method]table.soch-write-many"
        (func $write-many (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[method]table.soch-scan" (func $scan
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[method]scan.next"
        (func $next-rows (param i32 i32 i32 i32)))
    (import "sochdb:plugin/rows@0.1.0" "[resource-drop]transaction"
        (func $drop-tx (param i32)))
    (import "sochdb:plugin/rows@0.1.0" "[resource-drop]table"
        (func $drop-table (param i32)))
    (import "sochdb:plugin/plugins@0.1.0" "call-plugin"
        (func $call-plugin (param i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// Where the functions below put what a call of the host answered.
const ROW_ITEMS: &str = r#"
    ;; The name of the table that is opened, and of a second one.
    (data (i32.const 1300) "t") (data (i32.const 1301) "u")
    (func $open-t (param $tx i32) (result i32)
        (call $open (local.get $tx) (i32.const 1300) (i32.const 1) (i32.const 1400))
        (if (i32.load8_u (i32.const 1400)) (then unreachable))
        (i32.load (i32.const 1404)))
    (func $scan-all (param $table i32) (result i32)
        (call $scan (local.get $table)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 1400))
        (if (i32.load8_u (i32.const 1400)) (then unreachable))
        (i32.load (i32.const 1404)))
    (func $put (param $table i32) (param $key i32) (param $key-len i32)
        (param $value i32) (param $value-len i32)
        (call $write (local.get $table) (local.get $key) (local.get $key-len)
            (local.get $value) (local.get $value-len) (i32.const 1400)))
    ;; Traps unless the last call was answered with an error of this code.
    (func $wants (param $code i32)
        (if (i32.ne (i32.load8_u (i32.const 1400)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 1404)) (local.get $code)) (then unreachable)))"#;

/// A plugin of procedures in pieces of core WebAssembly text. It has one, called `go`.
#[derive(Clone, Copy)]
pub struct Procedures<'a> {
    /// More items: data, functions.
    pub items: &'a str,
    /// Body of `describe`.
    pub describe: &'a str,
    /// Body of `call`, with `$tx`, `$args` and `$len`. The transaction is given back behind it.
    pub call: &'a str,
}

impl Default for Procedures<'_> {
    fn default() -> Self {
        Procedures {
            items: "",
            describe: "(call $same (i32.const 1024) (i32.const 1))",
            call: "(call $same (i32.const 1202) (i32.const 2))",
        }
    }
}

impl Procedures<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Procedures { items, describe, call } = self;
        let realloc = realloc(ALLOC);
        let text = format!(
            r#"(module {ROWS} {PRELUDE} {realloc} {ROW_ITEMS}
                (data (i32.const 1024) "\b0\04\00\00\02\00\00\00" "\00\00\00\00\00\00\00\00"
                    "\b2\04\00\00\02\00\00\00" "\b2\04\00\00\02\00\00\00" "\00\00\00\00")
                (data (i32.const 1200) "go{{}}")
                {items}
                (func (export "{LIFECYCLE}#init") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#self-test") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) (call $ok))
                (func (export "sochdb:plugin/procedure@0.1.0#describe") (result i32) {describe})
                (func (export "sochdb:plugin/procedure@0.1.0#call") (param $tx i32)
                    (param i32 i32) (param $args i32) (param $len i32) (result i32)
                    (local $result i32) (local $table i32)
                    (local.set $result (block (result i32) {call}))
                    (call $drop-tx (local.get $tx))
                    (local.get $result)))"#
        );
        wrap(
            &text,
            "package test:guest; world guest { include sochdb:plugin/procedure-plugin@0.1.0; }",
        )
    }
}

/// A plugin of hooks in pieces of core WebAssembly text.
#[derive(Clone, Copy)]
pub struct Hooks<'a> {
    /// More items: data, functions.
    pub items: &'a str,
    /// Body of `before`, with `$tx`, `$table`, `$changes` and their `$count`. Both handles are given
    /// back behind it.
    pub before: &'a str,
    /// Body of `after`, with the same.
    pub after: &'a str,
}

impl Default for Hooks<'_> {
    fn default() -> Self {
        Hooks { items: "", before: "(call $continue (local.get $count))", after: "(call $ok)" }
    }
}

impl Hooks<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let Hooks { items, before, after } = self;
        let realloc = realloc(ALLOC);
        let text = format!(
            r#"(module {ROWS} {PRELUDE} {realloc} {ROW_ITEMS}
                ;; As many decisions to go on.
                (func $continue (param $count i32) (result i32)
                    (call $same
                        (call $alloc (i32.const 0) (i32.const 0) (i32.const 4)
                            (i32.mul (local.get $count) (i32.const 12)))
                        (local.get $count)))
                ;; The first byte of the first key.
                (func $first (param $changes i32) (result i32)
                    (i32.load8_u (i32.load offset=4 (local.get $changes))))
                {items}
                (func (export "{LIFECYCLE}#init") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#self-test") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#export-state") (result i32) (call $ok))
                (func (export "{LIFECYCLE}#import-state")
                    (param i32 i32 i32 i32) (result i32) (call $ok))
                (func (export "{LIFECYCLE}#shutdown") (result i32) (call $ok))
                (func (export "sochdb:plugin/hooks@0.1.0#before") (param $tx i32)
                    (param $table i32) (param $changes i32) (param $count i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {before}))
                    (call $drop-table (local.get $table))
                    (call $drop-tx (local.get $tx))
                    (local.get $result))
                (func (export "sochdb:plugin/hooks@0.1.0#after") (param $tx i32)
                    (param $table i32) (param $changes i32) (param $count i32) (result i32)
                    (local $result i32)
                    (local.set $result (block (result i32) {after}))
                    (call $drop-table (local.get $table))
                    (call $drop-tx (local.get $tx))
                    (local.get $result)))"#
        );
        wrap(&text, "package test:guest; world guest { include sochdb:plugin/hooks-plugin@0.1.0; }")
    }
}

/// As much of WASI as these guests import, as WASI itself declares it.
const WASI: [&str; 5] = [
    "package wasi:io@0.2.0;
    interface poll { resource pollable { block: func(); } }
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource input-stream {
            blocking-read: func(len: u64) -> result<list<u8>, stream-error>;
        }
        resource output-stream {
            write: func(contents: list<u8>) -> result<_, stream-error>;
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            write-zeroes: func(len: u64) -> result<_, stream-error>;
        }
    }",
    "package wasi:cli@0.2.0;
    interface environment {
        get-environment: func() -> list<tuple<string, string>>;
        get-arguments: func() -> list<string>;
    }
    interface exit { exit: func(status: result); }
    interface stdin {
        use wasi:io/streams@0.2.0.{input-stream};
        get-stdin: func() -> input-stream;
    }
    interface stdout {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stdout: func() -> output-stream;
    }
    interface stderr {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stderr: func() -> output-stream;
    }",
    "package wasi:filesystem@0.2.0;
    interface types { resource descriptor; }
    interface preopens {
        use types.{descriptor};
        get-directories: func() -> list<tuple<descriptor, string>>;
    }",
    "package wasi:clocks@0.2.0;
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }",
    "package wasi:random@0.2.0;
    interface random {
        get-random-bytes: func(len: u64) -> list<u8>;
        get-random-u64: func() -> u64;
    }",
];
const CODEC_WITH_WASI: &str = "package test:guest;
    world guest {
        include sochdb:plugin/codec-plugin@0.1.0;
        import wasi:cli/environment@0.2.0;
        import wasi:cli/exit@0.2.0;
        import wasi:cli/stdin@0.2.0;
        import wasi:cli/stdout@0.2.0;
        import wasi:cli/stderr@0.2.0;
        import wasi:filesystem/preopens@0.2.0;
        import wasi:clocks/monotonic-clock@0.2.0;
        import wasi:random/random@0.2.0;
    }";

/// Wraps a core module into a codec's component. What it does not use of WASI it does not import.
pub fn component(module: &str) -> Vec<u8> {
    wrap(module, CODEC_WITH_WASI)
}

/// The contract, the part of WASI above, and the one world in `world`.
pub fn resolve(world: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.1.0");
    resolve.push_dir(wit).expect("the contract parses");
    for package in WASI {
        resolve.push_str("wasi.wit", package).expect("this part of WASI parses");
    }
    let package = resolve.push_str("guest.wit", world).expect("the guest's world parses");
    let world = resolve.select_world(&[package], None).expect("there is one world");
    (resolve, world)
}

fn wrap(module: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).expect("the guest's text is right");
    let (resolve, world) = resolve(world);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    encode(&module)
}

/// The component around a module that says of which world it is.
pub fn encode(module: &[u8]) -> Vec<u8> {
    // Not validated: what the host makes of an odd guest is for the host to say.
    let mut encoder = ComponentEncoder::default();
    encoder.validate(false).module(module).expect("the guest fits its world");
    encoder.encode().expect("the guest fits its world")
}

/// A host, a registry, and a folder with plugins.
pub struct Bench {
    pub host: PluginHost,
    pub plugins: PluginManager,
    pub folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(HostOptions::default())
    }

    pub fn with(options: HostOptions) -> Bench {
        Bench {
            host: PluginHost::with(options).unwrap(),
            plugins: PluginManager::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes `guest.wasm` and a manifest `guest.toml` of a codec called `guest`, and loads it.
    /// `more` goes to the end of the manifest, which is its section `[resources]`.
    pub fn load(
        &self,
        component: &[u8],
        more: &str,
    ) -> KernelResult<Arc<dyn CompressionExtension>> {
        fs::write(self.folder.path().join("guest.wasm"), component).unwrap();
        self.load_manifest(&manifest("path = \"guest.wasm\"", more))
    }

    /// The same of a storage engine called `guest`.
    pub fn load_storage(
        &self,
        component: &[u8],
        more: &str,
    ) -> KernelResult<Arc<dyn StorageExtension>> {
        self.load_as("storage", component, more)?;
        self.plugins.storage("guest")
    }

    /// The same of an index called `guest`.
    pub fn load_index(
        &self,
        component: &[u8],
        more: &str,
    ) -> KernelResult<Arc<dyn IndexExtension>> {
        self.load_as("index", component, more)?;
        Ok(self.host.programs().indexes().extension("guest").expect("registered under its name"))
    }

    /// The same of an observer called `guest`.
    pub fn load_observer(
        &self,
        component: &[u8],
        more: &str,
    ) -> KernelResult<Arc<dyn ObservabilityExtension>> {
        self.load_as("observer", component, more)?;
        Ok(self.plugins.observers().remove(0))
    }

    /// The same of a plugin of this kind, called `guest`.
    pub fn load_as(&self, kind: &str, component: &[u8], more: &str) -> KernelResult<()> {
        fs::write(self.folder.path().join("guest.wasm"), component).unwrap();
        let manifest = manifest_of("guest", kind, "path = \"guest.wasm\"", more);
        let path = self.folder.path().join("guest.toml");
        fs::write(&path, manifest).unwrap();
        self.host.load_manifest(&path, &self.plugins).map(drop)
    }

    /// Loads a codec called `neighbour` that does nothing wrong.
    pub fn load_neighbour(&self) -> Arc<dyn CompressionExtension> {
        fs::write(self.folder.path().join("neighbour.wasm"), Codec::default().build()).unwrap();
        let manifest = manifest_of("neighbour", "codec", "path = \"neighbour.wasm\"", "");
        let path = self.folder.path().join("neighbour.toml");
        fs::write(&path, manifest).unwrap();
        self.host.load_manifest(&path, &self.plugins).unwrap();
        self.plugins.compression("neighbour").unwrap()
    }

    /// Writes `guest.toml` and loads it.
    pub fn load_manifest(&self, text: &str) -> KernelResult<Arc<dyn CompressionExtension>> {
        let path = self.folder.path().join("guest.toml");
        fs::write(&path, text).unwrap();
        self.host.load_manifest(&path, &self.plugins)?;
        self.plugins.compression("guest")
    }
}

/// The manifest of a codec called `guest`.
pub fn manifest(module: &str, resources: &str) -> String {
    manifest_of("guest", "codec", module, resources)
}

/// The manifest of a plugin of this kind.
pub fn manifest_of(name: &str, kind: &str, module: &str, resources: &str) -> String {
    let interface = if kind == "storage" { "storage-engine" } else { kind };
    format!(
        "[plugin]\nname = \"{name}\"\nversion = \"1.2.3\"\nkind = \"{kind}\"\n\
         min_kernel_version = \"0.1.0\"\n\
         [module]\n{module}\n\
         [exports]\ninterfaces = [\"{interface}\", \"lifecycle\"]\n\
         [resources]\n{resources}\n"
    )
}
