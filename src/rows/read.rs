//! From the values of a row to what Rust has.

use super::Shape;
use super::error::RowError;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use sochdb_kernel::Value;

/// The row of the type `T` that has these values, one per column of the table.
pub(crate) fn row<T: DeserializeOwned>(shape: &Shape, values: Vec<Value>) -> Result<T, RowError> {
    T::deserialize(RowReader(Columns { shape, values, at: 0 }))
}

struct RowReader<'a>(Columns<'a>);

impl<'de> Deserializer<'de> for RowReader<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The columns that the type has a field for, one after the other.
struct Columns<'a> {
    shape: &'a Shape,
    values: Vec<Value>,
    at: usize,
}

impl<'de> MapAccess<'de> for Columns<'_> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, RowError> {
        while self.shape.has.get(self.at) == Some(&false) {
            self.at += 1;
        }
        let Some(column) = self.shape.schema.columns.get(self.at) else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(&column.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, RowError> {
        let value = std::mem::replace(&mut self.values[self.at], Value::Null);
        let name = &self.shape.schema.columns[self.at].name;
        self.at += 1;
        seed.deserialize(Cell(value)).map_err(|error| error.in_column(name))
    }
}

/// One value.
struct Cell(Value);

impl Cell {
    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Bytes(bytes) => list(bytes, visitor),
            Value::Vector(floats) => list(floats, visitor),
            other => Cell(other).deserialize_any(visitor),
        }
    }
}

/// All parts of a list: a visitor that leaves some behind has not understood it.
fn list<'de, V, I>(parts: Vec<I>, visitor: V) -> Result<V::Value, RowError>
where
    V: Visitor<'de>,
    I: IntoDeserializer<'de, RowError>,
{
    let mut parts = SeqDeserializer::<_, RowError>::new(parts.into_iter());
    let value = visitor.visit_seq(&mut parts)?;
    parts.end()?;
    Ok(value)
}

impl<'de> Deserializer<'de> for Cell {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Null => Err(RowError::new("null, and the field is no Option")),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int64(value) | Value::Timestamp(value) => visitor.visit_i64(value),
            Value::Float64(value) => visitor.visit_f64(value),
            Value::String(value) => visitor.visit_string(value),
            Value::Bytes(value) => visitor.visit_byte_buf(value),
            Value::Vector(floats) => list(floats, visitor),
        }
    }

    /// What does not fit is no `f32`: to round it here would change it when the row is written again.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Float64(value) if !value.is_nan() && f64::from(value as f32) != value => {
                let text = format!("{value} is no f32; the field can be an f64");
                Err(RowError::new(text))
            }
            Value::Float64(value) => visitor.visit_f32(value as f32),
            other => Cell(other).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.list(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(StrDeserializer::<RowError>::new(&word)),
            other => Cell(other).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f64 char str string bytes byte_buf unit unit_struct map
        struct identifier ignored_any
    }
}
