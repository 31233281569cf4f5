//! Some columns of typed rows, and conditions on them: what a scan need not hand out is left where it is.
//!
//! ```
//! use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
//! use sochdb_encoding::select::{Comparison, Condition, Projection};
//!
//! # fn main() -> sochdb_encoding::EncodingResult<()> {
//! let column = |name: &str, kind| Column { name: name.into(), kind, nullable: true, default: None };
//! let id = Column { nullable: false, ..column("id", ColumnType::Int64) };
//! let schema = Schema::new(vec![id, column("town", ColumnType::String)], &["id"])?;
//! let row = [Value::Int64(7), Value::String("Ulm".into())];
//! let (key, value) = (schema.encode_key(&row)?, schema.encode_row(&row)?);
//!
//! let in_ulm = Condition::new(&schema, "town", Comparison::Equal, Value::String("Ulm".into()))?;
//! assert!(in_ulm.holds(&schema, &key, &value)?);
//! let towns = Projection::new(&schema, &["town", "id"])?;
//! let projected = towns.encode(&schema, &key, &value)?;
//! assert_eq!(towns.decode(&projected)?, [row[1].clone(), row[0].clone()]);
//! # Ok(())
//! # }
//! ```

use crate::row::{COLUMNS_MAX, Column, Schema, Value};
use crate::slice::Slice;
use crate::{EncodingError, EncodingResult};
use std::cmp::Ordering;

/// Values one condition compares with.
pub const CONDITION_VALUES_MAX: usize = 1_000;

/// How a condition compares a column's value with its own. A null fulfils only [`IsNull`](Self::IsNull),
/// NaN only [`NotEqual`](Self::NotEqual) and [`IsNotNull`](Self::IsNotNull).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Comparison {
    /// Equals it.
    Equal = 0,
    /// Differs from it.
    NotEqual = 1,
    /// Is less.
    Less = 2,
    /// Is less or equal.
    LessOrEqual = 3,
    /// Is greater.
    Greater = 4,
    /// Is greater or equal.
    GreaterOrEqual = 5,
    /// Begins with it; strings and bytes.
    StartsWith = 6,
    /// Is null; the condition's value is not looked at.
    IsNull = 7,
    /// Is not null; the same.
    IsNotNull = 8,
    /// Equals one of several.
    In = 9,
}

impl TryFrom<u8> for Comparison {
    type Error = EncodingError;

    fn try_from(code: u8) -> EncodingResult<Comparison> {
        Ok(match code {
            0 => Comparison::Equal,
            1 => Comparison::NotEqual,
            2 => Comparison::Less,
            3 => Comparison::LessOrEqual,
            4 => Comparison::Greater,
            5 => Comparison::GreaterOrEqual,
            6 => Comparison::StartsWith,
            7 => Comparison::IsNull,
            8 => Comparison::IsNotNull,
            9 => Comparison::In,
            _ => return Err(EncodingError::invalid(format!("there is no comparison {code}"))),
        })
    }
}

/// A condition on one column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    position: usize,
    comparison: Comparison,
    values: Vec<Value>,
}

impl Condition {
    /// A condition on the column `column`, which compares with one value.
    ///
    /// # Errors
    /// `Invalid` when there is no such column, the value has another type, or it cannot be compared so.
    pub fn new(
        schema: &Schema,
        column: &str,
        comparison: Comparison,
        value: Value,
    ) -> EncodingResult<Condition> {
        Condition::at(schema, position(schema, column)?, comparison, vec![value])
    }

    /// The condition that `column` equals one of `values`, of which there may be none.
    ///
    /// # Errors
    /// As [`new`](Self::new); `Limit` for more than [`CONDITION_VALUES_MAX`].
    pub fn among(schema: &Schema, column: &str, values: Vec<Value>) -> EncodingResult<Condition> {
        Condition::at(schema, position(schema, column)?, Comparison::In, values)
    }

