//! How calls of one version of a plugin go: for each function, how long they take and how many are refused.
//!
//! 1. Noting a call costs one addition, and for a call that is measured a few more: nobody waits for anybody.
//! 2. The first 1,024 calls are all measured, of later ones about one in eight.
//! 3. After every 4,096 measured calls of a function all that is known of it counts half as much as before: a version
//!    that has served for weeks is known by its latest calls.
//! 4. Times are counted in four classes for each power of two of nanoseconds, so a median is known within a
//!    quarter. [`worse`] takes the lower end for the new version and the upper end for the old one: it finds
//!    nothing where there is nothing.

use crate::rules::Rules;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The functions that are told apart; no kind of plugin has more. Calls of others are only counted.
const FUNCTIONS_MAX: usize = 16;
/// Enough to compare two versions that have few calls.
const MEASURED_ALL: u64 = 1024;
/// About one call in `2^SAMPLE_BITS` is measured.
const SAMPLE_BITS: u32 = 3;
/// 2^64 divided by the golden ratio: its multiples spread evenly, whatever period the calls have.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Measured calls of a function after which all that is known of it counts half.
const FADE: u64 = 4096;
/// Classes for each power of two: 2^2.
const CLASS_BITS: u32 = 2;
/// 2^40 ns are 18 minutes. Every call is stopped long before.
const TIME_BITS: u32 = 40;
/// The classes of times.
const CLASSES: usize = ((TIME_BITS - CLASS_BITS + 1) << CLASS_BITS) as usize;
/// A share of refused calls is worse when it is above this times the old one ...
const REFUSED_FACTOR: f64 = 2.0;
/// ... and this.
const REFUSED_FLOOR: f64 = 0.1;

/// How calls of one version go.
#[derive(Debug)]
pub struct Meter {
    calls: AtomicU64,
    measured_all: u64,
    functions: [OnceLock<Box<Function>>; FUNCTIONS_MAX],
}

#[derive(Debug)]
struct Function {
    name: &'static str,
    measured: AtomicU64,
    refused: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

impl Default for Meter {
    fn default() -> Meter {
        Meter::new()
    }
}

impl Meter {
    /// A version that has not been called.
    pub fn new() -> Meter {
        Meter::measuring(MEASURED_ALL)
    }

    /// The same, which measures every call.
    pub fn exact() -> Meter {
        Meter::measuring(u64::MAX)
    }

    fn measuring(measured_all: u64) -> Meter {
        let functions = std::array::from_fn(|_| OnceLock::new());
        Meter { calls: AtomicU64::new(0), measured_all, functions }
    }

    /// Notes a call of `function` that took `took`, and whether it was refused.
    pub fn note(&self, function: &'static str, took: Duration, refused: bool) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.measured_all <= call && GOLDEN.wrapping_mul(call) >> (64 - SAMPLE_BITS) != 0 {
            return;
        }
        let Some(function) = self.place(function) else { return };
        function.note(took, refused);
    }

    /// All calls that were noted, measured or not.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The functions that were called, in the order of their first calls; one place for each, which it keeps.
    fn place(&self, name: &'static str) -> Option<&Function> {
        let place = |place: &'static str| move || Box::new(Function::new(place));
        let mut functions = self.functions.iter().map(|slot| &**slot.get_or_init(place(name)));
        functions.find(|function| function.name == name)
    }

    fn find(&self, name: &str) -> Option<Measured> {
        let mut functions = self.functions.iter().filter_map(OnceLock::get);
        functions.find(|function| function.name == name).map(|function| function.measured())
    }
}

impl Function {
    fn new(name: &'static str) -> Function {
        let classes = std::array::from_fn(|_| AtomicU64::new(0));
        Function { name, measured: AtomicU64::new(0), refused: AtomicU64::new(0), classes }
    }

    fn note(&self, took: Duration, refused: bool) {
        self.classes[class_of(took)].fetch_add(1, Ordering::Relaxed);
        if refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        if (self.measured.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(FADE) {
            for count in self.classes.iter().chain([&self.refused]) {
                count.update(Ordering::Relaxed, Ordering::Relaxed, |count| count / 2);
            }
        }
    }

    fn measured(&self) -> Measured {
        let classes = self.classes.each_ref().map(|class| class.load(Ordering::Relaxed));
        let calls = classes.iter().sum();
        Measured { calls, refused: self.refused.load(Ordering::Relaxed).min(calls), classes }
    }
}

/// What is known of one function at one moment.
struct Measured {
    calls: u64,
    refused: u64,
    classes: [u64; CLASSES],
}

impl Measured {
    /// The share of calls that were refused; there must be some.
    fn refused_share(&self) -> f64 {
        self.refused as f64 / self.calls as f64
    }

