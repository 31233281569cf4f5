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

use crate::adapter::Adapter;
use crate::audit::AuditLog;
use crate::bundled::{self, Bundled, Packed};
use crate::capability::{self, Import};
use crate::compiled_code::{CompileOptions, Origin};
use crate::component::{self, Component, Wasm};
use crate::disabled;
use crate::kept::{self, KeptInfo, KeptPlugin};
use crate::limits::{Limits, MANIFEST_BYTES_MAX};
use crate::observed::Observed;
use crate::plugin::{Plugin, read};
use crate::plugin_hot_reload::Reloads;
use crate::plugin_manifest::{Capabilities, ModuleSource, PluginKind, PluginManifest, Setting};
use crate::plugin_telemetry::PluginTelemetry;
use crate::policy::{Grant, Policy};
use crate::pools::Pools;
use crate::programs::Programs;
use crate::quarantine::TenantHealth;
use crate::side_by_side;
use crate::signature::{self, Signer};
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
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::{KERNEL_VERSION, Kernel, KernelError, KernelResult, PluginFault, TableOptions};
use sochdb_observability::{
    HealthSource, LogSource, Outbox, OutboxOptions, Source as _, Telemetry,
};
use sochdb_reload::{Meter, Switch, VersionId, folders};
use sochdb_telemetry::{ComponentHealth, LogLine, Metric};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Loads plugins and keeps count of them. One per database; cheap to share, `Send` and `Sync`.
pub struct PluginHost {
    runtime: Arc<Runtime>,
    policy: Policy,
    loaded: Mutex<BTreeMap<String, Loaded>>,
    pub(crate) reloads: Arc<Reloads>,
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
pub(crate) struct Loaded {
    /// Its usual version.
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) adapter: Adapter,
    /// What it was loaded from, until a database keeps it. Only of plugins from files.
    pub(crate) source: Option<Source>,
}

/// A manifest in a folder whose plugin cannot be loaded.
#[derive(Debug)]
pub struct NotLoaded {
    /// Where it lies.
    pub manifest: PathBuf,
    /// Why.
    pub error: KernelError,
}

/// What a plugin was loaded from.
pub(crate) struct Source {
    manifest: String,
    signature: Option<String>,
    component: Vec<u8>,
}