    /// A condition on the column at `position` of the schema: [`Comparison::In`] takes any number of values,
    /// the tests for null ignore them, all others take one.
    ///
    /// # Errors
    /// As [`among`](Self::among).
    pub fn at(
        schema: &Schema,
        position: usize,
        comparison: Comparison,
        mut values: Vec<Value>,
    ) -> EncodingResult<Condition> {
        let Some(Column { name: column, kind, .. }) = schema.columns.get(position) else {
            return Err(EncodingError::invalid(format!("there is no column {position}")));
        };
        match comparison {
            Comparison::IsNull | Comparison::IsNotNull => values.clear(),
            Comparison::In if CONDITION_VALUES_MAX < values.len() => {
                return Err(EncodingError::Limit {
                    what: "values of a condition",
                    got: values.len() as u64,
                    bound: CONDITION_VALUES_MAX as u64,
                });
            }
            Comparison::In => {}
            _ if values.len() != 1 => {
                let text =
                    format!("a condition on '{column}' with {} values, not one", values.len());
                return Err(EncodingError::invalid(text));
            }
            _ => {}
        }
        if let Some(value) = values.iter().find(|value| value.kind() != Some(*kind)) {
            return Err(EncodingError::invalid(format!(
                "column '{column}' holds {kind}, its condition compares with {value:?}"
            )));
        }
        let has_beginnings = matches!(values[..], [Value::String(_) | Value::Bytes(_)]);
        if comparison == Comparison::StartsWith && !has_beginnings {
            return Err(EncodingError::invalid(format!(
                "column '{column}' holds {kind}, which has no beginning"
            )));
        }
        Ok(Condition { position, comparison, values })
    }

    /// Which column of the schema.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How it compares.
    pub fn comparison(&self) -> Comparison {
        self.comparison
    }

    /// What it compares with: nothing in a test for null, any number for [`Comparison::In`], otherwise one.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether the row fulfils it.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no row of `schema`.
    pub fn holds(&self, schema: &Schema, key: &[u8], value: &[u8]) -> EncodingResult<bool> {
        let found = match schema.key.iter().position(|position| *position == self.position) {
            Some(order) => schema.key_values(key)?.swap_remove(order),
            None => schema.column(value, self.position)?,
        };
        Ok(self.accepts(&found))
    }

    /// Whether a row whose column has `found` fulfils it.
    pub fn accepts(&self, found: &Value) -> bool {
        let order = self.values.first().and_then(|value| compare(found, value));
        match self.comparison {
            Comparison::IsNull => *found == Value::Null,
            Comparison::IsNotNull => *found != Value::Null,
            _ if *found == Value::Null => false,
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order.is_some_and(Ordering::is_lt),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order.is_some_and(Ordering::is_gt),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
            Comparison::StartsWith => match (found, &self.values[0]) {
                (Value::String(found), Value::String(start)) => found.starts_with(start),
                (Value::Bytes(found), Value::Bytes(start)) => found.starts_with(start),
                _ => false,
            },
            Comparison::In => {
                self.values.iter().any(|value| compare(found, value) == Some(Ordering::Equal))
            }
        }
    }
}

/// The order of two values of one type; none between nulls, NaN, or different types.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Int64(a), Value::Int64(b)) => a.partial_cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.partial_cmp(b),
        (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => a.partial_cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.partial_cmp(b),
        (Value::Vector(a), Value::Vector(b)) => a.partial_cmp(b),
        _ => None,
    }
}

/// Some columns of a table, in an order of their own.
///
/// A projected row is encoded like the value of a table that has these columns and no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    positions: Vec<usize>,
    schema: Schema,
}

impl Projection {
    /// The columns named in `columns`. A column may be there twice.
    ///
    /// # Errors
    /// `Invalid` when there is no such column; `Limit` for too many.
    pub fn new(schema: &Schema, columns: &[&str]) -> EncodingResult<Projection> {
        let columns =
            columns.iter().map(|column| position(schema, column)).collect::<EncodingResult<_>>()?;
        Projection::at(schema, columns)
    }

