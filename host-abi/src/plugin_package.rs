//! A plugin in one file, to be handed on: its component, its manifest, what is to be read beside them.
//!
//! `NAME-VERSION.sochdb-plugin` is a tar archive (POSIX ustar), so that `tar -xf` unpacks it. Its entries, in this order:
//!
//! | entry                | how often | most bytes | what it is                                             |
//! |----------------------|----------:|-----------:|--------------------------------------------------------|
//! | `sochdb-plugin`      |         1 |         88 | the head: version of the format, hash of all behind it |
//! | `NAME.toml`          |         1 |    262,144 | the manifest; it pins the component by its hash        |
//! | `NAME.toml.minisig`  |    0 or 1 |      8,192 | a [`signature`] of the manifest                        |
//! | `README.md`          |    0 or 1 |  1,048,576 | for people                                             |
//! | `LICENSE`            |    0 or 1 |    262,144 | under which terms                                      |
//! | `LICENSE-APACHE`     |    0 or 1 |    262,144 | the same                                               |
//! | `LICENSE-MIT`        |    0 or 1 |    262,144 | the same                                               |
//! | `NOTICE`             |    0 or 1 |    262,144 | the same                                               |
//! | what `[module]` says |         1 | 67,108,864 | the component                                          |
//!
//! The head is text: `sochdb-plugin 1`, a line feed, `blake3 `, 64 hex digits, a line feed. The hash is over every byte
//! behind the head's block, the padding included.
//!
//! An entry is a block that tells of it, then its bytes, filled up with zeros to whole blocks of 512:
//!
//! | offset | size | field      | what is in it                                                           |
//! |-------:|-----:|------------|-------------------------------------------------------------------------|
//! |      0 |  100 | `name`     | 1 to 99 of `A` to `Z`, `a` to `z`, `0` to `9`, `.`, `-`, `_`, no `.` first; zeros |
//! |    100 |    8 | `mode`     | `0000644`, zero                                                         |
//! |    108 |   16 | `uid, gid` | `0000000`, zero, twice                                                  |
//! |    124 |   12 | `size`     | of the bytes, 11 octal digits, zero                                     |
//! |    136 |   12 | `mtime`    | `00000000000`, zero                                                     |
//! |    148 |    8 | `chksum`   | the sum of the block's bytes, these as blanks: 6 octal digits, zero, blank |
//! |    156 |    1 | `typeflag` | `0`: a regular file                                                     |
//! |    157 |  100 | `linkname` | zeros                                                                   |
//! |    257 |    8 | `magic`    | `ustar`, zero, `00`                                                     |
//! |    265 |  247 | the rest   | names of user and group, device, prefix: zeros                          |
//!
//! Two blocks of zeros end the archive and the file.
//!
//! 1. What a package has been made of decides each of its bytes: no time, no owner, no order of its own.
//! 2. A package that is read is, byte for byte, what making it anew gives. So it has no links, no folders, no entry
//!    twice and none beside these.
//! 3. The manifest pins the component that lies beside it.

mod read;
#[cfg(test)]
mod tests;
mod ustar;

use crate::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::plugin_manifest::{ManifestError, ModuleSource, PluginManifest};
use crate::signature::{self, SIGNATURE_BYTES_MAX};
use crate::{component, strict_toml};
use sochdb_kernel::{ErrorKind, KernelError};
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use ustar::BLOCK_BYTES;

/// What a package's file is called behind the last dot.
pub const EXTENSION: &str = "sochdb-plugin";
/// The version of the format that is written, and the only one that is read.
pub const PACKAGE_VERSION: u32 = 1;
/// 1 MiB. Whoever has more to tell links to it.
pub const README_BYTES_MAX: u64 = 1 << 20;
/// 256 KiB. The longest of the usual licences has 35.
pub const LICENSE_BYTES_MAX: u64 = 256 << 10;
/// 68 MiB: everything at its most, and a block or two for each.
pub const PACKAGE_BYTES_MAX: u64 = 68 << 20;

