//! `hooks`: a plugin that is asked before rows change, and told after.
//!
//! A decision is a hint until checked: there is one per change, and a delete is not replaced. What a hook
//! sees of the table it is asked about are the changes; to read or write rows it needs the grant.

use super::hooks_bindings::exports::sochdb::plugin::hooks as contract;
use super::hooks_bindings::{Hooks, HooksPre};
use super::{Exports, GuestState};
use crate::plugin::Plugin;
use crate::plugin_hot_reload::trial::programs::{HookCall, HookCalls};
use crate::plugin_manifest::Change as Event;
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use crate::tenant::Tenant;
use crate::transaction::Lent;
use crate::versions::{Version, judged};
use sochdb_encoding::row::Schema;
use sochdb_kernel::limits::VALUE_BYTES_MAX;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_reload::Switch;
use std::sync::{Arc, OnceLock, Weak};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

pub(crate) use contract::{Change, ChangeKind, Decision};

/// What a decision costs on its way back, beside a replacement.
const DECISION_BYTES: usize = 64;

impl Exports for Hooks {
    fn check(component: &InstancePre<GuestState>) -> Result<()> {
        HooksPre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> Result<Self> {
        Hooks::new(store, instance)
    }
}

/// Hooks that run in the sandbox.
///
/// One version of them: a transaction keeps those that it began with.
pub struct WasmHooks {
    pools: Arc<Pools<Hooks>>,
    /// The switch that it is one side of, once it is on trial.
    pub(crate) line: OnceLock<Weak<Switch<WasmHooks>>>,
    /// For versions to come; all versions of a line have the same.
    samples: OnceLock<Arc<HookCalls>>,
}

impl WasmHooks {
    pub(crate) fn new(pools: Arc<Pools<Hooks>>) -> WasmHooks {
        WasmHooks { pools, line: OnceLock::new(), samples: OnceLock::new() }
    }

    /// Calls of late.
    pub(crate) fn samples(&self) -> &Arc<HookCalls> {
        self.samples.get_or_init(Arc::default)
    }

    /// Makes it a version of `line`.
    pub(crate) fn join(&self, line: &Arc<Switch<WasmHooks>>) {
        let _ = self.line.set(Arc::downgrade(line));
        let _ = self.samples.set(line.usual().samples().clone());
    }

    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        self.pools.plugin()
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.plugin().manifest.name
    }

    pub(crate) fn order(&self) -> i64 {
        self.plugin().grant.hooks.as_ref().map_or(0, |hooks| hooks.wanted.order)
    }

    /// Whether it is asked before such changes of `table`.
    pub(crate) fn hears_before(&self, table: &str, kind: ChangeKind) -> bool {
        self.plugin().grant.hears_before(table, kind.into())
    }

    /// Whether it is told after such changes of `table`.
    pub(crate) fn hears_after(&self, table: &str, kind: ChangeKind) -> bool {
        self.plugin().grant.hears_after(table, kind.into())
    }

    /// Whether it has to do with any change of `table`.
    pub(crate) fn watches(&self, table: &str) -> bool {
        let hears = |kind| self.hears_before(table, kind) || self.hears_after(table, kind);
        [ChangeKind::Insert, ChangeKind::Update, ChangeKind::Delete].into_iter().any(hears)
    }

    /// Asks about `changes` of `table`; answers one decision for each.
    pub(crate) fn before(
        &self,
        tenant: Option<Arc<Tenant>>,
        lent: &Lent,
        writes: bool,
        table: &Arc<str>,
        schema: Option<Arc<Schema>>,
        changes: &[Change],
    ) -> KernelResult<Vec<Decision>> {
        let values = changes.iter().map(|change| change.new.as_ref().map_or(0, Vec::len));
        // Replacements may be larger than what they replace, up to one value of the largest size.
        let bytes_max =
            2 * values.sum::<usize>() + VALUE_BYTES_MAX + changes.len() * DECISION_BYTES;
        let terms = Terms { tenant, object: table.into(), ..Terms::reading(bytes_max) };
        let of_table = schema.clone();
        let answer = self.pools.call_on(&terms, "before", |call| {
            Self::in_transaction(call, lent, writes, table, schema, |hooks, store, tx, table| {
                hooks.sochdb_plugin_hooks().call_before(store, tx, table, changes)
            })
        });
        let decisions = answer.and_then(|decisions| self.checked(decisions, table, changes));
        if decisions.is_ok() && self.samples().before.wants(bytes_of(changes)) {
            let call = sample(&terms, writes, table, of_table, changes);
            self.samples().before.keep(call);
        }
        decisions.map_err(|error| self.judged("before", error))
    }

