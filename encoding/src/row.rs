//! Typed rows: the canonical row encoding and the order-preserving key encoding.
//!
//! A [`Schema`] names a table's columns and which of them make its key. The key columns go into the
//! row's key, whose byte order is the order of the values; all others go into the row's value, from
//! which one column can be read without decoding its neighbours.
//!
//! The value: `n` columns that are not in the key, in schema order. Slots have fixed widths, so a
//! column's place follows from the schema alone.
//!
//! | offset | size      | type | field      | meaning                                               |
//! |-------:|----------:|------|------------|-------------------------------------------------------|
//! |      0 |         1 | u8   | `version`  | 1                                                     |
//! |      1 |         2 | u16  | `n`        | columns written; the schema may have grown since      |
//! |      3 | (n + 7)/8 | bits | `nulls`    | bit `i % 8` of byte `i / 8`; bits past `n` are zero   |
//! |      . | 1, 8 or 4 each | | `slots`  | one per written column, in column order: bool 1 byte; int64, timestamp, float64 8; string, bytes, vector a u32, where its data ends in `data` |
//! |      . |         . |      | `data`     | strings (UTF-8), bytes, vectors (f32 each), no gaps   |
//!
//! A null's slot is zero, or the end of the data before it. Integers are little-endian here. A row
//! written before a column was added reads as that column's default, or null.
//!
//! The key: the key columns one after the other, each a tag and its bytes. No encoded key is a
//! prefix of a different one, so `memcmp` compares column by column.
//!
//! | tag | type      | bytes after it                                                               |
//! |----:|-----------|------------------------------------------------------------------------------|
//! |   1 | bool      | 0 or 1                                                                       |
//! |   2 | int64     | 8, big-endian, sign bit flipped                                              |
//! |   3 | float64   | 8, big-endian IEEE 754: sign bit flipped, or all bits when it was set        |
//! |   4 | string    | UTF-8 with each 00 written as 00 FF, then 00 00                              |
//! |   5 | bytes     | the same                                                                     |
//! |   6 | timestamp | as int64                                                                     |
//! |   7 | vector    | never in a key                                                               |
//!
//! Invariants:
//! 1. Equal rows have equal bytes: one value has one encoding, and every other byte is refused.
//! 2. A key column is never null; a key never holds NaN, and -0.0 is stored as 0.0, its equal.
//! 3. Decoding never panics and allocates no more than the bytes it was given, plus the defaults.
//!
//! Source: the key encoding follows the tuple layer of FoundationDB.

use std::fmt;
use std::str::FromStr;

use crate::codec::{Reader, put_bytes, put_u16, put_u32};
use crate::{EncodingError, EncodingResult};

/// Columns of one table. Far above real tables, and `n` and every position fit in a `u16`.
pub const COLUMNS_MAX: usize = 1_000;
/// Columns of one key: more is a sign of a value that should not be in the key.
pub const KEY_COLUMNS_MAX: usize = 16;
/// Bytes of one column's name.
pub const COLUMN_NAME_BYTES_MAX: usize = 128;
/// Dimensions of one vector: the largest of today's embedding models.
pub const VECTOR_DIM_MAX: u32 = 4_096;
/// Bytes of one default value: it is kept in the catalog, and copied into every row it fills.
pub const DEFAULT_BYTES_MAX: usize = VECTOR_DIM_MAX as usize * size_of::<f32>();

const VERSION: u8 = 1;
const NULLABLE: u8 = 1;
const HAS_DEFAULT: u8 = 2;
const SIGN: u64 = 1 << 63;
const _: () = assert!(COLUMNS_MAX <= u16::MAX as usize, "positions are written as u16");

/// What a column holds. Its number in both byte formats is [`ColumnType::tag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// True or false.
    Bool,
    /// A signed 64-bit integer.
    Int64,
    /// A 64-bit IEEE 754 number.
    Float64,
    /// UTF-8 text.
    String,
    /// Any bytes.
    Bytes,
    /// A moment, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// So many 32-bit IEEE 754 numbers, 1 to [`VECTOR_DIM_MAX`].
    Vector(u32),
}

impl ColumnType {
    /// The type's number on disk, as in the key table of this module. Never used again.
    pub fn tag(self) -> u8 {
        match self {
            ColumnType::Bool => 1,
            ColumnType::Int64 => 2,
            ColumnType::Float64 => 3,
            ColumnType::String => 4,
            ColumnType::Bytes => 5,
            ColumnType::Timestamp => 6,
            ColumnType::Vector(_) => 7,
        }
    }

    /// The type whose number is `tag`; `dim` are the dimensions if it is a vector. `None` for a number that no
    /// type has.
    pub fn from_tag(tag: u8, dim: u32) -> Option<ColumnType> {
        Some(match tag {
            1 => ColumnType::Bool,
            2 => ColumnType::Int64,
            3 => ColumnType::Float64,
            4 => ColumnType::String,
            5 => ColumnType::Bytes,
            6 => ColumnType::Timestamp,
            7 => ColumnType::Vector(dim),
            _ => return None,
        })
    }

    /// The width of its slot in bytes, and whether the slot is an end in the data part.
    fn slot(self) -> (usize, bool) {
        match self {
            ColumnType::Bool => (1, false),
            ColumnType::Int64 | ColumnType::Float64 | ColumnType::Timestamp => (8, false),
            ColumnType::String | ColumnType::Bytes | ColumnType::Vector(_) => (4, true),
        }
    }

