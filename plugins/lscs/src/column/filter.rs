//! Filters: one condition on a column, prepared once and then held against many chunks.
//!
//! | of a column of | becomes                                                                     |
//! |----------------|-----------------------------------------------------------------------------|
//! | anything       | is null, is not null                                                        |
//! | bool           | whether `false` and `true` are accepted                                     |
//! | int, timestamp | a range, or what is outside of it; or a sorted list                         |
//! | float          | a comparison with one number, as IEEE 754 has it; or a list                 |
//! | string, bytes  | a comparison, a beginning, or a sorted list                                 |
//! | vector         | comparisons float by float, as everywhere in Rust                           |
//!
//! No test but "is null" accepts a null; NaN is unequal to everything, and neither less nor greater.

use std::cmp::Ordering;

use sochdb_guest::encoding::row::Value;
use sochdb_guest::encoding::select::Comparison;

use super::mask::word_of;
use crate::{Error, Result};

/// A condition on one column.
#[derive(Debug, Clone)]
pub struct Filter(pub(super) Kind);

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// No row.
    Nothing,
    /// True: only nulls. False: everything else.
    Null(bool),
    /// Which of `false` and `true`.
    Bool([bool; 2]),
    Int(IntTest),
    Float(FloatTest),
    Bytes(BytesTest),
    Vector(Comparison, Vec<Vec<f32>>),
}

