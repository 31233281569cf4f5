//! What an index plugin is asked, as the host's code sees it.
//!
//! ```text
//!   build    entries, and what was built of some of them before  ──▶ one segment
//!   open     entries and that segment                            ──▶ a searcher
//!   search   a query, how many, how hard, who is allowed         ──▶ numbers of entries
//! ```
//!
//! A plugin knows entries by their numbers. It never sees a key, a transaction or a version: which entries may
//! be seen is given to it as bits, and what it answers is checked against them.

use crate::definition::IndexDefinition;
use crate::entries::{Entries, Query};
use sochdb_kernel::plugin::{Extension, SegmentRead, SegmentSink};
use sochdb_kernel::{KernelResult, KeyRange, SegmentId};
use std::sync::Arc;

/// The number of an entry that is gone.
pub const GONE: u32 = u32::MAX;

/// What a plugin made of some of the entries before.
pub struct Part {
    /// What it wrote.
    pub segment: Arc<dyn SegmentRead>,
    /// For each of the entries it was made of: the number that it has now, or [`GONE`].
    pub numbers: Vec<u32>,
}

/// A plugin that finds entries by what is in them.
pub trait IndexExtension: Extension {
    /// Whether it can build such an index, and the settings that are the plugin's make sense.
    ///
    /// # Errors
    /// `Invalid` that names what is wrong.
    fn check(&self, index: &IndexDefinition) -> KernelResult<()>;

    /// Writes one segment from which `entries` can be searched. `parts`, the largest first, are what this plugin
    /// or another one made of some of them before; it uses those that it can read.
    ///
    /// # Errors
    /// Any; the entries are then looked at one by one, and it is tried again.
    fn build(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        parts: Vec<Part>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<SegmentId>;

    /// Opens what was built from `entries`.
    ///
    /// # Errors
    /// `Corrupt` when it is not what the plugin writes.
    fn open(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>>;
}

/// One segment of an index, open for searching by any number of threads.
pub trait IndexSearcher: Send + Sync {
    /// The at least `k` allowed entries that are nearest to `query`, as far as `effort` finds them, nearest
    /// first. Entry `i` is allowed if bit `i % 64` of `allowed[i / 64]` is set; without any words all are.
    ///
    /// # Errors
    /// Any; the entries are then looked at one by one.
    fn search(
        &self,
        query: &Arc<Query>,
        k: usize,
        effort: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>>;

    /// The first `limit` allowed entries whose value lies in `range`, by value and then by number.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn lookup(
        &self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>>;

    /// What is worth knowing of it: names and numbers.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn stats(&self) -> KernelResult<Vec<(String, f64)>>;
}
