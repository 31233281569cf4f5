//! Which rows a search may find: those of a range of keys that fulfil conditions on other columns.
//!
//! A range alone is an interval of entries in each segment, since they are numbered in order of keys. Conditions
//! are answered by the table itself, in the search's own transaction, and become bits for the walk; the bits are
//! kept for the next search with the same filter at the same moment.

use crate::definition::IndexDefinition;
use crate::engine::IndexEngine;
use crate::segment::OpenSegment;
use crate::waiting::{Bits, View, is_fixed};
use sochdb_encoding::select::{Condition, Projection, Selection};
use sochdb_kernel::{KernelResult, KeyRange, SegmentId, TableId, Timestamp, Transaction};
use std::sync::Arc;

/// Filters that are kept.
const KEPT_MAX: usize = 16;

/// What fulfils a filter.
#[derive(Default)]
pub(crate) struct Filtered {
    /// Of each segment.
    pub bits: Vec<Bits>,
    /// Of the rows that wait, by their position; `None` for all.
    pub waiting: Option<Vec<bool>>,
}

/// A filter whose answer is kept.
pub(crate) struct Kept {
    table: TableId,
    snapshot: Timestamp,
    segments: Vec<SegmentId>,
    range: KeyRange,
    conditions: Vec<Condition>,
    filtered: Arc<Filtered>,
}

impl IndexEngine {
    /// What `tx` sees in `range` that fulfils `conditions`; `None` when that is everything.
    pub(crate) fn filter(
        &self,
        tx: &Transaction,
        index: &IndexDefinition,
        view: &View,
        range: &KeyRange,
        conditions: &[Condition],
    ) -> KernelResult<Option<Arc<Filtered>>> {
        let segments = view.segments();
        if conditions.is_empty() {
            return match *range == KeyRange::all() {
                true => Ok(None),
                false => within(segments, view, range).map(|all| Some(Arc::new(all))),
            };
        }
        let info = tx.table(&index.table)?;
        let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id()).collect();
        let fixed = is_fixed(tx);
        let is_it = |kept: &&Arc<Kept>| {
            (kept.table, kept.snapshot) == (info.id, tx.snapshot())
                && kept.segments == ids
                && kept.range == *range
                && kept.conditions == conditions
        };
        if fixed && let Some(kept) = self.filters.lock().iter().find(is_it) {
            return Ok(Some(kept.filtered.clone()));
        }
        let schema = index.schema(&info)?.clone();
        // The keys are what is wanted, so no column but the key's.
        let keys = Projection::at(&schema, schema.key.clone())?;
        let selection = Selection::new(schema, Some(keys), conditions.to_vec())?;
        let rows =
            tx.scan_selected(&index.table, range.clone(), false, Some(Arc::new(selection)))?;
        let mut filtered = Filtered {
            bits: segments.iter().map(|segment| Bits::none(segment.entry_count())).collect(),
            waiting: Some(vec![false; view.waiting.rows.len()]),
        };
        let mut at = vec![0; segments.len()];
        let mut waiting = view.waiting.rows.iter().enumerate().peekable();
        for row in rows {
            let (key, _) = row?;
            while waiting.next_if(|(_, row)| row.key < key).is_some() {}
            if let Some((position, _)) = waiting.next_if(|(_, row)| row.key == key)
                && let Some(flags) = &mut filtered.waiting
            {
                flags[position] = true;
                continue;
            }
            for ((segment, at), bits) in segments.iter().zip(&mut at).zip(&mut filtered.bits) {
                let (place, there) = segment.find(*at, &key)?;
                *at = place;
                if there {
                    bits.set(place);
                }
            }
        }
        let filtered = Arc::new(filtered);
        if fixed {
            let mut kept = self.filters.lock();
            if KEPT_MAX <= kept.len() {
                kept.remove(0);
            }
            kept.push(Arc::new(Kept {
                table: info.id,
                snapshot: tx.snapshot(),
                segments: ids,
                range: range.clone(),
                conditions: conditions.to_vec(),
                filtered: filtered.clone(),
            }));
        }
        Ok(Some(filtered))
    }
}

/// What lies in a range of keys.
fn within(segments: &[Arc<OpenSegment>], view: &View, range: &KeyRange) -> KernelResult<Filtered> {
    let mut bits = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut inside = Bits::none(segment.entry_count());
        segment.entries_in(range)?.for_each(|number| inside.set(number));
        bits.push(inside);
    }
    let waiting = view.waiting.rows.iter().map(|row| range.contains(&row.key)).collect();
    Ok(Filtered { bits, waiting: Some(waiting) })
}
