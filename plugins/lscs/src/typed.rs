//! Typed rows as columns, and columns as typed rows again, byte for byte, without a value in between.
//!
//! The bytes are those of `sochdb_guest::encoding::row`: a version, how many columns were written, a bit for each
//! null, slots of fixed width, and the data of strings, bytes and vectors. [`split`] believes none of it: a
//! row it takes apart is the one [`RowWriter`] makes of the parts, or it is not taken apart.
//!
//! Columns are split one after the other, each in a loop of its own over all rows of a block.

use sochdb_guest::encoding::codec::put_u16;
use sochdb_guest::encoding::columns::{Bits, ColumnBuilder, Values};
use sochdb_guest::encoding::row::{ColumnType, Schema};

use crate::keys::Strings;

/// The version of a row's bytes.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 2;

/// The width of a column's slot in a row, and whether it is an end in the row's data.
pub(crate) fn slot(kind: ColumnType) -> (usize, bool) {
    match kind {
        ColumnType::Bool => (1, false),
        ColumnType::Int64 | ColumnType::Float64 | ColumnType::Timestamp => (8, false),
        ColumnType::String | ColumnType::Bytes | ColumnType::Vector(_) => (4, true),
    }
}

/// The types of the columns outside the key, in the order of a row's value.
pub(crate) fn stored_kinds(schema: &Schema) -> Vec<ColumnType> {
    let stored = schema.columns.iter().enumerate();
    let stored = stored.filter(|(position, _)| !schema.key.contains(position));
    stored.map(|(_, column)| column.kind).collect()
}

/// The columns of `values`, which are rows of `kinds`, or of the first of them; a row for which `dead` has a
/// bit becomes nulls. `None` when they are not all rows with the same number of columns.
pub(crate) fn split(
    kinds: &[ColumnType],
    values: &Strings,
    dead: &Bits,
) -> Option<Vec<ColumnBuilder>> {
    let first = (0..values.len()).find(|row| !dead.get(*row))?;
    let written: [u8; 2] = values.get(first).get(1..HEADER_BYTES)?.try_into().ok()?;
    let kinds = kinds.get(..usize::from(u16::from_le_bytes(written)))?;
    let nulls_bytes = kinds.len().div_ceil(8);
    let slots_at = HEADER_BYTES + nulls_bytes;
    let data_at = slots_at + kinds.iter().map(|kind| slot(*kind).0).sum::<usize>();
    let padding = !0u8 << ((kinds.len() + 7) % 8) << 1;
    for row in (0..values.len()).filter(|row| !dead.get(*row)) {
        let value = values.get(row);
        let whole = data_at <= value.len() && value[0] == VERSION && value[1..3] == written;
        if !whole || (nulls_bytes != 0 && value[slots_at - 1] & padding != 0) {
            return None;
        }
    }
    // Where the data of the column before ended, in each row.
    let mut ends = vec![0u32; values.len()];
    let mut at = slots_at;
    let mut columns = Vec::with_capacity(kinds.len());
    for (index, kind) in kinds.iter().enumerate() {
        let cut = Cut { values, dead, nulls: (HEADER_BYTES + index / 8, index % 8), at, data_at };
        columns.push(cut.column(*kind, &mut ends)?);
        at += slot(*kind).0;
    }
    let whole = |row: usize| dead.get(row) || data_at + ends[row] as usize == values.get(row).len();
    (0..values.len()).all(whole).then_some(columns)
}

/// One column of some rows, still in the rows.
struct Cut<'a> {
    values: &'a Strings,
    dead: &'a Bits,
    /// The byte and the bit that say null.
    nulls: (usize, usize),
    /// Where the column's slot lies.
    at: usize,
    data_at: usize,
}

