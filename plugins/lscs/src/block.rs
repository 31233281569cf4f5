//! One block of a segment: some rows, column by column (PAX).
//!
//! A block is what one point read fetches. The writer closes it near [`BLOCK_BYTES_TARGET`]; it passes
//! [`BLOCK_BYTES_MAX`] only when a single row does, and then holds that row alone.
//!
//! | offset | size       | type  | field        | meaning                                                |
//! |-------:|-----------:|-------|--------------|--------------------------------------------------------|
//! |      0 |          1 | u8    | `version`    | 1: keys and opaque values, as below                    |
//! |      1 |          1 | u8    | zero         |                                                        |
//! |      2 |          2 | u16   | `rows`       | 1 or more                                              |
//! |      4 |          4 | u32   | `keys_len`   | bytes of the key column                                |
//! |      8 |          4 | u32   | `values_len` | bytes of the value column                              |
//! |     12 | (rows+7)/8 | bits  | tombstones   | bit `i % 8` of byte `i / 8`; bits past `rows` are zero |
//! |      . | `keys_len` | bytes | keys         | per row: varint shared, varint length, suffix          |
//! |      . |   4 (.../16) | u32 | restarts     | where rows 0, 16, 32... begin in the key column        |
//! |      . |     4 rows | u32   | ends         | where each row's value ends in the value column        |
//! |      . | `values_len` | bytes | values     | one after the other; a tombstone has none              |
//!
//! Integers are little-endian. A key is the first `shared` bytes of the key before it and the suffix; at
//! a restart `shared` is 0, so a search needs to decode sixteen keys at most. Typed column chunks will be
//! a new `version`; this one stays readable.
//!
//! The block carries no checksum: the kernel's segments have one for each block on disk. What is checked
//! here keeps altered bytes from reading outside their column or growing memory: a read decodes one
//! restart interval, and no key passes [`KEY_BYTES_MAX`].
//!
//! Source: restart points as in LevelDB's `block_builder.cc`.

use std::sync::Arc;

use sochdb_encoding::codec::{Reader, put_bytes, put_u16, put_u32, put_varint};

use crate::{Error, KEY_BYTES_MAX, Result, VALUE_BYTES_MAX};

/// A block is closed when it reaches this many bytes.
pub const BLOCK_BYTES_TARGET: usize = 32 << 10;
/// No block of more than one row is larger: one block of the kernel's segments.
pub const BLOCK_BYTES_MAX: usize = 64 << 10;
/// Rows from one restart to the next.
pub const RESTART_ROWS: usize = 16;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 1 + 2 + 4 + 4;
/// A row's least bytes: two varints and an end.
const ROW_BYTES_MIN: usize = 1 + 1 + 4;
const _: () = assert!(HEADER_BYTES == 12, "the table above says 12");
const _: () = assert!(BLOCK_BYTES_TARGET / ROW_BYTES_MIN < u16::MAX as usize, "`rows` is a u16");
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX < u32::MAX as usize / 2, "lengths are u32");

