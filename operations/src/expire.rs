//! Which rows of a table have had their time: settings of a table that say how long its rows live.
//!
//! | setting      | what it is                                                                    |
//! |--------------|-------------------------------------------------------------------------------|
//! | `ttl_column` | the column, a timestamp that is never null, from which a row's time is counted |
//! | `ttl`        | how long a row lives after that: a number and `s`, `m`, `h` or `d`, such as `30d` |
//!
//! A row has expired when its column's time plus the time to live lies before now. It is never deleted before
//! that, and may be seen until it is: somebody who sweeps looks for expired rows now and then, and deletes
//! them in ordinary transactions, which hooks and the feed of changes see like any other. A row whose column
//! is written anew lives on.

use crate::contracts::KernelStorage;
use sochdb_encoding::select::{Comparison, Condition};
use sochdb_kernel::{
    Column, ColumnType, KernelError, KernelResult, KeyRange, Schema, TableOptions, Value,
};
use std::ops::Bound;

/// The setting that names the column.
pub const TTL_COLUMN: &str = "ttl_column";
/// The setting that says how long rows live.
pub const TTL: &str = "ttl";
/// The longest time to live: a thousand years, so that no sum overflows without a reason.
const TTL_SECONDS_MAX: u64 = 1_000 * 366 * 24 * 3_600;

/// Whether the setting `name` is one of this module's, and so holds for every storage.
pub(crate) fn is_setting(name: &str) -> bool {
    name == TTL || name == TTL_COLUMN
}

/// How long the rows of a table live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ttl {
    schema: Schema,
    position: usize,
    /// Microseconds.
    lifetime_us: i64,
}

/// What [`expired`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// The keys of expired rows, growing.
    pub keys: Vec<Vec<u8>>,
    /// The last key that was looked at, where there may be more rows behind it.
    pub through: Option<Vec<u8>>,
    /// Rows that were looked at.
    pub rows: usize,
}

impl Ttl {
    /// What the settings of a table say; `None` when its rows live for ever.
    ///
    /// # Errors
    /// `Invalid` when one setting is there without the other, the column is not there, is no timestamp or may
    /// be null, or the time to live is none.
    pub fn of(options: &TableOptions) -> KernelResult<Option<Ttl>> {
        let (column, ttl) = match (options.settings.get(TTL_COLUMN), options.settings.get(TTL)) {
            (None, None) => return Ok(None),
            (Some(column), Some(ttl)) => (column, ttl),
            (Some(_), None) => return Err(alone(TTL_COLUMN, TTL)),
            (None, Some(_)) => return Err(alone(TTL, TTL_COLUMN)),
        };
        let Some(schema) = &options.schema else {
            return Err(invalid(format!("'{column}' is named, but the table has no columns")));
        };
        let found = schema.columns.iter().position(|known| known.name == *column);
        let position = found.ok_or_else(|| invalid(format!("there is no column '{column}'")))?;
        let Column { kind, nullable, .. } = &schema.columns[position];
        if *kind != ColumnType::Timestamp || *nullable {
            let null = if *nullable { " that may be null" } else { "" };
            return Err(invalid(format!(
                "column '{column}' is {kind}{null}; it must be a timestamp that is never null"
            )));
        }
        let lifetime_us = parse(ttl)?;
        Ok(Some(Ttl { schema: schema.clone(), position, lifetime_us }))
    }

    /// The schema of the table.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What the rows fulfil that have expired at `now_us`, in microseconds since 1970.
    ///
    /// # Errors
    /// None that a checked schema causes.
    pub fn condition(&self, now_us: i64) -> KernelResult<Condition> {
        let before = Value::Timestamp(now_us.saturating_sub(self.lifetime_us));
        let column = &self.schema.columns[self.position].name;
        Ok(Condition::new(&self.schema, column, Comparison::Less, before)?)
    }

    /// Whether the row has expired at `now_us`, in microseconds since 1970.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no row of the table.
    pub fn is_over(&self, key: &[u8], value: &[u8], now_us: i64) -> KernelResult<bool> {
        let found = match self.schema.key.iter().position(|position| *position == self.position) {
            Some(order) => self.schema.key_values(key)?.swap_remove(order),
            None => self.schema.column(value, self.position)?,
        };
        // A null cannot be, and would live for ever.
        let Value::Timestamp(since) = found else { return Ok(false) };
        Ok(since.saturating_add(self.lifetime_us) < now_us)
    }
}

fn invalid(text: String) -> KernelError {
    KernelError::Invalid(format!("the settings '{TTL_COLUMN}' and '{TTL}': {text}"))
}

fn alone(there: &str, missing: &str) -> KernelError {
    KernelError::Invalid(format!("the setting '{there}' needs the setting '{missing}' beside it"))
}

