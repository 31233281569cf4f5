//! Rows as columns, in the memory layout of Apache Arrow: what column scans hand out.
//!
//! A [`ColumnBuilder`] gathers one column; a [`ColumnBatch`] holds the columns of some rows, all of them in one
//! buffer of 8-byte words, so that a batch crosses from a plugin to its host in one copy and becomes Arrow
//! arrays in none. Each column has three parts, each of which begins at a word:
//!
//! | type              | validity          | values                               | data              |
//! |-------------------|-------------------|--------------------------------------|-------------------|
//! | bool              | a bit per row     | a bit per row                        | none              |
//! | int64, timestamp  | a bit per row     | i64 per row                          | none              |
//! | float64           | a bit per row     | f64 per row                          | none              |
//! | string, bytes     | a bit per row     | i32 per row and one more: offsets    | the bytes         |
//! | vector(dim)       | a bit per row     | `dim` f32 per row                    | none              |
//!
//! Bits count from the least of each byte; a set bit of the validity says that the row has a value. Without
//! nulls the validity may have no bytes. What a null has instead of a value is 0, or no bytes. Numbers are
//! little-endian.
//!
//! ```
//! use sochdb_encoding::columns::{ColumnBatch, ColumnBuilder, ColumnView};
//! use sochdb_encoding::row::{ColumnType, Value};
//!
//! let mut towns = ColumnBuilder::new(ColumnType::String);
//! towns.push(&Value::String("Ulm".into())).unwrap();
//! towns.push(&Value::Null).unwrap();
//! let batch = ColumnBatch::new(2, vec![towns], None).unwrap();
//! let ColumnView::Bytes { offsets, data } = batch.view(0) else { panic!("strings are bytes") };
//! assert_eq!((offsets, data), (&[0, 3, 3][..], &b"Ulm"[..]));
//! assert!(batch.is_null(0, 1));
//! ```

use crate::row::{ColumnType, Value};
use crate::{EncodingError, EncodingResult};
use std::ops::Range;

#[cfg(target_endian = "big")]
compile_error!(
    "batches of columns are little-endian in memory; big-endian machines need a copy here"
);

/// Some bits, the least of each word first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// `len` bits, all `bit`.
    pub fn repeat(bit: bool, len: usize) -> Bits {
        let mut bits = Bits::default();
        bits.extend_with(bit, len);
        bits
    }

    /// How many bits there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a bit.
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.words[self.len / 64] |= u64::from(bit) << (self.len % 64);
        self.len += 1;
    }

    /// Adds `count` bits, all `bit`.
    pub fn extend_with(&mut self, bit: bool, count: usize) {
        let end = self.len + count;
        while self.len < end && !self.len.is_multiple_of(64) {
            self.push(bit);
        }
        let whole = (end - self.len) / 64;
        self.words.resize(self.words.len() + whole, if bit { u64::MAX } else { 0 });
        self.len += whole * 64;
        while self.len < end {
            self.push(bit);
        }
    }

    /// Adds the `count` lowest bits of `bits`, at most 64.
    pub fn extend_word(&mut self, bits: u64, count: usize) {
        if count == 0 {
            return;
        }
        let bits = if count < 64 { bits & ((1 << count) - 1) } else { bits };
        let used = self.len % 64;
        match self.words.last_mut().filter(|_| used != 0) {
            Some(last) => {
                *last |= bits << used;
                if 64 - used < count {
                    self.words.push(bits >> (64 - used));
                }
            }
            None => self.words.push(bits),
        }
        self.len += count;
    }

    /// The bit at `index`.
    ///
    /// # Panics
    /// When there is no such bit.
    pub fn get(&self, index: usize) -> bool {
        assert!(index < self.len, "bit {index} of {}", self.len);
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// The words; bits past the last are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// The values of a column under construction. Null rows have zeros, or no bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Of a bool column.
    Bool(Bits),
    /// Of an int64 or timestamp column.
    Int64(Vec<i64>),
    /// Of a float64 column.
    Float64(Vec<f64>),
    /// Of a string or bytes column.
    Bytes {
        /// Where each row's bytes end in `data`; before the first stands a 0.
        offsets: Vec<i32>,
        /// The bytes of all rows.
        data: Vec<u8>,
    },
    /// Of a vector column: the floats of all rows.
    Vector(Vec<f32>),
}

