//! Values of typed rows as JSON, in the same forms as the `sochdb` command writes and reads them.
//!
//! | type        | JSON                                                                          |
//! |-------------|-------------------------------------------------------------------------------|
//! | null        | `null`; a row may leave the column out                                        |
//! | `bool`      | `true`, `false`                                                               |
//! | `int64`     | a whole number                                                                |
//! | `float64`   | a number, or one of the strings `"NaN"`, `"inf"`, `"-inf"`                    |
//! | `string`    | a string                                                                      |
//! | `bytes`     | a string of hexadecimal digits                                                |
//! | `timestamp` | an RFC 3339 string such as `"2023-11-14T22:13:20Z"`; read also from microseconds |
//! | `vector(n)` | an array of n numbers; what is no finite number is written as `null`          |

use crate::error::{Error, Result};
use serde_json::{Number, Value as Json};
use sochdb_encoding::row::{Column, ColumnType, Value};
use std::fmt::Write as _;

mod time;

/// Characters of a string that an error shows.
const SHOWN_CHARS: usize = 40;

/// A value as JSON.
pub fn of_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int64(value) => Json::from(*value),
        Value::Float64(value) => match Number::from_f64(*value) {
            Some(number) => Json::Number(number),
            None => Json::String(value.to_string()),
        },
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(hex(bytes)),
        Value::Timestamp(us) => Json::String(time::to_text(*us).unwrap_or_else(|| us.to_string())),
        Value::Vector(floats) => floats.iter().map(|float| of_f32(*float)).collect(),
    }
}

/// The number with the digits that say which f32 it is: 0.1, and not what 0.1 is as an f64.
fn of_f32(float: f32) -> Json {
    let shortest = float.to_string().parse().ok().and_then(Number::from_f64);
    shortest.map_or(Json::Null, Json::Number)
}

/// JSON as a value of `column`.
///
/// # Errors
/// `Invalid` that names the column, what it holds and what was found.
pub fn to_value(json: &Json, column: &Column) -> Result<Value> {
    let bad = || {
        let (name, kind) = (&column.name, &column.kind);
        Error::invalid(format!("column '{name}': expected {kind}, found {}", described(json)))
    };
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
        (ColumnType::Bytes, Json::String(text)) => Value::Bytes(of_hex(text).ok_or_else(bad)?),
        (ColumnType::Timestamp, Json::String(text)) => {
            let us = text.parse().ok().or_else(|| time::of_text(text));
            Value::Timestamp(us.ok_or_else(bad)?)
        }
        (ColumnType::Timestamp, Json::Number(number)) => {
            Value::Timestamp(number.as_i64().ok_or_else(bad)?)
        }
        (ColumnType::Vector(dim), Json::Array(items)) if items.len() == *dim as usize => {
            let float = |item: &Json| item.as_f64().map(|float| float as f32).ok_or_else(bad);
            Value::Vector(items.iter().map(float).collect::<Result<_>>()?)
        }
        _ => return Err(bad()),
    };
    Ok(value)
}

fn described(json: &Json) -> String {
    match json {
        Json::String(text) => match text.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("\"{}…\"", &text[..end]),
            None => format!("\"{text}\""),
        },
        Json::Array(items) => format!("an array of {}", items.len()),
        Json::Object(_) => "an object".to_owned(),
        plain => plain.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(kind: ColumnType) -> Column {
        Column { name: "c".into(), kind, nullable: true, default: None }
    }

    fn check(kind: ColumnType, json: &str, value: Value) {
        let parsed: Json = serde_json::from_str(json).unwrap();
        assert_eq!(to_value(&parsed, &column(kind)), Ok(value.clone()), "{json}");
        assert_eq!(of_value(&value).to_string(), json);
    }

    #[test]
    fn values_are_written_as_the_command_writes_them() {
        check(ColumnType::Bool, "null", Value::Null);
        check(ColumnType::Bool, "true", Value::Bool(true));
        check(ColumnType::Int64, "-9223372036854775808", Value::Int64(i64::MIN));
        check(ColumnType::Float64, "0.1", Value::Float64(0.1));
        check(ColumnType::Float64, "1.0", Value::Float64(1.0));
        check(ColumnType::Float64, "\"NaN\"", Value::Float64(f64::NAN));
        check(ColumnType::Float64, "\"-inf\"", Value::Float64(f64::NEG_INFINITY));
        check(ColumnType::String, r#""a \"b\"""#, Value::String("a \"b\"".into()));
        check(ColumnType::Bytes, "\"00ff10\"", Value::Bytes(vec![0, 255, 16]));
        let noon = Value::Timestamp(1_700_000_000_123_456);
        check(ColumnType::Timestamp, "\"2023-11-14T22:13:20.123456Z\"", noon);
        check(ColumnType::Vector(3), "[0.1,-1e-30,3.0]", Value::Vector(vec![0.1, -1e-30, 3.0]));
    }

    #[test]
    fn what_is_no_value_of_the_column_is_named() {
        for (kind, json) in [
            (ColumnType::Int64, "1.5"),
            (ColumnType::Int64, "9223372036854775808"),
            (ColumnType::Float64, "\"nan\""),
            (ColumnType::Bytes, "\"0\""),
            (ColumnType::Bytes, "\"é\""),
            (ColumnType::Timestamp, "\"yesterday\""),
            (ColumnType::Vector(3), "[1, 2]"),
            (ColumnType::Vector(1), "[null]"),
            (ColumnType::String, "{}"),
        ] {
            let json = serde_json::from_str(json).unwrap();
            let error = to_value(&json, &column(kind)).unwrap_err();
            assert!(error.text.starts_with("column 'c': expected "), "{}", error.text);
        }
        let strict = Column { nullable: false, ..column(ColumnType::Bool) };
        assert!(to_value(&Json::Null, &strict).is_err());
    }

    proptest! {
        #[test]
        fn a_vector_comes_back_as_it_was(bits: u32) {
            let float = f32::from_bits(bits);
            prop_assume!(float.is_finite());
            let value = Value::Vector(vec![float]);
            let text = of_value(&value).to_string();
            let json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(to_value(&json, &column(ColumnType::Vector(1))), Ok(value));
        }
    }
}
