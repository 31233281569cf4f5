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
//! What is written goes to free pages, and what it replaces is free only after the flip. So that a checkpoint
//! of rows from all over a table does not double the file, the steps from fold to install are done in pieces:
//! a piece ends when it has written some pages of trees, and the next one may use those that it replaced. A
//! table that is not done keeps its frozen memtables above the base, and its place in the log.
//!
//! Commits go on all the while; they wait only for the freeze and the install, a few microseconds each.
//!
//! Whatever fails before the flip leaves the old world, or what the pieces before it made of it: pages were
//! written to free space only, and the frozen memtables are still there for the next attempt, which folds
//! their rows once more. A plugin's failure holds back its own table:
//! the others flip, and the log is kept from that table's oldest unfolded row on. A failed sync, or a
//! failed write of the meta page, poisons the database: nobody knows which world is on disk.

use crate::catalog::{CATALOG, StoredBase, TableInfo, base_key};
use crate::engine::{CheckpointState, Inner};
use crate::error::{KernelError, KernelResult, PluginFault};
use crate::kernel_api::{KeyRange, SegmentId, Slice, TableId, Timestamp};
use crate::limits::{CONFLICT_WINDOW_BYTES_MAX, MERGES_PER_CHECKPOINT_MAX, piece_pages};
use crate::mvcc::memtable::Memtable;
use crate::mvcc::merge::{Merged, Row, Source};
use crate::mvcc::version::{Base, SegmentBase, TableVersion, Version};
use crate::page::meta::{Meta, NO_FREE_LIST};
use crate::page::space::PageWriter;
use crate::page::{DATA_FILE, PageRef, Pager};
use crate::pins::Pin;
use crate::plugin::{Compaction, RunCursor, RunRow, SegmentRead, SegmentSink, StorageExtension};
use crate::segment::{NumberedCodec, Sealed, Segment, Sink, squeeze};
use crate::tree::{TreeRoot, node, node::Stored, read::Tree, write};
use crate::wal::WalRecord;
use parking_lot::Mutex;
use sochdb_encoding::codec::Wire;
use sochdb_encoding::merge;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::take;
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
    /// Bytes of segments that were merged.
    pub bytes_merged: u64,
    /// Whether a storage plugin may want more segments merged: the next checkpoint goes on with it.
    pub unsettled: bool,
    /// Bytes of log files given up or made ready for reuse.
    pub log_bytes_released: u64,
    /// How long commits were kept waiting, in microseconds: the freeze and the install together.
    pub pause_us: u64,
    /// How long all of it took, in microseconds.
    pub micros: u64,
    /// Tables whose storage failed, by name, and why. Their rows stay in log and memory.
    pub failed: Vec<(String, String)>,
}

/// A new table that is made with all its rows.
pub(crate) struct Load<'a> {
    pub info: &'a TableInfo,
    pub rows: &'a mut dyn Iterator<Item = KernelResult<Row>>,
}

/// A table's new base, before it is installed.
struct Folded {
    base: Base,
    /// Those that it makes superfluous: none before the table is done.
    memtables: Vec<Arc<Memtable>>,
    /// It holds every commit up to here. Until the table is done that is what the base before it held, so a
    /// restart replays the rows that a later piece would have folded.
    flushed: Timestamp,
}

/// Where a piece ended: the next row that is to be folded.
type Place = Option<(TableId, Vec<u8>)>;

/// Everything between freeze and flip, for one piece.
struct Work<'a> {
    inner: &'a Inner,
    version: &'a Version,
    writer: Arc<Mutex<PageWriter>>,
    folded: BTreeMap<TableId, Folded>,
    failed: BTreeMap<TableId, Arc<str>>,
    report: CheckpointReport,
}

impl Inner {
    /// Runs one checkpoint; the module's table tells the steps. While checkpoints fail, memory is what
    /// fills: commits look at `stalled` and are refused past twice the bound.
    pub(crate) fn checkpoint(&self) -> KernelResult<CheckpointReport> {
        let mut state = self.checkpoint.lock();
        let result = self.run_checkpoint(&mut state, None);
        *self.stalled.write() = result.as_ref().err().map(|error| error.to_string().into());
        result
    }

