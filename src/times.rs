//! The thread that notes when commits are made, for databases that keep their log.
//!
//! It looks once a second and does hardly anything then. It has a thread of its own because the other one may be
//! busy with a checkpoint for longer, and what nobody looks at cannot be gone back to.

use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{Clock, Kernel, KernelResult};
use sochdb_operations::CommitTimes;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The running thread; dropping it looks once more, and joins it.
pub(crate) struct TimeKeeper {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl TimeKeeper {
    /// Starts the thread, if `kernel` keeps an archive. Without the record a database serves all the same, so
    /// trouble with it is only logged.
    ///
    /// # Errors
    /// `Unavailable` when the system gives no thread.
    pub(crate) fn start(
        kernel: &Kernel,
        clock: Arc<dyn Clock>,
    ) -> KernelResult<Option<TimeKeeper>> {
        let opened = CommitTimes::open(kernel).unwrap_or_else(|error| {
            tracing::warn!(%error, "the times of commits are not recorded");
            None
        });
        let Some(mut times) = opened else { return Ok(None) };
        look(&mut times, &*clock);
        let stop = Arc::new(Stop::default());
        let stop_it = stop.clone();
        let work = move || {
            while !stop_it.within(EVERY) {
                look(&mut times, &*clock);
            }
            // What was committed since belongs to now, not to the next opening.
            look(&mut times, &*clock);
            if let Err(error) = times.finish() {
                tracing::warn!(%error, "the last times of commits may not be on disk");
            }
        };
        let thread = std::thread::Builder::new().name("sochdb-times".into()).spawn(work);
        let no_thread = |error| sochdb_kernel::KernelError::io("start a thread", error);
        Ok(Some(TimeKeeper { stop, thread: Some(thread.map_err(no_thread)?) }))
    }
}

impl Drop for TimeKeeper {
    fn drop(&mut self) {
        *self.stop.asked.lock() = true;
        self.stop.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that notes times panicked");
        }
    }
}

impl Stop {
    /// Waits; returns whether it is time to end.
    fn within(&self, wait: Duration) -> bool {
        let mut asked = self.asked.lock();
        if !*asked {
            self.wake.wait_for(&mut asked, wait);
        }
        *asked
    }
}

fn look(times: &mut CommitTimes, clock: &dyn Clock) {
    if let Err(error) = times.look(clock.unix_us()) {
        tracing::debug!(%error, "the newest commit was not noted; it is tried again");
    }
}
