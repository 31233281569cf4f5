//! Finds the rows that answer a query best: the procedures of the index that the hook `bm25` keeps.
//!
//! | procedure | what it does                                                                                  |
//! |-----------|-----------------------------------------------------------------------------------------------|
//! | `search`  | the best rows, with their scores                                                              |
//! | `index`   | makes the index fit some rows: those from before the hook was there, or while it was away     |
//! | `clear`   | takes some of the index away, so that it can be made anew                                     |
//! | `status`  | how many rows and words are indexed                                                           |

use serde::{Deserialize, Serialize};
use sochdb_example_bm25_core::{Bm25, Edit, Query, Texts, get_all, index_of};
use sochdb_guest::prelude::*;
use sochdb_guest::serde_json::{Map, Value as Json, json};
use sochdb_guest::{config, procedure};
use std::collections::BTreeSet;
use std::ops::Bound;

/// The most rows that one search finds.
const K_MAX: usize = 1_000;
/// Rows that one call of `index` goes through unless it says how many: some seconds of work.
const INDEX_ROWS: u64 = 1_000;
/// Rows of the index that one call of `clear` takes away.
const CLEAR_ROWS: u64 = 100_000;

/// The procedures, which are their settings.
#[derive(Deserialize)]
pub struct Bm25Search {
    /// The columns that are searched; must be what the hook has.
    columns: String,
    k1: f64,
    b: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArgs {
    table: String,
    query: String,
    #[serde(default = "ten")]
    k: usize,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    columns: Vec<String>,
}

fn ten() -> usize {
    10
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexArgs {
    table: String,
    after: Option<String>,
    rows: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableArgs {
    table: String,
}

#[derive(Serialize)]
struct Found {
    score: f64,
    row: Json,
}

impl Procedure for Bm25Search {
    fn init() -> Result<Self> {
        let settings: Bm25Search = config::read()?;
        if settings.k1 < 0.0 || !(0.0..=1.0).contains(&settings.b) {
            return Err(Error::invalid("the setting 'k1' is at least 0, and 'b' between 0 and 1"));
        }
        Ok(settings)
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        let table = r#"{"type": "object", "required": ["table"], "additionalProperties": false,
            "properties": {"table": {"type": "string"}}}"#;
        vec![
            ProcedureInfo::new("search", "The rows that answer a query best.")
                .args(
                    r#"{"type": "object", "required": ["table", "query"], "additionalProperties": false,
                    "properties": {"table": {"type": "string"}, "query": {"type": "string"},
                        "k": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
                        "all": {"type": "boolean", "default": false},
                        "columns": {"type": "array", "items": {"type": "string"}}}}"#,
                )
                .result(
                    r#"{"type": "array", "items": {"type": "object", "required": ["score", "row"],
                    "properties": {"score": {"type": "number"}, "row": {"type": "object"}}}}"#,
                )
                .reads_only(),
            ProcedureInfo::new("index", "Makes the index fit some rows; answers where to go on.")
                .args(
                    r#"{"type": "object", "required": ["table"], "additionalProperties": false,
                    "properties": {"table": {"type": "string"}, "after": {"type": ["string", "null"]},
                        "rows": {"type": "integer", "minimum": 1, "default": 1000}}}"#,
                )
                .result(
                    r#"{"type": "object", "required": ["rows", "changed", "after"], "properties":
                    {"rows": {"type": "integer"}, "changed": {"type": "integer"},
                        "after": {"type": ["string", "null"]}}}"#,
                ),
            ProcedureInfo::new("clear", "Takes some of the index away; answers how many rows of it.")
                .args(table)
                .result(r#"{"type": "object", "properties": {"cleared": {"type": "integer"}}}"#),
            ProcedureInfo::new("status", "How many rows and words are indexed.")
                .args(table)
                .result(
                    r#"{"type": "object", "properties": {"rows": {"type": "integer"}, "words": {"type": "integer"}}}"#,
                )
                .reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        match name {
            "search" => procedure::json(args, |args| self.search(tx, &args)),
            "index" => procedure::json(args, |args| self.index(tx, &args)),
            "clear" => procedure::json(args, |args: TableArgs| {
                Ok(json!({ "cleared": index_of(tx, &args.table)?.clear(CLEAR_ROWS)? }))
            }),
            "status" => procedure::json(args, |args: TableArgs| {
                let (rows, words) = index_of(tx, &args.table)?.totals()?;
                Ok(json!({ "rows": rows, "words": words }))
            }),
            other => procedure::unknown(other),
        }
    }
}