    /// The value that [`Value::put`] wrote as `bytes`; `None` when it writes no such bytes.
    fn value(self, bytes: &[u8]) -> Option<Value> {
        let eight = || bytes.try_into().ok().map(i64::from_le_bytes);
        Some(match self {
            ColumnType::Bool if bytes == [0] || bytes == [1] => Value::Bool(bytes == [1]),
            ColumnType::Bool => return None,
            ColumnType::Int64 => Value::Int64(eight()?),
            ColumnType::Float64 => Value::Float64(f64::from_bits(eight()? as u64)),
            ColumnType::Timestamp => Value::Timestamp(eight()?),
            ColumnType::String => Value::String(str::from_utf8(bytes).ok()?.to_owned()),
            ColumnType::Bytes => Value::Bytes(bytes.to_vec()),
            ColumnType::Vector(dim) => {
                let (floats, rest) = bytes.as_chunks();
                if floats.len() != dim as usize || !rest.is_empty() {
                    return None;
                }
                Value::Vector(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
            }
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Bool => f.write_str("bool"),
            ColumnType::Int64 => f.write_str("int64"),
            ColumnType::Float64 => f.write_str("float64"),
            ColumnType::String => f.write_str("string"),
            ColumnType::Bytes => f.write_str("bytes"),
            ColumnType::Timestamp => f.write_str("timestamp"),
            ColumnType::Vector(dim) => write!(f, "vector({dim})"),
        }
    }
}

impl FromStr for ColumnType {
    type Err = EncodingError;

    /// Reads what [`Display`](fmt::Display) writes, in any case.
    fn from_str(text: &str) -> EncodingResult<ColumnType> {
        let lower = text.trim().to_ascii_lowercase();
        Ok(match lower.as_str() {
            "bool" => ColumnType::Bool,
            "int64" => ColumnType::Int64,
            "float64" => ColumnType::Float64,
            "string" => ColumnType::String,
            "bytes" => ColumnType::Bytes,
            "timestamp" => ColumnType::Timestamp,
            other => {
                let dim = other.strip_prefix("vector(").and_then(|rest| rest.strip_suffix(')'));
                let dim = dim.and_then(|dim| dim.trim().parse().ok()).ok_or_else(|| {
                    EncodingError::invalid(format!(
                        "'{text}' is no column type; there are bool, int64, float64, string, bytes, \
                         timestamp and vector(DIM)"
                    ))
                })?;
                check_dim(dim)?;
                ColumnType::Vector(dim)
            }
        })
    }
}

/// One value of a row.
///
/// Equality is that of the numbers: 0.0 equals -0.0. Unlike the numbers' own, NaN equals NaN, so
/// that a row equals itself.
///
/// ```
/// use sochdb_encoding::row::Value;
///
/// assert_eq!(Value::from("tea"), Value::String("tea".into()));
/// assert_eq!(Value::from(7), Value::Int64(7));
/// assert_eq!(Value::from(None::<f64>), Value::Null);
/// ```
#[derive(Debug, Clone)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int64(i64),
    /// A 64-bit IEEE 754 number.
    Float64(f64),
    /// UTF-8 text.
    String(String),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// As many numbers as the column's dimension.
    Vector(Vec<f32>),
}

impl Value {
    /// The type of the columns that take this value; `None` for [`Value::Null`].
    pub fn kind(&self) -> Option<ColumnType> {
        Some(match self {
            Value::Null => return None,
            Value::Bool(_) => ColumnType::Bool,
            Value::Int64(_) => ColumnType::Int64,
            Value::Float64(_) => ColumnType::Float64,
            Value::String(_) => ColumnType::String,
            Value::Bytes(_) => ColumnType::Bytes,
            Value::Timestamp(_) => ColumnType::Timestamp,
            Value::Vector(floats) => {
                ColumnType::Vector(u32::try_from(floats.len()).unwrap_or(u32::MAX))
            }
        })
    }

    /// Appends the value's own bytes: a slot's content, or a piece of the data part.
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => {}
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::Int64(value) | Value::Timestamp(value) => out.extend(value.to_le_bytes()),
            Value::Float64(value) => out.extend(value.to_le_bytes()),
            Value::String(value) => out.extend_from_slice(value.as_bytes()),
            Value::Bytes(value) => out.extend_from_slice(value),
            Value::Vector(floats) => out.extend(floats.iter().flat_map(|f| f.to_le_bytes())),
        }
    }
}

/// What becomes which value.
macro_rules! from {
    ($($type:ty => $value:expr;)+) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                $value(value)
            }
        })+
    };
}
from! {
    bool => Value::Bool;
    i64 => Value::Int64;
    i32 => |value| Value::Int64(i64::from(value));
    u32 => |value| Value::Int64(i64::from(value));
    f64 => Value::Float64;
    String => Value::String;
    &str => |value: &str| Value::String(value.to_owned());
    Vec<u8> => Value::Bytes;
    &[u8] => |value: &[u8]| Value::Bytes(value.to_vec());
    Vec<f32> => Value::Vector;
    &[f32] => |value: &[f32]| Value::Vector(value.to_vec());
}

