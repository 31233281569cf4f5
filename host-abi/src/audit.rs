//! What guests did: every import they called, every call they got, and what came of it.
//!
//! ```text
//!   import ─▶ Entries, in the store ─▶ at the call's end, one lock ─▶ newest records: a ring, and whose they are
//!                                                                 ├─▶ denials: a ring of their own
//!                                                                 └─▶ a file, if one was named
//! ```
//!
//! | file      | what it is                                                            |
//! |-----------|-----------------------------------------------------------------------|
//! | `record`  | one record, as people and programs read it                            |
//! | `entries` | the store's side: what an import costs to record                      |
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

pub(crate) use entries::{Entries, Entry, Who};
pub use file::{AuditFile, read_file};
pub(crate) use record::Object;
pub use record::{AuditFilter, AuditKind, AuditRecord, Outcome};
pub(crate) use sochdb_observability::Ticks;

use crate::limits::audit::{DENIALS_MAX, RECORDS_MAX};
use file::Sink;
use parking_lot::Mutex;
use serde::Serialize;
use sochdb_kernel::{KernelError, KernelResult};
use sochdb_telemetry::{Family, Metric};
use std::collections::VecDeque;
use std::iter::repeat_n;
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
    newest: VecDeque<Entry>,
    /// Whose the newest records are, as many as there are.
    runs: VecDeque<Run>,
    denials: VecDeque<Kept>,
    stats: AuditStats,
    anchor: Anchor,
}

/// Records that follow each other and are of the same store and second: what they need not each have for themselves.
struct Run {
    who: Arc<Who>,
    anchor: Anchor,
    records: usize,
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

/// A record by itself.
#[derive(Clone)]
struct Kept {
    who: Arc<Who>,
    anchor: Anchor,
    entry: Entry,
}

/// Two clocks at the same moment: the one that records are timed by, and the calendar.
#[derive(Clone, Copy, PartialEq, Eq)]
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
        let (newest, runs, denials, stats) = Default::default();
        let rings = Rings { newest, runs, denials, stats, anchor: Anchor::now() };
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
        let records = rings.newest_first();
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
        let mut for_file = Vec::new();
        {
            let mut rings = self.rings.lock();
            if let Some(newest) = entries.last()
                && ANCHOR_MAX < newest.began.since(rings.anchor.at)
            {
                rings.anchor = Anchor::now();
            }
            let anchor = rings.anchor;
            let kept = |entry: &Entry| Kept { who: who.clone(), anchor, entry: entry.clone() };
            let denials = entries.iter().filter(|entry| entry.outcome.is_denial());
            denials.for_each(|entry| rings.keep_denial(kept(entry)));
            if sink.is_some() {
                for_file = entries.iter().map(kept).collect();
            }
            rings.keep(who, entries, self.records_max);
        }
        if let Some(sink) = sink {
            sink.send(for_file);
        }
    }
}

impl Rings {
    /// Keeps what `who` did, and forgets what is too old then.
    fn keep(&mut self, who: &Arc<Who>, entries: &mut Vec<Entry>, records_max: usize) {
        self.stats.recorded += entries.len() as u64;
        let over = (self.newest.len() + entries.len()).saturating_sub(records_max);
        let old = over.min(self.newest.len());
        self.forget(old);
        entries.drain(..over - old);
        self.stats.forgotten += over as u64;
        let (anchor, records) = (self.anchor, entries.len());
        match self.runs.back_mut() {
            Some(run) if Arc::ptr_eq(&run.who, who) && run.anchor == anchor => {
                run.records += records;
            }
            _ => self.runs.push_back(Run { who: who.clone(), anchor, records }),
        }
        self.newest.extend(entries.drain(..));
    }

    /// Forgets the oldest records, so many of them.
    fn forget(&mut self, mut records: usize) {
        self.newest.drain(..records);
        while let Some(run) = self.runs.front_mut().filter(|_| 0 < records) {
            let gone = records.min(run.records);
            run.records -= gone;
            records -= gone;
            if run.records == 0 {
                self.runs.pop_front();
            }
        }
    }

    fn keep_denial(&mut self, denial: Kept) {
        self.stats.denied += 1;
        if self.denials.len() == DENIALS_MAX {
            self.denials.pop_front();
            self.stats.denials_forgotten += 1;
        }
        self.denials.push_back(denial);
    }

    fn newest_first(&self) -> impl Iterator<Item = AuditRecord> {
        let runs = self.runs.iter().rev().flat_map(|run| repeat_n(run, run.records));
        let both = self.newest.iter().rev().zip(runs);
        both.map(|(entry, run)| entry.record(&run.who, run.anchor))
    }
}

impl Kept {
    fn record(&self) -> AuditRecord {
        self.entry.record(&self.who, self.anchor)
    }
}

impl Entry {
    fn record(&self, who: &Who, anchor: Anchor) -> AuditRecord {
        AuditRecord {
            unix_us: anchor.unix_us(self.began),
            kind: self.kind,
            plugin: who.plugin.clone(),
            tenant: who.tenant.clone(),
            function: self.function.to_owned(),
            object: self.object.shown(),
            outcome: self.outcome,
            rows: self.rows,
            bytes: self.bytes,
            fuel: self.fuel,
            nanos: self.ended.nanos_since(self.began),
        }
    }
}

#[cfg(test)]
mod tests;
