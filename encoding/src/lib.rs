//! The byte encodings of SochDB, for the kernel, for the tools around it, and for guests.
//!
//! [`codec`] has little-endian reads and writes and CRC-32C, shared by every byte format on disk. [`row`]
//! has typed rows: schemas, the canonical row encoding, and the key encoding whose byte order is the order
//! of the values. [`select`] picks columns and rows, [`columns`] has rows as columns, [`stats`] what is told of
//! them, [`range`] is a range of keys, [`mod@slice`] shared bytes, [`merge`] makes one of many sorted sources,
//! [`compaction`] says what may be merged. Nothing here knows files, transactions or plugins.

#![forbid(unsafe_code)]

pub mod codec;
pub mod columns;
pub mod compaction;
pub mod merge;
pub mod range;
pub mod row;
pub mod select;
pub mod slice;
pub mod stats;

/// What encoding or decoding answers when it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The value, schema or name makes no sense.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A bound was met.
    #[error("limit: {what} would be {got}, the bound is {bound}")]
    Limit {
        /// What is bounded, with its unit.
        what: &'static str,
        /// The value that was asked for.
        got: u64,
        /// The greatest value allowed.
        bound: u64,
    },
    /// The bytes are not what was written.
    #[error("corrupt: {file} at byte {offset}: expected {expected}, found {found}")]
    Corrupt {
        /// Where the bytes came from.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// What every fallible call of this crate returns.
pub type EncodingResult<T> = Result<T, EncodingError>;

impl EncodingError {
    /// `Invalid` with a text.
    pub fn invalid(text: impl Into<String>) -> EncodingError {
        EncodingError::Invalid(text.into())
    }

    /// `Corrupt`: `file` at `offset` should hold `expected` and holds `found`.
    pub fn corrupt(
        file: &str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> EncodingError {
        let (expected, found) = (expected.into(), found.into());
        EncodingError::Corrupt { file: file.to_owned(), offset, expected, found }
    }

    /// Which variant it is, for tests.
    #[cfg(test)]
    fn kind(&self) -> &'static str {
        match self {
            EncodingError::Invalid(_) => "Invalid",
            EncodingError::Limit { .. } => "Limit",
            EncodingError::Corrupt { .. } => "Corrupt",
        }
    }
}
