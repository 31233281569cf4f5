//! Tenants: what each may use, and what each has used.
//!
//! A tenant is a name. Its tables are those whose names begin with it and a `/`: `acme/orders` belongs to
//! `acme`, `orders` to nobody. Guests that work on a tenant's tables, or in its transactions, run in
//! instances of its own, and what they use is counted here; a tenant without bounds is kept apart all the
//! same.
//!
//! | bound              | what it bounds                          | what happens at the bound                |
//! |--------------------|-----------------------------------------|------------------------------------------|
//! | `fuel_per_second`  | guests' work that somebody waits for    | refused, with the time of the next fuel  |
//! | `memory_bytes_max` | memories and tables of all its instances | idle ones end; then a growth is refused |
//! | `calls_max`        | its calls into guests at the same time  | they wait, until their deadline          |
//! | `storage_bytes_max` | bytes of its rows                      | its commits are refused                  |
//!
//! - Fuel is a bucket of one second's worth. A call may begin while there is some, has at most one second's
//!   worth, and pays when it ends; so calls at the same time may leave a debt, which later time repays. That
//!   way no call ends half-way because of another one.
//! - Flushes and merges are never refused nor made to wait, or the tenant's own rows would not get out of the
//!   log. They empty the bucket, but leave no debt.
//! - A call of a guest by another one of the same tenant is part of the first.

use crate::limits::{Budget, Work};
use crate::policy::HOST_TABLES;
use parking_lot::{Condvar, Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sochdb_kernel::{KernelError, KernelResult};
use sochdb_telemetry::{ComponentHealth, Family, HealthState, Metric, MetricKind, MetricValue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What ends a tenant's name within a table's.
const SEPARATOR: char = '/';
const NO_BOUND: u64 = u64::MAX;

type OfTenants = (Family, fn(&TenantUsage) -> f64);

const fn of_tenants(name: &'static str, help: &'static str, is_total: bool) -> Family {
    let kind = if is_total { MetricKind::Counter } else { MetricKind::Gauge };
    Family { name, kind, help, labels: &["tenant"] }
}

const OF_TENANTS: [OfTenants; 7] = [
    (of_tenants("sochdb_tenant_fuel_total", "Fuel its guests used.", true), |usage| {
        usage.fuel as f64
    }),
    (of_tenants("sochdb_tenant_calls_total", "Its calls into guests.", true), |usage| {
        usage.calls as f64
    }),
    (
        of_tenants("sochdb_tenant_refused_total", "Its calls that met a bound of its own.", true),
        |usage| usage.refused as f64,
    ),
    (of_tenants("sochdb_tenant_wait_seconds_total", "Time its calls waited.", true), |usage| {
        usage.waited_us as f64 / 1e6
    }),
    (of_tenants("sochdb_tenant_calls_running", "Its calls running now.", false), |usage| {
        usage.calls_now as f64
    }),
    (of_tenants("sochdb_tenant_memory_bytes", "Memory of its guests.", false), |usage| {
        usage.memory_bytes as f64
    }),
    (of_tenants("sochdb_tenant_storage_bytes", "Bytes of its rows.", false), |usage| {
        usage.storage_bytes as f64
    }),
];

/// What a tenant may use. What is `None` has no bound; what is zero is not to be had at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantOptions {
    /// Fuel of its guests in one second.
    pub fuel_per_second: Option<u64>,
    /// Bytes of the memories and tables of all its instances together.
    pub memory_bytes_max: Option<u64>,
    /// Calls into guests at the same time, not counting those that guests make.
    pub calls_max: Option<u32>,
    /// Bytes of the keys and values of its rows.
    pub storage_bytes_max: Option<u64>,
    /// The plugins whose hooks and procedures serve it.
    pub plugins: BTreeSet<String>,
}

/// What a tenant has used since it became known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantUsage {
    /// Fuel of its guests, host work and flushes included.
    pub fuel: u64,
    /// The part of `fuel` that flushes and merges used.
    pub fuel_background: u64,
    /// Calls into guests, not counting those that guests made.
    pub calls: u64,
    /// Calls that met a bound of the tenant before they began.
    pub refused: u64,
    /// Calls running now.
    pub calls_now: u64,
    /// Bytes of memories and tables now.
    pub memory_bytes: u64,
    /// The most they were.
    pub memory_bytes_peak: u64,
    /// Bytes of its rows, counted while `storage_bytes_max` is set.
    pub storage_bytes: u64,
    /// Microseconds its calls waited for `calls_max`.
    pub waited_us: u64,
}

