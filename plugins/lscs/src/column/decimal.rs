//! Floats that were written as decimals, as integers: 12.34 is 1234 with two digits after the point.
//!
//! | offset | size | type   | field        | meaning                                                           |
//! |-------:|-----:|--------|--------------|-------------------------------------------------------------------|
//! |      0 |    1 | u8     | `digits`     | 0 to 18: an integer `i` stands for `i / 10^digits`                |
//! |      1 |    1 | u8     | `encoding`   | of the integers                                                   |
//! |      2 |    2 | u16    | `count`      | of exceptions                                                     |
//! |      4 |  2 count | u16 | `positions` | their rows, ascending                                            |
//! |      . |  8 count | u64 | `patches`   | the bits of their values                                         |
//! |      . |    . |        | `integers`   | a chunk of integers as in [`super::ints`]; at exceptions any      |
//!
//! A value becomes an integer only if the division gives back exactly its bits; all others are exceptions: NaN,
//! infinities, negative zero, numbers with too many digits. The division is the IEEE 754 one, correctly
//! rounded, so every machine reads the same bits, and greater integers never stand for smaller floats: a
//! condition on the floats is one on the integers.
//!
//! Source: ALP, by Afroozeh, Kuffo and Boncz 2023. There, two multiplications replace the division, which costs
//! a search for two exponents and more exceptions. The crate `alp` does that, over blocks of 1,024; it is young,
//! and its search costs more than all else here for chunks of a few hundred values.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::{Reader, put_u16, put_u64};
use sochdb_guest::encoding::select::Comparison;

use super::filter::{FloatTest, IntTest};
use super::ints::{self, Ints};
use super::{Encoding, mask};

const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];
/// Integers up to this are floats exactly.
const INTEGER_MAX: u64 = 1 << 53;
/// Values that are looked at to find the digits.
const SAMPLE: usize = 64;
/// When none of so many is a decimal, none is expected.
const HOPELESS: usize = 16;
/// Bytes of an exception.
const EXCEPTION_BYTES: usize = 2 + 8;
/// One exception in so many values, at most: with more of them reading is slow.
const EXCEPTIONS_SHARE: usize = 8;

/// Floats as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<'a> {
    digits: usize,
    positions: &'a [[u8; 2]],
    patches: &'a [[u8; 8]],
    pub ints: Ints<'a>,
}

/// What to write.
pub struct Choice {
    digits: usize,
    exceptions: Vec<(u16, f64)>,
    ints: Vec<i64>,
    inner: ints::Choice,
}

fn restore(value: i64, digits: usize) -> f64 {
    value as f64 / POWERS[digits]
}

/// The integer that stands for exactly `value`.
fn scaled(value: f64, digits: usize) -> Option<i64> {
    let int = (value * POWERS[digits]).round_ties_even() as i64;
    let same = restore(int, digits).to_bits() == value.to_bits();
    (same && int.unsigned_abs() <= INTEGER_MAX).then_some(int)
}

/// The digits that make the sample smallest.
fn digits_of(values: &[f64]) -> Option<usize> {
    let step = values.len().div_ceil(SAMPLE);
    let sample = || values.iter().step_by(step);
    let (mut needed, mut found, mut guess) = ([0usize; POWERS.len()], 0, 0);
    for (index, &value) in sample().enumerate() {
        if index == HOPELESS && found == 0 {
            return None;
        }
        // Neighbours mostly need as many digits, or fewer.
        let from = if scaled(value, guess).is_some() { 0 } else { guess + 1 };
        if let Some(digits) = (from..POWERS.len()).find(|digits| scaled(value, *digits).is_some()) {
            needed[digits] += 1;
            found += 1;
            guess = guess.max(digits);
        }
    }
    let bits = |digits: usize| {
        let (mut min, mut max, mut exceptions, mut len) = (i64::MAX, i64::MIN, 0, 0);
        for &value in sample() {
            len += 1;
            match scaled(value, digits) {
                Some(int) => (min, max) = (min.min(int), max.max(int)),
                None => exceptions += 1,
            }
        }
        let width = if min <= max { super::packed::width_of((max - min) as u64) } else { 64 };
        len * width as usize + exceptions * EXCEPTION_BYTES * 8
    };
    (0..POWERS.len()).filter(|digits| needed[*digits] != 0).min_by_key(|digits| bits(*digits))
}

/// How `values` would be written as decimals, if they can be.
pub fn choose(values: &[f64]) -> Option<Choice> {
    let digits = digits_of(values)?;
    let exceptions_max = values.len() / EXCEPTIONS_SHARE;
    let (mut ints, mut exceptions) = (Vec::with_capacity(values.len()), Vec::new());
    // What stands for an exception is the integer before it, or the first there is.
    let mut last = values.iter().find_map(|value| scaled(*value, digits))?;
    for (row, &value) in values.iter().enumerate() {
        match scaled(value, digits) {
            Some(int) => last = int,
            None if exceptions.len() == exceptions_max => return None,
            None => exceptions.push((row as u16, value)),
        }
        ints.push(last);
    }
    let inner = ints::choose(&ints, true);
    Some(Choice { digits, exceptions, ints, inner })
}

impl Choice {
    pub fn bytes(&self) -> usize {
        1 + 1 + 2 + self.exceptions.len() * EXCEPTION_BYTES + self.inner.bytes
    }

