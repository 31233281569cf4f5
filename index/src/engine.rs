//! The storage engine of the tables that keep indexes: marks in, segments of entries out.
//!
//! ```text
//!   flush            marks ──▶ the rows' values, read from their table now ──▶ flat segments
//!   merge            segments ──▶ one, and a plugin builds a graph of its entries
//!   open             segments ──▶ a reader: to the kernel the marks, to a search the entries
//! ```
//!
//! A flush reads a row as it is *now*, which may be later than its mark, or earlier where a commit is in the log and
//! not published yet. If it is another value than was marked, the row gets no entry, so that each entry has the value
//! that its mark is of. It is *pending* then: mostly a newer mark hides it, and where none does (the later commit was
//! lost with the power, or the marked one has been published since) a search looks at the row itself, as if it were
//! still in memory. The next merge that meets a pending row reads it again.
//!
//! A plugin that fails leaves a flat segment, which is searched entry by entry. It is not asked again for that
//! index until it is replaced, or the database is opened again.

use crate::column::{IndexedColumn, MARK_BYTES, mark};
use crate::definition::{IndexDefinition, IndexKind, STORAGE, parse_index_table_name};
use crate::entries::{Entries, EntrySource};
use crate::extension::{GONE, IndexExtension, Part};
use crate::plan::{Planned, Router, SLICE_ENTRIES, plan};
use crate::reader::IndexReader;
use crate::segment::{OpenSegment, RowCursor, SegmentBuilder, State};
use crate::vectors::{CodeKind, Codebook};
use parking_lot::{Mutex, RwLock};
use sochdb_kernel::limits::{RUN_BATCH_BYTES, RUN_BATCH_ROWS};
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionCapability, ExtensionInfo, RunCursor, SegmentRead, SegmentSink,
    StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, PluginFault, SegmentId, Slice, TableId,
    Transaction,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What codebooks begin their choices with.
const SEED: u64 = 0x50c4;

/// The engine, and the plugins that it asks.
#[derive(Default)]
pub struct IndexEngine {
    kernel: RwLock<Option<Kernel>>,
    plugins: RwLock<BTreeMap<String, Registered>>,
    registrations: AtomicU64,
    /// The segments of each index as they were last searched, so that what is in memory stays there.
    open: Mutex<BTreeMap<TableId, Vec<Arc<OpenSegment>>>>,
    /// What plugins failed to build: for whom, with which of the plugins of that name, and why.
    troubles: Mutex<BTreeMap<String, Trouble>>,
    checkpoint_wanted: AtomicBool,
    pub(crate) waiting: Mutex<BTreeMap<TableId, Arc<crate::waiting::Waiting>>>,
    pub(crate) filters: Mutex<Vec<Arc<crate::filter::Kept>>>,
}

#[derive(Clone)]
struct Registered {
    number: u64,
    plugin: Arc<dyn IndexExtension>,
}

struct Trouble {
    plugin: String,
    number: u64,
    why: String,
}

impl IndexEngine {
    /// An engine without plugins.
    pub fn new() -> Arc<IndexEngine> {
        Arc::default()
    }

    /// Tells it the database whose rows it indexes, once that is open. It keeps the database alive until
    /// [`detach`](Self::detach).
    pub fn attach(&self, kernel: &Kernel) {
        *self.kernel.write() = Some(kernel.clone());
    }

    /// Lets go of the database, of the plugins, and of what is in memory for them: each of those may hold on to
    /// this engine.
    pub fn detach(&self) {
        // What goes may ask the engine again, so no lock is held while it does.
        let kernel = self.kernel.write().take();
        let plugins = std::mem::take(&mut *self.plugins.write());
        let open = std::mem::take(&mut *self.open.lock());
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let filters = std::mem::take(&mut *self.filters.lock());
        drop((filters, waiting, open, plugins, kernel));
    }

    /// Adds a plugin; one of the same name is replaced.
    pub fn register(&self, plugin: Arc<dyn IndexExtension>) {
        let number = self.registrations.fetch_add(1, Ordering::Relaxed) + 1;
        self.plugins.write().insert(plugin.info().name, Registered { number, plugin });
    }

