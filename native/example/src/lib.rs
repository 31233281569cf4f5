//! A native plugin of SochDB in Rust: a run-length codec. `rle.c` beside it is the same in C.
//!
//! This file is what every codec in Rust needs: a table, and between C and the algorithm in `rle.rs` one
//! function each that turns pointers into slices, and errors and panics into answers. The functions remember
//! nothing, so the instance is a null pointer.

mod rle;

use sochdb_native_abi::{Bytes, PluginTable, Text, kind, status};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null_mut, slice_from_raw_parts_mut};
use std::slice;

static TABLE: PluginTable = PluginTable {
    kind: kind::CODEC,
    name: Bytes::literal("rle"),
    version: Bytes::literal(env!("CARGO_PKG_VERSION")),
    description: Bytes::literal("Run-length coding: pairs of a count and a byte."),
    author: Bytes::literal("The SochDB authors"),
    init: Some(init),
    shutdown: Some(shutdown),
    free_text: Some(free_text),
    compress: Some(compress),
    decompress: Some(decompress),
    ..PluginTable::EMPTY
};

/// The plugin's table.
// SAFETY: no other library in a process exports this name to it: the host keeps symbols apart.
#[unsafe(no_mangle)]
pub extern "C" fn sochdb_plugin_v1() -> *const PluginTable {
    &TABLE
}

/// Why a block was refused: a status, and words for people.
type Refused = (u32, String);

unsafe extern "C" fn init(out_instance: *mut *mut c_void, _: *mut Text) -> u32 {
    // SAFETY: the host passes a pointer that may be written to.
    unsafe { out_instance.write(null_mut()) };
    status::OK
}

unsafe extern "C" fn shutdown(_: *mut c_void, _: *mut Text) -> u32 {
    status::OK
}

unsafe extern "C" fn free_text(data: *mut u8, len: usize) {
    // SAFETY: the host gives back, once, what `answer` made of a box of this length.
    drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(data, len)) });
}

unsafe extern "C" fn compress(
    _: *mut c_void,
    input: Bytes,
    out: *mut u8,
    out_capacity: usize,
    out_len: *mut usize,
    out_error: *mut Text,
) -> u32 {
    // SAFETY: the host's promises about its arguments are those that `code` asks for.
    unsafe { code(rle::compress, input, (out, out_capacity), out_len, out_error) }
}

unsafe extern "C" fn decompress(
    _: *mut c_void,
    input: Bytes,
    out: *mut u8,
    out_capacity: usize,
    out_len: *mut usize,
    out_error: *mut Text,
) -> u32 {
    // SAFETY: the host's promises about its arguments are those that `code` asks for.
    unsafe { code(rle::decompress, input, (out, out_capacity), out_len, out_error) }
}

/// Runs `step` from `input` to `out` and answers as the interface wants it.
///
/// # Safety
/// `input` can be read and `out` (a pointer and a size, initialised) written until this returns, and they
/// do not overlap; `out_len` and `out_error` can be written.
unsafe fn code(
    step: fn(&[u8], &mut [u8]) -> Result<usize, Refused>,
    input: Bytes,
    out: (*mut u8, usize),
    out_len: *mut usize,
    out_error: *mut Text,
) -> u32 {
    let input = match input.len {
        // The pointer may be null then, and a slice's may not.
        0 => &[],
        // SAFETY: by this function's contract.
        len => unsafe { slice::from_raw_parts(input.data, len) },
    };
    let out = match out {
        (_, 0) => &mut [],
        // SAFETY: by this function's contract.
        (out, len) => unsafe { slice::from_raw_parts_mut(out, len) },
    };
    // After a panic nothing is looked at again: input is only read, and the host drops the output.
    let result = catch_unwind(AssertUnwindSafe(|| step(input, out)));
    match result.unwrap_or_else(|_| Err((status::INTERNAL, "it panicked".to_owned()))) {
        Ok(len) => {
            // SAFETY: by this function's contract.
            unsafe { out_len.write(len) };
            status::OK
        }
        Err((status, words)) => {
            let len = words.len();
            let data = Box::into_raw(words.into_bytes().into_boxed_slice()).cast();
            // SAFETY: by this function's contract.
            unsafe { out_error.write(Text { data, len }) };
            status
        }
    }
}
