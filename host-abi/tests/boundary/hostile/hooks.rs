//! Guests that are asked before rows change, and lie, loop, or write themselves.

use super::check_fault;
use crate::database::{Database, HOOKED};
use crate::guest::Hooks;
use sochdb_kernel::PluginFault;

/// Does `evil` when the first key begins with `!`; otherwise lets everything happen.
fn evil(evil: &str) -> String {
    format!(
        "(if (i32.eq (call $first (local.get $changes)) (i32.const 33)) (then {evil}))
         (call $continue (local.get $count))"
    )
}

fn database(guest: &Hooks<'_>, resources: &str) -> Database {
    let database = Database::new();
    database.load("guest", "hooks", &guest.build(), &format!("{resources}{HOOKED}")).unwrap();
    database
}

/// Gives both handles back and answers this.
fn answers(answer: &str) -> String {
    evil(&format!(
        "(call $drop-table (local.get $table)) (call $drop-tx (local.get $tx)) (return {answer})"
    ))
}

/// Answers 5,000 replacements that are all the same 60,000 bytes.
const FLOOD: &str = "(func $flood (result i32)
    (local $n i32) (drop (memory.grow (i32.const 4)))
    (loop
        (i32.store (i32.add (i32.const 65536) (local.get $n)) (i32.const 1))
        (i32.store (i32.add (i32.const 65544) (local.get $n)) (i32.const 60000))
        (local.set $n (i32.add (local.get $n) (i32.const 12)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 60000))))
    (call $same (i32.const 65536) (i32.const 5000)))";

/// Lets the hook do its evil before a write; the write does not happen, the transaction and its other
/// writes go on, and so does the hook.
#[track_caller]
fn put_fails(before: &str, resources: &str, wanted: PluginFault, words: &[&str]) {
    let database = database(&Hooks { items: FLOOD, before, ..Hooks::default() }, resources);
    database.put(b"good").unwrap();
    let error = database.run(|tx| {
        let error = tx.put("t", b"!", b"value").unwrap_err();
        assert!(tx.get("t", b"!")?.is_none());
        tx.put("t", b"mine", b"1")?;
        tx.put("u", b"!", b"1")?;
        Ok(error)
    });
    check_fault(&error.unwrap(), wanted, words);
    assert_eq!(database.keys("t"), [&b"good"[..], b"mine"]);
    assert_eq!(database.keys("u"), [b"!"], "a table that it does not watch");
    database.check();
}

#[test]
fn a_hook_that_loops_or_traps_lets_nothing_pass() {
    let fuel = "fuel_limit = 1_000_000\n";
    let words = ["before", "fuel_limit of 1000000"];
    put_fails(&evil("(loop (br 0))"), fuel, PluginFault::Exhausted, &words);
    let time = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 50\n";
    put_fails(&evil("(loop (br 0))"), time, PluginFault::Exhausted, &["timeout_ms of 50"]);
    put_fails(&evil("unreachable"), "", PluginFault::Trapped, &["before", "unreachable"]);
}

#[test]
fn decisions_that_lie_are_refused() {
    // Decisions lie at 1700: 12 bytes each, a tag and a list.
    let one = |tag: u32, at: i32, len: i32| {
        answers(&format!(
            "(block (result i32)
                (i32.store (i32.const 1700) (i32.const {tag}))
                (i32.store (i32.const 1704) (i32.const {at}))
                (i32.store (i32.const 1708) (i32.const {len}))
                (call $same (i32.const 1700) (i32.const 1)))"
        ))
    };
    for (before, fault, words) in [
        (answers("(call $continue (i32.const 0))"), PluginFault::Lied, "0 decisions about 1"),
        (answers("(call $continue (i32.const 2))"), PluginFault::Lied, "2 decisions about 1"),
        (answers("(call $same (i32.const 1700) (i32.const -1))"), PluginFault::Trapped, "before"),
        (one(4, 0, 0), PluginFault::Trapped, "discriminant"),
        (one(255, 0, 0), PluginFault::Trapped, "discriminant"),
        (one(1, 0, -1), PluginFault::Trapped, "out of bounds"),
        (one(1, -1, 1), PluginFault::Trapped, "out of bounds"),
        (one(3, -1, 1), PluginFault::Trapped, "out of bounds"),
        // Thousands of replacements that are all one large block.
        (answers("(call $flood)"), PluginFault::Exhausted, "more bytes"),
    ] {
        put_fails(&before, "", fault, &["before", words]);
    }
    let not_utf8 = answers(
        "(block (result i32)
            (i32.store (i32.const 1700) (i32.const 3)) (i32.store (i32.const 1704) (i32.const 1720))
            (i32.store (i32.const 1708) (i32.const 1)) (i32.store8 (i32.const 1720) (i32.const 255))
            (call $same (i32.const 1700) (i32.const 1)))",
    );
    put_fails(&not_utf8, "", PluginFault::Trapped, &["utf-8"]);
}

