//! A table that is loaded is there with all of its rows, or not at all.

use super::{Rows, all, healthy, open};
use sochdb_kernel::{ErrorKind, IsolationLevel, KernelError, TableOptions, TransactionOptions};
use sochdb_sim::MemoryVfs;

fn rows(count: u32) -> Rows {
    let value = |n: u32| vec![n as u8; if n.is_multiple_of(100) { 9000 } else { 40 }];
    (0..count).map(|n| (format!("{n:08}").into_bytes(), value(n))).collect()
}

fn load(kernel: &sochdb_kernel::Kernel, name: &str, rows: &Rows) -> Result<u64, KernelError> {
    let rows = rows.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
    kernel.bulk_load(name, TableOptions::default(), rows)
}

#[test]
fn a_loaded_table_is_like_any_other_and_survives_a_restart() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    kernel.create_table("other", TableOptions::default()).unwrap();
    kernel.run(|tx| tx.put("other", b"a", b"1")).unwrap();
    let mut expected = rows(5000);
    assert_eq!(load(&kernel, "t", &expected).unwrap(), 5000);
    assert_eq!(all(&kernel, "t"), expected);
    healthy(&kernel);
    kernel.run(|tx| tx.put("t", b"00000007", b"changed")).unwrap();
    kernel.run(|tx| tx.delete("t", b"00000100")).unwrap();
    expected.insert(b"00000007".to_vec(), b"changed".to_vec());
    expected.remove(b"00000100".as_slice());
    drop(kernel);
    for _ in 0..2 {
        let kernel = open(&vfs);
        assert_eq!(all(&kernel, "t"), expected);
        assert_eq!(all(&kernel, "other").len(), 1);
        kernel.close().unwrap();
    }
    let kernel = open(&vfs);
    kernel.run(|tx| tx.drop_table("t")).unwrap();
    kernel.checkpoint().unwrap();
    healthy(&kernel);
    assert_eq!(load(&kernel, "t", &Rows::new()).unwrap(), 0);
    assert!(all(&kernel, "t").is_empty());
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    load(&kernel, "taken", &rows(10)).unwrap();
    let pages = kernel.stats().pages_total - kernel.stats().pages_free;
    let row = |key: &[u8]| Ok((key.to_vec(), vec![1; 100]));
    let options = TableOptions::default;
    let many = |n: u32| row(format!("{n:06}").as_bytes());
    let stop = || Err(KernelError::invalid("the source ran dry"));
    let cases = [
        (kernel.bulk_load("t", options(), [row(b"b"), row(b"a")]), ErrorKind::Invalid),
        (kernel.bulk_load("t", options(), [row(b"a"), row(b"a")]), ErrorKind::Invalid),
        (kernel.bulk_load("t", options(), [row(&[7; 5000])]), ErrorKind::Limit),
        (kernel.bulk_load("t", options(), (0..3000).map(many).chain([stop()])), ErrorKind::Invalid),
        (kernel.bulk_load("taken", options(), [row(b"a")]), ErrorKind::Invalid),
        (kernel.bulk_load("bad\nname", options(), [row(b"a")]), ErrorKind::Invalid),
        (
            kernel.bulk_load("t", TableOptions { storage: Some("none".into()), ..options() }, []),
            ErrorKind::Plugin,
        ),
    ];
    for (result, kind) in cases {
        assert_eq!(result.unwrap_err().kind(), kind);
    }
    assert!(kernel.begin_read().unwrap().get("t", b"a").is_err());
    kernel.checkpoint().unwrap();
    kernel.checkpoint().unwrap();
    healthy(&kernel);
    let now = kernel.stats().pages_total - kernel.stats().pages_free;
    assert!(now <= pages + 2, "{now} pages in use, {pages} before");
}

#[test]
fn a_snapshot_from_before_the_load_does_not_see_it() {
    let kernel = open(&MemoryVfs::new());
    let isolation = IsolationLevel::Serializable;
    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
    kernel.create_table("seen", TableOptions::default()).unwrap();
    let mut tx = kernel.begin_with(options).unwrap();
    assert_eq!(tx.get("t", b"00000001").unwrap_err().kind(), ErrorKind::NotFound);
    load(&kernel, "t", &rows(10)).unwrap();
    assert_eq!(tx.get("t", b"00000001").unwrap_err().kind(), ErrorKind::NotFound);
    tx.put("seen", b"t", b"absent").unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn commits_go_on_while_rows_are_loaded() {
    let kernel = open(&MemoryVfs::new());
    kernel.create_table("other", TableOptions::default()).unwrap();
    let (ask, asked) = std::sync::mpsc::channel();
    let (told, tell) = std::sync::mpsc::channel();
    let writer = kernel.clone();
    let thread = std::thread::spawn(move || {
        for n in asked {
            let n: u32 = n;
            writer.run(|tx| tx.put("other", &n.to_be_bytes(), b"x")).unwrap();
            told.send(()).unwrap();
        }
    });
    let source = (0..2000u32).map(|n| {
        if n.is_multiple_of(100) {
            ask.send(n).unwrap();
            tell.recv().unwrap();
        }
        Ok((n.to_be_bytes().to_vec(), vec![0; 50]))
    });
    assert_eq!(kernel.bulk_load("t", TableOptions::default(), source).unwrap(), 2000);
    drop(ask);
    thread.join().unwrap();
    assert_eq!(all(&kernel, "other").len(), 20);
    healthy(&kernel);
}

#[test]
fn a_crash_between_the_flip_and_the_commit_leaves_no_table_and_loses_no_space() {
    // The last commit of the load is the only thing in the log behind the flip: cut it off.
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    load(&kernel, "t", &rows(3000)).unwrap();
    let held = kernel.hold().unwrap();
    let (start, end) = (held.meta.lsn, held.log_end);
    drop((held, kernel));
    let log = sochdb_kernel::inspect::segment_name(
        *sochdb_kernel::inspect::log_starts(&vfs, "wal")
            .unwrap()
            .iter()
            .rfind(|s| **s <= start)
            .unwrap(),
    );
    let file =
        sochdb_kernel::vfs::Vfs::open(&vfs, &log, sochdb_kernel::vfs::OpenMode::Write).unwrap();
    let len = file.len().unwrap();
    let behind = 64 + (start - u64::from_str_radix(&log[4..20], 16).unwrap());
    file.write_at(behind, &vec![0; (len - behind) as usize]).unwrap();
    assert!(start < end, "the commit is in the log");
    let kernel = open(&vfs);
    assert_eq!(kernel.begin_read().unwrap().tables().unwrap(), []);
    healthy(&kernel);
    kernel.create_table("x", TableOptions::default()).unwrap();
    kernel.checkpoint().unwrap();
    kernel.checkpoint().unwrap();
    healthy(&kernel);
    let stats = kernel.stats();
    assert!(stats.pages_total - stats.pages_free < 10, "{stats:?}");
}
