//! Which answers are the plugin's fault.
//!
//! An error that a guest answers is an answer: the contract lets it refuse. A trap, a limit that was met, an answer
//! that fails the host's check, and whatever follows of these, is wrong.

use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The plugin is wrong.
    Wrong(String),
    /// There is nothing to check, or no way to.
    Skipped(String),
}

/// What a step of a check returns.
pub(super) type Finding<T = ()> = Result<T, Flaw>;

impl From<KernelError> for Flaw {
    fn from(error: KernelError) -> Flaw {
        Flaw::Wrong(error.to_string())
    }
}

/// The plugin is wrong.
pub(super) fn wrong<T>(what: impl Into<String>) -> Finding<T> {
    Err(Flaw::Wrong(what.into()))
}

/// There is nothing to check.
pub(super) fn skipped<T>(why: impl Into<String>) -> Finding<T> {
    Err(Flaw::Skipped(why.into()))
}

/// What is done when something goes wrong.
pub(super) trait During<T> {
    /// The value, or that it failed during `what`.
    fn during(self, what: impl Display) -> Finding<T>;
}

impl<T> During<T> for KernelResult<T> {
    fn during(self, what: impl Display) -> Finding<T> {
        self.map_err(|error| Flaw::Wrong(format!("{what}: {error}")))
    }
}

/// Whether `error` is one that a plugin may answer.
pub(super) fn is_answer(error: &KernelError) -> bool {
    match error {
        KernelError::Plugin { fault, .. } => {
            matches!(fault, PluginFault::Refused | PluginFault::Denied)
        }
        KernelError::Unavailable { .. } | KernelError::Closed(_) => false,
        _ => true,
    }
}

/// An answer, or the words it was refused with; wrong when there is neither.
pub(super) fn answered<T>(
    what: impl Display,
    result: KernelResult<T>,
) -> Finding<Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if is_answer(&error) => Ok(Err(error.to_string())),
        Err(error) => wrong(format!("{what}: {error}")),
    }
}

/// How much was tried, and what else is worth a word.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) notes: Vec<String>,
}

impl Tally {
    /// So many more of `what`.
    pub(super) fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// How many of `what` there were.
    pub(super) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Something that is worth a word though nothing is wrong.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
