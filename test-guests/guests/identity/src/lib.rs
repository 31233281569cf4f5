//! A codec that does nothing, so that a call of it costs what a call costs.

use sochdb_guest::{Codec, Error, Result};

struct Identity;

impl Codec for Identity {
    fn init() -> Result<Self> {
        Ok(Identity)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(input.to_vec())
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        match input.len() == raw_bytes {
            true => Ok(input.to_vec()),
            false => Err(Error::corrupt("a block of another length")),
        }
    }
}

sochdb_guest::export!(codec: Identity);
