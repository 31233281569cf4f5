//! What the kernel asks of extensions, and the registry of those it was given.
//!
//! The kernel has never heard of WebAssembly. It meets extensions through the traits below, at four
//! moments and never between a user's `commit()` and its durability:
//!
//! ```text
//!   checkpoint ── run ──▶ StorageExtension::flush, merge ──▶ segments ── verified ──▶ page flip
//!   read       ── key ──▶ StorageReader           ──▶ row
//!   block      ── raw ──▶ CompressionExtension    ──▶ stored bytes, checked by a round trip
//!   telemetry  ── batch ─▶ ObservabilityExtension
//! ```
//!
//! An extension's answer is a hint until checked: blocks must round-trip before they are written, a
//! flush is read back and compared with its run before the log may be cut.

use crate::error::{KernelError, KernelResult, PluginFault};
use crate::kernel_api::{KeyRange, SegmentId, Slice, TableId};
use parking_lot::RwLock;
pub use sochdb_encoding::compaction::Compaction;
use sochdb_encoding::row::Schema;
pub use sochdb_encoding::select::Selection;
pub use sochdb_telemetry::{Page, TelemetryBatch};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an extension can do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ExtensionCapability {
    /// Turns sorted runs into segments and serves them: [`StorageExtension`].
    Storage,
    /// Takes metrics and logs out: [`ObservabilityExtension`].
    Observability,
    /// Makes blocks smaller: [`CompressionExtension`].
    Compression,
}

/// Who an extension is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionInfo {
    /// Unique among the extensions of one database, such as `lz4`.
    pub name: String,
    /// The extension's own version.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// What it can do.
    pub capabilities: Vec<ExtensionCapability>,
}

/// What every extension has.
pub trait Extension: Send + Sync {
    /// Who this is. Called rarely; may allocate.
    fn info(&self) -> ExtensionInfo;

    /// Called once when the database closes.
    ///
    /// # Errors
    /// Whatever kept the extension from ending well; it is logged, and closing goes on.
    fn shutdown(&self) -> KernelResult<()> {
        Ok(())
    }
}

/// Makes blocks smaller. Its name ([`ExtensionInfo::name`]) is what blocks on disk refer to.
pub trait CompressionExtension: Extension {
    /// Compresses `input`.
    ///
    /// # Errors
    /// Any; the caller then stores the block plain and counts a warning.
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>>;

    /// Restores exactly `raw_bytes` bytes from what [`compress`](Self::compress) made.
    ///
    /// # Errors
    /// When `input` is no block of this codec, or would not give `raw_bytes` bytes.
    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>>;
}

/// Takes telemetry out of the database.
pub trait ObservabilityExtension: Extension {
    /// Takes one batch. Called by a background thread, never by a commit.
    ///
    /// # Errors
    /// Any; the batch is then counted as dropped.
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()>;

    /// What the observer shows when it is asked: in one of the media types of `accept`, as HTTP writes them, if it can.
    ///
    /// # Errors
    /// When the observer cannot answer.
    fn render(&self, accept: &str) -> KernelResult<Page>;
}

/// What a storage or index extension is told of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableContext {
    /// The table's number, never used again after a drop.
    pub id: TableId,
    /// The table's present name.
    pub name: String,
    /// The table's columns, if it is typed.
    pub schema: Option<Schema>,
    /// Whether a codec compresses its segments, block by block.
    pub compressed: bool,
    /// The engine's own settings for this table, as given when the table was created.
    pub options: BTreeMap<String, String>,
}

/// One row of a sorted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's value; `None` says that the key was deleted.
    pub value: Option<Slice>,
}

/// Rows in strictly growing (or, read backwards, strictly falling) order of their keys.
pub trait RunCursor: Send {
    /// The next rows: at most `rows_max`, and no more once `bytes_max` bytes of keys and values are
    /// reached (always at least one row while there are any). An empty answer is the end.
    ///
    /// # Errors
    /// Whatever kept the rows from being read.
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>>;
}

/// Where a storage or index extension writes its segments. Implemented by the kernel.
pub trait SegmentSink: Send + Sync {
    /// Begins a new segment.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>>;
}

/// A segment being written. Dropped before [`seal`](Self::seal), it leaves nothing behind.
pub trait SegmentWrite: Send {
    /// Adds `bytes` at the end and returns the offset at which they begin.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Limit` when the segment would grow too large.
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64>;

    /// Ends the segment. From then on it never changes.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    fn seal(self: Box<Self>) -> KernelResult<SegmentId>;
}

/// A sealed segment, readable by any number of threads at once.
pub trait SegmentRead: Send + Sync {
    /// The segment's number.
    fn id(&self) -> SegmentId;

    /// How many bytes were appended to it.
    fn raw_bytes(&self) -> u64;

    /// Exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `Invalid` outside the segment, `Corrupt` when a block's checksum does not hold.
    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice>;
}

