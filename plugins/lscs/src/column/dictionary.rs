//! Dictionaries: each different value once, and a packed code for each row.
//!
//! A code is a position among the entries, and has as many bits as the last one needs. A condition is held
//! against the entries, once each; the rows then only look up their code's answer.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;

use super::mask::{retain, word_of};
use super::packed::{Packed, width_of};

/// Different values of one chunk that a dictionary may hold: above, it would hardly pay.
pub const ENTRIES_MAX: usize = 4_096;
/// Rows of which the different values are counted, to guess whether a dictionary could pay.
const SAMPLE: usize = 64;

/// The different values among some rows.
#[derive(Debug)]
pub struct Distinct {
    /// The entry of each row.
    pub codes: Vec<i64>,
    /// A row that has the value, for each entry.
    pub rows: Vec<usize>,
}

impl Distinct {
    /// Finds the different ones among `len` values, at most `limit`; `None` when there are more, or when a
    /// sample says so. `hash` spreads values over all 64 bits.
    pub fn new(
        len: usize,
        limit: usize,
        hash: impl Fn(usize) -> u64,
        equal: impl Fn(usize, usize) -> bool,
    ) -> Option<Distinct> {
        let limit = limit.min(ENTRIES_MAX);
        if SAMPLE * 4 <= len {
            let mut hashes: Vec<u64> = (0..SAMPLE).map(|row| hash(row * (len / SAMPLE))).collect();
            hashes.sort_unstable();
            hashes.dedup();
            if SAMPLE * 7 / 8 < hashes.len() {
                return None;
            }
        }
        let mut slots = vec![u32::MAX; (limit * 2 + 2).next_power_of_two()];
        let (mask, mut rows, mut codes) = (slots.len() - 1, Vec::new(), Vec::with_capacity(len));
        for row in 0..len {
            let mut at = (hash(row) >> 32) as usize & mask;
            let code = loop {
                match slots[at] {
                    u32::MAX if rows.len() == limit => return None,
                    u32::MAX => {
                        slots[at] = rows.len() as u32;
                        rows.push(row);
                        break slots[at];
                    }
                    code if equal(rows[code as usize], row) => break code,
                    _ => at = (at + 1) & mask,
                }
            };
            codes.push(i64::from(code));
        }
        Some(Distinct { codes, rows })
    }

    /// Gives the entries the order `compare` has for their rows.
    pub fn sort(&mut self, compare: impl Fn(usize, usize) -> std::cmp::Ordering) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by(|&a, &b| compare(self.rows[a], self.rows[b]));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| place[from] = to as i64);
        self.codes.iter_mut().for_each(|code| *code = place[*code as usize]);
        self.rows = order.iter().map(|&from| self.rows[from]).collect();
    }
}

/// Spreads a number's bits: the finalizer of MurmurHash3.
pub fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

/// The code of each row.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    packed: Packed<'a>,
    entries: usize,
}

impl<'a> Codes<'a> {
    /// Reads how many entries there are.
    pub fn read_count(reader: &mut Reader<'a>, rows: usize) -> EncodingResult<usize> {
        match usize::from(reader.u16()?) {
            count if 0 < count && count <= rows => Ok(count),
            count => Err(reader.corrupt(format!("1 to {rows} entries"), format!("{count}"))),
        }
    }

    /// Reads the codes of `rows` rows.
    pub fn read(reader: &mut Reader<'a>, rows: usize, entries: usize) -> EncodingResult<Codes<'a>> {
        let packed = Packed::read_codes(reader, rows)?;
        if packed.width() != width_of(entries as u64 - 1) {
            let found = format!("codes of {} bits for {entries} entries", packed.width());
            return Err(reader.corrupt("codes as wide as they need be", found));
        }
        Ok(Codes { packed, entries })
    }

    /// The code of `row`, below the number of entries: a code that is none means the last.
    pub fn get(&self, row: usize) -> usize {
        (self.packed.get(row) as usize).min(self.entries - 1)
    }

    /// Unpacks the codes from `start` on. They may be beyond the entries, never beyond a
    /// [`table`](Self::table).
    pub fn unpack(&self, start: usize, out: &mut [i64]) {
        self.packed.unpack(start, out);
    }

    /// What `of` says of each entry, and of the last again up to the largest code: a table that every code is
    /// in, a power of two in size.
    pub fn table<T: Copy>(&self, mut of: impl FnMut(usize) -> T) -> Vec<T> {
        let mut table: Vec<T> = (0..self.entries).map(&mut of).collect();
        let last = table[self.entries - 1];
        table.resize(1 << self.packed.width(), last);
        table
    }

    /// Clears the bits of `mask` whose rows have an entry that `accept` does not accept.
    pub fn filter(&self, rows: usize, mask: &mut [u64], accept: impl FnMut(usize) -> bool) {
        let table = self.table(accept);
        let first = table.iter().position(|accepted| *accepted);
        let Some(first) = first else {
            return mask.fill(0);
        };
        let count = table[first..].iter().take_while(|accepted| **accepted).count();
        if count == table.len() {
            return;
        }
        let unpack = |start: usize, out: &mut [i64]| self.unpack(start, out);
        if table[first + count..].iter().any(|accepted| *accepted) {
            let last = table.len() - 1;
            return retain(mask, rows, unpack, |codes| {
                word_of(codes, |c| table[c as usize & last])
            });
        }
        let (first, count) = (first as u64, count as u64);
        retain(mask, rows, unpack, |codes| {
            word_of(codes, |code| (code as u64).wrapping_sub(first) < count)
        });
    }
}
