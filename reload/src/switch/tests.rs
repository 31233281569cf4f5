//! Who is picked, and what each change leaves. What threads see of changes is in `../models`.

use super::*;
use proptest::prelude::*;

fn version(number: u32) -> Arc<u32> {
    Arc::new(number)
}

/// How many of `calls` calls each of version 0 and version 1 gets, each with version 0 as fallback or with none.
fn shares(switch: &Switch<u32>, calls: usize) -> (usize, usize) {
    let picks: Vec<_> = (0..calls).map(|_| switch.pick()).collect();
    for pick in &picks {
        let expected = (*pick.version == 1).then_some(0);
        assert_eq!(pick.fallback.as_deref().copied(), expected);
    }
    let trial = picks.iter().filter(|pick| *pick.version == 1).count();
    (calls - trial, trial)
}

#[test]
fn a_switch_without_a_trial_picks_what_there_is() {
    let switch = Switch::new(version(0));
    assert_eq!(shares(&switch, 10), (10, 0));
    assert_eq!((*switch.usual(), *switch.leading()), (0, 0));
    assert!(switch.trial().is_none());
}

#[test]
fn a_trial_gets_exactly_its_share_spread_evenly() {
    for share in [0, 1, 10, 100, 333, 500, 999, 1000] {
        let (switch, trial) = (Switch::new(version(0)), version(1));
        assert!(switch.begin(&trial, share));
        let wanted = usize::from(share);
        assert_eq!(shares(&switch, 1000), (1000 - wanted, wanted));
        // In a tenth of the calls there is about a tenth of the share.
        for _ in 0..10 {
            let (_, calls) = shares(&switch, 100);
            assert!(calls.abs_diff(wanted / 10) <= 4, "{calls} of 100 calls at {share} of 1,000");
        }
    }
}

#[test]
fn a_share_above_all_is_all() {
    let (switch, trial) = (Switch::new(version(0)), version(1));
    assert!(switch.begin(&trial, u16::MAX));
    assert_eq!(switch.trial().map(|(trial, share)| (*trial, share)), Some((1, WHOLE)));
    assert_eq!((*switch.usual(), *switch.leading()), (0, 1));
}

#[test]
fn a_trial_that_is_kept_is_the_usual_version() {
    let (switch, trial) = (Switch::new(version(0)), version(1));
    assert!(switch.begin(&trial, 10));
    assert_eq!(*switch.leading(), 0);
    assert_eq!(switch.keep(&trial).as_deref(), Some(&0));
    assert_eq!((*switch.usual(), *switch.leading()), (1, 1));
    let pick = switch.pick();
    assert_eq!((*pick.version, pick.fallback), (1, None));
    assert_eq!(switch.keep(&trial), None, "it is no longer on trial");
    assert!(!switch.drop_trial(&trial));
}

#[test]
fn a_trial_that_is_dropped_never_was() {
    let (switch, trial) = (Switch::new(version(0)), version(1));
    assert!(switch.begin(&trial, WHOLE));
    assert!(switch.has(&trial));
    assert!(switch.drop_trial(&trial));
    assert!(!switch.has(&trial) && !switch.drop_trial(&trial));
    assert_eq!(switch.keep(&trial), None);
    assert_eq!(shares(&switch, 10), (10, 0));
    assert_eq!(Arc::strong_count(&trial), 1, "nothing of it is left");
}

#[test]
fn there_is_one_trial_at_a_time() {
    let (switch, trial, other) = (Switch::new(version(0)), version(1), version(1));
    assert!(switch.begin(&trial, 10));
    // An equal version is another one.
    assert!(!switch.begin(&other, WHOLE));
    assert!(!switch.drop_trial(&other));
    assert_eq!(switch.keep(&other), None);
    assert_eq!(switch.trial().map(|(_, share)| share), Some(10));
    assert!(switch.begin(&trial, 500), "the same one may get more");
    assert_eq!(switch.trial().map(|(_, share)| share), Some(500));
}

