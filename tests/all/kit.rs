//! The conformance kit: plugins that are meant to be good pass it, and each that is not fails the check that is
//! about what is wrong with it.

use crate::program::Workplace;
use serde_json::{Value as Json, json};
use sochdb::conformance::{
    self, Report, SampleCall, SampleIndex, SampleTable, Samples, TestOptions, Verdict,
};
use sochdb::host::bundled;
use sochdb::{Column, ColumnType, Policy, Schema, Value};
use sochdb_test_guests::{
    FICKLE, FINDER, GUARD, IDENTITY, LEDGER, MOODY, NEAREST, SHELF, SHIFTY, STAMPER, TELLER,
    manifest,
};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Settings as `mood.rs` of the guests reads them, and a mood.
fn in_mood(mood: &str) -> String {
    format!(
        "[config_schema]\nmood = {{ type = \"text\" }}\nversion = {{ type = \"integer\" }}\n\
         after = {{ type = \"integer\" }}\nspin = {{ type = \"integer\" }}\n\
         address = {{ type = \"text\", default = \"\" }}\n\
         [config]\nmood = \"{mood}\"\nversion = 7\nafter = 0\nspin = 0\n"
    )
}

const GUARDED: &str = "[capabilities]\n\
    can_read_table = [\"guarded\"]\n\
    can_write_table = [\"guarded\", \"audit\"]\n\
    [hooks]\ntables = [\"guarded\"]\nbefore = [\"insert\", \"update\", \"delete\"]\n";
const STAMPED: &str = "[capabilities]\n\
    can_read_table = [\"stamped/*\"]\ncan_write_table = [\"stamped/*\"]\n\
    [hooks]\ntables = [\"stamped/*\"]\nbefore = [\"insert\", \"update\"]\n";
const COUNTERS: &str =
    "[capabilities]\ncan_read_table = [\"counters\"]\ncan_write_table = [\"counters\"]\n";
/// A busy machine is no reason for a call to fail.
const PATIENT: &str = "[resources]\ntimeout_ms = 60_000\n";

/// A plugin in a folder of its own.
struct Placed {
    _folder: TempDir,
    manifest: PathBuf,
}

fn placed(name: &str, kind: &str, component: &[u8], more: &str) -> Placed {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name).with_extension("wasm"), component).unwrap();
    let path = folder.path().join(name).with_extension("toml");
    fs::write(&path, manifest(name, kind, more)).unwrap();
    Placed { _folder: folder, manifest: path }
}

fn shipped(name: &str) -> Placed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name).with_extension("toml");
    fs::write(&path, bundled::find(name).unwrap().manifest).unwrap();
    Placed { _folder: folder, manifest: path }
}

fn options() -> TestOptions {
    TestOptions { seed: 7, ..TestOptions::default() }
}

/// Tests what is meant to be good; `skipped` are the checks that do not apply to it.
#[track_caller]
fn passes(plugin: &Placed, options: &TestOptions, skipped: &[&str]) -> Report {
    let report = conformance::test(&plugin.manifest, options, &mut |_| {}).unwrap();
    assert!(report.has_passed(), "{report}");
    let left_out = report.checks.iter().filter(|check| check.verdict == Verdict::Skipped);
    assert_eq!(left_out.map(|check| check.name).collect::<Vec<_>>(), skipped, "{report}");
    let UsageOf { calls, failures } = usage(&report);
    assert!(0 < calls && failures == 0, "{:?}", report.usage);
    println!("{report}");
    report
}

struct UsageOf {
    calls: u64,
    failures: u64,
}

fn usage(report: &Report) -> UsageOf {
    UsageOf { calls: report.usage.calls, failures: report.usage.failures }
}

/// Tests what is not: `check` fails, and says all of `words`.
#[track_caller]
fn fails(plugin: &Placed, options: &TestOptions, check: &str, words: &[&str]) {
    let options = TestOptions { only: vec![check.to_owned()], ..options.clone() };
    let report = conformance::test(&plugin.manifest, &options, &mut |_| {}).unwrap();
    let failed: Vec<_> = report.failed().map(|check| check.name).collect();
    assert_eq!(failed, [check], "{report}");
    let detail = &report.failed().next().expect("one failed").detail;
    for word in words {
        assert!(detail.contains(word), "{check} says no '{word}': {detail}");
    }
}

