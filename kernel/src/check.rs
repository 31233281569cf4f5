//! Walks everything on disk and says exactly what is wrong.
//!
//! Every page that a root reaches is read past the cache and its checksum, order of keys, separators and
//! counts are checked; every large value and segment block is read; every page of the file must be
//! reached once or be free; the log must parse to its end. Commits wait while the log is read.

use crate::engine::Kernel;
use crate::error::{KernelError, KernelResult};
use crate::page::meta::META_PAGES;
use crate::page::{DATA_FILE, PageRef, Pager, offset};
use crate::segment::Segment;
use crate::tree::TreeRoot;
use crate::tree::node::{self, Stored};
use crate::vfs::OpenMode;
use crate::wal::reader;

/// What [`Kernel::check`] found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Tree pages and runs that are in use and were read.
    pub pages: u64,
    /// Pages that are free, or will be once no reader needs them.
    pub pages_free: u64,
    /// Rows in trees.
    pub rows: u64,
    /// Segments read.
    pub segments: u64,
    /// Log records read.
    pub log_records: u64,
    /// Everything that is wrong; empty for a healthy database.
    pub problems: Vec<KernelError>,
}

struct Walk<'a> {
    pager: &'a Pager,
    report: CheckReport,
    /// For each page, whether something has laid claim to it.
    claimed: Vec<bool>,
}

impl Kernel {
    /// Reads the whole database and reports every problem.
    ///
    /// # Errors
    /// `Closed`, or `Unavailable` when the log cannot be read at all. What is broken is no error here but
    /// part of the report.
    pub fn check(&self) -> KernelResult<CheckReport> {
        let inner = &self.inner;
        inner.check_open()?;
        let state = inner.checkpoint.lock();
        let pages = usize::try_from(state.space.pages).unwrap_or(usize::MAX);
        let mut claimed = vec![false; pages];
        claimed.iter_mut().take(META_PAGES as usize).for_each(|page| *page = true);
        let pager = &inner.access.pager;
        let mut walk = Walk { pager, report: CheckReport::default(), claimed };
        walk.tree("the catalog", state.meta.catalog);
        for (id, base) in &state.bases {
            walk.tree(&format!("table {id}"), base.tree);
            for meta in &base.segments {
                walk.segment(&Segment::new(meta.clone(), inner.access.clone()));
            }
        }
        let free_list = &state.meta.free_list;
        walk.claim(free_list.page, free_list.pages());
        walk.report.problems.extend(pager.run(free_list).err());
        for (start, len) in state.space.extents() {
            walk.claim(start, len);
            walk.report.pages_free += len;
        }
        if let Some(lost) = walk.claimed.iter().position(|claimed| !claimed) {
            let expected = format!("page {lost} in use or free");
            walk.problem(lost as u64, &expected, "neither");
        }
        let mut report = walk.report;
        let commit = inner.commit.lock();
        let (end, _) = inner.wal.ends();
        inner.wal.wait(end, false)?;
        let vfs = &*inner.env.vfs;
        let count = &mut report.log_records;
        let tail =
            reader::read(vfs, inner.database, state.meta.lsn, OpenMode::Read, &mut |_, _, _| {
                *count += 1;
                Ok(())
            });
        drop(commit);
        match tail {
            Ok(tail) if tail.end == end => {}
            Ok(tail) => report.problems.push(KernelError::corrupt(
                crate::wal::WAL_DIR,
                tail.end,
                format!("log up to {end}"),
                "a frame that fails its checks",
            )),
            Err(error) => report.problems.push(error),
        }
        Ok(report)
    }
}

impl Walk<'_> {
    fn problem(&mut self, page: u64, expected: &str, found: &str) {
        self.report.problems.push(KernelError::corrupt(DATA_FILE, offset(page), expected, found));
    }

    fn claim(&mut self, start: u64, len: u64) {
        for page in start..start.saturating_add(len) {
            match self.claimed.get_mut(page as usize) {
                Some(claimed) if !*claimed => *claimed = true,
                Some(_) => self.problem(page, "one use of each page", "a second one"),
                None => return self.problem(page, "a page inside the file", "one behind it"),
            }
        }
    }

    fn segment(&mut self, segment: &Segment) {
        let pages = segment.pages().unwrap_or_else(|error| {
            self.report.problems.push(error);
            Vec::new()
        });
        pages.iter().for_each(|&(start, len)| self.claim(start, len));
        self.report.pages += pages.iter().map(|(_, len)| len).sum::<u64>();
        self.report.segments += 1;
        self.report.problems.extend(segment.check().err());
    }

    fn tree(&mut self, what: &str, root: TreeRoot) {
        if root.height == 0 {
            return;
        }
        let before = self.report.rows;
        self.node(root.page, root.height - 1, None, None);
        let rows = self.report.rows - before;
        if rows != root.rows && self.report.problems.is_empty() {
            self.problem(
                root.page.page,
                &format!("{} rows in {what}", root.rows),
                &format!("{rows}"),
            );
        }
    }

    fn node(&mut self, at: PageRef, level: u8, low: Option<&[u8]>, high: Option<&[u8]>) {
        self.claim(at.page, 1);
        let page = match self.pager.load_page(at) {
            Ok(page) if page[5] == level => page,
            Ok(page) => {
                return self.problem(at.page, &format!("level {level}"), &format!("{}", page[5]));
            }
            Err(error) => return self.report.problems.push(error),
        };
        self.report.pages += 1;
        let keys: Vec<Vec<u8>> =
            (0..node::count(&page)).map(|index| node::key(&page, index)).collect();
        let grows = keys.windows(2).all(|pair| pair[0] < pair[1]);
        // The first separator of an inner page says nothing: whatever is smaller goes there too.
        let first_is_inside = 0 < level || keys.first().map(Vec::as_slice) >= low || low.is_none();
        let last_is_inside =
            high.is_none_or(|high| keys.last().is_none_or(|key| key.as_slice() < high));
        if !grows || !first_is_inside || !last_is_inside {
            self.problem(at.page, "growing keys between the page's separators", "others");
        }
        for index in 0..keys.len() {
            if 0 < level {
                let low = if index == 0 { low } else { Some(keys[index].as_slice()) };
                let high = keys.get(index + 1).map(Vec::as_slice).or(high);
                self.node(node::child(&page, index), level - 1, low, high);
                continue;
            }
            self.report.rows += 1;
            match node::stored(&page, index) {
                Ok(Stored::Inline(_)) => {}
                Ok(Stored::Run(run)) => {
                    self.claim(run.page, run.pages());
                    self.report.pages += run.pages();
                    self.report.problems.extend(self.pager.run(&run).err());
                }
                Err(error) => self.report.problems.push(error),
            }
        }
    }
}