/// Gathers one column.
///
/// Whoever fills `values` itself, because it has many at once, tells [`filled`](Self::filled) of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBuilder {
    kind: ColumnType,
    rows: usize,
    /// There are none as long as no row is null.
    validity: Option<Bits>,
    /// The values so far.
    pub values: Values,
}

impl ColumnBuilder {
    /// An empty column that holds `kind`.
    pub fn new(kind: ColumnType) -> ColumnBuilder {
        let values = match kind {
            ColumnType::Bool => Values::Bool(Bits::default()),
            ColumnType::Int64 | ColumnType::Timestamp => Values::Int64(Vec::new()),
            ColumnType::Float64 => Values::Float64(Vec::new()),
            ColumnType::String | ColumnType::Bytes => {
                Values::Bytes { offsets: vec![0], data: Vec::new() }
            }
            ColumnType::Vector(_) => Values::Vector(Vec::new()),
        };
        ColumnBuilder { kind, rows: 0, validity: None, values }
    }

    /// What the column holds.
    pub fn kind(&self) -> ColumnType {
        self.kind
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of values so far, without the validity.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Bool(bits) => bits.len().div_ceil(8),
            Values::Int64(values) => values.len() * 8,
            Values::Float64(values) => values.len() * 8,
            Values::Bytes { offsets, data } => offsets.len() * 4 + data.len(),
            Values::Vector(floats) => floats.len() * 4,
        }
    }

    /// Adds one value.
    ///
    /// # Errors
    /// `Invalid` for a value of another type, `Limit` when strings or bytes pass 2 GiB.
    pub fn push(&mut self, value: &Value) -> EncodingResult<()> {
        match (&mut self.values, value) {
            (_, Value::Null) => {
                self.push_null();
                return Ok(());
            }
            (Values::Bool(bits), Value::Bool(value)) => bits.push(*value),
            (Values::Int64(values), Value::Int64(value)) if self.kind == ColumnType::Int64 => {
                values.push(*value);
            }
            (Values::Int64(values), Value::Timestamp(value))
                if self.kind == ColumnType::Timestamp =>
            {
                values.push(*value);
            }
            (Values::Float64(values), Value::Float64(value)) => values.push(*value),
            (Values::Bytes { .. }, Value::String(value)) if self.kind == ColumnType::String => {
                return self.push_bytes(value.as_bytes());
            }
            (Values::Bytes { .. }, Value::Bytes(value)) if self.kind == ColumnType::Bytes => {
                return self.push_bytes(value);
            }
            (Values::Vector(floats), Value::Vector(new)) if value.kind() == Some(self.kind) => {
                floats.extend_from_slice(new);
            }
            (_, other) => {
                let text = format!("a column of {} was given {other:?}", self.kind);
                return Err(EncodingError::invalid(text));
            }
        }
        self.filled(1, None);
        Ok(())
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Bool(bits) => bits.push(false),
            Values::Int64(values) => values.push(0),
            Values::Float64(values) => values.push(0.0),
            Values::Bytes { offsets, .. } => offsets.push(offsets[offsets.len() - 1]),
            Values::Vector(floats) => {
                let ColumnType::Vector(dim) = self.kind else { return };
                floats.resize(floats.len() + dim as usize, 0.0);
            }
        }
        self.validity.get_or_insert_with(|| Bits::repeat(true, self.rows)).push(false);
        self.rows += 1;
    }

    /// Adds a string or bytes.
    ///
    /// # Errors
    /// `Invalid` in a column of another type, `Limit` past 2 GiB.
    pub fn push_bytes(&mut self, value: &[u8]) -> EncodingResult<()> {
        let Values::Bytes { offsets, data } = &mut self.values else {
            return Err(EncodingError::invalid(format!("bytes in a column of {}", self.kind)));
        };
        let end = data.len() + value.len();
        let Ok(offset) = i32::try_from(end) else {
            let (got, bound) = (end as u64, i32::MAX as u64);
            return Err(EncodingError::Limit { what: "bytes of a batch's column", got, bound });
        };
        data.extend_from_slice(value);
        offsets.push(offset);
        self.filled(1, None);
        Ok(())
    }

    /// Says that `values` has `rows` more rows; `validity` has a bit for each of them, none if all have a
    /// value.
    ///
    /// # Panics
    /// When `validity` has not as many bits.
    pub fn filled(&mut self, rows: usize, validity: Option<&Bits>) {
        match (validity, &mut self.validity) {
            (None, None) => {}
            (None, Some(known)) => known.extend_with(true, rows),
            (Some(new), _) => {
                assert_eq!(new.len(), rows, "a bit per row");
                let known = self.validity.get_or_insert_with(|| Bits::repeat(true, self.rows));
                for (index, &word) in new.words().iter().enumerate() {
                    known.extend_word(word, (rows - index * 64).min(64));
                }
            }
        }
        self.rows += rows;
    }

    /// The validity so far, if there is a null.
    pub fn validity(&self) -> Option<&Bits> {
        self.validity.as_ref()
    }

    /// Whether `values` has what the number of rows says.
    fn is_whole(&self) -> bool {
        let rows = self.rows;
        match (&self.values, self.kind) {
            (Values::Bool(bits), _) => bits.len() == rows,
            (Values::Int64(values), _) => values.len() == rows,
            (Values::Float64(values), _) => values.len() == rows,
            (Values::Bytes { offsets, data }, _) => {
                offsets.len() == rows + 1 && offsets[rows] as usize == data.len()
            }
            (Values::Vector(floats), ColumnType::Vector(dim)) => {
                floats.len() == rows * dim as usize
            }
            (Values::Vector(_), _) => false,
        }
    }
}

