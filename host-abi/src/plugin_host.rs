//! The host: loads plugins by their manifests, registers them with a kernel, and tells about them.
//!
//! Loading goes in this order, and nothing is registered before the last step; whatever fails leaves
//! everything as it was:
//!
//! 1. read and check the manifest; is this kernel new enough?
//! 2. read the component once; is its hash the one the manifest pins?
//! 3. compile it; does it import only what it may, and export what the manifest declares? What of the
//!    manifest's wishes does the operator's policy allow?
//! 4. make an instance; does its `self-test` pass?
//! 5. register it, in the place of an older plugin of the same name and kind.

use crate::audit::AuditLog;
use crate::bundled::{self, Bundled};
use crate::canary;
use crate::capability::{self, Import};
use crate::compiled_code::{CompileOptions, Origin};
use crate::component::{self, Component};
use crate::kept::{self, KeptInfo, KeptPlugin};
use crate::limits::{Limits, MANIFEST_BYTES_MAX};
use crate::observed::Observed;
use crate::plugin::{Plugin, read};
use crate::plugin_manifest::{Capabilities, ModuleSource, PluginKind, PluginManifest, Setting};
use crate::plugin_telemetry::PluginTelemetry;
use crate::policy::{Grant, Policy};
use crate::pools::Pools;
use crate::programs::Programs;
use crate::quarantine::TenantHealth;
use crate::strict_toml;
use crate::tenant::Tenants;
use crate::wasm_host_abi::{
    Directories, Exports, WasmCodec, WasmHooks, WasmIndex, WasmObserver, WasmProcedures,
    WasmStorage,
};
use crate::wasm_runtime::Runtime;
use parking_lot::Mutex;
use semver::Version;
use serde::Serialize;
use sochdb_kernel::plugin::{Extension, PluginManager};
use sochdb_kernel::{KERNEL_VERSION, Kernel, KernelError, KernelResult, PluginFault};
use sochdb_observability::{
    HealthSource, LogSource, Outbox, OutboxOptions, Source as _, Telemetry,
};
use sochdb_telemetry::{ComponentHealth, LogLine, Metric};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Loads plugins and keeps count of them. One per database; cheap to share, `Send` and `Sync`.
pub struct PluginHost {
    runtime: Arc<Runtime>,
    policy: Policy,
    loaded: Mutex<BTreeMap<String, Loaded>>,
    tenants: Tenants,
    programs: Arc<Programs>,
    audit: Arc<AuditLog>,
    telemetry: Telemetry,
    observed: Arc<Observed>,
    outbox: Arc<Outbox>,
}

/// What a host is told when it is made.
#[derive(Clone, Default)]
pub struct HostOptions {
    /// What the operator allows.
    pub policy: Policy,
    /// Whom the host works for. Shared with whoever asks before there is a host.
    pub tenants: Tenants,
    /// Where hooks and procedures are registered. Shared in the same way.
    pub programs: Arc<Programs>,
    /// What plugins do is recorded here. Shared in the same way.
    pub audit: Arc<AuditLog>,
    /// Where everything is counted. Shared in the same way.
    pub telemetry: Telemetry,
    /// Who compiles plugins, and where compiled code is kept.
    pub compile: CompileOptions,
}

/// A plugin and the adapter that the kernel knows it by.
struct Loaded {
    plugin: Arc<Plugin>,
    adapter: Adapter,
    /// What it was loaded from, until a database keeps it. Only of plugins from files.
    source: Option<Source>,
}

/// What a plugin was loaded from.
struct Source {
    manifest: String,
    component: Vec<u8>,
}

#[derive(Clone)]
enum Adapter {
    Codec(Arc<WasmCodec>),
    Observer(Arc<WasmObserver>),
    Storage(Arc<WasmStorage>),
    Hooks(Arc<WasmHooks>),
    Procedures(Arc<WasmProcedures>),
    Index(Arc<WasmIndex>),
}

