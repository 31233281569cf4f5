//! The states of one reload.
//!
//! | state       | calls that come now go to            | events, and the states they lead to                                                  |
//! |-------------|--------------------------------------|--------------------------------------------------------------------------------------|
//! | active      | the only version                     | asked: preparing                                                                     |
//! | preparing   | the old version                      | prepared: canary, failed: rolled_back                                                |
//! | canary      | the old version, a share to the new  | passed: swapping, failed: rolled_back, superseded: rolled_back                       |
//! | swapping    | the old version, a share to the new  | swapped: draining, failed: rolled_back                                               |
//! | draining    | the new version, the old if it fails | drained: probation, time_up: probation, failed: rolled_back, superseded: rolled_back |
//! | probation   | the new version, the old if it fails | proven: active, failed: rolled_back, superseded: rolled_back                         |
//! | rolled_back | the old version                      | settled: active                                                                      |
//!
//! | state       | what is done in it                                                                        | it ends for certain by  |
//! |-------------|-------------------------------------------------------------------------------------------|-------------------------|
//! | active      | nothing: the plugin serves                                                                |                         |
//! | preparing   | the new version is read, its hash and signature compared, compiled, and tests itself      | the limits of these     |
//! | canary      | it opens what is there and answers as the old one does; then it may get shares of calls   | the rules' steps        |
//! | swapping    | the old one's state is handed over, instances are warmed, and all calls go to the new one | the limits of the calls |
//! | draining    | calls in flight on the old version end                                                    | `time_up`               |
//! | probation   | the old version stays loaded; whatever the new one fails, it answers                      | `proven`                |
//! | rolled_back | calls go to the old version again, and the new one is let go                              | `settled`               |
//!
//! 1. An event that a state has no row for changes nothing, whoever sends it and however late.
//! 2. From every state a reload comes to an end by events that need no plugin: `failed`, `time_up`, `proven`,
//!    `settled`. Nothing that a plugin does or leaves keeps a reload from ending.
//! 3. It ends in `active`, on a version that works.
//! 4. Calls that are still under way at `time_up` end under their own limits.

use crate::history::{Outcome, REASON_BYTES_MAX, Record, Step, VersionId, append, unix_ms};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

/// Where a reload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No reload is under way.
    Active,
    /// The new version is read, checked, compiled and tests itself.
    Preparing,
    /// The new version shows what it does with what is there, and with a share of the calls.
    Canary,
    /// State is handed over and the calls go to the new version.
    Swapping,
    /// Calls in flight on the old version end.
    Draining,
    /// The new version serves, the old one stays ready.
    Probation,
    /// The old version serves again, the new one is let go.
    RolledBack,
}

/// What moves a reload on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody wants another version.
    Asked,
    /// The new version is compiled and has tested itself.
    Prepared,
    /// The new version did well with what is there.
    Passed,
    /// All calls go to the new version.
    Swapped,
    /// No call is left on the old version.
    Drained,
    /// Calls in flight were waited for long enough.
    TimeUp,
    /// The new version did well for as long as it was watched.
    Proven,
    /// The new version did not do well.
    Failed,
    /// Another version is wanted instead, before this one has proven itself.
    Superseded,
    /// The new version is let go.
    Settled,
}

/// What follows on what. All that is not here changes nothing.
pub const TABLE: &[(State, Event, State)] = &[
    (State::Active, Event::Asked, State::Preparing),
    (State::Preparing, Event::Prepared, State::Canary),
    (State::Preparing, Event::Failed, State::RolledBack),
    (State::Canary, Event::Passed, State::Swapping),
    (State::Canary, Event::Failed, State::RolledBack),
    (State::Canary, Event::Superseded, State::RolledBack),
    (State::Swapping, Event::Swapped, State::Draining),
    (State::Swapping, Event::Failed, State::RolledBack),
    (State::Draining, Event::Drained, State::Probation),
    (State::Draining, Event::TimeUp, State::Probation),
    (State::Draining, Event::Failed, State::RolledBack),
    (State::Draining, Event::Superseded, State::RolledBack),
    (State::Probation, Event::Proven, State::Active),
    (State::Probation, Event::Failed, State::RolledBack),
    (State::Probation, Event::Superseded, State::RolledBack),
    (State::RolledBack, Event::Settled, State::Active),
];

impl State {
    /// Every state, in the order of a reload that does well.
    pub const ALL: [State; 7] = [
        State::Active,
        State::Preparing,
        State::Canary,
        State::Swapping,
        State::Draining,
        State::Probation,
        State::RolledBack,
    ];

    /// The state after `event`, by [`TABLE`]; `None`: the event is nothing to this state.
    pub fn next(self, event: Event) -> Option<State> {
        let row = TABLE.iter().find(|(from, by, _)| (*from, *by) == (self, event));
        row.map(|(_, _, to)| *to)
    }

