//! Storage engines: the one we ship under a real kernel, and some that trap or lie.

use crate::guest::{Bench, Storage, manifest_of};
use crate::shipped::load_shipped;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_encoding::select::{Projection, Selection};
use sochdb_encoding::stats::StorageStats;
use sochdb_host_abi::{PluginHost, columns_of};
use sochdb_kernel::plugin::{
    Compaction, RunCursor, RunRow, SegmentRead, SegmentSink, SegmentWrite, StorageExtension,
    StorageReader, TableContext,
};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelError, KernelResult, KeyRange, Options, PluginFault,
    SegmentId, Slice, TableId, TableOptions,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database whose disk outlives it, and the plugins it runs with.
struct Lscs {
    environment: Environment,
    host: PluginHost,
    kernel: Kernel,
}

impl Lscs {
    fn new() -> Lscs {
        let lscs = Lscs::open(sochdb_sim::memory());
        let (storage, codec) = (Some("lscs".to_owned()), Some("lz4".to_owned()));
        let options = TableOptions { storage, codec, ..TableOptions::default() };
        lscs.kernel.create_table("t", options).unwrap();
        lscs
    }

    fn open(environment: Environment) -> Lscs {
        let kernel = Kernel::open(environment.clone(), Options::default()).unwrap();
        let host = PluginHost::new().unwrap();
        load_shipped(&host, kernel.plugins(), &["lscs", "lz4"]);
        Lscs { environment, host, kernel }
    }

    fn reopen(self) -> Lscs {
        let Lscs { environment, host, kernel } = self;
        drop((kernel, host));
        Lscs::open(environment)
    }

    fn checkpoint(&self) {
        let report = self.kernel.checkpoint().unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
    }
}

/// Numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % bound
    }

    /// Keys of different lengths that share beginnings.
    fn key(&mut self) -> Vec<u8> {
        let number = self.below(6000);
        format!("{:05}{}", number, "x".repeat(number % 40)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = if self.below(200) == 0 { 3 * self.below(60_000) } else { self.below(200) };
        (0..len).map(|i| ((i * i) >> 3) as u8).collect()
    }
}

fn check_scans(kernel: &Kernel, rows: &Rows, numbers: &mut Numbers) {
    let tx = kernel.begin_read().unwrap();
    let found: Vec<_> = tx.scan("t", ..).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), rows.len());
    assert!(found.iter().zip(rows).all(|((k, v), (key, value))| k == key && **v == **value));
    let found: Vec<_> = tx.scan_reverse("t", ..).unwrap().map(Result::unwrap).collect();
    assert!(found.iter().rev().zip(rows).all(|((k, v), (key, value))| k == key && **v == **value));
    assert_eq!(found.len(), rows.len());
    for _ in 0..30 {
        let (a, b) = (numbers.key(), numbers.key());
        let (start, end) = (a.clone().min(b.clone()), a.max(b));
        let bounds = |n, key| match n {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        };
        let range =
            KeyRange { start: bounds(numbers.below(3), start), end: bounds(numbers.below(3), end) };
        if range.is_empty() {
            continue;
        }
        let rows: Vec<_> = rows.range((range.start.clone(), range.end.clone())).collect();
        let up = tx.scan("t", range.clone()).unwrap().map(|row| row.unwrap().0);
        assert!(up.eq(rows.iter().map(|(key, _)| (*key).clone())), "{range:?}");
        let down = tx.scan_reverse("t", range.clone()).unwrap().map(|row| row.unwrap().0);
        assert!(down.eq(rows.iter().rev().map(|(key, _)| (*key).clone())), "{range:?}");
    }
}

