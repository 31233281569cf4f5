//! The plugins we ship, through real WebAssembly.

use crate::guest::{Bench, Codec};
use expect_test::expect;
use sochdb_host_abi::{PluginHost, PluginKind, bundled};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager, TelemetryBatch};
use sochdb_kernel::{ErrorKind, KernelError, PluginFault};
use sochdb_telemetry::{Histogram, Metric, MetricValue};
use std::path::Path;

/// Loads only those of `names`, as compiling is what takes time here.
pub fn load_shipped(host: &PluginHost, plugins: &PluginManager, names: &[&str]) {
    for name in names {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        host.load_manifest(&manifests.join(name).with_extension("toml"), plugins).unwrap();
    }
}

fn shipped(name: &str) -> (PluginHost, PluginManager) {
    let (host, plugins) = (PluginHost::new().unwrap(), PluginManager::default());
    load_shipped(&host, &plugins, &[name]);
    (host, plugins)
}

#[test]
fn lz4_shrinks_blocks_and_brings_them_back() {
    let (host, plugins) = shipped("lz4");
    let lz4 = plugins.compression("lz4").unwrap();
    let text = b"to be, or not to be: that is the question. ".repeat(1000);
    let noise: Vec<u8> =
        (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for block in [&b""[..], b"a", &text, &noise] {
        let stored = lz4.compress(block).unwrap();
        assert_eq!(lz4.decompress(&stored, block.len()).unwrap(), block);
    }
    assert!(lz4.compress(&text).unwrap().len() * 20 < text.len());
    let usage = host.list().iter().find(|plugin| plugin.name == "lz4").unwrap().usage;
    assert_eq!((usage.calls, usage.failures), (10, 0), "nine calls and the self-test");
    assert_eq!(usage.instances_started, 2, "one for the self-test, one for everything else");
    let fuel_per_byte = usage.fuel as f64 / (4.0 * (text.len() + noise.len()) as f64);
    assert!((0.1..100.0).contains(&fuel_per_byte), "{fuel_per_byte}");
}

#[test]
fn lz4_refuses_what_is_no_block() {
    let (_, plugins) = shipped("lz4");
    let lz4 = plugins.compression("lz4").unwrap();
    let stored = lz4.compress(b"twelve bytes").unwrap();
    for (block, raw_bytes) in
        [(&stored[..], 11), (&stored, 13), (b"", 1), (b"\xff\xff\xff", 1 << 20)]
    {
        let error = lz4.decompress(block, raw_bytes).unwrap_err();
        let KernelError::Plugin { fault: PluginFault::Refused, message, .. } = &error else {
            panic!("{error}")
        };
        assert!(message.ends_with("(corrupt)"), "{message}");
    }
    let error = lz4.decompress(&stored, 1 << 40).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
}

#[test]
fn lz4_is_used_by_many_threads_at_once() {
    let (_, plugins) = shipped("lz4");
    let lz4 = plugins.compression("lz4").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let lz4 = lz4.clone();
            scope.spawn(move || {
                for round in 0..20_u8 {
                    let block = [thread, round].repeat(2000);
                    let stored = lz4.compress(&block).unwrap();
                    assert_eq!(lz4.decompress(&stored, block.len()).unwrap(), block);
                }
            });
        }
    });
}

fn batch() -> TelemetryBatch {
    let metric = |name: &str, value| Metric {
        name: name.to_owned(),
        help: "A \\ line\nbreak.".to_owned(),
        labels: vec![("table".to_owned(), "a \"b\"".to_owned())],
        value,
    };
    TelemetryBatch {
        metrics: vec![
            metric("sochdb_commits_total", MetricValue::Counter(3.0)),
            metric("sochdb_memtable_bytes", MetricValue::Gauge(1.5)),
            metric(
                "sochdb_sync_seconds",
                MetricValue::Histogram(Histogram {
                    bounds: vec![0.01],
                    counts: vec![2, 3],
                    sum: 0.5,
                    exemplars: Vec::new(),
                }),
            ),
        ],
        ..TelemetryBatch::default()
    }
}

