//! Names that one owner at a time may hold: leadership, a migration, a customer's account.

use crate::config::{LeaseConfig, check_owner};
use crate::error::ClaimOutcome;
use crate::home::Home;
use crate::record::{self, LeaseRow};
use crate::stats::ClaimStats;
use crate::token::{ClaimResult, ClaimToken, Thing, fence};
use sochdb_encoding::codec::Wire;
use sochdb_kernel::{Clock, Kernel, KernelError, KeyRange, Slice, Transaction};
use std::sync::Arc;

/// Who holds a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The owner.
    pub owner: String,
    /// The claim's fencing number.
    pub fence: u64,
    /// Since when, in microseconds since 1970.
    pub since_us: u64,
    /// Until when nobody else may take over, in microseconds since 1970; may have passed.
    pub until_us: u64,
}

/// Leases on names, in a table of their own. Cheap to clone; clones share the table, from any thread.
///
/// ```
/// use sochdb_claims::{ClaimResult, LeaseConfig, LeaseManager};
/// # use sochdb_kernel::{Kernel, Options};
/// # fn main() -> Result<(), sochdb_claims::ClaimError> {
/// # let env = sochdb_sim::memory();
/// # let clock = env.clock.clone();
/// # let kernel = Kernel::open(env, Options::default())?;
/// let leases = LeaseManager::open(&kernel, clock, "leaders", LeaseConfig::default())?;
/// let ada = leases.acquire("shard 7", "ada")?.claimed().expect("nobody holds it");
/// assert!(matches!(leases.acquire("shard 7", "bob")?, ClaimResult::Held { by, .. } if by == "ada"));
/// leases.release(&ada)?;
/// let bob = leases.acquire("shard 7", "bob")?.claimed().expect("ada let go");
/// assert!(ada.fence() < bob.fence());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LeaseManager {
    home: Arc<Home>,
}

impl LeaseManager {
    /// Opens the leases in `table`, which is made if it is not there.
    ///
    /// # Errors
    /// As [`crate::AtomicClaimManager::open`].
    pub fn open(
        kernel: &Kernel,
        clock: Arc<dyn Clock>,
        table: &str,
        config: LeaseConfig,
    ) -> ClaimOutcome<LeaseManager> {
        let home = Home::open(kernel, clock, table, record::LEASES, config)?;
        Ok(LeaseManager { home: Arc::new(home) })
    }

    /// Claims `name` for as long as the configuration says, unless somebody holds it; an owner that comes
    /// again is somebody, too.
    ///
    /// # Errors
    /// `Invalid` for an empty owner, `Limit` for a long one or a name too long for a key, or what the commit
    /// returns.
    pub fn acquire(&self, name: &str, owner: &str) -> ClaimOutcome<ClaimResult> {
        self.acquire_for(name, owner, self.home.config.lease_us)
    }

