//! A plugin that keeps the rows of tables.
//!
//! ```text
//!   Run ──▶ Storage::flush ──▶ Sink::create, SegmentWriter::append, seal
//!   Segments ──▶ Storage::merge ──▶ the same
//!            └─▶ Storage::open ──▶ Reader::multi_get
//!                              ├─▶ Reader::scan ──▶ Cursor::next_batch
//!                              └─▶ Reader::scan_columns ──▶ ColumnCursor::next_batch
//! ```
//!
//! What the host gives (a [`Run`], a [`Sink`], [`Segment`]s) can also be made of rows and bytes in memory,
//! in tests and in [`Storage::self_test`]; an engine does not see the difference.

use crate::bindings::lifecycle;
use crate::bindings::storage::exports::sochdb::plugin::storage_engine as contract;
use crate::bindings::storage::sochdb::plugin::segments as host;
use crate::bindings::{Instance, types};
use crate::error::{Error, Result};
use crate::typed;
use sochdb_encoding::columns::{ColumnBatch, ColumnBuilder};
use sochdb_encoding::compaction::Compaction;
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::Schema;
use sochdb_encoding::select::{Projection, Selection};
use sochdb_encoding::stats::{ColumnStats, EncodingStats, LevelStats, StorageStats};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;
use std::rc::Rc;

/// What one read or append may carry, by the contract.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Appends are gathered until they are worth a call.
const APPEND_BYTES: usize = 64 << 10;
/// Rows and bytes that are asked of a run at once.
const RUN_ROWS: u32 = 1024;
const RUN_BYTES: u32 = 256 << 10;

/// How the contract writes what is known of a row.
const UNKNOWN: u8 = 0;
const DELETED: u8 = 1;
const VALUE: u8 = 2;

