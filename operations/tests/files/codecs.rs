//! Tables whose codec is missing, lies, bombs, or is changed while they are used.

use crate::engine::{Engine, Shrink};
use crate::world::Rows;
use sochdb_kernel::plugin::{CompressionExtension, Extension, ExtensionCapability, ExtensionInfo};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelError, KernelResult, Options, PluginFault, TableOptions,
};
use sochdb_operations::{CheckOptions, TableChanges, check_with, codec_samples, convert};
use sochdb_sim::MemoryVfs;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, RwLock};

const HONEST: u8 = 0;

/// A codec of any name that compresses as [`Shrink`] does, unless it is told to lie.
#[derive(Clone)]
struct Named {
    name: &'static str,
    lie: Arc<AtomicU8>,
}

impl Named {
    fn new(name: &'static str) -> Named {
        Named { name, lie: Arc::default() }
    }
}

impl Extension for Named {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: self.name.to_owned(),
            version: "1".to_owned(),
            description: "for tests".to_owned(),
            author: "nobody".to_owned(),
            capabilities: vec![ExtensionCapability::Compression],
        }
    }
}

impl CompressionExtension for Named {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        match self.lie.load(Ordering::Relaxed) {
            // More than it was given.
            1 => Ok([input, &[0; 1000]].concat()),
            2 => Err(KernelError::invalid("not today")),
            _ => Shrink.compress(input),
        }
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        let mut raw = Shrink.decompress(input, raw_bytes)?;
        match self.lie.load(Ordering::Relaxed) {
            3 => raw[0] ^= 1,
            4 => raw.truncate(raw_bytes / 2),
            // A bomb.
            5 => raw = vec![0; 32 << 20],
            6 => return Err(KernelError::invalid("not today")),
            _ => {}
        }
        Ok(raw)
    }
}

fn open(vfs: &MemoryVfs, codecs: &[&Named]) -> Kernel {
    let env = Environment::with_vfs(Arc::new(vfs.clone()));
    let kernel = Kernel::open(env, Options::default()).unwrap();
    kernel.plugins().register_storage(Arc::new(Engine { name: "engine", refuses: false }));
    for codec in codecs {
        kernel.plugins().register_compression(Arc::new((*codec).clone()));
    }
    kernel
}

fn create(kernel: &Kernel, name: &str, storage: Option<&str>, codec: Option<&str>) {
    let (storage, codec) = (storage.map(str::to_owned), codec.map(str::to_owned));
    kernel.create_table(name, TableOptions { storage, codec, ..TableOptions::default() }).unwrap();
}

/// Large values, which compress well.
fn put(kernel: &Kernel, table: &str, keys: std::ops::Range<u8>) {
    for key in keys {
        kernel.run(|tx| tx.put(table, &[key], &vec![key; 8000])).unwrap();
    }
    kernel.run(|tx| tx.put(table, b"small", b"value")).unwrap();
}

fn expected(keys: std::ops::Range<u8>) -> Rows {
    let large = keys.map(|key| (vec![key], vec![key; 8000]));
    large.chain([(b"small".to_vec(), b"value".to_vec())]).collect()
}

fn rows(kernel: &Kernel, table: &str) -> KernelResult<Rows> {
    let tx = kernel.begin_read()?;
    tx.scan(table, ..)?.map(|row| row.map(|(key, value)| (key, value.to_vec()))).collect()
}

fn problems(kernel: &Kernel, deep: bool) -> Vec<KernelError> {
    check_with(kernel, CheckOptions { deep }, &mut |_| {}).unwrap().problems
}

