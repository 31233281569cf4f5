//! Which segments of an index to merge, and what becomes of them.
//!
//! A flush leaves *flat* segments: entries without a graph, which a search looks at one by one. They are merged
//! so that there are few, and once there are enough of them a plugin inserts their entries into the graph of the
//! segment before them:
//!
//! ```text
//!   list   G 90,000 | F 3,000 | F 2,500 | f 40           f + F + F are enough: into G, a slice at a time
//!          G 95,540
//! ```
//!
//! 1. Only neighbours in the list are merged, so no row ever comes to lie on the wrong side of another.
//! 2. A slice inserts at most [`SLICE_ENTRIES`] new entries into a graph, whose other entries it only copies.
//!    A graph more than [`GROWTH`] times larger than what would go into it is left alone: then a second graph
//!    grows beside it, until it is large enough.
//! 3. What waits goes into a graph when it is worth a search's while: [`GROW_MIN`] entries, or a [`GROW_SHARE`]th of
//!    a large graph, which is written anew for it; but no more than `flat_max`.
//! 4. Without the plugin flat segments stay flat, and are merged when they are of like sizes.

use crate::definition::{AUTO, IndexDefinition, IndexKind};
use crate::vectors::CodeKind;
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::Compaction;

/// New entries that one merge inserts into a graph.
pub const SLICE_ENTRIES: u64 = 16 << 10;
/// How much larger a graph may be than what is inserted into it.
const GROWTH: u64 = 16;
/// Entries that are worth writing a small graph anew, and the share of a large one.
const GROW_MIN: u64 = 512;
/// See [`GROW_MIN`].
const GROW_SHARE: u64 = 64;
/// Flat segments that are left alone.
const FLAT_SEGMENTS_MAX: usize = 4;

/// What chooses how the entries of a segment are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// With fewer entries a segment has no graph.
    pub flat_max: usize,
    /// Up to so many entries `auto` takes HNSW, then Vamana.
    pub hnsw_max: usize,
    /// From so many entries on `auto` keeps short codes near.
    pub compress_min: usize,
}

impl Router {
    /// What `index` asks for.
    ///
    /// # Errors
    /// `Invalid` for a setting that is no number, or too large.
    pub fn of(index: &IndexDefinition) -> KernelResult<Router> {
        let most = 0..=u32::MAX as usize;
        // An ordered index is small work to build.
        let flat_max = if index.kind == IndexKind::Ordered { 256 } else { 4096 };
        Ok(Router {
            flat_max: index.number("flat_max", flat_max, most.clone())?,
            hnsw_max: index.number("hnsw_max", 100_000, most.clone())?,
            compress_min: index.number("compress_min", 1_000_000, most)?,
        })
    }

    /// The plugin for a segment of so many entries; `None` for none.
    pub fn plugin<'a>(&self, index: &'a IndexDefinition, entries: usize) -> Option<&'a str> {
        if entries < self.flat_max.max(1) {
            return None;
        }
        match index.using.as_str() {
            AUTO if entries <= self.hnsw_max => Some("hnsw"),
            AUTO => Some("vamana"),
            name => Some(name),
        }
    }

    /// The codes for a segment of so many entries.
    ///
    /// # Errors
    /// `Invalid` for codes that there are not.
    pub fn codes(&self, index: &IndexDefinition, entries: usize) -> KernelResult<CodeKind> {
        let chosen = index.settings.get("codes").map(|codes| codes.parse()).transpose()?;
        Ok(match chosen {
            // A few entries are not worth learning from, and cost little.
            _ if entries < self.flat_max.max(256) => CodeKind::Sq8,
            Some(codes) => codes,
            None if index.using == AUTO && self.compress_min <= entries => CodeKind::Rabitq4,
            None => CodeKind::Sq8,
        })
    }
}

/// What a plan knows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Its rows that have a value.
    pub entries: u64,
    /// All its rows.
    pub rows: u64,
    /// Whether a plugin has built a graph of its entries.
    pub graph: bool,
}

