//! A moment to go back to, and the commit that was the newest then.
//!
//! ```text
//!   recorded   |--- commit 7 ---|   |- 9 -|        |------ 12 ------|
//!   asked         ^ 7, exactly    ^ 7, and 8 or 9 may belong to it
//! ```
//!
//! Between two lines of the record nobody knows which of the commits in between were made before the moment and
//! which after it. None of them is taken: what comes back never holds a commit from after the moment, and the
//! answer says which commits are left out for that ([`Reached`]).

use crate::times::Recorded;
use sochdb_kernel::{KernelError, KernelResult, Timestamp};
use std::fmt;

/// Where [`restore_to`](crate::restore_to) goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moment {
    /// As far as the log goes.
    #[default]
    Newest,
    /// Up to this commit.
    Commit(Timestamp),
    /// To this time, in microseconds since 1970.
    Time(u64),
}

/// Why a restore did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// What any operation may run into.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The time lies outside of what backup, log and recorded times can give back.
    #[error(
        "{} cannot be reached: backup and log reach from {} (commit {}) to {} (commit {})",
        utc_text(*.wanted_us), utc_text(.first.from_us), .first.commit, utc_text(.last.until_us), .last.commit
    )]
    Unreachable {
        /// What was asked for, in microseconds since 1970.
        wanted_us: u64,
        /// The first moment that can be reached.
        first: Recorded,
        /// The last moment that can be reached.
        last: Recorded,
    },
    /// Nobody recorded when commits were made.
    #[error(
        "{} cannot be reached: no times of commits are recorded beside the log or in the backups",
        utc_text(*.wanted_us)
    )]
    Unrecorded {
        /// What was asked for, in microseconds since 1970.
        wanted_us: u64,
    },
    /// The clock was set back, so the time was there more than once.
    #[error(
        "{} was there twice, because the clock was set back: at commit {first} and at commit {last}",
        utc_text(*.wanted_us)
    )]
    Ambiguous {
        /// What was asked for, in microseconds since 1970.
        wanted_us: u64,
        /// The newest commit when it came first.
        first: Timestamp,
        /// The newest commit when it came last.
        last: Timestamp,
    },
}

impl RestoreError {
    /// The kernel's error that says the same.
    pub fn into_kernel(self) -> KernelError {
        match self {
            RestoreError::Kernel(error) => error,
            RestoreError::Ambiguous { .. } => KernelError::Invalid(self.to_string()),
            other => KernelError::NotFound { kind: "moment to restore", name: other.to_string() },
        }
    }
}

/// The commit that a time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The newest commit that was surely there.
    pub commit: Timestamp,
    /// It was the newest until then at least, in microseconds since 1970.
    pub known_us: u64,
    /// The next thing that is known: at `from_us` its commit was the newest. Those between the two commits, and
    /// that one itself, may have been made before the time that was asked for, and are left out. `None` when
    /// none was made before the time for sure.
    pub unsure: Option<Recorded>,
}

/// The commit that was the newest at `wanted_us`, by what was `recorded` of commits from `oldest` on.
///
/// # Errors
/// `Unreachable`, `Unrecorded`, `Ambiguous`.
pub(crate) fn commit_at(
    wanted_us: u64,
    recorded: &[Recorded],
    oldest: Timestamp,
    newest: Timestamp,
) -> Result<Reached, RestoreError> {
    let within = |line: &&Recorded| oldest <= line.commit && line.commit <= newest;
    let lines: Vec<Recorded> = recorded.iter().filter(within).copied().collect();
    let (Some(&first), Some(&last)) = (lines.first(), lines.last()) else {
        return Err(RestoreError::Unrecorded { wanted_us });
    };
    let unreachable = RestoreError::Unreachable { wanted_us, first, last };
    let Some(at) = lines.iter().rposition(|line| line.from_us <= wanted_us) else {
        return Err(unreachable);
    };
    let later = lines.iter().position(|line| wanted_us < line.from_us);
    match later {
        Some(0) => return Err(unreachable),
        Some(later) if later <= at && lines[later - 1].commit != lines[at].commit => {
            let (first, last) = (lines[later - 1].commit, lines[at].commit);
            return Err(RestoreError::Ambiguous { wanted_us, first, last });
        }
        _ => {}
    }
    let Recorded { commit, until_us, .. } = lines[at];
    let next = lines.get(at + 1).copied();
    match next {
        _ if wanted_us <= until_us => Ok(Reached { commit, known_us: until_us, unsure: None }),
        None => Err(unreachable),
        Some(next) => {
            let unsure = Some(next).filter(|next| commit < next.commit);
            Ok(Reached { commit, known_us: until_us, unsure })
        }
    }
}

