//! `plugin pack`, and where a plugin lies that somebody names: beside its manifest, in a folder, in a package.

use super::Session;
use super::args::PluginPack;
use super::build::manifest;
use super::failure::{Exit, Failure, Outcome};
use super::screen::bytes_text;
use serde_json::json;
use sochdb::PluginHost;
use sochdb::host::plugin_package::{EXTENSION, PackageError, PluginPackage};
use sochdb::plugin::PluginManager;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A plugin that is not loaded yet, as files.
pub struct Placed {
    manifest: PathBuf,
    /// The package that it came in, unpacked for as long as this lives.
    unpacked: Option<(PathBuf, TempDir)>,
}

impl Placed {
    /// The plugin at `path`: a manifest, a folder with one, or a package.
    pub fn open(path: &Path) -> Outcome<Placed> {
        if path.is_dir() {
            return Ok(Placed { manifest: manifest::find(path)?, unpacked: None });
        }
        if path.extension() != Some(OsStr::new(EXTENSION)) {
            return Ok(Placed { manifest: path.to_owned(), unpacked: None });
        }
        let package = PluginPackage::read(path)?;
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::io("cannot make a folder to unpack into", &error))?;
        package.unpack(folder.path())?;
        let manifest = folder.path().join(package.manifest_name());
        Ok(Placed { manifest, unpacked: Some((path.to_owned(), folder)) })
    }

    /// Where its manifest lies, with everything else beside it.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// What people know it by.
    pub fn shown(&self) -> &Path {
        self.unpacked.as_ref().map_or(&self.manifest, |(package, _)| package)
    }

    /// Loads it, and returns its name.
    pub fn load(&self, host: &PluginHost) -> Outcome<String> {
        let loaded = host.load_manifest(&self.manifest, &PluginManager::default());
        loaded.map_err(|error| self.named(error.into()))
    }

    /// The failure, in words of what people know.
    pub fn named(&self, failure: Failure) -> Failure {
        Failure { message: self.text(&failure.message), ..failure }
    }

    /// The text, with the package in the place of the folder that it was unpacked into.
    pub fn text(&self, text: &str) -> String {
        match &self.unpacked {
            None => text.to_owned(),
            Some((package, folder)) => {
                let (from, to) = (folder.path().display(), package.display());
                text.replace(&from.to_string(), &to.to_string())
            }
        }
    }
}

/// Puts the plugin into one file.
pub fn pack(session: &mut Session, args: &PluginPack) -> Outcome {
    let path = match args.plugin.is_dir() {
        true => manifest::find(&args.plugin)?,
        false => args.plugin.clone(),
    };
    let package = PluginPackage::gather(&path)?;
    let output = args.output.clone().unwrap_or_else(|| package.file_name().into());
    if output.extension() != Some(OsStr::new(EXTENSION)) {
        let text = format!("a package is called something.{EXTENSION}, not {}", output.display());
        return Err(Failure::invalid(text).help("that is how `sochdb plugin install` knows it"));
    }
    write(&output, package.bytes())?;
    let blake3 = package_hash(&package);
    let screen = &mut session.screen;
    if screen.json {
        let files: Vec<_> = package.files().map(|(name, _)| name).collect();
        return screen.object(&json!({
            "packed": package.name(),
            "version": package.version(),
            "package": output,
            "bytes": package.bytes().len(),
            "blake3": blake3,
            "files": files,
        }));
    }
    let (name, version) = (package.name(), package.version());
    let bytes = bytes_text(package.bytes().len() as u64);
    screen.line(format!("packed '{name}' {version}: {}, {bytes}", output.display()))?;
    let files = package.files();
    screen
        .pairs(files.map(|(name, bytes)| (format!("  {name}"), bytes_text(bytes.len() as u64))))?;
    screen.line(format!("blake3 {blake3}"))
}

fn package_hash(package: &PluginPackage) -> String {
    sochdb::host::plugin_package::hash(package.bytes())
}

/// Writes a whole file, or leaves what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |error| Failure::io(format!("cannot write {}", path.display()), &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new();
    // As a new file is made otherwise; temporary ones are their owner's only.
    #[cfg(unix)]
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = file.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    fs::write(file.path(), bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Failure {
        let text = error.to_string();
        match error {
            PackageError::NotOne { .. } => {
                Failure::invalid(text).help("`sochdb plugin pack` makes one")
            }
            PackageError::Newer { .. } => Failure::new(Exit::Corrupt, text)
                .help("`sochdb --version` shows which version this is"),
            PackageError::Damaged { .. } => Failure::new(Exit::Corrupt, text)
                .help("get it again from where it came from, and compare its hash"),
            PackageError::Refused { .. } | PackageError::Manifest(_) => Failure::invalid(text),
            PackageError::File(error) => Failure::from(error),
        }
    }
}
