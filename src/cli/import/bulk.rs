//! The beginning of an import in bulk: rows of a table that has none yet go straight into its storage.
//!
//! ```text
//!   batches ── keys grow ──────────────▶ a hidden table ── gets its name, with the record ──▶ the table
//!      │  └─── they do not ── sort ──────▲ as many as fit into memory        one transaction
//!      └────── the batch behind, and all that follow ──▶ commit
//! ```
//!
//! 1. Nobody sees a row before all rows of this part are there. Then it is as if their batches had been committed.
//! 2. What ends the part (a key that is not greater, a row that is too large, a bad one, Ctrl-C) is dealt with behind
//!    it as in any import, so an import that ended there goes on with `--resume`.
//! 3. Bad rows of the part are set aside right before the table gets its name, and few enough for memory.
//! 4. A crash before that leaves a hidden table or pieces of one, and the next opening removes them.
//!
//! What is loaded so goes through no hook, is marked in no index, counts for no tenant and stands in no log. So tables
//! with hooks or indexes, tables of tenants, and databases that archive their log get all rows by commits.

use super::ahead::{Ahead, BAD_ROWS_MAX, Batch};
use super::commit::{After, Target, is_behind};
use super::row::{Bad, Position};
use super::{Bar, Done};
use crate::cli::cancel;
use crate::cli::failure::Outcome;
use crate::cli::text::KeyValue;
use sochdb::host::policy::HOST_TABLES;
use sochdb::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use sochdb::operations::loading_table;
use sochdb::{
    Database, IsolationLevel, Kernel, KernelError, KernelResult, TableOptions, TransactionOptions,
};
use std::mem;

/// What a row takes in memory beside its bytes, while it waits to be sorted.
const ROW_BYTES: usize = mem::size_of::<KeyValue>() + 32;

/// Whether the rows of `table`, to be created if `create` says how, may begin in bulk.
pub fn serves(db: &Database, table: &str, create: Option<&TableOptions>) -> Outcome<bool> {
    let is_of_others = table.contains('/') || table.starts_with(HOST_TABLES);
    let mut tx = db.begin()?;
    if is_of_others || db.options().wal_archive || tx.is_hooked(table)? {
        return Ok(false);
    }
    match create {
        // What cannot be created is refused where it always is.
        Some(options) => Ok(tx.create_table(table, options.clone()).is_ok()),
        None => Ok(tx.indexes(table)?.is_empty() && is_empty(&tx, table)?),
    }
}

fn is_empty(tx: &sochdb::Transaction, table: &str) -> KernelResult<bool> {
    Ok(tx.scan(table, ..)?.next().transpose()?.is_none())
}

/// The batches at the beginning of an import, as the rows that a bulk load takes.
pub struct Part<'a> {
    first: Option<Batch>,
    batches: &'a mut Ahead,
    bar: &'a Bar,
    /// Bad rows of which this part may consist.
    bad_max: usize,
    /// Whether rows are loaded while they are read; otherwise all of them wait, sorted.
    is_sorted: bool,
    waiting: std::vec::IntoIter<KeyValue>,
    greatest: Option<Vec<u8>>,
    taken: Taken,
    /// What ended it.
    rest: Option<Outcome<Batch>>,
}

/// What a part consists of.
#[derive(Default)]
struct Taken {
    rows: u64,
    /// Rows that another with the same key replaced.
    replaced: u64,
    bad: Vec<(u64, Bad)>,
    end: Position,
    is_last: bool,
}