/// What to merge, if anything. `buildable` tells whether a segment of so many entries gets a graph; with fewer than
/// `flat_max` it has none.
pub fn plan(
    segments: &[Planned],
    flat_max: u64,
    buildable: &dyn Fn(u64) -> bool,
) -> Option<Compaction> {
    let merge = |inputs: std::ops::Range<usize>| {
        Some(Compaction { at: inputs.start, inputs: inputs.collect(), urgent: false })
    };
    let entries = |range: std::ops::Range<usize>| -> u64 {
        segments[range].iter().map(|one| one.entries).sum()
    };
    // The flat segments behind the last graph.
    let flat = segments.iter().rposition(|one| one.graph).map_or(0, |graph| graph + 1);
    let waiting: u64 = segments[flat..].iter().map(|one| one.rows).sum();
    let grows = 0 < flat && segments[flat - 1].rows <= GROWTH * waiting.max(SLICE_ENTRIES);
    let start = if grows { flat - 1 } else { flat };
    // Deletions are worth a merge too, where there is a graph that they thin out.
    let enough = match segments[..flat].last().filter(|_| grows) {
        None => true,
        Some(graph) => (graph.rows / GROW_SHARE).max(GROW_MIN).min(flat_max) <= waiting,
    };
    if flat < segments.len() && enough && buildable(entries(start..segments.len())) {
        // As many as make a slice, the oldest first.
        let (mut end, mut rows) = (flat, 0);
        while end < segments.len()
            && (end == flat
                || rows + segments[end].rows <= SLICE_ENTRIES
                || !buildable(entries(start..end)))
        {
            rows += segments[end].rows;
            end += 1;
        }
        return merge(start..end);
    }
    // Two graphs of like sizes become one.
    if let Some(last) = flat.checked_sub(2)
        && segments[last].graph
        && segments[last].rows <= GROWTH * segments[last + 1].rows
        && buildable(entries(last..last + 2))
    {
        return merge(last..last + 2);
    }
    // Flat ones of like sizes become one.
    if FLAT_SEGMENTS_MAX < segments.len() - flat {
        let mut start = segments.len() - 1;
        let mut rows = segments[start].rows;
        while flat < start && segments[start - 1].rows <= 2 * rows {
            start -= 1;
            rows += segments[start].rows;
        }
        let start = start.min(segments.len() - 2);
        return merge(start..segments.len());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(rows: u64) -> Planned {
        Planned { entries: rows, rows, graph: false }
    }

    fn graph(rows: u64) -> Planned {
        Planned { entries: rows, rows, graph: true }
    }

    fn inputs(segments: &[Planned], least: u64) -> Option<Vec<usize>> {
        plan(segments, least, &|rows| least <= rows).map(|plan| plan.inputs)
    }

    #[test]
    fn enough_flat_rows_go_into_the_graph_before_them() {
        assert_eq!(inputs(&[graph(90_000), flat(3000), flat(2500)], 4096), Some(vec![0, 1, 2]));
        assert_eq!(inputs(&[graph(90_000), flat(1000)], 4096), None);
        assert_eq!(inputs(&[graph(9000), flat(1000)], 4096), Some(vec![0, 1]));
        assert_eq!(inputs(&[graph(9000), flat(500)], 4096), None);
        assert_eq!(inputs(&[flat(5000)], 4096), Some(vec![0]));
    }

    #[test]
    fn a_slice_takes_the_oldest_and_leaves_the_rest_for_the_next() {
        let load = [flat(16_000), flat(16_000), flat(16_000)];
        assert_eq!(inputs(&load, 4096), Some(vec![0]));
        let next = [graph(16_000), flat(16_000), flat(16_000)];
        assert_eq!(inputs(&next, 4096), Some(vec![0, 1]));
    }

    #[test]
    fn a_slice_is_never_too_small_for_a_graph() {
        assert_eq!(inputs(&[flat(3000), flat(16_000)], 4096), Some(vec![0, 1]));
        let deletions = Planned { entries: 0, rows: 5000, graph: false };
        assert_eq!(inputs(&[deletions], 4096), None);
        assert_eq!(inputs(&[graph(9000), deletions], 4096), Some(vec![0, 1]));
    }

    #[test]
    fn a_graph_that_is_too_large_is_left_alone_until_another_has_grown() {
        let segments = [graph(1_000_000), flat(5000)];
        assert_eq!(inputs(&segments, 4096), Some(vec![1]));
        let segments = [graph(1_000_000), graph(70_000)];
        assert_eq!(inputs(&segments, 4096), Some(vec![0, 1]));
        let segments = [graph(1_000_000), graph(16_000)];
        assert_eq!(inputs(&segments, 4096), None);
    }

    #[test]
    fn without_a_plugin_flat_segments_of_like_sizes_are_merged() {
        let segments = [flat(5000), flat(10), flat(10), flat(10), flat(10)];
        assert_eq!(inputs(&segments, u64::MAX), Some(vec![1, 2, 3, 4]));
        assert_eq!(inputs(&segments[..4], u64::MAX), None);
    }
}
