//! A dump in binary: tables with their options, indexes and rows, in frames that are checked one by one.
//!
//! The file begins with a head of 12 bytes:
//!
//! | offset | size | type  | field     | meaning      |
//! |-------:|-----:|-------|-----------|--------------|
//! |      0 |    8 | bytes | `magic`   | `SOCHDUMP`   |
//! |      8 |    4 | u32   | `version` | 1            |
//!
//! Frames follow:
//!
//! | offset | size | type  | field    | meaning                                                            |
//! |-------:|-----:|-------|----------|--------------------------------------------------------------------|
//! |      0 |    4 | u32   | `crc`    | CRC-32C of every byte after it, the payload included               |
//! |      4 |    4 | u32   | `len`    | size of the payload in bytes, 0 to `PAYLOAD_BYTES_MAX`             |
//! |      8 |    8 | u64   | `number` | 0, 1, 2 and so on: no frame is lost, doubled or in another's place |
//! |     16 |    1 | u8    | `kind`   | as below                                                           |
//! |     17 |    n | bytes | payload  | as its kind says                                                   |
//!
//! | kind | name      | payload                                                                                |
//! |-----:|-----------|----------------------------------------------------------------------------------------|
//! |    1 | table     | name; storage, codec and schema, each behind a u8 that is 0 for none; settings; indexes |
//! |    2 | rows      | key, value; key, value and so on, in growing order of keys over all frames of the table |
//! |    3 | table end | u64 rows of the table                                                                  |
//! |    4 | end       | u64 tables of the dump                                                                 |
//!
//! Texts and bytes stand behind their length as a varint. Settings are a varint of how many there are, then names and
//! values; indexes are a varint of how many there are, then each one's name and settings. A schema is what
//! [`Schema::to_bytes`] gives. Integers are little-endian.
//!
//! Invariants:
//! 1. `table (rows* table-end)` repeats, then `end`, then nothing: a dump that is cut says so wherever it is cut.
//! 2. What a frame announces is allocated piece by piece while its bytes come, never at once.

use sochdb_encoding::codec::{Reader, crc, put_bytes, put_u32, put_u64, put_varint};
use sochdb_kernel::limits::{KEY_BYTES_MAX, TABLE_NAME_BYTES_MAX, VALUE_BYTES_MAX};
use sochdb_kernel::{KernelError, KernelResult, Schema, TableOptions};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// How a dump in binary begins.
pub const DUMP_MAGIC: &[u8; 8] = b"SOCHDUMP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 4 + 4 + 8 + 1;
const _: () = assert!(HEADER_BYTES == 17, "the table above says 17");
/// One row of the largest size with its lengths.
const PAYLOAD_BYTES_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + 64;
/// Rows are gathered into frames of about this size.
const FRAME_BYTES: usize = 256 << 10;
/// The most settings of a table or an index, and indexes of a table.
const ENTRIES_MAX: u64 = 10_000;
/// The longest name or value of a setting, and of a schema.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A table of a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpTable {
    /// Its full name.
    pub name: String,
    /// What it is made of.
    pub options: TableOptions,
    /// Its indexes: their names and settings, the column among them.
    pub indexes: Vec<(String, BTreeMap<String, String>)>,
}

/// Rows as pairs of key and value.
pub type DumpRows = Vec<(Vec<u8>, Vec<u8>)>;

/// What stands in a dump, in this order: a table, its rows, its end, and at last the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpItem {
    /// A table begins.
    Table(DumpTable),
    /// Some of its rows.
    Rows(DumpRows),
    /// It ends. The reader has counted its rows.
    TableEnd {
        /// All its rows.
        rows: u64,
    },
    /// The dump ends. The reader has counted its tables, and nothing follows.
    End {
        /// All its tables.
        tables: u64,
    },
}

/// Writes a dump.
pub struct DumpWriter<W> {
    out: W,
    number: u64,
    rows: Vec<u8>,
    rows_count: u64,
    tables: u64,
}

impl<W: Write> DumpWriter<W> {
    /// Begins a dump.
    ///
    /// # Errors
    /// Those of `out`, as of all methods.
    pub fn new(mut out: W) -> io::Result<DumpWriter<W>> {
        out.write_all(DUMP_MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        Ok(DumpWriter { out, number: 0, rows: Vec::new(), rows_count: 0, tables: 0 })
    }

    /// Begins a table.
    #[allow(clippy::missing_errors_doc, reason = "said once, at `new`")]
    pub fn table(&mut self, table: &DumpTable) -> io::Result<()> {
        self.tables += 1;
        self.rows_count = 0;
        let mut payload = Vec::new();
        put_bytes(&mut payload, table.name.as_bytes());
        let TableOptions { storage, codec, schema, settings } = &table.options;
        for name in [storage, codec] {
            put_option(&mut payload, name.as_ref().map(|name| name.as_bytes()));
        }
        put_option(&mut payload, schema.as_ref().map(Schema::to_bytes).as_deref());
        put_settings(&mut payload, settings);
        put_varint(&mut payload, table.indexes.len() as u64);
        for (name, settings) in &table.indexes {
            put_bytes(&mut payload, name.as_bytes());
            put_settings(&mut payload, settings);
        }
        self.frame(1, &payload)
    }

    /// Writes a row of the table; keys grow.
    #[allow(clippy::missing_errors_doc, reason = "said once, at `new`")]
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if !self.rows.is_empty() && FRAME_BYTES < self.rows.len() + key.len() + value.len() {
            self.flush_rows()?;
        }
        put_bytes(&mut self.rows, key);
        put_bytes(&mut self.rows, value);
        self.rows_count += 1;
        Ok(())
    }

