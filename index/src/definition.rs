//! What an index is: its table, its column, and how it is to be built.
//!
//! An index is a table of its own, which the host keeps and users do not see. Its name says whose it is, its
//! settings say the rest, so the catalog needs to know nothing about indexes:
//!
//! ```text
//!   sochdb.index.<index>.<table>     storage "sochdb.index", settings: column, using, metric, ...
//!   sochdb.indexing.<index>.<table>  the same while the rows that there were are being marked
//! ```
//!
//! A tenant's table keeps its namespace: `sochdb.index.meaning.acme/docs`.

use crate::vectors::{CodeKind, Element, Metric};
use sochdb_encoding::row::{ColumnType, Schema};
use sochdb_kernel::limits::TABLE_NAME_BYTES_MAX;
use sochdb_kernel::{KernelError, KernelResult, TableInfo, TableOptions};
use std::collections::BTreeMap;

/// The storage engine that keeps indexes.
pub const STORAGE: &str = "sochdb.index";
/// How the names of the tables of indexes begin.
pub const PREFIX: &str = "sochdb.index.";
/// How they begin while an index is being made.
pub const BUILDING: &str = "sochdb.indexing.";
/// The most dimensions of an indexed vector.
pub const DIM_MAX: u32 = 4096;
/// What chooses a plugin by the number of entries.
pub const AUTO: &str = "auto";

/// What kind of values an index finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// The nearest vectors.
    Vector {
        /// Dimensions.
        dim: u32,
        /// How near two of them are.
        metric: Metric,
        /// How exactly they are kept.
        element: Element,
        /// What they are compared by while a search is on its way.
        codes: CodeKind,
    },
    /// Values that equal one, or lie in a range.
    Ordered,
}

/// An index of a column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    /// The index's name, unique among those of its table.
    pub name: String,
    /// The table, by its full name.
    pub table: String,
    /// The column.
    pub column: String,
    /// The plugin that builds it; [`AUTO`] for whichever suits the number of entries.
    pub using: String,
    /// What it finds.
    pub kind: IndexKind,
    /// All settings as they were given: those above, and those of the plugin.
    pub settings: BTreeMap<String, String>,
}

/// The name of the table that keeps index `index` of `table`.
pub fn index_table_name(table: &str, index: &str) -> String {
    format!("{PREFIX}{index}.{table}")
}

/// The name it has while the index is being made.
pub fn building_table_name(table: &str, index: &str) -> String {
    format!("{BUILDING}{index}.{table}")
}

/// The index and the table that `name`, a table's full name, is an index of, made or being made.
pub fn parse_index_table_name(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(BUILDING))?.split_once('.')
}

/// For the table of an index: the name of the empty table from which it is made anew.
pub fn remade_table_name(name: &str) -> Option<String> {
    parse_index_table_name(name).map(|(index, table)| building_table_name(table, index))
}

