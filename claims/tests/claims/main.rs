//! Claims judged from outside: what they promise, a model, power cuts, and real threads.
//!
//! | room        | question                                                                       |
//! |-------------|--------------------------------------------------------------------------------|
//! | `jobs`      | what each call of a queue does, and refuses                                    |
//! | `names`     | the same for leases on names, and for compare and swap                         |
//! | `model`     | is a queue what a plain list of jobs is, whatever is called and whatever the clock does? |
//! | `crash`     | does a power cut at any call lose a job, do one twice, or repeat a fencing number? |
//! | `threads`   | eight workers of whom some die: is every job done exactly once?                |
//!
//! The disk that crashes is the kernel's own test disk.

#[path = "../../../kernel/tests/sim/sim_disk.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod sim_disk;
#[path = "../../../kernel/tests/sim/sim_vfs.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod sim_vfs;

mod crash;
mod jobs;
mod model;
mod names;
mod threads;

use sochdb_claims::{AtomicClaimManager, ClaimToken, LeaseConfig};
use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{Clock, Environment, Kernel, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock on the wall that anybody may set, forward and back. Its monotonic side moves by `tick_us` each
/// time it is asked.
pub struct WallClock {
    unix_us: AtomicU64,
    monotonic_us: AtomicU64,
    tick_us: u64,
}

impl WallClock {
    /// Shows `unix_us`.
    pub fn at(unix_us: u64, tick_us: u64) -> Arc<WallClock> {
        let (unix_us, monotonic_us) = (unix_us.into(), 0.into());
        Arc::new(WallClock { unix_us, monotonic_us, tick_us })
    }

    /// Sets it.
    pub fn set(&self, unix_us: u64) {
        self.unix_us.store(unix_us, Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, us: u64) {
        self.unix_us.fetch_add(us, Ordering::SeqCst);
    }
}

impl Clock for WallClock {
    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.fetch_add(self.tick_us, Ordering::SeqCst)
    }

    fn unix_us(&self) -> u64 {
        self.unix_us.load(Ordering::SeqCst)
    }
}

/// Opens a database in `vfs`.
pub fn open(vfs: Arc<dyn Vfs>) -> Kernel {
    let env = Environment { vfs, clock: WallClock::at(0, 0), seed: 7 };
    Kernel::open(env, Options { wal_segment_bytes: 16 << 10, ..Options::default() }).unwrap()
}

/// A database in memory with a table `done`, a queue in it, and the queue's clock.
pub fn queue(config: LeaseConfig) -> (Kernel, AtomicClaimManager, Arc<WallClock>) {
    let kernel = open(Arc::new(sochdb_sim::MemoryVfs::new()));
    kernel.create_table("done", Default::default()).unwrap();
    let clock = WallClock::at(1_000_000, 0);
    let queue = AtomicClaimManager::open(&kernel, clock.clone(), "jobs", config).unwrap();
    (kernel, queue, clock)
}

/// Claims a job that must be there.
pub fn claim(queue: &AtomicClaimManager, owner: &str) -> ClaimToken {
    let result = queue.claim(owner).unwrap();
    let words = format!("{result:?}");
    result.claimed().unwrap_or_else(|| panic!("a job is due, but {words}"))
}

/// Claims as long as there is something, and returns the payloads.
pub fn drain(queue: &AtomicClaimManager) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(job) = queue.claim("drain").unwrap().claimed() {
        payloads.push(String::from_utf8(job.payload().to_vec()).unwrap());
    }
    payloads
}
