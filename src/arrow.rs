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
