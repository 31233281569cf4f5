//! The codecs, compiled natively, on a block of 64 KiB of lines of JSON.

use super::{Micro, Run, data};
use sochdb_plugin_lz4::block as lz4;
use sochdb_plugin_zstd::block as zstd;
use std::hint::black_box;

/// Bytes of a block, and what the names count: KiB.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_KIB: u64 = 64;
/// The level that the manifest asks for.
const LEVEL: i32 = 3;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("lz4.compress-KiB", BLOCK_KIB, lz4_compress),
    Micro::new("lz4.restore-KiB", BLOCK_KIB, lz4_restore),
    Micro::new("zstd.compress-KiB", BLOCK_KIB, zstd_compress),
    Micro::new("zstd.restore-KiB", BLOCK_KIB, zstd_restore),
];

fn lz4_compress() -> Run {
    let block = data::json(BLOCK_BYTES);
    Box::new(move || {
        black_box(lz4::compress(&block));
    })
}

fn lz4_restore() -> Run {
    let stored = lz4::compress(&data::json(BLOCK_BYTES));
    Box::new(move || {
        black_box(lz4::decompress(&stored, BLOCK_BYTES).expect("it was just compressed"));
    })
}

fn zstd_compress() -> Run {
    let (block, mut codec) = (data::json(BLOCK_BYTES), zstd::Compressor::new(LEVEL, None));
    // Its tables are made at the first block.
    codec.compress(&block);
    Box::new(move || {
        black_box(codec.compress(&block));
    })
}

fn zstd_restore() -> Run {
    let stored = zstd::Compressor::new(LEVEL, None).compress(&data::json(BLOCK_BYTES));
    Box::new(move || {
        black_box(zstd::decompress(&stored, BLOCK_BYTES, None).expect("it was just compressed"));
    })
}