    /// Claims `name` for `lease_us` microseconds, unless somebody holds it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_for(&self, name: &str, owner: &str, lease_us: u64) -> ClaimOutcome<ClaimResult> {
        check_owner(owner)?;
        let mut takeover = false;
        let result = self.home.run(|tx| {
            let now = self.home.clock.unix_us();
            let row = self.row(tx, name)?;
            takeover = row.is_some();
            if let Some(row) = row.filter(|row| now < row.until) {
                return Ok(ClaimResult::Held { by: row.owner, until_us: row.until });
            }
            let (until, fence) = (now.saturating_add(lease_us), fence(tx.id(), 0));
            self.put(tx, name, &LeaseRow::new(until, fence, now, owner))?;
            Ok(ClaimResult::Claimed(ClaimToken {
                table: self.home.table.clone(),
                thing: Thing::Name(name.to_owned()),
                fence,
                owner: owner.to_owned(),
                until_us: until,
                attempt: 1,
                payload: Slice::from(&b""[..]),
            }))
        })?;
        if matches!(result, ClaimResult::Claimed(_)) {
            self.home.counts.granted.add(1);
            self.home.counts.takeovers.add(u64::from(takeover));
        }
        Ok(result)
    }

    /// Keeps the name for `lease_us` microseconds from now; the token then says until when.
    ///
    /// # Errors
    /// `Stale` when it was taken over or released, or what the commit returns.
    pub fn renew(&self, token: &mut ClaimToken, lease_us: u64) -> ClaimOutcome<()> {
        let until = self.home.run(|tx| {
            let (name, row) = self.held(tx, token)?;
            let until = self.home.clock.unix_us().saturating_add(lease_us);
            self.put(tx, name, &LeaseRow { until, ..row })?;
            Ok(until)
        })?;
        token.until_us = until;
        self.home.counts.renewed.add(1);
        Ok(())
    }

    /// Lets go of the name.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn release(&self, token: &ClaimToken) -> ClaimOutcome<()> {
        self.home.run(|tx| {
            let (name, _) = self.held(tx, token)?;
            Ok(tx.delete(&self.home.table, &key(name))?)
        })?;
        self.home.counts.released.add(1);
        Ok(())
    }

    /// Lets the caller's transaction commit only if the name is still held then: a takeover in between
    /// makes that commit a `Conflict`. Whatever a leader writes is fenced by this.
    ///
    /// # Errors
    /// `Stale` as for [`renew`](Self::renew), as this transaction's snapshot sees it; `Invalid` in a
    /// transaction that cannot write or that reads what is merely committed.
    pub fn guard_in(&self, tx: &mut Transaction, token: &ClaimToken) -> ClaimOutcome<()> {
        let (name, row) = self.held(tx, token)?;
        self.put(tx, name, &row)
    }

    /// Who claimed `name` last and has not released it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn holder(&self, name: &str) -> ClaimOutcome<Option<Holder>> {
        let tx = self.home.kernel.begin_read()?;
        Ok(self.row(&tx, name)?.map(|row| Holder {
            owner: row.owner,
            fence: row.fence,
            since_us: row.since,
            until_us: row.until,
        }))
    }

    /// Counts the leases: `claimed` and `expired`, and the counters that concern names. Reads all of them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stats(&self) -> ClaimOutcome<ClaimStats> {
        let tx = self.home.kernel.begin_read()?;
        let now = self.home.clock.unix_us();
        let mut stats = self.home.counts.totals();
        for row in tx.scan(&self.home.table, KeyRange::prefix(b"l"))? {
            let row = LeaseRow::decode(&self.home.table, &row?.1)?;
            *(if now < row.until { &mut stats.claimed } else { &mut stats.expired }) += 1;
        }
        Ok(stats)
    }

    fn row(&self, tx: &Transaction, name: &str) -> ClaimOutcome<Option<LeaseRow>> {
        let row = tx.get(&self.home.table, &key(name))?;
        Ok(row.map(|row| LeaseRow::decode(&self.home.table, &row)).transpose()?)
    }

    fn put(&self, tx: &mut Transaction, name: &str, row: &LeaseRow) -> ClaimOutcome<()> {
        Ok(tx.put(&self.home.table, &key(name), &row.to_wire())?)
    }

    /// The lease that `token` claims, if it still does.
    fn held<'a>(
        &self,
        tx: &Transaction,
        token: &'a ClaimToken,
    ) -> ClaimOutcome<(&'a str, LeaseRow)> {
        self.home.check(tx, token)?;
        let Thing::Name(name) = &token.thing else {
            return Err(KernelError::invalid("leases were shown the claim of a job").into());
        };
        match self.row(tx, name)? {
            Some(row) if row.fence == token.fence => Ok((name, row)),
            None => self.home.stale(token, "it was released".to_owned()),
            Some(row) => {
                self.home.stale(token, format!("'{}' claimed it under {}", row.owner, row.fence))
            }
        }
    }
}

fn key(name: &str) -> Vec<u8> {
    [b"l", name.as_bytes()].concat()
}
