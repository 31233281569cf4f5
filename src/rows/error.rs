//! What serde says went wrong with a row, and how it becomes an error of the database: with table, row and column.

use serde::{de, ser};
use sochdb_kernel::{KernelError, Schema, Value};
use std::fmt::{self, Display, Write};

/// Trouble with one row, before anybody has said which.
#[derive(Debug, Default)]
pub(crate) struct RowError {
    column: Option<String>,
    text: String,
    /// Which field was there twice, by the name that the type gives it.
    pub(crate) duplicate: Option<&'static str>,
}

impl RowError {
    pub(crate) fn new(text: impl Into<String>) -> RowError {
        RowError { text: text.into(), ..RowError::default() }
    }

    /// The same, in the column `name`.
    pub(crate) fn in_column(mut self, name: &str) -> RowError {
        self.column.get_or_insert_with(|| name.to_owned());
        self
    }

    /// The same, in a row of `table` that `row` describes.
    pub(crate) fn of(self, table: &str, row: Option<String>) -> KernelError {
        let row = row.map(|row| format!(", row {row}")).unwrap_or_default();
        KernelError::Invalid(format!("table '{table}'{row}{self}"))
    }
}

impl Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, ", column '{column}': {}", self.text),
            None => write!(f, ": {}", self.text),
        }
    }
}

impl std::error::Error for RowError {}

impl de::Error for RowError {
    fn custom<T: Display>(text: T) -> RowError {
        RowError::new(text.to_string())
    }

    fn duplicate_field(field: &'static str) -> RowError {
        RowError { duplicate: Some(field), ..RowError::new(format!("field '{field}' twice")) }
    }
}

impl ser::Error for RowError {
    fn custom<T: Display>(text: T) -> RowError {
        RowError::new(text.to_string())
    }
}

/// The key `key` as people read it: its values, or its bytes where they are none of this schema.
pub(crate) fn key_text(schema: &Schema, key: &[u8]) -> String {
    match schema.key_values(key) {
        Ok(values) => values_text(&values),
        Err(_) => format!("'{}'", key.escape_ascii()),
    }
}

/// Values as people read them.
pub(crate) fn values_text(values: &[Value]) -> String {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "(" } else { ", " };
        // Writing to a string does not fail.
        let _ = match value {
            Value::Null => write!(text, "{comma}null"),
            Value::Bool(value) => write!(text, "{comma}{value}"),
            Value::Int64(value) => write!(text, "{comma}{value}"),
            Value::Float64(value) => write!(text, "{comma}{value}"),
            Value::String(value) => write!(text, "{comma}{value:?}"),
            Value::Bytes(value) => write!(text, "{comma}b\"{}\"", value.escape_ascii()),
            Value::Timestamp(value) => write!(text, "{comma}{value} us"),
            Value::Vector(value) => write!(text, "{comma}a vector of {}", value.len()),
        };
    }
    text + ")"
}
