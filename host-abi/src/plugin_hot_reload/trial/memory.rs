//! Segments in memory, for what a version on trial writes: nobody else ever sees them.

use parking_lot::Mutex;
use sochdb_kernel::plugin::{SegmentRead, SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelError, KernelResult, SegmentId, Slice};
use std::collections::BTreeMap;
use std::sync::Arc;

/// 64 MiB. What is written in a trial is a fraction of it.
const BYTES_MAX: usize = 64 << 20;

/// Segments that were sealed here, by their numbers.
#[derive(Default)]
pub(super) struct Memory(Mutex<Sealed>);

#[derive(Default)]
struct Sealed {
    segments: BTreeMap<u64, Slice>,
    /// Of segments that are being written, too.
    bytes: usize,
    next: u64,
}

/// Where one guest writes to: what others write cannot be mistaken for its own.
pub(super) struct Sink(Arc<Memory>);

struct Writer {
    memory: Arc<Memory>,
    bytes: Vec<u8>,
}

struct Stored {
    id: u64,
    bytes: Slice,
}

impl Memory {
    /// A place for segments.
    pub(super) fn new() -> Arc<Memory> {
        Arc::default()
    }

    /// Writes here.
    pub(super) fn sink(self: &Arc<Self>) -> Arc<dyn SegmentSink> {
        Arc::new(Sink(self.clone()))
    }

    /// The segments `ids`; `None` when one of them was not sealed here, or is named twice.
    pub(super) fn segments(&self, ids: &[SegmentId]) -> Option<Vec<Arc<dyn SegmentRead>>> {
        let mut sealed = self.0.lock().segments.clone();
        let take = |id: &SegmentId| {
            let stored = Stored { id: id.0, bytes: sealed.remove(&id.0)? };
            Some(Arc::new(stored) as Arc<dyn SegmentRead>)
        };
        ids.iter().map(take).collect()
    }
}

impl SegmentSink for Sink {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(Writer { memory: self.0.clone(), bytes: Vec::new() }))
    }
}

impl SegmentWrite for Writer {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        let mut sealed = self.memory.0.lock();
        let got = sealed.bytes.saturating_add(bytes.len());
        if BYTES_MAX < got {
            let (what, bound) = ("the bytes that are written in a trial", BYTES_MAX as u64);
            return Err(KernelError::Limit { what, got: got as u64, bound });
        }
        sealed.bytes = got;
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        Ok(offset)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        let Writer { memory, bytes } = *self;
        let mut sealed = memory.0.lock();
        sealed.next += 1;
        let id = sealed.next;
        sealed.segments.insert(id, bytes.into());
        Ok(SegmentId(id))
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
        let start = usize::try_from(offset).ok();
        let found = start.and_then(|start| self.bytes.get(start..start.checked_add(len)?));
        found.map(Slice::from).ok_or_else(|| {
            let (id, all) = (self.id, self.bytes.len());
            let text =
                format!("read {len} bytes at {offset} of segment {id} of a trial: {all} bytes");
            KernelError::Invalid(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_read_and_nothing_else() {
        let memory = Memory::new();
        let mut writer = memory.sink().create().unwrap();
        assert_eq!((writer.append(b"abc").unwrap(), writer.append(b"de").unwrap()), (0, 3));
        let id = writer.seal().unwrap();
        let segments = memory.segments(&[id]).unwrap();
        assert_eq!(segments[0].read_at(1, 3).unwrap(), b"bcd");
        assert!(segments[0].read_at(3, 3).is_err() && segments[0].read_at(u64::MAX, 1).is_err());
        assert!(memory.segments(&[id, id]).is_none(), "the same one twice");
        assert!(memory.segments(&[SegmentId(9)]).is_none());
    }

    #[test]
    fn a_guest_that_writes_without_end_is_stopped() {
        let mut writer = Memory::new().sink().create().unwrap();
        let block = vec![0; 1 << 20];
        assert!((0..64).all(|_| writer.append(&block).is_ok()));
        assert!(matches!(writer.append(&[0]), Err(KernelError::Limit { .. })));
    }
}
