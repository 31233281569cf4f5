//! Chunks that were read: one row, many rows, some rows, or only which rows a filter accepts.

use std::ops::Range;

use sochdb_guest::encoding::EncodingError;
use sochdb_guest::encoding::codec::Reader;
use sochdb_guest::encoding::columns::{Bits, ColumnBuilder, Values as Arrow};
use sochdb_guest::encoding::row::ColumnType;

use super::bits::Bools;
use super::filter::{Filter, Kind};
use super::floats::Floats;
use super::ints::Ints;
use super::nulls::Nulls;
use super::slices::Slices;
use super::strings::{self, Strings};
use super::vectors::Vectors;
use super::{Encoding, ROWS_MAX};
use crate::Result;

/// Rows that are unpacked at a time to pick some of them.
const BATCH: usize = 256;
/// With so many rows of a batch wanted, all are unpacked.
const PICK_MAX: usize = 24;

/// A chunk that was read: its shape is checked, its values are read when they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    rows: usize,
    nulls: Nulls<'a>,
    values: Values<'a>,
    encoding: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    /// All rows are null.
    None,
    Bool(Bools<'a>),
    Int(Ints<'a>),
    Float(Floats<'a>),
    Strings(Strings<'a>),
    Vector(Vectors<'a>),
}

impl<'a> Chunk<'a> {
    /// Opens the chunk that `reader` has, to its end: `rows` rows of `kind`. Strings of more than
    /// `string_bytes_max` together are refused.
    ///
    /// # Errors
    /// `Corrupt` when it has another shape.
    pub fn open(
        kind: ColumnType,
        rows: usize,
        mut reader: Reader<'a>,
        string_bytes_max: usize,
    ) -> Result<Chunk<'a>> {
        if !(1..=ROWS_MAX).contains(&rows) {
            return Err(reader.corrupt(format!("1 to {ROWS_MAX} rows"), format!("{rows}")).into());
        }
        let reader = &mut reader;
        let nulls = Nulls::read(reader, rows)?;
        if let Nulls::All = nulls {
            reader.end()?;
            return Ok(Chunk { rows, nulls, values: Values::None, encoding: "null" });
        }
        let encoding = Encoding::read(reader)?;
        let values = match kind {
            ColumnType::Bool => Values::Bool(Bools::read(reader, rows, encoding)?),
            ColumnType::Int64 | ColumnType::Timestamp => {
                Values::Int(Ints::read(reader, rows, encoding)?)
            }
            ColumnType::Float64 => Values::Float(Floats::read(reader, rows, encoding)?),
            ColumnType::String | ColumnType::Bytes => {
                Values::Strings(Strings::read(reader, rows, encoding, string_bytes_max)?)
            }
            ColumnType::Vector(dim) => {
                Values::Vector(Vectors::read(reader, rows, dim as usize, encoding)?)
            }
        };
        reader.end()?;
        Ok(Chunk { rows, nulls, values, encoding: encoding.name() })
    }

    /// Where the strings begin, and where each lies from there, in a chunk of `len` bytes and `rows` rows of which
    /// `reader` has the first bytes. `None` when more of the chunk must be read to tell: it has nulls, is not plain,
    /// or is not a chunk at all.
    pub(crate) fn plain_ends(
        rows: usize,
        len: usize,
        mut reader: Reader<'a>,
        string_bytes_max: usize,
    ) -> Option<(usize, Slices<'a>)> {
        let (start, reader) = (reader.rest().len(), &mut reader);
        let Nulls::None = Nulls::read(reader, rows).ok()? else { return None };
        let Encoding::Plain = Encoding::read(reader).ok()? else { return None };
        let left = len.checked_sub(start - reader.rest().len())?;
        let ends = Slices::read_ends(reader, rows, left).ok()?;
        let data = len.checked_sub(ends.bytes()).filter(|_| ends.bytes() <= string_bytes_max)?;
        Some((data, ends))
    }

    /// Rows of the chunk, 1 or more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The name of the encoding, for statistics.
    pub fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// How many rows are null.
    pub fn nulls(&self) -> usize {
        self.nulls.count(self.rows)
    }

    /// How many different values there are, where the encoding tells; a null may count as one.
    pub fn distinct(&self) -> Option<usize> {
        match &self.values {
            Values::None => Some(0),
            Values::Bool(Bools::Constant(_)) => Some(1),
            Values::Bool(_) => Some(2),
            Values::Int(ints) => ints.distinct(),
            Values::Float(floats) => floats.distinct(),
            Values::Strings(strings) => strings.distinct(),
            Values::Vector(vectors) => vectors.distinct(),
        }
    }

    /// Bytes that the values have when they are not encoded, nulls and offsets left out of account.
    pub fn value_bytes(&self) -> usize {
        let values = self.rows - self.nulls();
        match &self.values {
            Values::None => 0,
            Values::Bool(_) => values,
            Values::Int(_) | Values::Float(_) => values * 8,
            Values::Strings(strings) => strings.bytes(values),
            Values::Vector(vectors) => values * vectors.dim() * 4,
        }
    }

    /// Whether `row` is null.
    ///
    /// # Panics
    /// When there is no such row, as in all that follow; and when the column holds something else than
    /// what is asked for.
    pub fn is_null(&self, row: usize) -> bool {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.nulls.is_null(row)
    }

    /// The bool of `row`; nothing for a null.
    pub fn boolean(&self, row: usize) -> Option<bool> {
        match &self.values {
            _ if self.is_null(row) => None,
            Values::Bool(bools) => Some(bools.get(row)),
            other => wrong("a bool", other),
        }
    }

    /// The integer or timestamp of `row`; nothing for a null.
    pub fn int(&self, row: usize) -> Option<i64> {
        match &self.values {
            _ if self.is_null(row) => None,
            Values::Int(ints) => Some(ints.get(row)),
            other => wrong("an integer", other),
        }
    }

    /// The float of `row`; nothing for a null.
    pub fn float(&self, row: usize) -> Option<f64> {
        match &self.values {
            _ if self.is_null(row) => None,
            Values::Float(floats) => Some(floats.get(row)),
            other => wrong("a float", other),
        }
    }

    /// The string or bytes of `row`; nothing for a null. It may lie in `scratch`, whose content is lost.
    pub fn bytes<'s>(&self, row: usize, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        match &self.values {
            _ if self.is_null(row) => None,
            Values::Strings(strings) => Some(strings.get(row, scratch)),
            other => wrong("a string", other),
        }
    }

    /// The vector of `row`, as the bytes of its floats; nothing for a null.
    pub fn vector(&self, row: usize) -> Option<&'a [u8]> {
        match &self.values {
            _ if self.is_null(row) => None,
            Values::Vector(vectors) => Some(vectors.get(row)),
            other => wrong("a vector", other),
        }
    }

    /// A set bit for each row of `range` that has a value; nothing when all have.
    pub fn validity(&self, range: Range<usize>) -> Option<Bits> {
        self.check(&range);
        self.nulls.validity(range.start, range.end)
    }

    /// Appends the rows of `range` to `out`, which holds what the chunk holds.
    ///
    /// # Errors
    /// `Limit` when its strings would pass 2 GiB.
    pub fn decode(&self, range: Range<usize>, out: &mut ColumnBuilder) -> Result<()> {
        self.check(&range);
        let (start, end) = (range.start, range.end);
        match (&self.values, &mut out.values) {
            (Values::None, _) => {
                range.for_each(|_| out.push_null());
                return Ok(());
            }
            (Values::Bool(bools), Arrow::Bool(out)) if self.is_full() => {
                bools.unpack(start, end, out);
            }
            (Values::Bool(bools), Arrow::Bool(out)) => {
                let mut values = Bits::default();
                bools.unpack(start, end, &mut values);
                let valid = self.nulls.validity(start, end);
                for (index, word) in values.words().iter().enumerate() {
                    let mask = valid.as_ref().map_or(u64::MAX, |valid| valid.words()[index]);
                    out.extend_word(word & mask, (end - start - index * 64).min(64));
                }
            }
            (Values::Int(ints), Arrow::Int64(out)) => {
                let at = out.len();
                out.resize(at + range.len(), 0);
                ints.unpack(start, &mut out[at..]);
                self.nulls.rows(start, end).for_each(|row| out[at + row - start] = 0);
            }
            (Values::Float(floats), Arrow::Float64(out)) => {
                let at = out.len();
                out.resize(at + range.len(), 0.0);
                floats.unpack(start, &mut out[at..]);
                self.nulls.rows(start, end).for_each(|row| out[at + row - start] = 0.0);
            }
            (Values::Strings(strings), Arrow::Bytes { offsets, data }) => {
                let got = data.len().saturating_add(strings.bytes(range.len().min(self.rows)));
                if i32::MAX as usize - 64 < got {
                    let (what, got, bound) = ("bytes of a batch's column", got as u64, i32::MAX);
                    return Err(EncodingError::Limit { what, got, bound: bound as u64 }.into());
                }
                strings.unpack(start, end, |row| self.nulls.is_null(row), offsets, data);
            }
            (Values::Vector(vectors), Arrow::Vector(out)) => {
                let at = out.len();
                vectors.unpack(start, end, out);
                for row in self.nulls.rows(start, end) {
                    out[at + (row - start) * vectors.dim()..][..vectors.dim()].fill(0.0);
                }
            }
            (values, _) => wrong(out.kind(), values),
        }
        out.filled(end - start, self.nulls.validity(start, end).as_ref());
        Ok(())
    }

    /// Appends these rows to `out`, which holds what the chunk holds. They may be in any order; ascending is
    /// fastest.
    ///
    /// # Errors
    /// `Limit` when its strings would pass 2 GiB.
    pub fn decode_selected(&self, rows: &[u32], out: &mut ColumnBuilder) -> Result<()> {
        let known = rows.iter().all(|row| (*row as usize) < self.rows);
        assert!(known, "rows {rows:?} of {}", self.rows);
        let is_null = |row: usize| self.nulls.is_null(row);
        match (&self.values, &mut out.values) {
            (Values::None, _) => {
                rows.iter().for_each(|_| out.push_null());
                return Ok(());
            }
            (Values::Strings(strings), Arrow::Bytes { .. }) => {
                return Ok(strings::select(strings, rows, is_null, out)?);
            }
            (Values::Bool(bools), Arrow::Bool(out)) => {
                for &row in rows {
                    out.push(!is_null(row as usize) && bools.get(row as usize));
                }
            }
            (Values::Int(ints), Arrow::Int64(out)) => {
                let unpack = |start: usize, values: &mut [i64]| ints.unpack(start, values);
                pick(rows, self.rows, unpack, |row| ints.get(row), is_null, out);
            }
            (Values::Float(floats), Arrow::Float64(out)) => {
                let unpack = |start: usize, values: &mut [f64]| floats.unpack(start, values);
                pick(rows, self.rows, unpack, |row| floats.get(row), is_null, out);
            }
            (Values::Vector(vectors), Arrow::Vector(out)) => {
                for &row in rows {
                    let (row, at) = (row as usize, out.len());
                    vectors.unpack(row, row + 1, out);
                    if is_null(row) {
                        out[at..].fill(0.0);
                    }
                }
            }
            (values, _) => wrong(out.kind(), values),
        }
        let mut validity = None;
        if !self.is_full() {
            let valid = validity.insert(Bits::default());
            rows.iter().for_each(|row| valid.push(!is_null(*row as usize)));
        }
        let validity = validity.filter(|_| rows.iter().any(|row| is_null(*row as usize)));
        out.filled(rows.len(), validity.as_ref());
        Ok(())
    }

    /// Clears the bits of `mask`, a bit per row, whose rows `filter` does not accept, and those past the last row.
    ///
    /// # Panics
    /// When `mask` has not a word for each 64 rows, or the filter is for a column that holds something else.
    pub fn filter(&self, filter: &Filter, mask: &mut [u64]) {
        let rows = self.rows;
        assert_eq!(mask.len(), rows.div_ceil(64), "a bit for each of {rows} rows");
        mask[rows / 64..].iter_mut().for_each(|last| *last &= (1 << (rows % 64)) - 1);
        if let Kind::Null(keep_nulls) = filter.0 {
            return self.nulls.filter(keep_nulls, rows, mask);
        }
        self.nulls.filter(false, rows, mask);
        if mask.iter().all(|word| *word == 0) {
            return;
        }
        match (&self.values, &filter.0) {
            (Values::None, _) | (_, Kind::Nothing) => mask.fill(0),
            (Values::Bool(bools), Kind::Bool(accepted)) => bools.filter(*accepted, rows, mask),
            (Values::Int(ints), Kind::Int(test)) => ints.filter(test, rows, mask),
            (Values::Float(floats), Kind::Float(test)) => floats.filter(test, rows, mask),
            (Values::Strings(strings), Kind::Bytes(test)) => strings.filter(test, rows, mask),
            (Values::Vector(vectors), Kind::Vector(comparison, to)) => {
                vectors.filter(*comparison, to, mask);
            }
            (values, _) => wrong(filter, values),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.nulls, Nulls::None)
    }

    fn check(&self, range: &Range<usize>) {
        let known = range.start <= range.end && range.end <= self.rows;
        assert!(known, "rows {range:?} of {}", self.rows);
    }
}

