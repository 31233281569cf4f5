//! The database's one thread: what the kernel, which has none, asks its embedder to do now and then.
//!
//! Every [`TICK`] it syncs commits whose delayed sync is due, runs a checkpoint when enough rows wait
//! for one or an index would be faster after one, goes on with indexes that a crash left half-built, and looks for
//! rows that have expired. Trouble is logged and counted, and never ends the thread: what failed is tried again.
//!
//! While somebody reads the database beside this process ([`sochdb_operations::Beside`]), a checkpoint waits, but no
//! longer than [`READERS_PATIENCE`], and not once rows take twice the memory that makes one due.
//!
//! A checkpoint merges a bounded slice of each table's segments. While it says that more is to be merged, another
//! follows without waiting for rows, as soon as the bound on bytes merged in a second lets it: so a large merge
//! leaves time for readers, and a checkpoint that rows make due never waits for one.

use crate::expiry::Expiry;
use crate::indexes::Unfinished;
use crate::telemetry::Served;
use parking_lot::{Condvar, Mutex};
use sochdb_host_abi::in_background;
use sochdb_index::IndexEngine;
use sochdb_kernel::Kernel;
use sochdb_observability::Telemetry;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How late a delayed sync or a checkpoint may begin. Forty wake-ups a second cost nothing that can be
/// measured, and a memtable cannot outgrow its bound meanwhile: a commit at twice the bound helps out.
const TICK: Duration = Duration::from_millis(25);
/// After a failure the next attempt waits, so that a full disk is not asked forty times a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a checkpoint waits for readers in other processes, for whom it would be the end.
const READERS_PATIENCE: Duration = Duration::from_secs(30);

/// How often the thread looks whether somebody else's checkpoint or load left segments to be merged.
const LOOK: Duration = Duration::from_secs(1);

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
    /// Starts the thread.
    pub(crate) fn start(jobs: Jobs, pace: Pace) -> std::io::Result<Background> {
        let stop = Arc::new(Stop::default());
        let (stop_it, now) = (stop.clone(), Instant::now());
        let Jobs { kernel, served, telemetry, expiry, unfinished, indexes } = jobs;
        let mut work = Work {
            kernel,
            served,
            telemetry,
            expiry,
            unfinished,
            indexes,
            pace,
            merge_at: None,
            segments: 0,
            yielding_since: None,
            looked: now,
            archive_trouble: None,
            stop: stop_it,
        };
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

/// What the thread does its work for.
pub(crate) struct Jobs {
    pub kernel: Kernel,
    pub served: Arc<Served>,
    pub telemetry: Telemetry,
    pub expiry: Arc<Expiry>,
    pub unfinished: Arc<Unfinished>,
    pub indexes: Arc<IndexEngine>,
}

/// How often the thread does what.
pub(crate) struct Pace {
    /// The bytes of segments that merges that nobody waits for may write in a second; zero for no bound.
    pub merge_bytes_per_second: u64,
    /// The codec that archived segments of the log are compressed by.
    pub archive_codec: Option<String>,
}

struct Work {
    kernel: Kernel,
    served: Arc<Served>,
    telemetry: Telemetry,
    expiry: Arc<Expiry>,
    unfinished: Arc<Unfinished>,
    indexes: Arc<IndexEngine>,
    pace: Pace,
    /// When the next slice of a merge may be done, if there is one.
    merge_at: Option<Instant>,
    /// How many segments there were when it last looked, and when that was.
    segments: u64,
    looked: Instant,
    /// Since when a checkpoint has been waiting for readers in other processes.
    yielding_since: Option<Instant>,
    /// Why the archive could not be compressed when it was last tried.
    archive_trouble: Option<String>,
    stop: Arc<Stop>,
}

impl Work {
    fn run(&mut self) {
        let mut wait = TICK;
        while !self.stop_within(wait) {
            wait = TICK;
            self.served.tick_plugins();
            match self.serve_kernel() {
                true => {
                    self.expiry.step();
                    in_background(|| self.unfinished.step());
                }
                false => wait = PATIENCE,
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
    fn serve_kernel(&mut self) -> bool {
        if let Err(error) = self.kernel.sync_due() {
            tracing::error!(%error, "delayed sync failed");
            return false;
        }
        let began = Instant::now();
        self.look(began);
        let is_due = self.kernel.checkpoint_due() || self.indexes.checkpoint_wanted();
        if !is_due && self.merge_at.is_none_or(|at| began < at) {
            return true;
        }
        if self.yields_to_readers(began) {
            return true;
        }
        // Nobody waits for what plugins do in it.
        match self.served.checkpoint(&self.telemetry) {
            Ok(report) => {
                tracing::debug!(?report, "checkpoint");
                let rest = self.pace.rest_after(report.bytes_merged);
                self.merge_at = report.unsettled.then(|| began + rest);
                self.segments = self.kernel.stats().segments;
                self.compress_archive();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "checkpoint failed; it is tried again");
                false
            }
        }
    }
}

impl Work {
    /// A new number of segments may mean that some are to be merged: after opening, a load, or a checkpoint of
    /// somebody else's.
    fn look(&mut self, now: Instant) {
        if now < self.looked + LOOK {
            return;
        }
        let segments = self.kernel.stats().segments;
        if segments != self.segments && 1 < segments && self.merge_at.is_none() {
            self.merge_at = Some(now);
        }
        (self.segments, self.looked) = (segments, now);
    }
}

impl Work {
    fn yields_to_readers(&mut self, now: Instant) -> bool {
        if !sochdb_operations::has_readers(self.kernel.vfs()) {
            self.yielding_since = None;
            return false;
        }
        now < *self.yielding_since.get_or_insert(now) + READERS_PATIENCE
    }

    /// Compresses what the log has archived since it last did, a segment at a time, so that the end need not wait.
    fn compress_archive(&mut self) {
        let Some(codec) = self.pace.archive_codec.clone() else { return };
        loop {
            let done = in_background(|| {
                sochdb_operations::compress_archive(&self.kernel, &codec, 1, &mut |_| {})
            });
            let trouble = match done {
                Ok(report) if report.compressed == 1 => match self.stop_within(Duration::ZERO) {
                    true => return,
                    false => continue,
                },
                Ok(report) => report.refusal.map(|why| why.to_string()),
                Err(error) => Some(error.to_string()),
            };
            // What stays plain is tried again after the next checkpoint, and only a change is worth a word.
            if let Some(why) = trouble.as_ref().filter(|_| self.archive_trouble != trouble) {
                tracing::warn!(codec, why, "archived log segments stay as they are");
            }
            self.archive_trouble = trouble;
            return;
        }
    }
}

impl Pace {
    /// How long after its beginning a slice that merged so many bytes may be followed by the next.
    fn rest_after(&self, bytes_merged: u64) -> Duration {
        let micros = bytes_merged.saturating_mul(1_000_000);
        micros
            .checked_div(self.merge_bytes_per_second)
            .map_or(Duration::ZERO, Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_rest_as_long_as_their_bytes_ask_for() {
        let pace = |merge_bytes_per_second| Pace { merge_bytes_per_second, archive_codec: None };
        assert_eq!(pace(64 << 20).rest_after(8 << 20), Duration::from_millis(125));
        assert_eq!(pace(64 << 20).rest_after(0), Duration::ZERO);
        assert_eq!(pace(0).rest_after(1 << 40), Duration::ZERO);
    }
}
