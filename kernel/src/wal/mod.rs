//! The append-only log: whoever wants to be durable waits here, one sync serves all who wait.
//!
//! ```text
//!   append ──▶ pending (memory) ──▶ written (operating system) ──▶ synced (disk)
//!                                   └── leader: takes all that is pending, writes, syncs, wakes ──┘
//! ```
//!
//! [`WalManager::append`] is called under the commit lock, so log order is commit order. It only copies
//! bytes. [`WalManager::wait`] makes them durable: the first to arrive becomes the leader and works for
//! everybody whose bytes were pending. The rest sleep, each by a lock of its own, until the leader wakes
//! them: first one who leads next, then those it has served, who go on without taking another lock.
//!
//! The log is cut into segment files `wal/<start LSN in hex>.wal`. They grow by doubling, up to a fixed size,
//! with zeroes ahead of what is appended: so room is found before a transaction counts, and most syncs have no
//! metadata to write. A segment's bytes end where the next one's begin. Segments below a checkpoint become
//! spares (`.spare`) and serve again under a new name, or move to the folder `archive` when the database
//! keeps one. Closing leaves one small segment.
//!
//! Invariants:
//! 1. `synced <= written <= end`, each an LSN, each only growing.
//! 2. `pending` holds exactly the bytes from `written` to `end`, all of the newest segment.
//! 3. Whoever sleeps has a leader at work, or one that was woken and has not come yet.
//! 4. After a failed write or sync nothing is ever reported durable again: the log is poisoned until
//!    the database is reopened and recovery has read what is really on disk.

pub mod reader;
pub mod record;
pub mod transactions;

pub use record::WalRecord;

use crate::error::{KernelError, KernelResult};
use crate::limits::{WAL_SEGMENT_BYTES_MIN, WAL_SPARE_SEGMENTS_MAX};
use crate::pins::{Pin, Pins};
use crate::vfs::{OpenMode, Vfs, VfsFile};
use parking_lot::{Condvar, Mutex, MutexGuard};
use record::{FRAME_ALIGN, SEGMENT_HEADER_BYTES};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// The folder of the log's files.
pub const WAL_DIR: &str = "wal";
/// Where released segments go when the database keeps an archive.
pub const ARCHIVE_DIR: &str = "archive";
const NEW_SEGMENT: &str = "wal/new.tmp";
/// Where a new log begins. Not 0, so that zeroes never look like a frame's LSN.
pub const FIRST_LSN: u64 = 64;
/// A larger buffer is given back once its bytes are written.
const BUFFER_KEPT_BYTES_MAX: usize = 2 << 20;
/// Zeroes are written in pieces of this size.
const ZERO_BYTES: usize = 256 << 10;
/// A segment begins with this part of its size.
const FIRST_PART: usize = 16;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When its bytes are on disk.
    #[default]
    Fsync,
    /// When its bytes are with the operating system; they are synced at most this many microseconds
    /// later. A killed process loses nothing, a power cut at most the last moments.
    FsyncDelayed(u64),
    /// When its bytes are with the operating system, which writes them when it likes.
    None,
}

/// The append-only log of one open database.
pub struct WalManager {
    vfs: Arc<dyn Vfs>,
    database: u64,
    segment_bytes: usize,
    archive: bool,
    state: Mutex<State>,
    /// Why the log is poisoned.
    failed: OnceLock<String>,
}

/// Somebody who waits for the log.
struct Sleeper {
    /// Up to where it must be written, or synced.
    lsn: u64,
    sync: bool,
    /// Set when it is woken: whether that came true. If not, it leads.
    served: Mutex<Option<bool>>,
    woken: Condvar,
}

impl Sleeper {
    fn sleep(&self) -> bool {
        let mut served = self.served.lock();
        while served.is_none() {
            self.woken.wait(&mut served);
        }
        *served == Some(true)
    }

    fn wake(&self, served: bool) {
        *self.served.lock() = Some(served);
        self.woken.notify_all();
    }
}

