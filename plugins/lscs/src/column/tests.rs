//! What goes into a chunk comes out of it, filters agree with a plain evaluation, altered bytes do no harm,
//! and the bytes of every encoding are pinned.

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sochdb_guest::encoding::columns::ColumnBatch;
use sochdb_guest::encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_guest::encoding::select::{Comparison, Condition};

use super::*;
use crate::Result;

const STRING_BYTES_MAX: usize = 1 << 20;
const COMPARISONS: [Comparison; 10] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
    Comparison::In,
    Comparison::StartsWith,
    Comparison::IsNull,
    Comparison::IsNotNull,
];

fn column(kind: ColumnType, values: &[Value]) -> ColumnBuilder {
    let mut column = ColumnBuilder::new(kind);
    values.iter().for_each(|value| column.push(value).unwrap());
    column
}

fn open(kind: ColumnType, rows: usize, bytes: &[u8]) -> Result<Chunk<'_>> {
    Chunk::open(kind, rows, Reader::new("segments/7", 0, bytes), STRING_BYTES_MAX)
}

/// The value of one row, read on its own.
fn get(chunk: &Chunk<'_>, kind: ColumnType, row: usize) -> Value {
    let mut scratch = b"left over".to_vec();
    let bytes = |bytes: &[u8]| bytes.to_vec();
    let value = match kind {
        ColumnType::Bool => chunk.boolean(row).map(Value::Bool),
        ColumnType::Int64 => chunk.int(row).map(Value::Int64),
        ColumnType::Timestamp => chunk.int(row).map(Value::Timestamp),
        ColumnType::Float64 => chunk.float(row).map(Value::Float64),
        ColumnType::Bytes => chunk.bytes(row, &mut scratch).map(bytes).map(Value::Bytes),
        ColumnType::String => chunk
            .bytes(row, &mut scratch)
            .map(|text| Value::String(String::from_utf8_lossy(text).into())),
        ColumnType::Vector(_) => chunk.vector(row).map(|bytes| {
            let floats = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four));
            Value::Vector(floats.collect())
        }),
    };
    value.unwrap_or(Value::Null)
}

