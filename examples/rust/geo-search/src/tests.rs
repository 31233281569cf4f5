//! Searches against looking at every row, at the seams of the Earth too.

use super::*;
use sochdb_example_geo_core::cell;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::json;
use sochdb_guest::testing::Database;

/// Columns by name, type, and whether they may be null.
fn schema(columns: &[(&str, ColumnType, bool)], key: &[&str]) -> Schema {
    let column = |&(name, kind, nullable): &(&str, ColumnType, bool)| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    Schema::new(columns.iter().map(column).collect(), key).unwrap()
}

/// `places` at `all`, with their cells, an index of them, and the procedures with their manifest.
fn installed(all: &[(i64, Place)]) -> Database {
    let columns = [
        ("id", ColumnType::Int64, false),
        ("lat", ColumnType::Float64, true),
        ("lon", ColumnType::Float64, true),
        ("cell", ColumnType::Int64, true),
    ];
    let mut db = Database::new();
    db.typed_table("places", schema(&columns, &["id"]));
    for (id, place) in all {
        let (lat, lon) = (place.lat, place.lon);
        let row = json!({ "id": id, "lat": lat, "lon": lon, "cell": cell(*place) });
        db.put_json("places", &row).unwrap();
    }
    db.manifest(include_str!("../manifest.toml")).unwrap();
    db.procedure::<GeoSearch>("geo-search").unwrap();
    db.ordered_index("places", "cell", "cell").unwrap();
    db
}

/// A place for each number, all over the Earth, also at its seams.
fn scattered(count: i64) -> Vec<(i64, Place)> {
    let share = |n: i64, step: f64| (n as f64 * step).fract();
    let place = |n: i64| match n % 10 {
        0 => Place {
            lat: share(n, 0.618) * 180.0 - 90.0,
            lon: if n % 20 == 0 { 180.0 } else { -180.0 },
        },
        1 => Place {
            lat: if n % 20 == 1 { 90.0 } else { -89.99 },
            lon: share(n, 0.414) * 360.0 - 180.0,
        },
        _ => Place { lat: share(n, 0.618) * 180.0 - 90.0, lon: share(n, 0.414) * 360.0 - 180.0 },
    };
    (0..count).map(|n| (n, place(n))).collect()
}

fn ids(rows: &Json) -> Vec<i64> {
    let id = |row: &Json| row.get("row").unwrap_or(row)["id"].as_i64().unwrap();
    rows.as_array().unwrap().iter().map(id).collect()
}

