//! `storage-engine`: a plugin as the keeper of tables' rows.
//!
//! ```text
//!   flush, plan, merge ──▶ any instance, under the background budget ──▶ handles that end with the call
//!   multi_get, stats   ──▶ any instance ──▶ its reader of these segments, opened at the first need
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
//!   wrote in a flush or a merge is compared with the rows it was given by the kernel.
//! - Columns cross in one buffer, which becomes the batch as it is.

use super::base_bindings::sochdb::plugin::segments as segments_contract;
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
use crate::tenant::Tenants;
use crate::versions::{Pin, Versions};
use sochdb_encoding::columns::ColumnBatch;
use sochdb_encoding::row::ColumnType;
use sochdb_encoding::stats::StorageStats;
use sochdb_kernel::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionInfo, RunCursor, RunRow, SegmentRead, SegmentSink, Selection,
    StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, PluginFault, SegmentId, Slice};
use std::any::Any;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use wasmtime::component::{Instance, InstancePre, Resource, ResourceAny};
use wasmtime::{AsContextMut, Result, Store};

/// Readers one instance keeps open. A table that is read has one, and for a while one per older snapshot.
const READERS_MAX: usize = 16;
/// Scans that one instance keeps a place in.
const CURSORS_MAX: usize = 64;
/// Rows whose length no list of ours reaches.
const ROW_OVERHEAD_BYTES: usize = 9;
/// Rows of a column scan's first batch; later ones are larger.
const COLUMN_ROWS_FIRST: usize = 2048;
/// Statistics of a table with a thousand columns have some hundred kilobytes.
const STATS_BYTES_MAX: usize = 16 << 20;

/// A storage engine that runs in the sandbox.
pub struct WasmStorage {
    pub(crate) versions: Arc<Versions<Engine>>,
}

impl WasmStorage {
    pub(crate) fn new(pools: Arc<Pools<Engine>>) -> WasmStorage {
        WasmStorage { versions: Versions::new(pools) }
    }

    fn plugin(&self) -> Arc<Plugin> {
        self.versions.plugin()
    }

    /// Work that writes segments. The bytes a guest appends are what it carries across, so they need the room.
    fn writing(&self, table: &TableContext) -> Terms {
        let terms = Terms::background(SEGMENT_CHUNK_BYTES_MAX);
        on_table(self.versions.tenants(), &table.name, terms)
    }
}

fn check_count(segments: &[Arc<dyn SegmentRead>]) -> KernelResult<()> {
    if segments.len() <= SEGMENTS_PER_STORE_MAX {
        return Ok(());
    }
    Err(KernelError::Limit {
        what: "the segments of one table, which its plugin should merge,",
        got: segments.len() as u64,
        bound: SEGMENTS_PER_STORE_MAX as u64,
    })
}

/// Handles of `segments` for one call.
fn lend(
    store: &mut Store<GuestState>,
    segments: &[Arc<dyn SegmentRead>],
) -> Result<Vec<Resource<segments_contract::Segment>>> {
    segments.iter().map(|segment| store.data_mut().segments.lend(segment)).collect()
}

impl Extension for WasmStorage {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.versions.shutdown()
    }
}