#[test]
fn lscs_with_lz4_behaves_like_a_map() {
    let mut numbers = Numbers(42);
    let mut lscs = Lscs::new();
    let mut rows = Rows::new();
    for round in 0..14 {
        for _ in 0..4 {
            let mut changes = Vec::new();
            for _ in 0..150 {
                let value = (numbers.below(4) != 0).then(|| numbers.value());
                changes.push((numbers.key(), value));
            }
            let change = |tx: &mut sochdb_kernel::Transaction| {
                changes.iter().try_for_each(|(key, value)| match value {
                    Some(value) => tx.put("t", key, value),
                    None => tx.delete("t", key),
                })
            };
            lscs.kernel.run(change).unwrap();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
        }
        lscs.checkpoint();
        if round % 6 == 3 {
            lscs = lscs.reopen();
        }
        let tx = lscs.kernel.begin_read().unwrap();
        for _ in 0..200 {
            let key = numbers.key();
            let found = tx.get("t", &key).unwrap();
            assert_eq!(found.as_deref(), rows.get(&key).map(Vec::as_slice));
        }
        if round % 3 == 0 {
            check_scans(&lscs.kernel, &rows, &mut numbers);
        }
    }
    check_scans(&lscs.kernel, &rows, &mut numbers);
    let stats = lscs.kernel.stats();
    assert!(stats.segments < 14, "{} segments: merging happened", stats.segments);
    assert!(stats.codec_bytes_stored < stats.codec_bytes_raw, "blocks were compressed");
    let report = sochdb_operations::check(&lscs.kernel).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for plugin in lscs.host.list() {
        assert_eq!((plugin.usage.refusals, plugin.usage.failures), (0, 0), "{}", plugin.name);
    }
}

#[test]
fn many_read_while_one_writes_and_flushes() {
    let lscs = Lscs::new();
    let put = |from: u32, value: u8| {
        lscs.kernel
            .run(|tx| {
                (from..from + 500).try_for_each(|key| tx.put("t", &key.to_be_bytes(), &[value; 64]))
            })
            .unwrap();
        lscs.checkpoint();
    };
    (0..4).for_each(|part| put(part * 500, 0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..6_u32 {
            let (kernel, done) = (&lscs.kernel, &done);
            scope.spawn(move || {
                let mut round = reader;
                while !done.load(Ordering::Relaxed) {
                    let tx = kernel.begin_read().unwrap();
                    let key = (round * 7919 % 2000).to_be_bytes();
                    assert!(tx.get("t", &key).unwrap().is_some());
                    // Several scans at once, each slower than an instance would wait.
                    let mut scans: Vec<_> = (0..5).map(|_| tx.scan("t", ..).unwrap()).collect();
                    for number in 0..2000_u32 {
                        for scan in &mut scans {
                            let (key, value) = scan.next().unwrap().unwrap();
                            assert_eq!(key, number.to_be_bytes());
                            assert_eq!(value.len(), 64);
                        }
                    }
                    assert!(scans.iter_mut().all(|scan| scan.next().is_none()));
                    round += 1;
                }
            });
        }
        (1..10).for_each(|round| put((round % 4) * 500, round as u8));
        done.store(true, Ordering::Relaxed);
    });
    let usage = lscs.host.list().into_iter().find(|plugin| plugin.name == "lscs").unwrap().usage;
    assert_eq!((usage.refusals, usage.failures), (0, 0));
}

#[test]
fn a_storage_engine_is_replaced_under_an_open_table() {
    let lscs = Lscs::new();
    let get = |key: &[u8]| lscs.kernel.begin_read().unwrap().get("t", key).unwrap();
    lscs.kernel.run(|tx| tx.put("t", b"first", b"1")).unwrap();
    lscs.checkpoint();
    assert_eq!(get(b"first").as_deref(), Some(&b"1"[..]));
    load_shipped(&lscs.host, lscs.kernel.plugins(), &["lscs"]);
    assert_eq!(get(b"first").as_deref(), Some(&b"1"[..]), "what is open goes on with the old code");
    lscs.kernel.run(|tx| tx.put("t", b"second", b"2")).unwrap();
    lscs.checkpoint();
    assert_eq!(get(b"first").as_deref(), Some(&b"1"[..]));
    assert_eq!(get(b"second").as_deref(), Some(&b"2"[..]));
    let usage = lscs.host.list().into_iter().find(|plugin| plugin.name == "lscs").unwrap().usage;
    assert_eq!((usage.refusals, usage.failures), (0, 0));
    lscs.kernel.close().unwrap();
}

