//! The guide, `docs/guide`: its commands do what it shows, its tables are those of the sources, and the tests it
//! names are there. That it builds, and that its links lead somewhere, the crate `sochdb-book` tests. [`readme`] holds the
//! README to the same.
//!
//! | what the guide shows       | where it comes from                        | what holds it                    |
//! |----------------------------|--------------------------------------------|----------------------------------|
//! | sessions at a terminal     | typed, in `console` blocks                 | [`session`] runs each chapter's  |
//! | Rust                       | `{{#include}}` of [`snippets`] and [`data`], of `tests/asynchronous.rs`, and of what `plugin new` writes | those are tests |
//! | tables of bytes and bounds | between marks, copied from the sources     | [`copies`]; `UPDATE_EXPECT=1` copies |
//! | `file.rs::name_of_a_test`  | typed                                      | a test below looks for it        |

mod copies;
mod data;
mod readme;
mod session;
mod snippets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Chapters with sessions, each run by a test of its own.
const RUN: [&str; 12] = [
    "columns.md",
    "command-line.md",
    "concepts.md",
    "faq.md",
    "limits.md",
    "migrate-rocksdb.md",
    "migrate-sqlite.md",
    "operations.md",
    "plugins.md",
    "tour.md",
    "vectors.md",
    "watching.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn book() -> PathBuf {
    root().join("docs/guide")
}

/// Every chapter: its file's name and its text.
fn chapters() -> Vec<(String, String)> {
    let entries = fs::read_dir(book().join("src")).expect("the guide's chapters");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    let text = |name: &String| fs::read_to_string(book().join("src").join(name)).expect("UTF-8");
    names.into_iter().map(|name| (name.clone(), text(&name))).collect()
}

fn run(chapter: &str) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let page = book().join("src").join(chapter);
    let program = Path::new(env!("CARGO_BIN_EXE_sochdb"));
    link("tests", folder.path());
    let (wrong, count) = session::check(&page, &book().join("data"), folder.path(), program);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{chapter}: {count} commands do what it shows");
    assert!(0 < count, "{chapter} shows no command");
}

/// A folder of the repository, in a folder in which a page's commands run.
fn link(name: &str, folder: &Path) {
    std::os::unix::fs::symlink(root().join(name), folder.join(name)).expect("a link");
}

/// Whether this machine has the command `name`; says so loudly when it has not.
fn has(name: &str) -> bool {
    let has = std::process::Command::new(name).arg("--version").output().is_ok();
    if !has {
        eprintln!("SKIPPED: what the guide shows of `{name}`, which is not installed here");
    }
    has
}

#[test]
fn the_tour_does_what_it_shows() {
    run("tour.md");
}

#[test]
fn the_concepts_are_what_the_chapter_shows() {
    run("concepts.md");
}

#[test]
fn operations_do_what_the_chapter_shows() {
    run("operations.md");
}

#[test]
fn columns_are_as_the_chapter_shows() {
    run("columns.md");
}

#[test]
fn the_command_line_does_what_the_chapter_shows() {
    run("command-line.md");
}

#[test]
fn plugins_do_what_the_chapter_shows() {
    run("plugins.md");
}

#[test]
fn vectors_are_found_as_the_chapter_shows() {
    run("vectors.md");
}

#[test]
fn a_database_is_watched_as_the_chapter_shows() {
    run("watching.md");
}

#[test]
fn limits_are_refused_as_the_chapter_shows() {
    run("limits.md");
}

#[test]
fn the_answers_of_the_faq_are_what_it_shows() {
    run("faq.md");
}

#[test]
fn a_database_of_sqlite_is_moved_as_the_chapter_shows() {
    if has("sqlite3") {
        run("migrate-sqlite.md");
    }
}

#[test]
fn pairs_of_rocksdb_are_moved_as_the_chapter_shows() {
    run("migrate-rocksdb.md");
}

#[test]
fn every_chapter_with_commands_is_run() {
    for (name, text) in chapters() {
        let has_commands = !session::commands(&text).is_empty();
        assert_eq!(has_commands, RUN.contains(&name.as_str()), "{name} belongs into RUN, or not");
    }
}

#[test]
fn every_test_that_the_guide_names_is_there() {
    let mut named = BTreeSet::new();
    for (chapter, text) in chapters() {
        for (file, name) in text.split('`').filter_map(|code| code.split_once(".rs::")) {
            let file = format!("{file}.rs");
            let source = fs::read_to_string(root().join(&file));
            let source = source.unwrap_or_else(|error| panic!("{chapter}: {file}: {error}"));
            let test = format!("fn {name}() ");
            let (before, _) = source.split_once(&test).unwrap_or_else(|| {
                panic!("{chapter}: {file} has no test '{name}'");
            });
            let attributes = before.rsplit("\n\n").next().unwrap_or_default();
            assert!(attributes.contains("#[test]"), "{chapter}: '{name}' of {file} is no test");
            named.insert((file, name.to_owned()));
        }
    }
    println!("the guide names {} tests", named.len());
    assert!(40 < named.len(), "the guide names only {} tests", named.len());
}

#[test]
fn the_files_of_the_guide_have_a_licence_and_what_made_them() {
    let readme = fs::read_to_string(book().join("data/README.md")).expect("it is there");
    for entry in fs::read_dir(book().join("data")).expect("a folder") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        assert!(name == "README.md" || readme.contains(&name), "data/README.md tells of {name}");
    }
    assert!(readme.contains("WORDNET-LICENSE"), "under which terms they are");
}
