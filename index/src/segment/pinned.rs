//! Blocks of a segment that stay in memory once they were read, shared by all who search.

use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{KernelResult, Slice};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::PAGE_BYTES;

/// A part of a segment, read block by block when it is first needed.
pub(crate) struct Pinned {
    segment: Arc<dyn SegmentRead>,
    start: usize,
    len: usize,
    blocks: Vec<OnceLock<Slice>>,
}

impl Pinned {
    /// The `len` bytes of `segment` from `start` on, which it has.
    pub fn new(segment: &Arc<dyn SegmentRead>, (start, len): (u64, u64)) -> Pinned {
        let (start, len) = (start as usize, len as usize);
        let count =
            if len == 0 { 0 } else { (start + len - 1) / PAGE_BYTES - start / PAGE_BYTES + 1 };
        let blocks = (0..count).map(|_| OnceLock::new()).collect();
        Pinned { segment: segment.clone(), start, len, blocks }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn block(&self, index: usize) -> KernelResult<&[u8]> {
        if let Some(block) = self.blocks[index].get() {
            return Ok(block);
        }
        let at = (self.start / PAGE_BYTES + index) * PAGE_BYTES;
        let len = PAGE_BYTES.min(self.segment.raw_bytes() as usize - at);
        let block = self.segment.read_at(at as u64, len)?;
        Ok(self.blocks[index].get_or_init(|| block))
    }

    /// Page `index` of a part that begins with a page.
    pub fn page(&self, index: usize) -> KernelResult<&[u8]> {
        self.block(index)
    }

    /// `len` bytes from `at` on, counted from the part's beginning; it has them, in one block.
    pub fn within(&self, at: usize, len: usize) -> KernelResult<&[u8]> {
        assert!(at + len <= self.len, "{len} bytes at {at} of {}", self.len);
        let first = self.start / PAGE_BYTES;
        let at = self.start + at;
        let block = self.block(at / PAGE_BYTES - first)?;
        Ok(&block[at % PAGE_BYTES..][..len])
    }

    /// `len` bytes from `at` on, which it has.
    pub fn bytes(&self, at: usize, len: usize) -> KernelResult<Cow<'_, [u8]>> {
        let start = self.start + at;
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        if start / PAGE_BYTES == (start + len - 1) / PAGE_BYTES {
            return self.within(at, len).map(Cow::Borrowed);
        }
        assert!(at + len <= self.len, "{len} bytes at {at} of {}", self.len);
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let now = at + out.len();
            let room = PAGE_BYTES - (self.start + now) % PAGE_BYTES;
            out.extend_from_slice(self.within(now, room.min(len - out.len()))?);
        }
        Ok(Cow::Owned(out))
    }

    /// The number at `index` of a part of u64.
    pub fn number(&self, index: usize) -> KernelResult<u64> {
        let bytes = self.within(8 * index, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// Bytes that are in memory.
    pub fn resident(&self) -> usize {
        self.blocks.iter().filter_map(OnceLock::get).map(|block| block.len()).sum()
    }
}
