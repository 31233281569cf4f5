//! What an operator chooses about log files; the table of the settings is in the READMEs of the plugins.

use sochdb_guest::telemetry::Level;
use sochdb_guest::{Error, Result, config};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// What is written, where to, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory, as the plugin calls it.
    pub directory: PathBuf,
    /// Bytes of one file.
    pub max_bytes: u64,
    /// Files that are kept, the present one included.
    pub max_files: u64,
    /// Whether a batch is on the disk before it counts as taken.
    pub sync: bool,
    /// Whether log lines are written.
    pub logs: bool,
    /// Log lines below it are not written.
    pub level: Level,
    /// Whether spans are written.
    pub spans: bool,
    /// Whether changes of health are written.
    pub health: bool,
    /// Whether metrics are written.
    pub metrics: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            directory: "/logs".into(),
            max_bytes: 16 << 20,
            max_files: 5,
            sync: false,
            logs: true,
            level: Level::Info,
            spans: true,
            health: true,
            metrics: false,
        }
    }
}

impl Settings {
    /// The smallest `max_bytes`: a page of the disk, and enough for a line that says something.
    pub const MAX_BYTES_MIN: u64 = 4 << 10;
    /// The largest: a tebibyte.
    const MAX_BYTES_MAX: u64 = 1 << 40;
    /// The most files: a rotation looks at each of them.
    const MAX_FILES_MAX: u64 = 1000;

    /// What the plugin's manifest says.
    ///
    /// # Errors
    /// `Invalid` for a setting that makes no sense, `NotFound` for one that the manifest's schema does not have.
    pub fn configured() -> Result<Settings> {
        let directory = config::text("directory")?;
        if !directory.starts_with('/') {
            return Err(Error::invalid(format!(
                "the setting 'directory' is {directory:?}, but the name of a granted directory begins with '/'"
            )));
        }
        Ok(Settings {
            directory: directory.into(),
            max_bytes: number("max_bytes", Self::MAX_BYTES_MIN..=Self::MAX_BYTES_MAX)?,
            max_files: number("max_files", 1..=Self::MAX_FILES_MAX)?,
            sync: config::boolean("sync")?,
            logs: config::boolean("logs")?,
            level: level(&config::text("level")?)?,
            spans: config::boolean("spans")?,
            health: config::boolean("health")?,
            metrics: config::boolean("metrics")?,
        })
    }
}

fn number(key: &str, range: RangeInclusive<u64>) -> Result<u64> {
    in_range(key, config::integer(key)?, range)
}

fn in_range(key: &str, value: i64, range: RangeInclusive<u64>) -> Result<u64> {
    let (min, max) = (*range.start(), *range.end());
    let number = u64::try_from(value).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        Error::invalid(format!("the setting '{key}' is {value}, but must be {min} to {max}"))
    })
}

fn level(word: &str) -> Result<Level> {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    let found = levels.into_iter().find(|level| level.word() == word);
    found.ok_or_else(|| {
        Error::invalid(format!(
            "the setting 'level' is {word:?}, but must be trace, debug, info, warn or error"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_five_words() {
        let words = ["trace", "debug", "info", "warn", "error"];
        assert_eq!(words.map(|word| level(word).unwrap().word()), words);
        for word in ["", "Info", "warning", "off"] {
            assert!(level(word).unwrap_err().text.contains("'level'"));
        }
    }

    #[test]
    fn numbers_out_of_their_range_are_refused_by_name() {
        assert_eq!(in_range("max_files", 5, 1..=1000), Ok(5));
        for value in [0, -1, 1001, i64::MIN, i64::MAX] {
            let error = in_range("max_files", value, 1..=1000).unwrap_err();
            assert_eq!(
                error.text,
                format!("the setting 'max_files' is {value}, but must be 1 to 1000")
            );
        }
    }
}
