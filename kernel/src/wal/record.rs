//! The log as bytes: a segment's header, a frame, and the records in a frame.
//!
//! A frame is the smallest thing that is wholly there or wholly gone after a crash. It carries records
//! of one transaction; a small transaction is one frame, a large one several, and only its COMMIT
//! record makes any of it count. The reader believes frames in order and stops at the first that fails.
//!
//! A segment file begins with a header of 64 bytes:
//!
//! | offset | size | type  | field      | meaning                                                |
//! |-------:|-----:|-------|------------|--------------------------------------------------------|
//! |      0 |    8 | bytes | `magic`    | `SOCHWAL` and a zero byte                              |
//! |      8 |    4 | u32   | `version`  | 1                                                      |
//! |     12 |    4 | u32   | `zero`     | 0                                                      |
//! |     16 |    8 | u64   | `database` | the identity that the data file's meta page carries    |
//! |     24 |    8 | u64   | `start`    | LSN of the first byte behind this header               |
//! |     32 |    8 | u64   | `synced`   | every byte below this LSN was on disk at that moment   |
//! |     40 |   20 | bytes | `zero`     | 0                                                      |
//! |     60 |    4 | u32   | `crc`      | CRC-32C of the 60 bytes before it                      |
//!
//! Behind it follow frames, each at a multiple of 8:
//!
//! | offset | size | type  | field    | meaning                                                  |
//! |-------:|-----:|-------|----------|----------------------------------------------------------|
//! |      0 |    4 | u32   | `crc`    | CRC-32C of every byte after it, padding included         |
//! |      4 |    4 | u32   | `len`    | payload size in bytes, 9 to `FRAME_PAYLOAD_BYTES_MAX`    |
//! |      8 |    8 | u64   | `lsn`    | the frame's first byte, counted over the log's life      |
//! |     16 |    8 | u64   | `synced` | every byte below this LSN was on disk when it was framed |
//! |     24 |    8 | u64   | `txn`    | the transaction whose records these are                  |
//! |     32 |  n-8 | bytes | records  | one or more records                                      |
//! |        |  0-7 | bytes | padding  | zero, up to the next multiple of 8                       |
//!
//! | record     | tag  | fields                                                      |
//! |------------|------|-------------------------------------------------------------|
//! | PUT        | 0x01 | table varint, key length varint, key, value length varint, value |
//! | DELETE     | 0x02 | table varint, key length varint, key                        |
//! | BEGIN      | 0x03 | the snapshot the transaction read at, u64                   |
//! | COMMIT     | 0x04 | its commit timestamp u64, its count of PUT and DELETE u64   |
//! | ABORT      | 0x05 | none: what came before of this transaction never counts     |
//! | CHECKPOINT | 0x06 | LSN u64 that replay begins at, timestamp u64 that was folded |
//!
//! Integers are little-endian; varints are LEB128.
//!
//! Invariants:
//! 1. `lsn` equals the position it was read at: strays and leftovers of a recycled file never replay.
//! 2. A payload is never empty, so a run of zero bytes is never a frame.
//! 3. `synced` never exceeds `lsn`: a broken frame below any later frame's `synced` had been on disk,
//!    so it is corruption and no torn tail.
//!
//! Source: the chain of checks follows the frame rules of SQLite's `wal.c`.

use crate::error::{KernelError, KernelResult};
use crate::kernel_api::{TableId, Timestamp, TransactionId};
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use sochdb_encoding::codec::{self, Reader, Wire};
use sochdb_encoding::wire_structs;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 4 + 4 + 8 + 8;
/// Frames begin at multiples of this.
pub const FRAME_ALIGN: usize = 8;
const MAGIC: &[u8; 8] = b"SOCHWAL\0";
const VERSION: u32 = 1;
const PAYLOAD_BYTES_MIN: usize = 8 + 1;
const _: () = assert!(FRAME_HEADER_BYTES == 24, "the table above says 24");
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(FRAME_ALIGN), "frames stay aligned");

/// One record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of this module explains each field")]
pub enum WalRecord<'a> {
    Put { table: TableId, key: &'a [u8], value: &'a [u8] },
    Delete { table: TableId, key: &'a [u8] },
    Begin { snapshot: Timestamp },
    Commit { timestamp: Timestamp, rows: u64 },
    Abort,
    Checkpoint { lsn: u64, timestamp: Timestamp },
}

