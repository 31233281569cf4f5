//! Both books are built, the one on plugins and the guide beside it, and nothing is wrong with them.

use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the book lies in docs/plugins").to_owned()
}

/// Builds `docs/NAME`, whose code comes from `places`.
fn check(name: &str, places: &[&str]) {
    let repository = repository();
    let report = sochdb_book::check(&repository.join("docs").join(name), &repository);
    let report = report.unwrap_or_else(|error| panic!("mdbook: {error:#}"));
    let problems = report.problems.join("\n");
    assert!(problems.is_empty(), "{problems}");
    println!("{} links lead somewhere; not followed: {:?}", report.links, report.addresses);
    for file in &report.included {
        let file = file.strip_prefix(&repository).expect("below the root");
        assert!(places.iter().any(|place| file.starts_with(place)), "{}", file.display());
    }
}

#[test]
fn the_book_builds_all_links_lead_somewhere_and_its_code_is_compiled_code() {
    // Code of the book is code of plugins that are built, tested and installed, or of the manifests' own page.
    let places =
        ["docs/plugins/policy.toml", "examples", "manifests", "sdk-python", "src/cli/new", "tests"];
    check("plugins", &places);
}

#[test]
fn the_guide_builds_all_links_lead_somewhere_and_its_code_is_run() {
    check("guide", &["src/cli/new/rust", "tests/all/guide", "tests/asynchronous.rs"]);
}
