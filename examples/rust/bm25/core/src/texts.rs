//! Which text of a row is searched.

use crate::words::Document;
use sochdb_guest::prelude::*;
use sochdb_guest::row::{ColumnType, Schema};

/// The texts of one table's rows: some of its columns, or the whole value where there are none.
pub struct Texts {
    /// The table's columns, and the positions of those that are searched.
    columns: Option<(Schema, Vec<usize>)>,
}

impl Texts {
    /// The texts of `table`: the columns that `names` lists, with commas between them; every column of text when it
    /// lists none.
    ///
    /// # Errors
    /// `Invalid` for a column that does not exist or holds something else than text.
    pub fn of(table: &Table<'_>, names: &str) -> Result<Texts> {
        let Some(schema) = table.schema()? else { return Ok(Texts { columns: None }) };
        let is_text = |position: &usize| schema.columns[*position].kind == ColumnType::String;
        let names: Vec<_> =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let position = |name: &&str| {
            let found = schema.columns.iter().position(|column| column.name == *name);
            found.filter(is_text).ok_or_else(|| {
                Error::invalid(format!("table '{}' has no column '{name}' of text", table.name()))
            })
        };
        let positions = match names.as_slice() {
            [] => (0..schema.columns.len()).filter(is_text).collect(),
            names => names.iter().map(position).collect::<Result<_>>()?,
        };
        Ok(Texts { columns: Some((schema, positions)) })
    }

    /// The words of a row.
    ///
    /// # Errors
    /// `Corrupt` when it is no row of the table.
    pub fn document(&self, key: &[u8], value: &[u8]) -> Result<Document> {
        let Some((schema, positions)) = &self.columns else {
            return Ok(Document::of(str::from_utf8(value)));
        };
        let row = schema.decode(key, value)?;
        Ok(Document::of(positions.iter().filter_map(|position| match &row[*position] {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })))
    }
}
