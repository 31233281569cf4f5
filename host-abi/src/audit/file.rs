//! The audit trail in files: one record a line, as JSON.
//!
//! | file             | what it holds                    |
//! |------------------|----------------------------------|
//! | `PATH`           | ordinary records                 |
//! | `PATH.1`         | older ones                       |
//! | `PATH.denied`    | denials                          |
//! | `PATH.denied.1`  | older ones                       |
//!
//! A file that would grow past [`FILE_BYTES_MAX`] becomes the older one, in the place of the one before. So
//! there are at most four, denials are not pushed out by ordinary traffic, and only their owner reads them.
//!
//! A thread writes, whatever waits at a time. A crash of the program loses what still waits, a crash of the
//! machine what the system had not written yet; a line that was cut is skipped by readers, and counted.

use super::Kept;
use super::record::AuditRecord;
use crate::limits::audit::{FILE_BYTES_MAX, QUEUE_DENIALS_MAX, QUEUE_RECORDS_MAX};
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::{KernelError, KernelResult};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What a file of the audit trail holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFile {
    /// Its records, denials included, oldest first.
    pub records: Vec<AuditRecord>,
    /// Lines that are no record: cut by a crash, or by somebody's hand.
    pub lines_skipped: u64,
}

/// Reads the audit trail that was written to `path`.
///
/// # Errors
/// `NotFound` when there is none; `Unavailable` when it cannot be read.
pub fn read_file(path: &Path) -> KernelResult<AuditFile> {
    let mut found = AuditFile { records: Vec::new(), lines_skipped: 0 };
    let mut exists = false;
    let denied = with_suffix(path, ".denied");
    for base in [path, &denied] {
        for path in [&with_suffix(base, ".1"), base] {
            match File::open(path) {
                Ok(file) => {
                    exists = true;
                    let read = read_lines(file, &mut found);
                    read.map_err(|error| failed("read", path, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", path, error)),
            }
        }
    }
    if !exists {
        return Err(KernelError::NotFound {
            kind: "audit trail",
            name: path.display().to_string(),
        });
    }
    found.records.sort_by_key(|record| record.unix_us);
    Ok(found)
}

fn read_lines(file: File, found: &mut AuditFile) -> io::Result<()> {
    // A little more than is ever written, so that a foreign file cannot fill the memory.
    let lines = BufReader::new(file.take(FILE_BYTES_MAX * 2)).split(b'\n');
    for line in lines {
        match serde_json::from_slice(&line?) {
            Ok(record) => found.records.push(record),
            Err(_) => found.lines_skipped += 1,
        }
    }
    Ok(())
}

fn failed(what: &str, path: &Path, error: io::Error) -> KernelError {
    KernelError::io(format!("{what} the audit trail {}", path.display()), error)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The thread that writes, and what waits for it.
pub(super) struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do.
    filled: Condvar,
    /// There is room, or everything was done.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    records: Vec<Kept>,
    denials: Vec<Kept>,
    /// Flushes asked for, and done; and why the last one failed.
    flushes: (u64, u64),
    flush_failed: Option<String>,
    /// What failed since the last flush.
    trouble: Option<String>,
    written: u64,
    left_out: u64,
    failed: u64,
    ended: bool,
}

impl Sink {
    pub(super) fn open(path: &Path) -> KernelResult<Sink> {
        let mut files = Files {
            records: Rotating::open(path.to_owned())?,
            denials: Rotating::open(with_suffix(path, ".denied"))?,
        };
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("sochdb-audit".into());
            thread.spawn(move || shared.run(&mut files))
        };
        let thread = thread
            .map_err(|error| KernelError::io("start the thread of the audit trail", error))?;
        Ok(Sink { shared, thread: Some(thread) })
    }

    /// Takes records to write. Waits only where it would have to leave out a denial.
    pub(super) fn send(&self, kept: Vec<Kept>) {
        let mut queue = self.shared.queue.lock();
        for kept in kept {
            if kept.entry.outcome.is_denial() {
                while QUEUE_DENIALS_MAX <= queue.denials.len() && !queue.ended {
                    self.shared.filled.notify_one();
                    self.shared.emptied.wait(&mut queue);
                }
                queue.denials.push(kept);
            } else if queue.records.len() < QUEUE_RECORDS_MAX {
                queue.records.push(kept);
            } else {
                queue.left_out += 1;
            }
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Written, left out, failed.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let queue = self.shared.queue.lock();
        (queue.written, queue.left_out, queue.failed)
    }

    pub(super) fn flush(&self) -> KernelResult<()> {
        let mut queue = self.shared.queue.lock();
        queue.flushes.0 += 1;
        let number = queue.flushes.0;
        self.shared.filled.notify_one();
        while queue.flushes.1 < number {
            self.shared.emptied.wait(&mut queue);
        }
        match &queue.flush_failed {
            None => Ok(()),
            Some(why) => Err(KernelError::unavailable(format!("write the audit trail: {why}"))),
        }
    }
}

/// What waits is written first.
impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.queue.lock().ended = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has no way to panic that would not be a bug of ours; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, files: &mut Files) {
        let mut queue = self.queue.lock();
        loop {
            let (records, denials) =
                (std::mem::take(&mut queue.records), std::mem::take(&mut queue.denials));
            let (asked, done) = queue.flushes;
            if records.is_empty() && denials.is_empty() && asked == done {
                if queue.ended {
                    return;
                }
                self.filled.wait(&mut queue);
                continue;
            }
            drop(queue);
            self.emptied.notify_all();
            let mut last_error = None;
            let mut count = (0, 0);
            for (file, kept) in [(&mut files.denials, denials), (&mut files.records, records)] {
                let number = kept.len() as u64;
                let flush = asked != done;
                match file.write(kept.iter().map(Kept::record), flush) {
                    Ok(()) => count.0 += number,
                    Err(error) => {
                        count.1 += number;
                        last_error = Some(format!("{}: {error}", file.path.display()));
                    }
                }
            }
            if let Some(error) = &last_error {
                tracing::warn!(target: "sochdb::audit", error, "the audit trail could not be written");
            }
            queue = self.queue.lock();
            queue.written += count.0;
            queue.failed += count.1;
            if last_error.is_some() {
                queue.trouble = last_error;
            }
            if asked != done {
                queue.flushes.1 = asked;
                queue.flush_failed = queue.trouble.take();
                self.emptied.notify_all();
            }
        }
    }
}

struct Files {
    records: Rotating,
    denials: Rotating,
}

/// A file, and the older one beside it.
struct Rotating {
    path: PathBuf,
    /// `None` after a failure, until the next try.
    file: Option<File>,
    bytes: u64,
}

impl Rotating {
    fn open(path: PathBuf) -> KernelResult<Rotating> {
        let mut rotating = Rotating { path, file: None, bytes: 0 };
        rotating.reopen().map_err(|error| failed("open", &rotating.path, error))?;
        Ok(rotating)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        self.bytes = file.metadata()?.len();
        if 0 < self.bytes {
            // The line that a crash cut ends here, and not in the next record.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                self.bytes += 1;
            }
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, records: impl Iterator<Item = AuditRecord>, flush: bool) -> io::Result<()> {
        let result = self.try_write(records, flush);
        if result.is_err() {
            self.file = None;
        }
        result
    }

    fn try_write(
        &mut self,
        records: impl Iterator<Item = AuditRecord>,
        flush: bool,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            let before = lines.len();
            serde_json::to_writer(&mut lines, &record)?;
            lines.push(b'\n');
            if FILE_BYTES_MAX < self.bytes + lines.len() as u64 {
                let line = lines.split_off(before);
                self.append(&lines)?;
                self.rotate()?;
                lines = line;
            }
        }
        self.append(&lines)?;
        match &self.file {
            Some(file) if flush => file.sync_data(),
            _ => Ok(()),
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let file = self.file.as_mut().expect("it was opened, or that failed");
        file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        std::fs::rename(&self.path, with_suffix(&self.path, ".1"))?;
        self.reopen()
    }
}
