//! Scans of columns: batches in Arrow's layout, ascending, of the rows that the conditions leave.
//!
//! The rows of a span are decoded in bulk, column by column: a whole range of a chunk where all rows are wanted,
//! otherwise those that have a bit in the mask.

use std::ops::Range;
use std::sync::Arc;

use sochdb_guest::encoding::columns::{Bits, ColumnBatch, ColumnBuilder, Values};
use sochdb_guest::encoding::row::{ColumnType, Schema, Value};

use crate::block::{Block, Shape};
use crate::keys::Walk;
use crate::pick::{Picker, Place};
use crate::spans::{Open, Span, Spans};
use crate::{Error, Result, SegmentSource};

/// Rows that are decoded before a batch's bytes are counted again.
const STEP_ROWS: usize = 4 << 10;
/// A batch ends, even without a row, when so many were looked at: a scan that finds little still says how far
/// it has come.
const LOOKED_AT_MAX: usize = 1 << 20;
/// A block from which rows are taken more often than this, because other runs have rows between them, is decoded
/// as a whole.
const VISITS_MAX: usize = 4;
const SIGN: u64 = 1 << 63;

/// A scan of columns over the segments of a table.
#[derive(Debug)]
pub struct ColumnCursor<S> {
    spans: Spans<S>,
    picker: Arc<Picker>,
    /// Positions in the schema of the columns given out.
    positions: Vec<usize>,
    span: Option<Span>,
    has_ended: bool,
}

impl<S: SegmentSource> ColumnCursor<S> {
    pub(crate) fn new(spans: Spans<S>, picker: Arc<Picker>) -> ColumnCursor<S> {
        let all = || (0..picker.schema().columns.len()).collect();
        let positions = picker.selection.projection();
        let positions = positions.map_or_else(all, |projection| projection.positions().to_vec());
        ColumnCursor { spans, picker, positions, span: None, has_ended: false }
    }

    /// The next rows: at most `rows_max`, and not many more bytes than `bytes_max`. A batch says through which key
    /// it has every row; the last says nothing, and `None` follows it. A batch may have no rows: the last one, and
    /// when many rows were looked at that fulfil no condition.
    ///
    /// # Errors
    /// `Invalid` when `rows_max` is 0; `Corrupt` or `Unavailable` when a block cannot be read.
    pub fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> Result<Option<ColumnBatch>> {
        if rows_max == 0 {
            return Err(Error::Invalid("a batch of no rows".into()));
        }
        if self.has_ended {
            return Ok(None);
        }
        let kind = |position: &usize| self.picker.schema().columns[*position].kind;
        let mut columns: Vec<_> =
            self.positions.iter().map(|p| ColumnBuilder::new(kind(p))).collect();
        let (mut rows, mut looked_at, mut through) = (0, 0, None);
        let is_full = |rows: usize, looked_at: usize, columns: &[ColumnBuilder]| {
            rows_max <= rows
                || LOOKED_AT_MAX <= looked_at
                || bytes_max <= columns.iter().map(ColumnBuilder::bytes).sum::<usize>()
        };
        while looked_at == 0 || !is_full(rows, looked_at, &columns) {
            if self.span.as_ref().is_none_or(|span| span.rows.is_empty()) {
                self.span = None;
                self.span = self.spans.next()?;
            }
            let Some(span) = &mut self.span else {
                self.has_ended = true;
                return Ok(Some(ColumnBatch::new(rows, columns, None)?));
            };
            let start = span.rows.start;
            let mut end = span.rows.end.min(start + STEP_ROWS.min(rows_max - rows));
            let open = self.spans.open(span);
            let mut chosen = Chosen::None;
            if self.picker.has_conditions() {
                match open.mask(&self.picker)? {
                    None => end = span.rows.end,
                    Some(mask) => {
                        // Rows without a bit cost nothing, so more of them are looked at.
                        end = span.rows.end;
                        chosen = choose(mask, start..end, STEP_ROWS.min(rows_max - rows), &mut end);
                    }
                }
            } else {
                chosen = choose_living(&open.block, start..end);
            }
            rows += chosen.len();
            open.visits += 1;
            for (position, column) in self.positions.iter().zip(&mut columns) {
                append(&self.picker, *position, open, &chosen, column)?;
            }
            looked_at += end - start;
            span.rows.start = end;
            through = Some((end - 1, span.clone()));
        }
        let through = match through {
            Some((row, span)) => {
                let block = &self.spans.open(&span).block;
                let mut walk = Walk::default();
                walk.seek(&block.keys(), row).map_err(|broken| block.broken_keys(broken))?;
                Some(walk.key)
            }
            None => None,
        };
        Ok(Some(ColumnBatch::new(rows, columns, through)?))
    }
}

