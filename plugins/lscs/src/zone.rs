//! Zone maps: the least and greatest value of a column in one block, so that a scan can leave the block out.
//!
//! | item    | bytes    | meaning                                                                  |
//! |---------|---------:|--------------------------------------------------------------------------|
//! | `nulls` |   varint | rows without a value; deleted rows are not counted                       |
//! | `raw`   |   varint | bytes of the values as rows have them                                    |
//! | `kind`  |        1 | 0: no bounds follow                                                      |
//! |         |          | 1: int64 or timestamp: least i64, greatest i64                           |
//! |         |          | 2: float64: least f64, greatest f64, both without regard to NaN          |
//! |         |          | 3: bool: least u8, greatest u8                                           |
//! |         |          | 4: string or bytes: flags u8 (1: the least is whole, 2: the greatest is), least and greatest, each prefixed by its length |
//!
//! Strings and bytes are cut to [`BOUND_BYTES_MAX`]. What is left of the least is a lower bound as it is; of the
//! greatest only its beginning is known then. Vectors have no bounds.

use sochdb_guest::encoding::codec::{Reader, put_bytes, put_varint};
use sochdb_guest::encoding::columns::{ColumnBuilder, Values};
use sochdb_guest::encoding::row::{ColumnType, Value};
use sochdb_guest::encoding::select::{Comparison, Condition};

use crate::Result;

/// Bytes kept of a string in a zone map.
pub(crate) const BOUND_BYTES_MAX: usize = 32;
const MIN_WHOLE: u8 = 1;
const MAX_WHOLE: u8 = 2;

/// Least and greatest value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bounds {
    Ints(i64, i64),
    Floats(f64, f64),
    Bools(bool, bool),
    Bytes { min: Vec<u8>, max: Vec<u8>, min_whole: bool, max_whole: bool },
}

/// One column of one block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    pub nulls: u64,
    pub raw_bytes: u64,
    pub bounds: Option<Bounds>,
}

impl Zone {
    /// The zone of `column`, `dead` of whose rows are deleted and null.
    pub fn of(column: &ColumnBuilder, dead: usize) -> Zone {
        let rows = column.rows();
        let nulls = column.validity().map_or(0, |bits| {
            rows - bits.words().iter().map(|word| word.count_ones() as usize).sum::<usize>()
        });
        let values = (rows - nulls) as u64;
        let raw_bytes = match (&column.values, column.kind()) {
            (Values::Bool(_), _) => values,
            (Values::Bytes { data, .. }, _) => data.len() as u64,
            (_, ColumnType::Vector(dim)) => values * 4 * u64::from(dim),
            _ => values * 8,
        };
        Zone { nulls: nulls.saturating_sub(dead) as u64, raw_bytes, bounds: bounds(column) }
    }

    /// Whether one of `live` rows, which lie in this zone, may fulfil `condition`.
    pub fn may_hold(&self, condition: &Condition, live: u64) -> bool {
        match condition.comparison() {
            Comparison::IsNull => self.nulls != 0,
            Comparison::IsNotNull => self.nulls < live,
            _ if live <= self.nulls => false,
            Comparison::In => condition.values().iter().any(|v| self.may_be(Comparison::Equal, v)),
            comparison => self.may_be(comparison, &condition.values()[0]),
        }
    }

