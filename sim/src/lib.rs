//! A world in memory: files and a clock that do what they are told.
//!
//! For tests, and for databases that need not outlive their process:
//!
//! ```
//! use sochdb_kernel::{Kernel, KernelResult, Options};
//!
//! # fn main() -> KernelResult<()> {
//! let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
//! kernel.create_table("scratch", Default::default())?;
//! kernel.run(|tx| tx.put("scratch", b"key", b"value"))
//! # }
//! ```

#![forbid(unsafe_code)]

mod memory;
mod merging;

pub use memory::MemoryVfs;
pub use merging::merge_by_flush;
use sochdb_kernel::{Clock, Environment};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory in memory, gone with the database, and the machine's clock.
pub fn memory() -> Environment {
    Environment::with_vfs(Arc::new(MemoryVfs::new()))
}

/// A clock that moves only when it is told to.
#[derive(Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Moves the clock forward by `us` microseconds.
    pub fn advance(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn unix_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
