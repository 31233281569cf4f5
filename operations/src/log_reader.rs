//! Reads the log of an open database: what is on disk of it, from any place that is still kept.

use sochdb_encoding::codec::Reader;
use sochdb_kernel::inspect::record::{self, SEGMENT_HEADER_BYTES};
use sochdb_kernel::inspect::{
    ARCHIVE_DIR, FIRST_LSN, Held, Pin, Visit, WAL_DIR, WalRecord, log_starts, segment_name,
};
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{Kernel, KernelError, KernelResult};
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

    /// Hands some of the records that are on disk behind this place to `visit`, and moves behind them.
    /// Returns whether there were any.
    ///
    /// # Errors
    /// `NotFound` when an archived segment is missing, `Corrupt`, `Unavailable`, and what `visit` returns.
    pub fn read(&mut self, visit: Visit<'_>) -> KernelResult<bool> {
        let (pin, synced) = self.kernel.pin_log(self.lsn)?;
        self.pin = pin;
        let more = self.lsn < synced;
        if more {
            self.lsn = read_some(self.kernel.vfs(), self.lsn, synced, visit)?;
        }
        Ok(more)
    }
}

/// Hands every record of the log that `held` keeps to `visit`, in order.
///
/// # Errors
/// `Corrupt`, `Unavailable`, and what `visit` returns.
pub(crate) fn visit_held(held: &Held, visit: Visit<'_>) -> KernelResult<()> {
    let mut lsn = held.meta.lsn;
    while lsn < held.log_end {
        lsn = read_some(held.vfs(), lsn, held.log_end, visit)?;
    }
    Ok(())
}

/// Where the log's files begin, those of the archive included.
fn starts(vfs: &dyn Vfs) -> KernelResult<Vec<u64>> {
    let mut starts = log_starts(vfs, ARCHIVE_DIR)?;
    starts.extend(log_starts(vfs, WAL_DIR)?);
    starts.sort_unstable();
    Ok(starts)
}

/// Visits the records from `lsn` to the end of its file, but not past `end`; the LSN behind them.
fn read_some(vfs: &dyn Vfs, mut lsn: u64, end: u64, visit: Visit<'_>) -> KernelResult<u64> {
    let bytes = read_file(vfs, lsn, end)?;
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
fn read_file(vfs: &dyn Vfs, lsn: u64, end: u64) -> KernelResult<Vec<u8>> {
    let starts = starts(vfs)?;
    let behind = starts.partition_point(|&start| start <= lsn);
    let gap = || KernelError::NotFound { kind: "log position", name: lsn.to_string() };
    let start = *starts[..behind].last().ok_or_else(gap)?;
    let end = starts.get(behind).map_or(end, |&next| end.min(next));
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(lsn)).unwrap_or(usize::MAX)];
    let name = segment_name(start);
    let archived = name.replacen(WAL_DIR, ARCHIVE_DIR, 1);
    // A segment may be archived at any moment: first where it was, then where it is then.
    let file = vfs.open(&name, OpenMode::Read).or_else(|_| vfs.open(&archived, OpenMode::Read));
    file.and_then(|file| file.read_exact_at(SEGMENT_HEADER_BYTES as u64 + lsn - start, &mut bytes))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => gap(),
            _ => KernelError::io(format!("read the log at {lsn}"), error),
        })?;
    Ok(bytes)
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
