//! The proof of a claim.

use crate::config::CLAIM_BATCH_MAX;
use crate::record::JobId;
use sochdb_kernel::{Slice, TransactionId};
use std::fmt;
use std::sync::Arc;

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Job(JobId),
    Name(String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Job(id) => write!(f, "job {id}"),
            Thing::Name(name) => write!(f, "lease '{name}'"),
        }
    }
}

/// The proof that its owner claimed something, good until somebody else takes it over.
///
/// A token whose time has run out still serves as long as nobody else has claimed the thing: the newest
/// fencing number decides, not the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToken {
    pub(crate) table: Arc<str>,
    pub(crate) thing: Thing,
    pub(crate) fence: u64,
    pub(crate) owner: String,
    pub(crate) until_us: u64,
    pub(crate) attempt: u32,
    pub(crate) payload: Slice,
}

impl ClaimToken {
    /// The fencing number: the claiming transaction's number times [`CLAIM_BATCH_MAX`], plus the place in
    /// its batch. No two claims of a database's whole life share one, and of two claims of the same thing
    /// the later has the greater. Give it to outside systems along with each request; they refuse
    /// numbers below the greatest they have seen for that thing. A database restored from a backup lives
    /// another life: numbers given out after the backup was made may come again.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Who claimed.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// When somebody else may take over, in microseconds since 1970.
    pub fn until_us(&self) -> u64 {
        self.until_us
    }

    /// The how-manieth claim of this job it is, from 1; always 1 for a name.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The job's payload; empty for a name.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The job that was claimed; `None` for a name.
    pub fn job(&self) -> Option<JobId> {
        match &self.thing {
            Thing::Job(id) => Some(*id),
            Thing::Name(_) => None,
        }
    }

    /// The name that was claimed; `None` for a job.
    pub fn name(&self) -> Option<&str> {
        match &self.thing {
            Thing::Job(_) => None,
            Thing::Name(name) => Some(name),
        }
    }
}

/// The fencing number of the claim at `place` in the batch of `transaction`.
pub(crate) fn fence(transaction: TransactionId, place: usize) -> u64 {
    assert!(place < CLAIM_BATCH_MAX, "place {place} in a batch of {CLAIM_BATCH_MAX}");
    let first = transaction.0.checked_mul(CLAIM_BATCH_MAX as u64);
    first.expect("no database lives for 2^56 transactions") + place as u64
}

/// What a claim was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimResult {
    /// It is yours, until it is taken over.
    Claimed(ClaimToken),
    /// A queue has nothing to do now.
    Empty {
        /// When the next job becomes due, by delay or because its lease runs out, in microseconds since
        /// 1970; `None` when the queue holds none.
        next_due_us: Option<u64>,
    },
    /// Somebody else holds the name.
    Held {
        /// Who.
        by: String,
        /// Until when at least, in microseconds since 1970.
        until_us: u64,
    },
}

impl ClaimResult {
    /// The token, if there is one.
    pub fn claimed(self) -> Option<ClaimToken> {
        match self {
            ClaimResult::Claimed(token) => Some(token),
            ClaimResult::Empty { .. } | ClaimResult::Held { .. } => None,
        }
    }
}
