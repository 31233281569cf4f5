//! Plugins that are replaced while the database serves: under load, with something wrong at every step, across
//! crashes, and by what lies in folders.
//!
//! | room      | what it is about                                                            |
//! |-----------|-----------------------------------------------------------------------------|
//! | `load`    | two hundred reloads while four threads work: no call fails, none is wrong   |
//! | `faults`  | what goes wrong in a reload, step by step, while the old version serves     |
//! | `shares`  | versions that get growing shares of the calls, several reloads at once, closing meanwhile |
//! | `crash`   | a process that dies in each state, a disk that is cut at each write         |
//! | `folders` | folders of manifests that change                                            |
//!
//! A version of a plugin is a manifest: one component behaves as the settings say, see `test-guests/mood.rs`.

mod crash;
mod faults;
mod folders;
mod load;
mod shares;
mod subjects;

use sochdb::host::{ReloadOptions, ReloadReport};
use sochdb::{Database, DatabaseBuilder, KernelResult, Options};
use sochdb_reload::{Outcome, Record, Rules};
use sochdb_test_guests::{MOODY, NEAREST, SHELF, SHIFTY, STAMPER, TELLER, manifest};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long something is waited for that comes soon, before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);

/// A component, and what a manifest says of it whatever the version.
struct Guest {
    name: &'static str,
    kind: &'static str,
    component: &'static [u8],
    more: &'static str,
}

const CODEC: Guest = Guest { name: "shifty", kind: "codec", component: SHIFTY, more: "" };
const HOOKS: Guest = Guest {
    name: "stamper",
    kind: "hooks",
    component: STAMPER,
    more: "[capabilities]\ncan_read_table = [\"stamped\"]\ncan_write_table = [\"stamped\"]\n\
           [hooks]\ntables = [\"stamped\"]\nbefore = [\"insert\", \"update\"]\n",
};
const INDEX: Guest = Guest { name: "nearest", kind: "index", component: NEAREST, more: "" };
const OBSERVER: Guest = Guest { name: "moody", kind: "observer", component: MOODY, more: "" };
const PROCEDURE: Guest = Guest {
    name: "teller",
    kind: "procedure",
    component: TELLER,
    more: "[capabilities]\ncan_read_table = [\"counters\"]\ncan_write_table = [\"counters\"]\n",
};
const STORAGE: Guest = Guest { name: "shelf", kind: "storage", component: SHELF, more: "" };

/// One of each kind.
const GUESTS: [&Guest; 6] = [&CODEC, &OBSERVER, &INDEX, &STORAGE, &HOOKS, &PROCEDURE];

/// What makes one version of a guest: the settings of its manifest.
#[derive(Clone)]
struct Version {
    number: u32,
    mood: &'static str,
    after: u64,
    spin: u64,
    resources: &'static str,
    /// Changes of the manifest's text.
    edits: Vec<(String, String)>,
}

/// A good version.
fn version(number: u32) -> Version {
    Version { number, mood: "good", after: 0, spin: 0, resources: "", edits: Vec::new() }
}

impl Version {
    fn mood(self, mood: &'static str) -> Version {
        Version { mood, ..self }
    }

    /// How many calls each instance has before its mood shows.
    fn after(self, after: u64) -> Version {
        Version { after, ..self }
    }

    /// How much longer each call takes.
    fn spin(self, spin: u64) -> Version {
        Version { spin, ..self }
    }

    /// Lines of the section `[resources]`.
    fn resources(self, resources: &'static str) -> Version {
        Version { resources, ..self }
    }

    /// Writes something else into the manifest.
    fn edit(mut self, from: &str, to: &str) -> Version {
        self.edits.push((from.to_owned(), to.to_owned()));
        self
    }

    /// The manifest that makes `guest` this version of itself.
    fn manifest(&self, guest: &Guest) -> String {
        let Version { number, mood, after, spin, resources, edits } = self;
        // A busy machine is no reason for a call to fail.
        let patience = match resources.contains("timeout_ms") {
            true => "",
            false => "timeout_ms = 60_000\n",
        };
        let more = format!(
            "{}[resources]\n{patience}{resources}\n\
             [config_schema]\nmood = {{ type = \"text\" }}\nversion = {{ type = \"integer\" }}\n\
             after = {{ type = \"integer\" }}\nspin = {{ type = \"integer\" }}\n\
             address = {{ type = \"text\", default = \"\" }}\n\
             [config]\nmood = \"{mood}\"\nversion = {number}\nafter = {after}\nspin = {spin}\n",
            guest.more
        );
        let mut text = manifest(guest.name, guest.kind, &more)
            .replace("version = \"1.0.0\"", &format!("version = \"1.0.{number}\""));
        for (from, to) in edits {
            assert!(text.contains(from), "the manifest of {} has no {from:?}", guest.name);
            text = text.replace(from, to);
        }
        text
    }
}

