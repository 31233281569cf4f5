//! Reads the log of an open database: what is on disk of it, from any place that is still kept.

use crate::archive::{LogBytes, all_starts};
use crate::log::LogDir;
use sochdb_encoding::codec::Reader;
use sochdb_kernel::inspect::record::{self, SEGMENT_HEADER_BYTES};
use sochdb_kernel::inspect::{ARCHIVE_DIR, FIRST_LSN, Held, Pin, Visit, WAL_DIR, WalRecord};
use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{Kernel, KernelError, KernelResult, Timestamp};
use std::sync::Arc;

/// A place in the log. While this lives the log is kept from there on.
pub struct LogReader {
    kernel: Kernel,
    lsn: u64,
    pin: Arc<Pin>,
}

impl LogReader {
    /// The oldest place of the log, the archive included.
    ///
    /// # Errors
    /// `Closed`, or `Unavailable` when the disk refuses.
    pub fn new(kernel: &Kernel) -> KernelResult<LogReader> {
        let (pin, _) = kernel.pin_log(0)?;
        let lsn = starts(kernel.vfs())?.first().copied().unwrap_or(FIRST_LSN);
        Ok(LogReader { kernel: kernel.clone(), lsn, pin })
    }

    /// The place of the newest checkpoint, behind all that it holds: the timestamp, and the place.
    ///
    /// # Errors
    /// `Closed`, or `Unavailable` when the disk refuses.
    pub fn at_checkpoint(kernel: &Kernel) -> KernelResult<(Timestamp, LogReader)> {
        let held = kernel.hold()?;
        let lsn = held.meta.lsn;
        let (pin, _) = kernel.pin_log(lsn)?;
        Ok((Timestamp(held.meta.timestamp), LogReader { kernel: kernel.clone(), lsn, pin }))
    }

    /// Hands some of the records that are on disk behind this place to `visit`, and moves behind them.
    /// Returns whether there were any.
    ///
    /// # Errors
    /// `NotFound` when an archived segment is missing, `Plugin` that names the codec when one that is compressed
    /// cannot be restored, `Corrupt`, `Unavailable`, and what `visit` returns.
    pub fn read(&mut self, visit: Visit<'_>) -> KernelResult<bool> {
        let (pin, synced) = self.kernel.pin_log(self.lsn)?;
        self.pin = pin;
        let more = self.lsn < synced;
        if more {
            let log = LogDir { vfs: self.kernel.vfs(), codecs: self.kernel.plugins() };
            self.lsn = read_some(log, self.lsn, synced, visit)?;
        }
        Ok(more)
    }
}

/// Hands every record of the log that `held` keeps to `visit`, in order.
///
/// # Errors
/// `Corrupt`, `Unavailable`, and what `visit` returns.
pub(crate) fn visit_held(held: &Held, visit: Visit<'_>) -> KernelResult<()> {
    let log = LogDir { vfs: held.vfs(), codecs: &held.access().plugins };
    let mut lsn = held.meta.lsn;
    while lsn < held.log_end {
        lsn = read_some(log, lsn, held.log_end, visit)?;
    }
    Ok(())
}

/// Where the log's files begin, those of the archive included.
fn starts(vfs: &dyn Vfs) -> KernelResult<Vec<u64>> {
    let mut starts = all_starts(vfs, ARCHIVE_DIR)?;
    starts.append(&mut all_starts(vfs, WAL_DIR)?);
    starts.sort_unstable();
    Ok(starts)
}

/// Visits the records from `lsn` to the end of its file, but not past `end`; the LSN behind them.
fn read_some(log: LogDir<'_>, mut lsn: u64, end: u64, visit: Visit<'_>) -> KernelResult<u64> {
    let bytes = read_file(log, lsn, end)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let broken = |why| KernelError::corrupt(WAL_DIR, lsn, "a frame that was synced", why);
        let frame = record::decode_frame(rest, lsn).map_err(broken)?;
        let mut reader = Reader::new(WAL_DIR, lsn, frame.records);
        while !reader.rest().is_empty() {
            visit(lsn, frame.txn, WalRecord::decode(&mut reader)?)?;
        }
        lsn += frame.bytes as u64;
        rest = &rest[frame.bytes..];
    }
    Ok(lsn)
}

/// The bytes of the log from `lsn` to the end of its file, but not past `end`.
fn read_file(log: LogDir<'_>, lsn: u64, end: u64) -> KernelResult<Vec<u8>> {
    let starts = starts(log.vfs)?;
    let behind = starts.partition_point(|&start| start <= lsn);
    let gap = || KernelError::NotFound { kind: "log position", name: lsn.to_string() };
    let start = *starts[..behind].last().ok_or_else(gap)?;
    let end = starts.get(behind).map_or(end, |&next| end.min(next));
    // A segment may be archived at any moment: first where it was, then where it is then.
    let open = |dir| LogBytes::open(log.vfs, dir, start);
    let file = open(WAL_DIR).or_else(|_| open(ARCHIVE_DIR))?;
    let at = SEGMENT_HEADER_BYTES as u64 + lsn - start;
    let bytes = file.read(log.codecs, at..at + end.saturating_sub(lsn))?;
    if (bytes.len() as u64) < end.saturating_sub(lsn) { Err(gap()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_kernel::{Options, TableOptions};
    use sochdb_sim::memory;

    #[test]
    fn an_archive_is_read_from_the_very_first_commit_on() {
        let env = memory();
        let options =
            || Options { wal_archive: true, wal_segment_bytes: 16 << 10, ..Options::default() };
        let kernel = Kernel::open(env.clone(), options()).unwrap();
        kernel.create_table("t", TableOptions::default()).unwrap();
        for n in 0..60u32 {
            kernel.run(|tx| tx.put("t", &n.to_be_bytes(), &[1; 3000])).unwrap();
            if n % 20 == 19 {
                kernel.checkpoint().unwrap();
            }
        }
        kernel.close().unwrap();
        let kernel = Kernel::open(env, options()).unwrap();
        let mut log = LogReader::new(&kernel).unwrap();
        let mut last = 0;
        let mut visit = |_, _, record: WalRecord<'_>| {
            if let WalRecord::Commit { timestamp, .. } = record {
                assert_eq!(timestamp.0, last + 1);
                last = timestamp.0;
            }
            Ok(())
        };
        while log.read(&mut visit).unwrap() {}
        assert_eq!(last, 61);
    }
}
