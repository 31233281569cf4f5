//! The clock that calls, imports and spans are timed by: the processor's counter where it has a steady one, read as
//! it is and made into nanoseconds only where somebody needs those. Two readings are all that timing something costs.
//!
//! How long a tick is nobody waits to find out. The first moment of all notes the counter beside the system's clock;
//! whoever asks for nanoseconds looks how far both have come since. What is timed lies within that time, so it is wrong
//! by no more than the two readings are apart, some ten nanoseconds. After [`Ticks::SETTLED`] the answer is kept.
//!
//! Elsewhere a tick is a nanosecond of the system's clock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often both clocks are read for one [`Pair`]; that in which least happened in between counts.
const TRIES: usize = 5;
/// Nanoseconds of a tick are counted in parts of 2^-32.
const SHIFT: u32 = 32;

static FIRST: LazyLock<First> = LazyLock::new(First::now);
/// Nanoseconds of a tick, once they are settled; zero before.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// So long after the first tick of all, whoever asks for nanoseconds settles how many a tick takes. The error is
    /// some ten nanoseconds of this time then, less than a crystal drifts.
    pub const SETTLED: Duration = Duration::from_millis(100);

    /// This moment.
    #[inline]
    pub fn now() -> Ticks {
        let first = &*FIRST;
        Ticks(if first.is_steady { counter() } else { nanos(first.pair.clock.elapsed()) })
    }

    /// Nanoseconds from `earlier` to here; zero if it is later.
    pub fn nanos_since(self, earlier: Ticks) -> u64 {
        let scaled = u128::from(self.0.saturating_sub(earlier.0)) * u128::from(scale());
        u64::try_from(scaled >> SHIFT).unwrap_or(u64::MAX)
    }

    /// The same.
    pub fn since(self, earlier: Ticks) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Ticks::now().since(self)
    }

    /// So long ago.
    #[cfg(test)]
    pub(crate) fn ago(time: Duration) -> Ticks {
        let Ticks(now) = Ticks::now();
        let ticks = (u128::from(nanos(time)) << SHIFT) / u128::from(scale());
        Ticks(now.checked_sub(ticks as u64).expect("the counter began before the test"))
    }
}

/// How both clocks stood at one moment.
struct Pair {
    clock: Instant,
    ticks: u64,
}

impl Pair {
    /// Somebody else may run between two readings, so the closest of several counts.
    fn now() -> Pair {
        let read = |_| {
            let (before, clock, after) = (counter(), Instant::now(), counter());
            let apart = after.saturating_sub(before);
            (apart, Pair { clock, ticks: before + apart / 2 })
        };
        let (_, pair) =
            (0..TRIES).map(read).min_by_key(|(apart, _)| *apart).expect("there are some");
        pair
    }
}

/// The first moment of all.
struct First {
    is_steady: bool,
    pair: Pair,
}

impl First {
    fn now() -> First {
        let is_steady = is_steady();
        if !is_steady {
            SCALE.store(1 << SHIFT, Ordering::Relaxed);
        }
        First { is_steady, pair: Pair::now() }
    }
}

/// Nanoseconds of a tick.
fn scale() -> u64 {
    match SCALE.load(Ordering::Relaxed) {
        0 => scale_so_far(),
        settled => settled,
    }
}

/// The same, by all the time since the first moment.
#[cold]
fn scale_so_far() -> u64 {
    let (first, now) = (&FIRST.pair, Pair::now());
    let took = now.clock.saturating_duration_since(first.clock);
    let ticks = now.ticks.saturating_sub(first.ticks);
    let scale = (u128::from(nanos(took)) << SHIFT) / u128::from(ticks.max(1));
    let scale = u64::try_from(scale).unwrap_or(u64::MAX).max(1);
    if Ticks::SETTLED <= took {
        SCALE.store(scale, Ordering::Relaxed);
    }
    scale
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The processor's counter.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the standard library has no other way to read it")]
#[inline]
fn counter() -> u64 {
    // SAFETY: it reads a register that every x86-64 processor has; no memory is touched.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Whether it goes on at one speed, whatever the processor saves, and on all cores alike ("invariant TSC": AMD64
/// Architecture Programmer's Manual volume 3, function 8000_0007h; Intel's manual volume 3, 18.17.1).
#[cfg(target_arch = "x86_64")]
fn is_steady() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER: u32 = 0x8000_0007;
    POWER <= __cpuid(0x8000_0000).eax && __cpuid(POWER).edx & (1 << 8) != 0
}

/// None that could be read without more ado.
#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn is_steady() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_as_the_systems_clock_does_and_never_backwards() {
        let (began, ticks) = (Instant::now(), Ticks::now());
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(50));
            let (least, ended, most) = (began.elapsed(), Ticks::now(), began.elapsed());
            let (took, slack) = (ended.since(ticks), Duration::from_millis(1));
            assert!(least < took + slack, "{took:?} < {least:?}");
            assert!(took < most + slack, "{most:?} < {took:?}");
            assert_eq!(ticks.nanos_since(ended), 0);
        }
    }

    #[test]
    fn what_is_timed_in_the_first_moments_is_no_longer_than_the_process_lives() {
        let outer = Instant::now();
        let first = Ticks::now();
        let took = Ticks::now().since(first);
        assert!(took <= outer.elapsed() + Duration::from_millis(1), "{took:?}");
    }

    #[test]
    fn ticks_are_in_the_order_they_were_read() {
        let read: Vec<_> = (0..1000).map(|_| Ticks::now()).collect();
        assert!(read.is_sorted());
    }

    #[test]
    fn a_time_ago_is_that_long_ago() {
        let ago = Ticks::ago(Duration::from_secs(6)).elapsed();
        assert!((5.9..60.0).contains(&ago.as_secs_f64()), "{ago:?}");
    }
}
