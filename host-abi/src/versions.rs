//! The versions of one plugin, as its calls meet them.
//!
//! What the kernel was given stays for ever; what runs behind it changes. Each call of a guest picks one version
//! and runs wholly on that one.
//!
//! ```text
//!   call ──▶ Switch ──▶ a version ── answered ──▶ done
//!                           └─ failed, and on trial ──▶ the usual version, the same call
//!                                                         ├─ answered ──▶ done, and the trial is over
//!                                                         └─ failed too ──▶ that is the answer
//! ```
//!
//! - A version that was closed between the pick and the call is no failure: the call is picked for again.
//! - What is written to stay (flushes, merges, builds) is the usual version's work, until another one has been kept:
//!   then there is no going back to a version that could not read it. How a new version writes shows in its
//!   [trial](crate::plugin_hot_reload::trial), in memory.
//! - What a version on trial answers is checked before it is an answer, like any other.

use crate::plugin::Plugin;
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use crate::tenant::Tenants;
use crate::wasm_host_abi::{Exports, GuestError};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_reload::Switch;
use std::sync::{Arc, OnceLock, Weak};

/// How often a call is picked for again; each time somebody has closed a version.
const PICKS_MAX: usize = 16;

/// The versions of one plugin.
pub(crate) struct Versions<E: Exports> {
    name: Arc<str>,
    tenants: Tenants,
    pub(crate) switch: Switch<Pools<E>>,
}

/// The version that a piece of work of several calls began with.
pub(crate) struct Pin<E: Exports>(Option<Weak<Pools<E>>>);

impl<E: Exports> Default for Pin<E> {
    fn default() -> Pin<E> {
        Pin(None)
    }
}

/// Who serves a call.
struct Picked<E: Exports> {
    version: Arc<Pools<E>>,
    fallback: Option<Arc<Pools<E>>>,
}

impl<E: Exports> Versions<E> {
    /// With this version only.
    pub(crate) fn new(only: Arc<Pools<E>>) -> Arc<Versions<E>> {
        let (name, tenants) =
            (only.plugin().manifest.name.as_str().into(), only.plugin().tenants.clone());
        Arc::new(Versions { name, tenants, switch: Switch::new(only) })
    }

    pub(crate) fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// The version that serves most calls.
    pub(crate) fn plugin(&self) -> Arc<Plugin> {
        self.switch.leading().plugin().clone()
    }

