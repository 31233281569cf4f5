//! Which cell a row gets.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::{Value as Json, json};
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

fn installed() -> Database {
    let columns = [
        ("name", ColumnType::String, false),
        ("lat", ColumnType::Float64, true),
        ("lon", ColumnType::Float64, true),
        ("cell", ColumnType::Int64, true),
    ];
    let mut db = Database::new();
    db.typed_table("places", schema(&columns, &["name"]));
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<Geo>("**").unwrap();
    db
}

fn cell_of(db: &Database) -> Json {
    db.rows_json("places").unwrap()[0]["cell"].clone()
}

#[test]
fn a_row_gets_the_cell_of_its_place_and_loses_it_with_the_place() {
    let mut db = installed();
    let row = json!({ "name": "Berlin", "lat": 52.52, "lon": 13.405, "cell": 77 });
    assert_eq!(db.put_json("places", &row).unwrap(), Written::Replaced);
    assert_eq!(cell_of(&db), cell(Place::new(52.52, 13.405).unwrap()));
    db.put_json("places", &json!({ "name": "Berlin", "lat": 52.52 })).unwrap();
    assert_eq!(cell_of(&db), Json::Null);
}

#[test]
fn what_is_no_place_is_refused() {
    let mut db = installed();
    for (lat, lon) in
        [(json!(91.0), json!(0.0)), (json!(0.0), json!(-180.5)), (json!("NaN"), json!(0.0))]
    {
        let row = json!({ "name": "Nowhere", "lat": lat, "lon": lon });
        let error = db.put_json("places", &row).unwrap_err();
        assert!(error.text.contains("is no place on Earth"), "{}", error.text);
    }
    assert!(db.rows("places").is_empty());
}
