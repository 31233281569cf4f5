//! `load`: the tables of a dump, all at one moment or none.
//!
//! 1. Rows are loaded into hidden tables, in bulk and straight into their storage, while they are read.
//! 2. When the whole dump was read and nothing was wrong, one transaction drops the tables that are replaced and gives
//!    the hidden ones their names. Until then nobody sees anything.
//! 3. Then the indexes are built. One that cannot be is named; the tables stay.
//! 4. What fails before drops the hidden tables; after a crash the next opening does. A database that was made for it
//!    goes again.

use super::text;
use crate::cli::args::Load;
use crate::cli::compression::{self, Compression};
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::made::Made;
use crate::cli::screen::{bytes_text, counted, micros_text, thousands};
use crate::cli::{Session, cancel, progress_bar};
use indicatif::ProgressBar;
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::operations::{DUMP_MAGIC, DumpItem, DumpReader, DumpTable, loading_table};
use sochdb::{Database, IndexOptions, Kernel, KernelError, KernelResult};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

/// What begins every error that is carried through the kernel, which knows only its own.
const CARRIED: &str = "the dump cannot be read on";

/// A dump being read, in either form.
enum Source {
    Binary(DumpReader<Box<dyn BufRead>>),
    Text(text::Reader<Box<dyn BufRead>>),
}

impl Source {
    fn open(path: &Path) -> Outcome<(Source, Option<u64>)> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
        let (compression, _) = compression::of_name(path);
        let (input, bytes): (Box<dyn Read + Send>, _) = match is_stdin {
            true => (Box::new(io::stdin()), None),
            false => {
                let file = File::open(path).map_err(cannot)?;
                let bytes = file.metadata().map_err(cannot)?.len();
                (Box::new(file), (compression == Compression::None).then_some(bytes))
            }
        };
        let input = compression::reader(compression, input);
        let mut input: Box<dyn BufRead> = Box::new(BufReader::with_capacity(256 << 10, input));
        let start = input.fill_buf().map_err(cannot)?;
        let source = match start.starts_with(&DUMP_MAGIC[..start.len().clamp(1, DUMP_MAGIC.len())])
        {
            true => Source::Binary(DumpReader::new(&name, input).map_err(damaged)?),
            false => Source::Text(text::Reader::new(&name, input)?),
        };
        Ok((source, bytes))
    }

    fn next(&mut self) -> Outcome<Option<DumpItem>> {
        cancel::check()?;
        match self {
            Source::Binary(reader) => reader.next().map_err(damaged),
            Source::Text(reader) => reader.next(),
        }
    }

    fn bytes_read(&self) -> u64 {
        match self {
            Source::Binary(reader) => reader.bytes_read(),
            Source::Text(reader) => reader.bytes_read(),
        }
    }
}

/// What is wrong with a file of ours, which no `sochdb check` knows.
fn damaged(error: KernelError) -> Failure {
    let failure = Failure::from(error);
    match failure.exit {
        Exit::Corrupt => {
            let (text, _) =
                failure.message.split_once("; restore a backup").unwrap_or((&failure.message, ""));
            let help = "make the dump again; nothing was loaded";
            Failure::new(Exit::Corrupt, text).help(help)
        }
        _ => failure,
    }
}

/// A table that was loaded and has its own name not yet.
struct Loaded {
    table: DumpTable,
    hidden: String,
    rows: u64,
}

