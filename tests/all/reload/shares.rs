//! Versions that get growing shares of the calls, several reloads of one plugin at once, and a database that is
//! closed meanwhile.

use super::subjects::{furnished, stamped, told, use_once, while_used};
use super::{
    CODEC, FOREVER, GUESTS, HOOKS, PROCEDURE, Place, is_on_trial, newest, options, rules, serving,
    settled, version,
};
use sochdb::ErrorKind;
use sochdb_reload::{Outcome, Rules, State};
use std::sync::Barrier;
use std::time::Duration;

/// So many calls are counted.
const CALLS: u32 = 2000;

/// A share for as long as nobody says otherwise.
fn share(thousandths: u16) -> Rules {
    Rules { steps: vec![thousandths], step: FOREVER, probation: FOREVER, ..rules() }
}

#[test]
fn a_version_gets_the_share_of_the_calls_that_it_was_given() {
    let place = Place::new();
    let db = furnished(&place);
    for (number, thousandths, few, many) in
        [(2, 10, 1, 100), (3, 100, 50, 400), (4, 500, 600, 1400)]
    {
        let path = place.put(&PROCEDURE, &version(number));
        let report = db.reload_plugin(path, &options(share(thousandths))).unwrap();
        assert_eq!((report.state, report.share), (State::Canary, thousandths));
        let answers: Vec<_> = (0..CALLS).map(|_| told(&db).unwrap()).collect();
        assert!(answers.iter().all(|answer| [1, number].contains(answer)), "one of the two");
        let on_trial = answers.iter().filter(|answer| **answer == number).count();
        assert!((few..many).contains(&on_trial), "{on_trial} of {CALLS} at {thousandths}");
        assert_eq!(serving(&db, &PROCEDURE), 1, "most calls are served by the old one");
        assert!(db.roll_back_plugin(PROCEDURE.name).unwrap());
        assert!(!db.roll_back_plugin(PROCEDURE.name).unwrap(), "it is no longer on trial");
        let record = newest(&db, &PROCEDURE);
        assert_eq!(record.outcome, Outcome::RolledBack, "{record:?}");
        assert!(record.reason.contains("somebody asked for it"), "{record:?}");
        assert!((0..100).all(|_| told(&db).unwrap() == 1));
    }
    // Of hooks it is transactions that are shared out.
    let path = place.put(&HOOKS, &version(2));
    db.reload_plugin(path, &options(share(500))).unwrap();
    let stamps: Vec<_> = (0..200).map(|key| stamped(&db, key).unwrap()).collect();
    let on_trial = stamps.iter().filter(|stamp| **stamp == 2).count();
    assert!((40..160).contains(&on_trial), "{on_trial} of 200");
}

#[test]
fn shares_grow_step_by_step_until_the_new_version_serves_all() {
    let place = Place::new();
    let db = furnished(&place);
    for guest in GUESTS {
        let steps = vec![10, 100, 500];
        let rules = Rules { steps, step: Duration::from_millis(20), ..rules() };
        let (_, record) = while_used(&db, guest, || {
            db.reload_plugin(place.put(guest, &version(2)), &options(rules)).unwrap();
            settled(&db, guest)
        });
        assert_eq!(record.outcome, Outcome::Serving, "{record:?}");
        assert_eq!(serving(&db, guest), 2);
        let canary = record.steps.iter().find(|step| step.state == State::Canary);
        let note = &canary.expect("it had shares").note;
        for share in ["10 of 1,000", "100 of 1,000", "500 of 1,000"] {
            assert!(note.contains(share), "{record:?}");
        }
        let states: Vec<_> = record.steps.iter().map(|step| step.state).collect();
        let all = &State::ALL[1..6];
        assert_eq!(states, [all, &[State::Active]].concat(), "{record:?}");
    }
}

#[test]
fn a_version_that_is_worse_with_a_share_never_gets_more() {
    let place = Place::new();
    let db = furnished(&place);
    let trapping = version(2).mood("traps").after(500);
    let (_, record) = while_used(&db, &CODEC, || {
        let report = db.reload_plugin(place.put(&CODEC, &trapping), &options(share(100)));
        assert_eq!(report.unwrap().state, State::Canary);
        settled(&db, &CODEC)
    });
    let states: Vec<_> = record.steps.iter().map(|step| step.state).collect();
    assert_eq!(states.last_chunk(), Some(&[State::Canary, State::RolledBack, State::Active]));
    assert!(record.reason.contains("failed on trial"), "{record:?}");

    let rules =
        Rules { latency_factor: 2.0, latency_floor: Duration::ZERO, calls_min: 32, ..share(500) };
    let slow = version(2).spin(2_000_000);
    let (_, record) = while_used(&db, &PROCEDURE, || {
        db.reload_plugin(place.put(&PROCEDURE, &slow), &options(rules)).unwrap();
        settled(&db, &PROCEDURE)
    });
    assert_eq!(record.outcome, Outcome::RolledBack, "{record:?}");
    assert!(record.reason.contains("takes"), "{record:?}");
    for guest in [&CODEC, &PROCEDURE] {
        assert_eq!(serving(&db, guest), 1);
        place.reload_well(&db, guest, &version(3));
    }
}

