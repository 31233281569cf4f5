//! Sorted rows in, one segment out.

use sochdb_encoding::codec::crc;

use super::format::{BlockEntry, Footer};
use crate::block::{BLOCK_BYTES_TARGET, BlockBuilder};
use crate::{Error, KEY_BYTES_MAX, Result, SegmentSink, VALUE_BYTES_MAX, bloom};

/// What a finished segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its rows, tombstones included.
    pub rows: u64,
    /// Its blocks.
    pub blocks: u32,
    /// Its least key.
    pub min_key: Vec<u8>,
    /// Its greatest key.
    pub max_key: Vec<u8>,
}

/// Writes one segment to a sink. Memory: one block, and for each row eight bytes until `finish`.
#[derive(Debug)]
pub struct SegmentWriter<W> {
    sink: W,
    block: BlockBuilder,
    first_key: Vec<u8>,
    entries: Vec<BlockEntry>,
    hashes: Vec<u64>,
    offset: u64,
}

impl<W: SegmentSink> SegmentWriter<W> {
    /// Begins a segment; nothing is appended to `sink` before the first block is full.
    pub fn new(sink: W) -> Self {
        let (block, entries, hashes) = (BlockBuilder::default(), Vec::new(), Vec::new());
        SegmentWriter { sink, block, first_key: Vec::new(), entries, hashes, offset: 0 }
    }

    /// Adds a row; `None` is a tombstone.
    ///
    /// # Errors
    /// `Invalid` when `key` is not greater than the last, or key or value pass their bound;
    /// `Unavailable` when the sink fails.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let value_bytes = value.map_or(0, <[u8]>::len);
        if KEY_BYTES_MAX < key.len() || VALUE_BYTES_MAX < value_bytes {
            let (key, value) = (key.len(), value_bytes);
            return Err(Error::Invalid(format!("a row of {key} key and {value} value bytes")));
        }
        let before = match (self.block.rows(), self.entries.last()) {
            (0, None) => None,
            (0, Some(entry)) => Some(&entry.last_key[..]),
            _ => Some(self.block.last_key()),
        };
        if before.is_some_and(|before| key <= before) {
            let key = key.escape_ascii();
            return Err(Error::Invalid(format!("the run is not sorted: '{key}' is not greater")));
        }
        if !self.block.fits(key.len(), value_bytes) {
            self.close_block()?;
        }
        if self.block.rows() == 0 {
            self.first_key = key.to_vec();
        }
        self.block.push(key, value);
        self.hashes.push(bloom::hash(key));
        if BLOCK_BYTES_TARGET <= self.block.bytes() {
            self.close_block()?;
        }
        Ok(())
    }

    /// Writes what is left, the index, the bloom filter and the footer; `None`, and nothing written,
    /// when there was no row.
    ///
    /// # Errors
    /// `Invalid` when index or bloom filter pass 4 GiB; `Unavailable` when the sink fails.
    pub fn finish(mut self) -> Result<Option<SegmentInfo>> {
        self.close_block()?;
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else {
            return Ok(None);
        };
        let (min_key, max_key) = (first.first_key.clone(), last.last_key.clone());
        let mut meta = Vec::new();
        self.entries.iter().for_each(|entry| entry.put(&mut meta));
        let index_len = meta.len();
        meta.extend(bloom::build(&self.hashes));
        let bound = |len: usize| {
            u32::try_from(len).map_err(|_| Error::Invalid("a segment with too many rows".into()))
        };
        let footer = Footer {
            blocks: bound(self.entries.len())?,
            index_offset: self.offset,
            index_len: bound(index_len)?,
            bloom_len: bound(meta.len() - index_len)?,
            rows: self.hashes.len() as u64,
            meta_crc: crc(&meta),
        };
        meta.extend(footer.to_bytes());
        self.append(&meta)?;
        let Footer { blocks, rows, .. } = footer;
        Ok(Some(SegmentInfo { bytes: self.offset, rows, blocks, min_key, max_key }))
    }

    fn close_block(&mut self) -> Result<()> {
        if self.block.rows() == 0 {
            return Ok(());
        }
        let (rows, last_key) = (self.block.rows() as u64, self.block.last_key().to_vec());
        let bytes = self.block.take();
        let (offset, len) = (self.offset, bytes.len() as u32);
        self.append(&bytes)?;
        let first_key = std::mem::take(&mut self.first_key);
        self.entries.push(BlockEntry { offset, len, rows, first_key, last_key });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.sink.append(bytes)?;
        if at != self.offset {
            let what = format!("the sink appended at {at}, the segment ends at {}", self.offset);
            return Err(Error::Unavailable(what));
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
