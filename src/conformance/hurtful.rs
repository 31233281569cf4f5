//! Bytes, keys, values and numbers that hurt.

use fastrand::Rng;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_kernel::limits::KEY_BYTES_MAX;

/// A block of bytes, and what it is in words.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) words: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// The largest block that is tried.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Blocks of every size and kind: none, few and many bytes; alike, in runs, in periods, words, rows, without a pattern.
pub(super) fn blocks(rng: &mut Rng) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut add = |words: &'static str, bytes: Vec<u8>| blocks.push(Block { words, bytes });
    for size in
        [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 64, 127, 128, 255, 256, 257, 300]
    {
        add("zeros", vec![0; size]);
        add("bytes without a pattern", noise(rng, size));
        add("counted bytes", (0..size).map(|at| at as u8).collect());
    }
    for size in [4_095, 4_096, 65_535, 65_536, 65_537, 300_000, BLOCK_BYTES_MAX] {
        add("zeros", vec![0; size]);
        add("bytes of all ones", vec![0xff; size]);
        add("words", words(rng, size));
    }
    for size in [4_096, 70_000, BLOCK_BYTES_MAX] {
        add("bytes without a pattern", noise(rng, size));
        add("runs", runs(rng, size));
        add("rows of numbers", numbers(size));
    }
    for period in [2, 3, 4, 5, 7, 8, 16, 63, 255, 256, 4_097, 65_535, 65_536] {
        let pattern = noise(rng, period);
        add("a pattern again and again", pattern.iter().copied().cycle().take(140_000).collect());
    }
    let far = noise(rng, 90_000);
    add("two equal halves", [far.clone(), far].concat());
    blocks
}

/// Bytes without a pattern.
pub(super) fn noise(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    bytes
}

fn runs(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let run = rng.usize(1..600).min(size - bytes.len());
        bytes.extend(std::iter::repeat_n(rng.u8(..), run));
    }
    bytes
}

fn numbers(size: usize) -> Vec<u8> {
    let rows =
        (0_u64..).flat_map(|row| [row.to_le_bytes(), (row * row % 1009).to_le_bytes()].concat());
    rows.take(size).collect()
}

/// Text of some words.
pub(super) fn words(rng: &mut Rng, size: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "river",
        "stone",
        "under",
        "the",
        "a",
        "of",
        "light",
        "naïve",
        "große",
        "水",
        "window",
        "seventeen",
    ];
    let mut text = Vec::with_capacity(size + 16);
    while text.len() < size {
        text.extend_from_slice(WORDS[rng.usize(..WORDS.len())].as_bytes());
        text.push(b" \n,."[rng.usize(..4)]);
    }
    text.truncate(size);
    text
}

/// Keys of every length and kind.
pub(super) fn keys(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut keys = vec![
        vec![0],
        vec![0, 0],
        vec![0xff],
        vec![0xff; 8],
        b"a".to_vec(),
        b"a\0".to_vec(),
        b"a\0b".to_vec(),
        b"a!".to_vec(),
        b"a/b".to_vec(),
        b"../a".to_vec(),
        b"%s%n{}".to_vec(),
        b"\"quoted\", and 'so'".to_vec(),
        "große 水 \u{202e}".as_bytes().to_vec(),
        vec![0xc3, 0x28],
        vec![0xf0, 0x28, 0x8c, 0xbc],
        vec![b'k'; KEY_BYTES_MAX],
        vec![0; KEY_BYTES_MAX],
    ];
    keys.extend((0..16_u64).map(|number| number.to_be_bytes().to_vec()));
    keys.extend((0..16).map(|_| {
        let len = rng.usize(1..40);
        noise(rng, len)
    }));
    keys
}

/// Values of every length and kind.
pub(super) fn values(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut values = vec![
        Vec::new(),
        vec![0],
        vec![0xff; 100],
        b"tea".to_vec(),
        b"-1".to_vec(),
        b"9223372036854775808".to_vec(),
        b"NaN".to_vec(),
        b"null".to_vec(),
        b"{\"a\": [1, 2, {\"b\": \"c\"}]}".to_vec(),
        [b"[".repeat(500), b"]".repeat(500)].concat(),
        "große 水".as_bytes().to_vec(),
        vec![0xc3, 0x28, 0xff],
        words(rng, 60_000),
        vec![b'v'; 1 << 20],
    ];
    values.push(noise(rng, 5_000));
    values
}