#[test]
fn a_replacement_ends_a_trial_and_returns_both() {
    let (switch, trial) = (Switch::new(version(0)), version(1));
    assert!(switch.begin(&trial, 500));
    let (usual, on_trial) = switch.replace(version(2));
    assert_eq!((*usual, on_trial.as_deref()), (0, Some(&1)));
    assert_eq!((*switch.usual(), switch.trial()), (2, None));
    let (usual, on_trial) = switch.replace(version(3));
    assert_eq!((*usual, on_trial), (2, None));
}

#[test]
fn what_was_picked_outlives_the_change() {
    let (switch, trial) = (Switch::new(version(0)), version(1));
    let before = switch.pick();
    assert!(switch.begin(&trial, WHOLE));
    switch.keep(&trial);
    assert_eq!(*before.version, 0);
    assert_eq!(Arc::strong_count(&before.version), 1, "the call alone holds it");
}

/// What a switch should do, in the plainest terms.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    usual: usize,
    trial: Option<(usize, u16)>,
}

#[derive(Debug, Clone)]
enum Change {
    Begin(usize, u16),
    Keep(usize),
    Drop(usize),
    Replace(usize),
}

fn any_change() -> impl Strategy<Value = Change> {
    let version = 0..4usize;
    prop_oneof![
        (version.clone(), 0..=WHOLE).prop_map(|(version, share)| Change::Begin(version, share)),
        version.clone().prop_map(Change::Keep),
        version.clone().prop_map(Change::Drop),
        version.prop_map(Change::Replace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_do_what_they_say(changes in prop::collection::vec(any_change(), 0..40)) {
        let versions = [0, 1, 2, 3].map(version);
        let switch = Switch::new(versions[0].clone());
        let mut plain = Plain { usual: 0, trial: None };
        for change in changes {
            let on_trial = plain.trial.map(|(trial, _)| trial);
            match change {
                Change::Begin(version, share) => {
                    let can = on_trial.is_none_or(|trial| trial == version);
                    prop_assert_eq!(switch.begin(&versions[version], share), can);
                    if can {
                        plain.trial = Some((version, share));
                    }
                }
                Change::Keep(version) => {
                    let kept = switch.keep(&versions[version]).map(|usual| *usual as usize);
                    let is_it = on_trial == Some(version);
                    prop_assert_eq!(kept, is_it.then_some(plain.usual));
                    if is_it {
                        plain = Plain { usual: version, trial: None };
                    }
                }
                Change::Drop(version) => {
                    let is_it = on_trial == Some(version);
                    prop_assert_eq!(switch.drop_trial(&versions[version]), is_it);
                    if is_it {
                        plain.trial = None;
                    }
                }
                Change::Replace(version) => {
                    let (usual, trial) = switch.replace(versions[version].clone());
                    prop_assert_eq!(*usual as usize, plain.usual);
                    prop_assert_eq!(trial.map(|trial| *trial as usize), on_trial);
                    plain = Plain { usual: version, trial: None };
                }
            }
            let trial = switch.trial().map(|(trial, share)| (*trial as usize, share));
            prop_assert_eq!(Plain { usual: *switch.usual() as usize, trial }, plain.clone());
            for (number, version) in versions.iter().enumerate() {
                let on_trial = plain.trial.map(|(trial, _)| trial);
                prop_assert_eq!(switch.has(version), [Some(plain.usual), on_trial].contains(&Some(number)));
            }
            let pick = switch.pick();
            match pick.fallback {
                Some(fallback) => {
                    prop_assert_eq!(Some(*pick.version as usize), plain.trial.map(|(trial, _)| trial));
                    prop_assert_eq!(*fallback as usize, plain.usual);
                }
                None => prop_assert_eq!(*pick.version as usize, plain.usual),
            }
        }
    }
}
