//! All rows of a tree that can be found, in growing order, and what is lost between them.
//!
//! | rows                                                | where                         | trusted |
//! |-----------------------------------------------------|-------------------------------|---------|
//! | reached from the root                               | everywhere                    | yes     |
//! | of unreferenced leaves, up to the root's checkpoint | where a page below it is lost | no      |
//! | of leaves newer than the root's checkpoint          | where there are any           | no      |
//!
//! The last kind counts only where a newer root may be lost: what those leaves hold hides what the older
//! root reaches.

use super::orphans::{Leaf, OrphanRows, Pieces};
use super::source::Source;
use super::tree::{Span, Step, TreeWalk};
use sochdb_kernel::inspect::{Stored, TreeRoot};

/// Where the rows of a tree are to be looked for.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The root; `None` when it is lost.
    pub root: Option<TreeRoot>,
    /// The checkpoint that the root is from.
    pub sequence: u64,
    /// How sure it is that this is the newest root.
    pub age: Age,
}

/// How sure it is that a root is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Newest,
    /// It is, unless some page says that it is from a newer checkpoint.
    Perhaps,
    /// It probably is not.
    Old,
}

/// A row, and for one of an unreferenced leaf the checkpoint that wrote it.
pub(super) struct Row {
    pub key: Vec<u8>,
    pub stored: Stored,
    pub unreferenced: Option<u64>,
}

/// What is found next. A loss comes before the unreferenced rows that were found in its place.
pub(super) enum Found {
    Row(Row),
    Lost(Span, String),
}

/// The rows of one tree.
pub(super) struct Rows<'a> {
    source: &'a Source,
    leaves: &'a [Leaf],
    sequence: u64,
    /// Losses to tell before anything else.
    ahead: Vec<(Span, String)>,
    pub walk: TreeWalk<'a>,
    /// Rows of unreferenced leaves in the range that was lost last.
    gap: OrphanRows,
    /// Leaves newer than the root, and their rows.
    newer: Pieces,
    newer_rows: OrphanRows,
    next_old: Option<Row>,
    next_new: Option<Row>,
}

impl<'a> Rows<'a> {
    /// The rows in `place`. `leaves` are the table's unreferenced leaves.
    pub fn new(source: &'a Source, place: &Place, leaves: &'a [Leaf]) -> Rows<'a> {
        let mut ahead = Vec::new();
        let newer = || {
            let newer = leaves.iter().filter(|leaf| place.sequence < leaf.sequence);
            Pieces::new(newer.filter(|_| place.age != Age::Newest), &Span::ALL)
        };
        if place.age == Age::Old || !newer().is_empty() {
            let why = "where its rows are is known only as of checkpoint";
            ahead.push((Span::ALL, format!("{why} {}, and there was a newer one", place.sequence)));
        }
        let mut gap = Pieces::default();
        if place.root.is_none() {
            ahead = vec![(Span::ALL, "where its rows are is lost".to_owned())];
            gap = Pieces::new(
                leaves.iter().filter(|leaf| leaf.sequence <= place.sequence),
                &Span::ALL,
            );
        }
        Rows {
            source,
            leaves,
            sequence: place.sequence,
            ahead,
            walk: TreeWalk::new(source, &place.root.unwrap_or(TreeRoot::EMPTY)),
            gap: gap.rows(Span::ALL),
            newer: newer(),
            newer_rows: newer().rows(Span::ALL),
            next_old: None,
            next_new: None,
        }
    }

    pub fn next(&mut self) -> Option<Found> {
        if let Some((span, why)) = self.ahead.pop() {
            return Some(Found::Lost(span, why));
        }
        while self.next_old.is_none() {
            match self.next_reached() {
                Some(Found::Row(row)) if self.newer.covers(&row.key) => {}
                Some(Found::Row(row)) => self.next_old = Some(row),
                Some(lost) => return Some(lost),
                None => break,
            }
        }
        if self.next_new.is_none() {
            self.next_new = self.newer_rows.next(self.source).map(unreferenced);
        }
        let row = match (&self.next_old, &self.next_new) {
            (Some(old), Some(new)) if new.key < old.key => self.next_new.take(),
            (None, _) => self.next_new.take(),
            _ => self.next_old.take(),
        };
        row.map(Found::Row)
    }

    /// What the root reaches, and unreferenced rows where it no longer reaches.
    fn next_reached(&mut self) -> Option<Found> {
        if let Some(row) = self.gap.next(self.source) {
            return Some(Found::Row(unreferenced(row)));
        }
        Some(match self.walk.next()? {
            Step::Row(key, stored) => Found::Row(Row { key, stored, unreferenced: None }),
            Step::Lost(span, why) => {
                let older = self.leaves.iter().filter(|leaf| leaf.sequence <= self.sequence);
                self.gap = Pieces::new(older, &span).rows(span.clone());
                Found::Lost(span, why)
            }
        })
    }
}

fn unreferenced((key, stored, sequence): (Vec<u8>, Stored, u64)) -> Row {
    Row { key, stored, unreferenced: Some(sequence) }
}
