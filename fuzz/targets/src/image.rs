//! A small database as files, edits to them, and their checksums made to hold again.
//!
//! The sample has every kind of thing that is on disk: leaves and inner pages, inline values and runs,
//! free pages, segments of a storage engine, a log with transactions behind the last checkpoint. Where
//! its checksums lie is found by looking: every place whose four bytes are the CRC of what the bytes
//! before them point to. So this file knows little of the formats, and mends whatever was edited.

use sochdb_encoding::codec::crc;
use sochdb_kernel::inspect::{BlockCache, Pager};
use sochdb_kernel::inspect::{DATA_FILE, META_PAGES, Meta, WAL_DIR, load_catalog, record};
use sochdb_kernel::limits::{PAGE_BYTES, WAL_SEGMENT_BYTES_MIN};
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionCapability, ExtensionInfo, RunCursor, RunRow, SegmentRead,
    SegmentSink, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Environment, Kernel, KernelError, KernelResult, KeyRange, Options, SegmentId, Slice,
    TableOptions,
};
use sochdb_sim::{MemoryVfs, merge_by_flush};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A directory's files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How the sample is opened: little memory, small log segments.
pub fn options() -> Options {
    Options {
        cache_bytes_max: 64 << 10,
        wal_segment_bytes: WAL_SEGMENT_BYTES_MIN,
        ..Options::default()
    }
}

/// Opens the database in `vfs`, with the sample's storage engine.
///
/// # Errors
/// As [`Kernel::open`].
pub fn open(vfs: &MemoryVfs) -> KernelResult<Kernel> {
    let env = Environment { seed: 7, ..Environment::with_vfs(Arc::new(vfs.clone())) };
    let kernel = Kernel::open(env, options())?;
    kernel.plugins().register_storage(Arc::new(Plain));
    Ok(kernel)
}

/// The files of `vfs`.
pub fn files_of(vfs: &MemoryVfs) -> Files {
    let read = |name: String| {
        let file = vfs.open(&name, OpenMode::Read).expect("listed");
        let mut bytes = vec![0; usize::try_from(file.len().expect("memory")).expect("small")];
        file.read_exact_at(0, &mut bytes).expect("as long as it is");
        (name, bytes)
    };
    vfs.names().into_iter().map(read).collect()
}

/// A directory that holds `files`.
pub fn vfs_of(files: &Files) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    for (name, bytes) in files {
        let file = vfs.open(name, OpenMode::Create).expect("an empty directory");
        file.write_at(0, bytes).expect("memory");
    }
    vfs
}

fn fill(kernel: &Kernel) -> KernelResult<()> {
    kernel.create_table("small", TableOptions::default())?;
    kernel.create_table("large", TableOptions::default())?;
    let storage = Some("plain".to_owned());
    kernel.create_table("kept", TableOptions { storage, ..TableOptions::default() })?;
    let put = |table: &str, keys: Range<u32>, value: &[u8]| {
        kernel.run(|tx| {
            keys.clone().try_for_each(|key| {
                let key = format!("row/{key:05}");
                tx.put(table, key.as_bytes(), value)
            })
        })
    };
    put("small", 0..300, b"a value of usual length")?;
    put("large", 0..3, &[7; 9000])?;
    put("kept", 0..20, &[8; 100])?;
    kernel.checkpoint()?;
    put("small", 100..120, b"changed")?;
    put("large", 1..2, &[9; 5000])?;
    kernel.run(|tx| tx.delete("kept", b"row/00003"))?;
    kernel.checkpoint()?;
    put("small", 0..4, b"only in the log")?;
    put("kept", 19..22, b"only in the log")?;
    kernel.run(|tx| tx.rename_table("large", "larger"))?;
    kernel.run(|tx| tx.delete("small", b"row/00299"))
}

/// The sample, as a killed process leaves it.
pub fn sample() -> &'static Files {
    static SAMPLE: OnceLock<Files> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let vfs = MemoryVfs::new();
        let kernel = open(&vfs).expect("an empty directory");
        fill(&kernel).expect("memory");
        let mut files = files_of(&vfs);
        files.remove("LOCK");
        files
    })
}

/// The newest meta page of `files`.
pub fn meta(files: &Files) -> Meta {
    let vfs = vfs_of(files);
    Meta::read(&*vfs.open(DATA_FILE, OpenMode::Read).expect("there")).expect("the sample is whole")
}

