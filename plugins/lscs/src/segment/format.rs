//! A segment as bytes: blocks, then sections that can each be read alone, then the footer.
//!
//! ```text
//!   0            blocks_len                                                  the segment's length
//!   | block | ... | index | bloom filter | zone maps | statistics | properties | footer |
//! ```
//!
//! Each section ends with the CRC-32C of its bytes before it; its length counts those four bytes. Opening for
//! point reads takes the end of the segment (properties and footer) and, when the first key is asked for,
//! index and bloom filter; scans with conditions take the zone maps as well, planners the statistics.
//!
//! The footer:
//!
//! | offset | size | type  | field            | meaning                                      |
//! |-------:|-----:|-------|------------------|----------------------------------------------|
//! |      0 |    8 | bytes | `magic`          | `SOCHLSCS`                                   |
//! |      8 |    4 | u32   | `version`        | 2                                            |
//! |     12 |    4 | u32   | `blocks`         | how many, 1 or more                          |
//! |     16 |    8 | u64   | `blocks_len`     | bytes of all blocks: where the index begins  |
//! |     24 |    4 | u32   | `index_len`      | bytes, as those that follow                  |
//! |     28 |    4 | u32   | `bloom_len`      |                                              |
//! |     32 |    4 | u32   | `zones_len`      |                                              |
//! |     36 |    4 | u32   | `statistics_len` |                                              |
//! |     40 |    4 | u32   | `properties_len` |                                              |
//! |     44 |    4 | u32   | `crc`            | CRC-32C of the 44 bytes before it            |
//!
//! The properties:
//!
//! | item        | bytes    | meaning                                      |
//! |-------------|---------:|----------------------------------------------|
//! | `rows`      |   varint | of all blocks, deleted ones included         |
//! | `deleted`   |   varint | rows that say that their key was deleted     |
//! | `raw_bytes` |   varint | bytes of keys and cells before encoding       |
//! | `min_key`   | prefixed | the least key                                |
//! | `max_key`   | prefixed | the greatest                                 |
//!
//! The index, one entry a block. Blocks lie one after the other without gaps, so it needs no offsets:
//!
//! | item         | bytes    | meaning                                                        |
//! |--------------|---------:|----------------------------------------------------------------|
//! | `len`        |   varint | the block's length in bytes                                    |
//! | `head_len`   |   varint | bytes before its first chunk                                   |
//! | `rows`       |   varint | its rows, deleted ones included                                |
//! | `deleted`    |   varint | the deleted ones                                               |
//! | `shape`      |        1 | as in the block                                                |
//! | `first_key`  |        . | varint: bytes shared with the last key before (0 in the first entry); the rest, prefixed |
//! | `last_key`   |        . | the same, shared with `first_key`; below the next `first_key`  |
//!
//! The zone maps: per block, a varint with the number of its chunks and for each what [`crate::zone`] says.
//! The bloom filter is in [`crate::bloom`], the statistics are in [`crate::stats`], a block in [`crate::block`].
//! Integers are little-endian.

use sochdb_guest::encoding::codec::{Reader, crc, put_bytes, put_u32, put_u64, put_varint};

use crate::block::Shape;
use crate::keys::shared;
use crate::zone::Zone;
use crate::{Error, KEY_BYTES_MAX, Result};

/// Bytes of the footer, the last of every segment.
pub const FOOTER_BYTES: usize = 8 + 4 + 4 + 8 + 5 * 4 + 4;
const _: () = assert!(FOOTER_BYTES == 48, "the table above says 48");
/// Bytes of a section's checksum.
pub(super) const CRC_BYTES: usize = 4;
const MAGIC: &[u8; 8] = b"SOCHLSCS";
const VERSION: u32 = 2;

