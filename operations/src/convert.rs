//! Moves a table to another storage or codec while others read and write it.
//!
//! ```text
//!   snapshot ── bulk load ──▶ a hidden table      the feed of changes begins at the same commit
//!   feed ─────── in batches ─▶ the hidden table   again and again, until little is left
//!   swap: the rest of the feed, old table dropped, hidden one renamed     one transaction
//! ```
//!
//! 1. The swap is serializable and has read the whole old table. So a commit to the old table either comes
//!    before the snapshot of the swap, then the feed tells of it, or it makes the swap conflict, and the swap
//!    is tried again.
//! 2. A transaction that wrote to the old table and commits after the swap finds it dropped: a conflict, after
//!    which it runs again, on the new table.
//! 3. Whoever reads at an older snapshot reads the old table until it is done.
//! 4. Until the swap is durable the old table serves. A crash leaves the hidden table behind, which
//!    [`remove_unfinished`] drops when the database is opened.
//!
//! Writers that never rest would make the swap conflict for ever, so the caller lends a way to keep commits
//! waiting for a moment ([`Quiet`]): it makes the swap succeed, and nothing depends on it for being right.
//!
//! The rows go through no hook, as nothing happens to them. The feed of changes shows the hidden table being
//! made, written and renamed; like any bulk load, its first rows are not in the log.

use crate::changes::{Changes, changes};
use crate::progress::{Meter, OnProgress};
use sochdb_kernel::{
    Durability, ErrorKind, IsolationLevel, Kernel, KernelError, KernelResult, KeyRange, Slice,
    TableId, TableInfo, TableOptions, Timestamp, Transaction, TransactionOptions,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// How the names of hidden tables begin.
const HIDDEN: &str = "sochdb.convert.";
/// Rows and bytes of changes that one transaction applies.
const BATCH_ROWS: usize = 10_000;
const BATCH_BYTES: usize = 8 << 20;
/// With no more changes than this in a round the swap is tried: applying them takes milliseconds.
const SWAP_ROWS: u64 = 2_000;
/// Rounds after which the swap is tried though as many changes come as are applied.
const ROUNDS_MAX: usize = 32;
/// Conflicts of the swap, each caused by somebody who commits while commits should wait.
const SWAPS_MAX: usize = 1_000;
/// How often a snapshot may be too old for the log by the time the feed begins.
const BEGINNINGS_MAX: usize = 10;

/// What shall be different about a table.
///
/// ```
/// use sochdb_operations::TableChanges;
///
/// let to_columns = TableChanges::default().storage(Some("lscs")).codec(Some("zstd"));
/// let to_the_kernel = TableChanges::default().storage(None).set("ttl", "30d");
/// # assert_ne!(to_columns, to_the_kernel);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChanges {
    storage: Option<Option<String>>,
    codec: Option<Option<String>>,
    settings: BTreeMap<String, Option<String>>,
}

impl TableChanges {
    /// The storage plugin that shall keep the rows; `None` for the kernel's own tree.
    pub fn storage(mut self, storage: Option<&str>) -> TableChanges {
        self.storage = Some(storage.map(str::to_owned));
        self
    }

    /// The codec that shall compress them; `None` for none.
    pub fn codec(mut self, codec: Option<&str>) -> TableChanges {
        self.codec = Some(codec.map(str::to_owned));
        self
    }

