//! What goes wrong in a reload, at every step in turn. Whatever it is, the old version serves all the while, the
//! history tells why, and the next good version is loaded as if nothing had been.

use super::subjects::{batches, furnished, told, use_once, version_in, while_used};
use super::{
    CODEC, FOREVER, GUESTS, Guest, HOOKS, INDEX, OBSERVER, PROCEDURE, Place, STORAGE, Version,
    builder, is_on_trial, newest, options, rules, serving, settled, until, version,
};
use sochdb::host::compiled_code::{CodeCache, CompileOptions};
use sochdb::host::{ReloadOptions, ReloadReport};
use sochdb::{
    Database, ErrorKind, IsolationLevel, KernelError, KernelResult, MetricValue, Options,
    PluginFault, TransactionOptions,
};
use sochdb_reload::{Outcome, Record, Rules, State};
use sochdb_test_guests::IDENTITY;
use std::fs;
use std::time::Duration;

/// Reloads `guest` while it is used, which must fail; then to a good version, which must not.
#[track_caller]
fn refused_and_forgotten(
    place: &Place,
    db: &Database,
    guest: &Guest,
    bad: &Version,
    words: &str,
) -> KernelError {
    let old = serving(db, guest);
    let what = format!("{} with {words:?}", guest.name);
    let (used, error) = while_used(db, guest, || {
        let used_before = used_once_more(db, guest);
        let answer = place.reload(db, guest, bad);
        used_once_more(db, guest);
        assert!(used_before <= old, "{what}: only the old version has served");
        answer.map(|report| format!("{report:?}")).expect_err(&what)
    });
    assert!(0 < used);
    assert!(error.to_string().contains(words), "{what}: {error}");
    assert_eq!(serving(db, guest), old, "{what}");
    assert!(!is_on_trial(db, guest), "{what}");
    let good = version(bad.number + 1);
    while_used(db, guest, || place.reload_well(db, guest, &good));
    error
}

/// One more call; the version that answered, where it says so.
#[track_caller]
fn used_once_more(db: &Database, guest: &Guest) -> u32 {
    use_once(db, guest, 0).unwrap_or_else(|error| panic!("{}: {error}", guest.name));
    match guest.name {
        name if name == PROCEDURE.name => told(db).unwrap(),
        _ => 0,
    }
}

/// The newest record says that the reload was given up in `state`, for a reason with `words` in it.
#[track_caller]
fn check_rolled_back(record: &Record, state: State, words: &str) {
    let Record { outcome, reason, steps, .. } = record;
    assert_eq!(*outcome, Outcome::RolledBack, "{record:?}");
    assert!(reason.contains(words), "{record:?} has no {words:?}");
    let states: Vec<_> = steps.iter().map(|step| step.state).collect();
    assert!(states.ends_with(&[state, State::RolledBack, State::Active]), "{states:?}");
}

/// The newest record says that the new version was taken back while it served, for a reason with `words` in it.
/// Calls may find out before the reload has returned.
#[track_caller]
fn check_taken_back(record: &Record, words: &str) {
    let was_draining = record.steps.iter().all(|step| step.state != State::Probation);
    let state = if was_draining { State::Draining } else { State::Probation };
    check_rolled_back(record, state, words);
}

/// Reloads `guest` to a version that does not do well for long; it may be over before this returns.
#[track_caller]
fn reload_badly(place: &Place, db: &Database, guest: &Guest, bad: &Version, rules: &Rules) {
    if let Err(error) = db.reload_plugin(place.put(guest, bad), &options(rules.clone())) {
        assert!(error.to_string().contains("was taken back"), "{}: {error}", guest.name);
    }
}

fn fault_of(error: &KernelError) -> Option<PluginFault> {
    match error {
        KernelError::Plugin { fault, .. } => Some(*fault),
        _ => None,
    }
}