    /// The class of the median.
    fn median(&self) -> usize {
        let mut below = 0;
        let is_reached = |count: &u64| {
            below += count;
            self.calls < 2 * below
        };
        self.classes.iter().position(is_reached).unwrap_or(CLASSES - 1)
    }
}

/// What is worse about `new` than about `old`, as a sentence without an end; `None`: nothing that is known.
///
/// Compared are functions of which both have at least `calls_min` measured calls. A function is worse when
///
/// - its share of refused calls is above twice the old one and ten percent points; or
/// - its median is above `latency_factor` times the old one and `latency_floor`.
pub fn worse(old: &Meter, new: &Meter, rules: &Rules) -> Option<String> {
    new.functions.iter().filter_map(OnceLock::get).find_map(|function| {
        let (name, new, old) = (function.name, function.measured(), old.find(function.name)?);
        if new.calls < rules.calls_min.max(1) || old.calls < rules.calls_min.max(1) {
            return None;
        }
        let (was, is) = (old.refused_share(), new.refused_share());
        if was * REFUSED_FACTOR + REFUSED_FLOOR < is {
            let (was, is) = (was * 100.0, is * 100.0);
            return Some(format!(
                "{is:.1} % of the calls of {name} are refused, it was {was:.1} %"
            ));
        }
        let (was, is) = (upper_end(old.median()), lower_end(new.median()));
        let bound = was.as_secs_f64() * rules.latency_factor + rules.latency_floor.as_secs_f64();
        (bound < is.as_secs_f64())
            .then(|| format!("the median call of {name} takes {is:.1?}, it was {was:.1?}"))
    })
}

/// Times below `2^CLASS_BITS` ns have a class each; then each power of two has `2^CLASS_BITS`.
fn class_of(took: Duration) -> usize {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min((1 << TIME_BITS) - 1);
    if ns < 1 << CLASS_BITS {
        return ns as usize;
    }
    let shift = ns.ilog2() - CLASS_BITS;
    // The leading bit of `ns >> shift` counts as one more power of two.
    ((u64::from(shift) << CLASS_BITS) + (ns >> shift)) as usize
}

/// The shortest time of a class.
fn lower_end(class: usize) -> Duration {
    let (power, within) = (class as u64 >> CLASS_BITS, class as u64 & ((1 << CLASS_BITS) - 1));
    Duration::from_nanos(match power {
        0 => within,
        _ => ((1 << CLASS_BITS) + within) << (power - 1),
    })
}

/// The shortest time that is above a class.
fn upper_end(class: usize) -> Duration {
    lower_end(class + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const MS: Duration = Duration::from_millis(1);

    fn of(calls: &[(&'static str, u32, Duration, bool)]) -> Meter {
        let meter = Meter::exact();
        for (function, count, took, refused) in calls {
            (0..*count).for_each(|_| meter.note(function, *took, *refused));
        }
        meter
    }

    fn check(old: &Meter, new: &Meter, expected: Expect) {
        let found = worse(old, new, &Rules::default());
        expected.assert_eq(found.as_deref().unwrap_or("nothing"));
    }

    #[test]
    fn classes_are_without_gaps_and_a_quarter_wide() {
        for class in 0..CLASSES {
            let (lower, upper) = (lower_end(class), upper_end(class));
            assert_eq!(class_of(lower), class, "{lower:?}");
            assert_eq!(class_of(upper - Duration::from_nanos(1)), class, "{upper:?}");
            assert!(
                upper - lower <= (lower / 4).max(Duration::from_nanos(1)),
                "{lower:?} {upper:?}"
            );
        }
        assert_eq!(upper_end(CLASSES - 1), Duration::from_nanos(1 << TIME_BITS));
        assert_eq!(class_of(Duration::MAX), CLASSES - 1);
    }

    #[test]
    fn a_version_is_not_worse_than_itself_nor_than_one_that_is_worse() {
        let usual = of(&[("get", 100, MS, false), ("put", 64, 3 * MS, true)]);
        let slow = of(&[("get", 100, 100 * MS, false)]);
        check(&usual, &usual, expect!["nothing"]);
        check(&slow, &usual, expect!["nothing"]);
    }

    #[test]
    fn a_median_above_its_bound_is_worse() {
        // 10 times what 1 ms may be, and 1 ms.
        let usual = of(&[("get", 64, MS, false)]);
        check(&usual, &of(&[("get", 64, 10 * MS, false)]), expect!["nothing"]);
        check(
            &usual,
            &of(&[("get", 64, 20 * MS, false)]),
            expect!["the median call of get takes 16.8ms, it was 1.0ms"],
        );
        // Most calls, not a few.
        let few = of(&[("get", 60, MS, false), ("get", 50, 1000 * MS, false)]);
        check(&usual, &few, expect!["nothing"]);
        // The floor is for small calls.
        let tiny = of(&[("get", 64, MS / 1000, false)]);
        check(&tiny, &of(&[("get", 64, MS, false)]), expect!["nothing"]);
        check(
            &tiny,
            &of(&[("get", 64, 2 * MS, false)]),
            expect!["the median call of get takes 1.8ms, it was 1.0µs"],
        );
    }

    #[test]
    fn more_refused_calls_are_worse() {
        let refusing =
            |refused| of(&[("put", refused, MS, true), ("put", 100 - refused, MS, false)]);
        check(&refusing(0), &refusing(10), expect!["nothing"]);
        check(
            &refusing(0),
            &refusing(11),
            expect!["11.0 % of the calls of put are refused, it was 0.0 %"],
        );
        check(&refusing(20), &refusing(50), expect!["nothing"]);
        check(
            &refusing(20),
            &refusing(51),
            expect!["51.0 % of the calls of put are refused, it was 20.0 %"],
        );
        check(&refusing(100), &refusing(100), expect!["nothing"]);
    }

    #[test]
    fn nothing_is_said_of_few_calls_or_of_functions_that_only_one_has() {
        let usual = of(&[("get", 64, MS, false)]);
        check(&usual, &of(&[("get", 63, 1000 * MS, true)]), expect!["nothing"]);
        check(
            &of(&[("get", 63, MS, false)]),
            &of(&[("get", 64, 1000 * MS, true)]),
            expect!["nothing"],
        );
        check(&usual, &of(&[("put", 64, 1000 * MS, true)]), expect!["nothing"]);
        check(&Meter::new(), &Meter::new(), expect!["nothing"]);
        let rules = Rules { calls_min: 0, ..Rules::default() };
        assert_eq!(worse(&Meter::new(), &Meter::new(), &rules), None);
    }

    #[test]
    fn sixteen_functions_are_told_apart_and_others_counted() {
        const NAMES: [&str; 17] =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"];
        let meter = of(&NAMES.map(|name| (name, 10, MS, false)));
        assert_eq!(meter.calls(), 170);
        let known = NAMES.map(|name| meter.find(name).map_or(0, |measured| measured.calls));
        assert_eq!(known[..16], [10; 16]);
        assert_eq!(known[16], 0);
    }

    #[test]
    fn later_calls_are_sampled_whatever_their_period() {
        let meter = Meter::new();
        for _ in 0..MEASURED_ALL {
            meter.note("first", MS, false);
        }
        for _ in 0..4000 {
            meter.note("often", MS, false);
            (0..7).for_each(|_| meter.note("between", MS, false));
        }
        let calls = |name| meter.find(name).map_or(0, |measured| measured.calls);
        assert_eq!(meter.calls(), MEASURED_ALL + 32_000);
        assert_eq!(calls("first"), MEASURED_ALL);
        assert!((480..520).contains(&calls("often")), "{} of 4,000", calls("often"));
        assert!((3400..3600).contains(&calls("between")), "{} of 28,000", calls("between"));
    }

    #[test]
    fn what_was_long_ago_fades() {
        let usual = of(&[("get", 100, MS, false)]);
        let slow = ("get", 10_000, 100 * MS, true);
        check(
            &usual,
            &of(&[slow]),
            expect!["100.0 % of the calls of get are refused, it was 0.0 %"],
        );
        // As many calls later a little of it is known still, and then no longer.
        check(
            &usual,
            &of(&[slow, ("get", 10_000, MS, false)]),
            expect!["16.4 % of the calls of get are refused, it was 0.0 %"],
        );
        check(&usual, &of(&[slow, ("get", 20_000, MS, false)]), expect!["nothing"]);
    }

    #[test]
    fn threads_lose_no_call() {
        let meter = Meter::exact();
        std::thread::scope(|scope| {
            for name in ["a", "b", "a", "b"] {
                let meter = &meter;
                scope.spawn(move || (0..2000).for_each(|_| meter.note(name, MS, true)));
            }
        });
        for name in ["a", "b"] {
            let measured = meter.find(name).expect("it was called");
            assert_eq!((measured.calls, measured.refused), (4000, 4000));
        }
    }
}