/// What planning needs to know of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Rows, those included that say that their key was deleted.
    pub rows: u64,
    /// Rows that say that their key was deleted.
    pub deleted: u64,
    /// Bytes of all keys and of the values' cells before they were encoded.
    pub raw_bytes: u64,
    /// The segment's length in bytes.
    pub bytes: u64,
    /// The least key.
    pub min_key: Vec<u8>,
    /// The greatest key.
    pub max_key: Vec<u8>,
}

impl Properties {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.rows);
        put_varint(out, self.deleted);
        put_varint(out, self.raw_bytes);
        put_bytes(out, &self.min_key);
        put_bytes(out, &self.max_key);
    }

    pub(super) fn take(reader: &mut Reader<'_>, bytes: u64) -> Result<Properties> {
        let (rows, deleted, raw_bytes) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let min_key = reader.prefixed(KEY_BYTES_MAX)?.to_vec();
        let max_key = reader.prefixed(KEY_BYTES_MAX)?.to_vec();
        if max_key < min_key || rows < deleted || rows == 0 {
            return Err(reader.corrupt("properties that make sense", "others").into());
        }
        Ok(Properties { rows, deleted, raw_bytes, bytes, min_key, max_key })
    }
}

/// One entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where the block begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Bytes before its first chunk.
    pub head_len: u32,
    /// Its rows, deleted ones included.
    pub rows: u32,
    /// Rows that say that their key was deleted.
    pub deleted: u32,
    /// 0: no row has a value; 1: opaque; 2: typed.
    pub shape: u8,
    /// Its least key.
    pub first_key: Vec<u8>,
    /// Its greatest key.
    pub last_key: Vec<u8>,
}

impl BlockEntry {
    /// Appends the entry; `before` is the last key of the one before.
    pub(super) fn put(&self, before: &[u8], out: &mut Vec<u8>) {
        [self.len, self.head_len, self.rows, self.deleted]
            .iter()
            .for_each(|number| put_varint(out, u64::from(*number)));
        out.push(self.shape);
        put_key(before, &self.first_key, out);
        put_key(&self.first_key, &self.last_key, out);
    }
}

fn put_key(before: &[u8], key: &[u8], out: &mut Vec<u8>) {
    let same = shared(before, key);
    put_varint(out, same as u64);
    put_bytes(out, &key[same..]);
}

fn take_key(reader: &mut Reader<'_>, before: &[u8]) -> Result<Vec<u8>> {
    let same = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    let rest = reader.prefixed(KEY_BYTES_MAX)?;
    match before.get(..same).filter(|same| same.len() + rest.len() <= KEY_BYTES_MAX) {
        Some(same) => Ok([same, rest].concat()),
        None => Err(reader
            .corrupt("a key", "one that shares more than there is, or is too long")
            .into()),
    }
}

/// The footer's fields that are not fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub blocks: u32,
    pub blocks_len: u64,
    pub index_len: u32,
    pub bloom_len: u32,
    pub zones_len: u32,
    pub statistics_len: u32,
    pub properties_len: u32,
}

impl Footer {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.blocks);
        put_u64(&mut out, self.blocks_len);
        self.lens().iter().for_each(|len| put_u32(&mut out, *len));
        let crc = crc(&out);
        put_u32(&mut out, crc);
        assert_eq!(out.len(), FOOTER_BYTES, "the footer has a fixed size");
        out
    }

    fn lens(&self) -> [u32; 5] {
        [self.index_len, self.bloom_len, self.zones_len, self.statistics_len, self.properties_len]
    }

    pub(super) fn bloom_at(&self) -> u64 {
        self.blocks_len + u64::from(self.index_len)
    }

    pub(super) fn zones_at(&self) -> u64 {
        self.bloom_at() + u64::from(self.bloom_len)
    }

    pub(super) fn statistics_at(&self) -> u64 {
        self.zones_at() + u64::from(self.zones_len)
    }

    pub(super) fn properties_at(&self) -> u64 {
        self.statistics_at() + u64::from(self.statistics_len)
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
            blocks_len: reader.u64()?,
            index_len: reader.u32()?,
            bloom_len: reader.u32()?,
            zones_len: reader.u32()?,
            statistics_len: reader.u32()?,
            properties_len: reader.u32()?,
        };
        if reader.u32()? != crc(&bytes[..FOOTER_BYTES - 4]) {
            return Err(Error::corrupt(segment, at, "the footer's checksum does not hold"));
        }
        if version != VERSION {
            let what = format!("format version {version}, this plugin reads {VERSION}");
            return Err(Error::corrupt(segment, at, what));
        }
        let sections: u64 = footer.lens().iter().map(|len| u64::from(*len)).sum();
        if footer.blocks_len.checked_add(sections) != Some(at) {
            return Err(Error::corrupt(segment, at, "sections that do not fill the segment"));
        }
        Ok(footer)
    }
}