impl StorageExtension for WasmStorage {
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        check_count(present)?;
        let (terms, table) = (self.writing(table), contract::Table::from(table));
        let ids = self.versions.call_once(&terms, "flush", |call| {
            let present = lend(call.store, present)?;
            let (run, sink) = call.store.data_mut().segments.begin_flush(run, sink)?;
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let answer = engine.call_flush(&mut *call.store, &table, &present, run, sink);
            call.store.data_mut().segments.end_flush();
            answer
        })?;
        Ok(ids.into_iter().map(SegmentId).collect())
    }

    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        check_count(segments)?;
        let bytes_max = segments.len() * size_of::<u32>();
        let terms = Terms::background(bytes_max);
        let terms = on_table(self.versions.tenants(), &table.name, terms);
        let table = contract::Table::from(table);
        let ask = |call: &mut Call<'_, Engine>| {
            let segments = lend(call.store, segments)?;
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            engine.call_plan_compaction(&mut *call.store, &table, &segments)
        };
        self.versions.call(&terms, "plan-compaction", ask, |plan, _| {
            let Some(segments_contract::Compaction { inputs, at, urgent }) = plan else {
                return Ok(None);
            };
            let inputs = inputs.into_iter().map(|input| input as usize).collect();
            let plan = Compaction { inputs, at: at as usize, urgent };
            // What depends on the keys is checked by the kernel.
            let Ok(check) = plan.check(segments.len(), |_, _| Ok::<_, Infallible>(false));
            if check.is_some() {
                return Ok(Some(plan));
            }
            let (inputs, at, count) = (&plan.inputs, plan.at, segments.len());
            let inputs = &inputs[..inputs.len().min(100)];
            Err(format!("a plan to merge {inputs:?} of {count} segments at {at}"))
        })
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        check_count(segments)?;
        let (terms, table) = (self.writing(table), contract::Table::from(table));
        let ids = self.versions.call_once(&terms, "merge", |call| {
            let segments = lend(call.store, segments)?;
            let sink = call.store.data_mut().segments.begin_merge(sink)?;
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let answer = engine.call_merge(&mut *call.store, &table, &segments, drop_deleted, sink);
            call.store.data_mut().segments.end_flush();
            answer
        })?;
        Ok(ids.into_iter().map(SegmentId).collect())
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        check_count(segments)?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let opened = Arc::new(Opened {
            versions: self.versions.clone(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            table: table.into(),
            segments: segments.to_vec(),
        });
        // Opened once now, so that what is wrong with the segments is said here.
        let open = |call: &mut Call<'_, Engine>| {
            Engine::reader(call, &opened).map(|reader| reader.map(drop))
        };
        self.versions.call(&opened.terms(0), "open", open, |(), _| Ok(()))?;
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
pub(super) struct Kept {
    /// The number of whom it is kept for.
    pub(super) number: u64,
    pub(super) resource: ResourceAny,
    /// How many of the store's segment handles it holds.
    pub(super) segments: usize,
    /// Dead when nobody will ask again.
    pub(super) wanted: Weak<dyn Send + Sync>,
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
        let segments = lend(store, &opened.segments)?;
        let readers_of_guest = contract.sochdb_plugin_storage_engine().reader();
        let reader = readers_of_guest.call_open(&mut **store, &opened.table, &segments)?;
        Ok(reader.inspect(|&resource| {
            let wanted: Weak<Opened> = Arc::downgrade(opened);
            let (number, segments) = (opened.number, segments.len());
            readers.push(Kept { number, resource, segments, wanted });
        }))
    }

    /// The cursor of `scan`. If this instance does not have it, one that begins with what is left of the range;
    /// then that is the scan's place, and cursors that were left elsewhere are unwanted.
    fn cursor(
        call: &mut Call<'_, Engine>,
        scan: &mut ScanState,
    ) -> Result<std::result::Result<ResourceAny, GuestError>> {
        if let Some(cursor) = find(&mut call.exports.cursors, scan.place.number) {
            return Ok(Ok(cursor));
        }
        let reader = match Engine::reader(call, &scan.opened)? {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let Call { exports: Engine { contract, cursors, .. }, store, .. } = call;
        if CURSORS_MAX <= cursors.len() {
            cursors.remove(0).resource.resource_drop(&mut **store)?;
        }
        let readers = contract.sochdb_plugin_storage_engine().reader();
        let range = contract::KeyRange::from(&scan.range);
        let cursor = match &scan.wanted {
            Wanted::Rows { reverse, selection } => {
                let selection = selection.as_ref();
                readers.call_scan(&mut **store, reader, &range, *reverse, selection)?
            }
            Wanted::Columns { selection, .. } => {
                readers.call_scan_columns(&mut **store, reader, &range, selection)?
            }
        };
        Ok(cursor.inspect(|&resource| {
            scan.place = Place::new();
            let wanted: Weak<()> = Arc::downgrade(&scan.place.wanted);
            cursors.push(Kept { number: scan.place.number, resource, segments: 0, wanted });
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
pub(super) fn find(kept: &mut Vec<Kept>, number: u64) -> Option<ResourceAny> {
    let at = kept.iter().rposition(|kept| kept.number == number)?;
    if at + 1 < kept.len() {
        let used = kept.remove(at);
        kept.push(used);
    }
    kept.last().map(|kept| kept.resource)
}

/// Closes what nobody will ask for again.
pub(super) fn close_unwanted(kept: &mut Vec<Kept>, store: &mut impl AsContextMut) -> Result<()> {
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
    versions: Arc<Versions<Engine>>,
    number: u64,
    table: contract::Table,
    segments: Vec<Arc<dyn SegmentRead>>,
}

/// A plugin's reader of some segments. The kernel knows it as a [`StorageReader`]; [`columns_of`] finds what
/// it can do beside that.
pub struct WasmReader(Arc<Opened>);

/// The plugin's reader behind `reader`, which can also scan columns and tell statistics; `None` for an engine
/// that is no plugin.
pub fn columns_of(reader: &dyn StorageReader) -> Option<&WasmReader> {
    (reader as &dyn Any).downcast_ref()
}

impl WasmReader {
    /// Begins to read the newest rows of `range` as columns, those of the selection's projection, growing by
    /// their keys and without deleted ones.
    ///
    /// # Errors
    /// `Invalid` without a projection, `Limit` for an end of the range that is longer than any key.
    pub fn scan_columns(
        &self,
        range: &KeyRange,
        selection: &Selection,
    ) -> KernelResult<WasmColumnCursor> {
        let Some(projection) = selection.projection() else {
            return Err(KernelError::invalid("a scan of columns that names none"));
        };
        let kinds = projection.schema().columns.iter().map(|column| column.kind).collect();
        let wanted = Wanted::Columns { selection: selection.into(), kinds };
        ScanState::new(&self.0, range, wanted, COLUMN_ROWS_FIRST).map(WasmColumnCursor)
    }

    /// What there is to know of the segments.
    ///
    /// # Errors
    /// `Corrupt`, or the plugin's failure.
    pub fn stats(&self) -> KernelResult<StorageStats> {
        let stats = |call: &mut Call<'_, Engine>| {
            let reader = match Engine::reader(call, &self.0)? {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error)),
            };
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            engine.reader().call_stats(&mut *call.store, reader)
        };
        let terms = self.0.terms(STATS_BYTES_MAX);
        self.0.versions.call(&terms, "stats", stats, |stats, _| Ok(stats.into()))
    }
}

impl StorageReader for WasmReader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let mut flat = contract::Keys { bytes: Vec::new(), ends: Vec::with_capacity(keys.len()) };
        for key in keys {
            flat.bytes.extend_from_slice(key);
            flat.ends.push(end(&flat.bytes)?);
        }
        let bytes_max = keys.len().saturating_mul(VALUE_BYTES_MAX + ROW_OVERHEAD_BYTES);
        let get = |call: &mut Call<'_, Engine>| {
            let reader = match Engine::reader(call, &self.0)? {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error)),
            };
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            engine.reader().call_multi_get(&mut *call.store, reader, &flat)
        };
        let terms = self.0.terms(bytes_max);
        let check = |found| answers(keys.len(), &found);
        self.0.versions.call_compared(&terms, "multi-get", get, check)
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let selection = selection.as_deref().map(Into::into);
        let wanted = Wanted::Rows { reverse, selection };
        let state = ScanState::new(&self.0, range, wanted, SCAN_ROWS_FIRST)?;
        Ok(Box::new(WasmCursor(state)))
    }
}

