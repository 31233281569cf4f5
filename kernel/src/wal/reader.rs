//! Reads the log after a crash and finds its end.
//!
//! Frames are believed in order. At the first that fails a check the reader looks further for a frame
//! whose `synced` mark lies behind the failure: if there is one, the failed bytes had been on disk and
//! are `Corrupt`; if there is none, they were never acknowledged and are the torn tail.
//!
//! A flip inside the very last sync group cannot be told from a torn tail by this rule, because nothing
//! behind it bears witness. A clean close leaves no such group: it checkpoints.

use super::record::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::{WAL_DIR, WalRecord, segment_name};
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::TransactionId;
use crate::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_encoding::codec::Reader;
use std::sync::Arc;

/// The log is written once more in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Takes one record: the LSN of its frame, its transaction, and the record.
pub type Visit<'a> = &'a mut dyn FnMut(u64, TransactionId, WalRecord<'_>) -> KernelResult<()>;

/// What [`read`] found.
#[derive(Default)]
pub struct Tail {
    /// The segments that are kept: start LSN and open file, oldest first.
    pub segments: Vec<(u64, Arc<dyn VfsFile>)>,
    /// The LSN behind the last good frame.
    pub end: u64,
    /// Everything below had been on disk already.
    pub synced: u64,
    /// Bytes behind `end`, in its segment, that hold remains of frames never wholly written. They
    /// must be wiped before the log goes on, lest a whole frame among them replays one day.
    pub torn_bytes: u64,
    /// The same, with those in `strays`.
    pub cut_bytes: u64,
    /// Where the segments wholly below the LSN to begin at begin: a crash kept them from being released.
    pub released: Vec<u64>,
    /// Segments behind the one that holds `end`: nothing in them counts.
    pub strays: Vec<String>,
}

/// Hands every record from LSN `from` on to `visit`, in order.
///
/// # Errors
/// `Corrupt` when bytes that were once on disk are broken or missing, and whatever `visit` returns.
pub fn read(
    vfs: &dyn Vfs,
    database: u64,
    from: u64,
    mode: OpenMode,
    visit: Visit<'_>,
) -> KernelResult<Tail> {
    let mut starts = starts(vfs, WAL_DIR)?;
    let older = starts.partition_point(|&start| start <= from).saturating_sub(1);
    let released = starts.drain(..older).collect();
    if starts.first().is_none_or(|&start| from < start) {
        let found = starts.first().map_or("no log".to_owned(), |s| format!("a log from {s} on"));
        let expected = format!("log bytes from {from} on");
        return Err(KernelError::corrupt(WAL_DIR, from, expected, found));
    }
    let mut tail = Tail { released, end: from, synced: from, ..Tail::default() };
    for (index, &start) in starts.iter().enumerate() {
        let segment = LoadedSegment::load(vfs, database, start, mode)?;
        let next = starts.get(index + 1).copied();
        tail.segments.push((start, segment.file.clone()));
        tail.synced = tail.synced.max(segment.synced);
        let (at, why) = match segment.visit(tail.end, next, &mut tail.synced, visit)? {
            Ok(reached) => {
                tail.end = reached;
                continue;
            }
            Err(failed) => failed,
        };
        // Nothing behind this counts, unless something there says that these bytes had been on disk.
        tail.end = at;
        segment.refuse_witness(&segment, at, why)?;
        tail.torn_bytes = segment.torn_bytes(at);
        tail.cut_bytes = tail.torn_bytes;
        for &start in &starts[index + 1..] {
            let stray = LoadedSegment::load(vfs, database, start, mode)?;
            segment.refuse_witness(&stray, at, why)?;
            tail.cut_bytes += stray.torn_bytes(start);
            tail.strays.push(segment_name(start));
        }
        break;
    }
    Ok(tail)
}

/// Makes the log durable as it was read, from its newest synced mark on. After a failed sync the operating
/// system may show bytes that it will never write; written again they are sure to reach the disk.
pub fn settle(tail: &Tail) -> std::io::Result<()> {
    let ends = tail.segments.iter().skip(1).map(|(start, _)| *start).chain([tail.end]);
    let mut bytes = vec![0; PIECE_BYTES];
    for ((start, file), end) in tail.segments.iter().zip(ends) {
        for at in (tail.synced.max(*start)..end).step_by(PIECE_BYTES) {
            let count = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let offset = SEGMENT_HEADER_BYTES as u64 + at - start;
            file.read_exact_at(offset, &mut bytes[..count])?;
            file.write_at(offset, &bytes[..count])?;
        }
        if tail.synced <= end {
            file.sync()?;
        }
    }
    Ok(())
}

/// Where the segments in the folder `dir` begin, in order.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub fn starts(vfs: &dyn Vfs, dir: &str) -> KernelResult<Vec<u64>> {
    let names = vfs.list(dir).map_err(|e| KernelError::io(format!("list the folder {dir}"), e))?;
    let starts = names.iter().filter_map(|name| name.strip_suffix(".wal"));
    let mut starts: Vec<u64> = starts.filter_map(|hex| u64::from_str_radix(hex, 16).ok()).collect();
    starts.sort_unstable();
    Ok(starts)
}

