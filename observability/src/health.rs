//! How each part of a database is, and what an orchestrator should do about it.
//!
//! | question | answered with no when                                   | an orchestrator then   |
//! |----------|---------------------------------------------------------|------------------------|
//! | live?    | the kernel has failed: only opening it anew can help    | starts it anew         |
//! | ready?   | it is not live, or is still being opened                | sends nobody there     |
//!
//! A plugin that fails, or a tenant at its bounds, is seen in the answer and changes neither: the database serves.

use parking_lot::Mutex;
use sochdb_telemetry::{ComponentHealth, HealthState};
use std::sync::{Arc, Weak};

/// The component that the database cannot do without.
pub const KERNEL: &str = "kernel";

/// Somebody who knows how parts of the database are.
pub trait HealthSource: Send + Sync {
    /// How they are now. Must not wait.
    fn health(&self) -> Vec<ComponentHealth>;
}

/// Everybody who is asked.
#[derive(Default)]
pub(crate) struct Checks(Mutex<Vec<Weak<dyn HealthSource>>>);

impl Checks {
    pub(crate) fn add(&self, source: &Arc<dyn HealthSource>) {
        let mut checks = self.0.lock();
        checks.retain(|check| 0 < check.strong_count());
        checks.push(Arc::downgrade(source));
    }

    /// The kernel first, then by kind and name.
    pub(crate) fn ask(&self) -> Vec<ComponentHealth> {
        let sources: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let mut all: Vec<_> = sources.iter().flat_map(|source| source.health()).collect();
        let key =
            |of: &ComponentHealth| (of.component != KERNEL, of.component.clone(), of.name.clone());
        all.sort_by_cached_key(key);
        all
    }
}

/// What an orchestrator asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Whether the process is worth keeping.
    pub live: bool,
    /// Whether it can be sent work.
    pub ready: bool,
}

/// The answers, from how each part is. Nothing known of a kernel means that it is not open yet; of several, the one
/// that is worst off counts.
pub fn probe(health: &[ComponentHealth]) -> Probe {
    let mut kernels = health.iter().filter(|health| health.component == KERNEL).peekable();
    let known = kernels.peek().is_some();
    let everything = Probe { live: true, ready: known };
    kernels.fold(everything, |so_far, kernel| Probe {
        live: so_far.live && kernel.state != HealthState::Failed,
        ready: so_far.ready && matches!(kernel.state, HealthState::Healthy | HealthState::Degraded),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Parts(Vec<ComponentHealth>);

    impl HealthSource for Parts {
        fn health(&self) -> Vec<ComponentHealth> {
            self.0.clone()
        }
    }

    fn part(component: &str, name: &str, state: HealthState) -> ComponentHealth {
        let [component, name, why] = [component, name, ""].map(str::to_owned);
        ComponentHealth { component, name, state, why }
    }

    fn kernel(state: HealthState) -> ComponentHealth {
        part(KERNEL, "", state)
    }

    #[test]
    fn the_kernel_alone_decides() {
        use HealthState::*;
        let answers = [Healthy, Starting, Degraded, Failed].map(|state| {
            let Probe { live, ready } = probe(&[part("plugin", "lz4", Failed), kernel(state)]);
            (live, ready)
        });
        assert_eq!(answers, [(true, true), (true, false), (true, true), (false, false)]);
    }

    #[test]
    fn before_a_kernel_is_known_it_is_live_and_not_ready() {
        let starting = Probe { live: true, ready: false };
        assert_eq!(probe(&[]), starting);
        assert_eq!(probe(&[part("plugin", "lz4", HealthState::Healthy)]), starting);
    }

    #[test]
    fn of_several_kernels_the_worst_counts() {
        use HealthState::*;
        assert_eq!(probe(&[kernel(Healthy), kernel(Starting)]), Probe { live: true, ready: false });
        assert_eq!(probe(&[kernel(Healthy), kernel(Failed)]), Probe { live: false, ready: false });
        assert_eq!(probe(&[kernel(Healthy), kernel(Degraded)]), Probe { live: true, ready: true });
    }

    #[test]
    fn the_kernel_comes_first_and_who_is_gone_is_not_asked() {
        let checks = Checks::default();
        let healthy = |component, name| part(component, name, HealthState::Healthy);
        let plugins: Arc<dyn HealthSource> = Arc::new(Parts(vec![
            healthy("plugin", "b"),
            healthy("plugin", "a"),
            healthy("audit", ""),
        ]));
        let kernel: Arc<dyn HealthSource> = Arc::new(Parts(vec![kernel(HealthState::Healthy)]));
        checks.add(&plugins);
        checks.add(&kernel);
        let names = || {
            let all = checks.ask().into_iter();
            all.map(|part| format!("{} {}", part.component, part.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["kernel ", "audit ", "plugin a", "plugin b"]);
        drop(plugins);
        assert_eq!(names(), ["kernel "]);
        checks.add(&kernel);
        assert_eq!(checks.0.lock().len(), 2);
    }
}
