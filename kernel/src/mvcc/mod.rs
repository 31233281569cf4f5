//! Which version of a row a snapshot sees.
//!
//! A [`version::Version`] is everything a reader needs: for each table the memtable being written, the
//! frozen ones on their way to disk, and the checkpointed base. Readers pin one with a timestamp and take
//! none of the database's locks again (the page cache has short ones of its own); writers only add rows
//! with greater timestamps, which the reader skips.
//!
//! ```text
//!   commit ──▶ active memtable ──freeze──▶ frozen memtables ──checkpoint──▶ base (tree or segments)
//!   read   ──▶ active, then frozen from new to old, then base: the first that knows the key answers
//! ```

pub(crate) mod memtable;
pub(crate) mod merge;
pub(crate) mod version;
