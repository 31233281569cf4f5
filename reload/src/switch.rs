//! The switch between two versions of one thing, which callers meet at every call.
//!
//! ```text
//!              usual ◀──────────── most calls, and all that the trial fails
//!   pick() ──▶                                            share: 1 of 1,000 ... all
//!              trial ◀──────────── its share of the calls
//!
//!   begin(new, share)   share(more)   keep(): the trial is the usual   drop_trial(): it never was
//! ```
//!
//! 1. A caller gets one version by [`pick`](Switch::pick) and calls it; what changes meanwhile changes nothing for
//!    that call.
//! 2. While there is a trial, whoever picks it gets the usual version too, to fall back on.
//! 3. Changes are one store. Nobody waits for one longer than for a pointer to be written.
//! 4. The usual version is one that has been kept, or the first.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The share that is all calls: shares are in thousandths.
pub const WHOLE: u16 = 1000;

/// A number without a common divisor with [`WHOLE`], so that a share's calls are spread among the others.
const STRIDE: u64 = 617;

/// Who serves the calls of one plugin.
pub struct Switch<V> {
    route: RwLock<Route<V>>,
    calls: AtomicU64,
}

struct Route<V> {
    usual: Arc<V>,
    trial: Option<(Arc<V>, u16)>,
}

/// Who serves one call.
pub struct Pick<V> {
    /// The version to call.
    pub version: Arc<V>,
    /// The one to fall back on, when the version is on trial.
    pub fallback: Option<Arc<V>>,
}

impl<V> Switch<V> {
    /// A switch to the only version there is.
    pub fn new(usual: Arc<V>) -> Switch<V> {
        Switch { route: RwLock::new(Route { usual, trial: None }), calls: AtomicU64::new(0) }
    }

    /// Who serves the call that comes now.
    pub fn pick(&self) -> Pick<V> {
        let route = self.route.read();
        match &route.trial {
            Some((trial, share)) if self.is_in(*share) => {
                Pick { version: trial.clone(), fallback: Some(route.usual.clone()) }
            }
            _ => Pick { version: route.usual.clone(), fallback: None },
        }
    }

    fn is_in(&self, share: u16) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        call.wrapping_mul(STRIDE) % u64::from(WHOLE) < u64::from(share)
    }

    /// The version that has proven itself.
    pub fn usual(&self) -> Arc<V> {
        self.route.read().usual.clone()
    }

    /// The version that most is expected of: the trial when it serves every call, else the usual one.
    pub fn leading(&self) -> Arc<V> {
        let route = self.route.read();
        match &route.trial {
            Some((trial, WHOLE)) => trial.clone(),
            _ => route.usual.clone(),
        }
    }

    /// The version on trial and its share in thousandths.
    pub fn trial(&self) -> Option<(Arc<V>, u16)> {
        self.route.read().trial.clone()
    }

    /// Whether calls can still reach `version`.
    pub fn has(&self, version: &Arc<V>) -> bool {
        let route = self.route.read();
        Arc::ptr_eq(&route.usual, version)
            || route.trial.as_ref().is_some_and(|(trial, _)| Arc::ptr_eq(trial, version))
    }

    /// Puts `trial` on trial with `share` thousandths of the calls, or gives the one that is on trial that share.
    /// `false` when another one is on trial: then nothing changes.
    pub fn begin(&self, trial: &Arc<V>, share: u16) -> bool {
        let mut route = self.route.write();
        match &mut route.trial {
            Some((present, _)) if !Arc::ptr_eq(present, trial) => false,
            place => {
                *place = Some((trial.clone(), share.min(WHOLE)));
                true
            }
        }
    }

    /// Makes `trial`, if it is the one on trial, the usual version; returns the one that was.
    pub fn keep(&self, trial: &Arc<V>) -> Option<Arc<V>> {
        let mut route = self.route.write();
        let is_it = |(present, _): &mut (Arc<V>, u16)| Arc::ptr_eq(present, trial);
        let (kept, _) = route.trial.take_if(is_it)?;
        Some(std::mem::replace(&mut route.usual, kept))
    }

    /// Ends the trial of `trial`, if it is the one on trial; whether it was.
    pub fn drop_trial(&self, trial: &Arc<V>) -> bool {
        let mut route = self.route.write();
        let is_it = |(present, _): &mut (Arc<V>, u16)| Arc::ptr_eq(present, trial);
        let dropped = route.trial.take_if(is_it);
        drop(route);
        dropped.is_some()
    }

    /// Installs `version` without a trial; returns what was usual, and what was on trial.
    pub fn replace(&self, version: Arc<V>) -> (Arc<V>, Option<Arc<V>>) {
        let mut route = self.route.write();
        let usual = std::mem::replace(&mut route.usual, version);
        (usual, route.trial.take().map(|(trial, _)| trial))
    }
}

#[cfg(test)]
mod tests;
