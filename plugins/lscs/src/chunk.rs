//! One cell of a column chunk on its way into a row.

use sochdb_guest::encoding::row::ColumnType;

use crate::column::Chunk;
use crate::typed::{Cell, RowWriter};

/// Adds row `row` of `chunk`, which holds `kind`, to the row under construction. Strings may pass through
/// `scratch`.
pub(crate) fn push_cell(
    chunk: &Chunk<'_>,
    kind: ColumnType,
    row: usize,
    scratch: &mut Vec<u8>,
    out: &mut RowWriter,
) {
    let cell = match kind {
        ColumnType::Bool => chunk.boolean(row).map(Cell::Bool),
        ColumnType::Int64 | ColumnType::Timestamp => chunk.int(row).map(Cell::Int),
        ColumnType::Float64 => chunk.float(row).map(Cell::Float),
        ColumnType::String | ColumnType::Bytes => chunk.bytes(row, scratch).map(Cell::Bytes),
        ColumnType::Vector(_) => chunk.vector(row).map(Cell::Bytes),
    };
    out.push(kind, cell.unwrap_or(Cell::Null));
}