#[test]
fn of_two_reloads_at_once_one_serves_in_the_end() {
    let place = Place::new();
    let db = furnished(&place);
    for round in 0..5 {
        let paths = [10, 20].map(|number| place.put(&PROCEDURE, &version(number + round)));
        let begin = Barrier::new(2);
        let answers = std::thread::scope(|scope| {
            let threads = paths.map(|path| {
                let (db, begin) = (&db, &begin);
                scope.spawn(move || {
                    begin.wait();
                    db.reload_plugin(path, &options(rules()))
                })
            });
            told(&db).unwrap();
            threads.map(|thread| thread.join().unwrap())
        });
        let done: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        assert!(!done.is_empty(), "at least one is let");
        settled(&db, &PROCEDURE);
        let serves = format!("1.0.{}", told(&db).unwrap());
        let wanted = |version: &str| {
            done.iter().any(|report| report.record.to.as_ref().unwrap().version == version)
        };
        assert!(wanted(&serves), "{serves} of {done:?}");
    }
}

#[test]
fn a_reload_during_probation_takes_the_place_of_the_one_before() {
    let place = Place::new();
    let db = furnished(&place);
    for guest in GUESTS {
        let long = Rules { probation: FOREVER, ..rules() };
        while_used(&db, guest, || {
            let first = db.reload_plugin(place.put(guest, &version(2)), &options(long)).unwrap();
            assert_eq!(first.state, State::Probation, "{first:?}");
            assert_eq!(serving(&db, guest), 2);
            let second = place.reload_well(&db, guest, &version(3));
            assert_eq!(
                second.from.unwrap().version,
                "1.0.1",
                "from the one that had proven itself"
            );
            let history = db.plugin_history(Some(guest.name)).unwrap();
            let first = history.iter().find(|record| record.id == first.record.id).unwrap();
            assert_eq!(first.outcome, Outcome::RolledBack, "{first:?}");
            assert!(first.reason.contains("something newer came"), "{first:?}");
        });
    }
}

#[test]
fn a_plugin_can_be_taken_away_while_a_version_of_it_is_on_trial() {
    let place = Place::new();
    let db = furnished(&place);
    let long = Rules { probation: FOREVER, ..rules() };
    for (round, guest) in [(0, &PROCEDURE), (1, &HOOKS)] {
        db.reload_plugin(place.put(guest, &version(2)), &options(long.clone())).unwrap();
        assert!(is_on_trial(&db, guest));
        match round {
            0 => db.remove_plugin(guest.name).unwrap(),
            _ => db.disable_plugin(guest.name).unwrap(),
        }
        assert!(!is_on_trial(&db, guest));
        assert!(db.plugins_loaded().iter().all(|plugin| plugin.name != guest.name));
    }
    told(&db).unwrap_err();
    // A table needs it.
    let error = db.remove_plugin(CODEC.name).unwrap_err();
    assert!(error.to_string().contains("packed"), "{error}");
    place.reload(&db, &PROCEDURE, &version(3)).unwrap();
    assert_eq!(told(&db).unwrap(), 3);
    assert!(db.enable_plugin(HOOKS.name).unwrap());
    assert_eq!(serving(&db, &HOOKS), 1, "what the database had kept");
    use_once(&db, &HOOKS, 1).unwrap();
}

#[test]
fn a_database_closed_in_the_midst_of_trials_opens_with_what_had_proven_itself() {
    let place = Place::new();
    let db = furnished(&place);
    let probation = Rules { probation: FOREVER, ..rules() };
    for guest in GUESTS {
        // The one with a share of the calls, the other with all.
        let rules = if guest.kind == "codec" { share(500) } else { probation.clone() };
        db.reload_plugin(place.put(guest, &version(2)), &options(rules)).unwrap();
        (0..20).for_each(|round| use_once(&db, guest, round).unwrap());
    }
    assert!(GUESTS.into_iter().all(|guest| is_on_trial(&db, guest)));
    db.checkpoint().unwrap();
    db.close().unwrap();

    let db = place.open();
    assert!(db.plugin_reloads().is_empty());
    for guest in GUESTS {
        assert_eq!(serving(&db, guest), 1, "{}", guest.name);
        (0..20).for_each(|round| use_once(&db, guest, round).unwrap());
        place.reload_well(&db, guest, &version(3));
    }
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn what_happened_to_plugins_is_remembered_over_openings() {
    let place = Place::new();
    let db = furnished(&place);
    place.reload_well(&db, &PROCEDURE, &version(2));
    place.reload(&db, &PROCEDURE, &version(3).mood("fails-its-test")).unwrap_err();
    let before = db.plugin_history(None).unwrap();
    let outcomes = |name: &str| {
        let of_it = before.iter().filter(|record| record.plugin == name);
        of_it.map(|record| record.outcome).collect::<Vec<_>>()
    };
    let wanted = [Outcome::RolledBack, Outcome::Serving, Outcome::Added];
    assert_eq!(outcomes(PROCEDURE.name), wanted);
    assert!(before.iter().all(|record| record.asked_by == "a test"), "{before:?}");
    db.close().unwrap();
    let db = place.open();
    assert_eq!(db.plugin_history(None).unwrap(), before);
    place.reload_well(&db, &PROCEDURE, &version(4));
    let after = db.plugin_history(None).unwrap();
    assert!(before.iter().all(|record| record.id < after[0].id), "numbers grow");
    assert_eq!(after[0].to.as_ref().unwrap().version, "1.0.4", "the newest is told first");
}
