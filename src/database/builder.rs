//! How a database is opened: what a [`DatabaseBuilder`] can be told, and in which order everything comes to life.
//!
//! ```text
//!   telemetry, pages ──▶ plugins of folders ──▶ the kernel recovers ──▶ plugins it keeps ──▶ indexes, tenants ──▶ threads
//!                        a bad one ends it here, and nothing on disk has changed
//! ```

use super::{Database, Running, TELEMETRY_PATIENCE, Threads};
use crate::background::{Background, Jobs, Pace};
use crate::expiry::Expiry;
use crate::folders::{PLUGINS_FOLDER, Seen};
use crate::indexes::Unfinished;
use crate::on_demand::{Bundled, Plugins};
use crate::plugins::Managed;
use crate::telemetry::{DatabasePages, KernelState, Observers, Served};
use crate::times::TimeKeeper;
use parking_lot::RwLock;
use sochdb_host_abi::compiled_code::{CodeCache, CompileOptions};
use sochdb_host_abi::{HostOptions, NotLoaded, PluginHost, Policy, Programs, disabled};
use sochdb_kernel::inspect::DATA_FILE;
use sochdb_kernel::plugin::{ExtensionCapability, PluginManager};
use sochdb_kernel::{Durability, Environment, Kernel, KernelError, KernelResult, Options};
use sochdb_observability::{Delivery, DeliveryOptions, MeasuredVfs, MetricsServer, Telemetry};
use sochdb_operations::{
    Beside, BootOrchestrator, Booted, OnProgress, Patient, RepairOptions, RepairReport,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Batches that wait for an observer that is busy.
const BATCHES_WAITING_MAX: usize = 4;

/// How a [`Database`] is opened.
#[derive(Clone)]
pub struct DatabaseBuilder {
    options: Options,
    beside_owner: bool,
    wait_for_owner: Duration,
    bundled_plugins: bool,
    plugin_dirs: Vec<PathBuf>,
    watch_plugins: bool,
    audit_file: Option<PathBuf>,
    kept_plugins: bool,
    compile: CompileOptions,
    #[cfg(feature = "dynamic-plugins")]
    native_plugins: Vec<(PathBuf, sochdb_native::Trust)>,
    policy: Policy,
    background: bool,
    telemetry: Option<Telemetry>,
    telemetry_interval: Duration,
    serve_metrics: Option<SocketAddr>,
    archive_codec: Option<String>,
    compaction_bytes_per_second: u64,
}

impl DatabaseBuilder {
    pub(super) fn new() -> DatabaseBuilder {
        DatabaseBuilder {
            options: Options::default(),
            beside_owner: false,
            wait_for_owner: Duration::ZERO,
            bundled_plugins: true,
            plugin_dirs: Vec::new(),
            watch_plugins: true,
            audit_file: None,
            kept_plugins: true,
            compile: CompileOptions { cache: CodeCache::user(), ..CompileOptions::default() },
            #[cfg(feature = "dynamic-plugins")]
            native_plugins: Vec::new(),
            policy: Policy::default(),
            background: true,
            telemetry: None,
            telemetry_interval: Duration::from_secs(10),
            serve_metrics: None,
            archive_codec: None,
            compaction_bytes_per_second: 64 << 20,
        }
    }

    /// All options of the kernel at once.
    pub fn options(mut self, options: Options) -> DatabaseBuilder {
        self.options = options;
        self
    }

    /// Whether to make a new database where there is none. On by default.
    pub fn create(mut self, create: bool) -> DatabaseBuilder {
        self.options.create = create;
        self
    }

    /// Whether to refuse every change, and change nothing on disk. Off by default.
    ///
    /// Other processes are kept out meanwhile, unless [`beside_owner`](Self::beside_owner).
    pub fn read_only(mut self, read_only: bool) -> DatabaseBuilder {
        self.options.read_only = read_only;
        self
    }

    /// Whether a database that is opened [`read_only`](Self::read_only) may be one that another process has open. Off
    /// by default.
    ///
    /// What it shows is the moment of opening, every acknowledged commit included, and stays that. The owner lets a
    /// checkpoint wait half a minute for such readers; after one, reads of what is not in memory fail with
    /// `Unavailable` and the advice to open the database again. Nothing wrong is ever shown.
    pub fn beside_owner(mut self, beside_owner: bool) -> DatabaseBuilder {
        self.beside_owner = beside_owner;
        self
    }

    /// How long opening waits for another process, or another handle, to close the database. By default not at all:
    /// opening fails with `Unavailable` if somebody else has it. Who reads [beside the owner](Self::beside_owner)
    /// never waits.
    pub fn wait_for_owner(mut self, wait_for_owner: Duration) -> DatabaseBuilder {
        self.wait_for_owner = wait_for_owner;
        self
    }

    /// When a commit counts as done, unless its transaction says otherwise. [`Durability::Fsync`] by
    /// default.
    pub fn durability(mut self, durability: Durability) -> DatabaseBuilder {
        self.options.durability = durability;
        self
    }

    /// Whether there are the plugins that are part of this program. On by default; they cost nothing
    /// before the first of them is used.
    pub fn bundled_plugins(mut self, bundled_plugins: bool) -> DatabaseBuilder {
        self.bundled_plugins = bundled_plugins;
        self
    }

    /// Loads every manifest (`*.toml`) in `dir`, after the bundled plugins, those that the database keeps and those
    /// of its own folder `plugins`, and in the order of their names. A plugin with the name of one before replaces
    /// it. Where one does not work and the database keeps one of its name, that serves.
    pub fn plugin_dir(mut self, dir: impl Into<PathBuf>) -> DatabaseBuilder {
        self.plugin_dirs.push(dir.into());
        self
    }

    /// Whether folders of plugins are watched while the database is open: those of
    /// [`plugin_dir`](Self::plugin_dir), and the folder `plugins` in the database's own directory, if it is there
    /// when the database is opened. On by default. What changes there changes the running database, or, when it
    /// does not work, nothing.
    pub fn watch_plugins(mut self, watch_plugins: bool) -> DatabaseBuilder {
        self.watch_plugins = watch_plugins;
        self
    }

    /// What plugins may be granted, and how much they may use, whatever their manifests say. By default
    /// everything but directories.
    pub fn policy(mut self, policy: Policy) -> DatabaseBuilder {
        self.policy = policy;
        self
    }

    /// Loads the native plugin in the file `path`, if `trust` covers that file, after all WebAssembly plugins.
    /// A plugin with the name of one before replaces it.
    ///
    /// There is no sandbox around a native plugin: see [`native`](crate::native).
    #[cfg(feature = "dynamic-plugins")]
    pub fn native_plugin(
        mut self,
        path: impl Into<PathBuf>,
        trust: sochdb_native::Trust,
    ) -> DatabaseBuilder {
        self.native_plugins.push((path.into(), trust));
        self
    }

    /// Whether to load the plugins that the database keeps, and to let it keep those of
    /// [`plugin_dir`](Self::plugin_dir). On by default. A plugin of a folder comes before a kept one of the
    /// same name, and that before a bundled one. Without, hooks that were kept are not asked.
    pub fn kept_plugins(mut self, kept_plugins: bool) -> DatabaseBuilder {
        self.kept_plugins = kept_plugins;
        self
    }

    /// Also writes the audit trail to the file `path`, as JSON lines; there and in three files beside it, none
    /// of which grows without bound. Without, [`Database::audit`] has the newest records in memory.
    pub fn audit_file(mut self, path: impl Into<PathBuf>) -> DatabaseBuilder {
        self.audit_file = Some(path.into());
        self
    }

    /// How components become code. By default they are compiled in this process, and compiled code is kept
    /// in the user's cache folder. Who loads plugins of strangers says
    /// [`Compiler::Child`](sochdb_host_abi::compiled_code::Compiler::Child).
    pub fn compile(mut self, compile: CompileOptions) -> DatabaseBuilder {
        self.compile = compile;
        self
    }

    /// Whether to run a background thread. On by default. Without it a checkpoint runs inside the commit
    /// that makes it due, nobody notes when commits were made ([`sochdb_operations::CommitTimes`] does), delayed syncs happen at later commits, and observers get metrics only when
    /// [`metrics_text`](Database::metrics_text) is called.
    pub fn background(mut self, background: bool) -> DatabaseBuilder {
        self.background = background;
        self
    }

    /// How often the observers get metrics; zero for never by itself. Ten seconds by default.
    pub fn telemetry_interval(mut self, interval: Duration) -> DatabaseBuilder {
        self.telemetry_interval = interval;
        self
    }

    /// Where everything is counted; by default a [`Telemetry`] of each database's own. Who makes one beforehand can add its
    /// [`layer`](Telemetry::layer) to a subscriber of `tracing`, so that events become log lines for observers.
    pub fn telemetry(mut self, telemetry: Telemetry) -> DatabaseBuilder {
        self.telemetry = Some(telemetry);
        self
    }

    /// Serves metrics and probes over HTTP at `address`, from before the database is opened until it is closed:
    /// `/metrics`, `/livez`, `/readyz` and `/health`. Port 0 is any that is free; see
    /// [`Database::metrics_address`]. Whoever can reach the address can read them.
    pub fn serve_metrics(mut self, address: SocketAddr) -> DatabaseBuilder {
        self.serve_metrics = Some(address);
        self
    }

    /// How many bytes of segments the background thread may merge in a second; zero for no bound. 64 MiB by
    /// default. Merges are done in slices, and whoever reads or writes meanwhile shares the machine with less of
    /// them the lower this is; too low, segments gather and reads get slower. What rows make due never waits.
    pub fn compaction_bytes_per_second(mut self, bytes: u64) -> DatabaseBuilder {
        self.compaction_bytes_per_second = bytes;
        self
    }

    /// Keeps old segments of the log, as [`Options::wal_archive`] does, and has the background thread compress them
    /// with the codec called `codec` after each checkpoint. What reads the archive (the change feed, restore, repair,
    /// check) restores them by the codec of this name.
    pub fn archive_codec(mut self, codec: impl Into<String>) -> DatabaseBuilder {
        self.options.wal_archive = true;
        self.archive_codec = Some(codec.into());
        self
    }

    /// Opens the database in the directory `path`.
    ///
    /// # Errors
    /// As [`Kernel::open`]; `Invalid` for a bad manifest or component, with file and place; `Plugin`
    /// when a plugin fails its own test.
    pub fn open(mut self, path: impl AsRef<Path>) -> KernelResult<Database> {
        let own = path.as_ref().join(PLUGINS_FOLDER);
        if own.is_dir() {
            self.plugin_dirs.insert(0, own);
        }
        self.open_in(Environment::disk(path))
    }

    /// Opens the database in `env`, such as [`Environment::disk`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(mut self, mut env: Environment) -> KernelResult<Database> {
        let telemetry = self.telemetry.take().unwrap_or_default();
        if self.beside_owner && self.options.read_only {
            env.vfs = Arc::new(Beside::new(env.vfs));
        } else {
            env.vfs = Arc::new(Patient::new(env.vfs, self.wait_for_owner));
        }
        env.vfs = Arc::new(MeasuredVfs::new(env.vfs, telemetry.registry()));
        let writes = !self.options.read_only;
        let background_checkpoints = self.background && writes;
        let (clock, times_clock) = (env.clock.clone(), env.clock.clone());
        let options = Options { background_checkpoints, ..self.options.clone() };
        let is_new =
            env.vfs.list("").map_or(true, |files| !files.iter().any(|name| name == DATA_FILE));
        let boot = BootOrchestrator::new(env, options);
        let state = Arc::new(KernelState::new(boot.watch()));
        telemetry.watch(&state);
        let pages = Arc::new(DatabasePages::new(telemetry.clone()));
        let server = self.serve_metrics.map(|address| {
            let started = MetricsServer::start(address, pages.clone());
            started.map_err(|error| KernelError::io(format!("serve metrics at {address}"), error))
        });
        let server = server.transpose()?;
        let registered = PluginManager::default();
        let host_options = HostOptions { telemetry: telemetry.clone(), ..self.host_options() };
        let HostOptions { programs, tenants, audit, .. } = host_options.clone();
        let detach = Detach(Some(programs.clone()));
        let watched = if self.watch_plugins { Some(Seen::now(&self.plugin_dirs)?) } else { None };
        let mut not_loaded = Vec::new();
        let plugins = Arc::new(self.plugins(&registered, host_options, &mut not_loaded)?);
        // Only a database that is there keeps plugins that could serve in the place of those.
        if is_new && !not_loaded.is_empty() {
            return Err(not_loaded.remove(0).error);
        }
        let Booted { kernel, metrics: booted, .. } = boot.open()?;
        // What a storage engine is to read may be compressed.
        hand_over_codecs(&registered, kernel.plugins())?;
        if let Plugins::Loaded(host) = &*plugins {
            host.load_history(&kernel).unwrap_or_else(|error| {
                tracing::warn!(%error, "the history of plugins cannot be read");
            });
            self.replace_unfit(&kernel, host, not_loaded)?;
        }
        hand_over(&registered, kernel.plugins())?;
        if let Plugins::OnDemand(bundled) = &*plugins {
            bundled.expect(&kernel)?;
        }
        let indexes = programs.indexes();
        kernel.plugins().register_storage(indexes.clone());
        indexes.attach(&kernel);
        programs.observe(&telemetry);
        let served = Arc::new(Served::new(kernel.clone(), plugins.clone(), booted));
        telemetry.registry().add(&served);
        let observers = Observers::new(kernel.clone(), plugins.clone(), telemetry.clone());
        let observers = Arc::new(observers);
        pages.attach(Arc::downgrade(&observers));
        if let Some(path) = &self.audit_file {
            audit.write_to(path)?;
        }
        if self.kept_plugins {
            self.kept(&kernel, &plugins)?;
        }
        for name in disabled::list(&kernel)? {
            plugins.unload(&name, &kernel)?;
        }
        crate::tenants::load(&kernel, &tenants)?;
        if writes && let Err(error) = sochdb_operations::remove_unfinished(&kernel) {
            tracing::warn!(%error, "what an unfinished conversion left stays");
        }
        let expiry = Expiry::new(kernel.clone(), programs.clone(), tenants.clone(), clock);
        let unfinished = Arc::new(Unfinished::new(kernel.clone(), programs.clone())?);
        let running = Arc::new(Running {
            kernel: kernel.clone(),
            plugins: plugins.clone(),
            programs: programs.clone(),
            threads: RwLock::new(Threads { server, ..Threads::default() }),
        });
        let database = Database {
            kernel,
            plugins,
            programs,
            tenants,
            conversions: Arc::default(),
            expiry: Arc::new(expiry),
            unfinished,
            audit,
            telemetry,
            state,
            served,
            observers,
            running,
        };
        detach.not_needed();
        let no_thread = |error| KernelError::io("start a thread", error);
        if background_checkpoints {
            let jobs = Jobs {
                kernel: database.kernel.clone(),
                served: database.served.clone(),
                telemetry: database.telemetry.clone(),
                expiry: database.expiry.clone(),
                unfinished: database.unfinished.clone(),
                indexes: database.programs.indexes().clone(),
            };
            let pace = Pace {
                merge_bytes_per_second: self.compaction_bytes_per_second,
                archive_codec: self.archive_codec.clone(),
            };
            let mut threads = database.running.threads.write();
            threads.background = Some(Background::start(jobs, pace).map_err(no_thread)?);
            threads.times = TimeKeeper::start(&database.kernel, times_clock)?;
        }
        if self.background {
            let observers = database.observers.clone();
            let options = DeliveryOptions {
                interval: self.telemetry_interval,
                waiting_max: BATCHES_WAITING_MAX,
                patience: TELEMETRY_PATIENCE,
            };
            let telemetry = database.telemetry.clone();
            let delivery = Delivery::start(telemetry, move || observers.listening(), options);
            database.running.threads.write().delivery = Some(delivery.map_err(no_thread)?);
        }
        if let Some(seen) = watched.filter(|_| !self.plugin_dirs.is_empty()) {
            let managed = Managed {
                kernel: database.kernel.clone(),
                plugins: database.plugins.clone(),
                keeps: self.kept_plugins && writes,
            };
            database.running.threads.write().watch = Some(seen.watch(managed).map_err(no_thread)?);
        }
        database.state.is_ready(&database.kernel);
        Ok(database)
    }

    /// Saves what can be saved of the database in `broken` into a new one in the empty directory `target`,
    /// with this builder's options and plugins.
    ///
    /// # Errors
    /// As [`sochdb_operations::repair`]. What is broken is no error but part of the report.
    pub fn repair(
        self,
        broken: impl AsRef<Path>,
        target: impl AsRef<Path>,
        progress: OnProgress<'_>,
    ) -> KernelResult<RepairReport> {
        // What runs the plugins must live until everything is read and written.
        let running = RefCell::new(Vec::new());
        let register = |to: &PluginManager| {
            let registered = PluginManager::default();
            let options = self.host_options();
            to.register_storage(options.programs.indexes().clone());
            let detach = Detach(Some(options.programs.clone()));
            let mut not_loaded = Vec::new();
            let plugins = self.plugins(&registered, options, &mut not_loaded)?;
            running.borrow_mut().push((detach, plugins));
            if let Some(NotLoaded { error, .. }) = not_loaded.pop() {
                return Err(error);
            }
            hand_over(&registered, to)
        };
        let options = RepairOptions {
            register: &register,
            // Indexes are made anew of the rows that were saved, once the new database is opened.
            remade: &sochdb_index::definition::remade_table_name,
            options: self.options.clone(),
        };
        let broken = Environment::disk(broken).vfs;
        sochdb_operations::repair(&*broken, &Environment::disk(target), &options, progress)
    }

    fn plugins(
        &self,
        registered: &PluginManager,
        options: HostOptions,
        not_loaded: &mut Vec<NotLoaded>,
    ) -> KernelResult<Plugins> {
        let plugins = self.sandboxed_plugins(registered, options, not_loaded)?;
        #[cfg(feature = "dynamic-plugins")]
        for (path, trust) in &self.native_plugins {
            sochdb_native::NativePlugin::load(path, trust)?.register(registered)?;
        }
        Ok(plugins)
    }

    fn host_options(&self) -> HostOptions {
        let (policy, compile) = (self.policy.clone(), self.compile.clone());
        HostOptions { policy, compile, ..HostOptions::default() }
    }

    /// Where a plugin of a folder does not work, has the one that the database keeps serve.
    fn replace_unfit(
        &self,
        kernel: &Kernel,
        host: &PluginHost,
        not_loaded: Vec<NotLoaded>,
    ) -> KernelResult<()> {
        let unloadable = not_loaded.into_iter().map(|NotLoaded { manifest, error }| {
            let by_file = || manifest.file_stem().map(|name| name.to_string_lossy().into_owned());
            let name = host.name_in(&manifest).ok().or_else(by_file);
            (name.unwrap_or_default(), error)
        });
        let disabled = disabled::list(kernel)?;
        for (name, error) in unloadable.chain(host.unfit(kernel)).collect::<Vec<_>>() {
            if disabled.contains(&name) {
                continue;
            }
            if !self.kept_plugins || !host.load_kept_instead(&name, kernel)? {
                return Err(error);
            }
            tracing::warn!(target: "sochdb::plugin", plugin = name, %error, "the one that the database keeps serves");
            host.remember_refusal(&name, &error, kernel);
        }
        Ok(())
    }

    /// Lets the database keep what was loaded from files, and loads what it has kept before.
    fn kept(&self, kernel: &Kernel, plugins: &Plugins) -> KernelResult<()> {
        if !self.options.read_only
            && let Plugins::Loaded(host) = plugins
        {
            host.keep(kernel)?;
        }
        if sochdb_host_abi::kept::list(kernel)?.is_empty() {
            return Ok(());
        }
        plugins.load()?.load_kept(kernel).map(drop)
    }

    fn sandboxed_plugins(
        &self,
        registered: &PluginManager,
        options: HostOptions,
        not_loaded: &mut Vec<NotLoaded>,
    ) -> KernelResult<Plugins> {
        if self.plugin_dirs.is_empty() {
            let bundled = Arc::new(Bundled::new(options, self.bundled_plugins));
            bundled.register(registered)?;
            return Ok(Plugins::OnDemand(bundled));
        }
        let host = PluginHost::with(options)?;
        if self.bundled_plugins {
            host.load_bundled(registered)?;
        }
        for dir in &self.plugin_dirs {
            not_loaded.extend(host.load_what_works(dir, registered)?);
        }
        // Only a plugin that the database keeps can serve in the place of one that does not work.
        if !self.kept_plugins && !not_loaded.is_empty() {
            return Err(not_loaded.remove(0).error);
        }
        Ok(Plugins::Loaded(Arc::new(host)))
    }
}

/// Lets the indexes' engine go of plugins that are needed no more, and of a database that cannot be opened after
/// all: they hold on to each other.
struct Detach(Option<Arc<Programs>>);

impl Detach {
    fn not_needed(mut self) {
        self.0 = None;
    }
}

impl Drop for Detach {
    fn drop(&mut self) {
        if let Some(programs) = &self.0 {
            programs.indexes().detach();
        }
    }
}

fn hand_over_codecs(from: &PluginManager, to: &PluginManager) -> KernelResult<()> {
    for extension in from.list() {
        if extension.capabilities.contains(&ExtensionCapability::Compression) {
            to.register_compression(from.compression(&extension.name)?);
        }
    }
    Ok(())
}

/// Registers with `to` all that `from` has: plugins are loaded before there is a kernel to take them.
fn hand_over(from: &PluginManager, to: &PluginManager) -> KernelResult<()> {
    hand_over_codecs(from, to)?;
    for extension in from.list() {
        if extension.capabilities.contains(&ExtensionCapability::Storage) {
            to.register_storage(from.storage(&extension.name)?);
        }
    }
    from.observers().into_iter().for_each(|observer| to.register_observability(observer));
    Ok(())
}