/// A storage engine: a pure function from sorted runs to immutable segments, and reads of those.
///
/// Any instance must read what any other wrote, in any later version of the plugin. The host reads each
/// flush back and compares it with its run. See [`export!`](crate::export) for how a type becomes the
/// plugin.
///
/// ```
/// use sochdb_guest::{
///     Compaction, Cursor, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink, Storage, Table,
///     select::Selection,
/// };
/// use std::{collections::BTreeMap, rc::Rc, vec};
///
/// /// Rows one behind the other: key, value (`-` for deleted), each on a line. Reads all to find one.
/// struct Lines;
/// struct Rows(Rc<BTreeMap<Vec<u8>, Option<Vec<u8>>>>);
/// struct Scan(vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>, Option<Selection>);
///
/// impl Storage for Lines {
///     type Reader = Rows;
///
///     fn init() -> Result<Self> {
///         Ok(Lines)
///     }
///
///     fn flush(
///         &mut self, _: &Table, _: &[Segment], run: &mut Run<'_>, sink: &Sink<'_>,
///     ) -> Result<Vec<u64>> {
///         let mut segment = sink.create()?;
///         while let Some((key, value)) = run.next()? {
///             let value = value.map_or(b"-".to_vec(), |value| [b"+", value].concat());
///             segment.append(&[key, b"\n", &value, b"\n"].concat())?;
///         }
///         Ok(vec![segment.seal()?])
///     }
///
///     fn plan_compaction(&mut self, _: &Table, all: &[Segment]) -> Result<Option<Compaction>> {
///         let inputs = (0..all.len()).collect();
///         Ok((4 < all.len()).then(|| Compaction { inputs, at: 0, urgent: false }))
///     }
///
///     fn open(&mut self, _: &Table, segments: Vec<Segment>) -> Result<Rows> {
///         let mut rows = BTreeMap::new();
///         for segment in segments {
///             let bytes = segment.read(0, segment.info().bytes as usize)?;
///             let lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
///             for pair in lines.chunks_exact(2) {
///                 let value = pair[1].strip_prefix(b"+").map(<[u8]>::to_vec);
///                 rows.insert(pair[0].to_vec(), value);
///             }
///         }
///         Ok(Rows(Rc::new(rows)))
///     }
/// }
///
/// impl Reader for Rows {
///     type Cursor = Scan;
///
///     fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
///         let lookup = |key: &&[u8]| match self.0.get(*key) {
///             None => Lookup::Unknown,
///             Some(None) => Lookup::Deleted,
///             Some(Some(value)) => Lookup::Value(value.clone()),
///         };
///         Ok(keys.iter().map(lookup).collect())
///     }
///
///     fn scan(&self, range: &KeyRange, reverse: bool, selection: Option<Selection>) -> Result<Scan> {
///         let rows = self.0.range((range.start.clone(), range.end.clone()));
///         let mut rows: Vec<_> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
///         if reverse {
///             rows.reverse();
///         }
///         Ok(Scan(rows.into_iter(), selection))
///     }
/// }
///
/// impl Cursor for Scan {
///     fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
///         while !batch.is_full() {
///             let Some((key, value)) = self.0.next() else { break };
///             batch.push_selected(&key, value.as_deref(), self.1.as_ref())?;
///         }
///         Ok(())
///     }
/// }
///
/// sochdb_guest::export!(storage: Lines);
/// # fn main() { Lines.self_test().unwrap(); }
/// ```
pub trait Storage: Sized {
    /// Reads some segments of a table.
    type Reader: Reader;

    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Writes the rows of `run` as new segments and returns their numbers, newest last. They are put behind
    /// `present`, the table's segments so far. Deleted rows are written too: they hide those of older segments.
    ///
    /// # Errors
    /// Any; nothing is installed, the rows stay in the log, and the flush is tried again.
    fn flush(
        &mut self,
        table: &Table,
        present: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>>;

    /// Which of `segments`, oldest first, are worth merging now: as much as is done in a moment. A segment that
    /// is not chosen must not come to lie on the other side of a chosen one that has keys between its own.
    ///
    /// # Errors
    /// Any; then nothing is merged.
    fn plan_compaction(
        &mut self,
        table: &Table,
        segments: &[Segment],
    ) -> Result<Option<Compaction>>;

    /// Writes the newest row of each key in `segments`, oldest first, as new segments and returns their
    /// numbers, newest last; without the deleted rows if `drop_deleted`, for then they hide nothing. By default
    /// what a scan of the segments gives is flushed.
    ///
    /// # Errors
    /// Any; nothing is installed.
    fn merge(
        &mut self,
        table: &Table,
        segments: Vec<Segment>,
        drop_deleted: bool,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let cursor = self.open(table, segments)?.scan(&KeyRange::all(), false, None)?;
        let source = RunSource::Cursor { cursor: Box::new(cursor), drop_deleted };
        let mut run = Run { source: Some(source), batch: RowBatch::default(), at: 0 };
        self.flush(table, &[], &mut run, sink)
    }

    /// Opens `segments`, oldest first: a later one hides an earlier one's rows.
    ///
    /// # Errors
    /// [`Error::corrupt`] when one of them is not what this engine writes.
    fn open(&mut self, table: &Table, segments: Vec<Segment>) -> Result<Self::Reader>;

    /// Whether the plugin works at all; called when it is loaded. By default two small flushes must be
    /// readable, by key and in order, both ways.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        self_test(self)
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Some segments of a table, open for reading.
pub trait Reader: 'static {
    /// A scan under way. It may live longer than the reader.
    type Cursor: Cursor;

    /// The newest row of each of `keys`, in their order.
    ///
    /// # Errors
    /// Any, such as [`Error::corrupt`].
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>>;

    /// Begins to read the newest row of each key in `range`, deleted ones included, in the order of the
    /// keys, or falling if `reverse`. The range may hold no key at all. With a selection, which only typed
    /// tables are asked for, the values are what it gives out, and a newest row that it does not want is left
    /// out, or given as a deleted one to tell how far the scan is; [`RowBatch::push_selected`] leaves it out.
    ///
    /// # Errors
    /// Any, such as [`Error::corrupt`].
    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Selection>,
    ) -> Result<Self::Cursor>;

    /// Begins to read the same rows as columns: those of the selection's projection, in growing order of the
    /// keys and without deleted rows. By default made of what [`scan`](Self::scan) gives.
    ///
    /// # Errors
    /// `Invalid` without a projection; any, such as [`Error::corrupt`].
    fn scan_columns(
        &self,
        range: &KeyRange,
        selection: Selection,
    ) -> Result<Box<dyn ColumnCursor>> {
        let projection = selection.projection().cloned();
        let projection = projection.ok_or_else(|| Error::invalid("a scan of no columns"))?;
        let cursor = self.scan(range, false, Some(selection))?;
        Ok(Box::new(RowsAsColumns { cursor, projection }))
    }

