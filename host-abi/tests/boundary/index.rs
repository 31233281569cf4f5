//! Index plugins: one that compares with all and must find what there is, and some that trap or lie.

use crate::guest::{Bench, Index};
use crate::shipped::load_shipped;
use sochdb_host_abi::AuditFilter;
use sochdb_host_abi::audit::AuditKind;
use sochdb_index::entries::EntrySource;
use sochdb_index::extension::{GONE, Part};
use sochdb_index::vectors::{CodeKind, Codebook, Element, Metric};
use sochdb_index::{Entries, IndexDefinition, IndexExtension, IndexKind, IndexSearcher, Query};
use sochdb_kernel::plugin::{SegmentRead, SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, PluginFault, SegmentId, Slice};
use sochdb_test_guests::NEAREST;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const DIM: u32 = 16;
const COUNT: u32 = 1000;

/// Entries in memory.
struct InMemory {
    vectors: Vec<f32>,
    codes: Vec<u8>,
    row_bytes: usize,
}

impl EntrySource for InMemory {
    fn code(&self, number: u32) -> KernelResult<&[u8]> {
        Ok(&self.codes[number as usize * self.row_bytes..][..self.row_bytes])
    }

    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        out.extend_from_slice(&self.vectors[(number * DIM) as usize..][..DIM as usize]);
        Ok(())
    }

    fn value(&self, _: u32) -> KernelResult<Slice> {
        Err(KernelError::invalid("these are vectors"))
    }
}

/// Values of an ordered index in memory.
struct Ordered(Vec<Vec<u8>>);

impl EntrySource for Ordered {
    fn code(&self, _: u32) -> KernelResult<&[u8]> {
        Err(KernelError::invalid("these are values"))
    }

    fn vector(&self, _: u32, _: &mut Vec<f32>) -> KernelResult<()> {
        Err(KernelError::invalid("these are values"))
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        Ok((&*self.0[number as usize]).into())
    }
}

/// Vectors without a pattern, the same in every run.
fn vectors(count: u32, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count * DIM).map(|_| random.f32() * 2.0 - 1.0).collect()
}

fn entries() -> Arc<Entries> {
    let vectors = vectors(COUNT, 7);
    let of = |number: usize| &vectors[number * DIM as usize..][..DIM as usize];
    let (metric, dim) = (Metric::Cosine, DIM as usize);
    let mut read = |number: usize, out: &mut [f32]| {
        out.copy_from_slice(of(number));
        Ok(())
    };
    let (kind, count) = (CodeKind::Sq8, COUNT as usize);
    let codebook = Codebook::train(kind, metric, dim, count, &mut read, 1).unwrap();
    let mut codes = Vec::new();
    (0..count).for_each(|number| codebook.encode(of(number), &mut codes));
    let row_bytes = codebook.row_bytes();
    let source = Box::new(InMemory { vectors: vectors.clone(), codes, row_bytes });
    Arc::new(Entries::of_vectors(COUNT, metric, DIM, codebook, source))
}

fn definition() -> IndexDefinition {
    let settings = [("column", "v"), ("using", "guest"), ("metric", "cosine"), ("m", "16")];
    IndexDefinition {
        name: "meaning".to_owned(),
        table: "docs".to_owned(),
        column: "v".to_owned(),
        using: "guest".to_owned(),
        kind: IndexKind::Vector {
            dim: DIM,
            metric: Metric::Cosine,
            element: Element::F32,
            codes: CodeKind::Sq8,
        },
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// Segments in memory, numbered from 1 on.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

struct Writer(Disk, Vec<u8>);

#[derive(Clone)]
struct Stored(u64, Vec<u8>);

impl Disk {
    fn sink(&self) -> Arc<dyn SegmentSink> {
        Arc::new(self.clone())
    }

    fn segment(&self, id: SegmentId) -> Arc<dyn SegmentRead> {
        Arc::new(Stored(id.0, self.0.lock().unwrap()[&id.0].clone()))
    }
}

impl SegmentSink for Disk {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(Writer(self.clone(), Vec::new())))
    }
}

