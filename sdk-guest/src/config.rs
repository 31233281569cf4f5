//! The plugin's settings: what `[config]` in its manifest says, typed by `[config_schema]`.
//!
//! A key that the schema declares always has a value, its default if nothing else. Asking for a key
//! that it does not declare, or as another type, is a mistake of the plugin and answers an error that
//! names both.

use crate::bindings::config::ConfigValue;
use crate::error::{Error, Result};

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
    let text = format!("there is no setting '{key}': outside WebAssembly there is no host to ask");
    Err(Error::new(crate::error::ErrorCode::NotFound, text))
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
