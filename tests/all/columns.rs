//! Scans of columns, and what a table's storage tells of itself: the same from every storage, whatever lies in
//! memory above it.

use crate::program::Workplace;
use sochdb::{
    Column, ColumnType, Comparison, Condition, Database, ErrorKind, KeyRange, Schema, TableOptions,
    Transaction, Value,
};
use std::collections::BTreeMap;
use std::ops::Bound;

fn schema() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("town", ColumnType::String, true),
        column("size", ColumnType::Float64, true),
        column("at", ColumnType::Timestamp, false),
        column("ok", ColumnType::Bool, false),
        column("raw", ColumnType::Bytes, false),
        column("v", ColumnType::Vector(2), true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

fn row(id: i64, round: i64) -> Vec<Value> {
    let town = ["Ulm", "Bern", "Graz", "Linz"][(id + round) as usize % 4];
    let nullable =
        |value: Value, every: i64| if (id + round) % every == 0 { Value::Null } else { value };
    vec![
        Value::Int64(id),
        nullable(Value::String(format!("{town} {round}")), 7),
        nullable(Value::Float64(id as f64 / 8.0), 5),
        Value::Timestamp(id * 1_000 + round),
        Value::Bool(id % 3 == 0),
        Value::Bytes(vec![round as u8; id as usize % 4]),
        nullable(Value::Vector(vec![id as f32, round as f32]), 11),
    ]
}

type Model = BTreeMap<i64, Vec<Value>>;

fn write(
    tx: &mut Transaction,
    table: &str,
    model: &mut Model,
    ids: impl Iterator<Item = i64>,
    round: Option<i64>,
) {
    let schema = schema();
    for id in ids {
        let row = row(id, round.unwrap_or_default());
        let key = schema.encode_key(&row).unwrap();
        if round.is_some() {
            tx.put(table, &key, &schema.encode_row(&row).unwrap()).unwrap();
            model.insert(id, row);
        } else {
            tx.delete(table, &key).unwrap();
            model.remove(&id);
        }
    }
}

fn check(tx: &Transaction, table: &str, model: &Model) {
    let schema = schema();
    let condition =
        |column, comparison, value| Condition::new(&schema, column, comparison, value).unwrap();
    let conditions = [
        vec![],
        vec![condition("town", Comparison::StartsWith, Value::String("Ulm".into()))],
        vec![condition("size", Comparison::IsNull, Value::Null)],
        vec![
            condition("id", Comparison::GreaterOrEqual, Value::Int64(2_500)),
            condition("ok", Comparison::Equal, Value::Bool(true)),
        ],
        vec![
            Condition::among(
                &schema,
                "at",
                vec![Value::Timestamp(17_000), Value::Timestamp(20_001)],
            )
            .unwrap(),
        ],
    ];
    let selections: [&[&str]; 4] =
        [&["id"], &["v", "town", "at"], &["raw", "ok", "size", "id"], &[]];
    let key = |id: i64| schema.encode_key(&row(id, 0)).unwrap();
    let ranges = [
        (0..6_000, KeyRange::all()),
        (
            100..2_222,
            KeyRange { start: Bound::Included(key(100)), end: Bound::Excluded(key(2_222)) },
        ),
        (
            2_999..3_001,
            KeyRange { start: Bound::Excluded(key(2_998)), end: Bound::Included(key(3_000)) },
        ),
        (0..0, KeyRange { start: Bound::Included(key(9)), end: Bound::Excluded(key(9)) }),
    ];
    for conditions in &conditions {
        for columns in selections {
            for (ids, range) in &ranges {
                let fulfils =
                    |row: &&Vec<Value>| conditions.iter().all(|c| c.accepts(&row[c.position()]));
                let positions: Vec<_> = columns
                    .iter()
                    .map(|name| {
                        schema.columns.iter().position(|column| column.name == *name).unwrap()
                    })
                    .collect();
                let pick = |row: &Vec<Value>| {
                    positions.iter().map(|at| row[*at].clone()).collect::<Vec<_>>()
                };
                let wanted: Vec<Vec<Value>> = model
                    .range(ids.clone())
                    .map(|(_, row)| row)
                    .filter(fulfils)
                    .map(pick)
                    .collect();
                let scan =
                    tx.scan_columns(table, range.clone(), columns, conditions.clone()).unwrap();
                // As they are in the table, whether they may be null included.
                assert!(scan.columns().iter().eq(positions.iter().map(|at| &schema.columns[*at])));
                let mut found = Vec::new();
                let mut last: Option<Vec<u8>> = None;
                for batch in scan {
                    let batch = batch.unwrap();
                    assert!(0 < batch.rows() || batch.through().is_some());
                    let value = |row| {
                        (0..columns.len()).map(|index| batch.value(index, row)).collect::<Vec<_>>()
                    };
                    found.extend((0..batch.rows()).map(value));
                    if let Some(through) = batch.through() {
                        assert!(last.as_deref() < Some(through), "batches do not grow");
                        last = Some(through.to_vec());
                    }
                }
                assert!(
                    found == wanted,
                    "{table}: {} rows for {}, {columns:?} {range:?} {conditions:?}",
                    found.len(),
                    wanted.len()
                );
                for reverse in [false, true] {
                    let rows = tx
                        .scan_selected(table, range.clone(), columns, conditions.clone(), reverse)
                        .unwrap();
                    let mut rows: Vec<_> = rows.map(|row| row.unwrap().1).collect();
                    if reverse {
                        rows.reverse();
                    }
                    assert!(rows == wanted, "{table}, row by row");
                }
            }
        }
    }
}

#[test]
fn a_scan_of_columns_sees_what_a_scan_of_rows_sees() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    for (name, storage) in [("tree", None), ("columns", Some("lscs".to_owned()))] {
        let mut model = Model::new();
        db.create_table(
            name,
            TableOptions { storage, schema: Some(schema()), ..TableOptions::default() },
        )
        .unwrap();
        let commit = |model: &mut Model, ids: &mut dyn Iterator<Item = i64>, round| {
            let mut tx = db.begin().unwrap();
            write(&mut tx, name, model, ids, round);
            tx.commit().unwrap();
        };
        // Nothing on disk; then only there; then rows among the batches, over them, behind them, deletions.
        commit(&mut model, &mut (0..50), Some(0));
        check(&db.begin_read().unwrap(), name, &model);
        commit(&mut model, &mut (0..5_000), Some(1));
        db.checkpoint().unwrap();
        check(&db.begin_read().unwrap(), name, &model);
        commit(&mut model, &mut (1_000..1_003), Some(2));
        check(&db.begin_read().unwrap(), name, &model);
        commit(&mut model, &mut (2_000..2_900).step_by(3), None);
        commit(&mut model, &mut (4_990..5_500), Some(3));
        db.checkpoint().unwrap();
        commit(&mut model, &mut (0..3), None);
        check(&db.begin_read().unwrap(), name, &model);
        // And the transaction's own.
        let mut tx = db.begin().unwrap();
        let mut own = model.clone();
        write(&mut tx, name, &mut own, (3_000..3_010).chain(5_900..5_910), Some(4));
        write(&mut tx, name, &mut own, 0..2_000, None);
        check(&tx, name, &own);
        tx.rollback();
        check(&db.begin_read().unwrap(), name, &model);
    }
}

