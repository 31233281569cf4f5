//! A database with its plugins and its background thread: what an embedder opens.
//!
//! ```text
//!   Database ── begin, run, call ──▶ Transaction    the kernel's, seen through hooks and procedures
//!      ├─ derefs to ──▶ Kernel              checkpoints, statistics, what an operator does
//!      ├─ PluginHost                        components, run under limits, registered with the kernel
//!      ├─ tenants                           namespaces of tables, with quotas
//!      └─ background thread                 delayed syncs, checkpoints, telemetry to the observers
//! ```
//!
//! The bundled plugins are compiled at their first use; plugins from elsewhere are loaded before the
//! directory is touched, so a bad manifest or component changes nothing on disk.
//!
//! Hooks are called for what is written through [`Database`] and [`TenantDatabase`]. Whoever takes the
//! kernel itself, as claims, repair and restore do, is the operator, and no plugin is asked.

mod builder;

use crate::background::Background;
use crate::expiry::Expiry;
use crate::indexes::Unfinished;
use crate::on_demand::Plugins;
use crate::tables::Conversions;
use crate::telemetry::{KernelState, Observers, Served};
use crate::times::TimeKeeper;
pub use builder::DatabaseBuilder;
use parking_lot::RwLock;
use sochdb_host_abi::audit::AuditLog;
use sochdb_host_abi::{
    PluginHost, PluginInfo, ProcedureInfo, Programs, Tenant, TenantUsage, Tenants, Transaction,
    in_background,
};
use sochdb_kernel::{
    CheckpointReport, Environment, Kernel, KernelError, KernelResult, Timestamp, TransactionOptions,
};
use sochdb_observability::{Delivery, MetricsServer, Telemetry};
use sochdb_operations::{BackupReport, Changes, CheckReport, OnProgress};
use sochdb_reload::watch::Watch;
use sochdb_telemetry::{ComponentHealth, Metric};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a database waits for observers, and then for what they send.
const TELEMETRY_PATIENCE: Duration = Duration::from_secs(1);

/// An open database. Everything a [`Kernel`] can do, a `Database` can.
///
/// It is a handle: clone it for every thread and task that needs one, which copies a dozen pointers. All clones
/// are the same database. [`close`](Self::close) on any of them closes it for all, which then answer `Closed`, and
/// says how it went; dropping the last one closes it as well.
///
/// ```
/// # use sochdb::{Database, ErrorKind};
/// # fn main() -> sochdb::KernelResult<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// let db = Database::open(directory.path())?;
/// db.create_table("notes", Default::default())?;
/// let theirs = db.clone();
/// let writer = std::thread::spawn(move || theirs.run(|tx| tx.put("notes", b"1", b"buy tea")));
/// writer.join().unwrap()?;
/// assert_eq!(db.begin_read()?.get("notes", b"1")?.unwrap(), b"buy tea");
///
/// let other = db.clone();
/// db.close()?;
/// assert_eq!(other.begin().err().unwrap().kind(), ErrorKind::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Database {
    pub(crate) kernel: Kernel,
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) programs: Arc<Programs>,
    pub(crate) tenants: Tenants,
    pub(crate) conversions: Arc<Conversions>,
    pub(crate) expiry: Arc<Expiry>,
    pub(crate) unfinished: Arc<Unfinished>,
    audit: Arc<AuditLog>,
    telemetry: Telemetry,
    state: Arc<KernelState>,
    served: Arc<Served>,
    observers: Arc<Observers>,
    running: Arc<Running>,
}

/// Handles go to any thread and live as long as their owner likes.
const _: fn() = || {
    fn is_handle<T: Clone + Send + Sync + 'static>() {}
    is_handle::<Database>();
    is_handle::<TenantDatabase>();
};

/// What works beside callers. It ends when a clone of its database is closed, or with the last of them.
struct Running {
    kernel: Kernel,
    plugins: Arc<Plugins>,
    programs: Arc<Programs>,
    threads: RwLock<Threads>,
}

#[derive(Default)]
struct Threads {
    watch: Option<Watch>,
    background: Option<Background>,
    /// Notes when commits are made.
    times: Option<TimeKeeper>,
    delivery: Option<Delivery>,
    server: Option<MetricsServer>,
}

impl Running {
    /// Ends every thread, the last batch of telemetry included.
    fn end_threads(&self) {
        let threads = std::mem::take(&mut *self.threads.write());
        // Nothing is asked to change, then nothing changes, then nothing is new to observers.
        drop(threads.watch);
        drop(threads.background);
        drop(threads.times);
        drop(threads.delivery);
        if let Some(host) = self.plugins.host() {
            host.outbox().settle(TELEMETRY_PATIENCE);
        }
        drop(threads.server);
    }

