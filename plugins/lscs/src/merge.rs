//! Compaction: which segments to merge, and the merge itself.
//!
//! The list of segments is oldest first, and only neighbours are merged, so that "later hides earlier"
//! stays true. Sizes are kept so that every segment is larger than all newer ones that could join it:
//! then their number grows with the logarithm of the data, and each row is rewritten as often.
//!
//! Source: the universal style of RocksDB; its size ratio is 100% here.

use std::ops::Range;
use std::sync::Arc;

use crate::cursor::{Cursor, KeyRange};
use crate::segment::{SegmentInfo, SegmentReader, SegmentWriter};
use crate::{Result, SegmentSink, SegmentSource};

/// Fewer neighbours of similar size than this are left alone.
pub const MERGE_SEGMENTS_MIN: usize = 4;
/// More than this are not merged at once: each holds a block in memory.
pub const MERGE_SEGMENTS_MAX: usize = 16;

/// The neighbours worth merging among segments of `sizes` bytes, oldest first; `None` when all is well.
///
/// From each end, newest first, the group grows towards older segments as long as the next is not larger
/// than the group so far. The first group of [`MERGE_SEGMENTS_MIN`] or more wins.
pub fn plan_compaction(sizes: &[u64]) -> Option<Range<usize>> {
    for end in (MERGE_SEGMENTS_MIN..=sizes.len()).rev() {
        let (mut start, mut group) = (end - 1, sizes[end - 1]);
        while 0 < start && end - start < MERGE_SEGMENTS_MAX && sizes[start - 1] <= group {
            start -= 1;
            group = group.saturating_add(sizes[start]);
        }
        if MERGE_SEGMENTS_MIN <= end - start {
            return Some(start..end);
        }
    }
    None
}

/// A merge under way: it can be stepped in slices, and given up at any time.
#[derive(Debug)]
pub struct Merge<S, W> {
    cursor: Cursor<S>,
    writer: SegmentWriter<W>,
    drop_tombstones: bool,
}

impl<S: SegmentSource, W: SegmentSink> Merge<S, W> {
    /// Begins to merge `segments` (neighbours, oldest first) into one segment at `sink`.
    ///
    /// `includes_oldest` says that the table's oldest segment is among them: then a tombstone hides
    /// nothing any more and is dropped.
    pub fn new(segments: &[Arc<SegmentReader<S>>], includes_oldest: bool, sink: W) -> Self {
        let cursor = Cursor::new(segments, &KeyRange::ALL, false);
        Merge { cursor, writer: SegmentWriter::new(sink), drop_tombstones: includes_oldest }
    }

    /// Merges up to `rows_max` rows more; `true` when none are left and [`Merge::finish`] is due.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a segment cannot be read or the sink fails.
    pub fn step(&mut self, rows_max: usize) -> Result<bool> {
        for _ in 0..rows_max {
            let Some(row) = self.cursor.next_row()? else { return Ok(true) };
            if row.value.is_some() || !self.drop_tombstones {
                self.writer.push(&row.key, row.value.as_deref())?;
            }
        }
        Ok(false)
    }

    /// Merges what is left and ends the segment; `None`, and nothing written, when no row is left.
    ///
    /// # Errors
    /// As [`Merge::step`].
    pub fn finish(mut self) -> Result<Option<SegmentInfo>> {
        while !self.step(1024)? {}
        self.writer.finish()
    }
}
