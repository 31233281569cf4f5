//! Finds one key, or walks many in order.

use super::TreeRoot;
use super::node::{self, Stored};
use crate::error::KernelResult;
use crate::kernel_api::KeyRange;
use crate::page::{PageRef, Pager};
use std::ops::Bound;
use std::sync::Arc;

/// What the tree holds for `key`.
///
/// # Errors
/// `Corrupt` when a page on the way is broken.
pub fn get(pager: &Pager, root: &TreeRoot, key: &[u8]) -> KernelResult<Option<Stored>> {
    if root.height == 0 {
        return Ok(None);
    }
    let mut at = root.page;
    for level in (1..root.height).rev() {
        let page = pager.page(at, level)?;
        at = node::child(&page, node::child_for(&page, key));
    }
    let leaf = pager.page(at, 0)?;
    node::find(&leaf, key).ok().map(|index| node::stored(&leaf, index)).transpose()
}

/// Walks the rows of a range, forwards or backwards. Holds the pages on its path, nothing else.
pub struct TreeCursor {
    pager: Arc<Pager>,
    root: TreeRoot,
    range: KeyRange,
    reverse: bool,
    /// From the root down: a page, and the entry to visit next in it (`count` or more: none left).
    path: Vec<(Arc<[u8]>, usize)>,
    started: bool,
}

impl TreeCursor {
    pub fn new(pager: Arc<Pager>, root: TreeRoot, range: KeyRange, reverse: bool) -> TreeCursor {
        TreeCursor { pager, root, range, reverse, path: Vec::new(), started: false }
    }

    /// The next row.
    ///
    /// # Errors
    /// `Corrupt` when a page on the way is broken.
    pub fn next(&mut self) -> KernelResult<Option<(Vec<u8>, Stored)>> {
        if !self.started {
            self.started = true;
            self.seek()?;
        }
        while let Some((page, index)) = self.path.last_mut() {
            if node::count(page) <= *index {
                self.path.pop();
                self.step();
                continue;
            }
            if page[5] != 0 {
                let (child, level) = (node::child(page, *index), page[5] - 1);
                let child = self.load(child, level)?;
                let first = if self.reverse { node::count(&child) - 1 } else { 0 };
                self.path.push((child, first));
                continue;
            }
            let key = node::key(page, *index);
            let range = &self.range;
            if !(if self.reverse { range.is_behind_start(&key) } else { range.is_before_end(&key) })
            {
                self.path.clear();
                break;
            }
            let stored = node::stored(page, *index)?;
            self.step();
            return Ok(Some((key, stored)));
        }
        Ok(None)
    }

    fn load(&self, at: PageRef, level: u8) -> KernelResult<Arc<[u8]>> {
        self.pager.page(at, level)
    }

    /// Moves the innermost position on; below the first entry it becomes `usize::MAX`, which is none.
    fn step(&mut self) {
        if let Some((_, index)) = self.path.last_mut() {
            *index = if self.reverse { index.wrapping_sub(1) } else { *index + 1 };
        }
    }

    /// Goes down to the first row of the range (the last, if backwards).
    fn seek(&mut self) -> KernelResult<()> {
        if self.root.height == 0 || self.range.is_empty() {
            return Ok(());
        }
        let bound = if self.reverse { self.range.end.clone() } else { self.range.start.clone() };
        let mut at = self.root.page;
        for level in (0..self.root.height).rev() {
            let page = self.load(at, level)?;
            let last = node::count(&page) - 1;
            let index = match &bound {
                Bound::Unbounded if self.reverse => last,
                Bound::Unbounded => 0,
                Bound::Included(key) | Bound::Excluded(key) if 0 < level => {
                    node::child_for(&page, key)
                }
                Bound::Included(key) | Bound::Excluded(key) => {
                    let excluded = matches!(bound, Bound::Excluded(_));
                    match (node::find(&page, key), self.reverse) {
                        (Ok(index), false) => index + usize::from(excluded),
                        (Ok(index), true) => index.wrapping_sub(usize::from(excluded)),
                        (Err(behind), false) => behind,
                        (Err(behind), true) => behind.wrapping_sub(1),
                    }
                }
            };
            if 0 < level {
                at = node::child(&page, index);
            }
            self.path.push((page, index));
        }
        Ok(())
    }
}