    /// Gives the setting `name` this value.
    pub fn set(mut self, name: &str, value: &str) -> TableChanges {
        self.settings.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    /// Takes the setting `name` away.
    pub fn unset(mut self, name: &str) -> TableChanges {
        self.settings.insert(name.to_owned(), None);
        self
    }

    /// The options of a table that had `old`. The settings of an engine that it leaves stay behind; those
    /// that hold for every storage come along.
    pub fn apply(&self, old: &TableOptions) -> TableOptions {
        let mut new = old.clone();
        if let Some(storage) = &self.storage {
            if *storage != old.storage {
                new.settings.retain(|name, _| crate::expire::is_setting(name));
            }
            new.storage = storage.clone();
        }
        if let Some(codec) = &self.codec {
            new.codec = codec.clone();
        }
        for (name, value) in &self.settings {
            match value {
                Some(value) => drop(new.settings.insert(name.clone(), value.clone())),
                None => drop(new.settings.remove(name)),
            }
        }
        new
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConvertReport {
    /// Rows of the snapshot that was loaded.
    pub rows: u64,
    /// Changes made meanwhile that were applied.
    pub changes: u64,
    /// How often the swap was tried.
    pub swaps: u64,
    /// How long commits were kept waiting for it, in microseconds.
    pub pause_us: u64,
    /// How long all of it took, in microseconds.
    pub micros: u64,
}

/// Runs what it is given while nobody commits; it may give up waiting for silence and run it all the same.
pub type Quiet<'a> = &'a dyn Fn(&mut dyn FnMut() -> KernelResult<()>) -> KernelResult<()>;

/// Makes the table `name` anew with `wanted`, while others read and write it; the name and the rows stay.
/// Only one conversion of a table may run at a time. The log is kept from the beginning on until it is done.
///
/// While the snapshot is loaded, checkpoints wait, and with them commits that find memory full
/// ([`Kernel::bulk_load`]).
///
/// # Errors
/// `NotFound`; `Plugin` when the storage or codec is not loaded or fails; `Conflict` when the table is dropped
/// or renamed meanwhile, or when writers never rest and `quiet` cannot keep them waiting. The old table then
/// serves on, and nothing else is left.
pub fn convert(
    kernel: &Kernel,
    name: &str,
    wanted: &TableChanges,
    quiet: Quiet<'_>,
    progress: OnProgress<'_>,
) -> KernelResult<ConvertReport> {
    let started = Instant::now();
    let (snapshot, feed) = begin(kernel)?;
    let old = snapshot.table(name)?;
    if old.name.starts_with(HIDDEN) {
        return Err(KernelError::invalid("a hidden table is converted with the one it replaces"));
    }
    let options = wanted.apply(&old.options);
    crate::expire::Ttl::of(&options)?;
    let mut meter = Meter::new(0, progress);
    meter.begin(format!("table '{name}'"));
    let rows_total = row_count(kernel, &old)?;
    let (mut rows, mut bytes, mut expected) = (0, 0, 0);
    let scan = snapshot.scan(name, KeyRange::all())?;
    let each = scan.map(|row| {
        let (key, value) = row?;
        rows += 1;
        bytes += (key.len() + value.len()) as u64;
        // How large the rows are shows while they are read.
        let estimate = bytes / rows * rows_total.max(rows);
        if expected < estimate {
            meter.grow(estimate - expected);
            expected = estimate;
        }
        meter.add((key.len() + value.len()) as u64);
        meter.check()?;
        Ok((key, value.to_vec()))
    });
    let hidden = format!("{}/", hidden_namespace(old.id));
    let mut copy = Copy {
        kernel,
        old,
        from: snapshot.snapshot(),
        feed,
        names: ["a", "b"].map(|end| format!("{hidden}{end}")),
        report: ConvertReport::default(),
    };
    copy.report.rows = kernel.bulk_load(&copy.names[0], options, each)?;
    // Its pages may go when nobody else reads it.
    drop(snapshot);
    meter.begin("what changed meanwhile");
    let done = copy.catch_up(&mut meter).and_then(|()| copy.swap(quiet));
    if let Err(error) = done {
        // Where even this fails, the next opening does it.
        let _ = drop_tables(kernel, &hidden);
        return Err(error);
    }
    meter.end();
    copy.report.micros = micros(started);
    Ok(copy.report)
}

/// What the names of hidden tables begin with while table `id` is converted, before a `/`: a namespace like a
/// tenant's, so that a storage plugin works in instances of its own.
pub fn hidden_namespace(id: TableId) -> String {
    format!("{HIDDEN}{id}")
}

/// The name of the hidden table number `number` that a dump is loaded into, until all of it is there and it gets its
/// own. What a crash leaves behind goes as that of conversions does.
pub fn loading_table(number: u64) -> String {
    format!("{HIDDEN}load/{number}")
}

/// Drops what conversions and loads left behind that a crash ended. Called when a database was opened, before any
/// conversion begins; returns how many there were.
///
/// # Errors
/// As a commit.
pub fn remove_unfinished(kernel: &Kernel) -> KernelResult<usize> {
    drop_tables(kernel, HIDDEN)
}

fn drop_tables(kernel: &Kernel, prefix: &str) -> KernelResult<usize> {
    let tables = kernel.begin_read()?.tables()?;
    let left: Vec<_> = tables.iter().filter(|table| table.name.starts_with(prefix)).collect();
    if !left.is_empty() {
        kernel.run(|tx| left.iter().try_for_each(|table| tx.drop_table(&table.name)))?;
    }
    Ok(left.len())
}

/// A snapshot, and the feed of what is committed after it.
fn begin(kernel: &Kernel) -> KernelResult<(Transaction, Changes)> {
    let mut attempt = 1;
    loop {
        let snapshot = kernel.begin_read()?;
        match changes(kernel, snapshot.snapshot()) {
            // A checkpoint came in between.
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < BEGINNINGS_MAX => {
                attempt += 1;
            }
            feed => return feed.map(|feed| (snapshot, feed)),
        }
    }
}

/// About how many rows a table has: those of its base, of which some may be overwritten.
fn row_count(kernel: &Kernel, table: &TableInfo) -> KernelResult<u64> {
    let held = kernel.hold()?;
    Ok(held.bases.get(&table.id).map_or(0, |base| base.tree.rows.max(base.rows)))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A row as it became.
type Changed = (Vec<u8>, Option<Slice>);

/// A hidden table that becomes a table.
struct Copy<'a> {
    kernel: &'a Kernel,
    old: TableInfo,
    /// The hidden table has every commit up to here.
    from: Timestamp,
    feed: Changes,
    /// The hidden table's name now, and its name after the next [`settle`](Self::settle).
    names: [String; 2],
    report: ConvertReport,
}

impl Copy<'_> {
    /// Applies what the feed tells until it tells little.
    fn catch_up(&mut self, meter: &mut Meter<'_>) -> KernelResult<()> {
        for _ in 0..ROUNDS_MAX {
            let rows = self.round(Some(meter))?;
            if rows <= SWAP_ROWS {
                break;
            }
        }
        Ok(())
    }

    /// Makes the log durable, so that the feed tells of all that is visible: a catalog's change is synced.
    fn settle(&mut self) -> KernelResult<()> {
        let [now, next] = &self.names;
        let synced =
            TransactionOptions { durability: Some(Durability::Fsync), ..Default::default() };
        self.kernel.run_with(synced, |tx| tx.rename_table(now, next))?;
        self.names.swap(0, 1);
        Ok(())
    }

    /// Applies all that is visible now. Returns how many rows that were.
    fn round(&mut self, mut meter: Option<&mut Meter<'_>>) -> KernelResult<u64> {
        self.settle()?;
        let until = self.kernel.begin_read()?.snapshot();
        let (mut batch, mut bytes, mut rows) = (Vec::new(), 0, 0);
        while self.from < until {
            let Some(changed) = self.next_commit()? else { break };
            for (key, value) in changed {
                bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
                rows += 1;
                batch.push((key, value));
                if BATCH_ROWS <= batch.len() || BATCH_BYTES <= bytes {
                    self.apply(&mut batch)?;
                    if let Some(meter) = &mut meter {
                        meter.grow(bytes as u64);
                        meter.add(bytes as u64);
                        meter.check()?;
                    }
                    bytes = 0;
                }
            }
        }
        self.apply(&mut batch)?;
        Ok(rows)
    }

    /// The old table's rows in the next commit that the feed tells of.
    fn next_commit(&mut self) -> KernelResult<Option<Vec<Changed>>> {
        let Some(change) = self.feed.next().transpose()? else { return Ok(None) };
        self.from = change.timestamp;
        let ours = change.rows.into_iter().filter(|row| row.table == self.old.id);
        Ok(Some(ours.map(|row| (row.key, row.value)).collect()))
    }

    /// Writes rows to the hidden table. Nobody waits for the disk: the swap is synced, and behind it in the
    /// log.
    fn apply(&mut self, batch: &mut Vec<Changed>) -> KernelResult<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let options =
            TransactionOptions { durability: Some(Durability::None), ..Default::default() };
        let name = &self.names[0];
        self.kernel.run_with(options, |tx| write(tx, name, batch))?;
        self.report.changes += batch.len() as u64;
        batch.clear();
        Ok(())
    }

    /// Puts the hidden table in the place of the old one.
    fn swap(&mut self, quiet: Quiet<'_>) -> KernelResult<()> {
        loop {
            self.report.swaps += 1;
            let mut pause_us = 0;
            let swapped = quiet(&mut || {
                let began = Instant::now();
                // What came since the last round, and perhaps more than one transaction may hold.
                let swapped = self.round(None).and_then(|_| self.try_swap());
                pause_us = micros(began);
                swapped
            });
            self.report.pause_us += pause_us;
            match swapped {
                Err(error) if error.is_retryable() && self.is_there()? => {
                    if SWAPS_MAX as u64 <= self.report.swaps {
                        return Err(error);
                    }
                }
                swapped => return swapped,
            }
        }
    }

    /// Whether the old table has its name still.
    fn is_there(&self) -> KernelResult<bool> {
        let tx = self.kernel.begin_read()?;
        Ok(tx.table(&self.old.name).is_ok_and(|table| table.id == self.old.id))
    }

    fn try_swap(&mut self) -> KernelResult<()> {
        let mut tx = self.kernel.begin_with(TransactionOptions {
            isolation: IsolationLevel::Serializable,
            durability: Some(Durability::Fsync),
            ..Default::default()
        })?;
        let name = &self.old.name.clone();
        if tx.table(name).map(|table| table.id).ok() != Some(self.old.id) {
            let text = format!("the table '{name}' was dropped or renamed while it was converted");
            return Err(KernelError::Conflict(text));
        }
        // Reading the range is what makes every later commit to the table a conflict.
        drop(tx.scan(name, KeyRange::all())?);
        let mut rest = Vec::new();
        while self.from < tx.snapshot() {
            match self.next_commit()? {
                Some(changed) => rest.extend(changed),
                None => break,
            }
        }
        let swapped = match self.from == tx.snapshot() && rest.len() as u64 <= SWAP_ROWS {
            true => write(&mut tx, &self.names[0], &rest)
                .and_then(|()| tx.drop_table(name))
                .and_then(|()| tx.rename_table(&self.names[0], name))
                .and_then(|()| tx.commit().map(drop)),
            false => Err(KernelError::Conflict("too much was committed before the swap".into())),
        };
        if swapped.as_ref().is_err_and(KernelError::is_retryable) {
            // The feed does not go back: what it told is written whatever becomes of the swap.
            self.apply(&mut rest)?;
        }
        swapped
    }
}

fn write(tx: &mut Transaction, table: &str, rows: &[Changed]) -> KernelResult<()> {
    for (key, value) in rows {
        match value {
            Some(value) => tx.put(table, key, value)?,
            None => tx.delete(table, key)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_kernel::Options;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn settings(options: &TableOptions) -> Vec<(&str, &str)> {
        options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn the_settings_of_an_engine_stay_with_it_and_those_of_the_table_move() {
        let old = TableOptions {
            storage: Some("mine".into()),
            codec: Some("zip".into()),
            settings: [("block", "9"), ("ttl", "1d"), ("ttl_column", "at")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            ..TableOptions::default()
        };
        let same = TableChanges::default().set("block", "7").unset("ttl").apply(&old);
        assert_eq!(settings(&same), [("block", "7"), ("ttl_column", "at")]);
        assert_eq!((&same.storage, &same.codec), (&old.storage, &old.codec));
        let other = TableChanges::default().storage(None).codec(None).set("new", "1").apply(&old);
        assert_eq!(settings(&other), [("new", "1"), ("ttl", "1d"), ("ttl_column", "at")]);
        assert_eq!((other.storage, other.codec), (None, None));
    }

    #[test]
    fn who_watches_may_stop_it_and_nothing_of_it_stays() {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        kernel.create_table("t", TableOptions::default()).unwrap();
        kernel
            .run(|tx| (0..3000_u32).try_for_each(|n| tx.put("t", &n.to_be_bytes(), &[7; 1000])))
            .unwrap();
        let before = kernel.begin_read().unwrap().tables().unwrap();
        let mut told = 0;
        let mut stop = |progress: crate::Progress<'_>| {
            told += 1;
            if 0 < progress.done_bytes {
                progress.stop();
            }
        };
        let changes = TableChanges::default();
        let ended = convert(&kernel, "t", &changes, &|work| work(), &mut stop).unwrap_err();
        assert!(ended.to_string().contains("stopped"), "{ended}");
        assert!(told < 5, "it went on: {told}");
        assert_eq!(kernel.begin_read().unwrap().tables().unwrap(), before);
        let done = convert(&kernel, "t", &changes, &|work| work(), &mut |_| {}).unwrap();
        assert_eq!(done.rows, 3000);
    }

    #[test]
    fn nothing_is_lost_where_writers_cannot_be_kept_waiting() {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        kernel.create_table("t", TableOptions::default()).unwrap();
        let stop = AtomicBool::new(false);
        let write = |me: u8| {
            let mut count = 0u64;
            while !stop.load(Ordering::Relaxed) {
                // Of each key only the newest value, and every other key deleted again.
                let key = |count: u64| [&[me][..], &(count % 100).to_be_bytes()].concat();
                kernel
                    .run(|tx| {
                        tx.put("t", &key(count), &count.to_be_bytes())?;
                        tx.delete("t", &key(count + 50))
                    })
                    .unwrap();
                count += 1;
                std::thread::sleep(Duration::from_micros(300));
            }
            (count.saturating_sub(50)..count)
                .map(|count| ([&[me][..], &(count % 100).to_be_bytes()].concat(), count))
                .collect::<BTreeMap<_, _>>()
        };
        let written = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|me| {
                    scope.spawn({
                        let write = &write;
                        move || write(me)
                    })
                })
                .collect();
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(20));
                convert(&kernel, "t", &TableChanges::default(), &|work| work(), &mut |_| {})
                    .unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect::<BTreeMap<_, _>>()
        });
        let scan = kernel.begin_read().unwrap().scan("t", KeyRange::all()).unwrap();
        let found: BTreeMap<_, _> = scan
            .map(|row| {
                row.map(|(key, value)| (key, u64::from_be_bytes((*value).try_into().unwrap())))
            })
            .collect::<KernelResult<_>>()
            .unwrap();
        assert_eq!(found, written);
        assert_eq!(kernel.begin_read().unwrap().tables().unwrap().len(), 1);
    }
}
