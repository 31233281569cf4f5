//! Lines with a cursor at their end, and what is offered.

use super::*;
use crate::cli::text::parse_column;
use sochdb::{Schema, TableOptions};

fn completer() -> (tempfile::TempDir, ShellCompleter) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let columns = ["id:int64", "text:string", "tag:string?"].map(|c| parse_column(c).unwrap());
    let schema = Schema::new(columns.to_vec(), &["id"]).unwrap();
    let typed = TableOptions { schema: Some(schema), ..TableOptions::default() };
    db.create_table("words", typed).unwrap();
    db.create_table("my settings", TableOptions::default()).unwrap();
    db.run(|tx| tx.put("my settings", b"colour", b"blue")).unwrap();
    db.create_index("words", "by-tag", "tag", &Default::default(), &mut |_| {}).unwrap();
    (directory, ShellCompleter::new(db))
}

fn texts(completer: &ShellCompleter, line: &str) -> Vec<String> {
    completer.offers(line).1.into_iter().map(|offer| offer.text).collect()
}

#[test]
fn commands_options_and_values_are_offered_where_they_can_stand() {
    let (_directory, completer) = completer();
    let of = |line: &str| texts(&completer, line);
    assert!(of("").contains(&"scan".to_owned()) && !of("").contains(&"crash-writer".to_owned()));
    assert_eq!(of("sca"), ["scan"]);
    assert_eq!(of("sochdb sca"), ["scan"]);
    assert_eq!(of("table c"), ["create", "convert"]);
    assert_eq!(of("scan words --li"), ["--limit"]);
    assert_eq!(of("scan words --mode m"), ["markdown"]);
    assert_eq!(of("scan words --mode=j"), ["--mode=json", "--mode=jsonl"]);
    assert!(of("table create t --storage l").contains(&"lscs".to_owned()));
    assert_eq!(of("get words --no-such"), Vec::<String>::new());
}

#[test]
fn names_and_keys_come_from_the_database() {
    let (_directory, completer) = completer();
    let of = |line: &str| texts(&completer, line);
    assert_eq!(of("scan w"), ["words"]);
    assert_eq!(of("scan "), ["my settings", "words"]);
    assert_eq!(of("table drop wo"), ["words"]);
    assert_eq!(of("scan words --columns t"), ["text", "tag"]);
    assert_eq!(of("scan words --columns text,ta"), ["text,tag"]);
    assert_eq!(of("put words te"), ["text="]);
    assert_eq!(of("scan words --filter te"), ["text="]);
    assert_eq!(of("export words --filter te"), ["text="]);
    assert_eq!(of("index drop words b"), ["by-tag"]);
    assert_eq!(of("get 'my settings' c"), ["colour"]);
    assert_eq!(of("scan 'my settings' --prefix c"), ["colour"]);
    assert_eq!(of("plugin inspect lsc"), ["lscs"]);
    assert_eq!(of("import x.csv --table w"), ["words"]);
}

#[test]
fn dot_commands_and_what_they_take_are_offered() {
    let (_directory, completer) = completer();
    let of = |line: &str| texts(&completer, line);
    assert_eq!(of(".t"), [".timing", ".tables"]);
    assert_eq!(of(".timing o"), ["on", "off"]);
    assert_eq!(of(".mode c"), ["csv"]);
    assert_eq!(of(".schema w"), ["words"]);
    assert!(of(".quit ").is_empty());
}

#[test]
fn what_is_offered_takes_the_place_of_the_word_at_the_cursor() {
    let (directory, mut completer) = completer();
    let found = completer.complete("scan 'my set --limit 3", 12);
    let [suggestion] = found.suggestions() else { panic!("{found:?}") };
    assert_eq!((suggestion.value.as_str(), suggestion.span), ("'my settings'", Span::new(5, 12)));
    assert!(suggestion.append_whitespace);
    std::fs::write(directory.path().join("some file.csv"), "").unwrap();
    let line = format!("import {}/some", directory.path().display());
    let offers = texts(&completer, &line);
    assert_eq!(offers, [format!("{}/some file.csv", directory.path().display())]);
}
