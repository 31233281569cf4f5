//! What a SochDB plugin author depends on.
//!
//! Implement one trait, [`Codec`], [`Observer`], [`Storage`], [`Hooks`], [`Procedure`] or [`Index`], name the
//! type in [`export!`], and build the crate for `wasm32-wasip2`: the `.wasm` file is the plugin. What the plugin
//! may do and how much it may use is said by a manifest beside it, not here.
//!
//! ```
//! use sochdb_guest::{Codec, Error, Result};
//!
//! /// Stores the length of a run of equal bytes instead of the run.
//! struct RunLength;
//!
//! impl Codec for RunLength {
//!     fn init() -> Result<Self> {
//!         Ok(RunLength)
//!     }
//!
//!     fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
//!         let runs = input.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255));
//!         Ok(runs.flat_map(|run| [run.len() as u8, run[0]]).collect())
//!     }
//!
//!     fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
//!         let mut raw = Vec::with_capacity(raw_bytes);
//!         for pair in input.chunks(2) {
//!             let &[len, byte] = pair else { return Err(Error::corrupt("half a pair")) };
//!             raw.resize((raw.len() + usize::from(len)).min(raw_bytes + 1), byte);
//!         }
//!         Ok(raw)
//!     }
//! }
//!
//! sochdb_guest::export!(codec: RunLength);
//! # fn main() {}
//! ```
//!
//! - [`config`] reads the settings that the manifest gives, typed by its schema.
//! - [`telemetry`] writes log lines and updates metrics.
//! - [`rows`] reads and writes tables in the caller's transaction, [`blocks`] uses codecs of other plugins; both
//!   as far as the manifest was granted it. [`outbox`] sends what an observer has to addresses.
//! - An [`Error`] is a code that says what the caller can do, and a sentence for people. A panic is a
//!   trap: the host throws the instance away and the next call gets a fresh one.
//!
//! Outside WebAssembly everything compiles and the traits work, so algorithms are tested natively;
//! there `config` finds no setting and log lines go to standard error. The generated bindings stay
//! hidden: what a plugin sees does not change when the contract grows.

mod codec;
mod error;
mod hooks;
mod index;
mod observer;
mod procedure;
mod storage;
mod typed;

pub mod blocks;
pub mod config;
pub mod outbox;
pub mod rows;
pub mod search;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
pub mod bindings;

pub use codec::Codec;
pub use error::{Error, ErrorCode, Result};
pub use hooks::{Change, ChangeKind, Decision, Hooks};
pub use index::{
    Allowed, COMPARED_MAX, Definition, Entries, GONE, Index, IndexSearcher, Part, Query,
    VECTORS_BYTES_MAX, Values, VectorMetric,
};
pub use observer::{
    Batch, ComponentHealth, Exemplar, HealthState, Histogram, LogLine, Metric, MetricValue,
    Observer, Page, Span, SpanContext, test_batch, unit_of,
};
pub use procedure::{Procedure, ProcedureInfo};
/// Rows as columns.
pub use sochdb_encoding::columns;
pub use sochdb_encoding::compaction::Compaction;
pub use sochdb_encoding::range::KeyRange;
/// Typed rows and keys, as tables store them; columns and conditions.
pub use sochdb_encoding::{row, select, stats};
pub use storage::{
    ColumnCursor, Cursor, Lookup, Reader, Row, RowBatch, Run, Segment, SegmentInfo, SegmentWriter,
    Sink, Storage, Table,
};
pub use telemetry::Level;

/// Makes a type the plugin that this crate is: `export!(codec: MyType);`, and in the same way `observer`,
/// `storage`, `hooks`, `procedure` and `index`; once in a crate.
///
/// The host calls `init` once for each instance before anything else, and keeps the value it returns
/// for all later calls.
#[macro_export]
macro_rules! export {
    (codec: $plugin:ty) => {
        $crate::__export!(codec, export_codec, CodecGlue, $plugin);
    };
    (observer: $plugin:ty) => {
        $crate::__export!(observer, export_observer, ObserverGlue, $plugin);
    };
    (storage: $plugin:ty) => {
        $crate::__export!(storage, export_storage, StorageGlue, $plugin);
    };
    (hooks: $plugin:ty) => {
        $crate::__export!(hooks, export_hooks, HooksGlue, $plugin);
    };
    (procedure: $plugin:ty) => {
        $crate::__export!(procedure, export_procedure, ProcedureGlue, $plugin);
    };
    (index: $plugin:ty) => {
        $crate::__export!(index, export_index, IndexGlue, $plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($kind:ident, $export:ident, $glue:ident, $plugin:ty) => {
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            impl $crate::bindings::Instance for $plugin {
                fn slot() -> &'static ::std::thread::LocalKey<
                    ::std::cell::RefCell<::std::option::Option<Self>>,
                > {
                    &INSTANCE
                }
            }

            #[allow(dead_code, reason = "only WebAssembly has exports")]
            type Component = $crate::bindings::$glue<$plugin>;

            #[cfg(target_family = "wasm")]
    $crate::bindings::base::export_base!(Component with_types_in $crate::bindings::base);
            #[cfg(target_family = "wasm")]
    $crate::bindings::$kind::$export!(Component with_types_in $crate::bindings::$kind);
        };
    };
}
