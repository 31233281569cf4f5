//! Typed rows between the contract's types and those of the encoding.

use crate::bindings::types;
use crate::error::{Error, Result};
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_encoding::select::{Comparison, Condition, Projection, Selection};

impl From<Value> for types::Value {
    fn from(value: Value) -> types::Value {
        match value {
            Value::Null => types::Value::Null,
            Value::Bool(value) => types::Value::Boolean(value),
            Value::Int64(value) => types::Value::Int64(value),
            Value::Float64(value) => types::Value::Float64(value),
            Value::String(value) => types::Value::Text(value),
            Value::Bytes(value) => types::Value::Bytes(value),
            Value::Timestamp(value) => types::Value::Timestamp(value),
            Value::Vector(value) => types::Value::Vector(value),
        }
    }
}

impl From<types::Value> for Value {
    fn from(value: types::Value) -> Value {
        match value {
            types::Value::Null => Value::Null,
            types::Value::Boolean(value) => Value::Bool(value),
            types::Value::Int64(value) => Value::Int64(value),
            types::Value::Float64(value) => Value::Float64(value),
            types::Value::Text(value) => Value::String(value),
            types::Value::Bytes(value) => Value::Bytes(value),
            types::Value::Timestamp(value) => Value::Timestamp(value),
            types::Value::Vector(value) => Value::Vector(value),
        }
    }
}

/// A table's columns.
///
/// # Errors
/// `Invalid` when they make no sense.
pub(crate) fn schema(schema: types::Schema) -> Result<Schema> {
    let column = |column: &types::Column| {
        let kind = ColumnType::from_tag(column.kind, column.dim);
        let kind =
            kind.ok_or_else(|| Error::invalid(format!("there is no column type {}", column.kind)))?;
        let types::Column { name, nullable, default, .. } = column.clone();
        Ok(Column { name, kind, nullable, default: default.map(Value::from) })
    };
    let columns = schema.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let name = |position: &u32| schema.columns.get(*position as usize).map(|of| of.name.as_str());
    let key: Option<Vec<_>> = schema.key.iter().map(name).collect();
    let key = key.ok_or_else(|| Error::invalid("the key names a column that does not exist"))?;
    Ok(Schema::new(columns, &key)?)
}

/// What a scan gives out of the rows of a table with `schema`.
///
/// # Errors
/// `Invalid` when a column does not exist or a value has not its type.
pub(crate) fn selection(
    schema: &Schema,
    columns: Option<Vec<String>>,
    filter: Vec<types::Condition>,
) -> Result<Selection> {
    let projection = |columns: Vec<String>| {
        let columns: Vec<_> = columns.iter().map(String::as_str).collect();
        Projection::new(schema, &columns)
    };
    let condition = |condition: types::Condition| {
        let types::Condition { column, op, values } = condition;
        let position = schema.columns.iter().position(|known| known.name == column);
        let position =
            position.ok_or_else(|| Error::invalid(format!("there is no column '{column}'")))?;
        let values = values.into_iter().map(Value::from).collect();
        Ok(Condition::at(schema, position, Comparison::try_from(op)?, values)?)
    };
    let conditions = filter.into_iter().map(condition).collect::<Result<Vec<_>>>()?;
    Ok(Selection::new(schema.clone(), columns.map(projection).transpose()?, conditions)?)
}
