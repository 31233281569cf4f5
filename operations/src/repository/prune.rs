//! Removes backups that nobody wants to keep, and then the chunks that only they had.
//!
//! In this order, each step on disk before the next begins:
//!
//! 1. What is kept is read: a backup whose lists cannot be read is no reason to remove a chunk that it may need.
//! 2. The manifests of the others are removed.
//! 3. Packs without a chunk that is still named are removed. Of those that have some, but less than half, the
//!    chunks are written once more, into new packs; then the old ones are removed.
//!
//! After a crash between any two of them there are more chunks than needed, never fewer, and the next prune
//! removes those.

use super::chunks::{Chunks, Saver};
use super::manifest::{Manifest, decode_list, file_name, remove_unfinished};
use super::pack::{self, PACKS_DIR, pack_name};
use super::{BACKUPS_DIR, Hash, NOTHING, Repository, io_in, lock};
use crate::progress::{Meter, OnProgress};
use sochdb_kernel::{KernelError, KernelResult};
use std::collections::{BTreeSet, HashSet};

const DAY_US: u64 = 86_400_000_000;

/// Which backups are kept; what any of the three wants stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: usize,
    /// The newest of each of the newest so many days (UTC) that have a backup.
    pub daily: usize,
    /// The newest of each of the newest so many weeks (from Monday, UTC) that have a backup.
    pub weekly: usize,
}

/// What [`Repository::prune`] did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Backups that stay, oldest first.
    pub kept: Vec<String>,
    /// Backups that are gone, oldest first.
    pub removed: Vec<String>,
    /// Packs that are gone.
    pub packs_removed: u64,
    /// How much smaller the repository is.
    pub freed_bytes: u64,
}

impl Keep {
    /// Which of the backups made at the times `made_us`, oldest first, are kept.
    fn choose(&self, made_us: &[u64]) -> BTreeSet<usize> {
        let newest = (0..made_us.len()).rev();
        let mut kept: BTreeSet<usize> = newest.clone().take(self.last).collect();
        // 1970-01-01 was a Thursday.
        let (day, week) = (|us: u64| us / DAY_US, |us: u64| (us / DAY_US + 3) / 7);
        let periods: [(usize, &dyn Fn(u64) -> u64); 2] = [(self.daily, &day), (self.weekly, &week)];
        for (count, period) in periods {
            let mut seen = BTreeSet::new();
            for index in newest.clone() {
                if seen.len() < count && seen.insert(period(made_us[index])) {
                    kept.insert(index);
                }
            }
        }
        kept
    }
}

impl Repository {
    /// Removes the backups that `keep` does not name, and what only they had. With `dry_run` it only says which.
    ///
    /// # Errors
    /// `Invalid` when `keep` would keep none, `Corrupt` when a manifest, or a list of a backup that is kept, is not
    /// what was written: then nothing is removed. `Unavailable` when the disk refuses or somebody else works in the
    /// repository; tried again it goes on where it ended.
    pub fn prune(
        &self,
        keep: Keep,
        dry_run: bool,
        progress: OnProgress<'_>,
    ) -> KernelResult<PruneReport> {
        if keep == Keep::default() {
            return Err(KernelError::invalid("to keep no backup at all, remove the directory"));
        }
        let vfs = &*self.vfs;
        let _lock = lock(vfs)?;
        let manifests = self.manifests()?;
        let made_us: Vec<u64> = manifests.iter().map(|manifest| manifest.made_us).collect();
        let chosen = keep.choose(&made_us);
        let (kept, removed): (Vec<_>, Vec<_>) =
            manifests.iter().enumerate().partition(|(index, _)| chosen.contains(index));
        let names = |of: &[(usize, &Manifest)]| of.iter().map(|(_, m)| m.name.clone()).collect();
        let mut report =
            PruneReport { kept: names(&kept), removed: names(&removed), ..Default::default() };
        if dry_run {
            return Ok(report);
        }
        remove_unfinished(vfs)?;
        pack::remove_unfinished(vfs)?;
        let chunks = Chunks::open(self.vfs.clone())?;
        let mut meter = Meter::new(chunks.packs.values().sum(), progress);
        meter.begin("what is kept");
        let live = live(&chunks, kept.iter().map(|(_, manifest)| *manifest))?;
        self.remove(&report.removed)?;
        let before: u64 = chunks.packs.values().sum();
        report.packs_removed = self.sweep(chunks, &live, &mut meter)?;
        let after: u64 = Chunks::open(self.vfs.clone())?.packs.values().sum();
        report.freed_bytes = before.saturating_sub(after);
        meter.end();
        Ok(report)
    }

