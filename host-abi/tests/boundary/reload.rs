//! What a new version must show before it serves: one of each kind that does, and some that trap, lie or lose.

use crate::database::HOOKED;
use crate::guest::{Codec, Hooks, Index, Observer, Procedures, Storage, manifest_of};
use crate::shipped::load_shipped;
use sochdb_host_abi::{PluginHost, ReloadOptions, ReloadReport, Transaction};
use sochdb_kernel::plugin::TelemetryBatch;
use sochdb_kernel::{
    Column, ColumnType, Kernel, KernelError, KernelResult, Options, PluginFault, Schema,
    TableOptions, TransactionOptions, Value,
};
use sochdb_reload::Rules;
use sochdb_test_guests::NEAREST;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What procedures need that read and write `t`.
const ROWS: &str = "[capabilities]\ncan_read_table = [\"t\"]\ncan_write_table = [\"t\"]\n";

/// A database in memory with a table `t`, and one plugin in several versions.
struct Rig {
    kernel: Kernel,
    host: PluginHost,
    folder: TempDir,
    name: &'static str,
    kind: &'static str,
    more: &'static str,
}

impl Rig {
    fn new(name: &'static str, kind: &'static str, more: &'static str) -> Rig {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        kernel.create_table("t", TableOptions::default()).unwrap();
        let (host, folder) = (PluginHost::new().unwrap(), tempfile::tempdir().unwrap());
        Rig { kernel, host, folder, name, kind, more }
    }

    /// With version 1.0.0 of the plugin `guest`.
    fn with(kind: &'static str, component: &[u8], more: &'static str) -> Rig {
        let rig = Rig::new("guest", kind, more);
        rig.install("1.0.0", component).unwrap();
        rig
    }

    fn install(&self, version: &str, component: &[u8]) -> KernelResult<ReloadReport> {
        fs::write(self.folder.path().join("guest.wasm"), component).unwrap();
        let manifest = manifest_of(self.name, self.kind, "path = \"guest.wasm\"", self.more);
        self.install_manifest(&manifest.replace("1.2.3", version), false)
    }

    fn install_manifest(&self, manifest: &str, one_way: bool) -> KernelResult<ReloadReport> {
        let path = self.folder.path().join("guest.toml");
        fs::write(&path, manifest).unwrap();
        let rules = Some(Rules { probation: Duration::ZERO, ..Rules::default() });
        let options = ReloadOptions { rules, one_way, keep: false, ..ReloadOptions::default() };
        self.host.reload(&path, &self.kernel, &options)
    }

    /// Version 2.0.0 is refused for this, and version 1.0.0 goes on without a failure of its own.
    #[track_caller]
    fn refuses(&self, component: &[u8], fault: PluginFault, words: &[&str]) {
        let error = self.install("2.0.0", component).map(|report| report.trial).unwrap_err();
        let KernelError::Plugin { plugin, fault: found, message } = &error else {
            panic!("{error}")
        };
        assert_eq!((plugin.as_str(), *found), (self.name, fault), "{message}");
        for words in words.iter().chain(&["version 2.0.0"]) {
            assert!(message.contains(words), "{words:?} is not in: {message}");
        }
        let serving = self.host.list().into_iter().find(|plugin| plugin.name == self.name).unwrap();
        assert_eq!(serving.version, "1.0.0");
        assert_eq!(serving.usage.failures, 0);
    }

    fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        let options = TransactionOptions::default();
        Transaction::run(&self.kernel, self.host.programs(), None, options, f)
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let tx = self.kernel.begin_read().unwrap();
        tx.scan("t", ..).unwrap().map(|row| row.unwrap().0).collect()
    }
}

#[test]
fn a_codec_must_restore_what_the_one_before_stores_and_the_other_way_round() {
    let rig = Rig::with("codec", &Codec::default().build(), "");
    // The first byte is another one in what it stores.
    let turned = "(if (local.get $len) (then (i32.store8 (local.get $at)
            (i32.xor (i32.load8_u (local.get $at)) (i32.const 1)))))
        (call $same (local.get $at) (local.get $len))";
    let guest = Codec { compress: turned, decompress: turned, ..Codec::default() };
    let words = ["that version 1.0.0 stores", "is restored to other bytes"];
    rig.refuses(&guest.build(), PluginFault::Lied, &words);
    let guest = Codec { compress: turned, ..Codec::default() };
    let words = ["stores a block of 1 bytes so that it does not restore it"];
    rig.refuses(&guest.build(), PluginFault::Lied, &words);
    let guest = Codec { compress: "unreachable", ..Codec::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["a block of 1 bytes", "unreachable"]);
    let report = rig.install("3.0.0", &Codec { items: "(func)", ..Codec::default() }.build());
    assert_eq!(report.unwrap().trial.differing, 0);
}

