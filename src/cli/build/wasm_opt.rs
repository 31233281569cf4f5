//! Modules made smaller and faster by wasm-opt of Binaryen, where that is installed.
//!
//! It reads modules, not components, so each module in a component goes through it alone. What it gives must still be a
//! module and be smaller, else the one before stays.

use super::{sections, tool};
use crate::cli::failure::{Failure, Outcome};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What plugins may use of WebAssembly; nothing else is to come out.
const FEATURES: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// Whether wasm-opt was at work.
#[derive(Debug, PartialEq, Eq)]
pub enum Optimised {
    /// It was, as this version.
    By(String),
    /// It is not installed.
    NotInstalled,
    /// Nobody asked for it.
    NotWanted,
    /// It was, and gave nothing better.
    NotBetter,
    /// It failed, with these words.
    Failed(String),
}

impl fmt::Display for Optimised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Optimised::By(version) => f.write_str(version),
            Optimised::NotInstalled => f.write_str("not installed; Binaryen has it"),
            Optimised::NotWanted => f.write_str("not wanted"),
            Optimised::NotBetter => f.write_str("it gave nothing smaller"),
            Optimised::Failed(why) => write!(f, "it failed, so nothing is optimised: {why}"),
        }
    }
}

/// The component with better modules, and by whom.
pub fn optimise(component: Vec<u8>) -> Outcome<(Vec<u8>, Optimised)> {
    let Some(program) = tool::find("wasm-opt") else {
        return Ok((component, Optimised::NotInstalled));
    };
    let failed = |error| Failure::io("cannot make a folder for wasm-opt", &error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut failure = None;
    let changed = sections::with_modules(&component, &mut |module| {
        let better = match failure {
            None => one(&program, folder.path(), module),
            Some(_) => return None,
        };
        better.map_err(|why| failure = Some(why)).ok()
    });
    let changed = changed
        .map_err(|error| Failure::invalid(format!("the component that was built: {error}")))?;
    if let Some(why) = failure {
        return Ok((component, Optimised::Failed(why)));
    }
    if component.len() <= changed.len() {
        return Ok((component, Optimised::NotBetter));
    }
    let version = tool::answer(&program, &["--version"], folder.path()).ok().flatten();
    Ok((changed, Optimised::By(version.unwrap_or_else(|| program.display().to_string()))))
}

/// One module.
fn one(program: &Path, folder: &Path, module: &[u8]) -> Result<Vec<u8>, String> {
    let (from, to) = (folder.join("in.wasm"), folder.join("out.wasm"));
    let said = |error: std::io::Error| error.to_string();
    fs::write(&from, module).map_err(said)?;
    let mut command = Command::new(program);
    command.arg(&from).arg("-o").arg(&to).args(["-O3", "--debuginfo"]).args(FEATURES);
    let output = command.stdin(Stdio::null()).output().map_err(said)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().find(|line| !line.trim().is_empty());
        return Err(first.unwrap_or("it said nothing").to_owned());
    }
    let optimised = fs::read(&to).map_err(said)?;
    match optimised.len() < module.len() {
        true => Ok(optimised),
        false => Ok(module.to_vec()),
    }
}