impl SegmentWrite for Writer {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        self.1.extend_from_slice(bytes);
        Ok((self.1.len() - bytes.len()) as u64)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        let Writer(disk, bytes) = *self;
        let mut segments = disk.0.lock().unwrap();
        let id = segments.len() as u64 + 1;
        segments.insert(id, bytes);
        Ok(SegmentId(id))
    }
}

impl SegmentRead for Stored {
    fn id(&self) -> SegmentId {
        SegmentId(self.0)
    }

    fn raw_bytes(&self) -> u64 {
        self.1.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let found = self.1.get(offset as usize..).and_then(|bytes| bytes.get(..len));
        found.map(Into::into).ok_or_else(|| KernelError::invalid("outside"))
    }
}

fn build(
    index: &dyn IndexExtension,
    entries: &Arc<Entries>,
    disk: &Disk,
) -> KernelResult<Arc<dyn IndexSearcher>> {
    let id = index.build(&definition(), entries, Vec::new(), disk.sink())?;
    index.open(&definition(), entries, disk.segment(id))
}

fn query(entries: &Arc<Entries>, seed: u64) -> Arc<Query> {
    entries.query(&vectors(1, seed)).unwrap()
}

/// What comparing with all finds.
fn nearest(query: &Query, k: usize, allowed: impl Fn(u32) -> bool) -> Vec<u32> {
    let numbers: Vec<u32> = (0..COUNT).filter(|number| allowed(*number)).collect();
    let mut distances = Vec::new();
    query.distances(&numbers, &mut distances).unwrap();
    let mut found: Vec<_> = distances.into_iter().zip(numbers).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    found.into_iter().take(k).map(|(_, number)| number).collect()
}

fn bits(allowed: impl Fn(u32) -> bool) -> Vec<u64> {
    let mut words = vec![0; (COUNT as usize).div_ceil(64)];
    (0..COUNT).filter(|number| allowed(*number)).for_each(|number| {
        words[number as usize / 64] |= 1 << (number % 64);
    });
    words
}

#[test]
fn a_guest_that_compares_with_all_finds_what_there_is() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    index.check(&definition()).unwrap();
    let searcher = build(&*index, &entries, &disk).unwrap();
    for seed in 0..20 {
        let query = query(&entries, seed);
        for k in [0, 1, 10, 100, 2000] {
            assert_eq!(searcher.search(&query, k, 0, &[]).unwrap(), nearest(&query, k, |_| true));
        }
        let odd = |number: u32| number % 3 == 1;
        let found = searcher.search(&query, 10, 50, &bits(odd)).unwrap();
        assert_eq!(found, nearest(&query, 10, odd));
    }
    let stats = [("entries".to_owned(), f64::from(COUNT)), ("version".to_owned(), 0.0)];
    assert_eq!(searcher.stats().unwrap(), stats);
    let error = searcher.lookup(&KeyRange::all(), false, 1, &[]).unwrap_err();
    check_fault(&error, PluginFault::Refused, &["searcher.lookup", "no values"]);
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (0, 2), "self-test, and one for all");
}

#[test]
fn many_search_at_once_each_with_an_instance_and_all_with_the_same_entries() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "timeout_ms = 60_000").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    let searcher = build(&*index, &entries, &disk).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (searcher, entries) = (&searcher, &entries);
            scope.spawn(move || {
                for round in 0..20 {
                    let query = query(entries, 100 * thread + round);
                    let found = searcher.search(&query, 10, 10, &[]).unwrap();
                    assert_eq!(found, nearest(&query, 10, |_| true));
                }
            });
        }
    });
    let usage = bench.host.list()[0].usage;
    assert_eq!(usage.failures, 0);
    assert!(usage.instances_started <= 5, "{}", usage.instances_started);
    // The entries are held by whoever opened the searcher, and by no guest.
    assert!(1 < Arc::strong_count(&entries));
    drop(searcher);
    assert_eq!(Arc::strong_count(&entries), 1);
}