impl Source {
    /// Lets the database keep it as the plugin `name`.
    ///
    /// # Errors
    /// As [`kept::keep`].
    pub(crate) fn keep(&self, kernel: &Kernel, name: &str) -> KernelResult<()> {
        let Source { manifest, signature, component } = self;
        let (name, manifest, signature) = (name.to_owned(), manifest.clone(), signature.clone());
        let component = component.into();
        kept::keep(kernel, &KeptPlugin { name, manifest, signature, component }).map(drop)
    }
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
    /// Who vouches for it, if the policy trusts somebody's signature.
    pub signer: Option<Signer>,
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
        let reloads = Arc::new(Reloads::default());
        telemetry.registry().add(&observed);
        telemetry.registry().add(&reloads);
        telemetry.watch(&observed);
        telemetry.listen(&observed);
        let outbox = Arc::new(Outbox::new(OutboxOptions::default()));
        outbox.register(telemetry.registry());
        Ok(PluginHost {
            runtime,
            policy,
            loaded: Mutex::new(BTreeMap::new()),
            reloads,
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
        let mut wanted = Vec::new();
        for plugin in bundled::PLUGINS {
            if self.policy.wakes(&plugin.manifest()?) {
                wanted.push(plugin);
            }
        }
        self.load_those_bundled(&wanted, manager)
    }

    /// Loads some of the plugins that this program came with, and returns their names.
    ///
    /// # Errors
    /// As [`load_bundled`](Self::load_bundled).
    pub fn load_those_bundled(
        &self,
        plugins: &[&'static Bundled],
        manager: &PluginManager,
    ) -> KernelResult<Vec<String>> {
        let largest_first = |_, plugin: &&'static Bundled| Reverse(plugin.component.bytes());
        let prepare = |plugin: &&'static Bundled| self.prepare_bundled(plugin);
        let threads = side_by_side::cores();
        self.register(side_by_side::try_map(plugins, threads, largest_first, prepare)?, manager)
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
        let (manifest, source) = (plugin.manifest()?, "bundled".to_owned());
        self.prepare(source, manifest, Wasm::Bundled(plugin.component), None)
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

    /// Loads the plugins whose manifests, `*.toml`, lie in the folder `dir`; returns their names.
    ///
    /// # Errors
    /// Whatever the first that cannot be loaded gives; then none is registered.
    pub fn load_dir(&self, dir: &Path, manager: &PluginManager) -> KernelResult<Vec<String>> {
        let paths = manifests_in(dir)?;
        let plugins =
            paths.iter().map(|path| self.prepare_file(path)).collect::<KernelResult<_>>()?;
        self.register(plugins, manager)
    }

    /// As [`load_dir`](Self::load_dir), but what cannot be loaded keeps nothing else from it.
    ///
    /// # Errors
    /// When the folder cannot be read, or a name is taken by another kind.
    pub fn load_what_works(
        &self,
        dir: &Path,
        manager: &PluginManager,
    ) -> KernelResult<Vec<NotLoaded>> {
        let (mut plugins, mut not_loaded) = (Vec::new(), Vec::new());
        for manifest in manifests_in(dir)? {
            match self.prepare_file(&manifest) {
                Ok(plugin) => plugins.push(plugin),
                Err(error) => not_loaded.push(NotLoaded { manifest, error }),
            }
        }
        self.register(plugins, manager)?;
        Ok(not_loaded)
    }

    /// The version of `name` that the database keeps, in the place of one from a folder that cannot serve. Whether
    /// it keeps one.
    ///
    /// # Errors
    /// As [`load_kept`](Self::load_kept).
    pub fn load_kept_instead(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        if !kept::list(kernel)?.iter().any(|kept| kept.name == name) {
            return Ok(false);
        }
        let plugin = self.prepare_kept(kernel, name)?;
        plugin.adapter.check_tables(kernel)?;
        self.register(vec![plugin], kernel.plugins()).map(|_| true)
    }

    /// What keeps a plugin from a folder from serving the tables of `kernel`, by name.
    pub fn unfit(&self, kernel: &Kernel) -> Vec<(String, KernelError)> {
        let loaded: Vec<_> = {
            let loaded = self.loaded.lock();
            let of_folders = loaded.iter().filter(|(_, loaded)| loaded.source.is_some());
            of_folders.map(|(name, loaded)| (name.clone(), loaded.adapter.clone())).collect()
        };
        let unfit = loaded.into_iter().filter_map(|(name, adapter)| {
            adapter.check_tables(kernel).err().map(|error| (name, error))
        });
        unfit.collect()
    }

    /// Loads what the database keeps, except plugins that were loaded from elsewhere; returns their names.
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest), and `Corrupt`; then none of them is registered.
    pub fn load_kept(&self, kernel: &Kernel) -> KernelResult<Vec<String>> {
        let is_elsewhere = |name: &str| {
            self.loaded.lock().get(name).is_some_and(|loaded| loaded.plugin.source != "bundled")
        };
        let (mut plugins, disabled) = (Vec::new(), disabled::list(kernel)?);
        for KeptInfo { name, .. } in kept::list(kernel)? {
            if !is_elsewhere(&name) && !disabled.contains(&name) {
                plugins.push(self.prepare_kept(kernel, &name)?);
            }
        }
        // What a storage engine is to read may be compressed.
        let is_codec = |plugin: &Loaded| matches!(plugin.adapter, Adapter::Codec(_));
        let (codecs, others): (Vec<_>, Vec<_>) = plugins.into_iter().partition(is_codec);
        let mut names = self.register(codecs, kernel.plugins())?;
        others.iter().try_for_each(|plugin| plugin.adapter.check_tables(kernel))?;
        names.extend(self.register(others, kernel.plugins())?);
        Ok(names)
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
        sources.iter().try_for_each(|(name, source)| source.keep(kernel, name))
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
        let found = loaded.get(name).map(|loaded| loaded.adapter.leading().healths.release());
        found.ok_or_else(|| KernelError::NotFound { kind: "plugin", name: name.to_owned() })
    }

    /// Every loaded plugin, sorted by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.loaded.lock().values().map(|loaded| info(&loaded.adapter.leading())).collect()
    }

    /// What is in the component `path`. Compiles it, but runs nothing of it.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when it is no component, `Limit` when it is too large.
    pub fn inspect(&self, path: &Path) -> KernelResult<Inspection> {
        let file = path.display().to_string();
        let (folder, name) = folder_and_name(path)?;
        let bytes = component::read(folder, name)?;
        let wasm = Wasm::Bytes(&bytes, Origin::Stranger);
        let component = Component::compile(&self.runtime, &file, wasm, wasm.hash())?;
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

    pub(crate) fn prepare_file(&self, path: &Path) -> KernelResult<Loaded> {
        let shown = path.display().to_string();
        let text = strict_toml::read_file("manifest", path, MANIFEST_BYTES_MAX)?;
        let manifest = PluginManifest::parse(&shown, &text)?;
        check_kernel_version(&manifest)?;
        let signature = signature::read_beside(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (component, origin) = match &manifest.module {
            ModuleSource::Path(path) => (component::read(folder, path)?, Origin::Stranger),
            ModuleSource::Bundled(name) => (bundled_component(name)?.to_vec(), Origin::Bundled),
        };
        let signer = self.signer(&manifest, &text, signature.as_deref(), &component)?;
        let wasm = Wasm::Bytes(&component, origin);
        let mut loaded = self.prepare(shown, manifest, wasm, signer)?;
        loaded.source = Some(Source { manifest: text, signature, component });
        Ok(loaded)
    }

    /// Who vouches for a plugin that is no part of this program.
    fn signer(
        &self,
        manifest: &PluginManifest,
        text: &str,
        signature: Option<&str>,
        component: &[u8],
    ) -> KernelResult<Option<Signer>> {
        // What this program has needs no pin; what a database keeps may be anything.
        let is_bundled = match &manifest.module {
            ModuleSource::Bundled(name) => {
                bundled_component(name).is_ok_and(|own| own.blake3() == blake3::hash(component))
            }
            ModuleSource::Path(_) => false,
        };
        let pins = is_bundled || manifest.blake3.is_some();
        let signatures = self.policy.signatures();
        signature::verify(text.as_bytes(), signature, signatures, &manifest.name, pins)
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
        let signer = self.signer(
            &manifest,
            &plugin.manifest,
            plugin.signature.as_deref(),
            &plugin.component,
        )?;
        let source = "kept in the database".to_owned();
        let wasm = Wasm::Bytes(&plugin.component, Origin::Stranger);
        self.prepare(source, manifest, wasm, signer)
    }

    /// Steps 1 to 4 of loading.
    fn prepare(
        &self,
        source: String,
        manifest: PluginManifest,
        component: Wasm<'_>,
        signer: Option<Signer>,
    ) -> KernelResult<Loaded> {
        check_kernel_version(&manifest)?;
        let shown = match &manifest.module {
            ModuleSource::Path(path) => format!("the component {path} of {source}"),
            ModuleSource::Bundled(name) => format!("the bundled component '{name}'"),
        };
        let component = self.compile(&manifest, &shown, component)?;
        capability::check(&manifest, &component.imports, &component.exports)?;
        let grant = Arc::new(self.policy.grant(&manifest)?);
        let kind = manifest.kind;
        let plugin = Arc::new(Plugin {
            runtime: self.runtime.clone(),
            directories: Directories::open(&grant)?,
            grant,
            manifest,
            source,
            signer,
            component,
            telemetry: PluginTelemetry::default(),
            usage: Default::default(),
            healths: Default::default(),
            tenants: self.tenants.clone(),
            audit: self.audit.clone(),
            tracer: self.telemetry.tracer().clone(),
            outbox: self.outbox.clone(),
            programs: Arc::downgrade(&self.programs),
            meter: Meter::default(),
            taken_out: Default::default(),
        });
        let adapter = match kind {
            PluginKind::Codec => Adapter::Codec(Arc::new(WasmCodec::new(tested(&plugin)?))),
            PluginKind::Observer => {
                Adapter::Observer(Arc::new(WasmObserver::new(tested(&plugin)?)))
            }
            PluginKind::Storage => Adapter::Storage(Arc::new(WasmStorage::new(tested(&plugin)?))),
            PluginKind::Hooks => {
                let hooks = Arc::new(WasmHooks::new(tested(&plugin)?));
                Adapter::Hooks(Arc::new(Switch::new(hooks)))
            }
            PluginKind::Procedure => {
                let program = Arc::new(WasmProcedures::new(tested(&plugin)?)?);
                Adapter::Procedures(Arc::new(Switch::new(program)))
            }
            PluginKind::Index => Adapter::Index(Arc::new(WasmIndex::new(tested(&plugin)?))),
        };
        Ok(Loaded { plugin, adapter, source: None })
    }

    fn compile(
        &self,
        manifest: &PluginManifest,
        shown: &str,
        wasm: Wasm<'_>,
    ) -> KernelResult<Component> {
        let found = wasm.hash();
        if let Some(pinned) = manifest.blake3.filter(|pinned| *pinned != found) {
            let message = format!(
                "{shown} has the BLAKE3 hash {found}, its manifest pins {pinned}; get the file that \
                 belongs to the manifest, or pin the new hash if you trust it"
            );
            return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
        }
        Component::compile(&self.runtime, shown, wasm, found)
    }

    /// Step 5: all of them or, when a name is taken by another kind, none.
    pub(crate) fn register(
        &self,
        plugins: Vec<Loaded>,
        manager: &PluginManager,
    ) -> KernelResult<Vec<String>> {
        let mut loaded = self.loaded.lock();
        for new in &plugins {
            if let Some(old) = loaded.get(&new.plugin.manifest.name) {
                old.check_same_kind(new)?;
            }
        }
        let mut names = Vec::new();
        for Loaded { plugin, mut adapter, source } in plugins {
            let name = plugin.manifest.name.clone();
            tracing::info!(target: "sochdb::plugin", plugin = name, source = plugin.source, "loaded");
            if let Some(old) = loaded.get(&name) {
                old.adapter.replace(&adapter);
                adapter = old.adapter.clone();
            }
            adapter.register(&name, manager, &self.programs);
            self.observed.plugins.lock().insert(name.clone(), plugin.clone());
            loaded.insert(name.clone(), Loaded { plugin, adapter, source });
            names.push(name);
        }
        Ok(names)
    }

    /// The plugin `name` as it serves.
    pub(crate) fn serving(&self, name: &str) -> Option<Loaded> {
        let loaded = self.loaded.lock();
        let Loaded { plugin, adapter, .. } = loaded.get(name)?;
        Some(Loaded { plugin: plugin.clone(), adapter: adapter.clone(), source: None })
    }

    /// Whether there is a plugin `name`.
    pub fn has(&self, name: &str) -> bool {
        self.loaded.lock().contains_key(name)
    }

    /// Notes which version of a plugin serves from now on.
    pub(crate) fn put(&self, kept: Loaded) {
        self.loaded.lock().insert(kept.plugin.manifest.name.clone(), kept);
    }

    /// The switch of a plugin has turned: tells those who remember who serves.
    pub(crate) fn turned(&self, loaded: &Loaded) {
        let leading = loaded.adapter.leading();
        self.observed.plugins.lock().insert(leading.manifest.name.clone(), leading);
        // What one version of an index failed to build, another may.
        if let Adapter::Index(index) = &loaded.adapter {
            self.programs.indexes().register(index.clone());
        }
    }

    /// Which plugin the manifest at `path` is of.
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest), for what is wrong with the manifest.
    pub fn name_in(&self, path: &Path) -> KernelResult<String> {
        let text = strict_toml::read_file("manifest", path, MANIFEST_BYTES_MAX)?;
        Ok(PluginManifest::parse(&path.display().to_string(), &text)?.name)
    }

    /// Takes the plugin `name` away from `kernel`: its calls in flight end, later ones find nobody. The database
    /// may keep it nevertheless. Whether it was there.
    ///
    /// # Errors
    /// `Invalid` when tables need it, with their names; `Unavailable` while somebody changes it.
    pub fn unload(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        let _claim = self.reloads.claim(name)?;
        let needing = dependents(kernel, name)?;
        if !needing.is_empty() {
            let text = format!("the plugin '{name}' is needed by: {}", needing.join(", "));
            return Err(KernelError::invalid(text));
        }
        self.supersede(name, kernel)?;
        let Some(gone) = self.loaded.lock().remove(name) else { return Ok(false) };
        gone.adapter.unregister(name, kernel.plugins(), &self.programs);
        self.observed.plugins.lock().remove(name);
        gone.adapter.shutdown();
        tracing::info!(target: "sochdb::plugin", plugin = name, "unloaded");
        Ok(true)
    }

    /// Loads the plugin `name` again, from where it comes when a database is opened without folders: what the
    /// database keeps, or this program. Whether there was one.
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest).
    pub fn load_again(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        let _claim = self.reloads.claim(name)?;
        let is_kept = kept::list(kernel)?.iter().any(|kept| kept.name == name);
        if !is_kept {
            return self.bundled_again(name, kernel);
        }
        let plugin = self.prepare_kept(kernel, name)?;
        plugin.adapter.check_tables(kernel)?;
        self.register(vec![plugin], kernel.plugins()).map(|_| true)
    }

    /// Loads the plugin `name` of this program in the place of whatever else is called so. Whether there is one.
    ///
    /// # Errors
    /// As [`load_bundled`](Self::load_bundled); `Plugin` when it cannot read the tables that it is to keep.
    pub fn load_bundled_again(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        let _claim = self.reloads.claim(name)?;
        self.bundled_again(name, kernel)
    }

    fn bundled_again(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        let Some(bundled) = bundled::find(name) else { return Ok(false) };
        self.supersede(name, kernel)?;
        let plugin = self.prepare_bundled(bundled)?;
        plugin.adapter.check_tables(kernel)?;
        self.register(vec![plugin], kernel.plugins()).map(|_| true)
    }
}

/// The tables that need the plugin `name`, by what their options say.
///
/// # Errors
/// What keeps the catalog from being read.
pub fn dependents(kernel: &Kernel, name: &str) -> KernelResult<Vec<String>> {
    let mut tables = kernel.begin_read()?.tables()?;
    tables.retain(|table| {
        let TableOptions { storage, codec, settings, .. } = &table.options;
        let is_index = storage.as_deref() == Some(sochdb_index::definition::STORAGE);
        let builder = is_index.then(|| settings.get("using")).flatten();
        [storage.as_ref(), codec.as_ref(), builder].into_iter().flatten().any(|of| of == name)
    });
    Ok(tables.into_iter().map(|table| table.name).collect())
}

impl Loaded {
    pub(crate) fn version_id(&self) -> VersionId {
        VersionId {
            version: self.plugin.manifest.version.to_string(),
            blake3: self.plugin.component.blake3.to_string(),
        }
    }

