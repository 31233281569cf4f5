//! Which pages are free, which will be, and the buffered writing of new ones.
//!
//! ```text
//!   free ──allocate──▶ written by this checkpoint ──flip──▶ in use ──freed by a checkpoint──▶ waiting
//!    ▲                                                                                          │
//!    └────────────── no version that can reach the page is pinned any more ◀────────────────────┘
//! ```
//!
//! The free list on disk is a run of plain bytes: for each extent, in order, two varints: how many pages
//! lie between the end of the previous extent (at first page 0) and its beginning, and its length; zeroes
//! fill the rest. It holds the waiting pages as well, because after a restart nobody waits.

use super::meta::META_PAGES;
use super::{DATA_FILE, PageRef, Pager, RunRef, offset, pages_for, seal_page};
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::TableId;
use crate::limits::PAGE_BYTES;
use rangemap::RangeSet;
use sochdb_encoding::codec::{self, Reader};
use std::ops::Range;
use std::sync::Arc;

/// Adjacent pages are written together, up to this many bytes.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// A run looks at this many free extents before it takes pages at the end of the file.
const FIT_ATTEMPTS_MAX: usize = 64;

/// The free pages of a data file. Owned by whoever runs a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Space {
    free: RangeSet<u64>,
    /// Freed by the checkpoint of this sequence, still reachable from the root before it.
    waiting: Vec<(u64, Vec<(u64, u64)>)>,
    /// Pages of the file, free or not.
    pub pages: u64,
}

impl Space {
    pub fn new(pages: u64) -> Space {
        Space { free: RangeSet::new(), waiting: Vec::new(), pages }
    }

    /// The space that `bytes`, a free list, describes.
    pub fn decode(bytes: &[u8], at: u64, pages: u64) -> KernelResult<Space> {
        let (mut space, mut page) = (Space::new(pages), 0u64);
        let mut reader = Reader::new(DATA_FILE, at, bytes);
        while !reader.rest().is_empty() {
            let (gap, len) = (reader.varint()?, reader.varint()?);
            if (gap, len) == (0, 0) {
                break;
            }
            let start = page.saturating_add(gap);
            page = start.saturating_add(len);
            if len == 0 || start < META_PAGES || pages < page {
                let found = format!("{start}+{len}");
                return Err(reader.corrupt("free pages inside the file", found).into());
            }
            space.release(start, len);
        }
        Ok(space)
    }

    /// The free list as it must be on disk, with `freed` and everything that waits.
    pub fn encode(&self, freed: &[(u64, u64)]) -> Vec<u8> {
        let mut all: Vec<_> = self.extents().chain(freed.iter().copied()).collect();
        all.sort_unstable();
        let (mut out, mut page) = (Vec::new(), 0u64);
        for joined in all.chunk_by(|(start, len), (next, _)| start + len == *next) {
            let (start, end) = (joined[0].0, joined.last().map_or(0, |(last, len)| last + len));
            let is_ours = page.max(META_PAGES) <= start && end <= self.pages;
            assert!(is_ours && joined.iter().all(|(_, len)| 0 < *len), "not ours: {joined:?}");
            [start - page, end - start].iter().for_each(|&gap| codec::put_varint(&mut out, gap));
            page = end;
        }
        out
    }

    /// Takes `count` consecutive pages and returns the first.
    pub fn allocate(&mut self, count: u64) -> u64 {
        assert!(0 < count, "nobody needs zero pages");
        let fits = |extent: &&Range<u64>| count <= extent.end - extent.start;
        let start = match self.free.iter().take(FIT_ATTEMPTS_MAX).find(fits) {
            Some(extent) => extent.start,
            None => {
                self.pages += count;
                return self.pages - count;
            }
        };
        self.free.remove(start..start + count);
        start
    }

    /// Makes pages free at once.
    pub fn release(&mut self, start: u64, len: u64) {
        let extent = start..start + len;
        assert!(META_PAGES <= start && extent.end <= self.pages, "page {start}+{len} is not ours");
        assert!(!self.free.overlaps(&extent), "page {start}+{len} is freed twice");
        self.free.insert(extent);
    }

    /// Remembers what checkpoint `sequence` freed until nobody can reach it.
    pub fn release_later(&mut self, sequence: u64, extents: Vec<(u64, u64)>) {
        self.waiting.push((sequence, extents));
    }

