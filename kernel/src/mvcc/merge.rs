//! Many sorted sources as one: of equal keys the newest source's row wins.

use super::memtable::MemCursor;
use super::version::Access;
use crate::error::KernelResult;
use crate::kernel_api::Slice;
use crate::limits::{RUN_BATCH_BYTES, RUN_BATCH_ROWS};
use crate::plugin::{RunCursor, RunRow};
use crate::tree::node::Stored;
use crate::tree::read::TreeCursor;
use std::collections::VecDeque;

/// A key and its value; `None` is a tombstone.
pub(crate) type Row = (Vec<u8>, Option<Slice>);

/// One sorted source of rows.
pub(crate) enum Source {
    Memory(MemCursor),
    /// A transaction's own writes.
    Writes(std::vec::IntoIter<Row>),
    Tree(Box<(TreeCursor, Access)>),
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
            Source::Tree(tree) => match tree.0.next()? {
                Some((key, Stored::Inline(value))) => Some((key, Some(value))),
                Some((key, stored)) => Some((key, Some(tree.1.value(stored)?))),
                None => None,
            },
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
    /// Whether deletions are left out.
    live: bool,
    started: bool,
}

impl Merged {
    /// Every key's newest row; those that are deletions only if not `live`.
    pub fn new(sources: Vec<Source>, reverse: bool, live: bool) -> Merged {
        let sources = sources.into_iter().map(|source| (source, None)).collect();
        Merged { sources, reverse, live, started: false }
    }

    /// The next row.
    ///
    /// # Errors
    /// Whatever a source returns.
    pub fn next(&mut self) -> KernelResult<Option<Row>> {
        loop {
            match self.advance()? {
                Some((_, None)) if self.live => {}
                row => return Ok(row),
            }
        }
    }

    fn advance(&mut self) -> KernelResult<Option<Row>> {
        if !self.started {
            self.started = true;
            for (source, head) in &mut self.sources {
                *head = source.next()?;
            }
            self.sources.retain(|(_, head)| head.is_some());
        }
        if let [(source, head)] = &mut self.sources[..] {
            // Nothing to compare with, and so no need to read ahead.
            return if head.is_some() { Ok(head.take()) } else { source.next() };
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
