//! The command line of `backup` and `restore`.

use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    /// Where the copy goes; must be empty or missing.
    #[arg(required_unless_present = "into", conflicts_with = "into")]
    pub target: Option<PathBuf>,
    /// Save into this repository of backups instead, which is made if it is missing.
    #[arg(long, value_name = "REPO")]
    pub into: Option<PathBuf>,
    /// The backup's name in the repository; without it the time, such as 2026-11-22T09-30-00Z.
    #[arg(long, requires = "into")]
    pub name: Option<String>,
    #[command(subcommand)]
    pub command: Option<Backups>,
}

#[derive(Debug, Subcommand)]
pub enum Backups {
    /// List the backups of a repository, oldest first.
    List {
        /// The repository.
        repository: PathBuf,
    },
    /// Read everything that backups are made of, and check the databases they make; exits with 5 if anything is
    /// wrong.
    Verify {
        /// The repository.
        repository: PathBuf,
        /// Only this backup.
        name: Option<String>,
    },
    /// Remove backups, and then what only they had. What any of the options wants is kept.
    #[command(after_help = "Examples:\n  \
        sochdb backup prune backups --keep 5\n  \
        sochdb backup prune backups --keep-daily 7 --keep-weekly 8 --dry-run")]
    Prune(BackupPrune),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("rule").required(true).multiple(true))]
pub struct BackupPrune {
    /// The repository.
    pub repository: PathBuf,
    /// Keep the newest N.
    #[arg(long, value_name = "N", group = "rule", default_value_t = 0, hide_default_value = true)]
    pub keep: usize,
    /// Keep the newest of each of the newest D days (UTC) that have one.
    #[arg(long, value_name = "D", group = "rule", default_value_t = 0, hide_default_value = true)]
    pub keep_daily: usize,
    /// Keep the newest of each of the newest W weeks (from Monday, UTC) that have one.
    #[arg(long, value_name = "W", group = "rule", default_value_t = 0, hide_default_value = true)]
    pub keep_weekly: usize,
    /// Only say what would be kept and removed.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup: the directory of one, or a repository, or REPO#NAME.
    pub backup: PathBuf,
    /// Which backup of the repository; without it the newest that is not behind the moment.
    #[arg(long)]
    pub name: Option<String>,
    /// The directory of the database that the backup was made of, or what is left of it; may be given again.
    ///
    /// With a moment and without this: the directory that the repository's backup was made of, if it is there.
    #[arg(long = "log", value_name = "DIR")]
    pub logs: Vec<PathBuf>,
    /// The last commit to restore; without it all that the log has.
    #[arg(long, value_name = "COMMIT", visible_alias = "until")]
    pub to_commit: Option<u64>,
    /// The time to go back to: with a Z or an offset, such as 2026-11-22T09:30:00Z or 2026-11-22T10:30:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "to_commit")]
    pub to_timestamp: Option<u64>,
}

/// A time, in microseconds since 1970.
fn parse_time(text: &str) -> Result<u64, String> {
    let time = text.parse::<jiff::Timestamp>().map_err(|error| {
        format!("{error}; write it as 2026-11-22T09:30:00Z, or with an offset such as +01:00")
    })?;
    u64::try_from(time.as_microsecond()).map_err(|_| "it lies before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_a_place() {
        let utc = parse_time("2026-11-22T09:30:00Z").unwrap();
        assert_eq!(utc, 1_795_339_800_000_000);
        assert_eq!(parse_time("2026-11-22T10:30:00+01:00"), Ok(utc));
        assert_eq!(parse_time("2026-11-22 04:00:00.5-05:30"), Ok(utc + 500_000));
        for nonsense in ["2026-11-22T09:30:00", "2026-11-22", "yesterday", "1969-12-31T00:00:00Z"] {
            assert!(parse_time(nonsense).is_err(), "{nonsense}");
        }
    }
}
