//! The procedures in a database of their own, natively.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::{Value as Json, json};
use sochdb_guest::testing::Database;

/// A database with `words`, numbered in their order.
fn database(words: &[String]) -> Database {
    // ANCHOR: fixture
    let column = |name: &str, kind, nullable| {
        let name = name.to_owned();
        Column { name, kind, nullable, default: None }
    };
    let columns =
        vec![column("id", ColumnType::Int64, false), column("word", ColumnType::String, true)];
    let mut db = Database::new();
    db.typed_table("words", Schema::new(columns, &["id"]).unwrap());
    db.ordered_index("words", "spelling", "word").unwrap();
    db.manifest(include_str!("../manifest.toml")).unwrap();
    db.procedure::<Levenshtein>("levenshtein").unwrap();
    // ANCHOR_END: fixture
    for (id, word) in words.iter().enumerate() {
        db.put_json("words", &json!({ "id": id, "word": word })).unwrap();
    }
    db
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Texts with few letters and three to seven of them, the same ones every time.
fn random_words(count: usize) -> Vec<String> {
    let mut state = 7_u32;
    let mut below = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % bound
    };
    let mut word = || {
        let len = 3 + below(5);
        (0..len).map(|_| char::from(b'a' + below(8) as u8)).collect()
    };
    (0..count).map(|_| word()).collect()
}

/// What `near` finds: each word with its distance.
fn near(db: &mut Database, args: Json) -> Result<Vec<(u64, String)>> {
    let answer = db.call("levenshtein", "near", args)?;
    let found = answer.as_array().unwrap().iter().map(|found| {
        let word = found["row"]["word"].as_str().unwrap().to_owned();
        (found["distance"].as_u64().unwrap(), word)
    });
    Ok(found.collect())
}

/// The same by looking at every word.
fn plainly(words: &[String], word: &str, distance: usize, limit: usize) -> Vec<(u64, String)> {
    let machine = Neighbourhood::new(word, distance);
    let found =
        words.iter().filter_map(|word| Some((machine.distance(word)? as u64, word.clone())));
    let mut found: Vec<_> = found.collect();
    found.sort();
    found.truncate(limit);
    found
}

// ANCHOR: tests
#[test]
fn the_nearest_words_are_found_in_spite_of_typing_errors() {
    let mut db =
        database(&words(&["receive", "recipe", "relieve", "believe", "deceive", "receiver"]));
    let found = near(&mut db, json!({ "word": "recieve", "distance": 2, "limit": 3 })).unwrap();
    let wanted = [(1, "relieve"), (2, "believe"), (2, "receive")];
    assert_eq!(found, wanted.map(|(distance, word)| (distance, word.to_owned())));
    let answer = db.call("levenshtein", "near", json!({ "word": "recip" })).unwrap();
    assert_eq!(answer, json!([{ "distance": 1, "row": { "id": 1, "word": "recipe" } }]));
}

#[test]
fn what_is_found_is_what_looking_at_every_word_finds_and_far_fewer_are_looked_at() {
    let words = random_words(5_000);
    let mut db = database(&words);
    for (word, distance, limit) in [
        ("abcde", 1, 10),
        ("abcde", 2, 1000),
        ("abcde", 3, 5),
        ("gh", 1, 1000),
        ("", 2, 10),
        ("zzz", 2, 10),
    ] {
        let args = json!({ "word": word, "distance": distance, "limit": limit });
        let found = near(&mut db, args).unwrap();
        assert_eq!(found, plainly(&words, word, distance, limit), "{word} within {distance}");
    }
    let looked_at = |db: &Database| db.metric("levenshtein_rows_total", &[]).unwrap_or(0.0);
    let before = looked_at(&db);
    near(&mut db, json!({ "word": "abcdefg", "distance": 1 })).unwrap();
    let rows = looked_at(&db) - before;
    assert!(rows < 1_000.0, "{rows} of 5,000 rows were looked at");
}
// ANCHOR_END: tests

#[test]
fn a_word_that_many_rows_have_is_found_in_all_of_them() {
    let mut many = vec!["tea".to_owned(); 500];
    many.extend(words(&["team", "the", "zebra"]));
    let mut db = database(&many);
    let found = near(&mut db, json!({ "word": "tea", "distance": 2, "limit": 1000 })).unwrap();
    assert_eq!(found, plainly(&many, "tea", 2, 1000));
    assert_eq!(found.len(), 502);
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_name_what_is_wrong() {
    let mut db = database(&words(&["tea"]));
    for (procedure, args, word) in [
        ("near", json!({}), "word"),
        ("near", json!({ "word": 7 }), "string"),
        ("near", json!({ "word": "tea", "edits": 1 }), "edits"),
        ("near", json!({ "word": "tea", "distance": 4 }), "at most 3"),
        ("near", json!({ "word": "tea", "limit": 0 }), "between 1 and"),
        ("near", json!({ "word": "tea", "limit": -1 }), "-1"),
        ("near", json!({ "word": "a".repeat(257) }), "257"),
        ("distance", json!({ "a": "tea" }), "`b`"),
        ("far", json!({}), "far"),
    ] {
        let error = db.call("levenshtein", procedure, args.clone()).unwrap_err();
        assert!(error.text.contains(word), "{procedure} {args}: {error}");
    }
}

#[test]
fn two_texts_have_a_distance() {
    let mut db = database(&[]);
    let args = json!({ "a": "kitten", "b": "sitting" });
    assert_eq!(db.call("levenshtein", "distance", args).unwrap(), json!(3));
}

#[test]
fn a_search_that_was_not_granted_is_denied() {
    let mut db = database(&words(&["tea"]));
    db.deny_search();
    let error = near(&mut db, json!({ "word": "tea" })).unwrap_err();
    assert_eq!(error.code, ErrorCode::Denied);
}