/// The lines of several records, in order of their commits.
pub(crate) fn merged(mut recorded: Vec<Recorded>) -> Vec<Recorded> {
    recorded.sort_by_key(|line| (line.commit, line.from_us, line.until_us));
    // Of one line the longest copy: it was copied while it was still being written.
    recorded.dedup_by(|later, line| {
        let same = (later.commit, later.from_us) == (line.commit, line.from_us);
        line.until_us = if same { later.until_us } else { line.until_us };
        same
    });
    recorded
}

/// A time as people write it, in UTC and to the second: `2026-11-22T09:30:00Z`.
pub fn utc_text(unix_us: u64) -> String {
    let seconds = unix_us / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let Date { year, month, day } = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

struct Date {
    year: u64,
    month: u64,
    day: u64,
}

/// The date that is `days` after 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(days: u64) -> Date {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is month 0, so that the leap day is the last of its year.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    Date { year: year_of_era + era * 400 + turn, month, day }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Newest => write!(f, "the end of the log"),
            Moment::Commit(commit) => write!(f, "commit {commit}"),
            Moment::Time(us) => write!(f, "{}", utc_text(*us)),
        }
    }
}

/// For callers that know only the kernel's errors.
pub(crate) fn kernel_result<T>(result: Result<T, RestoreError>) -> KernelResult<T> {
    result.map_err(RestoreError::into_kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(commit: u64, from_us: u64, until_us: u64) -> Recorded {
        Recorded { commit: Timestamp(commit), from_us, until_us }
    }

    fn at(wanted_us: u64, lines: &[Recorded]) -> Result<Reached, RestoreError> {
        commit_at(wanted_us, lines, Timestamp(0), Timestamp(u64::MAX))
    }

    #[test]
    fn a_moment_is_the_newest_commit_that_was_surely_there() {
        let lines = [line(7, 100, 200), line(9, 300, 320), line(9, 500, 600), line(12, 601, 700)];
        let found = |wanted| at(wanted, &lines).map(|r| (r.commit.0, r.unsure.map(|l| l.commit.0)));
        assert_eq!(found(100).unwrap(), (7, None));
        assert_eq!(found(200).unwrap(), (7, None));
        assert_eq!(found(250).unwrap(), (7, Some(9)));
        assert_eq!(found(310).unwrap(), (9, None));
        assert_eq!(found(400).unwrap(), (9, None), "nobody was there, and nothing was committed");
        assert_eq!(found(700).unwrap(), (12, None));
        for outside in [99, 701] {
            let error = found(outside).unwrap_err();
            assert!(matches!(error, RestoreError::Unreachable { .. }), "{error}");
        }
    }

    #[test]
    fn what_backup_and_log_do_not_have_is_not_reached() {
        let lines = [line(7, 100, 200), line(9, 300, 320), line(12, 601, 700)];
        let bounded = |wanted| commit_at(wanted, &lines, Timestamp(8), Timestamp(10));
        assert_eq!(bounded(300).unwrap().commit, Timestamp(9));
        for outside in [150, 650] {
            let error = bounded(outside).unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:00:00Z (commit 9) to"), "{error}");
        }
        let none = commit_at(150, &lines, Timestamp(13), Timestamp(14)).unwrap_err();
        assert!(matches!(none, RestoreError::Unrecorded { .. }), "{none}");
    }

    #[test]
    fn a_time_that_was_there_twice_is_refused() {
        let lines = [line(5, 100, 200), line(6, 201, 300), line(8, 150, 180), line(9, 310, 400)];
        let commit = |wanted| at(wanted, &lines).map(|reached| reached.commit.0);
        assert_eq!(commit(120).unwrap(), 5);
        assert_eq!(commit(350).unwrap(), 9);
        let error = commit(170).unwrap_err();
        let RestoreError::Ambiguous { first, last, .. } = error else { panic!("{error}") };
        assert_eq!((first.0, last.0), (5, 8));
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        let text = |seconds: u64| utc_text(seconds * 1_000_000 + 999_999);
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(text(1_795_339_800), "2026-11-22T09:30:00Z");
        assert_eq!(text(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
