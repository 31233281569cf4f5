//! Compiles plugins to WebAssembly from a build script, so that `cargo run` and `cargo test` need nothing
//! else.
//!
//! ```text
//!   FOLDER/NAME/ ── cargo build --profile guest --target wasm32-wasip2 ──▶ target/guests/ ──▶ OUT_DIR/NAME.wasm
//! ```
//!
//! - The inner cargo has a target directory of its own, for two reasons: the outer one holds a lock on
//!   its directory while we run, and plugins are built once for debug, release, clippy and doc alike.
//! - Nothing of the outer build's flags reaches it: a coverage or sanitizer flag is no flag for a guest.
//! - Cargo runs the script again only when a guest, a crate of ours that guests use, the contract or the lock
//!   file changed; then the inner cargo compiles what really changed.
//! - Paths of the building machine are mapped away, so that they do not end up in the components.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// What every plugin may use of the processor: SIMD with results that are the same everywhere.
const RUST_FLAGS: &[&str] = &["-Ctarget-feature=+simd128"];
/// Far more of these plugins' calls are inlined than natively, because each call that is left saves, loads and checks
/// the fuel. They are faster for it and grow by a quarter; the others would only grow (`docs/performance.md` has the
/// figures).
const INLINED: &[&str] =
    &["sochdb-plugin-hnsw", "sochdb-plugin-lscs", "sochdb-plugin-vamana", "sochdb-plugin-zstd"];
const INLINE_MORE: &str = "-Cllvm-args=-inline-threshold=3000";

/// A guest that was compiled.
pub struct Built {
    /// Its folder's name.
    pub name: String,
    /// Its component, in the build script's `OUT_DIR`.
    pub component: PathBuf,
}

/// Compiles every package in `folder`, relative to the workspace's root. The package of folder `x` is called
/// `PREFIX-x`. To be called from a build script one folder below the root; when it fails, it has told cargo so.
///
/// # Errors
/// When the compiler fails, or its target cannot be installed; the text says what to do.
pub fn build(folder: &str, prefix: &str) -> Result<Vec<Built>, Box<dyn Error>> {
    let out = PathBuf::from(var("OUT_DIR"));
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let root = root.parent().ok_or("the package lies in the workspace's folder")?.to_owned();
    let names = guest_names(&root.join(folder))?;
    watch(&root, folder, &names);
    install_target()?;
    let packages: Vec<_> = names.iter().map(|name| format!("{prefix}-{name}")).collect();
    let built = compile(&root, &target_dir(&out)?, &packages)?;
    let mut guests = Vec::new();
    for (name, package) in names.into_iter().zip(packages) {
        let component = out.join(&name).with_extension("wasm");
        copy_if_changed(&built.join(package.replace('-', "_")).with_extension("wasm"), &component)?;
        guests.push(Built { name, component });
    }
    Ok(guests)
}

/// Tells cargo, and so people, why the build cannot go on.
pub fn report(error: &dyn Error) {
    for line in error.to_string().lines() {
        println!("cargo::error={line}");
    }
}

/// The packages in a folder, sorted.
fn guest_names(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(
                entry.file_name().into_string().map_err(|name| format!("{name:?} is no name"))?,
            );
        }
    }
    names.sort();
    Ok(names)
}

