//! The whole database as an embedder opens it: all bundled plugins loaded, telemetry and background thread on. What it
//! costs beside the bare kernel is what `bench overhead` asks.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use sochdb::{Database, Durability, KernelResult, Options, TableOptions, Transaction};

const TABLE: &str = "rows";

pub struct Facade(Database);

impl Facade {
    pub fn open(setup: &Setup<'_>) -> Result<Facade> {
        let options = Options {
            cache_bytes_max: setup.cache_bytes,
            memtable_bytes_max: setup.memtable_bytes,
            durability: if setup.synced { Durability::Fsync } else { Durability::None },
            ..Options::default()
        };
        let db = Database::builder().options(options).open(setup.path)?;
        if db.begin_read()?.tables()?.is_empty() {
            db.create_table(TABLE, TableOptions::default())?;
        }
        // By themselves they are loaded when somebody needs them.
        db.plugin_host()?;
        Ok(Facade(db))
    }

    fn run(&self, f: impl Fn(&mut Transaction) -> KernelResult<()>) -> Result<()> {
        Ok(self.0.run(f)?)
    }
}

impl Store for Facade {
    fn put(&self, rows: &[Row]) -> Result<()> {
        self.run(|tx| rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot(self.0.begin_read()?))
    }

    fn settle(&self) -> Result<()> {
        self.0.checkpoint()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

impl Engine for Facade {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        self.run(|tx| {
            let value = tx.get(TABLE, key)?;
            tx.put(TABLE, key, &change(value.as_deref()))
        })
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        // It makes the table.
        self.run(|tx| tx.drop_table(TABLE))?;
        self.0.bulk_load(TABLE, TableOptions::default(), rows.iter().cloned().map(Ok))?;
        Ok(())
    }
}

struct Snapshot(Transaction);

impl Reader for Snapshot {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get(TABLE, key)?.inspect(|value| seen(value)).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for row in self.0.scan(TABLE, from..)?.take(rows) {
            let (key, value) = row?;
            seen(&key, &value);
        }
        Ok(())
    }
}
