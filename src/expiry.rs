//! Deletes rows whose time is over, as the settings of their table say ([`Ttl`]).
//!
//! A sweep goes through the tables that have such settings, in bounded steps: look at some rows of a snapshot,
//! then delete those that have expired in a transaction that looks at each once more. So a row that was
//! written anew in between stays, and the deletes of one step are one ordinary commit. In a tenant's table they
//! are the tenant's.
//!
//! The background thread does one step a tick. After opening and between two sweeps it rests for [`REST_MIN`], and for
//! [`REST_FACTOR`] times as long as the sweep took, so large tables do not cost more than a tenth of a core.

use parking_lot::Mutex;
use sochdb_host_abi::policy::HOST_TABLES;
use sochdb_host_abi::{Programs, Tenant, Tenants, Transaction};
use sochdb_kernel::{
    Clock, ErrorKind, Kernel, KernelError, KernelResult, KeyRange, TableInfo, TransactionOptions,
};
use sochdb_operations::{Expired, Ttl, expired};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Rows that one step deletes, and rows that it looks at.
const STEP_KEYS: usize = 1_000;
const STEP_ROWS: usize = 8_192;
/// Batches of columns that one step looks at.
const STEP_BATCHES: usize = 8;
/// The least time between two sweeps, in microseconds.
const REST_MIN: u64 = 5_000_000;
/// How much longer a rest is than the sweep before it.
const REST_FACTOR: u64 = 9;

/// Sweeps one database.
pub(crate) struct Expiry {
    kernel: Kernel,
    programs: Arc<Programs>,
    tenants: Tenants,
    clock: Arc<dyn Clock>,
    sweep: Mutex<Sweep>,
}

/// How far the background thread is.
#[derive(Default)]
struct Sweep {
    /// Tables to go through, the present one first.
    tables: VecDeque<String>,
    /// The last key of the present table that was looked at.
    after: Option<Vec<u8>>,
    /// Microseconds of the clock that its steps took so far.
    took_us: u64,
    /// When the next sweep may begin.
    rest_until_us: u64,
}

impl Expiry {
    /// By this clock.
    pub(crate) fn new(
        kernel: Kernel,
        programs: Arc<Programs>,
        tenants: Tenants,
        clock: Arc<dyn Clock>,
    ) -> Expiry {
        // Whoever opens the database for a moment does not wait for a sweep, nor race with one.
        let rest_until_us = clock.monotonic_us() + REST_MIN;
        let sweep = Mutex::new(Sweep { rest_until_us, ..Sweep::default() });
        Expiry { kernel, programs, tenants, clock, sweep }
    }

    /// One step of the background thread. Trouble with one table is logged, and leaves the others alone.
    pub(crate) fn step(&self) {
        let mut sweep = self.sweep.lock();
        let began = self.clock.monotonic_us();
        if sweep.tables.is_empty() {
            if began < sweep.rest_until_us {
                return;
            }
            match self.tables() {
                Ok(tables) => sweep.tables = tables.into_iter().map(|table| table.name).collect(),
                Err(error) => tracing::warn!(%error, "nothing expires: no list of tables"),
            }
        }
        if let Some(name) = sweep.tables.front().cloned() {
            let now_us = i64::try_from(self.clock.unix_us()).unwrap_or(i64::MAX);
            sweep.after = match self.expire(&name, now_us, sweep.after.as_deref()) {
                Ok((_, after)) => after,
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => {
                    tracing::warn!(table = name, %error, "expired rows stay; it is tried again");
                    None
                }
            };
            if sweep.after.is_none() {
                sweep.tables.pop_front();
            }
        }
        let ended = self.clock.monotonic_us();
        sweep.took_us += ended - began;
        if sweep.tables.is_empty() {
            sweep.rest_until_us = ended + REST_MIN.max(REST_FACTOR * sweep.took_us);
            sweep.took_us = 0;
        }
    }

    /// Everything that has expired, in all tables.
    pub(crate) fn sweep(&self, now_us: i64) -> KernelResult<u64> {
        let tables = self.tables()?.into_iter();
        tables.map(|table| self.sweep_table(&table.name, now_us)).sum()
    }

