//! The cache of compiled code where files have no owner and mode that we could check: there is none.

use super::artifact::{Artifact, CodeId, Kept};
use sochdb_kernel::{KernelError, KernelResult};
use std::path::Path;

/// A folder of compiled code. This system has no way to tell that it is ours alone, so there is none.
#[derive(Debug, Clone)]
pub enum CodeCache {}

impl CodeCache {
    /// Opens the cache in the folder `dir`.
    ///
    /// # Errors
    /// `Unavailable`, always.
    pub fn open(dir: &Path) -> KernelResult<CodeCache> {
        Err(KernelError::unavailable(format!(
            "cache compiled code in {}: this system does not say whose a file is",
            dir.display()
        )))
    }

    /// The cache of the user whose process this is: none.
    pub fn user() -> Option<CodeCache> {
        None
    }

    pub(super) fn load(&self, _: &CodeId) -> Option<Kept> {
        match *self {}
    }

    pub(super) fn store(&self, _: &CodeId, _: &Artifact) {
        match *self {}
    }
}
