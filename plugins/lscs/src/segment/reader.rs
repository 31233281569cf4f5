//! Finds rows in one segment: its sections are read when they are first needed, blocks each time.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use sochdb_guest::encoding::codec::Reader;

use super::format::{
    BlockEntry, CRC_BYTES, FOOTER_BYTES, Footer, Properties, take_index, take_zones, unseal,
};
use crate::block::{Block, Shape};
use crate::keys::{compare, head};
use crate::stats::Tally;
use crate::zone::Zone;
use crate::{Error, Result, SegmentSource, bloom};

/// Bytes read first, from the end: the footer and, but for long keys, the properties.
const TAIL_BYTES: usize = 512;
/// A gap between two wanted chunks that is read with them, because a second read costs as much.
const GAP_BYTES: usize = 4 << 10;
/// So many bytes behind an opaque block's head, and so many for each row, nearly always tell where its values end.
const ENDS_BYTES: usize = 64;
const ROW_END_BYTES: usize = 2;

/// An open segment.
#[derive(Debug)]
pub struct SegmentReader<S> {
    source: S,
    name: Arc<str>,
    footer: Footer,
    properties: Properties,
    lookup: OnceLock<LookUp>,
    zones: OnceLock<Vec<Vec<Zone>>>,
}

/// What finds a key's block.
#[derive(Debug)]
struct LookUp {
    index: Vec<BlockEntry>,
    /// What the last key of each entry begins with, so that a search looks at few of the keys themselves.
    heads: Vec<u64>,
    bloom: Vec<u8>,
}

/// Which parts of a block to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// All of it.
    All,
    /// The head, and of typed blocks the columns with `true`; of others everything.
    Columns(&'a [bool]),
    /// The head.
    Head,
    /// What tells where the value of one row lies, or everything.
    Row,
}

impl<S: SegmentSource> SegmentReader<S> {
    /// Reads and checks footer and properties; the other sections are checked when they are needed, and
    /// blocks when they are read.
    ///
    /// # Errors
    /// `Corrupt` when they are not what a writer wrote, or of a version this plugin does not read;
    /// `Unavailable` when the source fails.
    pub fn open(source: S) -> Result<Self> {
        let (name, len): (Arc<str>, _) = (source.name().into(), source.len());
        if len < FOOTER_BYTES as u64 {
            return Err(Error::corrupt(&name, 0, format!("{len} bytes, too few for a segment")));
        }
        let tail_len = len.min(TAIL_BYTES as u64) as usize;
        let tail = read(&source, &name, len - tail_len as u64, tail_len)?;
        let (tail, footer) = tail.split_at(tail_len - FOOTER_BYTES);
        let footer = Footer::from_bytes(&name, len, footer)?;
        let (at, wanted) = (footer.properties_at(), footer.properties_len as usize);
        let section = match tail.len().checked_sub(wanted) {
            Some(start) => tail[start..].to_vec(),
            None => read(&source, &name, at, wanted)?,
        };
        let mut reader = Reader::new(&name, at, unseal(&name, at, &section)?);
        let properties = Properties::take(&mut reader, len)?;
        reader.end()?;
        let (lookup, zones) = (OnceLock::new(), OnceLock::new());
        Ok(SegmentReader { source, name, footer, properties, lookup, zones })
    }

    /// What planning needs to know.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The index: one entry a block, ascending. Read with the bloom filter the first time.
    ///
    /// # Errors
    /// `Corrupt` when a section is not what a writer wrote; `Unavailable` when the source fails.
    pub fn index(&self) -> Result<&[BlockEntry]> {
        Ok(&self.lookup()?.index)
    }

    fn lookup(&self) -> Result<&LookUp> {
        if let Some(lookup) = self.lookup.get() {
            return Ok(lookup);
        }
        let (name, footer) = (&self.name, &self.footer);
        let len = (footer.index_len as usize).saturating_add(footer.bloom_len as usize);
        let mut bytes = read(&self.source, name, footer.blocks_len, len)?;
        let (index, bloom) = bytes.split_at(footer.index_len as usize);
        let index = take_index(name, footer, unseal(name, footer.blocks_len, index)?)?;
        let filter = unseal(name, footer.bloom_at(), bloom)?.len();
        let bounds = index
            .first()
            .map(|entry| &entry.first_key)
            .zip(index.last().map(|entry| &entry.last_key));
        let rows: u64 = index.iter().map(|entry| u64::from(entry.rows)).sum();
        let Properties { min_key, max_key, .. } = &self.properties;
        if bounds != Some((min_key, max_key)) || rows != self.properties.rows {
            return Err(Error::corrupt(
                name,
                footer.blocks_len,
                "an index that is not the properties'",
            ));
        }
        if filter == 0 || !filter.is_multiple_of(bloom::BLOCK_BYTES) {
            return Err(Error::corrupt(name, footer.bloom_at(), "a bloom filter that is cut"));
        }
        bytes.truncate(bytes.len() - CRC_BYTES);
        let bloom = bytes.split_off(footer.index_len as usize);
        let heads = index.iter().map(|entry| head(&entry.last_key)).collect();
        Ok(self.lookup.get_or_init(|| LookUp { index, heads, bloom }))
    }