impl<'a> WalRecord<'a> {
    /// Adds the record's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            WalRecord::Put { table, key, value } => {
                out.push(0x01);
                codec::put_varint(out, table.0);
                codec::put_bytes(out, key);
                codec::put_bytes(out, value);
            }
            WalRecord::Delete { table, key } => {
                out.push(0x02);
                codec::put_varint(out, table.0);
                codec::put_bytes(out, key);
            }
            WalRecord::Begin { snapshot } => (0x03u8, snapshot).put(out),
            WalRecord::Commit { timestamp, rows } => (0x04u8, (timestamp, rows)).put(out),
            WalRecord::Abort => out.push(0x05),
            WalRecord::Checkpoint { lsn, timestamp } => (0x06u8, (lsn, timestamp)).put(out),
        }
    }

    /// Takes the next record from `reader`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no record.
    pub fn decode(reader: &mut Reader<'a>) -> KernelResult<WalRecord<'a>> {
        let tag = reader.u8()?;
        Ok(match tag {
            0x01 => {
                let table = TableId(reader.varint()?);
                let key = reader.prefixed(KEY_BYTES_MAX)?;
                WalRecord::Put { table, key, value: reader.prefixed(VALUE_BYTES_MAX)? }
            }
            0x02 => {
                let table = TableId(reader.varint()?);
                WalRecord::Delete { table, key: reader.prefixed(KEY_BYTES_MAX)? }
            }
            0x03 => WalRecord::Begin { snapshot: Timestamp(reader.u64()?) },
            0x04 => WalRecord::Commit { timestamp: Timestamp(reader.u64()?), rows: reader.u64()? },
            0x05 => WalRecord::Abort,
            0x06 => {
                WalRecord::Checkpoint { lsn: reader.u64()?, timestamp: Timestamp(reader.u64()?) }
            }
            _ => Err(reader.corrupt("a record's tag, 1 to 6", format!("{tag:#04x}")))?,
        })
    }
}

/// How many bytes a frame with a payload of `payload_bytes` takes in the log.
pub fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGN)
}

/// Adds a frame to `out`, which ends at `lsn`. `payload` begins with the transaction's id.
pub fn encode_frame(out: &mut Vec<u8>, lsn: u64, synced: u64, payload: &[u8]) {
    assert!(
        (PAYLOAD_BYTES_MIN..=FRAME_PAYLOAD_BYTES_MAX).contains(&payload.len()),
        "a frame's payload of {} bytes is out of bounds",
        payload.len()
    );
    assert!(lsn.is_multiple_of(FRAME_ALIGN as u64), "a frame at {lsn}, which is not aligned");
    assert!(synced <= lsn, "a frame at {lsn} cannot know that {synced} is on disk");
    let start = out.len();
    codec::put_u32(out, 0);
    codec::put_u32(out, u32::try_from(payload.len()).expect("bounded by the assert above"));
    codec::put_u64(out, lsn);
    codec::put_u64(out, synced);
    out.extend_from_slice(payload);
    out.resize(start + frame_bytes(payload.len()), 0);
    let crc = codec::crc(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A frame that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Every byte below this LSN was on disk when it was framed.
    pub synced: u64,
    /// The transaction whose records these are.
    pub txn: TransactionId,
    /// One or more records.
    pub records: &'a [u8],
    /// How many bytes the frame takes in the log.
    pub bytes: usize,
}

/// The frame at the start of `bytes`, which were read at `lsn`.
///
/// # Errors
/// What is wrong with it.
pub fn decode_frame(bytes: &[u8], lsn: u64) -> Result<Frame<'_>, &'static str> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    if bytes.len() < FRAME_HEADER_BYTES + PAYLOAD_BYTES_MIN {
        return Err("too few bytes for a frame");
    }
    let len = u32_at(4) as usize;
    if !(PAYLOAD_BYTES_MIN..=FRAME_PAYLOAD_BYTES_MAX).contains(&len) {
        return Err("a length out of bounds");
    }
    if u64_at(8) != lsn {
        return Err("another position's frame");
    }
    let total = frame_bytes(len);
    if bytes.len() < total {
        return Err("a frame longer than its segment");
    }
    if codec::crc(&bytes[4..total]) != u32_at(0) {
        return Err("a checksum that does not hold");
    }
    let end = FRAME_HEADER_BYTES + len;
    if u64_at(16) > lsn || bytes[end..total].iter().any(|&byte| byte != 0) {
        return Err("fields that make no sense");
    }
    let txn = TransactionId(u64_at(24));
    Ok(Frame { synced: u64_at(16), txn, records: &bytes[32..end], bytes: total })
}

wire_structs! {
    /// A segment's header, without its checksum.
    #[derive(Debug, PartialEq, Eq)]
    struct SegmentHeader {
        magic: [u8; 8],
        version: u32,
        zero: u32,
        database: u64,
        start: u64,
        synced: u64,
        padding: [u8; 20],
    }
}

