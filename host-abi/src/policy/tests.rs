//! What is granted: exactly what is asked for and allowed, whatever names are tried.

use super::*;
use crate::capability::{self, Answer};
use crate::plugin_manifest::PluginKind;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use proptest::sample::select;

fn manifest(kind: PluginKind, rest: &str) -> PluginManifest {
    let text = format!(
        "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\n\
         min_kernel_version = \"0.1.0\"\n[module]\npath = \"p.wasm\"\n\
         [exports]\ninterfaces = {:?}\n{rest}",
        kind.interfaces()
    );
    PluginManifest::parse("p.toml", &text).unwrap()
}

fn procedure(rest: &str) -> PluginManifest {
    manifest(PluginKind::Procedure, rest)
}

fn policy(text: &str) -> Policy {
    Policy::parse("policy.toml", text).unwrap()
}

#[test]
fn an_empty_policy_is_the_usual_one() {
    assert_eq!(policy(""), Policy::default());
    let wishes = procedure(
        "[capabilities]\ncan_read_table = [\"**\"]\ncan_write_table = [\"a\"]\nclock = true\n\
         directories = [{ host = \"/\", guest = \"/\" }]",
    );
    let grant = Policy::default().grant(&wishes).unwrap();
    assert_eq!(grant.names(), ["can_read_table", "can_write_table", "clock"]);
    assert!(grant.may_read("b") && grant.may_write("a") && !grant.may_write("b"));
    assert!(!grant.may_call("q") && !grant.may_use_codec("lz4") && !grant.random);
    assert_eq!(grant.limits, wishes.limits);
    assert_eq!(grant.directories, []);
}

#[test]
fn writing_does_not_imply_reading() {
    let wishes = procedure("[capabilities]\ncan_write_table = [\"a\"]");
    let grant = Policy::default().grant(&wishes).unwrap();
    assert!(grant.may_write("a") && !grant.may_read("a"));
}

#[test]
fn the_hosts_own_tables_are_never_granted() {
    let wishes = "can_read_table = [\"**\", \"sochdb.audit\"]\ncan_write_table = [\"sochdb.*\"]";
    let policy = policy(&format!("[allow]\n{wishes}"));
    let grant = policy.grant(&procedure(&format!("[capabilities]\n{wishes}"))).unwrap();
    assert!(!grant.may_read("sochdb.audit") && !grant.may_write("sochdb.audit"));
    assert!(grant.may_read("sochdb") && grant.may_read("Sochdb.audit"), "those are others");
    let hooks = "[hooks]\ntables = [\"**\"]\nbefore = [\"insert\"]";
    let grant = policy.grant(&manifest(PluginKind::Hooks, hooks)).unwrap();
    assert!(grant.hears_before("a", Change::Insert));
    assert!(!grant.hears_before("sochdb.audit", Change::Insert));
    assert!(!grant.may_replace("sochdb.audit"));
}

#[test]
fn a_key_for_one_plugin_stands_in_the_place_of_the_general_one() {
    let policy = policy(
        "[limits]\nfuel_limit = 2_000_000\ntimeout_ms = 50\n\
         [allow]\ncan_read_table = [\"a\"]\nrandom = false\n\
         [plugin.p.limits]\ntimeout_ms = 500\n\
         [plugin.p.allow]\ncan_read_table = [\"b\"]\n\
         directories = [{ host = \"/srv\", guest = \"/data\" }]\n\
         [plugin.q.allow]\nclock = false",
    );
    let wishes = procedure(
        "[capabilities]\ncan_read_table = [\"*\"]\nclock = true\nrandom = true\n\
         directories = [{ host = \"/srv\", guest = \"/data\", write = true }, \
                        { host = \"/srv\", guest = \"/other\" }, { host = \"/\", guest = \"/root\" }]",
    );
    let grant = policy.grant(&wishes).unwrap();
    assert!(grant.may_read("b") && !grant.may_read("a"));
    assert!(grant.clock && !grant.random);
    assert_eq!((grant.limits.fuel_max, grant.limits.timeout_ms), (2_000_000, 500));
    let read_only = Directory { host: "/srv".into(), guest: "/data".into(), write: false };
    assert_eq!(grant.directories, [read_only]);
    let other = policy.grant(&PluginManifest { name: "q".into(), ..wishes.clone() }).unwrap();
    assert!(other.may_read("a") && !other.may_read("b") && !other.clock && !other.random);
    assert_eq!((other.limits.fuel_max, other.limits.timeout_ms), (2_000_000, 50));
    assert_eq!(other.directories, []);
}

