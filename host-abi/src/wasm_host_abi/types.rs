//! `types`: errors and log levels, between contract and kernel.

use super::GuestState;
use super::base_bindings::sochdb::plugin::types;
use crate::limits::ERROR_TEXT_BYTES_MAX;
use crate::plugin_telemetry::Rejected;
use sochdb_kernel::{KernelError, PluginFault};
use sochdb_telemetry::LogLevel;
use types::Error as GuestError;

/// The codes of the contract's table that the host answers with, or knows the names of.
pub(crate) mod code {
    pub(crate) const NAMES: [&str; 7] =
        ["internal", "denied", "not-found", "invalid", "limit", "conflict", "corrupt"];
    pub(crate) const INTERNAL: u8 = 0;
    pub(crate) const DENIED: u8 = 1;
    pub(crate) const NOT_FOUND: u8 = 2;
    pub(crate) const INVALID: u8 = 3;
    pub(crate) const LIMIT: u8 = 4;
    pub(crate) const CONFLICT: u8 = 5;
    pub(crate) const CORRUPT: u8 = 6;
}

impl types::Host for &mut GuestState {}

impl GuestError {
    /// An answer of the host that is not worth trying again.
    pub(crate) fn answer(code: u8, text: impl Into<String>) -> GuestError {
        GuestError { code, retryable: false, text: text.into() }
    }

    /// What a guest is told of an error of the kernel's, and whether the error is the guest's own mistake.
    pub(crate) fn of(error: &KernelError) -> (GuestError, bool) {
        let (code, is_guests_mistake) = match error {
            KernelError::Invalid(_) => (code::INVALID, true),
            KernelError::Limit { .. } => (code::LIMIT, true),
            KernelError::NotFound { .. } => (code::NOT_FOUND, true),
            KernelError::Conflict(_) => (code::CONFLICT, false),
            KernelError::Corrupt { .. } => (code::CORRUPT, false),
            KernelError::Plugin { fault: PluginFault::Denied, .. } => (code::DENIED, false),
            _ => (code::INTERNAL, false),
        };
        let retryable = error.is_retryable();
        (GuestError { code, retryable, text: error.to_string() }, is_guests_mistake)
    }

    /// The guest's own words, fit for a message: bounded, and without control characters.
    pub(crate) fn shown(&self) -> String {
        let name = code::NAMES.get(usize::from(self.code)).unwrap_or(&code::NAMES[0]);
        format!("{} ({name})", clean(&self.text))
    }
}

impl From<Rejected> for GuestError {
    fn from(rejected: Rejected) -> GuestError {
        match rejected {
            Rejected::Invalid(text) => GuestError::answer(code::INVALID, text),
            Rejected::Limit(text) => GuestError::answer(code::LIMIT, text),
        }
    }
}

/// A guest's text, bounded and with control characters escaped, so that it can neither fill a log nor
/// write to a terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = text.len().min(ERROR_TEXT_BYTES_MAX);
    while !text.is_char_boundary(kept) {
        kept -= 1;
    }
    let mut shown = String::with_capacity(kept);
    for c in text[..kept].chars() {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    if kept < text.len() {
        shown.push_str(" ...");
    }
    shown
}

impl From<types::LogLevel> for LogLevel {
    fn from(level: types::LogLevel) -> LogLevel {
        match level {
            types::LogLevel::Trace => LogLevel::Trace,
            types::LogLevel::Debug => LogLevel::Debug,
            types::LogLevel::Info => LogLevel::Info,
            types::LogLevel::Warn => LogLevel::Warn,
            types::LogLevel::Error => LogLevel::Error,
        }
    }
}

impl From<LogLevel> for types::LogLevel {
    fn from(level: LogLevel) -> types::LogLevel {
        match level {
            LogLevel::Trace => types::LogLevel::Trace,
            LogLevel::Debug => types::LogLevel::Debug,
            LogLevel::Info => types::LogLevel::Info,
            LogLevel::Warn => types::LogLevel::Warn,
            LogLevel::Error => types::LogLevel::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_guest_are_bounded_and_harmless() {
        assert_eq!(clean("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        let long = clean(&"ü".repeat(ERROR_TEXT_BYTES_MAX));
        assert!(long.ends_with("ü ...") && long.len() <= ERROR_TEXT_BYTES_MAX + 4);
        let odd = GuestError::answer(200, "odd");
        assert_eq!(odd.shown(), "odd (internal)");
    }
}
