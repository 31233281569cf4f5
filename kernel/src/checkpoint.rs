//! Sorted runs out, segments in, one page flip; then the log may shrink.
//!
//! ```text
//!   freeze    under the commit lock: active memtables become frozen ones, empty ones take their place
//!   sync      the log up to the freeze: nothing becomes permanent that was not durable in order
//!   fold      each table's frozen run into its tree, or through its storage plugin into segments;
//!             what a plugin wrote is read back and compared with the run, row by row
//!   catalog   the new roots and segment lists, into the catalog's tree
//!   flip      sync pages, write the other meta page, sync: from here on this is the database
//!   install   a new version for readers; old pages and segments go when their last reader does
//!   release   log segments below the new replay position
//! ```
//!
//! Commits go on all the while; they wait only for the freeze and the install, a few microseconds each.
//!
//! Whatever fails before the flip leaves the old world: pages were written to free space only, and the
//! frozen memtables are still there for the next attempt. A plugin's failure holds back its own table:
//! the others flip, and the log is kept from that table's oldest unfolded row on. A failed sync, or a
//! failed write of the meta page, poisons the database: nobody knows which world is on disk.

use crate::catalog::{CATALOG, Place, StoredBase, TableInfo, base_key};
use crate::engine::{CheckpointState, Inner};
use crate::error::{KernelError, KernelResult, PluginFault};
use crate::kernel_api::{KeyRange, SegmentId, Slice, TableId, Timestamp, TransactionId};
use crate::limits::CONFLICT_WINDOW_BYTES_MAX;
use crate::mvcc::memtable::Memtable;
use crate::mvcc::merge::{Merged, Source};
use crate::mvcc::version::{Base, SegmentBase, TableVersion, Version};
use crate::page::space::PageWriter;
use crate::page::{DATA_FILE, PageRef, Pager};
use crate::plugin::{RunCursor, RunRow, SegmentRead, SegmentSink, SegmentWrite, StorageExtension};
use crate::segment::{Segment, SegmentWriter, squeeze};
use crate::tree::node::{self, Stored};
use crate::tree::{TreeRoot, write};
use crate::wal::WalRecord;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a checkpoint did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Tables whose rows were folded in.
    pub tables: u64,
    /// Rows folded in: the newest version of each changed key, deletions included.
    pub rows: u64,
    /// Pages of the data file written.
    pub pages_written: u64,
    /// Segments that storage plugins wrote.
    pub segments_written: u64,
    /// Bytes of log files given up or made ready for reuse.
    pub log_bytes_released: u64,
    /// How long commits were kept waiting, in microseconds: the freeze and the install together.
    pub pause_us: u64,
    /// How long all of it took, in microseconds.
    pub micros: u64,
    /// Tables whose storage failed, by name, and why. Their rows stay in log and memory.
    pub failed: Vec<(String, String)>,
}

/// A table's new base, before it is installed.
struct Folded {
    base: Base,
    memtables: Vec<Arc<Memtable>>,
    rows: u64,
}

/// Everything between freeze and flip.
struct Work<'a> {
    inner: &'a Inner,
    version: &'a Version,
    writer: PageWriter<'a>,
    folded: BTreeMap<TableId, Folded>,
    failed: BTreeMap<TableId, Arc<str>>,
    /// Segments that this checkpoint wrote, and those that its flip makes unreachable.
    new_segments: Vec<SegmentId>,
    old_segments: Vec<SegmentId>,
    rows: u64,
}

impl Inner {
    /// Runs one checkpoint; the module's table tells the steps. While checkpoints fail, memory is what
    /// fills: commits look at `stalled` and are refused past twice the bound.
    pub(crate) fn checkpoint(&self) -> KernelResult<CheckpointReport> {
        let result = self.run_checkpoint();
        *self.stalled.write() = result.as_ref().err().map(|error| error.to_string().into());
        result
    }

