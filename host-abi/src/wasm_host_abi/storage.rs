//! `storage-engine`: a plugin as the keeper of tables' rows.
//!
//! ```text
//!   flush, plan    ──▶ any instance, under the background budget ──▶ handles that end with the call
//!   multi_get      ──▶ any instance ──▶ its reader of these segments, opened at the first need
//!   scan, a batch  ──▶ the instance of the batch before, if it is idle ──▶ the cursor kept there
//!                  └─▶ any other ──▶ a cursor from where the batch before ended
//! ```
//!
//! - Segments never change, so any number of instances read them at once, each with readers of its own;
//!   an instance keeps the newest [`READERS_MAX`] of them and [`CURSORS_MAX`] cursors.
//! - A scan holds no instance between its batches: somebody who scans slowly, or many scans at once, keep
//!   nobody waiting, and an instance that trapped takes no scan with it. What a scan needs to go on
//!   anywhere is the range that is left.
//! - What a guest answers is checked: shapes, counts, order, and that rows lie in the range. What it
//!   answers for a flush is compared with the run by the kernel.
//! - While segments are merged, the flush's run reads the old ones through another instance of the same
//!   plugin. That is why a storage engine has at least two.

use super::base_bindings::sochdb::plugin::segments::SegmentInfo;
use super::base_bindings::sochdb::plugin::types::{Batch, Bound as GuestBound};
use super::flat::{split, state};
use super::segments::end;
use super::storage_bindings::exports::sochdb::plugin::storage_engine as contract;
use super::storage_bindings::{Storage, StoragePre};
use super::{Exports, GuestError, GuestState};
use crate::limits::{
    RANGE_BYTES_MAX, SCAN_ROWS_FIRST, SEGMENT_CHUNK_BYTES_MAX, SEGMENTS_PER_STORE_MAX, clamp_rows,
};
use crate::plugin::Plugin;
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use sochdb_kernel::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use sochdb_kernel::plugin::{
    Extension, ExtensionInfo, RunCursor, RunRow, SegmentRead, SegmentSink, StorageExtension,
    StorageReader, TableContext,
};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, PluginFault, SegmentId, Slice};
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use wasmtime::component::{Instance, InstancePre, ResourceAny};
use wasmtime::{AsContextMut, Result, Store};

/// Readers one instance keeps open. A table that is read has one, and for a while one per older snapshot.
const READERS_MAX: usize = 16;
/// Scans that one instance keeps a place in.
const CURSORS_MAX: usize = 64;
/// Rows whose length no list of ours reaches.
const ROW_OVERHEAD_BYTES: usize = 9;

/// A storage engine that runs in the sandbox.
pub struct WasmStorage {
    pools: Arc<Pools<Engine>>,
}

impl WasmStorage {
    pub(crate) fn new(pools: Arc<Pools<Engine>>) -> WasmStorage {
        WasmStorage { pools }
    }

    fn plugin(&self) -> &Arc<Plugin> {
        self.pools.plugin()
    }
}

impl Extension for WasmStorage {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.pools.shutdown()
    }
}

