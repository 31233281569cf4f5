//! Tables of a Rust type: rows by serde instead of by bytes.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sochdb::rows::{Moment, Vector, With};
//! use sochdb::{Database, IndexOptions};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct User {
//!     id: u32,
//!     name: String,
//!     born: Option<Moment>,
//!     taste: Vector<2>,
//! }
//!
//! # fn main() -> sochdb::KernelResult<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let db = Database::open(directory.path())?;
//! let users = db.typed_table::<User>("users", &["id"])?; // made if it is not there, else compared
//! let ada = User { id: 7, name: "Ada".into(), born: None, taste: [0.6, 0.8].into() };
//! db.run(|tx| users.insert(tx, &ada))?;
//!
//! let tx = db.begin_read()?;
//! assert_eq!(users.get(&tx, &7)?, Some(ada));
//! for user in users.scan(&tx, 1..100)? {
//!     println!("{}", user?.name);
//! }
//!
//! db.create_index("users", "by_name", "name", &IndexOptions::default(), &mut |_| {})?;
//! db.create_index("users", "by_taste", "taste", &IndexOptions::default(), &mut |_| {})?;
//! let tx = db.begin_read()?;
//! assert_eq!(users.lookup(&tx, "by_name", With("Ada"), 10)?.len(), 1);
//! assert_eq!(users.search(&tx).near(&[3.0, 4.0]).k(1).run()?[0].row.id, 7);
//! # db.close()
//! # }
//! ```
//!
//! ```text
//!   put ── write: fields to values ──▶ Schema ──▶ key, value ──▶ Transaction
//!   get ◀── read: values to fields ── Schema ◀── key, value ◀──┘
//!   typed_table ── trace: what the type's fields are ──▶ a table's columns, made or compared
//! ```
//!
//! | in Rust                                  | column      |                                                   |
//! |------------------------------------------|-------------|---------------------------------------------------|
//! | `bool`                                   | bool        |                                                   |
//! | integers of at most 64 bits              | int64       | a `u64` above `i64::MAX` is refused when written  |
//! | `f64`, `f32`                             | float64     | reading as `f32` what is none is refused          |
//! | `String`, `char`, enums without values   | string      | an enum by the name of its variant                |
//! | `Vec<u8>`, `[u8; N]`, `serde_bytes`      | bytes       |                                                   |
//! | [`Moment`]                               | timestamp   |                                                   |
//! | [`Vector<N>`](Vector), `[f32; N]`        | vector(N)   |                                                   |
//! | `Vec<f32>`                               | vector(DIM) | with [`RowOptions::vector`]                       |
//! | `Option` of any of these                 | nullable    | not in a key                                      |
//!
//! Names are those of serde: `#[serde(rename)]`, `default`, `skip` and the like mean what they mean elsewhere;
//! `flatten` does not work here, nor do types within types.
//!
//! - A table that is there must fit: each field has a column of its type, and is an `Option` exactly where the column
//!   may be null, or has a default for what is not given. Columns without a field may be there if they may be null or
//!   have a default: they keep what they hold when a row is put again. A field without a column may be there if it is
//!   an `Option`: it reads as `None` and is refused when it is written with something in it.
//! - The table is compared again in every call, so a table that was replaced meanwhile is an error and never nonsense.
//! - What goes wrong names the table, the row by its key, and the column.

mod error;
mod find;
mod keys;
mod read;
mod shape;
mod special;
mod trace;
mod write;

pub use find::{Found, TypedSearch};
pub use keys::{Bounds, With};
pub use special::{Moment, Vector};

use crate::database::{Database, TenantDatabase};
use error::{RowError, key_text, values_text};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shape::{Shape, column, fields};
use sochdb_host_abi::{RowWrite, Transaction};
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, Scan, Schema, TableOptions, Value};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// How a table of a type is made.
///
/// ```
/// use sochdb::TableOptions;
/// use sochdb::rows::RowOptions;
///
/// let in_columns = TableOptions { storage: Some("lscs".into()), ..Default::default() };
/// let options = RowOptions::default().vector("embedding", 384).table(in_columns);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct RowOptions {
    vectors: BTreeMap<String, u32>,
    table: TableOptions,
}

