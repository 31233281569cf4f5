use super::*;
use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

const OPTIONS: WatchOptions = WatchOptions {
    quiet: Duration::from_millis(60),
    poll: Duration::from_millis(150),
    tick: Duration::from_millis(2),
};

/// What a watcher was told, with what the manifest held at that moment.
type Heard = Arc<Mutex<Vec<(Change, String)>>>;

#[derive(Default)]
struct Listener {
    heard: Heard,
    /// The next answers; then `Done`.
    answers: VecDeque<Answer>,
    panics: bool,
    wants_tick: Arc<AtomicBool>,
    ticks: Arc<AtomicUsize>,
}

impl Listener {
    fn hear(&mut self, change: Change) -> Answer {
        let text = fs::read_to_string(change.manifest()).unwrap_or_default();
        self.heard.lock().push((change, text));
        assert!(!self.panics, "a watcher that panics");
        self.answers.pop_front().unwrap_or(Answer::Done)
    }
}

impl Watcher for Listener {
    fn changed(&mut self, manifest: &Path) -> Answer {
        self.hear(Change::Changed(manifest.to_owned()))
    }

    fn gone(&mut self, manifest: &Path) -> Answer {
        self.hear(Change::Gone(manifest.to_owned()))
    }

    fn wants_tick(&mut self) -> bool {
        self.wants_tick.load(Ordering::SeqCst)
    }