/// Appends the checksum of a section to it.
pub(super) fn seal(mut section: Vec<u8>) -> Vec<u8> {
    let crc = crc(&section);
    put_u32(&mut section, crc);
    section
}

/// The section `bytes`, which lies at `offset`, without its checksum.
pub(super) fn unseal<'a>(segment: &str, offset: u64, bytes: &'a [u8]) -> Result<&'a [u8]> {
    match bytes.split_last_chunk() {
        Some((section, sum)) if u32::from_le_bytes(*sum) == crc(section) => Ok(section),
        _ => Err(Error::corrupt(segment, offset, "the section's checksum does not hold")),
    }
}

/// Decodes the index; its checksum has been checked, so what fails here was written wrongly.
pub(super) fn take_index(segment: &str, footer: &Footer, bytes: &[u8]) -> Result<Vec<BlockEntry>> {
    let mut reader = Reader::new(segment, footer.blocks_len, bytes);
    let mut entries: Vec<BlockEntry> = Vec::new();
    let mut offset = 0u64;
    while !reader.rest().is_empty() {
        let wrong = reader.corrupt("an index entry", "one that makes no sense");
        let mut number = || Ok::<_, Error>(u32::try_from(reader.varint()?).unwrap_or(u32::MAX));
        let (len, head_len, rows, deleted) = (number()?, number()?, number()?, number()?);
        let shape = reader.u8()?;
        let before = entries.last().map_or(&[][..], |entry| &entry.last_key);
        let first_key = take_key(&mut reader, before)?;
        let last_key = take_key(&mut reader, &first_key)?;
        let ordered = (entries.is_empty() || before < &first_key[..]) && first_key <= last_key;
        let fits = head_len <= len && u64::from(len) <= footer.blocks_len - offset;
        let counted = rows != 0
            && rows <= u32::from(u16::MAX)
            && deleted <= rows
            && shape <= Shape::Typed as u8;
        if !ordered || !fits || !counted {
            return Err(wrong.into());
        }
        entries.push(BlockEntry {
            offset,
            len,
            head_len,
            rows,
            deleted,
            shape,
            first_key,
            last_key,
        });
        offset += u64::from(len);
    }
    if entries.is_empty()
        || (entries.len() as u64, offset) != (footer.blocks.into(), footer.blocks_len)
    {
        return Err(Error::corrupt(
            segment,
            footer.blocks_len,
            "an index that is not the footer's",
        ));
    }
    Ok(entries)
}

/// Decodes the zone maps of `blocks` blocks.
pub(super) fn take_zones(segment: &str, footer: &Footer, bytes: &[u8]) -> Result<Vec<Vec<Zone>>> {
    let mut reader = Reader::new(segment, footer.zones_at(), bytes);
    let mut zones = Vec::new();
    for _ in 0..footer.blocks {
        // A zone takes at least three bytes, so wrong counts end where the bytes do.
        let count = reader.varint()?;
        zones.push((0..count).map(|_| Zone::take(&mut reader)).collect::<Result<_>>()?);
    }
    reader.end()?;
    Ok(zones)
}