/// Rows of a block.
enum Chosen {
    None,
    All(Range<usize>),
    Some(Vec<u32>),
}

impl Chosen {
    fn of(rows: Vec<u32>) -> Chosen {
        match (rows.first(), rows.last()) {
            (Some(first), Some(last)) if (last - first) as usize + 1 == rows.len() => {
                Chosen::All(*first as usize..*last as usize + 1)
            }
            (None, _) => Chosen::None,
            _ => Chosen::Some(rows),
        }
    }

    fn len(&self) -> usize {
        match self {
            Chosen::None => 0,
            Chosen::All(rows) => rows.len(),
            Chosen::Some(rows) => rows.len(),
        }
    }

    fn each(&self, mut each: impl FnMut(usize) -> Result<()>) -> Result<()> {
        match self {
            Chosen::None => Ok(()),
            Chosen::All(rows) => rows.clone().try_for_each(each),
            Chosen::Some(rows) => rows.iter().try_for_each(|row| each(*row as usize)),
        }
    }
}

/// The first `most` of `rows` that have a bit in `mask`; `end` becomes the row behind the last one looked at.
fn choose(mask: &[u64], rows: Range<usize>, most: usize, end: &mut usize) -> Chosen {
    let mut chosen = Vec::new();
    for (index, word) in mask.iter().enumerate().take(rows.end.div_ceil(64)).skip(rows.start / 64) {
        let mut word = *word;
        if index == rows.start / 64 {
            word &= u64::MAX << (rows.start % 64);
        }
        while word != 0 {
            let row = index * 64 + word.trailing_zeros() as usize;
            if rows.end <= row {
                return Chosen::of(chosen);
            }
            chosen.push(row as u32);
            if chosen.len() == most {
                *end = row + 1;
                return Chosen::of(chosen);
            }
            word &= word - 1;
        }
    }
    Chosen::of(chosen)
}

/// Those of `rows` that are not deleted.
fn choose_living(block: &Block, rows: Range<usize>) -> Chosen {
    match block.dead() {
        None => Chosen::All(rows),
        Some(_) => {
            let living = rows.filter(|row| !block.is_dead(*row)).map(|row| row as u32);
            Chosen::of(living.collect())
        }
    }
}

/// Appends the column at `position` of the schema, of the `chosen` rows of the block of `open`.
fn append<S: SegmentSource>(
    picker: &Picker,
    position: usize,
    open: &mut Open<S>,
    chosen: &Chosen,
    out: &mut ColumnBuilder,
) -> Result<()> {
    let block = &open.block;
    let stored = match picker.place(position) {
        _ if chosen.len() == 0 => return Ok(()),
        Place::Key(order) => return append_keys(picker.schema(), order, block, chosen, out),
        Place::Stored(index) => index,
    };
    if block.shape() == Shape::Opaque {
        let (chunk, mut scratch) = (block.chunk(0)?, Vec::new());
        return chosen.each(|row| {
            let value = chunk.bytes(row, &mut scratch).unwrap_or_default();
            Ok(out.push(&picker.schema().column(value, position)?)?)
        });
    }
    if block.chunks().len() <= stored {
        let missing = || block.corrupt(0, "rows without a column that has no default");
        let absent = picker.absent(position).ok_or_else(missing)?;
        return chosen.each(|_| Ok(out.push(&absent)?));
    }
    if VISITS_MAX < open.visits {
        return gather(open.decoded(stored)?, chosen, out);
    }
    let chunk = block.chunk(stored)?;
    match chosen {
        Chosen::None => Ok(()),
        Chosen::All(rows) => chunk.decode(rows.clone(), out),
        Chosen::Some(rows) => chunk.decode_selected(rows, out),
    }
}

