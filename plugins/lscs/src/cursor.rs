//! Scans of rows: the rows of all segments in key order, either way, the newest row of each key.
//!
//! Rows are decoded a *window* at a time, column by column, and put together one by one in memory that is used
//! again. Windows grow from 16 rows to 256, so that a short scan does not decode a whole block.
//!
//! Without a selection, tombstones are given out: whoever merges this with other rows, or drops them for good,
//! must see them. With one they are not: they hide older rows here, and are left out like rows that fail a
//! condition. A tombstone is then a *mark*: after `LOOKED_AT_MAX` rows of which none was wanted, the key of the
//! last of them is given out without a value, so that whoever waits knows how far the scan has come, and can ask
//! again. Such a key has no row that is wanted, so the mark hides nothing.

use std::ops::Range;
use std::sync::Arc;

use sochdb_guest::encoding::columns::{ColumnBuilder, Values};
use sochdb_guest::encoding::row::{ColumnType, Value};

use crate::block::Shape;
use crate::keys::{Strings, Walk, append, compare};
use crate::pick::{Picker, Place};
use crate::spans::{Open, Span, Spans};
use crate::typed::{Cell, RowWriter, cell};
use crate::{Result, SegmentSource};

/// Rows of the first window of a scan.
const WINDOW_ROWS_MIN: usize = 16;
/// Rows of a window at most.
const WINDOW_ROWS_MAX: usize = 256;

/// Rows looked at, without one that is wanted, after which a scan with a selection says where it is.
pub const LOOKED_AT_MAX: usize = 1 << 20;

/// Some rows of one block, decoded: of those that it covers, all that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The block's serial number; 0 before the first.
    serial: u64,
    covers: Range<usize>,
    rows: Vec<u32>,
    keys: Strings,
    /// By chunk; nothing for those that are not wanted.
    columns: Vec<Option<ColumnBuilder>>,
    dead: Vec<bool>,
    opaque: bool,
}

impl Window {
    /// Decodes rows of `open` from where `span` begins (in reverse, from where it ends): about `rows_max`, also
    /// behind the span, because the next one of this block goes on there. False if it covered them already.
    #[inline(always)]
    pub fn cover<S: SegmentSource>(
        &mut self,
        open: &mut Open<S>,
        span: &Range<usize>,
        reverse: bool,
        picker: Option<&Picker>,
        rows_max: usize,
    ) -> Result<bool> {
        let first = if reverse { span.end - 1 } else { span.start };
        if self.serial == open.serial && self.covers.contains(&first) {
            return Ok(false);
        }
        self.decode(open, first, reverse, picker, rows_max)?;
        Ok(true)
    }

    /// Decodes rows of `open` from row `first` on.
    #[inline(never)]
    fn decode<S: SegmentSource>(
        &mut self,
        open: &mut Open<S>,
        first: usize,
        reverse: bool,
        picker: Option<&Picker>,
        rows_max: usize,
    ) -> Result<()> {
        self.rows.clear();
        let has_conditions = picker.is_some_and(Picker::has_conditions);
        let mut all = 0..open.block.rows();
        let mask = match picker {
            Some(picker) if has_conditions => open.mask(picker)?,
            _ => None,
        };
        if has_conditions && mask.is_none() {
            (self.serial, self.covers) = (open.serial, all);
            return Ok(());
        }
        // The mask is borrowed from where the block is, which is only read from here on.
        let mask = mask.map(<[u64]>::to_vec);
        let open = &*open;
        let block = &open.block;
        let takes = |row: usize| match &mask {
            Some(mask) => mask[row / 64] >> (row % 64) & 1 == 1,
            None => picker.is_none() || !block.is_dead(row),
        };
        if reverse {
            all.end = first + 1;
        } else {
            all.start = first;
        }
        let mut left = all.clone();
        while self.rows.len() < rows_max {
            let Some(row) = (if reverse { left.next_back() } else { left.next() }) else { break };
            if takes(row) {
                self.rows.push(row as u32);
            }
        }
        self.covers = if reverse { left.end..all.end } else { all.start..left.start };
        if reverse {
            self.rows.reverse();
        }
        self.serial = open.serial;
        let loaded =
            self.load(open, |chunk| picker.is_none_or(|p| p.wanted.get(chunk) == Some(&true)));
        if loaded.is_err() {
            self.serial = 0;
        }
        loaded
    }

