//! `export`: a table as a file that `import` reads back.
//!
//! All rows come from one snapshot. A file appears under its name only when it is whole. CSV cannot
//! tell an empty text from null, JSONL can.

use super::args::{Export, Format};
use super::failure::{Failure, Outcome};
use super::import::format_of;
use super::text::{JsonPair, JsonRow, field_text, hex};
use super::{Access, Session};
use sochdb::{Schema, Transaction};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Runs `export`.
pub fn export(session: &mut Session, args: &Export) -> Outcome {
    let format = match (&args.output, args.format) {
        (_, Some(format)) => format,
        (None, None) => Format::Jsonl,
        (Some(path), None) => format_of(path, None)?,
    };
    if !matches!(format, Format::Jsonl | Format::Csv) {
        let text = "rows are written as JSONL or CSV; files of vectors are only read";
        return Err(Failure::invalid(text).help("say --format jsonl or --format csv"));
    }
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let schema = tx.table(&args.table)?.options.schema;
    let Some(path) = &args.output else {
        return write_rows(&tx, &args.table, schema.as_ref(), format, &mut session.screen)
            .map(|_| ());
    };
    let rows = write_file(path, |out| write_rows(&tx, &args.table, schema.as_ref(), format, out))?;
    match session.screen.json {
        true => session.screen.object(&serde_json::json!({ "table": args.table, "rows": rows })),
        false => session.screen.line(format!(
            "{rows} rows of table '{}' into {}",
            args.table,
            path.display()
        )),
    }
}

fn write_file<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Outcome<T>) -> Outcome<T> {
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
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| cannot(&error))?;
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

fn write_rows(
    tx: &Transaction,
    table: &str,
    schema: Option<&Schema>,
    format: Format,
    out: &mut dyn Write,
) -> Outcome<u64> {
    match format {
        Format::Jsonl => write_jsonl(tx, table, schema, out),
        _ => write_csv(tx, table, schema, out),
    }
}

fn write_jsonl(
    tx: &Transaction,
    table: &str,
    schema: Option<&Schema>,
    out: &mut dyn Write,
) -> Outcome<u64> {
    let columns: Vec<usize> = (0..schema.map_or(0, |schema| schema.columns.len())).collect();
    let mut rows = 0;
    for row in tx.scan(table, ..)? {
        let (key, value) = row?;
        match schema {
            None => serde_json::to_writer(
                &mut *out,
                &JsonPair { key: &key, value: &value, hex: false },
            )?,
            Some(schema) => {
                let row = schema.decode(&key, &value)?;
                serde_json::to_writer(
                    &mut *out,
                    &JsonRow { schema, row: &row, columns: &columns },
                )?;
            }
        }
        out.write_all(b"\n")?;
        rows += 1;
    }
    Ok(rows)
}

fn write_csv(
    tx: &Transaction,
    table: &str,
    schema: Option<&Schema>,
    out: &mut dyn Write,
) -> Outcome<u64> {
    let mut csv = csv::Writer::from_writer(out);
    let mut rows = 0;
    match schema {
        Some(schema) => {
            csv.write_record(schema.columns.iter().map(|column| &column.name))
                .map_err(csv_failure)?;
            for row in tx.scan(table, ..)? {
                let (key, value) = row?;
                let row = schema.decode(&key, &value)?;
                csv.write_record(row.iter().map(field_text)).map_err(csv_failure)?;
                rows += 1;
            }
        }
        None => {
            // One header holds for all rows, so one row that is no text makes all of them digits.
            let hex_key = !all_text(tx, table, |key, _| std::str::from_utf8(key).is_ok())?;
            let hex_value = !all_text(tx, table, |_, value| std::str::from_utf8(value).is_ok())?;
            let header = [
                if hex_key { "key_hex" } else { "key" },
                if hex_value { "value_hex" } else { "value" },
            ];
            csv.write_record(header).map_err(csv_failure)?;
            let field = |bytes: &[u8], is_hex| {
                if is_hex { hex(bytes).into_bytes() } else { bytes.to_vec() }
            };
            for row in tx.scan(table, ..)? {
                let (key, value) = row?;
                csv.write_record([field(&key, hex_key), field(&value, hex_value)])
                    .map_err(csv_failure)?;
                rows += 1;
            }
        }
    }
    csv.flush()?;
    Ok(rows)
}

fn all_text(
    tx: &Transaction,
    table: &str,
    is_text: impl Fn(&[u8], &[u8]) -> bool,
) -> Outcome<bool> {
    for row in tx.scan(table, ..)? {
        let (key, value) = row?;
        if !is_text(&key, &value) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn csv_failure(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::from(error),
        other => Failure::invalid(format!("{other:?}")),
    }
}