    /// Takes a plugin away; what it has built is searched without it.
    pub fn unregister(&self, name: &str) {
        self.plugins.write().remove(name);
    }

    /// The plugins' names.
    pub fn plugins(&self) -> Vec<String> {
        self.plugins.read().keys().cloned().collect()
    }

    /// The plugin called `name`, and which of those of the name it is.
    pub(crate) fn plugin(&self, name: &str) -> Option<(u64, Arc<dyn IndexExtension>)> {
        let found = self.plugins.read().get(name).cloned()?;
        Some((found.number, found.plugin))
    }

    /// The plugin called `name`.
    pub fn extension(&self, name: &str) -> Option<Arc<dyn IndexExtension>> {
        self.plugin(name).map(|(_, plugin)| plugin)
    }

    /// Checks that the plugins of `index` are there and take its settings.
    ///
    /// # Errors
    /// `Plugin` when one is missing, `Invalid` for a setting, which it names.
    pub fn check(&self, index: &IndexDefinition) -> KernelResult<()> {
        Router::of(index)?;
        let names: &[&str] = match index.using.as_str() {
            crate::definition::AUTO => &["hnsw", "vamana"],
            name => &[name],
        };
        names.iter().try_for_each(|name| {
            let missing = || {
                let text = "no index plugin of this name is loaded";
                KernelError::plugin(name, PluginFault::Missing, text)
            };
            self.plugin(name).ok_or_else(missing)?.1.check(index)
        })
    }

    /// Whether so many marks wait in memory that searches would be faster after a checkpoint. Answers once.
    pub fn checkpoint_wanted(&self) -> bool {
        self.checkpoint_wanted.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn want_checkpoint(&self) {
        self.checkpoint_wanted.store(true, Ordering::Relaxed);
    }

    /// Why no plugin builds for the index whose table is `table`, if one has failed.
    pub fn trouble(&self, table: &str) -> Option<String> {
        let troubles = self.troubles.lock();
        let trouble = troubles.get(table)?;
        let is_same = |(number, _)| number == trouble.number;
        self.plugin(&trouble.plugin).is_some_and(is_same).then(|| trouble.why.clone())
    }

    /// What is in memory of the segments of `table` stays there until others are searched.
    pub(crate) fn keep_open(&self, table: TableId, segments: &[Arc<OpenSegment>]) {
        let mut open = self.open.lock();
        let kept = open.entry(table).or_default();
        if kept.len() != segments.len() || kept.iter().zip(segments).any(|(a, b)| a.id() != b.id())
        {
            *kept = segments.to_vec();
        }
    }

    /// `segments`, opened, those that are open already among them.
    fn open_all(
        &self,
        table: TableId,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Vec<Arc<OpenSegment>>> {
        let kept = self.open.lock().get(&table).cloned().unwrap_or_default();
        let open = |segment: &Arc<dyn SegmentRead>| {
            let id = segment.id();
            match kept.iter().find(|kept| kept.id() == id) {
                Some(kept) => Ok(kept.clone()),
                None => OpenSegment::new(segment).map(Arc::new),
            }
        };
        segments.iter().map(open).collect()
    }

    /// A transaction that reads the rows as they are now.
    fn snapshot(&self) -> KernelResult<Transaction> {
        let kernel = self.kernel.read().clone();
        let closed = || KernelError::unavailable("index rows: the database is not open yet");
        kernel.ok_or_else(closed)?.begin_read()
    }
}

impl Extension for IndexEngine {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: STORAGE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Keeps the indexes of tables".to_owned(),
            author: "The SochDB authors".to_owned(),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.detach();
        Ok(())
    }
}

/// The rows' table as a flush reads it.
struct TableNow {
    snapshot: Transaction,
    table: String,
    column: IndexedColumn,
    kind: IndexKind,
}

impl TableNow {
    /// The table that `table` keeps an index of, if it is there.
    fn new(table: &TableContext, snapshot: Transaction) -> KernelResult<Option<TableNow>> {
        let found = index_now(table, &snapshot)?;
        Ok(found.map(|(index, column)| TableNow {
            snapshot,
            table: index.table,
            column,
            kind: index.kind,
        }))
    }