/// `None` is null.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Float64(a), Value::Float64(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Vector(a), Value::Vector(b)) => {
                let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int64(a), Value::Int64(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Null, Value::Null) => true,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Letters, digits, `_`, `-` and `.`, beginning with a letter or `_`; at most
    /// [`COLUMN_NAME_BYTES_MAX`] bytes. Case matters.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
    /// Whether it may be null. A key column may not.
    pub nullable: bool,
    /// What a null becomes when it is not nullable, and what rows written before the column was
    /// added hold. Never null; at most [`DEFAULT_BYTES_MAX`] bytes.
    pub default: Option<Value>,
}

impl Column {
    /// The value to store for `value`: itself, or the default of a column that may not be null.
    fn accept<'a>(&'a self, value: &'a Value) -> EncodingResult<&'a Value> {
        let value = match (value, &self.default) {
            (Value::Null, Some(default)) if !self.nullable => default,
            _ => value,
        };
        let found = match value.kind() {
            None if self.nullable => return Ok(value),
            Some(kind) if kind == self.kind => return Ok(value),
            None => "null, and has no default".to_owned(),
            Some(kind) => kind.to_string(),
        };
        let Column { name, kind, .. } = self;
        Err(EncodingError::invalid(format!("column '{name}' holds {kind}, it was given {found}")))
    }

    /// The value in a row that was written before this column was added.
    fn absent(&self) -> Option<Value> {
        self.default.clone().or(self.nullable.then_some(Value::Null))
    }
}

/// The columns of a table, and which of them make its key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// All columns, in the order of a row's values.
    pub columns: Vec<Column>,
    /// Positions of the key columns in `columns`, in key order.
    pub key: Vec<usize>,
}

