//! Finds rows by where they are: the procedures of the column that the hook `geo` fills.
//!
//! | procedure | what it does                                                                            |
//! |-----------|-----------------------------------------------------------------------------------------|
//! | `within`  | the rows between two parallels and two meridians                                        |
//! | `near`    | the rows nearest to a place, with their distances: circles around it, each four times as wide as the one before, until enough rows lie in one |

use serde::{Deserialize, Serialize};
use sochdb_example_geo_core::{Area, DISTANCE_MAX_M, Place, circle, cover};
use sochdb_guest::prelude::*;
use sochdb_guest::search::Index;
use sochdb_guest::serde_json::{Map, Value as Json};
use sochdb_guest::{config, procedure};
use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::{Bound, ControlFlow, RangeInclusive};

/// The most rows that one call finds.
const ROWS_MAX: usize = 10_000;
/// Ranges of cells that one area becomes: more of them look at fewer rows in vain.
const RANGES: usize = 32;
/// Keys that the index is asked for at once.
const KEYS_AT_ONCE: u32 = 1_024;
/// The radius of the first circle, in metres.
const FIRST_RADIUS_M: f64 = 100.0;

/// The procedures, which are their settings: what the hook has, and the index of its cells.
#[derive(Deserialize)]
pub struct GeoSearch {
    lat: String,
    lon: String,
    cell: String,
    index: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithinArgs {
    table: String,
    south: f64,
    west: f64,
    north: f64,
    east: f64,
    rows: Option<usize>,
    #[serde(default)]
    columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NearArgs {
    table: String,
    lat: f64,
    lon: f64,
    k: Option<usize>,
    max_m: Option<f64>,
    #[serde(default)]
    columns: Vec<String>,
}

#[derive(Serialize)]
struct Within {
    rows: Vec<Json>,
    /// Whether there are others.
    more: bool,
}

#[derive(Serialize)]
struct Found {
    distance_m: f64,
    row: Json,
}

impl Procedure for GeoSearch {
    fn init() -> Result<Self> {
        config::read()
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![
            ProcedureInfo::new("within", "The rows between two parallels and two meridians.")
                .args(
                    r#"{"type": "object", "additionalProperties": false,
                    "required": ["table", "south", "west", "north", "east"], "properties": {
                        "table": {"type": "string"},
                        "south": {"type": "number"}, "west": {"type": "number"},
                        "north": {"type": "number"}, "east": {"type": "number"},
                        "rows": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 100},
                        "columns": {"type": "array", "items": {"type": "string"}}}}"#,
                )
                .result(
                    r#"{"type": "object", "required": ["rows", "more"], "properties": {
                    "rows": {"type": "array", "items": {"type": "object"}}, "more": {"type": "boolean"}}}"#,
                )
                .reads_only(),
            ProcedureInfo::new("near", "The rows nearest to a place.")
                .args(
                    r#"{"type": "object", "additionalProperties": false,
                    "required": ["table", "lat", "lon"], "properties": {
                        "table": {"type": "string"},
                        "lat": {"type": "number"}, "lon": {"type": "number"},
                        "k": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10},
                        "max_m": {"type": "number", "minimum": 0},
                        "columns": {"type": "array", "items": {"type": "string"}}}}"#,
                )
                .result(
                    r#"{"type": "array", "items": {"type": "object", "required": ["distance_m", "row"],
                    "properties": {"distance_m": {"type": "number"}, "row": {"type": "object"}}}}"#,
                )
                .reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        match name {
            "within" => procedure::json(args, |args| self.within(tx, &args)),
            "near" => procedure::json(args, |args| self.near(tx, &args)),
            other => procedure::unknown(other),
        }
    }
}

