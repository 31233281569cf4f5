//! What came of reloads: the newest in memory, and more of them in the database.
//!
//! A table of the host's own, `sochdb.plugin_history`, made when the first record is saved. No plugin can be
//! granted a table whose name begins with `sochdb.`. A row is one [`Record`]:
//!
//! | where | offset | size | type | field   | meaning                                                              |
//! |-------|-------:|-----:|------|---------|----------------------------------------------------------------------|
//! | key   |      0 |    8 | u64  | id      | the record's number, big-endian so that they are in order; 1 to 2^53 |
//! | value |      0 |    4 | u32  | version | 1, little-endian                                                     |
//! | value |      4 |    n | text | record  | JSON in UTF-8, at most 65,536 bytes; its `id` is that of the key     |
//!
//! 1. Numbers grow: a record is newer than those with smaller ones, also after the database was opened again.
//! 2. The table holds at most 1,000 rows; the oldest go when newer ones are saved.
//! 3. A record too long for its row loses its notes first, then its reason; what it says of versions stays.
//! 4. A row that cannot be read is reported and passed over; it hides no other one.

use crate::machine::State;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sochdb_kernel::{
    IsolationLevel, Kernel, KernelError, KernelResult, TableOptions, Transaction,
    TransactionOptions,
};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The table of records.
pub const HISTORY_TABLE: &str = "sochdb.plugin_history";

const VERSION: u32 = 1;
const AT_RECORD: usize = 4;
/// Records kept in memory: some pages of what is asked for.
const RECORDS_MAX: usize = 256;
/// Rows kept in the table: months of reloads by hand, an afternoon of somebody's loop.
const ROWS_MAX: usize = 1000;
/// Rows removed by one save. A table with too many of them, whoever made it so, shrinks by and by.
const REMOVED_MAX: usize = 64;
/// The JSON of one record.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// The note of one step.
pub(crate) const NOTE_BYTES_MAX: usize = 4 << 10;
/// The reason of one record.
pub(crate) const REASON_BYTES_MAX: usize = 8 << 10;
/// The largest number of a record: one that JSON carries everywhere.
const ID_MAX: u64 = 1 << 53;
const _: () = assert!(RECORDS_MAX <= ROWS_MAX, "what is in memory was read from the table");

/// One version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionId {
    /// As its manifest says.
    pub version: String,
    /// The BLAKE3 hash of its component, in hex.
    pub blake3: String,
}

/// One state that a reload was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The state.
    pub state: State,
    /// When it began, in milliseconds since 1970.
    pub unix_ms: u64,
    /// How long it lasted, in microseconds; 0 while it does.
    pub took_us: u64,
    /// What was noted of it.
    pub note: String,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended.
    UnderWay,
    /// The new version serves.
    Serving,
    /// The old version serves, for the reason that the record gives.
    RolledBack,
    /// There was no plugin of this name; now there is.
    Added,
    /// There is no plugin of this name any more.
    Removed,
    /// It is there and does not serve.
    Disabled,
    /// It serves again.
    Enabled,
}

impl Outcome {
    /// What it is called in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::UnderWay => "under_way",
            Outcome::Serving => "serving",
            Outcome::RolledBack => "rolled_back",
            Outcome::Added => "added",
            Outcome::Removed => "removed",
            Outcome::Disabled => "disabled",
            Outcome::Enabled => "enabled",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One change of a plugin, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number, from 1; 0 while it has none.
    pub id: u64,
    /// What the plugin is called.
    pub plugin: String,
    /// What kind of plugin it is.
    pub kind: String,
    /// The version from before, if there was one.
    pub from: Option<VersionId>,
    /// The new version, as far as it is known.
    pub to: Option<VersionId>,
    /// Who asked for it.
    pub asked_by: String,
    /// When, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// The states it was in, in order. None when it was done at once.
    pub steps: Vec<Step>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, if it was rolled back; else empty, or what there is to say.
    pub reason: String,
}

impl Record {
    /// As it is when nobody goes on with it: the database was closed before it had come to an end.
    #[must_use]
    pub fn left_behind(mut self) -> Record {
        if self.outcome == Outcome::UnderWay {
            self.outcome = Outcome::RolledBack;
            self.reason = "the database was closed before it had proven itself".to_owned();
        }
        self
    }