/// Appends the `chosen` rows of `from` to `out`, which holds the same.
fn gather(from: &ColumnBuilder, chosen: &Chosen, out: &mut ColumnBuilder) -> Result<()> {
    let mut validity = from.validity().map(|_| Bits::default());
    if let (Some(bits), Some(valid)) = (&mut validity, from.validity()) {
        chosen.each(|row| {
            bits.push(valid.get(row));
            Ok(())
        })?;
    }
    let dim = if let ColumnType::Vector(dim) = from.kind() { dim as usize } else { 0 };
    let mut too_much = false;
    chosen.each(|row| {
        match (&from.values, &mut out.values) {
            (Values::Bool(from), Values::Bool(out)) => out.push(from.get(row)),
            (Values::Int64(from), Values::Int64(out)) => out.push(from[row]),
            (Values::Float64(from), Values::Float64(out)) => out.push(from[row]),
            (Values::Vector(from), Values::Vector(out)) => {
                out.extend_from_slice(&from[row * dim..][..dim])
            }
            (Values::Bytes { offsets, data: from }, Values::Bytes { offsets: ends, data }) => {
                data.extend_from_slice(&from[offsets[row] as usize..offsets[row + 1] as usize]);
                too_much = too_much || i32::MAX as usize <= data.len();
                ends.push(data.len() as i32);
            }
            // The block was checked to have the table's columns.
            _ => unreachable!("{} was decoded for {}", from.kind(), out.kind()),
        }
        Ok(())
    })?;
    if too_much {
        return Err(Error::Invalid("a batch with 2 GiB of strings in a column".into()));
    }
    out.filled(chosen.len(), validity.as_ref());
    Ok(())
}

/// Appends the key column of the given `order`.
fn append_keys(
    schema: &Schema,
    order: usize,
    block: &Block,
    chosen: &Chosen,
    out: &mut ColumnBuilder,
) -> Result<()> {
    let keys = block.keys();
    if let Some(tail) = tail_number(schema, order).and_then(|(len, tag)| keys.tail_number(len, tag))
    {
        let rows = chosen.len();
        if let Values::Int64(numbers) = &mut out.values {
            numbers.reserve(rows);
            chosen.each(|row| {
                numbers.push((tail.get(&keys, row) ^ SIGN) as i64);
                Ok(())
            })?;
            out.filled(rows, None);
            return Ok(());
        }
    }
    let mut walk = Walk::default();
    chosen.each(|row| {
        walk.seek(&keys, row).map_err(|broken| block.broken_keys(broken))?;
        let values: Vec<Value> = schema.key_values(&walk.key)?;
        Ok(out.push(&values[order])?)
    })
}

/// If the key column of this `order` is an integer that ends every key, and all keys have one length: that
/// length, and the tag before the integer.
fn tail_number(schema: &Schema, order: usize) -> Option<(usize, u8)> {
    let kinds: Vec<_> = schema.key.iter().map(|position| schema.columns[*position].kind).collect();
    let width = |kind: &ColumnType| match kind {
        ColumnType::Bool => Some(2),
        ColumnType::Int64 | ColumnType::Timestamp | ColumnType::Float64 => Some(9),
        _ => None,
    };
    let is_last = order + 1 == kinds.len();
    let is_integer = matches!(kinds.last(), Some(ColumnType::Int64 | ColumnType::Timestamp));
    let len = kinds.iter().map(width).sum::<Option<usize>>()?;
    (is_last && is_integer).then(|| (len, kinds[order].tag()))
}