/// A plugin as `sochdb plugin list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginInfo {
    /// What it is called.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it is.
    pub kind: PluginKind,
    /// One sentence for people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// Its licence.
    pub license: String,
    /// Where people read about it.
    pub homepage: String,
    /// Where its source lies.
    pub repository: String,
    /// Its manifest: a path, or `bundled`.
    pub source: String,
    /// The BLAKE3 hash of its component, in hex.
    pub blake3: String,
    /// The size of its component.
    pub component_bytes: u64,
    /// What it runs under.
    pub limits: Limits,
    /// What its manifest asks to use.
    pub limits_wanted: Limits,
    /// What it was granted beside what every plugin gets, by the names of manifests.
    pub granted: Vec<&'static str>,
    /// What its manifest asks for.
    pub capabilities: Capabilities,
    /// What it may do and use.
    pub grant: Grant,
    /// What its component imports.
    pub imports: Vec<Import>,
    /// What its component exports, short names for those of the contract.
    pub exports: Vec<String>,
    /// Its settings.
    pub config: BTreeMap<String, Setting>,
    /// What it has used since it was loaded.
    pub usage: UsageInfo,
    /// For whom it is kept from working, because it failed too often; empty when for nobody.
    pub unwell: Vec<TenantHealth>,
}

/// What a plugin has used since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsageInfo {
    /// Calls that ended, one way or another.
    pub calls: u64,
    /// Calls that the guest answered with an error.
    pub refusals: u64,
    /// Calls that ended with a trap or an exhausted limit; each cost an instance.
    pub failures: u64,
    /// Instances started.
    pub instances_started: u64,
    /// Fuel, host work included.
    pub fuel: u64,
    /// Time in calls, in microseconds, waiting for an instance included.
    pub micros: u64,
    /// Log lines thrown away because nobody collected them.
    pub log_lines_dropped: u64,
}

/// What `sochdb plugin inspect` tells about a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The file, as it was named.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3 hash in hex, as `[module] blake3` pins it.
    pub blake3: String,
    /// The kind whose world it exports, if any.
    pub kind: Option<PluginKind>,
    /// What it imports, and what this host says to that.
    pub imports: Vec<Import>,
    /// What it exports: short names for those of the contract.
    pub exports: Vec<String>,
    /// Whether this host would load it, given a manifest that fits.
    pub loadable: bool,
    /// Why it would not.
    pub refusal: Option<String>,
}

impl PluginHost {
    /// A host without plugins that allows what [`Policy::default`] does.
    ///
    /// # Errors
    /// `Unavailable` when this machine cannot run WebAssembly.
    pub fn new() -> KernelResult<PluginHost> {
        PluginHost::with(HostOptions::default())
    }

    /// A host without plugins.
    ///
    /// # Errors
    /// `Unavailable` when this machine cannot run WebAssembly.
    pub fn with(options: HostOptions) -> KernelResult<PluginHost> {
        let HostOptions { policy, tenants, programs, audit, telemetry, compile } = options;
        let runtime = Arc::new(Runtime::new(compile)?);
        let observed = Arc::new(Observed {
            plugins: Mutex::default(),
            tenants: tenants.clone(),
            audit: audit.clone(),
        });
        telemetry.registry().add(&observed);
        telemetry.watch(&observed);
        telemetry.listen(&observed);
        let outbox = Arc::new(Outbox::new(OutboxOptions::default()));
        outbox.register(telemetry.registry());
        Ok(PluginHost {
            runtime,
            policy,
            loaded: Mutex::new(BTreeMap::new()),
            tenants,
            programs,
            audit,
            telemetry,
            observed,
            outbox,
        })
    }

    /// The hooks and procedures of its plugins.
    pub fn programs(&self) -> &Arc<Programs> {
        &self.programs
    }

