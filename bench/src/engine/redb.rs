//! redb: a copy-on-write B+tree in one file, one writer at a time.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::ops::Bound;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

pub struct Redb {
    database: Database,
    durability: Durability,
}

impl Redb {
    pub fn open(setup: &Setup<'_>) -> Result<Redb> {
        let path = setup.path.join("data.redb");
        let new = !path.exists();
        let database = Database::builder().set_cache_size(setup.cache_bytes).create(path)?;
        let durability = if setup.synced { Durability::Immediate } else { Durability::None };
        let engine = Redb { database, durability };
        if new {
            engine.write(Durability::Immediate, |_| Ok(()))?;
        }
        Ok(engine)
    }

    fn write(
        &self,
        durability: Durability,
        f: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut tx = self.database.begin_write()?;
        tx.set_durability(durability)?;
        f(&mut tx.open_table(ROWS)?)?;
        tx.commit()?;
        Ok(())
    }
}

impl Store for Redb {
    fn put(&self, rows: &[Row]) -> Result<()> {
        self.write(self.durability, |table| {
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot(self.database.begin_read()?.open_table(ROWS)?))
    }

    fn settle(&self) -> Result<()> {
        // A durable commit makes the earlier ones durable.
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Engine for Redb {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        self.write(self.durability, |table| {
            let value = change(table.get(key)?.as_ref().map(|value| value.value()));
            table.insert(key, value.as_slice())?;
            Ok(())
        })
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        self.write(self.durability, |table| {
            let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
            for (key, value) in rows {
                end.insert_before(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }
}

struct Snapshot(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for Snapshot {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get(key)?.inspect(|value| seen(value.value())).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for row in self.0.range(from..)?.take(rows) {
            let (key, value) = row?;
            seen(key.value(), value.value());
        }
        Ok(())
    }
}
