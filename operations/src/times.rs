//! When commits were made: a small file beside the archived log that says which commit was the newest at which
//! time.
//!
//! The log orders commits and knows nothing of clocks. So whoever has a database with an archive open looks
//! about once a second ([`CommitTimes::look`]) and notes the newest commit. [`Database`] of the crate `sochdb`
//! has a thread for it. A moment is therefore known to about a second while commits come, exactly while none
//! comes, and not at all for commits that were made while nobody looked.
//!
//! `archive/times` begins with a head of 32 bytes:
//!
//! | offset | size | type  | field      | meaning                                       |
//! |-------:|-----:|-------|------------|-----------------------------------------------|
//! |      0 |    8 | bytes | `magic`    | `SOCHTIME`                                    |
//! |      8 |    4 | u32   | `version`  | 1                                             |
//! |     12 |    4 | u32   | `zero`     | 0                                             |
//! |     16 |    8 | u64   | `database` | identity, the same as in the log              |
//! |     24 |    4 | u32   | `zero`     | 0                                             |
//! |     28 |    4 | u32   | `crc`      | CRC-32C of the 28 bytes before it             |
//!
//! and goes on with lines of as many:
//!
//! | offset | size | type  | field      | meaning                                               |
//! |-------:|-----:|-------|------------|-------------------------------------------------------|
//! |      0 |    8 | u64   | `commit`   | this was the newest commit                            |
//! |      8 |    8 | u64   | `from_us`  | when it was first seen to be, microseconds since 1970 |
//! |     16 |    8 | u64   | `until_us` | when it was last seen to be                           |
//! |     24 |    4 | u32   | `zero`     | 0                                                     |
//! |     28 |    4 | u32   | `crc`      | CRC-32C of the 28 bytes before it                     |
//!
//! Integers are little-endian. No line crosses a sector. The last line is written again as time passes; the file
//! is not synced, so a power cut may lose its last lines, which widens a gap and says nothing wrong. A line
//! whose checksum does not hold is passed over.
//!
//! [`Database`]: https://docs.rs/sochdb

use sochdb_encoding::codec::{Reader, Wire, crc};
use sochdb_encoding::wire_structs;
use sochdb_kernel::inspect::ARCHIVE_DIR;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{Kernel, KernelError, KernelResult, Timestamp};
use std::io;
use std::sync::Arc;

/// The file's name in the folder of the archive.
pub(crate) const TIMES_FILE: &str = "times";
/// How long nothing is written while no commit comes.
const IDLE_US: u64 = 60_000_000;
const LINE_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"SOCHTIME";
const VERSION: u32 = 1;

wire_structs! {
    struct Head {
        magic: [u8; 8],
        version: u32,
        zero: u32,
        database: u64,
        padding: u32,
    }

    struct Line {
        commit: Timestamp,
        from_us: u64,
        until_us: u64,
        zero: u32,
    }
}

/// A commit, and when it was the newest: at least from `from_us` until `until_us`, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The commit.
    pub commit: Timestamp,
    /// When it was first seen to be the newest.
    pub from_us: u64,
    /// When it was last seen to be the newest.
    pub until_us: u64,
}

impl Recorded {
    fn to_bytes(self) -> Vec<u8> {
        let Recorded { commit, from_us, until_us } = self;
        with_crc(Line { commit, from_us, until_us, zero: 0 }.to_wire())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Recorded> {
        let mut reader = Reader::new(TIMES_FILE, 0, bytes);
        let line = Line::take(&mut reader).ok()?;
        let holds = reader.u32().ok()? == crc(&bytes[..LINE_BYTES - 4]);
        let Line { commit, from_us, until_us, zero } = line;
        let is_sane = holds && zero == 0 && from_us <= until_us;
        is_sane.then_some(Recorded { commit, from_us, until_us })
    }
}

fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    crc(&bytes).put(&mut bytes);
    assert_eq!(bytes.len(), LINE_BYTES, "the tables above add up");
    bytes
}

fn head(database: u64) -> Vec<u8> {
    with_crc(Head { magic: MAGIC, version: VERSION, zero: 0, database, padding: 0 }.to_wire())
}

/// The whole file of `lines`, as a reader expects it.
pub(crate) fn encode(database: u64, lines: &[u8]) -> Vec<u8> {
    [&head(database)[..], lines].concat()
}

/// `recorded` as the lines of a file.
pub(crate) fn encode_lines(recorded: &[Recorded]) -> Vec<u8> {
    recorded.iter().flat_map(|line| line.to_bytes()).collect()
}

/// What is recorded of `database` in its directory, or a copy of that; empty when nothing is.
///
/// # Errors
/// `Unavailable` when the disk refuses, `Corrupt` when the file is of another database, or none of times.
pub(crate) fn recorded(vfs: &dyn Vfs, database: u64) -> KernelResult<Vec<Recorded>> {
    let name = format!("{ARCHIVE_DIR}/{TIMES_FILE}");
    match vfs.open(&name, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(KernelError::io(format!("read {name}"), error)),
        Ok(file) => Ok(read(&*file, database)?.into_iter().flatten().collect()),
    }
}