struct LoadedSegment {
    start: u64,
    synced: u64,
    file: Arc<dyn VfsFile>,
    bytes: Vec<u8>,
    /// The LSN behind which there are only zeroes: no frame begins there.
    zeroes: u64,
}

impl LoadedSegment {
    fn load(vfs: &dyn Vfs, database: u64, start: u64, mode: OpenMode) -> KernelResult<Self> {
        let name = segment_name(start);
        let io = |e| KernelError::io(format!("read {name}"), e);
        let file = vfs.open(&name, mode).map_err(io)?;
        let mut bytes = vec![0; usize::try_from(file.len().map_err(io)?).unwrap_or(usize::MAX)];
        file.read_exact_at(0, &mut bytes).map_err(io)?;
        let mut words = bytes.chunks(record::FRAME_ALIGN);
        let used = words.rposition(|word| word != [0; record::FRAME_ALIGN]).map_or(0, |at| at + 1);
        let zeroes = start + (used * record::FRAME_ALIGN) as u64;
        let header = &bytes[..SEGMENT_HEADER_BYTES.min(bytes.len())];
        let synced = record::decode_segment_header(&name, header, database, start)?;
        Ok(LoadedSegment { start, synced, file, bytes, zeroes })
    }

    /// `Corrupt` if `later`, this segment or one behind it, says that the bytes at `at` had been on disk.
    fn refuse_witness(&self, later: &LoadedSegment, at: u64, why: &str) -> KernelResult<()> {
        let from = at.max(later.start);
        if at < later.synced || later.frames_behind(from).any(|frame| at < frame.synced) {
            let offset = SEGMENT_HEADER_BYTES as u64 + at - self.start;
            let name = segment_name(self.start);
            return Err(KernelError::corrupt(&name, offset, "a frame that was synced", why));
        }
        Ok(())
    }

    fn at(&self, lsn: u64) -> &[u8] {
        let offset = usize::try_from(lsn - self.start).unwrap_or(usize::MAX);
        self.bytes.get(offset.saturating_add(SEGMENT_HEADER_BYTES)..).unwrap_or_default()
    }

    /// Visits the frames from `from` to `end`, or to the first that fails: its LSN and why.
    fn visit(
        &self,
        from: u64,
        end: Option<u64>,
        synced: &mut u64,
        visit: Visit<'_>,
    ) -> KernelResult<Result<u64, (u64, &'static str)>> {
        let name = segment_name(self.start);
        let mut lsn = from;
        while end != Some(lsn) {
            let frame = match record::decode_frame(self.at(lsn), lsn) {
                Ok(frame) => frame,
                Err(why) => return Ok(Err((lsn, why))),
            };
            let offset = lsn - self.start + (SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES) as u64;
            let mut reader = Reader::new(&name, offset + 8, frame.records);
            while !reader.rest().is_empty() {
                visit(lsn, frame.txn, WalRecord::decode(&mut reader)?)?;
            }
            lsn += frame.bytes as u64;
            *synced = frame.synced.max(*synced);
        }
        Ok(Ok(lsn))
    }

    /// Every good frame at or behind `lsn`, wherever it begins.
    fn frames_behind(&self, lsn: u64) -> impl Iterator<Item = record::Frame<'_>> {
        let positions = (lsn..self.zeroes).step_by(record::FRAME_ALIGN);
        positions.filter_map(|at| record::decode_frame(self.at(at), at).ok())
    }

    /// How many bytes from `lsn` on must be wiped so that no frame header of this place is left.
    fn torn_bytes(&self, lsn: u64) -> u64 {
        let is_header = |&at: &u64| self.at(at).get(8..16) == Some(&at.to_le_bytes()[..]);
        let headers = (lsn..self.zeroes).step_by(record::FRAME_ALIGN).filter(is_header);
        headers.last().map_or(0, |at| at - lsn + FRAME_HEADER_BYTES as u64)
    }
}
