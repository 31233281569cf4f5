//! The database's one thread: what the kernel, which has none, asks its embedder to do now and then.
//!
//! Every [`TICK`] it syncs commits whose delayed sync is due and runs a checkpoint when enough rows wait
//! for one; every telemetry interval it hands the newest metrics to the observers. Trouble is logged
//! and counted, and never ends the thread: what failed is tried again.

use crate::telemetry::Telemetry;
use parking_lot::{Condvar, Mutex};
use sochdb_host_abi::in_background;
use sochdb_kernel::Kernel;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How late a delayed sync or a checkpoint may begin. Forty wake-ups a second cost nothing that can be
/// measured, and a memtable cannot outgrow its bound meanwhile: a commit at twice the bound helps out.
const TICK: Duration = Duration::from_millis(25);
/// After a failure the next attempt waits, so that a full disk is not asked forty times a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// The running thread; dropping it ends and joins it.
pub(crate) struct Background {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Background {
    /// Starts the thread. With `telemetry_interval` zero, observers are only served when somebody asks.
    pub(crate) fn start(
        kernel: Kernel,
        telemetry: Arc<Telemetry>,
        telemetry_interval: Duration,
        writes: bool,
    ) -> std::io::Result<Background> {
        let stop = Arc::new(Stop::default());
        let work = Work { kernel, telemetry, telemetry_interval, writes, stop: stop.clone() };
        let thread = std::thread::Builder::new()
            .name("sochdb-background".into())
            .spawn(move || work.run())?;
        Ok(Background { stop, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        *self.stop.asked.lock() = true;
        self.stop.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the background thread panicked");
        }
    }
}

struct Work {
    kernel: Kernel,
    telemetry: Arc<Telemetry>,
    telemetry_interval: Duration,
    writes: bool,
    stop: Arc<Stop>,
}

impl Work {
    fn run(&self) {
        let mut told = Instant::now();
        let mut wait = TICK;
        while !self.stop_within(wait) {
            wait = TICK;
            if self.writes && !self.serve_kernel() {
                wait = PATIENCE;
            }
            if !self.telemetry_interval.is_zero() && self.telemetry_interval <= told.elapsed() {
                self.telemetry.deliver();
                told = Instant::now();
            }
        }
    }

    /// Waits; returns whether it is time to end.
    fn stop_within(&self, wait: Duration) -> bool {
        let mut asked = self.stop.asked.lock();
        let deadline = Instant::now() + wait;
        while !*asked && !self.stop.wake.wait_until(&mut asked, deadline).timed_out() {}
        *asked
    }

    /// Does what is due; returns whether it went well.
    fn serve_kernel(&self) -> bool {
        if let Err(error) = self.kernel.sync_due() {
            tracing::error!(%error, "delayed sync failed");
            return false;
        }
        if !self.kernel.checkpoint_due() {
            return true;
        }
        // Nobody waits for what plugins do in it.
        match in_background(|| self.kernel.checkpoint()) {
            Ok(report) => {
                tracing::debug!(?report, "checkpoint");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "checkpoint failed; it is tried again");
                false
            }
        }
    }
}
