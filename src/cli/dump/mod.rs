//! `dump` and `load`: tables with all that belongs to them as one portable file, and back.
//!
//! ```text
//!   snapshot ── table, rows, end; table, rows, end; ... ──▶ text      JSON objects, one a line
//!                                                       └─▶ binary    `sochdb::operations::DumpWriter`
//!   text or binary ── load ──▶ hidden tables ── all read, nothing wrong ──▶ renamed, in one transaction
//! ```
//!
//! The database's own tables and plugins are in no dump; the definitions of indexes are, their contents are not.

mod load;
mod text;

use super::args::Dump;
use super::export::write_file;
use super::failure::{Failure, Outcome};
use super::screen::{bytes_text, counted, thousands};
use super::{Access, Session, cancel, progress_bar};
use indicatif::ProgressBar;
pub use load::load;
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::operations::{DumpTable, DumpWriter, table_size};
use sochdb::{Database, TableInfo, Transaction};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How the name of a binary dump ends.
const BINARY_END: &str = "sochdump";
/// Rows between two looks at the progress bar.
const ROWS_A_LOOK: u64 = 4096;

/// What a dump holds.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    tables: u64,
    rows: u64,
}

/// Runs `dump`.
pub fn dump(session: &mut Session, args: &Dump) -> Outcome {
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let named = output.and_then(Path::extension).is_some_and(|end| end == BINARY_END);
    let is_binary = args.binary || named && !args.text;
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let tables = chosen(&tx, &args.tables)?;
    let bar = bar(&db, &tables)?;
    let Some(path) = output else {
        session.screen.flush()?;
        // The lock on standard output is this thread's own.
        let mut out = BufWriter::with_capacity(64 << 10, io::stdout());
        write(&tx, &tables, is_binary, &mut out, &bar)?;
        return Ok(out.flush()?);
    };
    let counts = write_file(path, |out| write(&tx, &tables, is_binary, out, &bar))?;
    bar.finish_and_clear();
    let bytes = path.metadata().map_or(0, |meta| meta.len());
    if session.screen.json {
        return session.screen.object(&json!({
            "file": path,
            "binary": is_binary,
            "tables": counts.tables,
            "rows": counts.rows,
            "bytes": bytes,
        }));
    }
    session.screen.line(format!(
        "{} with {} into {}, {}",
        counted(counts.tables, "table"),
        counted(counts.rows, "row"),
        path.display(),
        bytes_text(bytes),
    ))
}

/// The tables that are named, or all but the database's own.
fn chosen(tx: &Transaction, names: &[String]) -> Outcome<Vec<TableInfo>> {
    let own = |name: &str| name.starts_with(HOST_TABLES);
    if let Some(name) = names.iter().find(|name| own(name)) {
        let text = format!("'{name}' is a table of the database itself, and in no dump");
        return Err(Failure::invalid(text).help("`sochdb backup` copies all there is"));
    }
    if names.is_empty() {
        let mut all = tx.tables()?;
        all.retain(|table| !own(&table.name));
        return Ok(all);
    }
    names.iter().map(|name| Ok(tx.table(name)?)).collect()
}

fn bar(db: &Database, tables: &[TableInfo]) -> Outcome<ProgressBar> {
    let rows = tables.iter().map(|table| Ok(table_size(db, table.id)?.rows));
    let rows: u64 = rows.sum::<Outcome<u64>>()?;
    Ok(progress_bar(Some(rows), "{bar:32} {percent:>3}%  {msg}  {elapsed} (eta {eta})"))
}

/// Who writes a dump, in either form.
trait Writer {
    fn table(&mut self, table: &DumpTable) -> Outcome;
    fn row(&mut self, key: &[u8], value: &[u8]) -> Outcome;
    fn table_end(&mut self) -> Outcome;
    fn finish(self: Box<Self>) -> Outcome;
}

impl<W: Write> Writer for DumpWriter<W> {
    fn table(&mut self, table: &DumpTable) -> Outcome {
        Ok(DumpWriter::table(self, table)?)
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Outcome {
        Ok(DumpWriter::row(self, key, value)?)
    }

    fn table_end(&mut self) -> Outcome {
        Ok(DumpWriter::table_end(self)?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        Ok(DumpWriter::finish(*self).map(drop)?)
    }
}

fn write(
    tx: &Transaction,
    tables: &[TableInfo],
    is_binary: bool,
    out: &mut dyn Write,
    bar: &ProgressBar,
) -> Outcome<Counts> {
    let mut writer: Box<dyn Writer + '_> = match is_binary {
        true => Box::new(DumpWriter::new(out)?),
        false => Box::new(text::Writer::new(out)?),
    };
    let mut counts = Counts::default();
    for info in tables {
        let indexes = tx.indexes(&info.name)?.into_iter();
        let indexes = indexes.map(|(index, _)| (index.name, index.settings)).collect();
        let (name, options) = (info.name.clone(), info.options.clone());
        writer.table(&DumpTable { name, options, indexes })?;
        for row in tx.scan(&info.name, ..)? {
            cancel::check()?;
            let (key, value) = row?;
            writer.row(&key, &value)?;
            counts.rows += 1;
            if counts.rows.is_multiple_of(ROWS_A_LOOK) {
                show(bar, counts.rows, &info.name);
            }
        }
        writer.table_end()?;
        counts.tables += 1;
    }
    writer.finish()?;
    Ok(counts)
}

fn show(bar: &ProgressBar, rows: u64, table: &str) {
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    let rate = thousands((rows as f64 / seconds) as u64);
    bar.set_length(bar.length().unwrap_or(0).max(rows));
    bar.set_position(rows);
    bar.set_message(format!("{table}: {} in all, {rate} rows/s", counted(rows, "row")));
}