    /// Runs one checkpoint that also makes a base for the table of `load`.
    pub(crate) fn run_checkpoint(
        &self,
        state: &mut CheckpointState,
        mut load: Option<Load<'_>>,
    ) -> KernelResult<CheckpointReport> {
        let now = || self.env.clock.monotonic_us();
        let started = now();
        let (mut version, freeze, lsn) = self.freeze();
        let mut pause_us = now() - started;
        self.wal.wait(lsn, true)?;
        let (mut report, mut rest) = (CheckpointReport::default(), None);
        loop {
            let mut space = state.space.clone();
            space.reclaim(state.pins.oldest().unwrap_or(state.meta.sequence));
            let writer = PageWriter::new(self.access.pager.clone(), space, state.meta.sequence + 1);
            let mut work = Work {
                inner: self,
                version: &version,
                writer: Arc::new(Mutex::new(writer)),
                folded: BTreeMap::new(),
                failed: BTreeMap::new(),
                report,
            };
            rest = work.fold_tables(freeze, rest)?;
            if let Some(load) = load.take_if(|_| rest.is_none()) {
                let base = work.load(load.info, load.rows)?;
                let (id, memtables) = (load.info.id, Vec::new());
                work.folded.insert(id, Folded { base, memtables, flushed: freeze });
            }
            let mut next = work.build_catalog(state, freeze, lsn)?;
            self.flip(&next.meta)?;
            let (folded, failed) = (take(&mut work.folded), take(&mut work.failed));
            report = take(&mut work.report);
            drop(work);
            version.pin = next.pins.pin(next.meta.sequence);
            *state = next;
            *self.sizes.lock() = state.sizes();
            for (id, folded) in &folded {
                let Some(table) = version.tables.get_mut(id).map(Arc::make_mut) else { continue };
                table.base = folded.base.clone();
                table.frozen.retain(|_| folded.memtables.is_empty());
            }
            let flipped = now();
            self.install(folded, &failed, freeze, version.pin.clone(), state.meta.lsn)?;
            pause_us += now() - flipped;
            if rest.is_none() {
                report.log_bytes_released = self.wal.release(state.meta.lsn)?;
                self.counts.checkpoints.add(1);
                self.counts.pages_written.add(report.pages_written);
                return Ok(CheckpointReport { pause_us, micros: now() - started, ..report });
            }
        }
    }

    /// Makes active memtables frozen ones. Returns the version to fold, the newest timestamp in it, and
    /// the log position behind it.
    fn freeze(&self) -> (Version, Timestamp, u64) {
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
        ((**current).clone(), commit.last, self.wal.ends().0)
    }

