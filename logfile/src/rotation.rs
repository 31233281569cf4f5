//! A file of lines that makes room for the next when it is full.
//!
//! | file                    | what it is                                                                    |
//! |-------------------------|-------------------------------------------------------------------------------|
//! | `sochdb.jsonl`          | the present one: lines are appended to it                                     |
//! | `sochdb.00000042.jsonl` | an old one; the higher the number, the newer it is, and its number is for ever |
//!
//! Old files are numbered upwards and not shifted (`.1` to `.2`, `.2` to `.3`...), so a rotation renames one file
//! however many there are, nobody who is reading an old file finds another in its place, and the order of the
//! names is the order of time: `cat sochdb*.jsonl` begins with the oldest line and ends with the newest.
//!
//! When the next line does not fit, the oldest files are removed until there is room for one more old file; then
//! the present one gets its number. Whatever it is killed between, the next rotation counts the files anew.
//!
//! Invariants, unless somebody else writes to these files:
//! 1. There are never more than `max_files` files, and none has more than `max_bytes` bytes.
//! 2. A line is in one file, whole, and ends with a line feed. One that was torn (the program was killed, or the
//!    disk was full, in the middle of it) gets its line feed before the next is written.
//! 3. A line is gone only with the oldest file.
//!
//! Nothing is remembered between two batches, so after any error the next one begins afresh.

use crate::disk::Disk;
use crate::line::LINE_BYTES_MAX;
use crate::settings::Settings;
use sochdb_guest::{Error, ErrorCode, Result};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

/// What the names of all files begin with.
const STEM: &str = "sochdb";
/// Digits of a number: at 4 KiB a file it lasts for 400 GB of lines, and then names grow longer.
const DIGITS: usize = 8;
/// A number of more digits is not one of ours.
const DIGITS_MAX: usize = 18;
/// Lines are written together up to so many bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// The files with one extension in a directory.
#[derive(Debug)]
pub struct RotatingFile<D> {
    disk: D,
    extension: &'static str,
    present: String,
    max_bytes: u64,
    max_files: u64,
    sync: bool,
}

impl<D: Disk> RotatingFile<D> {
    /// Nothing is done yet.
    pub fn new(disk: D, extension: &'static str, settings: &Settings) -> RotatingFile<D> {
        let &Settings { max_bytes, max_files, sync, .. } = settings;
        let present = format!("{STEM}.{extension}");
        RotatingFile { disk, extension, present, max_bytes, max_files, sync }
    }

    /// How long a line may be: no longer than a file.
    pub fn line_bytes_max(&self) -> usize {
        usize::try_from(self.max_bytes).map_or(LINE_BYTES_MAX, |max| max.min(LINE_BYTES_MAX))
    }

    /// Whether the directory is there.
    ///
    /// # Errors
    /// `Denied` with the way out, when it is not.
    pub fn check(&self) -> Result<()> {
        self.disk.check().map_err(|error| {
            let path = self.disk.path().display();
            Error::new(
                ErrorCode::Denied,
                format!(
                    "there is no directory {path} ({error}): grant one with `directories = [{{ host = \
                     \"/var/log/sochdb\", guest = \"{path}\", write = true }}]`, both in the [capabilities] of the \
                     manifest and in the [allow] of the policy"
                ),
            )
        })
    }

    /// Appends lines, each with its line feed.
    ///
    /// # Errors
    /// `Denied` when the directory is not granted, or not for writing; `Limit` when the disk is full; `Internal`
    /// for everything else a disk answers. Each names the file. Lines before the one that failed may be written.
    pub fn append(&self, lines: impl IntoIterator<Item = String>) -> Result<()> {
        self.check()?;
        let mut writing = Writing::begin(self)?;
        lines.into_iter().try_for_each(|line| writing.push(&line))?;
        writing.end()
    }

    /// The name of an old file.
    fn old(&self, number: u64) -> String {
        format!("{STEM}.{number:0DIGITS$}.{}", self.extension)
    }

    /// The number of an old file, if that is its name.
    fn number(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(STEM)?.strip_prefix('.')?;
        let digits = rest.strip_suffix(self.extension)?.strip_suffix('.')?;
        let number = digits.parse().ok().filter(|_| digits.len() <= DIGITS_MAX)?;
        (self.old(number) == name).then_some(number)
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> Error {
        let (code, hint) = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
                ErrorCode::Denied,
                ": the directory must be granted with `write = true`, in the manifest and in the policy",
            ),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (ErrorCode::Limit, ""),
            _ => (ErrorCode::Internal, ""),
        };
        let path = self.disk.path().join(name);
        let text = format!("cannot {what} {}: {error}{hint}", path.display());
        Error { retryable: true, ..Error::new(code, text) }
    }
}

/// One batch on its way into the files.
struct Writing<'a, D> {
    files: &'a RotatingFile<D>,
    /// Of the present file, with what is in the buffer.
    size: u64,
    buffer: Vec<u8>,
    /// The numbers of the old files, once they were needed.
    old: Option<BTreeSet<u64>>,
}

impl<'a, D: Disk> Writing<'a, D> {
    /// Looks at the present file, and ends its last line.
    fn begin(files: &'a RotatingFile<D>) -> Result<Writing<'a, D>> {
        let (disk, name) = (&files.disk, &*files.present);
        let failed = |error: io::Error| files.failed("read", name, &error);
        let size = disk.size(name).map_err(failed)?.unwrap_or(0);
        let mut writing = Writing { files, size, buffer: Vec::new(), old: None };
        if 0 < size && !disk.ends_line(name).map_err(failed)? {
            writing.buffer.push(b'\n');
            writing.size += 1;
            writing.flush()?;
        }
        Ok(writing)
    }

    fn push(&mut self, line: &str) -> Result<()> {
        let bytes = line.len() as u64;
        if 0 < self.size && self.files.max_bytes < self.size.saturating_add(bytes) {
            self.rotate()?;
        }
        self.size += bytes;
        self.buffer.extend_from_slice(line.as_bytes());
        if BUFFER_BYTES <= self.buffer.len() {
            self.flush()?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.flush()?;
        self.sync()
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (files, name) = (self.files, &*self.files.present);
        let done = files.disk.append(name, &self.buffer);
        done.map_err(|error| files.failed("write", name, &error))?;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let (files, name) = (self.files, &*self.files.present);
        if !files.sync || self.size == 0 {
            return Ok(());
        }
        files.disk.sync(name).map_err(|error| files.failed("sync", name, &error))
    }

    /// Makes the present file an old one, or removes it where there are no old ones.
    fn rotate(&mut self) -> Result<()> {
        self.flush()?;
        self.sync()?;
        let (files, name) = (self.files, &*self.files.present);
        let mut old = match self.old.take() {
            Some(old) => old,
            None => {
                let names = files.disk.list();
                let names = names.map_err(|error| files.failed("list", "", &error))?;
                names.iter().filter_map(|name| files.number(name)).collect()
            }
        };
        let remove = |name: &str| {
            files.disk.remove(name).map_err(|error| files.failed("remove", name, &error))
        };
        // The present file is one of them, and so will the next be.
        let old_max = files.max_files - 1;
        while old_max.max(1) <= old.len() as u64 {
            let Some(&oldest) = old.first() else { break };
            remove(&files.old(oldest))?;
            old.pop_first();
        }
        if old_max == 0 {
            remove(name)?;
        } else {
            let number = old.last().map_or(1, |newest| newest + 1);
            let renamed = files.disk.rename(name, &files.old(number));
            renamed.map_err(|error| files.failed("rename", name, &error))?;
            old.insert(number);
        }
        (self.old, self.size) = (Some(old), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
