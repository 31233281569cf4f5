//! Log files that rotate, for the observers that write them: `jsonlog` and `logfmt`.
//!
//! A batch becomes records, a record becomes a line, and the lines are appended to a file in a directory that
//! the plugin was granted:
//!
//! ```text
//!   TelemetryBatch ─▶ choice    which log lines, spans, changes of health and metrics are written
//!                  ─▶ record    what a line says, key by key: the table of all keys
//!                  ─▶ json, logfmt   how a line says it, bounded by `line`
//!                  ─▶ rotation  which file it goes to, and which old file goes
//!                  ─▶ disk      the only code that touches a file
//! ```
//!
//! [`LogFiles`] is all of it in one value; a plugin is that value and a [`Format`]. Nothing here knows
//! WebAssembly: the directory is one of `std::fs`, so everything is tested natively.

#![forbid(unsafe_code)]

mod choice;
mod disk;
mod json;
mod line;
mod logfmt;
mod observer;
mod record;
mod rotation;
mod settings;

pub use json::Json;
pub use logfmt::Logfmt;
pub use observer::LogFiles;
pub use record::{Record, Value};
pub use settings::Settings;

/// How a line looks.
pub trait Format {
    /// What the names of its files end with, without the dot.
    const EXTENSION: &'static str;

    /// `record` as one line with its line feed, of at most `bytes_max` bytes, which are at least
    /// [`Settings::MAX_BYTES_MIN`].
    fn line(record: &Record<'_>, bytes_max: usize) -> String;
}
