//! What a database knows a plugin by: one adapter for each kind, behind which versions come and go.
//!
//! Two adapters of one kind can be a pair: the one that serves, and the one of a version that is to take its place.
//! The version moves into the adapter that serves; the other is let go.

use crate::plugin::Plugin;
use crate::plugin_hot_reload::trial;
use crate::programs::Programs;
use crate::versions::Version;
use crate::wasm_host_abi::{
    WasmCodec, WasmHooks, WasmIndex, WasmObserver, WasmProcedures, WasmStorage,
};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::{Kernel, KernelResult};
use sochdb_reload::{Switch, WHOLE};
use std::sync::Arc;

/// Instances that are made ready before a version serves.
const WARM_MAX: u32 = 8;

#[derive(Clone)]
pub(crate) enum Adapter {
    Codec(Arc<WasmCodec>),
    Observer(Arc<WasmObserver>),
    Storage(Arc<WasmStorage>),
    Hooks(Arc<Switch<WasmHooks>>),
    Procedures(Arc<Switch<WasmProcedures>>),
    Index(Arc<WasmIndex>),
}

/// The switch of an adapter, of whatever kind.
macro_rules! switch {
    ($adapter:expr, |$switch:ident| $body:expr) => {
        match $adapter {
            Adapter::Codec(codec) => {
                let $switch = &codec.versions.switch;
                $body
            }
            Adapter::Observer(observer) => {
                let $switch = &observer.versions.switch;
                $body
            }
            Adapter::Storage(storage) => {
                let $switch = &storage.versions.switch;
                $body
            }
            Adapter::Index(index) => {
                let $switch = &index.versions.switch;
                $body
            }
            Adapter::Hooks(hooks) => {
                let $switch = &**hooks;
                $body
            }
            Adapter::Procedures(program) => {
                let $switch = &**program;
                $body
            }
        }
    };
}

/// The switch of the adapter that serves, and the version of the one that is to.
macro_rules! pair {
    ($old:expr, $new:expr, |$switch:ident, $version:ident| $body:expr) => {
        match ($old, $new) {
            (Adapter::Codec(old), Adapter::Codec(new)) => {
                let ($switch, $version) = (&old.versions.switch, &new.versions.switch.usual());
                $body
            }
            (Adapter::Observer(old), Adapter::Observer(new)) => {
                let ($switch, $version) = (&old.versions.switch, &new.versions.switch.usual());
                $body
            }
            (Adapter::Storage(old), Adapter::Storage(new)) => {
                let ($switch, $version) = (&old.versions.switch, &new.versions.switch.usual());
                $body
            }
            (Adapter::Index(old), Adapter::Index(new)) => {
                let ($switch, $version) = (&old.versions.switch, &new.versions.switch.usual());
                $body
            }
            (Adapter::Hooks(old), Adapter::Hooks(new)) => {
                let ($switch, $version) = (&**old, &new.usual());
                $version.join(old);
                $body
            }
            (Adapter::Procedures(old), Adapter::Procedures(new)) => {
                let ($switch, $version) = (&**old, &new.usual());
                $version.join(old);
                $body
            }
            _ => unreachable!("a version is of the kind of the one whose place it takes"),
        }
    };
}

impl Adapter {
    /// Lets a database call it.
    pub(crate) fn register(&self, name: &str, manager: &PluginManager, programs: &Programs) {
        match self.clone() {
            Adapter::Codec(codec) => {
                programs.add_codec(name, &codec);
                manager.register_compression(codec);
            }
            Adapter::Observer(observer) => manager.register_observability(observer),
            Adapter::Storage(storage) => manager.register_storage(storage),
            Adapter::Hooks(hooks) => programs.add_hooks(name, hooks),
            Adapter::Procedures(program) => programs.add_procedures(name, program),
            Adapter::Index(index) => programs.indexes().register(index),
        }
    }

    /// Lets a database call it no longer.
    pub(crate) fn unregister(&self, name: &str, manager: &PluginManager, programs: &Programs) {
        match self {
            Adapter::Codec(_) | Adapter::Observer(_) | Adapter::Storage(_) => {
                manager.unregister(name);
                programs.remove(name);
            }
            Adapter::Hooks(_) | Adapter::Procedures(_) => programs.remove(name),
            Adapter::Index(_) => programs.indexes().unregister(name),
        }
    }

