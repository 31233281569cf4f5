//! One block of a segment: some rows, column by column (PAX).
//!
//! A point read fetches one block, or of an opaque one as little as it can: the head, where the values end, and
//! then the one value. The head is what keys are found from; behind it is a chunk for each column outside the key.
//!
//! | offset | size         | type  | field         | meaning                                                |
//! |-------:|-------------:|-------|---------------|--------------------------------------------------------|
//! |      0 |            1 | u8    | `version`     | 2                                                      |
//! |      1 |            1 | u8    | `shape`       | 0: no row has a value; 1: opaque; 2: typed             |
//! |      2 |            2 | u16   | `rows`        | 1 or more                                              |
//! |      4 |            2 | u16   | `chunks`      | 0 if no row has a value, 1 if opaque, else columns     |
//! |      6 |            1 | u8    | `key_encoding`| as in module `keys`                                    |
//! |      7 |            1 | u8    | `has_deleted` | 0 or 1                                                 |
//! |      8 |            4 | u32   | `keys_len`    | bytes                                                  |
//! |     12 |   8 `chunks` |       | directory     | per chunk: u32 length, u8 type, u8 zero, u16 dimension |
//! |      . | (rows + 7)/8 | bits  | deleted       | only if `has_deleted`; bits past `rows` are zero       |
//! |      . |   `keys_len` |       | keys          | as in module `keys`; here the head ends                |
//! |      . |            . |       | chunks        | one behind the other, as in [`crate::column`]          |
//!
//! Integers are little-endian. A type is the tag of `sochdb_guest::encoding::row`, a dimension is 0 but for vectors.
//!
//! **Typed**: each value is a row of `chunks` columns whose types the directory tells, in the canonical
//! encoding of `sochdb_guest::encoding::row`, and is put together from its cells. **Opaque**: the one chunk, of bytes,
//! holds whole values. A deleted row (a tombstone) has nulls in all columns, or no bytes.
//!
//! The block carries no checksum: the kernel's segments have one for each block on disk. What is checked
//! here keeps altered bytes from reading outside their chunk or growing memory.

use std::ops::Range;
use std::sync::Arc;

use sochdb_guest::encoding::codec::{Reader, put_u16, put_u32};
use sochdb_guest::encoding::columns::{Bits, ColumnBuilder};
use sochdb_guest::encoding::row::{ColumnType, VECTOR_DIM_MAX};

use crate::chunk::push_cell;
use crate::column::{Chunk, Encoder, Slices};
use crate::keys::{self, Broken, Keys, Strings};
use crate::options::Options;
use crate::sketch::Sketch;
use crate::typed::{self, RowWriter};
use crate::zone::Zone;
use crate::{Error, KEY_BYTES_MAX, Result, VALUE_BYTES_MAX};

/// About how many bytes a block has.
pub const BLOCK_BYTES_TARGET: usize = 36 << 10;
/// No block of more than one row is larger: one block of the kernel's segments.
pub const BLOCK_BYTES_MAX: usize = 64 << 10;
/// Rows of one block: a search looks at few of them, but each has bits in the masks of a scan.
pub const BLOCK_ROWS_MAX: usize = 16 << 10;
/// Bytes of one block's rows before they are encoded.
pub const BLOCK_RAW_BYTES_MAX: usize = 1 << 20;

const VERSION: u8 = 2;
const HEADER_BYTES: usize = 1 + 1 + 2 + 2 + 1 + 1 + 4;
const ENTRY_BYTES: usize = 4 + 1 + 1 + 2;
const _: () = assert!(HEADER_BYTES == 12, "the table above says 12");
const _: () = assert!(BLOCK_ROWS_MAX < u16::MAX as usize, "`rows` is a u16");
const _: () =
    assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX < i32::MAX as usize, "columns have offsets of 31 bits");
const _: () = assert!(VECTOR_DIM_MAX <= u16::MAX as u32, "dimensions are a u16");

/// Bytes of all strings of one chunk of `rows` rows.
fn string_bytes_max(rows: usize) -> usize {
    if rows == 1 { VALUE_BYTES_MAX } else { BLOCK_RAW_BYTES_MAX }
}

/// What the values of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All rows are deleted.
    Empty,
    /// Whole values in one chunk.
    Opaque,
    /// Rows of so many columns.
    Typed,
}

