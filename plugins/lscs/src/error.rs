//! What can go wrong in the column store.

use sochdb_guest::encoding::EncodingError;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the column store; its kind says what the host can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A segment's bytes are not what was written: restore it. Nothing else is affected.
    #[error("corrupt: {segment} at byte {offset}: {what}")]
    Corrupt {
        /// The segment's name.
        segment: String,
        /// Where in the segment, in bytes.
        offset: u64,
        /// What should be there, and what is.
        what: String,
    },
    /// The call makes no sense: rows out of order, a key too long.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The host could not read or write.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl Error {
    /// `Corrupt`: the bytes of `segment` at `offset` break a rule, which `what` names.
    pub fn corrupt(segment: &str, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { segment: segment.to_owned(), offset, what: what.into() }
    }
}

impl From<EncodingError> for Error {
    fn from(error: EncodingError) -> Error {
        match error {
            EncodingError::Corrupt { file, offset, expected, found } => {
                Error::corrupt(&file, offset, format!("expected {expected}, found {found}"))
            }
            other => Error::Invalid(other.to_string()),
        }
    }
}