#[test]
fn a_codec_is_asked_for_blocks_of_late() {
    let rig = Rig::with("codec", &Codec::default().build(), "");
    let codec = rig.kernel.plugins().compression("guest").unwrap();
    assert_eq!(codec.compress(b"seven b").unwrap(), b"seven b");
    let decompress = "(if (i32.eq (local.get $len) (i32.const 7)) (then unreachable))
        (call $same (local.get $at) (local.get $len))";
    let guest = Codec { decompress, ..Codec::default() };
    let words = ["a block of 7 bytes that is there", "does not fail there"];
    rig.refuses(&guest.build(), PluginFault::Trapped, &words);
    assert_eq!(codec.decompress(b"seven b", 7).unwrap(), b"seven b");
    let report = rig.install("3.0.0", &Codec { items: "(func)", ..Codec::default() }.build());
    assert!(0 < report.unwrap().trial.replayed);
}

#[test]
fn a_codec_without_one_before_must_restore_what_it_stores() {
    let rig = Rig::new("guest", "codec", "");
    let compress = "(call $same (i32.const 0) (local.get $len))";
    let error = rig.install("1.0.0", &Codec { compress, ..Codec::default() }.build());
    let error = error.map(|report| report.plugin).unwrap_err().to_string();
    assert!(error.contains("so that it does not restore it"), "{error}");
    assert!(rig.host.list().is_empty());
}

#[test]
fn a_storage_engine_must_read_the_rows_there_are_as_the_one_before() {
    let rig = Rig::new("lscs", "storage", "");
    load_shipped(&rig.host, rig.kernel.plugins(), &["lscs"]);
    let storage = Some("lscs".to_owned());
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("number", ColumnType::Int64), column("name", ColumnType::String)];
    let schema = Schema::new(columns, &["number"]).unwrap();
    let options = TableOptions { storage: storage.clone(), ..TableOptions::default() };
    rig.kernel.create_table("plain", options.clone()).unwrap();
    let options = TableOptions { schema: Some(schema.clone()), ..options };
    rig.kernel.create_table("typed", options).unwrap();
    for part in 0..3_i64 {
        rig.kernel
            .run(|tx| {
                for number in part * 400..part * 400 + 800 {
                    let row = [Value::Int64(number), Value::String(format!("{part}"))];
                    let (key, value) =
                        (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap());
                    tx.put("typed", &key, &value)?;
                    tx.put("plain", format!("{number:05}").as_bytes(), &[part as u8; 30])?;
                }
                tx.delete("plain", format!("{:05}", part * 400).as_bytes())
            })
            .unwrap();
        assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
    }
    // It opens everything, and finds nothing.
    let error = rig.install("2.0.0", &Storage::default().build());
    let error = error.map(|report| report.plugin).unwrap_err().to_string();
    for words in ["version 2.0.0 on trial: table 'plain'", "no row of the key '00000"] {
        assert!(error.contains(words), "{error}");
    }
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let manifest = fs::read_to_string(manifests.join("lscs.toml")).unwrap();
    let later = manifest.replacen("version = \"0.", "version = \"7.", 1);
    let report = rig.install_manifest(&later, false).unwrap();
    assert_eq!((report.trial.opened, report.trial.differing), (2, 0), "{:?}", report.trial);
    assert!(8 < report.trial.replayed, "{:?}", report.trial);
    let usage = rig.host.list().into_iter().find(|plugin| plugin.name == "lscs").unwrap().usage;
    assert_eq!((usage.refusals, usage.failures), (0, 0));
}

#[test]
fn an_index_plugin_must_find_what_the_one_before_finds() {
    let rig = Rig::with("index", NEAREST, "");
    let words = ["finds 0 near entries", "where version 1.0.0 finds 240"];
    rig.refuses(&Index::default().build(), PluginFault::Lied, &words);
    let guest = Index { build: "unreachable", ..Index::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["builds", "unreachable"]);
    let report = rig.install("3.0.0", NEAREST).unwrap();
    assert!(0 < report.trial.replayed && report.trial.differing == 0, "{:?}", report.trial);
}

