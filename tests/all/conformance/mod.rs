//! The conformance kit of `sdk-guest` on whole databases, through the real host: random operations, with
//! checkpoints, reloads, reopening and power cuts between them, and a model that knows every answer.
//!
//! ```text
//!   sochdb_guest::testing ──▶ database::Kept ──▶ Database ──▶ kernel ──▶ sandbox: lscs, a codec
//!                                                               └─▶ SimVfs: a disk that forgets
//! ```
//!
//! The kernel's own tree answers the same operations of the same seed: what both say equals what the model
//! says. [`crashes`] cuts the power at every write of one workload, [`damage`] spoils segments and starves
//! the engine at work, [`merges`] lets it lie in merges.
//!
//! `SOCHDB_SEED=NUMBER` replays a failure; `SOCHDB_PROOF=release` does ten times as much.

mod crashes;
mod damage;
mod database;
mod merges;

use database::{Keeper, Kept, TABLE};
use sochdb::{Column, ColumnType, Database, KernelResult, Schema, Value};
use sochdb_guest::testing::Kit;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One for all storages, so that all are asked the same.
static KIT: LazyLock<Kit> =
    LazyLock::new(|| Kit { operations: 60, ..Kit::default() }.sequences(24));

/// Asks a database whose tables are kept so.
fn ask(keeper: Keeper) {
    let report = KIT.run(&keeper.to_string(), |setup| Ok(Box::new(Kept::new(keeper, setup)?)));
    for (what, count) in report.asked() {
        let may_miss = ["columns", "end of a snapshot"].contains(&what);
        assert!(0 < count || may_miss, "{keeper}: {what} was never asked: {report}");
    }
}

#[test]
fn the_kernels_own_tree_answers_as_the_model() {
    ask(Keeper { storage: None, codec: None, observed: false });
}

#[test]
fn the_kernels_own_tree_with_lz4_answers_as_the_model() {
    ask(Keeper { storage: None, codec: Some("lz4"), observed: false });
}

#[test]
fn the_kernels_own_tree_with_zstd_answers_as_the_model() {
    ask(Keeper { storage: None, codec: Some("zstd"), observed: false });
}

#[test]
fn lscs_answers_as_the_model() {
    ask(Keeper { storage: Some("lscs"), codec: None, observed: false });
}

#[test]
fn lscs_with_lz4_answers_as_the_model() {
    ask(Keeper { storage: Some("lscs"), codec: Some("lz4"), observed: false });
}

#[test]
fn lscs_with_zstd_answers_as_the_model() {
    ask(Keeper { storage: Some("lscs"), codec: Some("zstd"), observed: false });
}

/// Each with fewer operations than above: what is new is the company.
#[test]
fn every_codec_and_every_observer_goes_with_every_storage() {
    let kit = Kit { operations: 30, ..Kit::default() }.sequences(3);
    for storage in [None, Some("lscs")] {
        for codec in [None, Some("lz4"), Some("zstd")] {
            let keeper = Keeper { storage, codec, observed: true };
            kit.run(&keeper.to_string(), |setup| Ok(Box::new(Kept::new(keeper, setup)?)));
        }
    }
    let (log_bytes, payloads) = database::observed();
    assert!(0 < log_bytes && 0 < payloads, "{log_bytes} bytes of logs, {payloads} payloads");
    println!("{log_bytes} bytes of logs and {payloads} payloads beside it");
}

/// Keys and values of a table.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows to write, and keys to delete.
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn is_proof() -> bool {
    std::env::var("SOCHDB_PROOF").is_ok_and(|proof| proof == "release")
}

/// The columns of the table that crashes and damage are tried on.
fn schema() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("name", ColumnType::String, true),
        column("price", ColumnType::Float64, false),
        column("noise", ColumnType::Bytes, false),
    ];
    Schema::new(columns, &["id"]).expect("a schema")
}

/// What commit `number` does: it writes and deletes rows of others before it.
fn changes(number: usize) -> Changes {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut changes = BTreeMap::new();
    for _ in 0..60 {
        let id = rng.i64(0..200);
        let name = [Value::Null, Value::String(format!("name {}", id % 7))][rng.usize(..2)].clone();
        let noise = Value::Bytes((0..rng.usize(..900)).map(|_| rng.u8(..)).collect());
        let row = [Value::Int64(id), name, Value::Float64(id as f64 / 4.0), noise];
        let key = schema().encode_key(&row).expect("a key");
        let value = (rng.u8(..4) != 0).then(|| schema().encode_row(&row).expect("a row"));
        changes.insert(key, value);
    }
    changes.into_iter().collect()
}

fn write(db: &Database, changes: &Changes) -> KernelResult<()> {
    db.run(|tx| {
        changes.iter().try_for_each(|(key, value)| match value {
            Some(value) => tx.put(TABLE, key, value),
            None => tx.delete(TABLE, key),
        })
    })
}

fn read(db: &Database) -> KernelResult<Rows> {
    let rows = db.begin_read()?.scan(TABLE, ..)?;
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec()))).collect()
}
