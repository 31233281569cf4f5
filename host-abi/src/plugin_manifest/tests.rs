//! What a manifest may say, and what is said about one that is wrong.

use super::*;
use crate::limits::Background;
use expect_test::{Expect, expect};
use proptest::prelude::*;

const HEAD: &str = "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nkind = \"codec\"\n\
    min_kernel_version = \"0.1.0\"\n[module]\npath = \"p.wasm\"\n\
    [exports]\ninterfaces = [\"lifecycle\", \"codec\"]\n";

fn parse(rest: &str) -> Result<PluginManifest, ManifestError> {
    PluginManifest::parse("p.toml", &format!("{HEAD}{rest}"))
}

fn check_error(rest: &str, expected: Expect) {
    expected.assert_eq(&parse(rest).unwrap_err().to_string());
}

#[test]
fn what_is_left_out_has_defaults() {
    let manifest = parse("").unwrap();
    assert_eq!(manifest.exports, ["codec", "lifecycle"], "sorted");
    assert_eq!(manifest.capabilities, Capabilities::default());
    assert_eq!(manifest.capabilities.names(), [""; 0]);
    assert_eq!(manifest.hooks, None);
    assert_eq!(manifest.blake3, None);
    let limits = Limits {
        memory_bytes_max: 64 << 20,
        fuel_max: 1_000_000_000,
        timeout_ms: 1000,
        instances_max: 4,
        background: None,
    };
    assert_eq!(manifest.limits, limits);
}

