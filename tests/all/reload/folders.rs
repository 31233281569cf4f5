//! Folders of manifests: what changes in them changes the running database, or does not when it is wrong.

use super::subjects::{furnish, told, use_once, while_used};
use super::{
    CODEC, GUESTS, Guest, HOOKS, PROCEDURE, Place, Version, builder, is_on_trial, newest, options,
    rules, serving, settled, until, version,
};
use sochdb::host::ReloadOptions;
use sochdb::{Database, KernelError};
use sochdb_reload::{Outcome, State};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a folder has the manifest of `guest`.
fn path_in(folder: &Path, guest: &Guest) -> PathBuf {
    folder.join(guest.name).with_extension("toml")
}

/// Puts a version of `guest` into `folder`, as those do who do not want to be seen half done.
fn place_in(folder: &Path, guest: &Guest, version: &Version) {
    fs::create_dir_all(folder).unwrap();
    let component = folder.join(guest.name).with_extension("wasm");
    if !component.exists() {
        fs::write(component, guest.component).unwrap();
    }
    let unfinished = folder.join(format!(".{}.unfinished", guest.name));
    fs::write(&unfinished, version.manifest(guest)).unwrap();
    fs::rename(unfinished, path_in(folder, guest)).unwrap();
}

/// A database that has every guest from a folder, in version 1.
fn from_folder(place: &Place) -> (Database, PathBuf) {
    let folder = place.path().join("folder");
    for guest in GUESTS {
        place_in(&folder, guest, &version(1));
    }
    let db = builder().plugin_dir(&folder).open(place.db_path()).unwrap();
    furnish(&db).unwrap();
    (db, folder)
}

#[track_caller]
fn until_serving(db: &Database, guest: &Guest, number: u32) {
    until(&format!("version {number} of {} serves", guest.name), || {
        let all = db.plugins_loaded();
        let mut of_it = all.iter().filter(|plugin| plugin.name == guest.name);
        of_it.any(|plugin| plugin.version == format!("1.0.{number}"))
    });
}

fn was_taken_back(db: &Database, guest: &Guest) -> bool {
    let history = db.plugin_history(Some(guest.name)).unwrap();
    history.first().is_some_and(|newest| newest.outcome == Outcome::RolledBack)
}

/// Waits until all that lies in `folder` by now was looked at: hooks that come after it serve.
#[track_caller]
fn until_seen(db: &Database, folder: &Path, number: u32) {
    place_in(folder, &HOOKS, &version(number));
    until_serving(db, &HOOKS, number);
}

#[test]
fn a_manifest_that_changes_changes_the_running_database() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    for guest in GUESTS {
        while_used(&db, guest, || {
            place_in(&folder, guest, &version(2));
            until_serving(&db, guest, 2);
            // Written in place, and again before it has proven itself.
            fs::write(path_in(&folder, guest), version(3).manifest(guest)).unwrap();
            until_serving(&db, guest, 3);
        });
        let record = newest(&db, guest);
        assert!(record.asked_by.contains("folder"), "{record:?}");
        assert_ne!(record.outcome, Outcome::RolledBack, "{record:?}");
    }
}

#[test]
fn a_manifest_that_is_wrong_or_half_written_changes_nothing() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    let path = path_in(&folder, &PROCEDURE);
    let mut seen = 1;
    let mut until_seen = || {
        seen += 1;
        until_seen(&db, &folder, seen);
    };
    while_used(&db, &PROCEDURE, || {
        place_in(&folder, &PROCEDURE, &version(2).mood("fails-its-test"));
        until("it was tried", || was_taken_back(&db, &PROCEDURE));
        assert_eq!(told(&db).unwrap(), 1);
        let whole = version(3).manifest(&PROCEDURE);
        for text in ["", "[plugin", "no manifest at all", &whole[..whole.len() / 2]] {
            fs::write(&path, text).unwrap();
            until_seen();
            assert_eq!(told(&db).unwrap(), 1);
        }
        fs::write(&path, &whole).unwrap();
        until_serving(&db, &PROCEDURE, 3);
        assert_eq!(told(&db).unwrap(), 3);
        // A component that comes later than its manifest.
        let later = version(4).edit("\"teller.wasm\"", "\"later.wasm\"");
        place_in(&folder, &PROCEDURE, &later);
        until_seen();
        assert_eq!(told(&db).unwrap(), 3);
        fs::write(folder.join("later.wasm"), PROCEDURE.component).unwrap();
        until_serving(&db, &PROCEDURE, 4);
        assert_eq!(told(&db).unwrap(), 4);
    });
}

