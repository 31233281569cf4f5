//! A storage engine that keeps rows one behind the other, and reads whole segments.
//!
//! | size | field                                               |
//! |-----:|-----------------------------------------------------|
//! |    4 | length of the key                                   |
//! |    4 | length of the value, 2^32 - 1 of a row that is gone |
//! |    n | the key, then the value                             |
//!
//! Integers are little-endian.

use sochdb_guest::select::Selection;
use sochdb_guest::{
    Compaction, Cursor, Error, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink,
    Storage, Table,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;

const GONE: u32 = u32::MAX;
/// So many segments are left as they are.
const SEGMENTS_FEW: usize = 4;

/// The engine. Any instance reads what any other wrote, so it keeps nothing between calls.
struct MyPlugin;

/// The rows of some segments; of those that are gone the value is `None`.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Some segments, open for reading.
struct Opened(Rc<Rows>);

/// A scan under way.
struct Scan {
    rows: vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>,
    selection: Option<Selection>,
}

impl Storage for MyPlugin {
    type Reader = Opened;

    fn init() -> Result<Self> {
        Ok(MyPlugin)
    }

    fn flush(
        &mut self,
        _table: &Table,
        _present: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let mut segment = sink.create()?;
        while let Some((key, value)) = run.next()? {
            let len = value.map_or(GONE, |value| value.len() as u32);
            segment.append(&(key.len() as u32).to_le_bytes())?;
            segment.append(&len.to_le_bytes())?;
            segment.append(key)?;
            segment.append(value.unwrap_or_default())?;
        }
        Ok(vec![segment.seal()?])
    }

    fn plan_compaction(
        &mut self,
        _table: &Table,
        segments: &[Segment],
    ) -> Result<Option<Compaction>> {
        let inputs = (0..segments.len()).collect();
        let all = Compaction {
            inputs,
            at: 0,
            urgent: false,
        };
        Ok((SEGMENTS_FEW < segments.len()).then_some(all))
    }

    fn open(&mut self, _table: &Table, segments: Vec<Segment>) -> Result<Opened> {
        let mut rows = Rows::new();
        for segment in segments {
            let bytes = segment.read(0, segment.info().bytes as usize)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (key, value) =
                    row(&mut rest).ok_or_else(|| Error::corrupt("a segment ends within a row"))?;
                rows.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            }
        }
        Ok(Opened(Rc::new(rows)))
    }
}

/// Takes a row off the front, if one is wholly there.
fn row<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at_checked(len)?;
        *rest = left;
        Some(taken)
    };
    let key_len = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let value_len = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let key = take(key_len as usize)?;
    match value_len {
        GONE => Some((key, None)),
        len => Some((key, Some(take(len as usize)?))),
    }
}

impl Reader for Opened {
    type Cursor = Scan;

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
        let lookup = |key: &&[u8]| match self.0.get(*key) {
            None => Lookup::Unknown,
            Some(None) => Lookup::Deleted,
            Some(Some(value)) => Lookup::Value(value.clone()),
        };
        Ok(keys.iter().map(lookup).collect())
    }

    fn scan(&self, range: &KeyRange, reverse: bool, selection: Option<Selection>) -> Result<Scan> {
        let rows = self.0.iter().filter(|(key, _)| range.contains(key));
        let mut rows: Vec<_> = rows
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if reverse {
            rows.reverse();
        }
        Ok(Scan {
            rows: rows.into_iter(),
            selection,
        })
    }
}

impl Cursor for Scan {
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
        while !batch.is_full() {
            let Some((key, value)) = self.rows.next() else {
                break;
            };
            batch.push_selected(&key, value.as_deref(), self.selection.as_ref())?;
        }
        Ok(())
    }
}

sochdb_guest::export!(storage: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;

    /// Random operations, each answer compared with that of a model. A failure prints the fewest that show it.
    #[test]
    fn it_does_what_a_map_does() {
        sochdb_guest::testing::storage::<MyPlugin>();
    }

    #[test]
    fn a_row_that_was_cut_is_noticed() {
        for cut in [
            &b"\x01\0\0\0"[..],
            b"\x01\0\0\0\x01\0\0\0k",
            b"\x09\0\0\0\xff\xff\xff\xffk",
        ] {
            let mut rest = cut;
            assert!(row(&mut rest).is_none(), "{cut:?}");
        }
    }
}
