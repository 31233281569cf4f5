//! Batches of columns as Apache Arrow: the arrays are views of the batch's own buffer, and nothing is copied.
//!
//! | column      | Arrow                                     |
//! |-------------|-------------------------------------------|
//! | bool        | `Boolean`                                 |
//! | int64       | `Int64`                                   |
//! | float64     | `Float64`                                 |
//! | string      | `Utf8`                                    |
//! | bytes       | `Binary`                                  |
//! | timestamp   | `Timestamp(Microsecond, "UTC")`           |
//! | vector(dim) | `FixedSizeList(Float32, dim)`             |

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use sochdb_encoding::columns::ColumnBatch;
use sochdb_encoding::row::{Column, ColumnType};
use sochdb_kernel::{KernelError, KernelResult};
use std::ops::Range;
use std::sync::Arc;

/// Time as Arrow names it.
const UTC: &str = "UTC";
/// The name of a list's field, by Arrow's own custom.
const ITEM: &str = "item";

/// The Arrow schema of `columns`, such as a scan's [`columns`](crate::ColumnScan::columns).
pub fn schema(columns: &[Column]) -> Schema {
    let field = |column: &Column| Field::new(&column.name, data_type(column.kind), column.nullable);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::String => DataType::Utf8,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        // No vector has more dimensions than an i32 counts.
        ColumnType::Vector(dim) => DataType::FixedSizeList(item(), dim as i32),
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new(ITEM, DataType::Float32, false))
}

/// The batch as Arrow, over its own buffer. `columns` are those of the scan that gave it.
///
/// # Errors
/// `Invalid` when `columns` are not the batch's.
///
/// ```
/// use sochdb::{Column, ColumnType, Database, Schema, TableOptions, Value};
///
/// # fn main() -> sochdb::KernelResult<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// let db = Database::open(directory.path())?;
/// let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
/// let columns = vec![column("id", ColumnType::Int64), column("town", ColumnType::String)];
/// let schema = Schema::new(columns, &["id"])?;
/// let row = [Value::Int64(7), Value::String("Ulm".into())];
/// let (key, value) = (schema.encode_key(&row)?, schema.encode_row(&row)?);
/// db.create_table("towns", TableOptions { schema: Some(schema), ..Default::default() })?;
/// db.run(|tx| tx.put("towns", &key, &value))?;
///
/// let mut scan = db.begin_read()?.scan_columns("towns", .., &["town"], vec![])?;
/// let columns = scan.columns().to_vec();
/// while let Some(batch) = scan.next() {
///     let batch = sochdb::arrow::record_batch(batch?, &columns)?;
///     assert_eq!(batch.num_rows(), 1);
/// }
/// # db.close()
/// # }
/// ```
pub fn record_batch(batch: ColumnBatch, columns: &[Column]) -> KernelResult<RecordBatch> {
    let kinds: Vec<_> = columns.iter().map(|column| column.kind).collect();
    if kinds != batch.kinds() {
        return Err(KernelError::invalid("the columns are not those of the batch"));
    }
    let rows = batch.rows();
    let ranges: Vec<_> = (0..columns.len()).map(|index| batch.byte_ranges(index)).collect();
    let buffer = Buffer::from_vec(batch.into_words());
    let arrays = kinds.iter().zip(ranges).map(|(kind, ranges)| array(&buffer, *kind, ranges, rows));
    let arrays = arrays.collect::<Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let made = arrays.and_then(|arrays| {
        RecordBatch::try_new_with_options(Arc::new(schema(columns)), arrays, &options)
    });
    made.map_err(|error| KernelError::invalid(format!("no Arrow batch: {error}")))
}

/// One column; its parts lie in `buffer`.
fn array(
    buffer: &Buffer,
    kind: ColumnType,
    [validity, values, data]: [Range<usize>; 3],
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let part = |range: &Range<usize>| buffer.slice_with_length(range.start, range.len());
    let bits = |range: &Range<usize>| BooleanBuffer::new(part(range), 0, rows);
    let nulls = (!validity.is_empty()).then(|| NullBuffer::new(bits(&validity)));
    let values_part = part(&values);
    Ok(match kind {
        ColumnType::Bool => Arc::new(BooleanArray::new(bits(&values), nulls)),
        ColumnType::Int64 => Arc::new(Int64Array::try_new(numbers(values_part), nulls)?),
        ColumnType::Float64 => Arc::new(Float64Array::try_new(numbers(values_part), nulls)?),
        ColumnType::Timestamp => {
            let times = TimestampMicrosecondArray::try_new(numbers(values_part), nulls)?;
            Arc::new(times.with_timezone(UTC))
        }
        ColumnType::String => {
            let offsets = OffsetBuffer::new(numbers(values_part));
            Arc::new(StringArray::try_new(offsets, part(&data), nulls)?)
        }
        ColumnType::Bytes => {
            let offsets = OffsetBuffer::new(numbers(values_part));
            Arc::new(BinaryArray::try_new(offsets, part(&data), nulls)?)
        }
        ColumnType::Vector(dim) => {
            let floats = Arc::new(Float32Array::try_new(numbers(values_part), None)?);
            Arc::new(FixedSizeListArray::try_new(item(), dim as i32, floats, nulls)?)
        }
    })
}

/// The buffer as numbers; each part of a batch begins at a word.
fn numbers<T: ArrowNativeType>(buffer: Buffer) -> ScalarBuffer<T> {
    let count = buffer.len() / size_of::<T>();
    ScalarBuffer::new(buffer, 0, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
    use sochdb_encoding::columns::{ColumnBuilder, ColumnView};
    use sochdb_encoding::row::Value;

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
            [
                address(at(6).as_fixed_size_list().values().as_primitive::<Float32Type>().values()),
                0,
            ],
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
}
