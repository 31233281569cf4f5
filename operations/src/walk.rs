//! Reads everything that a held checkpoint reaches, and says what is wrong with it.
//!
//! Every page that a root reaches is read past the cache. Its checksum, its own number, whose rows it
//! says it has, the checkpoint it says it is from, its level, the order of its keys, its place between its
//! parent's separators, and the tree's count of rows are checked. Large values and segment blocks are read
//! and their checksums compared. Every page of the file must be reached once or be free.
//!
//! A broken page is reported, and the walk goes on beside it. [`check`](crate::check) is this walk;
//! [`backup`](crate::backup) is this walk with somebody who copies what it has read.

use crate::check::CheckReport;
use crate::progress::{Meter, OnProgress};
use sochdb_kernel::inspect::{
    CATALOG, DATA_FILE, Held, META_PAGES, NO_FREE_LIST, PageRef, RunRef, Segment, Stored, TreeRoot,
    load_catalog, node, offset, origin,
};
use sochdb_kernel::limits::{KEY_BYTES_MAX, PAGE_BYTES};
use sochdb_kernel::{KernelError, KernelResult, TableId, TableInfo};
use std::collections::BTreeMap;
use std::ops::Range;

/// Takes verified bytes of the data file: where they begin, and the bytes.
pub(crate) type Copy<'a> = &'a mut dyn FnMut(u64, &[u8]) -> KernelResult<()>;

/// One walk over a held checkpoint.
pub(crate) struct Walk<'a, 'p> {
    held: &'a Held,
    copy: Copy<'a>,
    pub report: CheckReport,
    pub meter: Meter<'p>,
    claimed: PageSet,
    codecs: usize,
    deep: bool,
}

impl<'a, 'p> Walk<'a, 'p> {
    /// A walk over `held` that hands what it reads on to `copy`.
    /// If `deep`, large values are also restored from their codec.
    pub fn new(
        held: &'a Held,
        deep: bool,
        copy: Copy<'a>,
        callback: OnProgress<'p>,
    ) -> Walk<'a, 'p> {
        let total = offset(held.meta.pages) + (held.log_end - held.meta.lsn);
        let mut claimed = PageSet::new(held.meta.pages);
        claimed.extend(0..META_PAGES);
        Walk {
            held,
            copy,
            report: CheckReport::default(),
            meter: Meter::new(total, callback),
            claimed,
            codecs: held.access().codecs.rows().len(),
            deep,
        }
    }

    /// Walks everything. Returns the tables that the catalog names.
    ///
    /// # Errors
    /// What the copy returns. What is broken is part of the report.
    pub fn run(&mut self) -> KernelResult<BTreeMap<TableId, TableInfo>> {
        let held = self.held;
        self.meter.begin("the catalog");
        self.tree(CATALOG, held.meta.catalog)?;
        // The catalog's rows are not the user's.
        self.report.rows = 0;
        let tables = self.tables();
        for (id, base) in &held.bases {
            match tables.get(id) {
                Some(info) => self.meter.begin(format!("table '{}'", info.name)),
                None => self.meter.begin(format!("table {id}")),
            }
            self.tree(*id, base.tree)?;
            for meta in &base.segments {
                self.segment(&Segment::new(meta.clone(), held.access().clone()))?;
            }
        }
        self.meter.begin("free pages");
        self.free_pages()?;
        Ok(tables)
    }

