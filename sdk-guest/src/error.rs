//! An error as a value: what the caller can do, and a sentence for people.

use crate::bindings::types;
use sochdb_encoding::EncodingError;
use std::fmt;

/// What fallible functions of a plugin return.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller can do about an [`Error`]. The numbers are those of the contract, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ErrorCode {
    /// The callee broke; the caller did nothing wrong. Also every code that this SDK does not know.
    Internal = 0,
    /// The plugin was not granted this.
    Denied = 1,
    /// The named thing does not exist.
    NotFound = 2,
    /// The call or its input makes no sense.
    Invalid = 3,
    /// A bound was met; ask for less.
    Limit = 4,
    /// Somebody else was first; run the transaction again.
    Conflict = 5,
    /// Stored bytes are not what was written.
    Corrupt = 6,
}

impl From<u8> for ErrorCode {
    fn from(code: u8) -> ErrorCode {
        match code {
            1 => ErrorCode::Denied,
            2 => ErrorCode::NotFound,
            3 => ErrorCode::Invalid,
            4 => ErrorCode::Limit,
            5 => ErrorCode::Conflict,
            6 => ErrorCode::Corrupt,
            _ => ErrorCode::Internal,
        }
    }
}

/// An error of a plugin, or of the host when it answers one.
///
/// Text that makes no sense becomes one by `?`: JSON, UTF-8, numbers.
///
/// ```
/// use sochdb_guest::{ErrorCode, Result};
///
/// fn sum(text: &[u8]) -> Result<i64> {
///     let mut sum = 0;
///     for number in str::from_utf8(text)?.split('+') {
///         sum += number.trim().parse::<i64>()?;
///     }
///     Ok(sum)
/// }
///
/// assert_eq!(sum(b"1 + 2"), Ok(3));
/// assert_eq!(sum(b"1 + two").unwrap_err().code, ErrorCode::Invalid);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the caller can do.
    pub code: ErrorCode,
    /// Whether the same call may succeed when it is simply made again.
    pub retryable: bool,
    /// One sentence: what happened to which thing, and the way out.
    pub text: String,
}

impl Error {
    /// An error that is not worth trying again.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Error {
        Error { code, retryable: false, text: text.into() }
    }

    /// The plugin broke.
    pub fn internal(text: impl Into<String>) -> Error {
        Error::new(ErrorCode::Internal, text)
    }

    /// The call or its input makes no sense.
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::new(ErrorCode::Invalid, text)
    }

    /// The named thing does not exist.
    pub fn not_found(text: impl Into<String>) -> Error {
        Error::new(ErrorCode::NotFound, text)
    }

    /// Stored bytes are not what was written.
    pub fn corrupt(text: impl Into<String>) -> Error {
        Error::new(ErrorCode::Corrupt, text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<EncodingError> for Error {
    fn from(error: EncodingError) -> Error {
        let code = match &error {
            EncodingError::Limit { .. } => ErrorCode::Limit,
            EncodingError::Corrupt { .. } => ErrorCode::Corrupt,
            _ => ErrorCode::Invalid,
        };
        Error::new(code, error.to_string())
    }
}

/// What the standard library and `serde_json` answer when text makes no sense, for `?`.
macro_rules! invalid {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::invalid(error.to_string())
            }
        })+
    };
}
invalid!(
    serde_json::Error,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::ParseBoolError,
    std::char::ParseCharError,
);

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Error {
        Error { code: error.code.into(), retryable: error.retryable, text: error.text }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> types::Error {
        types::Error { code: error.code as u8, retryable: error.retryable, text: error.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_later_contract_is_internal() {
        for code in 0..=u8::MAX {
            let back = ErrorCode::from(code) as u8;
            assert_eq!(back, if code <= 6 { code } else { 0 });
        }
    }
}
