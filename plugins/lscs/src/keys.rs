//! The keys of a block: found without decoding any but the few a search meets.
//!
//! Two encodings. **Packed** (1), when all keys of the block have one length and, behind the bytes they all
//! begin with, at most 8 more: those are a big-endian number, and the block has the differences to the
//! least, each in as many bits as the greatest needs. A search compares numbers where they lie.
//!
//! | offset | size             | type  | field    | meaning                                                |
//! |-------:|-----------------:|-------|----------|--------------------------------------------------------|
//! |      0 |                4 | u32   | `prefix` | bytes that all keys begin with                         |
//! |      4 |                1 | u8    | `rest`   | bytes behind them, 0 to 8                              |
//! |      5 |                1 | u8    | `width`  | bits of each difference, 0 to 64                       |
//! |      6 |                2 |       | zero     |                                                        |
//! |      8 |                8 | u64   | `base`   | the first key's rest as a number                       |
//! |     16 |         `prefix` | bytes |          | the bytes themselves                                   |
//! |      . | rows width / 8, up | bits |         | differences to `base`, least bit first, no gaps        |
//! |      . |                8 |       | zero     | so that 8 bytes can be read from any difference on     |
//!
//! **Front-coded** (2), for all others: a row is what it shares with the row before it, and a suffix; each
//! sixteenth row, a *restart*, shares nothing, so a search decodes sixteen keys at most.
//!
//! | size            | type | meaning                                                |
//! |----------------:|------|--------------------------------------------------------|
//! |               . |      | per row: varint bytes shared, then the suffix prefixed by its length |
//! | 4 (rows + 15) / 16 | u32 | where rows 0, 16, 32... begin                         |
//!
//! Source: restart points as in LevelDB's `block_builder.cc`.

use std::cmp::Ordering;
use std::ops::Range;

use sochdb_guest::encoding::codec::{Reader, put_bytes, put_u32, put_u64, put_varint};

use crate::KEY_BYTES_MAX;

/// Rows from one restart to the next.
const RESTART_ROWS: usize = 16;
const PACKED: u8 = 1;
const FRONT_CODED: u8 = 2;
const PACKED_HEADER_BYTES: usize = 4 + 1 + 1 + 2 + 8;
const PADDING_BYTES: usize = 8;

/// What is wrong with some bytes; whoever knows where they came from makes an error of it.
pub(crate) type Broken = &'static str;

/// Byte strings, one behind the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Strings {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn push(&mut self, string: &[u8]) {
        append(&mut self.data, string);
        self.ends.push(self.data.len() as u32);
    }

    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.data[start..self.ends[index] as usize]
    }

    pub fn last(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|index| self.get(index))
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

/// The encoding's number and bytes for the keys `rows` of `keys`, which ascend.
pub(crate) fn encode(keys: &Strings, rows: Range<usize>) -> (u8, Vec<u8>) {
    match encode_packed(keys, rows.clone()) {
        Some(bytes) => (PACKED, bytes),
        None => (FRONT_CODED, encode_front_coded(keys, rows)),
    }
}

fn encode_packed(keys: &Strings, rows: Range<usize>) -> Option<Vec<u8>> {
    let (first, last) = (keys.get(rows.start), keys.get(rows.end - 1));
    let prefix = shared(first, last);
    let rest = first.len() - prefix;
    let one_length = || rows.clone().all(|row| keys.get(row).len() == first.len());
    if 8 < rest || last.len() != first.len() || !one_length() {
        return None;
    }
    let number = |row: usize| big_endian(&keys.get(row)[prefix..]);
    let base = number(rows.start);
    let width = 64 - (number(rows.end - 1) - base).leading_zeros();
    let mut out = Vec::with_capacity(32 + prefix + rows.len() * width as usize / 8);
    put_u32(&mut out, prefix as u32);
    out.extend([rest as u8, width as u8, 0, 0]);
    put_u64(&mut out, base);
    out.extend_from_slice(&first[..prefix]);
    let (mut held, mut bits) = (0u128, 0);
    for row in rows {
        held |= u128::from(number(row) - base) << bits;
        bits += width;
        if 64 <= bits {
            put_u64(&mut out, held as u64);
            held >>= 64;
            bits -= 64;
        }
    }
    let left = (bits as usize).div_ceil(8);
    out.extend_from_slice(&(held as u64).to_le_bytes()[..left]);
    out.extend([0; PADDING_BYTES]);
    Some(out)
}

