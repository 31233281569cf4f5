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
//! - Work that nobody waits for has a budget of its own, see [`Work`].
//! - No lock is held while a guest runs.

use crate::capability;
use crate::limits::{Budget, HANDLES_PER_STORE_MAX, RESULT_SLACK_BYTES, Work};
use crate::plugin::{Plugin, add};
use crate::wasm_host_abi::{Exports, GuestError, GuestState, Lifecycle, clean};
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

/// What wasmtime says when a result is larger than we let it copy; it has no type for that.
const RESULT_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The instances of one plugin.
pub(crate) struct Pool<E: Exports> {
    plugin: Arc<Plugin>,
    component: InstancePre<GuestState>,
    slots: Mutex<Slots<E>>,
    freed: Condvar,
    next_number: AtomicU64,
}

struct Slots<E> {
    idle: Vec<Instance<E>>,
    /// Idle and working ones together.
    live: u32,
    closed: bool,
}

struct Instance<E> {
    number: u64,
    store: Store<GuestState>,
    lifecycle: Lifecycle,
    exports: E,
}

/// How a call may be made.
pub(crate) struct Terms {
    /// Which budget it has.
    pub(crate) work: Work,
    /// Bytes of its answer, or of what it carries into one import, beside a little for an error's text.
    pub(crate) result_bytes_max: usize,
    /// The instance that would serve it best, if it is idle.
    pub(crate) prefer: Option<u64>,
}

impl Terms {
    /// Any instance, for somebody who waits.
    pub(crate) fn reading(result_bytes_max: usize) -> Terms {
        Terms { work: Work::Foreground, result_bytes_max, prefer: None }
    }

    /// Any instance, and nobody waits.
    pub(crate) fn background(result_bytes_max: usize) -> Terms {
        Terms { work: Work::Background, result_bytes_max, prefer: None }
    }
}

