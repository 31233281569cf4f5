//! Byte strings one after the other, and where each ends.
//!
//! | offset | size | type   | field     | meaning                                                             |
//! |-------:|-----:|--------|-----------|---------------------------------------------------------------------|
//! |      0 |    . | packed | `offsets` | how far string `i` ends from where it would if all were equally long |
//! |      . | rest | bytes  | `data`    | the strings, to the end of the chunk                                |
//!
//! With `slope = data.len() * 65536 / n`, rounded down, string `i` ends at `((i + 1) * slope) / 65536`, rounded
//! down, plus its offset. That takes hardly more bits than lengths would, none for strings of one length, and
//! one string is found without adding up those before it.

use std::ops::Range;

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;

use super::packed::{self, Packed};

/// Strings as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Slices<'a> {
    slope: u64,
    offsets: Packed<'a>,
    len: usize,
    /// The strings, unless only their ends were read.
    pub data: &'a [u8],
}

fn slope(bytes: usize, count: usize) -> u64 {
    ((bytes as u64) << 16) / count as u64
}

/// Where string `index` would end if all were equally long.
fn line(slope: u64, index: usize) -> i64 {
    (((index as u64 + 1) * slope) >> 16) as i64
}

/// How the ends of strings are written, and in how many bytes.
pub struct Ends {
    offsets: Vec<i64>,
    min: i64,
    max: i64,
}

impl Ends {
    /// `ends` are those of `count` strings, ascending.
    pub fn new(ends: impl Iterator<Item = usize>, count: usize, bytes: usize) -> Ends {
        let slope = slope(bytes, count);
        let mut made = Ends { offsets: Vec::with_capacity(count), min: i64::MAX, max: i64::MIN };
        for (index, end) in ends.enumerate() {
            let offset = end as i64 - line(slope, index);
            (made.min, made.max) = (made.min.min(offset), made.max.max(offset));
            made.offsets.push(offset);
        }
        made
    }

    /// How many strings there are.
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// Bytes of the ends alone.
    pub fn bytes(&self) -> usize {
        packed::size(self.offsets.len(), self.max.wrapping_sub(self.min) as u64)
    }

    /// Appends the ends; the data is to follow.
    pub fn put(&self, out: &mut Vec<u8>) {
        packed::put(out, &self.offsets, self.min, self.max);
    }
}

impl<'a> Slices<'a> {
    /// Reads `count` strings, 1 or more: all that is left.
    pub fn read(reader: &mut Reader<'a>, count: usize) -> EncodingResult<Slices<'a>> {
        let offsets = Packed::read(reader, count)?;
        let len = reader.rest().len();
        if u64::from(u32::MAX) < len as u64 {
            return Err(reader.corrupt("less than 4 GiB", format!("{len} bytes")));
        }
        Ok(Slices { slope: slope(len, count), offsets, len, data: reader.bytes(len)? })
    }

    /// Reads only where `count` strings end, when `left` bytes of the chunk are left, of which `reader` has the first.
    pub fn read_ends(
        reader: &mut Reader<'a>,
        count: usize,
        left: usize,
    ) -> EncodingResult<Slices<'a>> {
        let before = reader.rest().len();
        let offsets = Packed::read(reader, count)?;
        let len = left.saturating_sub(before - reader.rest().len());
        Ok(Slices { slope: slope(len, count), offsets, len, data: &[] })
    }

    /// Bytes of all strings.
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Where string `index` lies in the data; nowhere if it would end before it begins.
    pub fn place(&self, index: usize) -> Range<usize> {
        let end = self.end_of(index, self.offsets.get(index));
        self.start(index).min(end)..end
    }

    fn end_of(&self, index: usize, offset: i64) -> usize {
        line(self.slope, index).wrapping_add(offset).clamp(0, self.len as i64) as usize
    }

    /// Where string `index` begins.
    pub fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.end_of(before, self.offsets.get(before)))
    }

    /// String `index`; empty if it would end before it begins.
    pub fn get(&self, index: usize) -> &'a [u8] {
        let end = self.end_of(index, self.offsets.get(index));
        self.data.get(self.start(index)..end).unwrap_or_default()
    }

    /// Unpacks the ends from `start` on, where the string before ended at `before`: they do not fall, and none
    /// is past the data.
    pub fn ends(&self, start: usize, before: usize, out: &mut [i64]) {
        self.offsets.unpack(start, out);
        let (max, mut before) = (self.len as i64, before as i64);
        let mut line = start as u64 * self.slope;
        for end in out {
            line += self.slope;
            *end = ((line >> 16) as i64).wrapping_add(*end).min(max).max(before);
            before = *end;
        }
    }
}
