//! Native plugins through the facade: `cargo test --package sochdb --features dynamic-plugins`. The crate
//! `sochdb-native` has the tests of everything below.

use sochdb::native::Trust;
use sochdb::{Database, KernelError, PluginFault, TableOptions};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;

/// The library of `sochdb-native-example`, which cargo leaves beside this program.
fn example() -> PathBuf {
    let name = format!("{DLL_PREFIX}sochdb_native_example{DLL_SUFFIX}");
    std::env::current_exe().expect("known").with_file_name(name)
}

#[test]
fn a_trusted_codec_works_in_a_database_and_after_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let hash = blake3::hash(&std::fs::read(example()).unwrap()).to_hex();
    // SAFETY: the example is part of this repository and keeps the rules of the interface.
    let trust = unsafe { Trust::by_hash([hash.as_str()]) }.unwrap();
    let open =
        || Database::builder().native_plugin(example(), trust.clone()).open(directory.path());
    let value = vec![7; 50_000];
    let db = open().unwrap();
    let codec = Some("rle".to_owned());
    db.create_table("t", TableOptions { codec, ..Default::default() }).unwrap();
    db.run(|tx| tx.put("t", b"key", &value)).unwrap();
    db.checkpoint().unwrap();
    let stats = db.stats();
    assert!(0 < stats.codec_bytes_stored && stats.codec_bytes_stored < 1000, "{stats:?}");
    db.close().unwrap();
    let db = open().unwrap();
    assert_eq!(db.begin_read().unwrap().get("t", b"key").unwrap().unwrap(), value[..]);
    db.close().unwrap();
}

#[test]
fn a_plugin_that_is_not_trusted_keeps_the_database_from_opening_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let opened = Database::builder().native_plugin(example(), Trust::nobody()).open(&path);
    let error = opened.map(drop).unwrap_err();
    assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Denied, .. }), "{error}");
    assert!(!path.exists());
}
