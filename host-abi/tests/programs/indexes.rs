//! Rows with indexes: marked whoever writes them, and looked up inside of the transaction.

use crate::world::{GUARD_GRANT, World};
use sochdb_host_abi::{TenantOptions, Transaction};
use sochdb_index::{IndexDefinition, Lookup, backfill_step, create, finish};
use sochdb_kernel::{
    Column, ColumnType, ErrorKind, KernelResult, Schema, TableOptions, TransactionOptions, Value,
};
use sochdb_test_guests::{FINDER, GUARD};
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

/// A world with a table `spots` of towns and vectors, both of them indexed, and the plugin `finder`.
fn spots(grant: &str) -> (World, Schema) {
    let world = world();
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![
        column("name", ColumnType::String),
        column("town", ColumnType::String),
        column("place", ColumnType::Vector(2)),
    ];
    let schema = Schema::new(columns, &["name"]).unwrap();
    let options = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
    world.kernel.create_table("spots", options).unwrap();
    let programs = world.host.programs();
    for (name, column, using) in [("by-place", "place", "hnsw"), ("by-town", "town", "btree-index")]
    {
        let settings = [("using".to_owned(), using.to_owned())].into();
        let index = IndexDefinition::new("spots", name, column, Some(&schema), &settings).unwrap();
        programs.change_indexes(|| world.kernel.run(|tx| create(tx, &index))).unwrap();
        programs.change_indexes(|| finish(&world.kernel, &index)).unwrap();
    }
    world.load("finder", "procedure", FINDER, grant).unwrap();
    (world, schema)
}

fn spot(tx: &mut Transaction, schema: &Schema, name: &str, town: &str, place: [f32; 2]) {
    let text = |text: &str| Value::String(text.into());
    let row = [text(name), text(town), Value::Vector(place.to_vec())];
    tx.put("spots", &schema.encode_key(&row).unwrap(), &schema.encode_row(&row).unwrap()).unwrap();
}

#[test]
fn a_procedure_finds_what_its_caller_would_find() {
    let grant = "[capabilities]\ncan_read_table = [\"spots\"]\n\
                 can_vector_search = true\ncan_index_search = true";
    let (world, schema) = spots(grant);
    let mut tx = world.begin();
    spot(&mut tx, &schema, "a", "ulm", [1.0, 0.0]);
    spot(&mut tx, &schema, "b", "bonn", [1.0, 0.1]);
    tx.commit().unwrap();
    let mut tx = world.begin();
    spot(&mut tx, &schema, "c", "bonn", [1.0, 0.01]);
    let key = |name: &str| {
        let key = schema.encode_key_values(&[Value::String(name.into())]).unwrap();
        key.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let names = |answer: String| {
        let all = ["a", "b", "c"].map(|name| (key(name), name));
        let mut found: Vec<(usize, &str)> = all
            .iter()
            .filter_map(|(key, name)| Some((answer.find(&format!("\"{key}\""))?, *name)))
            .collect();
        found.sort();
        found.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    let near = r#"{"table": "spots", "index": "by-place", "vector": [2, 0]}"#;
    assert_eq!(names(tx.call("finder.near", near).unwrap()), ["a", "c", "b"]);
    let in_bonn = r#"{"table": "spots", "index": "by-place", "vector": [2, 0], "town": "bonn"}"#;
    assert_eq!(names(tx.call("finder.near", in_bonn).unwrap()), ["c", "b"]);
    let bonn = r#"{"table": "spots", "index": "by-town", "value": "bonn", "reverse": true}"#;
    assert_eq!(names(tx.call("finder.lookup", bonn).unwrap()), ["c", "b"]);
    drop(tx);
    // What was not committed is nobody else's.
    assert_eq!(names(world.begin().call("finder.near", near).unwrap()), ["a", "b"]);
    let many = r#"{"table": "spots", "index": "by-place", "vector": [2, 0], "k": 1001}"#;
    assert!(world.begin().call("finder.near", many).unwrap_err().to_string().contains("1000"));
    let other = r#"{"table": "spots", "index": "by-town", "vector": [2, 0]}"#;
    assert!(world.begin().call("finder.near", other).unwrap_err().to_string().contains("ordered"));
    let none = r#"{"table": "spots", "index": "nope", "vector": [2, 0]}"#;
    assert!(world.begin().call("finder.near", none).unwrap_err().to_string().contains("nope"));
    world.host.programs().indexes().detach();
}

#[test]
fn searching_needs_the_right_for_its_kind_and_for_the_table() {
    for (grant, near, lookup) in [
        ("can_read_table = [\"spots\"]\ncan_vector_search = true", true, false),
        ("can_read_table = [\"spots\"]\ncan_index_search = true", false, true),
        ("can_read_table = [\"other\"]\ncan_vector_search = true", false, false),
        ("can_read_table = [\"spots\"]", false, false),
    ] {
        let (world, _) = spots(&format!("[capabilities]\n{grant}"));
        let is_denied = |procedure: &str, args: &str| match world.begin().call(procedure, args) {
            Ok(_) => false,
            Err(error) => {
                assert!(error.to_string().contains("not granted"), "{error}");
                true
            }
        };
        let args = r#"{"table": "spots", "index": "by-place", "vector": [2, 0]}"#;
        assert_eq!(!is_denied("finder.near", args), near, "{grant}");
        let args = r#"{"table": "spots", "index": "by-town", "value": "ulm"}"#;
        assert_eq!(!is_denied("finder.lookup", args), lookup, "{grant}");
        world.host.programs().indexes().detach();
    }
}
