//! Many sorted sources as one: of equal keys the newest source's row wins.

use super::memtable::MemCursor;
use crate::error::KernelResult;
use crate::kernel_api::Slice;
use crate::limits::{RUN_BATCH_BYTES, RUN_BATCH_ROWS};
use crate::plugin::{RunCursor, RunRow};
use std::collections::VecDeque;

/// A key and its value; `None` is a tombstone.
pub(crate) type Row = (Vec<u8>, Option<Slice>);

/// Gives the next row, if there is one.
type Next = Box<dyn FnMut() -> KernelResult<Option<Row>> + Send>;

/// One sorted source of rows.
pub(crate) enum Source {
    Memory(MemCursor),
    /// A transaction's own writes.
    Writes(std::vec::IntoIter<Row>),
    Tree(Next),
    Plugin {
        cursor: Box<dyn RunCursor>,
        batch: VecDeque<RunRow>,
        done: bool,
    },
}

impl Source {
    fn next(&mut self) -> KernelResult<Option<Row>> {
        Ok(match self {
            Source::Memory(cursor) => cursor.next(),
            Source::Writes(rows) => rows.next(),
            Source::Tree(next) => next()?,
            Source::Plugin { cursor, batch, done } => {
                if batch.is_empty() && !*done {
                    batch.extend(cursor.next_batch(RUN_BATCH_ROWS, RUN_BATCH_BYTES)?);
                    *done = batch.is_empty();
                }
                batch.pop_front().map(|row| (row.key, row.value))
            }
        })
    }
}

/// Merges sources, given from newest to oldest.
pub(crate) struct Merged {
    sources: Vec<(Source, Option<Row>)>,
    reverse: bool,
    started: bool,
}

impl Merged {
    pub fn new(sources: Vec<Source>, reverse: bool) -> Merged {
        let sources = sources.into_iter().map(|source| (source, None)).collect();
        Merged { sources, reverse, started: false }
    }

    /// The next key's newest row, tombstones included.
    ///
    /// # Errors
    /// Whatever a source returns.
    pub fn next(&mut self) -> KernelResult<Option<Row>> {
        if !self.started {
            self.started = true;
            for (source, head) in &mut self.sources {
                *head = source.next()?;
            }
            self.sources.retain(|(_, head)| head.is_some());
        }
        let mut best: Option<usize> = None;
        for index in 0..self.sources.len() {
            let Some((key, _)) = &self.sources[index].1 else { continue };
            let wins = best.is_none_or(|best| {
                let (leader, _) = self.sources[best].1.as_ref().expect("best has a row");
                if self.reverse { leader < key } else { key < leader }
            });
            if wins {
                best = Some(index);
            }
        }
        let Some(best) = best else { return Ok(None) };
        let (source, head) = &mut self.sources[best];
        let row = std::mem::replace(head, source.next()?).expect("best has a row");
        for (source, head) in &mut self.sources[best + 1..] {
            if head.as_ref().is_some_and(|(key, _)| *key == row.0) {
                *head = source.next()?;
            }
        }
        Ok(Some(row))
    }
}