/// Rows on their way into a block.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub keys: Strings,
    pub values: Strings,
    pub dead: Bits,
    pub dead_count: usize,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of keys and values.
    pub fn raw_bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes()
    }

    /// Adds a row. The writer has checked its bounds and that `key` is greater than the last.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys.push(key);
        self.values.push(value.unwrap_or_default());
        self.dead.push(value.is_none());
        self.dead_count += usize::from(value.is_none());
    }

    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.dead = Bits::default();
        self.dead_count = 0;
    }

    /// The value of row `row`; `None` for a deleted one.
    fn value(&self, row: usize) -> Option<&[u8]> {
        (!self.dead.get(row)).then(|| self.values.get(row))
    }

    /// The block of these rows, of which there is at least one; more than one when it would pass
    /// [`BLOCK_BYTES_MAX`].
    pub fn encode(&self, columns: &mut Columns) -> Vec<Encoded> {
        let block = self.encode_one(columns);
        if block.bytes.len() <= BLOCK_BYTES_MAX || self.len() == 1 {
            return vec![block.finish(columns)];
        }
        let mut halves = Vec::new();
        for rows in [0..self.len() / 2, self.len() / 2..self.len()] {
            let mut half = Rows::default();
            rows.for_each(|row| half.push(self.keys.get(row), self.value(row)));
            halves.extend(half.encode(columns));
        }
        halves
    }

    fn encode_one(&self, table: &mut Columns) -> Draft {
        let live = self.dead_count < self.len();
        let kinds = table.kinds.as_ref().filter(|_| live);
        let columns = kinds.and_then(|kinds| typed::split(kinds, &self.values, &self.dead));
        let (shape, columns) = match columns {
            Some(columns) => (Shape::Typed, columns),
            None if live => (Shape::Opaque, vec![self.opaque()]),
            None => (Shape::Empty, Vec::new()),
        };
        let chunks: Vec<_> = match shape {
            Shape::Typed => columns
                .iter()
                .zip(&mut table.encoders)
                .map(|(column, e)| e.encode(column))
                .collect(),
            _ => columns.iter().map(|column| table.opaque.encode(column)).collect(),
        };
        let (key_encoding, keys) = keys::encode(&self.keys, 0..self.len());
        let mut bytes = vec![VERSION, shape as u8];
        put_u16(&mut bytes, self.len() as u16);
        put_u16(&mut bytes, columns.len() as u16);
        bytes.extend([key_encoding, u8::from(self.dead_count != 0)]);
        put_u32(&mut bytes, keys.len() as u32);
        for (column, chunk) in columns.iter().zip(&chunks) {
            let kind = column.kind();
            put_u32(&mut bytes, chunk.len() as u32);
            bytes.extend([kind.tag(), 0]);
            put_u16(&mut bytes, if let ColumnType::Vector(dim) = kind { dim as u16 } else { 0 });
        }
        if self.dead_count != 0 {
            let words = self.dead.words().iter().flat_map(|word| word.to_le_bytes());
            bytes.extend(words.take(self.len().div_ceil(8)));
        }
        bytes.extend_from_slice(&keys);
        let head_len = bytes.len();
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let (rows, dead) = (self.len(), self.dead_count);
        Draft { bytes, head_len, rows, dead, shape, columns }
    }

    fn opaque(&self) -> ColumnBuilder {
        let mut column = ColumnBuilder::new(ColumnType::Bytes);
        for row in 0..self.len() {
            column.push_bytes(self.values.get(row)).expect("a block's values stay far below 2 GiB");
        }
        column
    }
}

/// A block that may still turn out too large.
struct Draft {
    bytes: Vec<u8>,
    head_len: usize,
    rows: usize,
    dead: usize,
    shape: Shape,
    columns: Vec<ColumnBuilder>,
}

impl Draft {
    fn finish(self, table: &mut Columns) -> Encoded {
        let Draft { bytes, head_len, rows, dead, shape, columns } = self;
        let dead_cells = if shape == Shape::Typed { dead } else { 0 };
        let mut zones: Vec<_> = columns.iter().map(|column| Zone::of(column, dead_cells)).collect();
        if shape == Shape::Opaque {
            // Nobody asks for whole values by their order.
            zones.iter_mut().for_each(|zone| zone.bounds = None);
        } else {
            let sketches = table.sketches.iter_mut().zip(&columns);
            sketches.for_each(|(sketch, column)| sketch.add_column(column));
        }
        Encoded { bytes, head_len, rows, dead, shape, zones }
    }
}

/// A block as bytes, and what the segment remembers of it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    pub head_len: usize,
    pub rows: usize,
    pub dead: usize,
    pub shape: Shape,
    /// One for each chunk.
    pub zones: Vec<Zone>,
}

/// The columns of a segment under construction.
pub(crate) struct Columns {
    /// Types of the columns outside the key; none if the table has no types.
    kinds: Option<Vec<ColumnType>>,
    encoders: Vec<Encoder>,
    opaque: Encoder,
    /// One for each column outside the key.
    pub sketches: Vec<Sketch>,
}

