//! The traits that code is written against when it should not care whose tables it sees.
//!
//! | trait               | what it can do                                  | who is one                              |
//! |---------------------|-------------------------------------------------|-----------------------------------------|
//! | [`KernelStorage`]     | read, scan, put and delete rows by table        | a transaction, also seen [`crate::Namespaced`] |
//! | [`KernelTransaction`] | the same, and end, savepoints, number, snapshot | the same                                |
//! | [`KernelCatalog`]     | list, make, drop and rename tables              | the same, and a whole database          |
//! | [`KernelRecovery`]    | checkpoint, and say what a restart would take   | a whole database                        |
//!
//! The kernel's own types come first: everything here is one call of theirs. A second implementor gives the
//! traits their worth: [`crate::Namespaced`] shows a tenant the tables of its own name only, and code that
//! takes `impl KernelStorage` serves both.

use sochdb_kernel::{
    CheckpointReport, Kernel, KernelResult, KeyRange, RecoveryReport, Savepoint, Scan, Slice,
    TableInfo, TableOptions, Timestamp, Transaction, TransactionId,
};

/// Rows by table and key.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options};
/// use sochdb_operations::{KernelStorage, Namespaced};
///
/// /// Serves a whole database and a tenant alike.
/// fn greet(rows: &mut impl KernelStorage) -> KernelResult<()> {
///     rows.put("greetings", b"en", b"hello")
/// }
///
/// # fn main() -> KernelResult<()> {
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// for table in ["greetings", "acme/greetings"] {
///     kernel.create_table(table, Default::default())?;
/// }
/// kernel.run(|tx| {
///     greet(tx)?;
///     greet(&mut Namespaced::new(tx, "acme")?)
/// })?;
/// assert!(kernel.begin_read()?.get("acme/greetings", b"en")?.is_some());
/// # Ok(())
/// # }
/// ```
pub trait KernelStorage {
    /// The value of `key` in `table`, or `None`.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>>;

    /// The rows of `range` in growing order of keys.
    ///
    /// # Errors
    /// As [`Transaction::scan`].
    fn scan(&self, table: &str, range: KeyRange) -> KernelResult<Scan>;

    /// The rows of `range` in falling order of keys.
    ///
    /// # Errors
    /// As [`Transaction::scan_reverse`].
    fn scan_reverse(&self, table: &str, range: KeyRange) -> KernelResult<Scan>;

    /// Sets the value of `key` in `table`.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()>;

    /// Removes `key` from `table`.
    ///
    /// # Errors
    /// As [`Transaction::delete`].
    fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()>;
}

/// Rows that change together.
pub trait KernelTransaction: KernelStorage {
    /// The transaction's number.
    fn id(&self) -> TransactionId;

    /// The commit up to which it sees the database.
    fn snapshot(&self) -> Timestamp;

    /// Remembers this moment.
    fn savepoint(&mut self) -> Savepoint;

    /// Undoes every write since `savepoint`.
    ///
    /// # Errors
    /// As [`Transaction::rollback_to`].
    fn rollback_to(&mut self, savepoint: Savepoint) -> KernelResult<()>;

    /// Ends without a trace.
    fn rollback(self)
    where
        Self: Sized;

    /// Makes the writes durable and visible, all at once.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    fn commit(self) -> KernelResult<Timestamp>
    where
        Self: Sized;
}

/// Tables by name.
pub trait KernelCatalog {
    /// Every table, sorted by name.
    ///
    /// # Errors
    /// As [`Transaction::tables`].
    fn tables(&self) -> KernelResult<Vec<TableInfo>>;

    /// The table called `name`.
    ///
    /// # Errors
    /// As [`Transaction::table`].
    fn table(&self, name: &str) -> KernelResult<TableInfo>;

    /// Makes a table.
    ///
    /// # Errors
    /// As [`Transaction::create_table`].
    fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()>;

    /// Removes a table with all its rows.
    ///
    /// # Errors
    /// As [`Transaction::drop_table`].
    fn drop_table(&mut self, name: &str) -> KernelResult<()>;