/// The values of a column, floats by their bits so that NaN equals itself.
fn values(column: ColumnBuilder) -> Vec<String> {
    let rows = column.rows();
    let batch = ColumnBatch::new(rows, vec![column], None).unwrap();
    (0..rows).map(|row| text(&batch.value(0, row))).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Float64(float) => format!("{:016x}", float.to_bits()),
        Value::Vector(floats) => {
            format!("{:x?}", floats.iter().map(|f| f.to_bits()).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

/// Encodes and reads back in every way. Returns the chunk.
fn round_trip(kind: ColumnType, all: &[Value], codec_follows: bool) -> Vec<u8> {
    let column = column(kind, all);
    let mut encoder = Encoder::new(codec_follows);
    let bytes = encoder.encode(&column);
    let expected: Vec<String> = all.iter().map(text).collect();
    // What an encoder keeps may change the bytes of the next chunk, not its values.
    for bytes in [&bytes, &encoder.encode(&column)] {
        let chunk = open(kind, all.len(), bytes).unwrap();
        let rows: Vec<String> = (0..all.len()).map(|row| text(&get(&chunk, kind, row))).collect();
        assert_eq!(rows, expected, "row by row, {}", chunk.encoding());
        let nulls = all.iter().filter(|value| **value == Value::Null).count();
        assert_eq!(chunk.nulls(), nulls);
        let mut out = ColumnBuilder::new(kind);
        chunk.decode(0..all.len(), &mut out).unwrap();
        assert_eq!(values(out), expected, "all at once, {}", chunk.encoding());
        for (start, end) in
            [(0, 0), (1, all.len()), (63, 65), (all.len() / 3, all.len() / 2 + 1), (300, 700)]
        {
            let (start, end) = (start.min(all.len()), end.clamp(start.min(all.len()), all.len()));
            let mut out = ColumnBuilder::new(kind);
            chunk.decode(0..start.min(2), &mut out).unwrap();
            chunk.decode(start..end, &mut out).unwrap();
            let part = [&expected[..start.min(2)], &expected[start..end]].concat();
            assert_eq!(values(out), part, "{start}..{end}, {}", chunk.encoding());
        }
        for step in [1, 3, 50] {
            let rows: Vec<u32> = (0..all.len() as u32).step_by(step).chain([0]).collect();
            let mut out = ColumnBuilder::new(kind);
            chunk.decode_selected(&rows, &mut out).unwrap();
            let picked: Vec<String> =
                rows.iter().map(|row| expected[*row as usize].clone()).collect();
            assert_eq!(values(out), picked, "every {step}, {}", chunk.encoding());
        }
    }
    bytes
}

/// Whether every filter made of `operands` says what [`Condition`] says.
fn filters_agree(kind: ColumnType, all: &[Value], bytes: &[u8], operands: &[Value]) {
    let chunk = open(kind, all.len(), bytes).unwrap();
    let column = Column { name: "c".into(), kind, nullable: true, default: None };
    let id = Column { name: "id".into(), kind: ColumnType::Int64, nullable: false, default: None };
    let schema = Schema::new(vec![id, column], &["id"]).unwrap();
    for comparison in COMPARISONS {
        let with: Vec<&[Value]> = match comparison {
            Comparison::IsNull | Comparison::IsNotNull => vec![&[]],
            Comparison::In => {
                vec![&[], operands, &operands[..1], &operands[..2.min(operands.len())]]
            }
            _ => operands.chunks(1).collect(),
        };
        for values in with {
            let Ok(condition) = Condition::at(&schema, 1, comparison, values.to_vec()) else {
                continue;
            };
            let filter = Filter::new(comparison, values).unwrap();
            // Rows that are out already stay out.
            for keep in [u64::MAX, 0xf0f0_ffff_0000_1234] {
                let mut mask: Vec<u64> = vec![keep; all.len().div_ceil(64)];
                if !all.len().is_multiple_of(64) {
                    *mask.last_mut().unwrap() &= (1 << (all.len() % 64)) - 1;
                }
                let before = mask.clone();
                chunk.filter(&filter, &mut mask);
                for (row, value) in all.iter().enumerate() {
                    let expected = mask::is_set(&before, row) && condition.accepts(value);
                    let what =
                        || format!("{value:?} {comparison:?} {values:?}, {}", chunk.encoding());
                    assert_eq!(mask::is_set(&mask, row), expected, "row {row}: {}", what());
                }
                let past = mask.last().unwrap() & !before.last().unwrap();
                assert_eq!(past, 0, "bits that were not set");
            }
        }
    }
}

/// Numbers of rows at and around every boundary.
fn row_counts() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1usize..200,
        1 => select(vec![1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 320, 1_000, 2_047]),
    ]
}

/// Integers in the shapes that the encodings are for.
fn ints() -> impl Strategy<Value = Vec<i64>> {
    let extreme = select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]);
    let shape = move |rows: usize| {
        prop_oneof![
            vec(any::<i64>(), rows),
            vec(extreme.clone(), rows),
            (any::<i64>(), 0u32..64).prop_flat_map(move |(base, bits)| {
                vec(any::<u64>().prop_map(move |v| base.wrapping_add((v >> bits) as i64)), rows)
            }),
            (any::<i64>(), any::<i64>(), vec(0i64..4, rows)).prop_map(|(start, step, noise)| {
                let value =
                    |(row, noise): (i64, &i64)| start.wrapping_add(step.wrapping_mul(row) + noise);
                (0..).zip(&noise).map(value).collect()
            }),
            (vec(any::<i64>(), 1..5), vec(any::<Index>(), rows))
                .prop_map(|(some, at)| { at.iter().map(|at| *at.get(&some)).collect() }),
            (vec(any::<i64>(), 1..9), vec(0usize..40, rows)).prop_map(|(some, turn)| {
                let mut at = 0;
                turn.iter()
                    .map(|turn| {
                        at += usize::from(*turn == 0);
                        some[at % some.len()]
                    })
                    .collect()
            }),
        ]
    };
    row_counts().prop_flat_map(shape)
}

