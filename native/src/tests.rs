//! Tables and functions that lie, without a library around them: what is noticed, and as which error.

#![allow(unsafe_code, reason = "plugins are played by functions of this file")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one write to what the host passed in"
)]

use crate::instance::{CodecCall, Instance};
use crate::library::{self, Table};
use crate::plugin::Running;
use sochdb_kernel::plugin::{CompressionExtension, Extension};
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use sochdb_native_abi::{Bytes, PluginTable, Text, kind, status};
use std::ffi::c_void;
use std::ptr::{null, null_mut, slice_from_raw_parts_mut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

unsafe extern "C" fn init(_: *mut *mut c_void, _: *mut Text) -> u32 {
    status::OK
}

unsafe extern "C" fn shutdown(_: *mut c_void, _: *mut Text) -> u32 {
    status::OK
}

/// Takes back what [`hand_out`] handed out, and leaves made-up pointers alone.
unsafe extern "C" fn free_text(data: *mut u8, len: usize) {
    if len <= 1 << 20 {
        drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(data, len)) });
    }
}

unsafe fn hand_out(out: *mut Text, bytes: &[u8]) {
    let data = Box::into_raw(Box::<[u8]>::from(bytes)).cast();
    unsafe { out.write(Text { data, len: bytes.len() }) };
}

/// Copies its input: an honest codec, in both directions.
unsafe extern "C" fn copy(
    _: *mut c_void,
    input: Bytes,
    out: *mut u8,
    room: usize,
    out_len: *mut usize,
    _: *mut Text,
) -> u32 {
    assert!(input.len <= room);
    unsafe { out.copy_from(input.data, input.len) };
    unsafe { out_len.write(input.len) };
    status::OK
}

unsafe extern "C" fn ingest(_: *mut c_void, _: Bytes, _: *mut Text) -> u32 {
    status::OK
}

unsafe extern "C" fn render(_: *mut c_void, out: *mut Text) -> u32 {
    unsafe { hand_out(out, "page ü".as_bytes()) };
    status::OK
}

fn codec() -> PluginTable {
    PluginTable {
        kind: kind::CODEC,
        name: Bytes::literal("copy"),
        version: Bytes::literal("1.0"),
        init: Some(init),
        shutdown: Some(shutdown),
        free_text: Some(free_text),
        compress: Some(copy),
        decompress: Some(copy),
        ..PluginTable::EMPTY
    }
}

fn observer() -> PluginTable {
    let (ingest, render) = (Some(ingest as _), Some(render as _));
    PluginTable {
        kind: kind::OBSERVER,
        compress: None,
        decompress: None,
        ingest,
        render,
        ..codec()
    }
}

fn check(table: &PluginTable) -> KernelResult<Table> {
    unsafe { library::check("lib.so", table) }
}

fn start(table: &PluginTable) -> KernelResult<Running> {
    let table = check(table)?;
    unsafe { Instance::init(&table) }.map(Running)
}

#[track_caller]
fn lied<T>(result: KernelResult<T>, part: &str) {
    failed(result, PluginFault::Lied, part);
}

#[track_caller]
fn failed<T>(result: KernelResult<T>, wanted: PluginFault, part: &str) {
    let error = result.map(drop).unwrap_err();
    let KernelError::Plugin { fault, ref message, .. } = error else {
        panic!("wanted a plugin's failure, not: {error}")
    };
    assert_eq!(fault, wanted, "{error}");
    assert!(message.contains(part), "{message:?} should say {part:?}");
}

#[test]
fn honest_tables_are_taken() {
    let codec = start(&codec()).unwrap();
    assert_eq!(codec.info().name, "copy");
    assert_eq!(codec.info().version, "1.0");
    assert_eq!(codec.compress(b"block").unwrap(), b"block");
    assert_eq!(codec.compress(b"").unwrap(), b"");
    assert_eq!(codec.decompress(b"block", 5).unwrap(), b"block");
    let observer = start(&observer()).unwrap().0;
    observer.ingest(b"{}").unwrap();
    assert_eq!(observer.render().unwrap(), "page ü");
}