#[test]
fn prometheus_renders_the_newest_batch() {
    let (_, plugins) = shipped("prometheus");
    let observer = plugins.observers().remove(0);
    let skipped = "prometheus_skipped_metrics{reason=\"name\"} 0\n";
    assert!(observer.render("").unwrap().body.contains(skipped), "before the first batch");
    observer.ingest(&TelemetryBatch::default()).unwrap();
    observer.ingest(&batch()).unwrap();
    expect![[r##"
        # HELP prometheus_skipped_metrics Metrics of the newest batch that are not on this page.
        # TYPE prometheus_skipped_metrics gauge
        prometheus_skipped_metrics{reason="name"} 0
        prometheus_skipped_metrics{reason="label"} 0
        prometheus_skipped_metrics{reason="value"} 0
        prometheus_skipped_metrics{reason="clash"} 0
        prometheus_skipped_metrics{reason="duplicate"} 0
        # HELP sochdb_commits_total A \\ line\nbreak.
        # TYPE sochdb_commits_total counter
        sochdb_commits_total{table="a \"b\""} 3
        # HELP sochdb_memtable_bytes A \\ line\nbreak.
        # TYPE sochdb_memtable_bytes gauge
        sochdb_memtable_bytes{table="a \"b\""} 1.5
        # HELP sochdb_sync_seconds A \\ line\nbreak.
        # TYPE sochdb_sync_seconds histogram
        sochdb_sync_seconds_bucket{table="a \"b\"",le="0.01"} 2
        sochdb_sync_seconds_bucket{table="a \"b\"",le="+Inf"} 3
        sochdb_sync_seconds_sum{table="a \"b\""} 0.5
        sochdb_sync_seconds_count{table="a \"b\""} 3
    "##]]
    .assert_eq(&observer.render("").unwrap().body);
}

#[test]
fn prometheus_leaves_out_what_would_spoil_the_page_and_counts_it() {
    let (_, plugins) = shipped("prometheus");
    let observer = plugins.observers().remove(0);
    let mut wrong = batch();
    wrong.metrics[0].name = "no name".to_owned();
    observer.ingest(&wrong).unwrap();
    let page = observer.render("").unwrap().body;
    assert!(!page.contains("no name") && page.contains("\nsochdb_memtable_bytes{"), "{page}");
    assert!(page.contains("prometheus_skipped_metrics{reason=\"name\"} 1\n"), "{page}");
}

#[test]
fn the_hosts_own_metrics_fit_the_page() {
    let (host, plugins) = shipped("prometheus");
    let observer = plugins.observers().remove(0);
    observer
        .ingest(&TelemetryBatch { metrics: host.metrics(), ..TelemetryBatch::default() })
        .unwrap();
    let page = observer.render("").unwrap().body;
    assert!(page.contains("sochdb_plugin_calls_total{plugin=\"prometheus\"} 1\n"), "{page}");
}

#[test]
fn the_prefix_comes_from_the_manifest() {
    let bench = Bench::new();
    let manifest = bundled::find("prometheus").unwrap().manifest;
    let changed = manifest.replace("\nprefix = \"\"", "\nprefix = \"test_\"");
    assert_ne!(changed, manifest);
    let path = bench.folder.path().join("prometheus.toml");
    std::fs::write(&path, &changed).unwrap();
    bench.host.load_manifest(&path, &bench.plugins).unwrap();
    let observer = bench.plugins.observers().remove(0);
    observer.ingest(&batch()).unwrap();
    assert!(observer.render("").unwrap().body.contains("\ntest_sochdb_commits_total{"));
    std::fs::write(&path, changed.replace("\"test_\"", "\"1 2\"")).unwrap();
    let error = bench.host.load_manifest(&path, &bench.plugins).unwrap_err();
    assert!(error.to_string().contains("'prefix'"), "{error}");
}

#[test]
fn the_manifests_in_the_repository_load_and_name_what_was_built_in() {
    let (host, plugins) = (PluginHost::new().unwrap(), PluginManager::default());
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let mut names = host.load_dir(&manifests, &plugins).unwrap();
    names.sort();
    let built_in: Vec<_> = bundled::PLUGINS.iter().map(|plugin| plugin.name).collect();
    assert_eq!(names, built_in);
}

#[test]
fn a_plugin_is_listed_with_all_that_is_known() {
    let (host, _) = shipped("prometheus");
    let list = host.list();
    let prometheus = list.iter().find(|plugin| plugin.name == "prometheus").unwrap();
    assert_eq!(prometheus.kind, PluginKind::Observer);
    assert_eq!(prometheus.exports, ["lifecycle", "observer"]);
    assert_eq!(prometheus.limits.memory_bytes_max, 32 << 20);
    assert_eq!(prometheus.granted, [""; 0]);
    assert_eq!(prometheus.blake3.len(), 64);
    assert!(prometheus.config.contains_key("prefix"));
    let imports: Vec<_> = prometheus.imports.iter().map(|import| import.name.as_str()).collect();
    assert!(imports.contains(&"sochdb:plugin/config@0.1.0"), "{imports:?}");
}

#[test]
fn no_path_of_the_building_machine_is_in_a_component() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_str().unwrap();
    for plugin in bundled::PLUGINS {
        let component = plugin.component.to_vec();
        let found = component.windows(root.len()).any(|bytes| bytes == root.as_bytes());
        assert!(!found, "{} contains {root}", plugin.name);
    }
}

#[test]
fn inspecting_tells_what_a_component_wants() {
    let bench = Bench::new();
    let path = bench.folder.path().join("lz4.wasm");
    std::fs::write(&path, bundled::find("lz4").unwrap().component.to_vec()).unwrap();
    let found = bench.host.inspect(&path).unwrap();
    assert_eq!((found.kind, found.loadable), (Some(PluginKind::Codec), true));
    assert_eq!(found.blake3, bench_hash(&path));
    let odd = bench.folder.path().join("odd.wasm");
    std::fs::write(
        &odd,
        wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#).unwrap(),
    )
    .unwrap();
    let found = bench.host.inspect(&odd).unwrap();
    assert_eq!((found.kind, found.loadable), (None, false));
}

fn bench_hash(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap()).to_string()
}