fn floats() -> impl Strategy<Value = Vec<f64>> {
    let special = select(vec![
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        0.1,
        9_007_199_254_740_992.0,
        9_007_199_254_740_993.0,
        -9_223_372_036_854_775_808.0,
    ]);
    let decimal =
        |digits: i32| (-1_000_000i64..1_000_000).prop_map(move |i| i as f64 / 10f64.powi(digits));
    let shape = move |rows: usize| {
        prop_oneof![
            vec(any::<u64>().prop_map(f64::from_bits), rows),
            vec(special.clone(), rows),
            (0..7).prop_flat_map(move |digits| vec(decimal(digits), rows)),
            (0..20, special.clone()).prop_flat_map(move |(digits, special)| {
                vec(prop_oneof![30 => decimal(digits), 1 => Just(special)], rows)
            }),
            vec((0..1_000i32).prop_map(|i| 1.0 + f64::from(i) * 1e-13), rows),
            (vec(any::<u64>().prop_map(f64::from_bits), 1..6), vec(any::<Index>(), rows))
                .prop_map(|(some, at)| at.iter().map(|at| *at.get(&some)).collect()),
        ]
    };
    row_counts().prop_flat_map(shape)
}

fn strings() -> impl Strategy<Value = Vec<String>> {
    let shape = |rows: usize| {
        prop_oneof![
            vec(".{0,12}", rows),
            vec("(https://www\\.|http://)(example|sochdb|wolf)\\.(com|org)/[a-z]{0,9}", rows),
            vec(
                select(vec!["", "north", "south", "east", "west", "north\u{0}"])
                    .prop_map(str::to_owned),
                rows
            ),
            ".{0,5}".prop_flat_map(move |one| Just(vec![one; rows])),
            vec("[0-9]{8}", rows),
            vec("\u{0}{0,20}", rows),
        ]
    };
    row_counts().prop_flat_map(shape)
}

/// Some of the values become nulls: none, a few, many, all.
fn with_nulls<T: Clone + std::fmt::Debug>(
    values: impl Strategy<Value = Vec<T>>,
    value: impl Fn(T) -> Value + Clone,
) -> impl Strategy<Value = Vec<Value>> {
    let nulls = select(vec![0u32, 0, 1, 10, 60, 100]);
    (values, nulls, any::<u64>()).prop_map(move |(values, percent, seed)| {
        let hit = |row: usize| dictionary::spread(seed ^ row as u64) % 100 < u64::from(percent);
        let keep = |(row, v): (usize, T)| if hit(row) { Value::Null } else { value.clone()(v) };
        values.into_iter().enumerate().map(keep).collect()
    })
}

/// Some values to compare with: of the column, and others.
fn operands(all: &[Value], others: Vec<Value>, at: &[Index]) -> Vec<Value> {
    let own = at.iter().map(|at| at.get(all).clone()).filter(|value| *value != Value::Null);
    own.chain(others).collect()
}

fn any_column() -> impl Strategy<Value = (ColumnType, Vec<Value>)> {
    let bools = row_counts().prop_flat_map(|rows| {
        prop_oneof![
            vec(any::<bool>(), rows),
            vec(prop::bool::weighted(0.01), rows),
            any::<bool>().prop_map(move |value| vec![value; rows]),
        ]
    });
    let vectors = row_counts().prop_flat_map(|rows| {
        let vector = vec(any::<f32>(), 3);
        prop_oneof![vec(vector.clone(), rows), vector.prop_map(move |one| vec![one; rows])]
    });
    let of = |kind: ColumnType| move |values: Vec<Value>| (kind, values);
    prop_oneof![
        with_nulls(bools, Value::Bool).prop_map(of(ColumnType::Bool)),
        with_nulls(ints(), Value::Int64).prop_map(of(ColumnType::Int64)),
        with_nulls(ints(), Value::Timestamp).prop_map(of(ColumnType::Timestamp)),
        with_nulls(floats(), Value::Float64).prop_map(of(ColumnType::Float64)),
        with_nulls(strings(), Value::String).prop_map(of(ColumnType::String)),
        with_nulls(strings(), |s| Value::Bytes(s.into_bytes())).prop_map(of(ColumnType::Bytes)),
        with_nulls(vectors, Value::Vector).prop_map(of(ColumnType::Vector(3))),
    ]
}