    /// The rows of the window that lie in `span`, and what of the span it does not cover.
    #[inline(always)]
    pub fn part(&self, span: &Range<usize>, reverse: bool) -> (Range<usize>, Range<usize>) {
        let position = |row: usize| match self.rows.len() == self.covers.len() {
            true => row.clamp(self.covers.start, self.covers.end) - self.covers.start,
            false => self.rows.partition_point(|known| (*known as usize) < row),
        };
        let (start, end) = (position(span.start), position(span.end));
        let rest = match reverse {
            true => span.start..self.covers.start.clamp(span.start, span.end),
            false => self.covers.end.clamp(span.start, span.end)..span.end,
        };
        (start..end, rest)
    }

    /// Decodes the rows that `self.rows` names, and the chunks that are `wanted`.
    fn load<S: SegmentSource>(
        &mut self,
        open: &Open<S>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let block = &open.block;
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else {
            return Ok(());
        };
        let range = *first as usize..*last as usize + 1;
        let broken = |broken| block.broken_keys(broken);
        self.keys.clear();
        block.keys().collect(&self.rows, &mut self.keys).map_err(broken)?;
        self.dead.clear();
        if block.dead().is_some() {
            self.dead.extend(self.rows.iter().map(|row| block.is_dead(*row as usize)));
        }
        self.opaque = block.shape() == Shape::Opaque;
        self.columns.clear();
        for (index, place) in block.chunks().iter().enumerate() {
            if !(self.opaque || wanted(index)) {
                self.columns.push(None);
                continue;
            }
            let mut column = ColumnBuilder::new(place.kind);
            if block.lacks_values() {
                // Without a selection: then the rows follow each other.
                let (at, ends) = block.known_value_ends()?;
                let (start, mut all) = (ends.start(range.start), vec![0; range.len()]);
                ends.ends(range.start, start, &mut all);
                let end = all.last().map_or(start, |end| *end as usize);
                let data = open.segment.bytes_of(block, at, start..end)?;
                let offsets = all.iter().map(|end| (end - start as i64) as i32);
                let offsets = std::iter::once(0).chain(offsets).collect();
                column.values = Values::Bytes { offsets, data };
                column.filled(range.len(), None);
                self.columns.push(Some(column));
                continue;
            }
            let chunk = block.chunk(index)?;
            match range.len() == self.rows.len() {
                true => chunk.decode(range.clone(), &mut column)?,
                false => chunk.decode_selected(&self.rows, &mut column)?,
            }
            self.columns.push(Some(column));
        }
        Ok(())
    }

    #[inline(always)]
    pub fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index)
    }

    /// The value at `index` as it was stored, in memory of the window or of `writer`; `None` for a tombstone.
    pub fn value<'a>(&'a self, index: usize, writer: &'a mut RowWriter) -> Option<&'a [u8]> {
        if self.dead.get(index) == Some(&true) {
            return None;
        }
        if self.opaque {
            // A null has no bytes.
            return match self.columns[0].as_ref().map(|column| &column.values) {
                Some(Values::Bytes { offsets, data }) => {
                    Some(&data[offsets[index] as usize..offsets[index + 1] as usize])
                }
                _ => Some(&[]),
            };
        }
        writer.begin(self.columns.len());
        for column in self.columns.iter().flatten() {
            writer.push(column.kind(), cell(column, index));
        }
        writer.end();
        Some(writer.row())
    }
}

/// One column of what a scan with a projection gives out.
#[derive(Debug)]
struct Output {
    place: Place,
    kind: ColumnType,
    /// What rows have that were written before the column was added; null if the table does not allow them.
    absent: Value,
}