impl Opened {
    /// Any instance of whose table it is.
    fn terms(&self, result_bytes_max: usize) -> Terms {
        on_table(self.versions.tenants(), &self.table.name, Terms::reading(result_bytes_max))
    }
}

/// `terms` for work on `table`: for the tenant whose it is, also when another instance merges what this one
/// reads.
pub(super) fn on_table(tenants: &Tenants, table: &str, terms: Terms) -> Terms {
    let tenant = tenants.of_table(table);
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

/// What a scan gives out.
enum Wanted {
    Rows { reverse: bool, selection: Option<contract::Selection> },
    Columns { selection: contract::Selection, kinds: Vec<ColumnType> },
}

/// A scan, between its batches.
struct ScanState {
    opened: Arc<Opened>,
    wanted: Wanted,
    place: Place,
    /// What is left to read.
    range: KeyRange,
    is_over: bool,
    /// Rows to ask for next: short scans should not pay for rows that nobody wants.
    rows_next: usize,
    /// The version and the instance that read the batch before.
    pin: Pin<Engine>,
    home: Option<u64>,
}

impl ScanState {
    fn new(
        opened: &Arc<Opened>,
        range: &KeyRange,
        wanted: Wanted,
        rows_next: usize,
    ) -> KernelResult<ScanState> {
        let longest = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        let got = longest(&range.start).max(longest(&range.end));
        if RANGE_BYTES_MAX < got {
            let (what, bound) = ("the bytes of a range's end", RANGE_BYTES_MAX as u64);
            return Err(KernelError::Limit { what, got: got as u64, bound });
        }
        let (opened, place, is_over) = (opened.clone(), Place::new(), range.is_empty());
        let (range, pin) = (range.clone(), Pin::default());
        Ok(ScanState { opened, wanted, place, range, is_over, rows_next, pin, home: None })
    }

    /// Asks an instance for a batch of at most so many rows and about so many bytes: `next` calls its cursor
    /// with what is really asked for, and tells whether the scan is over; `check` makes sense of the batch.
    fn next<B, T>(
        &mut self,
        rows_max: usize,
        bytes_max: usize,
        next: impl Fn(
            &mut Call<'_, Engine>,
            ResourceAny,
            (u32, u32),
        ) -> Result<std::result::Result<(B, bool), GuestError>>,
        check: impl Fn(B, usize, usize, &KeyRange) -> std::result::Result<T, String>,
    ) -> KernelResult<T> {
        let to_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let rows = rows_max.min(self.rows_next);
        let (rows, bytes) = clamp_rows(to_u32(rows), to_u32(bytes_max));
        let bytes_max =
            bytes + VALUE_BYTES_MAX + KEY_BYTES_MAX + rows.saturating_mul(ROW_OVERHEAD_BYTES);
        let opened = self.opened.clone();
        let terms = Terms { prefer: self.home, ..opened.terms(bytes_max) };
        let function = match &self.wanted {
            Wanted::Rows { .. } => "cursor.next",
            Wanted::Columns { .. } => "column-cursor.next",
        };
        let (mut pin, range) = (std::mem::take(&mut self.pin), self.range.clone());
        let mut home = None;
        let work = |call: &mut Call<'_, Engine>| {
            let cursor = match Engine::cursor(call, self)? {
                Ok(cursor) => cursor,
                Err(error) => return Ok(Err(error)),
            };
            let answer = next(call, cursor, (to_u32(rows), to_u32(bytes)))?;
            if answer.as_ref().map_or(true, |(_, is_over)| *is_over) {
                Engine::close_cursor(call, self.place.number)?;
            }
            home = Some(call.instance);
            Ok(answer.map(|(batch, _)| batch))
        };
        let check = |batch, _: Option<&Pools<Engine>>| check(batch, rows, bytes, &range);
        let answer = opened.versions.call_pinned(&mut pin, &terms, function, work, check);
        if let Err(KernelError::Plugin { fault: PluginFault::Lied, .. }) = answer {
            self.is_over = true;
        }
        (self.pin, self.home) = (pin, home);
        self.rows_next = self.rows_next.saturating_mul(4);
        answer
    }

    /// The scan goes on behind `key`.
    fn pass(&mut self, key: Vec<u8>, reverse: bool) {
        let end = if reverse { &mut self.range.end } else { &mut self.range.start };
        *end = Bound::Excluded(key);
        self.is_over = self.range.is_empty();
    }
}

