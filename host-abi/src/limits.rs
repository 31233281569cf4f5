//! What one plugin, one instance and one call may use, and where each bound is enforced.
//!
//! | what                              | bound                   | enforced by                           |
//! |-----------------------------------|-------------------------|---------------------------------------|
//! | WebAssembly operators per call    | `fuel_limit`            | the engine, at loops and calls        |
//! | host work per call                | `fuel_limit`            | imports charge fuel, see [`fuel`]     |
//! | time per call, waiting included   | `timeout_ms`            | the pool and the engine's epochs      |
//! | the same of flushes, merges, builds | `background_...`      | the same                              |
//! | memories and tables of a store    | `memory_limit_mb`       | a limiter of ours, over their sum     |
//! | instances at the same time        | `max_instances`         | the pool, for each tenant             |
//! | what one tenant uses              | its own                 | `tenant.rs`, the pool                 |
//! | calls of guests by guests         | [`CALL_DEPTH_MAX`]      | the chain                             |
//! | stack of a thread under them      | [`CHAIN_STACK_BYTES_MAX`] | the chain                           |
//! | tenants with instances            | [`TENANT_POOLS_MAX`]    | the pools: the longest unused end     |
//! | failures in a row                 | [`quarantine`]          | the pool                              |
//! | records of what guests did        | [`audit`]               | the audit trail                       |
//! | handles of an instance            | 8192                    | the engine                            |
//! | segments its readers have open    | 4096                    | the storage adapter                   |
//! | segments of indexes it has open   | 64                      | the index adapter                     |
//! | entries one call compares         | [`COMPARED_MAX`]        | the entries import                    |
//! | bytes of a segment read or append | [`SEGMENT_CHUNK_BYTES_MAX`] | the segments import, the engine   |
//! | what one import call carries in   | the result's bound      | the engine, while it copies           |
//! | log lines and metrics per call    | [`volume`]              | the telemetry import                  |
//! | metric series per plugin          | [`volume::SERIES_MAX`]  | the telemetry import                  |
//! | bytes of a result                 | the adapter, per call   | the engine, while it copies           |
//! | work in granted files per call    | as much as its fuel     | the WASI imports, an account of its own |
//! | files an instance has open        | 64                      | the WASI imports                      |
//! | rows held for a call's open scans | `memory_limit_mb`       | the rows import                       |
//! | arguments, result of a procedure  | [`PROCEDURE_BYTES_MAX`] | the procedure adapter, the engine     |
//! | functions, blocks, nesting        | `compiled_code/shape.rs` | before it is compiled                |
//! | bytes of a component              | [`COMPONENT_BYTES_MAX`] | before it is hashed or compiled       |
//! | bytes of a manifest               | [`MANIFEST_BYTES_MAX`]  | before it is parsed                   |
//!
//! A manifest chooses within the ranges below; outside them it is refused.

use crate::tenant::Tenant;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// 64 MiB. Guests of a few hundred KiB are usual; compiling is the one thing no fuel pays for.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// 256 KiB. Manifests are written by people.
pub const MANIFEST_BYTES_MAX: u64 = 256 << 10;

/// What `memory_limit_mb` may say: WebAssembly's own 4 GiB is the most one memory can have.
pub const MEMORY_LIMIT_MB: RangeInclusive<u64> = 1..=4096;
/// What `fuel_limit` may say. A million operators is less than a millisecond, 10^12 some minutes.
pub const FUEL_LIMIT: RangeInclusive<u64> = 1_000_000..=1_000_000_000_000;
/// What `timeout_ms` may say: up to ten minutes.
pub const TIMEOUT_MS: RangeInclusive<u64> = 1..=600_000;
/// What `background_fuel_limit` may say: merging writes all rows of a table again.
pub const BACKGROUND_FUEL_LIMIT: RangeInclusive<u64> = 1_000_000..=1_000_000_000_000_000;
/// What `background_timeout_ms` may say: up to a day.
pub const BACKGROUND_TIMEOUT_MS: RangeInclusive<u64> = 1..=86_400_000;
/// What `max_instances` may say. More than cores is of no use, and each has a memory of its own.
pub const MAX_INSTANCES: RangeInclusive<u64> = 1..=256;
/// The least `max_instances` of a storage engine or an index: one merges what another one reads.
pub const STORAGE_INSTANCES_MIN: u64 = 2;

/// Core instances, memories and tables a store may have. A Rust guest has three instances (itself and
/// its adapters), one memory and two tables; composed components have a few more of each.
const INSTANCES_PER_STORE_MAX: usize = 64;
const MEMORIES_PER_STORE_MAX: usize = 16;
const TABLES_PER_STORE_MAX: usize = 32;
/// What one table element costs the host.
const TABLE_ELEMENT_BYTES: usize = 16;

