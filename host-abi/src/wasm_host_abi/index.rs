//! `index`: a plugin that finds entries by what is in them.
//!
//! ```text
//!   check             ──▶ any instance
//!   build             ──▶ any instance, under the background budget ──▶ handles that end with the call
//!   search, lookup    ──▶ an instance, if idle the one of before ──▶ its searcher of this segment, opened at
//!                         the first need
//! ```
//!
//! - Segments and entries never change, so any number of instances search them at once, each with searchers of
//!   its own; an instance keeps the newest [`SEARCHERS_MAX`] of them. The vectors, and the codes of those, are
//!   the host's and there once.
//! - What a guest answers is checked: there are such entries, they are allowed, each comes once, and no more than
//!   were asked for. In which order they come is not: the host computes distances itself.
//! - What a guest built is one segment, which it sealed in that call.

use super::index_bindings::exports::sochdb::plugin::index as contract;
use super::index_bindings::{Index, IndexPre};
use super::storage::{Kept, close_unwanted, find, on_table};
use super::{Exports, GuestError, GuestState};
use crate::limits::{
    INDEX_STAT_NAME_BYTES_MAX, INDEX_STATS_MAX, RANGE_BYTES_MAX, SEGMENT_CHUNK_BYTES_MAX,
};
use crate::plugin::Plugin;
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use crate::versions::Versions;
use sochdb_index::extension::Part;
use sochdb_index::{
    EFFORT_MAX, Entries, IndexDefinition, IndexExtension, IndexKind, IndexSearcher, Query,
};
use sochdb_kernel::plugin::{Extension, ExtensionInfo, SegmentRead, SegmentSink};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, SegmentId};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use wasmtime::component::{Instance, InstancePre, ResourceAny};
use wasmtime::{Result, Store};

/// Searchers that one instance keeps open. An index has a few segments.
const SEARCHERS_MAX: usize = 64;
/// What every stat carries beside its name: where that is, and a number.
const STAT_BYTES: usize = 16;
/// Settings that are the host's. What they say, a plugin is told in other ways, or has no use for.
const OF_THE_HOST: [&str; 8] =
    ["codes", "column", "compress_min", "flat_max", "hnsw_max", "metric", "store", "using"];

/// An index plugin that runs in the sandbox.
pub struct WasmIndex {
    pub(crate) versions: Arc<Versions<Indexer>>,
}

impl WasmIndex {
    pub(crate) fn new(pools: Arc<Pools<Indexer>>) -> WasmIndex {
        WasmIndex { versions: Versions::new(pools) }
    }

    fn plugin(&self) -> Arc<Plugin> {
        self.versions.plugin()
    }
}

impl Extension for WasmIndex {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.versions.shutdown()
    }
}

impl IndexExtension for WasmIndex {
    fn check(&self, index: &IndexDefinition) -> KernelResult<()> {
        let terms = on_table(self.versions.tenants(), &index.table, Terms::reading(0));
        let index = contract::Definition::from(index);
        let ask = |call: &mut Call<'_, Indexer>| {
            let indexer = call.exports.contract.sochdb_plugin_index();
            indexer.call_check(&mut *call.store, &index)
        };
        self.versions.call(&terms, "check", ask, |(), _| Ok(()))
    }

    fn build(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        parts: Vec<Part>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<SegmentId> {
        let terms = Terms::background(SEGMENT_CHUNK_BYTES_MAX);
        let terms = on_table(self.versions.tenants(), &index.table, terms);
        let index = contract::Definition::from(index);
        let (parts, mut numbers): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|Part { segment, numbers }| (segment, numbers)).unzip();
        let (id, sealed) = self.versions.call_once(&terms, "build", |call| {
            let state = call.store.data_mut();
            let parts = parts.iter().zip(&mut numbers).map(|(segment, numbers)| {
                let segment = state.segments.lend(segment)?;
                Ok(contract::Part { segment, numbers: std::mem::take(numbers) })
            });
            let parts: Vec<_> = parts.collect::<Result<_>>()?;
            let sink = state.segments.begin_merge(sink)?;
            let entries = state.indexes.begin_build(entries)?;
            let indexer = call.exports.contract.sochdb_plugin_index();
            let answer = indexer.call_build(&mut *call.store, &index, entries, &parts, sink);
            let state = call.store.data_mut();
            state.indexes.end_call();
            let sealed = state.segments.end_flush();
            Ok(answer?.map(|id| (id, sealed)))
        })?;
        if sealed != [id] {
            let (count, sealed) = (sealed.len(), &sealed[..sealed.len().min(10)]);
            let why = format!("segment {id}, where it sealed {count} of them: {sealed:?}");
            return Err(self.versions.lied("build", &why));
        }
        Ok(SegmentId(id))
    }

    fn open(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let opened = Arc::new(Opened {
            versions: self.versions.clone(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            index: index.into(),
            entries: entries.clone(),
            segment,
            home: AtomicU64::new(0),
        });
        // Opened once now, so that what is wrong with the segment is said here.
        opened.call("searcher.open", 0, |_, _| Ok(Ok(())), Ok)?;
        Ok(Arc::new(WasmSearcher(opened)))
    }
}

