//! The LZ4 codec as a plugin: glue between the contract and `block`.

pub mod block;

use sochdb_guest::{Codec, Error, Result};

/// The plugin. It has no state and no settings.
pub struct Lz4;

impl Codec for Lz4 {
    fn init() -> Result<Self> {
        Ok(Lz4)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(block::compress(input))
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        block::decompress(input, raw_bytes).map_err(Error::corrupt)
    }
}

sochdb_guest::export!(codec: Lz4);
