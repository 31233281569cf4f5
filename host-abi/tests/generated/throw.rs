//! Throws one guest at the host: at load, and at every call that the kernel makes to its kind.

use crate::guest::Bench;
use crate::void::Void;
use fastrand::Rng;
use sochdb_encoding::row::{Column, ColumnType, Schema};
use sochdb_encoding::select::{Projection, Selection};
use sochdb_host_abi::{Transaction, columns_of};
use sochdb_index::entries::EntrySource;
use sochdb_index::extension::Part;
use sochdb_index::vectors::{CodeKind, Codebook, Element, Metric as VectorMetric};
use sochdb_index::{Entries, IndexDefinition, IndexKind};
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionInfo, RunCursor, RunRow, SegmentRead, SegmentSink,
    StorageExtension, StorageReader, TableContext, TelemetryBatch,
};
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, Options, SegmentId, Slice, TableId, TableOptions,
    TransactionOptions,
};
use sochdb_telemetry::{
    Exemplar, Histogram, LogLevel, LogLine, Metric, MetricValue, Span, SpanContext,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The least fuel there is, and little memory.
const RESOURCES: &str = "fuel_limit = 1_000_000\nmemory_limit_mb = 8\ntimeout_ms = 2000";
const BACKGROUND: &str = "background_fuel_limit = 1_000_000\nbackground_timeout_ms = 2000\n\
                          max_instances = 2";
/// No call may take longer: its deadline, and what a busy machine adds.
const CALL_MAX: Duration = Duration::from_secs(20);

/// Whether one guest is looked at alone.
fn verbose() -> bool {
    std::env::var_os("SOCHDB_GUEST").is_some()
}

/// How often something ended in which way.
#[derive(Default)]
pub struct Outcomes(pub BTreeMap<String, u64>);

impl Outcomes {
    /// Counts what a call came to, and hands it on.
    fn note<T>(&mut self, what: &str, call: impl FnOnce() -> KernelResult<T>) -> Option<T> {
        let began = Instant::now();
        let answer = call();
        let took = began.elapsed();
        assert!(took < CALL_MAX, "{what} took {took:?}");
        let why = answer.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
        let (came_to, value) = match answer {
            Ok(value) => ("answered".to_owned(), Some(value)),
            Err(KernelError::Plugin { plugin, fault, message }) => {
                assert_eq!(plugin, "guest");
                assert!(!message.is_empty() && message.len() < 64 << 10, "{message}");
                (format!("{fault:?}").to_lowercase(), None)
            }
            Err(error) => (format!("{:?}", error.kind()).to_lowercase(), None),
        };
        if verbose() {
            println!("{what}: {came_to} after {took:?}{why}");
        }
        let counted = if what == "load" { format!("load {came_to}") } else { came_to };
        *self.0.entry(counted).or_default() += 1;
        value
    }
}

/// A guest of a world, against a host that has done this before.
pub fn throw(bench: &Bench, world: &str, guest: &[u8], rng: &mut Rng, outcomes: &mut Outcomes) {
    match world {
        "codec-plugin" => {
            let Some(codec) = outcomes.note("load", || bench.load(guest, RESOURCES)) else {
                return;
            };
            for len in [0, 1, 100, 5000] {
                let input: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
                let stored = outcomes.note("compress", || codec.compress(&input));
                let stored = stored.unwrap_or(input);
                if let Some(raw) = outcomes.note("decompress", || codec.decompress(&stored, len)) {
                    assert_eq!(raw.len(), len, "checked by the host");
                }
            }
        }
        "observer-plugin" => {
            let load = || bench.load_observer(guest, RESOURCES);
            let Some(observer) = outcomes.note("load", load) else { return };
            for _ in 0..3 {
                outcomes.note("ingest", || observer.ingest(&batch(rng)));
                outcomes.note("render", || observer.render("text/plain"));
            }
        }
        "storage-plugin" => {
            let resources = format!("{RESOURCES}\n{BACKGROUND}");
            let load = || bench.load_storage(guest, &resources);
            let Some(storage) = outcomes.note("load", load) else { return };
            drive_storage(&storage, rng, outcomes);
            drive_kernel(&storage, rng, outcomes);
        }
        "index-plugin" => drive_index(bench, guest, rng, outcomes),
        "hooks-plugin" => drive_hooks(bench, guest, rng, outcomes),
        "procedure-plugin" => drive_procedures(bench, guest, rng, outcomes),
        _ => panic!("no world is called {world}"),
    }
}

const SPAN: SpanContext = SpanContext { trace_id: 1 << 100 | 7, span_id: 9 };

fn batch(rng: &mut Rng) -> TelemetryBatch {
    let metric = |number: u8, rng: &mut Rng| Metric {
        name: format!("metric_{number}"),
        help: "What it means.".to_owned(),
        labels: vec![("table".to_owned(), "t".repeat(rng.usize(0..40)))],
        value: match number % 3 {
            0 => MetricValue::Counter(rng.f64() * 1e9),
            1 => MetricValue::Gauge(rng.f64()),
            _ => MetricValue::Histogram(Histogram {
                bounds: vec![0.5, 1.0],
                counts: vec![1, 2, 3],
                sum: 2.5,
                exemplars: vec![Exemplar { value: 0.7, unix_us: 1, span: SPAN }],
            }),
        },
    };
    let line = LogLine {
        unix_us: rng.u64(..),
        level: LogLevel::Warn,
        target: "wal".to_owned(),
        message: "a line".to_owned(),
        fields: vec![("a".to_owned(), "b".to_owned())],
        span: Some(SPAN),
    };
    let span = Span {
        context: SPAN,
        parent: Some(rng.u64(1..)),
        name: "commit".to_owned(),
        unix_ns: rng.u64(..),
        took_ns: rng.u64(..),
        attributes: vec![("a".to_owned(), "b".to_owned())],
        error: Some("no room".to_owned()),
    };
    TelemetryBatch {
        metrics: (0..rng.u8(0..20)).map(|number| metric(number, rng)).collect(),
        spans: vec![span; rng.usize(0..5)],
        logs: vec![line; rng.usize(0..5)],
        ..TelemetryBatch::default()
    }
}

/// The rows of a run, a few at a time.
struct Rows(u8);

impl RunCursor for Rows {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let first = self.0;
        self.0 = first + u8::try_from(rows_max.min(usize::from(40 - first))).expect("at most 40");
        let row = |key| RunRow {
            key: vec![key],
            value: (key % 3 != 0).then(|| vec![key; usize::from(key)].into()),
        };
        Ok((first..self.0).map(row).collect())
    }
}