    /// # Errors
    /// `Invalid` when `new` is a plugin of another kind with the same name.
    pub(crate) fn check_same_kind(&self, new: &Loaded) -> KernelResult<()> {
        let (old, new) = (&self.plugin.manifest, &new.plugin.manifest);
        if old.kind == new.kind {
            return Ok(());
        }
        Err(KernelError::invalid(format!(
            "a plugin of kind '{}' is already called '{}'; give the one of kind '{}' another name",
            old.kind, new.name, new.kind
        )))
    }

    /// Whether `new` would change nothing.
    pub(crate) fn is_same_as(&self, new: &Loaded) -> bool {
        let (old, new) = (&self.plugin, &new.plugin);
        old.manifest == new.manifest
            && old.component.blake3 == new.component.blake3
            && old.grant == new.grant
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
        signer: plugin.signer.clone(),
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

fn bundled_component(name: &str) -> KernelResult<Packed> {
    bundled::find(name)
        .map(|plugin| plugin.component)
        .ok_or_else(|| KernelError::NotFound { kind: "bundled component", name: name.to_owned() })
}

/// The manifests in the folder `dir`, sorted by name.
///
/// # Errors
/// `Unavailable` when the folder cannot be read.
pub fn manifests_in(dir: &Path) -> KernelResult<Vec<PathBuf>> {
    let failed =
        |error| KernelError::io(format!("read the plugin folder {}", dir.display()), error);
    let entries = std::fs::read_dir(dir).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| folders::is_manifest(path));
    paths.sort();
    Ok(paths)
}

/// The component that a manifest names, as far as it can be read: a file in the manifest's folder.
pub fn component_named(manifest: &str) -> Option<String> {
    let manifest: toml::Table = manifest.parse().ok()?;
    Some(manifest.get("module")?.get("path")?.as_str()?.to_owned())
}

fn folder_and_name(path: &Path) -> KernelResult<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| KernelError::invalid(format!("{} names no file", path.display())))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}