    /// A change that begins now, without a number and without steps.
    pub fn new(
        plugin: &str,
        kind: &str,
        from: Option<VersionId>,
        to: Option<VersionId>,
        asked_by: &str,
    ) -> Record {
        Record {
            id: 0,
            plugin: plugin.to_owned(),
            kind: kind.to_owned(),
            from,
            to,
            asked_by: asked_by.to_owned(),
            began_unix_ms: unix_ms(),
            steps: Vec::new(),
            outcome: Outcome::UnderWay,
            reason: String::new(),
        }
    }
}

impl Step {
    /// Adds to the note.
    pub(crate) fn remark(&mut self, note: &str) {
        append(&mut self.note, note, NOTE_BYTES_MAX);
    }
}

/// What came of reloads.
#[derive(Debug)]
pub struct History(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// The newest records by their numbers, at most `RECORDS_MAX`.
    records: BTreeMap<u64, Record>,
    /// The number that was given away last.
    last_id: u64,
}

impl Default for History {
    fn default() -> History {
        History::new()
    }
}

impl History {
    /// Nothing has come of any yet.
    pub fn new() -> History {
        History(Mutex::new(Inner { records: BTreeMap::new(), last_id: 0 }))
    }

    /// A number that no record has, above all that there are.
    pub fn next_id(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.last_id += 1;
        inner.last_id
    }

    /// Inserts `record`, or puts it in the place of the one with its number. The newest 256 stay.
    pub fn note(&self, record: &Record) {
        self.0.lock().insert(record.clone());
    }

    /// The newest records, of `plugin` or of all, newest first.
    pub fn list(&self, plugin: Option<&str>) -> Vec<Record> {
        let inner = self.0.lock();
        let wanted =
            |record: &&Record| plugin.is_none_or(|plugin| plugin == record.plugin.as_str());
        inner.records.values().rev().filter(wanted).cloned().collect()
    }

    /// Reads what the database knows, besides what is here. A record that was still under way when the database
    /// was closed is read as it was.
    ///
    /// # Errors
    /// `Corrupt` when a row is not what was written: all others are here nevertheless. What a read may end with
    /// otherwise.
    pub fn load(&self, kernel: &Kernel) -> KernelResult<()> {
        let tx = kernel.begin_read()?;
        if !exists(&tx)? {
            return Ok(());
        }
        let mut first_wrong = None;
        for row in tx.scan(HISTORY_TABLE, ..)? {
            let (key, value) = row?;
            let id = decode_key(&key);
            let record = id.and_then(|id| decode(id, &value));
            let mut inner = self.0.lock();
            match record {
                Ok(record) => inner.insert_missing(record),
                Err(error) => {
                    // Its number is taken all the same.
                    let taken = decode_key(&key).unwrap_or(0);
                    inner.last_id = inner.last_id.max(taken);
                    first_wrong.get_or_insert(error);
                }
            }
        }
        first_wrong.map_or(Ok(()), Err)
    }

    /// Writes `record`, in the place of the one with its number, and removes the oldest rows above 1,000.
    ///
    /// # Errors
    /// `Invalid` when it has no number; `Limit` when it is too long even without its notes and its reason; what a
    /// transaction may end with otherwise, on a read-only database its refusal.
    pub fn save(&self, kernel: &Kernel, record: &Record) -> KernelResult<()> {
        let (id, row) = (record.id, encode(record)?);
        let isolation = IsolationLevel::Serializable;
        let options = TransactionOptions { isolation, ..TransactionOptions::default() };
        kernel.run_with(options, |tx| {
            if !exists(tx)? {
                tx.create_table(HISTORY_TABLE, TableOptions::default())?;
            }
            tx.put(HISTORY_TABLE, &id.to_be_bytes(), &row)?;
            oldest(tx)?.iter().try_for_each(|key| tx.delete(HISTORY_TABLE, key))
        })
    }
}

impl Inner {
    fn insert(&mut self, record: Record) {
        self.last_id = self.last_id.max(record.id);
        self.records.insert(record.id, record);
        if RECORDS_MAX < self.records.len() {
            self.records.pop_first();
        }
    }

