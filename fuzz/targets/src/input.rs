//! Takes decisions from the front of a fuzzer's bytes; once they are used up, every answer is zero.

/// The bytes not yet used.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.bytes(N);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        self.number::<2>() as u16
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.number::<8>()
    }

    /// Bytes behind their length, which takes one byte.
    pub fn short(&mut self) -> &'a [u8] {
        let count = usize::from(self.u8());
        self.bytes(count)
    }
}
