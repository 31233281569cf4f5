//! A scan's selection, made ready for blocks: where its columns lie, which rows of a block fulfil its
//! conditions, and which blocks no row of which can.

use std::ops::Bound;

use sochdb_guest::encoding::range::KeyRange;
use sochdb_guest::encoding::row::{ColumnType, Schema, Value};
use sochdb_guest::encoding::select::{Comparison, Condition, Selection};

use crate::block::{Block, Shape};
use crate::column::Filter;
use crate::keys::Walk;
use crate::typed::stored_kinds;
use crate::zone::Zone;
use crate::{Error, Result};

/// Where a column of the table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the key, at this order.
    Key(usize),
    /// In the value: the chunk of this index in typed blocks.
    Stored(usize),
}

/// A selection made ready.
#[derive(Debug)]
pub(crate) struct Picker {
    pub selection: Selection,
    /// The types of the columns outside the key.
    pub kinds: Vec<ColumnType>,
    /// By position in the schema.
    places: Vec<Place>,
    /// Conditions on columns outside the key, by chunk.
    stored: Vec<(usize, Condition)>,
    /// The same for chunks, as few as they can be.
    filters: Vec<(usize, Filter)>,
    /// Conditions on key columns that the range does not imply.
    keys: Vec<(usize, Condition)>,
    /// Which chunks the conditions look at.
    pub tested: Vec<bool>,
    /// Which chunks are given out.
    pub wanted: Vec<bool>,
}

impl Picker {
    /// Makes `selection` ready, and narrows `range` by what it says of the first key columns.
    pub fn new(selection: &Selection, range: &mut KeyRange) -> Result<Picker> {
        let schema = selection.schema();
        schema.check()?;
        let mut stored_count = 0;
        let place = |position: usize| match schema.key.iter().position(|key| *key == position) {
            Some(order) => Place::Key(order),
            None => {
                stored_count += 1;
                Place::Stored(stored_count - 1)
            }
        };
        let places: Vec<_> = (0..schema.columns.len()).map(place).collect();
        let (mut stored, mut keys) = (Vec::new(), Vec::new());
        let mut filters: Vec<(usize, Filter)> = Vec::new();
        for condition in selection.conditions() {
            match places.get(condition.position()) {
                Some(Place::Stored(index)) => {
                    let filter = Filter::new(condition.comparison(), condition.values())?;
                    let both = |(of, known): &(usize, Filter)| {
                        if of == index { known.and(&filter) } else { None }
                    };
                    match filters
                        .iter()
                        .enumerate()
                        .find_map(|(at, known)| Some((at, both(known)?)))
                    {
                        Some((at, both)) => filters[at].1 = both,
                        None => filters.push((*index, filter)),
                    }
                    stored.push((*index, condition.clone()));
                }
                Some(Place::Key(order)) => keys.push((*order, condition.clone())),
                None => {
                    return Err(Error::Invalid(format!(
                        "there is no column {}",
                        condition.position()
                    )));
                }
            }
        }
        narrow(schema, &mut keys, range);
        let mut tested = vec![false; stored_count];
        stored.iter().for_each(|(index, ..)| tested[*index] = true);
        let mut wanted = vec![selection.projection().is_none(); stored_count];
        for position in selection.projection().map_or(&[][..], |projection| projection.positions())
        {
            match places.get(*position) {
                Some(Place::Stored(index)) => wanted[*index] = true,
                Some(Place::Key(_)) => {}
                None => return Err(Error::Invalid(format!("there is no column {position}"))),
            }
        }
        let kinds = stored_kinds(schema);
        let selection = selection.clone();
        Ok(Picker { selection, kinds, places, stored, filters, keys, tested, wanted })
    }

    pub fn schema(&self) -> &Schema {
        self.selection.schema()
    }

    /// Where the column at `position` of the schema lies.
    pub fn place(&self, position: usize) -> Place {
        self.places[position]
    }

    /// Whether there are conditions at all that blocks are asked about.
    pub fn has_conditions(&self) -> bool {
        !self.stored.is_empty() || !self.keys.is_empty()
    }

    /// What rows written before the column at `position` was added have in it.
    pub fn absent(&self, position: usize) -> Option<Value> {
        let column = &self.schema().columns[position];
        column.default.clone().or(column.nullable.then_some(Value::Null))
    }