impl StorageExtension for WasmStorage {
    fn flush(
        &self,
        table: &TableContext,
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        // The bytes a guest appends are what it carries across, so they need the room.
        let terms =
            on_table(self.plugin(), &table.name, Terms::background(SEGMENT_CHUNK_BYTES_MAX));
        let table = contract::Table::from(table);
        let ids = self.pools.call_on(&terms, "flush", |call| {
            let (run, sink) = call.store.data_mut().segments.begin_flush(run, sink)?;
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let answer = engine.call_flush(&mut *call.store, &table, run, sink);
            call.store.data_mut().segments.end_flush();
            answer
        })?;
        Ok(ids.into_iter().map(SegmentId).collect())
    }

    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Range<usize>>> {
        let terms = on_table(self.plugin(), &table.name, Terms::background(0));
        let table = contract::Table::from(table);
        let info = |segment: &Arc<dyn SegmentRead>| SegmentInfo {
            id: segment.id().0,
            bytes: segment.raw_bytes(),
        };
        let infos: Vec<_> = segments.iter().map(info).collect();
        let plan = self.pools.call_on(&terms, "plan-compaction", |call| {
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            engine.call_plan_compaction(&mut *call.store, &table, &infos)
        })?;
        let Some(contract::Positions { start, end }) = plan else { return Ok(None) };
        let (start, end) = (start as usize, end as usize);
        if start < end && end <= segments.len() {
            return Ok(Some(start..end));
        }
        let message = format!("a plan to merge {start}..{end} of {} segments", segments.len());
        Err(lied(self.plugin(), "plan-compaction", &message))
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        if SEGMENTS_PER_STORE_MAX < segments.len() {
            return Err(KernelError::Limit {
                what: "the segments of one table, which its plugin should merge,",
                got: segments.len() as u64,
                bound: SEGMENTS_PER_STORE_MAX as u64,
            });
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let opened = Arc::new(Opened {
            pools: self.pools.clone(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            table: table.into(),
            segments: segments.to_vec(),
        });
        // Opened once now, so that what is wrong with the segments is said here.
        self.pools.call_on(&opened.terms(0), "open", |call| {
            Engine::reader(call, &opened).map(|reader| reader.map(drop))
        })?;
        Ok(Arc::new(WasmReader(opened)))
    }
}

/// One instance's exports, and what is open in it.
pub(crate) struct Engine {
    contract: Storage,
    /// From the longest unused to the newest used.
    readers: Vec<Kept>,
    /// The same.
    cursors: Vec<Kept>,
}

/// A resource of the guest that is kept for later calls.
struct Kept {
    /// The number of whom it is kept for.
    number: u64,
    resource: ResourceAny,
    /// How many of the store's segment handles it holds.
    segments: usize,
    /// Dead when nobody will ask again.
    wanted: Weak<dyn Send + Sync>,
}

impl Exports for Engine {
    fn check(component: &InstancePre<GuestState>) -> Result<()> {
        StoragePre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> Result<Self> {
        let contract = Storage::new(store, instance)?;
        Ok(Engine { contract, readers: Vec::new(), cursors: Vec::new() })
    }
}

impl Engine {
    /// This instance's reader of `opened`, as an answer of the guest if it has to be opened.
    fn reader(
        call: &mut Call<'_, Engine>,
        opened: &Arc<Opened>,
    ) -> Result<std::result::Result<ResourceAny, GuestError>> {
        let Call { exports: Engine { contract, readers, cursors }, store, .. } = call;
        close_unwanted(cursors, store)?;
        if let Some(reader) = find(readers, opened.number) {
            return Ok(Ok(reader));
        }
        close_unwanted(readers, store)?;
        let held = |readers: &[Kept]| readers.iter().map(|kept| kept.segments).sum::<usize>();
        while READERS_MAX <= readers.len()
            || SEGMENTS_PER_STORE_MAX < held(readers) + opened.segments.len()
        {
            readers.remove(0).resource.resource_drop(&mut **store)?;
        }
        let lend = |segment| store.data_mut().segments.lend(segment);
        let segments = opened.segments.iter().map(lend).collect::<Result<Vec<_>>>()?;
        let readers_of_guest = contract.sochdb_plugin_storage_engine().reader();
        let reader = readers_of_guest.call_open(&mut **store, &opened.table, &segments)?;
        Ok(reader.inspect(|&resource| {
            let wanted: Weak<Opened> = Arc::downgrade(opened);
            let (number, segments) = (opened.number, segments.len());
            readers.push(Kept { number, resource, segments, wanted });
        }))
    }

    /// The cursor at `place`. If this instance does not have it, one that begins with `range`; then that
    /// is the place, and cursors that were left elsewhere are unwanted.
    fn cursor(
        call: &mut Call<'_, Engine>,
        opened: &Arc<Opened>,
        range: &KeyRange,
        reverse: bool,
        place: &mut Place,
    ) -> Result<std::result::Result<ResourceAny, GuestError>> {
        if let Some(cursor) = find(&mut call.exports.cursors, place.number) {
            return Ok(Ok(cursor));
        }
        let reader = match Engine::reader(call, opened)? {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let Call { exports: Engine { contract, cursors, .. }, store, .. } = call;
        if CURSORS_MAX <= cursors.len() {
            cursors.remove(0).resource.resource_drop(&mut **store)?;
        }
        let readers_of_guest = contract.sochdb_plugin_storage_engine().reader();
        let range = contract::KeyRange::from(range);
        let cursor = readers_of_guest.call_scan(&mut **store, reader, &range, reverse)?;
        Ok(cursor.inspect(|&resource| {
            *place = Place::new();
            let wanted: Weak<()> = Arc::downgrade(&place.wanted);
            cursors.push(Kept { number: place.number, resource, segments: 0, wanted });
        }))
    }

    fn close_cursor(call: &mut Call<'_, Engine>, number: u64) -> Result<()> {
        let cursors = &mut call.exports.cursors;
        match cursors.iter().position(|kept| kept.number == number) {
            Some(at) => cursors.remove(at).resource.resource_drop(&mut *call.store),
            None => Ok(()),
        }
    }
}

/// The resource kept under `number`, which becomes the newest used.
fn find(kept: &mut Vec<Kept>, number: u64) -> Option<ResourceAny> {
    let at = kept.iter().rposition(|kept| kept.number == number)?;
    if at + 1 < kept.len() {
        let used = kept.remove(at);
        kept.push(used);
    }
    kept.last().map(|kept| kept.resource)
}

fn close_unwanted(kept: &mut Vec<Kept>, store: &mut impl AsContextMut) -> Result<()> {
    let mut at = 0;
    while at < kept.len() {
        if kept[at].wanted.strong_count() == 0 {
            kept.remove(at).resource.resource_drop(&mut *store)?;
        } else {
            at += 1;
        }
    }
    Ok(())
}

/// What the kernel opened: what any instance needs to read it.
struct Opened {
    pools: Arc<Pools<Engine>>,
    number: u64,
    table: contract::Table,
    segments: Vec<Arc<dyn SegmentRead>>,
}

struct WasmReader(Arc<Opened>);

impl StorageReader for WasmReader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let mut flat = contract::Keys { bytes: Vec::new(), ends: Vec::with_capacity(keys.len()) };
        for key in keys {
            flat.bytes.extend_from_slice(key);
            flat.ends.push(end(&flat.bytes)?);
        }
        let bytes_max = keys.len().saturating_mul(VALUE_BYTES_MAX + ROW_OVERHEAD_BYTES);
        let found = self.0.pools.call_on(&self.0.terms(bytes_max), "multi-get", |call| {
            let reader = match Engine::reader(call, &self.0)? {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error)),
            };
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            engine.reader().call_multi_get(&mut *call.store, reader, &flat)
        })?;
        answers(keys.len(), &found).map_err(|why| lied(self.0.pools.plugin(), "multi-get", &why))
    }

