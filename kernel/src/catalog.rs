//! Tables by name: what they are made of, and where their checkpointed rows are.
//!
//! The catalog is itself a table, number 0, in the kernel's own tree. So creating, renaming and dropping
//! tables are ordinary rows of ordinary transactions, and a checkpoint installs the new roots and segment
//! lists of all tables with the same page flip as everything else. Its rows:
//!
//! | key                  | value                                                                   |
//! |----------------------|-------------------------------------------------------------------------|
//! | `t`, name            | the table: format u8 1, id u64, rows it was loaded with u64, storage, codec, schema (each u8 0, or u8 1 and length-prefixed bytes), settings (a varint count of pairs of length-prefixed strings) |
//! | `s`, table id u64 BE | its base: format u8 1, flushed timestamp u64, a tree's root, rows in segments u64, a varint count of segments ([`crate::segment`]) |
//! | `c`, number u8       | the name of the codec that blocks refer to by this number                |
//!
//! `t` rows are written by transactions, `s` and `c` rows by checkpoints alone.

use crate::error::{KernelError, KernelResult, bound};
use crate::kernel_api::{KeyRange, TableId, Timestamp};
use crate::limits::{CODECS_MAX, TABLE_NAME_BYTES_MAX, TABLES_MADE_MAX};
use crate::page::{DATA_FILE, Pager};
use crate::plugin::{CompressionExtension, PluginManager, TableContext};
use crate::segment::SegmentMeta;
use crate::tree::TreeRoot;
use crate::tree::node::Stored;
use crate::tree::read::TreeCursor;
use parking_lot::RwLock;
use sochdb_encoding::codec::{Reader, Wire};
use sochdb_encoding::row::Schema;
use sochdb_encoding::wire_structs;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The catalog's own table number.
pub const CATALOG: TableId = TableId(0);
/// The format of table and base rows.
pub const FORMAT: u8 = 1;
const SETTINGS_MAX: usize = 1000;
const TEXT_BYTES_MAX: usize = 64 << 10;

wire_structs! {
    /// What a table is made of. [`Default`]: bytes without a schema, in the kernel's own tree, plain.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct TableOptions {
        /// The storage plugin that keeps the rows; `None` for the kernel's own tree.
        pub storage: Option<String>,
        /// The codec that compresses segment blocks and large values.
        pub codec: Option<String>,
        /// The columns, for tables of typed rows.
        pub schema: Option<Schema>,
        /// Settings of the storage plugin.
        pub settings: BTreeMap<String, String>,
    }

    /// A table's base as the catalog stores it: a tree, or segments.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StoredBase {
        /// The row's format, 1.
        pub format: u8,
        /// The base holds every commit up to here.
        pub flushed: Timestamp,
        /// The tree; empty for a table of a storage plugin.
        pub tree: TreeRoot,
        /// Rows in the segments, as they were counted while flushing: overwritten rows count twice.
        pub rows: u64,
        /// The segments, oldest first.
        pub segments: Vec<SegmentMeta>,
    }
}

/// A table as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table's number, never used again.
    pub id: TableId,
    /// The table's present name.
    pub name: String,
    /// Rows that it was loaded with: no log ever had them.
    pub rows_loaded: u64,
    /// What it is made of.
    pub options: TableOptions,
}

impl TableInfo {
    /// What a storage plugin is told of the table.
    pub fn context(&self) -> TableContext {
        TableContext {
            id: self.id,
            name: self.name.clone(),
            schema: self.options.schema.clone(),
            compressed: self.options.codec.is_some(),
            options: self.options.settings.clone(),
        }
    }

    /// The catalog's row of the table.
    pub fn encode(&self) -> Vec<u8> {
        (FORMAT, (self.id, (self.rows_loaded, self.options.clone()))).to_wire()
    }

    /// The table `name`, whose row is `bytes`.
    ///
    /// # Errors
    /// `Corrupt` when they are none.
    pub fn decode(name: &str, bytes: &[u8]) -> KernelResult<TableInfo> {
        let (_, (id, (rows_loaded, options))): (u8, (TableId, _)) = decode(bytes)?;
        if id == CATALOG || TABLES_MADE_MAX < id.0 as usize {
            return Err(bad(&table_key(name)));
        }
        Ok(TableInfo { id, name: name.to_owned(), rows_loaded, options })
    }
}