/// Runs `load`.
pub fn load(session: &mut Session, args: &Load) -> Outcome {
    let started = Instant::now();
    if session.database.is_some() && args.file == Path::new("-") {
        let text = "standard input is where the shell reads its lines";
        return Err(Failure::invalid(text).help("name a file"));
    }
    let (mut source, bytes) = Source::open(&args.file)?;
    // Before there is a database, where there is none.
    let first = source.next()?;
    let (db, made) = Made::open(session)?;
    let bar = progress_bar(
        bytes,
        match bytes {
            Some(_) => "{bar:32} {percent:>3}%  {msg}  {elapsed} (eta {eta})",
            None => "{spinner} {msg}  {elapsed}",
        },
    );
    let mut job =
        Job { db: &db, args, source, bar, rows: 0, missing: wanted(args), loaded: Vec::new() };
    let done = job.tables(first).and_then(|()| job.show());
    if let Err(failure) = done {
        // Where even this fails, the next opening does it.
        let _ = job.drop_hidden();
        drop(job);
        if let Some(made) = made {
            made.undo(db);
        }
        return Err(failure);
    }
    let indexes = job.build_indexes()?;
    job.bar.finish_and_clear();
    let (tables, rows, loaded) = (job.loaded.len(), job.rows, std::mem::take(&mut job.loaded));
    drop(job);
    db.close()?;
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if session.screen.json {
        let each = loaded.iter().map(|one| json!({ "table": one.table.name, "rows": one.rows }));
        let tables: Vec<_> = each.collect();
        return session.screen.object(
            &json!({ "tables": tables, "rows": rows, "indexes": indexes, "micros": micros }),
        );
    }
    session.screen.line(format!(
        "{} with {} and {} in {}",
        counted(tables as u64, "table"),
        counted(rows, "row"),
        counted(indexes, "index"),
        micros_text(micros),
    ))
}

fn wanted(args: &Load) -> BTreeSet<String> {
    args.tables.iter().cloned().collect()
}

struct Job<'a> {
    db: &'a Database,
    args: &'a Load,
    source: Source,
    bar: ProgressBar,
    rows: u64,
    /// Tables that were named and have not come.
    missing: BTreeSet<String>,
    loaded: Vec<Loaded>,
}