impl RowOptions {
    /// The field `field`, a `Vec<f32>`, always has `dim` numbers.
    pub fn vector(mut self, field: &str, dim: u32) -> RowOptions {
        self.vectors.insert(field.to_owned(), dim);
        self
    }

    /// The table's storage, codec and settings. Its columns are those of the type.
    pub fn table(mut self, options: TableOptions) -> RowOptions {
        self.table = options;
        self
    }
}

/// A table whose rows are of the type `T`. It holds names and columns, no transaction: keep it, clone it, share it.
///
/// Keys are what serde makes a value of: `&7` or `"ada"`, and a tuple where the key has several columns.
pub struct Table<T> {
    shape: Arc<Shape>,
    rows: PhantomData<fn() -> T>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Table<T> {
        Table { shape: self.shape.clone(), rows: PhantomData }
    }
}

impl<T> std::fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("shape", &self.shape).finish()
    }
}

const _: fn() = || {
    fn is_handle<T: Clone + Send + Sync + 'static>() {}
    is_handle::<Table<std::rc::Rc<()>>>();
};

impl Database {
    /// The table `name` of rows of the type `T`, whose key is the fields named in `key`. Made if it is not there.
    ///
    /// # Errors
    /// `Invalid` when `T` cannot be a row, or the table that is there does not fit it, with the column and both types;
    /// as a commit when the table is made.
    pub fn typed_table<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: &[&str],
    ) -> KernelResult<Table<T>> {
        self.typed_table_with(name, key, &RowOptions::default())
    }

    /// As [`typed_table`](Self::typed_table); one that is made gets these options.
    ///
    /// # Errors
    /// As there.
    pub fn typed_table_with<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: &[&str],
        options: &RowOptions,
    ) -> KernelResult<Table<T>> {
        let found = Table::find(&self.begin_read()?, name, key)?;
        found.map_or_else(|| self.run(|tx| Table::open(tx, name, key, options)), Ok)
    }
}

impl TenantDatabase {
    /// As [`Database::typed_table`], in a table of the tenant.
    ///
    /// # Errors
    /// As there.
    pub fn typed_table<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: &[&str],
    ) -> KernelResult<Table<T>> {
        self.typed_table_with(name, key, &RowOptions::default())
    }

    /// As [`Database::typed_table_with`], in a table of the tenant.
    ///
    /// # Errors
    /// As there.
    pub fn typed_table_with<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: &[&str],
        options: &RowOptions,
    ) -> KernelResult<Table<T>> {
        let found = Table::find(&self.begin_read()?, name, key)?;
        found.map_or_else(|| self.run(|tx| Table::open(tx, name, key, options)), Ok)
    }
}

/// Opening.
impl<T: Serialize + DeserializeOwned> Table<T> {
    /// As [`Database::typed_table_with`], in a transaction that is running.
    ///
    /// # Errors
    /// As there.
    pub fn open(
        tx: &mut Transaction,
        name: &str,
        key: &[&str],
        options: &RowOptions,
    ) -> KernelResult<Table<T>> {
        if let Some(found) = Table::find(tx, name, key)? {
            return Ok(found);
        }
        let columns = fields::<T>(name)?.into_iter().map(|field| column(name, field, options));
        let schema = Schema::new(columns.collect::<KernelResult<_>>()?, key)?;
        tx.create_table(name, TableOptions { schema: Some(schema), ..options.table.clone() })?;
        let missing = || KernelError::NotFound { kind: "table", name: name.to_owned() };
        Table::find(tx, name, key)?.ok_or_else(missing)
    }

    /// The table, if it is there.
    fn find(tx: &Transaction, name: &str, key: &[&str]) -> KernelResult<Option<Table<T>>> {
        let info = match tx.table(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            info => info?,
        };
        let Some(schema) = info.options.schema else {
            let rows = std::any::type_name::<T>();
            let text = format!("table '{name}' has bytes and no columns, so no rows of {rows}");
            return Err(KernelError::Invalid(text));
        };
        let shape = Shape::compared::<T>(name, schema, key)?;
        Ok(Some(Table { shape: Arc::new(shape), rows: PhantomData }))
    }
}

