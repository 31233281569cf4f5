//! One sequence: a table, and operations on it that follow from a seed.

use super::keys::{Keys, Values, near};
use super::operation::{Operation, Scan};
use super::rows::Rows;
use super::subject::Setup;
use crate::KeyRange;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows of the largest write: several blocks of every engine.
const ROWS_MAX: usize = 600;
/// Snapshots that are open at the same time.
const SNAPSHOTS_MAX: usize = 3;

/// The table and the operations of sequence `number` of `seed`.
pub(super) fn sequence(seed: u64, number: usize, operations: usize) -> (Setup, Vec<Operation>) {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64);
    let kind = if rng.bool() {
        let rows = Rows::new(&mut rng);
        Kind::Typed { rows, is_spoiled: rng.u8(..4) == 0 }
    } else {
        Kind::Bytes(Keys::ALL[rng.usize(..Keys::ALL.len())], Values::ALL[rng.usize(..4)])
    };
    let (schema, words) = match &kind {
        Kind::Typed { rows, is_spoiled } => {
            let spoiled = if *is_spoiled { ", and some rows that are none" } else { "" };
            (Some(rows.schema.clone()), rows.words() + spoiled)
        }
        Kind::Bytes(keys, values) => (None, format!("{} and {}", keys.words(), values.words())),
    };
    let mut generator = Generator { rng, kind, known: Vec::new(), next: 0, snapshots: 0 };
    let operations = (0..operations).map(|_| generator.operation()).collect();
    (Setup { number, schema, settings: BTreeMap::new(), words }, operations)
}

enum Kind {
    Bytes(Keys, Values),
    Typed {
        rows: Rows,
        /// Nobody checks what is written to a typed table: some rows are any bytes. Nobody can select from
        /// them either.
        is_spoiled: bool,
    },
}

struct Generator {
    rng: Rng,
    kind: Kind,
    /// Keys that were written; most may still be there.
    known: Vec<Vec<u8>>,
    /// Counts rows that were written.
    next: u64,
    snapshots: usize,
}

impl Generator {
    fn operation(&mut self) -> Operation {
        match self.rng.u8(..100) {
            0..36 => self.write(),
            36..44 => Operation::Get { key: self.key(), at: self.at() },
            44..52 => {
                let keys = (0..self.rng.usize(..30)).map(|_| self.key()).collect();
                Operation::MultiGet { keys, at: self.at() }
            }
            52..67 => Operation::Scan { scan: self.scan(), at: self.at() },
            67..72 => self.columns(),
            72..75 if self.snapshots < SNAPSHOTS_MAX => {
                self.snapshots += 1;
                Operation::Snapshot
            }
            72..76 => {
                self.snapshots = self.snapshots.saturating_sub(1);
                Operation::EndSnapshot
            }
            76..87 => Operation::Flush,
            87..92 => Operation::Merge { all: false },
            92..94 => Operation::Merge { all: true },
            94..96 => Operation::Reload,
            96..98 => {
                self.snapshots = 0;
                Operation::Reopen
            }
            _ => {
                self.snapshots = 0;
                Operation::Crash
            }
        }
    }

    fn write(&mut self) -> Operation {
        let count = match self.rng.u8(..8) {
            0 => self.rng.usize(1..ROWS_MAX),
            1..4 => self.rng.usize(1..40),
            _ => 1,
        };
        let deletes = [0, 1, 2, 7][self.rng.usize(..4)];
        let rows = (0..count).map(|_| {
            if self.rng.u8(..8) < deletes {
                (self.key(), None)
            } else {
                let (key, value) = self.row();
                (key, Some(value))
            }
        });
        Operation::Write(rows.collect())
    }

    /// A row to write: often one whose key was written before.
    fn row(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.next += 1;
        let (mut key, value) = match &self.kind {
            Kind::Typed { rows, is_spoiled } => {
                let (mut key, mut value) = rows.row(&mut self.rng, self.next);
                match self.rng.u8(..40) {
                    0 if *is_spoiled => value = Values::Small.value(&mut self.rng),
                    1 if *is_spoiled => drop(value.pop()),
                    2 if *is_spoiled => value.push(0),
                    3 if *is_spoiled => key = near(&mut self.rng, &key),
                    _ => {}
                }
                (key, value)
            }
            Kind::Bytes(keys, values) => {
                (keys.key(&mut self.rng, self.next), values.value(&mut self.rng))
            }
        };
        if self.rng.u8(..3) == 0
            && let Some(known) = self.rng.choice(&self.known)
        {
            key = known.clone();
        } else {
            self.known.push(key.clone());
        }
        (key, value)
    }

    /// A key to ask for, or to delete: mostly one that was written, or one close to it.
    fn key(&mut self) -> Vec<u8> {
        let dice = self.rng.u8(..8);
        match (self.rng.choice(&self.known), &self.kind) {
            (Some(known), _) if dice < 5 => known.clone(),
            // In a typed table a key is a key of its columns.
            (Some(known), Kind::Bytes(..)) if dice < 7 => {
                let known = known.clone();
                near(&mut self.rng, &known)
            }
            (_, Kind::Bytes(keys, _)) => {
                let next = self.rng.u64(..=self.next + 1);
                keys.key(&mut self.rng, next)
            }
            (_, Kind::Typed { rows, .. }) => {
                let next = self.rng.u64(..=self.next + 1);
                rows.row(&mut self.rng, next).0
            }
        }
    }

    fn at(&mut self) -> Option<usize> {
        (0 < self.snapshots && self.rng.u8(..3) == 0).then(|| self.rng.usize(..self.snapshots))
    }

    fn scan(&mut self) -> Scan {
        let (range, reverse) = (self.range(), self.rng.bool());
        let limit = (self.rng.u8(..4) == 0).then(|| self.rng.usize(..20));
        let selection = match &self.kind {
            Kind::Typed { rows, is_spoiled: false } if self.rng.bool() => {
                Some(rows.selection(&mut self.rng, self.next, false))
            }
            _ => None,
        };
        Scan { range, reverse, limit, selection }
    }

    /// A scan of columns, or where there are none one of rows.
    fn columns(&mut self) -> Operation {
        let (scan, at) = (self.scan(), self.at());
        let Kind::Typed { rows, is_spoiled: false } = &self.kind else {
            return Operation::Scan { scan, at };
        };
        let selection = Some(rows.selection(&mut self.rng, self.next, true));
        let scan = Scan { reverse: false, limit: None, selection, ..scan };
        Operation::Columns { scan, at }
    }

    /// Every kind of bound; mostly in order, sometimes equal or the wrong way round.
    fn range(&mut self) -> KeyRange {
        if self.rng.u8(..5) == 0 {
            return KeyRange::all();
        }
        let (mut start, mut end) = (self.end(), self.end());
        if self.rng.u8(..12) == 0 {
            end = start.clone();
        } else if end < start && self.rng.u8(..8) != 0 {
            (start, end) = (end, start);
        }
        let mut bound = |key| match self.rng.u8(..5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Excluded(key),
            _ => Bound::Included(key),
        };
        KeyRange { start: bound(start), end: bound(end) }
    }

    /// A key for the end of a range: any bytes.
    fn end(&mut self) -> Vec<u8> {
        let key = self.key();
        if self.rng.u8(..3) == 0 { near(&mut self.rng, &key) } else { key }
    }
}
