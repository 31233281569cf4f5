//! What the trail tells of changes, and what happens when it cannot.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::testing::Database;

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

/// `people`, an untyped `notes`, the trail, and the hook with its manifest, for both.
fn installed() -> Database {
    let text = ColumnType::String;
    let people = [
        ("id", ColumnType::Int64, false),
        ("name", text, true),
        ("password", text, true),
        ("changed_by", text, true),
    ];
    let trail = [
        ("table", text, false),
        ("row", text, false),
        ("n", ColumnType::Int64, false),
        ("at", ColumnType::Timestamp, false),
        ("what", text, false),
        ("who", text, true),
        ("old", text, true),
        ("new", text, true),
    ];
    let mut db = Database::new();
    db.typed_table("people", schema(&people, &["id"])).table("notes");
    db.typed_table("trail", schema(&trail, &["table", "row", "n"])).set_clock(NOON_US);
    let manifest =
        include_str!("../manifest.toml").replace("[\"people\"]", "[\"people\", \"notes\"]");
    db.manifest(&manifest).unwrap().hooks::<AuditTrail>("**").unwrap();
    db
}

fn trail(db: &Database) -> Vec<Json> {
    db.rows_json("trail").unwrap()
}

#[test]
fn each_change_of_a_row_is_told_with_both_sides_by_whom_and_when() {
    let mut db = installed();
    let key = json!({ "id": 7 });
    db.put_json("people", &json!({ "id": 7, "name": "Ada", "changed_by": "bob" })).unwrap();
    db.put_json("people", &json!({ "id": 7, "name": "Ada L.", "changed_by": "eve" })).unwrap();
    db.delete_json("people", &key).unwrap();
    let told = trail(&db);
    let short = |entry: &Json| {
        assert_eq!((&entry["table"], &entry["row"]), (&json!("people"), &json!(r#"{"id":7}"#)));
        assert_eq!(entry["at"], NOON);
        json!([entry["n"], entry["what"], entry["who"]])
    };
    let shorts: Vec<_> = told.iter().map(short).collect();
    let expected =
        [json!([1, "insert", "bob"]), json!([2, "update", "eve"]), json!([3, "delete", "eve"])];
    assert_eq!(shorts, expected);
    let side = |name: &str| {
        r#"{"id":7,"name":"NAME","password":"(left out)","changed_by":"WHO"}"#
            .replace("NAME", name)
            .replace("WHO", if name == "Ada" { "bob" } else { "eve" })
    };
    let (first, second) = (json!(side("Ada")), json!(side("Ada L.")));
    let sides: Vec<_> = told.iter().map(|entry| [&entry["old"], &entry["new"]]).collect();
    let none = &Json::Null;
    assert_eq!(sides, [[none, &first], [&first, &second], [&second, none]]);
}

#[test]
fn the_trail_counts_for_each_row_by_itself_also_within_one_transaction() {
    let mut db = installed();
    db.write(
        "notes",
        &[(b"a", Some(b"1")), (b"b", Some(b"1")), (b"a", Some(b"2")), (b"\xff", Some(b"\xfe"))],
    )
    .unwrap();
    let told: Vec<_> =
        trail(&db).iter().map(|entry| json!([entry["row"], entry["n"], entry["new"]])).collect();
    let expected = [
        json!([r#"{"key":"a"}"#, 1, r#"{"value":"1"}"#]),
        json!([r#"{"key":"a"}"#, 2, r#"{"value":"2"}"#]),
        json!([r#"{"key":"b"}"#, 1, r#"{"value":"1"}"#]),
        json!([r#"{"key_hex":"ff"}"#, 1, r#"{"value_hex":"fe"}"#]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_be_told_does_not_happen() {
    let mut db = installed();
    db.set_clock(0);
    let refused = db.put_json("people", &json!({ "id": 1 }));
    assert_eq!(refused.unwrap_err().code, ErrorCode::Denied);
    db.set_clock(NOON_US).deny_write("trail");
    let refused = db.put_json("people", &json!({ "id": 1 }));
    assert_eq!(refused.unwrap_err().code, ErrorCode::Denied);
    assert_eq!((db.rows("people").len(), trail(&db).len()), (0, 0));
}
