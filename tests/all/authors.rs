//! Plugins as their authors meet the command: made, built, checked, packed, installed.
//!
//! Each kind is scaffolded into an empty folder and built by the real cargo, which shares a target directory among
//! all of them and needs no network: the lock file is this repository's.

use crate::program::Workplace;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo finds what other plugins and earlier runs have built.
const TARGET_DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/authors");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What cargo is told, by whoever runs it.
fn configured(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_of_this_run =
            ["RUSTFLAGS", "RUSTC", "RUSTDOC", "CARGO_ENCODED", "CARGO_PROFILE", "CARGO_BUILD"];
        if is_of_this_run.iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(&*name);
        }
    }
    command.env("CARGO_TARGET_DIR", TARGET_DIR).env("CARGO_NET_OFFLINE", "true")
}

/// Runs what must succeed, whatever it says on standard error, and returns its output.
#[track_caller]
fn ok_in(work: &Workplace, folder: &str, args: &[&str]) -> String {
    let mut command = work.command(args);
    let output = configured(&mut command).current_dir(work.path(folder)).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "sochdb {args:?}\n{out}{err}");
    out
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Makes the plugin `name`, in whose folder cargo finds everything without a network.
fn scaffold(work: &Workplace, name: &str, kind: &str) -> PathBuf {
    let said = work.ok(&["plugin", "new", name, "--kind", kind, "--author", "A. Stranger"]);
    assert!(said.contains("sochdb plugin build"), "{said}");
    let folder = work.path(name);
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
    folder
}

/// Runs the tests that a new plugin has.
fn cargo_test(folder: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = configured(cargo.arg("test").current_dir(folder));
    let output = cargo.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo test in {}\n{text}{told}", folder.display());
    assert!(text.contains("test tests::"), "there are some\n{text}");
    assert!(!told.contains("warning"), "a new plugin has no warnings\n{told}");
}

/// Makes, tests, builds, checks and packs a plugin of this kind; installs it from the package alone.
fn from_nothing(kind: &str) -> Workplace {
    let work = Workplace::new();
    let name = &format!("my-{kind}");
    let folder = scaffold(&work, name, kind);
    cargo_test(&folder);
    let built = parse(&ok_in(&work, name, &["plugin", "build", "--json", "--no-wasm-opt"]));
    let component = fs::read(folder.join(format!("{name}.wasm"))).expect("built");
    assert_eq!(built["blake3"], blake3::hash(&component).to_string());
    let manifest = fs::read_to_string(folder.join(format!("{name}.toml"))).expect("there");
    assert!(manifest.contains(&format!("\nblake3 = \"{}\"\n", blake3::hash(&component))));
    assert!(component.len() < 400_000, "{} bytes", component.len());
    let here = root().to_str().expect("UTF-8");
    let own = folder.to_str().expect("UTF-8");
    for path in [here, own] {
        let is_there = component.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!is_there, "the component tells where it was built: {path}");
    }

    let checked = parse(&ok_in(&work, name, &["plugin", "check", ".", "--json"]));
    assert_eq!((&checked["ok"], &checked["pinned"]), (&true.into(), &true.into()));
    assert_eq!(checked["notes"], serde_json::json!([]), "{kind}");
    assert_eq!(checked["plugin"]["author"], "A. Stranger");
    ok_in(&work, name, &["plugin", "test", "."]);

    let packed = parse(&work.ok(&["plugin", "pack", name, "--json"]));
    let package = format!("{name}-0.1.0.sochdb-plugin");
    assert_eq!(packed["package"], package);
    assert_eq!(packed["files"][1], "README.md");
    let again = work.path("again.sochdb-plugin");
    work.ok(&["plugin", "pack", name, "-o", "again.sochdb-plugin"]);
    assert_eq!(fs::read(again).unwrap(), fs::read(work.path(&package)).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    let installed = work.ok(&["plugin", "install", &package]);
    assert_eq!(installed, format!("installed '{name}', blake3 {}\n", blake3::hash(&component)));
    work
}

#[test]
fn a_codec_from_nothing_compresses_a_table() {
    let work = from_nothing("codec");
    work.ok(&["table", "create", "notes", "--codec", "my-codec"]);
    let value = "a".repeat(20_000);
    work.ok(&["put", "notes", "k", &value]);
    assert_eq!(work.ok(&["get", "notes", "k"]), format!("{value}\n"));
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}

