//! Little-endian reads and writes, shared by every byte format of the kernel, and CRC-32C.
//!
//! Writing appends to a `Vec<u8>` and cannot fail. Reading goes through a [`Reader`], which knows the
//! file and the offset its bytes came from, checks every length before it takes a byte, and answers
//! `Corrupt` with that place instead of panicking. It hands out slices and never allocates.
//!
//! | item     | bytes                                                                              |
//! |----------|------------------------------------------------------------------------------------|
//! | `u8`..   | fixed width, little-endian                                                         |
//! | varint   | LEB128: 7 bits a byte from the lowest, high bit set on all but the last; 1 to 10   |
//! | prefixed | a varint length, then so many bytes                                                |
//!
//! Invariants:
//! 1. One value has one encoding: a varint with needless bytes is refused.
//! 2. A read that fails takes nothing, and its error names where the item began.

use crate::{EncodingError, EncodingResult};
use std::collections::BTreeMap;

/// CRC-32C (Castagnoli) of `bytes`: the checksum of every format on disk.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32C of `bytes` with the last four moved to the front: the checksum of bytes that are somebody
/// else's, such as values and segments.
///
/// The plain checksum of bytes that end with their own plain checksum is the same whatever they are
/// (the residue), so it would not tell two of them apart.
pub fn tail_first_crc(bytes: &[u8]) -> u32 {
    let (body, tail) = bytes.split_at(bytes.len().saturating_sub(4));
    crc32c::crc32c_append(crc(tail), body)
}

/// Appends `value` in two bytes.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` in four bytes.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` in eight bytes.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` as a varint of one to ten bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `bytes` behind their length as a varint.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes items from the front of bytes that came from a file, and says where when one is not there.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    file: &'a str,
    offset: u64,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, whose first lies at `offset` (in bytes) of the file `file`.
    pub fn new(file: &'a str, offset: u64, bytes: &'a [u8]) -> Self {
        Reader { file, offset, bytes }
    }

    /// Where in the file the next byte lies.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes not yet taken.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// `Corrupt`: the next item should be `expected` and is `found`.
    pub fn corrupt(&self, expected: impl Into<String>, found: impl Into<String>) -> EncodingError {
        EncodingError::corrupt(self.file, self.offset, expected, found)
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// `Corrupt` when fewer are left.
    pub fn bytes(&mut self, len: usize) -> EncodingResult<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            let left = self.bytes.len();
            return Err(self.corrupt(format!("{len} bytes"), format!("the end after {left}")));
        };
        self.bytes = rest;
        self.offset = self.offset.saturating_add(len as u64);
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// `Corrupt` when fewer are left.
    pub fn array<const N: usize>(&mut self) -> EncodingResult<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("`bytes` returns as many as it was asked for"))
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// `Corrupt` when none is left.
    pub fn u8(&mut self) -> EncodingResult<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Takes two bytes.
    ///
    /// # Errors
    /// `Corrupt` when fewer are left.
    pub fn u16(&mut self) -> EncodingResult<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// `Corrupt` when fewer are left.
    pub fn u32(&mut self) -> EncodingResult<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// `Corrupt` when fewer are left.
    pub fn u64(&mut self) -> EncodingResult<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a varint.
    ///
    /// # Errors
    /// `Corrupt` when it is cut, longer than it need be, or passes 64 bits.
    pub fn varint(&mut self) -> EncodingResult<u64> {
        let mut value = 0;
        for (index, &byte) in self.bytes.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if (byte == 0 && index > 0) || (index == 9 && byte > 1) {
                    break;
                }
                self.bytes(index + 1)?;
                return Ok(value);
            }
        }
        let found = &self.bytes[..self.bytes.len().min(10)];
        Err(self.corrupt("a varint", format!("the bytes {found:02x?}")))
    }

    /// Takes a varint length of at most `bytes_max` and so many bytes.
    ///
    /// # Errors
    /// `Corrupt` when the length is no varint, passes `bytes_max`, or fewer bytes are left.
    pub fn prefixed(&mut self, bytes_max: usize) -> EncodingResult<&'a [u8]> {
        let mut ahead = self.clone();
        let len = ahead.varint()?;
        if len > bytes_max as u64 {
            return Err(self.corrupt(format!("at most {bytes_max} bytes"), format!("{len}")));
        }
        let taken = ahead.bytes(len as usize)?;
        *self = ahead;
        Ok(taken)
    }

    /// Checks that every byte was taken.
    ///
    /// # Errors
    /// `Corrupt` when some are left.
    pub fn end(&self) -> EncodingResult<()> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(self.corrupt("the end", format!("{left} more bytes"))),
        }
    }
}

/// A value with one encoding, read back by its type alone.
pub trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a value.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are none.
    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self>;

    /// The value's bytes.
    fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }
}

macro_rules! wire_integer {
    ($($type:ty)*) => {$(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
                reader.array().map(<$type>::from_le_bytes)
            }
        }
    )*};
}

wire_integer!(u8 u16 u32 u64);

impl<const N: usize> Wire for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        reader.array()
    }
}

/// A length as a varint, then UTF-8.
impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        let bytes = reader.prefixed(usize::MAX)?.to_vec();
        String::from_utf8(bytes).map_err(|_| reader.corrupt("UTF-8", "other bytes"))
    }
}

