//! Bytes that are shared instead of copied.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that were read: cheap to clone, shared with the memtable or page they came from.
#[derive(Clone)]
pub struct Slice {
    owner: Arc<[u8]>,
    start: u32,
    len: u32,
}

impl Slice {
    /// The part of `owner` from `start` on, `len` bytes long.
    ///
    /// # Panics
    /// When `owner` is shorter than that.
    #[inline]
    pub fn part(owner: Arc<[u8]>, start: usize, len: usize) -> Slice {
        assert!(start + len <= owner.len(), "a slice of {start}+{len} in {} bytes", owner.len());
        let start = u32::try_from(start).expect("values are bounded far below 4 GiB");
        let len = u32::try_from(len).expect("values are bounded far below 4 GiB");
        Slice { owner, start, len }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
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
