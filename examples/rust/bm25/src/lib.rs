//! Keeps the words of a table's rows searchable: hooks that write an index beside the rows.
//!
//! How the index works is told by the crate `core`; the procedures of `bm25-search` ask it.

use serde::Deserialize;
use sochdb_example_bm25_core::{Texts, index_of};
use sochdb_guest::config;
use sochdb_guest::prelude::*;

/// The hook, which is its settings.
#[derive(Deserialize)]
pub struct Bm25 {
    /// The columns that are searched, with commas between them; all of text if empty.
    columns: String,
}

impl Hooks for Bm25 {
    fn init() -> Result<Self> {
        config::read()
    }

    fn before(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        changes: &[Change],
    ) -> Result<Vec<Decision>> {
        let texts = Texts::of(table, &self.columns)?;
        let words = |change: &Change| {
            let new = change.new.as_deref();
            new.map(|value| texts.document(&change.key, value)).transpose()
        };
        let edit = |change| words(change).map(|words| (change.key.as_slice(), words));
        let edits = changes.iter().map(edit).collect::<Result<Vec<_>>>()?;
        index_of(tx, &table.name())?.apply(&edits)?;
        Ok(vec![Decision::Continue; changes.len()])
    }
}

sochdb_guest::export!(hooks: Bm25);

#[cfg(test)]
mod tests;
