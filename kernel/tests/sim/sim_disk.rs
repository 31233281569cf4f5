//! The state of a simulated disk: what readers see, what would survive a power cut, and what lies between.
//!
//! ```text
//!   write_at, set_len ──▶ now, pending ──sync──▶ durable
//!   create, rename, remove, create_dir ──▶ names, pending ──sync_dir──▶ durable names
//!   crash: durable + any chosen part of pending, a write torn at 512-byte sectors
//! ```
//!
//! The model is as harsh as the contract in `vfs/mod.rs` allows, and no harsher:
//! 1. Unsynced operations survive a crash in any combination, never in another order.
//! 2. A torn write leaves each 512-byte sector old or new; the file may have grown without its data.
//! 3. A file whose name was never made durable is gone, however often the file itself was synced;
//!    so is every file in a folder whose own name was never made durable.
//! 4. After a failed sync the unsynced operations are durable or lost, and no later sync brings them
//!    back although reads still show them (what Linux does: the pages are marked clean). When the
//!    process starts again, reads show the truth ([`Disk::restart`]): nothing a program can do without
//!    direct I/O would tell it from a cache that still lies.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a crash never splits.
pub const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// A file's bytes, cheap to copy: pages are shared until one is written, and zero pages take no room.
#[derive(Clone, Default)]
pub struct Content {
    pages: Vec<Option<Arc<[u8; PAGE_BYTES]>>>,
    len: usize,
}

impl Content {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads as many bytes as there are from `offset` on.
    pub fn read(&self, offset: usize, buf: &mut [u8]) -> usize {
        let start = offset.min(self.len);
        let count = buf.len().min(self.len - start);
        let mut done = 0;
        while done < count {
            let (page, at) = ((start + done) / PAGE_BYTES, (start + done) % PAGE_BYTES);
            let part = (PAGE_BYTES - at).min(count - done);
            match &self.pages[page] {
                Some(bytes) => buf[done..done + part].copy_from_slice(&bytes[at..at + part]),
                None => buf[done..done + part].fill(0),
            }
            done += part;
        }
        count
    }

    /// Writes `bytes` at `offset`, growing the file if need be.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if self.len < offset + bytes.len() {
            self.set_len(offset + bytes.len());
        }
        let mut done = 0;
        while done < bytes.len() {
            let (page, at) = ((offset + done) / PAGE_BYTES, (offset + done) % PAGE_BYTES);
            let part = (PAGE_BYTES - at).min(bytes.len() - done);
            let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[at..at + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
    }

    /// Cuts or grows the file.
    pub fn set_len(&mut self, len: usize) {
        self.pages.resize(len.div_ceil(PAGE_BYTES), None);
        let cut_inside_a_page = len < self.len && !len.is_multiple_of(PAGE_BYTES);
        if let (true, Some(Some(last))) = (cut_inside_a_page, self.pages.last_mut()) {
            Arc::make_mut(last)[len % PAGE_BYTES..].fill(0);
        }
        self.len = len;
    }

    /// One byte.
    pub fn byte(&self, offset: usize) -> u8 {
        let mut one = [0];
        assert_eq!(self.read(offset, &mut one), 1, "byte {offset} of {}", self.len);
        one[0]
    }

    /// Turns one bit over.
    pub fn flip(&mut self, bit: usize) {
        let byte = self.byte(bit / 8) ^ (1 << (bit % 8));
        self.write(bit / 8, &[byte]);
    }
}

/// One unsynced change of a file.
#[derive(Clone)]
pub enum FileChange {
    Write { offset: usize, bytes: Arc<[u8]> },
    SetLen(usize),
}

/// One unsynced change of a name.
#[derive(Clone)]
pub enum NameChange {
    Create { name: String, file: usize },
    Remove { name: String },
    Rename { from: String, to: String, file: usize },
    CreateDir { dir: String },
}

/// One file.
#[derive(Clone, Default)]
pub struct Inode {
    pub now: Content,
    pub durable: Content,
    pub pending: Vec<FileChange>,
    /// A sync failed: reads show more than a later sync will make durable.
    pub cache_lies: bool,
}

/// The names of files and folders.
#[derive(Clone, Default)]
pub struct Names {
    pub files: BTreeMap<String, usize>,
    pub dirs: BTreeSet<String>,
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Create { name, file } => drop(self.files.insert(name.clone(), *file)),
            NameChange::Remove { name } => drop(self.files.remove(name)),
            NameChange::Rename { from, to, file } => {
                self.files.remove(from);
                self.files.insert(to.clone(), *file);
            }
            NameChange::CreateDir { dir } => drop(self.dirs.insert(dir.clone())),
        }
    }
}

