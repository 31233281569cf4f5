//! Chunks of strings or bytes. A null is an empty string here.
//!
//! | encoding   | bytes                                                                                          |
//! |------------|------------------------------------------------------------------------------------------------|
//! | plain      | slices: a string per row                                                                       |
//! | constant   | the string that every row has that is not null                                                 |
//! | dictionary | u32 bytes of all rows' strings; u16 count; codes: a code per row; slices: the entries, ascending |
//! | symbols    | u32 bytes of all rows' strings; the symbol table of [`super::symbols`]; slices: a compressed string per row |
//!
//! *Slices* are those of [`super::slices`]. Symbols must save an eighth on what is faster to read, and are not
//! even tried when a codec follows: it does better on strings that are left alone.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u16, put_u32};
use sochdb_guest::encoding::columns::ColumnBuilder;
use twox_hash::XxHash64;

use super::dictionary::{Codes, Distinct};
use super::filter::BytesTest;
use super::mask::retain_rows;
use super::packed;
use super::slices::{Ends, Slices};
use super::symbols::{self, Symbols};
use super::{Encoding, gives_up};

/// Ends that are unpacked at a time.
const BATCH: usize = 256;
/// Bytes of strings that are copied as if they were all as long.
const SMALL: usize = 16;
/// Below, a symbol table does not pay for itself.
const SYMBOLS_BYTES_MIN: usize = 512;
/// A table from the chunk before is used again while it compresses nearly as well: 1,000ths of a sample.
const RATIO_WORSE_MAX: usize = 20;

/// Strings as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub enum Strings<'a> {
    Plain(Slices<'a>),
    Constant(&'a [u8]),
    Dictionary { bytes: usize, count: usize, codes: Codes<'a>, entries: Slices<'a> },
    Symbols { bytes: usize, table: Symbols<'a>, slices: Slices<'a> },
}

/// The strings of a column that is to be written.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Where each row begins and, last, where the last one ends.
    pub offsets: &'a [i32],
    pub data: &'a [u8],
}

impl<'a> Input<'a> {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn slice(&self, row: usize) -> (usize, usize) {
        (self.offsets[row] as usize, self.offsets[row + 1] as usize)
    }

    fn get(&self, row: usize) -> &'a [u8] {
        let (start, end) = self.slice(row);
        &self.data[start..end]
    }
}

/// The symbol table of an earlier chunk and how well it compressed that.
pub type Learned = Option<(symbols::Encoder, usize)>;

/// Appends the encoding's tag and the strings; `is_null` are the rows without one.
pub fn put(
    out: &mut Vec<u8>,
    input: Input<'_>,
    is_null: impl Fn(usize) -> bool,
    codec_follows: bool,
    learned: &mut Learned,
) {
    let rows = input.rows();
    let mut valid = (0..rows).filter(|row| !is_null(*row));
    let first = input.get(valid.next().expect("there is a row that is not null"));
    if valid.all(|row| input.get(row) == first) {
        out.push(Encoding::Constant as u8);
        return out.extend_from_slice(first);
    }
    let ends = input.offsets[1..].iter().map(|end| *end as usize);
    let ends = Ends::new(ends, rows, input.data.len());
    let plain = ends.bytes() + input.data.len();
    let dictionary = Dictionary::new(input, gives_up(plain));
    let best = dictionary.as_ref().map_or(plain, |dictionary| dictionary.size);
    let worth = !codec_follows && SYMBOLS_BYTES_MIN <= input.data.len() && plain / 3 < best;
    let symbols = worth.then(|| compress(input, learned)).flatten();
    if let Some((table, ends, data)) = symbols
        && 4 + table.bytes() + ends.bytes() + data.len() < best - best / 8
    {
        out.push(Encoding::Symbols as u8);
        put_u32(out, input.data.len() as u32);
        table.put(out);
        ends.put(out);
        out.extend_from_slice(&data);
    } else if let Some(dictionary) = dictionary {
        out.push(Encoding::Dictionary as u8);
        put_u32(out, input.data.len() as u32);
        dictionary.put(out);
    } else {
        out.push(Encoding::Plain as u8);
        ends.put(out);
        out.extend_from_slice(input.data);
    }
}

/// A dictionary that is to be written.
struct Dictionary {
    codes: Vec<i64>,
    ends: Ends,
    data: Vec<u8>,
    size: usize,
}

