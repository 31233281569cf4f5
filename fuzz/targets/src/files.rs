//! Whole databases: files edited by the input, with checksums that hold or not, opened, checked, read,
//! written, closed and opened again.

use crate::allocation::bounded;
use crate::image::{self, Files};
use crate::input::Input;
use sochdb_kernel::inspect::{DATA_FILE, WalRecord, record};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::{Kernel, KernelResult, TableId, Timestamp};
use std::collections::BTreeMap;

/// What opening, checking and a checkpoint need, whatever the files are: buffers of fixed size.
const CONSTANT: usize = 8 << 20;
/// Edits to one set of files; more only hide each other.
const EDITS_MAX: usize = 12;

type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Every row of every table, read in both directions.
fn rows(kernel: &Kernel) -> KernelResult<Rows> {
    let tx = kernel.begin_read()?;
    let mut rows = Rows::new();
    for table in tx.tables()? {
        for row in tx.scan(&table.name, ..)? {
            let (key, value) = row?;
            rows.insert((table.name.clone(), key), value.to_vec());
        }
        for row in tx.scan_reverse(&table.name, ..)? {
            let _ = tx.get(&table.name, &row?.0)?;
        }
    }
    Ok(rows)
}

/// Whether a check of the database finds nothing wrong.
fn is_healthy(kernel: &Kernel) -> bool {
    sochdb_operations::check(kernel).is_ok_and(|report| report.is_healthy())
}

/// The same, for a database that must be.
fn assert_healthy(kernel: &Kernel) {
    let report = sochdb_operations::check(kernel).expect("a database that can be walked");
    assert!(report.is_healthy(), "{:?}", report.problems);
}

/// Does with the database whatever its users do. Errors are fine as long as it says that something is
/// wrong; a healthy one takes writes, and opens again with the same rows.
fn live(files: &Files) {
    let vfs = image::vfs_of(files);
    let Ok(kernel) = image::open(&vfs) else { return };
    let healthy = is_healthy(&kernel);
    let before = rows(&kernel);
    if !healthy {
        return;
    }
    let before = before.expect("a healthy database can be read");
    let names = kernel.begin_read().and_then(|tx| tx.tables()).expect("read just now");
    for table in &names {
        let write = kernel.run(|tx| {
            tx.put(&table.name, b"row/00001", b"new")?;
            tx.put(&table.name, b"", &[1; 3000])?;
            tx.delete(&table.name, b"row/00002")
        });
        write.expect("a healthy database takes writes");
    }
    // A storage engine that cannot read its segments holds back its table, and only that.
    kernel.checkpoint().expect("a healthy database can be checkpointed");
    assert_healthy(&kernel);
    if let Some(table) = names.first() {
        kernel.run(|tx| tx.drop_table(&table.name)).expect("it is there");
        kernel.checkpoint().expect("a healthy database can be checkpointed");
        assert_healthy(&kernel);
    }
    let now = rows(&kernel).expect("a healthy database can be read");
    assert!(before.is_empty() || now != before, "writes that are not there");
    drop(kernel);
    let kernel = image::open(&vfs).expect("what was healthy opens again");
    assert_eq!(rows(&kernel).expect("still healthy"), now, "rows before and after");
}

fn total(files: &Files) -> usize {
    files.values().map(Vec::len).sum()
}