#[test]
fn a_table_whose_codec_is_missing_is_named_and_every_other_table_works() {
    let (lost, kept) = (Named::new("lost"), Named::new("kept"));
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, &[&lost, &kept]);
    let tables = [
        ("tree lost", None, Some("lost")),
        ("columns lost", Some("engine"), Some("lost")),
        ("tree kept", None, Some("kept")),
        ("columns kept", Some("engine"), Some("kept")),
        ("tree", None, None),
    ];
    for (name, storage, codec) in tables {
        create(&kernel, name, storage, codec);
        put(&kernel, name, 0..20);
    }
    kernel.close().unwrap();

    let kernel = open(&vfs, &[&kept]);
    let named = |error: &KernelError| match error {
        KernelError::Plugin { plugin, fault, .. } => {
            assert_eq!((plugin.as_str(), *fault), ("lost", PluginFault::Missing));
        }
        error => panic!("{error}"),
    };
    for (name, _, codec) in tables {
        if codec == Some("lost") {
            named(&rows(&kernel, name).unwrap_err());
            named(&kernel.begin_read().unwrap().get(name, &[7]).unwrap_err());
        } else {
            assert_eq!(rows(&kernel, name).unwrap(), expected(0..20), "{name}");
        }
        // Writing needs no codec: what a commit promised reaches the disk without it.
        put(&kernel, name, 20..40);
    }
    let in_the_tree = kernel.begin_read().unwrap().get("tree lost", b"small").unwrap().unwrap();
    assert_eq!(*in_the_tree, *b"value", "what was not compressed needs no codec");
    let before = kernel.stats().codec_refusals;
    let report = kernel.checkpoint().unwrap();
    assert!(report.failed.iter().all(|(table, _)| table == "columns lost"), "{:?}", report.failed);
    assert!(before < kernel.stats().codec_refusals, "blocks stored plain are counted");
    for (name, _, codec) in tables.iter().filter(|(_, _, codec)| *codec != Some("lost")) {
        assert_eq!(rows(&kernel, name).unwrap(), expected(0..40), "{name} {codec:?}");
    }
    for key in 20..40 {
        let found = kernel.begin_read().unwrap().get("tree lost", &[key]).unwrap().unwrap();
        assert_eq!(*found, *vec![key; 8000], "written without the codec, read without it");
    }
    assert!(problems(&kernel, false).is_empty(), "{:?}", problems(&kernel, false));
    let found = problems(&kernel, true);
    assert!(20 <= found.len(), "{found:?}");
    found.iter().for_each(named);
    drop(kernel);

    let kernel = open(&vfs, &[&kept, &lost]);
    for (name, ..) in tables {
        assert_eq!(rows(&kernel, name).unwrap(), expected(0..40), "{name}");
    }
    kernel.checkpoint().unwrap();
    assert!(problems(&kernel, true).is_empty());
}

#[test]
fn a_codec_that_does_not_bring_a_block_back_has_it_stored_plain_and_counted() {
    for storage in [None, Some("engine")] {
        for lie in 1..=6 {
            let codec = Named::new("named");
            codec.lie.store(lie, Ordering::Relaxed);
            let vfs = MemoryVfs::new();
            let kernel = open(&vfs, &[&codec]);
            create(&kernel, "t", storage, Some("named"));
            put(&kernel, "t", 0..20);
            assert!(kernel.checkpoint().unwrap().failed.is_empty());
            let stats = kernel.stats();
            assert_eq!(stats.codec_bytes_stored, stats.codec_bytes_raw, "lie {lie}");
            // A codec that cannot shrink a block is no liar.
            assert_eq!(0 < stats.codec_refusals, lie != 1, "lie {lie}");
            assert_eq!(rows(&kernel, "t").unwrap(), expected(0..20), "lie {lie}");
            kernel.close().unwrap();
            let kernel = open(&vfs, &[]);
            assert_eq!(rows(&kernel, "t").unwrap(), expected(0..20), "nobody needs the codec");
        }
    }
}

#[test]
fn a_codec_that_goes_bad_later_is_an_error_and_never_a_wrong_row() {
    for storage in [None, Some("engine")] {
        for lie in 4..=6 {
            let codec = Named::new("named");
            let vfs = MemoryVfs::new();
            let kernel = open(&vfs, &[&codec]);
            create(&kernel, "t", storage, Some("named"));
            put(&kernel, "t", 0..20);
            kernel.close().unwrap();
            codec.lie.store(lie, Ordering::Relaxed);
            let kernel = open(&vfs, &[&codec]);
            let error = rows(&kernel, "t").unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid),
                "{lie}: {error}"
            );
            assert!(!problems(&kernel, true).is_empty());
            codec.lie.store(HONEST, Ordering::Relaxed);
            assert_eq!(rows(&kernel, "t").unwrap(), expected(0..20), "lie {lie}");
        }
    }
}

