//! `[resources]` of a manifest and `[limits]` of a policy: the same keys, checked in the same way.

use super::PluginKind;
use crate::limits::{self, Background, Limits};
use crate::strict_toml::{Wrong, in_range, wrong};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::RangeInclusive;
use toml::Spanned;

/// What a manifest gets that does not say: enough for a small plugin.
const USUAL: Limits = Limits {
    memory_bytes_max: 64 << 20,
    fuel_max: 1_000_000_000,
    timeout_ms: 1000,
    instances_max: 4,
    background: Some(USUAL_BACKGROUND),
};
const USUAL_BACKGROUND: Background = Background { fuel_max: 100_000_000_000, timeout_ms: 60_000 };

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawResources {
    /// Memory of one instance in MiB: all its memories and tables together. From 1 to 4096.
    #[schemars(
        with = "u64", default, extend("default" = USUAL.memory_bytes_max >> 20),
        range(min = *limits::MEMORY_LIMIT_MB.start(), max = *limits::MEMORY_LIMIT_MB.end())
    )]
    memory_limit_mb: Option<Spanned<u64>>,
    /// Work of one call in WebAssembly operators, work of the host for it included. From 10^6, less than a millisecond,
    /// to 10^12.
    #[schemars(
        with = "u64", default, extend("default" = USUAL.fuel_max),
        range(min = *limits::FUEL_LIMIT.start(), max = *limits::FUEL_LIMIT.end())
    )]
    fuel_limit: Option<Spanned<u64>>,
    /// Time of one call in milliseconds, waiting for an instance included. From 1 to 600,000, which is ten minutes.
    #[schemars(
        with = "u64", default, extend("default" = USUAL.timeout_ms),
        range(min = *limits::TIMEOUT_MS.start(), max = *limits::TIMEOUT_MS.end())
    )]
    timeout_ms: Option<Spanned<u64>>,
    /// Instances at the same time, for each tenant. From 1 to 256; an observer has 1, storage engines and indexes have
    /// 2 at least.
    #[schemars(
        with = "u64", default, extend("default" = USUAL.instances_max),
        range(min = *limits::MAX_INSTANCES.start(), max = *limits::MAX_INSTANCES.end())
    )]
    max_instances: Option<Spanned<u64>>,
    /// Work of one flush, merge or build in WebAssembly operators. From 10^6 to 10^15. Of storage engines and indexes.
    #[schemars(
        with = "u64", default, extend("default" = USUAL_BACKGROUND.fuel_max),
        range(min = *limits::BACKGROUND_FUEL_LIMIT.start(), max = *limits::BACKGROUND_FUEL_LIMIT.end())
    )]
    background_fuel_limit: Option<Spanned<u64>>,
    /// Time of one flush, merge or build in milliseconds. From 1 to 86,400,000, which is a day. Of storage engines and
    /// indexes.
    #[schemars(
        with = "u64", default, extend("default" = USUAL_BACKGROUND.timeout_ms),
        range(min = *limits::BACKGROUND_TIMEOUT_MS.start(), max = *limits::BACKGROUND_TIMEOUT_MS.end())
    )]
    background_timeout_ms: Option<Spanned<u64>>,
}

impl RawResources {
    /// The limits that a manifest chooses. What is left out gets a default that suits a small plugin.
    pub(super) fn of_kind(self, kind: PluginKind) -> Result<Limits, Wrong> {
        let instances = kind.instances();
        let background = [&self.background_fuel_limit, &self.background_timeout_ms];
        if let Some(given) = background.into_iter().flatten().next()
            && !kind.has_background()
        {
            let message = format!("a plugin of kind '{kind}' never works in the background");
            return Err(wrong(given, message));
        }
        let instances_max = to_u32((*instances.end()).min(USUAL.instances_max.into()));
        let usual = Limits { instances_max, ..USUAL };
        let limits = self.over(&usual, instances)?;
        let background = limits.background.filter(|_| kind.has_background());
        Ok(Limits { background, ..limits })
    }

    /// The ceilings that a policy sets, and `base` where it says nothing.
    pub(crate) fn ceilings(self, base: &Limits) -> Result<Limits, Wrong> {
        self.over(base, limits::MAX_INSTANCES)
    }

    fn over(self, base: &Limits, instances: RangeInclusive<u64>) -> Result<Limits, Wrong> {
        let number = |key, value: Option<Spanned<u64>>, range, base| {
            value.map_or(Ok(base), |value| in_range(key, value, range))
        };
        let memory_mb = base.memory_bytes_max >> 20;
        let memory_mb =
            number("memory_limit_mb", self.memory_limit_mb, limits::MEMORY_LIMIT_MB, memory_mb)?;
        let background = base.background.unwrap_or(HIGHEST_BACKGROUND);
        Ok(Limits {
            memory_bytes_max: memory_mb << 20,
            fuel_max: number("fuel_limit", self.fuel_limit, limits::FUEL_LIMIT, base.fuel_max)?,
            timeout_ms: number("timeout_ms", self.timeout_ms, limits::TIMEOUT_MS, base.timeout_ms)?,
            instances_max: to_u32(number(
                "max_instances",
                self.max_instances,
                instances,
                base.instances_max.into(),
            )?),
            background: Some(Background {
                fuel_max: number(
                    "background_fuel_limit",
                    self.background_fuel_limit,
                    limits::BACKGROUND_FUEL_LIMIT,
                    background.fuel_max,
                )?,
                timeout_ms: number(
                    "background_timeout_ms",
                    self.background_timeout_ms,
                    limits::BACKGROUND_TIMEOUT_MS,
                    background.timeout_ms,
                )?,
            }),
        })
    }
}

const HIGHEST_BACKGROUND: Background = Background {
    fuel_max: *limits::BACKGROUND_FUEL_LIMIT.end(),
    timeout_ms: *limits::BACKGROUND_TIMEOUT_MS.end(),
};

/// The most that any limit can be.
pub(crate) const HIGHEST: Limits = Limits {
    memory_bytes_max: *limits::MEMORY_LIMIT_MB.end() << 20,
    fuel_max: *limits::FUEL_LIMIT.end(),
    timeout_ms: *limits::TIMEOUT_MS.end(),
    instances_max: *limits::MAX_INSTANCES.end() as u32,
    background: Some(HIGHEST_BACKGROUND),
};

fn to_u32(instances: u64) -> u32 {
    u32::try_from(instances).expect("the range of max_instances ends far below 2^32")
}
