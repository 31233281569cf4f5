//! The book is built, and nothing is wrong with it.

use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the book lies in docs/plugins").to_owned()
}

#[test]
fn the_book_builds_all_links_lead_somewhere_and_its_code_is_compiled_code() {
    let repository = repository();
    let report = sochdb_book::check(&repository.join("docs/plugins"), &repository);
    let report = report.unwrap_or_else(|error| panic!("mdbook: {error:#}"));
    let problems = report.problems.join("\n");
    assert!(problems.is_empty(), "{problems}");
    println!("{} links lead somewhere; not followed: {:?}", report.links, report.addresses);
    // Code of the book is code of plugins that are built, tested and installed, or of the manifests' own page.
    for file in &report.included {
        let file = file.strip_prefix(&repository).expect("below the root");
        let places = [
            "docs/plugins/policy.toml",
            "examples",
            "manifests",
            "sdk-python",
            "src/cli/new",
            "tests",
        ];
        assert!(places.iter().any(|place| file.starts_with(place)), "{}", file.display());
    }
}
