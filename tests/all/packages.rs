//! Plugins in one file, as whoever gets one meets them.
//!
//! `tests/fixtures/packages/` has one of each version of the format, which installs forever. Its plugin is the golden guest
//! `identity` of contract 0.1.0, and it is signed.

use crate::program::Workplace;
use serde_json::Value;
use sochdb::host::plugin_package::PluginPackage;
use sochdb_test_guests::{IDENTITY, manifest};
use std::fs;
use std::path::{Path, PathBuf};

/// The manifest of `identity`, which pins its component.
fn pinned(component: &[u8]) -> String {
    let path = "path = \"identity.wasm\"";
    let blake3 = blake3::hash(component);
    manifest("identity", "codec", "").replace(path, &format!("{path}\nblake3 = \"{blake3}\""))
}

/// A folder with a plugin, and its package beside the folder.
fn packed() -> (Workplace, &'static str) {
    let work = Workplace::new();
    work.file("identity/identity.wasm", IDENTITY);
    work.file("identity/identity.toml", pinned(IDENTITY));
    work.file("identity/README.md", "# identity\n");
    let said = work.ok(&["plugin", "pack", "identity"]);
    for word in ["identity-1.0.0.sochdb-plugin", "identity.toml", "README.md", "blake3 "] {
        assert!(said.contains(word), "no '{word}' in {said}");
    }
    (work, "identity-1.0.0.sochdb-plugin")
}

#[test]
fn a_package_is_checked_inspected_and_installed_as_its_manifest_is() {
    let (work, package) = packed();
    fs::remove_dir_all(work.path("identity")).unwrap();
    let checked: Value =
        serde_json::from_str(&work.ok(&["plugin", "check", package, "--json"])).unwrap();
    assert_eq!((&checked["manifest"], &checked["pinned"]), (&package.into(), &true.into()));
    let text = work.ok(&["plugin", "check", package]);
    for word in [package, "as the manifest pins it", "code ", "passed"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    let shown = work.ok(&["plugin", "inspect", package]);
    assert!(shown.contains(&format!("{package}/identity.toml")), "{shown}");
    assert!(!work.db().exists());
    work.ok(&["plugin", "install", package]);
    work.ok(&["table", "create", "packed", "--codec", "identity"]);
    work.ok(&["put", "packed", "k", &"large ".repeat(3000)]);
    assert!(work.ok(&["get", "packed", "k"]).starts_with("large large"));
}

#[test]
fn a_folder_is_as_good_as_the_manifest_in_it() {
    let (work, _) = packed();
    assert!(work.ok(&["plugin", "check", "identity"]).contains("identity/identity.toml"));
    work.ok(&["plugin", "install", "identity"]);
    work.file("none/a", "");
    work.refused(&["plugin", "check", "none"], 3, &["no plugin's manifest in none"]);
}

/// The package of the first version of the format, and the key that it is signed with.
fn fixture() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/packages");
    folder.join("v1/identity-1.0.0.sochdb-plugin")
}

const KEY: &str = "RWTwIZy9s9nMaexOWvpa9VjXIdQaQewxp4O7DRJlJQqQl+fYgynVo9rr";

#[test]
fn a_signature_goes_along_and_counts() {
    let work = Workplace::new();
    let path = fixture();
    let package = path.to_str().expect("UTF-8");
    work.file(
        "policy.toml",
        format!("[signatures]\nrequired = true\ntrusted_keys = [\"{KEY}\"]\n"),
    );
    let text = work.ok(&["plugin", "check", package, "--policy", "policy.toml"]);
    assert!(text.contains(&format!("by {KEY}")), "{text}");
    work.ok(&["--policy", "policy.toml", "plugin", "install", package]);
    let (work, unsigned) = packed();
    work.file("policy.toml", "[signatures]\nrequired = true\n");
    work.refused(&["plugin", "check", unsigned, "--policy", "policy.toml"], 6, &["signature"]);
}

#[test]
fn the_package_of_every_released_format_installs_forever() {
    let path = fixture();
    let package = PluginPackage::read(&path).expect("it was written by this program");
    assert_eq!((package.name(), package.version()), ("identity", "1.0.0"));
    let work = Workplace::new();
    work.ok(&["plugin", "install", path.to_str().expect("UTF-8")]);
}

#[test]
fn hostile_packages_change_nothing() {
    let (work, package) = packed();
    let bytes = fs::read(work.path(package)).unwrap();
    let refused = |name: &str, bytes: &[u8], code: i32, words: &[&str]| {
        let file = format!("{name}.sochdb-plugin");
        work.file(&file, bytes);
        for command in ["check", "install", "inspect"] {
            work.refused(&["plugin", command, &file], code, words);
        }
    };
    refused("empty", b"", 2, &["no plugin package", "too short"]);
    refused("zip", b"PK\x03\x04 and so on", 2, &["no plugin package"]);
    refused("text", "a".repeat(5000).as_bytes(), 2, &["no plugin package"]);
    refused("cut", &bytes[..bytes.len() - 512], 5, &["damaged", "another hash", "get it again"]);
    refused("half", &bytes[..bytes.len() / 2 + 1], 5, &["damaged at byte"]);
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    refused("flipped", &flipped, 5, &["damaged at byte 512"]);
    let mut later = bytes.clone();
    later[512 + 14] = b'2';
    refused("later", &later, 5, &["format 2", "--version"]);
    let large = vec![b'\0'; 69 << 20];
    refused("large", &[&bytes[..1024], &large].concat(), 2, &["more than 71303168 bytes"]);
    fs::create_dir(work.path("folder.sochdb-plugin")).unwrap();
    work.refused(&["plugin", "install", "folder.sochdb-plugin"], 3, &["no plugin's manifest"]);
    work.refused(&["plugin", "install", "no.sochdb-plugin"], 3, &["no.sochdb-plugin"]);
    let more = work.file("more.sochdb-plugin", &bytes);
    let tar = std::process::Command::new("tar").arg("-tf").arg(&more).output();
    if let Ok(listed) = tar {
        let names = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(names, "sochdb-plugin\nidentity.toml\nREADME.md\nidentity.wasm\n");
    }
}

#[test]
fn what_is_not_pinned_is_not_packed() {
    let (work, _) = packed();
    work.file("identity/identity.toml", manifest("identity", "codec", ""));
    let words = ["no [module] blake3", "sochdb plugin build"];
    work.refused(&["plugin", "pack", "identity"], 2, &words);
    work.file("identity/identity.toml", pinned(b"another"));
    work.refused(&["plugin", "pack", "identity/identity.toml"], 2, &["its component has"]);
    work.file("identity/identity.toml", pinned(IDENTITY));
    work.refused(&["plugin", "pack", "identity", "-o", "x.tar"], 2, &["something.sochdb-plugin"]);
    work.refused(&["plugin", "pack", "nowhere"], 3, &["nowhere"]);
}