#[test]
fn parts_reach_the_guest_with_the_numbers_that_their_entries_have_now() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    let first = index.build(&definition(), &entries, Vec::new(), disk.sink()).unwrap();
    let parts = [vec![5, GONE, 7], vec![1; 70_000]]
        .map(|numbers| Part { segment: disk.segment(first), numbers });
    let second = index.build(&definition(), &entries, parts.into(), disk.sink()).unwrap();
    let written: Vec<_> = [COUNT, COUNT, 3, COUNT, 70_000].map(u32::to_le_bytes).concat();
    assert_eq!(disk.0.lock().unwrap()[&second.0], written);
}

#[test]
fn a_guest_is_told_of_its_own_settings_and_refuses_in_its_own_words() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "").unwrap();
    let ordered = IndexDefinition { kind: IndexKind::Ordered, ..definition() };
    let error = index.check(&ordered).unwrap_err();
    check_fault(&error, PluginFault::Refused, &["check", "column 'v' has no vectors (invalid)"]);
    let other = Arc::new(Stored(9, vec![0; 4]));
    let error = index.open(&definition(), &entries(), other).err().unwrap();
    check_fault(&error, PluginFault::Refused, &["searcher.open", "another count", "(corrupt)"]);
    // Of four settings one is the plugin's: the tenth parameter counts them.
    let check = "(if (i32.ne (local.get 9) (i32.const 1)) (then unreachable)) (call $ok)";
    let guest = Index { check, ..Index::default() };
    bench.load_index(&guest.build(), "").unwrap().check(&definition()).unwrap();
}

#[test]
fn comparisons_that_follow_each_other_are_one_record_of_the_audit_trail() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    let searcher = build(&*index, &entries, &disk).unwrap();
    searcher.search(&query(&entries, 1), 10, 10, &[]).unwrap();
    let of = |function: &str| {
        let function = Some(function.to_owned());
        let filter = AuditFilter { function, ..AuditFilter::default() };
        bench.host.audit().recent(&filter, 100)
    };
    let records = of("entries.query.distances");
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.kind, record.rows), (AuditKind::Import, u64::from(COUNT)));
    assert!(u64::from(COUNT) * 8 <= record.bytes && record.bytes <= record.fuel, "{record:?}");
    let calls = of("searcher.search");
    assert_eq!(calls[0].object.as_deref(), Some("docs"));
    assert!(record.fuel < calls[0].fuel);
}

#[test]
fn a_tenants_index_is_searched_by_the_tenants_instances() {
    let bench = Bench::new();
    let index = bench.load_index(NEAREST, "").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    for table in ["acme/docs", "globex/docs"] {
        let definition = IndexDefinition { table: table.to_owned(), ..definition() };
        let id = index.build(&definition, &entries, Vec::new(), disk.sink()).unwrap();
        let searcher = index.open(&definition, &entries, disk.segment(id)).unwrap();
        searcher.search(&query(&entries, 1), 10, 10, &[]).unwrap();
    }
    assert_eq!(bench.host.list()[0].usage.instances_started, 3, "self-test, and each its own");
    for tenant in ["acme", "globex"] {
        assert_eq!(bench.host.tenants().usage(tenant).unwrap().calls, 3, "build, open, search");
    }
}

#[test]
fn an_index_imports_what_its_world_has_and_nothing_else() {
    let bench = Bench::new();
    bench.load_index(NEAREST, "").unwrap();
    bench.load_as("index", &Index::default().build(), "").unwrap();
    load_shipped(&bench.host, &bench.plugins, &["btree-index"]);
    let world = ["config", "entries", "segments", "telemetry", "types"];
    for plugin in bench.host.list() {
        let ours = plugin.imports.iter().filter_map(|import| {
            let interface = import.name.split('@').next()?;
            interface.strip_prefix("sochdb:plugin/")
        });
        let ours: Vec<_> = ours.collect();
        assert!(ours.iter().all(|name| world.contains(name)), "{}: {ours:?}", plugin.name);
        assert!(ours.contains(&"entries") && ours.contains(&"segments"));
        assert_eq!(plugin.exports, ["index", "lifecycle"]);
    }
}

