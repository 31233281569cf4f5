//! The plugins that were built into this program.
//!
//! The build script compiles every folder of `plugins/` and lists it here with its manifest. Without
//! the feature `bundled` the list is empty.

use crate::plugin_manifest::{ManifestError, PluginManifest};

/// One plugin that was built in.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// What a manifest's `bundled` says.
    pub name: &'static str,
    /// Its manifest, as it lies in `manifests/`.
    pub manifest: &'static str,
    /// Its component.
    pub component: &'static [u8],
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

/// Every plugin that was built in, sorted by name. One place in the program: a constant would be in each crate that names it.
pub static PLUGINS: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The plugin called `name`.
pub fn find(name: &str) -> Option<&'static Bundled> {
    PLUGINS.iter().find(|plugin| plugin.name == name)
}
