//! `table create`, `table convert`, `table list`, `table drop`, and what a new table is like.

use super::args::{Shape, Table, TableConvert};
use super::failure::{Failure, Outcome};
use super::names::{CODECS, STORAGES};
use super::screen::{counted, micros_text};
use super::text::parse_column;
use super::{Access, Session, cancel, copies};
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::{Column, Kernel, Schema, TableChanges, TableInfo, TableOptions};
use std::collections::BTreeMap;

/// Runs one `table` command.
pub fn table(session: &mut Session, command: Table) -> Outcome {
    match command {
        Table::Create(args) => {
            let options = table_options(&args.shape, None)?;
            let db = session.open(Access::Create)?;
            db.create_table(&args.name, options)?;
            db.close()?;
            done(session, &args.name, "created")
        }
        Table::Convert(args) => convert(session, &args),
        Table::List { all } => list(session, all),
        Table::Drop { name } => {
            let db = session.open(Access::Write)?;
            db.drop_table(&name)?;
            db.close()?;
            done(session, &name, "dropped")
        }
    }
}

fn done(session: &mut Session, name: &str, what: &str) -> Outcome {
    match session.screen.json {
        true => session.screen.object(&json!({ "table": name, what: true })),
        false => session.screen.line(format!("{what} table '{name}'")),
    }
}

fn convert(session: &mut Session, args: &TableConvert) -> Outcome {
    let mut changes = TableChanges::default();
    if let Some(storage) = &args.storage {
        changes = changes.storage(STORAGES.plugin(storage));
    }
    if let Some(codec) = &args.codec {
        changes = changes.codec(CODECS.plugin(codec));
    }
    for setting in &args.settings {
        let (key, value) = key_value(setting)?;
        changes = changes.set(key, value);
    }
    for key in &args.unset {
        changes = changes.unset(key);
    }
    let db = session.open(Access::Write)?;
    let bar = copies::bar();
    let done = db.convert_table(&args.name, &changes, &mut |progress| copies::show(&bar, progress));
    let report = cancel::or(done)?;
    bar.finish_and_clear();
    let TableOptions { storage, codec, .. } = db.begin_read()?.table(&args.name)?.options;
    db.close()?;
    if session.screen.json {
        return session.screen.object(&json!({
            "table": args.name,
            "storage": storage,
            "codec": codec,
            "rows": report.rows,
            "changes": report.changes,
            "pause_us": report.pause_us,
            "micros": report.micros,
        }));
    }
    session.screen.line(format!(
        "converted table '{}' to storage {} and codec {}: {} in {}",
        args.name,
        storage.as_deref().unwrap_or("kernel"),
        codec.as_deref().unwrap_or("none"),
        counted(report.rows, "row"),
        micros_text(report.micros),
    ))
}

pub fn key_value(setting: &str) -> Outcome<(&str, &str)> {
    let wrong = || Failure::invalid(format!("--set '{setting}' is not KEY=VALUE"));
    setting.split_once('=').ok_or_else(wrong)
}

/// The options of a new table as the command line says; `schema` stands in where it names no columns.
pub fn table_options(shape: &Shape, schema: Option<Schema>) -> Outcome<TableOptions> {
    let columns: Vec<Column> = shape
        .columns
        .iter()
        .map(|text| parse_column(text))
        .collect::<Result<_, _>>()
        .map_err(Failure::invalid)?;
    let schema = match (schema, columns.is_empty()) {
        (Some(schema), _) => Some(schema),
        (None, false) => Some(schema_with_key(columns, &shape.key)?),
        (None, true) if shape.key.is_empty() => None,
        (None, true) => {
            let help = "describe the columns with --column NAME:TYPE, or leave --key out for an untyped table";
            return Err(
                Failure::invalid("--key names a column of a table without columns").help(help)
            );
        }
    };
    let mut settings = BTreeMap::new();
    for setting in &shape.settings {
        let (key, value) = key_value(setting)?;
        settings.insert(key.to_owned(), value.to_owned());
    }
    Ok(TableOptions {
        schema,
        storage: shape.storage.as_deref().and_then(|name| STORAGES.plugin(name)).map(str::to_owned),
        codec: shape.codec.as_deref().and_then(|name| CODECS.plugin(name)).map(str::to_owned),
        settings,
    })
}

/// A schema over `columns`; without key columns named, the column `id` is the key.
pub fn schema_with_key(columns: Vec<Column>, key: &[String]) -> Outcome<Schema> {
    let mut key: Vec<&str> = key.iter().map(String::as_str).collect();
    if key.is_empty() {
        if !columns.iter().any(|column| column.name == "id") {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Failure::invalid("a typed table needs a key").help(format!(
                "say which column is the key with --key; the columns are {}",
                names.join(", ")
            )));
        }
        key.push("id");
    }
    Ok(Schema::new(columns.clone(), &key)?)
}

/// The names of a schema's key columns, in key order.
pub fn key_names(schema: &Schema) -> Vec<&str> {
    schema.key.iter().map(|&position| schema.columns[position].name.as_str()).collect()
}

fn list(session: &mut Session, all: bool) -> Outcome {
    let db = session.open(Access::Read)?;
    // The kernel's own list: a transaction's is without those that keep indexes.
    let mut tables = Kernel::begin_read(&db)?.tables()?;
    tables.retain(|table| all || !table.name.starts_with(HOST_TABLES));
    if session.screen.json {
        let tables: Vec<_> = tables.iter().map(table_json).collect();
        return session.screen.object(&json!({ "tables": tables }));
    }
    if tables.is_empty() && !session.screen.mode().is_for_rows() {
        return session.screen.line("no tables");
    }
    let header = ["table", "columns", "key", "storage", "codec"].map(String::from);
    session.screen.table(header, tables.iter().map(table_row))
}

fn table_row(table: &TableInfo) -> [String; 5] {
    let TableOptions { schema, storage, codec, .. } = &table.options;
    let columns = match schema {
        None => "untyped".to_owned(),
        Some(schema) => schema.columns.iter().map(column_text).collect::<Vec<_>>().join(", "),
    };
    let key =
        schema.as_ref().map_or_else(|| "bytes".to_owned(), |schema| key_names(schema).join(", "));
    let or = |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_owned());
    [table.name.clone(), columns, key, or(storage, "kernel"), or(codec, "none")]
}

fn column_text(column: &Column) -> String {
    let nullable = if column.nullable { "?" } else { "" };
    format!("{}:{}{nullable}", column.name, column.kind)
}

/// A table's description for a program.
pub fn table_json(table: &TableInfo) -> serde_json::Value {
    let TableOptions { schema, storage, codec, settings } = &table.options;
    let columns = schema.as_ref().map(|schema| {
        let column = |c: &Column| json!({ "name": c.name, "type": c.kind.to_string(), "nullable": c.nullable });
        schema.columns.iter().map(column).collect::<Vec<_>>()
    });
    json!({
        "name": table.name,
        "id": table.id.0,
        "columns": columns,
        "key": schema.as_ref().map(key_names),
        "storage": storage,
        "codec": codec,
        "settings": settings,
    })
}
