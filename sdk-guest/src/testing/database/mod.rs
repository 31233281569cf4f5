//! A database in memory for native tests of plugins.
//!
//! ```text
//!   a test ──▶ Database ──▶ world: rows, transactions, who is called about what
//!                             │            ▲
//!              plugins: any kind         imports: what they ask for in their calls
//!                             └──▶ plugin ─┘
//! ```
//!
//! What the host does around a plugin is done here too, by its rules: grants, bounds, savepoints, and checks of
//! what plugins answer. So a test sees the errors that the database would give.

mod failure;
pub(crate) mod imports;
mod indexes;
mod manifest;
mod plugins;
mod running;
mod said;
mod world;

pub(crate) use running::running;
pub use said::{Emitted, Line};
pub use world::Written;

use crate::bindings::config::ConfigValue;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::hooks::Hooks;
use crate::index::{Definition, Index, VectorMetric};
use crate::observer::{Batch, Observer, Page};
use crate::outbox::{self, Sent};
use crate::procedure::Procedure;
use crate::record::Record;
use crate::rows::Transaction;
use failure::Failure;
use indexes::IndexOf;
use manifest::Manifest;
use plugins::{AnyCodec, AnyHooks, AnyIndex, AnyObserver, AnyProcedure, Identity, Installed, Work};
use running::Right;
use serde::Serialize;
use serde_json::Value as Json;
use sochdb_encoding::row::{ColumnType, Schema};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use world::{Rows, World};

/// A setting of a plugin: a `bool`, an integer, a float or a text.
#[derive(Debug, Clone)]
pub struct Setting(ConfigValue);

impl From<bool> for Setting {
    fn from(value: bool) -> Setting {
        Setting(ConfigValue::Boolean(value))
    }
}

impl From<i64> for Setting {
    fn from(value: i64) -> Setting {
        Setting(ConfigValue::Integer(value))
    }
}

impl From<i32> for Setting {
    fn from(value: i32) -> Setting {
        Setting(ConfigValue::Integer(value.into()))
    }
}

impl From<f64> for Setting {
    fn from(value: f64) -> Setting {
        Setting(ConfigValue::Float(value))
    }
}

impl From<&str> for Setting {
    fn from(value: &str) -> Setting {
        Setting(ConfigValue::Text(value.to_owned()))
    }
}

impl From<String> for Setting {
    fn from(value: String) -> Setting {
        Setting(ConfigValue::Text(value))
    }
}

/// A database in memory, in which plugins run natively: under `cargo test`, with a debugger.
///
/// It has what plugins import: tables, transactions that roll back, settings, grants, log and metrics, codecs,
/// other plugins, exact searches in indexes, and an outbox. It calls plugins as the real one does, with the same
/// checks of what they answer. It has no limits of memory, fuel and time, one writer at a time, and nothing of a
/// sandbox; `sochdb plugin test` tries a plugin in the real one.
///
/// ```
/// use sochdb_guest::prelude::*;
/// use sochdb_guest::testing::{Database, Written};
///
/// /// Cuts texts at a length that the settings say.
/// struct Cut(usize);
///
/// impl Hooks for Cut {
///     fn init() -> Result<Self> {
///         Ok(Cut(usize::try_from(sochdb_guest::config::integer("bytes_max")?)?))
///     }
///
///     fn before_each(&mut self, _: &Transaction<'_>, _: &Table<'_>, change: &Change) -> Result<Decision> {
///         Ok(match &change.new {
///             Some(text) if self.0 < text.len() => Decision::Replace(text[..self.0].to_vec()),
///             _ => Decision::Continue,
///         })
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut db = Database::new();
/// db.table("notes").setting("bytes_max", 5).hooks::<Cut>("notes")?;
///
/// assert_eq!(db.put("notes", b"1", b"short")?, Written::AsGiven);
/// assert_eq!(db.put("notes", b"2", b"not so short")?, Written::Replaced);
/// assert_eq!(db.get("notes", b"2").as_deref(), Some(&b"not s"[..]));
///
/// db.deny_write("notes");
/// assert_eq!(db.put("notes", b"3", b"not so short").unwrap_err().code, ErrorCode::Denied);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Database {
    world: Rc<World>,
    /// For plugins to come.
    settings: BTreeMap<String, ConfigValue>,
    /// For the next plugin.
    manifest: Option<Manifest>,
}

