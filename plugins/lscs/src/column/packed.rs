//! Numbers in as few bits as the largest needs, above a base: a frame of reference, bit-packed.
//!
//! | offset | size            | type | field   | meaning                                             |
//! |-------:|----------------:|------|---------|-----------------------------------------------------|
//! |      0 |               1 | u8   | `width` | bits per number: 0 to 32, or 40, 48, 56, 64         |
//! |      1 |               8 | i64  | `base`  | is added to each; a list of *codes* has none (zero) |
//! |      9 | (n width + 7)/8 | bits | `bits`  | number `i` is bits `i width` and on, least first    |
//!
//! How many numbers there are is known from elsewhere. `base` and the largest number of `width` bits have a
//! sum that is an `i64`, so no number wraps around and their order is the order of the bits.
//!
//! Widths above 32 are whole bytes: then eight bytes hold any number wherever it begins. One number is read
//! with one load; many are unpacked in groups of 32, by a loop that was unrolled for each width.
//!
//! Why not a crate: `tantivy-bitpacker` has no widths of 57 to 63 and panics past the end, `fastlanes` packs
//! 1,024 numbers at a time, more than most chunks have, and both use unsafe code.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u64};

use super::filter::Accept;
use super::mask;

/// Numbers that are unpacked at a time: four bytes for each bit of their width.
const GROUP: usize = 32;
/// Bytes that may be loaded past a group's own.
const SLACK: usize = 8;

/// Numbers as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    base: i64,
    width: u32,
    bits: &'a [u8],
}

/// The bits per number that numbers up to `span` need.
pub fn width_of(span: u64) -> u32 {
    match u64::BITS - span.leading_zeros() {
        width @ 0..=32 => width,
        width => width.next_multiple_of(8),
    }
}

/// Bytes of `len` packed numbers that are `span` apart at most, with their head.
pub fn size(len: usize, span: u64) -> usize {
    9 + codes_size(len, span) - 1
}

/// Bytes of `len` codes up to `span`, with their head.
pub fn codes_size(len: usize, span: u64) -> usize {
    1 + (len * width_of(span) as usize).div_ceil(8)
}

/// Appends `values`, none of which is below `min` or above `max`.
pub fn put(out: &mut Vec<u8>, values: &[i64], min: i64, max: i64) {
    let width = width_of(max.wrapping_sub(min) as u64);
    let base = if width == 64 { i64::MIN } else { min.min(i64::MAX - limit(width) as i64) };
    out.push(width as u8);
    put_u64(out, base as u64);
    put_bits(out, values, width, base);
}

/// Appends `codes`, none of which is negative or above `max`.
pub fn put_codes(out: &mut Vec<u8>, codes: &[i64], max: u64) {
    let width = width_of(max);
    out.push(width as u8);
    put_bits(out, codes, width, 0);
}

