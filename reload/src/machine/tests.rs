//! The table against its documentation, every state with every event, and reloads that get any events at all.

use super::*;
use expect_test::expect;
use proptest::prelude::*;

/// The rows of the first table of the module's documentation: state, who serves, what follows.
fn documented() -> Vec<[&'static str; 3]> {
    let table = include_str!("../machine.rs").lines().skip_while(|line| !line.starts_with("//! |"));
    let rows = table.take_while(|line| line.starts_with("//! |")).skip(2);
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        cells[1..4].try_into().expect("three columns")
    })
    .collect()
}

#[test]
fn the_documentation_shows_the_table() {
    let of_table = State::ALL.map(|state| {
        let rows = TABLE.iter().filter(|(from, _, _)| *from == state);
        let follow: Vec<_> = rows.map(|(_, event, to)| format!("{event}: {to}")).collect();
        (state.to_string(), follow.join(", "))
    });
    let of_docs: Vec<_> = documented()
        .iter()
        .map(|[state, _, follow]| ((*state).to_owned(), (*follow).to_owned()))
        .collect();
    assert_eq!(of_docs, of_table);
}

#[test]
fn the_documentation_says_who_serves() {
    for (state, [name, serves, _]) in State::ALL.into_iter().zip(documented()) {
        assert_eq!(state.name(), name);
        assert_eq!(serves.starts_with("the old version"), state.serves_old(), "{state}: {serves}");
    }
}

