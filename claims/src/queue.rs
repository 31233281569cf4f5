//! A queue of jobs that are claimed, renewed, released and acknowledged.
//!
//! ```text
//!               enqueue
//!                  │          claim (a new fencing number)
//!                  ▼      ┌────────────────────────────────┐
//!               ready ────┘            ┌── renew           ▼       ack, complete
//!                 ▲ ▲                  └────────────▶  claimed ─────────────────▶ gone
//!                 │ └── release, give_back ────────────  │ │ ▲
//!          revive │                                      │ └─┘ claim, once the lease ran out
//!                 └─────────── dead ◀────────────────────┘
//!                                 release or claim after `attempts_max` attempts
//! ```
//!
//! **Order.** Urgent jobs first ([`JobOptions::priority`]); among equals the one that became due first: when
//! it was enqueued, when its delay ended, when its lease ran out. Claims made one after the other follow this
//! order. Claims made at the same time get different jobs from the front of it. No job is ever passed over
//! for good, except that urgent ones come before all others.
//!
//! **Cost.** A claim looks at the front of the order and writes three rows; claimed and delayed jobs behind
//! the present moment are never walked over. Claimers that share one manager, or its clones, do not get
//! into each other's way. Open a queue once, then, and clone it: managers opened separately meet in conflicts,
//! which are tried again, and may notice each other's jobs late, by sixteen times as long as one look at
//! the whole queue takes.

use crate::config::{CLAIM_BATCH_MAX, LeaseConfig, WHY_BYTES_MAX, bound, check_owner};
use crate::error::ClaimOutcome;
use crate::front::{Found, Front, Look};
use crate::home::Home;
use crate::record::{self, CLAIMED, DEAD, JobId, JobRow, Place, READY};
use crate::stats::ClaimStats;
use crate::token::{ClaimResult, ClaimToken, Thing, fence};
use parking_lot::Mutex;
use sochdb_encoding::codec::Wire;
use sochdb_kernel::limits::RUN_ATTEMPTS_MAX;
use sochdb_kernel::{Clock, Kernel, KernelError, KeyRange, Slice, Transaction};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a job is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobOptions {
    /// Nobody may claim it for so long, in microseconds.
    pub delay_us: u64,
    /// Greater is more urgent; 0 is usual.
    pub priority: i8,
}

/// What state a job is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Nobody holds it.
    Ready,
    /// Somebody claimed it, and nobody has taken it over since.
    Claimed,
    /// It was put aside after too many attempts.
    Dead,
}

/// A job as it is in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// Its priority.
    pub priority: i8,
    /// When it may be claimed; while claimed, when its lease ends. Microseconds since 1970.
    pub due_us: u64,
    /// When it was enqueued, in microseconds since 1970.
    pub enqueued_us: u64,
    /// How often it was claimed.
    pub attempts: u32,
    /// The newest claim's fencing number, 0 before the first.
    pub fence: u64,
    /// Who claimed it last; empty before the first claim.
    pub owner: String,
    /// Why it was released or died, in the words of whoever did it.
    pub why: String,
    /// What is to be done.
    pub payload: Slice,
}

/// What became of a job that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It may be claimed again from this moment on, in microseconds since 1970.
    Due {
        /// When.
        at_us: u64,
    },
    /// It had its last attempt and was put aside.
    Dead,
}

/// A queue of jobs in a table of its own. Cheap to clone; clones share one queue, from any thread.
#[derive(Clone)]
pub struct AtomicClaimManager {
    inner: Arc<Inner>,
}

struct Inner {
    home: Home,
    front: Mutex<Front>,
    /// Numbers jobs within transactions.
    next_number: AtomicU32,
}

/// Jobs that are being claimed at this moment; dropping it says that this is over.
struct Busy<'a> {
    front: &'a Mutex<Front>,
    places: Vec<Place>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut front = self.front.lock();
        for place in &self.places {
            front.busy.remove(&place.job);
        }
    }
}

impl AtomicClaimManager {
    /// Opens the queue in `table`, which is made if it is not there. Open a queue once and clone it.
    ///
    /// `clock` is the one in the database's environment, or any other that all claimers share.
    ///
    /// # Errors
    /// `Invalid` when the table holds something else or `config` claims nothing, or what the kernel says.
    pub fn open(
        kernel: &Kernel,
        clock: Arc<dyn Clock>,
        table: &str,
        config: LeaseConfig,
    ) -> ClaimOutcome<AtomicClaimManager> {
        let home = Home::open(kernel, clock, table, record::QUEUE, config)?;
        let inner = Inner { home, front: Mutex::default(), next_number: AtomicU32::new(0) };
        Ok(AtomicClaimManager { inner: Arc::new(inner) })
    }