impl Database {
    /// One without tables.
    pub fn new() -> Database {
        Database::default()
    }

    /// Makes an untyped table.
    ///
    /// # Panics
    /// When there is one of this name; so below.
    pub fn table(&mut self, name: &str) -> &mut Self {
        self.make(name, None)
    }

    /// Makes a typed table.
    ///
    /// # Panics
    /// As [`table`](Self::table).
    pub fn typed_table(&mut self, name: &str, schema: Schema) -> &mut Self {
        self.make(name, Some(Rc::new(schema)))
    }

    fn make(&mut self, name: &str, schema: Option<Rc<Schema>>) -> &mut Self {
        let rows = Rows { schema, rows: BTreeMap::new() };
        let before = self.world.state.borrow_mut().tables.insert(name.to_owned(), rows);
        assert!(before.is_none(), "the table '{name}' was made twice");
        self
    }

    /// A setting of the plugins that are installed from now on.
    pub fn setting(&mut self, key: &str, value: impl Into<Setting>) -> &mut Self {
        self.settings.insert(key.to_owned(), value.into().0);
        self
    }

    /// What the next plugin's manifest says counts: its name, its settings unless [`setting`](Self::setting) says
    /// otherwise, which tables and changes it is a hook of, and what it asks for, which is all that it gets.
    /// Without a manifest a plugin may do everything, and a hook hears of all changes.
    ///
    /// ```
    /// # use sochdb_guest::prelude::*;
    /// # struct MyHook;
    /// # impl Hooks for MyHook {
    /// #     fn init() -> Result<Self> { Ok(MyHook) }
    /// #     fn before_each(&mut self, tx: &Transaction<'_>, _: &Table<'_>, change: &Change) -> Result<Decision> {
    /// #         tx.open("audit")?.put(&change.key, b"")?;
    /// #         Ok(Decision::Continue)
    /// #     }
    /// # }
    /// # let mut db = sochdb_guest::testing::Database::new();
    /// // In a test: include_str!("../manifest.toml")
    /// let manifest = r#"
    ///     [plugin]
    ///     name = "audit"
    ///     [capabilities]
    ///     can_write_table = ["audit"]
    ///     [hooks]
    ///     tables = ["notes"]
    ///     before = ["insert", "update"]
    /// "#;
    /// db.table("notes").table("audit").manifest(manifest)?.hooks::<MyHook>("**")?;
    /// db.put("notes", b"1", b"milk")?;
    /// assert_eq!(db.rows("audit").len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when it is no manifest.
    pub fn manifest(&mut self, text: &str) -> Result<&mut Self> {
        self.manifest = Some(Manifest::parse(text)?);
        Ok(self)
    }

