//! Reads from the segments of a table: points, ranges of rows, ranges of columns, statistics.

use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use sochdb_guest::encoding::range::KeyRange;
use sochdb_guest::encoding::row::Schema;
use sochdb_guest::encoding::select::Selection;
use sochdb_guest::encoding::stats::{ColumnStats, LevelStats, StorageStats};

use crate::block::Block;
use crate::columns::ColumnCursor;
use crate::cursor::Cursor;
use crate::keys::compare;
use crate::pick::Picker;
use crate::plan::runs;
use crate::segment::{SegmentReader, Wanted};
use crate::spans::Spans;
use crate::stats::Tally;
use crate::typed::RowWriter;
use crate::{Result, SegmentSource, bloom};

/// Bytes of heads of blocks that point reads keep at most, and bytes of whole blocks.
const HEADS_BYTES_MAX: usize = 8 << 20;
const BLOCKS_BYTES_MAX: usize = 2 << 20;
/// Larger blocks, which are those of one row, are not kept.
const CACHE_BLOCK_BYTES_MAX: usize = 128 << 10;

/// What a table's segments know about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// No segment has it.
    Absent,
    /// The newest segment that has it says it was deleted.
    Deleted,
    /// Its newest value.
    Found(Vec<u8>),
}

/// The open segments of a table.
#[derive(Debug)]
pub struct TableReader<S> {
    /// Oldest first.
    segments: Vec<Arc<SegmentReader<S>>>,
    /// Neighbours whose keys only grow, oldest first.
    runs: Vec<Range<usize>>,
    cache: Mutex<Caches>,
}

impl<S: SegmentSource> TableReader<S> {
    /// Reads from `segments`, oldest first: later hides earlier.
    pub fn new(segments: Vec<Arc<SegmentReader<S>>>) -> Self {
        let properties: Vec<_> = segments.iter().map(|segment| segment.properties()).collect();
        let runs = runs(&properties);
        TableReader { segments, runs, cache: Mutex::default() }
    }

    /// Looks up each of `keys`; answers in their order.
    ///
    /// Each run is visited once, from the newest on, and keys are taken in sorted order, so that a block is
    /// read once however many of the keys lie in it.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a block that must be read cannot be.
    pub fn multi_get(&self, keys: &[impl AsRef<[u8]>]) -> Result<Vec<Lookup>> {
        let (mut scratch, mut writer) = (Vec::new(), RowWriter::default());
        if let [key] = keys {
            return Ok(vec![self.get(key.as_ref(), &mut scratch, &mut writer)?]);
        }
        let mut answers = vec![Lookup::Absent; keys.len()];
        let mut open: Vec<_> =
            (0..keys.len()).map(|i| (i, bloom::hash(keys[i].as_ref()))).collect();
        open.sort_unstable_by_key(|&(i, _)| keys[i].as_ref());
        for run in self.runs.iter().rev() {
            let mut held: Option<((usize, usize), Arc<Block>)> = None;
            let mut left = Vec::new();
            for (i, hash) in open {
                let key = keys[i].as_ref();
                let Some(place) = self.locate(run, key, hash)? else {
                    left.push((i, hash));
                    continue;
                };
                let block = match held.take().filter(|(at, _)| *at == place) {
                    Some((_, block)) => block,
                    None => self.block(place)?,
                };
                match block.keys().find(key).map_err(|broken| block.broken_keys(broken))? {
                    None => left.push((i, hash)),
                    Some(row) => {
                        answers[i] = self.value(place.0, &block, row, &mut scratch, &mut writer)?;
                    }
                }
                held = Some((place, block));
            }
            open = left;
            if open.is_empty() {
                break;
            }
        }
        Ok(answers)
    }

