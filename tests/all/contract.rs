//! The contract in `wit/` is kept: a released version never changes, and the code speaks what is there.
//!
//! | a folder `wit/VERSION`   | is                                                              |
//! |--------------------------|-----------------------------------------------------------------|
//! | with a file `FROZEN`     | released: exactly the files that `FROZEN` lists, byte for byte  |
//! | without                  | the draft; there is one at most, and no version is later        |
//!
//! A line of `FROZEN` is the BLAKE3 hash of a file in hex, two blanks, and the file's name; lines are sorted
//! by name. To release the draft: `SOCHDB_FREEZE_CONTRACT=VERSION cargo test --test all contract`.

use semver::Version;
use sochdb::host::CONTRACT_VERSION;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use wit_parser::{Resolve, Type, TypeDefKind};

/// The file that makes a version a released one.
pub const FROZEN: &str = "FROZEN";

/// Something that is wrong, as a sentence.
type Problem = String;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of a version of the contract.
pub fn folder_of(version: &str) -> PathBuf {
    root().join("wit").join(version)
}

/// The versions that have a folder in `wit`, oldest first.
fn versions(wit: &Path) -> Result<Vec<Version>, Problem> {
    let mut found = Vec::new();
    for name in names(wit) {
        match Version::parse(&name) {
            Ok(version) if wit.join(&name).is_dir() => found.push(version),
            _ if name == "README.md" => {}
            _ => return Err(format!("wit/{name} is no folder of a version")),
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err("wit/ has no version".to_owned()),
        false => Ok(found),
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder of this repository");
    entries.map(|entry| entry.unwrap().file_name().into_string().expect("UTF-8")).collect()
}

/// The hashes of the files of a version, by name. `FROZEN` itself is none of them.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let hash = |name: &String| {
        // A folder in a folder has no bytes, and so never the hash that was frozen.
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        blake3::hash(&bytes).to_string()
    };
    let names = names(folder).into_iter().filter(|name| name != FROZEN);
    names.map(|name| (name.clone(), hash(&name))).collect()
}

/// What became of the folder of a released version since `frozen` was written into it.
fn changes(folder: &Path, frozen: &str) -> Vec<Problem> {
    let shown = folder.display();
    let mut problems = Vec::new();
    let mut there = hashes(folder);
    for line in frozen.lines() {
        let Some((hash, name)) = line.split_once("  ") else {
            problems.push(format!("{shown}/{FROZEN} has the line {line:?}: no hash and name"));
            continue;
        };
        match there.remove(name) {
            None => problems.push(format!("{shown}/{name} is released and missing")),
            Some(found) if found != hash => {
                problems.push(format!("{shown}/{name} is released and was changed"));
            }
            Some(_) => {}
        }
    }
    let added = there.keys().map(|name| format!("{shown}/{name} was added to a released version"));
    problems.extend(added);
    problems
}

/// What is wrong with the folders of versions in `wit`.
fn folder_problems(wit: &Path) -> Vec<Problem> {
    let versions = match versions(wit) {
        Ok(versions) => versions,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    for version in &versions {
        let folder = wit.join(version.to_string());
        match fs::read_to_string(folder.join(FROZEN)) {
            Ok(frozen) if frozen.is_empty() => {
                problems.push(format!("wit/{version}/{FROZEN} lists nothing"));
            }
            Ok(frozen) => problems.extend(changes(&folder, &frozen)),
            Err(_) if Some(version) != versions.last() => problems.push(format!(
                "wit/{version} has no {FROZEN}, and only the newest version may be a draft"
            )),
            Err(_) => {}
        }
        let other = names(&folder).into_iter().find(|name| name != FROZEN && !is_wit(name));
        problems.extend(other.map(|name| format!("wit/{version}/{name} is no .wit file")));
        problems.extend(unexplained(&folder, version).unwrap_or_else(|problem| vec![problem]));
    }
    problems
}

fn is_wit(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "wit")
}

