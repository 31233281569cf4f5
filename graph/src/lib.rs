//! Proximity graphs over numbered entries: HNSW and Vamana, as plain algorithms for index plugins.
//!
//! An *entry* is a number from 0 on. What it stands for, and how near two entries are, only the caller knows:
//! it is asked for many distances at once, because each call may cross the boundary of a sandbox.
//!
//! ```text
//!   build    Space (entry to entries)  ──▶ insert one by one ──▶ connect ──▶ shrink ──▶ Graph ──▶ bytes
//!   merge    parts: older graphs       ──▶ take over the largest ──▶ insert the others ──▶ as above
//!   search   Target (query to entries) ──▶ walk from the start, layer by layer, nearest first
//! ```
//!
//! Both kinds of graph are one thing here: rows of links on a ground layer that has every entry, and on zero or
//! more upper layers that have ever fewer of them.
//!
//! | | HNSW | Vamana |
//! |---|---|---|
//! | upper layers | one for about every `m`-th entry, and so on | none |
//! | the walk begins | at an entry of the top layer | at the medoid |
//! | candidates for links | the `ef_construction` nearest that a walk finds | the `l` nearest |
//! | a link is too much when | a nearer neighbour is nearer to it | by the factor `alpha` |
//! | links of an entry | up to `m0`, of which `m` are its own choice | up to `r` |
//!
//! | room        | what is in it                                                          |
//! |-------------|------------------------------------------------------------------------|
//! | `options`   | the settings of both, their defaults and bounds                        |
//! | `links`     | rows of links in memory                                                |
//! | `pool`      | the nearest entries seen so far; which were visited                    |
//! | `walk`      | the beam search that building and searching share                      |
//! | `prune`     | which of many candidates become links                                  |
//! | `growing`   | a graph that entries are inserted into                                 |
//! | `merge`     | taking over an older graph whose entries have other numbers, or none   |
//! | `connect`   | every entry can be reached                                             |
//! | `build`     | the order of all that                                                  |
//! | `format`    | a graph as bytes                                                       |
//! | `paged`     | rows of links that are read when they are needed                       |
//! | `searcher`  | a written graph, open for searching                                    |
//!
//! The same entries, settings and seed give the same graph.
//!
//! Sources: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using Hierarchical
//! Navigable Small World graphs"; Subramanya et al. 2019, "DiskANN: Fast accurate billion-point nearest neighbor
//! search on a single node"; Singh et al. 2021, "FreshDiskANN", for deleting.

#![forbid(unsafe_code)]

mod build;
mod connect;
mod error;
mod format;
mod growing;
mod links;
mod merge;
mod options;
mod paged;
mod pool;
mod prune;
mod searcher;
mod walk;

pub use build::{Part, build};
pub use error::{Error, Result};
pub use format::{FOOTER_BYTES, MAGIC, VERSION};
pub use growing::Graph;
pub use options::{Hnsw, Kind, LINKS_MAX, Options, Vamana};
pub use searcher::{Memory, Searcher};

/// For an entry of a [`Part`]: it is gone.
pub const GONE: u32 = u32::MAX;

/// The most entries a graph can have: a number's highest bit marks what a walk has done with it.
pub const ENTRIES_MAX: u32 = i32::MAX as u32;

/// How many distances are asked for at once, at most.
pub const BATCH_MAX: usize = 1024;

/// The entries that a graph is built of. They are numbered from 0 to `len() - 1`.
pub trait Space {
    /// How many there are.
    fn len(&self) -> u32;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds to `out` how far entry `number` is from each of `others`, in their order: the smaller the nearer.
    /// There are at most [`BATCH_MAX`] of them.
    ///
    /// # Errors
    /// [`Error::Failed`] when the distances cannot be had.
    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()>;
}

/// What a search is for.
pub trait Target {
    /// Adds to `out` how far the target is from each of `numbers`, in their order: the smaller the nearer. There
    /// are at most [`BATCH_MAX`] of them.
    ///
    /// # Errors
    /// [`Error::Failed`] when the distances cannot be had.
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> Result<()>;
}

/// Where the bytes of a graph go.
pub trait Sink {
    /// Appends `bytes`, at most 256 KiB of them.
    ///
    /// # Errors
    /// [`Error::Failed`]; the graph is then given up.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
}

/// The bytes of a written graph.
pub trait Blob {
    /// How many there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `len` bytes from `offset` on, at most 256 KiB of them.
    ///
    /// # Errors
    /// [`Error::Failed`] when they cannot be had.
    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>>;
}