const HEAD_NAME: &str = "sochdb-plugin";
const README_NAME: &str = "README.md";
/// In the order in which they lie in a package.
const LICENSE_NAMES: [&str; 4] = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE"];
const HEAD_BYTES: usize = "sochdb-plugin 1\nblake3 ".len() + 64 + 1;
const _: () = assert!(HEAD_BYTES == 88, "the table above says 88");
const _: () = assert!(
    MANIFEST_BYTES_MAX
        + SIGNATURE_BYTES_MAX
        + README_BYTES_MAX
        + LICENSE_NAMES.len() as u64 * LICENSE_BYTES_MAX
        + COMPONENT_BYTES_MAX
        < PACKAGE_BYTES_MAX - (2 * 9 + 4) * BLOCK_BYTES as u64,
    "everything at its most is a package"
);

/// A plugin in one file.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginPackage {
    bytes: Vec<u8>,
    manifest: String,
    name: String,
    version: String,
    /// Everything but the head, in order.
    entries: Vec<Entry>,
}

/// A file in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    /// Where its bytes lie.
    at: Range<usize>,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file is something else.
    #[error("{file} is no plugin package: {why}")]
    NotOne {
        /// The file, as it was named.
        file: String,
        /// What gives it away.
        why: &'static str,
    },
    /// A later program wrote it.
    #[error(
        "{file} is a plugin package of format {version}, and this program reads format {PACKAGE_VERSION}"
    )]
    Newer {
        /// The file, as it was named.
        file: String,
        /// Its format.
        version: u32,
    },
    /// Bytes are not what was written.
    #[error("{file} is damaged at byte {offset}: {why}")]
    Damaged {
        /// The file, as it was named.
        file: String,
        /// Where.
        offset: usize,
        /// What was found, and what would be right.
        why: String,
    },
    /// It was written like this, and should not have been.
    #[error("{file} cannot be a plugin package: {why}")]
    Refused {
        /// The file, as it was named.
        file: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// Its manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] KernelError),
}

type Result<T> = std::result::Result<T, PackageError>;

impl PluginPackage {
    /// Packs the manifest at `manifest`, the component that it names, and what lies beside it: its signature,
    /// `README.md` and licences.
    ///
    /// # Errors
    /// [`Refused`](PackageError::Refused) when the manifest does not pin the component that lies there, or it cannot lie in
    /// one folder with the rest; otherwise whatever reading them gives.
    pub fn gather(manifest: &Path) -> Result<PluginPackage> {
        let shown = manifest.display().to_string();
        let refused = |why: String| PackageError::Refused { file: shown.clone(), why };
        let text = strict_toml::read_file("manifest", manifest, MANIFEST_BYTES_MAX)?;
        let parsed = PluginManifest::parse(&shown, &text)?;
        let component_name = component_name(&parsed).map_err(refused)?;
        let folder = manifest.parent().unwrap_or(Path::new(""));
        let component = component::read(folder, component_name)?;
        check_pin(&parsed, &component).map_err(|why| {
            refused(format!("{why}; `sochdb plugin build` builds it and writes its hash there"))
        })?;
        let mut files = vec![(format!("{}.toml", parsed.name), text.clone().into_bytes())];
        if let Some(signature) = signature::read_beside(manifest)? {
            files.push((format!("{}.toml.minisig", parsed.name), signature.into_bytes()));
        }
        let beside = LICENSE_NAMES.map(|name| (name, LICENSE_BYTES_MAX));
        for (name, bytes_max) in [(README_NAME, README_BYTES_MAX)].into_iter().chain(beside) {
            match strict_toml::read_file("file", &folder.join(name), bytes_max) {
                Ok(text) => files.push((name.to_owned(), text.into_bytes())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Limit => {
                    return Err(refused(format!("its {name} has more than {bytes_max} bytes")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        files.push((component_name.to_owned(), component));
        let bytes = encode(&files);
        // What cannot be read again is not written.
        read::decode(&shown, bytes)
    }

    /// Reads the package at `path`.
    ///
    /// # Errors
    /// All of [`PackageError`].
    pub fn read(path: &Path) -> Result<PluginPackage> {
        let shown = path.display().to_string();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                KernelError::NotFound { kind: "plugin package", name: shown.clone() }
            }
            _ => KernelError::io(format!("read the plugin package {shown}"), error),
        };
        // Asked before opening, because opening a named pipe would wait for its writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(PackageError::NotOne { file: shown, why: "it is not a regular file" });
        }
        let file = fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, PACKAGE_BYTES_MAX + 1), &mut bytes)
            .map_err(failed)?;
        PluginPackage::decode(&shown, bytes)
    }

    /// Reads a package. `file` is only named in errors.
    ///
    /// # Errors
    /// All of [`PackageError`] but [`File`](PackageError::File).
    pub fn decode(file: &str, bytes: Vec<u8>) -> Result<PluginPackage> {
        read::decode(file, bytes)
    }

    /// What the plugin is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plugin's own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a package of this plugin is called: `NAME-VERSION.sochdb-plugin`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.{EXTENSION}", self.name, self.version)
    }

