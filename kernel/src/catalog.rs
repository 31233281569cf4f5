//! Tables by name: what they are made of, and where their checkpointed rows are.
//!
//! The catalog is itself a table, number 0, in the kernel's own tree. So creating, renaming and dropping
//! tables are ordinary rows of ordinary transactions, and a checkpoint installs the new roots and segment
//! lists of all tables with the same page flip as everything else. Its rows:
//!
//! | key                  | value                                                                   |
//! |----------------------|-------------------------------------------------------------------------|
//! | `t`, name            | the table: format u8 1, id u64, storage, codec, schema (each u8 0, or u8 1 and length-prefixed bytes), settings (a varint count of pairs of length-prefixed strings) |
//! | `s`, table id u64 BE | its base: format u8 1, flushed timestamp u64, a tree's root, rows in segments u64, a varint count of segments ([`crate::segment`]) |
//! | `c`, number u8       | the name of the codec that blocks refer to by this number                |
//!
//! `t` rows are written by transactions, `s` and `c` rows by checkpoints alone.

use crate::error::{KernelError, KernelResult, bound};
use crate::kernel_api::{KeyRange, TableId, Timestamp};
use crate::limits::{CODECS_MAX, TABLE_NAME_BYTES_MAX};
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
pub(crate) const CATALOG: TableId = TableId(0);
/// The format of table and base rows.
pub(crate) const FORMAT: u8 = 1;
const SETTINGS_MAX: usize = 1000;
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What a table is made of. [`Default`]: bytes without a schema, in the kernel's own tree, plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The columns, for tables of typed rows.
    pub schema: Option<Schema>,
    /// The storage plugin that keeps the rows; `None` for the kernel's own tree.
    pub storage: Option<String>,
    /// The codec that compresses segment blocks and large values.
    pub codec: Option<String>,
    /// Settings of the storage plugin.
    pub settings: BTreeMap<String, String>,
}

/// A table as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table's number, never used again.
    pub id: TableId,
    /// The table's present name.
    pub name: String,
    /// What it is made of.
    pub options: TableOptions,
}

impl TableInfo {
    /// What a storage plugin is told of the table.
    pub(crate) fn context(&self) -> TableContext {
        TableContext {
            id: self.id,
            name: self.name.clone(),
            options: self.options.settings.clone(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let TableOptions { schema, storage, codec, settings } = self.options.clone();
        let settings = settings.into_iter().collect();
        StoredTable { format: FORMAT, id: self.id, storage, codec, schema, settings }.to_wire()
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> KernelResult<TableInfo> {
        let StoredTable { id, storage, codec, schema, settings, .. } = decode(bytes)?;
        let settings = settings.into_iter().collect();
        let options = TableOptions { schema, storage, codec, settings };
        Ok(TableInfo { id, name: name.to_owned(), options })
    }
}

wire_structs! {
    struct StoredTable {
        format: u8,
        id: TableId,
        storage: Option<String>,
        codec: Option<String>,
        schema: Option<Schema>,
        settings: Vec<(String, String)>,
    }

    /// A table's base as the catalog stores it: a tree, or segments.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct StoredBase {
        pub format: u8,
        /// The base holds every commit up to here.
        pub flushed: Timestamp,
        pub tree: TreeRoot,
        /// Rows in the segments, as [`crate::mvcc::version::SegmentBase`] counts them.
        pub rows: u64,
        pub segments: Vec<SegmentMeta>,
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
pub(crate) fn table_key(name: &str) -> Vec<u8> {
    [b"t", name.as_bytes()].concat()
}

/// The key of a table's base.
pub(crate) fn base_key(id: TableId) -> Vec<u8> {
    [b"s".as_slice(), &id.0.to_be_bytes()].concat()
}

/// Whether `name` can be a table's name: not empty, not too long, no control characters.
///
/// # Errors
/// `Invalid` that says what is wrong.
pub(crate) fn check_name(name: &str) -> KernelResult<()> {
    let wrong = match name {
        "" => "is empty".to_owned(),
        _ if TABLE_NAME_BYTES_MAX < name.len() => {
            format!("is longer than {TABLE_NAME_BYTES_MAX} bytes")
        }
        _ if name.chars().any(char::is_control) => "has a control character".to_owned(),
        _ => return Ok(()),
    };
    Err(KernelError::Invalid(format!("the table name {name:?} {wrong}")))
}

/// Checks the parts of `options` that need no plugin.
///
/// # Errors
/// `Limit` when the settings are too many or too long.
pub(crate) fn check_options(options: &TableOptions) -> KernelResult<()> {
    let texts = options.settings.iter().flat_map(|(name, value)| [name, value]);
    let longest = texts.chain(&options.storage).chain(&options.codec).map(String::len).max();
    bound("settings of a table", options.settings.len(), SETTINGS_MAX)?;
    bound("bytes of a table's setting", longest.unwrap_or(0), TEXT_BYTES_MAX)
}

/// The catalog as it was at the last checkpoint.
#[derive(Default)]
pub(crate) struct Loaded {
    pub tables: Vec<TableInfo>,
    pub bases: BTreeMap<TableId, StoredBase>,
    pub codecs: Vec<String>,
}

/// Reads the whole catalog tree.
///
/// # Errors
/// `Corrupt` when a page or row is broken.
pub(crate) fn load(pager: &Arc<Pager>, root: TreeRoot) -> KernelResult<Loaded> {
    let mut cursor = TreeCursor::new(pager.clone(), root, KeyRange::all(), false);
    let mut loaded = Loaded::default();
    while let Some((key, stored)) = cursor.next()? {
        let value = match stored {
            Stored::Inline(value) => value.to_vec(),
            Stored::Run(run) => pager.run(&run)?,
        };
        let bad = |what: &str| {
            KernelError::corrupt(DATA_FILE, 0, what, format!("{}", key.escape_ascii()))
        };
        match key.split_first() {
            Some((b't', name)) => {
                let name = std::str::from_utf8(name).map_err(|_| bad("a table's name"))?;
                loaded.tables.push(TableInfo::decode(name, &value)?);
            }
            Some((b's', id)) => {
                let id = id.try_into().map_err(|_| bad("a table's number"))?;
                let id = TableId(u64::from_be_bytes(id));
                let base: StoredBase = decode(&value)?;
                base.tree.check(0)?;
                loaded.bases.insert(id, base);
            }
            Some((b'c', &[number])) if usize::from(number) == loaded.codecs.len() + 1 => {
                loaded.codecs.push(String::from_utf8(value).map_err(|_| bad("a codec's name"))?);
            }
            _ => return Err(bad("a row of the catalog")),
        }
    }
    Ok(loaded)
}

/// The codecs that this database has ever used, by number, looked up among the plugins when needed.
pub(crate) struct Codecs {
    names: RwLock<Vec<String>>,
    plugins: Arc<PluginManager>,
}

impl Codecs {
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
        let unknown =
            || KernelError::corrupt(DATA_FILE, 0, "a codec's number", format!("{number}"));
        self.plugins.compression(name.ok_or_else(unknown)?)
    }
}