struct Segment {
    start: u64,
    /// Bytes of the file, header included.
    bytes: u64,
    /// How many it may have.
    bytes_max: u64,
    file: Arc<dyn VfsFile>,
}

impl Segment {
    /// Writes zeroes behind the file's end, so that it has room for `bytes`.
    fn grow(&mut self, bytes: u64) -> std::io::Result<()> {
        let zeroes = vec![0; ZERO_BYTES];
        while self.bytes < bytes {
            let count = ZERO_BYTES.min(usize::try_from(bytes - self.bytes).unwrap_or(ZERO_BYTES));
            self.file.write_at(self.bytes, &zeroes[..count])?;
            self.bytes += count as u64;
        }
        Ok(())
    }
}

#[derive(Default)]
struct State {
    /// Oldest first; the last one is being written.
    segments: VecDeque<Segment>,
    spares: Vec<String>,
    /// Earlier segments with bytes that were written and not synced.
    dirty: Vec<Arc<dyn VfsFile>>,
    pending: Vec<u8>,
    /// An empty buffer that takes turns with `pending`.
    reserve: Vec<u8>,
    end: u64,
    written: u64,
    synced: u64,
    /// A leader is writing or syncing.
    busy: bool,
    sleepers: Vec<Arc<Sleeper>>,
    syncs: u64,
    bytes: u64,
    /// Who still reads the log, and from which LSN on.
    pins: Pins,
}

impl State {
    fn check(&self) {
        let State { synced, written, end, .. } = *self;
        assert!(synced <= written && written <= end, "{synced} <= {written} <= {end} must hold");
        let pending = self.pending.len() as u64;
        assert!(self.busy || end - written == pending, "{pending} bytes from {written} to {end}");
    }

    /// Whether the newest segment has room for `bytes` more, or could be given it and was.
    fn fits(&mut self, bytes: usize) -> std::io::Result<bool> {
        let Some(segment) = self.segments.back_mut() else { return Ok(false) };
        let wanted = SEGMENT_HEADER_BYTES as u64 + self.end - segment.start + bytes as u64;
        if segment.bytes < wanted && wanted <= segment.bytes_max {
            segment.grow(wanted.max(2 * segment.bytes).min(segment.bytes_max))?;
        }
        Ok(wanted <= segment.bytes)
    }

    /// Whether the log is written, or synced, up to `lsn`.
    fn reaches(&self, lsn: u64, sync: bool) -> bool {
        lsn <= if sync { self.synced } else { self.written }
    }

    /// Somebody to sleep, while a leader is at work, until that.
    fn sleeper(&mut self, lsn: u64, sync: bool) -> Arc<Sleeper> {
        let (served, woken) = (Mutex::new(None), Condvar::new());
        self.sleepers.push(Arc::new(Sleeper { lsn, sync, served, woken }));
        self.sleepers[self.sleepers.len() - 1].clone()
    }
}

/// The file of the segment that begins at `start`.
pub fn segment_name(start: u64) -> String {
    format!("{WAL_DIR}/{start:016x}.wal")
}

