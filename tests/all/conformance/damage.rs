//! Segments that are spoiled on disk, an engine that is starved at work, and segments of a later format.
//!
//! That a guest which lies, traps or refuses in a flush costs nothing is shown with small guests that do
//! nothing else: `a_flush_that_fails_or_lies_keeps_its_rows_in_the_log` and
//! `a_segment_cannot_be_claimed_twice_nor_in_a_later_flush` in `host-abi/tests/boundary`. Here it is the
//! engine that we ship.

use super::database::{TABLE, checkpoint, open, reload};
use super::{Changes, KIT, Rows, changes, is_proof, read, schema, write};
use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use fastrand::Rng;
use sochdb::plugin::{
    Extension, ExtensionInfo, RunCursor, SegmentRead, SegmentSink, SegmentWrite, StorageExtension,
    StorageReader, TableContext,
};
use sochdb::{Database, ErrorKind, KernelError, KernelResult, Slice, TableOptions, Value};
use sochdb_guest::Compaction;
use sochdb_kernel::SegmentId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The two meta pages, behind which everything else lies.
const META_BYTES: usize = 2 * 4096;
const DATA_FILE: &str = "data.soch";

/// A database with a table that lscs keeps in several segments.
fn database(vfs: &SimVfs) -> (Database, Rows) {
    let db = open(vfs).unwrap();
    let options = TableOptions {
        storage: Some("lscs".to_owned()),
        schema: Some(schema()),
        ..TableOptions::default()
    };
    db.create_table(TABLE, options).unwrap();
    let mut rows = Rows::new();
    for number in 1..=3 {
        apply(&db, &mut rows, &many(number));
        checkpoint(&db).unwrap();
    }
    (db, rows)
}

/// What commit `number` does: enough rows for several blocks, most of them with keys of other commits too.
fn many(number: usize) -> Changes {
    let mut rng = Rng::with_seed(number as u64);
    let mut changes = BTreeMap::new();
    for _ in 0..800 {
        let id = rng.i64(0..1500);
        let noise = Value::Bytes((0..rng.usize(..1500)).map(|_| rng.u8(..)).collect());
        let name = Value::String(format!("name {}", id % 7));
        let row = [Value::Int64(id), name, Value::Float64(id as f64), noise];
        let value = (rng.u8(..6) != 0).then(|| schema().encode_row(&row).expect("a row"));
        changes.insert(schema().encode_key(&row).expect("a key"), value);
    }
    changes.into_iter().collect()
}

