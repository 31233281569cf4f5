//! Immutable blobs for plugins: create, append, seal, read.
//!
//! A segment is what a storage or index plugin makes of a sorted run. To the plugin it is a string of
//! bytes; on disk it is cut into blocks of 64 KiB, each compressed by the table's codec if that helps,
//! each with a checksum. Nobody sees a segment before it is sealed and a page flip lists it; one that no
//! flip listed is an orphan, removed at the next open. The file is `segments/<id in hex>.seg`:
//!
//! | part   | content                                                                              |
//! |--------|--------------------------------------------------------------------------------------|
//! | blocks | the stored bytes of each block, one behind the other                                  |
//! | index  | per block: stored length u32, CRC-32C of the stored bytes u32, codec u8 (0: plain)    |
//! | footer | 64 bytes, below                                                                      |
//!
//! | offset | size | type  | field      | meaning                                                 |
//! |-------:|-----:|-------|------------|---------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`    | `SOCHSEG` and a zero byte                               |
//! |      8 |    4 | u32   | `version`  | 1                                                       |
//! |     12 |    4 | u32   | `block`    | raw bytes per block but the last: 65536                 |
//! |     16 |    8 | u64   | `database` | the identity that the data file's meta page carries     |
//! |     24 |    8 | u64   | `id`       | the segment's number                                    |
//! |     32 |    8 | u64   | `raw`      | bytes that were appended                                |
//! |     40 |    8 | u64   | `index`    | offset of the index; blocks lie before it               |
//! |     48 |    4 | u32   | `blocks`   | number of blocks                                        |
//! |     52 |    4 | u32   | `index_crc`| CRC-32C of the index                                    |
//! |     56 |    4 | u32   | `zero`     | 0                                                       |
//! |     60 |    4 | u32   | `crc`      | CRC-32C of the 60 bytes before it                       |

use crate::codec::{self, Reader};
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::{SegmentId, Slice};
use crate::limits::{SEGMENT_BLOCK_BYTES, SEGMENT_BYTES_MAX};
use crate::page::{BlockCache, CacheKey};
use crate::plugin::{CompressionExtension, SegmentRead, SegmentWrite};
use crate::vfs::{OpenMode, Vfs, VfsFile};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of the segment files.
pub(crate) const SEGMENT_DIR: &str = "segments";
const MAGIC: &[u8; 8] = b"SOCHSEG\0";
const VERSION: u32 = 1;
const FOOTER_BYTES: usize = 64;
const INDEX_ENTRY_BYTES: usize = 4 + 4 + 1;

pub(crate) fn segment_name(id: SegmentId) -> String {
    format!("{SEGMENT_DIR}/{:016x}.seg", id.0)
}

/// The codecs that blocks and runs may refer to by number.
pub(crate) trait CodecTable: Send + Sync {
    /// The codec numbered `number`.
    fn codec(&self, number: u8) -> KernelResult<Arc<dyn CompressionExtension>>;
}

/// What compression did, since opening.
#[derive(Debug, Default)]
pub(crate) struct SqueezeCounts {
    pub raw: AtomicU64,
    pub stored: AtomicU64,
    /// Blocks stored plain because the codec failed or did not give back what it was given.
    pub refused: AtomicU64,
}

/// Compresses `raw` with `codec` if that saves space and comes back unchanged; else `None`.
pub(crate) fn squeeze(
    codec: &dyn CompressionExtension,
    raw: &[u8],
    counts: &SqueezeCounts,
) -> Option<Vec<u8>> {
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
    round_trip().unwrap_or_else(|error: KernelError| {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(codec = codec.info().name, %error, "codec refused, block stored plain");
        None
    })
}

/// A segment being written.
pub(crate) struct SegmentWriter {
    vfs: Arc<dyn Vfs>,
    file: Arc<dyn VfsFile>,
    database: u64,
    id: SegmentId,
    codec: Option<(u8, Arc<dyn CompressionExtension>)>,
    counts: Arc<SqueezeCounts>,
    block: Vec<u8>,
    raw: u64,
    written: u64,
    index: Vec<u8>,
    sealed: bool,
}

