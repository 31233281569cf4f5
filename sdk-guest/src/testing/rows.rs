//! Typed rows of every type, with the values that hurt, and selections from them.

use super::keys::text;
use crate::row::{Column, ColumnType, Schema, Value};
use crate::select::{Comparison, Condition, Projection, Selection};
use fastrand::Rng;

/// The values of a column do not come from nowhere: what they have in common is what encodings live on.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Any value, extreme ones among them.
    Any,
    /// One of a few.
    Few,
    /// Mostly the same one.
    Constant,
    /// Growing by small steps.
    Growing,
}

/// A schema, and what its columns hold.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) schema: Schema,
    shapes: Vec<Shape>,
}

impl Rows {
    /// A table with one to three key columns and up to ten others. Every type comes up.
    pub(super) fn new(rng: &mut Rng) -> Rows {
        let keys = rng.usize(1..4);
        let mut columns = Vec::new();
        for position in 0..keys + rng.usize(..11) {
            let in_key = position < keys;
            let kinds = if in_key { 6 } else { 7 };
            let kind = match rng.u8(..kinds) {
                0 => ColumnType::Int64,
                1 => ColumnType::String,
                2 => ColumnType::Timestamp,
                3 => ColumnType::Bytes,
                4 => ColumnType::Float64,
                5 => ColumnType::Bool,
                _ => ColumnType::Vector(rng.u32(1..5)),
            };
            let (name, nullable) = (format!("c{position}"), !in_key && rng.bool());
            columns.push(Column { name, kind, nullable, default: None });
        }
        let shape = |_| [Shape::Any, Shape::Few, Shape::Constant, Shape::Growing][rng.usize(..4)];
        let shapes = (0..columns.len()).map(shape).collect();
        // The key's columns lie in another order than the table's.
        let key: Vec<_> = columns[..keys].iter().rev().map(|column| column.name.clone()).collect();
        let key: Vec<_> = key.iter().map(String::as_str).collect();
        let schema = Schema::new(columns, &key).expect("the kit makes schemas that hold");
        Rows { schema, shapes }
    }

    pub(super) fn words(&self) -> String {
        let columns = self.schema.columns.iter().map(|column| {
            let null = if column.nullable { "?" } else { "" };
            format!("{}:{}{null}", column.name, column.kind)
        });
        format!("the columns {}", columns.collect::<Vec<_>>().join(" "))
    }

    /// A row's key and value; `next` counts the rows that were made.
    pub(super) fn row(&self, rng: &mut Rng, next: u64) -> (Vec<u8>, Vec<u8>) {
        let row: Vec<_> = (0..self.shapes.len()).map(|at| self.value(rng, at, next)).collect();
        let encoded = (self.schema.encode_key(&row), self.schema.encode_row(&row));
        match encoded {
            (Ok(key), Ok(value)) => (key, value),
            (Err(error), _) | (_, Err(error)) => panic!("the kit made a row that is none: {error}"),
        }
    }

    /// A value of the column at `at`.
    fn value(&self, rng: &mut Rng, at: usize, next: u64) -> Value {
        let column = &self.schema.columns[at];
        if column.nullable && rng.u8(..4) == 0 {
            return Value::Null;
        }
        let shape = self.shapes[at];
        let number = number(rng, shape, next);
        match column.kind {
            ColumnType::Bool => Value::Bool(number % 2 != 0),
            ColumnType::Int64 => Value::Int64(number),
            ColumnType::Timestamp => Value::Timestamp(number),
            ColumnType::Float64 => {
                let float = float(rng, shape, number);
                let in_key = self.schema.key.contains(&at);
                Value::Float64(if in_key && float.is_nan() { 0.0 } else { float })
            }
            ColumnType::String => Value::String(match shape {
                Shape::Any => text(rng, 8),
                Shape::Growing => format!("row {next:06}"),
                _ => ["", "red", "reddish", "a rather long name of a colour"][number as usize % 4]
                    .into(),
            }),
            ColumnType::Bytes => match shape {
                Shape::Any => Value::Bytes((0..rng.usize(..40)).map(|_| rng.u8(..)).collect()),
                _ => Value::Bytes(vec![number as u8; number as usize % 5]),
            },
            ColumnType::Vector(dim) => {
                let of = |_| float(rng, shape, number) as f32;
                Value::Vector((0..dim).map(of).collect())
            }
        }
    }

    /// Some columns, some conditions, or both.
    pub(super) fn selection(&self, rng: &mut Rng, next: u64, must_project: bool) -> Selection {
        let projection = (must_project || rng.bool()).then(|| {
            let positions = (0..rng.usize(..5)).map(|_| rng.usize(..self.shapes.len())).collect();
            Projection::at(&self.schema, positions)
        });
        let conditions = (0..rng.usize(..3)).map(|_| self.condition(rng, next));
        let (projection, conditions) =
            (projection.transpose(), conditions.collect::<Result<_, _>>());
        match (projection, conditions) {
            (Ok(projection), Ok(conditions)) => {
                Selection::new(self.schema.clone(), projection, conditions)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
        .expect("the kit makes selections of the columns that there are")
    }

    fn condition(&self, rng: &mut Rng, next: u64) -> sochdb_encoding::EncodingResult<Condition> {
        let at = rng.usize(..self.shapes.len());
        let text = matches!(self.schema.columns[at].kind, ColumnType::String | ColumnType::Bytes);
        let comparison = Comparison::try_from(rng.u8(..10))?;
        let comparison = match comparison {
            Comparison::StartsWith if !text => Comparison::LessOrEqual,
            comparison => comparison,
        };
        let count = if comparison == Comparison::In { rng.usize(..5) } else { 1 };
        let mut values = Vec::new();
        while values.len() < count {
            let next = rng.u64(..=next);
            let value = self.value(rng, at, next);
            if value != Value::Null {
                values.push(value);
            }
        }
        Condition::at(&self.schema, at, comparison, values)
    }
}

fn number(rng: &mut Rng, shape: Shape, next: u64) -> i64 {
    match shape {
        Shape::Any => match rng.u8(..12) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => 0,
            3 => -1,
            4 => 1 << rng.u32(..63),
            5 => rng.i64(..),
            _ => rng.i64(-1000..1000),
        },
        Shape::Few => [3, 4, 5, 1 << 40][rng.usize(..4)],
        Shape::Constant => {
            if rng.u8(..30) == 0 {
                8
            } else {
                7
            }
        }
        Shape::Growing => 1_700_000_000_000_000 + next as i64 * 1000 + rng.i64(..10),
    }
}

fn float(rng: &mut Rng, shape: Shape, number: i64) -> f64 {
    match shape {
        Shape::Any => match rng.u8(..12) {
            0 => -0.0,
            1 => f64::NAN,
            // A NaN of other bits, which must come back as they are.
            2 => f64::from_bits(0xfff8_0000_0000_0000 | rng.u64(1..1 << 40)),
            3 => f64::INFINITY,
            4 => f64::NEG_INFINITY,
            5 => f64::from_bits(rng.u64(1..1 << 52)),
            6 => f64::from_bits(rng.u64(..)),
            _ => rng.i32(-10_000..10_000) as f64 / 100.0,
        },
        Shape::Growing => (number % 1_000_000_000) as f64 / 10.0,
        _ => number as f64 / 4.0,
    }
}