/// One column of a [`ColumnBatch`], as it lies there. Rows without a value have zeros, or no bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColumnView<'a> {
    /// A bit per row, from the least of each byte on.
    Bool(&'a [u8]),
    /// A number per row: int64, or microseconds since 1970.
    Int64(&'a [i64]),
    /// A number per row.
    Float64(&'a [f64]),
    /// Strings or bytes: row `i` is `data[offsets[i] .. offsets[i + 1]]`. Strings are UTF-8.
    Bytes {
        /// One more than rows, from 0 on, never falling.
        offsets: &'a [i32],
        /// The bytes of all rows.
        data: &'a [u8],
    },
    /// The floats of all rows, `dim` for each.
    Vector {
        /// Floats per row.
        dim: usize,
        /// All of them.
        floats: &'a [f32],
    },
}

/// Where a part lies: its first word, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    word: usize,
    bytes: usize,
}

/// Parts of a column: validity, values, data.
const PARTS: usize = 3;

/// The columns of some rows, in one buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBatch {
    rows: usize,
    kinds: Vec<ColumnType>,
    parts: Vec<[Part; PARTS]>,
    words: Vec<u64>,
    through: Option<Vec<u8>>,
}

impl ColumnBatch {
    /// The batch of `columns`, each of which has `rows` rows. `through`: see [`through`](Self::through).
    ///
    /// # Errors
    /// `Invalid` when a column has another number of rows, `Limit` past 16 GiB.
    pub fn new(
        rows: usize,
        columns: Vec<ColumnBuilder>,
        through: Option<Vec<u8>>,
    ) -> EncodingResult<ColumnBatch> {
        let (mut kinds, mut parts, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let size: usize = columns.iter().map(|column| column.bytes() / 8 + rows / 64 + 4).sum();
        words.reserve(size);
        for column in columns {
            if column.rows != rows || !column.is_whole() {
                let text = format!("a column of {} rows in a batch of {rows}", column.rows);
                return Err(EncodingError::invalid(text));
            }
            let bits = |bits: &Bits| bits.len.div_ceil(8);
            let validity = column.validity.as_ref();
            let validity = part(&mut words, validity.map_or(&[][..], |v| bytes_of(&v.words)));
            let validity = Part { bytes: column.validity.as_ref().map_or(0, bits), ..validity };
            let (values, data) = match &column.values {
                Values::Bool(values) => {
                    let part = part(&mut words, bytes_of(&values.words));
                    (Part { bytes: bits(values), ..part }, part_of_none(&words))
                }
                Values::Int64(values) => (part(&mut words, bytes_of(values)), part_of_none(&words)),
                Values::Float64(values) => {
                    (part(&mut words, bytes_of(values)), part_of_none(&words))
                }
                Values::Bytes { offsets, data } => {
                    (part(&mut words, bytes_of(offsets)), part(&mut words, data))
                }
                Values::Vector(floats) => {
                    (part(&mut words, bytes_of(floats)), part_of_none(&words))
                }
            };
            kinds.push(column.kind);
            parts.push([validity, values, data]);
        }
        let bound = u64::from(u32::MAX);
        if bound < words.len() as u64 {
            let (what, got) = ("words of a batch", words.len() as u64);
            return Err(EncodingError::Limit { what, got, bound });
        }
        Ok(ColumnBatch { rows, kinds, parts, words, through })
    }

    /// The batch as it crosses a boundary: two numbers for each part of each column, its first word and its
    /// bytes; the words; and `through`.
    pub fn into_parts(self) -> (Vec<u32>, Vec<u64>, Option<Vec<u8>>) {
        // No part is longer than the words, whose number fits.
        let flat = |part: Part| [part.word as u32, part.bytes as u32];
        (self.parts.into_iter().flatten().flat_map(flat).collect(), self.words, self.through)
    }

    /// A batch from what [`into_parts`](Self::into_parts) gave; everything is checked.
    ///
    /// # Errors
    /// `Invalid` when it is no batch of `rows` rows of `kinds`.
    pub fn from_parts(
        rows: usize,
        kinds: &[ColumnType],
        layout: &[u32],
        words: Vec<u64>,
        through: Option<Vec<u8>>,
    ) -> EncodingResult<ColumnBatch> {
        let wrong = |what: &str| EncodingError::invalid(format!("a batch of columns: {what}"));
        let (flat, rest) = layout.as_chunks::<{ 2 * PARTS }>();
        if flat.len() != kinds.len() || !rest.is_empty() {
            return Err(wrong("not as many parts as columns"));
        }
        let part = |word: u32, bytes: u32| Part { word: word as usize, bytes: bytes as usize };
        let parts = flat.iter().map(|p| [part(p[0], p[1]), part(p[2], p[3]), part(p[4], p[5])]);
        let parts: Vec<[Part; PARTS]> = parts.collect();
        let fits = |part: &Part| {
            words.get(part.word..).is_some_and(|rest| part.bytes.div_ceil(8) <= rest.len())
        };
        if !parts.iter().flatten().all(fits) {
            return Err(wrong("a part outside its words"));
        }
        let batch = ColumnBatch { rows, kinds: kinds.to_vec(), parts, words, through };
        for (index, kind) in kinds.iter().enumerate() {
            batch.check(index, *kind).map_err(wrong)?;
        }
        Ok(batch)
    }

    fn check(&self, index: usize, kind: ColumnType) -> Result<(), &'static str> {
        let [validity, values, data] = self.parts[index];
        let rows = self.rows;
        let width = match kind {
            ColumnType::Bool => Some(rows.div_ceil(8)),
            ColumnType::Int64 | ColumnType::Float64 | ColumnType::Timestamp => rows.checked_mul(8),
            ColumnType::String | ColumnType::Bytes => {
                rows.checked_add(1).and_then(|n| n.checked_mul(4))
            }
            ColumnType::Vector(dim) => {
                rows.checked_mul(dim as usize).and_then(|n| n.checked_mul(4))
            }
        };
        if width != Some(values.bytes) {
            return Err("values for another number of rows");
        }
        if validity.bytes != 0 && validity.bytes != rows.div_ceil(8) {
            return Err("validity for another number of rows");
        }
        let ColumnView::Bytes { offsets, data: bytes } = self.view(index) else {
            return if data.bytes == 0 { Ok(()) } else { Err("data that belongs to no row") };
        };
        let grow = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if !grow || offsets[0] != 0 || offsets[rows] as usize != bytes.len() {
            return Err("offsets that do not fit the data");
        }
        if kind == ColumnType::String {
            let text = str::from_utf8(bytes).map_err(|_| "a string that is not UTF-8")?;
            if !offsets.iter().all(|&offset| text.is_char_boundary(offset as usize)) {
                return Err("a string that is not UTF-8");
            }
        }
        Ok(())
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What each column holds.
    pub fn kinds(&self) -> &[ColumnType] {
        &self.kinds
    }

    /// In a scan: the batch has every row that the scan gives out up to this key, itself included; nothing says
    /// up to the end.
    pub fn through(&self) -> Option<&[u8]> {
        self.through.as_deref()
    }

    /// The buffer.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Gives the buffer away.
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Where the parts of column `index` lie in the buffer, in bytes: validity (empty without nulls), values,
    /// data.
    ///
    /// # Panics
    /// When there is no such column, as in all that follow.
    pub fn byte_ranges(&self, index: usize) -> [Range<usize>; PARTS] {
        self.parts[index].map(|part| part.word * 8..part.word * 8 + part.bytes)
    }

    fn bytes(&self, part: Part) -> &[u8] {
        &bytemuck::cast_slice(&self.words[part.word..])[..part.bytes]
    }

    /// The validity of column `index`, a bit per row; `None` when no row is null.
    pub fn validity(&self, index: usize) -> Option<&[u8]> {
        let part = self.parts[index][0];
        (part.bytes != 0).then(|| self.bytes(part))
    }

    /// Whether column `index` has no value in row `row`.
    pub fn is_null(&self, index: usize, row: usize) -> bool {
        self.validity(index).is_some_and(|bits| bits[row / 8] >> (row % 8) & 1 == 0)
    }

    /// The column `index`.
    pub fn view(&self, index: usize) -> ColumnView<'_> {
        let [_, values, data] = self.parts[index];
        let words = &self.words[values.word..];
        match self.kinds[index] {
            ColumnType::Bool => ColumnView::Bool(self.bytes(values)),
            ColumnType::Int64 | ColumnType::Timestamp => {
                ColumnView::Int64(&bytemuck::cast_slice(words)[..values.bytes / 8])
            }
            ColumnType::Float64 => {
                ColumnView::Float64(&bytemuck::cast_slice(words)[..values.bytes / 8])
            }
            ColumnType::String | ColumnType::Bytes => ColumnView::Bytes {
                offsets: &bytemuck::cast_slice(words)[..values.bytes / 4],
                data: self.bytes(data),
            },
            ColumnType::Vector(dim) => ColumnView::Vector {
                dim: dim as usize,
                floats: &bytemuck::cast_slice(words)[..values.bytes / 4],
            },
        }
    }