    /// What the operator allows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Loads every plugin that was built into this program, and returns their names; without those that
    /// [wait](Policy::wakes) for a directory or an address.
    ///
    /// # Errors
    /// Whatever the first that cannot be loaded gives; then none is registered.
    pub fn load_bundled(&self, manager: &PluginManager) -> KernelResult<Vec<String>> {
        let mut plugins = Vec::new();
        for plugin in bundled::PLUGINS {
            if self.policy.wakes(&plugin.manifest()?) {
                plugins.push(self.prepare_bundled(plugin)?);
            }
        }
        self.register(plugins, manager)
    }

    /// Loads one of the plugins that this program came with.
    ///
    /// # Errors
    /// As [`load_bundled`](Self::load_bundled); `NotFound` when there is none called `name`.
    pub fn load_one_bundled(&self, name: &str, manager: &PluginManager) -> KernelResult<()> {
        let missing = || KernelError::NotFound { kind: "bundled plugin", name: name.to_owned() };
        let plugin = bundled::find(name).ok_or_else(missing)?;
        self.register(vec![self.prepare_bundled(plugin)?], manager).map(drop)
    }

    fn prepare_bundled(&self, plugin: &Bundled) -> KernelResult<Loaded> {
        self.prepare("bundled".to_owned(), plugin.manifest()?, plugin.component, Origin::Bundled)
    }

    /// Loads the plugin whose manifest lies at `path`, and returns its name.
    ///
    /// # Errors
    /// `Invalid` for a manifest or component that makes no sense, with its place; `NotFound` for a
    /// missing file; `Plugin` when the component asks for too much, is not the one the manifest pins,
    /// or fails its self-test.
    pub fn load_manifest(&self, path: &Path, manager: &PluginManager) -> KernelResult<String> {
        let mut names = self.register(vec![self.prepare_file(path)?], manager)?;
        Ok(names.remove(0))
    }