/// A scan over the segments of a table.
#[derive(Debug)]
pub struct Cursor<S> {
    spans: Spans<S>,
    reverse: bool,
    picker: Option<Arc<Picker>>,
    /// Of a projection.
    outputs: Option<Vec<Output>>,
    needs_keys: bool,
    span: Option<Span>,
    /// One for each run.
    windows: Vec<Window>,
    /// Rows of the next window of each.
    window_rows: Vec<usize>,
    /// Whose window is given out, and its rows that are left.
    run: usize,
    left: Range<usize>,
    /// Rows looked at since the last one was given out, and the most.
    looked_at: usize,
    looked_at_max: usize,
    mark: Walk,
    /// The last key that was made ready to be given out: all others lie beyond.
    last_key: Option<Vec<u8>>,
    writer: RowWriter,
    projected: Vec<u8>,
}

impl<S: SegmentSource> Cursor<S> {
    pub(crate) fn new(spans: Spans<S>, reverse: bool, picker: Option<Arc<Picker>>) -> Cursor<S> {
        let outputs: Option<Vec<_>> = picker.as_ref().and_then(|picker| {
            let output = |position: &usize| Output {
                place: picker.place(*position),
                kind: picker.schema().columns[*position].kind,
                absent: picker.absent(*position).unwrap_or(Value::Null),
            };
            picker
                .selection
                .projection()
                .map(|projection| projection.positions().iter().map(output).collect())
        });
        let in_key = |output: &Output| matches!(output.place, Place::Key(_));
        Cursor {
            reverse,
            picker,
            needs_keys: outputs.iter().flatten().any(in_key),
            outputs,
            span: None,
            windows: (0..spans.runs()).map(|_| Window::default()).collect(),
            window_rows: vec![WINDOW_ROWS_MIN; spans.runs()],
            spans,
            run: 0,
            left: 0..0,
            looked_at: 0,
            looked_at_max: LOOKED_AT_MAX,
            mark: Walk::default(),
            last_key: None,
            writer: RowWriter::default(),
            projected: Vec::new(),
        }
    }

    /// Sets [`LOOKED_AT_MAX`] anew for this scan.
    #[cfg(test)]
    pub(crate) fn look_at_most(&mut self, rows: usize) {
        self.looked_at_max = rows;
    }