/// Parses a version, and lists each world, interface, function and type without a comment of its own.
fn unexplained(folder: &Path, version: &Version) -> Result<Vec<Problem>, Problem> {
    let mut resolve = Resolve::default();
    let parsed = resolve.push_dir(folder);
    let (package, _) = parsed.map_err(|error| format!("wit/{version}: {error:#}"))?;
    let package = &resolve.packages[package];
    let name = package.name.to_string();
    let mut problems = Vec::new();
    if name != format!("sochdb:plugin@{version}") {
        problems.push(format!("the package in wit/{version} is called {name}"));
    }
    let mut check = |what: String, docs: &wit_parser::Docs| {
        let is_empty = docs.contents.as_deref().is_none_or(|text| text.trim().is_empty());
        if is_empty {
            problems.push(format!("wit/{version}: {what} has no comment"));
        }
    };
    for (name, world) in &package.worlds {
        check(format!("the world {name}"), &resolve.worlds[*world].docs);
    }
    for (name, interface) in &package.interfaces {
        let interface = &resolve.interfaces[*interface];
        check(format!("the interface {name}"), &interface.docs);
        for (function, found) in &interface.functions {
            check(format!("the function {name}.{function}"), &found.docs);
        }
        for (type_name, found) in &interface.types {
            let found = &resolve.types[*found];
            // A `use` makes another name for a type that is explained where it is defined.
            if !matches!(found.kind, TypeDefKind::Type(Type::Id(_))) {
                check(format!("the type {name}.{type_name}"), &found.docs);
            }
        }
    }
    Ok(problems)
}

/// The code that speaks the contract: where it lies, and whether it speaks all versions or the newest.
struct Speaker {
    path: &'static str,
    text: String,
    speaks_all: bool,
}

/// Where the code and the folders of versions disagree.
fn disagreements(versions: &[Version], constant: &str, speakers: &[Speaker]) -> Vec<Problem> {
    let all: BTreeSet<_> = versions.iter().map(Version::to_string).collect();
    let newest: BTreeSet<_> = versions.last().map(Version::to_string).into_iter().collect();
    let mut problems = Vec::new();
    if !newest.contains(constant) {
        problems.push(format!("CONTRACT_VERSION is {constant}, the newest folder {newest:?}"));
    }
    for Speaker { path, text, speaks_all } in speakers {
        let expected = if *speaks_all { &all } else { &newest };
        let spoken: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("path: \"../wit/")?.split('"').next())
            .map(str::to_owned)
            .collect();
        if spoken != *expected {
            problems.push(format!("{path} is generated from {spoken:?}, not from {expected:?}"));
        }
    }
    problems
}

/// Makes the draft in `folder` a released version.
///
/// # Errors
/// When it is one already.
fn freeze(folder: &Path) -> Result<(), Problem> {
    if folder.join(FROZEN).exists() {
        return Err(format!("{} is released already", folder.display()));
    }
    let lines = hashes(folder).into_iter().map(|(name, hash)| format!("{hash}  {name}\n"));
    fs::write(folder.join(FROZEN), lines.collect::<String>()).map_err(|error| error.to_string())
}

fn speakers() -> [Speaker; 2] {
    let speaker = |path: &'static str, speaks_all| {
        let text = fs::read_to_string(root().join(path)).expect("where bindings are generated");
        Speaker { path, text, speaks_all }
    };
    [
        speaker("host-abi/src/wasm_host_abi/mod.rs", true),
        speaker("sdk-guest/src/bindings.rs", false),
    ]
}

#[test]
fn every_version_is_as_it_was_released_and_explained() {
    if let Ok(version) = std::env::var("SOCHDB_FREEZE_CONTRACT") {
        let golden = crate::golden::folder().join(&version);
        assert!(golden.is_dir(), "make golden guests of {version} before releasing it");
        freeze(&folder_of(&version)).unwrap();
    }
    let none: &[Problem] = &[];
    assert_eq!(folder_problems(&root().join("wit")), none);
}

#[test]
fn the_code_speaks_the_versions_that_are_there() {
    let versions = versions(&root().join("wit")).unwrap();
    let none: &[Problem] = &[];
    assert_eq!(disagreements(&versions, CONTRACT_VERSION, &speakers()), none);
}

/// A copy of the newest version in a folder of its own.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let wit = tempfile::tempdir().unwrap();
    let folder = wit.path().join(CONTRACT_VERSION);
    fs::create_dir(&folder).unwrap();
    for name in names(&folder_of(CONTRACT_VERSION)).iter().filter(|name| is_wit(name)) {
        fs::copy(folder_of(CONTRACT_VERSION).join(name), folder.join(name)).unwrap();
    }
    (wit, folder)
}

#[track_caller]
fn says(problems: &[Problem], expected: &[&str]) {
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, words) in problems.iter().zip(expected) {
        assert!(problem.contains(words), "{words:?} is not in {problems:#?}");
    }
}

