use super::*;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

/// Manifests here are texts such as `runs a.wasm`.
fn component_of(text: &str) -> Option<String> {
    text.strip_prefix("runs ").map(str::to_owned)
}

fn scanner(folder: &Path) -> Scanner {
    Scanner::new(folder.to_owned(), component_of)
}

/// A folder with `a.toml`, its signature and its component.
fn folder() -> (TempDir, Scanner) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), "runs a.wasm").unwrap();
    fs::write(folder.path().join("a.toml.minisig"), "signed").unwrap();
    fs::write(folder.path().join("a.wasm"), "code").unwrap();
    let scanner = scanner(folder.path());
    (folder, scanner)
}

/// The fingerprint of the only manifest.
fn print(scanner: &mut Scanner) -> Print {
    let found = scanner.scan().unwrap();
    assert_eq!(found.len(), 1, "there is one manifest, not {found:?}");
    *found.values().next().unwrap()
}

#[test]
fn what_editors_leave_beside_a_manifest_is_none() {
    for name in ["a.toml", "a.b.toml", "4913.toml", "swp.toml", "a~.toml"] {
        assert!(is_manifest(Path::new(name)), "{name} is a manifest");
    }
    let others = [
        "a",
        "toml",
        ".toml",
        ".a.toml",
        ".a.toml.swp",
        "a.toml~",
        ".#a.toml",
        "#a.toml#",
        "#a.toml",
        "a.swp",
        "a.toml.swp",
        "4913",
        "a.TOML",
        "a.toml.minisig",
        "a.wasm",
        "..",
    ];
    for name in others {
        assert!(!is_manifest(Path::new(name)), "{name} is no manifest");
    }
}

#[test]
fn manifests_are_sorted_and_come_from_the_folder_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.toml", "a.toml", ".c.toml", "d.toml~", "e.txt"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/f.toml"), "x").unwrap();
    let found: Vec<_> = scanner(folder.path()).scan().unwrap().into_keys().collect();
    assert_eq!(found, [folder.path().join("a.toml"), folder.path().join("b.toml")]);
}

#[test]
fn a_fingerprint_is_another_one_when_any_of_the_three_files_is() {
    let (folder, mut scanner) = folder();
    for name in ["a.toml", "a.toml.minisig", "a.wasm"] {
        let (path, first) = (folder.path().join(name), print(&mut scanner));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [bytes.as_slice(), b" "].concat()).unwrap();
        let second = print(&mut scanner);
        assert_ne!(second, first, "{name} has one byte more");
        if name != "a.toml" {
            fs::remove_file(&path).unwrap();
            let third = print(&mut scanner);
            assert!(third != first && third != second, "{name} is missing");
        }
        fs::write(&path, bytes).unwrap();
        assert_eq!(print(&mut scanner), first, "{name} is as it was");
    }
}

#[test]
fn bytes_of_the_same_number_are_told_apart_at_once() {
    let (folder, mut scanner) = folder();
    let mut before = print(&mut scanner);
    for round in 0..50 {
        fs::write(folder.path().join("a.wasm"), format!("{round:04}")).unwrap();
        let now = print(&mut scanner);
        assert_ne!(now, before, "round {round}");
        before = now;
    }
}

#[test]
fn a_file_is_read_again_until_its_stamp_has_been_seen_for_long_enough() {
    let (folder, mut scanner) = folder();
    let key = (folder.path().join("a.wasm"), Role::Component);
    let honest = print(&mut scanner);
    // What is known is made wrong, so that the fingerprint shows whether it was used.
    let lie = |scanner: &mut Scanner, age: Duration| {
        let known = scanner.files.known.get_mut(&key).unwrap();
        known.part = Part::Link;
        known.read = known.since + age;
    };
    lie(&mut scanner, GRAIN);
    assert_eq!(print(&mut scanner), honest);
    lie(&mut scanner, GRAIN + Duration::from_nanos(1));
    let wrong = print(&mut scanner);
    assert_ne!(wrong, honest);
    fs::write(&key.0, "code").unwrap();
    let component = fs::OpenOptions::new().append(true).open(&key.0).unwrap();
    component.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(print(&mut scanner), honest, "another stamp ends what was known");
}

#[test]
fn files_that_have_gone_are_forgotten() {
    let (folder, mut scanner) = folder();
    print(&mut scanner);
    assert_eq!(scanner.files.known.len(), 3);
    fs::remove_file(folder.path().join("a.toml")).unwrap();
    assert!(scanner.scan().unwrap().is_empty());
    assert!(scanner.files.known.is_empty());
    scanner.scan().unwrap();
    assert!(scanner.files.before.is_empty());
}

#[test]
fn a_folder_may_come_later() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugins");
    let mut scanner = scanner(&folder);
    assert!(scanner.scan().unwrap().is_empty());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.toml"), "x").unwrap();
    print(&mut scanner);
}