#[test]
fn a_component_that_changes_under_its_manifest_is_another_version() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    // A section that nobody reads: a name of one letter, and nothing else.
    let other = [PROCEDURE.component, &[0, 2, 1, b'x']].concat();
    let hash = blake3::hash(&other).to_string();
    while_used(&db, &PROCEDURE, || {
        let unfinished = folder.join("unfinished");
        fs::write(&unfinished, &other).unwrap();
        fs::rename(unfinished, folder.join("teller.wasm")).unwrap();
        until("the other component serves", || {
            let all = db.plugins_loaded();
            all.iter().any(|plugin| plugin.name == PROCEDURE.name && plugin.blake3 == hash)
        });
    });
    assert_eq!(serving(&db, &PROCEDURE), 1);
    let record = newest(&db, &PROCEDURE);
    assert_eq!(record.to.map(|to| to.blake3), Some(hash));
}

#[test]
fn a_manifest_that_goes_takes_its_plugin_with_it_unless_tables_need_that() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    fs::remove_file(path_in(&folder, &PROCEDURE)).unwrap();
    fs::remove_file(path_in(&folder, &CODEC)).unwrap();
    until("the procedures are gone", || told(&db).is_err());
    until_seen(&db, &folder, 2);
    assert_eq!(serving(&db, &CODEC), 1, "a table needs it");
    use_once(&db, &CODEC, 1).unwrap();
    assert_eq!(newest(&db, &PROCEDURE).outcome, Outcome::Removed);
    place_in(&folder, &PROCEDURE, &version(3));
    place_in(&folder, &CODEC, &version(3));
    until_serving(&db, &PROCEDURE, 3);
    until_serving(&db, &CODEC, 3);
    assert_eq!(told(&db).unwrap(), 3);
    use_once(&db, &CODEC, 2).unwrap();
}

#[test]
fn what_is_disabled_stays_so_whatever_its_manifest_says() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    db.disable_plugin(PROCEDURE.name).unwrap();
    told(&db).unwrap_err();
    place_in(&folder, &PROCEDURE, &version(2));
    until_seen(&db, &folder, 2);
    told(&db).unwrap_err();
    assert_eq!(db.disabled_plugins().unwrap(), [PROCEDURE.name]);
    db.close().unwrap();

    let db = builder().plugin_dir(&folder).open(place.db_path()).unwrap();
    told(&db).unwrap_err();
    assert!(db.enable_plugin(PROCEDURE.name).unwrap());
    until("one version serves again", || told(&db).is_ok());
    place_in(&folder, &PROCEDURE, &version(3));
    until_serving(&db, &PROCEDURE, 3);
    assert_eq!(told(&db).unwrap(), 3);
    assert!(!db.enable_plugin(PROCEDURE.name).unwrap());
}