/// The rows of the sample's catalog: keys and values.
pub fn catalog_rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    let vfs = vfs_of(sample());
    let file = vfs.open(DATA_FILE, OpenMode::Read).expect("there");
    let pager = Arc::new(Pager::new(file, Arc::new(BlockCache::new(1 << 20))));
    let loaded = load_catalog(&pager, meta(sample()).catalog).expect("the sample is whole");
    let tables =
        loaded.tables.iter().map(|info| ([b"t", info.name.as_bytes()].concat(), info.encode()));
    let bases = loaded.bases.iter().map(|(id, base)| {
        use sochdb_encoding::codec::Wire;
        ([b"s".as_slice(), &id.0.to_be_bytes()].concat(), base.to_wire())
    });
    let codec = (b"c\x01".to_vec(), b"lz4".to_vec());
    tables.chain(bases).chain([codec]).collect()
}

/// The sample's log file that was written last.
pub fn log_name(files: &Files) -> &str {
    let mut logs = files.keys().filter(|name| name.starts_with(WAL_DIR) && name.ends_with(".wal"));
    logs.next_back().expect("a database has a log")
}

/// Where each frame of the sample's last log file begins, and its bytes.
pub fn frames() -> &'static [(usize, Vec<u8>)] {
    static FRAMES: OnceLock<Vec<(usize, Vec<u8>)>> = OnceLock::new();
    FRAMES.get_or_init(find_frames)
}

fn find_frames() -> Vec<(usize, Vec<u8>)> {
    let bytes = &sample()[log_name(sample())];
    let start = log_start(log_name(sample()));
    let mut at = record::SEGMENT_HEADER_BYTES;
    let mut frames = Vec::new();
    while let Ok(frame) =
        record::decode_frame(&bytes[at..], start + (at - record::SEGMENT_HEADER_BYTES) as u64)
    {
        frames.push((at, bytes[at..at + frame.bytes].to_vec()));
        at += frame.bytes;
    }
    frames
}

/// Where in the sample's last log file the frames end.
pub fn log_end() -> usize {
    frames().last().map_or(record::SEGMENT_HEADER_BYTES, |(at, bytes)| at + bytes.len())
}

/// The LSN that a log file's name tells.
pub fn log_start(name: &str) -> u64 {
    let hex = name.rsplit('/').next().and_then(|name| name.strip_suffix(".wal"));
    u64::from_str_radix(hex.expect("a log file"), 16).expect("a log file's name is its first LSN")
}

/// A checksum in the data file: where it lies, and what it is of.
struct Sum {
    at: usize,
    of: Of,
}

/// What a checksum is of. Pointers are followed where they point now, edited or not.
enum Of {
    /// Always these bytes.
    Bytes(Range<usize>),
    /// A tree page, whose number lies here.
    Page(usize),
    /// A run of pages: the first one's number lies here, and behind it the length in bytes.
    Run(usize),
    /// A block: where in the file it begins lies here, and behind that its length.
    Block(usize),
}

