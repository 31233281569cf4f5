//! A range of keys, as scans take it.

use std::ops::{Bound, RangeBounds};

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
    pub fn is_behind_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => start.as_slice() <= key,
            Bound::Excluded(start) => start.as_slice() < key,
            Bound::Unbounded => true,
        }
    }

    /// Whether `key` does not lie behind the end of the range.
    pub fn is_before_end(&self, key: &[u8]) -> bool {
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
