//! The sources of a table's rows; `sochdb_encoding::merge` makes one of them, the newest source first.

use super::memtable::MemCursor;
use super::version::Access;
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::Slice;
use crate::limits::{RUN_BATCH_BYTES, RUN_BATCH_ROWS};
use crate::plugin::{RunCursor, RunRow};
use crate::tree::node::Stored;
use crate::tree::read::TreeCursor;
use sochdb_encoding::merge;
use sochdb_encoding::select::Selection;
use std::collections::VecDeque;
use std::sync::Arc;

/// A key and its value; `None` is a tombstone.
pub(crate) type Row = merge::Row<Slice>;
/// Sources as one, given from newest to oldest.
pub(crate) type Merged = merge::Merged<Source>;

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
    /// What a scan wants of a source that gives whole rows. A row that it does not want is still the newest
    /// of its key, and so hides older ones as a tombstone does.
    Selected(Box<Source>, Arc<Selection>),
}

impl merge::Source for Source {
    type Value = Slice;
    type Error = KernelError;

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
            Source::Selected(source, selection) => match source.next()? {
                Some((key, Some(value))) => {
                    let value = selection.apply(&key, value)?;
                    Some((key, value))
                }
                row => row,
            },
        })
    }
}
