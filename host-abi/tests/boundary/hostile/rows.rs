//! Guests with a transaction in their hands: what they keep, forge, write and answer.

use super::check_fault;
use crate::database::{Database, GRANT};
use crate::guest::Procedures;
use sochdb_kernel::{ErrorKind, KernelError, PluginFault};
use std::time::{Duration, Instant};

/// Does `evil` when its arguments begin with a `1`; otherwise it answers `{}`.
fn evil(evil: &str) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (local.get $args)) (i32.const 49)) (then {evil}))
         (call $same (i32.const 1202) (i32.const 2))"
    )
}

/// A database with this guest.
fn database(guest: &Procedures<'_>, resources: &str) -> Database {
    let database = Database::new();
    database.load("guest", "procedure", &guest.build(), &format!("{resources}{GRANT}")).unwrap();
    database
}

/// Lets the procedure do its evil in a transaction that has written before; what it wrote is undone, what
/// its caller wrote stays, and the next call is served.
#[track_caller]
fn go_fails(guest: &Procedures<'_>, resources: &str, wanted: PluginFault, words: &[&str]) {
    let database = database(guest, resources);
    assert_eq!(database.go("{}").unwrap(), "{}");
    let error = database.run(|tx| {
        tx.put("t", b"mine", b"1")?;
        Ok(tx.call("guest.go", "1").unwrap_err())
    });
    check_fault(&error.unwrap(), wanted, words);
    assert_eq!(database.keys("t"), [b"mine"], "of the guest nothing is left");
    assert_eq!(database.go("{}").unwrap(), "{}");
    database.check();
}

const OPEN: &str = "(local.set $table (call $open-t (local.get $tx)))";
const PUT: &str =
    "(call $put (local.get $table) (i32.const 1200) (i32.const 2) (i32.const 1200) (i32.const 2))";

#[test]
fn a_procedure_that_never_returns_leaves_nothing_behind() {
    let writes = evil(&format!("{OPEN} {PUT} (loop (br 0))"));
    let guest = Procedures { call: &writes, ..Procedures::default() };
    let fuel = "fuel_limit = 1_000_000\n";
    go_fails(&guest, fuel, PluginFault::Exhausted, &["call", "fuel_limit of 1000000"]);
    let time = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 50\n";
    go_fails(&guest, time, PluginFault::Exhausted, &["timeout_ms of 50"]);
    let traps = evil(&format!("{OPEN} {PUT} unreachable"));
    let guest = Procedures { call: &traps, ..Procedures::default() };
    go_fails(&guest, "", PluginFault::Trapped, &["call", "unreachable"]);
    let refuses = evil(&format!(
        "{OPEN} {PUT} (call $drop-tx (local.get $tx))
        (return (call $error (i32.const 1200) (i32.const 2)))"
    ));
    let guest = Procedures { call: &refuses, ..Procedures::default() };
    go_fails(&guest, "", PluginFault::Refused, &["go (invalid)"]);
}

#[test]
fn others_commit_while_a_procedure_holds_its_transaction() {
    let writes = evil(&format!("{OPEN} {PUT} (loop (br 0))"));
    let guest = Procedures { call: &writes, ..Procedures::default() };
    let time = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 1000\n";
    let database = database(&guest, time);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let held = scope.spawn(|| database.go("1").unwrap_err());
        for number in 0..50_u8 {
            // The very key that it holds, too.
            let key: &[u8] = if number == 25 { b"go" } else { &[number] };
            database.put(key).unwrap();
        }
        let took = began.elapsed();
        assert!(!held.is_finished() && took < Duration::from_millis(900), "{took:?}");
        check_fault(&held.join().unwrap(), PluginFault::Exhausted, &["timeout_ms of 1000"]);
    });
    assert_eq!(database.keys("t").len(), 50);
    database.check();
}

#[test]
fn a_transaction_that_is_kept_past_its_call_is_no_transaction() {
    // It gives it back and goes on with it; it does not give it back.
    let uses = evil("(call $drop-tx (local.get $tx)) (drop (call $open-t (local.get $tx)))");
    let guest = Procedures { call: &uses, ..Procedures::default() };
    go_fails(&guest, "", PluginFault::Trapped, &["call", "handle"]);
    let keeps = evil("(return (call $same (i32.const 1202) (i32.const 2)))");
    let guest = Procedures { call: &keeps, ..Procedures::default() };
    go_fails(&guest, "", PluginFault::Trapped, &["borrow handles still remain"]);
}

