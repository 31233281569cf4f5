//! The plugins that were built into this program.
//!
//! The build script compiles every folder of `plugins/` and lists it here with its manifest. Without
//! the feature `bundled` the list is empty.

use crate::plugin_manifest::{ManifestError, PluginManifest};
use flate2::read::DeflateDecoder;
use std::io::Read;

/// One plugin that was built in.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// What a manifest's `bundled` says.
    pub name: &'static str,
    /// Its manifest, as it lies in `manifests/`.
    pub manifest: &'static str,
    /// Its component.
    pub component: Packed,
}

/// A component that is deflated in this program. Where its compiled code is cached, nobody needs more of it than its hash.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    deflated: &'static [u8],
    len: usize,
    blake3: [u8; 32],
}

impl Bundled {
    /// Its manifest, read.
    ///
    /// # Errors
    /// None that a test has not met.
    pub fn manifest(&self) -> Result<PluginManifest, ManifestError> {
        PluginManifest::parse(&format!("manifests/{}.toml", self.name), self.manifest)
    }
}

impl Packed {
    /// The component, unpacked: some milliseconds for each megabyte.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut component = Vec::with_capacity(self.len);
        let unpacked = DeflateDecoder::new(self.deflated).read_to_end(&mut component);
        unpacked.expect("the build script packed it");
        component
    }

    /// How many bytes that is.
    pub fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// The component's hash.
    pub fn blake3(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(self.blake3)
    }
}

/// Every plugin that was built in, sorted by name. One place in the program: a constant would be in each crate that names it.
pub static PLUGINS: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The plugin called `name`.
pub fn find(name: &str) -> Option<&'static Bundled> {
    PLUGINS.iter().find(|plugin| plugin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_whole() {
        assert_eq!(PLUGINS.is_empty(), !cfg!(feature = "bundled"));
        for plugin in PLUGINS {
            let component = plugin.component.to_vec();
            assert_eq!(component.len() as u64, plugin.component.bytes(), "{}", plugin.name);
            assert_eq!(blake3::hash(&component), plugin.component.blake3(), "{}", plugin.name);
        }
    }
}