    /// What there is to know of the segments. By default nothing.
    ///
    /// # Errors
    /// Any, such as [`Error::corrupt`].
    fn stats(&self) -> Result<StorageStats> {
        Ok(StorageStats::default())
    }
}

/// A scan of columns under way. The host may give it up at any time.
pub trait ColumnCursor {
    /// The next rows: about `rows_max`, or about `bytes_max` bytes of them. The batch that is not `through` any
    /// key is the last; others may have no rows.
    ///
    /// # Errors
    /// Any, such as [`Error::corrupt`].
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> Result<ColumnBatch>;
}

/// What a scan of rows gives, as columns.
struct RowsAsColumns<C> {
    cursor: C,
    projection: Projection,
}

impl<C: Cursor> ColumnCursor for RowsAsColumns<C> {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> Result<ColumnBatch> {
        let mut batch = RowBatch::new(rows_max, bytes_max);
        self.cursor.next_batch(&mut batch)?;
        let kinds = self.projection.schema().columns.iter().map(|column| column.kind);
        let mut columns: Vec<_> = kinds.map(ColumnBuilder::new).collect();
        let (mut rows, mut through) = (0, None);
        for (key, value) in (0..batch.len()).map_while(|index| batch.get(index)) {
            through = Some(key);
            let Some(value) = value else { continue };
            rows += 1;
            for (column, value) in columns.iter_mut().zip(self.projection.decode(value)?) {
                column.push(&value)?;
            }
        }
        Ok(ColumnBatch::new(rows, columns, through.map(<[u8]>::to_vec))?)
    }
}

/// A scan under way. The host may give it up at any time.
pub trait Cursor: 'static {
    /// Pushes the next rows until `batch` [is full](RowBatch::is_full) or there are no more. Leaving it
    /// empty says that the scan is over.
    ///
    /// # Errors
    /// Any, such as [`Error::corrupt`].
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()>;
}

/// What an engine is told of its table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Never used again in its database.
    pub id: u64,
    /// Its present name.
    pub name: String,
    /// Its columns, if it is typed: then keys and values are encoded as [`row`](crate::row) says, as long as
    /// whoever wrote them kept to that.
    pub schema: Option<Schema>,
    /// Whether a codec compresses its segments, block by block: then what a codec does well can be left to it.
    pub compressed: bool,
    /// The settings given when the table was created.
    pub options: BTreeMap<String, String>,
}

/// Which segment, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number, never used again in its database.
    pub id: u64,
    /// How many bytes were appended to it.
    pub bytes: u64,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// No segment has it.
    Unknown,
    /// The newest segment that has it says it was deleted.
    Deleted,
    /// Its newest value.
    Value(Vec<u8>),
}

/// A row: its key, and its value or that it was deleted.
pub type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// Some rows in a few flat buffers.
#[derive(Debug, Default)]
pub struct RowBatch {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    values: Vec<u8>,
    value_ends: Vec<u32>,
    states: Vec<u8>,
    rows_max: usize,
    bytes_max: usize,
}

impl RowBatch {
    /// An empty batch that is full with `rows_max` rows, or with `bytes_max` bytes of keys and values.
    pub fn new(rows_max: usize, bytes_max: usize) -> RowBatch {
        RowBatch { rows_max, bytes_max, ..RowBatch::default() }
    }

    /// Whether no more rows are wanted. One row always is.
    pub fn is_full(&self) -> bool {
        !self.is_empty()
            && (self.rows_max <= self.len()
                || self.bytes_max <= self.keys.len() + self.values.len())
    }

    /// Adds a row behind the others; `None` says that its key was deleted.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.key_ends.push(self.keys.len() as u32);
        self.value_ends.push(self.values.len() as u32);
        self.states.push(if value.is_some() { VALUE } else { DELETED });
    }

    /// Adds what `selection` gives out of a row, if it wants the row; a deleted row as it is.
    ///
    /// # Errors
    /// `Corrupt` when the row is none of the selection's table.
    pub fn push_selected(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        selection: Option<&Selection>,
    ) -> Result<()> {
        match (selection, value) {
            (Some(selection), Some(value)) => {
                if let Some(value) = selection.apply(key, value.into())? {
                    self.push(key, Some(&value));
                }
            }
            _ => self.push(key, value),
        }
        Ok(())
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The row at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Row<'_>> {
        let state = *self.states.get(index)?;
        let part = |bytes, ends: &[u32]| {
            let start = index.checked_sub(1).map_or(0, |before| ends[before]);
            part(bytes, start, ends[index])
        };
        let value = (state == VALUE).then(|| part(&self.values, &self.value_ends));
        Some((part(&self.keys, &self.key_ends), value))
    }
}