#[test]
fn what_is_no_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("plugins");
    fs::write(&file, "x").unwrap();
    assert_eq!(scanner(&file).scan().unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn a_component_may_lie_in_a_folder_inside_but_not_outside() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugins");
    fs::create_dir_all(folder.join("code")).unwrap();
    let outside = parent.path().join("out.wasm");
    let absolute = format!("runs {}", outside.display());
    let cases = [
        ("runs code/in.wasm", true),
        ("runs ./code/./in.wasm", true),
        ("runs ../out.wasm", false),
        ("runs code/../../out.wasm", false),
        (absolute.as_str(), false),
        ("runs ", false),
        ("runs .", false),
    ];
    for (text, is_seen) in cases {
        fs::write(folder.join("a.toml"), text).unwrap();
        let mut scanner = scanner(&folder);
        let write = |bytes: &str| {
            fs::write(folder.join("code/in.wasm"), bytes).unwrap();
            fs::write(&outside, bytes).unwrap();
        };
        write("one");
        let first = print(&mut scanner);
        write("two");
        assert_eq!(print(&mut scanner) != first, is_seen, "{text}");
    }
}

#[test]
fn names_no_file_can_have_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a\0b".to_owned(), "x".repeat(100_000), "a/".repeat(5_000)] {
        fs::write(folder.path().join("a.toml"), format!("runs {name}")).unwrap();
        print(&mut scanner(folder.path()));
    }
    fs::write(folder.path().join("a.toml"), [0xff, 0xfe]).unwrap();
    print(&mut scanner(folder.path()));
}

#[test]
fn of_a_component_that_is_too_large_size_and_date_count() {
    let (folder, mut scanner) = folder();
    let component = File::create(folder.path().join("a.wasm")).unwrap();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut seen = Vec::new();
    for (len, date) in [(1, date), (2, date), (2, date + Duration::from_secs(9))] {
        component.set_len(COMPONENT_BYTES_MAX + len).unwrap();
        component.set_modified(date).unwrap();
        let now = print(&mut scanner);
        assert_eq!(print(&mut scanner), now);
        assert!(!seen.contains(&now), "{len} {date:?}");
        seen.push(now);
    }
}

#[test]
fn a_manifest_that_is_too_large_or_a_folder_has_a_fingerprint_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    fs::write(&path, vec![b' '; TEXT_BYTES_MAX as usize + 1]).unwrap();
    let mut scanner = scanner(folder.path());
    let large = print(&mut scanner);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_ne!(print(&mut scanner), large);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_manifest_is_followed_and_one_to_a_component_is_not() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.toml", "a.toml.minisig", "a.wasm"] {
        fs::write(elsewhere.path().join(name), "runs a.wasm").unwrap();
        symlink(elsewhere.path().join(name), folder.path().join(name)).unwrap();
    }
    let mut scanner = scanner(folder.path());
    let first = print(&mut scanner);
    fs::write(elsewhere.path().join("a.wasm"), "code").unwrap();
    assert_eq!(print(&mut scanner), first);
    fs::write(elsewhere.path().join("a.toml.minisig"), "signed").unwrap();
    let second = print(&mut scanner);
    assert_ne!(second, first);
    fs::write(elsewhere.path().join("a.toml"), "runs b.wasm").unwrap();
    assert_ne!(print(&mut scanner), second);
    fs::remove_file(elsewhere.path().join("a.toml")).unwrap();
    assert!(scanner.scan().unwrap().is_empty(), "a link to nothing is no manifest");
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_a_link_leads_no_component_outside() {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("code")).unwrap();
    fs::write(folder.path().join("a.toml"), "runs code/a.wasm").unwrap();
    let mut scanner = scanner(folder.path());
    let first = print(&mut scanner);
    fs::write(elsewhere.path().join("a.wasm"), "code").unwrap();
    assert_eq!(print(&mut scanner), first);
}

#[cfg(target_os = "linux")]
#[test]
fn named_pipes_are_never_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let pipe = |name: &str| {
        let path = folder.path().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    };
    let as_manifest = pipe("a.toml");
    print(&mut scanner(folder.path()));
    fs::remove_file(&as_manifest).unwrap();
    fs::write(&as_manifest, "runs a.wasm").unwrap();
    let (component, _) = (pipe("a.wasm"), pipe("a.toml.minisig"));
    print(&mut scanner(folder.path()));
    // As if it had become one between the question and the opening.
    let file = open(&component, Role::Component).unwrap();
    assert_eq!(unread(&file.metadata().unwrap(), Role::Component), Some(Part::NoFile));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fingerprints_are_equal_just_when_all_three_files_are(
        one in files(), other in files(), edits in proptest::collection::vec(files(), 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut scanner = scanner(folder.path());
        let mut print_of = |(manifest, signature, component): &Three| {
            let write = |name: &str, bytes: &Option<String>| match bytes {
                Some(bytes) => fs::write(folder.path().join(name), bytes).unwrap(),
                None => _ = fs::remove_file(folder.path().join(name)),
            };
            write("a.toml", &Some(format!("runs a.wasm{}", "\n".repeat(*manifest))));
            write("a.toml.minisig", signature);
            write("a.wasm\n", component);
            write("a.wasm", component);
            print(&mut scanner)
        };
        let first = print_of(&one);
        edits.iter().for_each(|edit| _ = print_of(edit));
        prop_assert_eq!(print_of(&other) == first, one == other);
        prop_assert_eq!(print_of(&one), first);
    }
}

type Three = (usize, Option<String>, Option<String>);

fn files() -> impl Strategy<Value = Three> {
    let bytes = || proptest::option::of("[ab]{0,2}");
    (0_usize..2, bytes(), bytes())
}