/// A segment of 4 KiB.
struct Page(u64);

impl SegmentRead for Page {
    fn id(&self) -> SegmentId {
        SegmentId(self.0)
    }

    fn raw_bytes(&self) -> u64 {
        4096
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= 4096 => Ok(vec![self.0 as u8; len].into()),
            _ => Err(KernelError::invalid("outside")),
        }
    }
}

fn drive_storage(storage: &Arc<dyn StorageExtension>, rng: &mut Rng, outcomes: &mut Outcomes) {
    let options = BTreeMap::from([("block_bytes".to_owned(), "4096".to_owned())]);
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        nullable: name != "n",
        default: None,
    };
    let columns = vec![column("n", ColumnType::Int64), column("s", ColumnType::String)];
    let schema = Schema::new(columns, &["n"]).expect("two columns");
    let selection = Selection::new(
        schema.clone(),
        Some(Projection::at(&schema, vec![1, 0]).expect("both columns")),
        Vec::new(),
    );
    let selection = Arc::new(selection.expect("no conditions"));
    let table = TableContext {
        id: TableId(7),
        name: "t".to_owned(),
        schema: Some(schema),
        compressed: true,
        options,
    };
    let lent = Arc::new(());
    let segments: Vec<Arc<dyn SegmentRead>> =
        (1..4).map(|id| -> Arc<dyn SegmentRead> { Arc::new(Page(id)) }).collect();
    outcomes.note("flush", || {
        storage.flush(&table, &segments, Box::new(Rows(0)), Arc::new(Void(lent.clone())))
    });
    outcomes.note("merge", || {
        storage.merge(&table, &segments, rng.bool(), Arc::new(Void(lent.clone())))
    });
    assert_eq!(Arc::strong_count(&lent), 1, "no writer outlives its flush");
    if let Some(Some(plan)) = outcomes.note("plan", || storage.plan_compaction(&table, &segments)) {
        let known = plan.inputs.iter().all(|input| *input < segments.len());
        assert!(known && plan.at <= plan.inputs[0], "checked by the host");
    }
    for _ in 0..2 {
        let open = || storage.open(&table, &segments);
        let Some(reader) = outcomes.note("open", open) else { continue };
        let keys: [&[u8]; 3] = [b"a", b"", &[0xff; 300]];
        if let Some(answers) = outcomes.note("multi-get", || reader.multi_get(&keys)) {
            assert_eq!(answers.len(), keys.len(), "checked by the host");
        }
        let bound = |rng: &mut Rng| match rng.u8(0..3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(vec![rng.u8(..)]),
            _ => Bound::Excluded(vec![rng.u8(..)]),
        };
        let range = KeyRange { start: bound(rng), end: bound(rng) };
        if let Some(reader) = columns_of(&*reader) {
            outcomes.note("stats", || reader.stats());
            if let Some(mut scan) =
                outcomes.note("scan-columns", || reader.scan_columns(&range, &selection))
            {
                for _ in 0..3 {
                    let Some(Some(batch)) =
                        outcomes.note("next-columns", || scan.next_batch(20, 2000))
                    else {
                        break;
                    };
                    assert_eq!(batch.kinds().len(), 2, "checked by the host");
                    (0..batch.rows().min(50)).for_each(|row| drop(batch.value(0, row)));
                }
            }
        }
        let wanted = rng.bool().then(|| selection.clone());
        let Some(mut scan) =
            outcomes.note("scan", || reader.scan(&range, rng.bool(), wanted.clone()))
        else {
            continue;
        };
        for _ in 0..3 {
            let Some(rows) = outcomes.note("next", || scan.next_batch(20, 2000)) else { break };
            assert!(rows.iter().all(|row| range.contains(&row.key)), "checked by the host");
            assert!(rows.len() <= 20, "checked by the host");
        }
    }
}

