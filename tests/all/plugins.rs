//! Plugins as a user of the command meets them: installed, called, inspected, removed, refused.

use crate::program::{Ended, Workplace};
use serde_json::{Value, json};
use sochdb::plugin::PluginManager;
use sochdb::{KernelError, PluginFault, PluginHost};
use sochdb_test_guests::{GUARD, IDENTITY, LEDGER, manifest};
use std::fs;
use std::process::Stdio;

const GUARD_GRANT: &str = "[capabilities]\n\
    can_read_table = [\"guarded\"]\n\
    can_write_table = [\"guarded\", \"audit\"]\n\
    [hooks]\ntables = [\"guarded\"]\nbefore = [\"insert\", \"update\", \"delete\"]\n";
const LEDGER_GRANT: &str = "[capabilities]\n\
    can_read_table = [\"accounts\"]\ncan_write_table = [\"accounts\"]\ncodecs = [\"identity\"]\n";

/// A plugin's component and its manifest, in the test's directory.
fn place(work: &Workplace, name: &str, kind: &str, component: &[u8], more: &str) -> String {
    work.file(&format!("{name}.wasm"), component);
    let file = format!("{name}.toml");
    work.file(&file, manifest(name, kind, more));
    file
}

/// A database with `guard`, `identity` and `ledger` installed, and the tables they are about.
fn installed() -> Workplace {
    let work = Workplace::new();
    for (name, kind, component, more) in [
        ("guard", "hooks", GUARD, GUARD_GRANT),
        ("identity", "codec", IDENTITY, ""),
        ("ledger", "procedure", LEDGER, LEDGER_GRANT),
    ] {
        let file = place(&work, name, kind, component, more);
        let said = work.ok(&["plugin", "install", &file]);
        assert_eq!(said, format!("installed '{name}', blake3 {}\n", blake3::hash(component)));
        // From now on the database has it.
        fs::remove_file(work.path(&file)).unwrap();
        fs::remove_file(work.path(&format!("{name}.wasm"))).unwrap();
    }
    for table in ["accounts", "audit", "guarded"] {
        work.ok(&["table", "create", table]);
    }
    work.ok(&["put", "accounts", "ada", "100"]);
    work
}