/// Gathers rows until they make a block.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    rows: usize,
    tombstones: Vec<u8>,
    keys: Vec<u8>,
    restarts: Vec<u32>,
    ends: Vec<u32>,
    values: Vec<u8>,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Rows gathered so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The greatest key gathered so far; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// The block's size in bytes, were it closed now.
    pub fn bytes(&self) -> usize {
        let small = HEADER_BYTES + self.tombstones.len() + self.keys.len() + self.values.len();
        small + 4 * (self.restarts.len() + self.ends.len())
    }

    /// Whether a row of these sizes still fits below [`BLOCK_BYTES_MAX`]; the first always does.
    pub fn fits(&self, key_bytes: usize, value_bytes: usize) -> bool {
        // Two varints of at most 5 bytes, an end, and perhaps a restart and a byte of tombstones.
        let row = key_bytes + value_bytes + 2 * 5 + 4 + 4 + 1;
        self.rows == 0 || self.bytes() + row <= BLOCK_BYTES_MAX
    }

    /// Adds a row. The writer has checked its bounds and that `key` is greater than the last.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let mut shared = 0;
        if self.rows.is_multiple_of(RESTART_ROWS) {
            self.restarts.push(self.keys.len() as u32);
        } else {
            shared = key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count();
        }
        if self.rows.is_multiple_of(8) {
            self.tombstones.push(0);
        }
        if value.is_none() {
            self.tombstones[self.rows / 8] |= 1 << (self.rows % 8);
        }
        put_varint(&mut self.keys, shared as u64);
        put_bytes(&mut self.keys, &key[shared..]);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.ends.push(self.values.len() as u32);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.rows += 1;
    }

    /// The block's bytes; the builder is empty again.
    pub fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.extend([VERSION, 0]);
        put_u16(&mut out, self.rows as u16);
        put_u32(&mut out, self.keys.len() as u32);
        put_u32(&mut out, self.values.len() as u32);
        out.append(&mut self.tombstones);
        out.append(&mut self.keys);
        self.restarts.drain(..).for_each(|restart| put_u32(&mut out, restart));
        self.ends.drain(..).for_each(|end| put_u32(&mut out, end));
        out.append(&mut self.values);
        self.last_key.clear();
        self.rows = 0;
        out
    }
}

/// A block that was read: its columns lie within its bytes, their content is checked when it is used.
#[derive(Debug)]
pub struct Block {
    segment: Arc<str>,
    offset: u64,
    bytes: Vec<u8>,
    rows: usize,
    keys_at: usize,
    restarts_at: usize,
    ends_at: usize,
    values_at: usize,
}

impl Block {
    /// Checks the shape of `bytes`, which lie at `offset` of the segment named `segment`.
    ///
    /// # Errors
    /// `Corrupt` when the columns do not fill `bytes` exactly.
    pub fn new(segment: Arc<str>, offset: u64, bytes: Vec<u8>) -> Result<Block> {
        let mut reader = Reader::new(&segment, offset, &bytes);
        let head = [reader.u8()?, reader.u8()?];
        if head != [VERSION, 0] {
            let what = format!("a block of version {VERSION}, found {head:?}");
            return Err(Error::corrupt(&segment, offset, what));
        }
        let (rows, keys, values) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let rows = usize::from(rows);
        let tombstones = reader.bytes(rows.div_ceil(8))?;
        let padding = tombstones.last().map_or(1, |last| u32::from(*last) >> ((rows - 1) % 8 + 1));
        let keys_at = HEADER_BYTES + tombstones.len();
        reader.bytes(keys as usize)?;
        let restarts_at = keys_at + keys as usize;
        let restarts = reader.bytes(rows.div_ceil(RESTART_ROWS) * 4)?;
        let ends_at = restarts_at + restarts.len();
        let ends = reader.bytes(rows * 4)?;
        let values_at = ends_at + ends.len();
        reader.bytes(values as usize)?;
        reader.end()?;
        if padding != 0 {
            return Err(Error::corrupt(&segment, offset, "a block without rows, or with padding"));
        }
        Ok(Block { segment, offset, bytes, rows, keys_at, restarts_at, ends_at, values_at })
    }

    /// Rows in the block, 1 or more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Restart intervals in the block, 1 or more.
    pub fn intervals(&self) -> usize {
        self.rows.div_ceil(RESTART_ROWS)
    }