/// What a test says about the numbers of a chunk; floats go by their bits.
pub(super) trait Accept {
    /// Whether it accepts the number.
    fn one(&self, value: i64) -> bool;
    /// The answers for 64 numbers, as bits.
    fn word(&self, values: &[i64; 64]) -> u64;
    /// The least and the greatest number that it accepts; if the last is true, all but those.
    fn range(&self) -> Option<(i64, i64, bool)>;
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum IntTest {
    /// From the first to the second, the first never greater; all others if the third is true.
    Range(i64, i64, bool),
    /// These, ascending.
    In(Vec<i64>),
}

#[derive(Debug, Clone)]
pub(super) enum FloatTest {
    Compare(Comparison, f64),
    In(Vec<f64>),
}

#[derive(Debug, Clone)]
pub(super) enum BytesTest {
    Compare(Comparison, Vec<u8>),
    In(Vec<Vec<u8>>),
}

impl Filter {
    /// The test that a value compares so with `values`: one value, any number for
    /// [`In`](Comparison::In), none that matters for the tests on nulls.
    ///
    /// # Errors
    /// `Invalid` when there is no value to compare with, values are of different types, or it is a
    /// comparison that their type does not have.
    pub fn new(comparison: Comparison, values: &[Value]) -> Result<Filter> {
        let invalid = || Error::Invalid(format!("{comparison:?} does not go with {values:?}"));
        match comparison {
            Comparison::IsNull => return Ok(Filter(Kind::Null(true))),
            Comparison::IsNotNull => return Ok(Filter(Kind::Null(false))),
            Comparison::In => {}
            _ if values.len() != 1 => return Err(invalid()),
            _ => {}
        }
        macro_rules! all {
            ($($kind:ident)|*, $value:ident => $of:expr) => {
                values.iter().map(|value| match value {
                    $(Value::$kind($value))|* => Ok($of),
                    _ => Err(invalid()),
                }).collect::<Result<Vec<_>>>()?
            };
        }
        let starts = comparison == Comparison::StartsWith;
        Ok(Filter(match values.first() {
            Some(Value::Bytes(_) | Value::String(_)) => {
                let mut all = values.iter().map(bytes).collect::<Option<Vec<_>>>();
                let all = all.take().ok_or_else(invalid)?;
                Kind::Bytes(BytesTest::new(comparison, all))
            }
            Some(_) if starts => return Err(invalid()),
            Some(Value::Int64(_) | Value::Timestamp(_)) => {
                Kind::Int(IntTest::new(comparison, all!(Int64 | Timestamp, v => *v)))
            }
            Some(Value::Float64(_)) => {
                Kind::Float(FloatTest::new(comparison, all!(Float64, v => *v)))
            }
            Some(Value::Bool(_)) => {
                let all = all!(Bool, v => *v);
                let test = |value: bool| fulfils(comparison, &all, |to| value.partial_cmp(to));
                Kind::Bool([test(false), test(true)])
            }
            Some(Value::Vector(_)) => Kind::Vector(comparison, all!(Vector, v => v.clone())),
            // Nothing is one of none, whatever the type.
            None => Kind::Nothing,
            Some(_) => return Err(invalid()),
        }))
    }
}

impl Filter {
    /// The one test that accepts what both accept, where there is one: of two ranges of integers.
    pub fn and(&self, other: &Filter) -> Option<Filter> {
        let (
            Kind::Int(IntTest::Range(low, high, false)),
            Kind::Int(IntTest::Range(from, to, false)),
        ) = (&self.0, &other.0)
        else {
            return None;
        };
        let (low, high) = (*low.max(from), *high.min(to));
        let none = high < low;
        Some(Filter(if none { Kind::Nothing } else { Kind::Int(IntTest::Range(low, high, false)) }))
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

/// Whether a value compares so with what `values` has; `order` is its order to one of them.
pub(super) fn fulfils<T>(
    comparison: Comparison,
    values: &[T],
    order: impl Fn(&T) -> Option<Ordering>,
) -> bool {
    if comparison == Comparison::In {
        return values.iter().any(|value| order(value) == Some(Ordering::Equal));
    }
    accepts(comparison, values.first().and_then(order))
}

fn accepts(comparison: Comparison, order: Option<Ordering>) -> bool {
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order.is_some_and(Ordering::is_lt),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order.is_some_and(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        _ => false,
    }
}

impl IntTest {
    /// `values` is not empty.
    fn new(comparison: Comparison, mut values: Vec<i64>) -> IntTest {
        let value = values[0];
        let none = IntTest::In(Vec::new());
        let range = |low, high| IntTest::Range(low, high, false);
        match comparison {
            Comparison::Equal => range(value, value),
            Comparison::NotEqual => IntTest::Range(value, value, true),
            Comparison::Less => value.checked_sub(1).map_or(none, |high| range(i64::MIN, high)),
            Comparison::LessOrEqual => range(i64::MIN, value),
            Comparison::Greater => value.checked_add(1).map_or(none, |low| range(low, i64::MAX)),
            Comparison::GreaterOrEqual => range(value, i64::MAX),
            _ => {
                values.sort_unstable();
                values.dedup();
                IntTest::In(values)
            }
        }
    }
}

impl Accept for IntTest {
    fn one(&self, value: i64) -> bool {
        match self {
            IntTest::Range(low, high, invert) => (*low <= value && value <= *high) != *invert,
            IntTest::In(values) => values.binary_search(&value).is_ok(),
        }
    }

    fn word(&self, values: &[i64; 64]) -> u64 {
        match self {
            IntTest::Range(low, high, invert) => {
                let span = high.wrapping_sub(*low) as u64;
                let word = word_of(values, |value| value.wrapping_sub(*low) as u64 <= span);
                if *invert { !word } else { word }
            }
            IntTest::In(list) => match list[..] {
                [] => 0,
                [a] => word_of(values, |value| value == a),
                [a, b] => word_of(values, |value| value == a || value == b),
                [a, b, c] => word_of(values, |value| value == a || value == b || value == c),
                _ => word_of(values, |value| list.binary_search(&value).is_ok()),
            },
        }
    }

    fn range(&self) -> Option<(i64, i64, bool)> {
        match self {
            IntTest::Range(low, high, invert) => Some((*low, *high, *invert)),
            IntTest::In(values) => match values[..] {
                [value] => Some((value, value, false)),
                _ => None,
            },
        }
    }
}

impl FloatTest {
    fn new(comparison: Comparison, values: Vec<f64>) -> FloatTest {
        match comparison {
            Comparison::In => FloatTest::In(values),
            _ => FloatTest::Compare(comparison, values[0]),
        }
    }

    pub fn accepts(&self, value: f64) -> bool {
        match self {
            FloatTest::Compare(comparison, to) => accepts(*comparison, value.partial_cmp(to)),
            FloatTest::In(values) => values.contains(&value),
        }
    }
}

impl Accept for FloatTest {
    fn one(&self, value: i64) -> bool {
        self.accepts(f64::from_bits(value as u64))
    }

    fn word(&self, values: &[i64; 64]) -> u64 {
        let float = |bits: i64| f64::from_bits(bits as u64);
        match self {
            FloatTest::In(list) => word_of(values, |value| list.contains(&float(value))),
            FloatTest::Compare(comparison, to) => match comparison {
                Comparison::Equal => word_of(values, |value| float(value) == *to),
                Comparison::NotEqual => word_of(values, |value| float(value) != *to),
                Comparison::Less => word_of(values, |value| float(value) < *to),
                Comparison::LessOrEqual => word_of(values, |value| float(value) <= *to),
                Comparison::Greater => word_of(values, |value| float(value) > *to),
                Comparison::GreaterOrEqual => word_of(values, |value| float(value) >= *to),
                _ => 0,
            },
        }
    }

    fn range(&self) -> Option<(i64, i64, bool)> {
        None
    }
}

impl BytesTest {
    fn new(comparison: Comparison, mut values: Vec<Vec<u8>>) -> BytesTest {
        if comparison == Comparison::In {
            values.sort_unstable();
            values.dedup();
            return BytesTest::In(values);
        }
        BytesTest::Compare(comparison, values.swap_remove(0))
    }

    /// Whether it accepts `value`, or any bytes that begin with the first [`enough`](Self::enough) of it.
    pub fn accepts(&self, value: &[u8]) -> bool {
        match self {
            BytesTest::Compare(Comparison::Equal, to) => value == to,
            BytesTest::Compare(Comparison::NotEqual, to) => value != to,
            BytesTest::Compare(Comparison::StartsWith, to) => value.starts_with(to),
            BytesTest::Compare(comparison, to) => accepts(*comparison, Some(value.cmp(to))),
            BytesTest::In(values) => values.binary_search_by(|of| of[..].cmp(value)).is_ok(),
        }
    }

    /// So many bytes of a value decide: one more than those of the longest that it is compared with.
    pub fn enough(&self) -> usize {
        match self {
            BytesTest::Compare(_, to) => to.len() + 1,
            BytesTest::In(values) => values.iter().map(Vec::len).max().unwrap_or(0) + 1,
        }
    }
}
