//! Rows by their values: through an ordered index, and through an index of vectors.

use super::error::RowError;
use super::keys::Bounds;
use super::write::column_value;
use super::{Shape, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sochdb_encoding::select::{Comparison, Condition};
use sochdb_host_abi::{Search, Transaction};
use sochdb_index::Lookup;
use sochdb_kernel::{ColumnType, KernelError, KernelResult, Value};
use std::ops::Bound;

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The first rows whose value in the index `index` lies in `range`, at most `limit`: in the order of the values,
    /// and of keys where these are equal. [`With`](super::With) for one value. A null is never found.
    ///
    /// # Errors
    /// As [`Transaction::lookup`] and [`get`](Self::get).
    pub fn lookup(
        &self,
        tx: &Transaction,
        index: &str,
        range: impl Bounds,
        limit: usize,
    ) -> KernelResult<Vec<T>> {
        self.look_up(tx, index, &range, limit, false)
    }

    /// The last ones, from the greatest value down.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn lookup_reverse(
        &self,
        tx: &Transaction,
        index: &str,
        range: impl Bounds,
        limit: usize,
    ) -> KernelResult<Vec<T>> {
        self.look_up(tx, index, &range, limit, true)
    }

    fn look_up<B: Bounds>(
        &self,
        tx: &Transaction,
        index: &str,
        range: &B,
        limit: usize,
        reverse: bool,
    ) -> KernelResult<Vec<T>> {
        self.check(tx)?;
        let Shape { table, schema, .. } = &*self.shape;
        let indexes = tx.indexes(table)?;
        let indexed = indexes.iter().find(|(definition, _)| definition.name == index);
        let column = indexed.and_then(|(definition, _)| {
            schema.columns.iter().find(|column| column.name == definition.column)
        });
        // Without the index, the lookup says so.
        let (kind, name) = column.map_or((ColumnType::Int64, ""), |one| (one.kind, &*one.name));
        let own = |bound: Bound<&B::End>| -> Result<Bound<Value>, RowError> {
            let value = |value: &B::End| column_value(kind, value);
            Ok(match bound {
                Bound::Unbounded => Bound::Unbounded,
                Bound::Included(end) => Bound::Included(value(end)?),
                Bound::Excluded(end) => Bound::Excluded(value(end)?),
            })
        };
        let ends = own(range.start()).and_then(|start| Ok((start, own(range.end())?)));
        let (start, end) = ends.map_err(|error| error.in_column(name).of(table, None))?;
        let keys = tx.lookup(table, index, &Lookup { start, end, reverse, limit })?;
        let rows = keys.iter().map(|key| match tx.get(table, key)? {
            Some(value) => self.decode(key, &value).map(Some),
            None => Ok(None),
        });
        rows.filter_map(KernelResult::transpose).collect()
    }

    /// A search for the rows nearest to a vector, among all that `tx` sees.
    pub fn search<'a>(&'a self, tx: &'a Transaction) -> TypedSearch<'a, T> {
        TypedSearch { table: self, tx, search: tx.search(self.name()).rows(true), like: None }
    }
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The row.
    pub row: T,
    /// How far it is, in the metric of the index: the smaller the nearer.
    pub distance: f32,
}

/// A search for the rows whose vectors are nearest to one: a [`Search`] that answers with rows.
#[must_use = "a search does nothing until it is run"]
pub struct TypedSearch<'a, T> {
    table: &'a Table<T>,
    tx: &'a Transaction,
    search: Search<'a>,
    like: Option<KernelResult<Vec<u8>>>,
}

impl<'a, T: Serialize + DeserializeOwned> TypedSearch<'a, T> {
    fn with(mut self, with: impl FnOnce(Search<'a>) -> Search<'a>) -> TypedSearch<'a, T> {
        self.search = with(self.search);
        self
    }

    /// The index to search; may be left out where the table has only one of vectors.
    pub fn index(self, name: &'a str) -> TypedSearch<'a, T> {
        self.with(|search| search.index(name))
    }

    /// Near this vector.
    pub fn near(self, vector: &'a [f32]) -> TypedSearch<'a, T> {
        self.with(|search| search.near(vector))
    }

    /// Near the vector of the row with this key, which itself is not among what is found.
    pub fn like<K: Serialize + ?Sized>(mut self, key: &K) -> TypedSearch<'a, T> {
        self.like = Some(self.table.key(key));
        self
    }

    /// How many rows to find, 10 if nobody says.
    pub fn k(self, k: usize) -> TypedSearch<'a, T> {
        self.with(|search| search.k(k))
    }

    /// How hard to look: buys recall with time.
    pub fn effort(self, effort: usize) -> TypedSearch<'a, T> {
        self.with(|search| search.effort(effort))
    }

    /// Whether to compare every row instead of using the index.
    pub fn exact(self, exact: bool) -> TypedSearch<'a, T> {
        self.with(|search| search.exact(exact))
    }

    /// Only rows whose column compares so with `value`.
    pub fn filter(
        self,
        column: &'a str,
        comparison: Comparison,
        value: impl Into<Value>,
    ) -> TypedSearch<'a, T> {
        self.with(|search| search.filter(column, comparison, value.into()))
    }

    /// Only rows that fulfil this, too.
    pub fn condition(self, condition: Condition) -> TypedSearch<'a, T> {
        self.with(|search| search.condition(condition))
    }

    /// Searches. Nearest first; equally near ones by growing keys.
    ///
    /// # Errors
    /// As [`Search::run`] and [`Table::get`].
    pub fn run(self) -> KernelResult<Vec<Found<T>>> {
        let TypedSearch { table, tx, search, like } = self;
        table.check(tx)?;
        let like = like.transpose()?;
        let search = match &like {
            Some(key) => search.like(key),
            None => search,
        };
        let found = search.run()?.into_iter().map(|found| {
            let name = || key_name(table, &found.key);
            let value =
                found.value.ok_or_else(|| KernelError::NotFound { kind: "row", name: name() })?;
            Ok(Found { row: table.decode(&found.key, &value)?, distance: found.distance })
        });
        found.collect()
    }
}

fn key_name<T: Serialize + DeserializeOwned>(table: &Table<T>, key: &[u8]) -> String {
    super::error::key_text(table.schema(), key)
}
