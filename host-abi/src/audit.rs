//! What guests did: every import they called, every call they got, and what came of it.
//!
//! ```text
//!   import ─▶ Entries, in the store ─▶ at the call's end, one lock ─▶ newest records: a ring
//!                                                                 ├─▶ denials: a ring of their own
//!                                                                 └─▶ a file, if one was named
//! ```
//!
//! | file      | what it is                                                            |
//! |-----------|-----------------------------------------------------------------------|
//! | `record`  | one record, as people and programs read it                            |
//! | `entries` | the store's side: what an import costs to record                      |
//! | `ticks`   | the clock they are timed by                                           |
//! | `file`    | JSON lines with rotation, written by a thread of their own            |
//!
//! - WASI's functions are answered by a library and not recorded one by one; what they do with granted files is
//!   counted as fuel of the call.
//! - Both rings are bounded; the oldest records go first. Denials have their own, so that ordinary traffic
//!   cannot push them out.
//! - A file that cannot be written is counted, and fails no call. When it is slow, ordinary records are left
//!   out of it and counted; a denial waits for its place.

mod entries;
mod file;
mod record;
mod ticks;

pub(crate) use entries::{Entries, Entry, Who};
pub use file::{AuditFile, read_file};
pub(crate) use record::Object;
pub use record::{AuditFilter, AuditKind, AuditRecord, Outcome};
pub(crate) use ticks::Ticks;

use crate::limits::audit::{DENIALS_MAX, RECORDS_MAX};
use file::Sink;
use parking_lot::Mutex;
use serde::Serialize;
use sochdb_kernel::{KernelError, KernelResult};
use sochdb_telemetry::{Family, Metric};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the distance of the two clocks is taken for constant.
const ANCHOR_MAX: Duration = Duration::from_secs(1);

/// The audit trail of one host. Shared by its plugins.
pub struct AuditLog {
    rings: Mutex<Rings>,
    records_max: usize,
    sink: OnceLock<Sink>,
}

struct Rings {
    newest: VecDeque<Kept>,
    denials: VecDeque<Kept>,
    stats: AuditStats,
    anchor: Anchor,
}

/// How much was recorded, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AuditStats {
    /// Records so far.
    pub recorded: u64,
    /// Denials among them.
    pub denied: u64,
    /// Records that newer ones have pushed out of memory.
    pub forgotten: u64,
    /// Denials that newer ones have pushed out of memory.
    pub denials_forgotten: u64,
    /// Records written to the file.
    pub written: u64,
    /// Records left out of the file, because it was too slow.
    pub left_out: u64,
    /// Records that the file did not take, because writing it failed.
    pub failed: u64,
}

sochdb_telemetry::stats! {
    /// The part of it that observers get.
    struct Counted {
        counter recorded = "sochdb_audit_records_total" "Calls recorded.",
        counter denied = "sochdb_audit_denials_total" "Calls that were denied.",
        counter left_out = "sochdb_audit_left_out_total" "Records the file was too slow for.",
        counter failed = "sochdb_audit_failed_total" "Records the file did not take.",
    }
}

/// A record in memory.
#[derive(Clone)]
struct Kept {
    who: Arc<Who>,
    unix_us: u64,
    entry: Entry,
}

/// Two clocks at the same moment: the one that records are timed by, and the calendar.
struct Anchor {
    at: Ticks,
    unix_us: u64,
}

impl Anchor {
    fn now() -> Anchor {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Anchor { at: Ticks::now(), unix_us: micros(since_1970) }
    }

