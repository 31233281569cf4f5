//! Searches, and indexes that are made late, put right, cleared.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::testing::Database;

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

/// `articles` with four rows that no hook has seen, and the procedures with their manifest.
fn installed() -> Database {
    let text = ColumnType::String;
    let columns = [("id", ColumnType::Int64, false), ("title", text, true), ("body", text, true)];
    let mut db = Database::new();
    db.typed_table("articles", schema(&columns, &["id"])).table("articles_bm25");
    db.manifest(include_str!("../manifest.toml")).unwrap();
    db.procedure::<Bm25Search>("bm25-search").unwrap();
    for (id, title, body) in [
        (1, "Tea", "tea with milk, or without"),
        (2, "Coffee", "coffee is not tea"),
        (3, "Water", "water"),
        (4, "Milk", "milk and more milk"),
    ] {
        db.put_json("articles", &json!({ "id": id, "title": title, "body": body })).unwrap();
    }
    db
}

fn call(db: &mut Database, procedure: &str, args: Json) -> Json {
    db.call("bm25-search", procedure, &args).unwrap_or_else(|error| panic!("{args}: {error}"))
}

fn ids(found: &Json) -> Vec<i64> {
    found.as_array().unwrap().iter().map(|hit| hit["row"]["id"].as_i64().unwrap()).collect()
}

fn search(db: &mut Database, query: &str) -> Vec<i64> {
    ids(&call(db, "search", json!({ "table": "articles", "query": query })))
}

#[test]
fn rows_from_before_are_indexed_some_at_a_time() {
    let mut db = installed();
    assert_eq!(search(&mut db, "milk"), [0; 0]);
    let first = call(&mut db, "index", json!({ "table": "articles", "rows": 3 }));
    assert_eq!((&first["rows"], &first["changed"]), (&json!(3), &json!(3)));
    let rest = json!({ "table": "articles", "rows": 3, "after": first["after"] });
    let rest = call(&mut db, "index", rest);
    assert_eq!(rest, json!({ "rows": 1, "changed": 1, "after": null }));
    assert_eq!(search(&mut db, "milk"), [4, 1]);
    let status = call(&mut db, "status", json!({ "table": "articles" }));
    assert_eq!(status, json!({ "rows": 4, "words": 18 }));
}

#[test]
fn what_changed_while_the_hook_was_away_is_put_right() {
    let mut db = installed();
    let all = json!({ "table": "articles" });
    call(&mut db, "index", all.clone());
    db.put_json("articles", &json!({ "id": 2, "title": "Juice" })).unwrap();
    db.delete_json("articles", &json!({ "id": 4 })).unwrap();
    assert_eq!(search(&mut db, "milk"), [1], "a row that is gone is not found");
    assert_eq!(
        call(&mut db, "index", all.clone()),
        json!({ "rows": 3, "changed": 2, "after": null })
    );
    assert_eq!((search(&mut db, "coffee"), search(&mut db, "juice")), (vec![], vec![2]));
    assert_eq!(call(&mut db, "index", all)["changed"], 0);
}

#[test]
fn a_search_may_want_all_words_some_columns_and_few_rows() {
    let mut db = installed();
    call(&mut db, "index", json!({ "table": "articles" }));
    let found =
        call(&mut db, "search", json!({ "table": "articles", "query": "tea milk", "all": true }));
    assert_eq!(ids(&found), [1]);
    let args =
        json!({ "table": "articles", "query": "tea milk", "k": 2, "columns": ["title", "id"] });
    let found = call(&mut db, "search", args);
    assert_eq!(ids(&found).len(), 2);
    assert_eq!(found[0]["row"], json!({ "title": "Tea", "id": 1 }));
    assert!(
        found[1]["score"].as_f64() < found[0]["score"].as_f64()
            && 0.0 < found[1]["score"].as_f64().unwrap()
    );
    assert_eq!(search(&mut db, "?!"), [0; 0]);
}

#[test]
fn an_index_is_cleared_and_made_anew() {
    let mut db = installed();
    call(&mut db, "index", json!({ "table": "articles" }));
    let before = db.rows("articles_bm25");
    let cleared = call(&mut db, "clear", json!({ "table": "articles" }));
    assert_eq!((cleared, db.rows("articles_bm25").len()), (json!({ "cleared": before.len() }), 0));
    call(&mut db, "index", json!({ "table": "articles" }));
    assert_eq!(db.rows("articles_bm25"), before);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let mut db = installed();
    for (procedure, args) in [
        ("search", json!({ "table": "articles" })),
        ("search", json!({ "table": "articles", "query": "tea", "k": 0 })),
        ("search", json!({ "table": "articles", "query": "tea", "k": 1001 })),
        ("search", json!({ "table": "articles", "query": "tea", "kk": 1 })),
        ("index", json!({ "table": "articles", "after": "xyz" })),
        ("index", json!([])),
    ] {
        let error = db.call("bm25-search", procedure, &args).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{args}: {error}");
    }
    let elsewhere = db.call("bm25-search", "search", json!({ "table": "secrets", "query": "tea" }));
    assert!([ErrorCode::Denied, ErrorCode::NotFound].contains(&elsewhere.unwrap_err().code));
    assert_eq!(db.call("bm25-search", "nothing", json!({})).unwrap_err().code, ErrorCode::NotFound);
}
