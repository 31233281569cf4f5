//! Rows with indexes: marked whoever writes them, and looked up inside of the transaction.

use crate::world::{GUARD_GRANT, World};
use sochdb_host_abi::{TenantOptions, Transaction};
use sochdb_index::{IndexDefinition, Lookup, backfill_step, create, finish};
use sochdb_kernel::{
    Column, ColumnType, ErrorKind, KernelResult, Schema, TableOptions, TransactionOptions, Value,
};
use sochdb_test_guests::GUARD;
use std::ops::Bound;

fn places() -> Schema {
    let column = |name: &str| Column {
        name: name.into(),
        kind: ColumnType::String,
        nullable: false,
        default: None,
    };
    Schema::new(vec![column("name"), column("town")], &["name"]).unwrap()
}

fn place(name: &str, town: &str) -> (Vec<u8>, Vec<u8>) {
    let row = [name, town].map(|text| Value::String(text.into()));
    (places().encode_key(&row).unwrap(), places().encode_row(&row).unwrap())
}

fn put(tx: &mut Transaction, name: &str, town: &str) -> KernelResult<()> {
    let (key, value) = place(name, town);
    tx.put("places", &key, &value)
}

fn make_table(world: &World, table: &str) {
    let options = TableOptions { schema: Some(places()), ..TableOptions::default() };
    world.kernel.create_table(table, options).unwrap();
}

/// An index of the towns of `table`.
fn make_index(world: &World, table: &str) {
    let settings = [("using".to_owned(), "btree-index".to_owned())].into();
    let index = IndexDefinition::new(table, "by-town", "town", Some(&places()), &settings).unwrap();
    let programs = world.host.programs();
    programs.change_indexes(|| world.kernel.run(|tx| create(tx, &index))).unwrap();
    assert_eq!(backfill_step(&world.kernel, &index, None).unwrap().next, None);
    programs.change_indexes(|| finish(&world.kernel, &index)).unwrap();
}

/// A database with a table `places` whose towns are indexed.
fn world() -> World {
    let world = World::new();
    let engine = world.host.programs().indexes();
    world.kernel.plugins().register_storage(engine.clone());
    engine.attach(&world.kernel);
    let grant = GUARD_GRANT.replace("\"guarded\"", "\"places\"");
    world.load("guard", "hooks", GUARD, &grant).unwrap();
    make_table(&world, "places");
    make_index(&world, "places");
    world
}

/// The names of the places in `town`.
fn in_town(tx: &Transaction, town: &str) -> Vec<String> {
    let town = || Bound::Included(Value::String(town.into()));
    let lookup = Lookup { start: town(), end: town(), reverse: false, limit: 100 };
    let keys = tx.lookup("places", "by-town", &lookup).unwrap();
    let name = |key: &Vec<u8>| match places().key_values(key).unwrap().remove(0) {
        Value::String(name) => name,
        _ => panic!("a name is text"),
    };
    keys.iter().map(name).collect()
}

#[test]
fn what_a_hook_keeps_from_happening_is_not_found() {
    let world = world();
    let (_, value) = place("a", "ulm");
    world
        .run(|tx| {
            put(tx, "plain", "ulm")?;
            // A key as the hook reads it.
            tx.put("places", b"skip/a", &value)?;
            assert!(tx.put("places", b"abort/a", &value).is_err());
            assert_eq!(in_town(tx, "ulm"), ["plain"]);
            Ok(())
        })
        .unwrap();
    assert_eq!(in_town(&world.begin(), "ulm"), ["plain"]);
    world.run(|tx| tx.delete("places", &place("plain", "").0)).unwrap();
    assert_eq!(in_town(&world.begin(), "ulm"), [""; 0]);
    world.host.programs().indexes().detach();
}

#[test]
fn a_tenant_has_indexes_of_its_own_that_count_as_no_rows() {
    let world = world();
    make_table(&world, "acme/places");
    make_index(&world, "acme/places");
    let options = TenantOptions { storage_bytes_max: Some(1_000), ..TenantOptions::default() };
    let acme = world.host.tenants().set("acme", options).unwrap();
    let mut tx = world.begin_with(TransactionOptions::default(), Some(&acme));
    put(&mut tx, "a", "ulm").unwrap();
    assert_eq!(in_town(&tx, "ulm"), ["a"]);
    let (key, value) = place("a", "ulm");
    assert_eq!(tx.bytes().unwrap(), (key.len() + value.len()) as u64);
    tx.rename_table("places", "sites").unwrap();
    tx.commit().unwrap();
    assert_eq!(acme.usage().storage_bytes, (key.len() + value.len()) as u64);
    assert_eq!(in_town(&world.begin(), "ulm"), [""; 0]);
    let tx = world.begin_with(TransactionOptions::default(), Some(&acme));
    assert_eq!(tx.indexes("sites").unwrap()[0].0.table, "sites");
    assert_eq!(tx.indexes("places").unwrap_err().kind(), ErrorKind::NotFound);
    world.host.programs().indexes().detach();
}

#[test]
fn who_began_before_an_index_and_wrote_to_its_table_conflicts() {
    let world = world();
    make_table(&world, "others");
    let (key, value) = place("a", "ulm");
    let mut old = world.begin();
    old.put("others", &key, &value).unwrap();
    let mut renamed = world.begin();
    renamed.put("others", &key, &value).unwrap();
    renamed.rename_table("others", "another").unwrap();
    let mut elsewhere = world.begin();
    put(&mut elsewhere, "b", "ulm").unwrap();
    make_index(&world, "others");
    assert_eq!(old.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(renamed.commit().unwrap_err().kind(), ErrorKind::Conflict);
    elsewhere.commit().unwrap();
    assert_eq!(in_town(&world.begin(), "ulm"), ["b"]);
    world.host.programs().indexes().detach();
}
