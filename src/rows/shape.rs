//! What the columns of a table and the fields of a type have to do with one another: columns are made of fields, and
//! fields are compared with the columns that are there.

use super::RowOptions;
use super::trace::{self, Field, Kind};
use serde::de::DeserializeOwned;
use sochdb_kernel::{Column, ColumnType, KernelError, KernelResult, Schema};

/// A table's columns, and what a type has of them.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(super) table: String,
    pub(super) schema: Schema,
    /// For each column, whether the type has a field of its name.
    pub(super) has: Vec<bool>,
}

impl Shape {
    /// The table `name` with the columns of `schema`, which the type `T` fits.
    ///
    /// # Errors
    /// `Invalid` when it does not, with the column and both types.
    pub(super) fn compared<T: DeserializeOwned>(
        name: &str,
        schema: Schema,
        key: &[&str],
    ) -> KernelResult<Shape> {
        let fields = fields::<T>(name)?;
        let is_there = |column: &Column| fields.iter().any(|field| field.name == column.name);
        let has = schema.columns.iter().map(is_there).collect();
        let shape = Shape { table: name.to_owned(), schema, has };
        check_key(&shape, key)?;
        fields.iter().try_for_each(|field| check_field(&shape, field))?;
        check_rest(&shape, std::any::type_name::<T>())?;
        Ok(shape)
    }

    /// Where the column `name` is, most likely at `next`.
    pub(super) fn position(&self, name: &str, next: usize) -> Option<usize> {
        let columns = &self.schema.columns;
        match columns.get(next).is_some_and(|column| column.name == name) {
            true => Some(next),
            false => columns.iter().position(|column| column.name == name),
        }
    }

    pub(super) fn invalid(&self, text: impl std::fmt::Display) -> KernelError {
        KernelError::Invalid(format!("table '{}': {text}", self.table))
    }
}

/// The fields of `T`, for the table `name`.
pub(super) fn fields<T: DeserializeOwned>(name: &str) -> KernelResult<Vec<Field>> {
    trace::fields::<T>().map_err(|error| {
        let rows = std::any::type_name::<T>();
        KernelError::Invalid(format!("table '{name}' of rows of {rows}{error}"))
    })
}

/// The column that is made for a field.
pub(super) fn column(table: &str, field: Field, options: &RowOptions) -> KernelResult<Column> {
    let name = field.name.to_owned();
    let kind = match (field.kind, options.vectors.get(field.name)) {
        (Kind::Column(kind), None) => kind,
        (Kind::Column(ColumnType::Vector(dim)), Some(said)) if *said == dim => {
            ColumnType::Vector(dim)
        }
        (Kind::Floats, Some(dim)) => ColumnType::Vector(*dim),
        (Kind::Floats, None) => {
            let text = format!(
                "table '{table}', column '{name}': a Vec<f32> may have any length, a column has one; say \
                 RowOptions::vector(\"{name}\", DIM), or make the field a Vector<DIM>"
            );
            return Err(KernelError::Invalid(text));
        }
        (Kind::Column(kind), Some(dim)) => {
            let text = format!(
                "table '{table}', column '{name}': RowOptions say vector({dim}), the field is {kind}"
            );
            return Err(KernelError::Invalid(text));
        }
    };
    Ok(Column { name, kind, nullable: field.nullable, default: None })
}

fn check_key(shape: &Shape, key: &[&str]) -> KernelResult<()> {
    let columns = shape.schema.key.iter().map(|position| &*shape.schema.columns[*position].name);
    let columns: Vec<&str> = columns.collect();
    if columns == key {
        return Ok(());
    }
    let [columns, key] = [&columns[..], key].map(|names| names.join(", "));
    Err(shape.invalid(format_args!("its key is ({columns}), ({key}) was asked for")))
}

fn check_field(shape: &Shape, field: &Field) -> KernelResult<()> {
    let name = field.name;
    let Some(position) = shape.position(name, 0) else {
        if field.nullable {
            return Ok(());
        }
        let text = format!("there is no column '{name}' for the field of this name");
        return Err(shape.invalid(text));
    };
    let column = &shape.schema.columns[position];
    let fits_kind = match field.kind {
        Kind::Column(kind) => kind == column.kind,
        Kind::Floats => matches!(column.kind, ColumnType::Vector(_)),
    };
    let fits_null = match (column.nullable, field.nullable) {
        (true, false) => false,
        (false, true) => column.default.is_some(),
        _ => true,
    };
    if fits_kind && fits_null {
        return Ok(());
    }
    let nullable = |nullable: bool| if nullable { ", nullable" } else { "" };
    let asked = match field.kind {
        Kind::Column(kind) => kind.to_string(),
        Kind::Floats => "vector(any)".to_owned(),
    };
    let (kind, of_column) = (column.kind, nullable(column.nullable));
    let of_field = nullable(field.nullable);
    Err(shape.invalid(format_args!(
        "column '{name}' is {kind}{of_column}, the field is {asked}{of_field}"
    )))
}

/// Columns that the type has no field for can be left out of a row.
fn check_rest(shape: &Shape, rows: &str) -> KernelResult<()> {
    for (column, has) in shape.schema.columns.iter().zip(&shape.has) {
        if !has && !column.nullable && column.default.is_none() {
            let (name, kind) = (&column.name, column.kind);
            let text =
                format!("column '{name}' is {kind} and never null, {rows} has no field for it");
            return Err(shape.invalid(text));
        }
    }
    Ok(())
}