    /// Frees what waited for the versions before checkpoint `oldest`, the oldest still pinned.
    pub fn reclaim(&mut self, oldest: u64) {
        let ready = self.waiting.partition_point(|&(sequence, _)| sequence <= oldest);
        let ready: Vec<_> = self.waiting.drain(..ready).collect();
        for (start, len) in ready.into_iter().flat_map(|(_, extents)| extents) {
            self.release(start, len);
        }
    }

    /// Every extent that no root reaches, free or waiting.
    pub fn extents(&self) -> impl Iterator<Item = (u64, u64)> {
        let waiting = self.waiting.iter().flat_map(|(_, extents)| extents.iter().copied());
        self.free.iter().map(|free| (free.start, free.end - free.start)).chain(waiting)
    }
}

/// Writes the new pages of one checkpoint: allocates, seals, and joins neighbours into large writes.
pub(crate) struct PageWriter {
    pub pager: Arc<Pager>,
    space: Space,
    /// Extents that the new roots do not reach: old pages, and new ones that were not needed after all.
    freed: Vec<(u64, u64)>,
    buffer: Vec<u8>,
    buffer_page: u64,
    pub pages_written: u64,
    /// Whose rows the tree pages being written hold.
    pub table: TableId,
    sequence: u64,
    /// A write failed: what the buffer held is lost, and with it this checkpoint.
    failed: bool,
    /// The number of the present lease, and the extents allocated under it.
    lease: u64,
    leased: Vec<(u64, u64)>,
}

impl PageWriter {
    /// A writer for checkpoint `sequence`, which takes its pages from `space`.
    pub fn new(pager: Arc<Pager>, space: Space, sequence: u64) -> PageWriter {
        PageWriter {
            pager,
            space,
            freed: Vec::new(),
            buffer: Vec::new(),
            buffer_page: 0,
            pages_written: 0,
            table: TableId(0),
            sequence,
            failed: false,
            lease: 0,
            leased: Vec::new(),
        }
    }

    /// What a plugin's segments are written under until [`end_lease`](Self::end_lease).
    pub fn lease(&self) -> u64 {
        self.lease
    }

    /// Writes `bytes` to pages of their own, under `lease`. Returns the extent.
    ///
    /// # Errors
    /// `Closed` when the lease has ended, `Unavailable` when the disk refuses.
    pub fn write_leased(&mut self, lease: u64, bytes: &[u8]) -> KernelResult<(u64, u64)> {
        if lease != self.lease {
            return Err(KernelError::Closed("the flush that this segment was for".to_owned()));
        }
        let extent = (self.space.allocate(pages_for(bytes.len())), pages_for(bytes.len()));
        self.leased.push(extent);
        self.write(extent.0, bytes)?;
        Ok(extent)
    }

    /// Ends the lease: whoever still has a segment open under it writes nothing any more. Returns all
    /// extents that were written under it; those that nobody wants are for [`free`](Self::free).
    pub fn end_lease(&mut self) -> Vec<(u64, u64)> {
        self.lease += 1;
        std::mem::take(&mut self.leased)
    }

