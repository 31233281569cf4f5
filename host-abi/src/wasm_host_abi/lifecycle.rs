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
