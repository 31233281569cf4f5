//! Walks a tree whose pages may be broken: its rows, and between them the ranges that are lost.
//!
//! A parent's separators say which keys were under a child. So where a page is broken, exactly the range
//! of keys that is lost with it is known.

use super::source::Source;
use crate::walk::PageSet;
use sochdb_kernel::inspect::{PageRef, Stored, TreeRoot, node};
use std::sync::Arc;

/// Keys from `low` (all from the beginning, if `None`) to before `high` (to the end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub low: Option<Vec<u8>>,
    pub high: Option<Vec<u8>>,
}

impl Span {
    pub const ALL: Span = Span { low: None, high: None };

    pub fn contains(&self, key: &[u8]) -> bool {
        self.low.as_ref().is_none_or(|low| low.as_slice() <= key) && !self.ends_before(key)
    }

    fn ends_before(&self, key: &[u8]) -> bool {
        self.high.as_ref().is_some_and(|high| high.as_slice() <= key)
    }

    /// Whether some key from `first` to `last` (both included) is in the span.
    pub fn meets(&self, first: &[u8], last: &[u8]) -> bool {
        self.low.as_ref().is_none_or(|low| low.as_slice() <= last) && !self.ends_before(first)
    }
}

/// What the walk finds next.
pub(super) enum Step {
    Row(Vec<u8>, Stored),
    /// Everything in the span is lost, and why.
    Lost(Span, String),
}

struct Level {
    page: Arc<[u8]>,
    next: usize,
    span: Span,
}

/// The rows of a tree in growing order, and what is lost between them.
pub(super) struct TreeWalk<'a> {
    source: &'a Source,
    path: Vec<Level>,
    /// The root, until it was looked at.
    root: Option<(PageRef, u8)>,
    /// Inner pages looked at: a page that is its own descendant would never end.
    seen: PageSet,
    /// Pages read so far.
    pub pages: u64,
}

impl<'a> TreeWalk<'a> {
    pub fn new(source: &'a Source, root: &TreeRoot) -> TreeWalk<'a> {
        let root = root.height.checked_sub(1).map(|level| (root.page, level));
        TreeWalk { source, path: Vec::new(), root, seen: PageSet::new(source.pages), pages: 0 }
    }

    /// Goes down to the page `at`; what is lost if that cannot be.
    fn enter(&mut self, at: PageRef, level: u8, span: Span) -> Option<Step> {
        self.pages += 1;
        if 0 < level && self.seen.insert(at.page) != Some(true) {
            let why = format!("page {} is outside the file, or pointed to twice", at.page);
            return Some(Step::Lost(span, why));
        }
        match self.source.page(at, level) {
            Ok(page) => {
                self.path.push(Level { page, next: 0, span });
                None
            }
            Err(error) => Some(Step::Lost(span, reason(&error))),
        }
    }

    pub fn next(&mut self) -> Option<Step> {
        if let Some((at, level)) = self.root.take()
            && let Some(lost) = self.enter(at, level, Span::ALL)
        {
            return Some(lost);
        }
        loop {
            let Level { page, next, span } = self.path.last_mut()?;
            let (index, level) = (*next, page[5]);
            *next += 1;
            if node::count(page) <= index {
                self.path.pop();
                continue;
            }
            if level == 0 {
                let key = node::key(page, index);
                match node::stored(page, index) {
                    Ok(stored) if span.contains(&key) => return Some(Step::Row(key, stored)),
                    Ok(_) => continue,
                    Err(error) => {
                        let mut high = key.clone();
                        high.push(0);
                        let span = Span { low: Some(key), high: Some(high) };
                        return Some(Step::Lost(span, reason(&error)));
                    }
                }
            }
            let low = if index == 0 { span.low.clone() } else { Some(node::key(page, index)) };
            let behind = index + 1 < node::count(page);
            let high = if behind { Some(node::key(page, index + 1)) } else { span.high.clone() };
            let child = node::child(page, index);
            if let Some(lost) = self.enter(child, level - 1, Span { low, high }) {
                return Some(lost);
            }
        }
    }
}

/// An error in the words that suit a list of losses.
pub(super) fn reason(error: &sochdb_kernel::KernelError) -> String {
    use sochdb_kernel::KernelError::Corrupt;
    match error {
        Corrupt { file, offset, expected, found } => {
            format!("{file} at byte {offset}: expected {expected}, found {found}")
        }
        other => other.to_string(),
    }
}
