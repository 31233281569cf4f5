//! `export`: a table as a file that `import` reads back.
//!
//! All rows come from one snapshot. A file appears under its name only when it is whole. CSV cannot
//! tell an empty text from null, the others can.

#[cfg(feature = "parquet")]
mod columnar;
mod npy;

use super::args::{Export, Format};
use super::compression::Compression;
use super::failure::{Failure, Outcome};
use super::filter;
use super::import::format_of;
use super::rows::named_columns;
use super::screen::{counted, thousands};
use super::text::{JsonPair, JsonRow, field_text, hex};
use super::{Access, Session, cancel, progress_bar};
use indicatif::ProgressBar;
use sochdb::{Condition, Schema, Slice, Transaction};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Rows between two looks at the progress bar.
const ROWS_A_LOOK: u64 = 4096;

/// What is written, and who hears how far it is.
struct Job<'a> {
    tx: &'a Transaction,
    table: &'a str,
    schema: Option<&'a Schema>,
    /// Positions of the columns that are written.
    columns: &'a [usize],
    format: Format,
    /// The columns that were named.
    named: &'a [String],
    /// What rows have to fulfil.
    conditions: Vec<Condition>,
    bar: ProgressBar,
}

/// Runs `export`.
pub fn export(session: &mut Session, args: &Export) -> Outcome {
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let format = match (output, args.format) {
        (Some(path), said) => plain_format(path, said)?,
        (None, said) => said.unwrap_or(Format::Jsonl),
    };
    check_format(format)?;
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let info = tx.table(&args.table)?;
    let schema = info.options.schema;
    let columns = named_columns(schema.as_ref(), &args.columns, &args.table)?;
    let conditions = filter::conditions(&args.filters, schema.as_ref(), &args.table)?;
    let rows = db.table_stats(&args.table)?.size.rows;
    let bar = progress_bar(Some(rows), "{bar:32} {percent:>3}%  {msg}  {elapsed} (eta {eta})");
    let (tx, table, named, schema) = (&tx, &*args.table, &*args.columns, schema.as_ref());
    let job = Job { tx, table, schema, columns: &columns, format, named, conditions, bar };
    let Some(path) = output else {
        session.screen.flush()?;
        // The lock on standard output is this thread's own.
        let mut out = BufWriter::with_capacity(64 << 10, io::stdout());
        job.write(&mut out)?;
        return Ok(out.flush()?);
    };
    let rows = write_file(path, |out| job.write(out))?;
    job.bar.finish_and_clear();
    match session.screen.json {
        true => session.screen.object(&serde_json::json!({ "table": args.table, "rows": rows })),
        false => session.screen.line(format!(
            "{} of table '{}' into {}",
            counted(rows, "row"),
            args.table,
            path.display()
        )),
    }
}

/// The format of a file that is written as it is.
fn plain_format(path: &Path, said: Option<Format>) -> Outcome<Format> {
    match format_of(path, said)? {
        (format, Compression::None) => Ok(format),
        _ => Err(Failure::invalid(format!("{} would be compressed", path.display()))
            .help("write it as it is and compress it then, or write Parquet")),
    }
}

fn check_format(format: Format) -> Outcome {
    match format {
        Format::Fvecs | Format::F32bin => {
            Err(Failure::invalid("fvecs and f32bin are only read").help("say --format npy"))
        }
        #[cfg(not(feature = "parquet"))]
        Format::Parquet | Format::Arrow | Format::ArrowStream => Err(super::import::left_out()),
        _ => Ok(()),
    }
}

/// A file without a name yet, which others may read as they may any file that its user makes.
pub fn new_file_in(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Writes what `write` writes to a file that appears at `path` when it is whole.
pub fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Outcome<T>,
) -> Outcome<T> {
    let cannot =
        |error: &std::io::Error| Failure::io(format!("cannot write {}", path.display()), error);
    let taken = || {
        Failure::invalid(format!("{} exists", path.display()))
            .help("name another file, or remove this one first")
    };
    if path.exists() {
        return Err(taken());
    }
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = new_file_in(directory).map_err(|error| cannot(&error))?;
    let mut out = BufWriter::with_capacity(256 << 10, &mut file);
    let done = write(&mut out)?;
    out.flush().map_err(|error| cannot(&error))?;
    drop(out);
    file.as_file().sync_all().map_err(|error| cannot(&error))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(done),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(taken()),
        Err(error) => Err(cannot(&error.error)),
    }
}

