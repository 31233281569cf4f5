//! Rows that do not fit a JSON Schema are refused: hooks before inserts and updates.
//!
//! What is looked at is, in this order: the JSON text in the column that the setting `column` names; the row of a typed
//! table as a JSON object, in the forms that the command `scan --json` shows; the value of an untyped table,
//! which must be JSON then.

use jsonschema::Validator;
use sochdb_guest::config;
use sochdb_guest::prelude::*;
use sochdb_guest::serde_json::{self, Value as Json};

/// Errors that a refusal tells; who mends the first three runs again.
const ERRORS_TOLD: usize = 3;

/// The hook: the schema, made ready.
pub struct JsonSchema {
    validator: Validator,
    column: String,
}

impl Hooks for JsonSchema {
    fn init() -> Result<Self> {
        let schema = serde_json::from_str(&config::text("schema")?)?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| {
            Error::invalid(format!("the setting 'schema' is no JSON Schema: {error}"))
        })?;
        Ok(JsonSchema { validator, column: config::text("column")? })
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        Ok(match self.document(table, change)? {
            Ok(None) => Decision::Continue,
            Ok(Some(document)) => self.decide(&document),
            Err(error) => Decision::Abort(format!("this is no JSON: {error}")),
        })
    }
}

impl JsonSchema {
    /// What is to be looked at; nothing for a delete, and where the column is null.
    fn document(
        &self,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<serde_json::Result<Option<Json>>> {
        let Some(value) = &change.new else { return Ok(Ok(None)) };
        if table.schema()?.is_none() {
            return Ok(serde_json::from_slice(value));
        }
        let Some(row) = change.new_record(table)? else { return Ok(Ok(None)) };
        if self.column.is_empty() {
            return Ok(Ok(Some(row.to_json())));
        }
        Ok(row.text(&self.column)?.map(serde_json::from_str).transpose())
    }

    fn decide(&self, document: &Json) -> Decision {
        let told = self.validator.iter_errors(document).take(ERRORS_TOLD);
        let told = told.map(|error| match error.instance_path().as_str() {
            "" => error.to_string(),
            path => format!("{path}: {error}"),
        });
        let told = told.collect::<Vec<_>>();
        if told.is_empty() { Decision::Continue } else { Decision::Abort(told.join("; ")) }
    }
}

sochdb_guest::export!(hooks: JsonSchema);

#[cfg(test)]
mod tests;