#[test]
fn codecs_that_are_good_pass() {
    passes(&placed("identity", "codec", IDENTITY, PATIENT), &options(), &[]);
    passes(&placed("fickle", "codec", FICKLE, PATIENT), &options(), &[]);
}

#[test]
fn codecs_that_come_with_the_program_pass() {
    for codec in ["lz4", "zstd"] {
        passes(&shipped(codec), &options(), &[]);
    }
}

#[test]
fn a_codec_fails_the_check_that_is_about_what_is_wrong_with_it() {
    for (mood, check, words) in [
        ("fails-its-test", "load", "as it was told"),
        ("traps", "load", "in the mood for it"),
        ("traps-on-marks", "load", "there is a mark"),
        ("refuses", "round-trip", "refuses to compress anything"),
        ("lies", "load", "does not restore it"),
        // Runs of one byte each take twice as much as the block.
        ("good", "round-trip", "carried more bytes across the boundary than it may"),
    ] {
        let more = format!("{PATIENT}{}", in_mood(mood));
        fails(&placed("shifty", "codec", SHIFTY, &more), &options(), check, &[words]);
    }
    for (mood, check, words) in [
        ("remembers", "determinism", "another instance"),
        ("trusts", "damage", "exhausted its limits"),
        ("slices", "damage", "trapped"),
        ("spins", "damage", "exhausted its limits"),
        ("pads", "damage", "failed its check"),
    ] {
        let more = format!(
            "[resources]\nfuel_limit = 50_000_000\ntimeout_ms = 60_000\n\
             [config_schema]\nmood = {{ type = \"text\" }}\n[config]\nmood = \"{mood}\"\n"
        );
        fails(&placed("fickle", "codec", FICKLE, &more), &options(), check, &[words]);
    }
}

#[test]
fn storage_engines_that_are_good_pass() {
    let more = format!("{PATIENT}{}", in_mood("good"));
    passes(&placed("shelf", "storage", SHELF, &more), &options(), &[]);
    passes(&shipped("lscs"), &options(), &[]);
}

#[test]
fn a_storage_engine_fails_the_check_that_is_about_what_is_wrong_with_it() {
    for (mood, check, words) in [
        ("fails-its-test", "load", "as it was told"),
        ("refuses", "load", "in no mood"),
        ("traps-on-marks", "hostile", "there is a mark"),
        ("lies", "determinism", "reads other rows than another one wrote"),
        ("lies", "model", "shrunk from"),
    ] {
        let more = format!("{PATIENT}{}", in_mood(mood));
        fails(&placed("shelf", "storage", SHELF, &more), &options(), check, &[words]);
    }
}

#[test]
fn indexes_that_are_good_pass() {
    passes(&placed("nearest", "index", NEAREST, PATIENT), &options(), &["lookups"]);
    passes(&shipped("btree-index"), &options(), &["recall"]);
}

#[test]
fn indexes_of_vectors_that_come_with_the_program_pass() {
    for index in ["hnsw", "vamana"] {
        passes(&shipped(index), &options(), &["lookups"]);
    }
}

#[test]
fn an_index_fails_the_check_that_is_about_what_is_wrong_with_it() {
    for (mood, check) in [("fails-its-test", "load"), ("traps-on-many", "recall")] {
        let more = format!(
            "{PATIENT}[config_schema]\nmood = {{ type = \"text\" }}\n[config]\nmood = \"{mood}\"\n"
        );
        fails(&placed("nearest", "index", NEAREST, &more), &options(), check, &[]);
    }
    // What no index can find.
    let impossible = TestOptions { recall_min: 1.1, ..options() };
    let nearest = placed("nearest", "index", NEAREST, PATIENT);
    fails(&nearest, &impossible, "recall", &["recall@10", "less than 1.1"]);
}

#[test]
fn hooks_that_are_good_pass() {
    passes(&placed("guard", "hooks", GUARD, &format!("{GUARDED}{PATIENT}")), &options(), &[]);
    let more = format!("{STAMPED}{PATIENT}{}", in_mood("good"));
    passes(&placed("stamper", "hooks", STAMPER, &more), &options(), &[]);
    // Of one instance, whose state is handed over while transactions are at work.
    let more = format!("{STAMPED}{PATIENT}max_instances = 1\n{}", in_mood("good"));
    passes(&placed("stamper", "hooks", STAMPER, &more), &options(), &[]);
}

