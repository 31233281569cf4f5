//! The hooks and procedures of a database: who is called at which writes, and by which name.
//!
//! A set never changes; whoever adds or replaces a plugin installs a new set. A transaction keeps the set
//! it began with, so it works with one version of each plugin from its first write to its last. While a version has
//! a share of the calls on trial, it is transactions that are shared out, each with a set of its own; else each thread
//! has one for its transactions ([`Spread`]).

use crate::indexes::Indexes;
use crate::spread::Spread;
use crate::tenant::Tenant;
use crate::timings::Timings;
use crate::wasm_host_abi::{ProcedureInfo, WasmCodec, WasmHooks, WasmProcedures};
use parking_lot::{RwLock, RwLockWriteGuard};
use sochdb_index::IndexEngine;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_observability::Telemetry;
use sochdb_reload::Switch;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Hooks, procedures and codecs that plugins may be called by, and the indexes of tables. Shared by a database
/// and its host.
pub struct Programs {
    now: RwLock<Now>,
    /// The set of it that the next transaction gets; `None` while each gets one of its own.
    sets: Spread<Option<Arc<ProgramSet>>>,
    codecs: RwLock<BTreeMap<String, Weak<WasmCodec>>>,
    indexes: Arc<Indexes>,
}

/// While this lives, transactions of this database wait with their commits.
pub struct Alone<'a>(
    #[expect(dead_code, reason = "held, not looked at")] Vec<RwLockWriteGuard<'a, ()>>,
);

/// What there is.
#[derive(Default)]
struct Now {
    hooks: BTreeMap<String, Arc<Switch<WasmHooks>>>,
    procedures: BTreeMap<String, Arc<Switch<WasmProcedures>>>,
    timings: Arc<Timings>,
}

impl Now {
    /// The set of whom a transaction that begins now is served by.
    fn draw(&self, indexes: &Arc<Indexes>) -> ProgramSet {
        let mut hooks: Vec<_> = self.hooks.values().map(|line| line.pick().version).collect();
        hooks.sort_by(|a, b| (a.order(), a.name()).cmp(&(b.order(), b.name())));
        let procedures = self.procedures.iter();
        let procedures = procedures.map(|(name, line)| (name.clone(), line.pick().version));
        let (procedures, timings) = (procedures.collect(), self.timings.clone());
        ProgramSet { hooks, procedures, timings, indexes: indexes.clone() }
    }

    /// Whether something is on trial, so that each transaction gets a set of its own.
    fn is_on_trial(&self) -> bool {
        let hooks = self.hooks.values().any(|line| line.trial().is_some());
        hooks || self.procedures.values().any(|line| line.trial().is_some())
    }
}

/// The hooks and procedures at one moment, and what else transactions work with. Each thread's is counted in a cache line
/// of its own.
#[derive(Clone)]
#[repr(align(128))]
pub(crate) struct ProgramSet {
    /// In the order in which they are asked.
    pub(crate) hooks: Vec<Arc<WasmHooks>>,
    procedures: BTreeMap<String, Arc<WasmProcedures>>,
    /// How long commits and searches take.
    pub(crate) timings: Arc<Timings>,
    pub(crate) indexes: Arc<Indexes>,
}

impl Default for Programs {
    fn default() -> Programs {
        let (now, indexes) = (Now::default(), Arc::default());
        let sets = Spread::new(|| Some(Arc::new(now.draw(&indexes))));
        Programs { now: RwLock::new(now), sets, codecs: RwLock::default(), indexes }
    }
}

impl Programs {
    /// Times commits and searches from now on, for `telemetry`.
    pub fn observe(&self, telemetry: &Telemetry) {
        let timings = Timings::new(telemetry);
        self.change(|now| now.timings = timings);
    }

    /// Every procedure, by plugin and name.
    pub fn procedures(&self) -> Vec<(String, ProcedureInfo)> {
        let set = self.now();
        let of = |(plugin, program): (&String, &Arc<WasmProcedures>)| {
            let plugin = plugin.clone();
            let each = program.infos().to_vec().into_iter();
            each.map(move |info| (plugin.clone(), info)).collect::<Vec<_>>()
        };
        set.procedures.iter().flat_map(of).collect()
    }