    fn may_be(&self, comparison: Comparison, value: &Value) -> bool {
        match (&self.bounds, value) {
            (Some(Bounds::Ints(min, max)), Value::Int64(v) | Value::Timestamp(v)) => {
                between(comparison, min, max, v)
            }
            (Some(Bounds::Floats(min, max)), Value::Float64(v)) => {
                comparison == Comparison::NotEqual || between(comparison, min, max, v)
            }
            (Some(Bounds::Bools(min, max)), Value::Bool(v)) => between(comparison, min, max, v),
            (Some(Bounds::Bytes { min, max, min_whole, max_whole }), value) => {
                let wanted = match value {
                    Value::String(text) => text.as_bytes(),
                    Value::Bytes(bytes) => bytes,
                    _ => return true,
                };
                let one = *min_whole && *max_whole;
                if comparison == Comparison::StartsWith {
                    let cut = |bound: &Vec<u8>| bound[..bound.len().min(wanted.len())].to_vec();
                    let (low, high) = (cut(min), cut(max));
                    return low[..] <= *wanted
                        && (*wanted <= high[..] || (!max_whole && wanted.starts_with(&high)));
                }
                if comparison == Comparison::NotEqual {
                    return !one || between(comparison, &min[..], &max[..], wanted);
                }
                // Of a greatest value that was cut, whatever begins with it may be there.
                let beyond = !max_whole && wanted.starts_with(max);
                match comparison {
                    Comparison::Less | Comparison::LessOrEqual => {
                        between(comparison, &min[..], &max[..], wanted)
                    }
                    Comparison::Equal => min[..] <= *wanted && (*wanted <= max[..] || beyond),
                    _ => beyond || between(comparison, &min[..], &max[..], wanted),
                }
            }
            _ => true,
        }
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.nulls);
        put_varint(out, self.raw_bytes);
        put_bounds(self.bounds.as_ref(), out);
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Zone> {
        let (nulls, raw_bytes) = (reader.varint()?, reader.varint()?);
        Ok(Zone { nulls, raw_bytes, bounds: take_bounds(reader)? })
    }
}

/// Whether a value between `min` and `max` may compare so with `value`.
fn between<T: PartialOrd + ?Sized>(comparison: Comparison, min: &T, max: &T, value: &T) -> bool {
    match comparison {
        Comparison::Equal => min <= value && value <= max,
        Comparison::NotEqual => !(min == value && max == value),
        Comparison::Less => min < value,
        Comparison::LessOrEqual => min <= value,
        Comparison::Greater => value < max,
        Comparison::GreaterOrEqual => value <= max,
        _ => true,
    }
}

impl Bounds {
    /// Widens these bounds to those of both.
    pub fn merge(&mut self, other: &Bounds) {
        match (self, other) {
            (Bounds::Ints(min, max), Bounds::Ints(a, b)) => {
                (*min, *max) = ((*min).min(*a), (*max).max(*b))
            }
            (Bounds::Floats(min, max), Bounds::Floats(a, b)) => {
                (*min, *max) = (min.min(*a), max.max(*b))
            }
            (Bounds::Bools(min, max), Bounds::Bools(a, b)) => (*min, *max) = (*min & *a, *max | *b),
            (
                Bounds::Bytes { min, max, min_whole, max_whole },
                Bounds::Bytes { min: a, max: b, min_whole: a_whole, max_whole: b_whole },
            ) => {
                // Of equal beginnings the whole one is the less; so the greatest is whole only if both are.
                if (&a[..], !a_whole) < (&min[..], !*min_whole) {
                    (*min, *min_whole) = (a.clone(), *a_whole);
                }
                if (&max[..], !*max_whole) < (&b[..], !b_whole) {
                    (*max, *max_whole) = (b.clone(), *b_whole);
                }
            }
            // Columns of one name and two types: no caller makes them, and the first stays.
            _ => {}
        }
    }

    /// The bounds as values of a column that holds `kind`: none where only the beginning is known and that
    /// is no bound.
    pub fn values(&self, kind: ColumnType) -> (Option<Value>, Option<Value>) {
        match self {
            Bounds::Ints(min, max) if kind == ColumnType::Timestamp => {
                (Some(Value::Timestamp(*min)), Some(Value::Timestamp(*max)))
            }
            Bounds::Ints(min, max) => (Some(Value::Int64(*min)), Some(Value::Int64(*max))),
            Bounds::Floats(min, max) => (Some(Value::Float64(*min)), Some(Value::Float64(*max))),
            Bounds::Bools(min, max) => (Some(Value::Bool(*min)), Some(Value::Bool(*max))),
            Bounds::Bytes { min, max, max_whole, .. } => {
                let value = |bytes: &[u8]| match kind {
                    // A string may have been cut within a character; its whole ones are a bound as well.
                    ColumnType::String => {
                        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                        Value::String(text.to_owned())
                    }
                    _ => Value::Bytes(bytes.to_vec()),
                };
                (Some(value(min)), max_whole.then(|| value(max)))
            }
        }
    }
}

