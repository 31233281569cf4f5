//! Where a guest's standard error goes: its end is kept, in case the guest traps.
//!
//! The standard library of Rust writes a panic's message there before it traps, and nothing else says
//! why a guest gave up.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// 1 KiB: a panic's message and its place.
const KEPT_BYTES: usize = 1 << 10;
/// 4 KiB. What one write may carry.
const WRITE_BYTES_MAX: usize = 4 << 10;

/// The end of what was written.
#[derive(Clone, Default)]
pub(super) struct StandardError(Arc<Mutex<VecDeque<u8>>>);

impl StandardError {
    /// What is kept, and forgets it.
    pub(super) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock());
        String::from_utf8_lossy(&Vec::from(bytes)).trim().to_owned()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.0.lock();
        let bytes = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        let too_many = (kept.len() + bytes.len()).saturating_sub(KEPT_BYTES);
        kept.drain(..too_many);
        kept.extend(bytes);
    }
}

impl IsTerminal for StandardError {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for StandardError {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by WASI 0.1 and 0.3 only, which are not linked.
        MemoryOutputPipe::new(0).async_stream()
    }
}

impl OutputStream for StandardError {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for StandardError {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let stream = StandardError::default();
        stream.keep(&[b'a'; 3 * KEPT_BYTES]);
        stream.keep(b"the reason\n");
        let end = stream.take();
        assert!(end.starts_with("aaa") && end.ends_with("the reason"), "{end}");
        assert_eq!(end.len() + 1, KEPT_BYTES);
        assert_eq!(stream.take(), "");
    }
}
