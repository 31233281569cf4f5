//! A storage engine that keeps rows plainly, one behind the other, and reads whole segments.
//!
//! | offset | size | type  | field     | meaning                                             |
//! |-------:|-----:|-------|-----------|-----------------------------------------------------|
//! |      0 |    4 | bytes | `magic`   | `SHLF`, or `SHL1` of those in the mood `one-way`    |
//! |      4 |    4 | u32   | `version` | who wrote it                                        |
//! |      8 |    n | rows  | rows      | length of key (u32), of value (u32), key, value     |
//!
//! Integers are little-endian. The length of a value that was deleted is 2^32 - 1. Besides the moods of `mood.rs`,
//! for which a call is about the keys that are read, or nothing:
//!
//! | mood      | what it does                                                  |
//! |-----------|---------------------------------------------------------------|
//! | `lies`    | gives values with another last byte                           |
//! | `one-way` | writes segments that only those in this mood open             |
//! | `blind`   | opens no segment that another version wrote                   |

#[allow(dead_code, reason = "no guest uses all of it")]
#[path = "../../../mood.rs"]
mod mood;

use mood::Mood;
use sochdb_guest::select::Selection;
use sochdb_guest::{
    Compaction, Cursor, Error, KeyRange, Lookup, Reader, Result, RowBatch, Run, Segment, Sink,
    Storage, Table,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;

const MAGIC: [u8; 4] = *b"SHLF";
const MAGIC_ONE_WAY: [u8; 4] = *b"SHL1";
const HEADER_BYTES: usize = 8;
const DELETED: u32 = u32::MAX;
/// Segments that are not worth merging.
const SEGMENTS_FEW: usize = 3;

type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct Shelf {
    mood: Rc<RefCell<Mood>>,
}

struct Opened {
    rows: Rc<Rows>,
    mood: Rc<RefCell<Mood>>,
}

struct Rest {
    rows: vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>,
    selection: Option<Selection>,
    mood: Rc<RefCell<Mood>>,
}

impl Storage for Shelf {
    type Reader = Opened;

    fn init() -> Result<Self> {
        Ok(Shelf { mood: Rc::new(RefCell::new(Mood::read()?)) })
    }

    fn flush(
        &mut self,
        _: &Table,
        _: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> Result<Vec<u64>> {
        let header = {
            let mut mood = self.mood.borrow_mut();
            mood.call(b"")?;
            let magic = if mood.is("one-way") { MAGIC_ONE_WAY } else { MAGIC };
            [magic, mood.version.to_le_bytes()].concat()
        };
        let mut segment = sink.create()?;
        segment.append(&header)?;
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
        Ok((SEGMENTS_FEW < all.len()).then_some(Compaction { inputs, at: 0, urgent: false }))
    }

    fn open(&mut self, _: &Table, segments: Vec<Segment>) -> Result<Opened> {
        let mut rows = Rows::new();
        for segment in segments {
            let bytes = segment.read(0, segment.info().bytes as usize)?;
            read(&self.mood.borrow(), &bytes, &mut rows)?;
        }
        Ok(Opened { rows: Rc::new(rows), mood: self.mood.clone() })
    }

    fn self_test(&mut self) -> Result<()> {
        let sink = Sink::in_memory();
        let rows = [(&b"a"[..], Some(&b"1"[..])), (b"b", None)];
        let segment = self.flush(&Table::default(), &[], &mut Run::of(rows), &sink)?;
        let opened = self.open(&Table::default(), sink.segments())?;
        let found = opened.rows.iter().map(|(key, value)| (&key[..], value.as_deref()));
        match segment == [0] && found.eq(rows) {
            true => self.mood.borrow().self_test(),
            false => Err(Error::internal("rows did not survive")),
        }
    }

    fn export_state(&mut self) -> Result<Vec<u8>> {
        self.mood.borrow().export()
    }

    fn import_state(&mut self, state: Vec<u8>, _version: &str) -> Result<()> {
        self.mood.borrow_mut().import(&state)
    }
}

/// Adds the rows of one segment to those of older ones.
fn read(mood: &Mood, bytes: &[u8], rows: &mut Rows) -> Result<()> {
    let cut = || Error::corrupt("a segment that ends too early");
    let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(cut)?;
    let (magic, version) = header.split_at(MAGIC.len());
    if magic != MAGIC && !(magic == MAGIC_ONE_WAY && mood.is_ever("one-way")) {
        return Err(Error::corrupt(format!("a segment that begins with {magic:?}")));
    }
    if mood.is_ever("blind") && version != mood.version.to_le_bytes() {
        return Err(Error::corrupt("another version wrote this segment"));
    }
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at_checked(len).ok_or_else(cut)?;
        rest = left;
        Ok::<_, Error>(taken)
    };
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let mut left = bytes.len() - HEADER_BYTES;
    while 0 < left {
        let (key_len, len) = (number(take(4)?) as usize, number(take(4)?));
        let key = take(key_len)?.to_vec();
        let value = match len {
            DELETED => None,
            len => Some(take(len as usize)?.to_vec()),
        };
        left = left.saturating_sub(8 + key.len() + value.as_ref().map_or(0, Vec::len));
        rows.insert(key, value);
    }
    Ok(())
}

/// A value as an engine of this mood gives it.
fn shown(mood: &Mood, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(last) = value.last_mut().filter(|_| mood.is("lies")) {
        *last = !*last;
    }
    value
}

impl Reader for Opened {
    type Cursor = Rest;

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Lookup>> {
        let mut mood = self.mood.borrow_mut();
        mood.call(&keys.concat())?;
        let lookup = |key: &&[u8]| match self.rows.get(*key) {
            None => Lookup::Unknown,
            Some(None) => Lookup::Deleted,
            Some(Some(value)) => Lookup::Value(shown(&mood, value)),
        };
        Ok(keys.iter().map(lookup).collect())
    }

    fn scan(&self, range: &KeyRange, reverse: bool, selection: Option<Selection>) -> Result<Rest> {
        self.mood.borrow_mut().call(b"")?;
        let rows = self.rows.iter().filter(|(key, _)| range.contains(key));
        let mut rows: Vec<_> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
        if reverse {
            rows.reverse();
        }
        Ok(Rest { rows: rows.into_iter(), selection, mood: self.mood.clone() })
    }
}

impl Cursor for Rest {
    fn next_batch(&mut self, batch: &mut RowBatch) -> Result<()> {
        let mood = self.mood.borrow();
        while !batch.is_full() {
            let Some((key, value)) = self.rows.next() else { break };
            let value = value.map(|value| shown(&mood, &value));
            batch.push_selected(&key, value.as_deref(), self.selection.as_ref())?;
        }
        Ok(())
    }
}

sochdb_guest::export!(storage: Shelf);
