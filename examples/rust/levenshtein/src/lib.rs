//! Procedures that find words in spite of typing errors, by an ordered index of the words.
//!
//! | procedure  | arguments                   | result                                                        |
//! |------------|-----------------------------|---------------------------------------------------------------|
//! | `distance` | `a`, `b`                    | how many edits make one the other                             |
//! | `near`     | `word`, `distance`, `limit` | the rows whose word is within the distance, the nearest first |
//!
//! ```text
//!   near ──▶ Neighbourhood::next ──▶ the least word there could be ──▶ Index::lookup from there on
//!                 ▲                                                        │ some rows
//!                 └─── the last word that was seen ◀───────────────────────┘
//! ```
//!
//! The index is the database's own: what is found is what the caller's transaction sees, its own writes
//! included, and nothing is kept here that could grow old.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod neighbourhood;

// ANCHOR: types
use neighbourhood::Neighbourhood;
use serde::{Deserialize, Serialize};
use sochdb_guest::prelude::*;
use sochdb_guest::search::Index;
use sochdb_guest::{config, count, procedure};
use std::ops::Bound;

/// The settings.
#[derive(Deserialize)]
pub struct Levenshtein {
    /// The table of the words, the ordered index of them, and the column that it is about.
    table: String,
    index: String,
    column: String,
    /// What nobody may ask for more than: each edit makes a search several times as long.
    distance_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Distance {
    a: String,
    b: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Near {
    word: String,
    #[serde(default = "one")]
    distance: usize,
    #[serde(default = "ten")]
    limit: usize,
}

#[derive(Serialize)]
struct Found {
    distance: usize,
    row: Record,
}
// ANCHOR_END: types

fn one() -> usize {
    1
}

fn ten() -> usize {
    10
}

/// Rows that are read at once. More would be read for nothing where the next word lies far away.
const ROWS: usize = 32;
/// What one lookup gives at most.
const LOOKUP_ROWS_MAX: usize = 8192;
/// Characters of a word; with more, edits are no typing errors.
const WORD_CHARS_MAX: usize = 256;
const LIMIT_MAX: usize = 1000;

// ANCHOR: procedure
impl Procedure for Levenshtein {
    fn init() -> Result<Self> {
        config::read()
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![
            ProcedureInfo::new("distance", "How many edits make one text the other.")
                .args(
                    r#"{"type": "object", "required": ["a", "b"], "additionalProperties": false,
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}"#,
                )
                .result(r#"{"type": "integer", "minimum": 0}"#)
                .reads_only(),
            ProcedureInfo::new("near", "Rows whose word is within some edits, nearest first.")
                .args(
                    r#"{"type": "object", "required": ["word"], "additionalProperties": false,
                    "properties": {
                        "word": {"type": "string", "maxLength": 256},
                        "distance": {"type": "integer", "minimum": 0, "default": 1},
                        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10}}}"#,
                )
                .result(
                    r#"{"type": "array", "items": {"type": "object", "required": ["distance", "row"],
                    "properties": {"distance": {"type": "integer"}, "row": {"type": "object"}}}}"#,
                )
                .reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        match name {
            "distance" => procedure::json(args, |Distance { a, b }| self.distance(&a, &b)),
            "near" => procedure::json(args, |args: Near| self.near(tx, &args)),
            other => procedure::unknown(other),
        }
    }
}

sochdb_guest::export!(procedure: Levenshtein);
// ANCHOR_END: procedure

impl Levenshtein {
    // ANCHOR: distance
    fn distance(&self, a: &str, b: &str) -> Result<usize> {
        let edits = Neighbourhood::new(&short(a)?, usize::MAX).distance(&short(b)?);
        edits.ok_or_else(|| Error::internal("no distance is greater than the greatest"))
    }
    // ANCHOR_END: distance

    // ANCHOR: near
    fn near(&self, tx: &Transaction<'_>, args: &Near) -> Result<Vec<Found>> {
        let Near { word, distance, limit } = args;
        if self.distance_max < *distance || !(1..=LIMIT_MAX).contains(limit) {
            let text = format!(
                "'distance' is at most {}, 'limit' lies between 1 and {LIMIT_MAX}",
                self.distance_max
            );
            return Err(Error::invalid(text));
        }
        let table = tx.open(&self.table)?;
        let index = Index::open(&table, &self.index)?;
        let mut machine = Neighbourhood::new(&short(word)?, *distance);
        let (mut found, mut looked_at): (Vec<Found>, usize) = (Vec::new(), 0);
        let mut from = machine.next("");
        while let Some(word) = from {
            let page = self.page(&table, &index, word)?;
            looked_at += page.rows.len();
            for (word, row) in page.rows {
                found.extend(machine.distance(&word).map(|distance| Found { distance, row }));
            }
            // Rows come in the order of their words, and the sort leaves equal ones in their order: so words
            // behind must be nearer than the last of these to be among them.
            found.sort_by_key(|found| found.distance);
            found.truncate(*limit);
            if found.len() == *limit {
                let Some(nearer) = found[limit - 1].distance.checked_sub(1) else { break };
                machine = Neighbourhood::new(args.word.as_str(), nearer);
            }
            from = page.next.and_then(|word| machine.next(&word));
        }
        count!("levenshtein_rows_total", looked_at);
        Ok(found)
    }
    // ANCHOR_END: near

    // ANCHOR: page
    /// Some rows from the word `from` on, all rows of each word.
    fn page(&self, table: &Table<'_>, index: &Index, from: String) -> Result<Page> {
        for rows_max in [ROWS, LOOKUP_ROWS_MAX] {
            let start = Bound::Included(Value::String(from.clone()));
            let keys = index.lookup(start, Bound::Unbounded, false, rows_max as u32)?;
            let mut rows = self.read(table, &keys)?;
            if keys.len() < rows_max {
                return Ok(Page { rows, next: None });
            }
            // There may be more rows of the last word, so it begins the next page.
            let Some((last, _)) = rows.last() else { break };
            let last = last.clone();
            rows.retain(|(word, _)| *word != last);
            if !rows.is_empty() {
                return Ok(Page { rows, next: Some(last) });
            }
        }
        let text = format!("{LOOKUP_ROWS_MAX} rows of '{}' or more have the same word", self.table);
        Err(Error::new(ErrorCode::Limit, text))
    }

    /// The rows with these keys, each with its word.
    fn read(&self, table: &Table<'_>, keys: &[Vec<u8>]) -> Result<Vec<(String, Record)>> {
        let mut rows = Vec::new();
        for keys in keys.chunks(ROWS) {
            let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
            for (key, value) in keys.iter().zip(table.get_many(&keys)?) {
                let Some(value) = value else { continue };
                let row = Record::decode(table, key, &value)?;
                let word = row.text(&self.column)?.unwrap_or_default().to_owned();
                rows.push((word, row));
            }
        }
        Ok(rows)
    }
    // ANCHOR_END: page
}

/// Rows of words in their order, and the word that the next ones begin with, if there may be any.
struct Page {
    rows: Vec<(String, Record)>,
    next: Option<String>,
}

/// `word`, unless it is no word.
fn short(word: &str) -> Result<String> {
    match word.chars().count() {
        0..=WORD_CHARS_MAX => Ok(word.to_owned()),
        chars => Err(Error::invalid(format!(
            "a word of {chars} characters; {WORD_CHARS_MAX} are allowed"
        ))),
    }
}

#[cfg(test)]
mod tests;
