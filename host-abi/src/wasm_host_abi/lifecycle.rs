//! `lifecycle`: what every instance goes through.

use super::base_bindings::{Base, BasePre};
use super::{Exports, GuestError, GuestState};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// The exports that every kind of plugin has.
pub(crate) struct Lifecycle(Base);

impl Lifecycle {
    /// The first call to an instance.
    pub(crate) fn init(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        self.0.sochdb_plugin_lifecycle().call_init(store)
    }

    /// Whether the plugin works at all.
    pub(crate) fn self_test(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        self.0.sochdb_plugin_lifecycle().call_self_test(store)
    }

    /// What the next version's instance should know.
    pub(crate) fn export_state(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<Vec<u8>, GuestError>> {
        self.0.sochdb_plugin_lifecycle().call_export_state(store)
    }

    /// What the instance of the version before should have it know.
    pub(crate) fn import_state(
        &self,
        store: &mut Store<GuestState>,
        state: &[u8],
        version: &str,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        self.0.sochdb_plugin_lifecycle().call_import_state(store, state, version)
    }

    /// The last call to an instance.
    pub(crate) fn shutdown(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        self.0.sochdb_plugin_lifecycle().call_shutdown(store)
    }
}

impl Exports for Lifecycle {
    fn check(component: &InstancePre<GuestState>) -> wasmtime::Result<()> {
        BasePre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<Self> {
        Base::new(store, instance).map(Lifecycle)
    }
}
