//! The example plugins in a real database: installed with the manifests they come with, and used as their READMEs say.

use crate::program::Workplace;
use serde_json::{Value as Json, json};
use sochdb::{Column, ColumnType, Database, Schema, TableOptions, Transaction, Value};
use sochdb_examples::{ALL, example};
use std::collections::BTreeSet;
use std::path::Path;

/// Installs the example `name` with its manifest, changed by `change`.
fn install_changed(work: &Workplace, name: &str, change: impl Fn(String) -> String) {
    let example = example(name);
    work.file(&format!("{name}.wasm"), example.component);
    work.file(&format!("{name}.toml"), change(example.manifest.to_owned()));
    let said = work.ok(&["plugin", "install", &format!("{name}.toml")]);
    assert!(said.starts_with(&format!("installed '{name}', ")), "{said}");
}

fn install(work: &Workplace, name: &str) {
    install_changed(work, name, |manifest| manifest);
}

/// Makes a table: its name, its columns, its key.
fn table(work: &Workplace, name: &str, columns: &[&str], key: &[&str]) {
    let mut args = vec!["table", "create", name];
    args.extend(columns.iter().flat_map(|column| ["--column", column]));
    args.extend(key.iter().flat_map(|column| ["--key", column]));
    work.ok(&args);
}

fn people(work: &Workplace) {
    let columns =
        ["id:int64", "name:string", "age:int64?", "changed_by:string?", "deleted_at:timestamp?"];
    table(work, "people", &columns, &["id"]);
}