#[test]
fn the_ordered_index_we_ship_finds_what_a_sorted_list_finds() {
    let bench = Bench::new();
    load_shipped(&bench.host, &bench.plugins, &["btree-index"]);
    let index = bench.host.programs().indexes().extension("btree-index").unwrap();
    let values: Vec<Vec<u8>> = (0..20_000_u32)
        .map(|number| [&[1][..], &(number.wrapping_mul(7919) % 5000).to_be_bytes()].concat())
        .collect();
    let entries = Arc::new(Entries::ordered(20_000, Box::new(Ordered(values.clone()))));
    let mut definition = IndexDefinition { kind: IndexKind::Ordered, ..definition() };
    let error = index.check(&definition).unwrap_err();
    assert!(error.to_string().contains("no settings, but 'm' was given"), "{error}");
    definition.settings.remove("m");
    index.check(&definition).unwrap();
    let disk = Disk::default();
    let id = index.build(&definition, &entries, Vec::new(), disk.sink()).unwrap();
    let searcher = index.open(&definition, &entries, disk.segment(id)).unwrap();
    let mut sorted: Vec<_> = values.iter().zip(0_u32..).collect();
    sorted.sort();
    let value = |number: u32| [&[1][..], &number.to_be_bytes()].concat();
    let odd: Vec<u64> = vec![0xaaaa_aaaa_aaaa_aaaa; 20_000_usize.div_ceil(64)];
    for range in [
        KeyRange::all(),
        KeyRange::from(&value(100)[..]..&value(200)[..]),
        KeyRange::from(&value(4711)[..]..=&value(4711)[..]),
        KeyRange::from(&value(9999)[..]..),
    ] {
        for (reverse, allowed) in [(false, &[][..]), (true, &odd), (false, &odd), (true, &[])] {
            let is_wanted = |(value, number): &&(&Vec<u8>, u32)| {
                range.contains(value) && (allowed.is_empty() || number % 2 == 1)
            };
            let mut wanted: Vec<_> = sorted.iter().filter(is_wanted).map(|(_, n)| *n).collect();
            if reverse {
                wanted.reverse();
            }
            for limit in [1, 50, 20_000] {
                let found = searcher.lookup(&range, reverse, limit, allowed).unwrap();
                assert_eq!(found, wanted[..limit.min(wanted.len())]);
            }
        }
    }
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (0, 2), "self-test, and one for all");
}

#[track_caller]
fn check_fault(error: &KernelError, wanted: PluginFault, words: &[&str]) {
    let KernelError::Plugin { plugin, fault, message } = error else { panic!("{error}") };
    assert_eq!((plugin.as_str(), *fault), ("guest", wanted), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// Answers the numbers at 128, as many of them.
fn numbers(count: u32) -> String {
    format!("(call $same (i32.const 128) (i32.const {count}))")
}

#[test]
fn an_answer_that_makes_no_sense_is_a_lie_and_the_next_one_counts() {
    let items = r#"(data (i32.const 128)
        "\01\00\00\00\02\00\00\00\03\00\00\00\04\00\00\00\05\00\00\00\06\00\00\00")"#;
    let (entries, disk) = (entries(), Disk::default());
    let allowed = bits(|number| number != 2);
    let store = |at: u32, number: u32| format!("(i32.store (i32.const {at}) (i32.const {number}))");
    // With `effort` 4 it lies, with 5 it does not.
    for (lie, allowed, words) in [
        (numbers(5), &[][..], "5 entries, where 4 are the most"),
        (numbers(6), &[], "6 entries"),
        (format!("{} {}", store(132, COUNT), numbers(2)), &[], "entry 1000, where there are 1000"),
        (format!("{} {}", store(132, u32::MAX), numbers(2)), &[], "entry 4294967295"),
        (format!("{} {}", store(136, 1), numbers(3)), &[], "entry 1 twice"),
        (numbers(2), &allowed, "entry 2, which was not allowed"),
        (numbers(1), &[1], "entry 1, which was not allowed"),
        (format!("{} {}", store(128, 64), numbers(1)), &[u64::MAX], "entry 64, which was not"),
    ] {
        let search = format!(
            "(if (i32.eq (local.get $effort) (i32.const 4))
                (then (call $drop-query (local.get $query)) (return (block (result i32) {lie}))))
            (call $same (i32.const 128) (i32.const 1))"
        );
        let guest = Index { items, search: &search, ..Index::default() };
        let bench = Bench::new();
        let index = bench.load_index(&guest.build(), "").unwrap();
        let searcher = build(&*index, &entries, &disk).unwrap();
        let query = query(&entries, 1);
        let error = searcher.search(&query, 3, 4, allowed).unwrap_err();
        check_fault(&error, PluginFault::Lied, &["searcher.search", words]);
        let found = searcher.search(&query, 3, 5, &[]).unwrap();
        assert_eq!(found.len(), 1, "{lie}");
    }
    let guest = Index { items, lookup: &numbers(3), ..Index::default() };
    let bench = Bench::new();
    let index = bench.load_index(&guest.build(), "").unwrap();
    let searcher = build(&*index, &entries, &disk).unwrap();
    assert_eq!(searcher.lookup(&KeyRange::all(), false, 3, &[]).unwrap(), [1, 2, 3]);
    let error = searcher.lookup(&KeyRange::all(), false, 2, &[]).unwrap_err();
    check_fault(&error, PluginFault::Lied, &["searcher.lookup", "3 entries, where 2"]);
    let long = KeyRange::from(&[1_u8; 1 << 17][..]..);
    let error = searcher.lookup(&long, false, 3, &[]).unwrap_err();
    assert!(matches!(error, KernelError::Limit { .. }), "{error}");
}

