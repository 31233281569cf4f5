//! Searches in the indexes of a table, in the transaction that a call is part of.
//!
//! What is found is what the caller would find, its own writes included. The manifest's `can_vector_search` and
//! `can_index_search` allow it, for tables that `can_read_table` names.
//!
//! ```
//! use sochdb_guest::rows::Transaction;
//! use sochdb_guest::search::{Index, Search};
//! use sochdb_guest::Result;
//!
//! fn three_alike(tx: &Transaction<'_>, vector: &[f32]) -> Result<Vec<Vec<u8>>> {
//!     let index = Index::open(&tx.open("docs")?, "meaning")?;
//!     let found = index.near(vector, &Search { k: 3, ..Search::default() })?;
//!     Ok(found.into_iter().map(|neighbour| neighbour.key).collect())
//! }
//! # use sochdb_guest::{VectorMetric, row::{Column, ColumnType, Schema}, serde_json::json, testing::Database};
//! # let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
//! # let columns = vec![column("id", ColumnType::Int64), column("vector", ColumnType::Vector(2))];
//! # let mut db = Database::new();
//! # db.typed_table("docs", Schema::new(columns, &["id"])?);
//! # db.vector_index("docs", "meaning", "vector", VectorMetric::Cosine)?;
//! # for id in 0..5 {
//! #     db.put_json("docs", &json!({ "id": id, "vector": [id, 1] }))?;
//! # }
//! # assert_eq!(db.transaction(|tx| three_alike(tx, &[0.0, 1.0]))?.len(), 3);
//! # Ok::<(), sochdb_guest::Error>(())
//! ```

use crate::bindings::types;
use crate::error::Result;
use crate::imports::search as host;
use crate::rows::{Condition, Table};
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::Value;
use std::ops::Bound;

/// An index of a table.
pub struct Index(host::Index);

/// What a search for vectors looks for beside the vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// How many rows, at most 1,000; 10 by default.
    pub k: u32,
    /// Buys recall with time; 0 for what the index was made with.
    pub effort: u32,
    /// The keys that may be found.
    pub range: KeyRange,
    /// What rows must fulfil to be found.
    pub filter: Vec<Condition>,
}

impl Default for Search {
    fn default() -> Search {
        Search { k: 10, effort: 0, range: KeyRange::all(), filter: Vec::new() }
    }
}

/// A row near a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Its key.
    pub key: Vec<u8>,
    /// The value of the index's metric: the smaller the nearer.
    pub distance: f32,
}

impl Index {
    /// Opens the index `name` of `table`.
    ///
    /// # Errors
    /// `Denied` outside the grant, `NotFound`.
    pub fn open(table: &Table<'_>, name: &str) -> Result<Index> {
        Ok(Index(host::Index::open(table.handle(), name)?))
    }

    /// The rows nearest to `vector`, nearest first.
    ///
    /// # Errors
    /// `Invalid` when this is no index of vectors, or of other dimensions; `Limit`.
    pub fn near(&self, vector: &[f32], search: &Search) -> Result<Vec<Neighbour>> {
        let range = crate::rows::key_range(search.range.clone());
        let filter: Vec<_> = search.filter.iter().cloned().map(crate::rows::condition).collect();
        let found = self.0.vector_search(vector, search.k, search.effort, &range, &filter)?;
        let keys = keys(&found.keys).into_iter().zip(found.distances);
        Ok(keys.map(|(key, distance)| Neighbour { key, distance }).collect())
    }

    /// The keys of the first `limit` rows whose indexed value lies between `start` and `end`, by their values;
    /// from the greatest down if `reverse`.
    ///
    /// # Errors
    /// `Invalid` when this is no ordered index, or for values of another type; `Limit` above 8,192 rows.
    pub fn lookup(
        &self,
        start: Bound<Value>,
        end: Bound<Value>,
        reverse: bool,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>> {
        let bound = |bound: Bound<Value>| match bound {
            Bound::Unbounded => None,
            Bound::Included(value) => {
                Some(host::ValueBound { value: value.into(), inclusive: true })
            }
            Bound::Excluded(value) => {
                Some(host::ValueBound { value: value.into(), inclusive: false })
            }
        };
        let (start, end) = (bound(start), bound(end));
        Ok(keys(&self.0.index_lookup(start.as_ref(), end.as_ref(), reverse, limit)?))
    }
}

fn keys(flat: &types::Keys) -> Vec<Vec<u8>> {
    let mut start = 0;
    let key = |end: &u32| {
        let key = flat.bytes[start as usize..*end as usize].to_vec();
        start = *end;
        key
    };
    flat.ends.iter().map(key).collect()
}
