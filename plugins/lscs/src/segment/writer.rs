//! Sorted rows in, one segment out.

use sochdb_guest::encoding::codec::put_varint;
use sochdb_guest::encoding::row::ColumnType;

use super::format::{BlockEntry, Footer, Properties, seal};
use crate::block::{
    BLOCK_BYTES_MAX, BLOCK_BYTES_TARGET, BLOCK_RAW_BYTES_MAX, BLOCK_ROWS_MAX, Block, Columns,
    Encoded, Rows, Shape,
};
use crate::keys::Walk;
use crate::options::Options;
use crate::stats::Tally;
use crate::zone::Zone;
use crate::{Error, KEY_BYTES_MAX, Result, SegmentSink, VALUE_BYTES_MAX, bloom};

/// Parts of the ratio between encoded and raw bytes.
const RATIO_ONE: usize = 1024;

/// Writes one segment to a sink. Memory: one block, and for each row eight bytes until `finish`.
pub struct SegmentWriter<W> {
    sink: W,
    columns: Columns,
    rows: Rows,
    /// Encoded bytes of the last block for each [`RATIO_ONE`] raw ones.
    ratio: usize,
    entries: Vec<BlockEntry>,
    zones: Vec<u8>,
    hashes: Vec<u64>,
    /// Of keys, of opaque values, of each column.
    tallies: Vec<Tally>,
    deleted: u64,
    raw_bytes: u64,
    offset: u64,
}

impl<W: SegmentSink> SegmentWriter<W> {
    /// Begins a segment of a table with `options`; nothing is appended to `sink` before the first block is full.
    pub fn new(options: &Options, sink: W) -> Self {
        let mut tallies =
            vec![Tally::new("(key)", ColumnType::Bytes), Tally::new("(value)", ColumnType::Bytes)];
        tallies.extend(options.stored().map(|column| Tally::new(&column.name, column.kind)));
        SegmentWriter {
            sink,
            columns: Columns::new(options),
            rows: Rows::default(),
            ratio: RATIO_ONE,
            entries: Vec::new(),
            zones: Vec::new(),
            hashes: Vec::new(),
            tallies,
            deleted: 0,
            raw_bytes: 0,
            offset: 0,
        }
    }

