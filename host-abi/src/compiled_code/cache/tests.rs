//! The cache against files that are not what it wrote.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

const ID: CodeId = CodeId([1; 32]);
const OTHER: CodeId = CodeId([2; 32]);

struct Folder {
    temp: TempDir,
}

impl Folder {
    fn new() -> Folder {
        Folder { temp: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.temp.path().join("deep").join("code")
    }

    fn open(&self) -> CodeCache {
        CodeCache::open(&self.path()).unwrap()
    }

    fn bounded(&self, bytes_max: u64, entries_max: usize) -> CodeCache {
        CodeCache::open_with(&self.path(), Bounds { bytes_max, entries_max }).unwrap()
    }

    fn entry(&self, id: &CodeId) -> PathBuf {
        self.path().join(entry_name(id))
    }

    fn key(&self) -> PathBuf {
        self.path().join(KEY)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn loaded(cache: &CodeCache, id: &CodeId) -> Option<Vec<u8>> {
    cache.load(id).map(|kept| kept.bytes())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// After `spoil` nothing is loaded, the entry is gone, and storing it again heals.
fn check_spoiled(what: &str, spoil: impl FnOnce(&Folder, &CodeCache)) {
    let folder = Folder::new();
    let cache = folder.open();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    assert_eq!(loaded(&cache, &ID).unwrap(), b"code");
    spoil(&folder, &cache);
    assert!(loaded(&cache, &ID).is_none(), "{what}");
    assert!(fs::symlink_metadata(folder.entry(&ID)).is_err(), "{what}: the entry stays");
    cache.store(&ID, &Artifact::of_bytes(b"new code"));
    assert_eq!(loaded(&cache, &ID).unwrap(), b"new code", "{what}");
}

#[test]
fn what_was_stored_is_there_for_the_next_process() {
    let folder = Folder::new();
    let first = folder.open();
    assert!(loaded(&first, &ID).is_none());
    first.store(&ID, &Artifact::of_bytes(b"code"));
    first.store(&OTHER, &Artifact::of_bytes(&[5; 100_000]));
    drop(first);
    let second = folder.open();
    assert_eq!(loaded(&second, &ID).unwrap(), b"code");
    assert_eq!(loaded(&second, &OTHER).unwrap(), [5; 100_000]);
    assert_eq!(folder.names().len(), 3, "{:?}", folder.names());
}

#[test]
fn everything_is_closed_to_group_and_others() {
    let folder = Folder::new();
    folder.open().store(&ID, &Artifact::of_bytes(b"code"));
    assert_eq!(mode(&folder.path()), 0o700);
    assert_eq!(mode(&folder.key()), 0o600);
    assert_eq!(mode(&folder.entry(&ID)), 0o600);
}

#[test]
fn a_swapped_artifact_is_not_loaded() {
    check_spoiled("another component's", |folder, cache| {
        cache.store(&OTHER, &Artifact::of_bytes(b"evil"));
        fs::copy(folder.entry(&OTHER), folder.entry(&ID)).unwrap();
    });
    check_spoiled("not sealed at all", |folder, _| {
        fs::write(folder.entry(&ID), b"\x7fELF and so on").unwrap();
    });
    check_spoiled("of a folder with another key", |folder, _| {
        let foreign = Folder::new();
        foreign.open().store(&ID, &Artifact::of_bytes(b"evil"));
        fs::copy(foreign.entry(&ID), folder.entry(&ID)).unwrap();
    });
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let whole = HEADER_BYTES + 4;
    for at in 0..whole {
        check_spoiled(&format!("byte {at}"), |folder, _| {
            let mut bytes = fs::read(folder.entry(&ID)).unwrap();
            assert_eq!(bytes.len(), whole);
            bytes[at] ^= 1 << (at % 8);
            fs::write(folder.entry(&ID), bytes).unwrap();
        });
    }
}

#[test]
fn a_truncated_or_longer_entry_is_noticed() {
    for len in [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3, HEADER_BYTES + 5] {
        check_spoiled(&format!("{len} bytes"), |folder, _| {
            let file = File::options().write(true).open(folder.entry(&ID)).unwrap();
            file.set_len(len as u64).unwrap();
        });
    }
    check_spoiled("larger than any", |folder, _| {
        let file = File::options().write(true).open(folder.entry(&ID)).unwrap();
        file.set_len(1 << 40).unwrap();
    });
}

#[test]
fn an_entry_that_others_can_write_or_read_is_not_loaded() {
    for mode in [0o620, 0o602, 0o640, 0o604, 0o666] {
        check_spoiled(&format!("mode {mode:o}"), |folder, _| set_mode(&folder.entry(&ID), mode));
    }
}

#[test]
fn what_is_no_file_is_not_loaded() {
    check_spoiled("a link to a good entry", |folder, _| {
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(folder.entry(&ID), &elsewhere).unwrap();
        symlink(&elsewhere, folder.entry(&ID)).unwrap();
    });
    check_spoiled("a link to nothing", |folder, _| {
        fs::remove_file(folder.entry(&ID)).unwrap();
        symlink("/nowhere", folder.entry(&ID)).unwrap();
    });
    check_spoiled("a named pipe", |folder, _| {
        fs::remove_file(folder.entry(&ID)).unwrap();
        let entry = folder.entry(&ID);
        rustix::fs::mknodat(rustix::fs::CWD, &entry, FileType::Fifo, OURS, 0).unwrap();
    });
}

#[test]
fn a_folder_in_an_entrys_place_is_left_alone_and_not_loaded() {
    let folder = Folder::new();
    let cache = folder.open();
    fs::create_dir(folder.entry(&ID)).unwrap();
    assert!(loaded(&cache, &ID).is_none());
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    assert!(loaded(&cache, &ID).is_none());
    assert_eq!(folder.names().len(), 2, "nothing unfinished stays: {:?}", folder.names());
}

#[test]
fn a_folder_that_others_may_write_to_is_not_trusted() {
    let folder = Folder::new();
    let cache = folder.open();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    for mode in [0o770, 0o707, 0o750, 0o701] {
        set_mode(&folder.path(), mode);
        let refused = CodeCache::open(&folder.path()).unwrap_err().to_string();
        assert!(refused.contains("is open to group or others"), "{refused}");
        // Also by a process that opened it before.
        assert!(loaded(&cache, &ID).is_none());
        cache.store(&ID, &Artifact::of_bytes(b"code"));
        assert_eq!(folder.names(), [KEY], "nothing is stored there");
        set_mode(&folder.path(), 0o700);
        cache.store(&ID, &Artifact::of_bytes(b"code"));
        assert!(loaded(&cache, &ID).is_some());
    }
}

#[test]
fn a_folder_that_is_a_link_or_a_file_is_refused() {
    let folder = Folder::new();
    folder.open();
    let link = folder.temp.path().join("link");
    symlink(folder.path(), &link).unwrap();
    assert!(CodeCache::open(&link).is_err());
    let file = folder.temp.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(CodeCache::open(&file).is_err());
    assert!(CodeCache::open(&file.join("within")).is_err());
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a folder away; for others, the root directory is somebody else's.
        assert!(CodeCache::open(Path::new("/")).is_err());
        return;
    }
    let folder = Folder::new();
    let cache = folder.open();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    std::os::unix::fs::chown(folder.entry(&ID), Some(12345), None).unwrap();
    assert!(loaded(&cache, &ID).is_none());
    std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
    let refused = CodeCache::open(&folder.path()).unwrap_err().to_string();
    assert!(refused.contains("belongs to the user 12345"), "{refused}");
}

#[test]
fn a_key_that_cannot_be_trusted_is_replaced_and_takes_its_entries_along() {
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));
    let spoils: [Spoil<'_>; 6] = [
        ("open to the group", &|key| set_mode(key, 0o640)),
        ("open to others", &|key| set_mode(key, 0o604)),
        ("short", &|key| fs::write(key, b"short").unwrap()),
        ("empty", &|key| fs::write(key, b"").unwrap()),
        ("long", &|key| fs::write(key, [0; 33]).unwrap()),
        ("a link", &|key| {
            let elsewhere = key.with_file_name("elsewhere");
            fs::rename(key, &elsewhere).unwrap();
            symlink(&elsewhere, key).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let folder = Folder::new();
        folder.open().store(&ID, &Artifact::of_bytes(b"code"));
        let before = fs::read(folder.key()).unwrap();
        spoil(&folder.key());
        let cache = folder.open();
        assert!(loaded(&cache, &ID).is_none(), "{what}");
        cache.store(&ID, &Artifact::of_bytes(b"code"));
        assert_eq!(loaded(&folder.open(), &ID).unwrap(), b"code", "{what}");
        let after = fs::read(folder.key()).unwrap();
        assert!(after.len() == 32 && after != before, "{what}");
        assert_eq!(mode(&folder.key()), 0o600, "{what}");
    }
}

#[test]
fn keys_differ_and_are_not_shown() {
    let (one, two) = (Folder::new(), Folder::new());
    let cache = one.open();
    two.open();
    let key = fs::read(one.key()).unwrap();
    assert_ne!(key, fs::read(two.key()).unwrap());
    assert_eq!(format!("{cache:?}"), format!("CodeCache({:?})", one.path()));
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let folder = Folder::new();
    let cache = folder.bounded(u64::MAX, 3);
    let id = |number: u8| CodeId([number; 32]);
    let age = |number: u8, seconds: u64| {
        let file = File::options().write(true).open(folder.entry(&id(number))).unwrap();
        let then = SystemTime::now() - std::time::Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    };
    for number in 1..=3 {
        cache.store(&id(number), &Artifact::of_bytes(b"code"));
        age(number, 1000 - u64::from(number));
    }
    // The oldest is used again.
    assert!(loaded(&cache, &id(1)).is_some());
    cache.store(&id(4), &Artifact::of_bytes(b"code"));
    let there = [1, 2, 3, 4].map(|number| folder.entry(&id(number)).exists());
    assert_eq!(there, [true, false, true, true]);
}

#[test]
fn the_folder_stays_below_its_bound_of_bytes() {
    let folder = Folder::new();
    let cache = folder.bounded(10_000, 100);
    for number in 0..20 {
        cache.store(&CodeId([number; 32]), &Artifact::of_bytes(&[number; 3000]));
        let entries = folder.names().into_iter().filter(|name| name.ends_with(ENTRY));
        let bytes: u64 =
            entries.map(|name| fs::metadata(folder.path().join(name)).unwrap().len()).sum();
        assert!(bytes <= 10_000, "{bytes}");
    }
    cache.store(&ID, &Artifact::of_bytes(&[1; 20_000]));
    assert!(loaded(&cache, &ID).is_none(), "larger than the whole cache");
}

#[test]
fn files_left_unfinished_by_a_crash_are_removed_when_they_are_old() {
    let folder = Folder::new();
    let cache = folder.open();
    let (old, fresh) = (folder.path().join("new-1"), folder.path().join("new-2"));
    fs::write(&old, "half").unwrap();
    fs::write(&fresh, "half").unwrap();
    let then = SystemTime::now() - std::time::Duration::from_secs(7200);
    File::options().write(true).open(&old).unwrap().set_modified(then).unwrap();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    assert!(!old.exists() && fresh.exists());
}

#[test]
fn a_folder_that_takes_nothing_more_fails_no_load() {
    let folder = Folder::new();
    let cache = folder.open();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    set_mode(&folder.path(), 0o500);
    cache.store(&OTHER, &Artifact::of_bytes(b"code"));
    assert_eq!(loaded(&cache, &ID).unwrap(), b"code");
    // Removed under us: nothing is found, nothing is kept, nothing fails.
    set_mode(&folder.path(), 0o700);
    fs::remove_dir_all(folder.path()).unwrap();
    cache.store(&ID, &Artifact::of_bytes(b"code"));
    assert!(loaded(&cache, &ID).is_none());
}

#[test]
fn many_threads_with_caches_of_their_own_share_one_folder() {
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let folder = &folder;
            scope.spawn(move || {
                for round in 0..30u8 {
                    let cache = folder.open();
                    let number = (thread + round) % 5;
                    let (id, code) = (CodeId([number; 32]), vec![number; 10_000]);
                    if let Some(found) = loaded(&cache, &id) {
                        assert_eq!(found, code);
                    }
                    cache.store(&id, &Artifact::of_bytes(&code));
                    assert_eq!(loaded(&cache, &id).unwrap(), code);
                }
            });
        }
    });
    assert_eq!(folder.names().len(), 6, "{:?}", folder.names());
}
