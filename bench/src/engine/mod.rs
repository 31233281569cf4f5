//! The engines, behind the few calls that the workloads make.
//!
//! Everyone gets the same cache and, where there is such a thing, a write buffer of the same size. What
//! is not named here is the engine's default. *Synced* means that a commit is on disk when it returns
//! (`fdatasync` or more); *not synced* is each engine's fastest mode in which the database stays usable
//! after its process was killed.
//!
//! | engine  | cache               | write buffer         | synced commit                | commit that is not synced        |
//! |---------|---------------------|----------------------|------------------------------|----------------------------------|
//! | sochdb  | `cache_bytes_max`   | `memtable_bytes_max` | `Durability::Fsync`          | `Durability::None`: the operating system has it |
//! | redb    | `set_cache_size`    | part of the cache    | `Durability::Immediate`      | `Durability::None`: lost with the process |
//! | fjall   | `cache_size`        | `max_memtable_size`  | batch, `PersistMode::SyncData` | batch: the operating system has it |
//! | LMDB    | the system's, unbounded | none             | default flags                | `MDB_NOSYNC`: a power cut may break the file |
//! | SQLite  | `cache_size`, per connection | none        | WAL, `synchronous=FULL`      | WAL, `synchronous=NORMAL`        |
//! | RocksDB | LRU block cache     | `write_buffer_size`  | `WriteOptions::set_sync`     | log handed to the operating system |
//!
//! | engine  | bulk load of sorted rows      | settling                      | the counters' and YCSB F's transaction   |
//! |---------|-------------------------------|-------------------------------|------------------------------------------|
//! | sochdb  | `Kernel::bulk_load`           | `checkpoint`                  | `Kernel::run`, optimistic                |
//! | redb    | one transaction, `CursorMut::insert_before` | a synced commit | the one writer's                         |
//! | fjall   | `start_ingestion`             | flush, wait for compactions   | `SingleWriterTxDatabase`, one at a time  |
//! | LMDB    | one transaction, `MDB_APPEND` | `mdb_env_sync`                | the one writer's                         |
//! | SQLite  | one transaction               | `wal_checkpoint(TRUNCATE)`    | `BEGIN IMMEDIATE`, one at a time         |
//! | RocksDB | `SstFileWriter`, ingested     | flush, wait for compactions   | `OptimisticTransactionDB`, `get_for_update` |

mod facade;
mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sochdb;
mod sqlite;

use crate::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// This project's kernel, rows in its own tree
    Sochdb,
    /// redb 4, the yardstick
    Redb,
    /// fjall 3
    Fjall,
    /// LMDB, through heed
    Lmdb,
    /// SQLite, through rusqlite
    Sqlite,
    /// RocksDB
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    /// The whole database, all bundled plugins loaded: `bench overhead`
    #[value(skip)]
    Database,
}

impl Kind {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sochdb => "sochdb",
            Kind::Redb => "redb",
            Kind::Fjall => "fjall",
            Kind::Lmdb => "lmdb",
            Kind::Sqlite => "sqlite",
            #[cfg(feature = "rocksdb")]
            Kind::Rocksdb => "rocksdb",
            Kind::Database => "database",
        }
    }
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A store of rows. All writes are as durable as the store was opened for.
pub trait Store: Send + Sync {
    /// Writes all `rows` in one transaction.
    fn put(&self, rows: &[Row]) -> Result<()>;
    /// Runs `f` on one snapshot.
    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()>;
    /// Makes everything durable and lets background work end, as one would before a backup.
    fn settle(&self) -> Result<()>;
    /// Closes the database as its documentation advises.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Makes a value of the one that is there, if there is one.
pub type Change<'a> = dyn Fn(Option<&[u8]>) -> Vec<u8> + 'a;

/// What the workloads of `bench kv` need beyond that.
pub trait Engine: Store {
    /// Changes the value of `key` in a transaction that reads it first; `change` makes the new one of it, and may be asked
    /// again.
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()>;

    /// Adds one to the counter under `key`.
    fn increment(&self, key: &[u8]) -> Result<()> {
        self.modify(key, &|value| one_more(value).to_vec())
    }

    /// Fills the empty database with `rows`, sorted by key, in the fastest way the engine has.
    fn bulk_load(&self, rows: &[Row]) -> Result<()>;
}

/// Reads on one snapshot.
pub trait Reader {
    /// Shows the value of `key` to `seen`, if there is one; returns whether there was.
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Shows up to `rows` rows from `from` on to `seen`.
    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;
}

/// How an engine is opened.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// A directory of its own, which need not exist yet.
    pub path: &'a Path,
    /// Bytes of cache.
    pub cache_bytes: usize,
    /// Bytes of write buffer.
    pub memtable_bytes: usize,
    /// Whether a commit is on disk when it returns.
    pub synced: bool,
    /// Whether RocksDB compresses with zstd; else with LZ4. The others have no choice.
    #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "RocksDB's choice"))]
    pub zstd: bool,
}

/// Opens `kind`, making the database if there is none.
///
/// # Errors
/// What the engine says.
pub fn open(kind: Kind, setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(setup.path)?;
    Ok(match kind {
        Kind::Sochdb => Box::new(sochdb::Sochdb::open(setup)?),
        Kind::Redb => Box::new(redb::Redb::open(setup)?),
        Kind::Fjall => Box::new(fjall::Fjall::open(setup)?),
        Kind::Lmdb => Box::new(lmdb::Lmdb::open(setup)?),
        Kind::Sqlite => Box::new(sqlite::Sqlite::open(setup)?),
        #[cfg(feature = "rocksdb")]
        Kind::Rocksdb => Box::new(rocksdb::Rocksdb::open(setup)?),
        Kind::Database => Box::new(facade::Facade::open(setup)?),
    })
}

/// The number that a counter's value holds; a counter that is not there stands at zero.
pub fn count(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// A counter's value after one more.
fn one_more(value: Option<&[u8]>) -> [u8; 8] {
    (count(value) + 1).to_le_bytes()
}
