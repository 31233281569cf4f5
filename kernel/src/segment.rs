//! Immutable blobs for plugins: create, append, seal, read.
//!
//! A segment is what a storage or index plugin makes of a sorted run. To the plugin it is a string of
//! bytes. In the data file it is cut into blocks of 64 KiB, each compressed by the table's codec if that
//! helps, each with a checksum; blocks lie one behind the other in extents of about a mebibyte, and a run
//! of pages, the index, says where. Segments are pages like any others: nobody reaches one before a page
//! flip lists it in the catalog, what never gets that far is free space again after a crash, and the pages
//! of a dropped segment wait for their last reader.
//!
//! The index:
//!
//! | field   | type   | meaning                                                                      |
//! |---------|--------|------------------------------------------------------------------------------|
//! | extents | varint | how many extents follow                                                      |
//! | extent  | u64, u64 | each: its first page, and how many pages it has                            |
//! | blocks  | varint | how many blocks follow                                                       |
//! | block   | u64, u32, u32, u8 | each: byte offset in the data file, stored length, CRC-32C of the stored bytes with the last four first, codec number (0: plain) |
//!
//! The catalog keeps, per segment: id u64, raw length u64, the index as a run reference.

use crate::error::{KernelError, KernelResult, bound};
use crate::kernel_api::{SegmentId, Slice};
use crate::limits::{SEGMENT_BLOCK_BYTES, SEGMENT_BYTES_MAX};
use crate::mvcc::version::Access;
use crate::page::space::PageWriter;
use crate::page::{DATA_FILE, RunRef, offset};
use crate::plugin::{CompressionExtension, SegmentRead, SegmentSink, SegmentWrite};
use crate::stats::Counts;
use parking_lot::Mutex;
use sochdb_encoding::codec::{self, Reader, Wire};
use sochdb_encoding::wire_structs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Stored bytes that make an extent worth writing.
const EXTENT_BYTES: usize = 1 << 20;

/// A codec with its number, as a table uses it.
pub type NumberedCodec = (u8, Arc<dyn CompressionExtension>);

/// What is to be stored in the place of some bytes, if anything else, and the number of the codec that made it.
pub type Squeezed = (Option<Vec<u8>>, u8);

/// What is to be stored of `raw`: compressed, if that saves space and comes back unchanged, else plain
/// (`None`, 0).
pub fn squeeze(codec: Option<&NumberedCodec>, raw: &[u8], counts: &Counts) -> Squeezed {
    let Some((number, codec)) = codec else { return (None, 0) };
    let round_trip = || {
        let stored = codec.compress(raw)?;
        if raw.len() <= stored.len() {
            return Ok(None);
        }
        let back = codec.decompress(&stored, raw.len())?;
        if back == raw {
            return Ok(Some(stored));
        }
        Err(KernelError::invalid("the block did not come back as it was given"))
    };
    let squeezed = round_trip().unwrap_or_else(|error: KernelError| {
        counts.codec_refusals.add(1);
        tracing::warn!(codec = codec.info().name, %error, "codec refused, block stored plain");
        None
    });
    let stored = squeezed.as_ref().map_or(raw.len(), Vec::len);
    counts.codec_bytes_raw.add(raw.len() as u64);
    counts.codec_bytes_stored.add(stored as u64);
    let number = if squeezed.is_some() { *number } else { 0 };
    (squeezed, number)
}

wire_structs! {
    /// A sealed segment, as the catalog knows it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SegmentMeta {
        /// The segment's number.
        pub id: SegmentId,
        /// Bytes that were appended.
        pub raw: u64,
        /// Where its index is.
        pub index: RunRef,
    }

    /// One block: where its stored bytes are, and what they must be.
    #[derive(Debug, Clone, Copy)]
    pub struct Block {
        /// Byte in the data file.
        pub at: u64,
        /// Bytes stored.
        pub stored: u32,
        /// Their checksum.
        pub crc: u32,
        /// The codec's number, 0 for none.
        pub codec: u8,
    }

    struct Index {
        extents: Vec<(u64, u64)>,
        blocks: Vec<Block>,
    }
}

/// Where a storage plugin writes the segments of one flush.
#[derive(Clone)]
pub struct Sink {
    pub writer: Arc<Mutex<PageWriter>>,
    pub lease: u64,
    pub codec: Option<NumberedCodec>,
    pub counts: Arc<Counts>,
    pub next_id: Arc<AtomicU64>,
    pub sealed: Arc<Mutex<Vec<Sealed>>>,
}

/// A segment that was sealed, and every extent it occupies.
pub type Sealed = (SegmentMeta, Vec<(u64, u64)>);

impl Sink {
    fn write(&self, bytes: &[u8]) -> KernelResult<(u64, u64)> {
        self.writer.lock().write_leased(self.lease, bytes)
    }
}

impl SegmentSink for Sink {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(SegmentWriter {
            sink: self.clone(),
            id: SegmentId(self.next_id.fetch_add(1, Ordering::Relaxed)),
            raw: 0,
            block: Vec::with_capacity(SEGMENT_BLOCK_BYTES),
            extent: Vec::new(),
            extents: Vec::new(),
            blocks: Vec::new(),
            placed: 0,
        }))
    }
}

struct SegmentWriter {
    sink: Sink,
    id: SegmentId,
    raw: u64,
    block: Vec<u8>,
    /// Stored bytes not yet written; their blocks' `at` still counts from the extent's beginning.
    extent: Vec<u8>,
    extents: Vec<(u64, u64)>,
    blocks: Vec<Block>,
    /// How many of `blocks` lie in extents that are written.
    placed: usize,
}

