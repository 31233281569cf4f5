//! Rows of links in memory: one row for each member of a layer, all equally long.
//!
//! A row begins with its links, which are positions in the same layer; [`NONE`] fills the slots behind them.
//! While a graph grows, rows have some slots more than in the end, so that not every new link makes one row choose
//! again among its links.

use crate::Result;
use std::hint::black_box;

/// In a slot: no link, and none behind it.
pub(crate) const NONE: u32 = u32::MAX;
/// Links in a cache line of 64 bytes.
const LINKS_PER_LINE: usize = 16;

/// Rows of links, whoever keeps them.
pub(crate) trait Rows {
    /// The row of the member at `position`, which is one: its links, then perhaps [`NONE`].
    fn row(&mut self, position: u32) -> Result<&[u32]>;

    /// Says which rows are needed next, so that they can be had together.
    fn prepare(&mut self, _positions: &[u32]) -> Result<()> {
        Ok(())
    }
}

/// Rows of links in one piece of memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// Slots of a row.
    stride: usize,
    slots: Vec<u32>,
}

impl Links {
    /// `rows` empty rows of `stride` slots.
    pub fn new(rows: usize, stride: usize) -> Links {
        Links { stride, slots: vec![NONE; rows * stride] }
    }

    /// Rows that are whole already.
    pub fn of(slots: Vec<u32>, stride: usize) -> Links {
        debug_assert!(stride != 0 && slots.len().is_multiple_of(stride), "whole rows");
        Links { stride, slots }
    }

    /// Slots of a row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.slots.len() / self.stride.max(1)
    }

    /// Adds an empty row.
    pub fn push(&mut self) {
        self.slots.resize(self.slots.len() + self.stride, NONE);
    }

    /// The slots of one row.
    pub fn slots(&self, position: u32) -> &[u32] {
        &self.slots[position as usize * self.stride..][..self.stride]
    }

    /// The links of one row.
    pub fn links(&self, position: u32) -> &[u32] {
        let slots = self.slots(position);
        &slots[..slots.partition_point(|&link| link != NONE)]
    }

    /// Puts `links` in the place of the row's links; what does not fit is left out.
    pub fn set(&mut self, position: u32, links: &[u32]) {
        let row = &mut self.slots[position as usize * self.stride..][..self.stride];
        let fit = links.len().min(row.len());
        row[..fit].copy_from_slice(&links[..fit]);
        row[fit..].fill(NONE);
    }

    /// Adds a link to the row unless it has it already. `false`: the row is full.
    pub fn add(&mut self, position: u32, link: u32) -> bool {
        let row = &mut self.slots[position as usize * self.stride..][..self.stride];
        let len = row.partition_point(|&slot| slot != NONE);
        if row[..len].contains(&link) {
            return true;
        }
        let Some(slot) = row.get_mut(len) else { return false };
        *slot = link;
        true
    }

    /// Shortens every row to `stride` slots; links behind them are lost.
    pub fn narrow(&mut self, stride: usize) {
        let stride = stride.min(self.stride);
        for row in 0..self.len() {
            let from = row * self.stride;
            self.slots.copy_within(from..from + stride, row * stride);
        }
        self.slots.truncate(self.len() * stride);
        self.slots.shrink_to_fit();
        self.stride = stride;
    }

    /// All slots, row by row.
    pub fn all(&self) -> &[u32] {
        &self.slots
    }

    /// How many links all rows have together.
    pub fn edges(&self) -> u64 {
        self.slots.iter().filter(|&&link| link != NONE).count() as u64
    }
}

impl Rows for &Links {
    fn row(&mut self, position: u32) -> Result<&[u32]> {
        Ok(self.slots(position))
    }

    /// Reads a link of each cache line of the rows, so that they come from memory side by side.
    fn prepare(&mut self, positions: &[u32]) -> Result<()> {
        let mut all = 0;
        for &position in positions {
            for link in self.slots(position).iter().step_by(LINKS_PER_LINE) {
                all |= link;
            }
        }
        black_box(all);
        Ok(())
    }
}
