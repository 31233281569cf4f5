//! Rows, documents and columns against schemas, and schemas that are none.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::json;
use sochdb_guest::testing::{Database, Written};

/// Columns by name, type, and whether they may be null.
fn schema(columns: &[(&str, ColumnType, bool)], key: &[&str]) -> Schema {
    let column = |&(name, kind, nullable): &(&str, ColumnType, bool)| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    Schema::new(columns.iter().map(column).collect(), key).unwrap()
}

fn people() -> Database {
    let columns = [
        ("id", ColumnType::Int64, false),
        ("name", ColumnType::String, false),
        ("age", ColumnType::Int64, true),
        ("more", ColumnType::String, true),
    ];
    let mut db = Database::new();
    db.typed_table("people", schema(&columns, &["id"])).table("documents");
    db
}

fn installed() -> Database {
    let mut db = people();
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<JsonSchema>("**").unwrap();
    db
}

#[test]
fn rows_that_fit_are_written_and_others_refused_with_the_reasons() {
    let mut db = installed();
    let good = json!({ "id": 1, "name": "Ada", "age": 36 });
    assert_eq!(db.put_json("people", &good).unwrap(), Written::AsGiven);
    let error = db.put_json("people", &json!({ "id": 1, "name": "", "age": 200 })).unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
    for part in ["/name: ", "/age: 200 is greater than the maximum of 150"] {
        assert!(error.text.contains(part), "{}", error.text);
    }
    assert_eq!(db.rows_json("people").unwrap()[0]["age"], 36);
    db.delete_json("people", &json!({ "id": 1 })).unwrap();
}

#[test]
fn an_untyped_table_keeps_documents_then() {
    let mut db = people();
    db.setting("schema", r#"{"type": "array", "items": {"type": "integer"}}"#)
        .setting("column", "");
    db.hooks::<JsonSchema>("documents").unwrap();
    db.put("documents", b"a", b"[1, 2]").unwrap();
    let error = db.put("documents", b"a", b"[1, \"2\"]").unwrap_err();
    assert!(error.text.contains(r#"/1: "2" is not of type "integer""#), "{}", error.text);
    for bytes in [&b"[1,"[..], b"\xff", b""] {
        let error = db.put("documents", b"a", bytes).unwrap_err();
        assert!(error.text.contains("this is no JSON: "), "{}", error.text);
    }
    assert_eq!(db.get("documents", b"a").as_deref(), Some(&b"[1, 2]"[..]));
}

#[test]
fn a_column_may_be_what_is_looked_at() {
    let mut db = people();
    db.setting("schema", r#"{"required": ["town"]}"#).setting("column", "more");
    db.hooks::<JsonSchema>("people").unwrap();
    let put = |db: &mut Database, more: Json| {
        db.put_json("people", &json!({ "id": 1, "name": "Ada", "more": more }))
    };
    put(&mut db, json!(r#"{"town": "London"}"#)).unwrap();
    put(&mut db, Json::Null).unwrap();
    let error = put(&mut db, json!("{}")).unwrap_err();
    assert!(error.text.contains(r#""town" is a required property"#), "{}", error.text);
    assert!(put(&mut db, json!("{")).is_err());
}

#[test]
fn no_more_than_three_reasons_are_told() {
    let mut db = people();
    db.setting("schema", r#"{"items": {"type": "null"}}"#).setting("column", "");
    db.hooks::<JsonSchema>("documents").unwrap();
    let error = db.put("documents", b"a", b"[1, 2, 3, 4, 5]").unwrap_err();
    assert_eq!(error.text.matches("; ").count(), 2, "{}", error.text);
}

#[test]
fn a_schema_that_is_none_keeps_the_plugin_from_starting() {
    // What lies elsewhere is never fetched: a plugin has no network.
    for bad in
        ["{", r#"{"type": "number or so"}"#, r#"{"$ref": "https://example.com/schema.json"}"#]
    {
        let mut db = people();
        db.setting("schema", bad).setting("column", "");
        assert!(db.hooks::<JsonSchema>("people").is_err(), "{bad}");
    }
}
