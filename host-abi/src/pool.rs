//! The instances of one plugin for one tenant: one store each, bounded, thrown away after any failure.
//!
//! ```text
//!                    ┌────────── answered ───────────┐
//!                    ▼                               │
//!   allowed? wait ─▶ idle instance ─▶ call under fuel and deadline ─▶ failed: store dropped
//!     │        │  └▶ fresh instance ─▶ init ─▶ call                     │
//!     │        └─ deadline: Exhausted                     the next call gets a fresh one
//!     └─ quarantined, nested too deeply, or the tenant is at a bound
//! ```
//!
//! - A trap poisons its whole store, so a store holds one instance and ends with it.
//! - A guest that *answers* an error has not failed: it is used again.
//! - A call has one deadline for waiting, instantiating and working; nothing queues for ever.
//! - The fuel of a call also pays for the instance when it has to be made.
//! - Work that nobody waits for has a budget of its own, see [`Work`].
//! - A call that another guest's call led to is part of that one, see [`chain`].
//! - No lock is held while a guest runs.

use crate::audit::{Entry, Object, Outcome, Ticks, Who};
use crate::chain::{self, Entered, Refusal};
use crate::limits::{
    BoundOf, Budget, CALL_DEPTH_MAX, HANDLES_PER_STORE_MAX, MemoryBound, RESULT_SLACK_BYTES,
    STATE_BYTES_MAX, Work,
};
use crate::plugin::{Plugin, add};
use crate::quarantine::{Health, Keeper, Kept, Ticket};
use crate::tenant::{Admitted, NotAdmitted, Tenant};
use crate::wasm_host_abi::{Exports, GuestError, GuestState, Lifecycle, clean};
use crate::wasm_runtime::Running;
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_observability::ActiveSpan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

/// What wasmtime says when a result is larger than we let it copy; it has no type for that.
const RESULT_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The instances of one plugin for one tenant.
pub(crate) struct Pool<E: Exports> {
    plugin: Arc<Plugin>,
    component: InstancePre<GuestState>,
    /// Whom all its instances work for.
    tenant: Option<Arc<Tenant>>,
    keeper: Arc<Keeper>,
    /// How the audit trail calls it.
    who: Arc<Who>,
    slots: Mutex<Slots<E>>,
    freed: Condvar,
    next_number: AtomicU64,
    /// When a call began last, in microseconds since the pool was made.
    last_used_us: AtomicU64,
    made: Instant,
}

struct Slots<E> {
    /// In boxes, because they are large and go in and out with every call.
    idle: Vec<Box<Instance<E>>>,
    /// Idle and working ones together.
    live: u32,
    /// Whether what its instances knew has gone to another version: who comes should go there too.
    handed_over: bool,
    closed: bool,
}

struct Instance<E> {
    number: u64,
    store: Store<GuestState>,
    lifecycle: Lifecycle,
    exports: E,
    _counted: Counted,
}

/// One more instance, while this lives.
struct Counted(Arc<Plugin>);

