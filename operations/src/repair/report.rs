//! What a repair saved and what it could not, for programs and for people.

use sochdb_kernel::{TableId, Timestamp};
use std::fmt;

/// Losses that a report lists per table, and holes in the log; those beyond are counted.
const LISTED_MAX: usize = 1000;

/// Rows of one table that are lost, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRows {
    /// The first key that may be concerned; `None` from the table's beginning.
    pub low: Option<Vec<u8>>,
    /// The first key behind those concerned; `None` to the table's end.
    pub high: Option<Vec<u8>>,
    /// What was found instead.
    pub why: String,
    /// Rows of this range that were found in pages nothing points to any more. They are in the new
    /// database, but may have been changed or deleted since those pages were written.
    pub unreferenced: u64,
}

impl LostRows {
    /// Whether the row of `key` is among them, if it existed.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.low.as_ref().is_none_or(|low| low.as_slice() <= key)
            && self.high.as_ref().is_none_or(|high| key < high.as_slice())
    }
}

/// One table of the new database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairedTable {
    /// Its number in the old database.
    pub id: TableId,
    /// Its name in the new database.
    pub name: String,
    /// Rows that came from the data file, those in `unreferenced` included.
    pub rows: u64,
    /// Rows that came from pages nothing points to; see [`LostRows::unreferenced`].
    pub unreferenced: u64,
    /// Rows put or deleted by commits in the log.
    pub log_rows: u64,
    /// What is lost.
    pub lost: Vec<LostRows>,
    /// How many more losses there are than `lost` lists.
    pub lost_unlisted: u64,
    /// What else is not as it was: a lost definition, a missing plugin.
    pub notes: Vec<String>,
}

impl RepairedTable {
    /// Whether every row is as it was, as far as the data file is concerned.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }

    pub(super) fn lose(&mut self, lost: LostRows) {
        if self.lost.len() < LISTED_MAX {
            self.lost.push(lost);
        } else {
            self.lost_unlisted += 1;
        }
    }
}

/// Commits of the log that are lost: from the first to the last, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCommits {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// What a repair saved and what it could not. Its `Display` is for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The tables of the new database.
    pub tables: Vec<RepairedTable>,
    /// Transactions of the log that were applied.
    pub transactions: u64,
    /// Commits that are missing before others that were applied: the new database may be in a state that
    /// the old one never was in.
    pub lost_commits: Vec<LostCommits>,
    /// How many more holes there are than `lost_commits` lists.
    pub lost_commits_unlisted: u64,
    /// The last commit that was found. Whether there were any behind it, a broken log cannot tell.
    pub last_commit: Timestamp,
    /// What was found on the way: broken meta pages, log files that fit nowhere.
    pub notes: Vec<String>,
}

impl RepairReport {
    /// Whether nothing is missing, as far as anything on disk can tell.
    pub fn is_whole(&self) -> bool {
        self.lost_commits.is_empty()
            && self.notes.is_empty()
            && self.tables.iter().all(|table| table.is_whole() && table.notes.is_empty())
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() < LISTED_MAX {
            self.notes.push(text.into());
        }
    }

    pub(super) fn lose_commits(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        if self.lost_commits.len() < LISTED_MAX {
            self.lost_commits.push(LostCommits { first: Timestamp(first), last: Timestamp(last) });
        } else {
            self.lost_commits_unlisted += 1;
        }
    }
}

/// So many of a thing, in words.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            write!(f, "table '{}': {}", table.name, count(table.rows, "row"))?;
            if 0 < table.unreferenced {
                write!(
                    f,
                    ", {} of them from unreferenced pages and perhaps outdated",
                    table.unreferenced
                )?;
            }
            if 0 < table.log_rows {
                write!(f, ", then {} from the log", count(table.log_rows, "change"))?;
            }
            writeln!(f)?;
            for note in &table.notes {
                writeln!(f, "  {note}")?;
            }
            for lost in &table.lost {
                let key = |key: &Option<Vec<u8>>, open: &str| {
                    key.as_ref()
                        .map_or(open.to_owned(), |key| format!("\"{}\"", key.escape_ascii()))
                };
                let (low, high) = (key(&lost.low, "the beginning"), key(&lost.high, "the end"));
                write!(f, "  LOST from {low} to before {high}")?;
                if 0 < lost.unreferenced {
                    let rows = count(lost.unreferenced, "row");
                    write!(f, " (but {rows} from unreferenced pages)")?;
                }
                writeln!(f, ": {}", lost.why)?;
            }
            if 0 < table.lost_unlisted {
                writeln!(f, "  LOST: {} more places", table.lost_unlisted)?;
            }
        }
        writeln!(
            f,
            "log: {} applied, the last commit found is {}",
            count(self.transactions, "transaction"),
            self.last_commit
        )?;
        for LostCommits { first, last } in &self.lost_commits {
            writeln!(f, "  LOST commits {first} to {last}, though later ones were applied")?;
        }
        if 0 < self.lost_commits_unlisted {
            writeln!(f, "  LOST: {} more holes", self.lost_commits_unlisted)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
