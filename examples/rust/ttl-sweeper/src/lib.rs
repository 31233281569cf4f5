//! Deletes rows that have grown old, some at a time: procedures that something outside calls again and again.
//!
//! | procedure | what it does                                                        |
//! |-----------|---------------------------------------------------------------------|
//! | `sweep`   | deletes the first rows that are too old; answers whether there are more |
//! | `expired` | counts them, and deletes nothing                                    |
//!
//! Each call is one transaction of bounded size. Each row goes by an ordinary delete, so the table's hooks are
//! asked: an audit trail learns of it, a soft delete marks the row.

use serde::{Deserialize, Serialize};
use sochdb_guest::prelude::*;
use sochdb_guest::search::Index;
use sochdb_guest::{RowBatch, clock, config, count, procedure};
use std::ops::Bound;

/// The most rows of one call: what an index answers at once.
const ROWS_MAX: u32 = 8_192;

/// The procedures, which are their settings; arguments count more.
#[derive(Deserialize)]
pub struct TtlSweeper {
    column: String,
    age_s: i64,
    index: String,
    rows: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    table: String,
    column: Option<String>,
    age_s: Option<i64>,
    index: Option<String>,
    rows: Option<u32>,
}

#[derive(Serialize)]
struct Swept {
    deleted: usize,
    more: bool,
}

#[derive(Serialize)]
struct Expired {
    expired: usize,
    more: bool,
}

const ARGS: &str = r#"{"type": "object", "required": ["table"], "additionalProperties": false,
    "properties": {"table": {"type": "string"}, "column": {"type": "string"},
        "age_s": {"type": "integer", "minimum": 0}, "index": {"type": "string"},
        "rows": {"type": "integer", "minimum": 1, "maximum": 8192}}}"#;

impl Procedure for TtlSweeper {
    fn init() -> Result<Self> {
        config::read()
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        let swept = r#"{"type": "object", "required": ["deleted", "more"],
            "properties": {"deleted": {"type": "integer"}, "more": {"type": "boolean"}}}"#;
        vec![
            ProcedureInfo::new("sweep", "Deletes the first rows that are too old.")
                .args(ARGS)
                .result(swept),
            ProcedureInfo::new("expired", "Counts the rows that a sweep would delete.")
                .args(ARGS)
                .result(&swept.replace("deleted", "expired"))
                .reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        match name {
            "sweep" => procedure::json(args, |args| self.sweep(tx, &args)),
            "expired" => procedure::json(args, |args: Args| {
                let (keys, more) = self.expired(&tx.open(&args.table)?, &args)?;
                Ok(Expired { expired: keys.len(), more })
            }),
            other => procedure::unknown(other),
        }
    }
}

impl TtlSweeper {
    fn sweep(&self, tx: &Transaction<'_>, args: &Args) -> Result<Swept> {
        let table = tx.open(&args.table)?;
        let (mut keys, more) = self.expired(&table, args)?;
        // A batch is written in the order of its keys.
        keys.sort_unstable();
        let mut batch = RowBatch::default();
        keys.iter().for_each(|key| batch.push(key, None));
        table.write(batch)?;
        count!("ttl_swept_total", keys.len() as f64, table = args.table);
        Ok(Swept { deleted: keys.len(), more })
    }

    /// The keys of the first rows that are too old, and whether there may be others.
    fn expired(&self, table: &Table<'_>, args: &Args) -> Result<(Vec<Vec<u8>>, bool)> {
        let column = args.column.as_ref().unwrap_or(&self.column);
        let index = args.index.as_ref().unwrap_or(&self.index);
        let rows = args.rows.unwrap_or(self.rows);
        if rows == 0 || ROWS_MAX < rows {
            return Err(Error::invalid(format!("'rows' is 1 to {ROWS_MAX}, not {rows}")));
        }
        let oldest = Value::Timestamp(oldest_us(args.age_s.unwrap_or(self.age_s))?);
        let keys = match index.as_str() {
            "" => by_scan(table, column, oldest, rows)?,
            index => Index::open(table, index)?.lookup(
                Bound::Unbounded,
                Bound::Excluded(oldest),
                false,
                rows,
            )?,
        };
        let more = keys.len() == rows as usize;
        Ok((keys, more))
    }
}

/// Looks at every row until there are enough; the host compares, only what is too old crosses.
fn by_scan(table: &Table<'_>, column: &str, oldest: Value, rows: u32) -> Result<Vec<Vec<u8>>> {
    let options = ScanOptions {
        columns: vec![column.to_owned()],
        filter: vec![Condition::new(column, Comparison::Less, oldest)],
        limit: Some(rows.into()),
        reverse: false,
    };
    let mut scan = table.scan(KeyRange::all(), options)?;
    let mut keys = Vec::new();
    while let Some((key, _)) = scan.next()? {
        keys.push(key.to_vec());
    }
    Ok(keys)
}

/// Rows from before are too old, in microseconds since 1970.
fn oldest_us(age_s: i64) -> Result<i64> {
    // Without the grant the clock stands still, and nothing would ever be old.
    let now_us = match clock::now_us() {
        0 => return Err(Error::new(ErrorCode::Denied, "the time was not granted: clock = true")),
        us => us,
    };
    let age_us = age_s.checked_mul(1_000_000).filter(|us| 0 <= *us);
    let age_us = age_us.ok_or_else(|| Error::invalid(format!("'age_s' is no age: {age_s}")))?;
    Ok(now_us.saturating_sub(age_us))
}

sochdb_guest::export!(procedure: TtlSweeper);

#[cfg(test)]
mod tests;