#[test]
fn a_plugin_replaces_the_one_of_its_name_and_closing_ends_it() {
    let bench = Bench::new();
    let first = bench.load(&Codec::default().build(), "").unwrap();
    assert_eq!(first.compress(b"abc").unwrap(), b"abc");
    let refuses =
        Codec { compress: "(call $error (i32.const 0) (i32.const 0))", ..Codec::default() };
    let second = bench.load(&refuses.build(), "").unwrap();
    // Whoever was given the plugin before has the new version too.
    assert_eq!(first.compress(b"abc").unwrap_err().kind(), ErrorKind::Plugin);
    assert_eq!(second.compress(b"abc").unwrap_err().kind(), ErrorKind::Plugin);
    second.shutdown().unwrap();
    assert_eq!(second.compress(b"abc").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn what_a_shutdown_answers_is_reported() {
    let bench = Bench::new();
    let guest = Codec {
        items: r#"(data (i32.const 200) "I will not")"#,
        shutdown: "(call $error (i32.const 200) (i32.const 10))",
        ..Codec::default()
    };
    let guest: std::sync::Arc<dyn CompressionExtension> = bench.load(&guest.build(), "").unwrap();
    guest.compress(b"abc").unwrap();
    let error = guest.shutdown().unwrap_err();
    assert!(error.to_string().contains("shutdown: I will not"), "{error}");
}
