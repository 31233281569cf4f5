//! Plugins in real libraries, loaded into this process: what is refused before any of its code runs, what
//! is refused after, and what works.

mod layout;
mod plugins;

use plugins::{built_from_c, example};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager, TelemetryBatch};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelError, KernelResult, Options, PluginFault, TableOptions,
};
use sochdb_native::{NativePlugin, Trust};
use sochdb_sim::MemoryVfs;
use sochdb_telemetry::{Metric, MetricValue};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Everything that these tests load was compiled by them.
fn anything() -> Trust {
    // SAFETY: the libraries in this folder, and the example, keep the rules of the interface.
    unsafe { Trust::every_plugin_in_this_process_may_do_anything() }
}

fn only(hash: &str) -> KernelResult<Trust> {
    // SAFETY: as above.
    unsafe { Trust::by_hash([hash]) }
}

fn hash_of(path: &Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

#[track_caller]
fn denied(result: KernelResult<NativePlugin>) -> String {
    match result.unwrap_err() {
        KernelError::Plugin { fault: PluginFault::Denied, message, .. } => message,
        other => panic!("wanted a denial, not: {other}"),
    }
}

fn codec(path: &Path) -> Arc<dyn CompressionExtension> {
    let plugin = NativePlugin::load(path, &anything()).unwrap();
    let plugins = PluginManager::default();
    plugin.register(&plugins).unwrap();
    plugins.compression(&plugin.info().name).unwrap()
}

#[test]
fn a_file_that_is_not_trusted_is_refused() {
    let message = denied(NativePlugin::load(example(), &Trust::nobody()));
    assert!(message.contains(&hash_of(&example())), "{message}");
    denied(NativePlugin::load(example(), &only(&"0".repeat(64)).unwrap()));
    let trust = only(&hash_of(&example())).unwrap();
    let plugin = NativePlugin::load(example(), &trust).unwrap();
    assert_eq!(plugin.blake3(), hash_of(&example()));
    assert_eq!(only("abc").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_file_that_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("librle.so");
    let mut bytes = fs::read(example()).unwrap();
    fs::write(&path, &bytes).unwrap();
    let trust = only(&hash_of(&path)).unwrap();
    NativePlugin::load(&path, &trust).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    denied(NativePlugin::load(&path, &trust));
}

#[test]
#[cfg(target_os = "linux")]
fn what_runs_is_the_copy_that_was_hashed_and_not_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libhashed.so");
    let mut bytes = fs::read(example()).unwrap();
    // Harmless, and no other test loads the same bytes.
    bytes.extend(b"behind the end");
    fs::write(&path, bytes).unwrap();
    NativePlugin::load(&path, &anything()).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains("/memfd:libhashed.so (deleted)"), "{maps}");
    assert!(!maps.contains(path.to_str().unwrap()), "{maps}");
}

#[test]
fn nothing_of_a_refused_library_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let define = format!("-DMARK=\"{}\"", mark.display());
    let Some(library) = built_from_c("tests/loading/plugins/marking.c", &[&define]) else { return };
    denied(NativePlugin::load(library.path(), &Trust::nobody()));
    assert!(!mark.exists(), "its constructor ran");
    // And that it would have run is true too.
    let error = NativePlugin::load(library.path(), &anything()).unwrap_err();
    assert!(mark.exists(), "its constructor did not run");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("exports no function sochdb_plugin_v1"), "{error}");
}

#[test]
fn what_is_no_library_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libtext.so");
    let whole = fs::read(example()).unwrap();
    for bytes in [&b""[..], b"not a library", &whole[..64], &whole[..whole.len() / 100]] {
        fs::write(&path, bytes).unwrap();
        let error = NativePlugin::load(&path, &anything()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("libtext.so cannot be loaded as a library"), "{error}");
    }
    let error = NativePlugin::load(folder.path(), &anything()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = NativePlugin::load(folder.path().join("nothing"), &anything()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn a_library_cut_off_anywhere_is_refused_or_has_all_that_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libcut.so");
    let whole = fs::read(example()).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(&path, &whole[..len]).unwrap();
        match NativePlugin::load(&path, &anything()) {
            // What is missing is for debuggers.
            Ok(plugin) => assert_eq!(plugin.info().name, "rle"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
        }
    }
}

#[test]
fn a_plugin_for_another_version_is_refused() {
    let Some(library) = built_from_c("tests/loading/plugins/future.c", &[]) else { return };
    let error = NativePlugin::load(library.path(), &anything()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("built for version 7") && text.contains("this host has version 1"));
}

fn compresses_and_refuses(codec: &dyn CompressionExtension) {
    for raw in [&b""[..], b"a", &[7; 10_000], b"aaabbbcccabc", &[0; 65_536]] {
        let block = codec.compress(raw).unwrap();
        assert_eq!(codec.decompress(&block, raw.len()).unwrap(), raw);
    }
    assert_eq!(codec.compress(&[7; 300]).unwrap(), [255, 7, 45, 7]);
    let refused = |result: KernelResult<Vec<u8>>| {
        let error = result.unwrap_err();
        assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Refused, .. }));
        error.to_string()
    };
    let mixed: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
    assert!(refused(codec.compress(&mixed)).contains("does not get smaller (limit)"));
    for (block, raw_bytes) in [(&[255][..], 255), (&[0, 1], 0), (&[3, 1], 4), (&[5, 1], 4)] {
        assert!(refused(codec.decompress(block, raw_bytes)).contains("(corrupt)"), "{block:?}");
    }
}