/// A row of `schema`, whose values are as extreme as their types let them be.
pub(super) fn row(schema: &Schema, rng: &mut Rng) -> Vec<Value> {
    schema.columns.iter().map(|column| value(column, rng)).collect()
}

fn value(column: &Column, rng: &mut Rng) -> Value {
    if column.nullable && rng.u8(..4) == 0 {
        return Value::Null;
    }
    match column.kind {
        ColumnType::Bool => Value::Bool(rng.bool()),
        ColumnType::Int64 => Value::Int64(int(rng)),
        ColumnType::Timestamp => Value::Timestamp(int(rng)),
        ColumnType::Float64 => Value::Float64(float(rng)),
        ColumnType::String => Value::String(text(rng)),
        ColumnType::Bytes => {
            let len = [0, 1, 8, 300][rng.usize(..4)];
            Value::Bytes(noise(rng, len))
        }
        ColumnType::Vector(dim) => {
            let number = |rng: &mut Rng| match rng.u8(..8) {
                0 => 0.0,
                1 => f32::MIN_POSITIVE,
                2 => 1e18,
                _ => rng.f32() * 2.0 - 1.0,
            };
            Value::Vector((0..dim).map(|_| number(rng)).collect())
        }
    }
}

/// A number that is small, or at the end of the range.
pub(super) fn int(rng: &mut Rng) -> i64 {
    match rng.u8(..6) {
        0 => [i64::MIN, i64::MAX, 0, -1][rng.usize(..4)],
        1 => rng.i64(..),
        _ => rng.i64(-50..50),
    }
}

/// A number of any size, or none.
pub(super) fn float(rng: &mut Rng) -> f64 {
    const HARD: [f64; 9] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
    ];
    match rng.u8(..3) {
        0 => HARD[rng.usize(..HARD.len())],
        _ => rng.i32(-40..40).into(),
    }
}

/// Text that is short, long, empty or strange.
pub(super) fn text(rng: &mut Rng) -> String {
    match rng.u8(..8) {
        0 => String::new(),
        1 => "\0".to_owned(),
        2 => "große 水 \u{202e}\u{10ffff}".to_owned(),
        3 => "x".repeat(2_000),
        4 => "\"a\"\\\n<b>&'".to_owned(),
        _ => format!("name {}", rng.u8(..20)),
    }
}

/// What may become of bytes that were stored: cut, grown, with other bits, or wholly others.
pub(super) fn damaged(stored: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = stored.to_vec();
    match rng.u8(..10) {
        0..3 => bytes.truncate(rng.usize(..=stored.len())),
        3..6 if !bytes.is_empty() => {
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
            }
        }
        6 if !bytes.is_empty() => {
            let (from, to) = (rng.usize(..bytes.len()), rng.usize(..bytes.len()));
            let byte = [0, 0xff, rng.u8(..)][rng.usize(..3)];
            bytes[from.min(to)..from.max(to)].fill(byte);
        }
        7 => {
            let more = rng.usize(1..100);
            bytes.extend(noise(rng, more));
        }
        8 => {
            let len = rng.usize(..300);
            bytes = noise(rng, len);
        }
        // The lengths and offsets of most formats lie at the beginning or at the end.
        _ if !bytes.is_empty() => {
            let end = bytes.len().min(16);
            let at = if rng.bool() { rng.usize(..end) } else { bytes.len() - 1 - rng.usize(..end) };
            bytes[at] = [0, 0x7f, 0x80, 0xff][rng.usize(..4)];
        }
        _ => {}
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let made = |seed| {
            let mut rng = Rng::with_seed(seed);
            let blocks: Vec<_> = blocks(&mut rng).into_iter().map(|block| block.bytes).collect();
            (blocks, keys(&mut rng), values(&mut rng))
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn rows_fit_their_schema() {
        let kinds = [
            ColumnType::Bool,
            ColumnType::Int64,
            ColumnType::Timestamp,
            ColumnType::Float64,
            ColumnType::String,
            ColumnType::Bytes,
            ColumnType::Vector(3),
        ];
        let column = |(number, kind): (usize, ColumnType)| Column {
            name: format!("c{number}"),
            kind,
            nullable: 1 < number,
            default: None,
        };
        let columns = kinds.into_iter().enumerate().map(column).collect();
        let schema = Schema::new(columns, &["c1"]).unwrap();
        let mut rng = Rng::with_seed(1);
        for _ in 0..200 {
            let row = row(&schema, &mut rng);
            schema.encode_key(&row).unwrap();
            schema.encode_row(&row).unwrap();
        }
    }
}
