//! What the index says after changes, against a fresh one and against the formula.

use super::*;
use sochdb_example_bm25_core::{Bm25 as Knobs, Query};
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

fn installed() -> Database {
    let text = ColumnType::String;
    let columns = [
        ("id", ColumnType::Int64, false),
        ("title", text, true),
        ("body", text, true),
        ("by", text, true),
    ];
    let mut db = Database::new();
    db.typed_table("articles", schema(&columns, &["id"])).table("articles_bm25");
    db.manifest(include_str!("../manifest.toml")).unwrap().hooks::<Bm25>("**").unwrap();
    db
}

fn put(db: &mut Database, id: i64, title: &str, body: &str) {
    let row = json!({ "id": id, "title": title, "body": body, "by": "nobody" });
    assert_eq!(db.put_json("articles", &row).unwrap(), Written::AsGiven);
}

/// The rows found, best first, with scores cut to a thousandth.
fn search(db: &mut Database, text: &str) -> Vec<(i64, i64)> {
    let query = Query { text: text.into(), k: 10, all: false, bm25: Knobs::default() };
    db.transaction(|tx| {
        let (articles, hits) = (tx.open("articles")?, index_of(tx, "articles")?.search(&query)?);
        let id = |key: &[u8]| articles.record(key)?.expect("rows are there").integer("id");
        hits.iter().map(|hit| Ok((id(&hit.key)?.unwrap(), (hit.score * 1000.0) as i64))).collect()
    })
    .unwrap()
}

