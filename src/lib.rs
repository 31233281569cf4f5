//! SochDB: an embedded database. A small ACID kernel that one person can audit, and everything else
//! (column stores, indexes, codecs, metrics, hooks, procedures) as WebAssembly plugins that run under fuel,
//! memory and time limits and see only what they were granted.
//!
//! ```
//! use sochdb::{Database, KeyRange, TableOptions};
//!
//! # fn main() -> sochdb::KernelResult<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # std::env::set_current_dir(&directory).unwrap();
//! let db = Database::open("my-data")?; // with the bundled plugins; every commit is synced
//! db.create_table("users", TableOptions { codec: Some("lz4".into()), ..Default::default() })?;
//! db.run(|tx| {
//!     tx.put("users", b"ada", b"countess")?; // all of this or nothing; again after a conflict
//!     tx.put("users", b"alan", b"decoder")
//! })?;
//! for row in db.begin_read()?.scan("users", KeyRange::prefix(b"a"))? {
//!     let (key, value) = row?;
//!     println!("{} {}", key.escape_ascii(), value.escape_ascii());
//! }
//! println!("{}", db.metrics_text()?); // by the `prometheus` plugin, inside its sandbox
//! # assert!(db.metrics_text()?.contains("sochdb_commits_total 2"));
//! # db.close()
//! # }
//! ```
//!
//! | what                                    | where                                              |
//! |-----------------------------------------|----------------------------------------------------|
//! | open, with plugins and a thread         | [`Database`], [`DatabaseBuilder`]                  |
//! | transactions                            | [`Database::begin`], [`Database::run`], [`Transaction`] |
//! | hooks and procedures of plugins         | [`Database::call`], [`Database::procedures`]       |
//! | tenants, and what plugins may do at all | [`TenantDatabase`], [`Policy`]                     |
//! | tables of a Rust type                   | [`Database::typed_table`], [`rows`]                |
//! | rows of columns, by hand                | [`Schema`], [`Value`]                              |
//! | some columns of the rows that matter    | [`Transaction::scan_columns`], [`Condition`]       |
//! | batches of columns in Apache Arrow      | `arrow`, feature `arrow`                           |
//! | async programs                          | `asynchronous`, feature `tokio`                    |
//! | levels, columns, encodings of a table   | [`Database::table_stats`]                          |
//! | the rows nearest to a vector            | [`Database::create_index`], [`Database::search`]   |
//! | rows by the value of a column           | [`Transaction::lookup`]                            |
//! | another storage for a table             | [`Database::convert_table`]                        |
//! | ranges of rows, rows that expire        | [`Database::delete_range`], [`Database::expire`]   |
//! | what happened since                     | [`Database::changes`]                              |
//! | check, back up, repair, boot, health    | [`operations`]                                     |
//! | queues of jobs, leases                  | [`claims`]                                         |
//! | metrics, spans, log lines, health       | [`Database::telemetry`], [`observability`]         |
//! | what can go wrong                       | [`KernelError`], sorted by [`ErrorKind`]           |
//! | extensions in Rust, for those who trust | [`plugin`], [`Kernel::plugins`]                    |
//! | the host of WebAssembly plugins         | [`PluginHost`]                                     |
//! | another version of a plugin, under load | [`Database::reload_plugin`], [`reload`]            |
//! | plugins from folders, which are watched | [`DatabaseBuilder::plugin_dir`], [`folders`]       |
//! | whether a plugin keeps its contract     | `conformance`, feature `conformance`               |
//! | native plugins, for those who trust     | `DatabaseBuilder::native_plugin`, feature `dynamic-plugins` |
//!
//! # Open
//!
//! [`Database::open`] makes or recovers the database in a directory and holds its lock; [`Database::builder`] says
//! everything else, from durability to folders of plugins. A `Database` is a handle: clone it for each thread.
//! [`close`](Database::close) folds the log in and says how that went; without it the next opening replays the log.
//! Every commit that returned is safe either way.
//!
//! # Typed rows
//!
//! A table holds bytes, or rows of a type that serde knows: see [`rows`] for what becomes which column.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sochdb::{Database, IndexOptions, rows::{Vector, With}};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Book { isbn: String, title: String, year: i32, mood: Vector<2> }
//!
//! # fn main() -> sochdb::KernelResult<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let db = Database::open(directory.path())?;
//! let books = db.typed_table::<Book>("books", &["isbn"])?; // made, or compared with the one that is there
//! let emma = Book { isbn: "1".into(), title: "Emma".into(), year: 1815, mood: [0.8, 0.6].into() };
//! db.run(|tx| books.insert(tx, &emma))?;
//! assert_eq!(books.get(&db.begin_read()?, "1")?, Some(emma));
//! # db.create_index("books", "by_year", "year", &IndexOptions::default(), &mut |_| {})?;
//! # db.create_index("books", "by_mood", "mood", &IndexOptions::default(), &mut |_| {})?;
//! # let tx = db.begin_read()?;
//! # assert_eq!(books.lookup(&tx, "by_year", 1800..1900, 10)?.len(), 1);
//! # assert_eq!(books.search(&tx).near(&[1.0, 0.0]).k(1).run()?.len(), 1);
//! # db.close()
//! # }
//! ```
//!
//! # Transactions and retries
//!
//! A transaction reads one snapshot and its own writes, and commits all or nothing. Of two that wrote the same key the
//! first committer wins; the other gets `Conflict`. [`Database::run`] begins it again then, so what it does outside of
//! the transaction must bear to be done twice; with [`Database::begin`] and
//! [`commit`](Transaction::commit) that is the caller's. [`IsolationLevel::Serializable`] also notices what
//! was merely read; transactions that only read never conflict. When a commit counts as done is its [`Durability`].
//!
//! # Indexes and search
//!
//! [`Database::create_index`] makes an index of a column while others write: ordered for numbers, texts and times, or
//! of vectors. What it finds is exactly what the transaction sees, its own rows included.
//!
//! ```no_run
//! # use sochdb::{Database, IndexOptions, KernelResult, Table, rows::{Vector, With}};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Book { isbn: String, title: String, year: i32, mood: Vector<2> }
//! # fn main() -> KernelResult<()> {
//! # let db = Database::open("my-data")?;
//! # let books = db.typed_table::<Book>("books", &["isbn"])?;
//! db.create_index("books", "by_year", "year", &IndexOptions::default(), &mut |_| {})?;
//! db.create_index("books", "by_mood", "mood", &IndexOptions::default().metric("cosine"), &mut |_| {})?;
//! let tx = db.begin_read()?;
//! let of_the_century = books.lookup(&tx, "by_year", 1800..1900, 100)?;
//! for found in books.search(&tx).near(&[1.0, 0.0]).k(5).run()? {
//!     println!("{:.3} {}", found.distance, found.row.title);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Plugins
//!
//! The bundled plugins are there when something needs them: `codec: Some("lz4".into())` or `storage: Some("lscs".into())`
//! in [`TableOptions`] is all it takes. Others come from folders ([`DatabaseBuilder::plugin_dir`]), run under the limits
//! of their manifest and see what it was granted and the operator's [`Policy`] allows; [`Database::call`] calls their
//! procedures.
//!
//! A plugin is replaced while the database serves: calls in flight end on the version they began with, later ones go
//! to the new one, and when that one fails a call the old one answers it and serves on.
//!
//! ```
//! use sochdb::reload::{Outcome, Rules};
//! use sochdb::{Database, ReloadOptions, TableOptions, host::bundled};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (data, manifest) = (directory.path().join("data"), directory.path().join("lz4.toml"));
//! # if bundled::find("lz4").is_none() { return Ok(()) }
//! let db = Database::open(&data)?;
//! db.create_table("notes", TableOptions { codec: Some("lz4".into()), ..Default::default() })?;
//!
//! // Another version of a plugin: here the same component under another number.
//! let text = bundled::find("lz4").expect("it is part of this program").manifest;
//! std::fs::write(&manifest, text.replace("\nversion = \"0.1.0\"", "\nversion = \"0.2.0\""))?;
//!
//! // Watched for a tenth of a second only; as a rule it is half a minute.
//! let rules = Rules { probation: Duration::from_millis(100), ..Rules::default() };
//! db.reload_plugin(&manifest, &ReloadOptions { rules: Some(rules), ..Default::default() })?;
//! db.run(|tx| tx.put("notes", b"work", b"goes on"))?;
//! let newest = db.plugin_settled("lz4", Duration::from_secs(30)).expect("that is time enough");
//! assert_eq!(newest.outcome, Outcome::Serving);
//! assert_eq!(newest.to.expect("there was a manifest").version, "0.2.0");
//! # db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Operations
//!
//! [`Database::backup`] copies a running database, [`Database::check`] reads all of it and says what is wrong,
//! [`DatabaseBuilder::repair`] saves what can be saved into a new one. [`Database::changes`] tells what was committed
//! since; [`DatabaseBuilder::serve_metrics`] serves metrics and probes. [`operations`] has the rest, and the `sochdb`
//! command does all of it from a terminal.
//!
//! # Errors
//!
//! Every error is a [`KernelError`]; its [`kind`](KernelError::kind) says what to do.
//!
//! | [`ErrorKind`] | what it means                               | what to do                                            |
//! |---------------|---------------------------------------------|-------------------------------------------------------|
//! | `Conflict`    | another transaction committed first         | run it again; [`Database::run`] does so by itself     |
//! | `Invalid`     | the call, a name or an input makes no sense | fix the call: the text names table, row and column    |
//! | `NotFound`    | the named thing does not exist              | create it, or fix the name                            |
//! | `Limit`       | a bound was met, and nothing was changed    | ask for less, or raise the bound: see [`limits`]      |
//! | `Corrupt`     | bytes on disk are not what was written      | stop; [`Database::check`], then restore or repair     |
//! | `Unavailable` | the disk, a lock or a plugin failed us      | mend it, then try again                               |
//! | `Closed`      | the database or transaction is over         | open it, or begin, again                              |
//! | `Plugin`      | a plugin refused, trapped or was denied     | its [`PluginFault`] says whose fault it is            |
//!
//! The command line program of the same name is behind the feature `cli`, on by default; an embedder
//! turns it off with `default-features = false`.

