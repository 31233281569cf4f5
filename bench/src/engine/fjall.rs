//! fjall: a log-structured merge tree with background threads of its own.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use fjall::{
    Database, KeyspaceCreateOptions, PersistMode, Readable, SingleWriterTxDatabase,
    SingleWriterTxKeyspace, Snapshot,
};
use std::time::Duration;

pub struct Fjall {
    database: SingleWriterTxDatabase,
    rows: SingleWriterTxKeyspace,
    synced: bool,
}

impl Fjall {
    pub fn open(setup: &Setup<'_>) -> Result<Fjall> {
        let builder = SingleWriterTxDatabase::builder(setup.path);
        let database = builder.cache_size(setup.cache_bytes as u64).open()?;
        let memtable_bytes = setup.memtable_bytes as u64;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
        let rows = database.keyspace("rows", options)?;
        Ok(Fjall { database, rows, synced: setup.synced })
    }

    /// The database below its transactions: batches are atomic without them, and need no lock.
    fn plain(&self) -> &Database {
        self.database.inner()
    }

    fn sync(&self) -> Result<()> {
        if self.synced {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Store for Fjall {
    fn put(&self, rows: &[Row]) -> Result<()> {
        let mut batch = self.plain().batch();
        for (key, value) in rows {
            batch.insert(self.rows.inner(), key.as_slice(), value.as_slice());
        }
        batch.commit()?;
        self.sync()
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut View { snapshot: self.database.read_tx(), rows: &self.rows })
    }

    fn settle(&self) -> Result<()> {
        self.database.persist(PersistMode::SyncData)?;
        self.rows.inner().rotate_memtable_and_wait()?;
        while 0 < self.plain().outstanding_flushes() + self.plain().active_compactions() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

impl Engine for Fjall {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        let mut tx = self.database.write_tx();
        let value = change(tx.get(&self.rows, key)?.as_deref());
        tx.insert(&self.rows, key, value.as_slice());
        tx.commit()?;
        self.sync()
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        let mut ingestion = self.rows.inner().start_ingestion()?;
        for (key, value) in rows {
            ingestion.write(key.as_slice(), value.as_slice())?;
        }
        Ok(ingestion.finish()?)
    }
}

struct View<'a> {
    snapshot: Snapshot,
    rows: &'a SingleWriterTxKeyspace,
}

impl Reader for View<'_> {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.snapshot.get(self.rows, key)?.inspect(|value| seen(value)).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for row in self.snapshot.range(self.rows, from..).take(rows) {
            let (key, value) = row.into_inner()?;
            seen(&key, &value);
        }
        Ok(())
    }
}