fn apply(db: &Database, rows: &mut Rows, changes: &Changes) {
    write(db, changes).unwrap();
    for (key, value) in changes {
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

/// Whether `error` is the one for bytes that are not what was written, and says where.
#[track_caller]
fn says_where(error: &KernelError, bit: usize) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {text}");
    assert!(text.contains(DATA_FILE) && text.contains("at byte"), "bit {bit}: {text}");
}

#[test]
fn a_flipped_bit_of_a_segment_is_harmless_or_corrupt_and_other_rows_answer() {
    let vfs = SimVfs::new(Disk::default(), 0);
    let (db, rows) = database(&vfs);
    db.close().unwrap();
    let disk = vfs.disk();
    let bytes = disk.content(DATA_FILE).len();
    let mut rng = Rng::with_seed(KIT.seed);
    let flips = if is_proof() { 2000 } else { 60 };
    let (mut found, mut others) = (0, 0);
    for _ in 0..flips {
        // Most of the file is segments; their index and the catalog's pages are flipped too.
        let bit = rng.usize(META_BYTES * 8..bytes * 8);
        let mut spoiled = disk.clone();
        spoiled.rot(DATA_FILE, |content| content.flip(bit));
        let db = match open(&SimVfs::new(spoiled, 0)) {
            Ok(db) => db,
            Err(error) => {
                says_where(&error, bit);
                found += 1;
                continue;
            }
        };
        let tx = db.begin_read().unwrap();
        let (mut right, mut corrupt) = (0, 0);
        for (key, value) in &rows {
            match tx.get(TABLE, key) {
                Ok(answer) => {
                    assert_eq!(answer.as_deref(), Some(&value[..]), "bit {bit}");
                    right += 1;
                }
                Err(error) => {
                    says_where(&error, bit);
                    corrupt += 1;
                }
            }
        }
        match read(&db) {
            Ok(all) => assert_eq!((all == rows, corrupt), (true, 0), "bit {bit}"),
            Err(error) => says_where(&error, bit),
        }
        found += usize::from(0 < corrupt);
        others += usize::from(0 < corrupt && 0 < right);
    }
    assert!(
        0 < others,
        "{found} of {flips} were found, and no other row answered; seed {}",
        KIT.seed
    );
    println!(
        "{flips} flips, {found} found, {others} with other rows that answer, seed {}",
        KIT.seed
    );
}

/// Loads lscs with another bound on the work of a flush or merge.
fn load_with(db: &Database, bound: &str, value: u64) {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let manifest = std::fs::read_to_string(manifests.join("lscs.toml")).unwrap();
    let set = |line: &str| match line.starts_with(bound) {
        true => format!("{bound} = {value}\n"),
        false => format!("{line}\n"),
    };
    let starved: String = manifest.lines().map(set).collect();
    assert_ne!(starved, manifest);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lscs.toml");
    std::fs::write(&path, starved).unwrap();
    db.plugin_host().unwrap().load_manifest(&path, db.plugins()).unwrap();
}

/// Flushes and merges under each of `values`; after each all rows are there, and a sane engine goes on.
/// Returns how many flushes and how many merges failed.
fn starve(bound: &str, values: impl IntoIterator<Item = u64>) -> (usize, usize) {
    let vfs = SimVfs::new(Disk::default(), 0);
    let (db, mut rows) = database(&vfs);
    let (mut flushes, mut merges) = (0, 0);
    for (number, value) in values.into_iter().enumerate() {
        apply(&db, &mut rows, &many(10 + number));
        load_with(&db, bound, value);
        let report = db.checkpoint().unwrap();
        for (table, why) in &report.failed {
            assert!(table == TABLE && why.contains("lscs"), "{bound} = {value}: {table}: {why}");
        }
        let lscs = db.plugins_loaded().into_iter().find(|plugin| plugin.name == "lscs").unwrap();
        match (report.failed.is_empty(), lscs.usage.failures) {
            (false, _) => flushes += 1,
            (true, 0) => {}
            (true, _) => merges += 1,
        }
        assert!(read(&db).unwrap() == rows, "{bound} = {value}");
        reload(&db, "lscs").unwrap();
        assert!(read(&db).unwrap() == rows, "{bound} = {value}, reloaded");
        checkpoint(&db).unwrap();
        assert!(read(&db).unwrap() == rows, "{bound} = {value}, then a sane flush");
    }
    checkpoint(&db).unwrap();
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    // What the disk has is whole without the memory.
    drop(db);
    let db = open(&vfs).unwrap();
    assert!(read(&db).unwrap() == rows);
    println!("{bound}: {flushes} flushes and {merges} merges were starved");
    (flushes, merges)
}

#[test]
fn an_engine_that_is_starved_in_a_flush_or_merge_changes_nothing() {
    // From what no flush can do with to what every merge here can.
    let fuels = (0..28).map(|step| (1e6 * 1.25_f64.powi(step)) as u64);
    let (flushes, merges) = starve("background_fuel_limit", fuels);
    assert!(0 < flushes && 0 < merges, "{flushes} flushes and {merges} merges were starved");
}

#[test]
fn an_engine_that_is_out_of_time_in_a_flush_or_merge_changes_nothing() {
    starve("background_timeout_ms", [1, 2, 4, 8, 60_000]);
}

/// The footer of a segment, as `plugins/lscs/README.md` has it: the version is at 8, a checksum ends it.
const FOOTER_BYTES: usize = 48;

/// Gives a footer another format version.
fn reversion(footer: &mut [u8], add: u8) {
    footer[8] = footer[8].wrapping_add(add);
    let crc = crc32c::crc32c(&footer[..FOOTER_BYTES - 4]);
    footer[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
}

/// lscs as a later version may be: what it writes says another format version. It reads that too.
struct Later(Arc<dyn StorageExtension>);

impl Later {
    fn segments(segments: &[Arc<dyn SegmentRead>]) -> Vec<Arc<dyn SegmentRead>> {
        let of = |segment: &Arc<dyn SegmentRead>| -> Arc<dyn SegmentRead> {
            Arc::new(LaterSegment(segment.clone()))
        };
        segments.iter().map(of).collect()
    }
}

struct LaterSegment(Arc<dyn SegmentRead>);

struct LaterSink(Arc<dyn SegmentSink>);

struct LaterWriter(Box<dyn SegmentWrite>, Vec<u8>);

impl Extension for Later {
    fn info(&self) -> ExtensionInfo {
        self.0.info()
    }
}

impl StorageExtension for Later {
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.0.flush(table, &Later::segments(present), run, Arc::new(LaterSink(sink)))
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        _segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        Ok(None)
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.0.merge(table, &Later::segments(segments), drop_deleted, Arc::new(LaterSink(sink)))
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        self.0.open(table, &Later::segments(segments))
    }
}

impl SegmentRead for LaterSegment {
    fn id(&self) -> SegmentId {
        self.0.id()
    }

    fn raw_bytes(&self) -> u64 {
        self.0.raw_bytes()
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let mut bytes = self.0.read_at(offset, len)?.to_vec();
        let start = self.raw_bytes() - FOOTER_BYTES as u64;
        let mut footer = self.0.read_at(start, FOOTER_BYTES)?.to_vec();
        reversion(&mut footer, 100_u8.wrapping_neg());
        for (at, byte) in (start..).zip(footer) {
            let at = at.checked_sub(offset).and_then(|at| bytes.get_mut(at as usize));
            if let Some(there) = at {
                *there = byte;
            }
        }
        Ok(bytes.into())
    }
}

impl SegmentSink for LaterSink {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(LaterWriter(self.0.create()?, Vec::new())))
    }
}

