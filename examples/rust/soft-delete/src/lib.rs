//! Rows that are deleted stay, marked with the time: hooks before deletes.
//!
//! | a delete of a row that  | what happens                                                         |
//! |-------------------------|----------------------------------------------------------------------|
//! | is not marked           | the column `deleted_at` gets the time, and the row stays              |
//! | is marked already       | it goes for good; or it stays, when `purge` is `false`                |
//!
//! So whoever empties the bin deletes a second time, and a row is taken out of it by setting the column to null.

use serde::Deserialize;
use sochdb_guest::prelude::*;
use sochdb_guest::{clock, config};

/// The hook, which is its settings.
#[derive(Deserialize)]
pub struct SoftDelete {
    /// The column that says when the row was deleted.
    column: String,
    /// Whether deleting a deleted row removes it.
    purge: bool,
}

impl Hooks for SoftDelete {
    fn init() -> Result<Self> {
        config::read()
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(mut row) = change.old_record(table)? else { return Ok(Decision::Continue) };
        match row.get(&self.column) {
            Some(Value::Null) => {
                row.set(&self.column, Value::Timestamp(now_us()?))?;
                table.put_record(&row)?;
                Ok(Decision::Skip)
            }
            Some(_) if self.purge => Ok(Decision::Continue),
            Some(_) => Ok(Decision::Skip),
            None => {
                let (table, column) = (table.name(), &self.column);
                let text = format!("table '{table}' has no column '{column}' to mark its rows in");
                Err(Error::invalid(text))
            }
        }
    }
}

/// Microseconds since 1970.
fn now_us() -> Result<i64> {
    match clock::now_us() {
        // Without the grant the clock stands still.
        0 => Err(Error::new(ErrorCode::Denied, "the time was not granted: clock = true")),
        us => Ok(us),
    }
}

sochdb_guest::export!(hooks: SoftDelete);

#[cfg(test)]
mod tests;
