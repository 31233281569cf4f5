//! Merging for storage engines of tests: what they scan is flushed again.

use sochdb_kernel::plugin::{
    RunCursor, RunRow, SegmentRead, SegmentSink, StorageExtension, TableContext,
};
use sochdb_kernel::{KernelResult, KeyRange, SegmentId};
use std::sync::Arc;

/// Merges `segments` with no more than `engine` can do anyway: it reads their newest rows and flushes them.
///
/// # Errors
/// Whatever the engine returns.
pub fn merge_by_flush(
    engine: &dyn StorageExtension,
    table: &TableContext,
    segments: &[Arc<dyn SegmentRead>],
    drop_deleted: bool,
    sink: Arc<dyn SegmentSink>,
) -> KernelResult<Vec<SegmentId>> {
    let rows = engine.open(table, segments)?.scan(&KeyRange::all(), false, None)?;
    engine.flush(table, &[], Box::new(Merged { rows, drop_deleted }), sink)
}

struct Merged {
    rows: Box<dyn RunCursor>,
    drop_deleted: bool,
}

impl RunCursor for Merged {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        loop {
            let mut batch = self.rows.next_batch(rows_max, bytes_max)?;
            let is_over = batch.is_empty();
            batch.retain(|row| row.value.is_some() || !self.drop_deleted);
            if is_over || !batch.is_empty() {
                return Ok(batch);
            }
        }
    }
}
