//! What becomes of a plugin that keeps failing.
//!
//! ```text
//!             failures in a row: 5                          20
//!   working ───────────────────────▶ backing off ───────────────────▶ quarantined
//!      ▲                              │       ▲                          │
//!      │        a trial succeeds      │       └ a trial fails:           │ released, or replaced
//!      └──────────────────────────────┘         twice as long            ▼
//!                                                                     working
//! ```
//!
//! - Kept for each plugin *and tenant*: what one tenant does to a plugin is no other tenant's trouble.
//! - A failure is a trap, an exhausted limit of the plugin's own, or a start that failed. An error that the
//!   guest answers is none, nor is a bound of its tenant or its caller.
//! - While it backs off, calls get [`Quarantined`](PluginFault::Quarantined) at once. When the time is over
//!   one of them is the trial; calls that began before have no say any more, so that many failures at the
//!   same moment are one step.
//! - A plugin that is loaded again is another one, and begins to work.

use crate::limits::quarantine::{
    BACK_OFF_FAILURES, BACK_OFF_FIRST, BACK_OFF_MAX, QUARANTINE_FAILURES,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a plugin does, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// It is called.
    Working,
    /// It is not called for a while.
    BackingOff {
        /// Why the last call failed.
        reason: String,
        /// Failures in a row.
        failures: u32,
        /// Milliseconds until it is tried again.
        again_in_ms: u64,
    },
    /// It is not called until it is released or replaced.
    Quarantined {
        /// Why the last call failed.
        reason: String,
        /// Failures in a row.
        failures: u32,
        /// When it was quarantined, in milliseconds since 1970.
        since_unix_ms: u64,
    },
}

impl Health {
    /// `working`, `backing off` or `quarantined`.
    pub fn name(&self) -> &'static str {
        match self {
            Health::Working => "working",
            Health::BackingOff { .. } => "backing off",
            Health::Quarantined { .. } => "quarantined",
        }
    }
}

/// How a plugin does for a tenant that it does not work for as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantHealth {
    /// The tenant; `None` is who works for no tenant.
    pub tenant: Option<String>,
    /// How it does there.
    pub health: Health,
}

/// How one plugin does for everybody.
#[derive(Default)]
pub(crate) struct Healths(Mutex<BTreeMap<Option<String>, Arc<Keeper>>>);

impl Healths {
    /// Who keeps the plugin from failing on and on for `tenant`.
    pub(crate) fn keeper(&self, tenant: Option<&str>) -> Arc<Keeper> {
        self.0.lock().entry(tenant.map(str::to_owned)).or_default().clone()
    }

    /// For whom it does not work as it should.
    pub(crate) fn unwell(&self) -> Vec<TenantHealth> {
        let now = Instant::now();
        let keepers = self.0.lock();
        let health = |(tenant, keeper): (&Option<String>, &Arc<Keeper>)| TenantHealth {
            tenant: tenant.clone(),
            health: keeper.state.lock().health(now),
        };
        let unwell = |health: &TenantHealth| health.health != Health::Working;
        keepers.iter().map(health).filter(unwell).collect()
    }

    /// Lets it work for everybody again. Whether it was kept from that for anybody.
    pub(crate) fn release(&self) -> bool {
        let was_kept = !self.unwell().is_empty();
        self.0.lock().values().for_each(|keeper| keeper.release());
        was_kept
    }

    pub(crate) fn forget(&self, tenant: &str) {
        self.0.lock().remove(&Some(tenant.to_owned()));
    }
}

/// Decides whether a plugin is called for a tenant.
#[derive(Default)]
pub(crate) struct Keeper {
    /// A copy of the state's, so that calls of a plugin that works take no lock.
    failures: AtomicU32,
    state: Mutex<State>,
}

/// Why the plugin is not called now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept(pub(crate) String);

/// A call that may begin, and says how it ended; otherwise it had no verdict.
pub(crate) struct Ticket<'a> {
    keeper: &'a Keeper,
    /// Failures when it began.
    failures: u32,
    is_trial: bool,
}

