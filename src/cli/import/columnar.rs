//! Rows of files in columns: Parquet, and Apache Arrow's IPC format as a file or as a stream.
//!
//! | Arrow                                             | column                                                  |
//! |---------------------------------------------------|---------------------------------------------------------|
//! | `Boolean`                                         | bool                                                    |
//! | `Int8` to `Int64`, `UInt8` to `UInt64`            | int64; what is larger is a bad row                      |
//! | `Float16`, `Float32`, `Float64`                   | float64                                                 |
//! | `Utf8`, `LargeUtf8`, `Utf8View`                   | string                                                  |
//! | `Binary`, `LargeBinary`, `BinaryView`, `FixedSizeBinary` | bytes                                            |
//! | `Timestamp` of any unit, `Date32`, `Date64`       | timestamp; what is finer than microseconds is a bad row |
//! | `FixedSizeList`, `List`, `LargeList` of floats    | vector(n); n of a list is that of the first one         |
//! | `Dictionary` of one of these                      | the same                                                |
//! | `Null`                                            | string, and null in each row                            |
//!
//! Every other type is refused by the name of its column. A text also becomes whatever `--column` says, as in CSV.
//! Parquet and Arrow files are read where they lie; from standard input they are written to a file first, as their
//! ends come first.

use super::reader::encode;
use super::row::{Bad, Position, Row, Rows};
use crate::cli::args::{Format, Shape};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::tables::{schema_with_key, table_options};
use crate::cli::text::{KeyValue, Wrong, absent, parse_column};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use cell::Cell;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sochdb::{Column, ColumnType, Schema, TableOptions, Value};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

mod cell;

/// Rows of one batch of a Parquet file.
const BATCH_ROWS: usize = 4096;
/// How an Arrow file begins; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A file in columns, being read.
pub struct Source {
    name: String,
    /// Where it can be read again; a stream from standard input cannot.
    file: Option<(File, Format)>,
    columns: SchemaRef,
    rows_total: Option<u64>,
    batches: Batches,
    /// The columns of the present batch, its rows, and how many of them were given.
    batch: Vec<ArrayRef>,
    batch_rows: usize,
    at: usize,
    rows: u64,
    schema: Option<Schema>,
    /// Where the file has each column of the table.
    places: Vec<Option<usize>>,
}

/// An open file: its columns, its batches from some row on, and its rows in all where it says.
struct Opened {
    columns: SchemaRef,
    batches: Batches,
    rows_total: Option<u64>,
}

impl Opened {
    fn file(file: File, format: Format, rows_before: u64) -> Result<Opened, ArrowError> {
        if format == Format::Parquet {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
            let skip = usize::try_from(rows_before).unwrap_or(usize::MAX);
            let reader = builder.with_batch_size(BATCH_ROWS).with_offset(skip).build()?;
            let columns = reader.schema();
            return Ok(Opened { columns, batches: Box::new(reader), rows_total });
        }
        let mut file = BufReader::with_capacity(256 << 10, file);
        let mut start = Vec::new();
        file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let opened = match start == MAGIC {
            true => {
                let reader = FileReader::try_new(file, None)?;
                Opened { columns: reader.schema(), batches: Box::new(reader), rows_total: None }
            }
            false => Opened::stream(file)?,
        };
        Ok(Opened { batches: Box::new(behind(opened.batches, rows_before)), ..opened })
    }

    fn stream(input: impl Read + Send + 'static) -> Result<Opened, ArrowError> {
        let reader = StreamReader::try_new(input, None)?;
        Ok(Opened { columns: reader.schema(), batches: Box::new(reader), rows_total: None })
    }
}