/// Runs what must fail with `code`, saying all of `words`, whatever it leaves on disk.
#[track_caller]
fn fails(work: &Workplace, args: &[&str], code: i32, words: &[&str]) -> Ended {
    let ended = work.run(args);
    assert_eq!(ended.code, code, "sochdb {args:?}\n{}{}", ended.out, ended.err);
    assert!(ended.err.starts_with("error: "), "sochdb {args:?}\n{}", ended.err);
    for word in words {
        assert!(ended.err.contains(word), "sochdb {args:?} says no '{word}':\n{}", ended.err);
    }
    ended
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn rows(work: &Workplace, table: &str) -> Vec<String> {
    work.ok(&["scan", table, "--json"]).lines().map(str::to_owned).collect()
}

#[test]
fn procedures_are_listed_for_people_and_programs() {
    let work = Workplace::new();
    work.ok(&["table", "create", "accounts"]);
    assert!(work.ok(&["call"]).contains("No plugin of this database has procedures"));
    assert_eq!(parse(&work.ok(&["call", "--json"])), json!({ "procedures": [] }));
    let work = installed();
    let text = work.ok(&["call"]);
    for (procedure, writes) in [("ledger.transfer ", "yes"), ("ledger.sum ", "no")] {
        let line =
            text.lines().find(|line| line.contains(procedure)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(writes), "{text}");
    }
    let list = parse(&work.ok(&["call", "--json"]));
    let all = list["procedures"].as_array().unwrap();
    let transfer = all.iter().find(|each| each["name"] == "transfer").unwrap();
    assert_eq!((&transfer["plugin"], &transfer["read_only"]), (&json!("ledger"), &json!(false)));
    assert_eq!(transfer["args"]["required"], json!(["from", "to", "amount"]));
}

#[test]
fn a_call_commits_when_it_succeeds_and_leaves_no_trace_when_it_fails() {
    let work = installed();
    let transfer = r#"{"from": "ada", "to": "alan", "amount": 70}"#;
    assert_eq!(work.ok(&["call", "transfer", transfer]), "{\"left\":30}\n");
    let after = ["{\"key\":\"ada\",\"value\":\"30\"}", "{\"key\":\"alan\",\"value\":\"70\"}"];
    assert_eq!(rows(&work, "accounts"), after);
    let said =
        fails(&work, &["call", "ledger.transfer", transfer], 6, &["the account would have -40"]);
    assert!(said.err.contains("'ledger'"), "{}", said.err);
    assert_eq!(rows(&work, "accounts"), after);
    for json in [None, Some("--json")] {
        let args: Vec<_> = ["call", "sum"].into_iter().chain(json).collect();
        assert_eq!(work.ok(&args), "{\"sum\":100,\"rows\":2}\n");
    }
    fails(&work, &["call", "get", r#"{"table": "audit", "key": "k"}"#], 6, &["was not granted"]);
    fails(&work, &["call", "ledger.no-such"], 3, &["no-such"]);
    fails(&work, &["call", "nobody.sum"], 6, &["nobody"]);
    fails(&work, &["call", "transfer", "[]"], 6, &["is no integer"]);
}

#[test]
fn arguments_are_json_from_the_line_or_standard_input() {
    let work = installed();
    for bad in ["{", "{\"a\": 1} 2", "", "ada"] {
        work.refused(&["call", "sum", bad], 2, &["are no JSON", "help: ", "single quotes"]);
    }
    let args = br#"{"from": "ada", "to": "alan", "amount": 1}"#;
    let ended = work.run_with(&["call", "transfer", "-"], args);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "{\"left\":99}\n", ""));
    let ended = work.run_with(&["call", "transfer", "-"], b"{");
    assert_eq!(ended.code, 2, "{}", ended.err);
    let ended = work.run_with(&["call", "transfer", "-"], b"\xff\xfe");
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert_eq!(rows(&work, "accounts").len(), 2);
}

#[test]
fn hooks_of_an_installed_plugin_are_asked_whoever_writes() {
    let work = installed();
    work.ok(&["put", "guarded", "plain", "x"]);
    work.ok(&["put", "guarded", "skip/a", "x"]);
    fails(&work, &["put", "guarded", "abort/a", "x"], 6, &["guarded is not wanted"]);
    fails(&work, &["put", "guarded", "trap", "x"], 6, &["'guard'", "as the key says"]);
    work.refused(&["get", "guarded", "skip/a"], 3, &["no row"]);

    let line = |key: &str| format!("{{\"key\": \"{key}\", \"value\": \"a\"}}\n");
    work.file("rows.jsonl", line("audit/1") + &line("skip/2"));
    work.ok(&["import", "rows.jsonl", "--table", "guarded"]);
    assert_eq!(rows(&work, "guarded").len(), 2, "plain and audit/1");
    assert_eq!(rows(&work, "audit").len(), 1);
    work.file("bad.jsonl", line("fine") + &line("abort/2"));
    fails(&work, &["import", "bad.jsonl", "--table", "guarded"], 6, &["guarded is not wanted"]);
    assert_eq!(rows(&work, "guarded").len(), 2, "nothing of the batch");

    work.ok(&["delete", "guarded", "audit/1"]);
    assert!(rows(&work, "audit")[0].contains("Delete Some"), "{:?}", rows(&work, "audit"));
    assert_eq!(rows(&work, "guarded").len(), 1);
}

#[test]
fn a_backup_carries_its_plugins() {
    let work = installed();
    work.ok(&["table", "create", "packed", "--codec", "identity"]);
    work.ok(&["put", "packed", "k", &"large ".repeat(3000)]);
    work.ok(&["backup", "copy"]);
    work.ok(&["--db", "again", "restore", "copy"]);
    for db in ["copy", "again"] {
        assert_eq!(work.ok(&["--db", db, "call", "sum"]), "{\"sum\":100,\"rows\":1}\n");
        assert!(work.ok(&["--db", db, "get", "packed", "k"]).starts_with("large large"));
        fails(&work, &["--db", db, "put", "guarded", "abort/a", "x"], 6, &["not wanted"]);
        assert!(work.ok(&["--db", db, "check"]).ends_with("no problems\n"));
    }
    let transfer = r#"{"from": "ada", "to": "alan", "amount": 70}"#;
    assert_eq!(work.ok(&["--db", "again", "call", "transfer", transfer]), "{\"left\":30}\n");
    assert_eq!(rows(&work, "accounts").len(), 1, "the original is another database");
}

#[test]
fn a_plugin_that_tables_need_cannot_be_removed() {
    let work = installed();
    for table in ["packed", "parcels"] {
        work.ok(&["table", "create", table, "--codec", "identity"]);
    }
    work.refused(&["plugin", "remove", "identity"], 2, &["'identity'", "packed, parcels"]);
    work.ok(&["table", "drop", "packed"]);
    work.ok(&["table", "drop", "parcels"]);
    assert_eq!(work.ok(&["plugin", "remove", "identity"]), "removed 'identity'\n");
    work.refused(&["plugin", "remove", "identity"], 3, &["identity"]);
    work.refused(&["plugin", "remove", "lz4"], 3, &["lz4"]);
    fails(&work, &["table", "create", "packed", "--codec", "identity"], 6, &["identity"]);

    let removed = parse(&work.ok(&["plugin", "remove", "guard", "--json"]));
    assert_eq!(removed, json!({ "removed": "guard" }));
    work.ok(&["put", "guarded", "abort/a", "x"]);
    work.ok(&["plugin", "remove", "ledger"]);
    fails(&work, &["call", "sum"], 3, &["sum"]);
    assert_eq!(rows(&work, "accounts").len(), 1, "rows stay");
}

#[test]
fn what_the_database_keeps_is_listed_with_the_others() {
    let work = installed();
    let list = parse(&work.ok(&["plugin", "list", "--json"]));
    let sources = |list: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let plugins = list["plugins"].as_array().unwrap().iter();
        plugins.map(|plugin| (text(&plugin["name"]), text(&plugin["source"]))).collect()
    };
    let kept = |name: &str| (name.to_owned(), "kept in the database".to_owned());
    for name in ["guard", "identity", "ledger"] {
        assert!(sources(&list).contains(&kept(name)), "{name}: {list:#}");
    }
    assert!(sources(&list).contains(&("lz4".to_owned(), "bundled".to_owned())), "{list:#}");
    let shown = work.ok(&["plugin", "inspect", "ledger"]);
    assert!(shown.contains("kept in the database") && shown.contains("can_read_table"), "{shown}");
    // A plugin of a folder comes before one that is kept.
    work.file("folder/ledger.wasm", LEDGER);
    work.file("folder/ledger.toml", manifest("ledger", "procedure", LEDGER_GRANT));
    let list = parse(&work.ok(&["--plugin-dir", "folder", "plugin", "list", "--json"]));
    assert!(sources(&list).contains(&("ledger".to_owned(), "folder/ledger.toml".to_owned())));
    work.ok(&["plugin", "remove", "ledger"]);
    work.refused(&["plugin", "inspect", "ledger"], 3, &["no plugin named 'ledger'"]);
}

