//! A segment: blocks, a fence for each, and a footer.
//!
//! | size  | field    | what it is                                                                     |
//! |------:|----------|--------------------------------------------------------------------------------|
//! |   any | blocks   | one behind the other, see `block`                                              |
//! |   any | fences   | for each block: its length (u32), the length of its first value (u32), that value |
//! |    48 | footer   | below                                                                          |
//!
//! | offset | size | type  | field      | meaning                                    |
//! |-------:|-----:|-------|------------|--------------------------------------------|
//! |      0 |    8 | bytes | `magic`    | `SOCHBTRE`                                 |
//! |      8 |    4 | u32   | `version`  | 1                                          |
//! |     12 |    4 | u32   | `count`    | how many entries the index has             |
//! |     16 |    4 | u32   | `blocks`   | how many blocks                            |
//! |     20 |    4 | u32   | `reserved` | zero                                       |
//! |     24 |    8 | u64   | `fences`   | where the fences begin                     |
//! |     32 |    8 | u64   | `fences_checksum` | XXH64 of the fences                 |
//! |     40 |    8 | u64   | `checksum` | XXH64 of the footer's bytes before it      |
//!
//! Integers are little-endian. Values never fall from block to block, so the fences grow, or stay where a value
//! goes on in the next block.

use crate::block::{Block, BlockBuilder, checksum, take_u32};
use sochdb_guest::{Error, KeyRange, Result};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

const MAGIC: &[u8; 8] = b"SOCHBTRE";
const VERSION: u32 = 1;
const FOOTER_BYTES: usize = 48;
/// Blocks that a reader keeps: 2 MiB of them.
const CACHED_BLOCKS_MAX: usize = 256;

/// Where the bytes of a segment come from.
pub trait Source {
    /// How many there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// Outside the segment, and whatever else keeps them from being read.
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>>;
}

/// Writes the index of the entries whose values are `bytes` and end at `ends`: entry 0 first.
///
/// # Errors
/// What `append` returns, which takes the segment's bytes in their order.
pub fn write(
    bytes: &[u8],
    ends: &[u32],
    append: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let value = |number: u32| {
        let start = (number as usize).checked_sub(1).map_or(0, |before| ends[before]);
        &bytes[start as usize..ends[number as usize] as usize]
    };
    let mut order: Vec<u32> = (0..ends.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| value(a).cmp(value(b)).then(a.cmp(&b)));

    let mut fences = Fences::default();
    let mut block = BlockBuilder::default();
    for number in order {
        block.push(value(number), number);
        if block.is_full() {
            fences.end_block(&mut block, append)?;
        }
    }
    if !block.is_empty() {
        fences.end_block(&mut block, append)?;
    }
    append(&fences.bytes)?;
    append(&fences.footer(ends.len() as u32))
}

/// The fences so far.
#[derive(Default)]
struct Fences {
    bytes: Vec<u8>,
    blocks: u32,
    /// Bytes of the blocks so far.
    written: u64,
}

