//! Checksums, varints, frames of the log, rows and keys.

use super::data::{self, order, schema};
use super::{Micro, Run};
use sochdb_encoding::codec::{self, Reader};
use sochdb_kernel::inspect::{FIRST_LSN, WalRecord, record};
use sochdb_kernel::{TableId, Timestamp};
use std::hint::black_box;

/// Rows that are encoded or decoded.
const ROWS: u64 = 100;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("bytes.crc-4-KiB", 16, || crc(4 << 10, 16)),
    Micro::new("bytes.crc-100-B", 100, || crc(100, 100)),
    Micro::new("bytes.varint-write", 1_000, varint_write),
    Micro::new("bytes.varint-read", 1_000, varint_read),
    Micro::new("log.frame-of-100-rows-write", 1, frame_write),
    Micro::new("log.frame-of-100-rows-read", 1, frame_read),
    Micro::new("rows.encode", ROWS, row_encode),
    Micro::new("rows.decode", ROWS, row_decode),
    Micro::new("rows.one-column", ROWS, row_column),
    Micro::new("rows.key-encode", ROWS, key_encode),
];

fn crc(bytes: usize, times: usize) -> Run {
    let text = data::json(bytes);
    Box::new(move || {
        for _ in 0..times {
            black_box(codec::crc(black_box(&text)));
        }
    })
}

/// Of one to five bytes.
fn numbers() -> impl Iterator<Item = u64> {
    (0..1_000u64).map(|number| number.wrapping_mul(0x9e37_79b9) >> (number % 5 * 7))
}

fn varint_write() -> Run {
    let (numbers, mut out) = (numbers().collect::<Vec<_>>(), Vec::with_capacity(16 << 10));
    Box::new(move || {
        out.clear();
        numbers.iter().for_each(|&number| codec::put_varint(&mut out, number));
        black_box(&out);
    })
}

fn varint_read() -> Run {
    let mut bytes = Vec::new();
    numbers().for_each(|number| codec::put_varint(&mut bytes, number));
    Box::new(move || {
        let mut reader = Reader::new("memory", 0, &bytes);
        for _ in 0..1_000 {
            black_box(reader.varint().expect("it was written so"));
        }
        reader.end().expect("that was all");
    })
}

fn frame_of(rows: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    let mut payload = 7u64.to_le_bytes().to_vec();
    for (key, value) in rows {
        WalRecord::Put { table: TableId(1), key, value }.encode(&mut payload);
    }
    WalRecord::Commit { timestamp: Timestamp(3), rows: rows.len() as u64 }.encode(&mut payload);
    record::encode_frame(out, FIRST_LSN, FIRST_LSN, &payload);
}

fn frame_write() -> Run {
    let (rows, mut out) = (data::rows(0, ROWS), Vec::new());
    Box::new(move || {
        out.clear();
        frame_of(&rows, &mut out);
        black_box(&out);
    })
}

fn frame_read() -> Run {
    let mut bytes = Vec::new();
    frame_of(&data::rows(0, ROWS), &mut bytes);
    Box::new(move || {
        let frame = record::decode_frame(&bytes, FIRST_LSN).expect("it was written so");
        let mut reader = Reader::new("memory", 0, frame.records);
        for _ in 0..=ROWS {
            black_box(WalRecord::decode(&mut reader).expect("it was written so"));
        }
        reader.end().expect("that was all");
    })
}

fn row_encode() -> Run {
    let (schema, rows) = (schema(), (0..ROWS).map(order).collect::<Vec<_>>());
    Box::new(move || {
        rows.iter().for_each(|row| drop(black_box(schema.encode_row(row).expect("a good row"))));
    })
}

fn row_decode() -> Run {
    let (schema, rows) = data::orders(ROWS, 1);
    Box::new(move || {
        for (key, value) in &rows {
            black_box(schema.decode(key, value).expect("it was written so"));
        }
    })
}

fn row_column() -> Run {
    let (schema, rows) = data::orders(ROWS, 1);
    let note = schema.columns.iter().position(|column| column.name == "note").expect("it has one");
    Box::new(move || {
        for (_, value) in &rows {
            black_box(schema.column(value, note).expect("it was written so"));
        }
    })
}

fn key_encode() -> Run {
    let (schema, rows) = (schema(), (0..ROWS).map(order).collect::<Vec<_>>());
    Box::new(move || {
        rows.iter().for_each(|row| drop(black_box(schema.encode_key(row).expect("a key"))));
    })
}
