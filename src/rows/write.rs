//! From what Rust has to the values of a row or a key.
//!
//! One writer does all three: a row (a struct, whose fields become the values of its columns), a key (a value, or a
//! tuple or struct of as many as the key has columns, or fewer where a part of a key will do), and one column.

use super::Shape;
use super::error::RowError;
use super::special::MOMENT;
use serde::ser::{
    Impossible, Serialize, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct,
    Serializer,
};
use sochdb_kernel::{Column, ColumnType, Schema, Value};

type Done = Result<(), RowError>;

/// The values of `row`, one per column; null in columns that it has no field for.
pub(crate) fn row_values<T: Serialize>(shape: &Shape, row: &T) -> Result<Vec<Value>, RowError> {
    let mut out = Vec::new();
    row.serialize(Writer { at: At::Row(shape), out: &mut out })?;
    Ok(out)
}

/// The values that `key` gives the first columns of the key.
pub(crate) fn key_values<K: Serialize + ?Sized>(
    schema: &Schema,
    key: &K,
) -> Result<Vec<Value>, RowError> {
    let mut out = Vec::new();
    key.serialize(Writer { at: At::Key(schema), out: &mut out })?;
    Ok(out)
}

/// The value that `value` has in a column of this type.
pub(crate) fn column_value<V: Serialize + ?Sized>(
    kind: ColumnType,
    value: &V,
) -> Result<Value, RowError> {
    let mut out = Vec::new();
    value.serialize(Writer { at: At::Column(kind), out: &mut out })?;
    Ok(out.pop().unwrap_or(Value::Null))
}

/// What is being written.
#[derive(Clone, Copy)]
enum At<'a> {
    Row(&'a Shape),
    Key(&'a Schema),
    Column(ColumnType),
}

struct Writer<'a> {
    at: At<'a>,
    out: &'a mut Vec<Value>,
}

fn key_column(schema: &Schema, index: usize) -> Option<&Column> {
    schema.columns.get(*schema.key.get(index)?)
}

fn refused<T>(what: &str) -> Result<T, RowError> {
    Err(RowError::new(format!("no column takes {what}")))
}

impl<'a> Writer<'a> {
    fn one(self, value: Value) -> Done {
        if matches!(self.at, At::Row(_)) {
            return Err(RowError::new("a row is a struct with named fields"));
        }
        self.out.push(value);
        Ok(())
    }

    /// What takes the parts of a list or tuple.
    fn parts(self) -> Result<Parts<'a>, RowError> {
        let kind = match self.at {
            At::Row(_) => return Err(RowError::new("a row is a struct with named fields")),
            // The only column of a key may be given as it is.
            At::Key(schema) => match (key_column(schema, 0), schema.key.len()) {
                (Some(Column { kind: ColumnType::Bytes, .. }), 1) => ColumnType::Bytes,
                _ => return Ok(Parts::Key { schema, out: self.out }),
            },
            At::Column(kind) => kind,
        };
        match kind {
            ColumnType::Bytes => Ok(Parts::Bytes(Vec::new(), self.out)),
            ColumnType::Vector(dim) => {
                Ok(Parts::Floats(Vec::with_capacity(dim as usize), self.out))
            }
            kind => Err(RowError::new(format!("a list was given for a value of type {kind}"))),
        }
    }
}