#[test]
fn the_codec_in_rust_works() {
    compresses_and_refuses(&*codec(&example()));
}

#[test]
fn the_codec_in_c_works_the_same() {
    let Some(library) = built_from_c("example/rle.c", &["-std=c99"]) else { return };
    let codec = codec(&library.path());
    assert_eq!(codec.info().name, "rle-c");
    compresses_and_refuses(&*codec);
}

#[test]
fn many_threads_use_one_instance() {
    let codec = codec(&example());
    std::thread::scope(|threads| {
        for byte in 0..8 {
            let codec = &codec;
            threads.spawn(move || {
                for len in 1..500 {
                    let block = codec.compress(&vec![byte; len]).unwrap();
                    assert_eq!(codec.decompress(&block, len).unwrap(), vec![byte; len]);
                }
            });
        }
    });
}

#[test]
fn an_observer_remembers_within_its_database() {
    let Some(library) = built_from_c("tests/loading/plugins/counting.c", &[]) else { return };
    let plugin = NativePlugin::load(library.path(), &anything()).unwrap();
    let (one, other) = (PluginManager::default(), PluginManager::default());
    plugin.register(&one).unwrap();
    // The same bytes a second time: the same code, and an instance of its own.
    NativePlugin::load(library.path(), &anything()).unwrap().register(&other).unwrap();
    let batch = |name: &str| TelemetryBatch {
        metrics: vec![Metric {
            name: name.to_owned(),
            help: String::new(),
            labels: Vec::new(),
            value: MetricValue::Counter(3.0),
        }],
        ..TelemetryBatch::default()
    };
    let [one, other] = [one, other].map(|plugins| plugins.observers().remove(0));
    assert_eq!(one.render("").unwrap().body, "0 batches, the newest: ");
    one.ingest(&batch("first")).unwrap();
    one.ingest(&batch("second")).unwrap();
    other.ingest(&batch("third")).unwrap();
    let json = |name: &str| {
        format!(
            r#"{{"unix_us":0,"since_unix_us":0,"resource":[],"metrics":[{{"name":"{name}","help":"","labels":[],"counter":3.0}}],"spans":[],"logs":[],"health":[]}}"#
        )
    };
    assert_eq!(one.render("").unwrap().body, format!("2 batches, the newest: {}", json("second")));
    assert_eq!(other.render("").unwrap().body, format!("1 batches, the newest: {}", json("third")));
    one.shutdown().unwrap();
    assert_eq!(one.render("").unwrap_err().kind(), ErrorKind::Closed);
    other.render("").unwrap();
}

#[test]
fn a_database_stores_its_large_values_through_a_native_codec() {
    let vfs = MemoryVfs::new();
    let open = || {
        let env = Environment::with_vfs(Arc::new(vfs.clone()));
        let kernel = Kernel::open(env, Options::default()).unwrap();
        let plugin = NativePlugin::load(example(), &anything()).unwrap();
        plugin.register(kernel.plugins()).unwrap();
        kernel
    };
    let kernel = open();
    let options = TableOptions { codec: Some("rle".to_owned()), ..TableOptions::default() };
    kernel.create_table("t", options).unwrap();
    let value = |key: u8| vec![key; 50_000];
    kernel.run(|tx| (0..20).try_for_each(|key| tx.put("t", &[key], &value(key)))).unwrap();
    kernel.checkpoint().unwrap();
    let stats = kernel.stats();
    assert!(0 < stats.codec_bytes_stored, "the codec was asked");
    assert!(stats.codec_bytes_stored * 100 < stats.codec_bytes_raw, "{stats:?}");
    assert_eq!(stats.codec_refusals, 0);
    kernel.close().unwrap();

    let kernel = open();
    let tx = kernel.begin_read().unwrap();
    for key in 0..20 {
        assert_eq!(tx.get("t", &[key]).unwrap().unwrap(), value(key)[..]);
    }
    drop(tx);
    assert!(sochdb_operations::check(&kernel).unwrap().problems.is_empty());
    kernel.close().unwrap();
}