fn encode_front_coded(keys: &Strings, rows: Range<usize>) -> Vec<u8> {
    let (mut out, mut restarts, start) = (Vec::new(), Vec::new(), rows.start);
    for row in rows {
        let key = keys.get(row);
        let mut same = 0;
        if (row - start).is_multiple_of(RESTART_ROWS) {
            restarts.push(out.len() as u32);
        } else {
            same = shared(keys.get(row - 1), key);
        }
        put_varint(&mut out, same as u64);
        put_bytes(&mut out, &key[same..]);
    }
    restarts.into_iter().for_each(|restart| put_u32(&mut out, restart));
    out
}

/// Appends a key. In WebAssembly a copy of as many bytes as the key has is a call into the host, one of eight or
/// sixteen is an instruction or two: so there are two of those, which overlap.
#[inline(always)]
pub(crate) fn append(out: &mut Vec<u8>, key: &[u8]) {
    match key.len() {
        0 => {}
        4..=8 => append_in_two::<4>(out, key),
        9..=16 => append_in_two::<8>(out, key),
        17..=32 => append_in_two::<16>(out, key),
        _ => out.extend_from_slice(key),
    }
}

/// Appends `N` to twice as many bytes.
#[inline(always)]
fn append_in_two<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return;
    };
    let end = out.len() + bytes.len();
    out.extend_from_slice(first);
    out.truncate(end - N);
    out.extend_from_slice(last);
}

/// Appends the packed key of `number`, whose last `rest` bytes follow `common`.
#[inline(always)]
fn append_packed(out: &mut Vec<u8>, common: &[u8], rest: usize, number: u64) {
    append(out, common);
    let end = out.len() + rest;
    let first = number.checked_shl(64 - 8 * rest as u32).unwrap_or(0);
    out.extend_from_slice(&first.to_be_bytes());
    out.truncate(end);
}

/// How two keys lie, as `a.cmp(b)` says; eight bytes at a time, not one.
#[inline(always)]
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some((first, rest)), Some((second, other))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        if first != second {
            return u64::from_be_bytes(*first).cmp(&u64::from_be_bytes(*second));
        }
        (left, right) = (rest, other);
    }
    left.cmp(right)
}

/// The first eight bytes as a number, zeros behind a shorter key: if two differ, so do their keys, the same way.
#[inline(always)]
pub(crate) fn head(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => big_endian(key).checked_shl(64 - 8 * key.len() as u32).unwrap_or(0),
    }
}

/// How many bytes both begin with.
pub(crate) fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// At most 8 bytes as a number.
#[inline(always)]
fn big_endian(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk()
        && bytes.len() == 8
    {
        return u64::from_be_bytes(*eight);
    }
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The last `count` bytes of `key`, 1 to 8, as a number.
#[inline(always)]
fn ending(key: &[u8], count: usize) -> u64 {
    match key.last_chunk() {
        Some(eight) => u64::from_be_bytes(*eight) & u64::MAX >> (64 - 8 * count),
        None => big_endian(&key[key.len() - count..]),
    }
}

/// Where the parts of a key chunk lie in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// All keys have one length.
    Packed { prefix: usize, rest: usize, width: u32, base: u64 },
    /// Where the restarts begin.
    FrontCoded { restarts: usize },
}

