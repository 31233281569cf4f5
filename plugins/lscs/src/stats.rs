//! What a segment knows of its columns, and what a table knows from its segments.
//!
//! The statistics of a segment are tallies: the first of its keys, the second of the values of opaque blocks,
//! then one for each column outside the key, in the table's order. Their number comes first, as a varint.
//!
//! | item        | bytes    | meaning                                                           |
//! |-------------|---------:|-------------------------------------------------------------------|
//! | `name`      | prefixed | the column's; `(key)` and `(value)` in the first two                 |
//! | `type`      |        1 | tag of its type                                                   |
//! | `dimension` |        4 | u32, 0 but for vectors                                            |
//! | `rows`      |   varint | values and nulls                                                  |
//! | `nulls`     |   varint |                                                                   |
//! | `raw_bytes` |   varint | bytes of the values as rows have them                             |
//! | `bytes`     |   varint | bytes of them as they were written                                |
//! | encodings   |        . | varint: how many; each a name (prefixed), chunks, raw and written bytes (varints) |
//! | bounds      |        . | as in a zone map, from its `kind` on                              |
//! | sketch      |        . | as in [`crate::sketch`]                                           |

use sochdb_guest::encoding::codec::{Reader, put_bytes, put_u32, put_varint};
use sochdb_guest::encoding::row::{COLUMN_NAME_BYTES_MAX, ColumnType};
use sochdb_guest::encoding::stats::{ColumnStats, EncodingStats};

use crate::Result;
use crate::sketch::Sketch;
use crate::zone::{Bounds, Zone, put_bounds, take_bounds};

/// What is counted of one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub kind: ColumnType,
    pub stats: ColumnStats,
    pub bounds: Option<Bounds>,
    pub sketch: Sketch,
}

impl Tally {
    pub fn new(name: &str, kind: ColumnType) -> Tally {
        let stats = ColumnStats { name: name.to_owned(), ..ColumnStats::default() };
        Tally { kind, stats, bounds: None, sketch: Sketch::default() }
    }

    /// Counts a chunk of `rows` rows with `zone`, written as `encoding` in `bytes` bytes.
    pub fn add(&mut self, rows: u64, zone: &Zone, encoding: &str, bytes: u64) {
        self.stats.rows += rows;
        self.stats.nulls += zone.nulls;
        self.stats.raw_bytes += zone.raw_bytes;
        self.stats.bytes += bytes;
        let (name, raw_bytes) = (encoding.to_owned(), zone.raw_bytes);
        add_encoding(
            &mut self.stats.encodings,
            EncodingStats { name, chunks: 1, raw_bytes, bytes },
        );
        merge_bounds(&mut self.bounds, zone.bounds.as_ref());
    }

    /// Adds what another segment has counted of the same column.
    pub fn merge(&mut self, other: &Tally) {
        let (stats, more) = (&mut self.stats, &other.stats);
        stats.rows = stats.rows.saturating_add(more.rows);
        stats.nulls = stats.nulls.saturating_add(more.nulls);
        stats.raw_bytes = stats.raw_bytes.saturating_add(more.raw_bytes);
        stats.bytes = stats.bytes.saturating_add(more.bytes);
        more.encodings.iter().for_each(|more| add_encoding(&mut stats.encodings, more.clone()));
        merge_bounds(&mut self.bounds, other.bounds.as_ref());
        self.sketch.merge(&other.sketch);
    }

    /// What a planner is told.
    pub fn to_stats(&self) -> ColumnStats {
        let mut stats = self.stats.clone();
        if !matches!(self.kind, ColumnType::Vector(_)) {
            stats.distinct =
                Some(self.sketch.estimate().min(stats.rows - stats.nulls.min(stats.rows)));
        }
        if let Some(bounds) = &self.bounds {
            (stats.minimum, stats.maximum) = bounds.values(self.kind);
        }
        stats
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.stats.name.as_bytes());
        out.push(self.kind.tag());
        put_u32(out, if let ColumnType::Vector(dim) = self.kind { dim } else { 0 });
        let ColumnStats { rows, nulls, raw_bytes, bytes, encodings, .. } = &self.stats;
        [rows, nulls, raw_bytes, bytes].iter().for_each(|number| put_varint(out, **number));
        put_varint(out, encodings.len() as u64);
        for EncodingStats { name, chunks, raw_bytes, bytes } in encodings {
            put_bytes(out, name.as_bytes());
            [chunks, raw_bytes, bytes].iter().for_each(|number| put_varint(out, **number));
        }
        put_bounds(self.bounds.as_ref(), out);
        self.sketch.put(out);
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Tally> {
        let text = |reader: &mut Reader<'_>| -> Result<String> {
            let bytes = reader.prefixed(COLUMN_NAME_BYTES_MAX)?.to_vec();
            Ok(String::from_utf8(bytes).map_err(|_| reader.corrupt("a name", "other bytes"))?)
        };
        let name = text(reader)?;
        let (tag, dim) = (reader.u8()?, reader.u32()?);
        let Some(kind) = ColumnType::from_tag(tag, dim) else {
            return Err(reader.corrupt("the tag of a type", format!("{tag}")).into());
        };
        let mut tally = Tally::new(&name, kind);
        let stats = &mut tally.stats;
        stats.rows = reader.varint()?;
        stats.nulls = reader.varint()?;
        stats.raw_bytes = reader.varint()?;
        stats.bytes = reader.varint()?;
        for _ in 0..reader.varint()? {
            let name = text(reader)?;
            let (chunks, raw_bytes, bytes) = (reader.varint()?, reader.varint()?, reader.varint()?);
            stats.encodings.push(EncodingStats { name, chunks, raw_bytes, bytes });
        }
        tally.bounds = take_bounds(reader)?;
        tally.sketch = Sketch::take(reader)?;
        Ok(tally)
    }
}

fn add_encoding(encodings: &mut Vec<EncodingStats>, more: EncodingStats) {
    match encodings.iter_mut().find(|known| known.name == more.name) {
        Some(known) => {
            known.chunks = known.chunks.saturating_add(more.chunks);
            known.raw_bytes = known.raw_bytes.saturating_add(more.raw_bytes);
            known.bytes = known.bytes.saturating_add(more.bytes);
        }
        None => encodings.push(more),
    }
}

fn merge_bounds(known: &mut Option<Bounds>, more: Option<&Bounds>) {
    match (known, more) {
        (Some(known), Some(more)) => known.merge(more),
        (known @ None, Some(more)) => *known = Some(more.clone()),
        (_, None) => {}
    }
}