    /// What is in memory is newer than what is in the table.
    fn insert_missing(&mut self, record: Record) {
        if !self.records.contains_key(&record.id) {
            self.insert(record);
        }
    }
}

fn exists(tx: &Transaction) -> KernelResult<bool> {
    match tx.table(HISTORY_TABLE) {
        Ok(_) => Ok(true),
        Err(KernelError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The keys of the oldest rows above `ROWS_MAX`, at most `REMOVED_MAX`.
fn oldest(tx: &Transaction) -> KernelResult<Vec<Vec<u8>>> {
    let (mut oldest, mut count) = (Vec::new(), 0);
    for row in tx.scan(HISTORY_TABLE, ..)? {
        let (key, _) = row?;
        count += 1;
        if oldest.len() < REMOVED_MAX {
            oldest.push(key);
        }
    }
    oldest.truncate(usize::saturating_sub(count, ROWS_MAX));
    Ok(oldest)
}

fn encode(record: &Record) -> KernelResult<Vec<u8>> {
    if record.id == 0 || ID_MAX < record.id {
        let text = format!("a record's number is 1 to {ID_MAX}, not {}", record.id);
        return Err(KernelError::invalid(text));
    }
    let json = |record: &Record| {
        serde_json::to_vec(record).expect("a record has text keys alone, and writes to memory")
    };
    let mut text = json(record);
    if RECORD_BYTES_MAX < text.len() {
        let mut shorter = record.clone();
        shorter.steps.iter_mut().for_each(|step| step.note.clear());
        text = json(&shorter);
        if RECORD_BYTES_MAX < text.len() {
            shorter.reason.clear();
            text = json(&shorter);
        }
    }
    if RECORD_BYTES_MAX < text.len() {
        let what = "the size of a record of a reload in bytes";
        let (got, bound) = (text.len() as u64, RECORD_BYTES_MAX as u64);
        return Err(KernelError::Limit { what, got, bound });
    }
    Ok([&VERSION.to_le_bytes()[..], &text].concat())
}

fn decode_key(key: &[u8]) -> KernelResult<u64> {
    let id = key.try_into().map(u64::from_be_bytes);
    id.ok().filter(|id| (1..=ID_MAX).contains(id)).ok_or_else(|| {
        let hex: String = key.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        corrupt(
            0,
            "a key of eight bytes, a number of 1 to 2^53",
            format!("{} bytes, {hex}", key.len()),
        )
    })
}

fn decode(id: u64, row: &[u8]) -> KernelResult<Record> {
    let Some((version, text)) = row.split_first_chunk::<AT_RECORD>() else {
        return Err(corrupt(0, "4 bytes and a record", format!("{} bytes", row.len())));
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(corrupt(0, "version 1", format!("version {version}")));
    }
    if RECORD_BYTES_MAX < text.len() {
        let found = format!("{} bytes", text.len());
        return Err(corrupt(AT_RECORD, "a record of at most 65,536 bytes", found));
    }
    let record: Record = serde_json::from_slice(text)
        .map_err(|error| corrupt(AT_RECORD, format!("record {id} in JSON"), error.to_string()))?;
    if record.id != id {
        return Err(corrupt(AT_RECORD, format!("record {id}"), format!("record {}", record.id)));
    }
    Ok(record)
}

fn corrupt(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> KernelError {
    KernelError::corrupt(&format!("the table {HISTORY_TABLE}"), offset as u64, expected, found)
}

/// Adds `more` to `text`, behind a semicolon when there is something already. What is longer than `bound` bytes is
/// cut there, and its end says so; from then on nothing is added.
pub(crate) fn append(text: &mut String, more: &str, bound: usize) {
    if more.is_empty() || bound < text.len() {
        return;
    }
    if !text.is_empty() {
        text.push_str("; ");
    }
    let is_cut = bound < text.len() + more.len();
    text.push_str(&more[..more.floor_char_boundary(bound)]);
    if is_cut {
        text.truncate(text.floor_char_boundary(bound));
        text.push_str(" ...");
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
