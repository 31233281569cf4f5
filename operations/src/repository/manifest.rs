//! One backup's manifest, as bytes: of which chunks it is made.
//!
//! | offset | size | type  | field         | meaning                                                         |
//! |-------:|-----:|-------|---------------|-----------------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`       | `SOCHBAK` and a zero byte                                       |
//! |      8 |    4 | u32   | `version`     | 1                                                               |
//! |     12 |    4 | u32   | `zero`        | 0                                                               |
//! |     16 |    8 | u64   | `database`    | identity of the database                                        |
//! |     24 |    8 | u64   | `commit`      | the backup holds every commit up to this one                    |
//! |     32 |    8 | u64   | `made_us`     | when, in microseconds since 1970                                |
//! |     40 |    8 | u64   | `newest`      | the newest commit at that time                                  |
//! |     48 |    8 | u64   | `pages`       | length of the data file, in pages                               |
//! |     56 |    8 | u64   | `folded`      | the last commit whose rows are in the data file                 |
//! |     64 |    8 | u64   | `log_start`   | LSN of the first byte of log that it has                        |
//! |     72 |    8 | u64   | `lsn`         | LSN at which the log goes on behind the data file               |
//! |     80 |    8 | u64   | `log_end`     | LSN behind the last commit                                      |
//! |     88 |    8 | u64   | `added_bytes` | how much larger it made the repository, this file aside         |
//! |     96 |      | string | `name`       | varint length, UTF-8; the same as the file's                    |
//! |        |      | string | `source`     | the same; the directory of the database, for people             |
//! |        |      | list  | `regions`     | varint count, then the BLAKE3 of the list of each mebibyte of the data file; zero for one without anything |
//! |        |      | list  | `log`         | varint count, then the BLAKE3 of each piece of the log           |
//! |        |      | list  | `log_files`   | varint count, then u64 each: an LSN at which a log file begins  |
//! |        |      | list  | `times`       | varint count, then the BLAKE3 of each piece of the recorded times |
//! |        |   32 | bytes | `hash`        | BLAKE3 of every byte before it                                  |
//!
//! A region's list is a chunk too, of one line of 40 bytes for each piece, sorted: offset in the region u32,
//! length u32, BLAKE3 of the bytes. What no line names is zero. Pieces of the log end at every LSN that 64 KiB
//! divide, and at both ends. The recorded times are lines as in [`times`](crate::times).
//!
//! Invariants:
//! 1. `log_start <= lsn <= log_end`, multiples of 8, `folded` and `newest` at most `commit`; the counts fit `pages` and the log's
//!    length.
//! 2. `log_files` grow from `log_start` on, all before `log_end` or the only one; `lsn` is among them.
//! 3. It is written when every chunk that it names is on disk, synced, and only then gets its name.

use super::pack::CHUNK_BYTES_MAX;
use super::{BACKUPS_DIR, Hash, NOTHING, io_in, read_whole};
use sochdb_encoding::codec::{Reader, Wire};
use sochdb_encoding::wire_structs;
use sochdb_kernel::inspect::record::FRAME_ALIGN;
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{KernelError, KernelResult};
use std::ops::Range;

/// Behind the name of a backup that is there.
const ENDING: &str = ".backup";
/// Behind that of one that is being made.
const UNFINISHED: &str = ".new";
/// Bytes of the data file that share a list.
pub(super) const REGION_BYTES: u64 = 1 << 20;
/// A longer name is none.
const NAME_BYTES_MAX: usize = 100;
/// Of a database of some 20 TiB.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;
const MAGIC: [u8; 8] = *b"SOCHBAK\0";
const VERSION: u32 = 1;
const LINE_BYTES: usize = 40;
const _: () = assert!(
    (REGION_BYTES as usize / PAGE_BYTES + 17) * LINE_BYTES < CHUNK_BYTES_MAX,
    "a region's list is one chunk"
);

