//! Every bound of the kernel with its reason, and the asserts that tie the bounds together.

/// A page of the data file, in bytes: what one sector-aligned write of usual disks carries.
pub const PAGE_BYTES: usize = 4096;
/// A key. Three separators of this size fit an inner page, so the tree always branches.
pub const KEY_BYTES_MAX: usize = 1024;
/// A value: small enough to be held in memory several times while it is written and read.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// A table's name.
pub const TABLE_NAME_BYTES_MAX: usize = 256;
/// The payload of one frame of the log: a value of full size with its key and record header.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + 256;
/// A transaction's frames are cut about here, so that no reader needs large buffers for many rows.
pub const FRAME_PAYLOAD_BYTES_TARGET: usize = 1 << 20;
/// Released log segments kept for reuse: two cover the rotation during a checkpoint.
pub const WAL_SPARE_SEGMENTS_MAX: usize = 2;
/// A log segment cannot be smaller: its header and a few records must fit.
pub const WAL_SEGMENT_BYTES_MIN: usize = 16 << 10;
/// Raw bytes of one segment block: what one decompression yields and one cache entry holds.
pub const SEGMENT_BLOCK_BYTES: usize = 64 << 10;
/// Raw bytes of one segment: block numbers stay far below 2^32.
pub const SEGMENT_BYTES_MAX: usize = 1 << 40;
/// Tables a database may ever make: pages carry the number in four bytes.
pub const TABLES_MADE_MAX: usize = u32::MAX as usize;
/// The levels of a tree: with at least three children a page, more than 2^64 rows.
pub const TREE_HEIGHT_MAX: u8 = 42;
/// Rows a cursor takes out of a memtable at once.
pub const MEMTABLE_CHUNK_ROWS: usize = 128;
/// Rows and bytes handed to a storage engine in one batch.
pub const RUN_BATCH_ROWS: usize = 1024;
/// See [`RUN_BATCH_ROWS`].
pub const RUN_BATCH_BYTES: usize = 256 << 10;
/// A checkpoint flips whenever it has written an eighth of `memtable_bytes_max` to trees: the file grows by the
/// pages of such a piece, not by a second copy of a tree. Each piece costs two syncs.
pub fn piece_pages(memtable_bytes_max: usize) -> u64 {
    (memtable_bytes_max / 8 / PAGE_BYTES).max(1) as u64
}
/// Slices of compaction that a storage engine gets for one table in one checkpoint, however urgent it says
/// they are: a checkpoint ends.
pub const MERGES_PER_CHECKPOINT_MAX: usize = 64;
/// Names of codecs a database may ever have used; the number is stored in one byte.
pub const CODECS_MAX: usize = 255;
/// How often `run` tries a transaction again before it gives the conflict back.
pub const RUN_ATTEMPTS_MAX: usize = 1000;
/// Bytes of retained memtables that old transactions are validated against, and at most twice
/// `memtable_bytes_max`; past it they conflict.
pub const CONFLICT_WINDOW_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(KEY_BYTES_MAX * 3 + 128 < PAGE_BYTES, "three keys and an inner header");
const _: () = assert!(FRAME_PAYLOAD_BYTES_MAX < u32::MAX as usize, "a frame's length is a u32");
const _: () = assert!(SEGMENT_BLOCK_BYTES < u32::MAX as usize, "a block's length is a u32");