    /// The page flip: after it, `meta` is the database.
    fn flip(&self, meta: &Meta) -> KernelResult<()> {
        let file = self.access.pager.file();
        let sync = file.sync().and_then(|()| meta.write(file)).and_then(|()| file.sync());
        sync.map_err(|error| {
            let what = format!("sync a checkpoint to {DATA_FILE}");
            // The operating system may show the new record to the next process without having it on
            // disk. The old world is on disk for certain, so the next process shall see that one.
            let _ = meta.wipe(file);
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
        pin: Arc<Pin>,
        log_from: u64,
    ) -> KernelResult<()> {
        let mut commit = self.commit.lock();
        let writers = self.writers.lock();
        let oldest_writer = writers.keys().next().copied();
        let mut current = self.version.write();
        let mut next = (**current).clone();
        let memtable_bytes_max = self.options.memtable_bytes_max;
        let (mut window, window_max) = (0, CONFLICT_WINDOW_BYTES_MAX.min(2 * memtable_bytes_max));
        for (id, table) in &mut next.tables {
            let mut new = (**table).clone();
            if let Some(Folded { base, memtables, flushed }) = folded.remove(id) {
                new.frozen
                    .retain(|memtable| !memtables.iter().any(|old| Arc::ptr_eq(old, memtable)));
                new.recent.splice(0..0, memtables);
                (new.base, new.flushed, new.stuck) = (base, flushed, None);
            }
            new.recent.retain(|memtable| oldest_writer.is_some_and(|at| at < memtable.newest()));
            new.stuck = failed.get(id).cloned().or(new.stuck);
            // Past its bound the window shrinks: transactions older than what is dropped will conflict.
            new.recent.retain(|memtable| {
                window += memtable.bytes();
                let keep = window <= window_max;
                if !keep {
                    commit.window_start = commit.window_start.max(memtable.newest());
                }
                keep
            });
            *table = Arc::new(new);
        }
        next.pin = pin;
        *current = Arc::new(next);
        // Everything in the new bases is durable, though a committer may not have come to say so: a
        // snapshot of this version must not be older than what the version shows.
        self.visible.fetch_max(freeze.0, Ordering::AcqRel);
        drop((current, writers));
        // For readers of the log; recovery itself believes the meta page.
        let mut payload = self.next_transaction_id().0.to_le_bytes().to_vec();
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
}

impl Drop for Work<'_> {
    /// However it ended: a plugin that kept its sink must not write to pages that others get now.
    fn drop(&mut self) {
        self.writer.lock().end_lease();
    }
}

impl Work<'_> {
    /// Folds the tables that have frozen rows, except the catalog: trees first, `from` where the last piece
    /// ended until this one is full.
    fn fold_tables(&mut self, freeze: Timestamp, mut from: Place) -> KernelResult<Place> {
        let (version, mut rest) = (self.version, None);
        let mut infos: Vec<_> = version.names.values().collect();
        infos.sort_by_key(|info| info.options.storage.is_some());
        for info in infos {
            let table = &version.tables[&info.id];
            let unsettled = matches!(&table.base, Base::Segments(base) if base.unsettled);
            let name = info.options.storage.as_deref().unwrap_or_default();
            let settled = !unsettled || self.inner.plugins.storage(name).is_err();
            if rest.is_some() || table.frozen.is_empty() && settled {
                continue;
            }
            let result = match &table.base {
                Base::Tree(tree) => {
                    let from = from.take_if(|(id, _)| *id == info.id);
                    let range = from.map_or(KeyRange::all(), |(_, key)| (key..).into());
                    let mut run = table.frozen_run(&range);
                    let mut rows = std::iter::from_fn(|| run.next().transpose());
                    let pages_max = piece_pages(self.inner.options.memtable_bytes_max);
                    let (root, key) = self.fold_tree(info, tree.root, &mut rows, pages_max)?;
                    rest = key.map(|key| (info.id, key));
                    Base::Tree(Tree::new(root))
                }
                Base::Segments(base) => match self.fold_segments(info, table, base) {
                    Ok(base) => Base::Segments(Arc::new(base)),
                    Err(error) => {
                        tracing::error!(table = info.name, %error, "storage failed, rows stay in the log");
                        let why = error.to_string();
                        self.failed.insert(info.id, why.as_str().into());
                        self.report.failed.push((info.name.clone(), why));
                        continue;
                    }
                },
            };
            let done = rest.is_none();
            let memtables = if done { table.frozen.clone() } else { Vec::new() };
            let flushed = if done { freeze } else { table.flushed };
            self.report.tables += u64::from(done);
            self.folded.insert(info.id, Folded { base: result, memtables, flushed });
        }
        Ok(rest)
    }

    /// The codec of a table's blocks and large values. One that is not loaded leaves them plain: what a
    /// commit promised must reach the disk without it.
    fn codec_of(&self, info: &TableInfo) -> KernelResult<Option<NumberedCodec>> {
        let Some(name) = &info.options.codec else { return Ok(None) };
        let number = self.inner.codecs.number(name)?;
        let codec = self.inner.plugins.compression(name).inspect_err(|error| {
            tracing::warn!(table = info.name, %error, "blocks are stored plain");
            self.inner.counts.codec_refusals.add(1);
        });
        Ok(codec.ok().map(|codec| (number, codec)))
    }

    /// Merges `rows` into the tree at `root`, until about `pages_max` pages are written.
    fn fold_tree(
        &mut self,
        info: &TableInfo,
        root: TreeRoot,
        rows: &mut dyn Iterator<Item = KernelResult<Row>>,
        pages_max: u64,
    ) -> KernelResult<(TreeRoot, Option<Vec<u8>>)> {
        let inner = self.inner;
        let codec = self.codec_of(info)?;
        let mut squeeze_value = |value: &Slice| squeeze(codec.as_ref(), value, &inner.counts);
        let mut count = 0;
        let mut rows = rows.inspect(|_| count += 1).peekable();
        let mut writer = self.writer.lock();
        writer.table = info.id;
        let (pager, squeeze) = (&inner.access.pager, &mut squeeze_value);
        let root = write::apply(pager, &mut writer, root, &mut rows, squeeze, pages_max)?;
        let rest = rows.next().transpose()?.map(|(key, _)| key);
        self.report.rows += count - u64::from(rest.is_some());
        Ok((root, rest))
    }

    /// Makes the base of a new table of `rows`. A storage plugin gets them from a tree, which is free
    /// space again once it is done: its answer is compared with the run, so the run must be read twice.
    fn load(
        &mut self,
        info: &TableInfo,
        rows: &mut dyn Iterator<Item = KernelResult<Row>>,
    ) -> KernelResult<Base> {
        let (root, _) = self.fold_tree(info, TreeRoot::EMPTY, rows, u64::MAX)?;
        let Some(name) = &info.options.storage else { return Ok(Base::Tree(Tree::new(root))) };
        let access = &self.inner.access;
        self.writer.lock().flush()?;
        let tree = TableVersion::new(Base::Tree(Tree::new(root)), Timestamp(0), Default::default());
        let run = || {
            let source = tree.base_source(access, info, &KeyRange::all(), false, None)?;
            Ok(Merged::new(vec![source], false, false))
        };
        let storage = self.inner.plugins.storage(name)?;
        let flush = |sink| storage.flush(&info.context(), &[], Box::new(Run(run()?)), sink);
        let (segments, _, puts) = self.write_segments(&*storage, info, &flush, &run)?;
        free_tree(&access.pager, &mut self.writer.lock(), root)?;
        Ok(Base::Segments(Arc::new(SegmentBase::new(segments, puts))))
    }

    /// Has the table's plugin write its frozen rows as segments, then merge some that it wants merged.
    fn fold_segments(
        &mut self,
        info: &TableInfo,
        table: &TableVersion,
        base: &SegmentBase,
    ) -> KernelResult<SegmentBase> {
        let plugins = &self.inner.plugins;
        let storage = plugins.storage(info.options.storage.as_deref().unwrap_or_default())?;
        let mut base = SegmentBase::new(base.segments.clone(), base.rows);
        if !table.frozen.is_empty() {
            let (old, run) = (base.handles(), || Ok(table.frozen_run(&KeyRange::all())));
            let flush = |sink| storage.flush(&info.context(), &old, Box::new(Run(run()?)), sink);
            let (new, rows, puts) = self.write_segments(&*storage, info, &flush, &run)?;
            self.report.rows += rows;
            base.segments.extend(new);
            base.rows += puts;
        }
        for _ in 0..MERGES_PER_CHECKPOINT_MAX {
            let merged = self.merge(&*storage, info, &mut base).unwrap_or_else(|error| {
                // The flush itself is good; the next checkpoint plans again.
                tracing::warn!(table = info.name, %error, "segments not merged");
                None
            });
            base.unsettled = merged.is_some();
            if merged != Some(true) {
                break;
            }
        }
        self.report.unsettled |= base.unsettled;
        Ok(base)
    }

    /// Merges or moves the segments that the plugin wants merged or moved, if any; answers whether more must
    /// follow.
    fn merge(
        &mut self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        base: &mut SegmentBase,
    ) -> KernelResult<Option<bool>> {
        let table = info.context();
        let Some(plan) = storage.plan_compaction(&table, &base.handles())? else {
            return Ok(None);
        };
        let share_keys = |a: usize, b: usize| {
            let ends = |at: usize| bounds(storage, info, &base.segments[at]);
            let ends = ends(a)?.as_ref().zip(ends(b)?.as_ref());
            KernelResult::Ok(ends.is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1))
        };
        let Some(drop_deleted) = plan.check(base.segments.len(), share_keys)? else {
            let text = format!("{plan:?} of {} segments", base.segments.len());
            return Err(KernelError::plugin(&storage.info().name, PluginFault::Lied, text));
        };
        let is_move = plan.is_move();
        let Compaction { inputs, at, urgent } = plan;
        let old: Vec<_> = inputs.iter().map(|&input| base.segments[input].clone()).collect();
        let mut new = old.clone();
        if !is_move {
            let pages = old.iter().map(|s| s.pages()).collect::<KernelResult<Vec<_>>>()?;
            let handles = SegmentBase::new(old.clone(), 0).handles();
            let merge = |sink| storage.merge(&table, &handles, drop_deleted, sink);
            let run = || segment_run(storage, info, &old, drop_deleted);
            let (merged, _, puts) = self.write_segments(storage, info, &merge, &run)?;
            if old.len() == base.segments.len() {
                base.rows = puts;
            }
            self.report.bytes_merged += old.iter().map(|segment| segment.meta.raw).sum::<u64>();
            let mut writer = self.writer.lock();
            pages.iter().flatten().for_each(|&(start, len)| writer.free(start, len));
            new = merged;
        }
        base.segments.retain(|segment| !old.iter().any(|old| Arc::ptr_eq(old, segment)));
        base.segments.splice(at..at, new);
        Ok(Some(urgent))
    }

