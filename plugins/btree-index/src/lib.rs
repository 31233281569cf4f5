//! The ordered index: which rows have a value that equals one, or lies in a range.
//!
//! ```text
//!   build   entries ──▶ their values, sorted ──▶ blocks, and the first value of each    write
//!   lookup  range ──▶ the first block that can have some ──▶ numbers, block by block    read
//! ```
//!
//! | file      | what it is                                           |
//! |-----------|------------------------------------------------------|
//! | `block`   | some values and the entries that have them, as bytes |
//! | `segment` | blocks and their fences: writing, opening, lookups   |
//!
//! A segment is a B+ tree of two levels that never changes: a fence for each block is small enough to be kept in
//! memory, and a lookup reads just the blocks that it gives numbers from.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod block;
mod segment;

#[cfg(test)]
mod tests;

pub use block::BLOCK_BYTES;
pub use segment::{SegmentReader, Source, write};

use sochdb_guest::{
    Allowed, Definition, Entries, Error, ErrorCode, Index, IndexSearcher, KeyRange, Part, Result,
    Segment, Sink,
};

/// How many values, and bytes of them, are asked of the host at once.
const VALUES_AT_ONCE: u32 = 8192;
const BYTES_AT_ONCE: u32 = 1 << 20;

/// The plugin.
pub struct BtreeIndex;

/// One segment, open.
pub struct Searcher(SegmentReader<Segment>);

impl Index for BtreeIndex {
    type Searcher = Searcher;

    fn init() -> Result<Self> {
        Ok(BtreeIndex)
    }

    fn check(&mut self, index: &Definition) -> Result<()> {
        if index.metric.is_some() {
            return Err(Error::invalid(format!(
                "column '{}' has vectors, which have no order; use an index of vectors",
                index.column
            )));
        }
        match index.options.keys().next() {
            Some(name) => Err(Error::invalid(format!(
                "an ordered index has no settings, but '{name}' was given"
            ))),
            None => Ok(()),
        }
    }

    fn build(
        &mut self,
        _: &Definition,
        entries: &Entries<'_>,
        _: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64> {
        let (bytes, ends) = read_values(entries)?;
        let mut out = sink.create()?;
        write(&bytes, &ends, &mut |bytes| out.append(bytes).map(drop))?;
        out.seal()
    }

    fn open(
        &mut self,
        _: &Definition,
        entries: Entries<'static>,
        segment: Segment,
    ) -> Result<Searcher> {
        SegmentReader::open(segment, entries.count()).map(Searcher)
    }
}

/// All values, one behind the other, and where each ends.
fn read_values(entries: &Entries<'_>) -> Result<(Vec<u8>, Vec<u32>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(entries.count() as usize));
    while ends.len() < entries.count() as usize {
        let values = entries.values(ends.len() as u32, VALUES_AT_ONCE, BYTES_AT_ONCE)?;
        if values.is_empty() || (entries.count() as usize) < ends.len() + values.len() {
            return Err(Error::corrupt("the host has other values than it has entries"));
        }
        for value in values.iter() {
            bytes.extend_from_slice(value);
            let end = u32::try_from(bytes.len());
            ends.push(
                end.map_err(|_| Error::new(ErrorCode::Limit, "the values have more than 4 GiB"))?,
            );
        }
    }
    Ok((bytes, ends))
}

impl IndexSearcher for Searcher {
    fn lookup(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        self.0.lookup(range, reverse, limit, |number| allowed.contains(number))
    }

    fn stats(&self) -> Vec<(String, f64)> {
        self.0.stats().map(|(name, number)| (name.to_owned(), number)).into()
    }
}

impl Source for Segment {
    fn len(&self) -> u64 {
        self.info().bytes
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        Segment::read(self, offset, len)
    }
}

sochdb_guest::export!(index: BtreeIndex);
