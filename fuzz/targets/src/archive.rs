//! A compressed file of the archived log, as a check and a feed of changes read it.

use crate::allocation::bounded;
use crate::image;
use sochdb_encoding::codec::crc;
use sochdb_kernel::plugin::{CompressionExtension, Extension, ExtensionCapability, ExtensionInfo};
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{KernelError, KernelResult, Options, TableOptions, Timestamp};
use sochdb_operations::{CheckOptions, changes, check_with, compress_archive};
use sochdb_sim::MemoryVfs;
use std::sync::Arc;

/// What a database without rows needs, and a block of the largest size, restored.
const CONSTANT: usize = 12 << 20;
const NAME: &str = "archive/0000000000000040.wal.z";
/// Where the head says how large blocks are, how long the file was, how long the codec's name is.
const BLOCK_BYTES: usize = 12;
const RAW_BYTES: usize = 16;
const NAME_BYTES: usize = 24;

/// Stores runs of one byte in two, and restores no more than it is asked for.
struct Runs;

impl Extension for Runs {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "runs".to_owned(),
            version: "1".to_owned(),
            description: "for tests".to_owned(),
            author: "nobody".to_owned(),
            capabilities: vec![ExtensionCapability::Compression],
        }
    }
}

impl CompressionExtension for Runs {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        let runs = input.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255));
        Ok(runs.flat_map(|run| [run.len() as u8, run[0]]).collect())
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        let mut raw = Vec::new();
        for run in input.chunks_exact(2) {
            let end = raw.len() + usize::from(run[0]);
            if raw_bytes < end {
                return Err(KernelError::invalid("more than was asked for"));
            }
            raw.resize(end, run[1]);
        }
        Ok(raw)
    }
}

/// `data` with checksums that hold: of the head, and of every block as it is stored.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let mut file = data.to_vec();
    let field = |at: usize, bytes: usize| {
        let bytes = data.get(at..at + bytes)?;
        Some(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let (size, raw) = (field(BLOCK_BYTES, 4)?.max(1), field(RAW_BYTES, 8)?);
    let table = NAME_BYTES + 1 + usize::try_from(field(NAME_BYTES, 1)?).ok()?;
    let blocks = usize::try_from(raw.div_ceil(size)).ok()?.min(data.len() / 12);
    let end = table + blocks * 12;
    let mut at = end + 4;
    for entry in (table..end).step_by(12) {
        let stored = usize::try_from(field(entry, 4)?).ok()?;
        let sum = crc(data.get(at..at.checked_add(stored)?)?).to_le_bytes();
        file[entry + 4..entry + 8].copy_from_slice(&sum);
        at += stored;
    }
    let sum = crc(&file[..end]).to_le_bytes();
    file.get_mut(end..end + 4)?.copy_from_slice(&sum);
    Some(file)
}

/// A file that says anything about itself is read, or it is said why not.
pub fn archive(data: &[u8]) {
    for file in [Some(data.to_vec()), sealed(data)].into_iter().flatten() {
        bounded(file.len(), CONSTANT, || {
            let vfs = MemoryVfs::new();
            let kernel = image::open(&vfs).expect("a new database");
            kernel.plugins().register_compression(Arc::new(Runs));
            let written = vfs.open(NAME, OpenMode::Create).and_then(|f| f.write_at(0, &file));
            written.expect("memory takes a file");
            let problems = |deep| {
                let report = check_with(&kernel, CheckOptions { deep }, &mut |_| {});
                report.expect("an open database can be checked").found()
            };
            let (shallow, deep) = (problems(false), problems(true));
            assert!(shallow <= deep, "{shallow} problems, and {deep} where more is looked at");
            if let Ok(told) = changes(&kernel, Timestamp(0)) {
                told.take(100).take_while(Result::is_ok).for_each(drop);
            }
        });
    }
}

/// Files of a real archive.
pub fn archive_seeds() -> Vec<Vec<u8>> {
    let vfs = MemoryVfs::new();
    let env = sochdb_kernel::Environment::with_vfs(Arc::new(vfs.clone()));
    let options = Options { wal_archive: true, wal_segment_bytes: 16 << 10, ..Options::default() };
    let kernel = sochdb_kernel::Kernel::open(env, options).expect("a new database");
    kernel.plugins().register_compression(Arc::new(Runs));
    kernel.create_table("t", TableOptions::default()).expect("a table");
    for key in 0..12_u8 {
        kernel.run(|tx| tx.put("t", &[key], &[key; 3000])).expect("a row");
    }
    kernel.checkpoint().expect("a checkpoint");
    compress_archive(&kernel, "runs", 3, &mut |_| {}).expect("an archive");
    let names = vfs.names().into_iter().filter(|name| name.ends_with(".wal.z"));
    names.map(|name| image::files_of(&vfs).remove(&name).expect("listed")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_whole_files_whose_checksums_need_no_mending() {
        let seeds = archive_seeds();
        assert!(!seeds.is_empty());
        assert!(seeds.iter().all(|seed| sealed(seed).as_ref() == Some(seed)));
    }
}
