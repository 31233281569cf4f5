//! The counts of another revision: built below `target/`, counted by its own program.
//!
//! ```text
//!   target/compare/tree      a worktree of the revision
//!   target/compare/build     what is built there, kept for the next time
//! ```

use crate::baseline::Baseline;
use crate::count::said;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This repository, as it was when this program was built.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn git(arguments: &[&str]) -> Result<String> {
    said(Command::new("git").arg("-C").arg(root()).args(arguments))
}

/// The commit that `name` names.
///
/// # Errors
/// When it names none.
pub fn commit(name: &str) -> Result<String> {
    git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])
        .map_err(|_| {
            let what =
                format!("'{name}' is neither a file of counts nor a revision of this repository");
            Error::new(what, "name a file that --set wrote, or a commit, branch or tag")
        })
}

/// Builds `commit`, which [`commit()`] found, and counts its benchmarks whose names contain `only`.
///
/// # Errors
/// When it cannot be checked out, built or counted.
pub fn counts(commit: &str, only: &str) -> Result<Baseline> {
    let folder = root().join("target/compare");
    let tree = folder.join("tree");
    check_out(&tree, commit)?;
    if !tree.join("bench/micro/Cargo.toml").is_file() {
        let what = format!("revision {commit} has no bench/micro");
        return Err(Error::new(what, "name a later one"));
    }
    eprintln!("building {commit} below {}", folder.display());
    let build = folder.join("build");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--release", "--package", "bench-micro", "--bin", "bench-micro"]);
    cargo.current_dir(&tree).env("CARGO_TARGET_DIR", &build).stdin(Stdio::null());
    let status =
        cargo.status().map_err(|error| Error::new(format!("cargo: {error}"), "install Rust"))?;
    if !status.success() {
        return Err(Error::new(
            format!("revision {commit} does not build"),
            "cargo says why above",
        ));
    }
    let text =
        said(Command::new(build.join("release/bench-micro")).args(["counts", "--only", only]))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(format!("what revision {commit} counted: {error}"), "name a later revision")
    })
}

fn check_out(tree: &Path, commit: &str) -> Result<()> {
    let place = tree.to_string_lossy();
    if tree.join(".git").exists() {
        return git(&["-C", &place, "checkout", "--quiet", "--force", "--detach", commit])
            .map(drop);
    }
    git(&["worktree", "prune"])?;
    git(&["worktree", "add", "--quiet", "--detach", &place, commit]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_said_so() {
        let text = commit("no-such-branch").expect_err("there is none").to_string();
        assert!(text.contains("'no-such-branch' is neither") && text.contains("help:"), "{text}");
    }
}