/// One instance's exports, and what is open in it.
pub(crate) struct Indexer {
    contract: Index,
    /// From the longest unused to the newest used.
    searchers: Vec<Kept>,
}

impl Exports for Indexer {
    fn check(component: &InstancePre<GuestState>) -> Result<()> {
        IndexPre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> Result<Self> {
        let contract = Index::new(store, instance)?;
        Ok(Indexer { contract, searchers: Vec::new() })
    }
}

impl Indexer {
    /// This instance's searcher of `opened`, as an answer of the guest if it has to be opened.
    fn searcher(
        call: &mut Call<'_, Indexer>,
        opened: &Arc<Opened>,
    ) -> Result<std::result::Result<ResourceAny, GuestError>> {
        let Call { exports: Indexer { contract, searchers }, store, .. } = call;
        if let Some(searcher) = find(searchers, opened.number) {
            return Ok(Ok(searcher));
        }
        close_unwanted(searchers, store)?;
        while SEARCHERS_MAX <= searchers.len() {
            searchers.remove(0).resource.resource_drop(&mut **store)?;
        }
        let state = store.data_mut();
        let entries = state.indexes.lend(&opened.entries)?;
        let segment = state.segments.lend(&opened.segment)?;
        let of_guest = contract.sochdb_plugin_index().searcher();
        let searcher = of_guest.call_open(&mut **store, &opened.index, entries, segment)?;
        Ok(searcher.inspect(|&resource| {
            let wanted: Weak<Opened> = Arc::downgrade(opened);
            searchers.push(Kept { number: opened.number, resource, segments: 1, wanted });
        }))
    }
}

/// What the host opened: what any instance needs to search it.
struct Opened {
    versions: Arc<Versions<Indexer>>,
    number: u64,
    index: contract::Definition,
    entries: Arc<Entries>,
    segment: Arc<dyn SegmentRead>,
    /// The instance that searched it last, which has it open.
    home: AtomicU64,
}

impl Opened {
    /// Lets an instance work with its searcher.
    fn call<R, T>(
        self: &Arc<Self>,
        function: &'static str,
        result_bytes_max: usize,
        mut work: impl FnMut(
            &mut Call<'_, Indexer>,
            ResourceAny,
        ) -> Result<std::result::Result<R, GuestError>>,
        check: impl Fn(R) -> std::result::Result<T, String>,
    ) -> KernelResult<T> {
        let terms = Terms::reading(result_bytes_max);
        let terms = Terms {
            prefer: Some(self.home.load(Ordering::Relaxed)),
            ..on_table(self.versions.tenants(), &self.index.table, terms)
        };
        let ask = |call: &mut Call<'_, Indexer>| {
            let searcher = match Indexer::searcher(call, self)? {
                Ok(searcher) => searcher,
                Err(error) => return Ok(Err(error)),
            };
            self.home.store(call.instance, Ordering::Relaxed);
            work(call, searcher)
        };
        self.versions.call(&terms, function, ask, |answer, _| check(answer))
    }

    /// Whether a guest may answer with `found`: at most `most` entries.
    fn check(
        &self,
        found: &[u32],
        most: usize,
        allowed: &[u64],
    ) -> std::result::Result<(), String> {
        if most < found.len() {
            return Err(format!("{} entries, where {most} are the most", found.len()));
        }
        let count = self.entries.count();
        if let Some(number) = found.iter().find(|number| count <= **number) {
            return Err(format!("entry {number}, where there are {count}"));
        }
        let is_allowed = |number: u32| {
            let word = allowed.get(number as usize / 64).copied().unwrap_or(0);
            allowed.is_empty() || word >> (number % 64) & 1 == 1
        };
        if let Some(number) = found.iter().find(|number| !is_allowed(**number)) {
            return Err(format!("entry {number}, which was not allowed"));
        }
        let mut sorted = found.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("entry {} twice", pair[0])),
            None => Ok(()),
        }
    }

    /// `found`, if it is an answer of at most `most` entries.
    fn checked(
        &self,
        found: Vec<u32>,
        most: usize,
        allowed: &[u64],
    ) -> std::result::Result<Vec<u32>, String> {
        self.check(&found, most, allowed).map(|()| found)
    }

    /// As many of the entries as that, as the contract counts.
    fn at_most(&self, count: usize) -> u32 {
        u32::try_from(count).unwrap_or(u32::MAX).min(self.entries.count())
    }
}

