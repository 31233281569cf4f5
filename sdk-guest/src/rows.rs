//! Rows of tables, in the transaction that a call is part of.
//!
//! What is read includes the caller's own writes; what is written is committed, or not, with the rest.
//! Which tables, the manifest's `can_read_table` and `can_write_table` say; another one is
//! [`Denied`](crate::ErrorCode::Denied), whether it exists or not.
//!
//! ```
//! use sochdb_guest::rows::{Condition, ScanOptions, Transaction};
//! use sochdb_guest::{KeyRange, Result, select::Comparison};
//!
//! /// The towns of those that are `age` or older. The host looks at the ages, so only towns cross.
//! fn towns(tx: &Transaction<'_>, age: i64) -> Result<Vec<String>> {
//!     let people = tx.open("people")?;
//!     let options = ScanOptions {
//!         columns: vec!["town".into()],
//!         filter: vec![Condition::new("age", Comparison::GreaterOrEqual, age)],
//!         ..ScanOptions::default()
//!     };
//!     let mut towns = Vec::new();
//!     for person in people.records(KeyRange::all(), options)? {
//!         towns.extend(person?.text("town")?.map(str::to_owned));
//!     }
//!     Ok(towns)
//! }
//! # use sochdb_guest::{row::{Column, ColumnType, Schema}, serde_json::json, testing::Database};
//! # let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
//! # let columns = [("id", ColumnType::Int64), ("age", ColumnType::Int64), ("town", ColumnType::String)];
//! # let columns = columns.map(|(name, kind)| column(name, kind)).into();
//! # let mut db = Database::new();
//! # db.typed_table("people", Schema::new(columns, &["id"])?);
//! # db.put_json("people", &json!({ "id": 1, "age": 30, "town": "Bonn" }))?;
//! # db.put_json("people", &json!({ "id": 2, "age": 29, "town": "Ulm" }))?;
//! # assert_eq!(db.transaction(|tx| towns(tx, 30))?, ["Bonn"]);
//! # Ok::<(), sochdb_guest::Error>(())
//! ```
//!
//! Rows of untyped tables are bytes: [`Table::get`], [`Table::scan`], [`Table::put`].

use crate::bindings::types;
use crate::error::{Error, Result};
use crate::imports::{plugins, rows as host};
use crate::storage::RowBatch;
use crate::typed::schema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::{Schema, Value};
use sochdb_encoding::select::Comparison;
use std::cell::OnceCell;
use std::ops::Bound;
use std::rc::Rc;

pub use crate::record::{Record, Records};

/// Rows and bytes that are asked of a scan at once: the first time, and later.
const FIRST_ROWS: u32 = 128;
const LATER_ROWS: u32 = 2048;
const BATCH_BYTES: u32 = 256 << 10;

/// The transaction that a call is part of.
pub struct Transaction<'a>(&'a host::Transaction);

impl<'a> Transaction<'a> {
    pub(crate) fn new(handle: &'a host::Transaction) -> Transaction<'a> {
        Transaction(handle)
    }

    /// Opens the table `name`.
    ///
    /// # Errors
    /// `Denied` outside the grant, `NotFound`.
    pub fn open(&self, name: &str) -> Result<Table<'static>> {
        Ok(Table::new(Handle::Own(self.0.open_table(name)?)))
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    /// Calls a procedure of another plugin in this transaction. `args` and the answer are JSON.
    ///
    /// # Errors
    /// `Denied` outside the manifest's `can_call_plugin`, `NotFound`, and what the procedure answers; what it
    /// wrote is undone then.
    pub fn call_plugin(&self, plugin: &str, procedure: &str, args: &str) -> Result<String> {
        Ok(plugins::call_plugin(self.0, plugin, procedure, args)?)
    }

    /// The same with arguments and an answer of the caller's own types.
    ///
    /// # Errors
    /// As [`call_plugin`](Self::call_plugin); `Invalid` when the answer is no `R`.
    pub fn call<R: DeserializeOwned>(
        &self,
        plugin: &str,
        procedure: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R> {
        let answer = self.call_plugin(plugin, procedure, &serde_json::to_string(args)?)?;
        serde_json::from_str(&answer).map_err(|error| {
            Error::invalid(format!("the answer of '{plugin}.{procedure}' is another one: {error}"))
        })
    }
}

/// A table, in the transaction it was opened in.
pub struct Table<'a> {
    handle: Handle<'a>,
    /// Its columns, once somebody has asked.
    schema: OnceCell<Option<Rc<Schema>>>,
}

enum Handle<'a> {
    Own(host::Table),
    Lent(&'a host::Table),
}

/// What a scan reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScanOptions {
    /// The columns of the answer's values, as [`Projection`](crate::select::Projection) decodes them; empty for
    /// the values as they are stored.
    pub columns: Vec<String>,
    /// Rows must fulfil all of these.
    pub filter: Vec<Condition>,
    /// The most rows that are answered.
    pub limit: Option<u64>,
    /// From the greatest key down.
    pub reverse: bool,
}

/// A condition on one column of a typed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The column's name.
    pub column: String,
    /// How its value is compared.
    pub comparison: Comparison,
    /// With what, of the column's type: one value, or any number for [`Comparison::In`]; a test for null ignores
    /// them.
    pub values: Vec<Value>,
}

impl Condition {
    /// A condition on `column`.
    pub fn new(column: &str, comparison: Comparison, value: impl Into<Value>) -> Condition {
        Condition { column: column.to_owned(), comparison, values: vec![value.into()] }
    }

