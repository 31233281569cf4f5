//! Values and rows as text: on the command line, in CSV and in JSON, both ways.
//!
//! | type        | command line and CSV           | JSON                                      |
//! |-------------|--------------------------------|-------------------------------------------|
//! | null        | an empty field                 | `null`, or the column is left out         |
//! | `bool`      | `true`, `false`                | `true`, `false`                           |
//! | `int64`     | digits                         | a whole number                            |
//! | `float64`   | a number, `NaN`, `inf`, `-inf` | a number, or one of those words as string |
//! | `string`    | the text                       | a string                                  |
//! | `bytes`     | hexadecimal digits             | a string of hexadecimal digits            |
//! | `timestamp` | RFC 3339, or microseconds      | an RFC 3339 string, or microseconds       |
//! | `vector(n)` | a JSON array                   | an array of n numbers                     |
//!
//! In CSV an empty field is null where the column allows null, otherwise the empty string or bytes.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;
use sochdb::{Column, ColumnType, EncodingError, Schema, Value};
use std::fmt::Write as _;

/// What is wrong with a row: the column at fault, if one is, and what about it.
pub type Wrong = (Option<String>, String);
/// A row as the kernel takes it: its key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// A column as `NAME:TYPE` or `NAME:TYPE?`.
pub fn parse_column(text: &str) -> Result<Column, String> {
    let (name, kind) = text.rsplit_once(':').ok_or(format!("column '{text}' is not NAME:TYPE"))?;
    let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    let kind = kind.parse().map_err(|error: EncodingError| format!("column '{name}': {error}"))?;
    Ok(Column { name: name.to_owned(), kind, nullable, default: None })
}

/// Hexadecimal digits as bytes.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("'{}' is not an even number of hexadecimal digits", shorten(text, 40));
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(bad());
    }
    let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(bad);
    digits.chunks_exact(2).map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// At most `chars_max` characters of `text`, and an ellipsis when that cuts it.
pub fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A field of a command line or CSV file as a value of `column`.
pub fn value_from_text(text: &str, column: &Column) -> Result<Value, String> {
    if text.is_empty() && column.nullable {
        return Ok(Value::Null);
    }
    let bad = || expected(column, &format!("'{}'", shorten(text, 40)));
    match &column.kind {
        ColumnType::Bool => text.parse().map(Value::Bool).map_err(|_| bad()),
        ColumnType::Int64 => text.parse().map(Value::Int64).map_err(|_| bad()),
        ColumnType::Float64 => text.parse().map(Value::Float64).map_err(|_| bad()),
        ColumnType::String => Ok(Value::String(text.to_owned())),
        ColumnType::Bytes => parse_hex(text).map(Value::Bytes).map_err(|_| bad()),
        ColumnType::Timestamp => parse_timestamp(text).map(Value::Timestamp).ok_or_else(bad),
        ColumnType::Vector(_) => {
            value_from_json(&serde_json::from_str(text).map_err(|_| bad())?, column)
        }
    }
}

/// A JSON value as a value of `column`.
pub fn value_from_json(json: &Json, column: &Column) -> Result<Value, String> {
    let bad = || expected(column, &describe(json));
    let value = match (&column.kind, json) {
        (_, Json::Null) if column.nullable => Value::Null,
        (ColumnType::Bool, Json::Bool(value)) => Value::Bool(*value),
        (ColumnType::Int64, Json::Number(number)) => Value::Int64(number.as_i64().ok_or_else(bad)?),
        (ColumnType::Float64, Json::Number(number)) => {
            Value::Float64(number.as_f64().ok_or_else(bad)?)
        }
        (ColumnType::Float64, Json::String(text)) => match text.as_str() {
            "NaN" => Value::Float64(f64::NAN),
            "inf" => Value::Float64(f64::INFINITY),
            "-inf" => Value::Float64(f64::NEG_INFINITY),
            _ => return Err(bad()),
        },
        (ColumnType::String, Json::String(text)) => Value::String(text.clone()),
        (ColumnType::Bytes, Json::String(text)) => Value::Bytes(parse_hex(text)?),
        (ColumnType::Timestamp, Json::String(text)) => {
            Value::Timestamp(parse_timestamp(text).ok_or_else(bad)?)
        }
        (ColumnType::Timestamp, Json::Number(number)) => {
            Value::Timestamp(number.as_i64().ok_or_else(bad)?)
        }
        (ColumnType::Vector(dim), Json::Array(items)) if items.len() == *dim as usize => {
            let float = |item: &Json| item.as_f64().map(|float| float as f32).ok_or_else(bad);
            Value::Vector(items.iter().map(float).collect::<Result<_, _>>()?)
        }
        _ => return Err(bad()),
    };
    Ok(value)
}