#[test]
fn a_delete_that_is_replaced_is_a_lie() {
    let replaces = answers(
        "(block (result i32) (i32.store (i32.const 1700) (i32.const 1))
            (call $same (i32.const 1700) (i32.const 1)))",
    );
    let delete_only = replaces.replacen(
        "(then",
        "(then (if (i32.ne (i32.load8_u (local.get $changes)) (i32.const 2)) (then
            (call $drop-table (local.get $table)) (call $drop-tx (local.get $tx))
            (return (call $continue (local.get $count)))))",
        1,
    );
    let database = database(&Hooks { before: &delete_only, ..Hooks::default() }, "");
    database.put(b"!").unwrap();
    let error = database.run(|tx| tx.delete("t", b"!")).unwrap_err();
    check_fault(&error, PluginFault::Lied, &["a delete cannot be replaced"]);
    assert_eq!(database.keys("t"), [b"!"]);
}

#[test]
fn a_reason_without_end_or_with_control_characters_is_cut_and_escaped() {
    let aborts = answers(
        "(block (result i32)
            (memory.fill (i32.const 8192) (i32.const 27) (i32.const 50000))
            (i32.store (i32.const 1700) (i32.const 3)) (i32.store (i32.const 1704) (i32.const 8192))
            (i32.store (i32.const 1708) (i32.const 50000))
            (call $same (i32.const 1700) (i32.const 1)))",
    );
    let database = database(&Hooks { before: &aborts, ..Hooks::default() }, "");
    let error = database.put(b"!").unwrap_err();
    check_fault(&error, PluginFault::Refused, &["\\u{1b}\\u{1b}", " ..."]);
    let shown = error.to_string();
    assert!(!shown.contains('\u{1b}') && shown.len() < 10_000, "{} bytes", shown.len());
}

#[test]
fn what_a_hook_does_after_a_commit_cannot_undo_it() {
    let is_evil = "(i32.eq (call $first (local.get $changes)) (i32.const 33))";
    for after in [
        "(loop (br 0)) unreachable",
        "unreachable",
        "(call $error (i32.const 1300) (i32.const 1))",
        // It writes, and traps unless it is told that it must not.
        "(call $put (local.get $table) (i32.const 1300) (i32.const 1) (i32.const 1300) (i32.const 1))
         (call $wants (i32.const 1)) (call $ok)",
    ] {
        let body = format!("(if {is_evil} (then (return (block (result i32) {after})))) (call $ok)");
        let body = body.replace("(return", "(call $drop-table (local.get $table)) (call $drop-tx (local.get $tx)) (return");
        // The one that writes needs its table for it.
        let body = if after.contains("$put") {
            format!("(if {is_evil} (then {})) (call $ok)", after.replace("(call $ok)", ""))
        } else {
            body
        };
        let guest = Hooks { after: &body, ..Hooks::default() };
        let database = database(&guest, "fuel_limit = 1_000_000\n");
        database.put(b"!").unwrap();
        assert_eq!(database.keys("t"), [b"!"], "{after}");
        database.put(b"good").unwrap();
        assert_eq!(database.keys("t").len(), 2);
        let failed = database.host.list()[0].usage;
        let ends = failed.failures + failed.refusals;
        assert_eq!(ends, u64::from(!after.contains("$put")), "{after}");
        database.check();
    }
}

#[test]
fn a_hook_that_keeps_its_table_past_the_call_is_refused() {
    let items = "(global $kept (mut i32) (i32.const 0))";
    let keeps = evil(
        "(drop (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)))
         (global.set $kept (call $open-t (local.get $tx)))",
    );
    // An open table of the call before, by any later write.
    let before = format!(
        "(if (global.get $kept) (then (call $put (global.get $kept) (i32.const 1300) (i32.const 1)
            (i32.const 1300) (i32.const 1)))) {keeps}"
    );
    let database = database(&Hooks { items, before: &before, ..Hooks::default() }, "");
    database.put(b"!").unwrap();
    let error = database.put(b"good").unwrap_err();
    check_fault(&error, PluginFault::Trapped, &["handle after its end"]);
    database.put(b"good").unwrap();
    assert_eq!(database.keys("t"), [&b"!"[..], b"good"]);
}

#[test]
fn hooks_that_write_each_others_tables_come_to_an_end() {
    // The one watches `t` and writes `u`, the other watches `u` and writes `t`.
    let writes = |name: u32| {
        format!(
            "(call $open (local.get $tx) (i32.const {name}) (i32.const 1) (i32.const 1400))
             (if (i32.load8_u (i32.const 1400)) (then unreachable))
             (call $put (i32.load (i32.const 1404)) (i32.const 1300) (i32.const 2)
                (i32.const 1300) (i32.const 1))
             (if (i32.load8_u (i32.const 1400)) (then unreachable))
             (call $continue (local.get $count))"
        )
    };
    let database = Database::new();
    let (to_u, to_t) = (writes(1301), writes(1300));
    let one = Hooks { before: &to_u, ..Hooks::default() };
    database.load("guest", "hooks", &one.build(), HOOKED).unwrap();
    let other = Hooks { before: &to_t, ..Hooks::default() };
    let hooked = HOOKED.replace("tables = [\"t\"]", "tables = [\"u\"]");
    database.load("other", "hooks", &other.build(), &hooked).unwrap();
    database.put(b"key").unwrap();
    assert_eq!(database.keys("t"), [&b"key"[..], b"tu"]);
    assert_eq!(database.keys("u"), [b"tu"]);
    database.check();
}
