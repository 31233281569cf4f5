//! A tree page as bytes: what lies behind the header that `page` describes.
//!
//! | where            | size      | content                                                     |
//! |------------------|----------:|-------------------------------------------------------------|
//! | offset 32        | `prefix`  | the bytes that every key of the page begins with            |
//! | behind it        | 2 `count` | u16 slots: each the offset of a cell, in the order of keys  |
//! | from `cells` on  |           | the cells                                                   |
//!
//! A leaf's cell: suffix length u16, value length u32, the key without the prefix, the value. When bit 31
//! of the value length is set, the value lies elsewhere and the cell holds its [`RunRef`].
//! An inner page's cell: suffix length u16, child page u64, child checksum u32, the separator without the
//! prefix. All keys under a child are at or behind its separator and before the next child's.

use crate::error::KernelResult;
use crate::kernel_api::Slice;
use crate::limits::{KEY_BYTES_MAX, PAGE_BYTES};
use crate::page::{DATA_FILE, PAGE_HEADER_BYTES, PageRef, RUN_REF_BYTES, RunRef};
use smallvec::SmallVec;
use sochdb_encoding::codec::{Reader, Wire};
use std::cmp::Ordering;
use std::io::Write;
use std::sync::Arc;

/// Values longer than this get a run of their own; two rows of this size fit a page.
pub const INLINE_BYTES_MAX: usize = (PAGE_BYTES - PAGE_HEADER_BYTES) / 2 - KEY_BYTES_MAX / 4;
const RUN_FLAG: u32 = 1 << 31;
const LEAF_CELL_BYTES: usize = 2 + 4;
const INNER_CELL_BYTES: usize = 2 + 8 + 4;
const KIND_LEAF: u8 = 1;
const KIND_INNER: u8 = 2;
const _: () = assert!(
    PAGE_HEADER_BYTES + 2 + LEAF_CELL_BYTES + KEY_BYTES_MAX + INLINE_BYTES_MAX <= PAGE_BYTES,
    "any single row fits a page"
);
const _: () = assert!(
    PAGE_HEADER_BYTES + 3 * (2 + INNER_CELL_BYTES + KEY_BYTES_MAX) <= PAGE_BYTES,
    "any three separators fit a page"
);

/// What a leaf holds for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The value.
    Inline(Slice),
    /// Where the value is.
    Run(RunRef),
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// How many entries a page has.
pub fn count(page: &[u8]) -> usize {
    u16_at(page, 6)
}

fn prefix(page: &[u8]) -> &[u8] {
    &page[PAGE_HEADER_BYTES..][..u16_at(page, 16)]
}

fn cell(page: &[u8], index: usize) -> usize {
    u16_at(page, PAGE_HEADER_BYTES + u16_at(page, 16) + 2 * index)
}

fn cell_bytes(page: &[u8]) -> usize {
    if page[5] == 0 { LEAF_CELL_BYTES } else { INNER_CELL_BYTES }
}

#[inline]
fn suffix(page: &[u8], index: usize) -> &[u8] {
    let at = cell(page, index);
    &page[at + cell_bytes(page)..][..u16_at(page, at)]
}

/// The key of entry `index`.
#[inline]
pub fn key(page: &[u8], index: usize) -> Vec<u8> {
    let (prefix, suffix) = (prefix(page), suffix(page, index));
    let mut key = Vec::with_capacity(prefix.len() + suffix.len());
    key.extend_from_slice(prefix);
    key.extend_from_slice(suffix);
    key
}

/// Where `key` is: `Ok` its index.
///
/// # Errors
/// The index of the first entry behind it, when it is not there.
pub fn find(page: &[u8], key: &[u8]) -> Result<usize, usize> {
    let prefix = prefix(page);
    let shared = prefix.len().min(key.len());
    let rest = match key[..shared].cmp(&prefix[..shared]) {
        Ordering::Less => return Err(0),
        Ordering::Greater => return Err(count(page)),
        Ordering::Equal if key.len() < prefix.len() => return Err(0),
        Ordering::Equal => &key[shared..],
    };
    let (slots, head) = (PAGE_HEADER_BYTES + prefix.len(), cell_bytes(page));
    let (mut low, mut high) = (0, count(page));
    // Eight bytes at once tell most keys apart.
    let word = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let rest_word = word(rest);
    while low < high {
        let middle = (low + high) / 2;
        let at = u16_at(page, slots + 2 * middle);
        let suffix = &page[at + head..][..u16_at(page, at)];
        let words = word(suffix).zip(rest_word).map_or(Ordering::Equal, |(a, b)| a.cmp(&b));
        match words.then_with(|| suffix.cmp(rest)) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(middle),
        }
    }
    Err(low)
}

/// The child of an inner page under which `key` belongs.
pub fn child_for(page: &[u8], key: &[u8]) -> usize {
    find(page, key).unwrap_or_else(|behind| behind.saturating_sub(1))
}

/// The child number `index` of an inner page.
pub fn child(page: &[u8], index: usize) -> PageRef {
    let at = cell(page, index) + 2;
    let page_number = u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"));
    PageRef { page: page_number, crc: u32_at(page, at + 8) }
}

