//! LSCS, the log-structured column store: the algorithm, in plain Rust, without any WIT types. `plugin`
//! is the glue that makes it a plugin.
//!
//! The engine is a pure function from sorted runs to immutable segments, and from a list of segments
//! (oldest first, later hides earlier) to rows and columns. It keeps no state of its own:
//!
//! ```text
//!   run ----> pieces::PieceWriter ---> PieceSink       a flush: sorted rows in, segments out
//!   list ---> plan::plan, merge::merge                 a compaction: some segments into others
//!   keys ---> read::TableReader::multi_get             a point read: bloom -> index -> one block per run
//!   range --> cursor::Cursor, columns::ColumnCursor    a scan: spans of blocks, the newest row wins
//! ```
//!
//! ```text
//!   a table    run (oldest) ... run (newest)           plan: runs are levels; spans: runs as one
//!   a run      segment | segment | segment             keys grow from segment to segment
//!   a segment  block | ... | index | bloom | zones | statistics | properties | footer
//!   a block    head: rows, directory, keys | chunk of column 1 | chunk of column 2 | ...
//! ```
//!
//! Where the bytes go and come from is the caller's: [`PieceSink`], [`SegmentSink`] and [`SegmentSource`].
//! Bytes from a source are never believed: each length is checked before it is used, and what does not hold is
//! [`Error::Corrupt`], with the segment's name and the offset.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod bloom;
mod chunk;
mod error;
mod keys;
mod pick;
mod plugin;
mod sketch;
mod spans;
mod stats;
mod typed;
mod zone;

pub mod block;
pub mod column;
pub mod columns;
pub mod cursor;
pub mod merge;
pub mod options;
pub mod pieces;
pub mod plan;
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

/// Where the bytes of a new segment go.
pub trait SegmentSink {
    /// Appends `bytes` and returns the offset of the first of them; the first call's is 0.
    ///
    /// # Errors
    /// `Unavailable`, in the host's words. The segment is then given up.
    fn append(&mut self, bytes: &[u8]) -> Result<u64>;
}

/// Where new segments go, one after the other, in the order of their keys.
pub trait PieceSink {
    /// A segment under construction.
    type Out: SegmentSink;

    /// Begins a segment.
    ///
    /// # Errors
    /// `Unavailable`, in the host's words. Everything is then given up.
    fn create(&mut self) -> Result<Self::Out>;

    /// Ends a segment.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    fn seal(&mut self, segment: Self::Out) -> Result<()>;
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
