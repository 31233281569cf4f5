//! A graph as bytes.
//!
//! | part         | bytes                | content                                                        |
//! |--------------|---------------------:|----------------------------------------------------------------|
//! | ground       | `count * slots * 4`  | the row of each entry: u32 links, then 4,294,967,295 in slots without |
//! | upper layers | `upper_bytes`        | from the lowest on, each as below                              |
//! | footer       | 64                   | as below                                                       |
//!
//! So the row of entry `i` lies at `i * slots * 4`. An upper layer:
//!
//! | size              | type | field   | meaning                                                     |
//! |------------------:|------|---------|-------------------------------------------------------------|
//! |                 4 | u32  | members | how many there are, at least 1                              |
//! |       members * 4 | u32  | below   | where each is in the layer below; on the ground, which entry |
//! | members * slots * 4 | u32 | rows   | as on the ground, of positions in this layer                |
//!
//! The footer, the last bytes:
//!
//! | offset | size | type | field         | meaning                                              |
//! |-------:|-----:|------|---------------|------------------------------------------------------|
//! |      0 |    8 | text | `magic`       | `SOCHGRPH`                                           |
//! |      8 |    4 | u32  | `version`     | 1                                                    |
//! |     12 |    4 | u32  | `kind`        | 1 HNSW, 2 Vamana                                     |
//! |     16 |    4 | u32  | `count`       | entries                                              |
//! |     20 |    4 | u32  | `slots`       | of a row on the ground, 1 to 256                     |
//! |     24 |    4 | u32  | `upper_slots` | of a row above it, up to 256; 0 without upper layers |
//! |     28 |    4 | u32  | `layers`      | upper layers, up to 32                               |
//! |     32 |    4 | u32  | `start`       | where walks begin: a position in the last layer      |
//! |     36 |    4 | u32  | `ground_crc`  | CRC-32C of the ground                                |
//! |     40 |    8 | u64  | `upper_bytes` | size of the upper layers                             |
//! |     48 |    4 | u32  | `upper_crc`   | CRC-32C of the upper layers                          |
//! |     52 |    8 | u64  | `edges`       | links on the ground                                  |
//! |     60 |    4 | u32  | `crc`         | CRC-32C of the 60 bytes before it                    |
//!
//! Integers are little-endian.
//!
//! Invariants:
//! 1. A link is below the number of members of its layer, and behind the first empty slot are only empty ones.
//! 2. Whoever reads the whole ground checks `ground_crc`. Whoever reads single rows checks their links, and leaves
//!    the rest to the checksums of the store beneath.

use crate::growing::{Graph, Layer};
use crate::links::{Links, NONE};
use crate::options::{Kind, LINKS_MAX};
use crate::{Blob, ENTRIES_MAX, Error, Result, Sink};
use sochdb_encoding::codec::{self, Reader, put_u32, put_u64};

/// What a footer begins with.
pub const MAGIC: &[u8; 8] = b"SOCHGRPH";
/// The only version there is.
pub const VERSION: u32 = 1;
/// The size of the footer.
pub const FOOTER_BYTES: usize = 8 + 4 * 7 + 4 + 8 + 4 + 8 + 4;
const _: () = assert!(FOOTER_BYTES == 64, "the table above says 64");
/// Upper layers, at most.
const UPPER_MAX: u32 = 32;
/// Bytes that are read or written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A footer, checked against the size of what it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footer {
    pub kind: Kind,
    pub count: u32,
    pub slots: usize,
    pub upper_slots: usize,
    pub layers: u32,
    pub start: u32,
    pub ground_crc: u32,
    pub upper_bytes: u64,
    pub upper_crc: u32,
    pub edges: u64,
}

impl Footer {
    /// Bytes of the ground, which lies before everything else.
    pub fn ground_bytes(&self) -> u64 {
        u64::from(self.count) * self.slots as u64 * 4
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let kind = match self.kind {
            Kind::Hnsw => 1,
            Kind::Vamana => 2,
        };
        let (slots, upper_slots) = (self.slots as u32, self.upper_slots as u32);
        for value in [VERSION, kind, self.count, slots, upper_slots, self.layers, self.start] {
            put_u32(&mut out, value);
        }
        put_u32(&mut out, self.ground_crc);
        put_u64(&mut out, self.upper_bytes);
        put_u32(&mut out, self.upper_crc);
        put_u64(&mut out, self.edges);
        let crc = codec::crc(&out);
        put_u32(&mut out, crc);
        assert_eq!(out.len(), FOOTER_BYTES, "a footer has one size");
        out
    }

