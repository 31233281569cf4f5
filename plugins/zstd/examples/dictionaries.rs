//! What dictionaries gain: ratio and MB/s for blocks of several sizes, natively, as a table.
//!
//! ```text
//! cargo run --release -p sochdb-plugin-zstd --features train --example dictionaries -- FILE
//! ```
//!
//! FILE is cut into blocks of whole lines. Dictionaries are made of every other block, and compress the rest.

use sochdb_plugin_zstd::block::{Compressor, decompress};
use sochdb_plugin_zstd::dictionary::{Dictionary, train};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long each figure is measured at least.
const MEASURED: Duration = Duration::from_millis(300);

fn main() {
    let path = std::env::args().nth(1).expect("name a file of lines");
    let text = std::fs::read(path).expect("the file can be read");
    println!("| block | dictionary | trained in | level | stored | compress MB/s | restore MB/s |");
    println!("|------:|-----------:|-----------:|------:|-------:|--------------:|-------------:|");
    for block_bytes in [1 << 10, 4 << 10, 36 << 10] {
        let blocks = blocks(&text, block_bytes);
        let learnt: Vec<&[u8]> = blocks.iter().step_by(2).map(Vec::as_slice).collect();
        let others: Vec<&[u8]> = blocks.iter().skip(1).step_by(2).map(Vec::as_slice).collect();
        for dictionary_kib in [0, 8, 16, 32, 64, 112] {
            let start = Instant::now();
            let made = match dictionary_kib {
                0 => None,
                kib => match train(&learnt, kib << 10, 3) {
                    Ok(bytes) => Some(Dictionary::new(&bytes).expect("what was made can be read")),
                    Err(why) => {
                        println!("| {block_bytes} | {kib} KiB | {why} |");
                        continue;
                    }
                },
            };
            let trained_ms = start.elapsed().as_millis();
            for level in [1, 3, 9, 19] {
                let figures = measure(&others, level, made.as_ref());
                println!(
                    "| {block_bytes} | {dictionary_kib} KiB | {trained_ms} ms | {level} | {figures} |"
                );
            }
        }
    }
}

/// `text` in pieces of whole lines, each of about `bytes`.
fn blocks(text: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let mut blocks = vec![Vec::new()];
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if bytes <= blocks.last().map_or(0, Vec::len) {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("there is one").extend_from_slice(line);
    }
    blocks
}

/// Stored share, and MB/s there and back.
fn measure(blocks: &[&[u8]], level: i32, dictionary: Option<&Dictionary>) -> String {
    let mut compressor = Compressor::new(level, dictionary);
    let stored: Vec<_> = blocks.iter().map(|block| compressor.compress(block)).collect();
    let raw_bytes: usize = blocks.iter().map(|block| block.len()).sum();
    let stored_bytes: usize = stored.iter().map(Vec::len).sum();
    let there = rate(raw_bytes, || {
        blocks.iter().for_each(|block| drop(black_box(compressor.compress(block))));
    });
    let back = rate(raw_bytes, || {
        for (stored, raw) in stored.iter().zip(blocks) {
            assert!(decompress(stored, raw.len(), dictionary).expect("a whole frame") == *raw);
        }
    });
    format!("{:.1} % | {there:.0} | {back:.0}", 100.0 * stored_bytes as f64 / raw_bytes as f64)
}

/// MB/s of `work`, which deals with `bytes`.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let (start, mut turns) = (Instant::now(), 0);
    while start.elapsed() < MEASURED || turns == 0 {
        work();
        turns += 1;
    }
    (bytes * turns) as f64 / 1e6 / start.elapsed().as_secs_f64()
}
