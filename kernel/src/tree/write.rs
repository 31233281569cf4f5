//! Merges a sorted run into a tree and yields the new root.
//!
//! One pass, left to right, down only where the run has rows. Each touched leaf's rows are merged with the
//! run's and poured into new pages; small remainders flow into the right neighbour, so deletions cannot
//! leave a forest of near-empty pages. Inner pages are rebuilt the same way, bottom up, and the root grows
//! or shrinks as needed. Pages that nothing touched are shared with the old root.
//!
//! Old pages go to the writer's `freed` list; new ones are on their way to disk when this returns.

use super::TreeRoot;
use super::node::{self, Entry, INLINE_BYTES_MAX, Key, Stored};
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::Slice;
use crate::limits::{PAGE_BYTES, TREE_HEIGHT_MAX};
use crate::page::space::PageWriter;
use crate::page::{PAGE_HEADER_BYTES, PageRef, Pager};
use std::iter::Peekable;

/// Bytes of a page that entries may fill.
const ROOM: usize = PAGE_BYTES - PAGE_HEADER_BYTES;
/// How full leaves are made that come one behind the other: a few rows that come later still fit.
const FILL: usize = ROOM - ROOM / 16;
/// A page below this is poured into its right neighbour.
const SMALL: usize = ROOM / 3;

/// A sorted run's next row: its key, and the new value or `None` for a deletion.
pub(crate) type Op = (Vec<u8>, Option<Slice>);

/// Turns a value that is too long for a leaf into a run: `(stored bytes, codec number)`.
pub(crate) type Squeeze<'a> = &'a mut dyn FnMut(&Slice) -> (Option<Vec<u8>>, u8);

/// Merges `ops`, whose keys grow, into the tree at `root`, until `writer` has written about `pages_max` pages:
/// then the rest stays in `ops`.
///
/// # Errors
/// `Corrupt` when an old page is broken, `Unavailable` when the disk refuses, or what `ops` returns.
pub(crate) fn apply<I: Iterator<Item = KernelResult<Op>>>(
    pager: &Pager,
    writer: &mut PageWriter,
    root: TreeRoot,
    ops: &mut Peekable<I>,
    squeeze: Squeeze<'_>,
    pages_max: u64,
) -> KernelResult<TreeRoot> {
    let mut merge = Merge { pager, writer, ops, squeeze, pages_max, rows: root.rows, last: None };
    if merge.next_key()?.is_none() {
        return Ok(root);
    }
    let mut builder = Builder::new(root.height.saturating_sub(1));
    builder.begin(&[]);
    let mut level = builder.level;
    match root.height {
        0 => merge.pour(Vec::new(), None, &mut builder)?,
        1 => {
            let old = merge.take_page(root.page, 0)?;
            merge.pour(old, None, &mut builder)?;
        }
        _ => {
            for entry in merge.rewrite(root.page, level, &[], None)? {
                builder.push(entry, merge.writer)?;
            }
        }
    }
    let mut top = builder.finish(merge.writer)?;
    while 1 < top.len() {
        level += 1;
        let mut builder = Builder::new(level);
        builder.begin(&[]);
        for entry in top {
            builder.push(entry, merge.writer)?;
        }
        top = builder.finish(merge.writer)?;
    }
    let rows = merge.rows;
    let Some(Entry::Child(_, mut page)) = top.pop() else { return Ok(TreeRoot::EMPTY) };
    let mut height = level + 1;
    // A root with a single child is no root: the child is. The page may still be in the writer's hands.
    merge.writer.flush()?;
    while 1 < height {
        let bytes = pager.page(page, height - 1)?;
        if 1 < node::count(&bytes) {
            break;
        }
        merge.writer.free(page.page, 1);
        page = node::child(&bytes, 0);
        height -= 1;
    }
    assert!(height <= TREE_HEIGHT_MAX, "a tree of height {height}");
    Ok(TreeRoot { page, height, rows })
}

struct Merge<'m, I: Iterator<Item = KernelResult<Op>>> {
    pager: &'m Pager,
    writer: &'m mut PageWriter,
    ops: &'m mut Peekable<I>,
    squeeze: Squeeze<'m>,
    pages_max: u64,
    rows: u64,
    /// The last key taken, to see that keys grow.
    last: Option<Vec<u8>>,
}