    /// Whether no row of a block with `zones`, of whose rows `live` are not deleted, fulfils the conditions.
    pub fn excludes(&self, shape: u8, zones: &[Zone], live: u64) -> bool {
        if live == 0 {
            return true;
        }
        shape == Shape::Typed as u8
            && self.stored.iter().any(|(index, condition)| match zones.get(*index) {
                Some(zone) => !zone.may_hold(condition, live),
                None => self
                    .absent(condition.position())
                    .is_some_and(|value| !condition.accepts(&value)),
            })
    }

    /// Checks that a typed block has columns of this table.
    pub fn check(&self, block: &Block) -> Result<()> {
        let chunks = block.chunks();
        let same = |(place, kind): (&crate::block::Place, &ColumnType)| place.kind == *kind;
        if block.shape() == Shape::Typed
            && !(chunks.len() <= self.kinds.len() && chunks.iter().zip(&self.kinds).all(same))
        {
            return Err(block.corrupt(0, "a block with columns that are not the table's"));
        }
        Ok(())
    }

    /// A bit for each row of `block` that is not deleted and fulfils the conditions. The tested chunks were
    /// read, or all if the block is opaque.
    pub fn mask(&self, block: &Block) -> Result<Vec<u64>> {
        let rows = block.rows();
        let mut mask = vec![u64::MAX; rows.div_ceil(64)];
        if !rows.is_multiple_of(64) {
            mask[rows / 64] = (1 << (rows % 64)) - 1;
        }
        for (index, byte) in block.dead().unwrap_or_default().iter().enumerate() {
            mask[index / 8] &= !(u64::from(*byte) << (8 * (index % 8)));
        }
        match block.shape() {
            Shape::Empty => mask.fill(0),
            Shape::Opaque => self.test_rows(block, &mut mask)?,
            Shape::Typed => {
                let chunks = block.chunks().len();
                for (index, filter) in self.filters.iter().filter(|(index, _)| *index < chunks) {
                    block.chunk(*index)?.filter(filter, &mut mask);
                }
                for (_, condition) in self.stored.iter().filter(|(index, _)| chunks <= *index) {
                    let missing = || block.corrupt(0, "rows without a column that has no default");
                    if !condition.accepts(&self.absent(condition.position()).ok_or_else(missing)?) {
                        mask.fill(0);
                    }
                }
            }
        }
        self.test_keys(block, &mut mask)?;
        Ok(mask)
    }

