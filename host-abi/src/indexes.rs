//! The indexes of a database's tables, as its transactions meet them.
//!
//! ```text
//!   a row is written ──▶ Marks ── which indexes has the table? ──▶ a mark in each, in the same transaction
//!   commit ──▶ gate, together ──▶ are these still its indexes? ── no ──▶ Conflict: run again
//!   an index is made or renamed ──▶ gate, alone ──▶ the epoch grows
//! ```
//!
//! 1. The epoch is even between two changes of what indexes there are, and odd during one. Who changes them has
//!    the gate alone, so whoever passes it together with others sees an even one.
//! 2. A transaction that began in an epoch sees exactly the indexes of this epoch, which all its transactions
//!    share. Of one that cannot know its epoch, or has changed the catalog itself, the catalog is read.
//! 3. A transaction that began before an index was made does not mark its rows in it. So it compares, behind the
//!    gate, the indexes that it marked with those there are by then, unless the epoch is still its own.

use crate::policy::HOST_TABLES;
use crate::spread::Spread;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use sochdb_index::definition::parse_index_table_name;
use sochdb_index::{IndexDefinition, IndexEngine, IndexState, TableIndexes, indexes_of};
use sochdb_kernel::{
    ErrorKind, Kernel, KernelError, KernelResult, TableId, TableInfo, Transaction,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Indexes with their states.
pub(crate) type Definitions = Arc<Vec<(IndexDefinition, IndexState)>>;

/// What one database's transactions share of its indexes.
pub(crate) struct Indexes {
    pub(crate) engine: Arc<IndexEngine>,
    /// Commits pass it together; whoever must be alone for a moment takes it alone.
    pub(crate) gate: Spread<()>,
    epoch: AtomicU64,
    /// What there is in an epoch.
    known: Spread<Option<(u64, Arc<Known>)>>,
}

/// The tables that have indexes, by full name. One whose indexes cannot be read is asked again each time.
type Known = BTreeMap<String, Option<OfTable>>;

#[derive(Clone)]
struct OfTable {
    marks: Arc<TableIndexes>,
    definitions: Definitions,
}

/// How a commit passes the gate.
pub(crate) enum Passage<'a> {
    /// With others.
    Together { _gate: RwLockReadGuard<'a, ()> },
    /// Alone, to change what indexes there are: the epoch is over before the next may pass.
    Alone { _change: Change<'a>, _gate: Vec<RwLockWriteGuard<'a, ()>> },
}

/// While this lives, the epoch is odd.
pub(crate) struct Change<'a>(&'a AtomicU64);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Indexes {
    fn default() -> Indexes {
        let (gate, known) = (Spread::default(), Spread::default());
        Indexes { engine: IndexEngine::new(), gate, epoch: AtomicU64::new(0), known }
    }
}

impl Indexes {
    /// The present epoch: to be asked for before a transaction begins.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Lets a commit through, once nobody is alone; alone if it `changes` what indexes there are.
    pub(crate) fn pass(&self, changes: bool) -> Passage<'_> {
        if !changes {
            return Passage::Together { _gate: self.gate.read() };
        }
        let gate = self.gate.write();
        let before = self.epoch.fetch_add(1, Ordering::AcqRel);
        assert!(before.is_multiple_of(2), "two change the indexes at once, in epoch {before}");
        Passage::Alone { _change: Change(&self.epoch), _gate: gate }
    }

    /// What `look` finds in what there is in `epoch`, in which `tx` began; `None` when that is over.
    fn known<R>(
        &self,
        epoch: u64,
        tx: &Transaction,
        look: impl Fn(&Known) -> R,
    ) -> KernelResult<Option<R>> {
        if let Some((of, known)) = &*self.known.read()
            && *of == epoch
        {
            return Ok(Some(look(known)));
        }
        let all = tx.tables()?;
        if self.epoch() != epoch {
            return Ok(None);
        }
        let tables = all.iter().filter_map(|info| indexed_table(&info.name));
        let known = tables.map(|table| (table.to_owned(), OfTable::read(table, &all).ok()));
        let known = Arc::new(known.collect::<Known>());
        for mut copy in self.known.write() {
            *copy = Some((epoch, known.clone()));
        }
        Ok(Some(look(&known)))
    }

    /// The indexes of `table`, for a transaction that began in `epoch` and has not changed the catalog; `None`
    /// when it has none.
    fn of_table(
        &self,
        table: &str,
        epoch: Option<u64>,
        tx: &Transaction,
    ) -> KernelResult<Option<OfTable>> {
        if let Some(epoch) = epoch {
            match self.known(epoch, tx, |known| known.get(table).cloned())? {
                Some(None) => return Ok(None),
                Some(Some(Some(found))) => return Ok(Some(found)),
                Some(Some(None)) | None => {}
            }
        }
        let found = OfTable::read(table, &tx.tables()?)?;
        Ok(Some(found).filter(|found| !found.definitions.is_empty()))
    }
}

impl OfTable {
    fn read(table: &str, all: &[TableInfo]) -> KernelResult<OfTable> {
        let marks = Arc::new(TableIndexes::of(table, all)?);
        Ok(OfTable { marks, definitions: Arc::new(indexes_of(Some(table), all)?) })
    }
}

/// The table that has the index that is kept in the table `name`.
pub(crate) fn indexed_table(name: &str) -> Option<&str> {
    parse_index_table_name(name).map(|(_, table)| table)
}

/// Whether the table `name` keeps an index.
pub(crate) fn is_index_table(name: &str) -> bool {
    indexed_table(name).is_some()
}

