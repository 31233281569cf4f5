//! A database of this project, opened as an embedder opens it: plugins, hooks, background thread and all.

use super::columns::{Encoded, Events, Get};
use super::contender::Data;
use super::events::{self, AT, CUSTOMER, Event, Filter, PRICE, Sums};
use super::native::{self, NATIVE, Native};
use crate::Result;
use crate::engine::{Reader, Row, Setup, Store};
use sochdb::{Database, Durability, KernelResult, Options, TableOptions, Transaction};
use sochdb_encoding::columns::{ColumnBatch, ColumnView};
use sochdb_encoding::row::Value;
use sochdb_encoding::select::{Comparison, Condition, Projection, Selection};
use sochdb_host_abi::columns_of;
use sochdb_kernel::{Kernel, KeyRange};
use std::sync::Arc;

/// The one table.
pub const TABLE: &str = "rows";

/// Who keeps the rows.
#[derive(Debug)]
pub enum Storage {
    /// The plugin `lscs`.
    Sandbox {
        /// What compresses its segments.
        codec: Option<String>,
    },
    /// The same algorithm, compiled natively.
    Native {
        /// The same.
        codec: Option<String>,
    },
    /// The kernel's tree.
    Tree,
}

/// An open database.
pub struct Ours(Database);

impl Ours {
    /// Opens the database, and makes it if there is none. Events are typed, rows are bytes.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(setup: &Setup<'_>, storage: &Storage, data: Data) -> Result<Ours> {
        let options = Options {
            cache_bytes_max: setup.cache_bytes,
            memtable_bytes_max: setup.memtable_bytes,
            background_checkpoints: true,
            durability: if setup.synced { Durability::Fsync } else { Durability::None },
            ..Options::default()
        };
        let db = Database::builder().options(options).open(setup.path)?;
        db.plugins().register_storage(Arc::new(Native::default()));
        if db.begin_read()?.tables()?.is_empty() {
            let schema = match data {
                Data::Rows => None,
                Data::Events => Some(events::schema()),
            };
            let (storage, codec) = match storage {
                Storage::Sandbox { codec } => (Some("lscs".to_owned()), codec.clone()),
                Storage::Native { codec } => (Some(NATIVE.to_owned()), codec.clone()),
                Storage::Tree => (None, None),
            };
            db.create_table(
                TABLE,
                TableOptions { storage, codec, schema, ..TableOptions::default() },
            )?;
        }
        Ok(Ours(db))
    }

    fn run(&self, f: impl Fn(&mut Transaction) -> KernelResult<()>) -> Result<()> {
        Ok(self.0.run(f)?)
    }
}

impl Store for Ours {
    fn put(&self, rows: &[Row]) -> Result<()> {
        self.run(|tx| rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot(self.0.begin_read()?))
    }

    fn settle(&self) -> Result<()> {
        loop {
            let report = self.0.checkpoint()?;
            if let Some((_, why)) = report.failed.first() {
                return Err(format!("a checkpoint failed: {why}").into());
            }
            if !report.unsettled {
                return Ok(());
            }
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
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

/// Rows and bytes of a batch of columns, at most.
const BATCH_ROWS: usize = 8 << 10;
const BATCH_BYTES: usize = 1 << 20;

/// Events in a table with columns: questions about all of them are answered by columns.
pub struct Columns(pub Encoded<Ours>);

impl Columns {
    /// Shows `seen` the columns `positions` of all events, or of those for which `filter` holds.
    fn scan(
        &self,
        positions: &[usize],
        filter: Option<Filter>,
        seen: &mut dyn FnMut(&ColumnBatch),
    ) -> Result<()> {
        let schema = events::schema();
        let condition = |comparison, filter: &Filter, number| {
            let value = match filter.column {
                AT => Value::Timestamp(number),
                _ => Value::Int64(number),
            };
            Condition::at(&schema, filter.column, comparison, vec![value])
        };
        let mut conditions = Vec::new();
        if let Some(filter) = &filter {
            conditions.push(condition(Comparison::GreaterOrEqual, filter, filter.from)?);
            conditions.push(condition(Comparison::Less, filter, filter.to)?);
        }
        let projection = Projection::at(&schema, positions.to_vec())?;
        let selection = Selection::new(schema, Some(projection), conditions)?;
        let kernel: &Kernel = &self.0.store.0;
        let (tx, all) = (kernel.begin_read()?, KeyRange::all());
        let (mut memory, reader) = tx.scan_layers(TABLE, all.clone())?;
        if memory.next_row()?.is_some() {
            return Err("rows that are only in memory, though the database was closed".into());
        }
        let reader = reader.ok_or("the table has no storage")?;
        if let Some(sandbox) = columns_of(&*reader) {
            let mut cursor = sandbox.scan_columns(&all, &selection)?;
            while let Some(batch) = cursor.next_batch(BATCH_ROWS, BATCH_BYTES)? {
                seen(&batch);
            }
            return Ok(());
        }
        let native = native::Rows::of(&*reader).ok_or("another storage than ours")?;
        let mut cursor = native.scan_columns(&all, &selection)?;
        while let Some(batch) = cursor.next_batch(BATCH_ROWS, BATCH_BYTES)? {
            seen(&batch);
        }
        Ok(())
    }
}

impl Events for Columns {
    fn load(&self, batches: &[Vec<Event>]) -> Result<()> {
        self.0.load(batches)
    }

    fn read(&self, f: &mut dyn FnMut(&mut Get<'_>) -> Result<()>) -> Result<()> {
        self.0.read(f)
    }

    fn sums(&self, filter: Option<Filter>) -> Result<Sums> {
        let mut sums = Sums::default();
        let positions: &[usize] = if filter.is_some() { &[PRICE] } else { &[CUSTOMER, PRICE] };
        self.scan(positions, filter, &mut |batch| {
            sums.rows += batch.rows() as u64;
            if let ColumnView::Float64(prices) = batch.view(positions.len() - 1) {
                sums.prices += prices.iter().sum::<f64>();
            }
            if let ColumnView::Int64(customers) = batch.view(0) {
                sums.customers += customers.iter().sum::<i64>();
            }
        })?;
        Ok(sums)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Box::new(self.0).close()
    }
}
