//! A block: some values, growing, and the numbers of the entries that have each, growing too.
//!
//! | size   | type  | field         | meaning                                                       |
//! |-------:|-------|---------------|---------------------------------------------------------------|
//! |      4 | u32   | `values`      | how many values it has, at least 1                            |
//! |      4 | u32   | `numbers`     | how many numbers, at least as many                            |
//! |  4 `v` | u32s  | `value_ends`  | where each value ends in `bytes`                              |
//! |  4 `v` | u32s  | `number_ends` | how many numbers belong to it and those before it; growing    |
//! |  4 `n` | u32s  | `of`          | the numbers                                                   |
//! |    any | bytes | `bytes`       | the values, one behind the other                              |
//! |      8 | u64   | `checksum`    | XXH64 of all bytes before it                                  |
//!
//! Integers are little-endian. A value that too many entries have goes on in the next block.

use sochdb_guest::{Error, Result};
use twox_hash::XxHash64;

/// 8 KiB. A block ends once it has so many bytes; a longer value has a block of its own.
pub const BLOCK_BYTES: usize = 8 << 10;

const HEAD_BYTES: usize = 4 + 4;
const CHECKSUM_BYTES: usize = 8;

/// A block being filled.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    value_ends: Vec<u32>,
    number_ends: Vec<u32>,
    numbers: Vec<u32>,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    /// Adds an entry behind the others: its value is not smaller, and if it is the same, its number is larger.
    pub(crate) fn push(&mut self, value: &[u8], number: u32) {
        self.numbers.push(number);
        let numbers = self.numbers.len() as u32;
        if let Some(end) = self.number_ends.last_mut()
            && last(&self.bytes, &self.value_ends) == value
        {
            *end = numbers;
            return;
        }
        self.bytes.extend_from_slice(value);
        self.value_ends.push(self.bytes.len() as u32);
        self.number_ends.push(numbers);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether it has as many bytes as it should.
    pub(crate) fn is_full(&self) -> bool {
        BLOCK_BYTES <= self.len()
    }

    /// How many bytes it will have.
    fn len(&self) -> usize {
        let integers = 2 * self.value_ends.len() + self.numbers.len();
        HEAD_BYTES + 4 * integers + self.bytes.len() + CHECKSUM_BYTES
    }

    /// The smallest value.
    pub(crate) fn first(&self) -> &[u8] {
        &self.bytes[..self.value_ends[0] as usize]
    }

    /// The block's bytes; the next one begins.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        let counts = [self.value_ends.len() as u32, self.numbers.len() as u32];
        let integers = [&counts[..], &self.value_ends, &self.number_ends, &self.numbers];
        out.extend(integers.into_iter().flatten().flat_map(|integer| integer.to_le_bytes()));
        out.extend_from_slice(&self.bytes);
        out.extend(checksum(&out).to_le_bytes());
        *self = BlockBuilder::default();
        out
    }
}

/// The last of the values that end at `ends`.
fn last<'a>(bytes: &'a [u8], ends: &[u32]) -> &'a [u8] {
    let start = ends.len().checked_sub(2).map_or(0, |before| ends[before]);
    &bytes[start as usize..]
}

/// What a block, or the fences, end with.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// A block that was read.
pub(crate) struct Block {
    value_ends: Vec<u32>,
    number_ends: Vec<u32>,
    numbers: Vec<u32>,
    bytes: Vec<u8>,
}

impl Block {
    /// The block in `bytes`, of an index with `count` entries.
    ///
    /// # Errors
    /// `Corrupt`, with `name` as what it is.
    pub(crate) fn decode(name: &str, bytes: &[u8], count: u32) -> Result<Block> {
        let wrong = |what: &str| Error::corrupt(format!("{name}: {what}"));
        let (values, rest) = take_u32(bytes).ok_or_else(|| wrong("too short"))?;
        let (numbers, rest) = take_u32(rest).ok_or_else(|| wrong("too short"))?;
        let (values, numbers) = (u64::from(values), u64::from(numbers));
        let integers = 4 * (2 * values + numbers);
        if (rest.len() as u64) < integers + CHECKSUM_BYTES as u64 {
            return Err(wrong("too short for what it says it has"));
        }
        let (body, found) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        let found = u64::from_le_bytes(found.try_into().expect("eight bytes"));
        if found != checksum(body) {
            return Err(wrong("its checksum does not fit its bytes"));
        }
        let body = &rest[..rest.len() - CHECKSUM_BYTES];
        let (value_ends, body) = body.split_at(4 * values as usize);
        let (number_ends, body) = body.split_at(4 * values as usize);
        let (of, bytes) = body.split_at(4 * numbers as usize);
        let block = Block {
            value_ends: integers_of(value_ends),
            number_ends: integers_of(number_ends),
            numbers: integers_of(of),
            bytes: bytes.to_vec(),
        };
        block.check(count).map(|()| block).map_err(wrong)
    }

    fn check(&self, count: u32) -> std::result::Result<(), &'static str> {
        if self.value_ends.last().map(|end| *end as usize) != Some(self.bytes.len()) {
            return Err("the ends of its values do not fit them");
        }
        let grow = |ends: &[u32]| ends.windows(2).all(|pair| pair[0] < pair[1]);
        if !self.value_ends.is_sorted() || !grow(&self.number_ends) || self.number_ends[0] == 0 {
            return Err("its ends do not grow");
        }
        if self.number_ends.last().map(|end| *end as usize) != Some(self.numbers.len()) {
            return Err("the ends of its numbers do not fit them");
        }
        if self.numbers.iter().any(|number| count <= *number) {
            return Err("a number of no entry");
        }
        let values = 0..self.len();
        if values.clone().skip(1).any(|index| self.value(index) <= self.value(index - 1)) {
            return Err("its values do not grow");
        }
        Ok(())
    }

    /// How many values it has.
    pub(crate) fn len(&self) -> usize {
        self.value_ends.len()
    }

    /// The value at `index`.
    pub(crate) fn value(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.value_ends[before]);
        &self.bytes[start as usize..self.value_ends[index] as usize]
    }

    /// The entries that have it.
    pub(crate) fn numbers(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.number_ends[before]);
        &self.numbers[start as usize..self.number_ends[index] as usize]
    }

    /// Where the first value is that `is_behind` something, or the end; those behind it are as well.
    pub(crate) fn position(&self, is_behind: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if is_behind(self.value(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

/// The integer at the front, and what follows it.
pub(crate) fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (integer, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*integer), rest))
}

fn integers_of(bytes: &[u8]) -> Vec<u32> {
    let (integers, _) = bytes.as_chunks::<4>();
    integers.iter().map(|integer| u32::from_le_bytes(*integer)).collect()
}
