//! A disk in memory that forgets, tears, fails, fills up and lies, exactly as often as it is told.
//!
//! [`SimVfs`] puts a [`Disk`] behind the kernel's `Vfs`, numbers its calls, records those that change
//! something and injects [`Fault`]s and [`Lie`]s. Everything that looks random comes from one seed.

use crate::sim_disk::{Call, Disk, Fate, Mark, SECTOR_BYTES, change_content, parent};
use fastrand::Rng;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// The error of a broken device, by its number on Linux and macOS.
pub const EIO: i32 = 5;
/// The error of a full device, by its number on Linux and macOS.
pub const ENOSPC: i32 = 28;

/// The classes of calls a fault can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// `read_at`, `len`, `list`, `open` of a file that exists.
    Read,
    /// `write_at`, `set_len`.
    Write,
    /// `sync`, `sync_dir`.
    Sync,
    /// `create`, `rename`, `remove`, `create_dir`, `lock`.
    Name,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// One call fails.
    Once,
    /// From that call on every call of its class fails.
    Class,
    /// From that call on every call fails.
    All,
}

/// A failure to inject.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which call fails, counted from 1 over all calls (or, with `allocating`, over allocating calls).
    pub at: u64,
    /// Counts and fails only calls that need room on the disk: creating, growing.
    pub allocating: bool,
    /// How long it lasts.
    pub lasts: Lasts,
    /// The operating system's number for it.
    pub errno: i32,
}

/// How a disk lies about one write: it says `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The bytes go nowhere.
    Lost,
    /// The bytes go to this many bytes behind the place they were meant for.
    Misdirected(usize),
}

struct State {
    disk: Disk,
    calls: u64,
    allocations: u64,
    writes: u64,
    trace: Option<Vec<Call>>,
    fault: Option<Fault>,
    fired: Option<(Class, String)>,
    lie: Option<(u64, Lie)>,
    lied: Option<String>,
    error_rate_ppm: u32,
    crash_at: Option<u64>,
    rng: Rng,
    locks: BTreeSet<String>,
}

/// A [`Disk`] behind the kernel's `Vfs`. Clones share the disk.
#[derive(Clone)]
pub struct SimVfs {
    state: Arc<Mutex<State>>,
}