/// Removes a file that may be there.
pub fn remove_if_there(vfs: &dyn Vfs, name: &str) -> std::io::Result<()> {
    match vfs.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves the segment that begins at `start` to the archive.
pub fn archive(vfs: &dyn Vfs, start: u64) -> std::io::Result<()> {
    vfs.create_dir(ARCHIVE_DIR)?;
    vfs.sync_dir("")?;
    let name = segment_name(start);
    vfs.rename(&name, &name.replacen(WAL_DIR, ARCHIVE_DIR, 1))?;
    // Before the log's own folder is synced: a name must not leave that one without being in this.
    vfs.sync_dir(ARCHIVE_DIR)
}

impl WalManager {
    /// A log that goes on at `end`, in `segments` (pairs of start LSN and open file, oldest first), with
    /// segments of a size, archived or used again.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        database: u64,
        (segment_bytes, archive): (usize, bool),
        segments: Vec<(u64, Arc<dyn VfsFile>)>,
        end: u64,
    ) -> KernelResult<WalManager> {
        assert!(end.is_multiple_of(FRAME_ALIGN as u64), "the log ends at {end}, unaligned");
        let list = |e| KernelError::io("list the log's folder", e);
        let names = vfs.list(WAL_DIR).map_err(list)?;
        let spares = names.iter().filter(|name| name.ends_with(".spare"));
        let spares = spares.map(|name| format!("{WAL_DIR}/{name}")).collect();
        let segment_bytes = segment_bytes.max(WAL_SEGMENT_BYTES_MIN);
        let segment_bytes = segment_bytes.next_multiple_of(FRAME_ALIGN);
        let mut open = VecDeque::new();
        for (start, file) in segments {
            let bytes = file.len().map_err(|e| KernelError::io("measure a log segment", e))?;
            let bytes_max = bytes.max(segment_bytes as u64);
            open.push_back(Segment { start, bytes, bytes_max, file });
        }
        let (written, synced) = (end, end);
        let state = State { segments: open, spares, end, written, synced, ..State::default() };
        let (state, failed) = (Mutex::new(state), OnceLock::new());
        Ok(WalManager { vfs, database, segment_bytes, archive, state, failed })
    }

    /// Adds one frame per payload and returns the LSN behind the last. Nothing is durable yet.
    ///
    /// # Errors
    /// `Unavailable` when there is no room: the caller's transaction did not happen, the log goes on. `Closed` when the log is poisoned.
    pub fn append(&self, payloads: &[Vec<u8>]) -> KernelResult<u64> {
        payloads.iter().enumerate().try_fold(0, |_, (index, payload)| {
            self.add(payload).inspect_err(|_| {
                // Readers of the log forget a transaction whose later frames found no room. Where this
                // record finds none either, the missing COMMIT says the same.
                let mut abort = payload[..8].to_vec();
                WalRecord::Abort.encode(&mut abort);
                let _ = (0 < index).then(|| self.add(&abort));
            })
        })
    }

    /// Adds one frame and returns the LSN behind it.
    fn add(&self, payload: &[u8]) -> KernelResult<u64> {
        let bytes = record::frame_bytes(payload.len());
        let mut state = self.state.lock();
        self.check()?;
        while !state.fits(bytes).map_err(|e| KernelError::io("grow a log segment", e))? {
            drop(state);
            self.next_segment(bytes)?;
            state = self.state.lock();
        }
        let State { end, synced, .. } = *state;
        record::encode_frame(&mut state.pending, end, synced, payload);
        state.end += bytes as u64;
        state.check();
        Ok(state.end)
    }

    /// Goes on in a new segment, or begins in the first, with room for `bytes`. The caller has the commit lock.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Closed` when the log is poisoned.
    pub fn next_segment(&self, bytes: usize) -> KernelResult<()> {
        self.drain(self.idle(), false)?;
        let mut state = self.idle();
        self.check()?;
        let segment = self.new_segment(&mut state, bytes)?;
        // A segment that nothing was written to yet is replaced: two of one start are one file.
        if state.segments.back().is_some_and(|old| old.start == segment.start) {
            state.segments.pop_back();
        }
        let old = state.segments.back().map(|s| s.file.clone());
        if state.synced < state.written {
            state.dirty.extend(old);
        }
        state.segments.push_back(segment);
        Ok(())
    }

    /// A segment that begins at the log's end: a spare with a new header, or a new file of zeroes.
    /// The header is on disk before the name is, so a named segment always has a good header.
    fn new_segment(&self, state: &mut State, bytes: usize) -> KernelResult<Segment> {
        let start = state.end;
        let first = (SEGMENT_HEADER_BYTES + bytes).max(self.segment_bytes / FIRST_PART) as u64;
        let bytes_max = first.max(self.segment_bytes as u64);
        let name = segment_name(start);
        let header = record::encode_segment_header(self.database, start, state.synced);
        let spare = if bytes_max == self.segment_bytes as u64 { state.spares.pop() } else { None };
        let mut named = false;
        let mut make = || -> std::io::Result<Segment> {
            let file = match &spare {
                Some(spare) => self.vfs.open(spare, OpenMode::Write)?,
                None => {
                    remove_if_there(&*self.vfs, NEW_SEGMENT)?;
                    self.vfs.open(NEW_SEGMENT, OpenMode::Create)?
                }
            };
            let mut segment = Segment { start, bytes: file.len()?, bytes_max, file };
            segment.grow(first)?;
            segment.file.write_at(0, &header)?;
            segment.file.sync()?;
            named = true;
            self.vfs.rename(spare.as_deref().unwrap_or(NEW_SEGMENT), &name)?;
            self.vfs.sync_dir(WAL_DIR)?;
            Ok(segment)
        };
        make().map_err(|e| {
            if named {
                // Should the name be on disk, the log must not go on in the old segment past it.
                self.fail(state, "a new log segment may or may not be there");
            }
            // A full disk gets its bytes back; should even that fail, the next attempt removes it.
            let _ = remove_if_there(&*self.vfs, NEW_SEGMENT);
            KernelError::io(format!("make log segment {name}"), e)
        })
    }

    /// Returns once the log is written (and, if `sync`, synced) up to `lsn`.
    ///
    /// # Errors
    /// `Closed` when the log is or becomes poisoned: whether the bytes are on disk is unknown until
    /// the database is reopened.
    pub fn wait(&self, lsn: u64, sync: bool) -> KernelResult<()> {
        loop {
            let mut state = self.state.lock();
            assert!(lsn <= state.end, "waiting for {lsn}, the log ends at {}", state.end);
            self.check()?;
            if state.reaches(lsn, sync) {
                return Ok(());
            }
            if !state.busy {
                self.drain(state, sync)?;
                continue;
            }
            let sleeper = state.sleeper(lsn, sync);
            drop(state);
            if sleeper.sleep() {
                return self.check();
            }
        }
    }

    /// Waits until nobody leads.
    fn idle(&self) -> MutexGuard<'_, State> {
        loop {
            let mut state = self.state.lock();
            if !state.busy {
                return state;
            }
            let sleeper = state.sleeper(0, false);
            drop(state);
            sleeper.sleep();
        }
    }

    /// Leads: writes what is pending, syncs if asked, and wakes the waiting.
    fn drain(&self, mut state: MutexGuard<'_, State>, sync: bool) -> KernelResult<()> {
        assert!(!state.busy, "two leaders of the log at once");
        self.check()?;
        let Some(segment) = state.segments.back() else { return Ok(()) };
        let file = segment.file.clone();
        let offset = SEGMENT_HEADER_BYTES as u64 + state.written - segment.start;
        let reserve = std::mem::take(&mut state.reserve);
        let mut bytes = std::mem::replace(&mut state.pending, reserve);
        let dirty = if sync { std::mem::take(&mut state.dirty) } else { Vec::new() };
        state.busy = true;
        let result = MutexGuard::unlocked(&mut state, || {
            if !bytes.is_empty() {
                file.write_at(offset, &bytes)?;
            }
            if sync {
                dirty.iter().chain([&file]).try_for_each(|file| file.sync())?;
            }
            std::io::Result::Ok(())
        });
        state.busy = false;
        if let Err(error) = result {
            tracing::error!(%error, "the log could not be written; writes are refused until reopened");
            self.fail(&mut state, &error.to_string());
            return self.check();
        }
        state.written += bytes.len() as u64;
        state.bytes += bytes.len() as u64;
        if sync {
            state.synced = state.written;
            state.syncs += 1;
        }
        bytes.clear();
        // One huge transaction must not keep its buffer for good.
        state.reserve = if BUFFER_KEPT_BYTES_MAX < bytes.capacity() { Vec::new() } else { bytes };
        state.check();
        let sleepers = std::mem::take(&mut state.sleepers);
        let is_served = |sleeper: &Arc<Sleeper>| state.reaches(sleeper.lsn, sleeper.sync);
        let (served, later): (Vec<_>, _) = sleepers.into_iter().partition(is_served);
        state.sleepers = later;
        let leader = state.sleepers.pop();
        drop(state);
        leader.inspect(|leader| leader.wake(false));
        served.iter().for_each(|sleeper| sleeper.wake(true));
        Ok(())
    }

    /// The LSN behind the last byte, and the LSN up to which all is on disk.
    pub fn ends(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.end, state.synced)
    }

    /// Refuses all further writes because of `why`.
    pub fn poison(&self, why: &str) {
        self.fail(&mut self.state.lock(), why);
    }

    /// Wakes everybody, because nobody leads any more.
    fn fail(&self, state: &mut State, why: &str) {
        self.failed.get_or_init(|| why.to_owned());
        state.sleepers.drain(..).for_each(|sleeper| sleeper.wake(false));
    }

    /// Refuses when the log is poisoned.
    ///
    /// # Errors
    /// `Closed`.
    pub fn check(&self) -> KernelResult<()> {
        let Some(why) = self.failed.get() else { return Ok(()) };
        Err(KernelError::Closed(format!("the log failed earlier ({why}), writes are refused")))
    }

    /// Whether and why writes are refused.
    pub fn failure(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    /// Lets go of the segments wholly below `lsn` that nobody pins, and returns how many bytes that freed.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses; the segments then stay and are tried again next time.
    pub fn release(&self, lsn: u64) -> KernelResult<u64> {
        let mut state = self.state.lock();
        let lsn = state.pins.oldest().map_or(lsn, |pinned| pinned.min(lsn));
        let mut freed = 0;
        while state.segments.len() > 1 && state.segments[1].start <= lsn {
            let Segment { start, bytes, .. } = state.segments[0];
            let name = segment_name(start);
            let room = state.spares.len() < WAL_SPARE_SEGMENTS_MAX;
            let reuse = room && !self.archive && bytes == self.segment_bytes as u64;
            let spare = name.replace(".wal", ".spare");
            let done = match reuse {
                _ if self.archive => archive(&*self.vfs, start),
                true => self.vfs.rename(&name, &spare),
                false => self.vfs.remove(&name),
            };
            done.map_err(|e| KernelError::io(format!("release log segment {name}"), e))?;
            state.spares.extend(reuse.then_some(spare));
            state.segments.pop_front();
            freed += bytes;
        }
        Ok(freed)
    }

    /// Goes on in a small segment, so that the last checkpoint lets go of the others; returns whether it was
    /// not in one. The caller has the commit lock.
    ///
    /// # Errors
    /// As [`next_segment`](Self::next_segment).
    pub fn shrink(&self) -> KernelResult<bool> {
        self.remove_spares()?;
        let first = (self.segment_bytes / FIRST_PART) as u64;
        let grown = self.state.lock().segments.back().is_some_and(|s| first < s.bytes);
        if grown {
            self.next_segment(0)?;
        }
        Ok(grown)
    }

    /// Removes the spares: nothing comes any more.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn remove_spares(&self) -> KernelResult<()> {
        let spares = std::mem::take(&mut self.state.lock().spares);
        let removed = spares.iter().try_for_each(|spare| remove_if_there(&*self.vfs, spare));
        removed.map_err(|e| KernelError::io("remove spare log segments", e))
    }

    /// Keeps the log from `lsn` on, until the pin is dropped.
    pub fn pin(&self, lsn: u64) -> Arc<Pin> {
        self.state.lock().pins.pin(lsn)
    }

    /// Syncs done, and bytes written, since opening.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.syncs, state.bytes)
    }
}
