//! `compact`: checkpoints, and merges until no storage plugin wants another one.

use super::args::Compact;
use super::failure::Outcome;
use super::screen::{bytes_text, counted, thousands};
use super::{Access, Session, cancel, copies, progress_bar};
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::operations::table_size;
use sochdb::{Database, Kernel, KernelError, TableChanges, TableSize};
use std::collections::BTreeMap;

/// Slices of merges before the command leaves the rest to the background: more than any number of segments needs.
const SLICES_MAX: usize = 100_000;

/// What the merges did.
#[derive(Debug, Default)]
struct Done {
    checkpoints: usize,
    bytes_merged: u64,
    /// Whether there is more to merge after so many slices.
    unsettled: bool,
}

/// Runs `compact`.
pub fn compact(session: &mut Session, args: &Compact) -> Outcome {
    let db = session.open(Access::Write)?;
    let before = sizes(&db, args.table.as_deref())?;
    if let Some(table) = args.table.as_ref().filter(|_| args.rewrite) {
        rewrite(&db, table)?;
    }
    let done = settle(&db)?;
    let after = sizes(&db, args.table.as_deref())?;
    let stats = db.stats();
    db.close()?;
    if session.screen.json {
        let tables: Vec<_> = both(&before, &after)
            .map(|(name, before, after)| {
                let size = |size: &TableSize| {
                    json!({ "segments": size.segments, "stored_bytes": size.stored_bytes })
                };
                json!({ "table": name, "before": size(before), "after": size(after) })
            })
            .collect();
        return session.screen.object(&json!({
            "tables": tables,
            "checkpoints": done.checkpoints,
            "bytes_merged": done.bytes_merged,
            "settled": !done.unsettled,
            "pages": stats.pages_total,
            "pages_free": stats.pages_free,
        }));
    }
    let header = ["table", "segments", "after", "bytes", "after"].map(String::from);
    let rows = both(&before, &after).map(|(name, before, after)| {
        [
            name.to_owned(),
            thousands(before.segments),
            thousands(after.segments),
            bytes_text(before.stored_bytes),
            bytes_text(after.stored_bytes),
        ]
    });
    session.screen.table(header, rows)?;
    let rest = if done.unsettled { "; more waits for the background" } else { "" };
    session.screen.line(format!(
        "{} merged in {}{rest}; {} of {} pages of the data file are free for new rows",
        bytes_text(done.bytes_merged),
        counted(done.checkpoints as u64, "checkpoint"),
        thousands(stats.pages_free),
        thousands(stats.pages_total),
    ))
}

/// How the tables lie on disk, the database's own aside.
fn sizes(db: &Database, only: Option<&str>) -> Outcome<BTreeMap<String, TableSize>> {
    let mut tables = Kernel::begin_read(db)?.tables()?;
    tables.retain(|table| {
        only.map_or(!table.name.starts_with(HOST_TABLES), |name| name == table.name)
    });
    if let Some(name) = only.filter(|_| tables.is_empty()) {
        return Err(KernelError::NotFound { kind: "table", name: name.to_owned() }.into());
    }
    let size = |table: &sochdb::TableInfo| Ok((table.name.clone(), table_size(db, table.id)?));
    tables.iter().map(size).collect()
}

fn both<'a>(
    before: &'a BTreeMap<String, TableSize>,
    after: &'a BTreeMap<String, TableSize>,
) -> impl Iterator<Item = (&'a str, &'a TableSize, &'a TableSize)> {
    before.iter().filter_map(|(name, size)| Some((name.as_str(), size, after.get(name)?)))
}

/// Slice by slice, so that readers and writers get their turn and Ctrl-C finds a place.
fn settle(db: &Database) -> Outcome<Done> {
    let bar = progress_bar(None, "{spinner} {msg}  {elapsed}");
    let mut done = Done::default();
    while done.checkpoints < SLICES_MAX {
        cancel::check()?;
        let report = db.checkpoint()?;
        done.checkpoints += 1;
        done.bytes_merged += report.bytes_merged;
        done.unsettled = report.unsettled;
        bar.set_message(format!("{} merged", bytes_text(done.bytes_merged)));
        bar.tick();
        if !done.unsettled {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(done)
}

/// Writes every row of a table anew, where it is.
fn rewrite(db: &Database, table: &str) -> Outcome {
    let (bar, changes) = (copies::bar(), TableChanges::default());
    let done = db.convert_table(table, &changes, &mut |progress| copies::show(&bar, progress));
    bar.finish_and_clear();
    cancel::or(done).map(drop)
}
