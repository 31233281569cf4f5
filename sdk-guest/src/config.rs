//! The plugin's settings: what `[config]` in its manifest says, typed by `[config_schema]`.
//!
//! [`read`] gives all of them as a struct, [`boolean`], [`integer`], [`float`] and [`text`] one at a time:
//!
//! ```
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "lowercase")]
//! enum Unit {
//!     Metres,
//!     Feet,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     /// `type = "integer"`: a number that does not fit is an error that names the key.
//!     level: u8,
//!     /// `type = "text"`: one of the enum's names.
//!     unit: Unit,
//!     /// `None` when the schema has no such key.
//!     note: Option<String>,
//!     /// The same, with another value then.
//!     #[serde(default)]
//!     strict: bool,
//! }
//!
//! # let mut db = sochdb_guest::testing::Database::new();
//! # db.setting("level", 3).setting("unit", "feet");
//! # db.inside(|| {
//! let settings: Settings = sochdb_guest::config::read()?;
//! # assert_eq!(settings.level, 3);
//! # assert!(matches!(settings.unit, Unit::Feet) && settings.note.is_none() && !settings.strict);
//! # let _ = Unit::Metres;
//! # Ok::<(), sochdb_guest::Error>(())
//! # }).unwrap();
//! ```
//!
//! A key that the schema declares always has a value, its default if nothing else. Asking for a key
//! that it does not declare, or as another type, is a mistake of the plugin and answers an error that
//! names both.

use crate::bindings::config::ConfigValue;
use crate::error::{Error, ErrorCode, Result};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// All settings that `T`, a struct with named fields, has fields for; each is asked for by its field's name.
///
/// # Errors
/// `NotFound` when the schema lacks a key that `T` needs, `Invalid` when a setting does not fit its field; both
/// name the key.
pub fn read<T: DeserializeOwned>() -> Result<T> {
    T::deserialize(Settings).map_err(|Wrong(error)| error)
}

/// The setting `key`, declared as `boolean`.
///
/// # Errors
/// `NotFound` when the schema has no such key, `Invalid` when it has another type.
pub fn boolean(key: &str) -> Result<bool> {
    match get(key)? {
        ConfigValue::Boolean(value) => Ok(value),
        other => Err(mismatch(key, "boolean", &other)),
    }
}

/// The setting `key`, declared as `integer`.
///
/// # Errors
/// `NotFound` when the schema has no such key, `Invalid` when it has another type.
pub fn integer(key: &str) -> Result<i64> {
    match get(key)? {
        ConfigValue::Integer(value) => Ok(value),
        other => Err(mismatch(key, "integer", &other)),
    }
}

/// The setting `key`, declared as `float`.
///
/// # Errors
/// `NotFound` when the schema has no such key, `Invalid` when it has another type.
pub fn float(key: &str) -> Result<f64> {
    match get(key)? {
        ConfigValue::Float(value) => Ok(value),
        other => Err(mismatch(key, "float", &other)),
    }
}

/// The setting `key`, declared as `text`.
///
/// # Errors
/// `NotFound` when the schema has no such key, `Invalid` when it has another type.
pub fn text(key: &str) -> Result<String> {
    match get(key)? {
        ConfigValue::Text(value) => Ok(value),
        other => Err(mismatch(key, "text", &other)),
    }
}

#[cfg(target_family = "wasm")]
fn get(key: &str) -> Result<ConfigValue> {
    crate::bindings::config::get_config(key).map_err(Into::into)
}

#[cfg(not(target_family = "wasm"))]
fn get(key: &str) -> Result<ConfigValue> {
    #[cfg(feature = "testing")]
    if let Some(running) = crate::testing::running() {
        return running.setting(key);
    }
    let text = format!("there is no setting '{key}': outside WebAssembly there is no host to ask");
    Err(Error::new(ErrorCode::NotFound, text))
}

fn mismatch(key: &str, wanted: &str, found: &ConfigValue) -> Error {
    let found = match found {
        ConfigValue::Boolean(_) => "boolean",
        ConfigValue::Integer(_) => "integer",
        ConfigValue::Float(_) => "float",
        ConfigValue::Text(_) => "text",
    };
    Error::invalid(format!(
        "the plugin reads the setting '{key}' as {wanted}, but its schema says {found}"
    ))
}

/// An error of the plugin's, or of the host's, on its way through serde.
#[derive(Debug)]
struct Wrong(Error);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Wrong {
        Wrong(Error::invalid(text.to_string()))
    }

    fn missing_field(key: &'static str) -> Wrong {
        let text =
            format!("the plugin reads the setting '{key}', which its config_schema does not have");
        Wrong(Error::new(ErrorCode::NotFound, text))
    }
}