    fn tick(&mut self) {
        self.ticks.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a watcher that panics");
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn scanner(folder: &Path) -> Scanner {
    Scanner::new(folder.to_owned(), |text| Some(text.strip_prefix("runs ")?.to_owned()))
}

fn start(folder: &Path, options: WatchOptions, listener: Listener) -> (Watch, Heard) {
    let heard = listener.heard.clone();
    (Watch::start(vec![scanner(folder)], options, Box::new(listener)).unwrap(), heard)
}

/// Waits for this change while the manifest holds that text.
fn until_heard(heard: &Heard, change: Change, text: &str) {
    let wanted = (change, text.to_owned());
    until(&format!("{wanted:?} is heard"), || heard.lock().contains(&wanted));
}

fn changed(path: &Path) -> Change {
    Change::Changed(path.to_owned())
}

fn gone(path: &Path) -> Change {
    Change::Gone(path.to_owned())
}

/// A folder with `a.toml`, and that path.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("a.toml");
    fs::write(&manifest, "runs a.wasm").unwrap();
    (folder, manifest)
}

/// Whether this system lets programs have events at all.
fn has_events() -> bool {
    notify::recommended_watcher(|_: notify::Result<notify::Event>| {}).is_ok()
}

#[test]
fn a_manifest_written_in_place_is_heard_when_it_is_whole() {
    let (folder, manifest) = folder();
    let (_watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    let mut text = String::new();
    for line in 0..20 {
        text += &format!("line {line}\n");
        fs::write(&manifest, &text).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    until_heard(&heard, changed(&manifest), &text);
}

#[test]
fn a_manifest_renamed_into_its_place_is_heard_once() {
    let (folder, manifest) = folder();
    let (_watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    let beside = folder.path().join(".a.toml.new");
    for text in ["one", "two"] {
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &manifest).unwrap();
        until_heard(&heard, changed(&manifest), text);
    }
    let of = |text: &str| (changed(&manifest), text.to_owned());
    assert_eq!(*heard.lock(), [of("one"), of("two")]);
}

#[test]
fn a_manifest_that_is_removed_and_written_anew_is_gone_and_new() {
    let (folder, manifest) = folder();
    let (_watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    fs::remove_file(&manifest).unwrap();
    until_heard(&heard, gone(&manifest), "");
    fs::write(&manifest, "runs a.wasm").unwrap();
    until_heard(&heard, changed(&manifest), "runs a.wasm");
}

#[test]
fn a_replaced_component_changes_its_manifest() {
    let (folder, manifest) = folder();
    let (_watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    fs::write(folder.path().join("a.wasm"), "code").unwrap();
    until_heard(&heard, changed(&manifest), "runs a.wasm");
}

#[test]
fn many_manifests_are_each_heard_once() {
    let (folder, _) = folder();
    let (_watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    let paths: Vec<_> = (0..200).map(|at| folder.path().join(format!("{at:03}.toml"))).collect();
    for path in &paths {
        fs::write(path.with_extension("new"), "x").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }
    until("all are heard", || paths.len() <= heard.lock().len());
    let mut found: Vec<_> = heard.lock().iter().map(|(change, _)| change.clone()).collect();
    found.sort_by(|one, other| one.manifest().cmp(other.manifest()));
    assert_eq!(found, paths.iter().map(|path| changed(path)).collect::<Vec<_>>());
}

#[test]
fn a_touch_without_another_byte_is_not_heard() {
    let (folder, manifest) = folder();
    let (watch, heard) = start(folder.path(), OPTIONS, Listener::default());
    fs::write(&manifest, "runs a.wasm").unwrap();
    let file = fs::OpenOptions::new().append(true).open(&manifest).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    watch.poke();
    let later = folder.path().join("b.toml");
    for text in ["one", "two"] {
        fs::write(&later, text).unwrap();
        until_heard(&heard, changed(&later), text);
    }
    assert!(heard.lock().iter().all(|(change, _)| change.manifest() != manifest));
}

#[test]
fn a_folder_may_come_go_and_come_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugins");
    let (_watch, heard) = start(&folder, OPTIONS, Listener::default());
    let manifest = folder.join("a.toml");
    for text in ["one", "two", "three"] {
        heard.lock().clear();
        fs::create_dir(&folder).unwrap();
        fs::write(&manifest, text).unwrap();
        until_heard(&heard, changed(&manifest), text);
        fs::remove_dir_all(&folder).unwrap();
        until_heard(&heard, gone(&manifest), "");
    }
}

#[test]
fn without_events_folders_are_polled() {
    let (folder, manifest) = folder();
    let listener = Listener::default();
    let heard = listener.heard.clone();
    let mut scanner = scanner(folder.path());
    let applied = scanner.scan().unwrap();
    let watcher = Box::new(listener);
    let _watch = Watch::spawn(vec![scanner], applied, OPTIONS, watcher, false).unwrap();
    fs::write(&manifest, "one").unwrap();
    until_heard(&heard, changed(&manifest), "one");
}

#[test]
fn events_come_without_polling_and_go_on_in_another_folder_of_the_name() {
    if !has_events() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugins");
    fs::create_dir(&folder).unwrap();
    let options = WatchOptions { poll: Duration::MAX, ..OPTIONS };
    let (watch, heard) = start(&folder, options, Listener::default());
    let manifest = folder.join("a.toml");
    for text in ["one", "two", "three"] {
        fs::write(&manifest, text).unwrap();
        until_heard(&heard, changed(&manifest), text);
        match text {
            "one" => fs::rename(&folder, parent.path().join("old")).unwrap(),
            _ => fs::remove_dir_all(&folder).unwrap(),
        }
        until_heard(&heard, gone(&manifest), "");
        heard.lock().clear();
        // Nobody says that a folder came to be.
        fs::create_dir(&folder).unwrap();
        watch.poke();
    }
}

#[test]
fn a_poke_looks_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugins");
    let options = WatchOptions { poll: Duration::MAX, ..OPTIONS };
    let (watch, heard) = start(&folder, options, Listener::default());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.toml"), "one").unwrap();
    watch.poke();
    until_heard(&heard, changed(&folder.join("a.toml")), "one");
}

#[test]
fn what_changed_before_the_start_is_heard_if_it_was_scanned_before() {
    let (folder, manifest) = folder();
    let mut scanner = scanner(folder.path());
    let applied = scanner.scan().unwrap();
    fs::write(&manifest, "one").unwrap();
    let listener = Listener::default();
    let heard = listener.heard.clone();
    let _watch = Watch::start_after(vec![scanner], applied, OPTIONS, Box::new(listener)).unwrap();
    until_heard(&heard, changed(&manifest), "one");
}

#[test]
fn an_answer_of_later_brings_the_change_again() {
    let (folder, manifest) = folder();
    let answers = VecDeque::from([Answer::Later, Answer::Later, Answer::Done]);
    let (_watch, heard) =
        start(folder.path(), OPTIONS, Listener { answers, ..Listener::default() });
    let beside = folder.path().join(".new");
    fs::write(&beside, "one").unwrap();
    fs::rename(&beside, &manifest).unwrap();
    until("it is heard thrice", || heard.lock().len() == 3);
    fs::write(&beside, "two").unwrap();
    fs::rename(&beside, &manifest).unwrap();
    until_heard(&heard, changed(&manifest), "two");
    assert_eq!(heard.lock().len(), 4);
}

#[test]
fn a_watcher_that_panics_is_told_of_the_next_change() {
    let (folder, manifest) = folder();
    let listener = Listener { panics: true, ..Listener::default() };
    let wants_tick = listener.wants_tick.clone();
    wants_tick.store(true, Ordering::SeqCst);
    let (watch, heard) = start(folder.path(), OPTIONS, listener);
    for text in ["one", "two"] {
        fs::write(&manifest, text).unwrap();
        until_heard(&heard, changed(&manifest), text);
    }
    drop(watch);
}

#[test]
fn ticks_come_only_while_they_are_wanted() {
    let (folder, _) = folder();
    let listener = Listener::default();
    let (wants_tick, ticks) = (listener.wants_tick.clone(), listener.ticks.clone());
    let options = WatchOptions { poll: Duration::MAX, ..OPTIONS };
    let (watch, _) = start(folder.path(), options, listener);
    assert_eq!(ticks.load(Ordering::SeqCst), 0);
    wants_tick.store(true, Ordering::SeqCst);
    watch.wake();
    until("it ticked", || 10 < ticks.load(Ordering::SeqCst));
    wants_tick.store(false, Ordering::SeqCst);
    drop(watch);
}

#[test]
fn a_watch_without_folders_ticks() {
    let listener = Listener::default();
    listener.wants_tick.store(true, Ordering::SeqCst);
    let ticks = listener.ticks.clone();
    let _watch = Watch::start(Vec::new(), OPTIONS, Box::new(listener)).unwrap();
    until("it ticked", || 1 < ticks.load(Ordering::SeqCst));
}

/// Owns the watch that calls it.
struct Owner {
    watch: Arc<Mutex<Option<Watch>>>,
    has_ended: Arc<AtomicBool>,
}

impl Watcher for Owner {
    fn changed(&mut self, _: &Path) -> Answer {
        drop(self.watch.lock().take());
        Answer::Done
    }

    fn gone(&mut self, _: &Path) -> Answer {
        Answer::Done
    }

    fn wants_tick(&mut self) -> bool {
        false
    }

    fn tick(&mut self) {}
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_watcher_may_drop_the_watch_that_calls_it() {
    let (folder, manifest) = folder();
    let (watch, has_ended) = (Arc::default(), Arc::<AtomicBool>::default());
    let owner = Owner { watch: Arc::clone(&watch), has_ended: has_ended.clone() };
    let started = Watch::start(vec![scanner(folder.path())], OPTIONS, Box::new(owner)).unwrap();
    *watch.lock() = Some(started);
    fs::write(&manifest, "one").unwrap();
    until("the thread has ended", || has_ended.load(Ordering::SeqCst));
}

#[test]
fn a_folder_that_cannot_be_read_counts_as_unchanged() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("plugins");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.toml"), "one").unwrap();
    let mut folder = Folder::new(scanner(&path));
    let mut applied = folder.scan(&BTreeMap::new());
    assert_eq!(applied.len(), 1);
    let here = applied.clone();
    applied.insert(parent.path().join("elsewhere/b.toml"), Print::of(b"b"));
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert_eq!(folder.scan(&applied), here);
    assert!(folder.trouble.is_some());
    fs::remove_file(&path).unwrap();
    assert!(folder.scan(&applied).is_empty());
    assert!(folder.trouble.is_none());
}

#[test]
fn a_folder_that_cannot_be_read_at_the_start_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("plugins");
    fs::write(&file, "x").unwrap();
    assert!(Watch::start(vec![scanner(&file)], OPTIONS, Box::new(Listener::default())).is_err());
}

#[test]
fn our_own_reading_is_no_event() {
    use notify::event::{CreateKind, DataChange};
    assert!(!is_write(&EventKind::Access(AccessKind::Open(AccessMode::Any))));
    assert!(!is_write(&EventKind::Access(AccessKind::Close(AccessMode::Read))));
    assert!(is_write(&EventKind::Access(AccessKind::Close(AccessMode::Write))));
    assert!(is_write(&EventKind::Modify(ModifyKind::Data(DataChange::Any))));
    assert!(is_write(&EventKind::Create(CreateKind::File)));
    assert!(is_write(&EventKind::Other));
}
