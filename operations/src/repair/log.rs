//! The log of a broken database: every whole transaction that can still be read, and what is missing.
//!
//! Frames are self-contained: each says where in the log it belongs and has a checksum. So behind a broken
//! one the next whole one can be found. A transaction counts only if all of its rows were read. Behind a
//! torn tail too: what nobody was promised does no harm, and what rotted cannot be told from it.

use super::report::RepairReport;
use crate::log::{LogDir, LogFile};
use crate::progress::Meter;
use sochdb_encoding::codec::Reader;
use sochdb_kernel::inspect::record::{self, FRAME_ALIGN, SEGMENT_HEADER_BYTES};
use sochdb_kernel::inspect::{ARCHIVE_DIR, Committed, Transactions, WAL_DIR, WalRecord};
use std::collections::BTreeMap;

/// The files of the log.
pub(super) struct BrokenLog<'a> {
    files: Vec<LogFile<'a>>,
    /// The database they belong to, as their headers say.
    database: Option<u64>,
}

impl<'a> BrokenLog<'a> {
    /// The log files in `from` that belong to `database`, or to whom most of them belong. What fits nowhere
    /// is noted in `report`.
    pub fn open(from: LogDir<'a>, database: Option<u64>, report: &mut RepairReport) -> Self {
        let mut files = Vec::new();
        for dir in [ARCHIVE_DIR, WAL_DIR] {
            match LogFile::each(from, dir, 0) {
                Ok(found) => {
                    for file in found {
                        match file {
                            Ok(file) => files.push(file),
                            Err(error) => {
                                report.note(format!("a file of the log is lost: {error}"))
                            }
                        }
                    }
                }
                Err(error) => report.note(format!("the folder {dir} cannot be read: {error}")),
            }
        }
        files.sort_by_key(|file| file.start);
        let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
        for file in &files {
            if let Some(owner) = file.salvage().ok().and_then(|(header, ..)| owner(&header)) {
                *owners.entry(owner).or_default() += 1;
            }
        }
        let most = owners.iter().max_by_key(|(_, count)| **count).map(|(owner, _)| *owner);
        BrokenLog { files, database: database.or(most) }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether there is a whole frame at `lsn`.
    pub fn has_frame(&self, lsn: u64) -> bool {
        let mut files = self.files.iter().filter(|file| file.reaches(lsn));
        files.any(|file| {
            let at = usize::try_from(lsn - file.start).unwrap_or(usize::MAX);
            let loaded = file.salvage().ok();
            let bytes = loaded.as_ref().and_then(|(_, content, _)| content.get(at..));
            bytes.is_some_and(|bytes| record::decode_frame(bytes, lsn).is_ok())
        })
    }

    /// Hands every transaction whose COMMIT can be read on to `visit`, in order, with whether all of its
    /// rows were read. `report` gets notes on what cannot be read.
    pub fn read(
        &self,
        report: &mut RepairReport,
        meter: &mut Meter<'_>,
        visit: &mut dyn FnMut(Committed, &mut RepairReport),
    ) {
        let mut open = Transactions::default();
        // Behind the last frame that was read.
        let mut end = 0;
        for file in &self.files {
            meter.add(file.bytes);
            let (header, content) = match file.salvage() {
                Ok((header, content, lost)) => {
                    if let Some(error) = lost {
                        report.note(format!("a part of {} cannot be restored: {error}", file.name));
                    }
                    (header, content)
                }
                Err(error) => {
                    report.note(format!("{} cannot be read: {error}", file.name));
                    continue;
                }
            };
            match (owner(&header), self.database) {
                (Some(owner), Some(database)) if owner != database => {
                    report.note(format!("{} belongs to another database", file.name));
                    continue;
                }
                (None, _) => report.note(format!("the header of {} is broken", file.name)),
                _ => {}
            }
            if 0 < end && end < file.start {
                report.note(format!("the log from {end} to {} is missing", file.start));
            }
            let mut at = usize::try_from(end.max(file.start) - file.start).unwrap_or(usize::MAX);
            let mut broken = None;
            while at < content.len() {
                let lsn = file.start + at as u64;
                let Ok(frame) = record::decode_frame(&content[at..], lsn) else {
                    broken.get_or_insert(at);
                    at += FRAME_ALIGN;
                    continue;
                };
                if let Some(from) = broken.take() {
                    report.note(broken_at(file, from));
                }
                let mut reader = Reader::new(&file.name, lsn, frame.records);
                while let Ok(record) = WalRecord::decode(&mut reader) {
                    if let Some(done) = open.add(lsn, frame.txn, record) {
                        visit(done, report);
                    }
                    if reader.rest().is_empty() {
                        break;
                    }
                }
                at += frame.bytes;
                end = file.start + at as u64;
            }
            // What follows a file's last frame is nothing, unless it still says where it belongs.
            let names_its_place = |from: usize| {
                let lsn = (file.start + from as u64).to_le_bytes();
                content.get(from + 8..from + 16) == Some(&lsn[..])
            };
            if let Some(from) = broken.filter(|&from| names_its_place(from)) {
                report.note(broken_at(file, from));
            }
        }
    }
}

fn broken_at(file: &LogFile<'_>, from: usize) -> String {
    let at = from + SEGMENT_HEADER_BYTES;
    format!("{} has a broken record at byte {at}", file.name)
}

/// The database that a log file's header names, if its checksum holds.
fn owner(header: &[u8]) -> Option<u64> {
    let (body, crc) = header.split_at_checked(SEGMENT_HEADER_BYTES - 4)?;
    let is_whole = crc == sochdb_encoding::codec::crc(body).to_le_bytes();
    is_whole.then(|| u64::from_le_bytes(body[16..24].try_into().expect("8 bytes")))
}