/// Component handles that may be open in a store at once: segments of open readers, and a few more.
pub(crate) const HANDLES_PER_STORE_MAX: usize = 8192;
/// Segments that the readers of one store may have open. A table that is merged has some tens.
pub(crate) const SEGMENTS_PER_STORE_MAX: usize = 4096;
/// 1 MiB. What one read of a segment, or one append, carries; a bound of the contract.
pub const SEGMENT_CHUNK_BYTES_MAX: usize = 1 << 20;
/// Rows of one batch, and bytes after which it ends; whoever asks for more gets that.
pub(crate) const BATCH_ROWS_MAX: u32 = 8192;
pub(crate) const BATCH_BYTES_MAX: u32 = 1 << 20;
/// Entries of an index that one call compares; a bound of the contract.
pub const COMPARED_MAX: usize = 4096;
/// What an index plugin tells of one segment: names and numbers, and bytes of each name.
pub(crate) const INDEX_STATS_MAX: usize = 64;
pub(crate) const INDEX_STAT_NAME_BYTES_MAX: usize = 64;
/// Conditions of one scan.
pub(crate) const CONDITIONS_MAX: usize = 64;
/// 4 MiB. Arguments and the result of a procedure.
pub const PROCEDURE_BYTES_MAX: usize = 4 << 20;
/// Procedures of one plugin, and bytes of each one's name; descriptions and schemas are bounded together.
pub(crate) const PROCEDURES_MAX: usize = 256;
pub(crate) const PROCEDURE_NAME_BYTES_MAX: usize = 64;
pub(crate) const DESCRIBE_BYTES_MAX: usize = 1 << 20;
/// Rows of a scan's first batch; later ones are larger.
pub(crate) const SCAN_ROWS_FIRST: usize = 128;
/// 64 KiB. An end of a range may be longer than any key, but not without bound.
pub(crate) const RANGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of WebAssembly stack. Half of what a thread of the standard library has, so that the host's
/// own frames below and above it have room.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;
/// Room for an error's text, and small results, beside what an adapter expects.
pub(crate) const RESULT_SLACK_BYTES: usize = 64 << 10;
/// What one instance may tell the one of the next version.
pub(crate) const STATE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a guest's own words that are kept in an error.
pub(crate) const ERROR_TEXT_BYTES_MAX: usize = 1024;

/// Calls of guests that may run inside each other. A procedure that reads a table whose engine restores a
/// block needs three.
pub const CALL_DEPTH_MAX: usize = 8;
/// 1 MiB. Stack that calls may have used before another one begins inside them. Each guest may fill
/// `STACK_BYTES_MAX` more, and threads of the standard library have 2 MiB.
pub const CHAIN_STACK_BYTES_MAX: usize = 1 << 20;
/// Tenants that have instances of one plugin at the same time, working ones not counted.
pub const TENANT_POOLS_MAX: usize = 256;

/// How much is kept of what guests did.
pub mod audit {
    /// Records in memory, of some hundred bytes each.
    pub const RECORDS_MAX: usize = 1 << 16;
    /// Denials in memory beside them.
    pub const DENIALS_MAX: usize = 1 << 12;
    /// Records that a store keeps before it gives them to the others.
    pub const ENTRIES_MAX: usize = 256;
    /// Bytes of an object's name that are kept.
    pub const OBJECT_BYTES_MAX: usize = 128;
    /// Records that wait to be written to a file.
    pub const QUEUE_RECORDS_MAX: usize = 1 << 14;
    /// Denials that wait to be written; whoever has one more waits with it.
    pub const QUEUE_DENIALS_MAX: usize = 1 << 12;
    /// 8 MiB. Bytes of one file, of which there are at most four.
    pub const FILE_BYTES_MAX: u64 = 8 << 20;
}

/// What happens to a plugin that keeps failing, for one tenant.
pub mod quarantine {
    use std::time::Duration;

    /// Failures in a row before it is kept from working for a while. Fewer happen to good plugins: a few
    /// bad inputs one after the other, a machine that stood still.
    pub const BACK_OFF_FAILURES: u32 = 5;
    /// The first while; each further failure doubles it.
    pub const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
    /// The longest while.
    pub const BACK_OFF_MAX: Duration = Duration::from_secs(10);
    /// Failures in a row before it is kept from working until somebody acts. They take more than a minute.
    pub const QUARANTINE_FAILURES: u32 = 20;

    const _: () = assert!(BACK_OFF_FAILURES < QUARANTINE_FAILURES, "first the one, then the other");
}

