//! `plugin build`: source in, component out, its hash in the manifest.
//!
//! ```text
//!   Cargo.toml ──▶ rust    ─┐
//!   app.py     ──▶ python  ─┴─▶ sections: without debugging information ──▶ wasm_opt, if it is there
//!                                    │
//!                                    ▼
//!   manifest: [module] path ◀── the component     [module] blake3 ◀── its hash
//! ```

pub mod manifest;
pub mod sections;

mod python;
mod rust;
mod tool;
mod wasm_opt;

use super::Session;
use super::args::PluginBuild;
use super::failure::{Failure, Outcome};
use super::package::write;
use super::screen::{Screen, bytes_text};
use manifest::Manifest;
use serde_json::json;
use std::path::{Path, PathBuf};
use wasm_opt::Optimised;

/// A component, and what became of it on its way.
struct Built {
    bytes: Vec<u8>,
    /// As the compiler left it.
    bytes_before: usize,
    optimised: Optimised,
}

/// Builds the plugin in a folder.
pub fn build(session: &mut Session, args: &PluginBuild) -> Outcome {
    let folder = &args.folder;
    if !folder.is_dir() {
        let text = format!("{} is not a folder", folder.display());
        return Err(
            Failure::invalid(text).help("`sochdb plugin new` makes one with a plugin in it")
        );
    }
    let path = match &args.manifest {
        Some(manifest) => manifest.clone(),
        None => manifest::find(folder)?,
    };
    let mut manifest = Manifest::read(&path)?;
    let is_crate = folder.join("Cargo.toml").is_file();
    let (raw, wasm_opt) = match python::source(folder, &manifest.name) {
        _ if is_crate => (rust::build(folder)?, !args.no_wasm_opt),
        // Most of it is the interpreter, which is optimised already, and large.
        Some(module) => (python::build(&module, manifest.kind, args.venv.as_deref())?, false),
        None => {
            let text = format!("there is no plugin's source in {}", folder.display());
            let source = python::SOURCE;
            let help = format!("a plugin in Rust has a Cargo.toml, one in Python {source}");
            return Err(Failure::invalid(text).help(help));
        }
    };
    let built = finish(raw, wasm_opt)?;
    let component = manifest.component()?;
    write(&component, &built.bytes)?;
    let blake3 = sochdb::host::plugin_package::hash(&built.bytes);
    manifest.pin(&blake3)?;
    tell(&mut session.screen, &manifest, &component, &built, &blake3)
}

/// Leaves out of the component what only its author needs, and makes the rest better if something can.
fn finish(raw: Vec<u8>, optimise: bool) -> Outcome<Built> {
    let malformed = |error| Failure::invalid(format!("the component that was built: {error}"));
    let bytes_before = raw.len();
    let bytes = sections::without_debug(&raw).map_err(malformed)?;
    let (bytes, optimised) = match optimise {
        true => wasm_opt::optimise(bytes)?,
        false => (bytes, Optimised::NotWanted),
    };
    Ok(Built { bytes, bytes_before, optimised })
}

fn tell(
    screen: &mut Screen,
    manifest: &Manifest,
    component: &Path,
    built: &Built,
    blake3: &str,
) -> Outcome {
    let Built { bytes, bytes_before, optimised } = built;
    if screen.json {
        return screen.object(&json!({
            "built": manifest.name,
            "manifest": manifest.path,
            "component": component,
            "bytes": bytes.len(),
            "bytes_before": bytes_before,
            "optimised": matches!(optimised, Optimised::By(_)),
            "blake3": blake3,
        }));
    }
    let size = bytes_text(bytes.len() as u64);
    let before = match *bytes_before == bytes.len() {
        true => String::new(),
        false => format!(", {} before", bytes_text(*bytes_before as u64)),
    };
    screen.line(format!("built '{}': {}", manifest.name, component.display()))?;
    screen.pairs([
        ("  size", format!("{size}{before}")),
        ("  wasm-opt", optimised.to_string()),
        ("  blake3", format!("{blake3}, in {}", manifest.path.display())),
    ])
}

/// An absolute path without links, for comparing and for tools that run elsewhere.
fn absolute(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize()
        .map_err(|error| Failure::io(format!("cannot find {}", path.display()), &error))
}
