//! Why something was not done, as the test is told and as the host tells another plugin.

use super::plugins::Installed;
use crate::error::{Error, ErrorCode};

/// Why something was not done.
pub(crate) enum Failure {
    /// The host would not.
    Host(Error),
    /// A plugin would not: what it answered, and how the host puts it.
    Plugin { error: Error, text: String, code: ErrorCode },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Host(error)
    }
}

impl Failure {
    /// What the plugin answered, for the test.
    pub(super) fn for_test(self) -> Error {
        match self {
            Failure::Host(error) | Failure::Plugin { error, .. } => error,
        }
    }

    /// What the host tells another plugin of it.
    pub(super) fn for_guest(self) -> Error {
        match self {
            Failure::Host(error) => error,
            Failure::Plugin { text, code, .. } => Error::new(code, text),
        }
    }

    pub(super) fn refused(plugin: &Installed, function: &str, error: Error) -> Failure {
        let name = match error.code {
            ErrorCode::Internal => "internal",
            ErrorCode::Denied => "denied",
            ErrorCode::NotFound => "not-found",
            ErrorCode::Invalid => "invalid",
            ErrorCode::Limit => "limit",
            ErrorCode::Conflict => "conflict",
            ErrorCode::Corrupt => "corrupt",
        };
        let text = format!("plugin '{}' refused: {function}: {error} ({name})", plugin.name());
        Failure::Plugin { error, text, code: ErrorCode::Internal }
    }

    pub(super) fn aborted(plugin: &Installed, reason: String) -> Failure {
        let text = format!("plugin '{}' refused: {reason}", plugin.name());
        Failure::Plugin { error: Error::invalid(reason), text, code: ErrorCode::Internal }
    }

    pub(super) fn lied(plugin: &Installed, why: &str) -> Failure {
        let name = plugin.name();
        let text = format!("plugin '{name}' gave an answer that failed its check: {why}");
        Failure::Plugin { error: Error::internal(text.clone()), text, code: ErrorCode::Internal }
    }

    pub(super) fn denied(plugin: &Installed, why: &str) -> Failure {
        let text = format!("plugin '{}' was denied: {why}", plugin.name());
        let error = Error::new(ErrorCode::Denied, text.clone());
        Failure::Plugin { error, text, code: ErrorCode::Denied }
    }

    pub(super) fn exhausted(plugin: &Installed, why: &str) -> Failure {
        let text = format!("plugin '{}' exhausted its limits: {why}", plugin.name());
        Failure::Plugin {
            error: Error::new(ErrorCode::Limit, text.clone()),
            text,
            code: ErrorCode::Internal,
        }
    }
}

/// What most of this answers.
pub(super) type Done<T> = std::result::Result<T, Failure>;