    /// One value, copied.
    ///
    /// # Panics
    /// When there is no such column or row.
    pub fn value(&self, index: usize, row: usize) -> Value {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        if self.is_null(index, row) {
            return Value::Null;
        }
        match (self.view(index), self.kinds[index]) {
            (ColumnView::Bool(bits), _) => Value::Bool(bits[row / 8] >> (row % 8) & 1 == 1),
            (ColumnView::Int64(values), ColumnType::Timestamp) => Value::Timestamp(values[row]),
            (ColumnView::Int64(values), _) => Value::Int64(values[row]),
            (ColumnView::Float64(values), _) => Value::Float64(values[row]),
            (ColumnView::Bytes { offsets, data }, kind) => {
                let bytes = &data[offsets[row] as usize..offsets[row + 1] as usize];
                match kind {
                    ColumnType::String => Value::String(String::from_utf8_lossy(bytes).into()),
                    _ => Value::Bytes(bytes.to_vec()),
                }
            }
            (ColumnView::Vector { dim, floats }, _) => {
                Value::Vector(floats[row * dim..][..dim].to_vec())
            }
        }
    }
}

fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// Appends `bytes` as a part, filled up to a whole word.
fn part(words: &mut Vec<u64>, bytes: &[u8]) -> Part {
    let word = words.len();
    words.resize(word + bytes.len().div_ceil(8), 0);
    bytemuck::cast_slice_mut(&mut words[word..])[..bytes.len()].copy_from_slice(bytes);
    Part { word, bytes: bytes.len() }
}