    /// Clears the bits of rows of an opaque block that do not fulfil the conditions on stored columns.
    fn test_rows(&self, block: &Block, mask: &mut [u64]) -> Result<()> {
        if self.stored.is_empty() {
            return Ok(());
        }
        let (chunk, mut scratch) = (block.chunk(0)?, Vec::new());
        for row in 0..block.rows() {
            if mask[row / 64] >> (row % 64) & 1 == 0 {
                continue;
            }
            let value = chunk.bytes(row, &mut scratch).unwrap_or_default();
            for (_, condition) in &self.stored {
                if !condition.holds(self.schema(), &[], value)? {
                    mask[row / 64] &= !(1 << (row % 64));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Clears the bits of rows whose key does not fulfil the conditions on it.
    fn test_keys(&self, block: &Block, mask: &mut [u64]) -> Result<()> {
        let mut walk = Walk::default();
        if self.keys.is_empty() {
            return Ok(());
        }
        for row in 0..block.rows() {
            if mask[row / 64] >> (row % 64) & 1 == 0 {
                continue;
            }
            walk.seek(&block.keys(), row).map_err(|broken| block.broken_keys(broken))?;
            let values = self.schema().key_values(&walk.key)?;
            if !self.keys.iter().all(|(order, condition)| condition.accepts(&values[*order])) {
                mask[row / 64] &= !(1 << (row % 64));
            }
        }
        Ok(())
    }
}

/// Narrows `range` to the keys that conditions on the first key columns leave, and drops those it implies.
fn narrow(schema: &Schema, conditions: &mut Vec<(usize, Condition)>, range: &mut KeyRange) {
    let mut known: Vec<Value> = Vec::new();
    for order in 0..schema.key.len() {
        let prefix = |values: &[Value]| schema.encode_key_values(values).ok();
        let mut equal = None;
        conditions.retain(|(at, condition)| {
            if *at != order {
                return true;
            }
            let value = condition.values().first().cloned();
            let with = value.clone().and_then(|value| prefix(&[&known[..], &[value]].concat()));
            let Some(with) = with else { return true };
            let all = match condition.comparison() {
                // Strings and bytes end with two zeros, which a beginning does not have.
                Comparison::StartsWith => KeyRange::prefix(&with[..with.len() - 2]),
                _ => KeyRange::prefix(&with),
            };
            let before = KeyRange { start: Bound::Unbounded, end: all.start.clone() };
            let (before, behind) = match (before.end, all.end.clone()) {
                (Bound::Included(key), end) => (Bound::Excluded(key), end),
                (other, end) => (other, end),
            };
            // All keys whose first columns are `known` lie in a range of their own.
            let of_known =
                prefix(&known).map_or_else(KeyRange::all, |known| KeyRange::prefix(&known));
            let behind_start = match behind {
                Bound::Excluded(key) => Bound::Included(key),
                _ => return true,
            };
            let narrower = match condition.comparison() {
                Comparison::Equal => {
                    equal = value;
                    all
                }
                Comparison::StartsWith => all,
                Comparison::Less => KeyRange { start: of_known.start, end: before },
                Comparison::LessOrEqual => KeyRange { start: of_known.start, end: all.end },
                Comparison::Greater => KeyRange { start: behind_start, end: of_known.end },
                Comparison::GreaterOrEqual => KeyRange { start: all.start, end: of_known.end },
                _ => return true,
            };
            intersect(range, narrower);
            false
        });
        match equal {
            Some(value) => known.push(value),
            None => break,
        }
    }
}

/// Makes `range` what it has in common with `other`.
fn intersect(range: &mut KeyRange, other: KeyRange) {
    let later = match (&range.start, &other.start) {
        (_, Bound::Unbounded) => false,
        (Bound::Unbounded, _) => true,
        (Bound::Included(a), Bound::Included(b)) | (Bound::Excluded(a), Bound::Excluded(b)) => {
            a < b
        }
        (Bound::Included(a), Bound::Excluded(b)) => a <= b,
        (Bound::Excluded(a), Bound::Included(b)) => a < b,
    };
    if later {
        range.start = other.start;
    }
    let sooner = match (&range.end, &other.end) {
        (_, Bound::Unbounded) => false,
        (Bound::Unbounded, _) => true,
        (Bound::Included(a), Bound::Included(b)) | (Bound::Excluded(a), Bound::Excluded(b)) => {
            b < a
        }
        (Bound::Included(a), Bound::Excluded(b)) => b <= a,
        (Bound::Excluded(a), Bound::Included(b)) => b < a,
    };
    if sooner {
        range.end = other.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_guest::encoding::row::Column;
    use sochdb_guest::encoding::select::Projection;

    proptest! {
        #[test]
        fn the_narrowed_range_and_the_conditions_left_hold_as_all_conditions_do(
            conditions in proptest::collection::vec((0usize..3, 0u8..=9, -2i64..3, "[ab\u{0}]{0,2}"), 0..4),
            rows in proptest::collection::vec((-3i64..4, "[ab\u{0}]{0,2}", any::<bool>()), 1..40),
        ) {
            let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
            let columns = vec![
                column("a", ColumnType::Int64), column("b", ColumnType::String), column("c", ColumnType::Bool),
            ];
            let schema = Schema::new(columns, &["a", "b", "c"]).unwrap();
            let conditions: Vec<_> = conditions.into_iter().filter_map(|(at, code, number, text)| {
                let value = [Value::Int64(number), Value::String(text), Value::Bool(number < 0)][at].clone();
                Condition::at(&schema, at, Comparison::try_from(code).unwrap(), vec![value]).ok()
            }).collect();
            let projection = Projection::new(&schema, &["b"]).unwrap();
            let selection = Selection::new(schema.clone(), Some(projection), conditions.clone()).unwrap();
            let mut range = KeyRange::all();
            let picker = Picker::new(&selection, &mut range).unwrap();
            for (a, b, c) in rows {
                let row = [Value::Int64(a), Value::String(b), Value::Bool(c)];
                let key = schema.encode_key(&row).unwrap();
                let all = conditions.iter().all(|condition| condition.accepts(&row[condition.position()]));
                let left = picker.keys.iter().all(|(order, condition)| condition.accepts(&row[*order]));
                prop_assert_eq!(range.contains(&key) && left, all, "{:?} {:?}", row, conditions);
            }
        }
    }
}
