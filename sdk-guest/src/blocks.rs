//! Blocks made smaller by the codec of another plugin, which the manifest's `codecs` names.

use crate::bindings::data::sochdb::plugin::codecs as host;
use crate::error::Result;

/// A codec of this database.
pub struct BlockCodec(host::Codec);

impl BlockCodec {
    /// Opens the codec `name`.
    ///
    /// # Errors
    /// `Denied` outside the grant, `NotFound`.
    pub fn open(name: &str) -> Result<BlockCodec> {
        Ok(BlockCodec(host::Codec::open(name)?))
    }

    /// Compresses `input`, at most 1 MiB. The answer may be longer.
    ///
    /// # Errors
    /// `Limit` for a longer input, and what the codec answers.
    pub fn compress(&self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.compress(input)?)
    }

    /// Restores exactly `raw_bytes` bytes, at most 1 MiB, from what [`compress`](Self::compress) made.
    ///
    /// # Errors
    /// `Limit` for more, and what the codec answers, such as `Corrupt`.
    pub fn decompress(&self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        Ok(self.0.decompress(input, u32::try_from(raw_bytes).unwrap_or(u32::MAX))?)
    }
}
