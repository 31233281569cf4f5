//! Rows, transactions, and who is called about what.
//!
//! ```text
//!   Database::put ──▶ World::transaction ──▶ write_all ──▶ before-hooks ──▶ rows, and how to undo them
//!                              │                 ▲
//!                              │                 └── imports: what plugins write in their calls
//!                              └──▶ after-hooks, when it went well; otherwise all is undone
//! ```
//!
//! There is one transaction at a time, so a savepoint is how much there was to undo.

use super::failure::{Done, Failure};
use super::imports;
use super::indexes::IndexOf;
use super::plugins::{AnyCodec, AnyIndex, AnyObserver, Identity, Installed, Work};
use super::running::{Right, depth, enter, is_at_work};
use super::said::Said;
use crate::error::{Error, ErrorCode, Result};
use crate::hooks::{Change, ChangeKind, Decision};
use crate::rows::{Table, Transaction};
use sochdb_encoding::row::Schema;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Rows that a hook gets at once.
const HOOK_ROWS: usize = 1024;
/// How many calls may be under way, each begun by the one before.
const CALL_DEPTH_MAX: usize = 8;
/// 4 MiB: the arguments of a procedure, and its answer.
const PROCEDURE_BYTES_MAX: usize = 4 << 20;

/// What became of a row that a test wrote or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was done as it was given; also the deletion of a row that was not there.
    AsGiven,
    /// A hook gave another value.
    Replaced,
    /// A hook skipped it.
    Skipped,
}

/// A row to be written: its key, and its value unless it is to be deleted.
pub(super) type RowWrite = (Vec<u8>, Option<Vec<u8>>);

/// The database.
#[derive(Default)]
pub(crate) struct World {
    pub(super) state: RefCell<State>,
    pub(super) plugins: RefCell<Vec<Rc<Installed>>>,
}

/// What the database has.
#[derive(Default)]
pub(super) struct State {
    pub(super) tables: BTreeMap<String, Rows>,
    pub(super) indexes: Vec<Rc<IndexOf>>,
    /// What the rows were before, oldest first.
    undo: Vec<(Rc<str>, RowWrite)>,
    /// What after-hooks will be told.
    changes: Vec<(Rc<str>, Change)>,
    pub(super) denied: BTreeSet<(Right, String)>,
    pub(super) clock_us: Option<i64>,
    pub(super) said: Said,
    pub(super) failures: Vec<Error>,
}

