//! `audit`: what plugins did, from the file beside the database.

use super::Session;
use super::args::Audit;
use super::failure::{Exit, Failure, Outcome};
use super::screen::thousands;
use sochdb::ErrorKind;
use sochdb::host::audit::{AuditFilter, AuditKind, AuditRecord, Outcome as What, read_file};
use std::path::{Path, PathBuf};

/// Where the audit trail of the database in `directory` is written.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("audit.jsonl")
}

/// Prints the newest records, oldest first.
pub fn audit(session: &mut Session, args: &Audit) -> Outcome {
    let path = file(&session.common.directory);
    let read = read_file(&path).map_err(|error| {
        if error.kind() != ErrorKind::NotFound {
            return Failure::from(error);
        }
        let text =
            format!("no plugin of the database {} was audited", session.common.directory.display());
        Failure::new(Exit::NotFound, text)
            .help("`sochdb call` and commands that write record what plugins do; --db says where")
    })?;
    let filter = AuditFilter {
        plugin: args.plugin.clone(),
        outcome: args.denied.then_some(What::Denied),
        ..AuditFilter::default()
    };
    let found: Vec<_> = read.records.iter().filter(|record| filter.fits(record)).collect();
    let newest = &found[found.len().saturating_sub(args.limit)..];
    if session.screen.json {
        return newest.iter().try_for_each(|record| session.screen.object(record));
    }
    let header =
        ["when", "plugin", "tenant", "what", "object", "outcome", "rows", "bytes", "fuel", "ns"];
    session.screen.table(header.map(String::from), newest.iter().map(|record| row(record)))?;
    if 0 < read.lines_skipped {
        let skipped = thousands(read.lines_skipped);
        session.screen.line(format!("{skipped} lines that are no record were skipped"))?;
    }
    Ok(())
}

fn row(record: &AuditRecord) -> [String; 10] {
    let when = jiff::Timestamp::from_microsecond(i64::try_from(record.unix_us).unwrap_or(i64::MAX));
    let when = when.map_or_else(|_| record.unix_us.to_string(), |when| format!("{when:.6}"));
    let what = match record.kind {
        AuditKind::Call => format!("called: {}", record.function),
        AuditKind::Import => record.function.clone(),
    };
    let outcome = serde_json::to_value(record.outcome).ok();
    let outcome = outcome.and_then(|outcome| outcome.as_str().map(str::to_owned));
    [
        when,
        record.plugin.clone(),
        record.tenant.clone().unwrap_or_default(),
        what,
        record.object.clone().unwrap_or_default(),
        outcome.unwrap_or_default(),
        thousands(record.rows),
        thousands(record.bytes),
        thousands(record.fuel),
        thousands(record.nanos),
    ]
}