impl Layout {
    /// The encoding's name.
    pub fn name(&self) -> &'static str {
        match self {
            Layout::Packed { .. } => "packed",
            Layout::FrontCoded { .. } => "front-coded",
        }
    }

    /// Checks the shape of `bytes`, the keys of `rows` rows.
    pub fn new(encoding: u8, rows: usize, bytes: &[u8]) -> Result<Layout, Broken> {
        if encoding == FRONT_CODED {
            let restarts = bytes.len().checked_sub(rows.div_ceil(RESTART_ROWS) * 4);
            let restarts = restarts.ok_or("restarts that do not fit their keys")?;
            return Ok(Layout::FrontCoded { restarts });
        }
        let Some((header, tail)) = bytes.split_first_chunk::<PACKED_HEADER_BYTES>() else {
            return Err("keys without a header");
        };
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let prefix = number(0) as usize;
        let (rest, width) = (usize::from(header[4]), u32::from(header[5]));
        let base = u64::from(number(8)) | u64::from(number(12)) << 32;
        let packed = (rows * width as usize).div_ceil(8) + PADDING_BYTES;
        let fits = prefix.checked_add(packed) == Some(tail.len()) && prefix + rest <= KEY_BYTES_MAX;
        if encoding != PACKED || 8 < rest || 64 < width || header[6..8] != [0, 0] || !fits {
            return Err("packed keys that do not fill their chunk");
        }
        Ok(Layout::Packed { prefix, rest, width, base })
    }
}

/// The keys of a block where they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub layout: Layout,
    pub rows: usize,
    pub bytes: &'a [u8],
}

impl<'a> Keys<'a> {
    /// The number of row `row` among packed keys.
    #[inline(always)]
    fn number(&self, start: usize, width: u32, base: u64, row: usize) -> u64 {
        if width == 0 {
            return base;
        }
        let bit = row * width as usize;
        let (at, shift) = (start + bit / 8, (bit % 8) as u32);
        let nine: &[u8; 9] =
            self.bytes[at..].first_chunk().expect("`Layout::new` counts the padding");
        let eight = u64::from_le_bytes(*nine.first_chunk().expect("nine are more than eight"));
        let mut delta = eight >> shift;
        if 64 < width + shift {
            delta |= u64::from(nine[8]) << (64 - shift);
        }
        base.wrapping_add(delta & u64::MAX >> (64 - width))
    }

    /// How many of `rows`, from the first on, have a key below `key` (or equal to it, if `inclusive`): the
    /// row at which the others begin.
    pub fn bound(&self, rows: Range<usize>, key: &[u8], inclusive: bool) -> Result<usize, Broken> {
        match self.layout {
            Layout::Packed { prefix, rest, width, base } => {
                let common = &self.bytes[PACKED_HEADER_BYTES..][..prefix];
                match compare(&key[..key.len().min(prefix)], common) {
                    Ordering::Less => return Ok(rows.start),
                    Ordering::Greater => return Ok(rows.end),
                    Ordering::Equal => {}
                }
                let tail = &key[prefix..];
                let kept = tail.len().min(rest);
                let wanted = match rest {
                    0 => 0,
                    _ if kept == 0 => 0,
                    _ => ending(&key[..prefix + kept], kept) << (8 * (rest - kept)),
                };
                let or_equal = rest < tail.len() || (inclusive && rest == tail.len());
                let start = PACKED_HEADER_BYTES + prefix;
                let before = |row| {
                    let number = self.number(start, width, base, row);
                    Ok(number < wanted || (or_equal && number == wanted))
                };
                gallop(rows, before)
            }
            Layout::FrontCoded { .. } => {
                let before = |found: &[u8]| found < key || (inclusive && found == key);
                self.bound_front_coded(rows, before)
            }
        }
    }