impl Dictionary {
    /// The dictionary of `input`, if it takes less than `bytes`.
    fn new(input: Input<'_>, bytes: usize) -> Option<Dictionary> {
        let rows = input.rows();
        let hash = |row| XxHash64::oneshot(0, input.get(row));
        let equal = |a, b| input.get(a) == input.get(b);
        let mut distinct = Distinct::new(rows, rows / 2 + 1, hash, equal)?;
        distinct.sort(|a, b| input.get(a).cmp(input.get(b)));
        let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(distinct.rows.len()));
        for &row in &distinct.rows {
            data.extend_from_slice(input.get(row));
            ends.push(data.len());
        }
        let ends = Ends::new(ends.iter().copied(), ends.len(), data.len());
        let codes = packed::codes_size(rows, distinct.rows.len() as u64 - 1);
        let size = 4 + 2 + codes + ends.bytes() + data.len();
        (size < bytes).then_some(Dictionary { codes: distinct.codes, ends, data, size })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_u16(out, self.ends.count() as u16);
        packed::put_codes(out, &self.codes, self.ends.count() as u64 - 1);
        self.ends.put(out);
        out.extend_from_slice(&self.data);
    }
}

/// Compresses the strings with the table learned before if it still fits, else with a new one.
fn compress<'l>(
    input: Input<'_>,
    learned: &'l mut Learned,
) -> Option<(&'l symbols::Encoder, Ends, Vec<u8>)> {
    let rows = input.rows();
    let slice = |row| input.slice(row);
    let fits = learned.as_ref().is_some_and(|(table, ratio)| {
        table.ratio(input.data, rows, slice) <= ratio + RATIO_WORSE_MAX
    });
    if !fits {
        let table = symbols::Encoder::learn(input.data, rows, slice)?;
        let ratio = table.ratio(input.data, rows, slice);
        *learned = Some((table, ratio));
    }
    let (table, _) = learned.as_ref()?;
    let (mut data, mut ends) = (Vec::with_capacity(input.data.len()), Vec::with_capacity(rows));
    for row in 0..rows {
        let (start, end) = input.slice(row);
        table.compress(input.data, start, end, &mut data);
        ends.push(data.len());
    }
    let ends = Ends::new(ends.into_iter(), rows, data.len());
    Some((table, ends, data))
}

