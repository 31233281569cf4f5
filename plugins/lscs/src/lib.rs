//! LSCS, the log-structured column store: the algorithm, in plain Rust, without any WIT types. `plugin`
//! is the glue that makes it a plugin.
//!
//! The engine is a pure function from sorted runs to immutable segments, and from a list of segments
//! (oldest first, later hides earlier) to rows. It keeps no state of its own:
//!
//! ```text
//!   run ----> segment::SegmentWriter ----> SegmentSink       a flush: sorted rows in, one segment out
//!   list ---> merge::plan_compaction, merge::Merge           a compaction: adjacent segments into one
//!   keys ---> read::multi_get -> bloom -> index -> block     a point read: one block per segment
//!   range --> cursor::Cursor  -> blocks of all segments      a scan, either way, newest row wins
//! ```
//!
//! Where the bytes go and come from is the caller's: [`SegmentSink`] and [`SegmentSource`]. Bytes from a
//! source are never believed: each length is checked before it is used, and what does not hold is
//! [`Error::Corrupt`], with the segment's name and the offset.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod bloom;
mod error;
mod plugin;

pub mod block;
pub mod cursor;
pub mod merge;
pub mod read;
pub mod segment;

#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use plugin::Lscs;

/// A key, in bytes. The kernel's own bound is lower; this one keeps a corrupt block from growing
/// keys without end.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// A value, in bytes: above the kernel's bound, and far enough below 4 GiB for a block's `u32`s.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// One row of a run or a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key; rows are ordered by its bytes.
    pub key: Vec<u8>,
    /// The value; `None` says that the key was deleted (a tombstone).
    pub value: Option<Vec<u8>>,
}

/// Where the bytes of a new segment go.
pub trait SegmentSink {
    /// Appends `bytes` and returns the offset of the first of them; the first call's is 0.
    ///
    /// # Errors
    /// `Unavailable`, in the host's words. The segment is then given up.
    fn append(&mut self, bytes: &[u8]) -> Result<u64>;
}

/// Where the bytes of a sealed segment come from.
pub trait SegmentSource {
    /// The segment's name, for messages to people.
    fn name(&self) -> String;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`, in the host's words.
    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>>;
}
