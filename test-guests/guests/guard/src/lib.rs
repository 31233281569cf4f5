//! Hooks that do what the key of a change says, and keep an audit table of what they saw.
//!
//! | key begins with | before                                                     |
//! |-----------------|------------------------------------------------------------|
//! | `replace`       | the value in upper case                                    |
//! | `skip`          | does not happen                                            |
//! | `abort`         | does not happen, with a reason                             |
//! | `trap`          | the guest panics                                           |
//! | `again`         | writes the same key with another value, by itself          |
//! | `twice`         | writes the same key itself, and lets the change happen too |
//! | `audit`         | writes what happened to the table `audit`                  |
//!
//! After a commit it counts the changes in the metric `guard_changes_total`.

use sochdb_guest::rows::{Table, Transaction};
use sochdb_guest::{Change, Decision, Hooks, Result, telemetry};

struct Guard;

impl Hooks for Guard {
    fn init() -> Result<Self> {
        Ok(Guard)
    }

    fn before_each(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let key = String::from_utf8_lossy(&change.key);
        let word = key.split('/').next().unwrap_or_default();
        Ok(match word {
            "replace" => match &change.new {
                Some(value) => Decision::Replace(value.to_ascii_uppercase()),
                None => Decision::Continue,
            },
            "skip" => Decision::Skip,
            "abort" => Decision::Abort(format!("{} is not wanted\nhere", table.name())),
            "trap" => panic!("as the key says"),
            "again" => {
                table.put(&change.key, b"written by the hook")?;
                Decision::Skip
            }
            "twice" => {
                table.put(&change.key, b"longer than what comes after it")?;
                Decision::Continue
            }
            "audit" => {
                let what = format!("{:?} {:?} {:?}", change.kind, change.old, change.new);
                tx.open("audit")?.put(&change.key, what.as_bytes())?;
                Decision::Continue
            }
            _ => Decision::Continue,
        })
    }

    fn after(&mut self, tx: &Transaction<'_>, table: &Table<'_>, changes: &[Change]) -> Result<()> {
        assert!(tx.is_read_only(), "what is committed stays");
        for change in changes {
            let seen = table.get(&change.key)?;
            assert_eq!(seen, change.new, "a hook after the commit sees it");
        }
        telemetry::count("guard_changes_total", &[], changes.len() as f64)
    }
}

sochdb_guest::export!(hooks: Guard);