    /// Ends the table.
    #[allow(clippy::missing_errors_doc, reason = "said once, at `new`")]
    pub fn table_end(&mut self) -> io::Result<()> {
        self.flush_rows()?;
        self.frame(3, &self.rows_count.to_le_bytes())
    }

    /// Ends the dump.
    #[allow(clippy::missing_errors_doc, reason = "said once, at `new`")]
    pub fn finish(mut self) -> io::Result<W> {
        self.frame(4, &self.tables.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_rows(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.rows);
        self.frame(2, &rows)?;
        rows.clear();
        self.rows = rows;
        Ok(())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
        put_u32(&mut frame, 0);
        put_u32(&mut frame, u32::try_from(payload.len()).expect("bounded by the largest row"));
        put_u64(&mut frame, self.number);
        frame.push(kind);
        frame.extend_from_slice(payload);
        let sum = crc(&frame[4..]);
        frame[..4].copy_from_slice(&sum.to_le_bytes());
        self.number += 1;
        self.out.write_all(&frame)
    }
}

fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn put_settings(out: &mut Vec<u8>, settings: &BTreeMap<String, String>) {
    put_varint(out, settings.len() as u64);
    for (name, value) in settings {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// Reads a dump, and believes nothing that is not checked.
pub struct DumpReader<R> {
    name: String,
    input: R,
    at: u64,
    number: u64,
    tables: u64,
    /// Rows of the table that has begun and not ended.
    open: Option<u64>,
    last_key: Option<Vec<u8>>,
    ended: bool,
}

impl<R: Read> DumpReader<R> {
    /// Reads the head of a dump that errors call `name`.
    ///
    /// # Errors
    /// `Corrupt` when it is none, or of a version that is not known; `Unavailable` when it cannot be read.
    pub fn new(name: &str, input: R) -> KernelResult<DumpReader<R>> {
        let (name, at, number, tables) = (name.to_owned(), 0, 0, 0);
        let (open, last_key, ended) = (None, None, false);
        let mut reader = DumpReader { name, input, at, number, tables, open, last_key, ended };
        let head = reader.bytes(DUMP_MAGIC.len() + 4)?;
        let (magic, version) = head.split_at(DUMP_MAGIC.len());
        if magic != DUMP_MAGIC {
            let found = magic.escape_ascii().to_string();
            return Err(reader.corrupt_at(0, "a dump, which begins with SOCHDUMP", found));
        }
        let version = u32::from_le_bytes(version.try_into().expect("four bytes"));
        if version != VERSION {
            let found = format!("version {version}");
            return Err(reader.corrupt_at(8, "version 1, or a newer sochdb", found));
        }
        Ok(reader)
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.at
    }

    /// What comes next; `None` behind the end.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written, says where; `Unavailable` when it cannot be read.
    #[allow(clippy::should_implement_trait, reason = "an error ends it")]
    pub fn next(&mut self) -> KernelResult<Option<DumpItem>> {
        if self.ended {
            return Ok(None);
        }
        let start = self.at;
        let mut frame = self.bytes(HEADER_BYTES)?;
        let mut fields = Reader::new(&self.name, start, &frame);
        let (sum, len, number, kind) =
            (fields.u32()?, fields.u32()? as usize, fields.u64()?, fields.u8()?);
        if PAYLOAD_BYTES_MAX < len {
            return Err(self.corrupt_at(start + 4, "the length of a frame", format!("{len}")));
        }
        frame.append(&mut self.bytes(len)?);
        let real = crc(&frame[4..]);
        if real != sum {
            let expected = format!("a frame whose checksum is {sum:08x}");
            return Err(self.corrupt_at(start, &expected, format!("{real:08x}")));
        }
        if number != self.number {
            let expected = format!("frame {}", self.number);
            return Err(self.corrupt_at(start + 8, &expected, format!("frame {number}")));
        }
        self.number += 1;
        self.item(kind, &frame[HEADER_BYTES..], start + HEADER_BYTES as u64).map(Some)
    }

    fn item(&mut self, kind: u8, payload: &[u8], at: u64) -> KernelResult<DumpItem> {
        match (kind, self.open) {
            (1, None) => {
                (self.open, self.last_key) = (Some(0), None);
                self.tables += 1;
                Ok(DumpItem::Table(table(&mut Reader::new(&self.name, at, payload))?))
            }
            (2, Some(count)) => {
                let rows = self.rows(payload, at)?;
                self.open = Some(count + rows.len() as u64);
                Ok(DumpItem::Rows(rows))
            }
            (3, Some(rows)) => {
                self.count(payload, at, rows, "rows of the table")?;
                self.open = None;
                Ok(DumpItem::TableEnd { rows })
            }
            (4, None) => {
                self.count(payload, at, self.tables, "tables")?;
                self.ended = true;
                if !self.some(1)?.is_empty() {
                    return Err(self.corrupt_at(self.at, "the end of the file", "more".into()));
                }
                Ok(DumpItem::End { tables: self.tables })
            }
            (kind, _) => {
                let expected = match self.open {
                    None => "a table or the end",
                    Some(_) => "rows or the end of the table",
                };
                Err(self.corrupt_at(at - 1, expected, format!("a frame of kind {kind}")))
            }
        }
    }

    fn rows(&mut self, payload: &[u8], at: u64) -> KernelResult<DumpRows> {
        let mut reader = Reader::new(&self.name, at, payload);
        let mut rows = DumpRows::new();
        while !reader.rest().is_empty() {
            let offset = reader.offset();
            let key = reader.prefixed(KEY_BYTES_MAX)?.to_vec();
            let value = reader.prefixed(VALUE_BYTES_MAX)?.to_vec();
            let before = rows.last().map(|(key, _)| key).or(self.last_key.as_ref());
            if before.is_some_and(|before| key <= *before) {
                let found = key.escape_ascii().to_string();
                return Err(self.corrupt_at(offset, "a key behind the one before", found));
            }
            rows.push((key, value));
        }
        self.last_key = rows.last().map(|(key, _)| key.clone()).or(self.last_key.take());
        Ok(rows)
    }

    fn count(&self, payload: &[u8], at: u64, real: u64, what: &str) -> KernelResult<()> {
        let mut reader = Reader::new(&self.name, at, payload);
        let said = reader.u64()?;
        reader.end()?;
        match said == real {
            true => Ok(()),
            false => Err(self.corrupt_at(at, &format!("{said} {what}"), format!("{real}"))),
        }
    }

    /// So many bytes, exactly.
    fn bytes(&mut self, count: usize) -> KernelResult<Vec<u8>> {
        let start = self.at;
        let bytes = self.some(count)?;
        match bytes.len() == count {
            true => Ok(bytes),
            false => {
                let found = format!("the end of the file at byte {}", self.at);
                Err(self.corrupt_at(start, &format!("{count} bytes"), found))
            }
        }
    }

    /// So many bytes, fewer at the end of the file.
    fn some(&mut self, count: usize) -> KernelResult<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(count as u64).read_to_end(&mut bytes);
        read.map_err(|error| KernelError::Unavailable {
            what: format!("reading {}", self.name),
            source: Some(error),
        })?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    fn corrupt_at(&self, at: u64, expected: &str, found: String) -> KernelError {
        KernelError::corrupt(&self.name, at, expected, found)
    }
}

fn table(reader: &mut Reader<'_>) -> KernelResult<DumpTable> {
    let name = text(reader, TABLE_NAME_BYTES_MAX)?;
    let storage = option(reader)?.map(|()| text(reader, TEXT_BYTES_MAX)).transpose()?;
    let codec = option(reader)?.map(|()| text(reader, TEXT_BYTES_MAX)).transpose()?;
    let schema = match option(reader)? {
        None => None,
        Some(()) => Some(Schema::from_bytes(reader.prefixed(TEXT_BYTES_MAX)?)?),
    };
    let settings = settings(reader)?;
    let options = TableOptions { storage, codec, schema, settings };
    let mut indexes = Vec::new();
    for _ in 0..entries(reader)? {
        indexes.push((text(reader, TEXT_BYTES_MAX)?, self::settings(reader)?));
    }
    reader.end()?;
    Ok(DumpTable { name, options, indexes })
}

fn option(reader: &mut Reader<'_>) -> KernelResult<Option<()>> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(())),
        other => Err(reader.corrupt("0 or 1", other.to_string()).into()),
    }
}

fn text(reader: &mut Reader<'_>, bytes_max: usize) -> KernelResult<String> {
    let bytes = reader.prefixed(bytes_max)?;
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    Ok(text.map_err(|error| reader.corrupt("UTF-8", error.to_string()))?)
}

fn entries(reader: &mut Reader<'_>) -> KernelResult<u64> {
    match reader.varint()? {
        count if count <= ENTRIES_MAX => Ok(count),
        count => Err(reader.corrupt("at most 10,000 entries", count.to_string()).into()),
    }
}

fn settings(reader: &mut Reader<'_>) -> KernelResult<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for _ in 0..entries(reader)? {
        let name = text(reader, TEXT_BYTES_MAX)?;
        if settings.last_key_value().is_some_and(|(last, _)| name <= *last) {
            return Err(reader.corrupt("a setting behind the one before", name).into());
        }
        settings.insert(name, text(reader, TEXT_BYTES_MAX)?);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
