//! The Zstandard codec as a plugin: glue between the contract and `block`.

mod block;

use block::{Compressor, LEVELS};
use sochdb_guest::{Codec, Error, Result, config};

/// The plugin: a compressor of the level that the manifest sets, with tables kept from block to block.
pub struct Zstd(Compressor);

impl Codec for Zstd {
    fn init() -> Result<Self> {
        let level = config::integer("level")?;
        match i32::try_from(level) {
            Ok(level) if LEVELS.contains(&level) => Ok(Zstd(Compressor::new(level))),
            _ => Err(Error::invalid(format!(
                "the setting 'level' is {level}, Zstandard has {} to {} here",
                LEVELS.start(),
                LEVELS.end()
            ))),
        }
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.compress(input))
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        block::decompress(input, raw_bytes).map_err(Error::corrupt)
    }
}

sochdb_guest::export!(codec: Zstd);
