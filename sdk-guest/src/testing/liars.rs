//! Engines that lie, each in one way: the kit must catch every one of them.

use super::example::{Example, Rest, Rows};
use super::operation::Scan;
use super::subject::{Outcome, Reads, Reply, Row, Setup, Subject};
use super::{Engine, Kit};
use crate::select::Selection;
use crate::{
    Compaction, Cursor, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink, Storage,
    Table,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    DropsARow,
    InventsARow,
    SwapsTwoValues,
    CutsLongKeys,
    TakesEmptyValuesForDeleted,
    ForgetsTombstones,
    LetsOldRowsWin,
    ForgetsTheNewestSegment,
    AnswersKeysInTheirOrder,
    SaysNothingOfTheLastKey,
    IncludesExcludedStarts,
    ExcludesIncludedEnds,
    IgnoresTheEnd,
    GoesForwardWhenAskedToGoBack,
    SwapsTwoRows,
    RepeatsARow,
    LosesARowBetweenBatches,
    GivesMoreThanABatch,
    Panics,
    MergesAcrossItsOwnRows,
    NeverEnds,
    MergesInTheWrongOrder,
    LosesASegmentInAMerge,
    IgnoresTheProjection,
    IgnoresConditions,
}

const LIES: [Lie; 25] = [
    Lie::DropsARow,
    Lie::InventsARow,
    Lie::SwapsTwoValues,
    Lie::CutsLongKeys,
    Lie::TakesEmptyValuesForDeleted,
    Lie::ForgetsTombstones,
    Lie::LetsOldRowsWin,
    Lie::ForgetsTheNewestSegment,
    Lie::AnswersKeysInTheirOrder,
    Lie::SaysNothingOfTheLastKey,
    Lie::IncludesExcludedStarts,
    Lie::ExcludesIncludedEnds,
    Lie::IgnoresTheEnd,
    Lie::GoesForwardWhenAskedToGoBack,
    Lie::SwapsTwoRows,
    Lie::RepeatsARow,
    Lie::LosesARowBetweenBatches,
    Lie::GivesMoreThanABatch,
    Lie::Panics,
    Lie::MergesAcrossItsOwnRows,
    Lie::NeverEnds,
    Lie::MergesInTheWrongOrder,
    Lie::LosesASegmentInAMerge,
    Lie::IgnoresTheProjection,
    Lie::IgnoresConditions,
];

/// The example with the lie at this position of the list.
struct Liar<const LIE: usize>(Example);

struct LyingRows<const LIE: usize>(Rows);

struct LyingRest<const LIE: usize>(Rest);

