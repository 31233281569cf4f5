//! Log lines and metrics of a plugin.
//!
//! What one call may log and emit is bounded. A plugin that does not care whether a line was taken
//! uses [`log`]; one that does uses [`try_log`]. The macros [`info!`](crate::info) and [`count!`](crate::count) and
//! their like are shorter.
//!
//! With the feature `log` of this crate, what other crates say by the crate `log`, or by `tracing` with its own
//! feature `log`, is written there too, from the level `info` on; `log::set_max_level` in the plugin's `init` says
//! otherwise.

use crate::bindings::types;
use crate::error::Result;

pub use sochdb_telemetry::LogLevel as Level;

/// Writes a line to the database's log. A line beyond the call's bound is dropped.
pub fn log(level: Level, message: &str) {
    let _: Result<()> = try_log(level, message);
}

/// Writes a line to the database's log.
///
/// # Errors
/// `Limit` when the line is too long or the call has logged too much.
pub fn try_log(level: Level, message: &str) -> Result<()> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::telemetry::log_message(level.into(), message).map_err(Into::into);
    #[cfg(not(target_family = "wasm"))]
    {
        #[cfg(feature = "testing")]
        if let Some(running) = crate::testing::running() {
            return running.log(level, message);
        }
        eprintln!("{level:?}: {}", message.escape_debug());
        Ok(())
    }
}

/// Adds `step` to the counter `name`, which is zero when it is new.
///
/// # Errors
/// `Invalid` for a bad name or label, a step that is negative or not finite, or a gauge of this name;
/// `Limit` when the call has emitted too much or the plugin has too many series.
pub fn count(name: &str, labels: &[(&str, &str)], step: f64) -> Result<()> {
    emit(Kind::Counter, name, labels, step)
}

/// Sets the gauge `name` to `value`.
///
/// # Errors
/// `Invalid` for a bad name or label, a value that is not finite, or a counter of this name; `Limit`
/// when the call has emitted too much or the plugin has too many series.
pub fn gauge(name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
    emit(Kind::Gauge, name, labels, value)
}

use crate::bindings::telemetry::MetricKind as Kind;

#[cfg(target_family = "wasm")]
fn emit(kind: Kind, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
    let label =
        |&(name, value): &(&str, &str)| types::Label { name: name.into(), value: value.into() };
    let labels: Vec<_> = labels.iter().map(label).collect();
    crate::bindings::telemetry::emit_metric(kind, name, &labels, value).map_err(Into::into)
}

#[cfg(not(target_family = "wasm"))]
fn emit(kind: Kind, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
    #[cfg(feature = "testing")]
    if let Some(running) = crate::testing::running() {
        return running.emit(kind, name, labels, value);
    }
    eprintln!("{kind:?} {name} {labels:?} {value}");
    Ok(())
}

/// Lets crates that use `log` be heard. Called before a plugin's `init`; only the first call does anything.
#[cfg(feature = "log")]
pub(crate) fn install_logger() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

#[cfg(feature = "log")]
struct Logger;

#[cfg(feature = "log")]
impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self::log(level, &format!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

impl From<types::LogLevel> for Level {
    fn from(level: types::LogLevel) -> Level {
        match level {
            types::LogLevel::Trace => Level::Trace,
            types::LogLevel::Debug => Level::Debug,
            types::LogLevel::Info => Level::Info,
            types::LogLevel::Warn => Level::Warn,
            types::LogLevel::Error => Level::Error,
        }
    }
}

impl From<Level> for types::LogLevel {
    fn from(level: Level) -> types::LogLevel {
        match level {
            Level::Trace => types::LogLevel::Trace,
            Level::Debug => types::LogLevel::Debug,
            Level::Info => types::LogLevel::Info,
            Level::Warn => types::LogLevel::Warn,
            Level::Error => types::LogLevel::Error,
        }
    }
}