wire_structs! {
    struct Head {
        magic: [u8; 8],
        version: u32,
        zero: u32,
    }

    /// What the table of this module says.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct Manifest {
        pub database: u64,
        pub commit: u64,
        pub made_us: u64,
        pub newest: u64,
        pub pages: u64,
        pub folded: u64,
        pub log_start: u64,
        pub lsn: u64,
        pub log_end: u64,
        pub added_bytes: u64,
        pub name: String,
        pub source: String,
        pub regions: Vec<Hash>,
        pub log: Vec<Hash>,
        pub log_files: Vec<u64>,
        pub times: Vec<Hash>,
    }

    /// A piece of a region.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Piece {
        pub at: u32,
        pub bytes: u32,
        pub hash: Hash,
    }
}

/// The list of a region's pieces, as a chunk.
pub(super) fn encode_list(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pieces.len() * LINE_BYTES);
    pieces.iter().for_each(|piece| piece.put(&mut bytes));
    bytes
}

/// The pieces that the list names. What a hash has vouched for is believed but for its order.
///
/// # Errors
/// `Corrupt` when it is no list.
pub(super) fn decode_list(bytes: &[u8]) -> KernelResult<Vec<Piece>> {
    let mut reader = Reader::new("a list of pieces", 0, bytes);
    let mut pieces: Vec<Piece> = Vec::with_capacity(bytes.len() / LINE_BYTES);
    while !reader.rest().is_empty() {
        let piece = Piece::take(&mut reader)?;
        let end = pieces.last().map_or(0, |last| u64::from(last.at) + u64::from(last.bytes));
        let is_sane = end <= u64::from(piece.at)
            && u64::from(piece.at) < REGION_BYTES
            && (1..=CHUNK_BYTES_MAX).contains(&(piece.bytes as usize));
        if !is_sane {
            return Err(reader
                .corrupt("pieces that follow each other", format!("{piece:?}"))
                .into());
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Where the pieces of the log from `start` to `end` begin and end.
pub(super) fn log_pieces(start: u64, end: u64) -> impl Iterator<Item = Range<u64>> {
    let step = CHUNK_BYTES_MAX as u64;
    let mut at = start;
    std::iter::from_fn(move || {
        let from = at;
        at = (from / step + 1).saturating_mul(step).min(end);
        (from < end).then_some(from..at)
    })
}

/// Whether `name` can be a backup's.
///
/// # Errors
/// `Invalid` that says what a name is.
pub(super) fn check_name(name: &str) -> KernelResult<()> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with(['.', '-']);
    if fits && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(KernelError::Invalid(format!(
        "'{name}' is no name for a backup: 1 to {NAME_BYTES_MAX} of the letters a-z, A-Z, 0-9, '-', '_' and \
         '.', the first none of '-' and '.'"
    )))
}

/// The file of the backup `name`.
pub(super) fn file_name(name: &str) -> String {
    format!("{BACKUPS_DIR}/{name}{ENDING}")
}

/// The names of all backups, sorted.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub(super) fn names(vfs: &dyn Vfs) -> KernelResult<Vec<String>> {
    let names = vfs.list(BACKUPS_DIR).map_err(io_in(vfs, "list the backups in"))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(ENDING)).map(str::to_owned).collect())
}

/// Removes what a crash left of a backup that was being made.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub(super) fn remove_unfinished(vfs: &dyn Vfs) -> KernelResult<()> {
    let io = io_in(vfs, "tidy up");
    for name in vfs.list(BACKUPS_DIR).map_err(&io)? {
        if name.ends_with(UNFINISHED) {
            vfs.remove(&format!("{BACKUPS_DIR}/{name}")).map_err(&io)?;
        }
    }
    Ok(())
}