/// All settings, as a struct is read from them.
struct Settings;

impl<'de> Deserializer<'de> for Settings {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Wrong> {
        Err(de::Error::custom(
            "settings are read into a struct with named fields: the host is asked for each by its name",
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_map(Fields { left: fields, present: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The struct's fields that the schema has, one after the other.
struct Fields {
    left: &'static [&'static str],
    present: Option<(&'static str, ConfigValue)>,
}

impl<'de> de::MapAccess<'de> for Fields {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> std::result::Result<Option<K::Value>, Wrong> {
        while let Some((key, left)) = self.left.split_first() {
            self.left = left;
            match get(key) {
                Ok(value) => {
                    self.present = Some((key, value));
                    return seed.deserialize((*key).into_deserializer()).map(Some);
                }
                // serde knows whether the field can do without.
                Err(error) if error.code == ErrorCode::NotFound => {}
                Err(error) => return Err(Wrong(error)),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> std::result::Result<V::Value, Wrong> {
        let (key, value) = self.present.take().expect("serde asks for a key before its value");
        seed.deserialize(Setting(value)).map_err(|Wrong(error)| {
            Wrong(Error::invalid(format!("the setting '{key}': {}", error.text)))
        })
    }
}

/// One setting.
struct Setting(ConfigValue);

impl Setting {
    fn refuse<T>(what: &str) -> std::result::Result<T, Wrong> {
        Err(de::Error::custom(format!(
            "a setting is a boolean, an integer, a float or a text; the plugin reads it as {what}"
        )))
    }
}

impl<'de> Deserializer<'de> for Setting {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Wrong> {
        match self.0 {
            ConfigValue::Boolean(value) => visitor.visit_bool(value),
            ConfigValue::Integer(value) => visitor.visit_i64(value),
            ConfigValue::Float(value) => visitor.visit_f64(value),
            ConfigValue::Text(value) => visitor.visit_string(value),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Wrong> {
        match self.0 {
            ConfigValue::Text(name) => visitor.visit_enum(name.into_deserializer()),
            _ => Err(de::Error::custom("an enum's variants are named by a text")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Wrong> {
        Setting::refuse(&format!("the struct {name}"))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Wrong> {
        Setting::refuse("a list")
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Wrong> {
        Setting::refuse("a map")
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Database;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Fast,
        VeryFast,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Share(f32);

    #[derive(Debug, Deserialize, PartialEq)]
    struct All {
        on: bool,
        level: u8,
        share: Share,
        #[serde(rename = "the name")]
        name: String,
        mode: Mode,
        absent: Option<i64>,
        present: Option<i64>,
        #[serde(default)]
        usual: Vec<u8>,
    }

    fn database() -> Database {
        let mut db = Database::new();
        db.setting("on", true).setting("level", 255).setting("share", 0.5);
        db.setting("the name", "x").setting("mode", "very-fast").setting("present", -1);
        db
    }

    fn all_with(key: &str, value: impl Into<crate::testing::Setting>) -> Error {
        let mut db = database();
        db.setting(key, value);
        db.inside(read::<All>).unwrap_err()
    }

    #[test]
    fn a_struct_is_read_field_by_field() {
        let all = database().inside(read::<All>).unwrap();
        let wanted = All {
            on: true,
            level: 255,
            share: Share(0.5),
            name: "x".into(),
            mode: Mode::VeryFast,
            absent: None,
            present: Some(-1),
            usual: Vec::new(),
        };
        assert_eq!(all, wanted);
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_key() {
        for error in [
            all_with("level", 256),
            all_with("level", -1),
            all_with("level", "5"),
            all_with("on", 1),
            all_with("mode", "slow"),
            all_with("mode", 7),
            all_with("usual", "a list"),
            all_with("present", 0.5),
        ] {
            assert_eq!(error.code, ErrorCode::Invalid);
            assert!(error.text.starts_with("the setting '"), "{}", error.text);
        }
        assert!(all_with("level", 256).text.contains("'level'"));
        let mut db = Database::new();
        let error = db.inside(read::<All>).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.text.contains("'on'"), "{}", error.text);
        assert_eq!(db.inside(read::<u8>).unwrap_err().code, ErrorCode::Invalid);
    }

    #[test]
    fn a_struct_within_is_refused_with_the_reason() {
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[allow(dead_code, reason = "never made")]
            level: Inner,
        }
        #[derive(Debug, Deserialize)]
        struct Inner {}
        let error = database().inside(read::<Outer>).unwrap_err();
        assert!(error.text.contains("reads it as the struct Inner"), "{}", error.text);
    }
}