/// A table.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) schema: Option<Rc<Schema>>,
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    /// Calls a plugin, if it may be called now.
    fn call<T>(
        self: &Rc<Self>,
        plugin: &Installed,
        function: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Done<T> {
        if is_at_work(&plugin.identity) {
            let why = format!("{function}: it cannot be called by way of itself");
            return Err(Failure::denied(plugin, &why));
        }
        if CALL_DEPTH_MAX <= depth() {
            let why = format!("{function}: calls nest too deeply, {CALL_DEPTH_MAX} may");
            return Err(Failure::exhausted(plugin, &why));
        }
        enter(self, &plugin.identity, work)
            .map_err(|error| Failure::refused(plugin, function, error))
    }

    /// The plugin called `name`.
    pub(super) fn plugin(&self, name: &str) -> Option<Rc<Installed>> {
        self.plugins.borrow().iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// The columns of `table`, if it is typed.
    pub(super) fn schema(&self, table: &str) -> Result<Option<Rc<Schema>>> {
        match self.state.borrow().tables.get(table) {
            Some(rows) => Ok(rows.schema.clone()),
            None => Err(Error::not_found(format!("there is no table '{table}'"))),
        }
    }

    /// The value of `key` in `table`.
    pub(super) fn get(&self, table: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.state.borrow().tables.get(table).and_then(|rows| rows.rows.get(key).cloned())
    }

    /// Does `work` in a transaction of its own, and tells after-hooks when it has gone well.
    pub(super) fn transaction<T>(self: &Rc<Self>, work: impl FnOnce() -> Done<T>) -> Done<T> {
        let done = self.all_or_none(work);
        let mut state = self.state.borrow_mut();
        state.undo.clear();
        let changes = std::mem::take(&mut state.changes);
        drop(state);
        if done.is_ok() {
            self.tell(&changes);
        }
        done
    }

    /// Undoes what `work` has written when it fails.
    fn all_or_none<T>(self: &Rc<Self>, work: impl FnOnce() -> Done<T>) -> Done<T> {
        let mark = |state: &State| (state.undo.len(), state.changes.len());
        let (undo, changes) = mark(&self.state.borrow());
        let done = work();
        if done.is_err() {
            let mut state = self.state.borrow_mut();
            state.changes.truncate(changes);
            for (table, (key, before)) in state.undo.split_off(undo).into_iter().rev() {
                if let Some(rows) = state.tables.get_mut(&*table) {
                    match before {
                        Some(value) => drop(rows.rows.insert(key, value)),
                        None => drop(rows.rows.remove(&key)),
                    }
                }
            }
        }
        done
    }

    /// Writes rows as far as hooks let it: all of them, or none. Says what became of each.
    pub(super) fn write_all(self: &Rc<Self>, table: &str, rows: &[RowWrite]) -> Done<Vec<Written>> {
        self.all_or_none(|| {
            self.schema(table)?;
            let mut written = Vec::new();
            while written.len() < rows.len() {
                let rest = &rows[written.len()..];
                written.extend(self.write_watched(&table.into(), &rest[..together(rest)])?);
            }
            Ok(written)
        })
    }

    fn write_watched(self: &Rc<Self>, table: &Rc<str>, rows: &[RowWrite]) -> Done<Vec<Written>> {
        let mut written = vec![Written::AsGiven; rows.len()];
        let mut changes = Vec::new();
        for (at, (key, new)) in rows.iter().enumerate() {
            let old = self.get(table, key);
            let kind = match (&old, new) {
                (None, None) => continue,
                (None, Some(_)) => ChangeKind::Insert,
                (Some(_), Some(_)) => ChangeKind::Update,
                (Some(_), None) => ChangeKind::Delete,
            };
            changes.push((at, Change { kind, key: key.clone(), old, new: new.clone() }));
        }
        let hooks = self.hooks_of(table);
        for plugin in &hooks {
            changes = self.ask_before(plugin, table, changes, &mut written)?;
        }
        let mut state = self.state.borrow_mut();
        for (_, change) in changes {
            state.write(table, &change.key, change.new.clone());
            if hooks.iter().any(|plugin| plugin.hears(table, change.kind, false)) {
                state.changes.push((table.clone(), change));
            }
        }
        Ok(written)
    }

    /// The hooks of `table` that are not at work.
    fn hooks_of(&self, table: &str) -> Vec<Rc<Installed>> {
        let all = self.plugins.borrow();
        let watches =
            |plugin: &&Rc<Installed>| plugin.watches(table) && !is_at_work(&plugin.identity);
        all.iter().filter(watches).cloned().collect()
    }

    /// Asks one plugin about the changes it wants to see; answers those that are left to happen.
    fn ask_before(
        self: &Rc<Self>,
        plugin: &Rc<Installed>,
        table: &Rc<str>,
        changes: Vec<(usize, Change)>,
        written: &mut [Written],
    ) -> Done<Vec<(usize, Change)>> {
        let hears = |change: &Change| plugin.hears(table, change.kind, true);
        let wanted: Vec<_> =
            changes.iter().filter(|(_, change)| hears(change)).map(|(_, c)| c.clone()).collect();
        let Work::Hooks(hooks) = &plugin.work else { return Ok(changes) };
        if wanted.is_empty() {
            return Ok(changes);
        }
        let decisions = self.call(plugin, "before", || {
            self.lend(plugin, table, true, |tx, table| {
                hooks.borrow_mut().before(tx, table, &wanted)
            })
        })?;
        let is_change =
            |decision: &Decision| matches!(decision, Decision::Replace(_) | Decision::Skip);
        // The operator's policy says who may, not the manifest.
        if decisions.iter().any(is_change) && self.denies(Right::Write, table) {
            let why =
                format!("before: replacing and skipping in the table '{table}' was not granted");
            return Err(Failure::denied(plugin, &why));
        }
        if decisions.len() != wanted.len() {
            let (got, count) = (decisions.len(), wanted.len());
            let why = format!("before: {got} decisions about {count} changes");
            return Err(Failure::lied(plugin, &why));
        }
        let mut decisions = decisions.into_iter();
        let mut left = Vec::new();
        for (at, mut change) in changes {
            match if hears(&change) { decisions.next() } else { None } {
                None | Some(Decision::Continue) => left.push((at, change)),
                Some(Decision::Skip) => written[at] = Written::Skipped,
                Some(Decision::Abort(reason)) => return Err(Failure::aborted(plugin, reason)),
                Some(Decision::Replace(_)) if change.new.is_none() => {
                    return Err(Failure::lied(plugin, "before: a delete cannot be replaced"));
                }
                Some(Decision::Replace(value)) => {
                    if let Some(schema) = self.schema(table)?
                        && let Err(error) = schema.decode(&change.key, &value)
                    {
                        let why =
                            format!("its replacement is no row of the table '{table}': {error}");
                        return Err(Failure::lied(plugin, &why));
                    }
                    change.new = Some(value);
                    written[at] = Written::Replaced;
                    left.push((at, change));
                }
            }
        }
        Ok(left)
    }

    /// Tells after-hooks of what was committed.
    fn tell(self: &Rc<Self>, changes: &[(Rc<str>, Change)]) {
        for changes in changes.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same.chunks(HOOK_ROWS)) {
            let table = &changes[0].0;
            for plugin in self.hooks_of(table) {
                let Work::Hooks(hooks) = &plugin.work else { continue };
                let hears =
                    |(_, change): &&(Rc<str>, Change)| plugin.hears(table, change.kind, false);
                let heard = changes.iter().filter(hears).map(|(_, change)| change.clone());
                let heard: Vec<_> = heard.collect();
                if heard.is_empty() {
                    continue;
                }
                let told = self.call(&plugin, "after", || {
                    self.lend(&plugin, table, false, |tx, table| {
                        hooks.borrow_mut().after(tx, table, &heard)
                    })
                });
                if let Err(failure) = told {
                    self.state.borrow_mut().failures.push(failure.for_test());
                }
            }
        }
    }

    /// Hands a hook the transaction, and the table that it is about.
    fn lend<T>(
        self: &Rc<Self>,
        plugin: &Installed,
        name: &Rc<str>,
        writes: bool,
        work: impl FnOnce(&Transaction<'_>, &Table<'_>) -> T,
    ) -> T {
        let tx = imports::rows::Transaction::new(self.clone(), writes);
        let table = tx.table(name, &plugin.identity);
        work(&Transaction::new(&tx), &Table::lent(&table))
    }

    /// Calls a procedure; what it wrote is undone when it fails.
    pub(super) fn call_procedure(
        self: &Rc<Self>,
        plugin: &str,
        procedure: &str,
        args: &str,
        may_write: bool,
    ) -> Done<String> {
        let none = |what: String| Error::not_found(format!("there is no {what}"));
        let found = self.plugin(plugin).ok_or_else(|| none(format!("plugin '{plugin}'")))?;
        let Work::Procedures(work, infos) = &found.work else {
            return Err(none(format!("procedure '{plugin}.{procedure}'")).into());
        };
        let info = infos.iter().find(|info| info.name == procedure);
        let info = info.ok_or_else(|| none(format!("procedure '{plugin}.{procedure}'")))?;
        if PROCEDURE_BYTES_MAX < args.len() {
            let text =
                format!("the arguments of a procedure have at most {PROCEDURE_BYTES_MAX} bytes");
            return Err(Error::new(ErrorCode::Limit, text).into());
        }
        check_json(args).map_err(|why| {
            Error::invalid(format!("the arguments of '{procedure}' are no JSON: {why}"))
        })?;
        let writes = may_write && !info.read_only;
        self.all_or_none(|| {
            let answer = self.call(&found, "call", || {
                let tx = imports::rows::Transaction::new(self.clone(), writes);
                work.borrow_mut().call(&Transaction::new(&tx), procedure, args)
            })?;
            match check_json(&answer) {
                Ok(()) => Ok(answer),
                Err(why) => {
                    let why = format!("call: the result of '{procedure}' is no JSON: {why}");
                    Err(Failure::lied(&found, &why))
                }
            }
        })
    }

    /// Calls the codec `name`.
    pub(super) fn with_codec<T>(
        self: &Rc<Self>,
        name: &str,
        function: &str,
        work: impl FnOnce(&mut dyn AnyCodec) -> Result<T>,
    ) -> Done<T> {
        let none = || Error::not_found(format!("there is no codec '{name}'"));
        let plugin = self.plugin(name).ok_or_else(none)?;
        let Work::Codec(codec) = &plugin.work else { return Err(none().into()) };
        self.call(&plugin, function, || work(&mut **codec.borrow_mut()))
    }

    /// Calls the observer `name`.
    pub(super) fn with_observer<T>(
        self: &Rc<Self>,
        name: &str,
        function: &str,
        work: impl FnOnce(&mut dyn AnyObserver) -> Result<T>,
    ) -> Done<T> {
        let none = || Error::not_found(format!("there is no observer '{name}'"));
        let plugin = self.plugin(name).ok_or_else(none)?;
        let Work::Observer(observer) = &plugin.work else { return Err(none().into()) };
        self.call(&plugin, function, || work(&mut **observer.borrow_mut()))
    }

    /// Calls the index plugin behind an index.
    pub(super) fn with_index<T>(
        self: &Rc<Self>,
        plugin: &Installed,
        function: &str,
        work: impl FnOnce(&mut dyn AnyIndex) -> Result<T>,
    ) -> Done<T> {
        match &plugin.work {
            Work::Index(index) => self.call(plugin, function, || work(&mut **index.borrow_mut())),
            _ => Err(Error::internal("an index is kept by an index plugin").into()),
        }
    }

    /// Whether `plugin` may do this to what is called `name`.
    pub(super) fn may(&self, plugin: &Identity, right: Right, name: &str) -> bool {
        !self.denies(right, name)
            && plugin.manifest.as_ref().is_none_or(|manifest| manifest.grants(right, name))
    }

    /// Whether the test keeps all plugins from it, as a policy does.
    fn denies(&self, right: Right, name: &str) -> bool {
        let is_of_all = matches!(right, Right::VectorSearch | Right::IndexSearch);
        let name = if is_of_all { "" } else { name };
        self.state.borrow().denied.contains(&(right, name.to_owned()))
    }
}

impl State {
    fn write(&mut self, table: &Rc<str>, key: &[u8], value: Option<Vec<u8>>) {
        let Some(rows) = self.tables.get_mut(&**table) else { return };
        let before = match value {
            Some(value) => rows.rows.insert(key.to_vec(), value),
            None => rows.rows.remove(key),
        };
        self.undo.push((table.clone(), (key.to_vec(), before)));
    }
}

/// How many of `rows` hooks get at once: what a row was before is only right for the first of two writes to one
/// key.
fn together(rows: &[RowWrite]) -> usize {
    let grows = |at: &usize| *at == 0 || rows[at - 1].0 < rows[*at].0;
    (0..rows.len().min(HOOK_ROWS)).take_while(grows).count()
}

fn check_json(text: &str) -> std::result::Result<(), serde_json::Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop)
}
