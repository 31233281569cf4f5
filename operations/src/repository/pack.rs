//! One pack: a file of chunks, as bytes.
//!
//! | offset | size | type  | field     | meaning                                                             |
//! |-------:|-----:|-------|-----------|---------------------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`   | `SOCHPACK`                                                          |
//! |      8 |    4 | u32   | `version` | 1                                                                   |
//! |     12 |    4 | u32   | `zero`    | 0                                                                   |
//! |     16 |    n | bytes | chunks    | the chunks as they are stored, one behind the other                 |
//! |   16+n | 40 c | table | `index`   | of each of the c chunks, in their order: BLAKE3 of its raw bytes, raw length u32, stored length u32 |
//! |        |    8 | u64   | `count`   | c, at least 1                                                       |
//! |        |   32 | bytes | `hash`    | BLAKE3 of the 16 bytes of the head, the index and the count         |
//!
//! Integers are little-endian. A chunk that is stored in as many bytes as it has is stored as it is; one stored
//! in fewer is one LZ4 block.
//!
//! Invariants:
//! 1. A chunk has 1 to `CHUNK_BYTES_MAX` raw bytes and is stored in at least 1 and at most as many.
//! 2. The stored lengths add up to the index. A file that is cut off or goes on is no pack.
//! 3. The index is the last thing written and synced before the file gets its name: a named pack is whole.

use super::{Hash, io_in};
use sochdb_encoding::codec::{Reader, Wire};
use sochdb_encoding::wire_structs;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;

/// The folder of the packs.
pub(super) const PACKS_DIR: &str = "packs";
/// Behind the name of a pack that is being made.
const UNFINISHED: &str = ".new";
/// Raw bytes of a chunk: as many as a block of a segment has. Larger ones would be saved again for a smaller
/// change, smaller ones need more room in the lists.
pub(super) const CHUNK_BYTES_MAX: usize = 64 << 10;
/// About how large a pack is: so small that pruning sets much of it free, so large that a sync costs little.
const PACK_BYTES: u64 = 32 << 20;
/// Written together.
const WRITE_BYTES: usize = 1 << 20;
const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 32 + 4 + 4;
const TAIL_BYTES: usize = 8 + 32;
const MAGIC: [u8; 8] = *b"SOCHPACK";
const VERSION: u32 = 1;

wire_structs! {
    /// One line of the index.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct PackedChunk {
        pub hash: Hash,
        pub raw: u32,
        pub stored: u32,
    }

    struct Head {
        magic: [u8; 8],
        version: u32,
        zero: u32,
    }
}

fn head() -> Vec<u8> {
    Head { magic: MAGIC, version: VERSION, zero: 0 }.to_wire()
}

/// The file of pack `number`.
pub(super) fn pack_name(number: u32) -> String {
    format!("{PACKS_DIR}/{number:08x}.pack")
}

/// The numbers of the packs that are there, in order.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub(super) fn numbers(vfs: &dyn Vfs) -> KernelResult<Vec<u32>> {
    let names = vfs.list(PACKS_DIR).map_err(io_in(vfs, "list the packs of"))?;
    let hex = names.iter().filter_map(|name| name.strip_suffix(".pack"));
    let mut numbers: Vec<u32> = hex.filter_map(|hex| u32::from_str_radix(hex, 16).ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a crash left of a pack that was being made.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub(super) fn remove_unfinished(vfs: &dyn Vfs) -> KernelResult<()> {
    let io = io_in(vfs, "tidy up");
    for name in vfs.list(PACKS_DIR).map_err(&io)? {
        if name.ends_with(UNFINISHED) {
            vfs.remove(&format!("{PACKS_DIR}/{name}")).map_err(&io)?;
        }
    }
    Ok(())
}

/// The index of pack `number`, and how long the file is.
///
/// # Errors
/// `Corrupt` when the file is not a whole pack, `Unavailable` when the disk refuses.
pub(super) fn read_index(vfs: &dyn Vfs, number: u32) -> KernelResult<(Vec<PackedChunk>, u64)> {
    let name = pack_name(number);
    let io = |error| KernelError::io(format!("read {name}"), error);
    let file = vfs.open(&name, OpenMode::Read).map_err(io)?;
    let len = file.len().map_err(io)?;
    let wrong =
        |at, expected: &str, found: String| KernelError::corrupt(&name, at, expected, found);
    if len < (HEAD_BYTES + TAIL_BYTES) as u64 {
        return Err(wrong(0, "a pack", format!("{len} bytes")));
    }
    let read = |at: u64, bytes: usize| {
        let mut buffer = vec![0; bytes];
        file.read_exact_at(at, &mut buffer).map_err(io)?;
        KernelResult::Ok(buffer)
    };
    let first = read(0, HEAD_BYTES)?;
    check_head(&name, &first)?;
    let tail = read(len - TAIL_BYTES as u64, TAIL_BYTES)?;
    let mut reader = Reader::new(&name, len - TAIL_BYTES as u64, &tail);
    let (count, hash) = (reader.u64()?, reader.array::<32>()?);
    let room = (len - (HEAD_BYTES + TAIL_BYTES) as u64) / ENTRY_BYTES as u64;
    if count == 0 || room < count {
        return Err(wrong(len - TAIL_BYTES as u64, "a count that fits", count.to_string()));
    }
    let index_bytes = count as usize * ENTRY_BYTES;
    let at = len - (TAIL_BYTES + index_bytes) as u64;
    let index = read(at, index_bytes)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&first).update(&index).update(&tail[..8]);
    if *hasher.finalize().as_bytes() != hash {
        return Err(wrong(at, "an index whose hash holds", "another".to_owned()));
    }
    let mut reader = Reader::new(&name, at, &index);
    let chunks: Result<Vec<_>, _> = (0..count).map(|_| PackedChunk::take(&mut reader)).collect();
    let chunks = chunks?;
    let is_sane = |c: &PackedChunk| {
        (1..=CHUNK_BYTES_MAX).contains(&(c.raw as usize)) && (1..=c.raw).contains(&c.stored)
    };
    let stored: u64 = chunks.iter().map(|chunk| u64::from(chunk.stored)).sum();
    if !chunks.iter().all(is_sane) || HEAD_BYTES as u64 + stored != at {
        return Err(wrong(at, "lengths that add up", format!("{stored} bytes of chunks")));
    }
    Ok((chunks, len))
}

