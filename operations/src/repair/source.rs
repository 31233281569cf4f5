//! A data file that may be broken anywhere: read without believing any of it unchecked.
//!
//! Nothing here writes. Every page number, length and checksum comes from bytes that may be anything, so all
//! are checked against the file before they are used.

use crate::progress::Meter;
use sochdb_kernel::inspect::{
    Access, Block, BlockCache, Codecs, DATA_FILE, META_PAGES, Meta, PageRef, Pager, RunRef, Stored,
    check_page, offset,
};
use sochdb_kernel::limits::{PAGE_BYTES, SEGMENT_BLOCK_BYTES, VALUE_BYTES_MAX};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{KernelError, KernelResult, Slice};
use std::io;
use std::sync::Arc;

/// Pages that the salvage reads again soon are kept up to this size.
const CACHE_BYTES: usize = 16 << 20;
/// The file is scanned in pieces of this many pages.
const SCAN_PAGES: usize = 256;

/// The data file of a broken database.
pub(super) struct Source {
    /// The valid records on the two meta pages, newest first.
    pub metas: Vec<Meta>,
    /// Pages that the file has.
    pub pages: u64,
    pager: Arc<Pager>,
    file: Arc<dyn VfsFile>,
}

/// A data file of no bytes, for when there is none.
struct Nothing;

impl VfsFile for Nothing {
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

impl Source {
    /// Opens what there is; a missing file is one without pages.
    ///
    /// # Errors
    /// `Unavailable` when a newer version wrote the file.
    pub fn open(vfs: &dyn Vfs) -> KernelResult<Source> {
        let file = vfs.open(DATA_FILE, OpenMode::Read).unwrap_or_else(|_| Arc::new(Nothing));
        let pages = file.len().unwrap_or(0) / PAGE_BYTES as u64;
        let mut metas = Vec::new();
        for page in 0..META_PAGES {
            let mut bytes = [0; PAGE_BYTES];
            if file.read_exact_at(offset(page), &mut bytes).is_ok() {
                match Meta::decode(&bytes, offset(page)) {
                    Ok(meta) => metas.push(meta),
                    Err(error @ KernelError::Unavailable { .. }) => return Err(error),
                    Err(_) => {}
                }
            }
        }
        metas.sort_by_key(|meta| std::cmp::Reverse(meta.sequence));
        let pager = Arc::new(Pager::new(file.clone(), Arc::new(BlockCache::new(CACHE_BYTES))));
        Ok(Source { metas, pages, pager, file })
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> u64 {
        offset(self.pages)
    }

    /// What reads values and segments, by the codecs with these names.
    pub fn access(&self, codecs: Vec<String>, plugins: Arc<PluginManager>) -> Access {
        let codecs = Arc::new(Codecs::new(codecs, plugins.clone()));
        Access { pager: self.pager.clone(), codecs, plugins }
    }

    /// The tree page that `at` points to, of `level`.
    ///
    /// # Errors
    /// `Corrupt`, or `Unavailable` when the disk cannot read it.
    pub fn page(&self, at: PageRef, level: u8) -> KernelResult<Arc<[u8]>> {
        let page = self.pager.load_page(at)?;
        if page[5] != level {
            let found = format!("level {}", page[5]);
            let expected = format!("level {level}");
            return Err(KernelError::corrupt(DATA_FILE, offset(at.page), expected, found));
        }
        Ok(page)
    }

    /// Whether a run lies inside the file and is no larger than any can be.
    ///
    /// # Errors
    /// `Corrupt` that says what is wrong.
    pub fn check_run(&self, run: &RunRef, bytes_max: usize) -> KernelResult<()> {
        let end = run.page.checked_add(run.pages());
        let inside = META_PAGES <= run.page && end.is_some_and(|end| end <= self.pages);
        if inside && run.stored as usize <= bytes_max && run.raw as usize <= bytes_max {
            return Ok(());
        }
        let (at, found) = (offset(run.page), format!("{run:?}"));
        Err(KernelError::corrupt(DATA_FILE, at, "a run of pages inside the file", found))
    }

    /// Whether a segment's block lies inside the file and is no larger than any can be.
    ///
    /// # Errors
    /// `Corrupt` that says what is wrong.
    pub fn check_block(&self, block: &Block) -> KernelResult<()> {
        let end = block.at.checked_add(u64::from(block.stored));
        let inside = end.is_some_and(|end| end <= self.bytes());
        if inside && block.stored as usize <= SEGMENT_BLOCK_BYTES {
            return Ok(());
        }
        let found = format!("{block:?}");
        Err(KernelError::corrupt(DATA_FILE, block.at, "a block inside the file", found))
    }

    /// A row's value as the user wrote it.
    ///
    /// # Errors
    /// `Corrupt`, or the codec's failure.
    pub fn value(&self, access: &Access, stored: Stored) -> KernelResult<Slice> {
        if let Stored::Run(run) = &stored {
            self.check_run(run, VALUE_BYTES_MAX)?;
        }
        access.value(stored)
    }

    /// Hands every page of the file that is a whole tree page, as its own header tells, to `visit`.
    pub fn scan(&self, meter: &mut Meter<'_>, mut visit: impl FnMut(PageRef, &[u8])) {
        let mut buffer = vec![0; SCAN_PAGES * PAGE_BYTES];
        let mut first = 0;
        while first < self.pages {
            let count = (self.pages - first).min(SCAN_PAGES as u64);
            let bytes = &mut buffer[..count as usize * PAGE_BYTES];
            if self.file.read_exact_at(offset(first), bytes).is_err() {
                // One bad sector must not hide its neighbours.
                for (page, bytes) in (first..).zip(bytes.chunks_exact_mut(PAGE_BYTES)) {
                    if self.file.read_exact_at(offset(page), bytes).is_err() {
                        bytes.fill(0);
                    }
                }
            }
            for (page, bytes) in (first..).zip(bytes.chunks_exact(PAGE_BYTES)) {
                let crc = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
                let at = PageRef { page, crc };
                if META_PAGES <= page && check_page(bytes, at).is_ok() {
                    visit(at, bytes);
                }
            }
            first += count;
            meter.add(count * PAGE_BYTES as u64);
        }
    }
}