    /// The form of the value that the row of `key` has now, into `form`; whether it has one.
    fn value(&self, key: &[u8], form: &mut Vec<u8>) -> KernelResult<bool> {
        form.clear();
        let Some(row) = self.snapshot.get(&self.table, key)? else { return Ok(false) };
        self.column.form(&self.column.value(key, &row)?, form)
    }
}

impl StorageExtension for IndexEngine {
    fn flush(
        &self,
        table: &TableContext,
        _present: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        // Without the rows' table this one will go as well.
        let now = TableNow::new(table, self.snapshot()?)?;
        let kind = now.as_ref().map_or(IndexKind::Ordered, |now| now.kind);
        let (mut ids, mut flat) = (Vec::new(), Flat::new(&*sink, kind)?);
        let mut form = Vec::new();
        loop {
            let batch = run.next_batch(RUN_BATCH_ROWS, RUN_BATCH_BYTES)?;
            if batch.is_empty() {
                break;
            }
            for row in batch {
                let Some(marked) = row.value else {
                    flat.builder.other(&row.key, None);
                    continue;
                };
                let marked = marked_of(&marked)?;
                let has = match &now {
                    Some(now) => now.value(&row.key, &mut form)?,
                    None => false,
                };
                if has && mark(Some(&form)) == marked {
                    flat.entry(&row.key, marked, &form)?;
                } else {
                    flat.builder.other(&row.key, Some(marked));
                }
                if SLICE_ENTRIES <= u64::from(flat.builder.entries()) {
                    ids.push(flat.end()?);
                    flat = Flat::new(&*sink, kind)?;
                }
            }
        }
        ids.push(flat.end()?);
        Ok(ids)
    }

    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let open = self.open_all(table.id, segments)?;
        let planned = |one: &Arc<OpenSegment>| {
            let entries = u64::from(one.entry_count());
            let rows = entries + u64::from(one.other_count());
            Ok(Planned { entries, rows, graph: one.plugin()?.is_some() })
        };
        let planned = open.iter().map(planned).collect::<KernelResult<Vec<_>>>()?;
        let Some(kind) = kind_of(&open) else { return Ok(None) };
        let index = IndexDefinition::kept(&table.name, &table.options, kind);
        let router = Router::of(&index)?;
        let can_build = |rows: u64| {
            let name = router.plugin(&index, usize::try_from(rows).unwrap_or(usize::MAX));
            name.is_some_and(|name| self.can_build(&table.name, name))
        };
        Ok(plan(&planned, router.flat_max as u64, &can_build))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let open = self.open_all(table.id, segments)?;
        let Some(kind) = kind_of(&open) else { return Ok(Vec::new()) };
        self.merge_all(table, &open, kind, drop_deleted, &*sink).map(|id| vec![id])
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        if parse_index_table_name(&table.name).is_none() {
            let name = &table.name;
            return Err(KernelError::Invalid(format!(
                "'{STORAGE}' keeps indexes, not tables like '{name}'"
            )));
        }
        Ok(Arc::new(IndexReader::new(self.open_all(table.id, segments)?)))
    }
}

/// What the segments of one index hold. One that was written when the rows' table was gone has no entries.
fn kind_of(segments: &[Arc<OpenSegment>]) -> Option<IndexKind> {
    let with_entries = segments.iter().rev().find(|segment| 0 < segment.entry_count());
    with_entries.or(segments.last()).map(|segment| segment.kind())
}

/// The index that `table` keeps, and its column, as they are in `snapshot`; `None` when the rows' table is gone.
fn index_now(
    table: &TableContext,
    snapshot: &Transaction,
) -> KernelResult<Option<(IndexDefinition, IndexedColumn)>> {
    let Some((name, of)) = parse_index_table_name(&table.name) else {
        return Err(KernelError::Invalid(format!("'{}' is no index's table", table.name)));
    };
    let info = match snapshot.table(of) {
        Err(KernelError::NotFound { .. }) => return Ok(None),
        info => info?,
    };
    let schema = info.options.schema.as_ref();
    let column = table.options.get("column").map_or("", String::as_str);
    let index = IndexDefinition::new(of, name, column, schema, &table.options)?;
    let Some(schema) = schema else { return Ok(None) };
    let column = IndexedColumn::new(&index, schema)?;
    Ok(Some((index, column)))
}