    /// Writes a tree page whose number and checksum are not yet filled in.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn write_page(&mut self, mut bytes: Vec<u8>) -> KernelResult<PageRef> {
        let page = self.space.allocate(1);
        let at = seal_page(&mut bytes, page, self.table, self.sequence);
        self.write(page, &bytes)?;
        self.pager.cache.insert(at.cache_key(), bytes.into());
        Ok(at)
    }

    /// Writes `stored`, which codec `codec` made of `raw` bytes, as a run.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn write_run(&mut self, stored: &[u8], raw: usize, codec: u8) -> KernelResult<RunRef> {
        let page = self.space.allocate(pages_for(stored.len()));
        self.write(page, stored)?;
        let run = RunRef::new(page, stored, raw, codec);
        self.pager.cache.forget(offset(page), run.crc);
        Ok(run)
    }

    /// The new roots do not reach `len` pages from `start` on.
    pub fn free(&mut self, start: u64, len: u64) {
        self.freed.push((start, len));
    }

    /// Writes `bytes` from the beginning of `page` on; zeroes fill the last page.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    fn write(&mut self, page: u64, bytes: &[u8]) -> KernelResult<()> {
        let follows = self.buffer_page + pages_for(self.buffer.len()) == page;
        if !follows || WRITE_BYTES_MAX < self.buffer.len() + bytes.len() {
            self.flush()?;
            self.buffer_page = page;
        }
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE_BYTES), 0);
        self.pages_written += pages_for(bytes.len());
        Ok(())
    }

    /// Hands everything to the operating system. Not synced.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn flush(&mut self) -> KernelResult<()> {
        if !self.buffer.is_empty() {
            let result = self.pager.file().write_at(offset(self.buffer_page), &self.buffer);
            self.buffer.clear();
            self.failed |= result.is_err();
            result.map_err(|e| KernelError::io(format!("write pages of {DATA_FILE}"), e))?;
        }
        if self.failed {
            let what = "finish a checkpoint whose pages were not written";
            return Err(KernelError::unavailable(what));
        }
        Ok(())
    }

    /// Ends the checkpoint: writes the free list and everything pending. Returns the list,
    /// and the space as it is once the flip is done.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn finish(&mut self) -> KernelResult<(RunRef, Space)> {
        let mut freed = std::mem::take(&mut self.freed);
        freed.sort_unstable();
        // The list describes the space after its own pages were taken. Taking them changes one extent,
        // hence the slack; what is left over is zero.
        let bytes_max = self.space.encode(&freed).len() + 64;
        let page = self.space.allocate(pages_for(bytes_max));
        let mut list = self.space.encode(&freed);
        assert!(list.len() <= bytes_max, "{} bytes of free list in {bytes_max}", list.len());
        list.resize(bytes_max, 0);
        self.write(page, &list)?;
        self.flush()?;
        let mut space = self.space.clone();
        space.release_later(self.sequence, freed);
        Ok((RunRef::new(page, &list, list.len(), 0), space))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn list(extents: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(gap, len) in extents {
            codec::put_varint(&mut bytes, gap);
            codec::put_varint(&mut bytes, len);
        }
        bytes
    }

    #[test]
    fn a_free_list_outside_the_file_or_over_the_meta_pages_is_refused() {
        for extents in [&[(10, 5)][..], &[(1, 1)], &[(5, 0)], &[(2, 3), (8, 1)], &[(u64::MAX, 2)]] {
            let error = Space::decode(&list(extents), 0, 12).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{extents:?}");
        }
        let space = Space::decode(&list(&[(2, 3), (1, 6), (0, 0)]), 0, 12).unwrap();
        assert_eq!(space.extents().collect::<Vec<_>>(), [(2, 3), (6, 6)]);
        assert_eq!(
            Space::decode(&space.encode(&[(5, 1)]), 0, 12).unwrap().extents().next(),
            Some((2, 10))
        );
    }

    #[test]
    fn what_was_freed_twice_or_is_not_ours_never_reaches_the_disk() {
        let space = Space::decode(&list(&[(2, 3)]), 0, 12).unwrap();
        assert_eq!(space.encode(&[(5, 1), (9, 3)]), list(&[(2, 4), (3, 3)]));
        for freed in [
            &[(4, 2)][..],
            &[(2, 3)],
            &[(7, 1), (7, 1)],
            &[(1, 1)],
            &[(11, 2)],
            &[(5, 0)],
            &[(8, 0)],
        ] {
            let encoded = std::panic::catch_unwind(|| space.encode(freed));
            assert!(encoded.is_err(), "{freed:?} became {encoded:?}");
        }
    }

    proptest! {
        #[test]
        fn free_and_waiting_and_freed_pages_come_back_joined(whose in vec(0..4, 1..200)) {
            let mut space = Space::new(META_PAGES + whose.len() as u64);
            let mut freed = Vec::new();
            for (page, whose) in (META_PAGES..).zip(&whose) {
                match whose {
                    0 => {}
                    1 => space.release(page, 1),
                    2 => space.release_later(7, vec![(page, 1)]),
                    _ => freed.push((page, 1)),
                }
            }
            let back = Space::decode(&space.encode(&freed), 0, space.pages).unwrap();
            let pages: Vec<_> = back.free.iter().cloned().flatten().collect();
            let expected: Vec<_> =
                (META_PAGES..).zip(&whose).filter(|(_, whose)| **whose != 0).map(|(page, _)| page).collect();
            prop_assert_eq!(pages, expected);
            prop_assert!(back.free.iter().is_sorted_by(|a, b| a.end < b.start), "{:?} is not joined", back.free);
        }
    }
}