/// A call that changed the disk, or a mark of the test, in the order they happened.
#[derive(Clone)]
pub enum Call {
    /// Bytes were written to the file of this number.
    Write { file: usize, offset: usize, bytes: Arc<[u8]> },
    /// A file was cut or grown.
    SetLen { file: usize, len: usize },
    /// A file was synced.
    Sync { file: usize },
    /// A file was created; its number is the count of files before.
    Create { name: String },
    /// A file was removed.
    Remove { name: String },
    /// A file got another name.
    Rename { from: String, to: String },
    /// A folder was made.
    CreateDir { dir: String },
    /// A folder was synced.
    SyncDir { dir: String },
    /// The test's own note, such as "transaction 7 was acknowledged".
    Mark(Mark),
}

/// What a test notes in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The commit of this transaction began.
    Started(usize),
    /// The commit of this transaction returned `Ok` and promised durability if `durable`.
    Acked { txn: usize, durable: bool },
}

/// What becomes of one unsynced operation in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never happened.
    Lost,
    /// It is wholly there.
    Kept,
    /// If it is a write: each sector by the toss of a coin from this seed.
    Torn(u64),
}

/// The state of a disk.
#[derive(Clone, Default)]
pub struct Disk {
    pub inodes: Vec<Inode>,
    pub now: Names,
    durable: Names,
    pending: Vec<NameChange>,
}

/// The folder in which `name` is.
pub fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk {
    /// Does what `call` says.
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Write { file, offset, bytes } => {
                let inode = &mut self.inodes[*file];
                inode.now.write(*offset, bytes);
                inode.pending.push(FileChange::Write { offset: *offset, bytes: bytes.clone() });
            }
            Call::SetLen { file, len } => {
                let inode = &mut self.inodes[*file];
                inode.now.set_len(*len);
                inode.pending.push(FileChange::SetLen(*len));
            }
            Call::Sync { file } => {
                let inode = &mut self.inodes[*file];
                for change in std::mem::take(&mut inode.pending) {
                    change_content(&mut inode.durable, &change, Fate::Kept);
                }
            }
            Call::Create { name } => {
                let file = self.inodes.len();
                self.inodes.push(Inode::default());
                self.change_name(NameChange::Create { name: name.clone(), file });
            }
            Call::Remove { name } => self.change_name(NameChange::Remove { name: name.clone() }),
            Call::Rename { from, to } => {
                let file = self.now.files[from];
                let (from, to) = (from.clone(), to.clone());
                self.change_name(NameChange::Rename { from, to, file });
            }
            Call::CreateDir { dir } => self.change_name(NameChange::CreateDir { dir: dir.clone() }),
            Call::SyncDir { dir } => {
                let inside = |change: &NameChange| match change {
                    NameChange::Create { name, .. } | NameChange::Remove { name } => {
                        parent(name) == dir
                    }
                    NameChange::Rename { to, .. } => parent(to) == dir,
                    NameChange::CreateDir { dir: made } => parent(made) == dir,
                };
                for change in self.pending.iter().filter(|change| inside(change)) {
                    self.durable.apply(change);
                }
                self.pending.retain(|change| !inside(change));
            }
            Call::Mark(_) => {}
        }
    }

    fn change_name(&mut self, change: NameChange) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    /// How many operations are not yet durable: the length of what [`crash`](Self::crash) wants.
    pub fn pending_count(&self) -> usize {
        self.inodes.iter().map(|inode| inode.pending.len()).sum::<usize>() + self.pending.len()
    }

    /// The place in that order of the operation that `call`, done last, left pending, if it left one.
    pub fn newest_pending(&self, call: &Call) -> Option<usize> {
        let files = |count: usize| -> usize {
            self.inodes[..count].iter().map(|inode| inode.pending.len()).sum()
        };
        match call {
            Call::Write { file, .. } | Call::SetLen { file, .. } => Some(files(file + 1) - 1),
            Call::Create { .. }
            | Call::Remove { .. }
            | Call::Rename { .. }
            | Call::CreateDir { .. } => Some(self.pending_count() - 1),
            Call::Sync { .. } | Call::SyncDir { .. } | Call::Mark(_) => None,
        }
    }

    /// The disk after a power cut: what was durable, and of the rest what `fates` says, file by file in
    /// the order of creation, names last.
    pub fn crash(&self, fates: &[Fate]) -> Disk {
        let mut fates = fates.iter().copied();
        let mut next = || fates.next().expect("one fate per pending operation");
        let mut inodes = Vec::new();
        for inode in &self.inodes {
            let mut content = inode.durable.clone();
            for change in &inode.pending {
                change_content(&mut content, change, next());
            }
            inodes.push(Inode { now: content.clone(), durable: content, ..Inode::default() });
        }
        let mut names = self.durable.clone();
        for change in &self.pending {
            if next() != Fate::Lost {
                names.apply(change);
            }
        }
        names.files.retain(|name, _| parent(name).is_empty() || names.dirs.contains(parent(name)));
        Disk { inodes, now: names.clone(), durable: names, pending: Vec::new() }
    }

    /// The disk after the process died and the machine did not: everything is there, except what a
    /// failed sync lost.
    pub fn restart(&self) -> Disk {
        let mut disk = self.clone();
        for inode in disk.inodes.iter_mut().filter(|inode| inode.cache_lies) {
            inode.now = inode.durable.clone();
            for change in &inode.pending {
                change_content(&mut inode.now, change, Fate::Kept);
            }
            inode.cache_lies = false;
        }
        disk
    }

    /// The disk after a power cut with fates drawn from `rng`: a few patterns that find most bugs.
    pub fn crash_randomly(&self, rng: &mut Rng) -> Disk {
        self.crash(&random_fates(self.pending_count(), rng))
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.now.files.keys().cloned().collect()
    }

    /// What the file of this number is called, in words.
    pub fn name_of(&self, file: usize) -> String {
        let found = self.now.files.iter().find(|(_, number)| **number == file);
        found.map_or_else(|| format!("removed file {file}"), |(name, _)| name.clone())
    }

    /// A file's bytes as readers see them.
    pub fn content(&self, name: &str) -> &Content {
        &self.inodes[self.now.files[name]].now
    }

    /// Changes a file's bytes behind everybody's back, durably.
    pub fn rot(&mut self, name: &str, change: impl Fn(&mut Content)) {
        let inode = &mut self.inodes[self.now.files[name]];
        change(&mut inode.now);
        change(&mut inode.durable);
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> usize {
        self.now.files.values().map(|&file| self.inodes[file].now.len()).sum()
    }
}