/// An engine that opens tables without rows, and nothing else.
struct Opener(ExtensionInfo);

impl Extension for Opener {
    fn info(&self) -> ExtensionInfo {
        self.0.clone()
    }
}

impl StorageExtension for Opener {
    fn flush(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
        _: Box<dyn RunCursor>,
        _: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        Err(KernelError::invalid("it only opens"))
    }

    fn plan_compaction(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        Ok(None)
    }

    fn merge(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
        _: bool,
        _: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        Err(KernelError::invalid("it only opens"))
    }

    fn open(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        Ok(Arc::new(Opener(self.0.clone())))
    }
}

impl StorageReader for Opener {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        Ok(vec![None; keys.len()])
    }

    fn scan(
        &self,
        _: &KeyRange,
        _: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        Err(KernelError::invalid("it only opens"))
    }
}

/// Under a real kernel: whatever the guest does with the rows of a checkpoint, none is lost.
fn drive_kernel(storage: &Arc<dyn StorageExtension>, rng: &mut Rng, outcomes: &mut Outcomes) {
    let environment = sochdb_sim::memory();
    let kernel = Kernel::open(environment.clone(), Options::default()).expect("an empty disk");
    // A table is made with an engine that opens it; then the guest takes its place.
    kernel.plugins().register_storage(Arc::new(Opener(storage.info())));
    let options = TableOptions { storage: Some("guest".to_owned()), ..TableOptions::default() };
    kernel.create_table("guarded", options).expect("the first table");
    kernel.plugins().register_storage(storage.clone());
    kernel.create_table("plain", TableOptions::default()).expect("the second table");
    let value = vec![rng.u8(..); 100];
    let put = |tx: &mut sochdb_kernel::Transaction| {
        (0..20_u8).try_for_each(|key| {
            tx.put("guarded", &[key], &value)?;
            tx.put("plain", &[key], &value)
        })
    };
    kernel.run(put).expect("a commit meets no plugin");
    let report = kernel.checkpoint().expect("a plugin fails its table and not the checkpoint");
    let flushed = report.failed.iter().all(|(table, _)| table != "guarded");
    *outcomes
        .0
        .entry(format!("flush {}", if flushed { "trusted" } else { "refused" }))
        .or_default() += 1;
    let check = |kernel: &Kernel| {
        let tx = kernel.begin_read().expect("a snapshot");
        for key in 0..20_u8 {
            assert_eq!(*tx.get("plain", &[key]).unwrap().expect("committed"), *value);
            // Rows the guest could not be trusted with are still the log's.
            if !flushed {
                assert_eq!(*tx.get("guarded", &[key]).unwrap().expect("committed"), *value);
            }
        }
        let found = sochdb_operations::check(kernel).expect("readable");
        assert!(flushed || found.is_healthy(), "{:?}", found.problems);
    };
    check(&kernel);
    drop(kernel);
    // Opened again, without the plugin: the log is as it was.
    let kernel = Kernel::open(environment, Options::default()).expect("opens again");
    kernel.plugins().register_storage(storage.clone());
    check(&kernel);
}