impl SegmentWriter {
    /// Begins segment `id`.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn create(
        vfs: Arc<dyn Vfs>,
        database: u64,
        id: SegmentId,
        codec: Option<(u8, Arc<dyn CompressionExtension>)>,
        counts: Arc<SqueezeCounts>,
    ) -> KernelResult<SegmentWriter> {
        let name = segment_name(id);
        let file = vfs.open(&name, OpenMode::Create);
        let file = file.map_err(|e| KernelError::io(format!("create {name}"), e))?;
        let (block, index) = (Vec::with_capacity(SEGMENT_BLOCK_BYTES), Vec::new());
        let (raw, written, sealed) = (0, 0, false);
        Ok(SegmentWriter { vfs, file, database, id, codec, counts, block, raw, written, index, sealed })
    }

    fn write(&mut self, bytes: &[u8]) -> KernelResult<()> {
        let result = self.file.write_at(self.written, bytes);
        result.map_err(|e| KernelError::io(format!("write {}", segment_name(self.id)), e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn end_block(&mut self) -> KernelResult<()> {
        let raw = std::mem::take(&mut self.block);
        let codec = self.codec.as_ref();
        let squeezed = codec.and_then(|(number, codec)| {
            squeeze(&**codec, &raw, &self.counts).map(|stored| (stored, *number))
        });
        let (stored, number) = squeezed.as_ref().map_or((&raw, 0), |(stored, number)| (stored, *number));
        codec::put_u32(&mut self.index, u32::try_from(stored.len()).expect("blocks are small"));
        codec::put_u32(&mut self.index, codec::crc(stored));
        self.index.push(number);
        self.counts.raw.fetch_add(raw.len() as u64, Ordering::Relaxed);
        self.counts.stored.fetch_add(stored.len() as u64, Ordering::Relaxed);
        self.write(stored)?;
        self.block = raw;
        self.block.clear();
        Ok(())
    }
}

impl SegmentWrite for SegmentWriter {
    fn append(&mut self, mut bytes: &[u8]) -> KernelResult<u64> {
        let offset = self.raw;
        let after = offset + bytes.len() as u64;
        if SEGMENT_BYTES_MAX < after {
            let (what, bound) = ("bytes of a segment", SEGMENT_BYTES_MAX);
            return Err(KernelError::Limit { what, got: after, bound });
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT_BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == SEGMENT_BLOCK_BYTES {
                self.end_block()?;
            }
        }
        self.raw = after;
        Ok(offset)
    }

    fn seal(mut self: Box<Self>) -> KernelResult<SegmentId> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let index = std::mem::take(&mut self.index);
        let mut tail = index.clone();
        tail.extend_from_slice(MAGIC);
        codec::put_u32(&mut tail, VERSION);
        codec::put_u32(&mut tail, u32::try_from(SEGMENT_BLOCK_BYTES).expect("asserted in limits"));
        for number in [self.database, self.id.0, self.raw, self.written] {
            codec::put_u64(&mut tail, number);
        }
        codec::put_u32(&mut tail, u32::try_from(index.len() / INDEX_ENTRY_BYTES).expect("bounded"));
        codec::put_u32(&mut tail, codec::crc(&index));
        codec::put_u32(&mut tail, 0);
        let crc = codec::crc(&tail[index.len()..]);
        codec::put_u32(&mut tail, crc);
        self.write(&tail)?;
        let sync = self.file.sync().and_then(|()| self.vfs.sync_dir(SEGMENT_DIR));
        sync.map_err(|e| KernelError::io(format!("sync {}", segment_name(self.id)), e))?;
        self.sealed = true;
        Ok(self.id)
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.sealed {
            // Should this fail, the file is an orphan and the next open removes it.
            let _ = self.vfs.remove(&segment_name(self.id));
        }
    }
}

struct Block {
    offset: u64,
    stored: u32,
    crc: u32,
    codec: u8,
}

/// A sealed segment.
pub(crate) struct Segment {
    file: Arc<dyn VfsFile>,
    id: SegmentId,
    raw: u64,
    blocks: Vec<Block>,
    codecs: Arc<dyn CodecTable>,
    cache: Arc<BlockCache>,
}

impl Segment {
    /// Opens segment `id` of `database`.
    ///
    /// # Errors
    /// `Corrupt` when the footer or index is broken, `Unavailable` when a newer version wrote it.
    pub fn open(
        vfs: &dyn Vfs,
        database: u64,
        id: SegmentId,
        codecs: Arc<dyn CodecTable>,
        cache: Arc<BlockCache>,
    ) -> KernelResult<Segment> {
        let name = segment_name(id);
        let io = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => KernelError::corrupt(&name, 0, "a segment", "no file"),
            _ => KernelError::io(format!("read {name}"), e),
        };
        let file = vfs.open(&name, OpenMode::Read).map_err(io)?;
        let end = file.len().map_err(io)?;
        let footer_at = end.checked_sub(FOOTER_BYTES as u64);
        let footer_at = footer_at.ok_or_else(|| KernelError::corrupt(&name, end, "a footer", "nothing"))?;
        let mut footer = vec![0; FOOTER_BYTES];
        file.read_exact_at(footer_at, &mut footer).map_err(io)?;
        let mut reader = Reader::new(&name, footer_at, &footer);
        let magic = reader.bytes(8)?;
        if magic != MAGIC || codec::crc(&footer[..60]) != u32::from_le_bytes(footer[60..].try_into().expect("4 bytes")) {
            return Err(KernelError::corrupt(&name, footer_at, "a segment's footer", "other bytes"));
        }
        let (version, block) = (reader.u32()?, reader.u32()?);
        if VERSION < version {
            return Err(KernelError::unavailable(format!(
                "open {name}: segment format {version} is newer than this program's {VERSION}; use a newer sochdb"
            )));
        }
        let fields = [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
        let [found_database, found_id, raw, index_at] = fields;
        let (count, index_crc) = (reader.u32()?, reader.u32()?);
        let index_bytes = u64::from(count) * INDEX_ENTRY_BYTES as u64;
        let makes_sense = block as usize == SEGMENT_BLOCK_BYTES
            && (found_database, found_id) == (database, id.0)
            && index_at.checked_add(index_bytes) == Some(footer_at)
            && raw.div_ceil(SEGMENT_BLOCK_BYTES as u64) == u64::from(count);
        if !makes_sense {
            let expected = format!("the footer of segment {id} of database {database:016x}");
            return Err(KernelError::corrupt(&name, footer_at, expected, format!("{fields:?}")));
        }
        let mut index = vec![0; count as usize * INDEX_ENTRY_BYTES];
        file.read_exact_at(index_at, &mut index).map_err(io)?;
        if codec::crc(&index) != index_crc {
            return Err(KernelError::corrupt(&name, index_at, "an index whose checksum holds", "other bytes"));
        }
        let mut reader = Reader::new(&name, index_at, &index);
        let (mut blocks, mut offset) = (Vec::new(), 0);
        while !reader.rest().is_empty() {
            let (stored, crc, codec) = (reader.u32()?, reader.u32()?, reader.u8()?);
            blocks.push(Block { offset, stored, crc, codec });
            offset += u64::from(stored);
        }
        if offset != index_at {
            return Err(KernelError::corrupt(&name, index_at, format!("an index at {offset}"), "another"));
        }
        Ok(Segment { file, id, raw, blocks, codecs, cache })
    }

    fn block(&self, number: u32) -> KernelResult<Arc<[u8]>> {
        let key = CacheKey::Block { segment: self.id.0, block: number };
        self.cache.get_or(key, || self.load(number))
    }

    fn load(&self, number: u32) -> KernelResult<Arc<[u8]>> {
        let name = segment_name(self.id);
        let block = &self.blocks[number as usize];
        let mut stored = vec![0; block.stored as usize];
        let read = self.file.read_exact_at(block.offset, &mut stored);
        read.map_err(|e| KernelError::io(format!("read block {number} of {name}"), e))?;
        let crc = codec::crc(&stored);
        if crc != block.crc {
            let (expected, found) = (format!("checksum {:#010x} of block {number}", block.crc), format!("{crc:#010x}"));
            return Err(KernelError::corrupt(&name, block.offset, expected, found));
        }
        let start = u64::from(number) * SEGMENT_BLOCK_BYTES as u64;
        let raw = usize::try_from(self.raw - start).unwrap_or(usize::MAX).min(SEGMENT_BLOCK_BYTES);
        restore(&*self.codecs, block.codec, stored, raw)
    }

    /// Reads every block, past the cache.
    ///
    /// # Errors
    /// `Corrupt` naming the first block that is broken.
    pub fn check(&self) -> KernelResult<()> {
        let blocks = u32::try_from(self.blocks.len()).expect("counted by a u32 on disk");
        (0..blocks).try_for_each(|number| self.load(number).map(drop))
    }
}

/// What `stored` was before codec `number` compressed it: exactly `raw` bytes.
pub(crate) fn restore(
    codecs: &dyn CodecTable,
    number: u8,
    stored: Vec<u8>,
    raw: usize,
) -> KernelResult<Arc<[u8]>> {
    let bytes = match number {
        0 => stored,
        _ => codecs.codec(number)?.decompress(&stored, raw)?,
    };
    if bytes.len() != raw {
        let found = format!("a block of {} bytes, {raw} were expected", bytes.len());
        return Err(KernelError::invalid(found));
    }
    Ok(bytes.into())
}

impl SegmentRead for Segment {
    fn id(&self) -> SegmentId {
        self.id
    }

    fn raw_bytes(&self) -> u64 {
        self.raw
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.raw);
        if end.is_none() {
            let text = format!("read {len} bytes at {offset} of segment {}, which has {}", self.id, self.raw);
            return Err(KernelError::Invalid(text));
        }
        let size = SEGMENT_BLOCK_BYTES as u64;
        let split = |at: u64| ((at / size) as u32, (at % size) as usize);
        let (first, start) = split(offset);
        if start + len <= SEGMENT_BLOCK_BYTES && 0 < len {
            return Ok(Slice::part(self.block(first)?, start, len));
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let (number, start) = split(offset + bytes.len() as u64);
            let block = self.block(number)?;
            let count = (len - bytes.len()).min(block.len() - start);
            bytes.extend_from_slice(&block[start..start + count]);
        }
        Ok(bytes.into())
    }
}
