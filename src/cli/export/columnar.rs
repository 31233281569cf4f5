//! Tables as Parquet and as Apache Arrow's IPC format: the columns of a scan as they are, batch by batch.
//!
//! A typed table has the columns and types that [`sochdb::arrow`] says; of an untyped one key and value are columns
//! of bytes. `import` reads the types back as they were.

use crate::cli::args::Format;
use crate::cli::cancel;
use crate::cli::failure::{Exit, Failure, Outcome};
use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use sochdb::{Condition, KernelResult, Transaction};
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

/// Rows and bytes of one batch of an untyped table.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;
/// Rows of a Parquet row group, and bytes that one may take in memory while it is written.
const GROUP_ROWS: usize = 1 << 20;
const GROUP_BYTES: usize = 64 << 20;

/// Writes the rows of `table`, and returns how many there were. `columns` names those of a typed table, whose rows
/// fulfil `conditions`.
pub fn write(
    tx: &Transaction,
    table: &str,
    columns: Option<&[&str]>,
    conditions: Vec<Condition>,
    format: Format,
    out: &mut (dyn Write + Send),
    each: &mut dyn FnMut(u64),
) -> Outcome<u64> {
    let Some(columns) = columns else {
        let fields = ["key", "value"].map(|name| Field::new(name, DataType::Binary, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let mut writer = Writer::new(format, out, schema.clone())?;
        let mut scan = tx.scan(table, ..)?;
        while let Some(batch) = pairs(&mut scan, &schema)? {
            cancel::check()?;
            writer.write(&batch)?;
            each(writer.rows);
        }
        return writer.finish();
    };
    let scan = tx.scan_columns(table, .., columns, conditions)?;
    let columns = scan.columns().to_vec();
    let schema = Arc::new(sochdb::arrow::schema(&columns));
    let mut writer = Writer::new(format, out, schema)?;
    for batch in scan {
        cancel::check()?;
        writer.write(&sochdb::arrow::record_batch(batch?, &columns)?)?;
        each(writer.rows);
    }
    writer.finish()
}

/// The next rows of an untyped table; none at the end.
fn pairs<V: AsRef<[u8]>>(
    scan: &mut impl Iterator<Item = KernelResult<(Vec<u8>, V)>>,
    schema: &SchemaRef,
) -> Outcome<Option<RecordBatch>> {
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    let (mut rows, mut bytes) = (0, 0);
    while rows < BATCH_ROWS && bytes < BATCH_BYTES {
        let Some(row) = scan.next() else { break };
        let (key, value) = row?;
        bytes += key.len() + value.as_ref().len();
        rows += 1;
        keys.append_value(key);
        values.append_value(value);
    }
    let arrays: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
    let batch = || RecordBatch::try_new(schema.clone(), arrays).map_err(of_arrow);
    (0 < rows).then(batch).transpose()
}

/// A file being written, in one of the formats.
struct Writer<'a> {
    rows: u64,
    format: Writing<'a>,
}

enum Writing<'a> {
    Parquet(Box<ArrowWriter<&'a mut (dyn Write + Send)>>),
    File(Box<FileWriter<&'a mut (dyn Write + Send)>>),
    Stream(Box<StreamWriter<&'a mut (dyn Write + Send)>>),
}

impl<'a> Writer<'a> {
    fn new(
        format: Format,
        out: &'a mut (dyn Write + Send),
        schema: SchemaRef,
    ) -> Outcome<Writer<'a>> {
        let format = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(out, schema, Some(properties));
                Writing::Parquet(Box::new(writer.map_err(of_parquet)?))
            }
            Format::Arrow => {
                Writing::File(Box::new(FileWriter::try_new(out, &schema).map_err(of_arrow)?))
            }
            _ => Writing::Stream(Box::new(StreamWriter::try_new(out, &schema).map_err(of_arrow)?)),
        };
        Ok(Writer { rows: 0, format })
    }

    fn write(&mut self, batch: &RecordBatch) -> Outcome {
        self.rows += batch.num_rows() as u64;
        match &mut self.format {
            Writing::Parquet(writer) => {
                writer.write(batch).map_err(of_parquet)?;
                // Rows of large vectors fill a group long before they are many.
                match GROUP_BYTES < writer.in_progress_size() {
                    true => writer.flush().map_err(of_parquet),
                    false => Ok(()),
                }
            }
            Writing::File(writer) => writer.write(batch).map_err(of_arrow),
            Writing::Stream(writer) => writer.write(batch).map_err(of_arrow),
        }
    }

    fn finish(self) -> Outcome<u64> {
        match self.format {
            Writing::Parquet(writer) => writer.close().map(drop).map_err(of_parquet)?,
            Writing::File(mut writer) => writer.finish().map_err(of_arrow)?,
            Writing::Stream(mut writer) => writer.finish().map_err(of_arrow)?,
        }
        Ok(self.rows)
    }
}

fn of_parquet(error: ParquetError) -> Failure {
    of_error(&error)
}

fn of_arrow(error: ArrowError) -> Failure {
    of_error(&error)
}

/// A reader that went away is nothing wrong, however deep it lies in an error.
fn of_error(error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(io) = at.downcast_ref::<io::Error>() {
            return Failure::from(io::Error::new(io.kind(), io.to_string()));
        }
        cause = at.source();
    }
    Failure::new(Exit::Failed, format!("cannot write the rows: {error}"))
}