impl Counted {
    fn new(plugin: &Arc<Plugin>) -> Counted {
        plugin.usage.instances.fetch_add(1, Ordering::Relaxed);
        Counted(plugin.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.usage.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a call may be made.
#[derive(Clone)]
pub(crate) struct Terms {
    /// Which budget it has.
    pub(crate) work: Work,
    /// Bytes of its answer, or of what it carries into one import, beside a little for an error's text.
    pub(crate) result_bytes_max: usize,
    /// The instance that would serve it best, if it is idle.
    pub(crate) prefer: Option<u64>,
    /// Whom it works for; `None` is whom its caller works for.
    pub(crate) tenant: Option<Arc<Tenant>>,
    /// Whether it works for no tenant, even if its caller does.
    pub(crate) is_hosts: bool,
    /// Whether another instance of the plugin may be what leads to it.
    pub(crate) may_come_again: bool,
    /// Whether another version was asked before, and failed.
    pub(crate) as_fallback: bool,
    /// What it is about, for the audit trail.
    pub(crate) object: Object,
}

impl Terms {
    /// Any instance, for somebody who waits.
    pub(crate) fn reading(result_bytes_max: usize) -> Terms {
        Terms {
            work: Work::Foreground,
            result_bytes_max,
            prefer: None,
            tenant: None,
            is_hosts: false,
            may_come_again: false,
            as_fallback: false,
            object: Object::None,
        }
    }

    /// Any instance, and nobody waits.
    pub(crate) fn background(result_bytes_max: usize) -> Terms {
        Terms { work: Work::Background, ..Terms::reading(result_bytes_max) }
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

/// A call that was allowed, from there to its end.
struct Allowed<'a> {
    function: &'static str,
    work: Work,
    began: Ticks,
    deadline: Instant,
    budget: Budget,
    /// What it is about.
    object: Object,
    span: Option<ActiveSpan<'a>>,
    /// Whether another guest's call led to it; then the audit trail has that one, unless this one fails.
    is_nested: bool,
    /// `None` once it has ended.
    entered: Option<Entered>,
    ticket: Option<Ticket<'a>>,
    _admitted: Option<Admitted<'a>>,
    _running: Running<'a>,
}

/// What a call has used.
#[derive(Clone, Copy)]
struct Used {
    fuel: u64,
    ended: Ticks,
    nanos: u64,
}

impl<E: Exports> Pool<E> {
    /// A pool without instances.
    pub(crate) fn new(
        plugin: Arc<Plugin>,
        component: InstancePre<GuestState>,
        tenant: Option<Arc<Tenant>>,
    ) -> Pool<E> {
        let keeper = plugin.healths.keeper(tenant.as_deref().map(Tenant::name));
        let who = Arc::new(Who::new(&plugin, tenant.as_deref()));
        Pool {
            plugin,
            component,
            tenant,
            keeper,
            who,
            slots: Mutex::new(Slots {
                idle: Vec::new(),
                live: 0,
                handed_over: false,
                closed: false,
            }),
            freed: Condvar::new(),
            next_number: AtomicU64::new(0),
            last_used_us: AtomicU64::new(0),
            made: Instant::now(),
        }
    }

    pub(crate) fn works_for(&self, tenant: &Arc<Tenant>) -> bool {
        self.tenant.as_ref().is_some_and(|own| Arc::ptr_eq(own, tenant))
    }

    pub(crate) fn tenant(&self) -> Option<&Arc<Tenant>> {
        self.tenant.as_ref()
    }

    pub(crate) fn tenant_name(&self) -> Option<&str> {
        self.tenant.as_deref().map(Tenant::name)
    }

    /// When a call began last.
    pub(crate) fn last_used(&self) -> Instant {
        self.made + Duration::from_micros(self.last_used_us.load(Ordering::Relaxed))
    }

    /// Lets an instance work. A call that is part of its caller's does not count as one of its tenant's.
    ///
    /// # Errors
    /// `Plugin`: the guest refused, trapped, exhausted its limits or its tenant's, or is kept from working;
    /// and when it gave up because the kernel failed it, the kernel's own error. `Closed` after `shutdown`.
    pub(crate) fn call_on<R>(
        &self,
        terms: &Terms,
        is_part: bool,
        function: &'static str,
        work: impl FnOnce(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
    ) -> KernelResult<R> {
        let mut allowed = self.allow(function, chain::work(terms.work), terms, is_part)?;
        let instance = self
            .idle_instance(&allowed, terms.prefer, terms.as_fallback)
            .map_err(|error| self.not_served(function, terms.object.clone(), error))?;
        let mut slot = Slot { pool: self, instance: None };
        let is_fresh = instance.is_none();
        let mut instance = match instance {
            Some(mut instance) => {
                self.grant(&mut instance.store, &allowed)?;
                instance
            }
            None => self.start(&mut allowed)?,
        };
        instance.store.set_hostcall_fuel(terms.result_bytes_max.saturating_add(RESULT_SLACK_BYTES));
        let Instance { store, exports, number, .. } = &mut *instance;
        let answer = work(&mut Call { exports, store, is_fresh, instance: *number });
        let answer = self.finish(&mut allowed, answer, &mut instance.store);
        if !matches!(answer, Err(End::Failed(_))) {
            slot.instance = Some(instance);
        }
        answer.map_err(End::error)
    }

    /// Runs the plugin's own test on an instance made for it.
    ///
    /// # Errors
    /// As [`call_on`](Self::call_on).
    pub(crate) fn self_test(&self) -> KernelResult<()> {
        let mut allowed = self.allow("self-test", Work::Foreground, &Terms::reading(0), true)?;
        let mut instance = self.start(&mut allowed)?;
        let answer = instance.lifecycle.self_test(&mut instance.store);
        self.finish(&mut allowed, answer, &mut instance.store).map_err(End::error)
    }

    /// Calls that guests work on now.
    pub(crate) fn calls_now(&self) -> u32 {
        let slots = self.slots.lock();
        slots.live - slots.idle.len() as u32
    }

    /// How many instances there are, working ones included.
    pub(crate) fn instances(&self) -> u32 {
        self.slots.lock().live
    }

    /// Makes an instance ready, unless there are `wanted` already.
    ///
    /// # Errors
    /// As [`call_on`](Self::call_on).
    pub(crate) fn warm(&self, wanted: u32) -> KernelResult<()> {
        let mut allowed = self.allow("init", Work::Background, &Terms::background(0), true)?;
        {
            let mut slots = self.slots.lock();
            if slots.closed || wanted.min(self.plugin.grant.limits.instances_max) <= slots.live {
                return Ok(());
            }
            slots.live += 1;
        }
        let mut slot = Slot { pool: self, instance: None };
        let mut instance = self.start(&mut allowed)?;
        self.finish(&mut allowed, Ok(Ok(())), &mut instance.store).map_err(End::error)?;
        slot.instance = Some(instance);
        Ok(())
    }

    /// Asks the instance, if there is one, what the next version should know, and keeps it from being called until
    /// the answer is dropped. Who waited for it then gets `Closed`. One that fails is gone, and what it knew: that
    /// keeps no next version from coming.
    ///
    /// # Errors
    /// As [`call_on`](Self::call_on), for what the instance answers: `Exhausted` when it is busy for longer than a
    /// call may take.
    pub(crate) fn export_state(&self) -> KernelResult<Knowledge<'_, E>> {
        if self.instances() == 0 {
            return Ok(Knowledge::None);
        }
        let terms = Terms::reading(STATE_BYTES_MAX);
        let mut allowed = self.allow("export-state", Work::Foreground, &terms, true)?;
        let instance = self.idle_instance(&allowed, None, false)?;
        let mut slot = Slot { pool: self, instance: None };
        // It failed while this waited for it, and what it knew is gone.
        let Some(mut instance) = instance else { return Ok(Knowledge::Lost) };
        self.grant(&mut instance.store, &allowed)?;
        instance.store.set_hostcall_fuel(STATE_BYTES_MAX + RESULT_SLACK_BYTES);
        let answer = instance.lifecycle.export_state(&mut instance.store);
        match self.finish(&mut allowed, answer, &mut instance.store) {
            Err(End::Failed(_)) => Ok(Knowledge::Lost),
            answer => {
                slot.instance = Some(instance);
                let state = answer.map_err(End::error)?;
                Ok(Knowledge::Exported(Exported { state, slot }))
            }
        }
    }

    /// Makes an instance that knows what the one before it did.
    ///
    /// # Errors
    /// As [`call_on`](Self::call_on).
    pub(crate) fn import_state(&self, state: &[u8], version: &str) -> KernelResult<()> {
        let mut allowed = self.allow("import-state", Work::Foreground, &Terms::reading(0), true)?;
        let present = self.idle_instance(&allowed, None, false)?;
        let mut slot = Slot { pool: self, instance: None };
        // One that has worked already may know things of its own.
        drop(present);
        let mut instance = self.start(&mut allowed)?;
        instance.store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let answer = match state {
            [] => Ok(Ok(())),
            state => instance.lifecycle.import_state(&mut instance.store, state, version),
        };
        self.finish(&mut allowed, answer, &mut instance.store).map_err(End::error)?;
        slot.instance = Some(instance);
        Ok(())
    }

    /// Whether later calls get `Closed`: it was shut down, or what it knew was handed over.
    pub(crate) fn has_ended(&self) -> bool {
        let slots = self.slots.lock();
        slots.closed || slots.handed_over
    }

    /// What its instances know counts again.
    pub(crate) fn take_back(&self) {
        self.slots.lock().handed_over = false;
    }

    /// Drops the idle instances, without the last call they would else get.
    pub(crate) fn shed(&self) {
        let idle = {
            let mut slots = self.slots.lock();
            slots.live -= slots.idle.len() as u32;
            std::mem::take(&mut slots.idle)
        };
        drop(idle);
        self.freed.notify_all();
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
        let ends: Vec<_> = idle.into_iter().map(|mut instance| self.end(&mut instance)).collect();
        ends.into_iter().collect()
    }

    fn end(&self, instance: &mut Instance<E>) -> KernelResult<()> {
        let terms = Terms { may_come_again: true, ..Terms::reading(0) };
        let mut allowed = self.allow("shutdown", Work::Foreground, &terms, true)?;
        // How it ends says nothing about the instances that are to come.
        allowed.ticket = None;
        let store = &mut instance.store;
        self.grant(store, &allowed)?;
        store.set_hostcall_fuel(RESULT_SLACK_BYTES);
        let answer = instance.lifecycle.shutdown(store);
        self.finish(&mut allowed, answer, store).map_err(End::error)
    }

    /// Whether a call may begin: is the plugin well, is the chain short enough, has the tenant room?
    fn allow(
        &self,
        function: &'static str,
        work: Work,
        terms: &Terms,
        is_part: bool,
    ) -> KernelResult<Allowed<'_>> {
        let span = self.plugin.tracer.begin("plugin call");
        let (began, ticks) = (Instant::now(), Ticks::now());
        let since_made = began.saturating_duration_since(self.made).as_micros();
        let last_used_us = u64::try_from(since_made).unwrap_or(u64::MAX);
        self.last_used_us.store(last_used_us, Ordering::Relaxed);
        let mut budget = self.plugin.grant.limits.budget(work);
        let again = terms.may_come_again;
        let entered = chain::enter(&self.plugin, self.tenant.as_ref(), again, began, &mut budget);
        let allowed = entered.map_err(|refusal| self.not_entered(function, refusal));
        let allowed = allowed.and_then(|entered| {
            let ticket = self.keeper.admit(began).map_err(|Kept(why)| {
                self.error(PluginFault::Quarantined, format!("{function}: {why}"))
            })?;
            let deadline = began + budget.timeout;
            let tenant = self.tenant.as_ref().filter(|_| !is_part);
            let admitted = tenant.map(|tenant| tenant.admit(work, deadline, &mut budget));
            let _admitted = admitted.transpose().map_err(|why| self.not_admitted(function, why))?;
            Ok(Allowed {
                function,
                work,
                began: ticks,
                deadline,
                budget,
                object: terms.object.clone(),
                span: Some(span),
                is_nested: entered.is_nested(),
                entered: Some(entered),
                ticket: Some(ticket),
                _admitted,
                _running: self.plugin.runtime.running(),
            })
        });
        allowed.map_err(|error| self.not_served(function, terms.object.clone(), error))
    }

    /// Notes a call that did not reach a guest.
    fn not_served(
        &self,
        function: &'static str,
        object: Object,
        error: KernelError,
    ) -> KernelError {
        let now = Ticks::now();
        let entry = Entry::call(function, object, Outcome::of_error(&error), 0, (now, now));
        self.plugin.audit.take_one(&self.who, entry);
        error
    }

    fn not_admitted(&self, function: &str, why: NotAdmitted) -> KernelError {
        match why {
            NotAdmitted::Bound(why) => {
                self.error(PluginFault::Exhausted, format!("{function}: {why}"))
            }
            NotAdmitted::Removed(name) => KernelError::Closed(format!("the tenant '{name}'")),
        }
    }

    fn not_entered(&self, function: &str, refusal: Refusal) -> KernelError {
        match refusal {
            Refusal::TooDeep => {
                let why = format!("{function}: calls nest too deeply, {CALL_DEPTH_MAX} may");
                self.error(PluginFault::Exhausted, why)
            }
            Refusal::ByWayOfItself => {
                let why = format!("{function}: it cannot be called by way of itself");
                self.error(PluginFault::Denied, why)
            }
        }
    }

    /// Ends a call: counts what it used, and says what came of it.
    fn finish<R>(
        &self,
        allowed: &mut Allowed<'_>,
        answer: wasmtime::Result<Result<R, GuestError>>,
        store: &mut Store<GuestState>,
    ) -> Result<R, End> {
        let used = self.account(allowed, store);
        let was_refused = !matches!(answer, Ok(Ok(_)));
        let took = Duration::from_nanos(used.nanos);
        self.plugin.meter.note(allowed.function, took, was_refused);
        let (outcome, answer) = match answer {
            Ok(answer) => {
                if let Some(ticket) = allowed.ticket.take() {
                    ticket.succeeded();
                }
                match answer {
                    Ok(value) => (Outcome::Ok, Ok(value)),
                    Err(refused) => {
                        let (outcome, error) = self.refused(allowed, &refused, store);
                        (outcome, Err(End::Refused(error)))
                    }
                }
            }
            Err(error) => {
                let error = self.failed(allowed, error, store);
                (Outcome::of_error(&error), Err(End::Failed(error)))
            }
        };
        self.record(allowed, outcome, used, store);
        answer
    }

    /// What a call ended with that the guest answered with an error: the kernel's, where the guest gave up
    /// because of one.
    fn refused(
        &self,
        allowed: &Allowed<'_>,
        refused: &GuestError,
        store: &mut Store<GuestState>,
    ) -> (Outcome, KernelError) {
        add(&self.plugin.usage.refusals, 1);
        if let Some(cause) = store.data_mut().take_failure() {
            return (Outcome::of_error(&cause), cause);
        }
        let why = format!("{}: {}", allowed.function, refused.shown());
        (Outcome::of_code(refused.code), self.error(PluginFault::Refused, why))
    }

    /// Gives the audit trail what the guest did in this call, and the call.
    fn record(
        &self,
        allowed: &mut Allowed<'_>,
        outcome: Outcome,
        Used { fuel, ended, nanos }: Used,
        store: &mut Store<GuestState>,
    ) {
        let is_new = !allowed.is_nested || outcome != Outcome::Ok;
        let object = || allowed.object.clone();
        let time = (allowed.began, ended);
        let call = is_new.then(|| Entry::call(allowed.function, object(), outcome, fuel, time));
        store.data_mut().audit.end_call(outcome, call);
        if let Some(mut span) = allowed.span.take() {
            span.ends_after(Duration::from_nanos(nanos));
            if span.is_kept() {
                self.describe(&mut span, allowed.function, outcome, fuel);
            }
        }
        tracing::trace!(
            target: "sochdb::plugin",
            plugin = self.plugin.manifest.name,
            tenant = self.tenant_name(),
            function = allowed.function,
            fuel,
            micros = nanos / 1000,
            outcome = ?outcome,
            "call"
        );
    }

    /// Tells a span that is kept what its call was.
    fn describe(&self, span: &mut ActiveSpan<'_>, function: &str, outcome: Outcome, fuel: u64) {
        span.about("sochdb.plugin", &self.plugin.manifest.name);
        span.about("db.operation.name", function);
        span.about("sochdb.outcome", format_args!("{outcome:?}"));
        if let Some(tenant) = self.tenant_name() {
            span.about("db.namespace", tenant);
        }
        span.about("sochdb.fuel", fuel);
    }

    /// An idle instance, or the right to make one (`None`). Either way a slot is taken.
    fn idle_instance(
        &self,
        allowed: &Allowed<'_>,
        prefer: Option<u64>,
        as_fallback: bool,
    ) -> KernelResult<Option<Box<Instance<E>>>> {
        let mut slots = self.slots.lock();
        loop {
            if slots.closed || slots.handed_over && !as_fallback {
                return Err(self.closed());
            }
            let preferred = slots.idle.iter().position(|instance| Some(instance.number) == prefer);
            if let Some(at) = preferred.or(slots.idle.len().checked_sub(1)) {
                return Ok(Some(slots.idle.remove(at)));
            }
            let instances_max = self.plugin.grant.limits.instances_max;
            if slots.live < instances_max {
                slots.live += 1;
                return Ok(None);
            }
            if self.freed.wait_until(&mut slots, allowed.deadline).timed_out() {
                let (function, budget) = (allowed.function, &allowed.budget);
                let ms = budget.timeout.as_millis();
                let key = match budget.timeout_bound {
                    BoundOf::Plugin(key) => format!("; raise max_instances or {key}"),
                    _ => ", which is what its caller had left".to_owned(),
                };
                let message = format!(
                    "{function}: all instances ({instances_max}) were busy for {ms} ms{key}"
                );
                return Err(self.error(PluginFault::Exhausted, message));
            }
        }
    }

    /// Makes an instance, ready for its first call.
    fn start(&self, allowed: &mut Allowed<'_>) -> KernelResult<Box<Instance<E>>> {
        add(&self.plugin.usage.instances_started, 1);
        let state = GuestState::new(self.plugin.clone(), self.tenant.clone(), self.who.clone());
        let mut store = Store::new(self.plugin.runtime.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_PER_STORE_MAX);
        store.epoch_deadline_callback(|store| {
            let is_over = store.data().deadline <= Instant::now();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        self.grant(&mut store, allowed)?;
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
                let _counted = Counted::new(&self.plugin);
                Ok(Box::new(Instance { number, store, lifecycle, exports, _counted }))
            }
            Ok((_, _, Err(refused))) => {
                let used = self.account(allowed, &store);
                add(&self.plugin.usage.refusals, 1);
                let why = format!("{}: its init answered: {}", allowed.function, refused.shown());
                self.keep(allowed, &why);
                self.record(allowed, Outcome::of_code(refused.code), used, &mut store);
                Err(self.error(PluginFault::Refused, why))
            }
            Err(error) => {
                let used = self.account(allowed, &store);
                let error = self.failed(allowed, error, &mut store);
                self.record(allowed, Outcome::of_error(&error), used, &mut store);
                Err(error)
            }
        }
    }

    /// Gives a call its fuel and its deadline.
    fn grant(&self, store: &mut Store<GuestState>, allowed: &Allowed<'_>) -> KernelResult<()> {
        store.set_fuel(allowed.budget.fuel_max).map_err(|error| self.engine_failed(&error))?;
        store.set_epoch_deadline(1);
        store.data_mut().begin_call(allowed.deadline, allowed.budget.fuel_max);
        Ok(())
    }

    /// Counts what a call has used.
    fn account(&self, allowed: &mut Allowed<'_>, store: &Store<GuestState>) -> Used {
        let entered = allowed.entered.take().expect("a call ends once");
        let fuel_max = allowed.budget.fuel_max;
        let fuel = fuel_max - store.get_fuel().unwrap_or(0).min(fuel_max);
        let own_fuel = entered.end(fuel.saturating_add(store.data().file_fuel()));
        let ended = Ticks::now();
        let nanos = ended.nanos_since(allowed.began);
        let usage = &self.plugin.usage;
        add(&usage.calls, 1);
        add(&usage.fuel, own_fuel);
        let span = allowed.span.as_ref().and_then(ActiveSpan::context);
        usage.took.observe_in(Duration::from_nanos(nanos), span);
        if let Some(tenant) = &self.tenant {
            tenant.pay(allowed.work, own_fuel);
        }
        Used { fuel: own_fuel, ended, nanos }
    }

    /// Says whose fault a failed call was. The store is not used again.
    fn failed(
        &self,
        allowed: &mut Allowed<'_>,
        error: wasmtime::Error,
        store: &mut Store<GuestState>,
    ) -> KernelError {
        add(&self.plugin.usage.failures, 1);
        let (fault, is_own, why) = self.why(&allowed.budget, &error, store);
        let mut message = format!("{}: {why}", allowed.function);
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
        let (plugin, tenant) = (&self.plugin.manifest.name, self.tenant_name());
        tracing::warn!(target: "sochdb::plugin", plugin, tenant, "{fault}: {message}");
        if is_own {
            self.keep(allowed, &message);
        }
        self.error(fault, message)
    }

    /// Whose fault it was that a call ended with `error`, whether the plugin is to blame for it, and why it
    /// was.
    fn why(
        &self,
        budget: &Budget,
        error: &wasmtime::Error,
        store: &mut Store<GuestState>,
    ) -> (PluginFault, bool, String) {
        let is_own = |bound: BoundOf| matches!(bound, BoundOf::Plugin(_));
        let trap = error.downcast_ref::<Trap>();
        match trap {
            Some(Trap::OutOfFuel) => {
                return (PluginFault::Exhausted, is_own(budget.fuel_bound), budget.no_fuel());
            }
            Some(Trap::Interrupt) => {
                return (PluginFault::Exhausted, is_own(budget.timeout_bound), budget.no_time());
            }
            Some(Trap::StackOverflow) => {
                return (PluginFault::Exhausted, true, "called itself too deeply".to_owned());
            }
            _ => {}
        }
        if let Some(bound) = store.data_mut().memory.take_refused() {
            let ended = trap.map(|trap| format!(", then ended with: {trap}")).unwrap_or_default();
            let mb = self.plugin.grant.limits.memory_bytes_max >> 20;
            let tenants = self.tenant.as_ref().filter(|_| bound == MemoryBound::Tenant);
            let why = match tenants {
                None => format!("wanted more memory than its memory_limit_mb of {mb}{ended}"),
                Some(tenant) => format!(
                    "wanted more memory than the memory_bytes_max of {} of its tenant '{}'{ended}",
                    tenant.memory_bytes_max(),
                    tenant.name()
                ),
            };
            return (PluginFault::Exhausted, tenants.is_none(), why);
        }
        match trap {
            Some(trap) => (PluginFault::Trapped, true, trap.to_string()),
            None if error.root_cause().to_string().contains(RESULT_TOO_LARGE) => {
                let why = "carried more bytes across the boundary than it may".to_owned();
                (PluginFault::Exhausted, true, why)
            }
            None => (PluginFault::Trapped, true, error.root_cause().to_string()),
        }
    }

    /// Counts a failure, after which the plugin may be kept from working for a while.
    fn keep(&self, allowed: &mut Allowed<'_>, why: &str) {
        let Some(ticket) = allowed.ticket.take() else { return };
        let (plugin, tenant) = (&self.plugin.manifest.name, self.tenant_name());
        match ticket.failed(Instant::now(), why) {
            Some(Health::Quarantined { failures, .. }) => {
                tracing::error!(target: "sochdb::plugin", plugin, tenant, failures, "quarantined");
            }
            Some(Health::BackingOff { failures, again_in_ms, .. }) => {
                tracing::warn!(target: "sochdb::plugin", plugin, tenant, failures, again_in_ms, "backs off");
            }
            Some(Health::Working) | None => {}
        }
    }

    pub(crate) fn closed(&self) -> KernelError {
        KernelError::Closed(format!("the plugin '{}'", self.plugin.manifest.name))
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

/// How a call ended without the answer that was hoped for.
enum End {
    /// The guest said no, and works on.
    Refused(KernelError),
    /// Its instance is of no more use.
    Failed(KernelError),
}

impl End {
    fn error(self) -> KernelError {
        match self {
            End::Refused(error) | End::Failed(error) => error,
        }
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
    instance: Option<Box<Instance<E>>>,
}

/// What there is for the next version to know.
pub(crate) enum Knowledge<'a, E: Exports> {
    /// There was no instance that could know anything.
    None,
    /// The instance failed when it was asked, and is gone.
    Lost,
    /// What it said.
    Exported(Exported<'a, E>),
}

/// What an instance said the next version should know. The instance waits until this is dropped.
pub(crate) struct Exported<'a, E: Exports> {
    pub(crate) state: Vec<u8>,
    slot: Slot<'a, E>,
}

impl<E: Exports> Exported<'_, E> {
    /// It knows it now: who waited for the instance shall go there.
    pub(crate) fn handed_over(self) {
        self.slot.pool.slots.lock().handed_over = true;
        self.slot.pool.freed.notify_all();
    }
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
        if let Some(mut instance) = leaving
            && let Err(error) = self.pool.end(&mut instance)
        {
            let plugin = &self.pool.plugin.manifest.name;
            tracing::warn!(target: "sochdb::plugin", plugin, %error, "an instance did not end well");
        }
    }
}
