//! What plugins did is recorded, and what they were denied above all.

use crate::world::{LEDGER_GRANT, World};
use sochdb_host_abi::audit::{AuditFilter, AuditKind, AuditRecord, Outcome, read_file};

fn imports(world: &World, function: &str) -> Vec<AuditRecord> {
    let function = Some(function.to_owned());
    world.host.audit().recent(&AuditFilter { function, ..AuditFilter::default() }, 100)
}

#[test]
fn an_import_is_recorded_with_its_table_rows_bytes_and_fuel() {
    let world = World::new();
    world.kernel.run(|tx| tx.put("accounts", b"ada", b"12345")).unwrap();
    let args = r#"{"table": "accounts", "key": "ada", "times": 2}"#;
    world.call("get", args).unwrap();
    let opened = imports(&world, "rows.transaction.open-table");
    assert_eq!((opened.len(), opened[0].outcome), (1, Outcome::Ok));
    let read = imports(&world, "rows.table.soch-read");
    assert_eq!(read.len(), 2);
    for record in &read {
        assert_eq!((record.plugin.as_str(), record.kind), ("ledger", AuditKind::Import));
        assert_eq!((record.object.as_deref(), record.tenant.as_deref()), (Some("accounts"), None));
        assert_eq!((record.rows, record.bytes, record.outcome), (1, 8, Outcome::Ok));
        assert!(200 < record.fuel && 0 < record.nanos, "{record:?}");
    }
    assert!(read[0].unix_us <= read[1].unix_us);
    let calls = AuditFilter { kind: Some(AuditKind::Call), ..AuditFilter::default() };
    let call = world.host.audit().recent(&calls, 1).remove(0);
    assert_eq!((call.plugin.as_str(), call.outcome), ("ledger", Outcome::Ok));
    assert!(read[0].fuel < call.fuel && call.unix_us <= read[0].unix_us, "{call:?}");
}

#[test]
fn a_tenants_records_say_so() {
    let world = World::new();
    let mut options = sochdb_host_abi::TenantOptions::default();
    options.plugins.insert("ledger".to_owned());
    let acme = world.host.tenants().set("acme", options).unwrap();
    let mut tx = world.begin_with(Default::default(), Some(&acme));
    tx.call("sum", "{}").unwrap();
    let scans = imports(&world, "rows.scan.next");
    assert!(!scans.is_empty());
    for record in scans {
        assert_eq!(record.tenant.as_deref(), Some("acme"));
        assert_eq!(record.object.as_deref(), Some("accounts"), "as the tenant calls it");
    }
}

#[test]
fn a_denial_is_kept_however_much_else_there_is() {
    let world = World::new();
    let secret = r#"{"table": "secret", "key": "k"}"#;
    assert!(world.call("get", secret).is_err());
    let other = r#"{"plugin": "stranger", "procedure": "sum", "args": {}}"#;
    assert!(world.call("call", other).is_err());
    let itself = r#"{"plugin": "ledger", "procedure": "sum", "args": {}}"#;
    assert!(world.call("call", itself).is_err());
    let much = r#"{"table": "accounts", "key": "k", "times": 100000}"#;
    world.call("get", much).unwrap();
    let ordinary = world.host.audit().recent(&AuditFilter::default(), usize::MAX);
    assert_eq!(ordinary.len(), sochdb_host_abi::limits::audit::RECORDS_MAX);
    assert!(ordinary.iter().all(|record| record.outcome == Outcome::Ok));
    let denials = world.host.audit().denials();
    let told: Vec<_> = denials
        .iter()
        .map(|record| (record.function.as_str(), record.object.as_deref().unwrap_or_default()))
        .collect();
    assert!(told.contains(&("rows.transaction.open-table", "secret")), "{told:?}");
    assert!(told.contains(&("plugins.call-plugin", "stranger.sum")), "{told:?}");
    assert!(told.contains(&("plugins.call-plugin", "ledger.sum")), "{told:?}");
    assert!(0.0 < world.metric("sochdb_audit_denials_total"));
}

#[test]
fn where_a_guest_ended_is_recorded() {
    let world = World::new();
    world.load_ledger("ledger", &format!("{LEDGER_GRANT}[resources]\nfuel_limit = 2_000_000\n"));
    let much = r#"{"table": "accounts", "key": "k", "times": 10000000}"#;
    assert!(world.call("get", much).is_err());
    let all = world.host.audit().recent(&AuditFilter::default(), 2);
    let outcomes: Vec<_> = all.iter().map(|record| (record.kind, record.outcome)).collect();
    assert_eq!(outcomes[1], (AuditKind::Call, Outcome::Exhausted), "{all:?}");
    assert!(all[0].kind == AuditKind::Import, "{all:?}");
}

#[test]
fn the_trail_of_a_host_is_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let world = World::new();
    world.host.audit().write_to(&path).unwrap();
    assert!(world.call("get", r#"{"table": "secret", "key": "k"}"#).is_err());
    world.call("sum", "{}").unwrap();
    let recent = world.host.audit().recent(&AuditFilter::default(), usize::MAX);
    drop(world);
    let written = read_file(&path).unwrap().records;
    let denied = |records: &[AuditRecord]| {
        records.iter().filter(|record| record.outcome == Outcome::Denied).count()
    };
    assert!(written.iter().all(|record| recent.contains(record) || record.function == "shutdown"));
    assert!(3 < written.len() && denied(&written) == denied(&recent) && 0 < denied(&written));
}