impl<'a> Part<'a> {
    /// Begins with the batch `first`. If its keys do not grow, rows of about `bytes_max` bytes are sorted.
    pub fn new(
        first: Batch,
        batches: &'a mut Ahead,
        bar: &'a Bar,
        bad_max: u64,
        bytes_max: usize,
    ) -> Part<'a> {
        let mut part = Part {
            is_sorted: is_behind(None, &first.pairs),
            first: Some(first),
            batches,
            bar,
            bad_max: bad_max.min(BAD_ROWS_MAX as u64) as usize,
            waiting: Vec::new().into_iter(),
            greatest: None,
            taken: Taken::default(),
            rest: None,
        };
        if part.is_sorted {
            part.fill()
        } else {
            part.gather(bytes_max)
        }
        part
    }

    /// Whether nothing of it can be loaded.
    pub fn is_empty(&self) -> bool {
        self.taken.rows == 0
    }

    /// The batch behind it; `None` when nothing follows.
    pub fn rest(mut self) -> Option<Outcome<Batch>> {
        if self.taken.is_last {
            return None;
        }
        Some(self.rest.take().unwrap_or_else(|| self.next_batch()))
    }

    fn next_batch(&mut self) -> Outcome<Batch> {
        cancel::check()?;
        self.first.take().map_or_else(|| self.batches.next(), Ok)
    }

    fn has_ended(&self) -> bool {
        self.taken.is_last || self.rest.is_some()
    }

    /// Takes the next batch if its keys grow on.
    fn fill(&mut self) {
        match self.next_batch() {
            Ok(batch) if self.fits(&batch) && is_behind(self.greatest.as_deref(), &batch.pairs) => {
                self.waiting = self.take(batch).into_iter();
            }
            other => self.rest = Some(other),
        }
    }

    /// Takes batches until they fill memory, and sorts their rows. Of several with one key the last stays.
    fn gather(&mut self, bytes_max: usize) {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max && !self.has_ended() {
            match self.next_batch() {
                Ok(batch) if self.fits(&batch) => {
                    let mut pairs = self.take(batch);
                    let size = |(key, value): &KeyValue| key.len() + value.len() + ROW_BYTES;
                    bytes += pairs.iter().map(size).sum::<usize>();
                    rows.append(&mut pairs);
                }
                other => self.rest = Some(other),
            }
        }
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let count = rows.len();
        rows.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                mem::swap(&mut later.1, &mut kept.1);
            }
            is_same
        });
        self.taken.replaced = (count - rows.len()) as u64;
        self.greatest = rows.last().map(|(key, _)| key.clone());
        self.waiting = rows.into_iter();
    }

    /// Whether a table could take all rows of `batch`, and memory its bad ones.
    fn fits(&self, batch: &Batch) -> bool {
        let is_small =
            |(key, value): &KeyValue| key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
        self.taken.bad.len() + batch.bad.len() <= self.bad_max && batch.pairs.iter().all(is_small)
    }

    fn take(&mut self, batch: Batch) -> Vec<KeyValue> {
        let Batch { pairs, mut bad, end, is_last, .. } = batch;
        self.greatest = pairs.last().map(|(key, _)| key.clone()).or(self.greatest.take());
        self.taken.rows += pairs.len() as u64;
        self.taken.bad.append(&mut bad);
        (self.taken.end, self.taken.is_last) = (end, is_last);
        self.bar.show(end, self.taken.rows);
        pairs
    }
}

impl Iterator for Part<'_> {
    type Item = KernelResult<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.waiting.next() {
                return Some(Ok(row));
            }
            if self.has_ended() || !self.is_sorted {
                return None;
            }
            self.fill();
        }
    }
}

impl Target<'_> {
    /// Loads `part` in bulk, counts it in `done`, and returns the batch behind it.
    pub fn load(&mut self, mut part: Part<'_>, done: &mut Done) -> Outcome<Option<Outcome<Batch>>> {
        if part.is_empty() {
            return Ok(part.rest());
        }
        let options = match &self.create {
            Some(options) => options.clone(),
            None => self.db.begin_read()?.table(self.table)?.options,
        };
        let hidden = loading_table(0);
        Kernel::bulk_load(self.db, &hidden, options, &mut part)?;
        let taken = mem::take(&mut part.taken);
        part.taken.is_last = taken.is_last;
        if let Err(failure) = self.name(&hidden, &taken, done) {
            // Where even this fails, the next opening does it.
            let _ = self.db.drop_table(&hidden);
            return Err(failure);
        }
        self.greatest = part.greatest.take();
        Ok(part.rest())
    }

    /// Gives the loaded table its name.
    fn name(&mut self, hidden: &str, taken: &Taken, done: &mut Done) -> Outcome {
        self.set_aside(&taken.bad)?;
        if self.identity.is_some() && !taken.is_last {
            super::unfinished::prepare(self.db)?;
        }
        let rejected = done.rejected + taken.bad.len() as u64;
        let after = After {
            rows: done.rows + done.resumed_after + taken.rows,
            rejected,
            end: taken.end,
            is_last: taken.is_last,
        };
        let isolation = IsolationLevel::Serializable;
        let options = TransactionOptions { isolation, ..TransactionOptions::default() };
        let table_id = self.db.run_with(options, |tx| {
            if self.create.is_none() {
                self.make_room(tx)?;
            }
            tx.rename_table(hidden, self.table)?;
            let table_id = tx.table(self.table)?.id.0;
            self.note(tx, &after, table_id).map(|()| table_id)
        })?;
        self.create = None;
        done.rows += taken.rows;
        done.rows_loaded = taken.rows;
        done.rows_replaced += taken.replaced;
        done.rejected = rejected;
        done.commits += 1;
        self.record = self.record_at(&after, table_id);
        Ok(())
    }

    /// Removes the table that was there and had no rows.
    fn make_room(&self, tx: &mut sochdb::Transaction) -> KernelResult<()> {
        if !is_empty(tx, self.table)? || !tx.indexes(self.table)?.is_empty() {
            let text = "others wrote to it while the rows of the import were loaded";
            return Err(KernelError::invalid(format!("table '{}': {text}", self.table)));
        }
        tx.drop_table(self.table)
    }
}
