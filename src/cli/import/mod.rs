//! `import`: a file of rows, or of vectors, into a table, a batch a transaction.
//!
//! ```text
//!   reader    text: JSONL, CSV   ┐               ┌─▶ bulk ─┐   ┌─ rejects     bad rows, set aside
//!   vectors   npy, fvecs, f32bin ├─▶ rows ─▶ ahead ─▶ commit ─▶ table
//!   columnar  Parquet, Arrow     ┘   (another thread)          └─ unfinished  how far it is, in the same transaction
//! ```
//!
//! Of a file that goes into a table without rows the beginning is loaded in bulk, one transaction for all of it, unless
//! batches of a size are asked for. What comes through a pipe may come slowly and without end, and goes by batches.
//!
//! A batch is converted whole before its transaction begins, so a bad row leaves nothing of its batch,
//! and a bad row in the first batch leaves neither a table nor, where there was none, a database. With a file for
//! rejected rows, the bad ones go there and the others are written.

mod ahead;
mod bulk;
#[cfg(feature = "parquet")]
mod columnar;
mod commit;
mod formats;
mod infer;
mod reader;
mod rejects;
mod row;
mod source;
mod unfinished;
mod vectors;

use super::args::{Import, Shape};
use super::failure::{Exit, Failure, Outcome};
use super::names::{CODECS, Names, STORAGES};
use super::screen::{bytes_text, counted, micros_text, thousands};
use super::tables::key_names;
use super::text::parse_column;
use super::{Access, Session, cancel, progress_bar};
use ahead::{Ahead, Batch};
use bulk::Part;
use commit::Target;
pub use formats::format_of;
#[cfg(not(feature = "parquet"))]
pub use formats::left_out;
use indicatif::ProgressBar;
pub use reader::encode;
use rejects::Rejects;
use row::{Position, Rows};
use serde_json::json;
use sochdb::{Database, TableInfo, TableOptions};
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::Instant;
use unfinished::{Identity, Record};
pub use vectors::read_vectors;

/// Rows of a batch where nothing is said.
const BATCH_ROWS: u32 = 1000;

/// What an import did.
#[derive(Debug, Default, Clone, Copy)]
struct Done {
    rows: u64,
    /// Those of them that were loaded in bulk.
    rows_loaded: u64,
    rows_replaced: u64,
    rejected: u64,
    commits: u64,
    /// Rows that an earlier run had written.
    resumed_after: u64,
    /// Whether it can be gone on with.
    is_file: bool,
}

/// Runs `import`.
pub fn import(session: &mut Session, args: &Import) -> Outcome {
    let started = Instant::now();
    formats::format_of(&args.file, args.format)?;
    let table = table_name(args)?;
    if session.database.is_some() && args.file == Path::new("-") {
        let text = "standard input is where the shell reads its lines";
        return Err(Failure::invalid(text).help("name a file"));
    }
    let identity = Identity::of(&args.file)?;
    if args.resume && identity.is_none() {
        let text = "only the import of a file can be gone on with, not that of a stream";
        return Err(Failure::invalid(text).help("leave --resume out: all that comes is imported"));
    }
    let mut rows = formats::open(&args.file, args.format)?;
    let db = match session.open(Access::Write) {
        Ok(db) => Some(db),
        Err(missing) if missing.exit == Exit::NotFound => None,
        Err(other) => return Err(other),
    };
    let existing = db.as_ref().map(|db| table_info(db, &table)).transpose()?.flatten();
    let before = Before::find(db.as_deref(), args, identity.as_ref(), &table, existing.as_ref())?;
    let mut done = Done { is_file: identity.is_some(), ..Done::default() };
    let options = match &existing {
        Some(info) => {
            check_shape(&args.shape, &info.options, &table)?;
            info.options.clone()
        }
        None => rows
            .new_table(&args.shape, args.rejects.is_some())
            .map_err(|failure| with_progress(failure, &done))?,
    };
    rows.bind(options.schema.as_ref(), &table)?;
    if let Some(record) = before.begun() {
        rows.skip_to(record.position)?;
        (done.resumed_after, done.rejected) = (record.rows, record.rejected);
    }
    let rejects = rejects(args, rows.as_ref(), before.begun())?;
    let bar = Bar::new(rows.as_ref());
    let batch_rows = args.batch_rows.unwrap_or(BATCH_ROWS);
    let mut batches = Ahead::new(rows, batch_rows, rejects.is_some());
    let first = batches.next().map_err(|failure| with_progress(failure, &done))?;
    let db = match db {
        Some(db) => db,
        None => session.open(Access::Create)?,
    };
    let create = existing.is_none().then_some(options);
    let created = create.is_some();
    let in_bulk = args.batch_rows.is_none()
        && identity.is_some()
        && !first.is_last
        && before.begun().is_none()
        && bulk::serves(&db, &table, create.as_ref())?;
    let mut target = Target::new(&db, &table, create, identity, rejects, before.record)?;
    let mut next = Some(Ok(first));
    if in_bulk {
        let first = next.take().expect("read above")?;
        next = load(&mut target, first, &mut batches, &bar, &mut done)
            .map_err(|failure| with_progress(failure, &done))?;
    }
    while let Some(batch) = next {
        let batch = batch.map_err(|failure| with_progress(failure, &done))?;
        target.commit(&batch, &mut done).map_err(|failure| with_progress(failure, &done))?;
        bar.show(batch.end, done.rows);
        next = (!batch.is_last).then(|| cancel::check().and_then(|()| batches.next()));
    }
    bar.0.finish_and_clear();
    let rejects = target.into_rejects();
    db.close()?;
    report(session, &table, &done, created, rejects.as_ref(), started)
}

