//! What is looked for in an index of vectors, put together word by word.

use crate::programs::Programs;
use crate::side_by_side;
use crate::tenant::Tenant;
use crate::transaction::Transaction;
use sochdb_encoding::row::{ColumnType, Schema, Value};
use sochdb_encoding::select::{Comparison, Condition};
use sochdb_index::{IndexDefinition, VectorSearch};
use sochdb_kernel::{Kernel, KernelError, KernelResult, KeyRange, Slice, TransactionOptions};
use std::num::NonZero;
use std::sync::Arc;

/// How many neighbours are found where nobody says.
const K: usize = 10;

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Its key.
    pub key: Vec<u8>,
    /// How far it is, in the metric of the index: the smaller the nearer.
    pub distance: f32,
    /// Its value, if [`Search::rows`] asked for it.
    pub value: Option<Slice>,
}

/// Where a search looks.
pub(crate) enum Source<'a> {
    /// In this transaction.
    In(&'a Transaction),
    /// In one that begins and ends with the search.
    Fresh { kernel: &'a Kernel, programs: &'a Programs, tenant: Option<&'a Arc<Tenant>> },
}

/// A search for the rows of a table whose vectors are nearest to one.
///
/// Begun by [`Transaction::search`], which sees what the transaction sees, its own writes included. What is found
/// is exactly among the rows that it sees; which of them are nearest is found approximately unless
/// [`exact`](Self::exact) says otherwise, the better the more [`effort`](Self::effort).
///
/// Of at least `k` rows that may be found, `k` are.
#[must_use = "a search does nothing until it is run"]
pub struct Search<'a> {
    source: Source<'a>,
    table: &'a str,
    index: Option<&'a str>,
    target: Target<'a>,
    k: usize,
    effort: Option<usize>,
    exact: bool,
    rows: bool,
    range: KeyRange,
    filters: Vec<(&'a str, Comparison, Vec<Value>)>,
    conditions: Vec<Condition>,
    threads: Option<NonZero<usize>>,
}

/// What the rows shall be near to.
#[derive(Clone, Copy)]
enum Target<'a> {
    Nothing,
    Vector(&'a [f32]),
    Row(&'a [u8]),
}

impl<'a> Search<'a> {
    pub(crate) fn new(source: Source<'a>, table: &'a str) -> Search<'a> {
        Search {
            source,
            table,
            index: None,
            target: Target::Nothing,
            k: K,
            effort: None,
            exact: false,
            rows: false,
            range: KeyRange::all(),
            filters: Vec::new(),
            conditions: Vec::new(),
            threads: None,
        }
    }

    /// In a transaction of its own, begun when it is run: for those who own a database.
    pub fn fresh(
        kernel: &'a Kernel,
        programs: &'a Programs,
        tenant: Option<&'a Arc<Tenant>>,
        table: &'a str,
    ) -> Search<'a> {
        Search::new(Source::Fresh { kernel, programs, tenant }, table)
    }

    /// The index to search; may be left out where the table has only one of vectors.
    pub fn index(mut self, name: &'a str) -> Search<'a> {
        self.index = Some(name);
        self
    }

    /// Near this vector.
    pub fn near(mut self, vector: &'a [f32]) -> Search<'a> {
        self.target = Target::Vector(vector);
        self
    }

    /// Near the vector of the row with this key, which itself is not among what is found.
    pub fn like(mut self, key: &'a [u8]) -> Search<'a> {
        self.target = Target::Row(key);
        self
    }

    /// How many rows to find, 10 if nobody says.
    pub fn k(mut self, k: usize) -> Search<'a> {
        self.k = k;
        self
    }

    /// How hard to look: the length of the list of candidates (`ef_search`, `l`). Buys recall with time.
    pub fn effort(mut self, effort: usize) -> Search<'a> {
        self.effort = Some(effort);
        self
    }

    /// Whether to compare every row instead of using the index.
    pub fn exact(mut self, exact: bool) -> Search<'a> {
        self.exact = exact;
        self
    }

    /// Whether to bring the rows' values along.
    pub fn rows(mut self, rows: bool) -> Search<'a> {
        self.rows = rows;
        self
    }

    /// Only rows with keys in this range.
    pub fn range(mut self, range: impl Into<KeyRange>) -> Search<'a> {
        self.range = range.into();
        self
    }

    /// Only rows whose column compares so with `value`.
    pub fn filter(mut self, column: &'a str, comparison: Comparison, value: Value) -> Search<'a> {
        self.filters.push((column, comparison, vec![value]));
        self
    }

    /// Only rows that fulfil this, too.
    pub fn condition(mut self, condition: Condition) -> Search<'a> {
        self.conditions.push(condition);
        self
    }

    /// How many threads [`run_each`](Self::run_each) uses: as many as the machine runs at once if nobody says.
    pub fn threads(mut self, threads: NonZero<usize>) -> Search<'a> {
        self.threads = Some(threads);
        self
    }

    /// Searches. Nearest first; equally near ones by growing keys.
    ///
    /// # Errors
    /// As [`Transaction::vector_search`]; `Invalid` when nothing says what to be near to, and for a filter on a
    /// column that is not there; `NotFound` when the row to be like is not there.
    pub fn run(self) -> KernelResult<Vec<Neighbour>> {
        self.within(|tx| {
            let ready = Ready::new(&self, tx)?;
            let (vector, key) = match self.target {
                Target::Vector(vector) => (vector.to_vec(), None),
                Target::Row(key) => (ready.vector_of(tx, key)?, Some(key)),
                Target::Nothing => {
                    let text = "the search does not say what the rows shall be near to";
                    return Err(KernelError::invalid(text));
                }
            };
            ready.run(tx, vector, key)
        })
    }

    /// Searches near each of `vectors`, on several threads, all in one snapshot. What [`near`](Self::near) and
    /// [`like`](Self::like) say is not looked at. The answers are in the order of the vectors.
    ///
    /// # Errors
    /// As [`run`](Self::run): the first of all vectors.
    pub fn run_each<V: AsRef<[f32]> + Sync>(
        self,
        vectors: &[V],
    ) -> KernelResult<Vec<Vec<Neighbour>>> {
        self.within(|tx| {
            let ready = Ready::new(&self, tx)?;
            let threads = self.threads.unwrap_or_else(side_by_side::cores);
            let work = |vector: &V| ready.run(tx, vector.as_ref().to_vec(), None);
            side_by_side::try_map(vectors, threads, |place, _| place, work)
        })
    }

    fn within<T>(&self, work: impl FnOnce(&Transaction) -> KernelResult<T>) -> KernelResult<T> {
        match self.source {
            Source::In(tx) => work(tx),
            Source::Fresh { kernel, programs, tenant } => {
                let options = TransactionOptions { read_only: true, ..Default::default() };
                work(&Transaction::begin(kernel, programs, tenant, options)?)
            }
        }
    }
}