fn decode<T: Wire>(bytes: &[u8]) -> KernelResult<T> {
    let mut reader = Reader::new("the catalog", 0, bytes);
    if bytes.first() != Some(&FORMAT) {
        return Err(reader.corrupt("format 1", format!("{:?}", bytes.first())).into());
    }
    let value = T::take(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The key of a table's row.
pub fn table_key(name: &str) -> Vec<u8> {
    [b"t", name.as_bytes()].concat()
}

/// The key of a table's base.
pub fn base_key(id: TableId) -> Vec<u8> {
    [b"s".as_slice(), &id.0.to_be_bytes()].concat()
}

/// Whether `name` can be a table's name: not empty, not too long, no control characters.
///
/// # Errors
/// `Invalid` that says what is wrong.
pub fn check_name(name: &str) -> KernelResult<()> {
    let long = format!("is longer than {TABLE_NAME_BYTES_MAX} bytes");
    let wrong = match name {
        "" => "is empty",
        _ if TABLE_NAME_BYTES_MAX < name.len() => &long,
        _ if name.chars().any(char::is_control) => "has a control character",
        _ => return Ok(()),
    };
    Err(KernelError::Invalid(format!("the table name {name:?} {wrong}")))
}

/// Checks the parts of `options` that need no plugin.
///
/// # Errors
/// `Limit` when the settings are too many or too long.
pub fn check_options(options: &TableOptions) -> KernelResult<()> {
    let texts = options.settings.iter().flat_map(|(name, value)| [name, value]);
    let longest = texts.chain(&options.storage).chain(&options.codec).map(String::len).max();
    bound("settings of a table", options.settings.len(), SETTINGS_MAX)?;
    bound("bytes of a table's setting", longest.unwrap_or(0), TEXT_BYTES_MAX)
}

/// One row of the catalog.
#[derive(Debug)]
pub enum CatalogRow {
    /// A table.
    Table(TableInfo),
    /// Where a table's checkpointed rows are.
    Base(TableId, StoredBase),
    /// A codec's number and name.
    Codec(u8, String),
}

/// The name of the table whose row has `key`.
///
/// # Errors
/// `Corrupt` when it is no table's row.
pub fn name_of(key: &[u8]) -> KernelResult<&str> {
    let name = key.strip_prefix(b"t").and_then(|name| std::str::from_utf8(name).ok());
    name.ok_or_else(|| bad(key))
}

fn bad(key: &[u8]) -> KernelError {
    KernelError::corrupt(DATA_FILE, 0, "a row of the catalog", format!("{}", key.escape_ascii()))
}

/// The catalog's row of `key`.
///
/// # Errors
/// `Corrupt` when it is none.
pub fn row(key: &[u8], value: &[u8]) -> KernelResult<CatalogRow> {
    Ok(match key.split_first() {
        Some((b't', _)) => CatalogRow::Table(TableInfo::decode(name_of(key)?, value)?),
        Some((b's', id)) => {
            let id = TableId(u64::from_be_bytes(id.try_into().map_err(|_| bad(key))?));
            let base: StoredBase = decode(value)?;
            base.tree.check(0)?;
            CatalogRow::Base(id, base)
        }
        Some((b'c', &[number])) => {
            let name = String::from_utf8(value.to_vec()).map_err(|_| bad(key))?;
            CatalogRow::Codec(number, name)
        }
        _ => return Err(bad(key)),
    })
}

/// The catalog as it was at the last checkpoint.
#[derive(Default)]
pub struct Loaded {
    /// Every table.
    pub tables: Vec<TableInfo>,
    /// Where their rows are; a table without rows may have none.
    pub bases: BTreeMap<TableId, StoredBase>,
    /// The codecs' names: number 1 first.
    pub codecs: Vec<String>,
}

/// Reads the whole catalog tree.
///
/// # Errors
/// `Corrupt` when a page or row is broken.
pub fn load(pager: &Arc<Pager>, root: TreeRoot) -> KernelResult<Loaded> {
    let mut cursor = TreeCursor::new(pager.clone(), root, KeyRange::all(), false);
    let mut loaded = Loaded::default();
    while let Some((key, stored)) = cursor.next()? {
        let value = match stored {
            Stored::Inline(value) => value.to_vec(),
            Stored::Run(run) => pager.run(&run)?.to_vec(),
        };
        match row(&key, &value)? {
            CatalogRow::Table(info) => loaded.tables.push(info),
            CatalogRow::Base(id, base) => drop(loaded.bases.insert(id, base)),
            CatalogRow::Codec(number, name) if usize::from(number) == loaded.codecs.len() + 1 => {
                loaded.codecs.push(name);
            }
            CatalogRow::Codec(..) => return Err(bad(&key)),
        }
    }
    Ok(loaded)
}

/// The codecs that this database has ever used, by number, looked up among the plugins when needed.
pub struct Codecs {
    names: RwLock<Vec<String>>,
    plugins: Arc<PluginManager>,
}

impl Codecs {
    /// The codecs called `names`, number 1 first.
    pub fn new(names: Vec<String>, plugins: Arc<PluginManager>) -> Codecs {
        Codecs { names: RwLock::new(names), plugins }
    }

    /// The number of codec `name`, given out now if it is new.
    ///
    /// # Errors
    /// `Limit` when all numbers are taken.
    pub fn number(&self, name: &str) -> KernelResult<u8> {
        let mut names = self.names.write();
        let index = names.iter().position(|known| known == name).unwrap_or(names.len());
        bound("codecs of a database", index + 1, CODECS_MAX)?;
        if index == names.len() {
            names.push(name.to_owned());
        }
        Ok(u8::try_from(index + 1).expect("bounded by CODECS_MAX"))
    }

    /// The catalog's rows of all codecs.
    pub fn rows(&self) -> Vec<(Vec<u8>, String)> {
        let names = self.names.read();
        (1u8..=u8::MAX).zip(names.iter()).map(|(n, name)| (vec![b'c', n], name.clone())).collect()
    }

    /// The codec numbered `number`.
    ///
    /// # Errors
    /// `Plugin` when it is not loaded.
    pub fn codec(&self, number: u8) -> KernelResult<Arc<dyn CompressionExtension>> {
        let names = self.names.read();
        let name = usize::from(number).checked_sub(1).and_then(|index| names.get(index));
        let found = || format!("{number}");
        let unknown = || KernelError::corrupt(DATA_FILE, 0, "a codec's number", found());
        self.plugins.compression(name.ok_or_else(unknown)?)
    }
}