/// The batches without their first rows.
fn behind(
    batches: Batches,
    rows: u64,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send {
    let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
    batches.map(move |batch| {
        let batch = batch?;
        let skip = left.min(batch.num_rows());
        left -= skip;
        Ok(batch.slice(skip, batch.num_rows() - skip))
    })
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`.
    pub fn open(path: &Path, format: Format) -> Outcome<Source> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
        if is_stdin && format == Format::ArrowStream {
            let opened = Opened::stream(BufReader::with_capacity(256 << 10, io::stdin()));
            let opened = opened.map_err(|error| wrong(&name, &error))?;
            return Ok(Source::new(name, None, opened));
        }
        let file = match is_stdin {
            true => spooled().map_err(cannot)?,
            false => super::open_file(path, "rows")?.1,
        };
        let again = file.try_clone().map_err(cannot)?;
        let opened = Opened::file(file, format, 0).map_err(|error| wrong(&name, &error))?;
        Ok(Source::new(name, Some((again, format)), opened))
    }

    fn new(name: String, file: Option<(File, Format)>, opened: Opened) -> Source {
        let Opened { columns, batches, rows_total } = opened;
        let (batch, batch_rows, at, rows, schema, places) = Default::default();
        Source {
            name,
            file,
            columns,
            rows_total,
            batches,
            batch,
            batch_rows,
            at,
            rows,
            schema,
            places,
        }
    }

    /// Makes sure that a row is at hand; false at the end.
    fn fill(&mut self) -> Outcome<bool> {
        while self.batch_rows <= self.at {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            let batch = batch.map_err(|error| wrong(&self.name, &error))?;
            let plain = batch.columns().iter().map(plain).collect::<Result<Vec<_>, _>>();
            self.batch = plain.map_err(|error| wrong(&self.name, &error))?;
            (self.batch_rows, self.at) = (batch.num_rows(), 0);
        }
        Ok(true)
    }

    /// The type of a new table's column for column `position` of the file.
    fn kind(&mut self, position: usize) -> Outcome<ColumnType> {
        let field = self.columns.field(position).clone();
        match cell::kind_of(field.data_type()) {
            Some(cell::Kind::Plain(kind)) => Ok(kind),
            Some(cell::Kind::List) => {
                self.fill()?;
                let first = self.batch.get(position).and_then(cell::first_length);
                first.map(ColumnType::Vector).ok_or_else(|| {
                    let text = format!(
                        "{}: column '{}' has no list among its first rows",
                        self.name,
                        field.name()
                    );
                    let help =
                        format!("say how long they are: --column '{}:vector(N)'", field.name());
                    Failure::invalid(text).help(help)
                })
            }
            None => Err(self.unsupported(position)),
        }
    }

    fn unsupported(&self, position: usize) -> Failure {
        let field = self.columns.field(position);
        let (name, kind) = (field.name(), field.data_type());
        Failure::invalid(format!("{}: column '{name}' is {kind}, which no column holds", self.name))
            .help("leave the column out or cast it where the file is written: numbers, text, bytes, times and lists of \
                   floats are read")
    }

    /// Whether the rows are those of an exported untyped table.
    fn is_untyped(&self) -> bool {
        let fields = self.columns.fields();
        let is_bytes = |field: &arrow_schema::FieldRef| {
            cell::kind_of(field.data_type()) == Some(cell::Kind::Plain(ColumnType::Bytes))
        };
        fields.len() == 2
            && fields[0].name() == "key"
            && fields[1].name() == "value"
            && fields.iter().all(is_bytes)
    }

    fn pair(&self) -> Result<KeyValue, Bad> {
        let made = match &self.schema {
            None => self.bytes(0).and_then(|key| Ok((key, self.bytes(1)?))),
            Some(schema) => self.row(schema).and_then(|row| encode(schema, &row)),
        };
        made.map_err(|(column, what)| Bad { column, ..Bad::new(what).of(self.json()) })
    }

    fn row(&self, schema: &Schema) -> Result<Vec<Value>, Wrong> {
        let value = |(column, place): (&Column, &Option<usize>)| match place {
            None => absent(column),
            Some(place) => Cell::of(&self.batch[*place], self.at)
                .and_then(|cell| cell.into_value(column))
                .map_err(|what| (Some(column.name.clone()), what)),
        };
        schema.columns.iter().zip(&self.places).map(value).collect()
    }

    fn bytes(&self, position: usize) -> Result<Vec<u8>, Wrong> {
        let wrong = |what| (Some(self.columns.field(position).name().clone()), what);
        match Cell::of(&self.batch[position], self.at).map_err(wrong)? {
            Cell::Bytes(bytes) => Ok(bytes.to_vec()),
            other => Err(wrong(format!("expected bytes, found {}", other.json()))),
        }
    }

    fn json(&self) -> serde_json::Value {
        let fields = self.columns.fields().iter().zip(&self.batch);
        let cell =
            |array| Cell::of(array, self.at).map_or(serde_json::Value::Null, |cell| cell.json());
        serde_json::Value::Object(
            fields.map(|(f, array)| (f.name().clone(), cell(array))).collect(),
        )
    }
}

impl Rows for Source {
    fn name(&self) -> &str {
        &self.name
    }

    fn unit(&self) -> &'static str {
        "row"
    }

    fn bytes_total(&self) -> Option<u64> {
        None
    }

    fn rows_total(&self) -> Option<u64> {
        self.rows_total
    }

    fn new_table(&mut self, shape: &Shape, _lenient: bool) -> Outcome<TableOptions> {
        if shape.columns.is_empty() && shape.key.is_empty() && self.is_untyped() {
            return table_options(shape, None);
        }
        let said = shape.columns.iter().map(|text| parse_column(text).map_err(Failure::invalid));
        let mut said = said.collect::<Outcome<Vec<_>>>()?;
        let mut columns = Vec::new();
        for position in 0..self.columns.fields().len() {
            let field = self.columns.field(position).clone();
            columns.push(match said.iter().position(|column| column.name == *field.name()) {
                Some(at) => said.remove(at),
                None => {
                    let name = field.name().clone();
                    let is_key = shape.key.contains(&name) || shape.key.is_empty() && name == "id";
                    let (kind, nullable) = (self.kind(position)?, field.is_nullable() && !is_key);
                    Column { name, kind, nullable, default: None }
                }
            });
        }
        columns.append(&mut said);
        table_options(shape, Some(schema_with_key(columns, &shape.key)?))
    }

    fn bind(&mut self, schema: Option<&Schema>, table: &str) -> Outcome {
        let Some(schema) = schema else {
            return match self.is_untyped() {
                true => Ok(()),
                false => {
                    let text = format!("table '{table}' is untyped, and {} has columns", self.name);
                    Err(Failure::invalid(text)
                        .help("such a file has the columns `key` and `value`, both of bytes"))
                }
            };
        };
        for (position, field) in self.columns.fields().iter().enumerate() {
            if !schema.columns.iter().any(|column| column.name == *field.name()) {
                let (file, name) = (&self.name, field.name());
                let text = format!("{file}: column '{name}': the table has no such column");
                return Err(Failure::invalid(text).help(
                    "leave the column out where the file is written, or import into another table",
                ));
            }
            if cell::kind_of(field.data_type()).is_none() {
                return Err(self.unsupported(position));
            }
        }
        let place = |column: &Column| self.columns.index_of(&column.name).ok();
        self.places = schema.columns.iter().map(place).collect();
        self.schema = Some(schema.clone());
        Ok(())
    }

    fn skip_to(&mut self, position: Position) -> Outcome {
        let cannot = |error| Failure::io(format!("cannot read {}", self.name), &error);
        let (file, format) = self.file.as_ref().expect("only files are gone on with");
        let mut file = file.try_clone().map_err(cannot)?;
        file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        let opened = Opened::file(file, *format, position.rows);
        self.batches = opened.map_err(|error| wrong(&self.name, &error))?.batches;
        (self.batch_rows, self.at, self.rows) = (0, 0, position.rows);
        Ok(())
    }

    fn next_row(&mut self) -> Outcome<Option<Row>> {
        if !self.fill()? {
            return Ok(None);
        }
        let pair = self.pair();
        self.at += 1;
        self.rows += 1;
        let end = Position { rows: self.rows, ..Position::default() };
        Ok(Some(Row { place: self.rows, end, pair }))
    }
}

/// Standard input as a file.
fn spooled() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// A column without a dictionary.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.as_any_dictionary_opt() {
        None => Ok(array.clone()),
        Some(dictionary) => {
            arrow_select::take::take(dictionary.values().as_ref(), dictionary.keys(), None)
        }
    }
}

fn wrong(name: &str, error: &ArrowError) -> Failure {
    let text = error.to_string();
    let failure = Failure::invalid(format!("{name}: {text}"));
    let codecs = ["zstd", "gzip", "brotli", "compression"];
    match codecs.iter().any(|codec| text.to_lowercase().contains(codec)) {
        true => failure.help(
            "write the file with another compression, such as snappy or lz4; for zstd in Parquet build with \
             --features parquet-zstd",
        ),
        false => failure.help("the file is damaged, cut, or of another format: --format says which"),
    }
}
