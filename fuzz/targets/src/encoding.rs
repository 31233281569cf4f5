//! The crate `sochdb-encoding`: integers and lists, schemas, rows and keys.

use crate::allocation::bounded;
use crate::input::Input;
use sochdb_encoding::codec::{Reader, Wire};
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};

/// What decoding one item needs beside its result: mostly an error's text.
const CONSTANT: usize = 8 << 10;
/// A pair of empty strings is 2 bytes encoded and 48 in memory, in a list that doubles as it grows.
const PER_PAIR_BYTE: usize = 48;
/// A column is 5 bytes encoded at least, and about a hundred in memory, in a list that doubles.
const PER_COLUMN_BYTE: usize = 48;

/// Takes items as the first byte says; what a varint was read from is the one way to write it.
pub fn codec(data: &[u8]) {
    let mut input = Input(data);
    let kinds = input.bytes(16);
    bounded(data.len(), CONSTANT + PER_PAIR_BYTE * data.len(), || {
        let mut reader = Reader::new("fuzz", u64::MAX - 5, input.0);
        for kind in kinds {
            let before = reader.rest();
            let written = match kind % 9 {
                0 => u8::take(&mut reader).map(|item| item.to_wire()),
                1 => u16::take(&mut reader).map(|item| item.to_wire()),
                2 => u32::take(&mut reader).map(|item| item.to_wire()),
                3 => u64::take(&mut reader).map(|item| item.to_wire()),
                4 => String::take(&mut reader).map(|item| item.to_wire()),
                5 => <Option<(u64, String)> as Wire>::take(&mut reader).map(|item| item.to_wire()),
                6 => Vec::<(String, String)>::take(&mut reader).map(|item| item.to_wire()),
                7 => Vec::<u8>::take(&mut reader).map(|item| item.to_wire()),
                _ => reader.prefixed(100).map(|bytes| bytes.to_vec().to_wire()),
            };
            let used = before.len() - reader.rest().len();
            match written {
                Ok(written) => assert_eq!(written, before[..used], "one value, one encoding"),
                Err(_) => return,
            }
        }
        let _ = reader.end();
    });
}

pub fn codec_seeds() -> Vec<Vec<u8>> {
    let mut seed = vec![4, 6, 7, 8, 5, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    "name".to_owned().put(&mut seed);
    vec![("a".to_owned(), "b".to_owned()); 3].put(&mut seed);
    vec![1u8, 2, 3].put(&mut seed);
    vec![7u8; 99].put(&mut seed);
    Some((9u64, "ten".to_owned())).put(&mut seed);
    seed.extend_from_slice(&[0xff; 30]);
    vec![seed]
}

/// A schema that decodes is written with the same bytes.
pub fn schema(data: &[u8]) {
    bounded(data.len(), CONSTANT + PER_COLUMN_BYTE * data.len(), || {
        if let Ok(schema) = Schema::from_bytes(data) {
            schema.check().expect("what was decoded was checked");
            assert_eq!(schema.to_bytes(), data, "one schema, one encoding");
        }
    });
}

fn schemas() -> Vec<Schema> {
    let kinds = [
        ColumnType::Int64,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Bool,
        ColumnType::Float64,
        ColumnType::Timestamp,
        ColumnType::Vector(3),
    ];
    let column = |(number, kind): (usize, &ColumnType)| Column {
        name: format!("c{number}"),
        kind: *kind,
        nullable: number > 2,
        default: (number == 4).then_some(Value::Float64(1.5)),
    };
    let columns: Vec<_> = kinds.iter().enumerate().map(column).collect();
    let keys: [&[&str]; 3] = [&["c0"], &["c1", "c0"], &["c2", "c1", "c0"]];
    let made = keys.map(|key| Schema::new(columns.clone(), key));
    made.into_iter().map(|schema| schema.expect("a schema as users write it")).collect()
}

pub fn schema_seeds() -> Vec<Vec<u8>> {
    schemas().iter().map(Schema::to_bytes).collect()
}

fn rows() -> Vec<Vec<Value>> {
    let strings = ["", "a\0b", "soch"];
    let row = |number: i64| {
        vec![
            Value::Int64(number - 1),
            Value::String(strings[number as usize].to_owned()),
            Value::Bytes(vec![0; number as usize]),
            if number == 0 { Value::Null } else { Value::Bool(true) },
            Value::Float64(-0.0),
            Value::Timestamp(number << 40),
            if number == 1 { Value::Null } else { Value::Vector(vec![1.0, f32::NAN, -2.0]) },
        ]
    };
    (0..3).map(row).collect()
}

/// A row that decodes is written with the same bytes (as long as no column was added since), and each
/// of its columns alone is what it is among the others.
pub fn row(data: &[u8]) {
    let mut input = Input(data);
    let schema = {
        let bytes = input.u16();
        let bytes = input.bytes(usize::from(bytes));
        Schema::from_bytes(bytes)
    };
    let Ok(schema) = schema else { return };
    let key = input.short();
    let value = input.0;
    // Every column that the row does not have may be filled with a default of the schema.
    bounded(data.len(), CONSTANT + data.len() * 64, || {
        let Ok(row) = schema.decode(key, value) else {
            (0..8).for_each(|position| drop(schema.column(value, position)));
            return;
        };
        for (position, whole) in row.iter().enumerate() {
            if let Ok(column) = schema.column(value, position) {
                assert!(same(&column, whole), "column {position}: {column:?}, not {whole:?}");
            }
        }
        assert_eq!(schema.encode_key(&row).expect("it was a key"), key, "one key, one encoding");
        let again = schema.encode_row(&row).expect("it was a row");
        let back = schema.decode(key, &again).expect("just written");
        assert!(back.iter().zip(&row).all(|(a, b)| same(a, b)), "{back:?}, not {row:?}");
        if again.len() == value.len() && again[1..3] == value[1..3] {
            assert_eq!(again, value, "one row, one encoding");
        }
    });
}

/// Equality that knows NaN.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float64(a), Value::Float64(b)) => a.to_bits() == b.to_bits(),
        (Value::Vector(a), Value::Vector(b)) => {
            a.iter().map(|a| a.to_bits()).eq(b.iter().map(|b| b.to_bits()))
        }
        _ => a == b,
    }
}