    /// The next row, or `None` at the end: its key and its value (with a projection, encoded as that says),
    /// which is `None` for a tombstone; with a selection, for a mark that says how far the scan is. After an
    /// error the scan is over.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a block cannot be read.
    #[allow(clippy::type_complexity, reason = "a key and perhaps a value, both lent")]
    pub fn next_row(&mut self) -> Result<Option<(&[u8], Option<&[u8]>)>> {
        while self.left.is_empty() {
            if self.looked_at_max <= self.looked_at {
                self.looked_at = 0;
                return Ok(Some((self.seek_mark()?, None)));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.looked_at = 0;
        let index = if self.reverse { self.left.next_back() } else { self.left.next() };
        let index = index.expect("the window was filled");
        let Cursor { windows, run, writer, outputs, picker, projected, needs_keys, .. } = self;
        let window = &windows[*run];
        let key = window.key(index);
        let (Some(outputs), Some(picker)) = (outputs, picker) else {
            return Ok(Some((key, window.value(index, writer))));
        };
        if window.opaque {
            let Some(value) = window.value(index, writer) else { return Ok(Some((key, None))) };
            if let Some(projection) = picker.selection.projection() {
                *projected = projection.encode(picker.schema(), key, value)?;
            }
            return Ok(Some((key, Some(projected))));
        }
        let keys = if *needs_keys { picker.schema().key_values(key)? } else { Vec::new() };
        writer.begin(outputs.len());
        for Output { place, kind, absent } in outputs {
            match *place {
                Place::Key(order) => writer.push(*kind, cell_of(&keys[order])),
                Place::Stored(chunk) => match window.columns.get(chunk).and_then(Option::as_ref) {
                    Some(column) => writer.push(*kind, cell(column, index)),
                    None => writer.push(*kind, cell_of(absent)),
                },
            }
        }
        writer.end();
        Ok(Some((key, Some(writer.row()))))
    }

    /// Gives `each` the next rows as [`next_row`](Self::next_row) would, until it answers false or there are no more.
    ///
    /// # Errors
    /// As [`next_row`](Self::next_row); the rows before were given.
    pub fn each_row(&mut self, mut each: impl FnMut(&[u8], Option<&[u8]>) -> bool) -> Result<()> {
        while self.outputs.is_none() && !self.reverse {
            if self.left.is_empty() {
                if self.looked_at_max <= self.looked_at {
                    break;
                }
                if !self.fill()? {
                    return Ok(());
                }
                continue;
            }
            // Rows of one window, given as they are.
            self.looked_at = 0;
            let Cursor { windows, run, left, writer, .. } = self;
            let window = &windows[*run];
            for index in left {
                if !each(window.key(index), window.value(index, writer)) {
                    return Ok(());
                }
            }
        }
        while let Some((key, value)) = self.next_row()? {
            if !each(key, value) {
                break;
            }
        }
        Ok(())
    }

    /// The key of the last row looked at, which is not wanted.
    fn seek_mark(&mut self) -> Result<&[u8]> {
        if let Some(span) = &self.span {
            let row = if self.reverse { span.rows.end } else { span.rows.start - 1 };
            let block = &self.spans.open(span).block;
            self.mark.restart();
            self.mark.seek(&block.keys(), row).map_err(|broken| block.broken_keys(broken))?;
            if !goes_on(self.last_key.as_deref(), &self.mark.key, self.reverse) {
                return Err(block.broken_keys("keys out of order"));
            }
            self.last_key = Some(self.mark.key.clone());
        }
        Ok(&self.mark.key)
    }

    /// Checks that the rows about to be given out lie beyond all before.
    fn check_order(&mut self) -> Result<()> {
        let (window, rows) = (&self.windows[self.run], &self.left);
        if rows.is_empty() {
            return Ok(());
        }
        let (mut first, mut last) = (window.key(rows.start), window.key(rows.end - 1));
        if self.reverse {
            (first, last) = (last, first);
        }
        let in_order = goes_on(self.last_key.as_deref(), first, self.reverse);
        let known = self.last_key.get_or_insert_default();
        known.clear();
        append(known, last);
        match (in_order, &self.span) {
            (false, Some(span)) => {
                self.left = 0..0;
                Err(self.spans.open(span).block.broken_keys("keys out of order"))
            }
            _ => Ok(()),
        }
    }

    /// Decodes rows of the span under way, or begins the next; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.span.as_ref().is_none_or(|span| span.rows.is_empty()) {
            self.span = None;
            self.span = self.spans.next()?;
        }
        let Some(span) = &mut self.span else { return Ok(false) };
        let (open, window) = (self.spans.open(span), &mut self.windows[span.run]);
        let picker = self.picker.as_deref();
        let window_rows = &mut self.window_rows[span.run];
        if window.cover(open, &span.rows, self.reverse, picker, *window_rows)? {
            *window_rows = (*window_rows * 2).min(WINDOW_ROWS_MAX);
        }
        self.run = span.run;
        let before = span.rows.len();
        (self.left, span.rows) = window.part(&span.rows, self.reverse);
        if picker.is_some() {
            self.looked_at += before - span.rows.len();
        }
        self.check_order()?;
        Ok(true)
    }
}

/// Whether `key` lies beyond `last` in the scan's direction.
#[inline(always)]
fn goes_on(last: Option<&[u8]>, key: &[u8], reverse: bool) -> bool {
    let order = |last| if reverse { compare(key, last) } else { compare(last, key) };
    last.is_none_or(|last| order(last).is_lt())
}

fn cell_of(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(*value),
        Value::Int64(value) | Value::Timestamp(value) => Cell::Int(*value),
        Value::Float64(value) => Cell::Float(*value),
        Value::String(value) => Cell::Bytes(value.as_bytes()),
        Value::Bytes(value) => Cell::Bytes(value),
        Value::Vector(floats) => Cell::Vector(floats),
    }
}
