//! `plugins`: procedures of other plugins, in the caller's transaction.
//!
//! The callee has its own rights, and of the caller's only the transaction: where the caller only reads,
//! so does the callee. Its fuel and its time are also the caller's.

use super::base_bindings::sochdb::plugin::plugins as contract;
use super::base_bindings::sochdb::plugin::rows;
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge};
use sochdb_kernel::KernelError;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};

impl contract::Host for &mut GuestState {}

impl<T> contract::HostWithStore<T> for Host {
    fn call_plugin(
        host: Access<'_, T, Self>,
        tx: Resource<rows::Transaction>,
        plugin: String,
        procedure: String,
        args: String,
    ) -> Result<std::result::Result<String, GuestError>> {
        audited(host, "plugins.call-plugin", |host| {
            charge(host, plugin.len() + procedure.len() + args.len())?;
            let state = host.get();
            state.audit.about(format!("{plugin}.{procedure}").as_str());
            let (lent, writes) = state.rows.lent_for(tx.rep())?;
            if !state.plugin.grant.may_call(&plugin) {
                let text =
                    format!("calling the plugin '{}' was not granted", super::clean(&plugin));
                return Ok(Err(GuestError::answer(code::DENIED, text)));
            }
            let answer = lent.with(|tx| tx.call_plugin(&plugin, &procedure, &args, writes));
            // A callee's failure is for the caller to handle, unless the transaction itself is lost.
            let answer = match answer {
                Err(error @ KernelError::Plugin { .. }) => Err(GuestError::of(&error).0),
                other => state.answer(other),
            };
            charge(host, answer.as_ref().map_or(0, String::len))?;
            Ok(answer)
        })
    }
}
