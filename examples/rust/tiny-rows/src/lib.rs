//! A storage engine small enough to read in one sitting: sorted rows in blocks, and a list of the blocks.
//!
//! ```text
//!   run ──▶ flush ──▶ segment::Writer ──▶ one segment
//!   segments, oldest first ──▶ open ──▶ multi_get    the newest segment that knows the key answers
//!                                   └─▶ scan         merge::Merge: all of them side by side, the newest row wins
//!   segments ──▶ plan_compaction ──▶ merge           what a scan of them gives, flushed again
//! ```
//!
//! A segment is only ever appended to, then sealed, then read. A row that was deleted is written too, as a
//! tombstone, for it hides the rows of older segments; it goes when a merge leaves nothing older to hide.
//!
//! It is an example: each get reads a block from the host, without a bloom filter and without a cache of its own,
//! and typed rows are kept as rows. `lscs` is the engine for real work.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod merge;
mod segment;

use merge::Merge;
use segment::{Opened, Writer};
use sochdb_guest::select::Selection;
use sochdb_guest::{
    Compaction, Cursor, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink, Storage,
    Table,
};
use std::rc::Rc;

/// Segments that are merged at least. More makes writing cheaper and reading dearer.
const MERGED_MIN: usize = 4;

// ANCHOR: engine
/// The engine. It keeps nothing between calls: all there is to know is in the segments.
pub struct TinyRows;

impl Storage for TinyRows {
    type Reader = Rows;

    fn init() -> Result<Self> {
        Ok(TinyRows)
    }

    fn flush(
        &mut self,
        _: &Table,
        _: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let mut writer = Writer::new(sink.create()?)?;
        while let Some((key, value)) = run.next()? {
            writer.push(key, value)?;
        }
        Ok(vec![writer.seal()?])
    }

    fn open(&mut self, _: &Table, segments: Vec<Segment>) -> Result<Rows> {
        let opened = segments.into_iter().map(|segment| Opened::new(segment).map(Rc::new));
        Ok(Rows { oldest_first: opened.collect::<Result<_>>()? })
    }
    // ANCHOR_END: engine

    // ANCHOR: plan
    fn plan_compaction(&mut self, _: &Table, segments: &[Segment]) -> Result<Option<Compaction>> {
        // From the newest back, as long as the next older one is no giant beside those that were chosen.
        let (mut first, mut bytes) = (segments.len(), 0);
        while let Some(older) = first.checked_sub(1)
            && (bytes == 0 || segments[older].info().bytes <= 2 * bytes)
        {
            bytes += segments[older].info().bytes;
            first = older;
        }
        let inputs: Vec<_> = (first..segments.len()).collect();
        let worth = MERGED_MIN <= inputs.len();
        Ok(worth.then_some(Compaction { inputs, at: first, urgent: false }))
    }
    // ANCHOR_END: plan
}

// ANCHOR: reader
/// Some segments of a table, open for reading.
pub struct Rows {
    oldest_first: Vec<Rc<Opened>>,
}

impl Reader for Rows {
    type Cursor = Scan;

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
        keys.iter().map(|key| self.lookup(key)).collect()
    }

    fn scan(&self, range: &KeyRange, reverse: bool, selection: Option<Selection>) -> Result<Scan> {
        Ok(Scan { rows: Merge::new(&self.oldest_first, range, reverse), selection })
    }
}

impl Rows {
    fn lookup(&self, key: &[u8]) -> Result<Lookup> {
        for segment in self.oldest_first.iter().rev() {
            match segment.get(key)? {
                Some(Some(value)) => return Ok(Lookup::Value(value)),
                Some(None) => return Ok(Lookup::Deleted),
                None => {}
            }
        }
        Ok(Lookup::Unknown)
    }
}
// ANCHOR_END: reader

// ANCHOR: scan
/// A scan under way.
pub struct Scan {
    rows: Merge,
    selection: Option<Selection>,
}

impl Cursor for Scan {
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
        while !batch.is_full()
            && let Some((key, value)) = self.rows.next()?
        {
            batch.push_selected(&key, value.as_deref(), self.selection.as_ref())?;
        }
        Ok(())
    }
}

sochdb_guest::export!(storage: TinyRows);
// ANCHOR_END: scan

#[cfg(test)]
mod tests {
    use super::*;

    // ANCHOR: kit
    #[test]
    fn random_operations_give_what_a_map_gives() {
        sochdb_guest::testing::storage::<TinyRows>();
    }
    // ANCHOR_END: kit

    #[test]
    fn the_test_that_every_loading_runs_passes() {
        TinyRows.self_test().unwrap();
    }

    #[test]
    fn small_segments_are_merged_and_a_giant_is_left_alone() {
        let plan = |sizes: &[usize]| {
            let segments = sizes.iter().enumerate();
            let segments: Vec<_> =
                segments.map(|(id, &bytes)| Segment::of(id as u64, vec![0; bytes])).collect();
            let plan = TinyRows.plan_compaction(&Table::default(), &segments).unwrap();
            plan.map(|plan| (plan.at, plan.inputs))
        };
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[10, 10, 10]), None);
        assert_eq!(plan(&[10, 10, 10, 10]), Some((0, vec![0, 1, 2, 3])));
        assert_eq!(plan(&[1000, 10, 10, 10, 10]), Some((1, vec![1, 2, 3, 4])));
        assert_eq!(plan(&[1000, 10, 10, 10]), None);
        assert_eq!(plan(&[70, 20, 20, 10]), Some((0, vec![0, 1, 2, 3])));
    }
}