impl Fences {
    fn end_block(
        &mut self,
        block: &mut BlockBuilder,
        append: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let first = block.first().to_vec();
        let bytes = block.take();
        append(&bytes)?;
        self.bytes.extend((bytes.len() as u32).to_le_bytes());
        self.bytes.extend((first.len() as u32).to_le_bytes());
        self.bytes.extend(first);
        self.blocks += 1;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn footer(&self, count: u32) -> Vec<u8> {
        let mut footer = MAGIC.to_vec();
        footer.extend([VERSION, count, self.blocks, 0].into_iter().flat_map(u32::to_le_bytes));
        footer.extend(self.written.to_le_bytes());
        footer.extend(checksum(&self.bytes).to_le_bytes());
        footer.extend(checksum(&footer).to_le_bytes());
        assert_eq!(footer.len(), FOOTER_BYTES, "the table above says so");
        footer
    }
}

/// Where a block is, and its smallest value.
struct Fence {
    offset: u64,
    len: u32,
    first: Vec<u8>,
}

/// A segment that is open.
pub struct SegmentReader<S> {
    source: S,
    count: u32,
    fences: Vec<Fence>,
    cached: BTreeMap<usize, Rc<Block>>,
}

impl<S: Source> SegmentReader<S> {
    /// Opens the index of `count` entries that was written to `source`.
    ///
    /// # Errors
    /// `Corrupt` when it is not that, and what `source` returns.
    pub fn open(source: S, count: u32) -> Result<SegmentReader<S>> {
        let wrong = |what: &str| Error::corrupt(format!("an ordered index: {what}"));
        let end = source.len().checked_sub(FOOTER_BYTES as u64);
        let end = end.ok_or_else(|| wrong("too short for its footer"))?;
        let footer = source.read(end, FOOTER_BYTES)?;
        let u32_at = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("four"));
        let u64_at = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().expect("eight"));
        if !footer.starts_with(MAGIC) {
            return Err(wrong("it does not end as one"));
        }
        if u32_at(8) != VERSION {
            return Err(wrong(&format!("version {}, and {VERSION} is the newest", u32_at(8))));
        }
        let start = u64_at(24);
        let fences_len = end.checked_sub(start).and_then(|len| usize::try_from(len).ok());
        let fences_len = fences_len.ok_or_else(|| wrong("its fences lie outside of it"))?;
        if u64_at(40) != checksum(&footer[..40]) {
            return Err(wrong("the footer's checksum does not fit its bytes"));
        }
        if u32_at(20) != 0 {
            return Err(wrong("a reserved field is not zero"));
        }
        if u32_at(12) != count {
            let found = u32_at(12);
            return Err(wrong(&format!("of {found} entries, where there are {count}")));
        }
        let bytes = source.read(start, fences_len)?;
        if u64_at(32) != checksum(&bytes) {
            return Err(wrong("the fences' checksum does not fit their bytes"));
        }
        let fences = fences(&bytes, u32_at(16), start).map_err(wrong)?;
        Ok(SegmentReader { source, count, fences, cached: BTreeMap::new() })
    }

    /// The first `limit` entries that are `allowed` and whose value lies in `range`, by value and then by number;
    /// from the other end if `reverse`.
    ///
    /// # Errors
    /// `Corrupt`, and what the source returns.
    pub fn lookup(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        if limit == 0 || range.is_empty() || self.fences.is_empty() {
            return Ok(found);
        }
        let (first, last) = self.blocks(range);
        let count = last + 1 - first;
        for step in 0..count {
            let block = self.block(if reverse { last - step } else { first + step })?;
            let start = block.position(|value| range.is_behind_start(value));
            let end = block.position(|value| !range.is_before_end(value));
            for step in 0..end.saturating_sub(start) {
                let index = if reverse { end - 1 - step } else { start + step };
                let numbers = block.numbers(index);
                let left = limit - found.len();
                if reverse {
                    let numbers = numbers.iter().rev().copied();
                    found.extend(numbers.filter(|number| allowed(*number)).take(left));
                } else {
                    let numbers = numbers.iter().copied();
                    found.extend(numbers.filter(|number| allowed(*number)).take(left));
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// The first and the last block that can have values in `range`.
    fn blocks(&self, range: &KeyRange) -> (usize, usize) {
        // The value that a range begins with may begin in the block before the one that it begins.
        let first = match &range.start {
            Bound::Unbounded => 0,
            Bound::Included(start) | Bound::Excluded(start) => {
                self.fences.partition_point(|fence| fence.first < *start).saturating_sub(1)
            }
        };
        let in_reach = self.fences.partition_point(|fence| range.is_before_end(&fence.first));
        (first, in_reach.saturating_sub(1).max(first))
    }

    fn block(&mut self, index: usize) -> Result<Rc<Block>> {
        if let Some(block) = self.cached.get(&index) {
            return Ok(block.clone());
        }
        let fence = &self.fences[index];
        let bytes = self.source.read(fence.offset, fence.len as usize)?;
        let name = format!("block {index} of an ordered index");
        let block = Block::decode(&name, &bytes, self.count)?;
        if block.value(0) != fence.first {
            return Err(Error::corrupt(format!("{name}: another first value than its fence says")));
        }
        if CACHED_BLOCKS_MAX <= self.cached.len() {
            self.cached.clear();
        }
        let block = Rc::new(block);
        self.cached.insert(index, block.clone());
        Ok(block)
    }

    /// What there is to know of it.
    pub fn stats(&self) -> [(&'static str, f64); 2] {
        [("blocks", self.fences.len() as f64), ("bytes", self.source.len() as f64)]
    }
}

/// The fences in `bytes`, of blocks that fill what lies before `end`.
fn fences(
    mut bytes: &[u8],
    blocks: u32,
    end: u64,
) -> std::result::Result<Vec<Fence>, &'static str> {
    let mut fences: Vec<Fence> = Vec::new();
    let mut offset = 0;
    for _ in 0..blocks {
        let (len, rest) = take_u32(bytes).ok_or("too few fences")?;
        let (value_len, rest) = take_u32(rest).ok_or("too few fences")?;
        let (first, rest) = rest.split_at_checked(value_len as usize).ok_or("too few fences")?;
        if fences.last().is_some_and(|before| *first < *before.first) {
            return Err("its fences do not grow");
        }
        fences.push(Fence { offset, len, first: first.to_vec() });
        offset += u64::from(len);
        bytes = rest;
    }
    if offset != end || !bytes.is_empty() {
        return Err("its blocks do not fill it");
    }
    Ok(fences)
}