    /// Ends all its versions; calls in flight end on them.
    pub(crate) fn shutdown(&self) {
        switch!(self, |switch| {
            end(&*switch.usual());
            if let Some((trial, _)) = switch.trial() {
                end(&*trial);
            }
        });
    }

    /// The version that serves most calls.
    pub(crate) fn leading(&self) -> Arc<Plugin> {
        switch!(self, |switch| switch.leading().pools().plugin().clone())
    }

    /// Calls that the usual version works on.
    pub(crate) fn calls_now(&self) -> u32 {
        switch!(self, |switch| switch.usual().pools().calls_now())
    }

    /// Whether it can serve `kernel`, as far as that shows without another version.
    ///
    /// # Errors
    /// As [`trial::opens`].
    pub(crate) fn check_tables(&self, kernel: &Kernel) -> KernelResult<()> {
        trial::opens(self, kernel)
    }

    /// Gives the version of `new` a share of the calls; `false` when another one is on trial.
    pub(crate) fn begin(&self, new: &Adapter, share: u16) -> bool {
        pair!(self, new, |switch, version| {
            let mut has_begun = false;
            let plugin = version.pools().plugin();
            plugin.turn(&mut || has_begun = switch.begin(version, share));
            has_begun
        })
    }

    /// Whether the version of `new` is on trial, and with which share.
    pub(crate) fn share_of(&self, new: &Adapter) -> Option<u16> {
        pair!(self, new, |switch, version| {
            let (trial, share) = switch.trial()?;
            Arc::ptr_eq(&trial, version).then_some(share)
        })
    }

    /// Makes the version of `new` the usual one and ends the one before; `false` when it was not on trial any more.
    pub(crate) fn keep(&self, new: &Adapter) -> bool {
        pair!(self, new, |switch, version| {
            let mut old = None;
            version.pools().plugin().turn(&mut || old = switch.keep(version));
            if let Some(old) = &old {
                end(&**old);
            }
            old.is_some()
        })
    }

    /// Ends the trial of the version of `new`, and the version, whether or not it was on trial.
    pub(crate) fn drop_trial(&self, new: &Adapter) {
        pair!(self, new, |switch, version| {
            switch.usual().pools().take_back();
            let plugin = version.pools().plugin();
            plugin.turn(&mut || {
                switch.drop_trial(version);
            });
            end(&**version);
        });
    }

    /// Installs the version of `new` without a trial, and ends the one before.
    pub(crate) fn replace(&self, new: &Adapter) {
        pair!(self, new, |switch, version| {
            let (old, trial) = switch.replace(version.clone());
            end(&*old);
            if let Some(trial) = trial {
                end(&*trial);
            }
        });
    }

    /// Has the version of `new` serve every call. Of a plugin with one instance, that one's knowledge is handed over
    /// while its callers wait; of others, instances are ready before.
    ///
    /// # Errors
    /// What an instance ended with; then nothing has changed.
    pub(crate) fn swap(&self, new: &Adapter) -> KernelResult<Swapped> {
        pair!(self, new, |switch, version| {
            let (old, new) = (switch.usual(), version.pools());
            let mut has_begun = false;
            let mut turn = || new.plugin().turn(&mut || has_begun = switch.begin(version, WHOLE));
            let is_alone = |pools: &Plugin| pools.grant.limits.instances_max == 1;
            let (state_bytes, lost) = match is_alone(old.pools().plugin()) && is_alone(new.plugin())
            {
                true => old.pools().hand_over(new, &mut turn)?,
                false => {
                    new.warm(old.pools().instances().min(WARM_MAX))?;
                    turn();
                    (0, 0)
                }
            };
            Ok(Swapped { state_bytes, lost, has_begun })
        })
    }
}

/// How a swap went.
pub(crate) struct Swapped {
    /// What was handed over.
    pub(crate) state_bytes: u64,
    /// Instances whose knowledge was lost, because they failed when they were asked for it.
    pub(crate) lost: u64,
    /// Whether the new version serves; not if somebody else's is on trial.
    pub(crate) has_begun: bool,
}

/// Ends the instances of a version that serves no longer; working ones end with their calls. What transactions
/// began with ends with the last of them.
fn end<V: Version>(version: &V) {
    if V::IS_OF_TRANSACTIONS {
        return;
    }
    let pools = version.pools();
    if let Err(error) = pools.shutdown() {
        let plugin = &pools.plugin().manifest.name;
        tracing::warn!(target: "sochdb::plugin", plugin, %error, "the replaced version did not end well");
    }
}
