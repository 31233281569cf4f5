//! What a plugin's author says of the tables, rows and calls it is for.
//!
//! A hook that checks the columns of a table, or a procedure with arguments of its own, can only be tested well with
//! rows and arguments that it takes. Without them the kit makes some up.

use serde_json::Value as Json;
use sochdb_encoding::row::Schema;
use std::collections::BTreeMap;

/// Everything that the author says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Tables that are made before anything else.
    pub tables: Vec<SampleTable>,
    /// Indexes of them.
    pub indexes: Vec<SampleIndex>,
    /// Calls of procedures, which must be answered, in this order.
    pub calls: Vec<SampleCall>,
}

/// A table with rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTable {
    /// Its name.
    pub name: String,
    /// Its columns, if it is typed.
    pub schema: Option<Schema>,
    /// Keys and values. A hook's test writes them; other tests find them there.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleIndex {
    /// The table.
    pub table: String,
    /// The index's name.
    pub name: String,
    /// The column.
    pub column: String,
    /// Its settings, such as `using` and `metric`.
    pub settings: BTreeMap<String, String>,
}

/// A call of a procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleCall {
    /// The procedure's name.
    pub procedure: String,
    /// Its arguments.
    pub args: Json,
    /// What it must answer, if that is said.
    pub answer: Option<Json>,
}