/// Every line of the file, `None` for those that are broken.
fn read(file: &dyn VfsFile, database: u64) -> KernelResult<Vec<Option<Recorded>>> {
    let name = format!("{ARCHIVE_DIR}/{TIMES_FILE}");
    let io = |error| KernelError::io(format!("read {name}"), error);
    let mut bytes = vec![0; usize::try_from(file.len().map_err(io)?).unwrap_or(usize::MAX)];
    let got = file.read_at(0, &mut bytes).map_err(io)?;
    bytes.truncate(got);
    if bytes.len() < LINE_BYTES {
        // A crash came before the head was on disk.
        return Ok(Vec::new());
    }
    let (first, lines) = bytes.split_at(LINE_BYTES);
    if first.iter().all(|byte| *byte == 0) {
        return Ok(Vec::new());
    }
    if first != head(database) {
        let expected = format!("recorded times of database {database:#x}, version {VERSION}");
        return Err(KernelError::corrupt(&name, 0, expected, "others, or none"));
    }
    Ok(lines.chunks_exact(LINE_BYTES).map(Recorded::from_bytes).collect())
}

/// Records the times of one open database's commits.
pub struct CommitTimes {
    kernel: Kernel,
    file: Arc<dyn VfsFile>,
    /// The line that is being written, and where it is.
    last: Option<Recorded>,
    at: u64,
    /// What is on disk of it.
    until_on_disk: u64,
}

impl CommitTimes {
    /// Goes on with the file of `kernel`, or begins it. `None` when the database keeps no archive
    /// ([`Options::wal_archive`](sochdb_kernel::Options::wal_archive)) or was opened read-only: then nobody can go
    /// back to a moment either.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Corrupt` when there is another file in its place, `Closed`.
    ///
    /// ```
    /// use sochdb_kernel::{Kernel, KernelResult, Options};
    /// use sochdb_operations::CommitTimes;
    ///
    /// # fn main() -> KernelResult<()> {
    /// let options = Options { wal_archive: true, ..Options::default() };
    /// let kernel = Kernel::open(sochdb_sim::memory(), options)?;
    /// let mut times = CommitTimes::open(&kernel)?.expect("there is an archive");
    /// times.look(1_795_000_000_000_000)?; // Now, and again about every second.
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(kernel: &Kernel) -> KernelResult<Option<CommitTimes>> {
        if !kernel.options().wal_archive || kernel.options().read_only {
            return Ok(None);
        }
        let database = kernel.hold()?.meta.database;
        let name = format!("{ARCHIVE_DIR}/{TIMES_FILE}");
        let open = || {
            let vfs = kernel.vfs();
            vfs.create_dir(ARCHIVE_DIR)?;
            match vfs.open(&name, OpenMode::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let file = vfs.open(&name, OpenMode::Create)?;
                    vfs.sync_dir("")?;
                    vfs.sync_dir(ARCHIVE_DIR)?;
                    Ok(file)
                }
                file => file,
            }
        };
        let file = open().map_err(|error| KernelError::io(format!("write {name}"), error))?;
        let lines = read(&*file, database)?;
        let writes = |error| KernelError::io(format!("write {name}"), error);
        if lines.is_empty() {
            file.write_at(0, &head(database)).map_err(writes)?;
        }
        let at = (LINE_BYTES + lines.len() * LINE_BYTES) as u64;
        Ok(Some(CommitTimes { kernel: kernel.clone(), file, last: None, at, until_on_disk: 0 }))
    }

    /// Looks which commit is the newest, now that it is `now_us` microseconds since 1970, and notes it.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses: the next look tries again. `Closed`.
    pub fn look(&mut self, now_us: u64) -> KernelResult<()> {
        let commit = self.kernel.begin_read()?.snapshot();
        match &mut self.last {
            Some(last) if last.commit == commit && last.from_us <= now_us => {
                last.until_us = last.until_us.max(now_us);
                if last.until_us < self.until_on_disk.saturating_add(IDLE_US) {
                    return Ok(());
                }
                self.write_last()
            }
            _ => {
                self.settle()?;
                self.at += if self.last.is_some() { LINE_BYTES as u64 } else { 0 };
                self.last = Some(Recorded { commit, from_us: now_us, until_us: now_us });
                self.until_on_disk = 0;
                self.write_last()
            }
        }
    }

    /// Writes what was only in memory, and has it on disk when it returns. For the end.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn finish(mut self) -> KernelResult<()> {
        self.settle()?;
        self.file.sync().map_err(write_error)
    }

    /// Writes the present line as it is now.
    fn settle(&mut self) -> KernelResult<()> {
        match self.last {
            Some(last) if self.until_on_disk < last.until_us => self.write_last(),
            _ => Ok(()),
        }
    }

    fn write_last(&mut self) -> KernelResult<()> {
        let Some(last) = self.last else { return Ok(()) };
        self.file.write_at(self.at, &last.to_bytes()).map_err(write_error)?;
        self.until_on_disk = last.until_us;
        Ok(())
    }
}

fn write_error(error: io::Error) -> KernelError {
    KernelError::io(format!("write {ARCHIVE_DIR}/{TIMES_FILE}"), error)
}