/// The header of a segment that begins at `start`.
pub fn encode_segment_header(database: u64, start: u64, synced: u64) -> Vec<u8> {
    let (magic, version, zero, padding) = (*MAGIC, VERSION, 0, [0; 20]);
    let header = SegmentHeader { magic, version, zero, database, start, synced, padding };
    let mut out = header.to_wire();
    codec::crc(&out).put(&mut out);
    assert_eq!(out.len(), SEGMENT_HEADER_BYTES, "the table above adds up");
    out
}

/// Checks a segment's header and returns its `synced` mark.
///
/// # Errors
/// `Corrupt` naming `file` and what is wrong; `Unavailable` when a newer version wrote it.
pub fn decode_segment_header(
    file: &str,
    bytes: &[u8],
    database: u64,
    start: u64,
) -> KernelResult<u64> {
    let mut reader = Reader::new(file, 0, bytes);
    let header = SegmentHeader::take(&mut reader)?;
    let wrong =
        |expected: String| Err(KernelError::corrupt(file, 0, expected, format!("{header:?}")));
    if header.magic != *MAGIC {
        return wrong("a log segment's magic".to_owned());
    }
    if reader.u32()? != codec::crc(&bytes[..SEGMENT_HEADER_BYTES - 4]) {
        return wrong("a header whose checksum holds".to_owned());
    }
    if VERSION < header.version {
        return Err(KernelError::unavailable(format!(
            "open {file}: log format {} is newer than this program's {VERSION}; use a newer sochdb",
            header.version
        )));
    }
    let synced = header.synced;
    let expected = encode_segment_header(database, start, synced);
    if expected[..SEGMENT_HEADER_BYTES - 4] != header.to_wire() || start < synced {
        return wrong(format!("version 1, database {database:#x}, start {start}"));
    }
    Ok(synced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        let lines = bytes.chunks(16).map(|line| {
            line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn sample(lsn: u64) -> Vec<u8> {
        let mut payload = 7u64.to_le_bytes().to_vec();
        WalRecord::Begin { snapshot: Timestamp(3) }.encode(&mut payload);
        WalRecord::Put { table: TableId(1), key: b"ada", value: b"countess" }.encode(&mut payload);
        WalRecord::Delete { table: TableId(300), key: b"bob" }.encode(&mut payload);
        WalRecord::Commit { timestamp: Timestamp(4), rows: 2 }.encode(&mut payload);
        let mut out = Vec::new();
        encode_frame(&mut out, lsn, 64, &payload);
        out
    }

    fn check(bytes: &[u8], expected: Expect) {
        expected.assert_eq(&hex(bytes));
    }

    #[test]
    fn a_frame_has_these_bytes() {
        check(
            &sample(128),
            expect![[r#"
            79 04 83 21 38 00 00 00 80 00 00 00 00 00 00 00
            40 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
            03 03 00 00 00 00 00 00 00 01 01 03 61 64 61 08
            63 6f 75 6e 74 65 73 73 02 ac 02 03 62 6f 62 04
            04 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00"#]],
        );
    }

    #[test]
    fn a_segment_header_has_these_bytes() {
        check(
            &encode_segment_header(0xdb, 128, 64),
            expect![[r#"
            53 4f 43 48 57 41 4c 00 01 00 00 00 00 00 00 00
            db 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00
            40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
            00 00 00 00 00 00 00 00 00 00 00 00 9d bd 3d 29"#]],
        );
    }

    #[test]
    fn a_frame_decodes_to_its_records() {
        let bytes = sample(128);
        let frame = decode_frame(&bytes, 128).unwrap();
        assert_eq!((frame.synced, frame.txn, frame.bytes), (64, TransactionId(7), bytes.len()));
        let mut reader = Reader::new("wal", 0, frame.records);
        let (mut tags, mut again) = (Vec::new(), Vec::new());
        while !reader.rest().is_empty() {
            tags.push(reader.rest()[0]);
            WalRecord::decode(&mut reader).unwrap().encode(&mut again);
        }
        assert_eq!(tags, [3, 1, 2, 4]);
        assert_eq!(again, frame.records);
    }

    #[test]
    fn any_flipped_bit_or_cut_of_a_frame_is_noticed() {
        let bytes = sample(128);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_frame(&flipped, 128).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(decode_frame(&bytes[..cut], 128).is_err(), "cut at {cut}");
        }
        assert!(decode_frame(&bytes, 136).is_err(), "a frame of another place");
    }

    #[test]
    fn any_flipped_bit_of_a_segment_header_is_noticed() {
        let bytes = encode_segment_header(0xdb, 128, 64);
        assert_eq!(decode_segment_header("f", &bytes, 0xdb, 128).unwrap(), 64);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_segment_header("f", &flipped, 0xdb, 128).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_frame(&bytes, 128);
            let _ = decode_segment_header("f", &bytes, 1, 128);
            let mut reader = Reader::new("wal", 0, &bytes);
            while WalRecord::decode(&mut reader).is_ok() {}
        }
    }
}