/// A tenant as `Tenants::list` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantInfo {
    /// What it is called.
    pub name: String,
    /// What it may use.
    pub options: TenantOptions,
    /// What it has used.
    pub usage: TenantUsage,
}

/// Every tenant that was set up or has tables in use. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Tenants(Arc<Registry>);

#[derive(Default)]
struct Registry {
    tenants: RwLock<BTreeMap<Arc<str>, Arc<Tenant>>>,
    holders: Mutex<Vec<Weak<dyn Holder>>>,
}

/// Who keeps instances of tenants.
pub(crate) trait Holder: Send + Sync {
    /// Ends the tenant's idle instances at once, because memory is short.
    fn shed(&self, tenant: &Tenant);
    /// Forgets a tenant that is no more.
    fn forget(&self, tenant: &Tenant);
}

impl Tenants {
    /// Sets what `name` may use, from now on; it need not have been known.
    ///
    /// # Errors
    /// `Invalid` when `name` is empty, contains `/` or a control character, or begins with `sochdb.`.
    pub fn set(&self, name: &str, options: TenantOptions) -> KernelResult<Arc<Tenant>> {
        let tenant = self.tenant(name)?;
        tenant.set(options);
        Ok(tenant)
    }

    /// The same; where that bounds its storage, [`Tenant::count_storage`] is to count its rows first.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_uncounted(&self, name: &str, options: TenantOptions) -> KernelResult<Arc<Tenant>> {
        let tenant = self.tenant(name)?;
        *tenant.is_uncounted.lock() = options.storage_bytes_max.is_some();
        tenant.set(options);
        Ok(tenant)
    }

    /// The tenant `name`, which has no bounds if it was not known.
    ///
    /// # Errors
    /// `Invalid` when `name` is empty, contains `/` or a control character, or begins with `sochdb.`.
    pub fn tenant(&self, name: &str) -> KernelResult<Arc<Tenant>> {
        check_name(name)?;
        Ok(self.known_or_new(name))
    }

    /// Whose table `table` is, as the kernel names it.
    pub fn of_table(&self, table: &str) -> Option<Arc<Tenant>> {
        let (name, _) = table.split_once(SEPARATOR)?;
        (!name.is_empty()).then(|| self.known_or_new(name))
    }

    /// The tenant `name`, if it is known.
    pub fn get(&self, name: &str) -> Option<Arc<Tenant>> {
        self.0.tenants.read().get(name).cloned()
    }

    /// What `name` has used, if it is known.
    pub fn usage(&self, name: &str) -> Option<TenantUsage> {
        self.get(name).map(|tenant| tenant.usage())
    }

    /// Every known tenant, sorted by name.
    pub fn list(&self) -> Vec<TenantInfo> {
        let tenants: Vec<_> = self.0.tenants.read().values().cloned().collect();
        let info = |tenant: Arc<Tenant>| TenantInfo {
            name: tenant.name.to_string(),
            options: tenant.options(),
            usage: tenant.usage(),
        };
        tenants.into_iter().map(info).collect()
    }

    /// What every known tenant has used.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let metrics = |TenantInfo { name, usage, .. }: TenantInfo| {
            OF_TENANTS.map(|(family, value)| {
                let value = match family.kind {
                    MetricKind::Counter => MetricValue::Counter(value(&usage)),
                    _ => MetricValue::Gauge(value(&usage)),
                };
                family.metric(&[("tenant", &name)], value)
            })
        };
        self.list().into_iter().flat_map(metrics).collect()
    }

    /// What the above are.
    pub(crate) fn families() -> impl Iterator<Item = Family> {
        OF_TENANTS.into_iter().map(|(family, _)| family)
    }

    /// How every known tenant is: one at a bound does not get all it asks for.
    pub(crate) fn health(&self) -> Vec<ComponentHealth> {
        let tenants: Vec<_> = self.0.tenants.read().values().cloned().collect();
        let health = |tenant: Arc<Tenant>| {
            let why = tenant.at_bounds();
            let state = if why.is_empty() { HealthState::Healthy } else { HealthState::Degraded };
            let (component, name) = ("tenant".to_owned(), tenant.name.to_string());
            ComponentHealth { component, name, state, why: why.join("; ") }
        };
        tenants.into_iter().map(health).collect()
    }

    /// Forgets `name`: its bounds, its usage and its idle instances. Calls that run end as they would have;
    /// whoever still holds the old [`Tenant`] gets `Closed`. Whether it was known.
    pub fn remove(&self, name: &str) -> bool {
        let Some(tenant) = self.0.tenants.write().remove(name) else { return false };
        tenant.removed.store(true, Ordering::SeqCst);
        tenant.freed.notify_all();
        self.0.holders().iter().for_each(|holder| holder.forget(&tenant));
        true
    }

    /// Tells `holder` when a tenant goes, or needs memory.
    pub(crate) fn tell(&self, holder: Weak<dyn Holder>) {
        let mut holders = self.0.holders.lock();
        holders.retain(|holder| 0 < holder.strong_count());
        holders.push(holder);
    }

    fn known_or_new(&self, name: &str) -> Arc<Tenant> {
        if let Some(tenant) = self.get(name) {
            return tenant;
        }
        let mut tenants = self.0.tenants.write();
        if let Some(tenant) = tenants.get(name) {
            return tenant.clone();
        }
        let tenant = Arc::new(Tenant::new(name, Arc::downgrade(&self.0)));
        tenants.insert(tenant.name.clone(), tenant.clone());
        tenant
    }
}

