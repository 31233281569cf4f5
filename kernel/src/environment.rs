//! What the kernel needs from the world: files, a clock, and a seed. All three come in as arguments,
//! so that a simulator can own every crash and every minute.

use crate::vfs::{DiskVfs, Vfs};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Microseconds since some fixed moment; never goes backwards.
    fn monotonic_us(&self) -> u64;
    /// Microseconds since 1970.
    fn unix_us(&self) -> u64;
}

/// When this process first asked for the time.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's clock.
#[derive(Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic_us(&self) -> u64 {
        u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn unix_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Where a database lives, and by which clock.
#[derive(Clone)]
pub struct Environment {
    /// The database's directory.
    pub vfs: Arc<dyn Vfs>,
    /// The clock for waits and measurements.
    pub clock: Arc<dyn Clock>,
    /// Becomes the identity of a new database, which ties its log to its data file.
    pub seed: u64,
}

impl Environment {
    /// A directory on disk, with the machine's clock.
    pub fn disk(path: impl AsRef<Path>) -> Environment {
        Environment::with_vfs(Arc::new(DiskVfs::new(path)))
    }

    /// Any directory, with the machine's clock.
    pub fn with_vfs(vfs: Arc<dyn Vfs>) -> Environment {
        let clock = SystemClock;
        let seed = clock.unix_us() ^ (u64::from(std::process::id()) << 44);
        Environment { vfs, clock: Arc::new(clock), seed }
    }
}
