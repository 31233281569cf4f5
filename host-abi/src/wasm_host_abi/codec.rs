//! `codec`: a plugin as a block codec of the kernel.
//!
//! What a guest answers is a hint until checked: a restored block has exactly the length that was
//! asked for, an answer much longer than its input is refused while it is copied, and the kernel
//! restores and compares each block before it writes it.

use super::codec_bindings::{Codec, CodecPre};
use super::{Exports, GuestState};
use crate::limits::RESULT_SLACK_BYTES;
use crate::plugin::Plugin;
use crate::pools::Pools;
use sochdb_kernel::plugin::{CompressionExtension, Extension, ExtensionInfo};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
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
    pools: Arc<Pools<Codec>>,
}

impl WasmCodec {
    pub(crate) fn new(pools: Arc<Pools<Codec>>) -> WasmCodec {
        WasmCodec { pools }
    }

    fn plugin(&self) -> &Arc<Plugin> {
        self.pools.plugin()
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
        self.pools.shutdown()
    }
}

impl CompressionExtension for WasmCodec {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        self.check_fits(input.len(), input.len())?;
        // Formats add a little to what they cannot compress; more than an eighth is no codec.
        let result_bytes_max = input.len() + input.len() / 8;
        self.pools.call("compress", result_bytes_max, |call| {
            call.exports.sochdb_plugin_codec().call_compress(&mut *call.store, input)
        })
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        self.check_fits(input.len(), raw_bytes)?;
        let wanted = u32::try_from(raw_bytes).map_err(|_| KernelError::Limit {
            what: "the size of a block in bytes",
            got: raw_bytes as u64,
            bound: u64::from(u32::MAX),
        })?;
        let raw = self.pools.call("decompress", raw_bytes, |call| {
            call.exports.sochdb_plugin_codec().call_decompress(&mut *call.store, input, wanted)
        })?;
        if raw.len() == raw_bytes {
            return Ok(raw);
        }
        let message = format!("decompress answered {} bytes instead of {raw_bytes}", raw.len());
        Err(KernelError::plugin(&self.plugin().manifest.name, PluginFault::Lied, message))
    }
}

const _: () =
    assert!(RESULT_SLACK_BYTES >= 1024, "a small block that does not compress still fits");