/// Loads the beginning in bulk, and returns the batch behind it.
fn load(
    target: &mut Target<'_>,
    first: Batch,
    batches: &mut Ahead,
    bar: &Bar,
    done: &mut Done,
) -> Outcome<Option<Outcome<Batch>>> {
    let bad_max = target.rejects.as_ref().map_or(0, Rejects::room);
    let bytes_max = target.db.options().memtable_bytes_max;
    let part = Part::new(first, batches, bar, bad_max, bytes_max);
    target.load(part, done)
}

fn table_info(db: &Database, table: &str) -> Outcome<Option<TableInfo>> {
    Ok(db.begin_read()?.tables()?.into_iter().find(|info| info.name == table))
}

/// What the database knows of this import from before.
#[derive(Default)]
struct Before {
    /// What it says.
    record: Option<Record>,
    /// Whether the import goes on there.
    goes_on: bool,
}

impl Before {
    fn find(
        db: Option<&Database>,
        args: &Import,
        identity: Option<&Identity>,
        table: &str,
        existing: Option<&TableInfo>,
    ) -> Outcome<Before> {
        let Some(identity) = identity else { return Ok(Before::default()) };
        let record = db.map(|db| Record::find(db, identity, table)).transpose()?.flatten();
        // Of a table that was dropped since, it means nothing.
        let holds = |record: &&Record| existing.is_some_and(|info| info.id.0 == record.table_id);
        match record.as_ref().filter(holds) {
            None if args.resume => return Err(unfinished::nothing_to_resume(&args.file, table)),
            Some(begun) if args.resume => begun.check_source(identity)?,
            // A file that has changed since is another one.
            Some(begun) if !args.restart && begun.source == *identity => {
                return Err(begun.in_the_way(table));
            }
            _ => {}
        }
        Ok(Before { record, goes_on: args.resume })
    }

    /// The import to go on with.
    fn begun(&self) -> Option<&Record> {
        self.record.as_ref().filter(|_| self.goes_on)
    }
}

/// Where bad rows go.
fn rejects(args: &Import, rows: &dyn Rows, begun: Option<&Record>) -> Outcome<Option<Rejects>> {
    let Some(path) = &args.rejects else { return Ok(None) };
    let same = begun.filter(|record| record.rejects.as_ref() == Some(path));
    let size = same.map_or((0, 0), |record| (record.rejects_bytes, record.rejected));
    Rejects::new(path, rows.name(), rows.unit(), size, args.max_rejects).map(Some)
}

