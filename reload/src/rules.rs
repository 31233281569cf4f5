//! What the operator says of reloads: how long a new version is watched, and what is held against it.
//!
//! | rule             | unit                 | default | meaning                                                      |
//! |------------------|----------------------|--------:|--------------------------------------------------------------|
//! | `steps`          | thousandths          |    none | shares of the calls it gets one after the other, before all  |
//! | `step`           | time                 |     5 s | how long it has each of these shares                         |
//! | `drain`          | time                 |     5 s | how long calls in flight on the old version are waited for   |
//! | `probation`      | time                 |    30 s | how long the old version stays ready to take over again      |
//! | `calls_min`      | calls of a function  |      64 | fewer on either side, and the two are not compared           |
//! | `latency_factor` | times the old median |      10 | a new median above this, and above the floor, is too slow    |
//! | `latency_floor`  | time                 |    1 ms | added to that bound, so that small calls do not trip over it |
//! | `samples`        | values or rows       |       8 | how many of what is there the new version must read alike    |
//!
//! `drain` bounds how long the state lasts, not a call: one that is still under way ends under its own limits.

use crate::WHOLE;
use sochdb_kernel::{KernelError, KernelResult};
use std::time::Duration;

/// Nobody watches a version for longer than a day before they say that it serves.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// More shares than this are a ramp, which the last of them has no need of.
const STEPS_MAX: usize = 16;
/// Each is read twice, by two versions, before a reload goes on.
const SAMPLES_MAX: usize = 1024;
/// A bound above this times the old median bounds nothing.
const LATENCY_FACTOR_MAX: f64 = 1e6;

/// What the operator says of reloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How long the old version stays ready to take over again; at most a day.
    pub probation: Duration,
    /// How long calls in flight on the old version are waited for; at most a day.
    pub drain: Duration,
    /// The shares of the calls, in thousandths, that a new version gets before it gets all: 1 to 999, ascending,
    /// at most 16. Empty: all at once.
    pub steps: Vec<u16>,
    /// How long a new version has each share; at most a day.
    pub step: Duration,
    /// How many times the old median a new one may be: 1 to a million.
    pub latency_factor: f64,
    /// What is added to that bound; at most a day.
    pub latency_floor: Duration,
    /// How many calls of a function both versions must have had before they are compared; at least 1.
    pub calls_min: u64,
    /// How many values or rows of what is there the new version must read as the old one does; at most 1,024.
    pub samples: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            probation: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            steps: Vec::new(),
            step: Duration::from_secs(5),
            latency_factor: 10.0,
            latency_floor: Duration::from_millis(1),
            calls_min: 64,
            samples: 8,
        }
    }
}

impl Rules {
    /// Whether a reload can go by these rules.
    ///
    /// # Errors
    /// `Invalid`, which names the rule, when one is outside of its bounds.
    pub fn check(&self) -> KernelResult<()> {
        let times = [
            ("probation", self.probation),
            ("drain", self.drain),
            ("step", self.step),
            ("latency_floor", self.latency_floor),
        ];
        for (rule, time) in times {
            require(time <= TIME_MAX, || {
                format!("{rule} is at most a day (86,400 s), not {} s", time.as_secs())
            })?;
        }
        require(self.steps.len() <= STEPS_MAX, || {
            format!("steps has at most {STEPS_MAX} shares, not {}", self.steps.len())
        })?;
        require(self.steps.iter().all(|share| (1..WHOLE).contains(share)), || {
            format!("each of steps is 1 to 999 thousandths: {:?}", self.steps)
        })?;
        require(self.steps.is_sorted_by(|less, more| less < more), || {
            format!("each of steps is above the one before it: {:?}", self.steps)
        })?;
        require((1.0..=LATENCY_FACTOR_MAX).contains(&self.latency_factor), || {
            format!("latency_factor is 1 to {LATENCY_FACTOR_MAX}, not {}", self.latency_factor)
        })?;
        require(1 <= self.calls_min, || "calls_min is at least 1, not 0".to_owned())?;
        require(self.samples <= SAMPLES_MAX, || {
            format!("samples is at most {SAMPLES_MAX}, not {}", self.samples)
        })
    }
}

fn require(holds: bool, text: impl FnOnce() -> String) -> KernelResult<()> {
    if holds { Ok(()) } else { Err(KernelError::invalid(text())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(change: impl FnOnce(&mut Rules), expected: Expect) {
        let mut rules = Rules::default();
        change(&mut rules);
        let found = rules.check().map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        expected.assert_eq(&found);
    }

    #[test]
    fn the_defaults_and_the_bounds_themselves_are_rules() {
        check(|_| (), expect!["ok"]);
        check(|rules| rules.steps = (1..=16).collect(), expect!["ok"]);
        check(|rules| rules.steps = vec![1, 999], expect!["ok"]);
        check(|rules| rules.probation = TIME_MAX, expect!["ok"]);
        check(|rules| (rules.drain, rules.step) = (Duration::ZERO, Duration::ZERO), expect!["ok"]);
        check(|rules| rules.latency_factor = 1.0, expect!["ok"]);
        check(|rules| (rules.calls_min, rules.samples) = (1, 0), expect!["ok"]);
    }

    #[test]
    fn what_is_outside_of_its_bounds_is_refused_by_its_name() {
        check(
            |rules| rules.probation = TIME_MAX + Duration::from_secs(1),
            expect!["invalid: probation is at most a day (86,400 s), not 86401 s"],
        );
        check(
            |rules| rules.drain = Duration::MAX,
            expect!["invalid: drain is at most a day (86,400 s), not 18446744073709551615 s"],
        );
        check(
            |rules| rules.step = Duration::MAX,
            expect!["invalid: step is at most a day (86,400 s), not 18446744073709551615 s"],
        );
        check(
            |rules| rules.latency_floor = Duration::MAX,
            expect![
                "invalid: latency_floor is at most a day (86,400 s), not 18446744073709551615 s"
            ],
        );
        check(
            |rules| rules.steps = (1..=17).collect(),
            expect!["invalid: steps has at most 16 shares, not 17"],
        );
        check(
            |rules| rules.steps = vec![0, 10],
            expect!["invalid: each of steps is 1 to 999 thousandths: [0, 10]"],
        );
        check(
            |rules| rules.steps = vec![10, 1000],
            expect!["invalid: each of steps is 1 to 999 thousandths: [10, 1000]"],
        );
        check(
            |rules| rules.steps = vec![10, 10],
            expect!["invalid: each of steps is above the one before it: [10, 10]"],
        );
        check(
            |rules| rules.steps = vec![500, 100],
            expect!["invalid: each of steps is above the one before it: [500, 100]"],
        );
        check(
            |rules| rules.latency_factor = 0.9,
            expect!["invalid: latency_factor is 1 to 1000000, not 0.9"],
        );
        check(
            |rules| rules.latency_factor = f64::NAN,
            expect!["invalid: latency_factor is 1 to 1000000, not NaN"],
        );
        check(
            |rules| rules.latency_factor = f64::INFINITY,
            expect!["invalid: latency_factor is 1 to 1000000, not inf"],
        );
        check(|rules| rules.calls_min = 0, expect!["invalid: calls_min is at least 1, not 0"]);
        check(|rules| rules.samples = 1025, expect!["invalid: samples is at most 1024, not 1025"]);
    }
}
