//! The process that is killed, and the judge who looks at what it left.
//!
//! The writer stores the data set over and over, `batch_rows` rows a transaction, and after each
//! commit prints `ack N`, N counting from one. Which rows are in which batch follows from the number
//! alone, so whoever read the acknowledgements knows every byte that must be there:
//!
//! 1. each row of each acknowledged batch, byte for byte;
//! 2. of the batch after the last acknowledged one, all rows or none: the process may have died
//!    between its commit and its word;
//! 3. nothing else.

use super::args::CrashWriter;
use super::dataset::{self, Entry};
use super::failure::Outcome;
use super::{Access, Session};
use sochdb::{Database, KernelResult, Options, Schema, TableOptions};
use std::collections::BTreeMap;

/// The table that the writer fills.
pub const TABLE: &str = "stream";

/// Writes batches and acknowledges each, until it is killed or has written all.
pub fn write_until_killed(session: &mut Session, args: &CrashWriter) -> Outcome {
    let options = Options { memtable_bytes_max: args.memtable_bytes, ..session.common.options() };
    let db =
        session.common.builder(Access::Create)?.options(options).open(&session.common.directory)?;
    // Compiled before the first word, so that the kill can hit a plugin at work and not its compiler.
    db.plugin_host()?;
    let batches = Batches::new(args.batch_rows)?;
    let table = TableOptions {
        schema: Some(batches.schema.clone()),
        storage: args.storage.clone(),
        codec: args.codec.clone(),
        ..TableOptions::default()
    };
    db.create_table(TABLE, table)?;
    for number in 1..=args.batches {
        let rows = batches.rows(number)?;
        db.run(|tx| rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))?;
        session.screen.line(format!("ack {number}"))?;
        session.screen.flush()?;
    }
    Ok(db.close()?)
}

/// What every batch of the writer holds.
pub struct Batches {
    entries: Vec<Entry>,
    schema: Schema,
    batch_rows: u32,
}

/// What was found where a writer was killed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Rows of acknowledged batches.
    pub rows_acknowledged: u64,
    /// Rows that are there.
    pub rows_found: u64,
    /// Acknowledged rows that are not there.
    pub rows_lost: u64,
    /// Rows that are there with other bytes, or that nobody wrote.
    pub rows_altered: u64,
    /// Whether a batch is there in part.
    pub half_batch: bool,
    /// Whether the batch after the last acknowledged one is there: committed, and killed before its word.
    pub unacknowledged_batch: bool,
}

impl Batches {
    /// Batches of `batch_rows` rows.
    pub fn new(batch_rows: u32) -> KernelResult<Batches> {
        Ok(Batches { entries: dataset::base(), schema: dataset::schema(true)?, batch_rows })
    }

    /// The keys and values of batch `number`, counted from one.
    pub fn rows(&self, number: u32) -> KernelResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let first = u64::from(number - 1) * u64::from(self.batch_rows);
        let row = |position: u64| {
            let count = self.entries.len() as u64;
            let entry = &self.entries[usize::try_from(position % count).expect("below a length")];
            let pass = i64::try_from(position / count).expect("numbers of batches are 32 bits");
            let row = dataset::row(entry, Some(pass));
            Ok((self.schema.encode_key(&row)?, self.schema.encode_row(&row)?))
        };
        (first..first + u64::from(self.batch_rows)).map(row).collect()
    }

    /// Compares what is in `db` with what must be there after `acknowledged` batches.
    pub fn judge(&self, db: &Database, acknowledged: u32) -> KernelResult<Verdict> {
        let rows_acknowledged = u64::from(acknowledged) * u64::from(self.batch_rows);
        let nothing =
            Verdict { rows_acknowledged, rows_lost: rows_acknowledged, ..Verdict::default() };
        let tx = db.begin_read()?;
        if !tx.tables()?.iter().any(|table| table.name == TABLE) {
            // Killed before the table was made, or it was lost with everything in it.
            return Ok(nothing);
        }
        let mut expected = BTreeMap::new();
        for number in 1..=acknowledged + 1 {
            for (key, value) in self.rows(number)? {
                expected.insert(key, (number, value));
            }
        }
        let mut verdict = nothing;
        let mut in_next = 0;
        for row in tx.scan(TABLE, ..)? {
            let (key, value) = row?;
            verdict.rows_found += 1;
            match expected.get(&key) {
                Some((number, good)) if value == *good => match *number <= acknowledged {
                    true => verdict.rows_lost -= 1,
                    false => in_next += 1,
                },
                _ => verdict.rows_altered += 1,
            }
        }
        // The same rows by another way in: what a scan shows and a lookup does not is lost as well.
        let mut missed = 0;
        for (key, (number, good)) in &expected {
            let is_there = tx.get(TABLE, key)?.is_some_and(|value| value == *good);
            missed += u64::from(*number <= acknowledged && !is_there);
        }
        verdict.rows_lost = verdict.rows_lost.max(missed);
        verdict.half_batch = in_next != 0 && in_next != self.batch_rows;
        verdict.unacknowledged_batch = in_next == self.batch_rows;
        Ok(verdict)
    }
}