#[test]
fn hooks_fail_the_check_that_is_about_what_is_wrong_with_them() {
    for (mood, check, words) in [
        ("fails-its-test", "load", "as it was told"),
        ("traps", "decisions", "trapped"),
        ("traps-on-marks", "hostile", "there is a mark"),
        ("traps-on-export", "reload", "that is lost"),
        ("traps-on-import", "reload", "in no mood to listen"),
    ] {
        let more = format!("{STAMPED}{PATIENT}max_instances = 1\n{}", in_mood(mood));
        fails(&placed("stamper", "hooks", STAMPER, &more), &options(), check, &[words]);
    }
    // It takes for granted that a row is written once in a transaction.
    let more = GUARDED.replace("before = ", "after = [\"insert\", \"update\"]\nbefore = ");
    let guard = placed("guard", "hooks", GUARD, &format!("{more}{PATIENT}"));
    fails(&guard, &options(), "batches", &["trapped or met a limit, of after"]);
    let policy = Policy::parse("policy.toml", "[allow]\ncan_write_table = []\n").unwrap();
    let more = format!("{STAMPED}{PATIENT}{}", in_mood("good"));
    let stamper = placed("stamper", "hooks", STAMPER, &more);
    let narrow = TestOptions { policy, ..options() };
    fails(&stamper, &narrow, "decisions", &["was not granted"]);
    // Who refuses everything has nothing to show.
    let more = format!("{STAMPED}{PATIENT}{}", in_mood("refuses"));
    let options = TestOptions { only: vec!["decisions".to_owned()], ..options() };
    let stamper = placed("stamper", "hooks", STAMPER, &more);
    let report = conformance::test(&stamper.manifest, &options, &mut |_| {}).unwrap();
    let decisions = report.checks.iter().find(|check| check.name == "decisions").unwrap();
    assert!(decisions.has_passed(), "what is only deleted is not asked about: {report}");
    assert!(decisions.detail.contains("in no mood for it"), "{report}");
}

fn people() -> SampleTable {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("id", ColumnType::Int64), column("town", ColumnType::String)];
    let schema = Schema::new(columns, &["id"]).unwrap();
    let row = |id: i64, town: &str| {
        let row = [Value::Int64(id), Value::String(town.into())];
        (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap())
    };
    let rows = vec![row(1, "Ulm"), row(2, "Bonn"), row(3, "Ulm")];
    SampleTable { name: "people".to_owned(), schema: Some(schema), rows }
}

fn call(procedure: &str, args: Json, answer: Option<Json>) -> SampleCall {
    SampleCall { procedure: procedure.to_owned(), args, answer }
}

#[test]
fn procedures_that_are_good_pass() {
    let more = format!("{COUNTERS}{PATIENT}{}", in_mood("good"));
    let teller = placed("teller", "procedure", TELLER, &more);
    passes(&teller, &options(), &["samples"]);
    let bump = json!({ "table": "counters", "key": "k" });
    let calls = vec![
        call("bump", bump.clone(), Some(json!({ "version": 7, "count": 1 }))),
        call("bump", bump, Some(json!({ "version": 7, "count": 2 }))),
    ];
    let samples = Samples { calls, ..Samples::default() };
    passes(&teller, &TestOptions { samples, ..options() }, &[]);
}

#[test]
fn a_procedure_finds_the_tables_and_indexes_of_its_samples() {
    let grant = "[capabilities]\ncan_read_table = [\"people\"]\ncan_index_search = true\n\
                 can_vector_search = true\n";
    let finder = placed("finder", "procedure", FINDER, &format!("{grant}{PATIENT}"));
    let index = SampleIndex {
        table: "people".to_owned(),
        name: "by_town".to_owned(),
        column: "town".to_owned(),
        settings: [("using".to_owned(), "btree-index".to_owned())].into(),
    };
    let args = json!({ "table": "people", "index": "by_town", "value": "Ulm" });
    let keys = ["028000000000000001", "028000000000000003"];
    let samples = Samples {
        tables: vec![people()],
        indexes: vec![index],
        calls: vec![call("lookup", args, Some(json!(keys)))],
    };
    // What it makes up itself names no table.
    passes(&finder, &TestOptions { samples, ..options() }, &["arguments"]);
}

