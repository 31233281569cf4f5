//! Rows of the ground that are read when they are needed, and kept as long as there is room.
//!
//! ```text
//!   place     of each entry: which slot of the cache has its row, or none
//!   owner     of each slot: whose row it has; used: whether somebody asked for it since the hand passed
//!   hand      goes round the slots; it takes the mark from a used one and gives an unused one away
//! ```
//!
//! Rows that a walk needs next are read together where they lie close to each other.
//!
//! Source: the clock of Corbató 1968, "A paging experiment with the Multics system".

use crate::format::{Footer, check_row, exactly, words};
use crate::links::{NONE, Rows};
use crate::{Blob, Result};

/// Rows with at most so many bytes between them are read together.
const GAP_BYTES: u64 = 2048;
/// The most bytes that are read at once.
const READ_BYTES_MAX: u64 = 64 << 10;

/// The ground of a written graph.
pub(crate) struct Paged<B> {
    blob: B,
    count: u32,
    stride: usize,
    /// How many rows may be kept.
    room: usize,
    place: Vec<u32>,
    owner: Vec<u32>,
    used: Vec<bool>,
    rows: Vec<u32>,
    hand: usize,
    missing: Vec<u32>,
    reads: u64,
}

impl<B: Blob> Paged<B> {
    /// Keeps at most about `bytes_max` bytes of rows, and at least one row.
    pub fn new(blob: B, footer: &Footer, bytes_max: usize) -> Paged<B> {
        Paged {
            blob,
            count: footer.count,
            stride: footer.slots,
            room: (bytes_max / (footer.slots * 4)).max(1),
            place: vec![NONE; footer.count as usize],
            owner: Vec::new(),
            used: Vec::new(),
            rows: Vec::new(),
            hand: 0,
            missing: Vec::new(),
            reads: 0,
        }
    }

    /// How many rows are kept, and how often bytes were read.
    pub fn stats(&self) -> (usize, u64) {
        (self.owner.len(), self.reads)
    }

    /// Reads the rows of `positions`, which grow and lie close to each other, and keeps them.
    fn load(&mut self, positions: &[u32]) -> Result<()> {
        let (first, last) = (positions[0], positions[positions.len() - 1]);
        let row_bytes = self.stride * 4;
        let offset = u64::from(first) * row_bytes as u64;
        let bytes = exactly(&self.blob, offset, (last - first + 1) as usize * row_bytes)?;
        self.reads += 1;
        for &position in positions {
            let slot = self.free_slot();
            let from = (position - first) as usize * row_bytes;
            let row = &mut self.rows[slot * self.stride..][..self.stride];
            for (word, link) in row.iter_mut().zip(words(&bytes[from..from + row_bytes])) {
                *word = link;
            }
            check_row(row, self.count, offset + from as u64)?;
            self.owner[slot] = position;
            self.used[slot] = true;
            self.place[position as usize] = slot as u32;
        }
        Ok(())
    }

    /// A slot that nobody has.
    fn free_slot(&mut self) -> usize {
        if self.owner.len() < self.room {
            self.owner.push(NONE);
            self.used.push(false);
            self.rows.resize(self.rows.len() + self.stride, NONE);
            return self.owner.len() - 1;
        }
        while std::mem::take(&mut self.used[self.hand]) {
            self.hand = (self.hand + 1) % self.room;
        }
        let slot = self.hand;
        self.hand = (self.hand + 1) % self.room;
        let owner = std::mem::replace(&mut self.owner[slot], NONE);
        if let Some(place) = self.place.get_mut(owner as usize) {
            *place = NONE;
        }
        slot
    }
}

impl<B: Blob> Rows for Paged<B> {
    fn row(&mut self, position: u32) -> Result<&[u32]> {
        if self.place[position as usize] == NONE {
            self.load(&[position])?;
        }
        let slot = self.place[position as usize] as usize;
        self.used[slot] = true;
        Ok(&self.rows[slot * self.stride..][..self.stride])
    }

    fn prepare(&mut self, positions: &[u32]) -> Result<()> {
        let mut missing = std::mem::take(&mut self.missing);
        missing.clear();
        let is_missing = |&&position: &&u32| self.place[position as usize] == NONE;
        missing.extend(positions.iter().filter(is_missing));
        missing.sort_unstable();
        let row_bytes = self.stride as u64 * 4;
        let mut from = 0;
        for index in 0..missing.len() {
            let ends = missing.get(index + 1).is_none_or(|&next| {
                let gap = u64::from(next - missing[index]) * row_bytes;
                let all = u64::from(next - missing[from] + 1) * row_bytes;
                GAP_BYTES < gap || READ_BYTES_MAX < all
            });
            if ends {
                self.load(&missing[from..=index])?;
                from = index + 1;
            }
        }
        self.missing = missing;
        Ok(())
    }
}