    /// `at`, which is not long ago.
    fn unix_us(&self, at: Ticks) -> u64 {
        if self.at <= at {
            self.unix_us + at.nanos_since(self.at) / 1000
        } else {
            self.unix_us.saturating_sub(self.at.nanos_since(at) / 1000)
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Default for AuditLog {
    fn default() -> Self {
        AuditLog::new(RECORDS_MAX)
    }
}

impl AuditLog {
    /// A trail that keeps the newest `records_max` records in memory.
    pub fn new(records_max: usize) -> AuditLog {
        let (newest, denials) = (VecDeque::new(), VecDeque::new());
        let rings = Rings { newest, denials, stats: AuditStats::default(), anchor: Anchor::now() };
        AuditLog {
            rings: Mutex::new(rings),
            records_max: records_max.max(1),
            sink: OnceLock::new(),
        }
    }

    /// Writes what is recorded from now on to the file `path`, too; what the module says of files holds. Read
    /// it with [`read_file`].
    ///
    /// # Errors
    /// `Unavailable` when `path` cannot be written; `Invalid` when there is a file already.
    pub fn write_to(&self, path: &Path) -> KernelResult<()> {
        let sink = Sink::open(path)?;
        self.sink.set(sink).map_err(|_| {
            KernelError::invalid(format!(
                "the audit trail has a file already, it cannot have {} as well",
                path.display()
            ))
        })
    }

    /// The newest `limit` records that fit `filter`, oldest first.
    pub fn recent(&self, filter: &AuditFilter, limit: usize) -> Vec<AuditRecord> {
        let rings = self.rings.lock();
        let records = rings.newest.iter().rev().map(Kept::record);
        let mut records: Vec<_> =
            records.filter(|record| filter.fits(record)).take(limit).collect();
        records.reverse();
        records
    }

    /// The newest denials, oldest first.
    pub fn denials(&self) -> Vec<AuditRecord> {
        self.rings.lock().denials.iter().map(Kept::record).collect()
    }

    /// How much was recorded.
    pub fn stats(&self) -> AuditStats {
        let mut stats = self.rings.lock().stats;
        if let Some(sink) = self.sink.get() {
            (stats.written, stats.left_out, stats.failed) = sink.counts();
        }
        stats
    }

    /// The same, for observers.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let AuditStats { recorded, denied, left_out, failed, .. } = self.stats();
        Counted { recorded, denied, left_out, failed }.metrics()
    }

    /// What the above are.
    pub(crate) fn families() -> impl Iterator<Item = Family> {
        Counted::FAMILIES.iter().copied()
    }

    /// Waits until everything so far is in the file, and the file on the disk. Nothing to do without one.
    ///
    /// # Errors
    /// `Unavailable` when the file does not take it.
    pub fn flush(&self) -> KernelResult<()> {
        self.sink.get().map_or(Ok(()), Sink::flush)
    }

    /// Takes what somebody did who has no store to gather it in.
    pub(crate) fn take_one(&self, who: &Arc<Who>, entry: Entry) {
        self.take(who, &mut vec![entry]);
    }

    /// Takes what `who` did.
    fn take(&self, who: &Arc<Who>, entries: &mut Vec<Entry>) {
        let sink = self.sink.get();
        let mut for_file = Vec::with_capacity(if sink.is_some() { entries.len() } else { 0 });
        {
            let mut rings = self.rings.lock();
            let rings = &mut *rings;
            if let Some(newest) = entries.last()
                && ANCHOR_MAX < newest.began.since(rings.anchor.at)
            {
                rings.anchor = Anchor::now();
            }
            rings.stats.recorded += entries.len() as u64;
            for entry in entries.drain(..) {
                let unix_us = rings.anchor.unix_us(entry.began);
                let kept = Kept { who: who.clone(), unix_us, entry };
                if kept.entry.outcome.is_denial() {
                    rings.stats.denied += 1;
                    rings.stats.denials_forgotten +=
                        push(&mut rings.denials, DENIALS_MAX, kept.clone());
                }
                if sink.is_some() {
                    for_file.push(kept.clone());
                }
                rings.stats.forgotten += push(&mut rings.newest, self.records_max, kept);
            }
        }
        if let Some(sink) = sink {
            sink.send(for_file);
        }
    }
}

/// How many records that pushed out.
fn push(ring: &mut VecDeque<Kept>, max: usize, kept: Kept) -> u64 {
    let is_full = ring.len() == max;
    if is_full {
        ring.pop_front();
    }
    ring.push_back(kept);
    is_full.into()
}

impl Kept {
    fn record(&self) -> AuditRecord {
        let entry = &self.entry;
        AuditRecord {
            unix_us: self.unix_us,
            kind: entry.kind,
            plugin: self.who.plugin.clone(),
            tenant: self.who.tenant.clone(),
            function: entry.function.to_owned(),
            object: entry.object.shown(),
            outcome: entry.outcome,
            rows: entry.rows,
            bytes: entry.bytes,
            fuel: entry.fuel,
            nanos: entry.nanos,
        }
    }
}

#[cfg(test)]
mod tests;
