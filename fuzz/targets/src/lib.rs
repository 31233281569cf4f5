//! What the fuzzers call: one function per decoder, one for the kernel's API, one for whole files.
//!
//! Each takes any bytes, and must come back: no panic, no hang, and no more memory at once than sixteen
//! times what it was given and a constant ([`allocation::bounded`]). Beyond that each checks a law: what
//! decodes encodes to the same bytes, a database that opened once opens again with the same rows, the
//! API does what a `BTreeMap` does.
//!
//! Checksums are made to hold before the bytes reach a decoder, because a fuzzer cannot guess them and
//! because what lies behind the checksum is what can panic. [`image`] does that for whole databases.
//!
//! The feature `plugins`, on by default, brings the targets that need the WebAssembly host: without it this
//! crate builds in seconds.
//!
//! The same functions run under `cargo test` (`tests/short.rs`, seeded) and under cargo-fuzz (the package
//! above this one; its README has the commands).

pub mod allocation;
mod api;
mod archive;
mod dump;
mod encoding;
mod files;
mod formats;
pub mod image;
mod indexes;
mod input;
#[cfg(feature = "plugins")]
mod plugins;

/// One fuzz target.
pub struct Target {
    /// Its name, also that of its cargo-fuzz binary.
    pub name: &'static str,
    /// What is called with any bytes.
    pub run: fn(&[u8]),
    /// Inputs that go deep, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many inputs the short form tries, so that all targets take about the same time.
    pub short: u64,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "codec", run: encoding::codec, seeds: encoding::codec_seeds, short: 150_000 },
    Target { name: "schema", run: encoding::schema, seeds: encoding::schema_seeds, short: 150_000 },
    Target { name: "row", run: encoding::row, seeds: encoding::row_seeds, short: 100_000 },
    Target { name: "key", run: encoding::key, seeds: encoding::key_seeds, short: 150_000 },
    Target { name: "page", run: formats::page, seeds: formats::page_seeds, short: 80_000 },
    Target { name: "meta", run: formats::meta, seeds: formats::meta_seeds, short: 80_000 },
    Target { name: "frame", run: formats::frame, seeds: formats::frame_seeds, short: 150_000 },
    Target {
        name: "log_header",
        run: formats::log_header,
        seeds: formats::log_header_seeds,
        short: 150_000,
    },
    Target {
        name: "catalog",
        run: formats::catalog,
        seeds: formats::catalog_seeds,
        short: 150_000,
    },
    Target { name: "log", run: files::log, seeds: files::log_seeds, short: 4_000 },
    Target { name: "archive", run: archive::archive, seeds: archive::archive_seeds, short: 20_000 },
    Target { name: "dump", run: dump::dump, seeds: dump::dump_seeds, short: 50_000 },
    Target { name: "files", run: files::files, seeds: files::files_seeds, short: 4_000 },
    Target {
        name: "index_segment",
        run: indexes::index_segment,
        seeds: indexes::index_segment_seeds,
        short: 3_000,
    },
    Target {
        name: "codebook",
        run: indexes::codebook,
        seeds: indexes::codebook_seeds,
        short: 5_000,
    },
    Target { name: "graph", run: indexes::graph, seeds: indexes::graph_seeds, short: 3_000 },
    Target { name: "api", run: api::api, seeds: api::api_seeds, short: 1_500 },
    #[cfg(feature = "plugins")]
    Target {
        name: "manifest",
        run: plugins::manifest,
        seeds: plugins::manifest_seeds,
        short: 10_000,
    },
    #[cfg(feature = "plugins")]
    Target { name: "package", run: plugins::package, seeds: plugins::package_seeds, short: 10_000 },
    #[cfg(feature = "plugins")]
    Target {
        name: "component",
        run: plugins::component,
        seeds: plugins::component_seeds,
        short: 3_000,
    },
];

/// The target called `name`.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
