//! The rows of one table that no checkpoint has folded in yet, all versions of them, in memory.
//!
//! A concurrent ordered map from key and commit timestamp (newest first) to value or tombstone. Commits
//! insert one at a time under the commit lock; readers need no lock. A row is inserted *before* its
//! timestamp is published, so readers must ask with a timestamp and never for "the newest".

use super::merge::Row;
use crate::kernel_api::{KeyRange, Slice, Timestamp};
use crate::limits::MEMTABLE_CHUNK_ROWS;
use crossbeam_skiplist::SkipMap;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a row costs beside its key and value: map node, allocations, counters. Measured, rounded up.
const ROW_OVERHEAD_BYTES: usize = 128;

/// A key at a moment. Ordered by key, then from new to old.
struct MemKey {
    key: Box<[u8]>,
    timestamp: u64,
}

/// [`MemKey`] by reference, so that a lookup copies no key.
trait At {
    fn parts(&self) -> (&[u8], u64);
}

impl At for MemKey {
    fn parts(&self) -> (&[u8], u64) {
        (&self.key, self.timestamp)
    }
}

impl At for (&[u8], u64) {
    fn parts(&self) -> (&[u8], u64) {
        *self
    }
}

impl Ord for dyn At + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_at), (b, b_at)) = (self.parts(), other.parts());
        a.cmp(b).then(b_at.cmp(&a_at))
    }
}

impl PartialOrd for dyn At + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn At + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn At + '_ {}

impl<'a> Borrow<dyn At + 'a> for MemKey {
    fn borrow(&self) -> &(dyn At + 'a) {
        self
    }
}

impl Ord for MemKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn At).cmp(other as &dyn At)
    }
}

impl PartialOrd for MemKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MemKey {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for MemKey {}

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
        self.rows.insert(MemKey { key: key.into(), timestamp: timestamp.0 }, value);
        self.bytes.fetch_add(bytes, Relaxed);
        self.total.fetch_add(bytes, Relaxed);
        self.first_lsn.fetch_min(lsn, Relaxed);
        self.newest.fetch_max(timestamp.0, Relaxed);
    }

    /// The newest version of `key` at or before `at`: `None` unknown here, `Some(None)` deleted.
    pub fn get(&self, key: &[u8], at: Timestamp) -> Option<Option<Slice>> {
        let from: &dyn At = &(key, at.0);
        let entry = self.rows.lower_bound(Bound::Included(from))?;
        (*entry.key().key == *key).then(|| entry.value().clone())
    }

    /// When `key` was last written here.
    pub fn newest_of(&self, key: &[u8]) -> Option<Timestamp> {
        let from: &dyn At = &(key, u64::MAX);
        let entry = self.rows.lower_bound(Bound::Included(from))?;
        (*entry.key().key == *key).then(|| Timestamp(entry.key().timestamp))
    }

    /// Whether any key of `range` was written here after `at`.
    pub fn has_newer(&self, range: &KeyRange, at: Timestamp) -> bool {
        if self.newest.load(Relaxed) <= at.0 || range.is_empty() {
            return false;
        }
        let (low, high) = (low_of(&range.start), high_of(&range.end));
        let (low, high) = (as_bound(&low), as_bound(&high));
        self.rows.range::<dyn At, _>((low, high)).any(|entry| at.0 < entry.key().timestamp)
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

type OwnedBound = Bound<(Vec<u8>, u64)>;

/// Where the versions of a range's first key begin.
fn low_of(start: &Bound<Vec<u8>>) -> OwnedBound {
    match start {
        Bound::Included(key) => Bound::Included((key.clone(), u64::MAX)),
        Bound::Excluded(key) => Bound::Excluded((key.clone(), 0)),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// Where the versions of a range's last key end.
fn high_of(end: &Bound<Vec<u8>>) -> OwnedBound {
    match end {
        Bound::Included(key) => Bound::Included((key.clone(), 0)),
        Bound::Excluded(key) => Bound::Excluded((key.clone(), u64::MAX)),
        Bound::Unbounded => Bound::Unbounded,
    }
}

impl At for (Vec<u8>, u64) {
    fn parts(&self) -> (&[u8], u64) {
        (&self.0, self.1)
    }
}

fn as_bound(bound: &OwnedBound) -> Bound<&dyn At> {
    match bound {
        Bound::Included(at) => Bound::Included(at),
        Bound::Excluded(at) => Bound::Excluded(at),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// Walks the rows of a memtable that a snapshot sees, newest version of each key, tombstones included.
/// Takes rows out in chunks, so it holds no place in the map between calls.
pub(crate) struct MemCursor {
    memtable: Arc<Memtable>,
    at: Timestamp,
    low: OwnedBound,
    high: OwnedBound,
    reverse: bool,
    chunk: VecDeque<Row>,
    done: bool,
}

impl MemCursor {
    pub fn new(
        memtable: Arc<Memtable>,
        at: Timestamp,
        range: &KeyRange,
        reverse: bool,
    ) -> MemCursor {
        let (low, high) = (low_of(&range.start), high_of(&range.end));
        let done = range.is_empty() || memtable.is_empty();
        MemCursor { memtable, at, low, high, reverse, chunk: VecDeque::new(), done }
    }

    pub fn next(&mut self) -> Option<Row> {
        if self.chunk.is_empty() && !self.done {
            self.fill();
        }
        self.chunk.pop_front()
    }

    fn fill(&mut self) {
        let bounds = (as_bound(&self.low), as_bound(&self.high));
        let range = self.memtable.rows.range::<dyn At, _>(bounds);
        if self.reverse {
            // From old to new within a key: a newer visible version replaces the one before it.
            for entry in range.rev() {
                let MemKey { key, timestamp } = entry.key();
                let same = self.chunk.back().is_some_and(|(last, _)| **last == **key);
                if !same && MEMTABLE_CHUNK_ROWS <= self.chunk.len() {
                    break;
                }
                match self.chunk.back_mut() {
                    _ if self.at.0 < *timestamp => {}
                    Some(row) if same => row.1 = entry.value().clone(),
                    _ => self.chunk.push_back((key.to_vec(), entry.value().clone())),
                }
            }
        } else {
            for entry in range {
                let MemKey { key, timestamp } = entry.key();
                let same = self.chunk.back().is_some_and(|(last, _)| **last == **key);
                if same || self.at.0 < *timestamp {
                    continue;
                }
                if MEMTABLE_CHUNK_ROWS <= self.chunk.len() {
                    break;
                }
                self.chunk.push_back((key.to_vec(), entry.value().clone()));
            }
        }
        self.done = self.chunk.len() < MEMTABLE_CHUNK_ROWS;
        if let Some((last, _)) = self.chunk.back() {
            match self.reverse {
                false => self.low = Bound::Excluded((last.clone(), 0)),
                true => self.high = Bound::Excluded((last.clone(), u64::MAX)),
            }
        }
    }
}