#[test]
fn an_engine_that_cannot_read_the_segments_there_are_is_refused_before_it_serves() {
    let lscs = Lscs::new();
    lscs.kernel.run(|tx| tx.put("t", b"first", b"1")).unwrap();
    lscs.checkpoint();
    // It opens a list of no segments, which is what its own test and a new table ask for.
    let later =
        "(if (local.get $count) (then (return (call $error (i32.const 128) (i32.const 9)))))
        (call $handle (call $new-reader (i32.const 0)))";
    let items = r#"(data (i32.const 128) "format 99")"#;
    let folder = tempfile::tempdir().unwrap();
    let install = |name: &str, open: &str| {
        let guest = Storage { items, open, ..Storage::default() };
        std::fs::write(folder.path().join("guest.wasm"), guest.build()).unwrap();
        let path = folder.path().join("guest.toml");
        let manifest = manifest_of(name, "storage", "path = \"guest.wasm\"", "");
        std::fs::write(&path, manifest).unwrap();
        lscs.host.reload(&path, &lscs.kernel, &at_once()).map(|report| report.plugin)
    };
    let error = install("lscs", later).unwrap_err().to_string();
    for words in ["'lscs' refused", "version ", "cannot read the table 't'", "format 99"] {
        assert!(error.contains(words), "{error}");
    }
    let get = |key: &[u8]| lscs.kernel.begin_read().unwrap().get("t", key).unwrap();
    assert_eq!(get(b"first").as_deref(), Some(&b"1"[..]));
    lscs.kernel.run(|tx| tx.put("t", b"second", b"2")).unwrap();
    lscs.checkpoint();
    assert_eq!(get(b"second").as_deref(), Some(&b"2"[..]), "the one before goes on");
    // One that keeps no table here has nothing to show.
    assert_eq!(install("other", later).unwrap(), "other");
}

/// A database with a row in a table that `guest` keeps.
pub fn with_guest(guest: &Storage<'_>) -> (Bench, Kernel) {
    let bench = Bench::new();
    let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
    let storage = bench.load_storage(&guest.build(), "background_fuel_limit = 10_000_000").unwrap();
    kernel.plugins().register_storage(storage);
    let storage = Some("guest".to_owned());
    kernel.create_table("t", TableOptions { storage, ..TableOptions::default() }).unwrap();
    kernel.run(|tx| tx.put("t", b"key", b"value")).unwrap();
    (bench, kernel)
}

#[test]
fn a_flush_that_fails_or_lies_keeps_its_rows_in_the_log() {
    let imports = r#"
        (import "sochdb:plugin/segments@0.1.0" "[method]run.next"
            (func $run-next (param i32 i32 i32 i32)))
        (import "sochdb:plugin/segments@0.1.0" "[method]sink.create"
            (func $create (param i32 i32)))
        (import "sochdb:plugin/segments@0.1.0" "[method]segment-writer.append"
            (func $append (param i32 i32 i32 i32)))"#;
    let next = "(call $run-next (local.get $run) (i32.const 10) (i32.const 1000) (i32.const 256))";
    let create = "(call $create (local.get $sink) (i32.const 512))";
    let too_much = format!(
        "{create} (call $append (i32.load (i32.const 516)) (i32.const 0)
            (i32.const 0x200000) (i32.const 768)) (call $ok)"
    );
    let foreign =
        "(i64.store (i32.const 600) (i64.const 77)) (call $same (i32.const 600) (i32.const 1))";
    for (flush, words) in [
        ("unreachable", &["trapped", "unreachable", "in flush"][..]),
        ("(loop (br 0)) unreachable", &["background_fuel_limit of 10000000"]),
        ("(call $error (i32.const 0) (i32.const 0))", &["refused", "flush"]),
        // It reads the run, then says that there was nothing to write.
        (&format!("{next} {}", Storage::default().flush), &["failed its check"]),
        (foreign, &["failed its check", "did not write"]),
        // It leaves a writer behind; the host closes it.
        (&format!("{create} {}", Storage::default().flush), &["failed its check"]),
        (&too_much, &["out of bounds", "flush"]),
        // It answers before it gave its handles back.
        ("(return (call $ok))", &["trapped", "borrow"]),
    ] {
        let guest = Storage { imports, flush, ..Storage::default() };
        let (_bench, kernel) = with_guest(&guest);
        for _ in 0..2 {
            let report = kernel.checkpoint().unwrap();
            let (table, why) = report.failed.first().expect(flush);
            assert_eq!(table, "t");
            assert!(words.iter().all(|word| why.contains(word)), "{flush}: {why}");
            let value = kernel.begin_read().unwrap().get("t", b"key").unwrap().unwrap();
            assert_eq!(&*value, b"value");
        }
        assert!(sochdb_operations::check(&kernel).unwrap().problems.is_empty());
    }
}