    /// Loads the plugin whose manifest lies at `path` for the open database `kernel`, and returns its name. A
    /// storage engine must be able to read the tables that it is to keep.
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest), and as [`canary::check`]; what served before goes on serving.
    pub fn install(&self, path: &Path, kernel: &Kernel) -> KernelResult<String> {
        let plugin = self.prepare_file(path)?;
        plugin.check_tables(kernel)?;
        let mut names = self.register(vec![plugin], kernel.plugins())?;
        Ok(names.remove(0))
    }

    /// Loads the plugins whose manifests, `*.toml`, lie in the folder `dir`; returns their names.
    ///
    /// # Errors
    /// Whatever the first that cannot be loaded gives; then none is registered.
    pub fn load_dir(&self, dir: &Path, manager: &PluginManager) -> KernelResult<Vec<String>> {
        let failed =
            |error| KernelError::io(format!("read the plugin folder {}", dir.display()), error);
        let entries = std::fs::read_dir(dir).map_err(failed)?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let plugins =
            paths.iter().map(|path| self.prepare_file(path)).collect::<KernelResult<_>>()?;
        self.register(plugins, manager)
    }

    /// Loads what the database keeps, except plugins that were loaded from elsewhere; returns their names.
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest), and `Corrupt`; then none of them is registered.
    pub fn load_kept(&self, kernel: &Kernel) -> KernelResult<Vec<String>> {
        let is_elsewhere = |name: &str| {
            self.loaded.lock().get(name).is_some_and(|loaded| loaded.plugin.source != "bundled")
        };
        let mut plugins = Vec::new();
        for KeptInfo { name, .. } in kept::list(kernel)? {
            if !is_elsewhere(&name) {
                let plugin = self.prepare_kept(kernel, &name)?;
                plugin.check_tables(kernel)?;
                plugins.push(plugin);
            }
        }
        self.register(plugins, kernel.plugins())
    }

    /// Lets the database keep the plugins that were loaded from files, so that a backup carries the code it
    /// needs, and the next opening needs no file.
    ///
    /// # Errors
    /// As [`kept::keep`].
    pub fn keep(&self, kernel: &Kernel) -> KernelResult<()> {
        let sources: Vec<_> = {
            let mut loaded = self.loaded.lock();
            let take = |(name, loaded): (&String, &mut Loaded)| {
                loaded.source.take().map(|source| (name.clone(), source))
            };
            loaded.iter_mut().filter_map(take).collect()
        };
        for (name, Source { manifest, component }) in sources {
            kept::keep(kernel, &KeptPlugin { name, manifest, component: component.into() })?;
        }
        Ok(())
    }

    /// The tenants: what each may use, and what each has used.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// What plugins did.
    pub fn audit(&self) -> &Arc<AuditLog> {
        &self.audit
    }

    /// Lets the plugin `name` work again for everybody it was kept from working for. Whether there was
    /// anybody.
    ///
    /// # Errors
    /// `NotFound` when there is no such plugin.
    pub fn release(&self, name: &str) -> KernelResult<bool> {
        let loaded = self.loaded.lock();
        let found = loaded.get(name).map(|loaded| loaded.plugin.healths.release());
        found.ok_or_else(|| KernelError::NotFound { kind: "plugin", name: name.to_owned() })
    }

    /// Every loaded plugin, sorted by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.loaded.lock().values().map(|loaded| info(&loaded.plugin)).collect()
    }

    /// What is in the component `path`. Compiles it, but runs nothing of it.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when it is no component, `Limit` when it is too large.
    pub fn inspect(&self, path: &Path) -> KernelResult<Inspection> {
        let file = path.display().to_string();
        let (folder, name) = folder_and_name(path)?;
        let bytes = component::read(folder, name)?;
        let component = Component::compile(&self.runtime, &file, &bytes, Origin::Stranger)?;
        let exports = short_exports(&component);
        let kind = PluginKind::of(&exports);
        let refusal = capability::refusal(&component.imports, &component.exports).or_else(|| {
            kind.is_none().then(|| format!("exports {exports:?}, which makes no kind of plugin"))
        });
        Ok(Inspection {
            file,
            bytes: component.bytes,
            blake3: component.blake3.to_string(),
            kind,
            loadable: refusal.is_none(),
            refusal,
            exports,
            imports: component.imports,
        })
    }

    /// What plugins have emitted, and what the host counts about each of them, its tenants and its audit trail.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        self.observed.collect(&mut metrics);
        metrics
    }

    /// What plugins have logged since this was last asked, by plugin. With telemetry, observers get it.
    pub fn drain_logs(&self) -> Vec<LogLine> {
        self.observed.drain()
    }

    /// How each plugin and each tenant is.
    pub fn health(&self) -> Vec<ComponentHealth> {
        self.observed.health()
    }

    /// What observers send to addresses.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn prepare_file(&self, path: &Path) -> KernelResult<Loaded> {
        let shown = path.display().to_string();
        let text = strict_toml::read_file("manifest", path, MANIFEST_BYTES_MAX)?;
        let manifest = PluginManifest::parse(&shown, &text)?;
        check_kernel_version(&manifest)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (component, origin) = match &manifest.module {
            ModuleSource::Path(path) => (component::read(folder, path)?, Origin::Stranger),
            ModuleSource::Bundled(name) => (bundled_component(name)?.to_vec(), Origin::Bundled),
        };
        let mut loaded = self.prepare(shown, manifest, &component, origin)?;
        loaded.source = Some(Source { manifest: text, component });
        Ok(loaded)
    }

    /// A plugin that a database keeps. Its component is the one that is kept, whatever the manifest names.
    fn prepare_kept(&self, kernel: &Kernel, name: &str) -> KernelResult<Loaded> {
        let plugin = kept::load(kernel, name)?;
        let shown = format!("the plugin '{name}' that the database keeps");
        let manifest = PluginManifest::parse(&shown, &plugin.manifest)?;
        if manifest.name != name {
            let text = format!("{shown} has the manifest of '{}'", manifest.name);
            return Err(KernelError::invalid(text));
        }
        self.prepare(
            "kept in the database".to_owned(),
            manifest,
            &plugin.component,
            Origin::Stranger,
        )
    }

    /// Steps 1 to 4 of loading.
    fn prepare(
        &self,
        source: String,
        manifest: PluginManifest,
        component: &[u8],
        origin: Origin,
    ) -> KernelResult<Loaded> {
        check_kernel_version(&manifest)?;
        let shown = match &manifest.module {
            ModuleSource::Path(path) => format!("the component {path} of {source}"),
            ModuleSource::Bundled(name) => format!("the bundled component '{name}'"),
        };
        let component = self.compile(&manifest, &shown, component, origin)?;
        capability::check(&manifest, &component.imports, &component.exports)?;
        let grant = Arc::new(self.policy.grant(&manifest)?);
        let kind = manifest.kind;
        let plugin = Arc::new(Plugin {
            runtime: self.runtime.clone(),
            directories: Directories::open(&grant)?,
            grant,
            manifest,
            source,
            component,
            telemetry: PluginTelemetry::default(),
            usage: Default::default(),
            healths: Default::default(),
            tenants: self.tenants.clone(),
            audit: self.audit.clone(),
            tracer: self.telemetry.tracer().clone(),
            outbox: self.outbox.clone(),
            programs: Arc::downgrade(&self.programs),
        });
        let adapter = match kind {
            PluginKind::Codec => Adapter::Codec(Arc::new(WasmCodec::new(tested(&plugin)?))),
            PluginKind::Observer => {
                Adapter::Observer(Arc::new(WasmObserver::new(tested(&plugin)?)))
            }
            PluginKind::Storage => Adapter::Storage(Arc::new(WasmStorage::new(tested(&plugin)?))),
            PluginKind::Hooks => Adapter::Hooks(Arc::new(WasmHooks::new(tested(&plugin)?))),
            PluginKind::Procedure => {
                Adapter::Procedures(Arc::new(WasmProcedures::new(tested(&plugin)?)?))
            }
            PluginKind::Index => Adapter::Index(Arc::new(WasmIndex::new(tested(&plugin)?))),
        };
        Ok(Loaded { plugin, adapter, source: None })
    }

    fn compile(
        &self,
        manifest: &PluginManifest,
        shown: &str,
        bytes: &[u8],
        origin: Origin,
    ) -> KernelResult<Component> {
        let found = blake3::hash(bytes);
        if let Some(pinned) = manifest.blake3.filter(|pinned| *pinned != found) {
            let message = format!(
                "{shown} has the BLAKE3 hash {found}, its manifest pins {pinned}; get the file that \
                 belongs to the manifest, or pin the new hash if you trust it"
            );
            return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
        }
        Component::compile(&self.runtime, shown, bytes, origin)
    }

    /// Step 5: all of them or, when a name is taken by another kind, none.
    fn register(&self, plugins: Vec<Loaded>, manager: &PluginManager) -> KernelResult<Vec<String>> {
        let mut loaded = self.loaded.lock();
        for Loaded { plugin, .. } in &plugins {
            let manifest = &plugin.manifest;
            let same_name = loaded.get(&manifest.name).map(|old| old.plugin.manifest.kind);
            if let Some(old) = same_name.filter(|old| *old != manifest.kind) {
                return Err(KernelError::invalid(format!(
                    "a plugin of kind '{old}' is already called '{}'; give the one of kind '{}' another name",
                    manifest.name, manifest.kind
                )));
            }
        }
        let mut names = Vec::new();
        for plugin in plugins {
            match plugin.adapter.clone() {
                Adapter::Codec(codec) => {
                    self.programs.add_codec(&plugin.plugin.manifest.name, &codec);
                    manager.register_compression(codec);
                }
                Adapter::Observer(observer) => manager.register_observability(observer),
                Adapter::Storage(storage) => manager.register_storage(storage),
                Adapter::Hooks(hooks) => self.programs.add_hooks(hooks),
                Adapter::Procedures(program) => self.programs.add_procedures(program),
                Adapter::Index(index) => self.programs.indexes().register(index),
            }
            let name = plugin.plugin.manifest.name.clone();
            tracing::info!(target: "sochdb::plugin", plugin = name, source = plugin.plugin.source, "loaded");
            self.observed.plugins.lock().insert(name.clone(), plugin.plugin.clone());
            if let Some(old) = loaded.insert(name.clone(), plugin) {
                old.retire();
            }
            names.push(name);
        }
        Ok(names)
    }
}