pub(crate) fn put_bounds(bounds: Option<&Bounds>, out: &mut Vec<u8>) {
    match bounds {
        None => out.push(0),
        Some(Bounds::Ints(min, max)) => {
            out.push(1);
            [min, max].iter().for_each(|bound| out.extend(bound.to_le_bytes()));
        }
        Some(Bounds::Floats(min, max)) => {
            out.push(2);
            [min, max].iter().for_each(|bound| out.extend(bound.to_le_bytes()));
        }
        Some(Bounds::Bools(min, max)) => out.extend([3, u8::from(*min), u8::from(*max)]),
        Some(Bounds::Bytes { min, max, min_whole, max_whole }) => {
            let flags =
                if *min_whole { MIN_WHOLE } else { 0 } | if *max_whole { MAX_WHOLE } else { 0 };
            out.extend([4, flags]);
            put_bytes(out, min);
            put_bytes(out, max);
        }
    }
}

pub(crate) fn take_bounds(reader: &mut Reader<'_>) -> Result<Option<Bounds>> {
    Ok(Some(match reader.u8()? {
        0 => return Ok(None),
        1 => Bounds::Ints(i64::from_le_bytes(reader.array()?), i64::from_le_bytes(reader.array()?)),
        2 => {
            Bounds::Floats(f64::from_le_bytes(reader.array()?), f64::from_le_bytes(reader.array()?))
        }
        3 => Bounds::Bools(reader.u8()? != 0, reader.u8()? != 0),
        4 => {
            let flags = reader.u8()?;
            let min = reader.prefixed(BOUND_BYTES_MAX)?.to_vec();
            let max = reader.prefixed(BOUND_BYTES_MAX)?.to_vec();
            let (min_whole, max_whole) = (flags & MIN_WHOLE != 0, flags & MAX_WHOLE != 0);
            Bounds::Bytes { min, max, min_whole, max_whole }
        }
        other => return Err(reader.corrupt("the kind of a zone", format!("{other}")).into()),
    }))
}

