//! The indexed column of a row: its value, and the form in which an index keeps and compares it.
//!
//! | column  | form                                                                                |
//! |---------|-------------------------------------------------------------------------------------|
//! | vector  | its values as f32, little-endian                                                    |
//! | other   | the value as the only column of a key: compares byte by byte like the values        |
//!
//! A mark is what the index's own table holds for a row: XXH3 of that form, 8 bytes little-endian, never 0; a
//! null's is 0. With it a flush knows whether the value that it reads is the one that was marked.

use crate::definition::{IndexDefinition, IndexKind};
use sochdb_encoding::row::{Column, Schema, Value};
use sochdb_kernel::{KernelError, KernelResult};

/// The most bytes of a value's form in an ordered index.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of a mark.
pub const MARK_BYTES: usize = 8;

/// The column that an index is of.
pub struct IndexedColumn {
    schema: Schema,
    position: usize,
    /// Where it is among the key's columns, if it is one.
    in_key: Option<usize>,
    /// For its form in an ordered index.
    alone: Option<Schema>,
}

impl IndexedColumn {
    /// The column of `index` in a table whose columns are `schema`.
    ///
    /// # Errors
    /// `Invalid` when there is no such column.
    pub fn new(index: &IndexDefinition, schema: &Schema) -> KernelResult<IndexedColumn> {
        let position = schema.columns.iter().position(|column| column.name == index.column);
        let gone = || {
            let (name, table) = (&index.column, &index.table);
            KernelError::Invalid(format!("table '{table}' has no column '{name}'"))
        };
        let position = position.ok_or_else(gone)?;
        let in_key = schema.key.iter().position(|&at| at == position);
        let alone = match index.kind {
            IndexKind::Vector { .. } => None,
            IndexKind::Ordered => {
                let kind = schema.columns[position].kind;
                let name = index.column.clone();
                let column = Column { name, kind, nullable: false, default: None };
                Some(Schema::new(vec![column], &[&index.column])?)
            }
        };
        Ok(IndexedColumn { schema: schema.clone(), position, in_key, alone })
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.schema.columns[self.position].name
    }

    /// The value that the row has.
    ///
    /// # Errors
    /// `Corrupt` when it is no row of the table.
    pub fn value(&self, key: &[u8], row: &[u8]) -> KernelResult<Value> {
        Ok(match self.in_key {
            Some(at) => self.schema.key_values(key)?.swap_remove(at),
            None => self.schema.column(row, self.position)?,
        })
    }

    /// The form of `value`, added to `out`; returns whether it has one: a null does not.
    ///
    /// # Errors
    /// `Invalid` for a vector with a value that is no finite number and for NaN, `Limit` for a value that is too
    /// long.
    pub fn form(&self, value: &Value, out: &mut Vec<u8>) -> KernelResult<bool> {
        match (value, &self.alone) {
            (Value::Null, _) => return Ok(false),
            (Value::Vector(vector), _) => {
                if let Some(at) = vector.iter().position(|x| !x.is_finite()) {
                    return Err(KernelError::Invalid(format!(
                        "column '{}' is indexed, but value {at} of its vector is {}",
                        self.name(),
                        vector[at]
                    )));
                }
                vector.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
            }
            (value, Some(alone)) => {
                let form = alone.encode_key_values(std::slice::from_ref(value))?;
                if VALUE_BYTES_MAX < form.len() {
                    return Err(KernelError::Limit {
                        what: "bytes of a value in an indexed column",
                        got: form.len() as u64,
                        bound: VALUE_BYTES_MAX as u64,
                    });
                }
                out.extend_from_slice(&form);
            }
            (_, None) => {
                return Err(KernelError::Invalid(format!(
                    "column '{}' has no vector",
                    self.name()
                )));
            }
        }
        Ok(true)
    }
}

/// The mark of a value whose form is `form`; of a null without one.
pub fn mark(form: Option<&[u8]>) -> u64 {
    form.map_or(0, |form| twox_hash::XxHash3_64::oneshot(form).max(1))
}
