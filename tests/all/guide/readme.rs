//! The README, the front door: its commands do what it shows, its Rust is Rust that a test runs, its links lead
//! somewhere.

use super::{link, root, session};
use std::fs;
use std::path::Path;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("it is there")
}

/// The code blocks of a language, each as its lines.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<Vec<&'t str>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if found == language {
            blocks.push(block);
        }
    }
    blocks
}

/// The lines of code in a source, those of its documentation included, without what the documentation hides.
fn code(source: &str) -> Vec<&str> {
    let lines = source.lines().map(|line| line.trim_start().trim_start_matches("//!").trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with("# ")).collect()
}

#[test]
fn the_readme_does_what_it_shows() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for name in ["docs", "tests"] {
        link(name, folder.path());
    }
    let nothing = tempfile::tempdir().expect("a temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_sochdb"));
    let page = root().join("README.md");
    let (wrong, count) = session::check(&page, nothing.path(), folder.path(), program);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("README.md: {count} commands do what it shows");
    assert!(10 < count, "README.md shows only {count} commands");
}

/// What takes long or builds something is text; nothing else of a terminal may hide there.
#[test]
fn what_the_readme_does_not_run_is_built_by_cargo() {
    let text = readme();
    for line in blocks(&text, "text").into_iter().flatten() {
        let command = line.strip_prefix("$ ").unwrap_or("cargo ");
        assert!(command.starts_with("cargo "), "this belongs into a console block: {line}");
    }
}

#[test]
fn the_rust_of_the_readme_is_run_by_other_tests() {
    let sources = ["src/lib.rs", "sdk-guest/src/lib.rs", "tests/all/guide/data.rs"];
    let sources = sources.map(|name| fs::read_to_string(root().join(name)).expect("it is there"));
    let text = readme();
    let all = blocks(&text, "rust");
    assert!(1 < all.len(), "there are only {} blocks of Rust", all.len());
    for block in all {
        let wanted = code(&block.join("\n")).join("\n");
        let is_run = sources.iter().any(|source| code(source).join("\n").contains(&wanted));
        assert!(is_run, "no tested source has this:\n{wanted}");
    }
}

#[test]
fn the_links_of_the_readme_lead_somewhere() {
    let text = readme();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let links: Vec<_> = links.map(|(link, _)| link).filter(|link| !link.contains("://")).collect();
    for link in &links {
        let path = link.split('#').next().unwrap_or_default();
        assert!(root().join(path).exists(), "README.md: there is no {path}");
    }
    assert!(20 < links.len(), "{links:?}");
}

#[test]
fn blocks_are_told_by_their_language_and_docs_are_code_as_well() {
    let text = "a\n```rust\nlet a;\n```\n```text\nb\n```\n```rust\n\nlet c;\n```\n";
    assert_eq!(blocks(text, "rust"), [vec!["let a;"], vec!["", "let c;"]]);
    assert_eq!(blocks(text, "text"), [["b"]]);
    let source = "//! ```\n//! # hidden\n//!   let a;\n//!\n    let b; // why\n";
    assert_eq!(code(source), ["```", "let a;", "let b; // why"]);
}