/// What a leaf holds at `index`.
///
/// # Errors
/// `Corrupt` when a run's reference makes no sense.
pub fn stored(page: &Arc<[u8]>, index: usize) -> KernelResult<Stored> {
    let at = cell(page, index);
    let len = u32_at(page, at + 2);
    let start = at + LEAF_CELL_BYTES + u16_at(page, at);
    if len & RUN_FLAG == 0 {
        return Ok(Stored::Inline(Slice::part(page.clone(), start, len as usize)));
    }
    let mut reader = Reader::new(DATA_FILE, 0, &page[start..start + RUN_REF_BYTES]);
    Ok(Stored::Run(RunRef::take(&mut reader)?))
}

/// Whether every offset of the page stays inside it.
///
/// # Errors
/// What is wrong.
pub fn check(page: &[u8]) -> Result<(), &'static str> {
    let kind = if page[5] == 0 { KIND_LEAF } else { KIND_INNER };
    if page[4] != kind {
        return Err("a kind that does not match the level");
    }
    let slots = PAGE_HEADER_BYTES + u16_at(page, 16);
    let cells = slots + 2 * count(page);
    if PAGE_BYTES < cells || count(page) == 0 {
        return Err("a header out of bounds");
    }
    for index in 0..count(page) {
        let at = cell(page, index);
        if at < cells || PAGE_BYTES < at + cell_bytes(page) {
            return Err("a cell out of bounds");
        }
        let mut end = at + cell_bytes(page) + u16_at(page, at);
        if kind == KIND_LEAF {
            let len = u32_at(page, at + 2);
            end += if len & RUN_FLAG == 0 { len as usize } else { RUN_REF_BYTES };
        }
        if PAGE_BYTES < end {
            return Err("an entry out of bounds");
        }
    }
    Ok(())
}

/// A key of an entry. Short ones need no allocation of their own.
pub type Key = SmallVec<[u8; 32]>;

/// One entry of a page being built.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Of a leaf: a row.
    Row(Key, Stored),
    /// Of an inner page: a separator, and the child behind it.
    Child(Key, PageRef),
}

impl Entry {
    /// The row's key, or the separator.
    pub fn key(&self) -> &[u8] {
        match self {
            Entry::Row(key, _) | Entry::Child(key, _) => key,
        }
    }

    /// Bytes in the page, slot included, if nothing of the key were shared.
    pub fn bytes(&self) -> usize {
        let value = match self {
            Entry::Row(_, Stored::Inline(value)) => LEAF_CELL_BYTES + value.len(),
            Entry::Row(_, Stored::Run(_)) => LEAF_CELL_BYTES + RUN_REF_BYTES,
            Entry::Child(..) => INNER_CELL_BYTES,
        };
        2 + self.key().len() + value
    }
}

/// How many bytes `a` and `b` share at their beginning.
pub fn shared(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let same = 8 * words.take_while(|(a, b)| a == b).count();
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// Every entry of a page.
///
/// # Errors
/// `Corrupt` when a run's reference makes no sense.
pub fn entries(page: &Arc<[u8]>) -> KernelResult<Vec<Entry>> {
    let (level, prefix) = (page[5], Key::from_slice(prefix(page)));
    let entry = |index| {
        let mut key = prefix.clone();
        key.extend_from_slice(suffix(page, index));
        Ok(match level {
            0 => Entry::Row(key, stored(page, index)?),
            _ => Entry::Child(key, child(page, index)),
        })
    };
    (0..count(page)).map(entry).collect()
}

/// A page of `level` that holds `entries`, not yet sealed.
pub fn build(level: u8, entries: &[Entry]) -> Vec<u8> {
    let (first, last) = (entries[0].key(), entries[entries.len() - 1].key());
    assert!(first < last || entries.len() == 1, "a page's keys grow");
    let prefix = shared(first, last);
    let mut page = vec![0; PAGE_BYTES];
    let small = |number: usize| u16::try_from(number).expect("a page is smaller than 64 KiB");
    page[4] = if level == 0 { KIND_LEAF } else { KIND_INNER };
    page[5] = level;
    page[6..8].copy_from_slice(&small(entries.len()).to_le_bytes());
    page[16..18].copy_from_slice(&small(prefix).to_le_bytes());
    page[PAGE_HEADER_BYTES..][..prefix].copy_from_slice(&first[..prefix]);
    let slots = PAGE_HEADER_BYTES + prefix;
    let mut cells = PAGE_BYTES;
    for (index, entry) in entries.iter().enumerate() {
        let suffix = &entry.key()[prefix..];
        cells -= entry.bytes() - 2 - prefix;
        assert!(slots + 2 * entries.len() <= cells, "{} entries overflow a page", entries.len());
        page[slots + 2 * index..][..2].copy_from_slice(&small(cells).to_le_bytes());
        let mut cell = &mut page[cells..];
        let mut put = |parts: [&[u8]; 4]| {
            parts.iter().for_each(|part| cell.write_all(part).expect("bytes were counted"));
        };
        let len = small(suffix.len()).to_le_bytes();
        match entry {
            Entry::Row(_, Stored::Inline(value)) => {
                put([&len, &u32::from(small(value.len())).to_le_bytes(), suffix, value]);
            }
            Entry::Row(_, Stored::Run(run)) => {
                put([&len, &RUN_FLAG.to_le_bytes(), suffix, &run.to_wire()]);
            }
            Entry::Child(_, child) => put([&len, &child.to_wire(), suffix, &[]]),
        }
    }
    page[18..20].copy_from_slice(&small(cells).to_le_bytes());
    page
}
