//! What the database counts about itself, as numbers and as metrics.

use crate::engine::{Inner, Kernel};
use sochdb_telemetry::Counter;
use std::sync::atomic::Ordering;

/// The counters that the rooms of the kernel add to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub commits: Counter,
    pub conflicts: Counter,
    pub rollbacks: Counter,
    pub rows_put: Counter,
    pub rows_deleted: Counter,
    pub checkpoints: Counter,
    pub pages_written: Counter,
    pub codec_raw: Counter,
    pub codec_stored: Counter,
    /// Blocks stored plain because the codec failed or did not give back what it was given.
    pub codec_refusals: Counter,
}

sochdb_telemetry::stats! {
    /// The database's counters (totals since it was opened) and gauges (as they are now).
    pub struct KernelStats {
    counter commits = "sochdb_commits_total" "Transactions committed.",
    counter conflicts = "sochdb_conflicts_total" "Commits refused because another transaction was first.",
    counter rollbacks = "sochdb_rollbacks_total" "Transactions that ended without a commit.",
    counter rows_put = "sochdb_rows_put_total" "Rows written by committed transactions.",
    counter rows_deleted = "sochdb_rows_deleted_total" "Rows removed by committed transactions.",
    counter log_bytes_written = "sochdb_log_bytes_written_total" "Bytes written to the log.",
    counter log_syncs = "sochdb_log_syncs_total" "Syncs of the log.",
    gauge log_bytes = "sochdb_log_bytes" "Bytes of log that a restart would read.",
    counter checkpoints = "sochdb_checkpoints_total" "Checkpoints done.",
    counter pages_written = "sochdb_pages_written_total" "Pages written by checkpoints.",
    gauge memtable_bytes = "sochdb_memtable_bytes" "Memory held by rows that are not only on disk.",
    gauge pages_total = "sochdb_pages" "Pages of the data file.",
    gauge pages_free = "sochdb_pages_free" "Pages of the data file that hold nothing, or soon will not.",
    gauge segments = "sochdb_segments" "Segments of storage plugins.",
    gauge cache_bytes = "sochdb_cache_bytes" "Memory held by the cache of pages and blocks.",
    counter cache_hits = "sochdb_cache_hits_total" "Pages and blocks found in the cache.",
    counter cache_misses = "sochdb_cache_misses_total" "Pages and blocks read from disk.",
    counter codec_bytes_raw = "sochdb_codec_raw_bytes_total" "Bytes of blocks and large values before compression.",
    counter codec_bytes_stored = "sochdb_codec_stored_bytes_total" "The same bytes as they were stored.",
    counter codec_refusals = "sochdb_codec_refusals_total" "Blocks stored plain because a codec failed its check.",
    gauge tables = "sochdb_tables" "Tables.",
    gauge timestamp = "sochdb_commit_timestamp" "The newest commit that snapshots see.",
    }
}

impl Kernel {
    /// The database's counters and gauges.
    pub fn stats(&self) -> KernelStats {
        let inner: &Inner = &self.inner;
        let (version, visible) = inner.pin(false);
        let (log_syncs, log_bytes_written) = inner.wal.counts();
        let (cache_hits, cache_misses, cache_bytes) = inner.access.pager.cache.counts();
        let state = inner.checkpoint.lock();
        let (free, waiting) = state.space.free_pages();
        let counts = &inner.counts;
        KernelStats {
            commits: counts.commits.get(),
            conflicts: counts.conflicts.get(),
            rollbacks: counts.rollbacks.get(),
            rows_put: counts.rows_put.get(),
            rows_deleted: counts.rows_deleted.get(),
            log_bytes_written,
            log_syncs,
            log_bytes: inner.wal.ends().0 - state.meta.lsn,
            checkpoints: counts.checkpoints.get(),
            pages_written: counts.pages_written.get(),
            memtable_bytes: inner.memtable_bytes.load(Ordering::Relaxed) as u64,
            pages_total: state.space.pages,
            pages_free: free + waiting,
            segments: version.tables.values().map(|table| table.base.segment_count()).sum(),
            cache_bytes,
            cache_hits,
            cache_misses,
            codec_bytes_raw: counts.codec_raw.get(),
            codec_bytes_stored: counts.codec_stored.get(),
            codec_refusals: counts.codec_refusals.get(),
            tables: version.names.len() as u64,
            timestamp: visible.0,
        }
    }
}
