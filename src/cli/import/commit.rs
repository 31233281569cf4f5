//! Batches on their way into the table: rows, their rejects and the position behind them, in one transaction.
//!
//! Where bad rows are set aside, a batch that is refused is tried again row by row, so that a hook, or a row that is
//! too large, costs that row alone. Everything else that fails ends the import.

use super::Done;
use super::ahead::Batch;
use super::rejects::Rejects;
use super::row::{Bad, Position};
use super::unfinished::{self, Identity, Record};
use crate::cli::failure::Outcome;
use crate::cli::text::{JsonPair, JsonRow, KeyValue};
use serde_json::Value as Json;
use sochdb::{Database, KernelError, KernelResult, PluginFault, Schema, TableOptions, Transaction};
use std::collections::HashSet;

/// The table that an import goes to.
pub struct Target<'a> {
    pub(super) db: &'a Database,
    pub(super) table: &'a str,
    schema: Option<Schema>,
    /// What the table is like, as long as it is to be created.
    pub(super) create: Option<TableOptions>,
    /// Of a table that this import has created: the greatest key so far.
    pub(super) greatest: Option<Vec<u8>>,
    is_own: bool,
    pub(super) identity: Option<Identity>,
    /// What is kept of the import, once it has several batches.
    pub(super) record: Option<Record>,
    pub(super) rejects: Option<Rejects>,
}

/// Where an import stands behind a batch.
pub(super) struct After {
    /// Rows that were written, from its beginning on.
    pub rows: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Where the source goes on.
    pub end: Position,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// What one transaction came to.
struct Written {
    replaced: u64,
    refused: Vec<(u64, Bad)>,
    table_id: u64,
}

impl<'a> Target<'a> {
    /// Writes to `table`, which is created if `create` says how.
    pub fn new(
        db: &'a Database,
        table: &'a str,
        create: Option<TableOptions>,
        identity: Option<Identity>,
        rejects: Option<Rejects>,
        record: Option<Record>,
    ) -> Outcome<Target<'a>> {
        let schema = match &create {
            Some(options) => options.schema.clone(),
            None => db.begin_read()?.table(table)?.options.schema,
        };
        let (greatest, is_own) = (None, create.is_some());
        Ok(Target { db, table, schema, create, greatest, is_own, identity, record, rejects })
    }

    /// The file of rejected rows.
    pub fn into_rejects(self) -> Option<Rejects> {
        self.rejects
    }

    /// Commits one batch, and counts it in `done`.
    pub fn commit(&mut self, batch: &Batch, done: &mut Done) -> Outcome {
        let begun = done.rejected;
        self.set_aside(&batch.bad)?;
        if self.identity.is_some() && !batch.is_last {
            unfinished::prepare(self.db)?;
        }
        let is_new = self.is_own && is_behind(self.greatest.as_deref(), &batch.pairs);
        let all = self.db.run(|tx| {
            let written = self.write(tx, batch, is_new)?;
            self.note(tx, &After::of(batch, done), written.table_id).map(|()| written)
        });
        let written = match all {
            Err(error) if self.rejects.is_some() && is_of_rows(&error) => {
                self.one_by_one(batch, done)?
            }
            all => all?,
        };
        self.create = None;
        if is_new {
            self.greatest = batch.pairs.last().map(|(key, _)| key.clone()).or(self.greatest.take());
        } else {
            self.is_own = false;
        }
        done.rows += batch.pairs.len() as u64 - written.refused.len() as u64;
        done.rows_replaced += written.replaced;
        done.rejected = begun + (batch.bad.len() + written.refused.len()) as u64;
        done.commits += 1;
        let (rows, rejected) = (done.rows + done.resumed_after, done.rejected);
        let after = After { rows, rejected, end: batch.end, is_last: batch.is_last };
        self.record = self.record_at(&after, written.table_id);
        Ok(())
    }

    pub(super) fn set_aside(&mut self, bad: &[(u64, Bad)]) -> Outcome {
        self.rejects.as_mut().map_or(Ok(()), |rejects| rejects.write(bad))
    }

    fn begin(&self, tx: &mut Transaction) -> KernelResult<u64> {
        if let Some(options) = &self.create {
            tx.create_table(self.table, options.clone())?;
        }
        Ok(tx.table(self.table)?.id.0)
    }

    /// All rows at once.
    fn write(&self, tx: &mut Transaction, batch: &Batch, is_new: bool) -> KernelResult<Written> {
        let table_id = self.begin(tx)?;
        let (mut replaced, mut keys) = (0, HashSet::new());
        for (key, _) in batch.pairs.iter().filter(|_| !is_new) {
            replaced += u64::from(!keys.insert(key) || tx.get(self.table, key)?.is_some());
        }
        let rows: Vec<_> =
            batch.pairs.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
        tx.write_all(self.table, &rows)?;
        Ok(Written { replaced, refused: Vec::new(), table_id })
    }

