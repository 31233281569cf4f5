//! Hooks: before they decide, in the writer's transaction; after they see what was committed.

use crate::world::{GUARD_GRANT, World, check_fault, person};
use sochdb_kernel::{ErrorKind, PluginFault};
use sochdb_test_guests::GUARD;

#[test]
fn a_hook_continues_replaces_and_skips() {
    let world = World::new();
    world
        .run(|tx| {
            tx.put("guarded", b"plain", b"as it is")?;
            tx.put("guarded", b"replace/a", b"loud")?;
            tx.put("guarded", b"skip/a", b"never")?;
            assert_eq!(
                tx.get("guarded", b"replace/a")?.unwrap(),
                b"LOUD",
                "its writer sees it too"
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(world.get("guarded", "plain").unwrap(), "as it is");
    assert_eq!(world.get("guarded", "replace/a").unwrap(), "LOUD");
    assert_eq!(world.get("guarded", "skip/a"), None);
    assert_eq!(world.metric("guard_changes_total"), 2.0, "what happened, and no more");
}

#[test]
fn an_abort_tells_the_writer_why_and_the_transaction_goes_on() {
    let world = World::new();
    let mut tx = world.begin();
    let aborted = tx.put("guarded", b"abort/a", b"x");
    check_fault(aborted, "guard", PluginFault::Refused, "guarded is not wanted\\nhere");
    tx.put("guarded", b"plain", b"x").unwrap();
    tx.commit().unwrap();
    assert_eq!(world.get("guarded", "abort/a"), None);
    assert!(world.get("guarded", "plain").is_some());
}

#[test]
fn a_hook_that_traps_lets_nothing_pass() {
    let world = World::new();
    let mut tx = world.begin();
    check_fault(tx.put("guarded", b"trap", b"x"), "guard", PluginFault::Trapped, "as the key says");
    assert!(tx.get("guarded", b"trap").unwrap().is_none());
    tx.put("guarded", b"plain", b"x").unwrap();
    tx.commit().unwrap();
    assert_eq!(world.get("guarded", "trap"), None);
}

#[test]
fn what_a_hook_writes_is_part_of_the_transaction() {
    let world = World::new();
    world.run(|tx| tx.put("guarded", b"audit/1", b"one")).unwrap();
    assert!(world.get("audit", "audit/1").unwrap().starts_with("Insert None Some"));
    world.run(|tx| tx.put("guarded", b"audit/1", b"two")).unwrap();
    assert!(world.get("audit", "audit/1").unwrap().starts_with("Update Some"));
    world.run(|tx| tx.delete("guarded", b"audit/1")).unwrap();
    assert!(world.get("audit", "audit/1").unwrap().starts_with("Delete Some"));

    let mut tx = world.begin();
    tx.put("guarded", b"audit/2", b"x").unwrap();
    tx.rollback();
    assert_eq!(world.get("audit", "audit/2"), None);
}

#[test]
fn a_delete_of_nothing_is_no_change() {
    let world = World::new();
    world.run(|tx| tx.delete("guarded", b"abort/nothing")).unwrap();
    assert_eq!(world.metric("guard_changes_total"), 0.0);
}

#[test]
fn a_hook_does_not_see_its_own_writes() {
    let world = World::new();
    world.run(|tx| tx.put("guarded", b"again/a", b"x")).unwrap();
    assert_eq!(world.get("guarded", "again/a").unwrap(), "written by the hook");
}

#[test]
fn after_hooks_see_only_what_was_committed() {
    let world = World::new();
    let mut tx = world.begin();
    tx.put("guarded", b"a", b"1").unwrap();
    let savepoint = tx.savepoint().unwrap();
    tx.put("guarded", b"b", b"2").unwrap();
    tx.rollback_to(savepoint).unwrap();
    assert_eq!(world.metric("guard_changes_total"), 0.0, "nothing is committed yet");
    tx.commit().unwrap();
    assert_eq!(world.metric("guard_changes_total"), 1.0);
    let mut tx = world.begin();
    tx.put("guarded", b"c", b"3").unwrap();
    drop(tx);
    assert_eq!(world.metric("guard_changes_total"), 1.0);
}

#[test]
fn many_rows_reach_a_hook_in_one_call() {
    let world = World::new();
    let keys: Vec<_> = (0..500).map(|n| format!("{n:04}").into_bytes()).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_slice(), Some(&b"x"[..]))).collect();
    world.run(|tx| tx.write_all("guarded", &rows)).unwrap();
    let usage = world.host.list().into_iter().find(|plugin| plugin.name == "guard").unwrap().usage;
    assert!(usage.calls <= 4, "self-test, before, after: {usage:?}");
    assert_eq!(world.metric("guard_changes_total"), 500.0);
    // Two writes to one key are two changes, one after the other.
    let twice: [(&[u8], _); 2] = [(b"audit/k", Some(&b"1"[..])), (b"audit/k", Some(b"2"))];
    world.run(|tx| tx.write_all("guarded", &twice)).unwrap();
    assert!(world.get("audit", "audit/k").unwrap().starts_with("Update"));
}

#[test]
fn an_unwatched_table_costs_no_call() {
    let world = World::new();
    world.run(|tx| tx.put("accounts", b"abort/x", b"1")).unwrap();
    assert!(world.get("accounts", "abort/x").is_some());
}

#[test]
fn a_replacement_in_a_typed_table_must_be_a_row() {
    let world = World::new();
    let (key, value) = person(1, "Ada", Some("Ulm"));
    world.run(|tx| tx.put("people", &key, &value)).unwrap();
    assert_eq!(world.metric("guard_changes_total"), 1.0);
}

#[test]
fn what_the_operator_does_not_let_change_a_hook_cannot_replace() {
    let world = World::bare("[allow]\ncan_read_table = [\"**\"]\ncan_write_table = []\n");
    world.load("guard", "hooks", GUARD, GUARD_GRANT).unwrap();
    world.run(|tx| tx.put("guarded", b"plain", b"x")).unwrap();
    let replaced = world.run(|tx| tx.put("guarded", b"replace/a", b"x"));
    check_fault(replaced, "guard", PluginFault::Denied, "not granted");
    // It may still veto.
    assert!(world.run(|tx| tx.put("guarded", b"abort/a", b"x")).is_err());
    let audited = world.run(|tx| tx.put("guarded", b"audit/a", b"x"));
    check_fault(audited, "guard", PluginFault::Refused, "denied");
}

#[test]
fn a_transaction_keeps_the_hooks_it_began_with() {
    let world = World::new();
    let mut tx = world.begin();
    let nothing = "[hooks]\ntables = [\"nothing\"]\nbefore = [\"insert\"]\n";
    world.load("guard", "hooks", GUARD, nothing).unwrap();
    assert!(tx.put("guarded", b"abort/a", b"x").is_err());
    drop(tx);
    world.run(|tx| tx.put("guarded", b"abort/a", b"x")).unwrap();
}

#[test]
fn a_transaction_is_over_after_its_end() {
    let world = World::new();
    let error = world.run(|tx| tx.put("no such table", b"a", b"b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn writing_many_rows_is_all_or_nothing() {
    let world = World::new();
    let keys: Vec<_> = (0..3000).map(|n| format!("{n:04}").into_bytes()).collect();
    let mut rows: Vec<_> = keys.iter().map(|key| (key.as_slice(), Some(&b"x"[..]))).collect();
    rows.push((b"abort/last", Some(b"x")));
    let mut tx = world.begin();
    tx.put("guarded", b"before", b"1").unwrap();
    assert!(tx.write_all("guarded", &rows).is_err());
    assert!(tx.get("guarded", b"0000").unwrap().is_none());
    tx.commit().unwrap();
    assert_eq!(world.get("guarded", "before").unwrap(), "1");
    assert_eq!(world.metric("guard_changes_total"), 1.0);
}

#[test]
fn what_after_hooks_are_told_of_one_transaction_is_bounded() {
    let world = World::new();
    let bound = world.kernel.options().write_set_bytes_max;
    // Small writes over large rows: their old values are what fills the host.
    let large = vec![b'x'; 4 << 20];
    let keys: Vec<_> = (0..bound / large.len() + 1).map(|n| format!("{n:04}")).collect();
    for keys in keys.chunks(16) {
        let rows = |tx: &mut sochdb_kernel::Transaction| {
            keys.iter().try_for_each(|key| tx.put("guarded", key.as_bytes(), &large))
        };
        world.kernel.run(rows).unwrap();
    }
    let result =
        world.run(|tx| keys.iter().try_for_each(|key| tx.put("guarded", key.as_bytes(), b"small")));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Limit);
}
