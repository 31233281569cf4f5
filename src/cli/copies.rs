//! `backup`, `restore` and `repair`: a database made of another one. A repository of backups is in `backups`.

use super::args::{Backup, Restore};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, counted, thousands};
use super::{Access, Session, backups, cancel, plugins, progress_bar};
use indicatif::ProgressBar;
use serde_json::json;
use sochdb::operations::{
    self, BackupReport, Moment, Progress, Repository, RestoreError, utc_text,
};
use sochdb::plugin::PluginManager;
use sochdb::{Environment, KernelError, PluginFault, PluginHost, Timestamp};
use std::path::{Path, PathBuf};

/// Copies the database, or saves it into a repository, or does something with one.
pub fn backup(session: &mut Session, args: &Backup) -> Outcome {
    match (&args.command, &args.into, &args.target) {
        (Some(command), ..) => backups::backups(session, command),
        (_, Some(home), _) => backups::save(session, home, args.name.as_deref()),
        (.., Some(target)) => copy(session, target),
        _ => Err(Failure::invalid("name a directory for the copy, or a repository with --into")),
    }
}

/// Copies the database to `target`.
fn copy(session: &mut Session, target: &Path) -> Outcome {
    if Repository::is_one(&*Environment::disk(target).vfs)? {
        let text = format!("{} is a repository of backups", target.display());
        return Err(Failure::invalid(text).help("name it with --into to save a backup there"));
    }
    // What the database keeps of plugins is copied; it need not run.
    let builder = session.common.builder(Access::Read)?.kept_plugins(false);
    let db = session.open_with(builder)?;
    let bar = bar();
    let report = cancel::or(db.backup(target, &mut |progress| show(&bar, progress)))?;
    bar.finish_and_clear();
    done(session, target, &report)
}

/// What `restore` makes the database of.
enum Source {
    /// The directory of one backup.
    Plain(PathBuf),
    /// A repository, and which backup of it.
    Repository(Repository, Option<String>),
}

impl Source {
    fn of(args: &Restore) -> Outcome<Source> {
        let text = args.backup.to_string_lossy();
        let (home, name) = match text.rsplit_once('#') {
            Some((home, name)) if !args.backup.exists() => {
                (PathBuf::from(home), Some(name.to_owned()))
            }
            _ => (args.backup.clone(), args.name.clone()),
        };
        let vfs = Environment::disk(&home).vfs;
        if Repository::is_one(&*vfs)? {
            return Ok(Source::Repository(Repository::open(vfs)?, name));
        }
        match name {
            None => Ok(Source::Plain(home)),
            Some(_) => {
                let text = format!("{} is no repository of backups", home.display());
                Err(Failure::new(Exit::NotFound, text)
                    .help("without a name it is restored as the directory of one backup"))
            }
        }
    }

    /// The backup as a database to look into.
    fn environment(&self) -> Outcome<Environment> {
        match self {
            Source::Plain(home) => Ok(Environment::disk(home)),
            Source::Repository(backups, Some(name)) => Ok(backups.environment(name)?),
            Source::Repository(backups, None) => {
                let newest = backups.list()?.pop().map(|backup| backup.name);
                Ok(backups.environment(&newest.unwrap_or_default())?)
            }
        }
    }

    /// The directory that the backup was made of, if it is still there.
    fn original(&self) -> Outcome<Option<PathBuf>> {
        let Source::Repository(backups, name) = self else { return Ok(None) };
        let fits =
            |backup: &operations::BackupInfo| name.as_ref().is_none_or(|name| *name == backup.name);
        let newest = backups.list()?.into_iter().rfind(fits);
        let original = newest.map(|backup| PathBuf::from(backup.source));
        Ok(original.filter(|original| has_log(original)))
    }
}

fn has_log(directory: &Path) -> bool {
    ["archive", "wal"].iter().any(|folder| directory.join(folder).is_dir())
}