#[test]
fn a_search_that_traps_or_never_ends_costs_an_instance_and_nothing_else() {
    let (entries, disk) = (entries(), Disk::default());
    let huge = "(call $same (i32.const 0) (i32.const 0x8000))";
    for (evil, fault, words) in [
        ("unreachable", PluginFault::Trapped, &["searcher.search", "unreachable"][..]),
        ("(loop (br 0)) unreachable", PluginFault::Exhausted, &["fuel_limit of 10000000"]),
        (
            "(call $search (i32.const 0) (local.get $query) (local.get $k) (local.get $effort)
                (local.get $allowed) (local.get $words))",
            PluginFault::Exhausted,
            &["too deeply"],
        ),
        ("(return (call $same (i32.const 0) (i32.const 0)))", PluginFault::Trapped, &["borrow"]),
        ("(call $same (i32.const 0xfffffff) (i32.const 4))", PluginFault::Trapped, &["bounds"]),
        (huge, PluginFault::Exhausted, &["more bytes across the boundary"]),
        ("(call $error (i32.const 0) (i32.const 0))", PluginFault::Refused, &["searcher.search"]),
    ] {
        let search = format!(
            "(if (result i32) (local.get $words) (then {evil}) (else
                (call $same (i32.const 0) (i32.const 0))))"
        );
        let items = "(func $grow (drop (memory.grow (i32.const 16)))) (start $grow)";
        let guest = Index { items, search: &search, ..Index::default() };
        let bench = Bench::new();
        let index = bench.load_index(&guest.build(), "fuel_limit = 10_000_000").unwrap();
        let searcher = build(&*index, &entries, &disk).unwrap();
        let query = query(&entries, 1);
        for _ in 0..2 {
            let error = searcher.search(&query, 3, 4, &[u64::MAX]).unwrap_err();
            check_fault(&error, fault, words);
            assert!(searcher.search(&query, 3, 4, &[]).unwrap().is_empty());
        }
        let failures = if fault == PluginFault::Refused { 0 } else { 2 };
        assert_eq!(bench.host.list()[0].usage.failures, failures, "{evil}");
    }
}

