//! How far an import is, kept in the database so that it can be gone on with: committed with the rows themselves.
//!
//! A table of the host's own, `sochdb.imports`, which is there only while an import is unfinished. A row is one
//! [`Record`]:
//!
//! | where | offset | size | type | field   | meaning                                                          |
//! |-------|-------:|-----:|------|---------|------------------------------------------------------------------|
//! | key   |      0 |   64 | text | source  | the BLAKE3 hash of the file's path, in hex                       |
//! | key   |     64 |    n | text | table   | the table's name                                                 |
//! | value |      0 |    4 | u32  | version | 1, little-endian                                                 |
//! | value |      4 |    n | text | record  | JSON in UTF-8, at most 65,536 bytes                              |
//!
//! 1. A record's position is behind exactly the rows that are committed.
//! 2. The last transaction of an import removes its record, and the table with the last record.
//! 3. A record whose table was dropped since means nothing.
//!
//! The source is the same if its length, the time it was changed and the hash of its first MiB are. An import
//! whose rows fit one transaction, and one from standard input, has no record.

use super::row::Position;
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::screen::counted;
use serde::{Deserialize, Serialize};
use sochdb::{Database, Kernel, KernelError, KernelResult, TableOptions, Transaction};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The table of records.
const TABLE: &str = "sochdb.imports";
const VERSION: u32 = 1;
const AT_RECORD: usize = 4;
const RECORD_BYTES_MAX: usize = 64 << 10;
/// So much of a file is hashed to know it again.
const HEAD_BYTES: u64 = 1 << 20;

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was changed, in microseconds since 1970; 0 where that is not known.
    pub changed_us: u64,
    /// The BLAKE3 hash of its first MiB, in hex.
    pub head: String,
}

/// An import that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What is imported.
    pub source: Identity,
    /// The number of the table that it goes to.
    pub table_id: u64,
    /// How far it is.
    pub position: Position,
    /// Rows that were written.
    pub rows: u64,
    /// Where rejected rows were set aside.
    pub rejects: Option<PathBuf>,
    /// How long that file was, in bytes.
    pub rejects_bytes: u64,
    /// Rows that were set aside.
    pub rejected: u64,
}

impl Identity {
    /// What the file at `path` is known by; `None` for what is no file, such as standard input.
    pub fn of(path: &Path) -> Outcome<Option<Identity>> {
        let cannot = |error| Failure::io(format!("cannot read {}", path.display()), &error);
        if path == Path::new("-") {
            return Ok(None);
        }
        let meta = path.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Ok(None);
        }
        let mut head = Vec::new();
        let file = File::open(path).map_err(cannot)?;
        file.take(HEAD_BYTES).read_to_end(&mut head).map_err(cannot)?;
        let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Some(Identity {
            path: path.canonicalize().map_err(cannot)?,
            bytes: meta.len(),
            changed_us: changed.map_or(0, |since| since.as_micros() as u64),
            head: blake3::hash(&head).to_hex().to_string(),
        }))
    }

    fn key(&self, table: &str) -> Vec<u8> {
        let path = self.path.as_os_str().as_encoded_bytes();
        format!("{}{table}", blake3::hash(path).to_hex()).into_bytes()
    }
}

impl Record {
    fn encode(&self) -> KernelResult<Vec<u8>> {
        let text = serde_json::to_vec(self)
            .map_err(|error| KernelError::invalid(format!("no record of an import: {error}")))?;
        let (what, bound) = ("the size of a record of an import in bytes", RECORD_BYTES_MAX as u64);
        match text.len() <= RECORD_BYTES_MAX {
            true => Ok([&VERSION.to_le_bytes()[..], &text].concat()),
            false => Err(KernelError::Limit { what, got: text.len() as u64, bound }),
        }
    }

    fn decode(row: &[u8]) -> KernelResult<Record> {
        let corrupt = |at: usize, expected: &str, found: String| {
            KernelError::corrupt(&format!("the table {TABLE}"), at as u64, expected, found)
        };
        let Some((version, text)) = row.split_first_chunk::<AT_RECORD>() else {
            return Err(corrupt(0, "4 bytes and a record", format!("{} bytes", row.len())));
        };
        match u32::from_le_bytes(*version) {
            VERSION => {}
            other => return Err(corrupt(0, "version 1", format!("version {other}"))),
        }
        if RECORD_BYTES_MAX < text.len() {
            let found = format!("{} bytes", text.len());
            return Err(corrupt(AT_RECORD, "a record of at most 65,536 bytes", found));
        }
        serde_json::from_slice(text)
            .map_err(|error| corrupt(AT_RECORD, "a record in JSON", error.to_string()))
    }

