//! The manifest of a plugin that is being written: which file it is, and the hash that goes into it.

use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::package::write;
use serde::Deserialize;
use sochdb::host::plugin_manifest::ModuleSource;
use sochdb::host::{PluginKind, PluginManifest};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Spanned, Table};

/// The manifest in the folder `folder`: the one TOML file there with a `[plugin]` that has a kind.
pub fn find(folder: &Path) -> Outcome<PathBuf> {
    let failed = |error| Failure::io(format!("cannot read {}", folder.display()), &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // What lies here is called by its name alone.
        let is_here = folder == Path::new(".");
        let path = if is_here { PathBuf::from(entry.file_name()) } else { entry.path() };
        if path.extension() == Some(OsStr::new("toml")) && is_manifest(&path) {
            found.push(path);
        }
    }
    found.sort();
    match &mut found[..] {
        [one] => Ok(std::mem::take(one)),
        [] => {
            let text = format!("there is no plugin's manifest in {}", folder.display());
            let help = "`sochdb plugin new` makes a folder with one; manifests/README.md tells what is in it";
            Err(Failure::new(Exit::NotFound, text).help(help))
        }
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            let text = format!("there are several manifests: {}", names.join(", "));
            Err(Failure::invalid(text).help("name the one that is meant"))
        }
    }
}

/// Whether the file is meant to be a manifest. What is wrong in it is said by whoever reads it.
fn is_manifest(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return false };
    match text.parse::<Table>() {
        Ok(file) => file.get("plugin").is_some_and(|plugin| plugin.get("kind").is_some()),
        // Of one that is no TOML, its author wants to know why; tools' own files are read by their tools.
        Err(_) => text.lines().any(|line| line.trim() == "[plugin]"),
    }
}

/// A manifest that will be changed.
#[derive(Debug)]
pub struct Manifest {
    /// Where it lies.
    pub path: PathBuf,
    /// What the plugin is called.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    module: ModuleSource,
    text: String,
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    pub fn read(path: &Path) -> Outcome<Manifest> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
        let parsed = PluginManifest::parse(&path.display().to_string(), &text)
            .map_err(|error| Failure::invalid(error.to_string()))?;
        let PluginManifest { name, kind, module, .. } = parsed;
        Ok(Manifest { path: path.to_owned(), name, kind, module, text })
    }

    /// Where its component lies.
    pub fn component(&self) -> Outcome<PathBuf> {
        match &self.module {
            ModuleSource::Path(path) => Ok(self.path.with_file_name(path)),
            ModuleSource::Bundled(bundled) => {
                let text = format!(
                    "{} says that its component is part of the program",
                    self.path.display()
                );
                let help = format!(
                    "write path = \"{}.wasm\" in the place of bundled = \"{bundled}\"",
                    self.name
                );
                Err(Failure::invalid(text).help(help))
            }
        }
    }

    /// Writes the hash of its component into it; everything else stays as its author wrote it.
    pub fn pin(&mut self, blake3: &str) -> Outcome {
        let pinned = pinned(&self.text, blake3).map_err(|why| {
            Failure::invalid(format!("cannot write the hash to {}: {why}", self.path.display()))
        })?;
        if pinned != self.text {
            write(&self.path, pinned.as_bytes())?;
            self.text = pinned;
        }
        Ok(())
    }
}

/// What of a manifest is changed, or tells where.
#[derive(Deserialize)]
struct Pinned {
    module: Module,
}

#[derive(Deserialize)]
struct Module {
    path: Spanned<String>,
    blake3: Option<Spanned<String>>,
}

/// The manifest `text` with this hash: in the place of the one that is there, or behind the path.
fn pinned(text: &str, blake3: &str) -> Result<String, String> {
    let Pinned { module } = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let value = format!("\"{blake3}\"");
    if let Some(old) = module.blake3 {
        let mut text = text.to_owned();
        text.replace_range(old.span(), &value);
        return Ok(text);
    }
    let span = module.path.span();
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let key = text[line_start..span.start].trim_end().trim_end_matches('=').trim();
    // The key as it stands there, with or without a section before it; or all of it is in one line.
    let (at, more) = match key.rsplit('.').next().map(str::trim) {
        Some("path") => {
            let line_end = text[span.end..].find('\n').map_or(text.len(), |end| span.end + end);
            let key = key.replacen("path", "blake3", 1);
            (line_end, format!("\n{key} = {value}"))
        }
        _ => (span.end, format!(", blake3 = {value}")),
    };
    Ok([&text[..at], &more, &text[at..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\n[plugin] # who\nname = 'a'\n\n[module]\n# where\npath = \"a.wasm\" # here\n\n# what\n[exports]\ninterfaces = [ \"codec\",\n  \"lifecycle\" ]\n";

    #[test]
    fn the_hash_is_written_and_nothing_else_changes() {
        let once = pinned(TEXT, "00ff").unwrap();
        assert_eq!(once, TEXT.replace("# here\n", "# here\nblake3 = \"00ff\"\n"));
        let marked = once.replace("\"00ff\"", "\"00ff\" # pinned");
        assert_eq!(pinned(&marked, "ab").unwrap(), marked.replace("00ff", "ab"));
        assert_eq!(pinned(&once, "00ff").unwrap(), once);
        let inline = "module = { path = \"a.wasm\" }\n";
        assert_eq!(
            pinned(inline, "ab").unwrap(),
            "module = { path = \"a.wasm\", blake3 = \"ab\" }\n"
        );
        let dotted = "module.path = 'a.wasm'";
        assert_eq!(pinned(dotted, "ab").unwrap(), "module.path = 'a.wasm'\nmodule.blake3 = \"ab\"");
        assert!(pinned("[plugin]\n", "ab").is_err());
    }

    #[test]
    fn a_manifest_is_told_from_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("Cargo.toml", "[package]\nname = \"a\"\n[lib]\n");
        write("pyproject.toml", "[project]\nname = \"a\"\n[tool.x.plugin]\nkind = 1\n");
        assert_eq!(find(folder.path()).unwrap_err().exit, Exit::NotFound);
        write("a.toml", "[plugin]\nkind = \"codec\"\n");
        assert_eq!(find(folder.path()).unwrap(), folder.path().join("a.toml"));
        write("b.toml", "[plugin]\nkind = [\n");
        let failure = find(folder.path()).unwrap_err();
        assert!(failure.message.contains("b.toml"), "{failure:?}");
    }
}