impl Columns {
    /// The columns of a table with `options`.
    pub fn new(options: &Options) -> Columns {
        let kinds: Vec<_> = options.stored().map(|column| column.kind).collect();
        let encoder = || Encoder::new(options.codec_follows());
        Columns {
            encoders: kinds.iter().map(|_| encoder()).collect(),
            opaque: encoder(),
            sketches: vec![Sketch::default(); kinds.len()],
            kinds: options.schema().map(|_| kinds),
        }
    }
}

/// Where a chunk lies in its block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub kind: ColumnType,
    pub at: usize,
    pub len: usize,
}

/// A block that was read, or its head and some of its chunks: the parts lie where they should, their content is
/// checked when it is used.
#[derive(Debug)]
pub struct Block {
    segment: Arc<str>,
    offset: u64,
    rows: usize,
    shape: Shape,
    /// Where the bits of deleted rows lie.
    dead: Option<Range<usize>>,
    deleted: usize,
    keys: (keys::Layout, Range<usize>),
    chunks: Vec<Place>,
    /// The bytes that were read, by where they lie; the first has the head.
    parts: Vec<(usize, Vec<u8>)>,
}

impl Block {
    /// Checks the head of the block of `len` bytes at `offset` of the segment named `segment`. `bytes` are its
    /// first, `head_len` or more of them.
    ///
    /// # Errors
    /// `Corrupt` when the parts do not fill the block exactly.
    pub(crate) fn new(
        segment: Arc<str>,
        offset: u64,
        len: usize,
        head_len: usize,
        bytes: Vec<u8>,
    ) -> Result<Block> {
        let mut reader = Reader::new(&segment, offset, &bytes);
        let wrong = |what: String| Error::corrupt(&segment, offset, what);
        let (version, shape) = (reader.u8()?, reader.u8()?);
        if version != VERSION {
            return Err(wrong(format!("a block of version {VERSION}, found {version}")));
        }
        let (rows, chunks) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let (key_encoding, has_dead) = (reader.u8()?, reader.u8()?);
        let keys_len = reader.u32()? as usize;
        let shape = match (shape, chunks) {
            (0, 0) => Shape::Empty,
            (1, 1) => Shape::Opaque,
            (2, _) => Shape::Typed,
            _ => return Err(wrong(format!("a block of shape {shape} with {chunks} chunks"))),
        };
        if rows == 0 || 1 < has_dead {
            return Err(wrong("a block without rows, or a flag that is none".into()));
        }
        let mut at = head_len;
        let mut places = Vec::with_capacity(chunks);
        for entry in reader.bytes(chunks * ENTRY_BYTES)?.as_chunks::<ENTRY_BYTES>().0 {
            let [a, b, c, d, tag, zero, dim @ ..] = *entry;
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            let Some(kind) =
                ColumnType::from_tag(tag, u16::from_le_bytes(dim).into()).filter(|_| zero == 0)
            else {
                return Err(wrong(format!("a chunk of type {tag}")));
            };
            places.push(Place { kind, at, len });
            at = at.saturating_add(len);
        }
        let (mut dead, mut deleted) = (None, 0);
        if has_dead == 1 {
            let start = (reader.offset() - offset) as usize;
            let bits = reader.bytes(rows.div_ceil(8))?;
            if bits.last().is_some_and(|last| u32::from(*last) >> ((rows - 1) % 8 + 1) != 0) {
                return Err(wrong("bits of deleted rows past the last".into()));
            }
            dead = Some(start..start + bits.len());
            deleted = bits.iter().map(|byte| byte.count_ones() as usize).sum();
        }
        if shape == Shape::Empty && deleted != rows {
            return Err(wrong("rows without a value that are not deleted".into()));
        }
        let keys_at = (reader.offset() - offset) as usize;
        let layout = keys::Layout::new(key_encoding, rows, reader.bytes(keys_len)?);
        let layout = layout.map_err(|broken| wrong(broken.into()))?;
        if keys_at + keys_len != head_len || at != len {
            return Err(wrong("head and chunks do not fill the block".into()));
        }
        let keys = (layout, keys_at..head_len);
        let parts = vec![(0, bytes)];
        Ok(Block { segment, offset, rows, shape, dead, deleted, keys, chunks: places, parts })
    }

