//! What becomes of rows that are deleted once, twice, and without a clock.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::{Value as Json, json};
use sochdb_guest::testing::{Database, Written};

const NOON_US: i64 = 1_700_000_000_000_000;
const NOON: &str = "2023-11-14T22:13:20Z";

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

/// `people` with one row, and the hook with its manifest.
fn database() -> Database {
    let columns = [
        ("id", ColumnType::Int64, false),
        ("name", ColumnType::String, false),
        ("deleted_at", ColumnType::Timestamp, true),
    ];
    let mut db = Database::new();
    db.typed_table("people", schema(&columns, &["id"])).set_clock(NOON_US);
    db
}

fn installed() -> Database {
    let mut db = database();
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<SoftDelete>("**").unwrap();
    db.put_json("people", &json!({ "id": 1, "name": "Ada" })).unwrap();
    db
}

fn ada(db: &Database) -> Option<Json> {
    db.get_json("people", &json!({ "id": 1 })).unwrap()
}

#[test]
fn a_deleted_row_stays_and_says_when() {
    let mut db = installed();
    assert_eq!(db.delete_json("people", &json!({ "id": 1 })).unwrap(), Written::Skipped);
    let marked = json!({ "id": 1, "name": "Ada", "deleted_at": NOON });
    assert_eq!(ada(&db), Some(marked));
    assert_eq!(db.delete_json("people", &json!({ "id": 2 })).unwrap(), Written::AsGiven);
}

#[test]
fn a_row_is_taken_out_of_the_bin_by_an_update_and_the_bin_emptied_by_a_delete() {
    let mut db = installed();
    let key = json!({ "id": 1 });
    db.delete_json("people", &key).unwrap();
    db.put_json("people", &json!({ "id": 1, "name": "Ada", "deleted_at": null })).unwrap();
    assert_eq!(db.delete_json("people", &key).unwrap(), Written::Skipped);
    assert_eq!(db.delete_json("people", &key).unwrap(), Written::AsGiven);
    assert_eq!(ada(&db), None);
}

#[test]
fn without_purge_nothing_ever_goes_and_the_first_time_stays() {
    let mut db = database();
    db.setting("purge", false);
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<SoftDelete>("**").unwrap();
    db.put_json("people", &json!({ "id": 1, "name": "Ada" })).unwrap();
    for later_us in [0, 5_000_000] {
        db.set_clock(NOON_US + later_us);
        assert_eq!(db.delete_json("people", &json!({ "id": 1 })).unwrap(), Written::Skipped);
        assert_eq!(ada(&db).unwrap()["deleted_at"], NOON);
    }
}

#[test]
fn without_a_clock_or_a_column_to_mark_nothing_is_deleted() {
    let mut db = installed();
    db.set_clock(0);
    let error = db.delete_json("people", &json!({ "id": 1 })).unwrap_err();
    assert_eq!(error.code, ErrorCode::Denied);
    assert_eq!(ada(&db).unwrap()["deleted_at"], Json::Null);

    let mut db = Database::new();
    db.typed_table("people", schema(&[("id", ColumnType::Int64, false)], &["id"]));
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<SoftDelete>("**").unwrap();
    db.put_json("people", &json!({ "id": 1 })).unwrap();
    let error = db.delete_json("people", &json!({ "id": 1 })).unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
    assert!(error.text.contains("'people' has no column 'deleted_at'"), "{}", error.text);
}