/// Refuses to touch a table that the database keeps for itself.
///
/// # Errors
/// `Invalid`.
pub(crate) fn refuse_own(name: &str) -> KernelResult<()> {
    match name.starts_with(HOST_TABLES) {
        true => Err(KernelError::Invalid(format!(
            "'{name}' would be a table of the database itself: their names begin with '{HOST_TABLES}'"
        ))),
        false => Ok(()),
    }
}

/// What one transaction has marked, and what it may rely on.
pub(crate) struct Marks {
    /// The epoch it began in, if that can be known.
    epoch: Option<u64>,
    /// Whether it has changed the catalog itself.
    own_catalog: bool,
    /// Whether it has changed what indexes there are.
    pub(crate) changes: bool,
    /// The tables it has written to, by their full names now, sorted, and the indexes that it marked. Most are one.
    tables: Vec<(Box<str>, Option<Arc<TableIndexes>>)>,
    /// The same of tables whose names may have changed since.
    settled: Vec<(TableId, Option<Arc<TableIndexes>>)>,
}

impl Marks {
    /// Of a transaction that has just begun; `before` is what the epoch was shortly before that.
    pub(crate) fn new(indexes: &Indexes, before: Option<u64>) -> Marks {
        let epoch = before.filter(|epoch| epoch.is_multiple_of(2) && *epoch == indexes.epoch());
        let (tables, settled) = Default::default();
        Marks { epoch, own_catalog: false, changes: false, tables, settled }
    }

    /// The indexes of `table`, which the transaction is about to write to.
    ///
    /// # Errors
    /// `Invalid` for a table that keeps an index, and what keeps the catalog from being read.
    pub(crate) fn of_table(
        &mut self,
        indexes: &Indexes,
        table: &str,
        tx: &Transaction,
    ) -> KernelResult<Option<Arc<TableIndexes>>> {
        let at = match self.tables.binary_search_by(|(name, _)| (**name).cmp(table)) {
            Ok(at) => return Ok(self.tables[at].1.clone()),
            Err(at) => at,
        };
        if is_index_table(table) {
            return Err(KernelError::Invalid(format!(
                "'{table}' keeps an index, and is written with the table that it is of"
            )));
        }
        let found = indexes.of_table(table, self.trusted(), tx)?.map(|found| found.marks);
        self.tables.insert(at, (table.into(), found.clone()));
        Ok(found)
    }

    /// The definitions of the indexes of `table`.
    pub(crate) fn definitions(
        &self,
        indexes: &Indexes,
        table: &str,
        tx: &Transaction,
    ) -> KernelResult<Definitions> {
        let found = indexes.of_table(table, self.trusted(), tx)?;
        Ok(found.map(|found| found.definitions).unwrap_or_default())
    }

    fn trusted(&self) -> Option<u64> {
        self.epoch.filter(|_| !self.own_catalog)
    }

    /// The catalog is about to change, or to change back.
    pub(crate) fn catalog_changes(&mut self, tx: &Transaction) {
        self.own_catalog = true;
        for (name, marks) in std::mem::take(&mut self.tables) {
            // One that is not there was made and dropped here: its rows are nobody's.
            if let Ok(table) = tx.table(&name) {
                self.settled.push((table.id, marks));
            }
        }
    }

    /// A savepoint is gone back to.
    pub(crate) fn undone(&mut self, tx: &Transaction) {
        if self.own_catalog {
            self.catalog_changes(tx);
        }
    }

    /// Behind the gate: that the rows were marked in the indexes there are.
    ///
    /// # Errors
    /// `Conflict` when they are others now.
    pub(crate) fn check(
        &mut self,
        indexes: &Indexes,
        kernel: &Kernel,
        tx: &Transaction,
    ) -> KernelResult<()> {
        let wrote_rows = !self.tables.is_empty() || !self.settled.is_empty();
        // Alone, the change under way is this transaction's own.
        let own = u64::from(self.changes);
        if !wrote_rows || self.epoch.is_some_and(|epoch| epoch + own == indexes.epoch()) {
            return Ok(());
        }
        self.catalog_changes(tx);
        let all = kernel.begin_read()?.tables()?;
        for (id, marked) in &self.settled {
            // One that is not there was made here, and others know nothing of it; or its drop is a conflict.
            let Some(table) = all.iter().find(|table| table.id == *id) else { continue };
            let now = TableIndexes::of(&table.name, &all)?;
            let marked = marked.as_ref().map_or(&[][..], |marked| marked.ids());
            if now.ids().len() != marked.len() || !now.ids().iter().all(|id| marked.contains(id)) {
                return Err(changed(&table.name));
            }
        }
        Ok(())
    }
}

/// Marks a row in indexes that another transaction may have dropped or renamed.
pub(crate) fn mark(
    marks: &TableIndexes,
    table: &str,
    tx: &mut Transaction,
    key: &[u8],
    value: Option<&[u8]>,
) -> KernelResult<()> {
    let done = marks.mark(tx, key, value);
    done.map_err(|error| if_gone(table, error))
}

/// An index that is not there any more, though it was a moment ago, is a conflict: that happens to those who
/// read what is newest each time.
pub(crate) fn if_gone(table: &str, error: KernelError) -> KernelError {
    match error.kind() {
        ErrorKind::NotFound => changed(table),
        _ => error,
    }
}

fn changed(table: &str) -> KernelError {
    KernelError::Conflict(format!("the indexes of table '{table}' are others now"))
}