struct WasmCursor(ScanState);

impl RunCursor for WasmCursor {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let scan = &mut self.0;
        let Wanted::Rows { reverse, .. } = scan.wanted else { return Ok(Vec::new()) };
        if scan.is_over || rows_max == 0 {
            return Ok(Vec::new());
        }
        let next = |call: &mut Call<'_, Engine>, cursor, (rows, bytes)| {
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let batch = engine.cursor().call_next(&mut *call.store, cursor, rows, bytes)?;
            Ok(batch.map(|batch| {
                let is_over = batch.states.is_empty();
                (batch, is_over)
            }))
        };
        let check =
            |batch, rows, bytes, range: &KeyRange| unflatten(batch, rows, bytes, range, reverse);
        let rows = scan.next(rows_max, bytes_max, next, check)?;
        match rows.last() {
            None => scan.is_over = true,
            Some(RunRow { key, .. }) => scan.pass(key.clone(), reverse),
        }
        Ok(rows)
    }
}

/// A scan of columns.
pub struct WasmColumnCursor(ScanState);

impl WasmColumnCursor {
    /// The next rows, about as many as are asked for; `None` after the last. A batch may have none.
    ///
    /// # Errors
    /// `Corrupt`, or the plugin's failure.
    pub fn next_batch(
        &mut self,
        rows_max: usize,
        bytes_max: usize,
    ) -> KernelResult<Option<ColumnBatch>> {
        let scan = &mut self.0;
        if scan.is_over {
            return Ok(None);
        }
        let next = |call: &mut Call<'_, Engine>, cursor, (rows, bytes)| {
            let engine = call.exports.contract.sochdb_plugin_storage_engine();
            let batch = engine.column_cursor().call_next(&mut *call.store, cursor, rows, bytes)?;
            Ok(batch.map(|batch| {
                let is_over = batch.through.is_none();
                (batch, is_over)
            }))
        };
        let Wanted::Columns { kinds, .. } = &scan.wanted else { return Ok(None) };
        let kinds = kinds.clone();
        let check = |columns: contract::Columns, _, _, range: &KeyRange| {
            let contract::Columns { rows, layout, words, through } = columns;
            let batch = ColumnBatch::from_parts(rows as usize, &kinds, &layout, words, through);
            let batch = batch.map_err(|why| why.to_string())?;
            match batch.through() {
                Some(key) if !range.contains(key) => {
                    Err(format!("through a key outside the range: '{}'", key.escape_ascii()))
                }
                _ => Ok(batch),
            }
        };
        let batch = scan.next(rows_max, bytes_max, next, check)?;
        match batch.through() {
            None => scan.is_over = true,
            Some(key) => scan.pass(key.to_vec(), false),
        }
        Ok(Some(batch))
    }
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

