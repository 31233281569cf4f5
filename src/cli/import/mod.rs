//! `import`: a file of rows, or of vectors, into a table, a batch a transaction.
//!
//! ```text
//!   source ── records ──▶ batch ── key, value ──▶ one transaction ── committed ──▶ next batch
//!     └─ first rows ─▶ infer ─▶ schema of a new table, created by the first transaction
//! ```
//!
//! A batch is converted whole before its transaction begins, so a bad row leaves nothing of its batch,
//! and a bad row in the first batch leaves neither a table nor, where there was none, a database.

mod infer;
mod source;
mod vectors;

use super::args::{Format, Import, Shape};
use super::failure::{Exit, Failure, Outcome};
use super::names::{CODECS, Names, STORAGES};
use super::screen::{micros_text, thousands};
use super::tables::{key_names, schema_with_key, table_options};
use super::text::{
    KeyValue, Wrong, absent, pair_from_json, parse_column, row_from_json, value_from_text,
};
use super::{Access, Session, progress_bar};
use indicatif::ProgressBar;
use serde_json::json;
use sochdb::{Database, Schema, TableOptions};
use source::{Fields, Record, Source};
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;
pub use vectors::read_vectors;

/// Rows that decide the columns of a new table.
const SAMPLE_ROWS: usize = 1000;
/// Bytes of keys and values at which a transaction is committed even with fewer rows than asked for.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What an import did.
#[derive(Debug, Default, Clone, Copy)]
struct Done {
    rows: u64,
    rows_replaced: u64,
    commits: u64,
}

/// Runs `import`.
pub fn import(session: &mut Session, args: &Import) -> Outcome {
    let started = Instant::now();
    let format = format_of(&args.file, args.format)?;
    let table = table_name(args)?;
    if vectors::is_of_vectors(format) {
        return vectors::import(session, args, format, &table);
    }
    let mut reader = Reader::new(Source::open(&args.file, format)?)?;
    let db = match session.open(Access::Write) {
        Ok(db) => Some(db),
        Err(missing) if missing.exit == Exit::NotFound => None,
        Err(other) => return Err(other),
    };
    let existing = match &db {
        Some(db) => db.begin_read()?.tables()?.into_iter().find(|info| info.name == table),
        None => None,
    };
    let options = match &existing {
        Some(info) => {
            check_shape(&args.shape, &info.options, &table)?;
            info.options.clone()
        }
        None => reader.new_table(&args.shape)?,
    };
    let mut batch = reader
        .next_batch(options.schema.as_ref(), args.batch_rows)
        .map_err(|failure| with_progress(failure, &Done::default()))?;
    let db = match db {
        Some(db) => db,
        None => session.open(Access::Create)?,
    };
    let bar = progress_of(reader.source.bytes_total());
    let mut done = Done::default();
    let mut to_create = existing.is_none();
    while to_create || !batch.is_empty() {
        let replaced = commit(&db, &table, to_create.then_some(&options), &batch)
            .map_err(|failure| with_progress(failure, &done))?;
        done.rows += batch.len() as u64;
        done.rows_replaced += replaced;
        done.commits += 1;
        to_create = false;
        bar.set_position(reader.source.bytes_read());
        bar.set_message(format!("{} rows", thousands(done.rows)));
        batch = reader
            .next_batch(options.schema.as_ref(), args.batch_rows)
            .map_err(|failure| with_progress(failure, &done))?;
    }
    bar.finish_and_clear();
    db.close()?;
    report(session, &table, &done, existing.is_none(), started)
}

fn report(
    session: &mut Session,
    table: &str,
    done: &Done,
    created: bool,
    started: Instant,
) -> Outcome {
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if session.screen.json {
        return session.screen.object(&json!({
            "table": table,
            "created": created,
            "rows": done.rows,
            "rows_replaced": done.rows_replaced,
            "commits": done.commits,
            "micros": micros,
        }));
    }
    let verb = if created { "created" } else { "table" };
    let mut line = format!(
        "{} rows into {verb} '{table}' in {}, {} commits",
        thousands(done.rows),
        micros_text(micros),
        thousands(done.commits)
    );
    if done.rows_replaced > 0 {
        line += &format!(
            "; {} of them replaced a row with the same key",
            thousands(done.rows_replaced)
        );
    }
    session.screen.line(line)
}

