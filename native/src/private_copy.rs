//! A library's bytes: read once, hashed, and copied to where nobody can change them.
//!
//! A dynamic linker opens files by name. Given the name of the file that was hashed, it could find another
//! file there; so it is given the name of a copy:
//!
//! | system | the copy                                                                                |
//! |--------|-----------------------------------------------------------------------------------------|
//! | Linux  | anonymous memory, sealed against every change before it is opened: `/proc/self/fd/N`     |
//! | others | a file only for this user in a folder only for this user, removed as soon as it is open  |
//!
//! Elsewhere than on Linux, another program of the same user could still change the copy; such a program
//! could as well change this process.

use sochdb_kernel::{KernelError, KernelResult};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// 256 MiB: a large plugin with its debugging information.
const LIBRARY_BYTES_MAX: u64 = 256 << 20;

/// Reads the library at `path`, once. Links are followed: what counts is what is read.
///
/// # Errors
/// `NotFound`, `Limit` when it is too large, `Invalid` when it is no regular file, `Unavailable` with the
/// operating system's word.
pub(crate) fn read(path: &Path) -> KernelResult<Vec<u8>> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            KernelError::NotFound { kind: "native plugin", name: shown.to_string() }
        }
        _ => KernelError::io(format!("read the native plugin {shown}"), error),
    };
    let not_regular =
        || KernelError::invalid(format!("the native plugin {shown} is not a regular file"));
    // Asked before opening, because opening a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let mut bytes = Vec::new();
    file.take(LIBRARY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let (got, bound) = (bytes.len() as u64, LIBRARY_BYTES_MAX);
    if got > bound {
        return Err(KernelError::Limit {
            what: "the size of a native plugin in bytes",
            got,
            bound,
        });
    }
    Ok(bytes)
}

/// The copy. The dynamic linker remembers libraries by name, so on Linux, where the name has the number of
/// an open file in it, it is kept as long as the library: otherwise the number, and so the name, would be
/// given to another.
pub(crate) struct PrivateCopy {
    #[cfg(target_os = "linux")]
    file: File,
    #[cfg(not(target_os = "linux"))]
    folder: tempfile::TempDir,
    #[cfg(not(target_os = "linux"))]
    name: PathBuf,
}

#[cfg(target_os = "linux")]
impl PrivateCopy {
    /// Copies `bytes`. `name` is what debuggers and `/proc/self/maps` show.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn new(name: &OsStr, bytes: &[u8]) -> io::Result<PrivateCopy> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        use std::os::unix::ffi::OsStrExt;

        // The system's bound on such names.
        let name = &name.as_bytes()[..name.len().min(200)];
        let mut file =
            File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(bytes)?;
        let every_change = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, every_change)?;
        Ok(PrivateCopy { file })
    }

    /// Where the dynamic linker finds it.
    pub(crate) fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Called when the library is open.
    pub(crate) fn opened(self) -> PrivateCopy {
        self
    }
}

#[cfg(not(target_os = "linux"))]
impl PrivateCopy {
    /// Copies `bytes`. The file keeps its `name`, which is what debuggers show.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn new(name: &OsStr, bytes: &[u8]) -> io::Result<PrivateCopy> {
        let folder = tempfile::Builder::new().prefix("sochdb-plugin-").tempdir()?;
        let name = folder.path().join(name);
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&name)?.write_all(bytes)?;
        Ok(PrivateCopy { folder, name })
    }

    /// Where the dynamic linker finds it.
    pub(crate) fn path(&self) -> PathBuf {
        self.name.clone()
    }

    /// Called when the library is open: removes the file where the system can, which Windows cannot.
    pub(crate) fn opened(self) {
        if let Err(error) = self.folder.close() {
            tracing::debug!(%error, "the copy of a native plugin stays until someone removes it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_copy_cannot_be_changed_by_anyone() {
        let copy = PrivateCopy::new(OsStr::new("librle.so"), b"hashed").unwrap();
        assert_eq!(fs::read(copy.path()).unwrap(), b"hashed");
        (&copy.file).write_all(b"changed").unwrap_err();
        copy.file.set_len(3).unwrap_err();
        if let Ok(mut again) = File::options().write(true).open(copy.path()) {
            again.write_all(b"changed").unwrap_err();
        }
        assert_eq!(fs::read(copy.path()).unwrap(), b"hashed");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = read(&folder.path().join("nowhere.so")).unwrap_err();
        assert!(matches!(error, KernelError::NotFound { .. }), "{error}");
    }
}
