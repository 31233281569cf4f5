//! The ids nobody can mix up, and the small types every room shares.

use sochdb_encoding::EncodingResult;
use sochdb_encoding::codec::{Reader, Wire};
pub use sochdb_encoding::range::KeyRange;
pub use sochdb_encoding::slice::Slice;
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
                Wire::take(reader).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// The number of one transaction that wrote something, unique over the database's whole life.
    TransactionId
}
id! {
    /// When a transaction committed: 1, 2, 3 and so on in commit order. A snapshot at `t` sees every
    /// commit up to and including `t`.
    Timestamp
}
id! {
    /// A table's number. Never used again after the table is dropped; 0 is the catalog itself.
    TableId
}
id! {
    /// A segment's number. Never used again.
    SegmentId
}

/// Which anomalies a transaction is protected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// Each read sees the newest committed rows; writes never conflict.
    ReadCommitted,
    /// All reads see one snapshot; of two writers of one row the first to commit wins.
    RepeatableRead,
    /// The same as [`RepeatableRead`](Self::RepeatableRead) in this kernel, by its usual name.
    #[default]
    SnapshotIsolation,
    /// As if transactions ran one after the other in the order of their commits.
    Serializable,
}
