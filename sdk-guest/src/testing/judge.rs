//! One sequence of operations on a subject and on the model, until an answer differs.

use super::operation::{Operation, Scan, shown};
use super::subject::{Outcome, Reads, Reply, Row, Setup, Subject};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the subject must have.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// How much was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Subjects that were made.
    pub sequences: usize,
    /// Operations that they answered.
    pub operations: usize,
    /// Rows, or their absence, that were compared.
    pub compared: usize,
    asked: [usize; Operation::NAMES.len()],
}

impl Report {
    /// How often each operation was asked for and supported.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, usize)> {
        Operation::NAMES.into_iter().zip(self.asked)
    }

    pub(super) fn add(&mut self, other: &Report) {
        self.sequences += other.sequences;
        self.operations += other.operations;
        self.compared += other.compared;
        self.asked.iter_mut().zip(other.asked).for_each(|(sum, count)| *sum += count);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sequences of {} operations (", self.sequences, self.operations)?;
        for (index, (name, count)) in self.asked().filter(|(_, count)| 0 < *count).enumerate() {
            write!(f, "{}{count} {name}", if index == 0 { "" } else { ", " })?;
        }
        write!(f, "), {} rows compared", self.compared)
    }
}

/// The first wrong answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// After which of the operations.
    pub position: usize,
    /// What is wrong, in words.
    pub what: String,
}

/// Runs `operations` on a fresh subject. At the end everything is read once more.
pub(super) fn judge(
    setup: &Setup,
    operations: &[Operation],
    make: &mut dyn FnMut(&Setup) -> Outcome<Box<dyn Subject>>,
) -> Result<Report, Wrong> {
    let mut position = 0;
    let run = AssertUnwindSafe(|| {
        let subject = make(setup).map_err(|error| format!("it cannot be made: {error}"))?;
        let report = Report { sequences: 1, ..Report::default() };
        let mut judge = Judge { subject, model: Model::new(), snapshots: Vec::new(), report };
        for operation in operations {
            judge.step(operation)?;
            position += 1;
        }
        judge.read_all()?;
        Ok(judge.report)
    });
    let judged = catch_unwind(run).unwrap_or_else(|panic| Err(words_of(&*panic)));
    judged.map_err(|what| Wrong { position, what })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without words"))
}

struct Judge {
    subject: Box<dyn Subject>,
    model: Model,
    /// Oldest first.
    snapshots: Vec<(Box<dyn Reads>, Model)>,
    report: Report,
}

impl Judge {
    fn step(&mut self, operation: &Operation) -> Result<(), String> {
        let failed = |error| format!("{}: {error}", operation.name());
        let was_done = match operation {
            Operation::Write(rows) => {
                self.subject.write(rows).map_err(failed)?;
                for (key, value) in rows {
                    match value {
                        Some(value) => drop(self.model.insert(key.clone(), value.clone())),
                        None => drop(self.model.remove(key)),
                    }
                }
                true
            }
            Operation::Get { key, at } => {
                self.get(&[key], *at, |reads, keys| Ok(vec![reads.get(keys[0])?]))?
            }
            Operation::MultiGet { keys, at } => {
                let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                self.get(&keys, *at, |reads, keys| reads.multi_get(keys))?
            }
            Operation::Scan { scan, at } => self.scan(scan, *at)?,
            Operation::Columns { scan, at } => self.columns(scan, *at)?,
            Operation::Snapshot => match self.subject.snapshot().map_err(failed)? {
                Reply::Done(reads) => {
                    self.snapshots.push((reads, self.model.clone()));
                    true
                }
                Reply::NotSupported => false,
            },
            Operation::EndSnapshot if self.snapshots.is_empty() => false,
            Operation::EndSnapshot => {
                self.snapshots.remove(0);
                true
            }
            Operation::Flush => is_done(&self.subject.flush().map_err(failed)?),
            Operation::Merge { all } => is_done(&self.subject.merge(*all).map_err(failed)?),
            Operation::Reload => is_done(&self.subject.reload().map_err(failed)?),
            Operation::Reopen => {
                self.snapshots.clear();
                is_done(&self.subject.reopen().map_err(failed)?)
            }
            Operation::Crash => {
                self.snapshots.clear();
                is_done(&self.subject.crash().map_err(failed)?)
            }
        };
        if was_done {
            self.report.operations += 1;
            let known = Operation::NAMES.iter().zip(&mut self.report.asked);
            known.filter(|(name, _)| **name == operation.name()).for_each(|(_, count)| *count += 1);
        }
        Ok(())
    }

    /// The present, or a snapshot; none when there is none of that number.
    fn at(&mut self, at: Option<usize>) -> Option<(&mut dyn Reads, &Model)> {
        match at {
            None => Some((&mut *self.subject, &self.model)),
            Some(at) => {
                let (reads, model) = self.snapshots.get_mut(at)?;
                Some((&mut **reads, model))
            }
        }
    }

