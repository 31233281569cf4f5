//! Scans: the rows of all segments in key order, either way, the newest row of each key.
//!
//! Each segment has a queue of the rows of one restart interval; the merge takes the least (in reverse,
//! the greatest) of their fronts and drops the same key from older segments. Tombstones are given out:
//! whoever merges this with newer rows, or drops them for good, must see them.

use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::block::{Block, RESTART_ROWS};
use crate::segment::SegmentReader;
use crate::{Error, Result, Row, SegmentSource};

/// A range of keys, each end open, closed or absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The least key.
    pub start: Bound<Vec<u8>>,
    /// The greatest key.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: KeyRange = KeyRange { start: Bound::Unbounded, end: Bound::Unbounded };

    /// Whether `key` is not below the range; it may be above it.
    fn is_past_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => *start.as_slice() <= *key,
            Bound::Excluded(start) => *start.as_slice() < *key,
            Bound::Unbounded => true,
        }
    }

    /// Whether `key` is not above the range; it may be below it.
    fn is_before_end(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => *key <= *end.as_slice(),
            Bound::Excluded(end) => *key < *end.as_slice(),
            Bound::Unbounded => true,
        }
    }
}

/// A scan over a list of segments.
#[derive(Debug)]
pub struct Cursor<S> {
    /// Oldest first.
    segments: Vec<SegmentCursor<S>>,
    reverse: bool,
}

impl<S: SegmentSource> Cursor<S> {
    /// A scan of `range` over `segments` (oldest first), from the greatest key down when `reverse`.
    /// Nothing is read yet.
    pub fn new(segments: &[Arc<SegmentReader<S>>], range: &KeyRange, reverse: bool) -> Self {
        let open = |segment: &Arc<_>| SegmentCursor::new(Arc::clone(segment), range, reverse);
        Cursor { segments: segments.iter().map(open).collect(), reverse }
    }

    /// The next row, or `None` at the end. After an error the scan is over.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a block cannot be read.
    pub fn next_row(&mut self) -> Result<Option<Row>> {
        let mut best: Option<(usize, &[u8])> = None;
        for (position, segment) in self.segments.iter_mut().enumerate() {
            let Some(key) = segment.peek()? else { continue };
            // On equal keys the later segment wins: it is newer.
            if best.is_none_or(|(_, least)| key == least || (key < least) != self.reverse) {
                best = Some((position, key));
            }
        }
        let Some((position, key)) = best.map(|(position, key)| (position, key.to_vec())) else {
            return Ok(None);
        };
        for segment in &mut self.segments[..position] {
            if segment.peek()? == Some(&key) {
                segment.queue.pop_front();
            }
        }
        let value = self.segments[position].pop_value()?;
        Ok(Some(Row { key, value }))
    }

    /// The next rows: at most `rows_max`, and no more once they have `bytes_max` bytes of keys and
    /// values, which the last row may pass. Empty only at the end.
    ///
    /// # Errors
    /// `Invalid` when `rows_max` is 0; otherwise as [`Cursor::next_row`].
    pub fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> Result<Vec<Row>> {
        if rows_max == 0 {
            return Err(Error::Invalid("a batch of no rows".into()));
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < rows_max && (batch.is_empty() || bytes < bytes_max) {
            let Some(row) = self.next_row()? else { break };
            bytes += row.key.len() + row.value.as_ref().map_or(0, Vec::len);
            batch.push(row);
        }
        Ok(batch)
    }
}

/// A scan over one segment.
#[derive(Debug)]
struct SegmentCursor<S> {
    segment: Arc<SegmentReader<S>>,
    range: KeyRange,
    reverse: bool,
    /// Positions in the index not yet read.
    blocks: Range<usize>,
    block: Option<Block>,
    /// Restart intervals of `block` not yet decoded.
    intervals: Range<usize>,
    /// Keys of the decoded interval with their rows in `block`, in the scan's direction.
    queue: VecDeque<(Vec<u8>, usize)>,
    /// The last key that was queued: what follows must lie beyond it.
    last_key: Option<Vec<u8>>,
}

impl<S: SegmentSource> SegmentCursor<S> {
    fn new(segment: Arc<SegmentReader<S>>, range: &KeyRange, reverse: bool) -> Self {
        let index = segment.index();
        let start = index.partition_point(|entry| !range.is_past_start(&entry.last_key));
        let end = index.partition_point(|entry| range.is_before_end(&entry.first_key));
        let (range, queue) = (range.clone(), VecDeque::new());
        let (blocks, intervals) = (start..end, 0..0);
        SegmentCursor {
            segment,
            range,
            reverse,
            blocks,
            block: None,
            intervals,
            queue,
            last_key: None,
        }
    }

    /// The next key, after reading as far as needed.
    fn peek(&mut self) -> Result<Option<&[u8]>> {
        while self.queue.is_empty() {
            if let Some(interval) = step(&mut self.intervals, self.reverse) {
                self.fill(interval)?;
            } else if let Some(position) = step(&mut self.blocks, self.reverse) {
                let block = self.segment.block(position)?;
                let first = block.intervals_before(|key| !self.range.is_past_start(key))?;
                let end = block.intervals_before(|key| self.range.is_before_end(key))?;
                // The interval before the first restart inside the range may reach into it.
                self.intervals = first.saturating_sub(1)..end;
                self.block = Some(block);
            } else {
                return Ok(None);
            }
        }
        Ok(self.queue.front().map(|(key, _)| &key[..]))
    }

    /// Queues the rows of `interval` that lie in the range.
    fn fill(&mut self, interval: usize) -> Result<()> {
        let Some(block) = &self.block else { return Ok(()) };
        let keys = block.keys(interval)?.into_iter().enumerate();
        let rows = keys.map(|(index, key)| (key, interval * RESTART_ROWS + index));
        let range = &self.range;
        let rows = rows.filter(|(key, _)| range.is_past_start(key) && range.is_before_end(key));
        self.queue = rows.collect();
        if self.reverse {
            self.queue.make_contiguous().reverse();
        }
        let (Some(first), Some(last)) = (self.queue.front(), self.queue.back()) else {
            return Ok(());
        };
        let beyond = |last: &Vec<u8>| first.0 != *last && (*last < first.0) != self.reverse;
        if !self.last_key.as_ref().is_none_or(beyond) {
            self.blocks = 0..0;
            self.intervals = 0..0;
            self.queue.clear();
            return Err(Error::corrupt(self.segment.name(), 0, "its keys are out of order"));
        }
        self.last_key = Some(last.0.clone());
        Ok(())
    }

    /// Takes the row that `peek` has shown and returns its value.
    fn pop_value(&mut self) -> Result<Option<Vec<u8>>> {
        let (Some((_, row)), Some(block)) = (self.queue.pop_front(), &self.block) else {
            unreachable!("`peek` has shown a row");
        };
        Ok(block.value(row)?.map(<[u8]>::to_vec))
    }
}

/// The next position of `range` in the scan's direction.
fn step(range: &mut Range<usize>, reverse: bool) -> Option<usize> {
    if reverse { range.next_back() } else { range.next() }
}