#[test]
fn tables_and_scans_that_are_kept_past_their_call_are_closed() {
    // The good call opens a table and a scan and keeps both; the evil one uses what was kept.
    let items = "(global $kept-table (mut i32) (i32.const 0))
        (global $kept-scan (mut i32) (i32.const 0))";
    let keeps = "(global.set $kept-table (call $open-t (local.get $tx)))
        (global.set $kept-scan (call $scan-all (global.get $kept-table)))
        (call $same (i32.const 1202) (i32.const 2))";
    for uses in [
        "(call $read (global.get $kept-table) (i32.const 1200) (i32.const 2) (i32.const 1400))",
        "(call $put (global.get $kept-table) (i32.const 1200) (i32.const 2) (i32.const 1200) (i32.const 2))",
        "(drop (call $scan-all (global.get $kept-table)))",
        "(call $next-rows (global.get $kept-scan) (i32.const 9) (i32.const 999) (i32.const 1400))",
    ] {
        let call = format!(
            "(if (i32.eq (i32.load8_u (local.get $args)) (i32.const 49)) (then {uses})) {keeps}"
        );
        let guest = Procedures { items, call: &call, ..Procedures::default() };
        go_fails(&guest, "", PluginFault::Trapped, &["call", "handle after its end"]);
    }
}

#[test]
fn forged_transactions_tables_and_scans_are_refused() {
    let read = |table: &str| {
        format!("(call $read {table} (i32.const 1200) (i32.const 2) (i32.const 1400))")
    };
    let next = |scan: &str| {
        format!("(call $next-rows {scan} (i32.const 9) (i32.const 999) (i32.const 1400))")
    };
    for forges in [
        "(drop (call $open-t (i32.const 77)))".to_owned(),
        "(drop (call $open-t (i32.const 0)))".to_owned(),
        format!("{OPEN} (drop (call $open-t (local.get $table)))"),
        read("(i32.const 77)"),
        read("(local.get $tx)"),
        next("(local.get $tx)"),
        format!("{OPEN} {}", next("(local.get $table)")),
        format!("{OPEN} {}", read("(call $scan-all (local.get $table))")),
        format!("{OPEN} (call $drop-table (local.get $table)) {}", read("(local.get $table)")),
        "(call $drop-table (local.get $tx))".to_owned(),
        "(call $call-plugin (i32.const 77) (i32.const 1200) (i32.const 2) (i32.const 1200)
            (i32.const 2) (i32.const 1202) (i32.const 2) (i32.const 1400))"
            .to_owned(),
    ] {
        let call = evil(&forges);
        let guest = Procedures { call: &call, ..Procedures::default() };
        go_fails(&guest, "", PluginFault::Trapped, &["call", "handle"]);
    }
}

#[test]
fn rows_with_lying_lengths_are_answered_and_not_written() {
    // Keys, their ends, values, their ends, states: "go{}" cut in ways that are none.
    let items = r#"
        (data (i32.const 1500) "\02\00\00\00" "\04\00\00\00")
        (data (i32.const 1508) "\04\00\00\00" "\02\00\00\00")
        (data (i32.const 1516) "\ff\ff\ff\ff" "\ff\ff\ff\ff")
        (data (i32.const 1524) "\02\02\01\00\07")"#;
    let many = |lists: [(u32, u32); 5]| {
        let lists = lists.map(|(at, len)| format!("(i32.const {at}) (i32.const {len})"));
        format!(
            "{OPEN} (call $write-many (local.get $table) {} (i32.const 1400)) (call $wants (i32.const 3))",
            lists.join(" ")
        )
    };
    let (good, falling, huge) = (1500, 1508, 1516);
    for lists in [
        // Ends that fall, lie outside, or are too few; states that are none, or too many.
        [(1200, 4), (falling, 2), (1200, 4), (good, 2), (1524, 2)],
        [(1200, 4), (huge, 2), (1200, 4), (good, 2), (1524, 2)],
        [(1200, 4), (good, 2), (1200, 4), (huge, 2), (1524, 2)],
        [(1200, 4), (good, 1), (1200, 4), (good, 2), (1524, 2)],
        [(1200, 4), (good, 2), (1200, 3), (good, 2), (1524, 2)],
        [(1200, 4), (good, 2), (1200, 4), (good, 2), (1524, 5)],
        [(1200, 4), (good, 2), (1200, 4), (good, 2), (1527, 2)],
        // Keys that do not grow.
        [(1202, 2), (1500, 1), (1200, 0), (1516, 0), (1524, 0)],
    ] {
        let call = evil(&many(lists));
        let guest = Procedures { items, call: &call, ..Procedures::default() };
        let database = database(&guest, "");
        assert_eq!(database.go("1").unwrap(), "{}", "{lists:?}");
        assert!(database.keys("t").is_empty(), "{lists:?}");
    }
}