/// Fates for `count` operations: all lost, all kept, a prefix, all but one, only one, or coins.
pub fn random_fates(count: usize, rng: &mut Rng) -> Vec<Fate> {
    let coin = |rng: &mut Rng| match rng.u8(0..4) {
        0 => Fate::Torn(rng.u64(..)),
        1 => Fate::Kept,
        _ => Fate::Lost,
    };
    let one = rng.usize(0..count.max(1));
    match rng.u8(0..8) {
        0 => vec![Fate::Lost; count],
        1 => vec![Fate::Kept; count],
        2 => (0..count).map(|i| if i < one { Fate::Kept } else { Fate::Lost }).collect(),
        3 => (0..count).map(|i| if i == one { Fate::Lost } else { Fate::Kept }).collect(),
        4 => (0..count).map(|i| if i == one { Fate::Kept } else { Fate::Lost }).collect(),
        5 => {
            let seed = rng.u64(..);
            (0..count).map(|i| if i == one { Fate::Torn(seed) } else { Fate::Kept }).collect()
        }
        _ => (0..count).map(|_| coin(rng)).collect(),
    }
}

/// Does one change, or the part of it that `fate` leaves.
pub fn change_content(content: &mut Content, change: &FileChange, fate: Fate) {
    match (change, fate) {
        (_, Fate::Lost) => {}
        (FileChange::SetLen(len), _) => content.set_len(*len),
        (FileChange::Write { offset, bytes }, Fate::Kept) => content.write(*offset, bytes),
        (FileChange::Write { offset, bytes }, Fate::Torn(seed)) => {
            let mut rng = Rng::with_seed(seed);
            if rng.bool() && content.len() < offset + bytes.len() {
                content.set_len(offset + bytes.len());
            }
            let mut start = *offset;
            while start < offset + bytes.len() {
                let end = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(offset + bytes.len());
                if rng.bool() {
                    content.write(start, &bytes[start - offset..end - offset]);
                }
                start = end;
            }
        }
    }
}
