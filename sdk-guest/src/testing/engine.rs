//! Any storage engine as a subject: what a database does around it, in memory and without a host.
//!
//! ```text
//!   put ──▶ memtable ── flush ──▶ Storage::flush ──▶ segments ──▶ Storage::open ──▶ Reader
//!   get ◀── memtable, else ◀─────────────────────────── ▲ │ ──────────────────────── Reader
//!                           Storage::plan_compaction, merge
//! ```
//!
//! The engine sees runs, sinks and segments as it does under a host. There is no log, so there is no crash:
//! what is not flushed has nowhere to survive.

use super::operation::{Scan, shown};
use super::subject::{Outcome, Reads, Reply, Row, Setup, Subject};
use crate::row::Value;
use crate::{
    Compaction, Cursor, KeyRange, Lookup, Reader, RowBatch, Run, Segment, Sink, Storage, Table,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

/// Merges that follow one another before the engine is thought to go on for ever.
const MERGES_MAX: usize = 100;
/// How many rows, and bytes, are asked of a cursor at once; taken in turn.
const BATCHES: [(usize, usize); 5] =
    [(1, 1 << 20), (1024, 1), (7, 300), (100, 4000), (4096, 256 << 10)];

type Memtable = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The least and the greatest key of what has any.
type Bounds = Option<(Vec<u8>, Vec<u8>)>;

/// A table whose rows the engine `S` keeps.
pub struct Engine<S: Storage> {
    storage: S,
    table: Table,
    /// Oldest first: their numbers and bytes.
    segments: Vec<(u64, Vec<u8>)>,
    next_id: u64,
    view: View<S>,
}

/// What is there at one moment. Nothing in it changes.
struct View<S: Storage> {
    memtable: Rc<Memtable>,
    reader: Rc<S::Reader>,
    /// How many scans there were.
    scans: usize,
}

impl<S: Storage> Engine<S> {
    /// An empty table.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn new(setup: &Setup) -> Outcome<Engine<S>> {
        let mut storage = S::init()?;
        let table = Table {
            id: setup.number as u64,
            name: format!("table {}", setup.number),
            schema: setup.schema.clone(),
            compressed: !setup.number.is_multiple_of(2),
            options: setup.settings.clone(),
        };
        let reader = Rc::new(storage.open(&table, Vec::new())?);
        let view = View { memtable: Rc::default(), reader, scans: 0 };
        Ok(Engine { storage, table, segments: Vec::new(), next_id: 1, view })
    }

    /// All segments, oldest first.
    fn present(&self) -> Vec<Segment> {
        self.segments.iter().map(|(id, bytes)| Segment::of(*id, bytes.clone())).collect()
    }

    fn open(&mut self) -> Outcome<()> {
        let segments = self.present();
        self.view.reader = Rc::new(self.storage.open(&self.table, segments)?);
        Ok(())
    }

    /// The least and the greatest key of each segment, deleted ones included; none of one without rows.
    fn bounds(&mut self) -> Outcome<Vec<Bounds>> {
        let mut bounds = Vec::new();
        for segment in self.present() {
            let reader = self.storage.open(&self.table, vec![segment])?;
            let end = |reverse| -> Outcome<Option<Vec<u8>>> {
                let (mut cursor, mut end) = (reader.scan(&KeyRange::all(), reverse, None)?, None);
                read(&mut cursor, &KeyRange::all(), reverse, (1, 1), |key, _| {
                    end = Some(key.to_vec());
                    false
                })?;
                Ok(end)
            };
            bounds.push(end(false)?.zip(end(true)?));
        }
        Ok(bounds)
    }

    /// The segments `ids` of `sink`, with numbers of this table.
    fn sealed(&mut self, sink: &Sink<'_>, ids: &[u64]) -> Outcome<Vec<(u64, Vec<u8>)>> {
        let mut sealed: BTreeMap<_, _> =
            sink.segments().into_iter().map(|segment| (segment.info().id, segment)).collect();
        let mut named = Vec::new();
        for id in ids {
            let segment = sealed.remove(id);
            let segment =
                segment.ok_or_else(|| format!("segment {id} was not sealed, or is named twice"))?;
            named.push((self.next_id, segment.read(0, segment.info().bytes as usize)?));
            self.next_id += 1;
        }
        Ok(named)
    }

    /// Does one slice of compaction, if it changes no answer.
    fn compact(&mut self, plan: &Compaction) -> Outcome<()> {
        let bounds = self.bounds()?;
        let share = |a: usize, b: usize| match (&bounds[a], &bounds[b]) {
            (Some((a_min, a_max)), Some((b_min, b_max))) => a_min <= b_max && b_min <= a_max,
            _ => false,
        };
        let checked = plan.check(bounds.len(), |a, b| Ok::<_, Infallible>(share(a, b)))?;
        let drop_deleted =
            checked.ok_or_else(|| format!("{plan:?} of {} segments", bounds.len()))?;
        if plan.is_move() {
            let moved = self.segments.remove(plan.inputs[0]);
            self.segments.insert(plan.at, moved);
            return self.open();
        }
        let mut inputs = self.present();
        let mut position = 0..;
        inputs.retain(|_| position.next().is_some_and(|at| plan.inputs.contains(&at)));
        let sink = Sink::in_memory();
        let ids = self.storage.merge(&self.table, inputs, drop_deleted, &sink)?;
        let merged = self.sealed(&sink, &ids)?;
        for input in plan.inputs.iter().rev() {
            self.segments.remove(*input);
        }
        self.segments.splice(plan.at..plan.at, merged);
        self.open()
    }
}

