//! The chunks of a repository, by their hashes: which there are, where they lie, and more of them.
//!
//! In memory is one place of some 50 bytes for each chunk; the chunks themselves are read when they are asked
//! for, and believed when their hash holds. A pack whose index is broken is told of and left out: what it held
//! counts as not there, so the next backup saves again what it still needs of it.

use super::pack::{
    CHUNK_BYTES_MAX, PackWriter, PackedChunk, first_chunk_at, numbers, pack_name, read_index,
    squeeze, unsqueeze,
};
use super::{Hash, io_in};
use parking_lot::Mutex;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{KernelError, KernelResult};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Packs kept open for reading.
const FILES_MAX: usize = 64;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: u32,
    at: u32,
    raw: u32,
    stored: u32,
}

/// The chunks that are there.
pub(super) struct Chunks {
    vfs: Arc<dyn Vfs>,
    places: HashMap<Hash, Place>,
    /// Each whole pack with its length.
    pub packs: BTreeMap<u32, u64>,
    /// What is wrong with the others.
    pub broken: Vec<KernelError>,
    /// The number of the next pack.
    next: u32,
    files: Mutex<HashMap<u32, Arc<dyn VfsFile>>>,
}

impl Chunks {
    /// Reads the index of every pack.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, or a newer program made a pack.
    pub fn open(vfs: Arc<dyn Vfs>) -> KernelResult<Chunks> {
        let (mut places, mut packs) = (HashMap::new(), BTreeMap::new());
        let (mut broken, mut next) = (Vec::new(), 1);
        for pack in numbers(&*vfs)? {
            next = pack + 1;
            let index = match read_index(&*vfs, pack) {
                Ok((index, bytes)) => {
                    packs.insert(pack, bytes);
                    index
                }
                Err(error @ KernelError::Corrupt { .. }) => {
                    broken.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut at = first_chunk_at();
            for PackedChunk { hash, raw, stored } in index {
                // Of two, the newer one: the older may be what a backup was made to replace.
                places.insert(hash, Place { pack, at, raw, stored });
                at += stored;
            }
        }
        Ok(Chunks { vfs, places, packs, broken, next, files: Mutex::default() })
    }

    /// The bytes of the chunk.
    ///
    /// # Errors
    /// `Corrupt` when there is no such chunk, or it is not what was written; `Unavailable`.
    pub fn read(&self, hash: &Hash) -> KernelResult<Vec<u8>> {
        let place = self.place(hash)?;
        let Place { pack, at, raw, stored } = place;
        let bytes = self.stored(place)?;
        unsqueeze(bytes, &PackedChunk { hash: *hash, raw, stored }).map_err(|found| {
            let expected = format!("the chunk {}", hex(hash));
            KernelError::corrupt(&pack_name(pack), u64::from(at), expected, found)
        })
    }

    fn place(&self, hash: &Hash) -> KernelResult<Place> {
        let missing = || {
            let expected = format!("the chunk {}", hex(hash));
            KernelError::corrupt(super::PACKS_DIR, 0, expected, "no whole pack that has it")
        };
        self.places.get(hash).copied().ok_or_else(missing)
    }

    fn stored(&self, Place { pack, at, stored, .. }: Place) -> KernelResult<Vec<u8>> {
        let io = |error| KernelError::io(format!("read {}", pack_name(pack)), error);
        let file = self.file(pack).map_err(io)?;
        let mut bytes = vec![0; stored as usize];
        file.read_exact_at(u64::from(at), &mut bytes).map_err(io)?;
        Ok(bytes)
    }

    fn file(&self, pack: u32) -> std::io::Result<Arc<dyn VfsFile>> {
        let mut files = self.files.lock();
        if let Some(file) = files.get(&pack) {
            return Ok(file.clone());
        }
        if FILES_MAX <= files.len() {
            files.clear();
        }
        let file = self.vfs.open(&pack_name(pack), OpenMode::Read)?;
        files.insert(pack, file.clone());
        Ok(file)
    }

    /// How many bytes of each pack are chunks that `is_live`.
    pub fn live_bytes(&self, is_live: impl Fn(&Hash) -> bool) -> BTreeMap<u32, u64> {
        let mut live: BTreeMap<u32, u64> = self.packs.keys().map(|pack| (*pack, 0)).collect();
        for (_, place) in self.places.iter().filter(|(hash, _)| is_live(hash)) {
            *live.entry(place.pack).or_default() += u64::from(place.stored);
        }
        live
    }

    /// The chunks of `pack` that `is_live`, in the order in which they lie there.
    pub fn in_pack(&self, pack: u32, is_live: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let here = self.places.iter().filter(|(hash, place)| place.pack == pack && is_live(hash));
        let mut here: Vec<_> = here.map(|(hash, place)| (place.at, *hash)).collect();
        here.sort_unstable();
        here.into_iter().map(|(_, hash)| hash).collect()
    }
}

/// Adds chunks. Nothing that it adds is there for others before [`finish`](Self::finish) has returned.
pub(super) struct Saver {
    pub chunks: Chunks,
    pack: Option<PackWriter>,
    /// Chunks that were not there before.
    pub added: u64,
    /// Bytes of packs that were not there before.
    pub added_bytes: u64,
}

impl Saver {
    /// Adds to `chunks`.
    pub fn new(chunks: Chunks) -> Saver {
        Saver { chunks, pack: None, added: 0, added_bytes: 0 }
    }

    /// Sees to it that `raw` is there.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn add(&mut self, raw: &[u8]) -> KernelResult<Hash> {
        assert!((1..=CHUNK_BYTES_MAX).contains(&raw.len()), "a chunk of {} bytes", raw.len());
        let hash = *blake3::hash(raw).as_bytes();
        if !self.chunks.places.contains_key(&hash) {
            self.put(hash, raw)?;
            self.added += 1;
        }
        Ok(hash)
    }

    /// Adds every piece of `bytes`, which may be longer than a chunk.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_all(&mut self, bytes: &[u8]) -> KernelResult<Vec<Hash>> {
        bytes.chunks(CHUNK_BYTES_MAX).map(|piece| self.add(piece)).collect()
    }

    /// Writes a chunk once more, whether it is there or not.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written, `Unavailable`.
    pub fn again(&mut self, hash: &Hash) -> KernelResult<()> {
        let raw = self.chunks.read(hash)?;
        self.put(*hash, &raw)
    }

    fn put(&mut self, hash: Hash, raw: &[u8]) -> KernelResult<()> {
        let stored = squeeze(raw);
        let entry = PackedChunk { hash, raw: raw.len() as u32, stored: stored.len() as u32 };
        if self.pack.is_none() {
            let vfs = &*self.chunks.vfs;
            vfs.create_dir(super::PACKS_DIR).map_err(io_in(vfs, "make a folder in"))?;
            self.pack = Some(PackWriter::begin(vfs, self.chunks.next)?);
            self.chunks.next += 1;
        }
        let pack = self.pack.as_mut().expect("begun above");
        let at = pack.add(entry, &stored)?;
        let place = Place { pack: pack.number, at, raw: entry.raw, stored: entry.stored };
        self.chunks.places.insert(hash, place);
        if pack.is_full() { self.finish() } else { Ok(()) }
    }

    /// Returns once everything that was added is on disk.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn finish(&mut self) -> KernelResult<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let number = pack.number;
        let bytes = pack.finish(&*self.chunks.vfs)?;
        self.chunks.packs.insert(number, bytes);
        self.added_bytes += bytes;
        Ok(())
    }
}

/// The beginning of a hash, for messages.
fn hex(hash: &Hash) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
