//! Plugins that keep failing: kept from working for a while, and only where they fail.

use crate::guest::{Bench, Codec, Storage};
use sochdb_host_abi::Health;
use sochdb_host_abi::limits::quarantine::{BACK_OFF_FAILURES, BACK_OFF_MAX};
use sochdb_kernel::plugin::{CompressionExtension, TableContext};
use sochdb_kernel::{KernelError, PluginFault, TableId};
use sochdb_telemetry::MetricValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Traps when the input begins with `!`.
const EVIL: &str = "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then unreachable))
    (call $same (local.get $at) (local.get $len))";

fn evil() -> (Bench, Arc<dyn CompressionExtension>) {
    let bench = Bench::new();
    let codec = bench.load(&Codec { compress: EVIL, ..Codec::default() }.build(), "").unwrap();
    (bench, codec)
}

fn fault<T: std::fmt::Debug>(result: Result<T, KernelError>) -> (PluginFault, String) {
    match result.unwrap_err() {
        KernelError::Plugin { fault, message, .. } => (fault, message),
        error => panic!("{error}"),
    }
}

fn gauge(bench: &Bench) -> f64 {
    let metrics = bench.host.metrics();
    let found = metrics.iter().find(|metric| metric.name == "sochdb_plugin_quarantined");
    match found.unwrap().value {
        MetricValue::Gauge(value) => value,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn failures_in_a_row_keep_a_plugin_from_working_until_it_works_again() {
    let (bench, codec) = evil();
    for _ in 0..3 {
        for _ in 1..BACK_OFF_FAILURES {
            assert_eq!(fault(codec.compress(b"!")).0, PluginFault::Trapped);
        }
        codec.compress(b"good").unwrap();
    }
    assert_eq!(gauge(&bench), 0.0);
    // Eight failures wait 10, 20, 40 and at last 80 ms.
    let mut failures = 0;
    while failures < 8 {
        let (fault, message) = fault(codec.compress(b"!"));
        match fault {
            PluginFault::Trapped => failures += 1,
            PluginFault::Quarantined => {
                assert!(message.contains("unreachable"), "{message}");
                std::thread::sleep(Duration::from_millis(1));
            }
            other => panic!("{other}: {message}"),
        }
    }
    let started = bench.host.list()[0].usage.instances_started;
    let (is, message) = fault(codec.compress(b"good"));
    assert_eq!(is, PluginFault::Quarantined, "{message}");
    assert!(message.contains("8 calls failed") && message.contains("tried again in"), "{message}");
    let info = bench.host.list().remove(0);
    assert_eq!(info.usage.instances_started, started, "it was not even tried");
    let Health::BackingOff { reason, failures: 8, again_in_ms } = &info.unwell[0].health else {
        panic!("{:?}", info.unwell)
    };
    assert!(reason.contains("compress: ") && *again_in_ms <= 80, "{reason}, {again_in_ms} ms");
    assert_eq!(gauge(&bench), 1.0);
    let deadline = Instant::now() + BACK_OFF_MAX;
    while codec.compress(b"good").is_err() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(bench.host.list()[0].unwell.is_empty() && gauge(&bench) == 0.0);
}

#[test]
fn somebody_may_release_or_replace_it_at_once() {
    let (bench, codec) = evil();
    let fail = || {
        for _ in 0..BACK_OFF_FAILURES {
            assert_eq!(fault(codec.compress(b"!")).0, PluginFault::Trapped);
        }
    };
    fail();
    assert!(bench.host.release("guest").unwrap());
    codec.compress(b"good").unwrap();
    assert!(!bench.host.release("guest").unwrap() && bench.host.release("other").is_err());
    fail();
    let mended = bench.load(&Codec::default().build(), "").unwrap();
    mended.compress(b"!").unwrap();
    assert!(bench.host.list()[0].unwell.is_empty());
}

#[test]
fn an_answer_is_no_failure() {
    let refuses = "(call $error (i32.const 0) (i32.const 0))";
    let bench = Bench::new();
    let guest = Codec { compress: refuses, ..Codec::default() };
    let codec = bench.load(&guest.build(), "").unwrap();
    for _ in 0..3 * BACK_OFF_FAILURES {
        assert_eq!(fault(codec.compress(b"x")).0, PluginFault::Refused);
    }
    assert!(bench.host.list()[0].unwell.is_empty());
}

#[test]
fn what_fails_for_one_tenant_works_for_another() {
    let bench = Bench::new();
    // A table whose name ends with `!` makes it trap.
    let open = "(if (i32.eq
            (i32.load8_u (i32.sub (i32.add (local.get $name) (local.get 2)) (i32.const 1)))
            (i32.const 33)) (then unreachable))
        (call $handle (call $new-reader (i32.const 0)))";
    let guest = Storage { open, ..Storage::default() };
    let component = guest.build();
    let storage = bench.load_storage(&component, "").unwrap();
    let open = |name: &str| {
        let table = TableContext {
            id: TableId(7),
            name: name.to_owned(),
            schema: None,
            compressed: false,
            options: BTreeMap::new(),
        };
        storage.open(&table, &[]).map(drop)
    };
    for _ in 0..BACK_OFF_FAILURES {
        assert_eq!(fault(open("acme/evil!")).0, PluginFault::Trapped);
    }
    assert_eq!(fault(open("acme/fine")).0, PluginFault::Quarantined);
    open("bolt/fine").unwrap();
    open("fine").unwrap();
    assert_eq!(fault(open("bolt/evil!")).0, PluginFault::Trapped);
    let unwell = bench.host.list().remove(0).unwell;
    assert_eq!((unwell.len(), unwell[0].tenant.as_deref()), (1, Some("acme")));
    assert!(bench.host.tenants().remove("acme"));
    open("acme/fine").unwrap();
}
