//! The two meta pages: writing one of them is what makes a checkpoint.
//!
//! Pages 0 and 1 hold the same record; checkpoint `n` writes page `n % 2`. At open the valid record with
//! the greater `sequence` counts. A crash while one is written leaves the other.
//!
//! | offset | size | type  | field        | meaning                                              |
//! |-------:|-----:|-------|--------------|------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`      | `SOCHDB`, 0x0d, 0x0a: damaged by any text conversion |
//! |      8 |    4 | u32   | `version`    | 1                                                    |
//! |     12 |    4 | u32   | `page_bytes` | 4096                                                 |
//! |     16 |    8 | u64   | `database`   | identity, also in every log segment                  |
//! |     24 |    8 | u64   | `sequence`   | number of the checkpoint, from 1                     |
//! |     32 |    8 | u64   | `pages`      | pages in use or free; the file may be longer         |
//! |     40 |    8 | u64   | `lsn`        | replay of the log begins here                        |
//! |     48 |    8 | u64   | `timestamp`  | greatest commit timestamp given out                  |
//! |     56 |    8 | u64   | `next_txn`   | next transaction id                                  |
//! |     64 |    8 | u64   | `next_table` | next table id                                        |
//! |     72 |    8 | u64   | `next_segment` | next segment id                                    |
//! |     80 |   21 | tree  | `catalog`    | the catalog's tree: page u64, crc u32, height u8, rows u64 |
//! |    101 |   21 | run   | `free_list`  | free pages, all zero when there are none             |
//! |    122 | 3970 | bytes | `zero`       | 0                                                    |
//! |   4092 |    4 | u32   | `crc`        | CRC-32C of the 4,092 bytes before it                 |

use super::{DATA_FILE, RunRef};
use crate::error::{KernelError, KernelResult};
use crate::limits::PAGE_BYTES;
use crate::tree::TreeRoot;
use crate::vfs::VfsFile;
use sochdb_encoding::codec::{self, Reader, Wire};
use sochdb_encoding::wire_structs;

const MAGIC: &[u8; 8] = b"SOCHDB\r\n";
const VERSION: u32 = 1;
/// Pages before the first one that can be allocated.
pub const META_PAGES: u64 = 2;

wire_structs! {
    /// One checkpoint's record, behind `page_bytes`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Meta {
        /// The database's identity, also in its log.
        pub database: u64,
        /// The checkpoint's number, from 1.
        pub sequence: u64,
        /// Pages in use or free.
        pub pages: u64,
        /// Where replay of the log begins.
        pub lsn: u64,
        /// The greatest commit timestamp given out.
        pub timestamp: u64,
        /// The next transaction's number.
        pub next_txn: u64,
        /// The next table's number.
        pub next_table: u64,
        /// The next segment's number.
        pub next_segment: u64,
        /// The catalog's tree.
        pub catalog: TreeRoot,
        /// The free pages, [`NO_FREE_LIST`] when there are none.
        pub free_list: RunRef,
    }
}