/// The rows of `batch`, if they make sense: at most as many as were asked for, in order, in the range. Their
/// values share one buffer.
fn unflatten(
    batch: Batch,
    rows_max: usize,
    bytes_max: usize,
    range: &KeyRange,
    reverse: bool,
) -> std::result::Result<Vec<RunRow>, String> {
    let Batch { keys, key_ends, values, value_ends, states } = batch;
    let count = states.len();
    if rows_max < count {
        return Err(format!("{count} rows where {rows_max} were asked for"));
    }
    if key_ends.len() != count || value_ends.len() != count {
        let (keys, values) = (key_ends.len(), value_ends.len());
        return Err(format!("{keys} ends of keys and {values} ends of values for {count} rows"));
    }
    let values: Arc<[u8]> = values.into();
    let mut rows: Vec<RunRow> = Vec::with_capacity(count);
    let (mut key_at, mut value_at) = (0, 0);
    for ((key_end, value_end), state) in key_ends.into_iter().zip(value_ends).zip(states) {
        let (key_end, value_end) = (key_end as usize, value_end as usize);
        let key = keys.get(key_at..key_end);
        let key = key.ok_or("the ends of keys do not fit its bytes")?;
        if value_end < value_at || values.len() < value_end {
            return Err("the ends of values do not fit its bytes".to_owned());
        }
        if let Some(RunRow { key: before, .. }) = rows.last() {
            if bytes_max <= key_at + value_at {
                let bytes = key_at + value_at;
                return Err(format!("a row after {bytes} bytes, where {bytes_max} were asked for"));
            }
            if if reverse { **before <= *key } else { *key <= **before } {
                let (a, b) = (before.escape_ascii(), key.escape_ascii());
                return Err(format!("rows out of order: '{b}' after '{a}'"));
            }
        }
        let value = match state {
            state::VALUE => Some(Slice::part(values.clone(), value_at, value_end - value_at)),
            state => value(state, &values[value_at..value_end])?,
        };
        rows.push(RunRow { key: key.to_vec(), value });
        (key_at, value_at) = (key_end, value_end);
    }
    if key_at != keys.len() || value_at != values.len() {
        return Err("bytes after the last of the rows".to_owned());
    }
    // All others lie between these two.
    let ends = rows.first().into_iter().chain(rows.last());
    if let Some(row) = ends.into_iter().find(|row| !range.contains(&row.key)) {
        let key = row.key.escape_ascii();
        return Err(format!("a row outside the range, or a second time: '{key}'"));
    }
    Ok(rows)
}

impl From<&TableContext> for contract::Table {
    fn from(table: &TableContext) -> contract::Table {
        contract::Table {
            id: table.id.0,
            name: table.name.clone(),
            schema: table.schema.as_ref().map(Into::into),
            compressed: table.compressed,
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