/// The mark that a row of an index's table holds.
pub(crate) fn marked_of(value: &Slice) -> KernelResult<u64> {
    let bytes: [u8; MARK_BYTES] = value[..].try_into().map_err(|_| {
        KernelError::corrupt(
            "an index's table",
            0,
            format!("a mark of {MARK_BYTES} bytes"),
            format!("{} bytes", value.len()),
        )
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// A flat segment being written.
struct Flat {
    builder: SegmentBuilder,
    kind: IndexKind,
    codebook: Option<Codebook>,
    codes: Vec<u8>,
    vector: Vec<f32>,
    stored: Vec<u8>,
}

impl Flat {
    fn new(sink: &dyn SegmentSink, kind: IndexKind) -> KernelResult<Flat> {
        let kind = match kind {
            IndexKind::Vector { dim, metric, element, .. } => {
                IndexKind::Vector { dim, metric, element, codes: CodeKind::Sq8 }
            }
            IndexKind::Ordered => kind,
        };
        let codebook = match kind {
            IndexKind::Vector { dim, metric, codes, .. } => {
                let none = &mut |_: usize, _: &mut [f32]| Ok(());
                Some(Codebook::train(codes, metric, dim as usize, 0, none, SEED)?)
            }
            IndexKind::Ordered => None,
        };
        let builder = SegmentBuilder::new(sink, kind)?;
        let (codes, vector, stored) = Default::default();
        Ok(Flat { builder, kind, codebook, codes, vector, stored })
    }

    /// Adds the row whose value has this form.
    fn entry(&mut self, key: &[u8], mark: u64, form: &[u8]) -> KernelResult<()> {
        let (IndexKind::Vector { element, .. }, Some(codebook)) = (self.kind, &self.codebook)
        else {
            return self.builder.entry(key, mark, form);
        };
        self.vector.clear();
        let (values, _) = form.as_chunks::<4>();
        self.vector.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        codebook.encode(&self.vector, &mut self.codes);
        self.stored.clear();
        element.encode(&self.vector, &mut self.stored);
        self.builder.entry(key, mark, &self.stored)
    }

    fn end(mut self) -> KernelResult<SegmentId> {
        let codebook = self.codebook.map(|codebook| codebook.to_bytes()).unwrap_or_default();
        self.builder.end_rows(&codebook, &self.codes)?;
        Ok(self.builder.end(None)?.0)
    }
}

impl IndexEngine {
    /// Whether plugin `name` is there, and has not failed for the index's table.
    fn can_build(&self, table: &str, name: &str) -> bool {
        let Some((number, _)) = self.plugin(name) else { return false };
        let troubles = self.troubles.lock();
        !troubles.get(table).is_some_and(|failed| failed.plugin == name && failed.number == number)
    }

    /// Writes the newest rows of `inputs` as one segment.
    fn merge_all(
        &self,
        table: &TableContext,
        inputs: &[Arc<OpenSegment>],
        kind: IndexKind,
        drop_deleted: bool,
        sink: &dyn SegmentSink,
    ) -> KernelResult<SegmentId> {
        // Pending rows may have their value by now.
        let now = match self.snapshot() {
            Ok(snapshot) => TableNow::new(table, snapshot)?,
            Err(_) => None,
        };
        let mut kind = now.as_ref().map_or(kind, |now| now.kind);
        // First who is who: numbers are given out in order of keys.
        let (mut origins, mut fresh, mut form) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = RowCursor::new(inputs, &KeyRange::all(), false)?;
        while let Some((key, row)) = rows.next()? {
            match row.state {
                State::Entry(number) => origins.push(Origin::Entry(row.segment, number)),
                State::Empty(number) => {
                    let marked = inputs[row.segment].other_mark(number)?;
                    if let Some(now) = &now
                        && marked != 0
                        && now.value(&key, &mut form)?
                        && mark(Some(&form)) == marked
                    {
                        origins.push(Origin::Fresh(fresh.len()));
                        fresh.push((key, stored(kind, &form)));
                    }
                }
                State::Deleted => {}
            }
        }
        let index = IndexDefinition::kept(&table.name, &table.options, kind);
        let router = Router::of(&index)?;
        if let IndexKind::Vector { codes, .. } = &mut kind {
            *codes = router.codes(&index, origins.len())?;
        }
        let merging = Arc::new(Merging::new(inputs, origins, fresh, kind)?);
        let codes = merging.codes()?;
        let mut builder = SegmentBuilder::new(sink, kind)?;
        let mut fresh = merging.fresh.iter().peekable();
        let mut rows = RowCursor::new(inputs, &KeyRange::all(), false)?;
        while let Some((key, row)) = rows.next()? {
            let segment = &inputs[row.segment];
            match row.state {
                State::Entry(number) if kind == IndexKind::Ordered => {
                    builder.entry(&key, segment.mark(number)?, &segment.value(number)?)?;
                }
                State::Entry(number) => {
                    let stored = segment.stored_vector(number)?;
                    builder.entry(&key, segment.mark(number)?, &stored)?;
                }
                State::Empty(number) => {
                    let mark = segment.other_mark(number)?;
                    match fresh.next_if(|(fresh, _)| *fresh == key) {
                        Some((_, stored)) => builder.entry(&key, mark, stored)?,
                        None => builder.other(&key, Some(mark)),
                    }
                }
                State::Deleted if drop_deleted => {}
                State::Deleted => builder.other(&key, None),
            }
        }
        let codebook = codes.as_ref().map(|codes| codes.book.to_bytes()).unwrap_or_default();
        builder.end_rows(&codebook, codes.as_ref().map_or(&[], |codes| &codes.bytes))?;
        let name = router.plugin(&index, merging.origins.len());
        let name = name.filter(|name| self.can_build(&table.name, name));
        let Some((name, (number, plugin))) = name.and_then(|name| Some((name, self.plugin(name)?)))
        else {
            return Ok(builder.end(None)?.0);
        };
        let entries = merging.entries(codes)?;
        let build =
            |sink: Arc<dyn SegmentSink>| plugin.build(&index, &entries, merging.parts()?, sink);
        let (id, failed) = builder.end(Some((name, &build)))?;
        if let Some(error) = failed {
            tracing::error!(
                table = index.table, index = index.name, plugin = name, %error,
                "the plugin failed to build; its index is searched entry by entry"
            );
            let trouble = Trouble { plugin: name.to_owned(), number, why: error.to_string() };
            self.troubles.lock().insert(table.name.clone(), trouble);
        }
        Ok(id)
    }
}

/// Where an entry of a merge comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// One of the segments, and its number there.
    Entry(usize, u32),
    /// It was pending, and has been read.
    Fresh(usize),
}

/// Segments that become one.
struct Merging {
    inputs: Vec<Arc<OpenSegment>>,
    /// For each new entry.
    origins: Vec<Origin>,
    /// Keys and values, as they are stored, of those that were pending.
    fresh: Vec<(Vec<u8>, Vec<u8>)>,
    kind: IndexKind,
}

/// A value in the form that a segment stores.
fn stored(kind: IndexKind, form: &[u8]) -> Vec<u8> {
    let IndexKind::Vector { element, .. } = kind else { return form.to_vec() };
    let (values, _) = form.as_chunks::<4>();
    let vector: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut stored = Vec::new();
    element.encode(&vector, &mut stored);
    stored
}

/// The codes of all entries, one behind the other.
struct Codes {
    book: Codebook,
    bytes: Vec<u8>,
}

impl Merging {
    fn new(
        inputs: &[Arc<OpenSegment>],
        origins: Vec<Origin>,
        fresh: Vec<(Vec<u8>, Vec<u8>)>,
        kind: IndexKind,
    ) -> KernelResult<Merging> {
        for input in inputs {
            let same = match (input.kind(), kind) {
                (IndexKind::Ordered, IndexKind::Ordered) => true,
                (
                    IndexKind::Vector { dim, metric, element, .. },
                    IndexKind::Vector { dim: d, metric: m, element: e, .. },
                ) => (dim, metric, element) == (d, m, e),
                // It has no entries: its rows' table was gone when it was written.
                _ => input.entry_count() == 0,
            };
            if !same {
                return Err(KernelError::corrupt(
                    "a segment of an index",
                    0,
                    format!("{kind:?}"),
                    format!("{:?}", input.kind()),
                ));
            }
        }
        Ok(Merging { inputs: inputs.to_vec(), origins, fresh, kind })
    }

    /// The vector of new entry `number`, into `vector`.
    fn vector(&self, number: usize, vector: &mut [f32]) -> KernelResult<()> {
        let IndexKind::Vector { element, .. } = self.kind else { return Ok(()) };
        match self.origins[number] {
            Origin::Entry(segment, old) => {
                element.decode(&self.inputs[segment].stored_vector(old)?, vector);
            }
            Origin::Fresh(fresh) => element.decode(&self.fresh[fresh].1, vector),
        }
        Ok(())
    }

    fn codes(&self) -> KernelResult<Option<Codes>> {
        let IndexKind::Vector { codes, .. } = self.kind else { return Ok(None) };
        self.codes_of(codes).map(Some)
    }

    fn codes_of(&self, codes: CodeKind) -> KernelResult<Codes> {
        let IndexKind::Vector { dim, metric, .. } = self.kind else {
            return Err(KernelError::invalid("values that have an order have no codes"));
        };
        let dim = dim as usize;
        let count = self.origins.len();
        let mut all = |number: usize, vector: &mut [f32]| self.vector(number, vector);
        let book = Codebook::train(codes, metric, dim, count, &mut all, SEED)?;
        let mut bytes = Vec::with_capacity(count * book.row_bytes());
        let mut vector = vec![0.0; dim];
        for number in 0..count {
            self.vector(number, &mut vector)?;
            book.encode(&vector, &mut bytes);
        }
        Ok(Codes { book, bytes })
    }

    /// The entries as the plugin sees them while it builds: by codes of a byte for each dimension, which are
    /// near enough to build by, however short the codes are that searches will compare.
    fn entries(self: &Arc<Self>, codes: Option<Codes>) -> KernelResult<Arc<Entries>> {
        let count = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let IndexKind::Vector { dim, metric, codes: kind, .. } = self.kind else {
            let source = Building { merging: self.clone(), codes: Vec::new(), row: 0 };
            return Ok(Arc::new(Entries::ordered(count, Box::new(source))));
        };
        let codes = match codes {
            Some(codes) if kind == CodeKind::Sq8 => codes,
            _ => self.codes_of(CodeKind::Sq8)?,
        };
        let row = codes.book.row_bytes();
        let source = Building { merging: self.clone(), codes: codes.bytes, row };
        Ok(Arc::new(Entries::of_vectors(count, metric, dim, codes.book, Box::new(source))))
    }

    /// What plugins have built of the inputs, the largest first.
    fn parts(&self) -> KernelResult<Vec<Part>> {
        let mut numbers: Vec<Vec<u32>> =
            self.inputs.iter().map(|input| vec![GONE; input.entry_count() as usize]).collect();
        for (new, origin) in self.origins.iter().enumerate() {
            if let Origin::Entry(segment, old) = *origin {
                numbers[segment][old as usize] = u32::try_from(new).unwrap_or(GONE);
            }
        }
        let mut parts = Vec::new();
        for (input, numbers) in self.inputs.iter().zip(numbers) {
            if input.plugin()?.is_some() {
                parts.push(Part { segment: input.graph(), numbers });
            }
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.numbers.len()));
        Ok(parts)
    }
}

/// Entries while they are being built of: their codes in memory, their vectors where they come from.
struct Building {
    merging: Arc<Merging>,
    codes: Vec<u8>,
    row: usize,
}

impl EntrySource for Building {
    fn code(&self, number: u32) -> KernelResult<&[u8]> {
        Ok(&self.codes[number as usize * self.row..][..self.row])
    }

    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        let IndexKind::Vector { dim, .. } = self.merging.kind else { return Ok(()) };
        let start = out.len();
        out.resize(start + dim as usize, 0.0);
        self.merging.vector(number as usize, &mut out[start..])
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        Ok(match self.merging.origins[number as usize] {
            Origin::Entry(segment, old) => {
                self.merging.inputs[segment].value(old)?.into_owned().into()
            }
            Origin::Fresh(fresh) => self.merging.fresh[fresh].1.clone().into(),
        })
    }
}