fn report(
    session: &mut Session,
    table: &str,
    done: &Done,
    created: bool,
    rejects: Option<&Rejects>,
    started: Instant,
) -> Outcome {
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if session.screen.json {
        return session.screen.object(&json!({
            "table": table,
            "created": created,
            "rows": done.rows,
            "rows_in_bulk": done.rows_loaded,
            "rows_replaced": done.rows_replaced,
            "rows_rejected": done.rejected,
            "resumed_after": done.resumed_after,
            "commits": done.commits,
            "micros": micros,
        }));
    }
    let verb = if created { "created" } else { "table" };
    let how = match done.rows_loaded {
        0 => counted(done.commits, "commit"),
        loaded if loaded == done.rows => "in bulk".to_owned(),
        loaded => {
            let first = counted(loaded, "row");
            format!("{}, the first of {first} in bulk", counted(done.commits, "commit"))
        }
    };
    let (rows, time) = (counted(done.rows, "row"), micros_text(micros));
    let mut line = format!("{rows} into {verb} '{table}' in {time}, {how}");
    if 0 < done.resumed_after {
        let rows = done.resumed_after;
        let were = if rows == 1 { "was" } else { "were" };
        line += &format!("; {} {were} there from before", thousands(rows));
    }
    if done.rows_replaced > 0 {
        line += &format!(
            "; {} of them replaced a row with the same key",
            thousands(done.rows_replaced)
        );
    }
    if let Some(rejects) = rejects.filter(|_| 0 < done.rejected) {
        let (rows, path) = (counted(done.rejected, "row"), rejects.path().display());
        line += &format!("; {rows} rejected, {path} has them with their reasons");
    }
    session.screen.line(line)
}

fn with_progress(failure: Failure, done: &Done) -> Failure {
    let mut help: Vec<String> = failure.help.iter().cloned().collect();
    let of_rows = failure.exit == Exit::Invalid;
    match done.rows + done.resumed_after {
        0 => help.push("nothing was imported".to_owned()),
        rows => {
            let (rows, were) = (counted(rows, "row"), if rows == 1 { "was" } else { "were" });
            help.push(format!("{rows} {were} committed before this batch and nothing of it"))
        }
    }
    if 0 < done.rows + done.resumed_after && done.is_file {
        help.push("--resume goes on from there".to_owned());
    }
    if of_rows {
        help.push("--rejects FILE sets bad rows aside and goes on".to_owned());
    }
    if of_rows && 0 < done.rows + done.resumed_after {
        help.push(
            "after mending, import the whole file again: rows that are there are replaced".into(),
        );
    }
    failure.help(help.join("; "))
}

fn table_name(args: &Import) -> Outcome<String> {
    let (_, file) = super::compression::of_name(&args.file);
    let stem = || file.file_stem().and_then(OsStr::to_str).filter(|stem| *stem != "-");
    args.table.clone().or_else(|| stem().map(str::to_owned)).ok_or_else(|| {
        Failure::invalid("standard input has no name that the table could take")
            .help("say it: --table NAME")
    })
}

/// The file at `path` with its name for errors and, where it is a plain file, its size; `what` is expected in it.
fn open_file(path: &Path, what: &str) -> Outcome<(String, File, Option<u64>)> {
    let name = path.display().to_string();
    let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
    let file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(Failure::invalid(format!("{name} is a directory, not a file of {what}")));
    }
    let bytes = meta.is_file().then_some(meta.len());
    Ok((name, file, bytes))
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

/// How far the import is, where somebody looks.
struct Bar(ProgressBar, Measure, Instant);

/// What the bar counts.
#[derive(Clone, Copy)]
enum Measure {
    Bytes,
    Rows,
}

impl Bar {
    fn new(rows: &dyn Rows) -> Bar {
        let (total, measure) = match (rows.bytes_total(), rows.rows_total()) {
            (Some(bytes), _) => (Some(bytes), Measure::Bytes),
            (None, rows) => (rows, Measure::Rows),
        };
        let template = match total {
            Some(_) => "{bar:32} {percent:>3}%  {msg}  {elapsed} (eta {eta})",
            None => "{spinner} {msg}  {elapsed}",
        };
        Bar(progress_bar(total, template), measure, Instant::now())
    }

    fn show(&self, at: Position, rows: u64) {
        let Bar(bar, measure, started) = self;
        bar.set_position(match measure {
            Measure::Bytes => at.bytes,
            Measure::Rows => at.rows,
        });
        let seconds = started.elapsed().as_secs_f64().max(0.001);
        let rate = thousands((rows as f64 / seconds) as u64);
        let bytes =
            if 0 < at.bytes { format!(", {}", bytes_text(at.bytes)) } else { String::new() };
        bar.set_message(format!("{}{bytes}, {rate} rows/s", counted(rows, "row")));
    }
}