    /// The tables that the catalog names. A base must fit its table, if that is there yet: a bulk load
    /// makes the base first.
    fn tables(&mut self) -> BTreeMap<TableId, TableInfo> {
        let held = self.held;
        let loaded = match load_catalog(&held.access().pager, held.meta.catalog) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.report.add(error);
                return BTreeMap::new();
            }
        };
        let tables: BTreeMap<_, _> =
            loaded.tables.into_iter().map(|info| (info.id, info)).collect();
        for (id, base) in &held.bases {
            let fits = match tables.get(id).map(|info| &info.options.storage) {
                None => true,
                Some(None) => base.segments.is_empty(),
                Some(Some(_)) => base.tree == TreeRoot::EMPTY,
            };
            if !fits || held.meta.timestamp < base.flushed.0 {
                let newest = held.meta.timestamp;
                let expected = format!("table {id} with a base that fits it, at most of {newest}");
                let found = format!("{:?} with {base:?}", tables.get(id));
                self.problem(held.meta.catalog.page.page, &expected, &found);
            }
        }
        tables
    }

    fn problem(&mut self, page: u64, expected: &str, found: &str) {
        let expected = format!("{expected} ({})", self.meter.what());
        self.report.add(KernelError::corrupt(DATA_FILE, offset(page), expected, found));
    }

    /// Lays claim to pages; whether nobody had before, so that they are worth a look.
    fn claim(&mut self, start: u64, len: u64) -> bool {
        for page in start..start.saturating_add(len) {
            match self.claimed.insert(page) {
                Some(true) => {}
                Some(false) => {
                    self.problem(page, "one use of each page", "a second one");
                    return false;
                }
                None => {
                    self.problem(page, "a page inside the file", "one behind it");
                    return false;
                }
            }
        }
        self.meter.add(len * PAGE_BYTES as u64);
        true
    }

    fn tree(&mut self, table: TableId, root: TreeRoot) -> KernelResult<()> {
        if root.height == 0 {
            return Ok(());
        }
        let (rows, problems) = (self.report.rows, self.report.found());
        let newest = self.held.meta.sequence;
        self.node(table, root.page, (root.height - 1, newest), (None, None))?;
        let rows = self.report.rows - rows;
        if rows != root.rows && self.report.found() == problems {
            self.problem(root.page.page, &format!("{} rows", root.rows), &format!("{rows}"));
        }
        Ok(())
    }

    /// Walks the page `at` and what is below it. `level` is what it must have, `newest` the checkpoint of
    /// its parent, and all its keys must lie from `low` to before `high`.
    fn node(
        &mut self,
        table: TableId,
        at: PageRef,
        (level, newest): (u8, u64),
        (low, high): (Option<&[u8]>, Option<&[u8]>),
    ) -> KernelResult<()> {
        self.meter.check()?;
        if !self.claim(at.page, 1) {
            return Ok(());
        }
        let page = match self.held.access().pager.load_page(at) {
            Ok(page) => page,
            Err(error) => {
                self.report.add(error);
                return Ok(());
            }
        };
        self.report.pages += 1;
        (self.copy)(offset(at.page), &page)?;
        if page[5] != level {
            self.problem(at.page, &format!("level {level}"), &format!("{}", page[5]));
            return Ok(());
        }
        let (owner, sequence) = origin(&page);
        if owner != table {
            let expected = format!("a page of table {table}");
            self.problem(at.page, &expected, &format!("one of table {owner}"));
        }
        if newest < sequence {
            let expected = format!("a page from checkpoint {newest} or before");
            self.problem(at.page, &expected, &format!("one from {sequence}"));
        }
        let keys: Vec<Vec<u8>> = (0..node::count(&page)).map(|i| node::key(&page, i)).collect();
        if let Some(wrong) = wrong_keys(&keys, level, low, high) {
            self.problem(at.page, "growing keys between the page's separators", wrong);
        }
        for index in 0..keys.len() {
            if 0 < level {
                let low = if index == 0 { low } else { Some(keys[index].as_slice()) };
                let high = keys.get(index + 1).map(Vec::as_slice).or(high);
                let child = node::child(&page, index);
                self.node(table, child, (level - 1, sequence), (low, high))?;
                continue;
            }
            self.report.rows += 1;
            match node::stored(&page, index) {
                Ok(Stored::Inline(_)) => {}
                Ok(Stored::Run(run)) => self.run_of_pages(&run)?,
                Err(error) => self.report.add(error),
            }
        }
        Ok(())
    }

    /// A large value, a segment's index, or the free list.
    fn run_of_pages(&mut self, run: &RunRef) -> KernelResult<()> {
        if !self.claim(run.page, run.pages()) {
            return Ok(());
        }
        self.report.pages += run.pages();
        self.codec(run.page, run.codec);
        if run.codec == 0 && run.stored != run.raw {
            self.problem(run.page, &format!("{} bytes", run.raw), &format!("{}", run.stored));
        } else if run.codec != 0 && self.deep {
            self.report.problems_of(self.held.access().value(Stored::Run(*run)));
        }
        match self.held.access().pager.run(run) {
            Ok(bytes) => (self.copy)(offset(run.page), &bytes),
            Err(error) => {
                self.report.add(error);
                Ok(())
            }
        }
    }

    fn codec(&mut self, page: u64, number: u8) {
        if self.codecs < usize::from(number) {
            let expected = format!("a codec's number up to {}", self.codecs);
            self.problem(page, &expected, &format!("{number}"));
        }
    }

    fn segment(&mut self, segment: &Segment) -> KernelResult<()> {
        self.report.segments += 1;
        let problems = self.report.found();
        self.run_of_pages(&segment.meta.index)?;
        let (pages, blocks) = match segment.pages().and_then(|p| segment.blocks().map(|b| (p, b))) {
            Ok(both) => both,
            Err(error) => {
                if self.report.found() == problems {
                    self.report.add(error);
                }
                return Ok(());
            }
        };
        let index = (segment.meta.index.page, segment.meta.index.pages());
        let extents: Vec<_> = pages.into_iter().filter(|extent| *extent != index).collect();
        for &(start, len) in &extents {
            self.claim(start, len);
            self.report.pages += len;
        }
        for block in blocks {
            let end = block.at.saturating_add(u64::from(block.stored));
            let inside = |&&(start, len): &&(u64, u64)| {
                offset(start) <= block.at && end <= offset(start.saturating_add(len))
            };
            let page = block.at / PAGE_BYTES as u64;
            if !extents.iter().any(|extent| inside(&extent)) {
                self.problem(page, "a block inside its segment's pages", &format!("{block:?}"));
                continue;
            }
            self.codec(page, block.codec);
            match self.held.access().pager.bytes(block.at, block.stored, block.crc) {
                Ok(bytes) => (self.copy)(block.at, &bytes)?,
                Err(error) => self.report.add(error),
            }
        }
        Ok(())
    }

    fn free_pages(&mut self) -> KernelResult<()> {
        let held = self.held;
        if held.meta.free_list != NO_FREE_LIST {
            self.run_of_pages(&held.meta.free_list)?;
        }
        for &(start, len) in &held.free {
            self.claim(start, len);
            self.report.pages_free += len;
        }
        // Behind a broken page everything would be lost; the broken page is what matters.
        if let (Some(lost), true) = (self.claimed.first_missing(), self.report.is_healthy()) {
            self.problem(lost, &format!("page {lost} in use or free"), "neither");
        }
        Ok(())
    }
}