fn part(bytes: &[u8], start: u32, end: u32) -> &[u8] {
    &bytes[start as usize..end as usize]
}

impl From<types::Batch> for RowBatch {
    fn from(batch: types::Batch) -> RowBatch {
        let types::Batch { keys, key_ends, values, value_ends, states } = batch;
        RowBatch { keys, key_ends, values, value_ends, states, rows_max: 0, bytes_max: 0 }
    }
}

impl From<RowBatch> for types::Batch {
    fn from(batch: RowBatch) -> types::Batch {
        let RowBatch { keys, key_ends, values, value_ends, states, .. } = batch;
        types::Batch { keys, key_ends, values, value_ends, states }
    }
}

/// The rows of one flush, strictly growing by their keys.
pub struct Run<'a> {
    /// Where rows come from beside the batch.
    source: Option<RunSource<'a>>,
    batch: RowBatch,
    at: usize,
}

enum RunSource<'a> {
    Host(&'a host::Run),
    /// The merged rows of segments.
    Cursor {
        cursor: Box<dyn Cursor>,
        drop_deleted: bool,
    },
}

impl Run<'_> {
    /// A run of `rows`, which grow by their keys.
    pub fn of<'r>(rows: impl IntoIterator<Item = Row<'r>>) -> Run<'static> {
        let mut batch = RowBatch::default();
        rows.into_iter().for_each(|(key, value)| batch.push(key, value));
        Run { source: None, batch, at: 0 }
    }

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// Whatever kept the host from reading it.
    #[allow(
        clippy::should_implement_trait,
        reason = "its rows live until the next one is asked for"
    )]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        loop {
            if self.at == self.batch.len()
                && let Some(source) = &mut self.source
            {
                self.batch = source.next_batch()?;
                self.at = 0;
            }
            if self.at == self.batch.len() {
                return Ok(None);
            }
            self.at += 1;
            let wanted = match &self.source {
                Some(RunSource::Cursor { drop_deleted: true, .. }) => VALUE,
                _ => DELETED,
            };
            if wanted <= self.batch.states[self.at - 1] {
                return Ok(self.batch.get(self.at - 1));
            }
        }
    }
}

impl RunSource<'_> {
    fn next_batch(&mut self) -> Result<RowBatch> {
        match self {
            RunSource::Host(run) => Ok(run.next(RUN_ROWS, RUN_BYTES)?.into()),
            RunSource::Cursor { cursor, .. } => {
                let mut batch = RowBatch::new(RUN_ROWS as usize, RUN_BYTES as usize);
                cursor.next_batch(&mut batch)?;
                Ok(batch)
            }
        }
    }
}

/// Where the segments of one flush are written.
pub struct Sink<'a>(SinkKind<'a>);

enum SinkKind<'a> {
    Host(&'a host::Sink),
    Memory(Rc<RefCell<Vec<Vec<u8>>>>),
}

impl<'a> Sink<'a> {
    pub(crate) fn of_host(sink: &'a host::Sink) -> Sink<'a> {
        Sink(SinkKind::Host(sink))
    }
}

impl Sink<'_> {
    /// A sink that keeps what is written in memory.
    pub fn in_memory() -> Sink<'static> {
        Sink(SinkKind::Memory(Rc::default()))
    }

    /// The segments that were sealed in a sink [in memory](Self::in_memory), in the order of their
    /// numbers; none for the host's.
    pub fn segments(&self) -> Vec<Segment> {
        match &self.0 {
            SinkKind::Host(_) => Vec::new(),
            SinkKind::Memory(sealed) => {
                let segment =
                    |(id, bytes): (usize, &Vec<u8>)| Segment::of(id as u64, bytes.clone());
                sealed.borrow().iter().enumerate().map(segment).collect()
            }
        }
    }

    /// Begins a new segment.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(&self) -> Result<SegmentWriter> {
        let target = match &self.0 {
            SinkKind::Host(sink) => Target::Host(sink.create()?),
            SinkKind::Memory(sealed) => Target::Memory(sealed.clone(), Vec::new()),
        };
        Ok(SegmentWriter { target, buffer: Vec::new(), written: 0 })
    }
}

