//! What can go wrong, sorted by what the caller can do about it.
//!
//! | kind          | what it means                               | what to do                       |
//! |---------------|---------------------------------------------|----------------------------------|
//! | `Conflict`    | another transaction committed first         | run the transaction again        |
//! | `Invalid`     | the call, name or input makes no sense      | fix the call                     |
//! | `NotFound`    | the named thing does not exist              | create it, or fix the name       |
//! | `Limit`       | a bound was met                             | ask for less, or raise the bound |
//! | `Corrupt`     | bytes on disk are not what was written      | stop, then restore or repair     |
//! | `Unavailable` | the disk, a plugin or a lock failed us      | mend it, then try again          |
//! | `Closed`      | the database no longer accepts this         | open it again                    |
//! | `Plugin`      | an extension refused, trapped or was denied | mend or replace the plugin       |
//!
//! An error is logged where it is handled, never where it passes by.

use sochdb_encoding::EncodingError;
use std::io;

/// What every fallible call of the kernel returns.
pub type KernelResult<T> = Result<T, KernelError>;

/// An error of the kernel; see the table of this module for what each kind asks of the caller.
#[derive(Debug, thiserror::Error, strum::EnumDiscriminants)]
#[strum_discriminants(name(ErrorKind), derive(Hash))]
#[strum_discriminants(doc = "The kinds of [`KernelError`], without their words.")]
#[strum_discriminants(allow(missing_docs, reason = "the table of this module explains each"))]
#[non_exhaustive]
pub enum KernelError {
    /// Another transaction committed first, or the snapshot is too old to be validated.
    #[error("conflict: {0}; run the transaction again")]
    Conflict(String),
    /// The call, a name or an input makes no sense.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The named thing does not exist.
    #[error("there is no {kind} named '{name}'")]
    NotFound {
        /// What kind of thing was looked for: `table`, `codec`, `savepoint`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// A bound was met; nothing was changed.
    #[error("limit: {what} would be {got}, the bound is {bound}")]
    Limit {
        /// What is bounded, with its unit.
        what: &'static str,
        /// The value that was asked for.
        got: u64,
        /// The greatest value allowed.
        bound: u64,
    },
    /// Bytes on disk are not what was written there.
    #[error(
        "corrupt: {file} at byte {offset}: expected {expected}, found {found}; restore a backup, `sochdb check` lists what is wrong"
    )]
    Corrupt {
        /// The file, by its name inside the database directory.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The disk, a lock or an extension could not serve; nothing was changed.
    #[error("unavailable: {what}{}", source.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Unavailable {
        /// What was tried, with the name of the thing.
        what: String,
        /// The operating system's own word, where there is one.
        source: Option<io::Error>,
    },
    /// The database, transaction or handle no longer accepts this call.
    #[error("closed: {0}; open it again")]
    Closed(String),
    /// An extension failed; `fault` says whose fault it is.
    #[error("plugin '{plugin}' {fault}: {message}")]
    Plugin {
        /// The extension's name.
        plugin: String,
        /// Who failed whom.
        fault: PluginFault,
        /// The extension's or the host's own words.
        message: String,
    },
}

/// Whose failure a [`KernelError::Plugin`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PluginFault {
    /// The guest answered with an error of its own.
    #[error("refused")]
    Refused,
    /// The guest trapped; its instance was thrown away.
    #[error("trapped")]
    Trapped,
    /// The guest ran out of fuel, time or memory.
    #[error("exhausted its limits")]
    Exhausted,
    /// The host denied what the guest asked for.
    #[error("was denied")]
    Denied,
    /// The guest's answer failed the host's check.
    #[error("gave an answer that failed its check")]
    Lied,
    /// The plugin is missing, or is not of the kind that was asked for.
    #[error("is missing")]
    Missing,
    /// It failed too often and is not called for a while, or until it is replaced.
    #[error("is kept from working")]
    Quarantined,
}

impl From<EncodingError> for KernelError {
    fn from(error: EncodingError) -> KernelError {
        match error {
            EncodingError::Limit { what, got, bound } => KernelError::Limit { what, got, bound },
            EncodingError::Corrupt { file, offset, expected, found } => {
                KernelError::Corrupt { file, offset, expected, found }
            }
            error => KernelError::Invalid(error.to_string().replacen("invalid: ", "", 1)),
        }
    }
}

impl KernelError {
    /// The kind of this error: what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.into()
    }

    /// Whether the same call may succeed when it is simply made again.
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// `Invalid` with a formatted text.
    pub fn invalid(text: impl Into<String>) -> Self {
        KernelError::Invalid(text.into())
    }

    /// `Corrupt`: `file` at `offset` should hold `expected` and holds `found`.
    pub fn corrupt(
        file: &str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        EncodingError::corrupt(file, offset, expected, found).into()
    }

    /// `Unavailable`: the operating system failed while we tried to `what`.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        KernelError::Unavailable { what: what.into(), source: Some(source) }
    }

    /// `Unavailable` without an error of the operating system.
    pub fn unavailable(what: impl Into<String>) -> Self {
        KernelError::Unavailable { what: what.into(), source: None }
    }

    /// A plugin's failure.
    pub fn plugin(plugin: &str, fault: PluginFault, message: impl Into<String>) -> Self {
        KernelError::Plugin { plugin: plugin.to_owned(), fault, message: message.into() }
    }
}

/// Refuses what passes a bound.
///
/// # Errors
/// `Limit`.
pub(crate) fn bound(what: &'static str, got: usize, bound: usize) -> KernelResult<()> {
    if got <= bound {
        return Ok(());
    }
    Err(KernelError::Limit { what, got: got as u64, bound: bound as u64 })
}
