//! The instances of one plugin: one store each, bounded, thrown away after any failure.
//!
//! ```text
//!             ┌────────── answered ───────────┐
//!             ▼                               │
//!   wait ─▶ idle instance ─▶ call under fuel and deadline ─▶ failed: store dropped
//!     │  └▶ fresh instance ─▶ init ─▶ call                     │
//!     └─ deadline: Exhausted                     the next call gets a fresh one
//! ```
//!
//! - A trap poisons its whole store, so a store holds one instance and ends with it.
//! - A guest that *answers* an error has not failed: it is used again.
//! - A call has one deadline for waiting, instantiating and working; nothing queues for ever.
//! - The fuel of a call also pays for the instance when it has to be made.
//! - No lock is held while a guest runs.

use crate::capability;
use crate::limits::{HANDLES_PER_STORE_MAX, RESULT_SLACK_BYTES};
use crate::plugin::{Plugin, add};
use crate::wasm_host_abi::{Exports, GuestError, GuestState, Lifecycle, clean};
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

/// What wasmtime says when a result is larger than we let it copy; it has no type for that.
const RESULT_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The instances of one plugin.
pub(crate) struct Pool<E> {
    plugin: Arc<Plugin>,
    component: InstancePre<GuestState>,
    slots: Mutex<Slots<E>>,
    freed: Condvar,
}

struct Slots<E> {
    idle: Vec<Instance<E>>,
    /// Idle and working ones together.
    live: u32,
    closed: bool,
}

struct Instance<E> {
    store: Store<GuestState>,
    lifecycle: Lifecycle,
    exports: E,
}

/// What a call works with.
pub(crate) struct Call<'a, E> {
    pub(crate) exports: &'a E,
    pub(crate) store: &'a mut Store<GuestState>,
    /// Whether this is the instance's first call.
    pub(crate) is_fresh: bool,
}

impl<E: Exports> Pool<E> {
    /// A pool without instances. Nothing of the guest runs yet.
    ///
    /// # Errors
    /// `Invalid` when an import or export of the component has another shape than the contract.
    pub(crate) fn new(plugin: Arc<Plugin>) -> KernelResult<Pool<E>> {
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
        let slots = Mutex::new(Slots { idle: Vec::new(), live: 0, closed: false });
        Ok(Pool { plugin, component, slots, freed: Condvar::new() })
    }

    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Lets an instance work. `function` names what is called in errors and traces; the answer may
    /// have `result_bytes_max` bytes, and a little more for an error's text.
    ///
    /// # Errors
    /// `Plugin`: the guest refused, trapped, or exhausted its limits. `Closed` after `shutdown`.
    pub(crate) fn call<R>(
        &self,
        function: &'static str,
        result_bytes_max: usize,
        work: impl FnOnce(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
    ) -> KernelResult<R> {
        let began = Instant::now();
        let deadline = began + self.plugin.manifest.limits.timeout();
        let instance = self.idle_instance(function, deadline)?;
        let mut slot = Slot { pool: self, instance: None };
        let _running = self.plugin.runtime.running();
        let is_fresh = instance.is_none();
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.start(function, deadline)?,
        };
        if !is_fresh {
            self.grant(&mut instance.store, deadline)
                .map_err(|error| self.engine_failed(&error))?;
        }
        instance.store.set_hostcall_fuel(result_bytes_max.saturating_add(RESULT_SLACK_BYTES));
        let Instance { store, exports, .. } = &mut instance;
        let answer = work(&mut Call { exports, store, is_fresh });
        self.account(function, &instance.store, began);
        match answer {
            Ok(Ok(value)) => {
                slot.instance = Some(instance);
                Ok(value)
            }
            Ok(Err(refused)) => {
                slot.instance = Some(instance);
                add(&self.plugin.usage.refusals, 1);
                Err(self.error(PluginFault::Refused, format!("{function}: {}", refused.shown())))
            }
            Err(error) => Err(self.failed(function, error, &mut instance.store)),
        }
    }