/// A storage engine: pure functions from sorted runs to immutable segments, and reads of those.
///
/// A table's segments are a list, oldest first: a later one hides an earlier one's rows.
pub trait StorageExtension: Extension {
    /// Writes `run` as new segments and returns them, newest last. `present` are the table's segments so far.
    ///
    /// # Errors
    /// Any; nothing is installed, the rows stay in log and memtable, and the flush is tried again.
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>>;

    /// Which of `segments` are worth merging or moving now. A segment that is not chosen must not come to
    /// lie on the other side of a chosen one that has keys between its own.
    ///
    /// # Errors
    /// Any; then nothing is merged.
    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>>;

    /// Writes the newest row of each key in `segments` as new segments and returns them, newest last; without
    /// the rows that say that their key was deleted if `drop_deleted`, which is when they hide nothing.
    ///
    /// # Errors
    /// Any; nothing is installed.
    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>>;

    /// Opens `segments` for reading.
    ///
    /// # Errors
    /// `Corrupt` or `Plugin` when the engine cannot read one of them.
    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>>;
}

/// What a storage engine answers from a fixed list of segments. Whoever knows the engine's own type may find
/// more there.
pub trait StorageReader: Any + Send + Sync {
    /// The newest row of each of `keys`: `None` unknown here, `Some(None)` deleted here.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>>;

    /// The newest row of each key in `range`, tombstones included, backwards if `reverse`. Of a typed table's
    /// rows only what `selection` gives out: a newest row that it does not want is left
    /// out, or given as a tombstone.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>>;
}

/// The extensions of one database, by name.
///
/// Registering under a name that is taken replaces the extension for every later call; calls in
/// flight end on the one they began with.
#[derive(Default)]
pub struct PluginManager {
    registered: RwLock<ByName>,
}

type ByName = BTreeMap<String, (Arc<dyn Extension>, Registered)>;

#[derive(Clone, strum::EnumTryAs)]
enum Registered {
    Compression(Arc<dyn CompressionExtension>),
    Observability(Arc<dyn ObservabilityExtension>),
    Storage(Arc<dyn StorageExtension>),
}

impl PluginManager {
    /// Adds or replaces a codec.
    pub fn register_compression(&self, codec: Arc<dyn CompressionExtension>) {
        self.register(codec.clone(), Registered::Compression(codec));
    }

    /// Adds or replaces an observer.
    pub fn register_observability(&self, observer: Arc<dyn ObservabilityExtension>) {
        self.register(observer.clone(), Registered::Observability(observer));
    }

    /// Adds or replaces a storage engine.
    pub fn register_storage(&self, storage: Arc<dyn StorageExtension>) {
        self.register(storage.clone(), Registered::Storage(storage));
    }

    fn register(&self, extension: Arc<dyn Extension>, registered: Registered) {
        let name = extension.info().name;
        self.registered.write().insert(name, (extension, registered));
    }

    /// Takes the extension called `name` away from later calls; those in flight end on it. It is not shut down.
    pub fn unregister(&self, name: &str) {
        self.registered.write().remove(name);
    }

    fn find<T>(
        &self,
        name: &str,
        kind: &str,
        as_kind: fn(Registered) -> Option<T>,
    ) -> KernelResult<T> {
        let found = self.registered.read().get(name).cloned().and_then(|(_, kind)| as_kind(kind));
        let missing = || format!("no {kind} of this name is loaded");
        found.ok_or_else(|| KernelError::plugin(name, PluginFault::Missing, missing()))
    }

    /// The codec called `name`.
    ///
    /// # Errors
    /// `Plugin` with [`PluginFault::Missing`], naming the codec.
    pub fn compression(&self, name: &str) -> KernelResult<Arc<dyn CompressionExtension>> {
        self.find(name, "codec", Registered::try_as_compression)
    }

    /// The storage engine called `name`.
    ///
    /// # Errors
    /// `Plugin` with [`PluginFault::Missing`], naming the engine.
    pub fn storage(&self, name: &str) -> KernelResult<Arc<dyn StorageExtension>> {
        self.find(name, "storage engine", Registered::try_as_storage)
    }

    /// Every observer.
    pub fn observers(&self) -> Vec<Arc<dyn ObservabilityExtension>> {
        let all = self.registered.read().values().cloned().collect::<Vec<_>>();
        all.into_iter().filter_map(|(_, kind)| kind.try_as_observability()).collect()
    }

    /// Who is registered, sorted by name.
    pub fn list(&self) -> Vec<ExtensionInfo> {
        self.registered.read().values().map(|(extension, _)| extension.info()).collect()
    }

    /// Shuts every extension down; failures are logged.
    pub(crate) fn shutdown(&self) {
        for (name, (extension, _)) in std::mem::take(&mut *self.registered.write()) {
            if let Err(error) = extension.shutdown() {
                tracing::warn!(plugin = name, %error, "extension did not shut down well");
            }
        }
    }
}