impl Manifest {
    /// Reads the manifest of the backup `name`.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` when it is not what was written, `Unavailable` when the disk refuses or a newer
    /// program wrote it.
    pub fn read(vfs: &dyn Vfs, name: &str) -> KernelResult<Manifest> {
        check_name(name)?;
        let file = file_name(name);
        let open = match vfs.open(&file, OpenMode::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KernelError::NotFound { kind: "backup", name: name.to_owned() });
            }
            open => open.and_then(|file| file.len()),
        };
        let len = open.map_err(|error| KernelError::io(format!("read {file}"), error))?;
        if MANIFEST_BYTES_MAX < len {
            let bound = format!("at most {MANIFEST_BYTES_MAX} bytes");
            return Err(KernelError::corrupt(&file, 0, bound, len.to_string()));
        }
        let manifest = Manifest::decode(&file, &read_whole(vfs, &file)?)?;
        if manifest.name != name {
            let found = format!("the one of '{}'", manifest.name);
            return Err(KernelError::corrupt(&file, 96, "the manifest of this backup", found));
        }
        Ok(manifest)
    }

    fn decode(file: &str, bytes: &[u8]) -> KernelResult<Manifest> {
        let mut reader = Reader::new(file, 0, bytes);
        let Head { magic, version, zero } = Head::take(&mut reader)?;
        if magic != MAGIC || zero != 0 {
            return Err(KernelError::corrupt(file, 0, "a manifest", "another magic"));
        }
        if VERSION < version {
            return Err(KernelError::unavailable(format!(
                "open {file}: backup format {version} is newer than this program's {VERSION}; use a newer sochdb"
            )));
        }
        let (body, hash) = bytes.split_at(bytes.len().saturating_sub(32));
        if blake3::hash(body).as_bytes() != hash {
            return Err(KernelError::corrupt(file, 0, "a manifest whose hash holds", "another"));
        }
        let mut reader = Reader::new(file, 16, &body[16.min(body.len())..]);
        let manifest = Manifest::take(&mut reader)?;
        reader.end()?;
        if version == 0 || !manifest.makes_sense() {
            return Err(KernelError::corrupt(file, 16, "fields that fit together", "others"));
        }
        Ok(manifest)
    }

    fn makes_sense(&self) -> bool {
        let regions = self.pages.checked_mul(PAGE_BYTES as u64).map(|b| b.div_ceil(REGION_BYTES));
        let files = &self.log_files;
        let ordered = self.log_start <= self.lsn && self.lsn <= self.log_end;
        let aligned = |lsn: &u64| lsn.is_multiple_of(FRAME_ALIGN as u64);
        ordered
            && files.iter().chain([&self.log_end]).all(aligned)
            && self.folded.max(self.newest) <= self.commit
            && regions == Some(self.regions.len() as u64)
            // In this order: a forged length must not be counted to.
            && (self.log_end - self.log_start) / CHUNK_BYTES_MAX as u64 <= self.log.len() as u64
            && log_pieces(self.log_start, self.log_end).count() == self.log.len()
            && files.first() == Some(&self.log_start)
            && files.is_sorted_by(|a, b| a < b)
            && (files.len() == 1 || files.last() <= Some(&self.log_end))
            && files.contains(&self.lsn)
    }

    /// Writes the manifest: from here on the backup is there.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses; then it may or may not be there.
    pub fn write(&self, vfs: &dyn Vfs) -> KernelResult<()> {
        assert!(self.makes_sense(), "a manifest is written as it will be read: {self:?}");
        let mut bytes = Head { magic: MAGIC, version: VERSION, zero: 0 }.to_wire();
        self.put(&mut bytes);
        let hash = *blake3::hash(&bytes).as_bytes();
        hash.put(&mut bytes);
        let name = file_name(&self.name);
        let unfinished = format!("{name}{UNFINISHED}");
        let write = || {
            vfs.create_dir(BACKUPS_DIR)?;
            vfs.sync_dir("")?;
            let file = vfs.open(&unfinished, OpenMode::Create)?;
            file.write_at(0, &bytes)?;
            file.sync()?;
            vfs.rename(&unfinished, &name)?;
            vfs.sync_dir(BACKUPS_DIR)
        };
        write().map_err(|error| KernelError::io(format!("write {name}"), error))
    }

    /// Every chunk that it names itself: the lists of regions, the log, the times.
    pub fn named(&self) -> impl Iterator<Item = &Hash> {
        let regions = self.regions.iter().filter(|hash| **hash != NOTHING);
        regions.chain(&self.log).chain(&self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_sim::MemoryVfs;

    fn sample() -> Manifest {
        Manifest {
            database: 0xdb,
            commit: 9,
            made_us: 1_700_000_000_000_000,
            newest: 8,
            pages: 300,
            folded: 7,
            log_start: 64,
            lsn: 128,
            log_end: 70_000,
            added_bytes: 5,
            name: "monday".to_owned(),
            source: "data".to_owned(),
            regions: vec![[1; 32], NOTHING],
            log: vec![[2; 32], [3; 32]],
            log_files: vec![64, 128],
            times: vec![[4; 32]],
        }
    }

    fn written() -> (MemoryVfs, Vec<u8>) {
        let vfs = MemoryVfs::new();
        sample().write(&vfs).unwrap();
        let bytes = read_whole(&vfs, "backups/monday.backup").unwrap();
        (vfs, bytes)
    }

    #[test]
    fn a_manifest_has_these_bytes_and_is_read_back() {
        let (vfs, bytes) = written();
        assert_eq!(bytes[..16], *b"SOCHBAK\0\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], 0xdbu64.to_le_bytes());
        assert_eq!(bytes[80..88], 70_000u64.to_le_bytes());
        assert_eq!(bytes[96..103], *b"\x06monday");
        assert_eq!(bytes[103..108], *b"\x04data");
        assert_eq!((bytes[108], &bytes[109..141]), (2, &[1u8; 32][..]));
        assert_eq!(bytes.len(), 108 + 65 + 65 + 17 + 33 + 32);
        assert_eq!(Manifest::read(&vfs, "monday").unwrap(), sample());
        assert_eq!(names(&vfs).unwrap(), ["monday"]);
    }

    #[test]
    fn any_flipped_bit_or_cut_is_noticed() {
        let (_, bytes) = written();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode("m", &flipped).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode("m", &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn fields_that_do_not_fit_together_are_refused_though_the_hash_holds() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            let mut bytes = Head { magic: MAGIC, version: VERSION, zero: 0 }.to_wire();
            manifest.put(&mut bytes);
            let hash = *blake3::hash(&bytes).as_bytes();
            hash.put(&mut bytes);
            Manifest::decode("m", &bytes).unwrap_err().to_string()
        };
        let wrong: [fn(&mut Manifest); 9] = [
            |m| m.lsn = 63,
            |m| m.log_end = 69_999,
            |m| m.log_end = u64::MAX - 7,
            |m| m.folded = 10,
            |m| m.pages = 600,
            |m| m.pages = u64::MAX,
            |m| m.log_files = vec![64],
            |m| m.log_files = vec![64, 128, 128],
            |m| m.log_files = vec![],
        ];
        for change in wrong {
            let error = refused(change);
            assert!(error.contains("fields that fit together"), "{error}");
        }
    }

    #[test]
    fn a_manifest_under_another_name_is_refused() {
        let (vfs, _) = written();
        vfs.rename("backups/monday.backup", "backups/tuesday.backup").unwrap();
        let error = Manifest::read(&vfs, "tuesday").unwrap_err().to_string();
        assert!(error.contains("'monday'"), "{error}");
        assert!(Manifest::read(&vfs, "../x").is_err());
    }

    #[test]
    fn pieces_of_the_log_end_where_64_kib_divide() {
        let pieces =
            |start, end| log_pieces(start, end).map(|p| (p.start, p.end)).collect::<Vec<_>>();
        assert_eq!(pieces(64, 64), []);
        assert_eq!(pieces(64, 100), [(64, 100)]);
        assert_eq!(pieces(64, 65_536), [(64, 65_536)]);
        assert_eq!(pieces(65_536, 140_000), [(65_536, 131_072), (131_072, 140_000)]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_manifest_and_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert!(Manifest::decode("m", &bytes).is_err());
            // Even with a head and a hash that hold.
            let mut whole = Head { magic: MAGIC, version: VERSION, zero: 0 }.to_wire();
            whole.extend_from_slice(&bytes);
            let hash = *blake3::hash(&whole).as_bytes();
            whole.extend_from_slice(&hash);
            let _ = Manifest::decode("m", &whole);
            let _ = decode_list(&bytes);
        }
    }
}