    /// Reads the footer of `blob`.
    pub fn read(blob: &(impl Blob + ?Sized)) -> Result<Footer> {
        let Some(at) = blob.len().checked_sub(FOOTER_BYTES as u64) else {
            return Err(Error::corrupt(0, format!("{} bytes are no graph", blob.len())));
        };
        let bytes = exactly(blob, at, FOOTER_BYTES)?;
        let mut reader = Reader::new("graph", at, &bytes);
        let wrong = |what: String| Err(Error::corrupt(at, what));
        if reader.bytes(8)? != MAGIC {
            return wrong("there is no footer".into());
        }
        let version = reader.u32()?;
        if version != VERSION {
            return wrong(format!("version {version}; this program reads version {VERSION}"));
        }
        if codec::crc(&bytes[..60]).to_le_bytes() != bytes[60..] {
            return wrong("the footer's checksum does not hold".into());
        }
        let kind = match reader.u32()? {
            1 => Kind::Hnsw,
            2 => Kind::Vamana,
            other => return wrong(format!("kind {other} of a graph")),
        };
        let footer = Footer {
            kind,
            count: reader.u32()?,
            slots: reader.u32()? as usize,
            upper_slots: reader.u32()? as usize,
            layers: reader.u32()?,
            start: reader.u32()?,
            ground_crc: reader.u32()?,
            upper_bytes: reader.u64()?,
            upper_crc: reader.u32()?,
            edges: reader.u64()?,
        };
        let slots_max = LINKS_MAX as usize;
        let bounded = footer.count <= ENTRIES_MAX
            && (1..=slots_max).contains(&footer.slots)
            && footer.upper_slots <= slots_max
            && footer.layers <= UPPER_MAX
            && (footer.layers == 0 || (footer.upper_slots != 0 && footer.count != 0))
            && (footer.layers != 0 || footer.upper_bytes == 0);
        if !bounded {
            return wrong("the footer is out of bounds".into());
        }
        if footer.ground_bytes().checked_add(footer.upper_bytes) != Some(at) {
            return wrong(format!("the graph has {at} bytes, and its footer says otherwise"));
        }
        if footer.layers == 0 && footer.count.max(1) <= footer.start {
            return wrong(format!("walks begin at entry {} of {}", footer.start, footer.count));
        }
        Ok(footer)
    }
}

impl Graph {
    /// Writes the graph to `sink`.
    ///
    /// # Errors
    /// What the sink says.
    pub fn write(&self, sink: &mut impl Sink) -> Result<()> {
        let mut upper = Vec::new();
        for layer in &self.layers[1..] {
            put_u32(&mut upper, layer.below.len() as u32);
            layer.below.iter().for_each(|&below| put_u32(&mut upper, below));
            layer.links.all().iter().for_each(|&link| put_u32(&mut upper, link));
        }
        let ground = &self.layers[0].links;
        let (mut ground_crc, mut bytes) = (0, Vec::with_capacity(CHUNK_BYTES));
        for chunk in ground.all().chunks(CHUNK_BYTES / 4) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|link| link.to_le_bytes()));
            ground_crc = crc32c::crc32c_append(ground_crc, &bytes);
            sink.append(&bytes)?;
        }
        upper.chunks(CHUNK_BYTES).try_for_each(|chunk| sink.append(chunk))?;
        let footer = Footer {
            kind: self.kind,
            count: self.len(),
            slots: self.slots,
            upper_slots: self.upper_slots,
            layers: self.layers.len() as u32 - 1,
            start: self.start,
            ground_crc,
            upper_bytes: upper.len() as u64,
            upper_crc: codec::crc(&upper),
            edges: ground.edges(),
        };
        sink.append(&footer.encode())
    }
}

