//! Bytes that differ and have the same checksum, written one after the other to the same place.
//!
//! A checksum that follows what it is of takes it out of any checksum over both, and the kernel's takes
//! the last four bytes first. So whatever `filling` is, these all have one checksum.

use crate::{all, engine::Engine, healthy, open};
use sochdb_encoding::codec;
use sochdb_kernel::plugin::Compaction;
use sochdb_kernel::{Kernel, TableOptions};
use sochdb_sim::MemoryVfs;

const TAIL: &[u8] = b"tail";

/// A value of 9,000 bytes that all have the same checksum once `before` is written before them.
fn value(before: &[u8], filling: u8) -> Vec<u8> {
    let mut value = vec![filling; 9000 - 4 - TAIL.len()];
    let crc = codec::crc(&[TAIL, before, &value].concat());
    value.extend(crc.to_le_bytes());
    value.extend(TAIL);
    value
}

/// Writes values of one checksum to one key, each with a checkpoint, so that each lies where another lay.
fn overwrite(kernel: &Kernel, before: &[u8]) {
    let mut free = Vec::new();
    for filling in 0..16 {
        let value = value(before, filling);
        assert_eq!(
            codec::tail_first_crc(&[before, &value].concat()),
            codec::tail_first_crc(&[before, &self::value(before, 99)].concat())
        );
        kernel.run(|tx| tx.put("t", b"key", &value)).unwrap();
        assert!(kernel.checkpoint().unwrap().failed.is_empty());
        let rows = all(kernel);
        assert!(rows[&b"key"[..]] == value, "round {filling} shows another round's value");
        healthy(kernel);
        free.push(kernel.stats().pages_total);
    }
    assert_eq!(free[8], free[15], "freed pages are used again");
}

#[test]
fn a_value_is_never_mistaken_for_one_that_lay_there_before() {
    let kernel = open(&MemoryVfs::new(), &Engine::new());
    kernel.create_table("t", TableOptions::default()).unwrap();
    overwrite(&kernel, b"");
}

#[test]
fn a_block_of_a_segment_is_never_mistaken_for_one_that_lay_there_before() {
    let engine = Engine::new();
    engine.plan(|segments| {
        (1 < segments).then(|| Compaction { inputs: (0..segments).collect(), at: 0, urgent: true })
    });
    let kernel = open(&MemoryVfs::new(), &engine);
    let storage = Some("engine".to_owned());
    kernel.create_table("t", TableOptions { storage, ..TableOptions::default() }).unwrap();
    let lens = [3u32.to_le_bytes(), 9000u32.to_le_bytes()].concat();
    overwrite(&kernel, &[&lens[..], b"key"].concat());
}
