//! The clock that records are timed by: the processor's counter where it has a steady one, read as it is and
//! made into nanoseconds only where somebody needs those. Two readings are all that timing an import costs.

use quanta::Clock;
use std::sync::LazyLock;
use std::time::Duration;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(u64);

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

impl Ticks {
    /// This moment.
    pub(crate) fn now() -> Ticks {
        Ticks(CLOCK.raw())
    }

    /// Nanoseconds from `earlier` to here; zero if it is later.
    pub(crate) fn nanos_since(self, earlier: Ticks) -> u64 {
        CLOCK.delta_as_nanos(earlier.0, self.0)
    }

    /// The same.
    pub(crate) fn since(self, earlier: Ticks) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn it_goes_as_the_systems_clock_does_and_never_backwards() {
        let (began, ticks) = (Instant::now(), Ticks::now());
        std::thread::sleep(Duration::from_millis(20));
        let (ended, took) = (Ticks::now(), began.elapsed());
        assert!(Duration::from_millis(19) < ended.since(ticks), "{:?}", ended.since(ticks));
        assert!(ended.since(ticks) < took + Duration::from_millis(1), "{took:?}");
        assert_eq!(ticks.nanos_since(ended), 0);
    }
}
