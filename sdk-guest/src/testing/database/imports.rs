//! What plugins import, with the methods of the generated bindings, and a [`World`] behind it.

use super::failure::Failure;
use super::plugins::{Identity, Installed};
use super::running::{OfCall, Right, Running, running};
use super::world::{RowWrite, World};
use crate::bindings::types;
use crate::error::{Error, ErrorCode, Result};
use crate::storage::{RowBatch, key_range};
use crate::typed;
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use std::rc::Rc;

/// Rows that cross at once, and bytes.
const BATCH_ROWS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 1 << 20;
const CONDITIONS_MAX: usize = 64;
const RANGE_BYTES_MAX: usize = 64 << 10;

type Answer<T> = std::result::Result<T, types::Error>;

fn denied(text: String) -> Error {
    Error::new(ErrorCode::Denied, text)
}

fn limit(text: String) -> Error {
    Error::new(ErrorCode::Limit, text)
}

/// A call of the plugin that is running, or what to do where none is.
fn who() -> Result<Rc<Running>> {
    running().ok_or_else(|| {
        Error::internal("no plugin is running here: call it through `testing::Database`")
    })
}

pub(crate) mod rows {
    use super::*;
    pub(crate) use crate::bindings::data::sochdb::plugin::rows::ScanOptions;
    use std::cell::RefCell;

    pub(crate) struct Transaction {
        pub(in crate::testing) world: Rc<World>,
        writes: bool,
    }

    pub(crate) struct Table {
        pub(super) world: Rc<World>,
        pub(super) name: Rc<str>,
        may_read: bool,
        may_write: bool,
        writes: bool,
        call: OfCall,
    }

    pub(crate) struct Scan {
        rows: RefCell<std::vec::IntoIter<(Vec<u8>, Vec<u8>)>>,
        call: OfCall,
    }

    impl Transaction {
        pub(in crate::testing) fn new(world: Rc<World>, writes: bool) -> Transaction {
            Transaction { world, writes }
        }

        /// The table `name`, as far as `plugin` may use it.
        pub(in crate::testing) fn table(&self, name: &Rc<str>, plugin: &Identity) -> Table {
            Table {
                world: self.world.clone(),
                name: name.clone(),
                may_read: self.world.may(plugin, Right::Read, name),
                may_write: self.world.may(plugin, Right::Write, name),
                writes: self.writes,
                call: OfCall::now(),
            }
        }

        pub(super) fn writes(&self) -> bool {
            self.writes
        }

        pub(crate) fn open_table(&self, name: &str) -> Answer<Table> {
            let table = self.table(&name.into(), &who()?.plugin);
            if !table.may_read && !table.may_write {
                return Err(denied(format!("the table '{name}' was not granted")).into());
            }
            self.world.schema(name)?;
            Ok(table)
        }

        pub(crate) fn is_read_only(&self) -> bool {
            !self.writes
        }
    }

    impl Table {
        pub(super) fn check_read(&self) -> Result<()> {
            self.call.check();
            if self.may_read {
                return Ok(());
            }
            Err(denied(format!("reading the table '{}' was not granted", self.name)))
        }

        fn write_all(&self, rows: &[RowWrite]) -> Answer<()> {
            self.call.check();
            if !self.may_write {
                let text = format!("writing the table '{}' was not granted", self.name);
                return Err(denied(text).into());
            }
            if !self.writes {
                return Err(denied("this call only reads".to_owned()).into());
            }
            if let Some(schema) = self.world.schema(&self.name)? {
                for (key, value) in rows {
                    let Some(value) = value else { continue };
                    schema.decode(key, value).map_err(|error| {
                        let name = &self.name;
                        Error::invalid(format!(
                            "the value is no row of the table '{name}': {error}"
                        ))
                    })?;
                }
            }
            self.world.write_all(&self.name, rows).map_err(Failure::for_guest)?;
            Ok(())
        }

        pub(crate) fn name(&self) -> String {
            self.call.check();
            self.name.to_string()
        }

        pub(crate) fn schema(&self) -> Answer<Option<types::Schema>> {
            self.call.check();
            Ok(self.world.schema(&self.name)?.as_deref().map(contract_schema))
        }

        pub(crate) fn soch_read(&self, key: &[u8]) -> Answer<Option<Vec<u8>>> {
            self.check_read()?;
            Ok(self.world.get(&self.name, key))
        }

        pub(crate) fn soch_read_many(&self, keys: &types::Keys) -> Answer<types::Found> {
            self.check_read()?;
            if BATCH_ROWS_MAX < keys.ends.len() {
                let text = format!("one read has at most {BATCH_ROWS_MAX} keys");
                return Err(limit(text).into());
            }
            let mut found = types::Found { states: vec![], values: vec![], value_ends: vec![] };
            let mut start = 0;
            for end in &keys.ends {
                let value = self.world.get(&self.name, &keys.bytes[start..*end as usize]);
                start = *end as usize;
                found.states.push(if value.is_some() { 2 } else { 0 });
                found.values.extend(value.unwrap_or_default());
                found.value_ends.push(found.values.len() as u32);
            }
            if BATCH_BYTES_MAX < found.values.len() {
                let text = format!("the values of one read have at most {BATCH_BYTES_MAX} bytes");
                return Err(limit(text).into());
            }
            Ok(found)
        }

