//! What is not loaded, and what is said about it.

use crate::guest::{Bench, Codec, manifest};
use sochdb_host_abi::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use sochdb_kernel::{ErrorKind, KernelError, PluginFault};
use std::fs;
use std::path::Path;

/// Loads `component` and returns why that failed; nothing may be registered.
fn refused(component: &[u8], resources: &str) -> KernelError {
    let bench = Bench::new();
    let Err(error) = bench.load(component, resources) else { panic!("it was loaded") };
    assert!(bench.plugins.list().is_empty() && bench.host.list().is_empty());
    error
}

fn refused_manifest(text: &str) -> KernelError {
    let Err(error) = Bench::new().load_manifest(text) else { panic!("it was loaded") };
    error
}

#[track_caller]
fn says(error: &KernelError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn what_is_no_component() {
    says(&refused(b"", ""), ErrorKind::Invalid, &["guest.wasm", "not WebAssembly"]);
    says(&refused(b"#!/bin/sh\n", ""), ErrorKind::Invalid, &["not WebAssembly"]);
    says(&refused(b"(component)", ""), ErrorKind::Invalid, &["not WebAssembly"]);
    let module = wat::parse_str("(module)").unwrap();
    says(&refused(&module, ""), ErrorKind::Invalid, &["not a component", "wasm32-wasip2"]);
    let whole = Codec::default().build();
    says(&refused(&whole[..whole.len() / 2], ""), ErrorKind::Invalid, &["not a valid component"]);
    says(&refused(&whole[..8], ""), ErrorKind::Invalid, &["exports []"]);
}

#[test]
fn every_flipped_byte_of_a_component_is_refused_or_harmless() {
    let bench = Bench::new();
    let whole = Codec::default().build();
    for at in (0..whole.len()).step_by(17) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x41;
        if let Ok(guest) = bench.load(&flipped, "timeout_ms = 100") {
            let _: Result<Vec<u8>, KernelError> = guest.compress(b"abc");
        }
    }
    bench.load(&whole, "").unwrap().compress(b"abc").unwrap();
}

#[test]
fn a_component_that_lacks_or_exceeds_what_its_manifest_declares() {
    let empty = wat::parse_str("(component)").unwrap();
    says(
        &refused(&empty, ""),
        ErrorKind::Invalid,
        &["exports []", "[\"codec\", \"lifecycle\"]", "codec-plugin"],
    );
    let observer = sochdb_host_abi::bundled::find("prometheus").unwrap().component.to_vec();
    says(&refused(&observer, ""), ErrorKind::Invalid, &["[\"lifecycle\", \"observer\"]"]);
    let hollow = wat::parse_str(
        r#"(component (instance $empty)
            (export "sochdb:plugin/codec@0.1.0" (instance $empty))
            (export "sochdb:plugin/lifecycle@0.1.0" (instance $empty)))"#,
    );
    says(&refused(&hollow.unwrap(), ""), ErrorKind::Invalid, &["does not fit version 0.1.0"]);
}

#[test]
fn a_component_that_wants_more_than_it_is_granted() {
    for (import, words) in [
        ("wasi:http/types@0.2.0", ["wasi:http/types@0.2.0", "cannot be granted"]),
        ("sochdb:plugin/rows@0.1.0", ["sochdb:plugin/rows", "only plugins of kind 'hooks'"]),
        ("sochdb:plugin/secrets@0.1.0", ["sochdb:plugin/secrets", "no such interface"]),
        ("sochdb:plugin/search@0.1.0", ["sochdb:plugin/search", "only plugins of kind 'hooks'"]),
        ("sochdb:plugin/config@0.2.0", ["version 0.2.0", "this host speaks 0.1.0"]),
        ("wasi:clocks/wall-clock@0.3.0", ["WASI 0.2", "0.3.0"]),
    ] {
        let text = format!(r#"(component (import "{import}" (instance)))"#);
        let error = refused(&wat::parse_str(text).unwrap(), "");
        says(&error, ErrorKind::Plugin, &words);
        assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Denied, .. }), "{error}");
    }
    let mistyped = r#"(component (import "sochdb:plugin/config@0.1.0" (instance
        (export "get-config" (func (param "key" u32))))))"#;
    let error = refused(&wat::parse_str(mistyped).unwrap(), "");
    says(&error, ErrorKind::Invalid, &["guest"]);
}

#[test]
fn a_component_with_another_hash() {
    let bench = Bench::new();
    let component = Codec::default().build();
    fs::write(bench.folder.path().join("guest.wasm"), &component).unwrap();
    let pinned = |hash: &str| manifest(&format!("path = \"guest.wasm\"\nblake3 = \"{hash}\""), "");
    let right = blake3::hash(&component).to_string();
    bench.load_manifest(&pinned(&right)).unwrap();
    let wrong = blake3::hash(b"").to_string();
    let Err(error) = bench.load_manifest(&pinned(&wrong)) else { panic!("it was loaded") };
    says(&error, ErrorKind::Plugin, &[&right, &wrong, "was denied"]);
    says(
        &refused_manifest(&pinned("abc")),
        ErrorKind::Invalid,
        &["guest.toml:8:10", "64 hex digits"],
    );
}

