//! The settings of a plugin: `[config_schema]` declares them, `[config]` gives them values.

use super::schema::SettingValue;
use crate::strict_toml::{Wrong, did_you_mean, wrong};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// What `[config]` says, or the default.
    pub value: ConfigValue,
    /// What the schema says about it, for people.
    pub description: String,
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `type = "boolean"`
    Boolean(bool),
    /// `type = "integer"`
    Integer(i64),
    /// `type = "float"`; always finite.
    Float(f64),
    /// `type = "text"`
    Text(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {
        "if": { "properties": { "type": { "enum": ["boolean", "text"] } } },
        "then": { "properties": { "min": false, "max": false } },
    },
    {
        "if": { "properties": { "type": { "enum": ["boolean", "integer", "float"] } } },
        "then": { "properties": { "one_of": false } },
    },
]))]
pub(super) struct RawSetting {
    /// What its values are.
    r#type: SettingType,
    /// What it is when [config] does not say; without one [config] must say it.
    #[schemars(with = "SettingValue", default)]
    default: Option<Spanned<toml::Value>>,
    /// The least that an integer or a float may be.
    #[schemars(with = "f64", default)]
    min: Option<Spanned<toml::Value>>,
    /// The most that an integer or a float may be.
    #[schemars(with = "f64", default)]
    max: Option<Spanned<toml::Value>>,
    /// All that a text may be.
    #[schemars(with = "Vec<String>", default)]
    one_of: Option<Spanned<Vec<String>>>,
    /// What it is for, and in which unit it is, for people.
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Debug, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SettingType {
    /// `true` or `false`
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number.
    Float,
    /// Text.
    Text,
}

/// Every declared setting with its value.
pub(super) fn config(
    schema: BTreeMap<Spanned<String>, RawSetting>,
    mut values: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
) -> Result<BTreeMap<String, Setting>, Wrong> {
    let known: Vec<_> = schema.keys().map(|key| key.get_ref().clone()).collect();
    if let Some(key) = values.keys().find(|key| !schema.contains_key(*key)) {
        let near = did_you_mean(key.get_ref(), known.iter().map(String::as_str));
        let message = format!("[config_schema] declares no setting '{}'{near}", key.get_ref());
        return Err(wrong(key, message));
    }
    let mut config = BTreeMap::new();
    for (key, setting) in schema {
        let default =
            setting.default.as_ref().map(|value| setting.check(&key, value)).transpose()?;
        let value = match values.remove(&key) {
            Some(value) => setting.check(&key, &value)?,
            None => default.ok_or_else(|| {
                let name = key.get_ref();
                wrong(&key, format!("'{name}' has no default: set it below [config]"))
            })?,
        };
        config.insert(key.into_inner(), Setting { value, description: setting.description });
    }
    Ok(config)
}

impl RawSetting {
    /// The typed value, if it has the setting's type and lies within its bounds.
    fn check(
        &self,
        key: &Spanned<String>,
        value: &Spanned<toml::Value>,
    ) -> Result<ConfigValue, Wrong> {
        let name = key.get_ref();
        let typed = self.typed(value).ok_or_else(|| {
            let kind = format!("{:?}", self.r#type).to_lowercase();
            wrong(value, format!("'{name}' is declared as {kind}, {} is not", value.get_ref()))
        })?;
        let bound = |bound: &Option<Spanned<toml::Value>>| match bound {
            None => Ok(None),
            Some(bound) => match (self.typed(bound), self.r#type) {
                (Some(limit), SettingType::Integer | SettingType::Float) => Ok(Some(limit)),
                _ => Err(wrong(bound, format!("'{name}' cannot have this bound"))),
            },
        };
        let (min, max) = (bound(&self.min)?, bound(&self.max)?);
        if min.is_some_and(|min| typed.is_below(&min))
            || max.is_some_and(|max| max.is_below(&typed))
        {
            return Err(wrong(
                value,
                format!("'{name}' is outside the bounds its schema gives it"),
            ));
        }
        match (&self.one_of, &typed) {
            (None, _) => {}
            (Some(one_of), ConfigValue::Text(text)) if one_of.get_ref().contains(text) => {}
            (Some(one_of), ConfigValue::Text(text)) => {
                let near = did_you_mean(text, one_of.get_ref().iter().map(String::as_str));
                let message = format!("'{name}' is one of {:?}{near}", one_of.get_ref());
                return Err(wrong(value, message));
            }
            (Some(one_of), _) => return Err(wrong(one_of, "only a text can have `one_of`")),
        }
        Ok(typed)
    }

    fn typed(&self, value: &Spanned<toml::Value>) -> Option<ConfigValue> {
        match (self.r#type, value.get_ref()) {
            (SettingType::Boolean, toml::Value::Boolean(value)) => {
                Some(ConfigValue::Boolean(*value))
            }
            (SettingType::Integer, toml::Value::Integer(value)) => {
                Some(ConfigValue::Integer(*value))
            }
            (SettingType::Float, toml::Value::Float(value)) if value.is_finite() => {
                Some(ConfigValue::Float(*value))
            }
            (SettingType::Float, toml::Value::Integer(value)) => {
                Some(ConfigValue::Float(*value as f64))
            }
            (SettingType::Text, toml::Value::String(value)) => {
                Some(ConfigValue::Text(value.clone()))
            }
            _ => None,
        }
    }
}

impl ConfigValue {
    fn is_below(&self, other: &ConfigValue) -> bool {
        match (self, other) {
            (ConfigValue::Integer(a), ConfigValue::Integer(b)) => a < b,
            (ConfigValue::Float(a), ConfigValue::Float(b)) => a < b,
            _ => false,
        }
    }
}