    fn run_checkpoint(&self) -> KernelResult<CheckpointReport> {
        let mut state = self.checkpoint.lock();
        let started = self.env.clock.monotonic_us();
        let (version, freeze, lsn) = self.freeze();
        let frozen_at = self.env.clock.monotonic_us();
        self.wal.wait(lsn, true)?;
        let oldest = state.pins.oldest().unwrap_or(state.meta.sequence);
        let mut space = state.space.clone();
        space.reclaim(oldest);
        let pager = self.access.pager.clone();
        let mut work = Work {
            inner: self,
            version: &version,
            writer: PageWriter::new(pager.file(), &pager.cache, &mut space),
            folded: BTreeMap::new(),
            failed: BTreeMap::new(),
            new_segments: Vec::new(),
            old_segments: Vec::new(),
            rows: 0,
        };
        let built = work.fold_tables().and_then(|()| work.build_catalog(&state, freeze, lsn));
        let Work { writer, folded, failed, new_segments, old_segments, rows, .. } = work;
        let pages_written = writer.pages_written;
        let (meta, bases, freed) = match built {
            Ok(built) => built,
            Err(error) => {
                self.remove_segments(&new_segments);
                return Err(error);
            }
        };
        self.flip(&meta)?;
        space.release_later(meta.sequence, freed);
        let log_from = meta.lsn;
        state.pins.oldest();
        let pin = state.pins.pin(meta.sequence);
        let codecs_stored = self.codecs.rows().len();
        *state = CheckpointState { meta, space, bases, codecs_stored, pins: std::mem::take(&mut state.pins) };
        let tables = folded.len() as u64;
        let install_at = self.env.clock.monotonic_us();
        self.install(folded, &failed, freeze, pin, log_from)?;
        let installed_at = self.env.clock.monotonic_us();
        self.remove_segments(&old_segments);
        let log_bytes_released = self.wal.release(log_from)?;
        self.counts.checkpoints.add(1);
        self.counts.pages_written.add(pages_written);
        Ok(CheckpointReport {
            tables,
            rows,
            pages_written,
            segments_written: new_segments.len() as u64,
            log_bytes_released,
            pause_us: (frozen_at - started) + (installed_at - install_at),
            micros: self.env.clock.monotonic_us() - started,
            failed: failed.iter().map(|(id, why)| (name_of(&version, *id), why.to_string())).collect(),
        })
    }

    /// Makes active memtables frozen ones. Returns the version to fold, the newest timestamp in it, and
    /// the log position behind it.
    fn freeze(&self) -> (Arc<Version>, Timestamp, u64) {
        let commit = self.commit.lock();
        let mut current = self.version.write();
        let mut next = (**current).clone();
        for table in next.tables.values_mut().filter(|table| !table.active.is_empty()) {
            let mut frozen = vec![table.active.clone()];
            frozen.extend(table.frozen.iter().cloned());
            let active = Arc::new(Memtable::new(self.memtable_bytes.clone()));
            *table = Arc::new(TableVersion { active, frozen, ..(**table).clone() });
        }
        *current = Arc::new(next);
        self.active_bytes.store(0, Ordering::Relaxed);
        (current.clone(), commit.last, self.wal.ends().0)
    }

    /// The page flip: after it, `meta` is the database.
    fn flip(&self, meta: &crate::page::meta::Meta) -> KernelResult<()> {
        let file = self.access.pager.file();
        let sync = file.sync().and_then(|()| meta.write(file)).and_then(|()| file.sync());
        sync.map_err(|error| {
            let what = format!("sync a checkpoint to {DATA_FILE}");
            self.wal.poison(&format!("{what}: {error}"));
            KernelError::io(what, error)
        })
    }