    /// The condition that `column` equals one of `values`.
    pub fn among(column: &str, values: Vec<Value>) -> Condition {
        Condition { column: column.to_owned(), comparison: Comparison::In, values }
    }
}

impl<'a> Table<'a> {
    pub(crate) fn lent(handle: &'a host::Table) -> Table<'a> {
        Table::new(Handle::Lent(handle))
    }

    fn new(handle: Handle<'a>) -> Table<'a> {
        Table { handle, schema: OnceCell::new() }
    }

    pub(crate) fn handle(&self) -> &host::Table {
        match &self.handle {
            Handle::Own(table) => table,
            Handle::Lent(table) => table,
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.handle().name()
    }

    /// Its columns, if it is typed.
    ///
    /// # Errors
    /// When the host cannot say.
    pub fn schema(&self) -> Result<Option<Schema>> {
        Ok(self.shared_schema()?.as_deref().cloned())
    }

    /// Its columns. The host is asked once.
    ///
    /// # Errors
    /// `Invalid` when it is not typed.
    pub fn columns(&self) -> Result<Rc<Schema>> {
        self.shared_schema()?.clone().ok_or_else(|| {
            Error::invalid(format!("the table '{}' has no columns: it is not typed", self.name()))
        })
    }

    fn shared_schema(&self) -> Result<&Option<Rc<Schema>>> {
        if let Some(known) = self.schema.get() {
            return Ok(known);
        }
        let asked = self.handle().schema()?.map(schema).transpose()?;
        Ok(self.schema.get_or_init(|| asked.map(Rc::new)))
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// `Denied` without the right to read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.handle().soch_read(key)?)
    }

    /// The values of `keys`, in their order.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Limit` for more than 8192 keys, or 1 MiB of values.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut end = 0;
        let ends = keys.iter().map(|key| {
            end += key.len() as u32;
            end
        });
        let keys = types::Keys { ends: ends.collect(), bytes: keys.concat() };
        let types::Found { states, values, value_ends } = self.handle().soch_read_many(&keys)?;
        let mut start = 0;
        let value = |(state, end): (&u8, &u32)| {
            let value = &values[start as usize..*end as usize];
            start = *end;
            (*state == 2).then(|| value.to_vec())
        };
        Ok(states.iter().zip(&value_ends).map(value).collect())
    }

    /// Begins to read the rows of `range`.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Invalid` when a column does not exist or a value has not its type.
    pub fn scan(&self, range: impl Into<KeyRange>, options: ScanOptions) -> Result<Scan> {
        let range = key_range(range.into());
        let options = host::ScanOptions {
            columns: options.columns,
            filter: options.filter.into_iter().map(condition).collect(),
            limit: options.limit,
            reverse: options.reverse,
        };
        let scan = self.handle().soch_scan(&range, &options)?;
        Ok(Scan { scan, batch: RowBatch::default(), at: 0, rows: FIRST_ROWS })
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// `Denied` without the right to write, or in a call that only reads; `Invalid` when the value is no row
    /// of a typed table; `Conflict`; what a hook of the table answers.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.handle().soch_write(key, value)?)
    }

    /// Sets and deletes many rows; their keys grow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn write(&self, rows: RowBatch) -> Result<()> {
        Ok(self.handle().soch_write_many(&rows.into())?)
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.handle().soch_delete(key)?)
    }

    /// The row of `key` by the names of its columns, if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Invalid` when the table is not typed.
    pub fn record(&self, key: &[u8]) -> Result<Option<Record>> {
        self.get(key)?.map(|value| Record::decode(self, key, &value)).transpose()
    }

    /// Writes a row by the names of its columns, under the key that it says.
    ///
    /// # Errors
    /// As [`put`](Self::put), [`Record::key`] and [`Record::encode`].
    pub fn put_record(&self, record: &Record) -> Result<()> {
        self.put(&record.key()?, &record.encode()?)
    }

    /// Begins to read the rows of `range` by the names of their columns: all of them, or those that the options
    /// name.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); `Invalid` when the table is not typed.
    pub fn records(&self, range: impl Into<KeyRange>, options: ScanOptions) -> Result<Records> {
        Records::begin(self, range.into(), options)
    }
}

/// `range` as the contract has it.
pub(crate) fn key_range(range: KeyRange) -> types::KeyRange {
    let bound = |bound: Bound<Vec<u8>>| match bound {
        Bound::Included(key) => Some(types::Bound { key, inclusive: true }),
        Bound::Excluded(key) => Some(types::Bound { key, inclusive: false }),
        Bound::Unbounded => None,
    };
    types::KeyRange { start: bound(range.start), end: bound(range.end) }
}

/// The condition as the contract has it.
pub(crate) fn condition(condition: Condition) -> types::Condition {
    let Condition { column, comparison, values } = condition;
    let values = values.into_iter().map(Into::into).collect();
    types::Condition { column, op: comparison as u8, values }
}

/// A scan under way.
pub struct Scan {
    scan: host::Scan,
    batch: RowBatch,
    at: usize,
    rows: u32,
}

impl Scan {
    /// The next row's key and value, or `None` at the end.
    ///
    /// # Errors
    /// Whatever kept the host from reading it.
    #[allow(
        clippy::should_implement_trait,
        reason = "its rows live until the next one is asked for"
    )]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.at == self.batch.len() {
            self.batch = self.scan.next(self.rows, BATCH_BYTES)?.into();
            self.at = 0;
            self.rows = LATER_ROWS;
        }
        let row = self.batch.get(self.at);
        self.at += usize::from(row.is_some());
        Ok(row.map(|(key, value)| (key, value.unwrap_or_default())))
    }
}
