//! Rows read ahead: one thread reads and converts, batch by batch, while another commits.
//!
//! ```text
//!   rows ── read, convert ──▶ batch ──▶ at most two wait ──▶ committed by whoever asks
//! ```
//!
//! A batch knows whether it is the last. The thread ends by itself: at the end of the source, at a failure, and
//! when nobody wants its batches any more.

use super::row::{Bad, Position, Rows};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::text::KeyValue;
use std::sync::mpsc::{Receiver, sync_channel};

/// Bytes of keys and values at which a batch is full even with fewer rows than asked for.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Rows of a batch for each of which there may be a bad one beside.
pub const BAD_ROWS_MAX: usize = 10_000;
/// Batches that wait to be committed.
const BATCHES_AHEAD: usize = 2;

/// Rows of one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Keys and values.
    pub pairs: Vec<KeyValue>,
    /// The place of each.
    pub places: Vec<u64>,
    /// The rows between them that cannot be written, with their places.
    pub bad: Vec<(u64, Bad)>,
    /// Where the source goes on behind them.
    pub end: Position,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Batches in the order of the source.
pub struct Ahead(Receiver<Outcome<Batch>>);

impl Ahead {
    /// Reads `rows` in batches of at most `rows_max`. If not `lenient`, a bad row is the failure of its batch.
    pub fn new(rows: Box<dyn Rows>, rows_max: u32, lenient: bool) -> Ahead {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let mut batches = Batches { rows, rows_max: rows_max as usize, lenient, next: None };
        std::thread::spawn(move || {
            loop {
                let batch = batches.next();
                let ends = batch.as_ref().map_or(true, |batch| batch.is_last);
                if sender.send(batch).is_err() || ends {
                    return;
                }
            }
        });
        Ahead(receiver)
    }

    /// The next batch. After the last one, and after a failure, there is none.
    ///
    /// # Errors
    /// What is wrong with a row of the batch, or keeps it from being read.
    pub fn next(&mut self) -> Outcome<Batch> {
        let gone = || Failure::invalid("reading ended before the end of the source");
        self.0.recv().map_err(|_| gone())?
    }
}

struct Batches {
    rows: Box<dyn Rows>,
    rows_max: usize,
    lenient: bool,
    /// What was read to see whether something follows.
    next: Option<Outcome<Option<super::row::Row>>>,
}

impl Batches {
    fn next(&mut self) -> Outcome<Batch> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        loop {
            let read = self.next.take().unwrap_or_else(|| self.rows.next_row())?;
            let Some(row) = read else {
                batch.is_last = true;
                return Ok(batch);
            };
            batch.end = row.end;
            match row.pair {
                Ok((key, value)) => {
                    bytes += key.len() + value.len();
                    batch.pairs.push((key, value));
                    batch.places.push(row.place);
                }
                Err(bad) if self.lenient => batch.bad.push((row.place, bad)),
                Err(bad) => {
                    return Err(bad.failure(self.rows.name(), self.rows.unit(), row.place));
                }
            }
            let is_full = self.rows_max <= batch.pairs.len()
                || BATCH_BYTES_MAX <= bytes
                || BAD_ROWS_MAX <= batch.bad.len();
            if is_full {
                let next = self.rows.next_row();
                batch.is_last = matches!(next, Ok(None));
                self.next = Some(next);
                return Ok(batch);
            }
        }
    }
}