/// A folder for one test: a database, and manifests.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn db_path(&self) -> PathBuf {
        self.path().join("db")
    }

    /// A manifest of this version beside the guest's component.
    fn put(&self, guest: &Guest, version: &Version) -> PathBuf {
        put(self.path(), guest, version)
    }

    fn open(&self) -> Database {
        builder().open(self.db_path()).expect("it opens")
    }

    /// Reloads `guest`, by the rules of [`rules`].
    fn reload(
        &self,
        db: &Database,
        guest: &Guest,
        version: &Version,
    ) -> KernelResult<ReloadReport> {
        db.reload_plugin(self.put(guest, version), &options(rules()))
    }

    /// Reloads `guest` by the rules of [`rules`], and waits until it has come to an end, which must be a good one.
    fn reload_well(&self, db: &Database, guest: &Guest, version: &Version) -> Record {
        let report = self.reload(db, guest, version);
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", guest.name));
        let record = settled(db, guest);
        assert_eq!(record.id, report.record.id, "{record:?}");
        assert!(record.reason.is_empty(), "{record:?}");
        assert_eq!(serving(db, guest), version.number, "{record:?}");
        record
    }
}

/// Writes the component and a manifest, which is named after the version.
fn put(folder: &Path, guest: &Guest, version: &Version) -> PathBuf {
    let component = folder.join(guest.name).with_extension("wasm");
    if !component.exists() {
        fs::write(component, guest.component).expect("written");
    }
    let path = folder.join(format!("{}-{}.toml", guest.name, version.number));
    fs::write(&path, version.manifest(guest)).expect("written");
    path
}

/// A database without the plugins that come with the program, whose memory is small enough to be full soon.
fn builder() -> DatabaseBuilder {
    let options = Options {
        memtable_bytes_max: 1 << 20,
        wal_segment_bytes: 1 << 20,
        cache_bytes_max: 1 << 20,
        ..Options::default()
    };
    Database::builder().bundled_plugins(false).telemetry_interval(Duration::ZERO).options(options)
}

/// A trial that is short, and ends badly only for what a version does wrong, not for how long it takes: the tests
/// share their machine.
fn rules() -> Rules {
    Rules {
        probation: Duration::from_millis(20),
        drain: PATIENCE,
        calls_min: u64::MAX,
        ..Rules::default()
    }
}

fn options(rules: Rules) -> ReloadOptions {
    ReloadOptions { rules: Some(rules), asked_by: "a test".to_owned(), ..ReloadOptions::default() }
}

/// Waits until `done`, at most as long as there is patience.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until nothing of `guest` is on trial any more, and returns what came of it.
#[track_caller]
fn settled(db: &Database, guest: &Guest) -> Record {
    until("the trial is over", || !is_on_trial(db, guest));
    newest(db, guest)
}

/// Whether what was last done to `guest` has not come to its end.
fn is_on_trial(db: &Database, guest: &Guest) -> bool {
    newest(db, guest).outcome == Outcome::UnderWay
}

/// What came of the last change of `guest`.
#[track_caller]
fn newest(db: &Database, guest: &Guest) -> Record {
    let history = db.plugin_history(Some(guest.name)).expect("it is remembered");
    history.into_iter().next().expect("something has happened")
}

/// The version of `guest` that is said to serve.
#[track_caller]
fn serving(db: &Database, guest: &Guest) -> u32 {
    let all = db.plugins_loaded();
    let found: Vec<_> = all.iter().filter(|plugin| plugin.name == guest.name).collect();
    assert_eq!(found.len(), 1, "one version of {} serves", guest.name);
    let number = found[0].version.strip_prefix("1.0.").and_then(|number| number.parse().ok());
    number.expect("versions are numbered")
}
