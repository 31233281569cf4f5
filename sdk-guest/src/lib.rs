//! What the author of a SochDB plugin depends on.
//!
//! A plugin is a library for `wasm32-wasip2` that implements one trait and names its type in [`export!`]; a manifest
//! beside the `.wasm` file says what it may do and how much it may use. This is a whole one: a hook that is asked
//! about every row before it is written.
//!
//! ```
//! use sochdb_guest::prelude::*;
//!
//! struct HasName;
//!
//! impl Hooks for HasName {
//!     fn init() -> Result<Self> {
//!         Ok(HasName)
//!     }
//!
//!     fn before_each(&mut self, _: &Transaction<'_>, table: &Table<'_>, change: &Change) -> Result<Decision> {
//!         Ok(match change.new_record(table)? {
//!             Some(row) if row.text("name")? == Some("") => Decision::abort("a person has a name"),
//!             _ => Decision::Continue,
//!         })
//!     }
//! }
//!
//! sochdb_guest::export!(hooks: HasName);
//! # fn main() -> Result<()> {
//! # use sochdb_guest::{row::{Column, ColumnType, Schema}, serde_json::json, testing::Database};
//! # let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
//! # let columns = vec![column("id", ColumnType::Int64), column("name", ColumnType::String)];
//! # let mut db = Database::new();
//! # db.typed_table("people", Schema::new(columns, &["id"])?).hooks::<HasName>("people")?;
//! # assert!(db.put_json("people", &json!({ "id": 1, "name": "Ada" })).is_ok());
//! # assert!(db.put_json("people", &json!({ "id": 2, "name": "" })).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! `sochdb plugin new` makes a folder with all that belongs to it: sources, manifest, tests.
//!
//! # Which kind
//!
//! | trait         | what it does                                               | it can use                                                          |
//! |---------------|------------------------------------------------------------|---------------------------------------------------------------------|
//! | [`Hooks`]     | decides about rows before they change, is told after       | [`rows`], [`search`], [`blocks`], [other plugins](rows::Transaction::call) |
//! | [`Procedure`] | is called by name, in a transaction                        | the same                                                            |
//! | [`Codec`]     | makes blocks smaller                                       |                                                                     |
//! | [`Index`]     | finds rows by vectors, or by values in order               | [`Entries`], [`Segment`]s                                           |
//! | [`Storage`]   | keeps the rows of tables                                   | [`Segment`]s, [`blocks`]                                            |
//! | [`Observer`]  | takes metrics, spans, log lines and health out             | the [`outbox`]                                                      |
//!
//! Every trait has an `init`, which makes the one value of an instance, and defaults for all that a plugin can do
//! without. The page of each has an example that is compiled and run.
//!
//! # What every plugin has
//!
//! - [`config::read`] gives the settings of the manifest as a struct; a setting that makes no sense is an error that
//!   names it.
//! - [`info!`] and its like write to the database's log, [`count!`] and [`gauge!`] to its metrics. With the feature
//!   `log` the crates `log` and `tracing` are heard too.
//! - [`Error`] is a code that says what the caller can do, and a sentence for people. Errors of the host, of
//!   encodings, of JSON and of numbers become one by `?`. A panic is a trap: the host throws the instance away and
//!   the next call gets a fresh one.
//! - [`clock::now_us`] is the time, where the manifest asks for it.
//!
//! Hooks and procedures work with rows as bytes ([`Table::get`](rows::Table::get), [`put`](rows::Table::put),
//! [`scan`](rows::Table::scan)), or by the names of their columns: a [`Record`] is a row of a typed table, read,
//! written, and turned into JSON and back.
//!
//! # Tests
//!
//! Outside WebAssembly everything compiles and runs. With the feature `testing`, a `testing::Database` in memory
//! plays the host, so that a plugin runs under `cargo test` and a debugger:
//!
//! ```toml
//! [dev-dependencies]
//! sochdb-guest = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use sochdb_guest::prelude::*;
//! use sochdb_guest::{procedure, serde_json::json, testing::Database};
//!
//! struct Counter;
//!
//! impl Procedure for Counter {
//!     fn init() -> Result<Self> {
//!         Ok(Counter)
//!     }
//!
//!     fn describe(&self) -> Vec<ProcedureInfo> {
//!         vec![ProcedureInfo::new("add", "Adds to a number.").args(r#"{"type": "integer"}"#)]
//!     }
//!
//!     fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
//!         match name {
//!             "add" => procedure::json(args, |step: i64| {
//!                 let numbers = tx.open("numbers")?;
//!                 let present = numbers.get(b"n")?.unwrap_or(b"0".to_vec());
//!                 let sum = str::from_utf8(&present)?.parse::<i64>()? + step;
//!                 numbers.put(b"n", sum.to_string().as_bytes())?;
//!                 Ok(sum)
//!             }),
//!             other => procedure::unknown(other),
//!         }
//!     }
//! }
//!
//! // The body of a test:
//! # fn main() -> Result<()> {
//! let mut db = Database::new();
//! db.table("numbers").procedure::<Counter>("counter")?;
//! assert_eq!(db.call("counter", "add", 3)?, json!(3));
//! assert_eq!(db.call("counter", "add", -1)?, json!(2));
//! assert!(db.call("counter", "add", "three").is_err());
//!
//! db.deny_write("numbers");
//! assert_eq!(db.call("counter", "add", 1).unwrap_err().code, ErrorCode::Denied);
//! # Ok(())
//! # }
//! ```
//!
//! `testing::storage` judges a storage engine with random operations and a model that knows every answer.
//! `sochdb plugin test` tries a plugin of any kind in the real host.
//!
//! # What stays
//!
//! The generated bindings stay hidden: what a plugin sees does not change when the contract grows. A component that
//! was built once is loaded by later versions of the database, or refused with the reason.

mod codec;
mod error;
mod hooks;
mod imports;
mod index;
mod json;
mod macros;
mod observer;
mod record;
mod storage;
mod typed;

pub mod blocks;
pub mod clock;
pub mod config;
pub mod outbox;
pub mod prelude;
pub mod procedure;
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
pub use record::{Record, Records};
pub use serde;
pub use serde_json;
/// The byte encodings that the database and its plugins share: rows, keys, little-endian numbers, checksums.
pub use sochdb_encoding as encoding;
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