    /// About how many bytes of blocks there are, with the rows that are not yet in one.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset + self.pending_bytes() as u64
    }

    /// About how many bytes the rows take that are not yet in a block.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.encoded_bytes(self.rows.raw_bytes())
    }

    fn encoded_bytes(&self, raw: usize) -> usize {
        raw.saturating_mul(self.ratio) / RATIO_ONE
    }

    fn last_key(&self) -> Option<&[u8]> {
        self.rows.keys.last().or_else(|| self.entries.last().map(|entry| &entry.last_key[..]))
    }

    fn check_order(&self, key: &[u8]) -> Result<()> {
        if self.last_key().is_some_and(|last| key <= last) {
            let key = key.escape_ascii();
            return Err(Error::Invalid(format!("the run is not sorted: '{key}' is not greater")));
        }
        Ok(())
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
        self.check_order(key)?;
        let raw = self.rows.raw_bytes() + key.len() + value_bytes;
        if BLOCK_RAW_BYTES_MAX < raw || BLOCK_BYTES_MAX < self.encoded_bytes(raw) {
            self.close_block()?;
        }
        self.rows.push(key, value);
        self.hashes.push(bloom::hash(key));
        if self.rows.len() == BLOCK_ROWS_MAX || BLOCK_BYTES_TARGET <= self.pending_bytes() {
            self.close_block()?;
        }
        Ok(())
    }

    /// Adds a block as another segment has it: all of it was read, its rows lie between `first_key` and
    /// `last_key`, `zones` are its own.
    pub(crate) fn copy(
        &mut self,
        block: &Block,
        entry: &BlockEntry,
        zones: &[Zone],
        bytes: &[u8],
    ) -> Result<()> {
        self.check_order(&entry.first_key)?;
        self.close_block()?;
        let mut walk = Walk::default();
        let mut raw_keys = 0;
        for row in 0..block.rows() {
            walk.seek(&block.keys(), row).map_err(|broken| block.broken_keys(broken))?;
            self.hashes.push(bloom::hash(&walk.key));
            raw_keys += walk.key.len() as u64;
        }
        self.tally(block, zones, entry.deleted.into(), raw_keys)?;
        let entry = BlockEntry { offset: self.offset, ..entry.clone() };
        self.append(entry, zones, bytes)
    }

    /// Adds the sketches of a segment whose blocks were copied.
    pub(crate) fn add_sketches(&mut self, tallies: &[Tally]) {
        for (tally, other) in self.tallies.iter_mut().zip(tallies).skip(2) {
            tally.sketch.merge(&other.sketch);
        }
    }

    /// Ends the block of the rows so far.
    fn close_block(&mut self) -> Result<()> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let blocks = rows.encode(&mut self.columns);
        let encoded: usize = blocks.iter().map(|block| block.bytes.len()).sum();
        self.ratio = (encoded * RATIO_ONE / rows.raw_bytes().max(1)).clamp(1, 4 * RATIO_ONE);
        let mut at = 0;
        for block in blocks {
            let keys = at..at + block.rows;
            at = keys.end;
            self.append_encoded(block, &rows, keys)?;
        }
        self.rows = rows;
        self.rows.clear();
        Ok(())
    }

    fn append_encoded(
        &mut self,
        block: Encoded,
        rows: &Rows,
        keys: std::ops::Range<usize>,
    ) -> Result<()> {
        let Encoded { bytes, head_len, rows: count, dead, shape, zones } = block;
        let entry = BlockEntry {
            offset: self.offset,
            len: bytes.len() as u32,
            head_len: head_len as u32,
            rows: count as u32,
            deleted: dead as u32,
            shape: shape as u8,
            first_key: rows.keys.get(keys.start).to_vec(),
            last_key: rows.keys.get(keys.end - 1).to_vec(),
        };
        let raw_keys = keys.map(|row| rows.keys.get(row).len() as u64).sum();
        let bytes_len = bytes.len();
        let block = Block::new("a new segment".into(), self.offset, bytes_len, head_len, bytes)?;
        self.tally(&block, &zones, dead as u64, raw_keys)?;
        self.append(entry, &zones, &block.into_bytes())
    }

    /// Counts a block whose keys have `raw_keys` bytes.
    fn tally(&mut self, block: &Block, zones: &[Zone], dead: u64, raw_keys: u64) -> Result<()> {
        let zone = Zone { nulls: 0, raw_bytes: raw_keys, bounds: None };
        let keys = block.keys();
        self.tallies[0].add(keys.rows as u64, &zone, keys.layout.name(), keys.bytes.len() as u64);
        self.raw_bytes += raw_keys;
        self.deleted += dead;
        let first = if block.shape() == Shape::Opaque { 1 } else { 2 };
        let live = block.rows() as u64 - dead;
        for (index, zone) in zones.iter().enumerate() {
            self.raw_bytes += zone.raw_bytes;
            let Some(tally) = self.tallies.get_mut(first + index) else { break };
            let encoding = block.chunk(index)?.encoding();
            tally.add(live, zone, encoding, block.chunks()[index].len as u64);
        }
        Ok(())
    }

    fn append(&mut self, entry: BlockEntry, zones: &[Zone], bytes: &[u8]) -> Result<()> {
        put_varint(&mut self.zones, zones.len() as u64);
        zones.iter().for_each(|zone| zone.put(&mut self.zones));
        self.entries.push(entry);
        self.append_bytes(bytes)
    }

    fn append_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.sink.append(bytes)?;
        if at != self.offset {
            let what = format!("the sink appended at {at}, the segment ends at {}", self.offset);
            return Err(Error::Unavailable(what));
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is left, the sections and the footer, and gives the sink back; `None`, and nothing written,
    /// when there was no row.
    ///
    /// # Errors
    /// `Invalid` when a section passes 4 GiB; `Unavailable` when the sink fails.
    pub fn finish(mut self) -> Result<(Option<Properties>, W)> {
        self.close_block()?;
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else {
            return Ok((None, self.sink));
        };
        let mut properties = Properties {
            rows: self.hashes.len() as u64,
            deleted: self.deleted,
            raw_bytes: self.raw_bytes,
            bytes: 0,
            min_key: first.first_key.clone(),
            max_key: last.last_key.clone(),
        };
        let (mut index, mut before) = (Vec::new(), &[][..]);
        for entry in &self.entries {
            entry.put(before, &mut index);
            before = &entry.last_key;
        }
        for (tally, sketch) in self.tallies.iter_mut().skip(2).zip(&self.columns.sketches) {
            tally.sketch.merge(sketch);
        }
        let mut statistics = Vec::new();
        put_varint(&mut statistics, self.tallies.len() as u64);
        self.tallies.iter().for_each(|tally| tally.put(&mut statistics));
        let mut last = Vec::new();
        properties.put(&mut last);
        let zones = std::mem::take(&mut self.zones);
        let sections = [index, bloom::build(&self.hashes), zones, statistics, last].map(seal);
        let [index_len, bloom_len, zones_len, statistics_len, properties_len] =
            sections.each_ref().map(Vec::len);
        let bound = |len: usize| {
            u32::try_from(len).map_err(|_| Error::Invalid("a segment with too many rows".into()))
        };
        let footer = Footer {
            blocks: bound(self.entries.len())?,
            blocks_len: self.offset,
            index_len: bound(index_len)?,
            bloom_len: bound(bloom_len)?,
            zones_len: bound(zones_len)?,
            statistics_len: bound(statistics_len)?,
            properties_len: bound(properties_len)?,
        };
        let mut tail = sections.concat();
        tail.extend(footer.to_bytes());
        self.append_bytes(&tail)?;
        properties.bytes = self.offset;
        Ok((Some(properties), self.sink))
    }
}
