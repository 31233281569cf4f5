//! What counts as wider, and what does not.

use crate::plugin_manifest::{PluginKind, PluginManifest};
use crate::policy::{Grant, Policy};
use proptest::prelude::*;
use proptest::sample::select;

fn grant(kind: PluginKind, policy: &str, wishes: &str) -> Grant {
    let text = format!(
        "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\n\
         min_kernel_version = \"0.1.0\"\n[module]\npath = \"p.wasm\"\n\
         [exports]\ninterfaces = {:?}\n{wishes}",
        kind.interfaces()
    );
    let manifest = PluginManifest::parse("p.toml", &text).unwrap();
    Policy::parse("policy.toml", policy).unwrap().grant(&manifest).unwrap()
}

/// What is wider of a procedure that says `new` below `[capabilities]` than of one that says `old`.
fn wider(policy: &str, old: &str, new: &str) -> Vec<String> {
    let of =
        |wishes: &str| grant(PluginKind::Procedure, policy, &format!("[capabilities]\n{wishes}"));
    of(new).wider_than(&of(old))
}

#[test]
fn what_was_not_granted_before_is_said_in_words() {
    let policy = "[allow]\ndirectories = [{ host = \"/srv\", guest = \"/out\", write = true }]";
    let everything = "can_read_table = [\"shop/*\"]\ncan_write_table = [\"shop/orders\"]\n\
        can_vector_search = true\ncan_index_search = true\ncan_call_plugin = [\"q\"]\ncodecs = [\"lz4\"]\n\
        directories = [{ host = \"/srv\", guest = \"/out\", write = true }]\nclock = true\nrandom = true";
    let expected = [
        "can_read_table: shop/*",
        "can_write_table: shop/orders",
        "can_call_plugin: q",
        "codecs: lz4",
        "can_vector_search",
        "can_index_search",
        "clock",
        "random",
        "directories: /out for writing, which is /srv",
    ];
    assert_eq!(wider(policy, "", everything), expected);
    assert_eq!(wider(policy, everything, everything), [""; 0]);
    assert_eq!(wider(policy, everything, ""), [""; 0]);
}

#[test]
fn what_the_policy_does_not_allow_is_not_wider() {
    let policy = "[allow]\ncan_read_table = [\"a\"]\ncan_write_table = []\nclock = false";
    let wishes = "can_read_table = [\"b\"]\ncan_write_table = [\"**\"]\nclock = true\n\
        directories = [{ host = \"/srv\", guest = \"/out\" }]";
    assert_eq!(wider(policy, "", wishes), [""; 0]);
    assert_eq!(wider(policy, "", "can_read_table = [\"**\"]"), ["can_read_table: a"]);
    assert_eq!(wider(policy, "can_read_table = [\"a\"]", "can_read_table = [\"**\"]"), [""; 0]);
}

#[test]
fn a_pattern_is_covered_by_itself_by_everything_and_by_one_that_matches_it() {
    let read = |patterns: &[&str]| format!("can_read_table = {patterns:?}");
    let wider = |old: &[&str], new: &[&str]| wider("", &read(old), &read(new));
    assert_eq!(wider(&["shop/*"], &["shop/*"]), [""; 0]);
    assert_eq!(wider(&["**"], &["shop/*", "a"]), [""; 0]);
    assert_eq!(wider(&["shop/*"], &["shop/orders"]), [""; 0]);
    assert_eq!(wider(&["shop/orders"], &["shop/*"]), ["can_read_table: shop/*"]);
    // Nothing in it is new, but that is not looked for.
    assert_eq!(wider(&["shop/*"], &["shop/a*"]), ["can_read_table: shop/a*"]);
    assert_eq!(wider(&["a", "b"], &["b", "c"]), ["can_read_table: c"]);
}