/// What a call works with.
pub(crate) struct Call<'a, E> {
    pub(crate) exports: &'a mut E,
    pub(crate) store: &'a mut Store<GuestState>,
    /// Whether this is the instance's first call.
    pub(crate) is_fresh: bool,
    /// The instance's number, for [`Terms::prefer`].
    pub(crate) instance: u64,
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
        let next_number = AtomicU64::new(0);
        Ok(Pool { plugin, component, slots, freed: Condvar::new(), next_number })
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
        let began = Instant::now();
        let budget = self.plugin.manifest.limits.budget(terms.work);
        let deadline = began + budget.timeout();
        let instance = self.idle_instance(function, deadline, &budget, terms.prefer)?;
        let mut slot = Slot { pool: self, instance: None };
        let _running = self.plugin.runtime.running();
        let is_fresh = instance.is_none();
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.start(function, deadline, &budget)?,
        };
        if !is_fresh {
            self.grant(&mut instance.store, deadline, &budget)
                .map_err(|error| self.engine_failed(&error))?;
        }
        instance.store.set_hostcall_fuel(terms.result_bytes_max.saturating_add(RESULT_SLACK_BYTES));
        let Instance { store, exports, number, .. } = &mut instance;
        let answer = work(&mut Call { exports, store, is_fresh, instance: *number });
        self.account(function, &instance.store, began, &budget);
        match answer {
            Ok(Ok(value)) => {
                slot.instance = Some(instance);
                Ok(value)
            }
            Ok(Err(refused)) => {
                let cause = instance.store.data_mut().segments.take_failure();
                slot.instance = Some(instance);
                add(&self.plugin.usage.refusals, 1);
                if let Some(cause) = cause {
                    return Err(cause);
                }
                Err(self.error(PluginFault::Refused, format!("{function}: {}", refused.shown())))
            }
            Err(error) => Err(self.failed(function, error, &mut instance.store, &budget)),
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
        let budget = self.plugin.manifest.limits.budget(Work::Foreground);
        let store = &mut instance.store;
        let granted = self.grant(store, began + budget.timeout(), &budget);
        granted.map_err(|error| self.engine_failed(&error))?;
        store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let answer = instance.lifecycle.shutdown(store);
        self.account("shutdown", store, began, &budget);
        self.finish("shutdown", answer, store, &budget)
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
        let budget = self.plugin.manifest.limits.budget(Work::Foreground);
        let mut instance = self.start(function, began + budget.timeout(), &budget)?;
        let answer = work(&instance.lifecycle, &mut instance.store);
        self.account(function, &instance.store, began, &budget);
        self.finish(function, answer, &mut instance.store, &budget)
    }

    fn finish(
        &self,
        function: &str,
        answer: wasmtime::Result<Result<(), GuestError>>,
        store: &mut Store<GuestState>,
        budget: &Budget,
    ) -> KernelResult<()> {
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => {
                add(&self.plugin.usage.refusals, 1);
                Err(self.error(PluginFault::Refused, format!("{function}: {}", refused.shown())))
            }
            Err(error) => Err(self.failed(function, error, store, budget)),
        }
    }

    /// An idle instance, or the right to make one (`None`). Either way a slot is taken.
    fn idle_instance(
        &self,
        function: &str,
        deadline: Instant,
        budget: &Budget,
        prefer: Option<u64>,
    ) -> KernelResult<Option<Instance<E>>> {
        let mut slots = self.slots.lock();
        loop {
            if slots.closed {
                return Err(KernelError::Closed(format!(
                    "the plugin '{}'",
                    self.plugin.manifest.name
                )));
            }
            let preferred = slots.idle.iter().position(|instance| Some(instance.number) == prefer);
            if let Some(at) = preferred.or(slots.idle.len().checked_sub(1)) {
                return Ok(Some(slots.idle.remove(at)));
            }
            let instances_max = self.plugin.manifest.limits.instances_max;
            if slots.live < instances_max {
                slots.live += 1;
                return Ok(None);
            }
            if self.freed.wait_until(&mut slots, deadline).timed_out() {
                let message = format!(
                    "{function}: all instances ({instances_max}) were busy for {} ms; raise max_instances or {}",
                    budget.timeout_ms, budget.timeout_key
                );
                return Err(self.error(PluginFault::Exhausted, message));
            }
        }
    }

    /// Makes an instance, ready for its first call.
    fn start(
        &self,
        function: &str,
        deadline: Instant,
        budget: &Budget,
    ) -> KernelResult<Instance<E>> {
        add(&self.plugin.usage.instances_started, 1);
        let mut store =
            Store::new(self.plugin.runtime.engine(), GuestState::new(self.plugin.clone()));
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_PER_STORE_MAX);
        store.epoch_deadline_callback(|store| {
            let is_over = store.data().deadline <= Instant::now();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        self.grant(&mut store, deadline, budget).map_err(|error| self.engine_failed(&error))?;
        store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let started = self.component.instantiate(&mut store).and_then(|instance| {
            let lifecycle = Lifecycle::new(&mut store, &instance)?;
            let exports = E::new(&mut store, &instance)?;
            let answer = lifecycle.init(&mut store)?;
            Ok((lifecycle, exports, answer))
        });
        match started {
            Ok((lifecycle, exports, Ok(()))) => {
                let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                Ok(Instance { number, store, lifecycle, exports })
            }
            Ok((_, _, Err(refused))) => {
                add(&self.plugin.usage.refusals, 1);
                let message = format!("{function}: its init answered: {}", refused.shown());
                Err(self.error(PluginFault::Refused, message))
            }
            Err(error) => Err(self.failed(function, error, &mut store, budget)),
        }
    }

    /// Gives a call its fuel and its deadline.
    fn grant(
        &self,
        store: &mut Store<GuestState>,
        deadline: Instant,
        budget: &Budget,
    ) -> wasmtime::Result<()> {
        store.set_fuel(budget.fuel_max)?;
        store.set_epoch_deadline(1);
        store.data_mut().begin_call(deadline);
        Ok(())
    }

    fn account(&self, function: &str, store: &Store<GuestState>, began: Instant, budget: &Budget) {
        let fuel = budget.fuel_max - store.get_fuel().unwrap_or(0).min(budget.fuel_max);
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
        budget: &Budget,
    ) -> KernelError {
        add(&self.plugin.usage.failures, 1);
        let (fault, why) = match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => (
                PluginFault::Exhausted,
                format!("used up its {} of {}", budget.fuel_key, budget.fuel_max),
            ),
            Some(Trap::Interrupt) => (
                PluginFault::Exhausted,
                format!("ran past its {} of {}", budget.timeout_key, budget.timeout_ms),
            ),
            Some(Trap::StackOverflow) => {
                (PluginFault::Exhausted, "called itself too deeply".to_owned())
            }
            trap if store.data_mut().memory.take_refused() => {
                let mb = self.plugin.manifest.limits.memory_bytes_max >> 20;
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

/// A pool that was replaced ends when nobody reads through it any more.
impl<E: Exports> Drop for Pool<E> {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            let plugin = &self.plugin.manifest.name;
            tracing::warn!(target: "sochdb::plugin", plugin, %error, "an instance did not end well");
        }
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
