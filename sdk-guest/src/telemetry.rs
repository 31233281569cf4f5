//! Log lines and metrics of a plugin.
//!
//! What one call may log and emit is bounded. A plugin that does not care whether a line was taken
//! uses [`log`]; one that does uses [`try_log`].

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
    eprintln!("{kind:?} {name} {labels:?} {value}");
    Ok(())
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