#[cfg(feature = "arrow")]
pub mod arrow;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod background;
#[cfg(feature = "conformance")]
pub mod conformance;
mod database;
mod expiry;
pub mod folders;
mod indexes;
mod on_demand;
mod plugins;
pub mod rows;
mod tables;
mod telemetry;
mod tenants;
mod times;

pub use database::{Database, DatabaseBuilder, TenantDatabase};
pub use indexes::IndexOptions;
pub use rows::Table;
/// Durable claims on things to do: queues of jobs and named leases, with fencing numbers.
pub use sochdb_claims as claims;
pub use sochdb_encoding::columns::{ColumnBatch, ColumnView};
pub use sochdb_encoding::select::{Comparison, Condition};
pub use sochdb_encoding::stats::{ColumnStats, EncodingStats, LevelStats, StorageStats};
pub use sochdb_encoding::{EncodingError, EncodingResult};
/// The host of WebAssembly plugins in full: manifests, capabilities, limits.
pub use sochdb_host_abi as host;
pub use sochdb_host_abi::{
    ColumnScan, Neighbour, PluginHost, PluginInfo, Policy, ProcedureInfo, ReloadOptions,
    ReloadReport, Search, SelectedScan, TenantInfo, TenantOptions, TenantUsage, Transaction,
    TrialReport,
};
/// Indexes in full: their definitions, and what builds and searches them.
pub use sochdb_index as index;
pub use sochdb_index::{
    Hit, IndexDefinition, IndexKind, IndexState, IndexStats, Lookup, VectorSearch,
};
pub use sochdb_kernel::{
    CheckpointReport, Clock, Column, ColumnType, Durability, Environment, ErrorKind,
    IsolationLevel, KERNEL_VERSION, Kernel, KernelError, KernelResult, KernelStats, KeyRange,
    Options, PluginFault, RecoveryReport, Savepoint, Scan, Schema, Slice, SystemClock, TableId,
    TableInfo, TableOptions, Timestamp, TransactionOptions, Value, limits, plugin, vfs,
};
/// Native plugins: shared libraries behind a C interface, loaded only when the embedder vouches for them.
#[cfg(feature = "dynamic-plugins")]
pub use sochdb_native as native;
/// Metrics, spans, log lines and health: where they are gathered, and who takes them to observers.
pub use sochdb_observability as observability;
pub use sochdb_observability::Telemetry;
/// What an operator does: boot, health, check, backup, restore, repair, change feed.
pub use sochdb_operations as operations;
pub use sochdb_operations::{
    BackupReport, Change, Changes, CheckReport, ConvertReport, RepairReport, TableChanges,
    TableSize,
};
/// How a plugin's next version takes the place of the one before: rules, states, history.
pub use sochdb_reload as reload;
/// What observers get.
pub use sochdb_telemetry::{
    ComponentHealth, HealthState, Histogram, Metric, MetricValue, SpanContext,
};
pub use tables::TableStats;