    /// Keeps commits of [`Transaction`](crate::Transaction)s waiting, once those under way are done; `None`
    /// when that takes longer than `patience`. Commits to the kernel itself do not wait.
    ///
    /// For those few who would otherwise run after writers that never rest. Nothing may depend on it for
    /// being right.
    pub fn alone(&self, patience: Duration) -> Option<Alone<'_>> {
        self.indexes.gate.try_write_for(patience).map(Alone)
    }

    /// What keeps the indexes of the database and searches them. Plugins that build indexes are registered with
    /// it.
    pub fn indexes(&self) -> &Arc<IndexEngine> {
        &self.indexes.engine
    }

    /// Runs `change`, which makes, finishes or drops an index, when no [`Transaction`](crate::Transaction) is
    /// committing. Those that began before and have written to its table run again.
    ///
    /// # Errors
    /// What `change` returns.
    pub fn change_indexes<T>(&self, change: impl FnOnce() -> KernelResult<T>) -> KernelResult<T> {
        let _alone = self.indexes.pass(true);
        change()
    }

    pub(crate) fn index_catalog(&self) -> &Indexes {
        &self.indexes
    }

    /// The set of whom a transaction that begins now is served by.
    pub(crate) fn now(&self) -> Arc<ProgramSet> {
        if let Some(set) = &*self.sets.read() {
            return set.clone();
        }
        Arc::new(self.now.read().draw(&self.indexes))
    }

    /// The set of a transaction that nobody serves.
    pub(crate) fn none(&self) -> Arc<ProgramSet> {
        Arc::new(Now::default().draw(&self.indexes))
    }

    /// Turns the switch of hooks or procedures, while no transaction begins: those that begin later see it turned.
    pub(crate) fn turn(&self, turn: &mut dyn FnMut()) {
        self.change(|_| turn());
    }

    pub(crate) fn add_hooks(&self, name: &str, hooks: Arc<Switch<WasmHooks>>) {
        self.change(|now| drop(now.hooks.insert(name.to_owned(), hooks)));
    }

    pub(crate) fn add_procedures(&self, name: &str, programs: Arc<Switch<WasmProcedures>>) {
        self.change(|now| drop(now.procedures.insert(name.to_owned(), programs)));
    }

    /// Takes the hooks, procedures or codec of the plugin `name` away.
    pub(crate) fn remove(&self, name: &str) {
        self.codecs.write().remove(name);
        self.change(|now| {
            now.hooks.remove(name);
            now.procedures.remove(name);
        });
    }

    pub(crate) fn add_codec(&self, name: &str, codec: &Arc<WasmCodec>) {
        self.codecs.write().insert(name.to_owned(), Arc::downgrade(codec));
    }

    /// The codec called `name`, for plugins that were granted it.
    pub(crate) fn codec(&self, name: &str) -> KernelResult<Arc<WasmCodec>> {
        let found = self.codecs.read().get(name).and_then(Weak::upgrade);
        found.ok_or_else(|| KernelError::NotFound { kind: "codec", name: name.to_owned() })
    }

    fn change(&self, f: impl FnOnce(&mut Now)) {
        let mut now = self.now.write();
        let sets = self.sets.write();
        f(&mut now);
        let set = (!now.is_on_trial()).then(|| now.draw(&self.indexes));
        for mut copy in sets {
            *copy = set.clone().map(Arc::new);
        }
    }
}

/// Whether a plugin serves transactions of this tenant, or of none.
fn serves(tenant: Option<&Tenant>, plugin: &str) -> bool {
    tenant.is_none_or(|tenant| tenant.has_plugin(plugin))
}

impl ProgramSet {
    /// Who is asked at writes to `table`.
    pub(crate) fn hooks_of(&self, tenant: Option<&Tenant>, table: &str) -> Vec<Arc<WasmHooks>> {
        let wanted = |hooks: &&Arc<WasmHooks>| serves(tenant, hooks.name()) && hooks.watches(table);
        self.hooks.iter().filter(wanted).cloned().collect()
    }

    /// The plugin called `plugin`, if it has procedures and serves this tenant.
    pub(crate) fn procedures(
        &self,
        tenant: Option<&Tenant>,
        plugin: &str,
    ) -> KernelResult<Arc<WasmProcedures>> {
        let found = self.procedures.get(plugin).filter(|_| serves(tenant, plugin)).cloned();
        found.ok_or_else(|| {
            let text = "no plugin of this name has procedures here";
            KernelError::plugin(plugin, PluginFault::Missing, text)
        })
    }

    /// Plugin and procedure that are meant by `plugin.procedure`, or by `procedure` where only one plugin
    /// has it.
    ///
    /// # Errors
    /// `NotFound` when nobody has it, `Invalid` when several have.
    pub(crate) fn find(
        &self,
        tenant: Option<&Tenant>,
        name: &str,
    ) -> KernelResult<(String, String)> {
        if let Some((plugin, procedure)) = name.split_once('.') {
            return Ok((plugin.to_owned(), procedure.to_owned()));
        }
        let has = |(plugin, program): &(&String, &Arc<WasmProcedures>)| {
            serves(tenant, plugin) && program.find(name).is_ok()
        };
        let found: Vec<_> = self.procedures.iter().filter(has).map(|(plugin, _)| plugin).collect();
        match found.as_slice() {
            [] => Err(KernelError::NotFound { kind: "procedure", name: name.to_owned() }),
            [plugin] => Ok(((*plugin).clone(), name.to_owned())),
            several => {
                let names: Vec<_> =
                    several.iter().map(|plugin| format!("{plugin}.{name}")).collect();
                let text = format!(
                    "several plugins have a procedure '{name}': say {}",
                    names.join(" or ")
                );
                Err(KernelError::invalid(text))
            }
        }
    }
}
