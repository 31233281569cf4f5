//! What to do about files that change, once they have come to rest.
//!
//! ```text
//!   applied ──▶ a scan finds another print ──▶ moving ──▶ the same for `quiet` ──▶ offered ──▶ Done:  applied
//!      ▲                                        │  ▲  └── yet another: from the start            Later: moving
//!      └──────────── as it was before ──────────┘  └───────────────────────────────────────────────────┘
//! ```
//!
//! A manifest that is gone must stay so twice as long, because some editors and copying programs remove a file
//! before they write it anew.
//!
//! 1. What is offered was found by every scan of the last `quiet`, and by two of them at least unless `quiet` is
//!    zero.
//! 2. A print is offered once, unless the answer is [`Answer::Later`], or another one was applied meanwhile.
//! 3. One manifest is offered once at a time.

use crate::folders::Print;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What has happened to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new, or would load something else than before.
    Changed(PathBuf),
    /// There is none any more.
    Gone(PathBuf),
}

impl Change {
    /// The manifest.
    pub fn manifest(&self) -> &Path {
        match self {
            Change::Changed(manifest) | Change::Gone(manifest) => manifest,
        }
    }
}

/// What has become of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was dealt with, well or not: the same bytes are not offered again.
    Done,
    /// It could not be dealt with now: it is offered again.
    Later,
}

/// Which changes have come to rest. It is told what scans find and when, and has no clock.
pub struct Settling {
    quiet: Duration,
    applied: BTreeMap<PathBuf, Print>,
    /// What differs from `applied`.
    moving: BTreeMap<PathBuf, Moving>,
    /// What was offered and not answered.
    offered: BTreeMap<PathBuf, Option<Print>>,
}

/// What was found at every scan since then; `None` that there is no such manifest.
#[derive(Clone, Copy)]
struct Moving {
    print: Option<Print>,
    since: Instant,
}

impl Moving {
    /// How long it must stay as it is.
    fn wait(&self, quiet: Duration) -> Duration {
        match self.print {
            Some(_) => quiet,
            None => quiet.saturating_mul(2),
        }
    }
}

impl Settling {
    /// Nothing to do as long as scans find `applied`.
    pub fn new(applied: BTreeMap<PathBuf, Print>, quiet: Duration) -> Settling {
        Settling { quiet, applied, moving: BTreeMap::new(), offered: BTreeMap::new() }
    }

    /// Takes what a scan found at `now`; returns what has come to rest, each in the order of the names: first
    /// what has changed, then what is gone.
    pub fn scanned(&mut self, now: Instant, scan: &BTreeMap<PathBuf, Print>) -> Vec<Change> {
        let paths: BTreeSet<&PathBuf> = self.applied.keys().chain(scan.keys()).collect();
        let mut moving = BTreeMap::new();
        for path in paths {
            let print = scan.get(path).copied();
            if print != self.applied.get(path).copied() {
                let before = self.moving.get(path).filter(|moving| moving.print == print);
                let since = before.map_or(now, |moving| moving.since);
                moving.insert(path.clone(), Moving { print, since });
            }
        }
        self.moving = moving;
        self.offer(now)
    }

    fn offer(&mut self, now: Instant) -> Vec<Change> {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (path, moving) in &self.moving {
            let is_still = moving.wait(self.quiet) <= now.saturating_duration_since(moving.since);
            if !is_still || self.offered.contains_key(path) {
                continue;
            }
            self.offered.insert(path.clone(), moving.print);
            match moving.print {
                Some(_) => changed.push(Change::Changed(path.clone())),
                None => gone.push(Change::Gone(path.clone())),
            }
        }
        changed.append(&mut gone);
        changed
    }

    /// Takes the answer to what was offered of this manifest. Nothing happens when nothing was.
    pub fn answered(&mut self, now: Instant, manifest: &Path, answer: Answer) {
        let Some((path, print)) = self.offered.remove_entry(manifest) else { return };
        if self.moving.get(&path).is_some_and(|moving| moving.print != print) {
            // It has changed again, and is on its way.
        } else if answer == Answer::Later {
            self.moving.insert(path.clone(), Moving { print, since: now });
        } else {
            self.moving.remove(&path);
        }
        match (answer, print) {
            (Answer::Later, _) => {}
            (Answer::Done, Some(print)) => _ = self.applied.insert(path, print),
            (Answer::Done, None) => _ = self.applied.remove(&path),
        }
    }

    /// What was dealt with, of each manifest.
    pub fn applied(&self) -> &BTreeMap<PathBuf, Print> {
        &self.applied
    }

    /// When the next scan may find that something has come to rest, if anything moves.
    pub fn next_at(&self) -> Option<Instant> {
        let moving = self.moving.iter().filter(|(path, _)| !self.offered.contains_key(*path));
        moving.filter_map(|(_, it)| it.since.checked_add(it.wait(self.quiet))).min()
    }
}

#[cfg(test)]
mod tests;
