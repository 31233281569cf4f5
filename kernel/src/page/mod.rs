//! Fixed-size pages of the data file, and the cache in front of them.
//!
//! `data.soch` is an array of pages of 4,096 bytes. Pages 0 and 1 are the two meta pages (see
//! [`meta`]); all others are tree pages or runs of plain bytes. Every tree page begins with:
//!
//! | offset | size | type | field    | meaning                                               |
//! |-------:|-----:|------|----------|-------------------------------------------------------|
//! |      0 |    4 | u32  | `crc`    | CRC-32C of the other 4,092 bytes                      |
//! |      4 |    1 | u8   | `kind`   | 1 leaf, 2 inner                                       |
//! |      5 |    1 | u8   | `level`  | 0 for a leaf, one more than its children otherwise    |
//! |      6 |    2 | u16  | `count`  | entries                                               |
//! |      8 |    8 | u64  | `page`   | the page's own number                                 |
//! |     16 |    2 | u16  | `prefix` | bytes that all keys of the page share                 |
//! |     18 |    2 | u16  | `cells`  | offset of the lowest cell                             |
//! |     20 |    4 | u32  | `table`  | the table whose rows these are, 0 for the catalog     |
//! |     24 |    8 | u64  | `sequence` | the checkpoint that wrote it                        |
//!
//! What follows is the tree's ([`crate::tree`]). A *run* is one or more consecutive pages of plain
//! bytes: a large value, or the free list. `table` and `sequence` are for repair: a page that nothing
//! points to any more still says whose rows it has, and which of two such pages is the newer.
//!
//! Invariants:
//! 1. A page is never changed while a root that can reach it may be used: new content goes to free pages.
//! 2. Whoever points to a page or run also holds its checksum ([`PageRef`], [`RunRef`]). So a lost, torn
//!    or misdirected write is noticed at the next read.
//! 3. A cache entry is never stale: whoever writes a page puts it in, whoever writes a run or a block
//!    takes out what was cached there under the same checksum.

pub mod meta;
pub mod space;

use crate::error::{KernelError, KernelResult};
use crate::kernel_api::TableId;
use crate::limits::{CODECS_MAX, PAGE_BYTES};
use crate::vfs::VfsFile;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sochdb_encoding::codec;
use sochdb_encoding::wire_structs;
use std::sync::Arc;

/// The data file's name.
pub const DATA_FILE: &str = "data.soch";
/// Where a tree page's own content begins.
pub const PAGE_HEADER_BYTES: usize = 32;
const _: () = assert!(PAGE_HEADER_BYTES == 4 + 1 + 1 + 2 + 8 + 2 + 2 + 4 + 8, "the table says 32");
const _: () = assert!(CODECS_MAX <= u8::MAX as usize, "a run stores its codec in one byte");

wire_structs! {
    /// Points to a tree page and says what is in it.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct PageRef {
        /// The page's number.
        pub page: u64,
        /// Its checksum.
        pub crc: u32,
    }

    /// Points to a run of pages: `stored` bytes from page `page` on, which are `raw` bytes once the codec
    /// numbered `codec` (0: none) has restored them. `crc` is of the stored bytes, the last four first.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RunRef {
        /// The first page's number.
        pub page: u64,
        /// Bytes in the file.
        pub stored: u32,
        /// Bytes once restored.
        pub raw: u32,
        /// Checksum of the stored bytes.
        pub crc: u32,
        /// The codec's number.
        pub codec: u8,
    }
}

pub const RUN_REF_BYTES: usize = 8 + 4 + 4 + 4 + 1;

impl PageRef {
    /// Its name in the cache.
    pub fn cache_key(&self) -> CacheKey {
        CacheKey { at: offset(self.page), crc: self.crc }
    }
}

impl RunRef {
    /// What points to `stored`, written at `page`.
    pub fn new(page: u64, stored: &[u8], raw: usize, codec: u8) -> RunRef {
        let small = |len: usize| u32::try_from(len).expect("runs are bounded far below 4 GiB");
        let crc = codec::tail_first_crc(stored);
        RunRef { page, stored: small(stored.len()), raw: small(raw), crc, codec }
    }

    /// How many pages the run takes.
    pub fn pages(&self) -> u64 {
        pages_for(self.stored as usize)
    }
}

/// How many pages hold `bytes` bytes.
pub fn pages_for(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_BYTES) as u64
}

/// Names bytes of the data file by where they begin and their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey {
    pub at: u64,
    pub crc: u32,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<CacheKey, Arc<[u8]>> for ByBytes {
    fn weight(&self, _key: &CacheKey, bytes: &Arc<[u8]>) -> u64 {
        bytes.len() as u64 + 96
    }
}

/// The cache that pages, runs and segment blocks share, bounded by bytes.
pub struct BlockCache {
    cache: Cache<CacheKey, Arc<[u8]>, ByBytes>,
}

impl BlockCache {
    /// A cache that holds at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> BlockCache {
        let entries = (bytes_max / PAGE_BYTES).max(16);
        BlockCache { cache: Cache::with_weighter(entries, bytes_max as u64, ByBytes) }
    }

    /// What `key` names, from the cache or else from `load`.
    ///
    /// # Errors
    /// What `load` returns.
    pub fn get_or(
        &self,
        key: CacheKey,
        load: impl FnOnce() -> KernelResult<Arc<[u8]>>,
    ) -> KernelResult<Arc<[u8]>> {
        let keep = |bytes: &Arc<[u8]>| self.insert(key, bytes.clone());
        self.cache.get(&key).map_or_else(|| load().inspect(keep), Ok)
    }

    /// Adds what `key` names.
    pub fn insert(&self, key: CacheKey, bytes: Arc<[u8]>) {
        self.cache.insert(key, bytes);
    }

    /// Other bytes are being written at byte `at`, which may have the same checksum.
    pub fn forget(&self, at: u64, crc: u32) {
        self.cache.remove(&CacheKey { at, crc });
    }

    /// Hits, misses, and bytes held.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.cache.hits(), self.cache.misses(), self.cache.weight())
    }
}