fn put_bits(out: &mut Vec<u8>, values: &[i64], width: u32, base: i64) {
    if width == 0 {
        return;
    }
    let (mut word, mut used) = (0u64, 0);
    out.reserve((values.len() * width as usize).div_ceil(8) + 8);
    for &value in values {
        let value = value.wrapping_sub(base) as u64;
        debug_assert!(value <= limit(width), "{value} in {width} bits");
        word |= value << used;
        used += width;
        if 64 <= used {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// The largest number of `width` bits, which is 0 to 64.
fn limit(width: u32) -> u64 {
    u64::MAX.checked_shr(64 - width).unwrap_or(0)
}

impl<'a> Packed<'a> {
    /// Reads the head of `len` numbers.
    pub fn read(reader: &mut Reader<'a>, len: usize) -> EncodingResult<Packed<'a>> {
        Packed::read_parts(reader, len, true)
    }

    /// Reads the head of `len` codes.
    pub fn read_codes(reader: &mut Reader<'a>, len: usize) -> EncodingResult<Packed<'a>> {
        Packed::read_parts(reader, len, false)
    }

    fn read_parts(
        reader: &mut Reader<'a>,
        len: usize,
        has_base: bool,
    ) -> EncodingResult<Packed<'a>> {
        let width = u32::from(reader.u8()?);
        if !matches!(width, 0..=32 | 40 | 48 | 56 | 64) {
            return Err(reader.corrupt("0 to 32, 40, 48, 56 or 64 bits", format!("{width}")));
        }
        let base = if has_base { reader.u64()? as i64 } else { 0 };
        if base.checked_add_unsigned(limit(width)).is_none() {
            return Err(reader.corrupt("numbers of 64 bits", format!("{width} above {base}")));
        }
        let bits = reader.bytes((len * width as usize).div_ceil(8))?;
        Ok(Packed { base, width, bits })
    }

    /// Bits per number.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The least number that these bits could say.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// Number `index`; past the end some number of as many bits.
    pub fn get(&self, index: usize) -> i64 {
        let bit = index * self.width as usize;
        let word = match self.bits.get(bit / 8..).and_then(<[u8]>::first_chunk) {
            Some(eight) => u64::from_le_bytes(*eight),
            None => self.last_word(bit / 8),
        };
        self.base.wrapping_add((word >> (bit % 8) & limit(self.width)) as i64)
    }

    /// The word at byte `at`, where fewer than eight are left.
    fn last_word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.bits.get(at..).unwrap_or_default();
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    }

    /// Unpacks the numbers from `start` on into `out`.
    pub fn unpack(&self, start: usize, out: &mut [i64]) {
        if self.width == 0 {
            return fill(out, self.base);
        }
        let head = (start.next_multiple_of(GROUP) - start).min(out.len());
        let (head, rest) = out.split_at_mut(head);
        self.part(start, head);
        let (groups, tail) = rest.as_chunks_mut::<GROUP>();
        let first = start.div_ceil(GROUP);
        let bytes = self.group_bytes();
        // The last groups have nothing behind them that could be loaded along.
        let loadable = self.bits.len().saturating_sub(SLACK) / bytes;
        let quick = loadable.saturating_sub(first).min(groups.len());
        let (quick, slow) = groups.split_at_mut(quick);
        if !quick.is_empty() {
            unpack_groups(self.width, self.base, &self.bits[first * bytes..], quick);
        }
        for (index, group) in slow.iter_mut().enumerate() {
            self.group(first + quick.len() + index, group);
        }
        self.part(start + head.len() + (quick.len() + slow.len()) * GROUP, tail);
    }

    fn group_bytes(&self) -> usize {
        self.width as usize * GROUP / 8
    }

    /// Unpacks numbers of one group, from `start` on.
    fn part(&self, start: usize, out: &mut [i64]) {
        if !out.is_empty() {
            let mut group = [0; GROUP];
            self.group(start / GROUP, &mut group);
            out.copy_from_slice(&group[start % GROUP..][..out.len()]);
        }
    }

    /// Unpacks group `index`; the last ones from a copy that has zeros behind it.
    fn group(&self, index: usize, out: &mut [i64; GROUP]) {
        let bytes = self.group_bytes();
        let rest = self.bits.get(index * bytes..).unwrap_or_default();
        if bytes + SLACK <= rest.len() {
            return unpack_groups(self.width, self.base, rest, std::slice::from_mut(out));
        }
        let mut copy = [0; 64 * GROUP / 8 + SLACK];
        let len = bytes.min(rest.len());
        copy[..len].copy_from_slice(&rest[..len]);
        unpack_groups(self.width, self.base, &copy, std::slice::from_mut(out));
    }

    /// Clears the bits of `mask` whose numbers are not accepted.
    pub fn filter(&self, test: &impl Accept, rows: usize, bits: &mut [u64]) {
        if let Some((low, high, invert)) = test.range() {
            let max = self.base.wrapping_add(limit(self.width) as i64);
            let outside = high < self.base || max < low;
            let inside = low <= self.base && max <= high;
            if (outside && !invert) || (inside && invert) {
                return bits.fill(0);
            }
            if outside || inside {
                return;
            }
        }
        mask::retain(bits, rows, |start, out| self.unpack(start, out), |values| test.word(values));
    }
}

/// Makes all of `out` the same: in WebAssembly faster than a loop over single values.
pub fn fill(out: &mut [i64], value: i64) {
    let (groups, rest) = out.as_chunks_mut::<16>();
    groups.iter_mut().for_each(|group| *group = [value; 16]);
    rest.fill(value);
}

/// The eight bytes of `input` from `at` on.
#[inline(always)]
fn load(input: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(input[at..at + 8].try_into().expect("eight bytes were taken"))
}

macro_rules! each_of_32 {
    ($body:ident) => {
        each_of_32!($body: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
    };
    ($body:ident: $($index:literal)*) => { $($body!($index);)* };
}

/// Unpacks groups of numbers of `WIDTH` bits, 1 to 32: each lies within the eight bytes from the last multiple
/// of four before it.
fn narrow<const WIDTH: usize>(base: i64, input: &[u8], out: &mut [[i64; GROUP]]) {
    for (index, group) in out.iter_mut().enumerate() {
        let input = &input[index * WIDTH * 4..][..WIDTH * 4 + SLACK];
        macro_rules! number {
            ($index:literal) => {
                let word = load(input, $index * WIDTH / 32 * 4) >> ($index * WIDTH % 32);
                group[$index] = base.wrapping_add((word & ((1 << WIDTH) - 1)) as i64);
            };
        }
        each_of_32!(number);
    }
}

/// Unpacks groups of numbers of `BYTES` bytes, 5 to 8.
fn wide<const BYTES: usize>(base: i64, input: &[u8], out: &mut [[i64; GROUP]]) {
    for (index, group) in out.iter_mut().enumerate() {
        let input = &input[index * BYTES * GROUP..][..BYTES * GROUP + SLACK];
        macro_rules! number {
            ($index:literal) => {
                let word = load(input, $index * BYTES) & (u64::MAX >> (64 - BYTES * 8));
                group[$index] = base.wrapping_add(word as i64);
            };
        }
        each_of_32!(number);
    }
}

/// Unpacks groups of `width` bits, not 0, from `input`, which has [`SLACK`] bytes behind the last.
fn unpack_groups(width: u32, base: i64, input: &[u8], out: &mut [[i64; GROUP]]) {
    macro_rules! widths {
        ($($width:literal)*) => {
            match width {
                $($width => narrow::<$width>(base, input, out),)*
                40 => wide::<5>(base, input, out),
                48 => wide::<6>(base, input, out),
                56 => wide::<7>(base, input, out),
                64 => wide::<8>(base, input, out),
                _ => unreachable!("a width of {width} bits was refused when it was read"),
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}