#[test]
fn every_state_with_every_event() {
    let mut text = format!("{:<12}", "");
    for event in Event::ALL {
        text += &format!("{event:<12}");
    }
    for state in State::ALL {
        text += &format!("\n{state:<12}");
        for event in Event::ALL {
            text += &format!("{:<12}", state.next(event).map_or(".", State::name));
        }
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    expect![[r#"
                    asked       prepared    passed      swapped     drained     time_up     proven      failed      superseded  settled
        active      preparing   .           .           .           .           .           .           .           .           .
        preparing   .           canary      .           .           .           .           .           rolled_back .           .
        canary      .           .           swapping    .           .           .           .           rolled_back rolled_back .
        swapping    .           .           .           draining    .           .           .           rolled_back .           .
        draining    .           .           .           .           probation   probation   .           rolled_back rolled_back .
        probation   .           .           .           .           .           .           active      rolled_back rolled_back .
        rolled_back .           .           .           .           .           .           .           .           .           active"#]].assert_eq(&lines.join("\n"));
    // No state has two rows for one event, or the second would never be found.
    let found = State::ALL
        .into_iter()
        .flat_map(|state| Event::ALL.into_iter().filter_map(move |event| state.next(event)));
    assert_eq!(found.count(), TABLE.len());
}

/// The states that `events` lead to from `from`, with `from` itself.
fn reached(from: State, events: &[Event]) -> Vec<State> {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(state) = reached.get(at).copied() {
        for next in events.iter().filter_map(|event| state.next(*event)) {
            if !reached.contains(&next) {
                reached.push(next);
            }
        }
        at += 1;
    }
    reached
}

#[test]
fn every_state_ends_in_active_whatever_plugins_do() {
    for state in State::ALL {
        let reached = reached(state, &[Event::Failed, Event::Settled]);
        assert!(reached.contains(&State::Active), "{state} cannot fail");
    }
    // A version that serves well needs only the clock.
    for state in [State::Draining, State::Probation] {
        let reached = reached(state, &[Event::TimeUp, Event::Proven]);
        assert!(reached.contains(&State::Active), "{state} waits for more than time");
    }
    // Whoever supersedes it lets go of it as well.
    for (_, _, to) in TABLE.iter().filter(|(_, event, _)| *event == Event::Superseded) {
        assert_eq!(to.next(Event::Settled), Some(State::Active));
    }
}

#[test]
fn every_state_is_reached_and_none_is_left_to_itself() {
    assert_eq!(reached(State::Active, &Event::ALL).len(), State::ALL.len());
    for (from, event, to) in TABLE {
        assert_ne!(from, to, "{event} leads nowhere");
    }
    // Only a version that has proven itself, or the one from before, is what is left.
    let into_active = TABLE.iter().filter(|(_, _, to)| *to == State::Active);
    let by: Vec<_> = into_active.map(|(from, event, _)| (*from, *event)).collect();
    assert_eq!(by, [(State::Probation, Event::Proven), (State::RolledBack, Event::Settled)]);
}

#[test]
fn names_are_those_of_records() {
    for state in State::ALL {
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
}

fn version(version: &str) -> Option<VersionId> {
    let blake3 = blake3::hash(version.as_bytes()).to_string();
    Some(VersionId { version: version.to_owned(), blake3 })
}

fn begin() -> Attempt {
    Attempt::begin("lz4", "compression", version("1.0.0"), version("1.1.0"), "the test")
}

/// The record as one line a step, without times.
fn shown(record: &Record) -> String {
    let mut text = String::new();
    for step in &record.steps {
        text += format!("{}: {}", step.state, step.note).trim_end();
        text.push('\n');
    }
    text + &format!("{}, because of {:?}", record.outcome, record.reason)
}

#[test]
fn a_reload_that_does_well_is_recorded_step_by_step() {
    let mut attempt = begin().numbered(7);
    attempt.remark("read 4,096 bytes");
    attempt.remark("compiled");
    assert_eq!(attempt.step(Event::Prepared, "3 rows"), Some(State::Canary));
    assert_eq!(attempt.step(Event::Passed, ""), Some(State::Swapping));
    assert_eq!(attempt.step(Event::Swapped, "2 calls in flight"), Some(State::Draining));
    assert_eq!(attempt.step(Event::TimeUp, "1 call in flight"), Some(State::Probation));
    assert!(!attempt.is_over());
    assert_eq!(attempt.step(Event::Proven, "512 calls"), Some(State::Active));
    assert!(attempt.is_over());
    expect![[r#"
        preparing: read 4,096 bytes; compiled
        canary: 3 rows
        swapping:
        draining: 2 calls in flight
        probation: 1 call in flight
        active: 512 calls
        serving, because of """#]]
    .assert_eq(&shown(attempt.record()));
    assert_eq!(attempt.record().id, 7);
}

#[test]
fn a_reload_that_fails_says_why_and_ends() {
    let mut attempt = begin();
    attempt.set_to(version("1.2.0").unwrap());
    attempt.step(Event::Prepared, "");
    attempt.fail("row 3 reads otherwise");
    expect![[r#"
        preparing:
        canary:
        rolled_back: row 3 reads otherwise
        active:
        rolled_back, because of "row 3 reads otherwise""#]]
    .assert_eq(&shown(attempt.record()));
    assert_eq!(attempt.record().to, version("1.2.0"));
    // Later news changes nothing, not even the reason.
    let record = attempt.record().clone();
    attempt.fail("something else");
    assert_eq!(attempt.step(Event::Asked, ""), None);
    assert_eq!(attempt.record(), &record);
}

#[test]
fn what_is_rolled_back_keeps_the_first_reason() {
    let mut attempt = begin();
    attempt.step(Event::Prepared, "");
    attempt.step(Event::Superseded, "1.2.0 is wanted");
    assert_eq!(attempt.state(), State::RolledBack);
    attempt.fail("its instances do not end");
    expect![[r#"
        preparing:
        canary:
        rolled_back: 1.2.0 is wanted
        active:
        rolled_back, because of "1.2.0 is wanted""#]]
    .assert_eq(&shown(attempt.record()));
}

#[test]
fn endless_notes_are_cut() {
    let mut attempt = begin();
    for _ in 0..100 {
        attempt.remark(&"ü".repeat(1000));
    }
    attempt.fail("ß".repeat(100_000));
    let record = attempt.record();
    for step in &record.steps {
        assert!(step.note.len() <= 4 * 1024 + 8, "{} bytes", step.note.len());
    }
    assert!(record.reason.ends_with(" ...") && record.reason.len() <= 8 * 1024 + 8);
    assert!(record.steps[0].note.ends_with(" ..."));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop::sample::select(&Event::ALL)
}

/// Events of which most are those that a reload waits for.
fn any_events() -> impl Strategy<Value = Vec<Event>> {
    const GOOD: [Event; 5] =
        [Event::Prepared, Event::Passed, Event::Swapped, Event::Drained, Event::Proven];
    let event = prop_oneof![any_event(), prop::sample::select(&GOOD[..])];
    prop::collection::vec(event, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_record_is_a_path_through_the_table(
        events in any_events(),
        fails in any::<bool>(),
    ) {
        let mut attempt = begin();
        let mut expected = vec![State::Preparing];
        for (number, event) in events.into_iter().enumerate() {
            let state = attempt.state();
            let before = attempt.record().clone();
            let next = if attempt.is_over() { None } else { state.next(event) };
            prop_assert_eq!(attempt.step(event, format!("event {number}")), next);
            match next {
                Some(next) => expected.push(next),
                None => prop_assert_eq!(attempt.record(), &before),
            }
            prop_assert_eq!(attempt.state(), next.unwrap_or(state));
        }
        if fails {
            let was_over = attempt.is_over();
            attempt.fail("the test ends");
            prop_assert!(attempt.is_over());
            prop_assert!(was_over || attempt.record().outcome == Outcome::RolledBack);
        }
        let record = attempt.record();
        let states: Vec<_> = record.steps.iter().map(|step| step.state).collect();
        prop_assert!(states.starts_with(&expected));
        for pair in states.windows(2) {
            prop_assert!(TABLE.iter().any(|(from, _, to)| [*from, *to] == *pair), "{states:?}");
        }
        let ended = states.last() == Some(&State::Active);
        let by_outcome = match record.outcome {
            Outcome::UnderWay => !ended,
            Outcome::Serving => ended && !states.contains(&State::RolledBack),
            Outcome::RolledBack => ended && states.contains(&State::RolledBack),
            _ => false,
        };
        prop_assert!(by_outcome, "{:?} after {states:?}", record.outcome);
        // Only the present state has not lasted yet.
        prop_assert_eq!(record.steps.last().map(|step| step.took_us), Some(0));
    }
}