    /// Row by row: those that are refused are left out. They are set aside before the others are committed.
    fn one_by_one(&mut self, batch: &Batch, done: &Done) -> Outcome<Written> {
        let trial = self.db.run(|tx| self.write_each(tx, batch));
        // Nothing of it is kept: it only shows which rows are refused.
        let refused = trial?;
        self.set_aside(&refused)?;
        let bad: HashSet<u64> = refused.iter().map(|(place, _)| *place).collect();
        let good = batch.pairs.iter().zip(&batch.places);
        let (pairs, places) = good
            .filter(|(_, place)| !bad.contains(*place))
            .map(|(pair, place)| (pair.clone(), *place))
            .unzip();
        let good = Batch { pairs, places, bad: Vec::new(), ..*batch };
        let mut counted = *done;
        counted.rejected += (batch.bad.len() + refused.len()) as u64;
        let written = self.db.run(|tx| {
            let written = self.write(tx, &good, false)?;
            self.note(tx, &After::of(&good, &counted), written.table_id).map(|()| written)
        })?;
        Ok(Written { refused, ..written })
    }

    /// Which rows are refused, and why. Nothing of it stays written.
    fn write_each(&self, tx: &mut Transaction, batch: &Batch) -> KernelResult<Vec<(u64, Bad)>> {
        let start = tx.savepoint()?;
        self.begin(tx)?;
        let mut refused = Vec::new();
        for ((key, value), place) in batch.pairs.iter().zip(&batch.places) {
            match tx.put(self.table, key, value) {
                Err(error) if is_of_rows(&error) => {
                    refused.push((*place, Bad::new(reason(&error)).of(self.json(key, value))));
                }
                written => written?,
            }
        }
        tx.rollback_to(start)?;
        Ok(refused)
    }

    fn json(&self, key: &[u8], value: &[u8]) -> Json {
        let row =
            self.schema.as_ref().and_then(|schema| Some((schema, schema.decode(key, value).ok()?)));
        let json = match &row {
            None => serde_json::to_value(JsonPair { key, value, hex: false }),
            Some((schema, row)) => {
                let columns: Vec<usize> = (0..row.len()).collect();
                serde_json::to_value(JsonRow { schema, row, columns: &columns })
            }
        };
        json.unwrap_or_default()
    }

    /// Keeps how far the import is, or forgets it at the end.
    pub(super) fn note(
        &self,
        tx: &mut Transaction,
        after: &After,
        table_id: u64,
    ) -> KernelResult<()> {
        match (self.record_at(after, table_id), &self.record) {
            (Some(record), _) if !after.is_last => record.keep(tx, self.table),
            (_, Some(kept)) if after.is_last => kept.forget(tx, self.table),
            _ => Ok(()),
        }
    }

    pub(super) fn record_at(&self, after: &After, table_id: u64) -> Option<Record> {
        let size = self.rejects.as_ref().map_or((0, after.rejected), Rejects::size);
        Some(Record {
            source: self.identity.clone()?,
            table_id,
            position: after.end,
            rows: after.rows,
            rejects: self.rejects.as_ref().map(|rejects| rejects.path().to_owned()),
            rejects_bytes: size.0,
            rejected: size.1,
        })
    }
}

impl After {
    /// Behind `batch`, when `done` was done before it.
    fn of(batch: &Batch, done: &Done) -> After {
        After {
            rows: done.rows + done.resumed_after + batch.pairs.len() as u64,
            rejected: done.rejected + batch.bad.len() as u64,
            end: batch.end,
            is_last: batch.is_last,
        }
    }
}

/// Whether the keys grow and all come after `greatest`: then no row replaces another.
pub(super) fn is_behind(greatest: Option<&[u8]>, pairs: &[KeyValue]) -> bool {
    let follows =
        pairs.first().is_none_or(|(first, _)| greatest.is_none_or(|last| last < &first[..]));
    follows && pairs.is_sorted_by(|(a, _), (b, _)| a < b)
}

/// Whether another row might have been written.
fn is_of_rows(error: &KernelError) -> bool {
    matches!(
        error,
        KernelError::Invalid(_)
            | KernelError::Limit { .. }
            | KernelError::Plugin { fault: PluginFault::Refused, .. }
    )
}

fn reason(error: &KernelError) -> String {
    let text = error.to_string();
    text.strip_prefix("invalid: ").unwrap_or(&text).to_owned()
}
