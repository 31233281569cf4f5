//! The book on plugins, `docs/plugins`: the commands that it shows exist, as do those that the README lists, and what
//! it shows of a database happens.
//!
//! That it builds, and that its links and its code lead somewhere, the crate `sochdb-book` tests.

use crate::program::Workplace;
use sochdb_examples::{LEVENSHTEIN, TINY_ROWS, VALID_EMAIL};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The plugins that the book builds, and their components.
const PLUGINS: [(&str, &[u8]); 3] =
    [("valid-email", VALID_EMAIL), ("levenshtein", LEVENSHTEIN), ("tiny-rows", TINY_ROWS)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Pages that show commands: the chapters, and what the book's plugins say of themselves.
fn pages() -> Vec<PathBuf> {
    let chapters = fs::read_dir(root().join("docs/plugins/src")).expect("a folder");
    let chapters = chapters.map(|entry| entry.expect("readable").path());
    let readmes =
        PLUGINS.map(|(name, _)| root().join("examples/rust").join(name).join("README.md"));
    chapters.chain(readmes).collect()
}

/// A command of a page, and the lines that the page shows below it.
struct Shown {
    words: Vec<String>,
    says: Vec<String>,
}

/// The runs of `sochdb` in the console blocks of a page.
fn shown(page: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(page).expect("a page");
    let mut all: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            is_console = fence == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            all.push(Shown { words: words(command), says: Vec::new() });
        } else if is_console {
            let command = all.last_mut().unwrap_or_else(|| panic!("{}: {line}", page.display()));
            command.says.push(line.to_owned());
        }
    }
    all.retain(|command| command.words[0] == "sochdb");
    all
}

/// A line as a shell splits it, with quotes of the single kind.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.last_mut().expect("there is one").push_str(part);
            continue;
        }
        for (number, part) in part.split(' ').enumerate() {
            if 0 < number {
                words.push(String::new());
            }
            words.last_mut().expect("there is one").push_str(part);
        }
    }
    words
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("put notes b ''"), ["put", "notes", "b", ""]);
    assert_eq!(words("call near '{\"a\": 1, \"b\": 2}'"), ["call", "near", "{\"a\": 1, \"b\": 2}"]);
}

#[test]
fn every_command_of_the_book_exists_and_has_the_options_that_it_is_given() {
    let work = Workplace::new();
    let mut helps: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut help = |path: &[String]| {
        let known = helps.entry(path.to_vec()).or_insert_with(|| {
            let args: Vec<_> =
                ["help"].into_iter().chain(path.iter().map(String::as_str)).collect();
            let ended = work.run(&args);
            (ended.code == 0).then_some(ended.out)
        });
        known.clone()
    };
    let mut commands = BTreeSet::new();
    for page in pages().into_iter().chain([root().join("README.md")]) {
        for Shown { words, .. } in shown(&page) {
            let begin = if words[1] == "--db" { 3 } else { 1 };
            let (page, words) = (page.display(), &words[begin..]);
            // As many words as name a command of a command.
            let deepest =
                (1..=words.len().min(2)).rev().find_map(|len| Some((len, help(&words[..len])?)));
            let (len, help) =
                deepest.unwrap_or_else(|| panic!("{page}: no command '{}'", words.join(" ")));
            let needs_more =
                help.lines().any(|line| line.starts_with("Usage:") && line.contains("<COMMAND>"));
            assert!(!needs_more, "{page}: '{}' names no command", words.join(" "));
            for option in words[len..].iter().filter(|word| word.starts_with('-')) {
                let is_there = help.split([' ', ',', '\n']).any(|word| word == option);
                assert!(is_there, "{page}: `sochdb {}` has no {option}", words[..len].join(" "));
            }
            commands.insert(words[..len].join(" "));
        }
    }
    println!("{commands:?}");
    assert!(15 < commands.len(), "the book shows only {commands:?}");
}

/// A workplace in which the book's plugins lie where the book has them, built.
fn workplace() -> Workplace {
    let work = Workplace::new();
    for (name, component) in PLUGINS {
        let from = root().join("examples/rust").join(name);
        let folder = format!("examples/rust/{name}");
        work.file(&format!("{folder}/{name}.wasm"), component);
        for file in ["manifest.toml", "samples.json"] {
            if let Ok(bytes) = fs::read(from.join(file)) {
                work.file(&format!("{folder}/{file}"), bytes);
            }
        }
    }
    work
}

/// Runs the commands of a chapter, and compares what they say with what the chapter shows.
fn run_chapter(name: &str) {
    let work = workplace();
    let page = root().join("docs/plugins/src").join(name);
    let mut compared = 0;
    for Shown { words, says } in shown(&page) {
        let args: Vec<_> = words[1..].iter().map(String::as_str).collect();
        // It was built, and comparing takes its time.
        if let ["plugin", "build" | "bench" | "test", ..] = args[..] {
            continue;
        }
        let ended = work.run(&args);
        let is_refused = says.first().is_some_and(|line| line.starts_with("error: "));
        assert_eq!(ended.code != 0, is_refused, "{words:?}: {}{}", ended.out, ended.err);
        if says.is_empty() {
            continue;
        }
        let said = if is_refused { &ended.err } else { &ended.out };
        let lines = said.lines().map(str::trim_end).take(says.len());
        assert_eq!(lines.collect::<Vec<_>>(), says, "{words:?}");
        compared += 1;
    }
    assert!(0 < compared, "{name} shows nothing that a command says");
}

#[test]
fn the_hook_does_what_its_chapter_shows() {
    run_chapter("hook.md");
}

#[test]
fn the_procedure_does_what_its_chapter_shows() {
    run_chapter("procedure.md");
}

#[test]
fn the_storage_engine_does_what_its_chapter_shows() {
    run_chapter("storage.md");
}

#[test]
fn the_plugins_of_the_book_pass_the_conformance_kit_of_their_kind() {
    let work = workplace();
    for (name, _) in PLUGINS {
        let folder = format!("examples/rust/{name}");
        let ended = work.run(&["plugin", "test", &folder, "--seed", "7"]);
        assert_eq!(ended.code, 0, "{name}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn the_policy_of_the_book_lets_its_hook_tidy_and_no_other_plugin_write() {
    let work = workplace();
    let policy = root().join("docs/plugins/policy.toml").display().to_string();
    for name in ["valid-email", "levenshtein"] {
        let folder = format!("examples/rust/{name}");
        work.ok(&["plugin", "install", &folder, "--policy", &policy]);
    }
    let columns = ["--column", "id:int64", "--column", "email:string?"];
    let create = ["table", "create", "people", "--key", "id"];
    work.ok(&create.into_iter().chain(columns).collect::<Vec<_>>());
    work.ok(&["put", "people", "id=1", "email= Ada@Example.ORG", "--policy", &policy]);
    let row = work.ok(&["get", "people", "1", "--json"]);
    assert!(row.contains("\"Ada@example.org\""), "{row}");
    let inspected = work.ok(&["plugin", "inspect", "levenshtein", "--policy", &policy]);
    let line = |key: &str| inspected.lines().find(|line| line.contains(key)).unwrap_or_default();
    // What its manifest wants, and what it gets.
    assert_eq!(line("timeout_ms").split_whitespace().nth(2), Some("2,000"), "{inspected}");
}