/// What host calls cost in fuel, so that a guest cannot make the host work for nothing. Measured: a
/// call that carries nothing takes as long as some 200 operators, a byte about as long as one.
pub mod fuel {
    /// Any call of the host.
    pub const CALL: u64 = 200;
    /// Each byte that a call carries.
    pub const BYTE: u64 = 1;
    /// How many values of vectors are compared, many at a time, while one byte is carried.
    pub const VALUES_COMPARED: u64 = 4;
    /// Each value of a vector that is made ready to be compared with others, in bytes.
    pub const VALUE_READY: u64 = 4;
}

/// How much one call may say through the telemetry import, and one plugin may keep there.
pub mod volume {
    /// Log lines in one call.
    pub const LOG_LINES_PER_CALL_MAX: u32 = 100;
    /// Bytes of one log line.
    pub const LOG_LINE_BYTES_MAX: usize = 4 << 10;
    /// Log lines the host keeps until they are collected; the oldest goes first and is counted.
    pub const LOG_LINES_KEPT_MAX: usize = 1000;
    /// Metrics updated in one call.
    pub const METRICS_PER_CALL_MAX: u32 = 1000;
    /// Series, that is names with different labels, of one plugin.
    pub const SERIES_MAX: usize = 500;
    /// Labels of one metric.
    pub const LABELS_MAX: usize = 8;
    /// Bytes of a metric's or label's name.
    pub const NAME_BYTES_MAX: usize = 128;
    /// Bytes of a label's value.
    pub const LABEL_VALUE_BYTES_MAX: usize = 256;
}

/// The limits a plugin runs under, as its manifest chose them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Bytes of all memories and tables of one instance together.
    pub memory_bytes_max: u64,
    /// WebAssembly operators of one call, host work included.
    pub fuel_max: u64,
    /// Milliseconds of one call, waiting for a free instance included.
    pub timeout_ms: u64,
    /// Instances at the same time.
    pub instances_max: u32,
    /// What a call in the background has instead, for plugins that have such calls.
    pub background: Option<Background>,
}

/// What one call in the background, such as a flush, a merge or the build of an index, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Background {
    /// WebAssembly operators of one call, host work included.
    pub fuel_max: u64,
    /// Milliseconds of one call, waiting for a free instance included.
    pub timeout_ms: u64,
}

/// Which budget a call has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Somebody waits for it.
    Foreground,
    /// Nobody does.
    Background,
}

/// What one call may use, and whose bound that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) fuel_max: u64,
    pub(crate) fuel_bound: BoundOf,
    pub(crate) timeout: Duration,
    pub(crate) timeout_bound: BoundOf,
}

/// Whose bound a call has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundOf {
    /// The plugin's, under this key of its manifest.
    Plugin(&'static str),
    /// What the guest that called it has left.
    Caller,
    /// What its tenant gets in a second.
    Tenant,
}

impl Limits {
    pub(crate) fn budget(&self, work: Work) -> Budget {
        let (fuel_max, fuel_key, timeout_ms, timeout_key) =
            match self.background.filter(|_| work == Work::Background) {
                Some(Background { fuel_max, timeout_ms }) => {
                    (fuel_max, "background_fuel_limit", timeout_ms, "background_timeout_ms")
                }
                None => (self.fuel_max, "fuel_limit", self.timeout_ms, "timeout_ms"),
            };
        Budget {
            fuel_max,
            fuel_bound: BoundOf::Plugin(fuel_key),
            timeout: Duration::from_millis(timeout_ms),
            timeout_bound: BoundOf::Plugin(timeout_key),
        }
    }
}

impl Budget {
    /// Has no more than the caller has left.
    pub(crate) fn cut_to_caller(&mut self, fuel: u64, time: Duration) {
        if fuel < self.fuel_max {
            (self.fuel_max, self.fuel_bound) = (fuel, BoundOf::Caller);
        }
        if time < self.timeout {
            (self.timeout, self.timeout_bound) = (time, BoundOf::Caller);
        }
    }

    /// Has no more fuel than its tenant gets in a second.
    pub(crate) fn cut_to_tenant(&mut self, fuel: u64) {
        if fuel < self.fuel_max {
            (self.fuel_max, self.fuel_bound) = (fuel, BoundOf::Tenant);
        }
    }

    /// What a call did that had no fuel left.
    pub(crate) fn no_fuel(&self) -> String {
        let fuel = self.fuel_max;
        match self.fuel_bound {
            BoundOf::Plugin(key) => format!("used up its {key} of {fuel}"),
            BoundOf::Caller => format!("used up the fuel that its caller had left, {fuel}"),
            BoundOf::Tenant => format!("used up its tenant's fuel_per_second of {fuel}"),
        }
    }

    /// What a call did that had no time left.
    pub(crate) fn no_time(&self) -> String {
        let ms = self.timeout.as_millis();
        match self.timeout_bound {
            BoundOf::Plugin(key) => format!("ran past its {key} of {ms}"),
            _ => format!("ran past the {ms} ms that its caller had left"),
        }
    }
}