impl<I: Iterator<Item = KernelResult<Op>>> Merge<'_, I> {
    /// The run's next key, if it is still to be merged.
    fn next_key(&mut self) -> KernelResult<Option<&[u8]>> {
        if self.pages_max <= self.writer.pages_written {
            return Ok(None);
        }
        if self.ops.peek().is_some_and(|op| op.is_err()) {
            self.ops.next().expect("just seen")?;
        }
        Ok(self.ops.peek().and_then(|op| op.as_ref().ok()).map(|(key, _)| key.as_slice()))
    }

    /// Whether the run has rows left before `end`.
    fn has_before(&mut self, end: Option<&[u8]>) -> KernelResult<bool> {
        let next = self.next_key()?;
        Ok(next.is_some_and(|key| end.is_none_or(|end| key < end)))
    }

    /// The entries of a page that the new tree will not use.
    fn take_page(&mut self, at: PageRef, level: u8) -> KernelResult<Vec<Entry>> {
        let page = self.pager.page(at, level)?;
        self.writer.free(at.page, 1);
        node::entries(&page)
    }

    /// The children of an inner page that the new tree will not use. The first child's separator
    /// becomes the page's own: a row before it would be looked for there, and now may be put there.
    fn children_of(
        &mut self,
        at: PageRef,
        level: u8,
        separator: &[u8],
    ) -> KernelResult<Vec<Entry>> {
        let mut children = self.take_page(at, level)?;
        if let Some(Entry::Child(first, _)) = children.first_mut() {
            *first = separator.into();
        }
        Ok(children)
    }

    /// The new entries of the inner page `at`, which holds keys from `separator` to before `end`.
    fn rewrite(
        &mut self,
        at: PageRef,
        level: u8,
        separator: &[u8],
        end: Option<&[u8]>,
    ) -> KernelResult<Vec<Entry>> {
        let children = self.children_of(at, level, separator)?;
        let mut builder = Builder::new(level - 1);
        for (index, entry) in children.iter().enumerate() {
            let Entry::Child(separator, child) = entry else {
                return Err(KernelError::invalid("an inner page holds children"));
            };
            let child_end = children.get(index + 1).map(Entry::key).or(end);
            let touched = self.has_before(child_end)?;
            if !touched && !builder.is_small() {
                builder.seal(self.writer)?;
                builder.done.push(entry.clone());
                continue;
            }
            if builder.entries.is_empty() {
                builder.begin(separator);
            }
            if level == 1 {
                let old = self.take_page(*child, 0)?;
                self.pour(old, child_end, &mut builder)?;
            } else {
                let inner = match touched {
                    true => self.rewrite(*child, level - 1, separator, child_end)?,
                    false => self.children_of(*child, level - 1, separator)?,
                };
                for entry in inner {
                    builder.push(entry, self.writer)?;
                }
            }
            if !builder.is_small() {
                builder.seal(self.writer)?;
            }
        }
        builder.finish(self.writer)
    }

    /// Merges a leaf's old rows with the run's rows before `end` into `builder`.
    fn pour(&mut self, old: Vec<Entry>, end: Option<&[u8]>, to: &mut Builder) -> KernelResult<()> {
        for entry in old {
            while self.has_before(Some(entry.key()))? {
                self.insert(to)?;
            }
            if self.next_key()?.is_none_or(|key| key != entry.key()) {
                to.push(entry, self.writer)?;
                continue;
            }
            if let Entry::Row(_, Stored::Run(run)) = entry {
                self.writer.free(run.page, run.pages());
            }
            self.rows -= 1;
            self.insert(to)?;
        }
        while self.has_before(end)? {
            self.insert(to)?;
        }
        Ok(())
    }

    /// Moves the run's next row into `builder`.
    fn insert(&mut self, builder: &mut Builder) -> KernelResult<()> {
        let (key, value) = self.ops.next().expect("the caller looked")?;
        if self.last.as_ref().is_some_and(|last| key <= *last) {
            let text = format!("the key {} does not follow the one before", key.escape_ascii());
            return Err(KernelError::Invalid(text));
        }
        self.last.get_or_insert_default().clone_from(&key);
        let Some(value) = value else { return Ok(()) };
        self.rows += 1;
        let stored = if value.len() <= INLINE_BYTES_MAX {
            Stored::Inline(value)
        } else {
            let (squeezed, codec) = (self.squeeze)(&value);
            let bytes = squeezed.as_deref().unwrap_or(&value);
            Stored::Run(self.writer.write_run(bytes, value.len(), codec)?)
        };
        builder.push(Entry::Row(key.into(), stored), self.writer)
    }
}

/// Cuts a stream of growing entries of one level into pages.
struct Builder {
    level: u8,
    /// At most about two pages' worth.
    entries: Vec<Entry>,
    /// Sum of the entries' bytes, nothing shared.
    bytes: usize,
    /// The separator that the next page gets.
    lower: Key,
    /// Pages written, as entries of the level above.
    done: Vec<Entry>,
}

impl Builder {
    fn new(level: u8) -> Builder {
        Builder { level, entries: Vec::new(), bytes: 0, lower: Key::new(), done: Vec::new() }
    }

    /// What is pushed next lies at or behind `separator`, and everything before it is in pages.
    fn begin(&mut self, separator: &[u8]) {
        assert!(self.entries.is_empty(), "entries of an earlier page are still pending");
        self.lower = separator.into();
    }

    /// Whether pending entries would make a page that is too small to stand alone.
    fn is_small(&self) -> bool {
        !self.entries.is_empty() && self.size(0, self.entries.len(), self.bytes) < SMALL
    }