#[test]
fn the_nearest_are_those_that_looking_at_all_rows_finds() {
    let all = scattered(400);
    let mut db = installed(&all);
    for centre in [(0.0, 0.0), (89.95, 10.0), (-12.0, 179.9), (50.0, -180.0), (-90.0, 0.0)] {
        let centre = Place { lat: centre.0, lon: centre.1 };
        let mut sorted: Vec<_> =
            all.iter().map(|(id, place)| (centre.distance_m(*place), *id)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for k in [1, 7, 400] {
            let args = json!({ "table": "places", "lat": centre.lat, "lon": centre.lon, "k": k });
            let found = db.call("geo-search", "near", args).unwrap();
            let expected: Vec<_> = sorted[..k].iter().map(|(_, id)| *id).collect();
            assert_eq!(ids(&found), expected, "{centre:?} {k}");
        }
    }
}

#[test]
fn nothing_is_found_beyond_the_greatest_distance() {
    let all: Vec<_> = (0..5).map(|n| (n, Place { lat: n as f64, lon: 0.0 })).collect();
    let mut db = installed(&all);
    let args = json!({ "table": "places", "lat": 0.0, "lon": 0.0, "max_m": 250_000.0 });
    let found = db.call("geo-search", "near", args).unwrap();
    assert_eq!(ids(&found), [0, 1, 2]);
    assert_eq!(found[0]["distance_m"], 0.0);
    assert!((found[1]["distance_m"].as_f64().unwrap() - 111_195.0).abs() < 1.0);
}

#[test]
fn an_area_has_the_rows_that_lie_in_it() {
    let all = scattered(400);
    let mut db = installed(&all);
    for (south, west, north, east) in [
        (-90.0, -180.0, 90.0, 180.0),
        (-10.0, 170.0, 40.0, -150.0),
        (20.0, 30.0, 20.5, 31.0),
        (89.0, -10.0, 90.0, 60.0),
    ] {
        let areas = Area::new(south, west, north, east).unwrap();
        let lies = |(_, place): &&(i64, Place)| areas.iter().any(|area| area.has(*place));
        let expected: BTreeSet<_> = all.iter().filter(lies).map(|(id, _)| *id).collect();
        let mut args = json!({ "table": "places", "south": south, "west": west, "north": north, "east": east });
        args["rows"] = json!(1000);
        let found = db.call("geo-search", "within", &args).unwrap();
        assert_eq!(ids(&found["rows"]).into_iter().collect::<BTreeSet<_>>(), expected);
        assert_eq!((ids(&found["rows"]).len(), &found["more"]), (expected.len(), &json!(false)));
    }
    let args = json!({ "table": "places", "south": -90.0, "west": -180.0, "north": 90.0, "east": 180.0,
        "rows": 3, "columns": ["id"] });
    let found = db.call("geo-search", "within", args).unwrap();
    assert_eq!((ids(&found["rows"]).len(), &found["more"]), (3, &json!(true)));
    assert_eq!(found["rows"][0].as_object().unwrap().len(), 1);
}

#[test]
fn more_rows_than_the_index_answers_at_once_are_found_too() {
    // Two at each place, so that a page may end between rows of one cell.
    let all: Vec<_> =
        (0..3_001).map(|n| (n, Place { lat: (n / 2) as f64 * 1e-4, lon: 1.0 })).collect();
    let mut db = installed(&all);
    let args = json!({ "table": "places", "south": 0.0, "west": 0.0, "north": 1.0, "east": 2.0, "rows": 10_000 });
    let found = db.call("geo-search", "within", args).unwrap();
    let mut found = ids(&found["rows"]);
    found.sort_unstable();
    assert_eq!(found, (0..3_001).collect::<Vec<_>>());
}

#[test]
fn too_many_rows_at_one_place_are_an_error_and_no_gap() {
    let all: Vec<_> = (0..1_100).map(|n| (n, Place { lat: 5.0, lon: 5.0 })).collect();
    let mut db = installed(&all);
    let args = json!({ "table": "places", "lat": 5.0, "lon": 5.0, "k": 1 });
    assert_eq!(db.call("geo-search", "near", args).unwrap_err().code, ErrorCode::Limit);
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_a_missing_index_is_named() {
    let mut db = installed(&[]);
    for (procedure, args) in [
        ("near", json!({ "table": "places", "lat": 91.0, "lon": 0.0 })),
        ("near", json!({ "table": "places", "lat": 1.0, "lon": 0.0, "k": 0 })),
        ("near", json!({ "table": "places", "lat": 1.0 })),
        (
            "within",
            json!({ "table": "places", "south": 1.0, "west": 0.0, "north": 0.0, "east": 1.0 }),
        ),
        (
            "within",
            json!({ "table": "places", "south": 1.0, "west": 0.0, "north": 2.0, "east": 181.0 }),
        ),
    ] {
        let error = db.call("geo-search", procedure, &args).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{args}: {error}");
    }
    let columns = [("id", ColumnType::Int64, false), ("cell", ColumnType::Int64, true)];
    let mut db = Database::new();
    db.typed_table("places", schema(&columns, &["id"]));
    db.manifest(include_str!("../manifest.toml")).unwrap();
    db.procedure::<GeoSearch>("geo-search").unwrap();
    let error = db.call("geo-search", "near", json!({ "table": "places", "lat": 0.0, "lon": 0.0 }));
    let error = error.unwrap_err();
    assert!(error.text.contains("sochdb index create places cell"), "{}", error.text);
}