/// What is wrong with the order of a page's keys, or with their place between `low` and `high`.
fn wrong_keys(
    keys: &[Vec<u8>],
    level: u8,
    low: Option<&[u8]>,
    high: Option<&[u8]>,
) -> Option<&'static str> {
    let (first, last) = (keys.first()?.as_slice(), keys.last()?.as_slice());
    // The first separator of an inner page says nothing: whatever is smaller goes there too.
    if level == 0 && low.is_some_and(|low| first < low) {
        return Some("a key before its separator");
    }
    if high.is_some_and(|high| high <= last) {
        return Some("a key behind the next separator");
    }
    if !keys.windows(2).all(|pair| pair[0] < pair[1]) {
        return Some("keys out of order");
    }
    keys.iter().any(|key| KEY_BYTES_MAX < key.len()).then_some("a key that is too long")
}

/// A set of pages, one bit each.
pub(crate) struct PageSet {
    bits: Vec<u64>,
    pages: u64,
}

impl PageSet {
    /// No page of a file of `pages` pages.
    pub fn new(pages: u64) -> PageSet {
        PageSet { bits: vec![0; usize::try_from(pages.div_ceil(64)).unwrap_or(0)], pages }
    }

    /// Adds pages.
    pub fn extend(&mut self, pages: Range<u64>) {
        for page in pages {
            self.insert(page);
        }
    }

    /// Adds `page`: whether it is new, or `None` when the file is not that long.
    pub fn insert(&mut self, page: u64) -> Option<bool> {
        if self.pages <= page {
            return None;
        }
        let (word, bit) = (self.bits.get_mut((page / 64) as usize)?, 1 << (page % 64));
        let new = *word & bit == 0;
        *word |= bit;
        Some(new)
    }

    /// The first page that is not in the set.
    pub fn first_missing(&self) -> Option<u64> {
        let (index, word) = self.bits.iter().enumerate().find(|(_, word)| **word != u64::MAX)?;
        Some(index as u64 * 64 + u64::from(word.trailing_ones())).filter(|page| *page < self.pages)
    }
}
