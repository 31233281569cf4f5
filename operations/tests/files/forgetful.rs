//! A directory in memory whose power goes at the call you name, and with it all that was not synced.

use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
struct State {
    /// Each file's bytes as they are now, and as they were last synced.
    files: Vec<[Vec<u8>; 2]>,
    /// Each name's file as it is now, and as the folder was last synced.
    names: [BTreeMap<String, usize>; 2],
    calls: u64,
    crash_at: Option<u64>,
    /// How many bytes all files together may have.
    room: Option<usize>,
}

/// The directory. Clones share it.
#[derive(Clone, Default)]
pub struct Forgetful(Arc<Mutex<State>>);

impl Forgetful {
    /// A directory with the files of `vfs`, which loses power at the call `crash_at`, counted from 1 over
    /// those that change something.
    pub fn new(vfs: &MemoryVfs, crash_at: Option<u64>) -> Forgetful {
        let mut state = State { crash_at, ..State::default() };
        for name in vfs.names() {
            let bytes = crate::world::bytes(vfs, &name);
            state.names.iter_mut().for_each(|names| {
                names.insert(name.clone(), state.files.len());
            });
            state.files.push([bytes.clone(), bytes]);
        }
        Forgetful(Arc::new(Mutex::new(state)))
    }

    /// What is there after the crash: everything, or only what was `synced`.
    pub fn left(&self, synced: bool) -> MemoryVfs {
        let (state, vfs, which) = (self.state(), MemoryVfs::new(), usize::from(synced));
        for (name, file) in &state.names[which] {
            let copy = vfs.open(name, OpenMode::Create).unwrap();
            copy.write_at(0, &state.files[*file][which]).unwrap();
        }
        vfs
    }

    /// How many calls changed something, or tried to.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From now on the disk is full when all files together have so many bytes.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        if state.crash_at.is_some_and(|at| at <= state.calls) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(state)
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Vfs for Forgetful {
    fn root(&self) -> String {
        "(forgetful)".to_owned()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let found = self.state().names[0].get(name).copied();
        let file = match (found, mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Create) => {
                let mut state = self.change()?;
                let file = state.files.len();
                state.files.push(Default::default());
                state.names[0].insert(name.to_owned(), file);
                file
            }
            (found, _) => found.ok_or(io::ErrorKind::NotFound)?,
        };
        Ok(Arc::new(File { vfs: self.clone(), file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names[0].keys().filter(|name| folder(name) == dir);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        self.change().map(drop)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?.names[0].remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.names[0].remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names[0].insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let [now, durable] = &mut state.names;
        durable.retain(|name, _| folder(name) != dir);
        let inside = now.iter().filter(|(name, _)| folder(name) == dir);
        durable.extend(inside.map(|(name, file)| (name.clone(), *file)));
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        if self.open(name, OpenMode::Read).is_err() {
            self.open(name, OpenMode::Create)?;
        }
        Ok(Some(Box::new(Unlocked)))
    }
}

struct Unlocked;

impl VfsLock for Unlocked {}

struct File {
    vfs: Forgetful,
    file: usize,
}

impl VfsFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.vfs.state();
        let bytes = &state.files[self.file][0];
        let start = (offset as usize).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut state = self.vfs.change()?;
        if let Some(room) = state.room {
            let grown =
                (offset as usize + new.len()).saturating_sub(state.files[self.file][0].len());
            let used: usize = state.names[0].values().map(|file| state.files[*file][0].len()).sum();
            if 0 < grown && room < used + grown {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let (bytes, start) = (&mut state.files[self.file][0], offset as usize);
        let end = start + new.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.vfs.change()?;
        let [now, durable] = &mut state.files[self.file];
        durable.clone_from(now);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.vfs.state().files[self.file][0].len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.vfs.change()?.files[self.file][0].resize(len as usize, 0);
        Ok(())
    }
}