proptest! {
    #[test]
    fn every_value_comes_back_in_every_way_of_reading((kind, all) in any_column(), codec in any::<bool>()) {
        round_trip(kind, &all, codec);
    }

    #[test]
    fn one_encoder_serves_block_after_block(blocks in vec(strings(), 1..5)) {
        let mut encoder = Encoder::default();
        for block in blocks {
            let all: Vec<Value> = block.into_iter().map(Value::String).collect();
            let bytes = encoder.encode(&column(ColumnType::String, &all));
            let chunk = open(ColumnType::String, all.len(), &bytes).unwrap();
            let mut out = ColumnBuilder::new(ColumnType::String);
            chunk.decode(0..all.len(), &mut out).unwrap();
            prop_assert_eq!(values(out), all.iter().map(text).collect::<Vec<_>>());
        }
    }

    #[test]
    fn filters_on_integers_agree(
        all in with_nulls(ints(), Value::Int64), at in vec(any::<Index>(), 3), other in any::<i64>(),
    ) {
        let bytes = Encoder::default().encode(&column(ColumnType::Int64, &all));
        let others = [other, i64::MIN, i64::MAX].map(Value::Int64).to_vec();
        filters_agree(ColumnType::Int64, &all, &bytes, &operands(&all, others, &at));
    }

    #[test]
    fn filters_on_floats_agree(
        all in with_nulls(floats(), Value::Float64), at in vec(any::<Index>(), 3), other in -1e6f64..1e6,
    ) {
        let bytes = Encoder::default().encode(&column(ColumnType::Float64, &all));
        let others = [other, f64::NAN, -0.0, f64::INFINITY, f64::MIN].map(Value::Float64).to_vec();
        filters_agree(ColumnType::Float64, &all, &bytes, &operands(&all, others, &at));
    }

    #[test]
    fn filters_on_strings_agree(
        all in with_nulls(strings(), Value::String), at in vec(any::<Index>(), 3), other in ".{0,3}",
    ) {
        let bytes = Encoder::default().encode(&column(ColumnType::String, &all));
        let others = [&other, "", "http", "north"].map(|text| Value::String(text.into())).to_vec();
        filters_agree(ColumnType::String, &all, &bytes, &operands(&all, others, &at));
    }

    #[test]
    fn filters_on_bools_and_vectors_agree((kind, all) in any_column(), at in vec(any::<Index>(), 2)) {
        let others = match kind {
            ColumnType::Bool => vec![Value::Bool(true), Value::Bool(false)],
            ColumnType::Vector(3) => vec![Value::Vector(vec![0.0, -1.0, f32::NAN])],
            _ => return Ok(()),
        };
        let bytes = Encoder::default().encode(&column(kind, &all));
        filters_agree(kind, &all, &bytes, &operands(&all, others, &at));
    }

    #[test]
    fn altered_chunks_are_refused_or_can_be_read(
        (kind, all) in any_column(), changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in prop_oneof![3 => Just(None), 1 => any::<Index>().prop_map(Some)], more in 0usize..70,
    ) {
        let mut bytes = Encoder::default().encode(&column(kind, &all));
        for (at, to) in changes {
            // Mostly the heads, where the lengths are.
            let at = at.index(bytes.len());
            let at = if to.is_multiple_of(2) { at } else { at % 24 % bytes.len() };
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_everything(kind, all.len(), &bytes);
        read_everything(kind, all.len() + more, &bytes);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_can_be_read(
        bytes in vec(any::<u8>(), 0..300), nulls in 0u8..4, encoding in 0u8..9, rows in 1usize..300,
        kind in select(vec![ColumnType::Bool, ColumnType::Int64, ColumnType::Float64, ColumnType::String]),
    ) {
        let bytes = [&[nulls, encoding][..], &bytes].concat();
        read_everything(kind, rows, &bytes);
    }
}

fn read_everything(kind: ColumnType, rows: usize, bytes: &[u8]) {
    let Ok(chunk) = open(kind, rows, bytes) else {
        return;
    };
    let mut out = ColumnBuilder::new(kind);
    chunk.decode(0..rows, &mut out).unwrap();
    chunk.decode(rows / 3..rows, &mut out).unwrap();
    assert_eq!(out.rows(), rows + rows - rows / 3);
    let bound = 2 * (STRING_BYTES_MAX + rows * 12 + 4);
    assert!(out.bytes() <= bound, "{} bytes of {rows} rows", out.bytes());
    if kind == ColumnType::Bytes {
        // What Arrow asks for holds, whatever the bytes said.
        values(out);
    }
    (0..rows).for_each(|row| drop(get(&chunk, kind, row)));
    let rows = rows as u32;
    chunk.decode_selected(&[rows - 1, 0, rows / 2], &mut ColumnBuilder::new(kind)).unwrap();
    let operand = match kind {
        ColumnType::Bool => Value::Bool(true),
        ColumnType::Int64 => Value::Int64(7),
        ColumnType::Timestamp => Value::Timestamp(7),
        ColumnType::Float64 => Value::Float64(0.5),
        ColumnType::String | ColumnType::Bytes => Value::Bytes(b"http".to_vec()),
        ColumnType::Vector(_) => Value::Vector(vec![0.0; 3]),
    };
    for comparison in COMPARISONS {
        if let Ok(filter) = Filter::new(comparison, std::slice::from_ref(&operand)) {
            chunk.filter(&filter, &mut vec![u64::MAX; chunk.rows().div_ceil(64)]);
        }
    }
    assert!(chunk.nulls() <= chunk.rows());
    assert!(chunk.distinct().is_none_or(|distinct| distinct <= chunk.rows().max(2)));
}

fn check(kind: ColumnType, all: &[Value], name: &str, expected: Expect) {
    let bytes = round_trip(kind, all, false);
    let chunk = open(kind, all.len(), &bytes).unwrap();
    assert_eq!(chunk.encoding(), name);
    let lines = bytes.chunks(24).map(|line| format!("{line:02x?}\n").replace([',', '[', ']'], ""));
    expected.assert_eq(&lines.collect::<String>());
}

fn ints_of(values: impl IntoIterator<Item = i64>) -> Vec<Value> {
    values.into_iter().map(Value::Int64).collect()
}

fn floats_of(values: impl IntoIterator<Item = f64>) -> Vec<Value> {
    values.into_iter().map(Value::Float64).collect()
}

fn strings_of<'s>(values: impl IntoIterator<Item = &'s str>) -> Vec<Value> {
    values.into_iter().map(|text| Value::String(text.into())).collect()
}

#[test]
fn the_bytes_of_integers_are_pinned() {
    let int = ColumnType::Int64;
    check(
        int,
        &ints_of([i64::MAX, i64::MIN]),
        "plain",
        expect![[r#"
        00 01 ff ff ff ff ff ff ff 7f 00 00 00 00 00 00 00 80
    "#]],
    );
    check(
        int,
        &ints_of([-2; 9]),
        "constant",
        expect![[r#"
        00 02 fe ff ff ff ff ff ff ff
    "#]],
    );
    check(
        int,
        &ints_of((0..300).map(|i| i / 100 * 1_000)),
        "runs",
        expect![[r#"
        00 03 03 00 09 63 8e ad 04 0b 00 00 00 00 00 00 00 00 00 40 1f f4 01
    "#]],
    );
    check(
        int,
        &ints_of([1_000, 1_007, 1_003, 1_001].repeat(3)),
        "packed",
        expect![[r#"
        00 04 03 e8 03 00 00 00 00 00 00 f8 82 2f f8 02
    "#]],
    );
    check(
        int,
        &ints_of((0..130).map(|i| i * 1_000 + i % 2)),
        "delta",
        expect![[r#"
        00 05 11 00 00 00 00 00 00 00 00 00 00 00 f4 01 d0 07 02 e7 03 00 00 00
        00 00 00 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88 88
        88 88 88 88 88 88 88 88 88 88 88 08
    "#]],
    );
    check(
        int,
        &ints_of([1 << 40, 7, -5, 7, 7, 1 << 40].repeat(4)),
        "dictionary",
        expect![[r#"
        00 06 03 00 30 fb ff ff ff ff ff ff ff 00 00 00 00 00 00 0c 00 00 00 00
        00 05 00 00 00 00 01 02 46 69 94 46 69 94
    "#]],
    );
}

#[test]
fn the_bytes_of_floats_are_pinned() {
    let float = ColumnType::Float64;
    check(
        float,
        &floats_of([f64::MAX, -0.0]),
        "plain",
        expect![[r#"
        00 01 ff ff ff ff ff ff ef 7f 00 00 00 00 00 00 00 80
    "#]],
    );
    check(
        float,
        &floats_of([f64::NAN; 3]),
        "constant",
        expect![[r#"
        00 02 00 00 00 00 00 00 f8 7f
    "#]],
    );
    let decimals = [12.34, 12.35, 99.0, 12.5, 50.01, 0.5, 1.25, 7.77, 8.0];
    let decimals = decimals.into_iter().chain([f64::INFINITY]);
    check(
        float,
        &floats_of(decimals.cycle().take(20)),
        "decimal",
        expect![[r#"
        00 07 02 06 02 00 09 00 13 00 00 00 00 00 00 00 f0 7f 00 00 00 00 00 00
        f0 7f 09 00 0e 32 00 00 00 00 00 00 00 00 c0 12 70 2d b8 0b a0 44 28 01
        4b 5c 4d 7a 26 04 54 68 07 21 33 54 68 07 21 33
    "#]],
    );
    let third = |i: i32| 1.0 + f64::from(i * 7 % 32) * f64::EPSILON;
    check(
        float,
        &floats_of((0..32).map(third)),
        "packed",
        expect![[r#"
        00 04 05 00 00 00 00 00 00 f0 3f e0 b8 ca 87 8a f8 9b 46 b7 48 f0 fa c2
        a6 0e e8 d9 4e 96 cc
    "#]],
    );
    let two = [1.0 / 3.0, -1.0 / 7.0];
    check(
        float,
        &floats_of((0..24).map(|i| two[i * i % 3])),
        "dictionary",
        expect![[r#"
        00 06 02 00 40 00 00 00 00 00 00 00 80 92 24 49 92 24 49 c2 3f 55 55 55
        55 55 55 d5 bf 01 49 92 24
    "#]],
    );
    check(
        float,
        &floats_of((0..60).map(|i| two[i / 30])),
        "runs",
        expect![[r#"
        00 03 02 00 06 dd 0e 40 00 00 00 00 00 00 00 80 55 55 55 55 55 55 d5 bf
        92 24 49 92 24 49 c2 3f
    "#]],
    );
}

#[test]
fn the_bytes_of_strings_are_pinned() {
    let string = ColumnType::String;
    check(
        string,
        &strings_of(["wolf", "", "wolverine"]),
        "plain",
        expect![[r#"
        00 01 03 fc ff ff ff ff ff ff ff 44 01 77 6f 6c 66 77 6f 6c 76 65 72 69
        6e 65
    "#]],
    );
    check(
        string,
        &strings_of(["wolf"; 5]),
        "constant",
        expect![[r#"
        00 02 77 6f 6c 66
    "#]],
    );
    let towns = ["Ulm", "Ulm", "Aachen", "Ulm", "Bonn", "Aachen"].repeat(3);
    check(
        string,
        &strings_of(towns),
        "dictionary",
        expect![[r#"
        00 06 4b 00 00 00 03 00 02 8a a1 18 8a 01 01 01 00 00 00 00 00 00 00 03
        41 61 63 68 65 6e 42 6f 6e 6e 55 6c 6d
    "#]],
    );
    let pages: Vec<String> =
        (0..60).map(|i| format!("https://sochdb.org/page/{}", i * i)).collect();
    check(
        string,
        &strings_of(pages.iter().map(|page| &page[..])),
        "symbols",
        expect![[r#"
            00 08 62 06 00 00 09 09 00 00 00 00 00 03 30 31 32 33 34 35 36 37 39 30
            30 31 30 38 31 31 32 38 34 32 35 31 36 33 36 37 36 68 74 74 70 73 3a 2f
            2f 72 67 2f 70 61 67 65 2f 73 6f 63 68 64 62 2e 6f 05 ed ff ff ff ff ff
            ff ff 12 be b6 14 42 a7 14 42 08 21 83 14 42 c8 20 43 08 21 02 08 61 90
            41 48 39 c6 18 73 0e 4a 8a 2d e6 60 8c 71 4e 0a 12 14 13 00 12 14 13 01
            12 14 13 04 12 14 13 08 12 14 13 0f 12 14 13 0e 12 14 13 10 12 14 13 04
            08 12 14 13 06 04 12 14 13 0b 12 14 13 0a 00 12 14 13 0c 01 12 14 13 01
            04 04 12 14 13 0f 08 12 14 13 01 08 06 12 14 13 02 0e 12 14 13 0e 06 12
            14 13 02 ff 38 08 12 14 13 03 02 04 12 14 13 10 01 12 14 13 04 09 12 14
            13 04 04 01 12 14 13 04 0d 12 14 13 05 02 08 12 14 13 05 11 12 14 13 06
            0e 12 14 13 06 11 12 14 13 07 02 08 12 14 13 07 0d 12 14 13 0d 01 12 14
            13 08 09 12 14 13 08 06 01 12 14 13 0a 02 04 12 14 13 0a ff 38 08 12 14
            13 01 01 05 06 12 14 13 0c 0e 12 14 13 0c 08 06 12 14 13 01 10 08 12 14
            13 01 04 04 04 12 14 13 01 05 02 01 12 14 13 0f 09 12 14 13 0f 0b 12 14
            13 01 11 04 12 14 13 01 0d 08 12 14 13 01 08 10 12 14 13 02 00 0e 12 14
            13 02 01 0f 12 14 13 02 02 00 08 12 14 13 02 03 00 04 12 14 13 02 04 00
            01 12 14 13 0e 09 12 14 13 02 06 00 01 12 14 13 02 07 00 04 12 14 13 02
            ff 38 00 08 12 14 13 02 08 0f 12 14 13 03 00 0e 12 14 13 03 01 10 12 14
            13 03 02 04 08 12 14 13 03 10 04 12 14 13 03 04 0b
        "#]],
    );
}

#[test]
fn the_bytes_of_bools_vectors_and_nulls_are_pinned() {
    let bools = |values: Vec<bool>| values.into_iter().map(Value::Bool).collect::<Vec<_>>();
    check(
        ColumnType::Bool,
        &bools([true, false, false].repeat(5)),
        "plain",
        expect![[r#"
        00 01 49 12
    "#]],
    );
    check(
        ColumnType::Bool,
        &bools(vec![true; 100]),
        "constant",
        expect![[r#"
        00 02 01
    "#]],
    );
    check(
        ColumnType::Bool,
        &bools((0..200).map(|i| i < 150).collect()),
        "runs",
        expect![[r#"
        00 03 01 02 00 08 95 c7
    "#]],
    );
    let vector = |x: f32| Value::Vector(vec![x, 0.5]);
    check(
        ColumnType::Vector(2),
        &[vector(1.0), Value::Null, vector(2.0)],
        "plain",
        expect![[r#"
        02 05 01 00 00 80 3f 00 00 00 3f 00 00 00 00 00 00 00 00 00 00 00 40 00
        00 00 3f
    "#]],
    );
    check(
        ColumnType::Vector(2),
        &[vector(-1.0), vector(-1.0)],
        "constant",
        expect![[r#"
        00 02 00 00 80 bf 00 00 00 3f
    "#]],
    );
    check(
        ColumnType::Int64,
        &[Value::Null, Value::Null],
        "null",
        expect![[r#"
        01
    "#]],
    );
    let few: Vec<Value> =
        (0..64).map(|i| if i == 9 { Value::Null } else { Value::Int64(i) }).collect();
    check(
        ColumnType::Int64,
        &few,
        "delta",
        expect![[r#"
        03 01 00 09 00 05 00 00 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 00
        54 55 61 55 55 55 55 55 55 55 55 55 55 55 55 55
    "#]],
    );
    let many: Vec<Value> =
        (0..12).map(|i| if i % 2 == 0 { Value::Null } else { Value::Int64(5) }).collect();
    check(
        ColumnType::Int64,
        &many,
        "constant",
        expect![[r#"
        02 aa 0a 02 05 00 00 00 00 00 00 00
    "#]],
    );
}

#[test]
fn strings_beyond_the_bound_are_refused_and_small_bytes_do_not_become_many() {
    let long = Value::String("x".repeat(1_000));
    let bytes = Encoder::default().encode(&column(ColumnType::String, &vec![long; 2_000]));
    assert!(bytes.len() < 1_100);
    let (kind, reader) = (ColumnType::String, || Reader::new("s", 0, &bytes[..]));
    assert!(Chunk::open(kind, 2_000, reader(), 1_999_999).is_err());
    let chunk = Chunk::open(kind, 2_000, reader(), 2_000_000).unwrap();
    assert_eq!((chunk.value_bytes(), chunk.distinct()), (2_000_000, Some(1)));
    assert!(Chunk::open(kind, 0, reader(), 2_000_000).is_err());
    assert!(Chunk::open(kind, ROWS_MAX + 1, reader(), usize::MAX).is_err());
}

#[test]
fn a_codec_that_follows_gets_strings_as_they_are() {
    let pages: Vec<String> =
        (0..200).map(|i| format!("https://sochdb.org/page/{}", i * i)).collect();
    let all = strings_of(pages.iter().map(|page| &page[..]));
    for (codec_follows, name) in [(false, "symbols"), (true, "plain")] {
        let bytes = round_trip(ColumnType::String, &all, codec_follows);
        assert_eq!(open(ColumnType::String, all.len(), &bytes).unwrap().encoding(), name);
    }
}

#[test]
fn bounds_leave_nulls_and_nan_out_of_account() {
    let of = |kind, all: &[Value]| format!("{:?}", bounds(&column(kind, all)));
    let ints = [Value::Null, Value::Int64(3), Value::Int64(-3), Value::Null];
    assert_eq!(of(ColumnType::Int64, &ints), "Int(-3, 3)");
    assert_eq!(of(ColumnType::Int64, &ints[..1]), "None");
    let floats = [f64::NAN, 2.5, f64::NEG_INFINITY].map(Value::Float64);
    assert_eq!(of(ColumnType::Float64, &floats), "Float { range: Some((-inf, 2.5)), nan: true }");
    assert_eq!(of(ColumnType::Float64, &floats[..1]), "Float { range: None, nan: true }");
    assert_eq!(of(ColumnType::Bool, &[Value::Bool(true)]), "Bool(true, true)");
    let texts = strings_of(["b", "", "a"]);
    assert_eq!(of(ColumnType::String, &texts), "Bytes([], [98])");
    assert_eq!(of(ColumnType::Vector(1), &[Value::Vector(vec![1.0])]), "None");
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let int = || Value::Int64(1);
    for (comparison, values) in [
        (Comparison::Equal, vec![]),
        (Comparison::Less, vec![int(), int()]),
        (Comparison::In, vec![int(), Value::Bool(true)]),
        (Comparison::StartsWith, vec![int()]),
        (Comparison::Equal, vec![Value::Null]),
    ] {
        assert!(Filter::new(comparison, &values).is_err(), "{comparison:?} {values:?}");
    }
}
