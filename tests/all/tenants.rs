//! Tenants that the database keeps: by the API and by the command line.

use crate::program::Workplace;
use serde_json::{Value, json};
use sochdb::{Database, ErrorKind, TableOptions, TenantOptions};

fn small() -> TenantOptions {
    TenantOptions { storage_bytes_max: Some(100), ..TenantOptions::default() }
}

#[test]
fn a_kept_bound_holds_after_opening_again() {
    let work = Workplace::new();
    let db = Database::open(work.db()).unwrap();
    db.set_tenant("passing", small()).unwrap();
    let acme = db.keep_tenant("acme", small()).unwrap();
    acme.run(|tx| {
        tx.create_table("orders", TableOptions::default())?;
        tx.put("orders", b"1", &[b'x'; 80])
    })
    .unwrap();
    let too_much = |db: &Database| {
        let acme = db.tenant("acme").unwrap();
        let refused = acme.run(|tx| tx.put("orders", b"2", &[b'x'; 80])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert_eq!(acme.usage().storage_bytes, 81);
    };
    too_much(&db);
    db.close().unwrap();
    let db = Database::open(work.db()).unwrap();
    assert_eq!(db.tenants_kept().unwrap(), [("acme".to_owned(), small())]);
    let known: Vec<_> = db.tenants().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(known, ["acme"], "what was only said is gone");
    too_much(&db);
    assert!(db.forget_tenant("acme").unwrap() && !db.forget_tenant("acme").unwrap());
    db.tenant("acme").unwrap().run(|tx| tx.put("orders", b"2", &[b'x'; 80])).unwrap();
    db.close().unwrap();
    let db = Database::open(work.db()).unwrap();
    assert!(db.tenants_kept().unwrap().is_empty());
    assert_eq!(db.begin_read().unwrap().get("acme/orders", b"2").unwrap().unwrap().len(), 80);
    db.close().unwrap();
}

#[test]
fn a_record_that_cannot_be_read_bounds_to_nothing() {
    let work = Workplace::new();
    let db = Database::open(work.db()).unwrap();
    db.keep_tenant("acme", TenantOptions::default()).unwrap();
    let table = sochdb::host::kept_tenants::TENANTS_TABLE;
    let mut tx = sochdb::Kernel::begin(&db).unwrap();
    tx.put(table, b"acme", b"\x01\0\0\0rot").unwrap();
    tx.commit().unwrap();
    db.close().unwrap();
    let db = Database::open(work.db()).unwrap();
    assert_eq!(db.tenants_kept().unwrap_err().kind(), ErrorKind::Corrupt);
    let acme = db.tenant("acme").unwrap();
    acme.run(|tx| tx.create_table("orders", TableOptions::default()).map(drop)).unwrap();
    let refused = acme.run(|tx| tx.put("orders", b"1", b"x")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
    // Kept anew, it is as before.
    db.keep_tenant("acme", TenantOptions::default()).unwrap();
    db.tenant("acme").unwrap().run(|tx| tx.put("orders", b"1", b"x")).unwrap();
    db.close().unwrap();
}

#[test]
fn no_plugin_nor_list_takes_the_table_of_tenants_for_one_of_the_users() {
    let work = Workplace::new();
    work.ok(&["tenant", "add", "acme"]);
    assert_eq!(work.ok(&["table", "list"]), "no tables\n");
    assert!(work.ok(&["table", "list", "--all"]).contains("sochdb.tenants"));
}

#[test]
fn tenants_are_added_changed_listed_measured_and_removed() {
    let work = Workplace::new();
    work.refused(&["tenant", "list"], 3, &["help: "]);
    let said = work.ok(&[
        "tenant",
        "add",
        "acme",
        "--storage-bytes",
        "1000",
        "--calls",
        "2",
        "--plugin",
        "audit",
    ]);
    assert_eq!(said, "the database keeps tenant 'acme'\n");
    work.refused(&["tenant", "add", "acme"], 2, &["kept already", "tenant quota acme"]);
    work.refused(&["tenant", "add", "a/b"], 2, &["is no tenant"]);
    work.refused(
        &["tenant", "add", "b", "--calls", "many"],
        2,
        &["--calls many is no number", "--calls none"],
    );
    work.ok(&["tenant", "quota", "acme", "--calls", "none", "--fuel-per-second", "5000"]);
    let quota: Value =
        serde_json::from_str(&work.ok(&["tenant", "quota", "acme", "--json"])).unwrap();
    let expected = json!({
        "tenant": "acme", "fuel_per_second": 5000, "memory_bytes_max": null, "calls_max": null,
        "storage_bytes_max": 1000, "plugins": ["audit"],
    });
    assert_eq!(quota, expected);
    let list: Value = serde_json::from_str(&work.ok(&["tenant", "list", "--json"])).unwrap();
    assert_eq!(list, json!({ "tenants": [expected] }));
    let rows = work.ok(&["tenant", "list", "--mode", "csv"]);
    assert_eq!(
        rows.lines().nth(1),
        Some("acme,\"5,000\",no bound,no bound,1.0 kB,audit"),
        "{rows}"
    );
    work.ok(&["table", "create", "acme/orders"]);
    work.ok(&["put", "acme/orders", "1", "tea"]);
    work.ok(&["table", "create", "zoo/animals"]);
    let usage: Value = serde_json::from_str(&work.ok(&["tenant", "usage", "--json"])).unwrap();
    let (acme, zoo) = (&usage["tenants"][0], &usage["tenants"][1]);
    assert_eq!(
        (&acme["tenant"], &acme["tables"], &acme["bytes"]),
        (&json!("acme"), &json!(1), &json!(4))
    );
    assert_eq!((&zoo["tenant"], &zoo["storage_bytes_max"]), (&json!("zoo"), &Value::Null));
    assert!(work.ok(&["tenant", "usage", "acme"]).contains("1.0 kB"));
    work.refused(&["tenant", "usage", "nobody"], 3, &["keeps no tenant 'nobody'"]);
    assert!(work.ok(&["tenant", "remove", "acme"]).contains("its tables and rows stay"));
    work.refused(&["tenant", "remove", "acme"], 3, &["keeps no tenant 'acme'"]);
    work.refused(&["tenant", "quota", "acme"], 3, &["tenant add"]);
    assert_eq!(work.ok(&["get", "acme/orders", "1"]), "tea\n");
    assert_eq!(work.ok(&["tenant", "list"]), "the database keeps no tenants\n");
}