impl Keeper {
    /// # Errors
    /// Why the plugin may not be called at the moment `now`.
    pub(crate) fn admit(&self, now: Instant) -> Result<Ticket<'_>, Kept> {
        let mut ticket = Ticket { keeper: self, failures: 0, is_trial: false };
        if self.failures.load(Ordering::Relaxed) != 0 {
            let mut state = self.state.lock();
            ticket.is_trial = state.admit(now)?;
            ticket.failures = state.failures;
        }
        Ok(ticket)
    }

    fn release(&self) {
        let mut state = self.state.lock();
        *state = State::default();
        self.failures.store(0, Ordering::Relaxed);
    }
}

impl Ticket<'_> {
    /// The guest answered.
    pub(crate) fn succeeded(self) {
        if self.keeper.failures.load(Ordering::Relaxed) != 0 {
            let mut state = self.keeper.state.lock();
            state.succeeded(self.is_trial);
            self.keeper.failures.store(state.failures, Ordering::Relaxed);
        }
    }

    /// The guest failed. How it does now, when that changed.
    pub(crate) fn failed(self, now: Instant, reason: &str) -> Option<Health> {
        let mut state = self.keeper.state.lock();
        let before = state.failures;
        state.failed(self.failures, self.is_trial, now, reason);
        self.keeper.failures.store(state.failures, Ordering::Relaxed);
        let changed = before < state.failures && BACK_OFF_FAILURES <= state.failures;
        changed.then(|| state.health(now))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.keeper.state.lock().in_trial = false;
        }
    }
}

/// Where a plugin stands, with time as an argument.
#[derive(Debug, Default)]
struct State {
    failures: u32,
    reason: String,
    /// When it may be tried again, while it backs off.
    again: Option<Instant>,
    in_trial: bool,
    since_unix_ms: u64,
}

impl State {
    /// Whether the call that may begin is the trial.
    fn admit(&mut self, now: Instant) -> Result<bool, Kept> {
        if QUARANTINE_FAILURES <= self.failures {
            return Err(Kept(format!(
                "{} calls failed one after the other; release or replace it; the last one: {}",
                self.failures, self.reason
            )));
        }
        let Some(again) = self.again else { return Ok(false) };
        if !self.in_trial && again <= now {
            self.in_trial = true;
            return Ok(true);
        }
        let when = match again.saturating_duration_since(now).as_millis() {
            0 => "it is being tried again".to_owned(),
            ms => format!("it is tried again in {ms} ms"),
        };
        Err(Kept(format!(
            "{} calls failed one after the other; {when}; the last one: {}",
            self.failures, self.reason
        )))
    }

    fn succeeded(&mut self, is_trial: bool) {
        // A call that began before it backed off proves nothing.
        if self.again.is_none() || is_trial {
            *self = State { in_trial: self.in_trial, ..State::default() };
        }
    }

    fn failed(&mut self, failures_at_begin: u32, is_trial: bool, now: Instant, reason: &str) {
        let is_trial = is_trial && failures_at_begin == self.failures;
        if self.again.is_some() && !is_trial || self.was_released_since(failures_at_begin) {
            return;
        }
        self.failures += 1;
        self.reason = reason.to_owned();
        if QUARANTINE_FAILURES <= self.failures {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.since_unix_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        }
        if BACK_OFF_FAILURES <= self.failures {
            self.again = Some(now + back_off(self.failures));
        }
    }

    /// Failures only grow in number, unless a success or somebody ends the row.
    fn was_released_since(&self, failures_at_begin: u32) -> bool {
        self.failures < failures_at_begin
    }