    /// Lets an instance of the usual version work, once, also while another one is on trial.
    ///
    /// # Errors
    /// As [`Pools::call_on`].
    pub(crate) fn call_once<R>(
        &self,
        terms: &Terms,
        function: &'static str,
        work: impl FnOnce(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
    ) -> KernelResult<R> {
        let mut work = Some(work);
        let mut picks = 0;
        let terms = Terms { as_fallback: true, ..terms.clone() };
        loop {
            let usual = self.switch.usual();
            let answer = usual.call_on(&terms, function, |call| {
                work.take().expect("it is taken by the call that begins it")(call)
            });
            picks += 1;
            let is_replaced = matches!(answer, Err(KernelError::Closed(_)))
                && !Arc::ptr_eq(&self.switch.usual(), &usual);
            if work.is_none() || !is_replaced || picks == PICKS_MAX {
                return answer;
            }
        }
    }

    /// Lets an instance of one version work, and checks its answer: with the version to fall back on, if it is on
    /// trial. `work` is done again by that one when it fails.
    ///
    /// # Errors
    /// As [`Pools::call_on`]; `Plugin` with [`PluginFault::Lied`] for an answer that is none.
    pub(crate) fn call<R, T>(
        &self,
        terms: &Terms,
        function: &'static str,
        work: impl FnMut(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
        check: impl FnMut(R, Option<&Pools<E>>) -> Result<T, String>,
    ) -> KernelResult<T> {
        self.call_pinned(&mut Pin(None), terms, function, work, check)
    }

    /// As [`call`](Self::call), for what has one right answer: while a version is on trial, the usual one is asked the
    /// same, and another answer ends the trial.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn call_compared<R, T: PartialEq>(
        &self,
        terms: &Terms,
        function: &'static str,
        mut work: impl FnMut(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
        check: impl Fn(R) -> Result<T, String>,
    ) -> KernelResult<T> {
        let mut asked = None;
        let answer = self.call(terms, function, &mut work, |answer, fallback| {
            asked = fallback.is_some().then(|| self.switch.trial()).flatten();
            check(answer)
        })?;
        let Some((trial, _)) = asked else { return Ok(answer) };
        let usual = self.switch.usual();
        if Arc::ptr_eq(&usual, &trial) {
            return Ok(answer);
        }
        let terms = Terms { as_fallback: true, ..terms.clone() };
        let again = usual.call_on(&terms, function, &mut work);
        match again.map(&check) {
            Ok(Ok(other)) if other != answer => {
                let why = "another answer than the version before";
                self.blame(&trial, function, &self.lied(function, why));
                Ok(other)
            }
            // What the version before cannot do says nothing about the one that did it.
            _ => Ok(answer),
        }
    }

    /// As [`call`](Self::call), on the version that was called with this pin before, as long as it serves.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn call_pinned<R, T>(
        &self,
        pin: &mut Pin<E>,
        terms: &Terms,
        function: &'static str,
        mut work: impl FnMut(&mut Call<'_, E>) -> wasmtime::Result<Result<R, GuestError>>,
        mut check: impl FnMut(R, Option<&Pools<E>>) -> Result<T, String>,
    ) -> KernelResult<T> {
        let mut picks = 0;
        loop {
            let Picked { version, fallback } = self.pick(pin.0.take());
            let mut ask = |version: &Pools<E>, terms: &Terms, fallback: Option<&Pools<E>>| {
                let answer = version.call_on(terms, function, &mut work)?;
                check(answer, fallback).map_err(|why| self.lied(function, &why))
            };
            let answer = ask(&version, terms, fallback.as_deref());
            let Err(error) = answer else {
                pin.0 = Some(Arc::downgrade(&version));
                return answer;
            };
            picks += 1;
            if self.has_moved(&version, &error) && picks < PICKS_MAX {
                continue;
            }
            let Some(usual) = fallback else { return Err(error) };
            let terms = Terms { as_fallback: true, ..terms.clone() };
            let answer = ask(&usual, &terms, None);
            match &answer {
                Ok(_) => {
                    self.blame(&version, function, &error);
                    pin.0 = Some(Arc::downgrade(&usual));
                }
                // Meanwhile the version was kept.
                Err(KernelError::Closed(_)) => return Err(error),
                Err(_) => {}
            }
            return answer;
        }
    }

    /// An answer that makes no sense.
    pub(crate) fn lied(&self, function: &str, why: &str) -> KernelError {
        KernelError::plugin(&self.name, PluginFault::Lied, format!("{function}: {why}"))
    }

    /// Ends every version.
    ///
    /// # Errors
    /// The first that an instance's `shutdown` answered; all are ended nevertheless.
    pub(crate) fn shutdown(&self) -> KernelResult<()> {
        let trial = self.switch.trial().map_or(Ok(()), |(trial, _)| trial.shutdown());
        self.switch.usual().shutdown().and(trial)
    }

    fn pick(&self, pin: Option<Weak<Pools<E>>>) -> Picked<E> {
        let pinned = pin.and_then(|pin| pin.upgrade()).filter(|pinned| self.switch.has(pinned));
        if let Some(version) = pinned {
            let usual = self.switch.usual();
            let fallback = Some(usual).filter(|usual| !Arc::ptr_eq(usual, &version));
            return Picked { version, fallback };
        }
        let picked = self.switch.pick();
        Picked { version: picked.version, fallback: picked.fallback }
    }

    /// Whether a call was refused only because another version has taken the place of `version`.
    fn has_moved(&self, version: &Arc<Pools<E>>, error: &KernelError) -> bool {
        matches!(error, KernelError::Closed(_))
            && (!self.switch.has(version) || !Arc::ptr_eq(&self.switch.leading(), version))
    }

    /// Takes a version off its trial: it failed where another one does not.
    fn blame(&self, version: &Arc<Pools<E>>, function: &str, error: &KernelError) {
        self.switch.usual().take_back();
        if self.switch.drop_trial(version) {
            version.plugin().taken_out(format!("{function} failed on trial: {error}"));
        }
    }
}

/// One version of a plugin.
pub(crate) trait Version: Send + Sync {
    type Exports: Exports;

    /// Whether a transaction keeps the version that it began with.
    const IS_OF_TRANSACTIONS: bool = false;

    /// Its instances.
    fn pools(&self) -> &Pools<Self::Exports>;
}

impl<E: Exports> Version for Pools<E> {
    type Exports = E;

    fn pools(&self) -> &Pools<E> {
        self
    }
}

/// A transaction cannot change versions in its midst. When a version on trial fails it, the trial is over, and the
/// transaction is told that others changed what it relied on: run again, it begins with the version before. So it is
/// when the version that it began with has handed over what it knew: run again, it begins with the one after.
pub(crate) fn judged<V: Version>(
    version: &V,
    line: &OnceLock<Weak<Switch<V>>>,
    function: &str,
    error: KernelError,
) -> KernelError {
    if matches!(error, KernelError::Closed(_)) && version.pools().has_ended() {
        let name = &version.pools().plugin().manifest.name;
        let text = format!("the plugin '{name}' was replaced while a transaction worked with it");
        return KernelError::Conflict(text);
    }
    let is_its_own = |error: &KernelError| {
        let KernelError::Plugin { fault, .. } = error else { return false };
        matches!(fault, PluginFault::Trapped | PluginFault::Exhausted | PluginFault::Lied)
    };
    let line = line.get().and_then(Weak::upgrade);
    let Some(line) = line.filter(|_| is_its_own(&error)) else { return error };
    let plugin = version.pools().plugin();
    let Some((trial, _)) = line.trial().filter(|(trial, _)| std::ptr::eq(&**trial, version)) else {
        // Somebody else has ended it already, while this transaction was on it.
        return match plugin.why_taken_out() {
            Some(why) => again(&plugin.manifest.name, why),
            None => error,
        };
    };
    let why = format!("{function} failed on trial: {error}");
    let mut was_on_trial = false;
    plugin.turn(&mut || was_on_trial = line.drop_trial(&trial));
    if was_on_trial {
        plugin.taken_out(why.clone());
    }
    again(&plugin.manifest.name, &why)
}

fn again(plugin: &str, why: &str) -> KernelError {
    KernelError::Conflict(format!("the new version of the plugin '{plugin}' was taken back: {why}"))
}
