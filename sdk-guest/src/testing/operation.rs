//! One thing that is done to a subject, and its words.

use crate::KeyRange;
use crate::select::Selection;
use std::fmt;
use std::ops::Bound;

/// Bytes of a key or value that are shown.
const SHOWN_BYTES: usize = 48;
/// Rows of a write that are shown.
const SHOWN_ROWS: usize = 6;

/// One thing that is done to a subject. `at` says which snapshot is read, counted from the oldest one that
/// is open; none is the present.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Rows are written and deleted.
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// One row is read.
    Get {
        /// Its key.
        key: Vec<u8>,
        /// Which snapshot.
        at: Option<usize>,
    },
    /// Some rows are read.
    MultiGet {
        /// Their keys.
        keys: Vec<Vec<u8>>,
        /// Which snapshot.
        at: Option<usize>,
    },
    /// The rows of a range are read.
    Scan {
        /// Which, and how.
        scan: Scan,
        /// Which snapshot.
        at: Option<usize>,
    },
    /// Some columns of a range are read.
    Columns {
        /// Which: forward, with a projection, without a limit.
        scan: Scan,
        /// Which snapshot.
        at: Option<usize>,
    },
    /// A snapshot is opened.
    Snapshot,
    /// The oldest snapshot ends.
    EndSnapshot,
    /// As [`Subject::flush`](super::Subject::flush).
    Flush,
    /// As [`Subject::merge`](super::Subject::merge).
    Merge {
        /// All segments, not those that the engine would choose.
        all: bool,
    },
    /// As [`Subject::reload`](super::Subject::reload).
    Reload,
    /// As [`Subject::reopen`](super::Subject::reopen).
    Reopen,
    /// As [`Subject::crash`](super::Subject::crash).
    Crash,
}

/// Which rows are read, and how.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The keys. The range may hold none, and its ends may be the wrong way round.
    pub range: KeyRange,
    /// From the greatest key down.
    pub reverse: bool,
    /// No more rows than this.
    pub limit: Option<usize>,
    /// Which rows of a typed table, and which of their columns.
    pub selection: Option<Selection>,
}

impl Operation {
    /// Every name that [`name`](Self::name) gives.
    pub(super) const NAMES: [&str; 12] = [
        "write",
        "get",
        "multi-get",
        "scan",
        "columns",
        "snapshot",
        "end of a snapshot",
        "flush",
        "merge",
        "reload",
        "reopen",
        "crash",
    ];

    /// What it is called.
    pub fn name(&self) -> &'static str {
        let position = match self {
            Operation::Write(_) => 0,
            Operation::Get { .. } => 1,
            Operation::MultiGet { .. } => 2,
            Operation::Scan { .. } => 3,
            Operation::Columns { .. } => 4,
            Operation::Snapshot => 5,
            Operation::EndSnapshot => 6,
            Operation::Flush => 7,
            Operation::Merge { .. } => 8,
            Operation::Reload => 9,
            Operation::Reopen => 10,
            Operation::Crash => 11,
        };
        Operation::NAMES[position]
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |at: &Option<usize>| at.map_or(String::new(), |at| format!(" of snapshot {at}"));
        match self {
            Operation::Write(rows) => {
                write!(f, "write {} rows:", rows.len())?;
                for (key, value) in rows.iter().take(SHOWN_ROWS) {
                    match value {
                        Some(value) => write!(f, " {} = {};", shown(key), shown(value))?,
                        None => write!(f, " {} deleted;", shown(key))?,
                    }
                }
                f.write_str(if SHOWN_ROWS < rows.len() { " ..." } else { "" })
            }
            Operation::Get { key, at } => write!(f, "get {}{}", shown(key), of(at)),
            Operation::MultiGet { keys, at } => {
                let shown: Vec<_> = keys.iter().take(SHOWN_ROWS).map(|key| shown(key)).collect();
                write!(f, "multi-get {} keys{}: {}", keys.len(), of(at), shown.join(", "))
            }
            Operation::Scan { scan, at } => write!(f, "scan{} {scan}", of(at)),
            Operation::Columns { scan, at } => write!(f, "columns{} {scan}", of(at)),
            Operation::Merge { all: true } => f.write_str("merge all"),
            other => f.write_str(other.name()),
        }
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.range.start {
            Bound::Included(key) => write!(f, "from {}", shown(key))?,
            Bound::Excluded(key) => write!(f, "from behind {}", shown(key))?,
            Bound::Unbounded => write!(f, "from the start")?,
        }
        match &self.range.end {
            Bound::Included(key) => write!(f, " through {}", shown(key))?,
            Bound::Excluded(key) => write!(f, " up to {}", shown(key))?,
            Bound::Unbounded => write!(f, " to the end")?,
        }
        f.write_str(if self.reverse { ", backwards" } else { "" })?;
        if let Some(limit) = self.limit {
            write!(f, ", {limit} rows")?;
        }
        let Some(selection) = &self.selection else { return Ok(()) };
        let names = |positions: &[usize]| -> String {
            let names = positions.iter().map(|at| &*selection.schema().columns[*at].name);
            names.collect::<Vec<_>>().join(", ")
        };
        if let Some(projection) = selection.projection() {
            write!(f, ", only ({})", names(projection.positions()))?;
        }
        for condition in selection.conditions() {
            let (column, values) = (names(&[condition.position()]), condition.values());
            write!(f, ", where {column} {:?} {values:?}", condition.comparison())?;
        }
        Ok(())
    }
}

/// A key or value for people: its bytes as text where they are, cut when there are many.
pub(super) fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_BYTES) {
        Some(start) if SHOWN_BYTES < bytes.len() => {
            format!("\"{}...\" ({} bytes)", start.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}
