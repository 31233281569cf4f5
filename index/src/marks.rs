//! Marks: what a write to a table with indexes leaves in the tables of those, in the same transaction.

use crate::column::{IndexedColumn, mark};
use crate::definition::{BUILDING, IndexDefinition, PREFIX};
use sochdb_encoding::row::Schema;
use sochdb_kernel::{KernelResult, TableId, TableInfo, Transaction};

/// The indexes of one table, as whoever writes to it needs them. Those that are still being built count.
#[derive(Default)]
pub struct TableIndexes {
    indexes: Vec<(String, IndexedColumn)>,
    ids: Vec<TableId>,
}

impl TableIndexes {
    /// The indexes of `table` among all tables of the database; all names are full ones.
    ///
    /// # Errors
    /// `Invalid` when an indexed column is not there.
    pub fn of(table: &str, all: &[TableInfo]) -> KernelResult<TableIndexes> {
        let schema = |info: &TableInfo| info.options.schema.clone();
        let schema = all.iter().find(|info| info.name == table).and_then(schema);
        TableIndexes::of_schema(table, schema.as_ref(), all)
    }

    /// The same for a table whose columns are `schema`.
    ///
    /// # Errors
    /// `Invalid` when an indexed column is not there.
    pub fn of_schema(
        table: &str,
        schema: Option<&Schema>,
        all: &[TableInfo],
    ) -> KernelResult<TableIndexes> {
        let mut found = TableIndexes::default();
        let Some(schema) = schema else { return Ok(found) };
        for info in all {
            if !info.name.starts_with(PREFIX) && !info.name.starts_with(BUILDING) {
                continue;
            }
            let Some(index) = IndexDefinition::of(info, Some(schema), table)? else { continue };
            found.indexes.push((info.name.clone(), IndexedColumn::new(&index, schema)?));
            found.ids.push(info.id);
        }
        Ok(found)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// The numbers of their tables: other ones at another moment say that indexes were made or dropped.
    pub fn ids(&self) -> &[TableId] {
        &self.ids
    }

    /// Marks a row that was written, or deleted where there is no `row`.
    ///
    /// # Errors
    /// `Invalid` that names the column for a value that cannot be indexed, `Limit` for one that is too long, and
    /// as [`Transaction::put`].
    pub fn mark(&self, tx: &mut Transaction, key: &[u8], row: Option<&[u8]>) -> KernelResult<()> {
        let mut form = Vec::new();
        for (table, column) in &self.indexes {
            let Some(row) = row else {
                tx.delete(table, key)?;
                continue;
            };
            form.clear();
            let has = column.form(&column.value(key, row)?, &mut form)?;
            tx.put(table, key, &mark(has.then_some(&form)).to_le_bytes())?;
        }
        Ok(())
    }
}