#[test]
fn a_build_that_fails_or_lies_gives_no_segment() {
    let two =
        "(drop (call $empty (local.get $sink))) (call $built (call $empty (local.get $sink)))";
    for (build, fault, words) in [
        ("unreachable", PluginFault::Trapped, &["build", "unreachable"][..]),
        (
            "(loop (br 0)) unreachable",
            PluginFault::Exhausted,
            &["background_fuel_limit of 10000000"],
        ),
        ("(call $built (i64.const 1))", PluginFault::Lied, &["segment 1, where it sealed 0"]),
        (
            "(drop (call $empty (local.get $sink))) (call $built (i64.const 77))",
            PluginFault::Lied,
            &["segment 77, where it sealed 1 of them"],
        ),
        (two, PluginFault::Lied, &["sealed 2 of them"]),
        ("(return (call $built (i64.const 1)))", PluginFault::Trapped, &["borrow"]),
        // It leaves a writer behind.
        (
            "(call $create (local.get $sink) (i32.const 512)) (call $built (i64.const 1))",
            PluginFault::Lied,
            &["sealed 0"],
        ),
    ] {
        // Without parts it is evil, with one it is not.
        let build = format!(
            "(if (result i32) (local.get $count) (then {}) (else {build}))",
            Index::default().build
        );
        let guest = Index { build: &build, ..Index::default() };
        let bench = Bench::new();
        let more = "background_fuel_limit = 10_000_000";
        let index = bench.load_index(&guest.build(), more).unwrap();
        let (entries, disk) = (entries(), Disk::default());
        let evil = index.build(&definition(), &entries, Vec::new(), disk.sink());
        check_fault(&evil.unwrap_err(), fault, words);
        let part = Part { segment: Arc::new(Stored(99, Vec::new())), numbers: vec![1] };
        index.build(&definition(), &entries, vec![part], disk.sink()).unwrap();
        assert_eq!(Arc::strong_count(&entries), 1, "nothing holds the entries on");
    }
}

/// Imports of entries, and a function that answers with a search the code of the error that the last call got,
/// or 99 for none.
const ASKING: &str = r#"
    (import "sochdb:plugin/entries@0.1.0" "[method]query.distances"
        (func $distances (param i32 i32 i32 i32)))
    (import "sochdb:plugin/entries@0.1.0" "[method]entries.between"
        (func $between (param i32 i32 i32 i32 i32)))
    (import "sochdb:plugin/entries@0.1.0" "[method]entries.vectors"
        (func $vectors (param i32 i32 i32 i32)))
    (import "sochdb:plugin/entries@0.1.0" "[method]entries.values"
        (func $values (param i32 i32 i32 i32 i32)))
    (import "sochdb:plugin/entries@0.1.0" "[method]entries.info"
        (func $info (param i32 i32)))"#;
const CODE: &str = "
    (func $code (result i32)
        (i32.store (i32.const 128) (if (result i32) (i32.load8_u (i32.const 256))
            (then (i32.load8_u (i32.const 260))) (else (i32.const 99))))
        (call $same (i32.const 128) (i32.const 1)))";

#[test]
fn a_wrong_number_and_too_many_of_them_are_errors_that_the_guest_can_cope_with() {
    let items = format!(
        "(global $entries (mut i32) (i32.const 0))
        (func $grow (drop (memory.grow (i32.const 16)))) (start $grow) {CODE}"
    );
    let open = "(global.set $entries (local.get $entries))
        (call $handle (call $new-searcher (i32.const 0)))";
    let at = |call: &str| format!("{call} (call $code)");
    let put = |number: u32| format!("(i32.store (i32.const 0x10000) (i32.const {number}))");
    let q = |count: u32| {
        at(&format!(
            "(call $distances (local.get $query) (i32.const 0x10000) (i32.const {count})
                (i32.const 256))"
        ))
    };
    let kept = "(global.get $entries)";
    let of = |name: &str, front: &str, count: u32| {
        at(&format!(
            "(call ${name} {kept} {front} (i32.const 0x10000) (i32.const {count}) (i32.const 256))"
        ))
    };
    let values = at(&format!(
        "(call $values {kept} (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 256))"
    ));
    for (search, wanted) in [
        (q(4096), 99),
        (q(0), 99),
        (q(4097), 4),
        (q(5000), 4),
        (format!("{} {}", put(COUNT), q(1)), 3),
        (format!("{} {}", put(u32::MAX), q(4096)), 3),
        (of("between", "(i32.const 7)", 4096), 99),
        (of("between", "(i32.const 7)", 4097), 4),
        (of("between", "(i32.const 1000)", 1), 3),
        (format!("{} {}", put(COUNT), of("between", "(i32.const 7)", 1)), 3),
        (of("vectors", "", 100), 99),
        (of("vectors", "", 16_385), 4),
        (format!("{} {}", put(COUNT), of("vectors", "", 1)), 3),
        (values, 3),
    ] {
        let guest =
            Index { imports: ASKING, items: &items, open, search: &search, ..Index::default() };
        let bench = Bench::new();
        let index = bench.load_index(&guest.build(), "").unwrap();
        let (entries, disk) = (entries(), Disk::default());
        let searcher = build(&*index, &entries, &disk).unwrap();
        for _ in 0..2 {
            let found = searcher.search(&query(&entries, 1), 3, 3, &[]).unwrap();
            assert_eq!(found, [wanted], "{search}");
        }
        assert_eq!(bench.host.list()[0].usage.failures, 0);
    }
}

