//! Rows of text: the records of a [`Source`] as rows of a table.
//!
//! ```text
//!   source ── first records ──▶ infer ──▶ schema of a new table
//!     └────── records ────────▶ values ──▶ key, value
//! ```

use super::infer;
use super::row::{Bad, Position, Row, Rows};
use super::source::{End, Fields, Record, Source};
use crate::cli::args::Shape;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::tables::{schema_with_key, table_options};
use crate::cli::text::{KeyValue, Wrong, absent, pair_from_json, row_from_json, value_from_text};
use serde_json::Value as Json;
use sochdb::{Column, Schema, TableOptions, Value};
use std::collections::VecDeque;

/// Rows that decide the columns of a new table.
const SAMPLE_ROWS: usize = 1000;

/// Records of text on their way into a table.
pub struct Reader {
    source: Source,
    /// Records that were read to see what there is.
    ahead: VecDeque<Record>,
    schema: Option<Schema>,
    rows: u64,
}

impl Reader {
    /// Reads from where `source` is.
    pub fn new(source: Source) -> Reader {
        Reader { source, ahead: VecDeque::new(), schema: None, rows: 0 }
    }

    fn sample(&mut self) -> Outcome {
        while self.ahead.len() < SAMPLE_ROWS
            && let Some(record) = self.source.next_record()?
        {
            self.ahead.push_back(record);
        }
        Ok(())
    }

    fn next_record(&mut self) -> Outcome<Option<Record>> {
        match self.ahead.pop_front() {
            Some(record) => Ok(Some(record)),
            None => self.source.next_record(),
        }
    }

    /// Refuses a sample that says nothing of columns.
    fn check_sample(&self, lenient: bool) -> Outcome {
        let bad = |record: &Record| {
            record.fields.as_ref().err().map(|bad| self.source.failure(record.line, bad))
        };
        if !lenient && let Some(first) = self.ahead.iter().find_map(bad) {
            return Err(first);
        }
        match self.ahead.iter().any(|record| record.fields.is_ok()) {
            true => Ok(()),
            false => Err(self.ahead.front().and_then(bad).unwrap_or_else(|| {
                Failure::invalid("the file has no rows, so nothing says what the new table's columns are")
                    .help("create the table with `sochdb table create`, or describe it with --column and --key")
            })),
        }
    }

    /// Whether the rows are those of an exported untyped table.
    fn is_untyped(&self) -> bool {
        let is_pair = |names: Vec<&str>| {
            names.len() == 2
                && names.iter().any(|name| matches!(*name, "key" | "key_hex"))
                && names.iter().any(|name| matches!(*name, "value" | "value_hex"))
        };
        let first = self.ahead.iter().find_map(|record| record.fields.as_ref().ok());
        match (self.source.header(), first) {
            (Some(header), _) => is_pair(header.iter().map(String::as_str).collect()),
            (None, Some(Fields::Json(object))) => {
                is_pair(object.keys().map(String::as_str).collect())
            }
            _ => false,
        }
    }

    fn pair(&self, fields: Fields) -> Result<KeyValue, Bad> {
        let made = match (&self.schema, &fields) {
            (None, Fields::Json(object)) => pair_from_json(object),
            (None, Fields::Csv(fields)) => pair_from_json(&self.named(fields)),
            (Some(schema), Fields::Json(object)) => {
                row_from_json(object, schema).and_then(|row| encode(schema, &row))
            }
            (Some(schema), Fields::Csv(fields)) => {
                self.row_from_csv(fields, schema).and_then(|row| encode(schema, &row))
            }
        };
        made.map_err(|(column, what)| Bad {
            column,
            what,
            row: match fields {
                Fields::Json(object) => Json::Object(object),
                Fields::Csv(fields) => Json::Object(self.named(&fields)),
            },
        })
    }

    /// The fields of a CSV record by the names of their columns.
    fn named(&self, fields: &[String]) -> serde_json::Map<String, Json> {
        let names = self.source.header().unwrap_or_default().iter().cloned();
        names.zip(fields.iter().cloned().map(Json::from)).collect()
    }

    fn row_from_csv(&self, fields: &[String], schema: &Schema) -> Result<Vec<Value>, Wrong> {
        let header = self.source.header().unwrap_or_default();
        if let Some(name) =
            header.iter().find(|name| !schema.columns.iter().any(|c| c.name == **name))
        {
            return Err((Some(name.clone()), "the table has no such column".into()));
        }
        let value = |column: &Column| {
            let Some(position) = header.iter().position(|name| *name == column.name) else {
                return absent(column);
            };
            value_from_text(&fields[position], column)
                .map_err(|what| (Some(column.name.clone()), what))
        };
        schema.columns.iter().map(value).collect()
    }
}

/// The row as the kernel takes it.
pub fn encode(schema: &Schema, row: &[Value]) -> Result<KeyValue, Wrong> {
    let wrong = |error: sochdb::EncodingError| (None, error.to_string());
    Ok((schema.encode_key(row).map_err(wrong)?, schema.encode_row(row).map_err(wrong)?))
}

impl Rows for Reader {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn unit(&self) -> &'static str {
        "line"
    }

    fn bytes_total(&self) -> Option<u64> {
        self.source.bytes_total()
    }

    fn rows_total(&self) -> Option<u64> {
        None
    }

    fn new_table(&mut self, shape: &Shape, lenient: bool) -> Outcome<TableOptions> {
        self.sample()?;
        if shape.columns.is_empty() || !self.ahead.is_empty() {
            self.check_sample(lenient)?;
        }
        if shape.columns.is_empty() && shape.key.is_empty() && self.is_untyped() {
            return table_options(shape, None);
        }
        let (header, records) = (self.source.header(), self.ahead.make_contiguous());
        let columns = infer::columns(header, records, &shape.columns, &shape.key, lenient);
        let columns = columns.map_err(|(line, column, what)| match line {
            0 => Failure::invalid(what),
            line => {
                let bad = Bad { column: Some(column), ..Bad::new(what) };
                self.source.failure(line, &bad)
            }
        })?;
        table_options(shape, Some(schema_with_key(columns, &shape.key)?))
    }

    fn bind(&mut self, schema: Option<&Schema>, _table: &str) -> Outcome {
        self.schema = schema.cloned();
        Ok(())
    }

    fn skip_to(&mut self, position: Position) -> Outcome {
        self.rows = position.rows;
        self.source.skip_to(End { bytes: position.bytes, lines: position.lines })
    }

    fn next_row(&mut self) -> Outcome<Option<Row>> {
        let Some(Record { line, end, fields }) = self.next_record()? else { return Ok(None) };
        self.rows += 1;
        let end = Position { rows: self.rows, bytes: end.bytes, lines: end.lines };
        Ok(Some(Row { place: line, end, pair: fields.and_then(|fields| self.pair(fields)) }))
    }
}
