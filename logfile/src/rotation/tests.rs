use super::*;
use crate::disk::Directory;
use proptest::prelude::*;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const MAX_BYTES: u64 = Settings::MAX_BYTES_MIN;

/// A disk that works for so many operations, and then does one of them by half or not at all.
struct Failing {
    disk: Directory,
    operations_left: Cell<u32>,
    /// Whether everything fails from then on, as if the program had been killed.
    for_ever: bool,
}

impl Failing {
    /// Counts one more operation; the error that it answers.
    fn next(&self) -> io::Result<()> {
        match self.operations_left.get() {
            0 => Err(ErrorKind::StorageFull.into()),
            1 => {
                self.operations_left.set(if self.for_ever { 0 } else { u32::MAX });
                Err(ErrorKind::StorageFull.into())
            }
            left => {
                self.operations_left.set(left - 1);
                Ok(())
            }
        }
    }
}

impl Disk for Failing {
    fn path(&self) -> &Path {
        self.disk.path()
    }

    fn check(&self) -> io::Result<()> {
        self.next().and_then(|()| self.disk.check())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.next().and_then(|()| self.disk.list())
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        self.next().and_then(|()| self.disk.size(name))
    }

    fn ends_line(&self, name: &str) -> io::Result<bool> {
        self.next().and_then(|()| self.disk.ends_line(name))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.operations_left.get() == 1 {
            self.disk.append(name, &bytes[..bytes.len() / 2])?;
        }
        self.next().and_then(|()| self.disk.append(name, bytes))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        // Slow, and without a meaning here: the machine goes on.
        let _ = name;
        self.next()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.next().and_then(|()| self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.next().and_then(|()| self.disk.remove(name))
    }
}

fn settings(max_files: u64) -> Settings {
    Settings { max_bytes: MAX_BYTES, max_files, sync: true, ..Settings::default() }
}

fn files(folder: &TempDir, max_files: u64) -> RotatingFile<Directory> {
    let settings = Settings { sync: false, ..settings(max_files) };
    RotatingFile::new(Directory(folder.path().into()), "jsonl", &settings)
}

/// A line that says its number, in so many bytes.
fn line(number: usize, bytes: usize) -> String {
    format!("{number:>0$}\n", bytes - 1)
}

/// What the files hold, by the names of the files.
fn contents(folder: &TempDir) -> Vec<(String, String)> {
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let text = |name: &String| fs::read_to_string(folder.path().join(name)).unwrap();
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

/// The numbers of all whole lines, in the order that `cat sochdb*` prints them.
fn numbers(folder: &TempDir) -> Vec<usize> {
    let all: String = contents(folder).into_iter().map(|(_, text)| text).collect();
    assert!(all.is_empty() || all.ends_with('\n'));
    let whole = all.lines().filter(|line| MIN_LINE < line.len());
    whole.filter_map(|line| line.trim_start().parse().ok()).collect()
}

/// Half of a line of the batches below is shorter than this, a whole one longer.
const MIN_LINE: usize = 400;

fn check_bounds(folder: &TempDir, max_files: u64) {
    let contents = contents(folder);
    assert!(contents.len() as u64 <= max_files, "{} files", contents.len());
    for (name, text) in contents {
        assert!(text.len() as u64 <= MAX_BYTES, "{name} has {} bytes", text.len());
    }
}

#[test]
fn a_full_file_becomes_an_old_one_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder, 3);
    for number in 0..11 {
        files.append([line(number, 2000)]).unwrap();
        check_bounds(&folder, 3);
    }
    let names: Vec<_> = contents(&folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["sochdb.00000004.jsonl", "sochdb.00000005.jsonl", "sochdb.jsonl"]);
    assert_eq!(numbers(&folder), [6, 7, 8, 9, 10]);
}

#[test]
fn a_batch_is_split_between_files_where_lines_end() {
    let folder = tempfile::tempdir().unwrap();
    files(&folder, 100).append((0..50).map(|number| line(number, 1000))).unwrap();
    assert_eq!(numbers(&folder), (0..50).collect::<Vec<_>>());
    assert_eq!(contents(&folder).len(), 13, "four lines to a file");
    check_bounds(&folder, 100);
}

#[test]
fn one_file_alone_begins_anew_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder, 1);
    files.append((0..5).map(|number| line(number, 1000))).unwrap();
    assert_eq!(contents(&folder), [("sochdb.jsonl".to_owned(), line(4, 1000))]);
}

#[test]
fn fewer_files_than_before_are_kept_from_the_next_rotation_on() {
    let folder = tempfile::tempdir().unwrap();
    files(&folder, 10).append((0..36).map(|number| line(number, 1000))).unwrap();
    assert_eq!(contents(&folder).len(), 9);
    files(&folder, 2).append([line(36, 1000)]).unwrap();
    assert_eq!(numbers(&folder), (32..37).collect::<Vec<_>>());
}

#[test]
fn lines_of_exactly_the_files_size_have_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = MAX_BYTES as usize;
    files(&folder, 3).append((0..4).map(|number| line(number, bytes))).unwrap();
    assert_eq!(numbers(&folder), [1, 2, 3]);
    check_bounds(&folder, 3);
}

