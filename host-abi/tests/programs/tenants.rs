//! A tenant's transactions: its tables, its plugins, its quotas.

use crate::world::{LEDGER_GRANT, World, check_fault};
use sochdb_host_abi::{TenantOptions, Transaction};
use sochdb_kernel::{
    ErrorKind, KernelError, KernelResult, PluginFault, TableOptions, TransactionOptions,
};
use std::collections::BTreeSet;

fn options(plugins: &[&str]) -> TenantOptions {
    let plugins: BTreeSet<_> = plugins.iter().map(ToString::to_string).collect();
    TenantOptions { plugins, ..TenantOptions::default() }
}

fn run<T>(
    world: &World,
    tenant: &str,
    f: impl FnMut(&mut Transaction) -> KernelResult<T>,
) -> KernelResult<T> {
    let tenant = world.host.tenants().tenant(tenant)?;
    let options = TransactionOptions::default();
    Transaction::run(&world.kernel, world.host.programs(), Some(&tenant), options, f)
}

#[test]
fn a_tenant_and_its_plugins_see_its_own_tables_only() {
    let world = World::new();
    world.host.tenants().set("acme", options(&["ledger"])).unwrap();
    run(&world, "acme", |tx| tx.put("accounts", b"ada", b"5")).unwrap();
    assert_eq!(world.get("acme/accounts", "ada").unwrap(), "5");
    assert_eq!(world.get("accounts", "ada"), None);
    assert_eq!(run(&world, "acme", |tx| tx.call("sum", "{}")).unwrap(), r#"{"sum":5,"rows":1}"#);
    assert_eq!(world.call("sum", "{}").unwrap(), r#"{"sum":0,"rows":0}"#);
    let names = run(&world, "acme", |tx| tx.tables()).unwrap();
    assert_eq!(names.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["accounts"]);
    let error = run(&world, "acme", |tx| tx.get("secret", b"k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_plugin_serves_only_the_tenants_that_have_it() {
    let world = World::new();
    world.host.tenants().set("acme", options(&["ledger"])).unwrap();
    world.host.tenants().set("bolt", options(&[])).unwrap();
    let error = run(&world, "bolt", |tx| tx.call("sum", "{}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    check_fault(
        run(&world, "bolt", |tx| tx.call("ledger.sum", "{}")),
        "ledger",
        PluginFault::Missing,
        "no plugin of this name",
    );
    // The guard's hooks do not serve acme.
    run(&world, "acme", |tx| {
        tx.create_table("guarded", TableOptions::default())?;
        tx.put("guarded", b"abort/a", b"x")
    })
    .unwrap();
    world.host.tenants().set("acme", options(&["guard"])).unwrap();
    let aborted = run(&world, "acme", |tx| tx.put("guarded", b"abort/b", b"x"));
    check_fault(aborted, "guard", PluginFault::Refused, "guarded is not wanted");
}

#[test]
fn rows_beyond_the_quota_are_refused_at_commit() {
    let world = World::new();
    let storage = TenantOptions { storage_bytes_max: Some(100), ..options(&["ledger"]) };
    let acme = world.host.tenants().set("acme", storage).unwrap();
    let put = |key: &'static [u8], bytes: usize| {
        run(&world, "acme", move |tx| tx.put("accounts", key, &vec![b'x'; bytes]))
    };
    put(b"a", 59).unwrap();
    assert_eq!(acme.usage().storage_bytes, 60);
    assert!(matches!(put(b"b", 40), Err(KernelError::Limit { got: 101, bound: 100, .. })));
    put(b"b", 39).unwrap();
    assert_eq!(acme.usage().storage_bytes, 100);
    // A smaller value and a delete make room; what was rolled back was never counted.
    put(b"a", 9).unwrap();
    run(&world, "acme", |tx| tx.delete("accounts", b"b")).unwrap();
    assert_eq!(acme.usage().storage_bytes, 10);
    let mut tx = world.begin_with(TransactionOptions::default(), Some(&acme));
    let savepoint = tx.savepoint().unwrap();
    tx.put("accounts", b"c", &[0; 200]).unwrap();
    tx.rollback_to(savepoint).unwrap();
    tx.put("accounts", b"c", &[0; 20]).unwrap();
    tx.commit().unwrap();
    assert_eq!(acme.usage().storage_bytes, 31);
    assert_eq!(world.begin_with(TransactionOptions::default(), Some(&acme)).bytes().unwrap(), 31);
    let procedure =
        run(&world, "acme", |tx| tx.call("write-many", r#"{"table": "accounts", "rows": 100}"#));
    assert!(matches!(procedure, Err(KernelError::Limit { .. })), "{procedure:?}");
    run(&world, "acme", |tx| tx.drop_table("accounts")).unwrap();
    assert_eq!(acme.usage().storage_bytes, 0);
}

#[test]
fn a_conflict_takes_no_storage() {
    let world = World::new();
    let storage = TenantOptions { storage_bytes_max: Some(1000), ..options(&[]) };
    let acme = world.host.tenants().set("acme", storage).unwrap();
    let mut first = world.begin_with(TransactionOptions::default(), Some(&acme));
    let mut second = world.begin_with(TransactionOptions::default(), Some(&acme));
    first.put("accounts", b"k", b"123").unwrap();
    second.put("accounts", b"k", b"12345").unwrap();
    first.commit().unwrap();
    assert_eq!(second.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(acme.usage().storage_bytes, 4);
}

#[test]
fn every_tenant_has_instances_of_its_own() {
    let world = World::new();
    for tenant in ["acme", "bolt"] {
        world.host.tenants().set(tenant, options(&["ledger"])).unwrap();
    }
    let started = || {
        let all = world.host.list();
        all.iter().find(|plugin| plugin.name == "ledger").unwrap().usage.instances_started
    };
    world.call("empty", "{}").unwrap();
    let before = started();
    for tenant in ["acme", "bolt", "acme", "bolt"] {
        run(&world, tenant, |tx| tx.call("empty", "{}")).unwrap();
    }
    assert_eq!(started() - before, 2, "one for each tenant, used again by nobody else");
    assert!(LEDGER_GRANT.contains("accounts"));
}

#[test]
fn what_a_hook_writes_of_its_own_is_counted_once() {
    let world = World::new();
    let storage = TenantOptions { storage_bytes_max: Some(1000), ..options(&["guard"]) };
    let acme = world.host.tenants().set("acme", storage).unwrap();
    run(&world, "acme", |tx| tx.create_table("guarded", TableOptions::default())).unwrap();
    for value in [&b"1"[..], b"23", b"4"] {
        run(&world, "acme", |tx| tx.put("guarded", b"twice/a", value)).unwrap();
        let rows = world.begin_with(TransactionOptions::default(), Some(&acme)).bytes().unwrap();
        assert_eq!(acme.usage().storage_bytes, rows);
    }
}

#[test]
fn rows_of_a_tenant_without_a_bound_are_not_counted_by_halves() {
    let world = World::new();
    let acme = world.host.tenants().set("acme", options(&["guard"])).unwrap();
    run(&world, "acme", |tx| {
        tx.create_table("guarded", TableOptions::default())?;
        tx.put("guarded", b"plain", b"counted by nobody")
    })
    .unwrap();
    assert_eq!(acme.usage().storage_bytes, 0);
}