fn check_head(name: &str, bytes: &[u8]) -> KernelResult<()> {
    let mut reader = Reader::new(name, 0, bytes);
    let Head { magic, version, zero } = Head::take(&mut reader)?;
    if magic == MAGIC && VERSION < version {
        return Err(KernelError::unavailable(format!(
            "open {name}: pack format {version} is newer than this program's {VERSION}; use a newer sochdb"
        )));
    }
    if magic != MAGIC || version != VERSION || zero != 0 {
        return Err(KernelError::corrupt(name, 0, "a pack's head", format!("{bytes:02x?}")));
    }
    Ok(())
}

/// Where the first chunk of a pack begins.
pub(super) fn first_chunk_at() -> u32 {
    HEAD_BYTES as u32
}

/// `raw` as it is stored: compressed if that saves an eighth of it.
pub(super) fn squeeze(raw: &[u8]) -> Vec<u8> {
    let squeezed = lz4_flex::block::compress(raw);
    if squeezed.len() <= raw.len() - raw.len() / 8 && squeezed.len() < raw.len() {
        squeezed
    } else {
        raw.to_vec()
    }
}

/// What [`squeeze`] was given.
///
/// # Errors
/// What is wrong with the stored bytes.
pub(super) fn unsqueeze(stored: Vec<u8>, chunk: &PackedChunk) -> Result<Vec<u8>, &'static str> {
    let raw = match chunk.stored == chunk.raw {
        true => stored,
        false => lz4_flex::block::decompress(&stored, chunk.raw as usize)
            .map_err(|_| "bytes that are no LZ4 block")?,
    };
    match *blake3::hash(&raw).as_bytes() == chunk.hash {
        true => Ok(raw),
        false => Err("bytes with another hash"),
    }
}

/// A pack that is being made.
pub(super) struct PackWriter {
    pub number: u32,
    file: Arc<dyn VfsFile>,
    /// Bytes of the file that are written.
    written: u64,
    buffer: Vec<u8>,
    index: Vec<PackedChunk>,
}