impl Schema {
    /// A table of `columns` whose key is the columns named in `key`, in that order.
    ///
    /// # Errors
    /// `Invalid` when a name is bad, missing or there twice, the key is empty, a key column is
    /// nullable or a vector, or a default has the wrong type; `Limit` past one of the bounds above.
    pub fn new(columns: Vec<Column>, key: &[&str]) -> EncodingResult<Schema> {
        let position = |name: &&str| {
            columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                EncodingError::invalid(format!("the key names '{name}', which is no column"))
            })
        };
        let key = key.iter().map(position).collect::<EncodingResult<_>>()?;
        let schema = Schema { columns, key };
        schema.check()?;
        Ok(schema)
    }

    /// Checks everything [`Schema::new`] promises; for a schema whose fields were changed since.
    ///
    /// # Errors
    /// As [`Schema::new`].
    pub fn check(&self) -> EncodingResult<()> {
        check_limit("columns of a table", self.columns.len(), COLUMNS_MAX)?;
        check_limit("columns of a key", self.key.len(), KEY_COLUMNS_MAX)?;
        let mut names = std::collections::HashSet::new();
        for column in &self.columns {
            check_column(column)?;
            if !names.insert(&column.name) {
                return Err(invalid_column(column, "is there twice"));
            }
        }
        if self.key.is_empty() {
            return Err(EncodingError::invalid("a table needs at least one key column"));
        }
        for (order, position) in self.key.iter().enumerate() {
            let column = self.column_at(*position)?;
            if column.nullable || matches!(column.kind, ColumnType::Vector(_)) {
                return Err(invalid_column(column, "is in the key: no vector, and not nullable"));
            }
            if self.key[..order].contains(position) {
                return Err(invalid_column(column, "is in the key twice"));
            }
        }
        Ok(())
    }

    /// The key of `row`, which holds one value per column; nulls take their column's default.
    ///
    /// # Errors
    /// `Invalid` when `row` is too long or short, a key value has the wrong type, is null without a
    /// default, or is NaN.
    pub fn encode_key(&self, row: &[Value]) -> EncodingResult<Vec<u8>> {
        self.check_len(row)?;
        let mut out = Vec::new();
        for &position in &self.key {
            put_key(&mut out, self.column_at(position)?, &row[position])?;
        }
        Ok(out)
    }

    /// The beginning of a key from the values of its first columns, all of them or fewer. Every key
    /// with these values, and no other, begins with the answer.
    ///
    /// # Errors
    /// `Invalid` when there are more values than key columns, or as [`Schema::encode_key`].
    pub fn encode_key_values(&self, key: &[Value]) -> EncodingResult<Vec<u8>> {
        let (got, most) = (key.len(), self.key.len());
        if most < got {
            return Err(EncodingError::invalid(format!(
                "{got} values for a key of {most} columns"
            )));
        }
        let mut out = Vec::new();
        for (&position, value) in self.key.iter().zip(key) {
            put_key(&mut out, self.column_at(position)?, value)?;
        }
        Ok(out)
    }

    /// The value of `row`, which holds one value per column: the columns outside the key.
    ///
    /// # Errors
    /// `Invalid` when `row` is too long or short, a value has the wrong type, or is null in a column
    /// that is neither nullable nor has a default; `Limit` when the data passes 4 GiB.
    pub fn encode_row(&self, row: &[Value]) -> EncodingResult<Vec<u8>> {
        self.check_len(row)?;
        let count = self.stored().count();
        let mut out = vec![VERSION];
        put_u16(&mut out, count as u16);
        out.resize(3 + count.div_ceil(8), 0);
        let mut data = Vec::new();
        for (index, (position, column)) in self.stored().enumerate() {
            let value = column.accept(&row[position])?;
            let (width, in_data) = column.kind.slot();
            match value {
                Value::Null => out[3 + index / 8] |= 1 << (index % 8),
                _ => value.put(if in_data { &mut data } else { &mut out }),
            }
            if in_data {
                check_limit("bytes of a row's data", data.len(), u32::MAX as usize)?;
                put_u32(&mut out, data.len() as u32);
            } else if *value == Value::Null {
                out.resize(out.len() + width, 0);
            }
        }
        out.append(&mut data);
        Ok(out)
    }

    /// The values of the key columns, in key order.
    ///
    /// # Errors
    /// `Corrupt` when this schema makes no such key.
    pub fn key_values(&self, key: &[u8]) -> EncodingResult<Vec<Value>> {
        let mut reader = Reader::new("a row's key", 0, key);
        let mut values = Vec::with_capacity(self.key.len());
        for &position in &self.key {
            values.push(take_key(&mut reader, self.column_at(position)?)?);
        }
        reader.end()?;
        Ok(values)
    }

    /// The whole row from its key and its value: one value per column.
    ///
    /// # Errors
    /// `Corrupt` when this schema, or the same one with fewer columns at its end, writes no such bytes.
    pub fn decode(&self, key: &[u8], value: &[u8]) -> EncodingResult<Vec<Value>> {
        let mut row = vec![Value::Null; self.columns.len()];
        for (&position, value) in self.key.iter().zip(self.key_values(key)?) {
            row[position] = value;
        }
        self.read(value, None, &mut |position, value| row[position] = value)?;
        Ok(row)
    }

    /// One column from a row's value, without decoding the others. `position` counts all columns.
    ///
    /// # Errors
    /// `Invalid` when there is no such column or it is in the key; `Corrupt` as [`Schema::decode`],
    /// though the other columns' own bytes are not looked at.
    pub fn column(&self, value: &[u8], position: usize) -> EncodingResult<Value> {
        let mut found = None;
        self.read(value, Some(position), &mut |_, value| found = Some(value))?;
        found.ok_or_else(|| {
            EncodingError::invalid(format!("a row's value has no column {position}"))
        })
    }

    /// The schema as bytes, for the catalog; see `Schema::from_bytes`.
    ///
    /// | item         | bytes    | meaning                                                           |
    /// |--------------|---------:|-------------------------------------------------------------------|
    /// | version      |        1 | 1                                                                 |
    /// | column count |        2 | then for each column:                                             |
    /// | - name       | prefixed | UTF-8                                                             |
    /// | - type       |        1 | its tag                                                           |
    /// | - dimension  |        4 | only for a vector                                                 |
    /// | - flags      |        1 | 1: nullable, 2: has a default; other bits are zero                |
    /// | - default    | prefixed | only with its flag: as in a row's slot or data                    |
    /// | key count    |        2 | then so many positions, 2 bytes each                              |
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_u16(&mut out, self.columns.len() as u16);
        for Column { name, kind, nullable, default } in &self.columns {
            put_bytes(&mut out, name.as_bytes());
            out.push(kind.tag());
            if let ColumnType::Vector(dim) = kind {
                put_u32(&mut out, *dim);
            }
            let has_default = if default.is_some() { HAS_DEFAULT } else { 0 };
            out.push(u8::from(*nullable) | has_default);
            if let Some(default) = default {
                let mut bytes = Vec::new();
                default.put(&mut bytes);
                put_bytes(&mut out, &bytes);
            }
        }
        put_u16(&mut out, self.key.len() as u16);
        self.key.iter().for_each(|position| put_u16(&mut out, *position as u16));
        out
    }

    /// The schema that [`Schema::to_bytes`] wrote as `bytes`.
    ///
    /// # Errors
    /// `Corrupt` when it writes no such bytes; otherwise as [`Schema::new`].
    pub fn from_bytes(bytes: &[u8]) -> EncodingResult<Schema> {
        let mut reader = Reader::new("a table's schema", 0, bytes);
        take_version(&mut reader)?;
        let mut schema = Schema { columns: Vec::new(), key: Vec::new() };
        let columns = reader.u16()?;
        check_limit("columns of a table", columns.into(), COLUMNS_MAX)?;
        for _ in 0..columns {
            schema.columns.push(take_column(&mut reader)?);
        }
        let keys = reader.u16()?;
        check_limit("columns of a key", keys.into(), KEY_COLUMNS_MAX)?;
        for _ in 0..keys {
            schema.key.push(reader.u16()?.into());
        }
        reader.end()?;
        schema.check()?;
        Ok(schema)
    }

    /// The columns outside the key with their positions: those of a row's value, in its order.
    fn stored(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(position, _)| !self.key.contains(position))
    }

    fn column_at(&self, position: usize) -> EncodingResult<&Column> {
        let missing = || {
            EncodingError::invalid(format!(
                "the key names column {position}, of {}",
                self.columns.len()
            ))
        };
        self.columns.get(position).ok_or_else(missing)
    }

    fn check_len(&self, row: &[Value]) -> EncodingResult<()> {
        check_limit("columns of a table", self.columns.len(), COLUMNS_MAX)?;
        let (got, wanted) = (row.len(), self.columns.len());
        if got != wanted {
            return Err(EncodingError::invalid(format!("{got} values for {wanted} columns")));
        }
        Ok(())
    }

    /// Gives `each` the position and value of every column of `value`, or of the `only` one wanted.
    fn read(
        &self,
        value: &[u8],
        only: Option<usize>,
        each: &mut dyn FnMut(usize, Value),
    ) -> EncodingResult<()> {
        let mut reader = Reader::new("a row's value", 0, value);
        take_version(&mut reader)?;
        let written = usize::from(reader.u16()?);
        let nulls = reader.bytes(written.div_ceil(8))?;
        let padding = nulls.last().map_or(0, |last| u32::from(*last) >> ((written - 1) % 8 + 1));
        let width: usize = self.stored().take(written).map(|(_, c)| c.kind.slot().0).sum();
        let mut slots = Reader::new("a row's value", reader.offset(), reader.bytes(width)?);
        let (data, mut start) = (reader.rest(), 0);
        let mut count = 0;
        for (index, (position, column)) in self.stored().enumerate() {
            let wanted = only.is_none_or(|only| only == position);
            let wrong = || reader.corrupt(format!("column '{}'", column.name), "other bytes");
            count += 1;
            if written <= index {
                if wanted {
                    each(position, column.absent().ok_or_else(wrong)?);
                }
                continue;
            }
            let (width, in_data) = column.kind.slot();
            let mut bytes = slots.bytes(width)?;
            if in_data {
                let end = bytes.try_into().map_or(0, u32::from_le_bytes) as usize;
                bytes = data.get(start..end).ok_or_else(wrong)?;
                start = end;
            }
            let null = nulls[index / 8] >> (index % 8) & 1 == 1;
            let blank = if in_data { bytes.is_empty() } else { bytes.iter().all(|b| *b == 0) };
            if null && !(column.nullable && blank) {
                return Err(wrong());
            }
            if wanted {
                let value = if null { Some(Value::Null) } else { column.kind.value(bytes) };
                each(position, value.ok_or_else(wrong)?);
            }
        }
        if count < written || padding != 0 || start != data.len() {
            return Err(reader.corrupt("the row's columns and no more", "other bytes"));
        }
        Ok(())
    }
}