/// A plugin that is added or removed changes the lock file, so the folder itself is not watched.
fn watch(root: &Path, folder: &str, names: &[String]) {
    let mut paths: Vec<_> = [
        "Cargo.toml",
        "Cargo.lock",
        "wit",
        "sdk-guest/src",
        "sdk-guest/Cargo.toml",
        "encoding/src",
        "graph/src",
        "graph/Cargo.toml",
        "graph/plugin/src",
        "graph/plugin/Cargo.toml",
    ]
    .map(|path| root.join(path))
    .into();
    for name in names {
        let plugin = root.join(folder).join(name);
        paths.extend([plugin.join("src"), plugin.join("Cargo.toml")]);
    }
    // Cargo runs us every time when a watched path does not exist.
    for path in paths.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// `guests` in the outer target directory, which is where `OUT_DIR` says it is:
/// `TARGET/[TRIPLE/]PROFILE/build/PACKAGE/out`.
fn target_dir(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let profile =
        out.ancestors().nth(3).ok_or("OUT_DIR lies four folders below the target directory")?;
    let mut target = profile.parent().ok_or("the profile's folder lies in the target directory")?;
    if target.file_name().is_some_and(|name| name.to_str() == Some(&var("TARGET"))) {
        target = target.parent().unwrap_or(target);
    }
    Ok(target.join("guests"))
}

/// Asks rustup for the target where the compiler does not have it.
fn install_target() -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(var("RUSTC"));
    let libdir = rustc.args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&libdir.stdout).trim());
    if libdir.is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    let mut by_hand = format!("rustup target add {TARGET}");
    if let Ok(toolchain) = env::var("RUSTUP_TOOLCHAIN") {
        rustup.args(["--toolchain", &toolchain]);
        by_hand += &format!(" --toolchain {toolchain}");
    }
    let why = match rustup.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("rustup could not be run: {error}"),
    };
    Err(format!(
        "plugins need the Rust target {TARGET}; install it with:\n\n    {by_hand}\n\n{why}"
    )
    .into())
}

/// Compiles the packages and returns the folder where the components lie.
fn compile(root: &Path, target_dir: &Path, packages: &[String]) -> Result<PathBuf, Box<dyn Error>> {
    let is_inlined = |package: &&String| INLINED.contains(&package.as_str());
    let (inlined, others): (Vec<_>, Vec<_>) = packages.iter().partition(is_inlined);
    if !others.is_empty() {
        let packages = others.into_iter().flat_map(|package| ["--package", package]);
        run(root, target_dir, "build", &packages.collect::<Vec<_>>())?;
    }
    // Flags of one package alone are only to be had one package at a time; what it depends on goes without.
    for package in inlined {
        run(root, target_dir, "rustc", &["--package", package, "--lib", "--", INLINE_MORE])?;
    }
    Ok(target_dir.join(TARGET).join("guest"))
}

/// Runs the inner cargo: `command` with `arguments` beside those that it always gets.
fn run(
    root: &Path,
    target_dir: &Path,
    command: &str,
    arguments: &[&str],
) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(var("CARGO"));
    cargo.current_dir(root).args([command, "--profile", "guest", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir);
    if root.join("Cargo.lock").is_file() {
        cargo.arg("--locked");
    }
    cargo.args(arguments);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    let mut flags: Vec<_> = RUST_FLAGS.iter().map(ToString::to_string).collect();
    flags.push(format!("--remap-path-prefix={}=.", root.display()));
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        // Where a dependency came from is nobody's business either; of several that fit, the last counts.
        for source in fs::read_dir(home.join("registry/src")).into_iter().flatten() {
            flags.push(format!("--remap-path-prefix={}=cargo", source?.path().display()));
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let by_hand =
        format!("cargo {command} --profile guest --target {TARGET} {}", arguments.join(" "));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    let what = "the plugins did not compile; mend what this command shows";
    Err(format!("{what}:\n\n    {by_hand}\n\n{why}").into())
}

/// Whether a variable belongs to the build that runs us. Where cargo finds registries, how it reaches
/// the network and how many jobs all cargos together may run stays as it is.
fn is_of_the_outer_build(name: &str) -> bool {
    const KEPT: &[&str] = &[
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    const PREFIXES: &[&str] =
        &["CARGO_", "RUSTC", "RUSTDOC", "RUSTFLAGS", "CLIPPY_", "DEP_", "__CARGO"];
    const NAMES: &[&str] =
        &["TARGET", "HOST", "OPT_LEVEL", "PROFILE", "DEBUG", "NUM_JOBS", "OUT_DIR"];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    NAMES.contains(&name) || (begins(PREFIXES) && !begins(KEPT))
}

fn cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Leaves an equal file alone, so that what embeds it is not compiled again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(from)
        .map_err(|error| format!("cargo did not leave {}: {error}", from.display()))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    Ok(fs::write(to, bytes)?)
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name} for build scripts: {error}"))
}