#[test]
fn what_is_no_good_plugin_is_refused_while_the_old_one_serves() {
    let place = Place::new();
    let db = furnished(&place);
    fs::write(place.path().join("garbage.wasm"), b"#!/bin/sh\n").unwrap();
    fs::write(place.path().join("identity.wasm"), IDENTITY).unwrap();
    let zeros = format!("\"\nblake3 = \"{}\"", "0".repeat(64));
    let mut number = 2;
    for guest in GUESTS {
        let wasm = format!("{}.wasm", guest.name);
        let other_kind = match guest.name {
            name if name == CODEC.name => "moody.wasm",
            _ => "identity.wasm",
        };
        for (edit, words) in [
            ((format!("{wasm}\""), format!("{wasm}{zeros}")), "its manifest pins"),
            ((wasm.clone(), "nowhere.wasm".to_owned()), "nowhere.wasm"),
            ((wasm.clone(), "garbage.wasm".to_owned()), "WebAssembly"),
            ((wasm.clone(), other_kind.to_owned()), "export"),
            (("\"0.1.0\"".to_owned(), "\"99.0.0\"".to_owned()), "kernel 99.0.0"),
            (("[config]".to_owned(), "[config]\nvresion = 2".to_owned()), "vresion"),
        ] {
            let bad = version(number).edit(&edit.0, &edit.1);
            let error = refused_and_forgotten(&place, &db, guest, &bad, words);
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Plugin
                ),
                "{error}"
            );
            number += 2;
        }
    }
}

#[test]
fn what_fails_its_own_test_is_refused_while_the_old_one_serves() {
    let place = Place::new();
    let db = furnished(&place);
    let mut number = 2;
    for guest in GUESTS.into_iter().filter(|guest| guest.name != OBSERVER.name) {
        let bad = version(number).mood("fails-its-test");
        let path = place.put(guest, &bad);
        while_used(&db, guest, || {
            db.reload_plugin(&path, &options(rules())).expect_err(guest.name);
            check_rolled_back(&newest(&db, guest), State::Preparing, "self-test");
        });
        let error = refused_and_forgotten(&place, &db, guest, &bad, "self-test");
        assert_eq!(fault_of(&error), Some(PluginFault::Refused), "{error}");
        number += 2;
    }
}