    fn scan(&self, range: &KeyRange, reverse: bool) -> KernelResult<Box<dyn RunCursor>> {
        let longest = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        let got = longest(&range.start).max(longest(&range.end));
        if RANGE_BYTES_MAX < got {
            let (what, bound) = ("the bytes of a range's end", RANGE_BYTES_MAX as u64);
            return Err(KernelError::Limit { what, got: got as u64, bound });
        }
        Ok(Box::new(WasmCursor {
            opened: self.0.clone(),
            place: Place::new(),
            is_over: range.is_empty(),
            range: range.clone(),
            reverse,
            rows_next: SCAN_ROWS_FIRST,
            home: None,
        }))
    }
}

impl Opened {
    /// Any instance of whose table it is.
    fn terms(&self, result_bytes_max: usize) -> Terms {
        on_table(self.pools.plugin(), &self.table.name, Terms::reading(result_bytes_max))
    }
}

/// `terms` for work on `table`: for the tenant whose it is, also when another instance merges what this one
/// reads.
fn on_table(plugin: &Plugin, table: &str, terms: Terms) -> Terms {
    let tenant = plugin.tenants.of_table(table);
    let is_hosts = tenant.is_none();
    Terms { is_hosts, tenant, may_come_again: true, object: table.into(), ..terms }
}

/// The one cursor, of all that instances keep, which stands where its scan stands.
struct Place {
    number: u64,
    /// Dies with the place, so that the instance sees it.
    wanted: Arc<()>,
}

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Place { number: NEXT.fetch_add(1, Ordering::Relaxed), wanted: Arc::new(()) }
    }
}

/// A scan, between its batches.
struct WasmCursor {
    opened: Arc<Opened>,
    place: Place,
    /// What is left to read.
    range: KeyRange,
    reverse: bool,
    is_over: bool,
    /// Rows to ask for next: short scans should not pay for rows that nobody wants.
    rows_next: usize,
    /// The instance that read the batch before.
    home: Option<u64>,
}

impl RunCursor for WasmCursor {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        if self.is_over || rows_max == 0 {
            return Ok(Vec::new());
        }
        let to_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let rows = rows_max.min(self.rows_next);
        let (rows, bytes) = clamp_rows(to_u32(rows), to_u32(bytes_max));
        let bytes_max =
            bytes + VALUE_BYTES_MAX + KEY_BYTES_MAX + rows.saturating_mul(ROW_OVERHEAD_BYTES);
        let terms = Terms { prefer: self.home, ..self.opened.terms(bytes_max) };
        let (batch, home) = self.opened.pools.call_on(&terms, "cursor.next", |call| {
            let (opened, place) = (&self.opened, &mut self.place);
            let cursor = match Engine::cursor(call, opened, &self.range, self.reverse, place)? {
                Ok(cursor) => cursor,
                Err(error) => return Ok(Err(error)),
            };
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let (rows, bytes) = (to_u32(rows), to_u32(bytes));
            let batch = engine.cursor().call_next(&mut *call.store, cursor, rows, bytes)?;
            if batch.as_ref().map_or(true, |batch| batch.states.is_empty()) {
                Engine::close_cursor(call, self.place.number)?;
            }
            Ok(batch.map(|batch| (batch, call.instance)))
        })?;
        let rows = unflatten(&batch, rows, bytes, &self.range, self.reverse).map_err(|why| {
            self.is_over = true;
            lied(self.opened.pools.plugin(), "cursor.next", &why)
        })?;
        match rows.last() {
            None => self.is_over = true,
            Some(RunRow { key, .. }) => {
                let end = if self.reverse { &mut self.range.end } else { &mut self.range.start };
                *end = Bound::Excluded(key.clone());
                self.is_over = self.range.is_empty();
            }
        }
        self.home = Some(home);
        self.rows_next = self.rows_next.saturating_mul(4);
        Ok(rows)
    }
}

