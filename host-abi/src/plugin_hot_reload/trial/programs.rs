//! The trial of hooks and procedures: calls of late, asked again in a transaction that is never committed.
//!
//! Both versions see the same snapshot, one after the other: what the first has written is undone before the second
//! is asked. No other plugin's hooks are called about what they write. What a plugin answers is its own business,
//! so another answer is only noted; but it must answer.

use super::Trial;
use super::samples::Samples;
use crate::plugin::Plugin;
use crate::tenant::Tenant;
use crate::transaction::Transaction;
use crate::wasm_host_abi::{Change, Decision, WasmHooks, WasmProcedures};
use sochdb_encoding::row::Schema;
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use std::sync::Arc;

/// A hook that was called.
pub(crate) struct HookCall {
    /// Whom it worked for.
    pub(crate) tenant: Option<String>,
    pub(crate) writes: bool,
    pub(crate) table: Arc<str>,
    pub(crate) schema: Option<Arc<Schema>>,
    pub(crate) changes: Vec<Change>,
}

/// The calls of late of some hooks.
#[derive(Default)]
pub(crate) struct HookCalls {
    pub(crate) before: Samples<HookCall>,
    pub(crate) after: Samples<HookCall>,
}

/// A procedure that was called.
pub(crate) struct ProcedureCall {
    /// Whom it worked for.
    pub(crate) tenant: Option<String>,
    /// Whether its caller let it write.
    pub(crate) writes: bool,
    pub(crate) name: String,
    pub(crate) args: String,
}

/// Tries new hooks beside the old ones.
pub(super) fn try_hooks(
    trial: &mut Trial,
    kernel: &Kernel,
    calls: &HookCalls,
    old: &WasmHooks,
    new: &WasmHooks,
) -> KernelResult<()> {
    for call in calls.before.list(trial.samples) {
        let Some(mut place) = Place::of(kernel, old.plugin(), call.tenant.as_deref())? else {
            continue;
        };
        let HookCall { writes, table, schema, changes, .. } = &*call;
        let what = format!("a call of 'before' about {} changes of '{table}'", changes.len());
        let answers = place.ask_both(trial, &what, |tenant, place, is_new| {
            let hooks = if is_new { new } else { old };
            place.lend_and_undo(|lent| {
                hooks.before(tenant, lent, *writes, table, schema.clone(), changes)
            })
        })?;
        if let Some((old, new)) = answers {
            let mut pairs = old.iter().zip(&new);
            if old.len() != new.len() || !pairs.all(|(old, new)| is_same(old, new)) {
                trial.differs(what);
            }
        }
    }
    for call in calls.after.list(trial.samples) {
        let Some(mut place) = Place::of(kernel, old.plugin(), call.tenant.as_deref())? else {
            continue;
        };
        let HookCall { table, schema, changes, .. } = &*call;
        let what = format!("a call of 'after' about {} changes of '{table}'", changes.len());
        place.ask_both(trial, &what, |tenant, place, is_new| {
            let hooks = if is_new { new } else { old };
            place.lend_and_undo(|lent| hooks.after(tenant, lent, table, schema.clone(), changes))
        })?;
    }
    Ok(())
}

/// Tries new procedures beside the old ones.
pub(super) fn try_procedures(
    trial: &mut Trial,
    kernel: &Kernel,
    calls: &Samples<ProcedureCall>,
    old: &WasmProcedures,
    new: &WasmProcedures,
) -> KernelResult<()> {
    for info in old.infos() {
        if new.find(&info.name).is_err() {
            trial.differs(format!("the procedure '{}' is gone", info.name));
        }
    }
    for call in calls.list(trial.samples) {
        let ProcedureCall { tenant, writes, name, args } = &*call;
        let (Ok(before), Ok(after)) = (old.find(name), new.find(name)) else { continue };
        let Some(mut place) = Place::of(kernel, old.plugin(), tenant.as_deref())? else {
            continue;
        };
        let what = format!("a call of '{name}'");
        let answers = place.ask_both(trial, &what, |tenant, place, is_new| {
            let (program, info) = if is_new { (new, after) } else { (old, before) };
            let writes = *writes && !info.read_only;
            place.lend_and_undo(|lent| program.call(tenant, lent, writes, name, args))
        })?;
        if let Some((old, new)) = answers
            && old != new
        {
            trial.differs(what);
        }
    }
    Ok(())
}

/// Where a call is made again: a transaction that ends with this, of whom the call worked for.
struct Place {
    tx: Transaction,
    tenant: Option<Arc<Tenant>>,
}

impl Place {
    /// `None` when the tenant is gone.
    fn of(kernel: &Kernel, plugin: &Plugin, tenant: Option<&str>) -> KernelResult<Option<Place>> {
        let found = tenant.map(|name| plugin.tenants.get(name));
        let (Some(programs), None | Some(Some(_))) = (plugin.programs.upgrade(), &found) else {
            return Ok(None);
        };
        let tenant = found.flatten();
        let tx = Transaction::apart(kernel, &programs, tenant.as_ref())?;
        Ok(Some(Place { tx, tenant }))
    }

    /// Asks both versions; the answers, if both have some.
    fn ask_both<T>(
        &mut self,
        trial: &mut Trial,
        what: &str,
        ask: impl Fn(Option<Arc<Tenant>>, &mut Transaction, bool) -> KernelResult<T>,
    ) -> KernelResult<Option<(T, T)>> {
        let Place { tx, tenant } = self;
        let Ok(old) = ask(tenant.clone(), tx, false) else { return Ok(None) };
        trial.report.replayed += 1;
        match ask(tenant.clone(), tx, true) {
            Ok(new) => Ok(Some((old, new))),
            Err(error) if is_broken(&error) => Err(trial.failed(what, error)),
            Err(error) => {
                trial.differs(format!("{what}: {error}"));
                Ok(None)
            }
        }
    }
}

/// Whether no plugin may end so, whatever its business.
fn is_broken(error: &KernelError) -> bool {
    matches!(
        error,
        KernelError::Plugin {
            fault: PluginFault::Trapped
                | PluginFault::Exhausted
                | PluginFault::Lied
                | PluginFault::Denied
                | PluginFault::Quarantined,
            ..
        }
    )
}

fn is_same(one: &Decision, other: &Decision) -> bool {
    match (one, other) {
        (Decision::Continue, Decision::Continue) | (Decision::Skip, Decision::Skip) => true,
        (Decision::Replace(one), Decision::Replace(other)) => one == other,
        (Decision::Abort(one), Decision::Abort(other)) => one == other,
        _ => false,
    }
}
