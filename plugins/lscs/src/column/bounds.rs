//! The bounds of a column's values, for zone maps.

use sochdb_guest::encoding::columns::{ColumnBuilder, Values};

/// The least and the greatest value of a column: what zone maps keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bounds<'a> {
    /// There is no value, or there is no order among them: vectors.
    None,
    /// Of bools.
    Bool(bool, bool),
    /// Of integers and timestamps.
    Int(i64, i64),
    /// Of floats, NaN left out of account.
    Float {
        /// Nothing when all are NaN. Whether a zero has a sign is left open.
        range: Option<(f64, f64)>,
        /// Whether one is NaN.
        nan: bool,
    },
    /// Of strings and bytes, by their bytes.
    Bytes(&'a [u8], &'a [u8]),
}

/// The bounds of `column`.
pub fn bounds(column: &ColumnBuilder) -> Bounds<'_> {
    let valid = |row: &usize| column.validity().is_none_or(|bits| bits.get(*row));
    let mut rows = (0..column.rows()).filter(valid);
    match &column.values {
        Values::Vector(_) => Bounds::None,
        Values::Bool(bools) => extremes(rows.map(|row| bools.get(row)))
            .map_or(Bounds::None, |(a, b)| Bounds::Bool(a, b)),
        Values::Int64(values) => {
            let found = match column.validity() {
                None => extremes(values.iter().copied()),
                Some(_) => extremes(rows.map(|row| values[row])),
            };
            found.map_or(Bounds::None, |(min, max)| Bounds::Int(min, max))
        }
        Values::Bytes { offsets, data } => {
            let get = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
            extremes(rows.map(get)).map_or(Bounds::None, |(min, max)| Bounds::Bytes(min, max))
        }
        Values::Float64(values) => {
            let (mut min, mut max, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
            let mut any = false;
            rows.by_ref().map(|row| values[row]).for_each(|value| {
                (min, max) = (min.min(value), max.max(value));
                (any, nan) = (true, nan || value.is_nan());
            });
            match any {
                true => Bounds::Float { range: (min <= max).then_some((min, max)), nan },
                false => Bounds::None,
            }
        }
    }
}

fn extremes<T: Ord + Copy>(mut values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| (min.min(value), max.max(value))))
}