/// One segment of an index, open in whichever instance searches it.
struct WasmSearcher(Arc<Opened>);

impl IndexSearcher for WasmSearcher {
    fn search(
        &self,
        query: &Arc<Query>,
        k: usize,
        effort: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        let function = "searcher.search";
        let opened = &self.0;
        let (k, effort) = (opened.at_most(k), opened.at_most(effort));
        // Without an effort the plugin chooses one.
        let most = if effort == 0 { opened.at_most(EFFORT_MAX) } else { effort };
        let most = k.max(most) as usize;
        let search = |call: &mut Call<'_, Indexer>, searcher| {
            let lent = call.store.data_mut().indexes.begin_search(query);
            let searchers = call.exports.contract.sochdb_plugin_index().searcher();
            let answer =
                searchers.call_search(&mut *call.store, searcher, lent, k, effort, allowed);
            call.store.data_mut().indexes.end_call();
            answer
        };
        let check = |found| opened.checked(found, most, allowed);
        opened.call(function, most * size_of::<u32>(), search, check)
    }

    fn lookup(
        &self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        let longest = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(value) | Bound::Excluded(value) => value.len(),
            Bound::Unbounded => 0,
        };
        let got = longest(&range.start).max(longest(&range.end));
        if RANGE_BYTES_MAX < got {
            let (what, bound) = ("the bytes of a range's end", RANGE_BYTES_MAX as u64);
            return Err(KernelError::Limit { what, got: got as u64, bound });
        }
        let function = "searcher.lookup";
        let (opened, range) = (&self.0, contract::KeyRange::from(range));
        let limit = opened.at_most(limit);
        let most = limit as usize;
        let look_up = |call: &mut Call<'_, Indexer>, searcher| {
            let searchers = call.exports.contract.sochdb_plugin_index().searcher();
            searchers.call_lookup(&mut *call.store, searcher, &range, reverse, limit, allowed)
        };
        let check = |found| opened.checked(found, most, allowed);
        opened.call(function, most * size_of::<u32>(), look_up, check)
    }

    fn stats(&self) -> KernelResult<Vec<(String, f64)>> {
        let function = "searcher.stats";
        let bytes_max = INDEX_STATS_MAX * (INDEX_STAT_NAME_BYTES_MAX + STAT_BYTES);
        let ask = |call: &mut Call<'_, Indexer>, searcher| {
            let searchers = call.exports.contract.sochdb_plugin_index().searcher();
            searchers.call_stats(&mut *call.store, searcher).map(Ok)
        };
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        let is_name = |name: &str| {
            (1..=INDEX_STAT_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(good)
        };
        self.0.call(function, bytes_max, ask, |stats: Vec<(String, f64)>| {
            if INDEX_STATS_MAX < stats.len() {
                return Err(format!(
                    "{} numbers, where {INDEX_STATS_MAX} are the most",
                    stats.len()
                ));
            }
            match stats.iter().find(|(name, _)| !is_name(name)) {
                Some((name, _)) => {
                    let shown: String = name.chars().take(INDEX_STAT_NAME_BYTES_MAX).collect();
                    Err(format!("a number called '{}'", shown.escape_debug()))
                }
                None => Ok(stats),
            }
        })
    }
}

impl From<&IndexDefinition> for contract::Definition {
    fn from(index: &IndexDefinition) -> contract::Definition {
        let (metric, dim) = match index.kind {
            IndexKind::Vector { dim, metric, .. } => (metric.code(), dim),
            IndexKind::Ordered => (0, 0),
        };
        let of_plugin = |(name, _): &(&String, &String)| !OF_THE_HOST.contains(&name.as_str());
        let options = index.settings.iter().filter(of_plugin);
        contract::Definition {
            table: index.table.clone(),
            name: index.name.clone(),
            column: index.column.clone(),
            metric,
            dim,
            options: options.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}