/// Rows.
impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.shape.table
    }

    /// The table's columns and key.
    pub fn schema(&self) -> &Schema {
        &self.shape.schema
    }

    /// The row with this key.
    ///
    /// # Errors
    /// `Invalid` for a key of another type, a value that `T` does not take, and a table that was replaced by another;
    /// otherwise as [`Transaction::get`].
    pub fn get<K: Serialize + ?Sized>(&self, tx: &Transaction, key: &K) -> KernelResult<Option<T>> {
        self.check(tx)?;
        let key = self.key(key)?;
        let value = tx.get(self.name(), &key)?;
        value.map(|value| self.decode(&key, &value)).transpose()
    }

    /// Whether there is a row with this key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains<K: Serialize + ?Sized>(&self, tx: &Transaction, key: &K) -> KernelResult<bool> {
        self.check(tx)?;
        Ok(tx.get(self.name(), &self.key(key)?)?.is_some())
    }

    /// Writes the row, in the place of the one with its key if there is one.
    ///
    /// # Errors
    /// `Invalid` for a value that its column does not take, and a table that was replaced by another; otherwise as
    /// [`Transaction::put`].
    pub fn put(&self, tx: &mut Transaction, row: &T) -> KernelResult<()> {
        self.check(tx)?;
        let (key, value) = self.encode(tx, row)?;
        tx.put(self.name(), &key, &value)
    }

    /// Writes the rows in this order: all of them, or none. Where hooks are called, they get many at once.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_all<'r>(
        &self,
        tx: &mut Transaction,
        rows: impl IntoIterator<Item = &'r T>,
    ) -> KernelResult<()>
    where
        T: 'r,
    {
        self.check(tx)?;
        let encoded = rows.into_iter().map(|row| self.encode(tx, row));
        let encoded = encoded.collect::<KernelResult<Vec<_>>>()?;
        let rows: Vec<RowWrite<'_>> =
            encoded.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))).collect();
        tx.write_all(self.name(), &rows)
    }

    /// Writes a row whose key is new.
    ///
    /// # Errors
    /// `Invalid` when there is a row with this key, which stays as it is; otherwise as [`put`](Self::put).
    pub fn insert(&self, tx: &mut Transaction, row: &T) -> KernelResult<()> {
        self.check(tx)?;
        let (key, value) = self.encode(tx, row)?;
        if tx.get(self.name(), &key)?.is_some() {
            let row = key_text(self.schema(), &key);
            return Err(self.shape.invalid(format_args!("row {row} is there already")));
        }
        tx.put(self.name(), &key, &value)
    }

    /// Changes the row with this key, if there is one; whether there was.
    ///
    /// # Errors
    /// `Invalid` when the change is one of its key; otherwise as [`get`](Self::get) and [`put`](Self::put).
    pub fn update<K: Serialize + ?Sized>(
        &self,
        tx: &mut Transaction,
        key: &K,
        change: impl FnOnce(&mut T),
    ) -> KernelResult<bool> {
        let Some(mut row) = self.get(tx, key)? else { return Ok(false) };
        let key = self.key(key)?;
        change(&mut row);
        let (changed, value) = self.encode(tx, &row)?;
        if changed != key {
            let [from, to] = [&key, &changed].map(|key| key_text(self.schema(), key));
            let text = format!("an update of row {from} would make it row {to}; delete and insert");
            return Err(self.shape.invalid(text));
        }
        tx.put(self.name(), &key, &value)?;
        Ok(true)
    }

    /// Deletes the row with this key, if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`Transaction::delete`].
    pub fn delete<K: Serialize + ?Sized>(&self, tx: &mut Transaction, key: &K) -> KernelResult<()> {
        self.check(tx)?;
        let key = self.key(key)?;
        tx.delete(self.name(), &key)
    }

    /// The rows whose keys lie in `range`, in growing order of keys: a range of values, or of tuples where the key has
    /// several columns, `..` for all, or [`With`].
    ///
    /// # Errors
    /// As [`get`](Self::get), also for each row.
    pub fn scan(&self, tx: &Transaction, range: impl Bounds) -> KernelResult<Rows<T>> {
        self.check(tx)?;
        let scan = tx.scan(self.name(), self.range(&range)?)?;
        Ok(Rows { table: self.clone(), scan })
    }

    /// The same, in falling order of keys.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_reverse(&self, tx: &Transaction, range: impl Bounds) -> KernelResult<Rows<T>> {
        self.check(tx)?;
        let scan = tx.scan_reverse(self.name(), self.range(&range)?)?;
        Ok(Rows { table: self.clone(), scan })
    }

    /// Deletes the rows whose keys lie in `range`: all of them, or none. Returns how many are gone.
    ///
    /// # Errors
    /// As [`scan`](Self::scan) and [`Transaction::delete_range`].
    pub fn delete_range(&self, tx: &mut Transaction, range: impl Bounds) -> KernelResult<u64> {
        self.check(tx)?;
        tx.delete_range(self.name(), self.range(&range)?)
    }
}

