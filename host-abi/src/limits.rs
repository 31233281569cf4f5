//! What one plugin, one instance and one call may use, and where each bound is enforced.
//!
//! | what                              | bound                   | enforced by                           |
//! |-----------------------------------|-------------------------|---------------------------------------|
//! | WebAssembly operators per call    | `fuel_limit`            | the engine, at loops and calls        |
//! | host work per call                | `fuel_limit`            | imports charge fuel, see [`fuel`]     |
//! | time per call, waiting included   | `timeout_ms`            | the pool and the engine's epochs      |
//! | the same of flushes and merges    | `background_...`        | the same                              |
//! | memories and tables of a store    | `memory_limit_mb`       | a limiter of ours, over their sum     |
//! | instances at the same time        | `max_instances`         | the pool                              |
//! | handles of an instance            | 8192                    | the engine                            |
//! | segments its readers have open    | 4096                    | the storage adapter                   |
//! | bytes of a segment read or append | [`SEGMENT_CHUNK_BYTES_MAX`] | the segments import, the engine   |
//! | what one import call carries in   | the result's bound      | the engine, while it copies           |
//! | log lines and metrics per call    | [`volume`]              | the telemetry import                  |
//! | metric series per plugin          | [`volume::SERIES_MAX`]  | the telemetry import                  |
//! | bytes of a result                 | the adapter, per call   | the engine, while it copies           |
//! | bytes of a component              | [`COMPONENT_BYTES_MAX`] | before it is hashed or compiled       |
//! | bytes of a manifest               | [`MANIFEST_BYTES_MAX`]  | before it is parsed                   |
//!
//! A manifest chooses within the ranges below; outside them it is refused.

use std::ops::RangeInclusive;
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
/// The least `max_instances` of a storage engine: one merges what another one reads.
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
const BATCH_ROWS_MAX: u32 = 8192;
const BATCH_BYTES_MAX: u32 = 1 << 20;
/// Rows of a scan's first batch; later ones are larger.
pub(crate) const SCAN_ROWS_FIRST: usize = 128;
/// 64 KiB. An end of a range may be longer than any key, but not without bound.
pub(crate) const RANGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of WebAssembly stack. Half of what a thread of the standard library has, so that the host's
/// own frames below and above it have room.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;
/// Room for an error's text, and small results, beside what an adapter expects.
pub(crate) const RESULT_SLACK_BYTES: usize = 64 << 10;
/// Bytes of a guest's own words that are kept in an error.
pub(crate) const ERROR_TEXT_BYTES_MAX: usize = 1024;

/// What host calls cost in fuel, so that a guest cannot make the host work for nothing. Measured: a
/// call that carries nothing takes as long as some 200 operators, a byte about as long as one.
pub mod fuel {
    /// Any call of the host.
    pub const CALL: u64 = 200;
    /// Each byte that a call carries.
    pub const BYTE: u64 = 1;
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

/// What one call in the background, a flush or a merge, may use.
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

/// What one call may use, and how the manifest calls that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) fuel_max: u64,
    pub(crate) fuel_key: &'static str,
    pub(crate) timeout_ms: u64,
    pub(crate) timeout_key: &'static str,
}

impl Limits {
    pub(crate) fn budget(&self, work: Work) -> Budget {
        match self.background.filter(|_| work == Work::Background) {
            Some(Background { fuel_max, timeout_ms }) => Budget {
                fuel_max,
                fuel_key: "background_fuel_limit",
                timeout_ms,
                timeout_key: "background_timeout_ms",
            },
            None => Budget {
                fuel_max: self.fuel_max,
                fuel_key: "fuel_limit",
                timeout_ms: self.timeout_ms,
                timeout_key: "timeout_ms",
            },
        }
    }
}

impl Budget {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
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
    refused: bool,
}

impl MemoryLimiter {
    pub(crate) fn new(bytes_max: u64) -> MemoryLimiter {
        MemoryLimiter { bytes_max, bytes: 0, last_growth_bytes: 0, refused: false }
    }

    /// Whether a growth was refused since the last time this was asked.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let total = self.bytes.saturating_add(bytes);
        let allowed = total <= self.bytes_max;
        if allowed {
            self.bytes = total;
            self.last_growth_bytes = bytes;
        } else {
            self.refused = true;
        }
        allowed
    }

    fn undo_growth(&mut self) {
        self.bytes -= std::mem::take(&mut self.last_growth_bytes);
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
        let mut limiter = MemoryLimiter::new(100_000);
        assert!(limiter.memory_growing(0, 65_536, None).unwrap());
        assert!(limiter.table_growing(0, 1000, None).unwrap());
        assert!(!limiter.take_refused());
        assert!(!limiter.memory_growing(0, 65_536, None).unwrap(), "a second memory");
        assert!(limiter.take_refused());
        assert!(!limiter.take_refused());
        assert!(limiter.table_growing(1000, 2000, None).unwrap());
    }

    #[test]
    fn a_growth_that_failed_after_all_is_not_counted() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, usize::MAX, None).unwrap());
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
    }
}