#[test]
fn a_hook_is_called_about_rows_that_the_policy_lets_plugins_read() {
    let wishes = manifest(
        PluginKind::Hooks,
        "[hooks]\ntables = [\"shop/*\"]\nbefore = [\"insert\"]\nafter = [\"delete\"]",
    );
    let policy = policy(
        "[allow]\ncan_read_table = [\"shop/a\", \"shop/b\", \"c\"]\ncan_write_table = [\"shop/b\"]",
    );
    let grant = policy.grant(&wishes).unwrap();
    assert!(grant.hears_before("shop/a", Change::Insert));
    assert!(!grant.hears_before("shop/a", Change::Update));
    assert!(!grant.hears_before("shop/a", Change::Delete));
    assert!(grant.hears_after("shop/a", Change::Delete));
    assert!(!grant.hears_before("shop/x", Change::Insert), "not allowed");
    assert!(!grant.hears_before("c", Change::Insert), "not wanted");
    assert!(grant.may_replace("shop/b") && !grant.may_replace("shop/a"));
    assert!(!grant.may_read("shop/a"), "being told of a change is no right to read");
}

#[test]
fn a_ceiling_below_what_a_kind_needs_is_an_error() {
    let policy = policy("[limits]\nmax_instances = 1");
    let error = policy.grant(&manifest(PluginKind::Storage, "")).unwrap_err();
    assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Denied, .. }), "{error}");
    assert!(error.to_string().contains("needs 2 instances"), "{error}");
    assert_eq!(policy.grant(&procedure("")).unwrap().limits.instances_max, 1);
}

