//! A version: everything a reader needs, as one immutable value that is cheap to pin.

use super::memtable::{MemCursor, Memtable};
use super::merge::{Merged, Source};
use crate::catalog::TableInfo;
use crate::error::KernelResult;
use crate::kernel_api::{KeyRange, SegmentId, Slice, TableId, Timestamp};
use crate::page::space::RootPin;
use crate::page::{CacheKey, Pager, RunRef};
use crate::plugin::{SegmentRead, StorageReader};
use crate::segment::{CodecTable, Segment, restore};
use crate::tree::node::Stored;
use crate::tree::read::{TreeCursor, get};
use crate::tree::TreeRoot;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Everything a reader needs. Replaced, never changed.
#[derive(Clone)]
pub(crate) struct Version {
    pub tables: BTreeMap<TableId, Arc<TableVersion>>,
    /// The tables by name, as of the newest published commit.
    pub names: Arc<BTreeMap<String, Arc<TableInfo>>>,
    /// Keeps the pages of the bases from being used again.
    pub pin: Arc<RootPin>,
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
    /// The base holds every commit up to here.
    pub flushed: Timestamp,
    /// Why the last flush of this table failed, if it did.
    pub stuck: Option<Arc<str>>,
}

/// Where a table's checkpointed rows are.
#[derive(Clone)]
pub(crate) enum Base {
    /// In the kernel's own tree.
    Tree(TreeRoot),
    /// In segments of a storage plugin, oldest first.
    Segments(Arc<SegmentBase>),
}

impl Base {
    /// A base without rows, as `info` wants it.
    pub fn empty(info: &TableInfo) -> Base {
        match info.options.storage {
            None => Base::Tree(TreeRoot::EMPTY),
            Some(_) => Base::Segments(Arc::new(SegmentBase::new(Vec::new(), 0))),
        }
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
    pub reader: parking_lot::Mutex<Option<Arc<dyn StorageReader>>>,
}

impl SegmentBase {
    pub fn new(segments: Vec<Arc<Segment>>, rows: u64) -> SegmentBase {
        SegmentBase { segments, rows, reader: parking_lot::Mutex::new(None) }
    }

    pub fn ids(&self) -> Vec<SegmentId> {
        self.segments.iter().map(|segment| segment.id()).collect()
    }

    pub fn handles(&self) -> Vec<Arc<dyn SegmentRead>> {
        self.segments.iter().map(|segment| segment.clone() as Arc<dyn SegmentRead>).collect()
    }
}

/// What reading a base needs beside the base.
#[derive(Clone)]
pub(crate) struct Access {
    pub pager: Arc<Pager>,
    pub codecs: Arc<dyn CodecTable>,
    pub storages: Arc<dyn StorageTable>,
}

/// Opens segments through the storage plugin of their table.
pub(crate) trait StorageTable: Send + Sync {
    fn reader(&self, table: &TableInfo, base: &SegmentBase) -> KernelResult<Arc<dyn StorageReader>>;
}

impl Access {
    /// A row's value as the user wrote it.
    pub fn value(&self, stored: Stored) -> KernelResult<Slice> {
        match stored {
            Stored::Inline(value) => Ok(value),
            Stored::Run(run) => self.run(&run),
        }
    }

    fn run(&self, run: &RunRef) -> KernelResult<Slice> {
        let key = CacheKey::Run { page: run.page, crc: run.crc };
        let load = || restore(&*self.codecs, run.codec, self.pager.run(run)?, run.raw as usize);
        let bytes = self.pager.cache.get_or(key, load)?;
        let len = bytes.len();
        Ok(Slice::part(bytes, 0, len))
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
        for memtable in [&self.active].into_iter().chain(&self.frozen) {
            if let Some(found) = memtable.get(key, at) {
                return Ok(found);
            }
        }
        match &self.base {
            Base::Tree(root) => {
                get(&access.pager, root, key)?.map(|stored| access.value(stored)).transpose()
            }
            Base::Segments(base) if base.segments.is_empty() => Ok(None),
            Base::Segments(base) => {
                let found = access.storages.reader(table, base)?.multi_get(&[key])?;
                Ok(found.into_iter().next().flatten().flatten())
            }
        }
    }

    /// The memtables' rows of `range` that a snapshot at `at` sees, as sources from new to old.
    pub fn memory(&self, at: Timestamp, range: &KeyRange, reverse: bool) -> Vec<Source> {
        let memtables = [&self.active].into_iter().chain(&self.frozen);
        let cursor = |m: &Arc<Memtable>| MemCursor::new(m.clone(), at, range, reverse);
        memtables.map(|memtable| Source::Memory(cursor(memtable))).collect()
    }

    /// The base's rows of `range` as a source.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    pub fn base_source(
        &self,
        access: &Access,
        table: &TableInfo,
        range: &KeyRange,
        reverse: bool,
    ) -> KernelResult<Source> {
        Ok(match &self.base {
            Base::Tree(root) => {
                let access = access.clone();
                let mut cursor = TreeCursor::new(access.pager.clone(), *root, range.clone(), reverse);
                Source::Tree(Box::new(move || {
                    let row = cursor.next()?;
                    row.map(|(key, stored)| Ok((key, access.value(stored)?))).transpose()
                }))
            }
            Base::Segments(base) if base.segments.is_empty() => Source::Writes(Vec::new().into_iter()),
            Base::Segments(base) => {
                let cursor = access.storages.reader(table, base)?.scan(range, reverse)?;
                Source::Plugin { cursor, batch: VecDeque::new(), done: false }
            }
        })
    }

    /// The frozen memtables as one run: the newest version of each key, tombstones included.
    pub fn frozen_run(&self) -> Merged {
        let all = KeyRange::all();
        let newest = Timestamp(u64::MAX);
        let cursor = |m: &Arc<Memtable>| MemCursor::new(m.clone(), newest, &all, false);
        Merged::new(self.frozen.iter().map(|m| Source::Memory(cursor(m))).collect(), false)
    }

    /// Every memtable that may hold a row newer than `at`, from new to old.
    pub fn newer_than(&self, at: Timestamp) -> impl Iterator<Item = &Arc<Memtable>> {
        let all = [&self.active].into_iter().chain(&self.frozen).chain(&self.recent);
        all.filter(move |memtable| at < memtable.newest())
    }
}