impl GeoSearch {
    fn within(&self, tx: &Transaction<'_>, args: &WithinArgs) -> Result<Within> {
        let WithinArgs { south, west, north, east, .. } = *args;
        let areas = Area::new(south, west, north, east)
            .ok_or_else(|| Error::invalid("these are no degrees, or 'north' lies below 'south'"))?;
        let limit = bounded("rows", args.rows.unwrap_or(100))?;
        let mut found = Within { rows: Vec::new(), more: false };
        self.places(tx, &args.table)?.visit(&areas, &mut |_, place, row| {
            if !areas.iter().any(|area| area.has(place)) {
                return Ok(ControlFlow::Continue(()));
            }
            if found.rows.len() == limit {
                found.more = true;
                return Ok(ControlFlow::Break(()));
            }
            found.rows.push(shown(row, &args.columns)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn near(&self, tx: &Transaction<'_>, args: &NearArgs) -> Result<Vec<Found>> {
        let centre = Place::new(args.lat, args.lon)
            .ok_or_else(|| Error::invalid("'lat' and 'lon' are no place on Earth"))?;
        let k = bounded("k", args.k.unwrap_or(10))?;
        let max_m = args.max_m.unwrap_or(DISTANCE_MAX_M).clamp(0.0, DISTANCE_MAX_M);
        let places = self.places(tx, &args.table)?;
        let mut radius_m = FIRST_RADIUS_M;
        loop {
            radius_m = radius_m.min(max_m);
            let nearest = places.nearest(centre, radius_m, k)?;
            if nearest.len() == k || max_m <= radius_m {
                let found = nearest.into_iter().map(|Near { distance_m, row, .. }| {
                    Ok(Found { distance_m, row: shown(&row, &args.columns)? })
                });
                return found.collect();
            }
            radius_m *= 4.0;
        }
    }

    fn places(&self, tx: &Transaction<'_>, name: &str) -> Result<Places<'_>> {
        let table = tx.open(name)?;
        let index = Index::open(&table, &self.index).map_err(|error| match error.code {
            ErrorCode::NotFound => Error::not_found(format!(
                "table '{name}' has no index '{}' of its cells; make one: sochdb index create {name} {} --name {}",
                self.index, self.cell, self.index
            )),
            _ => error,
        })?;
        Ok(Places { table, index, settings: self })
    }
}

fn bounded(name: &str, rows: usize) -> Result<usize> {
    match rows {
        1..=ROWS_MAX => Ok(rows),
        _ => Err(Error::invalid(format!("'{name}' is 1 to {ROWS_MAX}, not {rows}"))),
    }
}

/// A row and how far away it is. The nearer is the less; of equally near ones, the one with the lesser key.
struct Near {
    distance_m: f64,
    key: Vec<u8>,
    row: Record,
}

impl Ord for Near {
    fn cmp(&self, other: &Near) -> Ordering {
        self.distance_m.total_cmp(&other.distance_m).then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Near {}

impl PartialEq for Near {
    fn eq(&self, other: &Near) -> bool {
        self.cmp(other).is_eq()
    }
}

/// Takes one row; whether to go on.
type Visit<'a> = dyn FnMut(&[u8], Place, &Record) -> Result<ControlFlow<()>> + 'a;

/// The rows of one table, by where they are.
struct Places<'a> {
    table: Table<'static>,
    index: Index,
    settings: &'a GeoSearch,
}

impl Places<'_> {
    /// The `k` rows nearest to `centre`, none farther than `radius_m`, nearest first.
    fn nearest(&self, centre: Place, radius_m: f64, k: usize) -> Result<Vec<Near>> {
        let mut nearest = BinaryHeap::new();
        self.visit(&circle(centre, radius_m), &mut |key, place, row| {
            let distance_m = centre.distance_m(place);
            if distance_m <= radius_m {
                nearest.push(Near { distance_m, key: key.to_vec(), row: row.clone() });
                if k < nearest.len() {
                    nearest.pop();
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(nearest.into_sorted_vec())
    }

    /// Shows `visit` every row of `areas` once, and some of their neighbours.
    fn visit(&self, areas: &[Area], visit: &mut Visit<'_>) -> Result<()> {
        for cells in cover(areas, RANGES) {
            if self.visit_cells(cells, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn visit_cells(
        &self,
        cells: RangeInclusive<i64>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let at = |cell: i64| Bound::Included(Value::Int64(cell));
        let (mut start, end) = cells.into_inner();
        // The index answers so many keys at once; then it goes on with the last one's cell, which may have others.
        let mut seen_in_start = BTreeSet::new();
        loop {
            let keys = self.index.lookup(at(start), at(end), false, KEYS_AT_ONCE)?;
            let mut seen_in_last = BTreeSet::new();
            let mut last = start;
            for key in &keys {
                let Some(row) = self.table.record(key)? else { continue };
                let GeoSearch { lat, lon, cell, .. } = self.settings;
                if let Some(cell) = row.integer(cell)? {
                    if last < cell {
                        (last, seen_in_last) = (cell, BTreeSet::new());
                    }
                    seen_in_last.insert(key.clone());
                }
                if seen_in_start.contains(key) {
                    continue;
                }
                if let (Some(lat), Some(lon)) = (row.float(lat)?, row.float(lon)?)
                    && let Some(place) = Place::new(lat, lon)
                    && visit(key, place, &row)?.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if keys.len() < KEYS_AT_ONCE as usize {
                return Ok(ControlFlow::Continue(()));
            }
            if last == start {
                let text = format!("{KEYS_AT_ONCE} rows or more are at one and the same place");
                return Err(Error::new(ErrorCode::Limit, text));
            }
            (start, seen_in_start) = (last, seen_in_last);
        }
    }
}

/// The columns asked for, all of them by default.
fn shown(row: &Record, columns: &[String]) -> Result<Json> {
    let json = row.to_json();
    if columns.is_empty() {
        return Ok(json);
    }
    let column = |name: &String| match json.get(name) {
        Some(value) => Ok((name.clone(), value.clone())),
        None => Err(Error::invalid(format!("there is no column '{name}'"))),
    };
    Ok(Json::Object(columns.iter().map(column).collect::<Result<Map<_, _>>>()?))
}

sochdb_guest::export!(procedure: GeoSearch);

#[cfg(test)]
mod tests;