/// The free list of a file that has no free pages yet.
pub const NO_FREE_LIST: RunRef = RunRef { page: 0, stored: 0, raw: 0, crc: 0, codec: 0 };

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let mut out = (*MAGIC, (VERSION, PAGE_BYTES as u32)).to_wire();
        self.put(&mut out);
        out.resize(PAGE_BYTES - 4, 0);
        codec::crc(&out).put(&mut out);
        out
    }

    /// The record of a page that was read at byte `at`.
    ///
    /// # Errors
    /// `Corrupt` when it holds none, `Unavailable` when a newer version wrote it.
    pub fn decode(bytes: &[u8], at: u64) -> KernelResult<Meta> {
        let mut reader = Reader::new(DATA_FILE, at, bytes);
        let wrong = |expected| Err(KernelError::corrupt(DATA_FILE, at, expected, "other bytes"));
        if reader.bytes(8)? != MAGIC {
            return wrong("a SochDB data file's magic");
        }
        let version = reader.u32()?;
        let crc = u32::from_le_bytes(bytes[PAGE_BYTES - 4..].try_into().expect("4 bytes"));
        if codec::crc(&bytes[..PAGE_BYTES - 4]) != crc {
            return wrong("a meta page whose checksum holds");
        }
        if VERSION < version {
            return Err(KernelError::unavailable(format!(
                "open {DATA_FILE}: format {version} is newer than this program's {VERSION}; use a newer sochdb"
            )));
        }
        let page_bytes = reader.u32()?;
        if version != VERSION || page_bytes as usize != PAGE_BYTES {
            return wrong("version 1 and pages of 4096 bytes");
        }
        let meta = Meta::take(&mut reader)?;
        meta.catalog.check(at)?;
        let fits = META_PAGES <= meta.pages && meta.lsn.is_multiple_of(8);
        if !fits || reader.bytes(PAGE_BYTES - 4 - 122)?.iter().any(|&b| b != 0) {
            return wrong("a meta page that makes sense");
        }
        Ok(meta)
    }

    /// Writes the record to its page. Not synced.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn write(&self, file: &dyn VfsFile) -> std::io::Result<()> {
        file.write_at(self.sequence % META_PAGES * PAGE_BYTES as u64, &self.encode())
    }

    /// Makes the record's page hold none. Not synced.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn wipe(&self, file: &dyn VfsFile) -> std::io::Result<()> {
        file.write_at(self.sequence % META_PAGES * PAGE_BYTES as u64, &[0; PAGE_BYTES])
    }

    /// The newest valid record of `file`.
    ///
    /// # Errors
    /// `Corrupt` when neither page is valid, `Unavailable` when a newer version wrote the file.
    pub fn read(file: &dyn VfsFile) -> KernelResult<Meta> {
        let mut found = [0, 1].map(|page| {
            let mut bytes = vec![0; PAGE_BYTES];
            let at = page * PAGE_BYTES as u64;
            match file.read_exact_at(at, &mut bytes) {
                Ok(()) => Meta::decode(&bytes, at),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(KernelError::corrupt(DATA_FILE, at, "a meta page", "the end of the file"))
                }
                Err(error) => Err(KernelError::io(format!("read {DATA_FILE}"), error)),
            }
        });
        found.sort_by_key(|meta| meta.as_ref().map_or(0, |meta| meta.sequence));
        let [older, newer] = found;
        match (older, newer) {
            // A page that cannot be read, or that a newer program wrote, may be the newest: never
            // fall back to the other one.
            (Err(error @ KernelError::Unavailable { .. }), _) => Err(error),
            (_, newer) => newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageRef;
    use crate::vfs::{DiskVfs, OpenMode, Vfs};
    use expect_test::expect;

    fn meta(sequence: u64) -> Meta {
        let catalog = TreeRoot { page: PageRef { page: 9, crc: 0xc0ffee }, height: 2, rows: 77 };
        let free_list = RunRef { page: 5, stored: 100, raw: 100, crc: 0xbeef, codec: 0 };
        let (database, pages, lsn, timestamp) = (0xdb, 40, 128, 6);
        let (next_txn, next_table, next_segment) = (8, 3, 2);
        #[rustfmt::skip]
        let meta = Meta {
            database, sequence, pages, lsn, timestamp, next_txn, next_table, next_segment, catalog, free_list,
        };
        meta
    }

    #[test]
    fn a_meta_page_has_these_bytes() {
        let bytes = meta(4).encode();
        assert!(bytes[122..PAGE_BYTES - 4].iter().all(|&byte| byte == 0), "padding is zero");
        let used = bytes[..122].iter().chain(&bytes[PAGE_BYTES - 4..]);
        let hex: Vec<_> = used.map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<_> = hex.chunks(16).map(|line| line.join(" ")).collect();
        expect![[r#"
            53 4f 43 48 44 42 0d 0a 01 00 00 00 00 10 00 00
            db 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00
            28 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00
            06 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00
            03 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00
            09 00 00 00 00 00 00 00 ee ff c0 00 02 4d 00 00
            00 00 00 00 00 05 00 00 00 00 00 00 00 64 00 00
            00 64 00 00 00 ef be 00 00 00 05 c0 48 10"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn the_newest_valid_page_counts() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = DiskVfs::new(dir.path());
        let file = vfs.open("data", OpenMode::Create).unwrap();
        meta(4).write(&*file).unwrap();
        meta(5).write(&*file).unwrap();
        assert_eq!(Meta::read(&*file).unwrap(), meta(5));
        for bit in 0..PAGE_BYTES * 8 {
            let mut byte = [0];
            let at = (PAGE_BYTES + bit / 8) as u64;
            file.read_at(at, &mut byte).unwrap();
            file.write_at(at, &[byte[0] ^ (1 << (bit % 8))]).unwrap();
            assert_eq!(Meta::read(&*file).unwrap(), meta(4), "bit {bit} of page 1 is flipped");
            file.write_at(at, &byte).unwrap();
        }
        file.write_at(0, &[0]).unwrap();
        assert_eq!(Meta::read(&*file).unwrap(), meta(5));
        file.write_at(PAGE_BYTES as u64, &[0]).unwrap();
        assert!(matches!(Meta::read(&*file), Err(KernelError::Corrupt { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = DiskVfs::new(dir.path());
        let file = vfs.open("data", OpenMode::Create).unwrap();
        let mut bytes = meta(4).encode();
        bytes[8] = 2;
        let crc = codec::crc(&bytes[..PAGE_BYTES - 4]);
        bytes[PAGE_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        file.write_at(0, &bytes).unwrap();
        meta(5).write(&*file).unwrap();
        let error = Meta::read(&*file).unwrap_err().to_string();
        assert!(error.contains("format 2 is newer than this program's 1"), "{error}");
    }
}