impl SegmentWriter {
    fn end_block(&mut self) -> KernelResult<()> {
        let (squeezed, codec) = squeeze(self.sink.codec.as_ref(), &self.block, &self.sink.counts);
        let bytes = squeezed.as_ref().unwrap_or(&self.block);
        let stored = u32::try_from(bytes.len()).expect("blocks are small");
        let at = self.extent.len() as u64;
        self.blocks.push(Block { at, stored, crc: codec::tail_first_crc(bytes), codec });
        self.extent.extend_from_slice(bytes);
        self.block.clear();
        if EXTENT_BYTES <= self.extent.len() { self.end_extent() } else { Ok(()) }
    }

    fn end_extent(&mut self) -> KernelResult<()> {
        if self.extent.is_empty() {
            return Ok(());
        }
        let (page, pages) = self.sink.write(&self.extent)?;
        self.extents.push((page, pages));
        let writer = self.sink.writer.lock();
        for block in &mut self.blocks[self.placed..] {
            block.at += offset(page);
            writer.pager.cache.forget(block.at, block.crc);
        }
        self.placed = self.blocks.len();
        self.extent.clear();
        Ok(())
    }
}

impl SegmentWrite for SegmentWriter {
    fn append(&mut self, mut bytes: &[u8]) -> KernelResult<u64> {
        let start = self.raw;
        let end = start + bytes.len() as u64;
        bound("bytes of a segment", end as usize, SEGMENT_BYTES_MAX)?;
        while !bytes.is_empty() {
            let room = SEGMENT_BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == SEGMENT_BLOCK_BYTES {
                self.end_block()?;
            }
        }
        self.raw = end;
        Ok(start)
    }

    fn seal(mut self: Box<Self>) -> KernelResult<SegmentId> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.end_extent()?;
        let (extents, blocks) = (self.extents.clone(), std::mem::take(&mut self.blocks));
        let index = Index { extents, blocks }.to_wire();
        let (page, pages) = self.sink.write(&index)?;
        self.extents.push((page, pages));
        let index = RunRef::new(page, &index, index.len(), 0);
        let meta = SegmentMeta { id: self.id, raw: self.raw, index };
        self.sink.sealed.lock().push((meta, std::mem::take(&mut self.extents)));
        Ok(self.id)
    }
}

/// A sealed segment, open for reading.
pub struct Segment {
    /// What the catalog knows of it.
    pub meta: SegmentMeta,
    access: Access,
    index: OnceLock<Index>,
    /// Its least and its greatest key, once they were asked for; none without rows.
    pub bounds: OnceLock<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Segment {
    /// The segment that `meta` describes. Reads nothing yet.
    pub fn new(meta: SegmentMeta, access: Access) -> Segment {
        Segment { meta, access, index: OnceLock::new(), bounds: OnceLock::new() }
    }

    fn index(&self) -> KernelResult<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let bytes = self.access.pager.run(&self.meta.index)?;
        let mut reader = Reader::new(DATA_FILE, offset(self.meta.index.page), &bytes);
        let index = Index::take(&mut reader)?;
        reader.end()?;
        if self.meta.raw.div_ceil(SEGMENT_BLOCK_BYTES as u64) != index.blocks.len() as u64 {
            let expected = format!("blocks for {} bytes", self.meta.raw);
            return Err(reader.corrupt(expected, format!("{}", index.blocks.len())).into());
        }
        Ok(self.index.get_or_init(|| index))
    }

    /// Everything it occupies: first page and length of each extent, the index's own included.
    ///
    /// # Errors
    /// `Corrupt` when the index is broken.
    pub fn pages(&self) -> KernelResult<Vec<(u64, u64)>> {
        let mut pages = self.index()?.extents.clone();
        pages.push((self.meta.index.page, self.meta.index.pages()));
        Ok(pages)
    }

    /// How many raw bytes block `number` has.
    fn raw_of(&self, number: usize) -> usize {
        let start = (number * SEGMENT_BLOCK_BYTES) as u64;
        usize::try_from(self.meta.raw - start).unwrap_or(usize::MAX).min(SEGMENT_BLOCK_BYTES)
    }

    fn block(&self, number: usize) -> KernelResult<Arc<[u8]>> {
        let Block { at, stored, crc, codec } = self.index()?.blocks[number];
        self.access.restored(at, stored, crc, codec, self.raw_of(number))
    }

    /// Where each block's stored bytes are, in order.
    ///
    /// # Errors
    /// `Corrupt` when the index is broken.
    pub fn blocks(&self) -> KernelResult<&[Block]> {
        Ok(&self.index()?.blocks)
    }
}

impl SegmentRead for Segment {
    fn id(&self) -> SegmentId {
        self.meta.id
    }

    fn raw_bytes(&self) -> u64 {
        self.meta.raw
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.meta.raw);
        if end.is_none() {
            let (id, raw) = (self.meta.id, self.meta.raw);
            let text = format!("read {len} bytes at {offset} of segment {id}, which has {raw}");
            return Err(KernelError::Invalid(text));
        }
        let place = |at: u64| {
            let at = usize::try_from(at).expect("segments are bounded");
            (at / SEGMENT_BLOCK_BYTES, at % SEGMENT_BLOCK_BYTES)
        };
        let (first, start) = place(offset);
        if start + len <= SEGMENT_BLOCK_BYTES && 0 < len {
            return Ok(Slice::part(self.block(first)?, start, len));
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let (number, start) = place(offset + bytes.len() as u64);
            let block = self.block(number)?;
            let count = (len - bytes.len()).min(block.len() - start);
            bytes.extend_from_slice(&block[start..start + count]);
        }
        Ok(bytes.into())
    }
}
