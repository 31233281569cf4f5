//! `.schema`: a table and its indexes as the lines that would make them.

use super::super::failure::Outcome;
use super::super::tables::{key_names, table_json};
use super::super::{Access, Session};
use super::words::quoted;
use serde_json::json;
use sochdb::host::policy::HOST_TABLES;
use sochdb::{IndexDefinition, IndexKind, Kernel, KernelError, TableInfo};

/// Prints the table `name`, or all.
pub fn print(session: &mut Session, name: Option<&str>) -> Outcome {
    let db = session.open(Access::Read)?;
    let mut tables = Kernel::begin_read(&db)?.tables()?;
    tables.retain(|table| !table.name.starts_with(HOST_TABLES));
    if let Some(name) = name {
        tables.retain(|table| table.name == name);
        if tables.is_empty() {
            return Err(KernelError::NotFound { kind: "table", name: name.to_owned() }.into());
        }
    }
    for table in &tables {
        let indexes = db.indexes(Some(&table.name))?;
        let lines: Vec<_> = indexes.iter().map(|(index, _)| index_line(index)).collect();
        if session.screen.json {
            session.screen.object(&json!({ "table": table_json(table), "indexes": lines }))?;
            continue;
        }
        session.screen.line(table_line(table))?;
        lines.iter().try_for_each(|line| session.screen.line(line))?;
    }
    Ok(())
}

fn table_line(table: &TableInfo) -> String {
    let options = &table.options;
    let mut line = format!("table create {}", quoted(&table.name));
    if let Some(schema) = &options.schema {
        for column in &schema.columns {
            let nullable = if column.nullable { "?" } else { "" };
            let text = format!("{}:{}{nullable}", column.name, column.kind);
            line += &format!(" --column {}", quoted(&text));
        }
        for key in key_names(schema) {
            line += &format!(" --key {}", quoted(key));
        }
    }
    let named = [("storage", &options.storage), ("codec", &options.codec)];
    for (option, value) in named {
        if let Some(value) = value {
            line += &format!(" --{option} {}", quoted(value));
        }
    }
    line + &settings(&options.settings)
}

fn index_line(index: &IndexDefinition) -> String {
    let IndexDefinition { name, table, column, using, .. } = index;
    let words = [table, column].map(|word| quoted(word)).join(" ");
    let line = format!("index create {words} --name {} --using {}", quoted(name), quoted(using));
    let kind = match index.kind {
        IndexKind::Ordered => String::new(),
        IndexKind::Vector { metric, element, codes, .. } => {
            format!(" --metric {metric} --store {element} --codes {codes}")
        }
    };
    // What has an option of its own is among the settings, too.
    let said = ["column", "using", "metric", "store", "codes"];
    let others = index.settings.iter().filter(|(key, _)| !said.contains(&key.as_str()));
    line + &kind + &settings(others)
}

fn settings<'a>(settings: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let set =
        |(key, value): (&String, &String)| format!(" --set {}", quoted(&format!("{key}={value}")));
    settings.into_iter().map(set).collect()
}