impl<S: Storage> Clone for View<S> {
    fn clone(&self) -> View<S> {
        View { memtable: self.memtable.clone(), reader: self.reader.clone(), scans: self.scans }
    }
}

impl<S: Storage + 'static> Subject for Engine<S> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Rc::make_mut(&mut self.view.memtable).insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        Rc::make_mut(&mut self.view.memtable).insert(key.to_vec(), None);
        Ok(())
    }

    fn flush(&mut self) -> Outcome<Reply<()>> {
        let memtable = self.view.memtable.clone();
        if !memtable.is_empty() {
            let (present, sink) = (self.present(), Sink::in_memory());
            let mut run = Run::of(memtable.iter().map(|(key, value)| (&key[..], value.as_deref())));
            let ids = self.storage.flush(&self.table, &present, &mut run, &sink)?;
            let sealed = self.sealed(&sink, &ids)?;
            self.segments.extend(sealed);
            self.open()?;
            self.view.memtable = Rc::default();
        }
        Ok(Reply::Done(()))
    }

    fn merge(&mut self, all: bool) -> Outcome<Reply<()>> {
        if all && !self.segments.is_empty() {
            let inputs = (0..self.segments.len()).collect();
            self.compact(&Compaction { inputs, at: 0, urgent: false })?;
        }
        for _ in 0..MERGES_MAX {
            let present = self.present();
            match self.storage.plan_compaction(&self.table, &present)? {
                Some(plan) => self.compact(&plan)?,
                None => return Ok(Reply::Done(())),
            }
        }
        Err(format!("{MERGES_MAX} merges one after the other, and more are planned").into())
    }

    fn reload(&mut self) -> Outcome<Reply<()>> {
        self.storage = S::init()?;
        self.open()?;
        Ok(Reply::Done(()))
    }

    fn reopen(&mut self) -> Outcome<Reply<()>> {
        self.flush()?;
        self.reload()
    }

    fn snapshot(&mut self) -> Outcome<Reply<Box<dyn Reads>>> {
        Ok(Reply::Done(Box::new(self.view.clone())))
    }
}

impl<S: Storage + 'static> Reads for Engine<S> {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        self.view.get(key)
    }

    fn multi_get(&mut self, keys: &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>> {
        self.view.multi_get(keys)
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        self.view.scan(scan)
    }

    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        self.flush()?;
        self.view.scan_columns(scan)
    }
}

