//! The rows of several segments as one: in the order of their keys, the newest row of each.
//!
//! ```text
//!   oldest   a1  .   c1  .   e1        each segment has its next row ready; the least key among them is next,
//!            .   b2  c2  .   .         and where several have it, the newest segment's row is given and the
//!   newest   .   .   .   d3  e-        others are passed over
//!   gives    a1  b2  c2  d3  e-        reverse: the greatest key instead
//! ```

use crate::segment::{Opened, Row};
use sochdb_guest::{KeyRange, Result};
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::rc::Rc;

/// A scan of segments, oldest first.
pub struct Merge {
    sources: Vec<Source>,
    reverse: bool,
}

/// What is left of one segment: blocks that were not read, and rows of one that was.
struct Source {
    segment: Rc<Opened>,
    range: KeyRange,
    blocks: Range<usize>,
    rows: VecDeque<Row>,
}

impl Merge {
    /// Begins to read the rows of `range`; nothing is read yet.
    pub fn new(oldest_first: &[Rc<Opened>], range: &KeyRange, reverse: bool) -> Merge {
        let sources = oldest_first.iter().map(|segment| Source::new(segment.clone(), range));
        Merge { sources: sources.collect(), reverse }
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>> {
        let mut best: Option<usize> = None;
        for at in 0..self.sources.len() {
            let (older, newer) = self.sources.split_at_mut(at);
            let Some((key, _)) = newer[0].head(self.reverse)? else { continue };
            let before = |best: usize| {
                let (other, _) = older[best].rows.front().expect("it was the best for its row");
                if self.reverse { other <= key } else { key <= other }
            };
            if best.is_none_or(before) {
                best = Some(at);
            }
        }
        let Some(best) = best else { return Ok(None) };
        let row = self.sources[best].rows.pop_front().expect("it was the best for its row");
        for source in &mut self.sources {
            source.rows.pop_front_if(|(key, _)| *key == row.0);
        }
        Ok(Some(row))
    }
}

impl Source {
    fn new(segment: Rc<Opened>, range: &KeyRange) -> Source {
        let start = match &range.start {
            Bound::Included(key) | Bound::Excluded(key) => {
                segment.blocks_up_to(key).saturating_sub(1)
            }
            Bound::Unbounded => 0,
        };
        let end = match &range.end {
            Bound::Included(key) | Bound::Excluded(key) => segment.blocks_up_to(key),
            Bound::Unbounded => segment.blocks(),
        };
        Source { segment, range: range.clone(), blocks: start..end, rows: VecDeque::new() }
    }

    /// The next row, which stays where it is.
    fn head(&mut self, reverse: bool) -> Result<Option<&Row>> {
        while self.rows.is_empty() {
            let block = if reverse { self.blocks.next_back() } else { self.blocks.next() };
            let Some(block) = block else { return Ok(None) };
            let rows = self.segment.rows(block)?.into_iter();
            self.rows = rows.filter(|(key, _)| self.range.contains(key)).collect();
            if reverse {
                self.rows.make_contiguous().reverse();
            }
        }
        Ok(self.rows.front())
    }
}