fn check_limit(what: &'static str, got: usize, bound: usize) -> EncodingResult<()> {
    if bound < got {
        return Err(EncodingError::Limit { what, got: got as u64, bound: bound as u64 });
    }
    Ok(())
}

fn check_dim(dim: u32) -> EncodingResult<()> {
    if dim == 0 {
        return Err(EncodingError::invalid("a vector has at least one dimension"));
    }
    check_limit("dimensions of a vector", dim as usize, VECTOR_DIM_MAX as usize)
}

fn invalid_column(column: &Column, what: &str) -> EncodingError {
    EncodingError::invalid(format!("column '{}' {what}", column.name))
}

fn check_column(column: &Column) -> EncodingResult<()> {
    check_limit("bytes of a column's name", column.name.len(), COLUMN_NAME_BYTES_MAX)?;
    let first = column.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !first || !column.name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
        let rule = "has a bad name: letters, digits, '_', '-' and '.', first a letter or '_'";
        return Err(invalid_column(column, rule));
    }
    if let ColumnType::Vector(dim) = column.kind {
        check_dim(dim)?;
    }
    let Some(default) = &column.default else { return Ok(()) };
    if default.kind() != Some(column.kind) {
        return Err(invalid_column(column, "has a default of another type"));
    }
    let mut bytes = Vec::new();
    default.put(&mut bytes);
    check_limit("bytes of a default", bytes.len(), DEFAULT_BYTES_MAX)
}

fn take_version(reader: &mut Reader<'_>) -> EncodingResult<()> {
    match reader.rest().first() {
        Some(&VERSION) => reader.u8().map(drop),
        found => Err(reader.corrupt(format!("version {VERSION}"), format!("{found:?}"))),
    }
}

fn take_column(reader: &mut Reader<'_>) -> EncodingResult<Column> {
    let wrong = reader.corrupt("a column", "other bytes");
    let Ok(name) = str::from_utf8(reader.prefixed(COLUMN_NAME_BYTES_MAX)?) else {
        return Err(wrong);
    };
    let tag = reader.u8()?;
    let dim = if tag == ColumnType::Vector(0).tag() { reader.u32()? } else { 0 };
    let Some(kind) = ColumnType::from_tag(tag, dim) else { return Err(wrong) };
    let flags = reader.u8()?;
    let mut default = None;
    if flags & HAS_DEFAULT != 0 {
        default = Some(kind.value(reader.prefixed(DEFAULT_BYTES_MAX)?));
    }
    if default == Some(None) || flags & !(NULLABLE | HAS_DEFAULT) != 0 {
        return Err(wrong);
    }
    let nullable = flags & NULLABLE != 0;
    Ok(Column { name: name.to_owned(), kind, nullable, default: default.flatten() })
}

/// Appends one key column: its tag, then bytes that compare as the values do.
fn put_key(out: &mut Vec<u8>, column: &Column, value: &Value) -> EncodingResult<()> {
    let value = column.accept(value)?;
    out.push(column.kind.tag());
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int64(value) | Value::Timestamp(value) => {
            out.extend((*value as u64 ^ SIGN).to_be_bytes());
        }
        Value::Float64(value) if !value.is_nan() => {
            // Adding 0.0 turns -0.0 into 0.0 and leaves every other number as it is.
            let bits = (value + 0.0).to_bits();
            let ordered = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
            out.extend(ordered.to_be_bytes());
        }
        Value::String(value) => put_escaped(out, value.as_bytes()),
        Value::Bytes(value) => put_escaped(out, value),
        Value::Null | Value::Float64(_) | Value::Vector(_) => {
            return Err(invalid_column(column, "is in the key: no null, NaN or vector"));
        }
    }
    Ok(())
}

fn put_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
}

