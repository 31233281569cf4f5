//! `codec`: a plugin as a block codec of the kernel.
//!
//! What a guest answers is a hint until checked: a restored block has exactly the length that was
//! asked for, an answer much longer than its input is refused while it is copied, and the kernel
//! restores and compares each block before it writes it.

use super::codec_bindings::{Codec, CodecPre};
use super::{Exports, GuestState};
use crate::chain::{self, Caller};
use crate::limits::RESULT_SLACK_BYTES;
use crate::plugin::Plugin;
use crate::plugin_hot_reload::trial::codec::{Block, Blocks};
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use crate::versions::Versions;
use sochdb_kernel::plugin::{CompressionExtension, Extension, ExtensionInfo};
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

impl Exports for Codec {
    fn check(component: &InstancePre<GuestState>) -> wasmtime::Result<()> {
        CodecPre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<Self> {
        Codec::new(store, instance)
    }
}

/// A codec that runs in the sandbox.
pub struct WasmCodec {
    pub(crate) versions: Arc<Versions<Codec>>,
    /// For versions to come.
    pub(crate) samples: Blocks,
}

impl WasmCodec {
    pub(crate) fn new(pools: Arc<Pools<Codec>>) -> WasmCodec {
        WasmCodec { versions: Versions::new(pools), samples: Blocks::default() }
    }

    fn plugin(&self) -> Arc<Plugin> {
        self.versions.plugin()
    }

    /// The guest needs the block and its counterpart in its memory at once; rather than let it trap on
    /// its way there, say what would help.
    fn check_fits(&self, block_bytes: usize, other_bytes: usize) -> KernelResult<()> {
        let bound = self.plugin().grant.limits.memory_bytes_max;
        let got = (block_bytes as u64).saturating_add(other_bytes as u64);
        if got < bound {
            return Ok(());
        }
        Err(KernelError::Limit {
            what: "a block in a codec's memory (memory_limit_mb), in bytes,",
            got,
            bound,
        })
    }
}

impl Extension for WasmCodec {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.versions.shutdown()
    }
}

impl CompressionExtension for WasmCodec {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        self.check_fits(input.len(), input.len())?;
        // Formats add a little to what they cannot compress; more than an eighth is no codec.
        let result_bytes_max = input.len() + input.len() / 8;
        let terms = Terms::reading(result_bytes_max);
        let compress = |call: &mut Call<'_, Codec>| {
            call.exports.sochdb_plugin_codec().call_compress(&mut *call.store, input)
        };
        let stored = self.versions.call(&terms, "compress", compress, |stored, fallback| {
            // The version before must be able to read it, or there is no way back.
            if let Some(usual) = fallback {
                let restored = restore(usual, &stored, input.len());
                // Closed: this version was kept meanwhile.
                let is_kept = matches!(restored, Err(KernelError::Closed(_)));
                if !is_kept && restored.as_deref().ok() != Some(input) {
                    let text = "a block that the version before does not restore";
                    return Err(text.to_owned());
                }
            }
            Ok(stored)
        })?;
        if self.samples.stored.wants(input.len().max(stored.len())) {
            self.samples.stored.keep(block(input, &stored));
        }
        Ok(stored)
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        self.check_fits(input.len(), raw_bytes)?;
        let wanted = u32::try_from(raw_bytes).map_err(|_| KernelError::Limit {
            what: "the size of a block in bytes",
            got: raw_bytes as u64,
            bound: u64::from(u32::MAX),
        })?;
        let terms = Terms::reading(raw_bytes);
        let decompress = |call: &mut Call<'_, Codec>| {
            call.exports.sochdb_plugin_codec().call_decompress(&mut *call.store, input, wanted)
        };
        let raw = self.versions.call_compared(
            &terms,
            "decompress",
            decompress,
            |raw: Vec<u8>| match raw.len() {
                len if len == raw_bytes => Ok(raw),
                len => Err(format!("{len} bytes instead of {raw_bytes}")),
            },
        )?;
        if self.samples.restored.wants(input.len().max(raw_bytes)) {
            self.samples.restored.keep(block(&raw, input));
        }
        Ok(raw)
    }
}

/// A block to remember, and whose it is: of whoever led to the call.
fn block(raw: &[u8], stored: &[u8]) -> Block {
    let tenant = match chain::caller() {
        Caller::Guest(Some(tenant)) => Some(tenant.name().into()),
        Caller::Guest(None) | Caller::Host => None,
    };
    Block { tenant, raw: raw.to_vec(), stored: stored.to_vec() }
}

/// What one version of a codec makes of a block.
fn restore(version: &Pools<Codec>, block: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
    let wanted = u32::try_from(raw_bytes).unwrap_or(u32::MAX);
    version.call("decompress", raw_bytes, |call| {
        call.exports.sochdb_plugin_codec().call_decompress(&mut *call.store, block, wanted)
    })
}

const _: () =
    assert!(RESULT_SLACK_BYTES >= 1024, "a small block that does not compress still fits");
