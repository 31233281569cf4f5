//! Chunks of 64-bit integers; the bits of floats are such integers too.
//!
//! | encoding | bytes                                                                                          |
//! |----------|------------------------------------------------------------------------------------------------|
//! | plain    | an i64 per row                                                                                 |
//! | constant | an i64                                                                                         |
//! | runs     | u16 count; codes: for each run the row after its last, less one; packed: the value of each run |
//! | packed   | packed: a number per row                                                                       |
//! | delta    | see [`super::delta`]                                                                           |
//! | dictionary | u16 count; packed: the entries, ascending; codes: a code per row                             |
//!
//! The encoder looks at all values once (extremes, steps, runs), knows from it how many bytes each encoding
//! would take, and takes the smallest. Plain, constant and packed are the fastest to read: another one must
//! save a sixteenth on them. Dictionaries are only tried when a sample has few different values.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u16, put_u64};

use super::delta::{self, Delta};
use super::dictionary::{Codes, Distinct, spread};
use super::filter::Accept;
use super::mask::{clear, retain};
use super::packed::{self, Packed};
use super::{Encoding, ROWS_MAX, gives_up};

/// Integers as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub enum Ints<'a> {
    Plain(&'a [[u8; 8]]),
    Constant(i64),
    Runs { count: usize, lasts: Packed<'a>, values: Packed<'a> },
    Packed(Packed<'a>),
    Delta(Delta<'a>),
    Dictionary { count: usize, entries: Packed<'a>, codes: Codes<'a> },
}

/// What one look at all values tells.
struct Look {
    min: i64,
    max: i64,
    /// The least and the greatest difference of neighbours.
    least: i64,
    most: i64,
    runs: usize,
}

impl Look {
    fn at(values: &[i64]) -> Look {
        let first = values[0];
        let mut look = Look { min: first, max: first, least: i64::MAX, most: i64::MIN, runs: 1 };
        let mut before = first;
        for &value in &values[1..] {
            let step = value.wrapping_sub(before);
            look.min = look.min.min(value);
            look.max = look.max.max(value);
            look.least = look.least.min(step);
            look.most = look.most.max(step);
            look.runs += usize::from(step != 0);
            before = value;
        }
        if values.len() == 1 {
            (look.least, look.most) = (0, 0);
        }
        look
    }
}

/// What to write.
pub struct Choice {
    pub encoding: Encoding,
    /// Its bytes, at most.
    pub bytes: usize,
    look: Look,
    distinct: Option<Distinct>,
}

/// The best encoding of `values`, 1 or more. Differences make no sense for all numbers.
pub fn choose(values: &[i64], with_delta: bool) -> Choice {
    let (look, len) = (Look::at(values), values.len());
    let span = look.max.wrapping_sub(look.min) as u64;
    let mut best = (Encoding::Plain, len * 8);
    let mut distinct = None;
    if span == 0 {
        return Choice { encoding: Encoding::Constant, bytes: 8, look, distinct };
    }
    let packed = packed::size(len, span);
    if packed <= best.1 {
        best = (Encoding::Packed, packed);
    }
    let runs = 2 + packed::codes_size(look.runs, len as u64 - 1) + packed::size(look.runs, span);
    if runs < gives_up(best.1) {
        best = (Encoding::Runs, runs);
    }
    let deltas = delta::size(len, span, look.most.wrapping_sub(look.least) as u64);
    if with_delta && deltas < gives_up(best.1) {
        best = (Encoding::Delta, deltas);
    }
    let dictionary = |entries: usize| {
        2 + packed::size(entries, span) + packed::codes_size(len, entries as u64 - 1)
    };
    if dictionary(2) < gives_up(best.1) {
        let same = |a: usize, b: usize| values[a] == values[b];
        // So many entries would be too many.
        let mut limit = 2;
        while dictionary(limit) < gives_up(best.1) {
            limit *= 2;
        }
        distinct = Distinct::new(len, limit, |row| spread(values[row] as u64), same);
        distinct = distinct.filter(|found| dictionary(found.rows.len()) < gives_up(best.1));
        if let Some(found) = &distinct {
            best = (Encoding::Dictionary, dictionary(found.rows.len()));
        }
    }
    Choice { encoding: best.0, bytes: best.1, look, distinct }
}

/// Appends `values` as was chosen.
pub fn put(out: &mut Vec<u8>, values: &[i64], choice: Choice) {
    let look = choice.look;
    match choice.encoding {
        Encoding::Constant => put_u64(out, values[0] as u64),
        Encoding::Runs => {
            let (mut lasts, mut runs) = (Vec::new(), Vec::new());
            for (row, value) in values.iter().enumerate() {
                if values.get(row + 1) != Some(value) {
                    lasts.push(row as i64);
                    runs.push(*value);
                }
            }
            put_u16(out, runs.len() as u16);
            packed::put_codes(out, &lasts, values.len() as u64 - 1);
            packed::put(out, &runs, look.min, look.max);
        }
        Encoding::Packed => packed::put(out, values, look.min, look.max),
        Encoding::Delta => delta::put(out, values, look.least, look.most),
        Encoding::Dictionary => {
            let mut distinct = choice.distinct.expect("a dictionary is chosen with its entries");
            distinct.sort(|a, b| values[a].cmp(&values[b]));
            let entries: Vec<i64> = distinct.rows.iter().map(|row| values[*row]).collect();
            put_u16(out, entries.len() as u16);
            packed::put(out, &entries, look.min, look.max);
            packed::put_codes(out, &distinct.codes, entries.len() as u64 - 1);
        }
        _ => values.iter().for_each(|value| put_u64(out, *value as u64)),
    }
}

impl<'a> Ints<'a> {
    pub fn read(
        reader: &mut Reader<'a>,
        rows: usize,
        encoding: Encoding,
    ) -> EncodingResult<Ints<'a>> {
        Ok(match encoding {
            Encoding::Plain => Ints::Plain(reader.bytes(rows * 8)?.as_chunks().0),
            Encoding::Constant => Ints::Constant(reader.u64()? as i64),
            Encoding::Runs => {
                let count = Codes::read_count(reader, rows)?;
                let lasts = Packed::read_codes(reader, count)?;
                Ints::Runs { count, lasts, values: Packed::read(reader, count)? }
            }
            Encoding::Packed => Ints::Packed(Packed::read(reader, rows)?),
            Encoding::Delta => Ints::Delta(Delta::read(reader, rows)?),
            Encoding::Dictionary => {
                let count = Codes::read_count(reader, rows)?;
                let entries = Packed::read(reader, count)?;
                Ints::Dictionary { count, entries, codes: Codes::read(reader, rows, count)? }
            }
            other => return Err(reader.corrupt("an encoding of numbers", other.name())),
        })
    }

    /// How many different values there are, where the encoding tells.
    pub fn distinct(&self) -> Option<usize> {
        match self {
            Ints::Constant(_) => Some(1),
            Ints::Dictionary { count, .. } => Some(*count),
            _ => None,
        }
    }

    pub fn get(&self, row: usize) -> i64 {
        match self {
            Ints::Plain(values) => i64::from_le_bytes(values[row]),
            Ints::Constant(value) => *value,
            Ints::Runs { count, lasts, values } => values.get(run_of(row, *count, lasts)),
            Ints::Packed(values) => values.get(row),
            Ints::Delta(values) => values.get(row),
            Ints::Dictionary { entries, codes, .. } => entries.get(codes.get(row)),
        }
    }

    /// Unpacks the values from `start` on.
    pub fn unpack(&self, start: usize, out: &mut [i64]) {
        match self {
            Ints::Plain(values) => {
                let values = values[start..].iter().map(|value| i64::from_le_bytes(*value));
                out.iter_mut().zip(values).for_each(|(to, from)| *to = from);
            }
            Ints::Constant(value) => packed::fill(out, *value),
            Ints::Runs { count, lasts, values } => {
                for_each_run(start, start + out.len(), *count, lasts, |run, from, to| {
                    packed::fill(&mut out[from - start..to - start], values.get(run));
                });
            }
            Ints::Packed(values) => values.unpack(start, out),
            Ints::Delta(values) => values.unpack(start, out),
            Ints::Dictionary { entries, codes, count } => {
                // A few rows are not worth a table of all entries.
                if out.len() < *count {
                    let rows = out.iter_mut().enumerate();
                    return rows.for_each(|(row, to)| *to = entries.get(codes.get(start + row)));
                }
                let mut values = vec![0; *count];
                entries.unpack(0, &mut values);
                let table = codes.table(|entry| values[entry]);
                let last = table.len() - 1;
                codes.unpack(start, out);
                let (eights, rest) = out.as_chunks_mut::<8>();
                for eight in eights {
                    eight.iter_mut().for_each(|code| *code = table[*code as usize & last]);
                }
                rest.iter_mut().for_each(|code| *code = table[*code as usize & last]);
            }
        }
    }

    /// Clears the bits of `mask` whose values are not accepted.
    pub fn filter(&self, test: &impl Accept, rows: usize, mask: &mut [u64]) {
        match self {
            Ints::Constant(value) if test.one(*value) => {}
            Ints::Constant(_) => mask.fill(0),
            Ints::Runs { count, lasts, values } => {
                for_each_run(0, rows, *count, lasts, |run, from, to| {
                    if !test.one(values.get(run)) {
                        clear(mask, from, to);
                    }
                });
            }
            Ints::Packed(values) => values.filter(test, rows, mask),
            Ints::Dictionary { entries, codes, .. } => {
                codes.filter(rows, mask, |entry| test.one(entries.get(entry)));
            }
            Ints::Plain(_) | Ints::Delta(_) => {
                let unpack = |start: usize, out: &mut [i64]| self.unpack(start, out);
                retain(mask, rows, unpack, |values| test.word(values));
            }
        }
    }
}

/// The run that `row` is in; the last when there is none.
pub fn run_of(row: usize, count: usize, lasts: &Packed<'_>) -> usize {
    let (mut low, mut high) = (0, count - 1);
    while low < high {
        let middle = low.midpoint(high);
        if (lasts.get(middle) as usize) < row {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Calls `each` with every run in the rows from `start` to before `end`, and with its rows there. They cover
/// these rows once, whatever the bytes say.
pub fn for_each_run(
    start: usize,
    end: usize,
    count: usize,
    lasts: &Packed<'_>,
    mut each: impl FnMut(usize, usize, usize),
) {
    const _: () = assert!(ROWS_MAX < i64::MAX as usize, "a row's number is an i64");
    let (mut at, mut run) = (start, run_of(start, count, lasts));
    while at < end {
        let last = if run + 1 < count { lasts.get(run) as usize } else { end - 1 };
        let next = last.saturating_add(1).clamp(at, end);
        if at < next {
            each(run, at, next);
        }
        (at, run) = (next, run + 1);
    }
}