#[test]
fn a_table_may_be_longer_than_this_version_knows() {
    #[repr(C)]
    struct Longer {
        table: PluginTable,
        more: [u64; 4],
    }
    let table_bytes = size_of::<Longer>() as u32;
    let longer = Longer { table: PluginTable { table_bytes, ..codec() }, more: [7; 4] };
    check(&longer.table).unwrap();
    assert_eq!(longer.more, [7; 4]);
}

#[test]
fn a_table_of_another_version_is_refused_and_not_read() {
    /// Nothing else is there.
    #[repr(align(8))]
    struct Begin([u32; 2]);
    let begin = Begin([2, 8]);
    let error = unsafe { library::check("lib.so", (&raw const begin).cast()) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("lib.so was built for version 2") && text.contains("has version 1"));
    assert_eq!(begin.0, [2, 8]);
}

#[test]
fn a_table_that_cannot_be_one_is_refused() {
    lied(unsafe { library::check("lib.so", null()) }, "null pointer");
    let table = codec();
    let askew = (&raw const table).wrapping_byte_add(1);
    lied(unsafe { library::check("lib.so", askew) }, "no table can have");
    lied(check(&PluginTable { table_bytes: 8, ..codec() }), "8 bytes instead of");
    lied(check(&PluginTable { reserved: 1, ..codec() }), "reserved");
    lied(check(&PluginTable { kind: 9, ..codec() }), "9 is no kind");
}

#[test]
fn a_table_without_one_of_its_functions_is_refused() {
    lied(check(&PluginTable { init: None, ..codec() }), "lacks the function init");
    lied(check(&PluginTable { shutdown: None, ..codec() }), "lacks the function shutdown");
    lied(check(&PluginTable { free_text: None, ..codec() }), "lacks the function free_text");
    lied(check(&PluginTable { compress: None, ..codec() }), "lacks the function compress");
    lied(check(&PluginTable { decompress: None, ..codec() }), "lacks the function decompress");
    lied(check(&PluginTable { ingest: None, ..observer() }), "lacks the function ingest");
    lied(check(&PluginTable { render: None, ..observer() }), "lacks the function render");
    lied(check(&PluginTable { kind: kind::OBSERVER, ..codec() }), "functions of a codec");
    lied(check(&PluginTable { kind: kind::CODEC, ..observer() }), "functions of an observer");
}

#[test]
fn texts_of_a_table_are_checked() {
    let named = |name: Bytes| check(&PluginTable { name, ..codec() });
    for name in ["", "Rle", "1rle", "r le", "sochdb.rle", "../rle", "rlé"] {
        lied(named(Bytes::literal(name)), "no plugin name");
    }
    lied(named(Bytes { data: null(), len: 3 }), "its name is a null pointer with 3 bytes");
    let data = b"rle\xff".as_ptr();
    lied(named(Bytes { data, len: 4 }), "its name is not UTF-8");
    // Nothing is read at such a length.
    lied(named(Bytes { data, len: usize::MAX }), "at most 64");
    let version = Bytes::EMPTY;
    lied(check(&PluginTable { version, ..codec() }), "its version is empty");
    let description = Bytes::literal("\u{1b}[2J");
    lied(check(&PluginTable { description, ..codec() }), "its description has control characters");
    let author = Bytes { data: null(), len: 1 };
    lied(check(&PluginTable { author, ..codec() }), "its author is a null pointer");
}

/// A codec's function that answers `OK` after doing something to its output.
macro_rules! codec_fn {
    ($name:ident($out:ident, $room:ident, $out_len:ident) $body:expr) => {
        #[allow(unused_unsafe, reason = "some bodies do nothing")]
        unsafe extern "C" fn $name(
            _: *mut c_void,
            _: Bytes,
            $out: *mut u8,
            $room: usize,
            $out_len: *mut usize,
            _: *mut Text,
        ) -> u32 {
            unsafe { $body };
            status::OK
        }
    };
}

codec_fn!(too_long(_out, room, out_len) out_len.write(room + 1));
codec_fn!(endless(_out, _room, out_len) out_len.write(usize::MAX));
codec_fn!(silent(_out, _room, _out_len)());
codec_fn!(too_short(_out, room, out_len) out_len.write(room - 1));
codec_fn!(one_past(out, room, out_len) {
    out.add(room).write(1);
    out_len.write(room)
});

