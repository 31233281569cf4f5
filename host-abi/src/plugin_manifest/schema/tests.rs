//! The schemas against the manifests we ship, and against what the parsers refuse.

use super::*;
use crate::policy::Policy;
use expect_test::expect_file;
use jsonschema::Validator;
use std::path::Path;

const HEAD: &str = "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nkind = \"KIND\"\n\
    min_kernel_version = \"0.1.0\"\n[module]\npath = \"p.wasm\"\n[exports]\ninterfaces = INTERFACES\n";

fn of_kind(kind: PluginKind, rest: &str) -> String {
    let head = HEAD.replace("KIND", &kind.to_string());
    format!("{}{rest}", head.replace("INTERFACES", &format!("{:?}", kind.interfaces())))
}

/// Whether the schema, and whether the parser takes it.
fn manifest_verdicts(schema: &Validator, text: &str) -> (bool, bool) {
    let value: Value = toml::from_str(text).unwrap();
    (schema.is_valid(&value), PluginManifest::parse("p.toml", text).is_ok())
}

fn policy_verdicts(schema: &Validator, text: &str) -> (bool, bool) {
    let value: Value = toml::from_str(text).unwrap();
    (schema.is_valid(&value), Policy::parse("policy.toml", text).is_ok())
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft7::new(schema).unwrap()
}

#[test]
fn the_schemas_in_the_repository_are_those_of_the_types() {
    let text = |schema: &Value| serde_json::to_string_pretty(schema).unwrap() + "\n";
    expect_file!["../../../../manifests/plugin.schema.json"]
        .assert_eq(&text(&PluginManifest::json_schema()));
    expect_file!["../../../../manifests/policy.schema.json"]
        .assert_eq(&text(&Policy::json_schema()));
}