    fn health(&self, now: Instant) -> Health {
        let (reason, failures) = (self.reason.clone(), self.failures);
        match self.again {
            _ if QUARANTINE_FAILURES <= failures => {
                Health::Quarantined { reason, failures, since_unix_ms: self.since_unix_ms }
            }
            Some(again) => {
                let wait = again.saturating_duration_since(now).as_millis();
                let again_in_ms = u64::try_from(wait).unwrap_or(u64::MAX);
                Health::BackingOff { reason, failures, again_in_ms }
            }
            None => Health::Working,
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(BACK_OFF_FAILURES).min(31);
    BACK_OFF_FIRST.saturating_mul(1 << doublings).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(keeper: &Keeper, now: Instant) -> Option<Health> {
        keeper.admit(now).ok().unwrap().failed(now, "a trap")
    }

    #[test]
    fn a_few_failures_change_nothing_and_a_success_forgets_them() {
        let (keeper, now) = (Keeper::default(), Instant::now());
        for _ in 0..10 {
            for _ in 1..BACK_OFF_FAILURES {
                assert_eq!(fail(&keeper, now), None);
            }
            keeper.admit(now).ok().unwrap().succeeded();
        }
        assert_eq!(keeper.state.lock().health(now), Health::Working);
    }

    #[test]
    fn it_backs_off_twice_as_long_each_time_and_then_is_quarantined() {
        let (keeper, mut now) = (Keeper::default(), Instant::now());
        let start = now;
        for _ in 1..BACK_OFF_FAILURES {
            fail(&keeper, now);
        }
        let mut wait = BACK_OFF_FIRST;
        for failures in BACK_OFF_FAILURES..QUARANTINE_FAILURES {
            let again_in_ms = wait.as_millis() as u64;
            let reason = "a trap".to_owned();
            assert_eq!(
                fail(&keeper, now),
                Some(Health::BackingOff { reason, failures, again_in_ms })
            );
            let Kept(why) = keeper.admit(now).err().unwrap();
            assert!(
                why.contains("a trap") && why.contains(&format!("in {again_in_ms} ms")),
                "{why}"
            );
            assert!(keeper.admit(now + wait - Duration::from_millis(1)).is_err());
            now += wait;
            wait = (wait * 2).min(BACK_OFF_MAX);
        }
        let Some(Health::Quarantined { failures, since_unix_ms, .. }) = fail(&keeper, now) else {
            panic!("{:?}", keeper.state)
        };
        assert!(failures == QUARANTINE_FAILURES && 0 < since_unix_ms);
        assert!(Duration::from_secs(60) < now - start, "{:?}", now - start);
        assert!(keeper.admit(now + Duration::from_secs(1_000_000)).is_err());
        keeper.release();
        keeper.admit(now).ok().unwrap().succeeded();
    }

    #[test]
    fn there_is_one_trial_at_a_time_and_only_it_counts() {
        let (keeper, now) = (Keeper::default(), Instant::now());
        let early: Vec<_> = (0..50).map(|_| keeper.admit(now).ok().unwrap()).collect();
        let late = keeper.admit(now).ok().unwrap();
        for ticket in early {
            ticket.failed(now, "all at the same time");
        }
        assert_eq!(keeper.state.lock().failures, BACK_OFF_FAILURES);
        late.succeeded();
        assert!(keeper.admit(now).is_err(), "that proved nothing");
        let later = now + BACK_OFF_FIRST;
        let trial = keeper.admit(later).ok().unwrap();
        let Kept(why) = keeper.admit(later).err().unwrap();
        assert!(why.contains("being tried"), "{why}");
        drop(trial);
        let trial = keeper.admit(later).ok().unwrap();
        trial.succeeded();
        assert_eq!(keeper.state.lock().health(later), Health::Working);
        keeper.admit(later).ok().unwrap().succeeded();
    }

    #[test]
    fn a_release_during_a_trial_is_not_undone_by_it() {
        let (keeper, now) = (Keeper::default(), Instant::now());
        for _ in 0..BACK_OFF_FAILURES {
            fail(&keeper, now);
        }
        let trial = keeper.admit(now + BACK_OFF_FIRST).ok().unwrap();
        keeper.release();
        assert_eq!(trial.failed(now, "late"), None);
        assert_eq!(keeper.state.lock().health(now), Health::Working);
    }

    #[test]
    fn tenants_have_a_health_of_their_own() {
        let (healths, now) = (Healths::default(), Instant::now());
        let (acme, bolt) = (healths.keeper(Some("acme")), healths.keeper(Some("bolt")));
        for _ in 0..BACK_OFF_FAILURES {
            fail(&acme, now);
        }
        assert!(acme.admit(now).is_err() && bolt.admit(now).is_ok());
        assert!(healths.keeper(None).admit(now).is_ok());
        let unwell = healths.unwell();
        assert_eq!((unwell.len(), unwell[0].tenant.as_deref()), (1, Some("acme")));
        assert_eq!(unwell[0].health.name(), "backing off");
        assert!(healths.release() && !healths.release());
        assert!(acme.admit(now).is_ok());
        for _ in 0..BACK_OFF_FAILURES {
            fail(&acme, now);
        }
        healths.forget("acme");
        assert!(healths.keeper(Some("acme")).admit(now).is_ok(), "a new tenant of that name");
    }
}