    fn get(
        &mut self,
        keys: &[&[u8]],
        at: Option<usize>,
        ask: impl Fn(&mut dyn Reads, &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>>,
    ) -> Result<bool, String> {
        let Some((reads, model)) = self.at(at) else { return Ok(false) };
        let found = ask(reads, keys).map_err(|error| format!("a read: {error}"))?;
        if found.len() != keys.len() {
            return Err(format!("{} answers to {} keys", found.len(), keys.len()));
        }
        for (key, found) in keys.iter().zip(&found) {
            let wanted = model.get(*key);
            if found.as_ref() != wanted {
                let value = |value: Option<&Vec<u8>>| {
                    value.map_or("no row".to_owned(), |value| shown(value))
                };
                let (found, wanted) = (value(found.as_ref()), value(wanted));
                return Err(format!("the key {} has {found}, not {wanted}", shown(key)));
            }
        }
        self.report.compared += keys.len();
        Ok(true)
    }

    fn scan(&mut self, scan: &Scan, at: Option<usize>) -> Result<bool, String> {
        let Some((reads, model)) = self.at(at) else { return Ok(false) };
        let found = reads.scan(scan).map_err(|error| format!("scan: {error}"))?;
        let wanted = wanted(model, scan)?;
        compare(&found, &wanted)?;
        self.report.compared += wanted.len();
        Ok(true)
    }

    fn columns(&mut self, scan: &Scan, at: Option<usize>) -> Result<bool, String> {
        let Some((reads, model)) = self.at(at) else { return Ok(false) };
        let answer = reads.scan_columns(scan).map_err(|error| format!("columns: {error}"))?;
        let Reply::Done(found) = answer else { return Ok(false) };
        let projection = scan.selection.as_ref().and_then(|selection| selection.projection());
        let Some(projection) = projection else { return Ok(false) };
        let wanted = wanted(model, scan)?;
        // Compared as bytes: as numbers, 0.0 would be -0.0.
        let encode = |row: &Vec<_>| projection.schema().encode_row(row);
        let found: Vec<_> = found
            .iter()
            .map(encode)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("columns that are no rows of the projection: {error}"))?;
        let at = found.iter().zip(&wanted).position(|(found, (_, wanted))| found != wanted);
        if let Some(at) = at {
            let decoded = |bytes: &[u8]| format!("{:?}", projection.decode(bytes));
            let (found, wanted) = (decoded(&found[at]), decoded(&wanted[at].1));
            return Err(format!("row {at} of the columns is {found}, not {wanted}"));
        }
        if found.len() != wanted.len() {
            return Err(format!("the columns have {} rows, not {}", found.len(), wanted.len()));
        }
        self.report.compared += wanted.len();
        Ok(true)
    }

    /// Every row of every snapshot and of the present, both ways and by their keys.
    fn read_all(&mut self) -> Result<(), String> {
        let positions = (0..self.snapshots.len()).map(Some).chain([None]);
        for at in positions.collect::<Vec<_>>() {
            for reverse in [false, true] {
                let range = crate::KeyRange::all();
                self.scan(&Scan { range, reverse, limit: None, selection: None }, at)?;
            }
            let Some((_, model)) = self.at(at) else { continue };
            let keys: Vec<_> = model.keys().cloned().collect();
            for keys in keys.chunks(100) {
                let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                self.get(&keys, at, |reads, keys| reads.multi_get(keys))?;
            }
        }
        Ok(())
    }
}

fn is_done(reply: &Reply<()>) -> bool {
    *reply == Reply::Done(())
}

/// What `scan` must give.
fn wanted(model: &Model, scan: &Scan) -> Result<Vec<Row>, String> {
    if scan.range.is_empty() {
        return Ok(Vec::new());
    }
    let rows = model.range((scan.range.start.clone(), scan.range.end.clone()));
    let rows: Box<dyn Iterator<Item = _>> =
        if scan.reverse { Box::new(rows.rev()) } else { Box::new(rows) };
    let select = |(key, value): (&Vec<u8>, &Vec<u8>)| match &scan.selection {
        None => Ok(Some((key.clone(), value.clone()))),
        Some(selection) => {
            let selected = selection.apply(key, value.as_slice().into());
            let selected = selected.map_err(|error| format!("the kit's own row: {error}"))?;
            Ok(selected.map(|value| (key.clone(), value.to_vec())))
        }
    };
    rows.map(select).filter_map(Result::transpose).take(scan.limit.unwrap_or(usize::MAX)).collect()
}

fn compare(found: &[Row], wanted: &[Row]) -> Result<(), String> {
    let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let at = differs.unwrap_or(found.len().min(wanted.len()));
    let row = |row: &Row| format!("{} = {}", shown(&row.0), shown(&row.1));
    match (found.get(at), wanted.get(at)) {
        (None, None) => Ok(()),
        (Some(found), Some(wanted)) => {
            Err(format!("row {at} of the scan is {}, not {}", row(found), row(wanted)))
        }
        (Some(found), None) => Err(format!("the scan has {} behind its {at} rows", row(found))),
        (None, Some(wanted)) => {
            Err(format!("the scan ends after {at} rows, before {}", row(wanted)))
        }
    }
}