#[test]
fn a_component_that_is_no_regular_file_in_its_folder() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let load = |module: &str| match bench.load_manifest(&manifest(module, "")) {
        Ok(_) => panic!("{module} was loaded"),
        Err(error) => error,
    };
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("real.wasm"), Codec::default().build()).unwrap();
    says(&load("path = \"none.wasm\""), ErrorKind::NotFound, &["none.wasm"]);
    says(&load("path = \"sub\""), ErrorKind::Invalid, &["not a regular file"]);
    says(&load("path = \"\""), ErrorKind::NotFound, &["component"]);
    let outside = folder.parent().unwrap().join("outside-of-a-plugin-folder.wasm");
    for path in ["../outside-of-a-plugin-folder.wasm", outside.to_str().unwrap()] {
        load(&format!("path = {path:?}"));
    }
    says(&load("bundled = \"none\""), ErrorKind::NotFound, &["bundled component", "none"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("real.wasm", folder.join("link.wasm")).unwrap();
        says(&load("path = \"link.wasm\""), ErrorKind::Invalid, &["links are not followed"]);
    }
    let large = fs::File::create(folder.join("large.wasm")).unwrap();
    large.set_len(COMPONENT_BYTES_MAX + 1).unwrap();
    says(&load("path = \"large.wasm\""), ErrorKind::Limit, &["component"]);
    bench.load_manifest(&manifest("path = \"real.wasm\"", "")).unwrap();
    bench.load_manifest(&manifest("path = \"./real.wasm\"", "")).unwrap();
}

#[test]
fn a_manifest_that_makes_no_sense() {
    let good = manifest("path = \"guest.wasm\"", "");
    for (text, words) in [
        (
            good.replace("version = \"1.2.3\"", "vresion = \"1.2.3\""),
            vec!["guest.toml:3:1", "did you mean 'version'"],
        ),
        (
            manifest("path = \"x\"", "fuel_limt = 5"),
            vec!["guest.toml:11:1", "did you mean 'fuel_limit'"],
        ),
        (manifest("path = \"x\"", "fuel_limit = -5"), vec!["guest.toml:11:14"]),
        (
            manifest("path = \"x\"", "fuel_limit = 5"),
            vec!["guest.toml:11:14", "1000000 to 1000000000000"],
        ),
        (manifest("", ""), vec!["either `path` or `bundled`"]),
        (String::from("a = \n"), vec!["guest.toml:1:"]),
        (String::new(), vec!["missing field `plugin`"]),
    ] {
        let error = refused_manifest(&text);
        says(&error, ErrorKind::Invalid, &words);
    }
    let newer = good.replace("min_kernel_version = \"0.1.0\"", "min_kernel_version = \"99.0.0\"");
    says(&refused_manifest(&newer), ErrorKind::Invalid, &["99.0.0", "update SochDB"]);
}

#[test]
fn a_manifest_that_is_no_readable_text() {
    let bench = Bench::new();
    let path = bench.folder.path().join("guest.toml");
    let load = |path: &Path| bench.host.load_manifest(path, &bench.plugins).unwrap_err();
    says(&load(&path), ErrorKind::NotFound, &["manifest", "guest.toml"]);
    says(&load(bench.folder.path()), ErrorKind::Invalid, &["is not a file"]);
    fs::write(&path, b"\xff").unwrap();
    says(&load(&path), ErrorKind::Invalid, &["UTF-8"]);
    fs::write(&path, vec![b'\n'; MANIFEST_BYTES_MAX as usize + 1]).unwrap();
    says(&load(&path), ErrorKind::Limit, &["manifest"]);
}

#[test]
fn of_a_folder_all_are_loaded_or_none() {
    let bench = Bench::new();
    bench.load(&Codec::default().build(), "").unwrap();
    let other = bench.folder.path().join("z.toml");
    fs::write(&other, "nonsense").unwrap();
    let (host, plugins) = (&bench.host, sochdb_kernel::plugin::PluginManager::default());
    host.load_dir(bench.folder.path(), &plugins).unwrap_err();
    assert!(plugins.list().is_empty());
    fs::remove_file(&other).unwrap();
    assert_eq!(host.load_dir(bench.folder.path(), &plugins).unwrap(), ["guest"]);
    let missing = host.load_dir(&bench.folder.path().join("none"), &plugins).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_plugin_whose_self_test_fails() {
    let text = r#"(data (i32.const 200) "one is two")"#;
    let error = "(call $error (i32.const 200) (i32.const 10))";
    let fails = Codec { items: text, self_test: error, ..Codec::default() };
    says(
        &refused(&fails.build(), ""),
        ErrorKind::Plugin,
        &["self-test: one is two (invalid)", "refused"],
    );
    let fails = Codec { items: text, init: error, ..Codec::default() };
    says(&refused(&fails.build(), ""), ErrorKind::Plugin, &["its init answered: one is two"]);
    let traps = Codec { self_test: "unreachable", ..Codec::default() };
    says(&refused(&traps.build(), ""), ErrorKind::Plugin, &["trapped", "unreachable"]);
}

#[test]
fn a_name_that_another_kind_has() {
    let bench = Bench::new();
    bench.host.load_bundled(&bench.plugins).unwrap();
    let text =
        manifest("bundled = \"lz4\"", "").replace("name = \"guest\"", "name = \"prometheus\"");
    let Err(error) = bench.load_manifest(&text) else { panic!("it was loaded") };
    says(&error, ErrorKind::Invalid, &["'observer' is already called 'prometheus'"]);
}
