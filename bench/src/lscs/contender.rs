//! Who runs, and how each is opened.
//!
//! | contender | what it is                                   | compressed by                  |
//! |-----------|----------------------------------------------|--------------------------------|
//! | lscs      | a database of ours, table with storage `lscs`, in the sandbox | the codec plugin that the settings name |
//! | native    | the same, the algorithm compiled natively    | as lscs                        |
//! | tree      | a database of ours, table in the kernel's tree | nothing                      |
//! | RocksDB   | as in `engine/rocksdb.rs`                    | zstd                           |
//! | fjall     | as in `engine/fjall.rs`                      | LZ4, its default and only one  |
//! | Parquet   | one file, through arrow-rs                   | zstd                           |
//!
//! Commits are not synced one by one (see `engine/mod.rs`). Everyone has the same cache and the same write buffer;
//! Parquet has neither, its cache is the operating system's.

use super::ours::{Ours, Storage};
use super::{Bench, Part};
use crate::Result;
use crate::engine::{self, Kind, Setup, Store};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of cache in the part `itself`: more than the data has.
const AMPLE_CACHE_BYTES: usize = 1 << 30;

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// Ours, in the sandbox.
    Lscs,
    /// The same without one.
    Native,
    /// Ours, in the kernel's tree.
    Tree,
    /// RocksDB with zstd.
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    /// fjall with LZ4.
    Fjall,
    /// Parquet with zstd.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Contender {
    /// Who takes part, ours first.
    pub fn of(part: Part) -> Vec<Contender> {
        let mut all = vec![Contender::Lscs];
        if part == Part::Itself {
            all.push(Contender::Native);
            return all;
        }
        all.push(Contender::Tree);
        #[cfg(feature = "rocksdb")]
        all.push(Contender::Rocksdb);
        all.push(Contender::Fjall);
        #[cfg(feature = "parquet")]
        if part == Part::Columns {
            all.push(Contender::Parquet);
        }
        all
    }

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Lscs => "lscs",
            Contender::Native => "native",
            Contender::Tree => "tree",
            #[cfg(feature = "rocksdb")]
            Contender::Rocksdb => "rocksdb",
            Contender::Fjall => "fjall",
            #[cfg(feature = "parquet")]
            Contender::Parquet => "parquet",
        }
    }
}

/// Which data a step works on; each has a database of its own.
#[derive(Debug, Clone, Copy)]
pub enum Data {
    /// Keys and values.
    Rows,
    /// Typed rows.
    Events,
}

impl Bench<'_> {
    /// Where the contender keeps `data`.
    pub fn path(&self, data: Data) -> PathBuf {
        self.dir.join(match data {
            Data::Rows => "rows",
            Data::Events => "events",
        })
    }

    fn cache_bytes(&self) -> usize {
        match self.job.part {
            Part::Itself => AMPLE_CACHE_BYTES,
            Part::Rows | Part::Columns => self.job.settings.cache_bytes,
        }
    }

    /// Opens the contender if it is a database of ours, making the database if there is none.
    pub fn open_ours(&self, data: Data) -> Result<Option<Ours>> {
        let settings = &self.job.settings;
        let has_codec = self.job.part != Part::Itself && settings.codec != "none";
        let codec = has_codec.then(|| settings.codec.clone());
        let storage = match self.job.contender {
            Contender::Lscs => Storage::Sandbox { codec },
            Contender::Native => Storage::Native { codec },
            Contender::Tree => Storage::Tree,
            _ => return Ok(None),
        };
        let path = self.path(data);
        let setup = self.setup(&path);
        Ours::open(&setup, &storage, data).map(Some)
    }

    /// Opens the contender as a store of keys and values; Parquet is none.
    pub fn open_rows(&self, data: Data) -> Result<Box<dyn Store>> {
        if let Some(ours) = self.open_ours(data)? {
            return Ok(Box::new(ours));
        }
        let path = self.path(data);
        let kind = match self.job.contender {
            #[cfg(feature = "rocksdb")]
            Contender::Rocksdb => Kind::Rocksdb,
            Contender::Fjall => Kind::Fjall,
            other => return Err(format!("{} stores no keys and values", other.name()).into()),
        };
        Ok(engine::open(kind, &self.setup(&path))?)
    }

    fn setup<'a>(&self, path: &'a std::path::Path) -> Setup<'a> {
        let memtable_bytes = self.job.settings.memtable_bytes;
        Setup { path, cache_bytes: self.cache_bytes(), memtable_bytes, synced: false, zstd: true }
    }
}
