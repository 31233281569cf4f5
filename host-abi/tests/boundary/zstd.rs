//! The Zstandard codec through real WebAssembly, at the levels its manifest sets.

use sochdb_host_abi::{PluginHost, bundled};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager};
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use std::sync::Arc;

/// A dictionary for rows of orders, as text.
const ORDERS: &str = include_str!("../../../plugins/zstd/fixtures/orders.dictionary.txt");

/// The codec at `level`, with the host that runs it.
fn zstd(level: i64) -> KernelResult<(PluginHost, Arc<dyn CompressionExtension>)> {
    zstd_with(level, "")
}

/// The same with a dictionary, if there is one.
fn zstd_with(
    level: i64,
    dictionary: &str,
) -> KernelResult<(PluginHost, Arc<dyn CompressionExtension>)> {
    let (host, plugins) = (PluginHost::new()?, PluginManager::default());
    let folder = tempfile::tempdir().unwrap();
    let manifest = bundled::find("zstd").unwrap().manifest;
    let set = manifest.replace("\nlevel = 3", &format!("\nlevel = {level}"));
    let set = set.replace("\ndictionary = \"\"", &format!("\ndictionary = \"{dictionary}\""));
    std::fs::write(folder.path().join("zstd.toml"), set).unwrap();
    host.load_manifest(&folder.path().join("zstd.toml"), &plugins)?;
    Ok((host, plugins.compression("zstd")?))
}

/// Words in no order, 64 KiB of them.
fn prose() -> Vec<u8> {
    let words = ["sea ", "of ", "a ", "plant ", "having ", "genus ", "state ", "the ", "quality "];
    let mut seed = 1_u32;
    let mut text = Vec::new();
    while text.len() < 64 << 10 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(seed >> 16) as usize % words.len()].as_bytes());
    }
    text
}

#[test]
fn zstd_restores_at_any_level_what_another_level_stored_and_refuses_all_else() {
    let (fast_host, fast) = zstd(1).unwrap();
    let (small_host, small) = zstd(19).unwrap();
    let text = prose();
    let mut sizes = Vec::new();
    for (stores, restores) in [(&fast, &small), (&small, &fast)] {
        for block in [&b""[..], b"a", &text, &[7; 200_000]] {
            let stored = stores.compress(block).unwrap();
            assert!(restores.decompress(&stored, block.len()).unwrap() == block);
        }
        sizes.push(stores.compress(&text).unwrap().len());
    }
    assert!(sizes[1] < sizes[0] && sizes[0] * 3 < text.len(), "{sizes:?}");

    let stored = fast.compress(&text).unwrap();
    for (block, raw_bytes) in
        [(&stored[..], text.len() + 1), (&stored[1..], 9), (b"", 1), (b"ab", 1 << 20)]
    {
        let error = fast.decompress(block, raw_bytes).unwrap_err();
        let KernelError::Plugin { fault: PluginFault::Refused, message, .. } = &error else {
            panic!("{error}")
        };
        assert!(message.ends_with("(corrupt)"), "{message}");
    }
    for at in (0..stored.len()).step_by(97) {
        let mut spoiled = stored.clone();
        spoiled[at] ^= 0x10;
        if let Ok(raw) = fast.decompress(&spoiled, text.len()) {
            assert_eq!(raw.len(), text.len());
        }
    }
    for host in [fast_host, small_host] {
        assert_eq!(host.list()[0].usage.failures, 0, "nothing trapped");
    }
}

#[test]
fn a_level_that_there_is_not_is_refused() {
    for level in [0, 20, -5] {
        let error = zstd(level).err().expect("a level from 1 to 19");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("level"), "{error}");
    }
}

#[test]
fn a_dictionary_in_the_manifest_makes_rows_smaller_and_is_named_where_it_is_missing() {
    let row = b"tenant=demo table=orders key=77 region=eu status=shipped\n";
    let (plain_host, plain) = zstd(3).unwrap();
    let (trained_host, trained) = zstd_with(3, ORDERS).unwrap();
    for block in [&row[..], &row.repeat(300), b"", &prose()] {
        let stored = trained.compress(block).unwrap();
        assert!(trained.decompress(&stored, block.len()).unwrap() == block);
    }
    let stored = trained.compress(row).unwrap();
    assert!(stored.len() < plain.compress(row).unwrap().len(), "{} bytes", stored.len());
    let error = plain.decompress(&stored, row.len()).unwrap_err();
    let KernelError::Plugin { fault: PluginFault::Refused, message, .. } = &error else {
        panic!("{error}")
    };
    assert!(message.contains("dictionary 970328551, this codec has none"), "{message}");
    assert!(message.ends_with("(corrupt)"), "{message}");
    let stored = plain.compress(row).unwrap();
    assert_eq!(trained.decompress(&stored, row.len()).unwrap(), row, "none is needed");
    for host in [plain_host, trained_host] {
        assert_eq!(host.list()[0].usage.failures, 0, "nothing trapped");
    }
}

#[test]
fn a_dictionary_that_is_none_keeps_the_codec_from_being_loaded() {
    let damaged = ORDERS.replacen('b', "c", 1);
    for broken in ["N6Qw", "no base64", &ORDERS[..100], &damaged] {
        let error = zstd_with(3, broken).err().expect("it is no dictionary");
        assert!(error.to_string().contains("'dictionary' is broken"), "{error}");
    }
}
