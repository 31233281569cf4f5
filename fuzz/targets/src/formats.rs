//! The kernel's formats one by one, as `sochdb_kernel::inspect` reads them.

use crate::allocation::bounded;
use crate::image;
use crate::input::Input;
use sochdb_encoding::codec::{Reader, crc};
use sochdb_kernel::TransactionId;
use sochdb_kernel::inspect::{
    CatalogRow, DATA_FILE, Meta, PageRef, Transactions, WAL_DIR, WalRecord, catalog_row,
    check_page, node, record,
};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_sim::MemoryVfs;
use std::sync::Arc;

/// What reading one item needs beside its result: mostly an error's text.
const CONSTANT: usize = 16 << 10;
/// The page number that the page under test says of itself.
const PAGE: u64 = 7;
/// Where the frame under test lies in the log.
const LSN: u64 = 1 << 20;

/// A whole page from the input: what is missing is zero.
fn padded(data: &[u8], bytes: usize) -> Vec<u8> {
    let mut page = data[..data.len().min(bytes)].to_vec();
    page.resize(bytes, 0);
    page
}

/// A tree page that is well-formed enough to be walked can be walked, whatever is in it.
pub fn page(data: &[u8]) {
    let mut page = padded(data, PAGE_BYTES);
    page[8..16].copy_from_slice(&PAGE.to_le_bytes());
    let crc = crc(&page[4..]);
    page[..4].copy_from_slice(&crc.to_le_bytes());
    bounded(PAGE_BYTES, CONSTANT, || {
        if check_page(&page, PageRef { page: PAGE, crc }).is_err() {
            return;
        }
        let page: Arc<[u8]> = page.into();
        for index in 0..node::count(&page) {
            let key = node::key(&page, index);
            assert!(key.len() <= PAGE_BYTES, "a key of {} bytes", key.len());
            let (found, child) = (node::find(&page, &key), node::child_for(&page, &key));
            let place = found.unwrap_or_else(|behind| behind);
            assert!(place <= node::count(&page) && child < node::count(&page), "{place}, {child}");
            match page[5] {
                0 => drop(node::stored(&page, index)),
                _ => drop(node::child(&page, index)),
            }
        }
        let _ = node::find(&page, &data[..data.len().min(40)]);
    });
    bounded(PAGE_BYTES, CONSTANT, || {
        let page: Arc<[u8]> = padded(data, PAGE_BYTES).into();
        // A page whose checksum is wrong is refused before anything in it is looked at.
        let _ = check_page(&page, PageRef { page: PAGE, crc: 0 });
    });
}

pub fn page_seeds() -> Vec<Vec<u8>> {
    let data = &image::sample()[DATA_FILE];
    data.chunks(PAGE_BYTES).skip(2).map(<[u8]>::to_vec).collect()
}

