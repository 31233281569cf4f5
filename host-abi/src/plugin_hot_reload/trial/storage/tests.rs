use super::super::of_versions;
use super::*;
use sochdb_kernel::KernelError;
use sochdb_kernel::plugin::{Compaction, Extension, ExtensionInfo, SegmentSink};

/// An engine that writes each list of rows as one segment, which begins with its format.
#[derive(Clone, Copy, Default)]
struct Sorted {
    /// What it writes, and the newest that it reads.
    format: u8,
    /// A flush loses the last row.
    loses: bool,
    /// A merge brings deleted rows back.
    revives: bool,
    /// Looks up nothing that is longer than this.
    keys_max: Option<usize>,
    /// Reads values otherwise.
    garbles: bool,
}

impl Extension for Sorted {
    fn info(&self) -> ExtensionInfo {
        let (version, description, author) = Default::default();
        let capabilities = Vec::new();
        ExtensionInfo { name: "guest".to_owned(), version, description, author, capabilities }
    }
}

impl Sorted {
    fn write(&self, rows: &Rows, sink: &dyn SegmentSink) -> KernelResult<Vec<SegmentId>> {
        let mut bytes = vec![self.format];
        for (key, value) in rows {
            bytes
                .extend([key.len() as u8, value.as_ref().map_or(0, |value| value.len() as u8 + 1)]);
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        let mut writer = sink.create()?;
        writer.append(&bytes)?;
        Ok(vec![writer.seal()?])
    }

    fn read(&self, segments: &[Arc<dyn SegmentRead>]) -> KernelResult<Rows> {
        let mut rows = Rows::new();
        for segment in segments {
            let all = segment.read_at(0, segment.raw_bytes() as usize)?;
            if self.format < all[0] {
                return Err(KernelError::invalid(format!("format {}", all[0])));
            }
            let mut bytes = &all[1..];
            while let [key_len, value_len, rest @ ..] = bytes {
                let (key, rest) = rest.split_at(*key_len as usize);
                let (value, rest) = rest.split_at((*value_len as usize).saturating_sub(1));
                let value = (*value_len != 0).then(|| Slice::from(value));
                rows.insert(key.to_vec(), value);
                bytes = rest;
            }
        }
        if self.garbles
            && let Some(Some(value)) = rows.values_mut().nth(3)
        {
            *value = b"garbled".as_slice().into();
        }
        Ok(rows)
    }
}

struct Reader(Sorted, Rows);

impl StorageReader for Reader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let knows = |key: &[u8]| self.0.keys_max.is_none_or(|most| key.len() <= most);
        Ok(keys.iter().map(|key| self.1.get(*key).filter(|_| knows(key)).cloned()).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let mut run = Run::of(&self.1);
        run.0.retain(|row| range.contains(&row.key));
        if reverse {
            run.0.make_contiguous().reverse();
        }
        Ok(Box::new(run))
    }
}

impl StorageExtension for Sorted {
    fn flush(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let batch = run.next_batch(10 * ROWS, 10 * BYTES)?;
        let mut rows: Rows = batch.into_iter().map(|row| (row.key, row.value)).collect();
        if self.loses {
            rows.pop_last();
        }
        self.write(&rows, &*sink)
    }

    fn plan_compaction(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        Ok(None)
    }

    fn merge(
        &self,
        _: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let mut rows = self.read(segments)?;
        if self.revives {
            let older = self.read(&segments[..1])?;
            let revived = rows.iter_mut().filter(|(_, value)| value.is_none());
            revived.for_each(|(key, value)| *value = older.get(key).cloned().flatten());
        }
        rows.retain(|_, value| !drop_deleted || value.is_some());
        self.write(&rows, &*sink)
    }

    fn open(
        &self,
        _: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        Ok(Arc::new(Reader(*self, self.read(segments)?)))
    }
}

fn context() -> TableContext {
    let (schema, options) = Default::default();
    TableContext { id: TableId(1), name: "t".to_owned(), schema, compressed: false, options }
}

fn rows() -> Rows {
    let row = |number: u32| {
        let value = (!number.is_multiple_of(9)).then(|| Slice::from(vec![number as u8; 5]));
        (format!("{number:0width$}", width = 3 + number as usize % 5).into_bytes(), value)
    };
    (0..200).map(row).collect()
}

/// What `new` shows beside a flawless engine, with rows that this one wrote.
fn check(new: Sorted, one_way: bool) -> Result<TrialReport, String> {
    let old = Sorted::default();
    let memory = Memory::new();
    let ids = old.flush(&context(), &[], Box::new(Run::of(&rows())), memory.sink()).unwrap();
    let segments = memory.segments(&ids).unwrap();
    let (old_reader, new_reader) =
        (old.open(&context(), &segments).unwrap(), new.open(&context(), &segments).unwrap());
    let mut trial = of_versions("1.0.0", "2.0.0");
    trial.one_way = one_way;
    let readers = Readers { what: "table 't'", old: &*old_reader, new: &*new_reader };
    let tried = readers.try_all(&mut trial, None).and_then(|rows| {
        Writing { what: "table 't'", context: &context(), old: &old, new: &new }
            .try_all(&mut trial, rows)
    });
    tried.map(|()| trial.report).map_err(|error| error.to_string())
}

use super::super::TrialReport;

#[track_caller]
fn check_lie(new: Sorted, words: &str) {
    let error = check(new, false).unwrap_err();
    assert!(
        error.contains("version 2.0.0 on trial: table 't'") && error.contains(words),
        "{error}"
    );
}

#[test]
fn an_engine_that_does_as_the_one_before_passes() {
    let report = check(Sorted::default(), false).unwrap();
    assert_eq!((report.replayed, report.differing), (4, 0), "{report:?}");
}

#[test]
fn an_engine_that_reads_other_rows_is_refused() {
    check_lie(
        Sorted { garbles: true, ..Sorted::default() },
        "a scan gives another value of the key '0",
    );
    check_lie(Sorted { keys_max: Some(6), ..Sorted::default() }, "another answer to the key");
}

#[test]
fn an_engine_that_writes_other_rows_is_refused() {
    check_lie(Sorted { loses: true, ..Sorted::default() }, "flush changes the row of the key '195");
    check_lie(Sorted { revives: true, ..Sorted::default() }, "a merge changes the row of the key");
}

#[test]
fn what_the_one_before_cannot_read_is_written_only_when_there_is_no_way_back() {
    let newer = Sorted { format: 1, ..Sorted::default() };
    check_lie(newer, "a flush writes what version 1.0.0 cannot read");
    check(newer, true).unwrap();
}

#[test]
fn an_engine_before_that_writes_nothing_right_is_no_measure() {
    let old = Sorted { loses: true, ..Sorted::default() };
    let rows = rows().into_iter().map(|(key, value)| RunRow { key, value }).collect();
    let mut trial = of_versions("1.0.0", "2.0.0");
    Writing { what: "table 't'", context: &context(), old: &old, new: &old }
        .try_all(&mut trial, rows)
        .unwrap();
    assert_eq!(trial.report.replayed, 0);
}