/// Refuses what no tenant can be called.
pub(crate) fn check_name(name: &str) -> KernelResult<()> {
    let bad = |c: char| c == SEPARATOR || c.is_control();
    if name.is_empty() || name.contains(bad) || name.starts_with(HOST_TABLES) {
        return Err(KernelError::invalid(format!(
            "{name:?} is no tenant: it is empty, has a '{SEPARATOR}' or a control character, or begins \
             with '{HOST_TABLES}', as the host's own tables do"
        )));
    }
    Ok(())
}

impl Registry {
    fn holders(&self) -> Vec<Arc<dyn Holder>> {
        self.holders.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// One tenant: its bounds and its counters.
pub struct Tenant {
    name: Arc<str>,
    registry: Weak<Registry>,
    removed: AtomicBool,
    state: Mutex<State>,
    freed: Condvar,
    fuel: AtomicU64,
    fuel_background: AtomicU64,
    calls: AtomicU64,
    refused: AtomicU64,
    waited_us: AtomicU64,
    memory_bytes: AtomicU64,
    memory_bytes_peak: AtomicU64,
    memory_bytes_max: AtomicU64,
    storage_bytes: AtomicU64,
    storage_bytes_max: AtomicU64,
    /// Whether its rows are still to be counted.
    is_uncounted: Mutex<bool>,
}

struct State {
    options: TenantOptions,
    bucket: Option<Bucket>,
    calls_now: u32,
}

impl Tenant {
    /// The bounds that it is at now, for people.
    fn at_bounds(&self) -> Vec<String> {
        let (options, usage) = (self.options(), self.usage());
        let is_out_of_fuel = {
            let mut state = self.state.lock();
            let now = Instant::now();
            state.bucket.as_mut().is_some_and(|bucket| bucket.begin(now).is_err())
        };
        let at = |name, used: u64, bound: Option<u64>| {
            let bound = bound.filter(|bound| *bound <= used)?;
            Some(format!("it is at its {name} of {bound}"))
        };
        let fuel = options.fuel_per_second.filter(|_| is_out_of_fuel);
        let fuel = fuel.map(|rate| format!("it has used up its fuel_per_second of {rate}"));
        let memory = at("memory_bytes_max", usage.memory_bytes, options.memory_bytes_max);
        let calls = at("calls_max", usage.calls_now, options.calls_max.map(u64::from));
        let storage = at("storage_bytes_max", usage.storage_bytes, options.storage_bytes_max);
        [fuel, memory, calls, storage].into_iter().flatten().collect()
    }

    fn new(name: &str, registry: Weak<Registry>) -> Tenant {
        let state = State { options: TenantOptions::default(), bucket: None, calls_now: 0 };
        Tenant {
            name: name.into(),
            registry,
            removed: AtomicBool::new(false),
            state: Mutex::new(state),
            freed: Condvar::new(),
            fuel: AtomicU64::new(0),
            fuel_background: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            memory_bytes_peak: AtomicU64::new(0),
            memory_bytes_max: AtomicU64::new(NO_BOUND),
            storage_bytes: AtomicU64::new(0),
            storage_bytes_max: AtomicU64::new(NO_BOUND),
            is_uncounted: Mutex::new(false),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may use.
    pub fn options(&self) -> TenantOptions {
        self.state.lock().options.clone()
    }

    /// Whether the hooks and procedures of `plugin` serve it.
    pub fn has_plugin(&self, plugin: &str) -> bool {
        self.state.lock().options.plugins.contains(plugin)
    }

    /// What it has used so far.
    pub fn usage(&self) -> TenantUsage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TenantUsage {
            fuel: read(&self.fuel),
            fuel_background: read(&self.fuel_background),
            calls: read(&self.calls),
            refused: read(&self.refused),
            calls_now: u64::from(self.state.lock().calls_now),
            memory_bytes: read(&self.memory_bytes),
            memory_bytes_peak: read(&self.memory_bytes_peak),
            storage_bytes: read(&self.storage_bytes),
            waited_us: read(&self.waited_us),
        }
    }

    /// Has its rows counted by `count` if they must be and are not; who comes meanwhile waits for it.
    ///
    /// # Errors
    /// What `count` returns; it is asked again the next time.
    pub fn count_storage(&self, count: impl FnOnce() -> KernelResult<u64>) -> KernelResult<()> {
        let mut is_uncounted = self.is_uncounted.lock();
        if *is_uncounted {
            self.set_storage(count()?);
            *is_uncounted = false;
        }
        Ok(())
    }

    /// Says how many bytes its rows have, as somebody counted them.
    pub fn set_storage(&self, bytes: u64) {
        self.storage_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Whether the bytes of its rows are bounded, and so counted.
    pub(crate) fn counts_storage(&self) -> bool {
        self.storage_bytes_max.load(Ordering::Relaxed) != NO_BOUND
    }

    /// Counts `delta` bytes more, in one step with the check, so that commits at the same time cannot pass
    /// the bound together. Rows may always become fewer. A commit that then fails gives them back: [`add_storage`](Self::add_storage).
    ///
    /// # Errors
    /// `Limit` when that is more than `storage_bytes_max`; then nothing is counted.
    pub fn take_storage(&self, delta: i64) -> KernelResult<()> {
        let with = |bytes| self.storage_with(bytes, delta).ok();
        let taken = self.storage_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with);
        taken.map(drop).or_else(|bytes| self.storage_with(bytes, delta).map(drop))
    }

    /// Counts `delta` bytes more, or fewer, whatever the bound says.
    pub fn add_storage(&self, delta: i64) {
        let with = |bytes: u64| Some(bytes.saturating_add_signed(delta));
        let _ = self.storage_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with);
    }

    fn storage_with(&self, bytes: u64, delta: i64) -> KernelResult<u64> {
        let (got, bound) =
            (bytes.saturating_add_signed(delta), self.storage_bytes_max.load(Ordering::SeqCst));
        if delta <= 0 || got <= bound {
            return Ok(got);
        }
        let what = "the bytes of the tenant's rows (storage_bytes_max)";
        Err(KernelError::Limit { what, got, bound })
    }

    fn set(&self, options: TenantOptions) {
        let bound = |bound: Option<u64>| bound.unwrap_or(NO_BOUND);
        self.memory_bytes_max.store(bound(options.memory_bytes_max), Ordering::SeqCst);
        self.storage_bytes_max.store(bound(options.storage_bytes_max), Ordering::SeqCst);
        let mut state = self.state.lock();
        if state.options.fuel_per_second != options.fuel_per_second {
            state.bucket = options.fuel_per_second.map(|rate| Bucket::new(rate, Instant::now()));
        }
        state.options = options;
        drop(state);
        self.freed.notify_all();
    }

    /// Lets a call into a guest begin, and bounds its fuel.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn admit(
        &self,
        work: Work,
        deadline: Instant,
        budget: &mut Budget,
    ) -> Result<Admitted<'_>, NotAdmitted> {
        let mut state = self.state.lock();
        let mut waiting_since = None;
        let admitted = loop {
            if work == Work::Background {
                break Ok(());
            }
            if self.removed.load(Ordering::SeqCst) {
                break Err(NotAdmitted::Removed(self.name.to_string()));
            }
            if let Some(bucket) = &mut state.bucket
                && let Err(wait) = bucket.begin(Instant::now())
            {
                break Err(NotAdmitted::Bound(self.no_fuel(bucket.rate, wait)));
            }
            let bound = state.options.calls_max.unwrap_or(u32::MAX);
            if state.calls_now < bound {
                if let Some(bucket) = &state.bucket {
                    budget.cut_to_tenant(bucket.rate);
                }
                break Ok(());
            }
            waiting_since.get_or_insert_with(Instant::now);
            if bound == 0 || self.freed.wait_until(&mut state, deadline).timed_out() {
                break Err(NotAdmitted::Bound(format!(
                    "the tenant '{}' has calls_max ({bound}) calls running; let fewer run at a time, or raise it",
                    self.name
                )));
            }
        };
        if admitted.is_ok() {
            state.calls_now += 1;
            add(&self.calls, 1);
        } else {
            add(&self.refused, 1);
        }
        drop(state);
        if let Some(since) = waiting_since {
            add(&self.waited_us, u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        admitted.map(|()| Admitted(self))
    }

    fn no_fuel(&self, rate: u64, wait: Duration) -> String {
        let again = match rate {
            0 => "it has none at all".to_owned(),
            _ => format!("there is some again in {} ms", wait.as_millis() + 1),
        };
        format!("the tenant '{}' has used up its fuel_per_second of {rate}; {again}", self.name)
    }

    /// Counts what a call of one guest has used.
    pub(crate) fn pay(&self, work: Work, fuel: u64) {
        add(&self.fuel, fuel);
        if work == Work::Background {
            add(&self.fuel_background, fuel);
        }
        if let Some(bucket) = &mut self.state.lock().bucket {
            bucket.pay(Instant::now(), fuel, work == Work::Foreground);
        }
    }

    /// Takes `bytes` of memory for an instance, if there is room, or idle instances can make room.
    pub(crate) fn take_memory(&self, bytes: u64) -> bool {
        self.try_take_memory(bytes) || {
            let holders = self.registry.upgrade().map(|registry| registry.holders());
            holders.unwrap_or_default().iter().for_each(|holder| holder.shed(self));
            self.try_take_memory(bytes)
        }
    }

    fn try_take_memory(&self, bytes: u64) -> bool {
        let bound = self.memory_bytes_max.load(Ordering::SeqCst);
        let with = |now: u64| now.checked_add(bytes).filter(|total| *total <= bound);
        let taken = self.memory_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with);
        if let Ok(before) = taken {
            self.memory_bytes_peak.fetch_max(before + bytes, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    pub(crate) fn give_memory_back(&self, bytes: u64) {
        let before = self.memory_bytes.fetch_sub(bytes, Ordering::SeqCst);
        assert!(bytes <= before, "{bytes} bytes come back of {before} that were taken");
    }

    /// The bound on its memory, for messages.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::SeqCst)
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }
}

/// Why a call did not begin.
pub(crate) enum NotAdmitted {
    /// The tenant is at a bound, which the text tells.
    Bound(String),
    /// There is no such tenant any more.
    Removed(String),
}

/// A call of a tenant, until it is dropped.
pub(crate) struct Admitted<'a>(&'a Tenant);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.state.lock().calls_now -= 1;
        self.0.freed.notify_one();
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// Fuel that comes in with time, up to one second's worth.
struct Bucket {
    rate: u64,
    /// Negative: owed.
    fuel: i128,
    filled: Instant,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Bucket {
        Bucket { rate, fuel: i128::from(rate), filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.filled).as_nanos();
        let more = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_mul(self.rate.into())
            / 1_000_000_000;
        if 0 < more {
            self.fuel = self.fuel.saturating_add(more).min(self.rate.into());
            self.filled = now;
        }
    }

    /// # Errors
    /// How long until there is fuel, when there is none.
    fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if 0 < self.fuel {
            return Ok(());
        }
        let (owed, rate) = ((1 - self.fuel).unsigned_abs(), u128::from(self.rate.max(1)));
        let nanos = owed.saturating_mul(1_000_000_000) / rate;
        Err(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn pay(&mut self, now: Instant, fuel: u64, may_owe: bool) {
        self.fill(now);
        let left = self.fuel - i128::from(fuel);
        self.fuel = if may_owe { left } else { left.max(self.fuel.min(0)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_holds_one_second_and_a_debt_is_repaid_by_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        assert_eq!(bucket.begin(start), Ok(()));
        bucket.pay(start, 1500, true);
        assert_eq!(bucket.begin(start), Err(Duration::from_millis(501)));
        assert!(bucket.begin(start + Duration::from_millis(499)).is_err());
        assert_eq!(bucket.begin(start + Duration::from_millis(501)), Ok(()));
        assert_eq!(bucket.begin(start + SECOND * 100), Ok(()));
        assert_eq!(bucket.fuel, 1000, "an hour of rest is worth one second");
    }

    #[test]
    fn work_in_the_background_empties_a_bucket_and_leaves_no_debt() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        bucket.pay(start, 1_000_000, false);
        assert_eq!(bucket.fuel, 0);
        bucket.pay(start, 500, true);
        bucket.pay(start, 1_000_000, false);
        assert_eq!(bucket.fuel, -500, "nor does it repay one");
    }

    #[test]
    fn odd_rates_and_times_do_no_harm() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, start);
        assert!(bucket.begin(start + SECOND).is_err());
        let mut bucket = Bucket::new(u64::MAX, start);
        bucket.pay(start, u64::MAX, true);
        bucket.pay(start, u64::MAX, true);
        assert_eq!(bucket.begin(start + SECOND * 1000), Ok(()));
        assert!(bucket.begin(start).is_ok(), "time that goes back fills nothing");
    }

    #[test]
    fn a_table_belongs_to_the_tenant_before_the_first_slash() {
        let tenants = Tenants::default();
        let of = |table: &str| tenants.of_table(table).map(|tenant| tenant.name().to_owned());
        assert_eq!(of("acme/orders").as_deref(), Some("acme"));
        assert_eq!(of("acme/team/orders").as_deref(), Some("acme"));
        assert_eq!(of("acme/../bolt/orders").as_deref(), Some("acme"));
        assert_eq!((of("orders"), of("/orders"), of("")), (None, None, None));
        assert_eq!(tenants.list().len(), 1);
        for bad in ["", "/", "a/b", "a\0"] {
            assert!(tenants.tenant(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn storage_is_bounded_in_one_step_and_may_always_shrink() {
        let tenants = Tenants::default();
        let options = TenantOptions { storage_bytes_max: Some(100), ..Default::default() };
        let acme = tenants.set("acme", options).unwrap();
        acme.set_storage(90);
        acme.take_storage(10).unwrap();
        let error = acme.take_storage(1).unwrap_err();
        assert!(matches!(error, KernelError::Limit { got: 101, bound: 100, .. }), "{error}");
        acme.set_storage(150);
        acme.take_storage(-10).unwrap();
        assert!(acme.take_storage(1).is_err());
        acme.add_storage(-200);
        assert_eq!(acme.usage().storage_bytes, 0);
        let tenth = acme.clone();
        let taken: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter(|_| tenth.take_storage(1).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap() as u32).sum()
        });
        assert_eq!(taken, 100);
    }

    #[test]
    fn memory_is_bounded_and_its_peak_remembered() {
        let tenants = Tenants::default();
        let options = TenantOptions { memory_bytes_max: Some(100), ..Default::default() };
        let acme = tenants.set("acme", options).unwrap();
        assert!(acme.take_memory(60) && acme.take_memory(40) && !acme.take_memory(1));
        acme.give_memory_back(100);
        assert!(!acme.take_memory(u64::MAX));
        let usage = acme.usage();
        assert_eq!((usage.memory_bytes, usage.memory_bytes_peak), (0, 100));
    }

    #[test]
    fn a_removed_tenant_is_another_one_when_it_comes_again() {
        let tenants = Tenants::default();
        let old = tenants.tenant("acme").unwrap();
        assert!(tenants.remove("acme") && !tenants.remove("acme"));
        assert!(old.is_removed() && tenants.get("acme").is_none());
        let new = tenants.tenant("acme").unwrap();
        assert!(!Arc::ptr_eq(&old, &new) && !new.is_removed());
    }
}
