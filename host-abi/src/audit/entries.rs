//! What the guest of one store did since its call began.
//!
//! Kept without a lock in the store itself, and given to the [`AuditLog`] when the call ends, or before that
//! when there are [`ENTRIES_MAX`] of them: an import that is called without end fills no memory.
//!
//! A store does one thing at a time, so there is at most one open import. What is still open when the call
//! ends is where the guest ended.

use super::record::{AuditKind, Object, Outcome};
use super::{AuditLog, Ticks};
use crate::limits::audit::{ENTRIES_MAX, OBJECT_BYTES_MAX};
use crate::plugin::Plugin;
use crate::tenant::Tenant;
use std::sync::Arc;

/// Who did it. One per store.
pub(crate) struct Who {
    pub(crate) plugin: String,
    pub(crate) tenant: Option<String>,
}

impl Who {
    pub(crate) fn new(plugin: &Plugin, tenant: Option<&Tenant>) -> Who {
        let tenant = tenant.map(|tenant| tenant.name().to_owned());
        Who { plugin: plugin.manifest.name.clone(), tenant }
    }
}

/// One thing that was done.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) kind: AuditKind,
    pub(crate) function: &'static str,
    pub(crate) object: Object,
    pub(crate) outcome: Outcome,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) fuel: u64,
    pub(crate) began: Ticks,
    pub(crate) ended: Ticks,
}

/// What one store's guest did and is doing.
pub(crate) struct Entries {
    log: Arc<AuditLog>,
    who: Arc<Who>,
    done: Vec<Entry>,
    /// Whether the last one has not ended yet.
    is_open: bool,
}

impl Entries {
    pub(crate) fn new(log: Arc<AuditLog>, who: Arc<Who>) -> Entries {
        Entries { log, who, done: Vec::new(), is_open: false }
    }

    /// An import begins.
    pub(crate) fn begin(&mut self, function: &'static str) {
        if ENTRIES_MAX <= self.done.len() {
            self.give();
        }
        let kind = AuditKind::Import;
        self.done.push(Entry::new(kind, function, Object::None, Outcome::Trapped, Ticks::now()));
        self.is_open = true;
    }

    /// An import begins that guests call over and over. If the one before was the same, and went well, this one
    /// is counted in its record: what both carried and cost, from the beginning of the first to the end of the last.
    pub(crate) fn begin_again(&mut self, function: &'static str) {
        let is_same = |last: &&mut Entry| {
            (last.kind, last.outcome) == (AuditKind::Import, Outcome::Ok)
                && last.function == function
        };
        match self.done.last_mut().filter(is_same) {
            Some(last) => {
                last.outcome = Outcome::Trapped;
                self.is_open = true;
            }
            None => self.begin(function),
        }
    }

    /// Says what the open import is about.
    pub(crate) fn about(&mut self, object: impl Into<Object>) {
        if let Some(open) = self.open() {
            open.object = object.into();
        }
    }

    /// Counts rows that the open import carried.
    pub(crate) fn carried_rows(&mut self, rows: usize) {
        if let Some(open) = self.open() {
            open.rows += rows as u64;
        }
    }

    /// Counts what the open import has paid, and bytes that it carried.
    pub(crate) fn charged(&mut self, fuel: u64, bytes: usize) {
        if let Some(open) = self.open() {
            open.fuel += fuel;
            open.bytes += bytes as u64;
        }
    }

    /// The open import ends.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        let now = Ticks::now();
        if let Some(open) = self.open() {
            open.outcome = outcome;
            open.ended = now;
            self.is_open = false;
        }
    }

    /// The guest's call ends, which may be worth an entry of its own. An import that is still open ended it,
    /// as `outcome` says.
    pub(crate) fn end_call(&mut self, outcome: Outcome, call: Option<Entry>) {
        if self.is_open {
            self.end(outcome);
        }
        self.done.extend(call);
        self.give();
    }

    fn open(&mut self) -> Option<&mut Entry> {
        self.done.last_mut().filter(|_| self.is_open)
    }

    fn give(&mut self) {
        if !self.done.is_empty() {
            self.log.take(&self.who, &mut self.done);
        }
    }
}

impl Entry {
    fn new(
        kind: AuditKind,
        function: &'static str,
        object: Object,
        outcome: Outcome,
        began: Ticks,
    ) -> Entry {
        let (rows, bytes, fuel, ended) = (0, 0, 0, began);
        Entry { kind, function, object, outcome, rows, bytes, fuel, began, ended }
    }

    /// A call of `function`, from one moment to another.
    pub(crate) fn call(
        function: &'static str,
        object: Object,
        outcome: Outcome,
        fuel: u64,
        (began, ended): (Ticks, Ticks),
    ) -> Entry {
        Entry { fuel, ended, ..Entry::new(AuditKind::Call, function, object, outcome, began) }
    }
}

/// The beginning of a name that may be too long to keep.
pub(super) fn bounded(name: &str) -> &str {
    let mut kept = name.len().min(OBJECT_BYTES_MAX);
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    &name[..kept]
}
