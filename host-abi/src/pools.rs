//! The pools of one plugin: one for each tenant it works for, and one for whoever is no tenant.
//!
//! An instance has seen the rows of whom it worked for, and a guest may keep what it sees. So an instance
//! works for one tenant as long as it lives, and each tenant has all of the plugin's `max_instances`: one that
//! keeps its own busy makes no other one wait. What a plugin was granted cannot change under an instance
//! either, because a plugin that is loaded again has pools of its own.
//!
//! A tenant's pool is made by its first call. It goes when the tenant is removed, or when more than
//! [`TENANT_POOLS_MAX`] have one and it is the one that was unused for the longest time; its instances then
//! end with the calls that still run in them.

use crate::capability;
use crate::chain::{self, Caller};
use crate::limits::TENANT_POOLS_MAX;
use crate::plugin::Plugin;
use crate::pool::{Call, Exported, Knowledge, Pool, Terms};
use crate::tenant::{Holder, Tenant};
use crate::wasm_host_abi::{Exports, GuestError, GuestState, Lifecycle};
use parking_lot::RwLock;
use sochdb_kernel::{KernelError, KernelResult};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use wasmtime::component::InstancePre;

/// The instances of one plugin.
pub(crate) struct Pools<E: Exports> {
    plugin: Arc<Plugin>,
    component: InstancePre<GuestState>,
    /// For whoever is no tenant.
    host: Arc<Pool<E>>,
    tenants: RwLock<OfTenants<E>>,
}

struct OfTenants<E: Exports> {
    pools: HashMap<String, Arc<Pool<E>>>,
    closed: bool,
}

impl<E: Exports> Pools<E> {
    /// Pools without instances. Nothing of the guest runs yet.
    ///
    /// # Errors
    /// `Invalid` when an import or export of the component has another shape than the contract.
    pub(crate) fn new(plugin: Arc<Plugin>) -> KernelResult<Arc<Pools<E>>> {
        let linker = plugin.runtime.linker();
        let component = linker.instantiate_pre(&plugin.component.code).and_then(|component| {
            Lifecycle::check(&component)?;
            E::check(&component)?;
            Ok(component)
        });
        let component = component.map_err(|error| {
            KernelError::invalid(format!(
                "the component of plugin '{}' does not fit version {} of sochdb:plugin: {error:#}",
                plugin.manifest.name,
                capability::CONTRACT_VERSION
            ))
        })?;
        let host = Arc::new(Pool::new(plugin.clone(), component.clone(), None));
        let tenants = RwLock::new(OfTenants { pools: HashMap::new(), closed: false });
        let pools = Arc::new(Pools { plugin, component, host, tenants });
        let holder: Weak<Pools<E>> = Arc::downgrade(&pools);
        pools.plugin.tenants.tell(holder);
        Ok(pools)
    }

    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Lets an instance work. `function` names what is called in errors and traces; the answer may
    /// have `result_bytes_max` bytes, and a little more for an error's text.
    ///
    /// # Errors
    /// `Plugin`: the guest refused, trapped, exhausted its limits or its tenant's, or is kept from working.
    /// `Closed` after `shutdown`.
    pub(crate) fn call<R>(
        &self,
        function: &'static str,
        result_bytes_max: usize,
        work: impl FnOnce(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
    ) -> KernelResult<R> {
        self.call_on(&Terms::reading(result_bytes_max), function, work)
    }

    /// As [`call`](Self::call), on these terms.
    ///
    /// # Errors
    /// As [`call`](Self::call); and when the guest gave up because the kernel failed it, the kernel's
    /// own error.
    pub(crate) fn call_on<R>(
        &self,
        terms: &Terms,
        function: &'static str,
        work: impl FnOnce(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
    ) -> KernelResult<R> {
        let caller = chain::caller();
        let is_part = |tenant: Option<&Arc<Tenant>>| match &caller {
            Caller::Host => false,
            Caller::Guest(callers) => callers.as_ref().map(Arc::as_ptr) == tenant.map(Arc::as_ptr),
        };
        let tenant = match (&terms.tenant, &caller) {
            (Some(tenant), _) => Some(tenant),
            (None, Caller::Guest(tenant)) if !terms.is_hosts => tenant.as_ref(),
            (None, _) => None,
        };
        match tenant {
            None => self.host.call_on(terms, is_part(None), function, work),
            Some(tenant) => {
                let pool = self.pool_of(tenant)?;
                pool.call_on(terms, is_part(Some(tenant)), function, work)
            }
        }
    }

    /// Runs the plugin's own test on an instance made for it.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn self_test(&self) -> KernelResult<()> {
        self.host.self_test()
    }

    /// Calls that guests work on now.
    pub(crate) fn calls_now(&self) -> u32 {
        self.all().iter().map(|pool| pool.calls_now()).sum()
    }

    /// How many instances there are for whoever is no tenant.
    pub(crate) fn instances(&self) -> u32 {
        self.host.instances()
    }

    /// Makes so many instances ready for whoever is no tenant.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn warm(&self, instances: u32) -> KernelResult<()> {
        (1..=instances).try_for_each(|wanted| self.host.warm(wanted))
    }

