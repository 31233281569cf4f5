//! A disk served through FUSE as one file, for a loop device to sit on.
//!
//! ```text
//!   database ─▶ ext4 ─▶ loop device ─▶ FUSE file ─▶ BlockDevice
//!                         a flush of the device arrives as fsync of the file
//! ```
//!
//! Behind it is the simulator's [`Disk`]: writes are pending until a flush, and a power cut keeps any part
//! of them, torn at 512 bytes. At the chosen event, a write or a flush, the power goes: the event is
//! refused, and all later ones. Two blocks are never torn, because ext4 takes that for granted and does not
//! mount again otherwise: its superblock and its journal's, which are larger than a sector.

use crate::sim_disk::{Call, Disk, Fate, FileChange, random_fates};
use fastrand::Rng;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";
const BLOCK_BYTES: usize = 4096;
/// How the superblock of ext4's journal begins: magic number and block type, big-endian.
const JOURNAL_SUPERBLOCK: [u8; 8] = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
/// Nothing changes behind the operating system's back.
const TTL: Duration = Duration::from_secs(3600);

struct State {
    disk: Disk,
    /// Where blocks begin that are never torn.
    whole: Vec<usize>,
    writes: u64,
    flushes: u64,
    /// The event, counted from 1, at which the power goes.
    cut_at: Option<u64>,
    is_cut: bool,
    /// Flushes do nothing, and say that all is well.
    ignores_flushes: bool,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct BlockDevice {
    state: Arc<Mutex<State>>,
}

impl BlockDevice {
    /// A disk that holds the bytes of `image`, all of them durable.
    pub fn new(image: &[u8]) -> BlockDevice {
        let mut disk = Disk::default();
        disk.apply(&Call::Create { name: FILE_NAME.to_owned() });
        disk.apply(&Call::SyncDir { dir: String::new() });
        disk.apply(&Call::SetLen { file: 0, len: image.len() });
        let mut whole = vec![0];
        for (index, block) in image.chunks(BLOCK_BYTES).enumerate() {
            let offset = index * BLOCK_BYTES;
            if block.iter().any(|byte| *byte != 0) {
                disk.apply(&Call::Write { file: 0, offset, bytes: block.into() });
            }
            if block.starts_with(&JOURNAL_SUPERBLOCK) {
                whole.push(offset);
            }
        }
        disk.apply(&Call::Sync { file: 0 });
        BlockDevice::from_disk(disk, whole)
    }

    fn from_disk(disk: Disk, whole: Vec<usize>) -> BlockDevice {
        let (cut_at, is_cut, ignores_flushes) = (None, false, false);
        let state = State { disk, whole, writes: 0, flushes: 0, cut_at, is_cut, ignores_flushes };
        BlockDevice { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the disk never panics while it is locked")
    }

    /// The power goes `events` writes and flushes from now.
    pub fn cut_in(&self, events: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.writes + state.flushes + events);
    }

    /// From now on the disk lies.
    pub fn ignore_flushes(&self) {
        self.state().ignores_flushes = true;
    }

    /// Whether the power is gone.
    pub fn is_cut(&self) -> bool {
        self.state().is_cut
    }

    /// How many writes and flushes there were.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.flushes)
    }

    /// How many writes are not yet flushed.
    pub fn pending(&self) -> usize {
        self.state().disk.pending_count()
    }

    /// The disk as the power comes back: what was flushed, and of the rest any part.
    pub fn after_cut(&self, rng: &mut Rng) -> BlockDevice {
        let state = self.state();
        let mut fates = random_fates(state.disk.pending_count(), rng);
        for (fate, change) in fates.iter_mut().zip(&state.disk.inodes[0].pending) {
            let FileChange::Write { offset, bytes } = change else { continue };
            let touches =
                |block: &usize| *offset < block + BLOCK_BYTES && *block < offset + bytes.len();
            if matches!(fate, Fate::Torn(_)) && state.whole.iter().any(touches) {
                *fate = Fate::Kept;
            }
        }
        BlockDevice::from_disk(state.disk.crash(&fates), state.whole.clone())
    }

    /// Serves the disk as a file in the empty folder `dir`.
    pub fn serve(&self, dir: &Path) -> Result<Served, String> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("sochdb-power-cut".to_owned())];
        let session = fuser::spawn_mount(self.clone(), dir, &config);
        let session =
            session.map_err(|error| format!("mount FUSE on {}: {error}", dir.display()))?;
        Ok(Served { session: Some(session), file: dir.join(FILE_NAME) })
    }

    fn attributes(&self) -> FileAttr {
        let len = self.state().disk.inodes[0].now.len() as u64;
        FileAttr {
            ino: FILE,
            size: len,
            blocks: len / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl State {
    /// Counts one event; refuses it when the power is gone or goes right now.
    fn event(&mut self) -> Result<(), Errno> {
        self.is_cut |= self.cut_at.is_some_and(|at| at <= self.writes + self.flushes);
        if self.is_cut { Err(Errno::EIO) } else { Ok(()) }
    }
}

impl Filesystem for BlockDevice {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == FILE_NAME {
            true => reply.entry(&TTL, &self.attributes(), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let file = self.attributes();
        match ino == FILE {
            true => reply.attr(&TTL, &file),
            false => {
                let dir = FileAttr { ino, size: 0, kind: FileType::Directory, perm: 0o700, ..file };
                reply.attr(&TTL, &dir);
            }
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Without the page cache in between a write is here when the loop device says that it is done.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        let got = self.state().disk.inodes[0].now.read(offset as usize, &mut bytes);
        reply.data(&bytes[..got]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        state.writes += 1;
        let was_cut = state.is_cut;
        let result = state.event();
        if !was_cut {
            // Even the write in which the power goes may be there, or a part of it.
            let bytes = data.into();
            state.disk.apply(&Call::Write { file: 0, offset: offset as usize, bytes });
        }
        match result {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.state();
        state.flushes += 1;
        match state.event() {
            Ok(()) => {
                if !state.ignores_flushes {
                    state.disk.apply(&Call::Sync { file: 0 });
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // What `close` sends; no promise hangs on it.
        reply.ok();
    }
}

/// The disk as a file, until this is dropped.
pub struct Served {
    session: Option<BackgroundSession>,
    pub file: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.session.take().map(BackgroundSession::umount_and_join) {
            eprintln!("unmount {}: {error}", self.file.display());
        }
    }
}