fn table() -> TableContext {
    TableContext {
        id: TableId(7),
        name: "t".to_owned(),
        schema: None,
        compressed: false,
        options: BTreeMap::new(),
    }
}

/// The answer `body` gives to a scan of `a` to `c`, and what the host says to it.
fn scan(next: &str, reverse: bool) -> (Bench, KernelResult<usize>) {
    let bench = Bench::new();
    let items = r#"
        (data (i32.const 128) "\02\02\01\00\07")
        (data (i32.const 160) "\01\00\00\00\02\00\00\00\03\00\00\00")
        (data (i32.const 176) "\00\00\00\00\00\00\00\00\00\00\00\00")
        (data (i32.const 192) "\03\00\00\00\01\00\00\00\ff\ff\ff\ff")
        (data (i32.const 224) "abcdab")"#;
    let storage = bench.load_storage(&Storage { items, next, ..Storage::default() }.build(), "");
    let reader = storage.unwrap().open(&table(), &[]).unwrap();
    let mut cursor = reader.scan(&KeyRange::from(&b"a"[..]..=&b"c"[..]), reverse, None).unwrap();
    let answer = cursor.next_batch(1024, 1000);
    if answer.is_err() {
        assert!(cursor.next_batch(1024, 1000).unwrap().is_empty(), "the scan is over");
    }
    (bench, answer.map(|rows| rows.len()))
}

/// `count` rows with the keys at `keys`, which end at the numbers at `ends`.
fn rows(keys: u32, len: u32, ends: u32, values: (u32, u32), count: u32) -> String {
    let (value_len, value_ends) = values;
    format!(
        "(call $rows (i32.const {keys}) (i32.const {len}) (i32.const {ends}) (i32.const 0)
            (i32.const {value_len}) (i32.const {value_ends}) (i32.const {count}))"
    )
}

#[track_caller]
fn check_lie(error: &KernelError, words: &str) {
    let KernelError::Plugin { plugin, fault: PluginFault::Lied, message } = error else {
        panic!("{error}")
    };
    assert!(plugin == "guest" && message.contains(words), "{words:?} is not in: {message}");
}

#[test]
fn rows_of_a_scan_are_checked() {
    let none = (0, 176);
    assert_eq!(
        scan(&rows(224, 3, 160, none, 3), false).1.unwrap(),
        3,
        "a, b and c, without values"
    );
    assert_eq!(scan(Storage::default().next, false).1.unwrap(), 0);
    for (next, words) in [
        (rows(225, 3, 160, none, 3), "outside the range"),
        (rows(227, 2, 160, none, 2), "out of order"),
        (rows(224, 3, 160, none, 2), "bytes after the last of the rows"),
        (rows(224, 3, 192, none, 3), "the ends of keys do not fit"),
        (rows(224, 3, 160, (5, 176), 3), "bytes after the last of the rows"),
        (rows(224, 3, 160, (0, 160), 3), "the ends of values do not fit"),
        (rows(224, 3, 160, (3, 160), 3), "a deleted row with a value"),
        (rows(224, 3, 160, none, 200), "200 rows where 128"),
        (
            rows(224, 3, 160, none, 3)
                .replace("(call $rows", "(i32.store8 (i32.const 128) (i32.const 9)) (call $rows"),
            "a state 9",
        ),
    ] {
        check_lie(&scan(&next, false).1.unwrap_err(), words);
    }
    check_lie(&scan(&rows(224, 3, 160, none, 3), true).1.unwrap_err(), "out of order");
}