        pub(crate) fn soch_scan(
            &self,
            range: &types::KeyRange,
            options: &ScanOptions,
        ) -> Answer<Scan> {
            self.check_read()?;
            let range = checked_range(range, options.filter.len())?;
            let schema = self.world.schema(&self.name)?;
            let (columns, filter) = (options.columns.clone(), options.filter.clone());
            let selection = match (&schema, columns.is_empty() && filter.is_empty()) {
                (_, true) => None,
                (Some(schema), _) => {
                    let columns = (!columns.is_empty()).then_some(columns);
                    Some(typed::selection(schema, columns, filter)?)
                }
                (None, _) => {
                    let text = format!("the table '{}' has no columns", self.name);
                    return Err(Error::invalid(text).into());
                }
            };
            let mut rows = Vec::new();
            let state = self.world.state.borrow();
            let table = &state.tables[&*self.name].rows;
            let forward = table.iter().filter(|(key, _)| range.contains(key));
            let in_order: Box<dyn Iterator<Item = _>> = match options.reverse {
                true => Box::new(forward.rev()),
                false => Box::new(forward),
            };
            let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
            for (key, value) in in_order {
                if rows.len() == limit {
                    break;
                }
                let value = match &selection {
                    None => Some(value.clone()),
                    Some(selection) => {
                        let selected = selection.apply(key, value.as_slice().into());
                        selected.map_err(Error::from)?.map(|value| value.to_vec())
                    }
                };
                rows.extend(value.map(|value| (key.clone(), value)));
            }
            Ok(Scan { rows: RefCell::new(rows.into_iter()), call: OfCall::now() })
        }

        pub(crate) fn soch_write(&self, key: &[u8], value: &[u8]) -> Answer<()> {
            self.write_all(&[(key.to_vec(), Some(value.to_vec()))])
        }

        pub(crate) fn soch_write_many(&self, rows: &types::Batch) -> Answer<()> {
            let rows = RowBatch::from(rows.clone());
            let rows = (0..rows.len()).map_while(|at| rows.get(at));
            let row =
                |(key, value): (&[u8], Option<&[u8]>)| (key.to_vec(), value.map(<[u8]>::to_vec));
            let rows: Vec<_> = rows.map(row).collect();
            if !rows.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(Error::invalid("the keys of a batch do not grow").into());
            }
            self.write_all(&rows)
        }

        pub(crate) fn soch_delete(&self, key: &[u8]) -> Answer<()> {
            self.write_all(&[(key.to_vec(), None)])
        }
    }

    impl Scan {
        pub(crate) fn next(&self, max_rows: u32, max_bytes: u32) -> Answer<types::Batch> {
            self.call.check();
            let rows_max = (max_rows as usize).clamp(1, BATCH_ROWS_MAX);
            let bytes_max = (max_bytes as usize).clamp(1, BATCH_BYTES_MAX);
            let mut batch = RowBatch::new(rows_max, bytes_max);
            let mut rows = self.rows.borrow_mut();
            while !batch.is_full() {
                let Some((key, value)) = rows.next() else { break };
                batch.push(&key, Some(&value));
            }
            Ok(batch.into())
        }
    }
}

pub(crate) mod search {
    use super::super::indexes::{IndexOf, Nearest, lookup, near};
    use super::*;
    pub(crate) use crate::bindings::data::sochdb::plugin::search::{Neighbours, ValueBound};
    use std::ops::Bound;

    /// Rows that one search may find.
    const NEIGHBOURS_MAX: u32 = 1000;

    pub(crate) struct Index {
        world: Rc<World>,
        index: Rc<IndexOf>,
        call: OfCall,
    }

    impl Index {
        pub(crate) fn open(table: &rows::Table, name: &str) -> Answer<Index> {
            table.check_read()?;
            let world = table.world.clone();
            let found = world
                .state
                .borrow()
                .indexes
                .iter()
                .find(|index| {
                    let of = &index.definition;
                    of.table == *table.name && of.name == name
                })
                .cloned();
            let index = found.ok_or_else(|| {
                Error::not_found(format!("there is no index '{name}' of '{}'", table.name))
            })?;
            let (right, word) = match index.definition.metric {
                Some(_) => (Right::VectorSearch, "can_vector_search"),
                None => (Right::IndexSearch, "can_index_search"),
            };
            if !who()?.may(right, name) {
                let text = format!("searching the index '{name}' was not granted ({word})");
                return Err(denied(text).into());
            }
            Ok(Index { world, index, call: OfCall::now() })
        }