#[test]
fn columns_that_are_not_there_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    db.create_table("plain", TableOptions::default()).unwrap();
    db.create_table("typed", TableOptions { schema: Some(schema()), ..TableOptions::default() })
        .unwrap();
    let tx = db.begin_read().unwrap();
    let kind = |table, column| tx.scan_columns(table, .., &[column], vec![]).err().unwrap().kind();
    assert_eq!(kind("plain", "id"), ErrorKind::Invalid);
    assert_eq!(kind("typed", "nope"), ErrorKind::Invalid);
    assert_eq!(kind("nope", "id"), ErrorKind::NotFound);
}

#[test]
fn a_table_tells_how_it_is_kept() {
    let work = Workplace::new();
    let lines: String = (0..3_000)
        .map(|id| format!("{{\"id\": {id}, \"town\": \"{}\"}}\n", ["Ulm", "Bern"][id % 2]))
        .collect();
    work.file("towns.jsonl", lines);
    work.ok(&["import", "towns.jsonl", "--storage", "lscs", "--codec", "lz4"]);
    work.ok(&["import", "towns.jsonl", "--table", "tree"]);
    let text = work.ok(&["stats", "towns"]);
    for word in ["storage", "lscs", "codec", "lz4", "rows", "on disk", "segments"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours are for terminals only");
    let stats: serde_json::Value =
        serde_json::from_str(&work.ok(&["stats", "towns", "--json"])).unwrap();
    assert_eq!((&stats["rows"], &stats["table"]["storage"]), (&3_000.into(), &"lscs".into()));
    assert!(0 < stats["stored_bytes"].as_u64().unwrap(), "{stats}");
    let levels = stats["levels"].as_array().unwrap();
    let rows: u64 = levels.iter().map(|level| level["rows"].as_u64().unwrap()).sum();
    assert_eq!((rows, &levels[0]["deleted"]), (3_000, &0.into()), "{stats}");
    let columns = stats["columns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["id", "town"], "{stats}");
    for column in columns {
        assert!(!column["encodings"].as_array().unwrap().is_empty(), "{stats}");
        assert!(column["bytes"].as_u64() < column["raw_bytes"].as_u64(), "{stats}");
    }
    assert!(1.0 < stats["compression_ratio"].as_f64().unwrap(), "{stats}");
    for word in ["level 0", "██", "town", "1 segment, 3,000 rows"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    let tree: serde_json::Value =
        serde_json::from_str(&work.ok(&["stats", "tree", "--json"])).unwrap();
    assert_eq!(
        (&tree["rows"], &tree["segments"], &tree["levels"]),
        (&3_000.into(), &0.into(), &serde_json::Value::Null)
    );
    work.refused(&["stats", "nope"], 3, &["no table named 'nope'"]);
}
