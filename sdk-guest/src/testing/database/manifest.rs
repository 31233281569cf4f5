//! What a plugin's manifest says that matters to a native test: its settings, what it asks for, and its hooks.
//!
//! The database checks a manifest more strictly; `sochdb plugin check` does so too.

use super::running::Right;
use crate::bindings::config::ConfigValue;
use crate::error::{Error, Result};
use crate::hooks::ChangeKind;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A manifest.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Manifest {
    plugin: Plugin,
    #[serde(default)]
    capabilities: Capabilities,
    hooks: Option<Hooks>,
    #[serde(default)]
    config_schema: BTreeMap<String, Declared>,
    #[serde(default)]
    config: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Plugin {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    can_read_table: Vec<String>,
    can_write_table: Vec<String>,
    can_call_plugin: Vec<String>,
    codecs: Vec<String>,
    addresses: Vec<String>,
    can_vector_search: bool,
    can_index_search: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Hooks {
    tables: Vec<String>,
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Declared {
    #[serde(rename = "type")]
    kind: String,
    default: Option<toml::Value>,
}

impl Manifest {
    /// The manifest that `text` is.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub(super) fn parse(text: &str) -> Result<Manifest> {
        toml::from_str(text).map_err(|error| Error::invalid(format!("the manifest: {error}")))
    }

    pub(super) fn name(&self) -> &str {
        &self.plugin.name
    }

    /// Every setting, its default where `[config]` does not say.
    ///
    /// # Errors
    /// `Invalid` when one has no value, another type, or is not declared.
    pub(super) fn settings(&self) -> Result<BTreeMap<String, ConfigValue>> {
        if let Some(key) = self.config.keys().find(|key| !self.config_schema.contains_key(*key)) {
            let text = format!("the manifest's [config] has '{key}', its [config_schema] has not");
            return Err(Error::invalid(text));
        }
        let mut settings = BTreeMap::new();
        for (key, declared) in &self.config_schema {
            let value = self.config.get(key).or(declared.default.as_ref());
            let value = value.ok_or_else(|| {
                Error::invalid(format!("the setting '{key}' has no value in the manifest"))
            })?;
            let kind = declared.kind.as_str();
            let value = match (kind, value) {
                ("boolean", toml::Value::Boolean(value)) => ConfigValue::Boolean(*value),
                ("integer", toml::Value::Integer(value)) => ConfigValue::Integer(*value),
                ("float", toml::Value::Float(value)) => ConfigValue::Float(*value),
                ("float", toml::Value::Integer(value)) => ConfigValue::Float(*value as f64),
                ("text", toml::Value::String(value)) => ConfigValue::Text(value.clone()),
                _ => {
                    let text = format!("the setting '{key}' is {value} and no {kind}");
                    return Err(Error::invalid(text));
                }
            };
            settings.insert(key.clone(), value);
        }
        Ok(settings)
    }

    /// Whether it asks for `right` to what is called `name`.
    pub(super) fn grants(&self, right: Right, name: &str) -> bool {
        let all = &self.capabilities;
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        match right {
            Right::Read => any(&all.can_read_table),
            Right::Write => any(&all.can_write_table),
            Right::Call => any(&all.can_call_plugin),
            Right::Codec => any(&all.codecs),
            Right::Address => all.addresses.iter().any(|address| covers(address, name)),
            Right::VectorSearch => all.can_vector_search,
            Right::IndexSearch => all.can_index_search,
        }
    }

    /// Whether its hooks are asked before such a change of `table`, or told after.
    pub(super) fn hears(&self, table: &str, kind: ChangeKind, before: bool) -> bool {
        let Some(hooks) = &self.hooks else { return false };
        let kinds = if before { &hooks.before } else { &hooks.after };
        let word = match kind {
            ChangeKind::Insert => "insert",
            ChangeKind::Update => "update",
            ChangeKind::Delete => "delete",
        };
        hooks.tables.iter().any(|pattern| matches(pattern, table))
            && kinds.iter().any(|kind| kind == word)
    }
}

/// Whether an address that was granted is `url`, or what `url` goes on from.
fn covers(address: &str, url: &str) -> bool {
    let rest = url.strip_prefix(address);
    rest.is_some_and(|rest| rest.is_empty() || address.ends_with('/') || rest.starts_with('/'))
}

/// Whether `name` fits a pattern of a manifest: `?` is one character and `*` any number of them, but no `/`;
/// `**` as a whole part is any number of parts.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    fits(&pattern, &name, true)
}

fn fits(pattern: &[char], name: &[char], part_begins: bool) -> bool {
    match (pattern, name) {
        (['*', '*'], _) if part_begins => true,
        (['*', '*', '/', rest @ ..], _) if part_begins => {
            let parts = name.iter().enumerate().filter(|(_, c)| **c == '/');
            let mut ends = std::iter::once(0).chain(parts.map(|(at, _)| at + 1));
            ends.any(|end| fits(rest, &name[end..], true))
        }
        (['*', rest @ ..], _) => {
            let run = name.iter().take_while(|c| **c != '/').count();
            (0..=run).any(|end| fits(rest, &name[end..], false))
        }
        (['?', rest @ ..], [c, left @ ..]) if *c != '/' => fits(rest, left, false),
        ([a, rest @ ..], [b, left @ ..]) if a == b => fits(rest, left, *a == '/'),
        ([], []) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_do_in_a_database() {
        for (pattern, yes, no) in [
            ("orders", &["orders"][..], &["Orders", "orders2", ""][..]),
            ("logs/*", &["logs/today", "logs/"], &["logs/a/b", "logs"]),
            ("shop/**", &["shop/eu/tea", "shop/"], &["shop", "shops/a"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab"]),
            ("**", &["", "a", "a/b"], &[]),
            ("t?", &["t1"], &["t", "t/", "t12"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn an_address_covers_what_goes_on_from_it() {
        assert!(covers("http://a/", "http://a/v1") && covers("http://a/v1", "http://a/v1/x"));
        assert!(!covers("http://a/v1", "http://a/v12") && !covers("http://a/", "http://b/"));
    }

    #[test]
    fn settings_have_their_defaults_and_their_types() {
        let parse = |config: &str| {
            let declared = "level = { type = 'float', default = 3 }\nname = { type = 'text' }";
            let text =
                format!("[plugin]\nname = 'x'\n[config_schema]\n{declared}\n[config]\n{config}");
            Manifest::parse(&text).unwrap().settings()
        };
        let settings = parse("name = 'tea'").unwrap();
        assert!(matches!(settings["level"], ConfigValue::Float(3.0)));
        assert!(matches!(&settings["name"], ConfigValue::Text(name) if name == "tea"));
        for (config, named) in [("", "'name'"), ("name = 3", "'name'"), ("name = ''\nx = 1", "'x'")]
        {
            let error = parse(config).unwrap_err();
            assert!(error.text.contains(named), "{}", error.text);
        }
    }
}
