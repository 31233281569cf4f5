//! The C interface between SochDB and a native plugin, version 1, as Rust sees it.
//!
//! `native/include/sochdb_plugin.h` is the interface and says what each field and function means; the
//! types here have the same names in Rust's spelling, the same fields in the same order, and the same
//! layout, which a test compares with what a C compiler makes of the header. A plugin in Rust needs
//! only this crate: `native/example` is one.

#![no_std]
#![deny(unsafe_code)]

use core::ffi::c_void;
use core::ptr::null;

/// What [`PluginTable::abi_version`] says.
pub const ABI_VERSION: u32 = 1;
/// The name of the one function that a plugin exports; its type is [`PluginFunction`].
pub const SYMBOL: &str = "sochdb_plugin_v1";

/// What a plugin is: [`PluginTable::kind`].
pub mod kind {
    /// Makes blocks smaller.
    pub const CODEC: u32 = 1;
    /// Takes metrics and logs out.
    pub const OBSERVER: u32 = 2;
}

/// What a function answers. The host reads an unknown status as [`INTERNAL`](status::INTERNAL).
pub mod status {
    /// All is well.
    pub const OK: u32 = 0;
    /// The plugin failed.
    pub const INTERNAL: u32 = 1;
    /// The input makes no sense.
    pub const INVALID: u32 = 2;
    /// A bound was met, such as the room for the output.
    pub const LIMIT: u32 = 3;
    /// The input is not what this plugin once wrote.
    pub const CORRUPT: u32 = 4;
}

/// `len` bytes at `data`. `data` may be null when `len` is zero.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

impl Bytes {
    /// A literal's bytes.
    pub const fn literal(text: &'static str) -> Bytes {
        Bytes { data: text.as_ptr(), len: text.len() }
    }

    /// No bytes.
    pub const EMPTY: Bytes = Bytes { data: null(), len: 0 };
}

/// Text in UTF-8 that a plugin hands out. The host sets it to null and zero before each call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The first byte, in memory that [`PluginTable::free_text`] takes back.
    pub data: *mut u8,
    /// How many.
    pub len: usize,
}

/// Makes an instance.
pub type InitFn = unsafe extern "C" fn(out_instance: *mut *mut c_void, out_error: *mut Text) -> u32;
/// Ends an instance.
pub type ShutdownFn = unsafe extern "C" fn(instance: *mut c_void, out_error: *mut Text) -> u32;
/// Takes back the memory of a text.
pub type FreeTextFn = unsafe extern "C" fn(data: *mut u8, len: usize);
/// Compresses or restores a block.
pub type CodecFn = unsafe extern "C" fn(
    instance: *mut c_void,
    input: Bytes,
    out: *mut u8,
    out_capacity: usize,
    out_len: *mut usize,
    out_error: *mut Text,
) -> u32;
/// Takes one batch of telemetry.
pub type IngestFn =
    unsafe extern "C" fn(instance: *mut c_void, json: Bytes, out_error: *mut Text) -> u32;
/// Shows what the observer shows.
pub type RenderFn = unsafe extern "C" fn(instance: *mut c_void, out_page: *mut Text) -> u32;
/// The one function that a plugin exports, under the name [`SYMBOL`].
pub type PluginFunction = unsafe extern "C" fn() -> *const PluginTable;

/// Who the plugin is, and its functions. Every bit pattern is a valid value: a host may look at a table
/// before it believes it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PluginTable {
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// The size of this table, as the plugin was compiled.
    pub table_bytes: u32,
    /// One of [`kind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// A lower-case letter, then such letters, digits, `-` and `_`; at most 64.
    pub name: Bytes,
    /// Such as `1.2.3`; at most 64 bytes, not empty.
    pub version: Bytes,
    /// One sentence; at most 1024 bytes.
    pub description: Bytes,
    /// At most 1024 bytes.
    pub author: Bytes,
    /// Makes an instance.
    pub init: Option<InitFn>,
    /// Ends an instance.
    pub shutdown: Option<ShutdownFn>,
    /// Takes back the memory of a text.
    pub free_text: Option<FreeTextFn>,
    /// Of a codec, otherwise `None`.
    pub compress: Option<CodecFn>,
    /// Of a codec, otherwise `None`.
    pub decompress: Option<CodecFn>,
    /// Of an observer, otherwise `None`.
    pub ingest: Option<IngestFn>,
    /// Of an observer, otherwise `None`.
    pub render: Option<RenderFn>,
}

// SAFETY: a table is plain data that nobody changes. To follow one of its pointers is the act of whoever
// follows it, in an unsafe block with reasons of its own.
#[allow(unsafe_code, reason = "tables are statics, and raw pointers keep a type from being Sync")]
unsafe impl Sync for PluginTable {}

impl PluginTable {
    /// The size of the table of this version; a plugin's own may be larger, never smaller.
    pub const BYTES: u32 = size_of::<PluginTable>() as u32;

    /// A table with no name and no functions, to begin one's own with.
    pub const EMPTY: PluginTable = PluginTable {
        abi_version: ABI_VERSION,
        table_bytes: PluginTable::BYTES,
        kind: 0,
        reserved: 0,
        name: Bytes::EMPTY,
        version: Bytes::EMPTY,
        description: Bytes::EMPTY,
        author: Bytes::EMPTY,
        init: None,
        shutdown: None,
        free_text: None,
        compress: None,
        decompress: None,
        ingest: None,
        render: None,
    };
}
