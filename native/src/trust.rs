//! Whom an embedder trusts to be part of the process.

use blake3::Hash;
use sochdb_kernel::{KernelError, KernelResult};

/// Which files may be loaded as native plugins. Whoever makes one that allows anything vouches for the
/// code behind it, which is why that takes `unsafe`.
#[derive(Debug, Clone, Default)]
pub struct Trust(Whom);

#[derive(Debug, Clone, Default)]
enum Whom {
    #[default]
    Nobody,
    Hashes(Vec<Hash>),
    Everything,
}

#[allow(unsafe_code, reason = "no unsafe code is here: `unsafe` is how a promise is asked for")]
impl Trust {
    /// No file at all.
    pub fn nobody() -> Trust {
        Trust::default()
    }

    /// The files with these BLAKE3 hashes, each as 64 hexadecimal digits: what `b3sum` prints, and what the
    /// refusal of an unknown file names.
    ///
    /// # Errors
    /// `Invalid` when one is no such hash.
    ///
    /// # Safety
    /// The code in these files, and in the libraries they need, keeps the rules of `sochdb_plugin.h`,
    /// touches no memory but its own and what it is handed, and does so from every thread.
    pub unsafe fn by_hash<H: AsRef<str>>(
        hashes: impl IntoIterator<Item = H>,
    ) -> KernelResult<Trust> {
        let parse = |hash: H| {
            Hash::from_hex(hash.as_ref()).map_err(|error| {
                KernelError::invalid(format!("{:?} is no BLAKE3 hash: {error}", hash.as_ref()))
            })
        };
        Ok(Trust(Whom::Hashes(hashes.into_iter().map(parse).collect::<KernelResult<_>>()?)))
    }

    /// Every file, whatever is in it: for programs that load only what they came with.
    ///
    /// # Safety
    /// As [`by_hash`](Self::by_hash), for every file that this is used with, as that file is then.
    pub unsafe fn every_plugin_in_this_process_may_do_anything() -> Trust {
        Trust(Whom::Everything)
    }

    pub(crate) fn covers(&self, hash: &Hash) -> bool {
        match &self.0 {
            Whom::Nobody => false,
            Whom::Hashes(hashes) => hashes.contains(hash),
            Whom::Everything => true,
        }
    }
}
