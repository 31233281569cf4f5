//! Rows of typed tables by the names of their columns.

use crate::error::{Error, Result};
use crate::json;
use crate::rows::{Scan, ScanOptions, Table};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json};
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_encoding::select::Projection;
use std::rc::Rc;

/// A row of a typed table: one value for each column, by the columns' names.
///
/// ```
/// # use sochdb_guest::testing::Database;
/// # use sochdb_guest::row::{Column, ColumnType, Schema};
/// # let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
/// # let columns = vec![column("id", ColumnType::Int64), column("name", ColumnType::String)];
/// # let mut db = Database::new();
/// # db.typed_table("people", Schema::new(columns, &["id"])?);
/// # db.transaction(|tx| {
/// use sochdb_guest::{Record, rows::ScanOptions, serde_json::json};
///
/// let people = tx.open("people")?;
/// let mut ada = Record::new(&people)?;
/// ada.set("id", 1)?;
/// ada.set("name", "Ada")?;
/// people.put_record(&ada)?;
///
/// let mut found = people.record(&ada.key()?)?.expect("it was just written");
/// assert_eq!(found.text("name")?, Some("Ada"));
/// assert_eq!(found.to_json(), json!({ "id": 1, "name": "Ada" }));
///
/// found.set("name", "Ada Lovelace")?;
/// people.put_record(&found)?;
/// for person in people.records(.., ScanOptions::default())? {
///     assert_eq!(person?.text("name")?, Some("Ada Lovelace"));
/// }
///
/// // A column that there is not, and a value that does not fit, are errors and no surprises.
/// assert!(found.set("nmae", "Ada").is_err() && found.set("name", 7).is_err());
/// # Ok(())
/// # })?;
/// # Ok::<(), sochdb_guest::Error>(())
/// ```
///
/// Serialised, it is the JSON object that [`to_json`](Self::to_json) gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    schema: Rc<Schema>,
    values: Vec<Value>,
    /// The row's key, where only some of its columns were read: those cannot be asked for it.
    projected: Option<Vec<u8>>,
}

impl Record {
    /// A row of `table` with the columns' defaults, and nulls where they have none.
    ///
    /// # Errors
    /// `Invalid` when the table is not typed.
    pub fn new(table: &Table<'_>) -> Result<Record> {
        Ok(Record::of(table.columns()?))
    }

    /// The same of a table with `schema`.
    pub fn of(schema: impl Into<Rc<Schema>>) -> Record {
        let schema = schema.into();
        let value = |column: &Column| column.default.clone().unwrap_or(Value::Null);
        let values = schema.columns.iter().map(value).collect();
        Record { schema, values, projected: None }
    }

    /// The row that `table` keeps under `key` as `value`.
    ///
    /// # Errors
    /// `Invalid` when the table is not typed, `Corrupt` when these bytes are no row of it.
    pub fn decode(table: &Table<'_>, key: &[u8], value: &[u8]) -> Result<Record> {
        Record::of_row(table.columns()?, key, value)
    }

    /// The same of a table with `schema`.
    ///
    /// # Errors
    /// `Corrupt` when these bytes are no row of it.
    pub fn of_row(schema: impl Into<Rc<Schema>>, key: &[u8], value: &[u8]) -> Result<Record> {
        let schema = schema.into();
        let values = schema.decode(key, value)?;
        Ok(Record { schema, values, projected: None })
    }

    /// A row of `table` from a JSON object. A column that is left out gets its default, or null.
    ///
    /// | column      | JSON                                                                             |
    /// |-------------|----------------------------------------------------------------------------------|
    /// | `bool`      | `true`, `false`                                                                  |
    /// | `int64`     | a whole number                                                                   |
    /// | `float64`   | a number, `"NaN"`, `"inf"`, `"-inf"`                                             |
    /// | `string`    | a string                                                                         |
    /// | `bytes`     | hexadecimal digits                                                               |
    /// | `timestamp` | RFC 3339, such as `"2023-11-14T22:13:20Z"`; read also from microseconds          |
    /// | `vector(n)` | an array of n numbers                                                            |
    ///
    /// # Errors
    /// `Invalid` when the table is not typed; for no object, and for a column that there is not, is missing, or
    /// holds something else.
    pub fn from_json(table: &Table<'_>, json: &Json) -> Result<Record> {
        Record::of_json(table.columns()?, json)
    }

