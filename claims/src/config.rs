//! How long claims last, how often a job is tried, how durable a claim is; and the bounds of this crate.

use crate::error::ClaimOutcome;
use sochdb_kernel::{Durability, KernelError};

/// Jobs claimed by one call. A transaction's number times this leaves room for each of them, see
/// [`crate::ClaimToken::fence`].
pub const CLAIM_BATCH_MAX: usize = 256;
/// An owner's name, in bytes: a host, a process and a thread fit.
pub const OWNER_BYTES_MAX: usize = 256;
/// The reason kept with a job that was released, in bytes; longer ones are cut.
pub const WHY_BYTES_MAX: usize = 1024;

/// How a queue or a set of leases treats its claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseConfig {
    /// How long a claim lasts unless it is renewed, in microseconds; at least 1.
    pub lease_us: u64,
    /// How often a job may be claimed before it is put aside as dead; at least 1. Leases ignore it.
    pub attempts_max: u32,
    /// When a claim counts as done. With anything weaker than `Fsync` a power cut can forget a claim whose
    /// fencing number somebody has already seen, and that number may be given out again.
    pub durability: Durability,
}

impl Default for LeaseConfig {
    /// Thirty seconds, ten attempts, synced.
    fn default() -> LeaseConfig {
        LeaseConfig { lease_us: 30_000_000, attempts_max: 10, durability: Durability::Fsync }
    }
}

impl LeaseConfig {
    pub(crate) fn check(&self) -> ClaimOutcome<()> {
        if self.lease_us == 0 || self.attempts_max == 0 {
            let text = format!("a lease of 0 µs or 0 attempts claims nothing: {self:?}");
            return Err(KernelError::Invalid(text).into());
        }
        Ok(())
    }
}

pub(crate) fn check_owner(owner: &str) -> ClaimOutcome<()> {
    if owner.is_empty() {
        return Err(KernelError::invalid("an owner's name is empty").into());
    }
    bound("bytes of an owner's name", owner.len(), OWNER_BYTES_MAX)
}

pub(crate) fn bound(what: &'static str, got: usize, bound: usize) -> ClaimOutcome<()> {
    if got <= bound {
        return Ok(());
    }
    Err(KernelError::Limit { what, got: got as u64, bound: bound as u64 }.into())
}