    /// The columns at `positions` of the schema. A column may be there twice.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at(schema: &Schema, positions: Vec<usize>) -> EncodingResult<Projection> {
        if COLUMNS_MAX < positions.len() {
            return Err(EncodingError::Limit {
                what: "columns of an answer",
                got: positions.len() as u64,
                bound: COLUMNS_MAX as u64,
            });
        }
        let column = |position: &usize| {
            let Some(column) = schema.columns.get(*position) else {
                return Err(EncodingError::invalid(format!("there is no column {position}")));
            };
            // A row has its default already where it was written without a value.
            Ok(Column { default: None, ..column.clone() })
        };
        let columns = positions.iter().map(column).collect::<EncodingResult<_>>()?;
        Ok(Projection { positions, schema: Schema { columns, key: Vec::new() } })
    }

    /// Which columns of the schema, in the order they are given out.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The columns as a schema without a key, which is what projected rows are encoded with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns of the row `key`, `value` of a table with `schema`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no row of `schema`.
    pub fn encode(&self, schema: &Schema, key: &[u8], value: &[u8]) -> EncodingResult<Vec<u8>> {
        let in_key = |position: &usize| schema.key.contains(position);
        let keys = match self.positions.iter().any(in_key) {
            true => schema.key_values(key)?,
            false => Vec::new(),
        };
        let column = |position: &usize| match schema.key.iter().position(|of| of == position) {
            Some(order) => Ok(keys[order].clone()),
            None => schema.column(value, *position),
        };
        let row = self.positions.iter().map(column).collect::<EncodingResult<Vec<_>>>()?;
        self.schema.encode_row(&row)
    }

    /// The values of what [`encode`](Self::encode) made, in the order of the columns.
    ///
    /// # Errors
    /// `Corrupt` when it makes no such bytes.
    pub fn decode(&self, projected: &[u8]) -> EncodingResult<Vec<Value>> {
        self.schema.decode(&[], projected)
    }
}

/// What a scan gives out of the rows of its range: those that fulfil all conditions, and of them some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    schema: Schema,
    projection: Option<Projection>,
    conditions: Vec<Condition>,
}

impl Selection {
    /// A selection from the rows of a table with `schema`, for which `projection` and `conditions` were made.
    /// Without a projection values are given out as they are stored.
    ///
    /// # Errors
    /// `Limit` for more conditions than a table can have columns.
    pub fn new(
        schema: Schema,
        projection: Option<Projection>,
        conditions: Vec<Condition>,
    ) -> EncodingResult<Selection> {
        if COLUMNS_MAX < conditions.len() {
            let (got, bound) = (conditions.len() as u64, COLUMNS_MAX as u64);
            return Err(EncodingError::Limit { what: "conditions of a scan", got, bound });
        }
        Ok(Selection { schema, projection, conditions })
    }

    /// The table's schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns to give out.
    pub fn projection(&self) -> Option<&Projection> {
        self.projection.as_ref()
    }

    /// What rows must fulfil.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// What is given out of the row `key`, `value`; `None` when it does not fulfil the conditions.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no row of the schema.
    pub fn apply(&self, key: &[u8], value: Slice) -> EncodingResult<Option<Slice>> {
        for condition in &self.conditions {
            if !condition.holds(&self.schema, key, &value)? {
                return Ok(None);
            }
        }
        match &self.projection {
            Some(projection) => Ok(Some(projection.encode(&self.schema, key, &value)?.into())),
            None => Ok(Some(value)),
        }
    }
}

