//! What comes with a plugin before anything of it runs: its manifest, its operator's policy, its component, the file
//! that they come in.

use crate::allocation::bounded;
use sochdb_host_abi::limits::MANIFEST_BYTES_MAX;
use sochdb_host_abi::plugin_package::{self, PluginPackage};
use sochdb_host_abi::{ManifestError, PluginHost, PluginManifest, Policy};
use std::cell::LazyCell;
use std::fs;
use tempfile::TempDir;

/// A parser of text makes something of every few bytes: keys, values, where each began.
const NODES: usize = 8;
/// What reading one item needs beside its result: mostly an error's text.
const CONSTANT: usize = 64 << 10;
/// The manifest's JSON Schema, in which the section is sought that an unknown key belongs to.
const SCHEMA: usize = 128 << 10;
/// What a compiler needs, whatever it compiles.
const COMPILER: usize = 64 << 20;

/// A manifest or a policy is read, or what is wrong has a place in it.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(text.len() as u64 <= MANIFEST_BYTES_MAX, "a longer file is not read");
    bounded(data.len() * NODES, CONSTANT + SCHEMA, || {
        let manifest = PluginManifest::parse("m.toml", text);
        check_place(text, manifest.as_ref().err());
        if let Ok(manifest) = manifest {
            assert!(!manifest.name.is_empty() && manifest.name.len() <= text.len());
            assert_eq!(
                PluginManifest::parse("m.toml", text).as_ref(),
                Ok(&manifest),
                "one reading"
            );
        }
    });
    bounded(data.len() * NODES, CONSTANT + SCHEMA, || {
        check_place(text, Policy::parse("m.toml", text).err().as_ref());
    });
}

/// An error is short, names the file, and a line that is there.
fn check_place(text: &str, error: Option<&ManifestError>) {
    let Some(error) = error else { return };
    let shown = error.to_string();
    let place = shown.strip_prefix("m.toml").expect("the file comes first");
    let line = place.strip_prefix(':').and_then(|place| place.split(':').next());
    if let Some(line) = line.and_then(|line| line.parse::<usize>().ok()) {
        let lines = text.split('\n').count();
        assert!(0 < line && line <= lines, "line {line} of {lines}: {shown}");
    }
}

pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let everything = "[plugin]\nname = \"a\"\nversion = \"1.2.3\"\nkind = \"hooks\"\n\
        min_kernel_version = \"0.1.0\"\nauthor = \"b\"\nlicense = \"MIT\"\n\
        [module]\npath = \"a.wasm\"\nblake3 = \
        \"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"\n\
        [exports]\ninterfaces = [\"hooks\", \"lifecycle\"]\n\
        [capabilities]\ncan_read_table = [\"t\", \"n/*\", \"**\"]\ncan_write_table = []\n\
        can_call_plugin = [\"b\"]\ncodecs = [\"lz4\"]\nclock = true\nrandom = false\n\
        [resources]\nmemory_limit_mb = 64\nfuel_limit = 1_000_000\ntimeout_ms = 5\n\
        [hooks]\ntables = [\"t\"]\nbefore = [\"insert\"]\nafter = [\"delete\"]\norder = -1\n\
        [config_schema]\nlevel = { type = \"integer\", default = 3, min = 1, max = 9 }\n\
        [config]\nlevel = 4\n";
    let policy = "[allow]\ncan_read_table = [\"**\"]\nclock = true\n\
        [limits]\nfuel_limit = 5_000_000\n[plugin.a.allow]\nclock = false\n";
    let shipped = [
        include_str!("../../../manifests/lscs.toml"),
        include_str!("../../../manifests/lz4.toml"),
        include_str!("../../../manifests/prometheus.toml"),
    ];
    let texts =
        shipped.into_iter().chain([everything, policy, "a.b.c = [[{}]]", "a = \"\\u0000\""]);
    texts.map(|text| text.as_bytes().to_vec()).collect()
}

/// Where a package's head ends, and where in it the hash begins, and ends.
const PACKAGE_REST: usize = 1024;
const PACKAGE_HASH: std::ops::Range<usize> = 535..599;

/// `data` with a head that holds.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let hash = plugin_package::hash(data.get(PACKAGE_REST..)?);
    let mut package = data.to_vec();
    package[PACKAGE_HASH].copy_from_slice(hash.as_bytes());
    Some(package)
}

/// A package is read, or it is said why not; what is read unpacks to files of plain names.
pub fn package(data: &[u8]) {
    for package in [Some(data.to_vec()), sealed(data)].into_iter().flatten() {
        bounded(data.len() * NODES, CONSTANT + SCHEMA, || {
            let Ok(read) = PluginPackage::decode("p", package.clone()) else { return };
            assert_eq!(read.bytes(), package, "it is kept as it was");
            let names: Vec<_> = read.files().map(|(name, _)| name).collect();
            assert!(2 <= names.len() && names[0] == read.manifest_name());
            for (index, name) in names.iter().enumerate() {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                assert!(!name.starts_with('.') && name.chars().all(is_plain), "{name}");
                assert!(!names[..index].contains(name), "{name} is there once");
            }
        });
    }
}

