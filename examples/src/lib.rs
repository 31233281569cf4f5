//! The example plugins in Rust, built: for the tests that run them, and for nobody else.
//!
//! | example                   | kind             | what it shows                                              |
//! |---------------------------|------------------|------------------------------------------------------------|
//! | `soft-delete`             | hooks            | deleted rows stay, marked with the time                    |
//! | `audit-trail`             | hooks            | every change becomes a row of a history                    |
//! | `json-schema`             | hooks            | rows that do not fit a schema are refused                  |
//! | `bm25`, `bm25-search`     | hooks, procedure | full-text search with an index of one's own                |
//! | `geo`, `geo-search`       | hooks, procedure | places nearby, by a computed column and an ordered index   |
//! | `ttl-sweeper`             | procedure        | old rows are deleted some at a time                        |
//!
//! Each is a folder below `rust/` with its source, its tests, its manifest, and a README that says what it is for and
//! where its limits are. They use the SDK and crates of the registry, as anybody's plugin does; take one and change
//! it. The three that the book builds are there, too.

/// One example.
pub struct Example {
    /// Its folder's name, and the plugin's.
    pub name: &'static str,
    /// Its component.
    pub component: &'static [u8],
    /// Its manifest, which names the component `NAME.wasm`.
    pub manifest: &'static str,
}

/// The example `name`.
///
/// # Panics
/// When there is none of this name.
pub fn example(name: &str) -> &'static Example {
    let found = ALL.iter().find(|example| example.name == name);
    found.unwrap_or_else(|| panic!("there is no example '{name}'"))
}

/// The manifest of the example `name`.
///
/// # Panics
/// As [`example`].
pub fn manifest(name: &str) -> &'static str {
    example(name).manifest
}

include!(concat!(env!("OUT_DIR"), "/examples.rs"));