impl Of {
    /// The bytes, if they are inside the file.
    fn range(&self, data: &[u8]) -> Option<Range<usize>> {
        let number = |at: usize| {
            let bytes = data[at..at + 8].try_into().expect("8 bytes");
            usize::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let page = |at: usize| number(at)?.checked_mul(PAGE_BYTES);
        let behind =
            |start: usize, at: usize| start..start.saturating_add(u32_at(data, at + 8) as usize);
        let range = match self {
            Of::Bytes(range) => range.clone(),
            Of::Page(at) => page(*at)?.checked_add(4)?..page(*at)?.checked_add(PAGE_BYTES)?,
            Of::Run(at) => behind(page(*at)?, *at),
            Of::Block(at) => behind(number(*at)?, *at),
        };
        (range.start < range.end && range.end <= data.len()).then_some(range)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// Every checksum of the sample's data file.
fn sums() -> &'static [Sum] {
    static SUMS: OnceLock<Vec<Sum>> = OnceLock::new();
    SUMS.get_or_init(|| {
        let data = &sample()[DATA_FILE];
        let metas = usize::try_from(META_PAGES).expect("two") * PAGE_BYTES;
        let mut sums = Vec::new();
        let mut add = |at: usize, of: Of| {
            let Some(range) = of.range(data) else { return };
            // The meta pages are no place to point to, and the first byte no place to point from.
            let inside = metas <= range.start || matches!(of, Of::Bytes(_));
            if inside && u32_at(data, at) == crc(&data[range]) {
                sums.push(Sum { at, of });
            }
        };
        for start in (0..data.len()).step_by(PAGE_BYTES) {
            let end = start + PAGE_BYTES;
            match start < metas {
                true => add(end - 4, Of::Bytes(start..end - 4)),
                false => add(start, Of::Bytes(start + 4..end)),
            }
        }
        for at in 0..data.len() - 20 {
            add(at + 8, Of::Page(at));
            add(at + 16, Of::Run(at));
            add(at + 12, Of::Block(at));
        }
        sums
    })
}

/// Makes every checksum of the data file hold again, from what is pointed to up to the meta pages.
pub fn mend_data(files: &mut Files) {
    let data = files.get_mut(DATA_FILE).expect("there");
    // Each pass mends one level; no chain of pointers is longer than this, unless it was made a circle.
    for _ in 0..8 {
        let mut changed = false;
        for Sum { at, of } in sums() {
            let Some(range) = of.range(data) else { continue };
            let sum = crc(&data[range]).to_le_bytes();
            changed |= data[*at..at + 4] != sum;
            data[*at..at + 4].copy_from_slice(&sum);
        }
        if !changed {
            return;
        }
    }
}

/// Makes the checksums of the last log file hold again: its header's, and those of its frames, with
/// the lengths that they claim now.
pub fn mend_log(files: &mut Files) {
    let name = log_name(sample());
    let Some(log) = files.get_mut(name) else { return };
    let end = record::SEGMENT_HEADER_BYTES - 4;
    let sum = crc(&log[..end]).to_le_bytes();
    log[end..end + 4].copy_from_slice(&sum);
    for &(at, _) in frames() {
        let len = u32_at(log, at + 4) as usize;
        let end = at.saturating_add(record::frame_bytes(len.min(1 << 30)));
        if end <= log.len() {
            let sum = crc(&log[at + 4..end]).to_le_bytes();
            log[at..at + 4].copy_from_slice(&sum);
        }
    }
}

/// A storage engine that is as plain as can be: a segment is its rows, one behind the other.
struct Plain;

impl Extension for Plain {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "plain".to_owned(),
            version: "1.0.0".to_owned(),
            description: "Rows one behind the other.".to_owned(),
            author: "SochDB".to_owned(),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }
}

type Rows = BTreeMap<Vec<u8>, Option<Slice>>;

impl StorageExtension for Plain {
    fn flush(
        &self,
        _table: &TableContext,
        _present: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let mut segment = sink.create()?;
        loop {
            let batch = run.next_batch(64, 64 << 10)?;
            if batch.is_empty() {
                return Ok(vec![segment.seal()?]);
            }
            for RunRow { key, value } in batch {
                let mut bytes = Vec::new();
                let field = |bytes: &mut Vec<u8>, field: &[u8]| {
                    bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(field);
                };
                bytes.push(u8::from(value.is_some()));
                field(&mut bytes, &key);
                field(&mut bytes, value.as_deref().unwrap_or_default());
                segment.append(&bytes)?;
            }
        }
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let inputs = (0..segments.len()).collect();
        Ok((2 < segments.len()).then_some(Compaction { inputs, at: 0, urgent: false }))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        merge_by_flush(self, table, segments, drop_deleted, sink)
    }

    fn open(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        let mut rows = Rows::new();
        for segment in segments {
            let len = usize::try_from(segment.raw_bytes()).unwrap_or(usize::MAX);
            if (1 << 20) < len {
                return Err(KernelError::invalid("a segment of more than a mebibyte"));
            }
            let bytes = segment.read_at(0, len)?;
            let mut rest = &bytes[..];
            // Segments that were edited end where they make no more sense.
            while let Some((&kind, behind)) = rest.split_first() {
                rest = behind;
                let (Some(key), Some(value)) = (take(&mut rest), take(&mut rest)) else { break };
                rows.insert(key.to_vec(), (kind != 0).then(|| value.into()));
            }
        }
        Ok(Arc::new(Reader(rows)))
    }
}

/// Takes one field of a segment.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_at_checked(4)?;
    let (field, behind) = behind.split_at_checked(u32_at(len, 0) as usize)?;
    *rest = behind;
    Some(field)
}

struct Reader(Rows);

impl StorageReader for Reader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        Ok(keys.iter().map(|key| self.0.get(*key).cloned()).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let inside = self.0.iter().filter(|(key, _)| range.contains(key));
        let row = |(key, value): (&Vec<u8>, &Option<Slice>)| RunRow {
            key: key.clone(),
            value: value.clone(),
        };
        let mut rows: Vec<_> = inside.map(row).collect();
        if reverse {
            rows.reverse();
        }
        Ok(Box::new(Cursor(rows.into_iter())))
    }
}

struct Cursor(std::vec::IntoIter<RunRow>);

impl RunCursor for Cursor {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        Ok(self.0.by_ref().take(rows_max).collect())
    }
}