#[test]
fn a_scan_that_repeats_itself_is_stopped() {
    let bench = Bench::new();
    let items =
        r#"(data (i32.const 128) "\02") (data (i32.const 160) "\01") (data (i32.const 224) "a")"#;
    let next = rows(224, 1, 160, (0, 176), 1);
    let storage =
        bench.load_storage(&Storage { items, next: &next, ..Storage::default() }.build(), "");
    let reader = storage.unwrap().open(&table(), &[]).unwrap();
    let mut cursor = reader.scan(&KeyRange::all(), false, None).unwrap();
    assert_eq!(cursor.next_batch(1024, 1000).unwrap().len(), 1);
    check_lie(&cursor.next_batch(1024, 1000).unwrap_err(), "a second time");
}

#[test]
fn answers_to_keys_are_checked() {
    let items = r#"
        (data (i32.const 128) "\00\01\02")
        (data (i32.const 160) "\00\00\00\00\00\00\00\00\03\00\00\00")
        (data (i32.const 176) "\03\00\00\00\03\00\00\00\03\00\00\00")
        (data (i32.const 224) "abc")"#;
    let found = |count: u32, values: u32, ends: u32| {
        format!(
            "(call $found (i32.const 128) (i32.const {count}) (i32.const 224)
                (i32.const {values}) (i32.const {ends}))"
        )
    };
    let ask = |multi_get: &str| {
        let bench = Bench::new();
        let guest = Storage { items, multi_get, ..Storage::default() };
        let reader = bench.load_storage(&guest.build(), "").unwrap().open(&table(), &[]).unwrap();
        reader.multi_get(&[b"x", b"y", b"z"])
    };
    let answers = ask(&found(3, 3, 160)).unwrap();
    assert_eq!(answers[..2], [None, Some(None)]);
    assert_eq!(&**answers[2].as_ref().unwrap().as_ref().unwrap(), b"abc");
    for (answer, words) in [
        (found(0, 0, 160), "0 answers to 3 keys"),
        (found(2, 0, 160), "2 answers to 3 keys"),
        (found(3, 3, 176), "a value of a key that is unknown"),
        (found(3, 2, 160), "the ends of values"),
    ] {
        check_lie(&ask(&answer).unwrap_err(), words);
    }
}

#[test]
fn a_plan_outside_the_list_is_a_lie() {
    let segments: Vec<Arc<dyn SegmentRead>> = vec![Arc::new(Four(1)), Arc::new(Four(2))];
    let plan = |inputs: &[u32], at: u32| {
        let at = at as i32;
        let store = |(n, input): (usize, &u32)| {
            format!("(i32.store (i32.const {}) (i32.const {}))", 256 + 4 * n, *input as i32)
        };
        let stored: String = inputs.iter().enumerate().map(store).collect();
        let plan = format!(
            "{stored} (i32.store8 (i32.const 64) (i32.const 0))
             (i32.store8 (i32.const 68) (i32.const 1)) (i32.store (i32.const 72) (i32.const 256))
             (i32.store (i32.const 76) (i32.const {})) (i32.store (i32.const 80) (i32.const {at}))
             (i32.store8 (i32.const 84) (i32.const 1)) (i32.const 64)",
            inputs.len(),
        );
        let guest = Storage { plan: &plan, ..Storage::default() };
        let storage = Bench::new().load_storage(&guest.build(), "").unwrap();
        storage.plan_compaction(&table(), &segments)
    };
    let good = plan(&[0, 1], 0).unwrap().unwrap();
    assert_eq!(good, Compaction { inputs: vec![0, 1], at: 0, urgent: true });
    assert_eq!(plan(&[1], 0).unwrap().unwrap().inputs, [1]);
    for (inputs, at) in [
        (&[][..], 0),
        (&[2], 0),
        (&[u32::MAX], 0),
        (&[1, 0], 0),
        (&[0, 0], 0),
        (&[0, 1], 1),
        (&[1], u32::MAX),
    ] {
        check_lie(&plan(inputs, at).unwrap_err(), "a plan to merge");
    }
}

/// A table with a number for its key and a string.
fn typed() -> (TableContext, Selection) {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    let columns =
        vec![column("n", ColumnType::Int64, false), column("s", ColumnType::String, true)];
    let schema = Schema::new(columns, &["n"]).unwrap();
    let columns = Projection::new(&schema, &["s", "n"]).unwrap();
    let selection = Selection::new(schema.clone(), Some(columns), Vec::new()).unwrap();
    (TableContext { schema: Some(schema), ..table() }, selection)
}