/// One value for each column of `schema`, in its order, from a JSON object.
///
/// The error is the column's name, where one is at fault, and what is wrong.
pub fn row_from_json(
    object: &serde_json::Map<String, Json>,
    schema: &Schema,
) -> Result<Vec<Value>, Wrong> {
    if let Some(name) = object.keys().find(|name| !schema.columns.iter().any(|c| &c.name == *name))
    {
        return Err((Some(name.clone()), "the table has no such column".into()));
    }
    let value = |column: &Column| match object.get(&column.name) {
        Some(json) => {
            value_from_json(json, column).map_err(|what| (Some(column.name.clone()), what))
        }
        None => absent(column),
    };
    schema.columns.iter().map(value).collect()
}

/// What a column holds that a row does not mention.
pub fn absent(column: &Column) -> Result<Value, Wrong> {
    match &column.default {
        Some(default) => Ok(default.clone()),
        None if column.nullable => Ok(Value::Null),
        None => Err((Some(column.name.clone()), "is missing, and it allows no null".into())),
    }
}

fn expected(column: &Column, found: &str) -> String {
    format!("expected {}, found {found}", column.kind)
}

fn describe(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("\"{}\"", shorten(text, 40)),
        Json::Array(items) => format!("an array of {}", items.len()),
        Json::Object(_) => "an object".into(),
    }
}

fn parse_timestamp(text: &str) -> Option<i64> {
    let micros = || text.parse::<jiff::Timestamp>().ok().map(|time| time.as_microsecond());
    text.parse().ok().or_else(micros)
}

fn timestamp_text(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}

/// A value as a field of CSV: complete, and what [`value_from_text`] reads back.
pub fn field_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int64(value) => value.to_string(),
        Value::Float64(value) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Timestamp(us) => timestamp_text(*us),
        Value::Vector(floats) => serde_json::to_string(floats).expect("numbers are always JSON"),
    }
}

/// Characters of one value in a table for people.
pub const CELL_CHARS: usize = 120;

/// A value for people: long things are cut.
pub fn cell_text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Vector(floats) => {
            let first: Vec<_> = floats.iter().take(3).map(|float| format!("{float:.3}")).collect();
            let more = if floats.len() > 3 { ", …" } else { "" };
            format!("[{}{more}] ({})", first.join(", "), floats.len())
        }
        other => {
            shorten(&field_text(other).escape_debug().to_string().replace("\\'", "'"), CELL_CHARS)
        }
    }
}

/// One value as JSON.
pub struct JsonValue<'a>(pub &'a Value);

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => out.serialize_unit(),
            Value::Bool(value) => out.serialize_bool(*value),
            Value::Int64(value) => out.serialize_i64(*value),
            Value::Float64(value) if value.is_finite() => out.serialize_f64(*value),
            Value::Vector(floats) => floats.serialize(out),
            other => out.serialize_str(&field_text(other)),
        }
    }
}

/// Some columns of a typed row as a JSON object.
pub struct JsonRow<'a> {
    /// The table's schema.
    pub schema: &'a Schema,
    /// One value per column of the schema.
    pub row: &'a [Value],
    /// Positions of the columns to show, in the order to show them.
    pub columns: &'a [usize],
}

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.columns.len()))?;
        for &position in self.columns {
            let name = &self.schema.columns[position].name;
            map.serialize_entry(name, &JsonValue(&self.row[position]))?;
        }
        map.end()
    }
}

/// A row of an untyped table as a JSON object: `key` and `value` where they are text, `key_hex` and
/// `value_hex` where they are not or `hex` asks for it.
pub struct JsonPair<'a> {
    /// The row's key.
    pub key: &'a [u8],
    /// The row's value.
    pub value: &'a [u8],
    /// Whether to write hexadecimal digits even for text.
    pub hex: bool,
}