    /// Tells the instances of `new` what those of this one would like them to know, and then makes the `turn` that
    /// sends calls there. Calls wait meanwhile, and then go there. Returns how many bytes were told, and how many
    /// instances could tell nothing because they failed.
    ///
    /// # Errors
    /// As [`call`](Self::call); then this one's instances go on.
    pub(crate) fn hand_over(
        &self,
        new: &Pools<E>,
        turn: &mut dyn FnMut(),
    ) -> KernelResult<(u64, u64)> {
        let version = self.plugin.manifest.version.to_string();
        let (pools, mut exported, mut bytes, mut lost) = (self.all(), Vec::new(), 0, 0);
        for pool in &pools {
            match pool.export_state()? {
                Knowledge::None => {}
                Knowledge::Lost => lost += 1,
                Knowledge::Exported(state) => {
                    let to = pool.tenant().map(|tenant| new.pool_of(tenant)).transpose()?;
                    let to = to.as_ref().unwrap_or(&new.host);
                    to.import_state(&state.state, &version)?;
                    bytes += state.state.len() as u64;
                    exported.push(state);
                }
            }
        }
        turn();
        exported.into_iter().for_each(Exported::handed_over);
        Ok((bytes, lost))
    }

    /// Whether later calls get `Closed`: it was shut down, or another version knows what it knew.
    pub(crate) fn has_ended(&self) -> bool {
        self.tenants.read().closed || self.all().iter().any(|pool| pool.has_ended())
    }

    /// What its instances know counts again.
    pub(crate) fn take_back(&self) {
        self.all().iter().for_each(|pool| pool.take_back());
    }

    fn all(&self) -> Vec<Arc<Pool<E>>> {
        let tenants = self.tenants.read();
        [&self.host].into_iter().chain(tenants.pools.values()).cloned().collect()
    }

    /// Ends every idle instance well; working ones are dropped when they come back. Later calls get
    /// `Closed`.
    ///
    /// # Errors
    /// The first that an instance's `shutdown` answered; all are ended nevertheless.
    pub(crate) fn shutdown(&self) -> KernelResult<()> {
        let pools = {
            let mut tenants = self.tenants.write();
            tenants.closed = true;
            std::mem::take(&mut tenants.pools)
        };
        let ends: Vec<_> = [self.host.shutdown()]
            .into_iter()
            .chain(pools.into_values().map(|pool| pool.shutdown()))
            .collect();
        ends.into_iter().collect()
    }

    fn pool_of(&self, tenant: &Arc<Tenant>) -> KernelResult<Arc<Pool<E>>> {
        if let Some(pool) = self.tenants.read().pools.get(tenant.name())
            && pool.works_for(tenant)
        {
            return Ok(pool.clone());
        }
        let mut leaving = None;
        let pool = {
            let mut tenants = self.tenants.write();
            if tenants.closed {
                return Err(self.host.closed());
            }
            if let Some(pool) = tenants.pools.get(tenant.name())
                && pool.works_for(tenant)
            {
                return Ok(pool.clone());
            }
            // Asked under the lock: whoever removes a tenant forgets its pools afterwards.
            if tenant.is_removed() {
                return Err(KernelError::Closed(format!("the tenant '{}'", tenant.name())));
            }
            if TENANT_POOLS_MAX <= tenants.pools.len() {
                let unused = tenants.pools.values().min_by_key(|pool| pool.last_used());
                let unused = unused.and_then(|pool| pool.tenant_name().map(str::to_owned));
                leaving = unused.and_then(|name| tenants.pools.remove(&name));
            }
            let (plugin, component) = (self.plugin.clone(), self.component.clone());
            let pool = Arc::new(Pool::new(plugin, component, Some(tenant.clone())));
            tenants.pools.insert(tenant.name().to_owned(), pool.clone());
            pool
        };
        // Its instances end here, without the lock.
        drop(leaving);
        Ok(pool)
    }
}

impl<E: Exports> Holder for Pools<E> {
    fn shed(&self, tenant: &Tenant) {
        let pool = self.tenants.read().pools.get(tenant.name()).cloned();
        if let Some(pool) = pool {
            pool.shed();
        }
    }

    fn forget(&self, tenant: &Tenant) {
        let pool = self.tenants.write().pools.remove(tenant.name());
        self.plugin.healths.forget(tenant.name());
        drop(pool);
    }
}
