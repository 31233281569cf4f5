//! `procedure`: a plugin whose procedures are called by name.
//!
//! What it says about itself is read once, when it is loaded, and checked: names, sizes, and that its
//! schemas are JSON. The arguments are checked by the procedure, under its own fuel: a schema from a
//! stranger can make its checker work without end.

use super::procedure_bindings::exports::sochdb::plugin::procedure as contract;
use super::procedure_bindings::{Procedure, ProcedurePre};
use super::{Exports, GuestState};
use crate::limits::{
    DESCRIBE_BYTES_MAX, PROCEDURE_BYTES_MAX, PROCEDURE_NAME_BYTES_MAX, PROCEDURES_MAX,
};
use crate::plugin::Plugin;
use crate::plugin_hot_reload::trial::programs::ProcedureCall;
use crate::plugin_hot_reload::trial::samples::Samples;
use crate::pool::Terms;
use crate::pools::Pools;
use crate::tenant::Tenant;
use crate::transaction::Lent;
use crate::versions::{Version, judged};
use serde::Serialize;
use serde::de::IgnoredAny;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_reload::Switch;
use std::sync::{Arc, OnceLock, Weak};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

impl Exports for Procedure {
    fn check(component: &InstancePre<GuestState>) -> Result<()> {
        ProcedurePre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> Result<Self> {
        Procedure::new(store, instance)
    }
}

/// One procedure, as its plugin describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcedureInfo {
    /// What it is called; unique in its plugin.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub args_schema: String,
    /// The JSON Schema of its result.
    pub result_schema: String,
    /// Whether it only reads; then writes are refused.
    pub read_only: bool,
}

/// Procedures that run in the sandbox.
///
/// One version of them: a transaction keeps those that it began with.
pub struct WasmProcedures {
    pools: Arc<Pools<Procedure>>,
    infos: Vec<ProcedureInfo>,
    /// The switch that it is one side of, once it is on trial.
    pub(crate) line: OnceLock<Weak<Switch<WasmProcedures>>>,
    /// For versions to come; all versions of a line have the same.
    samples: OnceLock<Arc<Samples<ProcedureCall>>>,
}

impl Version for WasmProcedures {
    type Exports = Procedure;
    const IS_OF_TRANSACTIONS: bool = true;

    fn pools(&self) -> &Pools<Procedure> {
        &self.pools
    }
}

impl WasmProcedures {
    /// Asks the plugin what it has.
    ///
    /// # Errors
    /// As a call; `Plugin` with [`PluginFault::Lied`] when the answer makes no sense.
    pub(crate) fn new(pools: Arc<Pools<Procedure>>) -> KernelResult<WasmProcedures> {
        let infos = pools.call("describe", DESCRIBE_BYTES_MAX, |call| {
            call.exports.sochdb_plugin_procedure().call_describe(&mut *call.store)
        })?;
        let infos = checked(infos).map_err(|why| {
            let name = &pools.plugin().manifest.name;
            KernelError::plugin(name, PluginFault::Lied, format!("describe: {why}"))
        })?;
        Ok(WasmProcedures { pools, infos, line: OnceLock::new(), samples: OnceLock::new() })
    }

    /// Calls of late.
    pub(crate) fn samples(&self) -> &Arc<Samples<ProcedureCall>> {
        self.samples.get_or_init(Arc::default)
    }

    /// Makes it a version of `line`.
    pub(crate) fn join(&self, line: &Arc<Switch<WasmProcedures>>) {
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

    /// What it has, sorted by name.
    pub fn infos(&self) -> &[ProcedureInfo] {
        &self.infos
    }

    /// The procedure called `name`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn find(&self, name: &str) -> KernelResult<&ProcedureInfo> {
        self.infos.iter().find(|info| info.name == name).ok_or_else(|| KernelError::NotFound {
            kind: "procedure",
            name: format!("{}.{name}", self.name()),
        })
    }

    /// Runs `procedure` in the transaction that is lent.
    pub(crate) fn call(
        &self,
        tenant: Option<Arc<Tenant>>,
        lent: &Lent,
        writes: bool,
        procedure: &str,
        args: &str,
    ) -> KernelResult<String> {
        if PROCEDURE_BYTES_MAX < args.len() {
            return Err(KernelError::Limit {
                what: "the bytes of a procedure's arguments",
                got: args.len() as u64,
                bound: PROCEDURE_BYTES_MAX as u64,
            });
        }
        check_json(args).map_err(|why| {
            KernelError::invalid(format!("the arguments of '{procedure}' are no JSON: {why}"))
        })?;
        let object = procedure.into();
        let terms = Terms { tenant, object, ..Terms::reading(PROCEDURE_BYTES_MAX) };
        let answer = self.pools.call_on(&terms, "call", |call| {
            let tx = call.store.data_mut().rows.begin(lent.clone(), writes)?;
            let guest = call.exports.sochdb_plugin_procedure();
            let answer = guest.call_call(&mut *call.store, tx, procedure, args);
            call.store.data_mut().rows.end();
            answer
        });
        let checked = |answer: String| match check_json(&answer) {
            Ok(()) => Ok(answer),
            Err(why) => {
                let message = format!("call: the result of '{procedure}' is no JSON: {why}");
                Err(KernelError::plugin(self.name(), PluginFault::Lied, message))
            }
        };
        let answer = answer.and_then(checked);
        if answer.is_ok() && self.samples().wants(procedure.len() + args.len()) {
            let tenant = terms.tenant.as_ref().map(|tenant| tenant.name().to_owned());
            let (name, args) = (procedure.to_owned(), args.to_owned());
            self.samples().keep(ProcedureCall { tenant, writes, name, args });
        }
        answer.map_err(|error| judged(self, &self.line, "call", error))
    }
}

fn check_json(text: &str) -> std::result::Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text).map(drop)
}

fn checked(infos: Vec<contract::ProcedureInfo>) -> std::result::Result<Vec<ProcedureInfo>, String> {
    if infos.is_empty() || PROCEDURES_MAX < infos.len() {
        return Err(format!("{} procedures; there are 1 to {PROCEDURES_MAX}", infos.len()));
    }
    let mut checked = Vec::with_capacity(infos.len());
    for info in infos {
        let contract::ProcedureInfo { name, description, args_schema, result_schema, read_only } =
            info;
        let shown = super::clean(&name);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins_well || !name.chars().all(allowed) || PROCEDURE_NAME_BYTES_MAX < name.len() {
            return Err(format!("'{shown}' is no name of a procedure"));
        }
        for schema in [&args_schema, &result_schema] {
            if let Err(error) = check_json(schema) {
                return Err(format!("a schema of '{shown}' is no JSON: {error}"));
            }
        }
        let description = super::clean(&description);
        checked.push(ProcedureInfo { name, description, args_schema, result_schema, read_only });
    }
    checked.sort_by(|a, b| a.name.cmp(&b.name));
    match checked.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(format!("two procedures are called '{}'", pair[0].name)),
        None => Ok(checked),
    }
}
