//! The plugin under test: its manifest, copied to a folder of its own, and later versions of it.

use sochdb_host_abi::plugin_manifest::ModuleSource;
use sochdb_host_abi::{PluginManifest, bundled};
use sochdb_kernel::{KernelError, KernelResult};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A plugin on disk. Versions of it are the same component under manifests with other numbers.
pub(super) struct Subject {
    pub(super) manifest: PluginManifest,
    text: String,
    folder: TempDir,
    component_bytes: u64,
}

impl Subject {
    /// Copies the manifest at `path`, its signature and its component, so that nothing changes while it is tested.
    ///
    /// # Errors
    /// `NotFound` for a missing file, `Invalid` for a manifest that makes no sense.
    pub(super) fn read(path: &Path) -> KernelResult<Subject> {
        let text = String::from_utf8(read(path, "manifest")?)
            .map_err(|_| KernelError::invalid(format!("{} is no UTF-8", path.display())))?;
        let manifest = PluginManifest::parse(&path.display().to_string(), &text)?;
        let folder =
            tempfile::tempdir().map_err(|error| KernelError::io("make a folder", error))?;
        let (component, component_bytes) = match &manifest.module {
            ModuleSource::Path(file) => {
                let beside = path.parent().unwrap_or(Path::new(""));
                let component = read(&beside.join(file), "component")?;
                let bytes = component.len() as u64;
                (Some((file, component)), bytes)
            }
            ModuleSource::Bundled(name) => {
                (None, bundled::find(name).map_or(0, |found| found.component.bytes()))
            }
        };
        if let Some((file, component)) = component {
            write(&folder.path().join(file), &component)?;
        }
        let signature = path.with_added_extension("minisig");
        let copy = folder.path().join("plugin.toml");
        write(&copy, text.as_bytes())?;
        if signature.is_file() {
            write(&copy.with_added_extension("minisig"), &read(&signature, "signature")?)?;
        }
        Ok(Subject { manifest, text, folder, component_bytes })
    }

    pub(super) fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Its manifest, as it was when it was read.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("plugin.toml")
    }

    pub(super) fn component_bytes(&self) -> u64 {
        self.component_bytes
    }

    /// A manifest that makes it a version which is `number` later, and otherwise the same.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub(super) fn version(&self, number: u64) -> KernelResult<PathBuf> {
        let bad = |error: &dyn std::fmt::Display| KernelError::invalid(error.to_string());
        let mut table: toml::Table = self.text.parse().map_err(|error| bad(&error))?;
        let base = &self.manifest.version;
        let version =
            format!("{}.{}.{}", base.major, base.minor, base.patch.saturating_add(number));
        if let Some(toml::Value::Table(plugin)) = table.get_mut("plugin") {
            plugin.insert("version".to_owned(), version.into());
        }
        let path = self.folder.path().join(format!("version-{number}.toml"));
        let text = toml::to_string(&table).map_err(|error| bad(&error))?;
        write(&path, text.as_bytes())?;
        Ok(path)
    }
}

fn read(path: &Path, kind: &'static str) -> KernelResult<Vec<u8>> {
    fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            KernelError::NotFound { kind, name: path.display().to_string() }
        }
        _ => KernelError::io(format!("read {}", path.display()), error),
    })
}

fn write(path: &Path, bytes: &[u8]) -> KernelResult<()> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = made.and_then(|()| fs::write(path, bytes));
    written.map_err(|error| KernelError::io(format!("write {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_differs_in_its_number_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lz4.toml");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/lz4.toml");
        fs::copy(manifest, &path).unwrap();
        let subject = Subject::read(&path).unwrap();
        let text = fs::read_to_string(subject.version(3).unwrap()).unwrap();
        let later = PluginManifest::parse("later.toml", &text).unwrap();
        assert_eq!(later.version.to_string(), "0.1.3");
        assert_eq!(
            PluginManifest { version: subject.manifest.version.clone(), ..later },
            subject.manifest
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Subject::read(&folder.path().join("none.toml")).err().unwrap();
        assert!(error.to_string().contains("none.toml"), "{error}");
        let path = folder.path().join("x.toml");
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/lz4.toml"));
        fs::write(&path, text.unwrap().replace("bundled = \"lz4\"", "path = \"x.wasm\"")).unwrap();
        let error = Subject::read(&path).err().unwrap();
        assert!(error.to_string().contains("x.wasm"), "{error}");
    }
}