    /// Installs hooks of the tables that `tables` names, a pattern as in a manifest: `people`, `shop/*`, `**`.
    ///
    /// # Errors
    /// What its `self_test` and `init` answer; so below.
    pub fn hooks<P: Hooks + 'static>(&mut self, tables: &str) -> Result<&mut Self> {
        let name = short_name::<P>();
        self.install(&name, tables, P::init, P::self_test, |plugin| {
            let plugin: Box<dyn AnyHooks> = Box::new(plugin);
            Ok(Work::Hooks(RefCell::new(plugin)))
        })
    }

    /// Installs procedures as the plugin `name`.
    ///
    /// # Errors
    /// As [`hooks`](Self::hooks); `Invalid` when it describes them with bad names, or schemas that are no JSON.
    pub fn procedure<P: Procedure + 'static>(&mut self, name: &str) -> Result<&mut Self> {
        self.install(name, "", P::init, P::self_test, |plugin| {
            let infos = checked_infos(plugin.describe())?;
            let plugin: Box<dyn AnyProcedure> = Box::new(plugin);
            Ok(Work::Procedures(RefCell::new(plugin), infos))
        })
    }

    /// Installs a codec as the plugin `name`, for [`compress`](Self::compress) and for other plugins.
    ///
    /// # Errors
    /// As [`hooks`](Self::hooks).
    pub fn codec<P: Codec + 'static>(&mut self, name: &str) -> Result<&mut Self> {
        self.install(name, "", P::init, P::self_test, |plugin| {
            let plugin: Box<dyn AnyCodec> = Box::new(plugin);
            Ok(Work::Codec(RefCell::new(plugin)))
        })
    }

    /// Installs an observer as the plugin `name`, for [`ingest`](Self::ingest) and [`render`](Self::render).
    ///
    /// # Errors
    /// As [`hooks`](Self::hooks).
    pub fn observer<P: Observer + 'static>(&mut self, name: &str) -> Result<&mut Self> {
        self.install(name, "", P::init, P::self_test, |plugin| {
            let plugin: Box<dyn AnyObserver> = Box::new(plugin);
            Ok(Work::Observer(RefCell::new(plugin)))
        })
    }

    /// Makes an index that the plugin `P` keeps, and searches with. Its segment is built anew for each search.
    /// The dimensions are the column's.
    ///
    /// # Errors
    /// As [`hooks`](Self::hooks); what its `check` answers; as [`ordered_index`](Self::ordered_index).
    pub fn index<P: Index + 'static>(&mut self, index: Definition) -> Result<&mut Self> {
        let index = self.checked(index)?;
        let name = short_name::<P>();
        self.install(&name, "", P::init, P::self_test, |plugin| {
            let plugin: Box<dyn AnyIndex> = Box::new(plugin);
            Ok(Work::Index(RefCell::new(plugin)))
        })?;
        let plugin = self.world.plugins.borrow().last().cloned();
        let plugin = plugin.expect("it was installed just now");
        let checked = self.world.with_index(&plugin, "check", |plugin| plugin.check(&index));
        checked.map_err(Failure::for_test)?;
        let index = Rc::new(IndexOf { definition: index, plugin: Some(plugin) });
        self.world.state.borrow_mut().indexes.push(index);
        Ok(self)
    }

    /// Makes an ordered index of a column, in which every row is found.
    ///
    /// # Errors
    /// `NotFound` for the table, `Invalid` when it has no such column.
    pub fn ordered_index(&mut self, table: &str, name: &str, column: &str) -> Result<&mut Self> {
        self.exact(table, name, column, None)
    }

    /// Makes an index of a column of vectors, which finds the nearest ones exactly.
    ///
    /// # Errors
    /// As [`ordered_index`](Self::ordered_index).
    pub fn vector_index(
        &mut self,
        table: &str,
        name: &str,
        column: &str,
        metric: VectorMetric,
    ) -> Result<&mut Self> {
        self.exact(table, name, column, Some(metric))
    }

    fn exact(
        &mut self,
        table: &str,
        name: &str,
        column: &str,
        metric: Option<VectorMetric>,
    ) -> Result<&mut Self> {
        let (table, name, column) = (table.to_owned(), name.to_owned(), column.to_owned());
        let index = Definition { table, name, column, metric, ..Definition::default() };
        let index = IndexOf { definition: self.checked(index)?, plugin: None };
        self.world.state.borrow_mut().indexes.push(Rc::new(index));
        Ok(self)
    }

    fn checked(&self, index: Definition) -> Result<Definition> {
        let schema = self.world.schema(&index.table)?;
        let dim = match indexes::check(schema.as_deref(), &index)?.kind {
            ColumnType::Vector(dim) => dim,
            _ => 0,
        };
        Ok(Definition { dim, ..index })
    }

    /// Makes a plugin as the host does: one instance for its self-test, and another one to serve.
    fn install<P>(
        &mut self,
        name: &str,
        tables: &str,
        init: impl Fn() -> Result<P>,
        self_test: impl Fn(&mut P) -> Result<()>,
        work: impl FnOnce(P) -> Result<Work>,
    ) -> Result<&mut Self> {
        #[cfg(feature = "log")]
        crate::telemetry::install_logger();
        let manifest = self.manifest.take();
        let mut settings = match &manifest {
            Some(manifest) => manifest.settings()?,
            None => BTreeMap::new(),
        };
        settings.extend(self.settings.clone());
        let name = manifest.as_ref().map_or(name, Manifest::name).to_owned();
        let identity = Rc::new(Identity { name, settings, manifest });
        let work = running::enter(&self.world, &identity, || {
            self_test(&mut init()?)?;
            work(init()?)
        })?;
        let installed = Installed { identity, tables: tables.to_owned(), work };
        self.world.plugins.borrow_mut().push(Rc::new(installed));
        Ok(self)
    }

    /// No plugin may read the table `name` from now on.
    pub fn deny_read(&mut self, name: &str) -> &mut Self {
        self.deny(Right::Read, name)
    }

    /// No plugin may write the table `name` from now on, nor replace or skip a change of it.
    pub fn deny_write(&mut self, name: &str) -> &mut Self {
        self.deny(Right::Write, name)
    }

    /// No plugin may call the plugin `name` from now on.
    pub fn deny_call(&mut self, name: &str) -> &mut Self {
        self.deny(Right::Call, name)
    }

    /// No plugin may use the codec `name` from now on.
    pub fn deny_codec(&mut self, name: &str) -> &mut Self {
        self.deny(Right::Codec, name)
    }

    /// No plugin may send to the address `url` from now on.
    pub fn deny_address(&mut self, url: &str) -> &mut Self {
        self.deny(Right::Address, url)
    }

    /// No plugin may search an index from now on.
    pub fn deny_search(&mut self) -> &mut Self {
        self.deny(Right::VectorSearch, "").deny(Right::IndexSearch, "")
    }

    fn deny(&mut self, right: Right, name: &str) -> &mut Self {
        self.world.state.borrow_mut().denied.insert((right, name.to_owned()));
        self
    }

    /// What time [`clock`](crate::clock) tells from now on, in microseconds since 1970.
    pub fn set_clock(&mut self, us: i64) -> &mut Self {
        self.world.state.borrow_mut().clock_us = Some(us);
        self
    }

    /// Writes a row in a transaction of its own, as a program does.
    ///
    /// # Errors
    /// What a hook answers, or why it aborted, as `Invalid`; then nothing is written.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<Written> {
        self.write_one(table, key, Some(value))
    }

    /// Removes a row, if it is there, in a transaction of its own.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, table: &str, key: &[u8]) -> Result<Written> {
        self.write_one(table, key, None)
    }

    fn write_one(&mut self, table: &str, key: &[u8], value: Option<&[u8]>) -> Result<Written> {
        Ok(self.write(table, &[(key, value)])?[0])
    }

    /// Writes and deletes (`None`) rows in one transaction: all of them, or none. Hooks get many at once.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn write(&mut self, table: &str, rows: &[(&[u8], Option<&[u8]>)]) -> Result<Vec<Written>> {
        let row =
            |&(key, value): &(&[u8], Option<&[u8]>)| (key.to_vec(), value.map(<[u8]>::to_vec));
        let rows: Vec<_> = rows.iter().map(row).collect();
        let written = self.world.transaction(|| self.world.write_all(table, &rows));
        written.map_err(Failure::for_test)
    }

    /// Writes a row of a typed table, given as [`Record::from_json`] reads it.
    ///
    /// # Errors
    /// As [`put`](Self::put) and [`Record::from_json`].
    pub fn put_json(&mut self, table: &str, row: &Json) -> Result<Written> {
        let record = Record::of_json(self.schema(table)?, row)?;
        self.put(table, &record.key()?, &record.encode()?)
    }

    /// Removes a row of a typed table whose key columns are as in the JSON object `key`.
    ///
    /// # Errors
    /// As [`put_json`](Self::put_json).
    pub fn delete_json(&mut self, table: &str, key: &Json) -> Result<Written> {
        let key = self.key_of_json(table, key)?;
        self.delete(table, &key)
    }

    /// The value of `key`, if there is one. No plugin is asked.
    pub fn get(&self, table: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.world.get(table, key)
    }

    /// The row of a typed table whose key columns are as in the JSON object `key`, if there is one.
    ///
    /// # Errors
    /// As [`put_json`](Self::put_json).
    pub fn get_json(&self, table: &str, key: &Json) -> Result<Option<Json>> {
        let key = self.key_of_json(table, key)?;
        let Some(value) = self.get(table, &key) else { return Ok(None) };
        Ok(Some(Record::of_row(self.schema(table)?, &key, &value)?.to_json()))
    }

    /// All rows of a table, in the order of their keys; none if there is no such table.
    pub fn rows(&self, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.world.state.borrow();
        let rows = state.tables.get(table).map(|table| &table.rows);
        let rows = rows.into_iter().flatten();
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// All rows of a typed table.
    ///
    /// # Errors
    /// `NotFound` for the table, `Invalid` when it is not typed, `Corrupt` for what is no row of it.
    pub fn rows_json(&self, table: &str) -> Result<Vec<Json>> {
        let schema = self.schema(table)?;
        let json = |(key, value): &(Vec<u8>, Vec<u8>)| {
            Ok(Record::of_row(schema.clone(), key, value)?.to_json())
        };
        self.rows(table).iter().map(json).collect()
    }

    fn schema(&self, table: &str) -> Result<Rc<Schema>> {
        let schema = self.world.schema(table)?;
        schema.ok_or_else(|| Error::invalid(format!("the table '{table}' is not typed")))
    }

    fn key_of_json(&self, table: &str, key: &Json) -> Result<Vec<u8>> {
        let schema = self.schema(table)?;
        let object = key.as_object().ok_or_else(|| Error::invalid("a key is a JSON object"))?;
        let mut record = Record::of(schema.clone());
        for (name, json) in object {
            let column = schema.columns.iter().find(|column| column.name == *name);
            let none = || Error::invalid(format!("there is no column '{name}'"));
            record.set(name, crate::json::to_value(json, column.ok_or_else(none)?)?)?;
        }
        record.key()
    }

    /// Runs `work` in a transaction, as a plugin that may do what all may; it is committed when `work` answers
    /// `Ok`. For functions that take a [`Transaction`].
    ///
    /// # Errors
    /// What `work` answers.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let tx = imports::rows::Transaction::new(self.world.clone(), true);
        let world = self.world.clone();
        let done = world.transaction(|| Ok(self.inside(|| work(&Transaction::new(&tx)))?));
        done.map_err(Failure::for_test)
    }

    /// Runs `work` as a plugin of this database: settings are found, and what it logs, emits and sends is kept.
    /// For what needs no transaction, such as `init`, or a storage engine in
    /// [`testing::storage`](crate::testing::storage).
    pub fn inside<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (name, settings) = ("test".to_owned(), self.settings.clone());
        let identity = Identity { name, settings, manifest: None };
        running::enter(&self.world, &Rc::new(identity), work)
    }

    /// Calls a procedure in a transaction of its own.
    ///
    /// # Errors
    /// `NotFound`, and what the procedure answers; then nothing is written.
    pub fn call(&mut self, plugin: &str, procedure: &str, args: impl Serialize) -> Result<Json> {
        let args = serde_json::to_string(&args)?;
        let world = &self.world;
        let answer = world.transaction(|| world.call_procedure(plugin, procedure, &args, true));
        Ok(serde_json::from_str(&answer.map_err(Failure::for_test)?)?)
    }

    /// Compresses with the codec `name`.
    ///
    /// # Errors
    /// `NotFound`, and what the codec answers.
    pub fn compress(&mut self, name: &str, input: &[u8]) -> Result<Vec<u8>> {
        let done = self.world.with_codec(name, "compress", |codec| codec.compress(input));
        done.map_err(Failure::for_test)
    }

    /// Restores exactly `raw_bytes` bytes with the codec `name`.
    ///
    /// # Errors
    /// As [`compress`](Self::compress); `Corrupt` when it gives another length.
    pub fn decompress(&mut self, name: &str, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        let done =
            self.world.with_codec(name, "decompress", |codec| codec.decompress(input, raw_bytes));
        done.map_err(Failure::for_test)
    }

    /// Gives the observer `name` a batch, such as [`test_batch`](crate::test_batch).
    ///
    /// # Errors
    /// `NotFound`, and what the observer answers.
    pub fn ingest(&mut self, name: &str, batch: Batch) -> Result<()> {
        let done = self.world.with_observer(name, "ingest", |observer| observer.ingest(batch));
        done.map_err(Failure::for_test)
    }

    /// What the observer `name` shows.
    ///
    /// # Errors
    /// As [`ingest`](Self::ingest).
    pub fn render(&mut self, name: &str, accept: &str) -> Result<Page> {
        let done = self.world.with_observer(name, "render", |observer| observer.render(accept));
        done.map_err(Failure::for_test)
    }

    /// What plugins wrote to the log so far.
    pub fn logs(&self) -> Vec<Line> {
        self.world.state.borrow().said.lines.clone()
    }

    /// What plugins emitted, with the present values.
    pub fn metrics(&self) -> Vec<Emitted> {
        self.world.state.borrow().said.metrics()
    }

    /// The present value of the metric `name` with exactly these labels, whoever emitted it; of several, their
    /// sum.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeSet<_> = labels.iter().copied().collect();
        let is_it = |metric: &Emitted| {
            let found = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            metric.name == name && found.collect::<BTreeSet<_>>() == wanted
        };
        let values = self.metrics().into_iter().filter(is_it).map(|metric| metric.value);
        values.reduce(|a, b| a + b)
    }

    /// What was sent through the [`outbox`] since this was last asked.
    pub fn sent(&mut self) -> Vec<Sent> {
        outbox::sent()
    }

    /// What hooks answered after a commit that was no `Ok`. What is committed stays; a database logs these.
    pub fn failures(&self) -> Vec<Error> {
        self.world.state.borrow().failures.clone()
    }

    /// Closes the database: every plugin's `shutdown` is called.
    ///
    /// # Errors
    /// The first that one of them answers, when all were called.
    pub fn close(self) -> Result<()> {
        debug_assert!(running().is_none(), "a database is closed by the test, not by a plugin");
        let mut result = Ok(());
        for plugin in self.world.plugins.borrow().iter() {
            result =
                result.and(running::enter(&self.world, &plugin.identity, || plugin.shutdown()));
        }
        result
    }
}

/// The last part of a type's name.
fn short_name<P>() -> String {
    let name = std::any::type_name::<P>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

fn checked_infos(
    infos: Vec<crate::procedure::ProcedureInfo>,
) -> Result<Vec<crate::procedure::ProcedureInfo>> {
    let mut names = BTreeSet::new();
    for info in &infos {
        let name = &info.name;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= 64
            && name.chars().all(allowed);
        if !is_name {
            return Err(Error::invalid(format!("describe: '{name}' is no procedure's name")));
        }
        if !names.insert(name) {
            return Err(Error::invalid(format!("describe: two procedures are called '{name}'")));
        }
        for schema in [&info.args_schema, &info.result_schema] {
            serde_json::from_str::<Json>(schema).map_err(|error| {
                Error::invalid(format!("describe: a schema of '{name}' is no JSON: {error}"))
            })?;
        }
    }
    Ok(infos)
}