#[test]
fn a_released_version_cannot_change() {
    let (wit, folder) = copy();
    says(&folder_problems(wit.path()), &[]);
    freeze(&folder).unwrap();
    says(&folder_problems(wit.path()), &[]);
    assert!(freeze(&folder).unwrap_err().contains("released already"));

    let (file, codecs) = (folder.join("codec.wit"), folder.join("codecs.wit"));
    let (text, frozen) = (fs::read(&file).unwrap(), fs::read(folder.join(FROZEN)).unwrap());
    fs::write(&file, [&text[..], b"\n"].concat()).unwrap();
    says(&folder_problems(wit.path()), &["codec.wit is released and was changed"]);
    fs::write(&file, &text).unwrap();
    fs::write(folder.join("more.wit"), "package sochdb:plugin@0.1.0;\n").unwrap();
    says(&folder_problems(wit.path()), &["more.wit was added"]);
    fs::remove_file(folder.join("more.wit")).unwrap();
    fs::write(folder.join("notes.txt"), "").unwrap();
    says(&folder_problems(wit.path()), &["notes.txt was added", "notes.txt is no .wit file"]);
    fs::remove_file(folder.join("notes.txt")).unwrap();
    fs::rename(&codecs, wit.path().join("elsewhere")).unwrap();
    let found = folder_problems(wit.path());
    assert_eq!(found, ["wit/elsewhere is no folder of a version"]);
    fs::remove_file(wit.path().join("elsewhere")).unwrap();
    assert!(folder_problems(wit.path())[0].contains("codecs.wit is released and missing"));
    for spoilt in [&b""[..], b"codec.wit\n"] {
        fs::write(folder.join(FROZEN), spoilt).unwrap();
        assert!(!folder_problems(wit.path()).is_empty());
    }
    fs::write(folder.join(FROZEN), frozen).unwrap();
}

#[test]
fn only_the_newest_version_may_be_a_draft() {
    let (wit, folder) = copy();
    let next = wit.path().join("0.10.0");
    fs::create_dir(&next).unwrap();
    for name in names(&folder) {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        fs::write(next.join(name), text.replace(CONTRACT_VERSION, "0.10.0")).unwrap();
    }
    says(&folder_problems(wit.path()), &["wit/0.1.0 has no FROZEN"]);
    freeze(&folder).unwrap();
    says(&folder_problems(wit.path()), &[]);
    freeze(&next).unwrap();
    says(&folder_problems(wit.path()), &[]);
    fs::create_dir(wit.path().join("next")).unwrap();
    says(&folder_problems(wit.path()), &["wit/next is no folder of a version"]);
}

#[test]
fn what_nobody_explains_or_can_read_is_found() {
    let (wit, folder) = copy();
    let file = folder.join("codec.wit");
    let text = fs::read_to_string(&file).unwrap();
    let bare: String = text
        .lines()
        .filter(|line| !line.contains("///"))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(&file, bare.replace("use types", "record r { a: u8 }\n use types")).unwrap();
    let mut found = folder_problems(wit.path());
    found.sort();
    says(
        &found,
        &[
            "the function codec.compress has",
            "the function codec.decompress has",
            "the interface codec has",
            "the type codec.r has",
        ],
    );
    fs::write(&file, text.replace("interface codec", "interfase codec")).unwrap();
    says(&folder_problems(wit.path()), &["wit/0.1.0: failed to parse"]);
    fs::remove_file(&file).unwrap();
    says(&folder_problems(wit.path()), &["codec"]);
    let (other, folder) = copy();
    fs::rename(folder, other.path().join("0.2.0")).unwrap();
    says(
        &folder_problems(other.path()),
        &["the package in wit/0.2.0 is called sochdb:plugin@0.1.0"],
    );
}

#[test]
fn code_that_speaks_other_versions_is_found() {
    let version = |text| Version::parse(text).unwrap();
    let (one, two) = (version("0.1.0"), version("0.2.0"));
    let speakers = |host: &str, sdk: &str| {
        let text = |versions: &str| {
            let lines = versions.split_whitespace();
            lines.map(|version| format!("        path: \"../wit/{version}\",\n")).collect()
        };
        [
            Speaker { path: "host", text: text(host), speaks_all: true },
            Speaker { path: "sdk", text: text(sdk), speaks_all: false },
        ]
    };
    let both = [one.clone(), two];
    says(&disagreements(&both, "0.2.0", &speakers("0.1.0 0.2.0", "0.2.0")), &[]);
    says(&disagreements(&both, "0.1.0", &speakers("0.1.0 0.2.0", "0.2.0")), &["CONTRACT_VERSION"]);
    says(&disagreements(&both, "0.2.0", &speakers("0.2.0", "0.2.0 0.2.0")), &["host is generated"]);
    says(&disagreements(&both, "0.2.0", &speakers("0.2.0 0.1.0", "0.1.0")), &["sdk is generated"]);
    let found = disagreements(&[one], "0.1.0", &speakers("", "0.1.0 0.2.0"));
    says(&found, &["host is generated", "sdk is generated"]);
}
