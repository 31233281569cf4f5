//! Segments that are forgotten, with a count of who still writes one. Also part of the test `generated`.

use sochdb_kernel::plugin::{SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelResult, SegmentId};
use std::sync::Arc;

/// Each writer holds a reference for as long as it lives.
pub struct Void(pub Arc<()>);

struct VoidWriter(Arc<()>, u64);

impl SegmentSink for Void {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(VoidWriter(self.0.clone(), 0)))
    }
}

impl SegmentWrite for VoidWriter {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        self.1 += bytes.len() as u64;
        Ok(self.1 - bytes.len() as u64)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        Ok(SegmentId(Arc::strong_count(&self.0) as u64))
    }
}