#[test]
fn a_guest_pays_for_what_the_host_compares_before_it_does() {
    // More numbers than the host would look at, which it copies all the same.
    let search = "(loop (call $distances (local.get $query) (i32.const 0x10000) (i32.const 4096)
            (i32.const 256)) (br 0)) unreachable";
    let items = "(func $grow (drop (memory.grow (i32.const 16)))) (start $grow)";
    let guest = Index { imports: ASKING, items, search, ..Index::default() };
    let bench = Bench::new();
    let index = bench.load_index(&guest.build(), "fuel_limit = 10_000_000").unwrap();
    let (entries, disk) = (entries(), Disk::default());
    let searcher = build(&*index, &entries, &disk).unwrap();
    let error = searcher.search(&query(&entries, 1), 3, 3, &[]).unwrap_err();
    check_fault(&error, PluginFault::Exhausted, &["fuel_limit of 10000000"]);
    let function = Some("entries.query.distances".to_owned());
    let records = bench.host.audit().recent(&AuditFilter { function, ..Default::default() }, 10);
    let fuel_max = 10_000_000;
    let each = 4096 * (8 + u64::from(DIM) / 4) + 200;
    let rows: u64 = records.iter().map(|record| record.rows).sum();
    assert!(rows / 4096 <= fuel_max / each, "{rows} entries");
}

#[test]
fn a_handle_that_is_kept_too_long_shows_nothing() {
    // Its searchers use the entries of the first one that was ever opened; a build, a handle it had to give
    // back.
    let items = format!(
        "(global $entries (mut i32) (i32.const 0)) (global $lent (mut i32) (i32.const 0)) {CODE}"
    );
    let open = "(if (i32.eqz (global.get $entries)) (then
            (global.set $entries (local.get $entries))))
        (call $handle (call $new-searcher (i32.const 0)))";
    let between = |handle: &str| {
        format!(
            "(call $between (global.get {handle}) (i32.const 1) (i32.const 128) (i32.const 1)
                (i32.const 256)) (call $code)"
        )
    };
    let search = format!(
        "(if (result i32) (local.get $words) (then {}) (else {}))",
        between("$lent"),
        between("$entries")
    );
    let build_of_guest =
        format!("(global.set $lent (local.get $entries)) {}", Index::default().build);
    let build_of_guest = build_of_guest.as_str();
    let guest = Index {
        imports: ASKING,
        items: &items,
        open,
        search: &search,
        build: build_of_guest,
        ..Index::default()
    };
    let bench = Bench::new();
    let index = bench.load_index(&guest.build(), "").unwrap();
    let (first, second, disk) = (entries(), entries(), Disk::default());
    let searcher = build(&*index, &first, &disk).unwrap();
    assert_eq!(searcher.search(&query(&first, 1), 3, 3, &[]).unwrap(), [99], "it is searched");
    drop((searcher, first));
    let searcher = build(&*index, &second, &disk).unwrap();
    let found = searcher.search(&query(&second, 1), 3, 3, &[]).unwrap();
    assert_eq!(found, [2], "not found: the first entries are gone");
    let error = searcher.search(&query(&second, 1), 3, 3, &[u64::MAX]).unwrap_err();
    check_fault(&error, PluginFault::Trapped, &["handle"]);
    assert_eq!(searcher.search(&query(&second, 1), 3, 3, &[]).unwrap(), [99], "on a fresh one");
}

