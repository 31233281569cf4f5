//! Rules about this repository that a machine can check.

use std::path::{Path, PathBuf};

/// One person can audit the kernel in a few days.
const KERNEL_LINES_MAX: usize = 5_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `directory`.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a folder of this repository");
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a source file: its lines up to its tests, without blank lines and comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
}

#[test]
fn the_kernel_is_small_enough_to_audit() {
    let files = sources(&root().join("kernel/src"));
    let mut total = 0;
    for path in files.iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let count = code_lines(&text).count();
        println!("{count:5} {}", path.strip_prefix(root()).expect("below the root").display());
        total += count;
    }
    println!("{total:5} lines of code in the kernel, below {KERNEL_LINES_MAX}");
    assert!(1_000 < total, "counted only {total} lines: is kernel/src still where it was?");
    assert!(total < KERNEL_LINES_MAX, "{total} lines of code, must stay below {KERNEL_LINES_MAX}");
    assert_eq!(sochdb_kernel::MAX_KERNEL_LOC, KERNEL_LINES_MAX, "the kernel promises the same");
}

#[test]
fn the_kernel_has_never_heard_of_webassembly() {
    let manifest = std::fs::read_to_string(root().join("kernel/Cargo.toml")).expect("there");
    for line in manifest.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        assert!(!name.contains("wasm") && !name.contains("wit-"), "kernel/Cargo.toml: {line}");
        assert_ne!(name, "sochdb-host-abi", "kernel/Cargo.toml: dependencies point the other way");
    }
}

/// The crates of this workspace that the package in `folder` is made of, those of its tests aside.
fn workspace_dependencies(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("there");
    let manifest: toml::Table = text.parse().expect("TOML");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    let names = dependencies.into_iter().flatten().map(|(name, _)| name.clone());
    names.filter(|name| name.starts_with("sochdb")).collect()
}

/// Nobody can tell a plugin that comes with the database from a stranger's: both have the SDK and nothing else of
/// this repository, but for libraries that could be the stranger's own, since they have nothing else either.
#[test]
fn shipped_plugins_are_made_of_nothing_but_the_sdk() {
    let libraries = [
        ("sochdb-graph", "graph"),
        ("sochdb-graph-plugin", "graph/plugin"),
        ("sochdb-logfile", "logfile"),
    ];
    let sdk = ["sochdb-guest", "sochdb-encoding"];
    let is_allowed =
        |name: &str| sdk.contains(&name) || libraries.iter().any(|(library, _)| *library == name);
    for entry in std::fs::read_dir(root().join("plugins")).expect("there") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        let wants = workspace_dependencies(&format!("plugins/{name}"));
        assert!(wants.iter().any(|name| name == "sochdb-guest"), "{name} is written with the SDK");
        for dependency in wants {
            assert!(is_allowed(&dependency), "plugins/{name} uses {dependency}");
        }
    }
    for (library, folder) in libraries {
        for dependency in workspace_dependencies(folder) {
            assert!(is_allowed(&dependency), "{library}, which plugins use, uses {dependency}");
        }
    }
    for folder in ["encoding", "telemetry"] {
        assert!(workspace_dependencies(folder).is_empty(), "{folder} is a part of the SDK");
    }
}

#[test]
fn only_the_vfs_opens_files() {
    let kernel = root().join("kernel/src");
    for path in sources(&kernel).iter().filter(|path| !path.starts_with(kernel.join("vfs"))) {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        for line in code_lines(&text) {
            for word in ["std::fs", "File::open", "OpenOptions", "std::thread", "SystemTime::now"] {
                let is_clock = path.ends_with("environment.rs") && word == "SystemTime::now";
                assert!(!line.contains(word) || is_clock, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_kernel_contains_no_unsafe_code() {
    let lib = std::fs::read_to_string(root().join("kernel/src/lib.rs")).expect("there");
    assert!(lib.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn code_lines_are_counted_as_promised() {
    let text = "//! Docs.\n\nuse a::b; // a remark\n    // a comment\n/// Docs.\nfn c() {}\n#[cfg(test)]\nmod tests {}\n";
    assert_eq!(code_lines(text).collect::<Vec<_>>(), ["use a::b; // a remark", "fn c() {}"]);
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there");
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("there");
    let doctest = lib.split("//! ```\n").nth(1).expect("an example in the library's docs");
    let shown = doctest.lines().map(|line| line.trim_start_matches("//!").trim_start_matches(' '));
    for line in shown.filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(
            readme.contains(line.trim_start()),
            "README.md lacks this line of the example:\n{line}"
        );
    }
}