    fn checked(
        &self,
        decisions: Vec<Decision>,
        table: &str,
        changes: &[Change],
    ) -> KernelResult<Vec<Decision>> {
        let replaces_delete = |(decision, change): (&Decision, &Change)| {
            matches!(decision, Decision::Replace(_)) && change.new.is_none()
        };
        let changes_rows =
            |decision: &Decision| matches!(decision, Decision::Replace(_) | Decision::Skip);
        if decisions.iter().any(changes_rows) && !self.plugin().grant.may_replace(table) {
            let text =
                format!("before: replacing and skipping in the table '{table}' was not granted");
            return Err(KernelError::plugin(self.name(), PluginFault::Denied, text));
        }
        let wrong = if decisions.len() != changes.len() {
            format!("{} decisions about {} changes", decisions.len(), changes.len())
        } else if decisions.iter().zip(changes).any(replaces_delete) {
            "a delete cannot be replaced".to_owned()
        } else {
            return Ok(decisions.into_iter().map(cleaned).collect());
        };
        Err(KernelError::plugin(self.name(), PluginFault::Lied, format!("before: {wrong}")))
    }

    /// Tells of `changes` of `table` that were committed.
    pub(crate) fn after(
        &self,
        tenant: Option<Arc<Tenant>>,
        lent: &Lent,
        table: &Arc<str>,
        schema: Option<Arc<Schema>>,
        changes: &[Change],
    ) -> KernelResult<()> {
        let terms = Terms { tenant, object: table.into(), ..Terms::reading(0) };
        let of_table = schema.clone();
        let told = self.pools.call_on(&terms, "after", |call| {
            Self::in_transaction(call, lent, false, table, schema, |hooks, store, tx, table| {
                hooks.sochdb_plugin_hooks().call_after(store, tx, table, changes)
            })
        });
        if told.is_ok() && self.samples().after.wants(bytes_of(changes)) {
            let call = sample(&terms, false, table, of_table, changes);
            self.samples().after.keep(call);
        }
        told.map_err(|error| self.judged("after", error))
    }

    fn judged(&self, function: &str, error: KernelError) -> KernelError {
        judged(self, &self.line, function, error)
    }

    /// Hands a guest the transaction and the table for one call.
    fn in_transaction<R>(
        call: &mut Call<'_, Hooks>,
        lent: &Lent,
        writes: bool,
        table: &Arc<str>,
        schema: Option<Arc<Schema>>,
        work: impl FnOnce(
            &Hooks,
            &mut Store<GuestState>,
            wasmtime::component::Resource<contract::Transaction>,
            wasmtime::component::Resource<contract::Table>,
        ) -> Result<R>,
    ) -> Result<R> {
        let state = call.store.data_mut();
        let grant = state.plugin.grant.clone();
        let tx = state.rows.begin(lent.clone(), writes)?;
        let (may_read, may_write) = (grant.may_read(table), grant.may_write(table));
        let table = state.rows.lend_table(table, schema, may_read, may_write)?;
        let answer = work(call.exports, call.store, tx, table);
        call.store.data_mut().rows.end();
        answer
    }
}

impl Version for WasmHooks {
    type Exports = Hooks;
    const IS_OF_TRANSACTIONS: bool = true;

    fn pools(&self) -> &Pools<Hooks> {
        &self.pools
    }
}

fn bytes_of(changes: &[Change]) -> usize {
    let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
    changes.iter().map(|change| change.key.len() + len(&change.old) + len(&change.new)).sum()
}

fn sample(
    terms: &Terms,
    writes: bool,
    table: &Arc<str>,
    schema: Option<Arc<Schema>>,
    changes: &[Change],
) -> HookCall {
    let tenant = terms.tenant.as_ref().map(|tenant| tenant.name().to_owned());
    HookCall { tenant, writes, table: table.clone(), schema, changes: changes.to_vec() }
}

fn cleaned(decision: Decision) -> Decision {
    match decision {
        Decision::Abort(reason) => Decision::Abort(super::clean(&reason)),
        other => other,
    }
}

impl From<ChangeKind> for Event {
    fn from(kind: ChangeKind) -> Event {
        match kind {
            ChangeKind::Insert => Event::Insert,
            ChangeKind::Update => Event::Update,
            ChangeKind::Delete => Event::Delete,
        }
    }
}