    /// The same of a table with `schema`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn of_json(schema: impl Into<Rc<Schema>>, json: &Json) -> Result<Record> {
        let mut record = Record::of(schema);
        let object = json.as_object().ok_or_else(|| Error::invalid("a row is a JSON object"))?;
        for (name, json) in object {
            let at = record.position(name)?;
            record.values[at] = json::to_value(json, &record.schema.columns[at])?;
        }
        let columns = record.schema.columns.iter().zip(&record.values);
        let mut missing = columns.filter(|(column, value)| !column.nullable && is_null(value));
        match missing.next() {
            Some((column, _)) => {
                let text = format!("column '{}' is missing, and it allows no null", column.name);
                Err(Error::invalid(text))
            }
            None => Ok(record),
        }
    }

    /// All columns as a JSON object, in the order of the schema; in the forms of [`from_json`](Self::from_json).
    pub fn to_json(&self) -> Json {
        let columns = self.schema.columns.iter().zip(&self.values);
        let entry =
            |(column, value): (&Column, &Value)| (column.name.clone(), json::of_value(value));
        Json::Object(columns.map(entry).collect::<Map<_, _>>())
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One value for each column, in the order of the schema.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of `column`, [`Value::Null`] included; `None` when there is no such column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.position(column).ok().map(|at| &self.values[at])
    }

    /// Sets the value of `column`; `None` is null. A timestamp may be given as its microseconds.
    ///
    /// # Errors
    /// `Invalid` when there is no such column, or it holds something else.
    pub fn set(&mut self, column: &str, value: impl Into<Value>) -> Result<()> {
        let at = self.position(column)?;
        let Column { kind, nullable, default, .. } = &self.schema.columns[at];
        let value = match (value.into(), kind) {
            (Value::Int64(us), ColumnType::Timestamp) => Value::Timestamp(us),
            (value, _) => value,
        };
        let fits = match value.kind() {
            Some(found) => found == *kind,
            None => *nullable || default.is_some(),
        };
        if !fits {
            let found = value.kind().map_or("null".to_owned(), |kind| kind.to_string());
            let text = format!("column '{column}' holds {kind}, it was given {found}");
            return Err(Error::invalid(text));
        }
        self.values[at] = value;
        Ok(())
    }

    /// The text of `column`, a string; `None` when it is null.
    ///
    /// # Errors
    /// `Invalid` when there is no such column, or it holds something else; so below.
    pub fn text(&self, column: &str) -> Result<Option<&str>> {
        self.of_kind(column, "string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The number of `column`, an int64.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn integer(&self, column: &str) -> Result<Option<i64>> {
        self.of_kind(column, "int64", |value| match value {
            Value::Int64(number) => Some(*number),
            _ => None,
        })
    }

    /// The number of `column`, a float64.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn float(&self, column: &str) -> Result<Option<f64>> {
        self.of_kind(column, "float64", |value| match value {
            Value::Float64(number) => Some(*number),
            _ => None,
        })
    }

    /// Whether `column`, a bool, is true.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn boolean(&self, column: &str) -> Result<Option<bool>> {
        self.of_kind(column, "bool", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// The bytes of `column`.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn bytes(&self, column: &str) -> Result<Option<&[u8]>> {
        self.of_kind(column, "bytes", |value| match value {
            Value::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// The moment of `column`, a timestamp, in microseconds since 1970.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn timestamp(&self, column: &str) -> Result<Option<i64>> {
        self.of_kind(column, "timestamp", |value| match value {
            Value::Timestamp(us) => Some(*us),
            _ => None,
        })
    }

    /// The numbers of `column`, a vector.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn vector(&self, column: &str) -> Result<Option<&[f32]>> {
        self.of_kind(column, "vector", |value| match value {
            Value::Vector(floats) => Some(floats.as_slice()),
            _ => None,
        })
    }

    /// The row's key, as its table keeps it.
    ///
    /// # Errors
    /// `Invalid` when a column of the key is null or NaN.
    pub fn key(&self) -> Result<Vec<u8>> {
        match &self.projected {
            Some(key) => Ok(key.clone()),
            None => Ok(self.schema.encode_key(&self.values)?),
        }
    }

    /// The row's value, as its table keeps it: the columns outside the key.
    ///
    /// # Errors
    /// `Invalid` when a column is null that may not be, and when the row was read with some of its columns only.
    pub fn encode(&self) -> Result<Vec<u8>> {
        if self.projected.is_some() {
            let text = "of this row only some columns were read, so it cannot be written";
            return Err(Error::invalid(text));
        }
        Ok(self.schema.encode_row(&self.values)?)
    }

    fn of_kind<'a, T>(
        &'a self,
        column: &str,
        wanted: &str,
        get: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let at = self.position(column)?;
        if let Some(found) = get(&self.values[at]) {
            return Ok(Some(found));
        }
        let kind = self.schema.columns[at].kind.to_string();
        if is_null(&self.values[at]) && kind.starts_with(wanted) {
            return Ok(None);
        }
        Err(Error::invalid(format!("column '{column}' holds {kind}, it was read as {wanted}")))
    }

    fn position(&self, column: &str) -> Result<usize> {
        let columns = &self.schema.columns;
        columns.iter().position(|known| known.name == column).ok_or_else(|| {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Error::invalid(format!("there is no column '{column}'; there are {}", names.join(", ")))
        })
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Null)
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.values.len()))?;
        for (column, value) in self.schema.columns.iter().zip(&self.values) {
            map.serialize_entry(&column.name, &json::of_value(value))?;
        }
        map.end()
    }
}

/// The rows of a scan as [`Record`]s, one after the other.
pub struct Records {
    scan: Scan,
    schema: Rc<Schema>,
    projection: Option<(Projection, Rc<Schema>)>,
}

impl Records {
    pub(crate) fn begin(
        table: &Table<'_>,
        range: KeyRange,
        options: ScanOptions,
    ) -> Result<Records> {
        let schema = table.columns()?;
        let projection = match &options.columns[..] {
            [] => None,
            columns => {
                let columns: Vec<_> = columns.iter().map(String::as_str).collect();
                let projection = Projection::new(&schema, &columns)?;
                let columns = Rc::new(projection.schema().clone());
                Some((projection, columns))
            }
        };
        Ok(Records { scan: table.scan(range, options)?, schema, projection })
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let (key, value) = match self.scan.next() {
            Ok(row) => row?,
            Err(error) => return Some(Err(error)),
        };
        let record = match &self.projection {
            None => self.schema.decode(key, value).map(|values| Record {
                schema: self.schema.clone(),
                values,
                projected: None,
            }),
            Some((projection, schema)) => projection.decode(value).map(|values| Record {
                schema: schema.clone(),
                values,
                projected: Some(key.to_vec()),
            }),
        };
        Some(record.map_err(Error::from))
    }
}
