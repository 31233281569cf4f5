//! `backup`, `restore` and `repair`: a database made of another one.

use super::args::Restore;
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, thousands};
use super::{Access, Session, plugins, progress_bar};
use indicatif::ProgressBar;
use serde_json::json;
use sochdb::operations::{self, BackupReport, Progress};
use sochdb::plugin::PluginManager;
use sochdb::{Environment, KernelError, PluginFault, PluginHost, Timestamp};
use std::path::Path;

/// Copies the database to `target`.
pub fn backup(session: &mut Session, target: &Path) -> Outcome {
    // What the database keeps of plugins is copied; it need not run.
    let builder = session.common.builder(Access::Read)?.kept_plugins(false);
    let db = session.common.open_with(builder)?;
    let bar = bar();
    let report = db.backup(target, &mut |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    done(session, target, &report)
}

/// Makes the database of a backup.
pub fn restore(session: &mut Session, args: &Restore) -> Outcome {
    let bar = bar();
    let log = args.log.as_ref().map(|directory| Environment::disk(directory).vfs);
    let target = session.common.directory.clone();
    let restore = |codecs: &PluginManager| {
        operations::restore_with(
            &Environment::disk(&args.backup),
            log.as_deref(),
            codecs,
            &Environment::disk(&target),
            args.until.map(Timestamp),
            &mut |progress| show(&bar, progress),
        )
    };
    let report = match restore(&PluginManager::default()) {
        // The archive of the log is compressed, and only now are plugins worth their time.
        Err(KernelError::Plugin { fault: PluginFault::Missing, .. }) => {
            let (_host, codecs) = codecs(session, &args.backup)?;
            restore(&codecs)?
        }
        done => done?,
    };
    bar.finish_and_clear();
    done(session, &target, &report)
}

/// The codecs of this session, and those that the database in `backup` keeps, with the host that runs them.
fn codecs(session: &Session, backup: &Path) -> Outcome<(PluginHost, PluginManager)> {
    let (host, codecs) = (plugins::host(session)?, PluginManager::default());
    host.load_bundled(&codecs)?;
    for dir in &session.common.plugin_dirs {
        host.load_dir(dir, &codecs)?;
    }
    let db = session.common.builder(Access::Read)?.kept_plugins(false).open(backup)?;
    for name in host.load_kept(&db)? {
        if let Ok(codec) = db.plugins().compression(&name) {
            codecs.register_compression(codec);
        }
    }
    Ok((host, codecs))
}

/// Saves what can be saved of the database into `target`.
pub fn repair(session: &mut Session, target: &Path) -> Outcome {
    let bar = bar();
    let common = &session.common;
    let builder = common.builder(Access::Create)?;
    let report = builder.repair(&common.directory, target, &mut |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    let whole = report.is_whole();
    if session.screen.json {
        let tables = report.tables.iter().map(|table| {
            json!({
                "name": table.name,
                "rows": table.rows,
                "unreferenced": table.unreferenced,
                "log_rows": table.log_rows,
                "losses": table.lost.len() as u64 + table.lost_unlisted,
                "notes": table.notes,
            })
        });
        session.screen.object(&json!({
            "ok": whole,
            "target": target,
            "tables": tables.collect::<Vec<_>>(),
            "transactions": report.transactions,
            "last_commit": report.last_commit.0,
            "commits_lost": report.lost_commits.len() as u64 + report.lost_commits_unlisted,
            "notes": report.notes,
        }))?;
    } else {
        session.screen.line(report.to_string().trim_end())?;
    }
    if whole {
        return match session.screen.json {
            true => Ok(()),
            false => session.screen.line(format!("nothing is lost; saved to {}", target.display())),
        };
    }
    let text = format!("saved to {}, but not all of it", target.display());
    Err(Failure::new(Exit::Corrupt, text)
        .help("the lines above say what is missing; a backup has it"))
}

fn done(session: &mut Session, target: &Path, report: &BackupReport) -> Outcome {
    let (commit, pages) = (report.timestamp.0, report.pages);
    if session.screen.json {
        return session.screen.object(&json!({
            "target": target,
            "commit": commit,
            "pages": pages,
            "log_bytes": report.log_bytes,
        }));
    }
    session.screen.line(format!(
        "{} holds every commit up to {commit}: {} pages and {} of log",
        target.display(),
        thousands(pages),
        bytes_text(report.log_bytes),
    ))
}

fn bar() -> ProgressBar {
    progress_bar(Some(0), "{bar:32} {bytes} of {total_bytes}  {msg}  {elapsed}")
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    bar.set_length(progress.total_bytes.max(progress.done_bytes));
    bar.set_position(progress.done_bytes);
    bar.set_message(progress.what.to_owned());
}