#[test]
fn a_batch_of_columns_is_what_it_says_or_a_lie() {
    let (table, selection) = typed();
    // Two strings, `ab` and none, and the numbers 7 and 8. From 512: validity, offsets, data, numbers.
    let items = r#"
        (data (i32.const 512) "\01\00\00\00\00\00\00\00"
            "\00\00\00\00\02\00\00\00\02\00\00\00\00\00\00\00"
            "ab\00\00\00\00\00\00"
            "\07\00\00\00\00\00\00\00\08\00\00\00\00\00\00\00")
        (data (i32.const 768) "\00\00\00\00\01\00\00\00" "\01\00\00\00\0c\00\00\00"
            "\03\00\00\00\02\00\00\00" "\00\00\00\00\00\00\00\00"
            "\04\00\00\00\10\00\00\00" "\06\00\00\00\00\00\00\00")"#;
    let ask = |before: &str, rows: u32, layout: u32, words: u32| {
        let next_columns = format!(
            "{before} (call $columns (i32.const {rows}) (i32.const 768) (i32.const {layout})
                (i32.const 512) (i32.const {words}))"
        );
        let guest = Storage { items, next_columns: &next_columns, ..Storage::default() };
        let storage = Bench::new().load_storage(&guest.build(), "").unwrap();
        let reader = storage.open(&table, &[]).unwrap();
        let reader = columns_of(&*reader).expect("a plugin's reader");
        assert_eq!(reader.stats().unwrap(), StorageStats::default());
        let mut cursor = reader.scan_columns(&KeyRange::all(), &selection).unwrap();
        let batch = cursor.next_batch(100, 1000)?;
        assert_eq!(cursor.next_batch(100, 1000).unwrap(), None, "the batch was the last");
        KernelResult::Ok(batch.unwrap())
    };
    let batch = ask("", 2, 12, 6).unwrap();
    assert_eq!(batch.value(0, 0), Value::String("ab".to_owned()));
    assert_eq!((batch.value(0, 1), batch.value(1, 1)), (Value::Null, Value::Int64(8)));
    let store = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    for (before, rows, layout, words, why) in [
        (String::new(), 3, 12, 6, "another number of rows"),
        (String::new(), u32::MAX, 12, 6, "another number of rows"),
        (String::new(), 2, 11, 6, "not as many parts"),
        (String::new(), 2, 12, 5, "outside its words"),
        (store(784, u32::MAX), 2, 12, 6, "outside its words"),
        (store(524, 3), 2, 12, 6, "offsets"),
        (store(536, 0xff), 2, 12, 6, "not UTF-8"),
    ] {
        check_lie(&ask(&before, rows, layout, words).unwrap_err(), why);
    }
    // Through the key it has just been through, and so for ever.
    let again = "(i32.store8 (i32.const 400) (i32.const 97))
        (call $columns (i32.const 0) (i32.const 768) (i32.const 12) (i32.const 1000) (i32.const 6))
        (i32.store8 (i32.const 88) (i32.const 1)) (i32.store (i32.const 92) (i32.const 400))
        (i32.store (i32.const 96) (i32.const 1))
        (i32.store (i32.const 772) (i32.const 0)) (i32.store (i32.const 780) (i32.const 4))
        (i32.store (i32.const 788) (i32.const 0)) (i32.store (i32.const 804) (i32.const 0))";
    let guest = Storage { items, next_columns: again, ..Storage::default() };
    let storage = Bench::new().load_storage(&guest.build(), "").unwrap();
    let reader = storage.open(&table, &[]).unwrap();
    let mut cursor =
        columns_of(&*reader).unwrap().scan_columns(&KeyRange::all(), &selection).unwrap();
    assert_eq!(cursor.next_batch(100, 1000).unwrap().unwrap().through(), Some(&b"a"[..]));
    check_lie(&cursor.next_batch(100, 1000).unwrap_err(), "outside the range");
}