pub fn package_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let component = b"\0asm and so on";
    let manifest = format!(
        "[plugin]\nname = \"a\"\nversion = \"1.2.3\"\nkind = \"codec\"\nmin_kernel_version = \"0.1.0\"\n\
         [module]\npath = \"a.wasm\"\nblake3 = \"{}\"\n[exports]\ninterfaces = [\"codec\", \"lifecycle\"]\n",
        plugin_package::hash(component)
    );
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("a folder for temporary files");
    };
    let gather = || {
        let package = PluginPackage::gather(&folder.path().join("a.toml"));
        package.expect("the seeds are right").bytes().to_vec()
    };
    write("a.wasm", component);
    write("a.toml", manifest.as_bytes());
    let least = gather();
    write("README.md", b"# a");
    write("LICENSE", b"as is");
    write("a.toml.minisig", b"signed");
    vec![least, gather()]
}

/// A host, and where the component under test lies.
struct Host {
    host: PluginHost,
    folder: TempDir,
}

thread_local! {
    static HOST: LazyCell<Host> = const {
        LazyCell::new(|| Host {
            host: PluginHost::new().expect("this machine runs WebAssembly"),
            folder: tempfile::tempdir().expect("a folder for temporary files"),
        })
    };
}

/// Bytes are a component of which everything is known before it runs, or they are refused.
pub fn component(data: &[u8]) {
    HOST.with(|host| {
        let path = host.folder.path().join("guest.wasm");
        fs::write(&path, data).expect("a folder for temporary files");
        bounded(data.len(), COMPILER, || {
            if let Ok(found) = host.host.inspect(&path) {
                assert_eq!(found.bytes, data.len() as u64);
                assert!(!found.loadable || found.kind.is_some());
                let again = host.host.inspect(&path);
                assert_eq!(again.as_ref().ok(), Some(&found), "one reading");
            }
        });
    });
}

pub fn component_seeds() -> Vec<Vec<u8>> {
    let codec = r#"(component
        (import "sochdb:plugin/config@0.1.0" (instance
            (type $error (record (field "code" u8) (field "retryable" bool) (field "text" string)))
            (type $value (variant (case "boolean" bool) (case "integer" s64)
                (case "float" f64) (case "text" string)))
            (export "error" (type $e (eq $error)))
            (export "config-value" (type $v (eq $value)))
            (export "get-config" (func (param "key" string) (result (result $v (error $e)))))))
        (core module $m
            (memory (export "memory") 1 2)
            (table 3 funcref)
            (global $g (mut i32) (i32.const 7))
            (data (i32.const 8) "data")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
            (func (export "f") (param i32 i32) (result i32)
                (local i64)
                (block (loop (br_if 1 (local.get 0)) (br 0)))
                (global.set $g (i32.add (global.get $g) (i32.load (i32.const 4))))
                (i32.const 16)))
        (core instance $i (instantiate $m))
        (func $f (param "input" (list u8)) (result (list u8)) (canon lift (core func $i "f")
            (memory (core memory $i "memory")) (realloc (core func $i "cabi_realloc"))))
        (instance $codec (export "compress" (func $f)))
        (export "sochdb:plugin/codec@0.1.0" (instance $codec))
        (component $inner (type (tuple u8 string)) (component))
        (instance (instantiate $inner)))"#;
    let texts =
        [codec, "(component)", "(component (core module (func (loop (br 0)))))", "(module)"];
    texts.map(|text| wat::parse_str(text).expect("the seeds are right")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_deep() {
        let seeds = manifest_seeds();
        let parsed = seeds.iter().filter(|seed| {
            let text = std::str::from_utf8(seed).expect("text");
            PluginManifest::parse("m.toml", text).is_ok()
        });
        assert_eq!(parsed.count(), 4, "three that are shipped, and one with everything");
        let policy = std::str::from_utf8(&seeds[4]).expect("text");
        Policy::parse("m.toml", policy).unwrap();
        for seed in package_seeds() {
            assert_eq!(sealed(&seed).as_ref(), Some(&seed), "the hash is where it is written");
            assert_eq!(PluginPackage::decode("p", seed).unwrap().name(), "a");
        }
        HOST.with(|host| {
            let path = host.folder.path().join("guest.wasm");
            fs::write(&path, &component_seeds()[0]).unwrap();
            let found = host.host.inspect(&path).unwrap();
            assert_eq!(found.exports, ["codec"]);
            assert_eq!(found.imports.len(), 1);
        });
    }
}