#[test]
fn a_procedure_fails_the_check_that_is_about_what_is_wrong_with_it() {
    for (mood, check, words) in [
        ("fails-its-test", "load", "as it was told"),
        ("traps", "arguments", "trapped"),
        ("lies", "arguments", "is no JSON"),
        ("refuses", "samples", "in no mood for it"),
    ] {
        let more = format!("{COUNTERS}{PATIENT}{}", in_mood(mood));
        let teller = placed("teller", "procedure", TELLER, &more);
        let samples =
            Samples { calls: vec![call("version", json!({}), None)], ..Samples::default() };
        fails(&teller, &TestOptions { samples, ..options() }, check, &[words]);
    }
    let teller =
        placed("teller", "procedure", TELLER, &format!("{COUNTERS}{PATIENT}{}", in_mood("good")));
    let wrong = [
        (call("version", json!({}), Some(json!({ "version": 8 }))), "not {\"version\":8}"),
        (call("nothing", json!({}), None), "no procedure 'nothing'"),
    ];
    for (sample, words) in wrong {
        let samples = Samples { calls: vec![sample], ..Samples::default() };
        fails(&teller, &TestOptions { samples, ..options() }, "samples", &[words]);
    }
    let more = "[capabilities]\ncan_read_table = [\"accounts\"]\ncan_write_table = [\"accounts\"]\n\
                [resources]\nfuel_limit = 2_000_000\n";
    let ledger = placed("ledger", "procedure", LEDGER, more);
    let write = json!({ "table": "accounts", "key": "k", "value": "v" });
    let samples =
        Samples { calls: vec![call("write-read-only", write, None)], ..Samples::default() };
    let options = TestOptions { samples, ..options() };
    // One of its procedures never ends by itself.
    fails(&ledger, &options, "arguments", &["ledger.spin", "fuel_limit of 2000000"]);
    fails(&ledger, &options, "read-only", &[]);
}

#[test]
fn observers_that_are_good_pass() {
    let more = format!("{PATIENT}{}", in_mood("good"));
    passes(&placed("moody", "observer", MOODY, &more), &options(), &[]);
    passes(&shipped("prometheus"), &options(), &[]);
}

#[test]
fn an_observer_fails_the_check_that_is_about_what_is_wrong_with_it() {
    for (mood, check, words) in [
        ("trap", "batches", "in no mood for telemetry"),
        ("sleep", "batches", "fuel_limit"),
        ("bomb", "batches", "memory"),
        ("mute", "reload", "that is lost"),
        ("deaf", "reload", "in no mood to listen"),
    ] {
        let limits = "[resources]\nfuel_limit = 100_000_000\ntimeout_ms = 60_000\n";
        let more = format!("{limits}{}", in_mood(mood));
        fails(&placed("moody", "observer", MOODY, &more), &options(), check, &[words]);
    }
}

#[test]
fn limits_name_the_calls_that_met_them() {
    let more =
        format!("[resources]\nfuel_limit = 1_000_000\ntimeout_ms = 60_000\n{}", in_mood("sleep"));
    let moody = placed("moody", "observer", MOODY, &more);
    let only = ["batches", "limits"].map(str::to_owned).to_vec();
    let options = TestOptions { only, ..options() };
    let report = conformance::test(&moody.manifest, &options, &mut |_| {}).unwrap();
    let failed: Vec<_> = report.failed().map(|check| check.name).collect();
    assert_eq!(failed, ["batches", "limits"], "{report}");
    assert!(report.failed().nth(1).unwrap().detail.contains("ingest"), "{report}");
    assert_eq!(report.usage.functions["ingest"].fuel_max, 1_000_000);
}

#[test]
fn checks_that_do_not_exist_are_refused_by_name() {
    let options = TestOptions { only: vec!["round-trips".to_owned()], ..options() };
    let plugin = placed("identity", "codec", IDENTITY, "");
    let error = conformance::test(&plugin.manifest, &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("'round-trips'") && error.contains("round-trip, damage"), "{error}");
}