/// A meta page that is read is written with the same bytes.
pub fn meta(data: &[u8]) {
    let mut page = padded(data, PAGE_BYTES);
    let sum = crc(&page[..PAGE_BYTES - 4]);
    page[PAGE_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    let vfs = MemoryVfs::new();
    let file = vfs.open(DATA_FILE, OpenMode::Create).expect("an empty directory");
    let write = |at: usize| file.write_at((at * PAGE_BYTES) as u64, &page).expect("memory");
    write(0);
    write(1);
    bounded(PAGE_BYTES, CONSTANT, || {
        let Ok(meta) = Meta::read(&*file) else { return };
        meta.write(&*file).expect("memory");
        let mut again = vec![0; PAGE_BYTES];
        let at = meta.sequence % 2 * PAGE_BYTES as u64;
        file.read_exact_at(at, &mut again).expect("just written");
        assert_eq!(again, page, "one meta page, one encoding");
    });
}

pub fn meta_seeds() -> Vec<Vec<u8>> {
    let data = &image::sample()[DATA_FILE];
    data.chunks(PAGE_BYTES).take(2).map(<[u8]>::to_vec).collect()
}

/// A frame with its checksum mended, and its records. What decodes is written with the same bytes; what
/// was written decodes.
pub fn frame(data: &[u8]) {
    let mut input = Input(data);
    let mut frame = input.0.to_vec();
    if frame.len() < record::FRAME_HEADER_BYTES + 9 {
        let _ = record::decode_frame(&frame, LSN);
        return;
    }
    frame[8..16].copy_from_slice(&LSN.to_le_bytes());
    let len = u32::from_le_bytes(frame[4..8].try_into().expect("4 bytes")) as usize;
    let total = record::frame_bytes(len.min(1 << 30));
    if total <= frame.len() {
        let sum = crc(&frame[4..total]);
        frame[..4].copy_from_slice(&sum.to_le_bytes());
    }
    bounded(data.len(), CONSTANT, || {
        let Ok(decoded) = record::decode_frame(&frame, LSN) else { return };
        assert!(decoded.bytes <= frame.len() && decoded.synced <= LSN, "{decoded:?}");
        records(decoded.txn, decoded.records);
        let mut again = Vec::new();
        let payload = &frame[record::FRAME_HEADER_BYTES..record::FRAME_HEADER_BYTES + len];
        record::encode_frame(&mut again, LSN, decoded.synced, payload);
        assert_eq!(again, frame[..total], "one frame, one encoding");
    });
    let payload = input.bytes(2000);
    bounded(data.len(), CONSTANT, || {
        let mut bytes = Vec::new();
        record::encode_frame(&mut bytes, LSN, LSN, payload);
        let decoded = record::decode_frame(&bytes, LSN).expect("just written");
        assert_eq!(decoded.records, &payload[8..], "what was written");
    });
}

/// Records decode or end in an error; each is written with the same bytes.
fn records(txn: TransactionId, bytes: &[u8]) {
    let mut reader = Reader::new(WAL_DIR, LSN, bytes);
    let mut transactions = Transactions::default();
    while !reader.rest().is_empty() {
        let before = reader.rest();
        let Ok(record) = WalRecord::decode(&mut reader) else { return };
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(again, before[..before.len() - reader.rest().len()], "one record, one encoding");
        if let Some(committed) = transactions.add(LSN, txn, record) {
            assert!(committed.rows.len() <= bytes.len(), "rows out of nothing");
        }
    }
    assert!(transactions.unfinished() <= 1, "one transaction, unfinished or not");
}

pub fn frame_seeds() -> Vec<Vec<u8>> {
    image::frames().iter().map(|(_, bytes)| bytes.clone()).collect()
}

/// A segment's header with its checksum mended.
pub fn log_header(data: &[u8]) {
    let mut bytes = padded(data, record::SEGMENT_HEADER_BYTES);
    let end = record::SEGMENT_HEADER_BYTES - 4;
    let sum = crc(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let (database, start) = (u64_at(16), u64_at(24));
    bounded(bytes.len(), CONSTANT, || {
        if let Ok(synced) = record::decode_segment_header("f", &bytes, database, start) {
            let again = record::encode_segment_header(database, start, synced);
            assert_eq!(again, bytes, "one header, one encoding");
            assert!(synced <= start, "{synced} was synced before {start} was written");
        }
        let _ = record::decode_segment_header("f", data, 7, LSN);
    });
}

pub fn log_header_seeds() -> Vec<Vec<u8>> {
    vec![record::encode_segment_header(7, LSN, LSN - 64), record::encode_segment_header(7, 64, 64)]
}

/// A row of the catalog.
pub fn catalog(data: &[u8]) {
    let mut input = Input(data);
    let key = input.short();
    let value = input.0;
    bounded(data.len(), CONSTANT, || match catalog_row(key, value) {
        Ok(CatalogRow::Table(info)) => {
            assert_eq!(info.encode(), value, "one table, one encoding");
        }
        Ok(CatalogRow::Base(_, base)) => assert!(base.segments.len() <= value.len()),
        Ok(CatalogRow::Codec(_, name)) => assert_eq!(name.as_bytes(), value),
        Err(_) => {}
    });
}

pub fn catalog_seeds() -> Vec<Vec<u8>> {
    let rows = image::catalog_rows();
    let seed = |(key, value): (Vec<u8>, Vec<u8>)| {
        [&[u8::try_from(key.len()).expect("short")][..], &key, &value].concat()
    };
    rows.into_iter().map(seed).collect()
}
