//! One segment: rows in the order of their keys, in blocks, and behind them the list of the blocks.
//!
//! | size | type  | field    | meaning                                                          |
//! |-----:|-------|----------|------------------------------------------------------------------|
//! |    8 | bytes | `magic`  | `TINYROW1`                                                       |
//! |    . | rows  | `blocks` | rows one behind the other, a new block from [`BLOCK_BYTES`] on   |
//! |    . | list  | `blocks` | of each block: its offset (u64), length of its first key (u32), that key |
//! |    8 | u64   | `list`   | the offset of the list                                           |
//! |    4 | u32   | `count`  | how many blocks there are                                        |
//! |    4 | bytes | `end`    | `DONE`                                                           |
//!
//! | size | type  | field   | meaning of a row's parts                        |
//! |-----:|-------|---------|-------------------------------------------------|
//! |    4 | u32   | `key`   | bytes of the key                                |
//! |    4 | u32   | `value` | bytes of the value; all ones: it was deleted    |
//! |    . | bytes |         | the key, then the value                         |
//!
//! Integers are little-endian. There is no checksum: the database keeps one for each block of a segment, and a
//! read that does not fit it is an error before it gets here. What is checked here is that lengths lead to no place
//! outside of the segment, and that keys grow: whatever the bytes are, a scan gives rows in order.

use sochdb_guest::{Error, Result, Segment, SegmentWriter};

const MAGIC: &[u8; 8] = b"TINYROW1";
const END: &[u8; 4] = b"DONE";
const FOOTER_BYTES: usize = 8 + 4 + 4;
/// A get reads one block: what a page of a disk holds.
const BLOCK_BYTES: u64 = 4096;
const DELETED: u32 = u32::MAX;

/// A row: its key, and its value or that it was deleted.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

// ANCHOR: writer
/// A segment being written.
pub struct Writer {
    segment: SegmentWriter,
    /// Where the block begins that the next row belongs to; none before its first row.
    block: Option<u64>,
    /// Behind everything that was written.
    end: u64,
    list: Vec<u8>,
    count: u32,
}

impl Writer {
    /// Begins with the magic.
    pub fn new(mut segment: SegmentWriter) -> Result<Writer> {
        segment.append(MAGIC)?;
        Ok(Writer { segment, block: None, end: MAGIC.len() as u64, list: Vec::new(), count: 0 })
    }

    /// Adds a row; its key is greater than all before.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if self.block.is_none_or(|start| BLOCK_BYTES <= self.end - start) {
            self.block = Some(self.end);
            self.list.extend(self.end.to_le_bytes());
            self.list.extend((key.len() as u32).to_le_bytes());
            self.list.extend(key);
            self.count += 1;
        }
        let len = value.map_or(DELETED, |value| value.len() as u32);
        let value = value.unwrap_or_default();
        self.segment.append(&(key.len() as u32).to_le_bytes())?;
        self.segment.append(&len.to_le_bytes())?;
        self.segment.append(key)?;
        self.segment.append(value)?;
        self.end += (4 + 4 + key.len() + value.len()) as u64;
        Ok(())
    }

    /// Ends with the list of blocks and where it is.
    pub fn seal(mut self) -> Result<u64> {
        self.segment.append(&self.list)?;
        self.segment.append(&self.end.to_le_bytes())?;
        self.segment.append(&self.count.to_le_bytes())?;
        self.segment.append(END)?;
        self.segment.seal()
    }
}
// ANCHOR_END: writer

// ANCHOR: opened
/// A segment that can be read: of its rows, only the first key of each block is in memory.
pub struct Opened {
    segment: Segment,
    blocks: Vec<Block>,
    /// Where the last block ends.
    end: u64,
}

struct Block {
    offset: u64,
    first: Vec<u8>,
}

impl Opened {
    /// Reads the end of the segment, then the list of its blocks.
    pub fn new(segment: Segment) -> Result<Opened> {
        let bytes = segment.info().bytes;
        let footer_at = bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(cut)?;
        let footer = segment.read(footer_at, FOOTER_BYTES)?;
        let mut rest = &footer[..];
        let (end, count) = (take_u64(&mut rest)?, take_u32(&mut rest)?);
        if segment.read(0, MAGIC.len())? != MAGIC || rest != END {
            return Err(Error::corrupt("this is no segment of tiny-rows"));
        }
        let list = segment.read(end, between(end, footer_at)?)?;
        let mut rest = &list[..];
        let mut blocks = Vec::new();
        for _ in 0..count {
            let (offset, len) = (take_u64(&mut rest)?, take_u32(&mut rest)?);
            blocks.push(Block { offset, first: take(&mut rest, len)?.to_vec() });
        }
        let ends = blocks.last().is_none_or(|last: &Block| last.offset < end);
        if !ends || !blocks.is_sorted_by(|a, b| a.offset < b.offset && a.first < b.first) {
            return Err(disorder());
        }
        Ok(Opened { segment, blocks, end })
    }
    // ANCHOR_END: opened