#[test]
fn stats_are_few_with_plain_names() {
    let (entries, disk) = (entries(), Disk::default());
    let stats = |items: &str, count: u32| {
        let stats = format!(
            "(i32.store (i32.const 64) (i32.const 1024)) (i32.store (i32.const 68) (i32.const {count}))
            (i32.const 64)"
        );
        let guest = Index { items, stats: &stats, ..Index::default() };
        let index = Bench::new().load_index(&guest.build(), "").unwrap();
        build(&*index, &entries, &disk).unwrap().stats()
    };
    let one = r#"(data (i32.const 1024) "\00\08\00\00\05\00\00\00\00\00\00\00\00\00\f0\3f")"#;
    let found = stats(&format!(r#"{one} (data (i32.const 2048) "edges")"#), 1).unwrap();
    assert_eq!(found, [("edges".to_owned(), 1.0)]);
    let error = stats(&format!(r#"{one} (data (i32.const 2048) "\1b[2Ja")"#), 1).unwrap_err();
    check_fault(&error, PluginFault::Lied, &["searcher.stats", "\\u{1b}"]);
    check_fault(&stats("", 1).unwrap_err(), PluginFault::Lied, &["a number called ''"]);
    check_fault(&stats("", 65).unwrap_err(), PluginFault::Lied, &["65 numbers"]);
}

#[test]
fn values_reach_the_guest_in_batches() {
    // It traps where it gets other than so many bytes of so many values.
    let values = |first: u32, values_max: u32, bytes_max: u32, bytes: u32, count: u32| {
        format!(
            "(call $values (global.get $entries) (i32.const {first}) (i32.const {values_max})
                (i32.const {bytes_max}) (i32.const 256))
            (if (i32.ne (i32.load (i32.const 264)) (i32.const {bytes})) (then unreachable))
            (if (i32.ne (i32.load (i32.const 272)) (i32.const {count})) (then unreachable))"
        )
    };
    let lookup = [
        values(0, 100, 1000, 100, 50),
        values(48, 100, 1000, 4, 2),
        values(0, 3, 1000, 6, 3),
        values(0, 100, 3, 4, 2),
        // One at least, while there are any.
        values(7, 0, 0, 2, 1),
        values(50, 1, 1, 0, 0),
        values(u32::MAX, u32::MAX, u32::MAX, 0, 0),
        "(call $info (global.get $entries) (i32.const 256))
        (i32.store (i32.const 128) (i32.sub (i32.load (i32.const 256)) (i32.const 1)))
        (call $same (i32.const 128) (i32.const 1))"
            .to_owned(),
    ];
    let open = "(global.set $entries (local.get $entries))
        (call $handle (call $new-searcher (i32.const 0)))";
    let (items, lookup) = ("(global $entries (mut i32) (i32.const 0))", lookup.concat());
    let guest = Index { imports: ASKING, items, open, lookup: &lookup, ..Index::default() };
    let bench = Bench::new();
    let index = bench.load_index(&guest.build(), "").unwrap();
    let values = (0..50_u8).map(|number| vec![1, number]).collect();
    let entries = Arc::new(Entries::ordered(50, Box::new(Ordered(values))));
    let definition = IndexDefinition { kind: IndexKind::Ordered, ..definition() };
    let disk = Disk::default();
    let id = index.build(&definition, &entries, Vec::new(), disk.sink()).unwrap();
    let searcher = index.open(&definition, &entries, disk.segment(id)).unwrap();
    assert_eq!(searcher.lookup(&KeyRange::all(), true, 4, &[]).unwrap(), [49]);
}
