//! A small engine that is right: what the kit is tried with. Its segments are rows one behind the other.
//!
//! | size | type  | field   | meaning                                        |
//! |-----:|-------|---------|------------------------------------------------|
//! |    4 | u32   | `key`   | bytes of the key                               |
//! |    4 | u32   | `value` | bytes of the value; all ones for a deleted row |
//! |    . | bytes |         | the key, then the value                        |

use crate::select::Selection;
use crate::{
    Compaction, Cursor, Error, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink,
    Storage, Table,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;

const DELETED: u32 = u32::MAX;

/// The engine. It merges four segments to one.
pub struct Example;

/// All rows of some segments.
pub struct Rows(pub(super) Rc<BTreeMap<Vec<u8>, Option<Vec<u8>>>>);

/// Rows that are still to be given out.
pub struct Rest {
    pub(super) rows: vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>,
    selection: Option<Selection>,
}

impl Storage for Example {
    type Reader = Rows;

    fn init() -> Result<Self> {
        Ok(Example)
    }

    fn flush(
        &mut self,
        _: &Table,
        _: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let mut segment = sink.create()?;
        while let Some((key, value)) = run.next()? {
            let len = value.map_or(DELETED, |value| value.len() as u32);
            segment.append(&(key.len() as u32).to_le_bytes())?;
            segment.append(&len.to_le_bytes())?;
            segment.append(key)?;
            segment.append(value.unwrap_or_default())?;
        }
        Ok(vec![segment.seal()?])
    }

    fn plan_compaction(&mut self, _: &Table, all: &[Segment]) -> Result<Option<Compaction>> {
        let inputs = (0..all.len()).collect();
        Ok((4 <= all.len()).then_some(Compaction { inputs, at: 0, urgent: false }))
    }

    fn open(&mut self, _: &Table, segments: Vec<Segment>) -> Result<Rows> {
        let mut rows = BTreeMap::new();
        for segment in segments {
            let bytes = segment.read(0, segment.info().bytes as usize)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let row = row(&mut rest).ok_or_else(|| Error::corrupt("half a row"))?;
                rows.insert(row.0, row.1);
            }
        }
        Ok(Rows(Rc::new(rows)))
    }
}

/// Takes one row off the front.
fn row(rest: &mut &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut number = || rest.split_off(..4)?.try_into().ok().map(u32::from_le_bytes);
    let (key, value) = (number()?, number()?);
    let key = rest.split_off(..key as usize)?.to_vec();
    let value = match value {
        DELETED => None,
        len => Some(rest.split_off(..len as usize)?.to_vec()),
    };
    Some((key, value))
}

impl Reader for Rows {
    type Cursor = Rest;

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
        let lookup = |key: &&[u8]| match self.0.get(*key) {
            None => Lookup::Unknown,
            Some(None) => Lookup::Deleted,
            Some(Some(value)) => Lookup::Value(value.clone()),
        };
        Ok(keys.iter().map(lookup).collect())
    }

    fn scan(&self, range: &KeyRange, reverse: bool, selection: Option<Selection>) -> Result<Rest> {
        let rows = self.0.iter().filter(|(key, _)| range.contains(key));
        let mut rows: Vec<_> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
        if reverse {
            rows.reverse();
        }
        Ok(Rest { rows: rows.into_iter(), selection })
    }
}

impl Cursor for Rest {
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
        while !batch.is_full() {
            let Some((key, value)) = self.rows.next() else { break };
            batch.push_selected(&key, value.as_deref(), self.selection.as_ref())?;
        }
        Ok(())
    }
}