type Owned = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl<const LIE: usize> Storage for Liar<LIE> {
    type Reader = LyingRows<LIE>;

    fn init() -> Result<Self> {
        Ok(Liar(Example::init()?))
    }

    fn flush(
        &mut self,
        table: &Table,
        present: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let mut rows = Owned::new();
        while let Some((key, value)) = run.next()? {
            rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        }
        let middle = rows.len() / 2;
        match LIES[LIE] {
            Lie::DropsARow if 20 < rows.len() => drop(rows.remove(middle)),
            Lie::InventsARow if 20 < rows.len() => {
                let key = [&rows[middle].0[..], b"\0"].concat();
                rows.insert(middle + 1, (key, Some(b"invented".to_vec())));
                rows.dedup_by(|a, b| a.0 == b.0);
            }
            Lie::SwapsTwoValues if 20 < rows.len() => {
                let value = rows[middle].1.take();
                rows[middle].1 = std::mem::replace(&mut rows[middle + 1].1, value);
            }
            Lie::CutsLongKeys => {
                rows.iter_mut().for_each(|(key, _)| key.truncate(255));
                rows.dedup_by(|a, b| a.0 == b.0);
            }
            Lie::TakesEmptyValuesForDeleted => {
                let empty = rows.iter_mut().filter(|row| row.1.as_deref() == Some(b""));
                empty.for_each(|row| row.1 = None);
            }
            Lie::ForgetsTombstones => rows.retain(|row| row.1.is_some()),
            Lie::Panics => assert!(rows.len() < 50, "fifty rows are too many"),
            _ => {}
        }
        let mut run = Run::of(rows.iter().map(|(key, value)| (&key[..], value.as_deref())));
        self.0.flush(table, present, &mut run, sink)
    }

    fn plan_compaction(&mut self, table: &Table, all: &[Segment]) -> Result<Option<Compaction>> {
        let plan = self.0.plan_compaction(table, all)?;
        Ok(match LIES[LIE] {
            Lie::MergesAcrossItsOwnRows if 3 <= all.len() => {
                Some(Compaction { inputs: vec![0, all.len() - 1], at: 0, urgent: false })
            }
            Lie::NeverEnds if !all.is_empty() => {
                Some(Compaction { inputs: vec![0], at: 0, urgent: true })
            }
            _ => plan,
        })
    }

    fn merge(
        &mut self,
        table: &Table,
        mut segments: Vec<Segment>,
        drop_deleted: bool,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        match LIES[LIE] {
            Lie::MergesInTheWrongOrder => segments.reverse(),
            Lie::LosesASegmentInAMerge if 3 <= segments.len() => drop(segments.remove(1)),
            _ => {}
        }
        let mut rows = self.0.open(table, segments)?.0;
        if drop_deleted {
            Rc::make_mut(&mut rows).retain(|_, value| value.is_some());
        }
        let mut run = Run::of(rows.iter().map(|(key, value)| (&key[..], value.as_deref())));
        self.0.flush(table, &[], &mut run, sink)
    }

    fn open(&mut self, table: &Table, mut segments: Vec<Segment>) -> Result<LyingRows<LIE>> {
        match LIES[LIE] {
            Lie::LetsOldRowsWin => segments.reverse(),
            Lie::ForgetsTheNewestSegment if 2 < segments.len() => drop(segments.pop()),
            _ => {}
        }
        Ok(LyingRows(self.0.open(table, segments)?))
    }
}

impl<const LIE: usize> Reader for LyingRows<LIE> {
    type Cursor = LyingRest<LIE>;

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
        let mut keys = keys.to_vec();
        if LIES[LIE] == Lie::AnswersKeysInTheirOrder {
            keys.sort_unstable();
        }
        let mut found = self.0.multi_get(&keys)?;
        if LIES[LIE] == Lie::SaysNothingOfTheLastKey && 1 < found.len() {
            found.pop();
        }
        Ok(found)
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Selection>,
    ) -> Result<LyingRest<LIE>> {
        let selection = selection.map(|selection| {
            let (schema, projection) =
                (selection.schema().clone(), selection.projection().cloned());
            let conditions = selection.conditions().to_vec();
            match LIES[LIE] {
                Lie::IgnoresTheProjection => Selection::new(schema, None, conditions),
                Lie::IgnoresConditions => Selection::new(schema, projection, Vec::new()),
                _ => Ok(selection),
            }
        });
        let KeyRange { start, end } = range.clone();
        let (start, end) = match (LIES[LIE], start, end) {
            (Lie::IncludesExcludedStarts, Bound::Excluded(key), end) => (Bound::Included(key), end),
            (Lie::ExcludesIncludedEnds, start, Bound::Included(key)) => {
                (start, Bound::Excluded(key))
            }
            (Lie::IgnoresTheEnd, start, _) => (start, Bound::Unbounded),
            (_, start, end) => (start, end),
        };
        let reverse = reverse && LIES[LIE] != Lie::GoesForwardWhenAskedToGoBack;
        let mut rest = self.0.scan(&KeyRange { start, end }, reverse, selection.transpose()?)?;
        let mut rows: Owned = rest.rows.collect();
        let middle = rows.len() / 2;
        match LIES[LIE] {
            Lie::SwapsTwoRows if 20 < rows.len() => rows.swap(middle, middle + 1),
            Lie::RepeatsARow if 20 < rows.len() => rows.insert(middle, rows[middle].clone()),
            _ => {}
        }
        rest.rows = rows.into_iter();
        Ok(LyingRest(rest))
    }
}