macro_rules! values {
    ($($method:ident $type:ty => $value:expr;)+) => {
        $(fn $method(self, value: $type) -> Done {
            self.one($value(value))
        })+
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = RowError;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeTupleVariant = Impossible<(), RowError>;
    type SerializeMap = Impossible<(), RowError>;
    type SerializeStructVariant = Impossible<(), RowError>;

    values! {
        serialize_bool bool => Value::Bool;
        serialize_i8 i8 => |value| Value::Int64(i64::from(value));
        serialize_i16 i16 => |value| Value::Int64(i64::from(value));
        serialize_i32 i32 => |value| Value::Int64(i64::from(value));
        serialize_i64 i64 => Value::Int64;
        serialize_u8 u8 => |value| Value::Int64(i64::from(value));
        serialize_u16 u16 => |value| Value::Int64(i64::from(value));
        serialize_u32 u32 => |value| Value::Int64(i64::from(value));
        serialize_f32 f32 => |value| Value::Float64(f64::from(value));
        serialize_f64 f64 => Value::Float64;
        serialize_char char => |value| Value::String(String::from(value));
        serialize_str &str => |value: &str| Value::String(value.to_owned());
        serialize_bytes &[u8] => |value: &[u8]| Value::Bytes(value.to_vec());
    }

    fn serialize_u64(self, value: u64) -> Done {
        let too_large = |_| RowError::new(format!("{value} is larger than any int64"));
        let value = i64::try_from(value).map_err(too_large)?;
        self.one(Value::Int64(value))
    }

    fn serialize_none(self) -> Done {
        self.one(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        refused("the unit")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Done {
        refused(&format!("the struct {name}, which has no value"))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Done {
        if name != MOMENT {
            return value.serialize(self);
        }
        match column_value(ColumnType::Timestamp, value)? {
            Value::Int64(us) => self.one(Value::Timestamp(us)),
            _ => refused("this moment"),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Done {
        refused(&format!("{name}::{variant}, which has a value"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, RowError> {
        self.parts()
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, RowError> {
        self.parts()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, RowError> {
        self.parts()
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, RowError> {
        refused(&format!("{name}::{variant}, which has values"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, RowError> {
        refused("a map")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, RowError> {
        match self.at {
            At::Row(shape) => {
                self.out.resize(shape.schema.columns.len(), Value::Null);
                Ok(Parts::Row { shape, next: 0, out: self.out })
            }
            At::Key(schema) => Ok(Parts::Key { schema, out: self.out }),
            At::Column(_) => refused(&format!("the struct {name}")),
        }
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, RowError> {
        refused(&format!("{name}::{variant}, which has values"))
    }
}

/// Takes the parts of what has several.
enum Parts<'a> {
    Bytes(Vec<u8>, &'a mut Vec<Value>),
    Floats(Vec<f32>, &'a mut Vec<Value>),
    Key { schema: &'a Schema, out: &'a mut Vec<Value> },
    Row { shape: &'a Shape, next: usize, out: &'a mut Vec<Value> },
}

impl Parts<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, part: &T) -> Done {
        match self {
            Parts::Bytes(bytes, _) => match column_value(ColumnType::Int64, part)? {
                Value::Int64(byte) if u8::try_from(byte).is_ok() => bytes.push(byte as u8),
                _ => return refused("a list of something else than bytes as bytes"),
            },
            Parts::Floats(floats, _) => match column_value(ColumnType::Float64, part)? {
                Value::Float64(float) if f64::from(float as f32) == float || float.is_nan() => {
                    floats.push(float as f32);
                }
                _ => return refused("a list of something else than f32 as a vector"),
            },
            Parts::Key { schema, out } => {
                let (index, most) = (out.len(), schema.key.len());
                let too_many = || RowError::new(format!("the key has no more than {most} columns"));
                let column = key_column(schema, index).ok_or_else(too_many)?;
                let written = column_value(column.kind, part);
                out.push(written.map_err(|error| error.in_column(&column.name))?);
            }
            Parts::Row { .. } => return refused("a part without a name"),
        }
        Ok(())
    }

    /// A part that has a name: the field of a row, or of a key that is a struct.
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, part: &T) -> Done {
        let Parts::Row { shape, next, out } = self else {
            return self.key_field(name, part);
        };
        let Some(position) = shape.position(name, *next) else {
            return absent(name, part);
        };
        let kind = shape.schema.columns[position].kind;
        out[position] = column_value(kind, part).map_err(|error| error.in_column(name))?;
        *next = position + 1;
        Ok(())
    }

    fn key_field<T: Serialize + ?Sized>(&mut self, name: &'static str, part: &T) -> Done {
        if let Parts::Key { schema, out } = &*self
            && let Some(column) = key_column(schema, out.len())
            && column.name != name
        {
            let column = &column.name;
            return Err(RowError::new(format!("the key has '{column}' where '{name}' was given")));
        }
        self.part(part)
    }

    fn done(self) -> Done {
        match self {
            Parts::Bytes(bytes, out) => out.push(Value::Bytes(bytes)),
            Parts::Floats(floats, out) => out.push(Value::Vector(floats)),
            Parts::Key { .. } | Parts::Row { .. } => {}
        }
        Ok(())
    }
}

/// A field without a column is written as long as there is nothing in it.
fn absent<T: Serialize + ?Sized>(name: &str, value: &T) -> Done {
    match column_value(ColumnType::String, value) {
        Ok(Value::Null) => Ok(()),
        _ => Err(RowError::new(format!(
            "the table has no column '{name}', so this field can only be written while it is None"
        ))),
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.part(value)
    }

    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.part(value)
    }

    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeTupleStruct for Parts<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.part(value)
    }

    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Done {
        self.field(name, value)
    }

    fn end(self) -> Done {
        self.done()
    }
}