/// A segment being written. Dropped before it is sealed, it leaves nothing behind.
pub struct SegmentWriter {
    target: Target,
    /// Appended, but not yet handed over.
    buffer: Vec<u8>,
    written: u64,
}

enum Target {
    Host(host::SegmentWriter),
    Memory(Rc<RefCell<Vec<Vec<u8>>>>, Vec<u8>),
}

impl SegmentWriter {
    /// Adds `bytes` at the end and returns the offset at which they begin. Small ones are gathered.
    ///
    /// # Errors
    /// When the disk refuses, or the segment would grow too large.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.written + self.buffer.len() as u64;
        if APPEND_BYTES < self.buffer.len() + bytes.len() {
            self.hand_over()?;
        }
        if APPEND_BYTES < bytes.len() {
            self.write(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(offset)
    }

    /// Ends the segment and returns its number. From then on it never changes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn seal(mut self) -> Result<u64> {
        self.hand_over()?;
        match self.target {
            Target::Host(writer) => Ok(host::SegmentWriter::seal(writer)?),
            Target::Memory(sealed, bytes) => {
                sealed.borrow_mut().push(bytes);
                Ok(sealed.borrow().len() as u64 - 1)
            }
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            match &mut self.target {
                Target::Host(writer) => drop(writer.append(chunk)?),
                Target::Memory(_, held) => held.extend_from_slice(chunk),
            }
            self.written += chunk.len() as u64;
        }
        Ok(())
    }
}

/// A sealed segment. It can be read as long as it belongs to what the database still shows.
pub struct Segment {
    info: SegmentInfo,
    source: Source,
}

enum Source {
    Host(host::Segment),
    Memory(Vec<u8>),
}

impl Segment {
    /// A segment in memory.
    pub fn of(id: u64, bytes: Vec<u8>) -> Segment {
        let info = SegmentInfo { id, bytes: bytes.len() as u64 };
        Segment { info, source: Source::Memory(bytes) }
    }

    pub(crate) fn of_host(segment: host::Segment) -> Segment {
        Segment { info: segment.info().into(), source: Source::Host(segment) }
    }

    /// Which one it is, and how large.
    pub fn info(&self) -> SegmentInfo {
        self.info
    }

    /// Exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `Invalid` outside the segment, `Corrupt` when the disk gave other bytes than were written,
    /// `NotFound` when the database gave the segment up.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let outside = || {
            let SegmentInfo { id, bytes } = self.info;
            Error::invalid(format!(
                "read {len} bytes at {offset} of segment {id}, which has {bytes}"
            ))
        };
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.info.bytes);
        let end = end.ok_or_else(outside)?;
        let segment = match &self.source {
            Source::Memory(bytes) => return Ok(bytes[offset as usize..end as usize].to_vec()),
            Source::Host(segment) => segment,
        };
        if len <= CHUNK_BYTES_MAX {
            return Ok(segment.read(offset, len as u32)?);
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let chunk = (len - bytes.len()).min(CHUNK_BYTES_MAX);
            bytes.extend_from_slice(&segment.read(offset + bytes.len() as u64, chunk as u32)?);
        }
        Ok(bytes)
    }
}

/// What [`Storage::self_test`] does unless an engine has something better.
fn self_test<S: Storage>(storage: &mut S) -> Result<()> {
    let table = Table { id: 1, name: "self-test".to_owned(), ..Table::default() };
    let key = |number: u32| format!("key {number:04}").into_bytes();
    let value = |number: u32, flush: u8| vec![flush; number as usize % 300];
    let sink = Sink::in_memory();
    // The first flush has all rows; the second deletes every third one and rewrites every seventh.
    let mut rows: BTreeMap<_, _> = (0..500).map(|n| (key(n), Some(value(n, 1)))).collect();
    let mut second = BTreeMap::new();
    second.extend((0..500).step_by(7).map(|n| (key(n), Some(value(n, 2)))));
    second.extend((0..500).step_by(3).map(|n| (key(n), None)));
    let mut ids = Vec::new();
    for run in [&rows, &second] {
        let mut run = Run::of(run.iter().map(|(key, value)| (&key[..], value.as_deref())));
        let present = named(&sink, &ids)?;
        ids.extend(storage.flush(&table, &present, &mut run, &sink)?);
    }
    storage.plan_compaction(&table, &named(&sink, &ids)?)?;
    rows.extend(second);
    check(&storage.open(&table, named(&sink, &ids)?)?, &rows)?;
    let merged = storage.merge(&table, named(&sink, &ids)?, true, &sink)?;
    rows.retain(|_, value| value.is_some());
    check(&storage.open(&table, named(&sink, &merged)?)?, &rows)
}

