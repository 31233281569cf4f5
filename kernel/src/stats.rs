//! What the database counts about itself, as numbers and as metrics.

use crate::engine::{Inner, Kernel};
use std::sync::atomic::Ordering;

sochdb_telemetry::stats! {
    /// The database's counters (totals since it was opened) and gauges (as they are now).
    pub struct KernelStats, counted by pub(crate) struct Counts {
        commits = "sochdb_commits_total" "Transactions committed.",
        conflicts = "sochdb_conflicts_total" "Commits refused because another transaction was first.",
        rollbacks = "sochdb_rollbacks_total" "Writing transactions that ended without a commit.",
        rows_put = "sochdb_rows_put_total" "Rows written by committed transactions.",
        rows_deleted = "sochdb_rows_deleted_total" "Rows removed by committed transactions.",
        checkpoints = "sochdb_checkpoints_total" "Checkpoints done.",
        pages_written = "sochdb_pages_written_total" "Pages written by checkpoints.",
        codec_bytes_raw = "sochdb_codec_raw_bytes_total" "Bytes of blocks and large values before compression.",
        codec_bytes_stored = "sochdb_codec_stored_bytes_total" "The same bytes as they were stored.",
        codec_refusals = "sochdb_codec_refusals_total" "Blocks stored plain because a codec failed its check.",
    } and {
        counter log_bytes_written = "sochdb_log_written_bytes_total" "Bytes written to the log.",
        counter log_syncs = "sochdb_log_syncs_total" "Syncs of the log.",
        gauge log_bytes = "sochdb_log_bytes" "Bytes of log that a restart would read.",
        gauge memtable_bytes = "sochdb_memtable_bytes" "Memory held by rows that are not only on disk.",
        gauge pages_total = "sochdb_pages" "Pages of the data file.",
        gauge pages_free = "sochdb_pages_free" "Pages of the data file that hold nothing, or soon will not.",
        gauge segments = "sochdb_segments" "Segments of storage plugins.",
        gauge cache_bytes = "sochdb_cache_bytes" "Memory held by the cache of pages and blocks.",
        counter cache_hits = "sochdb_cache_hits_total" "Pages and blocks found in the cache.",
        counter cache_misses = "sochdb_cache_misses_total" "Pages and blocks read from disk.",
        gauge tables = "sochdb_tables" "Tables.",
        gauge timestamp = "sochdb_commit_timestamp" "The newest commit that snapshots see.",
    }
}

impl Kernel {
    /// The database's counters and gauges.
    pub fn stats(&self) -> KernelStats {
        let inner: &Inner = &self.inner;
        let (version, visible) = inner.pin(false, false);
        let (log_syncs, log_bytes_written) = inner.wal.counts();
        let (cache_hits, cache_misses, cache_bytes) = inner.access.pager.cache.counts();
        let [folded_lsn, pages_total, pages_free] = *inner.sizes.lock();
        KernelStats {
            log_bytes_written,
            log_syncs,
            log_bytes: inner.wal.ends().0 - folded_lsn,
            memtable_bytes: inner.memtable_bytes.load(Ordering::Relaxed) as u64,
            pages_total,
            pages_free,
            segments: version.tables.values().map(|table| table.base.segment_count()).sum(),
            cache_bytes,
            cache_hits,
            cache_misses,
            tables: version.names.len() as u64,
            timestamp: visible.0,
            ..inner.counts.now()
        }
    }
}
