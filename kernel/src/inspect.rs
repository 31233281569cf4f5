//! The bytes themselves, for the tools that check, back up and repair a database.
//!
//! Those tools live outside the kernel (crate `sochdb-operations`) and need what no ordinary user does: the
//! formats as the kernel reads them, and a state of the files that stays as it is while they look at it.
//! Nothing here changes a database. The formats may change with any version; only their files are kept
//! readable.

use crate::engine::{Inner, Kernel};
use crate::error::KernelResult;
use crate::kernel_api::TableId;
use crate::vfs::Vfs;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::catalog::{
    CATALOG, CatalogRow, Codecs, Loaded, StoredBase, load as load_catalog, row as catalog_row,
};
pub use crate::mvcc::version::Access;
pub use crate::page::meta::{META_PAGES, Meta, NO_FREE_LIST};
pub use crate::page::{BlockCache, DATA_FILE, PageRef, Pager, RunRef, check_page, offset, origin};
pub use crate::pins::Pin;
pub use crate::recovery::{LOCK_FILE, NEW_DATA_FILE};
pub use crate::segment::{Block, Segment, SegmentMeta};
pub use crate::tree::TreeRoot;
pub use crate::tree::node::{self, Stored};
pub use crate::wal::reader::{Visit, starts as log_starts};
pub use crate::wal::transactions::{Committed, Transactions, WrittenRow};
pub use crate::wal::{ARCHIVE_DIR, FIRST_LSN, WAL_DIR, WalRecord, record, segment_name};

/// The database as its last checkpoint left it, and the log since. Its pages and log are not used again
/// while this lives; commits and checkpoints go on.
pub struct Held {
    inner: Arc<Inner>,
    /// The checkpoint's record.
    pub meta: Meta,
    /// Where each table's checkpointed rows are.
    pub bases: BTreeMap<TableId, StoredBase>,
    /// First page and length of each extent that holds nothing.
    pub free: Vec<(u64, u64)>,
    /// The log holds every commit from `meta.lsn` up to here.
    pub log_end: u64,
    _pins: [Arc<Pin>; 2],
}

impl Kernel {
    /// Holds the present state of the files. Waits for a running checkpoint, and syncs the log.
    ///
    /// # Errors
    /// `Closed`.
    pub fn hold(&self) -> KernelResult<Held> {
        let inner = self.inner.clone();
        inner.check_open()?;
        let mut state = inner.checkpoint.lock();
        let (meta, bases) = (state.meta.clone(), state.bases.clone());
        let free = state.space.extents().collect();
        let pins = [state.pins.pin(meta.sequence), inner.wal.pin(meta.lsn)];
        // Before the lock is given back: what a bulk load commits belongs to the base it made.
        let (log_end, _) = inner.wal.ends();
        drop(state);
        inner.wal.wait(log_end, true)?;
        Ok(Held { inner, meta, bases, free, log_end, _pins: pins })
    }
}

impl Kernel {
    /// The database's directory.
    pub fn vfs(&self) -> &dyn Vfs {
        &*self.inner.env.vfs
    }

    /// Keeps the log from `lsn` on as long as the pin lives; up to where it is on disk.
    ///
    /// # Errors
    /// `Closed`.
    pub fn pin_log(&self, lsn: u64) -> KernelResult<(Arc<Pin>, u64)> {
        self.inner.check_open()?;
        let pin = self.inner.wal.pin(lsn);
        Ok((pin, self.inner.wal.ends().1))
    }
}

impl Held {
    /// Reads pages, runs and segments.
    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    /// The database's directory.
    pub fn vfs(&self) -> &dyn Vfs {
        &*self.inner.env.vfs
    }
}