fn with_progress(failure: Failure, done: &Done) -> Failure {
    let said = failure.help.clone().map(|help| format!("{help}; ")).unwrap_or_default();
    failure.help(match done.rows {
        0 => format!("{said}nothing was imported"),
        rows => format!(
            "{said}{rows} rows were committed before this batch and nothing of it; after mending, import the whole file \
             again: rows that are there are replaced"
        ),
    })
}

/// Commits one batch and returns how many of its rows replaced others.
fn commit(
    db: &Database,
    table: &str,
    create: Option<&TableOptions>,
    batch: &[KeyValue],
) -> Outcome<u64> {
    let replaced = db.run(|tx| {
        if let Some(options) = create {
            tx.create_table(table, options.clone())?;
        }
        let (mut replaced, mut keys) = (0, HashSet::with_capacity(batch.len()));
        for (key, _) in batch {
            replaced += u64::from(!keys.insert(key) || tx.get(table, key)?.is_some());
        }
        let rows: Vec<_> = batch.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
        tx.write_all(table, &rows)?;
        Ok(replaced)
    })?;
    Ok(replaced)
}

/// The format that the command line or the file's name says.
pub fn format_of(file: &Path, said: Option<Format>) -> Outcome<Format> {
    if let Some(format) = said {
        return Ok(format);
    }
    match file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Csv),
        Some("npy") => Ok(Format::Npy),
        Some("fvecs") => Ok(Format::Fvecs),
        Some("f32bin" | "fbin") => Ok(Format::F32bin),
        _ => Err(Failure::invalid(format!(
            "the name {} does not say the file's format",
            file.display()
        ))
        .help("say it: --format jsonl, csv, npy, fvecs or f32bin")),
    }
}

fn table_name(args: &Import) -> Outcome<String> {
    let stem = || args.file.file_stem().and_then(OsStr::to_str).filter(|stem| *stem != "-");
    args.table.clone().or_else(|| stem().map(str::to_owned)).ok_or_else(|| {
        Failure::invalid("standard input has no name that the table could take")
            .help("say it: --table NAME")
    })
}

/// Refuses what the command line says of a table that is there and is otherwise.
fn check_shape(shape: &Shape, options: &TableOptions, table: &str) -> Outcome {
    let mut differs = Vec::new();
    let key = options.schema.as_ref().map(key_names).unwrap_or_default();
    if !shape.key.is_empty() && key != shape.key {
        differs.push("--key");
    }
    let is_column = |text: &String| {
        let said = parse_column(text).map_err(Failure::invalid)?;
        let columns =
            options.schema.as_ref().map(|schema| schema.columns.as_slice()).unwrap_or_default();
        Outcome::Ok(
            columns
                .iter()
                .any(|c| c.name == said.name && c.kind == said.kind && c.nullable == said.nullable),
        )
    };
    if !shape.columns.iter().map(is_column).collect::<Outcome<Vec<_>>>()?.into_iter().all(|is| is) {
        differs.push("--column");
    }
    let differs_from = |said: &Option<String>, names: &Names, is: &Option<String>| {
        said.as_deref().is_some_and(|said| names.plugin(said) != is.as_deref())
    };
    if differs_from(&shape.storage, &STORAGES, &options.storage) {
        differs.push("--storage");
    }
    if differs_from(&shape.codec, &CODECS, &options.codec) {
        differs.push("--codec");
    }
    let has_setting = |text: &String| {
        text.split_once('=')
            .is_some_and(|(key, value)| options.settings.get(key).is_some_and(|had| had == value))
    };
    if !shape.settings.iter().all(has_setting) {
        differs.push("--set");
    }
    if differs.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "table '{table}' is there and is not as {} says",
        differs.join(", ")
    ))
    .help(
        "leave it out, or name another table with --table; `sochdb table list` shows what is there",
    ))
}

fn progress_of(bytes_total: Option<u64>) -> ProgressBar {
    let template = match bytes_total {
        Some(_) => "{bar:32} {percent:>3}%  {msg}  {elapsed} (eta {eta})",
        None => "{spinner} {msg}  {elapsed}",
    };
    progress_bar(bytes_total, template)
}

/// A source with its first records read ahead.
struct Reader {
    source: Source,
    ahead: VecDeque<Record>,
}

