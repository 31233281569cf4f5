//! Some segments of an index, open: to the kernel the marks they hold, to a search their entries.

use crate::segment::{OpenSegment, Row, RowCursor, State};
use sochdb_kernel::plugin::{RunCursor, RunRow, Selection, StorageReader};
use sochdb_kernel::{KernelResult, KeyRange, SegmentId, Slice};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The segments of one index.
pub(crate) struct IndexReader {
    /// From the oldest to the newest.
    pub segments: Vec<Arc<OpenSegment>>,
    hidden: OnceLock<Vec<Hidden>>,
    pending: OnceLock<Vec<(Vec<u8>, u64)>>,
}

/// The entries of a segment that newer segments have rows for.
#[derive(Default)]
pub(crate) struct Hidden {
    /// By what they are hidden, one list for each newer segment that hides some.
    pub lists: Vec<Arc<Vec<u32>>>,
}

impl IndexReader {
    pub fn new(segments: Vec<Arc<OpenSegment>>) -> IndexReader {
        IndexReader { segments, hidden: OnceLock::new(), pending: OnceLock::new() }
    }

    /// Keys and marks of the rows whose value no segment knows, growing by their keys.
    pub fn pending(&self) -> KernelResult<&[(Vec<u8>, u64)]> {
        if let Some(pending) = self.pending.get() {
            return Ok(pending);
        }
        let mut pending = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            for &other in segment.pending()? {
                let key = segment.other_key(other)?;
                let mut is_hidden = false;
                for newer in &self.segments[number + 1..] {
                    is_hidden |= newer.has(&key)?;
                }
                if !is_hidden {
                    pending.push((key.into_owned(), segment.other_mark(other)?));
                }
            }
        }
        pending.sort();
        Ok(self.pending.get_or_init(|| pending))
    }

    /// The reader of an index behind a kernel's.
    pub fn of(reader: &dyn StorageReader) -> Option<&IndexReader> {
        (reader as &dyn Any).downcast_ref()
    }

    /// For each segment, what newer ones hide of it.
    pub fn hidden(&self) -> KernelResult<&[Hidden]> {
        if let Some(hidden) = self.hidden.get() {
            return Ok(hidden);
        }
        let mut all = Vec::with_capacity(self.segments.len());
        for (number, older) in self.segments.iter().enumerate() {
            let mut lists = Vec::new();
            let mut known: BTreeMap<SegmentId, Arc<Vec<u32>>> = BTreeMap::new();
            for newer in &self.segments[number + 1..] {
                let kept = older.hidden_by.lock().get(&newer.id()).cloned();
                let list = match kept {
                    Some(list) => list,
                    None => Arc::new(shared(older, newer)?),
                };
                known.insert(newer.id(), list.clone());
                if !list.is_empty() {
                    lists.push(list);
                }
            }
            *older.hidden_by.lock() = known;
            all.push(Hidden { lists });
        }
        Ok(self.hidden.get_or_init(|| all))
    }
}

/// What the index's table holds for `row`: its mark, if it is not deleted.
fn marked(segments: &[Arc<OpenSegment>], row: Row) -> KernelResult<Option<Slice>> {
    let segment = &segments[row.segment];
    let mark = match row.state {
        State::Deleted => return Ok(None),
        State::Entry(number) => segment.mark(number)?,
        State::Empty(number) => segment.other_mark(number)?,
    };
    Ok(Some(mark.to_le_bytes().to_vec().into()))
}

/// The entries of `older` whose keys `newer` has too.
fn shared(older: &OpenSegment, newer: &OpenSegment) -> KernelResult<Vec<u32>> {
    let mut found = Vec::new();
    let mut at = 0;
    for number in 0..newer.entry_count() {
        let (place, there) = older.find(at, &newer.key(number)?)?;
        if there {
            found.push(place);
        }
        at = place;
    }
    at = 0;
    for number in 0..newer.other_count() {
        let (place, there) = older.find(at, &newer.other_key(number)?)?;
        if there {
            found.push(place);
        }
        at = place;
    }
    Ok(found)
}

impl StorageReader for IndexReader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let find = |key: &&[u8]| {
            for (number, segment) in self.segments.iter().enumerate().rev() {
                let (entry, there) = segment.find(0, key)?;
                let state = if there {
                    State::Entry(entry)
                } else {
                    let other = segment.other_lower_bound(0, key)?;
                    if other == segment.other_count() || *segment.other_key(other)? != **key {
                        continue;
                    }
                    match segment.other_is_deleted(other)? {
                        true => State::Deleted,
                        false => State::Empty(other),
                    }
                };
                return marked(&self.segments, Row { segment: number, state }).map(Some);
            }
            Ok(None)
        };
        keys.iter().map(find).collect()
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        _selection: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let rows = RowCursor::new(&self.segments, range, reverse)?;
        Ok(Box::new(Cursor { segments: self.segments.clone(), rows }))
    }
}

struct Cursor {
    segments: Vec<Arc<OpenSegment>>,
    rows: RowCursor,
}

impl RunCursor for Cursor {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < rows_max && (bytes < bytes_max || batch.is_empty()) {
            let Some((key, row)) = self.rows.next()? else { break };
            let value = marked(&self.segments, row)?;
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            batch.push(RunRow { key, value });
        }
        Ok(batch)
    }
}
