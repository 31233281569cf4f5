//! `codecs`: blocks through the codec of another plugin, which the grant names.
//!
//! A handle is a name that was granted. The codec is looked up at each call, so that a codec that is
//! replaced meanwhile serves the next one.

use super::base_bindings::sochdb::plugin::codecs as contract;
use super::handles::Handles;
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge};
use crate::limits::SEGMENT_CHUNK_BYTES_MAX as BLOCK_BYTES_MAX;
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};

/// The codecs that a store's guest has opened.
pub(crate) type Codecs = Handles<Arc<str>>;

impl contract::Host for &mut GuestState {}
impl contract::HostCodec for &mut GuestState {}

type Answer<T> = std::result::Result<T, GuestError>;

impl GuestState {
    fn codec(&self, name: &str) -> KernelResult<Arc<dyn CompressionExtension>> {
        match self.plugin.programs.upgrade() {
            Some(programs) => Ok(programs.codec(name)?),
            None => Err(KernelError::Closed("the plugin host".into())),
        }
    }
}

impl<T> contract::HostCodecWithStore<T> for Host {
    fn open(host: Access<'_, T, Self>, name: String) -> Result<Answer<Resource<contract::Codec>>> {
        audited(host, "codecs.codec.open", |host| {
            charge(host, name.len())?;
            let state = host.get();
            state.audit.about(name.as_str());
            if !state.plugin.grant.may_use_codec(&name) {
                let text = format!("the codec '{}' was not granted", super::clean(&name));
                return Ok(Err(GuestError::answer(code::DENIED, text)));
            }
            let found = state.codec(&name);
            match state.answer(found) {
                Ok(_) => state.codecs.insert(name.into()).map(|codec| Ok(Resource::new_own(codec))),
                Err(error) => Ok(Err(error)),
            }
        })
    }

    fn compress(
        host: Access<'_, T, Self>,
        codec: Resource<contract::Codec>,
        input: Vec<u8>,
    ) -> Result<Answer<Vec<u8>>> {
        audited(host, "codecs.codec.compress", |host| {
            charge(host, input.len())?;
            let state = host.get();
            let name = state.codecs.get(codec.rep())?.clone();
            state.audit.about(&name);
            let stored = check_block(input.len())
                .and_then(|()| state.codec(&name))
                .and_then(|codec| codec.compress(&input));
            let stored = state.answer(stored);
            charge(host, stored.as_ref().map_or(0, Vec::len))?;
            Ok(stored)
        })
    }

    fn decompress(
        host: Access<'_, T, Self>,
        codec: Resource<contract::Codec>,
        input: Vec<u8>,
        raw_bytes: u32,
    ) -> Result<Answer<Vec<u8>>> {
        audited(host, "codecs.codec.decompress", |host| {
            charge(host, input.len() + (raw_bytes as usize).min(BLOCK_BYTES_MAX))?;
            let state = host.get();
            let name = state.codecs.get(codec.rep())?.clone();
            state.audit.about(&name);
            let raw = check_block(input.len().max(raw_bytes as usize))
                .and_then(|()| state.codec(&name))
                .and_then(|codec| codec.decompress(&input, raw_bytes as usize));
            let raw = state.answer(raw);
            charge(host, 0)?;
            Ok(raw)
        })
    }

    fn drop(host: Access<'_, T, Self>, codec: Resource<contract::Codec>) -> Result<()> {
        audited(host, "codecs.codec.drop", |host| {
            charge(host, 0)?;
            host.get().codecs.remove(codec.rep());
            Ok(())
        })
    }
}

fn check_block(bytes: usize) -> KernelResult<()> {
    if bytes <= BLOCK_BYTES_MAX {
        return Ok(());
    }
    Err(KernelError::Limit {
        what: "the bytes of a block",
        got: bytes as u64,
        bound: BLOCK_BYTES_MAX as u64,
    })
}