    /// Gives readers the new bases.
    fn install(
        &self,
        mut folded: BTreeMap<TableId, Folded>,
        failed: &BTreeMap<TableId, Arc<str>>,
        freeze: Timestamp,
        pin: Arc<crate::page::space::RootPin>,
        log_from: u64,
    ) -> KernelResult<()> {
        let mut commit = self.commit.lock();
        let writers = self.writers.lock();
        let oldest_writer = writers.keys().next().copied();
        let mut current = self.version.write();
        let mut next = (**current).clone();
        for (id, table) in &mut next.tables {
            let mut new = (**table).clone();
            new.recent.retain(|memtable| oldest_writer.is_some_and(|at| at < memtable.newest()));
            if let Some(Folded { base, memtables, .. }) = folded.remove(id) {
                new.frozen.retain(|memtable| !memtables.iter().any(|old| Arc::ptr_eq(old, memtable)));
                let needed = |m: &Arc<Memtable>| oldest_writer.is_some_and(|at| at < m.newest());
                let mut recent: Vec<_> = memtables.into_iter().filter(needed).collect();
                recent.append(&mut new.recent);
                (new.base, new.recent, new.flushed, new.stuck) = (base, recent, freeze, None);
            }
            new.stuck = failed.get(id).cloned().or(new.stuck);
            // Past its bound the window shrinks: transactions older than what is dropped will conflict.
            let mut bytes: usize = new.recent.iter().map(|memtable| memtable.bytes()).sum();
            while CONFLICT_WINDOW_BYTES_MAX < bytes {
                let dropped = new.recent.pop().expect("it has bytes");
                bytes -= dropped.bytes();
                commit.window_start = commit.window_start.max(dropped.newest());
            }
            *table = Arc::new(new);
        }
        next.pin = pin;
        *current = Arc::new(next);
        drop((current, writers));
        // For readers of the log; recovery itself believes the meta page.
        let txn: TransactionId = self.next_transaction_id();
        let mut payload = txn.0.to_le_bytes().to_vec();
        WalRecord::Checkpoint { lsn: log_from, timestamp: freeze }.encode(&mut payload);
        match self.wal.append(&[payload]) {
            // The flip is done; without room for its record the log is only less talkative.
            Err(error @ KernelError::Unavailable { .. }) => {
                tracing::warn!(%error, "no room in the log for a CHECKPOINT record");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    fn remove_segments(&self, ids: &[SegmentId]) {
        for id in ids {
            // Readers that still have it open keep its bytes. A file that stays is an orphan, and the
            // next open removes it.
            if let Err(error) = self.env.vfs.remove(&crate::segment::segment_name(*id)) {
                tracing::warn!(segment = id.0, %error, "segment not removed");
            }
        }
    }
}

fn name_of(version: &Version, id: TableId) -> String {
    let info = version.names.values().find(|info| info.id == id);
    info.map_or_else(|| id.to_string(), |info| info.name.clone())
}

type Built = (crate::page::meta::Meta, BTreeMap<TableId, StoredBase>, Vec<(u64, u64)>);

impl Work<'_> {
    /// Folds every table that has frozen rows, except the catalog.
    fn fold_tables(&mut self) -> KernelResult<()> {
        let version = self.version;
        for info in version.names.values() {
            let table = &version.tables[&info.id];
            if table.frozen.is_empty() {
                continue;
            }
            let result = match &table.base {
                Base::Tree(root) => self.fold_tree(info, table, *root)?,
                Base::Segments(base) => match self.fold_segments(info, table, base) {
                    Ok(base) => base,
                    Err(error) => {
                        tracing::error!(table = info.name, %error, "storage failed, rows stay in the log");
                        self.failed.insert(info.id, error.to_string().into());
                        continue;
                    }
                },
            };
            self.rows += result.rows;
            self.folded.insert(info.id, result);
        }
        Ok(())
    }

    fn fold_tree(&mut self, info: &TableInfo, table: &TableVersion, root: TreeRoot) -> KernelResult<Folded> {
        let inner = self.inner;
        let codec = match &info.options.codec {
            Some(name) => Some((inner.codecs.number(name)?, inner.plugins.compression(name))),
            None => None,
        };
        let mut squeeze_value = |value: &Slice| {
            let counts = &inner.squeezed;
            let stored = match &codec {
                Some((number, Ok(codec))) => squeeze(&**codec, value, counts).map(|bytes| (bytes, *number)),
                Some((_, Err(_))) => {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    None
                }
                None => None,
            };
            let len = stored.as_ref().map_or(value.len(), |(bytes, _)| bytes.len());
            counts.raw.fetch_add(value.len() as u64, Ordering::Relaxed);
            counts.stored.fetch_add(len as u64, Ordering::Relaxed);
            stored.map_or((None, 0), |(bytes, number)| (Some(bytes), number))
        };
        let mut rows = 0;
        let mut run = table.frozen_run();
        let ops = std::iter::from_fn(|| {
            let next = run.next().transpose();
            rows += u64::from(next.is_some());
            next
        });
        let pager = &inner.access.pager;
        let root = write::apply(pager, &mut self.writer, root, ops, &mut squeeze_value)?;
        Ok(Folded { base: Base::Tree(root), memtables: table.frozen.clone(), rows })
    }

    fn fold_segments(
        &mut self,
        info: &TableInfo,
        table: &TableVersion,
        base: &SegmentBase,
    ) -> KernelResult<Folded> {
        let storage = self.inner.plugins.storage(info.options.storage.as_deref().unwrap_or_default())?;
        let created = self.new_segments.len();
        let result = self.flush_and_merge(&*storage, info, table, base);
        if result.is_err() {
            let failed = self.new_segments.split_off(created);
            self.inner.remove_segments(&failed);
        }
        result
    }

    fn flush_and_merge(
        &mut self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        table: &TableVersion,
        base: &SegmentBase,
    ) -> KernelResult<Folded> {
        let mut run = Counted::new(table.frozen_run());
        let new = self.write_segments(storage, info, &mut run)?;
        self.verify(storage, info, &new, table.frozen_run())?;
        let (rows, puts) = (run.rows, run.puts);
        let mut segments = base.segments.clone();
        segments.extend(new);
        let open = SegmentBase::new(segments, base.rows + puts);
        let created = self.new_segments.len();
        let merged = self.merge(storage, info, &open).unwrap_or_else(|error| {
            // The flush itself is good; the next checkpoint plans again.
            tracing::warn!(table = info.name, %error, "segments not merged");
            let failed = self.new_segments.split_off(created);
            self.inner.remove_segments(&failed);
            None
        });
        let base = Base::Segments(Arc::new(merged.unwrap_or(open)));
        Ok(Folded { base, memtables: table.frozen.clone(), rows })
    }

    /// Merges the segments that the plugin wants merged, if any.
    fn merge(
        &mut self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        open: &SegmentBase,
    ) -> KernelResult<Option<SegmentBase>> {
        let Some(range) = storage.plan_compaction(&info.context(), &open.handles())? else {
            return Ok(None);
        };
        let mut segments = open.segments.clone();
        if range.is_empty() || segments.len() < range.end {
            let text = format!("a plan to merge {range:?} of {} segments", segments.len());
            return Err(KernelError::plugin(&storage.info().name, PluginFault::Lied, text));
        }
        let old = segments[range.clone()].to_vec();
        // Nothing older is left to hide once the oldest segment takes part.
        let bottom = range.start == 0;
        let mut run = Counted::new(self.merge_run(storage, info, &old, bottom)?);
        let merged = self.write_segments(storage, info, &mut run)?;
        self.verify(storage, info, &merged, self.merge_run(storage, info, &old, bottom)?)?;
        let rows = if bottom && range.end == segments.len() { run.puts } else { open.rows };
        self.old_segments.extend(old.iter().map(|segment| segment.id()));
        segments.splice(range, merged);
        Ok(Some(SegmentBase::new(segments, rows)))
    }

    /// The rows of `segments` as one run, without tombstones if `bottom`.
    fn merge_run(
        &self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        segments: &[Arc<Segment>],
        bottom: bool,
    ) -> KernelResult<Merged> {
        let base = SegmentBase::new(segments.to_vec(), 0);
        let reader = storage.open(&info.context(), &base.handles())?;
        let cursor = reader.scan(&KeyRange::all(), false)?;
        let source = Source::Plugin { cursor, batch: VecDeque::new(), done: false };
        let mut merged = Merged::new(vec![source], false);
        if !bottom {
            return Ok(merged);
        }
        let live = Box::new(move || loop {
            match merged.next()? {
                Some((key, Some(value))) => return Ok(Some((key, value))),
                Some((_, None)) => {}
                None => return Ok(None),
            }
        });
        Ok(Merged::new(vec![Source::Tree(live)], false))
    }

    /// Has the plugin write `run`, and opens what it wrote.
    fn write_segments(
        &mut self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        run: &mut Counted,
    ) -> KernelResult<Vec<Arc<Segment>>> {
        let mut sink = Sink { inner: self.inner, info, created: Vec::new() };
        let result = storage.flush(&info.context(), run, &mut sink);
        let created = sink.created;
        let sealed = result.as_ref().cloned().unwrap_or_default();
        // Whatever was sealed and not named in the answer is not wanted.
        let names = self.inner.env.vfs.list(crate::segment::SEGMENT_DIR).unwrap_or_default();
        let exists = |id: &SegmentId| names.iter().any(|name| crate::segment::segment_name(*id).ends_with(name.as_str()));
        let unwanted: Vec<_> = created.iter().filter(|id| !sealed.contains(id) && exists(id)).copied().collect();
        self.inner.remove_segments(&unwanted);
        result?;
        let plugin = storage.info().name;
        if let Some(foreign) = sealed.iter().find(|id| !created.contains(id)) {
            let text = format!("it named segment {foreign}, which it did not write");
            return Err(KernelError::plugin(&plugin, PluginFault::Lied, text));
        }
        self.new_segments.extend(&sealed);
        sealed.iter().map(|&id| self.inner.open_segment(id).map(Arc::new)).collect()
    }

    /// Reads `segments` back through the plugin and compares them with `run`, row by row.
    fn verify(
        &self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        segments: &[Arc<Segment>],
        mut run: Merged,
    ) -> KernelResult<()> {
        let mut back = self.merge_run(storage, info, segments, false)?;
        loop {
            let (wrote, read) = (run.next()?, back.next()?);
            if wrote != read {
                let show = |row: &Option<(Vec<u8>, Option<Slice>)>| match row {
                    None => "no row".to_owned(),
                    Some((key, value)) => {
                        let bytes = value.as_ref().map_or("deleted".to_owned(), |v| format!("{} bytes", v.len()));
                        format!("{} ({bytes})", key.escape_ascii())
                    }
                };
                let text = format!(
                    "after a flush of table '{}' it gave back {} where {} was written",
                    info.name, show(&read), show(&wrote)
                );
                return Err(KernelError::plugin(&storage.info().name, PluginFault::Lied, text));
            }
            if wrote.is_none() {
                return Ok(());
            }
        }
    }

    /// The catalog's new tree, the free list, and the meta record that ties them together.
    fn build_catalog(&mut self, state: &CheckpointState, freeze: Timestamp, lsn: u64) -> KernelResult<Built> {
        let inner = self.inner;
        let version = self.version;
        let catalog = &version.tables[&CATALOG];
        let mut bases = state.bases.clone();
        let mut ops: BTreeMap<Vec<u8>, Option<Slice>> = BTreeMap::new();
        let mut run = catalog.frozen_run();
        while let Some((key, row)) = run.next()? {
            self.rows += 1;
            ops.insert(key, row);
        }
        for (id, base) in &state.bases {
            if !version.tables.contains_key(id) {
                self.free_base(base)?;
                bases.remove(id);
                ops.insert(base_key(*id), None);
            }
        }
        for (id, folded) in &self.folded {
            let place = match &folded.base {
                Base::Tree(root) => Place::Tree(*root),
                Base::Segments(base) => Place::Segments { rows: base.rows, ids: base.ids() },
            };
            let stored = StoredBase { flushed: freeze, place };
            ops.insert(base_key(*id), Some(stored.encode().into()));
            bases.insert(*id, stored);
        }
        let codecs = inner.codecs.rows();
        for (key, name) in codecs.into_iter().skip(state.codecs_stored) {
            ops.insert(key, Some(name.into_bytes().into()));
        }
        let plain = &mut |_: &Slice| (None, 0);
        let ops = ops.into_iter().map(Ok);
        let root = write::apply(&inner.access.pager, &mut self.writer, state.meta.catalog, ops, plain)?;
        let memtables = catalog.frozen.clone();
        self.folded.insert(CATALOG, Folded { base: Base::Tree(root), memtables, rows: 0 });
        if let Some(old) = state.meta.free_list {
            self.writer.free(old.page, old.pages());
        }
        // The list describes the space after its own pages were taken, so their number is fixed first:
        // taking them changes one extent, hence the slack. What is left over is zero.
        let mut freed = std::mem::take(&mut self.writer.freed);
        freed.sort_unstable();
        let bytes_max = self.writer.space.encode(&freed).len() + 64;
        let probe = self.writer.write_run(&vec![0; bytes_max], bytes_max, 0)?;
        let mut list = self.writer.space.encode(&freed);
        assert!(list.len() <= bytes_max, "{} bytes of free list in {bytes_max}", list.len());
        list.resize(bytes_max, 0);
        self.writer.flush()?;
        let write = inner.access.pager.file().write_at(crate::page::offset(probe.page), &list);
        write.map_err(|e| KernelError::io(format!("write the free list of {DATA_FILE}"), e))?;
        let free_list = crate::page::RunRef { crc: crate::codec::crc(&list), ..probe };
        let held = version.tables.iter().filter(|(id, _)| self.failed.contains_key(id));
        let held = held.flat_map(|(_, table)| table.frozen.iter().map(|m| m.first_lsn())).min();
        let meta = crate::page::meta::Meta {
            sequence: state.meta.sequence + 1,
            pages: self.writer.space.pages,
            lsn: held.map_or(lsn, |held| held.min(lsn)),
            timestamp: freeze.0,
            next_txn: inner.next_txn.load(Ordering::Relaxed),
            next_table: inner.next_table.load(Ordering::Relaxed),
            next_segment: inner.next_segment.load(Ordering::Relaxed),
            catalog: root,
            free_list: Some(free_list),
            database: state.meta.database,
        };
        Ok((meta, bases, freed))
    }

    /// A dropped table's pages and segments are free once the flip is done.
    fn free_base(&mut self, base: &StoredBase) -> KernelResult<()> {
        match &base.place {
            Place::Segments { ids, .. } => self.old_segments.extend(ids),
            Place::Tree(root) if root.height == 0 => {}
            Place::Tree(root) => {
                let pager = self.inner.access.pager.clone();
                free_tree(&pager, &mut self.writer, root.page, root.height - 1)?;
            }
        }
        Ok(())
    }
}

fn free_tree(pager: &Pager, writer: &mut PageWriter<'_>, at: PageRef, level: u8) -> KernelResult<()> {
    let page = pager.page(at, level)?;
    writer.free(at.page, 1);
    for index in 0..node::count(&page) {
        if 0 < level {
            free_tree(pager, writer, node::child(&page, index), level - 1)?;
        } else if let Stored::Run(run) = node::stored(&page, index)? {
            writer.free(run.page, run.pages());
        }
    }
    Ok(())
}

/// A run as plugins see it, counted on its way out.
struct Counted {
    run: Merged,
    rows: u64,
    puts: u64,
}

impl Counted {
    fn new(run: Merged) -> Counted {
        Counted { run, rows: 0, puts: 0 }
    }
}

impl RunCursor for Counted {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < rows_max && (bytes < bytes_max || batch.is_empty()) {
            let Some((key, value)) = self.run.next()? else { break };
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            self.rows += 1;
            self.puts += u64::from(value.is_some());
            batch.push(RunRow { key, value });
        }
        Ok(batch)
    }
}

/// Where a storage plugin writes one flush.
struct Sink<'a> {
    inner: &'a Inner,
    info: &'a TableInfo,
    created: Vec<SegmentId>,
}

impl SegmentSink for Sink<'_> {
    fn create(&mut self) -> KernelResult<Box<dyn SegmentWrite>> {
        let inner = self.inner;
        let codec = match &self.info.options.codec {
            Some(name) => Some((inner.codecs.number(name)?, inner.plugins.compression(name)?)),
            None => None,
        };
        let id = SegmentId(inner.next_segment.fetch_add(1, Ordering::Relaxed));
        self.created.push(id);
        let (vfs, counts) = (inner.env.vfs.clone(), inner.squeezed.clone());
        Ok(Box::new(SegmentWriter::create(vfs, inner.database, id, codec, counts)?))
    }
}

impl Inner {
    pub(crate) fn open_segment(&self, id: SegmentId) -> KernelResult<Segment> {
        let (codecs, cache) = (self.access.codecs.clone(), self.access.pager.cache.clone());
        Segment::open(&*self.env.vfs, self.database, id, codecs, cache)
    }
}
