//! Scans of rows: the rows of all segments in key order, either way, the newest row of each key.
//!
//! Rows are decoded a *window* at a time, column by column, and put together one by one in memory that is used
//! again. Windows grow from [`WINDOW_ROWS_MIN`], so that a short scan does not decode a whole block.
//!
//! Without a selection, tombstones are given out: whoever merges this with other rows, or drops them for good,
//! must see them. With one they are not: they hide older rows here, and are left out like rows that fail a
//! condition.

use std::ops::Range;
use std::sync::Arc;

use sochdb_encoding::columns::ColumnBuilder;
use sochdb_encoding::row::{ColumnType, Value};

use crate::block::{Block, Shape};
use crate::keys::{Strings, Walk};
use crate::pick::{Picker, Place};
use crate::spans::{Span, Spans};
use crate::typed::{Cell, RowWriter, cell};
use crate::{Result, SegmentSource};

/// Rows of the first window of a scan.
const WINDOW_ROWS_MIN: usize = 16;
/// Rows of a window at most.
const WINDOW_ROWS_MAX: usize = 256;

/// Some rows of one block, decoded.
#[derive(Debug, Default)]
pub(crate) struct Window {
    rows: Vec<u32>,
    keys: Strings,
    /// By chunk; nothing for those that are not wanted.
    columns: Vec<Option<ColumnBuilder>>,
    dead: Vec<bool>,
    opaque: bool,
}

impl Window {
    /// Decodes the rows that `self.rows` names, and the chunks that are `wanted`.
    fn load(&mut self, block: &Block, wanted: impl Fn(usize) -> bool) -> Result<()> {
        let (first, last) = match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) => (*first as usize, *last as usize + 1),
            _ => (0, 0),
        };
        let whole = last - first == self.rows.len();
        let broken = |broken| block.broken_keys(broken);
        self.keys.clear();
        let mut walk = Walk::default();
        let keys = block.keys();
        for row in &self.rows {
            walk.seek(&keys, *row as usize).map_err(broken)?;
            if self.keys.last().is_some_and(|last| walk.key[..] <= *last) {
                return Err(block.broken_keys("keys out of order"));
            }
            self.keys.push(&walk.key);
        }
        self.dead.clear();
        if block.dead().is_some() {
            self.dead.extend(self.rows.iter().map(|row| block.is_dead(*row as usize)));
        }
        self.opaque = block.shape() == Shape::Opaque;
        self.columns.clear();
        if self.rows.is_empty() {
            return Ok(());
        }
        for (index, place) in block.chunks().iter().enumerate() {
            if !(self.opaque || wanted(index)) {
                self.columns.push(None);
                continue;
            }
            let mut column = ColumnBuilder::new(place.kind);
            let chunk = block.chunk(index)?;
            match whole {
                true => chunk.decode(first..last, &mut column)?,
                false => chunk.decode_selected(&self.rows, &mut column)?,
            }
            self.columns.push(Some(column));
        }
        Ok(())
    }

    /// Decodes `rows` of `block`, all chunks of which were read.
    pub fn load_all(&mut self, block: &Block, rows: Range<usize>) -> Result<()> {
        self.rows.clear();
        self.rows.extend(rows.start as u32..rows.end as u32);
        self.load(block, |_| true)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index)
    }

    /// The value at `index` as it was stored, in memory of the window or of `writer`; `None` for a tombstone.
    pub fn value<'a>(&'a self, index: usize, writer: &'a mut RowWriter) -> Option<&'a [u8]> {
        if self.dead.get(index) == Some(&true) {
            return None;
        }
        if self.opaque {
            return match self.columns[0].as_ref().map(|column| cell(column, index)) {
                Some(Cell::Bytes(bytes)) => Some(bytes),
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
    window: Window,
    window_rows: usize,
    /// Rows of the window not yet given out.
    left: Range<usize>,
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
            spans,
            reverse,
            picker,
            needs_keys: outputs.iter().flatten().any(in_key),
            outputs,
            span: None,
            window: Window::default(),
            window_rows: WINDOW_ROWS_MIN,
            left: 0..0,
            writer: RowWriter::default(),
            projected: Vec::new(),
        }
    }

    /// The next row, or `None` at the end: its key and its value (with a projection, encoded as that says),
    /// which is `None` for a tombstone. After an error the scan is over.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a block cannot be read.
    #[allow(clippy::type_complexity, reason = "a key and perhaps a value, both lent")]
    pub fn next_row(&mut self) -> Result<Option<(&[u8], Option<&[u8]>)>> {
        while self.left.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let index = if self.reverse { self.left.next_back() } else { self.left.next() };
        let index = index.expect("the window was filled");
        let Cursor { window, writer, outputs, picker, projected, needs_keys, .. } = self;
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

    /// Fills the window with rows of the span under way, or begins the next; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.span.as_ref().is_none_or(|span| span.rows.is_empty()) {
            self.span = None;
            self.span = self.spans.next()?;
        }
        let Some(span) = &mut self.span else { return Ok(false) };
        let (open, rows) = (self.spans.open(span), &mut self.window.rows);
        rows.clear();
        let most = self.window_rows;
        let mut mask = None;
        if let Some(picker) = self.picker.as_ref().filter(|picker| picker.has_conditions()) {
            mask = Some(open.mask(picker)?.unwrap_or(&[]).to_vec());
        }
        let live_only = self.picker.is_some();
        let block = &open.block;
        let takes = |row: usize| match &mask {
            Some(mask) => mask.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1),
            None => !(live_only && block.is_dead(row)),
        };
        let taken = &mut span.rows;
        if mask.as_ref().is_some_and(Vec::is_empty) {
            *taken = 0..0;
        }
        while rows.len() < most {
            let row = if self.reverse { taken.next_back() } else { taken.next() };
            let Some(row) = row else { break };
            if takes(row) {
                rows.push(row as u32);
            }
        }
        if self.reverse {
            rows.reverse();
        }
        let picker = self.picker.as_deref();
        let wanted =
            |chunk: usize| picker.is_none_or(|picker| picker.wanted.get(chunk) == Some(&true));
        self.window.load(block, wanted)?;
        self.left = 0..self.window.len();
        self.window_rows = (most * 2).min(WINDOW_ROWS_MAX);
        Ok(true)
    }
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