/// Makes the database of a backup.
pub fn restore(session: &mut Session, args: &Restore) -> Outcome {
    let source = Source::of(args)?;
    let to = match (args.to_commit, args.to_timestamp) {
        (Some(commit), _) => Moment::Commit(Timestamp(commit)),
        (_, Some(us)) => Moment::Time(us),
        _ => Moment::Newest,
    };
    let logs = logs(args, &source, to)?;
    let logs: Vec<_> = logs.iter().map(|log| Environment::disk(log).vfs).collect();
    let logs: Vec<_> = logs.iter().map(|log| &**log).collect();
    let bar = bar();
    let target = session.common.directory.clone();
    let restore = |codecs: &PluginManager| {
        let (target, mut tell) = (Environment::disk(&target), |progress: Progress<'_>| {
            show(&bar, progress);
        });
        match &source {
            Source::Plain(home) => {
                let home = Environment::disk(home);
                operations::restore_to(&home, &logs, codecs, &target, to, &mut tell)
            }
            Source::Repository(backups, name) => {
                backups.restore(name.as_deref(), &logs, codecs, &target, to, &mut tell)
            }
        }
    };
    let report = match restore(&PluginManager::default()) {
        // The archive of the log is compressed, and only now are plugins worth their time.
        Err(RestoreError::Kernel(KernelError::Plugin { fault: PluginFault::Missing, .. })) => {
            let (_host, codecs) = codecs(session, source.environment()?)?;
            restore(&codecs)?
        }
        done => done?,
    };
    bar.finish_and_clear();
    done(session, &target, &report)
}

/// Where the log since the backup is.
fn logs(args: &Restore, source: &Source, to: Moment) -> Outcome<Vec<PathBuf>> {
    if let Some(log) = args.logs.iter().find(|log| !has_log(log)) {
        let text = format!("{} has neither a folder `archive` nor a folder `wal`", log.display());
        return Err(Failure::new(Exit::NotFound, text)
            .help("--log wants the directory of the database, or a copy with these folders"));
    }
    match args.logs.is_empty() && to != Moment::Newest {
        true => Ok(source.original()?.into_iter().collect()),
        false => Ok(args.logs.clone()),
    }
}

/// The codecs of this session, and those that the database in `backup` keeps, with the host that runs them.
fn codecs(session: &Session, backup: Environment) -> Outcome<(PluginHost, PluginManager)> {
    let (host, codecs) = (plugins::host(session)?, PluginManager::default());
    host.load_bundled(&codecs)?;
    for dir in &session.common.plugin_dirs {
        host.load_dir(dir, &codecs)?;
    }
    let db = session.common.builder(Access::Read)?.kept_plugins(false).open_in(backup)?;
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
    let unsure = report.reached.and_then(|reached| reached.unsure);
    if session.screen.json {
        let mut said = json!({
            "target": target,
            "commit": commit,
            "pages": pages,
            "log_bytes": report.log_bytes,
        });
        if let Some(reached) = report.reached {
            said["known_until"] = utc_text(reached.known_us).into();
            said["left_out"] = unsure.map_or(0, |next| next.commit.0 - commit).into();
        }
        return session.screen.object(&said);
    }
    session.screen.line(format!(
        "{} holds every commit up to {commit}: {} and {} of log",
        target.display(),
        counted(pages, "page"),
        bytes_text(report.log_bytes),
    ))?;
    let Some((reached, next)) = report.reached.zip(unsure) else { return Ok(()) };
    session.screen.line(format!(
        "commit {commit} was the newest at {}; {} more were made by {}, and whether before or after the time \
         you named is not known: --to-commit takes some of them",
        utc_text(reached.known_us),
        thousands(next.commit.0 - commit),
        utc_text(next.from_us),
    ))
}

/// A bar of bytes.
pub fn bar() -> ProgressBar {
    progress_bar(Some(0), "{bar:32} {bytes} of {total_bytes}  {msg}  {elapsed}")
}

/// Shows how far it is, and lets Ctrl-C end it.
pub fn show(bar: &ProgressBar, progress: Progress<'_>) {
    if cancel::check().is_err() {
        progress.stop();
    }
    bar.set_length(progress.total_bytes.max(progress.done_bytes));
    bar.set_position(progress.done_bytes);
    bar.set_message(progress.what.to_owned());
}
