//! What the database knows that could stand in a line: names and keys.
//!
//! Asked at each press of Tab, so everything is bounded, and what cannot be read is not offered.

use super::super::text::field_text;
use sochdb::host::bundled;
use sochdb::host::policy::HOST_TABLES;
use sochdb::{ColumnType, Database, Kernel, KeyRange, Schema, Value};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Keys that are offered.
const KEYS_MAX: usize = 50;
/// Rows that are looked at for them.
const ROWS_MAX: usize = 1_000;
/// A longer key is typed, or pasted, or not at all.
const KEY_CHARS_MAX: usize = 100;

/// Tables, but for the database's own.
pub fn tables(db: &Database) -> Vec<String> {
    let tables = Kernel::begin_read(db).and_then(|tx| tx.tables()).unwrap_or_default();
    let names = tables.into_iter().map(|table| table.name);
    names.filter(|name| !name.starts_with(HOST_TABLES)).collect()
}

/// Columns of a table, with their types.
pub fn columns(db: &Database, table: &str) -> Vec<(String, String)> {
    let columns = schema(db, table).map(|schema| schema.columns).unwrap_or_default();
    columns.into_iter().map(|column| (column.name, column.kind.to_string())).collect()
}

/// Indexes of a table, with their columns.
pub fn indexes(db: &Database, table: Option<&str>) -> Vec<(String, String)> {
    let all = db.indexes(table).unwrap_or_default();
    all.into_iter().map(|(index, _)| (index.name, index.column)).collect()
}

/// Plugins: those of this program, those that the database keeps, and those that were loaded.
pub fn plugins(db: &Database) -> Vec<String> {
    let mut names: BTreeSet<String> =
        bundled::PLUGINS.iter().map(|plugin| plugin.name.to_owned()).collect();
    names.extend(db.kept_plugins().unwrap_or_default().into_iter().map(|plugin| plugin.name));
    names.extend(db.plugins_loaded().into_iter().map(|plugin| plugin.name));
    names.into_iter().collect()
}

/// Procedures, with what they do.
pub fn procedures(db: &Database) -> Vec<(String, String)> {
    let name = |(plugin, info): (String, sochdb::ProcedureInfo)| {
        (format!("{plugin}.{}", info.name), info.description)
    };
    db.procedures().into_iter().map(name).collect()
}

/// Tenants that the database keeps.
pub fn tenants(db: &Database) -> Vec<String> {
    db.tenants_kept().unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}

/// The next part of keys of `table` that begin with the parts `before`, where that part begins with `partial`.
pub fn keys(db: &Database, table: &str, before: &[String], partial: &str) -> Vec<String> {
    let Ok(tx) = db.begin_read() else { return Vec::new() };
    let schema = schema(db, table);
    let Some(range) = range(schema.as_ref(), before, partial) else { return Vec::new() };
    let Ok(rows) = tx.scan(table, range) else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in rows.take(ROWS_MAX).map_while(Result::ok) {
        let text = match &schema {
            None => String::from_utf8(key).ok(),
            Some(schema) => part(schema, &key, &value, before.len()),
        };
        let text = text.filter(|text| text.starts_with(partial) && is_typed(text));
        if let Some(text) = text.filter(|text| found.last() != Some(text)) {
            found.push(text);
        }
        if found.len() == KEYS_MAX {
            break;
        }
    }
    found
}

fn schema(db: &Database, table: &str) -> Option<Schema> {
    db.begin_read().ok()?.table(table).ok()?.options.schema
}

fn is_typed(text: &str) -> bool {
    text.chars().count() <= KEY_CHARS_MAX && !text.chars().any(char::is_control)
}

/// Where to look: as near to the wanted keys as their encoding allows.
fn range(schema: Option<&Schema>, before: &[String], partial: &str) -> Option<KeyRange> {
    let Some(schema) = schema else {
        return before.is_empty().then(|| KeyRange::prefix(partial.as_bytes()));
    };
    let column = |index: usize| schema.key.get(index).map(|&at| &schema.columns[at]);
    let value = |(index, text): (usize, &String)| {
        super::super::text::value_from_text(text, column(index)?).ok()
    };
    let mut values = before.iter().enumerate().map(value).collect::<Option<Vec<_>>>()?;
    let next = column(before.len())?;
    let mut range = KeyRange::prefix(&schema.encode_key_values(&values).ok()?);
    if next.kind == ColumnType::String {
        values.push(Value::String(partial.into()));
        range.start = Bound::Included(schema.encode_key_values(&values).ok()?);
    }
    Some(range)
}

fn part(schema: &Schema, key: &[u8], value: &[u8], index: usize) -> Option<String> {
    let row = schema.decode(key, value).ok()?;
    Some(field_text(&row[*schema.key.get(index)?]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::text::parse_column;
    use sochdb::TableOptions;

    fn database() -> (tempfile::TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(directory.path().join("db")).unwrap();
        db.create_table("plain", TableOptions::default()).unwrap();
        let columns = ["kind:string", "id:int64", "text:string?"].map(|c| parse_column(c).unwrap());
        let schema = Schema::new(columns.to_vec(), &["kind", "id"]).unwrap();
        let typed = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
        db.create_table("typed", typed).unwrap();
        db.run(|tx| {
            for key in ["apple", "apricot", "bean", "line\nend"] {
                tx.put("plain", key.as_bytes(), b"1")?;
            }
            for (kind, id) in [("noun", 7), ("noun", 12), ("number", 1), ("verb", 12)] {
                let row = [Value::String(kind.into()), Value::Int64(id), Value::Null];
                tx.put("typed", &schema.encode_key(&row)?, &schema.encode_row(&row)?)?;
            }
            Ok(())
        })
        .unwrap();
        (directory, db)
    }

    #[test]
    fn keys_are_found_by_how_they_begin() {
        let (_directory, db) = database();
        assert_eq!(keys(&db, "plain", &[], "ap"), ["apple", "apricot"]);
        assert_eq!(
            keys(&db, "plain", &[], ""),
            ["apple", "apricot", "bean"],
            "one has a line's end"
        );
        assert_eq!(keys(&db, "typed", &[], "n"), ["noun", "number"]);
        assert_eq!(keys(&db, "typed", &["noun".into()], ""), ["7", "12"]);
        assert_eq!(keys(&db, "typed", &["noun".into()], "1"), ["12"]);
        assert!(keys(&db, "typed", &["noun".into(), "7".into()], "").is_empty());
        assert!(keys(&db, "none", &[], "").is_empty());
        db.close().unwrap();
    }

    #[test]
    fn names_are_those_of_the_database() {
        let (_directory, db) = database();
        assert_eq!(tables(&db), ["plain", "typed"]);
        let of_typed = columns(&db, "typed");
        assert_eq!(of_typed[1], ("id".to_owned(), "int64".to_owned()));
        assert!(columns(&db, "plain").is_empty() && indexes(&db, None).is_empty());
        assert!(procedures(&db).is_empty());
        db.close().unwrap();
    }
}
