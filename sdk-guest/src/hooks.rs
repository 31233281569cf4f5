//! A plugin that is asked before rows change, and told after.

use crate::bindings::hooks::exports::sochdb::plugin::hooks as contract;
use crate::bindings::lifecycle;
use crate::error::{Error, Result};
use crate::rows::{Record, Table, Transaction};
use std::marker::PhantomData;

/// Hooks of tables. The manifest's `[hooks]` says of which tables and changes.
///
/// ```
/// use sochdb_guest::rows::{Table, Transaction};
/// use sochdb_guest::{Change, Decision, Hooks, Result};
///
/// /// Lets nobody write an empty value.
/// struct NotEmpty;
///
/// impl Hooks for NotEmpty {
///     fn init() -> Result<Self> {
///         Ok(NotEmpty)
///     }
///
///     fn before_each(&mut self, _: &Transaction<'_>, _: &Table<'_>, change: &Change) -> Result<Decision> {
///         Ok(match &change.new {
///             Some(value) if value.is_empty() => Decision::Abort("the value is empty".into()),
///             _ => Decision::Continue,
///         })
///     }
/// }
///
/// sochdb_guest::export!(hooks: NotEmpty);
///
/// // A test:
/// # fn main() -> Result<()> {
/// let mut db = sochdb_guest::testing::Database::new();
/// db.table("notes").hooks::<NotEmpty>("notes")?;
/// assert!(db.put("notes", b"1", b"milk").is_ok());
/// assert_eq!(db.put("notes", b"2", b"").unwrap_err().text, "the value is empty");
/// # Ok(())
/// # }
/// ```
pub trait Hooks: Sized {
    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Decides about changes that somebody is about to make, in their transaction: one decision for each,
    /// in their order. By default [`before_each`](Self::before_each) is asked about one after the other.
    ///
    /// # Errors
    /// Any; none of the changes happens, and their writer gets the error.
    fn before(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        changes: &[Change],
    ) -> Result<Vec<Decision>> {
        changes.iter().map(|change| self.before_each(tx, table, change)).collect()
    }

    /// Decides about one change.
    ///
    /// # Errors
    /// As [`before`](Self::before).
    fn before_each(
        &mut self,
        _tx: &Transaction<'_>,
        _table: &Table<'_>,
        _change: &Change,
    ) -> Result<Decision> {
        Ok(Decision::Continue)
    }

    /// Learns of changes that were committed, in a transaction that only reads and sees them.
    ///
    /// # Errors
    /// Any; logged, since what is committed stays.
    fn after(
        &mut self,
        _tx: &Transaction<'_>,
        _table: &Table<'_>,
        _changes: &[Change],
    ) -> Result<()> {
        Ok(())
    }

    /// Whether the plugin works at all; called when it is loaded.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// There was none with this key.
    Insert,
    /// It gets another value.
    Update,
    /// It goes.
    Delete,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its value before; absent for an insert.
    pub old: Option<Vec<u8>>,
    /// Its value after; absent for a delete.
    pub new: Option<Vec<u8>>,
}

impl Change {
    /// The row before, by the names of its columns; `None` for an insert.
    ///
    /// # Errors
    /// `Invalid` when `table` is not typed, `Corrupt` when it is no row of it.
    pub fn old_record(&self, table: &Table<'_>) -> Result<Option<Record>> {
        self.old.as_ref().map(|value| Record::decode(table, &self.key, value)).transpose()
    }

    /// The row after, by the names of its columns; `None` for a delete.
    ///
    /// # Errors
    /// As [`old_record`](Self::old_record).
    pub fn new_record(&self, table: &Table<'_>) -> Result<Option<Record>> {
        self.new.as_ref().map(|value| Record::decode(table, &self.key, value)).transpose()
    }

    /// The decision that the change happens with `record` as the row after.
    ///
    /// # Errors
    /// `Invalid` for a delete, when the record has another key, and as [`Record::encode`].
    pub fn replace(&self, record: &Record) -> Result<Decision> {
        if self.kind == ChangeKind::Delete {
            return Err(Error::invalid("a delete cannot be replaced"));
        }
        if record.key()? != self.key {
            let text = "a row cannot be replaced by one with another key; write that one by itself";
            return Err(Error::invalid(text));
        }
        Ok(Decision::Replace(record.encode()?))
    }
}

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It happens.
    Continue,
    /// It happens with this value; [`Change::replace`] makes one of a record. Not for a delete.
    Replace(Vec<u8>),
    /// It does not happen; its transaction goes on.
    Skip,
    /// It does not happen, and its writer is told why.
    Abort(String),
}

impl Decision {
    /// It does not happen, and its writer is told why.
    pub fn abort(reason: impl Into<String>) -> Decision {
        Decision::Abort(reason.into())
    }
}

impl From<Decision> for contract::Decision {
    fn from(decision: Decision) -> contract::Decision {
        match decision {
            Decision::Continue => contract::Decision::Continue,
            Decision::Replace(value) => contract::Decision::Replace(value),
            Decision::Skip => contract::Decision::Skip,
            Decision::Abort(reason) => contract::Decision::Abort(reason),
        }
    }
}

impl From<contract::Change> for Change {
    fn from(change: contract::Change) -> Change {
        let kind = match change.kind {
            contract::ChangeKind::Insert => ChangeKind::Insert,
            contract::ChangeKind::Update => ChangeKind::Update,
            contract::ChangeKind::Delete => ChangeKind::Delete,
        };
        Change { kind, key: change.key, old: change.old, new: change.new }
    }
}

/// Turns calls of the contract into calls of [`Hooks`].
pub struct HooksGlue<P>(PhantomData<P>);

lifecycle!(HooksGlue: Hooks);

#[cfg(not(all(feature = "testing", not(target_family = "wasm"))))]
mod exports {
    use super::*;
    use crate::bindings::{Instance, types};
    use crate::imports::rows as host;

    impl<P: Hooks + Instance> contract::Guest for HooksGlue<P> {
        fn before(
            tx: &host::Transaction,
            table: &host::Table,
            changes: Vec<contract::Change>,
        ) -> std::result::Result<Vec<contract::Decision>, types::Error> {
            let changes: Vec<_> = changes.into_iter().map(Change::from).collect();
            P::with(|hooks| {
                let decisions =
                    hooks.before(&Transaction::new(tx), &Table::lent(table), &changes)?;
                Ok(decisions.into_iter().map(Into::into).collect())
            })
        }

        fn after(
            tx: &host::Transaction,
            table: &host::Table,
            changes: Vec<contract::Change>,
        ) -> std::result::Result<(), types::Error> {
            let changes: Vec<_> = changes.into_iter().map(Change::from).collect();
            P::with(|hooks| hooks.after(&Transaction::new(tx), &Table::lent(table), &changes))
        }
    }
}