fn take_key(reader: &mut Reader<'_>, column: &Column) -> EncodingResult<Value> {
    let wrong = reader.corrupt(format!("key column '{}'", column.name), "other bytes");
    if reader.u8()? != column.kind.tag() {
        return Err(wrong);
    }
    let value = match column.kind {
        ColumnType::Bool => column.kind.value(&[reader.u8()?]),
        ColumnType::Int64 | ColumnType::Timestamp => {
            column.kind.value(&(u64::from_be_bytes(reader.array()?) ^ SIGN).to_le_bytes())
        }
        ColumnType::Float64 => {
            let ordered = u64::from_be_bytes(reader.array()?);
            let bits = if ordered & SIGN == 0 { !ordered } else { ordered ^ SIGN };
            let canonical = !f64::from_bits(bits).is_nan() && bits != SIGN;
            canonical.then(|| Value::Float64(f64::from_bits(bits)))
        }
        ColumnType::String | ColumnType::Bytes => column.kind.value(&take_escaped(reader)?),
        ColumnType::Vector(_) => None,
    };
    value.ok_or(wrong)
}

fn take_escaped(reader: &mut Reader<'_>) -> EncodingResult<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        match reader.u8()? {
            0 => match reader.u8()? {
                0 => return Ok(out),
                0xff => out.push(0),
                _ => return Err(reader.corrupt("00 or FF after a 00", "another byte")),
            },
            byte => out.push(byte),
        }
    }
}

/// A length as a varint, then [`Schema::to_bytes`].
impl crate::codec::Wire for Schema {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.to_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> EncodingResult<Schema> {
        Schema::from_bytes(reader.prefixed(usize::MAX)?)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    use expect_test::{Expect, expect};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn column(name: &str, kind: ColumnType, nullable: bool, default: Option<Value>) -> Column {
        Column { name: name.to_owned(), kind, nullable, default }
    }

    fn must(name: &str, kind: ColumnType) -> Column {
        column(name, kind, false, None)
    }

    /// One column of every type outside the key, and a key of two in another order than the table's.
    fn sample() -> Schema {
        let columns = vec![
            column("seen", ColumnType::Bool, true, None),
            must("id", ColumnType::Int64),
            column("score", ColumnType::Float64, false, Some(Value::Float64(0.5))),
            must("word", ColumnType::String),
            column("gloss", ColumnType::String, true, None),
            column("raw", ColumnType::Bytes, true, None),
            column("at", ColumnType::Timestamp, true, None),
            column("vector", ColumnType::Vector(2), true, None),
        ];
        Schema::new(columns, &["word", "id"]).unwrap()
    }

    fn sample_row() -> Vec<Value> {
        vec![
            Value::Bool(true),
            Value::Int64(-2),
            Value::Null,
            Value::String("a\0b".into()),
            Value::String("first".into()),
            Value::Null,
            Value::Timestamp(1),
            Value::Vector(vec![1.0, -0.5]),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.chunks(16).map(|line| format!("{line:02x?}\n").replace([',', '[', ']'], "")).collect()
    }

    fn check(bytes: &[u8], expect: Expect) {
        expect.assert_eq(&hex(bytes));
    }

    fn kind_of<T: fmt::Debug>(result: EncodingResult<T>) -> &'static str {
        result.expect_err("a refusal").kind()
    }

