//! Puts the log's records together to transactions again: for recovery, and for the change feed.

use super::WalRecord;
use crate::kernel_api::{Slice, TableId, Timestamp, TransactionId};
use std::collections::HashMap;

/// One written row: table, key, and the value or `None` for a deletion.
pub type WrittenRow = (TableId, Vec<u8>, Option<Slice>);

/// A transaction whose COMMIT was read.
pub struct Committed {
    /// The LSN of its first frame, among those that were read.
    pub lsn: u64,
    /// When it committed.
    pub timestamp: Timestamp,
    /// The rows it wrote, in order of tables and keys.
    pub rows: Vec<WrittenRow>,
    /// Whether all of its rows were read. They were not when reading began in its middle.
    pub whole: bool,
}

/// Transactions whose COMMIT has not been read yet: LSN of the first frame, and rows.
#[derive(Default)]
pub struct Transactions(HashMap<TransactionId, (u64, Vec<WrittenRow>)>);

impl Transactions {
    /// Takes the next record, which lies in the frame at `lsn`, and returns the transaction that it ends.
    pub fn add(
        &mut self,
        lsn: u64,
        txn: TransactionId,
        record: WalRecord<'_>,
    ) -> Option<Committed> {
        let mut row = |row| self.0.entry(txn).or_insert((lsn, Vec::new())).1.push(row);
        match record {
            WalRecord::Put { table, key, value } => row((table, key.to_vec(), Some(value.into()))),
            WalRecord::Delete { table, key } => row((table, key.to_vec(), None)),
            WalRecord::Begin { .. } => drop(self.0.insert(txn, (lsn, Vec::new()))),
            WalRecord::Abort => drop(self.0.remove(&txn)),
            WalRecord::Checkpoint { .. } => {}
            WalRecord::Commit { timestamp, rows: count } => {
                let (lsn, rows) = self.0.remove(&txn).unwrap_or((lsn, Vec::new()));
                let whole = rows.len() as u64 == count;
                return Some(Committed { lsn, timestamp, rows, whole });
            }
        }
        None
    }

    /// How many transactions have no COMMIT yet.
    pub fn unfinished(&self) -> u64 {
        self.0.len() as u64
    }
}
