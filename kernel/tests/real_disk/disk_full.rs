//! A disk of 16 MB that is really full, then has space again.
//!
//! Beside the database lies a ballast file. Commits go on until the disk refuses, and some time longer:
//! every refusal says that the disk is full, and everything acknowledged stays readable. Then the ballast
//! goes. The database takes commits again, at the latest when it is opened again, and holds exactly what
//! was acknowledged. Then all of it again with the next ballast.

use crate::mounts::{Loop, Mounted, refusal, run};
use crate::{seed, size, skip};
use fastrand::Rng;
use sochdb_kernel::{Environment, ErrorKind, Kernel, KernelError, KernelResult, Options};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const DISK_BYTES: usize = 16 << 20;
/// More than a disk of this size ever takes.
const COMMITS_MAX: u64 = 20_000;

fn options() -> Options {
    Options {
        memtable_bytes_max: 512 << 10,
        cache_bytes_max: 1 << 20,
        wal_segment_bytes: 256 << 10,
        ..Options::default()
    }
}

fn ballast(dir: &Path, bytes: usize) -> std::io::Result<()> {
    let mut file = File::create(dir.join("ballast"))?;
    file.write_all(&vec![0xa5; bytes])?;
    file.sync_all()
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn commit(kernel: &Kernel, rows: &Rows) -> KernelResult<()> {
    let mut tx = kernel.begin()?;
    rows.iter().try_for_each(|(key, value)| tx.put("t", key, value))?;
    tx.commit().map(drop)
}

fn assert_holds(kernel: &Kernel, rows: &Rows, when: &str) {
    let tx = kernel.begin_read().unwrap();
    let found = tx.scan("t", ..).unwrap().map(|row| row.map(|(key, value)| (key, value.to_vec())));
    let found: Rows = found.collect::<KernelResult<_>>().unwrap();
    let wrong = |key: &&Vec<u8>| found.get(*key) != rows.get(*key);
    let wrong: Vec<_> = found.keys().chain(rows.keys()).filter(wrong).take(3).collect();
    assert!(wrong.is_empty(), "{when}: rows {wrong:?} are not as acknowledged");
}

fn assert_clear(error: &KernelError) {
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Closed), "{kind:?}: {error}");
}

struct Tally {
    commits: u64,
    errors: u64,
    reopened: u64,
}

/// Fills the disk, frees it, and goes on, `times` times.
fn fill_and_free(mount: &Path, times: u64, rng: &mut Rng, tally: &mut Tally) {
    for time in 0..times {
        let dir = mount.join(format!("db-{time}"));
        // A process that another test is starting holds the lock, too, until it runs its own program.
        let open = || loop {
            match Kernel::open(Environment::disk(&dir), options()) {
                Err(KernelError::Unavailable { what, .. }) if what.contains("another process") => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                opened => break opened,
            }
        };
        let mut kernel = open().unwrap();
        kernel.create_table("t", Default::default()).unwrap();
        let mut rows = Rows::new();
        ballast(mount, rng.usize(3 << 20..8 << 20)).unwrap();
        let len = [30, 300, 3000, 60_000][rng.usize(0..4)];
        let (mut refused, mut next) = (0, 1);
        for _ in 0..COMMITS_MAX {
            let mut new = Rows::new();
            for _ in 0..rng.usize(1..2 + 30_000 / len) {
                let mut value = vec![0; rng.usize(0..=len)];
                rng.fill(&mut value);
                let old = rng.u8(0..4) == 0;
                next += u64::from(!old);
                let key = if old { rng.u64(0..next) } else { next };
                new.insert(key.to_be_bytes().to_vec(), value);
            }
            match commit(&kernel, &new) {
                Ok(()) => {
                    tally.commits += 1;
                    rows.extend(new);
                }
                Err(error) => {
                    assert_clear(&error);
                    tally.errors += 1;
                    refused += 1;
                }
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "the disk never filled");
        if let Err(error) = kernel.checkpoint() {
            assert_clear(&error);
        }
        assert_holds(&kernel, &rows, "on the full disk");
        if rng.bool() {
            // The process ends on the full disk; what opening says there must be clear as well.
            drop(kernel);
            kernel = match open() {
                Ok(kernel) => {
                    assert_holds(&kernel, &rows, "opened on the full disk");
                    kernel
                }
                Err(error) => {
                    assert_clear(&error);
                    tally.errors += 1;
                    std::fs::remove_file(mount.join("ballast")).unwrap();
                    open().unwrap()
                }
            };
        }
        let _ = std::fs::remove_file(mount.join("ballast"));
        let more = Rows::from([(b"space".to_vec(), time.to_le_bytes().to_vec())]);
        if let Err(error) = commit(&kernel, &more) {
            assert_clear(&error);
            drop(kernel);
            kernel = open().expect("there is space again");
            commit(&kernel, &more).expect("there is space again");
            tally.reopened += 1;
        }
        rows.extend(more);
        kernel.checkpoint().expect("there is space again");
        assert_holds(&kernel, &rows, "with space again");
        drop(kernel);
        kernel = open().unwrap();
        assert_holds(&kernel, &rows, "opened again");
        let problems = sochdb_operations::check(&kernel).unwrap().problems;
        assert!(problems.is_empty(), "{problems:?}");
        kernel.close().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_not_the_end() {
    let name = "a_full_disk";
    if let Some(why) = refusal(&[]) {
        return skip(name, &why);
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    // In memory if possible: what is asked is how much fits, not how fast it syncs.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let work = tempfile::Builder::new().prefix("sochdb-disk-full-").tempdir_in(parent).unwrap();
    let mount = work.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let mut tally = Tally { commits: 0, errors: 0, reopened: 0 };
    let mut kinds = Vec::new();
    let times = size(6, 200);
    match on_ext4(work.path(), &mount) {
        Ok((mounted, _looped)) => {
            kinds.push("ext4");
            fill_and_free(&mounted.dir, times, &mut rng, &mut tally);
            drop(mounted);
        }
        Err(why) => eprintln!("\nno loop-mounted ext4 here: {why}\n"),
    }
    match Mounted::new("tmpfs", &format!("size={DISK_BYTES}"), "tmpfs", &mount) {
        Ok(mounted) => {
            kinds.push("tmpfs");
            fill_and_free(&mounted.dir, times, &mut rng, &mut tally);
        }
        Err(why) if kinds.is_empty() => return skip(name, &why),
        Err(why) => eprintln!("\nno tmpfs here: {why}\n"),
    }
    let Tally { commits, errors, reopened } = tally;
    println!(
        "real disk full: {} of 16 MB filled and freed {times} times each, {commits} acknowledged commits, \
         {errors} clear errors, {reopened} times it took opening again, none lost; seed {seed}",
        kinds.join(" and ")
    );
}

fn on_ext4(work: &Path, mount: &Path) -> Result<(Mounted, Loop), String> {
    let image = work.join("image");
    let sized = File::create(&image).and_then(|disk| disk.set_len(DISK_BYTES as u64));
    sized.map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().expect("a plain name")])?;
    let looped = Loop::new(&image)?;
    let mounted = Mounted::new("ext4", "defaults", &looped.device, mount)?;
    Ok((mounted, looped))
}
