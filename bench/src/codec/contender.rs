//! A codec in the sandbox, natively, in C.

use crate::Result;
use clap::ValueEnum;
use serde::Serialize;
use sochdb_host_abi::{PluginHost, bundled};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager};
use sochdb_plugin_lz4::block as lz4;
use sochdb_plugin_zstd::block as zstd;
use std::sync::Arc;

/// A codec at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// LZ4, which has one level
    Lz4,
    /// Zstandard at level 1
    #[value(name = "zstd-1")]
    #[serde(rename = "zstd-1")]
    Zstd1,
    /// Zstandard at level 3
    #[value(name = "zstd-3")]
    #[serde(rename = "zstd-3")]
    Zstd3,
    /// Zstandard at level 9
    #[value(name = "zstd-9")]
    #[serde(rename = "zstd-9")]
    Zstd9,
    /// Zstandard at level 19
    #[value(name = "zstd-19")]
    #[serde(rename = "zstd-19")]
    Zstd19,
}

impl Codec {
    /// Whether blocks do not depend on the machine that makes them.
    pub fn is_one_on_all_machines(self) -> bool {
        self != Codec::Lz4
    }

    /// What the table and the sandbox call it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Lz4 => "lz4",
            Codec::Zstd1 => "zstd-1",
            Codec::Zstd3 => "zstd-3",
            Codec::Zstd9 => "zstd-9",
            Codec::Zstd19 => "zstd-19",
        }
    }

    /// The level of Zstandard; `None` for LZ4.
    pub fn level(self) -> Option<i32> {
        match self {
            Codec::Lz4 => None,
            Codec::Zstd1 => Some(1),
            Codec::Zstd3 => Some(3),
            Codec::Zstd9 => Some(9),
            Codec::Zstd19 => Some(19),
        }
    }

    /// The manifest of the bundled plugin, with the level, under a name of its own.
    fn manifest(self) -> Result<String> {
        let plugin = if self == Codec::Lz4 { "lz4" } else { "zstd" };
        let found = bundled::find(plugin).ok_or("the plugins are not bundled")?;
        let renamed = changed(
            found.manifest,
            &format!("\nname = \"{plugin}\""),
            &format!("\nname = \"{}\"", self.name()),
        )?;
        match self.level() {
            None => Ok(renamed),
            Some(level) => changed(&renamed, "\nlevel = 3", &format!("\nlevel = {level}")),
        }
    }
}

/// `text` with `to` in the place of `from`, which must be there once.
fn changed(text: &str, from: &str, to: &str) -> Result<String> {
    match text.matches(from).count() {
        1 => Ok(text.replacen(from, to, 1)),
        count => Err(format!("a manifest has {from:?} {count} times").into()),
    }
}

/// The host and its codecs.
pub struct Sandbox {
    plugins: PluginManager,
    _host: PluginHost,
}

impl Sandbox {
    /// A host with these codecs, as a database has it.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub fn new(codecs: &[Codec]) -> Result<Sandbox> {
        let (host, plugins) = (PluginHost::new()?, PluginManager::default());
        let folder = tempfile::tempdir()?;
        for codec in codecs {
            let path = folder.path().join(format!("{}.toml", codec.name()));
            std::fs::write(&path, codec.manifest()?)?;
            host.load_manifest(&path, &plugins)?;
        }
        Ok(Sandbox { plugins, _host: host })
    }
}

/// Who compresses.
pub enum Contender {
    /// The plugin.
    Sandbox(Arc<dyn CompressionExtension>),
    /// The plugin's own code, compiled with this program.
    Lz4,
    /// The same, of Zstandard.
    Zstd(Box<zstd::Compressor>),
    /// The C library.
    #[cfg(feature = "c-codecs")]
    C(super::native_c::Library),
}

impl Contender {
    /// The three of `codec`, in the order of the table: sandbox, native, C.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn all(sandbox: &Sandbox, codec: Codec) -> Result<[Option<Contender>; 3]> {
        let native = match codec.level() {
            None => Contender::Lz4,
            Some(level) => Contender::Zstd(Box::new(zstd::Compressor::new(level, None))),
        };
        #[cfg(feature = "c-codecs")]
        let c = Some(Contender::C(super::native_c::Library::new(codec.level())?));
        #[cfg(not(feature = "c-codecs"))]
        let c = None;
        let plugin = sandbox.plugins.compression(codec.name())?;
        Ok([Some(Contender::Sandbox(plugin)), Some(native), c])
    }

    /// Compresses one block.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn compress(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        match self {
            Contender::Sandbox(codec) => Ok(codec.compress(block)?),
            Contender::Lz4 => Ok(lz4::compress(block)),
            Contender::Zstd(compressor) => Ok(compressor.compress(block)),
            #[cfg(feature = "c-codecs")]
            Contender::C(library) => library.compress(block),
        }
    }

    /// Restores a block of `raw_bytes`.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn restore(&mut self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        match self {
            Contender::Sandbox(codec) => Ok(codec.decompress(stored, raw_bytes)?),
            Contender::Lz4 => Ok(lz4::decompress(stored, raw_bytes)?),
            Contender::Zstd(_) => Ok(zstd::decompress(stored, raw_bytes, None)?),
            #[cfg(feature = "c-codecs")]
            Contender::C(library) => library.restore(stored, raw_bytes),
        }
    }
}