    /// Puts a job into the queue.
    ///
    /// # Errors
    /// `Limit` when the payload is too large for a value, or what the commit returns.
    pub fn enqueue(&self, payload: &[u8], options: JobOptions) -> ClaimOutcome<JobId> {
        let (id, place) = self.home().run(|tx| self.put_new(tx, payload, options))?;
        self.front().lower(place);
        self.home().counts.enqueued.add(1);
        Ok(id)
    }

    /// Puts a job into the queue when the caller's transaction commits.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); `Invalid` when the transaction cannot write.
    pub fn enqueue_in(
        &self,
        tx: &mut Transaction,
        payload: &[u8],
        options: JobOptions,
    ) -> ClaimOutcome<JobId> {
        let (id, place) = self.put_new(tx, payload, options)?;
        self.front().open(place);
        Ok(id)
    }

    fn put_new(
        &self,
        tx: &mut Transaction,
        payload: &[u8],
        options: JobOptions,
    ) -> ClaimOutcome<(JobId, Place)> {
        let table = self.table();
        let now = self.now_us();
        let id = loop {
            let number = self.inner.next_number.fetch_add(1, Ordering::Relaxed);
            let id = JobId { transaction: tx.id().0, number };
            // Another manager of this table may have taken part in the same transaction.
            if tx.get(table, &id.key(b'j'))?.is_none() {
                break id;
            }
        };
        let class = (127 - i16::from(options.priority)) as u8;
        let row = JobRow::new(class, now.saturating_add(options.delay_us), now);
        tx.put(table, &id.key(b'p'), payload)?;
        self.put_row(tx, id, &row)?;
        Ok((id, row.place(id)))
    }

    /// Claims the first job that is due, for as long as the configuration says.
    ///
    /// # Errors
    /// As [`claim_many`](Self::claim_many).
    pub fn claim(&self, owner: &str) -> ClaimOutcome<ClaimResult> {
        self.claim_for(owner, self.home().config.lease_us)
    }

    /// Claims the first job that is due, for `lease_us` microseconds.
    ///
    /// # Errors
    /// As [`claim_many`](Self::claim_many).
    pub fn claim_for(&self, owner: &str, lease_us: u64) -> ClaimOutcome<ClaimResult> {
        let (mut tokens, next_due_us) = self.grant(owner, lease_us, 1)?;
        Ok(tokens.pop().map_or(ClaimResult::Empty { next_due_us }, ClaimResult::Claimed))
    }

    /// Claims up to `count_max` jobs that are due, at once: one sync for all of them.
    ///
    /// A job whose last permitted attempt ended with its lease is put aside as dead on the way.
    ///
    /// # Errors
    /// `Invalid` for an empty owner, `Limit` for a long one or for more than [`CLAIM_BATCH_MAX`] jobs, or
    /// what the commit returns.
    pub fn claim_many(&self, owner: &str, count_max: usize) -> ClaimOutcome<Vec<ClaimToken>> {
        Ok(self.grant(owner, self.home().config.lease_us, count_max)?.0)
    }

