//! What opening tells while it works, and how far it goes for a damaged database.
//!
//! The kernel only reports; budgets, metrics and the state machine that an operator watches are built on
//! this in the crate `sochdb-operations`.

use crate::error::KernelResult;

/// The phases of opening, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BootPhase {
    /// Lock the directory, read the meta page, the catalog and the free list; or make a new database.
    Init,
    /// Bring an older format up to this one. There is no older format yet.
    Migrate,
    /// Read the log since the last checkpoint.
    Recover,
    /// Fill the cache, if somebody asked for it. The kernel itself does not.
    Warmup,
    /// Serve.
    Ready,
}

/// Watches a database being opened.
pub trait BootObserver {
    /// `done` of `total` units of `phase` are done: bytes of log in [`BootPhase::Recover`], of which `total`
    /// is an upper bound until the end; 0 or 1 of 1 otherwise.
    ///
    /// # Errors
    /// Any error stops the opening: what is on disk stays as good as it was, and open may be tried again.
    fn progress(&self, phase: BootPhase, done: u64, total: u64) -> KernelResult<()>;
}

/// Nobody watches.
impl BootObserver for () {
    fn progress(&self, _: BootPhase, _: u64, _: u64) -> KernelResult<()> {
        Ok(())
    }
}

/// What opening does about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecoveryMode {
    /// Refuses a database with broken bytes where recovery needs them.
    #[default]
    Strict,
    /// Opens it read-only with what can be read: the log up to its first broken record. What is missing is
    /// in [`crate::RecoveryReport::lost`]. Nothing on disk is changed.
    Forced,
}