#[test]
fn an_address_is_covered_by_what_it_goes_on_from() {
    let policy = "[allow]\naddresses = [\"http://h/\"]";
    let of = |address: &str| {
        let wishes = format!("[capabilities]\naddresses = [{address:?}]");
        grant(PluginKind::Observer, policy, &wishes)
    };
    let (all, some) = (of("http://h/"), of("http://h/v1"));
    assert_eq!(some.wider_than(&all), [""; 0]);
    assert_eq!(all.wider_than(&some), ["addresses: http://h/"]);
}

#[test]
fn writing_in_a_directory_is_more_than_reading() {
    let policy = "[allow]\ndirectories = [{ host = \"/srv\", guest = \"/a\", write = true }]";
    let directory = |write: bool| {
        format!("directories = [{{ host = \"/srv\", guest = \"/a\", write = {write} }}]")
    };
    let (read, write) = (directory(false), directory(true));
    assert_eq!(wider(policy, &read, &write), ["directories: /a for writing, which is /srv"]);
    assert_eq!(wider(policy, "", &read), ["directories: /a for reading, which is /srv"]);
    assert_eq!(wider(policy, &write, &read), [""; 0]);
}

#[test]
fn a_hook_that_is_called_more_often_is_wider() {
    let policy = "[allow]\ncan_write_table = [\"shop/*\"]";
    let hooks =
        |policy: &str, rest: &str| grant(PluginKind::Hooks, policy, &format!("[hooks]\n{rest}"));
    let old = hooks(policy, "tables = [\"a\"]\nafter = [\"insert\"]");
    let more = hooks(
        policy,
        "tables = [\"a\", \"b*\"]\nbefore = [\"delete\"]\nafter = [\"insert\", \"update\"]",
    );
    assert_eq!(
        more.wider_than(&old),
        [
            "hooks: tables b*",
            "hooks: before delete",
            "hooks: after update",
            "hooks: replacing rows of shop/*"
        ]
    );
    assert_eq!(old.wider_than(&more), [""; 0]);
    assert_eq!(more.wider_than(&more), [""; 0]);
    let procedure = grant(PluginKind::Procedure, policy, "");
    assert_eq!(old.wider_than(&procedure), ["hooks: tables a", "hooks: after insert"]);
    let unseen = hooks("[allow]\ncan_read_table = []", "tables = [\"a\"]\nafter = [\"insert\"]");
    assert_eq!(unseen.wider_than(&procedure), [""; 0]);
    let more_allowed = hooks("", "tables = [\"a\"]\nbefore = [\"delete\"]");
    let as_before = hooks(policy, "tables = [\"a\"]\nbefore = [\"delete\"]");
    assert_eq!(more_allowed.wider_than(&as_before), ["hooks: replacing rows of **"]);
}

#[test]
fn limits_are_no_rights() {
    let of = |rest: &str| grant(PluginKind::Procedure, "", rest);
    assert_eq!(of("[resources]\nmemory_limit_mb = 4096").wider_than(&of("")), [""; 0]);
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let part = select(&["a", "b", "*", "**", "?", "a*", "ab"][..]);
    let pattern = prop::collection::vec(part, 1..3).prop_map(|parts| parts.join("/"));
    prop::collection::vec(pattern, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_not_wider_grants_no_name_that_was_not_granted(
        old in patterns(), new in patterns(), old_allowed in patterns(), allowed in patterns(),
        name in "[ab]{1,2}(/[ab]{1,2}){0,2}", is_same_policy: bool,
    ) {
        let of = |allowed: &[String], wanted: &[String]| {
            let policy = format!("[allow]\ncan_read_table = {allowed:?}");
            grant(PluginKind::Procedure, &policy, &format!("[capabilities]\ncan_read_table = {wanted:?}"))
        };
        let old_allowed = if is_same_policy { &allowed } else { &old_allowed };
        let (old, new) = (of(old_allowed, &old), of(&allowed, &new));
        prop_assert_eq!(new.wider_than(&new), [""; 0]);
        if new.wider_than(&old).is_empty() {
            prop_assert!(!new.may_read(&name) || old.may_read(&name));
        }
    }
}