/// Reads pages and runs of the data file.
pub struct Pager {
    file: Arc<dyn VfsFile>,
    /// What was read lately.
    pub cache: Arc<BlockCache>,
}

impl Pager {
    /// Reads `file` through `cache`.
    pub fn new(file: Arc<dyn VfsFile>, cache: Arc<BlockCache>) -> Pager {
        Pager { file, cache }
    }

    /// The data file itself.
    pub fn file(&self) -> &dyn VfsFile {
        &*self.file
    }

    /// The tree page that `at` points to, which must be of `level`.
    ///
    /// # Errors
    /// `Corrupt` when the page is not what was written there.
    pub fn page(&self, at: PageRef, level: u8) -> KernelResult<Arc<[u8]>> {
        let page = self.cache.get_or(at.cache_key(), || self.load_page(at))?;
        if page[5] != level {
            let (expected, found) = (format!("level {level}"), format!("level {}", page[5]));
            return Err(KernelError::corrupt(DATA_FILE, offset(at.page) + 5, expected, found));
        }
        Ok(page)
    }

    /// The tree page that `at` points to, of any level, past the cache.
    ///
    /// # Errors
    /// `Corrupt` when the page is not what was written there.
    pub fn load_page(&self, at: PageRef) -> KernelResult<Arc<[u8]>> {
        let mut page: Arc<[u8]> = Arc::new([0; PAGE_BYTES]);
        let bytes = Arc::get_mut(&mut page).expect("nobody else has it yet");
        self.read_exact(offset(at.page), bytes)?;
        check_page(bytes, at)?;
        Ok(page)
    }

    /// The stored bytes of `run`.
    ///
    /// # Errors
    /// `Corrupt` when they are not what was written there.
    pub fn run(&self, run: &RunRef) -> KernelResult<Arc<[u8]>> {
        self.bytes(offset(run.page), run.stored, run.crc)
    }

    /// The `len` bytes from byte `at` on, whose checksum, the last four bytes first, must be `crc`.
    ///
    /// # Errors
    /// `Corrupt` when they are not what was written there.
    pub fn bytes(&self, at: u64, len: u32, crc: u32) -> KernelResult<Arc<[u8]>> {
        let end = self.file.len().map_err(|e| KernelError::io("measure the data file", e))?;
        if end < at.saturating_add(len.into()) {
            let (expected, found) = (format!("{len} bytes"), "the end of the file");
            return Err(KernelError::corrupt(DATA_FILE, at, expected, found));
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len as usize).collect();
        self.read_exact(at, Arc::get_mut(&mut bytes).expect("nobody else has it yet"))?;
        let found = codec::tail_first_crc(&bytes);
        if found != crc {
            let expected = format!("{len} bytes with checksum {crc:#010x}");
            return Err(KernelError::corrupt(DATA_FILE, at, expected, format!("{found:#010x}")));
        }
        Ok(bytes)
    }

    fn read_exact(&self, at: u64, bytes: &mut [u8]) -> KernelResult<()> {
        self.file.read_exact_at(at, bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let expected = format!("{} bytes", bytes.len());
                KernelError::corrupt(DATA_FILE, at, expected, "the end of the file")
            }
            _ => KernelError::io(format!("read {DATA_FILE} at {at}"), error),
        })
    }
}

/// The byte at which `page` begins.
pub fn offset(page: u64) -> u64 {
    page.saturating_mul(PAGE_BYTES as u64)
}

/// Seals a tree page: writes its number, whose it is, and its checksum. Returns what points to it.
pub fn seal_page(bytes: &mut [u8], page: u64, table: TableId, sequence: u64) -> PageRef {
    assert_eq!(bytes.len(), PAGE_BYTES, "a page has {PAGE_BYTES} bytes");
    let table = u32::try_from(table.0).expect("bounded by TABLES_MADE_MAX");
    bytes[8..16].copy_from_slice(&page.to_le_bytes());
    bytes[20..24].copy_from_slice(&table.to_le_bytes());
    bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
    let crc = codec::crc(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    PageRef { page, crc }
}

/// The table whose rows a tree page holds, and the checkpoint that wrote it.
pub fn origin(bytes: &[u8]) -> (TableId, u64) {
    let table = u32::from_le_bytes(bytes[20..24].try_into().expect("4 bytes"));
    (TableId(table.into()), u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes")))
}

/// Whether `bytes` are the sealed page that `at` points to, and are well-formed enough to be walked.
///
/// # Errors
/// `Corrupt` that says what is wrong.
pub fn check_page(bytes: &[u8], at: PageRef) -> KernelResult<()> {
    let wrong = |field: u64, expected: String, found: String| {
        Err(KernelError::corrupt(DATA_FILE, offset(at.page) + field, expected, found))
    };
    let crc = codec::crc(&bytes[4..]);
    let stored = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
    if crc != stored || crc != at.crc {
        return wrong(0, format!("checksum {:#010x}", at.crc), format!("{crc:#010x}"));
    }
    let number = u64::from_le_bytes(bytes[8..16].try_into().expect("8 bytes"));
    if number != at.page {
        return wrong(8, format!("page {}", at.page), format!("page {number}"));
    }
    crate::tree::node::check(bytes)
        .or_else(|what| wrong(4, "a well-formed page".into(), what.into()))
}