impl SegmentWrite for LaterWriter {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        let offset = self.1.len() as u64;
        self.1.extend_from_slice(bytes);
        Ok(offset)
    }

    fn seal(mut self: Box<Self>) -> KernelResult<SegmentId> {
        let start = self.1.len() - FOOTER_BYTES;
        reversion(&mut self.1[start..], 100);
        self.0.append(&self.1)?;
        self.0.seal()
    }
}

#[test]
fn segments_of_a_format_that_the_engine_does_not_know_are_refused_with_its_version() {
    let vfs = SimVfs::new(Disk::default(), 0);
    let db = open(&vfs).unwrap();
    let lscs = db.plugins().storage("lscs").unwrap();
    db.plugins().register_storage(Arc::new(Later(lscs)));
    let storage = Some("lscs".to_owned());
    let options = TableOptions { storage, schema: Some(schema()), ..TableOptions::default() };
    db.create_table(TABLE, options).unwrap();
    let mut rows = Rows::new();
    apply(&db, &mut rows, &changes(1));
    checkpoint(&db).unwrap();
    assert!(read(&db).unwrap() == rows, "the later version reads what it wrote");
    db.close().unwrap();
    // The version that we have says no, whatever is asked.
    let db = open(&vfs).unwrap();
    for error in [read(&db).unwrap_err(), db.begin_read().unwrap().get(TABLE, b"x").unwrap_err()] {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Plugin, "{text}");
        assert!(text.contains("'lscs'") && text.contains("format version 10"), "{text}");
    }
}