    fn close(&self) -> KernelResult<()> {
        self.end_threads();
        let closed = in_background(|| self.kernel.close());
        self.programs.indexes().detach();
        closed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self.close() {
            Ok(()) | Err(KernelError::Closed(_)) => {}
            Err(error) => tracing::error!(%error, "the database did not close well"),
        }
    }
}

impl Database {
    /// Opens the database in the directory `path` with the bundled plugins, and makes a new one if the
    /// directory is empty or missing.
    ///
    /// # Errors
    /// As [`Kernel::open`].
    pub fn open(path: impl AsRef<Path>) -> KernelResult<Database> {
        Database::builder().open(path)
    }

    /// Says how to open a database before opening it.
    pub fn builder() -> DatabaseBuilder {
        DatabaseBuilder::new()
    }

    /// Begins a transaction under snapshot isolation.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions::default())
    }

    /// Begins a transaction that only reads, and so never conflicts.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_read(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions { read_only: true, ..TransactionOptions::default() })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_with(&self, options: TransactionOptions) -> KernelResult<Transaction> {
        Transaction::begin(&self.kernel, &self.programs, None, options)
    }

    /// Runs `f` in a transaction and commits it; after a conflict, both again.
    ///
    /// # Errors
    /// What `f` or the commit returns; a conflict only after a thousand attempts.
    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        self.run_with(TransactionOptions::default(), f)
    }

    /// As [`run`](Self::run), with the transaction's options.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T>(
        &self,
        options: TransactionOptions,
        f: impl FnMut(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        Transaction::run(&self.kernel, &self.programs, None, options, f)
    }

    /// Calls a procedure of a plugin, named `plugin.procedure`, or `procedure` where only one plugin has it, in
    /// a transaction of its own that commits only when it succeeds. `args` and the answer are JSON.
    ///
    /// # Errors
    /// As [`Transaction::call`] and [`run`](Self::run).
    pub fn call(&self, procedure: &str, args: &str) -> KernelResult<String> {
        self.run(|tx| tx.call(procedure, args))
    }

    /// Every procedure that plugins offer: the plugin's name, and what it says about it.
    pub fn procedures(&self) -> Vec<(String, ProcedureInfo)> {
        self.programs.procedures()
    }

    /// Removes the table `name` with all its rows, in a transaction of its own.
    ///
    /// # Errors
    /// `NotFound` when there is none, otherwise as a commit.
    pub fn drop_table(&self, name: &str) -> KernelResult<()> {
        self.run(|tx| tx.drop_table(name))
    }

    /// What runs the plugins. The bundled ones are compiled now if nothing needed them before.
    ///
    /// # Errors
    /// `Unavailable` when this machine cannot run WebAssembly.
    pub fn plugin_host(&self) -> KernelResult<&PluginHost> {
        self.plugins.load().map(|host| &**host)
    }

    /// What plugins asked for, were called for, and were denied.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Folds the log into the data file, as the background thread does by itself.
    ///
    /// # Errors
    /// As [`Kernel::checkpoint`].
    pub fn checkpoint(&self) -> KernelResult<CheckpointReport> {
        self.served.checkpoint(&self.telemetry)
    }

    /// The plugins that were needed so far: who they are, what they may use and what they have used,
    /// sorted by name.
    pub fn plugins_loaded(&self) -> Vec<PluginInfo> {
        self.plugins.host().into_iter().flat_map(|host| host.list()).collect()
    }

    /// Everything that this database says of itself: metrics, spans, log lines, health.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Every metric as it is now, sorted by name: the kernel's, the disk's, the plugins' own, and those of telemetry
    /// itself.
    pub fn metrics(&self) -> Vec<Metric> {
        self.telemetry.metrics()
    }

    /// The metrics as the `prometheus` plugin renders them, in the Prometheus text format.
    ///
    /// # Errors
    /// `Plugin` when it is not loaded or fails.
    pub fn metrics_text(&self) -> KernelResult<String> {
        self.observers.render("").map(|page| page.body)
    }

    /// How the kernel, each plugin, tenant and observer is.
    pub fn parts_health(&self) -> Vec<ComponentHealth> {
        self.telemetry.health()
    }

    /// Where metrics and probes are served, if the builder was told to.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.running.threads.read().server.as_ref().map(MetricsServer::address)
    }

    /// Hands observers what there is now; `false` when they have not taken it within `patience`.
    pub fn flush_telemetry(&self, patience: Duration) -> bool {
        let began = std::time::Instant::now();
        let threads = self.running.threads.read();
        let delivered = threads.delivery.as_ref().is_none_or(|delivery| delivery.flush(patience));
        drop(threads);
        let left = patience.saturating_sub(began.elapsed());
        let sent = self.plugins.host().is_none_or(|host| host.outbox().flush(left));
        delivered && sent
    }

    /// Closes the database: ends the background thread, hands observers what they have not got yet, folds the log into the data file, shuts the
    /// plugins down and gives the directory's lock back. Every other clone answers `Closed` from then on.
    ///
    /// # Errors
    /// As [`Kernel::close`]; `Closed` when another clone was closed before. Commits that returned are safe in any
    /// case: the next opening replays them.
    pub fn close(self) -> KernelResult<()> {
        // Both are done; how the rows fared is the more important word.
        let closed = self.running.close();
        closed.and(self.audit.flush())
    }
}