    /// Has the plugin `write` the rows of `run`, and reads them back: the segments, and how many rows and
    /// values they hold. Whatever fails leaves no segment behind.
    fn write_segments(
        &mut self,
        storage: &dyn StorageExtension,
        info: &TableInfo,
        write: &dyn Fn(Arc<dyn SegmentSink>) -> KernelResult<Vec<SegmentId>>,
        run: &dyn Fn() -> KernelResult<Merged>,
    ) -> KernelResult<(Vec<Arc<Segment>>, u64, u64)> {
        let inner = self.inner;
        let sealed = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink {
            writer: self.writer.clone(),
            lease: self.writer.lock().lease(),
            codec: self.codec_of(info)?,
            counts: inner.counts.clone(),
            next_id: inner.next_segment.clone(),
            sealed: sealed.clone(),
        };
        let result = write(Arc::new(sink));
        let leased = self.writer.lock().end_lease();
        self.writer.lock().flush()?;
        let sealed = take(&mut *sealed.lock());
        let kept = result.and_then(|ids| {
            let find = |id: &SegmentId| sealed.iter().find(|(meta, _)| meta.id == *id);
            let distinct: BTreeSet<_> = ids.iter().collect();
            let all = ids.iter().map(|id| find(id).filter(|_| distinct.len() == ids.len()));
            let foreign = "it named a segment that it did not write, or one twice";
            let lied = || KernelError::plugin(&storage.info().name, PluginFault::Lied, foreign);
            let named = all.collect::<Option<Vec<_>>>().ok_or_else(lied)?;
            let open =
                |(meta, _): &&Sealed| Arc::new(Segment::new(meta.clone(), inner.access.clone()));
            let segments: Vec<_> = named.iter().map(open).collect();
            let back = segment_run(storage, info, &segments, false)?;
            let (mut rows, mut puts) = (0, 0);
            let same = |row: &Row| (rows, puts) = (rows + 1, puts + u64::from(row.1.is_some()));
            if let Some(differs) = merge::difference(run()?, back, same)? {
                let text = format!("table '{}': it gave back {differs}", info.name);
                return Err(KernelError::plugin(&storage.info().name, PluginFault::Lied, text));
            }
            let extents: BTreeSet<_> = named.iter().flat_map(|(_, extents)| extents).collect();
            Ok((segments, rows, puts, extents))
        });
        let wanted =
            |extent: &&(u64, u64)| kept.as_ref().is_ok_and(|(.., kept)| kept.contains(extent));
        let mut writer = self.writer.lock();
        leased.iter().filter(|extent| !wanted(extent)).for_each(|&(page, n)| writer.free(page, n));
        let (segments, rows, puts, _) = kept?;
        self.report.segments_written += segments.len() as u64;
        Ok((segments, rows, puts))
    }

