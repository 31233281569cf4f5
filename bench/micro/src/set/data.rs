//! Rows, keys and texts that follow from their number, so that every run has the same.

use fastrand::Rng;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};

/// The key of row `number`: 24 bytes, in random order.
pub fn key(number: u64) -> Vec<u8> {
    // Multiplying by an odd number is a permutation.
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (u64::MAX >> 1);
    format!("user:{number:019}").into_bytes()
}

/// The value of row `number`: 100 bytes.
pub fn value(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    (0..100).map(|_| rng.alphanumeric() as u8).collect()
}

/// Keys and values.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// `count` rows from number `first` on.
pub fn rows(first: u64, count: u64) -> Rows {
    (first..first + count).map(|number| (key(number), value(number))).collect()
}

const WORDS: [&str; 32] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty",
    "knoll", "ledge", "marsh", "north", "ocean", "prairie", "quarry", "ridge", "shore", "tundra",
    "upland", "valley", "water", "yonder", "zephyr", "bridge", "castle", "desert", "forest",
    "garden", "harbour", "island",
];

/// Some words.
pub fn text(rng: &mut Rng) -> String {
    let words: Vec<&str> = (0..rng.usize(3..9)).map(|_| WORDS[rng.usize(0..WORDS.len())]).collect();
    words.join(" ")
}

/// About `bytes` bytes of lines of JSON, as an application logs them.
pub fn json(bytes: usize) -> Vec<u8> {
    let (mut rng, mut out) = (Rng::with_seed(7), String::new());
    while out.len() < bytes {
        let (id, text, price) = (rng.u32(..1_000_000), text(&mut rng), rng.u32(..10_000));
        let line = format!("{{\"id\":{id},\"note\":\"{text}\",\"price\":{price},\"paid\":true}}\n");
        out.push_str(&line);
    }
    out.truncate(bytes);
    out.into_bytes()
}

/// The columns of an order; `id` is the key.
pub fn schema() -> Schema {
    let columns = [
        ("id", ColumnType::Int64),
        ("at", ColumnType::Timestamp),
        ("status", ColumnType::Int64),
        ("price", ColumnType::Float64),
        ("country", ColumnType::String),
        ("note", ColumnType::String),
        ("paid", ColumnType::Bool),
    ];
    let column = |(name, kind): (&str, ColumnType)| {
        let nullable = name == "paid";
        Column { name: name.to_owned(), kind, nullable, default: None }
    };
    Schema::new(columns.into_iter().map(column).collect(), &["id"]).expect("a good schema")
}

/// Order `number`, in the order of the schema.
pub fn order(number: u64) -> Vec<Value> {
    let (mut rng, id) = (Rng::with_seed(number), number as i64);
    vec![
        Value::Int64(id),
        Value::Timestamp(1_735_689_600_000_000 + id * 1_000_000 + rng.i64(0..1_000_000)),
        Value::Int64(rng.i64(0..5)),
        Value::Float64(f64::from(rng.u32(..100_000)) / 100.0),
        Value::String(WORDS[rng.usize(0..WORDS.len())].to_owned()),
        Value::String(text(&mut rng)),
        if number.is_multiple_of(10) { Value::Null } else { Value::Bool(rng.bool()) },
    ]
}

/// The schema, and the first `count` orders as keys and values, every `step`-th.
pub fn orders(count: u64, step: usize) -> (Schema, Rows) {
    let schema = schema();
    let encode = |number| {
        let row = order(number);
        (schema.encode_key(&row).expect("a key"), schema.encode_row(&row).expect("a good row"))
    };
    let rows = (0..count).step_by(step).map(encode).collect();
    (schema, rows)
}
