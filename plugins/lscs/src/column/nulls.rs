//! Which rows of a chunk have no value.
//!
//! | tag | name      | bytes                                         |
//! |----:|-----------|-----------------------------------------------|
//! |   0 | none      |                                               |
//! |   1 | all       | nor any values: the chunk ends here           |
//! |   2 | bits      | a bit per row, set where there is a value     |
//! |   3 | positions | u16 count; u16 each: the null rows, ascending |
//!
//! The encoder takes the smaller of the last two.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u16};
use sochdb_guest::encoding::columns::Bits;

use super::bits::{bit, extend, put_bits, word};

const NONE: u8 = 0;
const ALL: u8 = 1;
const BITS: u8 = 2;
const POSITIONS: u8 = 3;

/// Nulls as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub enum Nulls<'a> {
    None,
    All,
    Bits(&'a [u8]),
    Positions(&'a [[u8; 2]]),
}

/// Appends the tag and the nulls of `rows` rows; `validity` has a set bit for each value.
pub fn put(out: &mut Vec<u8>, validity: Option<&Bits>, rows: usize) {
    let words = validity.map_or(&[][..], Bits::words);
    let values: usize = words.iter().map(|word| word.count_ones() as usize).sum();
    let nulls = if validity.is_some() { rows - values } else { 0 };
    if nulls == 0 {
        out.push(NONE);
    } else if nulls == rows {
        out.push(ALL);
    } else if 2 + nulls * 2 < rows.div_ceil(8) {
        out.push(POSITIONS);
        put_u16(out, nulls as u16);
        let is_null = |row: &usize| words[row / 64] >> (row % 64) & 1 == 0;
        (0..rows).filter(is_null).for_each(|row| put_u16(out, row as u16));
    } else {
        out.push(BITS);
        put_bits(out, words, rows);
    }
}

impl<'a> Nulls<'a> {
    pub fn read(reader: &mut Reader<'a>, rows: usize) -> EncodingResult<Nulls<'a>> {
        Ok(match reader.u8()? {
            NONE => Nulls::None,
            ALL => Nulls::All,
            BITS => Nulls::Bits(reader.bytes(rows.div_ceil(8))?),
            POSITIONS => {
                let count = usize::from(reader.u16()?);
                Nulls::Positions(reader.bytes(count * 2)?.as_chunks().0)
            }
            tag => return Err(reader.corrupt("nulls of kind 0 to 3", format!("kind {tag}"))),
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Nulls::None => false,
            Nulls::All => true,
            Nulls::Bits(bytes) => !bit(bytes, row),
            Nulls::Positions(rows) => rows.binary_search_by_key(&row, |at| position(*at)).is_ok(),
        }
    }

    /// How many of `rows` rows are null.
    pub fn count(&self, rows: usize) -> usize {
        match self {
            Nulls::None => 0,
            Nulls::All => rows,
            Nulls::Bits(_) => self.rows(0, rows).count(),
            Nulls::Positions(_) => self.rows(0, rows).count(),
        }
    }

    /// The null rows from `start` to before `end`.
    pub fn rows(&self, start: usize, end: usize) -> Rows<'a> {
        let positions = match self {
            Nulls::Positions(rows) => &rows[rows.partition_point(|at| position(*at) < start)..],
            _ => &[],
        };
        let mut rows = Rows { nulls: *self, positions, word: 0, at: start, end };
        rows.load();
        rows
    }

    /// A set bit for each value of the rows from `start` to before `end`; none when no row is null.
    pub fn validity(&self, start: usize, end: usize) -> Option<Bits> {
        let mut valid = Bits::default();
        match self {
            Nulls::None => return None,
            Nulls::All => valid.extend_with(false, end - start),
            Nulls::Bits(bytes) => {
                extend(&mut valid, bytes, start, end);
                let values: usize = valid.words().iter().map(|w| w.count_ones() as usize).sum();
                if values == end - start {
                    return None;
                }
            }
            Nulls::Positions(_) => {
                let mut nulls = self.rows(start, end).peekable();
                nulls.peek()?;
                for row in nulls {
                    valid.extend_with(true, row - start - valid.len());
                    valid.push(false);
                }
                valid.extend_with(true, end - start - valid.len());
            }
        }
        Some(valid)
    }

    /// Clears the bits of `mask` whose rows are null or, if `keep_nulls`, are not.
    pub fn filter(&self, keep_nulls: bool, rows: usize, mask: &mut [u64]) {
        match (self, keep_nulls) {
            (Nulls::None, true) | (Nulls::All, false) => mask.fill(0),
            (Nulls::None, false) | (Nulls::All, true) => {}
            (Nulls::Bits(bytes), _) => {
                for (index, bits) in mask.iter_mut().enumerate() {
                    let word = word(bytes, index * 64);
                    *bits &= if keep_nulls { !word } else { word };
                }
            }
            (Nulls::Positions(_), _) => {
                for (index, bits) in mask.iter_mut().enumerate() {
                    let start = index * 64;
                    let mut nulls = 0;
                    for row in self.rows(start, rows.min(start + 64)) {
                        nulls |= 1 << (row - start);
                    }
                    *bits &= if keep_nulls { nulls } else { !nulls };
                }
            }
        }
    }
}

fn position(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(bytes))
}

/// Null rows, ascending.
pub struct Rows<'a> {
    nulls: Nulls<'a>,
    /// What is left of the positions.
    positions: &'a [[u8; 2]],
    /// Of the 64 rows before `at` those that are null and were not given out.
    word: u64,
    at: usize,
    end: usize,
}

impl Rows<'_> {
    /// Loads words of bits until there is a null in one.
    fn load(&mut self) {
        while self.word == 0 && self.at < self.end {
            let rows = (self.end - self.at).min(64);
            self.word = match self.nulls {
                Nulls::All => u64::MAX,
                Nulls::Bits(bytes) => !word(bytes, self.at),
                Nulls::None | Nulls::Positions(_) => return,
            } & u64::MAX >> (64 - rows);
            self.at += 64;
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if let Nulls::Positions(_) = self.nulls {
            let (row, rest) = self.positions.split_first()?;
            // In altered bytes they may fall: then the rest is not believed.
            let row = position(*row);
            if row < self.at || self.end <= row {
                return None;
            }
            (self.positions, self.at) = (rest, row + 1);
            return Some(row);
        }
        if self.word == 0 {
            return None;
        }
        let row = self.at - 64 + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        self.load();
        Some(row)
    }
}