/// Two types that do not go together: a mistake of the caller, who knows the schema.
fn wrong(wanted: impl std::fmt::Debug, values: &Values<'_>) -> ! {
    let holds = match values {
        Values::None => "nothing",
        Values::Bool(_) => "bools",
        Values::Int(_) => "integers",
        Values::Float(_) => "floats",
        Values::Strings(_) => "strings",
        Values::Vector(_) => "vectors",
    };
    panic!("a column of {holds} was asked for {wanted:?}")
}

/// Appends the values of `rows`, unpacking where many are close, and zeros for nulls.
fn pick<T: Copy + Default>(
    mut rows: &[u32],
    count: usize,
    unpack: impl Fn(usize, &mut [T]),
    get: impl Fn(usize) -> T,
    is_null: impl Fn(usize) -> bool,
    out: &mut Vec<T>,
) {
    let mut batch = [T::default(); BATCH];
    while let Some(&first) = rows.first() {
        let start = first as usize / BATCH * BATCH;
        let near = start..(start + BATCH).min(count);
        let len = rows.iter().take_while(|row| near.contains(&(**row as usize))).count();
        let (here, rest) = rows.split_at(len);
        if PICK_MAX < len {
            let batch = &mut batch[..near.len()];
            unpack(start, batch);
            out.extend(here.iter().map(|row| batch[*row as usize - start]));
        } else {
            out.extend(here.iter().map(|row| get(*row as usize)));
        }
        let at = out.len() - len;
        for (&row, value) in here.iter().zip(&mut out[at..]) {
            if is_null(row as usize) {
                *value = T::default();
            }
        }
        rows = rest;
    }
}