    /// The manifest, as it was written.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// What the manifest is called in it.
    pub fn manifest_name(&self) -> &str {
        &self.entries[0].name
    }

    /// The package itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The files in it, by name, in their order: the manifest is the first, the component the last.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|entry| (entry.name.as_str(), &self.bytes[entry.at.clone()]))
    }

    /// Writes its files into `folder`, which is there, and where none of them is.
    ///
    /// # Errors
    /// [`File`](PackageError::File) with the operating system's word.
    pub fn unpack(&self, folder: &Path) -> Result<()> {
        for (name, bytes) in self.files() {
            let path = folder.join(name);
            let failed = |error| KernelError::io(format!("write {}", path.display()), error);
            // A name has no separator in it, and what is there already is not written over.
            let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
            file.and_then(|mut file| file.write_all(bytes)).map_err(failed)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for PluginPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginPackage").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// The bytes of a package with these files.
fn encode(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 2 * BLOCK_BYTES];
    for (name, file) in files {
        ustar::append(&mut bytes, name, file);
    }
    bytes.resize(bytes.len() + 2 * BLOCK_BYTES, 0);
    let head = head(&blake3::hash(&bytes[2 * BLOCK_BYTES..]));
    let mut begin = Vec::with_capacity(2 * BLOCK_BYTES);
    ustar::append(&mut begin, HEAD_NAME, head.as_bytes());
    bytes[..2 * BLOCK_BYTES].copy_from_slice(&begin);
    bytes
}

fn head(blake3: &blake3::Hash) -> String {
    format!("{HEAD_NAME} {PACKAGE_VERSION}\nblake3 {blake3}\n")
}

/// The file that the manifest names, as the package has it.
///
/// # Errors
/// Why a package cannot have it.
fn component_name(manifest: &PluginManifest) -> std::result::Result<&str, String> {
    match &manifest.module {
        ModuleSource::Bundled(name) => Err(format!(
            "the component '{name}' is part of the program, not a file; a package needs [module] path"
        )),
        ModuleSource::Path(path) => match ustar::check_name(path) {
            Ok(()) if is_free(&manifest.name, path) => Ok(path),
            Ok(()) => Err(format!("a component cannot be called {path:?}: another file is")),
            Err(why) => Err(format!("a component in a package cannot be called {path:?}: {why}")),
        },
    }
}

/// Whether no other file of the package of the plugin `plugin` is called `name`, in capitals or not.
fn is_free(plugin: &str, name: &str) -> bool {
    let own = [format!("{plugin}.toml"), format!("{plugin}.toml.minisig")];
    let others = [HEAD_NAME, README_NAME].into_iter().chain(LICENSE_NAMES);
    !others.chain(own.iter().map(String::as_str)).any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether the manifest pins this component.
///
/// # Errors
/// Why not.
fn check_pin(manifest: &PluginManifest, component: &[u8]) -> std::result::Result<(), String> {
    let found = blake3::hash(component);
    match manifest.blake3 {
        Some(pinned) if pinned == found => Ok(()),
        Some(pinned) => Err(format!("[module] blake3 is {pinned}, its component has {found}")),
        None => Err("the manifest has no [module] blake3".to_owned()),
    }
}

/// The BLAKE3 hash of `bytes` in hex, as `[module] blake3` has a component's.
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}
