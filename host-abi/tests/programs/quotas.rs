//! What a tenant may use, and that others do not notice when it is used up.

use crate::world::{LEDGER_GRANT, World, check_fault};
use sochdb_host_abi::{TenantOptions, TenantUsage, in_background};
use sochdb_kernel::{ErrorKind, KernelResult, PluginFault, TransactionOptions};
use std::time::{Duration, Instant};

fn options() -> TenantOptions {
    let plugins = ["ledger", "other"].into_iter().map(str::to_owned).collect();
    TenantOptions { plugins, ..TenantOptions::default() }
}

fn call(world: &World, tenant: &str, procedure: &str, args: &str) -> KernelResult<String> {
    let tenant = world.host.tenants().tenant(tenant)?;
    let mut tx = world.begin_with(TransactionOptions::default(), Some(&tenant));
    tx.call(procedure, args)
}

fn empty(world: &World, tenant: &str) -> KernelResult<String> {
    call(world, tenant, "ledger.empty", "{}")
}

fn usage(world: &World, tenant: &str) -> TenantUsage {
    world.host.tenants().usage(tenant).unwrap()
}

/// With `acme`, which has these options, and `bolt`, which has no bound.
fn world(acme: TenantOptions) -> World {
    let world = World::new();
    world.load_ledger("other", LEDGER_GRANT);
    world.host.tenants().set("acme", acme).unwrap();
    world.host.tenants().set("bolt", options()).unwrap();
    world
}

#[test]
fn fuel_that_is_used_up_comes_again_with_time() {
    let per_second = 3_000_000;
    let world = world(TenantOptions { fuel_per_second: Some(per_second), ..options() });
    let began = Instant::now();
    let error = loop {
        if let Err(error) = empty(&world, "acme") {
            break error;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", usage(&world, "acme"));
    };
    check_fault::<()>(Err(error), "ledger", PluginFault::Exhausted, "fuel_per_second of 3000000");
    assert_eq!(usage(&world, "acme").refused, 1);
    let seconds = began.elapsed().as_secs_f64() + 1.0;
    let fuel = usage(&world, "acme").fuel as f64;
    assert!(fuel < 2.0 * seconds * per_second as f64, "{fuel} in {seconds}");
    empty(&world, "bolt").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    empty(&world, "acme").unwrap();
    assert!(world.host.list().iter().all(|plugin| plugin.unwell.is_empty()), "no plugin failed");
}

#[test]
fn a_call_has_at_most_a_second_of_its_tenants_fuel() {
    let world = world(TenantOptions { fuel_per_second: Some(1000), ..options() });
    for _ in 0..2 {
        let words = "used up its tenant's fuel_per_second of 1000";
        check_fault(empty(&world, "acme"), "ledger", PluginFault::Exhausted, words);
        std::thread::sleep(Duration::from_millis(1500));
    }
    assert!(world.host.list().iter().all(|plugin| plugin.unwell.is_empty()));
}

#[test]
fn work_in_the_background_is_counted_and_not_refused() {
    let world = world(TenantOptions { fuel_per_second: Some(0), calls_max: Some(0), ..options() });
    check_fault(empty(&world, "acme"), "ledger", PluginFault::Exhausted, "it has none at all");
    in_background(|| empty(&world, "acme")).unwrap();
    let usage = usage(&world, "acme");
    assert_eq!((usage.calls, usage.refused, usage.calls_now), (1, 1, 0));
    assert!(0 < usage.fuel && usage.fuel == usage.fuel_background, "{usage:?}");
}

#[test]
fn calls_beyond_the_bound_wait_for_those_before() {
    let world = world(TenantOptions { calls_max: Some(1), ..options() });
    let started = || {
        let plugins = world.host.list();
        plugins.iter().find(|plugin| plugin.name == "ledger").unwrap().usage.instances_started
    };
    let before = started();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    empty(&world, "acme").unwrap();
                    assert!(usage(&world, "acme").calls_now <= 1);
                }
            });
        }
    });
    let used = usage(&world, "acme");
    assert_eq!((used.calls, used.refused, used.calls_now), (80, 0, 0));
    assert_eq!(started() - before, 1, "a call ends when its instance is back");
    let none = TenantOptions { calls_max: Some(0), ..options() };
    world.host.tenants().set("acme", none).unwrap();
    check_fault(empty(&world, "acme"), "ledger", PluginFault::Exhausted, "calls_max (0)");
    empty(&world, "bolt").unwrap();
}

#[test]
fn memory_is_bounded_over_all_instances_and_comes_back() {
    let world = world(TenantOptions { memory_bytes_max: Some(100_000), ..options() });
    for _ in 0..10 {
        let words = "memory_bytes_max of 100000 of its tenant 'acme'";
        check_fault(empty(&world, "acme"), "ledger", PluginFault::Exhausted, words);
    }
    assert_eq!(usage(&world, "acme").memory_bytes, 0, "it never got any");
    empty(&world, "bolt").unwrap();
    let one = usage(&world, "bolt").memory_bytes;
    assert!(100_000 < one);
    // Room for one instance and a half: the idle one of one plugin makes room for the other's.
    let bound = one + one / 2;
    let more = TenantOptions { memory_bytes_max: Some(bound), ..options() };
    let acme = world.host.tenants().set("acme", more).unwrap();
    for procedure in ["ledger.empty", "other.empty", "ledger.empty", "other.empty"] {
        call(&world, "acme", procedure, "{}").unwrap();
        assert!(acme.usage().memory_bytes <= bound);
    }
    assert!(acme.usage().memory_bytes_peak <= bound);
    assert!(world.host.tenants().remove("acme"));
    assert_eq!(acme.usage().memory_bytes, 0, "its idle instances have ended");
    let mut tx = world.begin_with(TransactionOptions::default(), Some(&acme));
    let error = tx.call("ledger.empty", "{}").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

#[test]
fn what_a_called_plugin_uses_is_counted_once_and_paid_by_its_caller() {
    let world = world(options());
    let fuel = |name: &str| {
        let plugins = world.host.list();
        plugins.iter().find(|plugin| plugin.name == name).unwrap().usage.fuel
    };
    let before = fuel("ledger") + fuel("other");
    let args = r#"{"plugin": "other", "procedure": "sum", "args": {}}"#;
    call(&world, "acme", "ledger.call", args).unwrap();
    let acme = usage(&world, "acme");
    assert_eq!(acme.fuel, fuel("ledger") + fuel("other") - before);
    assert_eq!(acme.calls, 1, "the other one is part of it");
    // The caller has no more than it was given, whoever uses it.
    let limited = format!("{LEDGER_GRANT}[resources]\nfuel_limit = 3_000_000\n");
    world.load_ledger("ledger", &limited);
    world.kernel.run(|tx| tx.put("acme/accounts", b"k", &[b'1'; 100])).unwrap();
    let args = r#"{"plugin": "other", "procedure": "get", "args":
        {"table": "accounts", "key": "k", "times": 1000000}}"#;
    let error = call(&world, "acme", "ledger.call", args).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
    let used = usage(&world, "acme").fuel - acme.fuel;
    assert!((1_000_000..4_000_000).contains(&used), "{used}");
    let other = world.host.list().into_iter().find(|plugin| plugin.name == "other").unwrap();
    assert!(other.unwell.is_empty(), "{:?}", other.unwell);
}
