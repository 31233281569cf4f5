//! Finds rows in one segment: the index and the bloom filter are in memory, blocks are read when needed.

use std::sync::Arc;

use sochdb_encoding::codec::crc;

use super::format::{BlockEntry, FOOTER_BYTES, Footer, take_index};
use crate::block::Block;
use crate::{Error, Result, SegmentSource, bloom};

/// An open segment.
#[derive(Debug)]
pub struct SegmentReader<S> {
    source: S,
    name: Arc<str>,
    footer: Footer,
    index: Vec<BlockEntry>,
    bloom: Vec<u8>,
}

impl<S: SegmentSource> SegmentReader<S> {
    /// Reads and checks footer, index and bloom filter. Blocks are checked when they are read.
    ///
    /// # Errors
    /// `Corrupt` when they are not what a writer wrote, or of a version this plugin does not read;
    /// `Unavailable` when the source fails.
    pub fn open(source: S) -> Result<Self> {
        let (name, len): (Arc<str>, _) = (source.name().into(), source.len());
        let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else {
            return Err(Error::corrupt(&name, 0, format!("{len} bytes, too few for a segment")));
        };
        let bytes = read(&source, &name, footer_at, FOOTER_BYTES as u32)?;
        let footer = Footer::from_bytes(&name, len, &bytes)?;
        let mut index = read(&source, &name, footer.index_offset, footer.index_len)?;
        let bloom_at = footer.index_offset + u64::from(footer.index_len);
        let bloom = read(&source, &name, bloom_at, footer.bloom_len)?;
        index.extend_from_slice(&bloom);
        if crc(&index) != footer.meta_crc {
            let what = "the checksum of index and bloom filter does not hold";
            return Err(Error::corrupt(&name, footer.index_offset, what));
        }
        index.truncate(footer.index_len as usize);
        let index = take_index(&name, &footer, &index)?;
        Ok(SegmentReader { source, name, footer, index, bloom })
    }

    /// Rows of the segment, tombstones included.
    pub fn rows(&self) -> u64 {
        self.footer.rows
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.source.len()
    }

    /// Its least key.
    pub fn min_key(&self) -> &[u8] {
        self.index.first().map_or(&[], |entry| &entry.first_key)
    }

    /// Its greatest key.
    pub fn max_key(&self) -> &[u8] {
        self.index.last().map_or(&[], |entry| &entry.last_key)
    }

    /// The index: one entry a block, ascending.
    pub fn index(&self) -> &[BlockEntry] {
        &self.index
    }

    /// The position of the only block that may hold `key`; `None` when the key surely is not here.
    pub fn locate(&self, key: &[u8], hash: u64) -> Option<usize> {
        if !bloom::may_contain(&self.bloom, hash) {
            return None;
        }
        let position = self.index.partition_point(|entry| entry.last_key[..] < *key);
        self.index.get(position).filter(|entry| entry.first_key[..] <= *key).map(|_| position)
    }

    /// Reads the block at `position` of the index.
    ///
    /// # Errors
    /// `Invalid` when there is none; `Corrupt` when it is not the block the index describes;
    /// `Unavailable` when the source fails.
    pub fn block(&self, position: usize) -> Result<Block> {
        let Some(entry) = self.index.get(position) else {
            return Err(Error::Invalid(format!("{} has no block {position}", self.name)));
        };
        let bytes = read(&self.source, &self.name, entry.offset, entry.len)?;
        let block = Block::new(self.name.clone(), entry.offset, bytes)?;
        if block.rows() as u64 != entry.rows {
            let what = format!("{} rows, the index says {}", block.rows(), entry.rows);
            return Err(Error::corrupt(&self.name, entry.offset, what));
        }
        Ok(block)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Reads exactly `len` bytes: a source that returns another number is not believed.
fn read(source: &impl SegmentSource, name: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
    let bytes = source.read(offset, len)?;
    if bytes.len() != len as usize {
        let what = format!("{name}: {} bytes were read at {offset}, not {len}", bytes.len());
        return Err(Error::Unavailable(what));
    }
    Ok(bytes)
}
