//! One column of one block, as bytes: encodings that fit the values, and reading without unpacking.
//!
//! A *chunk* is what a column of a block becomes. [`Encoder::encode`] looks at all its values and takes the
//! encoding with the fewest bytes; one that is slower to read must save a sixteenth, symbols an eighth.
//! [`Chunk::open`] checks the shape and copies nothing. Then one row is read without the others, many rows are
//! unpacked straight into Arrow's layout, and a [`Filter`] is held against the encoded form: against each entry
//! of a dictionary, each run, the bits of a frame of reference.
//!
//! | offset | size | type | field      | meaning                                                    |
//! |-------:|-----:|------|------------|------------------------------------------------------------|
//! |      0 |    1 | u8   | `nulls`    | which rows are null, as in the table of `nulls`            |
//! |      1 |    . |      |            | the nulls; if all rows are, the chunk ends here            |
//! |      . |    1 | u8   | `encoding` | of the values, as below                                    |
//! |      . |    . |      | `values`   | for every row; what stands for a null is up to the encoder |
//!
//! | tag | encoding   | of                    | layout: the table in the module            |
//! |----:|------------|-----------------------|--------------------------------------------|
//! |   1 | plain      | everything            | `ints`, `bits`, `strings`, `vectors`       |
//! |   2 | constant   | everything            | the same                                   |
//! |   3 | runs       | ints, floats, bools   | `ints`, `bits`                             |
//! |   4 | packed     | ints, floats          | `ints`: frame of reference, bit-packed     |
//! |   5 | delta      | ints                  | `delta`                                    |
//! |   6 | dictionary | ints, floats, strings | `ints`, `strings`                          |
//! |   7 | decimal    | floats                | `decimal`: in the manner of ALP            |
//! |   8 | symbols    | strings               | `strings`, `symbols`: in the manner of FSST |
//!
//! *Ints* are int64 and timestamp columns, *strings* string and bytes columns. Floats are encoded as the
//! integers that their bits are; see `floats`. *Packed* and *codes* in the tables are the two forms of
//! `packed`. Integers are little-endian. How many rows there are and what they hold is known from elsewhere.
//!
//! Altered bytes give an error in `open`, or wrong values: never a panic, and never more memory than so many
//! rows, or the bytes that the caller allows, can take. The block's checksum is what finds them.

use std::borrow::Cow;

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;
use sochdb_guest::encoding::columns::{Bits, ColumnBuilder, Values};

use self::nulls::Nulls;

mod bits;
mod bounds;
mod chunk;
mod decimal;
mod delta;
mod dictionary;
mod filter;
mod floats;
mod ints;
mod mask;
mod nulls;
mod packed;
mod slices;
mod strings;
mod symbols;
mod vectors;

#[cfg(test)]
mod tests;

pub use self::bounds::{Bounds, bounds};
pub use self::chunk::Chunk;
pub use self::filter::Filter;
pub(crate) use self::slices::Slices;

/// Rows of one chunk: their numbers are written as `u16`.
pub const ROWS_MAX: usize = u16::MAX as usize;

/// How the values of a chunk are written. The numbers are on disk: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Encoding {
    Plain = 1,
    Constant = 2,
    Runs = 3,
    Packed = 4,
    Delta = 5,
    Dictionary = 6,
    Decimal = 7,
    Symbols = 8,
}

impl Encoding {
    fn read(reader: &mut Reader<'_>) -> EncodingResult<Encoding> {
        use Encoding::*;
        let tag = reader.u8()?;
        let all = [Plain, Constant, Runs, Packed, Delta, Dictionary, Decimal, Symbols];
        let known = all.get(usize::from(tag).wrapping_sub(1)).copied();
        known.ok_or_else(|| reader.corrupt("an encoding of 1 to 8", format!("{tag}")))
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Plain => "plain",
            Encoding::Constant => "constant",
            Encoding::Runs => "runs",
            Encoding::Packed => "packed",
            Encoding::Delta => "delta",
            Encoding::Dictionary => "dictionary",
            Encoding::Decimal => "decimal",
            Encoding::Symbols => "symbols",
        }
    }
}

/// An encoding that is slower to read than one of `bytes` bytes must take less than so many.
fn gives_up(bytes: usize) -> usize {
    bytes - bytes / 16
}

/// Encodes the chunks of one column, block after block.
///
/// It keeps the symbol table of the last chunk, because learning one costs more than using it. So the bytes of
/// a chunk may depend on the chunks before it, and on nothing else.
#[derive(Default)]
pub struct Encoder {
    codec_follows: bool,
    learned: strings::Learned,
}

impl Encoder {
    /// An encoder for one column. `codec_follows` says that the segment will be compressed by a codec: strings
    /// are then left to it.
    pub fn new(codec_follows: bool) -> Encoder {
        Encoder { codec_follows, learned: None }
    }

    /// The chunk of `column`.
    ///
    /// # Panics
    /// When it has no rows, or more than [`ROWS_MAX`].
    pub fn encode(&mut self, column: &ColumnBuilder) -> Vec<u8> {
        let (rows, mut out) = (column.rows(), Vec::new());
        assert!((1..=ROWS_MAX).contains(&rows), "a chunk of {rows} rows");
        let validity = column.validity();
        nulls::put(&mut out, validity, rows);
        let nulls = Nulls::read(&mut Reader::new("", 0, &out), rows).expect("they were written so");
        if let Nulls::All = nulls {
            return out;
        }
        let mut values = Vec::new();
        match &column.values {
            Values::Int64(ints) => {
                let ints = filled(ints, nulls);
                let choice = ints::choose(&ints, true);
                values.push(choice.encoding as u8);
                ints::put(&mut values, &ints, choice);
            }
            Values::Float64(floats) => floats::put(&mut values, &filled(floats, nulls)),
            Values::Bool(bools) if column.validity().is_none() => bits::put(&mut values, bools),
            Values::Bool(bools) => {
                let all: Vec<bool> = (0..rows).map(|row| bools.get(row)).collect();
                let mut bools = Bits::default();
                filled(&all, nulls).iter().for_each(|value| bools.push(*value));
                bits::put(&mut values, &bools);
            }
            Values::Bytes { offsets, data } => {
                let input = strings::Input { offsets, data };
                let is_null = |row| nulls.is_null(row);
                strings::put(&mut values, input, is_null, self.codec_follows, &mut self.learned);
            }
            Values::Vector(floats) => {
                vectors::put(&mut values, floats, rows, |row| nulls.is_null(row));
            }
        }
        out.append(&mut values);
        out
    }
}

/// `values` with that of the row before, or of the first that has one, in place of each null: it makes runs
/// longer and steps smaller, and widens no range.
fn filled<'v, T: Copy>(values: &'v [T], nulls: Nulls<'_>) -> Cow<'v, [T]> {
    if let Nulls::None = nulls {
        return values.into();
    }
    let mut values = values.to_vec();
    let first = (0..values.len()).find(|row| !nulls.is_null(*row)).unwrap_or(0);
    for row in nulls.rows(0, values.len()) {
        values[row] = values[if row < first { first } else { row - 1 }];
    }
    values.into()
}