    /// Gives the table `from` the name `to`.
    ///
    /// # Errors
    /// As [`Transaction::rename_table`].
    fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()>;
}

/// What a restart would take, seen from a database that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartCost {
    /// Bytes of log that the next opening would read.
    pub log_bytes: u64,
    /// Memory held by rows that only the log has on disk.
    pub memtable_bytes: u64,
    /// Whether a checkpoint is due.
    pub checkpoint_due: bool,
}

/// From the log to the data file, and back after a crash.
pub trait KernelRecovery {
    /// Folds the log into the data file.
    ///
    /// # Errors
    /// As [`Kernel::checkpoint`].
    fn checkpoint(&self) -> KernelResult<CheckpointReport>;

    /// What the last opening found and did.
    fn last_recovery(&self) -> &RecoveryReport;

    /// What the next opening would have to do.
    fn restart_cost(&self) -> RestartCost;
}

impl KernelStorage for Transaction {
    fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        self.get(table, key)
    }

    fn scan(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.scan(table, range)
    }

    fn scan_reverse(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.scan_reverse(table, range)
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        self.put(table, key, value)
    }

    fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        self.delete(table, key)
    }
}

impl KernelTransaction for Transaction {
    fn id(&self) -> TransactionId {
        self.id()
    }

    fn snapshot(&self) -> Timestamp {
        self.snapshot()
    }

    fn savepoint(&mut self) -> Savepoint {
        self.savepoint()
    }

    fn rollback_to(&mut self, savepoint: Savepoint) -> KernelResult<()> {
        self.rollback_to(savepoint)
    }

    fn rollback(self) {
        self.rollback();
    }

    fn commit(self) -> KernelResult<Timestamp> {
        self.commit()
    }
}

impl KernelCatalog for Transaction {
    fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        self.tables()
    }

    fn table(&self, name: &str) -> KernelResult<TableInfo> {
        self.table(name)
    }

    fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        self.create_table(name, options)
    }

    fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        self.drop_table(name)
    }

    fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        self.rename_table(from, to)
    }
}

/// Each call is a transaction of its own.
impl KernelCatalog for Kernel {
    fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        self.begin_read()?.tables()
    }

    fn table(&self, name: &str) -> KernelResult<TableInfo> {
        self.begin_read()?.table(name)
    }

    fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        Kernel::create_table(self, name, options)
    }

    fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        self.run(|tx| tx.drop_table(name))
    }

    fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        self.run(|tx| tx.rename_table(from, to))
    }
}

impl KernelRecovery for Kernel {
    fn checkpoint(&self) -> KernelResult<CheckpointReport> {
        self.checkpoint()
    }

    fn last_recovery(&self) -> &RecoveryReport {
        self.recovery()
    }

    fn restart_cost(&self) -> RestartCost {
        let stats = self.stats();
        RestartCost {
            log_bytes: stats.log_bytes,
            memtable_bytes: stats.memtable_bytes,
            checkpoint_due: self.checkpoint_due(),
        }
    }
}

/// Borrowed, as inside [`Kernel::run`]; it cannot be committed then.
impl<T: KernelStorage + ?Sized> KernelStorage for &mut T {
    fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        (**self).get(table, key)
    }

    fn scan(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        (**self).scan(table, range)
    }

    fn scan_reverse(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        (**self).scan_reverse(table, range)
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        (**self).put(table, key, value)
    }

    fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        (**self).delete(table, key)
    }
}

/// Borrowed, as inside [`Kernel::run`].
impl<T: KernelCatalog + ?Sized> KernelCatalog for &mut T {
    fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        (**self).tables()
    }

    fn table(&self, name: &str) -> KernelResult<TableInfo> {
        (**self).table(name)
    }

    fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        (**self).create_table(name, options)
    }

    fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        (**self).drop_table(name)
    }

    fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        (**self).rename_table(from, to)
    }
}