    /// The catalog's new tree, and the checkpoint's state as it is once the flip is done.
    fn build_catalog(
        &mut self,
        state: &CheckpointState,
        freeze: Timestamp,
        lsn: u64,
    ) -> KernelResult<CheckpointState> {
        let (inner, version) = (self.inner, self.version);
        let catalog = &version.tables[&CATALOG];
        let mut bases = state.bases.clone();
        let mut ops: BTreeMap<Vec<u8>, Option<Slice>> = BTreeMap::new();
        let mut run = catalog.frozen_run(&KeyRange::all());
        while let Some((key, row)) = run.next()? {
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
            let stored = folded.base.stored(folded.flushed);
            ops.insert(base_key(*id), Some(stored.to_wire().into()));
            bases.insert(*id, stored);
        }
        let codecs = inner.codecs.rows();
        let codecs_stored = codecs.len();
        for (key, name) in codecs.into_iter().skip(state.codecs_stored) {
            ops.insert(key, Some(name.into_bytes().into()));
        }
        let mut writer = self.writer.lock();
        writer.table = CATALOG;
        let plain = &mut |_: &Slice| (None, 0);
        let mut ops = ops.into_iter().map(Ok).peekable();
        let (pager, root) = (&inner.access.pager, state.meta.catalog);
        let root = write::apply(pager, &mut writer, root, &mut ops, plain, u64::MAX)?;
        let (base, memtables) = (Base::Tree(Tree::new(root)), catalog.frozen.clone());
        let folded = Folded { base, memtables, flushed: freeze };
        self.folded.insert(CATALOG, folded);
        if state.meta.free_list != NO_FREE_LIST {
            writer.free(state.meta.free_list.page, state.meta.free_list.pages());
        }
        let sequence = state.meta.sequence + 1;
        let (free_list, space) = writer.finish()?;
        self.report.pages_written += writer.pages_written;
        // Replay must begin before the oldest row that a later piece or a failed plugin holds back.
        let done = |id| self.folded.get(id).is_some_and(|folded| folded.flushed == freeze);
        let held = version.tables.iter().filter(|(id, _)| !done(id));
        let held = held.flat_map(|(_, table)| table.frozen.iter().map(|m| m.first_lsn())).min();
        let meta = Meta {
            sequence,
            pages: space.pages,
            lsn: held.map_or(lsn, |held| held.min(lsn)),
            timestamp: freeze.0,
            next_txn: inner.next_txn.load(Ordering::Relaxed),
            next_table: inner.next_table.load(Ordering::Relaxed),
            next_segment: inner.next_segment.load(Ordering::Relaxed),
            catalog: root,
            free_list,
            database: state.meta.database,
        };
        let pins = state.pins.clone();
        Ok(CheckpointState { meta, space, pins, bases, codecs_stored })
    }

