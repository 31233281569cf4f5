//! Operations.

mod backup;
mod changes;
mod check;
mod log;
mod progress;
mod walk;

pub use backup::{BackupReport, backup, restore};
pub use changes::{Change, Changes, RowChange, TableChange, changes};
pub use check::{CheckOptions, CheckReport, check, check_with};
pub use progress::{OnProgress, Progress};
