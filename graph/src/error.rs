//! What can go wrong with a graph.

use sochdb_encoding::EncodingError;
use std::error::Error as StdError;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a graph; its kind says what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A written graph's bytes are not what was written. It can be built again from its entries.
    #[error("corrupt graph at byte {offset}: {what}")]
    Corrupt {
        /// Where in the graph, in bytes.
        offset: u64,
        /// What should be there, and what is.
        what: String,
    },
    /// The call makes no sense: a setting out of bounds, too many entries.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Whoever computes the distances, or keeps the bytes, failed; in their words.
    #[error(transparent)]
    Failed(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// `Corrupt`: the bytes at `offset` break a rule, which `what` names.
    pub fn corrupt(offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { offset, what: what.into() }
    }

    /// `Failed`, with the error of the world outside.
    pub fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Failed(error.into())
    }
}

impl From<EncodingError> for Error {
    fn from(error: EncodingError) -> Error {
        match error {
            EncodingError::Corrupt { offset, expected, found, .. } => {
                Error::corrupt(offset, format!("expected {expected}, found {found}"))
            }
            other => Error::Invalid(other.to_string()),
        }
    }
}
