//! A dump as text: one JSON object a line, each with one field that says what it is.
//!
//! | line                                                  | what it is                                         |
//! |-------------------------------------------------------|----------------------------------------------------|
//! | `{"sochdb_dump": {"version": 1, "program": "0.1.0"}}` | the first line                                     |
//! | `{"table": {"name": .., "columns": [..], "key": [..], "storage": .., "codec": .., "settings": {..}, "indexes": [..]}}` | a table begins |
//! | `{"row": {..}}`                                       | one of its rows, as `scan --json` prints it        |
//! | `{"hex": ["..", ".."]}`                               | a row that JSON would alter: key and value in hex  |
//! | `{"table_end": {"rows": ..}}`                         | the table ends; the number of its rows             |
//! | `{"end": {"tables": ..}}`                             | the last line; the number of tables                |
//!
//! Rows stand in the order of their keys. The numbers show what a dump that was cut lacks; whoever edits one by hand
//! corrects them. JSON would alter, for example, a vector with a NaN in it.

use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::import::encode;
use crate::cli::text::{
    JsonPair, JsonRow, JsonValue, hex, pair_from_json, parse_hex, row_from_json, value_from_json,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sochdb::operations::{DumpItem, DumpTable};
use sochdb::{Column, KERNEL_VERSION, Schema, TableOptions, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};

const VERSION: u32 = 1;
/// A line: the largest row in hex, and more than that as numbers of a vector.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    SochdbDump(Head),
    Table(Table),
    Row(serde_json::Map<String, Json>),
    Hex([String; 2]),
    TableEnd { rows: u64 },
    End { tables: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    #[serde(default)]
    program: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    /// None for an untyped table.
    columns: Option<Vec<TableColumn>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<Index>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableColumn {
    name: String,
    r#type: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    nullable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Json>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    name: String,
    settings: BTreeMap<String, String>,
}

/// Writes a dump as text.
pub struct Writer<W> {
    out: W,
    schema: Option<Schema>,
    columns: Vec<usize>,
    rows: u64,
    tables: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a dump.
    pub fn new(out: W) -> Outcome<Writer<W>> {
        let mut writer = Writer { out, schema: None, columns: Vec::new(), rows: 0, tables: 0 };
        let program = KERNEL_VERSION.to_string();
        writer.line(&Line::SochdbDump(Head { version: VERSION, program }))?;
        Ok(writer)
    }

    fn line(&mut self, line: &impl Serialize) -> Outcome {
        serde_json::to_writer(&mut self.out, line)?;
        Ok(self.out.write_all(b"\n")?)
    }
}

/// A row on its line.
#[derive(Serialize)]
struct RowLine<T> {
    row: T,
}

impl<W: Write> super::Writer for Writer<W> {
    fn table(&mut self, table: &DumpTable) -> Outcome {
        self.schema = table.options.schema.clone();
        self.columns = (0..self.schema.as_ref().map_or(0, |schema| schema.columns.len())).collect();
        (self.rows, self.tables) = (0, self.tables + 1);
        let line = Line::Table(Table::of(table)?);
        self.line(&line)
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Outcome {
        self.rows += 1;
        let Some(schema) = &self.schema else {
            return self.line(&RowLine { row: JsonPair { key, value, hex: false } });
        };
        match exact(schema, key, value) {
            Some(row) => {
                let row = JsonRow { schema, row: &row, columns: &self.columns };
                serde_json::to_writer(&mut self.out, &RowLine { row })?;
                Ok(self.out.write_all(b"\n")?)
            }
            None => self.line(&Line::Hex([hex(key), hex(value)])),
        }
    }

    fn table_end(&mut self) -> Outcome {
        let line = Line::TableEnd { rows: self.rows };
        self.line(&line)
    }

    fn finish(mut self: Box<Self>) -> Outcome {
        let line = Line::End { tables: self.tables };
        self.line(&line)?;
        Ok(self.out.flush()?)
    }
}

/// The row, if JSON gives these very bytes back.
fn exact(schema: &Schema, key: &[u8], value: &[u8]) -> Option<Vec<Value>> {
    let row = schema.decode(key, value).ok()?;
    let survives = |value: &Value| match value {
        Value::Vector(floats) => floats.iter().all(|float| float.is_finite()),
        Value::Float64(float) => !float.is_nan() || float.to_bits() == f64::NAN.to_bits(),
        _ => true,
    };
    let same = row.iter().all(survives)
        && schema.encode_key(&row).ok()? == key
        && schema.encode_row(&row).ok()? == value;
    same.then_some(row)
}

impl Table {
    fn of(table: &DumpTable) -> Outcome<Table> {
        let TableOptions { storage, codec, schema, settings } = table.options.clone();
        let column = |column: &Column| -> Outcome<TableColumn> {
            let default =
                column.default.as_ref().map(|value| serde_json::to_value(JsonValue(value)));
            Ok(TableColumn {
                name: column.name.clone(),
                r#type: column.kind.to_string(),
                nullable: column.nullable,
                default: default.transpose()?,
            })
        };
        let columns = schema.as_ref().map(|schema| schema.columns.iter().map(column).collect());
        let name = |schema: &Schema| -> Vec<String> {
            schema.key.iter().map(|at| schema.columns[*at].name.clone()).collect()
        };
        let index = |(name, settings): &(String, BTreeMap<String, String>)| Index {
            name: name.clone(),
            settings: settings.clone(),
        };
        Ok(Table {
            name: table.name.clone(),
            columns: columns.transpose()?,
            key: schema.as_ref().map(name).unwrap_or_default(),
            storage,
            codec,
            settings,
            indexes: table.indexes.iter().map(index).collect(),
        })
    }

    fn into_dump(self) -> Result<DumpTable, String> {
        let column = |column: TableColumn| {
            let kind = column.r#type.parse().map_err(|e: sochdb::EncodingError| e.to_string())?;
            let (name, nullable) = (column.name, column.nullable);
            let mut made = Column { name, kind, nullable, default: None };
            made.default = column.default.map(|json| value_from_json(&json, &made)).transpose()?;
            Ok::<_, String>(made)
        };
        let columns: Option<Vec<Column>> = match self.columns {
            None => None,
            Some(columns) => Some(columns.into_iter().map(column).collect::<Result<_, _>>()?),
        };
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        let schema = columns.map(|columns| Schema::new(columns, &key).map_err(|e| e.to_string()));
        let (storage, codec, settings) = (self.storage, self.codec, self.settings);
        let options = TableOptions { storage, codec, schema: schema.transpose()?, settings };
        let indexes = self.indexes.into_iter().map(|index| (index.name, index.settings)).collect();
        Ok(DumpTable { name: self.name, options, indexes })
    }
}

/// Reads a dump as text.
pub struct Reader<R> {
    name: String,
    input: R,
    line: u64,
    bytes: u64,
    schema: Option<Schema>,
    /// Rows of the table that has begun and not ended.
    open: Option<u64>,
    last_key: Option<Vec<u8>>,
    tables: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line of a dump that errors call `name`.
    pub fn new(name: &str, input: R) -> Outcome<Reader<R>> {
        let (name, schema, open, last_key) = (name.to_owned(), None, None, None);
        let mut reader =
            Reader { name, input, line: 0, bytes: 0, schema, open, last_key, tables: 0 };
        match reader.read()? {
            Some(Line::SochdbDump(Head { version: VERSION, .. })) => Ok(reader),
            Some(Line::SochdbDump(Head { version, .. })) => Err(reader
                .wrong(format!("the dump is of version {version}, newer than this program's"))
                .help("use a newer sochdb")),
            _ => Err(reader.wrong("it does not begin as a dump does".to_owned())),
        }
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// What comes next; `None` behind the end.
    pub fn next(&mut self) -> Outcome<Option<DumpItem>> {
        let Some(line) = self.read()? else {
            return match self.tables {
                u64::MAX => Ok(None),
                _ => Err(self.wrong("the dump is cut: its last line is missing".to_owned())),
            };
        };
        if self.tables == u64::MAX {
            return Err(self.wrong("something follows the last line of the dump".to_owned()));
        }
        match (line, self.open) {
            (Line::Table(table), None) => {
                let table = table.into_dump().map_err(|what| self.wrong(what))?;
                (self.open, self.last_key) = (Some(0), None);
                self.tables += 1;
                self.schema = table.options.schema.clone();
                Ok(Some(DumpItem::Table(table)))
            }
            (Line::Row(object), Some(rows)) => {
                let made = match &self.schema {
                    Some(schema) => {
                        row_from_json(&object, schema).and_then(|row| encode(schema, &row))
                    }
                    None => pair_from_json(&object),
                };
                let row = made.map_err(|(column, what)| {
                    let column =
                        column.map(|name| format!("column '{name}': ")).unwrap_or_default();
                    self.wrong(format!("{column}{what}"))
                })?;
                self.rows(row, rows).map(Some)
            }
            (Line::Hex([key, value]), Some(rows)) => {
                let bytes = |text: &str| parse_hex(text).map_err(|what| self.wrong(what));
                let row = (bytes(&key)?, bytes(&value)?);
                self.rows(row, rows).map(Some)
            }
            (Line::TableEnd { rows }, Some(real)) if rows == real => {
                self.open = None;
                Ok(Some(DumpItem::TableEnd { rows }))
            }
            (Line::TableEnd { rows }, Some(real)) => {
                Err(self.counted(rows, real, "rows of the table"))
            }
            (Line::End { tables }, None) if tables == self.tables => {
                self.tables = u64::MAX;
                self.next().map(|_| Some(DumpItem::End { tables }))
            }
            (Line::End { tables }, None) => Err(self.counted(tables, self.tables, "tables")),
            (_, None) => Err(self.wrong("expected a table or the end of the dump".to_owned())),
            (_, Some(_)) => Err(self.wrong("expected a row or the end of the table".to_owned())),
        }
    }

    fn rows(&mut self, row: (Vec<u8>, Vec<u8>), before: u64) -> Outcome<DumpItem> {
        if self.last_key.as_ref().is_some_and(|last| row.0 <= *last) {
            let what = "its key does not come after that of the row before".to_owned();
            return Err(self.wrong(what).help("rows stand in the order of their keys, each once"));
        }
        self.open = Some(before + 1);
        self.last_key = Some(row.0.clone());
        Ok(DumpItem::Rows(vec![row]))
    }

    /// The next line that is not empty.
    fn read(&mut self) -> Outcome<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
            let read =
                read.map_err(|error| Failure::io(format!("cannot read {}", self.name), &error))?;
            self.bytes += read as u64;
            self.line += 1;
            if read == 0 {
                return Ok(None);
            }
            if !text.trim_ascii().is_empty() {
                let line = serde_json::from_slice(&text);
                return line.map(Some).map_err(|error| {
                    let said = error.to_string();
                    let what = said.rsplit_once(" at line ").map_or(&*said, |(what, _)| what);
                    self.wrong(format!("not a line of a dump: {what}"))
                });
            }
        }
    }

    fn counted(&self, said: u64, real: u64, what: &str) -> Failure {
        self.wrong(format!("expected {said} {what}, found {real}"))
            .help("the dump is cut or was altered; whoever edits one by hand corrects the numbers")
    }

    fn wrong(&self, what: String) -> Failure {
        Failure::new(Exit::Corrupt, format!("{} line {}: {what}", self.name, self.line))
            .help("make the dump again; nothing was loaded")
    }
}