#[test]
fn an_observer_must_take_the_newest_batch_and_show_a_page() {
    let rig = Rig::with("observer", &Observer::default().build(), "");
    let observer = rig.kernel.plugins().observers().remove(0);
    observer.ingest(&TelemetryBatch { unix_us: 77, ..TelemetryBatch::default() }).unwrap();
    let ingest = "(if (i64.eq (local.get 0) (i64.const 77)) (then unreachable)) (call $ok)";
    let guest = Observer { ingest, ..Observer::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["the newest batch"]);
    let guest = Observer { render: "unreachable", ..Observer::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["a page for '*/*'"]);
    let guest = Observer { items: "(func)", ..Observer::default() };
    let report = rig.install("3.0.0", &guest.build()).unwrap();
    assert_eq!((report.trial.replayed, report.trial.differing), (4, 0));
}

#[test]
fn hooks_are_asked_about_changes_of_late_and_nothing_happens_twice() {
    let rig = Rig::with("hooks", &Hooks::default().build(), HOOKED);
    rig.run(|tx| tx.put("t", b"a", b"1")).unwrap();
    let trap = "(if (i32.eq (call $first (local.get $changes)) (i32.const 97)) (then unreachable))";
    let before = format!("{trap} (call $continue (local.get $count))");
    let guest = Hooks { before: &before, ..Hooks::default() };
    let words = ["a call of 'before' about 1 changes of 't'", "unreachable"];
    rig.refuses(&guest.build(), PluginFault::Trapped, &words);
    let after = format!("{trap} (call $ok)");
    let guest = Hooks { after: &after, ..Hooks::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["a call of 'after' about 1 changes"]);
    // Another decision is the plugin's own business, and what it writes is not kept.
    let skips = "(i32.store (i32.const 1700) (i32.const 2))
        (call $put (local.get $table) (i32.const 1700) (i32.const 1)
            (i32.const 1700) (i32.const 1))
        (call $same (i32.const 1700) (i32.const 1))";
    let guest = Hooks { before: skips, ..Hooks::default() };
    let report = rig.install("3.0.0", &guest.build()).unwrap();
    assert_eq!((report.trial.replayed, report.trial.differing), (2, 1), "{:?}", report.trial);
    assert!(report.trial.notes[0].contains("a call of 'before'"), "{:?}", report.trial);
    assert_eq!(rig.keys(), [b"a"]);
    // What was called lately is known to the version after that one, too.
    let report = rig.install("4.0.0", &Hooks::default().build()).unwrap();
    assert_eq!((report.trial.replayed, report.trial.differing), (2, 1), "{:?}", report.trial);
}

#[test]
fn procedures_are_called_as_of_late_and_nothing_happens_twice() {
    let rig = Rig::with("procedure", &Procedures::default().build(), ROWS);
    assert_eq!(rig.run(|tx| tx.call("guest.go", "[1]")).unwrap(), "{}");
    let call = "(if (i32.eq (local.get $len) (i32.const 3)) (then unreachable))
        (call $same (i32.const 1202) (i32.const 2))";
    let guest = Procedures { call, ..Procedures::default() };
    rig.refuses(&guest.build(), PluginFault::Trapped, &["a call of 'go'", "unreachable"]);
    let guest = Procedures { call: "(loop (br 0)) unreachable", ..Procedures::default() };
    rig.refuses(&guest.build(), PluginFault::Exhausted, &["a call of 'go'"]);
    // It writes a row, and answers what it was asked.
    let call = "(local.set $table (call $open-t (local.get $tx)))
        (call $put (local.get $table) (i32.const 1200) (i32.const 2)
            (i32.const 1200) (i32.const 2))
        (call $same (local.get $args) (local.get $len))";
    let guest = Procedures { call, ..Procedures::default() };
    let report = rig.install("3.0.0", &guest.build()).unwrap();
    assert_eq!((report.trial.replayed, report.trial.differing), (1, 1), "{:?}", report.trial);
    assert!(rig.keys().is_empty());
    assert_eq!(rig.run(|tx| tx.call("guest.go", "[1]")).unwrap(), "[1]");
    assert_eq!(rig.keys(), [b"go"]);
}

#[test]
fn a_plugin_that_may_call_others_is_asked_no_call_of_late_again() {
    let more = "[capabilities]\ncan_call_plugin = [\"other\"]\n";
    let rig = Rig::with("procedure", &Procedures::default().build(), more);
    rig.run(|tx| tx.call("guest.go", "[1]")).unwrap();
    let guest = Procedures { call: "unreachable", ..Procedures::default() };
    let report = rig.install("2.0.0", &guest.build()).unwrap();
    assert_eq!(report.trial.replayed, 0);
    assert!(report.trial.notes[0].contains("asked no call of late again"), "{:?}", report.trial);
}