#[test]
fn a_database_has_a_folder_of_its_own_and_those_of_the_embedder_come_after_it() {
    let place = Place::new();
    let (own, theirs) = (place.db_path().join("plugins"), place.path().join("theirs"));
    fs::create_dir(&theirs).unwrap();
    let db = place.open();
    db.create_table("counters", Default::default()).unwrap();
    db.close().unwrap();
    place_in(&own, &PROCEDURE, &version(1));
    let db = builder().plugin_dir(&theirs).open(place.db_path()).unwrap();
    assert_eq!(told(&db).unwrap(), 1);
    place_in(&theirs, &PROCEDURE, &version(2));
    until_serving(&db, &PROCEDURE, 2);
    // What is in a folder that comes before changes nothing that is seen.
    while_used(&db, &PROCEDURE, || {
        place_in(&own, &PROCEDURE, &version(3));
        place_in(&theirs, &PROCEDURE, &version(4));
        until_serving(&db, &PROCEDURE, 4);
        fs::remove_file(path_in(&theirs, &PROCEDURE)).unwrap();
        until_serving(&db, &PROCEDURE, 3);
    });
    db.close().unwrap();
    place_in(&theirs, &PROCEDURE, &version(5));
    let db = builder().plugin_dir(&theirs).open(place.db_path()).unwrap();
    assert_eq!(told(&db).unwrap(), 5);
    db.close().unwrap();
    fs::remove_dir_all(&theirs).unwrap();
    let db = builder().open(place.db_path()).unwrap();
    assert_eq!(told(&db).unwrap(), 3, "the one in its own folder");
}

#[test]
fn no_folder_gives_a_plugin_more_than_it_had() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    let wider = version(2).edit("can_write_table = [\"counters\"]", "can_write_table = [\"**\"]");
    place_in(&folder, &PROCEDURE, &wider);
    until("it was tried", || was_taken_back(&db, &PROCEDURE));
    let record = newest(&db, &PROCEDURE);
    assert!(record.reason.contains("may do more"), "{record:?}");
    assert_eq!(told(&db).unwrap(), 1);
    // Somebody has to say so.
    let said = ReloadOptions { widen: true, ..options(rules()) };
    let path = path_in(&folder, &PROCEDURE);
    until("it is let", || match db.reload_plugin(&path, &said) {
        Ok(_) => true,
        Err(KernelError::Unavailable { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    settled(&db, &PROCEDURE);
    assert_eq!(told(&db).unwrap(), 2);
}

#[test]
fn who_does_not_watch_is_not_changed() {
    let place = Place::new();
    let folder = place.path().join("folder");
    place_in(&folder, &PROCEDURE, &version(1));
    let open = || builder().plugin_dir(&folder).watch_plugins(false).open(place.db_path());
    let db = open().unwrap();
    db.create_table("counters", Default::default()).unwrap();
    place_in(&folder, &PROCEDURE, &version(2));
    // By hand it is.
    assert_eq!(told(&db).unwrap(), 1);
    let report = db.reload_plugin(path_in(&folder, &PROCEDURE), &options(rules())).unwrap();
    assert_eq!(report.state, State::Probation);
    assert!(is_on_trial(&db, &PROCEDURE) || told(&db).unwrap() == 2);
    settled(&db, &PROCEDURE);
    db.close().unwrap();
    // And when it is opened again.
    place_in(&folder, &PROCEDURE, &version(3));
    let db = open().unwrap();
    assert_eq!(told(&db).unwrap(), 3);
}

#[test]
fn a_plugin_that_is_reloaded_by_hand_and_by_folder_at_once_ends_on_one_version() {
    let place = Place::new();
    let (db, folder) = from_folder(&place);
    for round in 0..3 {
        let (by_folder, by_hand) = (10 + 2 * round, 11 + 2 * round);
        while_used(&db, &PROCEDURE, || {
            place_in(&folder, &PROCEDURE, &version(by_folder));
            let path = place.put(&PROCEDURE, &version(by_hand));
            until("it is let", || match db.reload_plugin(&path, &options(rules())) {
                Ok(_) => true,
                Err(KernelError::Unavailable { .. }) => false,
                Err(error) => panic!("{error}"),
            });
            until_serving(&db, &PROCEDURE, by_folder);
            assert_eq!(told(&db).unwrap(), serving(&db, &PROCEDURE));
        });
    }
}