/// What is really asked for when a batch of so many rows and bytes is.
pub(crate) fn clamp_rows(rows_max: u32, bytes_max: u32) -> (usize, usize) {
    (rows_max.clamp(1, BATCH_ROWS_MAX) as usize, bytes_max.clamp(1, BATCH_BYTES_MAX) as usize)
}

/// Bounds the memories and tables of one store by their sum, where wasmtime's own limits count each
/// memory alone. A refused growth is a `-1` for the guest, which may cope; that it happened is kept,
/// so that a guest which then aborts is reported as one that ran out of memory.
pub(crate) struct MemoryLimiter {
    bytes_max: u64,
    bytes: u64,
    last_growth_bytes: u64,
    /// Whose memory this is; it has a bound over all its stores.
    tenant: Option<Arc<Tenant>>,
    /// What all instances of the plugin have together, to be shown.
    shown: Arc<AtomicU64>,
    refused: Option<MemoryBound>,
}

/// Which bound a growth met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    /// `memory_limit_mb`.
    Store,
    /// `memory_bytes_max`.
    Tenant,
}

impl MemoryLimiter {
    pub(crate) fn new(
        bytes_max: u64,
        tenant: Option<Arc<Tenant>>,
        shown: Arc<AtomicU64>,
    ) -> MemoryLimiter {
        MemoryLimiter { bytes_max, bytes: 0, last_growth_bytes: 0, tenant, shown, refused: None }
    }

    /// Which bound refused a growth since the last time this was asked.
    pub(crate) fn take_refused(&mut self) -> Option<MemoryBound> {
        self.refused.take()
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let total = self.bytes.saturating_add(bytes);
        if self.bytes_max < total {
            self.refused = Some(MemoryBound::Store);
            return false;
        }
        if self.tenant.as_ref().is_some_and(|tenant| !tenant.take_memory(bytes)) {
            self.refused = Some(MemoryBound::Tenant);
            return false;
        }
        self.bytes = total;
        self.shown.fetch_add(bytes, Ordering::Relaxed);
        self.last_growth_bytes = bytes;
        true
    }

    fn undo_growth(&mut self) {
        let bytes = std::mem::take(&mut self.last_growth_bytes);
        self.bytes -= bytes;
        self.shown.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(tenant) = &self.tenant {
            tenant.give_memory_back(bytes);
        }
    }
}

/// A store ends with its memories.
impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.shown.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(tenant) = &self.tenant {
            tenant.give_memory_back(self.bytes);
        }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo_growth();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current);
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES) as u64))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo_growth();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_PER_STORE_MAX
    }

    fn tables(&self) -> usize {
        TABLES_PER_STORE_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_STORE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut limiter = MemoryLimiter::new(100_000, None, Arc::default());
        assert!(limiter.memory_growing(0, 65_536, None).unwrap());
        assert!(limiter.table_growing(0, 1000, None).unwrap());
        assert_eq!(limiter.take_refused(), None);
        assert!(!limiter.memory_growing(0, 65_536, None).unwrap(), "a second memory");
        assert_eq!(limiter.take_refused(), Some(MemoryBound::Store));
        assert_eq!(limiter.take_refused(), None);
        assert!(limiter.table_growing(1000, 2000, None).unwrap());
    }

    #[test]
    fn a_growth_that_failed_after_all_is_not_counted() {
        let mut limiter = MemoryLimiter::new(100, None, Arc::default());
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, usize::MAX, None).unwrap());
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
    }
    #[test]
    fn the_stores_of_a_tenant_share_its_bound_and_give_back_what_they_had() {
        let tenants = crate::tenant::Tenants::default();
        let options = crate::TenantOptions { memory_bytes_max: Some(150), ..Default::default() };
        let acme = tenants.set("acme", options).unwrap();
        let shown = Arc::<AtomicU64>::default();
        let mut first = MemoryLimiter::new(100, Some(acme.clone()), shown.clone());
        let mut second = MemoryLimiter::new(100, Some(acme.clone()), shown.clone());
        assert!(first.memory_growing(0, 100, None).unwrap());
        assert!(!second.memory_growing(0, 100, None).unwrap());
        assert_eq!(second.take_refused(), Some(MemoryBound::Tenant));
        first.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(second.memory_growing(0, 100, None).unwrap());
        assert_eq!((acme.usage().memory_bytes, shown.load(Ordering::Relaxed)), (100, 100));
        drop((first, second));
        assert_eq!(shown.load(Ordering::Relaxed), 0);
        assert_eq!((acme.usage().memory_bytes, acme.usage().memory_bytes_peak), (0, 100));
    }
}