impl<'a> Strings<'a> {
    /// Reads the strings of `rows` rows, which have at most `bytes_max` bytes together.
    pub fn read(
        reader: &mut Reader<'a>,
        rows: usize,
        encoding: Encoding,
        bytes_max: usize,
    ) -> EncodingResult<Strings<'a>> {
        let ahead = reader.clone();
        let strings = match encoding {
            Encoding::Plain => Strings::Plain(Slices::read(reader, rows)?),
            Encoding::Constant => Strings::Constant(reader.bytes(reader.rest().len())?),
            Encoding::Dictionary => {
                let bytes = reader.u32()? as usize;
                let count = Codes::read_count(reader, rows)?;
                let codes = Codes::read(reader, rows, count)?;
                let entries = Slices::read(reader, count)?;
                Strings::Dictionary { bytes, count, codes, entries }
            }
            Encoding::Symbols => {
                let bytes = reader.u32()? as usize;
                let table = Symbols::read(reader)?;
                Strings::Symbols { bytes, table, slices: Slices::read(reader, rows)? }
            }
            other => return Err(reader.corrupt("an encoding of strings", other.name())),
        };
        match strings.bytes(rows) {
            bytes if bytes <= bytes_max => Ok(strings),
            bytes => {
                let most = format!("at most {bytes_max} bytes of strings");
                Err(ahead.corrupt(most, format!("{bytes}")))
            }
        }
    }

    /// Bytes of the strings of all `rows` rows, at most.
    pub fn bytes(&self, rows: usize) -> usize {
        match self {
            Strings::Plain(slices) => slices.data.len(),
            Strings::Constant(value) => value.len().saturating_mul(rows),
            Strings::Dictionary { bytes, .. } | Strings::Symbols { bytes, .. } => *bytes,
        }
    }

    pub fn distinct(&self) -> Option<usize> {
        match self {
            Strings::Constant(_) => Some(1),
            Strings::Dictionary { count, .. } => Some(*count),
            _ => None,
        }
    }

    /// The string of `row`; what must be decompressed goes to `scratch`.
    pub fn get<'s>(&self, row: usize, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            Strings::Plain(slices) => slices.get(row),
            Strings::Constant(value) => value,
            Strings::Dictionary { codes, entries, .. } => entries.get(codes.get(row)),
            Strings::Symbols { bytes, table, slices } => {
                table.decompress(slices.get(row), *bytes, scratch);
                scratch
            }
        }
    }

    /// Appends the strings of the rows from `start` to before `end` to `data`, and where each ends to `ends`.
    pub fn unpack(
        &self,
        start: usize,
        end: usize,
        is_null: impl Fn(usize) -> bool,
        ends: &mut Vec<i32>,
        data: &mut Vec<u8>,
    ) {
        ends.reserve(end - start);
        match self {
            Strings::Plain(slices) => {
                let before = data.len() as i64;
                let first = slices.start(start) as i64;
                let mut last = first;
                each_batch(slices, start, end, |_, batch| {
                    ends.extend(batch.iter().map(|end| (before + end - first) as i32));
                    last = batch.last().map_or(last, |end| *end);
                });
                data.extend_from_slice(&slices.data[first as usize..last as usize]);
            }
            Strings::Constant(value) => {
                for row in start..end {
                    if !is_null(row) {
                        data.extend_from_slice(value);
                    }
                    ends.push(data.len() as i32);
                }
            }
            Strings::Dictionary { bytes, count, codes, entries } => {
                let all: Vec<&[u8]> = (0..*count).map(|entry| entries.get(entry)).collect();
                let table = codes.table(|entry| all[entry]);
                let (last, bytes_max) = (table.len() - 1, data.len() + bytes);
                let small = all.iter().all(|string| string.len() <= SMALL);
                let small = small.then(|| codes.table(|entry| padded(all[entry])));
                let mut at = data.len();
                if small.is_some() {
                    data.resize(at + (*bytes).min((end - start) * SMALL) + SMALL, 0);
                }
                let mut batch = [0; BATCH];
                for start in (start..end).step_by(BATCH) {
                    let batch = &mut batch[..BATCH.min(end - start)];
                    codes.unpack(start, batch);
                    for code in batch {
                        let code = *code as usize & last;
                        match &small {
                            // Sixteen bytes are copied faster than as many as it has.
                            Some(table) => {
                                let (string, len) = table[code];
                                if let Some(room) = data[at..].first_chunk_mut() {
                                    *room = string;
                                    at += len;
                                }
                            }
                            None => {
                                // Only in altered bytes there are more.
                                if data.len() + table[code].len() <= bytes_max {
                                    data.extend_from_slice(table[code]);
                                }
                                at = data.len();
                            }
                        }
                        ends.push(at as i32);
                    }
                }
                data.truncate(at);
            }
            Strings::Symbols { bytes, table, slices } => {
                let decoder = table.decoder();
                let mut from = slices.start(start);
                let compressed = slices.start(end).saturating_sub(from);
                let most = (*bytes).min(compressed.saturating_mul(8));
                let mut at = data.len();
                data.resize(at + most + 8, 0);
                each_batch(slices, start, end, |_, batch| {
                    for &end in batch {
                        let end = end as usize;
                        at = decoder.decompress(&slices.data[from..end], at, data);
                        ends.push(at as i32);
                        from = end;
                    }
                });
                data.truncate(at);
            }
        }
    }

    /// Clears the bits of `mask` whose strings are not accepted.
    pub fn filter(&self, test: &BytesTest, rows: usize, mask: &mut [u64]) {
        match self {
            Strings::Constant(value) if test.accepts(value) => {}
            Strings::Constant(_) => mask.fill(0),
            Strings::Dictionary { codes, entries, .. } => {
                codes.filter(rows, mask, |entry| test.accepts(entries.get(entry)));
            }
            Strings::Plain(slices) => {
                let mut from = 0;
                each_batch(slices, 0, rows, |start, batch| {
                    for (&end, row) in batch.iter().zip(start..) {
                        let string = &slices.data[from..end as usize];
                        if !test.accepts(string) {
                            mask[row / 64] &= !(1 << (row % 64));
                        }
                        from = end as usize;
                    }
                });
            }
            Strings::Symbols { table, slices, .. } => {
                let decoder = table.decoder();
                // A string is read until it passes `enough` bytes: more room would only be filled for nothing.
                let mut scratch = vec![0; test.enough() + 8];
                retain_rows(mask, |row| {
                    let end = decoder.decompress(slices.get(row), 0, &mut scratch);
                    test.accepts(&scratch[..end])
                });
            }
        }
    }
}

/// A string of at most sixteen bytes, with zeros behind it, and its length.
fn padded(string: &[u8]) -> ([u8; SMALL], usize) {
    let mut all = [0; SMALL];
    all[..string.len()].copy_from_slice(string);
    (all, string.len())
}

/// Calls `each` with the ends of the strings from `start` to before `end`, some at a time, and with the row of
/// the first of them.
fn each_batch(slices: &Slices<'_>, start: usize, end: usize, mut each: impl FnMut(usize, &[i64])) {
    let (mut ends, mut before) = ([0; BATCH], slices.start(start));
    for start in (start..end).step_by(BATCH) {
        let batch = &mut ends[..BATCH.min(end - start)];
        slices.ends(start, before, batch);
        before = batch[batch.len() - 1] as usize;
        each(start, batch);
    }
}

/// Appends the string of each of `rows`.
pub fn select(
    strings: &Strings<'_>,
    rows: &[u32],
    is_null: impl Fn(usize) -> bool,
    out: &mut ColumnBuilder,
) -> EncodingResult<()> {
    let mut scratch = Vec::new();
    for &row in rows {
        match is_null(row as usize) {
            true => out.push_null(),
            false => out.push_bytes(strings.get(row as usize, &mut scratch))?,
        }
    }
    Ok(())
}
