//! The rows that make a table searchable by words.
//!
//! A table `articles` has its index in an untyped table `articles_bm25`, written in the transaction that writes the
//! rows: a search sees of it what it sees of the rows, and a crash or a conflict leaves both or neither.
//!
//! | key                    | value                          | what it says                                     |
//! |------------------------|--------------------------------|--------------------------------------------------|
//! | `d` row's key          | the row's [`Document`]         | the row is indexed, with these words             |
//! | `p` word, 0, row's key | `count` u32, `len` u32         | the word is in the row so often, of so many words |
//! | `s` shard u8           | `documents` i64, `words` i64   | how many the rows of this shard have             |
//!
//! Integers are little-endian.
//!
//! - A row's words are kept with it, so taking it out needs neither its old value nor the settings of then: what was
//!   written while the hook was away is put right by the next write of that row, or by [`Index::apply`] with what
//!   the row is now.
//! - Every writer changes the totals. One counter would make any two of them conflict; with [`SHARDS`], told by a hash
//!   of the row's key, it is one pair in 64, which then simply runs again. A search adds the shards up.
//! - A word has no zero byte, so the postings of one word lie together, and no word's are another one's.

use crate::score::{Bm25, Scored, best};
use crate::words::{Document, words};
use sochdb_guest::RowBatch;
use sochdb_guest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// What the index of a table is called behind the table's name.
pub const INDEX_SUFFIX: &str = "_bm25";
/// Rows that the totals are kept in.
const SHARDS: u64 = 64;
/// Rows that are written at once, and keys that are asked for.
const ROWS_AT_ONCE: usize = 4096;

const DOCUMENT: u8 = b'd';
const POSTING: u8 = b'p';
const SHARD: u8 = b's';

/// What becomes of one row: its words from now on, or none when it goes.
pub type Edit<'a> = (&'a [u8], Option<Document>);

/// The index of one table.
pub struct Index {
    rows: Table<'static>,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Words; each counts once.
    pub text: String,
    /// The most rows that are found.
    pub k: usize,
    /// Whether a row must have all words.
    pub all: bool,
    /// How rows are scored.
    pub bm25: Bm25,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: Vec<u8>,
    /// The higher the better.
    pub score: f64,
}

/// The index of the table `name`.
///
/// # Errors
/// `NotFound` when there is no table to keep it in; `Denied`.
pub fn index_of(tx: &Transaction<'_>, name: &str) -> Result<Index> {
    let index = format!("{name}{INDEX_SUFFIX}");
    let rows = tx.open(&index).map_err(|error| match error.code {
        ErrorCode::NotFound => Error::not_found(format!(
            "there is no table '{index}' to keep the words of '{name}' in; make one: sochdb table create {index}"
        )),
        _ => error,
    })?;
    Ok(Index { rows })
}