    fn bound_front_coded(
        &self,
        rows: Range<usize>,
        before: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, Broken> {
        if rows.is_empty() {
            return Ok(rows.start);
        }
        // The interval of the first row may begin before it, and is searched in any case.
        let first = rows.start / RESTART_ROWS;
        let last = (rows.end - 1) / RESTART_ROWS;
        let at_restart = |interval: usize| {
            let mut reader = self.reader(interval)?;
            let (shared, key) = take(&mut reader)?;
            if shared == 0 { Ok(before(key)) } else { Err("a restart that shares bytes") }
        };
        let interval = gallop(first + 1..last + 1, at_restart)? - 1;
        let mut walk = Walk::default();
        walk.seek(self, interval * RESTART_ROWS)?;
        let end = rows.end.min((interval + 1) * RESTART_ROWS);
        while walk.row < end && (walk.row < rows.start || before(&walk.key)) {
            if walk.row + 1 == end {
                return Ok(end);
            }
            walk.seek(self, walk.row + 1)?;
        }
        Ok(walk.row)
    }

    /// The row whose key is `key`.
    pub fn find(&self, key: &[u8]) -> Result<Option<usize>, Broken> {
        let row = self.bound(0..self.rows, key, false)?;
        if row == self.rows {
            return Ok(None);
        }
        if let Layout::Packed { prefix, rest, width, base } = self.layout {
            // What lies behind the common bytes decides; `bound` has compared those.
            let same = key.len() == prefix + rest
                && key[..prefix] == self.bytes[PACKED_HEADER_BYTES..][..prefix]
                && self.number(PACKED_HEADER_BYTES + prefix, width, base, row)
                    == big_endian(&key[prefix..]);
            return Ok(same.then_some(row));
        }
        let mut walk = Walk::default();
        walk.seek(self, row)?;
        Ok((walk.key == key).then_some(row))
    }

    /// Appends the keys of `rows` to `out`: each must be greater than the one before.
    pub fn collect(&self, rows: &[u32], out: &mut Strings) -> Result<(), Broken> {
        const UNORDERED: Broken = "keys out of order";
        let Layout::Packed { prefix, rest, width, base } = self.layout else {
            let mut walk = Walk::default();
            for (index, row) in rows.iter().enumerate() {
                walk.seek(self, *row as usize)?;
                if index != 0
                    && out.last().is_some_and(|last| compare(&walk.key, last) != Ordering::Greater)
                {
                    return Err(UNORDERED);
                }
                out.push(&walk.key);
            }
            return Ok(());
        };
        let start = PACKED_HEADER_BYTES + prefix;
        let common = &self.bytes[PACKED_HEADER_BYTES..start];
        let kept = u64::MAX.checked_shr(64 - 8 * rest as u32).unwrap_or(0);
        out.data.reserve((prefix + rest) * rows.len() + 8);
        out.ends.reserve(rows.len());
        let mut before = None;
        for row in rows {
            let number = self.number(start, width, base, *row as usize) & kept;
            if before.is_some_and(|before| number <= before) {
                return Err(UNORDERED);
            }
            before = Some(number);
            append_packed(&mut out.data, common, rest, number);
            out.ends.push(out.data.len() as u32);
        }
        Ok(())
    }

    /// A way to read the last eight bytes of every key as a number, if keys are packed, have `len` bytes, and
    /// `tag` stands before those eight.
    pub fn tail_number(&self, len: usize, tag: u8) -> Option<TailNumber> {
        let Layout::Packed { prefix, rest, width, base } = self.layout else { return None };
        let common = &self.bytes[PACKED_HEADER_BYTES..][..prefix];
        let before = len.checked_sub(9)?;
        if prefix + rest != len || *common.get(before)? != tag {
            return None;
        }
        let start = PACKED_HEADER_BYTES + prefix;
        let high = big_endian(&common[before + 1..]);
        let high = if rest == 8 { 0 } else { high << (8 * rest) };
        Some(TailNumber { start, width, base, high })
    }

    fn restart(&self, restarts: usize, interval: usize) -> Option<usize> {
        let four = self.bytes.get(restarts + 4 * interval..)?.first_chunk()?;
        Some(u32::from_le_bytes(*four) as usize)
    }

    /// Reads front-coded keys from the restart of `interval` on.
    fn reader(&self, interval: usize) -> Result<Reader<'a>, Broken> {
        let Layout::FrontCoded { restarts } = self.layout else {
            return Err("packed keys have no restarts");
        };
        let start = self.restart(restarts, interval).unwrap_or(usize::MAX);
        let keys = self.bytes[..restarts].get(start..).ok_or("a restart outside the keys")?;
        Ok(Reader::new("", start as u64, keys))
    }
}