    /// As [`multi_get`](Self::multi_get), of one key: with nothing to sort or to keep for other keys.
    fn get(&self, key: &[u8], scratch: &mut Vec<u8>, writer: &mut RowWriter) -> Result<Lookup> {
        let hash = bloom::hash(key);
        for run in self.runs.iter().rev() {
            let Some(place) = self.locate(run, key, hash)? else { continue };
            let block = self.block(place)?;
            let row = block.keys().find(key).map_err(|broken| block.broken_keys(broken))?;
            if let Some(row) = row {
                return self.value(place.0, &block, row, scratch, writer);
            }
        }
        Ok(Lookup::Absent)
    }

    /// What row `row` of `block`, which is one of the segment at `segment`, says of its key.
    fn value(
        &self,
        segment: usize,
        block: &Block,
        row: usize,
        scratch: &mut Vec<u8>,
        writer: &mut RowWriter,
    ) -> Result<Lookup> {
        if block.lacks_values() && !block.is_dead(row) {
            let (at, ends) = block.known_value_ends()?;
            let value = self.segments[segment].bytes_of(block, at, ends.place(row))?;
            return Ok(Lookup::Found(value));
        }
        let value = block.value(row, scratch, writer)?;
        Ok(value.map_or(Lookup::Deleted, |value| Lookup::Found(value.into())))
    }

    /// The segment of `run`, and its block, that may have `key`.
    fn locate(&self, run: &Range<usize>, key: &[u8], hash: u64) -> Result<Option<(usize, usize)>> {
        let pieces = &self.segments[run.clone()];
        let at = pieces.partition_point(|piece| compare(&piece.properties().max_key, key).is_lt());
        let may_have =
            |piece: &&Arc<SegmentReader<S>>| compare(&piece.properties().min_key, key).is_le();
        let Some(piece) = pieces.get(at).filter(may_have) else { return Ok(None) };
        Ok(piece.locate(key, hash)?.map(|position| (run.start + at, position)))
    }

    fn block(&self, place: (usize, usize)) -> Result<Arc<Block>> {
        // A cache that a panic left behind is whole: each change to it is one step.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Caches { heads, blocks } = &mut *cache;
        if let Some(block) = heads.get(place).or_else(|| blocks.get(place)) {
            return Ok(block);
        }
        let block = Arc::new(self.segments[place.0].block(place.1, Wanted::Row)?);
        if block.lacks_values() {
            heads.put(place, &block);
        } else if block.held_bytes() <= CACHE_BLOCK_BYTES_MAX {
            blocks.put(place, &block);
        }
        Ok(block)
    }