#[test]
fn a_flood_of_writes_is_paid_for_and_undone() {
    // 64 KiB under a new key, again and again.
    let floods = format!(
        "{OPEN} (loop
            (i32.store (i32.const 1600) (i32.add (i32.load (i32.const 1600)) (i32.const 1)))
            (call $put (local.get $table) (i32.const 1600) (i32.const 4) (i32.const 0) (i32.const 65536))
            (br 0))"
    );
    let call = evil(&floods);
    let guest = Procedures { call: &call, ..Procedures::default() };
    let fuel = "fuel_limit = 20_000_000\n";
    go_fails(&guest, fuel, PluginFault::Exhausted, &["call", "fuel_limit of 20000000"]);
}

#[test]
fn a_flood_of_open_scans_is_bounded_and_pins_nothing() {
    for (leaks, words) in [
        ("(drop (call $scan-all (local.get $table)))", "handle"),
        ("(drop (call $open-t (local.get $tx)))", "handle"),
    ] {
        let floods = evil(&format!("{OPEN} (loop {leaks} (br 0))"));
        let guest = Procedures { call: &floods, ..Procedures::default() };
        go_fails(&guest, "", PluginFault::Trapped, &["call", words]);
    }
}

#[test]
fn an_answer_that_is_no_json_or_far_too_long_is_refused() {
    for (answer, fault, words) in [
        ("(call $same (i32.const 1200) (i32.const 4))", PluginFault::Lied, "no JSON"),
        ("(call $same (i32.const 0) (i32.const 0))", PluginFault::Lied, "no JSON"),
        // Brackets without end.
        (
            "(memory.fill (i32.const 8192) (i32.const 91) (i32.const 50000))
             (call $same (i32.const 8192) (i32.const 50000))",
            PluginFault::Lied,
            "no JSON",
        ),
        (
            "(drop (memory.grow (i32.const 100)))
             (memory.fill (i32.const 8192) (i32.const 32) (i32.const 5000000))
             (call $same (i32.const 8192) (i32.const 5000000))",
            PluginFault::Exhausted,
            "more bytes",
        ),
    ] {
        let call = evil(&format!("(call $drop-tx (local.get $tx)) (return {answer})"));
        let guest = Procedures { call: &call, ..Procedures::default() };
        go_fails(&guest, "", fault, &["call", words]);
    }
}