impl SimVfs {
    /// The disk as it is, with no fault planned; `seed` decides what a failed write leaves behind.
    pub fn new(disk: Disk, seed: u64) -> SimVfs {
        let state = State {
            disk,
            calls: 0,
            allocations: 0,
            writes: 0,
            trace: None,
            fault: None,
            fired: None,
            lie: None,
            lied: None,
            error_rate_ppm: 0,
            crash_at: None,
            rng: Rng::with_seed(seed),
            locks: BTreeSet::new(),
        };
        SimVfs { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the simulated disk never panics while it is locked")
    }

    /// From now on calls are recorded.
    pub fn record(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// What was recorded, and no more recording.
    pub fn take_trace(&self) -> Vec<Call> {
        self.state().trace.take().expect("record was called")
    }

    /// Puts a mark into the trace.
    pub fn mark(&self, mark: Mark) {
        if let Some(trace) = &mut self.state().trace {
            trace.push(Call::Mark(mark));
        }
    }

    /// Plans or clears the fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// What the planned fault hit first: the class of the call and the call in words.
    pub fn fired(&self) -> Option<(Class, String)> {
        self.state().fired.clone()
    }

    /// Lies at the `nth` write, counted from 1.
    pub fn set_lie(&self, nth: u64, lie: Lie) {
        self.state().lie = Some((nth, lie));
    }

    /// The write that was lied about, in words.
    pub fn lied(&self) -> Option<String> {
        self.state().lied.clone()
    }

    /// From now on calls fail with EIO this often in a million.
    pub fn set_error_rate_ppm(&self, rate: u32) {
        self.state().error_rate_ppm = rate;
    }

    /// The power goes at this call, counted from 1: it and all later ones fail.
    pub fn set_crash_at(&self, call: Option<u64>) {
        self.state().crash_at = call;
    }

    /// Whether the power is gone.
    pub fn is_crashed(&self) -> bool {
        let state = self.state();
        state.crash_at.is_some_and(|at| at <= state.calls)
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many calls there were that needed room on the disk.
    pub fn allocations(&self) -> u64 {
        self.state().allocations
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// The process that used the disk is gone and another one comes; see [`Disk::restart`].
    pub fn restart(&self) {
        let mut state = self.state();
        state.disk = state.disk.restart();
    }

    /// The disk as it is now.
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }
}

impl State {
    /// Counts one call and says whether it fails.
    fn enter(
        &mut self,
        class: Class,
        allocating: bool,
        what: impl Fn(&Disk) -> String,
    ) -> io::Result<()> {
        self.calls += 1;
        self.allocations += u64::from(allocating);
        if self.crash_at.is_some_and(|at| at <= self.calls) {
            return Err(io::Error::other("the power is gone"));
        }
        if self.error_rate_ppm > 0 && self.rng.u32(0..1_000_000) < self.error_rate_ppm {
            let disk = &self.disk;
            self.fired.get_or_insert_with(|| (class, what(disk)));
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let Some(fault) = self.fault else { return Ok(()) };
        let count = if fault.allocating { self.allocations } else { self.calls };
        let counts = !fault.allocating || allocating;
        let hit = counts
            && match (fault.lasts, &self.fired) {
                (_, None) => count >= fault.at,
                (Lasts::Once, Some(_)) => false,
                (Lasts::Class, Some((first, _))) => *first == class,
                (Lasts::All, Some(_)) => true,
            };
        if !hit {
            return Ok(());
        }
        let disk = &self.disk;
        self.fired.get_or_insert_with(|| (class, what(disk)));
        Err(io::Error::from_raw_os_error(fault.errno))
    }

    fn change(&mut self, call: Call) {
        self.disk.apply(&call);
        if let Some(trace) = &mut self.trace {
            trace.push(call);
        }
    }
}

impl Vfs for SimVfs {
    fn root(&self) -> String {
        "(simulated)".to_owned()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.state();
        let creating = mode == OpenMode::Create;
        let class = if creating { Class::Name } else { Class::Read };
        state.enter(class, creating, |_| format!("open {name} {mode:?}"))?;
        let file = match (state.disk.now.files.get(name).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), _) => file,
            (None, OpenMode::Create) => {
                if !parent(name).is_empty() && !state.disk.now.dirs.contains(parent(name)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.change(Call::Create { name: name.to_owned() });
                state.disk.inodes.len() - 1
            }
        };
        Ok(Arc::new(SimFile { vfs: self.clone(), file, writable: mode != OpenMode::Read }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.enter(Class::Read, false, |_| format!("list {dir}"))?;
        let inside = state.disk.now.files.keys().filter(|name| parent(name) == dir);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        let exists = dir.is_empty() || state.disk.now.dirs.contains(dir);
        state.enter(Class::Name, !exists, |_| format!("create_dir {dir}"))?;
        if !exists {
            state.change(Call::CreateDir { dir: dir.to_owned() });
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.enter(Class::Name, false, |_| format!("remove {name}"))?;
        if !state.disk.now.files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Call::Remove { name: name.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.enter(Class::Name, false, |_| format!("rename {from} to {to}"))?;
        if !state.disk.now.files.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Call::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        state.enter(Class::Sync, false, |_| format!("sync_dir {dir}"))?;
        state.change(Call::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        let mut state = self.state();
        state.enter(Class::Name, false, |_| format!("lock {name}"))?;
        if !state.locks.insert(name.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { vfs: self.clone(), name: name.to_owned() })))
    }
}

struct SimLock {
    vfs: SimVfs,
    name: String,
}

impl VfsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.vfs.state().locks.remove(&self.name);
    }
}

struct SimFile {
    vfs: SimVfs,
    file: usize,
    writable: bool,
}

impl SimFile {
    fn refuse_if_read_only(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl VfsFile for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.vfs.state();
        let file = self.file;
        let what = |disk: &Disk| format!("read {} at {offset}", disk.name_of(file));
        state.enter(Class::Read, false, what)?;
        Ok(state.disk.inodes[self.file].now.read(position(offset)?, buf))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.refuse_if_read_only()?;
        let mut state = self.vfs.state();
        let (file, offset) = (self.file, position(offset)?);
        let growing = state.disk.inodes[file].now.len() < offset + bytes.len();
        let what = |disk: &Disk| {
            format!("write {} bytes to {} at {offset}", bytes.len(), disk.name_of(file))
        };
        state.writes += 1;
        if let Err(error) = state.enter(Class::Write, growing, what) {
            let dead = state.crash_at.is_some_and(|at| at < state.calls);
            if !dead {
                let seed = state.rng.u64(..);
                leave_part_of_a_write(&mut state, file, offset, bytes, seed);
            }
            return Err(error);
        }
        match state.lie {
            Some((nth, lie)) if nth == state.writes => {
                state.lied = Some(what(&state.disk));
                if let Lie::Misdirected(by) = lie {
                    let bytes = bytes.into();
                    state.change(Call::Write { file, offset: offset + by, bytes });
                }
            }
            _ => state.change(Call::Write { file, offset, bytes: bytes.into() }),
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.vfs.state();
        let file = self.file;
        let what = |disk: &Disk| format!("sync {}", disk.name_of(file));
        if let Err(error) = state.enter(Class::Sync, false, what) {
            if state.crash_at.is_none_or(|at| state.calls < at) {
                let pending = std::mem::take(&mut state.disk.inodes[self.file].pending);
                state.disk.inodes[self.file].cache_lies = true;
                for change in pending {
                    let fate = if state.rng.bool() { Fate::Kept } else { Fate::Lost };
                    change_content(&mut state.disk.inodes[self.file].durable, &change, fate);
                }
            }
            return Err(error);
        }
        state.change(Call::Sync { file: self.file });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.vfs.state();
        let file = self.file;
        state.enter(Class::Read, false, |disk| format!("len of {}", disk.name_of(file)))?;
        Ok(state.disk.inodes[self.file].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.refuse_if_read_only()?;
        let mut state = self.vfs.state();
        let file = self.file;
        let len = position(len)?;
        let growing = state.disk.inodes[self.file].now.len() < len;
        let what = |disk: &Disk| format!("set_len of {} to {len}", disk.name_of(file));
        state.enter(Class::Write, growing, what)?;
        state.change(Call::SetLen { file: self.file, len });
        Ok(())
    }
}

/// A failed write may have written any of its sectors; when it had to grow the file, only a first part.
fn leave_part_of_a_write(state: &mut State, file: usize, offset: usize, bytes: &[u8], seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let growing = state.disk.inodes[file].now.len() < offset + bytes.len();
    let cut = rng.usize(0..=bytes.len());
    let mut start = offset;
    while start < offset + bytes.len() {
        let end = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(offset + bytes.len());
        let kept = if growing { end - offset <= cut } else { rng.bool() };
        if kept {
            let bytes = bytes[start - offset..end - offset].into();
            state.change(Call::Write { file, offset: start, bytes });
        }
        start = end;
    }
}

#[test]
fn a_crash_keeps_what_was_synced_and_the_chosen_part_of_the_rest() {
    let vfs = SimVfs::new(Disk::default(), 1);
    vfs.create_dir("d").unwrap();
    let file = vfs.open("d/f", OpenMode::Create).unwrap();
    file.write_at(0, &[1; 1024]).unwrap();
    file.sync().unwrap();
    assert_eq!(vfs.disk().pending_count(), 2, "two names");
    assert_eq!(vfs.disk().crash(&[Fate::Kept, Fate::Lost]).names(), Vec::<String>::new());
    assert_eq!(vfs.disk().crash(&[Fate::Lost, Fate::Kept]).names(), Vec::<String>::new());
    vfs.sync_dir("d").unwrap();
    vfs.sync_dir("").unwrap();
    file.write_at(512, &[2; 1024]).unwrap();
    file.set_len(100).unwrap();
    file.set_len(200).unwrap();
    let disk = vfs.disk();
    let len = |fates: &[Fate]| disk.crash(fates).content("d/f").len();
    assert_eq!(len(&[Fate::Lost; 3]), 1024);
    assert_eq!(len(&[Fate::Kept, Fate::Lost, Fate::Lost]), 1536);
    assert_eq!(len(&[Fate::Lost, Fate::Kept, Fate::Lost]), 100);
    let both = disk.crash(&[Fate::Kept; 3]);
    assert_eq!((both.content("d/f").byte(99), both.content("d/f").byte(100)), (1, 0));
}

#[test]
fn a_failed_sync_is_never_made_good_by_a_later_one() {
    for seed in 0..20 {
        let vfs = SimVfs::new(Disk::default(), seed);
        let file = vfs.open("f", OpenMode::Create).unwrap();
        vfs.sync_dir("").unwrap();
        file.write_at(0, b"x").unwrap();
        vfs.set_fault(Some(Fault { at: 0, allocating: false, lasts: Lasts::Once, errno: EIO }));
        assert!(file.sync().is_err());
        let survived = vfs.disk().crash(&[]).content("f").len();
        assert!(file.sync().is_ok());
        assert_eq!(vfs.disk().crash(&[]).content("f").len(), survived);
        let mut seen = [0];
        assert_eq!(file.read_at(0, &mut seen).unwrap(), 1, "readers still see it");
    }
}