fn rows(work: &Workplace, table: &str) -> Vec<Json> {
    let lines = work.ok(&["scan", table, "--json"]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn call(work: &Workplace, procedure: &str, args: &Json) -> Json {
    serde_json::from_str(&work.ok(&["call", procedure, &args.to_string()])).unwrap()
}

/// Runs what must be refused, saying all of `words`.
#[track_caller]
fn refused(work: &Workplace, args: &[&str], words: &[&str]) {
    let ended = work.run(args);
    assert_ne!(ended.code, 0, "sochdb {args:?}\n{}", ended.out);
    for word in words {
        assert!(ended.err.contains(word), "sochdb {args:?} says no '{word}':\n{}", ended.err);
    }
}

#[test]
fn every_example_says_what_it_is_and_can_be_installed() {
    let work = Workplace::new();
    work.ok(&["table", "create", "anything"]);
    for example in ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rust").join(example.name);
        assert!(folder.join("README.md").is_file(), "{} has no README", example.name);
        assert!(
            example.manifest.contains(&format!("path = \"{}.wasm\"", example.name)),
            "{} names another component",
            example.name
        );
        install(&work, example.name);
    }
    let listed = work.ok(&["plugin", "list", "--json"]);
    for example in ALL {
        assert!(listed.contains(&format!("\"{}\"", example.name)), "{} is not there", example.name);
    }
}

#[test]
fn soft_delete_marks_rows_and_a_second_delete_removes_them() {
    let work = Workplace::new();
    people(&work);
    install(&work, "soft-delete");
    work.ok(&["put", "people", "id=1", "name=Ada"]);
    work.ok(&["delete", "people", "1"]);
    let marked = rows(&work, "people");
    assert!(marked[0]["deleted_at"].is_string(), "{marked:?}");
    work.ok(&["put", "people", "id=1", "name=Ada"]);
    assert_eq!(rows(&work, "people")[0]["deleted_at"], Json::Null);
    work.ok(&["delete", "people", "1"]);
    work.ok(&["delete", "people", "1"]);
    assert!(rows(&work, "people").is_empty());
}

#[test]
fn audit_trail_tells_of_each_change_that_happened_and_of_no_other() {
    let work = Workplace::new();
    people(&work);
    let columns = [
        "table:string",
        "row:string",
        "n:int64",
        "at:timestamp",
        "what:string",
        "who:string?",
        "old:string?",
        "new:string?",
    ];
    table(&work, "trail", &columns, &["table", "row", "n"]);
    install(&work, "audit-trail");
    work.ok(&["put", "people", "id=1", "name=Ada", "changed_by=bob"]);
    work.ok(&["put", "people", "id=1", "name=Ada L.", "changed_by=eve"]);
    work.ok(&["delete", "people", "1"]);
    let told = rows(&work, "trail");
    let short: Vec<_> =
        told.iter().map(|entry| json!([entry["n"], entry["what"], entry["who"]])).collect();
    let expected =
        [json!([1, "insert", "bob"]), json!([2, "update", "eve"]), json!([3, "delete", "eve"])];
    assert_eq!(short, expected);
    let new: Json = serde_json::from_str(told[1]["new"].as_str().unwrap()).unwrap();
    assert_eq!((&new["name"], &told[1]["row"]), (&json!("Ada L."), &json!(r#"{"id":1}"#)));

    // What another hook refuses is not told; nor is a batch of which one row is refused.
    install(&work, "json-schema");
    refused(&work, &["put", "people", "id=2", "name="], &["'json-schema'", "/name: "]);
    work.file(
        "rows.jsonl",
        "{\"id\": 3, \"name\": \"Eve\"}\n{\"id\": 4, \"name\": \"Old\", \"age\": 900}\n",
    );
    refused(&work, &["import", "rows.jsonl", "--table", "people"], &["/age: 900"]);
    assert_eq!((rows(&work, "people").len(), rows(&work, "trail").len()), (0, 3));
}

#[test]
fn ttl_sweeper_goes_through_hooks_so_a_soft_delete_marks_and_an_audit_trail_tells() {
    let work = Workplace::new();
    people(&work);
    let of_people = |manifest: String| manifest.replace("[\"sessions\"]", "[\"people\"]");
    install_changed(&work, "ttl-sweeper", of_people);
    install(&work, "soft-delete");
    for (id, deleted_at) in
        [("1", "2020-01-01T00:00:00Z"), ("2", "2021-01-01T00:00:00Z"), ("3", "")]
    {
        work.ok(&[
            "put",
            "people",
            &format!("id={id}"),
            "name=x",
            &format!("deleted_at={deleted_at}"),
        ]);
    }
    let args = json!({ "table": "people", "column": "deleted_at", "rows": 1 });
    assert_eq!(call(&work, "expired", &args), json!({ "expired": 1, "more": true }));
    // Those that were marked long ago go for good.
    for left in [2, 1] {
        assert_eq!(call(&work, "sweep", &args), json!({ "deleted": 1, "more": true }));
        assert_eq!(rows(&work, "people").len(), left);
    }
    assert_eq!(call(&work, "sweep", &args), json!({ "deleted": 0, "more": false }));
    work.ok(&["index", "create", "people", "deleted_at", "--name", "bin"]);
    work.ok(&["put", "people", "id=9", "name=x", "deleted_at=2020-01-01T00:00:00Z"]);
    let args = json!({ "table": "people", "index": "bin" });
    assert_eq!(call(&work, "ttl-sweeper.sweep", &args), json!({ "deleted": 1, "more": false }));
    assert_eq!(rows(&work, "people")[0]["id"], 3);
}

/// A database in `work` with a folder of the examples `names`.
fn open(work: &Workplace, names: &[&str]) -> Database {
    for name in names {
        let example = example(name);
        work.file(&format!("examples/{name}.wasm"), example.component);
        work.file(&format!("examples/{name}.toml"), example.manifest);
    }
    let builder = Database::builder().plugin_dir(work.path("examples")).watch_plugins(false);
    builder.background(false).open(work.db()).unwrap()
}

fn schema(columns: &[(&str, ColumnType, bool)], key: &[&str]) -> Schema {
    let column = |&(name, kind, nullable): &(&str, ColumnType, bool)| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    Schema::new(columns.iter().map(column).collect(), key).unwrap()
}

fn articles() -> Schema {
    let text = ColumnType::String;
    schema(
        &[("id", ColumnType::Int64, false), ("title", text, true), ("body", text, true)],
        &["id"],
    )
}

fn put_article(tx: &mut Transaction, id: i64, title: &str, body: &str) -> sochdb::KernelResult<()> {
    let row = [Value::Int64(id), Value::String(title.into()), Value::String(body.into())];
    tx.put("articles", &articles().encode_key(&row)?, &articles().encode_row(&row)?)
}

/// The articles that a search finds in `tx`, best first.
fn found(tx: &mut Transaction, query: &str) -> Vec<i64> {
    let args = json!({ "table": "articles", "query": query, "k": 1000, "columns": ["id"] });
    let found: Json = serde_json::from_str(&tx.call("search", &args.to_string()).unwrap()).unwrap();
    found.as_array().unwrap().iter().map(|hit| hit["row"]["id"].as_i64().unwrap()).collect()
}

fn with_articles(work: &Workplace) -> Database {
    let db = open(work, &["bm25", "bm25-search"]);
    let options = TableOptions { schema: Some(articles()), ..TableOptions::default() };
    db.create_table("articles", options).unwrap();
    db.create_table("articles_bm25", TableOptions::default()).unwrap();
    db
}

#[test]
fn bm25_finds_what_its_transaction_sees() {
    let work = Workplace::new();
    let db = with_articles(&work);
    db.run(|tx| {
        put_article(tx, 1, "Tea", "tea with milk, or without")?;
        put_article(tx, 2, "Coffee", "coffee is not tea")?;
        put_article(tx, 3, "Milk", "milk and more milk")
    })
    .unwrap();
    let mut old = db.begin_read().unwrap();
    let mut tx = db.begin().unwrap();
    put_article(&mut tx, 4, "Green tea", "").unwrap();
    tx.delete("articles", &articles().encode_key_values(&[Value::Int64(1)]).unwrap()).unwrap();
    assert_eq!(found(&mut tx, "tea"), [4, 2]);
    assert_eq!(found(&mut old, "tea"), [1, 2]);
    tx.rollback();
    drop(old);
    assert_eq!(found(&mut db.begin().unwrap(), "TEA, milk!"), [1, 3, 2]);
    db.checkpoint().unwrap();
    db.close().unwrap();
    let db = open(&work, &[]);
    assert_eq!(found(&mut db.begin_read().unwrap(), "milk"), [3, 1]);
}

#[test]
fn bm25_counts_right_however_many_write_at_once() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 40;
    let work = Workplace::new();
    let db = with_articles(&work);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = &db;
            scope.spawn(move || {
                for n in 0..EACH {
                    // Each row is written twice, and every fourth goes again.
                    let id = writer * EACH + n;
                    db.run(|tx| put_article(tx, id, "draft", "first words")).unwrap();
                    db.run(|tx| put_article(tx, id, "final", &format!("word{n} of all"))).unwrap();
                    if n % 4 == 0 {
                        let key = articles().encode_key_values(&[Value::Int64(id)]).unwrap();
                        db.run(|tx| tx.delete("articles", &key)).unwrap();
                    }
                }
            });
        }
    });
    let left = WRITERS * EACH * 3 / 4;
    let status = |db: &Database| -> Json {
        serde_json::from_str(&db.call("status", r#"{"table": "articles"}"#).unwrap()).unwrap()
    };
    assert_eq!(status(&db), json!({ "rows": left, "words": 4 * left }));
    let mut tx = db.begin_read().unwrap();
    assert_eq!(found(&mut tx, "draft first"), [0_i64; 0]);
    assert_eq!(found(&mut tx, "final").len() as i64, left);
    let expected: BTreeSet<_> = (0..WRITERS).map(|writer| writer * EACH + 7).collect();
    assert_eq!(found(&mut tx, "word7").into_iter().collect::<BTreeSet<_>>(), expected);
    drop(tx);
    // Going through all rows finds nothing to put right.
    let indexed: Json =
        serde_json::from_str(&db.call("index", r#"{"table": "articles"}"#).unwrap()).unwrap();
    assert_eq!(indexed, json!({ "rows": left, "changed": 0, "after": null }));
}

#[test]
fn bm25_is_given_rows_from_before_by_the_command() {
    let work = Workplace::new();
    table(&work, "articles", &["id:int64", "title:string?", "body:string?"], &["id"]);
    work.ok(&["put", "articles", "id=1", "title=Tea", "body=with milk"]);
    install(&work, "bm25");
    install(&work, "bm25-search");
    refused(
        &work,
        &["put", "articles", "id=2", "title=Milk"],
        &["sochdb table create articles_bm25"],
    );
    work.ok(&["table", "create", "articles_bm25"]);
    work.ok(&["put", "articles", "id=2", "title=Milk"]);
    let search = json!({ "table": "articles", "query": "milk", "columns": ["title"] });
    let titles = |found: Json| -> Vec<Json> {
        found.as_array().unwrap().iter().map(|hit| hit["row"]["title"].clone()).collect()
    };
    assert_eq!(titles(call(&work, "search", &search)), ["Milk"]);
    let indexed = call(&work, "index", &json!({ "table": "articles" }));
    assert_eq!(indexed, json!({ "rows": 2, "changed": 1, "after": null }));
    assert_eq!(titles(call(&work, "search", &search)), ["Milk", "Tea"]);
}

#[test]
fn geo_finds_places_in_an_area_and_nearby() {
    let work = Workplace::new();
    table(
        &work,
        "places",
        &["name:string", "lat:float64?", "lon:float64?", "cell:int64?"],
        &["name"],
    );
    install(&work, "geo");
    install(&work, "geo-search");
    for (name, lat, lon) in [
        ("Berlin", "52.52", "13.405"),
        ("Potsdam", "52.3906", "13.0645"),
        ("Paris", "48.8566", "2.3522"),
        ("Suva", "-18.1416", "178.4419"),
        ("Apia", "-13.8333", "-171.7667"),
    ] {
        work.ok(&[
            "put",
            "places",
            &format!("name={name}"),
            &format!("lat={lat}"),
            &format!("lon={lon}"),
        ]);
    }
    work.ok(&["put", "places", "name=Atlantis"]);
    refused(
        &work,
        &["put", "places", "name=Nowhere", "lat=91", "lon=0"],
        &["91, 0 is no place on Earth"],
    );
    let near = |args: Json| -> Vec<Json> {
        let found = call(&work, "near", &args);
        found.as_array().unwrap().iter().map(|hit| hit["row"]["name"].clone()).collect()
    };
    refused(
        &work,
        &["call", "near", r#"{"table": "places", "lat": 0, "lon": 0}"#],
        &["sochdb index create places cell"],
    );
    work.ok(&["index", "create", "places", "cell"]);
    let berlin = json!({ "table": "places", "lat": 52.5, "lon": 13.4, "k": 2 });
    assert_eq!(near(berlin), ["Berlin", "Potsdam"]);
    // Across the line where 180 meets -180.
    let fiji = json!({ "table": "places", "lat": -17.0, "lon": 180.0, "max_m": 2_000_000.0 });
    assert_eq!(near(fiji), ["Suva", "Apia"]);
    let pacific = json!({ "table": "places", "south": -30, "west": 170, "north": 0, "east": -160, "columns": ["name"] });
    let found = call(&work, "within", &pacific);
    let names: BTreeSet<_> =
        found["rows"].as_array().unwrap().iter().map(|row| row["name"].to_string()).collect();
    assert_eq!(
        (names, &found["more"]),
        (["\"Apia\"".to_owned(), "\"Suva\"".to_owned()].into(), &json!(false))
    );
    // A place that moves is found where it is now.
    work.ok(&["put", "places", "name=Atlantis", "lat=52.51", "lon=13.4"]);
    work.ok(&["delete", "places", "Potsdam"]);
    let berlin = json!({ "table": "places", "lat": 52.5, "lon": 13.4, "k": 2 });
    assert_eq!(near(berlin), ["Atlantis", "Berlin"]);
}
