//! A plugin that was loaded, and the kernel's traits on top of its calls.

use crate::instance::{CodecCall, Instance};
use crate::json;
use crate::library::{Functions, Library, Table};
use crate::private_copy;
use crate::trust::Trust;
use blake3::Hash;
use sochdb_kernel::limits::VALUE_BYTES_MAX;
use sochdb_kernel::plugin::{
    CompressionExtension, Extension, ExtensionInfo, ObservabilityExtension, Page, PluginManager,
    TelemetryBatch,
};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::path::Path;
use std::sync::Arc;

/// Formats add a little to what they cannot compress; more than an eighth and this is no codec.
const RESULT_SLACK_BYTES: usize = 1024;

/// A native plugin whose code is in this process.
///
/// ```no_run
/// use sochdb_kernel::plugin::PluginManager;
/// use sochdb_native::{NativePlugin, Trust};
///
/// # fn main() -> sochdb_kernel::KernelResult<()> {
/// # let plugins = PluginManager::default();
/// let hash = "0f1b9d3a5c7e2f4860a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607";
/// // SAFETY: built by us from reviewed sources, and this is the hash of that build.
/// let trust = unsafe { Trust::by_hash([hash]) }?;
/// NativePlugin::load("plugins/librle.so", &trust)?.register(&plugins)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NativePlugin {
    table: Table,
    blake3: Hash,
}

impl NativePlugin {
    /// Loads the plugin in the file `path`, if `trust` covers the file.
    ///
    /// The code stays in the process until it ends, also when this fails after the library was opened.
    ///
    /// # Errors
    /// `Plugin` with `Denied` when it is not trusted: nothing in the file ran then. `NotFound`; `Limit`
    /// above 256 MiB; `Invalid` when it is no library, no plugin, or one for another version of the
    /// interface; `Plugin` with `Lied` when what it says of itself fails a check; `Unavailable` when the
    /// operating system fails.
    pub fn load(path: impl AsRef<Path>, trust: &Trust) -> KernelResult<NativePlugin> {
        let path = path.as_ref();
        let bytes = private_copy::read(path)?;
        let blake3 = blake3::hash(&bytes);
        if !trust.covers(&blake3) {
            let message = format!(
                "native plugins are loaded only when they are trusted, and this file is not; its BLAKE3 \
                 hash is {blake3}"
            );
            let shown = path.display().to_string();
            return Err(KernelError::plugin(&shown, PluginFault::Denied, message));
        }
        let table = vouched_for::table(path, &blake3, &bytes)?;
        let name = &table.info.name;
        tracing::info!(plugin = name, path = %path.display(), %blake3, "native plugin loaded");
        Ok(NativePlugin { table, blake3 })
    }

    /// Who the plugin says it is.
    pub fn info(&self) -> &ExtensionInfo {
        &self.table.info
    }

    /// The BLAKE3 hash of the file that was loaded, in hexadecimal digits.
    pub fn blake3(&self) -> String {
        self.blake3.to_hex().to_string()
    }

    /// Makes an instance of the plugin and registers it with a database's `plugins`, in the place of one
    /// with the same name. The database shuts it down when it closes.
    ///
    /// # Errors
    /// `Plugin` when the plugin refuses.
    pub fn register(&self, plugins: &PluginManager) -> KernelResult<()> {
        let running = Running(vouched_for::instance(&self.table)?);
        match self.table.functions {
            Functions::Codec { .. } => plugins.register_compression(Arc::new(running)),
            Functions::Observer { .. } => plugins.register_observability(Arc::new(running)),
        }
        Ok(())
    }
}

/// The two steps for which [`Trust`] is the reason that they may be taken.
#[allow(unsafe_code, reason = "hands the promise of `Trust` on to the modules with the calls")]
mod vouched_for {
    use super::*;

    /// Only for bytes that a [`Trust`] covers.
    pub(super) fn table(path: &Path, hash: &Hash, bytes: &[u8]) -> KernelResult<Table> {
        // SAFETY: `load`, the only caller, has asked the trust, and whoever made that vouched for it.
        unsafe { Library::open(path, hash, bytes)?.table(path) }
    }

    /// Only for a table that [`table`] answered.
    pub(super) fn instance(table: &Table) -> KernelResult<Instance> {
        // SAFETY: a `NativePlugin` has its table from `table` above, so that its code is vouched for, and
        // libraries are never closed.
        unsafe { Instance::init(table) }
    }
}

/// A plugin at work, as the kernel sees it.
pub(crate) struct Running(pub(crate) Instance);

impl Extension for Running {
    fn info(&self) -> ExtensionInfo {
        self.0.info.clone()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.0.shutdown()
    }
}

impl CompressionExtension for Running {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        let room = input.len() + input.len() / 8 + RESULT_SLACK_BYTES;
        self.0.code(CodecCall::Compress, input, room)
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        if raw_bytes > VALUE_BYTES_MAX {
            let (got, bound) = (raw_bytes as u64, VALUE_BYTES_MAX as u64);
            return Err(KernelError::Limit { what: "the size of a block in bytes", got, bound });
        }
        let raw = self.0.code(CodecCall::Decompress, input, raw_bytes)?;
        if raw.len() == raw_bytes {
            return Ok(raw);
        }
        let message = format!("decompress answered {} bytes instead of {raw_bytes}", raw.len());
        Err(KernelError::plugin(&self.0.info.name, PluginFault::Lied, message))
    }
}

impl ObservabilityExtension for Running {
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()> {
        self.0.ingest(&json::batch(batch))
    }

    /// The C interface has one kind of page: text.
    fn render(&self, _accept: &str) -> KernelResult<Page> {
        let content_type = "text/plain; charset=utf-8".to_owned();
        Ok(Page { content_type, body: self.0.render()? })
    }
}