    /// Everything that has expired in one table.
    pub(crate) fn sweep_table(&self, name: &str, now_us: i64) -> KernelResult<u64> {
        if Ttl::of(&self.kernel.begin_read()?.table(name)?.options)?.is_none() {
            let text = format!("the settings of table '{name}' do not say how long its rows live");
            return Err(KernelError::Invalid(text));
        }
        let (mut deleted, mut after) = (0, None);
        loop {
            let (count, left) = self.expire(name, now_us, after.as_deref())?;
            deleted += count;
            after = left;
            if after.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// The tables whose rows do not live for ever.
    fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        let mut tables = self.kernel.begin_read()?.tables()?;
        let expires = |table: &TableInfo| !matches!(Ttl::of(&table.options), Ok(None));
        tables.retain(|table| expires(table) && !table.name.starts_with(HOST_TABLES));
        Ok(tables)
    }

    /// Deletes some of what has expired in the table `name` behind the key `after`. Returns how many rows, and
    /// where to go on.
    fn expire(
        &self,
        name: &str,
        now_us: i64,
        after: Option<&[u8]>,
    ) -> KernelResult<(u64, Option<Vec<u8>>)> {
        let (tenant, name) = self.owner(name);
        let begin =
            |options| Transaction::begin(&self.kernel, &self.programs, tenant.as_ref(), options);
        let read = begin(TransactionOptions { read_only: true, ..Default::default() })?;
        let Some(ttl) = Ttl::of(&read.table(name)?.options)? else { return Ok((0, None)) };
        let found = match read.table(name)?.options.storage {
            None => expired(&read, name, &ttl, now_us, after, (STEP_KEYS, STEP_ROWS))?,
            Some(_) => expired_columns(&read, name, &ttl, now_us, after)?,
        };
        drop(read);
        if found.keys.is_empty() {
            return Ok((0, found.through));
        }
        let options = TransactionOptions::default();
        let delete = |tx: &mut Transaction| {
            let Some(ttl) = Ttl::of(&tx.table(name)?.options)? else { return Ok(0) };
            let mut keys = Vec::with_capacity(found.keys.len());
            for key in &found.keys {
                let value = tx.get(name, key)?;
                if let Some(value) = value
                    && ttl.is_over(key, &value, now_us)?
                {
                    keys.push(key.clone());
                }
            }
            tx.delete_all(name, &keys)
        };
        let deleted =
            Transaction::run(&self.kernel, &self.programs, tenant.as_ref(), options, delete)?;
        Ok((deleted, found.through))
    }

    /// Whose table it is, and what it is called there. Only who is known has hooks and quotas of its own.
    fn owner<'a>(&self, name: &'a str) -> (Option<Arc<Tenant>>, &'a str) {
        let tenant =
            name.split_once('/').and_then(|(owner, own)| Some((self.tenants.get(owner)?, own)));
        tenant.map_or((None, name), |(tenant, own)| (Some(tenant), own))
    }
}

/// Some expired rows of a table in a storage plugin, behind the key `after`: the plugin looks at the column, and
/// leaves out where it knows that nothing has expired.
fn expired_columns(
    read: &Transaction,
    name: &str,
    ttl: &Ttl,
    now_us: i64,
    after: Option<&[u8]>,
) -> KernelResult<Expired> {
    let schema = ttl.schema();
    let key = schema.key.iter().map(|position| schema.columns[*position].name.as_str());
    let key: Vec<_> = key.collect();
    let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
    let range = KeyRange { start, end: Bound::Unbounded };
    let mut found = Expired::default();
    let scan = read.scan_columns(name, range, &key, vec![ttl.condition(now_us)?])?;
    for batch in scan.take(STEP_BATCHES) {
        let batch = batch?;
        let count = batch.rows().min(STEP_KEYS - found.keys.len());
        for row in 0..count {
            let values: Vec<_> = (0..key.len()).map(|index| batch.value(index, row)).collect();
            found.keys.push(schema.encode_key_values(&values)?);
        }
        found.rows += count;
        found.through = match count < batch.rows() || found.keys.len() == STEP_KEYS {
            true => found.keys.last().cloned(),
            false => batch.through().map(<[u8]>::to_vec),
        };
        if found.keys.len() == STEP_KEYS {
            break;
        }
    }
    Ok(found)
}
