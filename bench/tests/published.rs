//! What is published is made of what was measured, and nothing else is.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn bench(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.current_dir(folder).args(arguments).output().expect("the benchmark starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The READMEs of this repository show what the JSON in docs/benchmarks gives; where there is none yet, their blocks are
/// at least whole.
#[test]
fn the_figures_of_the_readmes_are_those_of_the_json() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let output = bench(root, &["embed", "--check"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// A repository with nothing but its READMEs.
fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let block =
        |name: &str| format!("<!-- bench:{name}:begin -->\nold\n<!-- bench:{name}:end -->\n");
    let readme = format!("Before.\n\n{}\nBetween.\n\n{}", block("footprint"), block("vectors"));
    fs::write(root.path().join("README.md"), readme).expect("written");
    fs::create_dir_all(root.path().join("bench")).expect("made");
    fs::create_dir_all(root.path().join("docs/benchmarks")).expect("made");
    fs::write(root.path().join("bench/README.md"), block("figures")).expect("written");
    root
}

#[test]
fn one_command_measures_and_publishes() {
    let root = repository();
    let steps = ["kv-json", "scaling", "lscs", "observers", "overhead", "footprint"];
    let only = steps.join(",");
    let output =
        bench(root.path(), &["all", "--quick", "--only", &only, "--report", "docs/benchmarks"]);
    assert!(output.status.success(), "{}", said(&output));
    let report = root.path().join("docs/benchmarks");
    let read = |name: &str| {
        fs::read_to_string(report.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let index = read("README.md");
    for step in steps {
        let published: Value = serde_json::from_str(&read(&format!("{step}.json"))).expect("JSON");
        assert!(
            published["outcome"]["measured"].is_object()
                || published["outcome"]["measured"].is_array()
        );
        assert!(
            !published["outcome"]["summary"].as_object().expect("figures").is_empty(),
            "{step}"
        );
        let page = read(&format!("{step}.md"));
        for chart in published["outcome"]["charts"].as_array().expect("a list") {
            let picture = format!("{step}-{}.svg", chart["name"].as_str().expect("a name"));
            assert!(page.contains(&format!("]({picture})")), "{page}");
            assert!(read(&picture).starts_with("<svg"), "{picture}");
        }
        assert!(page.contains("| ") && index.contains(&format!("({step}.md)")), "{step}");
    }
    assert!(
        index.contains("| boundary")
            && index.contains("not measured")
            && index.contains("smoke run"),
        "aims: {index}"
    );
    assert!(read("kv-json-ratios.svg").contains("redb"));
    let readme = fs::read_to_string(root.path().join("README.md")).expect("there");
    assert!(readme.contains("open a warm database") && readme.contains("Between."), "{readme}");
    assert!(
        readme.contains("bench:vectors:begin -->\nold\n"),
        "what was not measured stays: {readme}"
    );
    a_figure_changed_by_hand_is_noticed(root.path(), &readme);
}

fn a_figure_changed_by_hand_is_noticed(root: &Path, readme: &str) {
    assert!(bench(root, &["embed", "--check"]).status.success());
    let changed = readme.replace("open a warm database", "open a database");
    fs::write(root.join("README.md"), changed).expect("written");
    let output = bench(root, &["embed", "--check"]);
    let said = said(&output);
    assert!(
        !output.status.success() && said.contains("README.md") && said.contains("help:"),
        "{said}"
    );
    assert!(bench(root, &["embed"]).status.success());
    assert_eq!(
        fs::read_to_string(root.join("README.md")).expect("there"),
        readme,
        "it is made again"
    );
}

#[test]
fn a_workload_that_fails_does_not_keep_the_others_from_being_published() {
    let root = repository();
    let only = ["--only", "vector,footprint", "--report", "docs/benchmarks"];
    let arguments = [&["all", "--quick", "--data", "/not/there"][..], &only].concat();
    let output = bench(root.path(), &arguments);
    assert!(!output.status.success());
    assert!(said(&output).contains("these workloads failed: vector"), "{}", said(&output));
    let report = root.path().join("docs/benchmarks");
    assert!(report.join("footprint.md").is_file() && !report.join("vector.json").exists());
    let output = bench(root.path(), &["all", "--only", "nothing"]);
    assert!(
        said(&output).contains("footprint"),
        "it names those that there are: {}",
        said(&output)
    );
}