/// The sample with edits anywhere.
pub fn files(data: &[u8]) {
    let mut input = Input(data);
    let mut files = image::sample().clone();
    let flags = input.u8();
    let names = [DATA_FILE, DATA_FILE, image::log_name(image::sample())];
    for _ in 0..EDITS_MAX {
        if input.is_empty() {
            break;
        }
        let name = names[usize::from(input.u8()) % names.len()];
        let bytes = files.get_mut(name).expect("there");
        let used = if name == DATA_FILE { bytes.len() } else { image::log_end().min(bytes.len()) };
        let (page, within) = (usize::from(input.u8()), usize::from(input.u16()));
        // Headers are small and full of meaning, so every other edit goes there.
        let within = if within & 1 == 0 { within / 2 % 160 } else { within / 2 % PAGE_BYTES };
        let at = (page * PAGE_BYTES + within) % used.max(1);
        let new = input.short();
        match flags & 0b1111_1100 {
            0 if new.is_empty() => bytes.truncate(at),
            _ => {
                let end = bytes.len().min(at + new.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
        }
    }
    if flags & 1 != 0 && files[DATA_FILE].len() == image::sample()[DATA_FILE].len() {
        image::mend_data(&mut files);
    }
    let log = image::log_name(image::sample());
    if flags & 2 != 0 && files[log].len() == image::sample()[log].len() {
        image::mend_log(&mut files);
    }
    bounded(total(&files), CONSTANT, || live(&files));
}

pub fn files_seeds() -> Vec<Vec<u8>> {
    let pages = (image::sample()[DATA_FILE].len() / PAGE_BYTES) as u8;
    let mut seeds = vec![vec![], vec![3]];
    for name in [0, 2] {
        for page in 0..pages {
            for within in [0u16, 8, 24, 40, 80, 100, 1001, 8001] {
                let mut seed = vec![3, name, page];
                seed.extend_from_slice(&within.to_le_bytes());
                seed.extend_from_slice(&[2, 0xff, 0x01]);
                seeds.push(seed);
            }
        }
    }
    seeds
}

/// The sample with a log made by the input behind its last frame: whole frames, records in any order,
/// with any content.
pub fn log(data: &[u8]) {
    let files = with_log(data);
    bounded(total(&files), CONSTANT, || live(&files));
}

fn with_log(data: &[u8]) -> Files {
    let mut input = Input(data);
    let mut files = image::sample().clone();
    let name = image::log_name(image::sample()).to_owned();
    let start = image::log_start(&name);
    let frames = live_frames();
    let keep = usize::from(input.u8()) % (frames.len() + 1);
    let log = files.get_mut(&name).expect("there");
    let mut at = frames.get(keep).map_or_else(image::log_end, |(at, _)| *at);
    log[at..].fill(0);
    while !input.is_empty() {
        let lsn = start + (at - record::SEGMENT_HEADER_BYTES) as u64;
        let payload = payload(&mut input);
        let synced = lsn - u64::from(input.u8()) % (lsn + 1);
        let mut frame = Vec::new();
        record::encode_frame(&mut frame, lsn, synced, &payload);
        if log.len() < at + frame.len() {
            break;
        }
        log[at..at + frame.len()].copy_from_slice(&frame);
        at += frame.len();
    }
    files
}

/// The payload of one frame: a transaction's number, and records.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let mut payload = (u64::from(input.u8() % 4) + 100).to_le_bytes().to_vec();
    for _ in 0..1 + input.u8() % 6 {
        let kind = input.u8();
        let number = |input: &mut Input<'_>| match input.u8() {
            255 => input.u64(),
            small => u64::from(small),
        };
        let table = TableId(number(input));
        match kind % 9 {
            0 | 1 => {
                let (key, value) = (input.short(), input.short());
                WalRecord::Put { table, key, value }.encode(&mut payload);
            }
            2 => WalRecord::Delete { table, key: input.short() }.encode(&mut payload),
            3 => {
                let snapshot = Timestamp(number(input));
                WalRecord::Begin { snapshot }.encode(&mut payload);
            }
            4 | 5 => {
                let timestamp = Timestamp(number(input));
                WalRecord::Commit { timestamp, rows: number(input) }.encode(&mut payload);
            }
            6 => WalRecord::Abort.encode(&mut payload),
            7 => {
                let timestamp = Timestamp(number(input));
                WalRecord::Checkpoint { lsn: number(input), timestamp }.encode(&mut payload);
            }
            _ => payload.extend_from_slice(input.short()),
        }
    }
    if payload.len() < 9 {
        WalRecord::Abort.encode(&mut payload);
    }
    payload
}