/// Reads a whole graph.
pub(crate) fn read(blob: &(impl Blob + ?Sized)) -> Result<Graph> {
    let footer = Footer::read(blob)?;
    let mut layers = vec![Layer { links: read_ground(blob, &footer)?, ..Layer::default() }];
    layers.extend(read_upper(blob, &footer)?);
    let Footer { kind, slots, upper_slots, start, .. } = footer;
    Ok(Graph { kind, slots, upper_slots, layers, start })
}

/// Reads the whole ground.
pub(crate) fn read_ground(blob: &(impl Blob + ?Sized), footer: &Footer) -> Result<Links> {
    let bytes = footer.ground_bytes();
    let mut slots = Vec::with_capacity(footer.count as usize * footer.slots);
    let (mut at, mut crc) = (0, 0);
    while at < bytes {
        let chunk = exactly(blob, at, CHUNK_BYTES.min((bytes - at) as usize))?;
        crc = crc32c::crc32c_append(crc, &chunk);
        slots.extend(words(&chunk));
        at += chunk.len() as u64;
    }
    if crc != footer.ground_crc {
        return Err(Error::corrupt(0, "the checksum of the ground does not hold"));
    }
    slots.chunks(footer.slots).try_for_each(|row| check_row(row, footer.count, 0))?;
    Ok(Links::of(slots, footer.slots))
}

/// Reads the layers above the ground, and checks that walks begin in the last one.
pub(crate) fn read_upper(blob: &(impl Blob + ?Sized), footer: &Footer) -> Result<Vec<Layer>> {
    let (from, len) = (footer.ground_bytes(), footer.upper_bytes as usize);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = from + bytes.len() as u64;
        bytes.extend(exactly(blob, at, CHUNK_BYTES.min(len - bytes.len()))?);
    }
    if codec::crc(&bytes) != footer.upper_crc {
        return Err(Error::corrupt(from, "the checksum of the upper layers does not hold"));
    }
    let mut reader = Reader::new("graph", from, &bytes);
    let (mut layers, mut under) = (Vec::<Layer>::new(), footer.count);
    for _ in 0..footer.layers {
        let at = reader.offset();
        let members = reader.u32()?;
        if members == 0 || under < members {
            let what = format!("a layer of {members} entries above one of {under}");
            return Err(Error::corrupt(at, what));
        }
        let below: Vec<u32> = words(reader.bytes(members as usize * 4)?).collect();
        if below.iter().any(|&below| under <= below) {
            return Err(Error::corrupt(at, "an entry of an upper layer is not in the one below"));
        }
        let slots: Vec<u32> =
            words(reader.bytes(members as usize * footer.upper_slots * 4)?).collect();
        slots.chunks(footer.upper_slots).try_for_each(|row| check_row(row, members, at))?;
        let name = |&below: &u32| layers.last().map_or(below, |layer: &Layer| layer.name(below));
        let names = below.iter().map(name).collect();
        layers.push(Layer { names, below, links: Links::of(slots, footer.upper_slots) });
        under = members;
    }
    if !reader.rest().is_empty() || under.max(1) <= footer.start {
        return Err(Error::corrupt(reader.offset(), "the upper layers and the footer differ"));
    }
    Ok(layers)
}

/// Checks a row of a layer with so many members.
pub(crate) fn check_row(row: &[u32], members: u32, offset: u64) -> Result<()> {
    let links = row.iter().position(|&link| link == NONE).unwrap_or(row.len());
    let (links, rest) = row.split_at(links);
    if links.iter().all(|&link| link < members) && rest.iter().all(|&link| link == NONE) {
        return Ok(());
    }
    Err(Error::corrupt(offset, format!("a row of links that leaves the {members} entries")))
}

/// The words of `bytes`, which are whole ones.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word))
}

/// Reads exactly `len` bytes, whatever the blob thinks of it.
pub(crate) fn exactly(blob: &(impl Blob + ?Sized), offset: u64, len: usize) -> Result<Vec<u8>> {
    let bytes = blob.read(offset, len as u32)?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    Err(Error::corrupt(offset, format!("{len} bytes were asked for, and {} came", bytes.len())))
}