/// Gives the rows a, b, c and so on; a fresh cursor begins behind the start of its range.
fn counting() -> Storage<'static> {
    Storage {
        imports: r#"(import "sochdb:plugin/segments@0.1.0" "[method]run.next"
            (func $run-next (param i32 i32 i32 i32)))"#,
        items: r#"(data (i32.const 128) "\02") (data (i32.const 176) "\01")
            (global $at (mut i32) (i32.const 97))"#,
        flush: "(call $run-next (local.get $run) (i32.const 10) (i32.const 1000) (i32.const 256))
            (call $same (i32.const 0) (i32.const 0))",
        // Traps when it is asked for the key "!".
        multi_get:
            "(if (i32.eq (i32.load8_u (local.get $keys)) (i32.const 33)) (then unreachable))
            (call $found (i32.const 160) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 160))",
        scan: "(if (local.get $start) (then
                (global.set $at (i32.add (i32.load8_u (local.get $start-at)) (i32.const 1)))))
            (call $handle (call $new-cursor (i32.const 0)))",
        next: "(i32.store8 (i32.const 224) (global.get $at))
            (global.set $at (i32.add (global.get $at) (i32.const 1)))
            (call $rows (i32.const 224) (i32.const 1) (i32.const 176)
                (i32.const 0) (i32.const 0) (i32.const 160) (i32.const 1))",
        ..Storage::default()
    }
}

fn key(cursor: &mut dyn RunCursor) -> u8 {
    let rows = cursor.next_batch(9, 9).unwrap();
    rows[0].key[0]
}

#[test]
fn an_instance_that_trapped_takes_no_scan_with_it() {
    let bench = Bench::new();
    let storage = bench.load_storage(&counting().build(), "").unwrap();
    let reader = storage.open(&table(), &[]).unwrap();
    let mut cursor = reader.scan(&KeyRange::all(), false, None).unwrap();
    assert_eq!([key(&mut *cursor), key(&mut *cursor)], *b"ab");
    let error = reader.multi_get(&[b"!"]).unwrap_err();
    assert!(matches!(&error, KernelError::Plugin { fault: PluginFault::Trapped, .. }), "{error}");
    assert_eq!([key(&mut *cursor), key(&mut *cursor)], *b"cd");
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (1, 3), "self-test, first, fresh");
}

/// A run without rows, which does something when it is read.
struct Doing<F>(F);

impl<F: FnMut() + Send> RunCursor for Doing<F> {
    fn next_batch(&mut self, _rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        self.0();
        Ok(Vec::new())
    }
}

/// A sink nobody needs.
struct NoSink;

impl SegmentSink for NoSink {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        unreachable!("the guest does not ask for a segment")
    }
}

#[test]
fn a_scan_that_changes_its_instance_and_comes_back_misses_and_repeats_nothing() {
    let bench = Bench::new();
    let storage: Arc<dyn StorageExtension> = bench.load_storage(&counting().build(), "").unwrap();
    let reader = storage.open(&table(), &[]).unwrap();
    let cursor = Arc::new(Mutex::new(reader.scan(&KeyRange::all(), false, None).unwrap()));
    assert_eq!(key(&mut **cursor.lock().unwrap()), b'a');
    // The flush takes the instance that the scan was on, so the scan moves to the other one. There the
    // next flush finds it, and it moves back to where its old cursor is.
    for wanted in (*b"bcdef").chunks(2) {
        let (cursor_of_run, first) = (cursor.clone(), wanted[0]);
        let read = move || assert_eq!(key(&mut **cursor_of_run.lock().unwrap()), first);
        storage.flush(&table(), &[], Box::new(Doing(read)), Arc::new(NoSink)).unwrap();
        if let Some(&second) = wanted.get(1) {
            assert_eq!(key(&mut **cursor.lock().unwrap()), second);
        }
    }
    assert_eq!(bench.host.list()[0].usage.instances_started, 3, "self-test and two");
}

/// A segment of four bytes, the third of which is broken.
struct Four(u64);

impl SegmentRead for Four {
    fn id(&self) -> SegmentId {
        SegmentId(self.0)
    }

    fn raw_bytes(&self) -> u64 {
        4
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= 2 => Ok(b"fine"[offset as usize..][..len].into()),
            Some(end) if end <= 4 => Err(KernelError::corrupt("four", 2, "n", "m")),
            _ => Err(KernelError::invalid("outside")),
        }
    }
}