/// A search whose names are looked up.
struct Ready<'a> {
    search: &'a Search<'a>,
    index: IndexDefinition,
    schema: Schema,
    conditions: Vec<Condition>,
}

impl<'a> Ready<'a> {
    fn new(search: &'a Search<'a>, tx: &Transaction) -> KernelResult<Ready<'a>> {
        let index = tx.vector_index(search.table, search.index)?;
        let schema = tx.table(search.table)?.options.schema;
        let schema = schema.ok_or_else(|| {
            KernelError::Invalid(format!("table '{}' has no columns", search.table))
        })?;
        let mut conditions = search.conditions.clone();
        for (column, comparison, values) in &search.filters {
            let position = schema.columns.iter().position(|known| known.name == *column);
            let position = position.ok_or_else(|| {
                let text = format!("table '{}' has no column '{column}'", search.table);
                KernelError::Invalid(text)
            })?;
            conditions.push(Condition::at(&schema, position, *comparison, values.clone())?);
        }
        Ok(Ready { search, index, schema, conditions })
    }

    /// The vector of the row with the key `key`.
    fn vector_of(&self, tx: &Transaction, key: &[u8]) -> KernelResult<Vec<f32>> {
        let Some(value) = tx.get(self.search.table, key)? else {
            let name = key.escape_ascii().to_string();
            return Err(KernelError::NotFound { kind: "row", name });
        };
        let is_it = |column: &sochdb_encoding::row::Column| column.name == self.index.column;
        let position = self.schema.columns.iter().position(is_it);
        let position = position.filter(|position| {
            matches!(self.schema.columns[*position].kind, ColumnType::Vector(_))
        });
        let none = || {
            let text = format!("column '{}' of the row to be like is null", self.index.column);
            KernelError::Invalid(text)
        };
        let position = position.ok_or_else(none)?;
        match self.schema.column(&value, position)? {
            Value::Vector(vector) => Ok(vector),
            _ => Err(none()),
        }
    }

    /// Searches near `vector`, leaving out the row with the key `not`.
    fn run(
        &self,
        tx: &Transaction,
        vector: Vec<f32>,
        not: Option<&[u8]>,
    ) -> KernelResult<Vec<Neighbour>> {
        tx.timings()?.search(self.search.table, || self.find(tx, vector, not))
    }

    fn find(
        &self,
        tx: &Transaction,
        vector: Vec<f32>,
        not: Option<&[u8]>,
    ) -> KernelResult<Vec<Neighbour>> {
        let Search { table, k, effort, exact, rows, ref range, .. } = *self.search;
        let mut search = VectorSearch::new(vector, k.saturating_add(usize::from(not.is_some())));
        search.effort = effort;
        search.exact = exact;
        search.range = range.clone();
        search.conditions.clone_from(&self.conditions);
        let hits = tx.vector_search(table, Some(&self.index.name), &search)?;
        let others = hits.into_iter().filter(|hit| not != Some(hit.key.as_slice())).take(k);
        let found = others.map(|hit| {
            let value = if rows { tx.get(table, &hit.key)? } else { None };
            Ok(Neighbour { key: hit.key, distance: hit.distance, value })
        });
        found.collect()
    }
}
