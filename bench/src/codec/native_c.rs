//! The C libraries, as their own authors have tuned them: LZ4 and Zstandard.

use crate::Result;
use lz4_sys::{LZ4_compress_default, LZ4_compressBound, LZ4_decompress_safe};
use zstd::bulk::{Compressor, Decompressor};

/// One of them.
pub enum Library {
    /// LZ4.
    Lz4,
    /// Zstandard at a level, with contexts that are kept from block to block.
    Zstd(Compressor<'static>, Decompressor<'static>),
}

impl Library {
    /// Zstandard at `level`, or LZ4.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn new(level: Option<i32>) -> Result<Library> {
        match level {
            None => Ok(Library::Lz4),
            Some(level) => Ok(Library::Zstd(Compressor::new(level)?, Decompressor::new()?)),
        }
    }

    /// Compresses one block.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn compress(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        match self {
            Library::Zstd(compressor, _) => Ok(compressor.compress(block)?),
            Library::Lz4 => {
                let len = i32::try_from(block.len())?;
                // SAFETY: takes a number and answers one.
                let bound = unsafe { LZ4_compressBound(len) };
                let mut stored = vec![0_u8; usize::try_from(bound)?];
                // SAFETY: reads `len` bytes of `block`, which has as many, and writes at most `bound` of
                // `stored`, which has as many; neither is kept.
                let written = unsafe {
                    LZ4_compress_default(
                        block.as_ptr().cast(),
                        stored.as_mut_ptr().cast(),
                        len,
                        bound,
                    )
                };
                if written <= 0 {
                    return Err("LZ4 refused a block".into());
                }
                stored.truncate(usize::try_from(written)?);
                Ok(stored)
            }
        }
    }

    /// Restores a block of `raw_bytes`.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn restore(&mut self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        match self {
            Library::Zstd(_, decompressor) => Ok(decompressor.decompress(stored, raw_bytes)?),
            Library::Lz4 => {
                let mut raw = vec![0_u8; raw_bytes];
                let (len, most) = (i32::try_from(stored.len())?, i32::try_from(raw_bytes)?);
                // SAFETY: reads `len` bytes of `stored`, which has as many, and writes at most `most` of `raw`,
                // which has as many; neither is kept.
                let written = unsafe {
                    LZ4_decompress_safe(stored.as_ptr().cast(), raw.as_mut_ptr().cast(), len, most)
                };
                if written != most {
                    return Err(format!("LZ4 restored {written} of {most} bytes").into());
                }
                Ok(raw)
            }
        }
    }
}