impl IndexDefinition {
    /// Checks what a user asks for: index `name` of `column` of `table`, whose columns are `schema`.
    ///
    /// | setting  | values                                     | default   |
    /// |----------|--------------------------------------------|-----------|
    /// | `using`  | `auto` or an index plugin's name           | `auto` for vectors, `btree-index` else |
    /// | `metric` | `cosine`, `inner-product`, `euclidean`     | `cosine`  |
    /// | `store`  | `f32`, `f16`, `i8`                         | `f32`     |
    /// | `codes`  | `sq8`, `rabitq4`, `rabitq2`, `rabitq1`, `pq` | `sq8`   |
    ///
    /// All others are the plugin's.
    ///
    /// # Errors
    /// `Invalid` that names what is wrong.
    pub fn new(
        table: &str,
        name: &str,
        column: &str,
        schema: Option<&Schema>,
        settings: &BTreeMap<String, String>,
    ) -> KernelResult<IndexDefinition> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(good) {
            return invalid(format!(
                "an index's name has letters, digits, '_' and '-', but {name:?} was given"
            ));
        }
        if TABLE_NAME_BYTES_MAX < building_table_name(table, name).len() {
            return invalid(format!(
                "the names of index '{name}' and table '{table}' are too long"
            ));
        }
        let Some(schema) = schema else {
            return invalid(format!("table '{table}' has no columns, so none can be indexed"));
        };
        let Some(found) = schema.columns.iter().find(|found| found.name == column) else {
            let names: Vec<_> = schema.columns.iter().map(|column| &*column.name).collect();
            return invalid(format!(
                "table '{table}' has no column '{column}'; it has {}",
                names.join(", ")
            ));
        };
        let mut settings = settings.clone();
        settings.insert("column".to_owned(), column.to_owned());
        let text = |name: &str, default: &'static str| -> String {
            settings.get(name).cloned().unwrap_or_else(|| default.to_owned())
        };
        let kind = match found.kind {
            ColumnType::Vector(dim) => {
                if dim == 0 || DIM_MAX < dim {
                    return invalid(format!(
                        "column '{column}' has {dim} dimensions; an index takes 1 to {DIM_MAX}"
                    ));
                }
                IndexKind::Vector {
                    dim,
                    metric: text("metric", "cosine").parse()?,
                    element: text("store", "f32").parse()?,
                    codes: text("codes", "sq8").parse()?,
                }
            }
            _ => {
                for vectors_only in ["metric", "store", "codes"] {
                    if settings.contains_key(vectors_only) {
                        return invalid(format!(
                            "column '{column}' has no vectors, so '{vectors_only}' means nothing"
                        ));
                    }
                }
                IndexKind::Ordered
            }
        };
        let default = if kind == IndexKind::Ordered { "btree-index" } else { AUTO };
        let using = text("using", default);
        if kind == IndexKind::Ordered && using == AUTO {
            return invalid(format!("'{AUTO}' chooses among indexes of vectors"));
        }
        settings.insert("using".to_owned(), using.clone());
        Ok(IndexDefinition {
            name: name.to_owned(),
            table: table.to_owned(),
            column: column.to_owned(),
            using,
            kind,
            settings,
        })
    }

    /// The index of `table` that `info` keeps, if it keeps one; the table's columns are `schema`.
    ///
    /// # Errors
    /// `Invalid` when the column is not what it was any more.
    pub fn of(
        info: &TableInfo,
        schema: Option<&Schema>,
        table: &str,
    ) -> KernelResult<Option<IndexDefinition>> {
        match parse_index_table_name(&info.name) {
            Some((name, of)) if of == table => {
                let settings = &info.options.settings;
                let column = settings.get("column").map_or("", String::as_str);
                IndexDefinition::new(table, name, column, schema, settings).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The index whose table is called `name` and has these settings, of what `kind` says.
    pub fn kept(
        name: &str,
        settings: &BTreeMap<String, String>,
        kind: IndexKind,
    ) -> IndexDefinition {
        let (index, table) = parse_index_table_name(name).unwrap_or((name, ""));
        let text = |name: &str| settings.get(name).cloned().unwrap_or_default();
        IndexDefinition {
            name: index.to_owned(),
            table: table.to_owned(),
            column: text("column"),
            using: text("using"),
            kind,
            settings: settings.clone(),
        }
    }

    /// The columns of its table, which `info` is.
    ///
    /// # Errors
    /// `Invalid` when it has none.
    pub fn schema<'a>(&self, info: &'a TableInfo) -> KernelResult<&'a Schema> {
        let none = || KernelError::Invalid(format!("table '{}' has no columns", self.table));
        info.options.schema.as_ref().ok_or_else(none)
    }

    /// The name of the table that keeps it.
    pub fn index_table(&self) -> String {
        index_table_name(&self.table, &self.name)
    }

    /// The name of that table while it is being made.
    pub fn building_table(&self) -> String {
        building_table_name(&self.table, &self.name)
    }

    /// The options of that table.
    pub fn options(&self) -> TableOptions {
        TableOptions {
            storage: Some(STORAGE.to_owned()),
            settings: self.settings.clone(),
            ..TableOptions::default()
        }
    }

    /// The setting `name` as a number.
    ///
    /// # Errors
    /// `Invalid` when it is none, or outside of `range`.
    pub fn number(
        &self,
        name: &str,
        default: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> KernelResult<usize> {
        let Some(text) = self.settings.get(name) else { return Ok(default) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => invalid(format!(
                "'{name}' is a number from {} to {}, but {text:?} was given",
                range.start(),
                range.end()
            )),
        }
    }
}

fn invalid<T>(why: String) -> KernelResult<T> {
    Err(KernelError::Invalid(why))
}