    #[test]
    fn the_bytes_are_pinned() {
        let schema = sample();
        check(
            &schema.encode_key(&sample_row()).unwrap(),
            expect![[r#"
            04 61 00 ff 62 00 00 02 7f ff ff ff ff ff ff fe
        "#]],
        );
        check(
            &schema.encode_row(&sample_row()).unwrap(),
            expect![[r#"
            01 06 00 08 01 00 00 00 00 00 00 e0 3f 05 00 00
            00 05 00 00 00 01 00 00 00 00 00 00 00 0d 00 00
            00 66 69 72 73 74 00 00 80 3f 00 00 00 bf
        "#]],
        );
        check(
            &schema.to_bytes(),
            expect![[r#"
            01 08 00 04 73 65 65 6e 01 01 02 69 64 02 00 05
            73 63 6f 72 65 03 02 08 00 00 00 00 00 00 e0 3f
            04 77 6f 72 64 04 00 05 67 6c 6f 73 73 04 01 03
            72 61 77 05 01 02 61 74 06 01 06 76 65 63 74 6f
            72 07 02 00 00 00 01 02 00 03 00 01 00
        "#]],
        );
    }

    #[test]
    fn a_row_comes_back_with_its_default_and_column_by_column() {
        let schema = sample();
        let (key, value) =
            (schema.encode_key(&sample_row()).unwrap(), schema.encode_row(&sample_row()).unwrap());
        let mut expected = sample_row();
        expected[2] = Value::Float64(0.5);
        assert_eq!(schema.decode(&key, &value).unwrap(), expected);
        for position in [0, 2, 4, 5, 6, 7] {
            assert_eq!(schema.column(&value, position).unwrap(), expected[position]);
        }
        assert_eq!(kind_of(schema.column(&value, 1)), "Invalid");
        assert_eq!(kind_of(schema.column(&value, 8)), "Invalid");
    }

    #[test]
    fn rows_written_before_a_column_was_added_read_its_default_or_null() {
        let old = sample();
        let (key, value) =
            (old.encode_key(&sample_row()).unwrap(), old.encode_row(&sample_row()).unwrap());
        let mut new = old.clone();
        new.columns.push(column("tags", ColumnType::String, true, None));
        new.columns.push(column("rank", ColumnType::Int64, false, Some(Value::Int64(7))));
        let row = new.decode(&key, &value).unwrap();
        assert_eq!(row[8..], [Value::Null, Value::Int64(7)]);
        assert_eq!(new.column(&value, 9).unwrap(), Value::Int64(7));
        new.columns.push(must("bare", ColumnType::Bool));
        assert_eq!(kind_of(new.decode(&key, &value)), "Corrupt");
        let mut fewer = old.clone();
        fewer.columns.pop();
        assert_eq!(kind_of(fewer.decode(&key, &value)), "Corrupt");
    }

    #[test]
    fn schemas_that_make_no_sense_are_refused() {
        let id = || must("id", ColumnType::Int64);
        let refused = |columns, key: &[&str]| kind_of(Schema::new(columns, key));
        assert_eq!(refused(vec![id()], &[]), "Invalid");
        assert_eq!(refused(vec![id()], &["no"]), "Invalid");
        assert_eq!(refused(vec![id()], &["id", "id"]), "Invalid");
        assert_eq!(refused(vec![id(), id()], &["id"]), "Invalid");
        for name in ["", "9a", "a b", "a:b", "a\n"] {
            assert_eq!(refused(vec![id(), must(name, ColumnType::Bool)], &["id"]), "Invalid");
        }
        let long = "x".repeat(COLUMN_NAME_BYTES_MAX + 1);
        assert_eq!(refused(vec![id(), must(&long, ColumnType::Bool)], &["id"]), "Limit");
        assert_eq!(refused(vec![must("v", ColumnType::Vector(2))], &["v"]), "Invalid");
        let nullable = column("id", ColumnType::Int64, true, None);
        assert_eq!(refused(vec![nullable], &["id"]), "Invalid");
        let wrong = column("n", ColumnType::Int64, true, Some(Value::Bool(true)));
        assert_eq!(refused(vec![id(), wrong], &["id"]), "Invalid");
        let null = column("n", ColumnType::Int64, true, Some(Value::Null));
        assert_eq!(refused(vec![id(), null], &["id"]), "Invalid");
        let big = Value::Bytes(vec![0; DEFAULT_BYTES_MAX + 1]);
        let big = column("n", ColumnType::Bytes, true, Some(big));
        assert_eq!(refused(vec![id(), big], &["id"]), "Limit");
        assert_eq!(refused(vec![id(), must("v", ColumnType::Vector(0))], &["id"]), "Invalid");
        let deep = must("v", ColumnType::Vector(VECTOR_DIM_MAX + 1));
        assert_eq!(refused(vec![id(), deep], &["id"]), "Limit");
        let many = (0..=COLUMNS_MAX).map(|i| must(&format!("c{i}"), ColumnType::Bool)).collect();
        assert_eq!(refused(many, &["c0"]), "Limit");
        let mut changed = sample();
        changed.key.push(99);
        assert_eq!(kind_of(changed.encode_key(&sample_row())), "Invalid");
    }

    #[test]
    fn rows_that_do_not_fit_the_schema_are_refused() {
        let schema = sample();
        assert_eq!(kind_of(schema.encode_row(&[])), "Invalid");
        assert_eq!(kind_of(schema.encode_key(&[])), "Invalid");
        for (position, bad) in [
            (0, Value::Int64(1)),
            (2, Value::Int64(1)),
            (7, Value::Vector(vec![1.0])),
            (6, Value::Int64(1)),
        ] {
            let mut row = sample_row();
            row[position] = bad;
            assert_eq!(kind_of(schema.encode_row(&row)), "Invalid", "column {position}");
        }
        let mut row = sample_row();
        row[1] = Value::Null;
        assert_eq!(kind_of(schema.encode_key(&row)), "Invalid");
        let floats = Schema::new(vec![must("f", ColumnType::Float64)], &["f"]).unwrap();
        assert_eq!(kind_of(floats.encode_key(&[Value::Float64(f64::NAN)])), "Invalid");
        let zero = floats.encode_key(&[Value::Float64(0.0)]).unwrap();
        assert_eq!(floats.encode_key(&[Value::Float64(-0.0)]).unwrap(), zero);
        assert_eq!(kind_of(floats.encode_key_values(&[Value::Null, Value::Null])), "Invalid");
    }

    #[test]
    fn type_names_come_back_in_any_case() {
        for text in ["bool", "int64", "float64", "string", "bytes", "timestamp", "vector(384)"] {
            assert_eq!(text.to_uppercase().parse::<ColumnType>().unwrap().to_string(), text);
        }
        for bad in ["", "int", "vector", "vector()", "vector(-1)", "vector(0)", "vector(1"] {
            assert_eq!(kind_of(bad.parse::<ColumnType>()), "Invalid", "{bad}");
        }
        assert_eq!(kind_of("vector(4097)".parse::<ColumnType>()), "Limit");
    }

    #[test]
    fn every_cut_of_a_row_key_or_schema_is_corrupt() {
        let schema = sample();
        let (key, value, bytes) = (
            schema.encode_key(&sample_row()).unwrap(),
            schema.encode_row(&sample_row()).unwrap(),
            schema.to_bytes(),
        );
        for cut in 0..key.len() {
            assert_eq!(kind_of(schema.decode(&key[..cut], &value)), "Corrupt");
        }
        for cut in 0..value.len() {
            assert_eq!(kind_of(schema.decode(&key, &value[..cut])), "Corrupt");
        }
        for cut in 0..bytes.len() {
            assert_eq!(kind_of(Schema::from_bytes(&bytes[..cut])), "Corrupt");
        }
        assert_eq!(kind_of(schema.decode(&key, &[&value[..], &[0]].concat())), "Corrupt");
        assert_eq!(Schema::from_bytes(&bytes).unwrap(), schema);
    }

    fn any_kind() -> impl Strategy<Value = ColumnType> {
        prop_oneof![
            Just(ColumnType::Bool),
            Just(ColumnType::Int64),
            Just(ColumnType::Float64),
            Just(ColumnType::String),
            Just(ColumnType::Bytes),
            Just(ColumnType::Timestamp),
            (1u32..5).prop_map(ColumnType::Vector),
        ]
    }

    fn any_value(kind: ColumnType) -> BoxedStrategy<Value> {
        match kind {
            ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ColumnType::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
            ColumnType::Float64 => prop_oneof![any::<f64>(), Just(-0.0), Just(0.0), -3.0..3.0]
                .prop_map(Value::Float64)
                .boxed(),
            // Few letters, zero among them, so that values share beginnings.
            ColumnType::String => "[\u{0}\u{1}ab\u{e9}]{0,4}".prop_map(Value::String).boxed(),
            ColumnType::Bytes => vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..5)
                .prop_map(Value::Bytes)
                .boxed(),
            ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
            ColumnType::Vector(dim) => {
                vec(any::<f32>(), dim as usize).prop_map(Value::Vector).boxed()
            }
        }
    }

    /// Key columns first in the table, so that a row is a key and the rest, one after the other.
    fn any_schema() -> impl Strategy<Value = Schema> {
        let key_kind =
            any_kind().prop_filter("not in a key", |k| !matches!(k, ColumnType::Vector(_)));
        (vec(key_kind, 1..4), vec((any_kind(), any::<bool>()), 0..12)).prop_map(|(keys, others)| {
            let keys = keys.into_iter().map(|kind| (kind, false));
            let columns: Vec<_> = keys
                .clone()
                .chain(others)
                .enumerate()
                .map(|(i, (kind, nullable))| column(&format!("c{i}"), kind, nullable, None))
                .collect();
            let names: Vec<_> = columns[..keys.len()].iter().map(|c| c.name.clone()).collect();
            Schema::new(columns, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
        })
    }

    fn any_row(schema: &Schema) -> BoxedStrategy<Vec<Value>> {
        let values = schema.columns.iter().map(|c| match c.nullable {
            true => prop_oneof![Just(Value::Null), any_value(c.kind)].boxed(),
            false => any_value(c.kind),
        });
        values.collect::<Vec<_>>().boxed()
    }

    fn compare(a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int64(a), Value::Int64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => {
                a.cmp(b)
            }
            (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b).unwrap(),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            _ => unreachable!("both have the type of one key column"),
        }
    }

    fn has_nan(values: &[Value]) -> bool {
        values.iter().any(|v| matches!(v, Value::Float64(f) if f.is_nan()))
    }

    proptest! {
        #[test]
        fn rows_and_schemas_round_trip(
            (schema, row) in any_schema().prop_flat_map(|s| { let row = any_row(&s); (Just(s), row) })
        ) {
            prop_assert_eq!(&Schema::from_bytes(&schema.to_bytes()).unwrap(), &schema);
            let keys = schema.key.len();
            prop_assume!(!has_nan(&row[..keys]));
            let (key, value) = (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap());
            prop_assert_eq!(&schema.decode(&key, &value).unwrap(), &row);
            for (position, cell) in row.iter().enumerate().skip(keys) {
                prop_assert_eq!(&schema.column(&value, position).unwrap(), cell);
            }
            let prefix = schema.encode_key_values(&row[..1]).unwrap();
            prop_assert!(key.starts_with(&prefix));
        }

        #[test]
        fn keys_compare_as_their_values_do(
            (schema, a, b) in any_schema()
                .prop_flat_map(|s| { let (a, b) = (any_row(&s), any_row(&s)); (Just(s), a, b) })
        ) {
            let keys = schema.key.len();
            prop_assume!(!has_nan(&a[..keys]) && !has_nan(&b[..keys]));
            let order = a[..keys].iter().zip(&b[..keys])
                .map(|(a, b)| compare(a, b))
                .fold(Ordering::Equal, Ordering::then);
            prop_assert_eq!(schema.encode_key(&a).unwrap().cmp(&schema.encode_key(&b).unwrap()), order);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(
            key in vec(any::<u8>(), 0..30),
            value in vec(any::<u8>(), 0..60),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let schema = sample();
            let _ = Schema::from_bytes(&value);
            let _ = schema.decode(&key, &value);
            let good_key = schema.encode_key(&sample_row()).unwrap();
            let mut flipped = schema.encode_row(&sample_row()).unwrap();
            let at = flip.0.index(flipped.len());
            flipped[at] ^= flip.1;
            if let Ok(row) = schema.decode(&good_key, &flipped) {
                prop_assert_eq!(schema.encode_row(&row).unwrap(), flipped);
            }
            let mut flipped = schema.to_bytes();
            let at = flip.0.index(flipped.len());
            flipped[at] ^= flip.1;
            if let Ok(schema) = Schema::from_bytes(&flipped) {
                prop_assert_eq!(schema.to_bytes(), flipped);
            }
        }
    }
}