#[test]
fn wrong_keys_and_values_are_named_with_their_place() {
    check_error(
        "[capabilities]\nclok = true",
        expect![
            "p.toml:11:1: unknown field `clok`, expected one of `can_read_table`, `can_write_table`, `can_vector_search`, `can_index_search`, `can_call_plugin`, `codecs`, `directories`, `addresses`, `clock`, `random`; did you mean 'clock'?"
        ],
    );
    check_error(
        "[resources]\nmemory_limit_mb = 0",
        expect!["p.toml:11:19: memory_limit_mb = 0 is out of range: 1 to 4096"],
    );
    check_error(
        "[resources]\ntimeout_ms = \"fast\"",
        expect![[r#"p.toml:11:14: invalid type: string "fast", expected u64"#]],
    );
    check_error(
        "[resource]\n",
        expect![[
            r#"p.toml:10:2: unknown field `resource`, expected one of `plugin`, `module`, `capabilities`, `resources`, `exports`, `hooks`, `config_schema`, `config`; did you mean 'resources'?"#
        ]],
    );
}

#[test]
fn settings_are_typed_by_their_schema() {
    let manifest = parse(
        "[config_schema]\n\
         on = { type = \"boolean\", default = true }\n\
         level = { type = \"integer\", min = 1, max = 9 }\n\
         ratio = { type = \"float\", default = 1, description = \"a share\" }\n\
         mode = { type = \"text\", default = \"fast\", one_of = [\"fast\", \"small\"] }\n\
         [config]\nlevel = 9\nmode = \"small\"\n",
    )
    .unwrap();
    let config = manifest.config;
    assert_eq!(config["on"].value, ConfigValue::Boolean(true));
    assert_eq!(config["level"].value, ConfigValue::Integer(9));
    assert_eq!(config["ratio"].value, ConfigValue::Float(1.0));
    assert_eq!(config["ratio"].description, "a share");
    assert_eq!(config["mode"].value, ConfigValue::Text("small".to_owned()));
}

#[test]
fn settings_that_break_their_schema_are_named_with_their_place() {
    let schema = "[config_schema]\nlevel = { type = \"integer\", min = 1, max = 9 }\n[config]\n";
    for (rest, expected) in [
        ("level = 10", expect!["p.toml:13:9: 'level' is outside the bounds its schema gives it"]),
        ("level = 1.5", expect!["p.toml:13:9: 'level' is declared as integer, 1.5 is not"]),
        (
            "levle = 1",
            expect![
                "p.toml:13:1: [config_schema] declares no setting 'levle'; did you mean 'level'?"
            ],
        ),
        ("", expect!["p.toml:11:1: 'level' has no default: set it below [config]"]),
    ] {
        check_error(&format!("{schema}{rest}"), expected);
    }
    for setting in [
        "a = { type = \"integer\", default = \"1\" }",
        "a = { type = \"float\", default = nan }",
        "a = { type = \"text\", default = \"x\", min = 1 }",
        "a = { type = \"text\", default = \"x\", one_of = [\"y\"] }",
        "a = { type = \"integer\", default = 1, one_of = [\"1\"] }",
        "a = { type = \"integer\", default = 5, max = 4 }",
        "a = { type = \"list\", default = 5 }",
        "a = { type = \"integer\", default = 5, unit = \"ms\" }",
    ] {
        parse(&format!("[config_schema]\n{setting}")).unwrap_err();
    }
}

/// One wrong thing each, in the place of something right or behind everything, and what is said of it.
#[test]
fn one_wrong_thing_is_named_with_its_place_and_the_way_out() {
    let replaced = |from: &str, to: &str, expected: Expect| {
        assert!(HEAD.contains(from));
        let error = PluginManifest::parse("p.toml", &HEAD.replace(from, to)).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    replaced(
        "[plugin]",
        "[plugni]",
        expect![
            "p.toml:1:2: unknown field `plugni`, expected one of `plugin`, `module`, `capabilities`, `resources`, `exports`, `hooks`, `config_schema`, `config`; did you mean 'plugin'?"
        ],
    );
    replaced(
        "[module]",
        "[modules]",
        expect![
            "p.toml:6:2: unknown field `modules`, expected one of `plugin`, `module`, `capabilities`, `resources`, `exports`, `hooks`, `config_schema`, `config`; did you mean 'module'?"
        ],
    );
    replaced(
        "[exports]",
        "[exprots]",
        expect![
            "p.toml:8:2: unknown field `exprots`, expected one of `plugin`, `module`, `capabilities`, `resources`, `exports`, `hooks`, `config_schema`, `config`; did you mean 'exports'?"
        ],
    );
    replaced(
        "name = \"p\"",
        "nmae = \"p\"",
        expect![
            "p.toml:2:1: unknown field `nmae`, expected one of `name`, `version`, `kind`, `description`, `author`, `license`, `homepage`, `repository`, `min_kernel_version`; did you mean 'name'?"
        ],
    );
    replaced(
        "name = \"p\"",
        "name = \"P\"",
        expect![[
            r#"p.toml:2:8: "P" is no plugin name: a letter, then letters, digits, '-' and '_', all lower case, at most 64"#
        ]],
    );
    replaced("name = \"p\"", "name = \"p\"\nname = \"q\"", expect!["p.toml:3:1: duplicate key"]);
    replaced("name = \"p\"\n", "", expect!["p.toml:1:1: missing field `name`"]);
    replaced(
        "name = \"p\"",
        "name = p",
        expect!["p.toml:2:8: string values must be quoted, expected literal string"],
    );
    replaced(
        "\"1.0.0\"",
        "\"1\"",
        expect![[
            r#"p.toml:3:11: "1" is no version such as "1.2.3": unexpected end of input while parsing major version number"#
        ]],
    );
    replaced(
        "\"0.1.0\"",
        "\"latest\"",
        expect![[
            r#"p.toml:5:22: "latest" is no version such as "1.2.3": unexpected character 'l' while parsing major version number"#
        ]],
    );
    replaced(
        "kind = \"codec\"",
        "kind = \"codecs\"",
        expect![
            "p.toml:4:8: unknown variant `codecs`, expected one of `codec`, `observer`, `storage`, `hooks`, `procedure`, `index`; did you mean 'codec'?"
        ],
    );
    replaced(
        "kind = \"codec\"",
        "kind = \"Codec\"",
        expect![
            "p.toml:4:8: unknown variant `Codec`, expected one of `codec`, `observer`, `storage`, `hooks`, `procedure`, `index`; did you mean 'codec'?"
        ],
    );
    replaced(
        "kind = \"codec\"",
        "kind = \"codec\"\nblake3 = \"00\"",
        expect![
            "p.toml:5:1: unknown field `blake3`, expected one of `name`, `version`, `kind`, `description`, `author`, `license`, `homepage`, `repository`, `min_kernel_version`; 'blake3' belongs below [module]"
        ],
    );
    replaced(
        "path = \"p.wasm\"",
        "file = \"p.wasm\"",
        expect!["p.toml:7:1: unknown field `file`, expected one of `path`, `bundled`, `blake3`"],
    );
    replaced(
        "path = \"p.wasm\"",
        "path = \"p.wasm\"\nblake3 = \"00\"",
        expect!["p.toml:8:10: no BLAKE3 hash of 64 hex digits: expected 64 hex bytes, received 2"],
    );
    replaced(
        "path = \"p.wasm\"",
        "path = \"p.wasm\"\nbundled = \"p\"",
        expect!["p.toml:6:1: [module] needs either `path` or `bundled`"],
    );
    replaced(
        "path = \"p.wasm\"",
        "path = \"p.wasm\"\ntimeout_ms = 5",
        expect![
            "p.toml:8:1: unknown field `timeout_ms`, expected one of `path`, `bundled`, `blake3`; 'timeout_ms' belongs below [resources]"
        ],
    );
    replaced(
        "\"lifecycle\"",
        "\"lifecycl\"",
        expect![[
            r#"p.toml:9:14: a plugin of kind 'codec' exports the interfaces ["codec", "lifecycle"]; did you mean 'lifecycle'?"#
        ]],
    );
    replaced(
        "interfaces =",
        "interface =",
        expect![
            "p.toml:9:1: unknown field `interface`, expected `interfaces`; did you mean 'interfaces'?"
        ],
    );
    check_error(
        "[capability]\nclock = true",
        expect![
            "p.toml:10:2: unknown field `capability`, expected one of `plugin`, `module`, `capabilities`, `resources`, `exports`, `hooks`, `config_schema`, `config`; did you mean 'capabilities'?"
        ],
    );
    check_error(
        "timeout_ms = 5",
        expect![
            "p.toml:10:1: unknown field `timeout_ms`, expected `interfaces`; 'timeout_ms' belongs below [resources]"
        ],
    );
    check_error(
        "[resources]\nmemory = 5",
        expect![
            "p.toml:11:1: unknown field `memory`, expected one of `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, `background_fuel_limit`, `background_timeout_ms`; did you mean 'memory_limit_mb'?"
        ],
    );
    check_error(
        "[resources]\nmemory-limit-mb = 5",
        expect![
            "p.toml:11:1: unknown field `memory-limit-mb`, expected one of `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, `background_fuel_limit`, `background_timeout_ms`; did you mean 'memory_limit_mb'?"
        ],
    );
    check_error(
        "[resources]\nclock = true",
        expect![
            "p.toml:11:1: unknown field `clock`, expected one of `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, `background_fuel_limit`, `background_timeout_ms`; 'clock' belongs below [capabilities]"
        ],
    );
    check_error(
        "[resources]\ntimeout_ms = -1",
        expect!["p.toml:11:14: invalid value: integer `-1`, expected u64"],
    );
    check_error(
        "[resources]\ntimeout_ms = 600_001",
        expect!["p.toml:11:14: timeout_ms = 600001 is out of range: 1 to 600000"],
    );
    check_error(
        "[resources]\nfuel_limit = 1e9",
        expect!["p.toml:11:14: invalid type: floating point `1000000000.0`, expected u64"],
    );
    check_error(
        "[resources]\nmax_instances = true",
        expect!["p.toml:11:17: invalid type: boolean `true`, expected u64"],
    );
    check_error(
        "[capabilities]\ndirectories = [{ host = \"/a\", guest = \"/a\", wrte = true }]",
        expect![
            "p.toml:11:45: unknown field `wrte`, expected one of `host`, `guest`, `write`; did you mean 'write'?"
        ],
    );
    check_error(
        "[capabilities]\ndirectories = [{ host = \"/a\" }]",
        expect!["p.toml:11:16: missing field `guest`"],
    );
    check_error(
        "[capabilities.directories]\nhost = \"/a\"",
        expect!["p.toml:10:1: invalid type: map, expected a sequence"],
    );
    check_error(
        "[config_schema]\nlevel = { typ = \"integer\" }",
        expect![
            "p.toml:11:11: unknown field `typ`, expected one of `type`, `default`, `min`, `max`, `one_of`, `description`; did you mean 'type'?"
        ],
    );
    check_error(
        "[config_schema]\nlevel = { type = \"int\" }",
        expect![
            "p.toml:11:18: unknown variant `int`, expected one of `boolean`, `integer`, `float`, `text`"
        ],
    );
    check_error(
        "[config_schema]\nlevel = { type = \"integer\", minimum = 1 }",
        expect![
            "p.toml:11:29: unknown field `minimum`, expected one of `type`, `default`, `min`, `max`, `one_of`, `description`"
        ],
    );
    check_error("[config_schema.level]\ndefault = 5", expect!["p.toml:10:1: missing field `type`"]);
    check_error(
        "[config_schema]\nmode = { type = \"text\", one_of = [\"fast\", \"small\"] }\n[config]\nmode = \"smal\"",
        expect![[r#"p.toml:13:8: 'mode' is one of ["fast", "small"]; did you mean 'small'?"#]],
    );
    check_error(
        "[config_schema]\nmode = { type = \"text\", default = \"a\" }\n[config]\nmodus = \"a\"",
        expect!["p.toml:13:1: [config_schema] declares no setting 'modus'; did you mean 'mode'?"],
    );
    check_error(
        "[config]\nlevel = 5",
        expect!["p.toml:11:1: [config_schema] declares no setting 'level'"],
    );
    check_error(
        "[config]\nlevel = ",
        expect!["p.toml:11:9: string values must be quoted, expected literal string"],
    );
    check_error("[config", expect!["p.toml:10:8: unclosed table, expected `]`"]);
}

#[test]
fn names_versions_and_exports_are_checked() {
    for (from, to) in [
        ("name = \"p\"", "name = \"\""),
        ("name = \"p\"", "name = \"P\""),
        ("name = \"p\"", "name = \"../p\""),
        ("name = \"p\"", "name = \"1p\""),
        ("version = \"1.0.0\"", "version = \"1\""),
        ("kind = \"codec\"", "kind = \"kodec\""),
        ("kind = \"codec\"", "kind = \"observer\""),
        ("[\"lifecycle\", \"codec\"]", "[\"codec\"]"),
        ("path = \"p.wasm\"", "path = \"p.wasm\"\nbundled = \"p\""),
        ("path = \"p.wasm\"", ""),
        ("path = \"p.wasm\"", "path = \"p.wasm\"\nblake3 = \"00\""),
    ] {
        assert!(HEAD.contains(from));
        PluginManifest::parse("p.toml", &HEAD.replace(from, to)).unwrap_err();
    }
    let long = HEAD.replace("\"p\"", &format!("{:?}", "p".repeat(NAME_BYTES_MAX + 1)));
    PluginManifest::parse("p.toml", &long).unwrap_err();
}

#[test]
fn an_observer_has_one_instance() {
    let observer = HEAD
        .replace("kind = \"codec\"", "kind = \"observer\"")
        .replace("\"codec\"]", "\"observer\"]");
    let parse = |rest: &str| PluginManifest::parse("p.toml", &format!("{observer}{rest}"));
    assert_eq!(parse("").unwrap().limits.instances_max, 1);
    let error = parse("[resources]\nmax_instances = 2").unwrap_err();
    assert!(error.to_string().contains("1 to 1"), "{error}");
}

#[test]
fn a_storage_engine_works_in_the_background_and_on_two_instances_at_least() {
    let storage = HEAD
        .replace("kind = \"codec\"", "kind = \"storage\"")
        .replace("\"codec\"]", "\"storage-engine\"]");
    let parse = |rest: &str| PluginManifest::parse("p.toml", &format!("{storage}{rest}"));
    let limits = parse("[resources]\nbackground_timeout_ms = 5").unwrap().limits;
    assert_eq!(limits.instances_max, 4);
    assert_eq!(limits.background, Some(Background { fuel_max: 100_000_000_000, timeout_ms: 5 }));
    let error = parse("[resources]\nmax_instances = 1").unwrap_err();
    assert!(error.to_string().contains("2 to 256"), "{error}");
    check_error(
        "[resources]\nbackground_fuel_limit = 1_000_000",
        expect!["p.toml:11:25: a plugin of kind 'codec' never works in the background"],
    );
}

/// What is left of a codec's manifest when it is made one of another kind.
fn of_kind(kind: PluginKind) -> impl Fn(&str) -> Result<PluginManifest, ManifestError> {
    let head = HEAD
        .replace("\"codec\"\nmin", &format!("\"{kind}\"\nmin"))
        .replace("[\"lifecycle\", \"codec\"]", &format!("{:?}", kind.interfaces()));
    move |rest: &str| PluginManifest::parse("p.toml", &format!("{head}{rest}"))
}

#[test]
fn capabilities_are_patterns_directories_and_switches() {
    let manifest = of_kind(PluginKind::Procedure)(
        "[capabilities]\ncan_read_table = [\"orders\", \"logs/**\"]\ncan_write_table = []\n\
         can_vector_search = true\ncan_index_search = false\ncan_call_plugin = [\"other\"]\n\
         codecs = [\"*\"]\nclock = true\n\
         directories = [{ host = \"/srv/words\", guest = \"/words\" }]",
    );
    let capabilities = manifest.unwrap().capabilities;
    assert!(capabilities.can_read_table.matches("logs/a/b"));
    assert!(capabilities.can_write_table.is_empty());
    assert_eq!(
        capabilities.directories,
        [Directory { host: "/srv/words".into(), guest: "/words".into(), write: false }]
    );
    assert_eq!(
        capabilities.names(),
        [
            "can_read_table",
            "can_vector_search",
            "can_call_plugin",
            "codecs",
            "directories",
            "clock"
        ]
    );
}

#[test]
fn capabilities_that_cannot_be_granted_are_named_with_their_place() {
    let procedure = of_kind(PluginKind::Procedure);
    let check = |rest: &str, expected: Expect| {
        let error = procedure(&format!("[capabilities]\n{rest}")).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    check(
        "can_read_table = [\"a\", \"[b]\"]",
        expect![[
            r#"p.toml:11:24: '[' cannot be in a pattern such as "[b]"; `?`, `*` and `**` can"#
        ]],
    );
    check(
        "can_read_table = \"a\"",
        expect![[r#"p.toml:11:18: invalid type: string "a", expected a sequence"#]],
    );
    check(
        "can_raed_table = [\"a\"]",
        expect![
            "p.toml:11:1: unknown field `can_raed_table`, expected one of `can_read_table`, `can_write_table`, `can_vector_search`, `can_index_search`, `can_call_plugin`, `codecs`, `directories`, `addresses`, `clock`, `random`; did you mean 'can_read_table'?"
        ],
    );
    check(
        &format!("codecs = {:?}", ["a"; 65]),
        expect!["p.toml:11:10: 65 patterns are too many: at most 64"],
    );
    check(
        "directories = [{ host = \"words\", guest = \"/words\" }]",
        expect![[
            r#"p.toml:11:25: "words" is no host directory: an absolute path without `.`, `..` and empty parts, of at most 256 bytes"#
        ]],
    );
    check(
        "directories = [{ host = \"/a/../b\", guest = \"/words\" }]",
        expect![[
            r#"p.toml:11:25: "/a/../b" is no host directory: an absolute path without `.`, `..` and empty parts, of at most 256 bytes"#
        ]],
    );
    check(
        "directories = [{ host = \"/a\", guest = \"words/\" }]",
        expect![[
            r#"p.toml:11:39: "words/" is no name of a directory for a guest: a path that begins with `/`, without `.`, `..` and empty parts, of at most 256 bytes"#
        ]],
    );
    check(
        "directories = [{ host = \"/a\", guset = \"/words\" }]",
        expect![
            "p.toml:11:31: unknown field `guset`, expected one of `host`, `guest`, `write`; did you mean 'guest'?"
        ],
    );
    check(
        "directories = [{ host = \"/a\", guest = \"/w\" }, { host = \"/b\", guest = \"/w\" }]",
        expect![[r#"p.toml:11:70: there is another directory "/w""#]],
    );
    check_error(
        "[capabilities]\ncan_read_table = [\"orders\"]",
        expect![
            "p.toml:11:18: a plugin of kind 'codec' has no use for can_read_table: it is for the interface `rows`, and only plugins of kind 'hooks' or 'procedure' may"
        ],
    );
    check_error(
        "[capabilities]\ncodecs = [\"lz4\"]",
        expect![
            "p.toml:11:10: a plugin of kind 'codec' has no use for codecs: it is for the interface `codecs`, and only plugins of kind 'storage' or 'hooks' or 'procedure' may"
        ],
    );
    let observer = of_kind(PluginKind::Observer);
    observer("[capabilities]\ncan_call_plugin = [\"p\"]").unwrap_err();
    of_kind(PluginKind::Storage)("[capabilities]\ncodecs = [\"lz4\"]").unwrap();
    for name in ["/", "/a", "/a/b c"] {
        let text = format!("directories = [{{ host = {name:?}, guest = {name:?}, write = true }}]");
        procedure(&format!("[capabilities]\n{text}")).unwrap();
    }
    for name in ["", "a", "/a/", "//a", "/a//b", "/./a", "/a/..", "/a\0", "/a\n"] {
        let text = format!("directories = [{{ host = \"/a\", guest = {name:?} }}]");
        procedure(&format!("[capabilities]\n{text}")).unwrap_err();
    }
}

#[test]
fn hooks_say_when_they_are_called() {
    let parse = of_kind(PluginKind::Hooks);
    let hooks = parse(
        "[hooks]\ntables = [\"orders\"]\nbefore = [\"insert\", \"update\"]\n\
         after = [\"delete\"]\norder = -5",
    );
    let hooks = hooks.unwrap().hooks.unwrap();
    assert_eq!(hooks.before, [Change::Insert, Change::Update]);
    assert_eq!((hooks.after, hooks.order), (vec![Change::Delete], -5));
    assert!(hooks.tables.matches("orders"));
    let check = |rest: &str, expected: Expect| {
        expected.assert_eq(&parse(rest).unwrap_err().to_string());
    };
    check("", expect!["p.toml:4:8: a plugin of kind 'hooks' says when it is called, in [hooks]"]);
    check("[hooks]\nbefore = [\"insert\"]", expect!["p.toml:10:1: missing field `tables`"]);
    check(
        "[hooks]\ntables = []\nbefore = [\"insert\"]",
        expect!["p.toml:11:10: without tables it is never called"],
    );
    check(
        "[hooks]\ntables = [\"a\"]\nbefore = []",
        expect![[r#"p.toml:10:1: [hooks] needs `before` or `after`, such as before = ["insert"]"#]],
    );
    check(
        "[hooks]\ntables = [\"a\"]\nafter = [\"inserts\"]",
        expect![
            "p.toml:12:10: unknown variant `inserts`, expected one of `insert`, `update`, `delete`; did you mean 'insert'?"
        ],
    );
    check(
        "[hooks]\ntables = [\"a\"]\nafter = [\"delete\", \"delete\"]",
        expect!["p.toml:12:20: 'delete' is there already"],
    );
    check(
        "[hooks]\ntables = [\"a\"]\nbefroe = [\"insert\"]",
        expect![
            "p.toml:12:1: unknown field `befroe`, expected one of `tables`, `before`, `after`, `order`; did you mean 'before'?"
        ],
    );
    check_error(
        "[hooks]\ntables = [\"a\"]\nbefore = [\"insert\"]",
        expect!["p.toml:10:1: a plugin of kind 'codec' is no hook"],
    );
}

#[test]
fn a_kind_is_what_it_exports() {
    for kind in PluginKind::ALL {
        let rest = match kind {
            PluginKind::Hooks => "[hooks]\ntables = [\"a\"]\nbefore = [\"insert\"]",
            _ => "",
        };
        assert_eq!(of_kind(kind)(rest).unwrap().kind, kind);
        let exports: Vec<_> = kind.interfaces().iter().map(|name| name.to_string()).collect();
        assert!(exports.is_sorted());
        assert_eq!(PluginKind::of(&exports), Some(kind));
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _: Result<PluginManifest, ManifestError> = PluginManifest::parse("p.toml", &text);
    }

    #[test]
    fn a_changed_manifest_never_panics(at in 0..HEAD.len(), text in ".{0,4}") {
        prop_assume!(HEAD.is_char_boundary(at));
        let changed = format!("{}{text}{}", &HEAD[..at], &HEAD[at..]);
        let _: Result<PluginManifest, ManifestError> = PluginManifest::parse("p.toml", &changed);
    }
}