impl PackWriter {
    /// Begins pack `number`.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn begin(vfs: &dyn Vfs, number: u32) -> KernelResult<PackWriter> {
        let name = format!("{}{UNFINISHED}", pack_name(number));
        let file = vfs.open(&name, OpenMode::Create).map_err(io_in(vfs, "make a pack in"))?;
        Ok(PackWriter { number, file, written: 0, buffer: head(), index: Vec::new() })
    }

    /// Adds a chunk as it is stored; returns where.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn add(&mut self, chunk: PackedChunk, stored: &[u8]) -> KernelResult<u32> {
        assert_eq!(stored.len(), chunk.stored as usize, "a chunk is as long as its entry says");
        let at = self.len();
        self.buffer.extend_from_slice(stored);
        self.index.push(chunk);
        if WRITE_BYTES <= self.buffer.len() {
            self.write()?;
        }
        Ok(u32::try_from(at).expect("packs are far smaller"))
    }

    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether the next chunk belongs into another pack.
    pub fn is_full(&self) -> bool {
        PACK_BYTES <= self.len()
    }

    fn write(&mut self) -> KernelResult<()> {
        let io = |error| KernelError::io(format!("write {}", pack_name(self.number)), error);
        self.file.write_at(self.written, &self.buffer).map_err(io)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the index, and gives the file its name: then it is on disk. Returns how long it is.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn finish(mut self, vfs: &dyn Vfs) -> KernelResult<u64> {
        assert!(!self.index.is_empty(), "a pack has chunks");
        let mut index = Vec::with_capacity(self.index.len() * ENTRY_BYTES + 8);
        self.index.iter().for_each(|chunk| chunk.put(&mut index));
        (self.index.len() as u64).put(&mut index);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head()).update(&index);
        self.buffer.append(&mut index);
        self.buffer.extend_from_slice(hasher.finalize().as_bytes());
        self.write()?;
        let name = pack_name(self.number);
        let done = || {
            self.file.sync()?;
            vfs.rename(&format!("{name}{UNFINISHED}"), &name)?;
            vfs.sync_dir(PACKS_DIR)
        };
        done().map_err(|error| KernelError::io(format!("write {name}"), error))?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_whole;
    use super::*;
    use proptest::prelude::*;
    use sochdb_sim::MemoryVfs;

    fn chunk(raw: &[u8]) -> (PackedChunk, Vec<u8>) {
        let stored = squeeze(raw);
        let hash = *blake3::hash(raw).as_bytes();
        (PackedChunk { hash, raw: raw.len() as u32, stored: stored.len() as u32 }, stored)
    }

    fn pack(chunks: &[&[u8]]) -> MemoryVfs {
        let vfs = MemoryVfs::new();
        let mut writer = PackWriter::begin(&vfs, 1).unwrap();
        for raw in chunks {
            let (entry, stored) = chunk(raw);
            writer.add(entry, &stored).unwrap();
        }
        writer.finish(&vfs).unwrap();
        vfs
    }

    fn rewritten(bytes: &[u8]) -> MemoryVfs {
        let vfs = MemoryVfs::new();
        vfs.open(&pack_name(1), OpenMode::Create).unwrap().write_at(0, bytes).unwrap();
        vfs
    }

    #[test]
    fn a_pack_has_these_bytes() {
        let bytes = read_whole(&pack(&[b"ada", &[7; 100]]), &pack_name(1)).unwrap();
        assert_eq!(bytes[..16], *b"SOCHPACK\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..19], *b"ada", "too short to be compressed");
        let (first, second) = (chunk(b"ada").0, chunk(&[7; 100]).0);
        assert_eq!((first.stored, second.raw), (3, 100));
        assert!(second.stored < 20);
        let index = 19 + second.stored as usize;
        assert_eq!(bytes[index..index + 32], first.hash);
        assert_eq!(bytes[index + 32..index + 40], *b"\x03\0\0\0\x03\0\0\0");
        assert_eq!(bytes[index + 80..index + 88], *b"\x02\0\0\0\0\0\0\0");
        assert_eq!(bytes.len(), index + 80 + 40);
    }

    #[test]
    fn any_flipped_bit_or_cut_outside_of_the_chunks_is_noticed() {
        let vfs = pack(&[b"ada", b"grace"]);
        assert_eq!(read_index(&vfs, 1).unwrap().0.len(), 2);
        let bytes = read_whole(&vfs, &pack_name(1)).unwrap();
        for bit in (0..16 * 8).chain(24 * 8..bytes.len() * 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_index(&rewritten(&flipped), 1).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(read_index(&rewritten(&bytes[..cut]), 1).is_err(), "cut at {cut}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(read_index(&rewritten(&longer), 1).is_err());
    }

    proptest! {
        #[test]
        fn what_was_squeezed_comes_back_and_a_flip_is_noticed(
            raw in proptest::collection::vec(0u8..4, 1..3000),
            bit in 0usize..1 << 20,
        ) {
            let (entry, stored) = chunk(&raw);
            prop_assert_eq!(unsqueeze(stored.clone(), &entry).unwrap(), raw);
            let mut flipped = stored;
            let bit = bit % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A flip may lie where LZ4 does not look; then the bytes are still the right ones.
            if let Ok(back) = unsqueeze(flipped, &entry) {
                prop_assert_eq!(*blake3::hash(&back).as_bytes(), entry.hash);
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_pack(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_index(&rewritten(&bytes), 1).is_err());
        }
    }
}
