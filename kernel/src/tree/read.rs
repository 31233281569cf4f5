//! Finds one key, or walks many in order.

use super::TreeRoot;
use super::node::{self, Stored};
use crate::error::KernelResult;
use crate::kernel_api::KeyRange;
use crate::page::Pager;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, OnceLock};

type Slot = OnceLock<Arc<[u8]>>;

/// A tree as its readers share it. The page at the root and the inner pages right below it, a few hundred at
/// most, stay here once they were read: threads that came through the cache would fetch the counters of these
/// pages from each other at every read.
#[derive(Default)]
pub struct Tree {
    /// What is read.
    pub root: TreeRoot,
    top: Slot,
    below: OnceLock<Box<[Slot]>>,
}

impl Tree {
    /// The tree at `root`, nothing of it read yet.
    pub fn new(root: TreeRoot) -> Arc<Tree> {
        Arc::new(Tree { root, ..Tree::default() })
    }

    /// What the tree holds for `key`.
    ///
    /// # Errors
    /// `Corrupt` when a page on the way is broken.
    pub fn get(&self, pager: &Pager, key: &[u8]) -> KernelResult<Option<Stored>> {
        let (mut at, mut slot, mut held) = (self.root.page, Some(&self.top), None);
        for level in (0..self.root.height).rev() {
            let page = match slot {
                None => held.insert(pager.page(at, level)?),
                Some(slot) if slot.get().is_some() => slot.get().expect("just seen"),
                Some(slot) => {
                    let page = pager.page(at, level)?;
                    slot.get_or_init(|| page)
                }
            };
            if level == 0 {
                return node::find(page, key).ok().map(|i| node::stored(page, i)).transpose();
            }
            let index = node::child_for(page, key);
            at = node::child(page, index);
            let keeps = 1 < level && level + 1 == self.root.height;
            let empty = || vec![Slot::new(); node::count(page)].into();
            slot = keeps.then(|| &self.below.get_or_init(empty)[index]);
        }
        Ok(None)
    }
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
                let child = self.pager.page(node::child(page, *index), page[5] - 1)?;
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
            let page = self.pager.page(at, level)?;
            let last = node::count(&page) - 1;
            let index = match &bound {
                Unbounded if self.reverse => last,
                Unbounded => 0,
                Included(key) | Excluded(key) if 0 < level => node::child_for(&page, key),
                Included(key) | Excluded(key) => {
                    // The range begins, or backwards ends, before the key or behind it.
                    let behind = self.reverse != matches!(bound, Excluded(_));
                    let found = node::find(&page, key);
                    let cut = found.map_or_else(|at| at, |at| at + usize::from(behind));
                    if self.reverse { cut.wrapping_sub(1) } else { cut }
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
