//! Blocks made smaller by the codec of another plugin, which the manifest's `codecs` names.
//!
//! ```
//! use sochdb_guest::{Result, blocks::BlockCodec};
//!
//! fn stored(text: &str) -> Result<Vec<u8>> {
//!     BlockCodec::open("lz4")?.compress(text.as_bytes())
//! }
//! # struct Same;
//! # impl sochdb_guest::Codec for Same {
//! #     fn init() -> Result<Self> { Ok(Same) }
//! #     fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> { Ok(input.to_vec()) }
//! #     fn decompress(&mut self, input: &[u8], _: usize) -> Result<Vec<u8>> { Ok(input.to_vec()) }
//! # }
//! # let mut db = sochdb_guest::testing::Database::new();
//! # db.codec::<Same>("lz4")?;
//! # assert_eq!(db.inside(|| stored("tea"))?, b"tea");
//! # Ok::<(), sochdb_guest::Error>(())
//! ```

use crate::error::Result;
use crate::imports::codecs as host;

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