/// One byte, 0 or 1, then the value if it is 1.
impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        self.iter().for_each(|value| value.put(out));
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        match reader.u8()? {
            0 => Ok(None),
            1 => T::take(reader).map(Some),
            other => Err(reader.corrupt("0 or 1", format!("{other}"))),
        }
    }
}

/// As a vector of its pairs, in order of keys.
impl<K: Wire + Ord + Clone, V: Wire + Clone> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        let pairs: Vec<(K, V)> = self.clone().into_iter().collect();
        pairs.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        let pairs = <Vec<(K, V)>>::take(reader)?;
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(reader.corrupt("keys that grow", "others"));
        }
        Ok(pairs.into_iter().collect())
    }
}

/// A count as a varint, then the values.
impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        // Nothing is reserved up front: each value takes at least a byte, or the bytes run out.
        (0..reader.varint()?).map(|_| T::take(reader)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Self> {
        Ok((A::take(reader)?, B::take(reader)?))
    }
}

/// Declares structs whose encoding is their fields', one behind the other.
#[macro_export]
macro_rules! wire_structs {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::codec::Wire::put(&self.$field, out);)*
            }

            fn take(reader: &mut $crate::codec::Reader<'_>) -> $crate::EncodingResult<Self> {
                Ok($name { $($field: $crate::codec::Wire::take(reader)?,)* })
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::collection::vec;
    use proptest::prelude::*;

    fn take_all(bytes: &[u8]) -> EncodingResult<(u8, u16, u32, u64, u64, Vec<u8>)> {
        let mut reader = Reader::new("wal/7.wal", 100, bytes);
        let items = (
            reader.u8()?,
            reader.u16()?,
            reader.u32()?,
            reader.u64()?,
            reader.varint()?,
            reader.prefixed(8)?.to_vec(),
        );
        reader.end()?;
        Ok(items)
    }

    #[test]
    fn the_checksum_with_the_tail_first_tells_apart_what_checks_itself() {
        let checked = |text: &str| [text.as_bytes(), &crc(text.as_bytes()).to_le_bytes()].concat();
        let (one, other) = (checked("cosine"), checked("euclid"));
        assert_eq!(crc(&one), crc(&other), "the plain one does not");
        assert_ne!(tail_first_crc(&one), tail_first_crc(&other));
        assert_eq!(tail_first_crc(b"89123456789"), crc(b"67898912345"));
        assert_eq!([tail_first_crc(b""), tail_first_crc(b"1234")], [crc(b""), crc(b"1234")]);
    }

    fn sample() -> Vec<u8> {
        let mut out = vec![1];
        put_u16(&mut out, 0x0302);
        put_u32(&mut out, 0x0706_0504);
        put_u64(&mut out, 0x0f0e_0d0c_0b0a_0908);
        put_varint(&mut out, 300);
        put_bytes(&mut out, b"soch");
        out
    }

    #[test]
    fn items_are_little_endian_and_come_back() {
        let bytes = sample();
        assert_eq!(
            bytes,
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\xac\x02\x04soch"
        );
        let expected = (1, 0x0302, 0x0706_0504, 0x0f0e_0d0c_0b0a_0908, 300, b"soch".to_vec());
        assert_eq!(take_all(&bytes).unwrap(), expected);
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_corrupt_with_file_and_offset() {
        let mut bytes = sample();
        for cut in 0..bytes.len() {
            let error = take_all(&bytes[..cut]).unwrap_err();
            let EncodingError::Corrupt { file, offset, .. } = error else { panic!("{error}") };
            assert_eq!(file, "wal/7.wal");
            assert!((100..=100 + cut as u64).contains(&offset), "cut at {cut}, error at {offset}");
        }
        bytes.push(0);
        assert_eq!(take_all(&bytes).unwrap_err().kind(), "Corrupt");
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new("f", 0, &[9, 1, 2]);
        assert!(
            reader.u32().is_err() && reader.prefixed(4).is_err() && reader.prefixed(100).is_err()
        );
        assert_eq!((reader.offset(), reader.rest()), (0, &[9, 1, 2][..]));
    }

    #[test]
    fn varints_have_one_encoding() {
        let varint = |bytes: &[u8]| Reader::new("f", 0, bytes).varint();
        let greatest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&greatest).unwrap(), u64::MAX);
        let mut too_great = greatest;
        too_great[9] = 0x02;
        for bad in [&[][..], &[0x80], &[0x80, 0x00], &[0xff, 0x80, 0x00], &too_great, &[0xff; 11]] {
            assert_eq!(varint(bad).unwrap_err().kind(), "Corrupt", "{bad:02x?}");
        }
    }

    #[test]
    fn crc_is_castagnoli() {
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn varints_and_bytes_round_trip(value: u64, bytes in vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new("f", 0, &out);
            prop_assert_eq!(reader.varint().unwrap(), value);
            prop_assert_eq!(reader.prefixed(300).unwrap(), &bytes[..]);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(bytes in vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new("f", u64::MAX, &bytes);
            if let Ok(value) = reader.varint() {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
            let _ = take_all(&bytes);
        }
    }
}