#[test]
fn a_manifest_that_is_none_changes_nothing() {
    let place = Place::new();
    let db = furnished(&place);
    let path = place.path().join("bad.toml");
    for text in ["", "[plugin]\nname = ", "\u{0}\u{0}"] {
        fs::write(&path, text).unwrap();
        let error = db.reload_plugin(&path, &options(rules())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = db.reload_plugin(&path, &options(rules())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // A plugin of another kind with the name of one there is.
    let text = version(2).manifest(&CODEC).replace("name = \"shifty\"", "name = \"teller\"");
    fs::write(&path, text).unwrap();
    let error = db.reload_plugin(&path, &options(rules())).unwrap_err();
    assert!(error.to_string().contains("'procedure' is already called 'teller'"), "{error}");
    for guest in GUESTS {
        assert_eq!(serving(&db, guest), 1);
        place.reload_well(&db, guest, &version(2));
    }
}

#[test]
fn a_version_that_cannot_take_over_what_the_old_one_knows_is_refused() {
    let place = Place::new();
    let db = furnished(&place);
    let before = batches(&db);
    // The old one counts on.
    let (used, _) = while_used(&db, &OBSERVER, || {
        let error = place.reload(&db, &OBSERVER, &version(2).mood("deaf")).unwrap_err();
        assert_eq!(fault_of(&error), Some(PluginFault::Trapped), "{error}");
        check_rolled_back(&newest(&db, &OBSERVER), State::Swapping, "import-state");
        place.reload_well(&db, &OBSERVER, &version(3));
    });
    assert_eq!(batches(&db) - before, used, "no batch was forgotten");

    // The same of a plugin that has one instance because its manifest says so.
    let alone = |number: u32| version(number).resources("max_instances = 1\n");
    place.reload_well(&db, &CODEC, &alone(2));
    while_used(&db, &CODEC, || {
        let error = place.reload(&db, &CODEC, &alone(3).mood("traps-on-import")).unwrap_err();
        assert_eq!(fault_of(&error), Some(PluginFault::Trapped), "{error}");
        check_rolled_back(&newest(&db, &CODEC), State::Swapping, "import-state");
        place.reload_well(&db, &CODEC, &alone(4));
    });
}

#[test]
fn a_version_that_traps_when_it_is_asked_what_it_knows_can_be_replaced_all_the_same() {
    let place = Place::new();
    let db = furnished(&place);
    let alone = |number: u32| version(number).resources("max_instances = 1\n");
    for (guest, mute) in
        [(&CODEC, alone(2).mood("traps-on-export")), (&OBSERVER, version(2).mood("mute"))]
    {
        place.reload_well(&db, guest, &mute);
        while_used(&db, guest, || {
            // Once it may be refused. For ever would be a plugin that nobody can get rid of.
            if let Err(error) = place.reload(&db, guest, &alone(3)) {
                assert_eq!(fault_of(&error), Some(PluginFault::Trapped), "{error}");
                check_rolled_back(&newest(&db, guest), State::Swapping, "export-state");
                assert_eq!(serving(&db, guest), 2);
            }
            settled(&db, guest);
            place.reload_well(&db, guest, &alone(4));
        });
    }
}

/// What the procedures count in the metric `name`.
fn counted(db: &Database, name: &str) -> f64 {
    let all = db.metrics();
    let value = all.iter().find(|metric| metric.name.ends_with(name)).map(|metric| &metric.value);
    match value {
        Some(MetricValue::Counter(value)) => *value,
        None => 0.0,
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_outlasts_the_drain_ends_on_its_own_version() {
    let place = Place::new();
    let db = furnished(&place);
    let slow = version(2).resources("timeout_ms = 600_000\nfuel_limit = 1_000_000_000_000\n");
    place.reload_well(&db, &PROCEDURE, &slow);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            // It sees what others commit meanwhile.
            let isolation = IsolationLevel::ReadCommitted;
            let options = TransactionOptions { isolation, ..TransactionOptions::default() };
            db.run_with(options, |tx| tx.call("teller.linger", r#"{"table": "counters"}"#))
        });
        until("the call is under way", || counted(&db, "teller_lingering_total") == 1.0);
        let rules = Rules { drain: Duration::from_millis(1), ..rules() };
        let report = db.reload_plugin(place.put(&PROCEDURE, &version(3)), &options(rules)).unwrap();
        let note = &report.record.steps.last().unwrap().note;
        assert!(note.contains("1 calls still run on the version before"), "{:?}", report.record);
        let record = settled(&db, &PROCEDURE);
        assert_eq!(record.outcome, Outcome::Serving, "{record:?}");
        assert_eq!(told(&db).unwrap(), 3);
        assert!(!caller.is_finished());
        db.run(|tx| tx.put("counters", b"go", b"")).unwrap();
        assert_eq!(version_in(&caller.join().unwrap().unwrap()), 2, "one version to the end");
    });
    place.reload_well(&db, &PROCEDURE, &version(4));
}

/// Bad moods that show only under load, and for each the plugin that is in them.
fn under_load() -> Vec<(&'static Guest, Version)> {
    let traps = |number| version(number).mood("traps").after(500);
    vec![
        (&CODEC, traps(2)),
        (&CODEC, version(3).mood("lies").after(500)),
        (&CODEC, version(4).mood("one-way").after(500)),
        (&CODEC, version(5).mood("refuses").after(500)),
        (&STORAGE, traps(2)),
        (&STORAGE, version(3).mood("refuses").after(500)),
        (&HOOKS, traps(2)),
        (&PROCEDURE, traps(2)),
        (&PROCEDURE, version(3).mood("lies").after(500)),
    ]
}

#[test]
fn what_goes_wrong_only_under_load_goes_back_by_itself_and_fails_no_call() {
    let place = Place::new();
    let db = furnished(&place);
    // Lies of a codec about what was stored long ago are another matter: nobody can know them without asking the
    // version before, as the trial does.
    for (guest, bad) in under_load().into_iter().filter(|(_, bad)| bad.mood != "lies") {
        let old = serving(&db, guest);
        let what = format!("{} that {}", guest.name, bad.mood);
        let rules = Rules { probation: FOREVER, ..rules() };
        let (_, record) = while_used(&db, guest, || {
            reload_badly(&place, &db, guest, &bad, &rules);
            settled(&db, guest)
        });
        check_taken_back(&record, "failed on trial");
        assert_eq!(serving(&db, guest), old, "{what}");
        assert!(db.plugins_loaded().iter().all(|plugin| plugin.unwell.is_empty()), "{what}");
        while_used(&db, guest, || place.reload_well(&db, guest, &version(bad.number + 100)));
    }
}

#[test]
fn an_index_that_traps_at_some_searches_goes_back_by_itself() {
    let place = Place::new();
    let db = furnished(&place);
    let rules = Rules { probation: FOREVER, ..rules() };
    let bad = place.put(&INDEX, &version(2).mood("traps-on-many"));
    while_used(&db, &INDEX, || {
        db.reload_plugin(bad, &options(rules)).unwrap();
        assert!(is_on_trial(&db, &INDEX));
        assert_eq!(serving(&db, &INDEX), 2);
        super::subjects::search(&db, 5, 21).unwrap();
        check_rolled_back(&settled(&db, &INDEX), State::Probation, "failed on trial");
        assert_eq!(serving(&db, &INDEX), 1);
        place.reload_well(&db, &INDEX, &version(3));
    });
}

#[test]
fn what_is_slower_than_the_rules_allow_goes_back_by_itself() {
    let place = Place::new();
    let db = furnished(&place);
    let rules = Rules {
        probation: FOREVER,
        latency_factor: 2.0,
        latency_floor: Duration::ZERO,
        calls_min: 32,
        ..rules()
    };
    for guest in [&CODEC, &HOOKS, &PROCEDURE] {
        (0..200).for_each(|round| use_once(&db, guest, round).unwrap());
        let slow = version(2).spin(2_000_000);
        let (_, record) = while_used(&db, guest, || {
            reload_badly(&place, &db, guest, &slow, &rules);
            settled(&db, guest)
        });
        check_taken_back(&record, "takes");
        assert_eq!(serving(&db, guest), 1, "{}", guest.name);
        place.reload_well(&db, guest, &version(3));
    }
}

#[test]
fn procedures_that_refuse_much_more_than_before_go_back_by_themselves() {
    let place = Place::new();
    let db = furnished(&place);
    let rules = Rules { probation: FOREVER, calls_min: 32, latency_factor: 1e6, ..rules() };
    (0..200).for_each(|round| use_once(&db, &PROCEDURE, round).unwrap());
    let bad = version(2).mood("refuses");
    db.reload_plugin(place.put(&PROCEDURE, &bad), &options(rules)).unwrap();
    // A refusal may be what its caller deserves, so it is no failure, but many are.
    let mut refused = 0;
    until("it has gone back", || {
        refused += u64::from(told(&db).is_err());
        !is_on_trial(&db, &PROCEDURE)
    });
    assert!(32 <= refused, "{refused}");
    check_rolled_back(&newest(&db, &PROCEDURE), State::Probation, "refused");
    assert_eq!(told(&db).unwrap(), 1);
    place.reload_well(&db, &PROCEDURE, &version(3));
}

/// One version that the database could not be trusted with, and what is said of it.
fn tried_in_vain(
    place: &Place,
    db: &Database,
    guest: &Guest,
    bad: &Version,
) -> (KernelError, Record) {
    let (_, answer) = while_used(db, guest, || place.reload(db, guest, bad));
    let error = answer.map(|report| format!("{report:?}")).expect_err(guest.name);
    (error, newest(db, guest))
}

#[test]
fn what_cannot_read_what_there_is_never_serves() {
    let place = Place::new();
    let db = furnished(&place);
    let (error, record) = tried_in_vain(&place, &db, &STORAGE, &version(2).mood("blind"));
    check_rolled_back(&record, State::Canary, "another version wrote this segment");
    assert!(error.to_string().contains("shelf"), "{error}");
    assert_eq!(serving(&db, &STORAGE), 1);
    place.reload_well(&db, &STORAGE, &version(3));
}

#[test]
fn what_lies_about_what_there_is_never_serves() {
    let place = Place::new();
    let db = furnished(&place);
    for guest in [&CODEC, &STORAGE] {
        for (number, mood) in [(2, "lies"), (3, "blind"), (4, "traps"), (5, "refuses")] {
            let bad = version(number).mood(mood);
            let (_, record) = tried_in_vain(&place, &db, guest, &bad);
            let states: Vec<_> = record.steps.iter().map(|step| step.state).collect();
            assert!(
                states.ends_with(&[State::RolledBack, State::Active])
                    && !states.contains(&State::Draining),
                "{} that {mood}: {record:?}",
                guest.name
            );
            assert_eq!(serving(&db, guest), 1, "{} that {mood}", guest.name);
        }
        place.reload_well(&db, guest, &version(6));
    }
}

#[test]
fn what_writes_what_the_old_version_cannot_read_needs_a_word() {
    let place = Place::new();
    let db = furnished(&place);
    let mut number = 2;
    for guest in [&CODEC, &STORAGE] {
        let one_way = version(number).mood("one-way");
        let (_, record) = tried_in_vain(&place, &db, guest, &one_way);
        assert_eq!(record.outcome, Outcome::RolledBack, "{record:?}");
        let said = ReloadOptions { one_way: true, ..options(rules()) };
        let report = db.reload_plugin(place.put(guest, &one_way), &said);
        report.unwrap_or_else(|error| panic!("{}: {error}", guest.name));
        settled(&db, guest);
        assert_eq!(serving(&db, guest), number, "{}", guest.name);
        number += 2;
    }
}

#[test]
fn what_may_do_more_than_before_needs_a_word() {
    let place = Place::new();
    let db = furnished(&place);
    let wider = [
        (&CODEC, version(2).edit("[resources]", "[capabilities]\nclock = true\n[resources]")),
        (
            &PROCEDURE,
            version(2).edit("can_write_table = [\"counters\"]", "can_write_table = [\"**\"]"),
        ),
        (&HOOKS, version(2).edit("tables = [\"stamped\"]", "tables = [\"stamped\", \"packed\"]")),
    ];
    for (guest, wider) in wider {
        let (error, record) = tried_in_vain(&place, &db, guest, &wider);
        assert_eq!(fault_of(&error), Some(PluginFault::Denied), "{error}");
        check_rolled_back(&record, State::Preparing, "may do more");
        assert_eq!(serving(&db, guest), 1);
        let said = ReloadOptions { widen: true, ..options(rules()) };
        db.reload_plugin(place.put(guest, &wider), &said).unwrap();
        settled(&db, guest);
        assert_eq!(serving(&db, guest), 2);
        // Less again needs no word.
        place.reload_well(&db, guest, &version(3));
    }
}

#[test]
fn a_code_cache_that_takes_nothing_costs_a_compilation_and_no_reload() {
    let place = Place::new();
    let folder = place.path().join("code");
    let cache = CodeCache::open(&folder).unwrap();
    let compile = CompileOptions { cache: Some(cache), ..CompileOptions::default() };
    let db = builder().compile(compile).open(place.db_path()).unwrap();
    for guest in GUESTS {
        place.reload(&db, guest, &version(1)).unwrap();
    }
    super::subjects::furnish(&db).unwrap();
    // What was compiled is gone, nothing can be added, and then a file lies in the folder's place.
    fs::remove_dir_all(&folder).unwrap();
    while_used(&db, &PROCEDURE, || place.reload_well(&db, &PROCEDURE, &version(2)));
    fs::write(&folder, b"no folder").unwrap();
    while_used(&db, &CODEC, || place.reload_well(&db, &CODEC, &version(2)));
    fs::remove_file(&folder).unwrap();
    #[cfg(unix)]
    {
        // Nor is one trusted that others may write to.
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CodeCache::open(&folder).is_err());
        while_used(&db, &STORAGE, || place.reload_well(&db, &STORAGE, &version(2)));
    }
}

#[test]
fn a_version_that_the_database_cannot_keep_goes_back() {
    let place = Place::new();
    // No transaction may be as large as a component.
    let options_of_db = Options { write_set_bytes_max: 16 << 10, ..Options::default() };
    let db = builder().options(options_of_db).open(place.db_path()).unwrap();
    let in_memory = ReloadOptions { keep: false, ..options(rules()) };
    db.reload_plugin(place.put(&PROCEDURE, &version(1)), &in_memory).unwrap();
    db.create_table("counters", Default::default()).unwrap();
    while_used(&db, &PROCEDURE, || {
        let report: KernelResult<ReloadReport> =
            db.reload_plugin(place.put(&PROCEDURE, &version(2)), &options(rules()));
        assert_eq!(report.unwrap().state, State::Probation);
        let record = settled(&db, &PROCEDURE);
        check_rolled_back(&record, State::Probation, "");
        assert!(!record.reason.is_empty(), "{record:?}");
        assert_eq!(told(&db).unwrap(), 1);
        assert!(db.kept_plugins().unwrap().is_empty());
        db.reload_plugin(place.put(&PROCEDURE, &version(3)), &in_memory).unwrap();
        settled(&db, &PROCEDURE);
    });
    assert_eq!(told(&db).unwrap(), 3);
}