    pub fn is_exact(&self) -> bool {
        self.exceptions.is_empty()
    }

    pub fn put(self, out: &mut Vec<u8>) {
        out.extend([self.digits as u8, self.inner.encoding as u8]);
        put_u16(out, self.exceptions.len() as u16);
        self.exceptions.iter().for_each(|(row, _)| put_u16(out, *row));
        self.exceptions.iter().for_each(|(_, value)| put_u64(out, value.to_bits()));
        ints::put(out, &self.ints, self.inner);
    }
}

impl<'a> Decimal<'a> {
    pub fn read(reader: &mut Reader<'a>, rows: usize) -> EncodingResult<Decimal<'a>> {
        let digits = usize::from(reader.u8()?);
        if POWERS.len() <= digits {
            return Err(reader.corrupt("0 to 18 digits", format!("{digits}")));
        }
        let encoding = Encoding::read(reader)?;
        let count = usize::from(reader.u16()?);
        let positions = reader.bytes(count * 2)?.as_chunks().0;
        let patches = reader.bytes(count * 8)?.as_chunks().0;
        let ints = Ints::read(reader, rows, encoding)?;
        Ok(Decimal { digits, positions, patches, ints })
    }

    pub fn get(&self, row: usize) -> f64 {
        if !self.positions.is_empty() {
            let at = self.positions.binary_search_by_key(&row, |at| position(*at));
            if let Ok(index) = at {
                return patch(self.patches[index]);
            }
        }
        restore(self.ints.get(row), self.digits)
    }

    /// The exceptions among the rows from `start` to before `end`.
    fn exceptions(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, f64)> + 'a {
        let first = self.positions.partition_point(|at| position(*at) < start);
        let rows = self.positions[first..].iter().map(|at| position(*at));
        let exceptions = rows.zip(self.patches[first..].iter().map(|bits| patch(*bits)));
        exceptions.take_while(move |(row, _)| (start..end).contains(row))
    }

    /// Unpacks the values from `start` on; `ints` has as much room.
    pub fn unpack(&self, start: usize, ints: &mut [i64], out: &mut [f64]) {
        self.ints.unpack(start, ints);
        let power = POWERS[self.digits];
        let pairs = out.iter_mut().zip(ints.iter());
        if self.digits == 0 {
            pairs.for_each(|(to, from)| *to = *from as f64);
        } else {
            pairs.for_each(|(to, from)| *to = *from as f64 / power);
        }
        for (row, value) in self.exceptions(start, start + out.len()) {
            out[row - start] = value;
        }
    }

    /// Clears the bits of `mask` whose values are not accepted.
    pub fn filter(&self, test: &FloatTest, rows: usize, mask: &mut [u64]) {
        let keep = |(row, value)| mask::is_set(mask, row) && test.accepts(value);
        let kept: Vec<bool> = self.exceptions(0, rows).map(keep).collect();
        self.ints.filter(&integers(test, self.digits), rows, mask);
        for ((row, _), keep) in self.exceptions(0, rows).zip(kept) {
            mask[row / 64] = mask[row / 64] & !(1 << (row % 64)) | u64::from(keep) << (row % 64);
        }
    }
}

fn position(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(bytes))
}

fn patch(bytes: [u8; 8]) -> f64 {
    f64::from_bits(u64::from_le_bytes(bytes))
}

/// The first integer whose float is `at_least`, which is so for all greater ones too; one more than there are
/// if it is so for none.
fn first(digits: usize, at_least: impl Fn(f64) -> bool) -> i128 {
    let (mut low, mut high) = (i128::from(i64::MIN), i128::from(i64::MAX) + 1);
    while low < high {
        let middle = (low + high) >> 1;
        if at_least(restore(middle as i64, digits)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The test on integers that accepts those whose floats `test` accepts.
fn integers(test: &FloatTest, digits: usize) -> IntTest {
    let none = IntTest::In(Vec::new());
    // From `start` to before `end`, or all others.
    let range = |start: i128, end: i128, invert: bool| match start < end {
        true => IntTest::Range(start as i64, (end - 1) as i64, invert),
        false if invert => IntTest::Range(i64::MIN, i64::MAX, false),
        false => none.clone(),
    };
    let (least, end) = (i128::from(i64::MIN), i128::from(i64::MAX) + 1);
    let (comparison, to) = match test {
        FloatTest::Compare(comparison, to) => (*comparison, *to),
        FloatTest::In(list) => {
            let equal = |to: &f64| {
                let int = first(digits, |float| *to <= float);
                (int < end && restore(int as i64, digits) == *to).then_some(int as i64)
            };
            let mut list: Vec<i64> = list.iter().filter_map(equal).collect();
            list.sort_unstable();
            list.dedup();
            return IntTest::In(list);
        }
    };
    if to.is_nan() {
        return range(end, end, comparison == Comparison::NotEqual);
    }
    let from = || first(digits, |float| to <= float);
    let above = || first(digits, |float| to < float);
    match comparison {
        Comparison::Equal => range(from(), above(), false),
        Comparison::NotEqual => range(from(), above(), true),
        Comparison::Less => range(least, from(), false),
        Comparison::LessOrEqual => range(least, above(), false),
        Comparison::Greater => range(above(), end, false),
        Comparison::GreaterOrEqual => range(from(), end, false),
        _ => none,
    }
}