/// Reads the last eight bytes of packed keys as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailNumber {
    start: usize,
    width: u32,
    base: u64,
    high: u64,
}

impl TailNumber {
    /// The number of row `row`.
    pub fn get(&self, keys: &Keys<'_>, row: usize) -> u64 {
        self.high | keys.number(self.start, self.width, self.base, row)
    }
}

/// A key on a walk through a block, which goes on from row to row without beginning anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    pub row: usize,
    pub key: Vec<u8>,
    /// What the key begins with, which mostly tells how it lies to another.
    head: u64,
    /// Where the next row of front-coded keys begins; 0 before the first.
    next: usize,
}

impl Walk {
    /// Begins anew: the next keys are those of another block.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// Goes to row `row`, which is below the block's rows.
    pub fn seek(&mut self, keys: &Keys<'_>, row: usize) -> Result<(), Broken> {
        match keys.layout {
            Layout::Packed { prefix, rest, width, base } => {
                let start = PACKED_HEADER_BYTES + prefix;
                let number = keys.number(start, width, base, row);
                self.key.clear();
                append_packed(&mut self.key, &keys.bytes[PACKED_HEADER_BYTES..start], rest, number);
                self.row = row;
                self.next = 1;
            }
            Layout::FrontCoded { restarts } => self.seek_front_coded(keys, restarts, row)?,
        }
        self.head = head(&self.key);
        Ok(())
    }

    /// How the key lies to that of `other`.
    #[inline(always)]
    pub fn compare(&self, other: &Walk) -> Ordering {
        self.head.cmp(&other.head).then_with(|| compare(&self.key, &other.key))
    }

    fn seek_front_coded(
        &mut self,
        keys: &Keys<'_>,
        restarts: usize,
        row: usize,
    ) -> Result<(), Broken> {
        let interval = row / RESTART_ROWS;
        let ahead = self.next != 0 && self.row < row && self.row / RESTART_ROWS == interval;
        let (mut at, mut reader) = match ahead {
            true => {
                let rest =
                    keys.bytes[..restarts].get(self.next..).ok_or("keys that end too soon")?;
                (self.row + 1, Reader::new("", self.next as u64, rest))
            }
            false => (interval * RESTART_ROWS, keys.reader(interval)?),
        };
        loop {
            let (shared, suffix) = take(&mut reader)?;
            let kept = if at.is_multiple_of(RESTART_ROWS) { 0 } else { self.key.len() };
            if kept < shared || KEY_BYTES_MAX < shared + suffix.len() {
                return Err("a key that shares more than there is, or is too long");
            }
            self.key.truncate(shared);
            append(&mut self.key, suffix);
            if at == row {
                break;
            }
            at += 1;
        }
        self.row = row;
        self.next = reader.offset() as usize;
        Ok(())
    }
}

/// One front-coded row: bytes shared, and the suffix.
fn take<'a>(reader: &mut Reader<'a>) -> Result<(usize, &'a [u8]), Broken> {
    let shared = reader.varint().map_err(|_| "a key that is cut")?;
    let suffix = reader.prefixed(KEY_BYTES_MAX).map_err(|_| "a key that is cut")?;
    Ok((usize::try_from(shared).unwrap_or(usize::MAX).min(KEY_BYTES_MAX + 1), suffix))
}

