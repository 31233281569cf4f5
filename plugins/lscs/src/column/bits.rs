//! Bits in bytes, the least of each byte first: bool columns and null bitmaps.
//!
//! | encoding of bools | bytes                                                                          |
//! |-------------------|--------------------------------------------------------------------------------|
//! | plain             | a bit per row                                                                  |
//! | constant          | u8: 0 or 1                                                                     |
//! | runs              | u8: 0 or 1, the first run's value; u16 count; codes: for each run its last row |
//!
//! Runs take turns. Bits past the last row are not looked at.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u16};
use sochdb_guest::encoding::columns::Bits;

use super::dictionary::Codes;
use super::ints::{for_each_run, run_of};
use super::mask::clear;
use super::packed::{self, Packed};
use super::{Encoding, gives_up};

/// Bools as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub enum Bools<'a> {
    Plain(&'a [u8]),
    Constant(bool),
    Runs { first: bool, count: usize, lasts: Packed<'a> },
}

/// The bit at `index`; none past the end.
pub fn bit(bytes: &[u8], index: usize) -> bool {
    bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// The 64 bits from `index` on, with zeros past the end.
pub fn word(bytes: &[u8], index: usize) -> u64 {
    let rest = bytes.get(index / 8..).unwrap_or_default();
    let mut nine = [0; 16];
    let len = rest.len().min(9);
    nine[..len].copy_from_slice(&rest[..len]);
    (u128::from_le_bytes(nine) >> (index % 8)) as u64
}

/// Appends the bits from `start` to before `end`.
pub fn extend(out: &mut Bits, bytes: &[u8], start: usize, end: usize) {
    for at in (start..end).step_by(64) {
        out.extend_word(word(bytes, at), (end - at).min(64));
    }
}

/// Appends the `len` bits of `words` as bytes.
pub fn put_bits(out: &mut Vec<u8>, words: &[u64], len: usize) {
    let end = out.len() + len.div_ceil(8);
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out.truncate(end);
}

/// Appends the encoding's tag and `values`, 1 or more.
pub fn put(out: &mut Vec<u8>, values: &Bits) {
    let (rows, words) = (values.len(), values.words());
    let bit = |row: usize| words[row / 64] >> (row % 64) & 1 == 1;
    let lasts = (0..rows).filter(|row| row + 1 == rows || bit(*row) != bit(row + 1));
    // So many runs are no use: they need not all be known.
    let enough = rows / packed::width_of(rows as u64 - 1).max(1) as usize + 2;
    let lasts: Vec<i64> = lasts.map(|row| row as i64).take(enough).collect();
    if lasts.len() == 1 {
        return out.extend([Encoding::Constant as u8, u8::from(bit(0))]);
    }
    if 1 + 2 + packed::codes_size(lasts.len(), rows as u64 - 1) < gives_up(rows.div_ceil(8)) {
        out.extend([Encoding::Runs as u8, u8::from(bit(0))]);
        put_u16(out, lasts.len() as u16);
        return packed::put_codes(out, &lasts, rows as u64 - 1);
    }
    out.push(Encoding::Plain as u8);
    put_bits(out, words, rows);
}

impl<'a> Bools<'a> {
    pub fn read(
        reader: &mut Reader<'a>,
        rows: usize,
        encoding: Encoding,
    ) -> EncodingResult<Bools<'a>> {
        let bool = |reader: &mut Reader<'a>| match reader.u8()? {
            bit @ (0 | 1) => Ok(bit == 1),
            other => Err(reader.corrupt("0 or 1", format!("{other}"))),
        };
        Ok(match encoding {
            Encoding::Plain => Bools::Plain(reader.bytes(rows.div_ceil(8))?),
            Encoding::Constant => Bools::Constant(bool(reader)?),
            Encoding::Runs => {
                let first = bool(reader)?;
                let count = Codes::read_count(reader, rows)?;
                Bools::Runs { first, count, lasts: Packed::read_codes(reader, count)? }
            }
            other => return Err(reader.corrupt("an encoding of bools", other.name())),
        })
    }

    pub fn get(&self, row: usize) -> bool {
        match self {
            Bools::Plain(bytes) => bit(bytes, row),
            Bools::Constant(value) => *value,
            Bools::Runs { first, count, lasts } => first ^ (run_of(row, *count, lasts) % 2 == 1),
        }
    }

    /// Appends the values of the rows from `start` to before `end`.
    pub fn unpack(&self, start: usize, end: usize, out: &mut Bits) {
        match self {
            Bools::Plain(bytes) => extend(out, bytes, start, end),
            Bools::Constant(value) => out.extend_with(*value, end - start),
            Bools::Runs { first, count, lasts } => {
                for_each_run(start, end, *count, lasts, |run, from, to| {
                    out.extend_with(first ^ (run % 2 == 1), to - from);
                });
            }
        }
    }

    /// Clears the bits of `mask` whose values, `false` or `true`, are not accepted.
    pub fn filter(&self, accepted: [bool; 2], rows: usize, mask: &mut [u64]) {
        if accepted == [true, true] {
            return;
        }
        if accepted == [false, false] {
            return mask.fill(0);
        }
        let wanted = accepted[1];
        match self {
            Bools::Plain(bytes) => {
                for (index, bits) in mask.iter_mut().enumerate() {
                    let word = word(bytes, index * 64);
                    *bits &= if wanted { word } else { !word };
                }
            }
            Bools::Constant(value) if *value == wanted => {}
            Bools::Constant(_) => mask.fill(0),
            Bools::Runs { first, count, lasts } => {
                for_each_run(0, rows, *count, lasts, |run, from, to| {
                    if first ^ (run % 2 == 1) != wanted {
                        clear(mask, from, to);
                    }
                });
            }
        }
    }
}
