//! The ACID core of SochDB: small enough that one person can audit it, and nothing else.
//!
//! What it promises, and where each promise is kept:
//!
//! | promise                                                    | kept in                              |
//! |------------------------------------------------------------|--------------------------------------|
//! | a commit that returned survives any crash                  | `wal`, `recovery`                    |
//! | a transaction happens wholly or not at all                 | `wal::record`, `recovery`            |
//! | a snapshot never changes and never shows the unfinished    | `transaction`, `mvcc`                |
//! | of two writers of one row, one gets `Conflict`             | `transaction`                        |
//! | [`Kernel::run`] makes progress, however hot the row        | `engine`                             |
//! | broken bytes are an error, never a wrong row               | `page`, `tree`, `segment`            |
//! | a checkpoint is there wholly or not at all                 | `checkpoint`, `page::meta`           |
//! | a loaded table is there with all of its rows, or not       | `bulk_load`                          |
//! | a plugin cannot lose a commit                              | `checkpoint`, [`plugin`]             |
//! | opening takes time for the log since the last checkpoint   | `recovery`, watched through `boot`   |
//! | nothing is reused while somebody still reads it            | `pins`, `page::space`, `wal`         |
//! | memory, keys, values and waits have bounds                 | [`limits`], [`Options`]              |
//!
//! What is not needed to keep a commit safe lives outside, in the crate `sochdb-operations` (check, backup,
//! restore, repair, change feed, boot, health) and the crate `sochdb-claims`; [`inspect`] is their door.
//!
//! A commit goes down; a value comes up; plugins meet the data only at a checkpoint:
//!
//! ```text
//!   commit                                         value
//!     transaction  gathers the write set             ^  mvcc    newest version the snapshot may see
//!     mvcc         validates, else Conflict          |  plugin  memtables first, then tree or segments
//!     wal          append, one sync for the group    |  page    a page whose checksum holds
//!     mvcc         publishes the commit timestamp    |  vfs     read_at
//!     checkpoint   later: run -> segments -> flip  snapshot pins a version
//! ```
//!
//! The kernel has never heard of WebAssembly, starts no thread, and contains no `unsafe`. Files, clock and
//! seed come in through an [`Environment`].
//!
//! ```
//! use sochdb_kernel::{Environment, Kernel, Options, TableOptions};
//!
//! # fn main() -> sochdb_kernel::KernelResult<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("db");
//! let kernel = Kernel::open(Environment::disk(path), Options::default())?;
//! kernel.create_table("users", TableOptions::default())?;
//! kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
//!
//! let tx = kernel.begin_read()?;
//! assert_eq!(tx.get("users", b"ada")?.unwrap(), b"countess");
//! kernel.close()
//! # }
//! ```

#![forbid(unsafe_code)]

mod boot;
mod bulk_load;
mod catalog;
mod checkpoint;
mod engine;
mod environment;
mod error;
pub mod inspect;
mod kernel_api;
pub mod limits;
mod mvcc;
mod page;
mod pins;
pub mod plugin;
mod recovery;
mod segment;
mod stats;
mod transaction;
mod tree;
pub mod vfs;
mod wal;

pub use boot::{BootObserver, BootPhase, RecoveryMode};
pub use catalog::{TableInfo, TableOptions};
pub use checkpoint::CheckpointReport;
pub use engine::{Kernel, Options};
pub use environment::{Clock, Environment, SystemClock};
pub use error::{ErrorKind, KernelError, KernelResult, PluginFault};
pub use kernel_api::{
    IsolationLevel, KeyRange, SegmentId, Slice, TableId, Timestamp, TransactionId,
};
pub use recovery::RecoveryReport;
pub use sochdb_encoding::row::{self, Column, ColumnType, Schema, Value};
pub use stats::KernelStats;
pub use transaction::{Savepoint, Scan, Transaction, TransactionOptions};
pub use wal::Durability;

/// The kernel's own version.
pub const KERNEL_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the traits in [`plugin`]; grows when one of them changes.
pub const KERNEL_API_VERSION: u32 = 1;
/// Lines of code that the kernel stays below, so that one person can audit it.
pub const MAX_KERNEL_LOC: usize = 5000;