#[test]
fn a_plugin_that_describes_what_is_none_is_not_loaded() {
    let one = |name: &str| {
        // The name lies at 1700.
        let len = name.len();
        let bytes: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let items = format!(r#"(data (i32.const 1700) "{bytes}")"#);
        let describe = format!(
            "(i32.store (i32.const 1024) (i32.const 1700))
             (i32.store (i32.const 1028) (i32.const {len}))
             (call $same (i32.const 1024) (i32.const 1))"
        );
        (items, describe)
    };
    let mut described = vec![
        (String::new(), "(call $same (i32.const 0) (i32.const 0))".to_owned()),
        // Two of one name.
        (
            String::new(),
            "(memory.copy (i32.const 1060) (i32.const 1024) (i32.const 36))
             (call $same (i32.const 1024) (i32.const 2))"
                .to_owned(),
        ),
        // A schema that is no JSON.
        (
            String::new(),
            "(i32.store (i32.const 1040) (i32.const 1200)) (call $same (i32.const 1024) (i32.const 1))"
                .to_owned(),
        ),
    ];
    for name in ["", "Go", "1go", "g o", "g\u{1b}[2J", "go.go", "sochdb/x", &"g".repeat(65)] {
        described.push(one(name));
    }
    for (items, describe) in described {
        let guest = Procedures { items: &items, describe: &describe, ..Procedures::default() };
        let database = Database::new();
        let error = database.load("guest", "procedure", &guest.build(), GRANT).unwrap_err();
        check_fault(&error, PluginFault::Lied, &["describe"]);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        assert!(database.host.list().is_empty());
    }
    for (describe, fault, words) in [
        ("(loop (br 0)) unreachable", PluginFault::Exhausted, "fuel_limit"),
        ("unreachable", PluginFault::Trapped, "unreachable"),
        ("(call $error (i32.const 1200) (i32.const 2))", PluginFault::Refused, "go (invalid)"),
        // Thousands of procedures, each with the same strings of 60,000 bytes.
        (
            "(local $n i32) (drop (memory.grow (i32.const 8)))
             (loop
                (i32.store (i32.add (i32.const 65536) (local.get $n)) (i32.const 430000))
                (i32.store (i32.add (i32.const 65540) (local.get $n)) (i32.const 60000))
                (local.set $n (i32.add (local.get $n) (i32.const 36)))
                (br_if 0 (i32.lt_u (local.get $n) (i32.const 360000))))
             (call $same (i32.const 65536) (i32.const 10000))",
            PluginFault::Exhausted,
            "more bytes",
        ),
    ] {
        let guest = Procedures { describe, ..Procedures::default() };
        let database = Database::new();
        let resources = format!("fuel_limit = 1_000_000\n{GRANT}");
        let error = database.load("guest", "procedure", &guest.build(), &resources).unwrap_err();
        check_fault(&error, fault, &["describe", words]);
    }
}

#[test]
fn arguments_that_are_too_long_or_too_deep_do_not_reach_the_guest() {
    let database = database(&Procedures::default(), "");
    let error = database.go(&format!("\"{}\"", "x".repeat(5 << 20))).unwrap_err();
    assert!(matches!(error, KernelError::Limit { .. }), "{error}");
    assert_eq!(database.go(&"[".repeat(1 << 20)).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn what_one_tenant_leaves_in_an_instance_no_other_tenant_sees() {
    // A call with a number keeps it; any other call answers what was kept.
    let call = "(if (i32.ne (i32.load8_u (local.get $args)) (i32.const 123)) (then
            (memory.copy (i32.const 1202) (local.get $args) (i32.const 2))))
        (call $same (i32.const 1202) (i32.const 2))";
    let guest = Procedures { call, ..Procedures::default() };
    let database = database(&guest, "max_instances = 1\n");
    let (acme, bolt) = (database.tenant("acme"), database.tenant("bolt"));
    let ask =
        |tenant, args: &str| database.run_for(tenant, |tx| tx.call("guest.go", args)).unwrap();
    assert_eq!(ask(Some(&acme), "42"), "42");
    assert_eq!(ask(Some(&acme), "{}"), "42", "its instance is dirty");
    assert_eq!(ask(Some(&bolt), "{}"), "{}", "another tenant gets another one");
    assert_eq!(ask(None, "{}"), "{}");
    assert_eq!(ask(Some(&bolt), "17"), "17");
    assert_eq!(ask(Some(&acme), "{}"), "42");
    assert_eq!(ask(None, "{}"), "{}");
}

#[test]
fn a_plugin_that_fails_for_one_tenant_serves_the_others() {
    // All its instances of one tenant are busy, then it is kept from working for it.
    let guest_call = evil("(loop (br 0))");
    let guest = Procedures { call: &guest_call, ..Procedures::default() };
    let resources = "max_instances = 1\nfuel_limit = 1_000_000_000_000\ntimeout_ms = 100\n";
    let database = database(&guest, resources);
    let (acme, bolt) = (database.tenant("acme"), database.tenant("bolt"));
    let go = |tenant, args: &str| database.run_for(Some(tenant), |tx| tx.call("guest.go", args));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| go(&acme, "1").unwrap_err());
        let mut slowest = Duration::ZERO;
        while !busy.is_finished() {
            let began = Instant::now();
            assert_eq!(go(&bolt, "{}").unwrap(), "{}");
            slowest = slowest.max(began.elapsed());
        }
        assert!(slowest < Duration::from_millis(100), "bolt waited {slowest:?} for acme");
        check_fault(&busy.join().unwrap(), PluginFault::Exhausted, &["timeout_ms"]);
    });
    let mut kept_from = false;
    for _ in 0..10 {
        let error = go(&acme, "1").unwrap_err();
        kept_from |= matches!(&error, KernelError::Plugin { fault: PluginFault::Quarantined, .. });
        assert_eq!(go(&bolt, "{}").unwrap(), "{}");
    }
    assert!(kept_from, "after some failures in a row it rests, for acme");
}