impl Cut<'_> {
    fn column(&self, kind: ColumnType, ends: &mut [u32]) -> Option<ColumnBuilder> {
        let rows = self.values.len();
        let mut column = ColumnBuilder::new(kind);
        let validity = self.validity();
        match &mut column.values {
            Values::Bool(bits) => self.slots(|[byte]: [u8; 1]| {
                bits.push(byte == 1);
                byte < 2
            })?,
            Values::Int64(numbers) => {
                numbers.reserve(rows);
                self.slots(|bytes| {
                    numbers.push(i64::from_le_bytes(bytes));
                    true
                })?;
            }
            Values::Float64(numbers) => {
                numbers.reserve(rows);
                self.slots(|bytes| {
                    numbers.push(f64::from_le_bytes(bytes));
                    true
                })?;
            }
            Values::Bytes { offsets, data } => {
                offsets.reserve(rows);
                self.data(ends, |bytes, _| {
                    data.extend_from_slice(bytes);
                    offsets.push(i32::try_from(data.len()).ok()?);
                    Some(())
                })?;
                if kind == ColumnType::String && !is_text(offsets, data) {
                    return None;
                }
            }
            Values::Vector(floats) => {
                let ColumnType::Vector(dim) = kind else { return None };
                self.data(ends, |bytes, null| {
                    let (four, rest) = bytes.as_chunks();
                    floats.extend(four.iter().map(|four| f32::from_le_bytes(*four)));
                    if null {
                        floats.resize(floats.len() + dim as usize, 0.0);
                    }
                    (rest.is_empty() && (null || four.len() == dim as usize)).then_some(())
                })?;
            }
        }
        column.filled(rows, validity.as_ref());
        Some(column)
    }

    fn is_null(&self, row: usize) -> bool {
        self.dead.get(row) || self.values.get(row)[self.nulls.0] >> self.nulls.1 & 1 == 1
    }

    fn validity(&self) -> Option<Bits> {
        let rows = self.values.len();
        if !(0..rows).any(|row| self.is_null(row)) {
            return None;
        }
        let mut bits = Bits::default();
        (0..rows).for_each(|row| bits.push(!self.is_null(row)));
        Some(bits)
    }

    /// Gives `each` the slot of every row; a null's slot is zero.
    fn slots<const N: usize>(&self, mut each: impl FnMut([u8; N]) -> bool) -> Option<()> {
        for row in 0..self.values.len() {
            let mut slot = [0; N];
            if !self.dead.get(row) {
                slot = *self.values.get(row)[self.at..].first_chunk()?;
            }
            let blank = !self.is_null(row) || slot == [0; N];
            if !each(slot) || !blank {
                return None;
            }
        }
        Some(())
    }

    /// Gives `each` the data of every row, and whether it is null; a null has none.
    fn data(
        &self,
        ends: &mut [u32],
        mut each: impl FnMut(&[u8], bool) -> Option<()>,
    ) -> Option<()> {
        for (row, end) in ends.iter_mut().enumerate() {
            let null = self.is_null(row);
            if self.dead.get(row) {
                each(&[], null)?;
                continue;
            }
            let value = self.values.get(row);
            let next = u32::from_le_bytes(*value[self.at..].first_chunk()?);
            let bytes = value[self.data_at..].get(*end as usize..next as usize)?;
            if null && !bytes.is_empty() {
                return None;
            }
            each(bytes, null)?;
            *end = next;
        }
        Some(())
    }
}

/// Whether each piece of `data` is UTF-8.
fn is_text(offsets: &[i32], data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    text.is_ascii() || offsets.iter().all(|offset| text.is_char_boundary(*offset as usize))
}

/// One value on its way into a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    /// An int64 or timestamp.
    Int(i64),
    Float(f64),
    /// A string, bytes, or the bytes of a vector's floats.
    Bytes(&'a [u8]),
    Vector(&'a [f32]),
}

/// The value at `row` of `column`.
pub(crate) fn cell(column: &ColumnBuilder, row: usize) -> Cell<'_> {
    if column.validity().is_some_and(|validity| !validity.get(row)) {
        return Cell::Null;
    }
    match &column.values {
        Values::Bool(bits) => Cell::Bool(bits.get(row)),
        Values::Int64(numbers) => Cell::Int(numbers[row]),
        Values::Float64(numbers) => Cell::Float(numbers[row]),
        Values::Bytes { offsets, data } => {
            Cell::Bytes(&data[offsets[row] as usize..offsets[row + 1] as usize])
        }
        Values::Vector(floats) => {
            let ColumnType::Vector(dim) = column.kind() else { return Cell::Null };
            Cell::Vector(&floats[row * dim as usize..][..dim as usize])
        }
    }
}

/// Writes rows, one after the other, into the same memory.
#[derive(Debug, Default)]
pub(crate) struct RowWriter {
    row: Vec<u8>,
    data: Vec<u8>,
    columns: usize,
}

impl RowWriter {
    /// Begins a row of `columns` columns.
    pub fn begin(&mut self, columns: usize) {
        self.row.clear();
        self.data.clear();
        self.columns = 0;
        self.row.push(VERSION);
        put_u16(&mut self.row, columns as u16);
        self.row.resize(HEADER_BYTES + columns.div_ceil(8), 0);
    }

    /// Adds the next column, which holds `kind`.
    pub fn push(&mut self, kind: ColumnType, cell: Cell<'_>) {
        let (width, in_data) = slot(kind);
        match cell {
            Cell::Null => self.row[HEADER_BYTES + self.columns / 8] |= 1 << (self.columns % 8),
            Cell::Bool(value) => self.row.push(u8::from(value)),
            Cell::Int(value) => self.row.extend_from_slice(&value.to_le_bytes()),
            Cell::Float(value) => self.row.extend_from_slice(&value.to_le_bytes()),
            Cell::Bytes(bytes) => self.data.extend_from_slice(bytes),
            Cell::Vector(floats) => self.data.extend(floats.iter().flat_map(|f| f.to_le_bytes())),
        }
        if in_data {
            self.row.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
        } else if cell == Cell::Null {
            self.row.resize(self.row.len() + width, 0);
        }
        self.columns += 1;
    }

