//! The rows of one table that no checkpoint has folded in yet, all versions of them, in memory.
//!
//! A concurrent ordered map from key and commit timestamp (newest first) to value or tombstone. Commits
//! insert one at a time under the commit lock; readers need no lock. A row is inserted *before* its
//! timestamp is published, so readers must ask with a timestamp and never for "the newest".

use super::merge::Row;
use crate::kernel_api::{KeyRange, Slice, Timestamp};
use crate::limits::MEMTABLE_CHUNK_ROWS;
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a row costs beside its key and value: map node, allocations, counters. Measured, rounded up.
const ROW_OVERHEAD_BYTES: usize = 128;

/// A key at a moment. Ordered by key, then from new to old. Short keys need no allocation of their own.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct MemKey {
    key: SmallVec<[u8; 24]>,
    timestamp: Reverse<u64>,
}

impl MemKey {
    fn new(key: &[u8], timestamp: u64) -> MemKey {
        MemKey { key: SmallVec::from_slice(key), timestamp: Reverse(timestamp) }
    }
}

/// One memtable of one table.
pub(crate) struct Memtable {
    rows: SkipMap<MemKey, Option<Slice>>,
    bytes: AtomicUsize,
    /// The log position from which a replay would bring back all of its rows.
    first_lsn: AtomicU64,
    /// The greatest timestamp inserted.
    newest: AtomicU64,
    /// The bytes of all memtables of the database.
    total: Arc<AtomicUsize>,
}

impl Memtable {
    pub fn new(total: Arc<AtomicUsize>) -> Memtable {
        Memtable {
            rows: SkipMap::new(),
            bytes: AtomicUsize::new(0),
            first_lsn: AtomicU64::new(u64::MAX),
            newest: AtomicU64::new(0),
            total,
        }
    }

    /// Adds the version of `key` that committed at `timestamp` with a log record behind `lsn`.
    pub fn insert(&self, key: &[u8], timestamp: Timestamp, value: Option<Slice>, lsn: u64) {
        let bytes = ROW_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
        self.rows.insert(MemKey::new(key, timestamp.0), value);
        self.bytes.fetch_add(bytes, Relaxed);
        self.total.fetch_add(bytes, Relaxed);
        self.first_lsn.fetch_min(lsn, Relaxed);
        self.newest.fetch_max(timestamp.0, Relaxed);
    }

    /// The newest version of `key` at or before `at`: `None` unknown here, `Some(None)` deleted.
    pub fn get(&self, key: &[u8], at: Timestamp) -> Option<Option<Slice>> {
        let entry = self.rows.lower_bound(Bound::Included(&MemKey::new(key, at.0)))?;
        (*entry.key().key == *key).then(|| entry.value().clone())
    }

    /// When `key` was last written here.
    pub fn newest_of(&self, key: &[u8]) -> Option<Timestamp> {
        let entry = self.rows.lower_bound(Bound::Included(&MemKey::new(key, u64::MAX)))?;
        (*entry.key().key == *key).then(|| Timestamp(entry.key().timestamp.0))
    }

    /// Whether any key of `range` was written here after `at`.
    pub fn has_newer(&self, range: &KeyRange, at: Timestamp) -> bool {
        if self.newest.load(Relaxed) <= at.0 || range.is_empty() {
            return false;
        }
        let mut rows = self.rows.range(versions(range));
        rows.any(|entry| at.0 < entry.key().timestamp.0)
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub fn first_lsn(&self) -> u64 {
        self.first_lsn.load(Relaxed)
    }

    pub fn newest(&self) -> Timestamp {
        Timestamp(self.newest.load(Relaxed))
    }
}

impl Drop for Memtable {
    fn drop(&mut self) {
        self.total.fetch_sub(*self.bytes.get_mut(), Relaxed);
    }
}

/// From the first version of a range's first key to the last version of its last.
fn versions(range: &KeyRange) -> (Bound<MemKey>, Bound<MemKey>) {
    let end = |bound: &Bound<Vec<u8>>, included, excluded| {
        let at = if matches!(bound, Bound::Included(_)) { included } else { excluded };
        bound.as_ref().map(|key| MemKey::new(key, at))
    };
    (end(&range.start, u64::MAX, 0), end(&range.end, 0, u64::MAX))
}

/// Walks the rows of a memtable that a snapshot sees, newest version of each key, tombstones included.
/// Takes rows out in chunks, so it holds no place in the map between calls.
pub(crate) struct MemCursor {
    memtable: Arc<Memtable>,
    at: Timestamp,
    bounds: (Bound<MemKey>, Bound<MemKey>),
    reverse: bool,
    chunk: VecDeque<Row>,
    done: bool,
}

impl MemCursor {
    pub fn new(memtable: Arc<Memtable>, at: Timestamp, range: &KeyRange, reverse: bool) -> Self {
        let bounds = versions(range);
        let done = range.is_empty() || memtable.is_empty();
        MemCursor { memtable, at, bounds, reverse, chunk: VecDeque::new(), done }
    }

    pub fn next(&mut self) -> Option<Row> {
        if self.chunk.is_empty() && !self.done {
            self.fill();
        }
        self.chunk.pop_front()
    }

    fn fill(&mut self) {
        let range = self.memtable.rows.range((self.bounds.0.as_ref(), self.bounds.1.as_ref()));
        let rows: Box<dyn Iterator<Item = Entry<'_, MemKey, Option<Slice>>>> =
            if self.reverse { Box::new(range.rev()) } else { Box::new(range) };
        for entry in rows {
            let MemKey { key, timestamp } = entry.key();
            let same = self.chunk.back().is_some_and(|(last, _)| **last == **key);
            if !same && MEMTABLE_CHUNK_ROWS <= self.chunk.len() {
                break;
            }
            match self.chunk.back_mut() {
                _ if self.at.0 < timestamp.0 => {}
                // Forwards a key's newest visible version comes first, backwards it comes last.
                Some(row) if same && self.reverse => row.1 = entry.value().clone(),
                _ if same => {}
                _ => self.chunk.push_back((key.to_vec(), entry.value().clone())),
            }
        }
        self.done = self.chunk.len() < MEMTABLE_CHUNK_ROWS;
        if let Some((last, _)) = self.chunk.back() {
            match self.reverse {
                false => self.bounds.0 = Bound::Excluded(MemKey::new(last, 0)),
                true => self.bounds.1 = Bound::Excluded(MemKey::new(last, u64::MAX)),
            }
        }
    }
}
