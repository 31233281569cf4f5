//! A version: everything a reader needs, as one immutable value that is cheap to pin.

use super::memtable::{MemCursor, Memtable};
use super::merge::{Merged, Source};
use crate::catalog::{Codecs, FORMAT, StoredBase, TableInfo};
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::{KeyRange, Slice, TableId, Timestamp};
use crate::page::{CacheKey, DATA_FILE, Pager, RunRef, offset};
use crate::pins::Pin;
use crate::plugin::{PluginManager, SegmentRead, Selection, StorageReader};
use crate::segment::{Segment, SegmentMeta};
use crate::tree::read::{Tree, TreeCursor};
use crate::tree::{TreeRoot, node::Stored};

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

/// Everything a reader needs. Replaced, never changed.
#[derive(Clone)]
pub(crate) struct Version {
    pub tables: BTreeMap<TableId, Arc<TableVersion>>,
    /// The tables by name, as of the newest published commit.
    pub names: Arc<BTreeMap<String, Arc<TableInfo>>>,
    /// Keeps the pages of the bases from being used again.
    pub pin: Arc<Pin>,
}

/// One table's rows: memtables over a base.
#[derive(Clone)]
pub(crate) struct TableVersion {
    pub active: Arc<Memtable>,
    /// On their way to disk, from new to old.
    pub frozen: Vec<Arc<Memtable>>,
    /// Already in the base, kept because a transaction older than their rows may still commit.
    pub recent: Vec<Arc<Memtable>>,
    pub base: Base,
    /// The base holds every commit up to here, and in the middle of a checkpoint some rows of later ones, which
    /// the frozen memtables have as well.
    pub flushed: Timestamp,
    /// Why the last flush of this table failed, if it did.
    pub stuck: Option<Arc<str>>,
}

/// Where a table's checkpointed rows are.
#[derive(Clone)]
pub(crate) enum Base {
    /// In the kernel's own tree.
    Tree(Arc<Tree>),
    /// In segments of a storage plugin, oldest first.
    Segments(Arc<SegmentBase>),
}

impl Base {
    /// The base that the catalog has for `info`, or one without rows.
    pub fn new(info: &TableInfo, stored: Option<&StoredBase>, access: &Access) -> Base {
        if info.options.storage.is_none() {
            return Base::Tree(Tree::new(stored.map_or(TreeRoot::EMPTY, |stored| stored.tree)));
        }
        let open = |meta: &SegmentMeta| Arc::new(Segment::new(meta.clone(), access.clone()));
        let segments = stored.map(|stored| stored.segments.iter().map(open).collect());
        let rows = stored.map_or(0, |stored| stored.rows);
        Base::Segments(Arc::new(SegmentBase::new(segments.unwrap_or_default(), rows)))
    }

    /// As the catalog keeps it.
    pub fn stored(&self, flushed: Timestamp) -> StoredBase {
        let metas = |base: &SegmentBase| base.segments.iter().map(|s| s.meta.clone()).collect();
        let (tree, rows, segments) = match self {
            Base::Tree(tree) => (tree.root, 0, Vec::new()),
            Base::Segments(base) => (TreeRoot::EMPTY, base.rows, metas(base)),
        };
        StoredBase { format: FORMAT, flushed, tree, rows, segments }
    }

    /// How many segments it has.
    pub fn segment_count(&self) -> u64 {
        match self {
            Base::Tree(_) => 0,
            Base::Segments(base) => base.segments.len() as u64,
        }
    }
}

/// The segments of one table, opened by its storage plugin when somebody first reads.
pub(crate) struct SegmentBase {
    pub segments: Vec<Arc<Segment>>,
    /// Rows as the kernel counted them while flushing: an upper bound, as overwritten rows count twice.
    pub rows: u64,
    /// The plugin may want segments merged.
    pub unsettled: bool,
    pub reader: OnceLock<Arc<dyn StorageReader>>,
}

impl SegmentBase {
    pub fn new(segments: Vec<Arc<Segment>>, rows: u64) -> SegmentBase {
        let unsettled = 1 < segments.len();
        SegmentBase { segments, rows, unsettled, reader: OnceLock::new() }
    }

    pub fn handles(&self) -> Vec<Arc<dyn SegmentRead>> {
        self.segments.iter().map(|segment| segment.clone() as Arc<dyn SegmentRead>).collect()
    }
}

/// What reading a base needs beside the base.
#[derive(Clone)]
pub struct Access {
    /// Reads the data file.
    pub pager: Arc<Pager>,
    /// What restores blocks.
    pub codecs: Arc<Codecs>,
    /// The storage engines.
    pub plugins: Arc<PluginManager>,
}

impl Access {
    /// A row's value as the user wrote it.
    ///
    /// # Errors
    /// `Corrupt`, or the codec's failure.
    pub fn value(&self, stored: Stored) -> KernelResult<Slice> {
        match stored {
            Stored::Inline(value) => Ok(value),
            Stored::Run(run) => self.run(&run),
        }
    }

