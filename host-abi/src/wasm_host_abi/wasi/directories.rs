//! The directories of the machine that were granted to a plugin, opened when it is loaded.
//!
//! From then on only the handle counts: whatever is put in the place of a directory later, no instance
//! sees it.

use crate::policy::Grant;
use cap_std::ambient_authority;
use cap_std::fs::Dir as AmbientDir;
use sochdb_kernel::{KernelError, KernelResult};
use wasmtime_wasi::filesystem::Dir;
use wasmtime_wasi::{FsPerms, OpenMode};

/// Open directories, and what guests call them.
#[derive(Clone, Default)]
pub(crate) struct Directories(pub(super) Vec<(Dir, String)>);

impl Directories {
    /// Opens what was granted.
    ///
    /// # Errors
    /// `Unavailable` for a directory that is missing or cannot be opened.
    pub(crate) fn open(grant: &Grant) -> KernelResult<Directories> {
        let opened = grant.directories.iter().map(|directory| {
            let opened = AmbientDir::open_ambient_dir(&directory.host, ambient_authority());
            let opened = opened.map_err(|error| {
                KernelError::io(format!("open the granted directory {}", directory.host), error)
            })?;
            let (permissions, mode) = match directory.write {
                true => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
                false => (FsPerms::ReadOnly, OpenMode::READ),
            };
            let dir = Dir::new(opened.into_std_file(), permissions, mode, true);
            Ok((dir, directory.guest.clone()))
        });
        Ok(Directories(opened.collect::<KernelResult<_>>()?))
    }
}
