//! A plugin that makes blocks smaller.

use crate::bindings::codec::exports::sochdb::plugin::codec;
use crate::bindings::lifecycle;
use crate::bindings::{Instance, types};
use crate::error::{Error, Result};
use std::marker::PhantomData;

/// A block codec: a pure function and its inverse.
///
/// Any instance must restore what any other compressed, in any later version of the plugin: blocks
/// live as long as the database. See [`export!`](crate::export) for how a type becomes the plugin.
pub trait Codec: Sized {
    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Compresses one block. An answer that is no shorter than `input` is thrown away.
    ///
    /// # Errors
    /// Any; the block is then stored plain.
    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>>;

    /// Restores exactly `raw_bytes` bytes from what [`compress`](Self::compress) made.
    ///
    /// # Errors
    /// [`Error::corrupt`] when `input` is no block of this codec or gives another length.
    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>>;

    /// Whether the plugin works at all; called when it is loaded. By default three blocks (empty,
    /// repetitive, irregular) must survive a round trip.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        let irregular =
            (1..=4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for block in [Vec::new(), b"sochdb ".repeat(512), irregular] {
            let stored = self.compress(&block)?;
            if self.decompress(&stored, block.len())? != block {
                let what = format!("a block of {} bytes did not survive a round trip", block.len());
                return Err(Error::internal(what));
            }
        }
        Ok(())
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Turns calls of the contract into calls of [`Codec`].
pub struct CodecGlue<P>(PhantomData<P>);

lifecycle!(CodecGlue: Codec);

impl<P: Codec + Instance> codec::Guest for CodecGlue<P> {
    fn compress(input: Vec<u8>) -> std::result::Result<Vec<u8>, types::Error> {
        P::with(|codec| codec.compress(&input))
    }

    fn decompress(input: Vec<u8>, raw_bytes: u32) -> std::result::Result<Vec<u8>, types::Error> {
        P::with(|codec| codec.decompress(&input, raw_bytes as usize))
    }
}