/// The frames behind the sample's last checkpoint: those that opening reads.
fn live_frames() -> &'static [(usize, Vec<u8>)] {
    let from =
        image::meta(image::sample()).lsn - image::log_start(image::log_name(image::sample()));
    let lies_behind =
        |(at, _): &(usize, Vec<u8>)| from <= (at - record::SEGMENT_HEADER_BYTES) as u64;
    let frames = image::frames();
    &frames[frames.iter().position(lies_behind).unwrap_or(frames.len())..]
}

/// Inputs for [`log`]: transactions behind the sample's last.
pub fn log_seeds() -> Vec<Vec<u8>> {
    let small = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")][..], bytes].concat();
    let put =
        |table: u8, key: &[u8], value: &[u8]| [vec![0, table], small(key), small(value)].concat();
    let delete = |table: u8, key: &[u8]| [vec![2, table], small(key)].concat();
    let newest = image::meta(image::sample()).timestamp as u8;
    let all = live_frames().len() as u8;
    // One transaction in one frame: BEGIN, the rows, COMMIT.
    let transaction = |number: u8, rows: &[Vec<u8>]| {
        let count = rows.len() as u8;
        let commit = vec![4, 0, newest + 9 + number, count];
        [vec![number, count + 1, 3, 0, 1], rows.concat(), commit, vec![0]].concat()
    };
    let (key, value) = &image::catalog_rows()[0];
    // The same table by another number, one that no table can have: behind the format's byte.
    let mut huge = value.clone();
    huge[1..9].copy_from_slice(&u64::MAX.to_le_bytes());
    let bodies = [
        vec![transaction(0, &[put(1, b"row/1", b"x"), delete(1, b"row/00004")])],
        vec![transaction(0, &[put(0, b"tagain", value)])],
        vec![transaction(0, &[delete(0, key)]), transaction(1, &[put(0, key, value)])],
        vec![transaction(0, &[delete(0, key), put(0, b"t\xff", value)])],
        vec![transaction(0, &[put(0, b"thuge", &huge)])],
        vec![transaction(0, &[put(0, b"", value)])],
        vec![transaction(0, &[put(0, b"s\0", value), put(0, b"c\x01", b"lz4")])],
        vec![transaction(0, &[put(99, b"of no table", b"x")])],
        // Without BEGIN, without COMMIT, ABORT, CHECKPOINT.
        vec![vec![0, 0, 6, 0, 0, 7, 0, 5, 5, 0, 1, 4, 0, 9, 9]],
    ];
    let kept = |body: &Vec<Vec<u8>>| [vec![all], body.concat()].concat();
    let cut = |body: &Vec<Vec<u8>>| [vec![0], body.concat()].concat();
    bodies.iter().map(kept).chain(bodies.iter().map(cut)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_made_up_behind_the_samples_last_is_replayed() {
        let kernel = image::open(&image::vfs_of(&with_log(&log_seeds()[0]))).unwrap();
        let tx = kernel.begin_read().unwrap();
        assert_eq!(tx.get("small", b"row/1").unwrap().unwrap(), b"x");
        assert_eq!(tx.get("small", b"row/00004").unwrap(), None);
        assert!(tx.get("small", b"row/00005").unwrap().is_some());
    }

    #[test]
    fn an_edited_page_with_mended_checksums_is_read() {
        let mut files = image::sample().clone();
        let data = files.get_mut(DATA_FILE).unwrap();
        let old = b"a value of usual length";
        let places: Vec<_> =
            data.windows(old.len()).enumerate().filter(|(_, at)| at == old).collect();
        let places: Vec<_> = places.iter().map(|(at, _)| *at).collect();
        places.iter().for_each(|&at| data[at] = b'A');
        assert!(image::open(&image::vfs_of(&files)).is_ok_and(|kernel| rows(&kernel).is_err()));
        image::mend_data(&mut files);
        let kernel = image::open(&image::vfs_of(&files)).unwrap();
        assert_healthy(&kernel);
        let value = kernel.begin_read().unwrap().get("small", b"row/00200").unwrap().unwrap();
        assert_eq!(value, b"A value of usual length");
    }
}
