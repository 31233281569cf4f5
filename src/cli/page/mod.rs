//! `stats --html`: what the database says about itself, as one page for a browser.
//!
//! The page stands alone: no script, no font, no picture from elsewhere, so it can be kept, sent and opened years
//! later. It takes the colours that its reader's system asks for, light or dark.
//!
//! ```text
//!   gather  from the database: tables, levels, columns, indexes    ──▶ Facts
//!           from a running program (--connect): plugins, latencies ──▶ Sample
//!   layout  the page around them       tables   a section for each table
//!   charts  bars and spreads           style    colours and measures
//! ```
//!
//! What a running program counts is only known to that program: without `--connect` the page says so instead of
//! showing what this very command did.

mod charts;
mod layout;
mod style;
mod tables;

use super::args::Stats;
use super::export::new_file_in;
use super::failure::{Failure, Outcome};
use super::screen::counted;
use super::top::sample::{Reading, Sample, sample};
use super::top::source::{Remote, Source};
use super::{Access, Session, progress_bar};
use jiff::{Timestamp, Unit};
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::{
    Database, IndexDefinition, IndexState, IndexStats, Kernel, RecoveryReport, TableStats,
};
use std::io::Write;
use std::path::Path;

/// All that a page is made of.
struct Facts {
    directory: String,
    made: String,
    tables: Vec<Table>,
    /// The numbers of the kernel as they are in this process.
    here: Sample,
    recovery: RecoveryReport,
    /// What the program that was asked has counted since it was started, and its address.
    there: Option<(String, Sample)>,
}

struct Table {
    stats: TableStats,
    indexes: Vec<(IndexDefinition, IndexState, IndexStats)>,
}

/// Writes the page to `file`.
pub fn write(session: &mut Session, args: &Stats, file: &Path) -> Outcome {
    // Asked first: a wrong address is no reason to read a database.
    let there = args.connect.as_deref().map(ask).transpose()?;
    let db = session.open(Access::Read)?;
    let facts = gather(session, &db, args.table.as_deref(), there)?;
    let page = layout::page(&facts).into_string();
    save(file, page.as_bytes())?;
    let (tables, bytes) = (facts.tables.len(), page.len());
    if session.screen.json {
        return session.screen.object(&json!({ "file": file, "tables": tables, "bytes": bytes }));
    }
    let tables = counted(tables as u64, "table");
    session.screen.line(format!("{} is a page of {tables}", file.display()))
}

/// All of it or nothing: an older page stays until the new one is whole.
fn save(file: &Path, page: &[u8]) -> Outcome {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let save = || -> std::io::Result<()> {
        let mut new = new_file_in(folder.unwrap_or(Path::new(".")))?;
        new.write_all(page)?;
        new.persist(file)?;
        Ok(())
    };
    save().map_err(|error| Failure::invalid(format!("write {}: {error}", file.display())))
}

fn ask(address: &str) -> Outcome<(String, Sample)> {
    let mut program = Remote::new(address)?;
    let metrics = program.sample()?;
    Ok((program.name(), since_the_start(metrics)))
}

/// Everything counted so far, as if it had been in one second.
fn since_the_start(metrics: Vec<sochdb::Metric>) -> Sample {
    let unix_s = Timestamp::now().as_duration().as_secs_f64();
    let before = Reading { at_s: 0.0, unix_s, metrics: Vec::new() };
    sample(Some(&before), &Reading { at_s: 1.0, unix_s, metrics })
}

fn gather(
    session: &Session,
    db: &Database,
    only: Option<&str>,
    there: Option<(String, Sample)>,
) -> Outcome<Facts> {
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => {
            let mut tables = Kernel::begin_read(db)?.tables()?;
            tables.retain(|table| !table.name.starts_with(HOST_TABLES));
            tables.into_iter().map(|table| table.name).collect()
        }
    };
    let bar = progress_bar(Some(names.len() as u64), "{bar:32} {pos} of {len} tables  {msg}");
    let mut tables = Vec::new();
    for name in names {
        bar.set_message(name.clone());
        let stats = db.table_stats(&name)?;
        let mut indexes = Vec::new();
        for (index, state) in db.indexes(Some(&name))? {
            let stats = db.index_stats(&name, &index.name)?;
            indexes.push((index, state, stats));
        }
        tables.push(Table { stats, indexes });
        bar.inc(1);
    }
    bar.finish_and_clear();
    tables.sort_by_key(|table| std::cmp::Reverse(table.stats.size.stored_bytes));
    let made = Timestamp::now().round(Unit::Second).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Facts {
        directory: session.common.directory.display().to_string(),
        made: made.to_string(),
        tables,
        here: since_the_start(db.metrics()),
        recovery: db.recovery().clone(),
        there,
    })
}
