//! Durable claims on things to do: queues of jobs and named leases, on ordinary transactions.
//!
//! | room    | what it is                                                                        |
//! |---------|-----------------------------------------------------------------------------------|
//! | `queue` | [`AtomicClaimManager`]: a queue of jobs that are claimed, renewed, acknowledged   |
//! | `lease` | [`LeaseManager`]: names that one owner at a time may hold                         |
//! | `token` | [`ClaimToken`]: the proof of a claim, with its fencing number                     |
//! | `swap`  | [`CompareAndSwap`]: change a value only if it is what was expected                |
//! | `front` | where the living part of a queue's index begins, so that claims stay cheap        |
//! | `record`| the rows, as bytes                                                                |
//! | `home`  | the table that claims live in, and the transactions that change it                |
//! | `config`| [`LeaseConfig`]: how long, how often, how durable                                 |
//! | `stats` | [`ClaimStats`]: what is counted                                                   |
//! | `error` | [`ClaimError`]: a claim that was lost, or what the kernel said                    |
//!
//! A worker that dies simply stops renewing: when its lease runs out, somebody else may take the job over.
//! The first worker may still be alive, only slow. What keeps the two apart is not the clock but the
//! **fencing number**: each claim gets one, greater than that of every earlier claim of the same thing, and
//! every act of an owner is checked against the newest. So
//!
//! 1. a stale owner can never renew, release or acknowledge: the answer is [`ClaimError::Stale`];
//! 2. work done *inside* the database commits together with its acknowledgement
//!    ([`AtomicClaimManager::complete`]), so its effects happen exactly once;
//! 3. work done *outside* carries [`ClaimToken::fence`] along, and the outside system refuses numbers
//!    below the greatest it has seen.
//!
//! Fencing numbers are made of the kernel's transaction numbers, which survive restarts, so no row is
//! written by every claimer. The clock decides only *when* a job may be taken over, never *whose* it is:
//!
//! | the wall clock ...  | then                                                                          |
//! |---------------------|-------------------------------------------------------------------------------|
//! | jumps forward       | leases end early: jobs may be taken over from living owners, who turn stale   |
//! | jumps backwards     | leases last longer and jobs wait until the clock has caught up; nothing is claimed twice |
//!
//! ```
//! use sochdb_claims::{AtomicClaimManager, ClaimResult, JobOptions, LeaseConfig};
//! use sochdb_kernel::{Kernel, Options};
//!
//! # fn main() -> Result<(), sochdb_claims::ClaimError> {
//! let env = sochdb_sim::memory();
//! let clock = env.clock.clone();
//! let kernel = Kernel::open(env, Options::default())?;
//! kernel.create_table("sent", Default::default())?;
//! let queue = AtomicClaimManager::open(&kernel, clock, "mail", LeaseConfig::default())?;
//!
//! queue.enqueue(b"to ada", JobOptions::default())?;
//! while let ClaimResult::Claimed(job) = queue.claim("worker 1")? {
//!     // The row and the acknowledgement commit together, or neither does.
//!     queue.complete(&job, |tx| Ok(tx.put("sent", job.payload(), b"done")?))?;
//! }
//! assert!(kernel.begin_read()?.get("sent", b"to ada")?.is_some());
//! assert_eq!(queue.stats()?.acked, 1);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod config;
mod error;
mod front;
mod home;
mod lease;
mod queue;
mod record;
mod stats;
mod swap;
mod token;

pub use config::{CLAIM_BATCH_MAX, LeaseConfig, OWNER_BYTES_MAX, WHY_BYTES_MAX};
pub use error::{ClaimError, ClaimOutcome};
pub use lease::{Holder, LeaseManager};
pub use queue::{AtomicClaimManager, Job, JobOptions, JobState, Released};
pub use record::JobId;
pub use stats::ClaimStats;
pub use swap::{CompareAndSwap, SwapOutcome};
pub use token::{ClaimResult, ClaimToken};
