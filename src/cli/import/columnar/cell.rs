//! One value of an Arrow array, and what it is in a column of ours.

use crate::cli::text::{hex, value_from_text};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Value as Json, json};
use sochdb::index::definition::DIM_MAX;
use sochdb::{Column, ColumnType, Value};

const MICROS_OF_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// What becomes of an Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A column of this type.
    Plain(ColumnType),
    /// A vector, whose dimensions the rows say.
    List,
}

/// What a column of this type becomes; `None` for types that have no place in a table.
pub fn kind_of(kind: &DataType) -> Option<Kind> {
    use DataType as D;
    Some(Kind::Plain(match kind {
        D::Boolean => ColumnType::Bool,
        D::Int8 | D::Int16 | D::Int32 | D::Int64 => ColumnType::Int64,
        D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => ColumnType::Int64,
        D::Float16 | D::Float32 | D::Float64 => ColumnType::Float64,
        D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Null => ColumnType::String,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => ColumnType::Bytes,
        D::Timestamp(..) | D::Date32 | D::Date64 => ColumnType::Timestamp,
        D::FixedSizeList(item, dim) if is_float(item.data_type()) => {
            ColumnType::Vector(u32::try_from(*dim).ok().filter(|dim| (1..=DIM_MAX).contains(dim))?)
        }
        D::List(item) | D::LargeList(item) if is_float(item.data_type()) => {
            return Some(Kind::List);
        }
        D::Dictionary(_, value) if !matches!(**value, D::Dictionary(..)) => return kind_of(value),
        _ => return None,
    }))
}