impl Job<'_> {
    /// Writes all rows, and returns how many there were.
    fn write(&self, out: &mut (dyn Write + Send)) -> Outcome<u64> {
        match self.format {
            Format::Jsonl => self.jsonl(out),
            Format::Csv => self.csv(out),
            Format::Npy => {
                let column = npy::column(self.schema, self.named, self.table)?;
                npy::write(self.tx, self.table, column, &self.conditions, out, &mut |rows| {
                    self.show(rows)
                })
            }
            #[cfg(feature = "parquet")]
            _ => {
                let name = |at: &usize| Some(&*self.schema?.columns[*at].name);
                let names: Vec<&str> = self.columns.iter().filter_map(name).collect();
                let names = self.schema.map(|_| &*names);
                let each = &mut |rows| self.show(rows);
                let conditions = self.conditions.clone();
                columnar::write(self.tx, self.table, names, conditions, self.format, out, each)
            }
            #[cfg(not(feature = "parquet"))]
            _ => check_format(self.format).map(|()| 0),
        }
    }

    fn show(&self, rows: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).max(rows));
        self.bar.set_position(rows);
        self.bar.set_message(format!("{} rows", thousands(rows)));
    }

    /// The rows that fulfil the conditions.
    fn rows(&self) -> Outcome<impl Iterator<Item = Outcome<(Vec<u8>, Slice)>>> {
        let wanted = |(key, value): (Vec<u8>, Slice)| -> Outcome<Option<(Vec<u8>, Slice)>> {
            cancel::check()?;
            let holds = filter::hold(&self.conditions, self.schema, &key, &value)?;
            Ok(holds.then_some((key, value)))
        };
        let rows = self.tx.scan(self.table, ..)?;
        Ok(rows.filter_map(move |row| row.map_err(Failure::from).and_then(wanted).transpose()))
    }

    fn count(&self, rows: &mut u64) {
        *rows += 1;
        if rows.is_multiple_of(ROWS_A_LOOK) {
            self.show(*rows);
        }
    }

    fn jsonl(&self, out: &mut dyn Write) -> Outcome<u64> {
        let mut rows = 0;
        for row in self.rows()? {
            let (key, value) = row?;
            match self.schema {
                None => serde_json::to_writer(
                    &mut *out,
                    &JsonPair { key: &key, value: &value, hex: false },
                )?,
                Some(schema) => {
                    let row = schema.decode(&key, &value)?;
                    let row = JsonRow { schema, row: &row, columns: self.columns };
                    serde_json::to_writer(&mut *out, &row)?;
                }
            }
            out.write_all(b"\n")?;
            self.count(&mut rows);
        }
        Ok(rows)
    }

    fn csv(&self, out: &mut dyn Write) -> Outcome<u64> {
        let mut csv = csv::Writer::from_writer(out);
        let rows = match self.schema {
            Some(schema) => self.csv_typed(schema, &mut csv)?,
            None => self.csv_untyped(&mut csv)?,
        };
        csv.flush()?;
        Ok(rows)
    }

    fn csv_typed(&self, schema: &Schema, csv: &mut csv::Writer<&mut dyn Write>) -> Outcome<u64> {
        csv.write_record(self.columns.iter().map(|at| &schema.columns[*at].name))
            .map_err(csv_failure)?;
        let mut rows = 0;
        for row in self.rows()? {
            let (key, value) = row?;
            let row = schema.decode(&key, &value)?;
            csv.write_record(self.columns.iter().map(|at| field_text(&row[*at])))
                .map_err(csv_failure)?;
            self.count(&mut rows);
        }
        Ok(rows)
    }

    fn csv_untyped(&self, csv: &mut csv::Writer<&mut dyn Write>) -> Outcome<u64> {
        // One header holds for all rows, so one row that is no text makes all of them digits.
        let hex_key = !self.all_text(|key, _| std::str::from_utf8(key).is_ok())?;
        let hex_value = !self.all_text(|_, value| std::str::from_utf8(value).is_ok())?;
        let header = [
            if hex_key { "key_hex" } else { "key" },
            if hex_value { "value_hex" } else { "value" },
        ];
        csv.write_record(header).map_err(csv_failure)?;
        let field =
            |bytes: &[u8], is_hex| if is_hex { hex(bytes).into_bytes() } else { bytes.to_vec() };
        let mut rows = 0;
        for row in self.rows()? {
            let (key, value) = row?;
            csv.write_record([field(&key, hex_key), field(&value, hex_value)])
                .map_err(csv_failure)?;
            self.count(&mut rows);
        }
        Ok(rows)
    }

    fn all_text(&self, is_text: impl Fn(&[u8], &[u8]) -> bool) -> Outcome<bool> {
        for row in self.rows()? {
            let (key, value) = row?;
            if !is_text(&key, &value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn csv_failure(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::from(error),
        other => Failure::invalid(format!("{other:?}")),
    }
}
