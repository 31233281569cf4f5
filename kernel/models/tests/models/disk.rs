//! A disk in memory: every call lets the scheduler switch, a cut loses what was not synced.
//!
//! Each file has the bytes that processes see, those that are on disk, and the writes between the two.
//! A cut is planned at the nth call and takes a copy of the disk as it would be found afterwards,
//! together with the promises made until then; the run itself goes on. A sync can be made to fail: its
//! writes never reach the disk, though processes still see them, and later syncs succeed.

use shuttle::sync::atomic::AtomicU64;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// The files of a disk, as a process finds them.
pub type Image = BTreeMap<String, Vec<u8>>;

/// What becomes of the writes that were not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All are lost.
    Lost,
    /// All are on disk.
    Kept,
    /// Each name and each sector by chance, from this seed.
    Mixed(u64),
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Where each unsynced write began, and its bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    locked: bool,
    calls: u64,
    cut_at: Option<(u64, Fate)>,
    cut: Option<(Image, Vec<Vec<u8>>)>,
    promises: Vec<Vec<u8>>,
    syncs: u64,
    fail_sync: Option<u64>,
    has_failed: bool,
}

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    /// Counted up by every call, on an atomic of the scheduler: there it may switch.
    turn: Arc<AtomicU64>,
}

/// A pseudo-random number from a seed and a place.
fn mix(seed: u64, place: u64) -> u64 {
    let mut z = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

impl State {
    fn image(&self, fate: Fate) -> Image {
        let names = match fate {
            Fate::Lost => &self.synced_names,
            Fate::Mixed(seed) if mix(seed, 1) & 1 == 0 => &self.synced_names,
            _ => &self.names,
        };
        names.iter().map(|(name, &file)| (name.clone(), self.files[file].after(fate))).collect()
    }
}

impl Content {
    fn after(&self, fate: Fate) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (number, (at, new)) in self.unsynced.iter().enumerate() {
            let mut start = 0;
            while start < new.len() {
                let sector = (at + start) / SECTOR_BYTES;
                let end = new.len().min((sector + 1) * SECTOR_BYTES - at);
                let kept = match fate {
                    Fate::Lost => false,
                    Fate::Kept => true,
                    Fate::Mixed(seed) => mix(seed, (number as u64) << 32 | sector as u64) & 1 == 1,
                };
                if kept {
                    put(&mut bytes, at + start, &new[start..end]);
                }
                start = end;
            }
        }
        bytes
    }
}

impl Disk {
    /// A disk that holds `image`, all of it synced.
    pub fn of(image: &Image) -> Disk {
        let disk = Disk::default();
        let mut state = disk.state();
        for (number, (name, bytes)) in image.iter().enumerate() {
            let (now, synced) = (bytes.clone(), bytes.clone());
            state.files.push(Content { now, synced, unsynced: Vec::new() });
            state.names.insert(name.clone(), number);
        }
        state.synced_names = state.names.clone();
        drop(state);
        disk
    }

    /// The power goes at the `call`th call from now on.
    pub fn cut_at(&self, call: u64, fate: Fate) {
        let mut state = self.state();
        state.cut_at = Some((state.calls + call, fate));
    }

    /// The `nth` sync of a file from now on fails.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.state();
        state.fail_sync = Some(state.syncs + nth);
    }

    /// Whether a sync has failed.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// From now on `key` must survive.
    pub fn promise(&self, key: &[u8]) {
        self.state().promises.push(key.to_vec());
    }

    /// The power goes now, unless it went before.
    pub fn cut_now(&self, fate: Fate) {
        let mut state = self.state();
        if state.cut.is_none() {
            state.cut = Some((state.image(fate), state.promises.clone()));
        }
    }

    /// What a power cut leaves, and the promises made before it: at the planned call, or else now.
    pub fn take_cut(&self, fate: Fate) -> (Image, Vec<Vec<u8>>) {
        let mut state = self.state();
        state.cut.take().unwrap_or_else(|| (state.image(fate), state.promises.clone()))
    }

    /// What another process would find now.
    pub fn image(&self) -> Image {
        self.state().image(Fate::Kept)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn enter(&self) -> MutexGuard<'_, State> {
        self.turn.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state();
        state.calls += 1;
        if let Some((at, fate)) = state.cut_at
            && at == state.calls
            && state.cut.is_none()
        {
            state.cut = Some((state.image(fate), state.promises.clone()));
        }
        state
    }
}

impl Vfs for Disk {
    fn root(&self) -> String {
        "(model)".to_owned()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.enter();
        let file = match (state.names.get(name).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, OpenMode::Create) => {
                let file = state.files.len();
                state.files.push(Content::default());
                state.names.insert(name.to_owned(), file);
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(OpenFile { disk: self.clone(), file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.enter();
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside = state.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.enter().names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.enter();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        let mut state = self.enter();
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        let mut state = self.enter();
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(self.clone()))))
    }
}

struct Held(Disk);

impl VfsLock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct OpenFile {
    disk: Disk,
    file: usize,
}

impl VfsFile for OpenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.enter();
        let bytes = &state.files[self.file].now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut state = self.disk.enter();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let file = &mut state.files[self.file];
        put(&mut file.now, at, new);
        file.unsynced.push((at, new.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.enter();
        state.syncs += 1;
        let fails = state.fail_sync == Some(state.syncs);
        state.has_failed |= fails;
        let file = &mut state.files[self.file];
        let unsynced = std::mem::take(&mut file.unsynced);
        if fails {
            return Err(io::Error::other("the device is gone for a moment"));
        }
        unsynced.iter().for_each(|(at, new)| put(&mut file.synced, *at, new));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.enter().files[self.file].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.enter();
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        let file = &mut state.files[self.file];
        file.now.resize(len, 0);
        file.synced.resize(len, 0);
        Ok(())
    }
}
