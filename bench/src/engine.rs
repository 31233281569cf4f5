//! The engines, behind the few calls that the workloads make.

use crate::Result;
use clap::ValueEnum;
use std::path::Path;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// This project's kernel, rows in its own tree
    Sochdb,
    /// redb 4, the yardstick
    Redb,
    /// fjall 3
    Fjall,
}

impl Kind {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sochdb => "sochdb",
            Kind::Redb => "redb",
            Kind::Fjall => "fjall",
        }
    }
}

/// What a workload needs of an engine.
pub trait Engine: Send + Sync {
    /// Writes all `rows` in one transaction, synced before it returns if `durable`.
    fn put(&self, rows: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<()>;
    /// Looks up each key in one snapshot; tells `seen` after each whether it was there.
    fn get(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        seen: &mut dyn FnMut(bool),
    ) -> Result<()>;
    /// From each key on, reads `rows` rows in one snapshot.
    fn scan(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        rows: usize,
        seen: &mut dyn FnMut(usize),
    ) -> Result<()>;
    /// Folds what is in memory or log into its place, as the engine's user would before a backup.
    fn settle(&self) -> Result<()>;
}

/// Opens `kind` at `path` with a cache of `cache_bytes`.
pub fn open(kind: Kind, path: &Path, cache_bytes: usize) -> Result<Box<dyn Engine>> {
    Ok(match kind {
        Kind::Sochdb => Box::new(Sochdb::open(path, cache_bytes)?),
        Kind::Redb => Box::new(Redb::open(path, cache_bytes)?),
        Kind::Fjall => Box::new(Fjall::open(path, cache_bytes)?),
    })
}

struct Sochdb(sochdb_kernel::Kernel);

impl Sochdb {
    fn open(path: &Path, cache_bytes_max: usize) -> Result<Sochdb> {
        use sochdb_kernel::{Environment, Kernel, Options, TableOptions};
        let options = Options { cache_bytes_max, ..Options::default() };
        let kernel = Kernel::open(Environment::disk(path), options)?;
        if kernel.begin_read()?.tables()?.is_empty() {
            kernel.create_table("rows", TableOptions::default())?;
        }
        Ok(Sochdb(kernel))
    }
}

impl Engine for Sochdb {
    fn put(&self, rows: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<()> {
        use sochdb_kernel::{Durability, TransactionOptions};
        let durability = Some(if durable { Durability::Fsync } else { Durability::None });
        let options = TransactionOptions { durability, ..TransactionOptions::default() };
        self.0.run_with(options, |tx| {
            rows.iter().try_for_each(|(key, value)| tx.put("rows", key, value))
        })?;
        Ok(())
    }

    fn get(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        seen: &mut dyn FnMut(bool),
    ) -> Result<()> {
        let tx = self.0.begin_read()?;
        for key in keys {
            seen(tx.get("rows", &key)?.is_some());
        }
        Ok(())
    }

    fn scan(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        rows: usize,
        seen: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let tx = self.0.begin_read()?;
        for key in keys {
            let mut bytes = 0;
            for row in tx.scan("rows", key..)?.take(rows) {
                let (key, value) = row?;
                bytes += key.len() + value.len();
            }
            seen(bytes);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.0.checkpoint()?;
        Ok(())
    }
}

const REDB_ROWS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");

struct Redb(redb::Database);

impl Redb {
    fn open(path: &Path, cache_bytes: usize) -> Result<Redb> {
        std::fs::create_dir_all(path)?;
        let mut builder = redb::Database::builder();
        let database = builder.set_cache_size(cache_bytes).create(path.join("data.redb"))?;
        let tx = database.begin_write()?;
        tx.open_table(REDB_ROWS)?;
        tx.commit()?;
        Ok(Redb(database))
    }
}

impl Engine for Redb {
    fn put(&self, rows: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<()> {
        let mut tx = self.0.begin_write()?;
        if !durable {
            tx.set_durability(redb::Durability::None)?;
        }
        {
            let mut table = tx.open_table(REDB_ROWS)?;
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        tx.commit()?;
        Ok(())
    }

    fn get(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        seen: &mut dyn FnMut(bool),
    ) -> Result<()> {
        use redb::ReadableDatabase;
        let tx = self.0.begin_read()?;
        let table = tx.open_table(REDB_ROWS)?;
        for key in keys {
            seen(table.get(key.as_slice())?.is_some());
        }
        Ok(())
    }

    fn scan(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        rows: usize,
        seen: &mut dyn FnMut(usize),
    ) -> Result<()> {
        use redb::ReadableDatabase;
        let tx = self.0.begin_read()?;
        let table = tx.open_table(REDB_ROWS)?;
        for key in keys {
            let mut bytes = 0;
            for row in table.range(key.as_slice()..)?.take(rows) {
                let (key, value) = row?;
                bytes += key.value().len() + value.value().len();
            }
            seen(bytes);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        // An empty durable commit makes the earlier ones durable.
        self.0.begin_write()?.commit()?;
        Ok(())
    }
}

struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path, cache_bytes: usize) -> Result<Fjall> {
        let database = fjall::Database::builder(path).cache_size(cache_bytes as u64).open()?;
        let rows = database.keyspace("rows", fjall::KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, rows })
    }
}

impl Engine for Fjall {
    fn put(&self, rows: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<()> {
        let mut batch = self.database.batch();
        for (key, value) in rows {
            batch.insert(&self.rows, key.as_slice(), value.as_slice());
        }
        batch.commit()?;
        if durable {
            self.database.persist(fjall::PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn get(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        seen: &mut dyn FnMut(bool),
    ) -> Result<()> {
        for key in keys {
            seen(self.rows.get(key)?.is_some());
        }
        Ok(())
    }

    fn scan(
        &self,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        rows: usize,
        seen: &mut dyn FnMut(usize),
    ) -> Result<()> {
        for key in keys {
            let mut bytes = 0;
            for row in self.rows.range(key..).take(rows) {
                let (key, value) = row.into_inner()?;
                bytes += key.len() + value.len();
            }
            seen(bytes);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.rows.rotate_memtable_and_wait()?;
        Ok(())
    }
}