impl Database {
    /// Reads everything on disk and reports every problem. Commits and checkpoints go on meanwhile.
    ///
    /// # Errors
    /// As [`sochdb_operations::check`].
    pub fn check(&self) -> KernelResult<CheckReport> {
        sochdb_operations::check(&self.kernel)
    }

    /// Copies the database to the empty directory `target`, while commits and checkpoints go on.
    ///
    /// # Errors
    /// As [`sochdb_operations::backup`].
    pub fn backup(
        &self,
        target: impl AsRef<Path>,
        progress: OnProgress<'_>,
    ) -> KernelResult<BackupReport> {
        sochdb_operations::backup(&self.kernel, &*Environment::disk(target).vfs, progress)
    }

    /// The changes committed after `since`, in commit order, from the log.
    ///
    /// # Errors
    /// As [`sochdb_operations::changes`].
    pub fn changes(&self, since: Timestamp) -> KernelResult<Changes> {
        sochdb_operations::changes(&self.kernel, since)
    }
}

impl Deref for Database {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

/// A database as one of its tenants sees it: only the tables of its namespace, without their prefix, and only
/// the hooks and procedures that serve it. A handle like [`Database`], of which it holds a clone.
///
/// ```
/// use sochdb::{Database, TableOptions, TenantOptions};
///
/// # fn main() -> sochdb::KernelResult<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// let db = Database::open(directory.path())?;
/// let acme = db.set_tenant("acme", TenantOptions { storage_bytes_max: Some(1 << 20), ..Default::default() })?;
/// acme.run(|tx| {
///     tx.create_table("orders", TableOptions::default())?;
///     tx.put("orders", b"1", b"tea")
/// })?;
/// assert_eq!(db.begin_read()?.get("acme/orders", b"1")?.unwrap(), b"tea");
/// assert_eq!(acme.usage().storage_bytes, 4);
/// # db.close()
/// # }
/// ```
#[derive(Clone)]
pub struct TenantDatabase {
    database: Database,
    tenant: Arc<Tenant>,
}

impl TenantDatabase {
    pub(crate) fn new(database: Database, tenant: Arc<Tenant>) -> TenantDatabase {
        TenantDatabase { database, tenant }
    }
}

impl TenantDatabase {
    /// The tenant's name, which is its namespace.
    pub fn name(&self) -> &str {
        self.tenant.name()
    }

    /// The database it is a tenant of, and what is known of it there.
    pub(crate) fn parts(&self) -> (&Database, &Arc<Tenant>) {
        (&self.database, &self.tenant)
    }

    /// What it has used so far.
    pub fn usage(&self) -> TenantUsage {
        self.tenant.usage()
    }

    /// Begins a transaction under snapshot isolation.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions::default())
    }

    /// Begins a transaction that only reads, and so never conflicts.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_read(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions { read_only: true, ..TransactionOptions::default() })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_with(&self, options: TransactionOptions) -> KernelResult<Transaction> {
        let Database { kernel, programs, .. } = &self.database;
        Transaction::begin(kernel, programs, Some(&self.tenant), options)
    }

    /// Runs `f` in a transaction and commits it; after a conflict, both again.
    ///
    /// # Errors
    /// As [`Database::run`], and `Limit` when its rows would pass its quota.
    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        self.run_with(TransactionOptions::default(), f)
    }

    /// As [`run`](Self::run), with the transaction's options.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T>(
        &self,
        options: TransactionOptions,
        f: impl FnMut(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        let Database { kernel, programs, .. } = &self.database;
        Transaction::run(kernel, programs, Some(&self.tenant), options, f)
    }

    /// Calls a procedure of a plugin that serves this tenant, in a transaction of its own.
    ///
    /// # Errors
    /// As [`Database::call`].
    pub fn call(&self, procedure: &str, args: &str) -> KernelResult<String> {
        self.run(|tx| tx.call(procedure, args))
    }
}
