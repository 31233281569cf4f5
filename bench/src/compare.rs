//! `bench compare`: the crate `bench-micro` does it, in a program of its own.
//!
//! It is built without wasmtime and without the peers: in minutes, and the same wherever it is built. What a program
//! is built with may change its instructions, so they are never counted in this one.

use crate::Result;
use std::process::Command;

/// What is handed on.
#[derive(clap::Args)]
pub struct Settings {
    /// BASE, a file of counts or a revision, and options: `-- compare --help` shows all of them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs it; ends with its exit status.
///
/// # Errors
/// When cargo does not start.
pub fn run(settings: &Settings) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", "bench-micro", "--", "compare"]);
    command.args(&settings.arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let status = command.status().map_err(|error| format!("cargo: {error}\nhelp: install Rust"))?;
    std::process::exit(status.code().unwrap_or(2));
}
