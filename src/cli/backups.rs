//! `backup --into`, `backup list`, `verify` and `prune`: a repository of backups.

use super::args::{BackupPrune, Backups};
use super::copies::{bar, show};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, counted};
use super::{Access, Session, cancel};
use serde_json::json;
use sochdb::operations::{Keep, Repository, VerifiedBackup, utc_text};
use sochdb::{Clock, Environment, SystemClock};
use std::path::Path;

/// Saves the database into the repository in `home`.
pub fn save(session: &mut Session, home: &Path, name: Option<&str>) -> Outcome {
    // What the database keeps of plugins is copied; it need not run.
    let builder = session.common.builder(Access::Read)?.kept_plugins(false);
    // The backup remembers where its database was, for who restores from elsewhere.
    let mut common = session.common.clone();
    common.directory = std::path::absolute(&common.directory)
        .map_err(|error| Failure::io(common.directory.display(), &error))?;
    let db = match &session.database {
        Some(database) => database.clone(),
        None => common.open_with(builder)?,
    };
    let backups = Repository::create(Environment::disk(home).vfs)?;
    let now_us = SystemClock.unix_us();
    let name = match name {
        Some(name) => name.to_owned(),
        None => free_name(&backups, now_us)?,
    };
    let bar = bar();
    let report = backups.save(&db, &name, now_us, &mut |progress| show(&bar, progress));
    let report = cancel::or(report)?;
    bar.finish_and_clear();
    if session.screen.json {
        return session.screen.object(&json!({
            "target": home,
            "name": report.name,
            "commit": report.commit.0,
            "pages": report.pages,
            "bytes": report.bytes,
            "added_bytes": report.added_bytes,
            "chunks_added": report.chunks_added,
            "packs_broken": report.packs_broken,
        }));
    }
    session.screen.line(format!(
        "{}#{} holds every commit up to {}: {}, of which {} are new",
        home.display(),
        report.name,
        report.commit,
        bytes_text(report.bytes),
        bytes_text(report.added_bytes),
    ))?;
    match report.packs_broken {
        0 => Ok(()),
        broken => Err(Failure::new(
            Exit::Corrupt,
            format!(
                "the backup is good, but {} of {} {} broken",
                counted(broken, "pack"),
                home.display(),
                if broken == 1 { "is" } else { "are" }
            ),
        )
        .help("`sochdb backup verify` says which backups miss something for that")),
    }
}

/// The time as a name; a second backup of one second gets a number.
fn free_name(backups: &Repository, now_us: u64) -> Outcome<String> {
    let time = utc_text(now_us).replace(':', "-");
    let taken: Vec<String> = backups.list()?.into_iter().map(|backup| backup.name).collect();
    let numbered = (2..).map(|number| format!("{time}-{number}"));
    let mut names = std::iter::once(time.clone()).chain(numbered);
    Ok(names.find(|name| !taken.contains(name)).unwrap_or(time))
}

/// Runs a command on a repository.
pub fn backups(session: &mut Session, command: &Backups) -> Outcome {
    match command {
        Backups::List { repository } => list(session, repository),
        Backups::Verify { repository, name } => verify(session, repository, name.as_deref()),
        Backups::Prune(args) => prune(session, args),
    }
}

fn open(home: &Path) -> Outcome<Repository> {
    Ok(Repository::open(Environment::disk(home).vfs)?)
}

fn list(session: &mut Session, home: &Path) -> Outcome {
    let backups = open(home)?.list()?;
    if session.screen.json {
        return backups.iter().try_for_each(|backup| {
            session.screen.object(&json!({
                "name": backup.name,
                "made": utc_text(backup.made_us),
                "commit": backup.commit.0,
                "data_bytes": backup.data_bytes,
                "log_bytes": backup.log_bytes,
                "added_bytes": backup.added_bytes,
                "source": backup.source,
            }))
        });
    }
    if backups.is_empty() {
        return session.screen.line("no backups");
    }
    let header = ["name", "made", "commit", "data", "log", "added", "of"].map(String::from);
    let rows = backups.into_iter().map(|backup| {
        [
            backup.name,
            utc_text(backup.made_us),
            backup.commit.to_string(),
            bytes_text(backup.data_bytes),
            bytes_text(backup.log_bytes),
            bytes_text(backup.added_bytes),
            backup.source,
        ]
    });
    session.screen.table(header, rows)
}

fn verify(session: &mut Session, home: &Path, name: Option<&str>) -> Outcome {
    let bar = bar();
    let report = open(home)?.verify(name, &mut |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    for backup in &report.backups {
        say(session, backup)?;
    }
    for problem in &report.packs {
        match session.screen.json {
            true => session.screen.object(&json!({"pack": problem.to_string()}))?,
            false => session.screen.line(problem.to_string())?,
        }
    }
    if report.is_good() {
        return Ok(());
    }
    Err(Failure::new(Exit::Corrupt, format!("{} is damaged", home.display())).help(
        "remove the packs that the lines above name: the next backup saves again what it needs of \
         them, and backups without problems can be restored",
    ))
}

fn say(session: &mut Session, backup: &VerifiedBackup) -> Outcome {
    let problems: Vec<_> = backup.problems.iter().map(|problem| problem.to_string()).collect();
    let found = problems.len() as u64 + backup.problems_unlisted;
    if session.screen.json {
        return session.screen.object(&json!({
            "name": backup.name,
            "ok": problems.is_empty(),
            "chunks": backup.chunks,
            "rows": backup.rows,
            "problems": problems,
            "problems_found": found,
        }));
    }
    if problems.is_empty() {
        let chunks = counted(backup.chunks, "chunk");
        return session.screen.line(format!("{}: {chunks}, no problems", backup.name));
    }
    session.screen.line(format!("{}: {}", backup.name, counted(found, "problem")))?;
    problems.iter().try_for_each(|problem| session.screen.line(format!("  {problem}")))
}

fn prune(session: &mut Session, args: &BackupPrune) -> Outcome {
    let keep = Keep { last: args.keep, daily: args.keep_daily, weekly: args.keep_weekly };
    let bar = bar();
    let mut tell = |progress: sochdb::operations::Progress<'_>| show(&bar, progress);
    let report = open(&args.repository)?.prune(keep, args.dry_run, &mut tell)?;
    bar.finish_and_clear();
    if session.screen.json {
        return session.screen.object(&json!({
            "kept": report.kept,
            "removed": report.removed,
            "packs_removed": report.packs_removed,
            "freed_bytes": report.freed_bytes,
            "dry_run": args.dry_run,
        }));
    }
    for name in &report.kept {
        session.screen.line(format!("kept     {name}"))?;
    }
    for name in &report.removed {
        let word = if args.dry_run { "would go" } else { "removed " };
        session.screen.line(format!("{word} {name}"))?;
    }
    match args.dry_run {
        true => Ok(()),
        false => session.screen.line(format!("{} freed", bytes_text(report.freed_bytes))),
    }
}
