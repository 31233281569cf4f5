//! Plugins that tests and benchmarks run: written with the SDK like any other, and never shipped.
//!
//! | guest      | kind      | what it does                                                             |
//! |------------|-----------|--------------------------------------------------------------------------|
//! | `fickle`   | codec     | keeps blocks as they are, and is careless as its setting `mood` says     |
//! | `files`    | codec     | reads and writes files, as what it is to compress says                   |
//! | `finder`   | procedure | searches indexes of tables                                               |
//! | `guard`    | hooks     | continues, replaces, skips, aborts or fails, as the key of a change says |
//! | `identity` | codec     | nothing: what a call costs beside its work                               |
//! | `ledger`   | procedure | moves amounts between accounts, reads tables in every way, calls others  |
//! | `moody`    | observer  | takes batches, or sleeps, traps, bombs, as its setting `mood` says       |
//! | `nearest`  | index     | compares the query with all entries, some at a time, and keeps nothing   |
//! | `shelf`    | storage   | keeps rows plainly, and in each segment which version of it wrote that   |
//! | `shifty`   | codec     | writes runs of bytes in one of two ways, by its version, and reads both  |
//! | `stamper`  | hooks     | puts its version behind each value that is written                       |
//! | `teller`   | procedure | tells its version, counts in a row, lingers                              |
//!
//! The last four are made for being replaced while a database serves: what they do, well or badly, is said by the
//! settings of their manifests, as `mood.rs` tells.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The manifest of a guest in the file `NAME.wasm`, with `more` at its end: capabilities, resources and so on.
pub fn manifest(name: &str, kind: &str, more: &str) -> String {
    let export = match kind {
        "storage" => "storage-engine",
        other => other,
    };
    format!(
        "[plugin]\nname = \"{name}\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\n\
         min_kernel_version = \"0.1.0\"\n\
         [module]\npath = \"{name}.wasm\"\n\
         [exports]\ninterfaces = [\"{export}\", \"lifecycle\"]\n{more}\n"
    )
}