impl Bm25Search {
    fn search(&self, tx: &Transaction<'_>, args: &SearchArgs) -> Result<Vec<Found>> {
        if args.k == 0 || K_MAX < args.k {
            return Err(Error::invalid(format!("'k' is 1 to {K_MAX}, not {}", args.k)));
        }
        let bm25 = Bm25 { k1: self.k1, b: self.b };
        let query = Query { text: args.query.clone(), k: args.k, all: args.all, bm25 };
        let hits = index_of(tx, &args.table)?.search(&query)?;
        let table = tx.open(&args.table)?;
        let keys: Vec<_> = hits.iter().map(|hit| hit.key.clone()).collect();
        let mut found = Vec::with_capacity(hits.len());
        for (hit, value) in hits.iter().zip(get_all(&table, &keys)?) {
            // A row that went while the hook was away is not found, whatever the index says.
            if let Some(value) = value {
                let row = shown(&table, &hit.key, &value, &args.columns)?;
                found.push(Found { score: hit.score, row });
            }
        }
        Ok(found)
    }

    /// Goes through some rows, and through what is indexed between them and is no row.
    fn index(&self, tx: &Transaction<'_>, args: &IndexArgs) -> Result<Json> {
        let limit = args.rows.unwrap_or(INDEX_ROWS).max(1);
        let (table, index) = (tx.open(&args.table)?, index_of(tx, &args.table)?);
        let texts = Texts::of(&table, &self.columns)?;
        let start = match &args.after {
            Some(hex) => Bound::Excluded(from_hex(hex)?),
            None => Bound::Unbounded,
        };
        let range = KeyRange { start, end: Bound::Unbounded };
        let options = ScanOptions { limit: Some(limit), ..ScanOptions::default() };
        let mut scan = table.scan(range.clone(), options)?;
        let (mut keys, mut documents) = (Vec::new(), Vec::new());
        while let Some((key, value)) = scan.next()? {
            documents.push(texts.document(key, value)?);
            keys.push(key.to_vec());
        }
        let last = keys.last().filter(|_| keys.len() as u64 == limit);
        let end = last.map_or(Bound::Unbounded, |last| Bound::Included(last.clone()));
        let there: BTreeSet<_> = keys.iter().collect();
        let mut gone = index.keys(&KeyRange { end, ..range })?;
        gone.retain(|key| !there.contains(key));
        let mut edits: Vec<Edit<'_>> = gone.iter().map(|key| (key.as_slice(), None)).collect();
        edits.extend(keys.iter().map(Vec::as_slice).zip(documents.into_iter().map(Some)));
        let changed = index.apply(&edits)?;
        Ok(json!({ "rows": keys.len(), "changed": changed, "after": last.map(|key| to_hex(key)) }))
    }
}

/// A row as JSON: the columns asked for, all of them by default, or `key` and `value`.
fn shown(table: &Table<'_>, key: &[u8], value: &[u8], columns: &[String]) -> Result<Json> {
    if table.schema()?.is_none() {
        let text = |bytes| String::from_utf8_lossy(bytes);
        return Ok(json!({ "key": text(key), "value": text(value) }));
    }
    let row = Record::decode(table, key, value)?.to_json();
    if columns.is_empty() {
        return Ok(row);
    }
    let column = |name: &String| match row.get(name) {
        Some(value) => Ok((name.clone(), value.clone())),
        None => Err(Error::invalid(format!("there is no column '{name}'"))),
    };
    Ok(Json::Object(columns.iter().map(column).collect::<Result<Map<_, _>>>()?))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    let bytes: Option<Vec<_>> = pairs.iter().map(byte).collect();
    let bytes = bytes.filter(|_| rest.is_empty());
    bytes.ok_or_else(|| Error::invalid("'after' is not what the call before has answered"))
}

sochdb_guest::export!(procedure: Bm25Search);

#[cfg(test)]
mod tests;