        pub(crate) fn vector_search(
            &self,
            query: &[f32],
            k: u32,
            effort: u32,
            range: &types::KeyRange,
            filter: &[types::Condition],
        ) -> Answer<Neighbours> {
            self.call.check();
            if NEIGHBOURS_MAX < k {
                let text = format!("one search finds at most {NEIGHBOURS_MAX} rows");
                return Err(limit(text).into());
            }
            let range = checked_range(range, filter.len())?;
            let (k, effort) = (k as usize, effort as usize);
            let wanted = Nearest { query, k, effort, range, filter: filter.to_vec() };
            let found = near(&self.world, &self.index, wanted).map_err(Failure::for_guest)?;
            let distances = found.iter().map(|(_, distance)| *distance).collect();
            Ok(Neighbours { keys: flat(found.iter().map(|(key, _)| key)), distances })
        }

        pub(crate) fn index_lookup(
            &self,
            start: Option<&ValueBound>,
            end: Option<&ValueBound>,
            reverse: bool,
            limit_rows: u32,
        ) -> Answer<types::Keys> {
            self.call.check();
            if BATCH_ROWS_MAX < limit_rows as usize {
                let text = format!("one lookup finds at most {BATCH_ROWS_MAX} rows");
                return Err(limit(text).into());
            }
            let bound = |bound: Option<&ValueBound>| match bound {
                None => Bound::Unbounded,
                Some(bound) => {
                    let value = Value::from(bound.value.clone());
                    if bound.inclusive { Bound::Included(value) } else { Bound::Excluded(value) }
                }
            };
            let (world, index) = (&self.world, &self.index);
            let (start, end) = (bound(start), bound(end));
            let found = lookup(world, index, start, end, reverse, limit_rows as usize);
            Ok(flat(found.map_err(Failure::for_guest)?.iter()))
        }
    }

    fn flat<'k>(keys: impl Iterator<Item = &'k Vec<u8>>) -> types::Keys {
        let mut flat = types::Keys { bytes: Vec::new(), ends: Vec::new() };
        for key in keys {
            flat.bytes.extend_from_slice(key);
            flat.ends.push(flat.bytes.len() as u32);
        }
        flat
    }
}

pub(crate) mod codecs {
    use super::*;

    pub(crate) struct Codec {
        world: Rc<World>,
        name: String,
    }

    impl Codec {
        pub(crate) fn open(name: &str) -> Answer<Codec> {
            let running = who()?;
            if !running.may(Right::Codec, name) {
                return Err(denied(format!("the codec '{name}' was not granted")).into());
            }
            let world = running.world.clone();
            let is_codec = |plugin: Rc<Installed>| plugin.is_codec();
            if !world.plugin(name).is_some_and(is_codec) {
                return Err(Error::not_found(format!("there is no codec '{name}'")).into());
            }
            Ok(Codec { world, name: name.to_owned() })
        }

        pub(crate) fn compress(&self, input: &[u8]) -> Answer<Vec<u8>> {
            check_block(input.len())?;
            let done = self.world.with_codec(&self.name, "compress", |codec| codec.compress(input));
            Ok(done.map_err(Failure::for_guest)?)
        }

        pub(crate) fn decompress(&self, input: &[u8], raw_bytes: u32) -> Answer<Vec<u8>> {
            let raw_bytes = raw_bytes as usize;
            check_block(input.len().max(raw_bytes))?;
            let done = self
                .world
                .with_codec(&self.name, "decompress", |codec| codec.decompress(input, raw_bytes));
            Ok(done.map_err(Failure::for_guest)?)
        }
    }

    fn check_block(bytes: usize) -> Result<()> {
        if bytes <= BATCH_BYTES_MAX {
            return Ok(());
        }
        Err(limit(format!("a block has at most {BATCH_BYTES_MAX} bytes, not {bytes}")))
    }
}

pub(crate) mod plugins {
    use super::*;

    pub(crate) fn call_plugin(
        tx: &rows::Transaction,
        plugin: &str,
        procedure: &str,
        args: &str,
    ) -> Answer<String> {
        if !who()?.may(Right::Call, plugin) {
            return Err(denied(format!("calling the plugin '{plugin}' was not granted")).into());
        }
        let answer = tx.world.call_procedure(plugin, procedure, args, tx.writes());
        Ok(answer.map_err(Failure::for_guest)?)
    }
}

fn checked_range(range: &types::KeyRange, conditions: usize) -> Result<KeyRange> {
    let ends = [&range.start, &range.end].into_iter().flatten();
    if RANGE_BYTES_MAX < ends.map(|end| end.key.len()).max().unwrap_or(0)
        || CONDITIONS_MAX < conditions
    {
        return Err(limit(format!(
            "a range's end has at most {RANGE_BYTES_MAX} bytes, a filter {CONDITIONS_MAX} conditions"
        )));
    }
    Ok(key_range(range.clone()))
}

fn contract_schema(schema: &Schema) -> types::Schema {
    let column = |column: &Column| types::Column {
        name: column.name.clone(),
        kind: column.kind.tag(),
        dim: match column.kind {
            ColumnType::Vector(dim) => dim,
            _ => 0,
        },
        nullable: column.nullable,
        default: column.default.clone().map(Into::into),
    };
    types::Schema {
        columns: schema.columns.iter().map(column).collect(),
        key: schema.key.iter().map(|position| *position as u32).collect(),
    }
}