    /// Bytes that `entries[from..to]`, of `bytes` bytes unshared, take in a page.
    fn size(&self, from: usize, to: usize, bytes: usize) -> usize {
        let prefix = node::shared(self.entries[from].key(), self.entries[to - 1].key());
        bytes - prefix * (to - from - 1)
    }

    fn push(&mut self, entry: Entry, writer: &mut PageWriter) -> KernelResult<()> {
        self.bytes += entry.bytes();
        self.entries.push(entry);
        // Beyond two pages even with everything shared: the first page is safe to write.
        if 2 * ROOM < self.size(0, self.entries.len(), self.bytes) {
            self.write_first(if self.level == 0 { FILL } else { ROOM }, writer)?;
        }
        Ok(())
    }

    /// Writes a page of the first entries: as many as fit `room` bytes, and at least one.
    fn write_first(&mut self, room: usize, writer: &mut PageWriter) -> KernelResult<()> {
        let (mut count, mut bytes) = (1, self.entries[0].bytes());
        while count < self.entries.len() {
            let more = bytes + self.entries[count].bytes();
            if room < self.size(0, count + 1, more) {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        let page = writer.write_page(node::build(self.level, &self.entries[..count]))?;
        let next = self.entries.get(count).map(|next| {
            let shared = node::shared(self.entries[count - 1].key(), next.key());
            // The shortest key behind the page's last and not behind the next page's first. An inner
            // page's separator must stay as it is: its first child's keys may begin right there.
            let len = if self.level == 0 { shared + 1 } else { next.key().len() };
            Key::from_slice(&next.key()[..len])
        });
        let lower = std::mem::replace(&mut self.lower, next.unwrap_or_default());
        self.done.push(Entry::Child(lower, page));
        self.entries.drain(..count);
        self.bytes -= bytes;
        Ok(())
    }

    /// Writes everything that is pending; two pages share evenly.
    fn seal(&mut self, writer: &mut PageWriter) -> KernelResult<()> {
        while !self.entries.is_empty() {
            let total = self.size(0, self.entries.len(), self.bytes);
            let room = if ROOM < total && total < 2 * ROOM { total / 2 } else { ROOM };
            self.write_first(room, writer)?;
        }
        Ok(())
    }

    /// Writes everything that is pending and returns the pages.
    fn finish(mut self, writer: &mut PageWriter) -> KernelResult<Vec<Entry>> {
        self.seal(writer)?;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{Tree, TreeCursor};
    use super::*;
    use crate::kernel_api::KeyRange;
    use crate::page::BlockCache;
    use crate::page::meta::META_PAGES;
    use crate::page::space::Space;
    use crate::vfs::{DiskVfs, OpenMode, Vfs};
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    type Run = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn rows(pager: &Arc<Pager>, root: TreeRoot, reverse: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cursor = TreeCursor::new(pager.clone(), root, KeyRange::all(), reverse);
        let mut rows = Vec::new();
        while let Some((key, stored)) = cursor.next().unwrap() {
            rows.push((key, value(pager, stored)));
        }
        rows
    }

    fn value(pager: &Pager, stored: Stored) -> Vec<u8> {
        match stored {
            Stored::Inline(value) => value.to_vec(),
            Stored::Run(run) => pager.run(&run).unwrap().to_vec(),
        }
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        let key = vec(0u8..4, 0..6).prop_map(|key| key.repeat(20));
        let value = prop_oneof![
            3 => vec(any::<u8>(), 0..60).prop_map(Some),
            1 => (1000usize..9000).prop_map(|len| Some(vec![7; len])),
            2 => Just(None),
        ];
        vec(btree_map(key, value, 0..150), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn merging_runs_is_inserting_their_rows(runs in runs()) {
            let dir = tempfile::tempdir().unwrap();
            let file = DiskVfs::new(dir.path()).open("data", OpenMode::Create).unwrap();
            let pager = Arc::new(Pager::new(file, Arc::new(BlockCache::new(1 << 20))));
            let mut writer = PageWriter::new(pager.clone(), Space::new(META_PAGES), 1);
            let (mut root, mut model) = (TreeRoot::EMPTY, BTreeMap::new());
            for run in runs {
                let op = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| Ok((key.clone(), value.clone().map(Slice::from)));
                let ops: Vec<_> = run.iter().map(op).collect();
                let mut ops = ops.into_iter().peekable();
                root = apply(&pager, &mut writer, root, &mut ops, &mut |_| (None, 0), u64::MAX).unwrap();
                writer.flush().unwrap();
                for (key, value) in run {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
                prop_assert_eq!(root.rows, model.len() as u64);
                let expected: Vec<_> = model.clone().into_iter().collect();
                prop_assert_eq!(rows(&pager, root, false), expected.clone());
                let mut backwards = rows(&pager, root, true);
                backwards.reverse();
                prop_assert_eq!(backwards, expected);
                let tree = Tree::new(root);
                for (key, expected) in &model {
                    let found = tree.get(&pager, key).unwrap().map(|stored| value(&pager, stored));
                    prop_assert_eq!(found.as_ref(), Some(expected));
                }
            }
        }
    }
}