    /// Runs the plugin's own test on an instance made for it.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn self_test(&self) -> KernelResult<()> {
        self.lifecycle_call("self-test", Lifecycle::self_test)
    }

    /// Ends every idle instance well; working ones are dropped when they come back. Later calls get
    /// `Closed`.
    ///
    /// # Errors
    /// The first that an instance's `shutdown` answered; all are ended nevertheless.
    pub(crate) fn shutdown(&self) -> KernelResult<()> {
        let idle = {
            let mut slots = self.slots.lock();
            slots.closed = true;
            slots.live -= slots.idle.len() as u32;
            std::mem::take(&mut slots.idle)
        };
        self.freed.notify_all();
        let _running = self.plugin.runtime.running();
        let ends: Vec<_> = idle.into_iter().map(|instance| self.end(instance)).collect();
        ends.into_iter().collect()
    }

    fn end(&self, mut instance: Instance<E>) -> KernelResult<()> {
        let began = Instant::now();
        let deadline = began + self.plugin.manifest.limits.timeout();
        let store = &mut instance.store;
        self.grant(store, deadline).map_err(|error| self.engine_failed(&error))?;
        store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let answer = instance.lifecycle.shutdown(store);
        self.account("shutdown", store, began);
        self.finish("shutdown", answer, store)
    }

    fn lifecycle_call(
        &self,
        function: &'static str,
        work: impl FnOnce(
            &Lifecycle,
            &mut Store<GuestState>,
        ) -> wasmtime::Result<Result<(), GuestError>>,
    ) -> KernelResult<()> {
        let began = Instant::now();
        let _running = self.plugin.runtime.running();
        let mut instance = self.start(function, began + self.plugin.manifest.limits.timeout())?;
        let answer = work(&instance.lifecycle, &mut instance.store);
        self.account(function, &instance.store, began);
        self.finish(function, answer, &mut instance.store)
    }

    fn finish(
        &self,
        function: &str,
        answer: wasmtime::Result<Result<(), GuestError>>,
        store: &mut Store<GuestState>,
    ) -> KernelResult<()> {
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => {
                add(&self.plugin.usage.refusals, 1);
                Err(self.error(PluginFault::Refused, format!("{function}: {}", refused.shown())))
            }
            Err(error) => Err(self.failed(function, error, store)),
        }
    }

    /// An idle instance, or the right to make one (`None`). Either way a slot is taken.
    fn idle_instance(
        &self,
        function: &str,
        deadline: Instant,
    ) -> KernelResult<Option<Instance<E>>> {
        let mut slots = self.slots.lock();
        loop {
            if slots.closed {
                return Err(KernelError::Closed(format!(
                    "the plugin '{}'",
                    self.plugin.manifest.name
                )));
            }
            if let Some(instance) = slots.idle.pop() {
                return Ok(Some(instance));
            }
            let limits = &self.plugin.manifest.limits;
            if slots.live < limits.instances_max {
                slots.live += 1;
                return Ok(None);
            }
            if self.freed.wait_until(&mut slots, deadline).timed_out() {
                let message = format!(
                    "{function}: all instances ({}) were busy for {} ms; raise max_instances or timeout_ms",
                    limits.instances_max, limits.timeout_ms
                );
                return Err(self.error(PluginFault::Exhausted, message));
            }
        }
    }

    /// Makes an instance, ready for its first call.
    fn start(&self, function: &str, deadline: Instant) -> KernelResult<Instance<E>> {
        add(&self.plugin.usage.instances_started, 1);
        let mut store =
            Store::new(self.plugin.runtime.engine(), GuestState::new(self.plugin.clone()));
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_PER_STORE_MAX);
        store.epoch_deadline_callback(|store| {
            let is_over = store.data().deadline <= Instant::now();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        self.grant(&mut store, deadline).map_err(|error| self.engine_failed(&error))?;
        store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let started = self.component.instantiate(&mut store).and_then(|instance| {
            let lifecycle = Lifecycle::new(&mut store, &instance)?;
            let exports = E::new(&mut store, &instance)?;
            let answer = lifecycle.init(&mut store)?;
            Ok((lifecycle, exports, answer))
        });
        match started {
            Ok((lifecycle, exports, Ok(()))) => Ok(Instance { store, lifecycle, exports }),
            Ok((_, _, Err(refused))) => {
                add(&self.plugin.usage.refusals, 1);
                let message = format!("{function}: its init answered: {}", refused.shown());
                Err(self.error(PluginFault::Refused, message))
            }
            Err(error) => Err(self.failed(function, error, &mut store)),
        }
    }

    /// Gives a call its fuel and its deadline.
    fn grant(&self, store: &mut Store<GuestState>, deadline: Instant) -> wasmtime::Result<()> {
        store.set_fuel(self.plugin.manifest.limits.fuel_max)?;
        store.set_epoch_deadline(1);
        store.data_mut().begin_call(deadline);
        Ok(())
    }

    fn account(&self, function: &str, store: &Store<GuestState>, began: Instant) {
        let limits = &self.plugin.manifest.limits;
        let fuel = limits.fuel_max - store.get_fuel().unwrap_or(0).min(limits.fuel_max);
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let usage = &self.plugin.usage;
        add(&usage.calls, 1);
        add(&usage.fuel, fuel);
        add(&usage.micros, micros);
        tracing::trace!(
            target: "sochdb::plugin",
            plugin = self.plugin.manifest.name,
            function,
            fuel,
            micros,
            "call"
        );
    }

    /// Says whose fault a failed call was. The store is not used again.
    fn failed(
        &self,
        function: &str,
        error: wasmtime::Error,
        store: &mut Store<GuestState>,
    ) -> KernelError {
        add(&self.plugin.usage.failures, 1);
        let limits = &self.plugin.manifest.limits;
        let (fault, why) = match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => {
                (PluginFault::Exhausted, format!("used up its fuel_limit of {}", limits.fuel_max))
            }
            Some(Trap::Interrupt) => (
                PluginFault::Exhausted,
                format!("ran past its timeout_ms of {}", limits.timeout_ms),
            ),
            Some(Trap::StackOverflow) => {
                (PluginFault::Exhausted, "called itself too deeply".to_owned())
            }
            trap if store.data_mut().memory.take_refused() => {
                let mb = limits.memory_bytes_max >> 20;
                let ended =
                    trap.map(|trap| format!(", then ended with: {trap}")).unwrap_or_default();
                (
                    PluginFault::Exhausted,
                    format!("wanted more memory than its memory_limit_mb of {mb}{ended}"),
                )
            }
            Some(trap) => (PluginFault::Trapped, trap.to_string()),
            None if error.root_cause().to_string().contains(RESULT_TOO_LARGE) => (
                PluginFault::Exhausted,
                "carried more bytes across the boundary than it may".to_owned(),
            ),
            None => (PluginFault::Trapped, error.root_cause().to_string()),
        };
        let mut message = format!("{function}: {why}");
        let last_words = store.data_mut().take_standard_error();
        if !last_words.is_empty() {
            message += &format!("; it said: {last_words}");
        }
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            let names: Vec<_> = trace.frames().iter().map(frame_name).collect();
            if !names.is_empty() {
                message += &format!("; in {}", names.join(" < "));
            }
        }
        tracing::warn!(target: "sochdb::plugin", plugin = self.plugin.manifest.name, "{fault}: {message}");
        self.error(fault, message)
    }

    fn error(&self, fault: PluginFault, message: String) -> KernelError {
        KernelError::plugin(&self.plugin.manifest.name, fault, message)
    }

    /// The engine refused something that it never refuses as it is configured.
    fn engine_failed(&self, error: &wasmtime::Error) -> KernelError {
        KernelError::unavailable(format!(
            "run the plugin '{}': {error:#}",
            self.plugin.manifest.name
        ))
    }
}

fn frame_name(frame: &wasmtime::FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => clean(&format!("{:#}", rustc_demangle::demangle(name))),
        None => format!("function {}", frame.func_index()),
    }
}

/// A taken slot: gives the instance back, or its place to a fresh one.
struct Slot<'a, E: Exports> {
    pool: &'a Pool<E>,
    instance: Option<Instance<E>>,
}

impl<E: Exports> Drop for Slot<'_, E> {
    fn drop(&mut self) {
        let mut slots = self.pool.slots.lock();
        let leaving = match self.instance.take() {
            Some(instance) if !slots.closed => {
                slots.idle.push(instance);
                None
            }
            instance => {
                slots.live -= 1;
                instance
            }
        };
        drop(slots);
        self.pool.freed.notify_one();
        if let Some(instance) = leaving
            && let Err(error) = self.pool.end(instance)
        {
            let plugin = &self.pool.plugin.manifest.name;
            tracing::warn!(target: "sochdb::plugin", plugin, %error, "an instance did not end well");
        }
    }
}