impl Job<'_> {
    fn tables(&mut self, first: Option<DumpItem>) -> Outcome {
        let mut item = first;
        while let Some(now) = item {
            if let DumpItem::Table(table) = now {
                let is_wanted = self.args.tables.is_empty() || self.missing.remove(&table.name);
                match is_wanted {
                    true => self.table(table)?,
                    false => self.pass()?,
                }
            }
            item = self.source.next()?;
        }
        match self.missing.first() {
            None => Ok(()),
            Some(name) => {
                let text = format!("the dump has no table '{name}'; nothing was loaded");
                Err(Failure::new(Exit::NotFound, text))
            }
        }
    }

    /// Reads the rows of a table that nobody asked for.
    fn pass(&mut self) -> Outcome {
        while !matches!(self.source.next()?, None | Some(DumpItem::TableEnd { .. })) {}
        Ok(())
    }

    fn check_name(&self, name: &str) -> Outcome {
        if name.starts_with(HOST_TABLES) {
            let text = format!("'{name}' would be a table of the database itself");
            return Err(Failure::invalid(text).help("nothing was loaded"));
        }
        let exists = self.db.begin_read()?.tables()?.iter().any(|info| info.name == name);
        let twice = self.loaded.iter().any(|one| one.table.name == name);
        match (exists && !self.args.replace, twice) {
            (false, false) => Ok(()),
            (_, true) => Err(Failure::invalid(format!("the dump has table '{name}' twice"))),
            (true, _) => Err(Failure::invalid(format!("table '{name}' is there")).help(
                "--replace puts those of the dump in the place of tables that are there; nothing was loaded",
            )),
        }
    }

    fn table(&mut self, table: DumpTable) -> Outcome {
        self.check_name(&table.name)?;
        let hidden = loading_table(self.loaded.len() as u64);
        let mut rows = RowsOf::new(&mut self.source, &self.bar, &table.name, self.rows);
        let loaded = Kernel::bulk_load(self.db, &hidden, table.options.clone(), &mut rows);
        let count = match (rows.failure.take(), loaded) {
            (Some(failure), _) => return Err(failure),
            (None, loaded) => loaded.map_err(|error| {
                let failure = Failure::from(error);
                let text = format!("table '{}': {}", table.name, failure.message);
                Failure { message: text, ..failure }
            })?,
        };
        self.rows += count;
        self.loaded.push(Loaded { table, hidden, rows: count });
        Ok(())
    }

    /// Gives the tables their names, all at one moment.
    fn show(&mut self) -> Outcome {
        let names: Vec<_> =
            self.loaded.iter().map(|one| (one.hidden.as_str(), one.table.name.as_str())).collect();
        self.db.run(|tx| {
            let there: BTreeSet<_> = tx.tables()?.into_iter().map(|info| info.name).collect();
            for (hidden, name) in &names {
                if there.contains(*name) {
                    tx.drop_table(name)?;
                }
                tx.rename_table(hidden, name)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn drop_hidden(&self) -> KernelResult<()> {
        let prefix = loading_table(0);
        let prefix = prefix.trim_end_matches('0');
        Kernel::run(self.db, |tx| {
            let all = tx.tables()?;
            let hidden = all.iter().filter(|info| info.name.starts_with(prefix));
            hidden.map(|info| &info.name).try_for_each(|name| tx.drop_table(name))
        })
    }

    fn build_indexes(&self) -> Outcome<u64> {
        let mut count = 0;
        for Loaded { table, .. } in &self.loaded {
            for (name, settings) in &table.indexes {
                let set = |options: IndexOptions, (key, value): (&String, &String)| {
                    if key == "column" { options } else { options.set(key, value) }
                };
                let options = settings.iter().fold(IndexOptions::default(), set);
                let column = settings.get("column").map(String::as_str).unwrap_or_default();
                self.bar.set_message(format!("index '{name}' of table '{}'", table.name));
                let made = self.db.create_index(&table.name, name, column, &options, &mut |_| {});
                made.map_err(|error| {
                    let failure = Failure::from(error);
                    let what = format!("index '{name}' of table '{}'", table.name);
                    let text = format!("all rows are loaded, but {what}: {}", failure.message);
                    Failure { message: text, ..failure }
                        .help("`sochdb index create` makes it, once that is mended")
                })?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// The rows of one table as the bulk load takes them.
struct RowsOf<'a> {
    source: &'a mut Source,
    bar: &'a ProgressBar,
    table: &'a str,
    rows_before: u64,
    rows: u64,
    waiting: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    /// What the source said, in its own words.
    failure: Option<Failure>,
    ended: bool,
}

impl<'a> RowsOf<'a> {
    fn new(source: &'a mut Source, bar: &'a ProgressBar, table: &'a str, rows_before: u64) -> Self {
        let (waiting, failure, ended, rows) = (Vec::new().into_iter(), None, false, 0);
        RowsOf { source, bar, table, rows_before, rows, waiting, failure, ended }
    }

    fn fill(&mut self) -> Outcome {
        match self.source.next()? {
            Some(DumpItem::Rows(rows)) => {
                self.rows += rows.len() as u64;
                self.waiting = rows.into_iter();
                let bytes = self.source.bytes_read();
                self.bar.set_position(bytes);
                let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
                let rows = self.rows_before + self.rows;
                let rate = thousands((rows as f64 / seconds) as u64);
                let (rows, bytes) = (counted(rows, "row"), bytes_text(bytes));
                self.bar.set_message(format!("{}: {rows}, {bytes}, {rate} rows/s", self.table));
            }
            _ => self.ended = true,
        }
        Ok(())
    }
}

impl Iterator for RowsOf<'_> {
    type Item = KernelResult<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.waiting.next() {
                return Some(Ok(row));
            }
            if self.ended {
                return None;
            }
            if let Err(failure) = self.fill() {
                self.ended = true;
                self.failure = Some(failure);
                return Some(Err(KernelError::invalid(CARRIED)));
            }
        }
    }
}
