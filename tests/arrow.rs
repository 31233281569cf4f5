//! Batches of columns as Apache Arrow: the same values, in the same memory.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use sochdb::arrow::record_batch;
use sochdb_encoding::columns::{ColumnBatch, ColumnBuilder, ColumnView};
use sochdb_encoding::row::{Column, ColumnType, Value};

const KINDS: [ColumnType; 7] = [
    ColumnType::Bool,
    ColumnType::Int64,
    ColumnType::Float64,
    ColumnType::String,
    ColumnType::Bytes,
    ColumnType::Timestamp,
    ColumnType::Vector(3),
];

fn columns() -> Vec<Column> {
    let column = |(index, kind): (usize, &ColumnType)| Column {
        name: format!("c{index}"),
        kind: *kind,
        nullable: true,
        default: None,
    };
    KINDS.iter().enumerate().map(column).collect()
}

fn values(row: i64) -> Vec<Value> {
    vec![
        Value::Bool(row % 3 == 0),
        Value::Int64(row - 5),
        Value::Float64(row as f64 / 4.0),
        Value::String(format!("ä{row}")),
        Value::Bytes(vec![row as u8; row as usize % 5]),
        Value::Timestamp(row * 1_000),
        Value::Vector(vec![row as f32, 0.5, -1.0]),
    ]
}

fn batch(rows: i64, null: Option<i64>) -> ColumnBatch {
    let mut builders = KINDS.map(ColumnBuilder::new).to_vec();
    for row in 0..rows {
        for (builder, value) in builders.iter_mut().zip(values(row)) {
            builder.push(if null == Some(row) { &Value::Null } else { &value }).unwrap();
        }
    }
    ColumnBatch::new(rows as usize, builders, None).unwrap()
}

fn address<T>(slice: &[T]) -> usize {
    slice.as_ptr() as usize
}

#[test]
fn every_value_lies_where_the_batch_had_it() {
    let batch = batch(70, Some(7));
    let addresses: Vec<_> = (0..KINDS.len())
        .map(|index| match batch.view(index) {
            ColumnView::Bool(bits) => [address(bits), 0],
            ColumnView::Int64(values) => [address(values), 0],
            ColumnView::Float64(values) => [address(values), 0],
            ColumnView::Bytes { offsets, data } => [address(offsets), address(data)],
            ColumnView::Vector { floats, .. } => [address(floats), 0],
        })
        .collect();
    let validity: Vec<_> =
        (0..KINDS.len()).map(|index| address(batch.validity(index).unwrap())).collect();
    let arrow = record_batch(batch, &columns()).unwrap();
    let at = |index: usize| arrow.column(index);
    let (text, bytes) = (at(3).as_string::<i32>(), at(4).as_binary::<i32>());
    let found = [
        [address(at(0).as_boolean().values().values()), 0],
        [address(at(1).as_primitive::<Int64Type>().values()), 0],
        [address(at(2).as_primitive::<Float64Type>().values()), 0],
        [address(text.value_offsets()), address(text.value_data())],
        [address(bytes.value_offsets()), address(bytes.value_data())],
        [address(at(5).as_primitive::<TimestampMicrosecondType>().values()), 0],
        [address(at(6).as_fixed_size_list().values().as_primitive::<Float32Type>().values()), 0],
    ];
    assert_eq!(found.to_vec(), addresses);
    for (index, address_before) in validity.into_iter().enumerate() {
        assert_eq!(address(at(index).nulls().unwrap().validity()), address_before);
    }
}

#[test]
fn values_and_nulls_are_the_same_in_arrow() {
    for null in [None, Some(7)] {
        let arrow = record_batch(batch(70, null), &columns()).unwrap();
        assert_eq!((arrow.num_rows(), arrow.num_columns()), (70, 7));
        for row in 0..70 {
            let index = row as usize;
            if null == Some(row) {
                assert!(arrow.columns().iter().all(|column| column.is_null(index)));
                continue;
            }
            let vector = arrow.column(6).as_fixed_size_list().value(index);
            let found = vec![
                Value::Bool(arrow.column(0).as_boolean().value(index)),
                Value::Int64(arrow.column(1).as_primitive::<Int64Type>().value(index)),
                Value::Float64(arrow.column(2).as_primitive::<Float64Type>().value(index)),
                Value::String(arrow.column(3).as_string::<i32>().value(index).into()),
                Value::Bytes(arrow.column(4).as_binary::<i32>().value(index).into()),
                Value::Timestamp(
                    arrow.column(5).as_primitive::<TimestampMicrosecondType>().value(index),
                ),
                Value::Vector(vector.as_primitive::<Float32Type>().values().to_vec()),
            ];
            assert_eq!(found, values(row));
            assert!(arrow.columns().iter().all(|column| column.is_valid(index)));
        }
    }
}

#[test]
fn batches_without_rows_or_columns_are_arrow_too() {
    assert_eq!(record_batch(batch(0, None), &columns()).unwrap().num_rows(), 0);
    let bare = ColumnBatch::new(9, Vec::new(), None).unwrap();
    assert_eq!(record_batch(bare, &[]).unwrap().num_rows(), 9);
    assert!(record_batch(batch(1, None), &columns()[1..]).is_err());
}