/// A duration such as `90s`, `15m`, `12h` or `30d`, in microseconds.
fn parse(text: &str) -> KernelResult<i64> {
    let bad = || invalid(format!("'{text}' is no time to live; such as 90s, 15m, 12h or 30d"));
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 24 * 3_600,
        _ => return Err(bad()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let count: u64 = digits.parse().map_err(|_| bad())?;
    let seconds = count.checked_mul(seconds).filter(|seconds| *seconds <= TTL_SECONDS_MAX);
    let seconds = seconds.ok_or_else(|| invalid(format!("'{text}' is more than 1,000 years")))?;
    if seconds == 0 {
        return Err(invalid(format!("'{text}' is no time: rows would be gone at once")));
    }
    Ok(seconds as i64 * 1_000_000)
}

/// Looks for expired rows of `table` behind the key `after`, until `keys_max` are found or `rows_max` rows were
/// looked at.
///
/// # Errors
/// As [`KernelStorage::scan`], and [`Ttl::is_over`].
pub fn expired(
    rows: &impl KernelStorage,
    table: &str,
    ttl: &Ttl,
    now_us: i64,
    after: Option<&[u8]>,
    (keys_max, rows_max): (usize, usize),
) -> KernelResult<Expired> {
    let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
    let mut found = Expired::default();
    for row in rows.scan(table, KeyRange { start, end: Bound::Unbounded })? {
        let (key, value) = row?;
        found.rows += 1;
        let is_over = ttl.is_over(&key, &value, now_us)?;
        let is_full = found.rows == rows_max || is_over && found.keys.len() + 1 == keys_max;
        if is_full {
            found.through = Some(key.clone());
        }
        if is_over {
            found.keys.push(key);
        }
        if is_full {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_kernel::{ErrorKind, Kernel, Options};
    use std::collections::BTreeMap;

    fn options(settings: &[(&str, &str)]) -> TableOptions {
        let column = |name: &str, kind, nullable| Column {
            name: name.into(),
            kind,
            nullable,
            default: None,
        };
        let columns = vec![
            column("id", ColumnType::Int64, false),
            column("at", ColumnType::Timestamp, false),
            column("later", ColumnType::Timestamp, true),
        ];
        let settings: BTreeMap<_, _> =
            settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        TableOptions {
            schema: Some(Schema::new(columns, &["id"]).unwrap()),
            settings,
            ..TableOptions::default()
        }
    }

    fn lifetime(text: &str) -> KernelResult<i64> {
        let ttl = Ttl::of(&options(&[(TTL_COLUMN, "at"), (TTL, text)]))?;
        Ok(ttl.unwrap().lifetime_us)
    }

    #[test]
    fn a_time_to_live_is_a_number_and_a_unit() {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(lifetime(text).unwrap(), seconds * 1_000_000, "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "0s",
            "-1s",
            "+1s",
            "1.5h",
            "1 d",
            "1w",
            "3é",
            "99999999999999999999d",
            "366001d",
        ] {
            assert_eq!(lifetime(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert_eq!(Ttl::of(&options(&[])).unwrap(), None);
        for (settings, word) in [
            (&[(TTL, "1d")][..], "needs the setting 'ttl_column'"),
            (&[(TTL_COLUMN, "at")], "needs the setting 'ttl'"),
            (&[(TTL_COLUMN, "nope"), (TTL, "1d")], "no column 'nope'"),
            (&[(TTL_COLUMN, "id"), (TTL, "1d")], "is int64"),
            (&[(TTL_COLUMN, "later"), (TTL, "1d")], "may be null"),
        ] {
            let error = Ttl::of(&options(settings)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(word), "{error}");
        }
        let untyped = TableOptions { schema: None, ..options(&[(TTL_COLUMN, "at"), (TTL, "1d")]) };
        assert!(Ttl::of(&untyped).unwrap_err().to_string().contains("no columns"));
    }

    #[test]
    fn rows_are_found_in_bounded_steps_and_none_too_early() {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        let options = options(&[(TTL_COLUMN, "at"), (TTL, "10s")]);
        kernel.create_table("t", options.clone()).unwrap();
        let schema = options.schema.clone().unwrap();
        let row = |id: i64| [Value::Int64(id), Value::Timestamp(id * 1_000_000), Value::Null];
        let put = |id: i64| {
            let (key, value) =
                (schema.encode_key(&row(id)).unwrap(), schema.encode_row(&row(id)).unwrap());
            kernel.run(|tx| tx.put("t", &key, &value)).unwrap();
        };
        (0..20).for_each(put);
        let ttl = Ttl::of(&options).unwrap().unwrap();
        let tx = kernel.begin_read().unwrap();
        let is_over = ttl.condition(15_000_000).unwrap();
        let accepts = |id: &i64| is_over.accepts(&Value::Timestamp(*id * 1_000_000));
        assert_eq!((0..20).filter(accepts).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let find = |after: Option<&[u8]>, bounds| {
            expired(&tx, "t", &ttl, 15_000_000, after, bounds).unwrap()
        };
        // Rows 0 to 4: the time of row 5 is up exactly now, and so not yet over.
        let all = find(None, (100, 100));
        assert_eq!((all.keys.len(), all.rows, all.through), (5, 20, None));
        let first = find(None, (2, 100));
        assert_eq!((first.keys.len(), first.rows), (2, 2));
        let rest = find(first.through.as_deref(), (100, 10));
        assert_eq!((rest.keys.len(), rest.rows), (3, 10));
        let last = find(rest.through.as_deref(), (100, 100));
        assert_eq!((last.keys.len(), last.rows, last.through), (0, 8, None));
    }
}
