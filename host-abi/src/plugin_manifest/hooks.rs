//! `[hooks]`: the changes of rows that a plugin of kind `hooks` is called about.

use super::capabilities::globs;
use super::{PluginKind, schema};
use crate::glob::Globs;
use crate::strict_toml::{Wrong, wrong};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml::Spanned;

/// When a plugin of kind `hooks` is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hooks {
    /// The tables whose rows it is about.
    pub tables: Globs,
    /// The changes it is asked about before they are made, and may change or veto.
    pub before: Vec<Change>,
    /// The changes it is told about when they are committed.
    pub after: Vec<Change>,
    /// Its place among the hooks of one table: the lower is called first, equal ones by name.
    pub order: i64,
}

/// A change of one row.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// A row that was not there.
    Insert,
    /// A row that was there.
    Update,
    /// A row that goes.
    Delete,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Insert => "insert",
            Change::Update => "update",
            Change::Delete => "delete",
        })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    { "required": ["before"], "properties": { "before": { "minItems": 1 } } },
    { "required": ["after"], "properties": { "after": { "minItems": 1 } } },
]))]
pub(super) struct RawHooks {
    /// Patterns of the tables whose changes it is called about, at least one.
    #[schemars(with = "schema::Patterns", length(min = 1))]
    tables: Spanned<Vec<Spanned<String>>>,
    /// Changes that it is asked about before they are made, and may change or veto. `before` or `after` must name one.
    #[serde(default)]
    #[schemars(with = "Vec<Change>", extend("uniqueItems" = true))]
    before: Vec<Spanned<Change>>,
    /// Changes that it is told about when they are committed.
    #[serde(default)]
    #[schemars(with = "Vec<Change>", extend("uniqueItems" = true))]
    after: Vec<Spanned<Change>>,
    /// Its place among the hooks of one table: the lower is called first, equal ones by name.
    #[serde(default)]
    order: i64,
}

/// What the section says; a plugin of kind `hooks` has one, no other has.
pub(super) fn hooks(
    given: Option<Spanned<RawHooks>>,
    kind: &Spanned<PluginKind>,
) -> Result<Option<Hooks>, Wrong> {
    let is_hooks = *kind.get_ref() == PluginKind::Hooks;
    let Some(given) = given else {
        if is_hooks {
            return Err(wrong(kind, "a plugin of kind 'hooks' says when it is called, in [hooks]"));
        }
        return Ok(None);
    };
    if !is_hooks {
        let message = format!("a plugin of kind '{}' is no hook", kind.get_ref());
        return Err(wrong(&given, message));
    }
    let RawHooks { tables, before, after, order } = given.get_ref();
    if tables.get_ref().is_empty() {
        return Err(wrong(tables, "without tables it is never called"));
    }
    if before.is_empty() && after.is_empty() {
        return Err(wrong(
            &given,
            "[hooks] needs `before` or `after`, such as before = [\"insert\"]",
        ));
    }
    Ok(Some(Hooks {
        tables: globs(tables)?,
        before: changes(before)?,
        after: changes(after)?,
        order: *order,
    }))
}

fn changes(given: &[Spanned<Change>]) -> Result<Vec<Change>, Wrong> {
    let mut changes = Vec::new();
    for change in given {
        if changes.contains(change.get_ref()) {
            return Err(wrong(change, format!("'{}' is there already", change.get_ref())));
        }
        changes.push(*change.get_ref());
    }
    Ok(changes)
}