pub fn row_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for schema in schemas() {
        for row in rows() {
            let bytes = schema.to_bytes();
            let key = schema.encode_key(&row).expect("a key");
            let mut seed = u16::try_from(bytes.len()).expect("short").to_le_bytes().to_vec();
            seed.extend_from_slice(&bytes);
            seed.push(u8::try_from(key.len()).expect("short"));
            seed.extend_from_slice(&key);
            seed.extend_from_slice(&schema.encode_row(&row).expect("a row"));
            seeds.push(seed);
        }
    }
    seeds
}

/// Keys have the order of their values, and decode to them.
pub fn key(data: &[u8]) {
    let mut input = Input(data);
    let kinds = [
        ColumnType::Bool,
        ColumnType::Int64,
        ColumnType::Float64,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Timestamp,
    ];
    let kinds: Vec<_> =
        (0..1 + input.u8() % 3).map(|_| kinds[usize::from(input.u8()) % 6]).collect();
    let names: Vec<_> = (0..kinds.len()).map(|number| format!("c{number}")).collect();
    let column = |(name, kind): (&String, &ColumnType)| Column {
        name: name.clone(),
        kind: *kind,
        nullable: false,
        default: None,
    };
    let columns = names.iter().zip(&kinds).map(column).collect();
    let key: Vec<_> = names.iter().map(String::as_str).collect();
    let schema = Schema::new(columns, &key).expect("a schema as users write it");
    let mut row = || kinds.iter().map(|kind| value(*kind, &mut input)).collect::<Vec<_>>();
    let (a, b) = (row(), row());
    bounded(data.len(), CONSTANT, || {
        let (Ok(key_a), Ok(key_b)) = (schema.encode_key(&a), schema.encode_key(&b)) else { return };
        let order = a.iter().zip(&b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
        let order = order.unwrap_or(std::cmp::Ordering::Equal);
        assert_eq!(key_a.cmp(&key_b), order, "{a:?} and {b:?}");
        assert!(!key_b.starts_with(&key_a) || key_a == key_b, "{a:?} begins {b:?}");
        let value = schema.encode_row(&a).expect("no columns but the key's");
        let back = schema.decode(&key_a, &value).expect("just written");
        assert!(back.iter().zip(&a).all(|(a, b)| compare(a, b).is_eq()), "{back:?}, not {a:?}");
    });
    let value = schema.encode_row(&a).unwrap_or_default();
    bounded(data.len(), CONSTANT, || drop(schema.decode(data, &value)));
}

fn value(kind: ColumnType, input: &mut Input<'_>) -> Value {
    match kind {
        ColumnType::Bool => Value::Bool(input.u8() & 1 == 1),
        ColumnType::Int64 => Value::Int64(input.u64() as i64),
        ColumnType::Float64 => Value::Float64(f64::from_bits(input.u64())),
        ColumnType::String => Value::String(String::from_utf8_lossy(input.short()).into_owned()),
        ColumnType::Bytes => Value::Bytes(input.short().to_vec()),
        _ => Value::Timestamp(input.u64() as i64),
    }
}

/// The order of values, in which -0.0 and 0.0 are one.
fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int64(a), Value::Int64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b).expect("no key holds NaN"),
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        _ => panic!("{a:?} and {b:?} are of two types"),
    }
}

pub fn key_seeds() -> Vec<Vec<u8>> {
    vec![
        [&[2u8, 3, 4, 1][..], &[3], b"a\0b", &[2], b"\0\xff", &[5; 8], &[3], b"a\0c"].concat(),
        [&[0u8, 2][..], &1.5f64.to_bits().to_le_bytes(), &(-0.0f64).to_bits().to_le_bytes()]
            .concat(),
    ]
}
