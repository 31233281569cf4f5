//! Searches in the indexes of a database in memory: exact, or by an index plugin.

use super::failure::Done;
use super::plugins::Installed;
use super::world::World;
use crate::bindings::types;
use crate::error::{Error, Result};
use crate::index::{Allowed, Definition, Entries, VectorMetric, distance};
use crate::typed;
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use std::ops::Bound;
use std::rc::Rc;

/// An index of a table.
pub(crate) struct IndexOf {
    pub(super) definition: Definition,
    /// The plugin that keeps it; without one every row is looked at.
    pub(super) plugin: Option<Rc<Installed>>,
}

/// What a search for vectors looks for.
pub(super) struct Nearest<'a> {
    pub(super) query: &'a [f32],
    pub(super) k: usize,
    pub(super) effort: usize,
    pub(super) range: KeyRange,
    pub(super) filter: Vec<types::Condition>,
}

/// A row that has a value in the indexed column.
struct Entry {
    key: Vec<u8>,
    row: Vec<u8>,
    value: Value,
}

/// The indexed column of a table with `schema`.
///
/// # Errors
/// `Invalid` when there is no such column, or it cannot be indexed so.
pub(super) fn check(schema: Option<&Schema>, index: &Definition) -> Result<Column> {
    let Definition { table, column, .. } = index;
    let schema =
        schema.ok_or_else(|| Error::invalid(format!("the table '{table}' is not typed")))?;
    let found = schema.columns.iter().find(|known| known.name == *column);
    let none = || Error::invalid(format!("table '{table}' has no column '{column}'"));
    let found = found.ok_or_else(none)?;
    if matches!(found.kind, ColumnType::Vector(_)) != index.metric.is_some() {
        return Err(Error::invalid(format!(
            "column '{column}' holds {}: vectors have a metric, other values an order",
            found.kind
        )));
    }
    Ok(found.clone())
}

/// The rows with a value, in order of their keys.
fn entries(world: &World, index: &Definition) -> Result<(Rc<Schema>, Vec<Entry>)> {
    let state = world.state.borrow();
    let gone = || Error::not_found(format!("there is no table '{}'", index.table));
    let table = state.tables.get(&index.table).ok_or_else(gone)?;
    let schema = table.schema.clone();
    check(schema.as_deref(), index)?;
    let schema = schema.ok_or_else(gone)?;
    let at = schema.columns.iter().position(|column| column.name == index.column);
    let at = at.ok_or_else(gone)?;
    let mut entries = Vec::new();
    for (key, row) in &table.rows {
        let value = schema.decode(key, row)?.swap_remove(at);
        if value != Value::Null {
            entries.push(Entry { key: key.clone(), row: row.clone(), value });
        }
    }
    Ok((schema, entries))
}

fn vector(value: &Value) -> &[f32] {
    match value {
        Value::Vector(vector) => vector,
        _ => &[],
    }
}

/// The rows nearest to a vector, with their distances.
pub(super) fn near(
    world: &Rc<World>,
    index: &IndexOf,
    wanted: Nearest<'_>,
) -> Done<Vec<(Vec<u8>, f32)>> {
    let Nearest { query, k, effort, range, filter } = wanted;
    let definition = &index.definition;
    let metric = check_query(definition, query)?;
    let (schema, entries) = entries(world, definition)?;
    let selection = typed::selection(&schema, None, filter)?;
    let mut numbers = Vec::new();
    for (number, entry) in (0..).zip(&entries) {
        let row = entry.row.as_slice().into();
        if range.contains(&entry.key)
            && selection.apply(&entry.key, row).map_err(Error::from)?.is_some()
        {
            numbers.push(number);
        }
    }
    let count = entries.len() as u32;
    if let Some(plugin) = &index.plugin {
        let all: Vec<f32> = entries.iter().flat_map(|e| vector(&e.value)).copied().collect();
        let of = || Entries::of_vectors(metric, definition.dim, all.clone());
        let allowed = Allowed::of(count, numbers.iter().copied());
        let found = world.with_index(plugin, "search", |plugin| {
            plugin.search(definition, &of, query, k, effort, &allowed)
        })?;
        // As the host does: where an index finds too few, all are looked at.
        if k.min(numbers.len()) <= found.len() {
            numbers = found;
        }
    }
    let far = |number: &u32| {
        let entry = &entries[*number as usize];
        (entry.key.clone(), distance(metric, query, vector(&entry.value)))
    };
    let mut found: Vec<_> = numbers.iter().map(far).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(k);
    Ok(found)
}

fn check_query(index: &Definition, query: &[f32]) -> Result<VectorMetric> {
    let Definition { name, dim, .. } = index;
    let metric = index
        .metric
        .ok_or_else(|| Error::invalid(format!("index '{name}' is ordered: it has no vectors")))?;
    if query.len() != *dim as usize {
        let got = query.len();
        let text = format!("the query has {got} dimensions, but index '{name}' has {dim}");
        return Err(Error::invalid(text));
    }
    if let Some(at) = query.iter().position(|x| !x.is_finite()) {
        return Err(Error::invalid(format!("value {at} of the query is {}", query[at])));
    }
    if metric == VectorMetric::Cosine && query.iter().all(|x| *x == 0.0) {
        let text = "a query of zeros has no direction, which cosine is about";
        return Err(Error::invalid(text));
    }
    Ok(metric)
}

/// The keys of the rows whose values lie between two ends, in order of the values.
pub(super) fn lookup(
    world: &Rc<World>,
    index: &IndexOf,
    start: Bound<Value>,
    end: Bound<Value>,
    reverse: bool,
    limit: usize,
) -> Done<Vec<Vec<u8>>> {
    let definition = &index.definition;
    let (schema, entries) = entries(world, definition)?;
    let column = check(Some(&schema), definition)?;
    if matches!(column.kind, ColumnType::Vector(_)) {
        let text = format!("index '{}' has vectors: they have no order", definition.name);
        return Err(Error::invalid(text).into());
    }
    let alone = Column { nullable: false, default: None, ..column };
    let name = alone.name.clone();
    let alone = Schema::new(vec![alone], &[&name]).map_err(Error::from)?;
    let form = |value: &Value| alone.encode_key_values(std::slice::from_ref(value));
    let bound = |bound: Bound<Value>| {
        Ok::<_, Error>(match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(value) => Bound::Included(form(&value)?),
            Bound::Excluded(value) => Bound::Excluded(form(&value)?),
        })
    };
    let range = KeyRange { start: bound(start)?, end: bound(end)? };
    let forms = entries.iter().map(|entry| Ok(form(&entry.value)?)).collect::<Result<Vec<_>>>()?;
    let numbers = match &index.plugin {
        Some(plugin) => {
            let of = || Entries::of_values(forms.clone());
            world.with_index(plugin, "lookup", |plugin| {
                plugin.lookup(definition, &of, &range, reverse, limit)
            })?
        }
        None => {
            let mut sorted: Vec<_> = forms.iter().zip(0_u32..).collect();
            sorted.retain(|(form, _)| range.contains(form));
            sorted.sort();
            if reverse {
                sorted.reverse();
            }
            sorted.into_iter().map(|(_, number)| number).take(limit).collect()
        }
    };
    Ok(numbers.into_iter().map(|number| entries[number as usize].key.clone()).collect())
}