#[test]
fn wrong_keys_and_values_are_named_with_their_place() {
    let check = |text: &str, expected: Expect| {
        expected.assert_eq(&Policy::parse("policy.toml", text).unwrap_err().to_string());
    };
    check(
        "[alow]",
        expect![
            "policy.toml:1:2: unknown field `alow`, expected one of `allow`, `limits`, `signatures`, `reload`, `plugin`; did you mean 'allow'?"
        ],
    );
    check(
        "[allow]\nclok = true",
        expect![
            "policy.toml:2:1: unknown field `clok`, expected one of `can_read_table`, `can_write_table`, `can_vector_search`, `can_index_search`, `can_call_plugin`, `codecs`, `directories`, `addresses`, `clock`, `random`; did you mean 'clock'?"
        ],
    );
    check(
        "[limits]\nfuel_limit = 5",
        expect!["policy.toml:2:14: fuel_limit = 5 is out of range: 1000000 to 1000000000000"],
    );
    check(
        "[limits]\nmax_instances = 257",
        expect!["policy.toml:2:17: max_instances = 257 is out of range: 1 to 256"],
    );
    check(
        "[plugin.P.allow]",
        expect![[
            r#"policy.toml:1:9: "P" is no plugin name: a letter, then letters, digits, '-' and '_', all lower case, at most 64"#
        ]],
    );
    check(
        "[plugin.p.alow]",
        expect![
            "policy.toml:1:11: unknown field `alow`, expected one of `allow`, `limits`, `reload`; did you mean 'allow'?"
        ],
    );
    check(
        "[plugin.p.allow]\ncodecs = [\"**x\"]",
        expect![[r#"policy.toml:2:11: `**` stands alone between `/`, not as in "**x""#]],
    );
}

/// A public key of minisign.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

#[test]
fn one_wrong_thing_is_named_with_its_place_and_the_way_out() {
    let check = |text: &str, expected: Expect| {
        let text = text.replace("KEY", KEY);
        expected.assert_eq(&Policy::parse("policy.toml", &text).unwrap_err().to_string());
    };
    check(
        "[signature]\nrequired = true",
        expect![
            "policy.toml:1:2: unknown field `signature`, expected one of `allow`, `limits`, `signatures`, `reload`, `plugin`; did you mean 'signatures'?"
        ],
    );
    check(
        "required = true",
        expect![
            "policy.toml:1:1: unknown field `required`, expected one of `allow`, `limits`, `signatures`, `reload`, `plugin`; 'required' belongs below [signatures]"
        ],
    );
    check(
        "[limits]\nclock = true",
        expect![
            "policy.toml:2:1: unknown field `clock`, expected one of `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, `background_fuel_limit`, `background_timeout_ms`; 'clock' belongs below [allow]"
        ],
    );
    check(
        "[plugin.p.limits]\nclock = true",
        expect![
            "policy.toml:2:1: unknown field `clock`, expected one of `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, `background_fuel_limit`, `background_timeout_ms`; 'clock' belongs below [allow]"
        ],
    );
    check(
        "[signatures]\nrequire = true",
        expect![
            "policy.toml:2:1: unknown field `require`, expected `required` or `trusted_keys`; did you mean 'required'?"
        ],
    );
    check(
        "[signatures]\nrequired = \"yes\"",
        expect![[r#"policy.toml:2:12: invalid type: string "yes", expected a boolean"#]],
    );
    check(
        "[signatures]\ntrusted_keys = \"KEY\"",
        expect![[
            r#"policy.toml:2:16: invalid type: string "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", expected a sequence"#
        ]],
    );
    check(
        "[signatures]\ntrusted_keys = [\"KEY\", \"KEZ\"]",
        expect![[
            r#"policy.toml:2:77: "KEZ" is no public key of minisign: 56 characters of base64 that begin with RW"#
        ]],
    );
    check(
        "[signatures]\ntrusted_keys = [\"KEY\", { key = \"KEY\", name = \"again\" }]",
        expect![[
            r#"policy.toml:2:85: "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3" is there already"#
        ]],
    );
    check(
        "[signatures]\ntrusted_keys = [{ kye = \"KEY\", name = \"shop\" }]",
        expect![
            "policy.toml:2:19: unknown field `kye`, expected `key` or `name`; did you mean 'key'?"
        ],
    );
    check(
        "[signatures]\ntrusted_keys = [{ name = \"shop\", key = \"KEZ\" }]",
        expect![[
            r#"policy.toml:2:40: "KEZ" is no public key of minisign: 56 characters of base64 that begin with RW"#
        ]],
    );
    check(
        "[signatures]\ntrusted_keys = [{ key = \"KEY\", name = \"\" }]",
        expect!["policy.toml:2:25: the name of a key has 1 to 64 bytes"],
    );
    check(
        "[signatures]\ntrusted_keys = [{ key = \"KEY\" }]",
        expect!["policy.toml:2:17: missing field `name`"],
    );
    check(
        "[signatures]\ntrusted_keys = [5]",
        expect![
            "policy.toml:2:17: invalid type: integer `5`, expected a public key, or a table with `key` and `name`"
        ],
    );
    check(
        "[reload]\nprobation = 5",
        expect![
            "policy.toml:2:1: unknown field `probation`, expected one of `probation_ms`, `drain_ms`, `steps_percent`, `step_ms`, `latency_factor`, `latency_floor_ms`, `calls_min`, `samples`; did you mean 'probation_ms'?"
        ],
    );
    check(
        "[reload]\ndrain_ms = 86_400_001",
        expect!["policy.toml:2:12: drain_ms = 86400001 is out of range: 0 to 86400000"],
    );
    check(
        "[reload]\nsteps_percent = [1, 100]",
        expect!["policy.toml:2:21: a step of steps_percent = 100 is out of range: 0.1 to 99.9"],
    );
    check(
        "[reload]\nsteps_percent = [10, 1]",
        expect!["policy.toml:2:22: a step of 1 percent after one of 10: they ascend"],
    );
    check(
        "[reload]\nsteps_percent = [0.25]",
        expect!["policy.toml:2:18: a step of 0.25 percent: they are in tenths"],
    );
    check(
        "[reload]\nsteps_percent = [nan]",
        expect!["policy.toml:2:18: a step of steps_percent = NaN is out of range: 0.1 to 99.9"],
    );
    check(
        "[reload]\nsteps_percent = [\"1\"]",
        expect![[r#"policy.toml:2:18: invalid type: string "1", expected f64"#]],
    );
    check(
        "[reload]\nlatency_factor = 0.5",
        expect!["policy.toml:2:18: latency_factor = 0.5 is out of range: 1 to 1000000"],
    );
    check(
        "[reload]\ncalls_min = 0",
        expect!["policy.toml:2:13: calls_min = 0 is out of range: 1 to 1000000000000"],
    );
    check(
        "[reload]\nsamples = 1025",
        expect!["policy.toml:2:11: samples = 1025 is out of range: 0 to 1024"],
    );
    check(
        "[plugin.p.reload]\nstep_ms = -1",
        expect!["policy.toml:2:11: invalid value: integer `-1`, expected u64"],
    );
    check(
        "[plugin.p.signatures]\nrequired = true",
        expect![
            "policy.toml:1:11: unknown field `signatures`, expected one of `allow`, `limits`, `reload`"
        ],
    );
}

#[test]
fn signatures_name_the_keys_that_count() {
    assert_eq!(*Policy::default().signatures(), Signatures::default());
    let other = "RWSupBHPbbgm+eeVLmM8cuXD1ZWAWRnz7h4Yw5tw5DNvkaNmTSb29X/u";
    let policy = policy(&format!(
        "[signatures]\nrequired = true\ntrusted_keys = [{KEY:?}, {{ key = {other:?}, name = \"shop\" }}]"
    ));
    let Signatures { required, trusted } = policy.signatures();
    let trusted: Vec<_> = trusted.iter().map(|key| (key.as_str(), key.name())).collect();
    assert!(*required);
    assert_eq!(trusted, [(KEY, None), (other, Some("shop"))]);
}

#[test]
fn reloads_go_by_the_rules_for_the_plugin() {
    let ms = std::time::Duration::from_millis;
    let policy = policy(
        "[reload]\nprobation_ms = 5\nsteps_percent = [0.1, 1, 10, 99.9]\nlatency_factor = 3\nsamples = 0\n\
         [plugin.p.reload]\nsteps_percent = []\ndrain_ms = 0\nstep_ms = 1\nlatency_floor_ms = 2\n\
         calls_min = 7\nsamples = 1_024",
    );
    let usual = Rules::default();
    let general = Rules {
        probation: ms(5),
        steps: vec![1, 10, 100, 999],
        latency_factor: 3.0,
        samples: 0,
        ..usual.clone()
    };
    let of_p = Rules {
        steps: Vec::new(),
        drain: ms(0),
        step: ms(1),
        latency_floor: ms(2),
        calls_min: 7,
        samples: 1024,
        ..general.clone()
    };
    assert_eq!(policy.reload_rules("q"), general);
    assert_eq!(policy.reload_rules("p"), of_p);
    assert_eq!(Policy::default().reload_rules("p"), usual);
}

#[test]
fn whatever_a_policy_can_say_of_reloads_are_rules() {
    let steps: Vec<_> = (1..=16).collect();
    for text in [
        format!(
            "[reload]\nprobation_ms = 86_400_000\ndrain_ms = 86_400_000\nstep_ms = 86_400_000\n\
             latency_floor_ms = 86_400_000\nlatency_factor = 1e6\ncalls_min = 1_000_000_000_000\n\
             samples = 1024\nsteps_percent = {steps:?}"
        ),
        "[reload]\nprobation_ms = 0\ndrain_ms = 0\nstep_ms = 0\nlatency_floor_ms = 0\nlatency_factor = 1\n\
         calls_min = 1\nsamples = 0\nsteps_percent = [0.1, 99.9]"
            .to_owned(),
    ] {
        policy(&text).reload_rules("p").check().unwrap();
    }
}

#[test]
fn what_is_granted_is_written_in_patterns() {
    let both = |wanted: &[&str], allowed: &[&str]| {
        let both =
            Both { wanted: Globs::parse(wanted).unwrap(), allowed: Globs::parse(allowed).unwrap() };
        both.granted()
    };
    assert_eq!(both(&["a", "b/*"], &["**"]), ["a", "b/*"]);
    assert_eq!(both(&["**"], &["a", "b/*"]), ["a", "b/*"]);
    assert_eq!(both(&["a", "b"], &["?"]), ["a", "b"]);
    assert_eq!(both(&["a", "b"], &["b", "c"]), ["b"]);
    assert_eq!(both(&["?"], &["b", "cc"]), ["b"]);
    assert_eq!(both(&["a*"], &["*b", "a*"]), ["a*"]);
    assert_eq!(both(&["a*"], &["*b"]), ["a* & *b"]);
    assert_eq!(both(&["a*"], &[]), [""; 0]);
    assert_eq!(both(&[], &["**"]), [""; 0]);
}

#[test]
fn a_grant_can_be_printed_for_a_program() {
    let grant = policy("[allow]\ncan_read_table = [\"b\"]")
        .grant(&procedure("[capabilities]\ncan_read_table = [\"*\"]"))
        .unwrap();
    let json = serde_json::to_value(&grant).unwrap();
    assert_eq!(json["can_read_table"]["wanted"], serde_json::json!(["*"]));
    assert_eq!(json["can_read_table"]["allowed"], serde_json::json!(["b"]));
    assert_eq!(json["can_read_table"]["granted"], serde_json::json!(["b"]));
    assert_eq!(json["limits"]["timeout_ms"], 1000);
}

/// The rules for patterns, tried out in every way; written without looking at the real matcher.
fn naive(pattern: &str, name: &str) -> bool {
    fn parts(pattern: &[&str], name: &[&str]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ["**"] => !name.is_empty(),
            ["**", rest @ ..] => (0..=name.len()).any(|at| parts(rest, &name[at..])),
            [first, rest @ ..] => {
                name.first().is_some_and(|name| within(first, name)) && parts(rest, &name[1..])
            }
        }
    }
    fn within(pattern: &str, name: &str) -> bool {
        let mut rest = pattern.chars();
        match rest.next() {
            None => name.is_empty(),
            Some('*') => {
                let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
                ends.into_iter().any(|at| within(rest.as_str(), &name[at..]))
            }
            Some(c) => {
                let mut of_name = name.chars();
                of_name.next().is_some_and(|found| c == '?' || c == found)
                    && within(rest.as_str(), of_name.as_str())
            }
        }
    }
    parts(&pattern.split('/').collect::<Vec<_>>(), &name.split('/').collect::<Vec<_>>())
}

fn any_naive(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| naive(pattern, name))
}

/// Patterns that meet the names below often.
fn patterns() -> impl Strategy<Value = Vec<String>> {
    let part = select(&["a", "b", "*", "**", "?", "a*", "*b", "é", "sochdb.*", ".."][..]);
    let pattern = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec(pattern, 0..3)
}

/// Names, and what somebody would try who wants another's.
fn names() -> impl Strategy<Value = String> {
    let part = select(
        &[
            "a", "b", "A", "ab", "", ".", "..", "a\0", "\0", "é", "e\u{301}", "sochdb.x", "ａ",
            "a ", "*", "**",
        ][..],
    );
    let separator = select(&["/", "//", "\\", ".", "\u{2215}", "%2f"][..]);
    let more = prop::collection::vec((separator, part.clone()), 0..3);
    (part, more).prop_map(|(first, more)| {
        more.into_iter().fold(first.to_owned(), |name, (separator, part)| name + separator + part)
    })
}

fn limits() -> impl Strategy<Value = [Option<u64>; 4]> {
    let number = |from: u64, to: u64| prop::option::of(from..=to);
    (number(1, 4096), number(1_000_000, 10_000_000_000), number(1, 600_000), number(2, 256))
        .prop_map(|(memory, fuel, timeout, instances)| [memory, fuel, timeout, instances])
}

fn limits_text(limits: &[Option<u64>; 4]) -> String {
    let keys = ["memory_limit_mb", "fuel_limit", "timeout_ms", "max_instances"];
    let lines = keys.iter().zip(limits);
    lines.filter_map(|(key, value)| value.map(|value| format!("{key} = {value}\n"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn allowed_if_and_only_if_asked_for_and_allowed(
        wanted in patterns(), allowed in patterns(), name in names(), for_one: bool,
    ) {
        let section = if for_one { "[plugin.p.allow]" } else { "[allow]" };
        let keys = |patterns: &[String]| {
            let keys = ["can_read_table", "can_write_table", "can_call_plugin", "codecs"];
            keys.map(|key| format!("{key} = {patterns:?}\n")).concat()
        };
        let policy = policy(&format!("{section}\n{}", keys(&allowed)));
        let grant = policy.grant(&procedure(&format!("[capabilities]\n{}", keys(&wanted)))).unwrap();
        let both = any_naive(&wanted, &name) && any_naive(&allowed, &name);
        let table = both && !name.starts_with("sochdb.");
        prop_assert_eq!(grant.may_read(&name), table);
        prop_assert_eq!(grant.may_write(&name), table);
        prop_assert_eq!(grant.may_call(&name), both);
        prop_assert_eq!(grant.may_use_codec(&name), both);
        let is_shown = grant.can_read_table.granted().iter().any(|shown| {
            shown.split(" & ").all(|pattern| naive(pattern, &name))
        });
        prop_assert_eq!(is_shown, both, "what people are shown is what is granted");
    }

    #[test]
    fn a_name_in_full_is_no_other_name(name in names(), other in names(), is_same: bool) {
        let is_plain = |c: &char| !c.is_control() && !"*?\\[]{}".contains(*c);
        let name: String = name.chars().filter(is_plain).chain(['x']).collect();
        let other = if is_same { name.clone() } else { other };
        let quoted = toml::Value::from(name.as_str());
        let wishes = format!("[capabilities]\ncan_read_table = [{quoted}]");
        let grant = Policy::default().grant(&procedure(&wishes)).unwrap();
        prop_assert_eq!(grant.may_read(&other), name == other && !other.starts_with("sochdb."));
    }

    #[test]
    fn a_limit_is_never_above_the_ceiling_nor_above_the_manifest(
        wanted in limits(), ceiling in limits(), for_one: bool,
    ) {
        let section = if for_one { "[plugin.p.limits]" } else { "[limits]" };
        let policy = policy(&format!("{section}\n{}", limits_text(&ceiling)));
        let manifest = procedure(&format!("[resources]\n{}", limits_text(&wanted)));
        let limits = policy.grant(&manifest).unwrap().limits;
        let usual = [64, 1_000_000_000, 1000, 4];
        let least = |at: usize| wanted[at].unwrap_or(usual[at]).min(ceiling[at].unwrap_or(u64::MAX));
        prop_assert_eq!(limits.memory_bytes_max, least(0) << 20);
        prop_assert_eq!(limits.fuel_max, least(1));
        prop_assert_eq!(limits.timeout_ms, least(2));
        prop_assert_eq!(u64::from(limits.instances_max), least(3));
        prop_assert_eq!(limits.background, None);
    }

    #[test]
    fn work_in_the_background_has_ceilings_too(
        wanted in 1_000_000u64..=1_000_000_000, ceiling in 1_000_000u64..=1_000_000_000,
        wanted_ms in 1u64..=1000, ceiling_ms in 1u64..=1000,
    ) {
        let text = |fuel, ms| format!("background_fuel_limit = {fuel}\nbackground_timeout_ms = {ms}");
        let policy = policy(&format!("[limits]\n{}", text(ceiling, ceiling_ms)));
        let wishes = format!("[resources]\n{}", text(wanted, wanted_ms));
        let background =
            policy.grant(&manifest(PluginKind::Storage, &wishes)).unwrap().limits.background.unwrap();
        prop_assert_eq!(background.fuel_max, wanted.min(ceiling));
        prop_assert_eq!(background.timeout_ms, wanted_ms.min(ceiling_ms));
    }

    #[test]
    fn switches_are_on_when_both_are(wanted: bool, allowed: bool) {
        let policy = policy(&format!("[allow]\nclock = {allowed}\nrandom = {allowed}"));
        let wishes = format!("[capabilities]\nclock = {wanted}\nrandom = {wanted}");
        let grant = policy.grant(&procedure(&wishes)).unwrap();
        prop_assert_eq!((grant.clock, grant.random), (wanted && allowed, wanted && allowed));
    }

    #[test]
    fn an_import_is_granted_if_and_only_if_its_kind_is_offered_it(
        interface in "(types|telemetry|config|rows|plugins|codecs|segments|entries|search|index|[a-z]{1,8})",
        contract in select(&["sochdb:plugin/", "sochdb:plugin", "sochdb:", "wasi:io/", ""][..]),
        version in select(&["@0.1.0", "@0.2.0", "@0.1", "", "@"][..]),
        kind in select(&[None, Some(PluginKind::Codec), Some(PluginKind::Observer),
            Some(PluginKind::Storage), Some(PluginKind::Hooks), Some(PluginKind::Procedure),
            Some(PluginKind::Index)][..]),
    ) {
        use PluginKind::{Hooks, Index, Procedure, Storage};
        let kinds: &[Option<PluginKind>] = match interface.as_str() {
            "types" | "telemetry" | "config" => &[kind],
            "rows" | "search" | "plugins" => &[Some(Hooks), Some(Procedure)],
            "codecs" => &[Some(Storage), Some(Hooks), Some(Procedure)],
            "segments" => &[Some(Storage), Some(Index)],
            "entries" => &[Some(Index)],
            _ => &[],
        };
        let is_ours = contract == "sochdb:plugin/" && version == "@0.1.0";
        let answer = capability::answer(&format!("{contract}{interface}{version}"), kind);
        prop_assert_eq!(answer == Answer::Granted, is_ours && kinds.contains(&kind), "{:?}", answer);
    }

    #[test]
    fn arbitrary_text_is_a_policy_or_an_error(text: String) {
        let _: Result<Policy, ManifestError> = Policy::parse("policy.toml", &text);
    }
}
