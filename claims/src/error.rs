//! What can go wrong with a claim: it was lost, or the kernel could not serve.

use sochdb_kernel::KernelError;

/// What every fallible call of this crate returns.
pub type ClaimOutcome<T> = Result<T, ClaimError>;

/// An error of a claim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The claim is not the token's any more. Nothing was changed, and the same token will never serve
    /// again: stop the work, and claim anew if it still has to be done.
    #[error("stale: {what} is no longer held under fencing number {fence}: {now}")]
    Stale {
        /// What the token claims: a job or a name, with its table.
        what: String,
        /// The token's fencing number.
        fence: u64,
        /// What became of it, for people.
        now: String,
    },
    /// The kernel's own error.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl ClaimError {
    /// Whether the claim was lost.
    pub fn is_stale(&self) -> bool {
        matches!(self, ClaimError::Stale { .. })
    }

    /// Whether the same call may succeed when it is simply made again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ClaimError::Kernel(error) if error.is_retryable())
    }
}

/// For closures that must answer with the kernel's error: a stale claim becomes `Closed`, the kind of a
/// handle that accepts no more calls, and is therefore not tried again.
impl From<ClaimError> for KernelError {
    fn from(error: ClaimError) -> KernelError {
        match error {
            ClaimError::Kernel(error) => error,
            stale => KernelError::Closed(stale.to_string()),
        }
    }
}