impl<S: Storage> Reads for View<S> {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.multi_get(&[key])?.pop().flatten())
    }

    fn multi_get(&mut self, keys: &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>> {
        let missing: Vec<_> =
            keys.iter().copied().filter(|key| !self.memtable.contains_key(*key)).collect();
        let answers = self.reader.multi_get(&missing)?;
        if answers.len() != missing.len() {
            return Err(format!("{} answers to {} keys", answers.len(), missing.len()).into());
        }
        let mut answers = answers.into_iter();
        let value = |key: &&[u8]| match self.memtable.get(*key) {
            Some(value) => value.clone(),
            None => match answers.next() {
                Some(Lookup::Value(value)) => Some(value),
                _ => None,
            },
        };
        Ok(keys.iter().map(value).collect())
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        let Scan { range, reverse, limit, selection } = scan;
        let limit = limit.unwrap_or(usize::MAX);
        // So many of the engine's rows the memtable may hide.
        let hidden = self.memtable.len();
        let (mut rows, mut present) = (BTreeMap::new(), 0_usize);
        self.scans += 1;
        let mut cursor = self.reader.scan(range, *reverse, selection.clone())?;
        read(&mut cursor, range, *reverse, BATCHES[self.scans % BATCHES.len()], |key, value| {
            rows.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            present += usize::from(value.is_some());
            present < limit.saturating_add(hidden)
        })?;
        for (key, value) in self.memtable.iter().filter(|(key, _)| range.contains(key)) {
            let selected = match (value, selection) {
                (Some(value), Some(selection)) => selection.apply(key, value[..].into())?,
                (value, _) => value.as_ref().map(|value| value[..].into()),
            };
            rows.insert(key.clone(), selected.map(|value| value.to_vec()));
        }
        let mut rows: Vec<Row> =
            rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if *reverse {
            rows.reverse();
        }
        rows.truncate(limit);
        Ok(rows)
    }

    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        let Some(selection) = &scan.selection else { return Ok(Reply::NotSupported) };
        if self.memtable.keys().any(|key| scan.range.contains(key)) {
            // Which of the engine's rows these hide only their keys would tell.
            return Ok(Reply::NotSupported);
        }
        self.scans += 1;
        let (rows_max, bytes_max) = BATCHES[self.scans % BATCHES.len()];
        let mut cursor = self.reader.scan_columns(&scan.range, selection.clone())?;
        let (mut rows, mut last) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let batch = cursor.next_batch(rows_max, bytes_max)?;
            for row in 0..batch.rows() {
                rows.push(
                    (0..batch.kinds().len()).map(|column| batch.value(column, row)).collect(),
                );
            }
            let Some(through) = batch.through() else { return Ok(Reply::Done(rows)) };
            if last.as_deref().is_some_and(|last| through <= last) {
                return Err(format!("columns through {} once more", shown(through)).into());
            }
            last = Some(through.to_vec());
        }
    }
}

/// Gives `each` the rows of `cursor` until it has enough or there are no more. What a host refuses is an
/// error here too: rows out of order or out of range.
fn read(
    cursor: &mut impl Cursor,
    range: &KeyRange,
    reverse: bool,
    (rows_max, bytes_max): (usize, usize),
    mut each: impl FnMut(&[u8], Option<&[u8]>) -> bool,
) -> Outcome<()> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let mut batch = RowBatch::new(rows_max, bytes_max);
        cursor.next_batch(&mut batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        if rows_max < batch.len() {
            return Err(format!("{} rows where {rows_max} were asked for", batch.len()).into());
        }
        for (key, value) in (0..batch.len()).map_while(|index| batch.get(index)) {
            if !range.contains(key) {
                return Err(
                    format!("a scan gives {}, which is out of its range", shown(key)).into()
                );
            }
            if let Some(last) = &last
                && (key == last.as_slice() || (key < last.as_slice()) != reverse)
            {
                let (key, last) = (shown(key), shown(last));
                return Err(format!("a scan gives {key} behind {last}, out of order").into());
            }
            last = Some(key.to_vec());
            if !each(key, value) {
                return Ok(());
            }
        }
    }
}