#[test]
fn every_field_is_described_and_of_a_type() {
    fn check(schema: &Value, path: &str) {
        for (key, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            assert!(
                field["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{path}"
            );
            assert!(!field["type"].is_null() || !field["oneOf"].is_null(), "{path}");
            check(field, &path);
            check(&field["items"], &path);
            check(&field["additionalProperties"], &path);
        }
    }
    check(&PluginManifest::json_schema(), "manifest");
    check(&Policy::json_schema(), "policy");
}

#[test]
fn every_manifest_we_ship_names_the_schema_and_is_valid() {
    let schema = validator(&PluginManifest::json_schema());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let manifests = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut count = 0;
    for path in manifests {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#:schema plugin.schema.json\n"), "{}", path.display());
        assert_eq!(manifest_verdicts(&schema, &text), (true, true), "{}", path.display());
        count += 1;
    }
    assert!(9 <= count, "{count} manifests");
}

#[test]
fn schema_and_parser_take_what_each_kind_may_say() {
    let schema = validator(&PluginManifest::json_schema());
    for kind in PluginKind::ALL {
        let rest = match kind {
            PluginKind::Hooks => {
                "[hooks]\ntables = [\"shop/*\"]\nbefore = [\"insert\"]\norder = -5\n\
                 [capabilities]\ncan_read_table = [\"**\", \"a?\"]\ncan_index_search = true\n"
            }
            PluginKind::Procedure => {
                "[capabilities]\ncan_write_table = [\"a\"]\ncodecs = [\"*\"]\ncan_call_plugin = [\"q\"]\n\
                 directories = [{ host = \"/srv\", guest = \"/in\", write = true }]\n"
            }
            PluginKind::Observer => {
                "[capabilities]\naddresses = [\"http://[::1]:4318/v1\"]\n[resources]\nmax_instances = 1\n"
            }
            PluginKind::Storage | PluginKind::Index => {
                "[resources]\nbackground_timeout_ms = 86_400_000\nmax_instances = 2\n"
            }
            PluginKind::Codec => {
                "[capabilities]\ncan_read_table = []\ncan_vector_search = false\nclock = true\n\
                 [config_schema]\nlevel = { type = \"integer\", default = 3, min = 1, max = 9 }\n\
                 mode = { type = \"text\", one_of = [\"a\", \"b\"] }\non = { type = \"boolean\", default = true }\n\
                 [config]\nmode = \"a\"\n"
            }
        };
        assert_eq!(manifest_verdicts(&schema, &of_kind(kind, rest)), (true, true), "{kind}");
    }
    let pinned = of_kind(PluginKind::Codec, "")
        .replace("path = \"p.wasm\"", &format!("bundled = \"p\"\nblake3 = {:?}", "0F".repeat(32)))
        .replace("\"1.0.0\"", "\"1.0.0-rc.1+build.5\"");
    assert_eq!(manifest_verdicts(&schema, &pinned), (true, true));
}

#[test]
fn schema_and_parser_refuse_the_same_manifests() {
    use PluginKind::{Codec, Hooks, Index, Observer, Procedure, Storage};
    let schema = validator(&PluginManifest::json_schema());
    let check = |text: &str| assert_eq!(manifest_verdicts(&schema, text), (false, false), "{text}");
    for (from, to) in [
        ("name = \"p\"", "name = \"P\""),
        ("name = \"p\"", "name = \"1p\""),
        ("name = \"p\"", "name = 5"),
        ("name = \"p\"", ""),
        ("version = \"1.0.0\"\n", ""),
        ("version = \"1.0.0\"", "version = \"1.0\""),
        ("version = \"1.0.0\"", "version = \"01.0.0\""),
        ("\"0.1.0\"", "\"new\""),
        ("kind = \"codec\"", "kind = \"kodec\""),
        ("kind = \"codec\"", "kind = \"observer\""),
        ("kind = \"codec\"", "kind = \"codec\"\nauther = \"me\""),
        ("path = \"p.wasm\"", ""),
        ("path = \"p.wasm\"", "path = \"p.wasm\"\nbundled = \"p\""),
        ("path = \"p.wasm\"", "path = \"p.wasm\"\nblake3 = \"00\""),
        ("path = \"p.wasm\"", "path = 1"),
        ("[\"codec\", \"lifecycle\"]", "[\"codec\"]"),
        ("[\"codec\", \"lifecycle\"]", "[\"codec\", \"codec\"]"),
        ("[\"codec\", \"lifecycle\"]", "[\"codec\", \"lifecycle\", \"index\"]"),
        ("[exports]\n", "[export]\n"),
    ] {
        let good = of_kind(Codec, "");
        assert!(good.contains(from));
        check(&good.replace(from, to));
    }
    for (kind, rest) in [
        (Codec, "[capabilities]\nclok = true"),
        (Codec, "[capabilities]\nclock = 1"),
        (Codec, "[capabilities]\ncan_read_table = [\"a\"]"),
        (Codec, "[capabilities]\ncan_vector_search = true"),
        (Procedure, "[capabilities]\ncan_read_table = \"a\""),
        (Procedure, "[capabilities]\ncan_read_table = [\"[a]\"]"),
        (Procedure, "[capabilities]\ncan_read_table = [\"!a\"]"),
        (Procedure, "[capabilities]\ncan_read_table = [\"\"]"),
        (Procedure, "[capabilities]\ncan_read_table = [\"a\\u0000\"]"),
        (Procedure, "[capabilities]\naddresses = [\"http://host/\"]"),
        (Procedure, "[capabilities]\ndirectories = [{ host = \"/a\", guest = \"a\" }]"),
        (Procedure, "[capabilities]\ndirectories = [{ host = \"/a\" }]"),
        (Procedure, "[capabilities]\ndirectories = [{ host = \"/a\", guest = \"/a\", mode = 1 }]"),
        (Observer, "[capabilities]\naddresses = [\"https://host/\"]"),
        (Observer, "[capabilities]\naddresses = [\"http://Host/\"]"),
        (Observer, "[resources]\nmax_instances = 2"),
        (Storage, "[resources]\nmax_instances = 1"),
        (Index, "[resources]\nmax_instances = 257"),
        (Index, "[resources]\nbackground_fuel_limit = 1"),
        (Codec, "[resources]\nbackground_timeout_ms = 5"),
        (Codec, "[resources]\nmemory_limit_mb = 0"),
        (Codec, "[resources]\nmemory_limit_mb = 1.5"),
        (Codec, "[resources]\ntimeout_ms = 600_001"),
        (Codec, "[resources]\nfuel_limit = -1"),
        (Codec, "[hooks]\ntables = [\"a\"]\nbefore = [\"insert\"]"),
        (Hooks, ""),
        (Hooks, "[hooks]\nbefore = [\"insert\"]"),
        (Hooks, "[hooks]\ntables = []\nbefore = [\"insert\"]"),
        (Hooks, "[hooks]\ntables = [\"a\"]\nbefore = []"),
        (Hooks, "[hooks]\ntables = [\"a\"]\nafter = [\"inserts\"]"),
        (Hooks, "[hooks]\ntables = [\"a\"]\nafter = [\"delete\", \"delete\"]"),
        (Codec, "[config_schema]\na = { type = \"list\" }\n[config]\na = 1"),
        (Codec, "[config_schema]\na = { default = 5 }"),
        (Codec, "[config_schema]\na = { type = \"integer\", default = 5, unit = \"ms\" }"),
        (Codec, "[config_schema]\na = { type = \"text\", default = \"x\", min = 1 }"),
        (Codec, "[config_schema]\na = { type = \"integer\", default = 1, one_of = [\"1\"] }"),
        (Codec, "[config_schema]\na = { type = \"text\", default = [\"x\"] }"),
        (Codec, "[config]\na = [1]"),
    ] {
        check(&of_kind(kind, rest));
    }
    check(&of_kind(Procedure, &format!("[capabilities]\ncodecs = {:?}", ["a"; 65])));
    check(&of_kind(Codec, "").replace("\"p\"", &format!("{:?}", "p".repeat(65))));
}

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

#[test]
fn schema_and_parser_take_the_same_policies() {
    let schema = validator(&Policy::json_schema());
    for text in [
        String::new(),
        "[allow]\ncan_read_table = [\"shop/**\"]\nrandom = false\n[limits]\nmax_instances = 256\n".into(),
        format!("[signatures]\nrequired = true\ntrusted_keys = [{KEY:?}]\n"),
        format!("[signatures]\ntrusted_keys = [{{ key = {KEY:?}, name = \"shop\" }}]\n"),
        "[reload]\nprobation_ms = 0\nsteps_percent = [0.1, 1, 50, 99.9]\nlatency_factor = 1.5\n".into(),
        "[plugin.p.reload]\nsamples = 0\n[plugin.p.allow]\nclock = true\n[plugin.p.limits]\ntimeout_ms = 1\n"
            .into(),
    ] {
        assert_eq!(policy_verdicts(&schema, &text), (true, true), "{text}");
    }
}

#[test]
fn schema_and_parser_refuse_the_same_policies() {
    let schema = validator(&Policy::json_schema());
    for text in [
        "[alow]",
        "[allow]\nclok = true",
        "[allow]\ncodecs = [\"[x]\"]",
        "[limits]\nfuel_limit = 5",
        "[limits]\nmax_instances = 257",
        "[plugin.P.allow]\nclock = true",
        "[plugin.p.alow]",
        "[plugin.p.limits]\nmemory_limit_mb = 4097",
        "[signatures]\nrequired = 1",
        "[signatures]\nrequierd = true",
        "[signatures]\ntrusted_keys = [\"RW\"]",
        "[signatures]\ntrusted_keys = [5]",
        "[signatures]\ntrusted_keys = [{ name = \"shop\" }]",
        "[signatures]\ntrusted_keys = [{ kee = \"RW\", name = \"shop\" }]",
        "[reload]\nprobation = 5",
        "[reload]\nprobation_ms = 86_400_001",
        "[reload]\ndrain_ms = 1.5",
        "[reload]\nsteps_percent = 5",
        "[reload]\nsteps_percent = [100]",
        "[reload]\nsteps_percent = [0]",
        "[reload]\nlatency_factor = 0.5",
        "[reload]\ncalls_min = 0",
        "[plugin.p.reload]\nsamples = 1025",
        "[plugin.p.reload]\nlatency_floor_ms = -1",
    ] {
        assert_eq!(policy_verdicts(&schema, text), (false, false), "{text}");
    }
    let steps: Vec<_> = (1..=17).collect();
    let text = format!("[reload]\nsteps_percent = {steps:?}");
    assert_eq!(policy_verdicts(&schema, &text), (false, false));
}