fn bounds(column: &ColumnBuilder) -> Option<Bounds> {
    let validity = column.validity();
    let mut rows = (0..column.rows()).filter(|row| validity.is_none_or(|bits| bits.get(*row)));
    match &column.values {
        Values::Bool(bits) => {
            let first = bits.get(rows.next()?);
            let widen = |(min, max), row| (min & bits.get(row), max | bits.get(row));
            let (min, max) = rows.fold((first, first), widen);
            Some(Bounds::Bools(min, max))
        }
        Values::Int64(numbers) => {
            let first = numbers[rows.next()?];
            let widen =
                |(min, max): (i64, i64), row: usize| (min.min(numbers[row]), max.max(numbers[row]));
            let (min, max) = rows.fold((first, first), widen);
            Some(Bounds::Ints(min, max))
        }
        Values::Float64(numbers) => {
            let mut numbers = rows.map(|row| numbers[row]).filter(|number| !number.is_nan());
            let first = numbers.next()?;
            let (min, max) = numbers.fold((first, first), |(min, max), n| (min.min(n), max.max(n)));
            Some(Bounds::Floats(min, max))
        }
        Values::Bytes { offsets, data } => {
            let get = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
            let first = get(rows.next()?);
            let (min, max) =
                rows.fold((first, first), |(min, max), row| (min.min(get(row)), max.max(get(row))));
            let cut = |bytes: &[u8]| bytes[..bytes.len().min(BOUND_BYTES_MAX)].to_vec();
            let whole = |bytes: &[u8]| bytes.len() <= BOUND_BYTES_MAX;
            Some(Bounds::Bytes {
                min: cut(min),
                max: cut(max),
                min_whole: whole(min),
                max_whole: whole(max),
            })
        }
        Values::Vector(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sochdb_guest::encoding::row::{Column, Schema};

    fn any_value(kind: ColumnType) -> BoxedStrategy<Value> {
        let long = "x".repeat(BOUND_BYTES_MAX - 1);
        match kind {
            ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ColumnType::Int64 => (-3i64..3).prop_map(Value::Int64).boxed(),
            ColumnType::Float64 => {
                prop_oneof![Just(f64::NAN), Just(0.0), Just(-0.0), Just(1.5), Just(-2.0)]
                    .prop_map(Value::Float64)
                    .boxed()
            }
            _ => ("[ab]{0,2}", any::<bool>())
                .prop_map(move |(text, far)| {
                    Value::String(if far { format!("{long}{text}") } else { text })
                })
                .boxed(),
        }
    }

    proptest! {
        #[test]
        fn a_zone_never_excludes_a_row_that_holds(
            (kind, cells, value) in prop_oneof![
                Just(ColumnType::Bool), Just(ColumnType::Int64), Just(ColumnType::Float64), Just(ColumnType::String)
            ].prop_flat_map(|kind| (Just(kind), vec(prop_oneof![4 => any_value(kind), 1 => Just(Value::Null)], 0..6), any_value(kind))),
            split in any::<prop::sample::Index>(),
        ) {
            let id = Column { name: "id".into(), kind: ColumnType::Int64, nullable: false, default: None };
            let c = Column { name: "c".into(), kind, nullable: true, default: None };
            let schema = Schema::new(vec![id, c], &["id"]).unwrap();
            let zone = |cells: &[Value]| {
                let mut column = ColumnBuilder::new(kind);
                cells.iter().for_each(|cell| column.push(cell).unwrap());
                Zone::of(&column, 0)
            };
            let whole = zone(&cells);
            let mut bytes = Vec::new();
            whole.put(&mut bytes);
            prop_assert_eq!(&Zone::take(&mut Reader::new("", 0, &bytes)).unwrap(), &whole);
            let (a, b) = cells.split_at(split.index(cells.len() + 1));
            let mut both = zone(a);
            let other = zone(b);
            match (&mut both.bounds, other.bounds) {
                (Some(bounds), Some(more)) => bounds.merge(&more),
                (none, more) => *none = none.take().or(more),
            }
            both.nulls += other.nulls;
            for code in 0..=9u8 {
                let comparison = Comparison::try_from(code).unwrap();
                let Ok(condition) = Condition::at(&schema, 1, comparison, vec![value.clone()]) else { continue };
                let holds = cells.iter().any(|cell| condition.accepts(cell));
                for zone in [&whole, &both] {
                    prop_assert!(!holds || zone.may_hold(&condition, cells.len() as u64), "{:?} {:?}", condition, zone);
                }
            }
        }
    }

    #[test]
    fn zones_exclude_what_lies_outside() {
        let mut column = ColumnBuilder::new(ColumnType::Int64);
        (5..9).for_each(|n| column.push(&Value::Int64(n)).unwrap());
        let zone = Zone::of(&column, 0);
        let column = |name: &str| Column {
            name: name.into(),
            kind: ColumnType::Int64,
            nullable: true,
            default: None,
        };
        let id = Column { nullable: false, ..column("id") };
        let schema = Schema::new(vec![id, column("c")], &["id"]).unwrap();
        for (comparison, value) in [
            (Comparison::Equal, 4),
            (Comparison::Equal, 9),
            (Comparison::Less, 5),
            (Comparison::LessOrEqual, 4),
            (Comparison::Greater, 8),
            (Comparison::GreaterOrEqual, 9),
            (Comparison::In, 9),
            (Comparison::IsNull, 0),
        ] {
            let condition =
                Condition::at(&schema, 1, comparison, vec![Value::Int64(value)]).unwrap();
            assert!(!zone.may_hold(&condition, 4), "{comparison:?} {value}");
        }
    }
}
