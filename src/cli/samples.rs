//! Samples: a JSON file in which a plugin's author says what it is for.
//!
//! | field                | what it is                                                                      |
//! |----------------------|---------------------------------------------------------------------------------|
//! | `tables`             | an object: tables by name                                                       |
//! | - `columns`          | columns as `NAME:TYPE` or `NAME:TYPE?`, as `table create` takes them; none: any bytes |
//! | - `key`              | the columns of the key; `["id"]` if it is left out                              |
//! | - `rows`             | rows as `scan --json` writes them; of an untyped table `{"key": ..., "value": ...}` |
//! | `indexes`            | an array: `table`, `name`, `column`, and `settings`, an object of texts         |
//! | `calls`              | an array: `procedure`, `args`, and the `answer` if it is known                  |
//!
//! All may be left out. A field that does not exist is an error.

use super::failure::{Failure, Outcome};
use super::tables::schema_with_key;
use super::text::{parse_column, row_from_json};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use sochdb::Schema;
use sochdb::conformance::{SampleCall, SampleIndex, SampleTable, Samples};
use std::collections::BTreeMap;
use std::path::Path;

/// 16 MiB. Samples are written by people.
const BYTES_MAX: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tables: Map<String, Json>,
    #[serde(default)]
    indexes: Vec<Index>,
    #[serde(default)]
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    key: Vec<String>,
    #[serde(default)]
    rows: Vec<Map<String, Json>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    table: String,
    name: String,
    column: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    procedure: String,
    #[serde(default = "no_args")]
    args: Json,
    answer: Option<Json>,
}

fn no_args() -> Json {
    Json::Object(Map::new())
}

/// Reads the samples in the file `path`.
pub fn read(path: &Path) -> Outcome<Samples> {
    let shown = path.display().to_string();
    let failed = |error| Failure::io(format!("cannot read {shown}"), &error);
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if BYTES_MAX < bytes {
        return Err(Failure::invalid(format!(
            "{shown} has {bytes} bytes; samples have at most {BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text).map_err(|why| {
        Failure::invalid(format!("{shown}: {why}"))
            .help("`sochdb plugin test --help` shows an example")
    })
}

fn parse(text: &str) -> Result<Samples, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let tables = file.tables.into_iter().map(|(name, table)| {
        let read = serde_json::from_value(table).map_err(|error| error.to_string());
        read.and_then(|table| sample_table(&name, table))
            .map_err(|why| format!("table '{name}': {why}"))
    });
    let index = |index: Index| {
        let Index { table, name, column, settings } = index;
        SampleIndex { table, name, column, settings }
    };
    let call = |call: Call| {
        let Call { procedure, args, answer } = call;
        SampleCall { procedure, args, answer }
    };
    Ok(Samples {
        tables: tables.collect::<Result<_, _>>()?,
        indexes: file.indexes.into_iter().map(index).collect(),
        calls: file.calls.into_iter().map(call).collect(),
    })
}

fn sample_table(name: &str, table: Table) -> Result<SampleTable, String> {
    let Table { columns, key, rows } = table;
    let columns = columns.iter().map(|text| parse_column(text)).collect::<Result<Vec<_>, _>>()?;
    let schema = match columns.is_empty() {
        true => None,
        false => Some(schema_with_key(columns, &key).map_err(|failure| failure.message)?),
    };
    let rows = rows.iter().enumerate().map(|(at, row)| {
        let read = match &schema {
            Some(schema) => typed(row, schema),
            None => untyped(row),
        };
        read.map_err(|why| format!("row {}: {why}", at + 1))
    });
    let rows = rows.collect::<Result<_, _>>()?;
    Ok(SampleTable { name: name.to_owned(), schema, rows })
}

fn typed(row: &Map<String, Json>, schema: &Schema) -> Result<(Vec<u8>, Vec<u8>), String> {
    let row = row_from_json(row, schema).map_err(|(column, why)| match column {
        Some(column) => format!("column '{column}': {why}"),
        None => why,
    })?;
    let key = schema.encode_key(&row).map_err(|error| error.to_string())?;
    let value = schema.encode_row(&row).map_err(|error| error.to_string())?;
    Ok((key, value))
}

fn untyped(row: &Map<String, Json>) -> Result<(Vec<u8>, Vec<u8>), String> {
    if let Some(other) = row.keys().find(|name| !["key", "value"].contains(&name.as_str())) {
        return Err(format!("the table has no columns, so '{other}' means nothing"));
    }
    let text = |name: &str| match row.get(name) {
        Some(Json::String(text)) => Ok(text.clone().into_bytes()),
        _ => Err(format!("'{name}' is missing or no text")),
    };
    Ok((text("key")?, text("value")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_indexes_and_calls_are_read() {
        let text = r#"{
            "tables": {
                "people": {
                    "columns": ["id:int64", "name:string?"],
                    "rows": [{"id": 7, "name": "ada"}, {"id": 8}]
                },
                "notes": {"rows": [{"key": "a", "value": "b"}]}
            },
            "indexes": [{"table": "people", "name": "by_name", "column": "name"}],
            "calls": [{"procedure": "count", "answer": 2}]
        }"#;
        let samples = parse(text).unwrap();
        let notes = samples.tables.iter().find(|table| table.name == "notes").unwrap();
        assert_eq!(notes.rows, [(b"a".to_vec(), b"b".to_vec())]);
        let people = samples.tables.iter().find(|table| table.name == "people").unwrap();
        let schema = people.schema.as_ref().unwrap();
        assert_eq!((people.rows.len(), schema.columns.len()), (2, 2));
        assert_eq!(samples.indexes[0].name, "by_name");
        assert_eq!(samples.calls[0].args, no_args());
        assert_eq!(samples.calls[0].answer, Some(Json::from(2)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("{", "EOF"),
            (r#"{"table": {}}"#, "unknown field `table`"),
            (r#"{"tables": {"t": {"colums": []}}}"#, "table 't': unknown field `colums`"),
            (r#"{"tables": {"t": {"columns": ["id"]}}}"#, "column 'id' is not NAME:TYPE"),
            (
                r#"{"tables": {"t": {"columns": ["id:int64"], "rows": [{"id": "x"}]}}}"#,
                "row 1: column 'id': expected int64",
            ),
            (r#"{"tables": {"t": {"rows": [{"key": "a"}]}}}"#, "row 1: 'value' is missing"),
            (r#"{"tables": {"t": {"rows": [{"id": 1}]}}}"#, "'id' means nothing"),
        ];
        for (text, why) in wrong {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
