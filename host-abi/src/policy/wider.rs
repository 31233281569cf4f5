//! What one grant allows that another one did not: what somebody says yes to who lets a new version of a plugin have
//! it.
//!
//! The comparison is careful. Names of tables, plugins and codecs are given by patterns, and what a grant has is what a
//! wanted and an allowed one both match. It is no more than before when the older lists, the wanted one and the allowed
//! one, each have one of the two patterns, or `**`, or one that matches a name in full. Anything else counts as wider,
//! even if no name could tell. Limits are no part of it: they are bounds, not rights.

use super::{Both, Grant, GrantedHooks, Piece};
use crate::glob::{Glob, Globs};
use crate::plugin_manifest::Directory;

impl Grant {
    /// What this grant allows that `old` did not, a line for each: "can_write_table: shop/orders", "hooks: before
    /// delete". Empty when there is nothing.
    pub fn wider_than(&self, old: &Grant) -> Vec<String> {
        let mut wider = Vec::new();
        for (what, new, old) in [
            ("can_read_table", &self.can_read_table, &old.can_read_table),
            ("can_write_table", &self.can_write_table, &old.can_write_table),
            ("can_call_plugin", &self.can_call_plugin, &old.can_call_plugin),
            ("codecs", &self.codecs, &old.codecs),
        ] {
            wider.extend(new.beyond(old).map(|names| format!("{what}: {names}")));
        }
        for (what, new, old) in [
            ("can_vector_search", self.can_vector_search, old.can_vector_search),
            ("can_index_search", self.can_index_search, old.can_index_search),
            ("clock", self.clock, old.clock),
            ("random", self.random, old.random),
        ] {
            wider.extend((new && !old).then(|| what.to_owned()));
        }
        wider.extend(self.directories.iter().filter_map(|new| beyond(new, &old.directories)));
        let new = self.addresses.iter().filter(|new| !old.may_send_to(new));
        wider.extend(new.map(|address| format!("addresses: {address}")));
        if let Some(hooks) = &self.hooks {
            wider.extend(hooks.beyond(old.hooks.as_ref()));
        }
        wider
    }
}

/// What the directory `new` is for, unless one of `old` was for that too.
fn beyond(new: &Directory, old: &[Directory]) -> Option<String> {
    let Directory { host, guest, write } = new;
    let had = old.iter().find(|old| old.host == *host && old.guest == *guest);
    let purpose = if *write { "writing" } else { "reading" };
    let is_had = had.is_some_and(|had| had.write || !write);
    (!is_had).then(|| format!("directories: {guest} for {purpose}, which is {host}"))
}

impl GrantedHooks {
    fn beyond(&self, old: Option<&GrantedHooks>) -> Vec<String> {
        let tables = self.tables();
        if tables.pieces().next().is_none() {
            return Vec::new();
        }
        let nothing = Both { wanted: Globs::default(), allowed: Globs::default() };
        let old_tables = old.map_or(nothing, GrantedHooks::tables);
        let mut wider: Vec<_> =
            tables.beyond(&old_tables).map(|names| format!("hooks: tables {names}")).collect();
        let (old_before, old_after) =
            old.map_or((&[][..], &[][..]), |old| (&old.wanted.before[..], &old.wanted.after[..]));
        let before = self.wanted.before.iter().filter(|change| !old_before.contains(change));
        let after = self.wanted.after.iter().filter(|change| !old_after.contains(change));
        wider.extend(before.map(|change| format!("hooks: before {change}")));
        wider.extend(after.map(|change| format!("hooks: after {change}")));
        if !self.wanted.before.is_empty() {
            let is_had = |pattern: &Glob| {
                old.is_some_and(|old| {
                    !old.wanted.before.is_empty() && old.changed.cover(&[pattern])
                })
            };
            let new = self.changed.iter().filter(|pattern| !is_had(pattern));
            wider.extend(new.map(|pattern| format!("hooks: replacing rows of {pattern}")));
        }
        wider
    }
}

impl Both {
    /// The names that are in both here, and not surely in both of `old`.
    fn beyond<'a>(&'a self, old: &'a Both) -> impl Iterator<Item = Piece<'a>> {
        self.pieces().filter(|Piece { wanted, allowed }| {
            let both = [*wanted, *allowed];
            !(old.wanted.cover(&both) && old.allowed.cover(&both))
        })
    }
}

impl Globs {
    /// Whether it is sure that a name which all of `patterns` match is matched by one of these.
    fn cover(&self, patterns: &[&Glob]) -> bool {
        self.iter().any(|old| {
            let covers = |new: &&Glob| *new == old || new.is_literal() && old.matches(new.as_str());
            old.as_str() == "**" || patterns.iter().any(covers)
        })
    }
}

#[cfg(test)]
mod tests;