    /// Where in the segment it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Rows in the block, 1 or more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that say that their key was deleted.
    pub(crate) fn deleted(&self) -> usize {
        self.deleted
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The chunks: columns of a typed block.
    pub(crate) fn chunks(&self) -> &[Place] {
        &self.chunks
    }

    /// The keys where they lie.
    pub(crate) fn keys(&self) -> Keys<'_> {
        let (layout, range) = self.keys.clone();
        Keys { layout, rows: self.rows, bytes: &self.parts[0].1[range] }
    }

    /// The bytes with a bit for each deleted row, if there is one.
    pub(crate) fn dead(&self) -> Option<&[u8]> {
        self.dead.clone().map(|range| &self.parts[0].1[range])
    }

    /// Whether row `row` says that its key was deleted.
    pub(crate) fn is_dead(&self, row: usize) -> bool {
        self.dead().is_some_and(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
    }

    /// Whether the chunk `index` was read.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.bytes(self.chunks[index]).is_some()
    }

    /// Adds bytes that were read, which lie at `at` of the block.
    pub(crate) fn add(&mut self, at: usize, bytes: Vec<u8>) {
        self.parts.push((at, bytes));
    }

    /// The bytes, all of which were read at once.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.parts.swap_remove(0).1
    }

    /// The bytes of the first part: all of them, if the block was read at once.
    pub(crate) fn first_bytes(&self) -> &[u8] {
        &self.parts[0].1
    }

    fn bytes(&self, place: Place) -> Option<&[u8]> {
        self.parts
            .iter()
            .find_map(|(at, bytes)| bytes.get(place.at.checked_sub(*at)?..)?.get(..place.len))
    }

    /// Bytes that were read.
    pub(crate) fn held_bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether it is opaque and its values were not read.
    pub(crate) fn lacks_values(&self) -> bool {
        self.shape == Shape::Opaque && !self.has(0)
    }

    /// Where in the block the values begin, and where each lies from there, as far as that can be told from the bytes
    /// that were read of an opaque block.
    pub(crate) fn value_ends(&self) -> Option<(usize, Slices<'_>)> {
        let place = *self.chunks.first().filter(|_| self.shape == Shape::Opaque)?;
        let (at, bytes) = self.parts.first()?;
        let bytes = bytes.get(place.at.checked_sub(*at)?..)?;
        let reader = Reader::new(&self.segment, self.offset + place.at as u64, bytes);
        let max = string_bytes_max(self.rows);
        let (values_at, ends) = Chunk::plain_ends(self.rows, place.len, reader, max)?;
        Some((place.at + values_at, ends))
    }

    /// As [`value_ends`](Self::value_ends), where they were told when the block was read.
    pub(crate) fn known_value_ends(&self) -> Result<(usize, Slices<'_>)> {
        self.value_ends().ok_or_else(|| self.corrupt(0, "values that are not where they were"))
    }

    /// The chunk `index`, which was read.
    pub(crate) fn chunk(&self, index: usize) -> Result<Chunk<'_>> {
        let place = self.chunks[index];
        let Some(bytes) = self.bytes(place) else {
            return Err(self.corrupt(place.at, "a chunk that was not read"));
        };
        let reader = Reader::new(&self.segment, self.offset + place.at as u64, bytes);
        Chunk::open(place.kind, self.rows, reader, string_bytes_max(self.rows))
    }

    /// The value of row `row`, which is below [`Block::rows`]; `None` for a tombstone. All chunks were read.
    pub(crate) fn value<'a>(
        &self,
        row: usize,
        scratch: &mut Vec<u8>,
        out: &'a mut RowWriter,
    ) -> Result<Option<&'a [u8]>> {
        if self.is_dead(row) {
            return Ok(None);
        }
        match self.shape {
            Shape::Empty => {
                return Err(self.corrupt(0, "a row without a value that is not deleted"));
            }
            Shape::Opaque => {
                let missing =
                    || self.corrupt(self.chunks[0].at, "a row without a value that is not deleted");
                out.set(self.chunk(0)?.bytes(row, scratch).ok_or_else(missing)?);
            }
            Shape::Typed => {
                out.begin(self.chunks.len());
                for (index, place) in self.chunks.iter().enumerate() {
                    push_cell(&self.chunk(index)?, place.kind, row, scratch, out);
                }
                out.end();
            }
        }
        Ok(Some(out.row()))
    }

    /// `Corrupt`: the bytes at `at` of the block break a rule.
    pub(crate) fn corrupt(&self, at: usize, broken: impl Into<String>) -> Error {
        Error::corrupt(&self.segment, self.offset + at as u64, broken)
    }

    /// As [`corrupt`](Self::corrupt), for the keys.
    pub(crate) fn broken_keys(&self, broken: Broken) -> Error {
        self.corrupt(self.keys.1.start, broken)
    }
}