fn is_float(kind: &DataType) -> bool {
    matches!(kind, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// How many numbers the first list of an array has.
pub fn first_length(array: &ArrayRef) -> Option<u32> {
    let list = |row| match Cell::of(array, row) {
        Ok(Cell::Vector(numbers)) => u32::try_from(numbers.len()).ok(),
        _ => None,
    };
    (0..array.len()).find_map(list).filter(|dim| (1..=DIM_MAX).contains(dim))
}

/// One value.
#[derive(Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Microseconds since 1970.
    Time(i64),
    Vector(Vec<f32>),
}

impl<'a> Cell<'a> {
    /// Row `row` of an array without a dictionary.
    pub fn of(array: &'a ArrayRef, row: usize) -> Result<Cell<'a>, String> {
        macro_rules! number {
            ($kind:ty) => {
                array.as_primitive::<$kind>().value(row)
            };
        }
        use DataType as D;
        if *array.data_type() == D::Null || array.is_null(row) {
            return Ok(Cell::Null);
        }
        Ok(match array.data_type() {
            D::Boolean => Cell::Bool(array.as_boolean().value(row)),
            D::Int8 => Cell::Int(number!(Int8Type).into()),
            D::Int16 => Cell::Int(number!(Int16Type).into()),
            D::Int32 => Cell::Int(number!(Int32Type).into()),
            D::Int64 => Cell::Int(number!(Int64Type)),
            D::UInt8 => Cell::Int(number!(UInt8Type).into()),
            D::UInt16 => Cell::Int(number!(UInt16Type).into()),
            D::UInt32 => Cell::Int(number!(UInt32Type).into()),
            D::UInt64 => {
                let number = number!(UInt64Type);
                let large = |_| format!("{number} is more than int64 holds");
                Cell::Int(i64::try_from(number).map_err(large)?)
            }
            D::Float16 => Cell::Float(number!(Float16Type).to_f64()),
            D::Float32 => Cell::Float(number!(Float32Type).into()),
            D::Float64 => Cell::Float(number!(Float64Type)),
            D::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
            D::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
            D::Utf8View => Cell::Text(array.as_string_view().value(row)),
            D::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
            D::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
            D::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
            D::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row)),
            D::Date32 => Cell::Time(i64::from(number!(Date32Type)) * MICROS_OF_DAY),
            D::Date64 => Cell::Time(times(number!(Date64Type), 1_000)?),
            D::Timestamp(TimeUnit::Second, _) => {
                Cell::Time(times(number!(TimestampSecondType), 1_000_000)?)
            }
            D::Timestamp(TimeUnit::Millisecond, _) => {
                Cell::Time(times(number!(TimestampMillisecondType), 1_000)?)
            }
            D::Timestamp(TimeUnit::Microsecond, _) => Cell::Time(number!(TimestampMicrosecondType)),
            D::Timestamp(TimeUnit::Nanosecond, _) => match number!(TimestampNanosecondType) {
                nanos if nanos % 1_000 == 0 => Cell::Time(nanos / 1_000),
                nanos => return Err(format!("{nanos} ns is finer than microseconds")),
            },
            D::FixedSizeList(..) => Cell::Vector(floats(&array.as_fixed_size_list().value(row))?),
            D::List(_) => Cell::Vector(floats(&array.as_list::<i32>().value(row))?),
            D::LargeList(_) => Cell::Vector(floats(&array.as_list::<i64>().value(row))?),
            other => return Err(format!("is {other}, which no column holds")),
        })
    }

    /// The value that `column` gets.
    pub fn into_value(self, column: &Column) -> Result<Value, String> {
        Ok(match (column.kind, self) {
            (_, Cell::Null) if column.nullable => Value::Null,
            (_, Cell::Null) => return Err("is null, and the column allows no null".to_owned()),
            (ColumnType::String, Cell::Text(text)) => Value::String(text.to_owned()),
            (_, Cell::Text(text)) => value_from_text(text, column)?,
            (ColumnType::Bool, Cell::Bool(value)) => Value::Bool(value),
            (ColumnType::Int64, Cell::Int(value)) => Value::Int64(value),
            (ColumnType::Timestamp, Cell::Int(value)) => Value::Timestamp(value),
            // Whole numbers up to here are floats without loss.
            (ColumnType::Float64, Cell::Int(value)) if value.unsigned_abs() <= 1 << 53 => {
                Value::Float64(value as f64)
            }
            (ColumnType::Float64, Cell::Float(value)) => Value::Float64(value),
            (ColumnType::Bytes, Cell::Bytes(bytes)) => Value::Bytes(bytes.to_vec()),
            (ColumnType::Timestamp, Cell::Time(us)) => Value::Timestamp(us),
            (ColumnType::Vector(dim), Cell::Vector(numbers)) if numbers.len() == dim as usize => {
                Value::Vector(numbers)
            }
            (kind, Cell::Vector(numbers)) => {
                return Err(format!("expected {kind}, found a list of {}", numbers.len()));
            }
            (kind, other) => return Err(format!("expected {kind}, found {}", other.json())),
        })
    }

    /// The same for the file of rejected rows.
    pub fn json(&self) -> Json {
        match self {
            Cell::Null => Json::Null,
            Cell::Bool(value) => json!(value),
            Cell::Int(value) | Cell::Time(value) => json!(value),
            Cell::Float(value) => json!(value),
            Cell::Text(text) => json!(text),
            Cell::Bytes(bytes) => json!(hex(bytes)),
            Cell::Vector(numbers) => json!(numbers),
        }
    }
}

fn times(value: i64, micros: i64) -> Result<i64, String> {
    value.checked_mul(micros).ok_or_else(|| format!("{value} is too far away for a timestamp"))
}

fn floats(array: &ArrayRef) -> Result<Vec<f32>, String> {
    if 0 < array.null_count() {
        return Err("a number of the list is null".to_owned());
    }
    Ok(match array.data_type() {
        DataType::Float16 => {
            array.as_primitive::<Float16Type>().values().iter().map(|n| n.to_f32()).collect()
        }
        DataType::Float32 => array.as_primitive::<Float32Type>().values().to_vec(),
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().values().iter().map(|n| *n as f32).collect()
        }
        other => return Err(format!("is a list of {other}, not of floats")),
    })
}

#[cfg(test)]
mod tests;