#[test]
fn a_tables_codec_is_changed_while_it_is_read_and_written() {
    for storage in [None, Some("engine")] {
        let (old, new) = (Named::new("old"), Named::new("new"));
        let vfs = MemoryVfs::new();
        let kernel = open(&vfs, &[&old, &new]);
        create(&kernel, "t", storage, Some("old"));
        put(&kernel, "t", 0..40);
        kernel.checkpoint().unwrap();
        let before = kernel.begin_read().unwrap();
        let (done, gate) = (AtomicBool::new(false), RwLock::new(()));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for key in (40..60).cycle() {
                    let _open = gate.read().unwrap();
                    kernel.run(|tx| tx.put("t", &[key], &vec![key; 8000])).unwrap();
                    if key == 59 && done.load(Ordering::Acquire) {
                        break;
                    }
                }
            });
            let changes = TableChanges::default().codec(Some("new"));
            let quiet = |run: &mut dyn FnMut() -> KernelResult<()>| {
                let _closed = gate.write().unwrap();
                run()
            };
            let converted = convert(&kernel, "t", &changes, &quiet, &mut |_| {});
            done.store(true, Ordering::Release);
            converted.unwrap();
            writer.join().unwrap();
        });
        assert_eq!(rows(&kernel, "t").unwrap(), expected(0..60));
        assert_eq!(kernel.begin_read().unwrap().table("t").unwrap().options.codec.unwrap(), "new");
        // Who began before reads the old blocks, with the old codec.
        let found: Rows = before
            .scan("t", ..)
            .unwrap()
            .map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap())
            .collect();
        assert_eq!(found, expected(0..40));
        drop(before);
        kernel.checkpoint().unwrap();
        kernel.close().unwrap();
        let kernel = open(&vfs, &[&new]);
        assert_eq!(rows(&kernel, "t").unwrap(), expected(0..60), "only the new codec is needed");
        assert!(problems(&kernel, true).is_empty());

        // To `none`: nobody needs any.
        let changes = TableChanges::default().codec(None);
        convert(&kernel, "t", &changes, &|run| run(), &mut |_| {}).unwrap();
        kernel.close().unwrap();
        assert_eq!(rows(&open(&vfs, &[]), "t").unwrap(), expected(0..60));
    }
}

#[test]
fn plain_and_compressed_blocks_lie_side_by_side_in_one_table() {
    let codec = Named::new("named");
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, &[&codec]);
    create(&kernel, "t", None, Some("named"));
    put(&kernel, "t", 0..10);
    kernel.close().unwrap();
    // While the codec is missing blocks are stored plain; no table is made that would need it.
    let kernel = open(&vfs, &[]);
    let options = TableOptions { codec: Some("named".to_owned()), ..TableOptions::default() };
    assert_eq!(kernel.create_table("u", options).unwrap_err().kind(), ErrorKind::Plugin);
    put(&kernel, "t", 10..20);
    kernel.checkpoint().unwrap();
    assert!(0 < kernel.stats().codec_refusals);
    kernel.close().unwrap();
    // Back again, they are compressed: each block says how it is.
    let kernel = open(&vfs, &[&codec]);
    put(&kernel, "t", 20..30);
    kernel.checkpoint().unwrap();
    assert_eq!(rows(&kernel, "t").unwrap(), expected(0..30));
    let stats = kernel.stats();
    assert_eq!(stats.codec_refusals, 0);
    assert!(stats.codec_bytes_stored * 10 < stats.codec_bytes_raw, "compressed again");
}

#[test]
fn samples_are_what_the_codec_is_given() {
    let codec = Named::new("named");
    let kernel = open(&MemoryVfs::new(), &[&codec]);
    for (name, storage) in [("tree", None), ("columns", Some("engine"))] {
        create(&kernel, name, storage, Some("named"));
        put(&kernel, name, 0..50);
    }
    kernel.checkpoint().unwrap();
    let samples = codec_samples(&kernel, "tree", 1 << 30).unwrap();
    assert!(samples.iter().eq((0..50).map(|key| vec![key; 8000]).collect::<Vec<_>>().iter()));
    let samples = codec_samples(&kernel, "columns", 1 << 30).unwrap();
    let lens: Vec<_> = samples.iter().map(Vec::len).collect();
    assert!(lens[0] == 64 << 10 && 50 * 8000 < lens.iter().sum::<usize>(), "{lens:?}");
    for table in ["tree", "columns"] {
        let few = codec_samples(&kernel, table, 200_000).unwrap();
        let bytes: usize = few.iter().map(Vec::len).sum();
        assert!(65_536 < bytes && bytes <= 200_000, "{table}: {bytes}");
    }
    assert_eq!(codec_samples(&kernel, "none", 1).unwrap_err().kind(), ErrorKind::NotFound);
}
