//! Opening that is watched, stopped, or forced; and a log that is archived.

use super::{Rows, all, open, open_with, small};
use sochdb_kernel::inspect::{log_starts, segment_name};
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    BootObserver, BootPhase, Environment, ErrorKind, Kernel, KernelError, KernelResult, Options,
    RecoveryMode, TableOptions,
};
use sochdb_sim::MemoryVfs;
use std::cell::RefCell;
use std::sync::Arc;

/// A database whose log has `rows` rows in several segments, as a killed process leaves it.
fn killed(rows: u32) -> (MemoryVfs, Rows) {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    kernel.create_table("t", TableOptions::default()).unwrap();
    let mut expected = Rows::new();
    for n in 0..rows {
        let (key, value) = (n.to_be_bytes().to_vec(), vec![n as u8; 5000]);
        kernel.run(|tx| tx.put("t", &key, &value)).unwrap();
        expected.insert(key, value);
    }
    (vfs, expected)
}

struct Watch {
    seen: RefCell<Vec<(BootPhase, u64, u64)>>,
    stop_at: Option<BootPhase>,
}

impl BootObserver for Watch {
    fn progress(&self, phase: BootPhase, done: u64, total: u64) -> KernelResult<()> {
        self.seen.borrow_mut().push((phase, done, total));
        if self.stop_at == Some(phase) {
            return Err(KernelError::unavailable("stopped by the operator"));
        }
        Ok(())
    }
}

#[test]
fn progress_grows_phase_by_phase_to_its_total() {
    let (vfs, expected) = killed(1000);
    let env = Environment::with_vfs(Arc::new(vfs));
    let watch = Watch { seen: RefCell::default(), stop_at: None };
    let kernel = Kernel::open_with(env, small(), &watch).unwrap();
    assert_eq!(all(&kernel, "t"), expected);
    let seen = watch.seen.into_inner();
    assert!(seen.is_sorted_by_key(|(phase, done, _)| (*phase, *done)), "{seen:?}");
    assert!(seen.iter().all(|(_, done, total)| done <= total), "{seen:?}");
    let recover: Vec<_> = seen.iter().filter(|(phase, ..)| *phase == BootPhase::Recover).collect();
    assert!(4 < recover.len(), "{seen:?}");
    assert!(recover.last().is_some_and(|(_, done, total)| done == total), "{seen:?}");
}

#[test]
fn an_opening_that_is_stopped_leaves_everything_as_it_was() {
    for phase in [BootPhase::Init, BootPhase::Migrate, BootPhase::Recover] {
        let (vfs, expected) = killed(500);
        let before = vfs.fork();
        let env = Environment::with_vfs(Arc::new(vfs.clone()));
        let watch = Watch { seen: RefCell::default(), stop_at: Some(phase) };
        let error = Kernel::open_with(env, small(), &watch).unwrap_err();
        assert!(error.to_string().contains("stopped by the operator"), "{error}");
        for name in before.names() {
            assert_eq!(bytes(&before, &name), bytes(&vfs, &name), "{name} after {phase:?}");
        }
        assert_eq!(all(&open(&vfs), "t"), expected);
    }
}

fn bytes(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    let file = vfs.open(name, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_database_with_a_broken_log_opens_only_by_force_and_read_only() {
    let (vfs, expected) = killed(50);
    let starts = log_starts(&vfs, "wal").unwrap();
    let file = vfs.open(&segment_name(starts[starts.len() / 2]), OpenMode::Write).unwrap();
    file.write_at(200, b"rot").unwrap();
    let before = vfs.fork();
    let env = || Environment::with_vfs(Arc::new(vfs.clone()));
    assert_eq!(Kernel::open(env(), small()).unwrap_err().kind(), ErrorKind::Corrupt);

    let options = Options { recovery: RecoveryMode::Forced, ..small() };
    let kernel = Kernel::open(env(), options).unwrap();
    let found = all(&kernel, "t");
    assert!(!found.is_empty() && found.len() < expected.len());
    assert!(expected.iter().take(found.len()).eq(found.iter()), "a prefix of the commits");
    assert_eq!(kernel.recovery().lost.len(), 1, "{:?}", kernel.recovery());
    assert_eq!(kernel.run(|tx| tx.put("t", b"a", b"b")).unwrap_err().kind(), ErrorKind::Invalid);
    kernel.close().unwrap();
    for name in before.names() {
        assert_eq!(bytes(&before, &name), bytes(&vfs, &name), "{name}");
    }
}

#[test]
fn a_closed_log_is_one_small_file_and_goes_on() {
    let (vfs, mut expected) = killed(200);
    for round in 0..3u8 {
        let kernel = open(&vfs);
        kernel.checkpoint().unwrap();
        let files = vfs.list("wal").unwrap();
        assert!(files.iter().any(|name| name.ends_with(".spare")), "{round}: {files:?}");
        kernel.close().unwrap();
        let newest = || {
            let start = *log_starts(&vfs, "wal").unwrap().last().unwrap();
            vfs.open(&segment_name(start), OpenMode::Read).unwrap().len().unwrap()
        };
        assert_eq!((vfs.list("wal").unwrap().len(), newest()), (1, 1024), "{round}");
        // Goes on, in a file that grows by doubling, and is killed.
        let kernel = open(&vfs);
        let mut sizes = Vec::new();
        for n in 0..40u8 {
            let (key, value) = (vec![200 + round, n], vec![n; 250 * usize::from(n)]);
            kernel.run(|tx| tx.put("t", &key, &value)).unwrap();
            expected.insert(key, value);
            sizes.push(newest());
        }
        sizes.dedup();
        assert_eq!(sizes[..5], [1024, 2048, 4096, 8192, 16 << 10], "{round}");
        assert_eq!(all(&kernel, "t"), expected);
    }
    let kernel = open(&vfs);
    assert_eq!((kernel.recovery().cut_bytes, all(&kernel, "t")), (0, expected));
}

#[test]
fn an_archive_keeps_every_released_segment() {
    let vfs = MemoryVfs::new();
    let options = || Options { wal_archive: true, ..small() };
    let kernel = open_with(&vfs, options());
    kernel.create_table("t", TableOptions::default()).unwrap();
    for n in 0..60u32 {
        kernel.run(|tx| tx.put("t", &n.to_be_bytes(), &[1; 3000])).unwrap();
        if n % 20 == 19 {
            kernel.checkpoint().unwrap();
        }
    }
    kernel.close().unwrap();
    let _kernel = open_with(&vfs, options());
    let archived = log_starts(&vfs, "archive").unwrap();
    assert_eq!(archived.first(), Some(&64), "from the very first on");
    assert!(10 < archived.len(), "{archived:?}");
}
