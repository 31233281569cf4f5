//! The hook in a database of its own, natively.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::{Value as Json, json};
use sochdb_guest::testing::{Database, Written};

// ANCHOR: fixture
/// A database with the table `people`. The settings are those of the manifest.
fn people() -> Database {
    let column = |name: &str, kind, nullable| {
        let name = name.to_owned();
        Column { name, kind, nullable, default: None }
    };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("email", ColumnType::String, true),
        column("age", ColumnType::Int64, true),
    ];
    let mut db = Database::new();
    db.typed_table("people", Schema::new(columns, &["id"]).unwrap());
    db
}

/// Puts the hook to work, as its manifest says.
fn install(db: &mut Database) {
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<ValidEmail>("**").unwrap();
}
// ANCHOR_END: fixture

/// The address of a person.
fn email(db: &Database, id: i64) -> Json {
    db.get_json("people", &json!({ "id": id }))
        .unwrap()
        .map_or(Json::Null, |row| row["email"].clone())
}

// ANCHOR: tests
#[test]
fn an_address_is_let_in_and_tidied() {
    let mut db = people();
    install(&mut db);
    let mut put = |row| db.put_json("people", &row).unwrap();
    assert_eq!(put(json!({ "id": 1, "email": "ada@example.org" })), Written::AsGiven);
    assert_eq!(put(json!({ "id": 2, "email": " Bob@Example.ORG" })), Written::Replaced);
    assert_eq!(put(json!({ "id": 3 })), Written::AsGiven);
    assert_eq!(email(&db, 1), "ada@example.org");
    assert_eq!(email(&db, 2), "Bob@example.org");
    assert_eq!(email(&db, 3), Json::Null);
}

#[test]
fn what_is_no_address_is_refused_and_counted() {
    let mut db = people();
    install(&mut db);
    db.put_json("people", &json!({ "id": 1, "email": "ada@example.org" })).unwrap();
    for id in [1, 2] {
        let error =
            db.put_json("people", &json!({ "id": id, "email": "ada@example" })).unwrap_err();
        assert!(error.text.contains("'ada@example' is no e-mail address"), "{error}");
    }
    assert_eq!(email(&db, 1), "ada@example.org");
    assert_eq!(email(&db, 2), Json::Null);
    assert_eq!(db.metric("valid_email_refused_total", &[("table", "people")]), Some(2.0));
}

#[test]
fn a_row_that_is_older_than_the_hook_stays_writable() {
    let mut db = people();
    db.put_json("people", &json!({ "id": 1, "email": "nobody", "age": 36 })).unwrap();
    install(&mut db);
    db.put_json("people", &json!({ "id": 1, "email": "nobody", "age": 37 })).unwrap();
    db.put_json("people", &json!({ "id": 1, "email": "anybody", "age": 37 })).unwrap_err();
    db.delete_json("people", &json!({ "id": 1 })).unwrap();
}
// ANCHOR_END: tests

#[test]
fn a_column_that_the_table_has_not_is_told() {
    let mut db = people();
    db.setting("column", "mail");
    install(&mut db);
    let error = db.put_json("people", &json!({ "id": 1, "email": "ada@example.org" })).unwrap_err();
    assert!(error.text.contains("mail"), "{error}");
}

#[test]
fn a_table_without_columns_is_told() {
    let mut db = Database::new();
    db.table("people");
    install(&mut db);
    assert_eq!(db.put("people", b"1", b"ada").unwrap_err().code, ErrorCode::Invalid);
}