    /// Removes the manifests of the backups `names`, oldest first.
    fn remove(&self, names: &[String]) -> KernelResult<()> {
        let remove = || {
            for name in names {
                self.vfs.remove(&file_name(name))?;
            }
            self.vfs.sync_dir(BACKUPS_DIR)
        };
        if names.is_empty() { Ok(()) } else { remove().map_err(io_in(&*self.vfs, "prune")) }
    }

    /// Removes the packs that have hardly a chunk that is `live`; returns how many.
    fn sweep(
        &self,
        chunks: Chunks,
        live: &HashSet<Hash>,
        meter: &mut Meter<'_>,
    ) -> KernelResult<u64> {
        let bytes = chunks.live_bytes(|hash| live.contains(hash));
        let mut saver = Saver::new(chunks);
        let mut removed = Vec::new();
        for (pack, bytes) in bytes {
            meter.begin(pack_name(pack));
            let size = saver.chunks.packs[&pack];
            meter.add(size);
            if size / 2 <= bytes {
                continue;
            }
            let again = saver.chunks.in_pack(pack, |hash| live.contains(hash));
            match again.iter().try_for_each(|hash| saver.again(hash)) {
                Ok(()) => removed.push(pack),
                // A pack with a chunk that is broken stays: `verify` tells of it.
                Err(KernelError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        saver.finish()?;
        let io = io_in(&*self.vfs, "prune");
        for pack in &removed {
            self.vfs.remove(&pack_name(*pack)).map_err(&io)?;
        }
        if !removed.is_empty() {
            self.vfs.sync_dir(PACKS_DIR).map_err(&io)?;
        }
        Ok(removed.len() as u64)
    }
}

/// Every chunk that the backups `kept` need.
fn live<'a>(
    chunks: &Chunks,
    kept: impl Iterator<Item = &'a Manifest>,
) -> KernelResult<HashSet<Hash>> {
    let mut live = HashSet::new();
    for manifest in kept {
        for list in manifest.regions.iter().filter(|hash| **hash != NOTHING) {
            if live.insert(*list) {
                live.extend(decode_list(&chunks.read(list)?)?.iter().map(|piece| piece.hash));
            }
        }
        live.extend(manifest.named());
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_rule_wants_is_kept() {
        let hour = DAY_US / 24;
        // Two a day from Thursday, 1970-01-01, on, for three weeks.
        let made: Vec<u64> = (0..42).map(|half| half * 12 * hour).collect();
        let kept = |last, daily, weekly| {
            let kept = Keep { last, daily, weekly }.choose(&made);
            kept.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(kept(3, 0, 0), [39, 40, 41]);
        assert_eq!(kept(0, 3, 0), [37, 39, 41]);
        // The Sundays are the days 3, 10 and 17; the last week ends with day 20.
        assert_eq!(kept(0, 0, 3), [21, 35, 41]);
        assert_eq!(kept(0, 0, 9), [7, 21, 35, 41]);
        assert_eq!(kept(2, 2, 2), [35, 39, 40, 41]);
        assert_eq!(kept(100, 0, 0).len(), 42);
        assert!(Keep { last: 1, ..Keep::default() }.choose(&[]).is_empty());
    }
}