    fn grant(
        &self,
        owner: &str,
        lease_us: u64,
        count_max: usize,
    ) -> ClaimOutcome<(Vec<ClaimToken>, Option<u64>)> {
        check_owner(owner)?;
        bound("jobs claimed at once", count_max, CLAIM_BATCH_MAX)?;
        let mut lost = HashSet::new();
        let mut attempt = 1;
        loop {
            match self.try_grant(owner, lease_us, count_max, &mut lost) {
                // Only dead jobs were met: look further.
                Ok(Granted { tokens, died: 1.., .. }) if tokens.is_empty() => {}
                Ok(granted) => return Ok((granted.tokens, granted.next_due_us)),
                Err(error) if error.is_retryable() && attempt < RUN_ATTEMPTS_MAX => {
                    self.home().counts.conflicts.add(1);
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn try_grant(
        &self,
        owner: &str,
        lease_us: u64,
        count_max: usize,
        lost: &mut HashSet<JobId>,
    ) -> ClaimOutcome<Granted> {
        let home = self.home();
        let (mut tx, now, found, busy) = {
            let mut front = self.front();
            // Begun under the lock: what others claimed is either in the snapshot or still busy.
            let tx = home.kernel.begin_with(home.options())?;
            let now = self.now_us();
            let look = Look { tx: &tx, table: self.table(), now_us: now, count_max, lost };
            let found = front.look(&look, &*home.clock)?;
            front.busy.extend(found.due.iter().map(|place| place.job));
            let busy = Busy { front: &self.inner.front, places: found.due.clone() };
            (tx, now, found, busy)
        };
        let Found { due, next_due_us, .. } = found;
        if due.is_empty() {
            return Ok(Granted { tokens: Vec::new(), died: 0, next_due_us });
        }
        let (mut tokens, mut places, mut died, mut takeovers) = (Vec::new(), Vec::new(), 0, 0);
        for place in &due {
            let row = self.row_at(&tx, *place)?;
            if home.config.attempts_max <= row.attempts {
                let why = format!("claimed {} times and never acknowledged", row.attempts);
                self.bury(&mut tx, place.job, &row, why)?;
                died += 1;
                continue;
            }
            takeovers += u64::from(row.state == CLAIMED);
            let payload = tx.get(self.table(), &place.job.key(b'p'))?.ok_or_else(|| {
                record::corrupt(self.table(), "a payload", format!("none of job {}", place.job))
            })?;
            let token = ClaimToken {
                table: home.table.clone(),
                thing: Thing::Job(place.job),
                fence: fence(tx.id(), tokens.len()),
                owner: owner.to_owned(),
                until_us: now.saturating_add(lease_us),
                attempt: row.attempts + 1,
                payload,
            };
            assert!(row.fence < token.fence, "fencing number {} after {}", token.fence, row.fence);
            let claimed = JobRow {
                state: CLAIMED,
                due: token.until_us,
                fence: token.fence,
                attempts: token.attempt,
                owner: token.owner.clone(),
                ..row.clone()
            };
            self.replace(&mut tx, place.job, &row, &claimed)?;
            places.push(claimed.place(place.job));
            tokens.push(token);
        }
        if let Err(error) = tx.commit() {
            if error.is_retryable() {
                lost.extend(due.iter().map(|place| place.job));
            }
            return Err(error.into());
        }
        drop(busy);
        places.into_iter().for_each(|place| self.front().lower(place));
        home.counts.granted.add(tokens.len() as u64);
        home.counts.takeovers.add(takeovers);
        home.counts.died.add(died);
        Ok(Granted { tokens, died, next_due_us })
    }

    /// Keeps the claim for `lease_us` microseconds from now; the token then says until when.
    ///
    /// # Errors
    /// `Stale` when the job was taken over, acknowledged or cancelled, or what the commit returns.
    pub fn renew(&self, token: &mut ClaimToken, lease_us: u64) -> ClaimOutcome<()> {
        let place = self.home().run(|tx| {
            let (id, row) = self.held(tx, token)?;
            let renewed = JobRow { due: self.now_us().saturating_add(lease_us), ..row.clone() };
            self.replace(tx, id, &row, &renewed)?;
            Ok(renewed.place(id))
        })?;
        self.front().lower(place);
        token.until_us = place.due;
        self.home().counts.renewed.add(1);
        Ok(())
    }

    /// Gives the job back after a failure, to be claimed again after `delay_us` microseconds; `why` is kept
    /// with it. A job that had its last attempt is put aside as dead.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn release(&self, token: &ClaimToken, delay_us: u64, why: &str) -> ClaimOutcome<Released> {
        let home = self.home();
        let (released, place) = home.run(|tx| {
            let (id, row) = self.held(tx, token)?;
            if home.config.attempts_max <= row.attempts {
                self.bury(tx, id, &row, why.to_owned())?;
                return Ok((Released::Dead, None));
            }
            let due = self.now_us().saturating_add(delay_us);
            let row_now = JobRow { state: READY, due, why: cut(why), ..row.clone() };
            self.replace(tx, id, &row, &row_now)?;
            Ok((Released::Due { at_us: due }, Some(row_now.place(id))))
        })?;
        home.counts.died.add(u64::from(place.is_none()));
        place.inspect(|&place| self.front().lower(place));
        home.counts.released.add(1);
        Ok(released)
    }

    /// Gives the job back untouched, as when a worker shuts down: the attempt does not count, and the job
    /// may be claimed at once, before those that were enqueued after it.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn give_back(&self, token: &ClaimToken) -> ClaimOutcome<()> {
        let place = self.home().run(|tx| {
            let (id, row) = self.held(tx, token)?;
            let attempts = row.attempts.saturating_sub(1);
            let due = row.enqueued.min(self.now_us());
            let row_now = JobRow { state: READY, due, attempts, ..row.clone() };
            self.replace(tx, id, &row, &row_now)?;
            Ok(row_now.place(id))
        })?;
        self.front().lower(place);
        self.home().counts.released.add(1);
        Ok(())
    }

    /// The job is done: removes it.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn ack(&self, token: &ClaimToken) -> ClaimOutcome<()> {
        self.complete(token, |_| Ok(()))
    }

    /// Does the job's work inside the database and acknowledges it, in one transaction: both happen or
    /// neither does, however often the job is tried and whoever takes it over. After a conflict `work` runs
    /// again.
    ///
    /// # Errors
    /// As [`renew`](Self::renew), and what `work` returns.
    pub fn complete<T>(
        &self,
        token: &ClaimToken,
        mut work: impl FnMut(&mut Transaction) -> ClaimOutcome<T>,
    ) -> ClaimOutcome<T> {
        let value = self.home().run(|tx| {
            self.ack_in(tx, token)?;
            work(tx)
        })?;
        self.home().counts.acked.add(1);
        Ok(value)
    }

    /// The job is done when the caller's transaction commits, and only if the claim is still good then: a
    /// takeover in between makes that commit a `Conflict`.
    ///
    /// # Errors
    /// `Stale` as for [`renew`](Self::renew), as this transaction's snapshot sees it; `Invalid` in a
    /// transaction that cannot write or that reads what is merely committed.
    pub fn ack_in(&self, tx: &mut Transaction, token: &ClaimToken) -> ClaimOutcome<()> {
        let (id, row) = self.held(tx, token)?;
        self.erase(tx, id, &row)
    }

    /// Lets the caller's transaction commit only if the claim is still good then: what a long job calls
    /// when it saves how far it is.
    ///
    /// # Errors
    /// As [`ack_in`](Self::ack_in).
    pub fn guard_in(&self, tx: &mut Transaction, token: &ClaimToken) -> ClaimOutcome<()> {
        let (id, row) = self.held(tx, token)?;
        Ok(tx.put(self.table(), &id.key(b'j'), &row.to_wire())?)
    }

    /// Removes a job whoever holds it, and says whether it was there. Its owner's token is stale from then
    /// on.
    ///
    /// # Errors
    /// What the commit returns.
    pub fn cancel(&self, id: JobId) -> ClaimOutcome<bool> {
        self.home().run(|tx| {
            let Some(row) = self.row(tx, id)? else { return Ok(false) };
            self.erase(tx, id, &row)?;
            Ok(true)
        })
    }

    /// Puts a dead job back into the queue, due now and with no attempts counted. Says whether there was
    /// such a job.
    ///
    /// # Errors
    /// What the commit returns.
    pub fn revive(&self, id: JobId) -> ClaimOutcome<bool> {
        let place = self.home().run(|tx| {
            let row = self.row(tx, id)?.filter(|row| row.state == DEAD);
            let Some(row) = row else { return Ok(None) };
            tx.delete(self.table(), &id.key(b'x'))?;
            let row = JobRow { state: READY, due: self.now_us(), attempts: 0, ..row };
            self.put_row(tx, id, &row)?;
            Ok(Some(row.place(id)))
        })?;
        place.inspect(|&place| self.front().lower(place));
        Ok(place.is_some())
    }

    /// The job of this number, unless it was acknowledged or cancelled.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn job(&self, id: JobId) -> ClaimOutcome<Option<Job>> {
        let tx = self.home().kernel.begin_read()?;
        self.row(&tx, id)?.map(|row| self.describe(&tx, id, row)).transpose()
    }