/// The first of `range` that is not `before`: few steps when it is near the start.
fn gallop(
    range: Range<usize>,
    before: impl Fn(usize) -> Result<bool, Broken>,
) -> Result<usize, Broken> {
    let (mut low, mut high, mut step) = (range.start, range.end, 1);
    while low + step < high && step < range.len() {
        let probe = low + step - 1;
        if !before(probe)? {
            high = probe;
            break;
        }
        low = probe + 1;
        step *= 2;
    }
    while low < high {
        let middle = low.midpoint(high);
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let packed = (vec(any::<u8>(), 0..4), 0usize..9).prop_flat_map(|(prefix, rest)| {
            btree_set(vec(any::<u8>(), rest), 1..100).prop_map(move |set| {
                set.into_iter().map(|key| [&prefix[..], &key].concat()).collect::<Vec<_>>()
            })
        });
        let free = btree_set(vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..6), 1..100);
        prop_oneof![packed, free.prop_map(|set| set.into_iter().collect())]
    }

    proptest! {
        #[test]
        fn keys_are_found_and_come_back(keys in keys(), asked in vec(any::<u8>(), 0..9), cut in any::<(prop::sample::Index, prop::sample::Index)>()) {
            let mut all = Strings::default();
            keys.iter().for_each(|key| all.push(key));
            let (encoding, bytes) = encode(&all, 0..keys.len());
            let layout = Layout::new(encoding, keys.len(), &bytes).unwrap();
            let view = Keys { layout, rows: keys.len(), bytes: &bytes };
            let (a, b) = (cut.0.index(keys.len() + 1), cut.1.index(keys.len() + 1));
            let rows = a.min(b)..a.max(b);
            let short = keys[0][..keys[0].len() / 2].to_vec();
            let long = [&keys[a.min(keys.len() - 1)][..], &[0]].concat();
            for key in keys.iter().chain([&asked, &short, &long]) {
                for inclusive in [false, true] {
                    let wanted = rows.start + keys[rows.clone()].partition_point(|k| k < key || (inclusive && k == key));
                    prop_assert_eq!(view.bound(rows.clone(), key, inclusive).unwrap(), wanted);
                }
                prop_assert_eq!(view.find(key).unwrap(), keys.iter().position(|k| k == key));
            }
            let (all, mut collected) = ((0..keys.len() as u32).collect::<Vec<_>>(), Strings::default());
            view.collect(&all, &mut collected).unwrap();
            prop_assert!(keys.iter().enumerate().all(|(row, key)| collected.get(row) == key));
            let mut walk = Walk::default();
            for row in (0..keys.len()).rev().chain(0..keys.len()) {
                walk.seek(&view, row).unwrap();
                prop_assert_eq!(&walk.key, &keys[row]);
            }
        }

        #[test]
        fn keys_compare_and_are_copied_as_bytes(
            a in vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..40),
            b in vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..40), same in 0usize..40,
        ) {
            let b = [&a[..same.min(a.len())], &b].concat();
            prop_assert_eq!(compare(&a, &b), a.cmp(&b));
            prop_assert!(head(&a) == head(&b) || head(&a).cmp(&head(&b)) == a.cmp(&b));
            let mut both = a.clone();
            append(&mut both, &b);
            prop_assert_eq!(both, [a, b].concat());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..80), encoding in 0u8..4, rows in 1usize..40) {
            if let Ok(layout) = Layout::new(encoding, rows, &bytes) {
                let view = Keys { layout, rows, bytes: &bytes };
                let mut walk = Walk::default();
                let _ = (0..rows).try_for_each(|row| walk.seek(&view, row));
                let all: Vec<_> = (0..rows as u32).collect();
                let mut keys = Strings::default();
                if view.collect(&all, &mut keys).is_ok() {
                    prop_assert!((1..rows).all(|row| keys.get(row - 1) < keys.get(row)));
                }
                let _ = view.find(&bytes);
                let _ = view.bound(0..rows, b"", true);
            }
        }
    }
}
