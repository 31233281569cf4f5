//! `audit`: what plugins did, from the file beside the database.

use super::Session;
use super::args::Audit;
use super::failure::{Exit, Failure, Outcome};
use super::screen::{counted, micros_text, thousands};
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
    let is_shown = |record: &&AuditRecord| {
        filter.fits(record) && (args.all || args.denied || !is_routine(record))
    };
    let found: Vec<_> = read.records.iter().filter(is_shown).collect();
    let newest = &found[found.len().saturating_sub(args.limit)..];
    if session.screen.json {
        return newest.iter().try_for_each(|record| session.screen.object(record));
    }
    let header = ["when", "plugin", "what", "object", "outcome", "rows", "bytes", "fuel", "time"];
    session.screen.table(header.map(String::from), newest.iter().map(|record| row(record)))?;
    if 0 < read.lines_skipped {
        let skipped = counted(read.lines_skipped, "line");
        session.screen.line(format!("skipped {skipped} without a record"))?;
    }
    Ok(())
}

/// What every plugin does whenever it is started, and ended.
fn is_routine(record: &AuditRecord) -> bool {
    let name = record.function.rsplit('.').next().unwrap_or_default();
    let routine = ["init", "self-test", "describe", "shutdown", "get-config", "drop"];
    record.outcome == What::Ok && routine.contains(&name)
}

fn row(record: &AuditRecord) -> [String; 9] {
    let when = jiff::Timestamp::from_microsecond(i64::try_from(record.unix_us).unwrap_or(i64::MAX));
    let when = when.map_or_else(
        |_| record.unix_us.to_string(),
        |when| when.strftime("%m-%d %H:%M:%S%.3f").to_string(),
    );
    let plugin = match &record.tenant {
        Some(tenant) => format!("{} for {tenant}", record.plugin),
        None => record.plugin.clone(),
    };
    let what = match record.kind {
        AuditKind::Call => format!("called: {}", record.function),
        // `rows.table.soch-read`: the last part says it.
        AuditKind::Import => record.function.rsplit('.').next().unwrap_or_default().to_owned(),
    };
    let outcome = serde_json::to_value(record.outcome).ok();
    let outcome = outcome.and_then(|outcome| outcome.as_str().map(str::to_owned));
    [
        when,
        plugin,
        what,
        record.object.clone().unwrap_or_default(),
        outcome.unwrap_or_default(),
        thousands(record.rows),
        thousands(record.bytes),
        thousands(record.fuel),
        micros_text(record.nanos / 1000),
    ]
}
