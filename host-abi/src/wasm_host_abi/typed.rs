//! Typed rows, columns and statistics between the contract's types and those of the encoding.

use super::base_bindings::sochdb::plugin::types as contract;
use super::storage_bindings::exports::sochdb::plugin::storage_engine as storage;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_encoding::select::{Condition, Selection};
use sochdb_encoding::stats::{ColumnStats, EncodingStats, LevelStats, StorageStats};

impl From<contract::Value> for Value {
    fn from(value: contract::Value) -> Value {
        match value {
            contract::Value::Null => Value::Null,
            contract::Value::Boolean(value) => Value::Bool(value),
            contract::Value::Int64(value) => Value::Int64(value),
            contract::Value::Float64(value) => Value::Float64(value),
            contract::Value::Text(value) => Value::String(value),
            contract::Value::Bytes(value) => Value::Bytes(value),
            contract::Value::Timestamp(value) => Value::Timestamp(value),
            contract::Value::Vector(value) => Value::Vector(value),
        }
    }
}

impl From<&Value> for contract::Value {
    fn from(value: &Value) -> contract::Value {
        match value {
            Value::Null => contract::Value::Null,
            Value::Bool(value) => contract::Value::Boolean(*value),
            Value::Int64(value) => contract::Value::Int64(*value),
            Value::Float64(value) => contract::Value::Float64(*value),
            Value::String(value) => contract::Value::Text(value.clone()),
            Value::Bytes(value) => contract::Value::Bytes(value.clone()),
            Value::Timestamp(value) => contract::Value::Timestamp(*value),
            Value::Vector(value) => contract::Value::Vector(value.clone()),
        }
    }
}

impl From<&Schema> for contract::Schema {
    fn from(schema: &Schema) -> contract::Schema {
        let column = |column: &Column| contract::Column {
            name: column.name.clone(),
            kind: column.kind.tag(),
            dim: match column.kind {
                ColumnType::Vector(dim) => dim,
                _ => 0,
            },
            nullable: column.nullable,
            default: column.default.as_ref().map(Into::into),
        };
        contract::Schema {
            columns: schema.columns.iter().map(column).collect(),
            key: schema.key.iter().map(|position| *position as u32).collect(),
        }
    }
}

impl From<&Selection> for storage::Selection {
    fn from(selection: &Selection) -> storage::Selection {
        let columns = &selection.schema().columns;
        let name = |position: &usize| columns[*position].name.clone();
        let projection = selection.projection().map(|projection| projection.positions());
        let condition = |condition: &Condition| contract::Condition {
            column: name(&condition.position()),
            op: condition.comparison() as u8,
            values: condition.values().iter().map(Into::into).collect(),
        };
        storage::Selection {
            columns: projection.map(|positions| positions.iter().map(name).collect()),
            filter: selection.conditions().iter().map(condition).collect(),
        }
    }
}

impl From<storage::Stats> for StorageStats {
    fn from(stats: storage::Stats) -> StorageStats {
        let level = |level: storage::LevelStats| LevelStats {
            segments: level.segments,
            rows: level.rows,
            deleted: level.deleted,
            bytes: level.bytes,
        };
        let encoding = |encoding: storage::EncodingStats| EncodingStats {
            name: encoding.name,
            chunks: encoding.chunks,
            raw_bytes: encoding.raw_bytes,
            bytes: encoding.bytes,
        };
        let column = |column: storage::ColumnStats| ColumnStats {
            name: column.name,
            rows: column.rows,
            nulls: column.nulls,
            raw_bytes: column.raw_bytes,
            bytes: column.bytes,
            distinct: column.distinct,
            minimum: column.minimum.map(Into::into),
            maximum: column.maximum.map(Into::into),
            encodings: column.encodings.into_iter().map(encoding).collect(),
        };
        StorageStats {
            levels: stats.levels.into_iter().map(level).collect(),
            columns: stats.columns.into_iter().map(column).collect(),
        }
    }
}
