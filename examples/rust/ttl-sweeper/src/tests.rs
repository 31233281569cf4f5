//! Which rows go, by a scan and by an index.

use super::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::serde_json::{Value as Json, json};
use sochdb_guest::testing::Database;

const NOON_US: i64 = 1_700_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;

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

/// `sessions` that are 0 to 9 days old, one of unknown age, and the procedures with their manifest: a day is too old.
fn installed() -> Database {
    let columns = [("id", ColumnType::Int64, false), ("created_at", ColumnType::Timestamp, true)];
    let mut db = Database::new();
    db.typed_table("sessions", schema(&columns, &["id"])).set_clock(NOON_US);
    for id in 0..10 {
        let row = json!({ "id": id, "created_at": NOON_US - id * DAY_US });
        db.put_json("sessions", &row).unwrap();
    }
    db.put_json("sessions", &json!({ "id": 10 })).unwrap();
    db.manifest(include_str!("../manifest.toml")).unwrap();
    db.procedure::<TtlSweeper>("ttl-sweeper").unwrap();
    db
}

fn call(db: &mut Database, procedure: &str, args: Json) -> Json {
    db.call("ttl-sweeper", procedure, &args).unwrap_or_else(|error| panic!("{args}: {error}"))
}

fn ids(db: &Database) -> Vec<i64> {
    db.rows_json("sessions").unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[test]
fn what_is_too_old_goes_some_at_a_time() {
    for index in [false, true] {
        let mut db = installed();
        let mut args = json!({ "table": "sessions", "rows": 5 });
        if index {
            db.ordered_index("sessions", "by_age", "created_at").unwrap();
            args["index"] = json!("by_age");
        }
        assert_eq!(call(&mut db, "expired", args.clone()), json!({ "expired": 5, "more": true }));
        assert_eq!(call(&mut db, "sweep", args.clone()), json!({ "deleted": 5, "more": true }));
        // By the index the oldest go first, without one those with the least keys.
        assert_eq!(ids(&db), if index { [0, 1, 2, 3, 4, 10] } else { [0, 1, 7, 8, 9, 10] });
        assert_eq!(call(&mut db, "sweep", args.clone()), json!({ "deleted": 3, "more": false }));
        // One that is a day old to the second is not older than a day.
        assert_eq!(ids(&db), [0, 1, 10]);
        assert_eq!(call(&mut db, "sweep", args), json!({ "deleted": 0, "more": false }));
        let swept = db.metric("ttl_swept_total", &[("table", "sessions")]);
        assert_eq!(swept, Some(8.0));
    }
}

#[test]
fn an_age_of_ones_own_counts_more_than_the_setting() {
    let mut db = installed();
    let args = json!({ "table": "sessions", "age_s": 8 * 86_400 });
    assert_eq!(call(&mut db, "sweep", args), json!({ "deleted": 1, "more": false }));
    let args = json!({ "table": "sessions", "age_s": 0, "column": "created_at" });
    assert_eq!(call(&mut db, "sweep", args), json!({ "deleted": 8, "more": false }));
    assert_eq!(ids(&db), [0, 10]);
}

/// Keeps every row.
struct Keep;

impl Hooks for Keep {
    fn init() -> Result<Self> {
        Ok(Keep)
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        _: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        Ok(if change.kind == ChangeKind::Delete {
            Decision::abort("kept")
        } else {
            Decision::Continue
        })
    }
}

#[test]
fn hooks_are_asked_and_one_that_refuses_keeps_all() {
    let mut db = installed();
    db.hooks::<Keep>("sessions").unwrap();
    assert!(db.call("ttl-sweeper", "sweep", json!({ "table": "sessions" })).is_err());
    assert_eq!(ids(&db).len(), 11);
}

#[test]
fn without_a_clock_or_with_arguments_that_make_no_sense_nothing_goes() {
    let mut db = installed();
    for args in [
        json!({}),
        json!({ "table": "sessions", "rows": 0 }),
        json!({ "table": "sessions", "rows": 8193 }),
        json!({ "table": "sessions", "age_s": -1 }),
        json!({ "table": "sessions", "age_s": i64::MAX }),
        json!({ "table": "sessions", "column": "id" }),
        json!({ "table": "sessions", "column": "none" }),
    ] {
        let error = db.call("ttl-sweeper", "sweep", &args).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{args}: {error}");
    }
    db.set_clock(0);
    let error = db.call("ttl-sweeper", "sweep", json!({ "table": "sessions" })).unwrap_err();
    assert_eq!((error.code, ids(&db).len()), (ErrorCode::Denied, 11));
}
