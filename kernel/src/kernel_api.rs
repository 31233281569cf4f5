//! The ids nobody can mix up, and the small types every room shares.

use sochdb_encoding::EncodingResult;
use sochdb_encoding::codec::{Reader, Wire};
use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

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

/// Bytes that were read: cheap to clone, shared with the memtable or page they came from.
#[derive(Clone)]
pub struct Slice {
    owner: Arc<[u8]>,
    start: u32,
    len: u32,
}

impl Slice {
    /// The part of `owner` from `start` on, `len` bytes long.
    pub(crate) fn part(owner: Arc<[u8]>, start: usize, len: usize) -> Slice {
        assert!(start + len <= owner.len(), "a slice of {start}+{len} in {} bytes", owner.len());
        let start = u32::try_from(start).expect("values are bounded far below 4 GiB");
        let len = u32::try_from(len).expect("values are bounded far below 4 GiB");
        Slice { owner, start, len }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner[self.start as usize..][..self.len as usize]
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        let len = bytes.len();
        Slice::part(bytes.into(), 0, len)
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        Slice::part(bytes.into(), 0, bytes.len())
    }
}

impl<B: AsRef<[u8]> + ?Sized> PartialEq<B> for Slice {
    fn eq(&self, other: &B) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Slice {}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A range of keys, each end open, closed or absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// Where the range begins.
    pub start: Bound<Vec<u8>>,
    /// Where the range ends.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return KeyRange {
                    start: Bound::Included(prefix.to_vec()),
                    end: Bound::Excluded(end),
                };
            }
        }
        KeyRange { start: Bound::Included(prefix.to_vec()), end: Bound::Unbounded }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.is_behind_start(key) && self.is_before_end(key)
    }

    /// Whether `key` does not lie before the start of the range.
    pub(crate) fn is_behind_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => start.as_slice() <= key,
            Bound::Excluded(start) => start.as_slice() < key,
            Bound::Unbounded => true,
        }
    }

    /// Whether `key` does not lie behind the end of the range.
    pub(crate) fn is_before_end(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        }
    }

    /// Whether no key can lie in the range. `BTreeMap::range` panics on these, so ask first.
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(s), Bound::Included(e)) => e < s,
            (Bound::Included(s) | Bound::Excluded(s), Bound::Excluded(e))
            | (Bound::Excluded(s), Bound::Included(e)) => e <= s,
            _ => false,
        }
    }
}

macro_rules! from_range {
    ($range:ident) => {
        impl<K: AsRef<[u8]>> From<std::ops::$range<K>> for KeyRange {
            fn from(range: std::ops::$range<K>) -> KeyRange {
                let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
                KeyRange { start: own(range.start_bound()), end: own(range.end_bound()) }
            }
        }
    };
}

from_range!(Range);
from_range!(RangeInclusive);
from_range!(RangeFrom);
from_range!(RangeTo);
from_range!(RangeToInclusive);

impl From<std::ops::RangeFull> for KeyRange {
    fn from(_: std::ops::RangeFull) -> KeyRange {
        KeyRange::all()
    }
}
