//! What every source of rows gives: one row after the other, each with its place, ready or with what is wrong.
//!
//! A row that cannot become one of the table's is [`Bad`]: the source goes on behind it. What ends the reading
//! itself, such as a file that is cut or a disk that fails, is a [`Failure`].

use crate::cli::args::Shape;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::text::KeyValue;
use serde_json::Value as Json;
use sochdb::{Schema, TableOptions};

/// Bytes of a row that are kept with what is wrong with it; a file may end in one open quotation mark.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Why a row cannot be one of the table's.
#[derive(Debug, Clone, PartialEq)]
pub struct Bad {
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
    /// The row as far as it could be read: its text, its fields or an object.
    pub row: Json,
}

/// One row of a source.
#[derive(Debug)]
pub struct Row {
    /// Its line in a text, else its number; both count from one.
    pub place: u64,
    /// Where reading goes on behind it.
    pub end: Position,
    /// What is written, or why nothing can be.
    pub pair: Result<KeyValue, Bad>,
}

/// A place between two rows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Rows before it, bad ones too.
    pub rows: u64,
    /// Bytes before it: of the text, where the source is text.
    pub bytes: u64,
    /// Lines before it, where the source is text.
    pub lines: u64,
}

/// A file of rows, being read.
pub trait Rows: Send {
    /// What errors call the file.
    fn name(&self) -> &str;
    /// What a row's place is counted in: `line` or `row`.
    fn unit(&self) -> &'static str;
    /// The file's size in bytes, where it is known and positions count the same bytes.
    fn bytes_total(&self) -> Option<u64>;
    /// The rows in all, where the file says.
    fn rows_total(&self) -> Option<u64>;
    /// What a new table for these rows is like. Bad rows have no say if `lenient`, otherwise they are errors.
    ///
    /// # Errors
    /// `Invalid` when no table could hold them.
    fn new_table(&mut self, shape: &Shape, lenient: bool) -> Outcome<TableOptions>;
    /// From now on rows are made for a table with this schema, untyped without one.
    ///
    /// # Errors
    /// `Invalid` when no row could be one of the table's.
    fn bind(&mut self, schema: Option<&Schema>, table: &str) -> Outcome;
    /// Goes on at `position`, which a row's `end` once was. Nothing was read before.
    ///
    /// # Errors
    /// `Invalid` when the file has no such place any more, and what keeps it from being read.
    fn skip_to(&mut self, position: Position) -> Outcome;
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What keeps all later rows from being read.
    fn next_row(&mut self) -> Outcome<Option<Row>>;
}

impl Bad {
    /// A row of which nothing is known but what is wrong with it.
    pub fn new(what: impl Into<String>) -> Bad {
        Bad { column: None, what: what.into(), row: Json::Null }
    }

    /// With the row itself.
    pub fn of(self, row: Json) -> Bad {
        Bad { row, ..self }
    }

    /// With the text of the row; bytes that are no text are replaced.
    pub fn of_text(self, text: &[u8]) -> Bad {
        let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
        self.of(text.trim_end_matches(['\n', '\r']).into())
    }

    /// The same as the end of an import of the file `name`; the row is at `place`, counted in `unit`.
    pub fn failure(&self, name: &str, unit: &str, place: u64) -> Failure {
        let column = self.column.as_ref().map(|name| format!(" column '{name}':"));
        let column = column.unwrap_or_default();
        Failure::invalid(format!("{name} {unit} {place}:{column} {}", self.what))
    }
}
