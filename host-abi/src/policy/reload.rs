//! `[reload]` of a policy, and `[plugin.NAME.reload]`: how a new version of a plugin takes over from the old one.

use crate::strict_toml::{Wrong, float_in_range, in_range, wrong};
use schemars::JsonSchema;
use serde::Deserialize;
use sochdb_reload::Rules;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

/// A day: whoever watches a version for longer knows that it serves.
const TIME_MS: RangeInclusive<u64> = 0..=86_400_000;
/// Shares that are larger or smaller are all calls, or none.
const SHARE_PERCENT: RangeInclusive<f64> = 0.1..=99.9;
/// Shares one after the other.
const STEPS_MAX: usize = 16;
/// A factor below 1 would refuse what is as fast as before; a million bounds nothing.
const LATENCY_FACTOR: RangeInclusive<f64> = 1.0..=1e6;
/// Of one function of a plugin.
const CALLS_MIN: RangeInclusive<u64> = 1..=1_000_000_000_000;
/// Each is read twice, by two versions, before a reload goes on.
const SAMPLES: RangeInclusive<u64> = 0..=1024;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReload {
    /// How long a new version that has all calls is watched, in milliseconds, while the old one stays ready to take over
    /// again. From 0 to 86,400,000, which is a day.
    #[schemars(
        with = "u64", default, extend("default" = ms(Rules::default().probation)),
        range(min = *TIME_MS.start(), max = *TIME_MS.end())
    )]
    probation_ms: Option<Spanned<u64>>,
    /// How long calls in flight on the old version are waited for, in milliseconds. From 0 to 86,400,000.
    #[schemars(
        with = "u64", default, extend("default" = ms(Rules::default().drain)),
        range(min = *TIME_MS.start(), max = *TIME_MS.end())
    )]
    drain_ms: Option<Spanned<u64>>,
    /// Shares of the calls that a new version gets one after the other before it gets all, in percent and in tenths of
    /// them: such as [1, 10, 50]. At most 16, ascending, each from 0.1 to 99.9; none: all calls at once.
    #[schemars(
        with = "Vec<f64>", default, length(max = STEPS_MAX), extend("default" = []),
        inner(range(min = *SHARE_PERCENT.start(), max = *SHARE_PERCENT.end()))
    )]
    steps_percent: Option<Spanned<Vec<Spanned<f64>>>>,
    /// How long a new version has each of these shares, in milliseconds. From 0 to 86,400,000.
    #[schemars(
        with = "u64", default, extend("default" = ms(Rules::default().step)),
        range(min = *TIME_MS.start(), max = *TIME_MS.end())
    )]
    step_ms: Option<Spanned<u64>>,
    /// How many times as long as those of the old version the new version's calls may take, by the median of each
    /// function. From 1 to 1,000,000.
    #[schemars(
        with = "f64", default, extend("default" = Rules::default().latency_factor),
        range(min = *LATENCY_FACTOR.start(), max = *LATENCY_FACTOR.end())
    )]
    latency_factor: Option<Spanned<f64>>,
    /// Milliseconds that they may take on top of that, so that the shortest calls do not decide. From 0 to 86,400,000.
    #[schemars(
        with = "u64", default, extend("default" = ms(Rules::default().latency_floor)),
        range(min = *TIME_MS.start(), max = *TIME_MS.end())
    )]
    latency_floor_ms: Option<Spanned<u64>>,
    /// Calls of a function that both versions must have had before they are compared. From 1 to 10^12.
    #[schemars(
        with = "u64", default, extend("default" = Rules::default().calls_min),
        range(min = *CALLS_MIN.start(), max = *CALLS_MIN.end())
    )]
    calls_min: Option<Spanned<u64>>,
    /// Values or rows of what is there that the new version must read as the old one does, before it serves. From 0 to
    /// 1,024.
    #[schemars(
        with = "u64", default, extend("default" = Rules::default().samples),
        range(min = *SAMPLES.start(), max = *SAMPLES.end())
    )]
    samples: Option<Spanned<u64>>,
}

impl RawReload {
    /// What is said here, and `base` where nothing is said.
    pub(super) fn over(self, base: &Rules) -> Result<Rules, Wrong> {
        let time = |key, given: Option<Spanned<u64>>, base| {
            given.map_or(Ok(base), |given| in_range(key, given, TIME_MS).map(Duration::from_millis))
        };
        let rules = Rules {
            probation: time("probation_ms", self.probation_ms, base.probation)?,
            drain: time("drain_ms", self.drain_ms, base.drain)?,
            steps: self.steps_percent.map_or_else(|| Ok(base.steps.clone()), steps)?,
            step: time("step_ms", self.step_ms, base.step)?,
            latency_factor: match self.latency_factor {
                Some(given) => float_in_range("latency_factor", &given, LATENCY_FACTOR)?,
                None => base.latency_factor,
            },
            latency_floor: time("latency_floor_ms", self.latency_floor_ms, base.latency_floor)?,
            calls_min: match self.calls_min {
                Some(given) => in_range("calls_min", given, CALLS_MIN)?,
                None => base.calls_min,
            },
            samples: match self.samples {
                Some(given) => in_range("samples", given, SAMPLES)? as usize,
                None => base.samples,
            },
        };
        Ok(rules)
    }
}

/// The shares in thousandths.
fn steps(given: Spanned<Vec<Spanned<f64>>>) -> Result<Vec<u16>, Wrong> {
    let count = given.get_ref().len();
    if STEPS_MAX < count {
        return Err(wrong(&given, format!("{count} steps are too many: at most {STEPS_MAX}")));
    }
    let mut steps: Vec<u16> = Vec::new();
    for percent in given.into_inner() {
        let thousandths =
            float_in_range("a step of steps_percent", &percent, SHARE_PERCENT)? * 10.0;
        let step = thousandths.round();
        if 1e-6 < (step - thousandths).abs() {
            let message = format!("a step of {} percent: they are in tenths", percent.get_ref());
            return Err(wrong(&percent, message));
        }
        let step = step as u16;
        if let Some(before) = steps.last().filter(|before| step <= **before) {
            let message = format!(
                "a step of {} percent after one of {}: they ascend",
                percent.get_ref(),
                f64::from(*before) / 10.0
            );
            return Err(wrong(&percent, message));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
