//! A segment as bytes: blocks, then the index, the bloom filter and the footer.
//!
//! ```text
//!   0            index_offset      + index_len       + bloom_len     + 48 = the segment's length
//!   | block | ... | block | index       | bloom filter    | footer      |
//! ```
//!
//! The index is sparse, one entry a block, and the zone map of the key column at once. Blocks lie one
//! after the other without gaps, so an entry needs no offset:
//!
//! | item        | bytes    | meaning                                         |
//! |-------------|---------:|-------------------------------------------------|
//! | `len`       |   varint | the block's length in bytes                     |
//! | `rows`      |   varint | its rows, tombstones included                   |
//! | `first_key` | prefixed | its least key                                   |
//! | `last_key`  | prefixed | its greatest key, below the next `first_key`    |
//!
//! The footer:
//!
//! | offset | size | type  | field          | meaning                                        |
//! |-------:|-----:|-------|----------------|------------------------------------------------|
//! |      0 |    8 | bytes | `magic`        | `SOCHLSCS`                                     |
//! |      8 |    4 | u32   | `version`      | 1                                              |
//! |     12 |    4 | u32   | `blocks`       | entries of the index, 1 or more                |
//! |     16 |    8 | u64   | `index_offset` | where the blocks end                           |
//! |     24 |    4 | u32   | `index_len`    | bytes                                          |
//! |     28 |    4 | u32   | `bloom_len`    | bytes, a multiple of 32, 32 or more            |
//! |     32 |    8 | u64   | `rows`         | of all blocks                                  |
//! |     40 |    4 | u32   | `meta_crc`     | CRC-32C of index and bloom filter              |
//! |     44 |    4 | u32   | `crc`          | CRC-32C of the 44 bytes before it              |
//!
//! Integers are little-endian. The least and greatest key of the segment are those of its first and
//! last block. The block's own table is in [`crate::block`].

use sochdb_encoding::codec::{Reader, crc, put_bytes, put_u32, put_u64, put_varint};

use crate::{Error, KEY_BYTES_MAX, Result, bloom};

/// Bytes of the footer, the last of every segment.
pub const FOOTER_BYTES: usize = 8 + 4 + 4 + 8 + 4 + 4 + 8 + 4 + 4;
const _: () = assert!(FOOTER_BYTES == 48, "the table above says 48");
const MAGIC: &[u8; 8] = b"SOCHLSCS";
const VERSION: u32 = 1;

/// One entry of the index: a block and its zone map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where the block begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Its rows, tombstones included.
    pub rows: u64,
    /// Its least key.
    pub first_key: Vec<u8>,
    /// Its greatest key.
    pub last_key: Vec<u8>,
}

impl BlockEntry {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len.into());
        put_varint(out, self.rows);
        put_bytes(out, &self.first_key);
        put_bytes(out, &self.last_key);
    }
}

/// The footer's fields that are not fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub blocks: u32,
    pub index_offset: u64,
    pub index_len: u32,
    pub bloom_len: u32,
    pub rows: u64,
    pub meta_crc: u32,
}

impl Footer {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.blocks);
        put_u64(&mut out, self.index_offset);
        put_u32(&mut out, self.index_len);
        put_u32(&mut out, self.bloom_len);
        put_u64(&mut out, self.rows);
        put_u32(&mut out, self.meta_crc);
        let crc = crc(&out);
        put_u32(&mut out, crc);
        assert_eq!(out.len(), FOOTER_BYTES, "the footer has a fixed size");
        out
    }

    /// Decodes the footer of a segment of `len` bytes, which has at least [`FOOTER_BYTES`].
    pub(super) fn from_bytes(segment: &str, len: u64, bytes: &[u8]) -> Result<Footer> {
        let at = len - FOOTER_BYTES as u64;
        let mut reader = Reader::new(segment, at, bytes);
        if reader.array::<8>()? != *MAGIC {
            return Err(Error::corrupt(segment, at, "no footer of a column store's segment"));
        }
        let version = reader.u32()?;
        let footer = Footer {
            blocks: reader.u32()?,
            index_offset: reader.u64()?,
            index_len: reader.u32()?,
            bloom_len: reader.u32()?,
            rows: reader.u64()?,
            meta_crc: reader.u32()?,
        };
        if reader.u32()? != crc(&bytes[..FOOTER_BYTES - 4]) {
            return Err(Error::corrupt(segment, at, "the footer's checksum does not hold"));
        }
        if version != VERSION {
            let what = format!("format version {version}, this plugin reads {VERSION}");
            return Err(Error::corrupt(segment, at, what));
        }
        let end = footer.index_offset.checked_add(footer.index_len.into());
        let whole = end.and_then(|end| end.checked_add(footer.bloom_len.into())) == Some(at);
        let bloom = footer.bloom_len as usize;
        if !whole || bloom == 0 || !bloom.is_multiple_of(bloom::BLOCK_BYTES) {
            return Err(Error::corrupt(
                segment,
                at,
                "index and bloom filter do not fill the segment",
            ));
        }
        Ok(footer)
    }
}

/// Decodes the index; its checksum has been checked, so what fails here was written wrongly.
pub(super) fn take_index(segment: &str, footer: &Footer, bytes: &[u8]) -> Result<Vec<BlockEntry>> {
    let mut reader = Reader::new(segment, footer.index_offset, bytes);
    let mut entries: Vec<BlockEntry> = Vec::new();
    let (mut offset, mut rows) = (0u64, 0u64);
    while !reader.rest().is_empty() {
        let (len, block_rows) = (reader.varint()?, reader.varint()?);
        let first_key = reader.prefixed(KEY_BYTES_MAX)?.to_vec();
        let last_key = reader.prefixed(KEY_BYTES_MAX)?.to_vec();
        let ordered = entries.last().is_none_or(|before| before.last_key < first_key);
        let fits = len <= footer.index_offset - offset && block_rows <= u64::from(u16::MAX);
        let Some(len) =
            u32::try_from(len).ok().filter(|_| fits && ordered && first_key <= last_key)
        else {
            return Err(Error::corrupt(
                segment,
                reader.offset(),
                "an index entry that makes no sense",
            ));
        };
        entries.push(BlockEntry { offset, len, rows: block_rows, first_key, last_key });
        offset += u64::from(len);
        rows += block_rows;
    }
    let counted = (entries.len() as u64, offset, rows);
    if entries.is_empty() || counted != (footer.blocks.into(), footer.index_offset, footer.rows) {
        return Err(Error::corrupt(
            segment,
            footer.index_offset,
            "an index that is not the footer's",
        ));
    }
    Ok(entries)
}