/// The segments of `sink` with the numbers `ids`.
fn named(sink: &Sink<'_>, ids: &[u64]) -> Result<Vec<Segment>> {
    let mut sealed: BTreeMap<_, _> =
        sink.segments().into_iter().map(|segment| (segment.info().id, segment)).collect();
    let named = ids.iter().map(|id| sealed.remove(id)).collect::<Option<Vec<_>>>();
    named.ok_or_else(|| Error::internal("it named a segment that it did not write"))
}

/// Whether `reader` has `rows` and no others.
fn check(reader: &impl Reader, rows: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<()> {
    let key = |number: u32| format!("key {number:04}").into_bytes();

    let keys: Vec<_> = rows.keys().map(Vec::as_slice).chain([&b"no such key"[..]]).collect();
    let lookup = |row: &Option<Vec<u8>>| row.clone().map_or(Lookup::Deleted, Lookup::Value);
    let wanted: Vec<_> = rows.values().map(lookup).chain([Lookup::Unknown]).collect();
    if reader.multi_get(&keys)? != wanted {
        return Err(Error::internal("rows were not found by their keys as they were written"));
    }
    let range = KeyRange { start: Bound::Excluded(key(10)), end: Bound::Included(key(444)) };
    for reverse in [false, true] {
        let mut cursor = reader.scan(&range, reverse, None)?;
        let mut wanted: Vec<_> = rows.range((range.start.clone(), range.end.clone())).collect();
        if reverse {
            wanted.reverse();
        }
        let mut wanted = wanted.into_iter();
        loop {
            let mut batch = RowBatch::new(100, 4000);
            cursor.next_batch(&mut batch)?;
            if batch.is_empty() {
                break;
            }
            for row in (0..batch.len()).map_while(|index| batch.get(index)) {
                if wanted.next().map(|(key, value)| (&key[..], value.as_deref())) != Some(row) {
                    return Err(Error::internal("a scan gave other rows than were written"));
                }
            }
        }
        if wanted.next().is_some() {
            return Err(Error::internal("a scan ended too early"));
        }
    }
    Ok(())
}

/// Turns calls of the contract into calls of [`Storage`].
pub struct StorageGlue<P>(PhantomData<P>);

/// An open reader, as the host holds it, and its table's columns.
pub struct ReaderGlue<P: Storage>(P::Reader, Option<Schema>);

/// An open cursor, as the host holds it.
pub struct CursorGlue<P: Storage>(RefCell<<P::Reader as Reader>::Cursor>);

/// An open cursor of columns, as the host holds it.
pub struct ColumnCursorGlue(RefCell<Box<dyn ColumnCursor>>);

lifecycle!(StorageGlue: Storage);

impl<P: Storage + Instance> contract::Guest for StorageGlue<P> {
    type Reader = ReaderGlue<P>;
    type Cursor = CursorGlue<P>;
    type ColumnCursor = ColumnCursorGlue;

    fn flush(
        table: contract::Table,
        present: Vec<host::Segment>,
        run: &host::Run,
        sink: &host::Sink,
    ) -> std::result::Result<Vec<u64>, types::Error> {
        let source = Some(RunSource::Host(run));
        let mut run = Run { source, batch: RowBatch::default(), at: 0 };
        let (table, present) = (Table::try_from(table)?, segments(present));
        let sink = Sink::of_host(sink);
        P::with(|storage| storage.flush(&table, &present, &mut run, &sink))
    }

    fn plan_compaction(
        table: contract::Table,
        list: Vec<host::Segment>,
    ) -> std::result::Result<Option<contract::Compaction>, types::Error> {
        let (table, list) = (Table::try_from(table)?, segments(list));
        let plan = P::with(|storage| storage.plan_compaction(&table, &list))?;
        Ok(plan.map(|Compaction { inputs, at, urgent }| contract::Compaction {
            inputs: inputs.into_iter().map(|input| input as u32).collect(),
            at: at as u32,
            urgent,
        }))
    }

    fn merge(
        table: contract::Table,
        list: Vec<host::Segment>,
        drop_deleted: bool,
        sink: &host::Sink,
    ) -> std::result::Result<Vec<u64>, types::Error> {
        let (table, sink) = (Table::try_from(table)?, Sink::of_host(sink));
        P::with(|storage| storage.merge(&table, segments(list), drop_deleted, &sink))
    }
}

fn segments(list: Vec<host::Segment>) -> Vec<Segment> {
    list.into_iter().map(Segment::of_host).collect()
}

impl<P: Storage + Instance> contract::GuestReader for ReaderGlue<P> {
    fn open(
        table: contract::Table,
        list: Vec<host::Segment>,
    ) -> std::result::Result<contract::Reader, types::Error> {
        let table = Table::try_from(table)?;
        let reader = P::with(|storage| storage.open(&table, segments(list)))?;
        Ok(contract::Reader::new(ReaderGlue::<P>(reader, table.schema)))
    }

    fn multi_get(
        &self,
        keys: contract::Keys,
    ) -> std::result::Result<contract::Found, types::Error> {
        let mut start = 0;
        let key = |&end| part(&keys.bytes, std::mem::replace(&mut start, end), end);
        let keys: Vec<_> = keys.ends.iter().map(key).collect();
        let answers = self.0.multi_get(&keys)?;
        let mut found = contract::Found {
            states: Vec::with_capacity(keys.len()),
            values: Vec::new(),
            value_ends: Vec::with_capacity(keys.len()),
        };
        for answer in answers {
            found.states.push(match answer {
                Lookup::Unknown => UNKNOWN,
                Lookup::Deleted => DELETED,
                Lookup::Value(value) if found.values.is_empty() => {
                    found.values = value;
                    VALUE
                }
                Lookup::Value(value) => {
                    found.values.extend_from_slice(&value);
                    VALUE
                }
            });
            found.value_ends.push(found.values.len() as u32);
        }
        Ok(found)
    }

    fn scan(
        &self,
        range: contract::KeyRange,
        reverse: bool,
        selection: Option<contract::Selection>,
    ) -> std::result::Result<contract::Cursor, types::Error> {
        let selection = selection.map(|selection| self.selection(selection)).transpose()?;
        let cursor = self.0.scan(&key_range(range), reverse, selection)?;
        Ok(contract::Cursor::new(CursorGlue::<P>(RefCell::new(cursor))))
    }

    fn scan_columns(
        &self,
        range: contract::KeyRange,
        selection: contract::Selection,
    ) -> std::result::Result<contract::ColumnCursor, types::Error> {
        let cursor = self.0.scan_columns(&key_range(range), self.selection(selection)?)?;
        Ok(contract::ColumnCursor::new(ColumnCursorGlue(RefCell::new(cursor))))
    }

    fn stats(&self) -> std::result::Result<contract::Stats, types::Error> {
        Ok(self.0.stats()?.into())
    }
}

impl<P: Storage> ReaderGlue<P> {
    fn selection(&self, selection: contract::Selection) -> Result<Selection> {
        let schema = self.1.as_ref().ok_or_else(|| Error::invalid("the table has no columns"))?;
        typed::selection(schema, selection.columns, selection.filter)
    }
}

impl contract::GuestColumnCursor for ColumnCursorGlue {
    fn next(
        &self,
        max_rows: u32,
        max_bytes: u32,
    ) -> std::result::Result<contract::Columns, types::Error> {
        let batch = self.0.borrow_mut().next_batch(max_rows as usize, max_bytes as usize)?;
        let rows = batch.rows() as u32;
        let (layout, words, through) = batch.into_parts();
        Ok(contract::Columns { rows, layout, words, through })
    }
}

impl<P: Storage + Instance> contract::GuestCursor for CursorGlue<P> {
    fn next(
        &self,
        max_rows: u32,
        max_bytes: u32,
    ) -> std::result::Result<host::Batch, types::Error> {
        let mut batch = RowBatch::new(max_rows as usize, max_bytes as usize);
        self.0.borrow_mut().next_batch(&mut batch)?;
        let RowBatch { keys, key_ends, values, value_ends, states, .. } = batch;
        Ok(host::Batch { keys, key_ends, values, value_ends, states })
    }
}

impl TryFrom<contract::Table> for Table {
    type Error = Error;

    fn try_from(table: contract::Table) -> Result<Table> {
        let contract::Table { id, name, schema, compressed, options } = table;
        let schema = schema.map(typed::schema).transpose()?;
        Ok(Table { id, name, schema, compressed, options: options.into_iter().collect() })
    }
}

impl From<StorageStats> for contract::Stats {
    fn from(stats: StorageStats) -> contract::Stats {
        let level = |level: LevelStats| contract::LevelStats {
            segments: level.segments,
            rows: level.rows,
            deleted: level.deleted,
            bytes: level.bytes,
        };
        let encoding = |encoding: EncodingStats| contract::EncodingStats {
            name: encoding.name,
            chunks: encoding.chunks,
            raw_bytes: encoding.raw_bytes,
            bytes: encoding.bytes,
        };
        let column = |column: ColumnStats| contract::ColumnStats {
            name: column.name,
            rows: column.rows,
            nulls: column.nulls,
            raw_bytes: column.raw_bytes,
            bytes: column.bytes,
            distinct: column.distinct,
            minimum: column.minimum.map(Into::into),
            maximum: column.maximum.map(Into::into),
            encodings: column.encodings.into_iter().map(encoding).collect(),
        };
        contract::Stats {
            levels: stats.levels.into_iter().map(level).collect(),
            columns: stats.columns.into_iter().map(column).collect(),
        }
    }
}

impl From<host::SegmentInfo> for SegmentInfo {
    fn from(info: host::SegmentInfo) -> SegmentInfo {
        SegmentInfo { id: info.id, bytes: info.bytes }
    }
}

pub(crate) fn key_range(range: types::KeyRange) -> KeyRange {
    let bound = |bound| match bound {
        None => Bound::Unbounded,
        Some(types::Bound { key, inclusive: true }) => Bound::Included(key),
        Some(types::Bound { key, inclusive: false }) => Bound::Excluded(key),
    };
    KeyRange { start: bound(range.start), end: bound(range.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_writer_in_memory_gathers_and_tells_where_bytes_begin() {
        let sink = Sink::in_memory();
        let mut writer = sink.create().unwrap();
        let mut wanted = Vec::new();
        for len in [0, 1, 1000, APPEND_BYTES, 3, APPEND_BYTES + 1, 2 * CHUNK_BYTES_MAX + 7, 5] {
            let bytes = vec![len as u8; len];
            assert_eq!(writer.append(&bytes).unwrap(), wanted.len() as u64);
            wanted.extend(bytes);
        }
        assert_eq!(writer.seal().unwrap(), 0);
        sink.create().unwrap().append(b"never sealed").unwrap();
        assert_eq!(sink.create().unwrap().seal().unwrap(), 1);
        let segments = sink.segments();
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].read(0, wanted.len()).unwrap(), wanted);
        for (offset, len) in [(0, wanted.len() + 1), (u64::MAX, 1), (wanted.len() as u64 + 1, 0)] {
            assert_eq!(segments[0].read(offset, len).unwrap_err().code, ErrorCode::Invalid);
        }
    }

    #[test]
    fn a_batch_is_full_at_its_rows_or_its_bytes_but_takes_one() {
        let mut batch = RowBatch::new(3, 10);
        assert!(!batch.is_full());
        batch.push(b"0123456789", None);
        assert!(batch.is_full());
        let mut batch = RowBatch::new(2, 10);
        batch.push(b"a", Some(b""));
        assert!(!batch.is_full());
        batch.push(b"b", None);
        assert!(batch.is_full());
        assert_eq!(batch.get(0), Some((&b"a"[..], Some(&b""[..]))));
        assert_eq!((batch.get(1), batch.get(2)), (Some((&b"b"[..], None)), None));
    }

    #[test]
    fn a_run_ends_and_stays_at_its_end() {
        let mut run = Run::of([(&b"a"[..], None), (b"b", Some(&b"1"[..]))]);
        assert_eq!(run.next().unwrap(), Some((&b"a"[..], None)));
        assert_eq!(run.next().unwrap(), Some((&b"b"[..], Some(&b"1"[..]))));
        assert_eq!(run.next().unwrap(), None);
        assert_eq!(run.next().unwrap(), None);
    }
}
