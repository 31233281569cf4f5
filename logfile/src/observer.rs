//! Batches in, lines in files out: what the plugins `jsonlog` and `logfmt` are.

use crate::Format;
use crate::choice::{Seen, entries};
use crate::disk::Directory;
use crate::rotation::RotatingFile;
use crate::settings::Settings;
use sochdb_guest::{Batch, Result};
use std::marker::PhantomData;

/// Writes batches as lines of the format `F` to files in one directory.
///
/// ```
/// use sochdb_guest::test_batch;
/// use sochdb_logfile::{Json, LogFiles, Settings};
///
/// let folder = tempfile::tempdir()?;
/// let settings = Settings { directory: folder.path().into(), ..Settings::default() };
/// LogFiles::<Json>::new(settings).write(&test_batch())?;
/// let lines = std::fs::read_to_string(folder.path().join("sochdb.jsonl"))?;
/// assert_eq!(lines.lines().count(), 2, "a log line and a span");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LogFiles<F> {
    settings: Settings,
    files: RotatingFile<Directory>,
    seen: Seen,
    format: PhantomData<F>,
}

impl<F: Format> LogFiles<F> {
    /// With the settings of the plugin's manifest.
    ///
    /// # Errors
    /// As [`Settings::configured`].
    pub fn configured() -> Result<LogFiles<F>> {
        Settings::configured().map(LogFiles::new)
    }

    /// With these settings. Nothing is written yet.
    pub fn new(settings: Settings) -> LogFiles<F> {
        let disk = Directory(settings.directory.clone());
        let files = RotatingFile::new(disk, F::EXTENSION, &settings);
        LogFiles { settings, files, seen: Seen::default(), format: PhantomData }
    }

    /// Appends what of `batch` is wanted.
    ///
    /// # Errors
    /// `Denied` when the directory is not granted, or not for writing; `Limit` when the disk is full; `Internal`
    /// for anything else that a file answers. The next batch is tried afresh, and a change of health that was not
    /// written comes with it.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        let bytes_max = self.files.line_bytes_max();
        let entries = entries(batch, &self.settings, &self.seen);
        self.files.append(entries.iter().map(|entry| F::line(&entry.record(), bytes_max)))?;
        self.seen.remember(&batch.health);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
