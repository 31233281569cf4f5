//! LMDB: a copy-on-write B+tree in a memory map, one writer at a time.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithTls};
use std::ops::Bound;

/// Address space, not memory: far more than any run of the benchmark writes.
const MAP_BYTES: usize = 64 << 30;
/// Threads that may read or write at once.
const READERS_MAX: u32 = 256;

pub struct Lmdb {
    env: Env,
    rows: Database<Bytes, Bytes>,
}

impl Lmdb {
    pub fn open(setup: &Setup<'_>) -> Result<Lmdb> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_readers(READERS_MAX);
        if !setup.synced {
            // SAFETY: this flag is dangerous only to the file, when the power fails.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: nobody else changes or truncates the file while it is mapped; the directory belongs to
        // this run of the benchmark alone, and it lies on no network file system.
        let env = unsafe { options.open(setup.path) }?;
        let mut tx = env.write_txn()?;
        let rows = env.create_database(&mut tx, None)?;
        tx.commit()?;
        Ok(Lmdb { env, rows })
    }

    fn write(&self, rows: &[Row], flags: PutFlags) -> Result<()> {
        let mut tx = self.env.write_txn()?;
        for (key, value) in rows {
            self.rows.put_with_flags(&mut tx, flags, key, value)?;
        }
        Ok(tx.commit()?)
    }
}

impl Store for Lmdb {
    fn put(&self, rows: &[Row]) -> Result<()> {
        self.write(rows, PutFlags::empty())
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot { tx: self.env.read_txn()?, rows: self.rows })
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

impl Engine for Lmdb {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        let mut tx = self.env.write_txn()?;
        let value = change(self.rows.get(&tx, key)?);
        self.rows.put(&mut tx, key, &value)?;
        Ok(tx.commit()?)
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        self.write(rows, PutFlags::APPEND)
    }
}

struct Snapshot<'a> {
    tx: RoTxn<'a, WithTls>,
    rows: Database<Bytes, Bytes>,
}

impl Reader for Snapshot<'_> {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.rows.get(&self.tx, key)?.inspect(|value| seen(value)).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let from = (Bound::Included(from), Bound::Unbounded);
        for row in self.rows.range(&self.tx, &from)?.take(rows) {
            let (key, value) = row?;
            seen(key, value);
        }
        Ok(())
    }
}