/// Entries whose vectors are all the same, and whose values are their numbers.
struct Same;

const SAME: [f32; 4] = [1.0, -0.5, 0.25, 0.0];

impl EntrySource for Same {
    fn code(&self, _: u32) -> KernelResult<&[u8]> {
        static CODE: OnceLock<Vec<u8>> = OnceLock::new();
        Ok(CODE.get_or_init(|| {
            let mut code = Vec::new();
            codebook().encode(&SAME, &mut code);
            code
        }))
    }

    fn vector(&self, _: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        out.extend_from_slice(&SAME);
        Ok(())
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        Ok(vec![1, number as u8].into())
    }
}

fn codebook() -> Codebook {
    let mut same = |_: usize, out: &mut [f32]| {
        out.copy_from_slice(&SAME);
        Ok(())
    };
    Codebook::train(CodeKind::Sq8, VectorMetric::Cosine, SAME.len(), 200, &mut same, 1)
        .expect("vectors without an error")
}

fn drive_index(bench: &Bench, guest: &[u8], rng: &mut Rng, outcomes: &mut Outcomes) {
    let resources = format!("{RESOURCES}\n{BACKGROUND}");
    let load = || bench.load_index(guest, &resources);
    let Some(index) = outcomes.note("load", load) else { return };
    let (dim, metric) = (SAME.len() as u32, VectorMetric::Cosine);
    let mut definition = IndexDefinition {
        name: "i".to_owned(),
        table: "t".to_owned(),
        column: "c".to_owned(),
        using: "guest".to_owned(),
        kind: IndexKind::Vector { dim, metric, element: Element::F32, codes: CodeKind::Sq8 },
        settings: [("m".to_owned(), "16".to_owned())].into(),
    };
    let entries = if rng.bool() {
        Entries::of_vectors(200, metric, dim, codebook(), Box::new(Same))
    } else {
        definition.kind = IndexKind::Ordered;
        Entries::ordered(200, Box::new(Same))
    };
    let entries = Arc::new(entries);
    outcomes.note("check", || index.check(&definition));
    let lent = Arc::new(());
    let part = |id| Part { segment: Arc::new(Page(id)), numbers: (0..100).collect() };
    outcomes.note("build", || {
        let sink = Arc::new(Void(lent.clone()));
        index.build(&definition, &entries, (1..3).map(part).collect(), sink)
    });
    assert_eq!(Arc::strong_count(&lent), 1, "no writer outlives its build");
    assert_eq!(Arc::strong_count(&entries), 1, "no guest holds entries");
    let open = || index.open(&definition, &entries, Arc::new(Page(3)));
    let Some(searcher) = outcomes.note("open", open) else { return };
    let allowed = vec![rng.u64(..); 4];
    let query = entries.query(&SAME).ok();
    for _ in 0..3 {
        let found = match &query {
            Some(query) => outcomes.note("search", || searcher.search(query, 5, 9, &allowed)),
            None => outcomes
                .note("lookup", || searcher.lookup(&KeyRange::all(), rng.bool(), 9, &allowed)),
        };
        let mut found = found.unwrap_or_default();
        let is_allowed = |n: &u32| *n < 200 && allowed[*n as usize / 64] >> (n % 64) & 1 == 1;
        assert!(found.len() <= 9 && found.iter().all(is_allowed), "checked by the host");
        found.sort_unstable();
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "checked by the host");
        outcomes.note("stats", || searcher.stats());
    }
}