    /// The zone maps, one entry a block.
    pub(crate) fn zones(&self) -> Result<&[Vec<Zone>]> {
        if let Some(zones) = self.zones.get() {
            return Ok(zones);
        }
        let (name, at) = (&self.name, self.footer.zones_at());
        let bytes = read(&self.source, name, at, self.footer.zones_len as usize)?;
        let zones = take_zones(name, &self.footer, unseal(name, at, &bytes)?)?;
        Ok(self.zones.get_or_init(|| zones))
    }

    /// The statistics; they are read each time.
    pub(crate) fn tallies(&self) -> Result<Vec<Tally>> {
        let (name, at) = (&self.name, self.footer.statistics_at());
        let bytes = read(&self.source, name, at, self.footer.statistics_len as usize)?;
        let mut reader = Reader::new(name, at, unseal(name, at, &bytes)?);
        let count = reader.varint()?;
        let tallies = (0..count).map(|_| Tally::take(&mut reader)).collect::<Result<_>>()?;
        reader.end()?;
        Ok(tallies)
    }

    /// The position of the only block that may hold `key`, whose hash is `hash`; `None` when the key surely is
    /// not here.
    pub(crate) fn locate(&self, key: &[u8], hash: u64) -> Result<Option<usize>> {
        let LookUp { index, heads, bloom } = self.lookup()?;
        if !bloom::may_contain(bloom, hash) {
            return Ok(None);
        }
        let wanted = head(key);
        let mut position = heads.partition_point(|head| *head < wanted);
        let same = heads[position..].partition_point(|head| *head == wanted);
        let is_before = |entry: &BlockEntry| compare(&entry.last_key, key) == Ordering::Less;
        position += index[position..][..same].partition_point(is_before);
        let may_have = |entry: &&BlockEntry| compare(&entry.first_key, key) != Ordering::Greater;
        Ok(index.get(position).filter(may_have).map(|_| position))
    }

    /// Reads the block at `position` of the index, or what is `wanted` of it.
    pub(crate) fn block(&self, position: usize, wanted: Wanted<'_>) -> Result<Block> {
        let Some(entry) = self.index()?.get(position) else {
            return Err(Error::Invalid(format!("{} has no block {position}", self.name)));
        };
        let len = entry.len as usize;
        let first = match wanted {
            Wanted::Columns(_) | Wanted::Head if GAP_BYTES < len => entry.head_len as usize,
            Wanted::Row if entry.shape == Shape::Opaque as u8 => {
                let ends = ENDS_BYTES + ROW_END_BYTES * entry.rows as usize;
                let first = (entry.head_len as usize).saturating_add(ends);
                if len / 2 < first { len } else { first }
            }
            _ => len,
        };
        let bytes = read(&self.source, &self.name, entry.offset, first)?;
        let mut block =
            Block::new(self.name.clone(), entry.offset, len, entry.head_len as usize, bytes)?;
        let found = (block.rows() as u32, block.deleted() as u32, block.shape() as u8);
        let wanted_of_it = (entry.rows, entry.deleted, entry.shape);
        if found != wanted_of_it {
            let what =
                format!("rows, deleted rows and shape {found:?}, the index says {wanted_of_it:?}");
            return Err(Error::corrupt(&self.name, entry.offset, what));
        }
        match wanted {
            Wanted::Columns(columns) => self.fill(&mut block, position, columns)?,
            Wanted::Row if block.lacks_values() && block.value_ends().is_none() => {
                self.fill(&mut block, position, &[])?;
            }
            _ => {}
        }
        Ok(block)
    }

    /// Reads the bytes at `place` from `at` of `block` on.
    pub(crate) fn bytes_of(
        &self,
        block: &Block,
        at: usize,
        place: Range<usize>,
    ) -> Result<Vec<u8>> {
        if place.is_empty() {
            return Ok(Vec::new());
        }
        let offset = block.offset() + (at + place.start) as u64;
        read(&self.source, &self.name, offset, place.len())
    }

    /// Reads the chunks of `columns` that `block`, at `position` of the index, does not have yet.
    pub(crate) fn fill(&self, block: &mut Block, position: usize, columns: &[bool]) -> Result<()> {
        let entry = &self.index()?[position];
        let typed = block.shape() == Shape::Typed;
        let wanted = |index: usize| !typed || columns.get(index).copied().unwrap_or(false);
        let missing: Vec<_> = (0..block.chunks().len())
            .filter(|index| wanted(*index) && !block.has(*index))
            .map(|index| block.chunks()[index])
            .collect();
        let bytes: usize = missing.iter().map(|place| place.len).sum();
        // When most of it is wanted, one read of everything is the least.
        let gap =
            if (entry.len - entry.head_len) as usize <= 2 * bytes { usize::MAX } else { GAP_BYTES };
        let mut places = missing.iter().peekable();
        while let Some(first) = places.next() {
            let mut end = first.at + first.len;
            while let Some(next) = places.next_if(|next| next.at - end <= gap) {
                end = next.at + next.len;
            }
            let at = entry.offset + first.at as u64;
            let bytes = read(&self.source, &self.name, at, end - first.at)?;
            block.add(first.at, bytes);
        }
        Ok(())
    }
}

/// Reads exactly `len` bytes: a source that returns another number is not believed.
fn read(source: &impl SegmentSource, name: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
    let wanted =
        u32::try_from(len).map_err(|_| Error::Invalid(format!("{name}: a read of {len} bytes")))?;
    let bytes = source.read(offset, wanted)?;
    if bytes.len() != len {
        let what = format!("{name}: {} bytes were read at {offset}, not {len}", bytes.len());
        return Err(Error::Unavailable(what));
    }
    Ok(bytes)
}