impl Index {
    /// Makes the index say of each row what its edit says, whatever it said before. Returns how many rows it said
    /// something else of.
    ///
    /// # Errors
    /// Whatever keeps the host from reading and writing; `Corrupt`.
    pub fn apply(&self, edits: &[Edit<'_>]) -> Result<u64> {
        let keys: Vec<_> = edits.iter().map(|(key, _)| key_of(DOCUMENT, key)).collect();
        let (mut rows, mut shards) = (BTreeMap::new(), BTreeMap::<u8, [i64; 2]>::new());
        let mut changed = 0;
        for ((key, new), old) in edits.iter().zip(get_all(&self.rows, &keys)?) {
            let old = old.map(|bytes| Document::from_bytes(&bytes)).transpose()?;
            if old == *new {
                continue;
            }
            changed += 1;
            let shard = shards.entry(shard_of(key)).or_default();
            for (document, sign) in [(&old, -1), (new, 1)] {
                if let Some(document) = document {
                    shard[0] += sign;
                    shard[1] += sign * i64::from(document.len());
                }
            }
            for word in old.iter().flat_map(|old| old.counts.keys()) {
                rows.insert(posting_key(word, key), None);
            }
            if let Some(new) = new {
                let len = new.len().to_le_bytes();
                for (word, count) in &new.counts {
                    let posting = [count.to_le_bytes(), len].concat();
                    rows.insert(posting_key(word, key), Some(posting));
                }
            }
            rows.insert(key_of(DOCUMENT, key), new.as_ref().map(Document::to_bytes));
        }
        for (shard, [documents, words]) in shards {
            let key = [SHARD, shard];
            let [before_documents, before_words] = totals(self.rows.get(&key)?.as_deref())?;
            let now = [before_documents + documents, before_words + words];
            rows.insert(key.to_vec(), Some(now.map(i64::to_le_bytes).concat()));
        }
        self.write(&rows)?;
        Ok(changed)
    }

    fn write(&self, rows: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<()> {
        let mut rows = rows.iter().peekable();
        while rows.peek().is_some() {
            let mut batch = RowBatch::default();
            for (key, value) in rows.by_ref().take(ROWS_AT_ONCE) {
                batch.push(key, value.as_deref());
            }
            self.rows.write(batch)?;
        }
        Ok(())
    }

    /// The keys that are indexed in `range`, which is of rows' keys.
    ///
    /// # Errors
    /// Whatever keeps the host from reading.
    pub fn keys(&self, range: &KeyRange) -> Result<Vec<Vec<u8>>> {
        let key = |key: Vec<u8>| key_of(DOCUMENT, &key);
        let all = KeyRange::prefix(&[DOCUMENT]);
        let or = |bound: Bound<Vec<u8>>, other| match bound {
            Bound::Unbounded => other,
            bound => bound.map(key),
        };
        let range = KeyRange {
            start: or(range.start.clone(), all.start),
            end: or(range.end.clone(), all.end),
        };
        let mut scan = self.rows.scan(range, ScanOptions::default())?;
        let mut keys = Vec::new();
        while let Some((key, _)) = scan.next()? {
            keys.push(key[1..].to_vec());
        }
        Ok(keys)
    }

    /// How many rows are indexed, and how many words they have together.
    ///
    /// # Errors
    /// Whatever keeps the host from reading; `Corrupt`.
    pub fn totals(&self) -> Result<(u64, u64)> {
        let mut scan = self.rows.scan(KeyRange::prefix(&[SHARD]), ScanOptions::default())?;
        let mut sum = [0, 0];
        while let Some((_, value)) = scan.next()? {
            let [documents, words] = totals(Some(value))?;
            sum = [sum[0] + documents, sum[1] + words];
        }
        match sum.map(u64::try_from) {
            [Ok(documents), Ok(words)] => Ok((documents, words)),
            _ => Err(Error::corrupt(format!(
                "the index counts {sum:?} rows and words; clear it, and index the rows anew"
            ))),
        }
    }

    /// The rows that answer `query` best, the best first; of equally good ones, the one with the lesser key.
    ///
    /// # Errors
    /// Whatever keeps the host from reading; `Corrupt`.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let wanted: BTreeSet<_> = words(&query.text).collect();
        let (documents, words) = self.totals()?;
        let average_len = words as f64 / documents.max(1) as f64;
        let mut found = HashMap::<Vec<u8>, (f64, usize)>::new();
        for word in &wanted {
            let postings = self.postings(word)?;
            let idf = Bm25::idf(documents, postings.len() as u64);
            for (key, count, len) in postings {
                let (score, words) = found.entry(key).or_default();
                *score += query.bm25.weight(idf, count, len, average_len);
                *words += 1;
            }
        }
        let all = found.into_iter().filter(|(_, (_, words))| !query.all || *words == wanted.len());
        let scored = all.map(|(key, (score, _))| Scored { score, key });
        let hit = |Scored { score, key }| Hit { key, score };
        Ok(best(scored, query.k).into_iter().map(hit).collect())
    }

    /// The rows that have `word`: their keys, how often, of how many words.
    fn postings(&self, word: &str) -> Result<Vec<(Vec<u8>, u32, u32)>> {
        let prefix = posting_key(word, b"");
        let mut scan = self.rows.scan(KeyRange::prefix(&prefix), ScanOptions::default())?;
        let mut postings = Vec::new();
        while let Some((key, value)) = scan.next()? {
            let (&[count, len], []) = value.as_chunks() else {
                return Err(Error::corrupt(format!("a posting of '{word}' is damaged")));
            };
            let (count, len) = (u32::from_le_bytes(count), u32::from_le_bytes(len));
            postings.push((key[prefix.len()..].to_vec(), count, len));
        }
        Ok(postings)
    }

    /// Takes the first `rows` rows of the index away. Returns how many went.
    ///
    /// # Errors
    /// Whatever keeps the host from reading and writing.
    pub fn clear(&self, rows: u64) -> Result<u64> {
        let options = ScanOptions { limit: Some(rows), ..ScanOptions::default() };
        let mut scan = self.rows.scan(KeyRange::all(), options)?;
        let mut gone = BTreeMap::new();
        while let Some((key, _)) = scan.next()? {
            gone.insert(key.to_vec(), None);
        }
        self.write(&gone)?;
        Ok(gone.len() as u64)
    }
}

/// The values of `keys`, however many and however large.
///
/// # Errors
/// As [`Table::get_many`].
pub fn get_all(table: &Table<'_>, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    let mut values = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_AT_ONCE) {
        let borrowed: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        match table.get_many(&borrowed) {
            // More than crosses at once: one after the other, then.
            Err(error) if error.code == ErrorCode::Limit => {
                for key in borrowed {
                    values.push(table.get(key)?);
                }
            }
            found => values.extend(found?),
        }
    }
    Ok(values)
}

fn key_of(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn posting_key(word: &str, key: &[u8]) -> Vec<u8> {
    [&[POSTING], word.as_bytes(), &[0], key].concat()
}

/// Which shard counts a row: FNV-1a of its key.
fn shard_of(key: &[u8]) -> u8 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (key.iter().fold(0xcbf2_9ce4_8422_2325, step) % SHARDS) as u8
}

fn totals(value: Option<&[u8]>) -> Result<[i64; 2]> {
    match value.map(<[u8]>::as_chunks) {
        None => Ok([0, 0]),
        Some((&[documents, words], [])) => {
            Ok([i64::from_le_bytes(documents), i64::from_le_bytes(words)])
        }
        Some(_) => Err(Error::corrupt("the counters of an index are damaged")),
    }
}