fn part_of_none(words: &[u64]) -> Part {
    Part { word: words.len(), bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn kinds() -> [ColumnType; 7] {
        let (vector, string) = (ColumnType::Vector(3), ColumnType::String);
        let (bytes, time) = (ColumnType::Bytes, ColumnType::Timestamp);
        [ColumnType::Bool, ColumnType::Int64, ColumnType::Float64, string, bytes, time, vector]
    }

    fn value(kind: ColumnType) -> BoxedStrategy<Value> {
        let value = match kind {
            ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ColumnType::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
            ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
            ColumnType::Float64 => any::<f64>().prop_map(Value::Float64).boxed(),
            ColumnType::String => ".{0,9}".prop_map(Value::String).boxed(),
            ColumnType::Bytes => vec(any::<u8>(), 0..20).prop_map(Value::Bytes).boxed(),
            ColumnType::Vector(dim) => {
                vec(any::<f32>(), dim as usize).prop_map(Value::Vector).boxed()
            }
        };
        prop_oneof![4 => value, 1 => Just(Value::Null)].boxed()
    }

    fn rows() -> impl Strategy<Value = Vec<Vec<Value>>> {
        vec(kinds().map(value).to_vec(), 0..150)
    }

    fn batch(rows: &[Vec<Value>]) -> ColumnBatch {
        let mut columns = kinds().map(ColumnBuilder::new).to_vec();
        for row in rows {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value).unwrap());
        }
        ColumnBatch::new(rows.len(), columns, Some(b"last".to_vec())).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_on_the_other_side(rows in rows()) {
            let made = batch(&rows);
            let (layout, words, through) = made.clone().into_parts();
            let back =
                ColumnBatch::from_parts(rows.len(), &kinds(), &layout, words, through).unwrap();
            prop_assert_eq!(&back, &made);
            prop_assert_eq!(back.through(), Some(&b"last"[..]));
            for (at, row) in rows.iter().enumerate() {
                for (index, value) in row.iter().enumerate() {
                    prop_assert_eq!(&back.value(index, at), value);
                    prop_assert_eq!(back.is_null(index, at), *value == Value::Null);
                }
            }
        }

        #[test]
        fn a_batch_that_was_changed_is_refused_or_can_be_read(
            rows in rows(), at in any::<prop::sample::Index>(), to in any::<u32>(), more in 0usize..3,
        ) {
            let (mut layout, words, through) = batch(&rows).into_parts();
            let at = at.index(layout.len());
            layout[at] = if to.is_multiple_of(2) { to } else { to % 64 };
            let rows = rows.len() + more;
            if let Ok(batch) = ColumnBatch::from_parts(rows, &kinds(), &layout, words, through) {
                for index in 0..kinds().len() {
                    (0..rows).for_each(|row| drop(batch.value(index, row)));
                }
            }
        }

        #[test]
        fn bits_are_the_same_however_they_were_added(parts in vec((any::<u64>(), 0usize..=64, any::<bool>()), 0..20)) {
            let (mut quick, mut slow) = (Bits::default(), Bits::default());
            for (word, count, bit) in parts {
                quick.extend_word(word, count);
                (0..count).for_each(|index| slow.push(word >> index & 1 == 1));
                quick.extend_with(bit, count * 3);
                (0..count * 3).for_each(|_| slow.push(bit));
            }
            prop_assert_eq!(quick, slow);
        }
    }

    #[test]
    fn strings_that_are_cut_inside_a_character_are_refused() {
        let mut text = ColumnBuilder::new(ColumnType::String);
        text.push_bytes("ä".as_bytes()).unwrap();
        text.push_bytes(b"").unwrap();
        let (layout, mut words, _) = ColumnBatch::new(2, vec![text], None).unwrap().into_parts();
        assert!(
            ColumnBatch::from_parts(2, &[ColumnType::String], &layout, words.clone(), None).is_ok()
        );
        words[0] = 1 << 32; // offsets 0, 1, 2
        assert!(
            ColumnBatch::from_parts(2, &[ColumnType::String], &layout, words.clone(), None)
                .is_err()
        );
        assert!(ColumnBatch::from_parts(2, &[ColumnType::Bytes], &layout, words, None).is_ok());
    }

    #[test]
    fn values_of_another_type_are_refused() {
        let mut column = ColumnBuilder::new(ColumnType::Int64);
        assert!(column.push(&Value::Timestamp(1)).is_err());
        assert!(column.push_bytes(b"").is_err());
        assert!(ColumnBuilder::new(ColumnType::Vector(2)).push(&Value::Vector(vec![1.0])).is_err());
        assert!(ColumnBatch::new(1, vec![column], None).is_err());
    }
}