    /// A dropped table's pages are free once the flip is done.
    fn free_base(&mut self, base: &StoredBase) -> KernelResult<()> {
        let access = &self.inner.access;
        let mut writer = self.writer.lock();
        for meta in &base.segments {
            let pages = Segment::new(meta.clone(), access.clone()).pages()?;
            pages.iter().for_each(|&(start, len)| writer.free(start, len));
        }
        free_tree(&access.pager, &mut writer, base.tree)
    }
}

fn free_tree(pager: &Pager, writer: &mut PageWriter, root: TreeRoot) -> KernelResult<()> {
    match root.height {
        0 => Ok(()),
        height => free_node(pager, writer, root.page, height - 1),
    }
}

fn free_node(pager: &Pager, writer: &mut PageWriter, at: PageRef, level: u8) -> KernelResult<()> {
    let page = pager.page(at, level)?;
    writer.free(at.page, 1);
    for index in 0..node::count(&page) {
        if 0 < level {
            free_node(pager, writer, node::child(&page, index), level - 1)?;
        } else if let Stored::Run(run) = node::stored(&page, index)? {
            writer.free(run.page, run.pages());
        }
    }
    Ok(())
}

/// The least and the greatest key of `segment`.
fn bounds<'a>(
    storage: &dyn StorageExtension,
    info: &TableInfo,
    segment: &'a Arc<Segment>,
) -> KernelResult<&'a Option<(Vec<u8>, Vec<u8>)>> {
    if segment.bounds.get().is_none() {
        let reader = storage.open(&info.context(), &[segment.clone() as Arc<dyn SegmentRead>])?;
        let end = |reverse| {
            let first = reader.scan(&KeyRange::all(), reverse, None)?.next_batch(1, 1)?.pop();
            KernelResult::Ok(first.map(|row| row.key))
        };
        let _ = segment.bounds.set(end(false)?.zip(end(true)?));
    }
    Ok(segment.bounds.get().expect("set above"))
}

/// The rows of `segments` as one run, without tombstones if `live`.
fn segment_run(
    storage: &dyn StorageExtension,
    info: &TableInfo,
    segments: &[Arc<Segment>],
    live: bool,
) -> KernelResult<Merged> {
    let base = SegmentBase::new(segments.to_vec(), 0);
    let reader = storage.open(&info.context(), &base.handles())?;
    let cursor = reader.scan(&KeyRange::all(), false, None)?;
    let source = Source::Plugin { cursor, batch: VecDeque::new(), done: false };
    Ok(Merged::new(vec![source], false, live))
}

/// A run as plugins see it.
struct Run(Merged);

impl RunCursor for Run {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < rows_max && (bytes < bytes_max || batch.is_empty()) {
            let Some((key, value)) = self.0.next()? else { break };
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            batch.push(RunRow { key, value });
        }
        Ok(batch)
    }
}