impl<const LIE: usize> Cursor for LyingRest<LIE> {
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
        self.0.next_batch(batch)?;
        match LIES[LIE] {
            Lie::LosesARowBetweenBatches => drop(self.0.rows.next()),
            Lie::GivesMoreThanABatch => {
                self.0
                    .rows
                    .by_ref()
                    .take(5)
                    .for_each(|(key, value)| batch.push(&key, value.as_deref()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the kit finds in the engine with the lie at `LIE`.
fn caught<const LIE: usize>() {
    let lie = LIES[LIE];
    let kit = Kit { seed: 1, sequences: 60, ..Kit::default() };
    let failure = kit.check(|setup| Ok(Box::new(Engine::<Liar<LIE>>::new(setup)?)));
    let failure = failure.expect_err(&format!("{lie:?} was not caught"));
    let left = failure.operations.len();
    assert!(left <= 12, "{lie:?} needs {left} operations: {failure}");
    assert!(!failure.wrong.what.is_empty() && failure.to_string().contains("SOCHDB_SEED=1"));
}

#[test]
fn every_lying_engine_is_caught() {
    caught::<0>();
    caught::<1>();
    caught::<2>();
    caught::<3>();
    caught::<4>();
    caught::<5>();
    caught::<6>();
    caught::<7>();
    caught::<8>();
    caught::<9>();
    caught::<10>();
    caught::<11>();
    caught::<12>();
    caught::<13>();
    caught::<14>();
    caught::<15>();
    caught::<16>();
    caught::<17>();
    caught::<18>();
    caught::<19>();
    caught::<20>();
    caught::<21>();
    caught::<22>();
    caught::<23>();
    caught::<24>();
}

/// What is wrong with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    GivesOneRowTooMany,
    IgnoresTheProjection,
    IgnoresConditions,
    SwapsColumns,
    LosesTheLastRowOfColumns,
    ForgetsWhatIsNotFlushed,
    ReloadsToOldRows,
    ShowsTheFutureInSnapshots,
    RefusesAFlush,
    NothingAtAll,
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database that is a map, and wrong in one way.
struct Faulty {
    rows: Rc<Map>,
    flushed: Rc<Map>,
    future: Rc<RefCell<Option<Rc<Map>>>>,
    fault: Fault,
    is_snapshot: bool,
}

impl Faulty {
    fn rows(&self) -> Rc<Map> {
        let future = self.future.borrow().clone();
        match self.fault {
            Fault::ShowsTheFutureInSnapshots if self.is_snapshot => future.unwrap_or_default(),
            _ => self.rows.clone(),
        }
    }
}

impl Reads for Faulty {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.rows().get(key).cloned())
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        let mut selection = scan.selection.clone();
        if let Some(selection) = &mut selection {
            let (schema, projection) =
                (selection.schema().clone(), selection.projection().cloned());
            let conditions = selection.conditions().to_vec();
            *selection = match self.fault {
                Fault::IgnoresTheProjection => Selection::new(schema, None, conditions)?,
                Fault::IgnoresConditions => Selection::new(schema, projection, Vec::new())?,
                _ => selection.clone(),
            };
        }
        let mut rows = Vec::new();
        for (key, value) in self.rows().iter().filter(|(key, _)| scan.range.contains(key)) {
            let value = match &selection {
                None => Some(value.clone()),
                Some(selection) => {
                    selection.apply(key, value[..].into())?.map(|value| value.to_vec())
                }
            };
            rows.extend(value.map(|value| (key.clone(), value)));
        }
        if scan.reverse {
            rows.reverse();
        }
        let more = usize::from(self.fault == Fault::GivesOneRowTooMany);
        rows.truncate(scan.limit.map_or(usize::MAX, |limit| limit + more));
        Ok(rows)
    }

    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<crate::row::Value>>>> {
        let projection = scan.selection.as_ref().and_then(|selection| selection.projection());
        let Some(projection) = projection else { return Ok(Reply::NotSupported) };
        let mut rows = Vec::new();
        for (_, value) in self.scan(scan)? {
            let mut row = projection.decode(&value)?;
            let kinds = &projection.schema().columns;
            if self.fault == Fault::SwapsColumns && 1 < row.len() && kinds[0].kind == kinds[1].kind
            {
                row.swap(0, 1);
            }
            rows.push(row);
        }
        if self.fault == Fault::LosesTheLastRowOfColumns {
            rows.pop();
        }
        Ok(Reply::Done(rows))
    }
}

impl Subject for Faulty {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Rc::make_mut(&mut self.rows).insert(key.to_vec(), value.to_vec());
        *self.future.borrow_mut() = Some(self.rows.clone());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        Rc::make_mut(&mut self.rows).remove(key);
        *self.future.borrow_mut() = Some(self.rows.clone());
        Ok(())
    }

    fn flush(&mut self) -> Outcome<Reply<()>> {
        if self.fault == Fault::RefusesAFlush && 30 < self.rows.len() {
            return Err("more than thirty rows".into());
        }
        self.flushed = self.rows.clone();
        Ok(Reply::Done(()))
    }

    fn reload(&mut self) -> Outcome<Reply<()>> {
        if self.fault == Fault::ReloadsToOldRows {
            self.rows = self.flushed.clone();
        }
        Ok(Reply::Done(()))
    }

    fn crash(&mut self) -> Outcome<Reply<()>> {
        if self.fault == Fault::ForgetsWhatIsNotFlushed {
            self.rows = self.flushed.clone();
        }
        Ok(Reply::Done(()))
    }

    fn snapshot(&mut self) -> Outcome<Reply<Box<dyn Reads>>> {
        *self.future.borrow_mut() = Some(self.rows.clone());
        let (rows, flushed) = (self.rows.clone(), self.flushed.clone());
        let (future, fault) = (self.future.clone(), self.fault);
        let snapshot = Faulty { rows, flushed, future, fault, is_snapshot: true };
        Ok(Reply::Done(Box::new(snapshot)))
    }
}

fn faulty(_: &Setup, fault: Fault) -> Outcome<Box<dyn Subject>> {
    let (rows, flushed, future) = Default::default();
    Ok(Box::new(Faulty { rows, flushed, future, fault, is_snapshot: false }))
}

#[test]
fn every_faulty_database_is_caught() {
    let kit = Kit { seed: 1, sequences: 100, ..Kit::default() };
    for (fault, words) in [
        (Fault::GivesOneRowTooMany, "the scan has"),
        (Fault::IgnoresTheProjection, "of the scan is"),
        (Fault::IgnoresConditions, "the scan"),
        (Fault::SwapsColumns, "of the columns is"),
        (Fault::LosesTheLastRowOfColumns, "the columns have"),
        (Fault::ForgetsWhatIsNotFlushed, "before"),
        (Fault::ReloadsToOldRows, "before"),
        (Fault::ShowsTheFutureInSnapshots, ""),
        (Fault::RefusesAFlush, "flush: more than thirty rows"),
    ] {
        let failure = kit.check(|setup| faulty(setup, fault));
        let failure = failure.expect_err(&format!("{fault:?} was not caught"));
        assert!(failure.operations.len() <= 6, "{fault:?}: {failure}");
        assert!(failure.wrong.what.contains(words), "{fault:?}: {failure}");
    }
    let report = kit.check(|setup| faulty(setup, Fault::NothingAtAll)).unwrap();
    let columns = report.asked().find(|(name, _)| *name == "columns").unwrap();
    assert!(100 < columns.1, "{report}");
}