#[test]
fn reads_of_segments_are_bounded_and_their_errors_come_through() {
    // The key is an offset and a length; the answer is what the first segment ever opened has there, or
    // the code of the error. Corrupt bytes are an error of the guest too.
    let guest = Storage {
        imports: r#"(import "sochdb:plugin/segments@0.1.0" "[method]segment.read"
            (func $read (param i32 i64 i32 i32)))"#,
        items: r#"(data (i32.const 128) "\02") (global $segment (mut i32) (i32.const 0))"#,
        open: "(if (i32.eqz (global.get $segment)) (then
                (global.set $segment (i32.load (local.get $at)))))
            (call $handle (call $new-reader (i32.const 0)))",
        multi_get: "(call $read (global.get $segment) (i64.load (local.get $keys))
                (i32.load offset=8 (local.get $keys)) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then
                (if (i32.eq (i32.load8_u (i32.const 260)) (i32.const 6))
                    (then (return (call $error (i32.const 0) (i32.const 0)))))
                (i32.store8 (i32.const 300) (i32.load8_u (i32.const 260)))
                (i32.store (i32.const 260) (i32.const 300))
                (i32.store (i32.const 264) (i32.const 1))))
            (call $found (i32.const 128) (i32.const 1)
                (i32.load (i32.const 260)) (i32.load (i32.const 264)) (i32.const 264))",
        ..Storage::default()
    };
    let bench = Bench::new();
    let storage = bench.load_storage(&guest.build(), "").unwrap();
    let open = |id| {
        let segment: Arc<dyn SegmentRead> = Arc::new(Four(id));
        storage.open(&table(), &[segment]).unwrap()
    };
    let first = open(1);
    let read = |reader: &dyn StorageReader, offset: u64, len: u32| {
        let key = [&offset.to_le_bytes()[..], &len.to_le_bytes()].concat();
        let answer = reader.multi_get(&[&key])?;
        KernelResult::Ok(answer[0].clone().unwrap().unwrap().to_vec())
    };
    assert_eq!(read(&*first, 0, 2).unwrap(), b"fi");
    assert_eq!(read(&*first, 0, 0).unwrap(), b"");
    assert_eq!(read(&*first, 4, 1).unwrap(), [3], "invalid");
    assert_eq!(read(&*first, u64::MAX, 1).unwrap(), [3]);
    assert_eq!(read(&*first, 0, (1 << 20) + 1).unwrap(), [4], "limit");
    assert_eq!(read(&*first, 0, u32::MAX).unwrap(), [4]);
    let error = read(&*first, 1, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "the kernel's own words: {error}");
    drop(first);
    assert_eq!(read(&*open(2), 0, 2).unwrap(), [2], "not found: the first segment is gone");
    assert_eq!(bench.host.list()[0].usage.failures, 0);
}

#[test]
fn a_read_that_finds_all_instances_busy_says_so_in_time() {
    let bench = Bench::new();
    let resources = "max_instances = 2\ntimeout_ms = 50";
    let storage = bench.load_storage(&counting().build(), resources).unwrap();
    let reader = storage.open(&table(), &[]).unwrap();
    let error = Arc::new(Mutex::new(None));
    let (inner, kept) = (storage.clone(), error.clone());
    // Two flushes, the second one while the first one reads its run, have both instances.
    let read = move || *kept.lock().unwrap() = reader.multi_get(&[b"key"]).err();
    let flush = move || {
        let run = Box::new(Doing(read.clone()));
        inner.flush(&table(), &[], run, Arc::new(NoSink)).unwrap();
    };
    storage.flush(&table(), &[], Box::new(Doing(flush)), Arc::new(NoSink)).unwrap();
    let error = error.lock().unwrap().take().expect("there was no instance for the read");
    let KernelError::Plugin { fault: PluginFault::Exhausted, message, .. } = &error else {
        panic!("{error}")
    };
    assert!(message.contains("all instances (2) were busy for 50 ms"), "{message}");
}

/// A reload without a probation.
fn at_once() -> sochdb_host_abi::ReloadOptions {
    let probation = std::time::Duration::ZERO;
    let rules = Some(sochdb_reload::Rules { probation, ..Default::default() });
    sochdb_host_abi::ReloadOptions { rules, ..Default::default() }
}
