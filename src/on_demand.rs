//! Where a database's plugins come from, and the stand-ins for those that nobody has needed yet.
//!
//! Compiling WebAssembly takes longer than opening a database, and most openings need no plugin: their
//! rows are not compressed, and nobody asks for metrics. So the kernel is given a stand-in for each,
//! which knows from the manifest who it stands for, and hands every call on to the plugin.
//!
//! A stand-in loads its own plugin; one of storage also the codecs of its tables, beside it, because reading
//! them is what comes next. The bundled plugins are part of this program and tested with it. As soon as there
//! are plugins from elsewhere, all are loaded before the directory is touched, so that a bad one is refused in
//! time.

use parking_lot::Mutex;
use sochdb_host_abi::plugin_manifest::Capabilities;
use sochdb_host_abi::{HostOptions, PluginHost, PluginKind, PluginManifest, bundled};
use sochdb_index::extension::Part;
use sochdb_index::{Entries, IndexDefinition, IndexExtension, IndexSearcher};
use sochdb_kernel::plugin::{
    Compaction, CompressionExtension, Extension, ExtensionCapability, ExtensionInfo,
    ObservabilityExtension, Page, PluginManager, RunCursor, SegmentRead, SegmentSink,
    StorageExtension, StorageReader, TableContext, TelemetryBatch,
};
use sochdb_kernel::{Kernel, KernelError, KernelResult, SegmentId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// The plugins of one database.
pub(crate) enum Plugins {
    /// Loaded before the database was opened.
    Loaded(Arc<PluginHost>),
    /// At most the bundled ones, loaded when needed.
    OnDemand(Arc<Bundled>),
}

impl Plugins {
    /// The host, as far as it was needed.
    pub(crate) fn host(&self) -> Option<&Arc<PluginHost>> {
        match self {
            Plugins::Loaded(host) => Some(host),
            Plugins::OnDemand(bundled) => bundled.host(),
        }
    }

    /// Whether the plugin `name` is more than a stand-in.
    pub(crate) fn is_loaded(&self, name: &str) -> bool {
        match self {
            Plugins::Loaded(_) => true,
            Plugins::OnDemand(bundled) => {
                bundled::find(name).is_none() || bundled.loaded.lock().contains(name)
            }
        }
    }

    /// Whether the observer `name` gets batches: it does something with them that nobody need ask for. One that
    /// only renders gets the newest when it is asked.
    pub(crate) fn listens(&self, name: &str) -> bool {
        let has_outlet = |plugin: &bundled::Bundled| {
            plugin.manifest().is_ok_and(|manifest| {
                let Capabilities { directories, addresses, .. } = &manifest.capabilities;
                !directories.is_empty() || !addresses.is_empty()
            })
        };
        self.is_loaded(name) || bundled::find(name).is_some_and(has_outlet)
    }

    /// Takes the plugin `name`, or its stand-in, away from `kernel`.
    pub(crate) fn unload(&self, name: &str, kernel: &Kernel) -> KernelResult<bool> {
        let was_there = match self.host() {
            Some(host) => host.unload(name, kernel)?,
            None => false,
        };
        if let Plugins::OnDemand(bundled) = self
            && bundled::find(name).is_some()
        {
            kernel.plugins().unregister(name);
            bundled.codecs.lock().values_mut().for_each(|codecs| {
                codecs.remove(name);
            });
            bundled.options.programs.indexes().unregister(name);
            return Ok(true);
        }
        Ok(was_there)
    }

    /// The host, needed now.
    pub(crate) fn load(&self) -> KernelResult<&Arc<PluginHost>> {
        match self {
            Plugins::OnDemand(bundled) => Ok(&bundled.load()?.0),
            Plugins::Loaded(host) => Ok(host),
        }
    }
}

/// The host, once somebody needed it, and those of the bundled plugins that somebody needed.
pub(crate) struct Bundled {
    options: HostOptions,
    /// Whether there are any; the host may be needed for others all the same.
    are_wanted: bool,
    host: OnceLock<(Arc<PluginHost>, PluginManager)>,
    /// The names of those that are loaded. Held while loading, so that the others wait instead of loading too.
    loaded: Mutex<BTreeSet<&'static str>>,
    /// The codecs of the tables of each storage plugin, as they were when the database was opened.
    codecs: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Bundled {
    /// Nothing is loaded yet; the host will have these options.
    pub(crate) fn new(options: HostOptions, are_wanted: bool) -> Bundled {
        let (host, loaded, codecs) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Bundled { options, are_wanted, host, loaded, codecs }
    }

    /// Takes note of what the tables of `kernel` need.
    ///
    /// # Errors
    /// Those of reading the catalog.
    pub(crate) fn expect(&self, kernel: &Kernel) -> KernelResult<()> {
        let mut codecs = self.codecs.lock();
        for table in kernel.begin_read()?.tables()? {
            if let (Some(storage), Some(codec)) = (table.options.storage, table.options.codec) {
                codecs.entry(storage).or_default().insert(codec);
            }
        }
        Ok(())
    }

    /// The host, if it was needed so far.
    fn host(&self) -> Option<&Arc<PluginHost>> {
        self.host.get().map(|(host, _)| host)
    }

    /// Loads all plugins, as far as they are not: others may call them.
    fn load(&self) -> KernelResult<&(Arc<PluginHost>, PluginManager)> {
        self.load_those(|_| self.are_wanted)
    }

    /// Loads the plugin called `name`, unless it is loaded, and the codecs that it is going to need.
    fn load_one(&self, name: &str) -> KernelResult<&PluginManager> {
        let codecs = self.codecs.lock().get(name).cloned().unwrap_or_default();
        let wanted = |plugin: &str| plugin == name || codecs.contains(plugin);
        self.load_those(wanted).map(|(_, plugins)| plugins)
    }

    fn load_those(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> KernelResult<&(Arc<PluginHost>, PluginManager)> {
        let mut loaded = self.loaded.lock();
        if self.host.get().is_none() {
            let host = PluginHost::with(self.options.clone())?;
            let _ = self.host.set((Arc::new(host), PluginManager::default()));
        }
        let (host, plugins) = self.host.get().expect("set above");
        let mut missing = Vec::new();
        for plugin in bundled::PLUGINS.iter().filter(|plugin| wanted(plugin.name)) {
            if !loaded.contains(plugin.name) && self.options.policy.wakes(&plugin.manifest()?) {
                missing.push(plugin);
            }
        }
        host.load_those_bundled(&missing, plugins)?;
        loaded.extend(missing.iter().map(|plugin| plugin.name));
        Ok(self.host.get().expect("set above"))
    }

    /// Registers a stand-in for every bundled plugin; one that has no trait to stand in for is loaded now.
    ///
    /// # Errors
    /// As loading.
    pub(crate) fn register(self: &Arc<Bundled>, to: &PluginManager) -> KernelResult<()> {
        for plugin in bundled::PLUGINS.iter().filter(|_| self.are_wanted) {
            let manifest = plugin.manifest()?;
            if !self.options.policy.wakes(&manifest) {
                continue;
            }
            let kind = manifest.kind;
            let stand_in = Arc::new(StandIn { bundled: self.clone(), info: info(manifest) });
            match kind {
                PluginKind::Codec => to.register_compression(stand_in),
                PluginKind::Observer => to.register_observability(stand_in),
                PluginKind::Storage => to.register_storage(stand_in),
                PluginKind::Index => self.options.programs.indexes().register(stand_in),
                // Nobody would ask for these, so nobody would load them.
                PluginKind::Hooks | PluginKind::Procedure => self.load().map(drop)?,
            }
        }
        Ok(())
    }
}

fn info(manifest: PluginManifest) -> ExtensionInfo {
    let capabilities = match manifest.kind {
        PluginKind::Codec => vec![ExtensionCapability::Compression],
        PluginKind::Observer => vec![ExtensionCapability::Observability],
        PluginKind::Storage => vec![ExtensionCapability::Storage],
        PluginKind::Index | PluginKind::Hooks | PluginKind::Procedure => Vec::new(),
    };
    ExtensionInfo {
        name: manifest.name,
        version: manifest.version.to_string(),
        description: manifest.description,
        author: manifest.author,
        capabilities,
    }
}

/// What the kernel knows in the place of one bundled plugin.
struct StandIn {
    bundled: Arc<Bundled>,
    info: ExtensionInfo,
}

impl StandIn {
    fn codec(&self) -> KernelResult<Arc<dyn CompressionExtension>> {
        self.bundled.load_one(&self.info.name)?.compression(&self.info.name)
    }

    fn observer(&self) -> KernelResult<Arc<dyn ObservabilityExtension>> {
        let observers = self.bundled.load_one(&self.info.name)?.observers();
        let found = observers.into_iter().find(|observer| observer.info().name == self.info.name);
        Ok(found.expect("registered under the name in its manifest"))
    }

    fn storage(&self) -> KernelResult<Arc<dyn StorageExtension>> {
        self.bundled.load_one(&self.info.name)?.storage(&self.info.name)
    }

    /// Loaded, the plugin has taken the place of its stand-in; only who asked before still has that.
    fn index(&self) -> KernelResult<Arc<dyn IndexExtension>> {
        self.bundled.load_one(&self.info.name)?;
        let found = self.bundled.options.programs.indexes().extension(&self.info.name);
        // Registered under the name in its manifest, it is gone when the database is.
        found.ok_or_else(|| KernelError::Closed("the database was closed".to_owned()))
    }
}

impl IndexExtension for StandIn {
    fn check(&self, index: &IndexDefinition) -> KernelResult<()> {
        self.index()?.check(index)
    }

    fn build(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        parts: Vec<Part>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<SegmentId> {
        self.index()?.build(index, entries, parts, sink)
    }

    fn open(
        &self,
        index: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>> {
        self.index()?.open(index, entries, segment)
    }
}

impl Extension for StandIn {
    fn info(&self) -> ExtensionInfo {
        self.info.clone()
    }

    fn shutdown(&self) -> KernelResult<()> {
        if !self.bundled.loaded.lock().contains(&*self.info.name) {
            return Ok(());
        }
        match self.info.capabilities.first() {
            Some(ExtensionCapability::Compression) => self.codec()?.shutdown(),
            Some(ExtensionCapability::Observability) => self.observer()?.shutdown(),
            Some(_) => self.storage()?.shutdown(),
            None => self.index()?.shutdown(),
        }
    }
}

impl CompressionExtension for StandIn {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        self.codec()?.compress(input)
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        self.codec()?.decompress(input, raw_bytes)
    }
}

impl ObservabilityExtension for StandIn {
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()> {
        self.observer()?.ingest(batch)
    }

    fn render(&self, accept: &str) -> KernelResult<Page> {
        self.observer()?.render(accept)
    }
}

impl StorageExtension for StandIn {
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.storage()?.flush(table, present, run, sink)
    }

    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        self.storage()?.plan_compaction(table, segments)
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.storage()?.merge(table, segments, drop_deleted, sink)
    }

    fn open(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        self.storage()?.open(table, segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use sochdb_kernel::TableOptions;

    fn loaded(db: &Database) -> Vec<&'static str> {
        let Plugins::OnDemand(bundled) = &*db.plugins else {
            panic!("no plugin is from elsewhere")
        };
        bundled.loaded.lock().iter().copied().collect()
    }

    #[test]
    fn a_storage_plugin_brings_the_codecs_of_its_tables_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(directory.path()).unwrap();
        for (table, codec) in [("packed", Some("lz4".to_owned())), ("plain", None)] {
            let storage = Some("lscs".to_owned());
            db.create_table(table, TableOptions { storage, codec, ..TableOptions::default() })
                .unwrap();
            // Too little for a codec to save anything: nobody needs it to read this.
            db.run(|tx| tx.put(table, b"key", b"row")).unwrap();
        }
        db.close().unwrap();
        let db = Database::open(directory.path()).unwrap();
        assert_eq!(loaded(&db), [""; 0], "nobody has asked yet");
        assert_eq!(db.begin_read().unwrap().get("plain", b"key").unwrap().unwrap(), b"row");
        assert_eq!(loaded(&db), ["lscs", "lz4"]);
        db.close().unwrap();
    }
}
