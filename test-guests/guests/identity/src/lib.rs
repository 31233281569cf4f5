//! A codec that does nothing, so that a call of it costs what a call costs.

use sochdb_guest::{Codec, Result};

struct Identity;

impl Codec for Identity {
    fn init() -> Result<Self> {
        Ok(Identity)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(input.to_vec())
    }

    fn decompress(&mut self, input: &[u8], _raw_bytes: usize) -> Result<Vec<u8>> {
        Ok(input.to_vec())
    }
}

sochdb_guest::export!(codec: Identity);