    /// Ends the row.
    pub fn end(&mut self) {
        self.row.extend_from_slice(&self.data);
    }

    /// Takes a whole row as it is.
    pub fn set(&mut self, row: &[u8]) {
        self.row.clear();
        self.row.extend_from_slice(row);
    }

    /// The row that was ended or set last.
    pub fn row(&self) -> &[u8] {
        &self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sochdb_guest::encoding::row::{Column, Value};

    fn schema(kinds: &[ColumnType]) -> Schema {
        let column = |(index, kind): (usize, &ColumnType)| Column {
            name: format!("c{index}"),
            kind: *kind,
            nullable: index != 0,
            default: None,
        };
        let kinds = [&[ColumnType::Int64], kinds].concat();
        Schema::new(kinds.iter().enumerate().map(column).collect(), &["c0"]).unwrap()
    }

    fn kinds() -> [ColumnType; 9] {
        use ColumnType::*;
        [Bool, String, Int64, Float64, Bytes, Timestamp, Vector(2), Bool, String]
    }

    fn value(kind: ColumnType) -> BoxedStrategy<Value> {
        let value = match kind {
            ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ColumnType::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
            ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
            ColumnType::Float64 => any::<f64>().prop_map(Value::Float64).boxed(),
            ColumnType::String => ".{0,5}".prop_map(Value::String).boxed(),
            ColumnType::Bytes => vec(any::<u8>(), 0..9).prop_map(Value::Bytes).boxed(),
            ColumnType::Vector(dim) => {
                vec(any::<f32>(), dim as usize).prop_map(Value::Vector).boxed()
            }
        };
        prop_oneof![4 => value, 1 => Just(Value::Null)].boxed()
    }

    /// The rows put together again; `None` when they cannot be taken apart.
    fn there_and_back(kinds: &[ColumnType], rows: &[Vec<u8>], dead: &Bits) -> Option<Vec<Vec<u8>>> {
        let mut values = Strings::default();
        rows.iter().for_each(|row| values.push(row));
        let columns = split(kinds, &values, dead)?;
        let mut writer = RowWriter::default();
        let rows = (0..rows.len()).map(|row| {
            if dead.get(row) {
                return Vec::new();
            }
            writer.begin(columns.len());
            columns.iter().for_each(|column| writer.push(column.kind(), cell(column, row)));
            writer.end();
            writer.row().to_vec()
        });
        Some(rows.collect())
    }

    proptest! {
        #[test]
        fn rows_come_back_byte_for_byte(
            rows in vec(kinds().map(value).to_vec(), 1..40), written in 0usize..=9, deleted in vec(any::<bool>(), 40),
        ) {
            let schema = schema(&kinds()[..written]);
            let mut dead = Bits::default();
            let rows: Vec<_> = rows.iter().zip(deleted).map(|(row, deleted)| {
                dead.push(deleted);
                let row = [&[Value::Int64(1)], &row[..written]].concat();
                if deleted { Vec::new() } else { schema.encode_row(&row).unwrap() }
            }).collect();
            prop_assert_eq!(stored_kinds(&schema), kinds()[..written].to_vec());
            match there_and_back(&kinds(), &rows, &dead) {
                Some(back) => prop_assert_eq!(back, rows),
                None => prop_assert!((0..rows.len()).all(|row| dead.get(row))),
            }
        }

        #[test]
        fn a_row_that_is_taken_apart_is_the_one_put_together(
            row in kinds().map(value).to_vec(), other in kinds().map(value).to_vec(),
            at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>(),
            more in vec(any::<u8>(), 0..3),
        ) {
            let schema = schema(&kinds());
            let encode = |row: Vec<Value>| schema.encode_row(&[&[Value::Int64(1)], &row[..]].concat()).unwrap();
            let (row, other) = (encode(row), encode(other));
            let mut flipped = row.clone();
            let index = at.index(row.len());
            flipped[index] = to;
            let longer = [&row[..], &more].concat();
            let dead = Bits::repeat(false, 2);
            for strange in [flipped, row[..cut.index(row.len())].to_vec(), longer, more] {
                let rows = [other.clone(), strange];
                if let Some(back) = there_and_back(&kinds(), &rows, &dead) {
                    prop_assert_eq!(&back[..], &rows[..]);
                    prop_assert!(schema.column(&rows[1], 1).is_ok());
                }
            }
        }
    }
}
