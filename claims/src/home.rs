//! The table that claims live in, and the transactions that change it.
//!
//! Snapshot isolation is enough for claims: every act on a thing reads that thing's own row and writes it,
//! so of two acts that did not see each other the second to commit is a conflict and runs again. A
//! transaction that reads what is merely committed never conflicts and is therefore refused.

use crate::config::LeaseConfig;
use crate::error::{ClaimError, ClaimOutcome};
use crate::record::{self, META_KEY};
use crate::stats::Counts;
use crate::token::ClaimToken;
use sochdb_kernel::{
    Clock, ErrorKind, IsolationLevel, Kernel, KernelError, KernelResult, TableOptions, Transaction,
    TransactionOptions,
};
use std::sync::Arc;

/// What the managers of queues and leases have in common.
pub(crate) struct Home {
    pub kernel: Kernel,
    pub clock: Arc<dyn Clock>,
    pub table: Arc<str>,
    pub config: LeaseConfig,
    pub counts: Counts,
}

impl Home {
    /// The table `table`, made if need be; `kind` says what it holds.
    pub fn open(
        kernel: &Kernel,
        clock: Arc<dyn Clock>,
        table: &str,
        kind: u8,
        config: LeaseConfig,
    ) -> ClaimOutcome<Home> {
        config.check()?;
        let (kernel, counts) = (kernel.clone(), Counts::default());
        let home = Home { kernel, clock, table: table.into(), config, counts };
        home.run(|tx| match tx.table(table) {
            Ok(_) => Ok(record::check_meta(table, tx.get(table, META_KEY)?.as_deref(), kind)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tx.create_table(table, TableOptions::default())?;
                Ok(tx.put(table, META_KEY, &record::meta(kind))?)
            }
            Err(error) => Err(error.into()),
        })?;
        Ok(home)
    }

    pub fn options(&self) -> TransactionOptions {
        let durability = Some(self.config.durability);
        TransactionOptions { durability, ..TransactionOptions::default() }
    }

    /// Runs `f` in a transaction and commits it; after a conflict, both again.
    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> ClaimOutcome<T>) -> ClaimOutcome<T> {
        let result = run(&self.kernel, self.options(), f, || self.counts.conflicts.add(1));
        self.counts.stale.add(u64::from(matches!(&result, Err(error) if error.is_stale())));
        result
    }

    /// `Stale`: the token's claim is lost, and `now` says what became of it.
    pub fn stale<T>(&self, token: &ClaimToken, now: String) -> ClaimOutcome<T> {
        let what = format!("{} of '{}'", token.thing, self.table);
        Err(ClaimError::Stale { what, fence: token.fence, now })
    }

    /// Refuses tokens of another table and transactions that never conflict.
    pub fn check(&self, tx: &Transaction, token: &ClaimToken) -> ClaimOutcome<()> {
        check_isolation(tx)?;
        if token.table != self.table {
            let text = format!("a claim on '{}' was shown to '{}'", token.table, self.table);
            return Err(KernelError::Invalid(text).into());
        }
        Ok(())
    }
}

/// Refuses a transaction whose commit would not notice that a row it wrote was changed meanwhile.
pub(crate) fn check_isolation(tx: &Transaction) -> KernelResult<()> {
    match tx.options().isolation {
        IsolationLevel::ReadCommitted => Err(KernelError::invalid(
            "a transaction that reads what is merely committed cannot act on a claim, for it never \
             conflicts; begin one under snapshot isolation",
        )),
        _ => Ok(()),
    }
}

/// Runs `f` in a transaction and commits it; after a conflict calls `conflicted` and does both again.
pub(crate) fn run<T>(
    kernel: &Kernel,
    options: TransactionOptions,
    mut f: impl FnMut(&mut Transaction) -> ClaimOutcome<T>,
    conflicted: impl Fn(),
) -> ClaimOutcome<T> {
    let (mut attempt, mut stale) = (0, None);
    let result = kernel.run_with(options, |tx| {
        attempt += 1;
        if 1 < attempt {
            conflicted();
        }
        f(tx).map_err(|error| match error {
            ClaimError::Kernel(error) => error,
            lost => {
                // Comes back out below; until then it must be an error that ends the attempts.
                stale = Some(lost);
                KernelError::Closed("the claim was lost".to_owned())
            }
        })
    });
    result.map_err(|error| stale.unwrap_or(ClaimError::Kernel(error)))
}