#[test]
fn hooks_from_nothing_refuse_what_they_should() {
    let work = from_nothing("hooks");
    work.ok(&["table", "create", "notes"]);
    work.ok(&["put", "notes", "a", "one"]);
    let refused = work.run(&["put", "notes", "b", ""]);
    assert_eq!(refused.code, 6, "{}", refused.err);
    assert!(refused.err.contains("takes no empty values"), "{}", refused.err);
}

#[test]
fn a_hook_takes_at_most_twenty_lines() {
    let work = Workplace::new();
    let text = fs::read_to_string(scaffold(&work, "my-hooks", "hooks").join("src/lib.rs")).unwrap();
    let own = text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(str::trim);
    let code: Vec<_> = own.filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
    assert!(code.len() <= 20, "{} lines\n{}", code.len(), code.join("\n"));
}

#[test]
fn a_procedure_from_nothing_is_called() {
    let work = from_nothing("procedure");
    work.ok(&["table", "create", "notes"]);
    work.ok(&["put", "notes", "a", "one"]);
    let answer = work.ok(&["call", "my-procedure.count", r#"{"table": "notes"}"#]);
    assert_eq!(answer, "{\"rows\":1}\n");
}

#[test]
fn a_storage_engine_from_nothing_keeps_a_table() {
    let work = from_nothing("storage");
    work.ok(&["table", "create", "notes", "--storage", "my-storage"]);
    for (key, value) in [("a", "one"), ("b", "two")] {
        work.ok(&["put", "notes", key, value]);
    }
    work.ok(&["delete", "notes", "a"]);
    assert_eq!(work.ok(&["scan", "notes", "--json"]), "{\"key\":\"b\",\"value\":\"two\"}\n");
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}

#[test]
fn an_index_from_nothing_finds_the_nearest() {
    let work = from_nothing("index");
    let columns = ["--column", "id:int64", "--column", "v:vector(2)", "--key", "id"];
    work.ok(&[&["table", "create", "docs"], &columns[..]].concat());
    for (id, v) in [("id=1", "v=[0.5, 1.0]"), ("id=2", "v=[-1.0, 0.5]")] {
        work.ok(&["put", "docs", id, v]);
    }
    work.ok(&["index", "create", "docs", "v", "--using", "my-index", "--set", "flat_max=0"]);
    let found = work.ok(&["search", "docs", "--vector", "[0.4, 1.1]", "-k", "1", "--json"]);
    assert!(found.contains("\"id\":1"), "{found}");
    work.ok(&["index", "check", "docs", "v"]);
}

#[test]
fn an_observer_from_nothing_is_there() {
    let work = from_nothing("observer");
    assert!(work.ok(&["plugin", "list"]).contains("my-observer"));
}

/// Makes, tests and builds a plugin in Python, with `more` said about where componentize-py is. `None` when that cannot
/// be had here.
fn python_from_nothing(kind: &str, more: &[&str]) -> Option<Workplace> {
    let work = Workplace::new();
    let name = &format!("my-{kind}");
    work.ok(&["plugin", "new", name, "--kind", kind, "--lang", "python"]);
    let folder = work.path(name);
    let mut tests = Command::new("python3");
    let tests = tests.args(["-m", "unittest"]).current_dir(&folder).output();
    let Ok(tests) = tests else {
        left_out("there is no python3");
        return None;
    };
    let told = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success() && told.contains("Ran 1 test"), "{told}");
    let args = [&["plugin", "build", "--json"], more].concat();
    let output = work.command(&args).current_dir(&folder).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("could not be installed") {
        left_out(&told);
        return None;
    }
    assert!(output.status.success(), "{told}");
    let built = parse(&String::from_utf8_lossy(&output.stdout));
    let checked = parse(&ok_in(&work, name, &["plugin", "check", ".", "--json"]));
    assert_eq!((&checked["pinned"], &checked["notes"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(checked["plugin"]["blake3"], built["blake3"]);
    ok_in(&work, name, &["plugin", "test", "."]);
    work.ok(&["plugin", "pack", name]);
    work.ok(&["plugin", "install", &format!("{name}-0.1.0.sochdb-plugin")]);
    work.ok(&["table", "create", "notes"]);
    work.ok(&["put", "notes", "a", "one"]);
    Some(work)
}

/// Says past the test harness, which shows what is printed only of tests that fail, why a test is left out.
fn left_out(why: &str) {
    assert_ne!(std::env::var("SOCHDB_PYTHON").as_deref(), Ok("require"), "{why}");
    let _ = writeln!(std::io::stderr(), "\n*** A TEST OF PYTHON PLUGINS WAS LEFT OUT: {why} ***\n");
}

#[test]
fn plugins_in_python_from_nothing_are_asked_and_called() {
    if std::env::var("SOCHDB_PYTHON").as_deref() == Ok("skip") {
        return left_out("SOCHDB_PYTHON=skip");
    }
    let Some(work) = python_from_nothing("hooks", &[]) else { return };
    let refused = work.run(&["put", "notes", "b", ""]);
    assert_eq!(refused.code, 6, "{}", refused.err);
    assert!(refused.err.contains("takes no empty values"), "{}", refused.err);
    // Where componentize-py was installed for the first, it serves the second.
    let venv = work.path("my-hooks/.venv");
    let venv = venv.to_str().expect("UTF-8");
    let more = [["--venv", venv]].concat();
    let more = if Path::new(venv).is_dir() { &more[..] } else { &[] };
    let Some(work) = python_from_nothing("procedure", more) else { return };
    let answer = work.ok(&["call", "my-procedure.count", r#"{"table": "notes"}"#]);
    assert_eq!(answer, "{\"rows\":1}\n");
    let kinds = ["codec", "observer", "storage", "index"];
    for kind in kinds {
        let args = ["plugin", "new", "x", "--kind", kind, "--lang", "python"];
        work.refused(&args, 2, &["has no plugins of kind", kind, "--lang rust"]);
    }
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_written() {
    let work = Workplace::new();
    let new = |more: &[&'static str]| [&["plugin", "new"], more].concat();
    for name in ["Big", "9lives", "a/b", "..", "", "ünder"] {
        work.refused(&["plugin", "new", name, "--kind", "hooks"], 2, &["is no plugin name"]);
    }
    work.refused(&new(&["lz4", "--kind", "codec"]), 2, &["part of this program"]);
    work.refused(&new(&["x", "--kind", "hook"]), 2, &["hooks"]);
    work.refused(&new(&["x"]), 2, &["--kind"]);
    work.refused(
        &new(&["x", "--kind", "hooks", "--sdk", "nowhere"]),
        3,
        &["no SDK in nowhere", "--sdk"],
    );
    work.file("x/mine", "precious");
    work.refused(&new(&["x", "--kind", "hooks"]), 2, &["something in x already", "--path"]);
    let made = parse(&work.ok(&new(&[
        "y",
        "--kind",
        "codec",
        "--sdk",
        "0.1.0",
        "--license",
        "none",
        "--json",
    ])));
    assert_eq!((&made["made"], &made["kind"]), (&"y".into(), &"codec".into()));
    let cargo = fs::read_to_string(work.path("y/Cargo.toml")).unwrap();
    assert!(cargo.contains("sochdb-guest = { version = \"0.1.0\" }"), "{cargo}");
    assert!(!work.path("y/LICENSE").exists());
    work.ok(&new(&[
        "z",
        "--kind",
        "codec",
        "--license",
        "MIT",
        "--author",
        "Ada",
        "--path",
        "deep/er",
    ]));
    let license = fs::read_to_string(work.path("deep/er/LICENSE")).unwrap();
    assert!(license.contains("Ada") && !license.contains("SochDB"), "{license}");
}

#[test]
fn what_cannot_be_built_says_what_is_missing() {
    let work = Workplace::new();
    work.refused(&["plugin", "build", "nowhere"], 2, &["not a folder", "sochdb plugin new"]);
    work.file("empty/readme", "");
    work.refused(&["plugin", "build", "empty"], 3, &["no plugin's manifest in empty"]);
    let manifest = sochdb_test_guests::manifest("a", "codec", "");
    work.file("bare/a.toml", &manifest);
    work.refused(&["plugin", "build", "bare"], 2, &["no plugin's source in bare", "Cargo.toml"]);
    work.file("two/a.toml", &manifest);
    work.file("two/b.toml", &manifest);
    work.refused(&["plugin", "build", "two"], 2, &["two/a.toml, two/b.toml"]);
    work.file("wrong/a.toml", manifest.replace("\nversion", "\nverzion"));
    work.refused(&["plugin", "build", "wrong"], 2, &["a.toml:3:1", "'version'"]);
    work.file("broken/a.toml", &manifest);
    work.file("broken/Cargo.toml", "[package]\nname = \"a\"\nedition = \"2024\"\n[workspace]\n");
    work.file("broken/src/lib.rs", "this is no Rust");
    let mut command = work.command(&["plugin", "build", "broken"]);
    let output = configured(&mut command).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("src/lib.rs") && said.contains("error: the crate in "), "{said}");
    work.file("broken/src/lib.rs", "");
    let mut command = work.command(&["plugin", "build", "broken"]);
    let output = configured(&mut command).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("makes no component") && said.contains("cdylib"), "{said}");
}
