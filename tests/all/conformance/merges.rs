//! An engine that is honest in flushes and lies in merges: nothing of what it merged is installed.

use super::database::{TABLE, open, reload};
use super::{Rows, changes, read, schema, write};
use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use sochdb::plugin::{
    Extension, ExtensionInfo, RunCursor, RunRow, SegmentRead, SegmentSink, StorageExtension,
    StorageReader, TableContext,
};
use sochdb::{KernelResult, KeyRange, TableOptions};
use sochdb_guest::Compaction;
use sochdb_kernel::SegmentId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is wrong with the merged rows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    DropsARow,
    SwapsTwoValues,
    LetsOldRowsWin,
    InventsARow,
    DeletesARow,
    GivesNothing,
    AnswersItsInputs,
}

/// lscs, with merges that lie.
struct Liar {
    lscs: Arc<dyn StorageExtension>,
    lie: Lie,
    lies_told: Arc<AtomicUsize>,
}

struct Run(Vec<RunRow>);

impl RunCursor for Run {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        Ok(self.0.drain(..rows_max.min(self.0.len())).collect())
    }
}

impl Extension for Liar {
    fn info(&self) -> ExtensionInfo {
        self.lscs.info()
    }
}

impl StorageExtension for Liar {
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.lscs.flush(table, present, run, sink)
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let inputs = (0..segments.len()).collect();
        Ok((3 <= segments.len()).then_some(Compaction { inputs, at: 0, urgent: false }))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.lies_told.fetch_add(1, Ordering::Relaxed);
        let mut segments = segments.to_vec();
        match self.lie {
            Lie::LetsOldRowsWin => segments.reverse(),
            Lie::AnswersItsInputs => {
                return Ok(segments.iter().map(|segment| segment.id()).collect());
            }
            _ => {}
        }
        let reader = self.lscs.open(table, &segments)?;
        let mut cursor = reader.scan(&KeyRange::all(), false, None)?;
        let mut rows = Vec::new();
        loop {
            let batch = cursor.next_batch(1000, 1 << 20)?;
            if batch.is_empty() {
                break;
            }
            rows.extend(batch.into_iter().filter(|row| row.value.is_some() || !drop_deleted));
        }
        let middle = rows.len() / 2;
        match self.lie {
            Lie::DropsARow => drop(rows.remove(middle)),
            Lie::SwapsTwoValues => {
                let value = rows[middle].value.take();
                rows[middle].value = std::mem::replace(&mut rows[middle + 1].value, value);
            }
            Lie::InventsARow => {
                let key = [&rows[middle].key[..], b"\0"].concat();
                rows.insert(middle + 1, RunRow { key, value: Some(b"new"[..].into()) });
            }
            Lie::DeletesARow => rows[middle].value = None,
            Lie::GivesNothing => return Ok(Vec::new()),
            Lie::LetsOldRowsWin | Lie::AnswersItsInputs => {}
        }
        self.lscs.flush(table, &[], Box::new(Run(rows)), sink)
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        self.lscs.open(table, segments)
    }
}

#[test]
fn a_merge_that_lies_is_caught_and_its_inputs_stay() {
    for lie in [
        Lie::DropsARow,
        Lie::SwapsTwoValues,
        Lie::LetsOldRowsWin,
        Lie::InventsARow,
        Lie::DeletesARow,
        Lie::GivesNothing,
        Lie::AnswersItsInputs,
    ] {
        let vfs = SimVfs::new(Disk::default(), 0);
        let db = open(&vfs).unwrap();
        let (storage, schema) = (Some("lscs".to_owned()), Some(schema()));
        db.create_table(TABLE, TableOptions { storage, schema, ..TableOptions::default() })
            .unwrap();
        let (lscs, lies_told) =
            (db.plugins().storage("lscs").unwrap(), Arc::new(AtomicUsize::new(0)));
        db.plugins().register_storage(Arc::new(Liar { lscs, lie, lies_told: lies_told.clone() }));
        let mut rows = Rows::new();
        for number in 1..=5 {
            write(&db, &changes(number)).unwrap();
            for (key, value) in changes(number) {
                match value {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
            db.checkpoint().unwrap();
            assert!(read(&db).unwrap() == rows, "{lie:?}");
        }
        assert!(0 < lies_told.load(Ordering::Relaxed), "{lie:?} was never told");
        assert!(3 <= db.stats().segments, "{lie:?}: what was merged was installed");
        reload(&db, "lscs").unwrap();
        let report = db.checkpoint().unwrap();
        assert!(report.failed.is_empty(), "{lie:?}: {:?}", report.failed);
        assert!(db.check().unwrap().problems.is_empty(), "{lie:?}");
        db.close().unwrap();
        assert!(read(&open(&vfs).unwrap()).unwrap() == rows, "{lie:?}, opened again");
    }
}