/// What a guest may touch: the table `t`, and nothing else.
const GRANT: &str = "[capabilities]\ncan_read_table = [\"t\"]\ncan_write_table = [\"t\"]\n\
                     can_call_plugin = [\"guest\"]\n";
const HOOKED: &str = "[hooks]\ntables = [\"t\", \"u\"]\n\
                      before = [\"insert\", \"update\", \"delete\"]\n\
                      after = [\"insert\", \"update\", \"delete\"]\n";

/// A database with the tables `t` and `u`, and rows in both.
fn tables() -> Kernel {
    let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).expect("an empty disk");
    for table in ["t", "u"] {
        kernel.create_table(table, TableOptions::default()).expect("a new table");
        let put = |tx: &mut sochdb_kernel::Transaction| {
            (0..10_u8).try_for_each(|key| tx.put(table, &[key], &[key; 50]))
        };
        kernel.run(put).expect("a commit meets no plugin");
    }
    kernel
}

/// What was in `u` is there, and nothing is wrong.
fn check_tables(kernel: &Kernel) {
    let tx = kernel.begin_read().expect("a snapshot");
    for key in 0..10_u8 {
        assert_eq!(*tx.get("u", &[key]).unwrap().expect("committed"), [key; 50]);
    }
    drop(tx);
    let report = kernel.checkpoint().expect("nothing is held");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let found = sochdb_operations::check(kernel).expect("readable");
    assert!(found.is_healthy(), "{:?}", found.problems);
}

fn drive_hooks(bench: &Bench, guest: &[u8], rng: &mut Rng, outcomes: &mut Outcomes) {
    let resources = format!("{RESOURCES}\n{GRANT}{HOOKED}");
    let load = || bench.load_as("hooks", guest, &resources);
    if outcomes.note("load", load).is_none() {
        return;
    }
    let kernel = tables();
    let run = |f: &mut dyn FnMut(&mut Transaction) -> KernelResult<()>| {
        Transaction::run(&kernel, bench.host.programs(), None, TransactionOptions::default(), f)
    };
    outcomes.note("insert", || run(&mut |tx| tx.put("t", b"new", b"value")));
    outcomes.note("update", || run(&mut |tx| tx.put("t", &[3], b"another value")));
    outcomes.note("delete", || run(&mut |tx| tx.delete("t", &[4])));
    let keys: Vec<[u8; 1]> = (0..20).map(|key| [key]).collect();
    let value = [rng.u8(..); 30];
    let rows: Vec<_> = keys.iter().map(|key| (&key[..], Some(&value[..]))).collect();
    outcomes.note("many", || run(&mut |tx| tx.write_all("t", &rows)));
    // It is asked about `u`, but must not touch it: whatever it decides, only this may happen.
    let put = outcomes.note("other", || run(&mut |tx| tx.put("u", b"new", b"value")));
    let found = kernel.begin_read().expect("a snapshot").get("u", b"new").expect("readable");
    assert_eq!(found.is_some(), put.is_some(), "written exactly when that was said");
    check_tables(&kernel);
}

fn drive_procedures(bench: &Bench, guest: &[u8], rng: &mut Rng, outcomes: &mut Outcomes) {
    let resources = format!("{RESOURCES}\n{GRANT}");
    let load = || bench.load_as("procedure", guest, &resources);
    if outcomes.note("load", load).is_none() {
        return;
    }
    let kernel = tables();
    let args = ["{}", "[1, 2, 3]", "\"text\"", "null"];
    for _ in 0..4 {
        let args = rng.choice(args).expect("there are some");
        outcomes.note("call", || {
            let options = TransactionOptions::default();
            Transaction::run(&kernel, bench.host.programs(), None, options, |tx| {
                tx.put("u", &[100], b"mine")?;
                let before = tx.scan("t", ..)?.collect::<KernelResult<Vec<_>>>()?;
                let answer = tx.call("guest.go", args);
                if answer.is_err() {
                    let after = tx.scan("t", ..)?.collect::<KernelResult<Vec<_>>>()?;
                    assert_eq!(before, after, "what it wrote is undone");
                }
                assert!(tx.get("u", &[100])?.is_some(), "what its caller wrote is not");
                answer
            })
        });
    }
    check_tables(&kernel);
}
