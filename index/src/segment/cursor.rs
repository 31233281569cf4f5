//! The rows of segments in order of their keys: of equal keys the newest segment's row.

use super::OpenSegment;
use sochdb_encoding::merge::{Merged, Source};
use sochdb_kernel::{KernelError, KernelResult, KeyRange};
use std::sync::Arc;

/// What a row is to the index's own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has a value: entry so-and-so.
    Entry(u32),
    /// It is there and has none: one of the others.
    Empty(u32),
    /// Its key was deleted: one of the others.
    Deleted,
}

/// A row, and the segment it is in, counted from the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub segment: usize,
    pub state: State,
}

/// The rows of one segment in a range.
struct OneCursor {
    number: usize,
    segment: Arc<OpenSegment>,
    entries: std::ops::Range<u32>,
    others: std::ops::Range<u32>,
    reverse: bool,
}

impl OneCursor {
    fn new(
        number: usize,
        segment: &Arc<OpenSegment>,
        range: &KeyRange,
        reverse: bool,
    ) -> KernelResult<OneCursor> {
        Ok(OneCursor {
            number,
            segment: segment.clone(),
            entries: segment.entries_in(range)?,
            others: segment.others_in(range)?,
            reverse,
        })
    }
}

impl Source for OneCursor {
    type Value = Row;
    type Error = KernelError;

    fn next(&mut self) -> KernelResult<Option<(Vec<u8>, Option<Row>)>> {
        let end = |range: &std::ops::Range<u32>, reverse: bool| match range.is_empty() {
            true => None,
            false => Some(if reverse { range.end - 1 } else { range.start }),
        };
        let (entry, other) = (end(&self.entries, self.reverse), end(&self.others, self.reverse));
        let entry_key = entry.map(|number| self.segment.key(number)).transpose()?;
        let other_key = other.map(|number| self.segment.other_key(number)).transpose()?;
        let takes_entry = match (&entry_key, &other_key) {
            (None, None) => return Ok(None),
            (Some(entry), Some(other)) if self.reverse => other < entry,
            (Some(entry), Some(other)) => entry < other,
            (entry, None) => entry.is_some(),
            (None, Some(_)) => false,
        };
        let key = if takes_entry { entry_key } else { other_key };
        let key = key.map(std::borrow::Cow::into_owned).unwrap_or_default();
        let state = match (takes_entry, entry, other) {
            (true, Some(number), _) => State::Entry(number),
            (_, _, Some(number)) => match self.segment.other_is_deleted(number)? {
                true => State::Deleted,
                false => State::Empty(number),
            },
            _ => return Ok(None),
        };
        let range = if takes_entry { &mut self.entries } else { &mut self.others };
        if self.reverse {
            range.end -= 1
        } else {
            range.start += 1
        }
        Ok(Some((key, Some(Row { segment: self.number, state }))))
    }
}

/// The newest row of each key in a range.
pub(crate) struct RowCursor(Merged<OneCursor>);

impl RowCursor {
    /// The rows of `segments`, which are given from the oldest to the newest.
    pub fn new(
        segments: &[Arc<OpenSegment>],
        range: &KeyRange,
        reverse: bool,
    ) -> KernelResult<RowCursor> {
        let newest_first = segments.iter().enumerate().rev();
        let cursors = newest_first.map(|(number, one)| OneCursor::new(number, one, range, reverse));
        Ok(RowCursor(Merged::new(cursors.collect::<KernelResult<_>>()?, reverse, false)))
    }

    pub fn next(&mut self) -> KernelResult<Option<(Vec<u8>, Row)>> {
        let row = self.0.next()?;
        Ok(row.map(|(key, row)| (key, row.expect("deleted rows are rows with a state here"))))
    }
}