impl Loaded {
    /// Whether it can read the tables of `kernel` that it is to keep.
    fn check_tables(&self, kernel: &Kernel) -> KernelResult<()> {
        match &self.adapter {
            Adapter::Storage(storage) => canary::check(kernel, &**storage),
            _ => Ok(()),
        }
    }

    /// Ends the instances of a plugin that was replaced. Calls in flight end on it, and so do reads of
    /// segments that were opened with it: a storage engine, or an index, ends when the last of those does.
    fn retire(self) {
        let ended = match self.adapter {
            Adapter::Codec(codec) => codec.shutdown(),
            Adapter::Observer(observer) => observer.shutdown(),
            // Transactions that began with these end with them.
            Adapter::Hooks(_)
            | Adapter::Procedures(_)
            | Adapter::Storage(_)
            | Adapter::Index(_) => Ok(()),
        };
        if let Err(error) = ended {
            let plugin = &self.plugin.manifest.name;
            tracing::warn!(target: "sochdb::plugin", plugin, %error, "the replaced plugin did not end well");
        }
    }
}

/// The pools of a plugin that has passed its own test.
fn tested<E: Exports>(plugin: &Arc<Plugin>) -> KernelResult<Arc<Pools<E>>> {
    let pools = Pools::new(plugin.clone())?;
    pools.self_test()?;
    Ok(pools)
}

