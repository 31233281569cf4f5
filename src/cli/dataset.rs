//! The demo's rows: texts of WordNet with their sentence embeddings, inside the program itself.
//!
//! A text is a line of `wordnet-4k.*.jsonl`, its vector the row of the same number in the
//! `wordnet-4k.*.f16bin` beside it. Integers are little-endian, there is no padding:
//!
//! | offset | size | type | field   | meaning                                                     |
//! |-------:|-----:|------|---------|-------------------------------------------------------------|
//! |      0 |    8 | text | `magic` | `SOCHF16` and a line feed                                   |
//! |      8 |    4 | u32  | version | 1                                                           |
//! |     12 |    4 | u32  | `count` | how many vectors                                            |
//! |     16 |    4 | u32  | `dim`   | values in each                                              |
//! |     20 |    4 | u32  | `crc`   | CRC-32C of the 20 bytes before it and all bytes behind it   |
//! |     24 |    n | f16  | rows    | `count` times `dim` IEEE 754 half-precision values          |
//!
//! `data/README.md` says where texts and vectors come from and under which licence.

use half::f16;
use serde::Deserialize;
use sochdb::{Column, ColumnType, EncodingResult, Schema, Value};

const HEADER_BYTES: usize = 8 + 4 + 4 + 4 + 4;
const MAGIC: &[u8; 8] = b"SOCHF16\n";
const VERSION: u32 = 1;
const _: () = assert!(HEADER_BYTES == 24, "the table above says 24");

/// Values in each vector.
pub const DIM: u32 = 384;

/// One text with its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number in the full set.
    pub id: i64,
    /// The synset's words, a colon and its definition; for a query a sentence.
    pub text: String,
    /// The part of speech: n, v, a or r.
    pub pos: String,
    /// The lexicographer's file: `noun.food`, `verb.motion` and so on.
    pub lex: String,
    /// The synset's number in WordNet, with its part of speech before it.
    pub synset: String,
    /// What all-MiniLM-L6-v2 makes of the text: length 1 but for rounding.
    pub vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Line {
    id: i64,
    text: String,
    pos: String,
    lex: String,
    synset: String,
}

/// The 4,000 texts that are stored.
pub fn base() -> Vec<Entry> {
    let texts = include_str!("../../data/wordnet-4k.base.jsonl");
    let vectors = include_bytes!("../../data/wordnet-4k.base.f16bin");
    entries(texts, vectors).expect("the embedded data set is checked by a test")
}

/// The 100 sentences to look for: 50 definitions of words that are not stored, 50 usage examples.
pub fn queries() -> Vec<Entry> {
    let texts = include_str!("../../data/wordnet-4k.query.jsonl");
    let vectors = include_bytes!("../../data/wordnet-4k.query.f16bin");
    entries(texts, vectors).expect("the embedded data set is checked by a test")
}

fn entries(texts: &str, vectors: &[u8]) -> Result<Vec<Entry>, String> {
    let vectors = decode(vectors)?;
    let lines = texts.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>();
    let lines = lines.map_err(|error| error.to_string())?;
    if lines.len() != vectors.len() {
        return Err(format!("{} texts and {} vectors", lines.len(), vectors.len()));
    }
    let entry = |(line, vector)| {
        let Line { id, text, pos, lex, synset } = line;
        Entry { id, text, pos, lex, synset, vector }
    };
    Ok(lines.into_iter().zip(vectors).map(entry).collect())
}

fn decode(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let (header, rows) = bytes.split_at_checked(HEADER_BYTES).ok_or("shorter than its header")?;
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if &header[..8] != MAGIC {
        return Err("not a file of half-precision vectors".into());
    }
    let (version, count, dim, crc) = (number(8), number(12) as usize, number(16), number(20));
    if version != VERSION || dim != DIM {
        return Err(format!("version {version} with {dim} values a row, expected 1 and {DIM}"));
    }
    let row_bytes = dim as usize * 2;
    if count.checked_mul(row_bytes) != Some(rows.len()) {
        return Err(format!("{count} rows of {row_bytes} bytes, found {} bytes", rows.len()));
    }
    if crc32c::crc32c_append(crc32c::crc32c(&header[..20]), rows) != crc {
        return Err("the checksum does not hold".into());
    }
    let float = |pair: &[u8]| f16::from_le_bytes([pair[0], pair[1]]).to_f32();
    Ok(rows.chunks_exact(row_bytes).map(|row| row.chunks_exact(2).map(float).collect()).collect())
}

/// The columns of a table of entries. The key is (`lex`, `synset`), so a prefix is a lexicographer's
/// file; with `pass` it is (`pass`, `lex`, `synset`) and the set can be stored any number of times.
pub fn schema(with_pass: bool) -> EncodingResult<Schema> {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let mut columns = vec![
        column("lex", ColumnType::String),
        column("synset", ColumnType::String),
        column("id", ColumnType::Int64),
        column("pos", ColumnType::String),
        column("text", ColumnType::String),
        column("vector", ColumnType::Vector(DIM)),
    ];
    if !with_pass {
        return Schema::new(columns, &["lex", "synset"]);
    }
    columns.insert(0, column("pass", ColumnType::Int64));
    Schema::new(columns, &["pass", "lex", "synset"])
}

/// The position of the text among the columns of [`schema`] without `pass`; the vector follows it.
pub const TEXT_COLUMN: usize = 4;

/// An entry as a row of [`schema`].
pub fn row(entry: &Entry, pass: Option<i64>) -> Vec<Value> {
    let text = |text: &String| Value::String(text.clone());
    let columns = [
        text(&entry.lex),
        text(&entry.synset),
        Value::Int64(entry.id),
        text(&entry.pos),
        text(&entry.text),
        Value::Vector(entry.vector.clone()),
    ];
    pass.map(Value::Int64).into_iter().chain(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_embedded_set_is_whole() {
        let (base, queries) = (base(), queries());
        assert_eq!((base.len(), queries.len()), (4000, 100));
        assert!(base.iter().map(|entry| entry.id).eq(0..4000));
        for entry in base.iter().chain(&queries) {
            let length = entry.vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-3, "entry {} has the length {length}", entry.id);
        }
        let keys: BTreeSet<_> = base.iter().map(|entry| (&entry.lex, &entry.synset)).collect();
        assert_eq!(keys.len(), base.len(), "the key columns tell all rows apart");
    }

    #[test]
    fn entries_fit_their_schema() {
        let entry = &base()[0];
        for (pass, columns) in [(None, 6), (Some(3), 7)] {
            let schema = schema(pass.is_some()).unwrap();
            let row = row(entry, pass);
            assert_eq!(row.len(), columns);
            let (key, value) = (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap());
            assert_eq!(schema.decode(&key, &value).unwrap(), row);
        }
        assert_eq!(schema(false).unwrap().columns[TEXT_COLUMN].name, "text");
        assert_eq!(schema(false).unwrap().columns[TEXT_COLUMN + 1].name, "vector");
    }

    #[test]
    fn a_broken_vector_file_is_refused() {
        let good = include_bytes!("../../data/wordnet-4k.query.f16bin").to_vec();
        assert!(decode(&good).is_ok());
        assert!(decode(&good[..good.len() - 2]).is_err());
        assert!(decode(&good[..23]).is_err());
        for at in [0, 8, 12, 16, 20, 24, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(decode(&bad).is_err(), "a flipped bit in byte {at}");
        }
    }
}
