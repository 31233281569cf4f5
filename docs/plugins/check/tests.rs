//! Small books, each with one thing wrong.

use super::*;
use tempfile::TempDir;

/// A repository with a file of code and a book of two chapters, the second of which ends with `more`.
fn book(more: &str) -> (TempDir, Report) {
    let repository = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = repository.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "code/lib.rs",
        "// ANCHOR: all\nfn f() {}\n// ANCHOR_END: all\n// ANCHOR: none\n// ANCHOR_END: none\n",
    );
    write(
        "docs/book/book.toml",
        "[book]\ntitle = \"A book\"\n[output.html.print]\nenable = false\n",
    );
    write("docs/book/src/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two.md)\n");
    write("docs/book/src/one.md", "# One\n\n## A place\n\n[two](two.md)\n");
    write("docs/book/src/two.md", &format!("# Two\n\n[a place](one.md#a-place)\n\n{more}\n"));
    let report = check(&repository.path().join("docs/book"), repository.path()).unwrap();
    (repository, report)
}

/// The only problem of a book with `more` in it says all of `words`.
#[track_caller]
fn wrong(more: &str, words: &[&str]) {
    let (_repository, report) = book(more);
    // One mistake may be seen in the chapter and on its page, and the first chapter is the book's index too.
    let problem =
        report.problems.first().unwrap_or_else(|| panic!("nothing is wrong with\n{more}"));
    for word in words {
        assert!(problem.contains(word), "it does not say '{word}': {problem}");
    }
}

#[test]
fn a_book_that_holds_together_has_no_problem() {
    let (repository, report) = book(
        "[up](#two)\n[the code](../../../code/lib.rs)\n[the folder](../../../code)\n[far](https://example.org/)\n\
         ```rust\n{{#include ../../../code/lib.rs:all}}\n```\n\
         ```console\n$ typed href=\"nowhere.html\"\n```\n<!-- <a href=\"nowhere.html\"></a> -->",
    );
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.included, [repository.path().join("code/lib.rs")]);
    assert_eq!(report.addresses, ["https://example.org/"]);
    assert!(10 < report.links, "{report:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    wrong("[x](three.md)", &["two.html", "three.html", "there is no"]);
    wrong("[x](one.md#no-place)", &["two.html", "'no-place'"]);
    wrong("[x](#no-place)", &["two.html", "'no-place'"]);
    wrong("![x](no-picture.png)", &["two.html", "no-picture.png"]);
    wrong("<a href=\"three.html\">x</a>", &["two.html", "three.html"]);
    wrong("[x](../../../code/no.rs)", &["there is no code/no.rs"]);
    wrong("[x](../../../../../etc/hosts)", &["out of the repository"]);
    wrong("[x](/etc/hosts)", &["no path"]);
    wrong("[x](../../../code/lib.rs#L1)", &["only pages of the book"]);
}

#[test]
fn an_include_that_leads_nowhere_is_found() {
    let include = |what: &str| format!("```rust\n{{{{#include {what}}}}}\n```");
    wrong(&include("../../../code/no.rs"), &["two.md:6", "../../../code/no.rs"]);
    wrong(&include("../../../code/lib.rs:no"), &["two.md:6", "0 lines", "ANCHOR: no"]);
    wrong(&include("../../../code/lib.rs:al"), &["two.md:6", "ANCHOR: al"]);
    wrong(&include("../../../code/lib.rs:none"), &["two.md:6", "nothing lies between"]);
    wrong(&include("../../../code/lib.rs"), &["two.html", "ANCHOR"]);
    wrong("And {{#include ../../../code/lib.rs}}", &["two.md:5", "alone on its line"]);
}

#[test]
fn code_that_nobody_compiles_is_found() {
    wrong("```rust\nfn g() {}\n```", &["two.md:6", "typed, not included", "fn g()"]);
    wrong("```toml,editable\n[plugin]\n```", &["two.md:6", "[plugin]"]);
    wrong("```console\n$ no end", &["two.md", "does not end"]);
}

#[test]
fn a_chapter_that_nobody_finds_is_found() {
    let (repository, _) = book("");
    fs::write(repository.path().join("docs/book/src/three.md"), "# Three\n").unwrap();
    let report = check(&repository.path().join("docs/book"), repository.path()).unwrap();
    assert_eq!(report.problems, ["three.md: SUMMARY.md does not have it"]);
}
