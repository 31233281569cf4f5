//! The columns of a new table, read off the first rows of a file.
//!
//! A column gets the narrowest type that holds all its values: bool, int64, float64 (also where whole
//! numbers are mixed in), vector(n) for arrays of n numbers, otherwise string. Text stays text: dates
//! become timestamps only when `--column` says so. Digits with a leading zero are text, because
//! `007` is a name. Columns outside the key allow null, because later rows may lack them.

use super::source::{Fields, Record};
use crate::cli::text::parse_column;
use serde_json::Value as Json;
use sochdb::{Column, ColumnType};

/// What one value could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Null,
    Bool,
    Int,
    Float,
    Vector(u32),
    Text,
}

/// The columns of `records` in the order they are met; `declared` (`NAME:TYPE`) wins over the guess. Records that
/// could not be read say nothing.
///
/// The error names the column and the record's line where no type fits. If `lenient` there is none: such a value
/// says nothing.
pub fn columns(
    header: Option<&[String]>,
    records: &[Record],
    declared: &[String],
    key: &[String],
    lenient: bool,
) -> Result<Vec<Column>, (u64, String, String)> {
    let mut guesses: Vec<(String, Guess)> =
        header.unwrap_or_default().iter().map(|name| (name.clone(), Guess::Null)).collect();
    for record in records {
        match &record.fields {
            Err(_) => {}
            Ok(Fields::Csv(fields)) => {
                for (field, (_, guess)) in fields.iter().zip(&mut guesses) {
                    *guess = both(*guess, of_text(field));
                }
            }
            Ok(Fields::Json(object)) => {
                for (name, json) in object {
                    let nothing = lenient.then_some(Guess::Null);
                    let met = of_json(json).or(nothing).ok_or_else(|| {
                        let what = "holds an object or an array that is not of numbers only; flatten it first";
                        (record.line, name.clone(), what.to_owned())
                    })?;
                    match guesses.iter_mut().find(|(known, _)| known == name) {
                        Some((_, guess)) => *guess = both(*guess, met),
                        None => guesses.push((name.clone(), met)),
                    }
                }
            }
        }
    }
    let mut declared: Vec<Column> = declared
        .iter()
        .map(|text| parse_column(text))
        .collect::<Result<_, _>>()
        .map_err(|what| (0, String::new(), what))?;
    let mut columns = Vec::new();
    for (name, guess) in guesses {
        let said = declared.iter().position(|column| column.name == name);
        columns.push(said.map(|position| declared.remove(position)).unwrap_or_else(|| {
            let nullable = !key.contains(&name) && (!key.is_empty() || name != "id");
            Column { name, kind: guess.column_type(), nullable, default: None }
        }));
    }
    columns.append(&mut declared);
    Ok(columns)
}

impl Guess {
    fn column_type(self) -> ColumnType {
        match self {
            Guess::Bool => ColumnType::Bool,
            Guess::Int => ColumnType::Int64,
            Guess::Float => ColumnType::Float64,
            Guess::Vector(dim) => ColumnType::Vector(dim),
            Guess::Null | Guess::Text => ColumnType::String,
        }
    }
}

fn both(a: Guess, b: Guess) -> Guess {
    match (a, b) {
        (a, b) if a == b => a,
        (Guess::Null, other) | (other, Guess::Null) => other,
        (Guess::Int, Guess::Float) | (Guess::Float, Guess::Int) => Guess::Float,
        _ => Guess::Text,
    }
}

fn of_json(json: &Json) -> Option<Guess> {
    Some(match json {
        Json::Null => Guess::Null,
        Json::Bool(_) => Guess::Bool,
        Json::Number(number) if number.is_i64() => Guess::Int,
        Json::Number(_) => Guess::Float,
        Json::String(_) => Guess::Text,
        Json::Array(items) if !items.is_empty() && items.iter().all(Json::is_number) => {
            Guess::Vector(u32::try_from(items.len()).ok()?)
        }
        Json::Array(_) | Json::Object(_) => return None,
    })
}

fn of_text(text: &str) -> Guess {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match text {
        "" => Guess::Null,
        "true" | "false" => Guess::Bool,
        _ if text.starts_with('[') => {
            serde_json::from_str(text).ok().and_then(|json| of_json(&json)).unwrap_or(Guess::Text)
        }
        _ if is_code || !digits.starts_with(|c: char| c.is_ascii_digit()) => Guess::Text,
        _ if text.parse::<i64>().is_ok() => Guess::Int,
        _ if text.parse::<f64>().is_ok_and(f64::is_finite) => Guess::Float,
        _ => Guess::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_column(values: &[&str]) -> String {
        let fields = |value: &&str| Ok(Fields::Csv(vec![(*value).to_owned()]));
        let record = |value| Record { line: 1, end: Default::default(), fields: fields(value) };
        let records: Vec<_> = values.iter().map(record).collect();
        let columns = columns(Some(&["a".to_owned()]), &records, &[], &[], false).unwrap();
        columns[0].kind.to_string()
    }

    #[test]
    fn a_column_gets_the_narrowest_type_that_holds_all() {
        let cases: [(&[&str], &str); 12] = [
            (&["1", "-2", ""], "int64"),
            (&["1", "2.5"], "float64"),
            (&["1e3"], "float64"),
            (&["true", "false"], "bool"),
            (&["true", "1"], "string"),
            (&["007", "1"], "string"),
            (&["0", "0.5"], "float64"),
            (&["[1, 2.5]", "[0, 0]"], "vector(2)"),
            (&["[1, 2]", "[1]"], "string"),
            (&["9223372036854775808"], "float64"),
            (&["NaN"], "string"),
            (&["", ""], "string"),
        ];
        for (values, kind) in cases {
            assert_eq!(of_column(values), kind, "{values:?}");
        }
    }

    #[test]
    fn json_columns_come_in_the_order_they_are_met() {
        let fields = |text| Ok(Fields::Json(serde_json::from_str(text).unwrap()));
        let record = |line, text| Record { line, end: Default::default(), fields: fields(text) };
        let rows = [
            record(1, r#"{"id": 1, "v": [1, 2]}"#),
            record(2, r#"{"id": 2, "late": "x", "v": null}"#),
        ];
        let found =
            columns(None, &rows, &["late:bytes".to_owned()], &["id".to_owned()], false).unwrap();
        let found: Vec<_> =
            found.iter().map(|c| (c.name.as_str(), c.kind.to_string(), c.nullable)).collect();
        let expected = [
            ("id", "int64".into(), false),
            ("v", "vector(2)".into(), true),
            ("late", "bytes".into(), false),
        ];
        assert_eq!(found, expected);
        let nested = [record(7, r#"{"a": {"b": 1}}"#), record(8, r#"{"a": 3}"#)];
        let wrong = columns(None, &nested, &[], &[], false).unwrap_err();
        assert_eq!((wrong.0, wrong.1.as_str()), (7, "a"));
        assert_eq!(columns(None, &nested, &[], &[], true).unwrap()[0].kind, ColumnType::Int64);
    }
}