/// Bytes.
impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The bytes of this key.
    ///
    /// # Errors
    /// `Invalid` for one of another type or with fewer columns.
    pub fn key<K: Serialize + ?Sized>(&self, key: &K) -> KernelResult<Vec<u8>> {
        let Shape { table, schema, .. } = &*self.shape;
        let values = write::key_values(schema, key);
        let values = values.map_err(|error| error.of(table, Some("with this key".to_owned())))?;
        let (got, wanted) = (values.len(), schema.key.len());
        if got != wanted {
            let text = format!("{got} values were given for a key of {wanted} columns");
            return Err(self.shape.invalid(text));
        }
        schema.encode_key_values(&values).map_err(|error| self.refused(error, &values))
    }

    /// The row that these bytes are, such as those that the change feed has.
    ///
    /// # Errors
    /// `Corrupt` when they are no row of this table, `Invalid` when `T` does not take a value in it.
    pub fn decode(&self, key: &[u8], value: &[u8]) -> KernelResult<T> {
        let Shape { table, schema, .. } = &*self.shape;
        let values = schema.decode(key, value).map_err(|error| match error.into() {
            KernelError::Corrupt { file, offset, expected, found } => {
                let file = format!("table '{table}', row {}: {file}", key_text(schema, key));
                KernelError::Corrupt { file, offset, expected, found }
            }
            other => other,
        })?;
        read::row(&self.shape, values).map_err(|error| error.of(table, Some(key_text(schema, key))))
    }

    /// The bytes of the row: its key and its value. What the type has no field for is as it was.
    fn encode(&self, tx: &Transaction, row: &T) -> KernelResult<(Vec<u8>, Vec<u8>)> {
        let Shape { table, schema, has } = &*self.shape;
        let mut values =
            write::row_values(&self.shape, row).map_err(|error| error.of(table, None))?;
        let key_values: Vec<Value> =
            schema.key.iter().map(|position| values[*position].clone()).collect();
        let key = schema
            .encode_key_values(&key_values)
            .map_err(|error| self.refused(error, &key_values))?;
        if has.contains(&false)
            && let Some(old) = tx.get(table, &key)?
        {
            let old = schema.decode(&key, &old)?;
            let rest = values.iter_mut().zip(old).zip(has).filter(|(_, has)| !**has);
            rest.for_each(|((value, old), _)| *value = old);
        }
        let value = schema.encode_row(&values);
        Ok((key, value.map_err(|error| self.refused(error, &key_values))?))
    }

    fn refused(&self, error: sochdb_encoding::EncodingError, key: &[Value]) -> KernelError {
        match error.into() {
            KernelError::Invalid(text) => {
                let row = values_text(key);
                RowError::new(text).of(&self.shape.table, Some(row))
            }
            other => other,
        }
    }

    fn range(&self, range: &impl Bounds) -> KernelResult<sochdb_kernel::KeyRange> {
        let Shape { table, schema, .. } = &*self.shape;
        keys::key_range(schema, range).map_err(|error| error.of(table, None))
    }

    /// Whether the table is still the one that was compared with the type.
    fn check(&self, tx: &Transaction) -> KernelResult<()> {
        if tx.table(self.name())?.options.schema.as_ref() == Some(self.schema()) {
            return Ok(());
        }
        let text = "it was replaced by one with other columns; open the typed table again";
        Err(self.shape.invalid(text))
    }
}

/// Rows of a scan, one after the other. The snapshot they are read from stays until this is dropped.
pub struct Rows<T> {
    table: Table<T>,
    scan: Scan,
}

impl<T: Serialize + DeserializeOwned> Iterator for Rows<T> {
    type Item = KernelResult<T>;

    fn next(&mut self) -> Option<KernelResult<T>> {
        let row = self.scan.next()?;
        Some(row.and_then(|(key, value)| self.table.decode(&key, &value)))
    }
}