fn position(schema: &Schema, column: &str) -> EncodingResult<usize> {
    let found = schema.columns.iter().position(|known| known.name == column);
    found.ok_or_else(|| EncodingError::invalid(format!("there is no column '{column}'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::ColumnType;
    use proptest::prelude::*;

    fn schema() -> Schema {
        let column = |name: &str, kind, nullable| Column {
            name: name.into(),
            kind,
            nullable,
            default: None,
        };
        let columns = vec![
            column("note", ColumnType::String, true),
            column("id", ColumnType::Int64, false),
            column("score", ColumnType::Float64, true),
            column("at", ColumnType::Timestamp, false),
            column("v", ColumnType::Vector(2), true),
        ];
        Schema::new(columns, &["at", "id"]).unwrap()
    }

    fn encoded(row: &[Value]) -> (Vec<u8>, Vec<u8>) {
        (schema().encode_key(row).unwrap(), schema().encode_row(row).unwrap())
    }

    fn holds(row: &[Value], column: &str, comparison: Comparison, value: Value) -> bool {
        let (key, stored) = encoded(row);
        let condition = Condition::new(&schema(), column, comparison, value).unwrap();
        condition.holds(&schema(), &key, &stored).unwrap()
    }

    #[test]
    fn a_null_is_only_null_and_nan_only_differs() {
        let row = [
            Value::Null,
            Value::Int64(1),
            Value::Float64(f64::NAN),
            Value::Timestamp(5),
            Value::Null,
        ];
        assert!(holds(&row, "note", Comparison::IsNull, Value::Null));
        for comparison in (0..=6).map(|code| Comparison::try_from(code).unwrap()) {
            assert!(
                !holds(&row, "note", comparison, Value::String(String::new())),
                "{comparison:?}"
            );
            let differs = comparison == Comparison::NotEqual;
            if comparison != Comparison::StartsWith {
                assert_eq!(holds(&row, "score", comparison, Value::Float64(f64::NAN)), differs);
            }
        }
    }

    #[test]
    fn what_cannot_be_compared_is_invalid() {
        let new = |column, comparison, value| Condition::new(&schema(), column, comparison, value);
        assert!(new("nope", Comparison::Equal, Value::Int64(1)).is_err());
        assert!(new("id", Comparison::Equal, Value::Timestamp(1)).is_err());
        assert!(new("id", Comparison::StartsWith, Value::Int64(1)).is_err());
        assert!(new("v", Comparison::Equal, Value::Vector(vec![1.0])).is_err());
        assert!(Comparison::try_from(10).is_err());
        assert!(Condition::at(&schema(), 1, Comparison::Equal, Vec::new()).is_err());
        assert!(Condition::at(&schema(), 9, Comparison::IsNull, Vec::new()).is_err());
        assert!(Projection::new(&schema(), &["id", "nope"]).is_err());
    }

    #[test]
    fn what_may_be_null_in_the_table_may_be_null_in_the_answer_and_nothing_else() {
        let projection = Projection::new(&schema(), &["id", "note"]).unwrap();
        let nullable = projection.schema().columns.iter().map(|column| column.nullable);
        assert_eq!(nullable.collect::<Vec<_>>(), [false, true]);
        let row = |id| projection.schema().encode_row(&[id, Value::Null]);
        assert_eq!(projection.decode(&row(Value::Int64(7)).unwrap()).unwrap()[1], Value::Null);
        assert!(row(Value::Null).is_err());
    }

    #[test]
    fn one_of_several_is_enough_and_of_none_never() {
        let row =
            |id| [Value::Null, Value::Int64(id), Value::Null, Value::Timestamp(0), Value::Null];
        let among = |ids: &[i64]| {
            let values = ids.iter().copied().map(Value::Int64).collect();
            Condition::among(&schema(), "id", values).unwrap()
        };
        let (key, value) = encoded(&row(7));
        for (ids, wanted) in [(&[1, 7][..], true), (&[1, 8], false), (&[], false)] {
            assert_eq!(among(ids).holds(&schema(), &key, &value).unwrap(), wanted);
        }
        let projection = Projection::new(&schema(), &["id"]).unwrap();
        let new = |ids| Selection::new(schema(), Some(projection.clone()), vec![among(ids)]);
        let found = new(&[7]).unwrap().apply(&key, value.clone().into()).unwrap().unwrap();
        assert_eq!(projection.decode(&found).unwrap(), [Value::Int64(7)]);
        assert_eq!(new(&[8]).unwrap().apply(&key, value.into()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn a_projection_gives_the_columns_that_decoding_gives(
            note in proptest::option::of(".{0,9}"), id: i64, at: i64, score in proptest::option::of(-9.0..9.0f64),
            picks in proptest::collection::vec(0..5usize, 0..8),
        ) {
            let row = [
                note.map_or(Value::Null, Value::String),
                Value::Int64(id),
                score.map_or(Value::Null, Value::Float64),
                Value::Timestamp(at),
                Value::Vector(vec![0.5, -1.0]),
            ];
            let (key, value) = encoded(&row);
            let schema = schema();
            let names: Vec<_> = picks.iter().map(|pick| schema.columns[*pick].name.as_str()).collect();
            let projection = Projection::new(&schema, &names).unwrap();
            let projected = projection.encode(&schema, &key, &value).unwrap();
            let wanted: Vec<_> = picks.iter().map(|pick| row[*pick].clone()).collect();
            prop_assert_eq!(projection.decode(&projected).unwrap(), wanted);
        }

        #[test]
        fn integers_compare_as_integers_do(a: i64, b: i64) {
            let row = [Value::Null, Value::Int64(a), Value::Null, Value::Timestamp(0), Value::Null];
            let with = |comparison| holds(&row, "id", comparison, Value::Int64(b));
            prop_assert_eq!(with(Comparison::Equal), a == b);
            prop_assert_eq!(with(Comparison::NotEqual), a != b);
            prop_assert_eq!(with(Comparison::Less), a < b);
            prop_assert_eq!(with(Comparison::LessOrEqual), a <= b);
            prop_assert_eq!(with(Comparison::Greater), a > b);
            prop_assert_eq!(with(Comparison::GreaterOrEqual), a >= b);
        }
    }
}
