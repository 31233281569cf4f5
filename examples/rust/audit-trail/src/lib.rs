//! Who changed which row when, and what it was before: hooks that write a history beside the rows.
//!
//! Each change becomes a row of the table `trail`, in the same transaction: there is no change without its entry and
//! no entry without its change. The trail is typed, so it is read like any other table:
//!
//! | column  | type      | what it holds                                                            |
//! |---------|-----------|--------------------------------------------------------------------------|
//! | `table` | string    | the changed row's table; key                                             |
//! | `row`   | string    | its key as JSON, such as `{"id":7}`; key                                 |
//! | `n`     | int64     | 1 for the first change of this row, 2 for the next; key                  |
//! | `at`    | timestamp | when                                                                     |
//! | `what`  | string    | `insert`, `update` or `delete`                                           |
//! | `who`   | string?   | what the row's own column `who` says, where there is such a setting       |
//! | `old`   | string?   | the row before, as JSON                                                  |
//! | `new`   | string?   | the row after, as JSON                                                   |
//!
//! The history of a row is one range of keys, and two transactions meet in the trail only where they meet in the
//! row itself.

use serde::Deserialize;
use sochdb_guest::prelude::*;
use sochdb_guest::serde_json::{Map, Value as Json, json};
use sochdb_guest::{clock, config};

/// The hook, which is its settings.
#[derive(Deserialize)]
pub struct AuditTrail {
    /// The table that entries are written to.
    trail: String,
    /// The column of the changed rows that says who changed them; none if empty.
    who: String,
    /// Columns whose values stay out of the trail, with commas between them.
    leave_out: String,
}

impl Hooks for AuditTrail {
    fn init() -> Result<Self> {
        config::read()
    }

    fn before_each(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let trail = tx.open(&self.trail)?;
        let (old, new) = (shown(table, change, &change.old)?, shown(table, change, &change.new)?);
        let (name, row) = (table.name(), key_of(table, change)?);
        let mut entry = Record::new(&trail)?;
        entry.set("n", 1 + changes_so_far(&trail, &name, &row)?)?;
        entry.set("table", name)?;
        entry.set("row", row)?;
        entry.set("at", Value::Timestamp(now_us()?))?;
        entry.set("what", what(change.kind))?;
        entry.set("who", self.who(new.as_ref().or(old.as_ref())))?;
        entry.set("old", old.map(|row| self.without_secrets(row)))?;
        entry.set("new", new.map(|row| self.without_secrets(row)))?;
        trail.put_record(&entry)?;
        Ok(Decision::Continue)
    }
}

impl AuditTrail {
    /// Who the row says it was; of a delete, the row that goes.
    fn who(&self, row: Option<&Map<String, Json>>) -> Option<String> {
        row.and_then(|row| row.get(&self.who)).and_then(|who| match who {
            Json::Null => None,
            Json::String(name) => Some(name.clone()),
            other => Some(other.to_string()),
        })
    }

    /// The row as JSON text, with a mark in the place of what stays out.
    fn without_secrets(&self, mut row: Map<String, Json>) -> String {
        for column in self.leave_out.split(',').map(str::trim) {
            if let Some(value) = row.get_mut(column) {
                *value = json!("(left out)");
            }
        }
        Json::Object(row).to_string()
    }
}

/// One side of a change as JSON: all columns, or `value`, or `value_hex` where it is no text.
fn shown(
    table: &Table<'_>,
    change: &Change,
    side: &Option<Vec<u8>>,
) -> Result<Option<Map<String, Json>>> {
    let Some(value) = side else { return Ok(None) };
    let row = match table.schema()? {
        Some(_) => Record::decode(table, &change.key, value)?.to_json(),
        None => untyped("value", value),
    };
    Ok(row.as_object().cloned())
}

/// The key as JSON: its columns, or `key`, or `key_hex`.
fn key_of(table: &Table<'_>, change: &Change) -> Result<String> {
    let Some(schema) = table.schema()? else { return Ok(untyped("key", &change.key).to_string()) };
    let value =
        change.old.as_ref().or(change.new.as_ref()).expect("a change has one side at least");
    let row = Record::decode(table, &change.key, value)?.to_json();
    let column = |position: &usize| {
        let name = &schema.columns[*position].name;
        (name.clone(), row[name].clone())
    };
    Ok(Json::Object(schema.key.iter().map(column).collect()).to_string())
}

fn untyped(name: &str, bytes: &[u8]) -> Json {
    match str::from_utf8(bytes) {
        Ok(text) => json!({ name: text }),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ format!("{name}_hex"): hex })
        }
    }
}

/// How many entries the trail has of a row: the number of the last.
fn changes_so_far(trail: &Table<'_>, table: &str, row: &str) -> Result<i64> {
    let schema = trail.schema()?.ok_or_else(|| {
        Error::invalid(format!("the trail '{}' is no typed table; see the README", trail.name()))
    })?;
    let first = schema.encode_key_values(&[table.into(), row.into()])?;
    let last = ScanOptions { reverse: true, limit: Some(1), ..ScanOptions::default() };
    match trail.records(KeyRange::prefix(&first), last)?.next() {
        Some(entry) => Ok(entry?.integer("n")?.unwrap_or(0)),
        None => Ok(0),
    }
}

fn what(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Insert => "insert",
        ChangeKind::Update => "update",
        ChangeKind::Delete => "delete",
    }
}

/// Microseconds since 1970.
fn now_us() -> Result<i64> {
    match clock::now_us() {
        // Without the grant the clock stands still.
        0 => Err(Error::new(ErrorCode::Denied, "the time was not granted: clock = true")),
        us => Ok(us),
    }
}

sochdb_guest::export!(hooks: AuditTrail);

#[cfg(test)]
mod tests;
