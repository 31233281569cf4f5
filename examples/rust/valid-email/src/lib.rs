//! A hook that lets only well-formed e-mail addresses into a column, and tidies those that it lets in.
//!
//! Before a row is inserted or updated: an address that is no address aborts the change, with the reason; one with
//! spaces around it, or capitals in its domain, is replaced by its tidy form; no address at all is fine. A row that
//! is updated and keeps its address is not judged: rows that were there before the hook stay writable.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod address;

// ANCHOR: hook
use sochdb_guest::prelude::*;

/// The settings are all that it knows.
#[derive(serde::Deserialize)]
pub struct ValidEmail {
    /// The column with the addresses.
    column: String,
}

impl Hooks for ValidEmail {
    fn init() -> Result<Self> {
        sochdb_guest::config::read()
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(mut row) = change.new_record(table)? else { return Ok(Decision::Continue) };
        let Some(text) = row.text(&self.column)? else { return Ok(Decision::Continue) };
        if let Some(old) = change.old_record(table)?
            && old.text(&self.column)? == Some(text)
        {
            return Ok(Decision::Continue);
        }
        match address::tidy(text) {
            Ok(tidy) if tidy == text => Ok(Decision::Continue),
            Ok(tidy) => {
                row.set(&self.column, tidy)?;
                change.replace(&row)
            }
            Err(why) => {
                sochdb_guest::count!("valid_email_refused_total", 1, table = table.name());
                Ok(Decision::abort(format!("'{text}' is no e-mail address: {why}")))
            }
        }
    }
}

sochdb_guest::export!(hooks: ValidEmail);
// ANCHOR_END: hook

#[cfg(test)]
mod tests;
