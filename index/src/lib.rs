//! Indexes of tables, inside transactions.
//!
//! An index is a hidden table of marks, written in the same transaction as the rows it is of. So the kernel, which
//! knows nothing of indexes, keeps them: what a transaction sees, what survives a crash and what an old snapshot
//! still shows is decided for marks as for any other row. What is particular is how the table is stored and read:
//!
//! ```text
//!   write ──▶ the row, and a mark of it in the index's table         marks     one commit
//!   flush ──▶ marks, and the values of their rows ──▶ entries         engine    segments, without a graph
//!   merge ──▶ entries ──▶ a plugin builds a graph of them             plan, engine, extension
//!   search ─▶ what is marked but not in segments, row by row          waiting
//!         ├─▶ which entries may be found, as bits                     waiting, filter
//!         └─▶ segments: a plugin walks its graph                      search
//! ```
//!
//! The host keeps keys, vectors and codes, and does the arithmetic; a plugin knows entries by number and finds
//! out whom to compare with whom. Whatever it answers, a search shows rows that its transaction sees, with their
//! own distances; without it every entry is looked at. So a plugin makes an index fast, and cannot make it wrong.

#![forbid(unsafe_code)]

mod built;
mod column;
mod engine;
mod filter;
mod make;
mod marks;
mod plan;
mod reader;
mod search;
mod segment;
mod stats;
mod verify;
mod waiting;

pub mod definition;
pub mod entries;
pub mod extension;
pub mod vectors;

pub use built::{Built, built};
pub use definition::{IndexDefinition, IndexKind};
pub use engine::IndexEngine;
pub use entries::{Entries, Query};
pub use extension::{IndexExtension, IndexSearcher};
pub use make::{Backfilled, IndexState, backfill_step, create, drop, finish, indexes_of};
pub use marks::TableIndexes;
pub use search::{EFFORT_MAX, Hit, K_MAX, Lookup, VectorSearch, lookup, search};
pub use stats::{IndexStats, SegmentStats, stats};
pub use vectors::{CodeKind, Element, Metric};
pub use verify::{Verified, verify};
