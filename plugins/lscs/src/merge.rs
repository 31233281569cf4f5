//! The merge of a compaction: some segments become others with the same rows, without those that are hidden.
//!
//! A block whose keys lie between those of all other inputs is copied as it is. So a merge of segments that
//! hardly overlap, or follow each other, costs little more than reading and writing their bytes.

use std::sync::Arc;

use sochdb_guest::encoding::range::KeyRange;

use crate::cursor::Window;
use crate::options::Options;
use crate::pieces::PieceWriter;
use crate::plan::runs;
use crate::segment::{Properties, SegmentReader};
use crate::spans::Spans;
use crate::typed::RowWriter;
use crate::{PieceSink, Result, SegmentSource};

/// What lies below a merge is not known here.
const NO_SEGMENTS: &[Properties] = &[];
/// Rows decoded at a time.
const WINDOW_ROWS: usize = 256;

/// Merges `inputs` (oldest first: later hides earlier) into new segments of a table with `options`, which are
/// written to `sink` in the order of their keys.
///
/// `drop_deleted` says that nothing older than the inputs has any of their keys: then a tombstone hides nothing
/// any more and is dropped.
///
/// # Errors
/// `Corrupt` or `Unavailable` when a segment cannot be read or the sink fails.
pub fn merge<S: SegmentSource, P: PieceSink>(
    inputs: &[Arc<SegmentReader<S>>],
    drop_deleted: bool,
    options: &Options,
    sink: &mut P,
) -> Result<Vec<Properties>> {
    let properties: Vec<_> = inputs.iter().map(|segment| segment.properties()).collect();
    let mut spans = Spans::new(inputs, &runs(&properties), KeyRange::all(), false, None);
    let mut pieces = PieceWriter::new(options, NO_SEGMENTS, sink);
    let mut windows: Vec<_> = (0..spans.runs()).map(|_| Window::default()).collect();
    let mut writer = RowWriter::default();
    while let Some(span) = spans.next()? {
        let (open, window) = (spans.open(&span), &mut windows[span.run]);
        let (block, drops) = (&open.block, drop_deleted && open.block.dead().is_some());
        if span.rows == (0..block.rows())
            && !drops
            && pieces.copy(&open.segment, open.position, block)?
        {
            continue;
        }
        let mut left = span.rows;
        while !left.is_empty() {
            window.cover(open, &left, false, None, WINDOW_ROWS)?;
            let (part, rest) = window.part(&left, false);
            for index in part {
                let value = window.value(index, &mut writer);
                if value.is_some() || !drop_deleted {
                    pieces.push(window.key(index), value)?;
                }
            }
            left = rest;
        }
    }
    pieces.finish()
}