    /// How many intervals, from the first on, begin with a key that is `before`.
    ///
    /// # Errors
    /// `Corrupt` when a restart does not lead to a key.
    pub fn intervals_before(&self, before: impl Fn(&[u8]) -> bool) -> Result<usize> {
        let (mut low, mut high) = (0, self.intervals());
        while low < high {
            let middle = low.midpoint(high);
            let mut reader = self.key_reader(middle)?;
            let shared = reader.varint()?;
            if before(reader.prefixed(KEY_BYTES_MAX)?) && shared == 0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The keys of interval `interval`, ascending. The first is that of row `interval * RESTART_ROWS`.
    ///
    /// # Errors
    /// `Corrupt` when they are cut, out of order, too long, or not as many as the restarts say.
    pub fn keys(&self, interval: usize) -> Result<Vec<Vec<u8>>> {
        let mut reader = self.key_reader(interval)?;
        let first = interval * RESTART_ROWS;
        let mut keys: Vec<Vec<u8>> = Vec::with_capacity(RESTART_ROWS);
        for row in first..self.rows.min(first + RESTART_ROWS) {
            let before = keys.last().map_or(&[][..], Vec::as_slice);
            let shared = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
            let suffix = reader.prefixed(KEY_BYTES_MAX)?;
            let Some(prefix) = before.get(..shared) else {
                return Err(self.corrupt(self.keys_at, "a key that shares more than there is"));
            };
            let key = [prefix, suffix].concat();
            if KEY_BYTES_MAX < key.len() || (row != first && key[..] <= *before) {
                return Err(self.corrupt(self.keys_at, "keys too long or out of order"));
            }
            keys.push(key);
        }
        let next = self.restart(interval + 1).unwrap_or(self.restarts_at - self.keys_at);
        let end = self.offset + (self.keys_at + next) as u64;
        if reader.offset() != end {
            return Err(self.corrupt(self.restarts_at, "a restart that is not where its key is"));
        }
        Ok(keys)
    }

    /// The row whose key is `key`, if there is one.
    ///
    /// # Errors
    /// `Corrupt` as [`Block::keys`].
    pub fn find(&self, key: &[u8]) -> Result<Option<usize>> {
        let Some(interval) = self.intervals_before(|first| first <= key)?.checked_sub(1) else {
            return Ok(None);
        };
        let keys = self.keys(interval)?;
        let found = keys.binary_search_by(|found| found[..].cmp(key)).ok();
        Ok(found.map(|index| interval * RESTART_ROWS + index))
    }

    /// The value of row `row`, which is below [`Block::rows`]; `None` for a tombstone.
    ///
    /// # Errors
    /// `Corrupt` when the value does not lie in its column.
    pub fn value(&self, row: usize) -> Result<Option<&[u8]>> {
        assert!(row < self.rows, "row {row} of a block of {} rows", self.rows);
        let end = self.number(self.ends_at + 4 * row);
        let start = if row == 0 { 0 } else { self.number(self.ends_at + 4 * (row - 1)) };
        let value = self.bytes[self.values_at..].get(start..end);
        let deleted = self.bytes[HEADER_BYTES + row / 8] >> (row % 8) & 1 == 1;
        match value {
            Some([]) if deleted => Ok(None),
            Some(value) if !deleted => Ok(Some(value)),
            _ => Err(self.corrupt(self.ends_at + 4 * row, "a value outside its column")),
        }
    }

    /// Reads the key column from the restart of `interval` on.
    fn key_reader(&self, interval: usize) -> Result<Reader<'_>> {
        let start = self.restart(interval).unwrap_or(usize::MAX);
        let Some(keys) = self.bytes[self.keys_at..self.restarts_at].get(start..) else {
            return Err(self.corrupt(self.restarts_at, "a restart outside the key column"));
        };
        Ok(Reader::new(&self.segment, self.offset + (self.keys_at + start) as u64, keys))
    }

    fn restart(&self, interval: usize) -> Option<usize> {
        (interval < self.intervals()).then(|| self.number(self.restarts_at + 4 * interval))
    }

    /// The `u32` at `at`, which `new` has checked to lie in the block.
    fn number(&self, at: usize) -> usize {
        let four = self.bytes[at..][..4].try_into().expect("four bytes were taken");
        u32::from_le_bytes(four) as usize
    }

    fn corrupt(&self, at: usize, what: &str) -> Error {
        Error::corrupt(&self.segment, self.offset + at as u64, what)
    }
}