    /// Whether calls that come now go to the version from before the reload, but for a share on trial.
    /// `Active` has no such version.
    pub fn serves_old(self) -> bool {
        matches!(self, State::Preparing | State::Canary | State::Swapping | State::RolledBack)
    }

    /// What it is called in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Preparing => "preparing",
            State::Canary => "canary",
            State::Swapping => "swapping",
            State::Draining => "draining",
            State::Probation => "probation",
            State::RolledBack => "rolled_back",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 10] = [
        Event::Asked,
        Event::Prepared,
        Event::Passed,
        Event::Swapped,
        Event::Drained,
        Event::TimeUp,
        Event::Proven,
        Event::Failed,
        Event::Superseded,
        Event::Settled,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Event::Asked => "asked",
            Event::Prepared => "prepared",
            Event::Passed => "passed",
            Event::Swapped => "swapped",
            Event::Drained => "drained",
            Event::TimeUp => "time_up",
            Event::Proven => "proven",
            Event::Failed => "failed",
            Event::Superseded => "superseded",
            Event::Settled => "settled",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One reload under way, and what came of it so far.
#[derive(Debug)]
pub struct Attempt {
    state: State,
    since: Instant,
    record: Record,
}

impl Attempt {
    /// A reload of `plugin`, which somebody has just asked for: it is preparing. Its record has no number yet:
    /// [`numbered`](Self::numbered).
    pub fn begin(
        plugin: &str,
        kind: &str,
        from: Option<VersionId>,
        to: Option<VersionId>,
        asked_by: &str,
    ) -> Attempt {
        let state = State::Active.next(Event::Asked).expect("a reload can be asked for");
        let mut record = Record::new(plugin, kind, from, to, asked_by);
        record.steps.push(Step {
            state,
            unix_ms: record.began_unix_ms,
            took_us: 0,
            note: String::new(),
        });
        let attempt = Attempt { state, since: Instant::now(), record };
        attempt.check();
        attempt
    }

    /// The same, with `id` as the number of its record: [`History::next_id`](crate::History::next_id).
    #[must_use]
    pub fn numbered(mut self, id: u64) -> Attempt {
        self.record.id = id;
        self
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it is there.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What came of it so far.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether it has ended. Nothing moves it on any more.
    pub fn is_over(&self) -> bool {
        self.state == State::Active
    }

    /// Names the new version, when it becomes known only after it was read.
    pub fn set_to(&mut self, to: VersionId) {
        self.record.to = Some(to);
    }

    /// Adds to what is noted of the present state.
    pub fn remark(&mut self, note: &str) {
        self.last().remark(note);
    }

    /// Moves on by `event`; `note` says more of the state that follows, and is the reason when it is
    /// `RolledBack`. `None`, and nothing changes, when the present state has no such event or it is over.
    pub fn step(&mut self, event: Event, note: impl Into<String>) -> Option<State> {
        let next = if self.is_over() { None } else { self.state.next(event) };
        let (plugin, before) = (&self.record.plugin, self.state);
        let Some(next) = next else {
            tracing::debug!(plugin, state = %before, %event, "an event that is nothing to a reload in this state");
            return None;
        };
        let note = note.into();
        tracing::debug!(plugin, from = %before, to = %next, %event, note, "a reload moves on");
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since).as_micros();
        self.last().took_us = u64::try_from(took).unwrap_or(u64::MAX);
        match (next, event) {
            (State::RolledBack, _) => {
                self.record.reason.clear();
                append(&mut self.record.reason, &note, REASON_BYTES_MAX);
            }
            (State::Active, Event::Proven) => self.record.outcome = Outcome::Serving,
            (State::Active, _) => self.record.outcome = Outcome::RolledBack,
            _ => (),
        }
        let mut step = Step { state: next, unix_ms: unix_ms(), took_us: 0, note: String::new() };
        step.remark(&note);
        self.record.steps.push(step);
        (self.state, self.since) = (next, now);
        self.check();
        Some(next)
    }

    /// Ends it on the old version for `reason`. Nothing when it is over; when it is rolled back already, it keeps
    /// the reason it has.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.step(Event::Failed, reason);
        self.step(Event::Settled, "");
        assert!(self.is_over(), "every state that fails can settle, {} cannot", self.state);
    }

    fn last(&mut self) -> &mut Step {
        self.record.steps.last_mut().expect("an attempt begins with a step")
    }

    /// What holds in each state.
    fn check(&self) {
        let Record { steps, outcome, .. } = &self.record;
        let last = steps.last().map(|step| step.state);
        assert_eq!(last, Some(self.state), "the last step is the present state");
        assert!(
            steps.len() < State::ALL.len() + 1,
            "no state comes twice, and there are {} steps",
            steps.len()
        );
        let is_over = *outcome != Outcome::UnderWay;
        assert_eq!(is_over, self.is_over(), "{outcome:?} in {}", self.state);
    }
}

#[cfg(test)]
mod tests;