impl Serialize for JsonPair<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(2))?;
        for (name, name_hex, bytes) in
            [("key", "key_hex", self.key), ("value", "value_hex", self.value)]
        {
            match std::str::from_utf8(bytes) {
                Ok(text) if !self.hex => map.serialize_entry(name, text)?,
                _ => map.serialize_entry(name_hex, &hex(bytes))?,
            }
        }
        map.end()
    }
}

/// The key and value of an untyped row from a JSON object such as [`JsonPair`] writes.
pub fn pair_from_json(object: &serde_json::Map<String, Json>) -> Result<KeyValue, Wrong> {
    let known = ["key", "key_hex", "value", "value_hex"];
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        let what =
            "the table is untyped: a row has `key` and `value`, or `key_hex` and `value_hex`";
        return Err((Some(name.clone()), what.into()));
    }
    let bytes = |name: &str| {
        let name_hex = format!("{name}_hex");
        match (object.get(name), object.get(&name_hex)) {
            (Some(Json::String(text)), None) => Ok(text.clone().into_bytes()),
            (None, Some(Json::String(text))) => {
                parse_hex(text).map_err(|what| (Some(name_hex), what))
            }
            (None, None) => Err((Some(name.to_owned()), "is missing".to_owned())),
            (Some(_), Some(_)) => {
                Err((Some(name_hex), format!("stands beside `{name}`; give one")))
            }
            (Some(other), None) | (None, Some(other)) => Err((
                Some(name.to_owned()),
                format!("expected a string, found {}", describe(other)),
            )),
        }
    };
    Ok((bytes("key")?, bytes("value")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> Column {
        parse_column(text).unwrap()
    }

    #[test]
    fn column_types_read_back_from_their_names() {
        for text in ["bool", "int64", "float64", "string", "bytes", "timestamp", "vector(384)"] {
            assert_eq!(column(&format!("a:{text}")).kind.to_string(), text);
            assert!(column(&format!("a:{text}?")).nullable, "{text}?");
        }
        for text in ["a", "a:", "a:int", "a:vector", "a:vector()", "a:vector(0)", "a:vector(x)"] {
            assert!(parse_column(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_read_back_what_was_written() {
        let cases = [
            ("a:bool", Value::Bool(true)),
            ("a:int64", Value::Int64(i64::MIN)),
            ("a:float64", Value::Float64(0.1)),
            ("a:float64", Value::Float64(f64::NEG_INFINITY)),
            ("a:string", Value::String("ä \"b\", c\n".into())),
            ("a:bytes", Value::Bytes(vec![0, 255, 16])),
            ("a:timestamp", Value::Timestamp(1_700_000_000_123_456)),
            ("a:timestamp", Value::Timestamp(-1)),
            ("a:vector(3)", Value::Vector(vec![0.1, -1e-30, 3.0])),
            ("a:int64?", Value::Null),
        ];
        for (text, value) in cases {
            let column = column(text);
            assert_eq!(value_from_text(&field_text(&value), &column), Ok(value.clone()), "{text}");
            let json = serde_json::to_string(&JsonValue(&value)).unwrap();
            let json = serde_json::from_str(&json).unwrap();
            assert_eq!(value_from_json(&json, &column), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_named_with_what_was_expected() {
        let bad = value_from_text("seven", &column("a:int64")).unwrap_err();
        assert_eq!(bad, "expected int64, found 'seven'");
        let bad = value_from_json(&serde_json::json!([1, 2]), &column("a:vector(3)")).unwrap_err();
        assert_eq!(bad, "expected vector(3), found an array of 2");
        assert!(value_from_json(&Json::Null, &column("a:int64")).is_err());
        assert!(value_from_text("", &column("a:int64")).is_err());
    }

    #[test]
    fn untyped_rows_read_back_whatever_their_bytes() {
        for (key, value) in [(&b"k"[..], &b"v"[..]), (b"", b"\xff\x00"), (b"\x80", b"")] {
            for hex in [false, true] {
                let json = serde_json::to_string(&JsonPair { key, value, hex }).unwrap();
                let read = pair_from_json(&serde_json::from_str(&json).unwrap()).unwrap();
                assert_eq!(read, (key.to_vec(), value.to_vec()), "{json}");
            }
        }
        let bad = pair_from_json(&serde_json::from_str(r#"{"key": "a", "size": 1}"#).unwrap());
        assert_eq!(bad.unwrap_err().0.as_deref(), Some("size"));
    }
}