fn ids(db: &mut Database, text: &str) -> Vec<i64> {
    search(db, text).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn rows_are_found_by_what_they_are_now() {
    let mut db = installed();
    put(&mut db, 1, "The quick brown fox", "jumps over the lazy dog");
    put(&mut db, 2, "A lazy afternoon", "");
    put(&mut db, 3, "Something else", "with many more words than are in the others, by far");
    assert_eq!(ids(&mut db, "lazy"), [2, 1], "the shorter is the better");
    assert_eq!(ids(&mut db, "FOX, lazy!"), [1, 2], "two words are better than one");
    assert_eq!(ids(&mut db, "nobody"), [0; 0], "that column is not searched");
    put(&mut db, 2, "A busy afternoon", "");
    db.delete_json("articles", &json!({ "id": 1 })).unwrap();
    assert_eq!((ids(&mut db, "lazy fox"), ids(&mut db, "busy")), (vec![], vec![2]));
}

#[test]
fn an_index_that_was_changed_in_place_is_that_of_a_fresh_one() {
    let texts = ["one two two", "two three", "", "three three three four", "one"];
    let mut changed = installed();
    for (id, text) in (0..).zip(texts.iter().rev().chain(&texts)) {
        put(&mut changed, id % 5, "title", text);
    }
    put(&mut changed, 9, "goes", "again one");
    changed.delete_json("articles", &json!({ "id": 9 })).unwrap();
    let mut fresh = installed();
    for (id, text) in (0..).zip(texts) {
        put(&mut fresh, id, "title", text);
    }
    let without_counters = |db: &Database| {
        let mut rows = db.rows("articles_bm25");
        // A shard whose rows have all gone stays, with zeros.
        rows.retain(|(key, value)| key[0] != b's' || value.iter().any(|byte| *byte != 0));
        rows
    };
    assert_eq!(without_counters(&changed), without_counters(&fresh));
    assert_eq!(search(&mut changed, "one two three"), search(&mut fresh, "one two three"));
}

#[test]
fn what_is_refused_or_rolled_back_is_not_indexed() {
    let mut db = installed();
    put(&mut db, 1, "kept", "");
    let before = db.rows("articles_bm25");
    let undone = db.transaction(|tx| {
        let mut row = Record::new(&tx.open("articles")?)?;
        row.set("id", 2)?;
        row.set("title", "undone")?;
        tx.open("articles")?.put_record(&row)?;
        Err::<(), _>(Error::invalid("as the test wants"))
    });
    assert!(undone.is_err());
    assert_eq!(db.rows("articles_bm25"), before);
}

#[test]
fn a_batch_is_indexed_at_once_and_an_untyped_value_whole() {
    let mut db = Database::new();
    db.table("notes").table("notes_bm25").setting("columns", "");
    db.hooks::<Bm25>("notes").unwrap();
    db.write("notes", &[(b"a", Some(b"red apple")), (b"b", Some(b"red")), (b"c", Some(b"\xff"))])
        .unwrap();
    let totals = db.transaction(|tx| index_of(tx, "notes")?.totals()).unwrap();
    assert_eq!(totals, (3, 3));
}

/// Texts of up to 30 words, of few different ones, the first of which are frequent.
fn texts(count: u64) -> Vec<String> {
    let mut state = 1_u64;
    let mut below = |n: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut text = || {
        let len = below(31);
        let words = (0..len).map(|_| below(12) * below(12) / 11).map(|word| format!("w{word}"));
        words.collect::<Vec<_>>().join(" ")
    };
    (0..count).map(|_| text()).collect()
}

#[test]
fn scores_are_those_of_the_formula_over_all_rows() {
    let texts = texts(200);
    let mut db = installed();
    for (id, text) in (0..).zip(&texts) {
        put(&mut db, id, text, "");
    }
    let lens: Vec<_> = texts.iter().map(|text| text.split_whitespace().count() as f64).collect();
    let average = lens.iter().sum::<f64>() / lens.len() as f64;
    let count =
        |text: &str, word: &str| text.split_whitespace().filter(|w| *w == word).count() as f64;
    for query in [&["w0"][..], &["w3", "w8"], &["w10", "w1", "w0"], &["w99", "w7"]] {
        let mut expected: Vec<(i64, f64)> = Vec::new();
        for ((id, text), len) in (0..).zip(&texts).zip(&lens) {
            let mut score = 0.0;
            for word in query {
                let with = texts.iter().filter(|text| 0.0 < count(text, word)).count() as f64;
                let idf = (1.0 + (200.0 - with + 0.5) / (with + 0.5)).ln();
                let f = count(text, word);
                score += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * len / average));
            }
            if 0.0 < score {
                expected.push((id, score));
            }
        }
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = search(&mut db, &query.join(" "));
        assert_eq!(found.len(), expected.len().min(10), "{query:?}");
        for ((id, score), (_, wanted)) in found.iter().zip(&expected) {
            let own = expected.iter().find(|(known, _)| known == id).expect("it has a word").1;
            assert!((own - wanted).abs() < 1e-9, "{query:?}: {id} is not among the best");
            assert!((*score as f64 / 1000.0 - own).abs() < 2e-3, "{query:?}: {id} {score} {own}");
        }
    }
}

#[test]
fn without_a_place_for_the_index_or_with_a_wrong_column_nothing_is_written() {
    let columns = [("id", ColumnType::Int64, false), ("title", ColumnType::String, true)];
    for (setting, has_index, code, part) in [
        ("title", false, ErrorCode::NotFound, "sochdb table create articles_bm25"),
        ("title, id", true, ErrorCode::Invalid, "table 'articles' has no column 'id' of text"),
        ("titel", true, ErrorCode::Invalid, "table 'articles' has no column 'titel' of text"),
    ] {
        let mut db = Database::new();
        db.typed_table("articles", schema(&columns, &["id"])).setting("columns", setting);
        if has_index {
            db.table("articles_bm25");
        }
        db.hooks::<Bm25>("articles").unwrap();
        let error = db.put_json("articles", &json!({ "id": 1 })).unwrap_err();
        assert_eq!(error.code, code, "{}", error.text);
        assert!(error.text.contains(part), "{}", error.text);
        assert!(db.rows("articles").is_empty());
    }
}