fn info(plugin: &Plugin) -> PluginInfo {
    let manifest = &plugin.manifest;
    PluginInfo {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        kind: manifest.kind,
        description: manifest.description.clone(),
        author: manifest.author.clone(),
        license: manifest.license.clone(),
        homepage: manifest.homepage.clone(),
        repository: manifest.repository.clone(),
        source: plugin.source.clone(),
        blake3: plugin.component.blake3.to_string(),
        component_bytes: plugin.component.bytes,
        limits: plugin.grant.limits,
        limits_wanted: manifest.limits,
        granted: plugin.grant.names(),
        capabilities: manifest.capabilities.clone(),
        grant: (*plugin.grant).clone(),
        imports: plugin.component.imports.clone(),
        exports: short_exports(&plugin.component),
        config: manifest.config.clone(),
        usage: usage(plugin),
        unwell: plugin.healths.unwell(),
    }
}

fn usage(plugin: &Plugin) -> UsageInfo {
    let usage = &plugin.usage;
    UsageInfo {
        calls: read(&usage.calls),
        refusals: read(&usage.refusals),
        failures: read(&usage.failures),
        instances_started: read(&usage.instances_started),
        fuel: read(&usage.fuel),
        micros: (usage.took.read().sum * 1e6) as u64,
        log_lines_dropped: plugin.telemetry.lines_dropped(),
    }
}

fn short_exports(component: &Component) -> Vec<String> {
    capability::short_exports(&component.exports)
}

fn check_kernel_version(manifest: &PluginManifest) -> KernelResult<()> {
    let kernel = Version::parse(KERNEL_VERSION).expect("our own version is one");
    if manifest.min_kernel_version <= kernel {
        return Ok(());
    }
    Err(KernelError::invalid(format!(
        "the plugin '{}' needs kernel {} or newer, this is {kernel}; update SochDB or use an older plugin",
        manifest.name, manifest.min_kernel_version
    )))
}

fn bundled_component(name: &str) -> KernelResult<&'static [u8]> {
    let found = bundled::find(name).map(|Bundled { component, .. }| *component);
    found.ok_or_else(|| KernelError::NotFound { kind: "bundled component", name: name.to_owned() })
}

fn folder_and_name(path: &Path) -> KernelResult<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| KernelError::invalid(format!("{} names no file", path.display())))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}
