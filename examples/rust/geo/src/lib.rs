//! Gives each row with a place the number of its cell: hooks before inserts and updates.
//!
//! The number goes into a column of the row itself, where an ordered index finds it; the procedures of `geo-search`
//! ask that index. How places become numbers is told by the crate `core`.

use serde::Deserialize;
use sochdb_example_geo_core::{Place, cell};
use sochdb_guest::config;
use sochdb_guest::prelude::*;

/// The hook, which is its settings: the names of three columns.
#[derive(Deserialize)]
pub struct Geo {
    /// Degrees north, a float64.
    lat: String,
    /// Degrees east, a float64.
    lon: String,
    /// The number of the cell, an int64 that may be null. Whatever a writer says there is overwritten.
    cell: String,
}

impl Hooks for Geo {
    fn init() -> Result<Self> {
        config::read()
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(mut row) = change.new_record(table)? else { return Ok(Decision::Continue) };
        let number = match (row.float(&self.lat)?, row.float(&self.lon)?) {
            (Some(lat), Some(lon)) => match Place::new(lat, lon) {
                Some(place) => Some(cell(place)),
                None => return Ok(Decision::abort(format!("{lat}, {lon} is no place on Earth"))),
            },
            _ => None,
        };
        row.set(&self.cell, number)?;
        change.replace(&row)
    }
}

sochdb_guest::export!(hooks: Geo);

#[cfg(test)]
mod tests;