#[test]
fn files_are_made_durable_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Directory(folder.path().into());
    let files = RotatingFile::new(disk, "jsonl", &settings(3));
    files.append((0..6).map(|number| line(number, 1000))).unwrap();
    files.append([]).unwrap();
    assert_eq!(numbers(&folder), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_torn_line_is_ended_before_the_next_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sochdb.jsonl");
    let files = files(&folder, 2);
    fs::write(&path, "whole\nto").unwrap();
    files.append([]).unwrap();
    files.append(["next\n".to_owned()]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nto\nnext\n");
    fs::write(&path, line(1, MAX_BYTES as usize).trim_end()).unwrap();
    files.append(["next\n".to_owned()]).unwrap();
    let (name, old) = contents(&folder).remove(0);
    assert_eq!((&*name, old.len()), ("sochdb.00000001.jsonl", MAX_BYTES as usize));
    check_bounds(&folder, 2);
}

#[test]
fn a_file_that_was_moved_away_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder, 2);
    files.append(["one\n".to_owned()]).unwrap();
    fs::rename(folder.path().join("sochdb.jsonl"), folder.path().join("moved")).unwrap();
    files.append(["two\n".to_owned()]).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("moved")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(folder.path().join("sochdb.jsonl")).unwrap(), "two\n");
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let others = [
        "sochdb.00000001.log",
        "sochdb.1.jsonl",
        "sochdb.000000001.jsonl",
        "sochdb.99999999999999999999999.jsonl",
        "sochdb.0000000x.jsonl",
        "sochdb.+0000001.jsonl",
        "sochdb..jsonl",
        "sochdb00000001.jsonl",
        "sochdb",
        "other.jsonl",
    ];
    others.iter().for_each(|name| fs::write(folder.path().join(name), name).unwrap());
    let files = files(&folder, 2);
    files.append((0..50).map(|number| line(number, 1000))).unwrap();
    for name in others {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), name);
    }
    assert_eq!(contents(&folder).len(), others.len() + 2);
}

#[test]
fn a_number_may_have_more_digits_than_usual() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sochdb.99999999.jsonl"), line(0, 1000)).unwrap();
    files(&folder, 3).append((1..6).map(|number| line(number, 1000))).unwrap();
    let names: Vec<_> = contents(&folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["sochdb.100000000.jsonl", "sochdb.99999999.jsonl", "sochdb.jsonl"]);
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let disk = |operations_left| Failing {
        disk: Directory(folder.path().into()),
        operations_left: Cell::new(operations_left),
        for_ever: true,
    };
    let error =
        RotatingFile::new(disk(3), "jsonl", &settings(2)).append([line(1, 20)]).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::Limit, true));
    let path = folder.path().join("sochdb.jsonl").display().to_string();
    assert!(error.text.starts_with(&format!("cannot write {path}: ")), "{error}");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = files(&folder, 2).append([line(1, 20)]).unwrap_err();
    assert!(error.text.contains(&path), "{error}");
}

#[test]
fn a_directory_that_is_not_there_says_how_to_grant_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("gone");
    let files = RotatingFile::new(Directory(directory.clone()), "jsonl", &settings(2));
    for error in [files.check().unwrap_err(), files.append([]).unwrap_err()] {
        assert_eq!(error.code, ErrorCode::Denied);
        assert!(error.text.contains(&format!("guest = \"{}\"", directory.display())), "{error}");
    }
    fs::create_dir(&directory).unwrap();
    files.append([line(1, 20)]).unwrap();
}

#[test]
fn whatever_it_is_killed_at_only_the_oldest_lines_are_lost() {
    for max_files in [1, 2, 4] {
        let mut operations = 1;
        while killed_at(operations, max_files, true) {
            killed_at(operations, max_files, false);
            operations += 1;
        }
        assert!(100 < operations, "{operations} operations are few");
    }
}

/// Writes batches, one of which fails at this operation. Whether one did.
fn killed_at(operations: u32, max_files: u64, for_ever: bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let disk = Directory(folder.path().into());
    let failing = Failing { disk, operations_left: Cell::new(operations), for_ever };
    let before = RotatingFile::new(failing, "jsonl", &settings(max_files));
    let after = files(&folder, max_files);
    let mut has_failed = false;
    let (mut next, mut taken) = (0, Vec::new());
    for batch in 0..16 {
        let count = 1 + batch % 4;
        // Batches end in the middle of a file, and go over its end.
        let lines = (next..next + count).map(|number| line(number, 900));
        let done = match has_failed && for_ever {
            true => after.append(lines),
            false => before.append(lines),
        };
        match done {
            Ok(()) => taken.extend(next..next + count),
            Err(error) => {
                assert!(!has_failed, "it fails once: {error}");
                has_failed = true;
            }
        }
        next += count;
        check_bounds(&folder, max_files);
    }
    let found = numbers(&folder);
    assert!(found.is_sorted_by(|a, b| a < b), "{operations}: {found:?}");
    let kept: Vec<_> = found.iter().copied().filter(|number| taken.contains(number)).collect();
    assert!(taken.ends_with(&kept), "{operations}: {taken:?} but {kept:?}");
    // The present file may be empty, and the oldest is gone; of two files it is the older that has lines, and
    // one alone may just have been removed. Four lines fill a file, if no half one does.
    let kept_min = match max_files {
        1 => 0,
        2 => 1,
        more => 3 * (more as usize - 2),
    };
    assert!(kept_min <= kept.len(), "{operations}: {kept:?}");
    has_failed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_keep_their_bounds_and_the_newest_lines(
        max_files in 1_u64..6,
        batches in prop::collection::vec(prop::collection::vec(402_usize..=4096, 0..8), 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut next = 0;
        for sizes in batches {
            let first = next;
            next += sizes.len();
            let lines = sizes.iter().zip(first..).map(|(&bytes, number)| line(number, bytes));
            files(&folder, max_files).append(lines).unwrap();
            check_bounds(&folder, max_files);
        }
        let found = numbers(&folder);
        prop_assert_eq!(&found, &(next - found.len()..next).collect::<Vec<_>>());
        prop_assert!(next == 0 || !found.is_empty());
    }
}