fn lied(plugin: &Plugin, function: &str, why: &str) -> KernelError {
    KernelError::plugin(&plugin.manifest.name, PluginFault::Lied, format!("{function}: {why}"))
}

fn value(state: u8, bytes: &[u8]) -> std::result::Result<Option<Slice>, String> {
    match state {
        state::VALUE => Ok(Some(bytes.into())),
        state::DELETED if bytes.is_empty() => Ok(None),
        state::DELETED => Err("a deleted row with a value".to_owned()),
        other => Err(format!("a row in a state {other}, which does not exist")),
    }
}

/// What the kernel is told of an answer to `count` keys, if the answer makes sense.
fn answers(
    count: usize,
    found: &contract::Found,
) -> std::result::Result<Vec<Option<Option<Slice>>>, String> {
    if found.states.len() != count {
        return Err(format!("{} answers to {count} keys", found.states.len()));
    }
    let values = split(&found.values, &found.value_ends, count, "values")?;
    let answer = |(&state, bytes): (&u8, &[u8])| match state {
        state::UNKNOWN if bytes.is_empty() => Ok(None),
        state::UNKNOWN => Err("a value of a key that is unknown".to_owned()),
        state => value(state, bytes).map(Some),
    };
    found.states.iter().zip(values).map(answer).collect()
}

/// The rows of `batch`, if they make sense: at most as many as were asked for, in order, in the range.
fn unflatten(
    batch: &Batch,
    rows_max: usize,
    bytes_max: usize,
    range: &KeyRange,
    reverse: bool,
) -> std::result::Result<Vec<RunRow>, String> {
    let count = batch.states.len();
    if rows_max < count {
        return Err(format!("{count} rows where {rows_max} were asked for"));
    }
    let keys = split(&batch.keys, &batch.key_ends, count, "keys")?;
    let values = split(&batch.values, &batch.value_ends, count, "values")?;
    let last_bytes = keys.last().map_or(0, |key| key.len()) + values.last().map_or(0, |v| v.len());
    let before_last = batch.keys.len() + batch.values.len() - last_bytes;
    if bytes_max <= before_last && 1 < count {
        return Err(format!("a row after {before_last} bytes, where {bytes_max} were asked for"));
    }
    let in_order = |pair: &[&[u8]]| if reverse { pair[1] < pair[0] } else { pair[0] < pair[1] };
    if let Some(pair) = keys.windows(2).find(|pair| !in_order(pair)) {
        let (a, b) = (pair[0].escape_ascii(), pair[1].escape_ascii());
        return Err(format!("rows out of order: '{b}' after '{a}'"));
    }
    // All others lie between these two.
    if let Some(key) = keys.iter().take(1).chain(keys.last()).find(|key| !range.contains(key)) {
        return Err(format!("a row outside the range, or a second time: '{}'", key.escape_ascii()));
    }
    let row = |((key, bytes), &state): ((&[u8], &[u8]), &u8)| {
        Ok(RunRow { key: key.to_vec(), value: value(state, bytes)? })
    };
    keys.into_iter().zip(values).zip(&batch.states).map(row).collect()
}

impl From<&TableContext> for contract::Table {
    fn from(table: &TableContext) -> contract::Table {
        contract::Table {
            id: table.id.0,
            name: table.name.clone(),
            options: table.options.clone().into_iter().collect(),
        }
    }
}

impl From<&KeyRange> for contract::KeyRange {
    fn from(range: &KeyRange) -> contract::KeyRange {
        let bound = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) => Some(GuestBound { key: key.clone(), inclusive: true }),
            Bound::Excluded(key) => Some(GuestBound { key: key.clone(), inclusive: false }),
            Bound::Unbounded => None,
        };
        contract::KeyRange { start: bound(&range.start), end: bound(&range.end) }
    }
}