#[test]
fn a_plugin_installed_again_is_replaced() {
    let work = installed();
    let said = place(&work, "ledger", "procedure", LEDGER, "[capabilities]\n");
    let json = parse(&work.ok(&["plugin", "install", &said, "--json"]));
    let hash = blake3::hash(LEDGER).to_string();
    assert_eq!((&json["installed"], &json["blake3"]), (&json!("ledger"), &json!(hash)));
    assert_eq!(json["replaced"], json!({ "version": "1.0.0", "blake3": hash }));
    assert!(json["changed"] == true && json["trial"].is_object(), "{json}");
    fails(&work, &["call", "sum"], 6, &["was not granted"]);
    let other = place(&work, "ledger", "codec", IDENTITY, "");
    // Who tried is on record, so something does change.
    fails(&work, &["plugin", "install", &other], 2, &["'procedure' is already called 'ledger'"]);
}

/// The manifest of `ledger` as version `version`, with `grant`.
fn ledger(version: &str, grant: &str) -> String {
    let text = manifest("ledger", "procedure", grant);
    text.replace("\nversion = \"1.0.0\"", &format!("\nversion = \"{version}\""))
}

#[test]
fn a_manifest_is_checked_with_all_that_is_beside_it_and_no_database_is_made() {
    let work = Workplace::new();
    let file = place(&work, "ledger", "procedure", LEDGER, LEDGER_GRANT);
    let text = work.ok(&["plugin", "check", &file]);
    for word in ["no mistakes", "ledger 1.0.0", "not pinned", "none", "passed", "can_read_table"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    let found = parse(&work.ok(&["plugin", "check", &file, "--json"]));
    assert_eq!((&found["ok"], &found["pinned"]), (&json!(true), &json!(false)), "{found}");
    assert_eq!((&found["signed"], &found["signer"]), (&json!(false), &json!(null)));
    assert_eq!(found["plugin"]["blake3"], blake3::hash(LEDGER).to_string());
    work.file("policy.toml", "[allow]\ncan_write_table = []\n");
    let narrow = parse(&work.ok(&["plugin", "check", &file, "--json", "--policy", "policy.toml"]));
    assert_eq!(narrow["plugin"]["grant"]["can_write_table"]["granted"], json!([]));

    let pinned = |name: &str, hash: &str| {
        let text = manifest(name, "procedure", "");
        let path = format!("path = \"{name}.wasm\"");
        work.file(
            &format!("{name}.toml"),
            text.replace(&path, &format!("path = \"ledger.wasm\"\nblake3 = \"{hash}\"")),
        );
        format!("{name}.toml")
    };
    let right = pinned("right", &blake3::hash(LEDGER).to_string());
    assert!(work.ok(&["plugin", "check", &right]).contains("as the manifest pins it"));
    let wrong = pinned("wrong", &blake3::hash(IDENTITY).to_string());
    work.refused(&["plugin", "check", &wrong], 6, &["'wrong'", "its manifest pins"]);
    work.file("typo.toml", manifest("typo", "codec", "[resources]\nfule_limit = 1\n"));
    work.refused(&["plugin", "check", "typo.toml"], 2, &["typo.toml:11:1", "'fuel_limit'"]);
    work.file("alone.toml", manifest("alone", "codec", ""));
    work.refused(&["plugin", "check", "alone.toml"], 3, &["alone.wasm"]);
    work.refused(&["plugin", "check", "nowhere.toml"], 3, &["nowhere.toml"]);
    work.refused(&["plugin", "check"], 2, &["MANIFEST"]);
    assert!(!work.db().exists());
}

#[test]
fn editors_get_the_schemas_of_manifests_and_policies() {
    let work = Workplace::new();
    for (flag, key) in [("--schema", "module"), ("--policy-schema", "allow")] {
        let schema = parse(&work.ok(&["plugin", "check", flag]));
        assert!(schema["$schema"].is_string(), "{flag}");
        assert!(schema["properties"][key].is_object(), "{flag} knows '{key}'");
    }
    work.refused(&["plugin", "check", "--schema", "--policy-schema"], 2, &["--policy-schema"]);
}

/// Of each candidate for the plugin `name`: where it comes from, how it stands, and why.
fn candidates(work: &Workplace, more: &[&str], name: &str) -> Vec<[String; 3]> {
    let list = parse(&work.ok(&[&["plugin", "list", "--why", "--json"], more].concat()));
    let plugin = list["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == name);
    let candidates =
        plugin.unwrap_or_else(|| panic!("no {name} in {list:#}"))["candidates"].clone();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let of = |one: &Value| ["from", "standing", "why"].map(|key| text(one, key));
    candidates.as_array().unwrap().iter().map(of).collect()
}

#[test]
fn every_candidate_for_a_name_is_shown_with_what_keeps_it_from_serving() {
    let work = installed();
    for folder in ["db/plugins", "folder"] {
        work.file(&format!("{folder}/ledger.wasm"), LEDGER);
        work.file(&format!("{folder}/ledger.toml"), ledger("1.1.0", LEDGER_GRANT));
    }
    let own = work.path("db/plugins/ledger.toml").display().to_string();
    let given = ["--plugin-dir", "folder"];
    let line = |from: &str, standing: &str, why: &str| [from, standing, why].map(str::to_owned);
    assert_eq!(
        candidates(&work, &given, "ledger"),
        [
            line("folder/ledger.toml", "serves", ""),
            line(&own, "shadowed", "by folder/ledger.toml"),
            line("kept in the database", "shadowed", "by folder/ledger.toml"),
        ]
    );
    assert_eq!(candidates(&work, &given, "lz4"), [line("bundled", "serves", "")]);
    let [sleeper] = &candidates(&work, &given, "jsonlog")[..] else { panic!("one") };
    assert!(sleeper[1] == "sleeps" && sleeper[2].contains("directories"), "{sleeper:?}");
    work.file("folder/ledger.toml", ledger("1.1.0", "[resources]\nfule_limit = 1\n"));
    let [bad, other, kept] = &candidates(&work, &given, "ledger")[..] else { panic!("three") };
    assert!(bad[1] == "unloadable" && bad[2].contains("folder/ledger.toml:11:1"), "{bad:?}");
    assert_eq!((&*kept[1], &*other[1]), ("serves", "shadowed"));
    let text = work.ok(&["plugin", "list", "--why"]);
    for word in ["serves", "shadowed: by", "sleeps: until", "kept in the database"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    work.ok(&["plugin", "disable", "guard"]);
    let [guard] = &candidates(&work, &[], "guard")[..] else { panic!("one") };
    assert_eq!(guard[1], "disabled");
    // A database that is not there has what it would have.
    assert_eq!(candidates(&work, &["--db", "none"], "lz4"), [line("bundled", "serves", "")]);
    assert!(!work.path("none").exists());
}

#[test]
fn a_plugin_is_replaced_by_one_that_may_do_more_only_when_somebody_says_so() {
    let work = installed();
    let more = LEDGER_GRANT.replace("can_read_table = [\"accounts\"", "can_read_table = [\"*\"");
    work.file("ledger.wasm", LEDGER);
    work.file("ledger.toml", ledger("1.1.0", &more));
    let install = ["plugin", "install", "ledger.toml"];
    fails(&work, &install, 6, &["may do more than version 1.0.0", "can_read_table", "--widen"]);
    let said = work.ok(&["plugin", "reload", "ledger.toml", "--widen"]);
    assert!(said.starts_with("installed 'ledger', version 1.0.0 to 1.1.0, blake3 "), "{said}");
    assert!(said.contains("it was tried first: "), "{said}");
    assert_eq!(work.ok(&install), "'ledger' 1.1.0 is what is there already\n");
    assert_eq!(parse(&work.ok(&[&install[..], &["--json"]].concat()))["changed"], false);

    let history = |args: &[&str]| -> Vec<Value> {
        let all = work.ok(&[&["plugin", "history", "--json"], args].concat());
        all.lines().map(parse).collect()
    };
    let [newest, refused, added] = &history(&["ledger"])[..] else { panic!("three") };
    assert_eq!(
        (&newest["outcome"], &newest["to"]["version"]),
        (&json!("serving"), &json!("1.1.0"))
    );
    assert_eq!(refused["outcome"], "rolled_back");
    assert!(refused["reason"].as_str().unwrap().contains("--widen"), "{refused}");
    assert_eq!((&added["outcome"], &added["asked_by"]), (&json!("added"), &json!("command")));
    assert_eq!(history(&[]).len(), 5, "guard and identity were added, too");
    assert_eq!(history(&["--limit", "1"])[0], *newest);
    assert!(history(&["nobody"]).is_empty());
    let text = work.ok(&["plugin", "history"]);
    for word in ["outcome", "added", "rolled back", "serving", "1.1.0"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    let text = work.ok(&["plugin", "history", "ledger", "--steps"]);
    for state in ["preparing", "canary", "swapping", "draining", "probation", "active"] {
        assert!(text.contains(state), "no '{state}' in\n{text}");
    }
    assert!(work.ok(&["plugin", "history", "nobody"]).contains("'nobody'"));
    work.refused(&["--db", "none", "plugin", "history"], 3, &["'none'", "help: "]);
}

#[test]
fn a_disabled_plugin_serves_nobody_until_it_is_enabled() {
    let work = installed();
    let put = ["put", "guarded", "abort/a", "x"];
    fails(&work, &put, 6, &["not wanted"]);
    let said = work.ok(&["plugin", "disable", "guard"]);
    assert_eq!(said, "disabled 'guard'; `sochdb plugin enable guard` undoes it\n");
    work.ok(&put);
    assert!(work.ok(&["plugin", "list"]).contains("guard (disabled)"));
    let list = parse(&work.ok(&["plugin", "list", "--json"]));
    for plugin in list["plugins"].as_array().unwrap() {
        assert_eq!(plugin["disabled"], plugin["name"] == "guard", "{plugin}");
    }
    assert_eq!(work.ok(&["plugin", "enable", "guard"]), "enabled 'guard'\n");
    fails(&work, &put, 6, &["not wanted"]);
    work.refused(&["plugin", "enable", "guard"], 3, &["'guard' is not disabled"]);
    work.refused(&["plugin", "disable", "nobody"], 3, &["nobody"]);
    work.ok(&["table", "create", "packed", "--codec", "identity"]);
    work.refused(&["plugin", "disable", "identity"], 2, &["'identity'", "packed"]);
    let newest = work.ok(&["plugin", "history", "guard", "--limit", "2", "--json"]);
    let outcomes: Vec<Value> = newest.lines().map(|line| parse(line)["outcome"].clone()).collect();
    assert_eq!(outcomes, ["enabled", "disabled"]);
}

#[test]
fn a_plugin_that_works_no_longer_can_be_removed_and_does_not_keep_a_backup_from_being_made() {
    let work = installed();
    work.file("poor.toml", "[plugin.ledger.limits]\nmemory_limit_mb = 1\n");
    let poor = |args: &[&'static str]| [&["--policy", "poor.toml"], args].concat();
    work.refused(&poor(&["call", "sum"]), 6, &["'ledger'", "memory_limit_mb"]);
    work.ok(&poor(&["backup", "copy"]));
    assert_eq!(work.ok(&["--db", "copy", "call", "sum"]), "{\"sum\":100,\"rows\":1}\n");
    work.ok(&poor(&["plugin", "remove", "ledger"]));
    assert_eq!(work.ok(&poor(&["get", "accounts", "ada"])), "100\n");
}

#[test]
fn a_policy_narrows_what_an_installed_plugin_may() {
    let work = installed();
    work.file(
        "policy.toml",
        "[plugin.ledger.allow]\ncan_read_table = [\"accounts\"]\ncan_write_table = []\n",
    );
    let transfer = r#"{"from": "ada", "to": "alan", "amount": 70}"#;
    let policy = ["--policy", "policy.toml"];
    assert_eq!(work.ok(&[&policy[..], &["call", "sum"]].concat()), "{\"sum\":100,\"rows\":1}\n");
    let denied = [&policy[..], &["call", "transfer", transfer]].concat();
    fails(&work, &denied, 6, &["writing the table", "was not granted"]);
    assert_eq!(rows(&work, "accounts").len(), 1);
    work.file("poor.toml", "[plugin.ledger.limits]\nfuel_limit = 1_000_000\n");
    let write = r#"{"table": "accounts", "rows": 20000}"#;
    let poor = ["--policy", "poor.toml", "call", "write-many", write];
    fails(&work, &poor, 6, &["fuel_limit"]);
    assert_eq!(rows(&work, "accounts").len(), 1);
    work.file("slow.toml", "[plugin.ledger.limits]\ntimeout_ms = 50\n");
    fails(&work, &["--policy", "slow.toml", "call", "spin"], 6, &["timeout_ms"]);
}

#[test]
fn what_cannot_be_a_plugin_is_refused_and_changes_nothing() {
    let work = installed();
    let module = wat::parse_str("(module)").unwrap();
    let place = |component: &[u8]| place(&work, "hostile", "codec", component, "");
    for (component, words) in [
        (&b"#!/bin/sh\n"[..], "not WebAssembly"),
        (&module, "is a WebAssembly module, not a component"),
        (&IDENTITY[..IDENTITY.len() / 2], "not a valid component"),
    ] {
        let file = place(component);
        work.refused(&["plugin", "install", &file], 2, &["hostile.wasm", words]);
    }
    let wants =
        wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#).unwrap();
    let file = place(&wants);
    work.refused(&["plugin", "install", &file], 6, &["wasi:http/types@0.2.0", "cannot be granted"]);
    work.refused(&["plugin", "install", "nowhere.toml"], 3, &["nowhere.toml"]);
    // Nor is a database made for it.
    work.refused(&["--db", "none", "plugin", "install", &file], 6, &["cannot be granted"]);
    for args in [&["call", "sum"][..], &["call"], &["plugin", "remove", "ledger"]] {
        work.refused(&[&["--db", "none"], args].concat(), 3, &["'none'", "help: ", "--db"]);
    }
    work.file("typo.toml", manifest("typo", "codec", "[resources]\nfule_limit = 1\n"));
    work.refused(&["plugin", "install", "typo.toml"], 2, &["typo.toml:", "'fuel_limit'"]);
    let link = work.path("link.wasm");
    #[cfg(unix)]
    {
        work.file("real.wasm", IDENTITY);
        std::os::unix::fs::symlink("real.wasm", &link).unwrap();
        work.file("link.toml", manifest("link", "codec", ""));
        work.refused(&["plugin", "install", "link.toml"], 2, &["links are not followed"]);
    }
    assert_eq!(parse(&work.ok(&["call", "--json"]))["procedures"][0]["plugin"], "ledger");
}

/// A component of one module with a function whose body takes a compiler very long.
fn bomb() -> Vec<u8> {
    let depth = 180_000;
    let body = format!("{}{}", "block ".repeat(depth), "end ".repeat(depth));
    let text = format!("(component (core module (func {body})))");
    wat::parse_str(text).expect("what nobody compiles still parses")
}

#[test]
fn a_component_that_would_keep_the_compiler_busy_is_bounded() {
    let work = installed();
    let file = place(&work, "hostile", "codec", &bomb(), "");
    let began = std::time::Instant::now();
    let words = ["the bytes of a function", "the bound is"];
    let said = work.refused(&["plugin", "install", &file], 2, &words);
    let took = began.elapsed();
    assert!(took.as_secs() < 20, "{took:?}: {said}");
    work.refused(&["plugin", "inspect", "hostile.wasm"], 2, &words);
}

/// The component as if it had been built for version 0.2.0: all of it, or what it exports as `only`.
fn built_for_the_next_version(component: &[u8], only: Option<&str>) -> Vec<u8> {
    let (all, next) = (&b"@0.1.0"[..], b"@0.2.0");
    let mut bytes = component.to_vec();
    for at in 0..bytes.len() - all.len() {
        let before = String::from_utf8_lossy(&component[at.saturating_sub(40)..at]);
        let is_ours = before
            .rsplit("sochdb:plugin/")
            .next()
            .is_some_and(|name| name.len() < before.len() && only.is_none_or(|only| name == only));
        if is_ours && bytes[at..].starts_with(all) {
            bytes[at..at + next.len()].copy_from_slice(next);
        }
    }
    assert_ne!(bytes, component);
    bytes
}

#[test]
fn a_plugin_for_another_version_of_the_contract_is_told_what_to_do() {
    let all = built_for_the_next_version(IDENTITY, None);
    let export = built_for_the_next_version(IDENTITY, Some("codec"));
    let unknown = wat::parse_str(
        r#"(component (import "sochdb:plugin/streams@0.2.0" (instance)) (instance $empty)
            (export "sochdb:plugin/lifecycle@0.2.0" (instance $empty)))"#,
    );
    for (component, what) in [
        (all, "imports sochdb:plugin/"),
        (export, "exports sochdb:plugin/codec@0.2.0"),
        (unknown.unwrap(), "imports sochdb:plugin/streams@0.2.0"),
    ] {
        let work = Workplace::new();
        let file = place(&work, "newer", "codec", &component, "");
        let words = [
            what,
            "@0.2.0: it was built for version 0.2.0 of sochdb:plugin",
            "this host speaks 0.1.0",
            "build the plugin with sochdb-guest 0.1.0, or use a host that speaks its version",
        ];
        let plugins = PluginManager::default();
        let loaded = PluginHost::new().unwrap().load_manifest(&work.path(&file), &plugins);
        let error = loaded.unwrap_err();
        let KernelError::Plugin { plugin, fault: PluginFault::Denied, message } = &error else {
            panic!("{error}")
        };
        assert_eq!(plugin, "newer");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(plugins.list().is_empty());
        for command in [&["plugin", "inspect", &file][..], &["plugin", "install", &file]] {
            fails(&work, command, 6, &words);
        }
        let text = work.ok(&["plugin", "inspect", "newer.wasm"]);
        let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unwrapped.contains("loadable no: it"), "{text}");
        let found = parse(&work.ok(&["plugin", "inspect", "newer.wasm", "--json"]));
        assert_eq!(found["loadable"], false);
        for word in words {
            assert!(found["refusal"].as_str().unwrap().contains(word), "{word:?}: {found}");
        }
    }
}

/// Whether the process `id` has started a compiler that is still running.
#[cfg(target_os = "linux")]
fn has_a_compiler(id: u32) -> bool {
    let parent = format!("PPid:\t{id}\n");
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    processes.map(|process| process.path()).any(|process| {
        let read = |name| fs::read_to_string(process.join(name)).unwrap_or_default();
        read("status").contains(&parent) && read("cmdline").contains("compile-component")
    })
}

#[test]
#[cfg(target_os = "linux")]
fn a_component_from_a_file_is_compiled_once_and_in_a_process_of_its_own() {
    let work = Workplace::new();
    let file = place(&work, "ledger", "procedure", LEDGER, LEDGER_GRANT);
    let install = || {
        let mut command = work.command(&["plugin", "install", &file]);
        command.env("XDG_CACHE_HOME", work.path("cache")).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut has_compiled = false;
        let status = loop {
            has_compiled |= has_a_compiler(child.id());
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert!(status.success());
        has_compiled
    };
    assert!(install(), "it was compiled in another process");
    assert!(!install(), "what was compiled is kept");
}

#[test]
fn each_call_can_be_seen() {
    let work = installed();
    let run = |wanted: &str| {
        let mut command = work.command(&["call", "sum"]);
        let output = command.env("RUST_LOG", wanted).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"sum\":100,\"rows\":1}\n");
        String::from_utf8(output.stderr).unwrap()
    };
    let lines = run("sochdb::plugin=trace");
    let call = lines.lines().find(|line| {
        line.contains("TRACE") && line.contains("ledger") && line.contains("function=\"call\"")
    });
    assert!(call.is_some_and(|line| line.contains("fuel=") && line.contains("micros=")), "{lines}");
    assert!(!run("sochdb::plugin=info").contains("TRACE"));
    assert_eq!(run("off"), "");
    let mut command = work.command(&["call", "sum"]);
    let output = command.env("RUST_LOG", "sochdb=loud").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("RUST_LOG=sochdb=loud makes no sense") && said.contains("help: "),
        "{said}"
    );
}

/// The records of the audit trail as a program reads them.
fn audited(work: &Workplace, args: &[&str]) -> Vec<Value> {
    work.ok(&[&["audit", "--json"], args].concat()).lines().map(parse).collect()
}

#[test]
fn what_plugins_did_is_on_record() {
    let work = Workplace::new();
    work.ok(&["table", "create", "accounts"]);
    assert!(audited(&work, &[]).is_empty());
    work.refused(&["--db", "none", "audit"], 3, &["was audited", "help: "]);
    let work = installed();
    let transfer = r#"{"from": "ada", "to": "alan", "amount": 70}"#;
    work.ok(&["call", "transfer", transfer]);
    fails(&work, &["call", "get", r#"{"table": "audit", "key": "k"}"#], 6, &["was not granted"]);
    work.ok(&["put", "guarded", "plain", "x"]);

    let records = audited(&work, &[]);
    let find = |plugin: &str, function: &str| {
        let is_it = |record: &&Value| record["plugin"] == plugin && record["function"] == function;
        records.iter().find(is_it).unwrap_or_else(|| panic!("no {function} in {records:#?}"))
    };
    let call = find("ledger", "call");
    assert_eq!((&call["kind"], &call["outcome"]), (&json!("call"), &json!("ok")));
    assert_eq!(call["object"], "transfer");
    assert!(0 < call["fuel"].as_u64().unwrap() && 0 < call["nanos"].as_u64().unwrap(), "{call}");
    let write = find("ledger", "rows.table.soch-write");
    assert_eq!((&write["object"], &write["rows"]), (&json!("accounts"), &json!(1)));
    assert_eq!(find("guard", "before")["object"], "guarded");
    assert!(!records.iter().any(|record| record["function"] == "self-test"));
    assert!(audited(&work, &["--all", "--limit", "1000"]).len() > records.len());
    assert_eq!(audited(&work, &["--limit", "1"]), records[records.len() - 1..]);
    assert!(
        audited(&work, &["--plugin", "guard"]).iter().all(|record| record["plugin"] == "guard")
    );

    let denied = audited(&work, &["--denied"]);
    assert!(denied.iter().all(|record| record["outcome"] == "denied"), "{denied:#?}");
    let opened = denied.iter().find(|record| record["kind"] == "import").expect("it was");
    assert_eq!((&opened["plugin"], &opened["object"]), (&json!("ledger"), &json!("audit")));
    // What a plugin has used is read from the same trail.
    let inspected = work.ok(&["plugin", "inspect", "ledger"]);
    assert!(inspected.contains("accounts ") && inspected.contains("audit denied"), "{inspected}");
    let text = work.ok(&["audit"]);
    assert!(text.contains("called:") && text.contains("denied"), "{text}");

    // Reading is not recorded, and a restored backup begins without a past.
    let before = audited(&work, &["--all", "--limit", "1000"]).len();
    work.ok(&["call"]);
    work.ok(&["scan", "guarded"]);
    assert_eq!(audited(&work, &["--all", "--limit", "1000"]).len(), before);
    work.ok(&["backup", "copy"]);
    work.refused(&["--db", "copy", "audit"], 3, &["was audited"]);
}
