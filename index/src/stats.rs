//! What there is to know of an index: its segments, who built them, and what waits.

use crate::definition::IndexDefinition;
use crate::engine::IndexEngine;
use crate::make::IndexState;
use sochdb_kernel::{KernelError, KernelResult, Transaction};

/// What there is to know of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexStats {
    /// Whether it is complete.
    pub state: IndexState,
    /// Entries that a search can find in segments, and rows with a value that wait.
    pub entries: u64,
    /// Rows that are marked and not in segments yet; searches look at each.
    pub waiting: u64,
    /// Entries that no plugin has built a graph of yet; searches look at each.
    pub flat: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Bytes of those that are in memory, for all searches together.
    pub resident_bytes: u64,
    /// Why no plugin builds for it, if one has failed.
    pub trouble: Option<String>,
    /// From the oldest to the newest.
    pub segments: Vec<SegmentStats>,
}

/// What there is to know of one segment.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentStats {
    /// Rows that have a value, those that newer segments hide included.
    pub entries: u64,
    /// Those that can be found.
    pub visible: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Who built its graph.
    pub plugin: Option<String>,
    /// What its entries are compared by on the way; empty in an ordered index.
    pub codes: String,
    /// What the plugin tells of its graph.
    pub graph: Vec<(String, f64)>,
}

/// What there is to know of `index`, as `tx` sees it.
///
/// # Errors
/// `NotFound`, and as [`Transaction::scan`].
pub fn stats(
    engine: &IndexEngine,
    tx: &Transaction,
    index: &IndexDefinition,
) -> KernelResult<IndexStats> {
    let (info, state) = match tx.table(&index.index_table()) {
        Err(KernelError::NotFound { .. }) => {
            (tx.table(&index.building_table())?, IndexState::Building)
        }
        info => (info?, IndexState::Ready),
    };
    let view = engine.view(tx, index, &info)?;
    let mut stats = IndexStats {
        state,
        entries: view.waiting.rows.iter().filter(|row| row.form.is_some()).count() as u64,
        waiting: view.waiting.rows.len() as u64,
        flat: 0,
        bytes: 0,
        resident_bytes: 0,
        trouble: engine.trouble(&info.name),
        segments: Vec::new(),
    };
    for (segment, visible) in view.segments().iter().zip(&view.waiting.visible) {
        let plugin = segment.plugin()?;
        let codes = match segment.kind() {
            crate::IndexKind::Vector { codes, .. } => codes.to_string(),
            crate::IndexKind::Ordered => String::new(),
        };
        let graph = match engine.searcher(index, segment)? {
            Some(searcher) => searcher.stats()?,
            None => Vec::new(),
        };
        let (entries, visible) = (u64::from(segment.entry_count()), u64::from(visible.count));
        stats.entries += visible;
        stats.bytes += segment.bytes();
        stats.resident_bytes += segment.resident() as u64;
        stats.flat += if plugin.is_none() { entries } else { 0 };
        stats.segments.push(SegmentStats {
            entries,
            visible,
            bytes: segment.bytes(),
            plugin,
            codes,
            graph,
        });
    }
    Ok(stats)
}