    fn run(&self, run: &RunRef) -> KernelResult<Slice> {
        let raw = run.raw as usize;
        let bytes = self.restored(offset(run.page), run.stored, run.crc, run.codec, raw)?;
        Ok(Slice::part(bytes, 0, raw))
    }

    /// The `stored` bytes at byte `at` of the data file as they were before codec `codec` compressed
    /// them: exactly `raw` bytes.
    ///
    /// # Errors
    /// `Corrupt`, or the codec's failure.
    pub fn restored(
        &self,
        at: u64,
        stored: u32,
        crc: u32,
        codec: u8,
        raw: usize,
    ) -> KernelResult<Arc<[u8]>> {
        self.pager.cache.get_or(CacheKey { at, crc }, || {
            let stored = self.pager.bytes(at, stored, crc)?;
            let bytes = match codec {
                0 => stored,
                _ => self.codecs.codec(codec)?.decompress(&stored, raw)?.into(),
            };
            if bytes.len() != raw {
                let (expected, found) = (format!("{raw} bytes"), format!("{}", bytes.len()));
                return Err(KernelError::corrupt(DATA_FILE, at, expected, found));
            }
            Ok(bytes)
        })
    }
}

impl TableVersion {
    pub fn new(base: Base, flushed: Timestamp, total: Arc<AtomicUsize>) -> TableVersion {
        let active = Arc::new(Memtable::new(total));
        TableVersion { active, frozen: Vec::new(), recent: Vec::new(), base, flushed, stuck: None }
    }

    /// The row of `key` that a snapshot at `at` sees.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    pub fn get(
        &self,
        access: &Access,
        table: &TableInfo,
        key: &[u8],
        at: Timestamp,
    ) -> KernelResult<Option<Slice>> {
        let memtables = [&self.active].into_iter().chain(&self.frozen);
        for memtable in memtables.filter(|memtable| !memtable.is_empty()) {
            if let Some(found) = memtable.get(key, at) {
                return Ok(found);
            }
        }
        match &self.base {
            Base::Tree(tree) => {
                tree.get(&access.pager, key)?.map(|stored| access.value(stored)).transpose()
            }
            Base::Segments(_) => {
                let Some(reader) = self.reader(access, table)? else { return Ok(None) };
                Ok(reader.multi_get(&[key])?.into_iter().next().flatten().flatten())
            }
        }
    }

    /// The memtables' rows of `range` that a snapshot at `at` sees, as sources from new to old.
    pub fn memory(&self, at: Timestamp, range: &KeyRange, reverse: bool) -> Vec<Source> {
        let memtables = [&self.active].into_iter().chain(&self.frozen);
        let cursor = |m: &Arc<Memtable>| MemCursor::new(m.clone(), at, range, reverse);
        memtables.map(|memtable| Source::Memory(cursor(memtable))).collect()
    }

    /// The storage plugin's reader of the base, if there are segments; kept as long as the base lives.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    pub fn reader(
        &self,
        access: &Access,
        table: &TableInfo,
    ) -> KernelResult<Option<Arc<dyn StorageReader>>> {
        let Base::Segments(base) = &self.base else { return Ok(None) };
        if base.segments.is_empty() || base.reader.get().is_some() {
            return Ok(base.reader.get().cloned());
        }
        let name = table.options.storage.as_deref().unwrap_or_default();
        let opened = access.plugins.storage(name)?.open(&table.context(), &base.handles())?;
        Ok(Some(base.reader.get_or_init(|| opened).clone()))
    }

    /// The base's rows of `range` as a source. A storage plugin gives what is selected, a tree whole rows.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    pub fn base_source(
        &self,
        access: &Access,
        table: &TableInfo,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Source> {
        Ok(match &self.base {
            Base::Tree(tree) => {
                let (pager, range) = (access.pager.clone(), range.clone());
                let cursor = TreeCursor::new(pager, tree.root, range, reverse);
                Source::Tree(Box::new((cursor, access.clone())))
            }
            Base::Segments(_) => match self.reader(access, table)? {
                None => Source::Writes(Vec::new().into_iter()),
                Some(reader) => {
                    let cursor = reader.scan(range, reverse, selection)?;
                    Source::Plugin { cursor, batch: VecDeque::new(), done: false }
                }
            },
        })
    }

    /// The frozen memtables' rows of `range` as one run: the newest version of each key, tombstones included.
    pub fn frozen_run(&self, range: &KeyRange) -> Merged {
        let newest = Timestamp(u64::MAX);
        let cursor = |m: &Arc<Memtable>| MemCursor::new(m.clone(), newest, range, false);
        Merged::new(self.frozen.iter().map(|m| Source::Memory(cursor(m))).collect(), false, false)
    }

    /// Every memtable that may hold a row newer than `at`, from new to old.
    pub fn newer_than(&self, at: Timestamp) -> impl Iterator<Item = &Arc<Memtable>> {
        let all = [&self.active].into_iter().chain(&self.frozen).chain(&self.recent);
        all.filter(move |memtable| at < memtable.newest())
    }
}