    /// What is known of an import of `source` into `table`.
    ///
    /// # Errors
    /// `Corrupt` when the record is not what was written.
    pub fn find(db: &Database, source: &Identity, table: &str) -> KernelResult<Option<Record>> {
        let tx = Kernel::begin_read(db)?;
        if !tx.tables()?.iter().any(|info| info.name == TABLE) {
            return Ok(None);
        }
        tx.get(TABLE, &source.key(table))?.map(|row| Record::decode(&row)).transpose()
    }

    /// Refuses to go on with it when `source` is not the file that it began with.
    pub fn check_source(&self, source: &Identity) -> Outcome {
        if *source == self.source {
            return Ok(());
        }
        let text = format!("{} has changed since its import began", source.path.display());
        Err(Failure::invalid(text)
            .help("without --resume the whole file is imported: rows that are there are replaced"))
    }

    /// What to say when the same file is to be imported from its beginning.
    pub fn in_the_way(&self, table: &str) -> Failure {
        let (path, rows) = (self.source.path.display(), counted(self.rows, "row"));
        let text =
            format!("an import of {path} into table '{table}' ended after {rows}, unfinished");
        Failure::new(Exit::Invalid, text).help(
            "--resume goes on with it, --restart begins anew: rows that are there are replaced",
        )
    }

    /// Keeps it, in the transaction that writes the rows before its position.
    pub fn keep(&self, tx: &mut Transaction, table: &str) -> KernelResult<()> {
        tx.put(TABLE, &self.source.key(table), &self.encode()?)
    }

    /// Forgets it, in the transaction that writes the last rows.
    pub fn forget(&self, tx: &mut Transaction, table: &str) -> KernelResult<()> {
        tx.delete(TABLE, &self.source.key(table))?;
        let is_last = tx.scan(TABLE, ..)?.next().transpose()?.is_none();
        if is_last { tx.drop_table(TABLE) } else { Ok(()) }
    }
}

/// Makes the table of records if there is none.
///
/// # Errors
/// As a commit.
pub fn prepare(db: &Database) -> KernelResult<()> {
    Kernel::run(db, |tx| match tx.tables()?.iter().any(|info| info.name == TABLE) {
        true => Ok(()),
        false => tx.create_table(TABLE, TableOptions::default()),
    })
}

/// Why an import cannot be gone on with.
pub fn nothing_to_resume(file: &Path, table: &str) -> Failure {
    let text = format!("no import of {} into table '{table}' is unfinished", file.display());
    Failure::new(Exit::NotFound, text).help("leave --resume out: the whole file is imported then")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            source: Identity { path: "/a/b.csv".into(), bytes: 7, changed_us: 8, head: "9".into() },
            table_id: 3,
            position: Position { rows: 1, bytes: 2, lines: 3 },
            rows: 4,
            rejects: Some("bad.jsonl".into()),
            rejects_bytes: 5,
            rejected: 6,
        }
    }

    #[test]
    fn a_record_is_these_bytes() {
        let row = record().encode().unwrap();
        let text = concat!(
            r#"{"source":{"path":"/a/b.csv","bytes":7,"changed_us":8,"head":"9"},"table_id":3,"#,
            r#""position":{"rows":1,"bytes":2,"lines":3},"rows":4,"rejects":"bad.jsonl","#,
            r#""rejects_bytes":5,"rejected":6}"#
        );
        assert_eq!(row, [&[1, 0, 0, 0], text.as_bytes()].concat());
        assert_eq!(Record::decode(&row).unwrap(), record());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let row = record().encode().unwrap();
        for length in 0..row.len() {
            assert!(Record::decode(&row[..length]).is_err(), "{length}");
        }
        let newer = [&2_u32.to_le_bytes(), &row[4..]].concat();
        assert!(Record::decode(&newer).unwrap_err().to_string().contains("version 2"));
        let more = String::from_utf8(row[4..].to_vec()).unwrap().replace("\"rows\":4", "\"x\":4");
        assert!(Record::decode(&[&row[..4], more.as_bytes()].concat()).is_err());
    }

    #[test]
    fn a_file_is_known_again_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        std::fs::write(&path, "id\n1\n").unwrap();
        let identity = Identity::of(&path).unwrap().unwrap();
        assert_eq!(Identity::of(&path).unwrap().unwrap(), identity);
        let begun = Record { source: identity, ..record() };
        assert!(begun.check_source(&Identity::of(&path).unwrap().unwrap()).is_ok());
        std::fs::write(&path, "id\n2\n").unwrap();
        let changed = Identity::of(&path).unwrap().unwrap();
        assert!(begun.check_source(&changed).unwrap_err().message.contains("has changed"));
        assert!(Identity::of(Path::new("-")).unwrap().is_none());
        assert!(Identity::of(directory.path()).unwrap().is_none());
    }
}