    /// The first `count_max` dead jobs, oldest first.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dead_jobs(&self, count_max: usize) -> ClaimOutcome<Vec<Job>> {
        let tx = self.home().kernel.begin_read()?;
        let mut jobs = Vec::new();
        for row in tx.scan(self.table(), KeyRange::prefix(b"x"))?.take(count_max) {
            let (key, _) = row?;
            let id = key[1..].try_into().map(JobId::from_bytes).map_err(|_| {
                record::corrupt(self.table(), "a dead job's key", format!("{key:02x?}"))
            })?;
            let row = self.row(&tx, id)?.ok_or_else(|| {
                record::corrupt(self.table(), "a dead job", format!("no job {id}"))
            })?;
            jobs.push(self.describe(&tx, id, row)?);
        }
        Ok(jobs)
    }

    /// Counts the queue. Reads its whole index, so the time grows with the queue.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stats(&self) -> ClaimOutcome<ClaimStats> {
        let tx = self.home().kernel.begin_read()?;
        let now = self.now_us();
        let mut stats = self.home().counts.totals();
        for row in tx.scan(self.table(), KeyRange::prefix(b"q"))? {
            let (key, state) = row?;
            let due = Place::decode(self.table(), &key)?.due <= now;
            let gauge = match (&*state == [CLAIMED].as_slice(), due) {
                (false, true) => &mut stats.ready,
                (false, false) => &mut stats.delayed,
                (true, false) => &mut stats.claimed,
                (true, true) => &mut stats.expired,
            };
            *gauge += 1;
        }
        for row in tx.scan(self.table(), KeyRange::prefix(b"x"))? {
            row?;
            stats.dead += 1;
        }
        Ok(stats)
    }

    fn home(&self) -> &Home {
        &self.inner.home
    }

    fn front(&self) -> parking_lot::MutexGuard<'_, Front> {
        self.inner.front.lock()
    }

    fn table(&self) -> &str {
        &self.inner.home.table
    }

    fn now_us(&self) -> u64 {
        self.inner.home.clock.unix_us()
    }

    fn row(&self, tx: &Transaction, id: JobId) -> ClaimOutcome<Option<JobRow>> {
        let row = tx.get(self.table(), &id.key(b'j'))?;
        Ok(row.map(|row| JobRow::decode(self.table(), &row)).transpose()?)
    }

    /// The row of a job that the index has at `place`.
    fn row_at(&self, tx: &Transaction, place: Place) -> ClaimOutcome<JobRow> {
        match self.row(tx, place.job)? {
            Some(row) if row.state != DEAD && row.place(place.job) == place => Ok(row),
            other => {
                let expected = format!("a job at {place:?}");
                Err(record::corrupt(self.table(), &expected, format!("{other:?}")).into())
            }
        }
    }

    /// The job that `token` claims, if it still does.
    fn held(&self, tx: &Transaction, token: &ClaimToken) -> ClaimOutcome<(JobId, JobRow)> {
        self.home().check(tx, token)?;
        let Thing::Job(id) = token.thing else {
            return Err(KernelError::invalid("a queue was shown the claim of a name").into());
        };
        match self.row(tx, id)? {
            Some(row) if row.state == CLAIMED && row.fence == token.fence => Ok((id, row)),
            other => self.home().stale(
                token,
                match other {
                    None => "it was acknowledged or cancelled".to_owned(),
                    Some(row) if row.fence == token.fence => "it was given back".to_owned(),
                    Some(row) => format!("'{}' claimed it under {}", row.owner, row.fence),
                },
            ),
        }
    }

    /// Writes the rows `j` and, unless it is dead, `q`.
    fn put_row(&self, tx: &mut Transaction, id: JobId, row: &JobRow) -> ClaimOutcome<()> {
        if row.state != DEAD {
            tx.put(self.table(), &row.place(id).key(), &[row.state])?;
        }
        Ok(tx.put(self.table(), &id.key(b'j'), &row.to_wire())?)
    }

    fn replace(
        &self,
        tx: &mut Transaction,
        id: JobId,
        old: &JobRow,
        new: &JobRow,
    ) -> ClaimOutcome<()> {
        tx.delete(self.table(), &old.place(id).key())?;
        self.put_row(tx, id, new)
    }

    fn bury(&self, tx: &mut Transaction, id: JobId, row: &JobRow, why: String) -> ClaimOutcome<()> {
        let dead = JobRow { state: DEAD, why: cut(&why), ..row.clone() };
        self.replace(tx, id, row, &dead)?;
        Ok(tx.put(self.table(), &id.key(b'x'), b"")?)
    }

    fn erase(&self, tx: &mut Transaction, id: JobId, row: &JobRow) -> ClaimOutcome<()> {
        let other = if row.state == DEAD { id.key(b'x') } else { row.place(id).key() };
        for key in [id.key(b'j'), id.key(b'p'), other] {
            tx.delete(self.table(), &key)?;
        }
        Ok(())
    }

    fn describe(&self, tx: &Transaction, id: JobId, row: JobRow) -> ClaimOutcome<Job> {
        let payload = tx.get(self.table(), &id.key(b'p'))?.ok_or_else(|| {
            record::corrupt(self.table(), "a payload", format!("none of job {id}"))
        })?;
        let state = match row.state {
            READY => JobState::Ready,
            CLAIMED => JobState::Claimed,
            _ => JobState::Dead,
        };
        Ok(Job {
            id,
            state,
            priority: (127 - i16::from(row.class)) as i8,
            due_us: row.due,
            enqueued_us: row.enqueued,
            attempts: row.attempts,
            fence: row.fence,
            owner: row.owner,
            why: row.why,
            payload,
        })
    }
}

struct Granted {
    tokens: Vec<ClaimToken>,
    died: u64,
    next_due_us: Option<u64>,
}

/// The beginning of `why` that fits.
fn cut(why: &str) -> String {
    why[..why.floor_char_boundary(WHY_BYTES_MAX)].to_owned()
}
