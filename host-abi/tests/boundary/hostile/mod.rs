//! Guests that mean harm. For each: the typed error, the next call is served on a fresh instance, and a
//! neighbour in the same host notices nothing. `README.md` beside this folder numbers them.

mod answers;
mod code;
mod handles;
mod hooks;
mod memory;
mod rows;
mod table;
mod telemetry;
mod wasi;
mod work;

use crate::guest::{Bench, Codec, Storage};
use crate::void::Void;
use sochdb_kernel::plugin::{RunCursor, RunRow, StorageExtension, StorageReader, TableContext};
use sochdb_kernel::{KernelError, KernelResult, PluginFault, SegmentId, TableId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs `evil` when the input begins with `!`, and behaves otherwise.
fn evil(evil: &str) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then {evil}))
         (call $same (local.get $at) (local.get $len))"
    )
}

#[track_caller]
fn check_fault(error: &KernelError, wanted: PluginFault, words: &[&str]) {
    let KernelError::Plugin { plugin, fault, message } = error else { panic!("{error}") };
    assert_eq!((plugin.as_str(), *fault), ("guest", wanted), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// Lets `guest` do its evil in `compress`; afterwards it serves, on a fresh instance.
#[track_caller]
fn compress_fails(
    guest: &Codec<'_>,
    resources: &str,
    wanted: PluginFault,
    words: &[&str],
) -> Bench {
    let bench = Bench::new();
    let neighbour = bench.load_neighbour();
    let codec = bench.load(&guest.build(), resources).unwrap();
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
    assert_eq!(neighbour.compress(b"!").unwrap(), b"!");
    check_fault(&codec.compress(b"!").unwrap_err(), wanted, words);
    assert_eq!(neighbour.compress(b"!").unwrap(), b"!");
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
    let [guest, neighbour] = &bench.host.list()[..] else { panic!("two plugins") };
    let usage = guest.usage;
    assert_eq!((usage.failures, usage.instances_started), (1, 3), "self-test, first, fresh");
    let usage = neighbour.usage;
    assert_eq!((usage.failures, usage.instances_started), (0, 2), "the neighbour goes on");
    bench
}

fn table() -> TableContext {
    TableContext {
        id: TableId(7),
        name: "t".to_owned(),
        schema: None,
        compressed: false,
        options: BTreeMap::new(),
    }
}

/// A storage engine that does `evil` when it is asked for a key that begins with `!`, and finds nothing
/// otherwise.
fn evil_get(evil: &str) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (local.get $keys)) (i32.const 33)) (then {evil}))
         (call $found (i32.const 160) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 160))"
    )
}

/// A storage engine with its tables' reader open.
fn engine(guest: &Storage<'_>, resources: &str) -> (Bench, Arc<dyn StorageReader>) {
    let bench = Bench::new();
    let storage = bench.load_storage(&guest.build(), resources).unwrap();
    let reader = storage.open(&table(), &[]).unwrap();
    (bench, reader)
}

/// Lets the storage engine do its evil in `multi_get`; afterwards it serves, on a fresh instance.
#[track_caller]
fn get_fails(guest: &Storage<'_>, resources: &str, wanted: PluginFault, words: &[&str]) {
    let (bench, reader) = engine(guest, resources);
    assert_eq!(get(&reader, b"good").unwrap(), None);
    check_fault(&get(&reader, b"!").unwrap_err(), wanted, words);
    assert_eq!(get(&reader, b"good").unwrap(), None);
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (1, 3), "self-test, first, fresh");
}

/// Whether a storage engine knows `key`.
fn get(reader: &Arc<dyn StorageReader>, key: &[u8]) -> KernelResult<Option<bool>> {
    let answers = reader.multi_get(&[key])?;
    Ok(answers[0].as_ref().map(Option::is_some))
}

/// A run of one row, which never ends.
struct OneRow;

impl RunCursor for OneRow {
    fn next_batch(&mut self, _rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        Ok(vec![RunRow { key: b"key".to_vec(), value: None }])
    }
}

/// A flush by `storage`. Whatever comes of it, nothing that was lent to it is left.
fn flush(storage: &Arc<dyn StorageExtension>) -> KernelResult<Vec<SegmentId>> {
    let lent = Arc::new(());
    let answer = storage.flush(&table(), &[], Box::new(OneRow), Arc::new(Void(lent.clone())));
    assert_eq!(Arc::strong_count(&lent), 1, "no writer and no sink outlives its flush");
    answer
}

/// Lets the storage engine do its evil in `flush`; afterwards it still reads, on a fresh instance.
#[track_caller]
fn flush_fails(guest: &Storage<'_>, wanted: PluginFault, words: &[&str]) {
    let bench = Bench::new();
    let multi_get = evil_get("");
    let guest = Storage { multi_get: &multi_get, ..*guest };
    let storage =
        bench.load_storage(&guest.build(), "background_fuel_limit = 100_000_000").unwrap();
    let reader = storage.open(&table(), &[]).unwrap();
    for _ in 0..2 {
        check_fault(&flush(&storage).unwrap_err(), wanted, words);
        assert_eq!(get(&reader, b"good").unwrap(), None);
    }
    let usage = bench.host.list()[0].usage;
    assert_eq!((usage.failures, usage.instances_started), (2, 4), "self-test, first, two fresh");
}