    /// A scan of `range`, from the greatest key down when `reverse`; see [`Cursor`]. Nothing is read yet.
    ///
    /// # Errors
    /// `Invalid` when the selection makes no sense.
    pub fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<&Selection>,
    ) -> Result<Cursor<S>> {
        let mut range = range.clone();
        let picker = selection
            .map(|selection| Picker::new(selection, &mut range))
            .transpose()?
            .map(Arc::new);
        let spans = Spans::new(&self.segments, &self.runs, range, reverse, picker.clone());
        Ok(Cursor::new(spans, reverse, picker))
    }

    /// A scan of the columns of `range`; see [`ColumnCursor`]. Nothing is read yet.
    ///
    /// # Errors
    /// `Invalid` when the selection makes no sense.
    pub fn scan_columns(&self, range: &KeyRange, selection: &Selection) -> Result<ColumnCursor<S>> {
        let mut range = range.clone();
        let picker = Arc::new(Picker::new(selection, &mut range)?);
        let spans = Spans::new(&self.segments, &self.runs, range, false, Some(picker.clone()));
        Ok(ColumnCursor::new(spans, picker))
    }

    /// What the segments keep, level by level and, for a table with a schema, column by column. The bytes of the
    /// keys are counted with the first key column.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable` when a segment's statistics cannot be read.
    pub fn stats(&self, schema: Option<&Schema>) -> Result<StorageStats> {
        let levels = self.runs.iter().rev().map(|run| self.level(run)).collect();
        let mut columns = Vec::new();
        if let Some(schema) = schema {
            let tallies = self.tallies()?;
            let known = |name: &str| tallies.iter().skip(2).find(|tally| tally.stats.name == name);
            for (position, column) in schema.columns.iter().enumerate() {
                let stats = match schema.key.iter().position(|key| *key == position) {
                    Some(order) => self.key_stats(schema, order, tallies.first()),
                    None => known(&column.name).map(Tally::to_stats).unwrap_or_default(),
                };
                columns.push(ColumnStats { name: column.name.clone(), ..stats });
            }
        }
        Ok(StorageStats { levels, columns })
    }

    /// How keys are written, and how the values are that are not rows of columns.
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn plain_stats(&self) -> Result<Vec<ColumnStats>> {
        Ok(self.tallies()?.iter().take(2).map(Tally::to_stats).collect())
    }

    fn level(&self, run: &Range<usize>) -> LevelStats {
        let mut level = LevelStats::default();
        for segment in &self.segments[run.clone()] {
            let properties = segment.properties();
            level.segments += 1;
            level.rows += properties.rows;
            level.deleted += properties.deleted;
            level.bytes += properties.bytes;
        }
        level
    }

    /// What is known of the key column of the given `order`.
    fn key_stats(&self, schema: &Schema, order: usize, keys: Option<&Tally>) -> ColumnStats {
        let mut stats = ColumnStats::default();
        let Some(keys) = keys else { return stats };
        if order == 0 {
            stats = keys.stats.clone();
            let value =
                |key: &[u8]| schema.key_values(key).ok().map(|mut values| values.swap_remove(0));
            let properties = || self.segments.iter().map(|segment| segment.properties());
            stats.minimum = properties().map(|p| &p.min_key).min().and_then(|key| value(key));
            stats.maximum = properties().map(|p| &p.max_key).max().and_then(|key| value(key));
        }
        stats.rows = keys.stats.rows;
        stats
    }

    /// The tallies of all segments: of keys, of opaque values, and of each column.
    fn tallies(&self) -> Result<Vec<Tally>> {
        let mut all: Vec<Tally> = Vec::new();
        for segment in &self.segments {
            for (index, tally) in segment.tallies()?.into_iter().enumerate() {
                let same = |known: &&mut Tally| {
                    known.stats.name == tally.stats.name && known.kind == tally.kind
                };
                // The first two have names that no column has.
                match all.iter_mut().find(same) {
                    Some(known) => known.merge(&tally),
                    None if index < 2 => all.insert(index, tally),
                    None => all.push(tally),
                }
            }
        }
        Ok(all)
    }
}

/// What was read of blocks of which little is needed, and whole ones.
#[derive(Debug)]
struct Caches {
    heads: Cache,
    blocks: Cache,
}

impl Default for Caches {
    fn default() -> Caches {
        let cache = |bytes_max| Cache { bytes_max, ..Cache::default() };
        Caches { heads: cache(HEADS_BYTES_MAX), blocks: cache(BLOCKS_BYTES_MAX) }
    }
}

/// Blocks that were read last: those asked for since the last half was full, and the half before.
#[derive(Debug, Default)]
struct Cache {
    bytes_max: usize,
    young: Places,
    young_bytes: usize,
    old: Places,
}

type Places = FxHashMap<(usize, usize), Arc<Block>>;

impl Cache {
    fn get(&mut self, place: (usize, usize)) -> Option<Arc<Block>> {
        if let Some(block) = self.young.get(&place) {
            return Some(block.clone());
        }
        let block = self.old.remove(&place)?;
        self.put(place, &block);
        Some(block)
    }

    fn put(&mut self, place: (usize, usize), block: &Arc<Block>) {
        if self.bytes_max / 2 <= self.young_bytes + block.held_bytes() {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += block.held_bytes();
        self.young.insert(place, block.clone());
    }
}