#[test]
fn lying_lengths_are_noticed() {
    let functions: [(_, fn() -> PluginTable); 3] = [
        ("bytes where", || PluginTable {
            compress: Some(too_long),
            decompress: Some(too_long),
            ..codec()
        }),
        ("bytes where", || PluginTable {
            compress: Some(endless),
            decompress: Some(endless),
            ..codec()
        }),
        // It never said how long its answer is.
        ("bytes where", || PluginTable {
            compress: Some(silent),
            decompress: Some(silent),
            ..codec()
        }),
    ];
    for (part, table) in functions {
        let codec = start(&table()).unwrap();
        lied(codec.compress(b"block"), part);
        lied(codec.decompress(b"block", 9), part);
    }
    let codec = start(&PluginTable { decompress: Some(too_short), ..codec() }).unwrap();
    lied(codec.decompress(b"block", 9), "answered 8 bytes instead of 9");
}

#[test]
fn a_write_past_the_end_is_noticed() {
    let table = PluginTable { compress: Some(one_past), decompress: Some(one_past), ..codec() };
    let codec = start(&table).unwrap();
    lied(codec.compress(b"block"), "wrote past the 1029 bytes");
    lied(codec.decompress(b"block", 9), "wrote past the 9 bytes");
}

#[test]
fn a_block_larger_than_any_value_is_not_made_room_for() {
    let codec = start(&codec()).unwrap();
    let error = codec.decompress(b"block", usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
}

/// An observer's `ingest` that refuses in some way.
macro_rules! refusal {
    ($name:ident($out:ident) $body:expr, $status:expr) => {
        #[allow(unused_unsafe, reason = "some bodies do nothing")]
        unsafe extern "C" fn $name(_: *mut c_void, _: Bytes, $out: *mut Text) -> u32 {
            unsafe { $body };
            $status
        }
    };
}

refusal!(in_words(out) hand_out(out, b"no\n\x1b[2J"), status::INVALID);
refusal!(without_words(_out)(), 77);
refusal!(not_in_utf8(out) hand_out(out, b"n\xffo"), status::CORRUPT);
refusal!(with_null(out) out.write(Text { data: null_mut(), len: 5 }), status::LIMIT);
refusal!(at_length(out) out.write(Text { data: out.cast(), len: usize::MAX }), status::LIMIT);
refusal!(not_at_all(out) hand_out(out, b"never mind"), status::OK);

#[test]
fn refusals_are_shown_harmlessly() {
    let with = |ingest: sochdb_native_abi::IngestFn| {
        start(&PluginTable { ingest: Some(ingest), ..observer() }).unwrap().0.ingest(b"{}")
    };
    failed(with(in_words), PluginFault::Refused, "ingest: no\\n\\u{1b}[2J (invalid)");
    failed(with(without_words), PluginFault::Refused, "(internal)");
    failed(with(not_in_utf8), PluginFault::Refused, "n\u{fffd}o (corrupt)");
    lied(with(with_null), "the error of ingest is a null pointer with 5 bytes");
    lied(with(at_length), "at most 4096");
    with(not_at_all).unwrap();
}

/// An observer's `render` with some page.
macro_rules! page {
    ($name:ident($out:ident) $body:expr) => {
        #[allow(unused_unsafe, reason = "some bodies do nothing")]
        unsafe extern "C" fn $name(_: *mut c_void, $out: *mut Text) -> u32 {
            unsafe { $body };
            status::OK
        }
    };
}

page!(null_page(out) out.write(Text { data: null_mut(), len: 1 }));
page!(endless_page(out) out.write(Text { data: out.cast(), len: (16 << 20) + 1 }));
page!(garbled_page(out) hand_out(out, b"\xc3("));
page!(empty_page(_out)());

#[test]
fn a_page_is_checked() {
    let with = |render: sochdb_native_abi::RenderFn| {
        start(&PluginTable { render: Some(render), ..observer() }).unwrap().0.render()
    };
    lied(with(null_page), "is a null pointer with 1 bytes");
    lied(with(endless_page), "has 16777217 bytes, at most 16777216");
    lied(with(garbled_page), "is not UTF-8");
    assert_eq!(with(empty_page).unwrap(), "");
}

static FREED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn counted_free(data: *mut u8, len: usize) {
    FREED.fetch_add(1, Ordering::Relaxed);
    unsafe { free_text(data, len) };
}

#[test]
fn every_text_is_given_back_once() {
    let free_text = Some(counted_free as _);
    let table = PluginTable { free_text, ingest: Some(in_words), ..observer() };
    let observer = start(&table).unwrap().0;
    observer.render().unwrap();
    assert_eq!(FREED.load(Ordering::Relaxed), 1);
    observer.ingest(b"{}").unwrap_err();
    assert_eq!(FREED.load(Ordering::Relaxed), 2);
}

static MADE: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn counted_init(instance: *mut *mut c_void, _: *mut Text) -> u32 {
    let number = MADE.fetch_add(1, Ordering::Relaxed) + 1;
    unsafe { instance.write(number as *mut c_void) };
    status::OK
}

unsafe extern "C" fn counted_shutdown(instance: *mut c_void, out: *mut Text) -> u32 {
    ENDED.fetch_add(instance as usize, Ordering::Relaxed);
    unsafe { hand_out(out, b"no pen to sign with") };
    status::INTERNAL
}

#[test]
fn an_instance_is_shut_down_once_and_never_called_again() {
    let (init, shutdown) = (Some(counted_init as _), Some(counted_shutdown as _));
    let first = start(&PluginTable { init, shutdown, ..codec() }).unwrap();
    let second = start(&PluginTable { init, shutdown, ..codec() }).unwrap();
    failed(first.shutdown(), PluginFault::Refused, "no pen to sign with");
    assert_eq!(ENDED.load(Ordering::Relaxed), 1);
    first.shutdown().unwrap();
    assert_eq!(first.compress(b"block").unwrap_err().kind(), ErrorKind::Closed);
    drop(first);
    assert_eq!(ENDED.load(Ordering::Relaxed), 1);
    drop(second);
    assert_eq!(ENDED.load(Ordering::Relaxed), 1 + 2);
}

unsafe extern "C" fn unwilling(_: *mut *mut c_void, out: *mut Text) -> u32 {
    unsafe { hand_out(out, b"not today") };
    status::INTERNAL
}

#[test]
fn an_instance_that_was_not_made_is_not_shut_down() {
    unsafe extern "C" fn never(_: *mut c_void, _: *mut Text) -> u32 {
        unreachable!("there is no instance")
    }
    let table = PluginTable { init: Some(unwilling), shutdown: Some(never), ..codec() };
    failed(start(&table), PluginFault::Refused, "init: not today (internal)");
}

static IN_CALL: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn slow(
    _: *mut c_void,
    _: Bytes,
    _: *mut u8,
    _: usize,
    out_len: *mut usize,
    _: *mut Text,
) -> u32 {
    IN_CALL.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(100));
    IN_CALL.store(false, Ordering::SeqCst);
    unsafe { out_len.write(0) };
    status::OK
}

unsafe extern "C" fn alone(_: *mut c_void, _: *mut Text) -> u32 {
    if IN_CALL.load(Ordering::SeqCst) { status::INTERNAL } else { status::OK }
}

#[test]
fn shutting_down_waits_for_the_calls_in_flight() {
    let table = PluginTable { compress: Some(slow), shutdown: Some(alone), ..codec() };
    let codec = start(&table).unwrap();
    std::thread::scope(|threads| {
        let call = threads.spawn(|| codec.compress(b"block"));
        while !IN_CALL.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        codec.shutdown().unwrap();
        call.join().unwrap().unwrap();
    });
}

#[test]
fn an_observer_is_no_codec() {
    let observer = start(&observer()).unwrap().0;
    failed(observer.code(CodecCall::Compress, b"", 0), PluginFault::Missing, "no codec");
    let codec = start(&codec()).unwrap().0;
    failed(codec.ingest(b"{}"), PluginFault::Missing, "no observer");
    failed(codec.render(), PluginFault::Missing, "no observer");
}
