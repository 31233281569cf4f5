//! The operator's policy, from the command line.

use crate::program::Workplace;
use serde_json::Value;

#[test]
fn a_policy_lowers_what_plugins_get_and_inspecting_shows_it() {
    let work = Workplace::new();
    work.file(
        "policy.toml",
        "[limits]\nmemory_limit_mb = 100\n[plugin.lz4.limits]\ntimeout_ms = 7\n",
    );
    let inspect = ["--policy", "policy.toml", "plugin", "inspect", "lz4"];
    let text = work.ok(&inspect);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        line.split_whitespace().skip(1).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("memory_limit_mb"), ["256", "100"], "{text}");
    assert_eq!(line("timeout_ms"), ["5,000", "7"], "{text}");
    assert_eq!(line("max_instances"), ["4", "4"], "{text}");
    let json: Value =
        serde_json::from_str(&work.ok(&[&inspect[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["limits"]["timeout_ms"], 7);
    assert_eq!(json["limits_wanted"]["timeout_ms"], 5000);
    assert_eq!(json["grant"]["clock"], false);
}

#[test]
fn a_policy_that_cannot_be_kept_ends_every_command() {
    let work = Workplace::new();
    let inspect = ["plugin", "inspect", "lscs", "--policy", "policy.toml"];
    for command in [&inspect[..], &["table", "create", "t", "--policy", "policy.toml"]] {
        work.refused(command, 3, &["policy.toml"]);
    }
    work.file("policy.toml", "[allow]\nclokc = true\n");
    for command in [&inspect[..], &["table", "create", "t", "--policy", "policy.toml"]] {
        work.refused(command, 2, &["policy.toml:2:1", "did you mean 'clock'"]);
    }
    work.file("policy.toml", "[limits]\nmax_instances = 1\n");
    work.refused(&inspect, 6, &["needs 2 instances", "max_instances"]);
    work.ok(&["table", "create", "t", "--policy", "policy.toml"]);
}
