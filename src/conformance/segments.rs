//! Segments in memory: what storage engines and indexes write outside of a database, to be compared and spoiled.

use parking_lot::Mutex;
use sochdb_kernel::plugin::{RunCursor, RunRow, SegmentRead, SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelError, KernelResult, SegmentId, Slice};
use std::sync::Arc;

/// Segments, numbered from 1 on.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Vec<Vec<u8>>>>);

impl Shelf {
    pub(super) fn sink(&self) -> Arc<dyn SegmentSink> {
        Arc::new(self.clone())
    }

    /// The bytes of segment `id`.
    pub(super) fn bytes(&self, id: SegmentId) -> KernelResult<Vec<u8>> {
        let found = (id.0 as usize).checked_sub(1).and_then(|at| self.0.lock().get(at).cloned());
        found.ok_or_else(|| {
            KernelError::invalid(format!("it answers segment {}, which it did not write", id.0))
        })
    }
}

impl SegmentSink for Shelf {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(Writer { shelf: self.clone(), bytes: Vec::new() }))
    }
}

struct Writer {
    shelf: Shelf,
    bytes: Vec<u8>,
}

impl SegmentWrite for Writer {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        self.bytes.extend_from_slice(bytes);
        Ok((self.bytes.len() - bytes.len()) as u64)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        let mut segments = self.shelf.0.lock();
        segments.push(self.bytes);
        Ok(SegmentId(segments.len() as u64))
    }
}

/// One segment, whatever is in it.
pub(super) struct Stored {
    id: u64,
    bytes: Vec<u8>,
}

impl Stored {
    pub(super) fn shared(id: u64, bytes: Vec<u8>) -> Arc<dyn SegmentRead> {
        Arc::new(Stored { id, bytes })
    }
}

impl SegmentRead for Stored {
    fn id(&self) -> SegmentId {
        SegmentId(self.id)
    }

    fn raw_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = from.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            KernelError::invalid(format!("{len} bytes from {offset} on of {}", self.bytes.len()))
        })?;
        Ok(self.bytes[from..end].into())
    }
}

/// Rows in order.
pub(super) struct Run(std::vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>);

impl Run {
    pub(super) fn of(rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Box<dyn RunCursor> {
        Box::new(Run(rows.into_iter()))
    }
}

impl RunCursor for Run {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < rows_max && (bytes < bytes_max || rows.is_empty()) {
            let Some((key, value)) = self.0.next() else { break };
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            rows.push(RunRow { key, value: value.map(|value| value.as_slice().into()) });
        }
        Ok(rows)
    }
}
