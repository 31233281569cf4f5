//! Where the living part of a queue's index begins, so that a claim does not walk over the dead part.
//!
//! A job that was claimed leaves a deleted row behind at the front of the order, and until a checkpoint
//! folds those rows away every look from the very beginning would walk over all of them. So one look
//! remembers, for each class, the first living row it met, and the next look begins there:
//!
//! ```text
//!   class 127   ░░░░░░░░░░░░░░▓▓▓▓▓▓▓▓▓▓│▒▒▒▒▒▒▒▒     ░ claimed since   ▓ due   ▒ not due yet
//!                             ▲ start   ▲ now
//! ```
//!
//! A start may lie too far back, which costs time, or too far ahead, when a job is committed in front of it.
//! Three rules keep that harmless:
//!
//! 1. A job that this manager commits moves the start back to it.
//! 2. A job that a caller's transaction enqueues is *open* until it is seen: each look asks for the open
//!    jobs in front of the starts by their keys, and moves the start back to one that is there.
//! 3. For all others, as of a second manager of the same table, a look from the very beginning is taken
//!    again as soon as [`PATIENCE`] times the duration of the last one has passed.
//!
//! The front also knows which jobs are being claimed at this moment by other threads, so that they take the
//! next ones instead of running into conflicts. Nothing here is needed for a claim to be right: that is
//! the kernel's conflict check.

use crate::error::ClaimOutcome;
use crate::record::{JobId, Place};
use sochdb_kernel::{Clock, KeyRange, Timestamp, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

/// A look from the beginning costs at most this part of the time: one in so many.
const PATIENCE: u64 = 16;
/// Open jobs that are remembered. Those of transactions that were rolled back stay among them, so past this
/// many all are forgotten, and the next look is from the beginning.
const OPEN_MAX: usize = 1024;

/// The front of one queue.
#[derive(Default)]
pub(crate) struct Front {
    /// By class: no living row that a look has seen lies before this one.
    starts: BTreeMap<u8, Place>,
    /// Jobs that are being claimed at this moment.
    pub busy: HashSet<JobId>,
    /// The last look from the beginning met every class: it was not ended by having found enough.
    knows_all: bool,
    /// Jobs enqueued in callers' transactions, not seen yet.
    open: BTreeSet<Place>,
    /// When the next look begins at the beginning, by the monotonic clock.
    whole_at_us: u64,
    /// The last look from the beginning found nothing at this snapshot, and when the next job is due.
    empty_at: Option<(Timestamp, Option<u64>)>,
}

/// What a look found.
#[derive(Default)]
pub(crate) struct Found {
    /// Jobs that are due, in order.
    pub due: Vec<Place>,
    /// When the next one is due, among those met.
    pub next_due_us: Option<u64>,
    /// Jobs passed over because somebody is claiming them.
    passed: usize,
}

/// What a look is for.
pub(crate) struct Look<'a> {
    pub tx: &'a Transaction,
    pub table: &'a str,
    pub now_us: u64,
    /// How many jobs are wanted.
    pub count_max: usize,
    /// Jobs that this caller has just lost to somebody else.
    pub lost: &'a HashSet<JobId>,
}

impl Front {
    /// The first jobs that are due and that nobody is claiming.
    pub fn look(&mut self, look: &Look<'_>, clock: &dyn Clock) -> ClaimOutcome<Found> {
        let snapshot = look.tx.snapshot();
        if let Some((at, next_due_us)) = self.empty_at
            && at == snapshot
            && next_due_us.is_none_or(|due| look.now_us < due)
        {
            return Ok(Found { next_due_us, ..Found::default() });
        }
        let began = clock.monotonic_us();
        if began < self.whole_at_us {
            self.find_open(look)?;
            let mut found = Found::default();
            for start in self.starts.clone().into_values() {
                if found.due.len() < look.count_max {
                    self.walk(look, start, Some(start.class), &mut found)?;
                }
            }
            if self.knows_all || !found.due.is_empty() {
                return Ok(found);
            }
        }
        self.starts.clear();
        let mut found = Found::default();
        let mut from = Some(Place::first_of(0));
        while let Some(start) = from {
            from = self.walk(look, start, None, &mut found)?.map(Place::first_of);
        }
        self.knows_all = found.due.len() < look.count_max;
        let ended = clock.monotonic_us();
        self.whole_at_us = ended.saturating_add(ended.saturating_sub(began) * PATIENCE);
        let empty = found.due.is_empty() && found.passed == 0;
        self.empty_at = empty.then_some((snapshot, found.next_due_us));
        Ok(found)
    }

    /// Walks from `start` to the end, or of one class; returns the class to go on with when it met a job
    /// that is not due, behind which no other of its class is.
    fn walk(
        &mut self,
        look: &Look<'_>,
        start: Place,
        only: Option<u8>,
        found: &mut Found,
    ) -> ClaimOutcome<Option<u8>> {
        let first = if only.is_some() { start.key() } else { vec![b'q', start.class] };
        let end = match only {
            Some(class) if class < u8::MAX => vec![b'q', class + 1],
            _ => vec![b'q' + 1],
        };
        let range = KeyRange { start: Bound::Included(first), end: Bound::Excluded(end) };
        let mut class_before = None;
        for row in look.tx.scan(look.table, range)? {
            let place = Place::decode(look.table, &row?.0)?;
            if class_before != Some(place.class) {
                self.starts.insert(place.class, place);
                class_before = Some(place.class);
            }
            self.open.remove(&place);
            if look.now_us < place.due {
                let next = found.next_due_us.map_or(place.due, |next| next.min(place.due));
                found.next_due_us = Some(next);
                return Ok(place.class.checked_add(1));
            }
            if self.busy.contains(&place.job) || look.lost.contains(&place.job) {
                found.passed += 1;
                continue;
            }
            found.due.push(place);
            if found.due.len() == look.count_max {
                break;
            }
        }
        Ok(None)
    }

    /// Moves the starts back to open jobs that are there by now.
    fn find_open(&mut self, look: &Look<'_>) -> ClaimOutcome<()> {
        let hidden = |place: &&Place| self.starts.get(&place.class).is_none_or(|at| *place < at);
        let hidden: Vec<Place> = self.open.iter().filter(hidden).copied().collect();
        for place in hidden {
            if look.tx.get(look.table, &place.key())?.is_some() {
                self.open.remove(&place);
                self.lower(place);
            }
        }
        Ok(())
    }

    /// A job was put at `place` in a transaction that may commit one day.
    pub fn open(&mut self, place: Place) {
        if OPEN_MAX <= self.open.len() {
            self.open.clear();
            self.whole_at_us = 0;
        }
        self.open.insert(place);
    }

    /// A job was committed at `place`: looks must not begin behind it.
    pub fn lower(&mut self, place: Place) {
        self.starts
            .entry(place.class)
            .and_modify(|start| *start = place.min(*start))
            .or_insert(place);
    }
}