    // ANCHOR: get
    /// What the segment knows of `key`: nothing, that it was deleted, or its value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Option<Vec<u8>>>> {
        let Some(block) = self.blocks_up_to(key).checked_sub(1) else { return Ok(None) };
        let mut rows = self.rows(block)?;
        let found = rows.binary_search_by(|(other, _)| other.as_slice().cmp(key));
        Ok(found.ok().map(|at| rows.swap_remove(at).1))
    }

    /// How many blocks begin at or before `key`. The last of them is the only one that may have it.
    pub fn blocks_up_to(&self, key: &[u8]) -> usize {
        self.blocks.partition_point(|block| block.first.as_slice() <= key)
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The rows of the block at `index`.
    pub fn rows(&self, index: usize) -> Result<Vec<Row>> {
        let start = self.blocks[index].offset;
        let end = self.blocks.get(index + 1).map_or(self.end, |next| next.offset);
        let bytes = self.segment.read(start, between(start, end)?)?;
        let mut rest = &bytes[..];
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let (key, value) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
            let key = take(&mut rest, key)?.to_vec();
            let value = match value {
                DELETED => None,
                len => Some(take(&mut rest, len)?.to_vec()),
            };
            rows.push((key, value));
        }
        // The list says which keys the block has: those from its first to before the next one's.
        let begins = rows.first().is_some_and(|(key, _)| *key == self.blocks[index].first);
        let last = rows.last().map(|(key, _)| key.as_slice()).unwrap_or_default();
        let ends = self.blocks.get(index + 1).is_none_or(|next| last < next.first.as_slice());
        match begins && ends && rows.is_sorted_by(|(a, _), (b, _)| a < b) {
            true => Ok(rows),
            false => Err(disorder()),
        }
    }
}
// ANCHOR_END: get

fn cut() -> Error {
    Error::corrupt("a segment of tiny-rows with lengths that lead outside of it")
}

fn disorder() -> Error {
    Error::corrupt("a segment of tiny-rows whose keys do not grow")
}

/// How many bytes lie between two offsets.
fn between(start: u64, end: u64) -> Result<usize> {
    end.checked_sub(start).and_then(|len| usize::try_from(len).ok()).ok_or_else(cut)
}

fn take<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8]> {
    rest.split_off(..len as usize).ok_or_else(cut)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32> {
    let bytes = rest.split_off(..4).ok_or_else(cut)?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}

fn take_u64(rest: &mut &[u8]) -> Result<u64> {
    let bytes = rest.split_off(..8).ok_or_else(cut)?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::{ErrorCode, Sink};

    fn written(rows: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
        let sink = Sink::in_memory();
        let mut writer = Writer::new(sink.create().unwrap()).unwrap();
        for (key, value) in rows {
            writer.push(key, *value).unwrap();
        }
        writer.seal().unwrap();
        let segment = sink.segments().remove(0);
        segment.read(0, segment.info().bytes as usize).unwrap()
    }

    // ANCHOR: bytes
    #[test]
    fn the_bytes_are_those_of_the_table() {
        let bytes = written(&[(b"a", Some(b"1")), (b"bb", None)]);
        let rows = b"\x01\0\0\0\x01\0\0\0a1\x02\0\0\0\xff\xff\xff\xffbb";
        let list = b"\x08\0\0\0\0\0\0\0\x01\0\0\0a";
        let end = b"\x1c\0\0\0\0\0\0\0\x01\0\0\0DONE";
        assert_eq!(bytes, [&b"TINYROW1"[..], rows, list, end].concat());
    }
    // ANCHOR_END: bytes

    // ANCHOR: hostile
    #[test]
    fn cut_or_altered_bytes_are_an_error_or_other_rows_in_order_but_never_a_panic() {
        let long = vec![7; 3000];
        let bytes =
            written(&[(b"a", Some(&long)), (b"b", None), (b"c", Some(&long)), (b"d", Some(b""))]);
        let read = |bytes: Vec<u8>| {
            let opened = Opened::new(Segment::of(0, bytes))?;
            (0..opened.blocks()).map(|block| opened.rows(block)).collect::<Result<Vec<_>>>()
        };
        assert_eq!(read(bytes.clone()).unwrap().concat().len(), 4);
        for len in 0..bytes.len() {
            assert!(read(bytes[..len].to_vec()).is_err(), "{len} bytes of {}", bytes.len());
        }
        let places = (0..64).chain(bytes.len() - 64..bytes.len());
        for (at, bit) in places.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let read = read(altered);
            let is_sorted = |blocks: &Vec<Vec<Row>>| blocks.concat().is_sorted_by(|a, b| a.0 < b.0);
            assert!(read.as_ref().map_or(true, is_sorted), "bit {bit} of byte {at}");
            if let Err(error) = read {
                assert_eq!(error.code, ErrorCode::Corrupt, "{error}");
            }
        }
    }
    // ANCHOR_END: hostile
}