#[test]
fn the_command_tells_people_and_programs_and_fails_when_a_check_does() {
    let work = Workplace::new();
    work.file("good/fickle.wasm", FICKLE);
    work.file("good/fickle.toml", manifest("fickle", "codec", PATIENT));
    let said = work.ok(&["plugin", "test", "good", "--only", "damage", "--seed", "7"]);
    assert!(said.starts_with("fickle 1.0.0, kind codec, seed 7\n"), "{said}");
    assert!(said.contains("passed   damage") && said.contains("decompress"), "{said}");

    let more = "[config_schema]\nmood = { type = \"text\" }\n[config]\nmood = \"slices\"\n";
    work.file("good/bad.toml", manifest("fickle", "codec", &format!("{PATIENT}{more}")));
    work.refused(&["plugin", "test", "good"], 2, &["several manifests", "bad.toml"]);
    work.refused(&["plugin", "test", "none"], 3, &["none"]);
    work.refused(&["plugin", "test", "good/bad.toml", "--only", "x"], 2, &["no check 'x'"]);
    let args = ["plugin", "test", "good/bad.toml", "--only", "damage", "--seed", "7", "--json"];
    let ended = work.run(&args);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("fails 1 of 2 checks: damage"), "{}", ended.err);
    assert!(ended.err.contains("--only damage --seed 7"), "{}", ended.err);
    let report: Json = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["ok"], &report["report"]["seed"]), (&json!(false), &json!(7)));
    let damage = &report["report"]["checks"][1];
    assert_eq!((&damage["name"], &damage["verdict"]), (&json!("damage"), &json!("failed")));
    assert_eq!(work.run(&args).out.len() / 100, ended.out.len() / 100, "the same seed, the same");
}

#[test]
fn the_command_reads_samples() {
    let work = Workplace::new();
    work.file("teller/teller.wasm", TELLER);
    let more = format!("{COUNTERS}{PATIENT}{}", in_mood("good"));
    work.file("teller/teller.toml", manifest("teller", "procedure", &more));
    let calls = |answer: u64| {
        json!({ "calls": [{ "procedure": "version", "answer": { "version": answer } }] })
            .to_string()
    };
    work.file("teller/samples.json", calls(7));
    work.ok(&["plugin", "test", "teller", "--only", "samples"]);
    work.file("other.json", calls(8));
    let args = ["plugin", "test", "teller", "--only", "samples", "--samples", "other.json"];
    let ended = work.run(&args);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("answers {\"version\":7}, not {\"version\":8}"), "{}", ended.out);
    work.file("other.json", "{\"call\": []}");
    work.refused(&args, 2, &["other.json", "unknown field `call`"]);
}

/// That every kind has figures; how large they are depends on the machine.
#[test]
fn every_kind_is_measured_beside_what_is_shipped() {
    let work = Workplace::new();
    let guests = [
        ("identity", "codec", IDENTITY, String::new(), "lz4", "compress words"),
        ("shelf", "storage", SHELF, in_mood("good"), "lscs", "scan"),
        ("nearest", "index", NEAREST, String::new(), "hnsw", "recall@10"),
        ("moody", "observer", MOODY, in_mood("good"), "prometheus", "take 200 metrics"),
        (
            "stamper",
            "hooks",
            STAMPER,
            format!("{STAMPED}{}", in_mood("good")),
            "no hooks",
            "write 100",
        ),
        (
            "teller",
            "procedure",
            TELLER,
            format!("{COUNTERS}{}", in_mood("good")),
            "an empty transaction",
            "teller.version",
        ),
    ];
    for (name, kind, component, more, beside, figure) in guests {
        work.file(&format!("{name}.wasm"), component);
        let file = format!("{name}.toml");
        let more = match more.contains("[hooks]") || more.contains("[capabilities]") {
            true => more.replace("[config_schema]", &format!("{PATIENT}[config_schema]")),
            false => format!("{PATIENT}{more}"),
        };
        work.file(&file, manifest(name, kind, &more));
        let said = work.ok(&["plugin", "bench", &file, "--turn-ms", "1", "--json"]);
        let said: Json = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["plugin"], &said["beside"]), (&json!(name), &json!(beside)), "{said}");
        let figures = said["figures"].as_array().unwrap();
        let found =
            figures.iter().find(|found| found["name"].as_str().unwrap().starts_with(figure));
        let found = found.unwrap_or_else(|| panic!("{said:#}"));
        assert!(found["value"].as_f64().unwrap() > 0.0, "{found}");
    }
    let said = work.ok(&["plugin", "bench", "identity.toml", "--turn-ms", "1"]);
    assert!(
        said.contains("identity 1.0.0, kind codec, beside lz4") && said.contains("ratio"),
        "{said}"
    );
}