impl Reader {
    fn new(mut source: Source) -> Outcome<Reader> {
        let mut ahead = VecDeque::new();
        while ahead.len() < SAMPLE_ROWS
            && let Some(record) =
                source.next_record().map_err(|failure| with_progress(failure, &Done::default()))?
        {
            ahead.push_back(record);
        }
        Ok(Reader { source, ahead })
    }

    /// What a new table for these rows is like.
    fn new_table(&mut self, shape: &Shape) -> Outcome<TableOptions> {
        if self.ahead.is_empty() && shape.columns.is_empty() {
            return Err(Failure::invalid("the file has no rows, so nothing says what the new table's columns are")
                .help("create the table with `sochdb table create`, or describe it with --column and --key"));
        }
        let header = self.source.header();
        if shape.columns.is_empty() && shape.key.is_empty() && self.is_untyped() {
            return table_options(shape, None);
        }
        let columns =
            infer::columns(header, self.ahead.make_contiguous(), &shape.columns, &shape.key)
                .map_err(|(line, column, what)| match line {
                    0 => Failure::invalid(what),
                    line => self.source.failure(line, Some(&column), what),
                })?;
        table_options(shape, Some(schema_with_key(columns, &shape.key)?))
    }

    /// Whether the rows are those of an exported untyped table.
    fn is_untyped(&self) -> bool {
        let is_pair = |names: Vec<&str>| {
            names.len() == 2
                && names.iter().any(|name| matches!(*name, "key" | "key_hex"))
                && names.iter().any(|name| matches!(*name, "value" | "value_hex"))
        };
        match (self.source.header(), self.ahead.front().map(|record| &record.fields)) {
            (Some(header), _) => is_pair(header.iter().map(String::as_str).collect()),
            (None, Some(Fields::Json(object))) => {
                is_pair(object.keys().map(String::as_str).collect())
            }
            _ => false,
        }
    }

    /// The keys and values of the next rows; empty at the end.
    fn next_batch(&mut self, schema: Option<&Schema>, rows_max: u32) -> Outcome<Vec<KeyValue>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < rows_max as usize && bytes < BATCH_BYTES_MAX {
            let record = match self.ahead.pop_front() {
                Some(record) => record,
                None => match self.source.next_record()? {
                    Some(record) => record,
                    None => break,
                },
            };
            let (key, value) = self.pair(&record, schema).map_err(|(column, what)| {
                self.source.failure(record.line, column.as_deref(), what)
            })?;
            bytes += key.len() + value.len();
            batch.push((key, value));
        }
        Ok(batch)
    }

    /// One record as key and value; the error is the column at fault, if one is, and what is wrong.
    fn pair(&self, record: &Record, schema: Option<&Schema>) -> Result<KeyValue, Wrong> {
        let Some(schema) = schema else {
            return match &record.fields {
                Fields::Json(object) => pair_from_json(object),
                Fields::Csv(fields) => {
                    let named = self.source.header().unwrap_or_default().iter().cloned();
                    pair_from_json(
                        &named.zip(fields.iter().cloned().map(serde_json::Value::from)).collect(),
                    )
                }
            };
        };
        let row = match &record.fields {
            Fields::Json(object) => row_from_json(object, schema)?,
            Fields::Csv(fields) => self.row_from_csv(fields, schema)?,
        };
        let encoded = |error: sochdb::EncodingError| (None, error.to_string());
        Ok((schema.encode_key(&row).map_err(encoded)?, schema.encode_row(&row).map_err(encoded)?))
    }

    fn row_from_csv(
        &self,
        fields: &[String],
        schema: &Schema,
    ) -> Result<Vec<sochdb::Value>, Wrong> {
        let header = self.source.header().unwrap_or_default();
        if let Some(name) =
            header.iter().find(|name| !schema.columns.iter().any(|c| c.name == **name))
        {
            return Err((Some(name.clone()), "the table has no such column".into()));
        }
        let value = |column: &sochdb::Column| {
            let Some(position) = header.iter().position(|name| *name == column.name) else {
                return absent(column);
            };
            value_from_text(&fields[position], column)
                .map_err(|what| (Some(column.name.clone()), what))
        };
        schema.columns.iter().map(value).collect()
    }
}
