//! Leaves that nothing points to any more, or that a broken page pointed to.
//!
//! Every leaf says whose rows it has and which checkpoint wrote it. So where the way to some rows is lost,
//! the leaves themselves can be looked for in the whole file. Many are remains of earlier checkpoints: of two
//! leaves that overlap the newer is right, and hides the older from its first key to its last. What lies
//! between newer leaves may still be old: rows that were changed or deleted since. Nobody can know.

use super::source::Source;
use super::tree::Span;
use sochdb_kernel::TableId;
use sochdb_kernel::inspect::{PageRef, Stored, node, origin};
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound::{Excluded, Included, Unbounded};

/// A leaf that was found by looking at every page.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub sequence: u64,
    pub at: PageRef,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Leaf {
    /// Whose leaf `page` is, and the leaf; `None` for an inner page, or one that makes no sense.
    pub fn of(at: PageRef, page: &[u8]) -> Option<(TableId, Leaf)> {
        if page[5] != 0 {
            return None;
        }
        let (table, sequence) = origin(page);
        let (first, last) = (node::key(page, 0), node::key(page, node::count(page) - 1));
        (first <= last).then_some((table, Leaf { sequence, at, first, last }))
    }

    /// Whether some of its rows may be in `span`.
    pub fn meets(&self, span: &Span) -> bool {
        span.meets(&self.first, &self.last)
    }
}

/// A stretch of keys up to before `end`, and the leaf that is the newest known to have held them.
#[derive(Debug)]
struct Piece {
    end: Vec<u8>,
    leaf: PageRef,
    sequence: u64,
}

/// For each key at most one leaf, the newest. Pieces are named by their first key and do not overlap.
#[derive(Debug, Default)]
pub(super) struct Pieces(BTreeMap<Vec<u8>, Piece>);

impl Pieces {
    /// The newest of `leaves` for each key of `span`.
    pub fn new<'a>(leaves: impl Iterator<Item = &'a Leaf>, span: &Span) -> Pieces {
        let mut leaves: Vec<_> = leaves.filter(|leaf| leaf.meets(span)).collect();
        leaves.sort_by_key(|leaf| (std::cmp::Reverse(leaf.sequence), leaf.at.page));
        let mut pieces = Pieces::default();
        leaves.into_iter().for_each(|leaf| pieces.add(leaf));
        pieces
    }

    /// Adds what no newer leaf hides of `leaf`.
    fn add(&mut self, leaf: &Leaf) {
        let end = next_key(&leaf.last);
        let mut from = leaf.first.clone();
        if let Some((_, piece)) = self.at(&from) {
            from = from.max(piece.end.clone());
        }
        let mut new = Vec::new();
        let inside = (Included(leaf.first.as_slice()), Excluded(end.as_slice()));
        for (start, piece) in self.0.range::<[u8], _>(inside) {
            if from < *start {
                new.push((from.clone(), start.clone()));
            }
            from = from.max(piece.end.clone());
        }
        if from < end {
            new.push((from, end));
        }
        for (start, end) in new {
            self.0.insert(start, Piece { end, leaf: leaf.at, sequence: leaf.sequence });
        }
    }

    /// The last piece that begins at or before `key`.
    fn at(&self, key: &[u8]) -> Option<(&Vec<u8>, &Piece)> {
        self.0.range::<[u8], _>((Unbounded, Included(key))).next_back()
    }

    /// Whether a leaf is known for `key`.
    pub fn covers(&self, key: &[u8]) -> bool {
        self.at(key).is_some_and(|(_, piece)| key < piece.end.as_slice())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows in `span`, in growing order.
    pub fn rows(self, span: Span) -> OrphanRows {
        OrphanRows { span, pieces: self.0.into_iter(), rows: Vec::new().into_iter() }
    }
}

fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A row of an unreferenced leaf: key, value, and the checkpoint that wrote it.
pub(super) type OrphanRow = (Vec<u8>, Stored, u64);

/// The rows of [`Pieces`].
pub(super) struct OrphanRows {
    span: Span,
    pieces: btree_map::IntoIter<Vec<u8>, Piece>,
    rows: std::vec::IntoIter<OrphanRow>,
}

impl OrphanRows {
    pub fn next(&mut self, source: &Source) -> Option<OrphanRow> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(row);
            }
            let (start, piece) = self.pieces.next()?;
            // It was whole when the file was scanned; should it be gone now, its range is lost anyway.
            let Ok(page) = source.page(piece.leaf, 0) else { continue };
            let mut rows = Vec::new();
            for index in 0..node::count(&page) {
                let key = node::key(&page, index);
                if start <= key && key < piece.end && self.span.contains(&key) {
                    let stored = node::stored(&page, index).ok();
                    rows.extend(stored.map(|stored| (key, stored, piece.sequence)));
                }
            }
            self.rows = rows.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(sequence: u64, first: &str, last: &str) -> Leaf {
        let at = PageRef { page: sequence, crc: 0 };
        Leaf { sequence, at, first: first.into(), last: last.into() }
    }

    fn show(pieces: &Pieces) -> String {
        let text = |key: &[u8]| key.escape_ascii().to_string().replace("\\x00", "+");
        let piece = |(start, piece): (&Vec<u8>, &Piece)| {
            format!("{}..{} {}", text(start), text(&piece.end), piece.sequence)
        };
        pieces.0.iter().map(piece).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_newer_leaf_hides_an_older_from_its_first_key_to_its_last() {
        let leaves = [leaf(3, "a", "z"), leaf(5, "c", "f"), leaf(4, "e", "m"), leaf(5, "t", "z")];
        let pieces = Pieces::new(leaves.iter(), &Span::ALL);
        assert_eq!(show(&pieces), "a..c 3, c..f+ 5, f+..m+ 4, m+..t 3, t..z+ 5");
        assert!(pieces.covers(b"a") && pieces.covers(b"z") && !pieces.covers(b"zz"));
    }

    #[test]
    fn leaves_outside_the_span_are_left_out() {
        let leaves = [leaf(1, "a", "c"), leaf(2, "d", "f"), leaf(3, "g", "h")];
        let span = Span { low: Some(b"d".to_vec()), high: Some(b"g".to_vec()) };
        assert_eq!(show(&Pieces::new(leaves.iter(), &span)), "d..f+ 2");
    }
}
